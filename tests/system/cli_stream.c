/* `shoal run --from -`: lines of stdin become tasks while it is still being written. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 100000 + 4096 }; /* tasks under way: the window, and its last pack */

static const char *const saves_each_second[] = {"--appendonly", "yes", NULL};

static struct test_process worker, run;
static int producer; /* writes to what `run` reads */

static void setup(void) {
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    daemons_start(saves_each_second);
    worker_start(&worker, "--slots 2");
    char path[64];
    snprintf(path, sizeof(path), "%s/pipe", daemons.home.path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    producer = open(path, O_RDWR | O_CLOEXEC); /* waits for no reader */
    ck_assert_int_ge(producer, 0);
}

static void teardown(void) {
    if (producer >= 0)
        close(producer);
    worker_end(&worker);
    daemons_finish();
}

static void produce(const char *text) {
    ck_assert_int_eq(write(producer, text, strlen(text)), (ssize_t)strlen(text));
}

static void produce_end(void) {
    close(producer);
    producer = -1;
}

static bool has_printed(const char *words) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = test_process_out(&run);
    return strstr(out, words) != NULL;
}

static void expect_end(int exit) {
    int ended = test_process_wait(&run, LIMIT_MS);
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = test_process_err(&run);
    ck_assert_msg(ended == exit, "%d instead of %d: %s", ended, exit, err);
}

/* ---- a file whose rows are counted first */

static const int counts[] = {999, 1000, 4096, 4097, 9000};

START_TEST(rows_of_a_file_arrive_as_they_were) {
    int n = counts[_i];
    ok("shoal pause default; seq -f 'row %%g' %d > rows", n);
    const char *job = ok("shoal submit --from rows -- true");
    for (int i = 0; i < n; i += i == n - 1 || i + 500 < n ? 500 : n - 1 - i) {
        char row[32];
        snprintf(row, sizeof(row), "row %d", i + 1);
        const char *argument = ok("shoal show %s %d | sed -n 's/^argument *//p'", job, i);
        ck_assert_str_eq(argument, row);
    }
}
END_TEST

/* ---- what becomes tasks */

static const struct {
    const char *text; /* of printf(1) */
    const char *options;
    const char *expected; /* arguments in the order of tasks */
} inputs[] = {
    {"a\\nb c\\n", "", "a,b c,"},
    {"a\\n\\n \\t\\r\\nb\\r\\nlast", "", "a,b,last,"},
    {"\\357\\273\\277a\\n", "", "a,"},
    {"\"a\"\\nb", "--reps 2", "\"a\",\"a\",b,b,"},
};

START_TEST(lines_of_stdin_become_tasks) {
    const char *rows =
        ok("printf '%s' | shoal run --name lines --from - %s -o rows -f jsonl -- true && "
           "python3 -c 'import json; print(\"\".join(r[\"argument\"] + \",\" for r in "
           "sorted(map(json.loads, open(\"rows\")), key=lambda r: r[\"task\"])))'",
           inputs[_i].text, inputs[_i].options);
    ck_assert_str_eq(rows, inputs[_i].expected);
    ck_assert(!job_now("lines").open);
    expect_each_once("lines");
}
END_TEST

/* More than fits into a pack, a chunk and the window, from what the loop does not watch
 * as well. */
static const char *const sources[] = {"seq 250000 | %s", "seq 250000 > rows; %s < rows"};

START_TEST(each_line_is_run_once_and_printed_once) {
    char command[256];
    snprintf(command, sizeof(command), sources[_i],
             "shoal run --plugin $PLUGIN --task line --from - -f csv -o out");
    ok("%s", command);
    ck_assert_str_eq(ok("tail -n +2 out | cut -d, -f2 | sort -n | uniq | wc -l"),
                     "250000");
    ck_assert_str_eq(ok("wc -l < out"), "250001");
    expect_audit();
}
END_TEST

static const struct {
    const char *input;
    const char *says;
} empty[] = {
    {"</dev/null", "stdin has no rows, so there is nothing to run"},
    {"<&-", "cannot read stdin"},
    {"<.", "cannot read stdin"},
};

START_TEST(stdin_without_rows_leaves_no_job) {
    struct said said = sh_exit(2, "shoal run --from - -- true %s", empty[_i].input);
    ck_assert_msg(strstr(said.err, empty[_i].says) != NULL, "%s", said.err);
    ck_assert_str_eq(ok("shoal list --json"), "");
}
END_TEST

