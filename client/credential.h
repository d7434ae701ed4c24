/* Passwords of Redis users, each in a file that is made once: FOLDER/<user>, and
 * FOLDER/<user>.old while one takes the place of another. */
#ifndef SHOAL_CREDENTIAL_H
#define SHOAL_CREDENTIAL_H

#include "common/error.h"
#include "common/signer.h"

#include <stdbool.h>
#include <stddef.h>

enum { SHOAL_CREDENTIALS = 2 };

/* What Redis is told: the hashes of all passwords that are good. */
struct shoal_credential {
    char hashes[SHOAL_CREDENTIALS][SHOAL_HASH_DIGITS + 1];
    size_t n;
};

/* Reads what is there, and makes what is not: the folder (mode 0700), and the file (mode
 * 0600) with a random password. `rotate`: the password that is there becomes the old one.
 * SHOAL_REFUSED: there is an old one already. SHOAL_INVALID: others can write there,
 * it is another user's, or no folder. */
SHOAL_MUST_CHECK
enum shoal_status shoal_credential_take(const char *folder, const char *user, bool rotate,
                                        struct shoal_credential *ret_credential,
                                        struct shoal_error *err);

/* Whether there is a password that may be rotated. SHOAL_REFUSED: there is none, or an
 * old one besides. */
SHOAL_MUST_CHECK
enum shoal_status shoal_credential_find(const char *folder, const char *user,
                                        struct shoal_error *err);

/* "FOLDER/<user>". SHOAL_INVALID: that is too long. */
SHOAL_MUST_CHECK
enum shoal_status shoal_credential_path(const char *folder, const char *user, char *path,
                                        size_t room, struct shoal_error *err);

#endif
