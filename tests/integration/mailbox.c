/* What a client is told without asking of the jobs that it submitted with `waits`, and
 * that it finds by looking what it was not told. The workers are played by hand. */
#include "client/shoal.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/support/fleet.h"
#include "tests/support/wait.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAIL_MOST = 10000, MAIL_BYTES = 1024 }; /* as in lib.lua */

static struct test_fleet fleet;
static struct shoal_client *client;
static struct shoal_submit_options options;
static struct shoal_results *results;
static struct shoal_result result;
static struct shoal_error err;
static char job[13];
static const char worker[] = "worker000001";
static const char *const command[] = {"./sir", "{task}", NULL};

static void expect(enum shoal_status status, enum shoal_status expected) {
    ck_assert_msg(status == expected, "%s instead of %s: %s", shoal_status_name(status),
                  shoal_status_name(expected), err.text);
    shoal_error_clear(&err);
}

static void setup(void) {
    signal(SIGPIPE, SIG_IGN);
    struct test_answer answer;
    test_fleet_start(&fleet, false, NULL);
    test_register(&fleet, worker, NULL, NULL, 0, &answer);
    const struct shoal_client_options where = {.url = fleet.server.url,
                                               .name_space = "test"};
    expect(shoal_client_connect(&where, &client, &err), SHOAL_OK);
    shoal_submit_options_init(&options);
    options.command = command;
    options.queue = "q";
    options.waits = true;
}

static void teardown(void) {
    shoal_results_destroy(results);
    shoal_client_destroy(client);
    test_fleet_audit(&fleet);
    test_fleet_finish(&fleet);
}

static void submit(int64_t tasks) {
    options.repetitions = tasks;
    expect(shoal_submit(client, &options, job, &err), SHOAL_OK);
}

/* ---- the worker's side */

static void commit(const struct shoal_lease *lease, enum shoal_reason reason,
                   const char *text, size_t len) {
    static const char *const q[] = {"q", NULL};
    const struct shoal_outcome outcome = {
        .reason = reason, .attempt = lease->attempt, .result = text, .result_len = len};
    struct test_answer answer;
    struct shoal_commit commit;
    const struct shoal_commit *commits = &commit;
    shoal_commit_init(&commit, lease->job, lease->name, lease->lo);
    for (int64_t i = lease->lo; i < lease->hi; i++)
        shoal_commit_add(&commit, &outcome, worker, "because", 7);
    commit.over = true;
    const struct shoal_advance request = {.session = worker,
                                          .worker = worker,
                                          .commits = &commits,
                                          .n_commits = 1,
                                          .queues = q};
    test_advance(&fleet, &request, &answer);
    shoal_commit_finish(&commit);
}

/* Runs the next task. False: there is none. */
static bool run(enum shoal_reason reason, const char *text, size_t len) {
    struct shoal_lease lease;
    if (!test_lease(&fleet, worker, "lease", 1, &lease))
        return false;
    commit(&lease, reason, text, len);
    return true;
}

static void run_ok(const char *text) {
    ck_assert(run(SHOAL_REASON_OK, text, strlen(text)));
}

/* ---- what Redis has and did */

static const char *mail(void) {
    static char key[SHOAL_KEY_MAX];
    struct shoal_job now;
    expect(shoal_describe(client, job, &now, &err), SHOAL_OK);
    ck_assert_str_ne(now.waiter, "");
    shoal_key_make(key, fleet.queue.prefix, SHOAL_KEY_MAIL, now.waiter);
    return key;
}

static int64_t letters(void) {
    return test_command_int(fleet.redis, "LLEN %s", mail());
}

static void count_from_now(void) {
    freeReplyObject(test_command(fleet.redis, "CONFIG RESETSTAT"));
}

/* How often a job was looked at since then. */
static int64_t looks(void) {
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *reply = test_command(fleet.redis, "INFO commandstats");
    const char *line = strstr(reply->str, "cmdstat_hgetall:calls=");
    return line == NULL ? 0 : strtoll(strchr(line, '=') + 1, NULL, 10);
}

