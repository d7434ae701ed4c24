/* Redis goes away and comes back under real workers: what runs goes on. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_process first, second;

static const char *const saves_each_second[] = {"--appendonly", "yes", NULL};
static const char *const saves_always[] = {"--appendonly", "yes", "--appendfsync",
                                           "always", NULL};

/* How Redis ends, such that it loses nothing. */
static const struct {
    const char *const *args;
    void (*end)(struct test_server *server);
} ends[] = {
    {saves_each_second, test_server_stop},
    {saves_always, test_server_kill},
};

static void teardown(void) {
    daemons_finish();
}

static void come_back(void) {
    test_server_restart(&daemons.server, NULL);
}

/* ---- a sweep */

/* Every second of those that wait is let go while Redis is away, the others after it. */
static const char *submit_sweep(void) {
    return ok("shoal submit -p i=1:60 -- sh -c 'echo $$ > began.{i}.$$; "
              "test {i} -le 12 || flock -s gate.$((SHOAL_SLOT %% 2)) true; "
              ": > ended.{i}; echo pid=$$'");
}

static void expect_same_processes(const char *job) {
    const json_t *rows = rows_of(job);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        char name[64];
        snprintf(name, sizeof(name), "began.%d.%d", (int)int_in(row, "i"),
                 (int)int_in(row, "pid"));
        ck_assert_msg(files(name) == 1, "there is no %s", name);
        ck_assert_int_eq(int_in(row, "attempt"), 1);
    }
    ck_assert_uint_eq(files("began.*"), json_array_size(rows));
}

START_TEST(what_runs_goes_on_without_redis) {
    daemons_start(ends[_i].args);
    int before = gate_close("gate.0"), after = gate_close("gate.1");
    worker_start(&first, "--name left --slots 2");
    worker_start(&second, "--name right --slots 2");
    const char *job = submit_sweep();
    wait_until(files("began.*") == 12 + 4, LIMIT_MS);
    ends[_i].end(&daemons.server);
    wait_until(has_said(&first, "Redis is away") && has_said(&second, "Redis is away"),
               LIMIT_MS);
    gate_open(before);
    wait_until(files("ended.*") >= 12 + 2, LIMIT_MS);
    come_back();
    gate_open(after);
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(times_said(&first, "Redis is away"), 1);
    ck_assert_uint_eq(times_said(&second, "Redis is away"), 1);
    expect_each_once(job);
    expect_same_processes(job);
    worker_end(&first);
    worker_end(&second);
}
END_TEST

/* While nothing waits, at any point of the moves that are under way. */
START_TEST(busy_sweep_survives_redis) {
    daemons_start(ends[_i].args);
    worker_start(&first, "--name left --slots 2");
    worker_start(&second, "--name right --slots 2");
    const char *job =
        ok("shoal submit -p i=1:400 -- sh -c ': > began.{i}.$$; echo i={i}'");
    for (size_t n = 50; n <= 250; n += 50) {
        wait_until(files("began.*") >= n, LIMIT_MS);
        ends[_i].end(&daemons.server);
        come_back();
    }
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    ck_assert_uint_eq(files("began.*"), 400);
    worker_end(&first);
    worker_end(&second);
}
END_TEST

/* ---- how often a worker registers */

/* Ends it: so that it has taken all answers. */
static void expect_registered(struct test_process *process, size_t times) {
    test_process_signal(process, SIGTERM);
    ck_assert_int_eq(test_process_wait(process, LIMIT_MS), 0);
    ck_assert_uint_eq(times_said(process, "message=registered"), times);
    test_process_finish(process);
}

/* The first that registers begins to count; no commit that follows makes it, or the
 * others, register again. */
START_TEST(workers_register_once_for_a_start_of_redis) {
    daemons_start(saves_always);
    worker_start(&first, "--name left");
    worker_start(&second, "--name right");
    sh_exit(0, "shoal wait %s", ok("shoal submit -p i=1:20 -- true"));
    ck_assert_uint_eq(times_said(&first, "message=registered"), 1);
    ck_assert_uint_eq(times_said(&second, "message=registered"), 1);
    test_server_kill(&daemons.server);
    wait_until(has_said(&first, "Redis is away") && has_said(&second, "Redis is away"),
               LIMIT_MS);
    come_back();
    wait_until(times_said(&first, "message=registered") == 2 &&
                   times_said(&second, "message=registered") == 2,
               LIMIT_MS);
    sh_exit(0, "shoal wait %s", ok("shoal submit -p i=1:20 -- true"));
    expect_registered(&first, 2);
    expect_registered(&second, 2);
}
END_TEST

