/* Thousands of jobs of one task each, through real workers: many of them are in a
 * runner's hands at once, and what happens to one may not touch the others. */
#include "client/shoal.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "tests/support/daemons.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 2000, CHOSEN = 211 };

static struct test_process worker, successor;
static struct shoal_client *client;
static struct shoal_error err;
static struct shoal_submit_options options[MOST];
static char ids[MOST][13];
static size_t n_jobs;

/* The same functions as in tasks_plugin.c. */
static const char module[] = "import os, time\\n"
                             "calls = 0\\n"
                             "def nothing(): pass\\n"
                             "def count():\\n"
                             "    global calls\\n"
                             "    calls += 1\\n"
                             "    return {'process': os.getpid(), 'calls': calls}\\n"
                             "def own(seed): return {'own': seed}\\n"
                             "def chosen(how, ms, chosen, seed):\\n"
                             "    if seed != chosen: return time.sleep(ms / 1000)\\n"
                             "    if how == 'fail': raise ValueError('it is chosen')\\n"
                             "    if how == 'crash': os.abort()\\n"
                             "    if how == 'exit': os._exit(7)\\n"
                             "    while True: time.sleep(1)\\n";

static void start(const char *const *of_redis, const char *of_worker) {
    daemons_start(of_redis);
    ok("printf \"%s\" > model.py", module);
    worker_start(&worker, of_worker);
    const struct shoal_client_options where = {.url = daemons.server.url};
    ck_assert_msg(shoal_client_connect(&where, &client, &err) == SHOAL_OK, "%s",
                  err.text);
}

static void setup(void) {
    start(NULL, "--slots 2");
}

static void teardown(void) {
    shoal_client_destroy(client);
    expect_audit();
    worker_end(&worker);
    daemons_finish();
}

/* ---- submitting */

enum language { IN_C, IN_PYTHON, LANGUAGES };

/* Words that stay the same, so that the jobs run the same. */
static const char *const *function(enum language language, const char *name) {
    static char path[4096], python[64];
    static const char *in_c[] = {"shoal-host", "--plugin", path, "--task", NULL, NULL};
    static const char *const in_python[] = {"shoal-host", "--python", python, NULL};
    snprintf(path, sizeof(path), "%s", test_built("tests/support/tasks.so").text);
    snprintf(python, sizeof(python), "model:%s", name);
    in_c[4] = name;
    return language == IN_C ? in_c : in_python;
}

/* So many jobs that run the same; then they may be changed. */
static void prepare(size_t n, const char *const *command, bool stays) {
    n_jobs = n;
    for (size_t i = 0; i < n; i++) {
        shoal_submit_options_init(&options[i]);
        options[i].command = command;
        options[i].stays = stays;
        options[i].directory = daemons.home.path;
        options[i].waits = true;
        options[i].has_seed = true;
        options[i].seed = i;
    }
}

static void submit(void) {
    ck_assert_msg(shoal_submit_many(client, options, n_jobs, ids, &err) == SHOAL_OK, "%s",
                  err.text);
}

/* Jobs of a function in which CHOSEN does what is said and the others take `ms`. */
static void submit_chosen(enum language language, size_t n, const char *how, int ms,
                          void (*change)(struct shoal_submit_options *job)) {
    static char texts[3][64];
    static const char *const parameters[] = {texts[0], texts[1], texts[2], NULL};
    snprintf(texts[0], sizeof(*texts), "how=%s", how);
    snprintf(texts[1], sizeof(*texts), "ms=%d", ms);
    snprintf(texts[2], sizeof(*texts), "chosen=%" PRIu64, shoal_task_seed(CHOSEN, 0));
    prepare(n, function(language, "chosen"), true);
    for (size_t i = 0; i < n; i++) {
        options[i].parameters = parameters;
        if (change != NULL)
            change(&options[i]);
    }
    submit();
}

/* ---- what became of them */

struct end {
    size_t n; /* results */
    bool ok;
    int64_t attempt;
    char reason[16];
    char text[128];
};

/* Reads the results of a job to their end. */
static struct end end_of(size_t i) {
    struct shoal_results *results = NULL;
    struct shoal_result result;
    struct end end = {.n = 0};
    bool more = true;
    enum shoal_status status = shoal_results_create(client, ids[i], &results, &err);
    while (status == SHOAL_OK && more) {
        status = shoal_results_next(results, LIMIT_MS, &more, &result, &err);
        if (status != SHOAL_OK || !more)
            continue;
        end.n++;
        end.ok = result.ok;
        end.attempt = result.attempt;
        snprintf(end.reason, sizeof(end.reason), "%s", result.reason);
        snprintf(end.text, sizeof(end.text), "%.*s", (int)result.len, result.bytes);
    }
    ck_assert_msg(status == SHOAL_OK, "job %zu: %s", i, err.text);
    shoal_results_destroy(results);
    return end;
}

