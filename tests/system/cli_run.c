/* `shoal run` and `shoal submit`: what becomes tasks, how they are run, what is told. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_process worker, run;

static void setup(void) {
    daemons_start(NULL);
    worker_start(&worker, "--slots 2");
}

static void teardown(void) {
    worker_end(&worker);
    daemons_finish();
}

/* ---- what becomes tasks */

/* What the program was given, in the order of tasks. */
static const struct {
    const char *options;
    const char *words;
    const char *expected;
} sweeps[] = {
    {"-p a=1:2 -p b=x,y", "{a}{b}", "1x 1y 2x 2y"},
    {"-p a=1:2 -p b=x,y --zip", "{a}{b}", "1x 2y"},
    {"-p a=1:2 --reps 3", "{a}.{rep}", "1.0 1.1 1.2 2.0 2.1 2.2"},
    {"--reps 2", "{task}.{rep}", "0.0 1.1"},
    {"-p a=0:0.3:0.1", "<{a}>", "<0> <0.1> <0.2> <0.3>"},
    {"-p a=lin:0:1:3", "<{a}>", "<0> <0.5> <1>"},
    {"-p a=log:1:100:3", "<{a}>", "<1> <10> <100>"},
    {"-p a=5:1:-2", "<{a}>", "<5> <3> <1>"},
    {"-p a=@words", "<{a}>", "<one> <two words>"},
    {"-p a=1", "{{a}}{a}${x}{}{a-b}", "{a}1${x}{}{a-b}"},
    {"", "alone", "alone"},
};

/* Notes its word for each task. */
#define NOTE "sh -c 'printf %%s \"$1\" > said.$SHOAL_TASK' sh"

static const char *noted(const char *job) {
    static char words[512];
    words[0] = '\0';
    for (int64_t task = 0; task < job_now(job).total; task++) {
        char name[32];
        size_t used = strlen(words);
        snprintf(name, sizeof(name), "said.%d", (int)task);
        ck_assert_uint_eq(files(name), 1);
        snprintf(words + used, sizeof(words) - used, "%s%s", task == 0 ? "" : " ",
                 text_of(name));
    }
    return words;
}

START_TEST(parameters_become_tasks) {
    ok("printf 'one\\ntwo words\\n' > words");
    const char *job =
        ok("shoal submit %s -- " NOTE " '%s'", sweeps[_i].options, sweeps[_i].words);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_str_eq(noted(job), sweeps[_i].expected);
}
END_TEST

static const struct {
    const char *file;
    const char *text; /* of printf(1) */
    const char *words;
    const char *options;
    const char *expected;
} sources[] = {
    {"p.csv", "r,c\\n1,x\\n2,\"a,\"\"b\"\"\"\\n", "{r}/{c}", "", "1/x 2/a,\"b\""},
    {"p.csv", "r\\r\\n1\\r\\n2\\r\\n", "<{r}>", "", "<1> <2>"},
    {"p.tsv", "r\\tc\\n1\\tx y\\n2\\tz\\n", "{r}/{c}", "", "1/x y 2/z"},
    {"p.jsonl", "{\"r\":1,\"c\":\"x\"}\\n{\"r\":2.5,\"c\":\"y\"}\\n", "{r}/{c}", "",
     "1/x 2.5/y"},
    {"p.txt", "one\\ntwo words\\nlast", "<{}>", "", "<one> <two words> <last>"},
    {"p.txt", "a\\nb\\n", "{}.{rep}", "--reps 2", "a.0 a.1 b.0 b.1"},
    {"-", "a\\nb c\\n", "<{}>", "", "<a> <b c>"},
};

START_TEST(rows_of_a_file_become_tasks) {
    const char *file = sources[_i].file;
    ok("printf '%s' > input && cp input %s", sources[_i].text,
       strcmp(file, "-") == 0 ? "copy" : file);
    const char *job = ok("shoal submit --from %s %s -- " NOTE " '%s' < input", file,
                         sources[_i].options, sources[_i].words);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_str_eq(noted(job), sources[_i].expected);
    expect_each_once(job);
}
END_TEST

