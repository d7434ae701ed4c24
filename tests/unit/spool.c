/* Spools: what is good in a file comes back in order, whatever else is in it. */
#include "worker/outbox.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/scratch.h"
#include "tests/support/process.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOB "0123456789ab"

static const struct shoal_spool_head head = {.name_space = "test",
                                             .worker = "w.1",
                                             .redis = "unix:/somewhere",
                                             .session = "aaaaaaaaaaaa",
                                             .store = "bbbbbbbbbbbb"};

static struct test_directory home;
static char path[128];
static struct shoal_error err;

static void setup(void) {
    test_directory_create(&home);
    snprintf(path, sizeof(path), "%s/w.1.aaaaaaaaaaaa.0.spool", home.path);
    err.status = SHOAL_OK;
}

static void teardown(void) {
    test_directory_destroy(&home);
}

/* Task `index` of a lease of four, with a result of `size` bytes. */
static struct shoal_commit *make_commit(int64_t index, size_t size) {
    struct shoal_commit *commit = malloc(sizeof(*commit));
    SHOAL_CLEANUP(shoal_cleanup_free) char *result = malloc(size + 1);
    char lease[SHOAL_LEASE_MAX];
    ck_assert(commit != NULL && result != NULL);
    memset(result, 'x', size);
    snprintf(lease, sizeof(lease), "0.%" PRIx64, index / 4);
    const struct shoal_outcome outcome = {.reason = index % 3 == 0 ? SHOAL_REASON_EXIT
                                                                   : SHOAL_REASON_OK,
                                          .attempt = 1,
                                          .result = result,
                                          .result_len = size};
    shoal_commit_init(commit, JOB, lease, index);
    shoal_commit_add(commit, &outcome, "w.1", "", 0);
    return commit;
}

static void drop(struct shoal_commit *commit) {
    shoal_commit_finish(commit);
    free(commit);
}

static struct shoal_spool *create(void) {
    struct shoal_spool *spool = NULL;
    ck_assert_int_eq(shoal_spool_create(path, &head, &spool, &err), SHOAL_OK);
    return spool;
}

static struct shoal_spool *open_it(void) {
    struct shoal_spool *spool = NULL;
    err.status = SHOAL_OK;
    ck_assert_int_eq(shoal_spool_open(path, &spool, &err), SHOAL_OK);
    return spool;
}

static void add(struct shoal_spool *spool, int64_t first, int64_t n, size_t size) {
    for (int64_t i = first; i < first + n; i++) {
        struct shoal_commit *commit = make_commit(i, size);
        ck_assert_int_eq(shoal_spool_add(spool, commit, &err), SHOAL_OK);
        drop(commit);
    }
    ck_assert_int_eq(shoal_spool_sync(spool, &err), SHOAL_OK);
}

static void expect_next(struct shoal_spool *spool, int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; i++) {
        struct shoal_commit *commit = NULL;
        ck_assert_int_eq(shoal_spool_next(spool, &commit, &err), SHOAL_OK);
        ck_assert_int_eq(commit->lo, i);
        ck_assert_int_eq(commit->failures, i % 3 == 0);
        drop(commit);
    }
}

static void expect_end(struct shoal_spool *spool) {
    struct shoal_commit *commit = NULL;
    ck_assert_int_eq(shoal_spool_next(spool, &commit, &err), SHOAL_UNKNOWN);
}

static bool is_there(const char *end) {
    char name[160];
    snprintf(name, sizeof(name), "%s%s", path, end);
    return access(name, F_OK) == 0;
}

/* ---- order */

START_TEST(commits_come_back_in_order_until_they_are_accepted) {
    struct shoal_spool *spool = create();
    add(spool, 0, 5, 10);
    expect_next(spool, 0, 3);
    add(spool, 5, 2, 400000); /* more than is read at once */
    shoal_spool_rewind(spool);
    expect_next(spool, 0, 6);
    ck_assert_uint_eq(shoal_spool_commits(spool), 7);
    shoal_spool_accept(spool);
    ck_assert_uint_eq(shoal_spool_commits(spool), 1);
    ck_assert(!shoal_spool_is_empty(spool));
    shoal_spool_rewind(spool);
    expect_next(spool, 6, 1);
    expect_end(spool);
    shoal_spool_accept(spool);
    ck_assert(shoal_spool_is_empty(spool));
    shoal_spool_remove(spool);
    ck_assert(!is_there(""));
}
END_TEST

START_TEST(what_was_written_is_found_again) {
    struct stat status;
    struct shoal_spool *spool = create();
    add(spool, 0, 100, 3000);
    shoal_spool_close(spool);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
    spool = open_it();
    ck_assert_int_eq(err.status, SHOAL_OK);
    ck_assert_str_eq(shoal_spool_head(spool)->session, head.session);
    ck_assert_str_eq(shoal_spool_head(spool)->store, head.store);
    ck_assert_uint_eq(shoal_spool_commits(spool), 100);
    expect_next(spool, 0, 100);
    expect_end(spool);
    shoal_spool_close(spool);
}
END_TEST

