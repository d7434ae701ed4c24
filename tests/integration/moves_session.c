/* The moves that keep sessions: register, heartbeat, housekeep, drain, finish; and what
 * becomes of tasks whose worker is lost. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/support/play.h"
#include "tests/support/wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct test_answer answer;

static int64_t slots(void) {
    return test_command_int(fleet.redis, "HGET %s slots", play_key(SHOAL_KEY_CLOCK, ""));
}

static void expect_alive(const char *session, const char *lease, bool alive) {
    const char *names[] = {lease, NULL};
    test_heartbeat(&fleet, session, names, &answer);
    ck_assert_int_eq(answer.beaten.alive, alive);
}

/* ---- register */

START_TEST(session_begins_and_may_begin_again) {
    char store[13];
    play_start(_i);
    play_join(two);
    ck_assert_int_eq(slots(), 2);
    test_register(&fleet, two, NULL, NULL, 0, &answer);
    ck_assert_int_eq(slots(), 2);
    ck_assert_uint_eq(strlen(answer.registered.store), 12);
    memcpy(store, answer.registered.store, sizeof(store));
    test_register(&fleet, one, NULL, NULL, 0, &answer);
    ck_assert_str_eq(answer.registered.store, store);
    test_finish(&fleet, one);
    ck_assert_int_eq(slots(), 1);
}
END_TEST

START_TEST(dead_predecessor_loses_its_tasks_at_once) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    play_lease(one, "a", 1);
    test_register(&fleet, two, one, NULL, 0, &answer);
    ck_assert_int_eq(slots(), 1);
    expect_alive(one, "a", false);
    struct shoal_lease lease = play_lease(two, "a", 1);
    expect_range(&lease, 0, 1, 2);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "LLEN %s", play_key(SHOAL_KEY_ATTEMPTS, job)), 1);
}
END_TEST

/* What `one` is told about the only lease that it remembers. */
static int64_t adopted(const struct shoal_lease *lease) {
    test_register(&fleet, one, NULL, lease, 1, &answer);
    ck_assert_uint_eq(answer.registered.n, 1);
    return answer.registered.attempts[0];
}

START_TEST(lease_that_still_stands_is_the_workers) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    ck_assert_int_eq(adopted(&lease), 1);
    expect_tasks(0, 1, 0, 0, 0);
}
END_TEST

/* The worker is told that it is gone, registers, and has it as before. */
START_TEST(lease_whose_key_is_gone_is_the_workers) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    freeReplyObject(test_command(fleet.redis, "DEL %s", play_key(SHOAL_KEY_LEASES, one)));
    ck_assert_int_eq(adopted(&lease), 1);
    expect_alive(one, "a", true);
    ck_assert_uint_eq(answer.beaten.n_gone, 0);
    expect_tasks(0, 1, 0, 0, 0);
}
END_TEST

START_TEST(returning_worker_adopts_what_nobody_has_taken) {
    play_start(_i);
    test_submit(&fleet, 20, NULL, job);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 4);
    play_silence(NULL);
    expect_tasks(20, 0, 0, 0, 0); /* in halves, at attempt 2 */
    ck_assert_int_eq(adopted(&lease), 2);
    expect_tasks(16, 4, 0, 0, 0);
    ck_assert_int_eq(adopted(&lease), 2);
    lease.attempt = 2;
    test_commit(&fleet, one, &lease, 0, "...x", true);
    expect_tasks(16, 0, 3, 1, 0);
}
END_TEST

/* As a spool tells it: the outcomes of four tasks outlived the worker, the fifth ran. */
START_TEST(heir_of_a_dead_worker_tells_how_its_tasks_ended) {
    char dead[32];
    play_start(_i);
    play_join(two);
    test_submit(&fleet, 20, NULL, job);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 5);
    struct shoal_lease done = lease;
    done.hi = 4;
    snprintf(dead, sizeof(dead), "%s,%s", "000000000000", one);
    test_register(&fleet, two, dead, &done, 1, &answer);
    ck_assert_int_eq(answer.registered.attempts[0], 1);
    expect_tasks(16, 4, 0, 0, 0);
    test_commit(&fleet, two, &done, 0, "...x", true);
    expect_tasks(16, 0, 3, 1, 0);
    expect_alive(one, "a", false);
    lease = play_lease(two, "b", 5);
    expect_range(&lease, 4, 5, 2);
}
END_TEST

