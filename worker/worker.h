/* The worker: takes leases and runs their tasks in its slots.
 *
 *     worker.c   the loop: slots, children, signals, drain and stop
 *     link.h     what goes to Redis and comes back: session, commits, leases, messages
 *
 * A Redis that is away is an event, not an error: what runs goes on, outcomes wait, and
 * when it is back the session is registered again, adopts what it still runs, and commits
 * what it holds. */
#ifndef SHOAL_WORKER_H
#define SHOAL_WORKER_H

#include "worker/cgroup.h"
#include "worker/checkpoints.h"
#include "worker/janitor.h"
#include "worker/known.h"
#include "worker/outbox.h"
#include "worker/slot.h"

struct shoal_worker_config {
    struct shoal_redis_address address;
    const char *name_space;
    const char *const *queues; /* the preferred first, NULL behind the last */
    const char *queues_text;   /* the same, joined by commas */
    const char *name;
    const char *directory;   /* where each worker makes its private folder */
    const char *checkpoints; /* where those of tasks are; absolute; NULL: nowhere */
    int64_t slots;
    int64_t threads;    /* of a slot's programs */
    int64_t max_tasks;  /* of a runner that stays, before it is replaced; 0: no bound */
    int64_t max_memory; /* bytes, the same */
    int64_t ttl_ms;     /* of the session */
    int64_t drain_ms;   /* from the first signal to the second; 0: that never comes */
    struct shoal_cgroups cgroups;        /* that hold its tasks */
    const struct shoal_user *user;       /* who tasks run as; NULL: who the worker does */
    const struct shoal_allow *allow;     /* what they may be; NULL: anything */
    const struct shoal_sandbox *sandbox; /* where they run; NULL: outside */
    const struct shoal_option_list *pass_env; /* of the worker's environment, besides */
    struct shoal_trust *trust;                /* whose jobs it runs */
    const char *spool;     /* where outcomes are kept that Redis does not take */
    int64_t spool_max;     /* bytes of them */
    int64_t outbox_memory; /* bytes of outcomes that may wait in memory */
    int folder_lock;       /* of a worker that goes on; -1 */
    char session[SHOAL_ID_LEN + 1];
    char dead[SHOAL_ID_LEN + 1]; /* session of a predecessor that died, or "" */
    int keeper;          /* readable at its end: the keeper is gone; -1: there is none */
    const char *program; /* what it becomes when it upgrades; NULL: nothing */
    char *const *argv;   /* as it was started with */
};

/* What a worker ends with that cannot take over what was handed to it: the keeper starts
 * another. No other exit status of a worker is above SHOAL_WORKER_ENDED_MAX. */
enum { SHOAL_WORKER_ENDED_MAX = 3, SHOAL_WORKER_START_AGAIN = 70 };

#define SHOAL_WORKER_ROLE "worker" /* of a handover */

/* The signal by which a worker tells its keeper that it listens, also behind an upgrade:
 * one that means nothing to whoever else that process may be by then. */
#define SHOAL_WORKER_LISTENS SIGURG

/* The signal by which the keeper, who has looked at the new program, has a worker become
 * that. SIGUSR2 of others a worker passes to its keeper. */
#define SHOAL_WORKER_UPGRADES SIGURG

/* Runs until it is drained, stopped or refused, or goes on with what the program before
 * it in this process has handed over. The program's exit status. */
int shoal_worker_run(struct shoal_worker_config *config);

/* ---- between worker.c and the link */

enum shoal_worker_phase {
    SHOAL_WORKER_WORKS,
    SHOAL_WORKER_DRAINS, /* no new leases; ends when what runs has ended */
    SHOAL_WORKER_STOPS,  /* what runs is told to stop */
};

/* A time in which Redis is away, answers and refuses, or cannot be used before somebody
 * does something: a password, a certificate. It is said when it begins and
 * when it ends, and when the last word about it is not just spoken. */
struct shoal_trouble {
    int64_t since_ms; /* of the wall clock; 0: there is none */
    bool said;
    int64_t said_ms;  /* when the last word was */
    const char *what; /* "is away", "refuses", "cannot be used" */
    char why[512];
};

