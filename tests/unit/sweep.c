/* Sweeps against brute force. What a sweep must give is written down, or enumerated here
 * by other means: decimals as whole numbers at a fixed scale, points by nested loops. */
#include "common/sweep.h"

#include "common/cleanup.h"
#include "tests/support/process.h"

#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUES_MAX = 6,
    PARAMETERS_MAX = 4,
    REPETITIONS_MAX = 3,
    POINTS_MAX = 4000,
    TEXT_MAX = 512
};

static struct shoal_sweep *sweep;
static struct shoal_error err;
static struct shoal_buffer point;

static void make_sweep(void) {
    shoal_buffer_init(&point, 1 << 20);
    err = (struct shoal_error){.status = SHOAL_OK};
    ck_assert_int_eq(shoal_sweep_create(&sweep, &err), SHOAL_OK);
}

static void drop_sweep(void) {
    shoal_sweep_destroy(sweep);
    shoal_buffer_finish(&point);
}

static void add(const char *definition) {
    enum shoal_status status = shoal_sweep_add(sweep, definition, &err);
    ck_assert_msg(status == SHOAL_OK, "%.100s: %s", definition, err.text);
}

static int64_t count_points(const struct shoal_sweep *of) {
    int64_t count = 0;
    enum shoal_status status = shoal_sweep_count(of, &count, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    return count;
}

/* All values of a point and its repetition: "0.5 b #2", until the next call. */
static const char *point_at(const struct shoal_sweep *of, int64_t index) {
    shoal_buffer_clear(&point);
    for (size_t i = 0; i < shoal_sweep_parameters(of); i++) {
        shoal_sweep_value(of, i, index, &point);
        shoal_buffer_add_char(&point, ' ');
    }
    shoal_buffer_add_format(&point, "#%" PRId64, shoal_sweep_repetition(of, index));
    return shoal_buffer_text(&point);
}

static void expect_point(const struct shoal_sweep *of, int64_t index,
                         const char *expected) {
    const char *text = point_at(of, index);
    if (strcmp(text, expected) != 0) /* an assertion that holds is slow */
        ck_abort_msg("point %" PRId64 " is '%s' instead of '%s'", index, text, expected);
}

/* What a worker makes of the sweep: written as JSON, sent as text and read again. */
static struct shoal_sweep *carry(const struct shoal_sweep *original) {
    json_t *json = NULL;
    struct shoal_sweep *copy = NULL;
    ck_assert_int_eq(shoal_sweep_write(original, &json, &err), SHOAL_OK);
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    enum shoal_status status = shoal_sweep_read(json, &copy, &err);
    ck_assert_msg(status == SHOAL_OK, "%s: %s", text, err.text);
    json_decref(json);
    return copy;
}

/* ---- what is written down */

static const struct {
    const char *values;
    const char *points; /* with a space behind each */
} written[] = {
    {"a,b,c", "a b c "},
    {"a", "a "},
    {"7", "7 "},
    {"0.10", "0.10 "},
    {"b=c,d", "b=c d "},
    {"http://host:80", "http://host:80 "},
    {"\xc3\xa4,\xe2\x82\xac", "\xc3\xa4 \xe2\x82\xac "},
    {"1:10", "1 2 3 4 5 6 7 8 9 10 "},
    {"3:3", "3 "},
    {"5:5:-1", "5 "},
    {"-2:2", "-2 -1 0 1 2 "},
    {"10:1:-3", "10 7 4 1 "},
    {"1:2:0.3", "1 1.3 1.6 1.9 "},
    {"1:2:7", "1 "},
    {"0:0.5:0.1", "0 0.1 0.2 0.3 0.4 0.5 "},
    {"-0.2:0.2:0.1", "-0.2 -0.1 0 0.1 0.2 "},
    {"1.50:2.00:0.25", "1.5 1.75 2 "},
    {"1e-3:3e-3:1e-3", "0.001 0.002 0.003 "},
    {"1e2:3E2:1e+2", "100 200 300 "},
    {".5:1.:.5", "0.5 1 "},
    {"+1:+2", "1 2 "},
    {"1e-18:3e-18:1e-18",
     "0.000000000000000001 0.000000000000000002 0.000000000000000003 "},
    {"999999999999999998:999999999999999999", "999999999999999998 999999999999999999 "},
    {"lin:0:1:5", "0 0.25 0.5 0.75 1 "},
    {"lin:0.1:0.9:9", "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 "},
    {"lin:1:2:11", "1 1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8 1.9 2 "},
    {"lin:-7:14:4", "-7 0 7 14 "},
    {"lin:3:9:1", "3 "},
    {"lin:1e-7:3e-7:3", "1e-07 2e-07 3e-07 "},
    {"lin:-1e308:1e308:3", "-1e+308 0 1e+308 "},
    {"log:1:1000:4", "1 10 100 1000 "},
    {"log:8:1:4", "8 4 2 1 "},
    {"log:0.001:1000:7", "0.001 0.01 0.1 1 10 100 1000 "},
    {"log:1e-300:1e300:3", "1e-300 1 1e+300 "},
    {"log:5:6:1", "5 "},
};

START_TEST(values_are_as_written_down) {
    struct shoal_buffer points;
    char definition[100];
    snprintf(definition, sizeof(definition), "x=%s", written[_i].values);
    add(definition);
    shoal_buffer_init(&points, 1 << 16);
    for (int64_t i = 0, n = count_points(sweep); i < n; i++) {
        shoal_sweep_value(sweep, 0, i, &points);
        shoal_buffer_add_char(&points, ' ');
    }
    ck_assert_str_eq(shoal_buffer_text(&points), written[_i].points);
    shoal_buffer_finish(&points);
}
END_TEST

START_TEST(the_first_parameter_varies_slowest_and_the_repetition_fastest) {
    static const char *const points[] = {
        "1 a #0", "1 a #1", "1 b #0", "1 b #1", "2 a #0", "2 a #1", "2 b #0", "2 b #1",
    };
    add("x=1:2");
    add("y=a,b");
    shoal_sweep_set_repetitions(sweep, 2);
    ck_assert_int_eq(count_points(sweep), SHOAL_COUNT(points));
    for (size_t i = 0; i < SHOAL_COUNT(points); i++)
        expect_point(sweep, (int64_t)i, points[i]);
}
END_TEST

START_TEST(zipped_parameters_advance_together) {
    static const char *const points[] = {"1 a #0", "1 a #1", "2 b #0", "2 b #1"};
    add("x=1:2");
    add("y=a,b");
    shoal_sweep_set_mode(sweep, SHOAL_SWEEP_ZIP);
    shoal_sweep_set_repetitions(sweep, 2);
    ck_assert_int_eq(count_points(sweep), SHOAL_COUNT(points));
    for (size_t i = 0; i < SHOAL_COUNT(points); i++)
        expect_point(sweep, (int64_t)i, points[i]);
}
END_TEST

START_TEST(without_parameters_there_are_the_repetitions) {
    ck_assert_int_eq(count_points(sweep), 1);
    shoal_sweep_set_repetitions(sweep, 3);
    ck_assert_int_eq(count_points(sweep), 3);
    expect_point(sweep, 2, "#2");
    shoal_sweep_set_mode(sweep, SHOAL_SWEEP_ZIP);
    ck_assert_int_eq(count_points(sweep), 3);
}
END_TEST

START_TEST(no_step_adds_up_an_error) {
    struct shoal_buffer value;
    char expected[32];
    add("x=0:1000:0.001");
    ck_assert_int_eq(count_points(sweep), 1000001);
    shoal_buffer_init(&value, 100);
    for (int i = 0; i <= 1000000; i += 7) {
        shoal_buffer_clear(&value);
        shoal_sweep_value(sweep, 0, i, &value);
        int len = snprintf(expected, sizeof(expected), "%d.%03d", i / 1000, i % 1000);
        while (expected[len - 1] == '0')
            len--;
        expected[expected[len - 1] == '.' ? len - 1 : len] = '\0';
        if (strcmp(shoal_buffer_text(&value), expected) != 0)
            ck_abort_msg("%s instead of %s", shoal_buffer_text(&value), expected);
    }
    shoal_buffer_finish(&value);
}
END_TEST

/* ---- brute force: a random sweep as its text and as the lists of its values */

struct model {
    int n;
    char definitions[PARAMETERS_MAX][TEXT_MAX];
    char values[PARAMETERS_MAX][VALUES_MAX][64];
    int counts[PARAMETERS_MAX];
    int repetitions;
    char *points[POINTS_MAX];
    int total;
};

static struct model model;
static struct test_directory directory;
static uint64_t chance;

/* A whole number from `least` to `most`, the same in every run. */
static int pick(int least, int most) {
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return least + (int)((chance >> 33) % (uint64_t)(most - least + 1));
}

/* number / 10^scale in full, or with `bare` without zeros at its end. */
static void print_scaled(char *text, size_t room, int64_t number, int scale, bool bare) {
    char digits[32];
    snprintf(digits, sizeof(digits), "%0*" PRId64, scale + 1,
             number < 0 ? -number : number);
    int whole = (int)strlen(digits) - scale;
    int len = scale + whole;
    while (bare && len > whole && digits[len - 1] == '0')
        len--;
    snprintf(text, room, "%s%.*s%s%.*s", number < 0 ? "-" : "", whole, digits,
             len > whole ? "." : "", len - whole, digits + whole);
}

static void print_whole(char *text, size_t room, int64_t number) {
    snprintf(text, room, "%" PRId64, number);
}

/* Puts something behind a definition or point. */
__attribute__((format(printf, 2, 3))) static void append(char text[TEXT_MAX],
                                                         const char *format, ...) {
    size_t len = strlen(text);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(text + len, TEXT_MAX - len, format, args);
    va_end(args);
    if (len + (size_t)more >= TEXT_MAX)
        ck_abort_msg("%s is too long", text);
}

/* Each of these makes parameter p of the model with n values. */
static void make_list(int p, int n) {
    static const char *const words[] = {"a", "bb", "x:y", "0.10", "{z}", "-", "\xc3\xa4"};
    for (int i = 0; i < n; i++) {
        snprintf(model.values[p][i], sizeof(*model.values[p]), "%s%s", i == 0 ? "w" : "",
                 words[pick(0, (int)SHOAL_COUNT(words) - 1)]);
        append(model.definitions[p], "%s%s", i == 0 ? "" : ",", model.values[p][i]);
    }
}

/* FROM:TO:STEP; TO lies up to a step behind the last value. */
static void make_range(int p, int n, int scale) {
    char start[32], end[32], step[32];
    int64_t from = pick(-2000, 2000), by = pick(1, 700) * (pick(0, 1) == 0 ? 1 : -1);
    int64_t beyond = pick(0, (int)(by < 0 ? -by : by) - 1) * (by < 0 ? -1 : 1);
    print_scaled(start, sizeof(start), from, scale, pick(0, 1) == 0);
    print_scaled(end, sizeof(end), from + by * (n - 1) + beyond, scale, pick(0, 1) == 0);
    print_scaled(step, sizeof(step), by, scale, pick(0, 1) == 0);
    append(model.definitions[p], "%s:%s:%s", start, end, step);
    for (int i = 0; i < n; i++)
        print_scaled(model.values[p][i], sizeof(*model.values[p]), from + by * i, scale,
                     true);
}

static void make_integers(int p, int n) {
    make_range(p, n, 0);
}

static void make_decimals(int p, int n) {
    make_range(p, n, pick(1, 6));
}

static void make_counting(int p, int n) {
    int from = pick(-100, 100);
    append(model.definitions[p], "%d:%d", from, from + n - 1);
    for (int i = 0; i < n; i++)
        print_whole(model.values[p][i], sizeof(*model.values[p]), from + i);
}

/* Eighths, which doubles hold exactly. */
static void make_linear(int p, int n) {
    char start[32], end[32];
    int from = pick(-400, 400), by = pick(-50, 50);
    print_scaled(start, sizeof(start), from * 125, 3, true);
    print_scaled(end, sizeof(end), (from + by * (n - 1)) * 125, 3, true);
    append(model.definitions[p], "lin:%s:%s:%d", start, end, n);
    for (int i = 0; i < n; i++)
        print_scaled(model.values[p][i], sizeof(*model.values[p]), (from + by * i) * 125,
                     3, true);
}

/* Powers of two, from an eighth on. */
static void make_logarithmic(int p, int n) {
    char start[32], end[32];
    int by = pick(0, 5), from = pick(0, 4);
    bool down = pick(0, 1) == 1;
    int first = down ? from + by * (n - 1) : from,
        last = down ? from : from + by * (n - 1);
    print_scaled(start, sizeof(start), (INT64_C(1) << first) * 125, 3, true);
    print_scaled(end, sizeof(end), (INT64_C(1) << last) * 125, 3, true);
    append(model.definitions[p], "log:%s:%s:%d", start, end, n);
    for (int i = 0; i < n; i++)
        print_scaled(model.values[p][i], sizeof(*model.values[p]),
                     (INT64_C(1) << (down ? first - by * i : first + by * i)) * 125, 3,
                     true);
}

/* A line a value, with or without an end behind the last, in either way to end lines. */
static void make_file(int p, int n) {
    char path[64];
    const char *end = pick(0, 1) == 0 ? "\n" : "\r\n";
    snprintf(path, sizeof(path), "%s/values%d", directory.path, p);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < n; i++) {
        snprintf(model.values[p][i], sizeof(*model.values[p]), "line %d, of it=%d", i,
                 pick(0, 9));
        fprintf(file, "%s%s", model.values[p][i],
                i + 1 < n || pick(0, 1) == 0 ? end : "");
    }
    append(model.definitions[p], "@%s", path);
}