START_TEST(heir_does_not_take_what_the_dead_had_given_away) {
    play_start(_i);
    play_join(two);
    play_join(three);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    play_silence(three);
    play_lease(three, "a", 1);
    test_register(&fleet, two, one, &lease, 1, &answer);
    ck_assert_int_eq(answer.registered.attempts[0], 0);
}
END_TEST

START_TEST(returning_worker_does_not_take_from_others) {
    play_start(_i);
    play_join(two);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    play_silence(two);
    struct shoal_lease other = play_lease(two, "a", 1);
    ck_assert_int_eq(adopted(&lease), 0);
    test_commit(&fleet, two, &other, 0, ".", true);
    ck_assert_int_eq(adopted(&lease), -1);
    expect_state(SHOAL_JOB_SUCCEEDED);
}
END_TEST

static void two_retries(struct shoal_submission *submission) {
    submission->policy.retries = 2;
}

START_TEST(what_waits_for_a_retry_is_not_adopted) {
    play_start(_i);
    play_join(two);
    test_submit(&fleet, 1, two_retries, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    play_silence(two);
    struct shoal_lease other = play_lease(two, "a", 1);
    test_commit(&fleet, two, &other, 0, "x", true);
    ck_assert_int_eq(adopted(&lease), 0);
}
END_TEST

START_TEST(lease_of_an_unknown_job_is_nothing) {
    play_start(_i);
    memcpy(job, "000000000000", sizeof(job));
    struct shoal_lease lease = play_remembered("a", 0, 1, 1);
    ck_assert_int_eq(adopted(&lease), -1);
    test_submit(&fleet, 2, NULL, job);
    lease = play_remembered("a", 1, 3, 1); /* beyond its total */
    ck_assert_int_eq(adopted(&lease), -1);
}
END_TEST

START_TEST(leases_that_are_not_told_go_back) {
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    play_lease(one, "a", 1);
    struct shoal_lease lease = play_lease(one, "b", 1);
    ck_assert_int_eq(adopted(&lease), 1);
    expect_tasks(1, 1, 0, 0, 0);
    lease = play_lease(one, "c", 1);
    expect_range(&lease, 0, 1, 1);
}
END_TEST

START_TEST(lease_that_redis_forgot_is_adopted) {
    play_start(_i);
    test_submit(&fleet, 10, NULL, job);
    struct shoal_lease lease = play_remembered("a", 3, 5, 2);
    ck_assert_int_eq(adopted(&lease), 2);
    expect_tasks(8, 2, 0, 0, 0);
    test_commit(&fleet, one, &lease, 3, "..", true);
    lease = play_lease(one, "b", 1);
    ck_assert_int_eq(lease.lo, 0);
    expect_outcomes("---..-----");
}
END_TEST

/* What a worker that saw commit `seen` of that store is told; "" is this store. */
static enum shoal_store_verdict verdict(const char *session, const char *store,
                                        int64_t seen) {
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *here =
        test_command_text(fleet.redis, "HGET %s id", play_key(SHOAL_KEY_EPOCH, ""));
    const struct shoal_registration registration = {
        .session = session,
        .ttl_ms = 8000,
        .seen_id = store[0] == '\0' ? here : store,
        .seen_commits = seen,
        .slots = 1,
        .name = session,
        .host = "here",
        .queues = "q",
    };
    test_register_as(&fleet, &registration, &answer);
    return answer.registered.verdict;
}

static int64_t sequence(void) {
    struct shoal_store_info store;
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &store, NULL), SHOAL_OK);
    return store.commits;
}

/* As a start of Redis does, which takes longer than a millisecond. */
static void forget_functions(void) {
    freeReplyObject(test_command(fleet.redis, "FUNCTION FLUSH"));
    int64_t now = shoal_wall_ms();
    wait_until(shoal_wall_ms() != now, 1000);
}

