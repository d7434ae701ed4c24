/* A signal that a task gets some time before its timeout: "USR1@60s". */
#ifndef SHOAL_WARNING_H
#define SHOAL_WARNING_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

enum { SHOAL_WARNING_ROOM = 32 };

struct shoal_warning {
    int signal;        /* 0: none */
    int64_t before_ms; /* the timeout */
};

/* The signal by name, with or without "SIG" and however it is written, or by number.
 * SHOAL_INVALID: the text is none; the sentence says what is. */
SHOAL_MUST_CHECK
enum shoal_status shoal_warning_parse(const char *text, struct shoal_warning *ret_warning,
                                      struct shoal_error *err);

/* As it is written shortest, into `text` of `room` bytes (SHOAL_WARNING_ROOM). */
void shoal_warning_print(const struct shoal_warning *warning, char *text, size_t room);

/* Whether a task with that timeout can be warned so. */
SHOAL_MUST_CHECK
enum shoal_status shoal_warning_check(const struct shoal_warning *warning,
                                      int64_t timeout_ms, struct shoal_error *err);

#endif
