#include "common/option.h"

#include "common/cleanup.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool json, quiet, hidden;
    bool slots_given, redis_given;
    const char *redis, *queue, *file;
    int64_t slots, retries, size, timeout, offset;
    int format, level;
    struct shoal_option_list parameters;
} config;

static const char *const formats[] = {"table", "csv", "jsonl", NULL};

static const struct shoal_option run_options[] = {
    {.name = "param",
     .letter = 'p',
     .type = SHOAL_OPTION_LIST,
     .value = &config.parameters,
     .argument = "NAME=VALUES",
     .help = "a parameter and its values; the product of all is run"},
    {.name = "retries",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.retries,
     .least = "0",
     .most = "100",
     .help = "how often a failed task is tried again"},
    {.name = "timeout",
     .letter = 't',
     .type = SHOAL_OPTION_DURATION,
     .value = &config.timeout,
     .fallback = "8s",
     .least = "1s",
     .most = "1h",
     .environment = "SHOAL_TEST_TIMEOUT",
     .help = "how long a task may take"},
    {.name = "format",
     .type = SHOAL_OPTION_CHOICE,
     .value = &config.format,
     .choices = formats,
     .fallback = "csv",
     .help = "how to print"},
    {.name = "max-size",
     .type = SHOAL_OPTION_SIZE,
     .value = &config.size,
     .most = "1G",
     .help = "how much",
     .section = "Limits"},
    {.name = "level",
     .type = SHOAL_OPTION_CHOICE,
     .value = &config.level,
     .argument = "LEVEL",
     .choices = formats,
     .help = "how much",
     .section = "Limits"},
    {.name = "max-offset",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.offset,
     .help = "how far",
     .section = "Limits"},
    {0},
};

static const struct shoal_option common_options[] = {
    {.name = "redis",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.redis,
     .given = &config.redis_given,
     .environment = "SHOAL_TEST_REDIS",
     .argument = "URL",
     .help = "where Redis is"},
    {.name = "queue",
     .letter = 'q',
     .type = SHOAL_OPTION_NAME,
     .value = &config.queue,
     .fallback = "default",
     .help = "the queue's name"},
    {.name = "slots",
     .letter = 'n',
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.slots,
     .given = &config.slots_given,
     .fallback = "2",
     .least = "1",
     .help = "how many tasks at a time"},
    {.name = "json",
     .letter = 'j',
     .type = SHOAL_OPTION_FLAG,
     .value = &config.json,
     .environment = "SHOAL_TEST_JSON",
     .help = "print JSON"},
    {.name = "quiet",
     .letter = 'Q',
     .type = SHOAL_OPTION_FLAG,
     .value = &config.quiet,
     .help = "say nothing"},
    {.name = "quiz", .type = SHOAL_OPTION_FLAG, .value = &config.hidden},
    {0},
};

static const struct shoal_option *const tables[] = {run_options, common_options, NULL};

enum { ARGUMENTS_MAX = 32 };

static struct command {
    char *argv[ARGUMENTS_MAX];
    int argc, rest;
    struct shoal_error err;
} command;

/* Parses the words of `line`, put apart at spaces, as the arguments of /usr/bin/shoal. */
static enum shoal_status parse_with(const char *line, bool stop_at_word) {
    static char words[512];
    snprintf(words, sizeof(words), "%s", line);
    shoal_options_finish(tables);
    command = (struct command){.argv = {"/usr/bin/shoal"}, .argc = 1};
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " "))
        command.argv[command.argc++] = word;
    return shoal_options_parse(tables, command.argc, command.argv, stop_at_word,
                               &command.rest, &command.err);
}

static void parse(const char *line) {
    enum shoal_status status = parse_with(line, false);
    ck_assert_msg(status == SHOAL_OK, "%s: %s", line, command.err.text);
}

/* The words that were no options, with spaces between them. */
static const char *rest(void) {
    static char text[512];
    text[0] = '\0';
    for (int i = command.rest; i < command.argc; i++) {
        strcat(text, i == command.rest ? "" : " ");
        strcat(text, command.argv[i]);
    }
    ck_assert_ptr_null(command.argv[command.argc]);
    return text;
}

static void forget(void) {
    shoal_options_finish(tables);
    unsetenv("SHOAL_TEST_TIMEOUT");
    unsetenv("SHOAL_TEST_REDIS");
    unsetenv("SHOAL_TEST_JSON");
}