START_TEST(every_worker_learns_that_the_store_was_rolled_back) {
    struct shoal_store_info store;
    play_start(_i);
    int64_t kept = sequence() + 90;
    test_command_int(fleet.redis, "HINCRBY %s seq 90", play_key(SHOAL_KEY_EPOCH, ""));
    ck_assert_int_eq(verdict(one, "", kept), SHOAL_STORE_SAME);
    ck_assert_int_eq(verdict(one, "", kept + 9), SHOAL_STORE_ROLLED_BACK);
    int64_t now = answer.registered.commits;
    ck_assert_int_gt(now, kept + 10);
    ck_assert_int_eq(verdict(two, "", kept + 10), SHOAL_STORE_ROLLED_BACK);
    ck_assert_int_eq(verdict(three, "", kept), SHOAL_STORE_SAME);
    ck_assert_int_eq(verdict(one, "", now), SHOAL_STORE_SAME);
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &store, NULL), SHOAL_OK);
    ck_assert_int_eq(store.rollbacks, 1);
    ck_assert_int_eq(store.commits_lost, 10);
    ck_assert_int_gt(store.rolled_back_ms, 0);
    ck_assert_int_eq(store.commits, now);
}
END_TEST

/* A wish whose answer was lost is sent again by its name, and got another range; then the
 * store is rolled back to where the name stood for the first. Nothing of that is left. */
START_TEST(name_that_stood_for_another_range_gives_that_back) {
    play_start(_i);
    test_submit(&fleet, 3, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    expect_range(&lease, 0, 1, 1);
    lease = play_remembered("a", 2, 3, 1);
    ck_assert_int_eq(adopted(&lease), 1);
    expect_tasks(2, 1, 0, 0, 0);
    test_commit(&fleet, one, &lease, 2, ".", true);
    lease = play_lease(one, "b", 1);
    expect_range(&lease, 0, 1, 1);
}
END_TEST

/* A worker that saw less than the others commits first after Redis has started: that must
 * not bring the sequence to where the others saw it. */
START_TEST(no_number_of_a_lost_commit_is_given_again) {
    struct shoal_store_info store;
    play_start(_i);
    test_submit(&fleet, 3, NULL, job);
    struct shoal_lease first = play_lease(one, "a", 1), second = play_lease(one, "b", 1);
    test_commit(&fleet, one, &first, 0, ".", true);
    int64_t kept = sequence();
    forget_functions();
    test_commit(&fleet, one, &second, 1, ".", true);
    ck_assert_int_eq(verdict(three, "", kept), SHOAL_STORE_SAME);
    ck_assert_int_eq(verdict(two, "", kept + 1), SHOAL_STORE_ROLLED_BACK);
    ck_assert_int_eq(verdict(one, "", answer.registered.commits), SHOAL_STORE_SAME);
    ck_assert_int_eq(verdict(four, "", kept + 5), SHOAL_STORE_ROLLED_BACK);
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &store, NULL), SHOAL_OK);
    ck_assert_int_eq(store.rollbacks, 1);
    ck_assert_int_eq(store.commits_lost, 5);
}
END_TEST

/* Else the first commit would leap, and all who have registered before it would see that
 * and register once more; also on a store that is new to them. */
START_TEST(who_registers_first_after_a_start_sees_no_leap_later) {
    const char *const stores[] = {"", "000000000000"};
    play_start(_i);
    test_submit(&fleet, SHOAL_COUNT(stores), NULL, job);
    for (size_t i = 0; i < SHOAL_COUNT(stores); i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        int64_t before = sequence();
        forget_functions();
        verdict(two, stores[i], before);
        int64_t seen = answer.registered.commits;
        ck_assert_int_gt(seen, before + 1000000);
        ck_assert_int_eq(verdict(three, "", before), SHOAL_STORE_SAME);
        ck_assert_int_eq(answer.registered.commits, seen);
        test_commit(&fleet, one, &lease, lease.lo, ".", true);
        ck_assert_int_eq(sequence(), seen + 1);
        ck_assert_int_eq(verdict(two, "", before + 1), SHOAL_STORE_ROLLED_BACK);
    }
}
END_TEST