/* ---- reading */

static void open_results(const char *id) {
    shoal_results_destroy(results);
    results = NULL;
    expect(shoal_results_create(client, id, &results, &err), SHOAL_OK);
}

static void expect_next(int64_t index, bool good, const char *text, size_t len) {
    bool more = false;
    expect(shoal_results_next(results, 20000, &more, &result, &err), SHOAL_OK);
    ck_assert(more);
    ck_assert_int_eq(result.index, index);
    ck_assert_int_eq(result.ok, good);
    ck_assert_uint_eq(result.len, len);
    ck_assert(memcmp(result.bytes, text, len) == 0);
    ck_assert_mem_eq(result.worker, worker, result.worker_len);
}

static void expect_ok(int64_t index, const char *text) {
    expect_next(index, true, text, strlen(text));
}

static void expect_none_yet(int64_t timeout_ms) {
    bool more = false;
    int64_t start_ms = test_clock_ms();
    expect(shoal_results_next(results, timeout_ms, &more, &result, &err), SHOAL_TIMEOUT);
    ck_assert_int_ge(test_clock_ms() - start_ms, timeout_ms);
    ck_assert_int_lt(test_clock_ms() - start_ms, timeout_ms + 5000);
}

static void expect_end(void) {
    bool more = true;
    for (int i = 0; i < 2; i++) {
        expect(shoal_results_next(results, 20000, &more, &result, &err), SHOAL_OK);
        ck_assert(!more);
    }
}

/* ---- what is told */

START_TEST(end_of_a_small_job_is_told_without_a_look) {
    static const struct {
        enum shoal_reason reason;
        const char *text;
        bool early; /* who reads begins before the end */
    } rows[] = {
        {SHOAL_REASON_OK, "2.5", false},   {SHOAL_REASON_OK, "2.5", true},
        {SHOAL_REASON_OK, "", false},      {SHOAL_REASON_EXIT, "part", false},
        {SHOAL_REASON_EXIT, "part", true}, {SHOAL_REASON_TIMEOUT, "", false},
    };
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        submit(1);
        count_from_now();
        if (rows[i].early) {
            open_results(job);
            expect_none_yet(1);
        }
        ck_assert(run(rows[i].reason, rows[i].text, strlen(rows[i].text)));
        if (!rows[i].early)
            open_results(job);
        expect_next(0, rows[i].reason == SHOAL_REASON_OK, rows[i].text,
                    strlen(rows[i].text));
        ck_assert_str_eq(result.reason, shoal_reason_name(rows[i].reason));
        ck_assert_int_eq(result.attempt, 1);
        expect_end();
        ck_assert_int_eq(looks(), 0);
    }
}
END_TEST

START_TEST(letters_wait_in_any_order) {
    enum { JOBS = 60 };
    struct shoal_submit_options each[JOBS];
    char ids[JOBS][13], text[16];
    for (size_t i = 0; i < JOBS; i++)
        each[i] = options;
    expect(shoal_submit_many(client, each, JOBS, ids, &err), SHOAL_OK);
    for (int i = 0; i < JOBS; i++) {
        snprintf(text, sizeof(text), "%d", i);
        run_ok(text);
    }
    count_from_now();
    for (int i = JOBS - 1; i >= 0; i--) {
        snprintf(text, sizeof(text), "%d", i);
        open_results(ids[i]);
        expect_ok(0, text);
        expect_end();
    }
    ck_assert_int_eq(looks(), 0);
    open_results(ids[7]); /* a letter is read once, the results as often as wanted */
    expect_ok(0, "7");
    expect_end();
}
END_TEST

