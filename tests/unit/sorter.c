#include "client/sorter.h"
#include "common/cleanup.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct shoal_sorter *make(size_t memory) {
    struct shoal_sorter *sorter;
    ck_assert_int_eq(shoal_sorter_create(memory, &sorter, NULL), SHOAL_OK);
    return sorter;
}

static void add(struct shoal_sorter *sorter, int64_t task, const char *text) {
    ck_assert_int_eq(shoal_sorter_add(sorter, task, text, strlen(text), NULL), SHOAL_OK);
}

/* The next task, -1 at the end; its bytes as text. */
static int64_t next(struct shoal_sorter *sorter, char *text, size_t room) {
    bool more;
    int64_t task;
    const char *bytes;
    size_t len;
    ck_assert_int_eq(shoal_sorter_next(sorter, &more, &task, &bytes, &len, NULL),
                     SHOAL_OK);
    if (!more)
        return -1;
    ck_assert_uint_lt(len, room);
    memcpy(text, bytes, len);
    text[len] = '\0';
    return task;
}

static void start(struct shoal_sorter *sorter) {
    ck_assert_int_eq(shoal_sorter_start(sorter, NULL), SHOAL_OK);
}

static const size_t memories[] = {SHOAL_SORTER_MEMORY, 4096, 100, 1};

START_TEST(nothing_comes_out_of_nothing) {
    char text[8];
    struct shoal_sorter *sorter = make(memories[_i]);
    start(sorter);
    ck_assert_int_eq(next(sorter, text, sizeof(text)), -1);
    ck_assert_int_eq(next(sorter, text, sizeof(text)), -1);
    shoal_sorter_destroy(sorter);
    shoal_sorter_destroy(NULL);
}
END_TEST

/* Tasks 0 to 999, each three times in an order that jumps, the third time with another
 * text. */
START_TEST(of_each_task_the_last_comes_out_in_order) {
    char text[64], wanted[64];
    enum { TASKS = 1000 };
    struct shoal_sorter *sorter = make(memories[_i]);
    for (int64_t i = 0; i < 3 * TASKS; i++) {
        int64_t task = i * 389 % TASKS;
        snprintf(text, sizeof(text), "row %d of round %d", (int)task, (int)(i / TASKS));
        add(sorter, task, text);
    }
    start(sorter);
    for (int64_t task = 0; task < TASKS; task++) {
        snprintf(wanted, sizeof(wanted), "row %d of round 2", (int)task);
        ck_assert_int_eq(next(sorter, text, sizeof(text)), task);
        ck_assert_str_eq(text, wanted);
    }
    ck_assert_int_eq(next(sorter, text, sizeof(text)), -1);
    shoal_sorter_destroy(sorter);
}
END_TEST

START_TEST(numbers_of_replaced_records_are_told) {
    static const int64_t tasks[] = {5, 3, 5, 9, 3, 5, INT64_MAX, 0};
    static const int64_t replaced[] = {0, 1, 2, -1};
    char text[8];
    struct shoal_sorter *sorter = make(memories[_i]), *other = make(memories[_i]);
    shoal_sorter_tell(sorter, other);
    for (size_t i = 0; i < SHOAL_COUNT(tasks); i++)
        add(sorter, tasks[i], "");
    start(sorter);
    while (next(sorter, text, sizeof(text)) >= 0)
        ck_assert_str_eq(text, "");
    start(other);
    for (size_t i = 0; i < SHOAL_COUNT(replaced); i++)
        ck_assert_int_eq(next(other, text, sizeof(text)), replaced[i]);
    shoal_sorter_destroy(sorter);
    shoal_sorter_destroy(other);
}
END_TEST

/* Records of many lengths, longer than what is read at a time, with any bytes in them. */
START_TEST(long_records_come_out_whole) {
    enum { RECORDS = 60, LONGEST = 40000 };
    static unsigned char bytes[LONGEST];
    struct shoal_sorter *sorter = make(memories[_i]);
    for (int64_t i = RECORDS; i-- > 0;) {
        memset(bytes, (int)i * 7, sizeof(bytes));
        ck_assert_int_eq(shoal_sorter_add(sorter, i, bytes, (size_t)(i * i * 11), NULL),
                         SHOAL_OK);
    }
    start(sorter);
    for (int64_t i = 0; i < RECORDS; i++) {
        bool more;
        int64_t task;
        const char *got;
        size_t len;
        ck_assert_int_eq(shoal_sorter_next(sorter, &more, &task, &got, &len, NULL),
                         SHOAL_OK);
        memset(bytes, (int)i * 7, sizeof(bytes));
        ck_assert(more);
        ck_assert_int_eq(task, i);
        ck_assert_uint_eq(len, (size_t)(i * i * 11));
        ck_assert(len == 0 || memcmp(got, bytes, len) == 0);
    }
    shoal_sorter_destroy(sorter);
}
END_TEST

static int entries(const char *path) {
    int n = 0;
    DIR *directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n - 2;
}

START_TEST(its_file_has_no_name) {
    char path[] = "/tmp/shoal-test-XXXXXX", text[8];
    ck_assert_ptr_nonnull(mkdtemp(path));
    setenv("TMPDIR", path, 1);
    struct shoal_sorter *sorter = make(1);
    for (int64_t i = 10; i-- > 0;)
        add(sorter, i, "x");
    start(sorter);
    ck_assert_int_eq(entries(path), 0);
    ck_assert_int_eq(rmdir(path), 0);
    for (int64_t i = 0; i < 10; i++)
        ck_assert_int_eq(next(sorter, text, sizeof(text)), i);
    shoal_sorter_destroy(sorter);
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_named) {
    struct shoal_error err = {0};
    struct shoal_sorter *sorter = make(1);
    setenv("TMPDIR", "/nonexistent/shoal", 1);
    add(sorter, 1, "x");
    ck_assert_int_eq(shoal_sorter_add(sorter, 2, "x", 1, &err), SHOAL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, "'/nonexistent/shoal'"));
    ck_assert_ptr_nonnull(strstr(err.text, "TMPDIR"));
    shoal_sorter_destroy(sorter);
}
END_TEST

/* A file that may not grow stands for a full disk. */
START_TEST(a_full_disk_is_reported) {
    struct shoal_error err = {0};
    struct rlimit limit = {4096, 4096};
    enum shoal_status status = SHOAL_OK;
    struct shoal_sorter *sorter = make(1000);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int64_t i = 0; status == SHOAL_OK && i < 10000; i++)
        status = shoal_sorter_add(sorter, i, "some bytes of a row", 19, &err);
    ck_assert_int_eq(status, SHOAL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, strerror(EFBIG)));
    shoal_sorter_destroy(sorter);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sorter");
    TCase *cases = tcase_create("sorter");
    const int n = (int)SHOAL_COUNT(memories);
    tcase_add_loop_test(cases, nothing_comes_out_of_nothing, 0, n);
    tcase_add_loop_test(cases, of_each_task_the_last_comes_out_in_order, 0, n);
    tcase_add_loop_test(cases, numbers_of_replaced_records_are_told, 0, n);
    tcase_add_loop_test(cases, long_records_come_out_whole, 0, n);
    tcase_add_test(cases, its_file_has_no_name);
    tcase_add_test(cases, a_directory_that_is_not_there_is_named);
    tcase_add_test(cases, a_full_disk_is_reported);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
