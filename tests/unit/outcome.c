#include "broker/outcome.h"
#include "common/cleanup.h"
#include "common/records.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct shoal_outcome outcomes[] = {
    {SHOAL_REASON_OK, 1, 1500, 1200, 4096, 0, "{\"x\":1}", 7},
    {SHOAL_REASON_EXIT, 2, 10, 9, 100, 3, "", 0},
    {SHOAL_REASON_SIGNAL, 3, INT64_MAX, 0, 0, 11, "a\r\nb\0c", 6},
    {SHOAL_REASON_TOO_LARGE, 1, 0, 0, 0, 0, "$5\r\n", 4},
};
enum { COUNT = SHOAL_COUNT(outcomes), FIRST = 40 };

static struct shoal_buffer entry;

/* Tasks 40 to 43 by worker "w-1", of which `ranges` were accepted. */
static void make_entry(const char *ranges) {
    shoal_buffer_init(&entry, 1 << 16);
    shoal_buffer_add_text(&entry, ranges);
    shoal_buffer_add_char(&entry, '\n');
    shoal_pack_begin(&entry, "w-1", FIRST, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        shoal_outcome_write(&entry, &outcomes[i]);
}

static void drop_entry(void) {
    shoal_buffer_finish(&entry);
}

/* Reads all of it; how it ends. Bytes are copied so that a sanitizer sees a read beyond
 * them. */
static enum shoal_status read_all(const char *bytes, size_t len, int64_t *indices,
                                  size_t *n) {
    char *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, bytes, len);
    struct shoal_entry_reader reader;
    struct shoal_error err = {0};
    bool more = false;
    *n = 0;
    enum shoal_status status = shoal_entry_begin(&reader, copy, len, &err);
    while (status == SHOAL_OK) {
        int64_t index;
        struct shoal_outcome outcome;
        status = shoal_entry_next(&reader, &more, &index, &outcome, &err);
        if (status != SHOAL_OK || !more)
            break;
        ck_assert_uint_lt(*n, 64);
        indices[(*n)++] = index;
    }
    ck_assert(status == SHOAL_OK || err.text[0] != '\0');
    free(copy);
    return status;
}

static void assert_same(const struct shoal_outcome *a, const struct shoal_outcome *b) {
    ck_assert_int_eq(a->reason, b->reason);
    ck_assert_int_eq(a->attempt, b->attempt);
    ck_assert_int_eq(a->wall_us, b->wall_us);
    ck_assert_int_eq(a->cpu_us, b->cpu_us);
    ck_assert_int_eq(a->rss_kb, b->rss_kb);
    ck_assert_int_eq(a->code, b->code);
    ck_assert_uint_eq(a->result_len, b->result_len);
    ck_assert_mem_eq(a->result, b->result, a->result_len);
}

START_TEST(what_is_written_is_read_again) {
    make_entry("40-44");
    struct shoal_entry_reader reader;
    bool more;
    int64_t index;
    struct shoal_outcome outcome;
    ck_assert_int_eq(shoal_entry_begin(&reader, entry.data, entry.len, NULL), SHOAL_OK);
    ck_assert_uint_eq(reader.worker_len, 3);
    ck_assert_mem_eq(reader.worker, "w-1", 3);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(shoal_entry_next(&reader, &more, &index, &outcome, NULL),
                         SHOAL_OK);
        ck_assert(more);
        ck_assert_int_eq(index, FIRST + i);
        assert_same(&outcome, &outcomes[i]);
    }
    ck_assert_int_eq(shoal_entry_next(&reader, &more, &index, &outcome, NULL), SHOAL_OK);
    ck_assert(!more);
    drop_entry();
}
END_TEST

