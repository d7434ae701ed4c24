/* What a person does to jobs and queues: cancel, retry, forget, acknowledge; and how jobs
 * stop and expire by themselves. */
#include "common/cleanup.h"
#include "common/id.h"
#include "common/records.h"
#include "tests/support/play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct test_answer answer;

static enum shoal_status cancel(bool kill) {
    return shoal_queue_cancel(&fleet.queue, job, kill, &play_err);
}

/* Housekeeps, without time passing, until no sweep is left; returns how often. */
static int sweep(void) {
    int calls = 0;
    for (int64_t wait = 0; wait == 0; calls++) {
        ck_assert_int_lt(calls, 20);
        ck_assert_int_eq(shoal_queue_housekeep(&fleet.queue, &wait, &play_err), SHOAL_OK);
        play_audit();
    }
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s", play_key(SHOAL_KEY_BUSY, "")), 0);
    return calls;
}

/* A job of 2 * `pairs` and more tasks: of the first ones every other has ended like
 * `first`, the rest like `second`, in one commit. */
static void submit_striped(int64_t total, int pairs, char first, char second) {
    play_start(0);
    test_submit(&fleet, total, NULL, job);
    play_warm(job);
    SHOAL_CLEANUP(shoal_cleanup_free) char *outcomes = calloc((size_t)pairs * 2 + 1, 1);
    ck_assert_ptr_nonnull(outcomes);
    for (int i = 0; i < pairs; i++) {
        outcomes[2 * i] = first;
        outcomes[2 * i + 1] = second;
    }
    struct shoal_lease lease = play_lease(one, "a", pairs * 2);
    expect_range(&lease, 0, pairs * 2, 1);
    test_commit(&fleet, one, &lease, 0, outcomes, true);
}

/* ---- cancel */

START_TEST(waiting_job_is_cancelled_at_once) {
    play_start(_i);
    struct shoal_submission submission = play_usual(3);
    submission.start_ms = INT64_C(9000000000000);
    play_submit(&submission);
    play_move(SHOAL_OK, cancel(false));
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 0, 0, 3);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "ZCARD %s", play_key(SHOAL_KEY_DATES, "")),
        1); /* its expiry */
    ck_assert_str_eq(test_describe(&fleet, job).reason, "cancelled");
}
END_TEST

START_TEST(running_tasks_of_a_cancelled_job_are_told) {
    play_start(_i);
    play_join(two);
    test_submit(&fleet, 9, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    struct shoal_lease other = play_lease(two, "a", 1);
    ck_assert_int_eq(cancel(false), SHOAL_OK);
    expect_message(one, "stop %s", job);
    expect_message(two, "stop %s", job);
    play_move(SHOAL_OK, cancel(false));
    expect_state(SHOAL_JOB_STOPPING);
    expect_tasks(0, 2, 0, 0, 7);
    play_no_lease(one, "b");
    test_commit(&fleet, one, &lease, 0, ".", true); /* it was done already */
    expect_state(SHOAL_JOB_STOPPING);
    test_commit(&fleet, two, &other, 1, "s", true);
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 1, 0, 8);
    play_move(SHOAL_OK, cancel(true)); /* too late */
    expect_state(SHOAL_JOB_CANCELLED);
}
END_TEST

START_TEST(second_cancel_kills) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    play_lease(one, "a", 1);
    ck_assert_int_eq(cancel(false), SHOAL_OK);
    expect_message(one, "stop %s", job);
    ck_assert_int_eq(cancel(true), SHOAL_OK);
    expect_message(one, "kill %s", job);
    ck_assert_int_eq(cancel(false), SHOAL_OK); /* no way back */
    expect_message(one, "kill %s", job);
}
END_TEST

START_TEST(stopping_job_ends_when_its_workers_are_lost) {
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    play_lease(one, "a", 1);
    play_move(SHOAL_OK, cancel(false));
    test_register(&fleet, two, one, NULL, 0, &answer);
    expect_state(SHOAL_JOB_CANCELLED);
}
END_TEST