/* ---- values */

START_TEST(fallbacks_are_parsed_like_the_rest) {
    parse("");
    ck_assert_int_eq(config.timeout, 8000);
    ck_assert_int_eq(config.slots, 2);
    ck_assert_int_eq(config.format, 1);
    ck_assert_str_eq(config.queue, "default");
    ck_assert_ptr_null(config.redis);
    ck_assert_int_eq(config.retries, 0);
    ck_assert(!config.json && !config.slots_given && !config.redis_given);
    ck_assert_uint_eq(config.parameters.n, 0);
    ck_assert_int_eq(command.rest, 1);
}
END_TEST

START_TEST(every_spelling_is_taken) {
    static const char *const lines[] = {
        "--slots=7", "--slots 7", "-n7",      "-n 7",    "--slo 7",  "--s=7",
        "-jn7",      "-jn 7",     "-Qjn7 --", "a -n7 b", "-n3 -n 7", "-n 3 --slots 7"};
    for (size_t i = 0; i < SHOAL_COUNT(lines); i++) {
        parse(lines[i]);
        ck_assert_msg(config.slots == 7 && config.slots_given, "%s", lines[i]);
    }
}
END_TEST

START_TEST(every_type_is_read) {
    parse("--json --redis unix:/x --queue q.1 --slots 3 --max-size 16M --timeout 1.5m "
          "--format jsonl -p a=1 -pb=2,3 --param=c=");
    ck_assert(config.json);
    ck_assert_str_eq(config.redis, "unix:/x");
    ck_assert_str_eq(config.queue, "q.1");
    ck_assert_int_eq(config.slots, 3);
    ck_assert_int_eq(config.size, 16 << 20);
    ck_assert_int_eq(config.timeout, 90000);
    ck_assert_int_eq(config.format, 2);
    ck_assert_uint_eq(config.parameters.n, 3);
    ck_assert_str_eq(config.parameters.items[0], "a=1");
    ck_assert_str_eq(config.parameters.items[1], "b=2,3");
    ck_assert_str_eq(config.parameters.items[2], "c=");
}
END_TEST

START_TEST(values_may_look_like_options) {
    parse("--redis --json --max-offset -5 -p -- -n 3");
    ck_assert_str_eq(config.redis, "--json");
    ck_assert_int_eq(config.offset, -5);
    ck_assert_str_eq(config.parameters.items[0], "--");
    ck_assert(!config.json);
    ck_assert_int_eq(config.slots, 3);
}
END_TEST

/* ---- words */

static const struct {
    const char *line;
    bool stop_at_word;
    const char *rest;
    bool json;
} words[] = {
    {"", false, "", false},
    {"--json", false, "", true},
    {"a", false, "a", false},
    {"a --json b -n 3 c", false, "a b c", true},
    {"a b --slots 3 -p x -j c d", false, "a b c d", true},
    {"--json -- a", false, "a", true},
    {"a -- b", false, "a b", false},
    {"a -- --json", false, "a --json", false},
    {"-- -- a", false, "-- a", false},
    {"a --", false, "a", false},
    {"--", false, "", false},
    {"- a -", false, "- a -", false},
    {"--json run --quiet x", true, "run --quiet x", true},
    {"run --json -- x", true, "run --json -- x", false},
    {"-n 3 -- run --json", true, "run --json", false},
};

START_TEST(words_are_collected_in_order) {
    enum shoal_status status = parse_with(words[_i].line, words[_i].stop_at_word);
    ck_assert_msg(status == SHOAL_OK, "%s", command.err.text);
    ck_assert_str_eq(rest(), words[_i].rest);
    ck_assert(config.json == words[_i].json);
}
END_TEST

/* ---- what is wrong is said */

#define SEE "; see 'shoal --help'"

