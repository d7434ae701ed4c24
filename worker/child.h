/* Starts a program as a child of the worker.
 *
 * It is started with vfork(), which costs the same however large the worker is: until the
 * child has called execve(), it runs in the worker's memory while the worker waits. */
#ifndef SHOAL_CHILD_H
#define SHOAL_CHILD_H

#include "common/allow.h"
#include "common/error.h"
#include "common/limits.h"
#include "worker/cgroup.h"
#include "worker/sandbox.h"
#include "worker/user.h"

#include <stddef.h>
#include <sys/types.h>

enum { SHOAL_CHILD_FDS = 5 };

struct shoal_child {
    char *const *argv;        /* NULL behind the last */
    char *const *environment; /* the same; its PATH says where argv[0] is looked for … */
    const char *beside;       /* … and then this directory, unless it is NULL */
    const char *directory;    /* to run in, absolute */
    int fds[SHOAL_CHILD_FDS]; /* what it gets as 0, 1, 2, …; the caller's */
    size_t n_fds;
    const struct shoal_cgroup *group; /* it begins in this one; NULL: in the worker's */
    struct shoal_limits limits;       /* that the group does not hold, as far as a
                                         process's own limits can */
    const struct shoal_user *user;    /* who it runs as; NULL: who the worker does */
    const struct shoal_allow *allow;  /* what it may be; NULL: anything */
    const struct shoal_allow *of_key; /* the same of the key that signed the job */
    char *const *set_by_job; /* what of the environment the job has set, or NULL */
    const struct shoal_sandbox *sandbox; /* NULL: none */
    const char *own; /* a directory that it may write to in there … */
    const int *kept; /* … and one that is open; NULL: none */
};

/* The child leads a process group of its own, has its signals at their defaults, no other
 * descriptors, no_new_privs, and SIGKILL as its parent-death signal. When the host has no
 * memory left the kernel ends it before the worker.
 *
 * SHOAL_OK       it is that program now.
 * SHOAL_REFUSED  the program or the directory is not there, cannot be used on this host
 *                or is not allowed; the sentence names the path.
 * SHOAL_INVALID  its arguments and environment are too long for this system.
 * SHOAL_SYSTEM   this host has no processes, memory or descriptors left now. */
SHOAL_MUST_CHECK
enum shoal_status shoal_child_start(const struct shoal_child *child, pid_t *ret_pid,
                                    struct shoal_error *err);

/* Sends a signal to a child that was not waited for and to its group, which it may have
 * left. */
void shoal_child_signal(pid_t pid, int number);

/* For one that was killed, or has ended already. */
void shoal_child_wait(pid_t pid);

#endif
