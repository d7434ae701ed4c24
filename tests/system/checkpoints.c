/* Tasks that keep a directory over their attempts, and go on where they were. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct test_process first, second;

static void setup(void) {
    daemons_start(NULL);
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    setenv("EXAMPLES", test_built("examples").text, 1);
}

static void teardown(void) {
    daemons_finish();
}

static void start(struct test_process *keeper, const char *more) {
    char options[200];
    snprintf(options, sizeof(options), "--checkpoints $HOME/kept --slots 2 %s", more);
    worker_start(keeper, options);
}

/* What is kept for tasks of a job. */
static size_t kept(const char *job) {
    char pattern[200];
    snprintf(pattern, sizeof(pattern), "kept/*/*/%s/*", job);
    return files(pattern);
}

/* How many attempts of its first task ended so. */
static int64_t attempts(const char *job, const char *reason) {
    return strtoll(
        ok("shoal show --json %s 0 | grep -o '\"reason\":\"%s\"' | wc -l", job, reason),
        NULL, 10);
}

/* One line more of the file `n` in the checkpoint, and how many there are. */
#define COUNT "echo >>$SHOAL_CHECKPOINT/n; n=$(wc -l <$SHOAL_CHECKPOINT/n); "

/* ---- going on */

/* Warned in time (0), or told only when its time is over (1). */
START_TEST(simulation_goes_on_over_its_timeouts) {
    static const char *const limits[] = {"--timeout 3s --signal USR1@2s",
                                         "--timeout 1s --grace 1h"};
    start(&first, "");
    const char *alone = ok("$EXAMPLES/ising --sweeps 120000 --seed 7");
    const char *job = ok("shoal submit --checkpoint %s -- "
                         "$EXAMPLES/ising --sweeps 120000 --seed 7",
                         limits[_i]);
    sh_exit(0, "shoal wait %s", job);
    const json_t *row = row_of(job, 0);
    ck_assert_int_gt(int_in(row, "attempt"), 1);
    ck_assert_int_eq(attempts(job, "continue"), int_in(row, "attempt") - 1);
    ck_assert_str_eq(ok("shoal results %s --format jsonl | sed "
                        "'s/.*\"magnetization\":\\([^,]*\\),\"energy\":\\([^,}]*\\).*/"
                        "magnetization=\\1\\nenergy=\\2/'",
                        job),
                     alone);
    ck_assert_uint_eq(kept(job), 0);
    expect_each_once(job);
    expect_audit();
    worker_end(&first);
}
END_TEST

/* On the same host (0), or on another that has the same directory (1). */
START_TEST(task_of_a_killed_worker_goes_on_from_its_checkpoint) {
    int gate = gate_close("gate");
    start(&first, "--name one");
    const char *job = ok("shoal submit --checkpoint -- sh -c '" COUNT
                         ": > began.$n; flock -sF gate echo lines=$n'");
    wait_until(files("began.1") == 1, LIMIT_MS);
    if (_i == 1)
        start(&second, "--name other");
    worker_kill(&first);
    if (_i == 0)
        start(&second, "--name one");
    wait_until(files("began.2") == 1, LIMIT_MS);
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_int_eq(int_in(row_of(job, 0), "lines"), 2);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 2);
    wait_until(kept(job) == 0, LIMIT_MS);
    expect_audit();
    worker_end(&second);
}
END_TEST

/* Each attempt is over within a moment: it waits a second of the fleet's clock. */
START_TEST(task_that_asks_at_once_does_not_spin) {
    start(&first, "");
    const char *job = ok("shoal submit --checkpoint -p i=1:2 -- sh -c '" COUNT
                         "test $n = 3 || exit 85; echo lines=$n'");
    sh_exit(0, "shoal wait %s", job);
    struct shoal_job now = job_now(job);
    ck_assert_int_ge(now.ended_ms, now.started_ms + 1000);
    for (int64_t task = 0; task < 2; task++)
        ck_assert_int_eq(int_in(row_of(job, task), "attempt"), 3);
    expect_each_once(job);
    worker_end(&first);
}
END_TEST

