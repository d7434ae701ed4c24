/* Signed jobs, with a real Redis that somebody else writes to, and real workers that ask
 * whose each job is. */
#include "client/shoal.h"
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct test_process worker, other;

/* Keys `mine` (in the usual place), `next` and `strange`; the file `keys` trusts the
 * first two. Whatever runs that must not leaves `forbidden`. */
static void setup(void) {
    daemons_start(NULL);
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    setenv("SOCKET", daemons.server.socket, 1);
    ok("mkdir sim bin; shoal keygen > mine.line; shoal keygen next > next.line; "
       "shoal keygen strange > strange.line; cat mine.line next.line > keys; "
       "printf '#!/bin/sh\\necho ran=good\\n' > sim/good; "
       "printf '#!/bin/sh\\n: > \"$HOME/forbidden\"; echo ran=evil\\n' > sim/evil; "
       "chmod +x sim/good sim/evil; "
       "printf '#!/bin/sh\\nexec redis-cli -s \"$SOCKET\" \"$@\"\\n' > bin/r; "
       "chmod +x bin/r");
}

static void teardown(void) {
    daemons_finish();
}

static void start(struct test_process *process, const char *options) {
    sh_start(process, "shoal-worker --session-ttl 4s --slots 2 %s", options);
    wait_until(has_said(process, "message=registered"), LIMIT_MS);
}

/* Told to whoever submitted it; nothing was run. */
static void expect_told(const char *job, const char *said) {
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "spawn");
    const char *story = sh("shoal show %s 0", job).out;
    ck_assert_msg(strstr(story, said) != NULL, "'%s' is not in: %s", said, story);
    ck_assert_uint_eq(files("forbidden"), 0);
}

/* And to whoever has the worker. */
static void expect_refusal(const char *job, const char *said) {
    expect_told(job, said);
    ck_assert(has_said(&worker, said));
}

static void expect_others_run(void) {
    ck_assert_ptr_nonnull(strstr(ok("shoal run --format csv -- sim/good"), "good"));
    expect_audit();
}

/* ---- what runs */

static const char *const signed_jobs[] = {
    "-p x=1:500 --reps 2 -- sim/good",
    "--plugin \"$PLUGIN\" --task nothing -p x=1:5000",
    "--retries 2 --seed 18446744073709551 --priority 9 --max-running 3 -- sim/good",
    "--from rows.txt -- sim/good {}",
    "--from rows.csv -- sim/good {a} {b}",
    "--from rows.csv --plugin \"$PLUGIN\" --task nothing",
};

START_TEST(what_is_signed_runs) {
    ok("seq 3999 > rows.txt; { echo a,b; seq -f '%%g,x' 3000; } > rows.csv");
    start(&worker, "--trust-keys keys");
    const char *job = ok("shoal submit %s", signed_jobs[_i]);
    ok("shoal wait %s", job);
    expect_each_once(job);
    ck_assert_ptr_nonnull(strstr(ok("shoal show %s 0", job), ok("cut -c-64 mine.line")));
    worker_end(&worker);
}
END_TEST

START_TEST(lines_are_signed_as_they_come) {
    start(&worker, "--trust-keys keys");
    const char *rows = ok("seq 500 | shoal run --from - --format csv -- sim/good {} | "
                          "grep -c good");
    ck_assert_str_eq(rows, "500");
    worker_end(&worker);
}
END_TEST

START_TEST(failed_tasks_are_tried_again) {
    start(&worker, "--trust-keys keys");
    const char *job = ok("shoal submit -p x=0,1 -- sh -c 'exit $(test -e go; echo $?)'");
    sh_exit(1, "shoal wait %s", job);
    ok(": > go; shoal retry %s", job);
    ok("shoal wait %s", job);
    expect_audit();
    worker_end(&worker);
}
END_TEST

/* What it knows of the store is asked for by signatures alone, once it has been idle. */
START_TEST(worker_knows_its_store_after_heartbeats) {
    start(&worker, "--trust-keys keys");
    ok("s=$(bin/r --raw keys 'shoal:{0}:session:*'); bin/r hset $s running none");
    wait_until(strcmp(ok("bin/r hget $(bin/r --raw keys 'shoal:{0}:session:*') running"),
                      "0") == 0,
               LIMIT_MS);
    ok("shoal run -- sim/good");
    worker_end(&worker);
}
END_TEST

/* The local cluster's Redis is its user's own; there, signed jobs run as any. */
START_TEST(own_redis_is_trusted_without_keys) {
    start(&worker, "");
    ok("shoal run -- sim/good; shoal run --no-sign -- sim/good");
    worker_end(&worker);
}
END_TEST

/* It binds the socket while it may, and listens as somebody else. */
static const char stranger_code[] =
    "python3 -c \"import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\n"
    "s.bind(os.environ['SOCKET'])\nos.seteuid(65534)\ns.listen()\n"
    "while True: print('heard:', s.accept()[0].recv(100), file=sys.stderr)\"";

/* As one may who finds the place empty, where the socket lies in a folder of all. */
START_TEST(stranger_in_the_place_of_ones_own_redis_hears_nothing) {
    struct test_process stranger;
    if (geteuid() != 0) {
        printf("skipped: other users, as only root can be one\n");
        return;
    }
    start(&worker, "");
    test_server_stop(&daemons.server);
    sh_start(&stranger, "%s", stranger_code);
    wait_until(times_said(&stranger, "heard: ") >= 3, LIMIT_MS);
    ck_assert_uint_eq(times_said(&stranger, "heard: "),
                      times_said(&stranger, "heard: b''"));
    test_process_finish(&stranger);
    ok("rm \"$SOCKET\"");
    test_server_restart(&daemons.server, NULL);
    ok("shoal run -- sim/good");
    worker_end(&worker);
}
END_TEST

