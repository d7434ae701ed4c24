/* Functions in runners that stay, through real workers: C plug-ins, Python, and runners
 * that talk nonsense. */
#include "client/shoal.h"
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct test_process worker;

static void start(const char *options) {
    daemons_start(NULL);
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    worker_start(&worker, options);
}

static void teardown(void) {
    worker_end(&worker);
    daemons_finish();
}

static void setup(void) {
    start("--slots 2");
}

static const char *name_of_last(void) {
    return ok("shoal status - --json | sed 's/.*\"id\":\"\\([a-z0-9]*\\)\".*/\\1/'");
}

/* ---- what a function is given and gives */

START_TEST(function_gets_all_of_its_task) {
    const char *job = ok("shoal submit --plugin $PLUGIN --task echo --seed 7 -p x=2.5,4 "
                         "--reps 2");
    sh_exit(0, "shoal wait %s", job);
    const json_t *row = row_of(job, 3);
    ck_assert_int_eq(int_in(row, "index"), 3);
    ck_assert_int_eq(int_in(row, "tries"), 1);
    ck_assert_int_eq(int_in(row, "repetition"), 1);
    ck_assert_int_eq(int_in(row, "int"), 4);
    ck_assert_int_eq(int_in(row, "has"), 1);
    ck_assert_str_eq(text_in(row, "infinite"), "inf");
    const char *seed = ok("shoal run --seed 7 -p x=2.5,4 --reps 2 --format csv -- echo "
                          "s={seed} | awk -F, '$1 == 3 {print $(NF - 1)}'");
    ck_assert_int_eq(int_in(row, "seed"), strtoll(seed, NULL, 10));
    ck_assert(json_real_value(json_object_get(row_of(job, 0), "number")) == 2.5);
    ck_assert_int_eq(int_in(row_of(job, 0), "int"), -1); /* it is none */
}
END_TEST

START_TEST(line_is_the_functions_argument) {
    ok("printf 'one\\ntwo three\\n' > lines; "
       "shoal run --plugin $PLUGIN --task line --from lines --name lines");
    const char *job = name_of_last();
    ck_assert_str_eq(text_in(row_of(job, 0), "result"), "one");
    ck_assert_str_eq(text_in(row_of(job, 1), "result"), "two three");
}
END_TEST

START_TEST(fields_of_a_file_are_parameters) {
    ok("printf 'x,y\\n1,2\\n3.5,z\\n' > points.csv; "
       "shoal run --plugin $PLUGIN --task echo --from points.csv");
    ck_assert_int_eq(int_in(row_of(name_of_last(), 0), "int"), 1);
    ck_assert_str_eq(ok("shoal results - --format csv --sort | cut -d, -f2 | tail -n 1"),
                     "3.5");
}
END_TEST

START_TEST(many_short_tasks_each_have_one_row) {
    const char *job = ok("shoal submit --plugin $PLUGIN --task nothing -p i=1:200000");
    sh_exit(0, "shoal wait %s", job);
    ck_assert_str_eq(
        ok("shoal results %s --format csv | cut -d, -f1,3 | sort -u | wc -l", job),
        "200001");
    ck_assert_str_eq(ok("shoal results %s --format csv | grep -c ,ok,", job), "200000");
    expect_audit();
}
END_TEST

START_TEST(process_stays_for_many_tasks) {
    const char *job =
        ok("shoal submit --plugin $PLUGIN --task count -p i=1:40 --max-running 1");
    sh_exit(0, "shoal wait %s", job);
    ck_assert_str_eq(ok("shoal results %s --format jsonl | "
                        "grep -o '\"process\":[0-9]*' | sort -u | wc -l",
                        job),
                     "1");
}
END_TEST

/* ---- tasks that misbehave: the others do not suffer */

