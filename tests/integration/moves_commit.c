/* Committing: what becomes of each outcome, in time and late. */
#include "common/cleanup.h"
#include "tests/support/play.h"

#include <stdio.h>
#include <string.h>

static struct test_answer answer;
static int64_t retries_of_next;

static void with_retries(struct shoal_submission *submission) {
    submission->policy.retries = retries_of_next;
}

/* A job of which `one` has a lease of `n` tasks. */
static struct shoal_lease begin(int64_t total, int64_t n, int64_t retries) {
    retries_of_next = retries;
    test_submit(&fleet, total, with_retries, job);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", n);
    expect_range(&lease, 0, n, 1);
    return lease;
}

static int64_t count(enum shoal_key kind, const char *of, const char *command) {
    return test_command_int(fleet.redis, command, play_key(kind, of));
}

START_TEST(job_runs_to_its_end) {
    play_start(_i);
    test_submit(&fleet, 3, NULL, job);
    for (int64_t i = 0; i < 3; i++) {
        expect_state(SHOAL_JOB_ACTIVE);
        struct shoal_lease lease = play_lease(one, "a", 10);
        expect_range(&lease, i, i + 1, 1);
        test_commit(&fleet, one, &lease, i, ".", true);
    }
    expect_state(SHOAL_JOB_SUCCEEDED);
    expect_outcomes("...");
    struct shoal_job now = test_describe(&fleet, job);
    ck_assert_int_eq(now.ran, 3);
    ck_assert_int_eq(now.work_us, 3000);
    ck_assert_int_gt(now.stored, 0);
    ck_assert_int_gt(now.ended_ms, 0);
    play_no_lease(one, "b");
}
END_TEST

START_TEST(lease_is_committed_in_parts) {
    play_start(_i);
    struct shoal_lease lease = begin(20, 5, 0);
    test_commit(&fleet, one, &lease, 0, "..", false);
    expect_tasks(15, 3, 2, 0, 0);
    test_commit(&fleet, one, &lease, 2, ".", false);
    test_commit(&fleet, one, &lease, 3, "..", true);
    expect_tasks(15, 0, 5, 0, 0);
    ck_assert_int_eq(count(SHOAL_KEY_RESULTS, job, "LLEN %s"), 3);
    ck_assert_int_eq(count(SHOAL_KEY_LEASES, one, "HLEN %s"), 0);
}
END_TEST

START_TEST(lease_that_is_over_gives_its_rest_back) {
    play_start(_i);
    struct shoal_lease lease = begin(20, 5, 0);
    test_commit(&fleet, one, &lease, 0, "..", true);
    expect_tasks(18, 0, 2, 0, 0);
    lease = play_lease(one, "b", 5);
    expect_range(&lease, 2, 5, 1); /* what came back goes first, as if never given */
}
END_TEST

START_TEST(rest_of_a_lease_goes_back_and_the_lease_stays) {
    play_start(_i);
    struct shoal_lease lease = begin(20, 5, 0);
    test_give_back(&fleet, one, &lease, 1);
    expect_tasks(19, 1, 0, 0, 0);
    struct shoal_lease other = play_lease(one, "b", 9);
    expect_range(&other, 1, 5, 1);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_tasks(15, 4, 1, 0, 0);
}
END_TEST

START_TEST(failures_stand_between_successes) {
    play_start(_i);
    struct shoal_lease lease = begin(20, 6, 0);
    test_commit(&fleet, one, &lease, 0, "x..x.x", true);
    expect_tasks(14, 0, 3, 3, 0);
    expect_outcomes("x..x.x--------------");
    ck_assert_int_eq(count(SHOAL_KEY_RESULTS, job, "LLEN %s"), 1);
    ck_assert_int_eq(count(SHOAL_KEY_ATTEMPTS, job, "LLEN %s"), 3);
}
END_TEST

/* ---- failures */

