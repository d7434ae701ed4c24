/* Rows out of bytes: what they become, and that it makes no difference where the bytes
 * are cut. */
#include "client/row_parser.h"
#include "common/buffer.h"
#include "common/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static uint32_t state; /* of chance, the same each time */

static size_t below(size_t n) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % n;
}

/* Feeds `bytes` in pieces whose lengths `cut` chooses, and writes down all that comes
 * out: each row in brackets, then the columns or the sentence. */
static void parse(enum shoal_rows_format format, const char *bytes, size_t len,
                  size_t (*cut)(size_t left), struct shoal_buffer *out) {
    struct shoal_row_parser *parser = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_row_parsed what = SHOAL_PARSED_HUNGRY;
    ck_assert_int_eq(shoal_row_parser_create("f", format, &parser, &err), SHOAL_OK);
    for (size_t at = 0; what != SHOAL_PARSED_END && err.status == SHOAL_OK;) {
        size_t n = at == len ? 0 : cut(len - at);
        char *piece = malloc(n + 1); /* so that reading beyond it is found */
        ck_assert_ptr_nonnull(piece);
        memcpy(piece, bytes + at, n);
        at += n;
        shoal_row_parser_feed(parser, piece, n);
        if (n == 0)
            shoal_row_parser_end(parser);
        do {
            const char *row = NULL;
            size_t row_len = 0;
            if (shoal_row_parser_next(parser, &what, &row, &row_len, &err) != SHOAL_OK)
                shoal_buffer_add_text(out, err.text);
            else if (what == SHOAL_PARSED_ROW) {
                shoal_buffer_add_char(out, '<');
                shoal_buffer_add(out, row, row_len);
                shoal_buffer_add_char(out, '>');
            }
        } while (what == SHOAL_PARSED_ROW && err.status == SHOAL_OK);
        free(piece);
    }
    const char *const *column = shoal_row_parser_columns(parser);
    for (; column != NULL && *column != NULL; column++)
        shoal_buffer_add_format(out, " %s", *column);
    shoal_row_parser_destroy(parser);
}

static size_t all_at_once(size_t left) {
    return left;
}

static size_t byte_by_byte(size_t left) {
    (void)left;
    return 1;
}

static size_t anyhow(size_t left) {
    size_t n = 1 + below(7);
    return n < left ? n : left;
}

#define CSV SHOAL_ROWS_CSV
#define TSV SHOAL_ROWS_TSV
#define JSONL SHOAL_ROWS_JSONL
#define LINES SHOAL_ROWS_LINES

static const struct {
    enum shoal_rows_format format;
    const char *bytes;
    const char *expected;
    size_t len; /* 0: that of the text */
} cases[] = {
    {LINES, "", "", 0},
    {LINES, "a\nb c\nlast", "<a><b c><last>", 0},
    {LINES, "a\r\n\r\n \t\r\nb\r\n", "<a><b>", 0},
    {LINES, "a\rb\r\r\nc\r", "<a\rb\r><c\r>", 0},
    {LINES, "\"a\"\n,\n\t,\n", "<\"a\"><,><\t,>", 0},
    {LINES,
     "\xef\xbb\xbf"
     "a\nb",
     "<a><b>", 0},
    {LINES, "\xef\xbb\xbf", "", 0},
    {LINES, "\xef\xbb\n", "f line 1 is no UTF-8 text", 0},
    {LINES, "\xef", "f line 1 is no UTF-8 text", 0},
    {LINES, "a\n\xff\nb\n", "<a>f line 2 is no UTF-8 text", 0},
    {LINES, "a\nb\0c\n", "<a>f line 2 has a NUL byte", 6},
    {LINES, "\xc3\xa4\n\xe2\x82\xac", "<\xc3\xa4><\xe2\x82\xac>", 0},
    {CSV, "", "", 0},
    {CSV, "r,c\n", " r c", 0},
    {CSV, "r\n1\n\n2", "<{\"r\":\"1\"}><{\"r\":\"\"}><{\"r\":\"2\"}> r", 0},
    {CSV, "\xef\xbb\xbfr,c\r\n1,x\r\n\r\n2,\r\n",
     "<{\"r\":\"1\",\"c\":\"x\"}><{\"r\":\"2\",\"c\":\"\"}> r c", 0},
    {CSV, "\"r\",c\n\"a,\"\"b\"\"\",\"\"\n", "<{\"r\":\"a,\\\"b\\\"\",\"c\":\"\"}> r c",
     0},
    {CSV, "r,c\n\"1\r\n2\",3\nx\n",
     "<{\"r\":\"1\\u000d\\u000a2\",\"c\":\"3\"}>"
     "f line 4 has 1 fields, the header has 2 r c",
     0},
    {CSV, "r\n\"1\"", "<{\"r\":\"1\"}> r", 0},
    {CSV, "r\n\"1\"\"", "f line 2 opens a quote that is never closed r", 0},
    {CSV, "r\n\"1\"x\n", "f line 2 has text behind a closing quote r", 0},
    {CSV, "r\n\"1\"\rx\n", "f line 2 has text behind a closing quote r", 0},
    {CSV, "r\na\"b\"\n", "<{\"r\":\"a\\\"b\\\"\"}> r", 0},
    {CSV, "r,r\n", "f line 1 names two columns 'r' r", 0},
    {CSV, "r\n\"\0\"\n", "f line 2 has a NUL byte r", 6},
    {TSV, "r\tc\n\"1\t,\n", "<{\"r\":\"\\\"1\",\"c\":\",\"}> r c", 0},
    {JSONL, "{\"r\": 1, \"c\": \"x\"}\n\n{\"c\":null,\"r\":2.5}\n",
     "<{\"r\":1,\"c\":\"x\"}><{\"c\":null,\"r\":2.5}> r c", 0},
    {JSONL, "{\"r\": 1}\n{\"c\": 1}\n",
     "<{\"r\":1}>f line 2 has no 'r', which the first row has r", 0},
};

