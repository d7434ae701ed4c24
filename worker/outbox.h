/* Commits on their way to Redis.
 *
 *     waiting --(an advance is sent)--> flying --(answered)--> recent --(3 s, 4 MiB)-->
 * gone ^                                |                       |
 *        +------(the answer was lost)-----+---(Redis forgot it)---+
 *
 * A commit is safe to send again: what was accepted is not accepted twice. `recent` is
 * what a Redis that lost its last moments may have forgotten. */
#ifndef SHOAL_OUTBOX_H
#define SHOAL_OUTBOX_H

#include "broker/session.h"

struct shoal_parcel;

struct shoal_parcels {
    struct shoal_parcel *first;
    struct shoal_parcel *last;
    size_t n;
    size_t bytes;
};

struct shoal_outbox {
    struct shoal_parcels waiting;
    struct shoal_parcels flying;
    struct shoal_parcels recent;
};

void shoal_outbox_init(struct shoal_outbox *outbox);
void shoal_outbox_finish(struct shoal_outbox *outbox);

/* Takes the commit over; NULL is fine. */
void shoal_outbox_add(struct shoal_outbox *outbox, struct shoal_commit *commit);

/* Nothing waits or flies. */
bool shoal_outbox_is_empty(const struct shoal_outbox *outbox);

/* Moves what waits into flight, `most` commits and a few MiB at most, and writes pointers
 * to them into `commits`. Only while nothing flies. Returns how many. */
size_t shoal_outbox_fly(struct shoal_outbox *outbox, const struct shoal_commit **commits,
                        size_t most);
void shoal_outbox_arrived(struct shoal_outbox *outbox, int64_t now_ms);
void shoal_outbox_forget_old(struct shoal_outbox *outbox, int64_t now_ms);
void shoal_outbox_came_back(struct shoal_outbox *outbox);

/* Redis lost its last moments: what is recent waits again. Returns how many commits. */
size_t shoal_outbox_repeat_recent(struct shoal_outbox *outbox);

/* Calls `visit` with every commit that flies, … */
void shoal_outbox_each_flying(const struct shoal_outbox *outbox,
                              void (*visit)(void *owner,
                                            const struct shoal_commit *commit),
                              void *owner);

/* … or with those that wait as well. */
void shoal_outbox_each(const struct shoal_outbox *outbox,
                       void (*visit)(void *owner, const struct shoal_commit *commit),
                       void *owner);

#endif