START_TEST(billion_points_are_one_job_that_starts_and_can_be_cancelled) {
    const char *job = ok("shoal submit -p a=1:1000 -p b=1:1000 -p c=1:1000 -- true");
    ck_assert_int_eq(job_now(job).total, 1000000000);
    wait_until(job_now(job).ok >= 10, LIMIT_MS);
    ck_assert_uint_ge(json_array_size(rows_of(job)), 10);
    ok("shoal cancel %s", job);
    sh_exit(1, "shoal wait %s", job);
    struct shoal_job now = job_now(job);
    ck_assert_str_eq(shoal_job_state_name(now.state), "cancelled");
    ck_assert_int_eq(now.ok + now.cancelled, now.total);
    expect_audit();
}
END_TEST

START_TEST(dry_run_shows_commands_and_submits_nothing) {
    const char *shown = ok("shoal run --dry-run -p a=1:7 -p b='x y' -- echo {a} {b}");
    ck_assert_str_eq(shown, "7 tasks; the seeds shown are those of --seed 0\n"
                            "echo 1 'x y'\necho 2 'x y'\necho 3 'x y'\necho 4 'x y'\n"
                            "echo 5 'x y'\n…");
    ck_assert_str_eq(ok("shoal submit --dry-run --seed 1 -- true"), "1 task\ntrue");
    ck_assert_str_eq(ok("shoal list --json"), "");
}
END_TEST

/* ---- seeds */

static const char *seeds_of(const char *job) {
    return ok("shoal results --sort --format csv %s | cut -d, -f1,2,10", job);
}

START_TEST(seed_makes_a_sweep_reproducible) {
    struct test_process more;
    static const char sweep[] =
        "-p i=1:20 -- sh -c 'echo s=x{seed}.{seed31}.$SHOAL_SEED'";
    const char *once = ok("shoal submit --seed 42 %s", sweep);
    const char *other = ok("shoal submit --seed 43 %s", sweep);
    const char *chance = ok("shoal submit %s", sweep);
    sh_exit(0, "shoal wait %s %s %s", once, other, chance);
    worker_start(&more, "--name more --slots 3");
    const char *again = ok("shoal submit --seed 42 %s", sweep);
    sh_exit(0, "shoal wait %s", again);
    ck_assert_str_eq(seeds_of(once), seeds_of(again));
    ck_assert_str_ne(seeds_of(once), seeds_of(other));
    ck_assert_str_ne(seeds_of(once), seeds_of(chance));
    ck_assert_str_eq(
        ok("shoal results --format csv %s | cut -d, -f10 | sort -u | wc -l", once), "21");
    int64_t drawn = int_in(
        json_array_get(json_lines(ok("shoal status --json %s", chance)), 0), "seed");
    const char *third = ok("shoal submit --seed %lld %s", (long long)drawn, sweep);
    sh_exit(0, "shoal wait %s", third);
    ck_assert_str_eq(seeds_of(chance), seeds_of(third));
    worker_end(&more);
}
END_TEST

/* ---- how tasks are run */

START_TEST(task_sees_what_was_promised) {
    ok("mkdir there");
    const char *job = ok("shoal submit --seed 7 --cwd there --env COLOUR='a b=c' -e B=2 "
                         "-p beta=0.5 --reps 2 -- sh -c 'env > env.{task}; pwd > pwd; "
                         "cat > stdin; test -d $SHOAL_TMP; echo left=1 > $SHOAL_TMP/x; "
                         "echo noise; echo seen=1 > $SHOAL_RESULT'");
    sh_exit(0, "shoal wait %s", job);
    ok("cd there; for line in SHOAL_TASK=1 SHOAL_REP=1 SHOAL_PARAM_BETA=0.5 "
       "SHOAL_ATTEMPT=1 SHOAL_JOB=%s B=2 OMP_NUM_THREADS=1 'COLOUR=a b=c'; do "
       "grep -qx \"$line\" env.1 || exit 1; done",
       job);
    ok("cd there; grep -q '^SHOAL_SEED=[0-9]*$' env.0 && ! grep SHOAL_REDIS env.0");
    ck_assert_str_eq(text_of("there/pwd"), ok("cd there; pwd"));
    ck_assert_str_eq(text_of("there/stdin"), "");
    ck_assert_int_eq(int_in(row_of(job, 1), "seen"), 1);
    ck_assert_uint_eq(files("tmp/*/*/x"), 0);
}
END_TEST

/* Failures come one after another on one slot; the rest of 100 is cancelled. */
static const struct {
    const char *limit;
    int failed;
} limits[] = {{"3", 3}, {"5%", 5}, {"100%", 100}};

