/* Redis by TLS, with a real server: all goes as without it, who cannot be trusted is
 * refused with a sentence, and nothing secret shows anywhere. */
#include "client/shoal.h"
#include "common/cleanup.h"
#include "tests/support/certificates.h"
#include "tests/support/daemons.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HERE "IP:127.0.0.1,DNS:localhost"
#define MANY                                                                             \
    "DNS:a-rather-long-name-of-a-host.example,DNS:another-long-name-of-a-host.example,"  \
    "DNS:a-third-long-name-of-a-host.example,DNS:a-fourth-long-name-of-a-host.example,"  \
    "DNS:and-more-of-them.example"

static struct test_directory certificates;
static struct test_process worker, broker;

static const struct test_certificate made[] = {
    {"authority", NULL, NULL, -1, 90},
    {"stranger", NULL, NULL, -1, 30}, /* an authority that nobody trusts */
    {"good", HERE, "authority", -1, 60},
    {"client", "DNS:client", "authority", -1, 60},
    {"soon", HERE, "authority", -1, 29},
    {"brief", NULL, NULL, -1, 20}, /* an authority that ends before what it signed */
    {"longer", HERE, "brief", -1, 60},
    {"expired", HERE, "authority", -30, -1},
    {"early", HERE, "authority", 2, 30},
    {"self", HERE, NULL, -1, 30},
    {"strange", HERE, "stranger", -1, 30},
    {"other", "DNS:other.example,IP:10.0.0.1", "authority", -1, 30},
    {"many", MANY, "authority", -1, 30},
};

static void make_certificates(void) {
    test_directory_create(&certificates);
    for (size_t i = 0; i < SHOAL_COUNT(made); i++)
        test_certificate_make(certificates.path, &made[i]);
    setenv("CERTS", certificates.path, 1);
}

