#include "worker/folder.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/log.h"
#include "common/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK "lock"

enum { LOCK_TRIES = 100 };

void shoal_folder_path(const char *directory, const char *session, char *path,
                       size_t room) {
    snprintf(path, room, "%s/shoal-%s", directory, session);
}

/* Who looks for dead workers may have it for a moment. */
static bool lock_it(int fd) {
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return false;
}

static bool write_host(int fd) {
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, HOST_NAME_MAX);
    ssize_t len = (ssize_t)strlen(host);
    return pwrite(fd, host, (size_t)len, 0) == len;
}

static bool names_this_host(int fd) {
    char host[HOST_NAME_MAX + 1] = "", text[HOST_NAME_MAX + 1] = "";
    gethostname(host, HOST_NAME_MAX);
    return pread(fd, text, HOST_NAME_MAX, 0) > 0 && strcmp(host, text) == 0;
}

/* Another's, or a link, is none of ours: its name is known to tasks once it was there. */
static int make(const char *path, bool shared) {
    struct stat status;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    errno = EPERM;
    if (fstat(fd, &status) == 0 && status.st_uid == geteuid() &&
        fchmod(fd, shared ? 0711 : 0700) == 0)
        return fd;
    close(fd);
    return -1;
}

enum shoal_status shoal_folder_create(const char *path, bool shared, int *ret_lock,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int folder = make(path, shared);
    int fd = folder < 0
                 ? -1
                 : openat(folder, LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && lock_it(fd) && write_host(fd)) {
        *ret_lock = fd;
        return SHOAL_OK;
    }
    shoal_error_set(err, SHOAL_SYSTEM,
                    "cannot make the folder '%s': %s; --directory names another place, "
                    "which must be there",
                    path, strerror(errno));
    if (folder >= 0)
        shoal_folder_finish(path, fd);
    return SHOAL_SYSTEM;
}

enum shoal_status shoal_folder_keep(const char *path, bool shared, int *lock,
                                    struct shoal_error *err) {
    struct stat held;
    int fresh = -1;
    if (fstat(*lock, &held) != 0 || held.st_nlink > 0)
        return SHOAL_OK;
    enum shoal_status status = shoal_folder_create(path, shared, &fresh, err);
    if (status != SHOAL_OK)
        return status;
    if (*lock >= 0)
        close(*lock);
    *lock = fresh;
    shoal_warn("the worker's folder was gone, and is made again: folder=%s", path);
    return SHOAL_OK;
}

void shoal_folder_finish(const char *path, int lock) {
    char name[PATH_MAX + 8];
    snprintf(name, sizeof(name), "%s/" LOCK, path);
    unlink(name);
    rmdir(path);
    if (lock >= 0)
        close(lock);
}

/* Whether a worker of this host had it, and is dead: then its lock is ours. */
static bool take_over(const char *path, int *ret_lock) {
    char name[PATH_MAX + 8];
    struct stat status;
    snprintf(name, sizeof(name), "%s/" LOCK, path);
    if (lstat(path, &status) != 0 || !S_ISDIR(status.st_mode) ||
        status.st_uid != geteuid())
        return false;
    int fd = open(name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    *ret_lock = fd;
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && names_this_host(fd);
}

size_t shoal_folder_clear_dead(const char *directory, void (*end)(const char *path)) {
    char path[PATH_MAX];
    size_t n = 0;
    DIR *folder = opendir(directory);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        SHOAL_CLEANUP(shoal_cleanup_fd) int lock = -1;
        if (strncmp(entry->d_name, "shoal-", 6) != 0 ||
            !shoal_id_is_valid(entry->d_name + 6))
            continue;
        shoal_folder_path(directory, entry->d_name + 6, path, sizeof(path));
        if (!take_over(path, &lock))
            continue;
        end(path);
        shoal_scratch_remove_tree(path);
        n++;
    }
    if (folder != NULL)
        closedir(folder);
    return n;
}
