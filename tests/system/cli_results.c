/* What came of a job: results, show, replay, retry, cancel, forget. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_process worker;

static void setup(void) {
    daemons_start(NULL);
    worker_start(&worker, "--name w --slots 2");
}

static void teardown(void) {
    worker_end(&worker);
    daemons_finish();
}

/* Four points, twice each; the third fails. */
static void run_odd(void) {
    sh_exit(1, "shoal run --name odd --seed 5 -p n=1:4 --reps 2 -- "
               "sh -c 'test {n} -ne 3 || { echo too much >&2; exit 3; }; "
               "echo x={n}{rep}; echo who=\"a, {n}\"'");
}

/* ---- a spec that Redis has no more, or not as it was */

static const struct {
    const char *change; /* of $s */
    const char *said;
} changes[] = {
    {"r set $s nonsense", "the job's spec is garbled: it is no JSON"},
    {"r set $s '{}'", "the job's spec is garbled"},
    {"r del $s; r rpush $s nonsense", "has type list, which is not of shoal"},
    {"r del $s", "is not there"},
    {"r setrange $s 8000000 x", "the job's spec is garbled: it is too long"},
};

static void spoil_spec(const char *change) {
    run_odd();
    ok("r() { redis-cli -s ${SHOAL_REDIS#unix:} \"$@\"; }; k='shoal:{0}:'; "
       "s=${k}spec:$(r hget ${k}job:$(shoal list --json | jq -r .id) spec); %s",
       change);
}

static void expect_damage(struct said said, const char *why) {
    ck_assert_msg(strstr(said.err, "the spec of job ") != NULL &&
                      strstr(said.err, why) != NULL,
                  "%s", said.err);
}

START_TEST(rows_are_shown_without_their_spec) {
    spoil_spec(changes[_i].change);
    struct said said = sh_exit(3, "shoal results --sort --format csv odd > rows");
    expect_damage(said, changes[_i].said);
    ck_assert_str_eq(ok("cut -d, -f1-4,9- rows | sed -n '1p;4,6p'"),
                     "task,status,reason,attempt,x,who\n"
                     "2,ok,,1,20,\"a, 2\"\n"
                     "3,ok,,1,21,\"a, 2\"\n"
                     "4,failed,exit,1,,");
    said = sh_exit(3, "shoal results --failed --json odd");
    ck_assert_uint_eq(json_array_size(json_lines(said.out)), 2);
    sh_exit(3, "shoal results --by status odd");
    said = sh_exit(3, "shoal results --take odd");
    expect_damage(said, "nothing is taken");
    ck_assert_str_eq(said.out, "");
    ck_assert_int_eq(job_now(ok("shoal list --json | jq -r .id")).trimmed, 0);
}
END_TEST

START_TEST(task_is_shown_without_its_spec) {
    spoil_spec(changes[_i].change);
    struct said said = sh_exit(3, "shoal show odd 4");
    expect_damage(said, changes[_i].said);
    ck_assert_ptr_nonnull(strstr(said.out, "failed"));
    ck_assert_ptr_nonnull(strstr(said.out, "ended      exit 3 at"));
    ck_assert_ptr_nonnull(strstr(said.out, "too much"));
    ck_assert_ptr_null(strstr(said.out, "command"));
    said = sh_exit(3, "shoal show --json odd 7");
    const json_t *task = json_array_get(json_lines(said.out), 0);
    ck_assert_int_eq(int_in(task, "task"), 7);
    ck_assert(json_is_null(json_object_get(task, "command")));
    ck_assert_int_eq(int_in(json_object_get(task, "row"), "x"), 41);
    expect_damage(sh_exit(3, "shoal replay odd 4"), changes[_i].said);
}
END_TEST

/* ---- results */

#define HEAD "task,n,rep,status,reason,attempt,worker,wall_s,cpu_s,rss_mb,x,who"
/* All columns that depend on nothing but the job. */
#define STABLE " | cut -d, -f1-7,11-"