/* A start, a commit, and both are lost, the leap as well; then others commit. */
START_TEST(two_starts_from_the_same_moment_give_different_numbers) {
    play_start(_i);
    test_submit(&fleet, 3, NULL, job);
    struct shoal_lease first = play_lease(one, "a", 1), second = play_lease(one, "b", 1);
    struct shoal_lease third = play_lease(one, "c", 1);
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *saved =
        test_command(fleet.redis, "DUMP %s", play_key(SHOAL_KEY_EPOCH, ""));
    forget_functions();
    test_commit(&fleet, one, &first, 0, ".", true);
    int64_t lost = sequence();
    freeReplyObject(test_command(fleet.redis, "RESTORE %s 0 %b REPLACE",
                                 play_key(SHOAL_KEY_EPOCH, ""), saved->str, saved->len));
    ck_assert_int_lt(sequence(), lost);
    forget_functions();
    test_commit(&fleet, one, &second, 1, ".", true);
    test_commit(&fleet, one, &third, 2, ".", true);
    ck_assert_int_gt(llabs(sequence() - lost),
                     1000000); /* whose connection lasted sees */
    ck_assert_int_eq(verdict(two, "", lost), SHOAL_STORE_ROLLED_BACK);

    struct shoal_store_info store;
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &store, NULL), SHOAL_OK);
    ck_assert_int_eq(store.commits_lost, 1);
}
END_TEST

/* Somebody wrote any number in its place, and a worker has seen it: from there a leap
 * would lead to numbers that are none, and the worker would ask for ever. */
START_TEST(sequence_that_cannot_leap_begins_anew) {
    const int64_t most = INT64_C(1) << 53, numbers[] = {most / 2, most - 1, most};
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(numbers); i++) {
        int64_t seen = numbers[i];
        freeReplyObject(test_command(fleet.redis, "HSET %s seq %lld",
                                     play_key(SHOAL_KEY_EPOCH, ""), (long long)seen));
        for (int rounds = 0; rounds < 3; rounds++) {
            test_submit(&fleet, 1, NULL, job);
            struct shoal_lease lease = play_lease(one, "a", 1);
            test_commit(&fleet, one, &lease, 0, ".", true);
            verdict(one, "", seen);
            ck_assert_int_eq(answer.status, SHOAL_OK);
            seen = answer.registered.commits;
        }
        ck_assert_int_eq(verdict(one, "", seen), SHOAL_STORE_SAME);
        ck_assert_int_eq(answer.registered.commits, seen);
    }
}
END_TEST

/* Each time that Redis starts is told apart, ten of them. */
START_TEST(losses_of_several_starts_are_told_apart) {
    struct shoal_store_info store;
    int64_t seen[12];
    play_start(_i);
    test_submit(&fleet, SHOAL_COUNT(seen), NULL, job);
    for (size_t i = 0; i < SHOAL_COUNT(seen); i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        forget_functions();
        seen[i] = sequence();
        test_commit(&fleet, one, &lease, lease.lo, ".", true);
    }
    ck_assert_int_eq(verdict(two, "", seen[4] + 3), SHOAL_STORE_ROLLED_BACK);
    ck_assert_int_eq(verdict(two, "", seen[11] + 7), SHOAL_STORE_ROLLED_BACK);
    ck_assert_int_eq(verdict(two, "", seen[11]), SHOAL_STORE_SAME);
    ck_assert_int_eq(verdict(two, "", seen[0] + 3), SHOAL_STORE_SAME); /* forgotten */
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &store, NULL), SHOAL_OK);
    ck_assert_int_eq(store.rollbacks, 2);
    ck_assert_int_eq(store.commits_lost, 10);
}
END_TEST

START_TEST(another_store_is_told) {
    play_start(_i);
    ck_assert_int_eq(verdict(one, "000000000000", 100), SHOAL_STORE_REPLACED);
    ck_assert_int_eq(verdict(one, "", 0), SHOAL_STORE_SAME);
}
END_TEST

/* ---- heartbeat */

START_TEST(leases_that_are_not_held_go_back) {
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    play_lease(one, "a", 1);
    play_lease(one, "b", 1);
    expect_alive(one, "b", true);
    ck_assert_uint_eq(answer.beaten.n_gone, 0);
    expect_tasks(1, 1, 0, 0, 0);
    struct shoal_lease lease = play_lease(one, "c", 1);
    expect_range(&lease, 0, 1, 1);
}
END_TEST

START_TEST(leases_that_redis_does_not_know_are_told) {
    play_start(_i);
    expect_alive(one, "ghost", true);
    ck_assert_uint_eq(answer.beaten.n_gone, 1);
    ck_assert_str_eq(answer.beaten.gone[0], "ghost");
}
END_TEST

