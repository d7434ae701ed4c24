/* Whether bytes are UTF-8 text. */
#ifndef SHOAL_UTF8_H
#define SHOAL_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Valid UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF)
 * without NUL. */
bool shoal_utf8_is_valid(const char *bytes, size_t len);

#endif