static const struct {
    const char *ranges;
    enum shoal_status status;
    size_t n;
    int64_t indices[COUNT];
} accepted[] = {
    {"40-44", SHOAL_OK, 4, {40, 41, 42, 43}},
    {"40-41,43-44", SHOAL_OK, 2, {40, 43}},
    {"40-42,42-44", SHOAL_OK, 4, {40, 41, 42, 43}},
    {"41-43", SHOAL_OK, 2, {41, 42}},
    {"43-44", SHOAL_OK, 1, {43}},
    {"", SHOAL_OK, 0, {0}},
    {"43-45", SHOAL_GARBAGE, 1, {43}},
    {"50-51", SHOAL_GARBAGE, 0, {0}},
    {"3-4", SHOAL_GARBAGE, 0, {0}},
    {"3-41", SHOAL_GARBAGE, 0, {0}},
    {"41-42,40-41", SHOAL_GARBAGE, 0, {0}},
    {"40-42,41-43", SHOAL_GARBAGE, 1, {40}},
    {"41-41", SHOAL_GARBAGE, 0, {0}},
    {"42-41", SHOAL_GARBAGE, 0, {0}},
    {"40-41,", SHOAL_GARBAGE, 0, {0}},
    {",40-41", SHOAL_GARBAGE, 0, {0}},
    {"40", SHOAL_GARBAGE, 0, {0}},
    {"40-", SHOAL_GARBAGE, 0, {0}},
    {"-1-41", SHOAL_GARBAGE, 0, {0}},
    {"40-44 ", SHOAL_GARBAGE, 0, {0}},
    {"40-99999999999999999999999", SHOAL_GARBAGE, 0, {0}},
    {"40-9007199254740993", SHOAL_GARBAGE, 0, {0}},
    {"x", SHOAL_GARBAGE, 0, {0}},
};

START_TEST(only_accepted_outcomes_count) {
    int64_t indices[64];
    size_t n;
    make_entry(accepted[_i].ranges);
    ck_assert_int_eq(read_all(entry.data, entry.len, indices, &n), accepted[_i].status);
    ck_assert_uint_eq(n, accepted[_i].n);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(indices[i], accepted[_i].indices[i]);
    drop_entry();
}
END_TEST

/* Three short tasks in one element, between two with elements of their own. */
static void make_mixed(const char *ranges) {
    static const char results[] = "$1\r\na\r\n$0\r\n\r\n$2\r\nbc\r\n";
    const struct shoal_outcome sums = {
        .attempt = 2, .wall_us = 30, .cpu_us = 9, .rss_kb = 7};
    shoal_buffer_init(&entry, 1 << 16);
    shoal_buffer_add_text(&entry, ranges);
    shoal_buffer_add_char(&entry, '\n');
    shoal_pack_begin(&entry, "w-1", FIRST, 3);
    shoal_outcome_write(&entry, &outcomes[0]);
    shoal_outcome_write_many(&entry, 3, &sums, results, sizeof(results) - 1);
    shoal_outcome_write(&entry, &outcomes[1]);
}

START_TEST(many_short_tasks_are_one_element) {
    static const struct shoal_outcome expected[] = {
        {SHOAL_REASON_OK, 2, 10, 3, 7, 0, "a", 1},
        {SHOAL_REASON_OK, 2, 10, 3, 7, 0, "", 0},
        {SHOAL_REASON_OK, 2, 10, 3, 7, 0, "bc", 2},
    };
    struct shoal_entry_reader reader;
    struct shoal_outcome outcome;
    bool more;
    int64_t index;
    make_mixed("40-45");
    ck_assert_int_eq(shoal_entry_begin(&reader, entry.data, entry.len, NULL), SHOAL_OK);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(shoal_entry_next(&reader, &more, &index, &outcome, NULL),
                         SHOAL_OK);
        ck_assert(more);
        ck_assert_int_eq(index, FIRST + i);
        assert_same(&outcome, i == 0   ? &outcomes[0]
                              : i == 4 ? &outcomes[1]
                                       : &expected[i - 1]);
    }
    ck_assert_int_eq(shoal_entry_next(&reader, &more, &index, &outcome, NULL), SHOAL_OK);
    ck_assert(!more);
    drop_entry();
}
END_TEST

START_TEST(only_accepted_ones_of_many_count) {
    int64_t indices[64];
    size_t n;
    make_mixed("40-41,42-43,44-45");
    ck_assert_int_eq(read_all(entry.data, entry.len, indices, &n), SHOAL_OK);
    ck_assert_uint_eq(n, 3);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(indices[i], FIRST + 2 * (int64_t)i);
    drop_entry();
}
END_TEST