START_TEST(exit_code_85_is_a_failure_without_a_checkpoint) {
    start(&first, "");
    const char *job =
        ok("shoal submit -- sh -c 'echo ${SHOAL_CHECKPOINT-none}; exit 85'");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "exit");
    ck_assert_ptr_nonnull(strstr(ok("shoal show %s 0", job), "exit 85"));
    ck_assert_str_eq(text_in(row_of(job, 0), "result"), "none");
    ck_assert_uint_eq(files("kept/*/*"), 0);
    worker_end(&first);
}
END_TEST

/* What a stopped task returns is told as stopped; another worker goes on. */
START_TEST(task_of_a_stopped_worker_goes_on_elsewhere) {
    start(&first, "");
    const char *job = ok(
        "shoal submit --checkpoint -- sh -c '" COUNT "test $n = 2 && exec echo lines=$n; "
        "trap \"exit 85\" TERM; : > began; while :; do sleep 0.05; done'");
    wait_until(files("began") == 1, LIMIT_MS);
    test_process_signal(&first, SIGTERM);
    wait_until(has_said(&first, "draining"), LIMIT_MS);
    test_process_signal(&first, SIGTERM);
    ck_assert_int_eq(test_process_wait(&first, LIMIT_MS), 0);
    test_process_finish(&first);
    start(&second, "");
    sh_exit(0, "shoal wait %s", job);
    ck_assert_int_eq(attempts(job, "stopped"), 1);
    ck_assert_int_eq(int_in(row_of(job, 0), "lines"), 2);
    worker_end(&second);
}
END_TEST

START_TEST(cancelled_task_does_not_go_on) {
    start(&first, "");
    const char *job = ok("shoal submit --checkpoint -- sh -c 'trap \"exit 85\" TERM; "
                         ": > began; while :; do sleep 0.05; done'");
    wait_until(files("began") == 1, LIMIT_MS);
    ok("shoal cancel %s", job);
    wait_until(job_is(job, SHOAL_JOB_CANCELLED), LIMIT_MS);
    ck_assert_uint_eq(kept(job), 1); /* until the job is forgotten */
    expect_audit();
    worker_end(&first);
}
END_TEST

/* ---- functions */

static const struct {
    const char *what, *command;
} functions[] = {
    {"C, by itself", "--plugin $PLUGIN --task go_on -p x=0"},
    {"C, warned", "--plugin $PLUGIN --task go_on -p x=1 --timeout 1h "
                  "--signal USR1@3599500ms"},
    {"Python, by itself", "--python go_on:run -p x=0"},
    {"Python, warned", "--python go_on:run -p x=1 --timeout 1h --signal USR1@3599500ms"},
};

START_TEST(function_goes_on) {
    umask(0); /* whatever it is, others write nowhere there */
    ok("cat > go_on.py <<'end'\n"
       "import os, time, shoal\n"
       "def run(x, attempt):\n"
       "    while x == 1 and not shoal.should_stop():\n"
       "        time.sleep(0.005)\n"
       "    for n in range(1, 3):\n"
       "        try:\n"
       "            os.mkdir(f'{shoal.checkpoint()}/{n}')\n"
       "        except FileExistsError:\n"
       "            continue\n"
       "        raise shoal.Continue()\n"
       "    return {'tries': attempt}\n"
       "end\n");
    start(&first, "");
    const char *job = ok("shoal submit --checkpoint --reps 3 %s", functions[_i].command);
    sh_exit(0, "shoal wait %s", job);
    for (int64_t task = 0; task < 3; task++)
        ck_assert_msg(int_in(row_of(job, task), "tries") >= 3, "%s", functions[_i].what);
    ck_assert_str_eq(ok("stat -c %%a kept/*/*/%s", job), "700");
    ck_assert_int_ge(attempts(job, "continue"), 2);
    wait_until(kept(job) == 0, LIMIT_MS);
    expect_each_once(job);
    expect_audit();
    worker_end(&first);
}
END_TEST

