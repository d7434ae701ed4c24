#include "client/group.h"
#include "common/cleanup.h"

#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct shoal_row row;
static char *output;

static void begin(void) {
    shoal_row_init(&row);
}

static void finish(void) {
    shoal_row_finish(&row);
    free(output);
    output = NULL;
}

static struct shoal_groups *make(const char *names) {
    struct shoal_groups *groups;
    ck_assert_int_eq(shoal_groups_create(names, &groups, NULL), SHOAL_OK);
    return groups;
}

/* Makes the row "name=value name=value | name=value" with the program's cells behind the
 * bar;
 * "!" in front: it failed. */
static void make_row(const char *text) {
    char copy[512];
    shoal_row_clear(&row);
    row.ok = *text != '!';
    snprintf(copy, sizeof(copy), "%s", text + !row.ok);
    row.own = SIZE_MAX;
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        if (value == NULL) {
            row.own = row.n;
            continue;
        }
        *value++ = '\0';
        if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
            ck_assert_int_eq(shoal_row_add(&row, word, strlen(word), SHOAL_CELL_JSON,
                                           value, strlen(value), NULL),
                             SHOAL_OK);
        else
            ck_assert_int_eq(shoal_row_add_text(&row, word, value, NULL), SHOAL_OK);
    }
    if (row.own == SIZE_MAX)
        row.own = row.n;
}

static void add(struct shoal_groups *groups, const char *text) {
    make_row(text);
    ck_assert_int_eq(shoal_groups_add(groups, &row, NULL), SHOAL_OK);
}