/* By which any user of this host could write to it. */
static const char *const listening[] = {"--port", NULL, "--bind", "127.0.0.1", NULL};

static const char *const *on_a_port(void) {
    static const char *args[SHOAL_COUNT(listening)];
    static char port[8];
    memcpy(args, listening, sizeof(args));
    snprintf(port, sizeof(port), "%d", test_free_port());
    setenv("PORT", port, 1);
    args[1] = port;
    return args;
}

START_TEST(own_redis_that_listens_on_a_port_is_not_trusted_without_keys) {
    test_server_restart(&daemons.server, on_a_port());
    struct said said = sh_exit(3, "shoal-worker");
    ck_assert_msg(strstr(said.err, ok("echo \"listens on port $PORT as well\"")) != NULL,
                  "%s", said.err);
    ok("shoal submit -- sim/good; shoal replay - 0");
    const char *job = ok("shoal --redis redis://127.0.0.1:$PORT submit --no-sign -- "
                         "sim/evil");
    said = sh_exit(2, "shoal replay %s 0", job);
    ck_assert_msg(strstr(said.err, "the job is not signed") != NULL, "%s", said.err);
    start(&worker, "--trust-keys keys");
    expect_refusal(job, "this is not signed");
    worker_end(&worker);
    start(&worker, "--trust-redis");
    ok("shoal run --no-sign -- sim/good");
    worker_end(&worker);
}
END_TEST

START_TEST(own_redis_that_asks_for_a_password_is_trusted_without_keys) {
    static const char *args[SHOAL_COUNT(listening) + 2];
    memcpy(args, on_a_port(), sizeof(listening));
    args[SHOAL_COUNT(listening) - 1] = "--requirepass";
    args[SHOAL_COUNT(listening)] = "word";
    test_server_restart(&daemons.server, args);
    ok("umask 077; echo word > password");
    setenv("SHOAL_REDIS_PASSWORD_FILE", "password", 1);
    start(&worker, "");
    ok("shoal run --no-sign -- sim/good; shoal submit --no-sign -- sim/good; "
       "shoal replay - 0");
    worker_end(&worker);
}
END_TEST

/* What it began with may be started again otherwise. */
START_TEST(worker_waits_while_its_own_redis_listens_on_a_port) {
    static const char *const closed[] = {NULL};
    start(&worker, "");
    test_server_restart(&daemons.server, on_a_port());
    wait_until(has_said(&worker, "as well, by which others could have jobs run"),
               LIMIT_MS);
    const char *job = ok("shoal --redis redis://127.0.0.1:$PORT submit --no-sign -- "
                         "sim/evil");
    sh_exit(4, "shoal wait --timeout 5s %s", job);
    ck_assert_uint_eq(files("forbidden"), 0);
    ck_assert_uint_eq(times_said(&worker, "as well, by which others"), 1);
    test_server_restart(&daemons.server, closed);
    ok("shoal run -- sim/good");
    worker_end(&worker);
}
END_TEST

/* ---- what does not */

#define SPEC "S=${K}spec:$(r hget ${K}job:$J spec); "

