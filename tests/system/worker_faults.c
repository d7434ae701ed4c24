/* Workers that are killed or stopped, in parts and whole, by us and by their tasks. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_process first, second;

static void setup(void) {
    daemons_start(NULL);
}

static void teardown(void) {
    daemons_finish();
}

static void wait_for(const char *job) {
    sh_exit(0, "shoal wait %s", job);
}

/* A sweep in which every slot soon holds a task that waits at the gate. The first tasks
 * do not, so that there is history and leases are long. */
static const char *submit_gated(int total) {
    return ok("shoal submit -p i=1:%d -- sh -c ': > began.{i}.$$; "
              "test {i} -le 12 || exec flock -sF gate echo i={i}'",
              total);
}

/* Rows of tasks that were begun more than once. */
static size_t lost_tasks(const char *job) {
    const json_t *rows = rows_of(job);
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++)
        n += int_in(json_array_get(rows, i), "attempt") > 1;
    return n;
}

/* ---- kill -9 */

START_TEST(killed_worker_loses_nothing) {
    int gate = gate_close("gate");
    worker_start(&first, "--name killed --slots 2");
    worker_start(&second, "--name survivor --slots 1");
    const char *job = submit_gated(80);
    wait_until(files("began.*") == 12 + 3, LIMIT_MS);
    worker_kill(&first);
    worker_start(&first, "--name successor --slots 2");
    gate_open(gate);
    wait_for(job);
    expect_each_once(job);
    ck_assert_uint_ge(lost_tasks(job), 2);
    ck_assert_uint_ge(files("began.*"), 80 + 2);
    worker_end(&first);
    worker_end(&second);
}
END_TEST

/* With everything that has left its process group. */
START_TEST(keeper_starts_a_killed_worker_again) {
    int gate = gate_close("gate");
    worker_start(&first, "--name twice --slots 2");
    const char *job = ok("shoal submit -p i=1:4 -- "
                         "sh -c 'test $SHOAL_ATTEMPT -gt 1 && exec echo i={i}; "
                         "setsid sleep 1000 & echo $! > left.{i}; "
                         "echo $$ > pid.{i}; exec flock -sF gate echo i={i}'");
    wait_until(number_of("pid.1") > 0 && number_of("pid.2") > 0, LIMIT_MS);
    pid_t before = worker_pid(&first);
    kill(before, SIGKILL);
    wait_until(!is_alive((pid_t)number_of("pid.1")) &&
                   !is_alive((pid_t)number_of("pid.2")) &&
                   !is_alive((pid_t)number_of("left.1")) &&
                   !is_alive((pid_t)number_of("left.2")),
               LIMIT_MS);
    gate_open(gate);
    wait_for(job);
    ck_assert_int_ne(worker_pid(&first), before);
    expect_each_once(job);
    ck_assert_uint_eq(lost_tasks(job), 2);
    worker_end(&first);
    ck_assert_uint_eq(files("tmp/*"), 0);
}
END_TEST

START_TEST(worker_ends_by_itself_when_its_keeper_is_killed) {
    int gate = gate_close("gate");
    worker_start(&first, "--slots 2");
    const char *job = submit_gated(30);
    wait_until(files("began.*") == 12 + 2, LIMIT_MS);
    test_process_signal(&first, SIGKILL);
    test_none_left(daemons.mark, LIMIT_MS);
    ck_assert_int_eq(job_now(job).leased, 0);
    ck_assert_str_eq(ok("shoal workers --json"), "");
    ck_assert_uint_eq(files("tmp/*"), 0);
    gate_open(gate);
    worker_start(&second, "");
    wait_for(job);
    expect_each_once(job);
    ck_assert_uint_eq(files("began.*"), 30 + 2);
    worker_end(&second);
    test_process_finish(&first);
}
END_TEST

START_TEST(killed_program_is_a_failure_of_its_own) {
    worker_start(&first, "");
    const char *job = ok("shoal submit -p i=1:6 -- "
                         "sh -c 'test {i} -ne 3 || kill -9 $$; echo i={i}'");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 2), "reason"), "signal");
    ck_assert_int_eq(job_now(job).ok, 5);
    expect_audit();
    worker_end(&first);
}
END_TEST

/* ---- SIGSTOP, for longer than its session lasts */

/* Attempt n waits at gate n. The first worker is stopped while it runs attempt 1; the
 * second worker has begun attempt 2. */
