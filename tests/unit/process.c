#include "tests/support/process.h"

#include "common/cleanup.h"
#include "tests/support/wait.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_MS = 10000 };

#define SHELL(script) ((const char *const[]){"sh", "-c", script, NULL})

static const struct {
    const char *script;
    int exit;
    const char *out;
    const char *err;
} runs[] = {
    {"echo out; echo err >&2; exit 3", 3, "out\n", "err\n"},
    {"printf %s a; (printf %s b); printf %s c", 0, "abc", ""},
    {"kill -9 $$", -SIGKILL, "", ""},
    {"cat", 0, "given", ""},
    {"echo ${ADDED-none} ${TAKEN-none}", 0, "x y none\n", ""},
    {"pwd", 0, "/\n", ""},
};

START_TEST(a_program_ends_and_tells) {
    setenv("TAKEN", "here", 1);
    struct test_program program = {
        .argv = SHELL(runs[_i].script),
        .environment = (const char *const[]){"ADDED=x y", "TAKEN", NULL},
        .directory = "/",
        .input = "given",
    };
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = NULL;
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = NULL;
    ck_assert_int_eq(test_run(&program, LIMIT_MS, &out, &err), runs[_i].exit);
    ck_assert_str_eq(out, runs[_i].out);
    ck_assert_str_eq(err, runs[_i].err);
}
END_TEST

START_TEST(a_program_that_is_missing_exits_with_127) {
    const char *const argv[] = {"/nowhere/at/all", NULL};
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = NULL;
    ck_assert_int_eq(test_run(&(struct test_program){.argv = argv}, LIMIT_MS, NULL, &err),
                     127);
    ck_assert_ptr_nonnull(strstr(err, "/nowhere/at/all"));
}
END_TEST

START_TEST(output_has_a_limit) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = NULL;
    struct test_program program = {.argv = SHELL("head -c 20000000 /dev/zero 2>&-")};
    ck_assert_int_eq(test_run(&program, LIMIT_MS, &out, NULL), 1);
}
END_TEST

START_TEST(output_is_there_while_the_program_runs) {
    struct test_process process;
    test_process_start(
        &process, &(struct test_program){.argv = SHELL("echo ready; exec sleep 1000")});
    for (bool ready = false; !ready; test_pause(NULL)) {
        SHOAL_CLEANUP(shoal_cleanup_free) char *out = test_process_out(&process);
        ready = strcmp(out, "ready\n") == 0;
    }
    ck_assert(!test_process_has_ended(&process));
    test_process_signal(&process, SIGTERM);
    ck_assert_int_eq(test_process_wait(&process, LIMIT_MS), -SIGTERM);
    ck_assert_int_eq(process.pid, 0);
    test_process_finish(&process);
}
END_TEST

/* sh, a subshell of it, and what that runs. */
static struct test_pids pids;

static size_t count_descendants(pid_t root) {
    test_descendants(root, &pids);
    return pids.n;
}

static size_t count_with(const char *assignment) {
    test_processes_with(assignment, &pids);
    return pids.n;
}

START_TEST(descendants_are_all_that_came_of_a_process) {
    struct test_process process;
    const char *const environment[] = {"SHOAL_TEST_MARK=tree", NULL};
    test_process_start(
        &process, &(struct test_program){.argv = SHELL("(sleep 1000; :) & sleep 1000; :"),
                                         .environment = environment});
    wait_until(count_descendants(process.pid) == 3, LIMIT_MS);
    /* One that is about to run another program has no environment for a moment. */
    wait_until(count_with("SHOAL_TEST_MARK=tree") == 4, LIMIT_MS);
    ck_assert_uint_eq(count_with("SHOAL_TEST_MARK=tre"), 0);

    count_with("SHOAL_TEST_MARK=tree");
    for (size_t i = 0; i < pids.n; i++)
        kill(pids.pid[i], SIGKILL);
    test_process_finish(&process);
    test_none_left("SHOAL_TEST_MARK=tree", LIMIT_MS);
}
END_TEST

START_TEST(a_daemon_is_found_by_its_environment) {
    const char *const environment[] = {"SHOAL_TEST_MARK=daemon", NULL};
    struct test_program program = {.argv = SHELL("setsid sleep 1000 &"),
                                   .environment = environment};
    ck_assert_int_eq(test_run(&program, LIMIT_MS, NULL, NULL), 0);
    wait_until(count_with("SHOAL_TEST_MARK=daemon") == 1, LIMIT_MS);
    kill(pids.pid[0], SIGKILL);
    test_none_left("SHOAL_TEST_MARK=daemon", LIMIT_MS);
}
END_TEST

static void fill(const char *directory) {
    struct test_program program = {
        .argv = SHELL("mkdir -p a/b && echo x > a/b/c && ln -s / a/root"),
        .directory = directory,
    };
    ck_assert_int_eq(test_run(&program, LIMIT_MS, NULL, NULL), 0);
}

START_TEST(a_directory_goes_with_all_in_it) {
    struct test_directory first, second;
    test_directory_create(&first);
    test_directory_create(&second);
    fill(first.path);
    fill(second.path);
    test_directory_destroy(&first);
    test_directory_destroy(&second);
    ck_assert_int_ne(access(first.path, F_OK), 0);
    ck_assert_int_ne(access(second.path, F_OK), 0);
}
END_TEST

START_TEST(a_directory_goes_when_its_test_dies) {
    int ends[2];
    struct test_directory directory;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t other = fork();
    if (other == 0) {
        test_directory_create(&directory);
        fill(directory.path);
        _exit(write(ends[1], &directory, sizeof(directory)) < 0);
    }
    ck_assert_int_eq(read(ends[0], &directory, sizeof(directory)), sizeof(directory));
    wait_until(access(directory.path, F_OK) != 0, LIMIT_MS);
}
END_TEST

START_TEST(built_programs_are_beside_the_tests) {
    struct test_path self = test_built("tests/unit/process");
    ck_assert_int_eq(access(self.text, X_OK), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("process");
    TCase *all = tcase_create("process");
    tcase_set_timeout(all, 30);
    tcase_add_loop_test(all, a_program_ends_and_tells, 0, (int)SHOAL_COUNT(runs));
    tcase_add_test(all, a_program_that_is_missing_exits_with_127);
    tcase_add_test(all, output_has_a_limit);
    tcase_add_test(all, output_is_there_while_the_program_runs);
    tcase_add_test(all, descendants_are_all_that_came_of_a_process);
    tcase_add_test(all, a_daemon_is_found_by_its_environment);
    tcase_add_test(all, a_directory_goes_with_all_in_it);
    tcase_add_test(all, a_directory_goes_when_its_test_dies);
    tcase_add_test(all, built_programs_are_beside_the_tests);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