static void note_lease(void *owner, const struct shoal_lease *lease) {
    char *text = owner;
    size_t len = strlen(text);
    snprintf(text + len, 200 - len, "%s:%d-%d ", lease->name, (int)lease->lo,
             (int)lease->hi);
}

START_TEST(leases_are_told_as_ranges) {
    char text[200] = "";
    struct shoal_spool *spool = create();
    add(spool, 1, 8, 10);
    shoal_spool_each(spool, note_lease, text);
    ck_assert_str_eq(text, "0.0:1-4 0.1:4-8 0.2:8-9 ");
    expect_next(spool, 1, 3);
    shoal_spool_accept(spool);
    text[0] = '\0';
    shoal_spool_each(spool, note_lease, text);
    ck_assert_str_eq(text, "0.1:4-8 0.2:8-9 ");
    shoal_spool_close(spool);
}
END_TEST

/* ---- limits and owners */

START_TEST(one_that_is_full_says_so_and_keeps_what_it_has) {
    struct shoal_spool *spool = create();
    add(spool, 0, 2, 10);
    shoal_spool_set_most(spool, shoal_spool_size(spool) + 1000);
    struct shoal_commit *commit = make_commit(2, 2000);
    ck_assert_int_eq(shoal_spool_add(spool, commit, &err), SHOAL_FULL);
    drop(commit);
    add(spool, 2, 2, 100);
    expect_next(spool, 0, 4);
    expect_end(spool);
    shoal_spool_close(spool);
}
END_TEST

START_TEST(one_that_is_locked_is_somebody_elses) {
    struct shoal_spool *other = NULL, *spool = create();
    ck_assert_int_eq(shoal_spool_open(path, &other, NULL), SHOAL_REFUSED);
    ck_assert_int_eq(shoal_spool_create(path, &head, &other, NULL), SHOAL_SYSTEM);
    shoal_spool_close(spool);
    ck_assert_int_eq(shoal_spool_open(path, &other, NULL), SHOAL_OK);
    shoal_spool_remove(other);
    ck_assert_int_eq(shoal_spool_open(path, &other, NULL), SHOAL_UNKNOWN);
}
END_TEST

static void make_link(void) {
    char to[160];
    snprintf(to, sizeof(to), "%s.other", path);
    ck_assert_int_eq(rename(path, to), 0);
    ck_assert_int_eq(symlink(to, path), 0);
}

static void make_readable(void) {
    ck_assert_int_eq(chmod(path, 0644), 0);
}

