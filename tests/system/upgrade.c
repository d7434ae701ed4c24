/* USR2: what lies where a worker was started from takes its place, and what runs goes
 * on. The new program is a copy of the worker that calls itself by another version. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STORM = 100 };

static struct test_process worker;

/* The worker is told apart from the one that is built by where it lies. */
static void begin(const char *const *args, const char *options) {
    daemons_start(args);
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    setenv("VERSION", SHOAL_VERSION, 1);
    ok("mkdir bin; cp \"$(command -v shoal-worker)\" bin/; shoal keygen key > keys");
    sh_start(&worker, "bin/shoal-worker --session-ttl 4s %s", options);
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
}

static void setup(void) {
    begin(NULL, "--slots 2");
}

static void teardown(void) {
    daemons_finish();
}

/* A text of as many bytes, so that all in the file stays where it is. */
static void replace_program(void) {
    ok("v=$(echo $VERSION | tr 0-9 9); "
       "sed \"s/$(echo $VERSION | sed 's/[.]/[.]/g')/$v/g\" bin/shoal-worker > bin/new; "
       "chmod +x bin/new; mv bin/new bin/shoal-worker");
}

static void replace_by_script(const char *script) {
    FILE *file = NULL;
    char path[128];
    snprintf(path, sizeof(path), "%s/bin/new", daemons.home.path);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "#!/bin/sh\n%s\n", script);
    ck_assert_int_eq(fclose(file), 0);
    ok("test -e bin/old || cp bin/shoal-worker bin/old; chmod +x bin/new; "
       "mv bin/new bin/shoal-worker");
}

static const char *shown(const char *field) {
    return ok("shoal workers --json | sed 's/.*\"%s\":\"\\{0,1\\}\\([^\",}]*\\).*/\\1/'",
              field);
}

static const char *new_version(void) {
    return ok("echo $VERSION | tr 0-9 9");
}

/* The worker, else the keeper. Which of them comes to the same. */
static void tell(bool inner) {
    pid_t pid = inner ? worker_pid(&worker) : worker.pid;
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(kill(pid, SIGUSR2), 0);
}

static void upgrade_by(bool inner) {
    size_t before = times_said(&worker, "message=upgraded ");
    size_t keepers = times_said(&worker, "message=\"the keeper is upgraded");
    tell(inner);
    wait_until(times_said(&worker, "message=upgraded ") > before &&
                   times_said(&worker, "message=\"the keeper is upgraded") > keepers,
               LIMIT_MS);
}

static void upgrade(void) {
    upgrade_by(false);
}

/* To the other version, whose session is the same. */
static void upgrade_to_new(void) {
    pid_t before = worker_pid(&worker);
    const char *session = shown("session");
    ck_assert_str_eq(shown("version"), SHOAL_VERSION);
    replace_program();
    upgrade();
    wait_until(strcmp(shown("version"), new_version()) == 0, LIMIT_MS);
    ck_assert_int_eq(worker_pid(&worker), before);
    ck_assert_str_eq(shown("session"), session);
}

static size_t lines_of(const char *name) {
    const char *text = text_of(name);
    size_t n = text != NULL && *text != '\0';
    for (; text != NULL && *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void finish(const char *job) {
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    worker_end(&worker);
    expect_audit();
    ck_assert_uint_eq(files("tmp/*"), 0);
}

/* ---- what runs goes on */

START_TEST(program_goes_on_and_its_output_is_whole) {
    int gate = gate_close("gate");
    const char *job = ok("shoal submit -- sh -c 'echo $$ > pid; echo x >> runs; "
                         "echo before; flock -sF gate true; echo after'");
    wait_until(number_of("pid") > 0 && lines_of("runs") == 1, LIMIT_MS);
    pid_t pid = (pid_t)number_of("pid");
    upgrade_to_new();
    upgrade(); /* the new one knows how, too */
    ck_assert(is_alive(pid));
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "result"), "before\nafter");
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    ck_assert_uint_eq(lines_of("runs"), 1);
    finish(job);
}
END_TEST

