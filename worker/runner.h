/* How a slot runs tasks: the interface that runner_exec.c (a program per task) and
 * runner_host.c (a child that stays and runs many) implement.
 *
 * A runner belongs to one slot and works through the batches in its hands in order:
 *
 *     idle --start--> at work --(some are done: `reported`)--> at work
 *                        |  --(a batch is over: `ended`)--> at the next, or idle
 *                        |  start: another batch behind those that it has, if it takes it
 *                        |  stop: asks the running task to end, then the spec's grace,
 *                        |        then SIGKILL to the whole tree
 *                        |  kill: SIGKILL to the whole tree at once
 *
 * The worker reaps: it calls wait4() for every child and tells the runners through
 * `reap`. */
#ifndef SHOAL_RUNNER_H
#define SHOAL_RUNNER_H

#include "broker/outcome.h"
#include "common/records.h"
#include "common/signer.h"
#include "common/spec.h"
#include "worker/checkpoints.h"
#include "worker/child.h"

#include <event2/event.h>
#include <sys/resource.h>
#include <sys/types.h>

struct shoal_handover;

/* The hash of a spec, and the key that may run it. */
enum { SHOAL_BATCH_DIGEST_ROOM = SHOAL_HASH_DIGITS + 1 + SHOAL_SIGNER_DIGITS + 1 };

enum { SHOAL_STDERR_MAX = 2048 }; /* bytes of the end of stderr that are kept */

/* Tasks that may be run. Everything is borrowed until start() returns. */
struct shoal_batch {
    const struct shoal_spec *spec;
    const char *digest; /* of the spec: the same for the same text and right to run it */
    const struct shoal_allow *allow; /* what its key may run; NULL: anything */
    const char *job;
    uint64_t seed; /* of the job */
    int64_t attempt;
    int64_t lo, hi;                              /* [lo, hi), not empty */
    const struct shoal_record_reader *arguments; /* stands before the explicit argument of
                                                    task lo; NULL: the job has none */
};

/* The explicit argument of the batch's first task, NULL if the job has none; borrowed.
 * SHOAL_GARBAGE: it is not there. */
SHOAL_MUST_CHECK
enum shoal_status shoal_batch_argument(const struct shoal_batch *batch,
                                       const char **ret_argument, size_t *ret_len,
                                       struct shoal_error *err);

/* The parameters of the batch's first task. SHOAL_GARBAGE: its argument is not there. */
SHOAL_MUST_CHECK
enum shoal_status shoal_batch_parameters(const struct shoal_batch *batch,
                                         struct shoal_parameters *ret_parameters,
                                         struct shoal_error *err);

/* One that did not succeed. */
struct shoal_failure {
    int64_t index;
    enum shoal_reason reason;
    int64_t code;
    int64_t wall_us;
    const char *text; /* what it left: the end of stderr, a traceback, a sentence */
    size_t len;
};

/* Tasks of the first batch in its hands that are done, from the first that was not
 * reported yet. */
struct shoal_report {
    int64_t tasks;
    int64_t work_us; /* that they took together */
    size_t elements; /* their outcomes, as elements of a pack */
    const char *outcomes;
    size_t len;
    const struct shoal_failure *failures; /* those of them that failed, in order */
    size_t n_failures;
};

/* How the first batch in its hands ended, or all of them when the process is gone. Tasks
 * that were taken, not reported, and not the one that ended it were not done. Bytes are
 * the runner's and stay until the next start(). */
struct shoal_ending {
    bool all;
    size_t batch;  /* with `all`: of which batch, from 0, … */
    int64_t index; /* … that task was which ended it; -1: none did, it is just over */
    struct shoal_outcome outcome; /* of that task */
    const char *stderr_end; /* for SPAWN, REJECTED and TOO_LARGE a sentence instead */
    size_t stderr_len;
};

struct shoal_runner_settings {
    struct event_base *base;
    int slot;              /* SHOAL_SLOT, from 0 */
    int place;             /* of a runner that stays, among those of its slot */
    const char *directory; /* the worker's private directory (exists, mode 0700); the
                              runner makes and empties its own folder in it */
    int *
        folder_lock; /* of that one, which is made again if it is gone; NULL: it is not */
    const char *session;
    const struct shoal_cgroups *cgroups; /* NULL: none */
    const struct shoal_user *user;       /* who tasks run as; NULL: who the worker does */
    const struct shoal_allow *allow;     /* what they may be; NULL: anything */
    const struct shoal_sandbox *sandbox; /* where they run; NULL: outside */
    const struct shoal_option_list *pass_env; /* what else of the worker's environment
                                                 they get; NULL: nothing */
    int threads; /* what OMP_NUM_THREADS and its like default to: the slot's cores */
    int64_t max_tasks;  /* after so many a runner that stays is replaced; 0: never */
    int64_t max_memory; /* bytes, the same */
    const struct shoal_checkpoints *checkpoints; /* for jobs that have some */
    /* Both are called from the loop, never from within start(); `ended` once for each
     * batch that was started and not forgotten, or once for all. */
    void (*reported)(void *owner, const struct shoal_report *report);
    void (*ended)(void *owner, const struct shoal_ending *ending);
    /* What a task says while it runs; may be NULL. A fraction below 0: no progress, a
     * line of log. */
    void (*told)(void *owner, int64_t index, double fraction, const char *text,
                 size_t len);
    void *owner;
};

