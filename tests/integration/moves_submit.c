/* The moves that bring tasks: submit, append, close. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/records.h"
#include "tests/support/play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(submitted_job_is_there_once) {
    play_start(_i);
    struct shoal_submission submission = play_usual(3);
    submission.policy = (struct shoal_job_policy){.priority = 7,
                                                  .retries = 2,
                                                  .max_lost = 3,
                                                  .max_fails = 4,
                                                  .max_running = 5,
                                                  .keep_ms = 6000,
                                                  .budget = 7000};
    submission.seed = UINT64_MAX;
    play_submit(&submission);
    ck_assert(test_token(&fleet, "q"));
    submission.total = 99; /* what exists is left as it is */
    play_submit(&submission);

    struct shoal_job now = test_describe(&fleet, job);
    ck_assert_int_eq(now.total, 3);
    ck_assert_int_eq(now.queued, 3);
    ck_assert_str_eq(now.queue, "q");
    ck_assert_str_eq(now.owner, "tester@here");
    ck_assert(now.seed == UINT64_MAX);
    ck_assert_int_eq(now.policy.priority, 7);
    ck_assert_int_eq(now.policy.max_lost, 3);
    ck_assert_int_eq(now.policy.budget, 7000);
    ck_assert_int_gt(now.created_ms, 0);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "ZCARD %s", play_key(SHOAL_KEY_JOBS, "")), 1);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "HGET %s jobs", play_key(SHOAL_KEY_QUEUE, "q")), 1);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "LLEN %s", play_key(SHOAL_KEY_READY, "q:7")), 1);

    char *spec = NULL;
    size_t len = 0;
    ck_assert_int_eq(shoal_queue_spec(&fleet.queue, now.spec, &spec, &len, NULL),
                     SHOAL_OK);
    ck_assert_str_eq(spec, "{}");
    free(spec);
}
END_TEST

/* What lib.lua takes for the usual policy and queue is what C does. */
START_TEST(what_is_usual_is_not_stored) {
    play_start(_i);
    struct shoal_submission submission = play_usual(1);
    shoal_job_policy_init(&submission.policy);
    submission.queue = "default";
    play_submit(&submission);
    const char *key = play_key(SHOAL_KEY_JOB, job);
    ck_assert_int_eq(test_command_int(fleet.redis, "HEXISTS %s policy", key), 0);
    ck_assert_int_eq(test_command_int(fleet.redis, "HEXISTS %s queue", key), 0);
    struct shoal_job now = test_describe(&fleet, job);
    const struct shoal_job_policy *usual = &submission.policy;
    ck_assert_str_eq(now.queue, "default");
    ck_assert_int_eq(now.policy.priority, usual->priority);
    ck_assert_int_eq(now.policy.retries, usual->retries);
    ck_assert_int_eq(now.policy.max_lost, usual->max_lost);
    ck_assert_int_eq(now.policy.max_fails, usual->max_fails);
    ck_assert_int_eq(now.policy.max_running, usual->max_running);
    ck_assert_int_eq(now.policy.keep_ms, usual->keep_ms);
    ck_assert_int_eq(now.policy.budget, usual->budget);
    ck_assert(test_token(&fleet, "default"));
}
END_TEST

START_TEST(jobs_of_one_call_keep_their_order_and_share_their_spec) {
    enum { JOBS = 40 };
    struct shoal_submission jobs[JOBS];
    play_start(_i);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = play_usual(1);
        jobs[i].spec = i < JOBS / 2 ? "{\"first\":1}" : "{\"second\":2}";
    }
    play_move(SHOAL_OK, shoal_queue_submit(&fleet.queue, jobs, JOBS, &play_err));
    ck_assert_int_eq(
        test_command_int(fleet.redis, "HLEN %s", play_key(SHOAL_KEY_SPECS, "")), 2);
    for (int i = 0; i < JOBS; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%d", i);
        struct shoal_lease lease = play_lease(one, name, 1);
        ck_assert_str_eq(lease.job, jobs[i].id);
        test_commit(&fleet, one, &lease, 0, ".", true);
    }
    play_no_lease(one, "no");
}
END_TEST

static int64_t ready(const char *queue_and_priority) {
    return test_command_int(fleet.redis, "LLEN %s",
                            play_key(SHOAL_KEY_READY, queue_and_priority));
}

static int64_t jobs_of(const char *queue) {
    return test_command_int(fleet.redis, "HGET %s jobs",
                            play_key(SHOAL_KEY_QUEUE, queue));
}