static const struct {
    const char *how;
    const char *options;
    const char *reason;
    const char *says; /* in `shoal show` */
} oddities[] = {
    {"fail", "", "exit", "three is too much"},
    {"code", "", "exit", "exit 42"},
    {"crash", "", "signal", "about to crash"},
    {"exit", "", "exit", "ended its runner with exit code 7"},
    {"loop", "--timeout 200ms --grace 100ms", "timeout", ""},
    {"scribble", "", "rejected", "something that the protocol does not have"},
    {"hang up", "", "rejected", "closed its connection"},
};

START_TEST(odd_task_costs_itself_alone) {
    const char *job = ok("shoal submit --plugin $PLUGIN --task odd -p x=1:400 "
                         "-p 'how=%s' %s",
                         oddities[_i].how, oddities[_i].options);
    sh_exit(1, "shoal wait %s", job);
    const json_t *row = row_of(job, 2);
    ck_assert_str_eq(text_in(row, "status"), "failed");
    ck_assert_str_eq(text_in(row, "reason"), oddities[_i].reason);
    ck_assert_int_eq(int_in(row, "attempt"), 1);
    ck_assert_int_eq(job_now(job).ok, 399);
    ck_assert_int_eq(job_now(job).failed, 1);
    const char *shown = ok("shoal show %s 2", job);
    ck_assert_msg(strstr(shown, oddities[_i].says) != NULL, "%s", shown);
    ck_assert_str_eq(
        ok("shoal results %s --format csv | cut -d, -f1 | sort -u | wc -l", job), "401");
    expect_audit();
}
END_TEST

/* In the middle of a long lease: one attempt is charged, each other task runs once. */
START_TEST(crash_in_mid_batch_charges_one_attempt) {
    const char *job = ok("shoal submit --plugin $PLUGIN --task odd -p 'x=10:9999' "
                         "-p how=none --name warm; shoal wait - > /dev/null; "
                         "seq 5000 | sed 's/^2500$/3/; t; s/^3$/5/' > xs; "
                         "shoal submit --plugin $PLUGIN --task odd -p x=@xs "
                         "-p how=crash --retries 1 --name crash | tail -n 1");
    job = name_of_last();
    sh_exit(1, "shoal wait %s", job);
    ck_assert_int_eq(job_now(job).ok, 4999);
    const json_t *row = row_of(job, 2499);
    ck_assert_str_eq(text_in(row, "reason"), "signal");
    ck_assert_int_eq(int_in(row, "attempt"), 2);
    ck_assert_str_eq(ok("shoal results %s --format csv | awk -F, '$6 != 1' | wc -l", job),
                     "2");
    expect_audit();
}
END_TEST

START_TEST(task_that_forks_has_one_outcome) {
    const char *job =
        ok("shoal submit --plugin $PLUGIN --task odd -p x=1:50 -p how=fork");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    ok("printf 'import os\\ndef f(i):\\n if os.fork() == 0: raise SystemExit(0)\\n"
       " os.wait()\\n return i\\n' > forks.py");
    job = ok("shoal submit --python forks:f -p i=1:5");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
}
END_TEST

/* Two jobs of functions take turns on one slot: each is loaded once. */
START_TEST(jobs_that_take_turns_keep_their_processes) {
    const char *one = ok("shoal submit --plugin $PLUGIN --task count -p i=1:60 "
                         "--max-running 1");
    const char *two = ok("shoal submit --plugin $PLUGIN --task count -p i=61:120 "
                         "--max-running 1");
    sh_exit(0, "shoal wait %s %s", one, two);
    ck_assert_int_le(strtol(ok("{ shoal results %s --format jsonl; "
                               "shoal results %s --format jsonl; } | "
                               "grep -o '\"process\":[0-9]*' | sort -u | wc -l",
                               one, two),
                            NULL, 10),
                     4); /* two slots, two jobs */
}
END_TEST

START_TEST(result_over_the_bound_is_too_large) {
    sh_exit(1, "shoal run --plugin $PLUGIN --task huge");
    ck_assert_str_eq(text_in(row_of(name_of_last(), 0), "reason"), "too-large");
}
END_TEST