/* Time that a program has had before counts. */
START_TEST(timeout_and_grace_go_on) {
    int gate = gate_close("gate");
    const char *job = ok("shoal submit --timeout 2s --grace 500ms -- "
                         "sh -c 'trap : TERM; : > began; while :; do flock -s gate true; "
                         "done'");
    wait_until(files("began") == 1, LIMIT_MS);
    upgrade_to_new();
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "timeout");
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    gate_open(gate);
    worker_end(&worker);
}
END_TEST

static const struct {
    const char *source; /* of a module */
    const char *spec;
} functions[] = {
    {"", "--plugin $PLUGIN --task gated"},
    {"import fcntl, os\n"
     "def gated(i):\n"
     "    open('runs', 'a').write('%d\\n' % i)\n"
     "    with open('gate') as gate:\n"
     "        fcntl.flock(gate, fcntl.LOCK_SH)\n"
     "    return {'process': os.getpid()}\n",
     "--python model:gated"},
};

/* Of long leases: what is behind the running tasks is in the runners' hands. */
START_TEST(function_goes_on_in_the_same_process) {
    int gate = gate_close("gate");
    setenv("SOURCE", functions[_i].source, 1);
    ok("printf '%%s' \"$SOURCE\" > model.py");
    const char *job = ok("shoal submit %s -p i=1:200", functions[_i].spec);
    wait_until(lines_of("runs") == 2, LIMIT_MS);
    upgrade_to_new();
    upgrade();
    ck_assert_uint_eq(lines_of("runs"), 2);
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_str_eq(ok("shoal results %s --format jsonl | "
                        "grep -o '\"process\":[0-9]*' | sort -u | wc -l",
                        job),
                     "2");
    ck_assert_uint_eq(lines_of("runs"), 200);
    ck_assert_str_eq(ok("sort -u runs | wc -l"), "200");
    finish(job);
}
END_TEST

/* One that has not said hello yet. */
START_TEST(function_that_loads_goes_on) {
    int gate = gate_close("gate");
    ok("printf 'import fcntl, os\\nopen(\"loads\", \"a\").write(\"x\\\\n\")\\n"
       "fcntl.flock(open(\"gate\"), fcntl.LOCK_SH)\\n"
       "def f(i):\\n    return {\"y\": i}\\n' > slow.py");
    const char *job = ok("shoal submit --python slow:f -p i=1:3");
    wait_until(lines_of("loads") >= 1, LIMIT_MS);
    upgrade_to_new();
    size_t loads = lines_of("loads");
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_ge(loads, 1);
    ck_assert_int_eq(int_in(row_of(job, 2), "y"), 3);
    finish(job);
}
END_TEST

/* ---- outcomes that wait */

static const char *const saves_always[] = {"--appendonly", "yes", "--appendfsync",
                                           "always", NULL};

START_TEST(outcomes_that_wait_for_redis_are_kept) {
    begin(saves_always, "--slots 2");
    int first = gate_close("gate.1"), second = gate_close("gate.2");
    const char *job =
        ok("shoal submit -p i=1:2 -- sh -c 'echo {i} >> runs; flock -sF gate.{i} echo "
           "i={i}; : > ended.{i}'");
    wait_until(lines_of("runs") == 2, LIMIT_MS);
    test_server_kill(&daemons.server);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    gate_open(first);
    wait_until(files("ended.1") == 1, LIMIT_MS);
    replace_program();
    upgrade();
    upgrade();
    gate_open(second);
    wait_until(files("ended.2") == 1, LIMIT_MS);
    test_server_restart(&daemons.server, NULL);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(lines_of("runs"), 2);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    ck_assert_str_eq(shown("version"), new_version());
    finish(job);
}
END_TEST

/* ---- at any moment */

static size_t descriptors_of(pid_t pid) {
    char path[64];
    size_t n = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    while (folder != NULL && readdir(folder) != NULL)
        n++;
    if (folder != NULL)
        closedir(folder);
    return n;
}

static const char *const loads[] = {
    "-p i=1:1500 -- sh -c 'echo {i} >> runs; echo i={i}'",
    "--plugin $PLUGIN --task gated -p i=1:60000",
};

