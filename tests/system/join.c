/* Two hosts with one cluster: 'shoal up --listen' on the one, 'shoal worker --join' on
 * the other, which here is another home. What lies in the token is all that the other
 * gets, and is good for a worker's work alone. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATE ".local/state/shoal"

static struct test_process joined;
static const json_t *told; /* by 'shoal up --listen' */

/* The other Redis of these tests is not asked: its variable is taken out. */
/* An address of this host that no other test has: a port of it that is free for a moment
 * stays free. */
static struct in_addr address;

static void choose_address(void) {
    uint32_t pid = (uint32_t)getpid();
    address.s_addr = htonl(127u << 24 | (pid % 0xffffff + 1));
    setenv("ADDRESS", inet_ntoa(address), 1);
}

static void setup(void) {
    choose_address();
    daemons_start(NULL);
    snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS");
    ok("mkdir other");
}

static void teardown(void) {
    test_process_finish(&joined);
    ok("shoal down");
    daemons_finish();
}

static void up(const char *where) {
    told =
        json_array_get(json_lines(ok("shoal up --slots 1 --listen %s --json", where)), 0);
    setenv("PORT", strrchr(text_in(told, "url"), ':') + 1, 1);
}

/* Its mark is another, so that it is told from what this host has started. */
#define OTHER "HOME=$PWD/other SHOAL_STATE=$PWD/other/state SHOAL_SPOOL=$PWD/other/spool "

static void join(void) {
    sh_start(&joined,
             "env " OTHER "shoal worker --join " STATE "/join --name second --slots 1 "
             "--session-ttl 4s --allow-any");
    wait_until(has_said(&joined, "message=registered"), LIMIT_MS);
}

/* Whether somebody listens at that port of this host. */
static bool is_open(const char *port) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in place = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)atoi(port)),
                                      .sin_addr = address};
    return connect(fd, (const struct sockaddr *)&place, sizeof(place)) == 0;
}

/* Listens there, as another program; 0: anywhere. The descriptor is the caller's. */
static int take_port(int port) {
    char text[8];
    struct sockaddr_in place = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = address};
    socklen_t len = sizeof(place);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
              bind(fd, (struct sockaddr *)&place, len) == 0 && listen(fd, 1) == 0 &&
              getsockname(fd, (struct sockaddr *)&place, &len) == 0);
    snprintf(text, sizeof(text), "%d", ntohs(place.sin_port));
    setenv("TAKEN", text, 1);
    return fd;
}

static void expect_in(const char *text, const char *words) {
    ck_assert_msg(strstr(text, words) != NULL, "no '%s' in: %s", words, text);
}

/* ---- nothing secret shows */

/* Redis writes over its environment. */
static pid_t redis_pid(void) {
    return (pid_t)number_of(STATE "/redis.pid");
}

/* What nobody but the files may have: passwords, and a line of each key. */
static const char *secrets[8];
static const char of_elsewhere[] = "hunter2-geheim"; /* in SHOAL_REDIS */

static void find_secrets(void) {
    size_t n = 0;
    secrets[n++] = text_of(STATE "/listen/passwords/local");
    secrets[n++] = text_of(STATE "/listen/passwords/worker");
    secrets[n++] = ok("sed -n 2p " STATE "/listen/worker.key");
    secrets[n++] = ok("sed -n 2p " STATE "/listen/server.key");
    secrets[n++] = ok("sed -n 2p " STATE "/listen/authority.key");
    secrets[n++] = ok("sed -n 3p " STATE "/join");
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_ge(strlen(secrets[i]), 40);
    secrets[n++] = of_elsewhere;
}

/* False: the process has ended. What cannot be read is not known to be good. */
static bool expect_no_secret_in(const char *path) {
    static char text[1 << 20];
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text));
    if (len < 0 && (errno == ENOENT || errno == ESRCH))
        return false;
    ck_assert_msg(len >= 0, "%s: %s", path, strerror(errno));
    for (size_t i = 0; secrets[i] != NULL; i++)
        ck_assert_msg(memmem(text, (size_t)len, secrets[i], strlen(secrets[i])) == NULL,
                      "secret %zu in %s", i, path);
    return len > 0;
}

/* How many processes were seen. */
static size_t look_at(const char *mark) {
    struct test_pids pids;
    char words[64], environment[64];
    size_t n = 0;
    test_processes_with(mark, &pids);
    pids.pid[pids.n++] = redis_pid();
    for (size_t i = 0; i < pids.n; i++) {
        snprintf(words, sizeof(words), "/proc/%d/cmdline", (int)pids.pid[i]);
        snprintf(environment, sizeof(environment), "/proc/%d/environ", (int)pids.pid[i]);
        n += expect_no_secret_in(words) && expect_no_secret_in(environment);
    }
    return n;
}

