/* A slot: has the tasks of its leases run, one after the other.
 *
 *     granted --> held … held --launched--> in the runner's hands --over--> committed
 *                 in store                  the first of them runs
 *
 * Of short leases, such as jobs of one task, many are held and launched at once; of
 * others at most one is in store. What ends is gathered in the lease's commit; `changed`
 * tells the worker that there is something to send or to ask for. */
#ifndef SHOAL_SLOT_H
#define SHOAL_SLOT_H

#include "worker/held.h"
#include "worker/outbox.h"
#include "worker/runner.h"

enum { SHOAL_SLOT_STAYS = 3, SHOAL_SLOT_RUNNERS = 1 + SHOAL_SLOT_STAYS };

struct shoal_slot_host {
    const char *worker; /* its name */
    const struct shoal_cgroups *cgroups;
    bool has_user; /* of its own for tasks, whose processes can be counted */
    const struct shoal_sandbox *sandbox; /* of its tasks; NULL: they have none */
    struct shoal_outbox *outbox;
    struct shoal_trust *trust; /* whose jobs it runs */
    void (*changed)(void *owner);
    void *owner;
};

/* How far a task says it is. */
struct shoal_said {
    int64_t index; /* -1: none has said anything */
    char job[13];
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
    struct shoal_held *held; /* in the order in which they are run */
    size_t n_held;
    size_t launched; /* so many of them, the first ones, are in the runner's hands */
    struct shoal_said said; /* by the task that runs */
    int64_t started_ms;     /* when the task that runs was started, about */
    int64_t last_wall_us;   /* of the task before */
    int64_t paused_till_ms; /* the host had no processes or memory left */
    int64_t pause_ms;
    uint64_t wishes;            /* so many were named */
    uint64_t batches;           /* so many were given to runners that stay */
    char wish[SHOAL_LEASE_MAX]; /* name of the lease that is asked for next */
    int64_t asked;              /* leases, by the wish under way; 0: there is none */
    size_t got;                 /* of them, so far */
    size_t granted;             /* by the wish before */
    int64_t appetite;           /* leases that it may ask for at once */
    bool refused;               /* it asked for its store in vain */
};

SHOAL_MUST_CHECK
enum shoal_status shoal_slot_init(struct shoal_slot *slot, int number,
                                  const struct shoal_slot_host *host,
                                  const struct shoal_runner_settings *settings,
                                  struct shoal_error *err);
void shoal_slot_finish(struct shoal_slot *slot);

/* The number of the slot that named the lease; of another worker's, any. */
int64_t shoal_slot_of_lease(const char *lease);

bool shoal_slot_is_idle(const struct shoal_slot *slot); /* it has no lease */

/* Whether it would like leases now, and whether only in store. */
bool shoal_slot_wishes(const struct shoal_slot *slot, struct shoal_wish *ret_wish);

/* Its wish is under way; NULL: the answer was lost. */
void shoal_slot_asks(struct shoal_slot *slot, const struct shoal_wish *wish);

/* Whether a lease of that name was granted to its wish. */
bool shoal_slot_asked_for(const struct shoal_slot *slot, const char *lease);

/* Takes a lease that was granted to its wish; answered() follows the last. `garbled`: so
 * was one of which nothing can be made. The next wish has another name then, and a
 * heartbeat gives that lease back. */
void shoal_slot_take(struct shoal_slot *slot, struct shoal_held *held);
void shoal_slot_answered(struct shoal_slot *slot, bool garbled);

/* 0: the runner that starts programs; from 1 on: those that stay. */
struct shoal_runner *shoal_slot_runner(const struct shoal_slot *slot, int number);

/* The lease whose task runs; NULL: none does. */
struct shoal_held *shoal_slot_running(const struct shoal_slot *slot);

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

/* An upgrade: all of it, but for the wish under way, which is made again. Only right
 * behind init, when it is read. */
void shoal_slot_carry(struct shoal_slot *slot, struct shoal_knowledge *all,
                      struct shoal_handover *handover);

#endif