static void make_directory(void) {
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void make_pipe(void) {
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void (*const changes[])(void) = {make_link, make_readable, make_directory,
                                        make_pipe};

START_TEST(what_is_no_private_file_is_left_alone) {
    struct shoal_spool *spool = create();
    shoal_spool_close(spool);
    changes[_i]();
    enum shoal_status status = shoal_spool_open(path, &spool, &err);
    ck_assert(status == SHOAL_SYSTEM || status == SHOAL_DENIED);
    ck_assert_str_ne(err.text, "");
    ck_assert(is_there("") && !is_there(".bad"));
}
END_TEST

/* ---- damage */

static char *whole;
static size_t whole_len;
static size_t ends[4]; /* of the head and of each commit */

static void make_whole(void) {
    struct shoal_buffer bytes;
    shoal_buffer_init(&bytes, 1 << 20);
    shoal_spool_write_head(&bytes, &head);
    ends[0] = bytes.len;
    for (int i = 0; i < 3; i++) {
        struct shoal_commit *commit = make_commit(i, (size_t)i * 5);
        shoal_spool_write(&bytes, commit);
        ends[i + 1] = bytes.len;
        drop(commit);
    }
    whole_len = bytes.len;
    whole = shoal_buffer_steal(&bytes);
}

static void put(const char *bytes, size_t len) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
}

/* The file holds `len` bytes, of which the first `n` commits are good. */
static void expect_good(int n, size_t len) {
    struct shoal_spool *spool = open_it();
    ck_assert_int_eq(err.status, ends[n] == len ? SHOAL_OK : SHOAL_GARBAGE);
    ck_assert_uint_eq(shoal_spool_commits(spool), (size_t)n);
    expect_next(spool, 0, n);
    expect_end(spool);
    shoal_spool_accept(spool);
    ck_assert(shoal_spool_is_empty(spool));
    shoal_spool_remove(spool);
    ck_assert(!is_there(""));
    ck_assert_int_eq(is_there(".bad"), ends[n] != len);
}

static void expect_nothing(void) {
    struct shoal_spool *spool = NULL;
    ck_assert_int_eq(shoal_spool_open(path, &spool, NULL), SHOAL_GARBAGE);
    ck_assert(!is_there("") && is_there(".bad"));
}

static int good_before(size_t at) {
    int n = -1;
    while (n < 3 && ends[n + 1] <= at)
        n++;
    return n;
}

static void forget_bad(void) {
    char name[160];
    snprintf(name, sizeof(name), "%s.bad", path);
    unlink(name);
}

START_TEST(torn_at_every_byte) {
    make_whole();
    for (size_t len = 0; len <= whole_len; len++) {
        put(whole, len);
        if (good_before(len) < 0)
            expect_nothing();
        else
            expect_good(good_before(len), len);
        forget_bad();
    }
    free(whole);
}
END_TEST

START_TEST(every_flipped_bit_is_found) {
    make_whole();
    for (size_t bit = 0; bit < whole_len * 8; bit++) {
        whole[bit / 8] ^= (char)(1 << bit % 8);
        put(whole, whole_len);
        if (good_before(bit / 8) < 0)
            expect_nothing();
        else
            expect_good(good_before(bit / 8), whole_len);
        whole[bit / 8] ^= (char)(1 << bit % 8);
        forget_bad();
    }
    free(whole);
}
END_TEST

static const struct {
    const char *text;
    size_t len;
} tails[] = {
    {"\xff\xff\xff\xff\0\0\0\0", 8}, {"\0\0\0\x1f\0\0\0\0", 8},
    {"\0\0\0\0\0\0\0\0", 8},         /* as a file system may leave it */
    {"\0\0\0\0\x1c\xdf\x44\x21", 8}, /* an empty frame that is whole */
    {"garbage, and more of it", 23},
};

START_TEST(garbage_behind_it_is_set_aside) {
    make_whole();
    SHOAL_CLEANUP(shoal_cleanup_free) char *bytes = malloc(whole_len + tails[_i].len);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, whole, whole_len);
    memcpy(bytes + whole_len, tails[_i].text, tails[_i].len);
    put(bytes, whole_len + tails[_i].len);
    expect_good(3, whole_len + tails[_i].len);
    free(whole);
}
END_TEST

START_TEST(another_version_is_set_aside) {
    make_whole();
    whole[strlen("shoal-spool ")] = '2';
    put(whole, whole_len);
    expect_nothing();
    free(whole);
}
END_TEST

START_TEST(what_is_damaged_later_ends_it) {
    struct shoal_commit *commit = NULL;
    make_whole();
    put(whole, whole_len);
    struct shoal_spool *spool = open_it();
    expect_next(spool, 0, 1);
    whole[ends[1] + 20] ^= 1;
    put(whole, whole_len);
    shoal_spool_rewind(spool);
    expect_next(spool, 0, 1);
    ck_assert_int_eq(shoal_spool_next(spool, &commit, &err), SHOAL_OK);
    drop(commit); /* it was read before */
    shoal_spool_close(spool);
    spool = open_it();
    expect_next(spool, 0, 1);
    expect_end(spool);
    shoal_spool_close(spool);
    free(whole);
}
END_TEST

/* ---- the outbox above it */

static struct shoal_outbox outbox;

static void outbox_start(int64_t most, const char *store) {
    struct shoal_spools spools;
    struct shoal_spool_head own = head;
    own.store[0] = '\0';
    shoal_spools_init(&spools, home.path, most, &own);
    shoal_spools_find(&spools);
    shoal_outbox_init(&outbox, &spools, 1 << 20);
    shoal_spools_set_store(&outbox.spools, store);
}

/* Sends all, a few at a time, losing every third answer. */
static void expect_sent(int64_t first, int64_t n) {
    const struct shoal_commit *commits[7];
    for (int64_t round = 0, at = first; at < first + n; round++) {
        size_t got = shoal_outbox_fly(&outbox, commits, SHOAL_COUNT(commits));
        ck_assert_uint_gt(got, 0);
        for (size_t i = 0; i < got; i++)
            ck_assert_int_eq(commits[i]->lo, at + (int64_t)i);
        if (round % 3 == 2) {
            shoal_outbox_came_back(&outbox);
            continue;
        }
        at += (int64_t)got;
        shoal_outbox_arrived(&outbox, 1);
    }
    ck_assert(shoal_outbox_is_empty(&outbox));
}

static void outbox_add(int64_t first, int64_t n, size_t size) {
    for (int64_t i = first; i < first + n; i++)
        shoal_outbox_add(&outbox, make_commit(i, size));
}

