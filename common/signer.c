#include "common/signer.h"

#include "common/cleanup.h"
#include "common/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIGNATURE_BYTES = 64 };

struct shoal_signer {
    EVP_PKEY *key;
    struct shoal_signer_name name;
};

/* ---- digits */

static void print_digits(const unsigned char *bytes, size_t n, char *digits) {
    static const char all[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *digits++ = all[bytes[i] >> 4];
        *digits++ = all[bytes[i] & 15];
    }
    *digits = '\0';
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_digits(const char *digits, size_t n, unsigned char *bytes) {
    for (size_t i = 0; i < n; i++) {
        int high = digit(digits[2 * i]);
        int low = high < 0 ? -1 : digit(digits[2 * i + 1]);
        if (low < 0)
            return false;
        bytes[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}

bool shoal_signer_name_read(const char *text, struct shoal_signer_name *ret_name) {
    unsigned char bytes[SHOAL_SIGNER_BYTES];
    if (strlen(text) != SHOAL_SIGNER_DIGITS ||
        !read_digits(text, SHOAL_SIGNER_BYTES, bytes))
        return false;
    memcpy(ret_name->digits, text, SHOAL_SIGNER_DIGITS + 1);
    return true;
}

/* ---- keys */

static enum shoal_status make(EVP_PKEY *key, struct shoal_signer **ret_signer,
                              struct shoal_error *err) {
    unsigned char bytes[SHOAL_SIGNER_BYTES];
    size_t len = sizeof(bytes);
    struct shoal_signer *signer = calloc(1, sizeof(*signer));
    if (signer == NULL || EVP_PKEY_get_raw_public_key(key, bytes, &len) != 1 ||
        len != sizeof(bytes)) {
        free(signer);
        EVP_PKEY_free(key);
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a key");
    }
    signer->key = key;
    print_digits(bytes, sizeof(bytes), signer->name.digits);
    *ret_signer = signer;
    return SHOAL_OK;
}

void shoal_signer_destroy(struct shoal_signer *signer) {
    if (signer == NULL)
        return;
    EVP_PKEY_free(signer->key);
    free(signer);
}

const struct shoal_signer_name *shoal_signer_name(const struct shoal_signer *signer) {
    return &signer->name;
}

static enum shoal_status cannot(const char *doing, const char *path,
                                struct shoal_error *err) {
    return shoal_error_set(err, errno == EEXIST ? SHOAL_REFUSED : SHOAL_SYSTEM,
                           "cannot %s the key '%.200s': %s%s", doing, path,
                           strerror(errno),
                           errno == EEXIST ? "; a key is never overwritten, name "
                                             "another file or move that one away"
                                           : "");
}

/* A stream to a new file; or NULL, and no file of ours is left. */
static FILE *begin_file(const char *path, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL && fd >= 0) {
        int error = errno;
        close(fd);
        unlink(path);
        errno = error;
    }
    return file;
}

/* Also to the disk: what it signs is worth nothing once it is lost. */
static bool end_file(FILE *file, bool good) {
    good = good && fflush(file) == 0 && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && good;
}

static enum shoal_status write_files(const struct shoal_signer *signer, const char *path,
                                     const char *comment, struct shoal_error *err) {
    char public_path[PATH_MAX];
    if (snprintf(public_path, sizeof(public_path), "%s.pub", path) >=
        (int)sizeof(public_path)) {
        errno = ENAMETOOLONG;
        return cannot("write", path, err);
    }
    FILE *public_file = begin_file(public_path, 0644);
    if (public_file == NULL)
        return cannot("write", public_path, err);
    FILE *file = begin_file(path, 0600);
    if (file == NULL) {
        enum shoal_status status = cannot("write", path, err);
        fclose(public_file);
        unlink(public_path);
        return status;
    }
    bool good =
        PEM_write_PKCS8PrivateKey(file, signer->key, NULL, NULL, 0, NULL, NULL) == 1;
    good = end_file(file, good);
    good = end_file(public_file,
                    fprintf(public_file, "%s %s\n", signer->name.digits, comment) > 0) &&
           good;
    if (good)
        return SHOAL_OK;
    enum shoal_status status = cannot("write", path, err);
    unlink(path);
    unlink(public_path);
    return status;
}

enum shoal_status shoal_signer_create(const char *path, const char *comment,
                                      struct shoal_signer **ret_signer,
                                      struct shoal_error *err) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (key == NULL)
        return shoal_error_set(err, SHOAL_SYSTEM, "OpenSSL cannot make an Ed25519 key");
    struct shoal_signer *signer = NULL;
    enum shoal_status status = make(key, &signer, err);
    if (status == SHOAL_OK)
        status = write_files(signer, path, comment, err);
    if (status != SHOAL_OK) {
        shoal_signer_destroy(signer);
        return status;
    }
    *ret_signer = signer;
    return SHOAL_OK;
}

/* Nobody asks for a passphrase: daemons and scripts could not answer. */
static int no_passphrase(char *text, int room, int writes, void *owner) {
    (void)text, (void)room, (void)writes, (void)owner;
    return -1;
}

static enum shoal_status check_file(FILE *file, const char *path,
                                    struct shoal_error *err) {
    struct stat is;
    if (fstat(fileno(file), &is) != 0 || !S_ISREG(is.st_mode))
        return shoal_error_set(err, SHOAL_INVALID, "the key '%.200s' is no file", path);
    if ((is.st_mode & 077) != 0)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "others than its owner may read the key '%.200s', so it is not used: chmod "
            "600 it, and make another one if it may have been read",
            path);
    return SHOAL_OK;
}

