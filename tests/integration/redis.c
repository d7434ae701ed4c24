#include "common/redis.h"
#include "common/clock.h"

#include "common/cleanup.h"
#include "tests/support/peer.h"
#include "tests/support/redis_server.h"
#include "tests/support/wait.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_server server;
static struct event_base *base;

static void start_server(void) {
    test_server_start(&server, NULL);
}

static void end_server(void) {
    test_server_destroy(&server);
}

static void make_base(void) {
    base = event_base_new();
    ck_assert_ptr_nonnull(base);
}

static void free_base(void) {
    event_base_free(base);
}

/* What a connection told its owner. */
struct diary {
    int ups;
    int downs;
    struct shoal_error why;
};

static void note_up(void *owner) {
    struct diary *diary = owner;
    diary->ups++;
}

static void note_down(void *owner, const struct shoal_error *why) {
    struct diary *diary = owner;
    diary->downs++;
    diary->why = *why;
}

/* What came of one command. */
struct outcome {
    int calls;
    int order; /* which one this was among all */
    enum shoal_status status;
    int type; /* of the reply */
    long long integer;
    char text[600];
};

static int answered_so_far;

static void note_outcome(void *owner, enum shoal_status status, const redisReply *reply,
                         const struct shoal_error *err) {
    struct outcome *outcome = owner;
    outcome->calls++;
    outcome->order = ++answered_so_far;
    outcome->status = status;
    const char *text = err != NULL ? err->text : NULL;
    if (reply != NULL) {
        outcome->type = reply->type;
        outcome->integer = reply->integer;
        text = reply->str;
    }
    snprintf(outcome->text, sizeof(outcome->text), "%s", text == NULL ? "" : text);
}

static struct shoal_redis *create_at(const char *url, struct shoal_redis_options options,
                                     struct diary *diary) {
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    ck_assert_msg(shoal_redis_address_parse(url, NULL, &address, &err) == SHOAL_OK, "%s",
                  err.text);
    struct shoal_redis_events events = {.up = note_up, .down = note_down, .owner = diary};
    struct shoal_redis *redis = NULL;
    ck_assert_msg(shoal_redis_create(base, &address, &options,
                                     diary == NULL ? NULL : &events, &redis,
                                     &err) == SHOAL_OK,
                  "%s", err.text);
    shoal_redis_address_finish(&address);
    return redis;
}

/* A request of words that end with NULL. */
static struct shoal_request words(const char *word, ...) {
    struct shoal_request request;
    shoal_request_init(&request);
    va_list args;
    va_start(args, word);
    for (; word != NULL; word = va_arg(args, const char *))
        shoal_request_text(&request, word);
    va_end(args);
    return request;
}

static enum shoal_status send_words(struct shoal_redis *redis, int64_t timeout_ms,
                                    struct outcome *outcome,
                                    struct shoal_request request) {
    enum shoal_status status =
        shoal_redis_send(redis, &request, timeout_ms, note_outcome, outcome, NULL);
    shoal_request_finish(&request);
    return status;
}

/* Runs a command and notes its answer as `note_outcome` does. */
static enum shoal_status run_words(struct shoal_redis *redis, int64_t timeout_ms,
                                   struct outcome *outcome,
                                   struct shoal_request request) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    struct shoal_error err = {0};
    enum shoal_status status = shoal_redis_run(redis, &request, timeout_ms, &reply, &err);
    shoal_request_finish(&request);
    ck_assert_int_eq(status, err.status);
    ck_assert_int_eq(status == SHOAL_OK, reply != NULL);
    note_outcome(outcome, status, reply, &err);
    return status;
}

/* ---- commands and answers */

enum { MANY = 10000 };