START_TEST(letter_holds_all_tasks_that_came_as_one_entry) {
    submit(3);
    struct shoal_lease lease = {.name = "late", .hi = 3, .attempt = 1};
    memcpy(lease.job, job, sizeof(lease.job));
    count_from_now();
    open_results(job);
    commit(&lease, SHOAL_REASON_OK, "x", 1); /* it remembers what Redis forgot */
    for (int64_t i = 0; i < 3; i++)
        expect_ok(i, "x");
    expect_end();
    ck_assert_int_eq(looks(), 0);
}
END_TEST

/* Somebody works at the same time. */
START_TEST(who_waits_is_woken) {
    for (int i = 0; i < 10; i++) {
        submit(1);
        open_results(job);
        pid_t other = fork();
        if (other == 0) {
            fleet.base = event_base_new();
            fleet.redis = test_server_connect(&fleet.server, fleet.base, NULL);
            fleet.queue.redis = fleet.redis;
            run_ok("woken");
            _exit(0);
        }
        expect_ok(0, "woken");
        expect_end();
        ck_assert_int_eq(waitpid(other, NULL, 0), other);
    }
}
END_TEST

/* ---- what is looked for */

/* Who does not wait is told what there is, however often it begins anew. */
START_TEST(result_is_there_for_who_only_looks) {
    for (int i = 0; i < 3; i++) {
        submit(1);
        open_results(job);
        expect_none_yet(0);
        ck_assert(run(SHOAL_REASON_OK, "1", 1));
        open_results(job);
        bool more = false;
        expect(shoal_results_next(results, 0, &more, &result, &err), SHOAL_OK);
        ck_assert(more && result.ok);
        expect_end();
    }
}
END_TEST

START_TEST(large_result_is_looked_for) {
    static const size_t lengths[] = {MAIL_BYTES, 60000};
    static char text[60000];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < SHOAL_COUNT(lengths); i++) {
        submit(1);
        count_from_now();
        open_results(job);
        expect_none_yet(1);
        ck_assert_int_eq(looks(), 0);
        ck_assert(run(SHOAL_REASON_OK, text, lengths[i]));
        expect_next(0, true, text, lengths[i]);
        expect_end();
    }
}
END_TEST

START_TEST(letter_of_a_large_result_is_small) {
    static const char length[] = "return #redis.call('LINDEX', KEYS[1], 0)";
    static char text[60000];
    memset(text, 'x', sizeof(text));
    submit(1);
    ck_assert(run(SHOAL_REASON_OK, text, sizeof(text)));
    ck_assert_int_lt(test_command_int(fleet.redis, "EVAL %s 1 %s", length, mail()), 200);
}
END_TEST

START_TEST(several_entries_are_looked_for) {
    submit(3);
    open_results(job);
    expect_none_yet(0);
    run_ok("a");
    expect_ok(0, "a"); /* before the end */
    expect_none_yet(0);
    run_ok("b");
    run_ok("c");
    expect_ok(1, "b");
    expect_ok(2, "c");
    expect_end();
    open_results(job);
    expect_ok(0, "a");
    expect_ok(1, "b");
    expect_ok(2, "c");
    expect_end();
}
END_TEST

START_TEST(job_that_is_cancelled_ends_without_results) {
    for (int early = 0; early < 2; early++) {
        submit(1);
        if (early == 1) {
            open_results(job);
            expect_none_yet(10);
        }
        ck_assert_int_eq(shoal_queue_cancel(&fleet.queue, job, false, NULL), SHOAL_OK);
        if (early == 0)
            open_results(job);
        expect_end();
    }
}
END_TEST

START_TEST(cancelled_task_that_gives_what_it_has_is_told) {
    struct shoal_lease lease;
    submit(1);
    ck_assert(test_lease(&fleet, worker, "lease", 1, &lease));
    expect(shoal_cancel(client, job, false, &err), SHOAL_OK);
    open_results(job);
    expect_none_yet(10);
    commit(&lease, SHOAL_REASON_OK, "half", 4);
    expect_ok(0, "half");
    expect_end();
}
END_TEST

