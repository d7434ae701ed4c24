/* What a worker takes for an answer of Redis to a move. */
#include "broker/session.h"

#include "broker/server.h"
#include "common/cleanup.h"
#include "tests/support/answers.h"
#include "tests/support/wait.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_MS = 20000 };

struct heard {
    bool told;
    enum shoal_status status;
    int64_t commits;
};

static void hear(struct heard *heard, enum shoal_status status, const int64_t *commits) {
    heard->told = true;
    heard->status = status;
    heard->commits = commits == NULL ? -1 : *commits;
}

static void registered(void *owner, enum shoal_status status,
                       const struct shoal_registered *answer,
                       const struct shoal_error *err) {
    (void)err;
    hear(owner, status, answer == NULL ? NULL : &answer->commits);
}

static void advanced(void *owner, enum shoal_status status,
                     const struct shoal_advanced *answer, const struct shoal_error *err) {
    (void)err;
    hear(owner, status, answer == NULL ? NULL : &answer->commits);
}

static void beaten(void *owner, enum shoal_status status,
                   const struct shoal_beaten *answer, const struct shoal_error *err) {
    (void)err;
    hear(owner, status, answer == NULL ? NULL : &answer->commits);
}

static const char *const queues[] = {"default", NULL};

static enum shoal_status do_register(struct shoal_queue *queue, struct heard *heard) {
    const struct shoal_registration registration = {
        .session = "s", .name = "w", .host = "h", .queues = "default"};
    return shoal_session_register(queue, &registration, registered, heard, NULL);
}

static enum shoal_status do_advance(struct shoal_queue *queue, struct heard *heard) {
    const struct shoal_advance advance = {
        .session = "s", .worker = "w", .queues = queues};
    return shoal_session_advance(queue, &advance, advanced, heard, NULL);
}

static enum shoal_status beat(struct shoal_queue *queue, struct heard *heard) {
    const struct shoal_heartbeat heartbeat = {.session = "s", .queues = queues};
    return shoal_session_heartbeat(queue, &heartbeat, beaten, heard, NULL);
}

/* The answer, in which a commit sequence stands. */
static const struct {
    enum shoal_status (*send)(struct shoal_queue *queue, struct heard *heard);
    const char *answer;
} moves[] = {
    {do_register, "*3\r\n$12\r\nbbbbbbbbbbbb\r\n%s$4\r\nsame\r\n"},
    {do_advance, "*3\r\n:1\r\n%s$12\r\nbbbbbbbbbbbb\r\n"},
    {beat, "*7\r\n:1\r\n:5\r\n:0\r\n%s*0\r\n*0\r\n:0\r\n"},
};

static const struct {
    const char *word;
    int64_t commits; /* -1: it is none */
} sequences[] = {
    {":0\r\n", 0},
    {"$1\r\n7\r\n", 7},
    {":9007199254740992\r\n", INT64_C(9007199254740992)},
    {":9007199254740993\r\n", -1},
    {":9223372036854775807\r\n", -1},
    {":-1\r\n", -1},
    {"$20\r\n-9223372036854775808\r\n", -1},
    {"$3\r\nabc\r\n", -1},
};

static void expect(size_t move, size_t sequence) {
    struct event_base *base = event_base_new();
    struct answers *answers = answers_create(base);
    struct heard heard = {.told = false};
    struct shoal_queue queue;
    char text[200];
    int len = snprintf(text, sizeof(text), moves[move].answer, sequences[sequence].word);
    answers_set(answers, text, (size_t)len);
    struct shoal_redis *redis = answers_connect(answers);
    shoal_queue_init(&queue, redis, "shoal", LIMIT_MS);
    shoal_redis_start(redis);
    loop_until(base, shoal_redis_is_up(redis), LIMIT_MS);
    ck_assert_int_eq(moves[move].send(&queue, &heard), SHOAL_OK);
    loop_until(base, heard.told, LIMIT_MS);
    bool good = sequences[sequence].commits >= 0;
    ck_assert_int_eq(heard.status, good ? SHOAL_OK : SHOAL_GARBAGE);
    ck_assert_int_eq(heard.commits, sequences[sequence].commits);
    shoal_redis_destroy(redis);
    answers_destroy(answers);
    event_base_free(base);
}

START_TEST(commit_sequence_is_one_that_redis_can_count_to) {
    for (size_t i = 0; i < SHOAL_COUNT(sequences); i++)
        expect((size_t)_i, i);
}
END_TEST

/* A worker that begins ends at once when its Redis is too old, and not when the answer
 * was garbled. */
START_TEST(what_tells_no_version_is_no_answer_to_info) {
    static char *const texts[] = {"", "foo", "# Server\r\nversion:7.0.15\r\n"};
    redisReply reply = {.type = REDIS_REPLY_STRING};
    struct shoal_server server;
    for (size_t i = 0; i < SHOAL_COUNT(texts); i++) {
        reply.str = texts[i];
        reply.len = strlen(texts[i]);
        ck_assert_int_eq(shoal_server_read(&reply, &server, NULL), SHOAL_OK);
        ck_assert_int_eq(shoal_server_check(&server, NULL), SHOAL_GARBAGE);
    }
    reply.str = (char[]){"# Server\r\nredis_version:6.2\r\n"};
    reply.len = strlen(reply.str);
    ck_assert_int_eq(shoal_server_read(&reply, &server, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_server_check(&server, NULL), SHOAL_DENIED);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("session");
    TCase *tests = tcase_create("session");
    tcase_add_test(tests, what_tells_no_version_is_no_answer_to_info);
    tcase_add_loop_test(tests, commit_sequence_is_one_that_redis_can_count_to, 0,
                        (int)SHOAL_COUNT(moves));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