static const char *print(struct shoal_groups *groups, enum shoal_table_format format) {
    size_t len;
    free(output);
    FILE *out = open_memstream(&output, &len);
    struct shoal_table_options options = {.format = format, .out = out};
    struct shoal_error err = {0};
    enum shoal_status status = shoal_groups_print(groups, &options, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    fclose(out);
    return output;
}

static const struct {
    int64_t df;
    double t; /* from tables of the t distribution with 10 digits and more */
} quantiles[] = {
    {1, 12.7062047362},   {2, 4.3026527297},  {3, 3.1824463053},   {4, 2.7764451052},
    {5, 2.5705818356},    {9, 2.2621571628},  {10, 2.2281388520},  {29, 2.0452296421},
    {30, 2.0422724563},   {60, 2.0002978220}, {100, 1.9839715185}, {120, 1.9799304051},
    {1000, 1.9623390808},
};

START_TEST(quantiles_of_t_are_those_of_the_tables) {
    ck_assert_double_eq_tol(shoal_t_quantile(quantiles[_i].df), quantiles[_i].t, 1e-9);
}
END_TEST

/* Where the expansion takes over, the quantile goes on falling as it did. */
START_TEST(quantiles_of_t_have_no_step) {
    double before = shoal_t_quantile(90), fall_before = 1;
    for (int64_t df = 91; df < 120; df++) {
        double t = shoal_t_quantile(df), fall = before - t;
        ck_assert(fall > 0 && fall < fall_before);
        before = t;
        fall_before = fall;
    }
    ck_assert_double_eq_tol(shoal_t_quantile(INT64_C(1) << 53), 1.959963984540, 1e-11);
}
END_TEST

START_TEST(mean_and_spread_are_those_by_hand) {
    /* 2, 4, 4, 4, 5, 5, 7, 9: mean 5, squares 32, sd sqrt(32/7), t(7) = 2.3646242516 */
    static const char *const values[] = {"2", "4", "4", "4", "5", "5", "7", "9"};
    char text[32], wanted[200];
    struct shoal_groups *groups = make("a");
    for (size_t i = 0; i < SHOAL_COUNT(values); i++) {
        snprintf(text, sizeof(text), "a=1 | x=%s", values[i]);
        add(groups, text);
    }
    add(groups, "!a=1 | x=1000");
    double sd = sqrt(32.0 / 7);
    snprintf(wanted, sizeof(wanted),
             "a  n  failed  x_mean     x_sd   x_ci95\n1  8       1       5  %.6g  %.6g\n",
             sd, 2.3646242516 * sd / sqrt(8));
    ck_assert_str_eq(print(groups, SHOAL_TABLE_TEXT), wanted);
    shoal_groups_destroy(groups);
}
END_TEST

START_TEST(large_numbers_do_not_cancel) {
    struct shoal_groups *groups = make("a");
    add(groups, "a=1 | x=1000000000000001");
    add(groups, "a=1 | x=1000000000000002");
    add(groups, "a=1 | x=1000000000000003");
    print(groups, SHOAL_TABLE_CSV);
    ck_assert_ptr_nonnull(strstr(output, "\n1,3,0,1000000000000002,1,2.48413"));
    shoal_groups_destroy(groups);
}
END_TEST

static const struct {
    const char *names;
    const char *rows[8];
    const char *csv;
} cases[] = {
    /* by number, not by first appearance */
    {"b",
     {"b=10 | x=1", "b=9 | x=2", "b=0.5 | x=3", "b=-1e3 | x=4"},
     "b,n,failed,x_mean,x_sd,x_ci95\n-1e3,1,0,4,,\n0.5,1,0,3,,\n9,1,0,2,,\n10,1,0,1,,\n"},
    /* one is a text: by first appearance */
    {"b",
     {"b=10 | x=1", "b=low | x=2", "b=9 | x=3"},
     "b,n,failed,x_mean,x_sd,x_ci95\n10,1,0,1,,\nlow,1,0,2,,\n9,1,0,3,,\n"},
    /* the first name by first appearance, in it the second by number */
    {"m,b",
     {"m=z b=2", "m=a b=2", "m=a b=1", "m=z b=1", "!m=z b=1"},
     "m,b,n,failed\nz,1,1,1\nz,2,1,0\na,1,1,0\na,2,1,0\n"},
    /* texts are not summed up, nor is what rows are grouped by; true is 1 */
    {"k",
     {"a=1 | k=1 out=true s=high x=1", "a=1 | k=1 out=false s=3 x=3"},
     "k,n,failed,out_mean,out_sd,out_ci95,x_mean,x_sd,x_ci95\n"
     "1,2,0,0.5,0.7071067811865476,6.35310236808"},
    /* a column that comes later, or only in one group */
    {"a",
     {"a=1", "a=2 | x=1", "a=1 | y=5"},
     "a,n,failed,x_mean,x_sd,x_ci95,y_mean,y_sd,y_ci95\n1,2,0,,,,5,,\n2,1,0,1,,,,,\n"},
    /* names that are taken */
    {"n",
     {"n=5 failed=1 | x=1", "n=5 failed=1 | x=1"},
     "n,group.n,failed,x_mean,x_sd,x_ci95\n5,2,0,1,0,0\n"},
    {"x_mean",
     {"x_mean=5 | x=1", "x_mean=5 | x=1"},
     "x_mean,n,failed,group.x_mean,x_sd,x_ci95\n5,2,0,1,0,0\n"},
    /* failed rows lack what the program would have reported */
    {"k",
     {"!a=1", "a=1 | k=3 x=nan"},
     "k,n,failed,x_mean,x_sd,x_ci95\n3,1,0,nan,,\n,0,1,,,\n"},
};

START_TEST(groups_are_as_they_should) {
    struct shoal_groups *groups = make(cases[_i].names);
    for (size_t i = 0; i < 8 && cases[_i].rows[i] != NULL; i++)
        add(groups, cases[_i].rows[i]);
    print(groups, SHOAL_TABLE_CSV);
    ck_assert_msg(strncmp(output, cases[_i].csv, strlen(cases[_i].csv)) == 0, "%s",
                  output);
    shoal_groups_destroy(groups);
}
END_TEST

START_TEST(json_has_numbers_and_leaves_out_what_is_missing) {
    struct shoal_groups *groups = make("a");
    add(groups, "a=1 | x=1.5");
    ck_assert_str_eq(print(groups, SHOAL_TABLE_JSONL),
                     "{\"a\":1,\"n\":1,\"failed\":0,\"x_mean\":1.5}\n");
    shoal_groups_destroy(groups);
}
END_TEST

START_TEST(no_rows_give_no_groups) {
    struct shoal_groups *groups = make("a");
    make_row("task=0 a=1");
    ck_assert_int_eq(shoal_groups_know(groups, &row, NULL), SHOAL_OK);
    ck_assert_str_eq(print(groups, SHOAL_TABLE_CSV), "");
    shoal_groups_destroy(groups);
}
END_TEST

START_TEST(an_unknown_name_is_told_the_known_ones) {
    struct shoal_error err = {0};
    struct shoal_table_options options = {.out = stdout};
    struct shoal_groups *groups = make("a,bta");
    add(groups, "task=1 a=1 beta=2 | x=1");
    ck_assert_int_eq(shoal_groups_print(groups, &options, &err), SHOAL_INVALID);
    ck_assert_str_eq(err.text, "there is no column 'bta' to group by; there are: "
                               "task, a, beta, x");
    for (int i = 0; i < 200; i++) {
        char text[64];
        snprintf(text, sizeof(text), "a=1 | quite_a_long_name_%d=1", i);
        add(groups, text);
    }
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_groups_check(groups, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "…"));
    shoal_groups_destroy(groups);
}
END_TEST