/* $J is the job, $K what its keys begin with, $O another signed job. */
static const struct {
    const char *submission, *alteration, *said;
} altered[] = {
    {"--no-sign -- sim/evil", ":", "runs signed jobs alone, and this is not signed"},
    {"--sign-key strange -- sim/evil", ":", "not among the keys that are trusted here"},
    {"-- sim/evil", "r hdel ${K}job:$J warrant", "this is not signed"},
    {"-- sim/evil", "r hset ${K}job:$J warrant ''", "this is not signed"},
    {"-- sim/evil", "r hset ${K}job:$J warrant $(r hget ${K}job:$O warrant)",
     "does not name this job: it was copied"},
    {"-- sim/evil", "r hset ${K}job:$J warrant 00000000000000000000",
     "Redis has no warrant 00000000000000000000"},
    {"-- sim/evil", "r hset ${K}job:$J warrant \"$(printf 'a\\377 b')\"",
     "Redis has no warrant"},
    {"-- sim/evil", "r hset ${K}job:$J warrant 0123456789012345678901234567890123456789x",
     "Redis has no warrant none"},
    {"-- sim/evil", "W=${K}warrant:$(r hget ${K}job:$J warrant); r del $W",
     "Redis has no warrant"},
    {"-- sim/evil", "W=${K}warrant:$(r hget ${K}job:$J warrant); r set $W nonsense",
     "was altered"},
    {"-- sim/evil", "W=${K}warrant:$(r hget ${K}job:$J warrant); r setrange $W 300 !",
     "its signature does not hold"},
    {"-- sim/evil",
     "W=${K}warrant:$(r hget ${K}job:$J warrant); "
     "r setrange $W 70 $(r getrange $W 70 72 | tr 0-9a-f 1-9a-f0)",
     "its signature does not hold"},
    {"-- sim/evil", "W=${K}warrant:$(r hget ${K}job:$J warrant); r append $W x",
     "its signature does not hold"},
    {"-- sim/evil",
     "W=${K}warrant:$(r hget ${K}job:$J warrant); r eval \"$CUT, -2))\" 1 $W",
     "its signature does not hold"},
    {"-- sim/evil",
     "W=${K}warrant:$(r hget ${K}job:$J warrant); r eval \"$CUT, 90))\" 1 $W",
     "was altered"},
    /* The strange key in the head of what another signed. */
    {"-- sim/evil",
     "W=${K}warrant:$(r hget ${K}job:$J warrant); r setrange $W 0 $(cut -c-64 next.line)",
     "its signature does not hold"},
    {"-- sim/good",
     "S=${K}spec:$(r hget ${K}job:$J spec); r get $S | sed s/good/evil/ | r -x set $S",
     "the spec was altered"},
    /* Nor is it looked at: it would be no JSON. */
    {"-- sim/good", SPEC "printf '{\"argv\":[' | r -x set $S", "the spec was altered"},
    {"-- sim/good", SPEC "r setrange $S 8000000 x", "the spec was altered"},
    {"-- sim/evil", "head -c 5000000 /dev/zero | tr '\\0' 7 | r -x hset ${K}job:$J seed",
     "Redis has no warrant -"},
    {"-- sim/good",
     "S=${K}spec:$(r hget ${K}job:$J spec); "
     "r hset ${K}job:$J spec $(r hget ${K}job:$O spec)",
     "the spec was altered"},
    {"--seed 7 -- sim/evil", "r hset ${K}job:$J seed 8", "its seed is not what was"},
    {"-- sim/evil", "r hset ${K}job:$J policy 5:9:5:0:0:604800000:0",
     "its policy is not what was signed"},
    {"-q other -- sim/evil",
     "r hdel ${K}job:$J queue; r rpush ${K}ready:default:5 $J; r del ${K}ready:other:5",
     "it was signed for the queue 'other', and came by another"},
    {"--delay 1h -- sim/evil",
     "r hset ${K}job:$J n active:1:0:0:0:0:0:0:0:1; r rpush ${K}ready:default:5 $J; "
     "r zrem ${K}dates s:$J",
     "when it starts is not what was signed"},
    {"-- sim/evil", "r hset ${K}epoch id 0ther0ther00", "was signed for the store "},
    {"--namespace other -- sim/evil",
     "O='other:{0}:'; for k in $(r --raw keys \"$O*\"); do r copy $k $K${k#$O}; done; "
     "r hset ${K}epoch id $(r hget ${O}epoch id)",
     "was signed for the namespace 'other'"},
    {"--from evil.txt -- sim/{}",
     "r eval \"$ENTRY local p = e[2][4]:gsub('evil', 'good') "
     "$PUT, 'p', p, 's', e[2][6])\" 1 ${K}args:$J",
     "the arguments of task 0 are not what was signed"},
    {"--from evil.txt -- sim/{}", "r eval \"$ENTRY $PUT, 'p', e[2][4])\" 1 ${K}args:$J",
     "the arguments of task 0 are not"},
    {"--from evil.txt -- sim/{}",
     "r eval \"$ENTRY $PUT, 'p', e[2][4], 's', '')\" 1 ${K}args:$J",
     "the arguments of task 0 are not"},
    {"--from evil.txt -- sim/{}",
     "r eval \"$ENTRY $PUT, 'p', e[2][4], 's', ('\\0'):rep(194))\" 1 ${K}args:$J",
     "the arguments of task 0 are not"},
    {"--from evil.txt -- sim/{}", "r copy ${K}args:$A ${K}args:$J replace",
     "the arguments of task 0 are not what was signed"},
    {"--from evil.txt -- sim/{}", "r copy ${K}args:$N ${K}args:$J replace",
     "were signed with another key than the job"},
};

/* As it would be to who copied it there; else what is wrong stands in its place. */
static bool is_shown_as_mine(const char *job) {
    const char *story = sh("shoal show %s 0", job).out;
    bool is = strstr(story, ok("cut -c-64 mine.line")) != NULL;
    ck_assert(!is || strstr(story, "not valid here") == NULL);
    return is;
}

START_TEST(what_was_altered_does_not_run) {
    ok("printf 'evil\\n' > evil.txt; "
       "printf '%%s' 'local e = redis.call(\"XRANGE\", KEYS[1], \"-\", \"+\")[1] "
       "redis.call(\"DEL\", KEYS[1])' > entry; "
       "printf '%%s' 'redis.call(\"XADD\", KEYS[1], e[1], \"n\", e[2][2]' > put; "
       "printf '%%s' 'redis.call(\"SET\", KEYS[1], "
       "redis.call(\"GETRANGE\", KEYS[1], 0' > cut");
    ok("shoal submit -q idle -- sim/evil > another; "
       "shoal submit -q idle --from evil.txt -- sim/{} > rows; "
       "shoal submit -q idle --sign-key next --from evil.txt -- sim/{} > of_next");
    ok("shoal submit %s > job", altered[_i].submission);
    const char *job = ok("cat job");
    ok("PATH=\"$PATH:$HOME/bin\"; K='shoal:{0}:' J=%s O=$(cat another) A=$(cat rows) "
       "N=$(cat of_next) ENTRY=$(cat entry) PUT=$(cat put) CUT=$(cat cut); %s",
       job, altered[_i].alteration);
    start(&worker, "--trust-keys keys -q default,other");
    sh_exit(1, "shoal wait %s", job);
    bool is_of_time = strstr(altered[_i].said, "when it starts") != NULL;
    ck_assert(is_shown_as_mine(job) == is_of_time);
    ok("shoal run -- sim/good"); /* which writes that spec as it should be */
    expect_refusal(job, altered[_i].said);
    worker_end(&worker);
}
END_TEST

/* What nobody could run is final, and the log is told of it as well. */
static const struct {
    const char *alteration, *said;
} gone[] = {
    {"del $S", "Redis has no spec"},
    {"set $S ''", "Redis has no spec"},
    {"del $S; r rpush $S x", "holds something else"},
};