START_TEST(answers_come_in_the_order_of_the_commands) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct outcome *outcomes = calloc(MANY, sizeof(*outcomes));
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(send_words(redis, 0, &outcomes[i], words("INCR", "order", NULL)),
                         SHOAL_OK);
    ck_assert_int_eq(outcomes[0].calls, 0);
    loop_until(base, outcomes[MANY - 1].calls > 0, 10000);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(outcomes[i].calls, 1);
        ck_assert_int_eq(outcomes[i].order, i + 1);
        ck_assert_int_eq(outcomes[i].integer, i + 1);
    }
    free(outcomes);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(large_values_go_there_and_back) {
    enum { SIZE = 20 << 20 };
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    char *value = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (char)(i * 31);
    freeReplyObject(test_command(redis, "SET large %b", value, (size_t)SIZE));
    redisReply *reply = test_command(redis, "GET large");
    ck_assert_uint_eq(reply->len, SIZE);
    ck_assert(memcmp(reply->str, value, SIZE) == 0);
    freeReplyObject(reply);
    freeReplyObject(test_command(redis, "DEL large"));
    free(value);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(large_arrays_come_back) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    redisReply *reply =
        test_command(redis, "EVAL %s 0",
                     "local t = {} for i = 1, 200000 do t[i] = {i, 'x'} end return t");
    ck_assert(shoal_reply_is_array(reply, 200000));
    int64_t last;
    ck_assert(shoal_reply_int(shoal_reply_at(shoal_reply_at(reply, 199999), 0), &last));
    ck_assert_int_eq(last, 200000);
    freeReplyObject(reply);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(run_connects_and_gives_the_reply) {
    struct shoal_redis *redis =
        create_at(server.url, (struct shoal_redis_options){0}, NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(redis, 0, &outcome, words("ECHO", "hello", NULL)),
                     SHOAL_OK);
    ck_assert_str_eq(outcome.text, "hello");
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(run_turns_error_replies_into_statuses) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct outcome outcome = {0};
    freeReplyObject(test_command(redis, "RPUSH list x"));
    ck_assert_int_eq(run_words(redis, 0, &outcome, words("INCR", "list", NULL)),
                     SHOAL_GARBAGE);
    freeReplyObject(test_command(redis, "CONFIG SET maxmemory 1"));
    ck_assert_int_eq(run_words(redis, 0, &outcome, words("SET", "a", "b", NULL)),
                     SHOAL_FULL);
    freeReplyObject(test_command(redis, "CONFIG SET maxmemory 0"));
    ck_assert_int_eq(run_words(redis, 0, &outcome, words("NONSENSE", NULL)),
                     SHOAL_DENIED);
    ck_assert_int_eq(run_words(redis, 0, &outcome, words("GET", NULL)), SHOAL_INVALID);
    ck_assert(shoal_redis_is_up(redis));
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(a_blocking_command_has_a_time_of_its_own) {
    struct shoal_redis_options short_time = {.command_timeout_ms = 100};
    struct shoal_redis *redis = test_server_connect(&server, base, &short_time);
    struct shoal_redis *other = test_server_connect(&server, base, NULL);
    struct outcome nothing = {0}, something = {0};
    ck_assert_int_eq(
        send_words(redis, 5000, &nothing, words("BLPOP", "inbox", "wake", "0.3", NULL)),
        SHOAL_OK);
    loop_until(base, nothing.calls == 1, 5000);
    ck_assert_int_eq(nothing.status, SHOAL_OK);
    ck_assert_int_eq(nothing.type, REDIS_REPLY_NIL);
    ck_assert_int_eq(
        send_words(redis, 9000, &something, words("BLPOP", "inbox", "wake", "8", NULL)),
        SHOAL_OK);
    freeReplyObject(test_command(other, "RPUSH wake x"));
    loop_until(base, something.calls == 1, 5000);
    ck_assert_int_eq(something.type, REDIS_REPLY_ARRAY);
    shoal_redis_destroy(redis);
    shoal_redis_destroy(other);
}
END_TEST

START_TEST(run_lets_other_connections_work) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct shoal_redis *other = test_server_connect(&server, base, NULL);
    struct outcome sent = {0}, run = {0};
    ck_assert_int_eq(send_words(other, 0, &sent, words("RPUSH", "bell", "x", NULL)),
                     SHOAL_OK);
    ck_assert_int_eq(run_words(redis, 5000, &run, words("BLPOP", "bell", "4", NULL)),
                     SHOAL_OK);
    ck_assert_int_eq(run.type, REDIS_REPLY_ARRAY);
    loop_until(base, sent.calls == 1, 1000);
    shoal_redis_destroy(redis);
    shoal_redis_destroy(other);
}
END_TEST

START_TEST(what_is_pending_is_bounded) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    static struct outcome outcome;
    for (int i = 0; i < SHOAL_REDIS_PENDING_MAX; i++)
        ck_assert_int_eq(send_words(redis, 0, &outcome, words("PING", NULL)), SHOAL_OK);
    ck_assert_int_eq(send_words(redis, 0, &outcome, words("PING", NULL)), SHOAL_FULL);
    loop_until(base, outcome.calls == SHOAL_REDIS_PENDING_MAX, 20000);
    ck_assert_int_eq(send_words(redis, 0, &outcome, words("PING", NULL)), SHOAL_OK);
    shoal_redis_destroy(redis);
    ck_assert_int_eq(outcome.calls, SHOAL_REDIS_PENDING_MAX + 1);
    ck_assert_int_eq(outcome.status, SHOAL_LOST);
}
END_TEST

/* Sends again from within its own answers until `left` is 0. */
struct chain {
    struct shoal_redis *redis;
    int left;
};

static void send_next(void *owner, enum shoal_status status,
                      SHOAL_UNUSED const redisReply *reply,
                      SHOAL_UNUSED const struct shoal_error *err) {
    struct chain *chain = owner;
    ck_assert_int_eq(status, SHOAL_OK);
    if (--chain->left == 0)
        return;
    struct shoal_request request = words("PING", NULL);
    ck_assert_int_eq(shoal_redis_send(chain->redis, &request, 0, send_next, chain, NULL),
                     SHOAL_OK);
    shoal_request_finish(&request);
}

START_TEST(an_answer_may_send_the_next_command) {
    struct chain chain = {.redis = test_server_connect(&server, base, NULL),
                          .left = 1001};
    send_next(&chain, SHOAL_OK, NULL, NULL);
    loop_until(base, chain.left == 0, 10000);
    shoal_redis_destroy(chain.redis);
}
END_TEST

static void drop_it(void *owner, SHOAL_UNUSED enum shoal_status status,
                    SHOAL_UNUSED const redisReply *reply,
                    SHOAL_UNUSED const struct shoal_error *err) {
    shoal_redis_drop(owner, "its owner has had enough");
    ck_assert(!shoal_redis_is_up(owner));
}