START_TEST(function_without_a_checkpoint_cannot_go_on) {
    ok("printf 'import shoal\\ndef run():\\n    assert shoal.checkpoint() is None\\n"
       "    raise shoal.Continue()\\n' > no.py");
    start(&first, "");
    const char *job = ok("shoal submit --python no:run");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "exit");
    ck_assert_ptr_nonnull(strstr(ok("shoal show %s 0", job), "needs --checkpoint"));
    job = ok("shoal submit --plugin $PLUGIN --task go_on -p x=0");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_ptr_nonnull(strstr(ok("shoal show %s 0", job), "no checkpoint"));
    worker_end(&first);
}
END_TEST

/* ---- what stays, and what goes */

START_TEST(failed_task_keeps_its_checkpoint_for_a_retry) {
    start(&first, "");
    const char *job = ok("shoal submit --checkpoint -p i=1:2 -- sh -c '" COUNT
                         "test {i} = 1 || test $n = 2 || exit 3; echo lines=$n'");
    sh_exit(1, "shoal wait %s", job);
    wait_until(kept(job) == 1, LIMIT_MS);
    ok("shoal retry %s", job);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_int_eq(attempts(job, "exit"), 0);
    ck_assert_str_eq(ok("shoal results %s --format jsonl | grep -c '\"lines\":2'", job),
                     "1");
    wait_until(kept(job) == 0, LIMIT_MS);
    worker_end(&first);
}
END_TEST

/* A worker looks when it starts. What lies beside the jobs of its store is not its own;
 * a link is removed, and not followed. */
START_TEST(checkpoints_of_forgotten_jobs_go) {
    start(&first, "");
    const char *lost =
        ok("shoal submit --checkpoint -- sh -c '" COUNT "mkdir $SHOAL_CHECKPOINT/deep; "
           "ln -s \"$HOME\"/precious $SHOAL_CHECKPOINT/deep; exit 1'");
    sh_exit(1, "shoal wait %s", lost);
    const char *known = ok("shoal submit --checkpoint -- sh -c '" COUNT "exit 1'");
    sh_exit(1, "shoal wait %s", known);
    worker_end(&first);
    ok("mkdir precious; : > precious/file; cd kept/*/*; mkdir notes; cd ..; "
       "mkdir -p 0ther0ther00/0123456789ab/0");
    ok("shoal forget %s", lost);
    ck_assert_uint_eq(kept(lost), 1);
    start(&second, "");
    wait_until(kept(lost) == 0, LIMIT_MS);
    wait_until(files("kept/*/*/gone/*") == 0, LIMIT_MS);
    ck_assert_uint_eq(kept(known), 1);
    ck_assert_uint_eq(files("kept/*/*/notes"), 1);
    ck_assert_uint_eq(files("kept/*/*/0123456789ab"), 1);
    ck_assert_uint_eq(files("precious/file"), 1);
    worker_end(&second);
}
END_TEST

START_TEST(replay_begins_with_an_empty_checkpoint) {
    start(&first, "");
    const char *job =
        ok("shoal submit --checkpoint -- sh -c '" COUNT "echo lines=$n; exit 4'");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(sh_exit(4, "shoal replay %s 0", job).out, "lines=1\n");
    ck_assert_str_eq(ok("shoal replay --print %s 0 | sh || true", job), "lines=1");
    ck_assert_str_eq(ok("cat kept/*/*/%s/0/n | wc -l", job), "1");
    worker_end(&first);
}
END_TEST

/* ---- its place */

/* Of what cannot be said later to whom it concerns, both are looked at at the start. */
static const struct {
    const char *options;
    const char *says;
} bad_places[] = {
    {"--checkpoints file", "--checkpoints: nothing can be kept in "},
    {"--checkpoints /proc/none", "make or write to"},
    {"--checkpoints ''", "it is empty or too long"},
    {"--checkpoints link", "shoal': it is a link, and so may lead anywhere; remove it"},
    {"--checkpoints shared", "/shared/shoal': its group or others may write to it"},
    {"--directory ''", "--directory '' is no directory: it is empty"},
    {"--spool file/below", "/file/below': Not a directory; name a directory"},
    {"--spool /proc/none", "--spool: nothing can be kept in '/proc/none'"},
};