static struct end expect_ok(size_t i, int64_t most_attempts) {
    struct end end = end_of(i);
    ck_assert_msg(end.n == 1 && end.ok && end.attempt <= most_attempts,
                  "job %zu: %zu results, %s, attempt %" PRId64 ": %s", i, end.n,
                  end.reason, end.attempt, end.text);
    return end;
}

/* All but CHOSEN, if there is one. */
static void expect_others_ok(void) {
    for (size_t i = 0; i < n_jobs; i++) {
        if (i != CHOSEN)
            expect_ok(i, 1);
    }
}

/* How many tried twice. */
static size_t expect_all_ok(int64_t most_attempts) {
    size_t again = 0;
    for (size_t i = 0; i < n_jobs; i++)
        again += expect_ok(i, most_attempts).attempt > 1;
    return again;
}

static struct shoal_job now(size_t i) {
    struct shoal_job job;
    ck_assert_msg(shoal_describe(client, ids[i], &job, &err) == SHOAL_OK, "%s", err.text);
    return job;
}

/* Many of them are done, and many are not. */
static void wait_for_the_middle(void) {
    for (size_t i = 0; i < 50; i++)
        expect_ok(i, 1);
}

/* ---- all is well */

static const char *const program[] = {"echo", "ran={task}", NULL};

START_TEST(each_of_many_functions_ends_once) {
    prepare(MOST, function((enum language)_i, "nothing"), true);
    submit();
    ck_assert_uint_eq(expect_all_ok(1), 0);
}
END_TEST

START_TEST(each_of_many_has_its_own_seed) {
    char expected[64];
    prepare(1000, function(IN_PYTHON, "own"), true);
    submit();
    for (size_t i = 0; i < n_jobs; i++) {
        snprintf(expected, sizeof(expected), "%" PRIu64, shoal_task_seed(i, 0));
        ck_assert_ptr_nonnull(strstr(expect_ok(i, 1).text, expected));
    }
}
END_TEST

START_TEST(each_of_many_programs_ends_once) {
    prepare(400, program, false);
    submit();
    for (size_t i = 0; i < n_jobs; i++)
        ck_assert_ptr_nonnull(strstr(expect_ok(i, 1).text, "ran=0"));
}
END_TEST

/* A look at Redis for each job, and no letters. */
START_TEST(each_ends_once_for_who_looks) {
    prepare(1000, function(IN_C, "nothing"), true);
    for (size_t i = 0; i < n_jobs; i++)
        options[i].waits = false;
    submit();
    ck_assert_uint_eq(expect_all_ok(1), 0);
    for (size_t i = 0; i < n_jobs; i += 100)
        ck_assert_int_eq(now(i).state, SHOAL_JOB_SUCCEEDED);
}
END_TEST

/* Two functions and a program. */
START_TEST(specs_that_take_turns_each_keep_their_process) {
    char pids[1000][16];
    size_t n = 0;
    prepare(900, function((enum language)_i, "count"), true);
    for (size_t i = 0; i < n_jobs; i++) {
        options[i].timeout_ms = i % 3 == 1 ? 60000 : 0;
        if (i % 3 == 2) {
            options[i].command = program;
            options[i].stays = false;
        }
    }
    submit();
    for (size_t i = 0; i < n_jobs; i++) {
        struct end end = expect_ok(i, 1);
        const char *pid = strstr(end.text, "\"process\":");
        ck_assert_int_eq(pid == NULL, i % 3 == 2);
        size_t at = 0;
        if (pid == NULL)
            continue;
        snprintf(pids[n], sizeof(*pids), "%.*s", (int)strcspn(pid + 10, ",}"), pid + 10);
        while (strcmp(pids[at], pids[n]) != 0)
            at++;
        n += at == n;
    }
    ck_assert_uint_ge(n, 2);
    ck_assert_uint_le(n, 4); /* two slots, two functions */
}
END_TEST

