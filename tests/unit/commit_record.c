#include "broker/commit_record.h"

#include "common/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define JOB "0123456789ab"

static const struct shoal_outcome good = {.reason = SHOAL_REASON_OK,
                                          .attempt = 1,
                                          .wall_us = 7,
                                          .result = "a\0b",
                                          .result_len = 3};
static const struct shoal_outcome bad = {
    .reason = SHOAL_REASON_EXIT, .attempt = 2, .code = 3, .result = ""};

/* One with a success, a failure and three that were packed elsewhere. */
static struct shoal_commit make_commit(void) {
    struct shoal_commit commit;
    struct shoal_buffer many;
    shoal_commit_init(&commit, JOB, "1f.2ab.3", 5);
    shoal_commit_add(&commit, &good, "worker", "", 0);
    shoal_commit_add(&commit, &bad, "worker", "why\r\n", 5);
    shoal_buffer_init(&many, 1000);
    shoal_outcome_write_many(&many, 3, &good, "$1\r\na\r\n$0\r\n\r\n$0\r\n\r\n", 19);
    shoal_commit_add_packed(&commit, 3, 11, 1, many.data, many.len);
    shoal_buffer_finish(&many);
    commit.rest = 10;
    commit.over = true;
    return commit;
}

static void expect_same(const struct shoal_commit *a, const struct shoal_commit *b) {
    ck_assert_str_eq(a->job, b->job);
    ck_assert_str_eq(a->lease, b->lease);
    ck_assert_int_eq(a->lo, b->lo);
    ck_assert_int_eq(a->hi, b->hi);
    ck_assert_int_eq(a->rest, b->rest);
    ck_assert_int_eq(a->over, b->over);
    ck_assert_int_eq(a->work_us, b->work_us);
    ck_assert_int_eq(a->failures, b->failures);
    ck_assert_uint_eq(a->failed.n, b->failed.n);
    ck_assert_uint_eq(a->failed.words.len, b->failed.words.len);
    if (a->failed.words.len > 0)
        ck_assert_mem_eq(a->failed.words.data, b->failed.words.data, a->failed.words.len);
    ck_assert_uint_eq(a->elements, b->elements);
    ck_assert_uint_eq(a->outcomes.len, b->outcomes.len);
    if (a->outcomes.len > 0)
        ck_assert_mem_eq(a->outcomes.data, b->outcomes.data, a->outcomes.len);
}

START_TEST(commits_come_back_as_they_were) {
    struct shoal_commit commits[] = {make_commit(), {.lo = 0}}, got;
    struct shoal_buffer buffer;
    struct shoal_record_reader reader;
    shoal_commit_init(&commits[1], JOB, "0.1", 0);
    shoal_buffer_init(&buffer, 10000);
    for (size_t i = 0; i < SHOAL_COUNT(commits); i++)
        shoal_commit_write(&buffer, &commits[i]);
    shoal_record_reader_init(&reader, buffer.data, buffer.len);
    for (size_t i = 0; i < SHOAL_COUNT(commits); i++) {
        ck_assert_int_eq(shoal_commit_read(&reader, &got, NULL), SHOAL_OK);
        expect_same(&commits[i], &got);
        shoal_commit_finish(&got);
        shoal_commit_finish(&commits[i]);
    }
    ck_assert_ptr_eq(reader.at, reader.end);
    ck_assert_int_eq(shoal_commit_read(&reader, &got, NULL), SHOAL_GARBAGE);
    shoal_buffer_finish(&buffer);
}
END_TEST

START_TEST(one_without_memory_for_its_outcomes_gives_its_tasks_back) {
    struct shoal_commit commit = make_commit(), got;
    struct shoal_buffer buffer;
    struct shoal_record_reader reader;
    commit.outcomes.failed = true;
    shoal_buffer_init(&buffer, 10000);
    shoal_commit_write(&buffer, &commit);
    shoal_record_reader_init(&reader, buffer.data, buffer.len);
    ck_assert_int_eq(shoal_commit_read(&reader, &got, NULL), SHOAL_OK);
    ck_assert_int_eq(got.hi, 5);
    ck_assert_int_eq(got.rest, 5);
    ck_assert_int_eq(got.failures, 0);
    ck_assert(got.over);
    shoal_commit_finish(&got);
    shoal_commit_finish(&commit);
    shoal_buffer_finish(&buffer);
}
END_TEST

/* In a block of exactly their size, so that a sanitizer sees a read beyond it. What is
 * taken for a commit is one: it is written as it was read. */
