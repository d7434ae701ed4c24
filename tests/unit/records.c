#include "common/records.h"

#include "common/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* The bytes in a block of exactly their size, so that a sanitizer sees a
 * read beyond it. */
static char *exact(const char *bytes, size_t len) {
    char *copy = malloc(len == 0 ? 1 : len);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, len);
    return copy;
}

START_TEST(written_records_are_resp) {
    struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 1000);
    shoal_record_array(&buffer, 3);
    shoal_record_bytes(&buffer, "a\0b", 3);
    shoal_record_text(&buffer, "");
    shoal_record_int(&buffer, -120);
    shoal_record_array(&buffer, 0);
    static const char expected[] = "*3\r\n$3\r\na\0b\r\n$0\r\n\r\n$4\r\n-120\r\n*0\r\n";
    ck_assert_uint_eq(buffer.len, sizeof(expected) - 1);
    ck_assert_mem_eq(buffer.data, expected, sizeof(expected) - 1);
    shoal_buffer_finish(&buffer);
}
END_TEST

START_TEST(a_full_buffer_is_marked) {
    struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 9);
    shoal_record_text(&buffer, "abc");
    ck_assert(!buffer.failed);
    shoal_record_array(&buffer, 1);
    ck_assert(buffer.failed);
    shoal_buffer_finish(&buffer);
}
END_TEST

static const int64_t numbers[] = {
    0, 1, -1, 9, 10, -10, 99, 100, INT64_C(1) << 53, INT64_MAX, INT64_MIN, INT64_MIN + 1};

START_TEST(integers_come_back) {
    struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 100);
    shoal_record_int(&buffer, numbers[_i]);
    struct shoal_record_reader reader;
    shoal_record_reader_init(&reader, buffer.data, buffer.len);
    int64_t value = 7;
    ck_assert(shoal_record_read_int(&reader, &value));
    ck_assert_int_eq(value, numbers[_i]);
    ck_assert_ptr_eq(reader.at, reader.end);
    shoal_buffer_finish(&buffer);
}
END_TEST

static const struct {
    const char *text;
    bool good;
    int64_t value;
} integers[] = {
    {"$1\r\n7\r\n", true, 7},
    {":7\r\n", true, 7},
    {":-7\r\n", true, -7},
    {"$3\r\n007\r\n", true, 7},
    {"$19\r\n9223372036854775807\r\n", true, INT64_MAX},
    {"$20\r\n-9223372036854775808\r\n", true, INT64_MIN},
    {"$19\r\n9223372036854775808\r\n", false, 0},
    {"$20\r\n-9223372036854775809\r\n", false, 0},
    {"$30\r\n111111111111111111111111111111\r\n", false, 0},
    {"$0\r\n\r\n", false, 0},
    {"$1\r\n-\r\n", false, 0},
    {"$2\r\n+1\r\n", false, 0},
    {"$2\r\n 1\r\n", false, 0},
    {"$2\r\n1 \r\n", false, 0},
    {"$3\r\n1.0\r\n", false, 0},
    {"*1\r\n$1\r\n7\r\n", false, 0},
    {"", false, 0},
};

START_TEST(integers_are_digits_within_bounds) {
    char *bytes = exact(integers[_i].text, strlen(integers[_i].text));
    struct shoal_record_reader reader;
    shoal_record_reader_init(&reader, bytes, strlen(integers[_i].text));
    int64_t value = 0;
    ck_assert_int_eq(shoal_record_read_int(&reader, &value), integers[_i].good);
    ck_assert_int_eq(value, integers[_i].value);
    ck_assert_int_eq(reader.failed, !integers[_i].good);
    free(bytes);
}
END_TEST

START_TEST(records_are_read_in_place) {
    static const char text[] = "*2\r\n$3\r\na\r\n\r\n:15\r\n";
    struct shoal_record_reader reader;
    shoal_record_reader_init(&reader, text, sizeof(text) - 1);
    struct shoal_record record;
    ck_assert(shoal_record_next(&reader, &record));
    ck_assert_int_eq(record.type, SHOAL_RECORD_ARRAY);
    ck_assert_uint_eq(record.n, 2);
    ck_assert(shoal_record_next(&reader, &record));
    ck_assert_int_eq(record.type, SHOAL_RECORD_BYTES);
    ck_assert_ptr_eq(record.bytes, text + 8);
    ck_assert_uint_eq(record.len, 3);
    ck_assert(shoal_record_next(&reader, &record));
    ck_assert_uint_eq(record.len, 2);
    ck_assert(!shoal_record_next(&reader, &record));
    ck_assert(!reader.failed);
}
END_TEST

