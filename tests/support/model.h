/* The queue as it should be, one task at a time: what every move of broker/scripts does,
 * written again in the plainest way, for small jobs. A test makes a move in Redis, tells
 * the model, and compares.
 *
 * Chance and time are Redis's: which range a lease gets, when a retry is due and when a
 * session is past its deadline is not foretold; the model checks that what Redis chose
 * was allowed, and follows. */
#ifndef SHOAL_TEST_MODEL_H
#define SHOAL_TEST_MODEL_H

#include "tests/support/fleet.h"

enum {
    MODEL_JOBS = 10,
    MODEL_TASKS = 64,
    MODEL_LEASES = 256,
    MODEL_SESSIONS = 64,
};

enum model_state {
    MODEL_FRESH, /* at or beyond the cursor */
    MODEL_QUEUED,
    MODEL_DELAYED,
    MODEL_LEASED,
    MODEL_OK,
    MODEL_FAILED,
    MODEL_CANCELLED,
};

struct model_task {
    enum model_state state;
    bool starts; /* a range begins here: what is lost alone is more suspect */
    int64_t attempt;
    int64_t fails;
    int64_t lost;
    int lease; /* that has it */
    int rows;  /* outcomes accepted; more than one only after a retry */
    bool ok;   /* the first of them */
};

struct model_job {
    char id[13];
    struct shoal_job_policy policy;
    enum shoal_job_state state;
    bool cancelled; /* by a person */
    bool due;       /* a waiting job whose time has come */
    bool open;      /* takes more tasks */
    bool gone;      /* forgotten */
    int64_t total;
    int64_t cursor;
    struct model_task tasks[MODEL_TASKS + 1];
};

struct model_lease {
    char session[13]; /* "": over */
    char name[SHOAL_LEASE_MAX];
    int job;
    int64_t lo, hi; /* that it is about */
    bool alone;     /* of a suspect that was handed out alone */
};

struct model_session {
    char id[13]; /* "": over */
    bool drains;
    int64_t deadline_ms;
};

/* Copied as a whole when the store is to be rolled back. */
struct model {
    int n_jobs;
    bool paused;
    struct model_job jobs[MODEL_JOBS];
    struct model_lease leases[MODEL_LEASES];
    struct model_session sessions[MODEL_SESSIONS];
};

/* What a worker tells of tasks [lo, lo + strlen(outcomes)): letters of test_reason(). */
struct model_commit {
    char job[13];
    char lease[SHOAL_LEASE_MAX];
    int64_t lo;
    int64_t attempt;
    int64_t rest; /* -1: none */
    bool over;
    char outcomes[MODEL_TASKS + 1];
};

/* The jobs have numbers in the order of their submission. */
void model_submit(struct model *model, const struct shoal_submission *submission);

/* What the queue should answer. */
enum shoal_status model_append(struct model *model, int number, int64_t first, int64_t n);
enum shoal_status model_drain(struct model *model, const char *session);
void model_close(struct model *model, int number);

/* The name of a wish's k-th lease, from 0, into SHOAL_LEASE_MAX bytes. */
void model_name_lease(char *name, const struct shoal_wish *wish, int64_t k);

/* `wishes` and `answer` as they were sent and came. */
void model_advance(struct model *model, const char *session,
                   const struct model_commit *commits, size_t n,
                   const struct shoal_wish *wishes, size_t n_wishes,
                   const struct shoal_advanced *answer);
void model_register(struct model *model, const struct shoal_registration *told,
                    const struct shoal_registered *answer);
void model_heartbeat(struct model *model, const struct shoal_heartbeat *told,
                     const struct shoal_beaten *answer);
void model_finish(struct model *model, const char *session);
void model_cancel(struct model *model, int number);
void model_retry(struct model *model, int number, bool all);
void model_forget(struct model *model, int number);

/* Fails the test unless Redis holds what the model does, after following what only time
 * did: sessions that ended, jobs that started, retries that became due. */
void model_compare(struct model *model, struct test_fleet *fleet);

/* Fails the test unless the results are the model's: one row for each outcome; of jobs
 * that are gone nothing. */
void model_compare_results(const struct model *model, struct test_fleet *fleet);

bool model_is_over(const struct model *model); /* every job has ended, or is gone */

#endif