START_TEST(tasks_that_wait_for_a_retry_are_cancelled) {
    play_start(_i);
    struct shoal_submission submission = play_usual(1);
    submission.policy.retries = 1;
    play_submit(&submission);
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, 0, "x", true);
    play_move(SHOAL_OK, cancel(false));
    expect_state(SHOAL_JOB_CANCELLED);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s", play_key(SHOAL_KEY_DUE, "")), 0);
}
END_TEST

START_TEST(cancelled_open_job_takes_no_more) {
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = true;
    play_submit(&submission);
    play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, 0, 1, "", 0, &play_err));
    play_move(SHOAL_OK, cancel(false));
    expect_state(SHOAL_JOB_CANCELLED);
    play_move(SHOAL_REFUSED,
              shoal_queue_append(&fleet.queue, job, 1, 1, "", 0, &play_err));
}
END_TEST

START_TEST(thousands_of_ranges_are_cancelled_in_sweeps) {
    submit_striped(10100, 2500, '.', 's');
    fleet.repeat = _i == 1;
    expect_tasks(7600, 0, 2500, 0, 0);
    play_move(SHOAL_OK, cancel(false));
    expect_state(SHOAL_JOB_STOPPING);
    play_no_lease(one, "b");
    test_pass_time(&fleet, 1000);
    ck_assert_int_ge(sweep(), 2 - _i);
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 2500, 0, 7600);
}
END_TEST

START_TEST(what_is_noted_as_busy_and_is_not_is_struck_off) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    test_command_int(fleet.redis, "SADD %s %s nojob0000000", play_key(SHOAL_KEY_BUSY, ""),
                     job);
    test_pass_time(&fleet, 1000);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s", play_key(SHOAL_KEY_BUSY, "")), 0);
}
END_TEST

START_TEST(too_many_failures_stop_the_job) {
    play_start(_i);
    struct shoal_submission submission = play_usual(20);
    submission.policy.max_fails = 2;
    play_submit(&submission);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 3);
    struct shoal_lease other = play_lease(one, "other", 1);
    test_commit(&fleet, one, &lease, 0, "x.", false);
    expect_state(SHOAL_JOB_ACTIVE);
    test_commit(&fleet, one, &lease, 2, "x", true);
    expect_state(SHOAL_JOB_STOPPING);
    expect_tasks(0, 1, 1, 2, 16);
    expect_message(one, "stop %s", job);
    ck_assert(!test_token(&fleet, "q"));
    test_commit(&fleet, one, &other, 3, "s", true);
    expect_state(SHOAL_JOB_FAILED);
    ck_assert_str_eq(test_describe(&fleet, job).reason, "max-fails");
}
END_TEST

/* ---- retry */

static char token[13];

/* Asks with the same token when it is repeated. */
static int64_t retry(bool all) {
    int64_t tasks = -1;
    shoal_id_make(token);
    play_move(SHOAL_OK,
              shoal_queue_retry(&fleet.queue, job, all, token, &tasks, &play_err));
    return tasks;
}

/* ".x.x" and four that were cancelled. */
static void begin_mixed(int repeat) {
    play_start(repeat);
    test_submit(&fleet, 8, NULL, job);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 4);
    test_commit(&fleet, one, &lease, 0, ".x.x", true);
    play_move(SHOAL_OK, cancel(false));
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 2, 2, 4);
}

START_TEST(failed_tasks_run_again) {
    begin_mixed(_i);
    ck_assert_int_eq(retry(false), 2);
    expect_state(SHOAL_JOB_ACTIVE);
    expect_tasks(2, 0, 2, 0, 4);
    ck_assert(test_describe(&fleet, job).retried);
    ck_assert(test_token(&fleet, "q"));
    struct shoal_lease lease = play_lease(one, "a", 9);
    expect_range(&lease, 1, 2, 2); /* attempts go on counting */
    test_commit(&fleet, one, &lease, 1, ".", true);
    lease = play_lease(one, "b", 9);
    expect_range(&lease, 3, 4, 2);
    test_commit(&fleet, one, &lease, 3, "x", true);
    expect_state(SHOAL_JOB_FAILED);
    expect_tasks(0, 0, 3, 1, 4);

    ck_assert_int_eq(retry(false), 1);
    lease = play_lease(one, "c", 9);
    expect_range(&lease, 3, 4, 3);
    test_commit(&fleet, one, &lease, 3, ".", true);
    expect_state(SHOAL_JOB_CANCELLED); /* four of its tasks still are */
    expect_outcomes(".2.3----");       /* rows; the last counts */
}
END_TEST

