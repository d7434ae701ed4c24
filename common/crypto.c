#include "common/crypto.h"

#include "common/cleanup.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdbool.h>

enum shoal_status shoal_crypto_begin(struct shoal_error *err) {
    if (OSSL_LIB_CTX_get0_global_default() == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory left for OpenSSL");
    return SHOAL_OK;
}

/* Whether it is found, and so will be. */
#define FINDS(kind)                                                                      \
    static bool finds_##kind(const char *name) {                                         \
        EVP_##kind *found = EVP_##kind##_fetch(NULL, name, NULL);                        \
        EVP_##kind##_free(found);                                                        \
        return found != NULL;                                                            \
    }

FINDS(MD)
FINDS(CIPHER)
FINDS(MAC)
FINDS(KDF)
FINDS(KEYMGMT)
FINDS(KEYEXCH)
FINDS(SIGNATURE)

/* For digests, for signatures, and for TLS 1.3 and 1.2 as it is usual. */
static const struct {
    const char *name;
    bool (*finds)(const char *name);
} needed[] = {
    {"SHA1", finds_MD},
    {"SHA256", finds_MD},
    {"SHA384", finds_MD},
    {"SHA512", finds_MD},
    {"ED25519", finds_KEYMGMT},
    {"ED25519", finds_SIGNATURE},
    {"X25519", finds_KEYMGMT},
    {"X25519", finds_KEYEXCH},
    {"EC", finds_KEYMGMT},
    {"ECDH", finds_KEYEXCH},
    {"ECDSA", finds_SIGNATURE},
    {"RSA", finds_KEYMGMT},
    {"RSA", finds_SIGNATURE},
    {"AES-128-GCM", finds_CIPHER},
    {"AES-256-GCM", finds_CIPHER},
    {"HMAC", finds_MAC},
    {"HKDF", finds_KDF},
    {"TLS13-KDF", finds_KDF},
    {"TLS1-PRF", finds_KDF},
};

enum shoal_status shoal_crypto_find_all(struct shoal_error *err) {
    enum shoal_status status = shoal_crypto_begin(err);
    for (size_t i = 0; i < SHOAL_COUNT(needed) && status == SHOAL_OK; i++) {
        if (!needed[i].finds(needed[i].name))
            status = shoal_error_set(err, SHOAL_MEMORY,
                                     "OpenSSL does not find %s: it lacks memory, or is "
                                     "configured to go without",
                                     needed[i].name);
    }
    return status;
}
