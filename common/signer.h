/* Who signs, and what was signed: Ed25519 (RFC 8032) by OpenSSL.
 *
 * What is signed travels as it was signed, with a head in front of it: the key and the
 * signature in hexadecimal digits, parted by a space, and the end of a line. What is
 * signed begins with words that say what it is, so that nothing passes for something
 * else. */
#ifndef SHOAL_SIGNER_H
#define SHOAL_SIGNER_H

#include "common/buffer.h"

enum {
    SHOAL_SIGNER_BYTES = 32, /* of a key's public part */
    SHOAL_SIGNER_DIGITS = 2 * SHOAL_SIGNER_BYTES,
    SHOAL_SEAL_BYTES = SHOAL_SIGNER_DIGITS + 1 + 128 + 1, /* in front of what is signed */
    SHOAL_HASH_DIGITS = 64,                               /* of SHA-256 */
};

/* The public part of a key, in lower case. */
struct shoal_signer_name {
    char digits[SHOAL_SIGNER_DIGITS + 1];
};

/* Reads such digits completely. */
bool shoal_signer_name_read(const char *text, struct shoal_signer_name *ret_name);

struct shoal_signer; /* a key with its secret part */

/* Makes a key and writes it into a new file of mode 0600 (PEM, PKCS #8), and its public
 * part into the same with ".pub" behind it, a line of digits and of `comment`.
 * SHOAL_REFUSED: one of the files is there already. SHOAL_SYSTEM: it cannot be
 * written. */
SHOAL_MUST_CHECK
enum shoal_status shoal_signer_create(const char *path, const char *comment,
                                      struct shoal_signer **ret_signer,
                                      struct shoal_error *err);

/* SHOAL_INVALID: the file cannot be read, others than its owner may read it too, or what
 * is in it is no such key. */
SHOAL_MUST_CHECK
enum shoal_status shoal_signer_read(const char *path, struct shoal_signer **ret_signer,
                                    struct shoal_error *err);
void shoal_signer_destroy(struct shoal_signer *signer); /* NULL is fine */
const struct shoal_signer_name *shoal_signer_name(const struct shoal_signer *signer);

/* Where a person's key is that signs by itself: $XDG_CONFIG_HOME/shoal/signing.key, or
 * the same in ~/.config. */
SHOAL_MUST_CHECK
enum shoal_status shoal_signer_usual_path(char *path, size_t room,
                                          struct shoal_error *err);

/* Appends head and bytes. SHOAL_MEMORY when there is none. */
SHOAL_MUST_CHECK
enum shoal_status shoal_signer_seal(const struct shoal_signer *signer, const char *bytes,
                                    size_t len, struct shoal_buffer *sealed,
                                    struct shoal_error *err);
/* The head alone. */
SHOAL_MUST_CHECK
enum shoal_status shoal_signer_head(const struct shoal_signer *signer, const char *bytes,
                                    size_t len, char head[SHOAL_SEAL_BYTES + 1],
                                    struct shoal_error *err);

/* Whose head it is; false: it is none. Says nothing yet of what was signed. */
bool shoal_seal_name(const char *head, size_t len, struct shoal_signer_name *ret_name);

/* Whether the head's signature is that of its key over these bytes: SHOAL_OK,
 * SHOAL_REFUSED, or SHOAL_MEMORY when that could not be found out. */
enum shoal_status shoal_seal_check(const char *head, const char *bytes, size_t len);

/* The same, and false for whatever is not SHOAL_OK. */
bool shoal_seal_holds(const char *head, const char *bytes, size_t len);

/* SHA-256 in hexadecimal digits. False: no memory. */
bool shoal_hash(const char *bytes, size_t len, char digits[SHOAL_HASH_DIGITS + 1]);

/* SHA-1, the one hash that a script of Redis can make: it finds what was changed by
 * mistake, and keeps nobody from changing it on purpose. False: no memory. */
bool shoal_redis_hash(const char *bytes, size_t len, char digits[SHOAL_HASH_DIGITS + 1]);

#endif