static const char *take_over(int *ret_gate_1, int *ret_gate_2, pid_t *ret_stopped) {
    *ret_gate_1 = gate_close("gate.1");
    *ret_gate_2 = gate_close("gate.2");
    worker_start(&first, "--name late");
    const char *job = ok("shoal submit -- sh -c 'echo $$ > pid.$SHOAL_ATTEMPT; "
                         "exec flock -sF gate.$SHOAL_ATTEMPT echo by=$SHOAL_ATTEMPT'");
    wait_until(number_of("pid.1") > 0, LIMIT_MS);
    *ret_stopped = worker_pid(&first);
    kill(*ret_stopped, SIGSTOP);
    worker_start(&second, "--name heir");
    wait_until(number_of("pid.2") > 0, LIMIT_MS);
    return job;
}

static void expect_one_row_by(const char *job, int attempt, const char *worker) {
    expect_each_once(job);
    ck_assert_int_eq(int_in(row_of(job, 0), "by"), attempt);
    ck_assert_str_eq(text_in(row_of(job, 0), "worker"), worker);
}

/* Work that was done is never thrown away. */
START_TEST(late_outcome_counts_when_nobody_was_faster) {
    int gate_1, gate_2;
    pid_t stopped;
    const char *job = take_over(&gate_1, &gate_2, &stopped);
    gate_open(gate_1);
    wait_until(!is_alive((pid_t)number_of("pid.1")), LIMIT_MS);
    kill(stopped, SIGCONT);
    wait_for(job);
    wait_until(!is_alive((pid_t)number_of("pid.2")), LIMIT_MS);
    expect_one_row_by(job, 1, "late");
    worker_end(&first);
    worker_end(&second);
    expect_one_row_by(job, 1, "late");
    gate_open(gate_2);
}
END_TEST

START_TEST(late_outcome_is_dropped_when_somebody_was) {
    int gate_1, gate_2;
    pid_t stopped;
    const char *job = take_over(&gate_1, &gate_2, &stopped);
    gate_open(gate_2);
    wait_for(job);
    gate_open(gate_1);
    wait_until(!is_alive((pid_t)number_of("pid.1")), LIMIT_MS);
    kill(stopped, SIGCONT);
    worker_end(&first); /* it has delivered everything */
    expect_one_row_by(job, 2, "heir");
    worker_end(&second);
}
END_TEST

START_TEST(late_worker_stops_what_others_have_finished) {
    int gate_1, gate_2;
    pid_t stopped;
    const char *job = take_over(&gate_1, &gate_2, &stopped);
    gate_open(gate_2);
    wait_for(job);
    kill(stopped, SIGCONT);
    wait_until(!is_alive((pid_t)number_of("pid.1")), LIMIT_MS);
    ok("shoal submit --name next -p i=1:8 -- true");
    wait_for("next"); /* both are of use again */
    worker_end(&first);
    worker_end(&second);
    expect_one_row_by(job, 2, "heir");
    gate_open(gate_1);
}
END_TEST

/* ---- SIGSTOP of a task's processes alone */

static int64_t fleets_clock(void) {
    return strtoll(
        ok("redis-cli -s %s hget 'shoal:{0}:clock' now", daemons.server.socket), NULL,
        10);
}

static void send_to_tasks(const struct test_process *keeper, int number) {
    struct test_pids pids;
    test_descendants(worker_pid(keeper), &pids);
    ck_assert_uint_ge(pids.n, 1);
    for (size_t i = 0; i < pids.n; i++)
        kill(pids.pid[i], number);
}

static const char *const stoppable[] = {
    "-- sh -c ': > runs; flock -sF gate echo i=1'",
    "--plugin $PLUGIN --task gated",
};

/* The worker is well: its session lasts, and nobody else is given the task. */
START_TEST(stopped_task_goes_on_when_it_is_let) {
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    int gate = gate_close("gate");
    worker_start(&first, "--slots 1 --name patient");
    const char *job = ok("shoal submit -p i=1:1 %s", stoppable[_i]);
    wait_until(files("runs") == 1, LIMIT_MS);
    worker_start(&second, "--slots 1 --name idle");
    send_to_tasks(&first, SIGSTOP);
    for (int64_t end = fleets_clock() + 6000; fleets_clock() < end;) {
        ck_assert_int_eq(job_now(job).leased, 1);
        ck_assert_str_eq(ok("shoal workers --json | grep -c '\"working\"'"), "2");
    }
    ok("shoal run -- true"); /* the other one is free */
    gate_open(gate);
    ck_assert_int_eq(job_now(job).leased, 1);
    send_to_tasks(&first, SIGCONT);
    wait_for(job);
    expect_each_once(job);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    ck_assert_str_eq(text_in(row_of(job, 0), "worker"), "patient");
    worker_end(&first);
    worker_end(&second);
}
END_TEST