static void (*const makers[])(int p, int n) = {
    make_list,   make_integers,    make_decimals, make_counting,
    make_linear, make_logarithmic, make_file,
};

/* A random sweep; with `alike`, each parameter has as many values. */
static void make_model(unsigned seed, bool alike) {
    memset(&model, 0, sizeof(model));
    chance = seed;
    model.n = pick(1, PARAMETERS_MAX);
    model.repetitions = pick(1, REPETITIONS_MAX);
    int n = pick(1, VALUES_MAX);
    for (int p = 0; p < model.n; p++) {
        model.counts[p] = alike ? n : pick(1, VALUES_MAX);
        snprintf(model.definitions[p], sizeof(model.definitions[p]), "p%d=", p);
        makers[pick(0, (int)SHOAL_COUNT(makers) - 1)](p, model.counts[p]);
        add(model.definitions[p]);
    }
    shoal_sweep_set_repetitions(sweep, model.repetitions);
    shoal_sweep_set_mode(sweep, alike ? SHOAL_SWEEP_ZIP : SHOAL_SWEEP_PRODUCT);
}

static void add_point(const int at[PARAMETERS_MAX], int repetition) {
    char text[TEXT_MAX] = "";
    for (int p = 0; p < model.n; p++)
        append(text, "%s ", model.values[p][at[p]]);
    append(text, "#%d", repetition);
    ck_assert_int_lt(model.total, POINTS_MAX);
    model.points[model.total++] = strdup(text);
}

