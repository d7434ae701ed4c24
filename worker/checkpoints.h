/* Directories that stay with tasks over their attempts.
 *
 *     DIR/<namespace>/<store>/<job>/<task>     a task's own, until it has succeeded
 *     DIR/<namespace>/<store>/gone/<random>    on its way out, a little at a time
 *
 * The store is the id of what a Redis holds. So several may use one DIR, and of a job
 * that a Redis does not know it can be said that it is over. DIR may be on a file system
 * that all hosts share: nothing here is kept in memory but paths.
 *
 * DIR may be anybody's, such as a scratch where all may write. What is below, as far as
 * the jobs and `gone`, is the worker's own or is not used (shoal_place_enter()): each
 * time it is gone down from DIR, one open directory after the other, and what is done
 * there is done by descriptor. */
#ifndef SHOAL_CHECKPOINTS_H
#define SHOAL_CHECKPOINTS_H

#include "broker/session.h"
#include "worker/user.h"

#include <dirent.h>
#include <limits.h>

struct shoal_checkpoints {
    char directory[PATH_MAX - 512]; /* DIR/<namespace>; "": there is no place */
    char folder[PATH_MAX - 256];    /* of the store; "": it is not known yet */
    const struct shoal_user *user;  /* whose tasks have them; NULL: the worker's */
    bool cleans;                    /* something that has gone may be there still */
};

/* `directory` is absolute; DIR/<namespace> must be there before one is made in it, and is
 * not made again if it goes: then what was mounted there may have gone. NULL: there is no
 * place for checkpoints. SHOAL_INVALID: the path is too long. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkpoints_init(struct shoal_checkpoints *checkpoints,
                                         const char *directory, const char *name_space,
                                         const struct shoal_user *user,
                                         struct shoal_error *err);

/* From now on they are those of that store. */
void shoal_checkpoints_of_store(struct shoal_checkpoints *checkpoints, const char *store);

/* Whether there is a place for them now: the store's folder, open (O_PATH).
 * SHOAL_REFUSED: there is none on this host, or it is not the worker's own; SHOAL_SYSTEM:
 * it is not known yet, or has gone and may come back. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkpoints_reach(const struct shoal_checkpoints *checkpoints,
                                          int *ret_folder, struct shoal_error *err);

/* The task's directory, made unless it is there and given to the tasks' user: its path
 * into PATH_MAX bytes, and open (O_PATH). SHOAL_REFUSED: it cannot be on this host;
 * SHOAL_SYSTEM: not now. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkpoint_make(const struct shoal_checkpoints *checkpoints,
                                        const char *job, int64_t index, char *path,
                                        int *ret_fd, struct shoal_error *err);

/* What Redis has taken: the directories of those that succeeded go. Cheap where there
 * are none. */
void shoal_checkpoints_committed(struct shoal_checkpoints *checkpoints,
                                 const struct shoal_commit *commit);

/* The store's folder, to read the jobs in it; NULL: there is none, or it is not to be
 * used, which the log is told. */
DIR *shoal_checkpoints_list(const struct shoal_checkpoints *checkpoints);

/* All of a job's go. */
void shoal_checkpoints_forget(struct shoal_checkpoints *checkpoints, const char *job);

/* Removes some of what has gone, while there is any. */
void shoal_checkpoints_clean(struct shoal_checkpoints *checkpoints);

#endif
