#include "common/crypto.h"

#include <openssl/crypto.h>

enum shoal_status shoal_crypto_begin(struct shoal_error *err) {
    if (OSSL_LIB_CTX_get0_global_default() == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory left for OpenSSL");
    return SHOAL_OK;
}
