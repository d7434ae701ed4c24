/* JSON is read as it is, or not at all. */
#include "common/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static int left; /* allocations until one fails; 0: none does */

static void *scarce(size_t size) {
    return left > 0 && --left == 0 ? NULL : malloc(size);
}

static void setup(void) {
    left = 0;
    json_set_alloc_funcs(scarce, free);
}

/* With texts, names and lists that are longer than what is there for them at first. */
static const char text[] =
    "{\"command\": [\"sh\", \"-c\", \"echo a text of more than thirty-two bytes\"], "
    "\"a name that is longer than what there is room for, too\": {\"x\": [1, 2.5, null, "
    "true, \"\\u00e4\\n\", 6, 7, 8, 9, 10, 11, 12]}, \"a\": 1, \"b\": 2, \"c\": 3, "
    "\"d\": 4, \"e\": 5, \"f\": 6, \"g\": 7}";

START_TEST(nothing_is_left_out_for_want_of_memory) {
    json_t *whole = NULL, *json = NULL;
    enum shoal_status status = SHOAL_MEMORY;
    ck_assert_int_eq(shoal_json_read(text, strlen(text), &whole, NULL), SHOAL_OK);
    for (int nth = 1; status == SHOAL_MEMORY; nth++) {
        left = nth;
        status = shoal_json_read(text, strlen(text), &json, NULL);
        ck_assert_msg(status == (left > 0 ? SHOAL_OK : SHOAL_MEMORY), "%d: %d", nth,
                      status);
    }
    ck_assert(json_equal(json, whole));
    left = 0;
    json_decref(json);
    json_decref(whole);
}
END_TEST

static const struct {
    const char *text;
    const char *says;
} wrongs[] = {
    {"", "'[' or '{' expected near end of file"},
    {"{\"a\": 1, \"a\": 2}", "duplicate"},
    {"{} {}", "end of file expected"},
    {"{\"a\": \"\xff\"}", "unable to decode byte"},
};

START_TEST(what_is_no_json_is_said) {
    json_t *json = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(
        shoal_json_read(wrongs[_i].text, strlen(wrongs[_i].text), &json, &err),
        SHOAL_GARBAGE);
    ck_assert_msg(strstr(err.text, wrongs[_i].says) != NULL, "%s", err.text);
    ck_assert_ptr_null(json);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("json");
    TCase *tests = tcase_create("json");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, nothing_is_left_out_for_want_of_memory);
    tcase_add_loop_test(tests, what_is_no_json_is_said, 0,
                        sizeof(wrongs) / sizeof(*wrongs));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
