/* Outcomes that Redis does not take outlive the worker: every task runs once and has one
 * outcome, whoever dies. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

static struct test_process worker, other;

static const char *const saves[] = {"--appendonly", "yes", "--appendfsync", "always",
                                    NULL};

static void teardown(void) {
    daemons_finish();
}

static void come_back(void) {
    test_server_restart(&daemons.server, NULL);
}

/* Tasks that leave a file for each run, and wait for the gate once Redis is away. The
 * fourth fails. */
static const char *submit(void) {
    return ok("shoal submit -p i=1:8 -- sh -c ': > began.{i}.$$; flock -s gate true; "
              "test {i} != 4 && echo i={i}'");
}

/* Redis ends while eight tasks run; then they end. */
static const char *end_tasks_of(mode_t mask, const char *options) {
    daemons_start(saves);
    int gate = gate_close("gate");
    mode_t usual = umask(mask);
    worker_start(&worker, options);
    umask(usual);
    const char *job = submit();
    wait_until(files("began.*") == 8, LIMIT_MS);
    test_server_kill(&daemons.server);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    gate_open(gate);
    return job;
}

static const char *end_tasks_without_redis(const char *options) {
    return end_tasks_of(022, options);
}

static void expect_ran_once(const char *job) {
    ck_assert_int_eq(sh("shoal wait %s", job).exit, 1); /* a task has failed */
    struct shoal_job now = job_now(job);
    ck_assert_int_eq(now.ok, 7);
    ck_assert_int_eq(now.failed, 1);
    ck_assert_uint_eq(files("began.*"), 8);
    const json_t *rows = rows_of(job);
    ck_assert_uint_eq(json_array_size(rows), 8);
    for (size_t i = 0; i < json_array_size(rows); i++)
        ck_assert_int_eq(int_in(json_array_get(rows, i), "attempt"), 1);
    expect_audit();
}

static size_t spools(void) {
    return files("spool/*.spool");
}

/* What its status says, found by an expression of jq; -1: no worker answers. */
static int64_t told(const char *expression) {
    const char *number = sh("shoal-worker --status --json | jq '%s'", expression).out;
    return *number == '\0' ? -1 : strtoll(number, NULL, 10);
}

static void wait_for_spool(int64_t commits) {
    wait_until(told(".outcomes | if .memory == 0 then .commits else -1 end") == commits,
               LIMIT_MS);
    ck_assert_uint_eq(spools(), commits > 0 ? 1 : 0);
}

/* ---- worker and keeper die */

START_TEST(spooled_outcomes_outlive_worker_and_keeper) {
    const char *job = end_tasks_without_redis("--name w --slots 8");
    wait_for_spool(8);
    worker_kill(&worker);
    worker_launch(&worker, "--name w --slots 8");
    wait_until(has_said(&worker, "outcomes of before wait"), LIMIT_MS);
    come_back();
    expect_ran_once(job);
    wait_until(spools() == 0, LIMIT_MS);
    worker_end(&worker);
}
END_TEST

/* The new worker gets none of them while the old one's session lasts, and other workers
 * none at all. */
START_TEST(others_do_not_run_what_a_spool_holds) {
    const char *job = end_tasks_without_redis("--name w --slots 8");
    wait_for_spool(8);
    worker_kill(&worker);
    worker_launch(&worker, "--name w --slots 8");
    worker_launch(&other, "--name other --slots 8");
    wait_until(has_said(&worker, "outcomes of before wait") &&
                   has_said(&other, "Redis is away"),
               LIMIT_MS);
    come_back();
    expect_ran_once(job);
    worker_end(&worker);
    worker_end(&other);
}
END_TEST

/* A worker that was killed may not be gone yet when the next one looks. */
START_TEST(spool_that_is_locked_is_found_when_it_is_free) {
    struct test_process holder;
    const char *job = end_tasks_without_redis("--name w --slots 8");
    wait_for_spool(8);
    worker_kill(&worker);
    int gate = gate_close("lock");
    sh_start(&holder, "flock spool/*.spool sh -c ': > locked; exec flock -s lock true'");
    wait_until(files("locked") == 1, LIMIT_MS);
    come_back();
    worker_start(&worker, "--name w --slots 8");
    ck_assert(!has_said(&worker, "outcomes of before wait to be sent"));
    ck_assert(has_said(&worker, "another worker has '"));
    gate_open(gate);
    wait_until(has_said(&worker, "outcomes of before wait to be sent"), LIMIT_MS);
    sh_exit(1, "shoal wait %s", job);
    wait_until(spools() == 0, LIMIT_MS);
    expect_audit();
    worker_end(&worker);
    test_process_finish(&holder);
}
END_TEST

