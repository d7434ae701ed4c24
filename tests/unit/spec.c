/* Specs: what stands in braces in a command's words, and JSON that strangers may have
 * written. */
#include "common/spec.h"
#include "common/cleanup.h"
#include "common/id.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char job_id[] = "0123456789ab";

static struct shoal_spec spec;
static struct shoal_error err;

static void forget_error(void) {
    err = (struct shoal_error){.status = SHOAL_OK};
}

static enum shoal_status read_text(const char *json, struct shoal_spec *ret_spec) {
    forget_error();
    return shoal_spec_read(json, strlen(json), ret_spec, &err);
}

static char *write_text(const struct shoal_spec *of) {
    char *json = NULL;
    forget_error();
    enum shoal_status status = shoal_spec_write(of, &json, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    return json;
}

/* ---- words. The job has x = 1.5, y = {x} and long_name2 = v, everything is repeated
 * three times, and the task is number 7: of the third point, the second repetition. */

static const char sweep_json[] =
    "{\"mode\":\"zip\",\"parameters\":["
    "{\"name\":\"x\",\"values\":[\"1\",\"2\",\"1.5\"]},"
    "{\"name\":\"y\",\"values\":[\"a\",\"b\",\"{x}\"]},"
    "{\"name\":\"long_name2\",\"values\":[\"u\",\"\xc3\xa4\",\"v\"]}],\"repetitions\":3}";
static const char no_sweep_json[] =
    "{\"mode\":\"product\",\"parameters\":[],\"repetitions\":3}";

/* A spec with one word behind "./sim". Returns what checking it says. */
static enum shoal_status make_spec(const char *kind, const char *word) {
    struct shoal_buffer json;
    shoal_buffer_init(&json, SHOAL_SPEC_MAX);
    json_t *text = json_string(word);
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    shoal_buffer_add_format(
        &json,
        "{\"version\":1,\"command\":[\"./sim\",%s],\"directory\":\"/\","
        "\"timeout_ms\":0,\"grace_ms\":0,\"result_max\":9,\"arguments\":\"%s\",%s"
        "\"sweep\":%s}",
        quoted, kind, strcmp(kind, "fields") == 0 ? "\"columns\":[\"r\",\"c\"]," : "",
        strcmp(kind, "none") == 0 ? sweep_json : no_sweep_json);
    json_decref(text);
    free(quoted);
    enum shoal_status status = read_text(shoal_buffer_text(&json), &spec);
    shoal_buffer_finish(&json);
    return status;
}

/* The second word of the command of task 7. */
static char *expand(const char *argument, uint64_t job_seed) {
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {.n = 0};
    SHOAL_CLEANUP(shoal_cleanup_free) char **argv = NULL;
    enum shoal_status status = shoal_parameters_make(
        &spec, 7, argument, argument == NULL ? 0 : strlen(argument), &parameters, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    const struct shoal_task task = {.job = job_id,
                                    .index = 7,
                                    .seed = shoal_task_seed(job_seed, 7),
                                    .parameters = &parameters};
    status = shoal_spec_expand(&spec, &task, &argv, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    ck_assert_str_eq(argv[0], "./sim");
    ck_assert_ptr_null(argv[2]);
    return strdup(argv[1]);
}

static void expect_word(const char *kind, const char *word, const char *argument,
                        const char *expected) {
    enum shoal_status status = make_spec(kind, word);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    SHOAL_CLEANUP(shoal_cleanup_free) char *expanded = expand(argument, 1);
    ck_assert_str_eq(expanded, expected);
    shoal_spec_finish(&spec);
}

struct word {
    const char *word;
    const char *expanded; /* NULL: it stays */
};

static const struct word words[] = {
    {"", NULL},
    {"plain", NULL},
    {"{x}", "1.5"},
    {"{long_name2}", "v"},
    {"--x={x}", "--x=1.5"},
    {"{x}{x}", "1.51.5"},
    {"a{x}b{long_name2}c", "a1.5bvc"},
    {"{y}", "{x}"}, /* once is enough */
    {"{rep}", "1"},
    {"{task}", "7"},
    {"{job}", job_id},
    {"{{x}}", "{x}"},
    {"{{rep}}", "{rep}"},
    {"{{anything_else}}", "{anything_else}"},
    {"{{{x}}}", "{{x}}"},
    {"{{{{x}}}}", "{{{x}}}"},
    {"{{x}} is {x}", "{x} is 1.5"},
    {"{{x}", "{1.5"},
    {"{x}}", "1.5}"},
    {"${x}", NULL},
    {"${HOME}", NULL},
    {"$${x}", NULL},
    {"${x:-1}", NULL},
    {"$x", NULL},
    {"$ {x}", "$ 1.5"},
    {"{x}${x}", "1.5${x}"},
    {"${x}{x}", "${x}1.5"},
    {"{", NULL},
    {"}", NULL},
    {"{{", NULL},
    {"}}", NULL},
    {"{}", NULL},
    {"{{}}", NULL},
    {"{x", NULL},
    {"x}", NULL},
    {"{ x}", NULL},
    {"{x }", NULL},
    {"{1}", NULL},
    {"{1x}", NULL},
    {"{x,y}", NULL},
    {"{x.y}", NULL},
    {"{x-y}", NULL},
    {"{x:03d}", NULL},
    {"{1..9}", NULL},
    {"{\xc3\xa4}", NULL},
    {"{print $1}", NULL},
    {"{ print {x} }", "{ print 1.5 }"},
    {"{\"a\": {\"b\": {x}}}", "{\"a\": {\"b\": 1.5}}"},
};

static const struct word line_words[] = {
    {"{}", "a {x} line"}, {"<{}>", "<a {x} line>"}, {"{}{}", "a {x} linea {x} line"},
    {"{{}}", "{}"},       {"{{{}}}", "{{}}"},       {"${}", NULL},
    {"{ }", NULL},        {"{rep}", "1"},           {"{{x}}", "{x}"},
};

static const struct word field_words[] = {
    {"{r}/{c}", "1e3/ä"},
    {"{}", NULL},
    {"{{r}}", "{r}"},
    {"{task} {rep}", "7 1"},
};

START_TEST(bare_names_in_braces_are_replaced_and_nothing_else) {
    const struct word *word = &words[_i];
    expect_word("none", word->word, NULL,
                word->expanded == NULL ? word->word : word->expanded);
}
END_TEST

START_TEST(empty_braces_are_the_line) {
    const struct word *word = &line_words[_i];
    expect_word("line", word->word, "a {x} line",
                word->expanded == NULL ? word->word : word->expanded);
}
END_TEST

START_TEST(names_are_those_of_the_fields) {
    const struct word *word = &field_words[_i];
    expect_word("fields", word->word, "{\"r\": \"1e3\", \"c\": \"ä\"}",
                word->expanded == NULL ? word->word : word->expanded);
}
END_TEST

static const struct {
    const char *kind;
    const char *word;
    const char *says[3];
} unknown[] = {
    {"none", "{typo}", {"'{typo}'", "(known: x, y, long_name2, rep, seed,", "{{typo}}"}},
    {"none", "--x={X}", {"'--x={X}'", "{X}", "{{X}}"}},
    {"none", "{x}{_}", {"'{x}{_}'", "{_}", "{{_}}"}},
    {"none", "{{x}}{x1}", {"{x1}", "{{x1}}"}},
    {"none", "awk '{print}'", {"'awk", "{{print}}"}},
    {"none", "{Seed}", {"{Seed}", "{{Seed}}"}},
    {"line", "{x}", {"{x}", "(known: {}, rep,", "{{x}}"}},
    {"fields", "{x}", {"{x}", "(known: r, c, rep,", "{{x}}"}},
};

START_TEST(an_unknown_name_is_an_error_that_suggests_more_braces) {
    ck_assert_int_eq(make_spec(unknown[_i].kind, unknown[_i].word), SHOAL_GARBAGE);
    for (int i = 0; i < 3 && unknown[_i].says[i] != NULL; i++)
        ck_assert_msg(strstr(err.text, unknown[_i].says[i]) != NULL, "no '%s' in: %s",
                      unknown[_i].says[i], err.text);
}
END_TEST

START_TEST(an_endless_unknown_name_leaves_room_for_the_advice) {
    char word[5000];
    memset(word, 'a', sizeof(word));
    word[0] = '{';
    strcpy(word + sizeof(word) - 2, "}");
    ck_assert_int_eq(make_spec("none", word), SHOAL_GARBAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "is meant"));
}
END_TEST

/* ---- seeds, by the generator that they are defined by */

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static const struct {
    uint64_t job_seed;
    const char *seed, *seed31; /* of task 7 */
} seeds[] = {
    {0, "2445283482752209519", "569336927"},
    {1, "2277851939543494749", "530353733"},
    {42, "6776600131486888903", "1577800170"},
    {UINT64_C(9223372036854775807), "6062030773217566360", "1411426526"},
};

START_TEST(seeds_are_known) {
    ck_assert_int_eq(make_spec("none", "{seed}"), SHOAL_OK);
    SHOAL_CLEANUP(shoal_cleanup_free) char *seed = expand(NULL, seeds[_i].job_seed);
    ck_assert_str_eq(seed, seeds[_i].seed);
    shoal_spec_finish(&spec);
    ck_assert_int_eq(make_spec("none", "{seed31}"), SHOAL_OK);
    SHOAL_CLEANUP(shoal_cleanup_free) char *seed31 = expand(NULL, seeds[_i].job_seed);
    ck_assert_str_eq(seed31, seeds[_i].seed31);
    shoal_spec_finish(&spec);
}
END_TEST

START_TEST(seeds_are_a_stream_of_splitmix64_by_index) {
    for (uint64_t job_seed = 0; job_seed < 50; job_seed++) {
        uint64_t first = job_seed, stream = splitmix64(&first);
        for (uint64_t index = 0; index < 50; index++)
            ck_assert_uint_eq(shoal_task_seed(job_seed, index), splitmix64(&stream) >> 1);
    }
}
END_TEST

START_TEST(seed31_is_within_31_bits_and_uses_them) {
    uint64_t all = 0;
    ck_assert_int_eq(make_spec("none", "{seed31}"), SHOAL_OK);
    for (uint64_t job_seed = 0; job_seed < 2000; job_seed++) {
        SHOAL_CLEANUP(shoal_cleanup_free) char *text = expand(NULL, job_seed);
        uint64_t seed31 = strtoull(text, NULL, 10);
        ck_assert_uint_lt(seed31, UINT64_C(1) << 31);
        all |= seed31;
    }
    ck_assert_uint_eq(all, (UINT64_C(1) << 31) - 1);
    shoal_spec_finish(&spec);
}
END_TEST

/* ---- explicit arguments */

START_TEST(fields_are_written_as_they_read_shortest) {
    static const char argument[] =
        "{\"a\": \"text\", \"b\": 9007199254740993, \"c\": 0.1, \"d\": 1e-7, "
        "\"e\": true, \"f\": false, \"g\": null, \"h\": -0.5}";
    static const char *const values[] = {
        "text", "9007199254740993", "0.1", "1e-07", "true", "false", "", "-0.5"};
    struct shoal_parameters parameters;
    ck_assert_int_eq(make_spec("fields", "x"), SHOAL_OK);
    ck_assert_int_eq(
        shoal_parameters_make(&spec, 0, argument, strlen(argument), &parameters, &err),
        SHOAL_OK);
    ck_assert_uint_eq(parameters.n, SHOAL_COUNT(values));
    for (size_t i = 0; i < SHOAL_COUNT(values); i++) {
        ck_assert_int_eq(parameters.names[i][0], (int)('a' + i));
        ck_assert_str_eq(parameters.values[i], values[i]);
    }
    shoal_parameters_finish(&parameters);
    shoal_spec_finish(&spec);
}
END_TEST

static const struct {
    const char *kind;
    const char *argument; /* NULL: none */
    size_t len;           /* 0: up to its NUL */
} bad_arguments[] = {
    {"line", NULL, 0},
    {"line", "\xff", 0},
    {"line", "a\0b", 3},
    {"line", "\xed\xa0\x80", 0},
    {"fields", NULL, 0},
    {"fields", "", 0},
    {"fields", "no JSON", 0},
    {"fields", "[1]", 0},
    {"fields", "1", 0},
    {"fields", "{\"r\": 1", 0},
    {"fields", "{\"r\": [1]}", 0},
    {"fields", "{\"r\": {}}", 0},
    {"fields", "{\"a b\": 1}", 0},
    {"fields", "{\"\": 1}", 0},
    {"fields", "{\"r\": 1, \"r\": 2}", 0},
    {"fields", "{\"r\": \"\\u0000\"}", 0},
    {"fields", "{\"r\": \"\\ud800\"}", 0},
    {"fields", "{\"r\": \"\xff\"}", 0},
    {"fields", "{\"r\": 1e999}", 0},
    {"fields", "{\"r\": 99999999999999999999}", 0},
};

START_TEST(arguments_that_are_none_are_garbage) {
    const char *argument = bad_arguments[_i].argument;
    size_t len = bad_arguments[_i].len;
    struct shoal_parameters untouched = {.n = 99};
    ck_assert_int_eq(make_spec(bad_arguments[_i].kind, "x"), SHOAL_OK);
    if (argument != NULL && len == 0)
        len = strlen(argument);
    ck_assert_int_eq(shoal_parameters_make(&spec, 3, argument, len, &untouched, &err),
                     SHOAL_GARBAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "task 3"));
    ck_assert_uint_eq(untouched.n, 99);
    shoal_spec_finish(&spec);
}
END_TEST

/* ---- round trips */

/* As they are written: without blanks, names in alphabetical order. */
static const char *const canonical[] = {
    "{\"arguments\":\"none\",\"command\":[\"./sir\",\"--beta\",\"{beta}\"],"
    "\"directory\":\"/home/me\",\"environment\":{\"A\":\"\",\"B\":\"x=y\"},"
    "\"grace_ms\":10000,\"result_max\":65536,\"sweep\":{\"mode\":\"product\","
    "\"parameters\":[{\"name\":\"beta\",\"values\":\"0.1:0.9:0.1\"},"
    "{\"name\":\"k\",\"values\":[\"a\",\"b c\",\"\xe2\x82\xac\"]},"
    "{\"name\":\"l\",\"values\":\"log:1:100:3\"}],\"repetitions\":20},"
    "\"timeout_ms\":31536000000,\"version\":1}",
    "{\"arguments\":\"line\",\"command\":[\"{}\"],\"directory\":\"/\","
    "\"grace_ms\":0,\"result_max\":0,\"sweep\":{\"mode\":\"product\","
    "\"parameters\":[],\"repetitions\":9007199254740992},\"timeout_ms\":0,"
    "\"version\":1}",
    "{\"arguments\":\"fields\",\"columns\":[\"r\",\"c\"],\"command\":[\"awk\",\"{r}\","
    "\"\\\"\\\\\\n\"],\"directory\":\"/\",\"grace_ms\":1,\"result_max\":16777216,"
    "\"sweep\":{\"mode\":\"zip\",\"parameters\":[],\"repetitions\":1},"
    "\"timeout_ms\":1,\"version\":1}",
    "{\"arguments\":\"none\",\"command\":[\"true\"],\"directory\":\"/\","
    "\"grace_ms\":0,\"limits\":{\"file_size\":1,\"memory\":1073741824,\"millicpus\":500,"
    "\"processes\":4194304},\"result_max\":1,\"sweep\":{\"mode\":\"product\","
    "\"parameters\":[],\"repetitions\":1},\"timeout_ms\":0,\"version\":1}",
    "{\"arguments\":\"none\",\"checkpoint\":true,\"command\":[\"./sir\"],"
    "\"directory\":\"/\",\"grace_ms\":0,\"result_max\":9,\"sweep\":{\"mode\":"
    "\"product\",\"parameters\":[],\"repetitions\":1},\"timeout_ms\":60001,"
    "\"version\":1,\"warning\":\"USR1@1m\"}",
};

START_TEST(what_is_read_is_written_again) {
    enum shoal_status status = read_text(canonical[_i], &spec);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    SHOAL_CLEANUP(shoal_cleanup_free) char *json = write_text(&spec);
    ck_assert_str_eq(json, canonical[_i]);
    shoal_spec_finish(&spec);
}
END_TEST

START_TEST(what_is_read_is_what_the_json_says) {
    ck_assert_int_eq(read_text(canonical[0], &spec), SHOAL_OK);
    ck_assert_uint_eq(spec.words, 3);
    ck_assert_str_eq(spec.command[2], "{beta}");
    ck_assert_ptr_null(spec.command[3]);
    ck_assert_str_eq(spec.directory, "/home/me");
    ck_assert_str_eq(spec.environment[0], "A=");
    ck_assert_str_eq(spec.environment[1], "B=x=y");
    ck_assert_ptr_null(spec.environment[2]);
    ck_assert_int_eq(spec.timeout_ms, INT64_C(31536000000));
    ck_assert_int_eq(spec.grace_ms, 10000);
    ck_assert_int_eq(spec.result_max, 65536);
    ck_assert_int_eq(spec.arguments, SHOAL_ARGUMENTS_NONE);
    ck_assert_ptr_null(spec.columns);
    ck_assert_int_eq(shoal_sweep_repetitions(spec.sweep), 20);
    shoal_spec_finish(&spec);
}
END_TEST

START_TEST(equal_specs_give_equal_text) {
    char *forwards[] = {(char[]){"A=1"}, (char[]){"B=2"}, NULL};
    char *backwards[] = {forwards[1], forwards[0], NULL};
    ck_assert_int_eq(read_text(canonical[1], &spec), SHOAL_OK);
    spec.environment = forwards;
    SHOAL_CLEANUP(shoal_cleanup_free) char *one = write_text(&spec);
    spec.environment = backwards;
    SHOAL_CLEANUP(shoal_cleanup_free) char *other = write_text(&spec);
    spec.environment = NULL;
    ck_assert_str_eq(one, other);
    ck_assert_ptr_nonnull(strstr(one, "{\"A\":\"1\",\"B\":\"2\"}"));
    shoal_spec_finish(&spec);
}
END_TEST

START_TEST(a_spec_that_is_too_long_is_not_written) {
    char *json = NULL;
    ck_assert_int_eq(read_text(canonical[1], &spec), SHOAL_OK);
    free(spec.command[0]);
    spec.command[0] = malloc(SHOAL_SPEC_MAX + 1);
    memset(spec.command[0], 'a', SHOAL_SPEC_MAX);
    spec.command[0][SHOAL_SPEC_MAX] = '\0';
    ck_assert_int_eq(shoal_spec_write(&spec, &json, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "--from FILE"));
    ck_assert_ptr_null(json);
    shoal_spec_finish(&spec);
}
END_TEST

/* ---- what strangers write */

/* Reads bytes that may be anything. Whatever they are, they are refused with a sentence
 * and nothing is touched, or accepted, and then they can be written and read again. */
static bool survives(const char *bytes, size_t len) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *exact = malloc(len == 0 ? 1 : len);
    memcpy(exact, bytes, len); /* what reads too far is found by the sanitizer */
    struct shoal_spec read = {.words = 4711}, again;
    forget_error();
    enum shoal_status status = shoal_spec_read(exact, len, &read, &err);
    if (status != SHOAL_OK) {
        ck_assert_msg(status == SHOAL_GARBAGE, "%s", shoal_status_name(status));
        ck_assert_int_eq(err.status, SHOAL_GARBAGE);
        ck_assert_str_ne(err.text, "");
        ck_assert_uint_eq(read.words, 4711);
        return false;
    }
    SHOAL_CLEANUP(shoal_cleanup_free) char *once = write_text(&read);
    status = read_text(once, &again);
    ck_assert_msg(status == SHOAL_OK, "%s: %s", once, err.text);
    SHOAL_CLEANUP(shoal_cleanup_free) char *twice = write_text(&again);
    ck_assert_str_eq(once, twice);
    shoal_spec_finish(&read);
    shoal_spec_finish(&again);
    return true;
}

