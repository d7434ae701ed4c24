/* Bytes that grow up to a limit.
 *
 * The first addition that does not fit, by the limit or for want of memory, marks the
 * buffer as failed and every later one does nothing, so that a caller checks once, at the
 * end. */
#ifndef SHOAL_BUFFER_H
#define SHOAL_BUFFER_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

struct shoal_buffer {
    char *data; /* NULL while empty; else followed by a NUL that `len` does not count */
    size_t len;
    size_t capacity;
    size_t limit;
    bool failed;
    bool is_full; /* it failed by the limit */
};

void shoal_buffer_init(struct shoal_buffer *buffer, size_t limit);
void shoal_buffer_finish(struct shoal_buffer *buffer);

/* Empties it, keeps its memory, forgets a failure. */
void shoal_buffer_clear(struct shoal_buffer *buffer);

void shoal_buffer_add(struct shoal_buffer *buffer, const void *bytes, size_t len);

/* Makes it longer by `len` bytes, which the caller writes there; NULL when they do not
 * fit. */
char *shoal_buffer_extend(struct shoal_buffer *buffer, size_t len);

void shoal_buffer_add_text(struct shoal_buffer *buffer, const char *text);
void shoal_buffer_add_char(struct shoal_buffer *buffer, char c);
void shoal_buffer_add_format(struct shoal_buffer *buffer, const char *format, ...)
    SHOAL_PRINTF(2, 3);

/* Takes the first `len` bytes away. */
void shoal_buffer_drop(struct shoal_buffer *buffer, size_t len);

/* The text so far, never NULL, the buffer's own. */
const char *shoal_buffer_text(const struct shoal_buffer *buffer);

/* SHOAL_OK, or SHOAL_MEMORY with a sentence that names `what` when an addition did not
 * fit, which tells a limit from want of memory. */
SHOAL_MUST_CHECK
enum shoal_status shoal_buffer_check(const struct shoal_buffer *buffer, const char *what,
                                     struct shoal_error *err);

/* The text as the caller's own, to be freed with free(); the buffer is empty afterwards.
 * NULL when an addition failed or there is no memory. */
char *shoal_buffer_steal(struct shoal_buffer *buffer);

#endif
