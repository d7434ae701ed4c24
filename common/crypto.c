#include "common/crypto.h"

#include "common/cleanup.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
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

enum { FOR_ALL = 2 }; /* so many of the first are used by every program */

/* Why OpenSSL has just not found something: this host's goes without, or else there was
 * no memory. */
static bool is_left_out(void) {
    unsigned long error;
    bool any = false, all = true;
    while ((error = ERR_get_error()) != 0) {
        any = true;
        all = all && ERR_GET_REASON(error) == ERR_R_UNSUPPORTED;
    }
    return any && all;
}

enum shoal_status shoal_crypto_find_all(struct shoal_error *err) {
    enum shoal_status status = shoal_crypto_begin(err);
    ERR_clear_error();
    for (size_t i = 0; i < SHOAL_COUNT(needed) && status == SHOAL_OK; i++) {
        if (needed[i].finds(needed[i].name))
            continue;
        bool left_out = is_left_out();
        if (!left_out || i < FOR_ALL)
            status = shoal_error_set(err, SHOAL_MEMORY, "OpenSSL %s %s",
                                     left_out ? "is configured to go without"
                                              : "has no memory left to find",
                                     needed[i].name);
    }
    return status;
}
