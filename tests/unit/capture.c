#include "worker/capture.h"

#include "common/cleanup.h"
#include "tests/support/wait.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct event_base *base;
static struct shoal_capture capture;

static void setup(void) {
    struct shoal_error err = {.status = SHOAL_OK};
    base = event_base_new();
    ck_assert_ptr_nonnull(base);
    ck_assert_int_eq(shoal_capture_init(&capture, base, &err), SHOAL_OK);
}

static void teardown(void) {
    shoal_capture_finish(&capture);
    event_base_free(base);
}

static int open_capture(size_t limit) {
    struct shoal_error err = {.status = SHOAL_OK};
    int writer = -1;
    ck_assert_msg(shoal_capture_open(&capture, limit, &writer, &err) == SHOAL_OK, "%s",
                  err.text);
    return writer;
}

/* The k-th byte that a test prints: no period that a ring could hide. */
static char byte_at(size_t k) {
    return (char)('!' + (k * 7 + k / 90 + k / 4096) % 90);
}

static void fill(char *bytes, size_t from, size_t len) {
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(from + i);
}

static void assert_holds(size_t limit, size_t total) {
    size_t len = 0, expected = total < limit ? total : limit;
    ck_assert_uint_eq(capture.total, total);
    for (int again = 0; again < 2; again++) { /* to ask changes nothing */
        const char *end = shoal_capture_end(&capture, &len);
        ck_assert_uint_eq(len, expected);
        for (size_t i = 0; i < len; i++)
            ck_assert_int_eq(end[i], byte_at(total - expected + i));
    }
    for (size_t i = 0; i < total && i < SHOAL_CAPTURE_HEAD; i++)
        ck_assert_int_eq(capture.head[i], byte_at(i));
}

static const struct {
    size_t limit, total, chunk;
} prints[] = {
    {100, 0, 1},
    {100, 1, 1},
    {100, 99, 7},
    {100, 100, 7},
    {100, 101, 7},
    {100, 199, 100},
    {100, 200, 100},
    {100, 201, 101},
    {100, 1000, 999},
    {1, 500, 3},
    {0, 0, 1},
    {0, 1000, 100},
    {256, 256, 255},
    {300, 299, 299},
    {65536, 65536, 999},
    {65536, 65537, 4096},
    {65536, 300000, 60000},
    {2048, 300000, 60000},
    {65536, 1 << 20, 1 << 16},
};

START_TEST(end_and_beginning_are_kept) {
    size_t limit = prints[_i].limit, total = prints[_i].total, chunk = prints[_i].chunk;
    SHOAL_CLEANUP(shoal_cleanup_free) char *bytes = malloc(chunk);
    int writer = open_capture(limit);
    for (size_t at = 0; at < total; at += chunk) {
        size_t len = total - at < chunk ? total - at : chunk;
        fill(bytes, at, len);
        ck_assert_int_eq(write(writer, bytes, len), (ssize_t)len);
        loop_until(base, capture.total == at + len, 5000);
    }
    close(writer);
    shoal_capture_close(&capture);
    assert_holds(limit, total);
}
END_TEST

START_TEST(what_is_in_the_pipe_is_taken_at_the_close) {
    char bytes[5000];
    int writer = open_capture(6000);
    fill(bytes, 0, sizeof(bytes));
    ck_assert_int_eq(write(writer, bytes, sizeof(bytes)), sizeof(bytes));
    shoal_capture_close(&capture); /* the writer stays: a daemon that was left behind */
    assert_holds(6000, sizeof(bytes));
    close(writer);
}
END_TEST

START_TEST(a_writer_without_end_does_not_hold_the_close) {
    int writer = open_capture(1000);
    pid_t pid = fork();
    if (pid == 0) {
        close(capture.fd);
        static char bytes[65536];
        while (write(writer, bytes, sizeof(bytes)) > 0)
            ;
        _exit(0);
    }
    close(writer);
    loop_until(base, capture.total > 1 << 20, 5000);
    int64_t begin = test_clock_ms();
    shoal_capture_close(&capture);
    ck_assert_int_lt(test_clock_ms() - begin, 2000);
    loop_until(base, waitpid(pid, NULL, WNOHANG) == pid, 5000); /* by SIGPIPE */
}
END_TEST

START_TEST(an_end_is_no_reason_to_wake_up) {
    int writer = open_capture(1000);
    close(writer);
    loop_until(base, !event_pending(capture.event, EV_READ, NULL), 5000);
    shoal_capture_close(&capture);
    assert_holds(1000, 0);
}
END_TEST