START_TEST(signed_job_without_its_spec_is_rejected) {
    const char *job = ok("shoal submit -p x=1:3 -- sim/evil");
    ok("PATH=\"$PATH:$HOME/bin\"; K='shoal:{0}:' J=%s; " SPEC "r %s", job,
       gone[_i].alteration);
    start(&worker, "--trust-keys keys");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_int_eq(job_now(job).failed, 3);
    ok("shoal submit -q idle -p x=1:3 -- sim/evil"); /* which has the same */
    ck_assert_str_eq(text_in(row_of(job, 2), "reason"), "rejected");
    ck_assert_ptr_nonnull(strstr(ok("shoal show %s 2", job), gone[_i].said));
    ck_assert_uint_eq(times_said(&worker, gone[_i].said), 1);
    ck_assert_uint_eq(files("forbidden"), 0);
    expect_others_run();
    worker_end(&worker);
}
END_TEST

/* Nothing that anybody writes makes a worker fall, or run what was not signed: any of
 * these bytes in each field of a job, in each text, and in arguments. */
static const char spoil[] =
    "K='shoal:{0}:'\n"
    "ARGS=\"local e = redis.call('XRANGE', KEYS[1], '-', '+')[1] "
    "redis.call('DEL', KEYS[1]) redis.call('XADD', KEYS[1], e[1]\"\n"
    "bytes() { case $1 in 0) ;; 1) printf '\\377\\376\\000\\r\\n' ;;\n"
    "  2) head -c 5000 /dev/zero | tr '\\0' x ;; 3) printf 0 ;; 4) printf -- -1 ;;\n"
    "  5) printf 'a b' ;; 6) printf 99999999999999999999999999 ;; esac; }\n"
    "job() { J=$(shoal submit \"$@\"); }\n"
    "for i in 0 1 2 3 4 5 6; do\n"
    "  for f in warrant queue policy seed spec; do\n"
    "    job -- sim/evil; bytes $i | r -x hset ${K}job:$J $f\n"
    "  done\n"
    "  job -- sim/evil; bytes $i | r -x set ${K}warrant:$(r hget ${K}job:$J warrant)\n"
    "  job --env N=$i -- sim/evil\n"
    "  bytes $i | r -x set ${K}spec:$(r hget ${K}job:$J spec)\n"
    "  for put in \"1, 'p', ARGV[1], 's', e[2][6]\" \"1, 'p', e[2][4], 's', ARGV[1]\" "
    "\"ARGV[1], 'p', '', 's', ''\"; do\n"
    "    job --from evil.txt -- sim/{}\n"
    "    bytes $i | r -x eval \"$ARGS, 'n', $put)\" 1 ${K}args:$J\n"
    "  done\n"
    "done\n"
    /* Ranges that never began, of which no worker can make anything. */
    "for i in 1 2 3 4 5 6 7 8 9; do\n"
    "  job -- sim/evil; r hset ${K}job:$J n active:1:1:0:0:0:0:0:0:1\n"
    "  r zadd ${K}open:$J 0 0:1:0:0:0:q; r rpush ${K}todo:$J 0\n"
    "done\n";

START_TEST(worker_survives_any_bytes_in_any_field) {
    ok("echo evil > evil.txt; cat > spoil << 'END'\n%sEND\n"
       "PATH=\"$PATH:$HOME/bin\" sh -eu spoil",
       spoil);
    start(&worker, "--trust-keys keys");
    pid_t pid = worker_pid(&worker);
    ck_assert_str_eq(ok("shoal run --format csv -p x=1:20 -- sim/good | grep -c good"),
                     "20"); /* in turns with the others */
    ck_assert_uint_eq(files("forbidden"), 0);
    ck_assert_uint_ge(times_said(&worker, " job="), 40);
    ck_assert_int_eq(worker_pid(&worker), pid);
    worker_end(&worker);
}
END_TEST

START_TEST(more_tasks_than_were_signed_do_not_run) {
    const char *job = ok("shoal submit -p x=1,2 -- sim/good");
    ok("bin/r hset 'shoal:{0}:job:%s' n active:4:0:0:0:0:0:0:0:1", job);
    start(&worker, "--trust-keys keys");
    sh_exit(1, "shoal wait %s", job);
    struct shoal_job now = job_now(job);
    ck_assert_int_eq(now.ok, 2);
    ck_assert_int_eq(now.failed, 2);
    ck_assert_uint_eq(times_said(&worker, "the number of its tasks"), 1);
    worker_end(&worker);
}
END_TEST

static const struct {
    const char *alteration, *said;
} cut[] = {
    {"del 'shoal:{0}:args:%s'", "the arguments of task 0 are not"},
    {"eval \"local e = redis.call('XRANGE', KEYS[1], '-', '+')[1] "
     "redis.call('DEL', KEYS[1]) redis.call('XADD', KEYS[1], e[1], 'n', 1, "
     "'p', e[2][4]:sub(1, -2), 's', e[2][6])\" 1 'shoal:{0}:args:%s'",
     "the arguments of task 0 are not what was signed"},
    {"hset 'shoal:{0}:job:%s' n active:1:0:0:0:0:0:0:0:1",
     "whether it has arguments is not what was signed"},
};

START_TEST(job_without_the_arguments_that_were_signed_does_not_run) {
    char alteration[400];
    ok("echo evil > evil.txt");
    const char *job = ok("shoal submit --from evil.txt -- sim/{}");
    snprintf(alteration, sizeof(alteration), cut[_i].alteration, job);
    ok("bin/r %s", alteration);
    start(&worker, "--trust-keys keys");
    sh_exit(1, "shoal wait %s", job);
    ck_assert(has_said(&worker, cut[_i].said));
    ck_assert_uint_eq(files("forbidden"), 0);
    worker_end(&worker);
}
END_TEST

