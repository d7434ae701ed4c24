/* What a runner says is done, which may be anything. */
#include "worker/done.h"

#include "common/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { LO = 7, HI = 12, SHIFT = 100 };

static struct shoal_buffer message;
static int64_t position = LO + SHIFT; /* that it says it begins with */

static void add_failure(int64_t index, const char *reason) {
    shoal_record_array(&message, 5);
    shoal_record_int(&message, index);
    shoal_record_text(&message, reason);
    shoal_record_int(&message, 3);
    shoal_record_int(&message, 20);
    shoal_record_text(&message, "because");
}

/* The fields of a "done": `tasks` in an element for all but the last, which failed. */
static void make(int64_t tasks, int64_t elements, int64_t many, int64_t failed,
                 const char *reason) {
    const struct shoal_outcome sums = {.attempt = 1, .wall_us = 5};
    const struct shoal_outcome last = {
        .reason = SHOAL_REASON_EXIT, .attempt = 1, .result = ""};
    struct shoal_buffer outcomes;
    struct shoal_buffer results;
    shoal_buffer_init(&outcomes, 1 << 16);
    shoal_buffer_init(&results, 1 << 16);
    for (int64_t i = 0; i < many; i++)
        shoal_record_text(&results, "");
    shoal_outcome_write_many(&outcomes, many, &sums, shoal_buffer_text(&results),
                             results.len);
    shoal_buffer_finish(&results);
    shoal_outcome_write(&outcomes, &last);
    shoal_buffer_init(&message, 1 << 16);
    shoal_record_int(&message, position);
    shoal_record_int(&message, tasks);
    shoal_record_int(&message, elements);
    shoal_record_bytes(&message, outcomes.data, outcomes.len);
    shoal_record_int(&message, 25);
    shoal_record_int(&message, 4096);
    shoal_record_int(&message, 1);
    shoal_record_array(&message, 1);
    add_failure(failed, reason);
    shoal_buffer_finish(&outcomes);
}

static void teardown(void) {
    shoal_buffer_finish(&message);
}

/* In memory of its own, so that a sanitizer sees a read beyond it. */
static bool read_done(const char *bytes, size_t len, struct shoal_done *done) {
    struct shoal_record_reader reader;
    char *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, bytes, len);
    shoal_record_reader_init(&reader, copy, len);
    bool good = shoal_done_read(&reader, SHIFT, LO, HI, done);
    done->report.outcomes = NULL; /* it goes with the copy */
    free(copy);
    return good;
}

START_TEST(report_is_read) {
    SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
    struct shoal_record_reader reader;
    make(3, 2, 2, 9, "exit");
    shoal_record_reader_init(&reader, message.data, message.len);
    ck_assert(shoal_done_read(&reader, SHIFT, LO, HI, &done));
    ck_assert_int_eq(done.report.tasks, 3);
    ck_assert_uint_eq(done.report.elements, 2);
    ck_assert_int_eq(done.report.work_us, 25);
    ck_assert_int_eq(done.memory, 4096 * 1024);
    ck_assert(done.over);
    ck_assert_uint_eq(done.report.n_failures, 1);
    ck_assert_int_eq(done.report.failures[0].index, 9);
    ck_assert_int_eq(done.report.failures[0].reason, SHOAL_REASON_EXIT);
    ck_assert_mem_eq(done.report.failures[0].text, "because", 7);
}
END_TEST

static const struct {
    int64_t tasks, elements, many, failed;
    const char *reason;
} lies[] = {
    {6, 2, 5, 9, "exit"},                               /* more than there are */
    {-1, 2, 2, 9, "exit"},                              /* less than none */
    {4, 2, 2, 9, "exit"},                               /* more than there are outcomes */
    {2, 2, 2, 8, "exit"},                               /* fewer */
    {3, 1, 2, 9, "exit"},                               /* elements, one more */
    {3, 3, 2, 9, "exit"},                               /* one less */
    {3, 2, 0, 9, "exit"},                               /* an element for none */
    {3, 2, 2, 10, "exit"},                              /* a failure of another task */
    {3, 2, 2, 6, "exit"},                               /* of one before */
    {3, 2, 2, 9, "ok"},                                 /* that is none */
    {3, 2, 2, 9, "bad luck"}, {3, 2, 2, 9, "rejected"}, /* the outcome says otherwise */
    {3, 2, 2, 8, "exit"},                               /* and of another task */
};

START_TEST(same_twice_is_refused) {
    static const int64_t others[] = {LO + SHIFT + 3, LO + SHIFT - 1, LO, -1, INT64_MIN};
    for (size_t i = 0; i < SHOAL_COUNT(others); i++) {
        SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
        position = others[i];
        make(3, 2, 2, 9, "exit");
        ck_assert(!read_done(message.data, message.len, &done));
        shoal_buffer_finish(&message);
    }
}
END_TEST

START_TEST(lie_is_refused) {
    SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
    make(lies[_i].tasks, lies[_i].elements, lies[_i].many, lies[_i].failed,
         lies[_i].reason);
    ck_assert(!read_done(message.data, message.len, &done));
}
END_TEST

START_TEST(cut_at_any_byte_is_refused) {
    make(3, 2, 2, 9, "exit");
    for (size_t len = 0; len < message.len; len++) {
        SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
        ck_assert(!read_done(message.data, len, &done));
    }
}
END_TEST

START_TEST(changed_bytes_do_no_harm) {
    make(3, 2, 2, 9, "exit");
    for (size_t i = 0; i < message.len; i++) {
        char was = message.data[i];
        for (int c = 0; c < 256; c++) {
            SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
            message.data[i] = (char)c;
            if (read_done(message.data, message.len, &done))
                ck_assert_int_le(done.report.tasks, HI - LO);
        }
        message.data[i] = was;
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("done");
    TCase *cases = tcase_create("done");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, NULL, teardown);
    tcase_add_test(cases, report_is_read);
    tcase_add_test(cases, same_twice_is_refused);
    tcase_add_loop_test(cases, lie_is_refused, 0, SHOAL_COUNT(lies));
    tcase_add_test(cases, cut_at_any_byte_is_refused);
    tcase_add_test(cases, changed_bytes_do_no_harm);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
