/* A task may leave a tree that is deeper than paths, descriptors or the stack allow, and
 * processes that go on changing it. So nothing here recurses or uses a path twice: what
 * is a full directory within a directory of the top moves up to the top, and is emptied
 * from there in its turn.
 *
 *     top/a/b/c/d  ->  top/b  top/a  ->  top/c  top/b  ->  top/d  top/c  ->  top */
#include "common/scratch.h"

#include "common/clock.h"
#include "common/id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { EMPTY_MS = 1000, REMOVE_MS = 30000, NAMES_AT_MOST = 1000 };

struct emptying {
    int top;
    dev_t device;
    int64_t end_ms;
    uint64_t moved; /* so many names were tried for what moved up */
    int error;      /* why something stayed */
};

/* Opens a directory, no link to one, and sees to it that it can be changed. */
static int enter(int parent, const char *name) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(parent, name, flags);
    if (fd < 0 && errno == EACCES &&
        fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
        fd = openat(parent, name, flags);
    return fd;
}

static void give_rights(int fd) {
    struct stat status;
    if (fstat(fd, &status) == 0 && (status.st_mode & 07777) != 0700)
        fchmod(fd, 0700);
}

/* Whether something is mounted there. */
static bool is_elsewhere(const struct emptying *emptying, int fd) {
    struct statx status;
    return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &status) != 0 ||
           (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 ||
           makedev(status.stx_dev_major, status.stx_dev_minor) != emptying->device;
}

/* The same for a directory below the top. */
static int enter_below(const struct emptying *emptying, int parent, const char *name) {
    int fd = enter(parent, name);
    if (fd >= 0 && is_elsewhere(emptying, fd)) {
        close(fd);
        errno = EBUSY;
        return -1;
    }
    if (fd >= 0)
        give_rights(fd);
    return fd;
}

static bool move_up(struct emptying *emptying, int folder, const char *name) {
    char fresh[32];
    int fd = enter_below(emptying, folder, name); /* it needs its rights to move */
    if (fd < 0)
        return false;
    close(fd);
    for (int i = 0; i < NAMES_AT_MOST; i++) {
        snprintf(fresh, sizeof(fresh), "%" PRIu64, emptying->moved++);
        if (renameat(folder, name, emptying->top, fresh) == 0)
            return true;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
            break;
    }
    return false;
}

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The next entry, NULL behind the last or when the time is over. */
static const char *next_name(struct emptying *emptying, DIR *folder) {
    const struct dirent *entry;
    do {
        entry = readdir(folder);
    } while (entry != NULL && is_dots(entry->d_name));
    if (entry != NULL && shoal_now_ms() >= emptying->end_ms) {
        emptying->error = EAGAIN;
        return NULL;
    }
    return entry == NULL ? NULL : entry->d_name;
}

/* Removes what is no directory, or an empty one; *ret_full: it is a full one. */
static bool remove_entry(int folder, const char *name, bool *ret_full) {
    if (unlinkat(folder, name, 0) == 0 || unlinkat(folder, name, AT_REMOVEDIR) == 0)
        return true;
    *ret_full = errno == ENOTEMPTY || errno == EEXIST;
    return false;
}

/* Removes a full directory of the top; its full ones move to the top. Returns whether
 * anything changed. */
static bool remove_folder(struct emptying *emptying, const char *name) {
    bool changed = false;
    const char *inner;
    int fd = enter_below(emptying, emptying->top, name);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        emptying->error = errno;
        if (fd >= 0)
            close(fd);
        return false;
    }
    while ((inner = next_name(emptying, folder)) != NULL) {
        bool full = false;
        if (remove_entry(fd, inner, &full) || (full && move_up(emptying, fd, inner)))
            changed = true;
        else
            emptying->error = errno;
    }
    closedir(folder);
    return unlinkat(emptying->top, name, AT_REMOVEDIR) == 0 || changed;
}

/* One walk through the top. Returns whether anything changed. */
static bool walk(struct emptying *emptying, DIR *top, bool *ret_empty) {
    bool changed = false;
    const char *name;
    *ret_empty = true;
    emptying->error = 0;
    rewinddir(top);
    while ((name = next_name(emptying, top)) != NULL) {
        bool full = false;
        *ret_empty = false;
        if (remove_entry(emptying->top, name, &full) ||
            (full && remove_folder(emptying, name)))
            changed = true;
        else if (!full)
            emptying->error = errno;
    }
    return changed && emptying->error != EAGAIN;
}

/* Empties an open directory and closes it. False with errno when something is left. */
static bool empty(int fd, int64_t limit_ms) {
    struct emptying emptying = {.top = fd, .end_ms = shoal_now_ms() + limit_ms};
    struct stat status;
    bool is_empty = false;
    DIR *top = fstat(fd, &status) == 0 ? fdopendir(fd) : NULL;
    if (top == NULL) {
        int error = errno;
        close(fd);
        errno = error;
        return false;
    }
    emptying.device = status.st_dev;
    while (walk(&emptying, top, &is_empty))
        ;
    closedir(top);
    is_empty = is_empty && emptying.error == 0;
    errno = emptying.error == 0 ? ENOTEMPTY : emptying.error;
    return is_empty;
}

/* Whether an open directory has no entry but "." and "..", which take 24 bytes each. */
static bool has_nothing(int fd) {
    char entries[512];
    ssize_t dots = getdents64(fd, entries, sizeof(entries));
    ssize_t more = getdents64(fd, entries, sizeof(entries));
    return dots == 48 && more == 0;
}

/* Every change of a directory's entries sets its time of modification. So an empty one is
 * marked by a time that nobody else would choose, before it is found to be empty: what
 * comes in later takes the mark away. A file system with coarser times never shows it. */
static int64_t mark_ns(void) {
    static int64_t mark;
    while (mark == 0)
        mark = (int64_t)(shoal_random() % 1000000000);
    return mark;
}

bool shoal_scratch_is_untouched(const char *path) {
    struct stat status;
    return fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode) && (status.st_mode & 07777) == 0700 &&
           status.st_mtim.tv_sec == 0 && status.st_mtim.tv_nsec == mark_ns();
}

bool shoal_scratch_make_empty(const char *path) {
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = mark_ns()}};
    int fd = enter(AT_FDCWD, path);
    if (fd < 0) {
        if (errno == ENOTDIR || errno == ELOOP)
            unlink(path);
        return mkdir(path, 0700) == 0;
    }
    give_rights(fd);
    futimens(fd, times);
    if (has_nothing(fd)) {
        close(fd);
        return true;
    }
    lseek(fd, 0, SEEK_SET);
    return empty(fd, EMPTY_MS);
}

bool shoal_scratch_remove_within(int parent, const char *path, int64_t limit_ms) {
    if (unlinkat(parent, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    int fd = enter(parent, path);
    if (fd < 0)
        return (errno == ENOTDIR || errno == ELOOP) && unlinkat(parent, path, 0) == 0;
    give_rights(fd);
    return empty(fd, limit_ms) && unlinkat(parent, path, AT_REMOVEDIR) == 0;
}

void shoal_scratch_remove_tree(const char *path) {
    shoal_scratch_remove_within(AT_FDCWD, path, REMOVE_MS);
}