static const char *const bad_names[] = {
    "", ",", "a,", ",a", "a,,b", "a,a", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"};

START_TEST(bad_names_are_refused) {
    struct shoal_error err = {0};
    struct shoal_groups *groups = NULL;
    ck_assert_int_eq(shoal_groups_create(bad_names[_i], &groups, &err), SHOAL_INVALID);
    ck_assert_ptr_null(groups);
    ck_assert(err.text[0] != '\0');
}
END_TEST

START_TEST(there_is_a_most_of_groups) {
    char text[40];
    enum shoal_status status = SHOAL_OK;
    struct shoal_error err = {0};
    struct shoal_groups *groups = make("a");
    for (int i = 0; i < SHOAL_GROUPS_MAX; i++) {
        shoal_row_clear(&row);
        snprintf(text, sizeof(text), "%d", i);
        ck_assert_int_eq(shoal_row_add_text(&row, "a", text, NULL), SHOAL_OK);
        status = shoal_groups_add(groups, &row, &err);
        ck_assert_int_eq(status, SHOAL_OK);
    }
    make_row("a=more");
    ck_assert_int_eq(shoal_groups_add(groups, &row, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "1000000"));
    shoal_groups_destroy(groups);
}
END_TEST

START_TEST(a_dictionary_numbers_texts_in_order) {
    char text[16];
    size_t number;
    struct shoal_dictionary dictionary;
    shoal_dictionary_init(&dictionary, 1 << 20);
    ck_assert_uint_eq(shoal_dictionary_find(&dictionary, "x", 1), SHOAL_NOT_THERE);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 5000; i++) {
            int len = snprintf(text, sizeof(text), "%zu", i * 7);
            ck_assert_int_eq(
                shoal_dictionary_add(&dictionary, text, (size_t)len, &number, NULL),
                SHOAL_OK);
            ck_assert_uint_eq(number, i);
            ck_assert_str_eq(shoal_dictionary_text(&dictionary, i), text);
        }
    ck_assert_int_eq(shoal_dictionary_add(&dictionary, "", 0, &number, NULL), SHOAL_OK);
    ck_assert_uint_eq(shoal_dictionary_find(&dictionary, "", 0), 5000);
    shoal_dictionary_clear(&dictionary);
    ck_assert_uint_eq(shoal_dictionary_find(&dictionary, "7", 1), SHOAL_NOT_THERE);
    shoal_dictionary_finish(&dictionary);
}
END_TEST

START_TEST(a_dictionary_keeps_its_limit) {
    size_t number;
    struct shoal_error err = {0};
    struct shoal_dictionary dictionary;
    shoal_dictionary_init(&dictionary, 8);
    ck_assert_int_eq(shoal_dictionary_add(&dictionary, "abc", 3, &number, NULL),
                     SHOAL_OK);
    ck_assert_int_eq(shoal_dictionary_add(&dictionary, "abcd", 4, &number, &err),
                     SHOAL_MEMORY);
    ck_assert_int_eq(shoal_dictionary_add(&dictionary, "abc", 3, &number, NULL),
                     SHOAL_OK);
    ck_assert_int_eq(shoal_dictionary_add(&dictionary, "def", 3, &number, NULL),
                     SHOAL_OK);
    ck_assert_uint_eq(number, 1);
    shoal_dictionary_finish(&dictionary);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("group");
    TCase *all = tcase_create("group");
    tcase_add_checked_fixture(all, begin, finish);
    tcase_set_timeout(all, 60);
    tcase_add_loop_test(all, quantiles_of_t_are_those_of_the_tables, 0,
                        (int)SHOAL_COUNT(quantiles));
    tcase_add_test(all, quantiles_of_t_have_no_step);
    tcase_add_test(all, mean_and_spread_are_those_by_hand);
    tcase_add_test(all, large_numbers_do_not_cancel);
    tcase_add_loop_test(all, groups_are_as_they_should, 0, (int)SHOAL_COUNT(cases));
    tcase_add_test(all, json_has_numbers_and_leaves_out_what_is_missing);
    tcase_add_test(all, no_rows_give_no_groups);
    tcase_add_test(all, an_unknown_name_is_told_the_known_ones);
    tcase_add_loop_test(all, bad_names_are_refused, 0, (int)SHOAL_COUNT(bad_names));
    tcase_add_test(all, there_is_a_most_of_groups);
    tcase_add_test(all, a_dictionary_numbers_texts_in_order);
    tcase_add_test(all, a_dictionary_keeps_its_limit);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