static const struct {
    int64_t n;
    const char *results;
} lies[] = {{0, ""}, {2, "$1\r\na\r\n"}, {1, "$1\r\na\r\n$1\r\nb\r\n"},
            {1, ""}, {1, "nothing"},     {INT64_C(1) << 53, "$1\r\na\r\n"},
            {-1, ""}};

START_TEST(element_that_lies_about_its_tasks_is_garbage) {
    const struct shoal_outcome sums = {.attempt = 1};
    int64_t indices[64];
    size_t n;
    shoal_buffer_init(&entry, 1 << 16);
    shoal_buffer_add_text(&entry, "40-42\n");
    shoal_pack_begin(&entry, "w-1", FIRST, 1);
    shoal_outcome_write_many(&entry, lies[_i].n, &sums, lies[_i].results,
                             strlen(lies[_i].results));
    ck_assert_int_eq(read_all(entry.data, entry.len, indices, &n), SHOAL_GARBAGE);
    drop_entry();
}
END_TEST

/* Both kinds of elements, by the loop's index. */
static void make_either(int kind) {
    if (kind == 0)
        make_entry("40-44");
    else
        make_mixed("40-45");
}

START_TEST(cut_at_any_byte_is_garbage) {
    int64_t indices[64];
    size_t n;
    make_either(_i);
    for (size_t len = 0; len < entry.len; len++)
        ck_assert_int_eq(read_all(entry.data, len, indices, &n), SHOAL_GARBAGE);
    drop_entry();
}
END_TEST

START_TEST(bytes_behind_the_pack_are_garbage) {
    int64_t indices[64];
    size_t n;
    make_entry("40-44");
    shoal_buffer_add_char(&entry, '*');
    ck_assert_int_eq(read_all(entry.data, entry.len, indices, &n), SHOAL_GARBAGE);
    drop_entry();
}
END_TEST

START_TEST(changed_bytes_do_no_harm) {
    int64_t indices[64];
    size_t n;
    make_either(_i);
    for (size_t i = 0; i < entry.len; i++) {
        char was = entry.data[i];
        for (int c = 0; c < 256; c++) {
            entry.data[i] = (char)c;
            enum shoal_status status = read_all(entry.data, entry.len, indices, &n);
            ck_assert(status == SHOAL_OK || status == SHOAL_GARBAGE);
        }
        entry.data[i] = was;
    }
    drop_entry();
}
END_TEST

static const char *const garbage[] = {
    "",
    "\n",
    "0-1",
    "0-1\n",
    "0-1\n*0\r\n",
    "0-1\n*3\r\n$4\r\nhost\r\n$1\r\nw\r\n$1\r\n0\r\n",
    "0-1\n*3\r\n$4\r\nexec\r\n$1\r\nw\r\n$2\r\n-1\r\n",
    "0-1\n*4\r\n$4\r\nexec\r\n$1\r\nw\r\n$16\r\n9007199254740992\r\n*0\r\n",
    "0-1\n*4\r\n$4\r\nexec\r\n$1\r\nw\r\n$1\r\n0\r\n*0\r\n",
    "0-1\n*4\r\n$4\r\nexec\r\n$1\r\nw\r\n$1\r\n0\r\n$1\r\nx\r\n",
    "0-1\n*999999999\r\n$4\r\nexec\r\n$1\r\nw\r\n$1\r\n0\r\n",
    "0-1\n*4\r\n$4\r\nexec\r\n$1\r\nw\r\n$1\r\n0\r\n"
    "*7\r\n$4\r\nnone\r\n:1\r\n:1\r\n:1\r\n:1\r\n:0\r\n$0\r\n\r\n",
    "0-1\n*4\r\n$4\r\nexec\r\n$1\r\nw\r\n$1\r\n0\r\n"
    "*7\r\n$2\r\nok\r\n:1\r\n:-1\r\n:1\r\n:1\r\n:0\r\n$0\r\n\r\n",
    "0-1\n*4\r\n$4\r\nexec\r\n$1\r\nw\r\n$1\r\n0\r\n"
    "*7\r\n$2\r\nok\r\n$1\r\nx\r\n:1\r\n:1\r\n:1\r\n:0\r\n$0\r\n\r\n",
};