/* Whether it is the same Redis is known when that answers. */
START_TEST(spool_that_was_made_for_another_address_is_taken) {
    const char *job = end_tasks_without_redis("--name w --slots 8");
    wait_for_spool(8);
    worker_kill(&worker);
    ok("ln -s %s other.sock", daemons.server.socket);
    worker_launch(&worker, "--name w --slots 8 --redis unix:$PWD/other.sock");
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    ck_assert(!has_said(&worker, "outcomes of before wait"));
    come_back();
    expect_ran_once(job);
    wait_until(spools() == 0, LIMIT_MS);
    worker_end(&worker);
}
END_TEST

/* Whatever the umask: outcomes, directories of tasks, and the socket of its status. */
START_TEST(what_a_worker_keeps_is_its_users_alone) {
    const char *job = end_tasks_of(0, "--name w --slots 8");
    wait_for_spool(8);
    ck_assert_str_eq(ok("find spool tmp run -perm /077"), "");
    come_back();
    expect_ran_once(job);
    worker_end(&worker);
}
END_TEST

START_TEST(worker_without_its_keeper_leaves_a_spool_for_the_next) {
    const char *job = end_tasks_without_redis("--name w --slots 8");
    wait_for_spool(8);
    kill(worker_pid(&worker), SIGKILL); /* the keeper starts another one */
    wait_until(has_said(&worker, "outcomes of before wait"), LIMIT_MS);
    come_back();
    expect_ran_once(job);
    worker_end(&worker);
}
END_TEST

