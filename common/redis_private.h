/* What redis.c, reply.c and script.c share; for everybody else there is redis.h. */
#ifndef SHOAL_REDIS_PRIVATE_H
#define SHOAL_REDIS_PRIVATE_H

#include "common/redis.h"

/* Sends one command whose words are those of `first` and then those of `rest`. Otherwise
 * as shoal_redis_send(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_send_two(struct shoal_redis *redis,
                                       const struct shoal_request *first,
                                       const struct shoal_request *rest,
                                       int64_t timeout_ms, shoal_redis_reply_fn done,
                                       void *owner, struct shoal_error *err);

/* Sends `what` and has `done` called once with its answer, unless it returns an error. */
typedef enum shoal_status (*shoal_redis_sender)(struct shoal_redis *redis,
                                                const void *what, int64_t timeout_ms,
                                                shoal_redis_reply_fn done, void *owner,
                                                struct shoal_error *err);

/* shoal_redis_run() for whatever `send` sends. */
SHOAL_MUST_CHECK
enum shoal_status shoal_redis_run_with(struct shoal_redis *redis, shoal_redis_sender send,
                                       const void *what, int64_t timeout_ms,
                                       redisReply **ret_reply, struct shoal_error *err);

/* What a timeout of 0 stands for; any other stays. */
int64_t shoal_redis_timeout(const struct shoal_redis *redis, int64_t timeout_ms);

/* Whether this user may not load functions, as Redis has said on this connection. */
bool shoal_redis_cannot_load(const struct shoal_redis *redis);
void shoal_redis_note_cannot_load(struct shoal_redis *redis);

/* The versions of shoal whose functions it has, as it has said on this connection:
 * "0.3, 0.4"; "": it has not. To be written as well. */
enum { SHOAL_VERSIONS_ROOM = 96 };
char *shoal_redis_versions(struct shoal_redis *redis);

#endif