struct shoal_runner {
    const struct shoal_runner_kind *kind;
};

struct shoal_runner_kind {
    /* SHOAL_OK: the first *ret_taken tasks of the batch are in its hands. SHOAL_REFUSED:
     * the program or its directory is not there or not executable on this host (reason
     * `spawn`; the sentence names the path). SHOAL_INVALID, SHOAL_GARBAGE: the spec or
     * argument makes no sense (`rejected`). SHOAL_SYSTEM: this host has no processes,
     * memory or descriptors left now; not the task's fault, try again later. */
    enum shoal_status (*start)(struct shoal_runner *runner,
                               const struct shoal_batch *batch, int64_t *ret_taken,
                               struct shoal_error *err);
    /* Whether start() may be called while it is at work. NULL: never. */
    bool (*takes_more)(struct shoal_runner *runner, const char *digest);
    void (*flush)(
        struct shoal_runner *runner); /* behind one or more start(); may be NULL */
    /* Begins no other task. Returns the first that surely was not begun, of the batch at
     * *ret_batch; those behind that are forgotten. */
    int64_t (*cut)(struct shoal_runner *runner, size_t *ret_batch);
    /* The task that runs, and of which batch in its hands, from 0. */
    int64_t (*index)(struct shoal_runner *runner, size_t *ret_batch);
    /* The running task's outcome will be STOPPED, or what it still gives; no other is
     * begun. Again: nothing. */
    void (*stop)(struct shoal_runner *runner);
    void (*kill)(struct shoal_runner *runner); /* the same at once */
    /* Whether pid was the runner's child; then it takes the status and the usage. */
    bool (*reap)(struct shoal_runner *runner, pid_t pid, int status,
                 const struct rusage *usage);
    /* Whether its process is there for that spec, or could not be started for it lately.
     * NULL: none stays. */
    bool (*serves)(const struct shoal_runner *runner, const char *digest);
    /* Of its process, which may be idle; 0: none. */
    pid_t (*pid)(const struct shoal_runner *runner);
    const char *(*folder)(const struct shoal_runner *runner); /* its SHOAL_TMP */
    /* Whether its process is there and has had nothing to do for a while. NULL: none
     * stays. */
    bool (*rests)(const struct shoal_runner *runner);
    /* Ends a process that rests, together with what its tasks have started, if there is
     * any of that. `left`: how much has become the worker's children. NULL: as above. */
    void (*tidy)(struct shoal_runner *runner, size_t left);
    /* An upgrade: its process and what is in its hands. Only while it has done nothing
     * yet, when it is read. */
    void (*carry)(struct shoal_runner *runner, struct shoal_handover *handover);
    /* Behind a carry(): what the i-th batch in its hands was made of, from the first task
     * that was not reported on. False: it has no such batch. NULL: it needs none. */
    bool (*recall)(struct shoal_runner *runner, size_t i,
                   const struct shoal_batch *batch);
    /* Kills what runs, removes its folder. */
    void (*destroy)(struct shoal_runner *runner);
};

/* Sees to it that its own folder is there, empty and its user's, and its group as a child
 * of that spec needs it. SHOAL_SYSTEM: that cannot be now. */
SHOAL_MUST_CHECK
enum shoal_status shoal_runner_make_room(const struct shoal_runner_settings *settings,
                                         const char *folder, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status
shoal_runner_confine(const struct shoal_runner_settings *settings, const char *folder,
                     const struct shoal_limits *limits, struct shoal_cgroup **group,
                     struct shoal_child *child, struct shoal_error *err);

/* Both of a child that goes on in another program. */
void shoal_runner_carry(const struct shoal_runner_settings *settings, const char *folder,
                        struct shoal_limits *limits, struct shoal_cgroup **group,
                        struct shoal_handover *handover);

/* That it died for the limit of memory, and the end of its stderr, into `sentence`. */
void shoal_runner_say_oom(const struct shoal_limits *limits,
                          const struct shoal_cgroup_usage *usage,
                          struct shoal_ending *ending, char *sentence, size_t room);

SHOAL_MUST_CHECK
enum shoal_status shoal_runner_exec_create(const struct shoal_runner_settings *settings,
                                           struct shoal_runner **ret_runner,
                                           struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_runner_host_create(const struct shoal_runner_settings *settings,
                                           struct shoal_runner **ret_runner,
                                           struct shoal_error *err);

#endif
