#include "worker/outbox.h"

#include <stdlib.h>

enum { FLIGHT_BYTES = 8 << 20, RECENT_BYTES = 4 << 20, RECENT_MS = 3000 };

struct shoal_parcel {
    struct shoal_commit *commit;
    int64_t arrived_ms;
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

void shoal_outbox_init(struct shoal_outbox *outbox) {
    *outbox = (struct shoal_outbox){.waiting.n = 0};
}

void shoal_outbox_finish(struct shoal_outbox *outbox) {
    struct shoal_parcels *lists[] = {&outbox->waiting, &outbox->flying, &outbox->recent};
    for (size_t i = 0; i < 3; i++) {
        for (struct shoal_parcel *parcel; (parcel = shift(lists[i])) != NULL;)
            destroy(parcel);
    }
}

void shoal_outbox_add(struct shoal_outbox *outbox, struct shoal_commit *commit) {
    if (commit == NULL)
        return;
    struct shoal_parcel *parcel = malloc(sizeof(*parcel));
    if (parcel == NULL) { /* the tasks run again; nothing is lost */
        shoal_commit_finish(commit);
        free(commit);
        return;
    }
    parcel->commit = commit;
    append(&outbox->waiting, parcel);
}

bool shoal_outbox_is_empty(const struct shoal_outbox *outbox) {
    return outbox->waiting.n == 0 && outbox->flying.n == 0;
}

size_t shoal_outbox_fly(struct shoal_outbox *outbox, const struct shoal_commit **commits,
                        size_t most) {
    size_t n = 0;
    while (n < most && outbox->waiting.first != NULL &&
           outbox->flying.bytes < FLIGHT_BYTES) {
        struct shoal_parcel *parcel = shift(&outbox->waiting);
        append(&outbox->flying, parcel);
        commits[n++] = parcel->commit;
    }
    return n;
}

void shoal_outbox_forget_old(struct shoal_outbox *outbox, int64_t now_ms) {
    while (outbox->recent.first != NULL &&
           (outbox->recent.bytes > RECENT_BYTES ||
            outbox->recent.first->arrived_ms + RECENT_MS < now_ms))
        destroy(shift(&outbox->recent));
}

void shoal_outbox_arrived(struct shoal_outbox *outbox, int64_t now_ms) {
    for (struct shoal_parcel *parcel; (parcel = shift(&outbox->flying)) != NULL;) {
        parcel->arrived_ms = now_ms;
        append(&outbox->recent, parcel);
    }
    shoal_outbox_forget_old(outbox, now_ms);
}

void shoal_outbox_came_back(struct shoal_outbox *outbox) {
    move_in_front(&outbox->flying, &outbox->waiting);
}

size_t shoal_outbox_repeat_recent(struct shoal_outbox *outbox) {
    size_t n = outbox->recent.n;
    move_in_front(&outbox->recent, &outbox->waiting);
    return n;
}

static void visit_list(const struct shoal_parcels *list,
                       void (*visit)(void *owner, const struct shoal_commit *commit),
                       void *owner) {
    for (const struct shoal_parcel *parcel = list->first; parcel != NULL;
         parcel = parcel->next)
        visit(owner, parcel->commit);
}

void shoal_outbox_each_flying(const struct shoal_outbox *outbox,
                              void (*visit)(void *owner,
                                            const struct shoal_commit *commit),
                              void *owner) {
    visit_list(&outbox->flying, visit, owner);
}

void shoal_outbox_each(const struct shoal_outbox *outbox,
                       void (*visit)(void *owner, const struct shoal_commit *commit),
                       void *owner) {
    visit_list(&outbox->waiting, visit, owner);
    visit_list(&outbox->flying, visit, owner);
}
