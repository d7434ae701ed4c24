#include "worker/checkpoints.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/log.h"
#include "common/scratch.h"
#include "worker/place.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLICE_MS = 20 }; /* that one step of cleaning takes */

enum shoal_status shoal_checkpoints_init(struct shoal_checkpoints *checkpoints,
                                         const char *directory, const char *name_space,
                                         struct shoal_error *err) {
    size_t room = sizeof(checkpoints->directory);
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

/* ---- one task's */

static void make_path(const struct shoal_checkpoints *checkpoints, const char *job,
                      int64_t index, char *path) {
    snprintf(path, PATH_MAX, "%s/%s/%" PRId64, checkpoints->folder, job, index);
}

static bool is_directory(const char *path) {
    struct stat status;
    errno = ENOTDIR;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool make_one(const char *path) {
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Not what is above it: see init(). */
enum shoal_status shoal_checkpoints_reach(const struct shoal_checkpoints *checkpoints,
                                          struct shoal_error *err) {
    if (checkpoints->directory[0] == '\0')
        return shoal_error_set(err, SHOAL_REFUSED,
                               "this worker has no place for checkpoints; its log says "
                               "why, and --checkpoints names one");
    if (checkpoints->folder[0] == '\0')
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "the store is not known, and so no place for checkpoints");
    if (make_one(checkpoints->folder))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_SYSTEM,
                           "the place for checkpoints cannot be written to any more "
                           "(is its disk there?): '%.300s': %s",
                           checkpoints->folder, strerror(errno));
}

/* The place may have gone just now. What is wrong with this task's alone, such as a file
 * in its stead, does not pass. */
enum shoal_status shoal_checkpoint_make(const struct shoal_checkpoints *checkpoints,
                                        const char *job, int64_t index, char *path,
                                        struct shoal_error *err) {
    enum shoal_status status = shoal_checkpoints_reach(checkpoints, err);
    if (status != SHOAL_OK)
        return status;
    snprintf(path, PATH_MAX, "%s/%s", checkpoints->folder, job);
    bool has_place = make_one(path);
    make_path(checkpoints, job, index, path);
    if (has_place && make_one(path) && is_directory(path))
        return SHOAL_OK;
    int error = errno;
    bool may_pass =
        !has_place || error == ENOENT || error == EROFS || shoal_place_may_recover(error);
    return shoal_error_set(err, may_pass ? SHOAL_SYSTEM : SHOAL_REFUSED,
                           "cannot make the checkpoint directory '%.300s': %s", path,
                           strerror(error));
}

/* ---- removing */

/* Out of the way at once, and what is not removed in a moment later. Who shares the
 * directory may have cleaned up `gone` in between. */
static void throw_away(struct shoal_checkpoints *checkpoints, const char *path) {
    char gone[PATH_MAX], name[SHOAL_ID_LEN + 1];
    shoal_id_make(name);
    for (int tries = 0; tries < 3; tries++) {
        snprintf(gone, sizeof(gone), "%s/gone", checkpoints->folder);
        if (mkdir(gone, 0700) != 0 && errno != EEXIST)
            break;
        snprintf(gone, sizeof(gone), "%s/gone/%s", checkpoints->folder, name);
        if (rename(path, gone) == 0) {
            checkpoints->cleans |= !shoal_scratch_remove_within(gone, SLICE_MS);
            return;
        }
    }
    if (errno != ENOENT)
        shoal_warn("a checkpoint stays where it is: path=%s error=%s", path,
                   strerror(errno));
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
    struct shoal_record_reader failures;
    if (checkpoints->folder[0] == '\0' || !shoal_commit_is_whole(commit))
        return; /* of the latter Redis was told nothing */
    snprintf(path, sizeof(path), "%s/%s", checkpoints->folder, commit->job);
    if (access(path, F_OK) != 0)
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
        if (access(path, F_OK) == 0)
            throw_away(checkpoints, path);
    }
}

void shoal_checkpoints_forget(struct shoal_checkpoints *checkpoints, const char *job) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", checkpoints->folder, job);
    throw_away(checkpoints, path);
}

void shoal_checkpoints_clean(struct shoal_checkpoints *checkpoints) {
    char path[PATH_MAX];
    if (!checkpoints->cleans || checkpoints->folder[0] == '\0')
        return;
    snprintf(path, sizeof(path), "%s/gone", checkpoints->folder);
    checkpoints->cleans = !shoal_scratch_remove_within(path, SLICE_MS) && errno == EAGAIN;
}
