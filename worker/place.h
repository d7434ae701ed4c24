/* A directory in which a worker keeps what outlives it: its spool, its tasks'
 * checkpoints. Whether it can be used is asked when the worker starts, and not when
 * something is to be kept there. */
#ifndef SHOAL_PLACE_H
#define SHOAL_PLACE_H

#include "worker/user.h"

#include <stdbool.h>

/* Makes the directory, unless it is there, and tries out whether a directory can be made
 * in it and (`user`, or NULL) given to that user. `path` is absolute; `own`: others may
 * have put nothing there, see shoal_place_enter().
 *
 * SHOAL_INVALID  it cannot be used until somebody does something.
 * SHOAL_SYSTEM   not now; that may pass (no room, say). */
SHOAL_MUST_CHECK
enum shoal_status shoal_place_check(const char *path, const struct shoal_user *user,
                                    bool own, struct shoal_error *err);

/* Opens (O_PATH) the directory `name` in the open one `parent`, or makes it, if it is the
 * worker's own: no link, the worker's or root's, and nobody else's to write to. So others
 * have put nothing into it, and what is in there is what it seems as long as it is used
 * by this descriptor. -1 with errno: it cannot be, and *ret_why says it in words; EPERM:
 * it is not the worker's own. */
int shoal_place_enter(int parent, const char *name, bool make, const char **ret_why);

/* Whether what lies in an open directory and is that user's is the worker's own, or
 * root's. False, with errno: EPERM, it is not; else that cannot be told now. */
bool shoal_place_is_ours(int folder, uid_t owner);

/* Whether what an error number says of a file system may pass by itself. */
bool shoal_place_may_recover(int error);

#endif
