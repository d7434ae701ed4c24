#include "client/row.h"
#include "common/cleanup.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static struct shoal_row row;
static struct shoal_buffer text;

static void begin(void) {
    shoal_row_init(&row);
    shoal_buffer_init(&text, 1 << 20);
}

static void finish(void) {
    shoal_row_finish(&row);
    shoal_buffer_finish(&text);
}

/* The row's cells as "name=n:text …", where n stands for a number: m missing, t text, j
 * JSON. */
static const char *cells(size_t from) {
    static const char types[] = {'m', 't', 'n', 'j'};
    shoal_buffer_clear(&text);
    for (size_t i = from; i < row.n; i++)
        shoal_buffer_add_format(&text, "%s%s=%c:%s", i > from ? " " : "",
                                shoal_row_name(&row, i), types[row.cells[i].type],
                                shoal_row_text(&row, i));
    return shoal_buffer_text(&text);
}

/* ---- results taken apart */

static enum shoal_status take(void *owner, const char *name, size_t name_len,
                              enum shoal_cell_type type, const char *bytes, size_t len,
                              struct shoal_error *err) {
    return shoal_row_add(owner, name, name_len, type, bytes, len, err);
}

/* Copied, so that a sanitizer sees a read beyond the end. */
static enum shoal_status split(const char *result, size_t len) {
    char *copy = malloc(len + 1);
    memcpy(copy, result, len);
    copy = realloc(copy, len > 0 ? len : 1);
    shoal_row_clear(&row);
    enum shoal_status status = shoal_result_split(copy, len, take, &row, NULL);
    free(copy);
    return status;
}

static const struct {
    const char *result;
    const char *cells;
} results[] = {
    /* JSON objects */
    {"{}", ""},
    {"{\"x\": 1.50, \"y\":-2e+3}\n", "x=n:1.50 y=n:-2e+3"},
    {" \n{\"s\":\"a b\",\"t\":true,\"f\":false,\"n\":null}",
     "s=t:a b t=j:true f=j:false n=m:"},
    {"{\"seed\":18446744073709551615,\"e\":1e400}",
     "seed=n:18446744073709551615 e=n:1e400"},
    {"{\"l\":[ 1, {\"a\" : \"b \\\" c\"} ] }", "l=j:[1,{\"a\":\"b \\\" c\"}]"},
    {"{\"a\":NaN,\"b\":-Infinity,\"c\":[NaN , -Infinity]}",
     "a=t:nan b=t:-inf c=j:[null,null]"},
    {"{\"\\u00e4\\n\":\"\\ud83d\\udc1f\\t\\/\"}", "ä\n=t:🐟\t/"},
    {"{\"lone\":\"\\ud83d \\udc1f\"}", "lone=t:\xef\xbf\xbd \xef\xbf\xbd"},
    {"{\"nul\":\"a\\u0000b\"}", "nul=t:a\xef\xbf\xbd"
                                "b"},
    {"{\"bad\":\"\xff\",\"list\":[\"\xfe\"]}",
     "bad=t:\xef\xbf\xbd list=j:[\"\xef\xbf\xbd\"]"},
    {"{\"x\":1,\"y\":2,\"x\":3}", "x=n:3 y=n:2"},
    {"{\"\":1}", "=n:1"},
    /* no JSON objects */
    {"{\"x\":1", "result=t:{\"x\":1"},
    {"{\"x\":1,}", "result=t:{\"x\":1,}"},
    {"{x:1}", "result=t:{x:1}"},
    {"{\"x\":01}", "result=t:{\"x\":01}"},
    {"{\"x\":\"a\nb\"}", "result=t:{\"x\":\"a\nb\"}"},
    {"{\"x\":1}\n{\"x\":2}", "result=t:{\"x\":1}\n{\"x\":2}"},
    /* lines */
    {"x=1\ny=two words\n", "x=n:1 y=t:two words"},
    {"\n  x=1  \r\n\n\ty = 2\n", "result=t:\n  x=1  \r\n\n\ty = 2"},
    {"\n  x=1  \r\n\n\ty=2\n", "x=n:1 y=n:2"},
    {"_a.b-c9=\nx==", "_a.b-c9=t: x=t:="},
    {"x=1\nx=2\ny=3\nx=nan", "x=t:nan y=n:3"},
    {"x=1\nhello", "result=t:x=1\nhello"},
    {"9x=1", "result=t:9x=1"},
    {"=1", "result=t:=1"},
    {"-x=1", "result=t:-x=1"},
    {"a,b=1", "result=t:a,b=1"},
    /* single values and other text */
    {"42", "result=n:42"},
    {" 42 \n", "result=n:42"},
    {"-0.5e-3", "result=n:-0.5e-3"},
    {"007", "result=t:007"},
    {"1.", "result=t:1."},
    {".5", "result=t:.5"},
    {"+5", "result=t:+5"},
    {"NaN", "result=t:nan"},
    {" Infinity\n", "result=t:inf"},
    {"\"a\\u0062c\"", "result=t:abc"},
    {"[1, 2]", "result=j:[1,2]"},
    {"true", "result=j:true"},
    {"null", "result=m:"},
    {"hello world\n", "result=t:hello world"},
    {"two\nlines", "result=t:two\nlines"},
    {"\xff\xfe", "result=t:\xef\xbf\xbd\xef\xbf\xbd"},
    {"", ""},
    {" \n\t", ""},
};

