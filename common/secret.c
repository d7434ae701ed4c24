#include "common/secret.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

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