/* One of its files; the text lives until the next but three. */
static const char *pem(const char *name, const char *suffix) {
    static char paths[4][64];
    static size_t n;
    char *path = paths[n++ % SHOAL_COUNT(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s.%s", certificates.path, name, suffix);
    return path;
}

/* Redis shows a certificate and, if told to, wants to see one. */
static void start(const char *certificate, const char *wants) {
    static char texts[3][64];
    make_certificates();
    snprintf(texts[0], sizeof(texts[0]), "%s", pem(certificate, "pem"));
    snprintf(texts[1], sizeof(texts[1]), "%s", pem(certificate, "key"));
    snprintf(texts[2], sizeof(texts[2]), "%s", pem("authority", "pem"));
    const char *const args[] = {"--tls-cert-file",
                                texts[0],
                                "--tls-key-file",
                                texts[1],
                                "--tls-ca-cert-file",
                                texts[2],
                                "--tls-auth-clients",
                                wants,
                                "--appendonly",
                                "yes",
                                "--appendfsync",
                                "always",
                                NULL};
    daemons_start_tls(args, texts[2]);
    setenv("SOCKET", daemons.server.socket, 1);
    setenv("PORT", strrchr(daemons.server.tls_url, ':') + 1, 1);
}

static void teardown(void) {
    daemons_finish();
    test_directory_destroy(&certificates);
}

/* From the next connection on. */
static void show(const char *certificate) {
    ok("redis-cli -s $SOCKET config set tls-cert-file %s tls-key-file %s",
       pem(certificate, "pem"), pem(certificate, "key"));
}

static void cut_connections(void) {
    ok("redis-cli -s $SOCKET client kill type normal skipme yes");
}

static void expect_said(const struct said *said, const char *words) {
    ck_assert_msg(strstr(said->err, words) != NULL, "no '%s' in: %s", words, said->err);
}

static void expect_work(void) {
    const char *job = ok("shoal submit -p i=1:4 -- echo i={i}");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
}

/* ---- all goes as without it */

/* Whatever is ours came in by the port. */
static void expect_only_tls(void) {
    ck_assert_str_eq(ok("redis-cli -s $SOCKET client list | grep -c 'name=shoal'"), "3");
    ck_assert_str_eq(ok("redis-cli -s $SOCKET client list | grep 'name=shoal' | "
                        "grep -v \"laddr=127.0.0.1:$PORT\" || true"),
                     "");
}

START_TEST(a_sweep_runs_by_tls) {
    start("good", "no");
    sh_start(&broker, "shoal-broker");
    wait_until(has_said(&broker, "keeping the queue moving"), LIMIT_MS);
    worker_start(&worker, "--allow-any --trust-redis --slots 2");
    expect_only_tls();
    const char *table =
        ok("shoal run --name sweep --format csv -p i=1:300 -- echo twice={i}{i}");
    ck_assert_ptr_nonnull(strstr(table, "twice"));
    expect_each_once("sweep");
    ok("shoal doctor --redis rediss://localhost:$PORT");
    ok("shoal submit --delay 1s --name later -- true; shoal wait later");
    test_process_signal(&broker, SIGTERM);
    ck_assert_int_eq(test_process_wait(&broker, LIMIT_MS), 0);
    test_process_finish(&broker);
    worker_end(&worker);
}
END_TEST

/* Values that take many records of TLS, in both directions. */
START_TEST(large_values_come_through) {
    start("good", "no");
    worker_start(&worker, "--allow-any --trust-redis --slots 2");
    ok("head -c 900000 /dev/urandom | base64 -w 60000 > lines; "
       "shoal run --from lines --max-result 1M --format jsonl -o rows -- "
       "sh -c 'for k in 1 2 3 4 5 6 7 8; do echo \"$SHOAL_ARGUMENT\"; done'");
    ck_assert_str_eq(ok("wc -l < rows"), ok("wc -l < lines"));
    ok("jq -r .result rows | sort -u > got; grep . got | sort > a; sort lines > b; "
       "cmp a b");
    worker_end(&worker);
}
END_TEST

START_TEST(connections_that_are_cut_are_made_again) {
    start("good", "no");
    worker_start(&worker, "--allow-any --trust-redis --slots 2");
    const char *job =
        ok("shoal submit -p i=1:300 -- sh -c ': > began.{i}.$$; echo i={i}'");
    for (size_t n = 50; n <= 250; n += 50) {
        wait_until(files("began.*") >= n, LIMIT_MS);
        cut_connections();
    }
    test_server_kill(&daemons.server);
    test_server_restart(&daemons.server, NULL);
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    ck_assert_uint_eq(files("began.*"), 300);
    worker_end(&worker);
}
END_TEST

START_TEST(an_upgraded_worker_connects_by_tls_again) {
    start("good", "no");
    int gate = gate_close("gate");
    worker_start(&worker, "--allow-any --trust-redis");
    const char *job =
        ok("shoal submit -- sh -c ': > began; exec flock -sF gate echo x=1'");
    wait_until(files("began") == 1, LIMIT_MS);
    test_process_signal(&worker, SIGUSR2);
    wait_until(has_said(&worker, "message=upgraded") &&
                   times_said(&worker, "message=registered") == 2,
               LIMIT_MS);
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    worker_end(&worker);
}
END_TEST

/* ---- servers that cannot be trusted */

static const struct {
    const char *certificate;
    const char *says[3];
} bad[] = {
    {"expired", {"expired on 20", "have it renewed"}},
    {"early", {"is not valid before 20", "set the clock"}},
    {"self", {"is self-signed", "--tls-ca"}},
    {"strange", {"was signed by 'stranger'", "authority.pem", "--tls-ca"}},
    {"other", {"is for other.example, 10.0.0.1 and not for '127.0.0.1'", "connect by"}},
    {"many", {"a-rather-long-name-of-a-host.example, ", " ... and not for '127.0.0.1'"}},
};

static bool has_said_all(const struct test_process *process, const char *const *says) {
    bool all = true;
    for (size_t i = 0; i < SHOAL_COUNT(bad[0].says) && says[i] != NULL; i++)
        all = all && has_said(process, says[i]);
    return all;
}

START_TEST(a_bad_certificate_is_said_once_until_it_is_mended) {
    start(bad[_i].certificate, "no");
    sh_start(&broker, "shoal-broker");
    worker_launch(&worker, "--allow-any --trust-redis");
    wait_until(has_said_all(&worker, bad[_i].says) && has_said_all(&broker, bad[_i].says),
               LIMIT_MS);
    struct said said = sh_exit(3, "shoal list");
    for (size_t i = 0; i < SHOAL_COUNT(bad[0].says) && bad[_i].says[i] != NULL; i++)
        expect_said(&said, bad[_i].says[i]);
    ck_assert_ptr_eq(strchr(said.err, '\n'), strrchr(said.err, '\n')); /* one line */
    show("good");
    wait_until(has_said(&worker, "message=registered") &&
                   has_said(&broker, "keeping the queue moving"),
               LIMIT_MS);
    expect_work();
    ck_assert_uint_eq(times_said(&worker, bad[_i].says[0]), 1);
    ck_assert_uint_eq(times_said(&broker, bad[_i].says[0]), 1);
    test_process_finish(&broker);
    worker_end(&worker);
}
END_TEST

START_TEST(what_runs_goes_on_while_a_certificate_is_bad) {
    start("good", "no");
    int gate = gate_close("gate");
    worker_start(&worker, "--allow-any --trust-redis");
    const char *job = ok("shoal submit -- sh -c ': > began; flock -sF gate true; "
                         ": > ended; echo x=1'");
    wait_until(files("began") == 1, LIMIT_MS);
    show("expired");
    cut_connections();
    wait_until(has_said(&worker, "expired on"), LIMIT_MS);
    gate_open(gate);
    wait_until(files("ended") == 1, LIMIT_MS);
    wait_until(strstr(sh("shoal-worker --status").out, "expired on") != NULL, LIMIT_MS);
    show("good");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    ck_assert_int_eq(int_in(row_of(job, 0), "attempt"), 1);
    worker_end(&worker);
}
END_TEST

/* The file is read for each connection. */
START_TEST(an_authority_may_be_put_in_place_later) {
    start("strange", "no");
    ok("cp $CERTS/authority.pem ca.pem");
    worker_launch(&worker, "--allow-any --trust-redis --tls-ca ca.pem");
    wait_until(has_said(&worker, "was signed by 'stranger'"), LIMIT_MS);
    ok("cat $CERTS/stranger.pem >> ca.pem");
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    ok("shoal list --tls-ca ca.pem; shoal list --tls-ca $CERTS/strange.pem");
    worker_end(&worker);
}
END_TEST

START_TEST(a_file_that_went_is_said_and_used_again_when_it_is_back) {
    start("good", "no");
    ok("cp $CERTS/authority.pem ca.pem");
    worker_start(&worker, "--allow-any --trust-redis --tls-ca ca.pem");
    ok("mv ca.pem away.pem");
    cut_connections();
    wait_until(has_said(&worker, "cannot read the file of authorities 'ca.pem'"),
               LIMIT_MS);
    ok("mv away.pem ca.pem");
    wait_until(times_said(&worker, "message=registered") == 2, LIMIT_MS);
    expect_work();
    worker_end(&worker);
}
END_TEST

START_TEST(the_systems_authorities_are_trusted_unless_said) {
    start("good", "no");
    struct said said = sh_exit(3, "unset SHOAL_TLS_CA; shoal list");
    expect_said(&said, "was signed by 'authority', an authority that this host does not");
    ok("unset SHOAL_TLS_CA; SSL_CERT_FILE=$CERTS/authority.pem shoal list");
}
END_TEST

START_TEST(a_server_that_is_stopped_is_given_up_in_time) {
    start("good", "no");
    kill(daemons.server.pid, SIGSTOP);
    worker_launch(&worker, "--allow-any --trust-redis");
    wait_until(has_said(&worker, "did not answer within 3000 ms; does it speak TLS"),
               LIMIT_MS);
    kill(daemons.server.pid, SIGCONT);
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    expect_work();
    worker_end(&worker);
}
END_TEST

START_TEST(who_forgets_the_s_is_told) {
    start("good", "no");
    struct said said =
        sh_exit(3, "unset SHOAL_TLS_CA; SHOAL_REDIS=redis://127.0.0.1:$PORT shoal list");
    expect_said(&said, "rediss://");
    ok("redis-cli -s $SOCKET config set tls-protocols TLSv1.1");
    said = sh_exit(3, "shoal list");
    expect_said(&said, "it must allow 1.2 or 1.3");
}
END_TEST

/* ---- servers that want to know who comes */

START_TEST(a_client_certificate_is_shown_where_one_is_demanded) {
    start("good", "yes");
    struct said said = sh_exit(3, "shoal list");
    expect_said(&said, "a client certificate");
    ok("SHOAL_TLS_CERT=$CERTS/client.pem SHOAL_TLS_KEY=$CERTS/client.key shoal list");
    said = sh_exit(3, "shoal list --tls-cert $CERTS/self.pem --tls-key $CERTS/self.key");
    expect_said(&said, "the client certificate in '");
    ok("redis-cli -s $SOCKET config set tls-protocols TLSv1.2");
    said = sh_exit(3, "shoal list");
    expect_said(&said, "--tls-cert and --tls-key");
    ok("shoal list --tls-cert $CERTS/client.pem --tls-key $CERTS/client.key");
}
END_TEST

static const struct {
    const char *server, *own;
    int exit; /* 1: something is bad, 3: there is no connection */
    const char *says[2];
} ends[] = {
    {"good", NULL, 0, {"ok    certificate  the server's certificate is good until 20"}},
    {"soon",
     NULL,
     0,
     {"warn  certificate  the server's certificate expires on 20",
      "in 28 days: have it renewed there"}},
    {"expired", NULL, 3, {"expired on 20", "have it renewed there"}},
    {"good", "client", 0, {"ok    client-cert  your own certificate is good until 20"}},
    {"good",
     "soon",
     0,
     {"warn  client-cert  your own certificate expires on 20",
      "in 28 days: have it renewed, and give"}},
    {"good",
     "expired",
     1,
     {"bad   client-cert  your own certificate expired on 20",
      "give the new one to --tls-cert"}},
    {"longer",
     NULL,
     0,
     {"warn  authority    the authority's certificate that",
      "have another sign the server's"}},
};

START_TEST(doctor_tells_of_certificates_that_expire) {
    start("good", "no");
    for (size_t i = 0; i < SHOAL_COUNT(ends); i++) {
        char own[160];
        const char *ca = strcmp(ends[i].server, "longer") == 0 ? "brief" : "authority";
        snprintf(own, sizeof(own), "--tls-ca %s", pem(ca, "pem"));
        if (ends[i].own != NULL)
            snprintf(own, sizeof(own), "--tls-cert %s --tls-key %s",
                     pem(ends[i].own, "pem"), pem(ends[i].own, "key"));
        show(ends[i].server);
        struct said said = sh_exit(ends[i].exit, "shoal doctor %s", own);
        for (size_t k = 0; k < SHOAL_COUNT(ends[i].says) && ends[i].says[k] != NULL; k++)
            ck_assert_msg(
                strstr(ends[i].exit == 3 ? said.err : said.out, ends[i].says[k]) != NULL,
                "no '%s' in: %s%s", ends[i].says[k], said.out, said.err);
    }
}
END_TEST

START_TEST(a_client_certificate_may_be_renewed_under_a_worker) {
    start("good", "yes");
    ok("cp $CERTS/expired.pem my.pem; cp $CERTS/expired.key my.key; chmod 600 my.key");
    worker_launch(&worker,
                  "--allow-any --trust-redis --tls-cert my.pem --tls-key my.key");
    wait_until(has_said(&worker, "the client certificate in 'my.pem'"), LIMIT_MS);
    ok("cp $CERTS/client.key my.key; cp $CERTS/client.pem my.pem");
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    setenv("SHOW", "--tls-cert my.pem --tls-key my.key", 1);
    ok("shoal run $SHOW -p i=1:4 -- true; shoal audit $SHOW");
    worker_end(&worker);
}
END_TEST

START_TEST(a_program_names_files_or_has_them_in_variables) {
    start("good", "yes");
    struct shoal_client *client = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    char ca[64], certificate[64], key[64];
    snprintf(ca, sizeof(ca), "%s", pem("authority", "pem"));
    snprintf(certificate, sizeof(certificate), "%s", pem("client", "pem"));
    snprintf(key, sizeof(key), "%s", pem("client", "key"));
    struct shoal_client_options options = {
        .url = daemons.server.tls_url, .tls_ca = ca, .tls_cert = certificate};
    unsetenv("SHOAL_TLS_CA");
    ck_assert_int_eq(shoal_client_connect(&options, &client, &err), SHOAL_INVALID);
    options.tls_key = key;
    ck_assert_int_eq(shoal_client_connect(&options, &client, NULL), SHOAL_OK);
    shoal_client_destroy(client);
    setenv("SHOAL_TLS_CA", ca, 1);
    setenv("SHOAL_TLS_CERT", certificate, 1);
    setenv("SHOAL_TLS_KEY", key, 1);
    options = (struct shoal_client_options){.url = daemons.server.tls_url};
    ck_assert_int_eq(shoal_client_connect(&options, &client, NULL), SHOAL_OK);
    shoal_client_destroy(client);
    options.url = daemons.server.url; /* where they do not count */
    ck_assert_int_eq(shoal_client_connect(&options, &client, NULL), SHOAL_OK);
    shoal_client_destroy(client);
    options.tls_ca = ca;
    ck_assert_int_eq(shoal_client_connect(&options, &client, NULL), SHOAL_INVALID);
}
END_TEST

/* A local cluster has none, whatever the variables say. */
START_TEST(a_local_cluster_is_not_confused) {
    start("good", "no");
    ok("unset SHOAL_REDIS; export SHOAL_TLS_CERT=none SHOAL_TLS_KEY=none; "
       "shoal run --slots 1 -p i=1:3 -- true");
}
END_TEST

/* ---- nothing secret shows */

static const char secret[] = "hunter2-geheim";

/* Whether a file of a process has the secret in it. */
static bool shows_secret(pid_t pid, const char *file) {
    static char text[1 << 17];
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof(text));
    return len > 0 && memmem(text, (size_t)len, secret, strlen(secret)) != NULL;
}

/* Of a daemon and all that it has started. */
static void expect_no_secret(const struct test_process *daemon, size_t least) {
    struct test_pids pids;
    test_descendants(daemon->pid, &pids);
    ck_assert_uint_ge(pids.n, least);
    pids.pid[pids.n++] = daemon->pid;
    for (size_t i = 0; i < pids.n; i++) {
        ck_assert_msg(!shows_secret(pids.pid[i], "cmdline"), "in the words of %d",
                      (int)pids.pid[i]);
        ck_assert_msg(!shows_secret(pids.pid[i], "environ"), "in the environment of %d",
                      (int)pids.pid[i]);
    }
    ck_assert_msg(!has_said(daemon, secret), "in the log");
}

/* How the password is given. */
static const struct {
    const char *options; /* behind the program, with variables */
    bool is_variable;    /* SHOAL_REDIS has it */
} ways[] = {
    {"--redis rediss://:$SECRET@127.0.0.1:$PORT", false},
    {"--redis=rediss://default:$SECRET@127.0.0.1:$PORT", false},
    {"--redis-password-file password", false},
    {"", true},
    /* of the variable, although another URL is used */
    {"--redis-password-file password --redis rediss://127.0.0.1:$PORT", true},
    {"--redis rediss://:$SECRET@127.0.0.1:$PORT", true},
};

static void demand_password(bool is_variable) {
    setenv("SECRET", secret, 1);
    ok("(umask 077; echo $SECRET > password); "
       "redis-cli -s $SOCKET config set requirepass $SECRET");
    unsetenv("SECRET");
    if (is_variable)
        snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS=rediss://:%s@%s",
                 secret, strstr(daemons.server.tls_url, "127"));
}