START_TEST(jobs_of_some_tasks_may_be_among_them) {
    static const int64_t tasks[] = {1, 5, 30};
    prepare(300, function((enum language)_i, "nothing"), true);
    for (size_t i = 0; i < n_jobs; i++)
        options[i].repetitions = tasks[i % SHOAL_COUNT(tasks)];
    submit();
    for (size_t i = 0; i < n_jobs; i++)
        ck_assert_uint_eq(end_of(i).n, (size_t)options[i].repetitions);
    for (size_t i = 0; i < n_jobs; i += 50)
        ck_assert_int_eq(now(i).ok, options[i].repetitions);
}
END_TEST

static void hurry_a_little(struct shoal_submit_options *job) {
    job->timeout_ms = 2000;  /* a batch takes longer */
    job->seed += CHOSEN + 1; /* none is chosen */
}

/* They take seconds together. */
START_TEST(each_has_a_time_of_its_own) {
    submit_chosen((enum language)_i, 300, "none", 40, hurry_a_little);
    ck_assert_uint_eq(expect_all_ok(1), 0);
}
END_TEST

/* Whoever writes something else where their mail goes is told of nothing. */
START_TEST(each_ends_once_though_its_mail_cannot_be_delivered) {
    prepare(20, function(IN_C, "nothing"), true);
    for (size_t i = 0; i < n_jobs; i++)
        options[i].delay_ms = 1000;
    submit();
    ok("redis-cli -s '%s' set 'shoal:{0}:mail:%s' nonsense", daemons.server.socket,
       now(0).waiter);
    ck_assert_uint_eq(expect_all_ok(1), 0);
}
END_TEST

/* ---- one that misbehaves */

static void try_twice(struct shoal_submit_options *job) {
    job->policy.retries = 1;
}

static void hurry(struct shoal_submit_options *job) {
    job->timeout_ms = 300;
    job->grace_ms = 100;
}

static const struct {
    const char *how;
    void (*change)(struct shoal_submit_options *job);
    const char *reason;
    int64_t attempt;
} oddities[] = {
    {"fail", NULL, "exit", 1},    {"fail", try_twice, "exit", 2},
    {"crash", NULL, "signal", 1}, {"crash", try_twice, "signal", 2},
    {"exit", NULL, "exit", 1},    {"loop", hurry, "timeout", 1},
};

START_TEST(odd_one_costs_itself_alone) {
    size_t row = (size_t)_i / LANGUAGES;
    submit_chosen((enum language)(_i % LANGUAGES), 500, oddities[row].how, 0,
                  oddities[row].change);
    struct end end = end_of(CHOSEN);
    ck_assert_uint_eq(end.n, 1);
    ck_assert(!end.ok);
    ck_assert_str_eq(end.reason, oddities[row].reason);
    ck_assert_int_eq(end.attempt, oddities[row].attempt);
    expect_others_ok();
}
END_TEST

static void die_soon(struct shoal_submit_options *job) {
    job->policy.max_lost = 2;
}

/* It takes those in its worker's hands with it, once or twice: they are not blamed. */
START_TEST(one_that_kills_its_workers_fails_as_poison_alone) {
    submit_chosen(IN_C, 500, "murder", 0, die_soon);
    struct end end = end_of(CHOSEN);
    ck_assert_uint_eq(end.n, 1);
    ck_assert_str_eq(end.reason, "poison");
    for (size_t i = 0; i < n_jobs; i++) {
        if (i != CHOSEN)
            expect_ok(i, 3);
    }
}
END_TEST

/* What was behind it in its runner's hands goes to the other slot. */
START_TEST(long_one_does_not_hold_up_the_others) {
    submit_chosen((enum language)_i, 600, "loop", 0, NULL);
    expect_others_ok();
    ck_assert_int_eq(now(CHOSEN).leased, 1);
    ck_assert_int_eq(shoal_cancel(client, ids[CHOSEN], true, &err), SHOAL_OK);
    ck_assert_uint_eq(end_of(CHOSEN).n, 0);
    ck_assert_int_eq(now(CHOSEN).state, SHOAL_JOB_CANCELLED);
}
END_TEST

/* ---- cancelled in a runner's hands */

static void no_oddity(struct shoal_submit_options *job) {
    job->seed += CHOSEN + 1; /* none is chosen */
}

/* Cancels those that are leased and have not begun, as far as that can be seen, one in so
 * many. Returns how many. Goes towards the workers, or it might always be behind them. */
static size_t cancel_some(size_t one_in, bool kill, bool *was_cancelled) {
    size_t leased = 0, n = 0;
    for (size_t i = n_jobs; i-- > 50;) {
        was_cancelled[i] = now(i).leased == 1 && leased++ % one_in == 0;
        if (!was_cancelled[i])
            continue;
        ck_assert_int_eq(shoal_cancel(client, ids[i], kill, &err), SHOAL_OK);
        n++;
    }
    return n;
}

