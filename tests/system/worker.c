/* Real workers at their daily work: sweeps, delays, retries, queues, programs that cannot
 * be started or do not want to end. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct test_process first, second, broker;

static void setup(void) {
    daemons_start(NULL);
}

static void teardown(void) {
    daemons_finish();
}

static void wait_for(const char *job, int exit) {
    sh_exit(exit, "shoal wait %s", job);
}

static void broker_start(void) {
    sh_start(&broker, "shoal-broker");
    wait_until(has_said(&broker, "level=info"), LIMIT_MS);
}

/* Any of the signals that end it will do, behind those that do nothing. */
static void broker_end_by(int number) {
    test_process_signal(&broker, SIGUSR1);
    test_process_signal(&broker, SIGUSR2);
    test_process_signal(&broker, number);
    ck_assert_int_eq(test_process_wait(&broker, LIMIT_MS), 0);
    test_process_finish(&broker);
}

static void broker_end(void) {
    broker_end_by(SIGTERM);
}

/* ---- sweeps */

static size_t rows_by(const json_t *rows, const char *worker) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++)
        n += strcmp(text_in(json_array_get(rows, i), "worker"), worker) == 0;
    return n;
}

/* Each of the four slots holds one task until all four do. */
START_TEST(two_workers_share_a_sweep) {
    int gate = gate_close("gate");
    worker_start(&first, "--name left --slots 2");
    worker_start(&second, "--name right --slots 2");
    const char *job = ok("shoal submit -p i=1:100 -- "
                         "sh -c ': > began.{i}; exec flock -sF gate echo i={i}'");
    wait_until(files("began.*") == 4, LIMIT_MS);
    gate_open(gate);
    wait_for(job, 0);
    expect_each_once(job);
    const json_t *rows = rows_of(job);
    ck_assert_uint_ge(rows_by(rows, "left"), 2);
    ck_assert_uint_ge(rows_by(rows, "right"), 2);
    for (size_t i = 0; i < json_array_size(rows); i++)
        ck_assert_int_eq(int_in(json_array_get(rows, i), "i"),
                         int_in(json_array_get(rows, i), "task") + 1);
    worker_end(&first);
    worker_end(&second);
    ck_assert_uint_eq(files("tmp/*"), 0);
}
END_TEST

/* ---- time: with a broker (_i = 1) and without one */

START_TEST(delayed_job_starts_when_its_time_has_come) {
    if (_i == 1)
        broker_start();
    worker_start(&first, "");
    const char *job = ok("shoal submit --delay 1s -p i=1:3 -- true");
    wait_for(job, 0);
    struct shoal_job now = job_now(job);
    ck_assert_int_ge(now.started_ms, now.start_ms);
    ck_assert_int_ge(now.start_ms, now.created_ms + 900);
    expect_each_once(job);
    worker_end(&first);
    if (_i == 1)
        broker_end();
}
END_TEST

START_TEST(failed_tasks_are_tried_again_so_often_as_was_asked) {
    if (_i == 1)
        broker_start();
    worker_start(&first, "--slots 4");
    const char *job = ok("shoal submit --retries 2 -p fails=0:3 -- "
                         "sh -c ': > began.{fails}.$SHOAL_ATTEMPT; "
                         "test $SHOAL_ATTEMPT -gt {fails}'");
    wait_for(job, 1);
    for (int fails = 0; fails < 3; fails++) {
        const json_t *row = row_of(job, fails);
        ck_assert_str_eq(text_in(row, "status"), "ok");
        ck_assert_int_eq(int_in(row, "attempt"), fails + 1);
    }
    ck_assert_str_eq(text_in(row_of(job, 3), "reason"), "exit");
    ck_assert_int_eq(int_in(row_of(job, 3), "attempt"), 3);
    ck_assert_uint_eq(files("began.*"), 1 + 2 + 3 + 3);
    expect_audit();
    worker_end(&first);
    if (_i == 1)
        broker_end();
}
END_TEST

START_TEST(broker_alone_starts_what_is_due) {
    broker_start();
    const char *job = ok("shoal submit --delay 100ms -- true");
    ck_assert(job_is(job, SHOAL_JOB_WAITING) || job_is(job, SHOAL_JOB_ACTIVE));
    wait_until(job_is(job, SHOAL_JOB_ACTIVE), LIMIT_MS);
    broker_end_by(SIGHUP);
    worker_start(&first, "");
    wait_for(job, 0);
    worker_end(&first);
}
END_TEST

