/* Any bytes in any field of any key: a small live queue is overwritten here and there,
 * and then every command looks at it and a worker works on it. Nobody crashes or hangs,
 * and whoever fails says why.
 *
 *     GARBAGE_SEED=7 GARBAGE_ROUNDS=1 build/tests/system/garbage     one round again */
#include "common/cleanup.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/wait.h"

#include <check.h>
#include <ctype.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_MS = 60000, ROUNDS = 4, WRITES = 12, WORDS_MAX = 12 };

static struct test_server server;
static struct test_directory directory;
static struct test_path shoal;
static char redis_variable[160], state_variable[80], settings_variable[80];
static char keys_variable[128]; /* of a round with signed jobs, else without "=" */
static const char *const environment[] = {redis_variable, state_variable,
                                          settings_variable, keys_variable, NULL};
static uint64_t state; /* of the chance */

/* xorshift64 */
static uint64_t chance(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static int run_words_out(const char *words, char **ret_out, char **ret_err) {
    char copy[256], *rest = copy;
    const char *argv[WORDS_MAX] = {shoal.text};
    size_t n = 1;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word; (word = strsep(&rest, " ")) != NULL && n < WORDS_MAX - 1; n++)
        argv[n] = word;
    const struct test_program program = {
        .argv = argv, .environment = environment, .directory = directory.path};
    return test_run(&program, LIMIT_MS, ret_out, ret_err);
}

static int run_words(const char *words, char **ret_err) {
    return run_words_out(words, NULL, ret_err);
}

/* ---- a queue with something of everything in it */

static void start_worker(struct test_process *worker) {
    const struct test_path path = test_built("shoal-worker");
    const char *const argv[] = {path.text, "--slots",         "2", "--name", "here",
                                "--queue", "default,healthy", NULL};
    const struct test_program program = {.argv = argv, .environment = environment};
    test_process_start(worker, &program);
}

static void end_worker(struct test_process *worker) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *said = NULL;
    test_process_signal(worker, SIGTERM);
    int status = test_process_wait(worker, LIMIT_MS);
    said = test_process_err(worker);
    ck_assert_msg(status >= 0 && status <= 3, "the worker ended with %d: %s", status,
                  said);
    ck_assert_msg(strstr(said, "signal") == NULL, "the worker died: %s", said);
    test_process_finish(worker);
}

static void fill(void) {
    static const char *const jobs[] = {
        "run --name done -p x=1:3 -- echo y={x}",
        "run --name odd --retries 1 -p x=1:3 -- test {x} -ne 2",
        "submit --name later --delay 1d -p x=1:3 -- true",
        "submit --name many -p x=1:2000 -- true",
        "submit --name elsewhere --queue other -p x=1:3 -- true",
    };
    struct test_process worker;
    start_worker(&worker);
    for (size_t i = 0; i < SHOAL_COUNT(jobs); i++)
        ck_assert_int_ge(run_words(jobs[i], NULL), 0);
    end_worker(&worker);
}

/* Every other round has signed jobs, and workers that run no others. */
static void choose_keys(bool is_signed) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *line = NULL;
    char path[96];
    snprintf(keys_variable, sizeof(keys_variable), "SHOAL_TRUST_KEYS");
    if (!is_signed)
        return;
    const char *const argv[] = {shoal.text, "keygen", NULL};
    const struct test_program program = {.argv = argv, .environment = environment};
    ck_assert_int_eq(test_run(&program, LIMIT_MS, &line, NULL), 0);
    snprintf(path, sizeof(path), "%s/keys", directory.path);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(line, file), 0);
    fclose(file);
    snprintf(keys_variable, sizeof(keys_variable), "SHOAL_TRUST_KEYS=%s", path);
}

/* ---- garbage */

struct bytes {
    const char *text;
    size_t len;
};

/* Numbers at their bounds, separators, and things that are some of ours. */
static struct bytes garbage(void) {
    static const char *const texts[] = {
        "",
        "-1",
        "0",
        "9223372036854775808",
        "1e999",
        "nan",
        ":::",
        "x",
        "*1\r\n*1\r\n",
        "active:1:9:9:9:9",
        "@s/l",
        "\n",
        "{}",
        "null",
        "1:2:3:4:5:q",
        "9007199254740993",
        "-0",
        "%s%n",
        "0-1\n",
        "*-1\r\n",
        "succeeded",
        "0123456789ab",
        "\xff\xfe",
        " 1",
    };
    static char noise[300];
    size_t pick = chance(SHOAL_COUNT(texts) + 4);
    if (pick < SHOAL_COUNT(texts))
        return (struct bytes){texts[pick], strlen(texts[pick])};
    size_t len = chance(sizeof(noise));
    for (size_t i = 0; i < len; i++)
        noise[i] = (char)chance(256);
    return (struct bytes){noise, len};
}

