#include "worker/outbox.h"

#include "common/clock.h"
#include "worker/handover.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FLIGHT_BYTES = 8 << 20,
    RECENT_BYTES = 4 << 20,
    RECENT_MS = 3000,
    SPILL_MS = 2000,        /* so long it waits in memory only */
    SPILL_BYTES = 16 << 20, /* are written and synced in one piece */
};

struct shoal_parcel {
    struct shoal_commit *commit;
    int64_t since_ms; /* it waits; or it arrived */
    int64_t flown_ms;
    bool spooled; /* a spool has it */
    struct shoal_parcel *next;
};

static size_t weight(const struct shoal_commit *commit) {
    return sizeof(*commit) + commit->outcomes.capacity + commit->failed.words.capacity;
}

static void append(struct shoal_parcels *list, struct shoal_parcel *parcel) {
    parcel->next = NULL;
    if (list->last == NULL)
        list->first = parcel;
    else
        list->last->next = parcel;
    list->last = parcel;
    list->n++;
    list->bytes += weight(parcel->commit);
}

static struct shoal_parcel *shift(struct shoal_parcels *list) {
    struct shoal_parcel *parcel = list->first;
    if (parcel == NULL)
        return NULL;
    list->first = parcel->next;
    if (list->first == NULL)
        list->last = NULL;
    list->n--;
    list->bytes -= weight(parcel->commit);
    return parcel;
}

/* Puts all of `from` in front of `to`. */
static void move_in_front(struct shoal_parcels *from, struct shoal_parcels *to) {
    if (from->first == NULL)
        return;
    from->last->next = to->first;
    to->first = from->first;
    if (to->last == NULL)
        to->last = from->last;
    to->n += from->n;
    to->bytes += from->bytes;
    *from = (struct shoal_parcels){.n = 0};
}

static void destroy(struct shoal_parcel *parcel) {
    shoal_commit_finish(parcel->commit);
    free(parcel->commit);
    free(parcel);
}

void shoal_outbox_init(struct shoal_outbox *outbox, const struct shoal_spools *spools,
                       size_t memory) {
    *outbox = (struct shoal_outbox){.spools = *spools, .memory = memory};
}

void shoal_outbox_finish(struct shoal_outbox *outbox) {
    struct shoal_parcels *lists[] = {&outbox->waiting, &outbox->flying, &outbox->recent};
    for (size_t i = 0; i < 3; i++) {
        for (struct shoal_parcel *parcel; (parcel = shift(lists[i])) != NULL;)
            destroy(parcel);
    }
    shoal_spools_finish(&outbox->spools);
}

/* Takes the commit over; NULL is fine. NULL, and the commit is gone, when there is no
 * memory: its tasks run again. */
static struct shoal_parcel *add(struct shoal_parcels *list, struct shoal_commit *commit) {
    if (commit == NULL)
        return NULL;
    struct shoal_parcel *parcel = malloc(sizeof(*parcel));
    if (parcel == NULL) {
        shoal_commit_finish(commit);
        free(commit);
        return NULL;
    }
    *parcel = (struct shoal_parcel){.commit = commit, .since_ms = shoal_now_ms()};
    append(list, parcel);
    return parcel;
}

void shoal_outbox_add(struct shoal_outbox *outbox, struct shoal_commit *commit) {
    add(&outbox->waiting, commit);
}

bool shoal_outbox_waits(const struct shoal_outbox *outbox) {
    return outbox->waiting.n > 0 || shoal_spools_sum(&outbox->spools).waits;
}

bool shoal_outbox_is_empty(const struct shoal_outbox *outbox) {
    return outbox->flying.n == 0 && !shoal_outbox_waits(outbox);
}