static void expect_nothing_secret_shows(void) {
    static const char *const logs[] = {"redis.log", "broker.log", "worker.log"};
    char text[256];
    find_secrets();
    /* Broker, keeper, worker and task; keeper, worker and task; Redis each time. */
    ck_assert_uint_ge(look_at(daemons.mark), 5);
    snprintf(text, sizeof(text), "%s/other", daemons.mark);
    ck_assert_uint_ge(look_at(text), 4);
    for (size_t i = 0; i < SHOAL_COUNT(logs); i++) {
        snprintf(text, sizeof(text), "%s/" STATE "/%s", daemons.home.path, logs[i]);
        ck_assert(expect_no_secret_in(text) || access(text, R_OK) == 0); /* is empty */
    }
    for (size_t i = 0; secrets[i] != NULL; i++)
        ck_assert(!has_said(&joined, secrets[i]));
    ck_assert_str_eq(ok("find " STATE "/listen " STATE "/join other/state -type f "
                        "! -perm 600; find " STATE "/listen other/state -type d "
                        "! -perm 700"),
                     "");
}

/* ---- it works */

START_TEST(sweep_runs_on_both_hosts_and_nothing_secret_shows) {
    snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS=redis://:%s@127.0.0.1:1",
             of_elsewhere);
    up("$ADDRESS:0 --namespace lab"); /* which is said once */
    expect_in(text_in(told, "command"), "join | shoal worker --join - --allow-any");
    join();
    snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS");
    expect_in(ok("cat .config/shoal/signing.key.pub"), text_in(told, "key"));
    int gate = gate_close("gate");
    const char *job =
        ok("shoal submit -p i=1:2 -- sh -c ': > began.{i}; flock -sF gate true; "
           "echo home=$HOME'");
    wait_until(files("began.*") == 2, LIMIT_MS); /* a slot on each */
    expect_nothing_secret_shows();
    gate_open(gate);
    ok("shoal wait %s", job);
    expect_in(ok("shoal results %s --format csv", job), "/other");
    expect_in(ok("shoal workers"), "second");
    expect_in(ok("shoal status"), "succeeded");
    expect_in(ok("shoal doctor"), "by TLS: for who has a join token");
    ok("shoal audit");
}
END_TEST

/* One of them may have taken and refused all of a job, so there are more until both have
 * met one. */
static bool is_refused_by_both(void) {
    sh_exit(1, "shoal run --no-sign -p i=1:20 -- sh -c ': > ran'");
    return has_said(&joined, "this is not signed") &&
           strstr(text_of(STATE "/worker.log"), "this is not signed") != NULL;
}

START_TEST(nobody_runs_what_was_not_signed) {
    up("$ADDRESS:0");
    join();
    wait_until(is_refused_by_both(), LIMIT_MS);
    ck_assert_uint_eq(files("ran"), 0);
    ok("shoal run -- sh -c ': > ran'");
    ck_assert_uint_eq(files("ran"), 1);
}
END_TEST

START_TEST(who_joined_comes_back_when_the_cluster_does) {
    up("$ADDRESS:0");
    const char *port = ok("echo $PORT");
    join();
    ok("shoal down");
    wait_until(!is_open(getenv("PORT")), LIMIT_MS);
    wait_until(has_said(&joined, "Redis is away"), LIMIT_MS);
    ck_assert(!has_said(&joined, "handshake")); /* which was done long ago */
    ck_assert(has_said(&joined, "closed the connection") || has_said(&joined, "reset"));
    ck_assert_str_eq(ok("shoal up --slots 1"), ok("echo unix:$PWD/" STATE "/redis.sock"));
    ck_assert(!is_open(getenv("PORT"))); /* not unless it is said again */
    ok("shoal run -- true");
    const char *job = ok("shoal submit --no-sign -- sh -c ': > ran'");
    wait_until(strstr(text_of(STATE "/worker.log"), job) != NULL, LIMIT_MS);
    expect_in(text_of(STATE "/worker.log"),
              "is not signed"); /* others may have left it */
    expect_in(sh_exit(2, "shoal replay %s 0", job).err, "is not signed");
    ok("shoal cancel %s; shoal wait %s || true; test ! -e ran; shoal down", job, job);
    up("$ADDRESS:0");
    wait_until(times_said(&joined, "message=registered") == 2, LIMIT_MS);
    const char *token = text_of(STATE "/join");
    ok("echo '# by hand' >> " STATE "/trusted-keys");
    up("$ADDRESS"); /* says it once more */
    ck_assert_str_eq(text_of(STATE "/join"), token);
    ok("grep '^# by hand' " STATE "/trusted-keys");
    ck_assert_str_eq(getenv("PORT"), port);
    ok("shoal run -- true");
}
END_TEST