START_TEST(a_part_of_a_spec_is_none) {
    for (size_t len = 0; len < strlen(canonical[_i]); len++)
        ck_assert_msg(!survives(canonical[_i], len), "%zu bytes are enough", len);
    ck_assert(survives(canonical[_i], strlen(canonical[_i])));
}
END_TEST

START_TEST(any_byte_may_be_changed) {
    static const char bytes[] = "\0\xff\xc3\"\\{}[]:,09-e. @=ntx";
    size_t len = strlen(canonical[_i]), survivors = 0;
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = strdup(canonical[_i]);
    for (size_t at = 0; at < len; at++) {
        for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
            text[at] = bytes[i];
            survivors += survives(text, len);
        }
        text[at] = canonical[_i][at];
    }
    ck_assert_uint_gt(survivors, len / 2); /* letters of words, digits of numbers … */
}
END_TEST

START_TEST(any_byte_may_be_missing_or_there_twice) {
    size_t len = strlen(canonical[_i]);
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = malloc(len + 1);
    for (size_t at = 0; at < len; at++) {
        memcpy(text, canonical[_i], at);
        memcpy(text + at, canonical[_i] + at + 1, len - at - 1);
        survives(text, len - 1);
        memcpy(text, canonical[_i], at + 1);
        memcpy(text + at + 1, canonical[_i] + at, len - at);
        survives(text, len + 1);
    }
}
END_TEST