START_TEST(heartbeat_tells_what_must_stop) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    play_lease(one, "a", 1);
    expect_alive(one, "a", true);
    ck_assert_uint_eq(answer.beaten.n_stops, 0);
    for (int kill = 0; kill < 2; kill++) {
        play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, kill == 1, &play_err));
        expect_alive(one, "a", true);
        ck_assert_uint_eq(answer.beaten.n_stops, 1);
        ck_assert_str_eq(answer.beaten.stops[0].job, job);
        ck_assert_int_eq(answer.beaten.stops[0].kill, kill);
    }
}
END_TEST

START_TEST(session_that_was_never_begun_is_over) {
    play_start(_i);
    expect_alive(two, NULL, false);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s", play_key(SHOAL_KEY_SESSION, two)), 0);
}
END_TEST

static void pretend_that_passed(int64_t ms) {
    test_command_int(fleet.redis, "HINCRBY %s wall %lld", play_key(SHOAL_KEY_CLOCK, ""),
                     -(long long)ms);
}

START_TEST(heartbeats_do_the_housekeeping) {
    play_start(_i);
    play_join(two);
    test_submit(&fleet, 1, NULL, job);
    play_lease(two, "a", 1);
    for (int i = 0; i < 4; i++) {
        pretend_that_passed(3000);
        expect_alive(one, NULL, true);
    }
    expect_alive(two, "a", false);
    struct shoal_lease lease = play_lease(one, "a", 1);
    ck_assert_int_eq(lease.attempt, 2);
}
END_TEST

START_TEST(drain_is_told_until_the_worker_ends) {
    play_start(_i);
    play_move(SHOAL_UNKNOWN, shoal_queue_drain(&fleet.queue, two, &play_err));
    expect_alive(one, NULL, true);
    ck_assert(!answer.beaten.drain);
    play_move(SHOAL_OK, shoal_queue_drain(&fleet.queue, one, &play_err));
    expect_message(one, "drain");
    expect_alive(one, NULL, true);
    ck_assert(answer.beaten.drain);
}
END_TEST

START_TEST(session_that_ends_gives_its_tasks_back) {
    play_start(_i);
    play_join(two);
    test_submit(&fleet, 2, NULL, job);
    play_lease(one, "a", 1);
    play_move(SHOAL_OK, shoal_queue_drain(&fleet.queue, one, &play_err));
    test_finish(&fleet, one);
    ck_assert_int_eq(slots(), 1);
    struct shoal_lease lease = play_lease(two, "a", 1);
    expect_range(&lease, 0, 1, 1);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s %s %s", play_key(SHOAL_KEY_SESSION, one),
                         play_key(SHOAL_KEY_LEASES, one), play_key(SHOAL_KEY_INBOX, one)),
        0);
}
END_TEST

/* ---- time */

START_TEST(silent_worker_loses_its_tasks) {
    play_start(_i);
    play_join(two);
    test_submit(&fleet, 1, NULL, job);
    play_lease(one, "a", 10);
    play_silence(two);
    expect_alive(one, "a", false);
    struct shoal_lease lease = play_lease(two, "a", 10);
    ck_assert_int_eq(lease.attempt, 2);
    test_commit(&fleet, two, &lease, 0, ".", true);
    expect_outcomes(".");
}
END_TEST

START_TEST(fleets_clock_does_not_jump) {
    static const int64_t jumps[] = {3600000, -3600000};
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(jumps); i++) {
        int64_t before =
            test_command_int(fleet.redis, "HGET %s now", play_key(SHOAL_KEY_CLOCK, ""));
        int64_t wait = 0;
        pretend_that_passed(jumps[i]);
        play_move(SHOAL_OK, shoal_queue_housekeep(&fleet.queue, &wait, &play_err));
        int64_t after =
            test_command_int(fleet.redis, "HGET %s now", play_key(SHOAL_KEY_CLOCK, ""));
        ck_assert_int_ge(after, before);
        ck_assert_int_le(after, before + 3500);
        expect_alive(one, NULL, true);
    }
}
END_TEST

START_TEST(housekeeping_says_when_there_is_more) {
    int64_t wait = 0;
    play_start(_i);
    play_move(SHOAL_OK, shoal_queue_housekeep(&fleet.queue, &wait, &play_err));
    ck_assert_int_eq(wait, 2000);
    test_submit(&fleet, 1, two_retries, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, 0, "x", true);
    play_move(SHOAL_OK, shoal_queue_housekeep(&fleet.queue, &wait, &play_err));
    ck_assert_int_ge(wait, 50);
    ck_assert_int_le(wait, 1000); /* the first delay is up to a second */
}
END_TEST