/* It hears no SIGTERM. */
START_TEST(stopped_task_ends_at_its_timeout) {
    int gate = gate_close("gate");
    worker_start(&first, "--slots 1");
    const char *job = ok("shoal submit --timeout 6s --grace 500ms %s", stoppable[0]);
    wait_until(files("runs") == 1, LIMIT_MS);
    send_to_tasks(&first, SIGSTOP);
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "timeout");
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    ok("shoal run -- true");
    worker_end(&first);
    gate_open(gate);
    expect_audit();
}
END_TEST

/* ---- tasks that kill their worker */

static const struct {
    int total;
    int culprit; /* its index */
    int slots;
} poisonings[] = {{1, 0, 1}, {9, 4, 1}, {9, 8, 1}, {9, 4, 3}};

START_TEST(task_that_kills_its_workers_fails_as_poison_alone) {
    int total = poisonings[_i].total, culprit = poisonings[_i].culprit;
    char options[32];
    snprintf(options, sizeof(options), "--slots %d", poisonings[_i].slots);
    worker_start(&first, options);
    const char *job = ok("shoal submit --max-lost 2 --retries 3 -p i=1:%d -- "
                         "sh -c 'test {task} -ne %d || { echo x >> kills; kill -9 $PPID; "
                         "exec sleep 1000; }; echo i={i}'",
                         total, culprit);
    sh_exit(1, "shoal wait %s", job);
    ck_assert_int_eq(job_now(job).failed, 1);
    ck_assert_int_eq(job_now(job).ok, total - 1);
    ck_assert_str_eq(text_in(row_of(job, culprit), "reason"), "poison");
    ck_assert_uint_ge(strlen(text_of("kills")) / 2 + 1, 2);
    expect_audit();
    worker_end(&first);
}
END_TEST

/* Who runs beside it is lost as often, but never alone. */
START_TEST(neighbour_of_a_task_that_kills_its_workers_is_not_blamed) {
    int gate = gate_close("gate");
    worker_start(&first, "--slots 2");
    const char *innocent = ok("shoal submit --max-lost 3 -- flock -sF gate echo fine");
    const char *culprit = ok("shoal submit --max-lost 3 -- "
                             "sh -c 'echo x >> kills; kill -9 $PPID; exec sleep 1000'");
    wait_until(files("kills") == 1 && strlen(text_of("kills")) >= 3, LIMIT_MS);
    gate_open(gate);
    sh_exit(0, "shoal wait %s", innocent);
    sh_exit(1, "shoal wait %s", culprit);
    expect_each_once(innocent);
    ck_assert_str_eq(text_in(row_of(culprit, 0), "reason"), "poison");
    expect_audit();
    worker_end(&first);
}
END_TEST

/* Nobody keeps house then; who looks is told all the same. */
START_TEST(lost_worker_is_shown_when_nobody_keeps_house) {
    worker_start(&first, "--session-ttl 4s --name gone");
    worker_kill(&first);
    wait_until(strstr(ok("shoal workers --json"), "\"state\":\"lost\"") != NULL,
               LIMIT_MS);
    ck_assert_ptr_nonnull(
        strstr(sh("shoal doctor").out, "are lost and nobody keeps house"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("worker_faults");
    TCase *tests = tcase_create("worker_faults");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, killed_worker_loses_nothing);
    tcase_add_test(tests, lost_worker_is_shown_when_nobody_keeps_house);
    tcase_add_test(tests, keeper_starts_a_killed_worker_again);
    tcase_add_test(tests, worker_ends_by_itself_when_its_keeper_is_killed);
    tcase_add_test(tests, killed_program_is_a_failure_of_its_own);
    tcase_add_test(tests, late_outcome_counts_when_nobody_was_faster);
    tcase_add_test(tests, late_outcome_is_dropped_when_somebody_was);
    tcase_add_test(tests, late_worker_stops_what_others_have_finished);
    tcase_add_loop_test(tests, stopped_task_goes_on_when_it_is_let, 0,
                        (int)SHOAL_COUNT(stoppable));
    tcase_add_test(tests, stopped_task_ends_at_its_timeout);
    tcase_add_loop_test(tests, task_that_kills_its_workers_fails_as_poison_alone, 0,
                        (int)SHOAL_COUNT(poisonings));
    tcase_add_test(tests, neighbour_of_a_task_that_kills_its_workers_is_not_blamed);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
