/* The sandbox of tasks (--sandbox): by Landlock they write to nothing but their own
 * directories and what the worker names, steer no other device and signal nobody
 * outside; by filters of system calls a process changes limits, priority and scheduling
 * of itself alone, and has no network if that is asked. Root's have no capabilities. All
 * of that passes on to what a task starts.
 *
 * They read and start what they may without it. Modes, owners and times of files are not
 * held by Landlock: who owns a file can still change those. */
#ifndef SHOAL_SANDBOX_H
#define SHOAL_SANDBOX_H

#include "common/error.h"
#include "common/option.h"

#include <stdbool.h>
#include <stddef.h>

struct shoal_sandbox {
    int abi;      /* of the kernel's Landlock */
    bool filters; /* of system calls are let be used here */
    bool no_network;
    const struct shoal_option_list *writable; /* what tasks may write to besides */
};

/* Tries it out in a child. SHOAL_INVALID: a path is not there or not absolute; or this
 * kernel cannot hold what is asked, which the sentence says. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sandbox_init(struct shoal_sandbox *ret_sandbox,
                                     const struct shoal_option_list *writable,
                                     bool no_network, struct shoal_error *err);

/* Says in the log what it holds. */
void shoal_sandbox_tell(const struct shoal_sandbox *sandbox);

/* The rules for a child that may write beneath the directories `own`, by its path, and
 * `kept`, which is open (NULL: none), as a descriptor from `least` on. SHOAL_SYSTEM: not
 * now. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sandbox_make(const struct shoal_sandbox *sandbox, const char *own,
                                     const int *kept, int least, int *ret_ruleset,
                                     struct shoal_error *err);

/* Enters it for good: system calls alone, with no_new_privs set. `sandbox` NULL: nothing.
 * False with errno: it is not held. */
bool shoal_sandbox_enter(const struct shoal_sandbox *sandbox, int ruleset);

/* Its other half, which comes when no privilege is needed any more: root's tasks have no
 * capabilities. */
bool shoal_sandbox_leave_capabilities(const struct shoal_sandbox *sandbox);

#endif