/* ---- loss */

START_TEST(lost_range_comes_back_in_halves) {
    struct shoal_lease lease;
    play_start(_i);
    test_submit(&fleet, 20, NULL, job);
    play_warm(job);
    lease = play_lease(one, "a", 5);
    expect_range(&lease, 0, 5, 1);
    test_register(&fleet, two, one, NULL, 0, &answer);
    expect_tasks(20, 0, 0, 0, 0);
    lease = play_lease(two, "a", 5);
    expect_range(&lease, 0, 2, 2);
    lease = play_lease(two, "b", 5);
    expect_range(&lease, 2, 5, 2);
}
END_TEST

START_TEST(tasks_that_were_done_before_the_loss_stay_done) {
    play_start(_i);
    test_submit(&fleet, 20, NULL, job);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 5);
    test_commit(&fleet, one, &lease, 0, "..", false);
    test_register(&fleet, two, one, NULL, 0, &answer);
    expect_tasks(18, 0, 2, 0, 0);
    lease = play_lease(two, "a", 5);
    expect_range(&lease, 2, 3, 2);
}
END_TEST

static void poison_after_two(struct shoal_submission *submission) {
    submission->policy.max_lost = 2;
    submission->policy.retries = 9; /* have nothing to do with it */
}

/* Task 5 of 8 takes its worker with it each time. */
START_TEST(task_that_kills_its_workers_is_found) {
    char session[2][24];
    int64_t attempts = 0;
    play_start(_i);
    test_submit(&fleet, 8, poison_after_two, job);
    play_warm(job);
    snprintf(session[0], sizeof(session[0]), "%s", one);
    for (int i = 1; test_describe(&fleet, job).state == SHOAL_JOB_ACTIVE; i++) {
        ck_assert_int_lt(i, 50);
        struct shoal_lease lease;
        char *now = session[(i - 1) % 2], *next = session[i % 2], outcomes[9] = "";
        snprintf(next, sizeof(session[0]), "worker1%05d", i);
        if (test_lease(&fleet, now, "a", 8, &lease) && (lease.lo > 5 || lease.hi <= 5)) {
            memset(outcomes, '.', (size_t)(lease.hi - lease.lo));
            test_commit(&fleet, now, &lease, lease.lo, outcomes, true);
        }
        if (lease.lo <= 5 && lease.hi > 5)
            attempts = lease.attempt;
        test_register(&fleet, next, now, NULL, 0, &answer);
    }
    expect_state(SHOAL_JOB_FAILED);
    expect_outcomes(".....x..");
    expect_tasks(0, 0, 7, 1, 0);
    ck_assert_int_le(attempts, 5);
}
END_TEST

START_TEST(lost_alone_too_often_is_poison) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *entries = NULL;
    struct shoal_entry_reader reader;
    struct shoal_outcome outcome;
    int64_t index = -1;
    bool more = false;
    play_start(_i);
    test_submit(&fleet, 1, poison_after_two, job);
    play_lease(one, "a", 1);
    test_register(&fleet, two, one, NULL, 0, &answer);
    struct shoal_lease lease = play_lease(two, "a", 1);
    ck_assert_int_eq(lease.attempt, 2);
    test_register(&fleet, three, two, NULL, 0, &answer);
    expect_state(SHOAL_JOB_FAILED);

    ck_assert_int_eq(
        shoal_queue_results(&fleet.queue, job, 0, 0, 10, &entries, &play_err), SHOAL_OK);
    ck_assert_uint_eq(entries->elements, 1);
    const redisReply *entry = entries->element[0];
    ck_assert_int_eq(shoal_entry_begin(&reader, entry->str, entry->len, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_entry_next(&reader, &more, &index, &outcome, NULL), SHOAL_OK);
    ck_assert(more);
    ck_assert_int_eq(index, 0);
    ck_assert_int_eq(outcome.reason, SHOAL_REASON_POISON);
    ck_assert_int_eq(outcome.attempt, 2);
    ck_assert_uint_eq(reader.worker_len, strlen(two));
    ck_assert_int_eq(shoal_entry_next(&reader, &more, &index, &outcome, NULL), SHOAL_OK);
    ck_assert(!more);
}
END_TEST

