#include "tests/support/play.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_fleet fleet;
char job[13];
struct shoal_error play_err;
const char one[] = "worker000001", two[] = "worker000002", three[] = "worker000003",
           four[] = "worker000004";

void play_join(const char *session) {
    struct test_answer answer;
    test_register(&fleet, session, NULL, NULL, 0, &answer);
    ck_assert_int_eq(answer.registered.verdict, SHOAL_STORE_SAME);
}

void play_start(int repeat) {
    test_fleet_start(&fleet, repeat == 1, NULL);
    play_join(one);
}

void play_audit(void) {
    if (!fleet.no_audit)
        test_fleet_audit(&fleet);
}

struct shoal_submission play_usual(int64_t total) {
    struct shoal_submission submission = {
        .spec = "{}", .queue = "q", .owner = "tester@here", .seed = 1, .total = total};
    shoal_id_make(submission.id);
    shoal_job_policy_init(&submission.policy);
    return submission;
}

void play_submit(const struct shoal_submission *submission) {
    play_move(SHOAL_OK, shoal_queue_submit(&fleet.queue, submission, 1, &play_err));
    memcpy(job, submission->id, sizeof(job));
}

struct shoal_lease play_lease(const char *session, const char *name, int64_t most) {
    struct shoal_lease lease;
    ck_assert_msg(test_lease(&fleet, session, name, most, &lease), "no lease %s for %s",
                  name, session);
    ck_assert_str_eq(lease.name, name);
    return lease;
}

void play_no_lease(const char *session, const char *name) {
    struct shoal_lease lease;
    ck_assert_msg(!test_lease(&fleet, session, name, 100, &lease), "a lease %s for %s",
                  name, session);
}

void play_warm(const char *id) {
    test_set_counter(&fleet, id, "ran", "1000000");
    test_set_counter(&fleet, id, "work", "1000000");
}

void play_silence(const char *other) {
    struct test_answer answer;
    for (int i = 0; i < 4; i++) {
        test_pass_time(&fleet, 3000);
        if (other == NULL)
            continue;
        const char *names[] = {"other", NULL}; /* what it holds in these tests */
        test_heartbeat(&fleet, other, names, &answer);
        ck_assert(answer.beaten.alive);
    }
}

struct shoal_lease play_remembered(const char *name, int64_t lo, int64_t hi,
                                   int64_t attempt) {
    struct shoal_lease lease = {.lo = lo, .hi = hi, .attempt = attempt};
    snprintf(lease.name, sizeof(lease.name), "%s", name);
    memcpy(lease.job, job, sizeof(lease.job));
    return lease;
}

void expect_outcomes(const char *expected) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *seen = test_outcomes(&fleet, job);
    ck_assert_str_eq(seen, expected);
}

void expect_state(enum shoal_job_state state) {
    ck_assert_str_eq(shoal_job_state_name(test_describe(&fleet, job).state),
                     shoal_job_state_name(state));
}

void expect_range(const struct shoal_lease *lease, int64_t lo, int64_t hi,
                  int64_t attempt) {
    ck_assert_int_eq(lease->lo, lo);
    ck_assert_int_eq(lease->hi, hi);
    ck_assert_int_eq(lease->attempt, attempt);
}

void expect_tasks(int64_t queued, int64_t leased, int64_t ok, int64_t failed,
                  int64_t cancelled) {
    struct shoal_job now = test_describe(&fleet, job);
    ck_assert_int_eq(now.queued, queued);
    ck_assert_int_eq(now.leased, leased);
    ck_assert_int_eq(now.ok, ok);
    ck_assert_int_eq(now.failed, failed);
    ck_assert_int_eq(now.cancelled, cancelled);
}

void expect_message(const char *session, const char *format, ...) {
    char expected[128];
    va_list args;
    va_start(args, format);
    vsnprintf(expected, sizeof(expected), format, args);
    va_end(args);
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *reply =
        test_command(fleet.redis, "LPOP %s", play_key(SHOAL_KEY_INBOX, session));
    ck_assert_str_eq(reply->type == REDIS_REPLY_STRING ? reply->str : "", expected);
}

const char *play_key(enum shoal_key kind, const char *of) {
    static char keys[8][SHOAL_KEY_MAX];
    static size_t next;
    char *key = keys[next++ % SHOAL_COUNT(keys)];
    shoal_key_make(key, fleet.queue.prefix, kind, of);
    return key;
}

int play_main(const char *name, const TTest *const *tests, size_t n) {
    Suite *suite = suite_create(name);
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, 60);
    for (size_t i = 0; i < n; i++)
        tcase_add_loop_test(cases, tests[i], 0, 2);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