/* Nothing is waited for before what makes no sense is told. */
START_TEST(nonsense_is_told_before_the_first_line) {
    struct said said = sh_exit(2, "shoal run --max-fails 5%% --from - -- true {} < pipe");
    ck_assert_ptr_nonnull(strstr(said.err, "say a number"));
    said = sh_exit(2, "shoal run --from - -- true {x} < pipe");
    ck_assert_ptr_nonnull(strstr(said.err, "known: {}"));
    ck_assert_str_eq(ok("shoal list --json"), "");
}
END_TEST

START_TEST(dry_run_reads_all_of_stdin) {
    ck_assert_str_eq(ok("seq 7 | shoal run --dry-run --seed 1 --from - -- echo {}"),
                     "7 tasks\necho 1\necho 2\necho 3\necho 4\necho 5\n…");
    ck_assert_str_eq(ok("shoal list --json"), "");
}
END_TEST

/* ---- a slow producer */

START_TEST(first_row_comes_while_stdin_is_open) {
    sh_start(&run, "shoal run --name slow --from - -f csv -- echo x={} < pipe");
    produce("one\n");
    wait_until(has_printed("0,one,ok,"), LIMIT_MS);
    ck_assert(job_now("slow").open);
    produce("two\nthr");
    wait_until(has_printed("1,two,ok,"), LIMIT_MS);
    ck_assert_int_eq(job_now("slow").total, 2);
    produce("ee");
    produce("\n");
    wait_until(has_printed("2,three,ok,"), LIMIT_MS);
    produce("four");
    produce_end();
    expect_end(0);
    ck_assert(has_printed("3,four,ok,"));
    ck_assert(has_said(&run, "succeeded: 4 tasks, 4 ok"));
    expect_each_once("slow");
    test_process_finish(&run);
}
END_TEST

START_TEST(half_a_line_does_not_keep_ctrl_c_waiting) {
    int gate = gate_close("gate");
    sh_start(&run, "shoal run --name half --from - -f csv -- "
                   "flock -sF gate echo x={} < pipe");
    produce("one\ntw");
    wait_until(sh("shoal status half").exit == 0 && job_now("half").leased == 1,
               LIMIT_MS);
    test_process_signal(&run, SIGINT);
    expect_end(130);
    ck_assert(has_said(&run, "stopping: nothing new starts"));
    ck_assert(job_is("half", SHOAL_JOB_CANCELLED));
    ck_assert_int_eq(job_now("half").total, 1);
    expect_audit();
    test_process_finish(&run);
    gate_open(gate);
}
END_TEST

/* Everything that was read has run, but not everything was read. */
START_TEST(interrupted_input_is_no_success) {
    sh_start(&run, "shoal run --name cut --from - -f csv -- echo x={} < pipe");
    produce("one\n");
    wait_until(has_printed("0,one,ok,"), LIMIT_MS);
    test_process_signal(&run, SIGINT);
    expect_end(130);
    ck_assert_int_eq(job_now("cut").ok, 1);
    test_process_finish(&run);
}
END_TEST

START_TEST(progress_shows_that_the_end_is_not_known) {
    char shown[4096] = "";
    size_t len = 0;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    ck_assert_int_ge(terminal, 0);
    ck_assert_int_eq(grantpt(terminal) + unlockpt(terminal), 0);
    sh_start(&run, "shoal run --from - -f csv -- echo x={} < %s 2> %s", ptsname(terminal),
             ptsname(terminal));
    ck_assert_int_eq(write(terminal, "one\n", 4), 4);
    wait_until(has_printed("0,one,ok,"), LIMIT_MS);
    while (strstr(shown, "[reading] 1 of 1 so far") == NULL) {
        ssize_t n = read(terminal, shown + len, sizeof(shown) - 1 - len);
        len += n > 0 ? (size_t)n : 0;
        shown[len] = '\0';
        test_pause(NULL);
    }
    ck_assert_int_eq(write(terminal, "\4", 1), 1); /* Ctrl-D */
    expect_end(0);
    test_process_finish(&run);
    close(terminal);
}
END_TEST

/* ---- a fast one */

/* Nobody works, so nothing is ever printed. */
START_TEST(no_more_is_read_than_fits_under_way) {
    ok("shoal pause default");
    sh_start(&run, "seq 10000000 | shoal run --name much --from - -- true");
    wait_until(sh("shoal status much").exit == 0 && job_now("much").total >= MOST - 4096,
               LIMIT_MS);
    for (int i = 0; i < 20; i++)
        ck_assert_int_le(job_now("much").total, MOST);
    ok("shoal cancel much");
    expect_end(1);
    ck_assert_int_le(job_now("much").total, MOST);
    ok("shoal resume default");
    test_process_finish(&run);
}
END_TEST

