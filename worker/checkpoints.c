#include "worker/checkpoints.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/log.h"
#include "common/scratch.h"
#include "worker/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLICE_MS = 20 }; /* that one step of cleaning takes */

enum shoal_status shoal_checkpoints_init(struct shoal_checkpoints *checkpoints,
                                         const char *directory, const char *name_space,
                                         const struct shoal_user *user,
                                         struct shoal_error *err) {
    size_t room = sizeof(checkpoints->directory);
    checkpoints->user = user;
    checkpoints->folder[0] = checkpoints->directory[0] = '\0';
    if (directory == NULL)
        return SHOAL_OK;
    int len = snprintf(checkpoints->directory, room, "%s/%s", directory, name_space);
    if ((size_t)len < room)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           "'%.200s' cannot hold checkpoints, it is too long; set "
                           "--checkpoints",
                           directory);
}

void shoal_checkpoints_of_store(struct shoal_checkpoints *checkpoints,
                                const char *store) {
    checkpoints->folder[0] = '\0';
    checkpoints->cleans = true;
    if (checkpoints->directory[0] != '\0' &&
        shoal_id_is_valid(store)) /* what Redis says may be anything */
        snprintf(checkpoints->folder, sizeof(checkpoints->folder), "%s/%s",
                 checkpoints->directory, store);
}

/* ---- the way there */

static bool step(int *fd, const char *name, bool make, const char **ret_why) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int above = *fd;
    *fd = shoal_place_enter(above, name, make, ret_why);
    return *fd >= 0;
}

/* Goes down from DIR to `path` by what is the worker's own. `make`: what is not there is
 * made, but not the namespace (see init()), and the tasks' user is let through. */
static enum shoal_status walk(const struct shoal_checkpoints *checkpoints,
                              const char *path, bool make, int *ret_fd,
                              struct shoal_error *err) {
    const size_t above =
        (size_t)(strrchr(checkpoints->directory, '/') - checkpoints->directory);
    const char *why = NULL;
    char part[PATH_MAX];
    size_t len = above;
    snprintf(part, sizeof(part), "%.*s/", (int)len, path);
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(part, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0;
    while (good && path[len] == '/') {
        size_t begin = len + 1;
        len = begin + strcspn(path + begin, "/");
        snprintf(part, sizeof(part), "%.*s", (int)len, path);
        good = step(&fd, part + begin, make && begin > above + 1, &why) &&
               (!make || checkpoints->user == NULL || fchmodat(fd, ".", 0711, 0) == 0);
    }
    if (good) {
        *ret_fd = fd;
        fd = -1;
        return SHOAL_OK;
    }
    if (errno == EPERM)
        return shoal_error_set(err, SHOAL_REFUSED, "nothing can be kept in '%.300s': %s",
                               part, why == NULL ? strerror(EPERM) : why);
    return shoal_error_set(err, SHOAL_SYSTEM,
                           "the place for checkpoints cannot be written to any more "
                           "(is its disk there?): '%.300s': %s",
                           part, strerror(errno));
}

/* What Redis calls a job may be anything. */
static enum shoal_status walk_to_job(const struct shoal_checkpoints *checkpoints,
                                     const char *job, bool make, int *ret_fd,
                                     struct shoal_error *err) {
    char path[PATH_MAX];
    if (!shoal_id_is_valid(job))
        return shoal_error_set(err, SHOAL_REFUSED,
                               "'%.20s' is no job's id, and so has no checkpoints", job);
    snprintf(path, sizeof(path), "%s/%s", checkpoints->folder, job);
    return walk(checkpoints, path, make, ret_fd, err);
}

/* ---- one task's */

static void make_path(const struct shoal_checkpoints *checkpoints, const char *job,
                      int64_t index, char *path) {
    snprintf(path, PATH_MAX, "%s/%s/%" PRId64, checkpoints->folder, job, index);
}

static enum shoal_status is_known(const struct shoal_checkpoints *checkpoints,
                                  struct shoal_error *err) {
    if (checkpoints->directory[0] == '\0')
        return shoal_error_set(err, SHOAL_REFUSED,
                               "this worker has no place for checkpoints; its log says "
                               "why, and --checkpoints names one");
    if (checkpoints->folder[0] == '\0')
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "the store is not known, and so no place for checkpoints");
    return SHOAL_OK;
}

enum shoal_status shoal_checkpoints_reach(const struct shoal_checkpoints *checkpoints,
                                          int *ret_folder, struct shoal_error *err) {
    enum shoal_status status = is_known(checkpoints, err);
    return status == SHOAL_OK
               ? walk(checkpoints, checkpoints->folder, true, ret_folder, err)
               : status;
}

/* The place may have gone just now. What is wrong with this task's alone, such as a file
 * in its stead, does not pass. */
static enum shoal_status make_one(int parent, const char *name, const char *path,
                                  int *ret_fd, struct shoal_error *err) {
    *ret_fd = -1;
    if (mkdirat(parent, name, 0700) == 0 || errno == EEXIST)
        *ret_fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd >= 0)
        return SHOAL_OK;
    bool may_pass = errno == ENOENT || errno == EROFS || shoal_place_may_recover(errno);
    return shoal_error_set(err, may_pass ? SHOAL_SYSTEM : SHOAL_REFUSED,
                           "cannot make the checkpoint directory '%.300s': %s", path,
                           strerror(errno));
}

/* One that a third user had may lead the task elsewhere by links that are in there. What
 * a task lets others do in its own is its business. */