static void signal_all(int number) {
    struct test_pids pids;
    test_processes_with(daemons.mark, &pids);
    ck_assert_uint_ge(pids.n, 3); /* broker, keeper and worker */
    pids.pid[pids.n++] = redis_pid();
    for (size_t i = 0; i < pids.n; i++)
        kill(pids.pid[i], number);
}

/* As after a crash, and after a power cut. */
START_TEST(redis_comes_back_as_it_was_and_not_after_all_was_gone) {
    up("$ADDRESS:0");
    join();
    ck_assert_int_eq(kill(redis_pid(), SIGKILL), 0);
    wait_until(!is_open(getenv("PORT")), LIMIT_MS);
    ok("shoal run -- true");
    ck_assert(is_open(getenv("PORT")));
    wait_until(times_said(&joined, "message=registered") >= 2, LIMIT_MS);
    test_process_finish(&joined);
    signal_all(SIGSTOP); /* or a keeper would start its worker again */
    signal_all(SIGKILL);
    wait_until(!is_open(getenv("PORT")), LIMIT_MS);
    sh("shoal status");
    ck_assert(!is_open(getenv("PORT")));
}
END_TEST

/* Work that goes on is not ended by who only looks. */
START_TEST(redis_that_cannot_come_back_ends_no_worker) {
    up("$ADDRESS:0");
    int64_t worker = number_of(STATE "/worker.pid");
    ok("shoal submit -- sh -c ': > began; while test ! -e end; do sleep 0.05; done'");
    wait_until(files("began") == 1, LIMIT_MS);
    ck_assert_int_eq(kill(redis_pid(), SIGKILL), 0);
    wait_until(!is_open(getenv("PORT")), LIMIT_MS);
    int fd = take_port(atoi(getenv("PORT")));
    expect_in(sh_exit(2, "shoal status").err, "is taken by another program");
    shoal_cleanup_fd(&fd);
    ok(": > end; shoal wait -");
    ck_assert_int_eq(number_of(STATE "/worker.pid"), worker);
    ck_assert(is_open(getenv("PORT")));
    expect_in(ok("shoal show - 0"), "attempt      1");
    ok("sed -i 's/ [0-9]* / 65536 /' " STATE "/listen/address");
    expect_in(sh_exit(1, "shoal status").err, "does not say where");
}
END_TEST

/* ---- it holds */

#define DIALS "redis-cli --no-auth-warning --tls -h $ADDRESS -p $PORT "
#define TRUSTS "--cacert " STATE "/listen/authority.pem "
#define SHOWS                                                                            \
    TRUSTS "--cert " STATE "/listen/worker.pem --key " STATE "/listen/worker.key "
#define AS(user)                                                                         \
    SHOWS "--user " user " --pass $(cat " STATE "/listen/passwords/" user ") "

static const struct {
    const char *way;
    const char *says;
} attempts[] = {
    {"redis-cli -h $ADDRESS -p $PORT PING", "closed|reset"},
    {DIALS TRUSTS "PING", "certificate required|closed|reset"},
    {DIALS TRUSTS "--cert " STATE "/listen/server.pem --key " STATE
                  "/listen/server.key PING",
     "unsupported certificate|bad certificate|closed|reset"},
    {DIALS SHOWS "PING", "^NOAUTH"},
    {DIALS SHOWS "GET x", "^NOAUTH"},
    {DIALS SHOWS "AUTH default x", "^WRONGPASS"},
    {DIALS SHOWS "AUTH x", "^WRONGPASS|^ERR AUTH|without any password"},
    {DIALS SHOWS "AUTH worker x", "^WRONGPASS"},
    {DIALS SHOWS "AUTH local $(cat " STATE "/listen/passwords/worker)", "^WRONGPASS"},
    {DIALS AS("worker") "FLUSHALL", "^NOPERM"},
    {DIALS AS("worker") "CONFIG GET dir", "^NOPERM"},
    {DIALS AS("worker") "ACL LIST", "^NOPERM"},
    {DIALS AS("worker") "EVAL 'return 1' 0", "^NOPERM"},
    {DIALS AS("worker") "FUNCTION LOAD x", "^NOPERM"},
    {DIALS AS("worker") "SET other x", "^NOPERM"},
    {DIALS AS("worker") "MONITOR", "^NOPERM"},
    {"shoal submit --redis rediss://worker@$ADDRESS:$PORT --redis-password-file " STATE
     "/listen/passwords/worker --tls-ca " STATE "/listen/authority.pem --tls-cert " STATE
     "/listen/worker.pem --tls-key " STATE "/listen/worker.key --no-sign -- true",
     "this user may not do that in Redis.*the move 'submit'"},
    {DIALS AS("worker") "PING", "^PONG"},
};