START_TEST(the_wrong_type_fails) {
    struct shoal_record_reader reader;
    const char *bytes;
    size_t n;
    shoal_record_reader_init(&reader, "*0\r\n", 4);
    ck_assert(!shoal_record_read_bytes(&reader, &bytes, &n));
    ck_assert(reader.failed);
    shoal_record_reader_init(&reader, "$0\r\n\r\n", 6);
    ck_assert(!shoal_record_read_array(&reader, &n));
    ck_assert(reader.failed);
    shoal_record_reader_init(&reader, NULL, 0);
    ck_assert(!shoal_record_read_array(&reader, &n));
    ck_assert(reader.failed);
}
END_TEST

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t len;
} garbage[] = {
    {BYTES("x")},
    {BYTES("\0")},
    {BYTES("\r\n")},
    {BYTES("+OK\r\n")},
    {BYTES("-ERR no\r\n")},
    {BYTES("$")},
    {BYTES("$\r\n\r\n")},
    {BYTES("$-1\r\n")},
    {BYTES("$1\r\n")},
    {BYTES("$1\r\na")},
    {BYTES("$1\r\na\r")},
    {BYTES("$1\r\nab\r\n")},
    {BYTES("$1\na\r\n")},
    {BYTES("$1 \r\na\r\n")},
    {BYTES("$2\r\na\r\n")},
    {BYTES("$18446744073709551615\r\na\r\n")},
    {BYTES("$9223372036854775807\r\na\r\n")},
    {BYTES("$999999999999999999\r\na\r\n")},
    {BYTES("$99999999999999999999999\r\na\r\n")},
    {BYTES("*-1\r\n")},
    {BYTES("*1\r\n")},
    {BYTES("*2\r\n$0\r\n\r\n")},
    {BYTES("*1000000000\r\n$0\r\n\r\n")},
    {BYTES("*1")},
    {BYTES(":\r\n")},
    {BYTES(":-\r\n")},
    {BYTES(":1")},
    {BYTES(":1\r")},
    {BYTES(":1x\r\n")},
    {BYTES(":--1\r\n")},
};

START_TEST(garbage_fails) {
    char *bytes = exact(garbage[_i].bytes, garbage[_i].len);
    struct shoal_record_reader reader;
    shoal_record_reader_init(&reader, bytes, garbage[_i].len);
    ck_assert(!shoal_record_skip(&reader));
    ck_assert(reader.failed);
    struct shoal_record record;
    ck_assert(!shoal_record_next(&reader, &record));
    free(bytes);
}
END_TEST

/* Opens `depth` arrays of one, the last of which is empty. */
static void nest(struct shoal_buffer *buffer, int depth) {
    for (int i = 1; i < depth; i++)
        shoal_record_array(buffer, 1);
    shoal_record_array(buffer, 0);
}

START_TEST(skip_takes_one_item_with_all_in_it) {
    struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 1000);
    shoal_record_array(&buffer, 3);
    nest(&buffer, 7);
    shoal_record_text(&buffer, "x");
    nest(&buffer, 2);
    shoal_record_text(&buffer, "next");
    struct shoal_record_reader reader;
    shoal_record_reader_init(&reader, buffer.data, buffer.len);
    ck_assert(shoal_record_skip(&reader));
    const char *text;
    size_t len;
    ck_assert(shoal_record_read_bytes(&reader, &text, &len));
    ck_assert_uint_eq(len, 4);
    ck_assert_mem_eq(text, "next", 4);
    shoal_buffer_finish(&buffer);
}
END_TEST

START_TEST(skip_goes_eight_levels_deep) {
    for (int depth = 1; depth <= 12; depth++) {
        struct shoal_buffer buffer;
        shoal_buffer_init(&buffer, 1000);
        nest(&buffer, depth);
        struct shoal_record_reader reader;
        shoal_record_reader_init(&reader, buffer.data, buffer.len);
        ck_assert_int_eq(shoal_record_skip(&reader), depth <= 8);
        shoal_buffer_finish(&buffer);
    }
}
END_TEST

START_TEST(every_prefix_of_a_record_fails) {
    static const char whole[] = "*2\r\n*2\r\n$3\r\nabc\r\n:12\r\n$10\r\n0123456789\r\n";
    for (size_t len = 1; len < sizeof(whole) - 1; len++) {
        char *bytes = exact(whole, len);
        struct shoal_record_reader reader;
        shoal_record_reader_init(&reader, bytes, len);
        ck_assert(!shoal_record_skip(&reader));
        ck_assert(reader.failed);
        free(bytes);
    }
}
END_TEST

/* Changes one byte of a good record at a time: whatever it becomes, reading ends within
 * it. */
START_TEST(any_byte_may_be_wrong) {
    static const char whole[] = "*2\r\n*1\r\n$3\r\nabc\r\n:12\r\n";
    for (size_t at = 0; at < sizeof(whole) - 1; at++)
        for (int byte = 0; byte < 256; byte++) {
            char *bytes = exact(whole, sizeof(whole) - 1);
            bytes[at] = (char)byte;
            struct shoal_record_reader reader;
            shoal_record_reader_init(&reader, bytes, sizeof(whole) - 1);
            bool good = shoal_record_skip(&reader);
            ck_assert(reader.at <= reader.end);
            ck_assert_int_eq(good, !reader.failed);
            free(bytes);
        }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("records");
    TCase *tests = tcase_create("records");
    tcase_add_test(tests, written_records_are_resp);
    tcase_add_test(tests, a_full_buffer_is_marked);
    tcase_add_loop_test(tests, integers_come_back, 0, (int)SHOAL_COUNT(numbers));
    tcase_add_loop_test(tests, integers_are_digits_within_bounds, 0,
                        (int)SHOAL_COUNT(integers));
    tcase_add_test(tests, records_are_read_in_place);
    tcase_add_test(tests, the_wrong_type_fails);
    tcase_add_loop_test(tests, garbage_fails, 0, (int)SHOAL_COUNT(garbage));
    tcase_add_test(tests, skip_takes_one_item_with_all_in_it);
    tcase_add_test(tests, skip_goes_eight_levels_deep);
    tcase_add_test(tests, every_prefix_of_a_record_fails);
    tcase_add_test(tests, any_byte_may_be_wrong);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
