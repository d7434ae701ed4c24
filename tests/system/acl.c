/* Users of Redis for each role, as `shoal acl` makes them: the work of every role meets
 * no denial, what else there is meets one, and shoal doctor finds who is too wide. */
#include "broker/access.h"
#include "broker/scripts.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "common/signer.h"
#include "tests/support/certificates.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct test_process worker, broker;
static char acl_file[64], port[8];
static struct event_base *base;

/* ---- a Redis with users */

static void setup(void) {
    snprintf(port, sizeof(port), "%d", test_free_port());
    snprintf(acl_file, sizeof(acl_file), "/tmp/shoal-test-acl-XXXXXX");
    int fd = mkstemp(acl_file);
    ck_assert_int_ge(fd, 0);
    close(fd);
    daemons_start((const char *const[]){"--appendonly", "yes", "--appendfsync", "always",
                                        "--port", port, "--bind", "127.0.0.1",
                                        "--aclfile", acl_file, NULL});
    setenv("SOCKET", daemons.server.socket, 1);
    setenv("PORT", port, 1);
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    base = shoal_loop_new();
    ck_assert_ptr_nonnull(base);
}

static void teardown(void) {
    unsetenv("SHOAL_REDIS_PASSWORD_FILE");
    event_base_free(base);
    daemons_finish();
    unlink(acl_file);
}

/* What follows connects as that role; NULL: as the default user. */
static void as(const char *role) {
    char path[128];
    if (role == NULL) {
        snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS=%s",
                 daemons.server.url);
        unsetenv("SHOAL_REDIS_PASSWORD_FILE");
        return;
    }
    snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS=unix://shoal-%s@%s", role,
             daemons.server.socket);
    snprintf(path, sizeof(path), "%s/passwords/shoal-%s", daemons.home.path, role);
    setenv("SHOAL_REDIS_PASSWORD_FILE", path, 1);
}

static void make_users(void) {
    as(NULL);
    ok("shoal acl --passwords-dir passwords --apply --keep-default");
}

static void start_broker(void) {
    as("broker");
    sh_start(&broker, "shoal-broker");
    wait_until(has_said(&broker, "keeping the queue moving"), LIMIT_MS);
}

static void end_broker(void) {
    test_process_signal(&broker, SIGTERM);
    ck_assert_int_eq(test_process_wait(&broker, LIMIT_MS), 0);
    test_process_finish(&broker);
}

/* Redis notes each denial. */
static void expect_no_denial(void) {
    ck_assert_str_eq(ok("redis-cli -s $SOCKET acl log"), "");
}

/* ---- the work of a role */

/* By `submit`, with a worker and a broker at work. */
static const char *const submits[] = {
    "shoal run -p i=1:50 -- echo {i}",
    "shoal submit --name done -p i=1:3 -- true && shoal wait done",
    "shoal submit --name bad --retries 1 -p i=1:3 -- false; shoal wait bad || true",
    "shoal retry bad; shoal wait bad || true",
    "shoal retry --failed bad; shoal wait bad || true",
    "seq 300 > lines; shoal run --from lines -- echo {}",
    "yes $(seq -s . 1000) | head -n 10000 | " /* so many bytes that it takes them out */
    "shoal run --from - --plugin $PLUGIN --task line > rows",
    "shoal run --plugin $PLUGIN --task echo -p x=1:3",
    "shoal submit --name taken -p i=1:20 -- true; shoal wait taken; shoal results --take "
    "taken",
    "shoal submit --name rows --max-running 1 --from lines -- echo {}; shoal wait rows; "
    "shoal results --take rows",
    "shoal submit --name held -- sleep 600; shoal cancel --kill held; "
    "shoal wait held || true",
    "shoal submit --name later --delay 1h -- true; shoal cancel later",
    "shoal submit --name soon --delay 100ms -- true; shoal wait soon",
    "shoal submit --name alike -- true; shoal submit --name alike -- true; "
    "shoal wait alike; shoal forget alike",
    "shoal submit --name old -- true > id; shoal wait old; "
    "redis-cli -s $SOCKET zadd 'shoal:{0}:dates' 1 x:$(cat id); "
    "while shoal status $(cat id) 2> /dev/null; do sleep 0.05; done",
    "redis-cli -s $SOCKET set 'shoal:{0}:jobs' nonsense; "
    "until shoal list 2> /dev/null | grep taken; do sleep 0.05; done",
    "shoal run --checkpoint -- sh -c 'test $SHOAL_ATTEMPT -gt 1 || "
    "{ sleep 1.1; exit 85; }'",
    "shoal pause other; shoal queues --order fifo other; shoal resume other",
};

/* By `read`. */
static const char *const reads[] = {
    "shoal status",        "shoal status done", "shoal list --json", "shoal results done",
    "shoal show bad 0",    "shoal queues",      "shoal workers",     "shoal wait done",
    "shoal doctor --json", "shoal audit",
};

static void lose_redis(const char *job) {
    test_server_stop(&daemons.server);
    wait_until(has_said(&worker, "Redis is away"), LIMIT_MS);
    ok("touch gate");
    test_server_restart(&daemons.server, NULL);
    ok("shoal wait %s", job);
}

