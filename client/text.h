/* UTF-8 that comes from programs and goes to terminals and files. */
#ifndef SHOAL_TEXT_H
#define SHOAL_TEXT_H

#include "common/buffer.h"

#include <stddef.h>
#include <stdint.h>

/* How many bytes the character at `at` has, 0 when it is no UTF-8 (or at the end). */
size_t shoal_utf8_next(const char *at, const char *end, uint32_t *ret_code);

/* Appends a character as UTF-8; what is no character (a surrogate …) becomes U+FFFD. */
void shoal_utf8_add(struct shoal_buffer *text, uint32_t code);

/* Appends bytes, with U+FFFD for each that is no UTF-8 and for each NUL. */
void shoal_text_add_safe(struct shoal_buffer *text, const char *bytes, size_t len);

/* Appends `text` with control characters, and others that would confuse a terminal, as
 * \n, \t, \x1b, \u202e …, and "?" for bytes that are no UTF-8; also for sentences that
 * quote what a program printed. */
void shoal_text_escape(struct shoal_buffer *escaped, const char *text, size_t len);

/* How many columns of a terminal a text takes, about. */
size_t shoal_text_width(const char *text, size_t len);

/* How many bytes of a text fit into that many columns. */
size_t shoal_text_fit(const char *text, size_t len, size_t columns);

/* Appends `text` as a JSON string with its quotes. */
void shoal_text_quote(struct shoal_buffer *json, const char *text, size_t len);

#endif