static void expect_parsed(size_t i, size_t (*cut)(size_t left)) {
    struct shoal_buffer out;
    size_t len = cases[i].len == 0 ? strlen(cases[i].bytes) : cases[i].len;
    shoal_buffer_init(&out, 1 << 20);
    parse(cases[i].format, cases[i].bytes, len, cut, &out);
    ck_assert_str_eq(shoal_buffer_text(&out), cases[i].expected);
    shoal_buffer_finish(&out);
}

START_TEST(bytes_become_rows) {
    expect_parsed((size_t)_i, all_at_once);
    expect_parsed((size_t)_i, byte_by_byte);
}
END_TEST

/* Bytes that mean something, in any order: whatever comes of them, it is the same. */
START_TEST(cuts_make_no_difference) {
    static const char letters[] = "\"\"\"\n\n\r\r,,\t\tab\xef\xbb\xbf\xc3{}:1";
    static const enum shoal_rows_format formats[] = {CSV, TSV, JSONL, LINES};
    state = (uint32_t)_i;
    for (int round = 0; round < 400; round++) {
        struct shoal_buffer at_once, pieces, bytes;
        char text[80];
        size_t len = below(sizeof(text));
        for (size_t i = 0; i < len; i++)
            text[i] = letters[below(sizeof(letters) - (below(8) != 0))];
        for (size_t i = 0; len > 4 && round % 2 == 0 && i < 4; i++)
            text[i] = "a,b\n"[i]; /* a header that is one */
        shoal_buffer_init(&at_once, 1 << 20);
        shoal_buffer_init(&pieces, 1 << 20);
        shoal_buffer_init(&bytes, 1 << 20);
        parse(formats[_i], text, len, all_at_once, &at_once);
        parse(formats[_i], text, len, anyhow, &pieces);
        parse(formats[_i], text, len, byte_by_byte, &bytes);
        ck_assert_str_eq(shoal_buffer_text(&at_once), shoal_buffer_text(&pieces));
        ck_assert_str_eq(shoal_buffer_text(&at_once), shoal_buffer_text(&bytes));
        shoal_buffer_finish(&at_once);
        shoal_buffer_finish(&pieces);
        shoal_buffer_finish(&bytes);
    }
}
END_TEST

static void expect_long(size_t len, enum shoal_status expected, const char *says) {
    struct shoal_row_parser *parser = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_row_parsed what;
    const char *row = NULL;
    size_t row_len = 0;
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = malloc(len);
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', len);
    ck_assert_int_eq(shoal_row_parser_create("f", LINES, &parser, &err), SHOAL_OK);
    shoal_row_parser_feed(parser, text, len);
    if (len <= SHOAL_ROW_MAX)
        shoal_row_parser_end(parser);
    ck_assert_int_eq(shoal_row_parser_next(parser, &what, &row, &row_len, &err),
                     expected);
    ck_assert_msg(strstr(err.text, says) != NULL, "%s", err.text);
    if (expected == SHOAL_OK)
        ck_assert_uint_eq(row_len, len);
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_row_parser_next(parser, &what, &row, &row_len, &err),
                     SHOAL_OK);
    ck_assert_int_eq(what, SHOAL_PARSED_END);
    shoal_row_parser_destroy(parser);
}

/* Without waiting for an end that may never come. */
START_TEST(row_that_is_too_long_is_told_at_once) {
    expect_long(SHOAL_ROW_MAX, SHOAL_OK, "");
    expect_long(SHOAL_ROW_MAX + 2000, SHOAL_INVALID, "line 1 is longer than 65536 bytes");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("row_parser");
    TCase *tests = tcase_create("row_parser");
    tcase_add_loop_test(tests, bytes_become_rows, 0, (int)SHOAL_COUNT(cases));
    tcase_add_loop_test(tests, cuts_make_no_difference, 0, 4);
    tcase_add_test(tests, row_that_is_too_long_is_told_at_once);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