static const struct {
    const char *line, *sentence;
} wrong[] = {
    {"--timout 3", "there is no option '--timout', perhaps '--timeout' is meant" SEE},
    {"--retires=3", "there is no option '--retires', perhaps '--retries' is meant" SEE},
    {"-slots", "there is no option '-slots', perhaps '--slots' is meant" SEE},
    {"--frobnicate", "there is no option '--frobnicate'" SEE},
    {"--quizz", "there is no option '--quizz', perhaps '--quiet' is meant" SEE},
    {"-x", "there is no option '-x'" SEE},
    {"-jx3", "there is no option '-jx3'" SEE},
    {"--slots", "--slots needs a value" SEE},
    {"-n", "--slots needs a value" SEE},
    {"-jn", "--slots needs a value" SEE},
    {"--json=yes", "--json takes no value, and has 'yes'" SEE},
    {"--max 3", "option '--max' could be any of --max-size, --max-offset" SEE},
    {"--retries 101", "--retries '101' is too large, the most is 100" SEE},
    {"--retries=-1", "--retries '-1' is too small, the least is 0" SEE},
    {"--retries 99999999999999999999",
     "--retries '99999999999999999999' is too large, the most is 100" SEE},
    {"--retries 3x", "--retries '3x' is not a whole number" SEE},
    {"--retries 1.5", "--retries '1.5' is not a whole number" SEE},
    {"--retries=", "--retries '' is not a whole number" SEE},
    {"--timeout 2h", "--timeout '2h' is too large, the most is 1h" SEE},
    {"-t 999ms", "--timeout '999ms' is too small, the least is 1s" SEE},
    {"-t soon",
     "--timeout 'soon' is not a duration such as 250ms, 1.5s, 10m, 2h, 7d or 1w" SEE},
    {"--max-size 2G", "--max-size '2G' is too large, the most is 1G" SEE},
    {"--max-size 2X",
     "--max-size '2X' is not a size in bytes such as 4096, 64k, 16M or 1G" SEE},
    {"--format xml", "--format 'xml' is not one of table, csv, jsonl" SEE},
    {"--queue a:b",
     "--queue 'a:b' is not a name: 1 to 60 letters, digits, '_', '.' or '-', "
     "not beginning with '.' or '-'" SEE},
};

START_TEST(wrong_options_are_explained) {
    ck_assert_int_eq(parse_with(wrong[_i].line, false), SHOAL_INVALID);
    ck_assert_str_eq(command.err.text, wrong[_i].sentence);
}
END_TEST

START_TEST(very_long_words_are_survived) {
    char text[3000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "--", 2);
    char *argv[] = {"shoal", text, NULL};
    int first = 0;
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_options_parse(tables, 2, argv, false, &first, &err),
                     SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, SEE));
    memcpy(text, "--slots=", 8);
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_options_parse(tables, 2, argv, false, &first, &err),
                     SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "' is not a whole number" SEE));
}
END_TEST

START_TEST(hidden_options_are_taken_only_in_full) {
    parse("--quiz");
    ck_assert(config.hidden);
    parse("--qui");
    ck_assert(config.quiet && !config.hidden);
}
END_TEST

/* ---- the environment */

START_TEST(environment_gives_the_default) {
    setenv("SHOAL_TEST_TIMEOUT", "20s", 1);
    setenv("SHOAL_TEST_REDIS", "unix:/y", 1);
    parse("");
    ck_assert_int_eq(config.timeout, 20000);
    ck_assert_str_eq(config.redis, "unix:/y");
    ck_assert(config.redis_given);
}
END_TEST

START_TEST(command_line_beats_the_environment) {
    setenv("SHOAL_TEST_TIMEOUT", "nonsense", 1);
    parse("--timeout 30s");
    ck_assert_int_eq(config.timeout, 30000);
}
END_TEST

START_TEST(empty_variable_is_no_variable) {
    setenv("SHOAL_TEST_TIMEOUT", "", 1);
    parse("");
    ck_assert_int_eq(config.timeout, 8000);
}
END_TEST

START_TEST(variable_of_a_flag_is_yes_or_no) {
    setenv("SHOAL_TEST_JSON", "1", 1);
    parse("");
    ck_assert(config.json);
    setenv("SHOAL_TEST_JSON", "no", 1);
    parse("");
    ck_assert(!config.json);
    setenv("SHOAL_TEST_JSON", "maybe", 1);
    ck_assert_int_eq(parse_with("", false), SHOAL_INVALID);
    ck_assert_str_eq(command.err.text,
                     "SHOAL_TEST_JSON 'maybe' is neither yes nor no" SEE);
}
END_TEST