static const struct {
    const char *options;
    const char *says;
} unloadable[] = {
    {"--plugin ./missing.so --task x", "cannot read the plug-in"},
    {"--plugin /bin/true --task x",
     "(exit code 2): shoal-host: '/bin/true' is no plug-in: "},
    {"--plugin $NONE --task x", "is no plug-in: it does not define 'shoal_plugin'"},
    {"--plugin ./junk.so --task x", "junk.so: file too short"},
    {"--plugin $OLD --task x", "build it again"},
    {"--plugin $PLUGIN --task missing", "has no task 'missing'; it has chosen, count"},
    {"--python missing:f", "No module named 'missing'"},
    {"--python killed:f", "its runner ended before it was ready (signal 9)"},
    {"--python json:missing", "has no attribute 'missing'"},
};

START_TEST(what_cannot_be_loaded_fails_as_spawn) {
    setenv("OLD", test_built("tests/support/old.so").text, 1);
    setenv("NONE", test_built("libshoal.so").text, 1);
    ok(": > junk.so; printf 'import os\nos.kill(os.getpid(), 9)\n' > killed.py");
    sh_exit(1, "shoal run %s", unloadable[_i].options);
    ck_assert_str_eq(text_in(row_of(name_of_last(), 0), "reason"), "spawn");
    const char *shown = ok("shoal show - 0");
    ck_assert_msg(strstr(shown, unloadable[_i].says) != NULL, "%s", shown);
}
END_TEST

static void setup_lone(void) {
    start("--slots 1");
}

static const char *process_of_count(void) {
    return ok("shoal run --plugin $PLUGIN --task count -p i=1:8 --format jsonl | "
              "grep -o '\"process\":[0-9]*' | sort -u");
}

/* It is not tried again for each task, and does not push out what is loaded. */
START_TEST(module_that_cannot_be_loaded_costs_little) {
    ok("printf 'open(\"loads\", \"a\").write(\"x\")\\nraise ImportError\\n' > broken.py");
    const char *before = process_of_count();
    sh_exit(1, "shoal run --python broken:f -p i=1:60");
    ck_assert_int_eq(job_now(name_of_last()).failed, 60);
    ck_assert_uint_le(strlen(text_of("loads")), 20); /* once in ten seconds */
    ck_assert_str_eq(process_of_count(), before);
}
END_TEST

/* Also when the next job's function gets the place of the one that was refused. */
START_TEST(refusal_is_of_one_function_alone) {
    static const char *const others[] = {"nothing", "echo", "count"};
    for (size_t i = 0; i < SHOAL_COUNT(others); i++)
        ok("shoal run --plugin $PLUGIN --task %s -p x=1:20", others[i]);
    sh_exit(1, "shoal run --plugin ./missing.so --task nothing -p x=1:20");
    ok("shoal run --plugin $PLUGIN --task rest -p x=0:99");
    ck_assert_int_eq(job_now(name_of_last()).ok, 100);
}
END_TEST

/* ---- stopping */

static void expect_counted(const char *job, int64_t n) {
    const json_t *rows = rows_of(job);
    ck_assert_uint_eq(json_array_size(rows), (size_t)n);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        ck_assert_str_eq(text_in(json_array_get(rows, i), "status"), "ok");
        ck_assert_int_ge(int_in(json_array_get(rows, i), "counted"), 0);
    }
}

static const json_t *running_of(const char *job) {
    return json_object_get(
        json_array_get(json_lines(ok("shoal status %s --json", job)), 0), "running");
}

START_TEST(cancelled_task_gives_what_it_has) {
    char job[16]; /* what commands print is not kept for ever */
    snprintf(job, sizeof(job), "%s",
             ok("shoal submit --plugin $PLUGIN --task until_told -p i=1:9"));
    wait_until(json_array_size(running_of(job)) == 2, LIMIT_MS);
    ok("shoal cancel %s", job);
    sh_exit(1, "shoal wait %s", job);
    expect_counted(job, 2);
    ck_assert_int_eq(job_now(job).cancelled, 7);
}
END_TEST