START_TEST(forgotten_job_is_unknown_to_who_waits) {
    bool more = false;
    submit(1);
    open_results(job);
    expect(shoal_cancel(client, job, false, &err), SHOAL_OK);
    expect(shoal_forget(client, job, &err), SHOAL_OK);
    expect(shoal_results_next(results, 20000, &more, &result, &err), SHOAL_UNKNOWN);
}
END_TEST

START_TEST(delayed_retry_within_the_job_is_waited_for) {
    options.policy.retries = 1;
    submit(1);
    open_results(job);
    ck_assert(run(SHOAL_REASON_EXIT, "", 0));
    expect_none_yet(20); /* a failed attempt is no news */
    test_pass_time(&fleet, 3000);
    run_ok("second");
    expect_ok(0, "second");
    ck_assert_int_eq(result.attempt, 2);
    expect_end();
}
END_TEST

/* How far the letter of the first end has come when the job is retried. */
enum first_end { WAS_READ, IN_REDIS, IN_MEMORY };

START_TEST(retried_job_has_not_ended) {
    char other[13];
    int64_t tasks = 0;
    submit(1);
    ck_assert(run(SHOAL_REASON_EXIT, "bad", 3));
    if (_i == WAS_READ) {
        open_results(job);
        expect_next(0, false, "bad", 3);
        expect_end();
    } else if (_i == IN_MEMORY) {
        memcpy(other, job, sizeof(other));
        submit(1);
        run_ok("other");
        open_results(job);
        expect_ok(0, "other"); /* both letters have come with it */
        memcpy(job, other, sizeof(job));
    }
    expect(shoal_retry(client, job, false, &tasks, &err), SHOAL_OK);
    ck_assert_int_eq(tasks, 1);
    open_results(job);
    expect_next(0, false, "bad", 3);
    expect_none_yet(20);
    expect_none_yet(300);
    run_ok("good");
    expect_ok(0, "good");
    ck_assert_int_eq(result.attempt, 2);
    expect_end();
}
END_TEST

START_TEST(another_client_looks) {
    struct shoal_client *other = client;
    const struct shoal_client_options where = {.url = fleet.server.url,
                                               .name_space = "test"};
    submit(1);
    expect(shoal_client_connect(&where, &client, &err), SHOAL_OK);
    open_results(job);
    expect_none_yet(20);
    run_ok("x");
    expect_ok(0, "x");
    expect_end();
    shoal_results_destroy(results);
    results = NULL;
    shoal_client_destroy(client);
    client = other;
    open_results(job);
    expect_ok(0, "x");
    expect_end();
}
END_TEST

/* ---- shoal_wait and times */

START_TEST(wait_comes_back_in_time) {
    static const int64_t times[] = {0, 50, 400};
    struct shoal_job now;
    submit(1);
    for (size_t i = 0; i < SHOAL_COUNT(times); i++) {
        int64_t start_ms = test_clock_ms();
        expect(shoal_wait(client, job, times[i], &now, &err), SHOAL_TIMEOUT);
        ck_assert_int_ge(test_clock_ms() - start_ms, times[i]);
        ck_assert_int_lt(test_clock_ms() - start_ms, times[i] + 5000);
        open_results(job);
        expect_none_yet(times[i]);
    }
    run_ok("x");
    expect(shoal_wait(client, job, -1, &now, &err), SHOAL_OK);
    ck_assert_int_eq(now.state, SHOAL_JOB_SUCCEEDED);
    expect_ok(0, "x"); /* its letter is still there */
    expect_end();
}
END_TEST

START_TEST(asking_again_and_again_without_waiting_finds_the_result) {
    bool more = false;
    submit(1);
    open_results(job);
    run_ok("x");
    int64_t end_ms = test_clock_ms() + 20000;
    enum shoal_status status;
    do {
        shoal_error_clear(&err);
        status = shoal_results_next(results, 0, &more, &result, &err);
    } while (status == SHOAL_TIMEOUT && test_clock_ms() < end_ms);
    expect(status, SHOAL_OK);
    ck_assert(more);
    expect_end();
}
END_TEST

