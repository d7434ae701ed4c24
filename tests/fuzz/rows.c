/* Rows of a file or of stdin. The first byte is the format, c, t, j or l; where the rest
 * is cut makes no difference, and what is accepted can be a task's argument. */
#include "client/row_parser.h"

#include "common/cleanup.h"
#include "common/spec.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

static enum shoal_rows_format format_of(unsigned letter) {
    return letter == 'c'   ? SHOAL_ROWS_CSV
           : letter == 't' ? SHOAL_ROWS_TSV
           : letter == 'j' ? SHOAL_ROWS_JSONL
                           : SHOAL_ROWS_LINES;
}

/* All rows, a line each, and how it ended. */
struct reading {
    enum shoal_status status;
    struct shoal_error err;
    struct shoal_buffer rows;
};

static void check_row(const struct shoal_row_parser *parser, bool is_line,
                      const char *argument, size_t len) {
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {.n = 0};
    struct shoal_spec spec = {.arguments = is_line ? SHOAL_ARGUMENTS_LINE
                                                   : SHOAL_ARGUMENTS_FIELDS};
    assert(shoal_sweep_create(&spec.sweep, NULL) == SHOAL_OK);
    assert(shoal_parameters_make(&spec, 0, argument, len, &parameters, NULL) == SHOAL_OK);
    const char *const *columns = shoal_row_parser_columns(parser);
    assert((columns == NULL) == is_line);
    if (is_line)
        assert(parameters.n == 1 && strlen(parameters.values[0]) == len);
    shoal_sweep_destroy(spec.sweep);
}

/* In pieces of `step` bytes. */
static void read_rows(struct fuzz_input input, enum shoal_rows_format format, size_t step,
                      struct reading *reading) {
    struct shoal_row_parser *parser = NULL;
    enum shoal_row_parsed what = SHOAL_PARSED_HUNGRY;
    shoal_buffer_init(&reading->rows, 1 << 26);
    assert(shoal_row_parser_create("it", format, &parser, NULL) == SHOAL_OK);
    while (what != SHOAL_PARSED_END) {
        const char *argument = NULL;
        size_t len = 0;
        reading->status =
            shoal_row_parser_next(parser, &what, &argument, &len, &reading->err);
        if (reading->status != SHOAL_OK)
            break;
        if (what == SHOAL_PARSED_ROW) {
            check_row(parser, format == SHOAL_ROWS_LINES, argument, len);
            shoal_buffer_add(&reading->rows, argument, len);
            shoal_buffer_add_char(&reading->rows, '\n');
        } else if (what == SHOAL_PARSED_HUNGRY && fuzz_left(&input) == 0) {
            shoal_row_parser_end(parser);
        } else if (what == SHOAL_PARSED_HUNGRY) {
            size_t some = fuzz_left(&input) < step ? fuzz_left(&input) : step;
            shoal_row_parser_feed(parser, input.at, some);
            input.at += some;
        }
    }
    shoal_row_parser_destroy(parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    enum shoal_rows_format format = format_of(fuzz_byte(&input));
    struct reading whole = {.status = SHOAL_OK}, cut = {.status = SHOAL_OK};
    read_rows(input, format, size + 1, &whole);
    read_rows(input, format, size % 3 + 1, &cut);
    assert(whole.status == SHOAL_OK || whole.status == SHOAL_INVALID);
    assert(whole.status == cut.status);
    assert(strcmp(whole.err.text, cut.err.text) == 0);
    assert(whole.rows.len == cut.rows.len);
    assert(strcmp(shoal_buffer_text(&whole.rows), shoal_buffer_text(&cut.rows)) == 0);
    shoal_buffer_finish(&whole.rows);
    shoal_buffer_finish(&cut.rows);
    return 0;
}