START_TEST(an_answer_may_drop_the_connection) {
    struct diary diary = {0};
    struct shoal_redis *redis =
        create_at(server.url, (struct shoal_redis_options){.reconnect = true}, &diary);
    shoal_redis_start(redis);
    loop_until(base, diary.ups == 1, 5000);
    struct shoal_request ping = words("PING", NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(shoal_redis_send(redis, &ping, 0, drop_it, redis, NULL), SHOAL_OK);
    ck_assert_int_eq(send_words(redis, 0, &outcome, words("PING", NULL)), SHOAL_OK);
    loop_until(base, diary.ups == 2, 5000);
    ck_assert_int_eq(outcome.calls, 1);
    ck_assert_int_eq(outcome.status, SHOAL_LOST);
    ck_assert_str_eq(outcome.text, "its owner has had enough");
    ck_assert_int_eq(diary.downs, 1);
    ck_assert_str_eq(diary.why.text, "its owner has had enough");
    shoal_request_finish(&ping);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(destroying_tells_what_is_unanswered) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct outcome first = {0}, second = {0};
    ck_assert_int_eq(send_words(redis, 0, &first, words("PING", NULL)), SHOAL_OK);
    ck_assert_int_eq(send_words(redis, 0, &second, words("PING", NULL)), SHOAL_OK);
    shoal_redis_destroy(redis);
    ck_assert_int_eq(first.status, SHOAL_LOST);
    ck_assert_int_eq(second.order, 2);
    shoal_redis_destroy(NULL);
}
END_TEST

/* ---- scripts */

/* A script that Redis does not know; free() its library. */
static struct shoal_script unknown_script(struct shoal_redis *redis, const char *body) {
    struct shoal_script script = {.name = "test", .function = "test_function"};
    char *library = NULL;
    ck_assert_int_gt(asprintf(&library,
                              "#!lua name=test\n"
                              "redis.register_function('test_function', "
                              "function(KEYS, ARGV) %s end)",
                              body),
                     0);
    script.library = library;
    freeReplyObject(test_command(redis, "FUNCTION FLUSH"));
    return script;
}

START_TEST(an_unknown_function_is_loaded) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct shoal_script script =
        unknown_script(redis, "return {KEYS[1], ARGV[1], #ARGV}");
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            freeReplyObject(test_command(redis, "FUNCTION FLUSH"));
        struct shoal_request args = words("a", "b", NULL);
        redisReply *reply = NULL;
        struct shoal_error err = {0};
        ck_assert_msg(shoal_script_run(redis, &script, "key", &args, 0, &reply, &err) ==
                          SHOAL_OK,
                      "%s", err.text);
        ck_assert_str_eq(shoal_reply_at(reply, 0)->str, "key");
        ck_assert_str_eq(shoal_reply_at(reply, 1)->str, "a");
        ck_assert_int_eq(shoal_reply_at(reply, 2)->integer, 2);
        freeReplyObject(reply);
        shoal_request_finish(&args);
    }
    free((char *)script.library);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(many_calls_of_an_unknown_function_are_each_run_once) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct shoal_script script =
        unknown_script(redis, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    struct outcome outcomes[100] = {0};
    struct shoal_request args = words("1", NULL);
    for (size_t i = 0; i < SHOAL_COUNT(outcomes); i++)
        ck_assert_int_eq(shoal_script_send(redis, &script, "runs", &args, 0, note_outcome,
                                           &outcomes[i], NULL),
                         SHOAL_OK);
    shoal_request_clear(&args); /* the words are the connection's by now */
    loop_until(base, answered_so_far == (int)SHOAL_COUNT(outcomes), 5000);
    for (size_t i = 0; i < SHOAL_COUNT(outcomes); i++)
        ck_assert_int_eq(outcomes[i].integer, (int)i + 1);
    ck_assert_int_eq(test_command_int(redis, "GET runs"), (int)SHOAL_COUNT(outcomes));
    shoal_request_finish(&args);
    free((char *)script.library);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(errors_of_scripts_become_statuses) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct shoal_script script =
        unknown_script(redis, "return redis.error_reply('UNKNOWN there is no job x')");
    struct shoal_request args;
    shoal_request_init(&args);
    redisReply *reply = NULL;
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_script_run(redis, &script, "key", &args, 0, &reply, &err),
                     SHOAL_UNKNOWN);
    ck_assert_str_eq(err.text, "there is no job x");
    ck_assert_ptr_null(reply);
    free((char *)script.library);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(a_slow_script_keeps_its_deadline) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct shoal_script script = unknown_script(
        redis, "local n = tonumber(ARGV[1]) while n > 0 do n = n - 1 end return 1");
    struct shoal_request args = words("100000000", NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(shoal_script_send(redis, &script, "key", &args, 200, note_outcome,
                                       &outcome, NULL),
                     SHOAL_OK);
    loop_until(base, outcome.calls == 1, 5000);
    ck_assert_int_eq(outcome.status, SHOAL_TIMEOUT);
    shoal_request_finish(&args);
    free((char *)script.library);
    shoal_redis_destroy(redis);
}
END_TEST

/* ---- deadlines, and servers that go and come */

START_TEST(a_passed_deadline_closes_the_connection) {
    struct diary diary = {0};
    struct shoal_redis *redis =
        create_at(server.url, (struct shoal_redis_options){.reconnect = true}, &diary);
    shoal_redis_start(redis);
    loop_until(base, diary.ups == 1, 5000);
    struct outcome first = {0}, second = {0}, third = {0};
    kill(server.pid, SIGSTOP);
    ck_assert_int_eq(send_words(redis, 8000, &first, words("PING", NULL)), SHOAL_OK);
    ck_assert_int_eq(send_words(redis, 150, &second, words("PING", NULL)), SHOAL_OK);
    ck_assert_int_eq(send_words(redis, 0, &third, words("PING", NULL)), SHOAL_OK);
    loop_until(base, diary.downs == 1, 5000);
    ck_assert_int_eq(first.status, SHOAL_LOST);
    ck_assert_int_eq(second.status, SHOAL_TIMEOUT);
    ck_assert_int_eq(third.status, SHOAL_LOST);
    ck_assert_int_eq(first.order, 1);
    ck_assert_int_eq(second.order, 2);
    ck_assert_int_eq(third.order, 3);
    ck_assert_int_eq(diary.why.status, SHOAL_TIMEOUT);
    kill(server.pid, SIGCONT);
    loop_until(base, diary.ups == 2, 10000);
    ck_assert_int_eq(first.calls + second.calls + third.calls, 3);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(run_ends_in_time_and_the_late_answer_hurts_nobody) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    struct outcome outcome = {0};
    kill(server.pid, SIGSTOP);
    int64_t start = test_clock_ms();
    ck_assert_int_eq(run_words(redis, 200, &outcome, words("PING", NULL)), SHOAL_LOST);
    ck_assert_int_ge(test_clock_ms() - start, 199);
    kill(server.pid, SIGCONT);
    ck_assert_int_eq(run_words(redis, 0, &outcome, words("ECHO", "again", NULL)),
                     SHOAL_OK);
    ck_assert_str_eq(outcome.text, "again");
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(a_killed_server_is_found_again) {
    struct diary diary = {0};
    struct shoal_redis *redis =
        create_at(server.url, (struct shoal_redis_options){.reconnect = true}, &diary);
    shoal_redis_start(redis);
    loop_until(base, diary.ups == 1, 5000);
    struct outcome pending[3] = {0}, refused = {0};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            send_words(redis, 0, &pending[i], words("BLPOP", "x", "0", NULL)), SHOAL_OK);
    test_pause(base);
    test_server_kill(&server);
    loop_until(base, diary.downs == 1, 5000);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pending[i].calls, 1);
        ck_assert_int_eq(pending[i].status, SHOAL_LOST);
        ck_assert_int_eq(pending[i].order, i + 1);
    }
    ck_assert_int_eq(send_words(redis, 0, &refused, words("PING", NULL)), SHOAL_LOST);
    ck_assert_int_eq(refused.calls, 0);
    test_server_restart(&server, NULL);
    loop_until(base, diary.ups == 2, 5000);
    ck_assert_int_eq(diary.downs, 1);
    ck_assert_int_eq(run_words(redis, 0, &refused, words("PING", NULL)), SHOAL_OK);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(without_reconnect_it_stays_down_until_somebody_starts_it) {
    struct diary diary = {0};
    struct shoal_redis *redis =
        create_at(server.url, (struct shoal_redis_options){0}, &diary);
    shoal_redis_start(redis);
    loop_until(base, diary.ups == 1, 5000);
    test_server_restart(&server, NULL);
    loop_until(base, diary.downs == 1, 5000);
    ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK),
                     1); /* nothing left to wait for */
    shoal_redis_start(redis);
    loop_until(base, diary.ups == 2, 5000);
    shoal_redis_destroy(redis);
}
END_TEST

