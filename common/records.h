/* What travels in bulk: RESP2 arrays, bulk strings and integers, written into a buffer
 * and read in place. Packs of outcomes and of arguments are made of them, and so is every
 * command that is sent to Redis. The reader never copies and never reads beyond what it
 * was given; whatever is not RESP2 ends it with `failed`. */
#ifndef SHOAL_RECORDS_H
#define SHOAL_RECORDS_H

#include "common/buffer.h"

#include <stdint.h>

/* Writers. An array of n is followed by its n elements. */
void shoal_record_array(struct shoal_buffer *buffer, size_t n);
void shoal_record_bytes(struct shoal_buffer *buffer, const void *bytes, size_t len);
void shoal_record_text(struct shoal_buffer *buffer, const char *text);
void shoal_record_int(struct shoal_buffer *buffer, int64_t value); /* as a bulk string */

enum shoal_record_type { SHOAL_RECORD_ARRAY, SHOAL_RECORD_BYTES };

struct shoal_record {
    enum shoal_record_type type;
    size_t n;          /* of an array: how many elements follow */
    const char *bytes; /* of a string: inside what the reader was given, without a NUL */
    size_t len;
};

struct shoal_record_reader {
    const char *at;
    const char *end;
    bool failed;
};

void shoal_record_reader_init(struct shoal_record_reader *reader, const void *bytes,
                              size_t len);

/* The next item. False at the end of the bytes and after garbage (then `failed`). */
SHOAL_MUST_CHECK
bool shoal_record_next(struct shoal_record_reader *reader,
                       struct shoal_record *ret_record);

/* The next item if it is what is wanted; else false and `failed`. An integer is decimal
 * digits with an optional '-', within int64_t. */
SHOAL_MUST_CHECK
bool shoal_record_read_array(struct shoal_record_reader *reader, size_t *ret_n);
SHOAL_MUST_CHECK
bool shoal_record_read_bytes(struct shoal_record_reader *reader, const char **ret_bytes,
                             size_t *ret_len);
SHOAL_MUST_CHECK
bool shoal_record_read_int(struct shoal_record_reader *reader, int64_t *ret_value);

/* Skips one item with everything in it, eight levels deep at most. */
SHOAL_MUST_CHECK
bool shoal_record_skip(struct shoal_record_reader *reader);

#endif
