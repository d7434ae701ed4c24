#include "worker/place.h"

#include "common/id.h"
#include "common/state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool shoal_place_may_recover(int error) {
    return error == ENOSPC || error == EDQUOT || error == ENOMEM || error == EMFILE ||
           error == ENFILE || error == EIO || error == ESTALE || error == ETIMEDOUT;
}

/* What permissions say is not all: a file system may be read-only, a server may map root
 * to nobody. */
static bool try_out(const char *path, const struct shoal_user *user) {
    char probe[PATH_MAX], name[SHOAL_ID_LEN + 1];
    shoal_id_make(name);
    if (snprintf(probe, sizeof(probe), "%s/probe.%s", path, name) >= (int)sizeof(probe)) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (mkdir(probe, 0700) != 0)
        return false;
    bool good = user == NULL || lchown(probe, user->uid, user->gid) == 0;
    int error = errno;
    rmdir(probe);
    errno = error;
    return good;
}

enum shoal_status shoal_place_check(const char *path, const struct shoal_user *user,
                                    struct shoal_error *err) {
    if (shoal_directories_make_lasting(path) && try_out(path, user))
        return SHOAL_OK;
    int error = errno;
    return shoal_error_set(err,
                           shoal_place_may_recover(error) ? SHOAL_SYSTEM : SHOAL_INVALID,
                           "nothing can be kept in '%.300s': %s", path, strerror(error));
}
