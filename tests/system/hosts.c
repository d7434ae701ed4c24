/* Redis, a broker, a desk and three workers as hosts of their own. Nothing here goes by
 * trust: TLS with a certificate of each host, a user for each role, and workers that run
 * what the desk has signed. */
#include "common/cleanup.h"
#include "tests/support/certificates.h"
#include "tests/support/daemons.h"
#include "tests/support/network.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REDIS, BROKER, DESK, ANN, BEN, CID, HOSTS };
enum { SLOTS = 2, TASKS = 60 };

static const char *const names[] = {"redis", "broker", "desk", "ann", "ben", "cid"};
static const char *const roles[] = {"", "broker", "submit", "worker", "worker", "worker"};

static struct test_network network;
static struct test_directory secrets;
static struct test_process broker, workers[HOSTS];
static int gates[HOSTS];

/* ---- starting them */

/* One of the files; the text lives until the next but three. */
static const char *pem(const char *name, const char *suffix) {
    static char paths[4][64];
    static size_t n;
    char *path = paths[n++ % SHOAL_COUNT(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s.%s", secrets.path, name, suffix);
    return path;
}

static void make_certificates(void) {
    char address[24];
    test_directory_create(&secrets);
    struct test_certificate made = {"authority", NULL, NULL, -1, 30};
    test_certificate_make(secrets.path, &made);
    for (size_t i = 0; i < HOSTS; i++) {
        snprintf(address, sizeof(address), "IP:%s", network.hosts[i].address);
        made = (struct test_certificate){names[i], address, "authority", -1, 30};
        test_certificate_make(secrets.path, &made);
    }
}

/* It has no other port, and shows and wants certificates. */
static void start_redis(void) {
    const char *const args[] = {"--bind",
                                network.hosts[REDIS].address,
                                "--tls-cert-file",
                                pem("redis", "pem"),
                                "--tls-key-file",
                                pem("redis", "key"),
                                "--tls-ca-cert-file",
                                pem("authority", "pem"),
                                "--tls-auth-clients",
                                "yes",
                                "--appendonly",
                                "yes",
                                "--appendfsync",
                                "always",
                                NULL};
    daemons_start_tls(args, pem("authority", "pem"));
    setenv("REDIS_HOST", network.hosts[REDIS].address, 1);
    setenv("REDIS_PORT", strrchr(daemons.server.tls_url, ':') + 1, 1);
}

/* From now on we are at that host, in its role. */
static void go_to(size_t host) {
    char password[64];
    test_network_enter(&network, host);
    snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS=rediss://shoal-%s@%s:%d",
             roles[host], network.hosts[REDIS].address, daemons.server.port);
    snprintf(daemons.certificate, sizeof(daemons.certificate), "SHOAL_TLS_CERT=%s",
             pem(names[host], "pem"));
    snprintf(daemons.key, sizeof(daemons.key), "SHOAL_TLS_KEY=%s",
             pem(names[host], "key"));
    snprintf(password, sizeof(password), "%s/passwords/shoal-%s", daemons.home.path,
             roles[host]);
    setenv("SHOAL_REDIS_PASSWORD_FILE", password, 1);
}

/* Users are made at Redis's host, by its socket; the default user is off then. What the
 * test itself looks up, it does there as well. */
static void make_users(void) {
    snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS=%s", daemons.server.url);
    ok("unset SHOAL_TLS_CA; shoal acl --passwords-dir passwords --apply");
    snprintf(daemons.server.url, sizeof(daemons.server.url), "unix://shoal-submit@%s",
             daemons.server.socket);
}

static void start_workers(void) {
    for (size_t host = ANN; host <= CID; host++) {
        go_to(host);
        sh_start(&workers[host],
                 "shoal-worker --session-ttl 4s --slots %d --trust-keys keys --allow-any",
                 SLOTS);
    }
    for (size_t host = ANN; host <= CID; host++)
        wait_until(has_said(&workers[host], "message=registered"), LIMIT_MS);
}

/* False: there can be none here. */
static bool start(void) {
    char why[256];
    if (!test_network_make(&network, names, HOSTS, why, sizeof(why))) {
        printf("skipped: this host does not let us use %s\n", why);
        return false;
    }
    make_certificates();
    start_redis();
    make_users();
    go_to(BROKER);
    sh_start(&broker, "shoal-broker");
    wait_until(has_said(&broker, "keeping the queue moving"), LIMIT_MS);
    go_to(DESK);
    ok("shoal keygen > keys");
    start_workers();
    go_to(DESK);
    return true;
}

static void finish(void) {
    test_process_finish(&broker);
    daemons_finish();
    test_directory_destroy(&secrets);
    test_network_close(&network);
}

/* ---- a sweep */

/* A task waits for the gate of its host, and a second attempt for its own, which is open
 * unless a test has closed it. */
static const char simulation[] = "#!/bin/sh\n"
                                 "gate=gate.$(uname -n)\n"
                                 "test $SHOAL_ATTEMPT -eq 1 || gate=again.$1\n"
                                 "echo $$ > began.$(uname -n).$SHOAL_ATTEMPT.$1\n"
                                 "exec flock -sF $gate echo square=$(($1 * $1))\n";

/* Every slot has begun a task. */
static const char *begin_sweep(void) {
    char name[32];
    for (size_t host = ANN; host <= CID; host++) {
        snprintf(name, sizeof(name), "gate.%s", names[host]);
        gates[host] = gate_close(name);
    }
    ok("printf '%%s' '%s' > sim; chmod +x sim", simulation);
    const char *job = ok("shoal submit -p i=0:%d -- ./sim {i}", TASKS - 1);
    wait_until(files("began.*.1.*") == 3 * SLOTS, LIMIT_MS);
    return job;
}

/* Each task has one row, with its result. */
static const json_t *expect_table(const char *job) {
    expect_each_once(job);
    const json_t *rows = rows_of(job);
    for (size_t i = 0; i < TASKS; i++) {
        const json_t *row = json_array_get(rows, i);
        int64_t x = int_in(row, "i");
        ck_assert_int_eq(int_in(row, "task"), x);
        ck_assert_int_eq(int_in(row, "square"), x * x);
    }
    return rows;
}

static size_t rows_by(const json_t *rows, size_t host) {
    size_t n = 0;
    for (size_t i = 0; i < TASKS; i++)
        n += strcmp(text_in(json_array_get(rows, i), "worker"), names[host]) == 0;
    return n;
}

static void end_workers(size_t first) {
    for (size_t host = first; host <= CID; host++)
        worker_end(&workers[host]);
}

START_TEST(sweep_over_hosts_makes_one_table) {
    if (!start())
        return;
    const char *job = begin_sweep();
    for (size_t host = ANN; host <= CID; host++)
        gate_open(gates[host]);
    ok("shoal wait %s", job);
    const json_t *rows = expect_table(job);
    for (size_t host = ANN; host <= CID; host++)
        ck_assert_uint_ge(rows_by(rows, host), SLOTS);
    end_workers(ANN);
    finish();
}
END_TEST

/* ---- a host that is lost, and one that is cut off */

/* Nobody outside hears of it, or from it again. */
static void lose(size_t host) {
    struct test_pids pids;
    test_network_remove(&network, host);
    test_process_signal(&workers[host], SIGSTOP); /* it starts no other */
    test_descendants(workers[host].pid, &pids);
    for (size_t i = 0; i < pids.n; i++)
        kill(pids.pid[i], SIGKILL);
    test_process_finish(&workers[host]);
}

/* The tasks that a host has begun. */
static void find_begun(size_t host, int64_t tasks[SLOTS]) {
    const char *list = ok("ls -d began.%s.1.* | cut -d. -f4", names[host]);
    ck_assert_int_eq(sscanf(list, "%" SCNd64 "\n%" SCNd64, &tasks[0], &tasks[1]), SLOTS);
}

static pid_t begun(size_t host, int attempt, int64_t task) {
    char name[64];
    snprintf(name, sizeof(name), "began.%s.%d.%" PRId64, names[host], attempt, task);
    return (pid_t)number_of(name);
}

/* Whose outcome of a task counts, and whether it was the first to begin it. */
static void expect_outcome_by(const json_t *rows, int64_t task, size_t host,
                              bool is_first) {
    size_t i = 0;
    while (int_in(json_array_get(rows, i), "task") != task)
        i++;
    const json_t *row = json_array_get(rows, i);
    ck_assert_str_eq(text_in(row, "worker"), names[host]);
    ck_assert_int_eq(int_in(row, "attempt") == 1, is_first);
}

/* One worker is left for a time. It runs again what the two others had begun, and ends
 * all of that but one task, which is for the second of them to tell when it is back. */
START_TEST(lost_host_and_one_that_was_cut_off_lose_and_double_nothing) {
    int64_t lost[SLOTS], cut[SLOTS];
    char name[32];
    if (!start())
        return;
    const char *job = begin_sweep();
    find_begun(ANN, lost);
    find_begun(BEN, cut);
    snprintf(name, sizeof(name), "again.%" PRId64, cut[1]);
    int again = gate_close(name);
    lose(ANN);
    test_network_cut(&network, BEN);
    gate_open(gates[CID]);
    wait_until(begun(CID, 2, cut[1]) > 0, LIMIT_MS);
    wait_until(job_now(job).ok == TASKS - 1, LIMIT_MS);
    gate_open(gates[BEN]);
    wait_until(!is_alive(begun(BEN, 1, cut[0])) && !is_alive(begun(BEN, 1, cut[1])),
               LIMIT_MS);
    ck_assert_int_eq(job_now(job).ok, TASKS - 1);
    test_network_heal(&network, BEN);
    ok("shoal wait %s", job);
    const json_t *rows = expect_table(job);
    expect_outcome_by(rows, cut[1], BEN, true);
    expect_outcome_by(rows, cut[0], CID, false);
    for (size_t i = 0; i < SLOTS; i++)
        expect_outcome_by(rows, lost[i], CID, false);
    wait_until(!is_alive(begun(CID, 2, cut[1])), LIMIT_MS); /* it was told */
    end_workers(BEN);
    expect_table(job); /* what was told last has changed nothing */
    gate_open(again);
    gate_open(gates[ANN]);
    finish();
}
END_TEST

/* ---- what nobody signed */

/* Commands to Redis with what a worker's host has. Its user may write a job, though not
 * what it is to run, so that is taken from one that was signed. */
static const char forgery[] =
    "export REDISCLI_AUTH=$(cat $SHOAL_REDIS_PASSWORD_FILE); "
    "r() { redis-cli -e --tls -h $REDIS_HOST -p $REDIS_PORT --cacert $SHOAL_TLS_CA "
    "--cert $SHOAL_TLS_CERT --key $SHOAL_TLS_KEY --user shoal-worker "
    "--no-auth-warning \"$@\"; }; K='shoal:{0}:'; O=${K}job:%s; N=%s; "
    "r hset ${K}job:$N n active:1:0:0:0:0:0:0:0:1 seed 1 created $(date +%%s)000 "
    "spec $(r hget $O spec) %s && "
    "r rpush ${K}ready:default:5 $N && r rpush ${K}wake:default 1";

static const struct {
    const char *id, *warrant, *said;
} forgeries[] = {
    {"f0rgedf0rged", "", "runs signed jobs alone, and this is not signed"},
    {"c0pyedc0pyed", "warrant $(r hget $O warrant)",
     "does not name this job: it was copied"},
};

static bool has_said_of(const struct test_process *worker, const char *words,
                        const char *job) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = test_process_err(worker);
    const char *said = strstr(err, words),
               *name = said == NULL ? NULL : strstr(said, job);
    return name != NULL && memchr(said, '\n', (size_t)(name - said)) == NULL;
}

