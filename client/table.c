#include "client/table.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_ROWS = 100, /* that the widths come from */
    FIRST_MS = 200,
    FAILED_ROWS = 1000, /* after so many without a successful one widths come from them */
    CELL_COLUMNS = 40,  /* of a terminal, for a text */
    PENDING_MAX = 16 << 20, /* bytes of rows that wait */
    LINE_MAX_BYTES = 256 << 20,
};

#define EXTRA "extra"
#define ELLIPSIS "\xe2\x80\xa6"

const char *const shoal_table_formats[] = {
    [SHOAL_TABLE_TEXT] = "table",
    [SHOAL_TABLE_CSV] = "csv",
    [SHOAL_TABLE_JSONL] = "jsonl",
    [SHOAL_TABLE_FORMAT_COUNT] = NULL,
};

/* ---- columns */

void shoal_columns_init(struct shoal_columns *columns) {
    *columns = (struct shoal_columns){0};
    shoal_dictionary_init(&columns->names, LINE_MAX_BYTES);
}

void shoal_columns_finish(struct shoal_columns *columns) {
    shoal_dictionary_finish(&columns->names);
    columns->more = false;
}

void shoal_columns_cleanup(struct shoal_columns *columns) {
    shoal_columns_finish(columns);
}

static size_t column_of(const struct shoal_columns *columns, const char *name) {
    return shoal_dictionary_find(&columns->names, name, strlen(name));
}

static enum shoal_status add_column(struct shoal_columns *columns, const char *name,
                                    struct shoal_error *err) {
    size_t number;
    if (columns->names.n < SHOAL_COLUMNS_MAX)
        return shoal_dictionary_add(&columns->names, name, strlen(name), &number, err);
    if (column_of(columns, name) == SHOAL_NOT_THERE)
        columns->more = true;
    return SHOAL_OK;
}

static enum shoal_status add_columns(struct shoal_columns *columns,
                                     const struct shoal_row *row, size_t n,
                                     struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; status == SHOAL_OK && i < n; i++)
        status = add_column(columns, shoal_row_name(row, i), err);
    return status;
}

enum shoal_status shoal_columns_add(struct shoal_columns *columns,
                                    const struct shoal_row *row,
                                    struct shoal_error *err) {
    return add_columns(columns, row, row->n, err);
}

/* ---- the table */

struct layout {
    size_t width; /* of a column, in columns of the terminal */
    size_t values;
    size_t numbers; /* all values are numbers: they stand right */
};

struct shoal_table {
    enum shoal_table_format format;
    FILE *out;
    bool terminal;
    bool given; /* the columns are not found out here */
    bool open;  /* its columns are known and its head is printed */
    bool reader_left;
    struct shoal_columns columns;
    struct layout *layouts; /* of each column */
    size_t *cells; /* where the row at hand has each column: cell + 1, or 0 for nowhere */

    struct shoal_buffer pending; /* rows that wait: the length of each and its bytes */
    size_t n_pending;
    bool ok_pending;      /* a successful one is among them */
    int64_t since_ms;     /* when the first of them came */
    struct shoal_row row; /* one of them */

    struct shoal_buffer line;
    struct shoal_buffer text; /* of a cell */
};

static enum shoal_status no_memory(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_MEMORY, "there is no memory for a table");
}

static enum shoal_status copy_columns(struct shoal_table *table,
                                      const struct shoal_columns *columns,
                                      struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; status == SHOAL_OK && i < columns->names.n; i++)
        status =
            add_column(&table->columns, shoal_dictionary_text(&columns->names, i), err);
    table->given = true;
    table->columns.more = columns->more;
    return status;
}

