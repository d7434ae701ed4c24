#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/id.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors */

START_TEST(first_error_wins) {
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_error_set(&err, SHOAL_LOST, "no answer from '%s'", "x"),
                     SHOAL_LOST);
    ck_assert_int_eq(shoal_error_set(&err, SHOAL_FULL, "later"), SHOAL_FULL);
    ck_assert_int_eq(err.status, SHOAL_LOST);
    ck_assert_str_eq(err.text, "no answer from 'x'");
    shoal_error_clear(&err);
    ck_assert_int_eq(err.status, SHOAL_OK);
    ck_assert_str_eq(err.text, "");
    shoal_error_set(&err, SHOAL_FULL, "another");
    ck_assert_str_eq(err.text, "another");
}
END_TEST

START_TEST(error_may_be_unwanted) {
    ck_assert_int_eq(shoal_error_set(NULL, SHOAL_MEMORY, "none"), SHOAL_MEMORY);
}
END_TEST

START_TEST(sentence_is_one_bounded_line) {
    char long_text[2000];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    struct shoal_error err = {0};
    shoal_error_set(&err, SHOAL_INVALID, "a\nb\033[31m\x7f%s", long_text);
    ck_assert_int_eq(strncmp(err.text, "a?b?[31m?xxx", 12), 0);
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
    shoal_error_clear(&err);
    shoal_error_set(&err, SHOAL_INVALID, "%s",
                    "\302\200\302\23331m\302\237|\302\240\303\233\342\200\233|\302");
    ck_assert_str_eq(err.text, "????31m??|\302\240\303\233\342\200\233|\302");
}
END_TEST

START_TEST(every_status_has_a_name_of_its_own) {
    for (enum shoal_status a = SHOAL_OK; a < SHOAL_STATUS_COUNT; a++)
        for (enum shoal_status b = SHOAL_OK; b < a; b++)
            ck_assert_str_ne(shoal_status_name(a), shoal_status_name(b));
    ck_assert_str_eq(shoal_status_name(SHOAL_TIMEOUT), "timeout");
    ck_assert_str_eq(shoal_status_name(SHOAL_STATUS_COUNT), "unknown status");
}
END_TEST

/* ---- buffers */

START_TEST(buffer_grows_up_to_its_limit) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 1000);
    ck_assert_str_eq(shoal_buffer_text(&buffer), "");
    for (int i = 0; i < 100; i++)
        shoal_buffer_add_format(&buffer, "%09d\n", i);
    ck_assert(!buffer.failed);
    ck_assert_uint_eq(buffer.len, 1000);
    ck_assert_uint_eq(strlen(buffer.data), 1000);
    ck_assert_str_eq(buffer.data + 990, "000000099\n");

    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_buffer_check(&buffer, "the test", &err), SHOAL_OK);
    shoal_buffer_add_char(&buffer, 'x');
    ck_assert_int_eq(shoal_buffer_check(&buffer, "the test", &err), SHOAL_MEMORY);
    ck_assert_str_eq(err.text, "the test does not fit into 1000 bytes");
}
END_TEST

START_TEST(failed_buffer_stays_as_it_was) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 4);
    shoal_buffer_add_text(&buffer, "abc");
    shoal_buffer_add_text(&buffer, "de"); /* one too many */
    shoal_buffer_add_text(&buffer, "f");  /* would fit, and would leave a hole */
    ck_assert_str_eq(shoal_buffer_text(&buffer), "abc");
    ck_assert_ptr_null(shoal_buffer_steal(&buffer));
    shoal_buffer_clear(&buffer);
    shoal_buffer_add_text(&buffer, "wxyz");
    ck_assert_str_eq(shoal_buffer_text(&buffer), "wxyz");
}
END_TEST

START_TEST(buffer_takes_any_bytes) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 100);
    shoal_buffer_add(&buffer, "a\0b", 3);
    shoal_buffer_add(&buffer, NULL, 0);
    ck_assert_uint_eq(buffer.len, 3);
    ck_assert_mem_eq(buffer.data, "a\0b", 4);
}
END_TEST

