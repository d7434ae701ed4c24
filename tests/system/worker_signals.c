/* How workers end: the first signal drains, the second stops, the third kills. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_process worker, other;
static int gate;

/* What may tell a worker to end; tests run once with each. */
static const int signals[] = {SIGTERM, SIGINT};

static void setup(void) {
    daemons_start(NULL);
    gate = gate_close("gate");
    worker_start(&worker, "--slots 2");
}

static void teardown(void) {
    daemons_finish();
}

/* Two signals that come at once are one; so each is waited for. */
static void tell(int number, const char *said) {
    test_process_signal(&worker, number);
    wait_until(has_said(&worker, said), LIMIT_MS);
}

static void expect_good_end(void) {
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    ck_assert(has_said(&worker, "ended in good order"));
    test_process_finish(&worker);
    test_none_left(daemons.mark, LIMIT_MS);
    ck_assert_uint_eq(files("tmp/*"), 0);
    expect_audit();
}

/* The rest runs elsewhere. */
static void expect_all_with_another(const char *job) {
    gate_open(gate);
    worker_start(&other, "");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    worker_end(&other);
}

/* After 30 quick tasks leases are long; then both slots stand before the gate. */
START_TEST(first_signal_lets_tasks_end_and_gives_the_rest_back) {
    const char *job = ok("shoal submit -p i=1:100 -- sh -c ': > began.{i}.$$; "
                         "test {i} -le 30 || exec flock -sF gate echo i={i}'");
    wait_until(files("began.*") == 32, LIMIT_MS);
    tell(signals[_i], "draining");
    wait_until(job_now(job).leased == 2, LIMIT_MS);
    gate_open(gate);
    expect_good_end();
    ck_assert_uint_eq(files("began.*"), 32);
    ck_assert_int_eq(job_now(job).ok, 32);
    ck_assert_int_eq(job_now(job).queued, 68);
    gate = gate_close("gate");
    expect_all_with_another(job);
    ck_assert_uint_eq(files("began.*"), 100);
}
END_TEST