enum shoal_status shoal_table_create(const struct shoal_table_options *options,
                                     struct shoal_table **ret_table,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_table_cleanup)
    struct shoal_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return no_memory(err);
    table->format = options->format;
    table->out = options->out;
    table->terminal = options->terminal;
    shoal_columns_init(&table->columns);
    shoal_buffer_init(&table->pending, LINE_MAX_BYTES);
    shoal_row_init(&table->row);
    shoal_buffer_init(&table->line, LINE_MAX_BYTES);
    shoal_buffer_init(&table->text, LINE_MAX_BYTES);
    if (options->columns != NULL) {
        enum shoal_status status = copy_columns(table, options->columns, err);
        if (status != SHOAL_OK)
            return status;
    }
    *ret_table = table;
    table = NULL;
    return SHOAL_OK;
}

void shoal_table_destroy(struct shoal_table *table) {
    if (table == NULL)
        return;
    shoal_columns_finish(&table->columns);
    free(table->layouts);
    free(table->cells);
    shoal_buffer_finish(&table->pending);
    shoal_row_finish(&table->row);
    shoal_buffer_finish(&table->line);
    shoal_buffer_finish(&table->text);
    free(table);
}

void shoal_table_cleanup(struct shoal_table **table) {
    shoal_table_destroy(*table);
}

bool shoal_table_reader_left(const struct shoal_table *table) {
    return table->reader_left;
}

/* ---- output */

static enum shoal_status write_failed(struct shoal_table *table,
                                      struct shoal_error *err) {
    if (errno == EPIPE) {
        table->reader_left = true;
        clearerr(table->out); /* which is no error */
        return SHOAL_OK;
    }
    return shoal_error_set(err, SHOAL_SYSTEM, "the table cannot be written: %s",
                           strerror(errno));
}

/* Writes the line at hand, with its end. */
static enum shoal_status put_line(struct shoal_table *table, struct shoal_error *err) {
    struct shoal_buffer *line = &table->line;
    shoal_buffer_add_char(line, '\n');
    enum shoal_status status = shoal_buffer_check(line, "a line of the table", err);
    if (status != SHOAL_OK || table->reader_left)
        return status;
    if (fwrite(line->data, 1, line->len, table->out) != line->len)
        return write_failed(table, err);
    return SHOAL_OK;
}

static enum shoal_status flush(struct shoal_table *table, struct shoal_error *err) {
    if (!table->reader_left && fflush(table->out) != 0)
        return write_failed(table, err);
    return SHOAL_OK;
}

/* ---- lines of each format */

static bool is_number(const struct shoal_row *row, size_t cell) {
    return row->cells[cell].type == SHOAL_CELL_NUMBER;
}

static bool is_missing(const struct shoal_row *row, size_t cell) {
    return row->cells[cell].type == SHOAL_CELL_MISSING;
}

/* Finds where the row has each column. */
static void place(struct shoal_table *table, const struct shoal_row *row) {
    memset(table->cells, 0, table->columns.names.n * sizeof(*table->cells));
    for (size_t i = 0; i < row->n; i++) {
        size_t column = column_of(&table->columns, shoal_row_name(row, i));
        if (column != SHOAL_NOT_THERE)
            table->cells[column] = i + 1;
    }
}

/* The next cell from `cell` on that has a value and no column; row->n without one. */
static size_t next_extra(const struct shoal_table *table, const struct shoal_row *row,
                         size_t cell) {
    while (cell < row->n &&
           (is_missing(row, cell) ||
            column_of(&table->columns, shoal_row_name(row, cell)) != SHOAL_NOT_THERE))
        cell++;
    return cell;
}

static void json_line(struct shoal_table *table, const struct shoal_row *row) {
    shoal_row_add_object(row, &table->line);
}

/* As RFC 4180 says. */
static void add_csv(struct shoal_buffer *line, const char *text, size_t len) {
    if (len == strcspn(text, "\",\r\n")) {
        shoal_buffer_add(line, text, len);
        return;
    }
    shoal_buffer_add_char(line, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            shoal_buffer_add_char(line, '"');
        shoal_buffer_add_char(line, text[i]);
    }
    shoal_buffer_add_char(line, '"');
}

/* Whether a CSV ends in the column `extra`. */
static bool has_extra(const struct shoal_table *table) {
    return !table->given || table->columns.more;
}

