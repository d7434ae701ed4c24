/* What a worker takes for an answer to the question for a spec. */
#include "worker/known.h"

#include "common/cleanup.h"
#include "tests/support/answers.h"
#include "tests/support/wait.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_MS = 20000 };

static void changed(void *owner) {
    ++*(int *)owner;
}

/* What was garbled on its way is asked for again: only what Redis surely has in the place
 * of the spec, or has not, rejects the tasks. */
static const struct {
    const char *answer;
    enum shoal_known_state state;
} asked[] = {
    {"-WRONGTYPE Operation against a key\r\n", SHOAL_KNOWN_BAD},
    {"$0\r\n\r\n", SHOAL_KNOWN_BAD},
    {"-WRONGTYPF Operation against a key\r\n", SHOAL_KNOWN_WANTED},
    {"-GARBAGE what came is no answer\r\n", SHOAL_KNOWN_WANTED},
    {"-\r\n", SHOAL_KNOWN_WANTED},
    {"+OK\r\n", SHOAL_KNOWN_WANTED},
    {":1\r\n", SHOAL_KNOWN_WANTED},
    {"*1\r\n$2\r\n{}\r\n", SHOAL_KNOWN_WANTED},
    {"$-1\r\n", SHOAL_KNOWN_WANTED},
    {"$2\r\n{}\r\n", SHOAL_KNOWN_WANTED}, /* of another digest, for the first time */
};

START_TEST(only_a_sure_answer_rejects_tasks) {
    struct event_base *base = event_base_new();
    struct answers *answers = answers_create(base);
    struct shoal_trust trust = {.required = false};
    struct shoal_knowledge all;
    struct shoal_queue queue;
    int times = 0;
    answers_set(answers, asked[_i].answer, strlen(asked[_i].answer));
    struct shoal_redis *redis = answers_connect(answers);
    shoal_queue_init(&queue, redis, "shoal", LIMIT_MS);
    shoal_redis_start(redis);
    loop_until(base, shoal_redis_is_up(redis), LIMIT_MS);
    shoal_knowledge_init(&all, &trust, changed, &times);
    struct shoal_known *spec =
        shoal_known_get(&all, SHOAL_KNOWN_SPEC, "0123456789abcdef0123");
    shoal_knowledge_ask(&all, &queue);
    ck_assert_int_eq(spec->state, SHOAL_KNOWN_ASKED);
    loop_until(base, times == 1, LIMIT_MS);
    ck_assert_int_eq(spec->state, asked[_i].state);
    ck_assert_int_eq(spec->error.text[0] != '\0', asked[_i].state == SHOAL_KNOWN_BAD);
    shoal_known_release(spec);
    shoal_redis_destroy(redis);
    shoal_knowledge_finish(&all);
    answers_destroy(answers);
    event_base_free(base);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("known");
    TCase *tests = tcase_create("known");
    tcase_add_loop_test(tests, only_a_sure_answer_rejects_tasks, 0,
                        (int)SHOAL_COUNT(asked));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