enum shoal_status shoal_signer_read(const char *path, struct shoal_signer **ret_signer,
                                    struct shoal_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (file == NULL) {
        enum shoal_status status =
            shoal_error_set(err, SHOAL_INVALID, "cannot read the key '%.200s': %s", path,
                            strerror(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    enum shoal_status status = check_file(file, path, err);
    if (status != SHOAL_OK)
        return status;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
    if (key == NULL || EVP_PKEY_is_a(key, "ED25519") != 1) {
        EVP_PKEY_free(key);
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.200s' is no Ed25519 key without a passphrase, such as "
                               "'shoal keygen' makes",
                               path);
    }
    return make(key, ret_signer, err);
}

enum shoal_status shoal_signer_usual_path(char *path, size_t room,
                                          struct shoal_error *err) {
    return shoal_config_of_user("signing.key", path, room, err);
}

/* ---- signing */

enum shoal_status shoal_signer_head(const struct shoal_signer *signer, const char *bytes,
                                    size_t len, char head[SHOAL_SEAL_BYTES + 1],
                                    struct shoal_error *err) {
    unsigned char signature[SIGNATURE_BYTES];
    size_t n = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        context != NULL &&
        EVP_DigestSignInit(context, NULL, NULL, NULL, signer->key) == 1 &&
        EVP_DigestSign(context, signature, &n, (const unsigned char *)bytes, len) == 1 &&
        n == sizeof(signature);
    EVP_MD_CTX_free(context);
    if (!good)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory to sign with");
    memcpy(head, signer->name.digits, SHOAL_SIGNER_DIGITS);
    head[SHOAL_SIGNER_DIGITS] = ' ';
    print_digits(signature, sizeof(signature), head + SHOAL_SIGNER_DIGITS + 1);
    head[SHOAL_SEAL_BYTES - 1] = '\n';
    head[SHOAL_SEAL_BYTES] = '\0';
    return SHOAL_OK;
}

enum shoal_status shoal_signer_seal(const struct shoal_signer *signer, const char *bytes,
                                    size_t len, struct shoal_buffer *sealed,
                                    struct shoal_error *err) {
    char head[SHOAL_SEAL_BYTES + 1];
    enum shoal_status status = shoal_signer_head(signer, bytes, len, head, err);
    if (status != SHOAL_OK)
        return status;
    shoal_buffer_add(sealed, head, SHOAL_SEAL_BYTES);
    shoal_buffer_add(sealed, bytes, len);
    return shoal_buffer_check(sealed, "what is signed", err);
}

static bool read_head(const char *head, unsigned char *name, unsigned char *signature) {
    return read_digits(head, SHOAL_SIGNER_BYTES, name) &&
           head[SHOAL_SIGNER_DIGITS] == ' ' &&
           read_digits(head + SHOAL_SIGNER_DIGITS + 1, SIGNATURE_BYTES, signature) &&
           head[SHOAL_SEAL_BYTES - 1] == '\n';
}

bool shoal_seal_name(const char *head, size_t len, struct shoal_signer_name *ret_name) {
    unsigned char name[SHOAL_SIGNER_BYTES], signature[SIGNATURE_BYTES];
    if (len < SHOAL_SEAL_BYTES || !read_head(head, name, signature))
        return false;
    print_digits(name, sizeof(name), ret_name->digits);
    return true;
}

static enum shoal_status check_once(const char *head, const char *bytes, size_t len) {
    unsigned char name[SHOAL_SIGNER_BYTES], signature[SIGNATURE_BYTES];
    enum shoal_status status = SHOAL_MEMORY;
    if (!read_head(head, name, signature))
        return SHOAL_REFUSED;
    ERR_clear_error();
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, name, sizeof(name));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (key != NULL && context != NULL &&
        EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1) {
        int good = EVP_DigestVerify(context, signature, sizeof(signature),
                                    (const unsigned char *)bytes, len);
        if (good == 1)
            status = SHOAL_OK;
        else if (good == 0 && ERR_peek_error() == 0) /* it is a wrong one, and no more */
            status = SHOAL_REFUSED;
    }
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return status;
}

/* OpenSSL does not tell a wrong signature from some of the memory that it lacked: what is
 * wrong is so twice. */
enum shoal_status shoal_seal_check(const char *head, const char *bytes, size_t len) {
    enum shoal_status status = check_once(head, bytes, len);
    return status == SHOAL_REFUSED ? check_once(head, bytes, len) : status;
}

bool shoal_seal_holds(const char *head, const char *bytes, size_t len) {
    return shoal_seal_check(head, bytes, len) == SHOAL_OK;
}

static bool hash_by(const char *algorithm, const char *bytes, size_t len,
                    char digits[SHOAL_HASH_DIGITS + 1]) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    size_t n = 0;
    if (EVP_Q_digest(NULL, algorithm, NULL, bytes, len, hash, &n) != 1 ||
        n > SHOAL_HASH_DIGITS / 2)
        return false;
    print_digits(hash, n, digits);
    return true;
}

bool shoal_hash(const char *bytes, size_t len, char digits[SHOAL_HASH_DIGITS + 1]) {
    return hash_by("SHA256", bytes, len, digits);
}

bool shoal_redis_hash(const char *bytes, size_t len, char digits[SHOAL_HASH_DIGITS + 1]) {
    return hash_by("SHA1", bytes, len, digits);
}