START_TEST(bad_variable_is_named) {
    setenv("SHOAL_TEST_TIMEOUT", "2h", 1);
    ck_assert_int_eq(parse_with("", false), SHOAL_INVALID);
    ck_assert_str_eq(command.err.text,
                     "SHOAL_TEST_TIMEOUT '2h' is too large, the most is 1h" SEE);
}
END_TEST

/* ---- help and man page */

static void print(void (*function)(const struct shoal_option *const *, FILE *),
                  char *text, size_t room) {
    FILE *file = fmemopen(text, room, "w");
    ck_assert_ptr_nonnull(file);
    function(tables, file);
    fclose(file);
}

START_TEST(help_shows_every_row) {
    char text[4096];
    print(shoal_options_help, text, sizeof(text));
    ck_assert_str_eq(
        text,
        "Options:\n"
        "  -p, --param NAME=VALUES       a parameter and its values; the product of all\n"
        "                                is run (repeatable)\n"
        "      --retries N               how often a failed task is tried again (0 to\n"
        "                                100)\n"
        "  -t, --timeout TIME            how long a task may take (1s to 1h; default: "
        "8s;\n"
        "                                environment: SHOAL_TEST_TIMEOUT)\n"
        "      --format table|csv|jsonl  how to print (default: csv)\n"
        "      --redis URL               where Redis is (environment: SHOAL_TEST_REDIS)\n"
        "  -q, --queue NAME              the queue's name (default: default)\n"
        "  -n, --slots N                 how many tasks at a time (at least 1; default:\n"
        "                                2)\n"
        "  -j, --json                    print JSON (environment: SHOAL_TEST_JSON)\n"
        "  -Q, --quiet                   say nothing\n"
        "\n"
        "Limits:\n"
        "      --max-size SIZE           how much (at most 1G)\n"
        "      --level LEVEL             how much (table, csv, jsonl)\n"
        "      --max-offset N            how far\n"
        "\n"
        "Times are written 250ms, 1.5s, 10m, 2h, 7d or 1w; a bare number is seconds.\n"
        "Sizes are written 4096, 64k, 16M or 1G; a bare number is bytes.\n");
}
END_TEST

START_TEST(man_page_shows_every_row) {
    static const char *const parts[] = {
        ".TP\n\\fB\\-p\\fR, \\fB\\-\\-param\\fI NAME=VALUES\\fR\nA parameter and",
        ".TP\n\\fB\\-\\-retries\\fI N\\fR\nHow often a failed task is",
        " is tried again (0 to 100).\n",
        ".TP\n\\fB\\-j\\fR, \\fB\\-\\-json\\fI\\fR\nPrint JSON",
        "The queue\\(aqs name (default: default).\n",
        ".PP\n.B Limits\n.TP\n\\fB\\-\\-max\\-size\\fI SIZE\\fR\n",
    };
    char text[4096];
    print(shoal_options_man, text, sizeof(text));
    for (size_t i = 0; i < SHOAL_COUNT(parts); i++)
        ck_assert_msg(strstr(text, parts[i]) != NULL, "%s in %s", parts[i], text);
    ck_assert_ptr_null(strstr(text, "quiz"));
}
END_TEST

/* ---- quantities */

static const struct {
    const char *text;
    int64_t ms; /* -1: no duration */
} durations[] = {
    {"0", 0},
    {"5", 5000},
    {"1.5", 1500},
    {"250ms", 250},
    {"1.5s", 1500},
    {"0.001s", 1},
    {"10m", 600000},
    {"2h", 7200000},
    {"7d", 604800000},
    {"1w", 604800000},
    {"0.5w", 302400000},
    {"1.50000000000s", 1500},
    {"0.000025h", 90},
    {"106751991167d", INT64_C(9223372036828800000)},
    {"9223372036854775807ms", INT64_MAX},
    {"9223372036854775808ms", -1},
    {"99999999999999999999s", -1},
    {"106751991168d", -1},
    {"0.0001s", -1},
    {"0.5ms", -1},
    {"0.0000001h", -1},
    {"", -1},
    {"s", -1},
    {".5s", -1},
    {"1.s", -1},
    {"1..5s", -1},
    {"-1s", -1},
    {"+1s", -1},
    {" 1s", -1},
    {"1 s", -1},
    {"1s ", -1},
    {"1S", -1},
    {"1e3", -1},
    {"0x10", -1},
    {"inf", -1},
    {"1,5s", -1},
    {"1m30s", -1},
};