static const size_t limits[] = {10, 10, 50, 5, 0, 50};

START_TEST(each_open_begins_anew) {
    char bytes[40];
    fill(bytes, 0, sizeof(bytes));
    for (size_t i = 0; i < SHOAL_COUNT(limits); i++) {
        int writer = open_capture(limits[i]);
        ssize_t len = (ssize_t)(sizeof(bytes) - i);
        ck_assert_int_eq(write(writer, bytes, (size_t)len), len);
        close(writer);
        shoal_capture_close(&capture);
        assert_holds(limits[i], (size_t)len);
    }
}
END_TEST

static const struct {
    size_t limit, size;
} files[] = {
    {100, 1}, {100, 99}, {100, 100}, {100, 101}, {100, 5000}, {65536, 200000}, {0, 300},
};

START_TEST(a_file_takes_the_place_of_what_came) {
    size_t limit = files[_i].limit, size = files[_i].size;
    SHOAL_CLEANUP(shoal_cleanup_free) char *bytes = malloc(size);
    int writer = open_capture(limit);
    int fd = memfd_create("result", MFD_CLOEXEC);
    ck_assert_int_eq(write(writer, "printed", 7), 7);
    close(writer);
    shoal_capture_close(&capture);
    fill(bytes, 0, size);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    shoal_capture_read_file(&capture, fd, size);
    close(fd);
    assert_holds(limit, size);
}
END_TEST

START_TEST(a_file_that_shrinks_gives_what_it_has) {
    int fd = memfd_create("result", MFD_CLOEXEC);
    size_t len = 0;
    close(open_capture(100));
    shoal_capture_close(&capture);
    ck_assert_int_eq(write(fd, "abc", 3), 3);
    shoal_capture_read_file(&capture, fd, 50);
    const char *end = shoal_capture_end(&capture, &len);
    ck_assert_uint_eq(capture.total, 3);
    ck_assert_uint_eq(len, 3);
    ck_assert_mem_eq(end, "abc", 3);
    close(fd);
}
END_TEST

START_TEST(there_is_room_for_a_mark_in_front) {
    size_t len = 0;
    int writer = open_capture(3);
    ck_assert_int_eq(write(writer, "abcdef", 6), 6);
    close(writer);
    shoal_capture_close(&capture);
    char *end = shoal_capture_end(&capture, &len);
    memset(end - SHOAL_CAPTURE_SPARE, '-', SHOAL_CAPTURE_SPARE);
    ck_assert_mem_eq(end - 2, "--def", 5);
}
END_TEST

START_TEST(both_ends_close_on_exec) {
    int writer = open_capture(10);
    ck_assert_int_eq(fcntl(writer, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(capture.fd, F_GETFD), FD_CLOEXEC);
    close(writer);
}
END_TEST

START_TEST(without_descriptors_it_says_so_and_works_later) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct rlimit before, none;
    int writer = -1, next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = (rlim_t)next + 1; /* room for one */
    setrlimit(RLIMIT_NOFILE, &none);
    enum shoal_status status = shoal_capture_open(&capture, 10, &writer, &err);
    setrlimit(RLIMIT_NOFILE, &before);
    ck_assert_int_eq(status, SHOAL_SYSTEM);
    ck_assert_str_eq(err.text, "cannot make a pipe: Too many open files");
    ck_assert_int_eq(writer, -1);
    shoal_capture_close(&capture);
    close(open_capture(10));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("capture");
    TCase *tcase = tcase_create("capture");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, end_and_beginning_are_kept, 0, SHOAL_COUNT(prints));
    tcase_add_test(tcase, what_is_in_the_pipe_is_taken_at_the_close);
    tcase_add_test(tcase, a_writer_without_end_does_not_hold_the_close);
    tcase_add_test(tcase, an_end_is_no_reason_to_wake_up);
    tcase_add_test(tcase, each_open_begins_anew);
    tcase_add_loop_test(tcase, a_file_takes_the_place_of_what_came, 0,
                        SHOAL_COUNT(files));
    tcase_add_test(tcase, a_file_that_shrinks_gives_what_it_has);
    tcase_add_test(tcase, there_is_room_for_a_mark_in_front);
    tcase_add_test(tcase, both_ends_close_on_exec);
    tcase_add_test(tcase, without_descriptors_it_says_so_and_works_later);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