/* USR2 again and again while tasks end: none runs twice. */
START_TEST(storm_of_upgrades_loses_and_doubles_nothing) {
    ok(": > gate");
    const char *job = ok("shoal submit %s", loads[_i]);
    wait_until(lines_of("runs") > 10, LIMIT_MS);
    pid_t pid = worker_pid(&worker);
    size_t before = descriptors_of(pid);
    for (int i = 0; i < STORM; i++) {
        size_t said = times_said(&worker, "message=upgraded ");
        test_process_signal(&worker, SIGUSR2);
        if (i % 2 == 0) /* else the next comes right behind */
            wait_until(times_said(&worker, "message=upgraded ") > said, LIMIT_MS);
    }
    sh_exit(0, "shoal wait %s", job);
    ck_assert_int_eq(worker_pid(&worker), pid);
    ck_assert_str_eq(ok("sort runs | uniq -d | wc -l"), "0");
    ck_assert_int_eq((int)job_now(job).ok, (int)lines_of("runs"));
    ck_assert(has_said(&worker, "message=upgraded "));
    /* One that each upgrade left open would be seen; a runner has some of its own. */
    wait_until(descriptors_of(pid) < before + STORM / 2, LIMIT_MS);
    finish(job);
}
END_TEST

static const int endings[] = {SIGTERM, SIGINT};

START_TEST(signal_right_behind_an_upgrade_is_heard) {
    int gate = gate_close("gate");
    const char *job = ok("shoal submit -- sh -c 'echo x >> runs; flock -sF gate true'");
    wait_until(lines_of("runs") == 1, LIMIT_MS);
    replace_program();
    test_process_signal(&worker, SIGUSR2);
    test_process_signal(&worker, endings[_i]);
    wait_until(has_said(&worker, "draining") && has_said(&worker, "keeper is upgraded"),
               LIMIT_MS);
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    ck_assert(has_said(&worker, "ended in good order"));
    test_process_finish(&worker);
    ck_assert_int_eq(job_now(job).ok, 1);
    expect_each_once(job);
    ck_assert_uint_eq(lines_of("runs"), 1);
}
END_TEST

/* Both are, and the keeper has others of the new version. */
START_TEST(worker_that_is_told_is_upgraded_with_its_keeper) {
    pid_t pid = worker_pid(&worker);
    replace_program();
    upgrade_by(true);
    wait_until(strcmp(shown("version"), new_version()) == 0, LIMIT_MS);
    ck_assert_int_eq(worker_pid(&worker), pid);
    wait_until(times_said(&worker, "message=registered") >= 2, LIMIT_MS);
    kill(pid, SIGKILL);
    wait_until(times_said(&worker, "message=registered") >= 3, LIMIT_MS);
    ck_assert_str_eq(shown("version"), new_version());
    sh_exit(0, "shoal run -- true");
    worker_end(&worker);
}
END_TEST

/* ---- what cannot be */

static const struct {
    const char *spoil;
    const char *says;
} unfit[] = {
    {"rm bin/shoal-worker", "No such file"},
    {"chmod -x bin/shoal-worker", "Permission denied"},
    {"printf '#!/bin/sh\\necho sorry >&2; exit 1\\n' > bin/new", "it said: 'sorry'"},
    {"printf '#!/bin/sh\\nexit 0\\n' > bin/new", "cannot take over"},
    {"printf '#!/bin/sh\\nkill -SEGV $$\\n' > bin/new", "signal 11"},
    {"printf '#!/bin/sh\\nyes\\n' > bin/new", "cannot take over"},
    {"echo garbage > bin/new", "cannot take over"},
    {"printf '#!/bin/sh\\necho shoal-worker 7.0.0 handover 77\\n' > bin/new",
     "shoal 7.0.0) reads handovers of version 77"},
};

START_TEST(unfit_program_is_refused_and_all_goes_on) {
    int gate = gate_close("gate");
    const char *job = ok("shoal submit -- sh -c 'echo $$ > pid; flock -sF gate true'");
    wait_until(number_of("pid") > 0, LIMIT_MS);
    pid_t pid = worker_pid(&worker);
    ok("%s; test ! -e bin/new || { chmod +x bin/new; mv bin/new bin/shoal-worker; }",
       unfit[_i].spoil);
    test_process_signal(&worker, SIGUSR2);
    wait_until(has_said(&worker, "not upgraded, all goes on as before"), LIMIT_MS);
    ck_assert(has_said(&worker, unfit[_i].says));
    ck_assert_int_eq(worker_pid(&worker), pid);
    ck_assert(is_alive((pid_t)number_of("pid")));
    gate_open(gate);
    finish(job);
}
END_TEST

