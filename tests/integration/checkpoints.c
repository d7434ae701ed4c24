/* Directories of checkpoints, and who removes them: never one that may be needed. */
#include "worker/janitor.h"

#include "broker/keys.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/scratch.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/wait.h"
#include "worker/place.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOB "0123456789ab"
#define STORE "bbbbbbbbbbbb"

enum { LIMIT_MS = 20000, JOBS = 2 * SHOAL_JANITOR_JOBS + 50 };

static struct test_directory home;
static struct shoal_checkpoints checkpoints;

static void setup(void) {
    test_directory_create(&home);
    ck_assert_int_eq(shoal_checkpoints_init(&checkpoints, home.path, "test", NULL, NULL),
                     SHOAL_OK);
    ck_assert_int_eq(mkdir(checkpoints.directory, 0700), 0);
    shoal_checkpoints_of_store(&checkpoints, STORE);
}

static void teardown(void) {
    test_directory_destroy(&home);
}

static enum shoal_status try_to_make(const char *job, int64_t index,
                                     struct shoal_error *err) {
    char path[PATH_MAX];
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    return shoal_checkpoint_make(&checkpoints, job, index, path, &fd, err);
}

static void make(const char *job, int64_t index) {
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_msg(try_to_make(job, index, &err) == SHOAL_OK, "%s", err.text);
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

/* ---- whose the place is */

enum { STRANGER = 4242 };

/* Below the namespace. Of a task's own directory its mode is the task's business. */
static const char *const parts[] = {"", "/" STORE, "/" STORE "/" JOB,
                                    "/" STORE "/" JOB "/0"};

static const struct {
    mode_t mode; /* 0: it is a link */
    uid_t owner;
    const char *says;
} intrusions[] = {
    {0, 0, NULL},
    {0700, STRANGER, "it is another user's; look at what it holds, then remove it"},
    {0770, 0, "its group or others may write to it; look at what it holds"},
    {0702, 0, "its group or others may write to it; look at what it holds"},
};

/* What an intruder would lead a worker to, and has to stay as it is. */
static void make_victim(char *path, size_t room) {
    char inner[PATH_MAX];
    snprintf(path, room, "%s/victim", home.path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(inner, sizeof(inner), "%s/0", path);
    ck_assert_int_eq(mkdir(inner, 0700), 0);
}

static void expect_untouched(const char *victim) {
    char path[PATH_MAX];
    struct stat status;
    DIR *folder = opendir(victim);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
        ck_assert_msg(strchr(".0", entry->d_name[0]) != NULL, "%s", entry->d_name);
    closedir(folder);
    snprintf(path, sizeof(path), "%s/0", victim);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_uid, geteuid());
    ck_assert_int_eq(stat(victim, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0700);
}

static void put_intrusion(const char *path, int how, const char *victim) {
    if (intrusions[how].mode == 0) {
        ck_assert_int_eq(symlink(victim, path), 0);
        return;
    }
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(chmod(path, intrusions[how].mode), 0);
    if (intrusions[how].owner != 0)
        ck_assert_int_eq(chown(path, intrusions[how].owner, (gid_t)-1), 0);
}

/* For tasks of the worker's user (0) and of another (1), whom a worker gives what is
 * there. */
START_TEST(place_that_others_may_have_filled_is_not_used) {
    static const struct shoal_user nobody = {
        .uid = 65534, .gid = 65534, .name = "nobody"};
    int as_user = _i / (int)SHOAL_COUNT(intrusions),
        how = _i % (int)SHOAL_COUNT(intrusions);
    char victim[PATH_MAX], path[PATH_MAX];
    if (geteuid() != 0 && (as_user == 1 || intrusions[how].owner != 0)) {
        printf("skipped: another user's folder, as only root can make one\n");
        return;
    }
    checkpoints.user = as_user == 1 ? &nobody : NULL;
    make_victim(victim, sizeof(victim));
    ck_assert_int_eq(rmdir(checkpoints.directory), 0);
    for (size_t i = 0; i < SHOAL_COUNT(parts); i++) {
        struct shoal_error err = {.status = SHOAL_OK};
        bool of_task = i == SHOAL_COUNT(parts) - 1;
        snprintf(path, sizeof(path), "%s%s", checkpoints.directory, parts[i]);
        if (of_task && (intrusions[how].mode & 022) != 0)
            continue;
        put_intrusion(path, how, victim);
        ck_assert_msg(try_to_make(JOB, 0, &err) == SHOAL_REFUSED, "%s: %s", parts[i],
                      err.text);
        ck_assert_msg(strstr(err.text, path) != NULL, "%s", err.text);
        const char *says = intrusions[how].says != NULL ? intrusions[how].says
                           : of_task                    ? "Not a directory"
                                                        : "it is a link";
        ck_assert_msg(strstr(err.text, says) != NULL, "%s", err.text);
        shoal_scratch_remove_tree(path);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        expect_untouched(victim);
    }
    make(JOB, 0);
}
END_TEST

/* A job's folder, or where what goes is put. */
START_TEST(nothing_is_moved_through_a_link) {
    static const char *const links[] = {"/" STORE "/" JOB, "/" STORE "/gone"};
    char victim[PATH_MAX], path[PATH_MAX];
    struct shoal_commit commit = make_commit();
    make_victim(victim, sizeof(victim));
    snprintf(path, sizeof(path), "%s%s", checkpoints.directory, links[_i]);
    shoal_scratch_remove_tree(path);
    ck_assert_int_eq(symlink(victim, path), 0);
    shoal_checkpoints_committed(&checkpoints, &commit);
    expect_untouched(victim);
    ck_assert(_i == 0 || is_there(JOB, 0));
    shoal_checkpoints_forget(&checkpoints, JOB);
    expect_untouched(victim);
    shoal_checkpoints_clean(&checkpoints);
    expect_untouched(victim);
    shoal_commit_finish(&commit);
}
END_TEST

/* Of root what it makes is nobody's there. */
START_TEST(server_that_maps_root_is_no_stranger) {
    if (geteuid() != 0) {
        printf("skipped: another user's folder, as only root can make one\n");
        return;
    }
    ck_assert_int_eq(chown(home.path, STRANGER, STRANGER), 0);
    ck_assert_int_eq(rmdir(checkpoints.directory), 0);
    setfsuid(STRANGER);
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_msg(shoal_place_check(checkpoints.directory, NULL, true, &err) == SHOAL_OK,
                  "%s", err.text);
    struct shoal_commit commit = make_commit();
    struct stat status;
    ck_assert_int_eq(stat(checkpoints.folder, &status), 0);
    ck_assert_uint_eq(status.st_uid, STRANGER);
    shoal_checkpoints_committed(&checkpoints, &commit);
    ck_assert(!is_there(JOB, 0) && is_there(JOB, 1) && !is_there(JOB, 2));
    shoal_commit_finish(&commit);
    setfsuid(0);
}
END_TEST

/* Redis may say anything. */
START_TEST(job_without_an_id_has_no_checkpoint) {
    struct shoal_error err = {.status = SHOAL_OK};
    make(JOB, 0);
    ck_assert_int_eq(try_to_make("../..", 0, &err), SHOAL_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "is no job's id"));
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
    TCase *places = tcase_create("whose it is");
    tcase_add_checked_fixture(places, setup, teardown);
    tcase_add_loop_test(places, place_that_others_may_have_filled_is_not_used, 0,
                        2 * (int)SHOAL_COUNT(intrusions));
    tcase_add_loop_test(places, nothing_is_moved_through_a_link, 0, 2);
    tcase_add_test(places, server_that_maps_root_is_no_stranger);
    tcase_add_test(places, job_without_an_id_has_no_checkpoint);
    suite_add_tcase(suite, places);
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