START_TEST(full_call_adds_what_is_not_there) {
    enum { KNOWN = SHOAL_SUBMIT_MAX / 2 };
    static struct shoal_submission jobs[SHOAL_SUBMIT_MAX];
    play_start(_i);
    for (int i = 0; i < SHOAL_SUBMIT_MAX; i++)
        jobs[i] = play_usual(1);
    play_move(SHOAL_OK,
              shoal_queue_submit(&fleet.queue, jobs, SHOAL_SUBMIT_MAX, &play_err));
    ck_assert_int_eq(ready("q:5"), SHOAL_SUBMIT_MAX);
    for (int i = 0; i < SHOAL_SUBMIT_MAX; i++) {
        if (i % 2 == 0)
            jobs[i] = play_usual(1);
        jobs[i].total = 2;
    }
    play_move(SHOAL_OK,
              shoal_queue_submit(&fleet.queue, jobs, SHOAL_SUBMIT_MAX, &play_err));
    ck_assert_int_eq(ready("q:5"), SHOAL_SUBMIT_MAX + KNOWN);
    ck_assert_int_eq(jobs_of("q"), SHOAL_SUBMIT_MAX + KNOWN);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "ZCARD %s", play_key(SHOAL_KEY_JOBS, "")),
        SHOAL_SUBMIT_MAX + KNOWN);
    for (int i = 0; i < SHOAL_SUBMIT_MAX; i++)
        ck_assert_int_eq(test_describe(&fleet, jobs[i].id).total, i % 2 == 0 ? 2 : 1);
}
END_TEST

START_TEST(spec_that_no_job_uses_is_not_kept) {
    play_start(_i);
    struct shoal_submission submission = play_usual(1);
    play_submit(&submission);
    submission.spec = "{\"another\": 1}"; /* of a job that is there already */
    play_submit(&submission);
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *specs =
        test_command(fleet.redis, "KEYS %s*", play_key(SHOAL_KEY_SPEC, ""));
    ck_assert_uint_eq(specs->elements, 1);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "HLEN %s", play_key(SHOAL_KEY_SPECS, "")), 1);
}
END_TEST

START_TEST(jobs_of_one_call_may_be_of_all_kinds) {
    struct shoal_submission jobs[9];
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(jobs); i++) {
        jobs[i] = play_usual(1);
        jobs[i].spec = i % 2 == 0 ? "{\"first\":1}" : "{\"second\":2}";
    }
    jobs[1].queue = "r";
    jobs[2].policy.priority = 9;
    jobs[3].start_ms = shoal_wall_ms() + 3600000;
    jobs[4].total = 0;
    jobs[5].open = jobs[5].has_arguments = true;
    jobs[5].total = 0;
    jobs[6].open = jobs[6].whole = true;
    jobs[7].name = jobs[8].name = "night";
    play_move(SHOAL_OK,
              shoal_queue_submit(&fleet.queue, jobs, SHOAL_COUNT(jobs), &play_err));
    static const enum shoal_job_state states[] = {
        SHOAL_JOB_ACTIVE,  SHOAL_JOB_ACTIVE,    SHOAL_JOB_ACTIVE,
        SHOAL_JOB_WAITING, SHOAL_JOB_SUCCEEDED, SHOAL_JOB_ACTIVE,
        SHOAL_JOB_WAITING, SHOAL_JOB_ACTIVE,    SHOAL_JOB_ACTIVE};
    for (size_t i = 0; i < SHOAL_COUNT(jobs); i++) {
        memcpy(job, jobs[i].id, sizeof(job));
        expect_state(states[i]);
    }
    ck_assert_int_eq(ready("q:5"), 3); /* the first and the two last */
    ck_assert_int_eq(ready("q:9"), 1);
    ck_assert_int_eq(ready("r:5"), 1);
    ck_assert_int_eq(jobs_of("q"), 8);
    ck_assert_int_eq(jobs_of("r"), 1);
    ck_assert(test_token(&fleet, "q") && test_token(&fleet, "r"));
    redisReply *named =
        test_command(fleet.redis, "HGET %s night", play_key(SHOAL_KEY_NAMES, ""));
    ck_assert_str_eq(named->str, jobs[8].id);
    freeReplyObject(named);
}
END_TEST

START_TEST(job_waits_for_its_start) {
    play_start(_i);
    struct shoal_submission submission = play_usual(1);
    submission.start_ms = shoal_wall_ms() + 3600000;
    play_submit(&submission);
    test_pass_time(&fleet, 3000);
    expect_state(SHOAL_JOB_WAITING);
    ck_assert(!test_token(&fleet, "q"));
    play_no_lease(one, "no");
    test_command_int(fleet.redis, "ZADD %s XX 1 s:%s", play_key(SHOAL_KEY_DATES, ""),
                     job);
    test_pass_time(&fleet, 1000);
    expect_state(SHOAL_JOB_ACTIVE);
    ck_assert(test_token(&fleet, "q"));
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_state(SHOAL_JOB_SUCCEEDED);
}
END_TEST