/* A mistake in a file that the worker reads when it starts. */
START_TEST(worker_that_would_not_start_goes_on) {
    begin(NULL, "--slots 2 --trust-keys keys");
    int gate = gate_close("gate");
    const char *job = ok("shoal submit --sign-key key -- sh -c 'echo $$ > pid; "
                         "exec flock -sF gate true'");
    wait_until(number_of("pid") > 0, LIMIT_MS);
    pid_t pid = worker_pid(&worker);
    ok("cp keys good; echo nonsense >> keys");
    tell(_i == 1);
    wait_until(has_said(&worker, "not upgraded, all goes on as before"), LIMIT_MS);
    ck_assert(has_said(&worker, "line 2"));
    ck_assert_int_eq(worker_pid(&worker), pid);
    ck_assert(is_alive((pid_t)number_of("pid")));
    ok("mv good keys");
    upgrade_by(_i == 1);
    ck_assert(is_alive((pid_t)number_of("pid")));
    gate_open(gate);
    finish(job);
}
END_TEST

/* What the new program does although it said that it is fit; "old" is the worker. */
static const struct {
    const char *does; /* as the worker */
    const char *says;
} faults[] = {
    {"exit 127", "exit=127"},
    {"exit 1", "exit=1"},
    {"exit 3", "exit=3"},
    {"kill -KILL $$", "signal=9"},
    {": > /proc/$$/fd/${SHOAL_HANDOVER#*:}; exec bin/old \"$@\"", "cannot be read"},
    {"printf x | dd of=/proc/$$/fd/${SHOAL_HANDOVER#*:} bs=1 seek=100 conv=notrunc; "
     "exec bin/old \"$@\"",
     "its checksum is wrong"},
    {"printf 'shoal-handover 9' | "
     "dd of=/proc/$$/fd/${SHOAL_HANDOVER#*:} bs=1 conv=notrunc; exec bin/old \"$@\"",
     "it has version 9"},
    {"SHOAL_HANDOVER=worker:999 exec bin/old \"$@\"", "its file is not there"},
};

START_TEST(worker_that_cannot_take_over_leaves_nothing_behind) {
    char script[1024], job[16]; /* what commands print is not kept for ever */
    int gate = gate_close("gate");
    snprintf(job, sizeof(job), "%s",
             ok("shoal submit -- sh -c 'echo $$ > pid.new; mv pid.new pid; "
                "echo x >> runs; flock -sF gate true'"));
    wait_until(number_of("pid") > 0, LIMIT_MS);
    pid_t task = (pid_t)number_of("pid");
    snprintf(script, sizeof(script),
             "case $*,$SHOAL_HANDOVER in\n"
             "*--check-upgrade*) exec bin/old \"$@\";;\n"
             "*,worker*) %s;;\n"
             "*) exec bin/old \"$@\";;\n"
             "esac",
             faults[_i].does);
    replace_by_script(script);
    test_process_signal(&worker, SIGUSR2);
    wait_until(has_said(&worker, faults[_i].says), LIMIT_MS);
    wait_until(!is_alive(task), LIMIT_MS);
    wait_until(lines_of("runs") == 2, LIMIT_MS);
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 2);
    finish(job);
}
END_TEST

START_TEST(outcomes_outlive_a_worker_that_cannot_take_over) {
    begin(saves_always, "--slots 2");
    int gate = gate_close("gate");
    const char *job = ok("shoal submit -- sh -c 'echo $$ > pid; echo x >> runs; "
                         "exec flock -sF gate true'");
    wait_until(lines_of("runs") == 1, LIMIT_MS);
    test_server_kill(&daemons.server);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    gate_open(gate);
    wait_until(!is_alive((pid_t)number_of("pid")), LIMIT_MS);
    replace_by_script("case $*,$SHOAL_HANDOVER in *,worker*) exit 127;; esac\n"
                      "exec bin/old \"$@\"");
    test_process_signal(&worker, SIGUSR2);
    wait_until(has_said(&worker, "exit=127"), LIMIT_MS);
    test_server_restart(&daemons.server, NULL);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(lines_of("runs"), 1);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    finish(job);
}
END_TEST

