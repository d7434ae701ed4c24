/* Programs whose n-th allocation or system call fails: a sample of what
 * tests/chaos/failing.py does at length. What is preloaded to make them fail stands in
 * the place of AddressSanitizer's own functions, so a build with it leaves them out. */
#include "tests/support/failing.h"
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NTH_MAX = 2000,
#ifdef __SANITIZE_ADDRESS__
    PRELOADS = 0,
#else
    PRELOADS = 1,
#endif
};

static void setup(void) {
    daemons_start(NULL);
}

static void setup_that_saves(void) {
    static const char *const args[] = {"--appendonly", "yes", "--appendfsync", "always",
                                       NULL};
    daemons_start(args);
}

static void teardown(void) {
    daemons_finish();
}

/* What stands in front of a program that is to fail; the report is new. Behind it stands
 * LeakSanitizer, which writes a file when memory is lost. */
static const char *fault(const char *program, const char *what, int nth) {
    static char words[PATH_MAX + 512];
    ok("rm -f report leak.*");
    snprintf(words, sizeof(words),
             "env LD_PRELOAD=%s:liblsan.so.0 FAILING=%s:%d FAILING_IN=%s "
             "FAILING_REPORT=report LSAN_OPTIONS=log_path=%s/leak:exitcode=0:"
             "handle_segv=0:handle_abort=0",
             test_built("tests/support/failing.so").text, what, nth, program,
             daemons.home.path);
    return words;
}

static struct failing_report read_report(void) {
    static struct failing_report report;
    char path[256];
    snprintf(path, sizeof(path), "%s/report", daemons.home.path);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, &report, sizeof(report)), sizeof(report));
    return report;
}

static bool has_fired(void) {
    struct failing_report report = read_report();
    return report.fired > 0;
}

static uint64_t counted(void) {
    struct failing_report report = read_report();
    return report.counted;
}

/* By itself: the shell tells of a signal so. */
static bool has_ended(const struct said *said) {
    return said->exit >= 0 && said->exit < 128;
}

/* ---- submitting */

/* The job is there once or not at all, and whole. */
static void expect_submitted(const struct said *said, const char *fault_words) {
    const json_t *jobs = json_lines(ok("shoal list --json"));
    size_t n = json_array_size(jobs);
    ck_assert_msg(has_ended(said), "%s: ended with %d", fault_words, said->exit);
    ck_assert_msg(said->exit == 0 ? n == 1 : n <= 1, "%s: %d, and %zu jobs", fault_words,
                  said->exit, n);
    ck_assert_msg(said->exit == 0 || *said->err != '\0', "%s: silent", fault_words);
    expect_audit();
    if (n == 1)
        ck_assert_int_eq(int_in(json_array_get(jobs, 0), "total"), 3);
    ok("shoal list --json | grep -o '\"id\":\"[0-9a-z]*' | cut -d'\"' -f4 | "
       "while read -r id; do shoal cancel \"$id\"; shoal forget \"$id\"; done");
}

static const struct {
    const char *what;
    int step;
} samples[] = {{"alloc", 7}, {"call", 3}, {"eintr", 3}, {"short", 1}};

START_TEST(submit_that_lacks_something_leaves_a_whole_job_or_none) {
    bool fired = true;
    for (int nth = 1; fired && nth < NTH_MAX; nth += samples[_i].step) {
        const char *words = fault("shoal", samples[_i].what, nth);
        struct said said = sh("%s shoal submit -p i=1:3 -- echo i={i}", words);
        expect_submitted(&said, words);
        fired = has_fired();
    }
    ck_assert(!fired);
}
END_TEST

/* A command without one of its words would be another one. */
START_TEST(command_is_submitted_with_all_of_its_words) {
    for (int nth = 60; nth < 160; nth++) {
        const char *words = fault("shoal", "alloc", nth);
        struct said said = sh("%s shoal submit -- echo a b c d", words);
        if (said.exit != 0)
            continue;
        const char *command = ok("shoal show %.12s 0 | grep ^command", said.out);
        ck_assert_msg(strstr(command, "echo a b c d") != NULL, "%s: %s", words, command);
    }
}
END_TEST

