#include "client/credential.h"

#include "common/allow.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/redis.h"
#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RANDOM_WORDS = 4, DIGITS = RANDOM_WORDS * 16 };

enum shoal_status shoal_credential_path(const char *folder, const char *user, char *path,
                                        size_t room, struct shoal_error *err) {
    int len = snprintf(path, room, "%s/%s", folder, user);
    return len > 0 && (size_t)len < room
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_INVALID, "the folder '%.100s...' is too long",
                                 folder);
}

static enum shoal_status add_hash(const char *path, struct shoal_credential *credential,
                                  struct shoal_error *err) {
    char *password = NULL;
    enum shoal_status status = shoal_redis_password_read(path, &password, err);
    if (status != SHOAL_OK)
        return status;
    bool good = shoal_hash(password, strlen(password), credential->hashes[credential->n]);
    credential->n += good;
    explicit_bzero(password, strlen(password));
    free(password);
    return good ? SHOAL_OK
                : shoal_error_set(err, SHOAL_MEMORY, "no memory to hash a password");
}

static bool write_password(int fd) {
    char text[DIGITS + 2];
    for (size_t i = 0; i < RANDOM_WORDS; i++)
        snprintf(text + 16 * i, 17, "%016" PRIx64, shoal_random());
    text[DIGITS] = '\n';
    bool good = write(fd, text, DIGITS + 1) == DIGITS + 1 && fsync(fd) == 0;
    explicit_bzero(text, sizeof(text));
    return good;
}

/* One that is there is kept: somebody may use it. */
static enum shoal_status make_password(const char *path, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return SHOAL_OK;
    if (fd >= 0 && write_password(fd))
        return SHOAL_OK;
    shoal_error_set(err, SHOAL_SYSTEM, "cannot make the password file '%.300s': %s", path,
                    strerror(errno));
    if (fd >= 0)
        unlink(path);
    return SHOAL_SYSTEM;
}

static enum shoal_status refuse_third(const char *old, struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_REFUSED,
                           "'%.300s' is there, so two passwords are good already; delete "
                           "it when nobody uses that one any more, and run this again",
                           old);
}

/* What is called old has been told to Redis, and is good until it is deleted. */
static enum shoal_status make_old(const char *path, const char *old,
                                  struct shoal_error *err) {
    if (link(path, old) == 0 && unlink(path) == 0)
        return SHOAL_OK;
    if (errno == EEXIST)
        return refuse_third(old, err);
    return shoal_error_set(err, SHOAL_SYSTEM, "cannot rename '%.300s': %s", path,
                           strerror(errno));
}

enum shoal_status shoal_credential_find(const char *folder, const char *user,
                                        struct shoal_error *err) {
    char path[PATH_MAX], old[PATH_MAX + 4];
    enum shoal_status status =
        shoal_credential_path(folder, user, path, sizeof(path), err);
    if (status == SHOAL_OK && access(path, F_OK) != 0)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "there is no password to rotate in '%.300s': %s", path,
                               strerror(errno));
    snprintf(old, sizeof(old), "%s.old", path);
    if (status == SHOAL_OK && access(old, F_OK) == 0)
        return refuse_third(old, err);
    return status;
}

/* Who may write there, if that is not everybody. */
static enum shoal_status check_owner(const char *folder, struct shoal_error *err) {
    struct stat is;
    if (stat(folder, &is) != 0)
        return SHOAL_OK; /* what is done there says why */
    if (shoal_file_is_foreign(&is))
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.300s' belongs to neither root nor this user, and its "
                               "owner (%u) can exchange the passwords in it; name a "
                               "folder of your own",
                               folder, (unsigned)is.st_uid);
    if (shoal_file_is_open(&is) && (is.st_mode & S_ISVTX) == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "others than its owner can write to '%.300s', and so "
                               "exchange the passwords in it; run chmod go-w on it",
                               folder);
    return SHOAL_OK;
}

/* Who can write there can put a password of his own in the place of a user's. */
static enum shoal_status check_folder(const char *folder, struct shoal_error *err) {
    char real[PATH_MAX];
    struct stat stat_of;
    if (stat(folder, &stat_of) == 0 && !S_ISDIR(stat_of.st_mode))
        return shoal_error_set(err, SHOAL_INVALID, "'%.300s' is no folder", folder);
    if (realpath(folder, real) == NULL)
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "cannot look at the folder '%.300s': %s", folder,
                               strerror(errno));
    if (!shoal_allow_is_open_to(S_IWOTH, real))
        return check_owner(real, err);
    return shoal_error_set(err, SHOAL_INVALID,
                           "everybody can write to '%.200s', and so exchange the "
                           "passwords in '%.200s'; %sname a folder in which only its "
                           "owner can",
                           *real == '\0' ? "/" : real, folder,
                           shoal_allow_is_for_all(real) ? ""
                                                        : "run chmod o-w on it, or ");
}

enum shoal_status shoal_credential_take(const char *folder, const char *user, bool rotate,
                                        struct shoal_credential *ret_credential,
                                        struct shoal_error *err) {
    char path[PATH_MAX], old[PATH_MAX + 4];
    struct shoal_credential credential = {.n = 0};
    enum shoal_status status =
        shoal_credential_path(folder, user, path, sizeof(path), err);
    snprintf(old, sizeof(old), "%s.old", path);
    if (status == SHOAL_OK && mkdir(folder, 0700) != 0 && errno != EEXIST)
        status = shoal_error_set(err, SHOAL_SYSTEM, "cannot make the folder '%.300s': %s",
                                 folder, strerror(errno));
    if (status == SHOAL_OK)
        status = check_folder(folder, err);
    if (status == SHOAL_OK && rotate)
        status = make_old(path, old, err);
    if (status == SHOAL_OK)
        status = make_password(path, err);
    if (status == SHOAL_OK)
        status = add_hash(path, &credential, err);
    if (status == SHOAL_OK && access(old, F_OK) == 0)
        status = add_hash(old, &credential, err);
    if (status == SHOAL_OK)
        *ret_credential = credential;
    return status;
}