START_TEST(cancelled_ones_leave_the_others_alone) {
    static bool was_cancelled[MOST];
    size_t cancelled = 0;
    submit_chosen((enum language)(_i / 2), 1000, "none", 3, no_oddity);
    wait_for_the_middle();
    bool kill = _i % 2 == 1;
    ck_assert_uint_gt(cancel_some(5, kill, was_cancelled), 0);
    for (size_t i = 0; i < n_jobs; i++) {
        if (!was_cancelled[i]) {
            expect_ok(i, kill ? 2 : 1); /* one that is killed may take its neighbour */
            continue;
        }
        struct end end = end_of(i);
        bool in_vain = end.n == 1 && end.ok; /* it was begun already */
        ck_assert(end.n == 0 || in_vain);
        cancelled += now(i).state == SHOAL_JOB_CANCELLED;
    }
    ck_assert_uint_gt(cancelled, 0);
}
END_TEST

/* ---- the worker ends, or loses Redis, in the middle */

START_TEST(each_ends_once_when_the_worker_is_killed) {
    submit_chosen(IN_C, MOST, "none", 3, no_oddity);
    wait_for_the_middle();
    worker_kill(&worker);
    worker_start(&worker, "--slots 2");
    ck_assert_uint_gt(expect_all_ok(2), 0);
}
END_TEST

START_TEST(draining_worker_gives_back_all_that_it_has_not_begun) {
    size_t queued = 0;
    submit_chosen(IN_C, MOST, "none", 3, no_oddity);
    wait_for_the_middle();
    worker_end(&worker);
    for (size_t i = 0; i < n_jobs; i++) {
        struct shoal_job job = now(i);
        ck_assert_int_eq(job.queued + job.ok, 1);
        queued += job.queued == 1;
    }
    ck_assert_uint_gt(queued, 0);
    worker_start(&worker, "--slots 2");
    ck_assert_uint_eq(expect_all_ok(1), 0);
}
END_TEST

START_TEST(second_worker_takes_its_share) {
    submit_chosen(IN_C, MOST, "none", 3, no_oddity);
    wait_for_the_middle();
    worker_start(&successor, "--slots 2 --name other");
    ck_assert_uint_eq(expect_all_ok(1), 0);
    worker_end(&successor);
}
END_TEST

/* It stands still for longer than its session lasts, with many in its hands. */
START_TEST(each_ends_once_when_a_worker_is_late) {
    submit_chosen((enum language)_i, MOST, "none", 3, no_oddity);
    wait_for_the_middle();
    pid_t stopped = worker_pid(&worker);
    kill(stopped, SIGSTOP);
    worker_start(&successor, "--slots 2 --name other");
    for (size_t i = 0; i < n_jobs; i++) {
        if (i == n_jobs - 200) /* others have what it had, and some is left */
            kill(stopped, SIGCONT);
        expect_ok(i, 2);
    }
    worker_end(&successor);
    for (size_t i = 0; i < n_jobs; i += 10) /* it has brought nothing since */
        expect_ok(i, 2);
}
END_TEST

START_TEST(each_ends_once_when_connections_break) {
    submit_chosen(IN_C, MOST, "none", 3, no_oddity);
    for (size_t i = 0; i < n_jobs; i++) {
        expect_ok(i, 1);
        if (i % 300 == 50)
            ok("redis-cli -s '%s' client kill type normal", daemons.server.socket);
    }
}
END_TEST

static const char *const saves_each_second[] = {"--appendonly", "yes", NULL};
static const char *const saves_always[] = {"--appendonly", "yes", "--appendfsync",
                                           "always", NULL};

/* How Redis ends, such that it loses nothing. */
static const struct {
    const char *const *args;
    void (*end)(struct test_server *server);
} redis_ends[] = {
    {saves_each_second, test_server_stop},
    {saves_always, test_server_kill},
};

START_TEST(each_ends_once_when_redis_comes_back) {
    start(redis_ends[_i].args, "--slots 2");
    submit_chosen(IN_C, MOST, "none", 2, no_oddity);
    for (size_t i = 0; i < n_jobs; i++) {
        expect_ok(i, 1);
        if (i % 700 != 200)
            continue;
        redis_ends[_i].end(&daemons.server);
        test_server_restart(&daemons.server, NULL);
    }
}
END_TEST

/* ---- one slot */

static void setup_lone(void) {
    start(NULL, "--slots 1");
}