/* ---- looking */

static struct said look(const char *command, int nth) {
    struct said said = sh("%s %s", fault("shoal", "alloc", nth), command);
    ck_assert_msg(has_ended(&said), "alloc:%d: %s ended with %d", nth, command,
                  said.exit);
    ck_assert_msg(said.exit == 0 || *said.err != '\0', "alloc:%d: silent", nth);
    return said;
}

/* OpenSSL crashes where it is used although it could not begin. */
START_TEST(command_without_memory_for_openssl_says_so) {
    char show[64];
    bool is_said = false;
    snprintf(show, sizeof(show), "shoal show %s 0", ok("shoal submit -- true"));
    for (int nth = 20; nth < 200; nth += 3) {
        struct said said = look(show, nth);
        is_said |= strstr(said.err, "no memory left for OpenSSL") != NULL;
    }
    ck_assert(is_said);
}
END_TEST

/* The text of the functions is one answer, which leaves a large buffer behind. */
START_TEST(doctor_without_memory_behind_a_large_answer_says_so) {
    bool fired = true;
    ok("shoal submit -- true");
    for (int nth = 850; fired && nth < NTH_MAX; nth++) {
        look("shoal doctor", nth);
        fired = has_fired();
    }
    ck_assert(!fired);
}
END_TEST

START_TEST(table_is_as_it_should_be_or_not_printed) {
    struct test_process worker;
    char results[64];
    worker_start(&worker, "");
    const char *job = ok("shoal submit -p i=1:3 -- echo {i}");
    snprintf(results, sizeof(results), "shoal results %s", job);
    sh_exit(0, "shoal wait %s", job);
    worker_end(&worker);
    SHOAL_CLEANUP(shoal_cleanup_free) char *whole = strdup(ok("%s", results));
    bool fired = true;
    for (int nth = 500; fired && nth < NTH_MAX; nth++) {
        struct said said = look(results, nth);
        fired = has_fired();
        ck_assert_msg(said.exit != 0 || strncmp(said.out, whole, strlen(whole)) == 0,
                      "alloc:%d: %s", nth, said.out);
    }
    ck_assert(!fired);
}
END_TEST

/* ---- lines of stdin */

/* Its job is closed, whatever lacks for a moment. */
START_TEST(run_of_stdin_ends_and_leaves_no_open_job) {
    struct test_process worker;
    worker_start(&worker, "");
    for (int nth = 180; nth < 220; nth++) {
        const char *words = fault("shoal", "alloc", nth);
        struct said said = sh("printf 'a\\nb\\n' | timeout 20 %s "
                              "shoal run --from - -- echo {}",
                              words);
        ck_assert_msg(has_ended(&said) && said.exit != 124, "%s: %d", words, said.exit);
        ok("shoal list --json | jq -r .id | while read -r id; do "
           "timeout 20 shoal wait $id && shoal forget $id || exit 1; done");
    }
    worker_end(&worker);
}
END_TEST

/* ---- replaying */

static const struct {
    const char *what;
    int exit;
    const char *says;
} replays[] = {
    {"fork", 1, "cannot start 'echo'"},
    {"waitpid", 0, ""}, /* goes on waiting */
    {"mkdtemp", 1, "temporary directory"},
};

START_TEST(replay_says_why_it_cannot) {
    const char *job = ok("shoal submit -- echo fine");
    const char *words = fault("shoal", replays[_i].what, 1);
    struct said said = sh_exit(replays[_i].exit, "%s shoal replay %s 0", words, job);
    ck_assert_msg(strstr(said.err, replays[_i].says) != NULL, "%s", said.err);
    ck_assert(has_fired());
}
END_TEST

/* ---- working */

/* But the pipe by which its keeper hears of its end. */
static void expect_no_leak(const char *what, int nth, bool ends_well) {
    struct failing_report report = read_report();
    ck_assert_msg(files("leak.*") == 0, "%s:%d leaks memory", what, nth);
    ck_assert_msg(!ends_well || report.n_open == 1, "%s:%d leaves open:%s", what, nth,
                  report.open);
}

