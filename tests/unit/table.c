#include "client/table.h"
#include "common/cleanup.h"
#include "common/clock.h"

#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t now_ms;

static int64_t test_now_ms(void) {
    return now_ms;
}

static char *output;
static size_t output_len;
static FILE *out;
static struct shoal_row row;
static struct shoal_columns columns;

static void begin(void) {
    shoal_now_ms = test_now_ms;
    now_ms = 1000000;
    out = open_memstream(&output, &output_len);
    shoal_row_init(&row);
    shoal_columns_init(&columns);
}

static void finish(void) {
    fclose(out);
    free(output);
    shoal_row_finish(&row);
    shoal_columns_finish(&columns);
}

static struct shoal_table *make(enum shoal_table_format format, FILE *file,
                                const struct shoal_columns *given) {
    struct shoal_table_options options = {
        .format = format, .out = file, .columns = given};
    struct shoal_table *table;
    ck_assert_int_eq(shoal_table_create(&options, &table, NULL), SHOAL_OK);
    return table;
}

static void set(const char *name, const char *text) {
    ck_assert_int_eq(shoal_row_add_text(&row, name, text, NULL), SHOAL_OK);
}

/* Task, status, and what the program said. */
static void make_row(const char *task, bool ok, const char *name, const char *text) {
    shoal_row_clear(&row);
    set("task", task);
    set("status", ok ? "ok" : "failed");
    row.ok = ok;
    row.own = row.n;
    if (name != NULL)
        set(name, text);
}

static void add(struct shoal_table *table) {
    ck_assert_int_eq(shoal_table_add(table, &row, NULL), SHOAL_OK);
}

static void end(struct shoal_table *table) {
    ck_assert_int_eq(shoal_table_end(table, NULL), SHOAL_OK);
    shoal_table_destroy(table);
}

static int64_t tick(struct shoal_table *table) {
    int64_t wait_ms;
    ck_assert_int_eq(shoal_table_tick(table, &wait_ms, NULL), SHOAL_OK);
    return wait_ms;
}

START_TEST(table_is_aligned) {
    struct shoal_table *table = make(SHOAL_TABLE_TEXT, out, NULL);
    make_row("1", true, "x", "0.5");
    set("name", "ähnlich");
    add(table);
    make_row("100", true, "name", "b");
    add(table);
    make_row("7", false, NULL, NULL);
    add(table);
    make_row("8", true, "x", "12");
    add(table);
    end(table);
    ck_assert_str_eq(output, "task  status    x  name\n"
                             "   1  ok      0.5  ähnlich\n"
                             " 100  ok        -  b\n"
                             "   7  failed    -  -\n"
                             "   8  ok       12  -\n");
}
END_TEST

START_TEST(table_escapes_what_steers_a_terminal) {
    struct shoal_table *table = make(SHOAL_TABLE_TEXT, out, NULL);
    make_row("1", true, "a\x1b[2J", "\x1b]0;title\x07\nnext");
    add(table);
    end(table);
    ck_assert_str_eq(output, "task  status  a\\x1b[2J\n"
                             "   1  ok      \\x1b]0;title\\x07\\nnext\n");
}
END_TEST

START_TEST(table_cuts_long_texts_on_a_terminal_only) {
    char text[101] = {0};
    memset(text, 'x', 100);
    struct shoal_table_options options = {
        .format = SHOAL_TABLE_TEXT, .out = out, .terminal = _i == 1};
    struct shoal_table *table;
    ck_assert_int_eq(shoal_table_create(&options, &table, NULL), SHOAL_OK);
    make_row("1", true, "long", text);
    set("last", "y");
    add(table);
    end(table);
    ck_assert_int_eq(strstr(output, text) == NULL, options.terminal);
    strcpy(text + 39, "…  y\n");
    ck_assert_int_eq(strstr(output, text) != NULL, options.terminal);
}
END_TEST

START_TEST(table_waits_for_its_first_rows_a_moment) {
    struct shoal_table *table = make(SHOAL_TABLE_TEXT, out, NULL);
    ck_assert_int_eq(tick(table), -1);
    make_row("1", false, NULL, NULL);
    add(table);
    now_ms += 1000;
    ck_assert_int_eq(tick(table), -1); /* nothing succeeded: what are the columns? */
    ck_assert_uint_eq(output_len, 0);
    make_row("2", true, "x", "5");
    now_ms -= 900;
    add(table);
    ck_assert_int_eq(tick(table), 100);
    ck_assert_uint_eq(output_len, 0);
    now_ms += 100;
    ck_assert_int_eq(tick(table), -1);
    ck_assert_str_eq(output, "task  status  x\n"
                             "   1  failed  -\n"
                             "   2  ok      5\n");
    make_row("30000", true, "y", "a b"); /* wider, and of another column */
    add(table);
    tick(table);
    ck_assert_ptr_nonnull(strstr(output, "\n30000  ok      -  y=a b\n"));
    end(table);
}
END_TEST