START_TEST(failed_task_is_retried_after_its_delay) {
    play_start(_i);
    struct shoal_lease lease = begin(1, 1, 1);
    test_commit(&fleet, one, &lease, 0, "x", true);
    struct shoal_job now = test_describe(&fleet, job);
    ck_assert_int_eq(now.delayed, 1);
    ck_assert(!test_token(&fleet, "q"));
    play_no_lease(one, "b");
    test_pass_time(&fleet, 3000);
    ck_assert(test_token(&fleet, "q"));
    lease = play_lease(one, "b", 10);
    expect_range(&lease, 0, 1, 2);
    test_commit(&fleet, one, &lease, 0, "x", true);
    expect_state(SHOAL_JOB_FAILED);
    expect_outcomes("x");
    ck_assert_int_eq(count(SHOAL_KEY_ATTEMPTS, job, "LLEN %s"), 2);
}
END_TEST

START_TEST(each_retry_waits_up_to_twice_as_long) {
    play_start(_i);
    struct shoal_lease lease = begin(1, 1, 9);
    for (int64_t i = 0; i < 9; i++) {
        int64_t most = i < 6 ? 1000 << i : 60000;
        ck_assert_int_eq(lease.attempt, i + 1);
        test_commit(&fleet, one, &lease, 0, i % 2 == 0 ? "x" : "t", true);
        int64_t now =
            test_command_int(fleet.redis, "HGET %s now", play_key(SHOAL_KEY_CLOCK, ""));
        ck_assert_int_eq(test_command_int(fleet.redis, "ZCOUNT %s %lld %lld",
                                          play_key(SHOAL_KEY_DUE, ""), (long long)now,
                                          (long long)(now + most)),
                         1);
        test_command_int(fleet.redis, "HINCRBY %s now %lld",
                         play_key(SHOAL_KEY_CLOCK, ""), (long long)most);
        test_register(&fleet, one, NULL, NULL, 0, &answer); /* it was not silent */
        test_pass_time(&fleet, 500);
        lease = play_lease(one, "b", 1);
    }
    test_commit(&fleet, one, &lease, 0, "x", true);
    expect_state(SHOAL_JOB_FAILED);
    expect_tasks(0, 0, 0, 1, 0);
}
END_TEST

START_TEST(final_reasons_are_not_retried) {
    play_start(_i);
    struct shoal_lease lease = begin(1, 1, 5);
    test_commit(&fleet, one, &lease, 0, "r", true);
    expect_state(SHOAL_JOB_FAILED);
    expect_outcomes("x");
}
END_TEST

START_TEST(stopped_task_goes_back_uncharged) {
    play_start(_i);
    struct shoal_lease lease = begin(1, 1, 0);
    test_commit(&fleet, one, &lease, 0, "s", true);
    expect_tasks(1, 0, 0, 0, 0);
    lease = play_lease(one, "b", 1);
    expect_range(&lease, 0, 1, 2);
    ck_assert_int_eq(count(SHOAL_KEY_RESULTS, job, "LLEN %s"), 0);
}
END_TEST

START_TEST(stopped_task_of_a_stopping_job_is_cancelled) {
    play_start(_i);
    struct shoal_lease lease = begin(10, 3, 5);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    test_commit(&fleet, one, &lease, 0, ".sx", true); /* nothing is retried now */
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 1, 1, 8);
    expect_outcomes(".-x-------");
}
END_TEST

START_TEST(task_that_goes_on_is_uncharged_and_next) {
    play_start(_i);
    struct shoal_lease lease = begin(5, 1, 0);
    for (int64_t attempt = 1; attempt < 20; attempt++) {
        test_commit(&fleet, one, &lease, 0, "C", true);
        expect_tasks(5, 0, 0, 0, 0);
        lease = play_lease(one, "b", 1);
        expect_range(&lease, 0, 1, attempt + 1);
        ck_assert_int_eq(count(SHOAL_KEY_ATTEMPTS, job, "LLEN %s"), attempt);
    }
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_outcomes(".----");
}
END_TEST

