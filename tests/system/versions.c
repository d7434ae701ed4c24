/* Old and new versions on one Redis: those of one layout work beside each other, each
 * with functions of its own; a store of another one is refused with both versions named;
 * and `shoal drain` empties a host for what comes. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_process worker, other;

static void setup(void) {
    daemons_start(NULL);
    setenv("SOCKET", daemons.server.socket, 1);
    setenv("VERSION", SHOAL_VERSION, 1);
}

static void teardown(void) {
    daemons_finish();
}

/* ---- the layout */

static void store_says(const char *layout) {
    ok("redis-cli -s $SOCKET hset 'shoal:{0}:epoch' layout '%s' version 0.3", layout);
}

static const struct {
    const char *layout;
    const char *says;
} layouts[] = {
    {"2", "knows layout 1: upgrade it"},
    {"0", "knows layout 1: let that shoal finish"},
    {"x\\ny", "knows layout 1: let that shoal finish"},
};

/* Whatever begins with that Redis. */
static const char *const beginners[] = {
    "shoal-worker --slots 1",        "shoal-broker",
    "shoal submit -- true",          "shoal list",
    "shoal workers --json",          "shoal run -- true",
    "shoal submit -p i=1:3 -- true", "shoal cancel anything",
    "shoal drain --host here",
};

START_TEST(store_of_another_layout_is_refused_by_who_begins) {
    const size_t n = SHOAL_COUNT(layouts);
    store_says(layouts[(size_t)_i % n].layout);
    struct said said = sh_exit(3, "%s", beginners[(size_t)_i / n]);
    ck_assert_msg(strstr(said.err, "this Redis holds a queue of layout ") != NULL,
                  "it says %s", said.err);
    ck_assert_ptr_nonnull(strstr(said.err, "(shoal 0.3); this is shoal " SHOAL_VERSION));
    ck_assert_ptr_nonnull(strstr(said.err, layouts[(size_t)_i % n].says));
    ck_assert_str_eq(ok("redis-cli -s $SOCKET dbsize"), "1");
}
END_TEST

START_TEST(store_says_its_layout_and_one_that_says_none_is_ours) {
    ok("shoal submit --name first -- true");
    ck_assert_str_eq(ok("redis-cli -s $SOCKET hget 'shoal:{0}:epoch' layout"), "1");
    ck_assert_str_eq(ok("redis-cli -s $SOCKET hget 'shoal:{0}:epoch' version"),
                     SHOAL_VERSION);
    ok("redis-cli -s $SOCKET hdel 'shoal:{0}:epoch' layout version");
    worker_start(&worker, "");
    sh_exit(0, "shoal wait first");
    sh_exit(0, "shoal run -- true");
    worker_end(&worker);
}
END_TEST

/* It says so once, and what it has done is there when the store is as before. */
START_TEST(worker_that_runs_keeps_its_outcomes) {
    int gate = gate_close("gate");
    worker_start(&worker, "");
    const char *job = ok("shoal submit -- sh -c ': > began; flock -sF gate echo x=1; "
                         ": > ended'");
    wait_until(files("began") == 1, LIMIT_MS);
    store_says("2");
    gate_open(gate);
    wait_until(files("ended") == 1, LIMIT_MS);
    wait_until(has_said(&worker, "knows layout 1: upgrade it"), LIMIT_MS);
    ck_assert_str_eq(ok("redis-cli -s $SOCKET exists 'shoal:{0}:results:%s'", job), "0");
    store_says("1");
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(times_said(&worker, "knows layout 1"), 1);
    expect_each_once(job);
    worker_end(&worker);
}
END_TEST

/* ---- two versions at once */

/* Copies that call themselves by another version, and whose functions have other names,
 * as any other text of theirs gives them. Each name is as long as it was, so that all in
 * the file stays where it is, and ends as it did, since a shorter text may be its end. */
static void make_others(void) {
    ok("shoal audit");
    ok("hash=$(redis-cli -s $SOCKET function list | sed -n 's/^shoal_//p'); mkdir other; "
       "for program in shoal shoal-worker shoal-broker; do "
       "sed \"s/$hash/012345${hash#??????}/g; s/$(echo $VERSION | sed 's/[.]/[.]/g')/"
       "9${VERSION#?}/g\" \"$(command -v $program)\" > other/$program; "
       "chmod +x other/$program; done");
    ok("test \"$(other/shoal --version)\" = \"shoal 9${VERSION#?}\"");
}

/* Each worker has half of the tasks, whoever submits, retries and looks. */
START_TEST(two_versions_work_on_one_store_at_once) {
    static const char *const clients[] = {"shoal", "other/shoal"};
    const char *jobs[SHOAL_COUNT(clients)];
    make_others();
    worker_start(&worker, "--name here --slots 2");
    sh_start(&other, "other/shoal-worker --session-ttl 4s --name there --slots 2");
    wait_until(has_said(&other, "message=registered"), LIMIT_MS);
    int gate = gate_close("gate");
    for (size_t i = 0; i < SHOAL_COUNT(clients); i++) {
        jobs[i] = ok("%s submit -p i=1:2 -- "
                     "sh -c 'case $(readlink /proc/$PPID/exe) in "
                     "*/other/*) : > other.$$;; *) : > built.$$;; esac; "
                     "flock -sF gate test {i} -le $SHOAL_ATTEMPT'",
                     clients[i]);
        wait_until(files("other.*") + files("built.*") == 2 * (i + 1), LIMIT_MS);
    }
    ck_assert_uint_eq(files("other.*"), 2);
    gate_open(gate);
    for (size_t i = 0; i < SHOAL_COUNT(clients); i++) {
        sh_exit(1, "%s wait %s", clients[i], jobs[i]);
        ok("%s retry %s", clients[1 - i], jobs[i]);
        sh_exit(0, "%s wait %s", clients[i], jobs[i]);
        ck_assert_str_eq(ok("shoal results %s", jobs[i]),
                         ok("other/shoal results %s", jobs[i]));
    }
    ck_assert_str_eq(ok("redis-cli -s $SOCKET function list | grep -c '^shoal_'"), "2");
    ok("other/shoal audit");
    worker_end(&worker);
    ok("other/shoal run -- true");
    ok("shoal run -- true");
    worker_end(&other);
}
END_TEST

