/* Process trees. The worker is a subreaper: a process that a task leaves behind, in
 * whatever group or session, becomes the worker's child when its parents are gone, and is
 * found and ended here. Where it belongs is read from its environment: SHOAL_JOB,
 * SHOAL_TASK and SHOAL_SLOT of a program, SHOAL_TMP of a runner that stays. One that
 * cleared its environment is ended as soon as no task that is still running can have
 * started it (all of them began after it). */
#ifndef SHOAL_TREE_H
#define SHOAL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct shoal_tree_task {
    pid_t pid; /* the runner's own process, 0 if there is none */
    int slot;
    const char *job; /* id */
    int64_t index;
    const char *folder; /* the SHOAL_TMP that its process has or had */
    bool rests;         /* it has had nothing to do for a while */
    size_t left;        /* so many children of this process belong to it; written here */
};

/* Sends SIGKILL to every child of this process that is not one of the runners' own
 * processes and does not belong to one that is there. Returns how many were ended; the
 * caller reaps them and looks again, since their children come to it in turn. With no
 * tasks: every child. Cheap when there is nothing to do: reads
 * /proc/self/task/<tid>/children. */
size_t shoal_tree_sweep(struct shoal_tree_task *tasks, size_t n);

/* How many processes descend from one. The dead that nobody waited for do not count. */
size_t shoal_tree_count_below(pid_t pid);

/* Sends SIGKILL to every child of this process, again and again until there is none or
 * `timeout_ms` is over, reaping them. For the keeper, whose worker died. Returns whether
 * all are gone. */
bool shoal_tree_kill_all(int64_t timeout_ms);

/* The same for every process of this host that was started with a SHOAL_TMP in `folder`,
 * the private one of a worker that is dead, as far as this user may look at them. */
bool shoal_tree_kill_of(const char *folder, int64_t timeout_ms);

#endif