/* One of the elements of an array, every step-th of which may be taken. */
static const redisReply *pick(const redisReply *all, size_t step) {
    size_t n = all->type == REDIS_REPLY_ARRAY ? all->elements / step : 0;
    return n == 0 ? NULL : all->element[chance(n) * step];
}

/* How to list the names in a key of that type, and to put garbage in place of one. */
static const struct {
    const char *type;
    const char *list; /* NULL: there are no names */
    size_t step;
    const char *forget; /* what was there; NULL: it is overwritten */
    const char *write;  /* key, name (where there is one), bytes */
} types[] = {
    {"string", NULL, 0, NULL, "SET %s %b"},
    {"hash", "HGETALL %s", 2, NULL, "HSET %s %b %b"},
    {"zset", "ZRANGE %s 0 -1", 1, "ZREM %s %b", "ZADD %s 0 %b"},
    {"set", "SMEMBERS %s", 1, "SREM %s %b", "SADD %s %b"},
    {"list", "LRANGE %s 0 -1", 1, NULL, "LPUSH %s %b"},
    {"stream", NULL, 0, NULL, "XADD %s * p %b"},
};

static void spoil(struct shoal_redis *redis, const char *key, size_t type) {
    const struct bytes bytes = garbage();
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *names = NULL;
    if (types[type].list == NULL) {
        freeReplyObject(
            test_command(redis, types[type].write, key, bytes.text, bytes.len));
        return;
    }
    names = test_command(redis, types[type].list, key);
    const redisReply *name = pick(names, types[type].step);
    if (name == NULL)
        return;
    if (types[type].step == 2) {
        if (strcmp(name->str, "layout") == 0)
            return; /* nobody works on a store of another layout */
        freeReplyObject(test_command(redis, types[type].write, key, name->str, name->len,
                                     bytes.text, bytes.len));
        return;
    }
    if (types[type].forget != NULL)
        freeReplyObject(
            test_command(redis, types[type].forget, key, name->str, name->len));
    freeReplyObject(test_command(redis, types[type].write, key, bytes.text, bytes.len));
}

static void spoil_some(void) {
    struct event_base *base = event_base_new();
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    for (int i = 0; i < WRITES; i++) {
        SHOAL_CLEANUP(shoal_cleanup_reply)
        redisReply *keys = test_command(redis, "KEYS shoal:*");
        const redisReply *key = pick(keys, 1);
        if (key == NULL)
            break;
        SHOAL_CLEANUP(shoal_cleanup_free)
        char *type = test_command_text(redis, "TYPE %s", key->str);
        for (size_t t = 0; t < SHOAL_COUNT(types); t++) {
            if (strcmp(types[t].type, type) == 0)
                spoil(redis, key->str, t);
        }
    }
    shoal_redis_destroy(redis);
    event_base_free(base);
}

/* ---- and then */

static const char *const commands[] = {
    "list",          "list --all",   "status",         "status done",
    "status odd",    "status many",  "workers",        "queues",
    "audit",         "doctor",       "results done",   "results odd",
    "results later", "show done 0",  "show odd 1",     "replay done 0",
    "retry odd",     "cancel later", "pause other",    "resume other",
    "forget done",   "drain here",   "submit -- true", "wait done --timeout 100ms",
    "cancel many",   "list",         "audit",
};

/* It ends by itself, and if it fails then with a sentence. */
static void try(const char *words, uint64_t seed) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = NULL;
    int status = run_words(words, &err);
    ck_assert_msg(status >= 0 && status <= 4, "seed %" PRIu64 ": %s: exit %d: %s", seed,
                  words, status, err);
    for (const char *at = err; *at != '\0'; at++)
        ck_assert_msg(isprint((unsigned char)*at) || *at == '\n' || (*at & 0x80) != 0,
                      "seed %" PRIu64 ": %s: a control character in: %s", seed, words,
                      err);
    ck_assert_msg(status == 0 || status == 1 || err[0] != '\0',
                  "seed %" PRIu64 ": %s: exit %d without a word", seed, words, status);
}