START_TEST(dropping_takes_from_the_front) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 100);
    shoal_buffer_drop(&buffer, 5);
    shoal_buffer_add_text(&buffer, "hello");
    shoal_buffer_drop(&buffer, 2);
    ck_assert_str_eq(shoal_buffer_text(&buffer), "llo");
    shoal_buffer_drop(&buffer, 0);
    ck_assert_str_eq(shoal_buffer_text(&buffer), "llo");
    shoal_buffer_drop(&buffer, 99);
    ck_assert_uint_eq(buffer.len, 0);
    ck_assert_str_eq(shoal_buffer_text(&buffer), "");
}
END_TEST

START_TEST(stolen_text_is_the_callers) {
    struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 100);
    SHOAL_CLEANUP(shoal_cleanup_free) char *nothing = shoal_buffer_steal(&buffer);
    ck_assert_str_eq(nothing, "");
    shoal_buffer_add_text(&buffer, "mine");
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = shoal_buffer_steal(&buffer);
    ck_assert_str_eq(text, "mine");
    ck_assert_uint_eq(buffer.len, 0);
    ck_assert_uint_eq(buffer.limit, 100);
    shoal_buffer_finish(&buffer);
}
END_TEST

/* ---- ids and names */

START_TEST(ids_are_valid_and_differ) {
    char ids[200][SHOAL_ID_LEN + 1];
    for (int i = 0; i < 200; i++) {
        shoal_id_make(ids[i]);
        ck_assert(shoal_id_is_valid(ids[i]));
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(ids[i], ids[k]);
    }
}
END_TEST

START_TEST(ids_use_the_whole_alphabet) {
    bool seen[256] = {false};
    for (int i = 0; i < 1000; i++) {
        char id[SHOAL_ID_LEN + 1];
        shoal_id_make(id);
        for (const char *c = id; *c != '\0'; c++)
            seen[(unsigned char)*c] = true;
    }
    const char *alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    for (int c = 0; c < 256; c++)
        ck_assert_msg(seen[c] == (c != 0 && strchr(alphabet, c) != NULL), "character %d",
                      c);
}
END_TEST

static const struct {
    const char *text;
    bool id, prefix, name, parameter;
} names[] = {
    {"0123456789ab", true, true, true, false},
    {"zyxwvtsrqpnm", true, true, true, true},
    {"0123456789abc", false, false, true, false},
    {"0123456789a", false, true, true, false},
    {"0", false, true, true, false},
    {"k", false, true, true, true},
    {"", false, false, false, false},
    {"i", false, false, true, true}, /* looks like 1, as o looks like 0 and l like 1 */
    {"l", false, false, true, true},
    {"o", false, false, true, true},
    {"u", false, false, true, true},
    {"0123456789AB", false, false, true, false},
    {"a b", false, false, false, false},
    {"a{b", false, false, false, false},
    {"a:b", false, false, false, false},
    {"a*", false, false, false, false},
    {"caf\xc3\xa9", false, false, false, false},
    {"a\n", false, false, false, false},
    {"-a", false, false, false, false},
    {".a", false, false, false, false},
    {"_a", false, false, true, true},
    {"a-b.c_d", false, false, true, false},
    {"a_1", false, false, true, true},
    {"1a", false, true, true, false},
    {"Beta2", false, false, true, true},
    {"123456789012345678901234567890123456789012345678901234567890", false, false, true,
     false},
    {"1234567890123456789012345678901234567890123456789012345678901", false, false, false,
     false},
    {"a12345678901234567890123456789012345678901234567890123456789", false, false, true,
     true},
    {"a123456789012345678901234567890123456789012345678901234567890", false, false, false,
     false},
};

START_TEST(alphabets_are_kept) {
    const char *text = names[_i].text;
    ck_assert_msg(shoal_id_is_valid(text) == names[_i].id, "id '%s'", text);
    ck_assert_msg(shoal_id_is_prefix(text) == names[_i].prefix, "prefix '%s'", text);
    ck_assert_msg(shoal_name_is_valid(text) == names[_i].name, "name '%s'", text);
    ck_assert_msg(shoal_parameter_name_is_valid(text) == names[_i].parameter,
                  "parameter '%s'", text);
}
END_TEST

/* ---- seeds */

/* From an implementation of its own, in Python. These must never change: who repeats a
 * job of last year gets its numbers again. */
