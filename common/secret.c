#include "common/secret.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum shoal_status shoal_secret_open(const char *path, const char *what, int *ret_fd,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) != 0)
        return shoal_error_set(err, SHOAL_INVALID, "cannot read the %s '%s': %s", what,
                               path, strerror(errno));
    if (!S_ISREG(stat.st_mode))
        return shoal_error_set(err, SHOAL_INVALID, "the %s '%s' is not a file", what,
                               path);
    if ((stat.st_mode & (S_IRGRP | S_IROTH)) != 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "others can read the %s '%s'; run chmod 600 on it", what,
                               path);
    *ret_fd = fd;
    fd = -1;
    return SHOAL_OK;
}

static bool write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return fchmod(fd, 0600) == 0 && fsync(fd) == 0;
}

enum shoal_status shoal_secret_write(const char *path, const char *bytes, size_t len,
                                     struct shoal_error *err) {
    char fresh[PATH_MAX];
    if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh))
        return shoal_error_set(err, SHOAL_INVALID, "the path '%.200s...' is too long",
                               path);
    unlink(fresh); /* of somebody who was killed here */
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && write_all(fd, bytes, len) && rename(fresh, path) == 0)
        return SHOAL_OK;
    shoal_error_set(err, SHOAL_SYSTEM, "cannot write '%.200s': %s", path,
                    strerror(errno));
    if (fd >= 0)
        unlink(fresh);
    return SHOAL_SYSTEM;
}