START_TEST(status_shows_how_far_tasks_are) {
    char job[16];
    snprintf(job, sizeof(job), "%s",
             ok("shoal submit --plugin $PLUGIN --task until_told -p i=1"));
    wait_until(json_array_size(running_of(job)) == 1, LIMIT_MS);
    const json_t *task = json_array_get(running_of(job), 0);
    ck_assert_int_eq(int_in(task, "task"), 0);
    ck_assert_str_eq(text_in(task, "text"), "counting");
    ck_assert(json_real_value(json_object_get(task, "progress")) == 0.25);
    ck_assert_ptr_nonnull(strstr(ok("shoal status %s", job), "task 0 on"));
    ok("shoal cancel %s", job);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(json_array_size(running_of(job)), 0);
}
END_TEST

/* What happens to a pack of three arguments in Redis, and how many are left of it. */
static const struct {
    const char *fields; /* as Lua has them; `f` are those that were there */
    int left;
} damages[] = {
    {"f[1], f[2], f[3], f[4]:sub(1, -5)", 2},
    {"f[1], f[2]", 0},
    {"f[1], 'nan', f[3], f[4]", 0},
    {"f[1], f[2], f[3], f[4] .. ('x'):rep(2000000)", 0}, /* more than any has */
};

START_TEST(task_without_its_argument_is_rejected) {
    char job[16];
    setenv("SOCKET", daemons.server.socket, 1);
    ok("printf 'a\\nb\\nc\\n' > lines; shoal pause default");
    snprintf(job, sizeof(job), "%s",
             ok("shoal submit --plugin $PLUGIN --task line --from lines"));
    ok("redis-cli -s $SOCKET eval \""
       "local entry = redis.call('xrange', KEYS[1], '-', '+')[1] "
       "local f = entry[2] "
       "redis.call('del', KEYS[1]) "
       "return redis.call('xadd', KEYS[1], entry[1], %s)\" 1 'shoal:{0}:args:%s'",
       damages[_i].fields, job);
    ok("shoal resume default");
    sh_exit(1, "shoal wait %s", job);
    for (int64_t i = 0; i < 3; i++) {
        const json_t *row = row_of(job, i);
        if (i < damages[_i].left)
            ck_assert_str_eq(text_in(row, "status"), "ok");
        else
            ck_assert_str_eq(text_in(row, "reason"), "rejected");
    }
}
END_TEST

START_TEST(task_whose_time_is_over_gives_what_it_has) {
    const char *job = ok("shoal submit --plugin $PLUGIN --task until_told -p i=1:4 "
                         "--timeout 100ms");
    sh_exit(0, "shoal wait %s", job);
    expect_counted(job, 4);
}
END_TEST

START_TEST(task_that_never_asks_is_ended_by_a_signal) {
    const char *job = ok("shoal submit --plugin $PLUGIN --task rest -p x=1000000");
    wait_until(job_now(job).leased == 1, LIMIT_MS);
    ok("shoal cancel %s", job);
    sh_exit(1, "shoal wait %s --timeout 9s", job); /* the grace is 10 s */
    ck_assert_int_eq(job_now(job).cancelled, 1);
}
END_TEST

/* A long task does not hold back those behind it in its lease. */
START_TEST(tasks_behind_a_straggler_go_to_others) {
    const char *job = ok("{ seq 200 | sed 's/.*/0/'; echo 100000; seq 200 | "
                         "sed 's/.*/1/'; } > xs; "
                         "shoal submit --plugin $PLUGIN --task rest -p x=@xs");
    wait_until(job_now(job).ok == 400, LIMIT_MS);
    ck_assert_int_eq(job_now(job).leased, 1);
    ok("shoal cancel %s", job);
    sh_exit(1, "shoal wait %s", job);
    expect_audit();
}
END_TEST

