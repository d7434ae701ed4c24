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
static char redis_variable[160], state_variable[80];
static const char *const environment[] = {redis_variable, state_variable, NULL};
static uint64_t state; /* of the chance */

/* xorshift64 */
static uint64_t chance(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static int run_words(const char *words, char **ret_err) {
    char copy[256], *rest = copy;
    const char *argv[WORDS_MAX] = {shoal.text};
    size_t n = 1;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word; (word = strsep(&rest, " ")) != NULL && n < WORDS_MAX - 1; n++)
        argv[n] = word;
    const struct test_program program = {
        .argv = argv, .environment = environment, .directory = directory.path};
    return test_run(&program, LIMIT_MS, NULL, ret_err);
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
    play_round(seed);
    test_directory_destroy(&directory);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("garbage");
    TCase *rounds = tcase_create("rounds");
    tcase_set_timeout(rounds, 120);
    tcase_add_loop_test(rounds, garbage_in_any_field_crashes_nobody, 0,
                        (int)number("GARBAGE_ROUNDS", ROUNDS));
    suite_add_tcase(suite, rounds);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
