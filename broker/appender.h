/* Appends to an open job without waiting for each answer.
 *
 *     add --> | pack | pack | pack | --> answered        8 packs or 4 MiB at a time
 *               ^ the first that has no answer: after a lost connection all that follow
 *                 are sent again from here, which append.lua skips or takes
 *
 * Nothing here waits but shoal_appender_wait(); answers come while the loop of the
 * connection runs. When the first pack is refused, or lost, that is the appender's
 * trouble: nothing more is sent until somebody says so. */
#ifndef SHOAL_APPENDER_H
#define SHOAL_APPENDER_H

#include "broker/queue.h"

struct shoal_appender;

/* `answered` is called, from the loop, after each answer and each loss; NULL: nobody.
 * `queue` is the caller's and must outlive it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_appender_create(struct shoal_queue *queue, const char *job,
                                        void (*answered)(void *owner), void *owner,
                                        struct shoal_appender **ret_appender,
                                        struct shoal_error *err);

/* What is on its way stays on its way; nobody hears of it. NULL is fine. */
void shoal_appender_destroy(struct shoal_appender *appender);
void shoal_appender_cleanup(struct shoal_appender **appender);

bool shoal_appender_has_room(const struct shoal_appender *appender);

/* Takes tasks [first, first + n) with their pack, as shoal_queue_append(), which is
 * copied, and sends it if there is a connection. One too many is taken as well: look for
 * room, or wait for it, before. */
SHOAL_MUST_CHECK
enum shoal_status shoal_appender_add(struct shoal_appender *appender, int64_t first,
                                     int64_t n, const char *pack, size_t len,
                                     struct shoal_error *err);

/* Closes the job once all that was added is there; it is idle when that is answered. */
SHOAL_MUST_CHECK
enum shoal_status shoal_appender_close(struct shoal_appender *appender,
                                       struct shoal_error *err);

/* What the first pack has met: SHOAL_LOST, or what Redis said to it; else SHOAL_OK. */
const struct shoal_error *shoal_appender_trouble(const struct shoal_appender *appender);

/* Forgets the trouble and sends what was cut off, if there is a connection. */
void shoal_appender_send(struct shoal_appender *appender);

/* Whether all is answered. */
bool shoal_appender_is_idle(const struct shoal_appender *appender);

/* Waits until there is room, or (`all`) until everything is answered. What was cut off is
 * sent again as shoal_redis_run() does it: for the queue's timeout, where the connection
 * repeats. Not from within a callback. */
SHOAL_MUST_CHECK
enum shoal_status shoal_appender_wait(struct shoal_appender *appender, bool all,
                                      struct shoal_error *err);

#endif