/* ---- Python */

static const char python[] =
    "import shoal, time\\n"
    "def area(width, height=2, seed=0, rep=0):\\n"
    "    return {'area': width * height, 'kind': type(width).__name__, 'rep_': rep}\\n"
    "def odd(x):\\n"
    "    if x == 3: raise ValueError('three is too much')\\n"
    "    return x\\n"
    "def until_told(i):\\n"
    "    n = 0\\n"
    "    while not shoal.should_stop(): time.sleep(0.001); n += 1\\n"
    "    return {'counted': n}\\n"
    "def not_finite(x):\\n"
    "    a = float('inf')\\n"
    "    return {'a': a - a, 'b': a, 'c': -a, 'd': [a]}\\n"
    "def never_asks(i):\\n"
    "    time.sleep(1000)\\n"
    "def ends(i):\\n"
    "    import os; os._exit(3)\\n";

static void write_module(void) {
    ok("printf \"%s\" > model.py", python);
}

START_TEST(python_function_gets_parameters_by_name) {
    write_module();
    ok("shoal run --python model:area -p width=1.5,2 -p height=1:3 --reps 2 -o rows");
    const char *job = name_of_last();
    const json_t *row = row_of(job, 5);
    ck_assert(json_real_value(json_object_get(row, "area")) == 4.5);
    ck_assert_str_eq(text_in(row, "kind"), "float");
    ck_assert_str_eq(text_in(row_of(job, 6), "kind"), "int");
    ck_assert_int_eq(int_in(row, "rep_"), 1);
}
END_TEST

START_TEST(python_number_that_is_not_finite_is_named) {
    write_module();
    sh_exit(0, "shoal run --python model:not_finite -p x=1 --format csv -o rows");
    ck_assert_str_eq(ok("cut -d, -f 10-13 rows"), "a,b,c,d\nnan,inf,-inf,[null]");
}
END_TEST

START_TEST(python_exception_is_the_tasks_failure) {
    write_module();
    const char *job = ok("shoal submit --python model:odd -p x=1:50 --retries 1");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_int_eq(job_now(job).ok, 49);
    const json_t *row = row_of(job, 2);
    ck_assert_str_eq(text_in(row, "reason"), "exit");
    ck_assert_int_eq(int_in(row, "attempt"), 2);
    const char *shown = ok("shoal show %s 2", job);
    ck_assert_ptr_nonnull(strstr(shown, "ValueError: three is too much"));
    ck_assert_ptr_nonnull(strstr(shown, "in odd"));
}
END_TEST

START_TEST(python_task_that_asks_gives_what_it_has) {
    write_module();
    const char *job = ok("shoal submit --python model:until_told -p i=1:2 "
                         "--timeout 200ms");
    sh_exit(0, "shoal wait %s", job);
    expect_counted(job, 2);
}
END_TEST

START_TEST(python_task_that_never_asks_is_interrupted) {
    write_module();
    const char *job = ok("shoal submit --python model:never_asks -p i=1 --timeout 200ms");
    sh_exit(1, "shoal wait %s --timeout 9s", job); /* the grace is 10 s */
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "timeout");
}
END_TEST

/* Nothing of it has begun; and the next job of it is loaded as any other. */
START_TEST(job_may_be_cancelled_while_its_module_loads) {
    ok("printf 'import os, time\\nopen(\"loading\", \"w\").close()\\n"
       "while not os.path.exists(\"go\"): time.sleep(0.01)\\n"
       "def f(i): return i\\n' > slow.py");
    const char *job = ok("shoal submit --python slow:f -p i=1:3");
    wait_until(files("loading") == 1, LIMIT_MS);
    ok("shoal cancel %s", job);
    sh_exit(1, "shoal wait %s", job);
    ck_assert_int_eq(job_now(job).cancelled, 3);
    ok("touch go; shoal run --python slow:f -p i=1:3");
    expect_audit();
}
END_TEST