START_TEST(all_that_is_not_ok_runs_again) {
    begin_mixed(_i);
    ck_assert_int_eq(retry(true), 6);
    expect_tasks(6, 0, 2, 0, 0);
    static const int64_t expected[][3] = {{1, 2, 2}, {3, 4, 2}, {4, 6, 1}, {6, 7, 1}};
    for (size_t i = 0; i < SHOAL_COUNT(expected); i++) {
        struct shoal_lease lease = play_lease(one, "a", 9);
        expect_range(&lease, expected[i][0], expected[i][1], expected[i][2]);
        test_commit(&fleet, one, &lease, lease.lo, i == 2 ? ".." : ".", true);
    }
    struct shoal_lease lease = play_lease(one, "a", 9);
    test_commit(&fleet, one, &lease, 7, ".", true);
    expect_state(SHOAL_JOB_SUCCEEDED);
    ck_assert_int_eq(retry(true), 0); /* there is nothing */
    expect_state(SHOAL_JOB_SUCCEEDED);
}
END_TEST

START_TEST(retry_asked_for_again_is_the_same) {
    int64_t tasks = 0;
    begin_mixed(_i);
    ck_assert_int_eq(retry(false), 2);
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, 1, "x", true);
    play_move(SHOAL_OK,
              shoal_queue_retry(&fleet.queue, job, false, token, &tasks, &play_err));
    ck_assert_int_eq(tasks, 2);
    expect_tasks(1, 0, 2, 1, 4);
    ck_assert_int_eq(retry(false), 1); /* while the rest runs */
    expect_tasks(2, 0, 2, 0, 4);
}
END_TEST