START_TEST(what_has_expired_does_not_run) {
    struct shoal_client *client = NULL;
    struct shoal_submit_options options;
    struct shoal_error err = {.status = SHOAL_OK};
    char id[13], key[64];
    const char *const command[] = {"sim/evil", NULL};
    snprintf(key, sizeof(key), "%s/next", daemons.home.path);
    const struct shoal_client_options where = {
        .url = daemons.server.url, .sign_key = key, .valid_ms = 1};
    ck_assert_int_eq(shoal_client_connect(&where, &client, &err), SHOAL_OK);
    shoal_submit_options_init(&options);
    options.command = command;
    options.directory = daemons.home.path;
    ck_assert_int_eq(shoal_submit(client, &options, id, &err), SHOAL_OK);
    shoal_client_destroy(client);
    start(&worker, "--trust-keys keys");
    expect_refusal(id, "what was signed was valid until 20");
    expect_others_run();
    worker_end(&worker);
}
END_TEST

START_TEST(spec_that_was_altered_is_fetched_again) {
    const char *job = ok("shoal submit -- sim/good");
    const char *spec = ok("bin/r hget 'shoal:{0}:job:%s' spec", job);
    ok("bin/r get 'shoal:{0}:spec:%s' | sed s/good/evil/ | "
       "bin/r -x set 'shoal:{0}:spec:%s'",
       spec, spec);
    start(&worker, "--trust-keys keys");
    expect_refusal(job, "the spec was altered");
    expect_others_run(); /* the submit writes it as it should be */
    worker_end(&worker);
}
END_TEST

/* The name of what is loaded, given to what another job was signed for. */
START_TEST(functions_of_one_spec_do_not_run_for_another) {
    start(&worker, "--trust-keys keys --slots 1");
    const char *loaded = ok("shoal submit --plugin \"$PLUGIN\" --task echo -p x=1");
    ok("shoal wait %s; shoal pause default", loaded);
    const char *job = ok("shoal submit --plugin \"$PLUGIN\" --task nothing -p x=1");
    ok("PATH=\"$PATH:$HOME/bin\"; K='shoal:{0}:'; S=$(r hget ${K}job:%s spec); "
       "r copy ${K}spec:$(r hget ${K}job:%s spec) ${K}spec:$S replace; "
       "r hset ${K}job:%s spec $S; shoal resume default",
       loaded, job, job);
    expect_refusal(job, "the spec was altered");
    ok("shoal retry %s; shoal wait %s", job, job);
    const char *rows = ok("shoal results %s --format csv", job);
    ck_assert_msg(strstr(rows, "infinite") == NULL, "%s", rows);
    worker_end(&worker);
}
END_TEST

START_TEST(other_workers_run_what_one_does_not_trust) {
    ok("shoal keygen third > third.line");
    start(&worker, "--trust-keys next.line --name strict");
    start(&other, "--trust-keys mine.line --name friend");
    const char *job = ok("shoal submit -p x=1:20 -- sim/good");
    ok("shoal wait %s", job);
    expect_each_once(job);
    worker_end(&worker);
    worker_end(&other);
}
END_TEST

/* ---- keys */

START_TEST(one_key_takes_the_place_of_another) {
    ok("cp keys trusted");
    start(&worker, "--trust-keys trusted");
    ok("shoal run -- sim/good; shoal run --sign-key next -- sim/good");
    ok("cp next.line trusted");
    test_process_signal(&worker, SIGUSR2); /* reads the file again */
    wait_until(times_said(&worker, "message=upgraded ") == 1, LIMIT_MS);
    ok("shoal run --sign-key next -- sim/good");
    expect_refusal(ok("shoal submit -- sim/evil"), "not among the keys");
    worker_end(&worker);
}
END_TEST

#define MAY(what) "sed 's|$| " what "|' mine.line > keys"

#define OUTSIDE                                                                          \
    "mkdir out; mv sim/evil out/evil; ln -s ../out/evil sim/evil; " MAY(                 \
        "programs='\"$HOME\"'/sim/*")

static const struct {
    const char *right, *submission, *said; /* NULL: it runs */
} rights[] = {
    {MAY("queues=a,default"), "-- sim/good", NULL},
    {MAY("queues=a,b"), "-- sim/evil", "may not use the queue 'default' here"},
    {MAY("programs='\"$HOME\"'/sim/good"), "-- sim/good", NULL},
    {MAY("programs='\"$HOME\"'/out/*"), "-- sim/evil",
     "is not among what programs= of the key of '"},
    {OUTSIDE, "-- sim/../out/evil", "is not among what programs= of the key of '"},
    {OUTSIDE, "-- sim/evil", "is not among what programs= of the key of '"},
    {OUTSIDE, "--env PATH=\"$HOME/out\" -- evil", "sets PATH by --env"},
    {MAY("programs='\"$HOME\"'/sim/good"), "--env LD_PRELOAD=x -- sim/good",
     "sets LD_PRELOAD by --env"},
    {MAY("programs='\"$HOME\"'/sim/*"), "--plugin \"$PLUGIN\" --task nothing",
     "is not among what plugins= of the key of '"},
    {MAY("plugins='\"$PLUGIN\"'"), "--plugin \"$PLUGIN\" --task nothing", NULL},
    {MAY("plugins='\"$PLUGIN\"'"), "-- sim/evil",
     "is not among what programs= of the key of '"},
    {MAY("memory=1G"), "--memory 512M -- sim/good", NULL},
    {MAY("memory=1G"), "-- sim/evil", "limits of at most memory 1G"},
    {MAY("memory=1G"), "--memory 2G -- sim/evil", "limits of at most memory 1G"},
    {MAY("cpus=0.5"), "--cpus 1 -- sim/evil", "limits of at most cpus 0.5"},
    {MAY("processes=8"), "--max-processes 9 -- sim/evil", "at most processes 8"},
    {MAY("file-size=1M"), "--max-file-size 2M -- sim/evil", "of at most"},
};