START_TEST(python_process_that_ends_costs_its_task) {
    write_module();
    sh_exit(1, "shoal run --python model:ends -p i=1");
    ck_assert_str_eq(text_in(row_of(name_of_last(), 0), "reason"), "exit");
    ck_assert_ptr_nonnull(strstr(ok("shoal show - 0"), "exit code 3"));
}
END_TEST

START_TEST(replay_runs_a_function_again) {
    write_module();
    sh_exit(1, "shoal run --python model:odd -p x=1:4");
    ck_assert_str_eq(ok("shoal replay - 3"), "4");
    ck_assert_ptr_nonnull(strstr(sh_exit(1, "shoal replay - 2").err, "three is too"));
    sh_exit(0, "shoal run --plugin $PLUGIN --task echo -p x=6 --seed 1");
    ck_assert_str_eq(
        ok("shoal replay - 0"),
        ok("shoal results - --format jsonl | sed 's/.*\"index\"/{\"index\"/'"));
}
END_TEST

/* ---- runners that talk nonsense, in sh: their socket is descriptor 3 */

/* A message of `length` bytes in its frame. */
#define FRAME(length, body) "printf '$" length "\\r\\n" body "\\r\\n' >&3; "
#define TWO "$1\\r\\n2\\r\\n"
#define HELLO FRAME("29", "*3\\r\\n$5\\r\\nhello\\r\\n" TWO ONE)
#define ONE "$1\\r\\n1\\r\\n"
#define ZERO "$1\\r\\n0\\r\\n"
#define DONE "*9\\r\\n$4\\r\\ndone\\r\\n" ZERO
#define NOPE "$4\\r\\nnope\\r\\n"
#define NONE "*0\\r\\n"

static const struct {
    const char *script;
    const char *reason;
    const char *says;
} runners[] = {
    {"printf garbage >&3; exec sleep 1000", "spawn", "does not have"},
    {"printf '$99999999999999\\r\\n' >&3; exec sleep 1000", "spawn", "does not have"},
    {FRAME("4", NONE) "exec sleep 1000", "spawn", "does not have"},
    {FRAME("30", "*3\\r\\n$5\\r\\nhello\\r\\n$2\\r\\n99\\r\\n" ONE) "exec sleep 1000",
     "spawn", "version 99"},
    {"echo no licence >&2; exit 3", "spawn", "no licence"},
    {HELLO HELLO "exec sleep 1000", "rejected", "does not have"},
    {HELLO "read -r line <&3; exit 5", "exit", "exit code 5"},
    {HELLO "exec 3>&-; exec sleep 1000", "rejected", "closed its connection"},
    /* Five tasks are done, of one; and one, whose outcome is none. */
    {HELLO FRAME("66", DONE "$1\\r\\n5\\r\\n" ZERO
                            "$0\\r\\n\\r\\n" ZERO ZERO ONE NONE) "exec sleep 1000",
     "rejected", "does not have"},
    {HELLO FRAME("70", DONE ONE ONE NOPE ZERO ZERO ONE NONE) "exec sleep 1000",
     "rejected", "does not have"},
};

START_TEST(runner_that_talks_nonsense_costs_its_task) {
    const char *const command[] = {"sh", "-c", runners[_i].script, NULL};
    const char *const one[] = {"i=1", NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_client *client = NULL;
    struct shoal_submit_options options;
    char job[13];
    const struct shoal_client_options where = {.url = daemons.server.url};
    ck_assert_int_eq(shoal_client_connect(&where, &client, &err), SHOAL_OK);
    shoal_submit_options_init(&options);
    options.command = command;
    options.stays = true;
    options.parameters = one;
    ck_assert_msg(shoal_submit(client, &options, job, &err) == SHOAL_OK, "%s", err.text);
    shoal_client_destroy(client);
    sh_exit(1, "shoal wait %s", job);
    const char *shown = ok("shoal show %s 0", job);
    ck_assert_msg(strstr(shown, runners[_i].says) != NULL, "%s", shown);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), runners[_i].reason);
    sh_exit(0, "shoal run --plugin $PLUGIN --task nothing"); /* the worker goes on */
}
END_TEST