START_TEST(start_in_the_past_is_now) {
    play_start(_i);
    struct shoal_submission submission = play_usual(1);
    submission.start_ms = shoal_wall_ms() - 1000;
    play_submit(&submission);
    expect_state(SHOAL_JOB_ACTIVE);
}
END_TEST

START_TEST(job_without_tasks_succeeds_at_once) {
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    play_submit(&submission);
    expect_state(SHOAL_JOB_SUCCEEDED);
    ck_assert(!test_token(&fleet, "q"));
}
END_TEST

static void expect_named(const char *name, const char *id) {
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *reply =
        test_command(fleet.redis, "HGET %s %s", play_key(SHOAL_KEY_NAMES, ""), name);
    ck_assert_str_eq(reply->type == REDIS_REPLY_STRING ? reply->str : "", id);
}

START_TEST(name_is_that_of_the_newest_job) {
    play_start(_i);
    struct shoal_submission older = play_usual(0), newer = play_usual(0);
    older.name = newer.name = "sweep";
    play_submit(&older);
    expect_named("sweep", older.id);
    play_submit(&newer);
    expect_named("sweep", newer.id);
    play_submit(&older);
    expect_named("sweep", newer.id);
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, older.id, false, NULL), SHOAL_OK);
    expect_named("sweep", newer.id);
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, newer.id, false, NULL), SHOAL_OK);
    expect_named("sweep", "");
}
END_TEST

/* ---- open jobs */

/* Arguments "<index>:a" of [first, first + n). */
static void pack_arguments(struct shoal_buffer *pack, int64_t first, int64_t n) {
    shoal_buffer_init(pack, 1 << 20);
    shoal_record_array(pack, (size_t)n);
    for (int64_t i = first; i < first + n; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%" PRId64 ":a", i);
        shoal_record_text(pack, text);
    }
}

static enum shoal_status append(int64_t first, int64_t n) {
    struct shoal_buffer pack;
    pack_arguments(&pack, first, n);
    enum shoal_status status = shoal_queue_append(
        &fleet.queue, job, first, n, shoal_buffer_text(&pack), pack.len, &play_err);
    shoal_buffer_finish(&pack);
    return status;
}

static void submit_open(bool has_arguments) {
    struct shoal_submission submission = play_usual(0);
    submission.open = true;
    submission.has_arguments = has_arguments;
    play_submit(&submission);
}

static void expect_argument(int64_t index) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *argument = NULL;
    size_t len = 0;
    char expected[32];
    snprintf(expected, sizeof(expected), "%" PRId64 ":a", index);
    enum shoal_status status =
        shoal_queue_argument(&fleet.queue, job, index, &argument, &len, &play_err);
    ck_assert_msg(status == SHOAL_OK, "%s", play_err.text);
    ck_assert_str_eq(argument, expected);
}

START_TEST(appended_arguments_are_found_again) {
    play_start(_i);
    submit_open(true);
    expect_state(SHOAL_JOB_ACTIVE); /* it waits for more */
    ck_assert(!test_token(&fleet, "q"));
    play_move(SHOAL_OK, append(0, 1));
    ck_assert(test_token(&fleet, "q"));
    play_move(SHOAL_OK, append(1, 300));
    play_move(SHOAL_OK, append(301, 2));
    ck_assert_int_eq(test_describe(&fleet, job).total, 303);
    for (int64_t i = 0; i < 303; i++)
        expect_argument(i);
    char *argument = NULL;
    size_t len = 0;
    ck_assert_int_eq(
        shoal_queue_argument(&fleet.queue, job, 303, &argument, &len, &play_err),
        SHOAL_UNKNOWN);
}
END_TEST

START_TEST(append_skips_what_is_there_and_refuses_a_gap) {
    play_start(_i);
    submit_open(true);
    play_move(SHOAL_OK, append(0, 5));
    play_move(SHOAL_REFUSED, append(6, 1));
    ck_assert_ptr_nonnull(strstr(play_err.text, "5"));
    play_move(SHOAL_OK, append(0, 5));
    play_move(SHOAL_OK, append(3, 2));
    play_move(SHOAL_OK, append(5, 0));
    ck_assert_int_eq(test_describe(&fleet, job).total, 5);
    play_move(SHOAL_OK, append(5, 1));
    ck_assert_int_eq(
        test_command_int(fleet.redis, "XLEN %s", play_key(SHOAL_KEY_ARGS, job)), 2);
    expect_tasks(6, 0, 0, 0, 0);
}
END_TEST

