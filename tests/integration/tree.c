/* Sweeping up what tasks leave behind, with real processes. */
#include "worker/tree.h"

#include "common/cleanup.h"
#include "tests/support/process.h"
#include "tests/support/wait.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_MS = 20000 };

static char mark[64]; /* what is in the environment of all that a test starts */

static void setup(void) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    snprintf(mark, sizeof(mark), "TREE_TEST=%d", (int)getpid());
}

static void teardown(void) {
    ck_assert(shoal_tree_kill_all(LIMIT_MS));
    test_none_left(mark, LIMIT_MS);
}

/* Starts a program whose environment is these words; NULL behind the last. */
static pid_t start(const char *const *argv, const char *const *environment) {
    pid_t parent = getpid();
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        execve(argv[0], (char *const *)argv, (char *const *)environment);
    _exit(127);
}

/* Whether it is its program and waits: before, its environment may not be its own. */
static bool has_started(pid_t pid, const char *program) {
    char path[64], line[512] = "", expected[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    snprintf(expected, sizeof(expected), " (%s) S ", program);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "re");
    return file != NULL && fgets(line, sizeof(line), file) != NULL &&
           strstr(line, expected) != NULL;
}

static pid_t sleeper(const char *const *environment) {
    const char *const argv[] = {"/bin/sleep", "60", NULL};
    pid_t pid = start(argv, environment);
    wait_until(has_started(pid, "sleep"), LIMIT_MS);
    return pid;
}

/* What is started later has a later start time, which is counted in 1/100 s. */
static void let_the_clock_tick(void) {
    int64_t begin = test_clock_ms();
    wait_until(test_clock_ms() > begin + 25, LIMIT_MS);
}

static bool has_ended(pid_t pid) {
    return waitpid(pid, NULL, WNOHANG) == pid;
}

static bool is_running(pid_t pid) {
    return waitpid(pid, NULL, WNOHANG) == 0;
}

#define TASK "SHOAL_JOB=0123456789ab", "SHOAL_TASK=5", "SHOAL_SLOT=1"

static const char *const of_task[] = {TASK, NULL};
static const char *const nothing[] = {NULL};

static const struct {
    const char *environment[6];
    bool before; /* it began before all that runs did */
    bool ended;
} left[] = {
    {{TASK, NULL}, false, false},
    {{TASK, NULL}, true, false},
    {{"X=1", TASK, "Y=2", NULL}, false, false},
    {{"SHOAL_JOB=0123456789ac", "SHOAL_TASK=5", "SHOAL_SLOT=1", NULL}, false, true},
    {{"SHOAL_JOB=0123456789ab", "SHOAL_TASK=50", "SHOAL_SLOT=1", NULL}, false, true},
    {{"SHOAL_JOB=0123456789ab", "SHOAL_TASK=5", "SHOAL_SLOT=2", NULL}, false, true},
    {{"SHOAL_JOB=0123456789ab", "SHOAL_TASK=5", NULL}, false, true},
    {{"XSHOAL_TASK=5", NULL}, false, false}, /* says nothing */
    {{NULL}, false, false},                  /* may be of what runs */
    {{NULL}, true, true},
    {{"X=1", NULL}, true, true},
};

START_TEST(what_no_running_task_can_have_left_is_ended) {
    pid_t early = left[_i].before ? sleeper(left[_i].environment) : 0;
    let_the_clock_tick();
    pid_t task = sleeper(of_task);
    let_the_clock_tick();
    pid_t orphan = left[_i].before ? early : sleeper(left[_i].environment);
    struct shoal_tree_task tasks[] = {
        {.slot = 0, .folder = "/nowhere"}, /* an idle slot */
        {.pid = task, .slot = 1, .job = "0123456789ab", .index = 5, .folder = "/nowhere"},
    };
    ck_assert_uint_eq(shoal_tree_sweep(tasks, 2), left[_i].ended ? 1 : 0);
    if (left[_i].ended)
        wait_until(has_ended(orphan), LIMIT_MS);
    else
        ck_assert(is_running(orphan));
    ck_assert(is_running(task));
    ck_assert_uint_eq(shoal_tree_sweep(tasks, 2), 0);
}
END_TEST