START_TEST(too_many_failures_stop_the_job) {
    const char *job =
        ok("shoal submit --max-fails %s --max-running 1 -p i=1:100 -- false",
           limits[_i].limit);
    sh_exit(1, "shoal wait %s", job);
    struct shoal_job now = job_now(job);
    ck_assert_str_eq(shoal_job_state_name(now.state), "failed");
    ck_assert_int_ge(now.failed, limits[_i].failed);
    ck_assert_int_eq(now.failed + now.cancelled, 100);
    if (limits[_i].failed < 100)
        ck_assert_int_gt(now.cancelled, 0);
    ck_assert_uint_eq(json_array_size(rows_of(job)), (size_t)now.failed);
    expect_audit();
}
END_TEST

/* A second one at the same time would fail. */
START_TEST(no_more_run_at_a_time_than_asked) {
    const char *job = ok("shoal submit --max-running 1 -p i=1:30 -- "
                         "flock -n lock sleep 0.02");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
}
END_TEST

START_TEST(higher_priority_goes_first) {
    ok("shoal pause default");
    ok("shoal submit -n low --priority 1 -p i=1:3 --max-running 1 -- "
       "sh -c 'echo low >> order'");
    ok("shoal submit -n high --priority 9 -p i=1:3 --max-running 1 -- "
       "sh -c 'test ! -e order; sleep 0.05'");
    ok("shoal resume default");
    sh_exit(0, "shoal wait low high");
    ck_assert_int_eq(job_now("high").ok, 3);
}
END_TEST

START_TEST(job_is_forgotten_when_its_time_is_over) {
    const char *job = ok("shoal submit --keep 1m -- true");
    sh_exit(0, "shoal wait %s", job);
    const char *due =
        ok("redis-cli -s %s zscore 'shoal:{0}:dates' x:%s", daemons.server.socket, job);
    ck_assert_int_eq(strtoll(due, NULL, 10) - job_now(job).ended_ms, 60000);
    ok("redis-cli -s %s zadd 'shoal:{0}:dates' 1 x:%s", daemons.server.socket, job);
    wait_until(sh("shoal status %s", job).exit == 2, LIMIT_MS);
    ck_assert_str_eq(ok("shoal list --json"), "");
    expect_audit();
}
END_TEST

START_TEST(result_that_is_too_large_fails_if_it_has_a_structure) {
    static const char large[] = "head -c 5000 /dev/zero | tr \"\\\\0\" x";
    const char *text = ok("shoal submit --max-result 1k -- sh -c '%s; echo end'", large);
    const char *json = ok("shoal submit --max-result 1k --retries 3 -- "
                          "sh -c 'echo \"{\\\"a\\\":\\\"$(%s)\\\"}\"'",
                          large);
    sh_exit(0, "shoal wait %s", text);
    sh_exit(1, "shoal wait %s", json);
    const char *kept = text_in(row_of(text, 0), "result");
    ck_assert_uint_le(strlen(kept), 1024 + 100);
    ck_assert_str_eq(kept + strlen(kept) - 4, "xend");
    ck_assert_str_eq(text_in(row_of(json, 0), "reason"), "too-large");
    ck_assert_int_eq(int_in(row_of(json, 0), "attempt"), 1);
}
END_TEST

/* ---- run */

START_TEST(run_prints_rows_and_tells_how_it_ended) {
    struct said said =
        sh_exit(0, "shoal run --format csv -p i=1:3 -- sh -c 'echo x={i}'");
    ck_assert_ptr_eq(strstr(said.out, "task,i,"), said.out);
    ck_assert_ptr_nonnull(strstr(said.err, "succeeded: 3 tasks, 3 ok, 0 failed"));
    said = sh_exit(0, "shoal run -o rows --format jsonl -p i=1:3 -- sh -c 'echo x={i}'");
    ck_assert_str_eq(said.out, "");
    const json_t *rows = json_lines(text_of("rows"));
    ck_assert_uint_eq(json_array_size(rows), 3);
    ck_assert_int_eq(int_in(json_array_get(rows, 0), "x"),
                     int_in(json_array_get(rows, 0), "i"));
    said = sh_exit(1, "shoal run -p i=1:3 -- test {i} -ne 2");
    ck_assert_ptr_nonnull(strstr(said.err, "failed: 3 tasks, 2 ok, 1 failed"));
    ck_assert_ptr_nonnull(strstr(said.err, "--failed"));
}
END_TEST

