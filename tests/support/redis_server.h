/* A real Redis for tests, private to whoever starts it: a directory of its own, a unix
 * socket and, unless asked for TLS, no port. It dies with the process that started it,
 * and then its directory goes as well, however that process ended. Failures fail the
 * test. */
#ifndef SHOAL_TEST_REDIS_SERVER_H
#define SHOAL_TEST_REDIS_SERVER_H

#include "common/redis.h"

#include <sys/types.h>

enum { TEST_SERVER_ARGS_MAX = 32 };

struct test_server {
    char directory[64];
    char socket[96];
    char url[120];                              /* "unix:PATH" */
    const char *args[TEST_SERVER_ARGS_MAX + 1]; /* of start; the caller's texts */
    int port;                                   /* that speaks TLS; 0: none */
    char tls_url[40];                           /* "rediss://127.0.0.1:PORT" */
    pid_t pid;                                  /* 0 while it is stopped */
    pid_t guardian;                             /* removes the directory at the end */
    int life; /* held open for as long as the directory lives */
};

/* Starts `redis-server` with `args` (NULL-terminated, or NULL: none) behind the usual
 * ones, which save nothing, and waits until it answers. DEBUG is allowed. */
void test_server_start(struct test_server *server, const char *const *args);

/* The same, with a port of 127.0.0.1 that speaks TLS besides, as `args` say, for as long
 * as the server lives. */
void test_server_start_tls(struct test_server *server, const char *const *args);

/* Starts it again on the same directory, with other `args` unless they are NULL. */
void test_server_restart(struct test_server *server, const char *const *args);

void test_server_stop(struct test_server *server); /* SIGTERM, as an operator would */
void test_server_kill(struct test_server *server); /* SIGKILL */
/* Kills it and removes the directory. */
void test_server_destroy(struct test_server *server);

/* One of 127.0.0.1 that nobody had a moment ago. */
int test_free_port(void);

/* A connection that is up (reconnect: as `options` say; NULL: it does). */
struct shoal_redis *test_server_connect(const struct test_server *server,
                                        struct event_base *base,
                                        const struct shoal_redis_options *options);

/* Runs one command in the words of hiredis: test_command(redis, "SET %s %b", key, bytes,
 * len). The reply is the caller's, an error reply included. */
redisReply *test_command(struct shoal_redis *redis, const char *format, ...);

/* The same for an integer or a text; fails the test for anything else. The text is the
 * caller's. */
int64_t test_command_int(struct shoal_redis *redis, const char *format, ...);
char *test_command_text(struct shoal_redis *redis, const char *format, ...);

#endif
