/* Commits on their way to Redis.
 *
 *      +--(Redis is away, or too many)--> spools --+
 *      |                                           v
 *     waiting --(an advance is sent)-----------> flying --(answered)--> recent --> gone
 *      ^                                           |                      |
 *      +------(the answer was lost)----------------+---(Redis forgot it)--+
 *
 * A commit is safe to send again: what was accepted is not accepted twice. What is in the
 * spools is older than what waits and goes first. `recent` (3 s, 4 MiB) is what a Redis
 * that lost its last moments may have forgotten. */
#ifndef SHOAL_OUTBOX_H
#define SHOAL_OUTBOX_H

#include "broker/session.h"
#include "worker/spools.h"

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
    struct shoal_spools spools;
    size_t memory; /* bytes that may wait or fly before they go into a spool */
};

/* `spools` is the outbox's from now on. */
void shoal_outbox_init(struct shoal_outbox *outbox, const struct shoal_spools *spools,
                       size_t memory);
void shoal_outbox_finish(struct shoal_outbox *outbox); /* leaves the spools' files */

/* Takes the commit over; NULL is fine. */
void shoal_outbox_add(struct shoal_outbox *outbox, struct shoal_commit *commit);

/* Nothing waits or flies that this Redis may have. */
bool shoal_outbox_is_empty(const struct shoal_outbox *outbox);

/* Something may be sent. */
bool shoal_outbox_waits(const struct shoal_outbox *outbox);

/* Moves what waits into flight, `most` commits and a few MiB at most, and writes pointers
 * to them into `commits`. Only while nothing flies. Returns how many: none although some
 * wait when there is no memory for them now. */
size_t shoal_outbox_fly(struct shoal_outbox *outbox, const struct shoal_commit **commits,
                        size_t most);
void shoal_outbox_arrived(struct shoal_outbox *outbox, int64_t now_ms);
void shoal_outbox_forget_old(struct shoal_outbox *outbox, int64_t now_ms);
void shoal_outbox_came_back(struct shoal_outbox *outbox);

/* Redis lost its last moments: what is recent waits again. Returns how many commits. */
size_t shoal_outbox_repeat_recent(struct shoal_outbox *outbox);

/* Writes to a spool what is in memory if it is too much, or (away: Redis cannot be had)
 * has waited for two seconds. */
void shoal_outbox_tick(struct shoal_outbox *outbox, bool away, int64_t now_ms);

/* The same whatever it is. False when that was not possible. */
bool shoal_outbox_spill(struct shoal_outbox *outbox, int64_t now_ms);

struct shoal_outbox_sum {
    size_t commits;
    size_t memory; /* bytes */
    int64_t spool; /* bytes */
};
struct shoal_outbox_sum shoal_outbox_sum(const struct shoal_outbox *outbox);

/* Calls `visit` with every commit that flies. */
void shoal_outbox_each_flying(const struct shoal_outbox *outbox,
                              void (*visit)(void *owner,
                                            const struct shoal_commit *commit),
                              void *owner);

/* Calls `visit` with the lease and range of all that waits or flies. */
void shoal_outbox_each(const struct shoal_outbox *outbox,
                       void (*visit)(void *owner, const struct shoal_lease *lease),
                       void *owner);

struct shoal_handover;

/* All that waits, flies (then it waits again) and is recent. */
void shoal_outbox_carry(struct shoal_outbox *outbox, struct shoal_handover *handover);

#endif