/* Every row of a long run comes out, though Redis keeps only unread ones. */
START_TEST(run_prints_each_row_once) {
    ok("shoal run --name many -o rows --format csv -p i=1:600 -- "
       "sh -c 'echo {i} >> ran; echo x={i}'");
    ck_assert_str_eq(ok("tail -n +2 rows | cut -d, -f1 | sort -nu | wc -l"), "600");
    ck_assert_str_eq(ok("wc -l < rows"), "601");
    ck_assert_str_eq(ok("wc -l < ran"), "600");
}
END_TEST

static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP};

START_TEST(one_interrupt_stops_the_job) {
    int gate = gate_close("gate");
    sh_start(&run, "shoal run --name stopped --format csv -p i=1:50 -- "
                   "sh -c 'test {i} -eq 1 && exec echo x=1; "
                   "trap \": > told.{i}; kill \\$!; exit 1\" TERM; : > began.{i}; "
                   "flock -sF gate true & wait'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    test_process_signal(&run, interrupts[_i]);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 130);
    ck_assert(has_said(&run, "stopping: nothing new starts"));
    ck_assert(has_said(&run, "to run the rest: shoal retry"));
    ck_assert_uint_eq(files("told.*"), 2);
    ck_assert_uint_eq(files("began.*"), 2);
    struct shoal_job now = job_now("stopped");
    ck_assert_str_eq(shoal_job_state_name(now.state), "cancelled");
    ck_assert_int_eq(now.ok, 1);
    ck_assert_int_eq(now.ok + now.cancelled, 50);
    SHOAL_CLEANUP(shoal_cleanup_free) char *rows = test_process_out(&run);
    ck_assert_ptr_nonnull(strstr(rows, "\n0,1,ok,"));
    expect_audit();
    test_process_finish(&run);
    gate_open(gate);
}
END_TEST

START_TEST(second_interrupt_kills_what_runs) {
    int gate = gate_close("gate");
    sh_start(&run, "shoal run --name killed --grace 1h -p i=1:50 -- "
                   "sh -c 'trap \"\" TERM; : > began.{i}; exec flock -sF gate true'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    test_process_signal(&run, interrupts[_i]);
    wait_until(has_said(&run, "stopping"), LIMIT_MS);
    wait_until(job_is("killed", SHOAL_JOB_STOPPING), LIMIT_MS);
    test_process_signal(&run, SIGINT); /* a terminal hangs up once */
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 130);
    ck_assert(has_said(&run, "killing what runs"));
    ck_assert_int_eq(job_now("killed").cancelled, 50);
    char mark[64];
    snprintf(mark, sizeof(mark), "SHOAL_JOB=%s", job_now("killed").id);
    test_none_left(mark, LIMIT_MS);
    expect_audit();
    test_process_finish(&run);
    gate_open(gate);
}
END_TEST

/* Redis refuses scripts for a while, but not to be looked at. */
START_TEST(interrupt_that_redis_did_not_take_is_sent_again) {
    sh_start(&run, "shoal run --name held -q nobody -- true");
    wait_until(sh("shoal status held").exit == 0, LIMIT_MS);
    ok("redis-cli -s %s acl setuser default -fcall", daemons.server.socket);
    test_process_signal(&run, SIGINT);
    wait_until(has_said(&run, "waiting for it to come back"), LIMIT_MS);
    ck_assert(has_said(&run, "stopping: nothing new starts"));
    ck_assert(job_is("held", SHOAL_JOB_ACTIVE));
    ok("redis-cli -s %s acl setuser default +fcall", daemons.server.socket);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 130);
    ck_assert(job_is("held", SHOAL_JOB_CANCELLED));
    test_process_finish(&run);
}
END_TEST