/* Parameters that are not there have one value, which is not looked at. */
static int values_of(int p) {
    return p < model.n ? model.counts[p] : 1;
}

static void enumerate_product(void) {
    for (int a = 0; a < values_of(0); a++)
        for (int b = 0; b < values_of(1); b++)
            for (int c = 0; c < values_of(2); c++)
                for (int d = 0; d < values_of(3); d++)
                    for (int r = 0; r < model.repetitions; r++)
                        add_point((int[]){a, b, c, d}, r);
}

static void enumerate_zip(void) {
    for (int i = 0; i < values_of(0); i++)
        for (int r = 0; r < model.repetitions; r++)
            add_point((int[]){i, i, i, i}, r);
}

/* Every point from the front, from the back, and here and there. */
static void expect_model(const struct shoal_sweep *of) {
    ck_assert_int_eq(count_points(of), model.total);
    for (int i = 0; i < model.total; i++)
        expect_point(of, i, model.points[i]);
    for (int i = model.total; i-- > 0;)
        expect_point(of, i, model.points[i]);
    for (int times = 0; times < 1000; times++) {
        int i = pick(0, model.total - 1);
        expect_point(of, i, model.points[i]);
    }
}

/* Also once it has been carried to a worker, which has no file of values. */
static void expect_model_anywhere(void) {
    expect_model(sweep);
    test_directory_destroy(&directory);
    SHOAL_CLEANUP(shoal_sweep_cleanup) struct shoal_sweep *copy = carry(sweep);
    ck_assert_uint_eq(shoal_sweep_parameters(copy), (size_t)model.n);
    expect_model(copy);
    for (int i = 0; i < model.total; i++)
        free(model.points[i]);
}

