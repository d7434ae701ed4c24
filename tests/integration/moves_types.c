/* Keys of another type, as single moves meet them: nothing else is lost, and it is said
 * what is wrong. */
#include "common/cleanup.h"
#include "tests/support/play.h"

#include <stdio.h>
#include <string.h>

static void delete_key(enum shoal_key kind, const char *of) {
    freeReplyObject(test_command(fleet.redis, "DEL %s", play_key(kind, of)));
}

static void spoil_key(enum shoal_key kind, const char *of) {
    delete_key(kind, of);
    freeReplyObject(test_command(fleet.redis, "SET %s nonsense", play_key(kind, of)));
}

/* ---- what a move has in hand when it fails */

static const char *const queues[] = {"q", NULL};

/* Many short jobs go out at once; what leads to one of them is spoilt. The others were
 * taken out of their list with it. */
START_TEST(jobs_that_were_to_go_out_beside_a_bad_one_do) {
    enum { JOBS = 16 };
    char ids[JOBS][13];
    int given[JOBS] = {0};
    play_start(_i);
    for (int i = 0; i < JOBS; i++)
        test_submit(&fleet, 1, NULL, ids[i]);
    fleet.no_audit = true;
    spoil_key(SHOAL_KEY_OPEN, ids[3]);
    struct shoal_wish wish = {.count = 8, .most = 1, .guess_us = 1};
    const struct shoal_advance request = {
        .session = one, .worker = one, .queues = queues, .wishes = &wish, .n_wishes = 1};
    struct test_answer answer;
    size_t rounds = 0;
    do {
        snprintf(wish.lease, sizeof(wish.lease), "r%zu", rounds++);
        test_advance(&fleet, &request, &answer);
        for (size_t i = 0; i < answer.advanced.n_grants; i++) {
            for (int of = 0; of < JOBS; of++)
                given[of] += strcmp(answer.grants[i].lease.job, ids[of]) == 0;
        }
    } while (answer.advanced.n_grants > 0 && rounds < 2 * JOBS);
    ck_assert_uint_lt(rounds, JOBS); /* several at a time */
    for (int i = 0; i < JOBS; i++)
        ck_assert_msg(given[i] == (i != 3), "job %d was given %d times", i, given[i]);
    memcpy(job, ids[3], sizeof(job));
    expect_state(SHOAL_JOB_FAILED);
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, job, true, NULL), SHOAL_OK);
    test_fleet_audit(&fleet);
}
END_TEST

static int64_t sequence(void) {
    return test_command_int(fleet.redis, "HGET %s seq", play_key(SHOAL_KEY_EPOCH, ""));
}

/* The first of two commits stands though the second cannot: it counts, too, so that its
 * loss would be found. */
START_TEST(commit_before_one_that_fails_is_counted) {
    enum { N = 2 };
    struct shoal_commit commits[N];
    const struct shoal_commit *both[N];
    char ids[N][13];
    const struct shoal_outcome outcome = {.attempt = 1, .result = "1", .result_len = 1};
    play_start(_i);
    for (int i = 0; i < N; i++) {
        test_submit(&fleet, 1 + i, NULL, ids[i]);
        struct shoal_lease lease = play_lease(one, i == 0 ? "a" : "b", 1);
        ck_assert_str_eq(lease.job, ids[i]);
        shoal_commit_init(&commits[i], lease.job, lease.name, 0);
        shoal_commit_add(&commits[i], &outcome, one, "", 0);
        commits[i].over = true;
        both[i] = &commits[i];
    }
    fleet.no_audit = true;
    spoil_key(SHOAL_KEY_RESULTS, ids[1]);
    int64_t before = sequence();
    const struct shoal_advance request = {
        .session = one, .worker = one, .commits = both, .n_commits = N, .queues = queues};
    struct test_answer answer;
    test_advance(&fleet, &request, &answer);
    ck_assert_int_gt(sequence(), before);
    for (int i = 0; i < N; i++) {
        shoal_commit_finish(&commits[i]);
        memcpy(job, ids[i], sizeof(job));
        expect_state(i == 0 ? SHOAL_JOB_SUCCEEDED : SHOAL_JOB_FAILED);
    }
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, job, true, NULL), SHOAL_OK);
    test_fleet_audit(&fleet);
}
END_TEST

