/* libshoal: a distributed queue of simulations, from C.
 *
 *     #include <shoal/shoal.h>
 *
 *     struct shoal_error err = {0};
 *     struct shoal_client *client = NULL;
 *     const char *command[] = {"./sir", "--beta", "{beta}", "--seed", "{seed}", NULL};
 *     const char *parameters[] = {"beta=0.1:0.9:0.1", NULL};
 *     struct shoal_submit_options options;
 *     char id[13];
 *
 *     shoal_submit_options_init(&options);
 *     options.command = command;
 *     options.parameters = parameters;
 *     options.repetitions = 20;
 *     if (shoal_client_connect(NULL, &client, &err) != SHOAL_OK ||
 *         shoal_submit(client, &options, id, &err) != SHOAL_OK)
 *         fprintf(stderr, "%s\n", err.text);
 *
 * Compile with `cc $(pkg-config --cflags shoal) program.c $(pkg-config --libs shoal)`.
 *
 * Every call that talks to Redis waits for the answer, the client's timeout at most; when
 * the connection breaks meanwhile it is sent again, which every call is made for.
 * Besides what each call says it returns SHOAL_LOST when Redis cannot be reached for that
 * time or is not ready (it loads its data, say), SHOAL_DENIED when Redis does not allow
 * it (a password, an ACL) or cannot be trusted (its certificate), SHOAL_FULL when Redis
 * has no room, SHOAL_REFUSED when the queue's state does not allow it, SHOAL_GARBAGE when
 * it answers nonsense. Calls are safe to repeat after SHOAL_LOST too.
 * `ret_` is written on SHOAL_OK only; `err` may be NULL, must begin zeroed (or cleared),
 * and keeps the first error that it gets.
 *
 * A client belongs to one thread at a time. The program must ignore SIGPIPE. */
#ifndef SHOAL_H
#define SHOAL_H

#include "broker/job.h"
#include "common/error.h"
#include "common/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "0.1.0" */
SHOAL_PUBLIC const char *shoal_version(void);

/* ---- a connection */

struct shoal_client;

struct shoal_client_options {
    const char *url;           /* NULL: $SHOAL_REDIS, or redis://127.0.0.1:6379/0 */
    const char *password_file; /* NULL: none */
    const char *name_space;    /* NULL: "shoal" */
    int64_t timeout_ms;        /* of each call; 0: 10,000 */
    /* PEM files, for rediss:// only: the authorities that are trusted (NULL:
     * $SHOAL_TLS_CA, or the system's), and a certificate with its key, which only its
     * owner may read (both NULL: $SHOAL_TLS_CERT and $SHOAL_TLS_KEY, or none). */
    const char *tls_ca;
    const char *tls_cert;
    const char *tls_key;
    /* The key (shoal keygen) that signs what is submitted and appended. NULL:
     * $SHOAL_SIGN_KEY, or ~/.config/shoal/signing.key if it is there; "": none. */
    const char *sign_key;
    int64_t valid_ms; /* so long do workers run what was signed; 0: 30 days */
};

/* `options` may be NULL, and begins zeroed. SHOAL_DENIED: this Redis is too old, evicts
 * keys, is a replica, or shows a bad certificate. SHOAL_INVALID: the options make no
 * sense, or the key that is to sign cannot be used. SHOAL_LOST: it is away, or was
 * loading its data for all of timeout_ms. Free with shoal_client_destroy(), for which
 * NULL is fine. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_client_connect(const struct shoal_client_options *options,
                     struct shoal_client **ret_client, struct shoal_error *err);
SHOAL_PUBLIC void shoal_client_destroy(struct shoal_client *client);

/* ---- submitting */

struct shoal_submit_options {
    /* Words with {name}, {rep}, {seed}, {seed31}, {task}, {job} in them; NULL behind. */
    const char *const *command;
    /* The command is a runner that stays and runs many tasks: {"shoal-host", "--plugin",
     * "/path/libpi.so", "--task", "pi", NULL}, or what speaks the same protocol. Its
     * words stay as they are. */
    bool stays;
    const char *const *parameters;  /* "NAME=VALUES", NULL behind the last; NULL: none */
    bool zip;                       /* parameters advance together; else their product */
    int64_t repetitions;            /* of each point; >= 1 */
    const char *const *environment; /* "NAME=VALUE", NULL behind the last; NULL: none */
    const char *directory; /* working directory, absolute; NULL: the current one */
    int64_t timeout_ms;    /* of a task; 0: none */
    int64_t grace_ms;      /* between SIGTERM and SIGKILL; usual 10,000 */
    int64_t result_max;    /* bytes of a result; usual 65,536 */
    /* Of a task; usual: none. */
    struct shoal_limits limits;
    /* Each task keeps a directory over its attempts ($SHOAL_CHECKPOINT), and one that
     * exits with 85 is no failure: it is started again and goes on from there. */
    bool checkpoint;
    const char *warning; /* "USR1@60s": so long before the timeout; NULL: none */
    const char *queue;   /* usual "default" */
    const char *name;    /* NULL: none */
    uint64_t seed;       /* of the job; a random one unless has_seed */
    bool has_seed;
    int64_t delay_ms; /* from now; what is signed, for less than it is valid */
    /* Usual: this client is told at once of its results and its end, so that waiting for
     * it costs nothing. False for who only submits. */
    bool waits;
    struct shoal_job_policy policy;
    /* Tasks are added by shoal_append(); parameters must be NULL then, and the command
     * has {} where the argument goes. */
    bool open;
};

