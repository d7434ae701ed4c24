/* A directory in which a worker keeps what outlives it: its spool, its tasks'
 * checkpoints. Whether it can be used is asked when the worker starts, and not when
 * something is to be kept there. */
#ifndef SHOAL_PLACE_H
#define SHOAL_PLACE_H

#include "worker/user.h"

#include <stdbool.h>

/* Makes the directory, unless it is there, and tries out whether a directory can be made
 * in it and (`user`, or NULL) given to that user. `path` is absolute.
 *
 * SHOAL_INVALID  it cannot be used until somebody does something.
 * SHOAL_SYSTEM   not now; that may pass (no room, say). */
SHOAL_MUST_CHECK
enum shoal_status shoal_place_check(const char *path, const struct shoal_user *user,
                                    struct shoal_error *err);

/* Whether what an error number says of a file system may pass by itself. */
bool shoal_place_may_recover(int error);

#endif
