/* One connection to Redis: hiredis formats and parses RESP, libevent moves the bytes.
 *
 *   down --connect--> greeting (AUTH, SELECT, CLIENT SETNAME) --> up
 *    ^                   |                                         |  error, EOF,
 *    |                   v                                         v  a passed deadline
 *    +------ backoff with jitter, 50 ms doubling to 2 s -----------+
 *
 * The backoff begins anew when a connection has held, for 2 s or for 50 answers, or when
 * fewer than five in a row have not.
 *
 * Commands are pipelined: they are answered in the order in which they were sent. Each
 * has a deadline; one that passes closes the connection, since the answers behind it
 * could no longer be told apart. When the connection is lost, everything unanswered is
 * told SHOAL_LOST, in order, and whoever sent it decides whether it is safe to send
 * again.
 *
 * The program ignores SIGPIPE, so that writing to a connection that is gone is an error.
 * A host that is not a number is looked up without blocking, in /etc/hosts and by DNS. */
#ifndef SHOAL_REDIS_H
#define SHOAL_REDIS_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/tls.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

enum { SHOAL_REDIS_PORT = 6379, SHOAL_REDIS_PENDING_MAX = 100000 };

/* Where Redis is: "redis://[user[:password]@]host[:port][/db]" (also
 * "redis://:password@host"), with %XX in user and password and [::1] for IPv6;
 * "rediss://", the same by TLS; "unix:PATH", or "unix://user[:password]@/PATH". */
struct shoal_redis_address {
    char *path; /* of the unix socket; NULL for TCP */
    char *host; /* of TCP */
    uint16_t port;
    int database;
    char *user;     /* NULL: the default user */
    char *password; /* NULL: none; never logged */
    bool tls;
    bool own_alone; /* at `path` answers this user or root; who else does is hung up on */
    struct shoal_tls_files
        tls_files; /* its own, all NULL unless secure() put them there */
};

/* `password_file` may be NULL; its first line is the password then. It must not be
 * readable by group or others. A password in both places is SHOAL_INVALID. */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_address_parse(const char *url, const char *password_file,
                                            struct shoal_redis_address *ret_address,
                                            struct shoal_error *err);

/* Adds the files that TLS uses, once; without it the system's authorities are trusted.
 * SHOAL_INVALID: they cannot be used, or the address is not one of TLS. */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_address_secure(struct shoal_redis_address *address,
                                             const struct shoal_tls_files *files,
                                             struct shoal_error *err);

/* The first line of such a file; the caller's: free(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_password_read(const char *path, char **ret_password,
                                            struct shoal_error *err);
void shoal_redis_address_finish(struct shoal_redis_address *address);

/* Whether that Redis is this user's own: a unix socket that is the user's and that nobody
 * else may write to, by an address that names no user of Redis, since one that tells
 * users apart may have others, who come another way. A socket that is not there yet:
 * whether nobody else could make it. */
bool shoal_redis_address_is_own(const struct shoal_redis_address *address);

/* The address for people, without its password: "redis://user@host:6379/0" or
 * "unix:/path". */
void shoal_redis_address_print(const struct shoal_redis_address *address, char *text,
                               size_t room);

/* Blots out the password of a URL where others could read it: in the words of the command
 * line, which ps shows, and in the environment that this process was given, also if that
 * URL is not used; what it starts gets it as it was. *url, which may be NULL, becomes a
 * copy that stays until the end. Returns whether it was in `argv`, for the warning. */
bool shoal_redis_url_hide(const char **url, char *const *argv);
extern const char shoal_redis_url_seen[]; /* the warning */

/* A command being put together: its arguments, each counted, in one buffer. */
struct shoal_request {
    struct shoal_buffer words; /* as RESP bulk strings */
    size_t n;
};

void shoal_request_init(struct shoal_request *request);
void shoal_request_finish(struct shoal_request *request);
void shoal_request_clear(struct shoal_request *request);
void shoal_request_text(struct shoal_request *request, const char *word);
void shoal_request_bytes(struct shoal_request *request, const void *bytes, size_t len);
void shoal_request_int(struct shoal_request *request, int64_t number);
void shoal_request_cleanup(struct shoal_request *request); /* finish, for SHOAL_CLEANUP */

struct shoal_redis;

/* What the connection tells its owner. Any of them may be NULL. None is called from
 * within shoal_redis_send(). */
struct shoal_redis_events {
    /* After each successful greeting. */
    void (*up)(void *owner);
    /* Once per lost connection, after the pending commands were told; and once when the
     * first connect failed. */
    void (*down)(void *owner, const struct shoal_error *why);
    void *owner;
};

struct shoal_redis_options {
    int64_t connect_timeout_ms; /* from connect to the end of the greeting; 0: 5,000 */
    int64_t command_timeout_ms; /* for a command without its own deadline; 0: 10,000 */
    const char *client_name;    /* for CLIENT SETNAME; NULL: none */
    bool reconnect;             /* false: stays down once it was lost */
};

/* Makes a connection that is down; nothing happens before shoal_redis_start() and the
 * loop. `address` is copied. */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_create(struct event_base *base,
                                     const struct shoal_redis_address *address,
                                     const struct shoal_redis_options *options,
                                     const struct shoal_redis_events *events,
                                     struct shoal_redis **ret_redis,
                                     struct shoal_error *err);

