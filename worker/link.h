/* What a worker and Redis say to each other, in parts:
 *
 *     link.c            two connections, up and down; the watchdog
 *     link_register.c   the session begins, or is told again what the worker has in hand
 *     link_heartbeat.c  it is kept
 *     link_advance.c    commits and wishes go, leases come
 *     link_bell.c       messages, and tokens of work, are listened for
 *     link_trouble.c    what is said of a Redis that is away, refuses or is full
 *
 * These are the steps by which one part leads to another. */
#ifndef SHOAL_LINK_H
#define SHOAL_LINK_H

#include "worker/worker.h"

enum {
    SHOAL_LINK_RETRY_MS = 500, /* after Redis refused a call */
    SHOAL_LINK_DENIED_MS =
        2000, /* a Redis that refuses all may not be the right one any more */
    SHOAL_LINK_DEAF_MS = 50,    /* after a token that led to nothing; it doubles */
    SHOAL_LINK_WORD_MS = 10000, /* between two words about Redis */
};

void shoal_link_set_timer(struct event *event, int64_t ms);

/* ---- callbacks of the link's timers, whose owner is the worker */

void shoal_link_flush(evutil_socket_t fd, short what, void *owner);
void shoal_link_beat(evutil_socket_t fd, short what, void *owner);
void shoal_link_ring(evutil_socket_t fd, short what, void *owner);

/* ---- steps; harmless at any time */

/* Registers the session, unless that is under way. */
void shoal_link_register(struct shoal_worker *worker);

/* Blocks on the inbox, and on tokens while a slot is idle. */
void shoal_link_listen(struct shoal_worker *worker);

/* Whether a slot could take something; one that rests cannot. */
bool shoal_link_has_room(const struct shoal_worker *worker);

/* What is asked for will not be answered. */
void shoal_link_forget_wishes(struct shoal_worker *worker);

/* Of which store Redis is, and how far: one that has lost something, or is another, is
 * registered with. */
void shoal_link_store_seen(struct shoal_worker *worker, const char *store,
                           int64_t commits);

/* ---- how Redis is */

void shoal_link_answered(struct shoal_link *link);

/* Redis answers, and refuses. The error of a connection that was lost is told when it
 * is down. */
void shoal_link_refused(struct shoal_link *link, enum shoal_status status,
                        const struct shoal_error *err);

/* `what` is a constant, as shoal_link_how() has them. */
void shoal_link_note_trouble(struct shoal_link *link, const char *what,
                             const struct shoal_error *err);
void shoal_link_end_trouble(struct shoal_link *link);
void shoal_link_note_full(struct shoal_link *link, bool full);
void shoal_link_note_flaps(struct shoal_link *link, int64_t now_ms);

/* What is still true and was not said, or has another reason by now. */
void shoal_link_say_again(struct shoal_link *link, int64_t now_ms);

#endif