START_TEST(a_tasks_own_process_stays_whatever_it_says) {
    pid_t task = sleeper(nothing);
    struct shoal_tree_task tasks[] = {{.pid = task,
                                       .slot = 1,
                                       .job = "0123456789ab",
                                       .index = 5,
                                       .folder = "/nowhere"}};
    ck_assert_uint_eq(shoal_tree_sweep(tasks, 1), 0);
    ck_assert(is_running(task));
}
END_TEST

START_TEST(without_tasks_every_child_is_ended) {
    pid_t some[] = {sleeper(nothing), sleeper(of_task), sleeper(nothing)};
    ck_assert_uint_eq(shoal_tree_sweep(NULL, 0), SHOAL_COUNT(some));
    for (size_t i = 0; i < SHOAL_COUNT(some); i++)
        wait_until(has_ended(some[i]), LIMIT_MS);
    ck_assert_uint_eq(shoal_tree_sweep(NULL, 0), 0);
}
END_TEST

START_TEST(the_dead_are_not_counted) {
    siginfo_t info;
    const char *const argv[] = {"/bin/true", NULL};
    pid_t pid = start(argv, nothing);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert_uint_eq(shoal_tree_sweep(NULL, 0), 0);
    ck_assert(has_ended(pid));
}
END_TEST

START_TEST(names_cannot_deceive) {
    char name[] = "x) S 1 1 (1";
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, name);
        for (;;)
            pause();
    }
    wait_until(has_started(pid, name), LIMIT_MS);
    let_the_clock_tick();
    struct shoal_tree_task tasks[] = {{.pid = sleeper(of_task),
                                       .slot = 1,
                                       .job = "0123456789ab",
                                       .index = 5,
                                       .folder = "/nowhere"}};
    ck_assert_uint_eq(shoal_tree_sweep(tasks, 1), 1);
    wait_until(has_ended(pid), LIMIT_MS);
}
END_TEST

/* ---- all of them */

static const struct {
    const char *script;
    size_t least; /* so many processes at least, before it is ended */
} trees[] = {
    {"sleep 60", 1},
    {"trap '' TERM; sleep 60 & sleep 61 & wait", 3},
    {"setsid sh -c 'setsid sh -c \"setsid sleep 60 & sleep 60\" & sleep 60' & sleep 60",
     6},
    {"(sleep 60 &) ; (setsid sleep 60 &); exit", 2},
    {"kill -STOP $$", 1},
    {"i=0; while [ $i -lt 100 ]; do setsid sleep 60 & i=$((i+1)); done; wait", 100},
    {"while :; do setsid sleep 60 & done", 50}, /* and goes on */
};

static size_t n_marked(void) {
    static struct test_pids pids;
    test_processes_with(mark, &pids);
    return pids.n;
}

START_TEST(a_whole_tree_is_ended) {
    const char *const argv[] = {"/bin/sh", "-c", trees[_i].script, NULL};
    const char *const environment[] = {mark, "PATH=/usr/bin:/bin", NULL};
    start(argv, environment);
    wait_until(n_marked() >= trees[_i].least, LIMIT_MS);
    ck_assert(shoal_tree_kill_all(LIMIT_MS));
    test_none_left(mark, 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(without_children_nothing_is_waited_for) {
    int64_t begin = test_clock_ms();
    ck_assert(shoal_tree_kill_all(LIMIT_MS));
    ck_assert_int_lt(test_clock_ms() - begin, LIMIT_MS / 2);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tree");
    TCase *tcase = tcase_create("tree");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_no_running_task_can_have_left_is_ended, 0,
                        SHOAL_COUNT(left));
    tcase_add_test(tcase, a_tasks_own_process_stays_whatever_it_says);
    tcase_add_test(tcase, without_tasks_every_child_is_ended);
    tcase_add_test(tcase, the_dead_are_not_counted);
    tcase_add_test(tcase, names_cannot_deceive);
    tcase_add_loop_test(tcase, a_whole_tree_is_ended, 0, SHOAL_COUNT(trees));
    tcase_add_test(tcase, without_children_nothing_is_waited_for);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