START_TEST(results_are_taken_apart) {
    ck_assert_int_eq(split(results[_i].result, strlen(results[_i].result)), SHOAL_OK);
    ck_assert_str_eq(cells(0), results[_i].cells);
}
END_TEST

START_TEST(nul_bytes_are_kept_safe) {
    ck_assert_int_eq(split("a\0b", 3), SHOAL_OK);
    ck_assert_str_eq(cells(0), "result=t:a\xef\xbf\xbd"
                               "b");
    ck_assert_int_eq(split("x=1\0", 4), SHOAL_OK);
    ck_assert_str_eq(cells(0), "x=t:1\xef\xbf\xbd");
    ck_assert_int_eq(split("\0", 1), SHOAL_OK);
    ck_assert_str_eq(cells(0), "result=t:\xef\xbf\xbd");
}
END_TEST

START_TEST(deep_nesting_is_a_text) {
    static char deep[200001];
    memset(deep, '[', 100000);
    memset(deep + 100000, ']', 100000);
    ck_assert_int_eq(split(deep, 200000), SHOAL_OK);
    ck_assert_uint_eq(row.n, 1);
    ck_assert_int_eq(row.cells[0].type, SHOAL_CELL_TEXT);
    ck_assert_int_eq(split(deep + 99950, 100), SHOAL_OK);
    ck_assert_int_eq(row.cells[0].type, SHOAL_CELL_JSON);
}
END_TEST

START_TEST(many_keys_are_kept) {
    for (int i = 0; i < 20000; i++)
        shoal_buffer_add_format(&text, "k%d=%d\n", i, i);
    ck_assert_int_eq(split(text.data, text.len), SHOAL_OK);
    ck_assert_uint_eq(row.n, 20000);
    ck_assert_str_eq(shoal_row_text(&row, shoal_row_find(&row, "k777")), "777");
}
END_TEST

/* What jansson takes for JSON is JSON, and what is written is JSON again. */
START_TEST(changed_json_does_no_harm) {
    char json[] =
        "{\"a\":[1,2.5e3,{\"b\":\"\\u00e9\\n\"}],\"c\":-0,\"d\":null,\"e\":\"x\"}";
    static const char bytes[] = "{}[]\",:\\ue0123456789.-+ntrfalsu \n\x01\xc3";
    for (size_t i = 0; i < sizeof(json) - 1; i++)
        for (size_t j = 0; j < sizeof(bytes); j++) {
            char was = json[i];
            json[i] = bytes[j];
            ck_assert_int_eq(split(json, sizeof(json) - 1), SHOAL_OK);
            json_t *parsed =
                json_loadb(json, sizeof(json) - 1, JSON_DECODE_INT_AS_REAL, NULL);
            if (json_is_object(parsed)) {
                ck_assert_uint_eq(row.n, json_object_size(parsed));
                const char *key;
                json_t *value;
                json_object_foreach(parsed, key, value)
                    ck_assert_uint_ne(shoal_row_find(&row, key), SHOAL_NOT_THERE);
            }
            json_decref(parsed);
            json[i] = was;
        }
}
END_TEST

START_TEST(cut_json_does_no_harm) {
    static const char json[] =
        "{\"a\":[1,{\"b\":\"\\u00e9\\ud83d\\udc1f\"}],\"c\":-1.5e+3}";
    for (size_t len = 0; len < sizeof(json) - 1; len++) {
        ck_assert_int_eq(split(json, len), SHOAL_OK);
        ck_assert_uint_eq(row.n, len > 0);
    }
}
END_TEST

/* ---- rows of a job */

static struct shoal_spec spec;
static struct shoal_row_maker *maker;

static void begin_job(void) {
    begin();
    shoal_spec_init(&spec);
    ck_assert_int_eq(shoal_sweep_create(&spec.sweep, NULL), SHOAL_OK);
    maker = NULL;
}

static void finish_job(void) {
    shoal_row_maker_destroy(maker);
    shoal_spec_finish(&spec);
    finish();
}