/* The next one of the spools. SHOAL_UNKNOWN: there is none; SHOAL_MEMORY: not now. */
static enum shoal_status next_spooled(struct shoal_outbox *outbox,
                                      struct shoal_parcel **ret_parcel) {
    struct shoal_parcel *parcel = malloc(sizeof(*parcel));
    if (parcel == NULL)
        return SHOAL_MEMORY; /* before a commit is taken, which would count as sent */
    *parcel = (struct shoal_parcel){.since_ms = shoal_now_ms(), .spooled = true};
    enum shoal_status status = shoal_spools_next(&outbox->spools, &parcel->commit);
    if (status == SHOAL_OK)
        *ret_parcel = parcel;
    else
        free(parcel);
    return status;
}

/* The next one to be sent, from the spools first; NULL: there is none that can be. */
static struct shoal_parcel *next(struct shoal_outbox *outbox) {
    struct shoal_parcel *parcel = NULL;
    enum shoal_status status = shoal_spools_sum(&outbox->spools).waits
                                   ? next_spooled(outbox, &parcel)
                                   : SHOAL_UNKNOWN;
    return status == SHOAL_UNKNOWN ? shift(&outbox->waiting) : parcel;
}

size_t shoal_outbox_fly(struct shoal_outbox *outbox, const struct shoal_commit **commits,
                        size_t most) {
    struct shoal_parcel *parcel;
    int64_t now = shoal_now_ms();
    size_t n = 0;
    while (n < most && outbox->flying.bytes < FLIGHT_BYTES &&
           (parcel = next(outbox)) != NULL) {
        parcel->flown_ms = now;
        append(&outbox->flying, parcel);
        commits[n++] = parcel->commit;
    }
    return n;
}

void shoal_outbox_forget_old(struct shoal_outbox *outbox, int64_t now_ms) {
    while (outbox->recent.first != NULL &&
           (outbox->recent.bytes > RECENT_BYTES ||
            outbox->recent.first->since_ms + RECENT_MS < now_ms))
        destroy(shift(&outbox->recent));
}

void shoal_outbox_arrived(struct shoal_outbox *outbox, int64_t now_ms) {
    for (struct shoal_parcel *parcel; (parcel = shift(&outbox->flying)) != NULL;) {
        parcel->since_ms = now_ms;
        parcel->spooled = false;
        append(&outbox->recent, parcel);
    }
    shoal_spools_accept(&outbox->spools);
    shoal_outbox_forget_old(outbox, now_ms);
}

/* What came from a spool, and flies in front, is read again. */
void shoal_outbox_came_back(struct shoal_outbox *outbox) {
    while (outbox->flying.first != NULL && outbox->flying.first->spooled)
        destroy(shift(&outbox->flying));
    move_in_front(&outbox->flying, &outbox->waiting);
    shoal_spools_rewind(&outbox->spools);
}

size_t shoal_outbox_repeat_recent(struct shoal_outbox *outbox) {
    size_t n = outbox->recent.n;
    move_in_front(&outbox->recent, &outbox->waiting);
    return n;
}

/* ---- spilling */

/* Adds commits that wait, as many as go in one piece. Returns how many. */
static size_t add_some(const struct shoal_outbox *outbox, struct shoal_spool *spool,
                       enum shoal_status *ret_status, struct shoal_error *err) {
    const struct shoal_parcel *parcel = outbox->waiting.first;
    size_t n = 0, bytes = 0;
    for (*ret_status = SHOAL_OK; parcel != NULL && bytes < SPILL_BYTES;
         parcel = parcel->next) {
        *ret_status = shoal_spool_add(spool, parcel->commit, err);
        if (*ret_status != SHOAL_OK)
            break;
        bytes += weight(parcel->commit);
        n++;
    }
    return n;
}

static bool spill_some(struct shoal_outbox *outbox, int64_t now_ms) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_spool *spool = shoal_spools_begin(&outbox->spools, now_ms);
    enum shoal_status added;
    if (spool == NULL)
        return false;
    size_t n = add_some(outbox, spool, &added, &err);
    enum shoal_status synced = shoal_spool_sync(spool, &err);
    for (; synced == SHOAL_OK && n > 0; n--)
        destroy(shift(&outbox->waiting));
    if (added == SHOAL_OK && synced == SHOAL_OK) {
        shoal_spools_written(&outbox->spools);
        return true;
    }
    shoal_spools_failed(&outbox->spools, &err, now_ms);
    return false;
}

