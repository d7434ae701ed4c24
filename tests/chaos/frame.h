/* Where a RESP2 message ends, found as its bytes come in, however deep it nests. */
#ifndef SHOAL_CHAOS_FRAME_H
#define SHOAL_CHAOS_FRAME_H

#include <stddef.h>

struct frame {
    size_t at;   /* bytes that were looked at, or more than are there; 0: it begins */
    size_t left; /* elements that are still to come */
};

enum frame_status { FRAME_WHOLE, FRAME_PARTIAL, FRAME_GARBAGE };

/* Looks at what is there of a message, always from its first byte. FRAME_WHOLE: it is
 * `*ret_len` bytes long, and the frame is ready for the next. */
enum frame_status frame_look(struct frame *frame, const char *bytes, size_t len,
                             size_t *ret_len);

#endif
