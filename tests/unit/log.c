#include "common/log.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

/* stderr becomes a pipe that keeps writes apart (packet mode), so that one read is one
 * write. */
static int pipe_end = -1;
static int true_stderr = -1;

static int64_t some_time(void) {
    return INT64_C(1767323045007); /* 2026-01-02 03:04:05.007 UTC */
}

static void capture(void) {
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_DIRECT | O_NONBLOCK), 0);
    true_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    pipe_end = ends[0];
    shoal_wall_ms = some_time;
    shoal_log_init("tests", SHOAL_LOG_DEBUG, SHOAL_LOG_LOGFMT);
}

static void release(void) {
    dup2(true_stderr, STDERR_FILENO);
    close(true_stderr);
    close(pipe_end);
}

static char line[8192];

/* The next line without its newline; NULL if there is none. */
static const char *next_line(void) {
    ssize_t len = read(pipe_end, line, sizeof(line) - 1);
    if (len < 0)
        return NULL;
    ck_assert_int_gt(len, 0);
    ck_assert_int_le(len, 4096);
    ck_assert_int_eq(line[len - 1], '\n');
    line[len - 1] = '\0';
    ck_assert_uint_eq(strlen(line), (size_t)len - 1);
    ck_assert_ptr_null(strchr(line, '\n'));
    return line;
}

#define HEAD "time=2026-01-02T03:04:05.007Z level=info program=tests "

static const struct {
    const char *text, *line;
} logfmt[] = {
    {"started", HEAD "message=started"},
    {"it has begun", HEAD "message=\"it has begun\""},
    {"", HEAD "message=\"\""},
    {"gone: worker=w1 late_ms=3", HEAD "message=gone worker=w1 late_ms=3"},
    {"gone, again: worker=w1", HEAD "message=\"gone, again\" worker=w1"},
    {"a: b: c=1", HEAD "message=\"a: b\" c=1"},
    {"a: b=1 c", HEAD "message=\"a: b=1 c\""}, /* not all of it is pairs */
    {"a: b=1  c=2", HEAD "message=\"a: b=1  c=2\""},
    {"a: ", HEAD "message=\"a: \""},
    {"a: =1", HEAD "message=\"a: =1\""},
    {"a: B=1", HEAD "message=\"a: B=1\""},
    {"a: b=", HEAD "message=a b=\"\""},
    {"a: b=c=d", HEAD "message=a b=\"c=d\""},
    {"a: b=\"", HEAD "message=a b=\"\\\"\""},
    {"a: level=error", HEAD "message=\"a: level=error\""}, /* could be forged */
    {"a: b=1 b=2", HEAD "message=\"a: b=1 b=2\""},
    {"a\nlevel=error", HEAD "message=\"a\\nlevel=error\""},
    {"caf\xc3\xa9", HEAD "message=\"caf\xc3\xa9\""},
};

START_TEST(logfmt_is_a_sentence_and_pairs) {
    shoal_info("%s", logfmt[_i].text);
    ck_assert_str_eq(next_line(), logfmt[_i].line);
    ck_assert_ptr_null(next_line());
}
END_TEST

START_TEST(json_is_a_sentence_and_pairs) {
    shoal_log_init("tests", SHOAL_LOG_INFO, SHOAL_LOG_JSON);
    shoal_warn("gone: worker=%s late_ms=%d", "w1", 3);
    ck_assert_str_eq(next_line(),
                     "{\"time\":\"2026-01-02T03:04:05.007Z\",\"level\":\"warn\","
                     "\"program\":\"tests\",\"message\":\"gone\",\"worker\":\"w1\","
                     "\"late_ms\":\"3\"}");
}
END_TEST

