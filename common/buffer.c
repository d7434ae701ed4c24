#include "common/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void shoal_buffer_init(struct shoal_buffer *buffer, size_t limit) {
    *buffer = (struct shoal_buffer){.limit = limit};
}

void shoal_buffer_finish(struct shoal_buffer *buffer) {
    free(buffer->data);
    *buffer = (struct shoal_buffer){.limit = buffer->limit};
}

void shoal_buffer_clear(struct shoal_buffer *buffer) {
    buffer->len = 0;
    buffer->failed = false;
    buffer->is_full = false;
    if (buffer->data != NULL)
        buffer->data[0] = '\0';
}

/* Makes room for `more` bytes and the NUL; false, and failed, when there is none. */
static bool reserve(struct shoal_buffer *buffer, size_t more) {
    if (buffer->failed)
        return false;
    if (more > buffer->limit - buffer->len) {
        buffer->failed = buffer->is_full = true;
        return false;
    }
    size_t needed = buffer->len + more + 1;
    if (needed <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < needed)
        capacity *= 2;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void shoal_buffer_add(struct shoal_buffer *buffer, const void *bytes, size_t len) {
    if (len == 0 || !reserve(buffer, len))
        return;
    memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
}

char *shoal_buffer_extend(struct shoal_buffer *buffer, size_t len) {
    if (!reserve(buffer, len))
        return NULL;
    char *at = buffer->data + buffer->len;
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
    return at;
}

void shoal_buffer_add_text(struct shoal_buffer *buffer, const char *text) {
    shoal_buffer_add(buffer, text, strlen(text));
}

void shoal_buffer_add_char(struct shoal_buffer *buffer, char c) {
    shoal_buffer_add(buffer, &c, 1);
}

void shoal_buffer_add_format(struct shoal_buffer *buffer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        buffer->failed = true;
        return;
    }
    if (!reserve(buffer, (size_t)len))
        return;
    va_start(args, format);
    vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, args);
    va_end(args);
    buffer->len += (size_t)len;
}

void shoal_buffer_drop(struct shoal_buffer *buffer, size_t len) {
    if (len >= buffer->len) {
        bool failed = buffer->failed;
        shoal_buffer_clear(buffer);
        buffer->failed = failed;
        return;
    }
    memmove(buffer->data, buffer->data + len, buffer->len - len + 1);
    buffer->len -= len;
}

const char *shoal_buffer_text(const struct shoal_buffer *buffer) {
    return buffer->data == NULL ? "" : buffer->data;
}

enum shoal_status shoal_buffer_check(const struct shoal_buffer *buffer, const char *what,
                                     struct shoal_error *err) {
    if (!buffer->failed)
        return SHOAL_OK;
    if (!buffer->is_full)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory left for %s", what);
    return shoal_error_set(err, SHOAL_MEMORY, "%s does not fit into %zu bytes", what,
                           buffer->limit);
}

char *shoal_buffer_steal(struct shoal_buffer *buffer) {
    if (buffer->failed)
        return NULL;
    char *text = buffer->data == NULL ? strdup("") : buffer->data;
    *buffer = (struct shoal_buffer){.limit = buffer->limit};
    return text;
}