START_TEST(task_that_would_go_on_at_once_waits_a_second) {
    play_start(_i);
    struct shoal_lease lease = begin(1, 1, 0);
    test_commit(&fleet, one, &lease, 0, "c", true);
    ck_assert_int_eq(test_describe(&fleet, job).delayed, 1);
    play_no_lease(one, "b");
    int64_t now =
        test_command_int(fleet.redis, "HGET %s now", play_key(SHOAL_KEY_CLOCK, ""));
    ck_assert_int_eq(test_command_int(fleet.redis, "ZCOUNT %s %lld %lld",
                                      play_key(SHOAL_KEY_DUE, ""), (long long)now + 1000,
                                      (long long)now + 1000),
                     1);
    test_pass_time(&fleet, 1000);
    lease = play_lease(one, "b", 1);
    expect_range(&lease, 0, 1, 2);
    test_commit(&fleet, one, &lease, 0, "x", true); /* the first that is charged */
    expect_state(SHOAL_JOB_FAILED);
}
END_TEST

START_TEST(task_of_a_stopping_job_does_not_go_on) {
    play_start(_i);
    struct shoal_lease lease = begin(10, 3, 5);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    test_commit(&fleet, one, &lease, 0, "cC", true);
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 0, 0, 10);
}
END_TEST

/* ---- late */

/* `one` fell silent with a lease of the only task, which is queued again or, when
 * `taken`, `two` has it. */
static struct shoal_lease lapse(int64_t retries, struct shoal_lease *taken) {
    play_join(two);
    struct shoal_lease lease = begin(1, 1, retries);
    play_silence(two);
    if (taken != NULL) {
        *taken = play_lease(two, "b", 1);
        ck_assert_int_eq(taken->attempt, 2);
    }
    return lease;
}

START_TEST(late_success_counts_when_nobody_has_the_task) {
    play_start(_i);
    struct shoal_lease lease = lapse(0, NULL);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_state(SHOAL_JOB_SUCCEEDED);
    expect_outcomes(".");
    ck_assert(!test_token(&fleet, "q"));
    play_no_lease(two, "b");
}
END_TEST

START_TEST(late_success_counts_and_who_has_the_task_is_told) {
    struct shoal_lease taken;
    play_start(_i);
    struct shoal_lease lease = lapse(0, &taken);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_state(SHOAL_JOB_SUCCEEDED);
    expect_message(two, "settled %s 0 1", job);
    expect_message(two, "%s", "");
    test_commit(&fleet, two, &taken, 0, "x", true);
    expect_state(SHOAL_JOB_SUCCEEDED);
    expect_outcomes(".");
}
END_TEST

START_TEST(late_success_of_a_part_leaves_the_rest_to_its_holder) {
    play_start(_i);
    play_join(two);
    struct shoal_lease lease = begin(20, 4, 0);
    const struct shoal_lease late = play_remembered("x", 1, 3, 7);
    test_commit(&fleet, two, &late, 1, "..", true);
    expect_message(one, "settled %s 1 3", job);
    expect_tasks(16, 2, 2, 0, 0);
    test_commit(&fleet, one, &lease, 0, ".xx.", true); /* two of which are done */
    expect_tasks(16, 0, 4, 0, 0);
    expect_outcomes("....----------------");
}
END_TEST

START_TEST(late_success_is_dropped_when_others_finished) {
    struct shoal_lease taken;
    play_start(_i);
    struct shoal_lease lease = lapse(0, &taken);
    test_commit(&fleet, two, &taken, 0, ".", true);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_outcomes(".");
    ck_assert_int_eq(count(SHOAL_KEY_RESULTS, job, "LLEN %s"), 1);
}
END_TEST