static enum shoal_status give(int fd, const struct shoal_user *user, const char *path,
                              struct shoal_error *err) {
    struct stat status;
    bool is_good =
        fstat(fd, &status) == 0 && ((user != NULL && status.st_uid == user->uid) ||
                                    shoal_place_is_ours(fd, status.st_uid));
    if (!is_good && shoal_place_may_recover(errno))
        return shoal_error_set(
            err, SHOAL_SYSTEM,
            "cannot look whose the checkpoint directory '%.300s' is: %s", path,
            strerror(errno));
    if (!is_good)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "nothing can be kept in '%.300s': it is another user's; "
                               "look at what it holds, then remove it, or give it to who "
                               "runs the task (chown -R)",
                               path);
    if (user == NULL || fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) == 0)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_REFUSED,
                           "cannot give the checkpoint directory '%.300s' to %s: %s",
                           path, user->name, strerror(errno));
}

enum shoal_status shoal_checkpoint_make(const struct shoal_checkpoints *checkpoints,
                                        const char *job, int64_t index, char *path,
                                        int *ret_fd, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int above = -1;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    enum shoal_status status = is_known(checkpoints, err);
    if (status == SHOAL_OK)
        status = walk_to_job(checkpoints, job, true, &above, err);
    if (status != SHOAL_OK)
        return status;
    make_path(checkpoints, job, index, path);
    status = make_one(above, strrchr(path, '/') + 1, path, &fd, err);
    if (status == SHOAL_OK)
        status = give(fd, checkpoints->user, path, err);
    if (status != SHOAL_OK)
        return status;
    *ret_fd = fd;
    fd = -1;
    return SHOAL_OK;
}

/* ---- removing */

/* Out of the way at once, and what is not removed in a moment later. Who shares the
 * directory may have cleaned up `gone` in between. */
static void throw_away(struct shoal_checkpoints *checkpoints, int parent,
                       const char *path) {
    struct shoal_error err = {.status = SHOAL_OK};
    const char *why = NULL;
    char fresh[SHOAL_ID_LEN + 1];
    shoal_id_make(fresh);
    for (int tries = 0; tries < 3; tries++) {
        SHOAL_CLEANUP(shoal_cleanup_fd) int gone = -1;
        if (walk(checkpoints, checkpoints->folder, false, &gone, &err) != SHOAL_OK ||
            !step(&gone, "gone", true, &why))
            break;
        if (renameat(parent, strrchr(path, '/') + 1, gone, fresh) == 0) {
            checkpoints->cleans |= !shoal_scratch_remove_within(gone, fresh, SLICE_MS);
            return;
        }
    }
    if (errno != ENOENT)
        shoal_warn("a checkpoint stays where it is: path=%s error=%s", path,
                   err.status != SHOAL_OK ? err.text
                   : why != NULL          ? why
                                          : strerror(errno));
}

/* The tasks that did not succeed, in order: the first of four words of each. */
static int64_t next_failure(struct shoal_record_reader *words) {
    int64_t index = INT64_MAX;
    const char *word = NULL;
    size_t len = 0;
    if (words->at == words->end || !shoal_record_read_int(words, &index))
        return INT64_MAX;
    for (int i = 0; i < 3; i++) {
        if (!shoal_record_read_bytes(words, &word, &len))
            break;
    }
    return index;
}

void shoal_checkpoints_committed(struct shoal_checkpoints *checkpoints,
                                 const struct shoal_commit *commit) {
    char path[PATH_MAX];
    SHOAL_CLEANUP(shoal_cleanup_fd) int above = -1;
    struct shoal_record_reader failures;
    if (checkpoints->folder[0] == '\0' || !shoal_commit_is_whole(commit))
        return; /* of the latter Redis was told nothing */
    snprintf(path, sizeof(path), "%s/%s", checkpoints->folder, commit->job);
    if (access(path, F_OK) != 0 ||
        walk_to_job(checkpoints, commit->job, false, &above, NULL) != SHOAL_OK)
        return;
    shoal_record_reader_init(&failures, commit->failed.words.data,
                             commit->failed.words.len);
    int64_t failed = next_failure(&failures);
    for (int64_t i = commit->lo; i < commit->hi; i++) {
        if (i == failed) {
            failed = next_failure(&failures);
            continue;
        }
        make_path(checkpoints, commit->job, i, path);
        if (faccessat(above, strrchr(path, '/') + 1, F_OK, 0) == 0)
            throw_away(checkpoints, above, path);
    }
}

DIR *shoal_checkpoints_list(const struct shoal_checkpoints *checkpoints) {
    struct shoal_error err = {.status = SHOAL_OK};
    SHOAL_CLEANUP(shoal_cleanup_fd) int folder = -1;
    enum shoal_status status =
        walk(checkpoints, checkpoints->folder, false, &folder, &err);
    if (status == SHOAL_REFUSED)
        shoal_warn("the checkpoints of jobs that are forgotten stay: %s", err.text);
    if (status != SHOAL_OK)
        return NULL;
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && list == NULL)
        close(fd);
    return list;
}

void shoal_checkpoints_forget(struct shoal_checkpoints *checkpoints, const char *job) {
    char path[PATH_MAX];
    SHOAL_CLEANUP(shoal_cleanup_fd) int folder = -1;
    snprintf(path, sizeof(path), "%s/%s", checkpoints->folder, job);
    if (walk(checkpoints, checkpoints->folder, false, &folder, NULL) == SHOAL_OK)
        throw_away(checkpoints, folder, path);
}

void shoal_checkpoints_clean(struct shoal_checkpoints *checkpoints) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int folder = -1;
    if (!checkpoints->cleans || checkpoints->folder[0] == '\0')
        return;
    checkpoints->cleans =
        walk(checkpoints, checkpoints->folder, false, &folder, NULL) == SHOAL_OK &&
        !shoal_scratch_remove_within(folder, "gone", SLICE_MS) && errno == EAGAIN;
}