/* ---- mail that is lost, or none */

/* What somebody writes into the list, with the job's id in it. */
static const char *const garbage[] = {
    "",
    "news",
    "\r\n\r\n",
    "\n",
    " \n",
    "JOBJOBJOBJOB",
    "JOBJOBJOBJOB\n",
    "JOBJOBJOBJOB \n",
    "JOBJOBJOBJOB failed",
    "JOBJOBJOBJO failed:1\n",
    "JOBJOBJOBJOBB failed:1\n",
    "JOBJOBJOBJOB:failed:1\n",
    "JOBJOBJOBJOB nonsense:1\n",
    "JOBJOBJOBJOB active:1:0:0:0:0:1\n",
    "JOBJOBJOBJOB failed:\n",
    "JOBJOBJOBJOB failed:x\n",
    "JOBJOBJOBJOB failed:-1\n",
    "JOBJOBJOBJOB failed:99999999999999999999\n",
    "JOBJOBJOBJOB failed:1:1:0:1:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0\n",
    "nobodysjob00 failed:1:1:0:1\nx",
    /* An end without its results that has not come: it is looked for. */
    "JOBJOBJOBJOB failed:1:1:0:1\n",
};

static void push(const char *bytes, size_t len) {
    test_command_int(fleet.redis, "RPUSH %s %b", mail(), bytes, len);
}

START_TEST(garbage_in_the_list_does_no_harm) {
    static char large[100000];
    memset(large, '*', sizeof(large));
    for (int before = 0; before < 2; before++) {
        submit(1);
        open_results(job);
        if (before == 1)
            run_ok("x");
        for (size_t i = 0; i < SHOAL_COUNT(garbage); i++) {
            char message[512];
            snprintf(message, sizeof(message), "%s", garbage[i]);
            char *place = strstr(message, "JOBJOBJOBJOB");
            if (place != NULL)
                memcpy(place, job, sizeof(job) - 1);
            push(message, strlen(message));
        }
        push(large, sizeof(large));
        push("\0\0\0", 3);
        if (before == 0) {
            expect_none_yet(100);
            run_ok("x");
        }
        expect_ok(0, "x");
        expect_end();
    }
}
END_TEST

/* The mailbox's connection, as Redis sees it. 0: there is none. */
static int64_t mail_connection(void) {
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *reply = test_command(fleet.redis, "CLIENT LIST");
    const char *found = strstr(reply->str, "name=shoal-mail");
    if (found == NULL)
        return 0;
    while (found > reply->str && found[-1] != '\n')
        found--;
    return strtoll(found + strlen("id="), NULL, 10);
}

static void kill_connection(void) {
    int64_t id = mail_connection();
    ck_assert_int_ne(id, 0);
    ck_assert_int_eq(test_command_int(fleet.redis, "CLIENT KILL ID %lld", (long long)id),
                     1);
}

static void delete_mail(void) {
    test_command_int(fleet.redis, "DEL %s", mail());
}

static void spoil_mail(void) {
    test_command_int(fleet.redis, "DEL %s", mail());
    freeReplyObject(test_command(fleet.redis, "SET %s nonsense", mail()));
}

/* Letters of others push it out. */
static void crowd_out(void) {
    freeReplyObject(
        test_command(fleet.redis, "EVAL %s 1 %s",
                     "for i = 1, 10000 do redis.call('RPUSH', KEYS[1], 'x') end "
                     "redis.call('LTRIM', KEYS[1], -10000, -1)",
                     mail()));
}

START_TEST(what_is_lost_of_the_mail_is_found_by_looking) {
    static void (*const losses[])(void) = {delete_mail, spoil_mail, crowd_out};
    for (size_t i = 0; i < SHOAL_COUNT(losses); i++) {
        for (int64_t tasks = 1; tasks <= 2; tasks++) {
            submit(tasks);
            for (int64_t k = 0; k < tasks; k++)
                run_ok("x");
            losses[i]();
            open_results(job);
            for (int64_t k = 0; k < tasks; k++)
                expect_ok(k, "x");
            expect_end();
            delete_mail();
        }
    }
}
END_TEST

