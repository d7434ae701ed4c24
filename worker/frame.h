/* Messages between a worker and a runner that stays: each is a RESP string that holds one
 * RESP array, so that its length is known before it is there.
 *
 *     $<length>\r\n*<n>\r\n…\r\n                                                       */
#ifndef SHOAL_FRAME_H
#define SHOAL_FRAME_H

#include "common/buffer.h"

#include <stdbool.h>
#include <stddef.h>

enum { SHOAL_PROTOCOL_VERSION = 2, SHOAL_FRAME_MAX = 64 << 20 };

/* The fields of the messages, behind their name; README.md tells what they mean. */
enum {
    SHOAL_RUN_FIELDS = 7, /* job, seed, attempt, first, count, kind, bytes */
    SHOAL_DONE_FIELDS =
        8, /* position, tasks, elements, outcomes, work_us, rss_kb, over, failures */
    SHOAL_FAILURE_FIELDS = 5, /* index, reason, code, wall_us, text */
};

enum shoal_frame_state { SHOAL_FRAME_WHOLE, SHOAL_FRAME_PARTIAL, SHOAL_FRAME_GARBAGE };

/* Whether `len` bytes begin with a whole frame. WHOLE: *ret_message is its array,
 * *ret_size what the frame takes. PARTIAL: *ret_size bytes are needed, or some more when
 * it is 0. */
enum shoal_frame_state shoal_frame_look(const char *bytes, size_t len,
                                        const char **ret_message, size_t *ret_len,
                                        size_t *ret_size);

/* The bytes that stand in front of a message of `len` bytes, into `head` of 32 bytes;
 * returns how many. Behind the message stands "\r\n". */
size_t shoal_frame_head(char *head, size_t len);

#endif