static uint64_t chance;

static size_t pick(size_t below) {
    return (size_t)(splitmix64(&chance) % below);
}

/* Pieces moved, bytes changed; the same in every run. */
START_TEST(a_spec_may_be_shaken) {
    enum { ROUNDS = 2000 };
    size_t len = strlen(canonical[_i]);
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = malloc(len);
    chance = (uint64_t)_i;
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(text, canonical[_i], len);
        for (size_t times = pick(4); times > 0; times--)
            text[pick(len)] = (char)pick(256);
        for (size_t times = pick(3); times > 0; times--) {
            size_t piece = 1 + pick(20);
            memmove(text + pick(len - piece), text + pick(len - piece), piece);
        }
        survives(text, len);
    }
}
END_TEST

/* A field of a spec that is fine otherwise. */
static const struct {
    const char *name, *json; /* NULL: it is not there */
    const char *says;
} fields[] = {
    {"version", NULL, "no version"},
    {"version", "0", "version 0"},
    {"version", "2", "upgrade it"},
    {"version", "9223372036854775807", "upgrade it"},
    {"version", "-1", "no version"},
    {"version", "1.0", "no version"},
    {"version", "\"1\"", "no version"},
    {"version", "null", "no version"},
    {"command", NULL, "its command"},
    {"command", "null", "its command"},
    {"command", "\"true\"", "its command"},
    {"command", "{}", "its command"},
    {"command", "[]", "no command"},
    {"command", "[\"\"]", "no command"},
    {"command", "[1]", "its command"},
    {"command", "[\"a\", null]", "its command"},
    {"command", "[[\"a\"]]", "its command"},
    {"command", "[\"{typo}\"]", "{{typo}}"},
    {"command", "[\"a\\u0000b\"]", "no JSON"},
    {"command", "[\"\\ud800\"]", "no JSON"},
    {"command", "[\"\xff\"]", "no JSON"},
    {"command", "[\"\xc0\xaf\"]", "no JSON"},
    {"directory", NULL, "directory"},
    {"directory", "1", "directory"},
    {"directory", "\"\"", "not absolute"},
    {"directory", "\"work\"", "not absolute"},
    {"directory", "[\"/\"]", "directory"},
    {"environment", "{\"A\": 1}", "environment"},
    {"environment", "{\"A\": null}", "environment"},
    {"environment", "{\"\": \"x\"}", "environment"},
    {"environment", "{\"SHOAL_TASK\": \"7\"}", "'SHOAL_TASK=7': shoal sets"},
    {"environment", "{\"SHOAL_PARAM_X\": \"\"}", "another name"},
    {"environment", "{\"TMPDIR\": \"/tmp\"}", "another name"},
    {"environment", "{\"A\": \"1\", \"A\": \"2\"}", "no JSON"},
    {"timeout_ms", NULL, "a number"},
    {"timeout_ms", "-1", "a number"},
    {"timeout_ms", "0.5", "a number"},
    {"timeout_ms", "31536000001", "a number"},
    {"timeout_ms", "9223372036854775807", "a number"},
    {"timeout_ms", "9223372036854775808", "no JSON"},
    {"timeout_ms", "1e400", "no JSON"},
    {"timeout_ms", "true", "a number"},
    {"grace_ms", NULL, "a number"},
    {"grace_ms", "-1", "a number"},
    {"grace_ms", "\"10s\"", "a number"},
    {"limits", "7", "its limits"},
    {"limits", "[]", "its limits"},
    {"limits", "{\"memory\": -1}", "its limits"},
    {"limits", "{\"memory\": 1048575}", "its limits"},
    {"limits", "{\"memory\": \"1G\"}", "its limits"},
    {"limits", "{\"millicpus\": 0.5}", "its limits"},
    {"limits", "{\"millicpus\": 4096001}", "its limits"},
    {"limits", "{\"processes\": 4194305}", "its limits"},
    {"limits", "{\"file_size\": 9223372036854775807}", "its limits"},
    {"result_max", NULL, "a number"},
    {"result_max", "-1", "a number"},
    {"result_max", "16777217", "a number"},
    {"checkpoint", "1", "its checkpoint"},
    {"checkpoint", "\"true\"", "its checkpoint"},
    {"checkpoint", "null", "its checkpoint"},
    {"warning", "1", "its warning"},
    {"warning", "\"\"", "its warning"},
    {"warning", "\"USR1\"", "its warning"},
    {"warning", "\"KILL@1s\"", "its warning"},
    {"warning", "\"USR1@soon\"", "its warning"},
    {"warning", "\"USR1@1s\"", "needs a timeout"},
    {"arguments", NULL, "arguments"},
    {"arguments", "\"lines\"", "arguments"},
    {"arguments", "\"\"", "arguments"},
    {"arguments", "0", "arguments"},
    {"columns", "\"x\"", "columns"},
    {"columns", "[1]", "columns"},
    {"columns", "{}", "columns"},
    {"sweep", NULL, "sweep"},
    {"sweep", "[]", "sweep"},
    {"sweep", "{\"mode\": \"zip\"}", "sweep"},
    {"sweep",
     "{\"mode\": \"zip\", \"repetitions\": 1, \"parameters\": "
     "[{\"name\": \"x\", \"values\": \"@/etc/passwd\"}]}",
     "sweep"},
    {"sweep",
     "{\"mode\": \"product\", \"repetitions\": 9007199254740992, \"parameters\": "
     "[{\"name\": \"x\", \"values\": \"1:2\"}]}",
     "2^53"},
};