START_TEST(csv_has_a_line_for_each_task) {
    run_odd();
    ck_assert_str_eq(ok("shoal results --sort --format csv odd | head -n 1"), HEAD);
    ck_assert_str_eq(ok("shoal results --sort --format csv odd" STABLE),
                     "task,n,rep,status,reason,attempt,worker,x,who\n"
                     "0,1,0,ok,,1,w,10,\"a, 1\"\n"
                     "1,1,1,ok,,1,w,11,\"a, 1\"\n"
                     "2,2,0,ok,,1,w,20,\"a, 2\"\n"
                     "3,2,1,ok,,1,w,21,\"a, 2\"\n"
                     "4,3,0,failed,exit,1,w,,\n"
                     "5,3,1,failed,exit,1,w,,\n"
                     "6,4,0,ok,,1,w,40,\"a, 4\"\n"
                     "7,4,1,ok,,1,w,41,\"a, 4\"");
    ck_assert_str_eq(ok("shoal results --format csv odd | sort"),
                     ok("shoal results --sort --format csv odd | sort"));
}
END_TEST

START_TEST(json_has_an_object_for_each_task) {
    run_odd();
    const json_t *rows = json_lines(ok("shoal results --sort --json odd"));
    ck_assert_uint_eq(json_array_size(rows), 8);
    const json_t *row = json_array_get(rows, 7);
    ck_assert_int_eq(int_in(row, "task"), 7);
    ck_assert_int_eq(int_in(row, "n"), 4);
    ck_assert_int_eq(int_in(row, "rep"), 1);
    ck_assert_int_eq(int_in(row, "x"), 41);
    ck_assert_str_eq(text_in(row, "who"), "a, 4");
    ck_assert(json_number_value(json_object_get(row, "wall_s")) > 0);
    ck_assert(json_number_value(json_object_get(row, "rss_mb")) > 0);
    ck_assert_ptr_null(json_object_get(row, "reason"));
    ck_assert_ptr_null(json_object_get(json_array_get(rows, 4), "x"));
    ck_assert_str_eq(ok("shoal results --sort --json odd"),
                     ok("shoal results --sort --format jsonl odd"));
}
END_TEST

START_TEST(table_is_aligned) {
    run_odd();
    const char *table = ok("shoal results --sort odd");
    ck_assert_ptr_eq(strstr(table, "task  n  rep  status  reason"), table);
    ck_assert_ptr_nonnull(strstr(table, "\n   4  3    0  failed  exit          1  w "));
    ck_assert_str_eq(ok("shoal results --sort odd | wc -l"), "9");
}
END_TEST

START_TEST(only_what_failed_is_shown_when_asked) {
    run_odd();
    static const char *const ways[] = {"--failed", "--failed --sort"};
    for (size_t i = 0; i < SHOAL_COUNT(ways); i++)
        ck_assert_str_eq(ok("shoal results %s --format csv odd | cut -d, -f1-7 | "
                            "sort -n",
                            ways[i]),
                         "task,n,rep,status,reason,attempt,worker\n"
                         "4,3,0,failed,exit,1,w\n"
                         "5,3,1,failed,exit,1,w");
}
END_TEST

START_TEST(output_goes_to_a_file) {
    run_odd();
    ck_assert_str_eq(ok("shoal results --sort -o table odd"), "");
    ck_assert_str_eq(text_of("table"), ok("shoal results --sort odd"));
    sh_exit(2, "shoal results -o /no/such/folder/table odd");
}
END_TEST

/* x is 10 and 11 for n = 1: mean 10.5, standard deviation 1/sqrt(2), and with one degree
 * of freedom a 95 % interval of 12.706 times 0.5. */
START_TEST(groups_have_mean_deviation_and_interval) {
    run_odd();
    const json_t *groups = json_lines(ok("shoal results --by n --json odd"));
    ck_assert_uint_eq(json_array_size(groups), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *group = json_array_get(groups, i);
        int64_t n = int_in(group, "n");
        ck_assert_int_eq(n, (int64_t)i + 1);
        ck_assert_int_eq(int_in(group, "group.n"), n == 3 ? 0 : 2);
        ck_assert_int_eq(int_in(group, "failed"), n == 3 ? 2 : 0);
        if (n == 3)
            continue;
        ck_assert_double_eq_tol(json_number_value(json_object_get(group, "x_mean")),
                                10.0 * (double)n + 0.5, 1e-9);
        ck_assert_double_eq_tol(json_number_value(json_object_get(group, "x_sd")),
                                sqrt(0.5), 1e-4);
        ck_assert_double_eq_tol(json_number_value(json_object_get(group, "x_ci95")),
                                12.7062 * 0.5, 1e-3);
    }
    ck_assert_str_eq(ok("shoal results --by n,rep --format csv odd | wc -l"), "9");
    ck_assert_str_eq(ok("shoal results --by who --format csv odd | wc -l"), "5");
}
END_TEST

