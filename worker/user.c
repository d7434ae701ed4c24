#include "worker/user.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum shoal_status find_group(const char *name, struct shoal_user *user,
                                    struct shoal_error *err) {
    const struct group *group = getgrnam(name);
    if (group == NULL)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--user: this host has no group '%.100s'", name);
    user->gid = group->gr_gid;
    return SHOAL_OK;
}

enum shoal_status shoal_user_find(const char *text, struct shoal_user *ret_user,
                                  struct shoal_error *err) {
    struct shoal_user user = {.n_groups = SHOAL_USER_GROUPS};
    size_t len = strcspn(text, ":");
    snprintf(user.name, sizeof(user.name), "%.*s", (int)len, text);
    const struct passwd *entry = len < sizeof(user.name) ? getpwnam(user.name) : NULL;
    if (geteuid() != 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "only root can run tasks as another user: start "
                               "shoal-worker as root, or leave --user out");
    if (entry == NULL)
        return shoal_error_set(err, SHOAL_INVALID, "--user: this host has no user '%.*s'",
                               (int)(len < 100 ? len : 100), text);
    user.uid = entry->pw_uid;
    user.gid = entry->pw_gid;
    snprintf(user.home, sizeof(user.home), "%s", entry->pw_dir);
    enum shoal_status status =
        text[len] == ':' ? find_group(text + len + 1, &user, err) : SHOAL_OK;
    if (status != SHOAL_OK)
        return status;
    if (getgrouplist(user.name, user.gid, user.groups, &user.n_groups) < 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--user: '%s' is in more than %d groups", user.name,
                               SHOAL_USER_GROUPS);
    *ret_user = user;
    return SHOAL_OK;
}