/* Who is at work when another version's layout comes is refused whatever it does. */
START_TEST(nothing_is_changed_in_a_store_of_another_layout) {
    const struct shoal_pack_range pack = {.n = 1};
    int64_t n = 0;
    play_start(0);
    test_submit(&fleet, 3, NULL, job);
    freeReplyObject(test_command(fleet.redis, "HSET %s layout 2 version 0.3",
                                 play_key(SHOAL_KEY_EPOCH, "")));
    struct shoal_queue *queue = &fleet.queue;
    const struct shoal_submission another = play_usual(1);
    fleet.no_audit = true;
    play_move(SHOAL_DENIED, shoal_queue_submit(queue, &another, 1, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_append(queue, job, 3, 1, NULL, 0, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_close(queue, job, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_cancel(queue, job, false, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_retry(queue, job, true, job, &n, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_forget(queue, job, false, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_pause(queue, "q", true, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_drain(queue, one, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_housekeep(queue, &n, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_acknowledge(queue, job, 1, true, &n, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_release(queue, job, &pack, 1, &play_err));
    play_move(SHOAL_DENIED, shoal_queue_lift_budget(queue, job, &play_err));
    ck_assert_ptr_nonnull(strstr(play_err.text, "layout 2 (shoal 0.3)"));
}
END_TEST

START_TEST(retry_is_refused_while_the_job_stops_or_waits) {
    int64_t tasks = 0;
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    play_lease(one, "a", 1);
    play_move(SHOAL_OK, cancel(false));
    play_move(SHOAL_REFUSED,
              shoal_queue_retry(&fleet.queue, job, true, "token", &tasks, &play_err));
    ck_assert_ptr_nonnull(strstr(play_err.text, "stopping"));
    struct shoal_submission submission = play_usual(3);
    submission.start_ms = INT64_C(9000000000000);
    play_submit(&submission);
    play_move(SHOAL_REFUSED,
              shoal_queue_retry(&fleet.queue, job, true, "token", &tasks, &play_err));
}
END_TEST

START_TEST(thousands_of_failures_are_retried_in_sweeps) {
    int64_t tasks = 0;
    submit_striped(10100, 2500, 'x', '.');
    fleet.repeat = _i == 1;
    ck_assert_int_eq(retry(false), 2500);
    play_move(SHOAL_REFUSED,
              shoal_queue_retry(&fleet.queue, job, true, "other", &tasks, &play_err));
    struct shoal_lease lease = play_lease(one, "b", 9); /* meanwhile it goes on */
    expect_range(&lease, 0, 1, 2);
    test_pass_time(&fleet, 1000);
    sweep();
    expect_tasks(7599, 1, 2500, 0, 0);
}
END_TEST

START_TEST(retry_that_is_cancelled_halfway_loses_nothing) {
    submit_striped(10100, 2500, 'x', '.');
    fleet.repeat = _i == 1;
    ck_assert_int_eq(retry(false), 2500);
    struct shoal_lease lease = play_lease(one, "b", 1);
    play_move(SHOAL_OK, cancel(false));
    test_commit(&fleet, one, &lease, 0, ".", true);
    test_pass_time(&fleet, 1000);
    sweep();
    expect_state(SHOAL_JOB_CANCELLED);
    struct shoal_job now = test_describe(&fleet, job);
    ck_assert_int_eq(now.ok, 2501);
    ck_assert_int_eq(now.failed + now.cancelled, 7599);
    ck_assert_int_eq(retry(true), 7599);
    test_pass_time(&fleet, 1000);
    sweep();
    expect_tasks(7599, 0, 2501, 0, 0);
}
END_TEST

/* ---- forget, expiry */

/* What is left when nobody works and no job is there. */
static void expect_no_trace(void) {
    static const enum shoal_key stay[] = {SHOAL_KEY_CLOCK, SHOAL_KEY_EPOCH,
                                          SHOAL_KEY_QUEUES};
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *keys = test_command(fleet.redis, "KEYS *");
    for (size_t i = 0; i < keys->elements; i++) {
        const char *key = keys->element[i]->str;
        bool known = strcmp(key, play_key(SHOAL_KEY_QUEUE, "q")) == 0;
        for (size_t k = 0; k < SHOAL_COUNT(stay); k++)
            known = known || strcmp(key, play_key(stay[k], "")) == 0;
        ck_assert_msg(known, "%s is left behind", key);
    }
}

static enum shoal_status forget(void) {
    return shoal_queue_forget(&fleet.queue, job, false, &play_err);
}

/* A job that leaves something in every kind of key. */
static void run_eventfully(void) {
    struct shoal_submission submission = play_usual(0);
    submission.name = "named";
    submission.open = submission.has_arguments = true;
    submission.policy.retries = 1;
    play_submit(&submission);
    struct shoal_buffer pack;
    shoal_buffer_init(&pack, 1 << 16);
    shoal_record_array(&pack, 20);
    for (int i = 0; i < 20; i++)
        shoal_record_text(&pack, "argument");
    play_move(SHOAL_OK,
              shoal_queue_append(&fleet.queue, job, 0, 20, shoal_buffer_text(&pack),
                                 pack.len, &play_err));
    shoal_buffer_finish(&pack);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 6);
    test_commit(&fleet, one, &lease, 0, ".xrsp", true);
}

/* Whatever it is in: its worker is told to end what runs, and what that brings counts for
 * nothing. */
START_TEST(job_that_runs_is_forgotten_by_force) {
    play_start(_i);
    run_eventfully();
    struct shoal_lease lease = play_lease(one, "b", 3);
    ck_assert_int_eq(forget(), SHOAL_REFUSED);
    ck_assert_ptr_nonnull(strstr(play_err.text, "--force"));
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, job, true, &play_err), SHOAL_OK);
    play_move(SHOAL_UNKNOWN, shoal_queue_forget(&fleet.queue, job, true, &play_err));
    test_heartbeat(&fleet, one, (const char *[]){"b", NULL}, &answer);
    ck_assert_uint_eq(answer.beaten.n_stops, 1);
    ck_assert_str_eq(answer.stops[0].job, job);
    ck_assert(answer.stops[0].kill);
    test_commit(&fleet, one, &lease, lease.lo, ".", true);
    test_finish(&fleet, one);
}
END_TEST

static enum shoal_status forget_by_force(void) {
    return shoal_queue_forget(&fleet.queue, job, true, &play_err);
}

/* One that says it is done with more tasks than it has, and those that are none. */
START_TEST(damaged_job_is_forgotten_by_force) {
    static const char *const nonsense[] = {"active:2:9:9:9:9", "failed:-1", "x"};
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(nonsense); i++) {
        test_submit(&fleet, 3, NULL, job);
        fleet.no_audit = true;
        freeReplyObject(test_command(fleet.redis, "HSET %s n %s",
                                     play_key(SHOAL_KEY_JOB, job), nonsense[i]));
        play_move(SHOAL_REFUSED, forget());
        ck_assert_ptr_nonnull(strstr(play_err.text, "--force"));
        fleet.no_audit = false;
        ck_assert_int_eq(forget_by_force(), SHOAL_OK);
    }
    test_finish(&fleet, one);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "ZCARD %s", play_key(SHOAL_KEY_JOBS, "")), 0);
}
END_TEST

START_TEST(forgotten_job_leaves_nothing_behind) {
    play_start(_i);
    play_join(two);
    run_eventfully();
    play_move(SHOAL_REFUSED, forget());
    ck_assert_ptr_nonnull(strstr(play_err.text, "cancel it first"));
    struct shoal_lease lease = play_lease(two, "b", 1);
    play_move(SHOAL_OK, cancel(false));
    play_move(SHOAL_REFUSED, forget());
    test_commit(&fleet, two, &lease, lease.lo, "s", true);
    expect_state(SHOAL_JOB_CANCELLED);
    ck_assert_int_eq(forget(), SHOAL_OK);
    play_move(SHOAL_UNKNOWN, forget());
    test_finish(&fleet, one);
    test_finish(&fleet, two);
    expect_no_trace();
}
END_TEST

START_TEST(finished_job_expires) {
    play_start(_i);
    char first[13];
    test_submit(&fleet, 1, NULL, first);
    run_eventfully();
    play_move(SHOAL_OK, cancel(false));
    test_pass_time(&fleet, 1000);
    expect_state(SHOAL_JOB_CANCELLED); /* it stays for seven days */
    int64_t expiry = test_command_int(fleet.redis, "ZSCORE %s x:%s",
                                      play_key(SHOAL_KEY_DATES, ""), job);
    ck_assert_int_eq(expiry - test_describe(&fleet, job).ended_ms,
                     INT64_C(7) * 24 * 3600 * 1000);
    const char *dates = play_key(SHOAL_KEY_DATES, "");
    test_command_int(fleet.redis, "ZADD %s 1 x:%s", dates, job);
    test_command_int(fleet.redis, "ZADD %s 1 x:%s", dates, first); /* has not ended */
    test_pass_time(&fleet, 1000);
    struct shoal_job gone;
    ck_assert_int_eq(shoal_queue_describe(&fleet.queue, job, &gone, NULL), SHOAL_UNKNOWN);
    memcpy(job, first, sizeof(job));
    expect_state(SHOAL_JOB_ACTIVE);

    char *spec = NULL; /* which it shares */
    size_t len = 0;
    ck_assert_int_eq(shoal_queue_spec(&fleet.queue, test_describe(&fleet, job).spec,
                                      &spec, &len, NULL),
                     SHOAL_OK);
    free(spec);
    play_move(SHOAL_OK, cancel(false));
    test_command_int(fleet.redis, "ZADD %s 1 x:%s", dates, job);
    test_pass_time(&fleet, 1000);
    test_finish(&fleet, one);
    expect_no_trace();
}
END_TEST

START_TEST(retried_job_does_not_expire) {
    begin_mixed(_i);
    ck_assert_int_eq(retry(false), 2);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s", play_key(SHOAL_KEY_DATES, "")), 0);
}
END_TEST

/* ---- acknowledge */

static int64_t acknowledge(int64_t upto, bool take) {
    int64_t trimmed = -1;
    play_move(SHOAL_OK, shoal_queue_acknowledge(&fleet.queue, job, upto, take, &trimmed,
                                                &play_err));
    struct shoal_job now = test_describe(&fleet, job);
    ck_assert_int_eq(now.trimmed, trimmed);
    return trimmed;
}

/* A job with a result entry for each of its tasks. */
static void run_one_by_one(int64_t total, int64_t budget) {
    struct shoal_submission submission = play_usual(total);
    submission.policy.budget = budget;
    play_submit(&submission);
    for (int64_t i = 0; i < total; i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, i, ".", true);
    }
}

START_TEST(read_results_of_a_job_without_budget_stay) {
    play_start(_i);
    run_one_by_one(4, 0);
    ck_assert_int_eq(acknowledge(4, false), 0);
    expect_outcomes("....");
}
END_TEST

START_TEST(results_that_others_have_read_are_not_taken) {
    int64_t trimmed = 0;
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    for (int i = 0; i < 2; i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, lease.lo, ".", true);
    }
    play_move(SHOAL_OK,
              shoal_queue_acknowledge(&fleet.queue, job, 2, false, &trimmed, &play_err));
    ck_assert_int_eq(trimmed, 0);
    play_move(SHOAL_OK,
              shoal_queue_acknowledge(&fleet.queue, job, 1, true, &trimmed, &play_err));
    ck_assert_int_eq(trimmed, 1);
}
END_TEST

START_TEST(taken_results_are_gone) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *entries = NULL;
    play_start(_i);
    run_one_by_one(4, 0);
    ck_assert_int_eq(acknowledge(1, true), 1);
    ck_assert_int_eq(acknowledge(3, true), 3);
    ck_assert_int_eq(acknowledge(2, true), 3); /* told before */
    ck_assert_int_eq(
        shoal_queue_results(&fleet.queue, job, 3, 3, 10, &entries, &play_err), SHOAL_OK);
    ck_assert_uint_eq(entries->elements, 1);
    ck_assert_int_eq(test_describe(&fleet, job).stored,
                     (int64_t)entries->element[0]->len);
    ck_assert_int_eq(acknowledge(99, true), 4); /* no further than there is */
    ck_assert_int_eq(test_describe(&fleet, job).stored, 0);
}
END_TEST

START_TEST(read_results_beyond_half_the_budget_are_trimmed) {
    play_start(_i);
    run_one_by_one(10, 1200);
    int64_t each = test_describe(&fleet, job).stored / 10;
    ck_assert_int_gt(each * 10, 600);
    int64_t trimmed = acknowledge(10, false);
    ck_assert_int_gt(trimmed, 0);
    ck_assert_int_le(test_describe(&fleet, job).stored, 600);
}
END_TEST

static enum shoal_status ask_argument(int64_t index) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *argument = NULL;
    size_t len = 0;
    return shoal_queue_argument(&fleet.queue, job, index, &argument, &len, &play_err);
}

