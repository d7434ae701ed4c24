#include "common/error.h"

#include "common/utf8.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [SHOAL_OK] = "ok",           [SHOAL_INVALID] = "invalid", [SHOAL_UNKNOWN] = "unknown",
    [SHOAL_REFUSED] = "refused", [SHOAL_DENIED] = "denied",   [SHOAL_FULL] = "full",
    [SHOAL_TIMEOUT] = "timeout", [SHOAL_LOST] = "lost",       [SHOAL_GARBAGE] = "garbage",
    [SHOAL_MEMORY] = "memory",   [SHOAL_SYSTEM] = "system",
};
_Static_assert(sizeof(names) / sizeof(*names) == SHOAL_STATUS_COUNT,
               "a status is missing");

const char *shoal_status_name(enum shoal_status status) {
    return status < SHOAL_STATUS_COUNT ? names[status] : "unknown status";
}

enum shoal_status shoal_error_set(struct shoal_error *err, enum shoal_status status,
                                  const char *format, ...) {
    if (err == NULL || err->status != SHOAL_OK)
        return status;
    err->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    /* Sentences quote what came from outside; it must not end the line or talk to the
     * terminal. */
    shoal_utf8_blot_controls(err->text, strlen(err->text), '?');
    return status;
}

void shoal_error_clear(struct shoal_error *err) {
    err->status = SHOAL_OK;
    err->text[0] = '\0';
}