START_TEST(key_runs_what_it_may) {
    ok("%s", rights[_i].right);
    start(&worker, "--trust-keys keys");
    if (rights[_i].said == NULL)
        ok("shoal run %s", rights[_i].submission);
    else
        expect_told(ok("shoal submit %s", rights[_i].submission), rights[_i].said);
    worker_end(&worker);
}
END_TEST

/* A process that stays for one key is not another's, whose job is the same. */
START_TEST(keys_with_other_rights_share_no_process) {
    ok("sed \"s|$| plugins=$PLUGIN|\" mine.line > keys; "
       "sed 's|$| plugins=/opt/none/*|' next.line >> keys");
    setenv("PYTHONPATH", ":", 1);
    start(&worker, "--trust-keys keys --slots 1");
    ck_assert(has_said(&worker, "without its empty and relative folders"));
    ok("shoal run --plugin \"$PLUGIN\" --task nothing");
    expect_told(ok("shoal submit --sign-key next --plugin \"$PLUGIN\" --task nothing"),
                "is not among what plugins= of the key of '");
    worker_end(&worker);
}
END_TEST

static const struct {
    const char *before, *options, *said;
} senseless[] = {
    {":", "--trust-keys nowhere", "cannot read the trusted keys 'nowhere'"},
    {":", "--trust-keys sim", "no file of keys"},
    {"chmod 0666 keys", "--trust-keys keys", "chmod go-w it"},
    {"chmod 0620 keys", "--trust-keys keys", "chmod go-w it"},
    {"chmod 0777 .", "--trust-keys keys", "everybody can write to '"},
    {"chmod 0777 .", "--trust-keys keys", "chmod o-w the folder, or put the file"},
    {": > keys", "--trust-keys keys", "holds no key"},
    {"echo '# nobody' > keys", "--trust-keys keys", "holds no key"},
    {"echo nonsense >> keys", "--trust-keys keys", "line 3: 'nonsense' is no key"},
    {"tr a-f A-F < strange.line >> keys", "--trust-keys keys", "64 digits, 0-9 and a-f"},
    {"cat mine.line >> keys", "--trust-keys keys", "line 3: the key of '"},
    {"cut -c-64 strange.line >> keys", "--trust-keys keys", "line 3: behind the key"},
    {MAY("queues="), "--trust-keys keys", "line 1: '' is no queue name"},
    {MAY("queues=a queues=b"), "--trust-keys keys", "'queues=' stands there twice"},
    {MAY("programs=sim"), "--trust-keys keys", "line 1: 'sim'"},
    {MAY("programs=/tmp/*"), "--trust-keys keys",
     "would allow anything; list a folder in"},
    {MAY("programs=/a programs=/b"), "--trust-keys keys",
     "'programs=' stands there twice"},
    {MAY("plugins=/a plugins=/b"), "--trust-keys keys", "'plugins=' stands there twice"},
    {MAY("memory=much"), "--trust-keys keys", "'much'"},
    {MAY("memory=0"), "--trust-keys keys", "a limit is above 0"},
    {MAY("memory=1G memory=2G"), "--trust-keys keys", "'memory=' stands there twice"},
    {MAY("color=red"), "--trust-keys keys", "'color=' is none of queues="},
    {MAY("all"), "--trust-keys keys", "'all' is no NAME=VALUE"},
    {"head -c 20000 /dev/zero >> keys", "--trust-keys keys", "line 3: it is too long"},
    {":", "--trust-keys keys --trust-redis", "do not go together"},
    {":", "--redis redis://127.0.0.1:1 --allow-any", "jobs from there have to be signed"},
};

START_TEST(worker_refuses_to_start_with_a_sentence) {
    ok("%s", senseless[_i].before);
    struct said said = sh_exit(2, "shoal-worker %s", senseless[_i].options);
    ck_assert_msg(strstr(said.err, senseless[_i].said) != NULL, "%s", said.err);
}
END_TEST

static const struct {
    const char *before, *options, *said;
} no_signers[] = {
    {"chmod 0644 .config/shoal/signing.key", "", "chmod 600 it"},
    {"chmod 0640 next", "--sign-key next", "chmod 600 it"},
    {":", "--sign-key nowhere", "cannot read the key 'nowhere'"},
    {":", "--sign-key mine.line", "chmod 600 it"},
    {"chmod 600 mine.line", "--sign-key mine.line", "is no Ed25519 key"},
    {":", "--valid-for 1s", "--valid-for"},
    {":", "--valid-for 1h --delay 1h", "when its signature is no longer valid"},
    {":", "--delay 31d", "when its signature is no longer valid"},
    {":", "--no-sign --sign-key next", "do not go together"},
};

START_TEST(submit_refuses_a_key_with_a_sentence) {
    ok("%s", no_signers[_i].before);
    struct said said = sh_exit(2, "shoal submit %s -- true", no_signers[_i].options);
    ck_assert_msg(strstr(said.err, no_signers[_i].said) != NULL, "%s", said.err);
    ck_assert_str_eq(ok("shoal list --json"), "");
}
END_TEST

START_TEST(no_sign_overrules_the_key_of_the_environment) {
    const char *job =
        ok("SHOAL_SIGN_KEY=nowhere shoal submit --no-sign --delay 31d -- true");
    ck_assert_str_eq(job_now(job).warrant, "");
}
END_TEST