static void lose_the_last_moments(void) {
    as(NULL);
    ok("redis-cli -s $SOCKET hset 'shoal:{0}:epoch' seq 0");
    as("submit");
    ok("shoal run -p i=1:3 -- true");
    wait_until(has_said(&worker, "lost its last moments"), LIMIT_MS);
    wait_until(*ok("redis-cli -s $SOCKET info persistence | grep -v ':0' | "
                   "grep '^aof_rewrites:' || true") != '\0',
               LIMIT_MS);
}

/* What only mishaps call, which other tests bring about. */
static const char *const rare[] = {"bgrewriteaof"};

static bool is_rare(const char *command, size_t len) {
    for (size_t i = 0; i < SHOAL_COUNT(rare); i++) {
        if (strlen(rare[i]) == len && strncmp(rare[i], command, len) == 0)
            return true;
    }
    return false;
}

/* Each command that a role has was called, as INFO counts it: a row that no move needs
 * any more is found. */
static void expect_all_used(const char *calls, enum shoal_role role) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer rules;
    char unused[512] = "";
    shoal_buffer_init(&rules, 1 << 16);
    shoal_access_rules(role, "shoal:{0}:", 0, &rules);
    for (const char *at = shoal_buffer_text(&rules); (at = strchr(at, '+')) != NULL;) {
        char line[64];
        size_t len = strcspn(++at, " )"), end = strlen(unused);
        snprintf(line, sizeof(line), "cmdstat_%.*s:calls=", (int)len, at);
        const char *found = strstr(calls, line);
        if ((found == NULL || found[strlen(line)] == '0') && !is_rare(at, len))
            snprintf(unused + end, sizeof(unused) - end, " %.*s", (int)len, at);
    }
    ck_assert_msg(unused[0] == '\0', "nobody called what role %s may:%s",
                  shoal_role_name(role), unused);
}

START_TEST(every_role_does_its_work_without_a_denial) {
    make_users();
    start_broker();
    as("worker");
    worker_start(&worker, "--trust-redis --allow-any --slots 2 --queue default,other");
    as("submit");
    for (size_t i = 0; i < SHOAL_COUNT(submits); i++)
        ok("%s", submits[i]);
    as("read");
    for (size_t i = 0; i < SHOAL_COUNT(reads); i++)
        ok("%s", reads[i]);
    as("worker");
    ok("shoal doctor");
    as("broker");
    ok("shoal doctor");
    as("submit");
    ok("shoal doctor && shoal audit");
    expect_no_denial(); /* which a restart would forget */
    const char *calls = ok("redis-cli -s $SOCKET info commandstats");
    for (int role = SHOAL_ROLE_COUNT - 1; role >= 0; role--)
        expect_all_used(calls, (enum shoal_role)role);
    lose_redis(ok("shoal submit -- sh -c 'until test -e gate; do sleep 0.01; done'"));
    lose_the_last_moments();
    ok("shoal drain --wait --host $(hostname)");
    expect_no_denial();
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    test_process_finish(&worker);
    end_broker();
}
END_TEST

/* ---- what is denied */

enum {
    B = 1 << SHOAL_ROLE_BROKER,
    R = 1 << SHOAL_ROLE_READ,
    S = 1 << SHOAL_ROLE_SUBMIT,
    W = 1 << SHOAL_ROLE_WORKER,
};