struct shoal_link {
    struct shoal_redis *redis; /* for scripts */
    struct shoal_redis *bell;  /* blocks on inbox and tokens */
    struct shoal_queue queue;
    struct shoal_queue bell_queue;
    struct event *flush; /* sends commits and wishes */
    struct event *heartbeat;
    struct event *bell_timer; /* listens for tokens again */
    bool checked;             /* Redis is fit for a queue */
    bool entered;             /* and since it is up, who comes to it may have jobs run */
    bool registered;
    bool registering;
    bool flying;  /* an advance is under way */
    bool beating; /* a heartbeat is */
    bool flush_pending;
    int garbled;     /* leases since the last heartbeat of which nothing can be made */
    bool hungry;     /* an idle slot may ask: there may be something to take */
    bool listening;  /* a BLPOP is under way … */
    bool hears_wake; /* … that covers tokens */
    bool nudged;
    struct shoal_trouble trouble;
    struct shoal_trouble flaps; /* connections are made, and soon lost, again and again */
    int64_t full_ms;      /* since when Redis is full, of the wall clock; 0: it is not */
    bool full_said;       /* that was said … */
    int64_t full_said_ms; /* … the last time then */
    int64_t answered_ms;  /* when Redis last said anything to a script */
    int64_t looked_ms;    /* when it last asked for work, or could have heard of some */
    int64_t denied_ms;    /* since when Redis answers and refuses; 0: it does not */
    int64_t deaf_till_ms; /* tokens led to nothing; not before then again */
    int64_t deaf_ms;
    int64_t granted_ms;       /* when there was work the last time */
    bool woken;               /* by a token that the next advance answers … */
    bool answers_token;       /* … or the one under way does */
    size_t idle_before;       /* slots without a lease at the last change */
    struct shoal_lease *told; /* to Redis with the registration under way */
    size_t told_n;
    size_t told_room;
    char store[13];
    int64_t commits; /* the highest sequence seen */
    size_t wished;   /* leases asked for in the advance under way, not only for store */
    bool finished;   /* the session was ended */
    bool trimmed;    /* memory was given back since there was work */
};

struct shoal_worker {
    const struct shoal_worker_config *config;
    struct shoal_cgroups cgroups; /* with this session's groups */
    int folder_lock;
    struct event_base *base;
    struct shoal_slot *slots;
    struct shoal_slot_host slot_host;
    struct shoal_outbox outbox;
    struct shoal_checkpoints checkpoints;
    struct shoal_janitor janitor;
    struct shoal_knowledge known;
    struct shoal_trust *trust;
    struct shoal_link link;
    struct shoal_status_socket *status; /* where people ask how it is; may be NULL */
    enum shoal_worker_phase phase;
    int64_t idle_since_ms; /* while it drains: all slots are idle; 0: not yet */
    int64_t tidied_ms;     /* when it last looked for what tasks have left */
    bool upgrades;         /* it was told to */
    bool over;
    int exit_status;
};

SHOAL_MUST_CHECK
enum shoal_status shoal_link_init(struct shoal_worker *worker, struct shoal_error *err);
void shoal_link_finish(struct shoal_worker *worker);
void shoal_link_tick(struct shoal_worker *worker, int64_t now_ms); /* the watchdog */
void shoal_link_changed(void *owner);                   /* something to send or ask for */
void shoal_link_beat_soon(struct shoal_worker *worker); /* tell Redis now what changed */

void shoal_link_carry(struct shoal_worker *worker, struct shoal_handover *handover);

/* For how long Redis has said nothing, ms, while it owes an answer; 0: it owes none. */
int64_t shoal_link_silent_ms(const struct shoal_worker *worker);

/* Whether Redis cannot be told anything now. */
bool shoal_link_is_away(const struct shoal_worker *worker);
/* And how it is then, behind "Redis": "is away". */
const char *shoal_link_how(const struct shoal_link *link);

/* While it drains: ends the session when nothing is left to send. Returns whether all is
 * done. */
bool shoal_link_try_to_end(struct shoal_worker *worker);

/* Messages, for the worker to act on. */
void shoal_worker_stop_job(struct shoal_worker *worker, const char *job, bool kill);
void shoal_worker_settled(struct shoal_worker *worker, const char *job, int64_t lo,
                          int64_t hi);
void shoal_worker_drain(struct shoal_worker *worker);
void shoal_worker_quit(struct shoal_worker *worker, int status); /* leaves the loop */

/* Where to ask what Redis knows; NULL while it is away. */
struct shoal_queue *shoal_link_queue(struct shoal_worker *worker);

size_t shoal_worker_running(const struct shoal_worker *worker);
size_t shoal_worker_idle_slots(const struct shoal_worker *worker);

#endif