static const struct {
    const char *name, *json;
} usual[] = {
    {"version", "1"},      {"command", "[\"true\"]"}, {"directory", "\"/\""},
    {"environment", "{}"}, {"timeout_ms", "0"},       {"grace_ms", "0"},
    {"result_max", "0"},   {"arguments", "\"none\""}, {"columns", "[]"},
    {"limits", "{}"},      {"sweep", no_sweep_json},
};

/* The usual spec with one field replaced, (NULL) left out, or added. */
static void write_with(struct shoal_buffer *text, const char *name, const char *json) {
    bool is_usual = false;
    shoal_buffer_init(text, 4 * SHOAL_SPEC_MAX);
    for (size_t i = 0; i < SHOAL_COUNT(usual); i++) {
        bool other = strcmp(name, usual[i].name) == 0;
        is_usual = is_usual || other;
        if (!other || json != NULL)
            shoal_buffer_add_format(text, "%s\"%s\": ", text->len == 0 ? "{" : ", ",
                                    usual[i].name);
        if (!other || json != NULL)
            shoal_buffer_add_text(text, other ? json : usual[i].json);
    }
    if (!is_usual)
        shoal_buffer_add_format(text, ", \"%s\": %s", name, json);
    shoal_buffer_add_char(text, '}');
}