/* What others take this run never sees: it does not wait for it. */
START_TEST(rows_that_others_take_are_not_waited_for) {
    ok("seq 500000 > rows");
    sh_start(&run, "shoal run --name taken --plugin $PLUGIN --task nothing --from - "
                   "-o /dev/null < rows");
    wait_until(sh("shoal status taken").exit == 0 && job_now("taken").total > 0,
               LIMIT_MS);
    test_process_signal(&run, SIGSTOP);
    wait_until(job_now("taken").ok == job_now("taken").total, LIMIT_MS);
    ok("shoal results --take -o /dev/null taken");
    test_process_signal(&run, SIGCONT);
    expect_end(0);
    ck_assert_int_eq(job_now("taken").ok, 500000);
    test_process_finish(&run);
}
END_TEST

static long resident_kb(pid_t pid) {
    char path[32], line[256];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *status = fopen(path, "re");
    while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            return strtol(line + 6, NULL, 10);
    }
    return 0;
}

/* 120 MB of rows, long ones, since each costs its time. */
enum { ROWS = 120000 };

START_TEST(memory_is_bounded) {
    ok("seq -f '%%01000.0f' %d > rows", ROWS);
    sh_start(&run, "shoal run --name large --plugin $PLUGIN --task nothing --from - "
                   "-f csv -o /dev/null < rows");
    long most_kb = 0;
    while (!test_process_has_ended(&run)) {
        long now = resident_kb(run.pid);
        most_kb = now > most_kb ? now : most_kb;
        test_pause(NULL);
    }
    expect_end(0);
#ifndef __SANITIZE_ADDRESS__
    ck_assert_int_lt(most_kb, 50000);
#endif
    const char *peak = ok("redis-cli -s %s info memory | "
                          "sed -n 's/used_memory_peak:\\([0-9]*\\).*/\\1/p'",
                          daemons.server.socket);
    ck_assert_int_lt(strtol(peak, NULL, 10), 100000000);
    ck_assert_str_eq(ok("redis-cli -s %s xlen 'shoal:{0}:args:%s'", daemons.server.socket,
                        job_now("large").id),
                     "0");
    ck_assert_int_eq(job_now("large").ok, ROWS);
    expect_audit();
    test_process_finish(&run);
}
END_TEST

/* ---- what goes wrong */

START_TEST(what_came_before_a_wrong_line_is_run) {
    sh_start(&run, "shoal run --name wrong --from - -f csv -- echo x={} < pipe");
    produce("one\n");
    wait_until(has_printed("0,one,ok,"), LIMIT_MS);
    produce("two\n\xff\nthree\n");
    expect_end(2);
    ck_assert(has_printed("1,two,ok,"));
    ck_assert(has_said(&run, "stdin line 3 is no UTF-8 text; the 2 tasks before it"));
    ck_assert_int_eq(job_now("wrong").total, 2);
    expect_each_once("wrong");
    test_process_finish(&run);
}
END_TEST

START_TEST(too_many_failures_end_the_reading) {
    struct said said = sh_exit(
        1, "yes | shoal run --name fails --max-fails 3 --from - -- false > /dev/null");
    ck_assert_ptr_nonnull(strstr(said.err, "failed: "));
    ck_assert_str_eq(job_now("fails").reason, "max-fails");
    expect_audit();
}
END_TEST

/* What was read is run, and the job ends. */
START_TEST(reader_that_leaves_ends_the_reading) {
    ok("yes | shoal run --name read --plugin $PLUGIN --task nothing --from - -f csv | "
       "head -n 3");
    sh_exit(0, "shoal wait read");
    ck_assert(!job_now("read").open);
    expect_audit();
}
END_TEST

START_TEST(job_of_a_killed_run_ends_when_it_was_alone_for_long) {
    sh_start(&run, "shoal run --name alone --from - -- true < pipe");
    produce("one\ntwo\n");
    wait_until(sh("shoal status alone").exit == 0 && job_now("alone").total == 2,
               LIMIT_MS);
    test_process_signal(&run, SIGKILL);
    expect_end(-SIGKILL);
    wait_until(job_now("alone").ok == 2, LIMIT_MS);
    ck_assert(job_is("alone", SHOAL_JOB_ACTIVE));
    ok("redis-cli -s %s zadd 'shoal:{0}:due' 0 o:%s", daemons.server.socket,
       job_now("alone").id);
    wait_until(job_is("alone", SHOAL_JOB_SUCCEEDED), LIMIT_MS);
    test_process_finish(&run);
}
END_TEST

static bool pipe_is_empty(void) {
    int waiting = -1;
    ck_assert_int_eq(ioctl(producer, FIONREAD, &waiting), 0);
    return waiting == 0;
}