/* It has not succeeded, though nothing is left to do. */
START_TEST(result_that_has_no_place_is_no_success) {
    const struct shoal_outcome outcome = {.attempt = 1, .result = "1", .result_len = 1};
    struct shoal_commit commit;
    const struct shoal_commit *commits[] = {&commit};
    struct test_answer answer;
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    shoal_commit_init(&commit, lease.job, lease.name, 0);
    shoal_commit_add(&commit, &outcome, one, "", 0);
    commit.over = true;
    fleet.no_audit = true;
    spoil_key(SHOAL_KEY_RESULTS, job);
    const struct shoal_advance request = {.session = one,
                                          .worker = one,
                                          .commits = commits,
                                          .n_commits = 1,
                                          .queues = queues};
    test_advance(&fleet, &request, &answer);
    shoal_commit_finish(&commit);
    expect_state(SHOAL_JOB_FAILED);
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, job, true, NULL), SHOAL_OK);
    test_fleet_audit(&fleet);
}
END_TEST

/* ---- what is told */

static void expect_refusal(const char *part) {
    play_move(SHOAL_REFUSED, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    ck_assert_msg(strstr(play_err.text, part) != NULL &&
                      strstr(play_err.text, "'shoal forget --force ") != NULL &&
                      strstr(play_err.text, job) != NULL,
                  "it says: %s", play_err.text);
}

START_TEST(who_waits_hears_of_a_job_that_is_set_aside) {
    play_start(_i);
    struct shoal_submission submission = play_usual(3);
    submission.waiter = four;
    play_submit(&submission);
    fleet.no_audit = true;
    spoil_key(SHOAL_KEY_OPEN, job);
    play_no_lease(one, "a");
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *letter =
        test_command_text(fleet.redis, "LPOP %s", play_key(SHOAL_KEY_MAIL, four));
    ck_assert_ptr_nonnull(letter);
    ck_assert_msg(strncmp(letter, job, strlen(job)) == 0 &&
                      strstr(letter, " failed:") != NULL,
                  "it is told: %s", letter);
    expect_refusal("was set aside: the key ");
    const char *key = play_key(SHOAL_KEY_JOB, job);
    freeReplyObject(test_command(fleet.redis, "HDEL %s damage", key));
    expect_refusal("it was damaged");
}
END_TEST

START_TEST(what_is_no_job_is_called_so) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    fleet.no_audit = true;
    spoil_key(SHOAL_KEY_JOB, job);
    expect_refusal("has type string, not hash");
    delete_key(SHOAL_KEY_JOB, job);
    const char *key = play_key(SHOAL_KEY_JOB, job);
    freeReplyObject(test_command(fleet.redis, "HSET %s some thing", key));
    expect_refusal("is no job");
}
END_TEST

START_TEST(failures_that_are_not_known_any_more_cannot_be_retried) {
    int64_t n = 0;
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, 0, "x", true);
    fleet.no_audit = true;
    delete_key(SHOAL_KEY_FAILED, job);
    play_move(SHOAL_REFUSED,
              shoal_queue_retry(&fleet.queue, job, true, job, &n, &play_err));
    ck_assert_ptr_nonnull(strstr(play_err.text, "not known any more"));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        jobs_that_were_to_go_out_beside_a_bad_one_do,
        commit_before_one_that_fails_is_counted,
        result_that_has_no_place_is_no_success,
        who_waits_hears_of_a_job_that_is_set_aside,
        what_is_no_job_is_called_so,
        failures_that_are_not_known_any_more_cannot_be_retried,
    };
    return play_main("moves of keys of another type", tests, SHOAL_COUNT(tests));
}