static void bring_back(SHOAL_UNUSED evutil_socket_t fd, SHOAL_UNUSED short what,
                       SHOAL_UNUSED void *owner) {
    test_server_restart(&server, NULL);
}

START_TEST(run_waits_for_a_server_that_comes_back) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    test_server_kill(&server);
    struct event *later = evtimer_new(base, bring_back, NULL);
    evtimer_add(later, &(struct timeval){.tv_usec = 300000});
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(redis, 10000, &outcome, words("PING", NULL)), SHOAL_OK);
    event_free(later);
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(an_absent_server_is_said_at_once_without_reconnect) {
    test_server_kill(&server);
    struct diary diary = {0};
    struct shoal_redis *redis =
        create_at(server.url, (struct shoal_redis_options){0}, &diary);
    for (int i = 1; i <= 2; i++) {
        struct outcome outcome = {0};
        int64_t start = test_clock_ms();
        ck_assert_int_eq(run_words(redis, 10000, &outcome, words("PING", NULL)),
                         SHOAL_LOST);
        ck_assert_int_lt(test_clock_ms() - start, 5000);
        ck_assert_ptr_nonnull(strstr(outcome.text, server.url));
        ck_assert_ptr_nonnull(strstr(outcome.text, "is redis-server running there?"));
        ck_assert_int_eq(diary.downs, i);
    }
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(an_absent_server_is_waited_for_with_reconnect) {
    test_server_kill(&server);
    struct diary diary = {0};
    struct shoal_redis *redis =
        create_at(server.url, (struct shoal_redis_options){.reconnect = true}, &diary);
    struct outcome outcome = {0};
    int64_t start = test_clock_ms();
    ck_assert_int_eq(run_words(redis, 400, &outcome, words("PING", NULL)), SHOAL_LOST);
    ck_assert_int_ge(test_clock_ms() - start, 399);
    ck_assert_ptr_nonnull(strstr(outcome.text, "is redis-server running there?"));
    ck_assert_int_eq(diary.downs, 1); /* once, whatever number of attempts it was */
    shoal_redis_destroy(redis);
}
END_TEST

START_TEST(a_server_that_is_stopped_ends_the_attempt_to_connect) {
    kill(server.pid, SIGSTOP);
    struct diary diary = {0};
    struct shoal_redis *redis = create_at(
        server.url, (struct shoal_redis_options){.connect_timeout_ms = 100}, &diary);
    shoal_redis_start(redis);
    loop_until(base, diary.downs == 1, 5000);
    ck_assert_int_eq(diary.why.status, SHOAL_LOST);
    ck_assert_ptr_nonnull(strstr(diary.why.text, "within 100 ms"));
    kill(server.pid, SIGCONT);
    shoal_redis_destroy(redis);
}
END_TEST

/* ---- greetings */

static const char *const with_password[] = {"--requirepass", "sesame", NULL};

static const struct {
    const char *user;
    const char *password;
    const char *says; /* NULL: is let in */
} logins[] = {
    {NULL, "sesame", NULL},
    {"default", "sesame", NULL},
    {NULL, "wrong", "refused the user name or the password"},
    {"nobody", "sesame", "refused the user name or the password"},
    {"nobody", NULL, "refused the user name or the password"},
    {NULL, NULL, "requires a password"},
};

static enum shoal_status try_login(const char *user, const char *password, int database,
                                   struct outcome *outcome) {
    struct shoal_redis_address address = {.path = server.socket,
                                          .user = (char *)user,
                                          .password = (char *)password,
                                          .database = database};
    struct shoal_redis_options options = {.reconnect = true, .client_name = "shoal-test"};
    struct shoal_redis *redis = NULL;
    ck_assert_int_eq(shoal_redis_create(base, &address, &options, NULL, &redis, NULL),
                     SHOAL_OK);
    enum shoal_status status =
        run_words(redis, 10000, outcome, words("CLIENT", "INFO", NULL));
    shoal_redis_destroy(redis);
    return status;
}

START_TEST(logins_are_let_in_or_refused_at_once) {
    test_server_restart(&server, with_password);
    struct outcome outcome = {0};
    int64_t start = test_clock_ms();
    enum shoal_status status =
        try_login(logins[_i].user, logins[_i].password, 0, &outcome);
    ck_assert_int_eq(status, logins[_i].says == NULL ? SHOAL_OK : SHOAL_DENIED);
    ck_assert_int_lt(test_clock_ms() - start, 5000);
    if (logins[_i].says != NULL)
        ck_assert_msg(strstr(outcome.text, logins[_i].says) != NULL, "%s", outcome.text);
    ck_assert_ptr_null(strstr(outcome.text, "sesame"));
}
END_TEST

START_TEST(a_password_that_nobody_asked_for_is_said) {
    struct outcome outcome = {0};
    ck_assert_int_eq(try_login(NULL, "sesame", 0, &outcome), SHOAL_DENIED);
    ck_assert_ptr_nonnull(strstr(outcome.text, "leave it out"));
}
END_TEST

START_TEST(database_and_name_are_set) {
    struct outcome outcome = {0};
    ck_assert_int_eq(try_login(NULL, NULL, 3, &outcome), SHOAL_OK);
    ck_assert_msg(strstr(outcome.text, " db=3 ") != NULL, "%s", outcome.text);
    ck_assert_ptr_nonnull(strstr(outcome.text, " name=shoal-test "));
    ck_assert_int_eq(try_login(NULL, NULL, 99, &outcome), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(outcome.text, "no database of that number"));
}
END_TEST

static bool saving_has_failed(struct shoal_redis *redis) {
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *info = test_command_text(redis, "INFO persistence");
    return strstr(info, "rdb_last_bgsave_status:err") != NULL;
}

/* A directory where the file should be: not even root can save there. */
START_TEST(a_disk_that_takes_no_writes_does_not_keep_us_out) {
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    char path[100];
    snprintf(path, sizeof(path), "%s/dump.rdb", server.directory);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    freeReplyObject(test_command(redis, "CONFIG SET save %s", "3600 1"));
    freeReplyObject(test_command(redis, "BGSAVE"));
    loop_until(base, saving_has_failed(redis), 10000);
    struct shoal_redis *other = test_server_connect(&server, base, NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(other, 0, &outcome, words("SET", "a", "b", NULL)),
                     SHOAL_FULL);
    ck_assert_msg(strstr(outcome.text, "MISCONF") != NULL, "%s", outcome.text);
    ck_assert_int_eq(run_words(other, 0, &outcome, words("GET", "a", NULL)), SHOAL_OK);
    shoal_redis_destroy(other);
    shoal_redis_destroy(redis);
}
END_TEST

static const char *const bad_names[] = {"a b", "a\n", "\xc3\xa4"};

START_TEST(bad_client_names_are_refused) {
    struct shoal_redis_address address = {.path = server.socket};
    struct shoal_redis_options options = {.client_name = bad_names[_i]};
    struct shoal_redis *redis = NULL;
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_redis_create(base, &address, &options, NULL, &redis, &err),
                     SHOAL_INVALID);
    ck_assert_ptr_null(redis);
}
END_TEST