START_TEST(late_failure_is_ignored) {
    struct shoal_lease taken;
    play_start(_i);
    struct shoal_lease lease = lapse(0, &taken);
    test_commit(&fleet, one, &lease, 0, "x", true);
    expect_tasks(0, 1, 0, 0, 0);
    ck_assert_int_eq(count(SHOAL_KEY_ATTEMPTS, job, "LLEN %s"), 1); /* the loss alone */
    test_commit(&fleet, two, &taken, 0, ".", true);
    expect_outcomes(".");
}
END_TEST

START_TEST(success_of_a_task_that_waits_for_its_retry_counts) {
    struct shoal_lease taken;
    play_start(_i);
    struct shoal_lease lease = lapse(3, &taken);
    test_commit(&fleet, two, &taken, 0, "x", true);
    ck_assert_int_eq(test_describe(&fleet, job).delayed, 1);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_state(SHOAL_JOB_SUCCEEDED);
    ck_assert_int_eq(count(SHOAL_KEY_DUE, "", "EXISTS %s"), 0);
}
END_TEST

START_TEST(what_redis_forgot_is_queued_and_the_rest_accepted) {
    play_start(_i);
    test_submit(&fleet, 10, NULL, job);
    play_warm(job);
    struct shoal_lease lease = play_remembered("x", 4, 7, 3);
    test_commit(&fleet, one, &lease, 4, ".x.", true);
    expect_tasks(7, 0, 2, 1, 0);
    lease = play_lease(one, "a", 100);
    expect_range(&lease, 0, 3, 1); /* half of what is left */
    test_commit(&fleet, one, &lease, 0, "...", true);
    for (int i = 0; i < 4; i++) {
        lease = play_lease(one, "b", 1);
        test_commit(&fleet, one, &lease, lease.lo, ".", true);
    }
    expect_outcomes(".....x....");
    expect_state(SHOAL_JOB_FAILED);
}
END_TEST

START_TEST(outcomes_that_cannot_be_are_dropped) {
    play_start(_i);
    test_submit(&fleet, 10, NULL, job);
    struct shoal_lease lease = play_remembered("x", 9, 11, 1); /* beyond its total */
    test_commit(&fleet, one, &lease, 9, "..", true);
    test_commit(&fleet, one, &lease, 10, "x", true);
    expect_tasks(10, 0, 0, 0, 0);
    memcpy(lease.job, "000000000000", sizeof(lease.job)); /* of no job */
    test_commit(&fleet, one, &lease, 0, ".x", true);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    lease = begin(1, 1, 0);
    test_commit(&fleet, one, &lease, 0, ".", true);
    test_commit(&fleet, one, &lease, 0, "x", true); /* of one that has ended */
    expect_outcomes(".");
}
END_TEST

START_TEST(commits_that_change_something_are_counted) {
    struct shoal_store_info before, after;
    play_start(_i);
    struct shoal_lease lease = begin(8, 3, 0);
    test_commit(&fleet, one, &lease, 0, ".", false); /* the first after a start leaps */
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &before, NULL), SHOAL_OK);
    test_commit(&fleet, one, &lease, 1, ".", false);
    test_commit(&fleet, one, &lease, 1, ".", false);
    test_commit(&fleet, one, &lease, 2, ".", true);
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &after, NULL), SHOAL_OK);
    ck_assert_int_eq(after.commits, before.commits + 2);
}
END_TEST

/* ---- what cannot be started */

START_TEST(who_cannot_start_it_leaves_it_to_others) {
    play_start(_i);
    play_join(two);
    struct shoal_lease lease = begin(2, 1, 0);
    test_commit(&fleet, one, &lease, 0, "p", true);
    expect_tasks(2, 0, 0, 0, 0);
    ck_assert(test_token(&fleet, "q"));
    play_no_lease(one, "b"); /* barred */
    lease = play_lease(two, "b", 1);
    expect_range(&lease, 0, 1, 2);
    test_commit(&fleet, two, &lease, 0, ".", true);
    test_command_int(fleet.redis, "HINCRBY %s now 61000", play_key(SHOAL_KEY_CLOCK, ""));
    lease = play_lease(one, "b", 1); /* a minute is over */
    test_commit(&fleet, one, &lease, 1, ".", true);
    expect_outcomes("..");
}
END_TEST

