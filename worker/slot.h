/* A slot: has the tasks of its lease run, one after the other, and keeps at most one
 * lease in store.
 *
 *     idle --take--> held --start--> running --ended--> held … --the last--> idle (or the
 * next lease)
 *
 * What ends is gathered in the lease's commit; `changed` tells the worker that there is
 * something to send or to ask for. */
#ifndef SHOAL_SLOT_H
#define SHOAL_SLOT_H

#include "worker/held.h"
#include "worker/outbox.h"
#include "worker/runner.h"

enum { SHOAL_SLOT_STAYS = 3 };

struct shoal_slot_host {
    const char *worker; /* its name */
    struct shoal_outbox *outbox;
    void (*changed)(void *owner);
    void *owner;
};

/* A task that ended its runner while tasks before it were done but not reported: they are
 * run again first. */
struct shoal_doom {
    int64_t index; /* -1: there is none */
    struct shoal_outcome outcome;
    char *text;
    size_t len;
};

/* How far a task says it is. */
struct shoal_said {
    int64_t index; /* -1: none has said anything */
    double fraction;
    char text[100];
};

struct shoal_slot {
    const struct shoal_slot_host *host;
    struct shoal_runner *exec; /* starts programs */
    /* Each keeps a child that runs many tasks: some, so that jobs that take turns need
     * not load what they run again and again. */
    struct shoal_runner *stays[SHOAL_SLOT_STAYS];
    uint64_t used[SHOAL_SLOT_STAYS]; /* when: the number of the batch */
    struct shoal_runner *runner;     /* the one of them that works, or did last */
    int number;
    struct shoal_held *held; /* what it works on */
    struct shoal_held *next; /* in store */
    bool running;
    bool stopping; /* its task was told to stop, the lease is given up */
    struct shoal_doom doom;
    struct shoal_said said; /* by the task that runs */
    int64_t started_ms;     /* when the task that runs was started, about */
    int64_t last_wall_us;   /* of the task before */
    int64_t paused_till_ms; /* the host had no processes or memory left */
    int64_t pause_ms;
    uint64_t leases;            /* so many were named */
    uint64_t batches;           /* so many were given to runners that stay */
    char wish[SHOAL_LEASE_MAX]; /* name of the lease that is asked for next */
};

SHOAL_MUST_CHECK
enum shoal_status shoal_slot_init(struct shoal_slot *slot, int number,
                                  const struct shoal_slot_host *host,
                                  const struct shoal_runner_settings *settings,
                                  struct shoal_error *err);
void shoal_slot_finish(struct shoal_slot *slot);

bool shoal_slot_is_idle(const struct shoal_slot *slot); /* it has no lease */

/* Whether it would like a lease now, and whether only in store. */
bool shoal_slot_wishes(const struct shoal_slot *slot, struct shoal_wish *ret_wish);

/* Takes a lease that was granted to its wish. */
void shoal_slot_take(struct shoal_slot *slot, struct shoal_held *held);

/* Goes on: starts the next task, ends a lease that is done. Harmless at any time. */
void shoal_slot_step(struct shoal_slot *slot);

/* Gathers what can be sent of its leases into the outbox. */
void shoal_slot_flush(struct shoal_slot *slot);

/* What was asked to stop: every lease of that job (NULL: of any). */
void shoal_slot_stop(struct shoal_slot *slot, const char *job, bool kill);

/* Others finished [lo, hi) of a job. */
void shoal_slot_settled(struct shoal_slot *slot, const char *job, int64_t lo, int64_t hi);

/* Gives back what is untouched; the running task goes on. */
void shoal_slot_give_back(struct shoal_slot *slot);

/* What only time does. */
void shoal_slot_tick(struct shoal_slot *slot, int64_t now_ms);

/* What Redis says of a lease after a gap: attempt as in struct shoal_registered. */
void shoal_slot_adopted(struct shoal_slot *slot, const char *lease, int64_t attempt);

#endif
