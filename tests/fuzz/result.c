/* What a program printed, taken apart, made a row, and printed as a table of each format:
 * rows survive a sorter, JSON is JSON and CSV is read by our own reader. */
#include "client/row.h"
#include "client/row_parser.h"
#include "client/table.h"

#include "common/cleanup.h"
#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdio.h>

static void make(struct fuzz_input input, struct shoal_row *row) {
    const char *const command[] = {"true", NULL};
    struct shoal_spec spec = {.command = (char **)command, .words = 1};
    SHOAL_CLEANUP(shoal_row_maker_cleanup) struct shoal_row_maker *maker = NULL;
    const struct shoal_outcome outcome = {
        .attempt = 1, .result = input.at, .result_len = fuzz_left(&input)};
    const struct shoal_row_source source = {
        .worker = "w", .worker_len = 1, .outcome = &outcome};
    assert(shoal_sweep_create(&spec.sweep, NULL) == SHOAL_OK);
    assert(shoal_sweep_add(spec.sweep, "x=1:3", NULL) == SHOAL_OK);
    assert(shoal_row_maker_create(&spec, &maker, NULL) == SHOAL_OK);
    assert(shoal_row_make(maker, &source, row, NULL) == SHOAL_OK);
    shoal_sweep_destroy(spec.sweep);
}

static void check_cells(const struct shoal_row *row) {
    for (size_t i = 0; i < row->n; i++) {
        const char *text = shoal_row_text(row, i), *name = shoal_row_name(row, i);
        assert(shoal_utf8_is_valid(text, row->cells[i].len));
        assert(strlen(text) == row->cells[i].len);
        assert(shoal_row_find(row, name) == i);
    }
}

static void sort(const struct shoal_row *row) {
    struct shoal_buffer once, twice;
    struct shoal_row again;
    shoal_row_init(&again);
    shoal_buffer_init(&once, 1 << 26);
    shoal_buffer_init(&twice, 1 << 26);
    shoal_row_write(row, &once);
    assert(shoal_row_read(&again, once.data, once.len, NULL) == SHOAL_OK);
    shoal_row_write(&again, &twice);
    assert(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    shoal_buffer_finish(&once);
    shoal_buffer_finish(&twice);
    shoal_row_finish(&again);
}

static char *print(const struct shoal_row *row, enum shoal_table_format format,
                   size_t *ret_len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);
    SHOAL_CLEANUP(shoal_table_cleanup) struct shoal_table *table = NULL;
    const struct shoal_table_options options = {.format = format, .out = out};
    assert(out != NULL && shoal_table_create(&options, &table, NULL) == SHOAL_OK);
    assert(shoal_table_add(table, row, NULL) == SHOAL_OK);
    assert(shoal_table_end(table, NULL) == SHOAL_OK);
    fclose(out);
    assert(shoal_utf8_is_valid(text, *ret_len));
    return text;
}

/* Head and row; what our reader has no room for is left alone. */
static void read_csv(const char *text, size_t len) {
    struct shoal_row_parser *parser = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_row_parsed what = SHOAL_PARSED_HUNGRY;
    const char *argument = NULL;
    size_t argument_len = 0;
    assert(shoal_row_parser_create("it", SHOAL_ROWS_CSV, &parser, NULL) == SHOAL_OK);
    shoal_row_parser_feed(parser, text, len);
    shoal_row_parser_end(parser);
    if (shoal_row_parser_next(parser, &what, &argument, &argument_len, &err) == SHOAL_OK)
        assert(what == SHOAL_PARSED_ROW);
    else /* columns that no parameter can be called */
        assert(strstr(err.text, "line 1 ") != NULL || strstr(err.text, "65536") != NULL);
    shoal_row_parser_destroy(parser);
}

static bool has_control(const char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' && *text != '\n')
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    size_t len = 0;
    shoal_row_init(&row);
    make(input, &row);
    check_cells(&row);
    sort(&row);
    SHOAL_CLEANUP(shoal_cleanup_free) char *table = print(&row, SHOAL_TABLE_TEXT, &len);
    assert(!has_control(table));
    SHOAL_CLEANUP(shoal_cleanup_free) char *csv = print(&row, SHOAL_TABLE_CSV, &len);
    read_csv(csv, len);
    SHOAL_CLEANUP(shoal_cleanup_free) char *jsonl = print(&row, SHOAL_TABLE_JSONL, &len);
    json_t *object = json_loadb(jsonl, len, JSON_REJECT_DUPLICATES, NULL);
    if (object == NULL) /* its numbers and depths are not those of jansson */
        object = json_loadb(jsonl, len, JSON_DECODE_INT_AS_REAL, NULL);
    json_decref(object);
    return 0;
}
