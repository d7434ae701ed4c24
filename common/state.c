#include "common/state.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_ROOM = 128 }; /* for what is put into it */

static enum shoal_status check(const char *path, int len, size_t room,
                               struct shoal_error *err) {
    if (*path == '/' && (size_t)len + NAMES_ROOM < room)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           "'%.200s' cannot be the state directory: it must be an "
                           "absolute path that is not too long; set SHOAL_STATE",
                           path);
}

static const char *home(void) {
    const char *path = getenv("HOME");
    if (path != NULL && *path == '/')
        return path;
    const struct passwd *user = getpwuid(geteuid());
    return user == NULL ? "" : user->pw_dir;
}

enum shoal_status shoal_state_of_user(char *path, size_t room, struct shoal_error *err) {
    const char *state = getenv("SHOAL_STATE"), *xdg = getenv("XDG_STATE_HOME");
    int len;
    if (state != NULL && *state != '\0')
        len = snprintf(path, room, "%s", state);
    else if (xdg != NULL && *xdg == '/')
        len = snprintf(path, room, "%s/shoal", xdg);
    else
        len = snprintf(path, room, "%s/.local/state/shoal", home());
    return check(path, len, room, err);
}

enum shoal_status shoal_config_of_user(const char *name, char *path, size_t room,
                                       struct shoal_error *err) {
    const char *xdg = getenv("XDG_CONFIG_HOME");
    bool is_set = xdg != NULL && *xdg == '/';
    int len = snprintf(path, room, "%s%s/shoal/%s", is_set ? xdg : home(),
                       is_set ? "" : "/.config", name);
    if (*path == '/' && (size_t)len < room)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           "'%.200s' cannot be a file of settings: it must be an "
                           "absolute path that is not too long; set HOME",
                           path);
}

enum shoal_status shoal_state_of_daemon(char *path, size_t room,
                                        struct shoal_error *err) {
    const char *state = getenv("SHOAL_STATE");
    if (geteuid() != 0 || (state != NULL && *state != '\0'))
        return shoal_state_of_user(path, room, err);
    return check(path, snprintf(path, room, "/var/lib/shoal"), room, err);
}

void shoal_directory_sync_above(const char *path) {
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", path);
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        fsync(fd);
}

static bool make_directory(const char *path, bool lasting) {
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST;
    if (lasting)
        shoal_directory_sync_above(path);
    return true;
}

static bool make_directories(const char *path, bool lasting) {
    char part[PATH_MAX];
    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part)) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (!make_directory(part, lasting))
            return false;
        if (slash == NULL)
            return true;
        *slash = '/';
    }
}

bool shoal_directories_make(const char *path) {
    return make_directories(path, false);
}

bool shoal_directories_make_lasting(const char *path) {
    return make_directories(path, true);
}