START_TEST(results_can_be_followed_to_the_end) {
    static const char *const ways[] = {"", "--sort"};
    struct test_process reader;
    int gate = gate_close("gate");
    ok("shoal submit --name long -p i=1:40 -- "
       "sh -c 'test {i} -le 5 || : > began.{i}; test {i} -le 5 || flock -sF gate true; "
       "echo x={i}'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    wait_until(json_array_size(rows_of("long")) == 5, LIMIT_MS);
    sh_start(&reader, "shoal results --follow --format csv %s long", ways[_i]);
    ck_assert(!test_process_has_ended(&reader));
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&reader, LIMIT_MS), 0);
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = test_process_out(&reader);
    size_t lines = 0;
    for (const char *at = out; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    ck_assert_uint_eq(lines, 1 + 40);
    ck_assert(job_is("long", SHOAL_JOB_SUCCEEDED));
    test_process_finish(&reader);
}
END_TEST

START_TEST(rows_that_were_taken_are_gone) {
    run_odd();
    ck_assert_str_eq(ok("shoal results --take --format csv odd | wc -l"), "9");
    ck_assert_uint_eq(json_array_size(rows_of("odd")), 0);
    ck_assert_int_eq(job_now("odd").ok, 6);
    expect_audit();
}
END_TEST

static const char *const senseless[] = {
    "--by n --sort odd",
    "--by n --take odd",
    "--take --failed odd",
    "--by nothing odd",
    "--by n,n odd",
    "--format xml odd",
    "missing",
    "",
    "odd odd",
};

START_TEST(senseless_questions_are_refused) {
    run_odd();
    struct said said = sh_exit(2, "shoal results %s", senseless[_i]);
    ck_assert_str_eq(said.out, "");
    ck_assert_ptr_eq(strstr(said.err, "shoal: "), said.err);
    ck_assert_uint_eq(json_array_size(rows_of("odd")), 8);
}
END_TEST

/* ---- one task */

START_TEST(show_tells_all_of_a_task) {
    run_odd();
    const char *story = ok("shoal show odd 4");
    static const char *const parts[] = {"\ntask         4\n", "\nn            3\n",
                                        "\nreason       exit\n", "exit 3 at ",
                                        "too much"};
    for (size_t i = 0; i < SHOAL_COUNT(parts); i++)
        ck_assert_msg(strstr(story, parts[i]) != NULL, "%s is not in %s", parts[i],
                      story);
    const json_t *task = json_array_get(json_lines(ok("shoal show --json odd 4")), 0);
    ck_assert_str_eq(text_in(task, "job"), job_now("odd").id);
    ck_assert_str_eq(text_in(json_object_get(task, "parameters"), "n"), "3");
    ck_assert_str_eq(text_in(json_object_get(task, "row"), "reason"), "exit");
    ck_assert_str_eq(
        json_string_value(json_array_get(json_object_get(task, "command"), 0)), "sh");
    const json_t *attempts = json_object_get(task, "attempts");
    ck_assert_uint_eq(json_array_size(attempts), 1);
    ck_assert_int_eq(int_in(json_array_get(attempts, 0), "code"), 3);
    ck_assert_str_eq(text_in(json_array_get(attempts, 0), "stderr"), "too much\n");
}
END_TEST

/* More than a commit or an answer of Redis may hold at once. */
START_TEST(large_results_are_all_there) {
    ok("shoal submit --name large --max-result 16M -p i=1:14 -- "
       "sh -c 'head -c 12000000 /dev/zero | tr \"\\\\0\" a'");
    sh_exit(0, "shoal wait large");
    ck_assert_str_eq(
        ok("shoal results large --format csv | awk 'length($0) > 12000000' | "
           "wc -l"),
        "14");
    expect_audit();
}
END_TEST