START_TEST(garbage_is_said_to_be_garbage) {
    int64_t indices[64];
    size_t n;
    ck_assert_int_eq(read_all(garbage[_i], strlen(garbage[_i]), indices, &n),
                     SHOAL_GARBAGE);
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(reasons_have_names) {
    for (int i = 0; i < SHOAL_REASON_COUNT; i++) {
        const char *name = shoal_reason_name((enum shoal_reason)i);
        enum shoal_reason reason = SHOAL_REASON_COUNT;
        ck_assert(shoal_reason_parse(name, strlen(name), &reason));
        ck_assert_int_eq(reason, i);
        ck_assert(!shoal_reason_parse(name, strlen(name) - 1, &reason));
    }
    enum shoal_reason reason;
    ck_assert(!shoal_reason_parse("", 0, &reason));
    ck_assert(!shoal_reason_parse("okay", 4, &reason));
    ck_assert_str_eq(shoal_reason_name((enum shoal_reason)99), "unknown reason");
}
END_TEST

START_TEST(an_attempt_is_read_again_unless_cut) {
    const struct shoal_attempt in = {.lo = 3,
                                     .hi = 4,
                                     .number = 2,
                                     .reason = SHOAL_REASON_EXIT,
                                     .code = 7,
                                     .worker = "w",
                                     .worker_len = 1,
                                     .wall_us = 5,
                                     .cpu_us = 6,
                                     .rss_kb = 8,
                                     .at_ms = 9,
                                     .text = "no such\nfile",
                                     .text_len = 12};
    struct shoal_attempt out;
    struct shoal_buffer record;
    shoal_buffer_init(&record, 4096);
    shoal_attempt_write(&record, &in);
    for (size_t len = 0; len < record.len; len++) {
        struct shoal_error err = {0};
        ck_assert_int_eq(shoal_attempt_read(record.data, len, &out, &err), SHOAL_GARBAGE);
    }
    ck_assert_int_eq(shoal_attempt_read(record.data, record.len, &out, NULL), SHOAL_OK);
    ck_assert_int_eq(out.lo, 3);
    ck_assert_int_eq(out.hi, 4);
    ck_assert_int_eq(out.number, 2);
    ck_assert_int_eq(out.reason, SHOAL_REASON_EXIT);
    ck_assert_int_eq(out.code, 7);
    ck_assert_mem_eq(out.worker, "w", out.worker_len);
    ck_assert_int_eq(out.wall_us, 5);
    ck_assert_int_eq(out.cpu_us, 6);
    ck_assert_int_eq(out.rss_kb, 8);
    ck_assert_int_eq(out.at_ms, 9);
    ck_assert_uint_eq(out.text_len, 12);
    ck_assert_mem_eq(out.text, in.text, 12);
    shoal_buffer_finish(&record);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("outcome");
    TCase *cases = tcase_create("outcome");
    tcase_add_test(cases, what_is_written_is_read_again);
    tcase_add_loop_test(cases, only_accepted_outcomes_count, 0,
                        (int)SHOAL_COUNT(accepted));
    tcase_add_test(cases, many_short_tasks_are_one_element);
    tcase_add_test(cases, only_accepted_ones_of_many_count);
    tcase_add_loop_test(cases, element_that_lies_about_its_tasks_is_garbage, 0,
                        SHOAL_COUNT(lies));
    tcase_add_loop_test(cases, cut_at_any_byte_is_garbage, 0, 2);
    tcase_add_test(cases, bytes_behind_the_pack_are_garbage);
    tcase_add_loop_test(cases, changed_bytes_do_no_harm, 0, 2);
    tcase_add_loop_test(cases, garbage_is_said_to_be_garbage, 0,
                        (int)SHOAL_COUNT(garbage));
    tcase_add_test(cases, reasons_have_names);
    tcase_add_test(cases, an_attempt_is_read_again_unless_cut);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