START_TEST(a_field_of_the_wrong_kind_is_refused) {
    struct shoal_buffer text;
    write_with(&text, fields[_i].name, fields[_i].json);
    ck_assert_msg(!survives(text.data, text.len), "%s", text.data);
    ck_assert_msg(strstr(err.text, fields[_i].says) != NULL, "%s", err.text);
    shoal_buffer_finish(&text);
}
END_TEST

START_TEST(what_is_not_known_is_passed_over) {
    struct shoal_buffer text;
    write_with(&text, "columns", "[], \"later\": {\"x\": [1, 2.5, null]}");
    ck_assert_msg(survives(text.data, text.len), "%s", err.text);
    shoal_buffer_finish(&text);
}
END_TEST

static const struct {
    const char *name;
    const char *open, *item, *close; /* the item so often, with commas between */
    int most;
} lists[] = {
    {"command", "[", "\"a\"", "]", SHOAL_WORDS_MAX},
    {"columns", "[", "\"a\"", "]", SHOAL_PARAMETERS_MAX},
    {"environment", "{", NULL, "}", 1000}, /* names must differ */
};

static void add_items(struct shoal_buffer *text, int list, int n) {
    shoal_buffer_add_text(text, lists[list].open);
    for (int i = 0; i < n; i++) {
        shoal_buffer_add_text(text, i == 0 ? "" : ",");
        if (lists[list].item != NULL)
            shoal_buffer_add_text(text, lists[list].item);
        else
            shoal_buffer_add_format(text, "\"N%d\": \"\"", i);
    }
    shoal_buffer_add_text(text, lists[list].close);
}