/* What is usual, with no command. */
SHOAL_PUBLIC void shoal_submit_options_init(struct shoal_submit_options *options);

/* Puts a job into its queue. Its id (12 characters and a NUL) is written into `ret_id`
 * before anything is sent, so after SHOAL_LOST shoal_describe() can tell whether it
 * arrived. SHOAL_INVALID: the options make no sense; the sentence says which and what to
 * do. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_submit(struct shoal_client *client, const struct shoal_submit_options *options,
             char ret_id[13], struct shoal_error *err);

/* Puts n jobs into their queues, hundreds in a call to Redis: options[i] are those of
 * the job with the id ret_ids[i]. Jobs whose options point to the same command,
 * parameters, environment and directory, and have the same numbers, are known to run
 * the same, which makes them cheap: they may differ in queue, name, seed and policy.
 * When it fails, those before some job were submitted and those from it on were not;
 * shoal_describe() tells. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_submit_many(struct shoal_client *client, const struct shoal_submit_options *options,
                  size_t n, char (*ret_ids)[13], struct shoal_error *err);

/* Adds tasks to an open job, one for each argument (a text without NULs, 64 KiB at most):
 * the first one is task `first`, which must be the number of tasks that the job has; a
 * gap is SHOAL_REFUSED. SHOAL_INVALID: an argument is no such text, and nothing was
 * added. After any other error some of them may be there; what is there is skipped, so
 * the same call may be repeated. Many in a call are fastest: they are sent in packs of
 * some thousand, of which eight at most wait for their answer. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_append(struct shoal_client *client, const char *job, int64_t first,
             const char *const *arguments, size_t n, struct shoal_error *err);

/* The open job takes no more tasks and ends with its last. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_close(struct shoal_client *client, const char *job, struct shoal_error *err);

/* ---- looking and waiting; SHOAL_UNKNOWN: there is no such job, or it has expired */

/* The id of the job that a person means by an id, an unambiguous prefix of one, or a
 * name: the newest job's of that name. SHOAL_INVALID: the prefix fits several. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status shoal_find(struct shoal_client *client,
                                                           const char *text,
                                                           char ret_id[13],
                                                           struct shoal_error *err);

SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_describe(struct shoal_client *client, const char *job, struct shoal_job *ret_job,
               struct shoal_error *err);

/* Newest first, `most` at most; the array is the caller's: free(). */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_list(struct shoal_client *client, size_t most, struct shoal_job **ret_jobs,
           size_t *ret_n, struct shoal_error *err);

/* Waits until the job has ended, timeout_ms at most (-1: for ever). SHOAL_TIMEOUT: it has
 * not. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_wait(struct shoal_client *client, const char *job, int64_t timeout_ms,
           struct shoal_job *ret_job, struct shoal_error *err);

/* ---- control */

/* Nothing new starts; what runs is told to stop (`kill`: is ended at once). */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status shoal_cancel(struct shoal_client *client,
                                                             const char *job, bool kill,
                                                             struct shoal_error *err);

/* Runs failed tasks (`all`: cancelled ones too) of an ended job again. *ret_tasks: how
 * many. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status shoal_retry(struct shoal_client *client,
                                                            const char *job, bool all,
                                                            int64_t *ret_tasks,
                                                            struct shoal_error *err);

/* Takes an ended job with its results out of Redis. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_forget(struct shoal_client *client, const char *job, struct shoal_error *err);

/* ---- results */

struct shoal_results;

/* One outcome. Texts are borrowed until the next call on the same iterator; those with a
 * length are not terminated. */
struct shoal_result {
    int64_t index; /* of the task */
    bool ok;
    const char *reason; /* "ok", "exit", "signal", "timeout", … terminated */
    int64_t attempt;    /* from 1 */
    int64_t code;       /* exit code or signal */
    int64_t wall_us;
    int64_t cpu_us;
    int64_t rss_kb; /* peak memory */
    const char *worker;
    size_t worker_len;
    const char *bytes; /* what the program printed or reported */
    size_t len;
};

/* Iterates over the outcomes of a job in the order in which they came. Of two for one
 * index, after a retry, the later counts. Free with shoal_results_destroy(); NULL is
 * fine. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_results_create(struct shoal_client *client, const char *job,
                     struct shoal_results **ret_results, struct shoal_error *err);
SHOAL_PUBLIC void shoal_results_destroy(struct shoal_results *results);

/* The next outcome. Waits for it while the job runs, timeout_ms at most (-1: for ever; 0:
 * not at all). *ret_more is false when the job has ended and there are no more.
 * SHOAL_TIMEOUT: none yet. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_results_next(struct shoal_results *results, int64_t timeout_ms, bool *ret_more,
                   struct shoal_result *ret_result, struct shoal_error *err);

/* Tells Redis that what was returned so far is safe with the caller. A job with a budget
 * goes on when it was held; with `take`, what was read is removed from Redis. */
SHOAL_PUBLIC SHOAL_MUST_CHECK enum shoal_status
shoal_results_acknowledge(struct shoal_results *results, bool take,
                          struct shoal_error *err);

#endif
