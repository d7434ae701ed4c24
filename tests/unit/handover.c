/* What one program hands over and the next one reads, which may be anything. */
#include "worker/handover.h"
#include "common/cleanup.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ITEMS = 3, FILE_MAX = 1 << 16 };

/* One of everything that can be carried. */
struct state {
    int64_t number;
    int small;
    bool flag;
    char text[8];
    char *bytes;
    size_t len;
    char *none;
    size_t none_len;
    int fd;
    int no_fd;
    int items[ITEMS];
    size_t n;
    struct shoal_commit *commit;
};

static void carry(struct state *state, struct shoal_handover *handover) {
    SHOAL_CARRY(handover, state->number, INT64_MIN, INT64_MAX);
    SHOAL_CARRY(handover, state->small, 1, 9);
    shoal_carry_flag(handover, &state->flag);
    shoal_carry_text(handover, state->text, sizeof(state->text));
    shoal_carry_bytes(handover, &state->bytes, &state->len, 16);
    shoal_carry_bytes(handover, &state->none, &state->none_len, 16);
    shoal_carry_fd(handover, &state->fd);
    shoal_carry_fd(handover, &state->no_fd);
    size_t i = 0;
    for (; shoal_carry_more(handover, handover->saves && i < state->n); i++) {
        if (i == ITEMS) {
            handover->failed = true;
            break;
        }
        SHOAL_CARRY(handover, state->items[i], 0, INT32_MAX);
    }
    state->n = i;
    shoal_carry_commit(handover, &state->commit);
}

static void finish(struct state *state) {
    if (state->commit != NULL)
        shoal_commit_finish(state->commit);
    free(state->commit);
    free(state->bytes);
    free(state->none);
}

static void fill(struct state *state) {
    const struct shoal_outcome outcome = {
        .reason = SHOAL_REASON_OK, .attempt = 1, .result = "x=1", .result_len = 3};
    *state = (struct state){.number = INT64_MIN,
                            .small = 9,
                            .flag = true,
                            .text = "1234567",
                            .len = 3,
                            .no_fd = -1,
                            .items = {4, 5, 6},
                            .n = ITEMS};
    state->bytes = malloc(4);
    memcpy(state->bytes, "a\0b", 4);
    state->fd = fcntl(0, F_DUPFD_CLOEXEC, 500); /* where nothing else will lie */
    state->commit = malloc(sizeof(*state->commit));
    shoal_commit_init(state->commit, "0123456789ab", "0.1", 7);
    shoal_commit_add(state->commit, &outcome, "worker", "", 0);
}