START_TEST(lists_have_an_end) {
    for (int more = 0; more <= 1; more++) {
        struct shoal_buffer items, text;
        shoal_buffer_init(&items, SHOAL_SPEC_MAX);
        add_items(&items, _i, lists[_i].most + more);
        write_with(&text, lists[_i].name, shoal_buffer_text(&items));
        ck_assert_msg(survives(text.data, text.len) == (more == 0), "%s", err.text);
        shoal_buffer_finish(&items);
        shoal_buffer_finish(&text);
    }
}
END_TEST

static const char *const nests[] = {"[", "{\"a\":", "[{\"a\":"};

START_TEST(deep_nesting_is_refused) {
    struct shoal_buffer deep, text;
    shoal_buffer_init(&deep, SHOAL_SPEC_MAX);
    while (deep.len < SHOAL_SPEC_MAX / 2)
        shoal_buffer_add_text(&deep, nests[_i]);
    ck_assert(!survives(deep.data, deep.len));
    write_with(&text, "columns", deep.data);
    ck_assert(!survives(text.data, text.len));
    shoal_buffer_finish(&deep);
    shoal_buffer_finish(&text);
}
END_TEST

START_TEST(a_spec_has_a_largest_length) {
    struct shoal_buffer text;
    shoal_buffer_init(&text, SHOAL_SPEC_MAX + 2);
    shoal_buffer_add_text(&text, canonical[0]);
    while (text.len < SHOAL_SPEC_MAX)
        shoal_buffer_add_char(&text, ' ');
    ck_assert_msg(survives(text.data, text.len), "%s", err.text);
    shoal_buffer_add_char(&text, ' ');
    ck_assert(!survives(text.data, text.len));
    ck_assert_ptr_nonnull(strstr(err.text, "too long"));
    shoal_buffer_finish(&text);
}
END_TEST

