/* Whether bytes are UTF-8 text, and what in it talks to a terminal. */
#ifndef SHOAL_UTF8_H
#define SHOAL_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Valid UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF)
 * without NUL. */
bool shoal_utf8_is_valid(const char *bytes, size_t len);

/* Puts `with` in the place of each byte of control characters: those of ASCII and U+0080
 * to U+009F. */
void shoal_utf8_blot_controls(char *bytes, size_t len, char with);

#endif
