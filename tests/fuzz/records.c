/* Records: whatever the reader accepts lies within the bytes, means the same when it is
 * written again, and is skipped as it is read. */
#include "common/records.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>

/* Reads item by item and writes each again; how many there were. */
static size_t copy(const char *bytes, size_t len, struct shoal_buffer *written) {
    struct shoal_record_reader reader;
    struct shoal_record record;
    size_t n = 0;
    shoal_record_reader_init(&reader, bytes, len);
    for (; shoal_record_next(&reader, &record); n++) {
        assert(reader.at <= reader.end);
        if (record.type == SHOAL_RECORD_ARRAY) {
            assert(record.n <= len);
            shoal_record_array(written, record.n);
            continue;
        }
        assert(record.bytes >= bytes &&
               record.len <= (size_t)(reader.end - record.bytes));
        shoal_record_bytes(written, record.bytes, record.len);
    }
    assert(reader.failed || reader.at == reader.end);
    return n;
}

/* Items that are wholly there are as many bytes as reading them one by one takes. */
static void skip(const char *bytes, size_t len) {
    struct shoal_record_reader skipping, reading;
    shoal_record_reader_init(&skipping, bytes, len);
    shoal_record_reader_init(&reading, bytes, len);
    while (skipping.at < skipping.end && shoal_record_skip(&skipping)) {
        struct shoal_record record = {.n = 0};
        for (size_t left = 1; left > 0; left--) {
            assert(shoal_record_next(&reading, &record));
            left += record.type == SHOAL_RECORD_ARRAY ? record.n : 0;
        }
        assert(reading.at == skipping.at);
    }
}

static void read_int(const char *bytes, size_t len) {
    struct shoal_record_reader reader;
    struct shoal_buffer written;
    int64_t value = 0, again = 0;
    shoal_record_reader_init(&reader, bytes, len);
    if (!shoal_record_read_int(&reader, &value))
        return;
    shoal_buffer_init(&written, 64);
    shoal_record_int(&written, value);
    shoal_record_reader_init(&reader, written.data, written.len);
    assert(shoal_record_read_int(&reader, &again) && again == value);
    shoal_buffer_finish(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    struct shoal_buffer once, twice;
    shoal_buffer_init(&once, 1 << 24);
    shoal_buffer_init(&twice, 1 << 24);
    size_t n = copy(input.at, size, &once);
    assert(copy(shoal_buffer_text(&once), once.len, &twice) <= n);
    assert(once.failed || twice.len <= once.len);
    assert(memcmp(shoal_buffer_text(&once), shoal_buffer_text(&twice), twice.len) == 0);
    skip(input.at, size);
    read_int(input.at, size);
    shoal_buffer_finish(&once);
    shoal_buffer_finish(&twice);
    return 0;
}