static const struct {
    const char *bytes;
    size_t len;
} no_specs[] = {
    {"", 0},
    {"\0", 1},
    {"null", 4},
    {"1", 1},
    {"\"spec\"", 6},
    {"[]", 2},
    {"{}", 2},
    {"{}{}", 4},
    {"\xef\xbb\xbf{}", 5},
    {"\xff\xfe{\0}\0", 6},
    {"{\"version\": 1}\0", 15},
};

START_TEST(what_is_no_spec_is_refused) {
    ck_assert(!survives(no_specs[_i].bytes, no_specs[_i].len));
}
END_TEST

/* ---- checking before a submission */

static char *const no_words[] = {NULL};
static char *const empty_word[] = {(char[]){""}, NULL};
static char *const bad_bytes[] = {(char[]){"a"}, (char[]){"\xff"}, NULL};
static char *const no_equals[] = {(char[]){"NAME"}, NULL};
static char *const no_name[] = {(char[]){"=x"}, NULL};
static char *const fine[] = {(char[]){"true"}, NULL};

static const struct {
    char *const *command, *const *environment;
    const char *directory;
    const char *says[2];
} checks[] = {
    {fine, NULL, "/", {NULL}},
    {fine, no_words, "/\xc3\xa4", {NULL}},
    {no_words, NULL, "/", {"no command", "behind '--'"}},
    {empty_word, NULL, "/", {"no command", "behind '--'"}},
    {bad_bytes, NULL, "/", {"command", "no UTF-8"}},
    {fine, bad_bytes, "/", {"NAME=VALUE"}},
    {fine, bad_bytes + 1, "/", {"environment", "no UTF-8"}},
    {fine, no_equals, "/", {"'NAME'", "NAME=VALUE"}},
    {fine, no_name, "/", {"'=x'", "NAME=VALUE"}},
    {fine, NULL, "work", {"'work'", "not absolute"}},
    {fine, NULL, "", {"''", "not absolute"}},
    {fine, NULL, NULL, {"''", "not absolute"}},
    {fine, NULL, "/\xff", {"directory", "no UTF-8"}},
};

START_TEST(what_cannot_be_submitted_is_told_why) {
    struct shoal_spec wanted;
    shoal_spec_init(&wanted);
    wanted.command = (char **)checks[_i].command;
    while (wanted.command[wanted.words] != NULL)
        wanted.words++;
    wanted.environment = (char **)checks[_i].environment;
    wanted.directory = (char *)checks[_i].directory;
    ck_assert_int_eq(shoal_sweep_create(&wanted.sweep, NULL), SHOAL_OK);
    forget_error();
    enum shoal_status status = shoal_spec_check(&wanted, &err);
    ck_assert_int_eq(status, checks[_i].says[0] == NULL ? SHOAL_OK : SHOAL_INVALID);
    for (int i = 0; i < 2 && checks[_i].says[i] != NULL; i++)
        ck_assert_msg(strstr(err.text, checks[_i].says[i]) != NULL, "%s", err.text);
    shoal_sweep_destroy(wanted.sweep);
}
END_TEST

/* ---- warnings */

static const struct {
    const char *text;
    const char *printed; /* NULL: it is none */
    int64_t timeout_ms;
    const char *says;
} warnings[] = {
    {"USR1@60s", "USR1@1m", 60001, NULL},
    {"sigUsr2@1m", "USR2@1m", 60001, NULL},
    {"alrm@1m", "ALRM@1m", 60001, NULL},
    {"15@1m", "TERM@1m", 60001, NULL},
    {"9@1m", NULL, 0, "write SIGNAL@TIME"},
    {"1x@1m", NULL, 0, "write SIGNAL@TIME"},
    {"SIGHUP@1.5", "HUP@1.5s", 31536000000, NULL},
    {"TERM@1ms", "TERM@1ms", 2, NULL},
    {"USR2@1m", "USR2@1m", 0, "say --timeout"},
    {"USR2@1m", "USR2@1m", 60000, "before its timeout"},
    {"INT@0s", "INT@0s", 60000, "behind a task's start"},
    {"KILL@1s", NULL, 0, "write SIGNAL@TIME"},
    {"USR1", NULL, 0, "write SIGNAL@TIME"},
    {"@1s", NULL, 0, "write SIGNAL@TIME"},
    {"SIG@1s", NULL, 0, "write SIGNAL@TIME"},
    {"USR1x@1s", NULL, 0, "write SIGNAL@TIME"},
    {"USR1@", NULL, 0, "the time of the warning"},
    {"USR1@-1s", NULL, 0, "the time of the warning"},
    {"USR1@@1s", NULL, 0, "the time of the warning"},
};