/* Closes it. What is unanswered is told SHOAL_LOST first. NULL is fine. Not from a reply
 * or event callback of the same connection. */
void shoal_redis_destroy(struct shoal_redis *redis);

void shoal_redis_start(struct shoal_redis *redis); /* begins to connect, if it is down */
void shoal_redis_drop(struct shoal_redis *redis,
                      const char *why); /* as if the peer had closed */
bool shoal_redis_is_up(const struct shoal_redis *redis);
/* Why it was lost last, or could not be made. */
const char *shoal_redis_why(const struct shoal_redis *redis);
/* Whether that stays so until somebody does something: a password, a certificate. */
bool shoal_redis_is_refused(const struct shoal_redis *redis);
/* Whether it is lost again and again, each time soon after it was up; until it has held,
 * or was not up for 10 s. */
bool shoal_redis_flaps(const struct shoal_redis *redis);
/* When the certificates of its connection expire. False: it is down, or not by TLS. */
bool shoal_redis_ends(const struct shoal_redis *redis, struct shoal_tls_ends *ret_ends);
struct event_base *shoal_redis_base(const struct shoal_redis *redis);

/* Called once per command. `status` SHOAL_OK: `reply` is what Redis said, an error reply
 * included, and is freed after the call. Else `reply` is NULL and err
 * says what happened. */
typedef void (*shoal_redis_reply_fn)(void *owner, enum shoal_status status,
                                     const redisReply *reply,
                                     const struct shoal_error *err);

/* Sends one command. SHOAL_LOST when the connection is not up (`done` is not called
 * then); SHOAL_FULL when SHOAL_REDIS_PENDING_MAX are unanswered. `done` may be NULL.
 * timeout_ms 0: the connection's own. */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_send(struct shoal_redis *redis,
                                   const struct shoal_request *request,
                                   int64_t timeout_ms, shoal_redis_reply_fn done,
                                   void *owner, struct shoal_error *err);

/* The same, waiting: runs the loop until the answer is there. Connects first where it is
 * down, and tries again, until timeout_ms are over (0: the command's usual; connecting
 * included). A Redis error reply becomes the status that shoal_redis_status_of() gives,
 * but SHOAL_LOST where it passes by itself (LOADING, BUSY, MASTERDOWN).
 * Free *ret_reply with freeReplyObject(). Not from within a callback. */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_run(struct shoal_redis *redis,
                                  const struct shoal_request *request, int64_t timeout_ms,
                                  redisReply **ret_reply, struct shoal_error *err);

/* Whether shoal_redis_run() connects and sends again, until its time is over, when the
 * connection breaks before the answer is there or Redis says that it is not ready. Only
 * where all that is sent may be repeated; at first not. */
void shoal_redis_repeat(struct shoal_redis *redis, bool repeat);

/* Whether the last shoal_redis_run() failed since Redis is there and not ready yet, which
 * passes by itself: it loads its data, say. */
bool shoal_redis_is_unready(const struct shoal_redis *redis);

/* What an error reply means to the caller, with a sentence that says what to do: OOM,
 * MISCONF, READONLY, LOADING, BUSY, NOAUTH, WRONGPASS, NOPERM, MASTERDOWN, NOREPLICAS,
 * WRONGTYPE …; SHOAL_OK for anything that is no error. */
enum shoal_status shoal_redis_status_of(const redisReply *reply, struct shoal_error *err);

/* Whether it is the error that begins with that word. */
bool shoal_reply_is_error(const redisReply *reply, const char *word);

/* Whether it is an error that goes away by itself: LOADING, BUSY … */
bool shoal_reply_passes(const redisReply *reply);

/* A function in a library of Lua that Redis keeps, and the library's text. */
struct shoal_script {
    const char *name; /* for people */
    const char *function;
    const char *library;
    bool reads; /* by FCALL_RO, which who may only read may call */
};

/* Runs a script with one key and the arguments that `args` holds: by FCALL, or FCALL_RO,
 * and again behind FUNCTION LOAD when Redis does not know the function (it is new, or
 * came back without its data). SHOAL_DENIED: this user may not load it, among others.
 * Otherwise as shoal_redis_send() and shoal_redis_run(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_script_send(struct shoal_redis *redis,
                                    const struct shoal_script *script, const char *key,
                                    const struct shoal_request *args, int64_t timeout_ms,
                                    shoal_redis_reply_fn done, void *owner,
                                    struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_script_run(struct shoal_redis *redis,
                                   const struct shoal_script *script, const char *key,
                                   const struct shoal_request *args, int64_t timeout_ms,
                                   redisReply **ret_reply, struct shoal_error *err);

/* Reading replies that may be garbage. */
bool shoal_reply_is_array(const redisReply *reply, size_t at_least);
const redisReply *shoal_reply_at(const redisReply *reply,
                                 size_t i); /* NULL beyond the end */
bool shoal_reply_text(const redisReply *reply,
                      const char **ret_text); /* a string without NULs */
bool shoal_reply_int(const redisReply *reply,
                     int64_t *ret_value); /* an integer, or its text */

#endif