START_TEST(broker_alone_takes_back_what_a_lost_worker_held) {
    int gate = gate_close("gate");
    broker_start();
    worker_start(&first, "--slots 2");
    const char *job =
        ok("shoal submit -p i=1:3 -- sh -c ': > began.{i}; exec flock -sF gate echo'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    worker_kill(&first);
    ck_assert_int_eq(job_now(job).leased, 2);
    wait_until(job_now(job).leased == 0, LIMIT_MS);
    gate_open(gate);
    ck_assert_str_eq(ok("shoal workers --json"), "");
    worker_start(&first, "");
    wait_for(job, 0);
    expect_each_once(job);
    worker_end(&first);
    broker_end();
}
END_TEST

/* ---- queues and drains */

/* When the job behind it has been run, the paused one had its chance. */
START_TEST(paused_queue_hands_out_nothing_until_it_is_resumed) {
    worker_start(&first, "--queue shut,open --slots 2");
    ok("shoal pause shut");
    const char *job = ok("shoal submit -q shut -p i=1:5 -- sh -c ': > began.{i}'");
    wait_for(ok("shoal submit -q open -p i=1:20 -- true"), 0);
    ck_assert_uint_eq(files("began.*"), 0);
    ck_assert_int_eq(job_now(job).queued, 5);
    ok("shoal resume shut");
    wait_for(job, 0);
    expect_each_once(job);
    worker_end(&first);
}
END_TEST

START_TEST(drained_worker_ends_its_tasks_and_itself) {
    int gate = gate_close("gate");
    worker_start(&first, "--name old --slots 1");
    const char *job = ok("shoal submit -p i=1:20 -- "
                         "sh -c ': > began.{i}; exec flock -sF gate echo i={i}'");
    wait_until(files("began.*") == 1, LIMIT_MS);
    ok("shoal drain old");
    wait_until(has_said(&first, "draining"), LIMIT_MS);
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&first, LIMIT_MS), 0);
    ck_assert_uint_eq(files("began.*"), 1);
    ck_assert_int_eq(job_now(job).ok, 1);
    ck_assert_int_eq(job_now(job).leased, 0);
    ck_assert_str_eq(ok("shoal workers --json"), "");
    worker_start(&second, "--name new");
    wait_for(job, 0);
    expect_each_once(job);
    worker_end(&second);
    test_process_finish(&first);
}
END_TEST

/* ---- programs that cannot be started */

static const struct {
    const char *what;
    const char *submission;
    const char *said; /* why, in the words of `show` */
} unstartable[] = {
    {"no such program", "-- shoal-no-such-program", "no program 'shoal-no-such-program'"},
    {"no such file", "-- ./missing", "./missing"},
    {"no program", "-- ./noise", "./noise"},
    {"no such directory", "--cwd /no/such/folder -- true", "'/no/such/folder'"},
};

START_TEST(what_cannot_be_started_fails_as_spawn) {
    ok("printf '\\001\\002\\003' > noise; chmod +x noise");
    worker_start(&first, "--name blamed");
    const char *job =
        ok("shoal submit -p i=1:3 --retries 2 %s", unstartable[_i].submission);
    wait_for(job, 1);
    for (int task = 0; task < 3; task++) {
        const json_t *row = row_of(job, task);
        ck_assert_str_eq(text_in(row, "reason"), "spawn");
        ck_assert_str_eq(text_in(row, "worker"), "blamed");
    }
    const char *story = ok("shoal show %s 0", job);
    ck_assert_msg(strstr(story, unstartable[_i].said) != NULL &&
                      strstr(story, "blamed") != NULL,
                  "%s: %s", unstartable[_i].what, story);
    expect_audit();
    worker_end(&first);
}
END_TEST

START_TEST(worker_without_the_program_leaves_it_to_one_that_has_it) {
    ok("mkdir bin; printf '#!/bin/sh\\necho here=1\\n' > bin/rare; chmod +x bin/rare");
    worker_start(&first, "--name poor --slots 1");
    sh_start(&second, "env PATH=\"$PATH:$HOME/bin\" shoal-worker --name rich --slots 1");
    wait_until(has_said(&second, "message=registered"), LIMIT_MS);
    const char *job = ok("shoal submit -p i=1:10 -- rare");
    wait_for(job, 0);
    expect_each_once(job);
    ck_assert_uint_eq(rows_by(rows_of(job), "rich"), 10);
    worker_end(&first);
    worker_end(&second);
}
END_TEST

/* A word that was changed still makes sense, and would run something else; a key of
 * another type keeps no slot. */