/* It runs for long: what was behind it has gone back. */
static bool chosen_one_runs_alone(void) {
    if (now(CHOSEN).leased != 1)
        return false;
    for (size_t i = 0; i < n_jobs; i++) {
        if (i != CHOSEN && now(i).leased != 0)
            return false;
    }
    return true;
}

/* One runs, and is not charged. */
START_TEST(stopped_worker_gives_all_back) {
    submit_chosen((enum language)_i, 600, "loop", 0, NULL);
    wait_until(chosen_one_runs_alone(), LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    wait_until(has_said(&worker, "draining"), LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    wait_until(has_said(&worker, "stopping"), LIMIT_MS);
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    test_process_finish(&worker);
    ck_assert_int_eq(now(CHOSEN).queued, 1);
    worker_start(&worker, "--slots 2");
    expect_others_ok();
    ck_assert_int_eq(shoal_cancel(client, ids[CHOSEN], true, &err), SHOAL_OK);
    ck_assert_uint_eq(end_of(CHOSEN).n, 0);
}
END_TEST

/* ---- runners that are replaced */

static void setup_worn(void) {
    start(NULL, "--slots 2 --max-tasks-per-runner 10");
}

START_TEST(worn_runner_leaves_the_rest_to_its_successor) {
    prepare(200, function((enum language)_i, "count"), true);
    submit();
    int64_t most = 0;
    for (size_t i = 0; i < n_jobs; i++) {
        const char *calls = strstr(expect_ok(i, 1).text, "\"calls\":");
        ck_assert_ptr_nonnull(calls);
        int64_t n = strtoll(calls + strlen("\"calls\":"), NULL, 10);
        most = n > most ? n : most;
    }
    ck_assert_int_eq(most, 10);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("small_jobs");
    TCase *cases = tcase_create("small_jobs");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 100);
    tcase_add_loop_test(cases, each_of_many_functions_ends_once, 0, LANGUAGES);
    tcase_add_test(cases, each_of_many_has_its_own_seed);
    tcase_add_test(cases, each_of_many_programs_ends_once);
    tcase_add_test(cases, each_ends_once_for_who_looks);
    tcase_add_loop_test(cases, specs_that_take_turns_each_keep_their_process, 0,
                        LANGUAGES);
    tcase_add_loop_test(cases, jobs_of_some_tasks_may_be_among_them, 0, LANGUAGES);
    tcase_add_test(cases, each_ends_once_though_its_mail_cannot_be_delivered);
    tcase_add_loop_test(cases, each_has_a_time_of_its_own, 0, LANGUAGES);
    tcase_add_test(cases, one_that_kills_its_workers_fails_as_poison_alone);
    tcase_add_loop_test(cases, odd_one_costs_itself_alone, 0,
                        LANGUAGES * SHOAL_COUNT(oddities));
    tcase_add_loop_test(cases, long_one_does_not_hold_up_the_others, 0, LANGUAGES);
    tcase_add_loop_test(cases, cancelled_ones_leave_the_others_alone, 0, 2 * LANGUAGES);
    tcase_add_test(cases, each_ends_once_when_the_worker_is_killed);
    tcase_add_test(cases, draining_worker_gives_back_all_that_it_has_not_begun);
    tcase_add_test(cases, second_worker_takes_its_share);
    tcase_add_loop_test(cases, each_ends_once_when_a_worker_is_late, 0, LANGUAGES);
    tcase_add_test(cases, each_ends_once_when_connections_break);
    suite_add_tcase(suite, cases);
    TCase *saved = tcase_create("saved");
    tcase_add_checked_fixture(saved, NULL, teardown);
    tcase_set_timeout(saved, 100);
    tcase_add_loop_test(saved, each_ends_once_when_redis_comes_back, 0,
                        SHOAL_COUNT(redis_ends));
    suite_add_tcase(suite, saved);
    TCase *lone = tcase_create("lone slot");
    tcase_add_checked_fixture(lone, setup_lone, teardown);
    tcase_set_timeout(lone, 100);
    tcase_add_loop_test(lone, stopped_worker_gives_all_back, 0, LANGUAGES);
    suite_add_tcase(suite, lone);
    TCase *worn = tcase_create("worn");
    tcase_add_checked_fixture(worn, setup_worn, teardown);
    tcase_set_timeout(worn, 100);
    tcase_add_loop_test(worn, worn_runner_leaves_the_rest_to_its_successor, 0, LANGUAGES);
    suite_add_tcase(suite, worn);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