START_TEST(every_attempt_is_remembered) {
    sh_exit(1, "shoal run --name again --retries 2 -- "
               "sh -c 'echo try $SHOAL_ATTEMPT >&2; kill -9 $$'");
    const json_t *attempts = json_object_get(
        json_array_get(json_lines(ok("shoal show --json again 0")), 0), "attempts");
    ck_assert_uint_eq(json_array_size(attempts), 3);
    for (size_t i = 0; i < 3; i++) {
        char said[16];
        const json_t *attempt = json_array_get(attempts, i);
        snprintf(said, sizeof(said), "try %zu\n", i + 1);
        ck_assert_str_eq(text_in(attempt, "stderr"), said);
        ck_assert_str_eq(text_in(attempt, "reason"), "signal");
        ck_assert_int_eq(int_in(attempt, "code"), SIGKILL);
    }
    ck_assert_ptr_nonnull(strstr(ok("shoal show again 0"), "signal 9 (SIGKILL) at "));
    ok("shoal submit --name warned --timeout 1h --signal sigusr1@1m --delay 1h -- true");
    ck_assert_ptr_nonnull(strstr(ok("shoal show warned 0"), "\nsignal       USR1@1m\n"));
}
END_TEST

START_TEST(task_without_an_outcome_is_shown_too) {
    ok("shoal submit --name later --delay 1h -p i=5:9 -- echo {i}");
    ck_assert_ptr_nonnull(strstr(ok("shoal show later 2"), "none yet"));
    ck_assert_ptr_nonnull(strstr(ok("shoal show later 2"), "\ncommand      echo 7\n"));
    ck_assert(json_is_null(json_object_get(
        json_array_get(json_lines(ok("shoal show --json later 2")), 0), "row")));
    static const char *const beyond[] = {"5", "9007199254740993", "99999999999999999999"};
    for (size_t i = 0; i < SHOAL_COUNT(beyond); i++)
        ck_assert_ptr_nonnull(
            strstr(sh_exit(2, "shoal show later %s", beyond[i]).err, "from 0 to 4"));
    sh_exit(2, "shoal show later -1");
    sh_exit(2, "shoal show later x");
    ok("shoal cancel later");
    ck_assert_ptr_nonnull(strstr(ok("shoal show later 2"), "none: it was cancelled"));
}
END_TEST

/* ---- replay */

/* What of the environment must be the same wherever the task runs. */
#define RECORD                                                                           \
    "{ pwd; env | grep -E \"^(SHOAL_|OMP|COLOUR)\" | "                                   \
    "grep -vE \"^SHOAL_(TMP|RESULT|SLOT|REDIS|BUILD)=\" | sort; "                        \
    "for word; do echo \"<$word>\"; done; }"

START_TEST(replay_is_the_same_run) {
    ok("mkdir there");
    ok("shoal submit --name twin --seed 9 --cwd there -e 'COLOUR=a \"b' -p i=1:5 "
       "--reps 2 -- sh -c '" RECORD " > record.{task}' sh 'word {i}' '' '{seed}' "
       "\"it's\" '{rep}'");
    sh_exit(0, "shoal wait twin");
    ok("mv there/record.7 first");
    ok("shoal replay twin 7");
    ck_assert_ptr_nonnull(strstr(text_of("first"), "<word 4>\n<>\n<"));
    ck_assert_str_eq(text_of("first"), text_of("there/record.7"));
    ok("rm there/record.7; eval \"$(shoal replay --print twin 7)\"");
    ck_assert_str_eq(text_of("first"), text_of("there/record.7"));
    ck_assert_uint_eq(files("tmp/shoal-replay*"), 0);
}
END_TEST

static const struct {
    const char *script;
    int exit;
} endings[] = {{"true", 0}, {"exit 7", 7}, {"kill -9 $$", 137}};