/* A row needs its argument as well as its result. */
START_TEST(row_without_its_argument_comes_later) {
    int gate = gate_close("gate");
    ok("printf 'one\\ntwo\\n' > rows");
    sh_start(&run, "shoal run --name later --from rows -f csv -- flock -sF gate true");
    wait_until(sh("shoal status later").exit == 0 && job_now("later").leased == 2,
               LIMIT_MS);
    ok("redis-cli -s %s acl setuser default -xrevrange", daemons.server.socket);
    gate_open(gate);
    wait_until(has_said(&run, "waiting for it to come back"), LIMIT_MS);
    ok("redis-cli -s %s acl setuser default +xrevrange", daemons.server.socket);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    SHOAL_CLEANUP(shoal_cleanup_free) char *rows = test_process_out(&run);
    ck_assert_ptr_nonnull(strstr(rows, "\n0,one,ok,"));
    ck_assert_ptr_nonnull(strstr(rows, "\n1,two,ok,"));
    test_process_finish(&run);
}
END_TEST

/* The worker stands still, so what it runs does not end. */
START_TEST(third_interrupt_leaves_the_job_alone) {
    int gate = gate_close("gate");
    sh_start(&run,
             "shoal run --name left -- sh -c ': > began; exec flock -sF gate true'");
    wait_until(files("began") == 1, LIMIT_MS);
    pid_t pid = worker_pid(&worker);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    test_process_signal(&run, SIGINT);
    wait_until(has_said(&run, "stopping"), LIMIT_MS);
    test_process_signal(&run, SIGINT);
    wait_until(has_said(&run, "killing what runs"), LIMIT_MS);
    test_process_signal(&run, SIGINT);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 130);
    ck_assert(has_said(&run, "is left alone"));
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    sh_exit(1, "shoal wait left");
    ck_assert(job_is("left", SHOAL_JOB_CANCELLED));
    test_process_finish(&run);
    gate_open(gate);
}
END_TEST