/* As after an hour in which Redis heard nothing of us. */
START_TEST(job_that_takes_no_more_rows_is_told) {
    int gate = gate_close("gate");
    sh_start(&run, "shoal run --name shut --from - -- flock -sF gate true < pipe");
    produce("one\n");
    wait_until(sh("shoal status shut").exit == 0 && job_now("shut").leased == 1,
               LIMIT_MS);
    ok("redis-cli -s %s zadd 'shoal:{0}:due' 0 o:%s", daemons.server.socket,
       job_now("shut").id);
    wait_until(!job_now("shut").open, LIMIT_MS);
    if (_i == 1) {
        produce("two\n");
        wait_until(pipe_is_empty(), LIMIT_MS);
    }
    gate_open(gate);
    expect_end(2);
    ck_assert(has_said(&run, "; the 1 task before it was run"));
    test_process_finish(&run);
}
END_TEST

START_TEST(rows_come_once_over_a_restart_of_redis) {
    ok("echo 'for i in $(seq 40); do seq $((i * 1000 - 999)) $((i * 1000)); "
       "test $i -ne 20 || flock -s gate true; done' > lines");
    int gate = gate_close("gate");
    sh_start(&run, "sh lines | shoal run --name back --plugin $PLUGIN --task line "
                   "--from - -f csv -o out");
    wait_until(sh("shoal status back").exit == 0 && job_now("back").total > 0, LIMIT_MS);
    test_server_stop(&daemons.server);
    gate_open(gate);
    wait_until(has_said(&run, "waiting for it to come back"), LIMIT_MS);
    test_server_restart(&daemons.server, NULL);
    expect_end(0);
    ck_assert_str_eq(ok("tail -n +2 out | cut -d, -f2 | sort -n | uniq | wc -l"),
                     "40000");
    ck_assert_str_eq(ok("wc -l < out"), "40001");
    expect_each_once("back");
    expect_audit();
    test_process_finish(&run);
}
END_TEST

/* A Redis without room for more takes results and gives what was read free. */
START_TEST(full_redis_is_waited_for) {
    sh_start(&run, "shoal run --name full --from - -f csv -- echo x={} < pipe");
    produce("one\n");
    wait_until(has_printed("0,one,ok,"), LIMIT_MS);
    ok("redis-cli -s %s config set maxmemory 1", daemons.server.socket);
    produce("two\n");
    wait_until(has_said(&run, "no more rows are read meanwhile"), LIMIT_MS);
    ok("redis-cli -s %s config set maxmemory 0", daemons.server.socket);
    wait_until(has_printed("1,two,ok,"), LIMIT_MS);
    produce_end();
    expect_end(0);
    expect_each_once("full");
    test_process_finish(&run);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cli_stream");
    TCase *tests = tcase_create("cli_stream");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, rows_of_a_file_arrive_as_they_were, 0,
                        (int)SHOAL_COUNT(counts));
    tcase_add_loop_test(tests, lines_of_stdin_become_tasks, 0, (int)SHOAL_COUNT(inputs));
    tcase_add_loop_test(tests, each_line_is_run_once_and_printed_once, 0,
                        (int)SHOAL_COUNT(sources));
    tcase_add_loop_test(tests, stdin_without_rows_leaves_no_job, 0,
                        (int)SHOAL_COUNT(empty));
    tcase_add_test(tests, nonsense_is_told_before_the_first_line);
    tcase_add_test(tests, dry_run_reads_all_of_stdin);
    tcase_add_test(tests, first_row_comes_while_stdin_is_open);
    tcase_add_test(tests, half_a_line_does_not_keep_ctrl_c_waiting);
    tcase_add_test(tests, interrupted_input_is_no_success);
    tcase_add_test(tests, progress_shows_that_the_end_is_not_known);
    tcase_add_test(tests, no_more_is_read_than_fits_under_way);
    tcase_add_test(tests, rows_that_others_take_are_not_waited_for);
    tcase_add_test(tests, memory_is_bounded);
    tcase_add_test(tests, what_came_before_a_wrong_line_is_run);
    tcase_add_test(tests, too_many_failures_end_the_reading);
    tcase_add_test(tests, reader_that_leaves_ends_the_reading);
    tcase_add_test(tests, job_of_a_killed_run_ends_when_it_was_alone_for_long);
    tcase_add_loop_test(tests, job_that_takes_no_more_rows_is_told, 0, 2);
    tcase_add_test(tests, rows_come_once_over_a_restart_of_redis);
    tcase_add_test(tests, full_redis_is_waited_for);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