START_TEST(memory_and_files_are_one_line) {
    outbox_start(1 << 30, head.store);
    outbox_add(0, 20, 10);
    ck_assert(shoal_outbox_spill(&outbox, 1));
    ck_assert_uint_eq(outbox.waiting.n, 0);
    outbox_add(20, 20, 100000); /* over the bound */
    shoal_outbox_tick(&outbox, false, 1);
    ck_assert_uint_eq(outbox.waiting.n, 0);
    outbox_add(40, 20, 10);
    ck_assert_uint_eq(shoal_outbox_sum(&outbox).commits, 60);
    expect_sent(0, 60);
    ck_assert(!is_there(""));
    shoal_outbox_finish(&outbox);
}
END_TEST

START_TEST(what_a_worker_left_goes_first) {
    outbox_start(1 << 30, head.store);
    outbox_add(0, 10, 10);
    ck_assert(shoal_outbox_spill(&outbox, 1));
    shoal_outbox_finish(&outbox);
    outbox_start(1 << 30, head.store);
    outbox_add(10, 10, 10);
    ck_assert(shoal_outbox_spill(&outbox, 1));
    outbox_add(20, 10, 10);
    expect_sent(0, 30);
    shoal_outbox_finish(&outbox);
}
END_TEST

START_TEST(outcomes_of_another_store_stay) {
    outbox_start(1 << 30, head.store);
    outbox_add(0, 10, 10);
    ck_assert(shoal_outbox_spill(&outbox, 1));
    shoal_spools_set_store(&outbox.spools, "cccccccccccc");
    ck_assert(shoal_outbox_is_empty(&outbox));
    outbox_add(10, 10, 10);
    ck_assert(shoal_outbox_spill(&outbox, 1));
    expect_sent(10, 10);
    ck_assert(is_there(""));
    shoal_spools_set_store(&outbox.spools, head.store);
    expect_sent(0, 10);
    ck_assert(!is_there(""));
    shoal_outbox_finish(&outbox);
}
END_TEST

START_TEST(what_does_not_fit_into_files_stays_in_memory) {
    outbox_start(100000, head.store);
    outbox_add(0, 40, 10000);
    ck_assert(!shoal_outbox_spill(&outbox, 1));
    ck_assert_uint_gt(outbox.waiting.n, 0);
    ck_assert_uint_lt(outbox.waiting.n, 40);
    expect_sent(0, 40);
    shoal_outbox_finish(&outbox);
}
END_TEST

/* What is in the file is sent as long as the worker lives. */
START_TEST(a_directory_that_was_taken_away_is_made_again) {
    outbox_start(1 << 30, head.store);
    outbox_add(0, 10, 10);
    ck_assert(shoal_outbox_spill(&outbox, 1));
    shoal_scratch_remove_tree(outbox.spools.directory);
    outbox_add(10, 10, 10);
    ck_assert(shoal_outbox_spill(&outbox, 1));
    ck_assert_uint_eq(outbox.spools.n, 2);
    ck_assert_int_eq(access(shoal_spool_path(outbox.spools.all[1]), F_OK), 0);
    expect_sent(0, 20);
    shoal_outbox_finish(&outbox);
}
END_TEST

START_TEST(a_directory_that_cannot_be_leaves_all_in_memory) {
    outbox_start(1 << 30, head.store);
    put("a file", 6);
    outbox.spools.directory = path;
    outbox_add(0, 10, 10);
    ck_assert(!shoal_outbox_spill(&outbox, 1));
    expect_sent(0, 10);
    shoal_outbox_finish(&outbox);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("spool");
    TCase *tests = tcase_create("spool");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, commits_come_back_in_order_until_they_are_accepted);
    tcase_add_test(tests, what_was_written_is_found_again);
    tcase_add_test(tests, leases_are_told_as_ranges);
    tcase_add_test(tests, one_that_is_full_says_so_and_keeps_what_it_has);
    tcase_add_test(tests, one_that_is_locked_is_somebody_elses);
    tcase_add_loop_test(tests, what_is_no_private_file_is_left_alone, 0,
                        (int)SHOAL_COUNT(changes));
    tcase_add_test(tests, torn_at_every_byte);
    tcase_add_test(tests, every_flipped_bit_is_found);
    tcase_add_loop_test(tests, garbage_behind_it_is_set_aside, 0,
                        (int)SHOAL_COUNT(tails));
    tcase_add_test(tests, another_version_is_set_aside);
    tcase_add_test(tests, what_is_damaged_later_ends_it);
    tcase_add_test(tests, memory_and_files_are_one_line);
    tcase_add_test(tests, what_a_worker_left_goes_first);
    tcase_add_test(tests, outcomes_of_another_store_stay);
    tcase_add_test(tests, what_does_not_fit_into_files_stays_in_memory);
    tcase_add_test(tests, a_directory_that_was_taken_away_is_made_again);
    tcase_add_test(tests, a_directory_that_cannot_be_leaves_all_in_memory);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