static void play_round(uint64_t seed) {
    struct test_process worker;
    state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    test_server_start(&server, NULL);
    snprintf(redis_variable, sizeof(redis_variable), "SHOAL_REDIS=%s", server.url);
    fill();
    spoil_some();
    start_worker(&worker);
    for (size_t i = 0; i < SHOAL_COUNT(commands); i++)
        try(commands[i], seed);
    spoil_some(); /* while the worker works */
    try("submit -- true", seed);
    try("list", seed);
    end_worker(&worker);
    start_worker(&worker); /* it may have been drained */
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = NULL;
    ck_assert_msg(run_words("run --queue healthy -p x=1:3 -- true", &err) == 0,
                  "seed %" PRIu64 ": a healthy job does not end well: %s", seed, err);
    end_worker(&worker);
    test_server_destroy(&server);
}

static uint64_t number(const char *variable, uint64_t usual) {
    const char *text = getenv(variable);
    return text == NULL ? usual : strtoull(text, NULL, 10);
}

START_TEST(garbage_in_any_field_crashes_nobody) {
    uint64_t seed = number("GARBAGE_SEED", 1) + (uint64_t)_i;
    shoal = test_built("shoal");
    test_directory_create(&directory);
    snprintf(state_variable, sizeof(state_variable), "SHOAL_STATE=%s/state",
             directory.path);
    snprintf(settings_variable, sizeof(settings_variable), "XDG_CONFIG_HOME=%s/settings",
             directory.path);
    choose_keys(seed % 2 == 0);
    play_round(seed);
    test_directory_destroy(&directory);
}
END_TEST

/* ---- keys of another type */

/* What follows the prefix, before the job. Of a job that fails all the time a worker
 * needs the first ones, and the job is set aside. */
static const char *const of_job[] = {"open:", "results:", "failed:", "attempts:", "job:",
                                     "todo:", "args:",    "again:",  "barred:"};
enum { SET_ASIDE = 4 };
static const char *const of_session[] = {"session:", "leases:", "inbox:"};
static const char *const of_all[] = {"clock", "queue:default", "sessions",
                                     "ready:default:5"};

static struct event_base *base;
static struct shoal_redis *redis;

static void spoil_key(const char *key) {
    freeReplyObject(test_command(redis, "DEL %s", key));
    freeReplyObject(test_command(redis, "SET %s nonsense", key));
}

static int run_format(const char *format, const char *word) {
    char words[128];
    snprintf(words, sizeof(words), format, word);
    return run_words(words, NULL);
}

static bool audit_is(int status, const char *part) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = NULL;
    return run_words_out("audit", &out, NULL) == status && strstr(out, part) != NULL;
}

static void expect_healthy(void) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = NULL, *err = NULL;
    int status = run_words_out("run --format csv -p x=1:5 -- echo y={x}", &out, &err);
    ck_assert_msg(status == 0 && strstr(out, "\n4,5,ok") != NULL, "exit %d: %s%s", status,
                  out, err);
}

static void expect_set_aside(const struct test_process *worker, const char *id) {
    if (run_format("wait %s --timeout 30s", id) == 1)
        return;
    SHOAL_CLEANUP(shoal_cleanup_free) char *said = test_process_err(worker);
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *n = test_command_text(redis, "HGET shoal:{0}:job:%s n", id);
    ck_abort_msg("%s was not set aside, it is %s: %s", id, n, said);
}

static void begin(struct test_process *worker) {
    base = event_base_new();
    shoal = test_built("shoal");
    test_directory_create(&directory);
    snprintf(state_variable, sizeof(state_variable), "SHOAL_STATE=%s/state",
             directory.path);
    test_server_start(&server, NULL);
    snprintf(redis_variable, sizeof(redis_variable), "SHOAL_REDIS=%s", server.url);
    redis = test_server_connect(&server, base, NULL);
    start_worker(worker);
}

/* The worker said no more than a few words, and nothing that is not so. */
static void finish(struct test_process *worker) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *said = test_process_err(worker);
    size_t lines = 0;
    for (const char *at = said; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    ck_assert_msg(lines < 30, "%s", said);
    ck_assert_ptr_null(strstr(said, "lost its last moments"));
    end_worker(worker);
    shoal_redis_destroy(redis);
    event_base_free(base);
    test_server_destroy(&server);
    test_directory_destroy(&directory);
}