START_TEST(warnings_have_bounds) {
    struct shoal_warning warning = {.signal = 0};
    char text[32];
    forget_error();
    enum shoal_status status = shoal_warning_parse(warnings[_i].text, &warning, &err);
    ck_assert_int_eq(status, warnings[_i].printed == NULL ? SHOAL_INVALID : SHOAL_OK);
    if (status == SHOAL_OK) {
        shoal_warning_print(&warning, text, sizeof(text));
        ck_assert_str_eq(text, warnings[_i].printed);
        status = shoal_warning_check(&warning, warnings[_i].timeout_ms, &err);
    }
    ck_assert_int_eq(status, warnings[_i].says == NULL ? SHOAL_OK : SHOAL_INVALID);
    if (warnings[_i].says != NULL)
        ck_assert_msg(strstr(err.text, warnings[_i].says) != NULL, "%s", err.text);
}
END_TEST

static void add_words(Suite *suite) {
    TCase *expansion = tcase_create("words");
    tcase_add_loop_test(expansion, bare_names_in_braces_are_replaced_and_nothing_else, 0,
                        (int)SHOAL_COUNT(words));
    tcase_add_loop_test(expansion, empty_braces_are_the_line, 0,
                        (int)SHOAL_COUNT(line_words));
    tcase_add_loop_test(expansion, names_are_those_of_the_fields, 0,
                        (int)SHOAL_COUNT(field_words));
    tcase_add_loop_test(expansion, an_unknown_name_is_an_error_that_suggests_more_braces,
                        0, (int)SHOAL_COUNT(unknown));
    tcase_add_test(expansion, an_endless_unknown_name_leaves_room_for_the_advice);
    tcase_add_loop_test(expansion, seeds_are_known, 0, (int)SHOAL_COUNT(seeds));
    tcase_add_test(expansion, seeds_are_a_stream_of_splitmix64_by_index);
    tcase_add_test(expansion, seed31_is_within_31_bits_and_uses_them);
    tcase_add_test(expansion, fields_are_written_as_they_read_shortest);
    tcase_add_loop_test(expansion, arguments_that_are_none_are_garbage, 0,
                        (int)SHOAL_COUNT(bad_arguments));
    suite_add_tcase(suite, expansion);
}

static void add_round_trips(Suite *suite) {
    TCase *round_trips = tcase_create("round trips");
    tcase_add_loop_test(round_trips, what_is_read_is_written_again, 0,
                        (int)SHOAL_COUNT(canonical));
    tcase_add_test(round_trips, what_is_read_is_what_the_json_says);
    tcase_add_test(round_trips, equal_specs_give_equal_text);
    tcase_add_test(round_trips, a_spec_that_is_too_long_is_not_written);
    tcase_add_loop_test(round_trips, warnings_have_bounds, 0, (int)SHOAL_COUNT(warnings));
    tcase_add_loop_test(round_trips, what_cannot_be_submitted_is_told_why, 0,
                        (int)SHOAL_COUNT(checks));
    suite_add_tcase(suite, round_trips);
}

static void add_strangers(Suite *suite) {
    TCase *strangers = tcase_create("strangers");
    int n = (int)SHOAL_COUNT(canonical);
    tcase_set_timeout(strangers, 60);
    tcase_add_loop_test(strangers, a_part_of_a_spec_is_none, 0, n);
    tcase_add_loop_test(strangers, any_byte_may_be_changed, 0, n);
    tcase_add_loop_test(strangers, any_byte_may_be_missing_or_there_twice, 0, n);
    tcase_add_loop_test(strangers, a_spec_may_be_shaken, 0, n);
    tcase_add_loop_test(strangers, a_field_of_the_wrong_kind_is_refused, 0,
                        (int)SHOAL_COUNT(fields));
    tcase_add_test(strangers, what_is_not_known_is_passed_over);
    tcase_add_loop_test(strangers, lists_have_an_end, 0, (int)SHOAL_COUNT(lists));
    tcase_add_loop_test(strangers, deep_nesting_is_refused, 0, (int)SHOAL_COUNT(nests));
    tcase_add_test(strangers, a_spec_has_a_largest_length);
    tcase_add_loop_test(strangers, what_is_no_spec_is_refused, 0,
                        (int)SHOAL_COUNT(no_specs));
    suite_add_tcase(suite, strangers);
}

int main(void) {
    Suite *suite = suite_create("spec");
    add_words(suite);
    add_round_trips(suite);
    add_strangers(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
