#include "common/records.h"

#include <string.h>

enum {
    HEAD_MAX = 24,   /* a type, the digits of a size_t, CR LF */
    DIGITS_MAX = 18, /* of a count or a length; as many cannot overflow */
    ITEM_MIN = 4,    /* bytes of the shortest item, "*0\r\n" */
    DEPTH_MAX = 8,
    SHORT_EXTRA = 6, /* what a string of less than ten bytes takes besides them */
};

/* Writes "<type><n>\r\n" to the end of `text`, which has HEAD_MAX bytes; returns where it
 * begins. */
static char *head(char *text, char type, size_t n) {
    char *at = text + HEAD_MAX;
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    *--at = type;
    return at;
}

static void add_head(struct shoal_buffer *buffer, char type, size_t n) {
    char text[HEAD_MAX];
    const char *start = head(text, type, n);
    shoal_buffer_add(buffer, start, (size_t)(text + HEAD_MAX - start));
}

void shoal_record_array(struct shoal_buffer *buffer, size_t n) {
    add_head(buffer, '*', n);
}

/* One whose length is a digit, as most results and arguments of small tasks are. */
static void add_short(struct shoal_buffer *buffer, const char *bytes, size_t len) {
    char *at = shoal_buffer_extend(buffer, len + SHORT_EXTRA);
    if (at == NULL)
        return;
    at[0] = '$';
    at[1] = (char)('0' + len);
    at[2] = '\r';
    at[3] = '\n';
    for (size_t i = 0; i < len; i++)
        at[4 + i] = bytes[i];
    at[4 + len] = '\r';
    at[5 + len] = '\n';
}

/* Packs are made of these by the million, so they are written in one piece. */
void shoal_record_bytes(struct shoal_buffer *buffer, const void *bytes, size_t len) {
    if (len < 10) {
        add_short(buffer, bytes, len);
        return;
    }
    char text[HEAD_MAX];
    const char *start = head(text, '$', len);
    size_t head_len = (size_t)(text + HEAD_MAX - start);
    char *at = shoal_buffer_extend(buffer, head_len + len + 2);
    if (at == NULL)
        return;
    memcpy(at, start, head_len);
    if (len > 0)
        memcpy(at + head_len, bytes, len);
    at[head_len + len] = '\r';
    at[head_len + len + 1] = '\n';
}

void shoal_record_text(struct shoal_buffer *buffer, const char *text) {
    shoal_record_bytes(buffer, text, strlen(text));
}

void shoal_record_int(struct shoal_buffer *buffer, int64_t value) {
    char text[HEAD_MAX];
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    char *digits = head(text, '-', size);
    if (value >= 0)
        digits++;
    shoal_record_bytes(buffer, digits, (size_t)(text + HEAD_MAX - 2 - digits));
}

void shoal_record_reader_init(struct shoal_record_reader *reader, const void *bytes,
                              size_t len) {
    *reader = (struct shoal_record_reader){.at = bytes, .end = (const char *)bytes + len};
}

static bool fail(struct shoal_record_reader *reader) {
    reader->failed = true;
    return false;
}

static size_t left(const struct shoal_record_reader *reader) {
    return (size_t)(reader->end - reader->at);
}

static bool take_line_end(struct shoal_record_reader *reader) {
    if (left(reader) < 2 || reader->at[0] != '\r' || reader->at[1] != '\n')
        return fail(reader);
    reader->at += 2;
    return true;
}

static size_t count_digits(const struct shoal_record_reader *reader) {
    size_t n = 0;
    while (n < left(reader) && reader->at[n] >= '0' && reader->at[n] <= '9')
        n++;
    return n;
}

/* "<digits>\r\n" */
static bool take_size(struct shoal_record_reader *reader, size_t *ret_size) {
    size_t digits = count_digits(reader);
    if (digits == 0 || digits > DIGITS_MAX)
        return fail(reader);
    size_t size = 0;
    for (size_t i = 0; i < digits; i++)
        size = size * 10 + (size_t)(*reader->at++ - '0');
    *ret_size = size;
    return take_line_end(reader);
}

static bool take_bytes(struct shoal_record_reader *reader, size_t len,
                       struct shoal_record *ret_record) {
    if (len > left(reader))
        return fail(reader);
    *ret_record = (struct shoal_record){
        .type = SHOAL_RECORD_BYTES, .bytes = reader->at, .len = len};
    reader->at += len;
    return take_line_end(reader);
}