START_TEST(table_of_a_hundred_rows_waits_no_more) {
    struct shoal_table *table = make(SHOAL_TABLE_TEXT, out, NULL);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(tick(table), i == 0 ? -1 : 200);
        make_row("1", true, "x", "2");
        add(table);
    }
    ck_assert_int_eq(tick(table), -1);
    ck_assert_uint_gt(output_len, 100);
    end(table);
}
END_TEST

static const struct {
    const char *text;
    const char *csv;
} fields[] = {
    {"plain", "plain"},
    {"", ""},
    {"a,b", "\"a,b\""},
    {"say \"hi\"", "\"say \"\"hi\"\"\""},
    {"two\nlines", "\"two\nlines\""},
    {"a\r", "\"a\r\""},
    {"ä;\t'", "ä;\t'"},
};

START_TEST(csv_quotes_what_needs_it) {
    char wanted[100];
    make_row("1", true, "x", fields[_i].text);
    ck_assert_int_eq(shoal_columns_add(&columns, &row, NULL), SHOAL_OK);
    struct shoal_table *table = make(SHOAL_TABLE_CSV, out, &columns);
    add(table);
    end(table);
    snprintf(wanted, sizeof(wanted), "task,status,x\n1,ok,%s\n", fields[_i].csv);
    ck_assert_str_eq(output, wanted);
}
END_TEST

START_TEST(csv_that_streams_has_the_columns_of_the_first_success) {
    struct shoal_table *table = make(SHOAL_TABLE_CSV, out, NULL);
    make_row("1", false, "odd", "5");
    add(table);
    tick(table);
    ck_assert_uint_eq(output_len, 0);
    make_row("2", true, "x", "6");
    add(table);
    tick(table);
    ck_assert_str_eq(output, "task,status,x,extra\n"
                             "1,failed,,\"{\"\"odd\"\":5}\"\n"
                             "2,ok,6,\n");
    make_row("3", true, "y", "7");
    set("z", "a\"b");
    add(table);
    make_row("4", true, "x", "8");
    add(table);
    end(table);
    ck_assert_ptr_nonnull(strstr(
        output, "\n3,ok,,\"{\"\"y\"\":7,\"\"z\"\":\"\"a\\\"\"b\"\"}\"\n4,ok,8,\n"));
}
END_TEST

START_TEST(csv_without_a_success_has_the_common_columns) {
    struct shoal_table *table = make(SHOAL_TABLE_CSV, out, NULL);
    make_row("1", false, "odd", "5");
    add(table);
    make_row("2", false, NULL, NULL);
    add(table);
    end(table);
    ck_assert_str_eq(output, "task,status,extra\n"
                             "1,failed,\"{\"\"odd\"\":5}\"\n"
                             "2,failed,\n");
}
END_TEST

START_TEST(csv_of_a_finished_job_has_all_columns) {
    static const char *const names[] = {"x", "y", "x", "z"};
    for (size_t i = 0; i < SHOAL_COUNT(names); i++) {
        make_row("1", true, names[i], "1");
        ck_assert_int_eq(shoal_columns_add(&columns, &row, NULL), SHOAL_OK);
    }
    struct shoal_table *table = make(SHOAL_TABLE_CSV, out, &columns);
    for (size_t i = 0; i < SHOAL_COUNT(names); i++) {
        make_row("1", true, names[i], "1");
        add(table);
    }
    end(table);
    ck_assert_str_eq(output,
                     "task,status,x,y,z\n1,ok,1,,\n1,ok,,1,\n1,ok,1,,\n1,ok,,,1\n");
}
END_TEST

START_TEST(columns_have_a_most_and_the_rest_is_extra) {
    char name[32];
    for (int i = 0; i < SHOAL_COLUMNS_MAX + 5; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        make_row("1", true, name, "1");
        ck_assert_int_eq(shoal_columns_add(&columns, &row, NULL), SHOAL_OK);
    }
    ck_assert(columns.more);
    ck_assert_uint_eq(columns.names.n, SHOAL_COLUMNS_MAX);
    struct shoal_table *table = make(SHOAL_TABLE_CSV, out, &columns);
    add(table);
    end(table);
    ck_assert_ptr_nonnull(strstr(output, ",extra\n"));
    ck_assert_ptr_nonnull(strstr(output, ",\"{\"\"c10004\"\":1}\"\n"));
}
END_TEST