START_TEST(token_is_good_for_work_alone) {
    up("$ADDRESS:0");
    for (size_t i = 0; i < SHOAL_COUNT(attempts); i++) {
        setenv("WANTED", attempts[i].says, 1);
        struct said said = sh("(%s) 2>&1 < /dev/null | tee said | "
                              "grep -qiE \"$WANTED\"",
                              attempts[i].way);
        ck_assert_msg(said.exit == 0, "%s: %s", attempts[i].way, text_of("said"));
    }
    ck_assert_str_eq(ok("ls " STATE "/listen/users; grep -c '^user default off' " STATE
                        "/listen/users"),
                     STATE "/listen/users\n1");
}
END_TEST

/* What it was made of is moved away, as the README says for one in wrong hands. */
/* Whoever comes with one, or when nobody listens, is told what to do. */
START_TEST(join_that_leads_nowhere_says_what_may_be_wrong) {
    up("$ADDRESS:0");
    ok("shoal down; mv " STATE "/listen before; cp " STATE "/join token");
    for (int i = 0; i < 2; i++) {
        sh_start(&joined, "env " OTHER "shoal worker --join token --slots 1 "
                          "--session-ttl 4s --allow-any");
        wait_until(has_said(&joined, "'shoal up --listen ADDRESS' on its host says"),
                   LIMIT_MS);
        wait_until(has_said(&joined, "Redis is away"), LIMIT_MS); /* and goes on */
        ck_assert(!has_said(&joined, "message=registered"));
        test_process_finish(&joined);
        up("$ADDRESS:0"); /* with other keys */
    }
}
END_TEST

START_TEST(token_of_before_is_good_no_more) {
    up("$ADDRESS:0");
    ok("shoal down; mv " STATE "/listen before; cp " STATE "/join token");
    up("$ADDRESS:0");
    sh_exit(1, "cmp -s token " STATE "/join");
    ok(DIALS TRUSTS "--cert before/worker.pem --key before/worker.key PING 2>&1 | "
                    "grep -iE 'unknown ca|closed|reset'");
    ok(DIALS SHOWS "AUTH worker $(cat before/passwords/worker) | grep '^WRONGPASS'");
    ok("shoal run -- true");
}
END_TEST

/* ---- what makes no sense is refused in a sentence */

static const struct {
    const char *where;
    const char *says;
} places[] = {
    {"198.51.100.77", "is no address of this host"},
    {"224.0.0.1", "is no address of this host"},
    {"255.255.255.255:0", "is no address of this host"},
    {"127.255.255.255:0", "is no address of this host"},
    {"[ff02::1]:0", "is no address of this host"},
    {"no..name", "nobody knows the name"}, /* asks no server */
    {"$ADDRESS:65536", "too large"},
    {"$ADDRESS:-1", "the port of --listen"},
    {"$ADDRESS:", "the port of --listen"},
    {"''", "write an address"},
    {":6380", "write an address"},
    {"'[::1'", "write an address"},
    {"'a b'", "write an address"},
    {"'x,DNS:evil'", "write an address"},
    {"$ADDRESS:$TAKEN", "is taken by another program"},
};

START_TEST(address_that_makes_no_sense_is_refused) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = take_port(0);
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < SHOAL_COUNT(places); i++) {
        struct said said = sh_exit(2, "shoal up --listen %s", places[i].where);
        expect_in(said.err, places[i].says);
        ck_assert_str_eq(said.out, "");
    }
    ck_assert_uint_eq(files(STATE "/redis"), 0); /* nothing was started */
    ok("shoal up --slots 1");
    expect_in(sh_exit(2, "shoal up --listen $ADDRESS:0").err, "run 'shoal down' first");
    ok("shoal run -- true");
}
END_TEST