/* Who is not denied; that it leads to anything is another matter. */
static const struct {
    const char *command;
    unsigned roles;
} attempts[] = {
    /* Redis as a whole */
    {"FLUSHALL", 0},
    {"FLUSHDB", 0},
    {"SWAPDB 0 1", 0},
    {"SELECT 1", 0},
    {"CONFIG SET save x", 0},
    {"CONFIG GET requirepass", 0},
    {"CONFIG REWRITE", 0},
    {"CONFIG RESETSTAT", 0},
    {"SHUTDOWN NOSAVE", 0},
    {"DEBUG SLEEP 0", 0},
    {"SAVE", 0},
    {"BGSAVE", 0},
    {"BGREWRITEAOF", W},
    {"REPLICAOF NO ONE", 0},
    {"SLAVEOF NO ONE", 0},
    {"PSYNC ? -1", 0},
    {"SYNC", 0},
    {"FAILOVER", 0},
    {"CLUSTER INFO", 0},
    {"MODULE LIST", 0},
    {"MONITOR", 0},
    {"SLOWLOG GET", 0},
    {"LATENCY DOCTOR", 0},
    {"MEMORY STATS", 0},
    {"CLIENT LIST", 0},
    {"CLIENT KILL ID 0", 0},
    {"CLIENT PAUSE 0", 0},
    {"CLIENT UNBLOCK 0", 0},
    {"CLIENT SETNAME x", B | R | S | W},
    {"INFO", B | R | S | W},
    {"SUBSCRIBE x", 0},
    {"PUBLISH x y", 0},
    {"MULTI", 0},
    {"WAIT 0 1", 0},

    /* users */
    {"ACL SETUSER x on", 0},
    {"ACL DELUSER shoal-broker", 0},
    {"ACL GETUSER shoal-broker", 0},
    {"ACL LIST", 0},
    {"ACL LOG RESET", 0},
    {"ACL LOAD", 0},
    {"ACL SAVE", 0},
    {"ACL WHOAMI", B | R | S | W},

    /* Lua */
    {"EVAL return 0", 0},
    {"EVAL_RO return 0", 0},
    {"EVALSHA x 0", 0},
    {"EVALSHA_RO x 0", 0},
    {"SCRIPT LOAD return", 0},
    {"SCRIPT FLUSH", 0},
    {"SCRIPT KILL", 0},
    {"FUNCTION LOAD x", B},
    {"FUNCTION LOAD REPLACE x", B},
    {"FUNCTION DELETE x", 0},
    {"FUNCTION FLUSH", 0},
    {"FUNCTION RESTORE x", 0},
    {"FUNCTION DUMP", 0},
    {"FUNCTION KILL", 0},
    {"FUNCTION LIST LIBRARYNAME x", B | R | S | W},

    /* all keys, and those of others */
    {"KEYS *", 0},
    {"SCAN 0", B},
    {"RANDOMKEY", 0},
    {"DBSIZE", 0},
    {"GET other", 0},
    {"GETRANGE other 0 1", 0},
    {"SET other x", 0},
    {"DEL other", 0},
    {"HGETALL other:{0}:epoch", 0},
    {"HGETALL shoalx:{0}:epoch", 0},
    {"HSET other:{0}:job:x n x", 0},
    {"RPUSH other:{0}:ready:default:5 x", 0},
    {"FCALL x 1 other:{0}:", 0},
    {"FCALL_RO x 1 other:{0}:", 0},
    {"MIGRATE 127.0.0.1 1 shoal:{0}:epoch 0 1", 0},
    {"RESTORE shoal:{0}:job:x 0 x", 0},
    {"DUMP shoal:{0}:epoch", 0},
    {"COPY shoal:{0}:epoch other", 0},
    {"RENAME shoal:{0}:epoch shoal:{0}:x", 0},
    {"RENAME shoal:{0}:failed:x other", 0},
    {"SORT shoal:{0}:jobs", 0},
    {"OBJECT ENCODING shoal:{0}:jobs", 0},
    {"EXPIRE shoal:{0}:jobs 1", 0},

    /* keys of the queue that a role has no business with */
    {"SET shoal:{0}:epoch x", 0},
    {"DEL shoal:{0}:epoch", 0},
    {"DEL shoal:{0}:jobs", B},
    {"UNLINK shoal:{0}:sessions", 0},
    {"HGETALL shoal:{0}:epoch", R | S},
    {"LRANGE shoal:{0}:results:x 0 -1", R | S},
    {"GET shoal:{0}:spec:x", 0},
    {"GETRANGE shoal:{0}:spec:x 0 1", R | S | W},
    {"SET shoal:{0}:spec:x x", S},
    {"ZADD shoal:{0}:jobs 0 x", B | S},
    {"XADD shoal:{0}:args:x 1-1 n 1", S},
    {"BLMPOP 0.001 1 shoal:{0}:mail:x LEFT", S},
    {"ZADD shoal:{0}:sessions 0 x", W},
    {"HSET shoal:{0}:leases:x a b", W},
    {"HSET shoal:{0}:clock now 0", B | W},
    {"RPUSH shoal:{0}:results:x a", B | W},
    {"BLPOP shoal:{0}:inbox:x 0.001", W},
    {"BLPOP shoal:{0}:ready:default:5 0.001", 0},
    {"HSET shoal:{0}:job:x n x", B | S | W}, /* what cannot be forbidden */
};