/* The job does not depend on who looks at it. */
START_TEST(job_goes_on_when_run_is_killed_or_its_reader_leaves) {
    int gate = gate_close("gate");
    sh_start(&run, "shoal run --name alone -p i=1:20 -- "
                   "sh -c ': > began.{i}; exec flock -sF gate echo i={i}'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    test_process_signal(&run, SIGKILL);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), -SIGKILL);
    gate_open(gate);
    sh_exit(0, "shoal wait alone");
    expect_each_once("alone");
    test_process_finish(&run);
    ok("shoal run --name read --format csv -p i=1:400 -- echo x=1 | head -n 2 > head");
    sh_exit(0, "shoal wait read");
    ck_assert_int_eq(job_now("read").ok, 400);
}
END_TEST

/* However far the client came before it died. */
START_TEST(submission_that_was_cut_off_is_continued) {
    struct test_process client;
    ok("seq 2000000 > rows");
    ok("shoal pause default");
    sh_start(&client, "shoal submit --name cut --from rows -- echo {}");
    wait_until(sh("shoal status cut --json").exit == 0, LIMIT_MS);
    test_process_signal(&client, SIGKILL);
    test_process_finish(&client);
    bool whole = job_is("cut", SHOAL_JOB_ACTIVE);
    sh_exit(2, "shoal submit --continue cut");
    sh_exit(2, "seq 3 > few; shoal submit --continue cut --from few --reps 2");
    if (!whole && job_now("cut").total > 0) {
        struct said other = sh_exit(2, "(echo 0; cat rows) > other; "
                                       "shoal submit --continue cut --from other");
        ck_assert_ptr_nonnull(strstr(other.err, "they differ in tasks 0 to "));
    }
    sh_exit(whole ? 2 : 0, "shoal submit --continue cut --from rows");
    sh_exit(2, "shoal submit --continue cut --from rows"); /* once */
    ck_assert_int_eq(job_now("cut").total, 2000000);
    ok("shoal cancel cut");
    ok("shoal resume default");
    expect_audit();
}
END_TEST

/* ---- a job that stands still */

/* Of the job "still", or one like it. */
static const char *const waits[] = {
    "shoal run -q nosuch --format csv -- true",
    "shoal wait still --json",
    "shoal results still --follow",
};

START_TEST(queue_that_no_worker_serves_is_told_of_once) {
    struct test_process other;
    ok("shoal submit --name still -q nosuch -- true");
    sh_start(&run, "%s", waits[_i]);
    wait_until(has_said(&run, "waits, since no worker serves the queue 'nosuch'; served "
                              "are: default\n"),
               LIMIT_MS);
    ok("shoal pause nosuch");
    wait_until(has_said(&run, "'shoal resume nosuch' lets it go on\n"), LIMIT_MS);
    ok("shoal resume nosuch; redis-cli -s ${SHOAL_REDIS#unix:} config set maxmemory 1mb");
    wait_until(has_said(&run, "Redis is full"), LIMIT_MS);
    ok("redis-cli -s ${SHOAL_REDIS#unix:} config set maxmemory 0");
    worker_start(&other, "--queue nosuch");
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    ck_assert_uint_eq(times_said(&run, "no worker serves"), 1);
    worker_end(&other);
    test_process_finish(&run);
}
END_TEST

/* Who is busy with something else is not told of. */
START_TEST(job_that_waits_for_its_turn_is_no_matter) {
    int gate = gate_close("gate");
    ok("shoal submit -p i=1:2 -- flock -sF gate true");
    sh_start(&run, "shoal run --name later -- true");
    wait_until(sh("shoal wait later --timeout 5s").exit == 4, LIMIT_MS);
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    ck_assert(!has_said(&run, "waits"));
    test_process_finish(&run);
}
END_TEST

/* What a job of another time left is put into one that waits for its turn. */
START_TEST(only_who_could_not_start_it_lately_is_told_of) {
    int gate = gate_close("gate");
    const char *other =
        ok("shoal run -q default --name other -- /nowhere >&2; "
           "shoal status --json other | grep -o '[0-9a-z]\\{12\\}' | head -n 1");
    ok("shoal submit -p i=1:2 -- flock -sF gate true");
    const char *job = ok("shoal submit --name later -- true");
    ok("r() { redis-cli -s ${SHOAL_REDIS#unix:} \"$@\"; }; "
       "r lindex 'shoal:{0}:attempts:%s' -1 | head -c -1 | sed 's/^1[0-9]\\{12\\}/%s/' | "
       "r -x rpush 'shoal:{0}:attempts:%s'",
       other, _i == 0 ? "1000000000000" : "&", job);
    sh_start(&run, "shoal wait later");
    if (_i == 0)
        ck_assert_int_eq(sh("shoal wait later --timeout 7s").exit, 4);
    else
        wait_until(has_said(&run, "waits for a worker that can start it"), LIMIT_MS);
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    ck_assert_uint_eq(times_said(&run, "waits"), (size_t)_i);
    test_process_finish(&run);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cli_run");
    TCase *tests = tcase_create("cli_run");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, parameters_become_tasks, 0, (int)SHOAL_COUNT(sweeps));
    tcase_add_loop_test(tests, rows_of_a_file_become_tasks, 0, (int)SHOAL_COUNT(sources));
    tcase_add_test(tests, submission_that_was_cut_off_is_continued);
    tcase_add_test(tests, billion_points_are_one_job_that_starts_and_can_be_cancelled);
    tcase_add_test(tests, dry_run_shows_commands_and_submits_nothing);
    tcase_add_test(tests, seed_makes_a_sweep_reproducible);
    tcase_add_test(tests, task_sees_what_was_promised);
    tcase_add_loop_test(tests, too_many_failures_stop_the_job, 0,
                        (int)SHOAL_COUNT(limits));
    tcase_add_test(tests, no_more_run_at_a_time_than_asked);
    tcase_add_test(tests, higher_priority_goes_first);
    tcase_add_test(tests, job_is_forgotten_when_its_time_is_over);
    tcase_add_test(tests, result_that_is_too_large_fails_if_it_has_a_structure);
    tcase_add_test(tests, run_prints_rows_and_tells_how_it_ended);
    tcase_add_test(tests, run_prints_each_row_once);
    tcase_add_loop_test(tests, one_interrupt_stops_the_job, 0,
                        (int)SHOAL_COUNT(interrupts));
    tcase_add_loop_test(tests, second_interrupt_kills_what_runs, 0,
                        (int)SHOAL_COUNT(interrupts));
    tcase_add_test(tests, interrupt_that_redis_did_not_take_is_sent_again);
    tcase_add_test(tests, row_without_its_argument_comes_later);
    tcase_add_test(tests, third_interrupt_leaves_the_job_alone);
    tcase_add_test(tests, job_goes_on_when_run_is_killed_or_its_reader_leaves);
    tcase_add_loop_test(tests, queue_that_no_worker_serves_is_told_of_once, 0,
                        (int)SHOAL_COUNT(waits));
    tcase_add_test(tests, job_that_waits_for_its_turn_is_no_matter);
    tcase_add_loop_test(tests, only_who_could_not_start_it_lately_is_told_of, 0, 2);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
