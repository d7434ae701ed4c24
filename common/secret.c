#include "common/secret.h"

#include "common/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- who writes */

/* With an access control list the group's bits are what any of the list may at most. */
bool shoal_file_is_open(const struct stat *file) {
    return (file->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

bool shoal_file_is_foreign(const struct stat *file) {
    return file->st_uid != 0 && file->st_uid != geteuid();
}

/* ---- reading */

/* Whether a file with an access control list can be read by no user but this one and
 * root: so systemd gives credentials away where their file system has such lists. The
 * group's bits of the mode are then what any of the list may at most. */
static bool is_listed_for_us_alone(int fd) {
    enum { HEAD = 4, ENTRY = 8, READS = 4, OWNER = 1, USER = 2, MOST = 16 };
    unsigned char list[512]; /* numbers, the lowest byte first: tag, rights, who */
    ssize_t len = fgetxattr(fd, "system.posix_acl_access", list, sizeof(list));
    for (ssize_t i = HEAD; i + ENTRY <= len; i += ENTRY) {
        uint16_t tag, rights;
        uint32_t who;
        memcpy(&tag, list + i, sizeof(tag));
        memcpy(&rights, list + i + sizeof(tag), sizeof(rights));
        memcpy(&who, list + i + sizeof(tag) + sizeof(rights), sizeof(who));
        tag = le16toh(tag);
        who = le32toh(who);
        bool is_ours = tag == OWNER || tag == MOST ||
                       (tag == USER && (who == geteuid() || who == 0));
        if ((le16toh(rights) & READS) != 0 && !is_ours)
            return false;
    }
    return len > HEAD;
}

static bool others_can_read(int fd, mode_t mode) {
    return (mode & S_IROTH) != 0 ||
           ((mode & S_IRGRP) != 0 && !is_listed_for_us_alone(fd));
}

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
    if (others_can_read(fd, stat.st_mode))
        return shoal_error_set(err, SHOAL_INVALID,
                               "others can read the %s '%s'; run chmod 600 on it", what,
                               path);
    if (shoal_file_is_open(&stat))
        return shoal_error_set(err, SHOAL_INVALID,
                               "others can write to the %s '%s'; run chmod 600 on it, if "
                               "what stands in it is what you know",
                               what, path);
    if (shoal_file_is_foreign(&stat))
        return shoal_error_set(err, SHOAL_INVALID,
                               "the %s '%s' belongs to neither root nor this user, and "
                               "its owner (%u) can write to it; copy it to a file of "
                               "your own, of mode 600",
                               what, path, (unsigned)stat.st_uid);
    *ret_fd = fd;
    fd = -1;
    return SHOAL_OK;
}

/* ---- writing */

static bool write_all(int fd, const char *bytes, size_t len, mode_t mode) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return fchmod(fd, mode) == 0 && fsync(fd) == 0;
}

enum shoal_status shoal_file_write(const char *path, const char *bytes, size_t len,
                                   mode_t mode, struct shoal_error *err) {
    char fresh[PATH_MAX];
    if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh))
        return shoal_error_set(err, SHOAL_INVALID, "the path '%.200s...' is too long",
                               path);
    unlink(fresh); /* of somebody who was killed here */
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && write_all(fd, bytes, len, mode) && rename(fresh, path) == 0)
        return SHOAL_OK;
    shoal_error_set(err, SHOAL_SYSTEM, "cannot write '%.200s': %s", path,
                    strerror(errno));
    if (fd >= 0)
        unlink(fresh);
    return SHOAL_SYSTEM;
}

enum shoal_status shoal_secret_write(const char *path, const char *bytes, size_t len,
                                     struct shoal_error *err) {
    return shoal_file_write(path, bytes, len, 0600, err);
}

/* ---- cores */

static struct rlimit cores; /* as they were */
static bool cores_are_off;

void shoal_cores_off(void) {
    if (!cores_are_off && getrlimit(RLIMIT_CORE, &cores) != 0)
        return;
    /* One byte is too little for a core, and forbids one that goes to a program
     * (core_pattern "|…"), which 0 does not: core(5). */
    const struct rlimit none = {.rlim_cur = cores.rlim_max > 0 ? 1 : 0,
                                .rlim_max = cores.rlim_max};
    cores_are_off = setrlimit(RLIMIT_CORE, &none) == 0;
}

void shoal_cores_back(void) {
    if (cores_are_off)
        setrlimit(RLIMIT_CORE, &cores);
}
