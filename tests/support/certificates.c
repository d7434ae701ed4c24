#include "tests/support/certificates.h"

#include <check.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

static FILE *open_file(const char *directory, const char *name, const char *suffix,
                       const char *mode) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s.%s", directory, name, suffix);
    FILE *file = fopen(path, mode);
    ck_assert_msg(file != NULL, "cannot open %s", path);
    return file;
}

/* `passphrase` may be NULL. */
static void write_key(const char *directory, const char *name, EVP_PKEY *key,
                      char *passphrase) {
    const EVP_CIPHER *cipher = passphrase == NULL ? NULL : EVP_aes_128_cbc();
    FILE *file = open_file(directory, name, "key", "we");
    ck_assert_int_eq(fchmod(fileno(file), 0600), 0);
    ck_assert_int_eq(PEM_write_PrivateKey(file, key, cipher, NULL, 0, NULL, passphrase),
                     1);
    ck_assert_int_eq(fclose(file), 0);
}

static EVP_PKEY *read_key(const char *directory, const char *name) {
    FILE *file = open_file(directory, name, "key", "re");
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    ck_assert_ptr_nonnull(key);
    return key;
}

static void call(X509_NAME *name, const char *text) {
    ck_assert_int_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)text, -1, -1, 0),
                     1);
}

static void extend(X509 *made, int which, const char *text) {
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, which, text);
    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(made, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void describe(X509 *made, const struct test_certificate *certificate) {
    int64_t number = 0;
    ck_assert_int_eq(RAND_bytes((unsigned char *)&number, 7), 1);
    ASN1_INTEGER_set_int64(X509_get_serialNumber(made), number);
    X509_set_version(made, X509_VERSION_3);
    X509_time_adj_ex(X509_getm_notBefore(made), certificate->from_days, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(made), certificate->until_days, 0, NULL);
    call(X509_get_subject_name(made), certificate->name);
    call(X509_get_issuer_name(made),
         certificate->signer == NULL ? certificate->name : certificate->signer);
    if (certificate->names == NULL)
        extend(made, NID_basic_constraints, "critical,CA:TRUE");
    else
        extend(made, NID_subject_alt_name, certificate->names);
}

void test_certificate_make(const char *directory,
                           const struct test_certificate *certificate) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *made = X509_new();
    ck_assert(key != NULL && made != NULL);
    write_key(directory, certificate->name, key, NULL);
    describe(made, certificate);
    X509_set_pubkey(made, key);
    EVP_PKEY *signs = read_key(
        directory, certificate->signer == NULL ? certificate->name : certificate->signer);
    ck_assert_int_gt(X509_sign(made, signs, EVP_sha256()), 0);
    FILE *file = open_file(directory, certificate->name, "pem", "we");
    ck_assert_int_eq(PEM_write_X509(file, made), 1);
    ck_assert_int_eq(fclose(file), 0);
    X509_free(made);
    EVP_PKEY_free(signs);
    EVP_PKEY_free(key);
}

void test_certificate_lock(const char *directory, const char *name) {
    EVP_PKEY *key = read_key(directory, name);
    write_key(directory, name, key, (char[]){"passphrase"});
    EVP_PKEY_free(key);
}