static struct shoal_lease lease_of(const char *session, const char *name,
                                   const char *id) {
    struct shoal_lease lease = play_lease(session, name, 1);
    ck_assert_str_eq(lease.job, id);
    return lease;
}

/* Two tasks of two jobs go with the same worker; once more, and it would be poison. */
START_TEST(task_that_was_not_lost_alone_runs_alone_next) {
    char other[13], third[13];
    play_start(_i);
    test_submit(&fleet, 1, poison_after_two, job);
    test_submit(&fleet, 1, poison_after_two, other);
    play_lease(one, "a", 1);
    play_lease(one, "b", 1);
    test_register(&fleet, two, one, NULL, 0, &answer);

    struct shoal_lease lease = lease_of(two, "c", job);
    play_no_lease(two, "d"); /* the other would not be alone */
    test_submit(&fleet, 1, NULL, third);
    play_no_lease(two, "d"); /* and this one would be beside it */
    test_commit(&fleet, two, &lease, 0, ".", true);
    expect_state(SHOAL_JOB_SUCCEEDED);

    lease_of(two, "e", other);
    test_register(&fleet, three, two, NULL, 0, &answer);
    ck_assert_int_eq(test_describe(&fleet, other).state, SHOAL_JOB_FAILED);
    lease_of(three, "f", third);
}
END_TEST

/* A worker with other tasks empties itself for it; one that is empty need not wait. */
START_TEST(worker_empties_itself_for_a_task_that_must_run_alone) {
    char busy[13];
    play_start(_i);
    test_submit(&fleet, 1, poison_after_two, job);
    play_lease(one, "a", 1);
    test_submit(&fleet, 9, NULL, busy);
    test_register(&fleet, two, NULL, NULL, 0, &answer);
    struct shoal_lease lease = lease_of(two, "b", busy);
    test_register(&fleet, three, one, NULL, 0, &answer);

    struct shoal_lease next = lease_of(two, "c", busy); /* its turn */
    play_no_lease(two, "d");
    test_commit(&fleet, two, &lease, 0, ".", true);
    play_no_lease(two, "d");
    test_commit(&fleet, two, &next, 1, ".", true);
    lease_of(two, "d", job);
    lease_of(three, "e", busy);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        session_begins_and_may_begin_again,
        dead_predecessor_loses_its_tasks_at_once,
        lease_that_still_stands_is_the_workers,
        lease_whose_key_is_gone_is_the_workers,
        returning_worker_adopts_what_nobody_has_taken,
        heir_of_a_dead_worker_tells_how_its_tasks_ended,
        heir_does_not_take_what_the_dead_had_given_away,
        returning_worker_does_not_take_from_others,
        what_waits_for_a_retry_is_not_adopted,
        lease_of_an_unknown_job_is_nothing,
        leases_that_are_not_told_go_back,
        lease_that_redis_forgot_is_adopted,
        every_worker_learns_that_the_store_was_rolled_back,
        name_that_stood_for_another_range_gives_that_back,
        no_number_of_a_lost_commit_is_given_again,
        who_registers_first_after_a_start_sees_no_leap_later,
        sequence_that_cannot_leap_begins_anew,
        two_starts_from_the_same_moment_give_different_numbers,
        losses_of_several_starts_are_told_apart,
        another_store_is_told,
        leases_that_are_not_held_go_back,
        leases_that_redis_does_not_know_are_told,
        heartbeat_tells_what_must_stop,
        session_that_was_never_begun_is_over,
        heartbeats_do_the_housekeeping,
        drain_is_told_until_the_worker_ends,
        session_that_ends_gives_its_tasks_back,
        silent_worker_loses_its_tasks,
        fleets_clock_does_not_jump,
        housekeeping_says_when_there_is_more,
        lost_range_comes_back_in_halves,
        tasks_that_were_done_before_the_loss_stay_done,
        task_that_kills_its_workers_is_found,
        lost_alone_too_often_is_poison,
        task_that_was_not_lost_alone_runs_alone_next,
        worker_empties_itself_for_a_task_that_must_run_alone,
    };
    return play_main("moves of sessions", tests, SHOAL_COUNT(tests));
}