START_TEST(products_are_nested_loops) {
    test_directory_create(&directory);
    make_model((unsigned)_i, false);
    enumerate_product();
    expect_model_anywhere();
}
END_TEST

START_TEST(zips_are_one_loop) {
    test_directory_create(&directory);
    make_model((unsigned)_i, true);
    enumerate_zip();
    expect_model_anywhere();
}
END_TEST

START_TEST(zips_of_unequal_lengths_are_refused) {
    int64_t count = 0;
    add("x=1:3");
    add("y=1:3");
    add("z=a,b");
    shoal_sweep_set_mode(sweep, SHOAL_SWEEP_ZIP);
    ck_assert_int_eq(shoal_sweep_count(sweep, &count, &err), SHOAL_INVALID);
    ck_assert_str_eq(err.text, "--zip needs equally many values: 'x' has 3, 'z' has 2");
}
END_TEST

/* ---- as large as can be */

#define TWO_53 INT64_C(9007199254740992)

static const struct {
    const char *definitions[3];
    int64_t repetitions;
    bool zip;
    int64_t count; /* 0: too many */
    const char *last;
} large[] = {
    {{"x=1:9007199254740992"}, 1, false, TWO_53, "9007199254740992 #0"},
    {{"x=0:9007199254740991"}, 1, false, TWO_53, "9007199254740991 #0"},
    {{"x=0:9007199254740992"}, 1, false, 0, NULL},
    {{"x=-1:1:1e-17"}, 1, false, 0, NULL},
    {{"x=0:1:1e-15"}, 9, false, INT64_C(9000000000000009), "1 #8"},
    {{"x=1:134217728", "y=1:67108864"}, 1, false, TWO_53, "134217728 67108864 #0"},
    {{"x=1:134217728", "y=0:67108864"}, 1, false, 0, NULL},
    {{"x=1:134217728", "y=1:33554432"}, 2, false, TWO_53, "134217728 33554432 #1"},
    {{"x=1:134217728", "y=1:67108864"}, 2, false, 0, NULL},
    {{"x=a"}, TWO_53, false, TWO_53, "a #9007199254740991"},
    {{"x=a,b"}, TWO_53, false, 0, NULL},
    {{"x=1:999999999999999999", "y=1:999999999999999999"}, 1, false, 0, NULL},
    {{"x=1:4294967296", "y=1:4294967296"}, 1, false, 0, NULL},
    {{"x=1:9007199254740992", "y=1:9007199254740992"},
     1,
     true,
     TWO_53,
     "9007199254740992 9007199254740992 #0"},
    {{"x=1:9007199254740993", "y=1:9007199254740993"}, 1, true, 0, NULL},
    {{"x=lin:0:1:9007199254740992"}, 1, false, TWO_53, "1 #0"},
    {{"x=log:1:2:4503599627370496", "y=a,b"}, 1, false, TWO_53, "2 b #0"},
};

