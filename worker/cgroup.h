/* Control groups: what a task starts stays in its group, whatever it does, so that all of
 * it can be counted, bounded and ended.
 *
 *     <the worker's own group>/shoal-<session>/<runner>       in each tree of the host
 *
 * A host has one tree of version 2 for everything, or trees of version 1 for a controller
 * each, or both. One tree holds every process of a task: that of version 2, else one of
 * version 1, freezer before the others. A task joins further trees of version 1 only
 * for a limit that is held there, since that makes the kernel wait for all its
 * cores (milliseconds on an idle host), while a child is born into a group of version 2
 * for nothing.
 *
 * A group is known by its path: after a new start or a re-exec it is made again where it
 * was, with what is in it. Who holds a session's groups has locked their directories
 * (flock), so that those of a dead worker are told from a living one's. */
#ifndef SHOAL_CGROUP_H
#define SHOAL_CGROUP_H

#include "common/error.h"
#include "common/limits.h"
#include "worker/handover.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { SHOAL_CGROUP_TREES = 5, SHOAL_CGROUP_PATH = 1024 };

/* Controllers, as bits. */
enum {
    SHOAL_CGROUP_MEMORY = 1,
    SHOAL_CGROUP_PIDS = 2,
    SHOAL_CGROUP_CPU = 4,
    SHOAL_CGROUP_FREEZER = 8,
};

struct shoal_cgroup_tree {
    bool unified; /* version 2 */
    unsigned controllers;
    char path[SHOAL_CGROUP_PATH]; /* of the group below which sessions have theirs */
    int lock;                     /* of this session; -1: none */
};

/* What the host has. The first tree holds every process of a task. */
struct shoal_cgroups {
    size_t n; /* 0: nothing can be used */
    struct shoal_cgroup_tree trees[SHOAL_CGROUP_TREES];
};

/* Finds the trees. `word`: "auto", "off", or the path of a group of version 2 that is
 * ours to use. SHOAL_INVALID: it is no such path. That a tree cannot be written shows
 * when a session begins. */
SHOAL_MUST_CHECK
enum shoal_status shoal_cgroups_find(const char *word, struct shoal_cgroups *ret_cgroups,
                                     struct shoal_error *err);

/* The trees that two files of /proc/self tell of: mountinfo and cgroup. */
void shoal_cgroups_read(FILE *mounts, FILE *own, struct shoal_cgroups *ret_cgroups);

/* Makes the session's groups; trees where it may not are dropped. */
void shoal_cgroups_begin(struct shoal_cgroups *cgroups, const char *session);

/* Ends every process in the session's groups and removes them. Whether all are gone. */
bool shoal_cgroups_end(struct shoal_cgroups *cgroups, const char *session);

/* The same for every session that nobody holds. Returns how many there were. */
size_t shoal_cgroups_end_dead(const struct shoal_cgroups *cgroups);

/* Trees and locks of a session that goes on in another program. */
void shoal_cgroups_carry(struct shoal_cgroups *cgroups, struct shoal_handover *handover);

/* Which limits groups hold: bits of controllers. */
unsigned shoal_cgroups_hold(const struct shoal_cgroups *cgroups);

/* Those of the limits that a group could hold and none does: of memory each process has
 * them alone then, and the others hold nothing (but see `user` of struct shoal_child). */
struct shoal_limits shoal_cgroups_leave(const struct shoal_cgroups *cgroups,
                                        const struct shoal_limits *limits);

/* ---- the group of a runner */

struct shoal_cgroup;

/* Sees to it that the group `name` is there (*group may be NULL before), that nothing is
 * in it, and that it holds as many of the limits as it can; *ret_rest are the others.
 * Without trees *group stays NULL. SHOAL_SYSTEM: what was in it cannot be ended yet. */
SHOAL_MUST_CHECK
enum shoal_status shoal_cgroup_prepare(struct shoal_cgroup **group,
                                       const struct shoal_cgroups *cgroups,
                                       const char *session, const char *name,
                                       const struct shoal_limits *limits,
                                       struct shoal_limits *ret_rest,
                                       struct shoal_error *err);

/* The group of a runner whose child goes on; on reading it is opened where it is. */
void shoal_cgroup_carry(struct shoal_cgroup **group, const struct shoal_cgroups *cgroups,
                        const char *session, const char *name,
                        struct shoal_handover *handover);

/* Ends everything that is in it; waits a little until it is empty. Whether it is. NULL is
 * an empty group. */
bool shoal_cgroup_kill(struct shoal_cgroup *group);

/* How many processes are in it; -1: that cannot be told. */
int64_t shoal_cgroup_count(const struct shoal_cgroup *group);

/* What the group counted since it was prepared. */
struct shoal_cgroup_usage {
    int64_t oom_kills; /* processes that were killed for the limit of memory */
    int64_t peak;      /* bytes of memory; 0: not known */
};
void shoal_cgroup_usage(const struct shoal_cgroup *group,
                        struct shoal_cgroup_usage *ret_usage);

/* For a child: a descriptor of the directory to be born into (-1: none), and the calling
 * process's way into the rest. System calls only. */
int shoal_cgroup_birthplace(const struct shoal_cgroup *group);
bool shoal_cgroup_join(const struct shoal_cgroup *group, bool born_there);

void shoal_cgroup_destroy(struct shoal_cgroup *group); /* kills, removes; NULL is fine */

#endif
