/* What kind of Redis this is, and whether a queue can live in it. */
#ifndef SHOAL_SERVER_H
#define SHOAL_SERVER_H

#include "common/redis.h"

/* From INFO. Texts are cut to their room; numbers that INFO did not say are -1. */
struct shoal_server {
    char version[32];
    char policy[32]; /* maxmemory-policy */
    char role[16];   /* master or slave */
    int64_t used_memory;
    int64_t max_memory; /* 0: no limit */
    int64_t aof;        /* 1: there is an append-only file */
    int64_t aof_ok;     /* 1: its last write went well */
    int64_t aof_anew;   /* 1: it was written anew since Redis started, or is just now */
    int64_t port;       /* of TCP or, without that, of TLS; 0: a unix socket alone */
    int64_t clients;
    int64_t uptime_s;
};

/* Reads an answer to INFO. SHOAL_GARBAGE: it is none. */
SHOAL_MUST_CHECK
enum shoal_status shoal_server_read(const redisReply *reply,
                                    struct shoal_server *ret_server,
                                    struct shoal_error *err);

/* Asks, waiting timeout_ms at most. */
SHOAL_MUST_CHECK
enum shoal_status shoal_server_ask(struct shoal_redis *redis, int64_t timeout_ms,
                                   struct shoal_server *ret_server,
                                   struct shoal_error *err);

/* SHOAL_GARBAGE: it named no version. SHOAL_DENIED: Redis is older than 7.0, would evict
 * keys, or is a replica; the sentence says which setting to change. */
SHOAL_MUST_CHECK
enum shoal_status shoal_server_check(const struct shoal_server *server,
                                     struct shoal_error *err);

/* Whether others may come to a Redis whose socket is this user's own: it listens on a
 * port, of TLS too, or does not say that it does not, and lets in who has no password. */
bool shoal_server_is_open(const struct shoal_server *server,
                          const struct shoal_redis_address *address);

/* What tells of the store's layout: a request for an answer that check() reads. */
void shoal_layout_request(struct shoal_request *request, const char *prefix);

/* SHOAL_DENIED: the store has another layout than this version knows; the sentence names
 * both versions. */
SHOAL_MUST_CHECK
enum shoal_status shoal_layout_check(const redisReply *reply, struct shoal_error *err);

/* Asks and checks, waiting timeout_ms at most. */
SHOAL_MUST_CHECK
enum shoal_status shoal_layout_ask(struct shoal_redis *redis, const char *prefix,
                                   int64_t timeout_ms, struct shoal_error *err);

#endif