START_TEST(durations_are_exact) {
    int64_t ms = -1;
    struct shoal_error err = {0};
    enum shoal_status status = shoal_duration_parse(durations[_i].text, "it", &ms, &err);
    ck_assert_msg(ms == durations[_i].ms, "'%s' is %" PRId64, durations[_i].text, ms);
    ck_assert_int_eq(status, durations[_i].ms < 0 ? SHOAL_INVALID : SHOAL_OK);
}
END_TEST

static const struct {
    const char *text;
    int64_t bytes; /* -1: no size */
} sizes[] = {
    {"0", 0},
    {"4096", 4096},
    {"64k", 65536},
    {"64K", 65536},
    {"1.5M", 3 << 19},
    {"1G", 1 << 30},
    {"2T", INT64_C(1) << 41},
    {"8388607T", INT64_C(8388607) << 40},
    {"8388608T", -1},
    {"1.5", -1},
    {"0.3k", -1},
    {"1m", -1}, /* a minute of what? */
    {"1kB", -1},
    {"-1", -1},
    {"k", -1},
};

START_TEST(sizes_are_exact) {
    int64_t bytes = -1;
    struct shoal_error err = {0};
    enum shoal_status status = shoal_size_parse(sizes[_i].text, "it", &bytes, &err);
    ck_assert_msg(bytes == sizes[_i].bytes, "'%s' is %" PRId64, sizes[_i].text, bytes);
    ck_assert_int_eq(status, sizes[_i].bytes < 0 ? SHOAL_INVALID : SHOAL_OK);
}
END_TEST

static const struct {
    const char *text;
    int64_t value; /* -1: no number of thousandths */
} thousandths[] = {
    {"0", 0},     {"2", 2000}, {"0.5", 500},   {"0.125", 125},           {"1.2500", 1250},
    {"0.001", 1}, {".5", -1},  {"0.0001", -1}, {"9223372036854776", -1}, {"1k", -1},
    {"-1", -1},   {"", -1},
};

START_TEST(thousandths_are_exact) {
    int64_t value = -1;
    char text[24];
    enum shoal_status status =
        shoal_thousandths_parse(thousandths[_i].text, "it", &value, NULL);
    ck_assert_int_eq(value, thousandths[_i].value);
    ck_assert_int_eq(status, value < 0 ? SHOAL_INVALID : SHOAL_OK);
    if (value < 0)
        return;
    shoal_thousandths_print(value, text, sizeof(text));
    ck_assert_int_eq(shoal_thousandths_parse(text, "it", &value, NULL), SHOAL_OK);
    ck_assert_int_eq(value, thousandths[_i].value);
}
END_TEST

static const struct {
    int64_t bytes;
    const char *text;
} printed_sizes[] = {
    {0, "0"},
    {1000, "1000"},
    {1024, "1k"},
    {1536, "1536"},
    {INT64_C(1536) << 20, "1.5G"},
    {INT64_C(1) << 50, "1024T"},
    {INT64_MAX, "9223372036854775807"},
};

START_TEST(sizes_print_as_short_as_they_can) {
    char text[24];
    int64_t again = -1;
    shoal_size_print(printed_sizes[_i].bytes, text, sizeof(text));
    ck_assert_str_eq(text, printed_sizes[_i].text);
    ck_assert_int_eq(shoal_size_parse(text, "it", &again, NULL), SHOAL_OK);
    ck_assert_int_eq(again, printed_sizes[_i].bytes);
}
END_TEST

static const struct {
    const char *text;
    int64_t least, most;
    const char *sentence; /* NULL: it is fine */
    int64_t value;
} integers[] = {
    {"0", 0, 9, NULL, 0},
    {"007", 0, 9, NULL, 7},
    {"-3", -5, 5, NULL, -3},
    {"9223372036854775807", INT64_MIN, INT64_MAX, NULL, INT64_MAX},
    {"-9223372036854775808", INT64_MIN, INT64_MAX, NULL, INT64_MIN},
    {"9223372036854775808", 0, 9, "it '9223372036854775808' is too large, the most is 9",
     0},
    {"-9223372036854775809", 0, 9,
     "it '-9223372036854775809' is too small, the least is 0", 0},
    {"10", 0, 9, "it '10' is too large, the most is 9", 0},
    {"-1", 0, 9, "it '-1' is too small, the least is 0", 0},
    {"", 0, 9, "it '' is not a whole number", 0},
    {"-", 0, 9, "it '-' is not a whole number", 0},
    {"--1", 0, 9, "it '--1' is not a whole number", 0},
    {"+1", 0, 9, "it '+1' is not a whole number", 0},
    {" 1", 0, 9, "it ' 1' is not a whole number", 0},
    {"1\n", 0, 9, "it '1?' is not a whole number", 0},
    {"1e3", 0, 9, "it '1e3' is not a whole number", 0},
};