/* ---- drain */

static void launch_two(void) {
    worker_start(&worker, "--name left --slots 1");
    worker_start(&other, "--name right --slots 1");
}

START_TEST(drained_worker_ends_and_the_other_goes_on) {
    launch_two();
    ok("shoal drain left --wait --timeout 30s");
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    ck_assert(has_said(&worker, "ended in good order"));
    test_process_finish(&worker);
    ck_assert_ptr_nonnull(strstr(ok("shoal workers --json"), "\"right\""));
    sh_exit(0, "shoal run -- true");
    worker_end(&other);
}
END_TEST

START_TEST(host_is_emptied_and_each_worker_is_told_of) {
    int gate = gate_close("gate");
    launch_two();
    const char *job = ok("shoal submit -p i=1:2 -- sh -c ': > began.{i}; flock -sF gate "
                         "true'");
    wait_until(files("began.*") == 2, LIMIT_MS);
    const json_t *told = json_lines(ok("shoal drain --host \"$(hostname)\" --json"));
    ck_assert_uint_eq(json_array_size(told), 2);
    ck_assert_str_eq(text_in(json_array_get(told, 0), "state"), "draining");
    struct said late =
        sh_exit(4, "shoal drain --host \"$(hostname)\" --wait --timeout 100ms --json");
    ck_assert_ptr_nonnull(strstr(late.err, "2 of 2 workers have not ended"));
    ck_assert_uint_eq(json_array_size(json_lines(late.out)), 2);
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    ck_assert_int_eq(test_process_wait(&other, LIMIT_MS), 0);
    test_process_finish(&worker);
    test_process_finish(&other);
    ck_assert_int_eq(job_now(job).ok, 2);
    expect_each_once(job);
}
END_TEST

START_TEST(progress_is_shown_and_the_end_is_told) {
    int gate = gate_close("gate");
    struct test_process drain;
    worker_start(&worker, "--name left --slots 1");
    ok("shoal submit -- sh -c ': > began; flock -sF gate true'");
    wait_until(files("began") == 1, LIMIT_MS);
    sh_start(&drain, "shoal drain left --wait --json");
    wait_until(has_said(&drain, "draining: workers=1 running=1"), LIMIT_MS);
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&drain, LIMIT_MS), 0);
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = test_process_out(&drain);
    ck_assert_ptr_nonnull(strstr(out, "\"state\":\"ended\""));
    test_process_finish(&drain);
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    test_process_finish(&worker);
}
END_TEST

/* It was killed with its host, and nobody is there to notice. */
START_TEST(wait_for_a_worker_that_is_dead_ends) {
    ok("redis-cli -s $SOCKET hset 'shoal:{0}:clock' now 90000 wall 1000");
    ok("redis-cli -s $SOCKET zadd 'shoal:{0}:sessions' 80000 0123456789ab");
    ok("redis-cli -s $SOCKET hset 'shoal:{0}:session:0123456789ab' name gone host far");
    struct said said = sh_exit(0, "shoal drain gone --wait --timeout 60s --json");
    ck_assert_ptr_nonnull(strstr(said.out, "\"state\":\"lost\""));
    ck_assert_ptr_nonnull(strstr(said.err, "'gone' on far is lost"));
}
END_TEST

static const struct {
    const char *words;
    const char *says;
} mistakes[] = {
    {"", "needs the names of workers, or --host HOST"},
    {"nobody", "there is no worker 'nobody' ('shoal workers' shows them)"},
    {"left nobody", "there is no worker 'nobody'"},
    {"--host nowhere", "no worker is on a host 'nowhere'"},
    {"left --timeout 1s", "--timeout needs --wait"},
    {"left --wait --timeout x", "--timeout"},
};

START_TEST(mistake_is_told_and_nobody_drains) {
    worker_start(&worker, "--name left");
    struct said said = sh_exit(2, "shoal drain %s", mistakes[_i].words);
    ck_assert_msg(strstr(said.err, mistakes[_i].says) != NULL, "it says %s", said.err);
    ck_assert_ptr_nonnull(strstr(ok("shoal workers --json"), "\"working\""));
    worker_end(&worker);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("versions");
    TCase *tests = tcase_create("versions");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, store_of_another_layout_is_refused_by_who_begins, 0,
                        (int)(SHOAL_COUNT(layouts) * SHOAL_COUNT(beginners)));
    tcase_add_test(tests, store_says_its_layout_and_one_that_says_none_is_ours);
    tcase_add_test(tests, worker_that_runs_keeps_its_outcomes);
    tcase_add_test(tests, two_versions_work_on_one_store_at_once);
    tcase_add_test(tests, drained_worker_ends_and_the_other_goes_on);
    tcase_add_test(tests, host_is_emptied_and_each_worker_is_told_of);
    tcase_add_test(tests, progress_is_shown_and_the_end_is_told);
    tcase_add_test(tests, wait_for_a_worker_that_is_dead_ends);
    tcase_add_loop_test(tests, mistake_is_told_and_nobody_drains, 0,
                        (int)SHOAL_COUNT(mistakes));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
