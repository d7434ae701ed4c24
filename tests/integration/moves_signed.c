/* Moves of who signs, on a real Redis: what is stored, handed out, and taken away. */
#include "broker/warrant.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/scratch.h"
#include "tests/support/play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char root[64];
static struct shoal_signer *signer;

enum { HOUR_MS = 3600000 };

static void start(int repeat) {
    char path[128];
    play_start(repeat);
    snprintf(root, sizeof(root), "/tmp/shoal-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/key", root);
    ck_assert_int_eq(shoal_signer_create(path, "me", &signer, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_queue_sign_with(&fleet.queue, signer, HOUR_MS, NULL),
                     SHOAL_OK);
}

static void finish(void) {
    shoal_signer_destroy(signer);
    shoal_scratch_remove_tree(root);
    test_fleet_finish(&fleet);
}

/* How many jobs share it; 0: it is not there, and neither is its text. */
static int64_t users_of(const char *digest) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *count = NULL;
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    size_t len = 0;
    int64_t n = 0;
    count =
        test_command(fleet.redis, "HGET %s %s", play_key(SHOAL_KEY_WARRANTS, ""), digest);
    if (!shoal_reply_int(count, &n))
        n = 0;
    ck_assert_int_eq(shoal_queue_warrant(&fleet.queue, digest, &text, &len, NULL),
                     n > 0 ? SHOAL_OK : SHOAL_UNKNOWN);
    return n;
}

static void expect_signed(const char *id, const char *store) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    struct shoal_warrant warrant = {.n_jobs = 0};
    size_t len = 0;
    struct shoal_job now = test_describe(&fleet, id);
    ck_assert_int_eq(shoal_queue_warrant(&fleet.queue, now.warrant, &text, &len, NULL),
                     SHOAL_OK);
    ck_assert(shoal_seal_holds(text, text + SHOAL_SEAL_BYTES, len - SHOAL_SEAL_BYTES));
    ck_assert_int_eq(shoal_warrant_read(text, len, &warrant, NULL), SHOAL_OK);
    ck_assert_str_eq(warrant.store, store);
    ck_assert_str_eq(warrant.name_space, "test");
    ck_assert_ptr_nonnull(shoal_warrant_find(&warrant, id));
    shoal_warrant_finish(&warrant);
}

static void read_store(char *id) {
    struct shoal_store_info store;
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &store, NULL), SHOAL_OK);
    memcpy(id, store.id, sizeof(store.id));
}

START_TEST(jobs_of_a_call_share_a_warrant_that_goes_with_the_last) {
    struct shoal_submission jobs[3];
    char store[13];
    start(_i);
    for (size_t i = 0; i < 3; i++)
        jobs[i] = play_usual(0); /* they end at once */
    play_move(SHOAL_OK, shoal_queue_submit(&fleet.queue, jobs, 3, &play_err));
    read_store(store);
    struct shoal_job first = test_describe(&fleet, jobs[0].id);
    ck_assert_str_ne(first.warrant, "");
    ck_assert_int_eq(users_of(first.warrant), 3);
    for (size_t i = 0; i < 3; i++) {
        expect_signed(jobs[i].id, store);
        ck_assert_int_eq(shoal_queue_forget(&fleet.queue, jobs[i].id, false, NULL),
                         SHOAL_OK);
        ck_assert_int_eq(users_of(first.warrant), 2 - (int64_t)i);
    }
    finish();
}
END_TEST

/* A repeated call signs at another time: nothing is left of what it made in vain. */
START_TEST(jobs_that_exist_keep_their_warrant) {
    struct shoal_submission jobs[2] = {play_usual(1), play_usual(1)};
    start(0);
    ck_assert_int_eq(shoal_queue_submit(&fleet.queue, jobs, 1, NULL), SHOAL_OK);
    struct shoal_job first = test_describe(&fleet, jobs[0].id);
    fleet.queue.valid_ms = 2 * HOUR_MS;
    ck_assert_int_eq(shoal_queue_submit(&fleet.queue, jobs, 1, NULL), SHOAL_OK);
    ck_assert_str_eq(test_describe(&fleet, jobs[0].id).warrant, first.warrant);
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *all = test_command(fleet.redis, "KEYS *:warrant:*");
    ck_assert_uint_eq(all->elements, 1);
    ck_assert_int_eq(shoal_queue_submit(&fleet.queue, jobs, 2, NULL), SHOAL_OK);
    ck_assert_int_eq(users_of(first.warrant), 1);
    ck_assert_int_eq(users_of(test_describe(&fleet, jobs[1].id).warrant), 1);
    finish();
}
END_TEST