static void csv_extra(struct shoal_table *table, const struct shoal_row *row) {
    struct shoal_buffer *json = &table->text;
    shoal_buffer_clear(json);
    for (size_t i = next_extra(table, row, 0); i < row->n;
         i = next_extra(table, row, i + 1)) {
        shoal_buffer_add_char(json, json->len == 0 ? '{' : ',');
        shoal_row_add_member(row, i, json);
    }
    if (json->len > 0)
        shoal_buffer_add_char(json, '}');
    table->line.failed = table->line.failed || json->failed;
    shoal_buffer_add_char(&table->line, ',');
    add_csv(&table->line, shoal_buffer_text(json), json->len);
}

static void csv_line(struct shoal_table *table, const struct shoal_row *row) {
    place(table, row);
    for (size_t column = 0; column < table->columns.names.n; column++) {
        if (column > 0)
            shoal_buffer_add_char(&table->line, ',');
        size_t cell = table->cells[column];
        if (cell > 0)
            add_csv(&table->line, shoal_row_text(row, cell - 1),
                    row->cells[cell - 1].len);
    }
    if (has_extra(table))
        csv_extra(table, row);
}

static void csv_head(struct shoal_table *table) {
    for (size_t column = 0; column < table->columns.names.n; column++) {
        const char *name = shoal_dictionary_text(&table->columns.names, column);
        if (column > 0)
            shoal_buffer_add_char(&table->line, ',');
        add_csv(&table->line, name, strlen(name));
    }
    if (has_extra(table))
        shoal_buffer_add_text(&table->line, "," EXTRA);
}

/* Makes table->text of a text, fit for a terminal; returns its width. A line without it
 * would be wrong. */
static size_t show(struct shoal_table *table, const char *text, size_t len) {
    struct shoal_buffer *shown = &table->text;
    shoal_buffer_clear(shown);
    shoal_text_escape(shown, text, len);
    table->line.failed = table->line.failed || shown->failed;
    size_t width = shoal_text_width(shoal_buffer_text(shown), shown->len);
    if (!table->terminal || width <= CELL_COLUMNS)
        return width;
    shown->len = shoal_text_fit(shown->data, shown->len, CELL_COLUMNS - 1);
    shoal_buffer_add_text(shown, ELLIPSIS);
    return shoal_text_width(shown->data, shown->len);
}

/* The same for a cell as it was placed. */
static size_t show_cell(struct shoal_table *table, const struct shoal_row *row,
                        size_t column) {
    size_t cell = table->cells[column];
    if (cell == 0 || is_missing(row, cell - 1))
        return show(table, "-", 1);
    return show(table, shoal_row_text(row, cell - 1), row->cells[cell - 1].len);
}

static void add_spaces(struct shoal_buffer *line, size_t n) {
    while (n-- > 0)
        shoal_buffer_add_char(line, ' ');
}

/* Adds what table->text shows in so many columns; the last column has
 * no blanks behind. */
static void add_shown(struct shoal_table *table, size_t column, size_t width) {
    const struct layout *layout = &table->layouts[column];
    size_t spaces = layout->width > width ? layout->width - width : 0;
    bool right = layout->values > 0 && layout->numbers == layout->values;
    if (column > 0)
        add_spaces(&table->line, 2);
    if (right)
        add_spaces(&table->line, spaces);
    shoal_buffer_add(&table->line, shoal_buffer_text(&table->text), table->text.len);
    if (!right && column + 1 < table->columns.names.n)
        add_spaces(&table->line, spaces);
}

static void text_extra(struct shoal_table *table, const struct shoal_row *row) {
    for (size_t i = next_extra(table, row, 0); i < row->n;
         i = next_extra(table, row, i + 1)) {
        const char *name = shoal_row_name(row, i);
        show(table, name, strlen(name));
        shoal_buffer_add_format(&table->line, "  %s=", shoal_buffer_text(&table->text));
        show(table, shoal_row_text(row, i), row->cells[i].len);
        shoal_buffer_add(&table->line, shoal_buffer_text(&table->text), table->text.len);
    }
}