/* A shell would have it in its words; this one reads it from the file. */
static void start_with(struct test_process *process, const char *program,
                       const char *options, const char *more) {
    sh_start(process, "sh -c 'SECRET=$(cat password); exec %s %s %s'", program, options,
             more);
}

static void look_everywhere(const struct test_process *run) {
    const char *told =
        ok("shoal-worker --status; shoal-worker --status --json; "
           "REDISCLI_AUTH=$(cat password) redis-cli -s $SOCKET client list");
    ck_assert_ptr_nonnull(strstr(told, "name=shoal-worker"));
    ck_assert_ptr_null(strstr(told, secret));
    expect_no_secret(&worker, 2); /* the worker and its task */
    expect_no_secret(&broker, 0);
    expect_no_secret(run, 0);
}

static void expect_warned(const struct test_process *process, bool is_warned) {
    ck_assert(has_said(process, "on the command line could be read") == is_warned);
}

START_TEST(a_password_shows_nowhere) {
    struct test_process run;
    start("good", "no");
    demand_password(ways[_i].is_variable);
    int gate = gate_close("gate");
    start_with(&worker, "shoal-worker --allow-any --trust-redis --session-ttl 4s",
               ways[_i].options, "");
    start_with(&broker, "shoal-broker", ways[_i].options, "");
    start_with(&run, "shoal run -o rows", ways[_i].options,
               "-- sh -c \"env > env; : > began; exec flock -sF gate echo x=1\"");
    wait_until(has_said(&broker, "keeping the queue moving") && files("began") == 1,
               LIMIT_MS);
    look_everywhere(&run);
    ck_assert_ptr_null(strstr(text_of("env"), secret));
    ck_assert_ptr_null(strstr(text_of("env"), "SHOAL_REDIS"));
    test_process_signal(&worker, SIGUSR2); /* the program behind it hides it as well */
    wait_until(has_said(&worker, "message=upgraded") &&
                   times_said(&worker, "message=registered") == 2,
               LIMIT_MS);
    look_everywhere(&run);
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    bool is_warned = strstr(ways[_i].options, "SECRET") != NULL;
    expect_warned(&worker, is_warned);
    expect_warned(&broker, is_warned);
    expect_warned(&run, is_warned);
    test_process_finish(&run);
    test_process_finish(&broker);
    worker_end(&worker);
}
END_TEST