START_TEST(keygen_says_where_the_line_goes) {
    static const char local[] = "local cluster is '";
    struct said said = sh_exit(0, "shoal keygen fifth");
    ck_assert_ptr_nonnull(strstr(said.err, "also in 'fifth.pub'"));
    ck_assert_ptr_nonnull(strstr(said.err, "/etc/shoal/trusted-keys of root"));
    ck_assert_ptr_null(strstr(said.err, local));
    ok("shoal keygen seventh > line; cmp line seventh.pub");
    ok("mkdir -p .local/state/shoal; cp keys .local/state/shoal/trusted-keys");
    said = sh_exit(0, "shoal keygen sixth");
    ck_assert_ptr_nonnull(strstr(said.err, local));
}
END_TEST

START_TEST(keygen_keeps_what_is_there) {
    const char *before = ok("cat .config/shoal/signing.key");
    struct said said = sh_exit(2, "shoal keygen");
    ck_assert_ptr_nonnull(strstr(said.err, "never overwritten; its line for workers"));
    ck_assert_ptr_nonnull(strstr(said.err, ok("cat mine.line")));
    ck_assert_str_eq(ok("cat .config/shoal/signing.key"), before);
    ck_assert_str_eq(ok("cat .config/shoal/signing.key.pub"), ok("cat mine.line"));
}
END_TEST

/* The line is that of the key, be there such a file beside it or not. */
START_TEST(keygen_tells_the_line_of_a_key_that_is_there) {
    const char *line = ok("shoal keygen eighth");
    ok("rm eighth.pub");
    ck_assert_ptr_nonnull(strstr(sh_exit(2, "shoal keygen eighth").err, line));
}
END_TEST

/* How something comes there that is no key, and what is said. */
static const struct {
    const char *made_by, *said;
} no_keys[] = {
    {"echo junk > none; chmod 600 none", "'none' is no Ed25519 key"},
    {"mkdir none", "'none' is no file"},
    {"mkfifo none", "'none' is no file"},
    {"shoal keygen none; chmod 644 none", "others than its owner may read"},
};

START_TEST(keygen_tells_of_what_is_there_and_no_key) {
    ok("%s", no_keys[_i].made_by);
    struct said said = sh_exit(2, "shoal keygen none");
    ck_assert_ptr_nonnull(strstr(said.err, "never overwritten: "));
    ck_assert_msg(strstr(said.err, no_keys[_i].said) != NULL, "%s", said.err);
    ck_assert_ptr_null(strstr(said.err, "line for workers"));
}
END_TEST

static const struct {
    const char *name, *said;
} no_names[] = {
    {"-", "'-' is no file for a key"},
    {"''", "is empty"},
    {"\"$(printf 'a\\nb')\"", "a control character in it, its character 2"},
    {"\"$(printf 'a\\177')\"", "a control character in it, its character 2"},
};

START_TEST(keygen_refuses_a_name_that_is_a_slip) {
    ok("mkdir empty");
    size_t before = files("empty");
    struct said said = sh_exit(2, "cd empty; shoal keygen %s", no_names[_i].name);
    ck_assert_msg(strstr(said.err, no_names[_i].said) != NULL, "%s", said.err);
    ck_assert_uint_eq(files("empty"), before);
}
END_TEST

/* ---- replay, on whose own machine it runs */

/* From a Redis that is not its user's own. */
static const struct {
    const char *submission, *alteration, *options, *said; /* NULL: it runs */
} replays[] = {
    {"-- sim/good", ":", "", NULL},
    {"--delay 1h -- sim/good", ":", "", NULL},
    {"--from good.txt -- sim/{}", ":", "", NULL},
    {"--sign-key next -- sim/good", ":", "--trust-keys keys", NULL},
    {"--no-sign -- sim/good", ":", "--trust-redis", NULL},
    {"--sign-key next -- sim/evil", ":", "", "not among the keys that are trusted here"},
    {"--sign-key strange -- sim/evil", ":", "--trust-keys keys", "not among the keys"},
    {"--sign-key next -- sim/evil", ":", "--trust-keys list", "which workers look at"},
    {"--no-sign -- sim/evil", ":", "",
     "not run here: the job is not signed; 'shoal show'"},
    {"--no-sign -- sim/evil", ":", "--print", "the job is not signed"},
    {"-- sim/evil", "r hset ${K}job:$J warrant $(r hget ${K}job:$O warrant)", "",
     "does not name this job: it was copied"},
    {"-- sim/good", SPEC "r get $S | sed s/good/evil/ | r -x set $S", "",
     "the spec was altered"},
    {"-- sim/good", SPEC "r get $S | sed s/good/evil/ | r -x set $S", "--print",
     "the spec was altered"},
    {"-- sim/good", SPEC "printf '{' | r -x set $S", "", "the spec was altered"},
    {"-- sim/good", SPEC "printf '{' | r -x set $S", "--print", "the spec was altered"},
    {"--from good.txt -- sim/{}", SPEC "r setrange $S 8000000 x", "",
     "the spec was altered"},
    {"--seed 7 -- sim/evil", "r hset ${K}job:$J seed 8", "", "its seed is not what was"},
    {"--from evil.txt -- sim/{}", "r copy ${K}args:$A ${K}args:$J replace", "",
     "the arguments of task 0 are not what was signed"},
    {"-- sim/evil", "r del ${K}warrant:$(r hget ${K}job:$J warrant)", "",
     "the warrant is gone"},
    {"-- sim/evil", ":", "--trust-keys keys --trust-redis", "do not go together"},
    {"-- sim/evil", "rm .config/shoal/signing.key", "", "put the keys of those who may"},
};