/* Whether Redis, which is paused, has a call of the worker in its hands; whether there is
 * another behind it. */
static bool has_called(const char *behind) {
    return strcmp(
               ok("redis-cli -s %s client list | sed -n "
                  "'/name=shoal-worker-.* flags=[^ ]*b.* qbuf=%s.* cmd=fcall/s/ .*//p'",
                  daemons.server.socket, behind),
               "") != 0;
}

/* The answer to a heartbeat makes it register while a wish is under way: that tells its
 * leases without what the wish brings, which so goes back, and the worker asks anew. */
START_TEST(lease_that_comes_while_it_registers_is_asked_for_again) {
    daemons_start(saves_always);
    int now = gate_close("gate.1"), later = gate_close("gate.2");
    worker_start(&first, "--slots 1");
    const char *job = ok("shoal submit -p i=1:2 -- "
                         "sh -c ': > began.{i}.$$; exec flock -sF gate.{i} true'");
    wait_until(files("began.1.*") == 1, LIMIT_MS);
    ok("printf '%%s\\n' multi 'hincrby shoal:{0}:epoch seq 10000000' "
       "'client pause 60000 write' exec | redis-cli -s %s",
       daemons.server.socket);
    wait_until(has_called("0"), LIMIT_MS); /* the heartbeat */
    gate_open(now);
    wait_until(has_called("[1-9]"), LIMIT_MS); /* the commit, with the wish */
    ok("redis-cli -s %s client unpause", daemons.server.socket);
    wait_until(files("began.2.*") == 1 && times_said(&first, "message=registered") >= 2,
               LIMIT_MS);
    wait_until(
        strcmp(ok("redis-cli -s %s --scan --pattern '*:leases:*'", daemons.server.socket),
               "") != 0,
        LIMIT_MS);
    gate_open(later);
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    ck_assert_uint_eq(files("began.*"), 2);
    expect_registered(&first, 2);
}
END_TEST

/* ---- the edges */

/* As Redis is when its file lost its last bytes: perhaps in the middle of a transaction,
 * which what comes next would be lost with. */
START_TEST(redis_that_lost_something_writes_its_file_anew) {
    daemons_start(saves_each_second);
    setenv("SOCKET", daemons.server.socket, 1);
    worker_start(&second, "--queue other");
    sh_exit(0, "shoal run --queue other -p i=1:3 -- true");
    pid_t late = worker_pid(&second);
    kill(late, SIGSTOP);
    worker_start(&first, "");
    sh_exit(0, "shoal run -p i=1:3 -- true");
    ok("redis-cli -s $SOCKET hset 'shoal:{0}:epoch' seq 0");
    sh_exit(0, "shoal run -p i=1:3 -- true");
    wait_until(has_said(&first, "lost its last moments"), LIMIT_MS);
    wait_until(*ok("redis-cli -s $SOCKET info persistence | grep -v ':0' | "
                   "grep '^aof_rewrites:' || true") != '\0',
               LIMIT_MS);
    kill(late, SIGCONT); /* who finds out later leaves it as it is */
    wait_until(has_said(&second, "lost its last moments"), LIMIT_MS);
    sh_exit(0, "shoal run --queue other -p i=1:3 -- true");
    const char *calls = ok("redis-cli -s $SOCKET info commandstats | grep bgrewriteaof");
    ck_assert_msg(strstr(calls, ":calls=1,") != NULL, "%s", calls);
    worker_end(&first);
    worker_end(&second);
}
END_TEST

START_TEST(worker_waits_for_a_redis_that_is_not_there_yet) {
    daemons_start(saves_always);
    test_server_stop(&daemons.server);
    worker_launch(&first, "");
    wait_until(has_said(&first, "Redis is away"), LIMIT_MS);
    come_back();
    const char *job = ok("shoal submit -p i=1:5 -- true");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    worker_end(&first);
}
END_TEST

START_TEST(worker_that_ends_waits_for_redis_to_take_its_outcomes) {
    daemons_start(ends[_i].args);
    int gate = gate_close("gate");
    worker_start(&first, "");
    const char *job =
        ok("shoal submit -- sh -c ': > began; exec flock -sF gate echo x=1'");
    wait_until(files("began") == 1, LIMIT_MS);
    ends[_i].end(&daemons.server);
    wait_until(has_said(&first, "Redis is away"), LIMIT_MS);
    test_process_signal(&first, SIGTERM);
    wait_until(has_said(&first, "draining"), LIMIT_MS);
    gate_open(gate);
    come_back();
    ck_assert_int_eq(test_process_wait(&first, LIMIT_MS), 0);
    expect_each_once(job);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    test_process_finish(&first);
}
END_TEST

