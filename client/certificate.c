#include "client/certificate.h"

#include "common/cleanup.h"
#include "common/secret.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    DAY_S = 24 * 60 * 60,
    RENEW_DAYS = 30,
    AUTHORITY_DAYS = 3650,
    SERVER_DAYS = 800, /* some programs take no longer ones */
};

struct pair {
    X509 *certificate;
    EVP_PKEY *key;
};

static void pair_cleanup(struct pair *pair) {
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
    *pair = (struct pair){.key = NULL};
}

static void free_bio(BIO **bio) {
    BIO_free_all(*bio);
}

/* A passphrase would have to be typed, and nobody is there. */
static int no_passphrase(SHOAL_UNUSED char *text, SHOAL_UNUSED int room,
                         SHOAL_UNUSED int writes, SHOAL_UNUSED void *owner) {
    return -1;
}

/* ---- as text */

static bool print_certificate(X509 *certificate, BIO *out) {
    return out != NULL && PEM_write_bio_X509(out, certificate) == 1;
}

static bool print_key(EVP_PKEY *key, BIO *out) {
    return out != NULL &&
           PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
}

static bool is_text(BIO *printed, const char *text) {
    char *bytes = NULL;
    long len = BIO_get_mem_data(printed, &bytes);
    return len >= 0 && (size_t)len == strlen(text) &&
           memcmp(bytes, text, (size_t)len) == 0;
}

static X509 *certificate_of(const char *text) {
    SHOAL_CLEANUP(free_bio) BIO *in = BIO_new_mem_buf(text, -1);
    SHOAL_CLEANUP(free_bio) BIO *again = BIO_new(BIO_s_mem());
    X509 *certificate =
        in == NULL ? NULL : PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
    if (certificate == NULL ||
        (print_certificate(certificate, again) && is_text(again, text)))
        return certificate;
    X509_free(certificate);
    return NULL;
}

static EVP_PKEY *key_of(const char *text) {
    SHOAL_CLEANUP(free_bio) BIO *in = BIO_new_mem_buf(text, -1);
    SHOAL_CLEANUP(free_bio) BIO *again = BIO_new(BIO_s_secmem());
    EVP_PKEY *key =
        in == NULL ? NULL : PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL);
    if (key == NULL || (print_key(key, again) && is_text(again, text)))
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static bool is_signed_by(X509 *certificate, X509 *authority) {
    EVP_PKEY *key = X509_get0_pubkey(authority);
    return key != NULL && X509_check_issued(authority, certificate) == X509_V_OK &&
           X509_verify(certificate, key) == 1;
}

bool shoal_certificates_fit(const char *authority, const char *certificate,
                            const char *key) {
    SHOAL_CLEANUP(pair_cleanup)
    struct pair pair = {.certificate = certificate_of(certificate), .key = key_of(key)};
    X509 *ca = certificate_of(authority);
    bool fits = ca != NULL && pair.certificate != NULL && pair.key != NULL &&
                X509_check_ca(ca) == 1 && is_signed_by(pair.certificate, ca) &&
                X509_check_private_key(pair.certificate, pair.key) == 1;
    X509_free(ca);
    ERR_clear_error();
    return fits;
}

/* ---- in files */

static bool path_of(const char *folder, const char *name, const char *suffix,
                    char path[PATH_MAX]) {
    return snprintf(path, PATH_MAX, "%s/%s.%s", folder, name, suffix) < PATH_MAX;
}

/* What is there, if it can be read and belongs together. */
static bool read_pair(const char *folder, const char *name, struct pair *pair) {
    char path[PATH_MAX];
    SHOAL_CLEANUP(free_bio)
    BIO *in = path_of(folder, name, "pem", path) ? BIO_new_file(path, "re") : NULL;
    SHOAL_CLEANUP(free_bio)
    BIO *secret = path_of(folder, name, "key", path) ? BIO_new_file(path, "re") : NULL;
    if (in == NULL || secret == NULL)
        return false;
    pair->certificate = PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
    pair->key = PEM_read_bio_PrivateKey(secret, NULL, no_passphrase, NULL);
    return pair->certificate != NULL && pair->key != NULL &&
           X509_check_private_key(pair->certificate, pair->key) == 1;
}

static enum shoal_status write_bio(const char *path, BIO *text, struct shoal_error *err) {
    char *bytes = NULL;
    long len = BIO_get_mem_data(text, &bytes);
    return shoal_secret_write(path, bytes, (size_t)len, err);
}

static enum shoal_status cannot_make(struct shoal_error *err) {
    char why[160];
    ERR_error_string_n(ERR_get_error(), why, sizeof(why));
    return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a certificate: %s", why);
}

/* The key first: without it the certificate is of no use, and is made again. */
static enum shoal_status write_pair(const char *folder, const char *name,
                                    const struct pair *pair, struct shoal_error *err) {
    char path[PATH_MAX];
    SHOAL_CLEANUP(free_bio) BIO *secret = BIO_new(BIO_s_secmem());
    SHOAL_CLEANUP(free_bio) BIO *open = BIO_new(BIO_s_mem());
    if (!print_key(pair->key, secret) || !print_certificate(pair->certificate, open))
        return cannot_make(err);
    if (!path_of(folder, name, "key", path))
        return shoal_error_set(err, SHOAL_INVALID, "the folder '%.200s' is too long",
                               folder);
    enum shoal_status status = write_bio(path, secret, err);
    if (status == SHOAL_OK && path_of(folder, name, "pem", path))
        status = write_bio(path, open, err);
    return status;
}