static struct shoal_redis *connect_as(const char *role) {
    const struct shoal_redis_options options = {.reconnect = true};
    struct shoal_redis_address address;
    struct shoal_redis *redis = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    as(role);
    enum shoal_status status =
        shoal_redis_address_parse(strchr(daemons.redis, '=') + 1,
                                  getenv("SHOAL_REDIS_PASSWORD_FILE"), &address, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    ck_assert_int_eq(shoal_redis_create(base, &address, &options, NULL, &redis, &err),
                     SHOAL_OK);
    shoal_redis_address_finish(&address);
    shoal_redis_start(redis);
    loop_until(base, shoal_redis_is_up(redis), LIMIT_MS);
    return redis;
}

static void expect_denial(const redisReply *reply, bool denied, const char *role,
                          const char *command) {
    bool is = reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0;
    ck_assert_msg(is == denied, "%s of role %s is %s: %s", command, role,
                  denied ? "not denied" : "denied", reply->str == NULL ? "" : reply->str);
}

START_TEST(what_no_work_needs_is_denied) {
    make_users();
    for (enum shoal_role role = 0; role < SHOAL_ROLE_COUNT; role++) {
        const char *name = shoal_role_name(role);
        struct shoal_redis *redis = connect_as(name);
        for (size_t i = 0; i < SHOAL_COUNT(attempts); i++) {
            redisReply *reply = test_command(redis, attempts[i].command);
            expect_denial(reply, (attempts[i].roles & 1u << role) == 0, name,
                          attempts[i].command);
            freeReplyObject(reply);
        }
        shoal_redis_destroy(redis);
    }
    as(NULL);
}
END_TEST

static const struct shoal_script *const scripts[] = {
    &shoal_script_acknowledge, &shoal_script_advance,   &shoal_script_append,
    &shoal_script_audit,       &shoal_script_cancel,    &shoal_script_close,
    &shoal_script_drain,       &shoal_script_finish,    &shoal_script_forget,
    &shoal_script_heartbeat,   &shoal_script_housekeep, &shoal_script_queue,
    &shoal_script_register,    &shoal_script_release,   &shoal_script_retry,
    &shoal_script_submit,
};

static bool has_call(enum shoal_role role, const struct shoal_script *script) {
    return script->reads ? role == SHOAL_ROLE_READ || role == SHOAL_ROLE_SUBMIT
                         : shoal_access_may(role, script->name);
}

/* Nor do half of it: Redis would check each command of a move by itself. */
START_TEST(move_of_another_role_changes_nothing) {
    make_users();
    start_broker();
    as("submit");
    ok("shoal submit -- true");
    end_broker();
    as(NULL);
    struct shoal_redis *all = test_server_connect(&daemons.server, base, NULL);
    for (enum shoal_role role = 0; role < SHOAL_ROLE_COUNT; role++) {
        const char *name = shoal_role_name(role);
        struct shoal_redis *redis = connect_as(name);
        SHOAL_CLEANUP(shoal_cleanup_free)
        char *before = test_command_text(all, "DEBUG DIGEST");
        for (size_t i = 0; i < SHOAL_COUNT(scripts); i++) {
            if (has_call(role, scripts[i]))
                continue;
            redisReply *reply = test_command(
                redis, "%s %s 1 shoal:{0}: aaaaaaaaaaaa 8000 x 0 0",
                scripts[i]->reads ? "FCALL_RO" : "FCALL", scripts[i]->function);
            expect_denial(reply, true, name, scripts[i]->name);
            freeReplyObject(reply);
        }
        SHOAL_CLEANUP(shoal_cleanup_free)
        char *after = test_command_text(all, "DEBUG DIGEST");
        ck_assert_str_eq(before, after);
        shoal_redis_destroy(redis);
    }
    shoal_redis_destroy(all);
    as(NULL);
}
END_TEST

START_TEST(worker_may_not_submit) {
    make_users();
    start_broker();
    as("worker");
    struct said said = sh_exit(3, "shoal submit -- true");
    ck_assert_ptr_nonnull(strstr(said.err, "this user may not do that in Redis"));
    ck_assert_ptr_nonnull(strstr(said.err, "the move 'submit'"));
    end_broker();
}
END_TEST

/* What a worker's user writes by hand, since its lists and hashes are what a worker's
 * moves write: a job of its own, from what others submitted. */
static const struct {
    const char *fields; /* $D and $W: a spec and a warrant that are there */
    const char *said;
} pushed[] = {
    {"spec $D", "runs signed jobs alone, and this is not signed"},
    {"spec $D warrant $W", "does not name this job: it was copied"},
};

START_TEST(job_that_is_pushed_with_a_workers_password_does_not_run) {
    make_users();
    start_broker();
    ok("shoal keygen > keys");
    as("submit");
    ok("shoal submit -q elsewhere -- sh -c ': > forbidden' > theirs; "
       "r='redis-cli -s $SOCKET --no-auth-warning --user shoal-worker'; "
       "printf '#!/bin/sh\nexec %%s --pass $(cat passwords/shoal-worker) \"$@\"\n' "
       "\"$r\" > r; chmod +x r");
    ok("K='shoal:{0}:'; D=$(./r hget ${K}job:$(cat theirs) spec) "
       "W=$(./r hget ${K}job:$(cat theirs) warrant); "
       "./r hset ${K}job:aaaaaaaaaaaa n active:1:0:0:0:0:0:0:0:1 seed 1 %s; "
       "./r rpush ${K}ready:default:5 aaaaaaaaaaaa; ./r rpush ${K}wake:default 1",
       pushed[_i].fields);
    as("worker");
    worker_start(&worker, "--trust-keys keys --allow-any");
    wait_until(has_said(&worker, pushed[_i].said), LIMIT_MS);
    ck_assert_uint_eq(files("forbidden"), 0);
    as("submit");
    ok("shoal run -p i=1:5 -- true");
    as("worker");
    worker_end(&worker);
    end_broker();
}
END_TEST

/* Nobody may but the admin. Then what was queued is lost, and what ran is ended with its
 * job; but no worker falls, and what is submitted anew runs. */
START_TEST(flushall_is_the_admins_alone_and_ends_no_worker) {
    int gate = gate_close("gate");
    as(NULL);
    ok("shoal keygen > keys; shoal acl --passwords-dir passwords --apply");
    start_broker();
    as("worker");
    worker_start(&worker, "--trust-keys keys --allow-any");
    for (enum shoal_role role = 0; role < SHOAL_ROLE_COUNT; role++) {
        struct shoal_redis *redis = connect_as(shoal_role_name(role));
        redisReply *reply = test_command(redis, "FLUSHALL");
        expect_denial(reply, true, shoal_role_name(role), "FLUSHALL");
        freeReplyObject(reply);
        shoal_redis_destroy(redis);
    }
    ck_assert_ptr_nonnull(strstr(ok("redis-cli -s $SOCKET flushall"), "NOAUTH"));
    as("submit");
    ok("shoal submit -- sh -c ': > began; flock -sF gate true; : > ended'");
    wait_until(files("began") == 1, LIMIT_MS);
    pid_t pid = worker_pid(&worker);
    ck_assert_str_eq(ok("redis-cli -s $SOCKET --no-auth-warning --user shoal-admin "
                        "--pass $(cat passwords/shoal-admin) flushall"),
                     "OK");
    ok("shoal run -p i=1:5 -- true");
    wait_until(has_said(&worker, "another store"), LIMIT_MS);
    gate_open(gate);
    ok("shoal run -p i=1:5 -- true; shoal audit");
    ck_assert_int_eq(worker_pid(&worker), pid);
    as("worker");
    worker_end(&worker);
    end_broker();
}
END_TEST

/* ---- who loads the functions */

static const char nobody_loads[] =
    "does not have the functions of shoal " SHOAL_VERSION " and this user may not load";

START_TEST(worker_waits_for_a_broker_to_load_the_functions) {
    make_users();
    as("submit");
    struct said said = sh_exit(3, "shoal submit -- true");
    ck_assert_ptr_nonnull(strstr(said.err, nobody_loads));
    as("read");
    said = sh_exit(3, "shoal doctor --load");
    ck_assert_ptr_nonnull(strstr(said.err, "this user may not load functions"));
    as("worker");
    worker_launch(&worker, "--trust-redis --allow-any");
    wait_until(has_said(&worker, nobody_loads), LIMIT_MS);
    start_broker();
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    as("submit");
    ok("shoal run -p i=1:3 -- true");
    ok("redis-cli -s $SOCKET function flush");
    ok("shoal run -p i=1:3 -- true || shoal run -p i=1:3 -- true || "
       "{ sleep 1; shoal run -p i=1:3 -- true; }");
    as("worker");
    worker_end(&worker);
    end_broker();
}
END_TEST

/* Those of a version that somebody loaded, and of others that nobody can have built. */
static void load_other_functions(const char *hash, const char *description) {
    ok("printf '#!lua name=shoal_%s\\nredis.register_function{function_name=\"f%s\", "
       "description=\"%s\", callback=function() end}' | "
       "redis-cli -s $SOCKET -x function load",
       hash, hash, description);
}

START_TEST(functions_of_another_version_are_refused_with_both_named) {
    static const char refused[] =
        "does not have the functions of shoal " SHOAL_VERSION
        " and this user may not load them (it has those of shoal 0.3); start a ";
    make_users();
    load_other_functions("0123456789ab", "shoal 0.3");
    load_other_functions("0123456789cd", "shoal \\27[31m");
    load_other_functions("0123456789ef", "something");
    as("submit");
    struct said said = sh_exit(3, "shoal submit -- true");
    ck_assert_msg(strstr(said.err, refused) != NULL, "it says %s", said.err);
    as("worker");
    worker_launch(&worker, "--trust-redis --allow-any");
    wait_until(has_said(&worker, refused), LIMIT_MS);
    start_broker();
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    worker_end(&worker);
    ck_assert_ptr_nonnull(
        strstr(ok("redis-cli -s $SOCKET function list"), "\nshoal " SHOAL_VERSION "\n"));
    end_broker();
}
END_TEST

START_TEST(doctor_loads_what_no_broker_did) {
    make_users();
    as("broker");
    ok("shoal doctor --load");
    as("submit");
    ok("shoal submit -- true");
}
END_TEST

/* ---- passwords */

START_TEST(passwords_are_made_once_and_for_their_owner_alone) {
    const char *rules = ok("shoal acl --passwords-dir passwords");
    ck_assert_str_eq(ok("stat -c %%a passwords passwords/* | sort -u"), "600\n700");
    ck_assert_str_eq(ok("ls passwords"),
                     "shoal-admin\nshoal-broker\nshoal-read\nshoal-submit\nshoal-worker");
    ck_assert_str_eq(ok("cat passwords/* | sort -u | wc -l"), "5");
    ck_assert_str_eq(
        ok("for f in passwords/*; do shoal acl --passwords-dir passwords | "
           "grep -c \"#$(tr -d '\\n' < $f | sha256sum | cut -c1-64)\"; done"),
        "1\n1\n1\n1\n1");
    ck_assert_str_eq(ok("shoal acl --passwords-dir passwords | grep -cFf passwords/"
                        "shoal-admin || true"),
                     "0");
    ck_assert_str_eq(ok("shoal acl --passwords-dir passwords"), rules);
    ok("chmod 640 passwords/shoal-read");
    ck_assert_ptr_nonnull(strstr(sh_exit(2, "shoal acl --passwords-dir passwords").err,
                                 "others can read the password file"));
}
END_TEST

static const char two_pings[] =
    "for f in passwords/shoal-read*; do redis-cli -s $SOCKET --no-auth-warning "
    "--user shoal-read --pass \"$(cat $f)\" ping; done";

START_TEST(two_passwords_are_good_while_one_takes_the_place_of_another) {
    make_users();
    ok("cp passwords/shoal-read first");
    ok("shoal acl --passwords-dir passwords --rotate read --apply --keep-default");
    ok("cmp first passwords/shoal-read.old && ! cmp -s first passwords/shoal-read");
    ck_assert_str_eq(ok(two_pings), "PONG\nPONG");
    ok("rm passwords/shoal-submit");
    struct said said = sh_exit(2, "shoal acl --passwords-dir passwords --rotate read");
    ck_assert_ptr_nonnull(strstr(said.err, "two passwords are good already"));
    ok("! test -e passwords/shoal-submit"); /* what is refused makes nothing */
    ok("rm passwords/shoal-read.old");
    make_users();
    ck_assert_str_eq(ok(two_pings), "PONG");
    ck_assert_ptr_nonnull(strstr(ok("redis-cli -s $SOCKET --no-auth-warning --user "
                                    "shoal-read --pass $(cat first) ping 2>&1 || true"),
                                 "WRONGPASS"));
}
END_TEST

/* By whom it is told to Redis: with the password of before, and not at all where Redis
 * cannot be reached. */
START_TEST(admin_rotates_its_own_password_when_redis_is_there) {
    make_users();
    ok("shoal acl --passwords-dir passwords --apply");
    as("admin");
    ok("cp passwords/shoal-admin first");
    sh_exit(3, "shoal acl --redis unix://shoal-admin@$HOME/no-redis --apply "
               "--passwords-dir passwords --rotate admin");
    ok("cmp first passwords/shoal-admin && ! test -e passwords/shoal-admin.old");
    ok("shoal acl --passwords-dir passwords --apply --rotate admin");
    ok("cmp first passwords/shoal-admin.old && ! cmp -s first passwords/shoal-admin");
    ok("shoal list && rm passwords/shoal-admin.old");
    ok("shoal acl --passwords-dir passwords --apply && shoal list");
    ok("cp first passwords/shoal-admin");
    sh_exit(3, "shoal list");
}
END_TEST

/* The file alone, and what is applied, make the same users; nobody else gets in. */
START_TEST(default_user_is_off_and_the_admin_gets_in) {
    as(NULL);
    ok("shoal acl --passwords-dir passwords > file");
    ok("shoal acl --passwords-dir passwords --apply");
    sh_exit(3, "shoal list");
    as("admin");
    ok("redis-cli -s $SOCKET --no-auth-warning --user shoal-admin "
       "--pass $(cat passwords/shoal-admin) acl list > applied");
    ok("shoal doctor --load");
    ok("shoal submit -p i=1:3 --name kept -- true");
    ok("cat file > %s", acl_file);
    test_server_restart(&daemons.server, NULL);
    as(NULL);
    ck_assert_ptr_nonnull(strstr(sh_exit(3, "shoal list").err, "requires a password"));
    as("admin");
    ok("redis-cli -s $SOCKET --no-auth-warning --user shoal-admin "
       "--pass $(cat passwords/shoal-admin) acl list > loaded");
    ok("for f in applied loaded; do "
       "tr ' ()' '\\n' < $f | grep -v sanitize | sort > $f.w; done; "
       "cmp applied.w loaded.w");
    as("submit");
    ok("shoal doctor --json | grep -q '\"check\":\"port\",\"verdict\":\"ok\"'");
    ok("shoal status kept"); /* Redis has read its file as somebody */
}
END_TEST

#define A16 "aaaaaaaaaaaaaaaa"
static const struct {
    const char *words;
    const char *says;
} mistakes[] = {
    {"", "--passwords-dir FOLDER"},
    {"--hash read", "is ROLE=SHA256"},
    {"--hash reader=" A16, "does not name a role"},
    {"--hash read=" A16, "is not 64 digits"},
    {"--hash read=" A16 A16 A16 A16 " --hash read=" A16 A16 A16 A16
     " --hash read=" A16 A16 A16 A16,
     "more than 2 hashes"},
    {"--hash read=" A16 A16 A16 A16 " --apply", "--keep-default"},
    {"--hash read=" A16 A16 A16 A16 " --rotate read", "give --passwords-dir"},
    {"--passwords-dir passwords --rotate readers", "does not name a role"},
    {"--passwords-dir passwords --user-prefix 'a b'", "user-prefix"},
    {"--passwords-dir passwords --rotate worker", "there is no password to rotate"},
    {"--hash read=" A16 A16 A16 A16 " --passwords-dir passwords --rotate read",
     "nothing to rotate for read"},
    {"--passwords-dir passwords --keep-default --rotate admin",
     "nothing to rotate for admin"},
    {"--passwords-dir /dev/null", "'/dev/null' is no folder"},
};

START_TEST(mistake_is_told) {
    struct said said = sh_exit(2, "shoal acl %s", mistakes[_i].words);
    ck_assert_msg(strstr(said.err, mistakes[_i].says) != NULL, "%s", said.err);
    ck_assert_str_eq(said.out, "");
    ck_assert_uint_eq(files("passwords"), 0);
}
END_TEST

/* In which others could put passwords of their own in the place of these. */
static const struct {
    const char *folder, *says;
} open_folders[] = {
    {"open", "run chmod o-w on it, or name a folder"},
    {"open/below", "run chmod o-w on it, or name a folder"},
    {"shared", "passwords in 'shared'; name a folder"},
    {"ours", "run chmod go-w on it"},
    {"theirs", "owner (12345) can exchange the passwords"},
};

START_TEST(folder_of_others_is_refused) {
    ok("mkdir -p open/below shared ours theirs; chmod 0777 open; chmod 1777 shared; "
       "chmod 0770 ours");
    if (sh("chown 12345 theirs").exit != 0 &&
        strcmp(open_folders[_i].folder, "theirs") == 0) {
        printf("skipped: another user's folder, as only root can make one\n");
        return;
    }
    struct said said =
        sh_exit(2, "shoal acl --passwords-dir %s", open_folders[_i].folder);
    ck_assert_msg(strstr(said.err, open_folders[_i].says) != NULL, "%s", said.err);
    ck_assert_uint_eq(files("*/shoal-*") + files("open/below/*"), 0);
    ok("shoal acl --passwords-dir shared/mine"); /* nobody takes its place there */
}
END_TEST

START_TEST(hash_of_fips_is_right) {
    static const struct {
        const char *text, *hash;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char hash[SHOAL_HASH_DIGITS + 1], text[201];
    for (size_t i = 0; i < SHOAL_COUNT(known); i++) {
        ck_assert(shoal_hash(known[i].text, strlen(known[i].text), hash));
        ck_assert_str_eq(hash, known[i].hash);
    }
    for (size_t len = 50; len <= 200; len += 7) { /* around the ends of blocks */
        memset(text, 'x', len);
        text[len] = '\0';
        ck_assert(shoal_hash(text, len, hash));
        ck_assert_str_eq(hash, ok("printf %%s %s | sha256sum | cut -c1-64", text));
    }
}
END_TEST

/* ---- what doctor finds */

static const char *verdict_of(const char *check) {
    const json_t *checks = json_lines(sh("shoal doctor --json").out);
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const json_t *row = json_array_get(checks, i);
        if (strcmp(text_in(row, "check"), check) == 0)
            return text_in(row, "verdict");
    }
    return "none";
}

static const struct {
    const char *rules; /* of the user that looks, besides its role's; NULL: as default */
    const char *check;
    const char *verdict;
    const char *says;
} widths[] = {
    {"", "user", "ok", "may do what role read needs"},
    {"+flushall", "user", "warn", "FLUSHALL"},
    {"+config|set", "user", "warn", "CONFIG SET"},
    {"+function|load", "user", "warn", "FUNCTION LOAD"},
    {"+get ~other", "user", "warn", "GET of keys outside the namespace"},
    {"(+getrange ~*)", "user", "warn", "GETRANGE of keys outside the namespace"},
    {"+@all ~*", "user", "warn", "everything"},
    {"(~shoal:{0}:may:submit ~shoal:{0}:may:advance +fcall)", "user", "warn",
     "submit and worker"},
    {"-acl|dryrun", "user", "warn", "cannot tell what user 'shoal-read' may do"},
    {"-info", "server", "warn", "may not call INFO"},
    {"-function|list", "functions", "warn", "cannot tell whether they are ours"},
    {NULL, "user", "warn", "everything"},
};

START_TEST(doctor_finds_what_is_too_wide) {
    make_users();
    if (widths[_i].rules != NULL)
        ok("printf 'acl setuser shoal-read %%s\\n' '%s' | redis-cli -s $SOCKET",
           widths[_i].rules);
    as(widths[_i].rules == NULL ? NULL : "read");
    ck_assert_str_eq(verdict_of(widths[_i].check), widths[_i].verdict);
    const char *said = sh("shoal doctor").out;
    ck_assert_msg(strstr(said, widths[_i].says) != NULL, "%s", said);
}
END_TEST

/* How doctor comes, and what there is besides the socket. */
static const struct {
    const char *scheme; /* NULL: by the socket */
    const char *listens;
    const char *says;   /* of an open port */
    const char *others; /* the verdict when anybody could reach it */
} ways[] = {
    {"redis", "bind 127.0.0.1", "whoever reaches port $PORT gets in", "bad"},
    {"rediss", "port 0 tls-port $PORT", "whoever reaches port $PORT gets in", "bad"},
    {"rediss", "port 0 tls-port $PORT tls-auth-clients yes", "with a certificate gets in",
     "warn"},
    {NULL, "bind 127.0.0.2", "whoever reaches port $PORT gets in", "bad"},
};

static void make_certificates(bool of_client) {
    static const struct test_certificate made[] = {
        {"authority", NULL, NULL, -1, 90},
        {"server", "IP:127.0.0.1", "authority", -1, 60},
        {"client", "DNS:client", "authority", -1, 60},
    };
    const char *home = daemons.home.path;
    for (size_t i = 0; i < SHOAL_COUNT(made); i++)
        test_certificate_make(home, &made[i]);
    ok("redis-cli -s $SOCKET config set tls-auth-clients no "
       "tls-cert-file $HOME/server.pem tls-key-file $HOME/server.key "
       "tls-ca-cert-file $HOME/authority.pem");
    snprintf(daemons.ca, sizeof(daemons.ca), "SHOAL_TLS_CA=%s/authority.pem", home);
    if (!of_client)
        return;
    snprintf(daemons.certificate, sizeof(daemons.certificate),
             "SHOAL_TLS_CERT=%s/client.pem", home);
    snprintf(daemons.key, sizeof(daemons.key), "SHOAL_TLS_KEY=%s/client.key", home);
}

static void come(size_t way, const char *role) {
    as(role);
    if (ways[way].scheme != NULL)
        snprintf(daemons.redis, sizeof(daemons.redis),
                 "SHOAL_REDIS=%s://%s%s%s127.0.0.1:%s", ways[way].scheme,
                 role == NULL ? "" : "shoal-", role == NULL ? "" : role,
                 role == NULL ? "" : "@", port);
}

START_TEST(doctor_finds_an_open_port) {
    size_t way = (size_t)_i;
    if (strstr(ways[way].listens, "tls") != NULL)
        make_certificates(strstr(ways[way].listens, "clients") != NULL);
    ok("redis-cli -s $SOCKET config set %s", ways[way].listens);
    come(way, NULL);
    ck_assert_str_eq(verdict_of("port"), "warn");
    ok("shoal doctor | grep \"%s\"", ways[way].says);
    ck_assert_str_eq(verdict_of("bind"), "ok");
    /* one that no host has, beside one's own */
    ok("redis-cli -s $SOCKET config set bind '127.0.0.1 -203.0.113.77' "
       "protected-mode no");
    ck_assert_str_eq(verdict_of("bind"), ways[way].others);
    ok("redis-cli -s $SOCKET config set bind '*'");
    ck_assert_str_eq(verdict_of("bind"), ways[way].others);
    sh_exit(strcmp(ways[way].others, "bad") == 0, "shoal doctor");
    ok("redis-cli -s $SOCKET config set protected-mode yes");
    ck_assert_str_eq(verdict_of("bind"), "warn");
    ok("shoal acl --passwords-dir passwords --apply");
    come(way, "read");
    ck_assert_str_eq(verdict_of("port"), "ok");
    come(way, "admin");
    ck_assert_str_eq(verdict_of("bind"), "ok");
    ck_assert_str_eq(verdict_of("user"), "warn");
}
END_TEST

/* It was let in, and not asked. */
START_TEST(doctor_calls_no_port_closed_that_does_not_ask) {
    make_users();
    ok("redis-cli -s $SOCKET acl setuser default -echo");
    as("read");
    ck_assert_str_eq(verdict_of("port"), "warn");
    ok("shoal doctor | grep 'could not be tried: .*may not do that'");
}
END_TEST

START_TEST(doctor_finds_functions_that_are_not_ours) {
    make_users();
    as("read");
    ck_assert_str_eq(verdict_of("functions"), "warn"); /* none yet */
    as("broker");
    ok("shoal doctor --load");
    as("read");
    ck_assert_str_eq(verdict_of("functions"), "ok");
    ok("{ redis-cli -s $SOCKET --raw function list withcode | sed -n '/^#!lua/,$p'; "
       "echo '-- and more'; } > library; "
       "redis-cli -s $SOCKET -x function load replace < library");
    struct said said = sh_exit(1, "shoal doctor");
    ck_assert_ptr_nonnull(strstr(said.out, "somebody replaced it"));
    as("broker");
    ok("shoal doctor --load");
    ck_assert_str_eq(verdict_of("functions"), "ok");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("acl");
    TCase *tests = tcase_create("acl");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, every_role_does_its_work_without_a_denial);
    tcase_add_test(tests, what_no_work_needs_is_denied);
    tcase_add_test(tests, move_of_another_role_changes_nothing);
    tcase_add_test(tests, worker_may_not_submit);
    tcase_add_loop_test(tests, job_that_is_pushed_with_a_workers_password_does_not_run, 0,
                        (int)SHOAL_COUNT(pushed));
    tcase_add_test(tests, flushall_is_the_admins_alone_and_ends_no_worker);
    tcase_add_test(tests, worker_waits_for_a_broker_to_load_the_functions);
    tcase_add_test(tests, functions_of_another_version_are_refused_with_both_named);
    tcase_add_test(tests, doctor_loads_what_no_broker_did);
    tcase_add_test(tests, passwords_are_made_once_and_for_their_owner_alone);
    tcase_add_test(tests, two_passwords_are_good_while_one_takes_the_place_of_another);
    tcase_add_test(tests, admin_rotates_its_own_password_when_redis_is_there);
    tcase_add_test(tests, default_user_is_off_and_the_admin_gets_in);
    tcase_add_loop_test(tests, mistake_is_told, 0, (int)SHOAL_COUNT(mistakes));
    tcase_add_loop_test(tests, folder_of_others_is_refused, 0,
                        (int)SHOAL_COUNT(open_folders));
    tcase_add_test(tests, hash_of_fips_is_right);
    tcase_add_loop_test(tests, doctor_finds_what_is_too_wide, 0,
                        (int)SHOAL_COUNT(widths));
    tcase_add_loop_test(tests, doctor_finds_an_open_port, 0, (int)SHOAL_COUNT(ways));
    tcase_add_test(tests, doctor_calls_no_port_closed_that_does_not_ask);
    tcase_add_test(tests, doctor_finds_functions_that_are_not_ours);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