START_TEST(closed_job_takes_no_more_and_ends) {
    play_start(_i);
    submit_open(true);
    play_move(SHOAL_OK, append(0, 1));
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_state(SHOAL_JOB_ACTIVE);
    play_move(SHOAL_OK, shoal_queue_close(&fleet.queue, job, &play_err));
    expect_state(SHOAL_JOB_SUCCEEDED);
    play_move(SHOAL_REFUSED, append(1, 1));
    play_move(SHOAL_OK, append(0, 1)); /* the answer to an earlier one was lost */
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s", play_key(SHOAL_KEY_DUE, "")), 0);
}
END_TEST

START_TEST(closed_job_ends_with_its_last_task) {
    play_start(_i);
    submit_open(false);
    play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, 0, 2, "", 0, &play_err));
    play_move(SHOAL_OK, shoal_queue_close(&fleet.queue, job, &play_err));
    expect_state(SHOAL_JOB_ACTIVE);
    for (int64_t i = 0; i < 2; i++) {
        struct shoal_lease lease = play_lease(one, i == 0 ? "a" : "b", 1);
        test_commit(&fleet, one, &lease, i, ".", true);
    }
    expect_state(SHOAL_JOB_SUCCEEDED);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "EXISTS %s", play_key(SHOAL_KEY_ARGS, job)), 0);
}
END_TEST

static void pass_minutes(int minutes) {
    test_command_int(fleet.redis, "HINCRBY %s now %d", play_key(SHOAL_KEY_CLOCK, ""),
                     minutes * 60000);
    test_pass_time(&fleet, 1000);
}

/* For an hour after an append, be it of nothing. */
START_TEST(job_stays_open_while_somebody_appends) {
    static const int64_t lengths[] = {2, 0, 2};
    play_start(_i);
    submit_open(true);
    for (size_t i = 0; i < SHOAL_COUNT(lengths); i++) {
        play_move(SHOAL_OK, append(test_describe(&fleet, job).total, lengths[i]));
        pass_minutes(59);
        ck_assert(test_describe(&fleet, job).open);
    }
    ck_assert_int_ge(test_describe(&fleet, job).total, 4);
    pass_minutes(2);
    ck_assert(!test_describe(&fleet, job).open);
}
END_TEST

static void submit_whole(int64_t start_ms) {
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.whole = true;
    submission.start_ms = start_ms;
    play_submit(&submission);
    play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, 0, 3, NULL, 0, &play_err));
}

START_TEST(whole_job_begins_when_it_is_closed) {
    play_start(_i);
    submit_whole(0);
    expect_state(SHOAL_JOB_WAITING);
    play_no_lease(one, "a");
    play_move(SHOAL_OK, shoal_queue_close(&fleet.queue, job, &play_err));
    expect_state(SHOAL_JOB_ACTIVE);
    for (int i = 0; i < 3; i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, i, ".", true);
    }
    expect_state(SHOAL_JOB_SUCCEEDED);
}
END_TEST

START_TEST(whole_job_waits_for_its_time_too) {
    play_start(_i);
    submit_whole(INT64_C(4000000000000));
    play_move(SHOAL_OK, shoal_queue_close(&fleet.queue, job, &play_err));
    expect_state(SHOAL_JOB_WAITING);
    test_command_int(fleet.redis, "ZADD %s 1 s:%s", play_key(SHOAL_KEY_DATES, ""), job);
    test_pass_time(&fleet, 1000);
    expect_state(SHOAL_JOB_ACTIVE);
    play_lease(one, "a", 1);
}
END_TEST

START_TEST(whole_job_that_was_never_closed_is_cancelled) {
    play_start(_i);
    submit_whole(0);
    test_command_int(fleet.redis, "ZADD %s 1 o:%s", play_key(SHOAL_KEY_DUE, ""), job);
    test_pass_time(&fleet, 1000);
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 0, 0, 3);
}
END_TEST

START_TEST(job_that_is_cancelled_before_its_first_task_has_not_succeeded) {
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.whole = true;
    play_submit(&submission);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    expect_state(SHOAL_JOB_CANCELLED);
}
END_TEST

START_TEST(open_job_left_alone_for_an_hour_closes) {
    play_start(_i);
    submit_open(false);
    pass_minutes(50);
    play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, 0, 1, "", 0, &play_err));
    pass_minutes(50);
    ck_assert(test_describe(&fleet, job).open);
    pass_minutes(12);
    ck_assert(!test_describe(&fleet, job).open);
    expect_state(SHOAL_JOB_ACTIVE); /* it has a task still */
}
END_TEST