static const struct {
    uint64_t job_seed, index, seed;
} seeds[] = {
    {0, 0, UINT64_C(6017775124710473527)},
    {0, 1, UINT64_C(6467540162864785327)},
    {1, 0, UINT64_C(3395948882924712079)},
    {42, 7, UINT64_C(6776600131486888903)},
    {12345, 1000000000, UINT64_C(392814461168576945)},
    {UINT64_MAX, UINT64_C(1) << 53, UINT64_C(1586524400880487471)},
};

START_TEST(seeds_have_known_values) {
    ck_assert_uint_eq(shoal_task_seed(seeds[_i].job_seed, seeds[_i].index),
                      seeds[_i].seed);
}
END_TEST

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(neighbouring_tasks_and_jobs_have_different_seeds) {
    enum { JOBS = 100, TASKS = 1000 };
    static uint64_t all[JOBS * TASKS];
    for (uint64_t i = 0; i < JOBS * TASKS; i++)
        all[i] = shoal_task_seed(i / TASKS, i % TASKS);
    qsort(all, JOBS * TASKS, sizeof(*all), compare_numbers);
    for (size_t i = 0; i < JOBS * TASKS; i++) {
        ck_assert(all[i] <= INT64_MAX);
        ck_assert(i == 0 || all[i] != all[i - 1]);
    }
}
END_TEST

START_TEST(seeds_use_all_their_bits) {
    int ones[64] = {0};
    for (uint64_t index = 0; index < 10000; index++)
        for (int bit = 0; bit < 64; bit++)
            ones[bit] += (int)(shoal_task_seed(7, index) >> bit & 1);
    for (int bit = 0; bit < 63; bit++) /* eight standard deviations of 10,000 coins */
        ck_assert_msg(ones[bit] > 4600 && ones[bit] < 5400, "bit %d: %d", bit, ones[bit]);
    ck_assert_int_eq(ones[63], 0);
}
END_TEST

/* ---- clocks */

START_TEST(clocks_agree_with_themselves) {
    int64_t us = shoal_now_us(), ms = shoal_now_ms();
    ck_assert_int_ge(ms, us / 1000);
    ck_assert_int_lt(ms, us / 1000 + 10000);
    ck_assert_int_ge(shoal_now_us(), us);
    ck_assert_int_gt(shoal_wall_ms(), INT64_C(1700000000000));
    ck_assert_int_lt(shoal_wall_ms(),
                     INT64_C(9000000000000)); /* it counts milliseconds */
}
END_TEST

static int64_t noon(void) {
    return 43200000;
}

START_TEST(time_can_be_held) {
    int64_t (*before)(void) = shoal_wall_ms;
    shoal_wall_ms = noon;
    ck_assert_int_eq(shoal_wall_ms(), 43200000);
    shoal_wall_ms = before;
}
END_TEST

int main(void) {
    Suite *suite = suite_create("basics");
    TCase *tests = tcase_create("basics");
    tcase_add_test(tests, first_error_wins);
    tcase_add_test(tests, error_may_be_unwanted);
    tcase_add_test(tests, sentence_is_one_bounded_line);
    tcase_add_test(tests, every_status_has_a_name_of_its_own);
    tcase_add_test(tests, buffer_grows_up_to_its_limit);
    tcase_add_test(tests, failed_buffer_stays_as_it_was);
    tcase_add_test(tests, buffer_takes_any_bytes);
    tcase_add_test(tests, dropping_takes_from_the_front);
    tcase_add_test(tests, stolen_text_is_the_callers);
    tcase_add_test(tests, ids_are_valid_and_differ);
    tcase_add_test(tests, ids_use_the_whole_alphabet);
    tcase_add_loop_test(tests, alphabets_are_kept, 0, SHOAL_COUNT(names));
    tcase_add_loop_test(tests, seeds_have_known_values, 0, SHOAL_COUNT(seeds));
    tcase_add_test(tests, neighbouring_tasks_and_jobs_have_different_seeds);
    tcase_add_test(tests, seeds_use_all_their_bits);
    tcase_add_test(tests, clocks_agree_with_themselves);
    tcase_add_test(tests, time_can_be_held);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