/* However many there are, what lies behind them is found, call by call. */
START_TEST(jobs_that_a_worker_cannot_start_do_not_hold_up_others) {
    enum { BARRED = 150 };
    struct shoal_lease lease;
    int tries = 0;
    play_start(_i);
    fleet.no_audit = true;
    play_join(two);
    for (int i = 0; i < BARRED; i++) {
        test_submit(&fleet, 1, NULL, job);
        lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, 0, "p", true);
    }
    test_submit(&fleet, 1, NULL, job);
    while (!test_lease(&fleet, one, "b", 1, &lease))
        ck_assert_int_lt(++tries, 3);
    ck_assert_str_eq(lease.job, job);
    test_fleet_audit(&fleet);
}
END_TEST

START_TEST(what_cannot_start_in_a_job_that_stops_is_cancelled) {
    play_start(_i);
    play_join(two);
    struct shoal_lease lease = begin(2, 1, 0);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    test_commit(&fleet, one, &lease, 0, "p", true);
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 0, 0, 2);
}
END_TEST

START_TEST(what_no_worker_can_start_fails) {
    play_start(_i);
    play_join(two);
    struct shoal_lease lease = begin(6, 1, 9);
    test_commit(&fleet, one, &lease, 0, "p", true);
    lease = play_lease(two, "b", 1);
    test_commit(&fleet, two, &lease, 0, "p", true);
    expect_tasks(5, 0, 0, 1, 0);
    lease = play_lease(one, "b", 2); /* not barred: nobody else could */
    test_commit(&fleet, one, &lease, 1, "pp", true);
    expect_tasks(3, 0, 0, 3, 0);
    lease = play_lease(two, "c", 1); /* one that can be started changes that */
    test_commit(&fleet, two, &lease, 3, ".", true);
    lease = play_lease(one, "c", 1);
    test_commit(&fleet, one, &lease, 4, "p", true);
    expect_tasks(2, 0, 1, 3, 0);
    play_no_lease(one, "d");
    play_lease(two, "d", 1);
}
END_TEST

START_TEST(task_that_three_workers_cannot_start_fails) {
    static const char *const sessions[] = {one, two, three};
    play_start(_i);
    play_join(two);
    play_join(three);
    play_join(four);
    test_submit(&fleet, 2, NULL, job);
    for (size_t i = 0; i < SHOAL_COUNT(sessions); i++) {
        expect_tasks(2, 0, 0, 0, 0);
        struct shoal_lease lease = play_lease(sessions[i], "a", 1);
        expect_range(&lease, 0, 1, (int64_t)i + 1);
        test_commit(&fleet, sessions[i], &lease, 0, "p", true);
    }
    expect_tasks(1, 0, 0, 1, 0);
    struct shoal_lease lease = play_lease(four, "a", 1); /* the next may be for it */
    test_commit(&fleet, four, &lease, 1, ".", true);
    expect_outcomes("x.");
}
END_TEST

START_TEST(workers_that_drain_or_serve_others_are_not_waited_for) {
    play_start(_i);
    play_join(two);
    ck_assert_int_eq(shoal_queue_drain(&fleet.queue, two, NULL), SHOAL_OK);
    const struct shoal_registration registration = {
        .session = three,
        .ttl_ms = 8000,
        .slots = 1,
        .name = three,
        .host = "here",
        .queues = "qq,elsewhere",
    };
    test_register_as(&fleet, &registration, &answer);
    struct shoal_lease lease = begin(1, 1, 0);
    test_commit(&fleet, one, &lease, 0, "p", true);
    expect_state(SHOAL_JOB_FAILED);
}
END_TEST