START_TEST(integers_are_bounded) {
    int64_t value = 77;
    struct shoal_error err = {0};
    enum shoal_status status = shoal_integer_parse(
        integers[_i].text, "it", integers[_i].least, integers[_i].most, &value, &err);
    bool fine = integers[_i].sentence == NULL;
    ck_assert_int_eq(status, fine ? SHOAL_OK : SHOAL_INVALID);
    ck_assert_int_eq(value, fine ? integers[_i].value : 77);
    ck_assert_str_eq(err.text, fine ? "" : integers[_i].sentence);
}
END_TEST

static const struct {
    int64_t ms;
    const char *text;
} printed[] = {
    {0, "0s"},
    {1, "1ms"},
    {250, "250ms"},
    {1000, "1s"},
    {1500, "1.5s"},
    {1234, "1234ms"},
    {12345, "12345ms"},
    {60000, "1m"},
    {90000, "90s"},
    {600000, "10m"},
    {5400000, "90m"},
    {7200000, "2h"},
    {86400000, "1d"},
    {604800000, "7d"},
    {-1500, "-1.5s"},
    {INT64_MAX, "9223372036854775807ms"},
    {INT64_MIN, "-9223372036854775808ms"},
};

START_TEST(durations_print_as_short_as_they_can) {
    char text[24];
    shoal_duration_print(printed[_i].ms, text, sizeof(text));
    ck_assert_str_eq(text, printed[_i].text);
}
END_TEST

START_TEST(printed_durations_read_back) {
    for (int64_t ms = 0; ms < 100000000; ms += 1 + ms / 7) {
        char text[24];
        int64_t again = -1;
        shoal_duration_print(ms, text, sizeof(text));
        ck_assert_int_eq(shoal_duration_parse(text, "it", &again, NULL), SHOAL_OK);
        ck_assert_int_eq(again, ms);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("option");
    TCase *tests = tcase_create("option");
    tcase_add_checked_fixture(tests, forget, forget);
    tcase_add_test(tests, fallbacks_are_parsed_like_the_rest);
    tcase_add_test(tests, every_spelling_is_taken);
    tcase_add_test(tests, every_type_is_read);
    tcase_add_test(tests, values_may_look_like_options);
    tcase_add_loop_test(tests, words_are_collected_in_order, 0, SHOAL_COUNT(words));
    tcase_add_loop_test(tests, wrong_options_are_explained, 0, SHOAL_COUNT(wrong));
    tcase_add_test(tests, very_long_words_are_survived);
    tcase_add_test(tests, hidden_options_are_taken_only_in_full);
    tcase_add_test(tests, environment_gives_the_default);
    tcase_add_test(tests, command_line_beats_the_environment);
    tcase_add_test(tests, empty_variable_is_no_variable);
    tcase_add_test(tests, variable_of_a_flag_is_yes_or_no);
    tcase_add_test(tests, bad_variable_is_named);
    tcase_add_test(tests, help_shows_every_row);
    tcase_add_test(tests, man_page_shows_every_row);
    tcase_add_loop_test(tests, durations_are_exact, 0, SHOAL_COUNT(durations));
    tcase_add_loop_test(tests, sizes_are_exact, 0, SHOAL_COUNT(sizes));
    tcase_add_loop_test(tests, thousandths_are_exact, 0, SHOAL_COUNT(thousandths));
    tcase_add_loop_test(tests, sizes_print_as_short_as_they_can, 0,
                        SHOAL_COUNT(printed_sizes));
    tcase_add_loop_test(tests, integers_are_bounded, 0, SHOAL_COUNT(integers));
    tcase_add_loop_test(tests, durations_print_as_short_as_they_can, 0,
                        SHOAL_COUNT(printed));
    tcase_add_test(tests, printed_durations_read_back);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
