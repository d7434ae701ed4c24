#include "common/cleanup.h"
#include "common/redis.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static redisReply make(int type, const char *text) {
    return (redisReply){.type = type, .str = (char *)text, .len = strlen(text)};
}

static const struct {
    const char *text;
    enum shoal_status status;
    const char *says;
} errors[] = {
    {"OOM command not allowed when used memory > 'maxmemory'.", SHOAL_FULL,
     "maxmemory or"},
    {"MISCONF Errors writing to the AOF file", SHOAL_FULL, "disk"},
    {"READONLY You can't write against a read only replica.", SHOAL_DENIED, "primary"},
    {"LOADING Redis is loading the dataset in memory", SHOAL_DENIED, "try again"},
    {"BUSY Redis is busy running a script.", SHOAL_DENIED, "FUNCTION KILL"},
    {"MASTERDOWN Link with MASTER is down", SHOAL_DENIED, "replica"},
    {"NOREPLICAS Not enough good replicas to write.", SHOAL_DENIED, "replicas"},
    {"NOAUTH Authentication required.", SHOAL_DENIED, "requires a password"},
    {"WRONGPASS invalid username-password pair or user is disabled.", SHOAL_DENIED,
     "check the"},
    {"NOPERM this user has no permissions to run the 'get' command", SHOAL_DENIED,
     "shoal acl"},
    {"ERR The user executing the script can't run this command or subcommand script: x",
     SHOAL_DENIED, "shoal acl"},
    {"WRONGTYPE Operation against a key holding the wrong kind of value", SHOAL_GARBAGE,
     "namespace"},
    {"ERR max number of clients reached", SHOAL_DENIED, "maxclients"},
    {"ERR max number", SHOAL_INVALID, "'ERR max number'"},
    {"ERR unknown command 'X', with args beginning with: ", SHOAL_DENIED, "Redis 7"},
    {"ERR DB index is out of range", SHOAL_INVALID, "number"},
    {"MOVED 3999 127.0.0.1:6381", SHOAL_DENIED, "cluster"},
    {"BUSYGROUP Consumer Group name already exists", SHOAL_INVALID, "'BUSYGROUP"},
    {"OOMPH", SHOAL_INVALID, "'OOMPH'"},
    {"", SHOAL_INVALID, "''"},
    {"a\x01\tb\x7f", SHOAL_INVALID, "'a??b?'"},
    {"UNKNOWN there is no job x", SHOAL_UNKNOWN, "there is no job x"},
    {"REFUSED job x is busy", SHOAL_REFUSED, "job x is busy"},
    {"UNKNOWN", SHOAL_UNKNOWN, "UNKNOWN"},
    {"UNKNOWN ", SHOAL_UNKNOWN, "UNKNOWN "},
};

START_TEST(error_replies_say_what_to_do) {
    redisReply reply = make(REDIS_REPLY_ERROR, errors[_i].text);
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_redis_status_of(&reply, &err), errors[_i].status);
    ck_assert_int_eq(err.status, errors[_i].status);
    ck_assert_msg(strstr(err.text, errors[_i].says) != NULL, "%s", err.text);
    ck_assert_int_eq(shoal_redis_status_of(&reply, NULL), errors[_i].status);
}
END_TEST

START_TEST(our_scripts_own_errors_are_sentences) {
    redisReply reply = make(REDIS_REPLY_ERROR, "UNKNOWN there is no job x");
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_redis_status_of(&reply, &err), SHOAL_UNKNOWN);
    ck_assert_str_eq(err.text, "there is no job x");
}
END_TEST

START_TEST(what_is_no_error_is_fine) {
    redisReply reply = make(REDIS_REPLY_STRING, "OOM");
    ck_assert_int_eq(shoal_redis_status_of(&reply, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_redis_status_of(NULL, NULL), SHOAL_OK);
}
END_TEST

START_TEST(an_endless_error_is_cut) {
    char *text = calloc(1, 100001);
    memset(text, 'x', 100000);
    redisReply reply = make(REDIS_REPLY_ERROR, text);
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_redis_status_of(&reply, &err), SHOAL_INVALID);
    ck_assert_str_eq(err.text + strlen(err.text) - 2, "')");
    free(text);
}
END_TEST