static const struct {
    const char *way; /* to get it */
    const char *says;
} refused[] = {
    {"--join nothing", "cannot read the join token"},
    {"--join .", "is not a file"},
    {"--join", "--join needs a value: one file"},
    {"--join=", "--join needs a value: one file"},
    {"--join token --join token", "--join stands there twice"},
    {"--join \"$(cat token)\"", "on the command line"},
    {"--join \"$(sed -n 2p token)\"", "cannot read the join token"},
    {"--join open", "run chmod 600"},
    {"--join written", "others can write"},
    {"--join cut", "is no join token"},
    {"--join gap", "was damaged"},
    {"--join empty", "is no join token"},
    {"--join large", "is no join token"},
    {"--join - < cut", "is no join token"},
    {"--join - < /dev/null", "is no join token"},
    {"--join - < /dev/zero", "is no join token"},
    {"--join token --redis redis://$ADDRESS", "--join and --redis do not go together"},
    {"--namespace=x --join token", "--join and --namespace do not go together"},
    {"--join token --trust-keys keys", "--join and --trust-keys do not go together"},
    {"--join token --trust-k=keys", "--join and --trust-keys do not go together"},
    {"--join token --trust-redis", "--join and --trust-redis do not go together"},
};

START_TEST(token_that_is_none_is_refused) {
    up("$ADDRESS:0");
    ok("umask 077; cp " STATE "/join token; cp token open; chmod 644 open; "
       "cp token written; chmod 622 written; head -n 5 token > cut; : > empty; "
       "sed 5d token > gap; head -c 100000 /dev/urandom > large");
    for (size_t i = 0; i < SHOAL_COUNT(refused); i++) {
        struct said said =
            sh_exit(2, "env " OTHER "shoal worker --slots 1 %s", refused[i].way);
        expect_in(said.err, refused[i].says);
        ck_assert_ptr_eq(strchr(said.err, '\n'), strrchr(said.err, '\n'));
    }
    ck_assert_uint_eq(files("other/state"), 0); /* nothing was kept */
}
END_TEST

/* What is shoal-worker's goes there, from stdin too, whose end does not matter. */
START_TEST(other_options_are_the_workers) {
    up("$ADDRESS:0");
    expect_in(sh_exit(2, "env " OTHER "shoal worker --nonsense").err, "shoal-worker: ");
    expect_in(sh_exit(2, "env " OTHER "shoal worker --slots x --join " STATE "/join").err,
              "shoal-worker: ");
    ok("sed -i '1i # by hand' other/state/joined/*/trusted-keys");
    expect_in(ok("shoal worker --version"), "shoal-worker ");
    sh_start(&joined,
             "env " OTHER "shoal worker --join=- --allow-any --queue odd,default "
             "--session-ttl 4s --slots 1 < " STATE "/join");
    wait_until(has_said(&joined, "message=registered"), LIMIT_MS);
    expect_in(ok("shoal workers"), "odd,default");
    ok("grep '^# by hand' other/state/joined/*/trusted-keys");
}
END_TEST

/* And the port is another only where it has to be. */
START_TEST(token_of_changed_files_is_not_given_out) {
    up("$ADDRESS:0");
    ok("cd " STATE "/listen/passwords; echo changed | tee local > worker");
    expect_in(sh_exit(3, "shoal status").err, "does not let its own user in");
    expect_in(sh_exit(2, "shoal up --listen $ADDRESS").err, "makes no good join token");
    ok("shoal down; rm -r " STATE "/listen/passwords");
    int fd = take_port(atoi(getenv("PORT")));
    expect_in(sh_exit(0, "shoal up --slots 1 --listen $ADDRESS:0").err, "is taken now");
    shoal_cleanup_fd(&fd);
    ok("shoal run -- true");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("join");
    TCase *tests = tcase_create("join");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, sweep_runs_on_both_hosts_and_nothing_secret_shows);
    tcase_add_test(tests, nobody_runs_what_was_not_signed);
    tcase_add_test(tests, who_joined_comes_back_when_the_cluster_does);
    tcase_add_test(tests, redis_comes_back_as_it_was_and_not_after_all_was_gone);
    tcase_add_test(tests, redis_that_cannot_come_back_ends_no_worker);
    tcase_add_test(tests, token_is_good_for_work_alone);
    tcase_add_test(tests, token_of_before_is_good_no_more);
    tcase_add_test(tests, join_that_leads_nowhere_says_what_may_be_wrong);
    tcase_add_test(tests, address_that_makes_no_sense_is_refused);
    tcase_add_test(tests, token_that_is_none_is_refused);
    tcase_add_test(tests, other_options_are_the_workers);
    tcase_add_test(tests, token_of_changed_files_is_not_given_out);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