/* Bytes that may come from anywhere, and what a reader of the JSON gets. */
static const struct {
    const char *bytes, *read;
} characters[] = {
    {"\"\\/", "\"\\/"},
    {"\x01\t\r\n\x1f\x7f", "\x01\t\r\n\x1f\x7f"},
    {"\033[31mred", "\033[31mred"},
    {"\xc2\x80\xc2\x9f\xc2\xa0", "\xc2\x80\xc2\x9f\xc2\xa0"},
    {"\xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf",
     "\xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"},
    {"\xff", "\xef\xbf\xbd"},
    {"a\x80z", "a\xef\xbf\xbdz"},
    {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* an overlong NUL */
    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* half a surrogate pair */
    {"\xf4\x90\x80\x80",
     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* too high */
    {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},             /* cut */
    {"\xe2\x82z", "\xef\xbf\xbd\xef\xbf\xbdz"},
    {"\xf0\x9f\x90\x9f", "\xf0\x9f\x90\x9f"},
};

static json_t *next_json(void) {
    const char *text = next_line();
    ck_assert_ptr_nonnull(text);
    for (const char *c = text; *c != '\0'; c++)
        ck_assert((unsigned char)*c >= ' ' && *c != 0x7f);
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(json != NULL, "%s: %s", error.text, text);
    return json;
}

START_TEST(json_is_valid_whatever_bytes_come) {
    shoal_log_init("tests", SHOAL_LOG_INFO, SHOAL_LOG_JSON);
    shoal_info("%s", characters[_i].bytes);
    json_t *json = next_json();
    ck_assert_str_eq(json_string_value(json_object_get(json, "message")),
                     characters[_i].read);
    json_decref(json);
}
END_TEST

START_TEST(lines_are_bounded_and_whole) {
    static const char *const units[] = {"x",    "\"",       "\x01",
                                        "\xff", "\xc3\xa9", "\xf0\x9f\x90\x9f"};
    shoal_log_init("tests", SHOAL_LOG_INFO, SHOAL_LOG_JSON);
    for (size_t k = 0; k < SHOAL_COUNT(units); k++) {
        char text[6000] = "";
        for (size_t len = 0; len < 5900; len += strlen(units[k]))
            strcpy(text + len, units[k]);
        shoal_info("%s: pair=1", text);
        json_t *json = next_json();
        const char *message = json_string_value(json_object_get(json, "message"));
        ck_assert_str_eq(message + strlen(message) - 3, "...");
        json_decref(json);
    }
}
END_TEST

START_TEST(long_sentence_leaves_room_for_pairs) {
    char text[3001];
    memset(text, 'x', 3000);
    text[3000] = '\0';
    shoal_info("%s: worker=w1", text);
    const char *end = strrchr(next_line(), '.');
    ck_assert_str_eq(end, ". worker=w1");
}
END_TEST

START_TEST(pair_that_does_not_fit_is_left_out) {
    char text[1501];
    memset(text, '\x01', 1500); /* six bytes each when written */
    text[1500] = '\0';
    shoal_info("a: b=1 c=%s d=2", text);
    ck_assert_str_eq(next_line(), HEAD "message=a b=1 d=2");
}
END_TEST

START_TEST(less_urgent_lines_are_not_written) {
    shoal_log_init("tests", SHOAL_LOG_WARN, SHOAL_LOG_LOGFMT);
    shoal_debug("no");
    shoal_info("no");
    ck_assert_ptr_null(next_line());
    shoal_warn("yes");
    ck_assert_ptr_nonnull(strstr(next_line(), "level=warn"));
    shoal_err("yes");
    ck_assert_ptr_nonnull(strstr(next_line(), "level=error"));
}
END_TEST

START_TEST(errno_survives_a_line) {
    close(STDERR_FILENO);
    errno = ENOENT;
    shoal_info("nobody reads this");
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("log");
    TCase *tests = tcase_create("log");
    tcase_add_checked_fixture(tests, capture, release);
    tcase_add_loop_test(tests, logfmt_is_a_sentence_and_pairs, 0, SHOAL_COUNT(logfmt));
    tcase_add_test(tests, json_is_a_sentence_and_pairs);
    tcase_add_loop_test(tests, json_is_valid_whatever_bytes_come, 0,
                        SHOAL_COUNT(characters));
    tcase_add_test(tests, lines_are_bounded_and_whole);
    tcase_add_test(tests, long_sentence_leaves_room_for_pairs);
    tcase_add_test(tests, pair_that_does_not_fit_is_left_out);
    tcase_add_test(tests, less_urgent_lines_are_not_written);
    tcase_add_test(tests, errno_survives_a_line);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