START_TEST(replay_ends_as_the_program_does) {
    ok("shoal submit --name one -- sh -c 'echo seen; echo why >&2; echo x=1 > "
       "$SHOAL_RESULT; %s'",
       endings[_i].script);
    sh_exit(endings[_i].exit == 0 ? 0 : 1, "shoal wait one");
    struct said said = sh_exit(endings[_i].exit, "shoal replay one 0");
    ck_assert_str_eq(said.out, "seen\nx=1\n");
    ck_assert_str_eq(said.err, "why\n");
}
END_TEST

/* Besides where the task's own folder is. */
START_TEST(replay_has_the_environment_of_the_task) {
    static const char command[] =
        "sh -c 'tr \"\\0\" \"\\n\" < /proc/$$/environ | sort | "
        "grep -v \"^SHOAL_TMP=\\|^TMPDIR=\\|^SHOAL_RESULT=\" > seen; "
        "test -d $SHOAL_TMP -a $TMPDIR = $SHOAL_TMP; echo x=1 > $SHOAL_RESULT'";
    const char *job =
        ok("shoal submit -e 'COLOUR=a \"b\"' -p beta=0.5 --seed 3 -- %s", command);
    sh_exit(0, "shoal wait %s", job);
    ok("mv seen once; grep -q ^OMP_NUM_THREADS= once; grep -q ^SHOAL_SEED= once");
    ok("STRANGE=1 shoal replay %s 0; cmp seen once; rm seen", job);
    ok("export STRANGE=1; eval \"$(shoal replay --print %s 0)\"; cmp seen once", job);
}
END_TEST

START_TEST(replay_of_a_line_has_its_line) {
    ok("printf 'a b\\nc d\\n' | shoal submit --name lines --from - -- printf '<%%s>' {}");
    sh_exit(0, "shoal wait lines");
    ck_assert_str_eq(ok("shoal replay lines 1"), "<c d>");
}
END_TEST

/* ---- retry */

START_TEST(retry_runs_what_failed_and_the_later_row_wins) {
    sh_exit(1,
            "shoal run --name fix -p i=1:6 -- "
            "sh -c 'echo {i} >> ran; test {i} -ne 4 -o -e fixed || exit 1; echo x={i}'");
    ok(": > fixed");
    ck_assert_ptr_nonnull(
        strstr(sh_exit(0, "shoal retry --failed fix").err, "for 1 task\n"));
    sh_exit(0, "shoal wait fix");
    expect_each_once("fix");
    ck_assert_int_eq(int_in(row_of("fix", 3), "attempt"), 2);
    ck_assert_int_eq(int_in(row_of("fix", 3), "x"), 4);
    ck_assert_str_eq(ok("grep -c . ran; grep -c 4 ran"), "7\n2");
    ck_assert_str_eq(ok("shoal results --failed --format jsonl fix"), "");
    ck_assert_ptr_nonnull(strstr(sh_exit(0, "shoal retry fix").err, "nothing to retry"));
}
END_TEST

/* A task has failed, one is cancelled while it runs, the others before they began. */
static void cancel_some(const char *name) {
    int gate = gate_close("gate");
    ok("shoal submit --name %s --max-running 1 -p i=1:6 -- "
       "sh -c 'echo {i} >> ran; test {i} -ne 1 || exit 1; test -e fixed || "
       "exec flock -sF gate true'",
       name);
    wait_until(files("ran") == 1 && strlen(text_of("ran")) == 3, LIMIT_MS);
    ok("shoal cancel %s", name);
    sh_exit(1, "shoal wait %s", name);
    struct shoal_job now = job_now(name);
    ck_assert_str_eq(shoal_job_state_name(now.state), "cancelled");
    ck_assert_int_eq(now.failed, 1);
    ck_assert_int_eq(now.cancelled, 5);
    ck_assert_uint_eq(json_array_size(rows_of(name)), 1);
    gate_open(gate);
    ok(": > fixed");
}