#define SAYS(text) .bytes = (text), .len = sizeof(text) - 1

/* What a Redis says that will take us in a moment; after two attempts it does. */
static const struct peer_script not_yet[] = {
    {.greeting = "-LOADING Redis is loading the dataset in memory\r\n"},
    {.greeting = "-BUSY Redis is busy running a script.\r\n"},
    {.greeting = "-MASTERDOWN Link with MASTER is down\r\n"},
    {.greeting = "-ERR max number of clients reached\r\n", .close = true},
    {.greeting = "+half a line", .close = true},
    {.greeting = "", .close = true},
};

START_TEST(who_is_not_ready_is_asked_again) {
    struct peer *peer = peer_create(base, false, &not_yet[_i], 2);
    struct shoal_redis *redis =
        create_at(peer_url(peer), (struct shoal_redis_options){.reconnect = true}, NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(redis, 5000, &outcome, words("PING", NULL)), SHOAL_OK);
    ck_assert_int_eq(peer_connections(peer), 3);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

START_TEST(what_was_lost_is_run_again_where_it_may_be) {
    static const struct peer_script lost = {.bytes = "+PO", .len = 3, .close = true};
    struct peer *peer = peer_create(base, false, &lost, 3);
    struct shoal_redis *redis =
        create_at(peer_url(peer), (struct shoal_redis_options){0}, NULL);
    struct outcome once = {0}, again = {0};
    ck_assert_int_eq(run_words(redis, 5000, &once, words("PING", NULL)), SHOAL_LOST);
    ck_assert_int_eq(peer_connections(peer), 1);
    shoal_redis_repeat(redis, true);
    ck_assert_int_eq(run_words(redis, 5000, &again, words("PING", NULL)), SHOAL_OK);
    ck_assert_int_eq(peer_connections(peer), 4);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

START_TEST(who_is_not_ready_is_run_again_where_it_may_be) {
    static const struct peer_script loading = {SAYS("-LOADING\r\n"), .close = true};
    struct peer *peer = peer_create(base, false, &loading, 1);
    struct shoal_redis *redis =
        create_at(peer_url(peer), (struct shoal_redis_options){0}, NULL);
    struct outcome outcome = {0};
    shoal_redis_repeat(redis, true);
    ck_assert_int_eq(run_words(redis, 5000, &outcome, words("PING", NULL)), SHOAL_OK);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

static const struct peer_script not_ready[] = {
    {SAYS("-LOADING Redis is loading the dataset in memory\r\n")},
    {SAYS("-BUSY Redis is busy running a script.\r\n")},
    {SAYS("-MASTERDOWN Link with MASTER is down\r\n")},
};

/* So that whoever is patient with a Redis that is away is so with this one. */
START_TEST(who_stays_not_ready_is_lost) {
    struct peer *peer = peer_create(base, false, &not_ready[_i], 1000);
    struct shoal_redis *redis =
        create_at(peer_url(peer), (struct shoal_redis_options){0}, NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(redis, 5000, &outcome, words("PING", NULL)), SHOAL_LOST);
    ck_assert_ptr_nonnull(strstr(outcome.text, "Redis"));
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

START_TEST(repeating_ends_in_time) {
    static const struct peer_script lost = {.bytes = "+PO", .len = 3, .close = true};
    struct peer *peer = peer_create(base, false, &lost, 1000);
    struct shoal_redis *redis =
        create_at(peer_url(peer), (struct shoal_redis_options){0}, NULL);
    struct outcome outcome = {0};
    shoal_redis_repeat(redis, true);
    ck_assert_int_eq(run_words(redis, 300, &outcome, words("PING", NULL)), SHOAL_LOST);
    ck_assert_int_ge(peer_connections(peer), 2);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

/* Who hangs up at once, and who does after a greeting; the first of those are forgiven.
 */
static const struct peer_script hangs_up[] = {
    {.greeting = "", .close = true},
    {.greeting = "$5\r\nshoal\r\n", .close = true},
};
static const int forgiven[] = {0, 3};

START_TEST(attempts_are_further_and_further_apart) {
    struct peer *peer = peer_create(base, false, &hangs_up[_i], 1000);
    struct diary diary = {0};
    struct shoal_redis *redis = create_at(
        peer_url(peer), (struct shoal_redis_options){.reconnect = true}, &diary);
    int64_t start = test_clock_ms();
    shoal_redis_start(redis);
    loop_until(base, peer_connections(peer) == 7 + forgiven[_i], 20000);
    ck_assert_int_ge(test_clock_ms() - start, 25 + 50 + 100 + 200 + 400 + 800 - 6);
    ck_assert_int_eq(diary.ups, _i == 0 ? 0 : diary.downs);
    ck_assert_int_ge(diary.downs, _i == 0 ? 1 : 6);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

enum { CROWD = 30 };

static size_t up_eight_times(const struct diary *diary) {
    size_t n = 0;
    for (size_t i = 0; i < CROWD; i++)
        n += diary[i].ups >= 8;
    return n;
}

/* All are lost at once, seven times; the half of the waits that is chance lets 4 * 25 +
 * 50 + 100 + 200 ms lie between the first and the last then. */
START_TEST(a_crowd_comes_back_spread_out) {
    struct peer *peer = peer_create(base, false, &hangs_up[1], 1000);
    struct diary diary[CROWD] = {{0}};
    struct shoal_redis *redis[CROWD];
    for (size_t i = 0; i < CROWD; i++) {
        redis[i] = create_at(peer_url(peer),
                             (struct shoal_redis_options){.reconnect = true}, &diary[i]);
        shoal_redis_start(redis[i]);
    }
    loop_until(base, up_eight_times(diary) > 0, 20000);
    int64_t first = test_clock_ms();
    loop_until(base, up_eight_times(diary) == CROWD, 20000);
    ck_assert_int_ge(test_clock_ms() - first, 80);
    for (size_t i = 0; i < CROWD; i++)
        shoal_redis_destroy(redis[i]);
    peer_destroy(peer);
}
END_TEST

static int64_t passed_ms; /* as if so much time had passed */

static int64_t later_ms(void) {
    return test_clock_ms() + passed_ms;
}

static int64_t time_to_come_back(struct shoal_redis *redis) {
    int64_t start = test_clock_ms();
    shoal_redis_drop(redis, "a test wants it");
    loop_until(base, !shoal_redis_is_up(redis), 5000);
    loop_until(base, shoal_redis_is_up(redis), 20000);
    return test_clock_ms() - start;
}

static void hold_for_two_seconds(SHOAL_UNUSED struct shoal_redis *redis) {
    passed_ms += 2000;
}

static void hold_for_fifty_answers(struct shoal_redis *redis) {
    struct outcome outcome = {0};
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(run_words(redis, 0, &outcome, words("PING", NULL)), SHOAL_OK);
}

static void (*const holds[])(struct shoal_redis *redis) = {hold_for_two_seconds,
                                                           hold_for_fifty_answers};

/* After some that did not, which wait for a second or two by then. */
START_TEST(one_that_held_is_made_anew_at_once) {
    struct peer *peer = peer_create(base, false, &hangs_up[1], 10);
    struct diary diary = {0};
    shoal_now_ms = later_ms;
    struct shoal_redis *redis = create_at(
        peer_url(peer), (struct shoal_redis_options){.reconnect = true}, &diary);
    shoal_redis_start(redis);
    loop_until(base, diary.downs == 3, 20000);
    ck_assert(!shoal_redis_flaps(redis));
    loop_until(base, diary.ups == 11, 20000);
    ck_assert(shoal_redis_flaps(redis));
    ck_assert_int_ge(time_to_come_back(redis), 1000 - 1);
    int64_t best = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        holds[_i](redis);
        ck_assert(!shoal_redis_flaps(redis));
        int64_t time = time_to_come_back(redis);
        best = time < best ? time : best;
    }
    ck_assert_int_lt(best, 500);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

/* ---- peers that talk nonsense */

static char line[65536]; /* of one letter, filled by its test */

static const struct peer_script nonsense[] = {
    {SAYS("HTTP/1.1 400 Bad Request\r\n\r\n")},
    {SAYS("\0\0\0\0")},
    {SAYS("+PONG\r\n+PONG\r\n")}, /* one more than was asked for */
    {SAYS("$3\r\nfoobar\r\n")},
    {SAYS("$3\r\nfoo\r\nbar\r\n")},
    {SAYS("$5\r\nhel"), .close = true},
    {SAYS("*2\r\n$1\r\na\r\n"), .close = true},
    {SAYS("$1000000000000\r\n")},
    {SAYS("$600000000\r\n")},
    {SAYS("$-2\r\n")},
    {SAYS("$x\r\n")},
    {SAYS("*5000000\r\n")},
    {SAYS("*2147483647\r\n")},
    {SAYS("*99999999999999999999\r\n")},
    {SAYS("*-7\r\n")},
    {SAYS("*4000000\r\n*4000000\r\n")},
    {SAYS("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n")},
    {SAYS(":12x\r\n")},
    {.bytes = line, .len = sizeof(line), .repeat = true},
    {SAYS("*1\r\n"), .repeat = true},
    {SAYS("*3000000\r\n:1\r\n:2\r\n:3\r\n"), .close = true},
};

static long memory_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

START_TEST(nonsense_closes_the_connection_and_costs_little) {
    memset(line, '+', sizeof(line));
    struct peer *peer = peer_create(base, false, &nonsense[_i], 1);
    struct diary diary = {0};
    struct shoal_redis *redis = create_at(
        peer_url(peer), (struct shoal_redis_options){.reconnect = true}, &diary);
    shoal_redis_start(redis);
    loop_until(base, diary.ups == 1, 5000);
    long before = memory_kib();
    struct outcome first = {0}, second = {0};
    ck_assert_int_eq(send_words(redis, 5000, &first, words("PING", NULL)), SHOAL_OK);
    loop_until(base, diary.downs == 1, 3000);
    ck_assert_int_eq(first.calls, 1);
    loop_until(base, diary.ups == 2, 5000);
    ck_assert_int_lt(memory_kib() - before, 64 << 10);
    ck_assert_int_eq(send_words(redis, 5000, &second, words("PING", NULL)), SHOAL_OK);
    loop_until(base, second.calls == 1, 5000);
    ck_assert_int_eq(second.status, SHOAL_OK);
    ck_assert_str_eq(second.text, "PONG");
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

/* ---- TCP */

static const char *const hosts[] = {"127.0.0.1", "localhost"};

START_TEST(hosts_are_found_by_number_and_by_name) {
    struct peer *peer = peer_create(base, true, NULL, 0);
    char url[100];
    snprintf(url, sizeof(url), "redis://%s:%d", hosts[_i], peer_port(peer));
    struct shoal_redis *redis = create_at(url, (struct shoal_redis_options){0}, NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(redis, 5000, &outcome, words("PING", NULL)), SHOAL_OK);
    shoal_redis_drop(redis, "once more");
    ck_assert_int_eq(run_words(redis, 5000, &outcome, words("PING", NULL)), SHOAL_OK);
    ck_assert_int_eq(peer_connections(peer), 2);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

START_TEST(a_port_without_a_server_is_said) {
    struct peer *peer = peer_create(base, true, NULL, 0);
    char url[100];
    snprintf(url, sizeof(url), "%s", peer_url(peer));
    peer_destroy(peer);
    struct shoal_redis *redis = create_at(url, (struct shoal_redis_options){0}, NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(redis, 5000, &outcome, words("PING", NULL)), SHOAL_LOST);
    ck_assert_ptr_nonnull(
        strstr(outcome.text, "Connection refused; is redis-server running"));
    shoal_redis_destroy(redis);
}
END_TEST

/* ---- whose it is */

/* The kernel keeps who began to listen. */
static struct peer *peer_of(uid_t user, const struct peer_script *script) {
    uid_t own = geteuid();
    ck_assert_int_eq(seteuid(user), 0);
    struct peer *peer = peer_create(base, false, script, 0);
    ck_assert_int_eq(seteuid(own), 0);
    return peer;
}

static enum shoal_status ask(struct peer *peer, bool own_alone, struct outcome *outcome) {
    struct shoal_redis_address address;
    struct shoal_redis_options options = {.reconnect = false};
    struct shoal_redis *redis = NULL;
    ck_assert_int_eq(shoal_redis_address_parse(peer_url(peer), NULL, &address, NULL),
                     SHOAL_OK);
    address.own_alone = own_alone;
    ck_assert_int_eq(shoal_redis_create(base, &address, &options, NULL, &redis, NULL),
                     SHOAL_OK);
    shoal_redis_address_finish(&address);
    enum shoal_status status = run_words(redis, 0, outcome, words("PING", NULL));
    shoal_redis_destroy(redis);
    return status;
}

START_TEST(another_user_does_not_pass_for_ones_own_redis) {
    static const struct peer_script script = {.bytes = NULL};
    struct outcome outcome = {0};
    struct peer *peer = peer_of(geteuid(), &script);
    ck_assert_int_eq(ask(peer, true, &outcome), SHOAL_OK);
    peer_destroy(peer);
    if (geteuid() != 0) {
        printf("skipped: other users, as only root can be one\n");
        return;
    }
    peer = peer_of(65534, &script);
    ck_assert_int_eq(ask(peer, true, &outcome), SHOAL_DENIED);
    ck_assert_msg(strstr(outcome.text, "another user's (65534)") != NULL, "%s",
                  outcome.text);
    ck_assert_int_eq(ask(peer, false, &outcome), SHOAL_OK);
    peer_destroy(peer);
}
END_TEST

/* ---- who speaks TLS and who does not */

static const struct {
    const char *scheme;
    struct peer_script script;
    enum shoal_status status;
    const char *says;
} strangers[] = {
    {"rediss", {.greeting = "-ERR unknown command\r\n"}, SHOAL_DENIED, "not speak TLS"},
    {"rediss", {.greeting = "HTTP/1.1 400 Bad Request\r\n"}, SHOAL_DENIED, "redis://"},
    {"rediss", {.greeting = "", .close = true}, SHOAL_LOST, "during the TLS handshake"},
    {"rediss", {.greeting = ""}, SHOAL_LOST, "within 300 ms; does it speak TLS"},
    {"rediss", {.greeting = "\x15\x03\x03\x01"}, SHOAL_LOST, "does it speak TLS"},
    {"redis", {.greeting = "\x15\x03\x01"}, SHOAL_DENIED, "speaks TLS; write rediss://"},
    {"redis", {.greeting = "", .close = true}, SHOAL_LOST, "speaks TLS, write rediss://"},
};

START_TEST(who_speaks_something_else_is_told_apart) {
    struct peer *peer = peer_create(base, true, &strangers[_i].script, 1000);
    char url[100];
    snprintf(url, sizeof(url), "%s://127.0.0.1:%d", strangers[_i].scheme,
             peer_port(peer));
    bool silent = strstr(strangers[_i].says, "does it speak TLS") != NULL;
    struct shoal_redis_options options = {.connect_timeout_ms = silent ? 300 : 5000};
    struct shoal_redis *redis = create_at(url, options, NULL);
    struct outcome outcome = {0};
    for (int times = 0; times < 2; times++) {
        ck_assert_int_eq(run_words(redis, 5000, &outcome, words("PING", NULL)),
                         strangers[_i].status);
        ck_assert_msg(strstr(outcome.text, strangers[_i].says) != NULL, "%s",
                      outcome.text);
    }
    ck_assert_int_eq(shoal_redis_is_refused(redis), strangers[_i].status == SHOAL_DENIED);
    shoal_redis_destroy(redis);
    peer_destroy(peer);
}
END_TEST

/* With no answer to the greeting yet, and with none to the handshake. */
START_TEST(a_connection_can_be_given_up_at_any_time) {
    static const struct peer_script silent = {.greeting = ""};
    struct peer *peer = peer_create(base, true, &silent, 1000);
    char url[100];
    snprintf(url, sizeof(url), "%s://127.0.0.1:%d", _i == 0 ? "redis" : "rediss",
             peer_port(peer));
    for (int turns = 0; turns < 20; turns++) {
        struct shoal_redis *redis = create_at(url, (struct shoal_redis_options){0}, NULL);
        shoal_redis_start(redis);
        for (int i = 0; i < turns; i++)
            event_base_loop(base, EVLOOP_NONBLOCK);
        shoal_redis_destroy(redis);
    }
    peer_destroy(peer);
}
END_TEST

/* The second is one of which no server is asked. */
static const char *const unknown_hosts[] = {"no-such-host.invalid", "no..name"};

START_TEST(an_unknown_host_is_given_up_in_time) {
    struct shoal_redis_options options = {.connect_timeout_ms = 200,
                                          .reconnect = _i == 0};
    char url[64];
    snprintf(url, sizeof(url), "redis://%s", unknown_hosts[_i]);
    struct shoal_redis *redis = create_at(url, options, NULL);
    struct outcome outcome = {0};
    ck_assert_int_eq(run_words(redis, 1000, &outcome, words("PING", NULL)), SHOAL_LOST);
    ck_assert_ptr_nonnull(strstr(outcome.text, url));
    ck_assert_ptr_nonnull(strstr(outcome.text, "check its name and the DNS"));
    shoal_redis_destroy(redis); /* perhaps in the middle of a lookup */
    test_pause(base);
}
END_TEST

START_TEST(a_lookup_may_outlive_its_connection) {
    struct shoal_redis *redis =
        create_at("redis://no-such-host.invalid", (struct shoal_redis_options){0}, NULL);
    shoal_redis_start(redis);
    shoal_redis_destroy(redis);
    loop_until(base, event_base_loop(base, EVLOOP_NONBLOCK) == 1, 1000);
}
END_TEST

START_TEST(descriptors_are_not_inherited) {
    bool was_open[256];
    for (int fd = 0; fd < 256; fd++)
        was_open[fd] = fcntl(fd, F_GETFD) >= 0;
    struct peer *peer = peer_create(base, true, NULL, 0);
    struct shoal_redis *local = test_server_connect(&server, base, NULL);
    struct shoal_redis *remote =
        create_at(peer_url(peer), (struct shoal_redis_options){0}, NULL);
    shoal_redis_start(remote);
    loop_until(base, shoal_redis_is_up(remote), 5000);
    int opened = 0;
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || was_open[fd])
            continue;
        opened++;
        ck_assert_int_eq(flags & FD_CLOEXEC, FD_CLOEXEC);
    }
    ck_assert_int_ge(opened, 2);
    shoal_redis_destroy(local);
    shoal_redis_destroy(remote);
    peer_destroy(peer);
}
END_TEST

/* Tests that leave the server as it was share one; the others have one each. */
static TCase *make_case(Suite *suite, const char *name, bool has_own_server) {
    TCase *tests = tcase_create(name);
    if (has_own_server)
        tcase_add_checked_fixture(tests, start_server, end_server);
    else
        tcase_add_unchecked_fixture(tests, start_server, end_server);
    tcase_add_checked_fixture(tests, make_base, free_base);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return tests;
}

static void add_commands(TCase *tests) {
    tcase_add_test(tests, answers_come_in_the_order_of_the_commands);
    tcase_add_test(tests, large_values_go_there_and_back);
    tcase_add_test(tests, large_arrays_come_back);
    tcase_add_test(tests, run_connects_and_gives_the_reply);
    tcase_add_test(tests, run_turns_error_replies_into_statuses);
    tcase_add_test(tests, a_blocking_command_has_a_time_of_its_own);
    tcase_add_test(tests, run_lets_other_connections_work);
    tcase_add_test(tests, what_is_pending_is_bounded);
    tcase_add_test(tests, an_answer_may_send_the_next_command);
    tcase_add_test(tests, an_answer_may_drop_the_connection);
    tcase_add_test(tests, destroying_tells_what_is_unanswered);
    tcase_add_test(tests, descriptors_are_not_inherited);
    tcase_add_test(tests, a_password_that_nobody_asked_for_is_said);
    tcase_add_test(tests, database_and_name_are_set);
    tcase_add_loop_test(tests, bad_client_names_are_refused, 0,
                        (int)SHOAL_COUNT(bad_names));
}

static void add_scripts(TCase *tests) {
    tcase_add_test(tests, an_unknown_function_is_loaded);
    tcase_add_test(tests, many_calls_of_an_unknown_function_are_each_run_once);
    tcase_add_test(tests, errors_of_scripts_become_statuses);
}

static void add_faults(TCase *tests) {
    tcase_add_test(tests, a_slow_script_keeps_its_deadline);
    tcase_add_test(tests, a_passed_deadline_closes_the_connection);
    tcase_add_test(tests, run_ends_in_time_and_the_late_answer_hurts_nobody);
    tcase_add_test(tests, a_killed_server_is_found_again);
    tcase_add_test(tests, without_reconnect_it_stays_down_until_somebody_starts_it);
    tcase_add_test(tests, run_waits_for_a_server_that_comes_back);
    tcase_add_test(tests, an_absent_server_is_said_at_once_without_reconnect);
    tcase_add_test(tests, an_absent_server_is_waited_for_with_reconnect);
    tcase_add_test(tests, a_server_that_is_stopped_ends_the_attempt_to_connect);
    tcase_add_loop_test(tests, logins_are_let_in_or_refused_at_once, 0,
                        (int)SHOAL_COUNT(logins));
    tcase_add_test(tests, a_disk_that_takes_no_writes_does_not_keep_us_out);
}

/* Without a Redis at all. */
static void add_peers(Suite *suite) {
    TCase *tests = tcase_create("peers");
    tcase_add_checked_fixture(tests, make_base, free_base);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, who_is_not_ready_is_asked_again, 0,
                        (int)SHOAL_COUNT(not_yet));
    tcase_add_test(tests, what_was_lost_is_run_again_where_it_may_be);
    tcase_add_test(tests, who_is_not_ready_is_run_again_where_it_may_be);
    tcase_add_loop_test(tests, who_stays_not_ready_is_lost, 0,
                        (int)SHOAL_COUNT(not_ready));
    tcase_add_test(tests, repeating_ends_in_time);
    tcase_add_loop_test(tests, attempts_are_further_and_further_apart, 0,
                        (int)SHOAL_COUNT(hangs_up));
    tcase_add_test(tests, a_crowd_comes_back_spread_out);
    tcase_add_loop_test(tests, one_that_held_is_made_anew_at_once, 0,
                        (int)SHOAL_COUNT(holds));
    tcase_add_loop_test(tests, nonsense_closes_the_connection_and_costs_little, 0,
                        (int)SHOAL_COUNT(nonsense));
    tcase_add_loop_test(tests, hosts_are_found_by_number_and_by_name, 0,
                        (int)SHOAL_COUNT(hosts));
    tcase_add_test(tests, a_port_without_a_server_is_said);
    tcase_add_test(tests, another_user_does_not_pass_for_ones_own_redis);
    tcase_add_loop_test(tests, who_speaks_something_else_is_told_apart, 0,
                        (int)SHOAL_COUNT(strangers));
    tcase_add_loop_test(tests, a_connection_can_be_given_up_at_any_time, 0, 2);
    tcase_add_loop_test(tests, an_unknown_host_is_given_up_in_time, 0,
                        (int)SHOAL_COUNT(unknown_hosts));
    tcase_add_test(tests, a_lookup_may_outlive_its_connection);
    suite_add_tcase(suite, tests);
}

int main(void) {
    Suite *suite = suite_create("redis");
    add_commands(make_case(suite, "commands", false));
    add_scripts(make_case(suite, "scripts", false));
    add_faults(make_case(suite, "faults", true));
    add_peers(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