static const struct {
    const char *change; /* of $s */
    const char *said;
} changes[] = {
    {"r get $s | sed s/good/evil/ | tr -d '\\n' | r -x set $s",
     "not the one that was submitted"},
    {"r del $s; r rpush $s good", "holds something else"},
    {"r del $s", "Redis has no spec"},
    {"r set $s ''", "Redis has no spec"},
    {"r setrange $s 8000000 x", "it is too long"},
};

START_TEST(spec_that_was_changed_in_redis_does_not_run) {
    const char *job = ok("shoal submit -p i=1:9 -- echo good=1");
    ok("r() { redis-cli -s ${SHOAL_REDIS#unix:} \"$@\"; }; k='shoal:{0}:'; "
       "s=${k}spec:$(r hget ${k}job:%s spec); "
       "%s",
       job, changes[_i].change);
    ck_assert_int_ne(sh("shoal replay %s 0", job).exit, 0);
    worker_start(&first, "");
    wait_for(job, 1);
    wait_for(ok("shoal submit -p i=1:9 -- echo good=1"), 0); /* which writes it anew */
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "rejected");
    ck_assert_ptr_nonnull(strstr(ok("shoal show %s 0", job), changes[_i].said));
    wait_for(ok("shoal retry %s >&2; echo %s", job, job), 0);
    worker_end(&first);
}
END_TEST

/* Of one that is far too long no more is fetched than shows it, nor by clients. */
START_TEST(spec_that_is_too_long_is_not_fetched_whole) {
    static const char sent[] =
        "redis-cli -s ${SHOAL_REDIS#unix:} info stats | tr -d '\\r' | "
        "sed -n s/total_net_output_bytes://p";
    const char *job = ok("shoal submit -- echo good=1");
    ok("r() { redis-cli -s ${SHOAL_REDIS#unix:} \"$@\"; }; k='shoal:{0}:'; "
       "r setrange ${k}spec:$(r hget ${k}job:%s spec) 100000000 x",
       job);
    int64_t before = atoll(ok("%s", sent));
    worker_start(&first, "");
    wait_for(job, 1);
    sh_exit(3, "shoal results %s", job);
    ck_assert_ptr_nonnull(strstr(sh_exit(3, "shoal show %s 0", job).err, "too long"));
    ck_assert_int_lt(atoll(ok("%s", sent)) - before, 8 << 20);
    worker_end(&first);
}
END_TEST

/* What came may have changed on its way; it is asked for again at once, and not with the
 * next heartbeat. */
START_TEST(spec_that_looks_changed_is_asked_for_again_at_once) {
    struct test_process monitor;
    const char *job = ok("shoal submit -- echo good=1");
    ok("r() { redis-cli -s ${SHOAL_REDIS#unix:} \"$@\"; }; k='shoal:{0}:'; "
       "r set ${k}spec:$(r hget ${k}job:%s spec) evil",
       job);
    sh_start(&monitor, "redis-cli -s ${SHOAL_REDIS#unix:} monitor > said");
    wait_until(*ok("redis-cli -s ${SHOAL_REDIS#unix:} ping >&2; cat said") != '\0',
               LIMIT_MS);
    worker_start(&first, "");
    wait_for(job, 1);
    test_process_finish(&monitor);
    ck_assert_str_eq(
        ok("grep -oi '\"GET[A-Z]*\" \"[a-z0:{}]*:spec:\\|\"heartbeat_' said | "
           "sed -n '/spec:/,/spec:/p' | sed 's/.*\"//'"),
        "shoal:{0}:spec:\nshoal:{0}:spec:");
    worker_end(&first);
}
END_TEST

/* ---- programs that do not want to end */

/* Each writes the process that must be gone at the end into `last`. */
static const struct {
    const char *what;
    const char *script;
} stubborn[] = {
    {"ignores SIGTERM", "trap \"\" TERM; echo $$ > last; while :; do sleep 0.1; done"},
    {"its child ignores SIGTERM",
     "(trap \"\" TERM; exec sleep 1000) & echo $! > last; exec sleep 1000"},
    {"its child has a session", "setsid sleep 1000 & echo $! > last; exec sleep 1000"},
    {"it became a daemon",
     "setsid sh -c \"sleep 1000 & echo \\$! > last\"; exec sleep 1000"},
    {"its daemon hides its environment",
     "env -i setsid sh -c \"sleep 1000 & echo \\$! > last\"; exec sleep 1000"},
};

START_TEST(time_over_ends_the_whole_tree) {
    worker_start(&first, "--slots 1");
    const char *job =
        ok("shoal submit --timeout 1s --grace 200ms -- sh -c '%s'", stubborn[_i].script);
    wait_for(job, 1);
    ck_assert_msg(number_of("last") > 1, "%s: it did not begin", stubborn[_i].what);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "timeout");
    wait_until(!is_alive((pid_t)number_of("last")), LIMIT_MS);
    char mark[64];
    snprintf(mark, sizeof(mark), "SHOAL_JOB=%s", job);
    test_none_left(mark, LIMIT_MS);
    expect_audit();
    worker_end(&first);
    ck_assert_uint_eq(files("tmp/*"), 0);
}
END_TEST