static void sweep(const char *definition) {
    ck_assert_int_eq(shoal_sweep_add(spec.sweep, definition, NULL), SHOAL_OK);
}

static void make_maker(void) {
    struct shoal_error err = {0};
    ck_assert_msg(shoal_row_maker_create(&spec, &maker, &err) == SHOAL_OK, "%s",
                  err.text);
}

static enum shoal_status make(int64_t index, const char *argument, const char *result) {
    struct shoal_outcome outcome = {.reason = SHOAL_REASON_OK,
                                    .attempt = 1,
                                    .wall_us = 1500000,
                                    .cpu_us = 20,
                                    .rss_kb = 1536,
                                    .result = result,
                                    .result_len = strlen(result)};
    struct shoal_row_source source = {.index = index,
                                      .argument = argument,
                                      .argument_len =
                                          argument != NULL ? strlen(argument) : 0,
                                      .worker = "w\xff!",
                                      .worker_len = 2,
                                      .outcome = &outcome};
    return shoal_row_make(maker, &source, &row, NULL);
}

#define USAGE                                                                            \
    "attempt=n:1 worker=t:w\xef\xbf\xbd wall_s=n:1.5 cpu_s=n:0.00002 rss_mb=n:1.5"

START_TEST(a_row_has_parameters_and_repetition) {
    sweep("beta=0.1:0.3:0.1");
    sweep("model=a,b");
    shoal_sweep_set_repetitions(spec.sweep, 10);
    make_maker();
    ck_assert_int_eq(make(37, NULL, "{\"x\":1}"), SHOAL_OK);
    ck_assert_str_eq(cells(0), "task=n:37 beta=n:0.2 model=t:b rep=n:7 status=t:ok "
                               "reason=m: " USAGE " x=n:1");
    ck_assert(row.ok);
    ck_assert_int_eq(row.index, 37);
    ck_assert_uint_eq(row.own, row.n - 1);
}
END_TEST

START_TEST(a_row_without_repetitions_has_no_rep) {
    make_maker();
    ck_assert_int_eq(make(0, NULL, "rep=5"), SHOAL_OK);
    ck_assert_str_eq(cells(0), "task=n:0 status=t:ok reason=m: " USAGE " rep=n:5");
}
END_TEST

START_TEST(a_failed_task_is_a_row) {
    struct shoal_outcome outcome = {
        .reason = SHOAL_REASON_TIMEOUT, .attempt = 3, .result = "", .wall_us = INT64_MAX};
    struct shoal_row_source source = {
        .worker = "w", .worker_len = 1, .outcome = &outcome};
    make_maker();
    ck_assert_int_eq(shoal_row_make(maker, &source, &row, NULL), SHOAL_OK);
    ck_assert(!row.ok);
    ck_assert_str_eq(cells(0),
                     "task=n:0 status=t:failed reason=t:timeout attempt=n:3 worker=t:w "
                     "wall_s=n:9223372036854.775807 cpu_s=n:0 rss_mb=n:0.0");
}
END_TEST

START_TEST(names_that_are_taken_get_a_prefix) {
    sweep("beta=1,2");
    sweep("status=5");
    make_maker();
    ck_assert_int_eq(
        make(0, NULL,
             "task=1\nbeta=2\nresult.beta=3\nstatus=4\nextra=5\nparam.status=6\n"
             "result=7\nresult.x=8\nbetas=9"),
        SHOAL_OK);
    ck_assert_str_eq(cells(row.own),
                     "result.task=n:1 result.beta=n:2 result.result.beta=n:3 "
                     "result.status=n:4 result.extra=n:5 result.param.status=n:6 "
                     "result=n:7 result.x=n:8 betas=n:9");
    ck_assert_str_eq(shoal_row_name(&row, 2), "param.status");
    ck_assert_str_eq(shoal_row_text(&row, 2), "5");
}
END_TEST

START_TEST(a_line_argument_is_a_column) {
    spec.arguments = SHOAL_ARGUMENTS_LINE;
    make_maker();
    ck_assert_int_eq(make(5, "some words", "argument=1"), SHOAL_OK);
    ck_assert_str_eq(shoal_row_name(&row, 1), "argument");
    ck_assert_str_eq(shoal_row_text(&row, 1), "some words");
    ck_assert_str_eq(shoal_row_name(&row, row.own), "result.argument");
    ck_assert_int_eq(make(5, NULL, ""), SHOAL_OK); /* trimmed */
    ck_assert_int_eq(row.cells[1].type, SHOAL_CELL_MISSING);
}
END_TEST

