/* The environment of a task: what passes from the worker's own, defaults for the threads
 * of numeric libraries, what the job sets, and what shoal says of the task. */
#ifndef SHOAL_ENVIRONMENT_H
#define SHOAL_ENVIRONMENT_H

#include "common/option.h"
#include "common/spec.h"

/* What passes from this process's own environment, NULL behind the last: free() the
 * array, its texts are the environment's. Made once for many tasks. NULL: no memory.
 * `more`: names that pass as well (`*` in them stands for anything), or NULL. Of shoal's
 * own, SHOAL_…, only SHOAL_PYTHON passes: the others say where Redis is and where its
 * password. */
char **shoal_environment_passed(const struct shoal_option_list *more);

/* Whether a name is one of the patterns, in which `*` stands for anything. */
bool shoal_environment_fits(const char *name, const char *const *patterns, size_t n);

/* Whether NAME=VALUE names a variable of which shoal gives each task its own value. */
bool shoal_environment_is_own(const char *word);

struct shoal_surroundings {
    int64_t attempt;
    int slot;
    int threads;             /* what OMP_NUM_THREADS and its like default to */
    const char *directory;   /* SHOAL_TMP and TMPDIR */
    const char *result_path; /* SHOAL_RESULT */
    const char *checkpoint;  /* SHOAL_CHECKPOINT, or of what runs many tasks
                                SHOAL_CHECKPOINTS; NULL: none */
    char *const *passed;     /* of shoal_environment_passed() */
    const char *user;        /* USER and LOGNAME, and HOME; NULL: as they pass */
    const char *home;
};

/* `task`: NULL for what runs many tasks, which is told of none.
 *
 * An array of "NAME=VALUE" with NULL behind the last, one malloc'ed block: free(). Later
 * ones win over earlier ones of the same name, which are left out. */
SHOAL_MUST_CHECK
enum shoal_status shoal_environment_make(const struct shoal_spec *spec,
                                         const struct shoal_task *task,
                                         const struct shoal_surroundings *surroundings,
                                         char ***ret_environment,
                                         struct shoal_error *err);

/* The value of a name in such an array, or NULL. */
const char *shoal_environment_get(char *const *environment, const char *name);

#endif