/* The file of a handover of that state: exec fails, and leaves it as it was sealed. */
static size_t file_of(struct state *state, char *bytes) {
    struct shoal_handover handover;
    struct shoal_error err = {.status = SHOAL_OK};
    char *argv[] = {(char *)"none", NULL};
    ck_assert_int_eq(shoal_handover_begin(&handover, &err), SHOAL_OK);
    carry(state, &handover);
    ck_assert_int_eq(
        shoal_handover_exec(&handover, "test", "/nonexistent/program", argv, &err),
        SHOAL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/program"));
    ck_assert(!shoal_handover_is_given("test"));
    ck_assert_int_eq(fcntl(state->fd, F_GETFD), FD_CLOEXEC);
    ssize_t len = pread(handover.file, bytes, FILE_MAX, 0);
    ck_assert_int_gt(len, 64);
    shoal_handover_finish(&handover);
    return (size_t)len;
}

static void give(const char *bytes, size_t len) {
    char value[32];
    int file = memfd_create("test", 0);
    ck_assert_int_ge(file, 3);
    ck_assert_int_eq(write(file, bytes, len), (ssize_t)len);
    snprintf(value, sizeof(value), "test:%d", file);
    setenv("SHOAL_HANDOVER", value, 1);
}

/* Whether all of it was read back; the sentence is why not. */
static bool take(const char *bytes, size_t len, struct state *state,
                 struct shoal_error *err) {
    struct shoal_handover handover;
    shoal_error_clear(err);
    *state = (struct state){.fd = -1, .no_fd = 5};
    give(bytes, len);
    ck_assert(shoal_handover_is_given("test"));
    ck_assert(!shoal_handover_is_given("tes"));
    bool good = shoal_handover_open(&handover, err) == SHOAL_OK;
    ck_assert_ptr_null(getenv("SHOAL_HANDOVER"));
    if (good) {
        carry(state, &handover);
        good = shoal_handover_is_whole(&handover);
    }
    shoal_handover_finish(&handover);
    return good;
}

static char whole[FILE_MAX];
static size_t whole_len;
static struct state before, after;
static struct shoal_error err;

static void setup(void) {
    fill(&before);
    whole_len = file_of(&before, whole);
}

static void teardown(void) {
    close(before.fd);
    finish(&before);
}

START_TEST(all_that_is_carried_comes_back) {
    ck_assert(take(whole, whole_len, &after, &err));
    ck_assert_int_eq(after.number, INT64_MIN);
    ck_assert_int_eq(after.small, 9);
    ck_assert(after.flag);
    ck_assert_str_eq(after.text, "1234567");
    ck_assert_uint_eq(after.len, 3);
    ck_assert_mem_eq(after.bytes, "a\0b", 4);
    ck_assert_ptr_null(after.none);
    ck_assert_int_eq(after.fd, before.fd);
    ck_assert_int_eq(after.no_fd, -1);
    ck_assert_uint_eq(after.n, ITEMS);
    ck_assert_int_eq(after.items[2], 6);
    ck_assert_int_eq(after.commit->hi, 8);
    ck_assert_uint_eq(after.commit->outcomes.len, before.commit->outcomes.len);
    finish(&after);
}
END_TEST

START_TEST(what_was_cut_or_goes_on_is_refused) {
    for (size_t len = 0; len < whole_len; len++) {
        ck_assert_msg(!take(whole, len, &after, &err), "the first %zu bytes", len);
        ck_assert_int_eq(err.status, SHOAL_GARBAGE);
    }
    ck_assert(!take(whole, whole_len + 1, &after, &err));
}
END_TEST

/* Every bit behind the head is in its checksum; one of the head is seen, or says the same
 * in another way. */
START_TEST(what_was_changed_is_refused) {
    for (size_t at = 64; at < whole_len; at++) {
        whole[at] ^= 1;
        ck_assert_msg(!take(whole, whole_len, &after, &err), "byte %zu", at);
        ck_assert_int_eq(err.status, SHOAL_GARBAGE);
        whole[at] ^= 1;
    }
}
END_TEST

/* With a checksum that is right, as a program with an error would write it. */
START_TEST(what_is_no_state_fails_and_is_not_taken) {
    before.small = 10;
    whole_len = file_of(&before, whole);
    ck_assert(!take(whole, whole_len, &after, &err));
    ck_assert_int_eq(after.small, 0);
    finish(&after);
    before.small = 1;
    before.len = 17;
    before.bytes = realloc(before.bytes, 32);
    memset(before.bytes, 'x', 32);
    whole_len = file_of(&before, whole);
    ck_assert(!take(whole, whole_len, &after, &err));
    finish(&after);
}
END_TEST

START_TEST(closed_descriptor_fails) {
    close(before.fd);
    ck_assert(!take(whole, whole_len, &after, &err));
    ck_assert_int_eq(after.fd, -1);
    finish(&after);
}
END_TEST

START_TEST(other_version_is_named) {
    whole[strlen("shoal-handover ")] = '9';
    ck_assert(!take(whole, whole_len, &after, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "version 9"));
    ck_assert_ptr_nonnull(strstr(err.text, SHOAL_VERSION));
}
END_TEST

static const char *const variables[] = {
    "",        "test",      "test:",
    "test:x",  "test:1",    "test:-4",
    "test:7x", "test:9999", "test:99999999999999999999"};

START_TEST(variable_that_names_nothing_is_refused) {
    struct shoal_handover handover;
    setenv("SHOAL_HANDOVER", variables[_i], 1);
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_handover_open(&handover, &err), SHOAL_GARBAGE);
    ck_assert_ptr_null(getenv("SHOAL_HANDOVER"));
    shoal_handover_finish(&handover);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("handover");
    TCase *tests = tcase_create("handover");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, all_that_is_carried_comes_back);
    tcase_add_test(tests, what_was_cut_or_goes_on_is_refused);
    tcase_add_test(tests, what_was_changed_is_refused);
    tcase_add_test(tests, what_is_no_state_fails_and_is_not_taken);
    tcase_add_test(tests, closed_descriptor_fails);
    tcase_add_test(tests, other_version_is_named);
    tcase_add_loop_test(tests, variable_that_names_nothing_is_refused, 0,
                        (int)(sizeof(variables) / sizeof(*variables)));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