/* Told twice it does not wait for half a minute, nor do those who end it: shoal down. */
START_TEST(worker_that_ends_without_redis_leaves_its_outcomes) {
    const char *job = end_tasks_without_redis("--name w --slots 8");
    wait_until(told(".outcomes.commits") == 8, LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    wait_until(has_said(&worker, "draining"), LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    ck_assert_int_eq(test_process_wait(&worker, 25000), 0);
    ck_assert(has_said(&worker, "are sent when a worker of this name starts"));
    ck_assert_uint_eq(spools(), 1);
    test_process_finish(&worker);
    worker_launch(&worker, "--name w --slots 8");
    come_back();
    expect_ran_once(job);
    worker_end(&worker);
}
END_TEST

START_TEST(damaged_spool_is_used_as_far_as_it_is_good) {
    const char *job = end_tasks_without_redis("--name w --slots 8");
    wait_for_spool(8);
    worker_kill(&worker);
    ok("truncate -s -3 spool/*.spool");
    worker_launch(&worker, "--name w --slots 8");
    wait_until(has_said(&worker, "is damaged from byte"), LIMIT_MS);
    come_back();
    sh("shoal wait %s", job);
    struct shoal_job now = job_now(job);
    ck_assert_int_eq(now.ok + now.failed, 8);
    ck_assert_uint_eq(files("began.*"), 9); /* the last one ran again */
    expect_audit();
    wait_until(files("spool/*.bad") == 1 && spools() == 0, LIMIT_MS);
    worker_end(&worker);
}
END_TEST

/* ---- another store, no room */

START_TEST(outcomes_of_a_flushed_store_stay_in_their_file) {
    end_tasks_without_redis("--name w --slots 8");
    wait_for_spool(8);
    ok("rm -rf %s/appendonlydir", daemons.server.directory);
    come_back();
    wait_until(has_said(&worker, "outcomes stay in their file"), LIMIT_MS);
    const char *job = ok("shoal submit -p i=1:3 -- true");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    ck_assert_uint_eq(spools(), 1);
    worker_end(&worker);
}
END_TEST

START_TEST(full_disk_is_said_once_and_outcomes_wait_in_memory) {
    daemons_start(saves);
    char path[256];
    snprintf(path, sizeof(path), "%s/spool", daemons.home.path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=16k") != 0) {
        printf("skipped: this host does not let us mount a file system\n");
        return;
    }
    ok("dd if=/dev/zero of=spool/filler bs=1k count=64 status=none || true");
    int gate = gate_close("gate");
    worker_start(&worker, "--name w --slots 8");
    const char *job = submit();
    wait_until(files("began.*") == 8, LIMIT_MS);
    test_server_kill(&daemons.server);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    gate_open(gate);
    wait_until(has_said(&worker, "stay in memory only"), LIMIT_MS);
    ck_assert_int_eq(told(".outcomes.commits"), 8);
    come_back();
    expect_ran_once(job);
    worker_end(&worker);
    ck_assert_int_eq(umount(path), 0);
}
END_TEST

/* ---- how much of them is where */

enum { LARGE = 8 };

/* As many tasks with a result of 700,000 bytes each, behind a gate of its own; Redis ends
 * while they run. */
static const char *hold_large_ones(const char *options, int gates[LARGE]) {
    daemons_start(saves);
    for (int i = 0; i < LARGE; i++) {
        char name[32];
        snprintf(name, sizeof(name), "gate.%d", i);
        gates[i] = gate_close(name);
    }
    worker_start(&worker, options);
    const char *job = ok("shoal submit --max-result 1M -p i=0:%d -- sh -c "
                         "': > began.{i}.$$; flock -s gate.{i} true; "
                         "head -c 700000 /dev/zero | tr \"\\0\" x'",
                         LARGE - 1);
    wait_until(files("began.*") == LARGE, LIMIT_MS);
    test_server_kill(&daemons.server);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    return job;
}

static void expect_all_large_ones(const char *job) {
    come_back();
    sh_exit(0, "shoal wait %s", job);
    ck_assert_uint_eq(files("began.*"), LARGE);
    ck_assert_str_eq(ok("shoal results %s --format jsonl | jq '.result | length' | "
                        "sort | uniq -c | xargs",
                        job),
                     "8 700000");
    expect_each_once(job);
    expect_audit();
    worker_end(&worker);
}

START_TEST(files_have_a_limit_and_the_rest_waits_in_memory) {
    int gates[LARGE];
    const char *job = hold_large_ones("--name w --slots 8 --spool-max 2M", gates);
    for (int i = 0; i < LARGE; i++)
        gate_open(gates[i]);
    wait_until(told(".outcomes.commits") == LARGE, LIMIT_MS);
    wait_until(has_said(&worker, "stay in memory only"), LIMIT_MS);
    ck_assert_int_eq(told(".outcomes.spool / 700000 | floor"), 2);
    ck_assert_int_ge(told(".outcomes.memory"), (LARGE - 2) * 700000);
    ck_assert_str_eq(ok("test $(cat spool/*.spool | wc -c) -le $((2 << 20)) && echo 2M"),
                     "2M");
    expect_all_large_ones(job);
}
END_TEST

/* Whatever waits for two seconds goes into a file; so one of the attempts has to be
 * faster than that. */
START_TEST(more_than_memory_holds_goes_to_files_at_once) {
    int gates[LARGE], n = 0;
    bool at_once = false;
    const char *job = hold_large_ones("--name w --slots 8 --outbox-memory 1M", gates);
    while (n < LARGE && !at_once) {
        int64_t since = test_clock_ms();
        gate_open(gates[n++]);
        gate_open(gates[n++]);
        wait_until(told("if .outcomes.memory == 0 then .outcomes.commits else 0 end") ==
                       n,
                   LIMIT_MS);
        at_once = test_clock_ms() - since < 2000;
    }
    ck_assert(at_once);
    while (n < LARGE)
        gate_open(gates[n++]);
    wait_until(told(".outcomes.commits") == LARGE, LIMIT_MS);
    expect_all_large_ones(job);
}
END_TEST

/* ---- what the status says */

START_TEST(status_tells_without_redis) {
    end_tasks_without_redis("--name w --slots 9");
    wait_for_spool(8);
    const char *text = ok("shoal-worker --status --name w");
    ck_assert_ptr_nonnull(strstr(text, "w works for"));
    ck_assert_ptr_nonnull(strstr(text, ": away for"));
    ck_assert_ptr_nonnull(strstr(text, "slot 8: idle"));
    ck_assert_ptr_nonnull(strstr(text, "8 commits"));
    struct said none = sh_exit(1, "shoal-worker --status --name nobody");
    ck_assert_ptr_nonnull(strstr(none.err, "'nobody'"));
    sh_exit(1, "shoal-worker --status --name %060d", 0); /* longer than any file's */
    struct said lonely = sh_exit(2, "timeout 20 shoal-worker --json");
    ck_assert_ptr_nonnull(strstr(lonely.err, "--status"));
    come_back();
    wait_for_spool(0);
    ck_assert_int_eq(told("if .redis.state == \"up\" then 1 else 0 end"), 1);
    worker_end(&worker);
    sh_exit(1, "shoal-worker --status");
}
END_TEST

/* Before there is anything to write: when there is, it is too late. */
START_TEST(status_tells_that_the_spool_cannot_be_written) {
    daemons_start(saves);
    worker_start(&worker, "--name w --slots 1");
    ck_assert_int_eq(told(".outcomes | has(\"trouble\") | if . then 1 else 0 end"), 0);
    ok("rmdir spool; : > spool");
    ck_assert_str_eq(ok("shoal-worker --status --json | jq -r .outcomes.trouble"),
                     "Not a directory");
    ck_assert_ptr_nonnull(
        strstr(ok("shoal-worker --status"), "nothing can be written there"));
    worker_end(&worker);
}
END_TEST

START_TEST(worker_that_does_not_answer_is_there) {
    daemons_start(saves);
    worker_start(&worker, "--name w --slots 1");
    pid_t pid = worker_pid(&worker);
    kill(pid, SIGSTOP);
    struct said said = sh_exit(1, "shoal-worker --status --name w");
    kill(pid, SIGCONT);
    ck_assert_ptr_nonnull(strstr(said.err, "does not answer; is it stopped?"));
    ck_assert_ptr_null(strstr(said.err, "no worker"));
    worker_end(&worker);
}
END_TEST

START_TEST(status_tells_what_runs) {
    daemons_start(saves);
    int gate = gate_close("gate");
    worker_start(&worker, "--name w --slots 2");
    const char *job = ok("shoal submit -p i=1:2 -- flock -s gate true");
    wait_until(told("[.slots[] | select(.job != null)] | length") == 2, LIMIT_MS);
    ck_assert_str_eq(ok("shoal-worker --status --json | jq -r '.slots[0].job'"), job);
    ck_assert_int_eq(told("[.slots[].task] | add"), 1);
    ck_assert(!has_said(&worker, "Redis is away")); /* not even for a moment */
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    worker_end(&worker);
}
END_TEST

/* Who says nothing and who does not listen are let go. */
START_TEST(askers_cost_nothing) {
    daemons_start(saves);
    worker_start(&worker, "--name w --slots 2");
    sh_exit(0, "cd run/shoal && for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "
               "python3 -c 'import socket, glob; s = socket.socket(socket.AF_UNIX); "
               "s.connect(glob.glob(\"w.*.sock\")[0]); s.close()'; done");
    wait_until(told(".pid") == worker_pid(&worker), LIMIT_MS);
    worker_kill(&worker);
    wait_until(sh("shoal-worker --status").exit == 1 && /* nor is its socket left */
                   files("run/shoal/*") == 0,
               LIMIT_MS);
}
END_TEST

/* What a worker has bound and does not listen on yet is no dead one's. */
START_TEST(socket_of_a_worker_that_starts_is_left_alone) {
    daemons_start(saves);
    ok("mkdir -p run && mkdir -m 700 run/shoal && cd run/shoal && "
       "python3 -c 'import socket as s; s.socket(s.AF_UNIX).bind(\"w.1.sock\")' && "
       "touch -d 'now + 1 hour' w.*");
    sh_exit(1, "shoal-worker --status");
    ck_assert_uint_eq(files("run/shoal/*"), 1);
    ok("touch -d 'now - 1 hour' run/shoal/*");
    sh_exit(1, "shoal-worker --status");
    ck_assert_uint_eq(files("run/shoal/*"), 0);
}
END_TEST

/* ---- Redis refuses */

/* How a Redis that answers is made to refuse, and to take again. */
static const struct {
    const char *refuse;
    const char *word;
    const char *allow;
} refusals[] = {
    {"config set min-replicas-to-write 1", "too few replicas",
     "config set min-replicas-to-write 0"},
    {"replicaof 127.0.0.1 1", "Redis", "replicaof no one"},
    {"acl setuser default -fcall -@scripting", "may not do that",
     "acl setuser default +@all"},
};

START_TEST(refusing_redis_is_borne) {
    daemons_start(saves);
    int gate = gate_close("gate");
    worker_start(&worker, "--name w --slots 8");
    const char *job = submit();
    wait_until(files("began.*") == 8, LIMIT_MS);
    ok("redis-cli -s %s %s", daemons.server.socket, refusals[_i].refuse);
    wait_until(has_said(&worker, "what runs goes on and outcomes wait"), LIMIT_MS);
    ck_assert(has_said(&worker, refusals[_i].word));
    gate_open(gate);
    wait_for_spool(8);
    ck_assert_uint_eq(times_said(&worker, "what runs goes on and outcomes wait"), 1);
    ok("redis-cli -s %s %s", daemons.server.socket, refusals[_i].allow);
    expect_ran_once(job);
    worker_end(&worker);
}
END_TEST

/* It takes what was done. */
START_TEST(full_redis_is_told_of) {
    daemons_start(saves);
    int gate = gate_close("gate");
    worker_start(&worker, "--name w --slots 8");
    const char *job = submit();
    wait_until(files("began.*") == 8, LIMIT_MS);
    const char *next = ok("shoal submit -- true");
    ok("redis-cli -s %s config set maxmemory 1mb", daemons.server.socket);
    wait_until(has_said(&worker, "Redis is full"), LIMIT_MS);
    ck_assert_ptr_nonnull(strstr(ok("shoal-worker --status"), ": full for "));
    ck_assert_int_eq(told("if .redis.state == \"full\" then 1 else 0 end"), 1);
    gate_open(gate);
    expect_ran_once(job);
    ck_assert_int_eq(job_now(next).ok, 0);
    ok("redis-cli -s %s config set maxmemory 0", daemons.server.socket);
    wait_until(has_said(&worker, "Redis has room again"), LIMIT_MS);
    ck_assert_uint_eq(times_said(&worker, "Redis is full"), 1);
    sh_exit(0, "shoal wait %s", next);
    ck_assert_int_eq(told("if .redis.state == \"up\" then 1 else 0 end"), 1);
    worker_end(&worker);
}
END_TEST

/* Nobody tells a client that its peer is stopped: both connections have to find it. */
START_TEST(stopped_redis_is_found) {
    daemons_start(saves);
    int gate = gate_close("gate");
    worker_start(&worker, "--name w --slots 8");
    const char *job = submit();
    wait_until(files("began.*") == 8, LIMIT_MS);
    kill(daemons.server.pid, SIGSTOP);
    gate_open(gate);
    wait_until(strstr(ok("shoal-worker --status"), ": up, no answer for ") != NULL,
               LIMIT_MS);
    ck_assert_int_ge(told(".redis.silent_ms"), 3000);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    wait_for_spool(8);
    kill(daemons.server.pid, SIGCONT);
    expect_ran_once(job);
    const char *next = ok("shoal submit -p i=1:3 -- true"); /* by the bell */
    sh_exit(0, "shoal wait %s", next);
    worker_end(&worker);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("worker_spool");
    TCase *tests = tcase_create("worker_spool");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_test(tests, spooled_outcomes_outlive_worker_and_keeper);
    tcase_add_test(tests, others_do_not_run_what_a_spool_holds);
    tcase_add_test(tests, spool_that_is_locked_is_found_when_it_is_free);
    tcase_add_test(tests, spool_that_was_made_for_another_address_is_taken);
    tcase_add_test(tests, what_a_worker_keeps_is_its_users_alone);
    tcase_add_test(tests, worker_without_its_keeper_leaves_a_spool_for_the_next);
    tcase_add_test(tests, worker_that_ends_without_redis_leaves_its_outcomes);
    tcase_add_test(tests, damaged_spool_is_used_as_far_as_it_is_good);
    tcase_add_test(tests, outcomes_of_a_flushed_store_stay_in_their_file);
    tcase_add_test(tests, full_disk_is_said_once_and_outcomes_wait_in_memory);
    tcase_add_test(tests, files_have_a_limit_and_the_rest_waits_in_memory);
    tcase_add_test(tests, more_than_memory_holds_goes_to_files_at_once);
    tcase_add_test(tests, status_tells_without_redis);
    tcase_add_test(tests, status_tells_that_the_spool_cannot_be_written);
    tcase_add_test(tests, worker_that_does_not_answer_is_there);
    tcase_add_test(tests, status_tells_what_runs);
    tcase_add_test(tests, askers_cost_nothing);
    tcase_add_test(tests, socket_of_a_worker_that_starts_is_left_alone);
    tcase_add_loop_test(tests, refusing_redis_is_borne, 0, (int)SHOAL_COUNT(refusals));
    tcase_add_test(tests, full_redis_is_told_of);
    tcase_add_test(tests, stopped_redis_is_found);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