/* They are told, have their grace, and are not charged: --retries is 0. */
START_TEST(second_signal_stops_tasks_which_go_back) {
    const char *job = ok("shoal submit -p i=1:2 -- "
                         "sh -c 'trap \": > told.{i}; kill \\$!; exit 1\" TERM; "
                         ": > began.{i}.$$; flock -sF gate true & wait'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    tell(signals[_i], "draining");
    ck_assert_uint_eq(files("told.*"), 0);
    tell(signals[_i], "stopping");
    expect_good_end();
    ck_assert_uint_eq(files("told.*"), 2);
    ck_assert_int_eq(job_now(job).queued, 2);
    expect_all_with_another(job);
    ck_assert_uint_eq(files("began.*"), 4);
}
END_TEST

/* One signal; the second comes by itself. */
START_TEST(drain_that_lasts_too_long_is_a_stop) {
    worker_end(&worker);
    worker_start(&worker, "--slots 2 --drain-timeout 1s");
    const char *job = ok("shoal submit -p i=1:2 -- "
                         "sh -c ': > began.{i}.$$; exec flock -sF gate echo i={i}'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    tell(signals[_i], "stopping");
    expect_good_end();
    ck_assert_int_eq(job_now(job).queued, 2);
    expect_all_with_another(job);
    ck_assert_uint_eq(files("began.*"), 4);
}
END_TEST

START_TEST(third_signal_kills_tasks_which_go_back) {
    const char *job = ok("shoal submit --grace 1h -p i=1:2 -- "
                         "sh -c 'trap \"\" TERM; : > began.{i}.$$; "
                         "exec flock -sF gate echo i={i}'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    tell(signals[_i], "draining");
    tell(signals[_i], "stopping");
    tell(signals[_i], "killing");
    expect_good_end();
    ck_assert_int_eq(job_now(job).queued, 2);
    expect_all_with_another(job);
    ck_assert_uint_eq(files("began.*"), 4);
}
END_TEST

START_TEST(idle_worker_ends_at_the_first_signal) {
    test_process_signal(&worker, signals[_i]);
    expect_good_end();
    ck_assert_str_eq(ok("shoal workers --json"), "");
    gate_open(gate);
}
END_TEST

/* Nothing runs, so that no signal does harm, from the first moment of a worker to its
 * last. */
START_TEST(no_signal_comes_at_a_wrong_moment) {
    for (int i = 0; i < 8; i++) {
        while (!test_process_has_ended(&worker))
            test_process_signal(&worker, signals[_i]);
        ck_assert_int_eq(worker.exit, 0);
        ck_assert(!has_said(&worker, "was killed"));
        test_process_finish(&worker);
        worker_launch(&worker, "--slots 2");
        wait_until(worker_pid(&worker) != 0, LIMIT_MS);
    }
    worker_end(&worker);
    gate_open(gate);
}
END_TEST

/* The first of its children that has that name; 0: none. */
static pid_t child_of(pid_t pid, const char *name) {
    return (pid_t)strtol(
        ok("for pid in $(cat /proc/%d/task/%d/children); do "
           "if [ \"$(cat /proc/$pid/comm)\" = %s ]; then echo $pid; break; fi; done",
           (int)pid, (int)pid, name),
        NULL, 10);
}

/* It waits for something: to be told what to load, when it has just begun. */
static bool is_asleep(pid_t pid) {
    return strcmp(ok("sed 's/.*) //; s/ .*//' /proc/%d/stat", (int)pid), "S") == 0;
}

/* What they said before they were killed does not bring them other tasks. Both signals
 * and the greeting are there at once, when the worker goes on. */
START_TEST(runners_that_are_ready_when_the_worker_stops_charge_nobody) {
    pid_t pid = worker_pid(&worker), runner = 0;
    const char *job = ok("shoal submit --plugin %s --task nothing -p i=1:4",
                         test_built("tests/support/tasks.so").text);
    wait_until((runner = child_of(pid, "shoal-host")) > 0 ||
                   job_is(job, SHOAL_JOB_SUCCEEDED),
               LIMIT_MS);
    kill(pid, SIGSTOP);
    wait_until(runner == 0 || !is_alive(runner) || is_asleep(runner), LIMIT_MS);
    kill(pid, SIGTERM);
    kill(pid, SIGINT);
    kill(pid, SIGCONT);
    expect_good_end();
    expect_all_with_another(job);
}
END_TEST

static const int harmless[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE, SIGCONT};

/* SIGCONT, which stands last, leaves a sanitizer that looks for leaks at the end of a
 * program waiting for ever for a stop. */
#ifdef __SANITIZE_ADDRESS__
enum { AT_ANY_MOMENT = SHOAL_COUNT(harmless) - 1 };
#else
enum { AT_ANY_MOMENT = SHOAL_COUNT(harmless) };
#endif

/* What is sent to the keeper reaches the worker, which must go on. */
START_TEST(other_signals_do_no_harm) {
    const char *job =
        ok("shoal submit -- sh -c ': > began; exec flock -sF gate echo x=1'");
    wait_until(files("began") == 1, LIMIT_MS);
    pid_t before = worker_pid(&worker);
    test_process_signal(&worker, harmless[_i]);
    ok("shoal submit --name next -- true");
    sh_exit(0, "shoal wait next");
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_int_eq(worker_pid(&worker), before);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    expect_each_once(job);
    worker_end(&worker);
}
END_TEST

/* As a program that does so hands it on: the kernel would take the ends of children. */
#define DEAF "env --ignore-signal=CHLD "

START_TEST(who_starts_us_may_ignore_the_end_of_children) {
    worker_end(&worker);
    sh_start(&worker, DEAF "shoal-worker --session-ttl 4s");
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    const char *job = ok(DEAF "shoal submit -p i=1:3 -- echo 'x={i}'");
    ok("shoal wait %s", job);
    expect_each_once(job);
    ck_assert_str_eq(ok(DEAF "shoal replay - 0"), "x=1");
    worker_end(&worker);
    ok(DEAF "env -u SHOAL_REDIS shoal run -- true");
    ok("env -u SHOAL_REDIS shoal down");
}
END_TEST

/* As fast as it can be heard: each may cost the worker a look at all its processes. */
static void pester(int number) {
    test_process_signal(&worker, number);
    poll(NULL, 0, 3);
}

#define PESTER_UNTIL(condition, number)                                                  \
    wait_until((pester(number), (condition)), LIMIT_MS)

/* While the worker starts, drains and ends, however often it comes; one that drains for
 * an upgrade goes on draining. */
START_TEST(other_signals_do_no_harm_at_any_moment) {
    const char *job = NULL;
    worker_end(&worker);
    for (int i = 0; i < 2; i++) {
        char began[24];
        snprintf(began, sizeof(began), "began%d", i);
        worker_launch(&worker, "--slots 2");
        wait_until(worker_pid(&worker) != 0, LIMIT_MS);
        job = ok("shoal submit -- sh -c ': > %s; exec flock -sF gate echo x=1'", began);
        PESTER_UNTIL(files(began) == 1, harmless[_i]);
        test_process_signal(&worker, SIGTERM);
        for (int k = 0; k < 50; k++)
            pester(harmless[_i]);
        ck_assert(!test_process_has_ended(&worker));
        gate_open(gate);
        PESTER_UNTIL(test_process_has_ended(&worker), harmless[_i]);
        ck_assert_int_eq(worker.exit, 0);
        ck_assert(has_said(&worker, "draining"));
        ck_assert(has_said(&worker, "ended in good order"));
        ck_assert(!has_said(&worker, "was killed"));
        test_process_finish(&worker);
        expect_each_once(job);
        ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
        gate = gate_close("gate");
    }
    gate_open(gate);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("worker_signals");
    TCase *tests = tcase_create("worker_signals");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, first_signal_lets_tasks_end_and_gives_the_rest_back, 0,
                        (int)SHOAL_COUNT(signals));
    tcase_add_loop_test(tests, second_signal_stops_tasks_which_go_back, 0,
                        (int)SHOAL_COUNT(signals));
    tcase_add_loop_test(tests, drain_that_lasts_too_long_is_a_stop, 0,
                        (int)SHOAL_COUNT(signals));
    tcase_add_loop_test(tests, third_signal_kills_tasks_which_go_back, 0,
                        (int)SHOAL_COUNT(signals));
    tcase_add_loop_test(tests, runners_that_are_ready_when_the_worker_stops_charge_nobody,
                        0, 8);
    tcase_add_loop_test(tests, idle_worker_ends_at_the_first_signal, 0,
                        (int)SHOAL_COUNT(signals));
    tcase_add_loop_test(tests, no_signal_comes_at_a_wrong_moment, 0,
                        (int)SHOAL_COUNT(signals));
    tcase_add_test(tests, who_starts_us_may_ignore_the_end_of_children);
    tcase_add_loop_test(tests, other_signals_do_no_harm, 0, (int)SHOAL_COUNT(harmless));
    tcase_add_loop_test(tests, other_signals_do_no_harm_at_any_moment, 0, AT_ANY_MOMENT);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