START_TEST(bad_place_is_refused_at_the_start) {
    struct said said =
        sh_exit(2,
                ": > file; mkdir link shared; ln -s . link/shoal; mkdir -m 0770 "
                "shared/shoal; timeout 20 shoal-worker %s",
                bad_places[_i].options);
    ck_assert_msg(strstr(said.err, bad_places[_i].says) != NULL, "%s", said.err);
    ck_assert_uint_eq(files("tmp/*"), 0);
}
END_TEST

START_TEST(directory_of_tasks_that_is_not_there_is_named) {
    struct said said = sh_exit(1, "timeout 20 shoal-worker --directory none");
    ck_assert_msg(strstr(said.err, "--directory names another place") != NULL, "%s",
                  said.err);
}
END_TEST

static const char *const kinds[] = {
    "-- sh -c 'test -d \"$SHOAL_CHECKPOINT\" && echo there=1'",
    "--python model:run",
};

/* Its disk goes, and comes back. */
START_TEST(place_that_goes_away_charges_no_task) {
    ok("printf 'import os, shoal\ndef run():\n"
       "    return {\"there\": int(os.path.isdir(shoal.checkpoint()))}\n' > model.py");
    start(&first, "--slots 1");
    ok("mv kept away");
    const char *job = ok("shoal submit --checkpoint %s", kinds[_i]);
    wait_until(has_said(&first, "this slot rests and its lease goes back"), LIMIT_MS);
    ck_assert(has_said(&first, "is its disk there?"));
    ck_assert(!job_is(job, SHOAL_JOB_FAILED));
    ok("mv away kept");
    sh_exit(0, "shoal wait %s", job);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    ck_assert_int_eq(int_in(row_of(job, 0), "there"), 1);
    worker_end(&first);
}
END_TEST

/* Nobody asked for the usual place: who needs none runs. */
START_TEST(worker_without_a_place_runs_what_needs_none) {
    ok(": > file");
    sh_start(&first, "env -u SHOAL_CHECKPOINTS SHOAL_STATE=$HOME/file shoal-worker");
    wait_until(has_said(&first, "message=registered"), LIMIT_MS);
    ck_assert(has_said(&first, "--checkpoints names another place"));
    sh_exit(0, "shoal run -- true");
    const char *job = ok("shoal submit --checkpoint -- true");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "spawn");
    ck_assert_ptr_nonnull(
        strstr(ok("shoal show %s 0", job), "this worker has no place for checkpoints"));
    worker_end(&first);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("checkpoints");
    TCase *tests = tcase_create("checkpoints");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, simulation_goes_on_over_its_timeouts, 0, 2);
    tcase_add_loop_test(tests, task_of_a_killed_worker_goes_on_from_its_checkpoint, 0, 2);
    tcase_add_test(tests, task_that_asks_at_once_does_not_spin);
    tcase_add_test(tests, exit_code_85_is_a_failure_without_a_checkpoint);
    tcase_add_test(tests, task_of_a_stopped_worker_goes_on_elsewhere);
    tcase_add_test(tests, cancelled_task_does_not_go_on);
    tcase_add_loop_test(tests, function_goes_on, 0, (int)SHOAL_COUNT(functions));
    tcase_add_test(tests, function_without_a_checkpoint_cannot_go_on);
    tcase_add_test(tests, failed_task_keeps_its_checkpoint_for_a_retry);
    tcase_add_test(tests, checkpoints_of_forgotten_jobs_go);
    tcase_add_test(tests, replay_begins_with_an_empty_checkpoint);
    tcase_add_loop_test(tests, bad_place_is_refused_at_the_start, 0,
                        (int)SHOAL_COUNT(bad_places));
    tcase_add_test(tests, directory_of_tasks_that_is_not_there_is_named);
    tcase_add_loop_test(tests, place_that_goes_away_charges_no_task, 0,
                        (int)SHOAL_COUNT(kinds));
    tcase_add_test(tests, worker_without_a_place_runs_what_needs_none);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