START_TEST(arguments_stay_with_results_that_are_not_taken) {
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.has_arguments = true;
    play_submit(&submission);
    for (int64_t i = 0; i < 3; i++) /* a pack for each */
        play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, i, 1,
                                               "*1\r\n$1\r\nx\r\n", 11, &play_err));
    for (int64_t i = 0; i < 2; i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, i, ".", true);
    }
    acknowledge(1, true);
    for (int64_t i = 0; i < 3; i++)
        ck_assert_int_eq(ask_argument(i), SHOAL_OK);
    acknowledge(2, true);
    ck_assert_int_eq(ask_argument(0), SHOAL_UNKNOWN);
    ck_assert_int_eq(ask_argument(1), SHOAL_UNKNOWN);
    ck_assert_int_eq(ask_argument(2), SHOAL_OK); /* may run yet */
}
END_TEST

START_TEST(arguments_of_a_failed_task_stay_when_all_results_are_taken) {
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.has_arguments = true;
    play_submit(&submission);
    for (int64_t i = 0; i < 2; i++)
        play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, i, 1,
                                               "*1\r\n$1\r\nx\r\n", 11, &play_err));
    for (int64_t i = 0; i < 2; i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, i, i == 0 ? "." : "r", true);
    }
    acknowledge(2, true);
    ck_assert_int_eq(ask_argument(0), SHOAL_UNKNOWN);
    ck_assert_int_eq(ask_argument(1), SHOAL_OK);
}
END_TEST