START_TEST(what_is_not_there_is_unknown) {
    play_start(_i);
    memcpy(job, "000000000000", sizeof(job));
    play_move(SHOAL_UNKNOWN, append(0, 1));
    play_move(SHOAL_UNKNOWN, shoal_queue_close(&fleet.queue, job, &play_err));
    ck_assert_ptr_nonnull(strstr(play_err.text, job));
}
END_TEST

/* ---- 2^53 tasks */

#define HUGE_TOTAL (INT64_C(1) << 53)

/* Lua writes large numbers as 1e+15 where nobody tells it not to. */
static void expect_plain_numbers(void) {
    static const char script[] =
        "local function look(v) if type(v) == 'table' then for _, x in ipairs(v) do "
        "look(x) end "
        "elseif tostring(v):find('e%+1') then error('a number is written ' .. v) end "
        "end "
        "local read = {hash = {'HGETALL'}, list = {'LRANGE', 0, -1}, "
        "zset = {'ZRANGE', 0, -1}, set = {'SMEMBERS'}, string = {'GET'}} "
        "for _, key in ipairs(redis.call('KEYS', '*')) do "
        "local r = read[redis.call('TYPE', key).ok] "
        "look(redis.call(r[1], key, unpack(r, 2))) end return 1";
    ck_assert_int_eq(test_command_int(fleet.redis, "EVAL %s 0", script), 1);
}

START_TEST(sweep_of_2_to_the_53_tasks_is_conserved) {
    play_start(_i);
    struct shoal_submission submission = play_usual(HUGE_TOTAL);
    play_submit(&submission);
    struct shoal_lease lease = play_lease(one, "a", 10);
    test_commit(&fleet, one, &lease, 0, ".", true);
    play_warm(job);
    lease = play_lease(one, "b", HUGE_TOTAL);
    expect_range(&lease, 1, 250001, 1);
    test_give_back(&fleet, one, &lease, 1);
    expect_plain_numbers();

    /* its last task, which Redis has forgotten to have handed out */
    lease = play_remembered("c", HUGE_TOTAL - 1, HUGE_TOTAL, 1);
    test_commit(&fleet, one, &lease, lease.lo, ".", true);
    expect_tasks(HUGE_TOTAL - 2, 0, 2, 0, 0);
    lease = play_lease(one, "d", 10);
    ck_assert_int_eq(lease.lo, 1);
    expect_plain_numbers();

    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    expect_tasks(0, 10, 2, 0, HUGE_TOTAL - 12);
    test_commit(&fleet, one, &lease, 1, ".", true);
    expect_state(SHOAL_JOB_CANCELLED);
    expect_tasks(0, 0, 3, 0, HUGE_TOTAL - 3);
    expect_plain_numbers();

    int64_t tasks = 0;
    char token[13];
    shoal_id_make(token);
    play_move(SHOAL_OK,
              shoal_queue_retry(&fleet.queue, job, true, token, &tasks, &play_err));
    ck_assert_int_eq(tasks, HUGE_TOTAL - 3);
    lease = play_lease(one, "e", 10);
    expect_range(&lease, 2, 11, 1); /* it was given back before it started */
    lease = play_lease(one, "f", 10);
    expect_range(&lease, 11, 21, 1);
    expect_plain_numbers();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        submitted_job_is_there_once,
        what_is_usual_is_not_stored,
        jobs_of_one_call_keep_their_order_and_share_their_spec,
        full_call_adds_what_is_not_there,
        spec_that_no_job_uses_is_not_kept,
        jobs_of_one_call_may_be_of_all_kinds,
        job_waits_for_its_start,
        start_in_the_past_is_now,
        job_without_tasks_succeeds_at_once,
        name_is_that_of_the_newest_job,
        appended_arguments_are_found_again,
        append_skips_what_is_there_and_refuses_a_gap,
        job_stays_open_while_somebody_appends,
        closed_job_takes_no_more_and_ends,
        closed_job_ends_with_its_last_task,
        whole_job_begins_when_it_is_closed,
        whole_job_waits_for_its_time_too,
        whole_job_that_was_never_closed_is_cancelled,
        job_that_is_cancelled_before_its_first_task_has_not_succeeded,
        open_job_left_alone_for_an_hour_closes,
        what_is_not_there_is_unknown,
        sweep_of_2_to_the_53_tasks_is_conserved,
    };
    return play_main("moves that bring tasks", tests, SHOAL_COUNT(tests));
}
