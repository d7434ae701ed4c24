#include "tests/chaos/frame.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 20, MOST = 1 << 30 };

/* The number behind a type, -1 for null. */
static bool read_number(const char *line, size_t len, long *ret_number) {
    char text[NUMBER_MAX + 1], *end = text;
    if (len == 0 || len > NUMBER_MAX)
        return false;
    memcpy(text, line, len);
    text[len] = '\0';
    *ret_number = strtol(text, &end, 10);
    return *end == '\0' && *ret_number >= -1 && *ret_number <= MOST;
}

/* Takes the element whose first line is `len` bytes long, without its end. */
static bool take_line(struct frame *frame, const char *line, size_t len) {
    long n = 0;
    frame->left--;
    frame->at += len + 2;
    if (len > 0 && strchr("+-:", line[0]) != NULL)
        return true;
    if (len < 2 || strchr("*$", line[0]) == NULL || !read_number(line + 1, len - 1, &n))
        return false;
    if (line[0] == '$' && n >= 0)
        frame->at += (size_t)n + 2;
    if (line[0] == '*' && n > 0)
        frame->left += (size_t)n;
    return true;
}

enum frame_status frame_look(struct frame *frame, const char *bytes, size_t len,
                             size_t *ret_len) {
    if (frame->at == 0)
        frame->left = 1;
    while (frame->left > 0) {
        const char *line = bytes + frame->at, *end;
        if (frame->at >= len || (end = memchr(line, '\n', len - frame->at)) == NULL)
            return FRAME_PARTIAL;
        if (end == line || end[-1] != '\r' ||
            !take_line(frame, line, (size_t)(end - line) - 1))
            return FRAME_GARBAGE;
    }
    if (frame->at > len)
        return FRAME_PARTIAL;
    *ret_len = frame->at;
    *frame = (struct frame){.at = 0};
    return FRAME_WHOLE;
}