/* By each worker to its owner, and to whoever looks at the job. */
static void expect_refusal(const char *job, const char *words) {
    for (size_t host = ANN; host <= CID; host++)
        wait_until(has_said_of(&workers[host], words, job), LIMIT_MS);
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "spawn");
    const char *story = ok("shoal show %s 0", job);
    ck_assert_msg(strstr(story, words) != NULL, "'%s' is not in: %s", words, story);
}

START_TEST(job_pushed_with_a_workers_credential_does_not_run) {
    if (!start())
        return;
    const char *job = ok("shoal submit -- sh -c ': > ran.$SHOAL_JOB; echo x=1'");
    ok("shoal wait %s", job);
    go_to(BEN);
    for (size_t i = 0; i < SHOAL_COUNT(forgeries); i++)
        ok(forgery, job, forgeries[i].id, forgeries[i].warrant);
    go_to(DESK);
    for (size_t i = 0; i < SHOAL_COUNT(forgeries); i++)
        expect_refusal(forgeries[i].id, forgeries[i].said);
    ck_assert_uint_eq(files("ran.*"), 1);
    ok("shoal run -p x=1:9 -- true");
    expect_audit();
    end_workers(ANN);
    finish();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hosts");
    TCase *tests = tcase_create("hosts");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, sweep_over_hosts_makes_one_table);
    tcase_add_test(tests, lost_host_and_one_that_was_cut_off_lose_and_double_nothing);
    tcase_add_test(tests, job_pushed_with_a_workers_credential_does_not_run);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