static const struct {
    int type;
    long long integer;
    const char *text;
    bool good;
    int64_t value;
} numbers[] = {
    {REDIS_REPLY_INTEGER, -5, NULL, true, -5},
    {REDIS_REPLY_STRING, 0, "12", true, 12},
    {REDIS_REPLY_STATUS, 0, "-12", true, -12},
    {REDIS_REPLY_STRING, 0, "9223372036854775807", true, INT64_MAX},
    {REDIS_REPLY_STRING, 0, "9223372036854775808", false, 0},
    {REDIS_REPLY_STRING, 0, "", false, 0},
    {REDIS_REPLY_STRING, 0, "-", false, 0},
    {REDIS_REPLY_STRING, 0, " 1", false, 0},
    {REDIS_REPLY_STRING, 0, "1 ", false, 0},
    {REDIS_REPLY_STRING, 0, "+1", false, 0},
    {REDIS_REPLY_STRING, 0, "1e3", false, 0},
    {REDIS_REPLY_ERROR, 0, "1", false, 0},
    {REDIS_REPLY_NIL, 0, NULL, false, 0},
    {REDIS_REPLY_ARRAY, 0, NULL, false, 0},
};

START_TEST(numbers_are_integers_or_their_text) {
    redisReply reply = {.type = numbers[_i].type,
                        .integer = numbers[_i].integer,
                        .str = (char *)numbers[_i].text,
                        .len = numbers[_i].text == NULL ? 0 : strlen(numbers[_i].text)};
    int64_t value = 0;
    ck_assert_int_eq(shoal_reply_int(&reply, &value), numbers[_i].good);
    ck_assert_int_eq(value, numbers[_i].value);
    ck_assert(!shoal_reply_int(NULL, &value));
}
END_TEST

START_TEST(texts_have_no_nul) {
    redisReply reply = {.type = REDIS_REPLY_STRING, .str = "a\0b", .len = 3};
    const char *text = "untouched";
    ck_assert(!shoal_reply_text(&reply, &text));
    ck_assert(!shoal_reply_text(NULL, &text));
    ck_assert_str_eq(text, "untouched");
    reply.len = 1;
    ck_assert(shoal_reply_text(&reply, &text));
    ck_assert_str_eq(text, "a");
}
END_TEST

START_TEST(elements_are_found_within_arrays_only) {
    redisReply element = make(REDIS_REPLY_STRING, "x");
    redisReply *elements[] = {&element};
    redisReply array = {.type = REDIS_REPLY_ARRAY, .elements = 1, .element = elements};
    ck_assert_ptr_eq(shoal_reply_at(&array, 0), &element);
    ck_assert_ptr_null(shoal_reply_at(&array, 1));
    ck_assert_ptr_null(shoal_reply_at(&array, SIZE_MAX));
    ck_assert_ptr_null(shoal_reply_at(&element, 0));
    ck_assert_ptr_null(shoal_reply_at(NULL, 0));
    ck_assert(shoal_reply_is_array(&array, 1));
    ck_assert(!shoal_reply_is_array(&array, 2));
    ck_assert(!shoal_reply_is_array(&element, 0));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("reply");
    TCase *tests = tcase_create("reply");
    tcase_add_loop_test(tests, error_replies_say_what_to_do, 0, (int)SHOAL_COUNT(errors));
    tcase_add_test(tests, our_scripts_own_errors_are_sentences);
    tcase_add_test(tests, what_is_no_error_is_fine);
    tcase_add_test(tests, an_endless_error_is_cut);
    tcase_add_loop_test(tests, numbers_are_integers_or_their_text, 0,
                        (int)SHOAL_COUNT(numbers));
    tcase_add_test(tests, texts_have_no_nul);
    tcase_add_test(tests, elements_are_found_within_arrays_only);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