static void make_large(int i) {
    for (int p = 0; p < 3 && large[i].definitions[p] != NULL; p++)
        add(large[i].definitions[p]);
    shoal_sweep_set_repetitions(sweep, large[i].repetitions);
    shoal_sweep_set_mode(sweep, large[i].zip ? SHOAL_SWEEP_ZIP : SHOAL_SWEEP_PRODUCT);
}

START_TEST(counts_are_right_up_to_2_53_and_refused_beyond) {
    int64_t count = -1;
    make_large(_i);
    enum shoal_status status = shoal_sweep_count(sweep, &count, &err);
    if (large[_i].count == 0) {
        ck_assert_int_eq(status, SHOAL_INVALID);
        ck_assert_int_eq(count, -1);
        ck_assert_ptr_nonnull(strstr(err.text, "2^53"));
        ck_assert_ptr_nonnull(strstr(err.text, "make it smaller or split it"));
        return;
    }
    ck_assert_int_eq(status, SHOAL_OK);
    ck_assert_int_eq(count, large[_i].count);
    expect_point(sweep, count - 1, large[_i].last);
}
END_TEST

START_TEST(too_many_points_are_refused_in_json_as_well) {
    json_t *json = NULL;
    struct shoal_sweep *copy = NULL;
    make_large(_i);
    ck_assert_int_eq(shoal_sweep_write(sweep, &json, &err), SHOAL_OK);
    enum shoal_status status = shoal_sweep_read(json, &copy, &err);
    json_decref(json);
    ck_assert_int_eq(status, large[_i].count == 0 ? SHOAL_GARBAGE : SHOAL_OK);
    shoal_sweep_destroy(copy);
}
END_TEST

/* ---- what makes no sense */