START_TEST(job_with_a_key_of_another_type_harms_no_other) {
    enum { N = SHOAL_COUNT(of_job) };
    struct test_process worker;
    char key[96], *ids[N];
    begin(&worker);
    for (size_t i = 0; i < N; i++) {
        ck_assert_int_eq(run_words_out("submit -p x=1:9999 -- false", &ids[i], NULL), 0);
        ids[i][strcspn(ids[i], "\n")] = '\0';
        snprintf(key, sizeof(key), "shoal:{0}:%s%s", of_job[i], ids[i]);
        spoil_key(key);
    }
    expect_healthy();
    for (size_t i = 0; i < N; i++) {
        SHOAL_CLEANUP(shoal_cleanup_free) char *id = ids[i];
        snprintf(key, sizeof(key), "shoal:{0}:%s%s has type string", of_job[i], id);
        if (i < SET_ASIDE)
            expect_set_aside(&worker, id);
        ck_assert_msg(audit_is(1, key), "nothing says that %s", key);
        ck_assert_int_eq(run_format("forget --force %s", id), 0);
    }
    ck_assert(audit_is(0, "nothing wrong"));
    expect_healthy();
    finish(&worker);
}
END_TEST

static bool is_leased(const char *open) {
    SHOAL_CLEANUP(shoal_cleanup_reply)
    redisReply *ranges = test_command(redis, "ZRANGE %s 0 0", open);
    return ranges->elements == 1 && strchr(ranges->element[0]->str, '@') != NULL;
}

/* Also while a task runs, which goes on. */
START_TEST(session_with_a_key_of_another_type_begins_anew) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *id = NULL;
    struct test_process worker;
    char key[96];
    begin(&worker);
    expect_healthy();
    ck_assert_int_eq(run_words_out("submit -- sleep 4", &id, NULL), 0);
    id[strcspn(id, "\n")] = '\0';
    snprintf(key, sizeof(key), "shoal:{0}:open:%s", id);
    wait_until(is_leased(key), LIMIT_MS);
    for (size_t i = 0; i < SHOAL_COUNT(of_session); i++) {
        SHOAL_CLEANUP(shoal_cleanup_reply)
        redisReply *sessions = test_command(redis, "ZRANGE shoal:{0}:sessions 0 0");
        ck_assert_uint_eq(sessions->elements, 1);
        snprintf(key, sizeof(key), "shoal:{0}:%s%s", of_session[i],
                 sessions->element[0]->str);
        spoil_key(key);
    }
    spoil_key("shoal:{0}:wake:default");
    expect_healthy();
    wait_until(audit_is(0, "nothing wrong"), LIMIT_MS);
    snprintf(key, sizeof(key), "shoal:{0}:attempts:%s", id);
    ck_assert_int_eq(run_format("wait %s --timeout 30s", id), 0);
    ck_assert_int_eq(test_command_int(redis, "EXISTS %s", key), 0); /* it ran once */
    finish(&worker);
}
END_TEST

/* Whoever needs it is told its name, until it is deleted. */
START_TEST(key_of_another_type_that_all_share_is_named) {
    struct test_process worker;
    char key[96];
    begin(&worker);
    expect_healthy();
    for (size_t i = 0; i < SHOAL_COUNT(of_all); i++) {
        SHOAL_CLEANUP(shoal_cleanup_free) char *err = NULL;
        snprintf(key, sizeof(key), "shoal:{0}:%s", of_all[i]);
        spoil_key(key);
        if (strcmp(of_all[i], "sessions") != 0) { /* who submits does not look there */
            ck_assert_int_eq(run_words("submit -- true", &err), 3);
            ck_assert_msg(strstr(err, key) != NULL, "%s", err);
        }
        ck_assert(audit_is(1, key));
        freeReplyObject(test_command(redis, "DEL %s", key));
    }
    expect_healthy();
    finish(&worker);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("garbage");
    TCase *rounds = tcase_create("rounds");
    tcase_set_timeout(rounds, 120);
    tcase_add_loop_test(rounds, garbage_in_any_field_crashes_nobody, 0,
                        (int)number("GARBAGE_ROUNDS", ROUNDS));
    suite_add_tcase(suite, rounds);
    TCase *keys = tcase_create("types");
    tcase_set_timeout(keys, 120);
    tcase_add_test(keys, job_with_a_key_of_another_type_harms_no_other);
    tcase_add_test(keys, session_with_a_key_of_another_type_begins_anew);
    tcase_add_test(keys, key_of_another_type_that_all_share_is_named);
    suite_add_tcase(suite, keys);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