/* ---- making them */

struct plan {
    const char *file;
    const char *name; /* of whom it is for */
    int days;
    const char *extensions[4][2]; /* as in openssl.cnf */
};

static bool extend(X509 *made, const char *const extensions[][2]) {
    for (; (*extensions)[0] != NULL; extensions++) {
        X509_EXTENSION *one =
            X509V3_EXT_conf(NULL, NULL, (*extensions)[0], (*extensions)[1]);
        bool good = one != NULL && X509_add_ext(made, one, -1) == 1;
        X509_EXTENSION_free(one);
        if (!good)
            return false;
    }
    return true;
}

static bool call(X509_NAME *name, const char *text) {
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                      (const unsigned char *)text, -1, -1, 0) == 1;
}

/* Valid from yesterday on, since another host's clock may be behind. */
static bool describe(X509 *made, const struct plan *plan, X509 *signer) {
    int64_t number = 0;
    return RAND_bytes((unsigned char *)&number, sizeof(number)) == 1 &&
           ASN1_INTEGER_set_int64(X509_get_serialNumber(made), number & INT64_MAX) == 1 &&
           X509_set_version(made, X509_VERSION_3) == 1 &&
           X509_time_adj_ex(X509_getm_notBefore(made), -1, 0, NULL) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(made), plan->days, 0, NULL) != NULL &&
           call(X509_get_subject_name(made), plan->name) &&
           X509_set_issuer_name(made, X509_get_subject_name(signer)) == 1 &&
           extend(made, plan->extensions);
}

/* `authority` NULL: it signs itself. */
static enum shoal_status make(const char *folder, const struct plan *plan,
                              const struct pair *authority, struct pair *ret_pair,
                              struct shoal_error *err) {
    pair_cleanup(ret_pair);
    *ret_pair = (struct pair){.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
    if (authority == NULL)
        authority = ret_pair;
    if (ret_pair->certificate == NULL || ret_pair->key == NULL ||
        !describe(ret_pair->certificate, plan, authority->certificate) ||
        X509_set_pubkey(ret_pair->certificate, ret_pair->key) != 1 ||
        X509_sign(ret_pair->certificate, authority->key, EVP_sha256()) <= 0)
        return cannot_make(err);
    return write_pair(folder, plan->file, ret_pair, err);
}

static bool is_fresh(const X509 *certificate) {
    time_t soon = time(NULL) + (time_t)RENEW_DAYS * DAY_S;
    return X509_cmp_time(X509_get0_notAfter(certificate), &soon) > 0;
}

static bool is_for(X509 *certificate, const char *host) {
    unsigned char address[16];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_check_ip_asc(certificate, host, 0) == 1;
    return X509_check_host(certificate, host, 0, 0, NULL) == 1;
}

static enum shoal_status take_authority(const char *folder, struct pair *authority,
                                        struct shoal_error *err) {
    char name[64];
    const struct plan plan = {
        .file = "authority",
        .name = name,
        .days = AUTHORITY_DAYS,
        .extensions = {{"basicConstraints", "critical,CA:TRUE,pathlen:0"},
                       {"keyUsage", "critical,keyCertSign"}},
    };
    uint32_t number = 0;
    if (read_pair(folder, "authority", authority) && is_fresh(authority->certificate))
        return SHOAL_OK;
    if (RAND_bytes((unsigned char *)&number, sizeof(number)) != 1)
        return cannot_make(err);
    /* One that was made later has another name, so that errors tell them apart. */
    snprintf(name, sizeof(name), "shoal cluster %08x", (unsigned)number);
    return make(folder, &plan, NULL, authority, err);
}

/* `host` NULL: a client's. */
static enum shoal_status take(const char *folder, const struct plan *plan,
                              const struct pair *authority, const char *host,
                              struct shoal_error *err) {
    SHOAL_CLEANUP(pair_cleanup) struct pair pair = {.key = NULL};
    if (read_pair(folder, plan->file, &pair) && is_fresh(pair.certificate) &&
        is_signed_by(pair.certificate, authority->certificate) &&
        (host == NULL || is_for(pair.certificate, host)))
        return SHOAL_OK;
    return make(folder, plan, authority, &pair, err);
}

enum shoal_status shoal_certificates_take(const char *folder, const char *host,
                                          const char *names, struct shoal_error *err) {
    SHOAL_CLEANUP(pair_cleanup) struct pair authority = {.key = NULL};
    const struct plan worker = {
        .file = "worker",
        .name = "worker",
        .days = AUTHORITY_DAYS - 1,
        .extensions = {{"keyUsage", "critical,digitalSignature"},
                       {"extendedKeyUsage", "clientAuth"}},
    };
    const struct plan server = {
        .file = "server",
        .name = "server",
        .days = SERVER_DAYS,
        .extensions = {{"keyUsage", "critical,digitalSignature"},
                       {"extendedKeyUsage", "serverAuth"},
                       {"subjectAltName", names}},
    };
    enum shoal_status status = take_authority(folder, &authority, err);
    if (status == SHOAL_OK)
        status = take(folder, &worker, &authority, NULL, err);
    if (status == SHOAL_OK)
        status = take(folder, &server, &authority, host, err);
    ERR_clear_error();
    return status;
}
