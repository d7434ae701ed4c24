/* SHA-256 (FIPS 180-4), as Redis keeps passwords. */
#ifndef SHOAL_SHA256_H
#define SHOAL_SHA256_H

#include <stddef.h>

enum { SHOAL_SHA256_HEX = 65 };

/* The digest in lower-case hexadecimal digits, with a NUL behind. */
void shoal_sha256(const void *bytes, size_t len, char hex[SHOAL_SHA256_HEX]);

#endif