static void read_exactly(const char *bytes, size_t len) {
    char *copy = malloc(len == 0 ? 1 : len);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, len);
    struct shoal_record_reader reader;
    struct shoal_commit commit;
    shoal_record_reader_init(&reader, copy, len);
    if (shoal_commit_read(&reader, &commit, NULL) == SHOAL_OK) {
        ck_assert_int_le(commit.lo, commit.hi);
        ck_assert_int_eq((int64_t)commit.failed.n, commit.failures * 4);
        shoal_commit_finish(&commit);
    }
    free(copy);
}

START_TEST(cut_and_flipped_bytes_are_borne) {
    struct shoal_commit commit = make_commit();
    struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, 10000);
    shoal_commit_write(&buffer, &commit);
    for (size_t len = 0; len < buffer.len; len++) {
        struct shoal_record_reader reader;
        struct shoal_commit got;
        shoal_record_reader_init(&reader, buffer.data, len);
        ck_assert_int_eq(shoal_commit_read(&reader, &got, NULL), SHOAL_GARBAGE);
        read_exactly(buffer.data, len);
    }
    for (size_t bit = 0; bit < buffer.len * 8; bit++) {
        buffer.data[bit / 8] ^= (char)(1 << bit % 8);
        read_exactly(buffer.data, buffer.len);
        buffer.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    shoal_commit_finish(&commit);
    shoal_buffer_finish(&buffer);
}
END_TEST

#define REST "$1\r\n1\r\n$1\r\n0\r\n$0\r\n\r\n$1\r\n0\r\n$0\r\n\r\n"
#define RANGE "$1\r\n0\r\n$1\r\n1\r\n$2\r\n-1\r\n$1\r\n0\r\n"
static const char *const nonsense[] = {
    "",
    "$1\r\na\r\n",
    "*10\r\n$12\r\n" JOB "\r\n$1\r\na\r\n" RANGE REST,
    "*11\r\n$12\r\n0123456789 b\r\n$1\r\na\r\n" RANGE REST, /* the job */
    "*11\r\n$11\r\n0123456789a\r\n$1\r\na\r\n" RANGE REST,
    "*11\r\n$12\r\n" JOB "\r\n$0\r\n\r\n" RANGE REST, /* the lease */
    "*11\r\n$12\r\n" JOB "\r\n$1\r\n/\r\n" RANGE REST,
    "*11\r\n$12\r\n" JOB "\r\n$24\r\n012345678901234567890123\r\n" RANGE REST,
    "*11\r\n$12\r\n" JOB
    "\r\n$1\r\na\r\n$1\r\n2\r\n$1\r\n1\r\n$2\r\n-1\r\n$1\r\n0\r\n" REST,
    "*11\r\n$12\r\n" JOB "\r\n$1\r\na\r\n" RANGE /* a failure that is not there */
    "$1\r\n1\r\n$1\r\n1\r\n$0\r\n\r\n$1\r\n0\r\n$0\r\n\r\n",
    "*11\r\n$12\r\n" JOB "\r\n$1\r\na\r\n" RANGE /* words of none */
    "$1\r\n1\r\n$1\r\n0\r\n$7\r\n$1\r\na\r\n\r\n$1\r\n0\r\n$0\r\n\r\n",
    "*11\r\n$12\r\n" JOB "\r\n$1\r\na\r\n" RANGE /* more elements than tasks */
    "$1\r\n1\r\n$1\r\n0\r\n$0\r\n\r\n$1\r\n2\r\n$8\r\n*0\r\n*0\r\n\r\n",
};

START_TEST(nonsense_is_no_commit) {
    struct shoal_record_reader reader;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_commit got;
    shoal_record_reader_init(&reader, nonsense[_i], strlen(nonsense[_i]));
    ck_assert_int_eq(shoal_commit_read(&reader, &got, &err), SHOAL_GARBAGE);
    ck_assert_str_ne(err.text, "");
}
END_TEST

START_TEST(what_the_nonsense_is_made_of_makes_sense) {
    static const char text[] = "*11\r\n$12\r\n" JOB "\r\n$1\r\na\r\n" RANGE REST;
    struct shoal_record_reader reader;
    struct shoal_commit got;
    shoal_record_reader_init(&reader, text, strlen(text));
    ck_assert_int_eq(shoal_commit_read(&reader, &got, NULL), SHOAL_OK);
    shoal_commit_finish(&got);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("commit_record");
    TCase *tests = tcase_create("commit_record");
    tcase_add_test(tests, commits_come_back_as_they_were);
    tcase_add_test(tests, one_without_memory_for_its_outcomes_gives_its_tasks_back);
    tcase_add_test(tests, cut_and_flipped_bytes_are_borne);
    tcase_add_loop_test(tests, nonsense_is_no_commit, 0, (int)SHOAL_COUNT(nonsense));
    tcase_add_test(tests, what_the_nonsense_is_made_of_makes_sense);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