START_TEST(fields_of_an_argument_are_columns) {
    static char *names[] = {(char *)"x", (char *)"y", NULL};
    spec.arguments = SHOAL_ARGUMENTS_FIELDS;
    spec.columns = names;
    make_maker();
    ck_assert_int_eq(make(0, "{\"y\":2,\"x\":\"a\"}", ""), SHOAL_OK);
    cells(0);
    ck_assert_msg(strncmp(text.data, "task=n:0 x=t:a y=n:2 status", 27) == 0, "%s",
                  text.data);
    ck_assert_int_eq(make(0, "{\"y\":", ""), SHOAL_OK); /* garbage */
    cells(0);
    ck_assert_msg(strncmp(text.data, "task=n:0 x=m: y=m: status", 25) == 0, "%s",
                  text.data);
    spec.columns = NULL;
}
END_TEST

START_TEST(a_task_beyond_the_sweep_is_garbage) {
    sweep("a=1:3");
    make_maker();
    ck_assert_int_eq(make(2, NULL, ""), SHOAL_OK);
    ck_assert_int_eq(make(3, NULL, ""), SHOAL_GARBAGE);
    ck_assert_int_eq(make(-1, NULL, ""), SHOAL_GARBAGE);
}
END_TEST

START_TEST(the_head_is_what_all_rows_begin_with) {
    sweep("a=1:3");
    make_maker();
    ck_assert_int_eq(shoal_row_maker_head(maker, &row, NULL), SHOAL_OK);
    ck_assert_str_eq(cells(0), "task=m: a=m: status=m: reason=m: attempt=m: worker=m: "
                               "wall_s=m: cpu_s=m: rss_mb=m:");
}
END_TEST

/* ---- rows as bytes */

START_TEST(a_row_is_read_as_it_was_written) {
    struct shoal_buffer bytes;
    shoal_buffer_init(&bytes, 1 << 16);
    sweep("a=1:3");
    make_maker();
    ck_assert_int_eq(make(2, NULL, "{\"x\":[1],\"y\":null,\"z\":\"q\"}"), SHOAL_OK);
    char *before = strdup(cells(0));
    size_t own = row.own;
    shoal_row_write(&row, &bytes);
    ck_assert_int_eq(shoal_row_read(&row, bytes.data, bytes.len, NULL), SHOAL_OK);
    ck_assert_str_eq(cells(0), before);
    ck_assert_int_eq(row.index, 2);
    ck_assert(row.ok);
    ck_assert_uint_eq(row.own, own);
    for (size_t len = 0; len < bytes.len; len++)
        ck_assert_int_eq(shoal_row_read(&row, bytes.data, len, NULL), SHOAL_GARBAGE);
    free(before);
    shoal_buffer_finish(&bytes);
}
END_TEST

START_TEST(doubles_are_written_shortest) {
    ck_assert_int_eq(shoal_row_add_double(&row, "a", 0.1, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_row_add_double(&row, "b", 3, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_row_add_double(&row, "c", -1.0 / 0.0, NULL), SHOAL_OK);
    ck_assert_str_eq(cells(0), "a=n:0.1 b=n:3 c=t:-inf");
}
END_TEST

static void add_splitting(Suite *suite) {
    TCase *cases = tcase_create("splitting");
    tcase_add_checked_fixture(cases, begin, finish);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, results_are_taken_apart, 0, (int)SHOAL_COUNT(results));
    tcase_add_test(cases, nul_bytes_are_kept_safe);
    tcase_add_test(cases, deep_nesting_is_a_text);
    tcase_add_test(cases, many_keys_are_kept);
    tcase_add_test(cases, changed_json_does_no_harm);
    tcase_add_test(cases, cut_json_does_no_harm);
    tcase_add_test(cases, doubles_are_written_shortest);
    suite_add_tcase(suite, cases);
}

static void add_making(Suite *suite) {
    TCase *cases = tcase_create("making");
    tcase_add_checked_fixture(cases, begin_job, finish_job);
    tcase_add_test(cases, a_row_has_parameters_and_repetition);
    tcase_add_test(cases, a_row_without_repetitions_has_no_rep);
    tcase_add_test(cases, a_failed_task_is_a_row);
    tcase_add_test(cases, names_that_are_taken_get_a_prefix);
    tcase_add_test(cases, a_line_argument_is_a_column);
    tcase_add_test(cases, fields_of_an_argument_are_columns);
    tcase_add_test(cases, a_task_beyond_the_sweep_is_garbage);
    tcase_add_test(cases, the_head_is_what_all_rows_begin_with);
    tcase_add_test(cases, a_row_is_read_as_it_was_written);
    suite_add_tcase(suite, cases);
}

int main(void) {
    Suite *suite = suite_create("row");
    add_splitting(suite);
    add_making(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
