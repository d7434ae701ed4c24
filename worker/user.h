/* The user that tasks run as when it is not the worker's own. */
#ifndef SHOAL_USER_H
#define SHOAL_USER_H

#include "common/error.h"

#include <sys/types.h>

enum { SHOAL_USER_GROUPS = 256 };

struct shoal_user {
    uid_t uid;
    gid_t gid;
    gid_t groups[SHOAL_USER_GROUPS];
    int n_groups;
    char name[64];
    char home[512];
};

/* Reads "NAME" or "NAME:GROUP". SHOAL_INVALID: there is no such user or group, or this
 * process is not root, who alone may run programs as another. */
SHOAL_MUST_CHECK
enum shoal_status shoal_user_find(const char *text, struct shoal_user *ret_user,
                                  struct shoal_error *err);

#endif
