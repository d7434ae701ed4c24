/* The beginning of OpenSSL. */
#ifndef SHOAL_CRYPTO_H
#define SHOAL_CRYPTO_H

#include "common/error.h"

/* Asked for before anything of OpenSSL is used: where memory lacks while it begins, it
 * stays without what it needs, and crashes in whatever is called later. Once it is
 * SHOAL_OK it stays so. SHOAL_MEMORY: nothing of it can be used in this process. */
SHOAL_MUST_CHECK
enum shoal_status shoal_crypto_begin(struct shoal_error *err);

/* The same, and looks up what is needed later: OpenSSL 3.0 does so once, and what it has
 * no memory for then it never finds again. What this host's OpenSSL goes without is no
 * error here. For programs that live long. */
SHOAL_MUST_CHECK
enum shoal_status shoal_crypto_find_all(struct shoal_error *err);

#endif