/* A job that a worker with a fault does, or one behind it. */
static void work_with(const char *what, int nth) {
    struct test_process worker, heir;
    const char *job = ok("shoal submit -p i=1:3 -- sh -c 'echo i={i}; : > $SHOAL_TMP/x'");
    sh_start(&worker, "%s shoal-worker --session-ttl 4s --slots 2",
             fault("shoal-worker/1", what, nth));
    wait_until(test_process_has_ended(&worker) || job_is(job, SHOAL_JOB_SUCCEEDED),
               LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    int exit = test_process_wait(&worker, LIMIT_MS);
    ck_assert_msg(!has_said(&worker, "the worker was killed"), "%s:%d crashes", what,
                  nth);
    /* libevent says itself why it ends a program. */
    ck_assert_msg(exit == 0 || has_said(&worker, "level=error") ||
                      has_said(&worker, "[err]"),
                  "%s:%d is silent", what, nth);
    ck_assert_msg(files("tmp/*") == 0, "%s:%d leaves files", what, nth);
    expect_no_leak(what, nth, exit == 0);
    test_process_finish(&worker);
    if (exit != 0 && !job_is(job, SHOAL_JOB_SUCCEEDED)) {
        worker_start(&heir, "");
        sh_exit(0, "shoal wait %s", job);
        worker_end(&heir);
    }
    expect_each_once(job);
}

START_TEST(worker_without_memory_for_something_loses_nothing) {
    for (int nth = 3 + _i; nth < 480; nth += 24)
        work_with("alloc", nth);
}
END_TEST

static const struct {
    const char *function;
    int nth;
} scarcities[] = {
    {"vfork", 1},      {"pipe2", 1},       {"pipe2", 2},        {"execve", 1},
    {"mkdir", 2},      {"epoll_ctl", 5},   {"socket", 2},       {"connect", 1},
    {"readv", 1},      {"writev", 3},      {"memfd_create", 1}, {"chdir", 1},
    {"dup2", 1},       {"socketpair", 1},  {"fcntl", 2},        {"unlinkat", 1},
    {"openat", 2},     {"epoll_wait", 20}, {"wait4", 1},        {"fcntl64", 2},
    {"getdents64", 1}, {"fstat64", 11},    {"setpgid", 3},      {"prctl", 3},
    {"read", 3},
};

START_TEST(worker_whose_call_fails_loses_nothing) {
    work_with(scarcities[_i].function, scarcities[_i].nth);
}
END_TEST

/* ---- outcomes in a file */

/* Eight tasks end while Redis is away, and worker and keeper are killed. */
static const char *leave_spool(void) {
    struct test_process worker;
    int gate = gate_close("gate");
    worker_start(&worker, "--name w --slots 8");
    const char *job = ok("shoal submit -p i=1:8 -- sh -c ': > began.{i}.$$; "
                         "flock -s gate true; echo i={i}'");
    wait_until(files("began.*") == 8, LIMIT_MS);
    test_server_kill(&daemons.server);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    gate_open(gate);
    wait_until(sh("shoal-worker --status --json | jq -e "
                  "'.outcomes.commits == 8 and .outcomes.memory == 0'")
                       .exit == 0,
               LIMIT_MS);
    worker_kill(&worker);
    return job;
}

static void start_over_spool(struct test_process *worker, const char *what, int nth) {
    sh_start(worker, "%s shoal-worker --session-ttl 4s --name w --slots 8",
             fault("shoal-worker/1", what, nth));
}

/* Of each kind, where the spool is looked at and around; one of them meets it. */
static const struct {
    const char *what;
    int first, last, meets;
} lacks[] = {
    {"alloc", 9, 22, 14}, {"pread64", 1, 2, 2}, {"open64", 1, 6, 3}, {"short", 1, 12, 4}};

/* That a file cannot be read now is no damage. */
START_TEST(spool_that_cannot_be_read_at_once_is_read_later) {
    struct test_process worker;
    const char *job = leave_spool();
    for (int nth = lacks[_i].first; nth <= lacks[_i].last; nth++) {
        start_over_spool(&worker, lacks[_i].what, nth);
        wait_until(has_said(&worker, "Redis is away") || has_said(&worker, "level=error"),
                   LIMIT_MS);
        worker_finish(&worker, worker_pid(&worker));
        ck_assert_msg(files("spool/*.bad") == 0, "%s:%d", lacks[_i].what, nth);
        ck_assert_msg(files("spool/*.spool") == 1, "%s:%d", lacks[_i].what, nth);
    }
    start_over_spool(&worker, lacks[_i].what, lacks[_i].meets);
    test_server_restart(&daemons.server, NULL);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(files("began.*"), 8); /* none ran again */
    expect_each_once(job);
    worker_end(&worker);
}
END_TEST

/* Three directories are made before there is a worker (and two for checkpoints), each in
 * one that is synced then; so is the last, when the worker makes the file in it. The
 * file is synced with its head, and with the outcome. */
static const struct {
    const char *who, *call;
    int syncs;
} syncing[] = {{"shoal-worker", "fsync", 5},
               {"shoal-worker/1", "fsync", 1},
               {"shoal-worker/1", "fdatasync", 2}};

START_TEST(spool_and_names_of_all_above_it_outlive_the_power) {
    struct test_process worker;
    int gate = gate_close("gate");
    sh_start(&worker, "%s shoal-worker --spool made/for/spools",
             fault(syncing[_i].who, syncing[_i].call, 0));
    ok("shoal submit -- sh -c ': > began; flock -s gate true'");
    wait_until(files("began") == 1, LIMIT_MS);
    test_server_kill(&daemons.server);
    gate_open(gate);
    wait_until(files("made/for/spools/*.spool") == 1, LIMIT_MS);
    wait_until((int)counted() >= syncing[_i].syncs, LIMIT_MS);
    ck_assert_int_eq((int)counted(), syncing[_i].syncs);
    worker_kill(&worker);
}
END_TEST

/* What the others begin with. */
START_TEST(job_is_done_without_a_fault) {
    struct test_process worker;
    const char *job = ok("shoal submit -p i=1:3 -- true");
    worker_start(&worker, "");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    worker_end(&worker);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, submit_that_lacks_something_leaves_a_whole_job_or_none, 0,
                        (int)SHOAL_COUNT(samples));
    tcase_add_test(tests, command_is_submitted_with_all_of_its_words);
    tcase_add_test(tests, command_without_memory_for_openssl_says_so);
    tcase_add_test(tests, doctor_without_memory_behind_a_large_answer_says_so);
    tcase_add_test(tests, table_is_as_it_should_be_or_not_printed);
    tcase_add_test(tests, run_of_stdin_ends_and_leaves_no_open_job);
    tcase_add_loop_test(tests, replay_says_why_it_cannot, 0, (int)SHOAL_COUNT(replays));
    tcase_add_loop_test(tests, worker_without_memory_for_something_loses_nothing, 0, 2);
    tcase_add_loop_test(tests, worker_whose_call_fails_loses_nothing, 0,
                        (int)SHOAL_COUNT(scarcities));
}

static void add_spool_tests(TCase *tests) {
    tcase_add_loop_test(tests, spool_that_cannot_be_read_at_once_is_read_later, 0,
                        (int)SHOAL_COUNT(lacks));
    tcase_add_loop_test(tests, spool_and_names_of_all_above_it_outlive_the_power, 0,
                        (int)SHOAL_COUNT(syncing));
}

int main(void) {
    Suite *suite = suite_create("failing");
    TCase *tests = tcase_create("failing");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    if (PRELOADS)
        add_tests(tests);
    tcase_add_test(tests, job_is_done_without_a_fault);
    suite_add_tcase(suite, tests);
    TCase *spools = tcase_create("spools");
    tcase_set_timeout(spools, 120);
    tcase_add_checked_fixture(spools, setup_that_saves, teardown);
    if (PRELOADS)
        add_spool_tests(spools);
    suite_add_tcase(suite, spools);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
