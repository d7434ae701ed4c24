#include "client/text.h"
#include "common/cleanup.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static struct shoal_buffer out;

static void begin(void) {
    shoal_buffer_init(&out, 1 << 16);
}

static void finish(void) {
    shoal_buffer_finish(&out);
}

static const struct {
    const char *in;
    const char *safe;
} safes[] = {
    {"", ""},
    {"plain ~ text\n", "plain ~ text\n"},
    {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\x9f", "ä € 🐟"},
    {"\xff", "\xef\xbf\xbd"},
    {"a\xc3", "a\xef\xbf\xbd"},
    {"\xc3(", "\xef\xbf\xbd("},
    {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
    {"\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* the same */
    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
    {"\xf4\x90\x80\x80",
     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* too large */
    {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
    {"\x80\xbf", "\xef\xbf\xbd\xef\xbf\xbd"},
};

START_TEST(what_is_no_utf8_is_replaced) {
    shoal_text_add_safe(&out, safes[_i].in, strlen(safes[_i].in));
    ck_assert_str_eq(shoal_buffer_text(&out), safes[_i].safe);
}
END_TEST

START_TEST(nul_is_replaced) {
    shoal_text_add_safe(&out, "a\0b", 3);
    ck_assert_str_eq(out.data, "a\xef\xbf\xbd"
                               "b");
}
END_TEST

START_TEST(each_character_is_read_as_it_was_written) {
    for (uint32_t code = 1; code <= 0x10ffff; code++) {
        uint32_t read = 0;
        shoal_buffer_clear(&out);
        shoal_utf8_add(&out, code);
        ck_assert_uint_eq(shoal_utf8_next(out.data, out.data + out.len, &read), out.len);
        ck_assert_uint_eq(read, code >= 0xd800 && code <= 0xdfff ? 0xfffd : code);
    }
}
END_TEST

static const struct {
    const char *in;
    const char *escaped;
} escapes[] = {
    {"plain \\ text", "plain \\ text"},
    {"a\tb\nc\rd", "a\\tb\\nc\\rd"},
    {"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"},
    {"\x7f", "\\x7f"},
    {"\xc2\x9b"
     "31m",
     "\\u009b31m"},
    {"a\xe2\x80\xae" /* right to left from here: NOLINT(misc-misleading-bidirectional) */
     "b",
     "a\\u202eb"},
    {"ä€", "ä€"},
    {"\xff\xfe", "??"},
};

START_TEST(nothing_that_steers_a_terminal_is_left) {
    shoal_text_escape(&out, escapes[_i].in, strlen(escapes[_i].in));
    ck_assert_str_eq(shoal_buffer_text(&out), escapes[_i].escaped);
}
END_TEST

START_TEST(widths_are_those_on_a_terminal) {
    static const struct {
        const char *text;
        size_t width;
    } widths[] = {{"", 0}, {"abc", 3}, {"äöü", 3}, {"漢字", 4}, {"e\xcc\x81", 1}};
    for (size_t i = 0; i < SHOAL_COUNT(widths); i++)
        ck_assert_uint_eq(shoal_text_width(widths[i].text, strlen(widths[i].text)),
                          widths[i].width);
    ck_assert_uint_eq(shoal_text_fit("abc", 3, 2), 2);
    ck_assert_uint_eq(shoal_text_fit("äöü", 6, 2), 4);
    ck_assert_uint_eq(shoal_text_fit("漢字", 6, 3), 3);
    ck_assert_uint_eq(shoal_text_fit("abc", 3, 9), 3);
}
END_TEST

/* Any bytes, read by another reader of JSON. */
START_TEST(a_quoted_text_is_read_again) {
    char bytes[0xa0];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i + 1);
    struct shoal_buffer safe;
    shoal_buffer_init(&safe, 4096);
    shoal_text_add_safe(&safe, bytes, sizeof(bytes));
    shoal_buffer_add_text(&safe, "ä🐟\"\\");
    shoal_text_quote(&out, safe.data, safe.len);
    json_t *json = json_loads(out.data, JSON_DECODE_ANY, NULL);
    ck_assert_str_eq(json_string_value(json), safe.data);
    for (size_t i = 0; i < out.len; i++)
        ck_assert((unsigned char)out.data[i] >= ' ' && out.data[i] != 0x7f);
    json_decref(json);
    shoal_buffer_finish(&safe);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("text");
    TCase *all = tcase_create("text");
    tcase_add_checked_fixture(all, begin, finish);
    tcase_set_timeout(all, 60);
    tcase_add_loop_test(all, what_is_no_utf8_is_replaced, 0, (int)SHOAL_COUNT(safes));
    tcase_add_test(all, nul_is_replaced);
    tcase_add_test(all, each_character_is_read_as_it_was_written);
    tcase_add_loop_test(all, nothing_that_steers_a_terminal_is_left, 0,
                        (int)SHOAL_COUNT(escapes));
    tcase_add_test(all, widths_are_those_on_a_terminal);
    tcase_add_test(all, a_quoted_text_is_read_again);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