/* ":<integer>\r\n", which is given as the bytes of its text. */
static bool take_integer(struct shoal_record_reader *reader,
                         struct shoal_record *ret_record) {
    const char *start = reader->at;
    if (left(reader) > 0 && *start == '-')
        reader->at++;
    size_t digits = count_digits(reader);
    if (digits == 0)
        return fail(reader);
    size_t len = (size_t)(reader->at - start) + digits;
    reader->at = start;
    return take_bytes(reader, len, ret_record);
}

static bool take_array(struct shoal_record_reader *reader, size_t n,
                       struct shoal_record *ret_record) {
    if (n > left(reader) / ITEM_MIN) /* callers make room for what they are told */
        return fail(reader);
    *ret_record = (struct shoal_record){.type = SHOAL_RECORD_ARRAY, .n = n};
    return true;
}

bool shoal_record_next(struct shoal_record_reader *reader,
                       struct shoal_record *ret_record) {
    if (reader->failed || left(reader) == 0)
        return false;
    char type = *reader->at++;
    if (type == ':')
        return take_integer(reader, ret_record);
    size_t size;
    if ((type != '*' && type != '$') || !take_size(reader, &size))
        return fail(reader);
    return type == '*' ? take_array(reader, size, ret_record)
                       : take_bytes(reader, size, ret_record);
}

static bool next_of(struct shoal_record_reader *reader, enum shoal_record_type type,
                    struct shoal_record *ret_record) {
    if (!shoal_record_next(reader, ret_record) || ret_record->type != type)
        return fail(reader);
    return true;
}

bool shoal_record_read_array(struct shoal_record_reader *reader, size_t *ret_n) {
    struct shoal_record record;
    if (!next_of(reader, SHOAL_RECORD_ARRAY, &record))
        return false;
    *ret_n = record.n;
    return true;
}

/* One whose length is a digit, in one look; anything else is left where it is. */
static bool read_short(struct shoal_record_reader *reader, const char **ret_bytes,
                       size_t *ret_len) {
    const char *at = reader->at;
    size_t there = left(reader);
    if (reader->failed || there < SHORT_EXTRA || at[0] != '$' || at[2] != '\r' ||
        at[3] != '\n' || at[1] < '0' || at[1] > '9')
        return false;
    size_t len = (size_t)(at[1] - '0');
    if (there < len + SHORT_EXTRA || at[4 + len] != '\r' || at[5 + len] != '\n')
        return false;
    *ret_bytes = at + 4;
    *ret_len = len;
    reader->at = at + len + SHORT_EXTRA;
    return true;
}

bool shoal_record_read_bytes(struct shoal_record_reader *reader, const char **ret_bytes,
                             size_t *ret_len) {
    struct shoal_record record;
    if (read_short(reader, ret_bytes, ret_len))
        return true;
    if (!next_of(reader, SHOAL_RECORD_BYTES, &record))
        return false;
    *ret_bytes = record.bytes;
    *ret_len = record.len;
    return true;
}

/* Decimal digits behind an optional '-', within int64_t. */
static bool parse_int(const char *text, size_t len, int64_t *ret_value) {
    bool negative = len > 0 && text[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t value = 0; /* kept negative, since the smallest number has no positive twin */
    if (i == len)
        return false;
    for (; i < len; i++)
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, text[i] - '0', &value))
            return false;
    if (!negative && value == INT64_MIN)
        return false;
    *ret_value = negative ? value : -value;
    return true;
}

bool shoal_record_read_int(struct shoal_record_reader *reader, int64_t *ret_value) {
    const char *text;
    size_t len;
    if (!shoal_record_read_bytes(reader, &text, &len))
        return false;
    return parse_int(text, len, ret_value) || fail(reader);
}

bool shoal_record_skip(struct shoal_record_reader *reader) {
    size_t missing[DEPTH_MAX + 1] = {1}; /* how many items each open array still lacks */
    size_t depth = 0;
    for (;;) {
        while (missing[depth] == 0)
            if (depth-- == 0)
                return true;
        struct shoal_record record;
        if (!shoal_record_next(reader, &record))
            return fail(reader);
        missing[depth]--;
        if (record.type == SHOAL_RECORD_BYTES)
            continue;
        if (depth == DEPTH_MAX)
            return fail(reader);
        missing[++depth] = record.n;
    }
}