/* Packs of two tasks; each is gone when both are ok, whatever is before it. */
START_TEST(released_packs_are_gone_unless_a_task_may_run_again) {
    static const struct shoal_pack_range packs[] = {{0, 2}, {2, 2}, {4, 2}, {6, 2}};
    static const char outcomes[] = ".x....";
    int64_t tasks = 0;
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.has_arguments = true;
    play_submit(&submission);
    for (int64_t i = 0; i < 4; i++)
        play_move(SHOAL_OK,
                  shoal_queue_append(&fleet.queue, job, 2 * i, 2,
                                     "*2\r\n$1\r\nx\r\n$1\r\ny\r\n", 18, &play_err));
    for (int64_t i = 0; i < 5; i++) { /* the sixth is not run yet */
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, i, (char[]){outcomes[i], '\0'}, true);
    }
    play_move(SHOAL_OK, shoal_queue_release(&fleet.queue, job, packs, 4, &play_err));
    for (int64_t i = 0; i < 8; i++)
        ck_assert_int_eq(ask_argument(i), i / 2 == 1 ? SHOAL_UNKNOWN : SHOAL_OK);
    play_move(SHOAL_OK, shoal_queue_close(&fleet.queue, job, &play_err));
    while (test_describe(&fleet, job).queued > 0) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, lease.lo, ".", true);
    }
    play_move(SHOAL_OK,
              shoal_queue_retry(&fleet.queue, job, false, "token", &tasks, &play_err));
    struct shoal_lease lease = play_lease(one, "a", 1);
    ck_assert_int_eq(lease.lo, 1);
    play_move(SHOAL_OK, shoal_queue_release(&fleet.queue, job, packs, 4, &play_err));
    for (int64_t i = 0; i < 8; i++)
        ck_assert_int_eq(ask_argument(i), i / 2 == 0 ? SHOAL_OK : SHOAL_UNKNOWN);
    test_commit(&fleet, one, &lease, lease.lo, ".", true);
    play_move(SHOAL_OK, shoal_queue_release(&fleet.queue, job, packs, 4, &play_err));
    ck_assert_int_eq(ask_argument(0), SHOAL_UNKNOWN);
}
END_TEST