START_TEST(unsigned_jobs_have_no_warrant) {
    start(_i);
    fleet.queue.signer = NULL;
    struct shoal_submission submission = play_usual(1);
    play_submit(&submission);
    ck_assert_str_eq(test_describe(&fleet, job).warrant, "");
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *all = test_command(fleet.redis, "KEYS *:warrant*");
    ck_assert_uint_eq(all->elements, 0);
    finish();
}
END_TEST

START_TEST(jobs_are_signed_anew_for_a_store_that_took_the_place) {
    char store[13];
    start(_i);
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *set = test_command(fleet.redis, "HSET %s id 0ther0ther00",
                                   play_key(SHOAL_KEY_EPOCH, ""));
    ck_assert_int_eq(set->type, REDIS_REPLY_INTEGER);
    struct shoal_submission submission = play_usual(1);
    play_submit(&submission);
    read_store(store);
    ck_assert_str_eq(store, "0ther0ther00");
    expect_signed(job, store);
    finish();
}
END_TEST

START_TEST(empty_store_gets_the_id_that_its_first_jobs_are_signed_for) {
    char store[13];
    start(_i);
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *flushed = test_command(fleet.redis, "FLUSHALL");
    ck_assert_int_eq(flushed->type, REDIS_REPLY_STATUS);
    fleet.no_audit = true;
    ck_assert_int_eq(shoal_queue_sign_with(&fleet.queue, signer, HOUR_MS, NULL),
                     SHOAL_OK);
    struct shoal_submission submission = play_usual(1);
    play_submit(&submission);
    read_store(store);
    ck_assert_str_eq(store, fleet.queue.store);
    expect_signed(job, store);
    finish();
}
END_TEST

static void lease_once(struct test_answer *answer) {
    static const char *const queues[] = {"q", NULL};
    static const struct shoal_wish wish = {.lease = "l", .count = 1, .most = 1};
    const struct shoal_advance request = {
        .session = one, .worker = "w", .queues = queues, .wishes = &wish, .n_wishes = 1};
    test_advance(&fleet, &request, answer);
    ck_assert_uint_eq(answer->advanced.n_grants, 1);
}

START_TEST(lease_of_a_signed_job_says_whose_it_is) {
    static struct test_answer answer;
    start(_i);
    struct shoal_submission submission = play_usual(3);
    play_submit(&submission);
    lease_once(&answer);
    ck_assert_str_eq(answer.grants[0].warrant, test_describe(&fleet, job).warrant);
    ck_assert_ptr_null(answer.grants[0].pack);
    finish();
}
END_TEST

START_TEST(signed_arguments_are_kept_with_their_seal) {
    static const char pack[] = "*2\r\n$1\r\na\r\n$1\r\nb\r\n";
    start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.has_arguments = true;
    play_submit(&submission);
    play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, 0, 2, pack,
                                           sizeof(pack) - 1, &play_err));
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *entries =
        test_command(fleet.redis, "XRANGE %s - +", play_key(SHOAL_KEY_ARGS, job));
    ck_assert_uint_eq(entries->elements, 1);
    const redisReply *fields = entries->element[0]->element[1];
    ck_assert_uint_eq(fields->elements, 6);
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer statement;
    shoal_buffer_init(&statement, 4096);
    shoal_arguments_statement(&statement, "test", fleet.queue.store, job, 0, pack,
                              sizeof(pack) - 1);
    ck_assert_uint_eq(fields->element[5]->len, SHOAL_SEAL_BYTES);
    ck_assert(shoal_seal_holds(fields->element[5]->str, statement.data, statement.len));
    finish();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        jobs_of_a_call_share_a_warrant_that_goes_with_the_last,
        jobs_that_exist_keep_their_warrant,
        unsigned_jobs_have_no_warrant,
        jobs_are_signed_anew_for_a_store_that_took_the_place,
        empty_store_gets_the_id_that_its_first_jobs_are_signed_for,
        lease_of_a_signed_job_says_whose_it_is,
        signed_arguments_are_kept_with_their_seal,
    };
    return play_main("moves of who signs", tests, sizeof(tests) / sizeof(*tests));
}