/* The keeper too would be it, if it did not wait. What was asked for meanwhile is heard,
 * and a better program is taken. */
START_TEST(program_that_is_fit_for_nothing_ends_nobody) {
    int gate = gate_close("gate");
    const char *job = ok("shoal submit -- sh -c 'echo x >> runs; flock -sF gate true'");
    wait_until(lines_of("runs") == 1, LIMIT_MS);
    replace_by_script("case $* in *--check-upgrade*) exec bin/old \"$@\";; esac\n"
                      "echo sorry >&2; exit 1");
    test_process_signal(&worker, SIGUSR2);
    wait_until(lines_of("runs") == 2, LIMIT_MS);
    ck_assert(has_said(&worker, "before that took over"));
    ck_assert_str_eq(shown("version"), SHOAL_VERSION);
    ok("mv bin/old bin/shoal-worker");
    upgrade_to_new();
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(lines_of("runs"), 2);
    finish(job);
}
END_TEST

/* What a task started before is still held with it, and by its limits. */
START_TEST(groups_and_limits_go_on) {
    int gate = gate_close("gate");
    const char *job =
        ok("shoal submit --memory 48M -- sh -c '(env -i PATH=$PATH setsid sh -c "
           "\"echo \\$\\$ > left; exec sleep 1000\" > /dev/null 2>&1 &); "
           "while ! test -s left; do sleep 0.01; done; : > began; flock -sF gate true; "
           "exec python3 -c \"x = bytearray(200 << 20)\"'");
    wait_until(files("began") == 1, LIMIT_MS);
    upgrade();
    ck_assert(is_alive((pid_t)number_of("left")));
    gate_open(gate);
    sh_exit(1, "shoal wait %s", job);
    bool bounded = has_said(&worker, "limits=memory");
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), bounded ? "oom" : "exit");
    wait_until(!is_alive((pid_t)number_of("left")), LIMIT_MS);
    ok("shoal run -p i=1:6 -- true"); /* the slots are as good as new */
    expect_audit();
    worker_end(&worker);
    ck_assert_uint_eq(files("tmp/*"), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("upgrade");
    TCase *tests = tcase_create("upgrade");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, program_goes_on_and_its_output_is_whole);
    tcase_add_test(tests, timeout_and_grace_go_on);
    tcase_add_loop_test(tests, function_goes_on_in_the_same_process, 0,
                        (int)SHOAL_COUNT(functions));
    tcase_add_test(tests, function_that_loads_goes_on);
    tcase_add_loop_test(tests, storm_of_upgrades_loses_and_doubles_nothing, 0,
                        (int)SHOAL_COUNT(loads));
    tcase_add_loop_test(tests, signal_right_behind_an_upgrade_is_heard, 0,
                        (int)SHOAL_COUNT(endings));
    tcase_add_test(tests, worker_that_is_told_is_upgraded_with_its_keeper);
    tcase_add_loop_test(tests, unfit_program_is_refused_and_all_goes_on, 0,
                        (int)SHOAL_COUNT(unfit));
    tcase_add_loop_test(tests, worker_that_cannot_take_over_leaves_nothing_behind, 0,
                        (int)SHOAL_COUNT(faults));
    tcase_add_test(tests, program_that_is_fit_for_nothing_ends_nobody);
    tcase_add_test(tests, groups_and_limits_go_on);
    suite_add_tcase(suite, tests);
    TCase *own = tcase_create("with a Redis of its own");
    tcase_set_timeout(own, 120);
    tcase_add_checked_fixture(own, NULL, teardown);
    tcase_add_test(own, outcomes_that_wait_for_redis_are_kept);
    tcase_add_test(own, outcomes_outlive_a_worker_that_cannot_take_over);
    tcase_add_loop_test(own, worker_that_would_not_start_goes_on, 0, 2);
    suite_add_tcase(suite, own);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