/* ---- replacing */

static void setup_worn(void) {
    start("--slots 1 --max-tasks-per-runner 10");
}

START_TEST(runner_is_replaced_when_it_is_worn) {
    const char *job = ok("shoal submit --plugin $PLUGIN --task count -p i=1:200");
    sh_exit(0, "shoal wait %s", job);
    const json_t *rows = rows_of(job);
    int64_t most = 0;
    ck_assert_uint_eq(json_array_size(rows), 200);
    for (size_t i = 0; i < 200; i++) {
        int64_t calls = int_in(json_array_get(rows, i), "calls");
        most = calls > most ? calls : most;
    }
    ck_assert_int_eq(most, 10);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("functions");
    TCase *cases = tcase_create("functions");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, function_gets_all_of_its_task);
    tcase_add_test(cases, line_is_the_functions_argument);
    tcase_add_test(cases, fields_of_a_file_are_parameters);
    tcase_add_test(cases, many_short_tasks_each_have_one_row);
    tcase_add_test(cases, process_stays_for_many_tasks);
    tcase_add_loop_test(cases, odd_task_costs_itself_alone, 0, SHOAL_COUNT(oddities));
    tcase_add_test(cases, crash_in_mid_batch_charges_one_attempt);
    tcase_add_test(cases, task_that_forks_has_one_outcome);
    tcase_add_test(cases, jobs_that_take_turns_keep_their_processes);
    tcase_add_test(cases, result_over_the_bound_is_too_large);
    tcase_add_loop_test(cases, what_cannot_be_loaded_fails_as_spawn, 0,
                        SHOAL_COUNT(unloadable));
    tcase_add_test(cases, cancelled_task_gives_what_it_has);
    tcase_add_test(cases, status_shows_how_far_tasks_are);
    tcase_add_loop_test(cases, task_without_its_argument_is_rejected, 0,
                        SHOAL_COUNT(damages));
    tcase_add_test(cases, task_whose_time_is_over_gives_what_it_has);
    tcase_add_test(cases, task_that_never_asks_is_ended_by_a_signal);
    tcase_add_test(cases, tasks_behind_a_straggler_go_to_others);
    tcase_add_test(cases, python_function_gets_parameters_by_name);
    tcase_add_test(cases, python_number_that_is_not_finite_is_named);
    tcase_add_test(cases, python_exception_is_the_tasks_failure);
    tcase_add_test(cases, python_task_that_asks_gives_what_it_has);
    tcase_add_test(cases, python_task_that_never_asks_is_interrupted);
    tcase_add_test(cases, job_may_be_cancelled_while_its_module_loads);
    tcase_add_test(cases, python_process_that_ends_costs_its_task);
    tcase_add_test(cases, replay_runs_a_function_again);
    tcase_add_loop_test(cases, runner_that_talks_nonsense_costs_its_task, 0,
                        SHOAL_COUNT(runners));
    suite_add_tcase(suite, cases);
    TCase *lone = tcase_create("lone slot");
    tcase_add_checked_fixture(lone, setup_lone, teardown);
    tcase_set_timeout(lone, 60);
    tcase_add_test(lone, module_that_cannot_be_loaded_costs_little);
    tcase_add_test(lone, refusal_is_of_one_function_alone);
    suite_add_tcase(suite, lone);
    TCase *worn = tcase_create("worn");
    tcase_add_checked_fixture(worn, setup_worn, teardown);
    tcase_set_timeout(worn, 60);
    tcase_add_test(worn, runner_is_replaced_when_it_is_worn);
    suite_add_tcase(suite, worn);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