START_TEST(what_a_task_leaves_behind_ends_with_it) {
    worker_start(&first, "--slots 1");
    const char *job =
        ok("shoal submit -- sh -c 'setsid sleep 1000 & echo $! > last; echo x=1'");
    wait_for(job, 0);
    ck_assert_int_gt(number_of("last"), 1);
    wait_until(!is_alive((pid_t)number_of("last")), LIMIT_MS);
    ck_assert_int_eq(int_in(row_of(job, 0), "x"), 1);
    worker_end(&first);
}
END_TEST

/* A program that obeys has the whole grace to tidy up. */
START_TEST(time_over_is_told_by_sigterm_first) {
    worker_start(&first, "--slots 1");
    const char *job = ok("shoal submit --timeout 200ms --grace 1h -- "
                         "sh -c 'trap \": > tidied; exit 0\" TERM; "
                         "while :; do sleep 0.05; done'");
    wait_for(job, 1);
    ck_assert_uint_eq(files("tidied"), 1);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "timeout");
    worker_end(&first);
}
END_TEST

static const char *cores_of(pid_t pid) {
    return ok("sed -n 's/^Max core file size *//p' /proc/%d/limits | cut -d' ' -f1",
              (int)pid);
}

/* A core would have the passwords of the worker in it; a task's are its user's business,
 * also behind an upgrade. */
START_TEST(worker_writes_no_core_and_its_tasks_may) {
    struct rlimit most;
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &most), 0);
    if (most.rlim_max < 1 << 20) {
        printf("skipped: cores, which this host forbids\n");
        return;
    }
    ok("echo ulimit -Sc 7 > seven; " /* which AddressSanitizer leaves alone then */
       "echo export ASAN_OPTIONS=$ASAN_OPTIONS:disable_coredump=0 >> seven");
    sh_start(&first, "sh -c '. ./seven; exec shoal-worker --session-ttl 4s'");
    for (size_t upgrades = 0; upgrades < 3; upgrades++) {
        wait_until(times_said(&first, "message=registered") == upgrades + 1 &&
                       times_said(&first, "the keeper is upgraded") == upgrades,
                   LIMIT_MS);
        ck_assert_str_eq(cores_of(first.pid), "1");
        ck_assert_str_eq(cores_of(worker_pid(&first)), "1");
        ok("shoal run --format csv -- sh -c 'echo c=$(ulimit -Sc)' | grep ',7,$'");
        if (upgrades < 2)
            test_process_signal(&first, SIGUSR2);
    }
    ck_assert_str_eq(ok(". ./seven; shoal replay - 0"), "c=7");
    worker_end(&first);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("worker");
    TCase *tests = tcase_create("worker");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, two_workers_share_a_sweep);
    tcase_add_loop_test(tests, delayed_job_starts_when_its_time_has_come, 0, 2);
    tcase_add_loop_test(tests, failed_tasks_are_tried_again_so_often_as_was_asked, 0, 2);
    tcase_add_test(tests, broker_alone_starts_what_is_due);
    tcase_add_test(tests, broker_alone_takes_back_what_a_lost_worker_held);
    tcase_add_test(tests, paused_queue_hands_out_nothing_until_it_is_resumed);
    tcase_add_test(tests, drained_worker_ends_its_tasks_and_itself);
    tcase_add_loop_test(tests, what_cannot_be_started_fails_as_spawn, 0,
                        (int)SHOAL_COUNT(unstartable));
    tcase_add_test(tests, worker_without_the_program_leaves_it_to_one_that_has_it);
    tcase_add_loop_test(tests, spec_that_was_changed_in_redis_does_not_run, 0,
                        (int)SHOAL_COUNT(changes));
    tcase_add_test(tests, spec_that_is_too_long_is_not_fetched_whole);
    tcase_add_test(tests, spec_that_looks_changed_is_asked_for_again_at_once);
    tcase_add_loop_test(tests, time_over_ends_the_whole_tree, 0,
                        (int)SHOAL_COUNT(stubborn));
    tcase_add_test(tests, what_a_task_leaves_behind_ends_with_it);
    tcase_add_test(tests, time_over_is_told_by_sigterm_first);
    tcase_add_test(tests, worker_writes_no_core_and_its_tasks_may);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