/* Whether it has lost Redis or never had it. */
START_TEST(worker_with_nothing_to_tell_ends_without_redis) {
    daemons_start(saves_always);
    worker_start(&first, "--name first");
    test_server_stop(&daemons.server);
    worker_launch(&second, "--name second");
    wait_until(has_said(&first, "Redis is away") && has_said(&second, "Redis is away"),
               LIMIT_MS);
    int64_t begin = test_clock_ms();
    test_process_signal(&first, SIGTERM);
    test_process_signal(&second, SIGTERM);
    ck_assert_int_eq(test_process_wait(&first, LIMIT_MS), 0);
    ck_assert_int_eq(test_process_wait(&second, LIMIT_MS), 0);
    ck_assert_int_lt(test_clock_ms() - begin, 20000); /* far below the patience of one
                                                         that has something to tell */
    ck_assert(has_said(&first, "there was nothing to tell it"));
    test_process_finish(&first);
    test_process_finish(&second);
}
END_TEST

static const char *const evicts[] = {"--maxmemory-policy", "allkeys-lru", NULL};

START_TEST(unfit_redis_is_refused) {
    daemons_start(evicts);
    worker_launch(&first, "");
    ck_assert_int_eq(test_process_wait(&first, LIMIT_MS), 3);
    ck_assert(has_said(&first, "noeviction"));
    test_process_finish(&first);
    struct said said = sh_exit(3, "shoal submit -- true");
    ck_assert_ptr_nonnull(strstr(said.err, "noeviction"));
}
END_TEST

/* ---- clients */

/* Clients that have looked at a job, so that they are connected for good. */
static size_t looking_clients(void) {
    return strlen(
        sh("redis-cli -s %s client list | "
           "sed -En 's/.*name=shoal .*cmd=(hgetall|lrange) .*/x/p' | tr -d '\\n'",
           daemons.server.socket)
            .out);
}

START_TEST(run_and_wait_bear_the_absence_of_redis) {
    struct test_process run, wait;
    daemons_start(ends[_i].args);
    int gate = gate_close("gate");
    worker_start(&first, "");
    sh_start(&run, "shoal run --format csv --name night -p i=1:40 -- "
                   "sh -c ': > began.{i}; exec flock -sF gate echo i={i}'");
    wait_until(files("began.*") > 0, LIMIT_MS);
    sh_start(&wait, "shoal wait night");
    wait_until(looking_clients() == 2, LIMIT_MS);
    ends[_i].end(&daemons.server);
    wait_until(has_said(&run, "waiting for it to come back"), LIMIT_MS);
    come_back();
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    ck_assert_int_eq(test_process_wait(&wait, LIMIT_MS), 0);
    SHOAL_CLEANUP(shoal_cleanup_free) char *table = test_process_out(&run);
    size_t lines = 0;
    for (const char *at = table; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    ck_assert_uint_eq(lines, 1 + 40);
    expect_each_once("night");
    test_process_finish(&run);
    test_process_finish(&wait);
    worker_end(&first);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("worker_redis");
    TCase *tests = tcase_create("worker_redis");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_loop_test(tests, what_runs_goes_on_without_redis, 0,
                        (int)SHOAL_COUNT(ends));
    tcase_add_loop_test(tests, busy_sweep_survives_redis, 0, (int)SHOAL_COUNT(ends));
    tcase_add_test(tests, redis_that_lost_something_writes_its_file_anew);
    tcase_add_test(tests, workers_register_once_for_a_start_of_redis);
    tcase_add_test(tests, lease_that_comes_while_it_registers_is_asked_for_again);
    tcase_add_test(tests, worker_waits_for_a_redis_that_is_not_there_yet);
    tcase_add_loop_test(tests, worker_that_ends_waits_for_redis_to_take_its_outcomes, 0,
                        (int)SHOAL_COUNT(ends));
    tcase_add_test(tests, worker_with_nothing_to_tell_ends_without_redis);
    tcase_add_test(tests, unfit_redis_is_refused);
    tcase_add_loop_test(tests, run_and_wait_bear_the_absence_of_redis, 0,
                        (int)SHOAL_COUNT(ends));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
