/* What a job is and how far it is. Public: shoal.h includes it. */
#ifndef SHOAL_JOB_H
#define SHOAL_JOB_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

/* waiting -> active -> stopping -> succeeded | failed | cancelled, and back to active by
 * a retry. A new state also goes into: job.c, lib.lua, the drawing in README.md. */
enum shoal_job_state {
    SHOAL_JOB_WAITING,   /* for its time */
    SHOAL_JOB_ACTIVE,    /* its tasks are handed out and run */
    SHOAL_JOB_STOPPING,  /* cancelled or too many failures: what runs is told to stop */
    SHOAL_JOB_SUCCEEDED, /* every task ended ok */
    SHOAL_JOB_FAILED,    /* every task ended, not all ok */
    SHOAL_JOB_CANCELLED, /* stopped by a person before all had run */
    SHOAL_JOB_STATE_COUNT
};

SHOAL_PUBLIC const char *shoal_job_state_name(enum shoal_job_state state);

/* Whether nothing more happens in that state by itself. */
SHOAL_PUBLIC bool shoal_job_state_is_final(enum shoal_job_state state);

/* How a job is to be treated. Times in milliseconds. */
struct shoal_job_policy {
    int priority;        /* 0 to 9, 9 first; usual 5 */
    int64_t retries;     /* how often a failed task is tried again; usual 0 */
    int64_t max_lost;    /* losses of a lone task that make it poison; usual 5 */
    int64_t max_fails;   /* failed tasks at which the job stops; 0: never */
    int64_t max_running; /* leases at a time; 0: as many as there are slots */
    int64_t keep_ms;     /* how long a finished job stays; usual 7 days */
    int64_t budget;      /* bytes of unread results at which it is held; 0: no limit */
};

/* The policy that a job has unless it says otherwise. */
SHOAL_PUBLIC void shoal_job_policy_init(struct shoal_job_policy *policy);

/* A job as Redis has it: total = queued + delayed + leased + ok + failed + cancelled. */
struct shoal_job {
    char id[13];
    char name[64]; /* "" without one */
    char queue[64];
    char owner[64];   /* who submitted it: user@host */
    char spec[21];    /* digest of what it runs */
    char waiter[13];  /* the client that is told of news; "": none */
    char warrant[21]; /* digest of what its submitter signed; "": nothing */
    char reason[32];  /* why it stops or stopped: "cancelled", "damaged" … or "" */
    enum shoal_job_state state;
    struct shoal_job_policy policy;
    uint64_t seed;
    int64_t total;
    int64_t queued;
    int64_t delayed; /* wait for a retry */
    int64_t leased;  /* handed to a worker; those that run are among them */
    int64_t ok;
    int64_t failed;
    int64_t cancelled;
    int64_t created_ms; /* since 1970; 0: not yet */
    int64_t start_ms;   /* when it is to start; 0: at once */
    int64_t started_ms;
    int64_t ended_ms;
    int64_t work_us; /* that its tasks took so far, all workers together */
    int64_t ran;     /* how many tasks that counts */
    int64_t stored;  /* bytes of results that are in Redis */
    int64_t trimmed; /* entries of the results list that were taken out */
    bool held;       /* unread results have reached its budget: nothing is handed out */
    bool open;       /* takes more tasks */
    bool retried;    /* an index may have two rows; the later counts */
    bool has_arguments;
};

#endif