static void text_line(struct shoal_table *table, const struct shoal_row *row) {
    place(table, row);
    for (size_t column = 0; column < table->columns.names.n; column++)
        add_shown(table, column, show_cell(table, row, column));
    text_extra(table, row);
}

static size_t show_name(struct shoal_table *table, size_t column) {
    const char *name = shoal_dictionary_text(&table->columns.names, column);
    return show(table, name, strlen(name));
}

static void text_head(struct shoal_table *table) {
    for (size_t column = 0; column < table->columns.names.n; column++)
        add_shown(table, column, show_name(table, column));
}

static const struct {
    void (*head)(struct shoal_table *table); /* NULL: none */
    void (*line)(struct shoal_table *table, const struct shoal_row *row);
} formats[] = {
    [SHOAL_TABLE_TEXT] = {text_head, text_line},
    [SHOAL_TABLE_CSV] = {csv_head, csv_line},
    [SHOAL_TABLE_JSONL] = {NULL, json_line},
};
_Static_assert(SHOAL_COUNT(formats) == SHOAL_TABLE_FORMAT_COUNT, "a format is missing");

static enum shoal_status print(struct shoal_table *table, const struct shoal_row *row,
                               struct shoal_error *err) {
    shoal_buffer_clear(&table->line);
    formats[table->format].line(table, row);
    enum shoal_status status =
        shoal_buffer_check(&table->text, "a cell of the table", err);
    return status == SHOAL_OK ? put_line(table, err) : status;
}

/* ---- rows that wait until the columns are known */

static enum shoal_status keep(struct shoal_table *table, const struct shoal_row *row,
                              struct shoal_error *err) {
    struct shoal_buffer *pending = &table->pending;
    if (table->n_pending++ == 0)
        table->since_ms = shoal_now_ms();
    table->ok_pending |= row->ok;
    size_t start = pending->len, len = 0;
    shoal_buffer_add(pending, &len, sizeof(len));
    shoal_row_write(row, pending);
    enum shoal_status status = shoal_buffer_check(pending, "rows that wait", err);
    if (status != SHOAL_OK)
        return status;
    len = pending->len - start - sizeof(len);
    memcpy(pending->data + start, &len, sizeof(len));
    return SHOAL_OK;
}

typedef enum shoal_status (*row_fn)(struct shoal_table *table,
                                    const struct shoal_row *row, struct shoal_error *err);

static enum shoal_status for_each_pending(struct shoal_table *table, row_fn use,
                                          struct shoal_error *err) {
    const char *at = shoal_buffer_text(&table->pending);
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; status == SHOAL_OK && i < table->n_pending; i++) {
        size_t len;
        memcpy(&len, at, sizeof(len));
        status = shoal_row_read(&table->row, at + sizeof(len), len, err);
        if (status == SHOAL_OK)
            status = use(table, &table->row, err);
        at += sizeof(len) + len;
    }
    return status;
}

static enum shoal_status collect_all(struct shoal_table *table,
                                     const struct shoal_row *row,
                                     struct shoal_error *err) {
    return shoal_columns_add(&table->columns, row, err);
}

/* Takes the columns of the first successful row; without any, those that are not the
 * program's. */
static enum shoal_status collect_first(struct shoal_table *table,
                                       const struct shoal_row *row,
                                       struct shoal_error *err) {
    if (!row->ok && !table->ok_pending)
        return add_columns(&table->columns, row, row->own, err);
    if (!row->ok || table->columns.names.n > 0)
        return SHOAL_OK;
    return shoal_columns_add(&table->columns, row, err);
}

static enum shoal_status measure(struct shoal_table *table, const struct shoal_row *row,
                                 struct shoal_error *err) {
    place(table, row);
    for (size_t column = 0; column < table->columns.names.n; column++) {
        struct layout *layout = &table->layouts[column];
        size_t cell = table->cells[column];
        size_t width = show_cell(table, row, column);
        if (width > layout->width)
            layout->width = width;
        if (cell == 0 || is_missing(row, cell - 1))
            continue;
        layout->values++;
        layout->numbers += is_number(row, cell - 1);
    }
    return shoal_buffer_check(&table->text, "a cell of the table", err);
}

