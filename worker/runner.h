/* How a slot runs a task: the interface that runner_exec.c implements.
 *
 * A runner belongs to one slot and runs one task at a time:
 *
 *     idle --start--> running --(child ends)--> idle, `ended` is called
 *                        |  stop: SIGTERM to the group, the spec's grace, SIGKILL to the
 * whole tree |  kill: SIGKILL to the whole tree at once
 *
 * The worker reaps: it calls waitpid for every child and tells the runners through
 * `reap`. */
#ifndef SHOAL_RUNNER_H
#define SHOAL_RUNNER_H

#include "broker/outcome.h"
#include "common/spec.h"

#include <event2/event.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { SHOAL_STDERR_MAX = 2048 }; /* bytes of the end of stderr that are kept */

/* One task as a runner needs it. Everything is borrowed until start() returns. */
struct shoal_launch {
    const struct shoal_spec *spec;
    const struct shoal_task *task;
    int64_t attempt;
};

/* What came of it. Bytes are the runner's and stay until the next start(). For
 * SHOAL_REASON_SPAWN, REJECTED and TOO_LARGE, `stderr_end` is a sentence instead. */
struct shoal_ending {
    struct shoal_outcome outcome;
    const char *stderr_end;
    size_t stderr_len;
};

struct shoal_runner_settings {
    struct event_base *base;
    int slot;              /* SHOAL_SLOT, from 0 */
    const char *directory; /* the worker's private directory (exists, mode 0700); the
                              runner makes and empties its own folder in it */
    int threads; /* what OMP_NUM_THREADS and its like default to: the slot's cores */
    /* called from the loop, never from within start(), once for
     * each successful start() */
    void (*ended)(void *owner, const struct shoal_ending *ending);
    void *owner;
};

struct shoal_runner {
    const struct shoal_runner_kind *kind;
};

struct shoal_runner_kind {
    /* SHOAL_OK: it runs. SHOAL_REFUSED: the program or its directory is not there or not
     * executable on this host (reason `spawn`; the sentence names the path).
     * SHOAL_INVALID: the spec or argument makes no sense (`rejected`). SHOAL_SYSTEM: this
     * host has no processes, memory or descriptors left now; not the task's fault, try
     * again later. */
    enum shoal_status (*start)(struct shoal_runner *runner,
                               const struct shoal_launch *launch,
                               struct shoal_error *err);
    /* The outcome will be STOPPED; again: nothing. */
    void (*stop)(struct shoal_runner *runner);
    void (*kill)(struct shoal_runner *runner); /* the same at once */
    /* Whether pid was the runner's child; then it takes the status and the usage. */
    bool (*reap)(struct shoal_runner *runner, pid_t pid, int status,
                 const struct rusage *usage);
    /* Of the running task's process; 0: none. */
    pid_t (*pid)(const struct shoal_runner *runner);
    /* Kills what runs, removes its folder. */
    void (*destroy)(struct shoal_runner *runner);
};

SHOAL_MUST_CHECK
enum shoal_status shoal_runner_exec_create(const struct shoal_runner_settings *settings,
                                           struct shoal_runner **ret_runner,
                                           struct shoal_error *err);

#endif