static const struct {
    const char *definition;
    const char *says[2]; /* what the sentence must hold */
} malformed[] = {
    {"", {"''", "NAME=VALUES"}},
    {"x", {"'x'", "NAME=VALUES"}},
    {"1:10", {"'1:10'", "NAME=VALUES"}},
    {"x=", {"'x='", "x=1:10"}},
    {"=1", {"''", "begins with a letter"}},
    {"1x=1", {"'1x'", "begins with a letter"}},
    {"a b=1", {"'a b'", "letters, digits"}},
    {"{a}=1", {"'{a}'", "letters, digits"}},
    {"a-b=1", {"'a-b'", "letters, digits"}},
    {"\xc3\xa4=1", {"'\xc3\xa4'", "letters, digits"}},
    {"a1234567890123456789012345678901234567890123456789012345678901=1",
     {"60 characters at most"}},
    {"rep=1", {"'rep'", "choose another"}},
    {"seed=1", {"'seed'", "choose another"}},
    {"seed31=1", {"'seed31'", "choose another"}},
    {"task=1", {"'task'", "choose another"}},
    {"job=1", {"'job'", "choose another"}},
    {"known=2", {"'known' is given twice", "name each once"}},
    {"x=,", {"','", "place 1"}},
    {"x=a,,b", {"'a,,b'", "place 2"}},
    {"x=a,", {"'a,'", "place 2"}},
    {"x=\xff", {"no UTF-8"}},
    {"\xff=1", {"no UTF-8"}},
    {"x=\xc0\x80", {"no UTF-8"}},
    {"x=1:", {"'1:'", "a number is missing"}},
    {"x=:1", {"':1'", "a number is missing"}},
    {"x=:", {"':'", "for example 1:10"}},
    {"x=1:2:", {"'1:2:'", "a number is missing"}},
    {"x=1:10:-1", {"negative step", "FROM:TO:STEP"}},
    {"x=5:1", {"goes down", "negative step"}},
    {"x=5:1:1", {"goes down", "negative step"}},
    {"x=1:5:0", {"a step of 0", "FROM:TO:STEP"}},
    {"x=1:5:0.0", {"a step of 0", "FROM:TO:STEP"}},
    {"x=1:2:3:4", {"more than three parts", "FROM:TO:STEP"}},
    {"x=1..2:3", {"no number", "FROM:TO:STEP"}},
    {"x=1e:3", {"no number", "FROM:TO:STEP"}},
    {"x=--1:3", {"no number", "FROM:TO:STEP"}},
    {"x=1e5e5:3", {"no number", "FROM:TO:STEP"}},
    {"x=1:1e99", {"18 digits"}},
    {"x=1:1e9999", {"18 digits"}},
    {"x=1:2:1e-19", {"18 digits"}},
    {"x=9999999999999999999:1", {"18 digits"}},
    {"x=0:1000000:1e-15", {"18 digits"}},
    {"x=lin:1:2", {"'lin:1:2'", "lin:FROM:TO:COUNT"}},
    {"x=lin:1:2:", {"lin:FROM:TO:COUNT"}},
    {"x=lin:1:2:0", {"lin:FROM:TO:COUNT"}},
    {"x=lin:1:2:-3", {"lin:FROM:TO:COUNT"}},
    {"x=lin:1:2:2.5", {"lin:FROM:TO:COUNT"}},
    {"x=lin:1:2:3:4", {"lin:FROM:TO:COUNT"}},
    {"x=lin:a:2:3", {"lin:FROM:TO:COUNT"}},
    {"x=lin:nan:2:3", {"lin:FROM:TO:COUNT"}},
    {"x=lin:1:inf:3", {"lin:FROM:TO:COUNT"}},
    {"x=lin:1:1e999:3", {"lin:FROM:TO:COUNT"}},
    {"x=lin:0x1:2:3", {"lin:FROM:TO:COUNT"}},
    {"x=lin:1: 2:3", {"lin:FROM:TO:COUNT"}},
    {"x=lin:0:1:9007199254740993", {"lin:FROM:TO:COUNT"}},
    {"x=log:1:2", {"'log:1:2'", "log:FROM:TO:COUNT"}},
    {"x=log:0:1:3", {"above 0", "logarithm"}},
    {"x=log:1:-1:3", {"above 0", "logarithm"}},
    {"x=log:1:0:3", {"above 0", "logarithm"}},
    {"x=@", {"cannot read", "No such file"}},
    {"x=@/no/such/file", {"'/no/such/file'", "No such file"}},
    {"x=@/tmp", {"'/tmp'", "directory"}},
    {"x=@/dev/null", {"'/dev/null'", "empty"}},
    {"x=@/dev/zero", {"1048576 bytes", "use --from"}},
};

static void expect_refused(const char *definition, const char *const says[2]) {
    size_t before = shoal_sweep_parameters(sweep);
    ck_assert_int_eq(shoal_sweep_add(sweep, definition, &err), SHOAL_INVALID);
    for (int i = 0; i < 2 && says[i] != NULL; i++)
        ck_assert_msg(strstr(err.text, says[i]) != NULL, "no '%s' in: %s", says[i],
                      err.text);
    ck_assert_uint_eq(shoal_sweep_parameters(sweep), before);
    expect_point(sweep, 0, "1 #0");
}

START_TEST(nonsense_is_refused_with_a_sentence_and_changes_nothing) {
    add("known=1");
    expect_refused(malformed[_i].definition, malformed[_i].says);
}
END_TEST