START_TEST(a_wrong_password_is_not_repeated) {
    start("good", "no");
    demand_password(false);
    struct said said =
        sh_exit(3, "shoal list --redis rediss://:false-%s@127.0.0.1:$PORT", secret);
    ck_assert_ptr_null(strstr(said.err, secret));
    worker_launch(&worker, "--allow-any --trust-redis "
                           "--redis rediss://:false-hunter2-geheim@127.0.0.1:$PORT");
    wait_until(has_said(&worker, "refused the user name or the password"), LIMIT_MS);
    ck_assert(has_said(&worker, "Redis cannot be used"));
    ck_assert_ptr_nonnull(strstr(ok("shoal-worker --status"), ": refuses for"));
    expect_no_secret(&worker, 1);
    test_process_finish(&worker);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tls");
    TCase *tests = tcase_create("tls");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_test(tests, a_sweep_runs_by_tls);
    tcase_add_test(tests, large_values_come_through);
    tcase_add_test(tests, connections_that_are_cut_are_made_again);
    tcase_add_test(tests, an_upgraded_worker_connects_by_tls_again);
    tcase_add_loop_test(tests, a_bad_certificate_is_said_once_until_it_is_mended, 0,
                        (int)SHOAL_COUNT(bad));
    tcase_add_test(tests, what_runs_goes_on_while_a_certificate_is_bad);
    tcase_add_test(tests, an_authority_may_be_put_in_place_later);
    tcase_add_test(tests, a_file_that_went_is_said_and_used_again_when_it_is_back);
    tcase_add_test(tests, the_systems_authorities_are_trusted_unless_said);
    tcase_add_test(tests, a_server_that_is_stopped_is_given_up_in_time);
    tcase_add_test(tests, who_forgets_the_s_is_told);
    tcase_add_test(tests, a_client_certificate_is_shown_where_one_is_demanded);
    tcase_add_test(tests, doctor_tells_of_certificates_that_expire);
    tcase_add_test(tests, a_client_certificate_may_be_renewed_under_a_worker);
    tcase_add_test(tests, a_program_names_files_or_has_them_in_variables);
    tcase_add_test(tests, a_local_cluster_is_not_confused);
    tcase_add_loop_test(tests, a_password_shows_nowhere, 0, (int)SHOAL_COUNT(ways));
    tcase_add_test(tests, a_wrong_password_is_not_repeated);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
