#include "worker/place.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROBE_LEN = SHOAL_ID_LEN + 8 };

bool shoal_place_may_recover(int error) {
    return error == ENOSPC || error == EDQUOT || error == ENOMEM || error == EMFILE ||
           error == ENFILE || error == EIO || error == ESTALE || error == ETIMEDOUT;
}

static void name_probe(char name[PROBE_LEN]) {
    char id[SHOAL_ID_LEN + 1];
    shoal_id_make(id);
    snprintf(name, PROBE_LEN, "probe.%s", id);
}

/* ---- whose it is */

/* Whether what the worker makes there is that user's: a server may map root to nobody, or
 * everybody to one user. Asked of an open file, which nobody can exchange for another.
 * False with errno: that cannot be told now, or (EPERM) it is not. */
static bool would_own(int folder, uid_t owner) {
    char name[PROBE_LEN];
    struct stat status;
    name_probe(name);
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        errno = errno == EACCES ? EPERM : errno; /* not even a file is ours there */
        return false;
    }
    bool is_ours = fstat(fd, &status) == 0 && status.st_uid == owner;
    unlinkat(folder, name, 0);
    errno = EPERM;
    return is_ours;
}

bool shoal_place_is_ours(int folder, uid_t owner) {
    return owner == 0 || owner == geteuid() || would_own(folder, owner);
}

/* Why it is not used, with errno: EPERM where others may have put something into it. */
static const char *why_not(int fd, const struct stat *status) {
    if (!S_ISDIR(status->st_mode) && !S_ISLNK(status->st_mode)) {
        errno = ENOTDIR;
        return strerror(errno);
    }
    if (S_ISDIR(status->st_mode) && !shoal_place_is_ours(fd, status->st_uid))
        return errno != EPERM ? strerror(errno)
                              : "it is another user's; look at what it holds, then "
                                "remove it, or give it to who runs the worker (chown)";
    errno = EPERM;
    if (S_ISLNK(status->st_mode))
        return "it is a link, and so may lead anywhere; remove it";
    if ((status->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return "its group or others may write to it; look at what it holds, then take "
               "that right away (chmod go-w)";
    return NULL;
}

int shoal_place_enter(int parent, const char *name, bool make, const char **ret_why) {
    const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    struct stat status;
    int fd = openat(parent, name, flags);
    if (fd < 0 && errno == ENOENT && make &&
        (mkdirat(parent, name, 0700) == 0 || errno == EEXIST))
        fd = openat(parent, name, flags);
    *ret_why =
        fd >= 0 && fstat(fd, &status) == 0 ? why_not(fd, &status) : strerror(errno);
    if (*ret_why == NULL)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* ---- whether it can be used */

/* What permissions say is not all: a file system may be read-only, a server may map root
 * to nobody. */
static bool try_out(int folder, const struct shoal_user *user) {
    char name[PROBE_LEN];
    name_probe(name);
    if (mkdirat(folder, name, 0700) != 0)
        return false;
    bool good = user == NULL ||
                fchownat(folder, name, user->uid, user->gid, AT_SYMLINK_NOFOLLOW) == 0;
    int error = errno;
    unlinkat(folder, name, AT_REMOVEDIR);
    errno = error;
    return good;
}

/* What is above may be anybody's, as whoever chose it knows. */
static int open_own(const char *path, const char **ret_why) {
    char above[PATH_MAX];
    const char *name = strrchr(path, '/') + 1;
    snprintf(above, sizeof(above), "%.*s", (int)(name - path), path);
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : shoal_place_enter(fd, name, false, ret_why);
}

enum shoal_status shoal_place_check(const char *path, const struct shoal_user *user,
                                    bool own, struct shoal_error *err) {
    const char *why = NULL;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    if (shoal_directories_make_lasting(path))
        fd = own ? open_own(path, &why) : open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && try_out(fd, user))
        return SHOAL_OK;
    int error = errno;
    return shoal_error_set(
        err, shoal_place_may_recover(error) ? SHOAL_SYSTEM : SHOAL_INVALID,
        "nothing can be kept in '%.300s': %s", path, why == NULL ? strerror(error) : why);
}
