/* Directories of checkpoints, and who removes them: never one that may be needed. */
#include "worker/janitor.h"

#include "broker/keys.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/wait.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOB "0123456789ab"
#define STORE "bbbbbbbbbbbb"

enum { LIMIT_MS = 20000, JOBS = 2 * SHOAL_JANITOR_JOBS + 50 };

static struct test_directory home;
static struct shoal_checkpoints checkpoints;

static void setup(void) {
    test_directory_create(&home);
    ck_assert_int_eq(shoal_checkpoints_init(&checkpoints, home.path, "test", NULL),
                     SHOAL_OK);
    ck_assert_int_eq(mkdir(checkpoints.directory, 0700), 0);
    shoal_checkpoints_of_store(&checkpoints, STORE);
}

static void teardown(void) {
    test_directory_destroy(&home);
}

static void make(const char *job, int64_t index) {
    char path[PATH_MAX];
    ck_assert_int_eq(shoal_checkpoint_make(&checkpoints, job, index, path, NULL),
                     SHOAL_OK);
}

static bool is_there(const char *job, int64_t index) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s/%d", checkpoints.folder, job, (int)index);
    return access(path, F_OK) == 0;
}

/* ---- commits */

/* Tasks 0 to 2, of which 1 wants to go on. */
static struct shoal_commit make_commit(void) {
    struct shoal_commit commit;
    shoal_commit_init(&commit, JOB, "0.1", 0);
    for (int64_t i = 0; i < 3; i++) {
        const struct shoal_outcome outcome = {.reason = i == 1 ? SHOAL_REASON_CONTINUE
                                                               : SHOAL_REASON_OK,
                                              .attempt = 1,
                                              .result = ""};
        shoal_commit_add(&commit, &outcome, "w", "", 0);
        make(JOB, i);
    }
    return commit;
}

START_TEST(those_of_successes_go) {
    struct shoal_commit commit = make_commit();
    shoal_checkpoints_committed(&checkpoints, &commit);
    ck_assert(!is_there(JOB, 0) && is_there(JOB, 1) && !is_there(JOB, 2));
    shoal_commit_finish(&commit);
}
END_TEST

/* Without memory for all outcomes (0) or for the failures among them (1). */
START_TEST(those_of_outcomes_that_were_never_told_stay) {
    struct shoal_commit commit = make_commit();
    if (_i == 0)
        commit.outcomes.failed = true;
    else
        commit.failed.words.failed = true;
    shoal_checkpoints_committed(&checkpoints, &commit);
    ck_assert(is_there(JOB, 0) && is_there(JOB, 1) && is_there(JOB, 2));
    shoal_commit_finish(&commit);
}
END_TEST

/* ---- jobs that are forgotten */

static struct test_server server;
static struct event_base *base;
static struct shoal_redis *redis;
static struct shoal_queue queue;
static struct shoal_janitor janitor;

/* Jobs with checkpoints, the first half of which Redis knows. */
static void start(void) {
    char key[SHOAL_KEY_MAX], job[SHOAL_ID_LEN + 12];
    setup();
    test_server_start(&server, NULL);
    base = event_base_new();
    redis = test_server_connect(&server, base, NULL);
    shoal_queue_init(&queue, redis, "test", LIMIT_MS);
    shoal_key_make(key, queue.prefix, SHOAL_KEY_EPOCH, "");
    ck_assert_int_eq(test_command_int(redis, "HSET %s id %s", key, STORE), 1);
    for (int i = 0; i < JOBS; i++) {
        snprintf(job, sizeof(job), "aaaaaaaa%04d", i);
        make(job, 0);
        shoal_key_make(key, queue.prefix, SHOAL_KEY_JOB, job);
        if (i < JOBS / 2)
            ck_assert_int_eq(test_command_int(redis, "HSET %s a b", key), 1);
    }
    shoal_janitor_init(&janitor, &checkpoints);
}

static void end(void) {
    shoal_redis_destroy(redis);
    shoal_janitor_finish(&janitor);
    event_base_free(base);
    test_server_destroy(&server);
    teardown();
}

static size_t kept(void) {
    char job[SHOAL_ID_LEN + 12];
    size_t n = 0;
    for (int i = 0; i < JOBS; i++) {
        snprintf(job, sizeof(job), "aaaaaaaa%04d", i);
        bool there = is_there(job, 0);
        ck_assert(there || i >= JOBS / 2);
        n += there;
    }
    return n;
}

static void tick(void) {
    shoal_janitor_tick(&janitor, &queue, 1);
}

START_TEST(those_of_forgotten_jobs_go) {
    loop_until(base, (tick(), kept() == JOBS / 2), LIMIT_MS);
    loop_until(base, (tick(), janitor.folder == NULL), LIMIT_MS);
    ck_assert_uint_eq(kept(), JOBS / 2);
}
END_TEST

static void answered(void *owner, enum shoal_status status, const redisReply *reply,
                     const struct shoal_error *err) {
    int *left = owner;
    (void)reply;
    (void)err;
    ck_assert_int_eq(status, SHOAL_OK);
    if (--*left == 0)
        tick(); /* there is room again, and no job was answered for yet */
}

/* Only for the question behind the jobs there is no room. */
START_TEST(nothing_is_asked_while_answers_are_under_way) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request ping;
    int left = SHOAL_REDIS_PENDING_MAX - SHOAL_JANITOR_JOBS;
    shoal_request_init(&ping);
    shoal_request_text(&ping, "PING");
    for (int i = left; i > 0; i--)
        ck_assert_int_eq(shoal_redis_send(redis, &ping, LIMIT_MS, answered, &left, NULL),
                         SHOAL_OK);
    tick();
    loop_until(base, left == 0, LIMIT_MS);
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *asked = test_command_text(redis, "INFO commandstats"); /* behind all of it */
    ck_assert_ptr_nonnull(strstr(asked, "cmdstat_exists:calls=100,"));
    ck_assert_uint_eq(janitor.answered, SHOAL_JANITOR_JOBS);
    ck_assert_uint_eq(kept(), JOBS); /* nothing is known of the store */
}
END_TEST

int main(void) {
    Suite *suite = suite_create("checkpoints");
    TCase *commits = tcase_create("commits");
    tcase_add_checked_fixture(commits, setup, teardown);
    tcase_add_test(commits, those_of_successes_go);
    tcase_add_loop_test(commits, those_of_outcomes_that_were_never_told_stay, 0, 2);
    suite_add_tcase(suite, commits);
    TCase *jobs = tcase_create("forgotten jobs");
    tcase_set_timeout(jobs, 60);
    tcase_add_checked_fixture(jobs, start, end);
    tcase_add_test(jobs, those_of_forgotten_jobs_go);
    tcase_add_test(jobs, nothing_is_asked_while_answers_are_under_way);
    suite_add_tcase(suite, jobs);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
