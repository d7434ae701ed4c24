/* Directories that stay with tasks over their attempts.
 *
 *     DIR/<namespace>/<store>/<job>/<task>     a task's own, until it has succeeded
 *     DIR/<namespace>/<store>/gone/<random>    on its way out, a little at a time
 *
 * The store is the id of what a Redis holds. So several may use one DIR, and of a job
 * that a Redis does not know it can be said that it is over. DIR may be on a file system
 * that all hosts share: nothing here is kept in memory but paths. */
#ifndef SHOAL_CHECKPOINTS_H
#define SHOAL_CHECKPOINTS_H

#include "broker/session.h"

#include <limits.h>

struct shoal_checkpoints {
    char directory[PATH_MAX - 512]; /* DIR/<namespace>; "": there is no place */
    char folder[PATH_MAX - 256];    /* of the store; "": it is not known yet */
    bool cleans;                    /* something that has gone may be there still */
};

/* `directory` is absolute; DIR/<namespace> must be there before one is made in it, and is
 * not made again if it goes: then what was mounted there may have gone. NULL: there is no
 * place for checkpoints. SHOAL_INVALID: the path is too long. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkpoints_init(struct shoal_checkpoints *checkpoints,
                                         const char *directory, const char *name_space,
                                         struct shoal_error *err);

/* From now on they are those of that store. */
void shoal_checkpoints_of_store(struct shoal_checkpoints *checkpoints, const char *store);

/* Whether there is a place for them now. SHOAL_REFUSED: there is none on this host, or it
 * is not known yet; SHOAL_SYSTEM: it has gone, and may come back. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkpoints_reach(const struct shoal_checkpoints *checkpoints,
                                          struct shoal_error *err);

/* The task's directory, made unless it is there, into PATH_MAX bytes. SHOAL_REFUSED: it
 * cannot be on this host; SHOAL_SYSTEM: not now. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkpoint_make(const struct shoal_checkpoints *checkpoints,
                                        const char *job, int64_t index, char *path,
                                        struct shoal_error *err);

/* What Redis has taken: the directories of those that succeeded go. Cheap where there
 * are none. */
void shoal_checkpoints_committed(struct shoal_checkpoints *checkpoints,
                                 const struct shoal_commit *commit);

/* All of a job's go. */
void shoal_checkpoints_forget(struct shoal_checkpoints *checkpoints, const char *job);

/* Removes some of what has gone, while there is any. */
void shoal_checkpoints_clean(struct shoal_checkpoints *checkpoints);

#endif