static const struct {
    const char *begin;
    char filler;
    const char *advice;
} endless[] = {
    {"", 'a', "write NAME=VALUES, for example x=1:10"},
    {"x=", ',', "empty value"},
    {"x=", 'a', "put it into a file"},
    {"x=1:", '1', "for example 1:10 or 0:1:0.05"},
    {"x=lin:", '1', "lin:FROM:TO:COUNT, for example lin:1:100:5"},
    {"x=@", 'a', "File name too long"},
};

START_TEST(however_long_the_nonsense_its_sentence_keeps_the_advice) {
    char long_text[80000];
    memset(long_text, endless[_i].filler, sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    memcpy(long_text, endless[_i].begin, strlen(endless[_i].begin));
    add("known=1");
    expect_refused(long_text, (const char *const[2]){endless[_i].advice});
}
END_TEST

START_TEST(a_long_name_is_refused_as_well) {
    char definition[5000];
    memset(definition, 'a', sizeof(definition));
    strcpy(definition + sizeof(definition) - 3, "=1");
    add("known=1");
    expect_refused(definition, (const char *const[2]){"60 characters at most"});
}
END_TEST

START_TEST(a_hundred_parameters_are_the_most) {
    char definition[16];
    for (int i = 0; i < SHOAL_PARAMETERS_MAX; i++) {
        snprintf(definition, sizeof(definition), "x%d=1", i);
        add(definition);
    }
    ck_assert_int_eq(shoal_sweep_add(sweep, "y=1", &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "100 parameters at most"));
    ck_assert_int_eq(count_points(sweep), 1);
}
END_TEST

static const struct {
    const char *text;
    size_t len;
    const char *says;
} files[] = {
    {"a\n\nb\n", 5, "empty value at place 2"},
    {"\n", 1, "empty value at place 1"},
    {"a\0b\n", 4, "no UTF-8"},
    {"a\n\xff\n", 4, "no UTF-8"},
    {"a\n\xed\xa0\x80\n", 6, "no UTF-8"},
};

START_TEST(a_file_of_values_must_have_text_in_each_line) {
    char path[64], definition[80];
    test_directory_create(&directory);
    snprintf(path, sizeof(path), "%s/values", directory.path);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(files[_i].text, 1, files[_i].len, file), files[_i].len);
    fclose(file);
    snprintf(definition, sizeof(definition), "x=@%s", path);
    add("known=1");
    expect_refused(definition, (const char *const[2]){path, files[_i].says});
    test_directory_destroy(&directory);
}
END_TEST

/* ---- JSON from strangers */

static const char *const garbled[] = {
    "null",
    "[]",
    "{}",
    "{\"mode\": 1, \"repetitions\": 1, \"parameters\": []}",
    "{\"mode\": \"sobol\", \"repetitions\": 1, \"parameters\": []}",
    "{\"mode\": \"\", \"repetitions\": 1, \"parameters\": []}",
    "{\"mode\": \"zip\", \"parameters\": []}",
    "{\"mode\": \"zip\", \"repetitions\": 0, \"parameters\": []}",
    "{\"mode\": \"zip\", \"repetitions\": -1, \"parameters\": []}",
    "{\"mode\": \"zip\", \"repetitions\": 1.0, \"parameters\": []}",
    "{\"mode\": \"zip\", \"repetitions\": \"1\", \"parameters\": []}",
    "{\"mode\": \"zip\", \"repetitions\": 9007199254740993, \"parameters\": []}",
    "{\"mode\": \"zip\", \"repetitions\": 1}",
    "{\"mode\": \"zip\", \"repetitions\": 1, \"parameters\": {}}",
    "{\"mode\": \"zip\", \"repetitions\": 1, \"parameters\": [1]}",
    "{\"mode\": \"zip\", \"repetitions\": 1, \"parameters\": [[]]}",
    "{\"mode\": \"zip\", \"repetitions\": 1, \"parameters\": [{}]}",
};