START_TEST(no_rows_give_the_head_of_known_columns) {
    end(make(SHOAL_TABLE_CSV, out, NULL));
    ck_assert_uint_eq(output_len, 0);
    make_row("1", true, NULL, NULL);
    ck_assert_int_eq(shoal_columns_add(&columns, &row, NULL), SHOAL_OK);
    end(make(SHOAL_TABLE_CSV, out, &columns));
    end(make(SHOAL_TABLE_JSONL, out, &columns));
    end(make(SHOAL_TABLE_TEXT, out, &columns));
    ck_assert_str_eq(output, "task,status\ntask  status\n");
}
END_TEST

START_TEST(jsonl_is_json) {
    static const char array[] = "[1,{\"a\":null}]";
    struct shoal_table *table = make(SHOAL_TABLE_JSONL, out, NULL);
    make_row("1", true, "x", "1e400");
    set("text", "a\"\\\n\x1b");
    set("not_a_number", "007");
    ck_assert_int_eq(shoal_row_add_missing(&row, "none", NULL), SHOAL_OK);
    ck_assert_int_eq(
        shoal_row_add(&row, "list", 4, SHOAL_CELL_JSON, array, strlen(array), NULL),
        SHOAL_OK);
    add(table);
    shoal_row_clear(&row);
    add(table);
    end(table);
    ck_assert_str_eq(output,
                     "{\"task\":1,\"status\":\"ok\",\"x\":1e400,"
                     "\"text\":\"a\\\"\\\\\\u000a\\u001b\",\"not_a_number\":\"007\","
                     "\"list\":[1,{\"a\":null}]}\n{}\n");
}
END_TEST

START_TEST(a_full_disk_is_reported) {
    struct shoal_error err = {0};
    FILE *full = fopen("/dev/full", "we");
    ck_assert_ptr_nonnull(full);
    struct shoal_table *table = make(SHOAL_TABLE_JSONL, full, NULL);
    make_row("1", true, NULL, NULL);
    add(table);
    ck_assert_int_eq(shoal_table_end(table, &err), SHOAL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, strerror(ENOSPC)));
    ck_assert(!shoal_table_reader_left(table));
    shoal_table_destroy(table);
    fclose(full);
}
END_TEST

START_TEST(a_reader_that_leaves_is_no_error) {
    int ends[2];
    int64_t wait_ms;
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(pipe(ends), 0);
    FILE *pipe_in = fdopen(ends[1], "w");
    struct shoal_table *table = make(SHOAL_TABLE_JSONL, pipe_in, NULL);
    make_row("1", true, NULL, NULL);
    add(table);
    ck_assert_int_eq(shoal_table_tick(table, &wait_ms, NULL), SHOAL_OK);
    ck_assert(!shoal_table_reader_left(table));
    close(ends[0]);
    for (int i = 0; i < 10000; i++)
        add(table);
    ck_assert_int_eq(shoal_table_end(table, NULL), SHOAL_OK);
    ck_assert(shoal_table_reader_left(table));
    shoal_table_destroy(table);
    fclose(pipe_in);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("table");
    TCase *all = tcase_create("table");
    tcase_add_checked_fixture(all, begin, finish);
    tcase_add_test(all, table_is_aligned);
    tcase_add_test(all, table_escapes_what_steers_a_terminal);
    tcase_add_loop_test(all, table_cuts_long_texts_on_a_terminal_only, 0, 2);
    tcase_add_test(all, table_waits_for_its_first_rows_a_moment);
    tcase_add_test(all, table_of_a_hundred_rows_waits_no_more);
    tcase_add_loop_test(all, csv_quotes_what_needs_it, 0, (int)SHOAL_COUNT(fields));
    tcase_add_test(all, csv_that_streams_has_the_columns_of_the_first_success);
    tcase_add_test(all, csv_without_a_success_has_the_common_columns);
    tcase_add_test(all, csv_of_a_finished_job_has_all_columns);
    tcase_add_test(all, columns_have_a_most_and_the_rest_is_extra);
    tcase_add_test(all, no_rows_give_the_head_of_known_columns);
    tcase_add_test(all, jsonl_is_json);
    tcase_add_test(all, a_full_disk_is_reported);
    tcase_add_test(all, a_reader_that_leaves_is_no_error);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