START_TEST(what_is_not_there_is_unknown) {
    int64_t number = 0;
    play_start(_i);
    memcpy(job, "000000000000", sizeof(job));
    play_move(SHOAL_UNKNOWN, cancel(false));
    play_move(SHOAL_UNKNOWN, forget());
    play_move(SHOAL_UNKNOWN,
              shoal_queue_retry(&fleet.queue, job, true, "token", &number, &play_err));
    play_move(SHOAL_UNKNOWN,
              shoal_queue_acknowledge(&fleet.queue, job, 1, true, &number, &play_err));
    play_move(SHOAL_UNKNOWN,
              shoal_queue_release(&fleet.queue, job, &(struct shoal_pack_range){0, 1}, 1,
                                  &play_err));
    test_finish(&fleet, one);
    expect_no_trace();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        waiting_job_is_cancelled_at_once,
        running_tasks_of_a_cancelled_job_are_told,
        second_cancel_kills,
        stopping_job_ends_when_its_workers_are_lost,
        tasks_that_wait_for_a_retry_are_cancelled,
        cancelled_open_job_takes_no_more,
        thousands_of_ranges_are_cancelled_in_sweeps,
        what_is_noted_as_busy_and_is_not_is_struck_off,
        too_many_failures_stop_the_job,
        failed_tasks_run_again,
        all_that_is_not_ok_runs_again,
        retry_asked_for_again_is_the_same,
        nothing_is_changed_in_a_store_of_another_layout,
        retry_is_refused_while_the_job_stops_or_waits,
        thousands_of_failures_are_retried_in_sweeps,
        retry_that_is_cancelled_halfway_loses_nothing,
        forgotten_job_leaves_nothing_behind,
        job_that_runs_is_forgotten_by_force,
        damaged_job_is_forgotten_by_force,
        finished_job_expires,
        retried_job_does_not_expire,
        read_results_of_a_job_without_budget_stay,
        results_that_others_have_read_are_not_taken,
        taken_results_are_gone,
        read_results_beyond_half_the_budget_are_trimmed,
        arguments_stay_with_results_that_are_not_taken,
        arguments_of_a_failed_task_stay_when_all_results_are_taken,
        released_packs_are_gone_unless_a_task_may_run_again,
        what_is_not_there_is_unknown,
    };
    return play_main("moves of people", tests, SHOAL_COUNT(tests));
}