START_TEST(retry_takes_what_was_cancelled_unless_told_otherwise) {
    cancel_some("all");
    ck_assert_ptr_nonnull(strstr(sh_exit(0, "shoal retry all").err, "6 tasks"));
    sh_exit(1, "shoal wait all");
    ck_assert_int_eq(job_now("all").ok, 5);
    ck_assert_int_eq(job_now("all").failed, 1);
    ok("rm fixed ran");
    cancel_some("some");
    ck_assert_ptr_nonnull(
        strstr(sh_exit(0, "shoal retry --failed some").err, "for 1 task\n"));
    sh_exit(1, "shoal wait some");
    ck_assert_int_eq(job_now("some").cancelled, 5);
    expect_audit();
}
END_TEST

/* ---- cancel, forget */

static const struct {
    const char *option;
    bool told; /* before they end */
} cancels[] = {{"", true}, {"--kill", false}};

START_TEST(cancelled_job_stops_what_runs) {
    int gate = gate_close("gate");
    const char *job = ok("shoal submit --grace 1h -p i=1:9 -- "
                         "sh -c 'trap \": > told.{i}; kill \\$!; exit 0\" TERM; "
                         ": > began.{i}; flock -sF gate true & wait'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    ok("shoal cancel %s %s", cancels[_i].option, job);
    sh_exit(1, "shoal wait %s", job);
    ck_assert_uint_eq(files("told.*"), cancels[_i].told ? 2 : 0);
    ck_assert_uint_eq(files("began.*"), 2);
    char mark[64];
    snprintf(mark, sizeof(mark), "SHOAL_JOB=%s", job);
    test_none_left(mark, LIMIT_MS);
    ck_assert_str_eq(shoal_job_state_name(job_now(job).state), "cancelled");
    expect_audit();
    gate_open(gate);
}
END_TEST

START_TEST(forgotten_job_is_gone_and_a_running_one_is_not_forgotten) {
    int gate = gate_close("gate");
    run_odd();
    ok("shoal submit --name runs -- flock -sF gate true");
    sh_exit(2, "shoal forget runs");
    ok("shoal forget odd");
    sh_exit(2, "shoal results odd");
    sh_exit(2, "shoal forget odd");
    ck_assert_uint_eq(json_array_size(json_lines(ok("shoal list --json"))), 1);
    gate_open(gate);
    sh_exit(0, "shoal wait runs");
    expect_audit();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cli_results");
    TCase *tests = tcase_create("cli_results");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, rows_are_shown_without_their_spec, 0,
                        SHOAL_COUNT(changes));
    tcase_add_loop_test(tests, task_is_shown_without_its_spec, 0, SHOAL_COUNT(changes));
    tcase_add_test(tests, csv_has_a_line_for_each_task);
    tcase_add_test(tests, json_has_an_object_for_each_task);
    tcase_add_test(tests, table_is_aligned);
    tcase_add_test(tests, only_what_failed_is_shown_when_asked);
    tcase_add_test(tests, output_goes_to_a_file);
    tcase_add_test(tests, groups_have_mean_deviation_and_interval);
    tcase_add_loop_test(tests, results_can_be_followed_to_the_end, 0, 2);
    tcase_add_test(tests, rows_that_were_taken_are_gone);
    tcase_add_loop_test(tests, senseless_questions_are_refused, 0,
                        (int)SHOAL_COUNT(senseless));
    tcase_add_test(tests, show_tells_all_of_a_task);
    tcase_add_test(tests, large_results_are_all_there);
    tcase_add_test(tests, every_attempt_is_remembered);
    tcase_add_test(tests, task_without_an_outcome_is_shown_too);
    tcase_add_test(tests, replay_is_the_same_run);
    tcase_add_loop_test(tests, replay_ends_as_the_program_does, 0,
                        (int)SHOAL_COUNT(endings));
    tcase_add_test(tests, replay_has_the_environment_of_the_task);
    tcase_add_test(tests, replay_of_a_line_has_its_line);
    tcase_add_test(tests, retry_runs_what_failed_and_the_later_row_wins);
    tcase_add_test(tests, retry_takes_what_was_cancelled_unless_told_otherwise);
    tcase_add_loop_test(tests, cancelled_job_stops_what_runs, 0,
                        (int)SHOAL_COUNT(cancels));
    tcase_add_test(tests, forgotten_job_is_gone_and_a_running_one_is_not_forgotten);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