START_TEST(killed_connection_comes_back) {
    for (int i = 0; i < 3; i++) {
        submit(1);
        open_results(job);
        loop_until(fleet.base, (expect_none_yet(20), mail_connection()) != 0, 20000);
        kill_connection();
        if (i > 0) /* it is noticed before the result is there */
            expect_none_yet(i == 1 ? 20 : 300);
        run_ok("x");
        expect_ok(0, "x");
        expect_end();
    }
}
END_TEST

START_TEST(client_that_is_slow_has_so_many_letters_for_so_long) {
    submit(1);
    run_ok("x");
    int64_t left_ms = test_command_int(fleet.redis, "PTTL %s", mail());
    ck_assert_int_gt(left_ms, 3600000 - 60000);
    ck_assert_int_le(left_ms, 3600000);
    crowd_out();
    for (int i = 0; i < 20; i++) {
        submit(1);
        run_ok("y");
        ck_assert_int_eq(letters(), MAIL_MOST);
    }
    ck_assert_int_gt(test_command_int(fleet.redis, "PTTL %s", mail()), 0);
    open_results(job);
    expect_ok(0, "y");
    expect_end();
}
END_TEST

START_TEST(news_of_one_job_stand_there_once) {
    submit(5);
    for (int i = 0; i < 4; i++) {
        run_ok("x");
        ck_assert_int_eq(letters(), 1);
    }
    run_ok("x"); /* that it has ended */
    ck_assert_int_eq(letters(), 2);
    options.waits = false;
    char waiting[13];
    memcpy(waiting, job, sizeof(waiting));
    submit(1);
    run_ok("x");
    memcpy(job, waiting, sizeof(job));
    ck_assert_int_eq(letters(), 2); /* nobody waits for that one */
}
END_TEST

/* Nothing may be left; the sanitizer tells. */
START_TEST(client_may_be_destroyed_with_letters_unread) {
    char first[13];
    submit(1);
    memcpy(first, job, sizeof(first));
    run_ok("first");
    for (int i = 0; i < 20; i++) {
        submit(1);
        run_ok("x");
    }
    open_results(first);
    expect_ok(0, "first"); /* those behind it have come as well */
    submit(1);             /* is expected, and never comes */
    if (_i == 0)
        expect_end();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        end_of_a_small_job_is_told_without_a_look,
        letters_wait_in_any_order,
        letter_holds_all_tasks_that_came_as_one_entry,
        who_waits_is_woken,
        result_is_there_for_who_only_looks,
        large_result_is_looked_for,
        letter_of_a_large_result_is_small,
        several_entries_are_looked_for,
        job_that_is_cancelled_ends_without_results,
        cancelled_task_that_gives_what_it_has_is_told,
        forgotten_job_is_unknown_to_who_waits,
        delayed_retry_within_the_job_is_waited_for,
        another_client_looks,
        wait_comes_back_in_time,
        asking_again_and_again_without_waiting_finds_the_result,
        garbage_in_the_list_does_no_harm,
        what_is_lost_of_the_mail_is_found_by_looking,
        killed_connection_comes_back,
        client_that_is_slow_has_so_many_letters_for_so_long,
        news_of_one_job_stand_there_once,
    };
    Suite *suite = suite_create("mailbox");
    TCase *cases = tcase_create("mailbox");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    for (size_t i = 0; i < SHOAL_COUNT(tests); i++)
        tcase_add_test(cases, tests[i]);
    tcase_add_loop_test(cases, retried_job_has_not_ended, 0, 3);
    tcase_add_loop_test(cases, client_may_be_destroyed_with_letters_unread, 0, 2);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
