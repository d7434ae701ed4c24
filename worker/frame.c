#include "worker/frame.h"

#include <stdio.h>
#include <string.h>

enum { HEAD_MAX = 12 }; /* "$", the digits of SHOAL_FRAME_MAX, and some */

enum shoal_frame_state shoal_frame_look(const char *bytes, size_t len,
                                        const char **ret_message, size_t *ret_len,
                                        size_t *ret_size) {
    size_t size = 0, at = 1;
    *ret_size = 0;
    if (len > 0 && bytes[0] != '$')
        return SHOAL_FRAME_GARBAGE;
    for (; at < len && bytes[at] >= '0' && bytes[at] <= '9' && at < HEAD_MAX; at++)
        size = size * 10 + (size_t)(bytes[at] - '0');
    if (at >= len)
        return SHOAL_FRAME_PARTIAL;
    if (at == 1 || bytes[at] != '\r' || size > SHOAL_FRAME_MAX ||
        (at + 1 < len && bytes[at + 1] != '\n'))
        return SHOAL_FRAME_GARBAGE;
    size_t begin = at + 2;
    *ret_size = begin + size + 2;
    if (len < *ret_size)
        return SHOAL_FRAME_PARTIAL;
    if (memcmp(bytes + begin + size, "\r\n", 2) != 0)
        return SHOAL_FRAME_GARBAGE;
    *ret_message = bytes + begin;
    *ret_len = size;
    return SHOAL_FRAME_WHOLE;
}

size_t shoal_frame_head(char *head, size_t len) {
    return (size_t)snprintf(head, 32, "$%zu\r\n", len);
}