START_TEST(replay_runs_what_is_signed_and_nothing_else) {
    ok("echo evil > evil.txt; echo good > good.txt; chmod 0777 $SOCKET; "
       "sed 's|$| programs=/opt/sim/*|' next.line > list; "
       "shoal submit -- sim/evil > another; "
       "shoal submit --from good.txt -- sim/{} > rows");
    for (size_t i = 0; i < sizeof(replays) / sizeof(*replays); i++) {
        const char *job = ok("shoal submit --env N=%zu %s", i, replays[i].submission);
        ok("PATH=\"$PATH:$HOME/bin\"; K='shoal:{0}:' J=%s O=$(cat another) "
           "A=$(cat rows); %s",
           job, replays[i].alteration);
        struct said said = sh_exit(replays[i].said == NULL ? 0 : 2,
                                   "shoal replay %s %s 0", replays[i].options, job);
        ck_assert_msg(replays[i].said == NULL
                          ? strcmp(said.out, "ran=good\n") == 0
                          : *said.out == '\0' && strstr(said.err, replays[i].said),
                      "%zu: %s%s", i, said.out, said.err);
        ck_assert_uint_eq(files("forbidden"), 0);
    }
}
END_TEST

/* Also one that it finds by itself: the local cluster, as soon as others may write. */
START_TEST(replay_asks_for_signatures_of_a_cluster_that_others_reach) {
    ok("unset SHOAL_REDIS; mkdir state; export SHOAL_STATE=$HOME/state; shoal up; "
       "shoal run --no-sign -- sim/good; shoal replay - 0; "
       "chmod 0777 state/redis.sock; shoal run -- sim/good; shoal replay - 0");
    struct said said =
        sh_exit(2, "unset SHOAL_REDIS; export SHOAL_STATE=$HOME/state; "
                   "shoal submit --no-sign -- sim/good && shoal replay - 0");
    ck_assert_msg(strstr(said.err, "the job is not signed") != NULL, "%s", said.err);
    ok("unset SHOAL_REDIS; SHOAL_STATE=$HOME/state shoal down");
}
END_TEST

/* ---- an upgrade */

START_TEST(upgraded_worker_goes_on_with_signed_jobs) {
    int gate = gate_close("gate");
    ok("seq 6 > rows.txt");
    start(&worker, "--trust-keys keys");
    const char *job = ok("shoal submit --from rows.txt -- flock -sF gate sim/good {}");
    const char *functions =
        ok("shoal submit -p x=1:2000 --plugin \"$PLUGIN\" --task nothing");
    wait_until(job_now(job).leased > 0, LIMIT_MS);
    test_process_signal(&worker, SIGUSR2);
    wait_until(times_said(&worker, "message=upgraded ") == 1, LIMIT_MS);
    gate_open(gate);
    ok("shoal wait %s || { shoal show %s 0 >&2; exit 1; }", job, job);
    ok("shoal wait %s || { shoal show %s 0 >&2; exit 1; }", functions, functions);
    expect_each_once(job);
    expect_each_once(functions);
    ck_assert_uint_eq(times_said(&worker, " job="), 0);
    worker_end(&worker);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))

int main(void) {
    Suite *suite = suite_create("signed");
    TCase *cases = tcase_create("signed");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, what_is_signed_runs, 0, COUNT(signed_jobs));
    tcase_add_test(cases, lines_are_signed_as_they_come);
    tcase_add_test(cases, failed_tasks_are_tried_again);
    tcase_add_test(cases, worker_knows_its_store_after_heartbeats);
    tcase_add_test(cases, own_redis_is_trusted_without_keys);
    tcase_add_test(cases, stranger_in_the_place_of_ones_own_redis_hears_nothing);
    tcase_add_test(cases, own_redis_that_listens_on_a_port_is_not_trusted_without_keys);
    tcase_add_test(cases, own_redis_that_asks_for_a_password_is_trusted_without_keys);
    tcase_add_test(cases, worker_waits_while_its_own_redis_listens_on_a_port);
    tcase_add_loop_test(cases, what_was_altered_does_not_run, 0, COUNT(altered));
    tcase_add_loop_test(cases, signed_job_without_its_spec_is_rejected, 0, COUNT(gone));
    tcase_add_test(cases, worker_survives_any_bytes_in_any_field);
    tcase_add_test(cases, more_tasks_than_were_signed_do_not_run);
    tcase_add_loop_test(cases, job_without_the_arguments_that_were_signed_does_not_run, 0,
                        COUNT(cut));
    tcase_add_test(cases, what_has_expired_does_not_run);
    tcase_add_test(cases, spec_that_was_altered_is_fetched_again);
    tcase_add_test(cases, functions_of_one_spec_do_not_run_for_another);
    tcase_add_test(cases, other_workers_run_what_one_does_not_trust);
    tcase_add_test(cases, one_key_takes_the_place_of_another);
    tcase_add_loop_test(cases, key_runs_what_it_may, 0, COUNT(rights));
    tcase_add_test(cases, keys_with_other_rights_share_no_process);
    tcase_add_loop_test(cases, worker_refuses_to_start_with_a_sentence, 0,
                        COUNT(senseless));
    tcase_add_loop_test(cases, submit_refuses_a_key_with_a_sentence, 0,
                        COUNT(no_signers));
    tcase_add_test(cases, no_sign_overrules_the_key_of_the_environment);
    tcase_add_test(cases, keygen_says_where_the_line_goes);
    tcase_add_test(cases, keygen_keeps_what_is_there);
    tcase_add_test(cases, keygen_tells_the_line_of_a_key_that_is_there);
    tcase_add_loop_test(cases, keygen_refuses_a_name_that_is_a_slip, 0,
                        SHOAL_COUNT(no_names));
    tcase_add_loop_test(cases, keygen_tells_of_what_is_there_and_no_key, 0,
                        (int)SHOAL_COUNT(no_keys));
    tcase_add_test(cases, replay_runs_what_is_signed_and_nothing_else);
    tcase_add_test(cases, replay_asks_for_signatures_of_a_cluster_that_others_reach);
    tcase_add_test(cases, upgraded_worker_goes_on_with_signed_jobs);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