bool shoal_outbox_spill(struct shoal_outbox *outbox, int64_t now_ms) {
    shoal_outbox_came_back(outbox); /* if it arrives, it is only sent once more */
    while (outbox->waiting.n > 0) {
        if (!spill_some(outbox, now_ms))
            return false;
    }
    return true;
}

void shoal_outbox_tick(struct shoal_outbox *outbox, bool away, int64_t now_ms) {
    const struct shoal_parcel *flies = outbox->flying.first;
    const struct shoal_parcel *waits = outbox->waiting.first;
    size_t bytes = outbox->waiting.bytes + outbox->flying.bytes;
    bool late = (flies != NULL && flies->flown_ms + SPILL_MS < now_ms) ||
                (away && waits != NULL && waits->since_ms + SPILL_MS < now_ms);
    if (late || (bytes > outbox->memory && waits != NULL))
        shoal_outbox_spill(outbox, now_ms);
}

/* ---- looking */

struct shoal_outbox_sum shoal_outbox_sum(const struct shoal_outbox *outbox) {
    struct shoal_spools_sum spools = shoal_spools_sum(&outbox->spools);
    struct shoal_outbox_sum sum = {
        .commits = outbox->waiting.n + spools.commits,
        .memory = outbox->waiting.bytes,
        .spool = spools.bytes,
    };
    for (const struct shoal_parcel *parcel = outbox->flying.first; parcel != NULL;
         parcel = parcel->next) {
        sum.commits += !parcel->spooled;
        sum.memory += weight(parcel->commit);
    }
    return sum;
}

static void visit_list(const struct shoal_parcels *list,
                       void (*visit)(void *owner, const struct shoal_lease *lease),
                       void *owner) {
    for (const struct shoal_parcel *parcel = list->first; parcel != NULL;
         parcel = parcel->next) {
        const struct shoal_commit *commit = parcel->commit;
        struct shoal_lease lease = {.lo = commit->lo, .hi = commit->hi, .attempt = 1};
        snprintf(lease.name, sizeof(lease.name), "%s", commit->lease);
        snprintf(lease.job, sizeof(lease.job), "%s", commit->job);
        visit(owner, &lease);
    }
}

void shoal_outbox_each_flying(const struct shoal_outbox *outbox,
                              void (*visit)(void *owner,
                                            const struct shoal_commit *commit),
                              void *owner) {
    for (const struct shoal_parcel *parcel = outbox->flying.first; parcel != NULL;
         parcel = parcel->next)
        visit(owner, parcel->commit);
}

void shoal_outbox_each(const struct shoal_outbox *outbox,
                       void (*visit)(void *owner, const struct shoal_lease *lease),
                       void *owner) {
    shoal_spools_each(&outbox->spools, visit, owner);
    visit_list(&outbox->waiting, visit, owner);
    visit_list(&outbox->flying, visit, owner);
}

/* ---- an upgrade */

/* What is read comes behind what is there. */
static void carry_list(struct shoal_parcels *list, struct shoal_handover *handover) {
    struct shoal_parcel *parcel = list->first, fresh = {.commit = NULL};
    while (shoal_carry_more(handover, handover->saves && parcel != NULL)) {
        struct shoal_parcel *at = handover->saves ? parcel : &fresh;
        shoal_carry_commit(handover, &at->commit);
        SHOAL_CARRY(handover, at->since_ms, 0, INT64_MAX);
        parcel = handover->saves ? parcel->next : add(list, fresh.commit);
        if (parcel != NULL && !handover->saves)
            parcel->since_ms = fresh.since_ms;
        fresh.commit = NULL;
    }
}

/* What a spool holds stays there, and the new program finds it. */
void shoal_outbox_carry(struct shoal_outbox *outbox, struct shoal_handover *handover) {
    if (handover->saves)
        shoal_outbox_came_back(outbox); /* if it arrives, it is only sent once more */
    carry_list(&outbox->waiting, handover);
    carry_list(&outbox->recent, handover);
}