/* Whose end nobody has noticed yet. */
START_TEST(workers_past_their_end_are_not_waited_for) {
    play_start(_i);
    play_join(two);
    struct shoal_lease lease = begin(1, 1, 0);
    test_command_int(fleet.redis, "HINCRBY %s now 9000", play_key(SHOAL_KEY_CLOCK, ""));
    test_commit(&fleet, one, &lease, 0, "p", true);
    expect_state(SHOAL_JOB_FAILED);
}
END_TEST

/* Who was barred meanwhile need not wait for its minute. */
START_TEST(worker_that_dies_is_not_waited_for_any_longer) {
    play_start(_i);
    play_join(two);
    struct shoal_lease lease = begin(1, 1, 0);
    test_commit(&fleet, one, &lease, 0, "p", true);
    play_no_lease(one, "b");
    play_silence(one);
    lease = play_lease(one, "b", 1);
    test_commit(&fleet, one, &lease, 0, "p", true);
    expect_state(SHOAL_JOB_FAILED);
}
END_TEST

/* They hold nothing meanwhile. */
static void live_on(int64_t ms, const char *const *sessions) {
    const char *names[] = {"none", NULL};
    struct test_answer beaten;
    test_pass_time(&fleet, ms);
    for (; *sessions != NULL; sessions++)
        test_heartbeat(&fleet, *sessions, names, &beaten);
}

/* But for the first seconds: where sessions come and go, it would try all the time. */
START_TEST(worker_that_leaves_is_not_waited_for_any_longer) {
    const char *const all[] = {one, two, three, NULL};
    play_start(_i);
    play_join(two);
    play_join(three);
    struct shoal_lease lease = begin(1, 1, 0);
    test_commit(&fleet, one, &lease, 0, "p", true);
    lease = play_lease(two, "a", 1);
    test_commit(&fleet, two, &lease, 0, "p", true);
    test_finish(&fleet, three);
    play_no_lease(one, "b");
    live_on(3000, all);
    live_on(3000, all);
    lease = play_lease(one, "b", 1); /* the other's try counts as it did */
    test_commit(&fleet, one, &lease, 0, "p", true);
    expect_state(SHOAL_JOB_FAILED);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        job_runs_to_its_end,
        lease_is_committed_in_parts,
        lease_that_is_over_gives_its_rest_back,
        rest_of_a_lease_goes_back_and_the_lease_stays,
        failures_stand_between_successes,
        failed_task_is_retried_after_its_delay,
        each_retry_waits_up_to_twice_as_long,
        final_reasons_are_not_retried,
        stopped_task_goes_back_uncharged,
        stopped_task_of_a_stopping_job_is_cancelled,
        task_that_goes_on_is_uncharged_and_next,
        task_that_would_go_on_at_once_waits_a_second,
        task_of_a_stopping_job_does_not_go_on,
        late_success_counts_when_nobody_has_the_task,
        late_success_counts_and_who_has_the_task_is_told,
        late_success_of_a_part_leaves_the_rest_to_its_holder,
        late_success_is_dropped_when_others_finished,
        late_failure_is_ignored,
        success_of_a_task_that_waits_for_its_retry_counts,
        what_redis_forgot_is_queued_and_the_rest_accepted,
        outcomes_that_cannot_be_are_dropped,
        commits_that_change_something_are_counted,
        who_cannot_start_it_leaves_it_to_others,
        jobs_that_a_worker_cannot_start_do_not_hold_up_others,
        what_cannot_start_in_a_job_that_stops_is_cancelled,
        what_no_worker_can_start_fails,
        task_that_three_workers_cannot_start_fails,
        workers_that_drain_or_serve_others_are_not_waited_for,
        workers_past_their_end_are_not_waited_for,
        worker_that_dies_is_not_waited_for_any_longer,
        worker_that_leaves_is_not_waited_for_any_longer,
    };
    return play_main("moves that commit", tests, SHOAL_COUNT(tests));
}