/* In one parameter of a sweep that is fine otherwise. */
static const char *const garbled_parameters[] = {
    "\"name\": \"x\"",
    "\"values\": \"1:3\"",
    "\"name\": 1, \"values\": \"1:3\"",
    "\"name\": \"\", \"values\": \"1:3\"",
    "\"name\": \"a b\", \"values\": \"1:3\"",
    "\"name\": \"seed\", \"values\": \"1:3\"",
    "\"name\": \"x\", \"values\": 1",
    "\"name\": \"x\", \"values\": null",
    "\"name\": \"x\", \"values\": {}",
    "\"name\": \"x\", \"values\": []",
    "\"name\": \"x\", \"values\": [1]",
    "\"name\": \"x\", \"values\": [[\"a\"]]",
    "\"name\": \"x\", \"values\": [\"a\", \"\"]",
    "\"name\": \"x\", \"values\": \"\"",
    "\"name\": \"x\", \"values\": \"1:\"",
    "\"name\": \"x\", \"values\": \"5:1\"",
    "\"name\": \"x\", \"values\": \"lin:1:2\"",
    "\"name\": \"x\", \"values\": \"@/etc/hostname\"",
    "\"name\": \"x\", \"values\": \"a\"}, {\"name\": \"x\", \"values\": \"b\"",
    "\"name\": \"x\", \"values\": \"a\"}, {\"name\": \"y\", \"values\": \"b,c\"",
};

static void expect_garbage(const char *text) {
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    ck_assert_msg(json != NULL, "the test is wrong: %s", text);
    struct shoal_sweep *untouched = NULL;
    ck_assert_msg(shoal_sweep_read(json, &untouched, &err) == SHOAL_GARBAGE, "%s", text);
    ck_assert_ptr_null(untouched);
    ck_assert_str_ne(err.text, "");
    json_decref(json);
}

START_TEST(garbled_json_is_refused) {
    expect_garbage(garbled[_i]);
}
END_TEST

START_TEST(garbled_parameters_are_refused) {
    char text[300];
    snprintf(text, sizeof(text),
             "{\"mode\": \"zip\", \"repetitions\": 1, \"parameters\": [{%s}]}",
             garbled_parameters[_i]);
    expect_garbage(text);
}
END_TEST

START_TEST(a_sweep_that_is_none_is_garbage) {
    struct shoal_sweep *untouched = NULL;
    ck_assert_int_eq(shoal_sweep_read(NULL, &untouched, &err), SHOAL_GARBAGE);
    ck_assert_ptr_null(untouched);
}
END_TEST

static void add_good(Suite *suite) {
    TCase *points = tcase_create("points");
    tcase_set_timeout(points, 30);
    tcase_add_checked_fixture(points, make_sweep, drop_sweep);
    tcase_add_loop_test(points, values_are_as_written_down, 0, (int)SHOAL_COUNT(written));
    tcase_add_test(points, the_first_parameter_varies_slowest_and_the_repetition_fastest);
    tcase_add_test(points, zipped_parameters_advance_together);
    tcase_add_test(points, without_parameters_there_are_the_repetitions);
    tcase_add_test(points, no_step_adds_up_an_error);
    tcase_add_loop_test(points, products_are_nested_loops, 0, 100);
    tcase_add_loop_test(points, zips_are_one_loop, 0, 100);
    tcase_add_test(points, zips_of_unequal_lengths_are_refused);
    tcase_add_loop_test(points, counts_are_right_up_to_2_53_and_refused_beyond, 0,
                        (int)SHOAL_COUNT(large));
    tcase_add_loop_test(points, too_many_points_are_refused_in_json_as_well, 0,
                        (int)SHOAL_COUNT(large));
    suite_add_tcase(suite, points);
}

static void add_bad(Suite *suite) {
    TCase *nonsense = tcase_create("nonsense");
    tcase_add_checked_fixture(nonsense, make_sweep, drop_sweep);
    tcase_add_loop_test(nonsense, nonsense_is_refused_with_a_sentence_and_changes_nothing,
                        0, (int)SHOAL_COUNT(malformed));
    tcase_add_loop_test(nonsense, however_long_the_nonsense_its_sentence_keeps_the_advice,
                        0, (int)SHOAL_COUNT(endless));
    tcase_add_test(nonsense, a_long_name_is_refused_as_well);
    tcase_add_test(nonsense, a_hundred_parameters_are_the_most);
    tcase_add_loop_test(nonsense, a_file_of_values_must_have_text_in_each_line, 0,
                        (int)SHOAL_COUNT(files));
    tcase_add_loop_test(nonsense, garbled_json_is_refused, 0, (int)SHOAL_COUNT(garbled));
    tcase_add_loop_test(nonsense, garbled_parameters_are_refused, 0,
                        (int)SHOAL_COUNT(garbled_parameters));
    tcase_add_test(nonsense, a_sweep_that_is_none_is_garbage);
    suite_add_tcase(suite, nonsense);
}

int main(void) {
    Suite *suite = suite_create("sweep");
    add_good(suite);
    add_bad(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