static enum shoal_status lay_out(struct shoal_table *table, struct shoal_error *err) {
    for (size_t column = 0; column < table->columns.names.n; column++)
        table->layouts[column].width = show_name(table, column);
    enum shoal_status status = for_each_pending(table, measure, err);
    return status == SHOAL_OK
               ? shoal_buffer_check(&table->line, "a line of the table", err)
               : status;
}

static enum shoal_status find_columns(struct shoal_table *table,
                                      struct shoal_error *err) {
    bool is_text = table->format == SHOAL_TABLE_TEXT;
    enum shoal_status status = SHOAL_OK;
    if (!table->given)
        status = for_each_pending(table, is_text ? collect_all : collect_first, err);
    if (status != SHOAL_OK)
        return status;
    size_t n = table->columns.names.n;
    free(table->cells);
    free(table->layouts);
    table->cells = calloc(n + 1, sizeof(*table->cells));
    table->layouts = calloc(n + 1, sizeof(*table->layouts));
    if (table->cells == NULL || table->layouts == NULL)
        return no_memory(err);
    return is_text ? lay_out(table, err) : SHOAL_OK;
}

static enum shoal_status print_head(struct shoal_table *table, struct shoal_error *err) {
    if (formats[table->format].head == NULL || table->columns.names.n == 0)
        return SHOAL_OK;
    shoal_buffer_clear(&table->line);
    formats[table->format].head(table);
    return put_line(table, err);
}

/* Prints the head and what waited; from now on rows are printed as they come. */
static enum shoal_status open_table(struct shoal_table *table, struct shoal_error *err) {
    enum shoal_status status = find_columns(table, err);
    if (status != SHOAL_OK)
        return status;
    table->open = true;
    status = print_head(table, err);
    if (status == SHOAL_OK)
        status = for_each_pending(table, print, err);
    shoal_buffer_finish(&table->pending);
    table->n_pending = 0;
    return status;
}

/* Whether a text's widths may be found out, the time left aside. */
static bool shows_enough(const struct shoal_table *table) {
    return table->given || table->ok_pending || table->n_pending >= FAILED_ROWS;
}

static bool is_ready(const struct shoal_table *table) {
    if (table->format == SHOAL_TABLE_JSONL || table->pending.len > PENDING_MAX)
        return true;
    if (table->format == SHOAL_TABLE_CSV)
        return table->given || table->ok_pending;
    return shows_enough(table) && (table->n_pending >= FIRST_ROWS ||
                                   shoal_now_ms() - table->since_ms >= FIRST_MS);
}

enum shoal_status shoal_table_add(struct shoal_table *table, const struct shoal_row *row,
                                  struct shoal_error *err) {
    if (table->reader_left)
        return SHOAL_OK;
    if (table->open)
        return print(table, row, err);
    enum shoal_status status = keep(table, row, err);
    if (status != SHOAL_OK || !is_ready(table))
        return status;
    return open_table(table, err);
}

static int64_t wait_of(const struct shoal_table *table) {
    if (table->n_pending == 0 || table->format != SHOAL_TABLE_TEXT ||
        !shows_enough(table))
        return -1;
    int64_t wait_ms = table->since_ms + FIRST_MS - shoal_now_ms();
    return wait_ms > 0 ? wait_ms : 0;
}

enum shoal_status shoal_table_tick(struct shoal_table *table, int64_t *ret_wait_ms,
                                   struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    if (!table->open && table->n_pending > 0 && is_ready(table))
        status = open_table(table, err);
    if (status != SHOAL_OK)
        return status;
    *ret_wait_ms = wait_of(table);
    return flush(table, err);
}

enum shoal_status shoal_table_end(struct shoal_table *table, struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    if (!table->open)
        status = open_table(table, err);
    return status == SHOAL_OK ? flush(table, err) : status;
}

bool shoal_table_is_through(const struct shoal_table *table) {
    return table->n_pending == 0;
}
