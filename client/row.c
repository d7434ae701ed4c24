#include "client/row.h"

#include "client/text.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/records.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_MAX = 48 << 20, /* bytes of all cells of a row */
    NAMES_MAX = 8 << 20,
    ROW_HEAD = 3, /* records in front of the cells */
    CELL_FIELDS = 3,
};

#define LINE_ARGUMENT "argument"

void shoal_row_init(struct shoal_row *row) {
    *row = (struct shoal_row){0};
    shoal_buffer_init(&row->text, TEXT_MAX);
    shoal_dictionary_init(&row->names, NAMES_MAX);
}

void shoal_row_finish(struct shoal_row *row) {
    free(row->cells);
    shoal_buffer_finish(&row->text);
    shoal_dictionary_finish(&row->names);
    shoal_row_init(row);
}

void shoal_row_cleanup(struct shoal_row *row) {
    shoal_row_finish(row);
}

void shoal_row_clear(struct shoal_row *row) {
    row->index = 0;
    row->ok = false;
    row->own = 0;
    row->n = 0;
    shoal_buffer_clear(&row->text);
    shoal_dictionary_clear(&row->names);
}

const char *shoal_row_name(const struct shoal_row *row, size_t i) {
    return shoal_dictionary_text(&row->names, i);
}

const char *shoal_row_text(const struct shoal_row *row, size_t i) {
    return shoal_buffer_text(&row->text) + row->cells[i].text;
}

size_t shoal_row_find(const struct shoal_row *row, const char *name) {
    return shoal_dictionary_find(&row->names, name, strlen(name));
}

void shoal_row_add_member(const struct shoal_row *row, size_t i,
                          struct shoal_buffer *json) {
    const char *name = shoal_row_name(row, i);
    shoal_text_quote(json, name, strlen(name));
    shoal_buffer_add_char(json, ':');
    if (row->cells[i].type == SHOAL_CELL_TEXT)
        shoal_text_quote(json, shoal_row_text(row, i), row->cells[i].len);
    else
        shoal_buffer_add(json, shoal_row_text(row, i), row->cells[i].len);
}

void shoal_row_add_object(const struct shoal_row *row, struct shoal_buffer *json) {
    const char *separator = "{";
    for (size_t i = 0; i < row->n; i++) {
        if (row->cells[i].type == SHOAL_CELL_MISSING)
            continue;
        shoal_buffer_add_text(json, separator);
        shoal_row_add_member(row, i, json);
        separator = ",";
    }
    shoal_buffer_add_text(json, *separator == '{' ? "{}" : "}");
}

/* ---- adding cells */

static bool make_room(struct shoal_row *row) {
    if (row->n < row->room)
        return true;
    size_t room = row->room == 0 ? 16 : row->room * 2;
    struct shoal_cell *cells = realloc(row->cells, room * sizeof(*cells));
    if (cells == NULL)
        return false;
    row->cells = cells;
    row->room = room;
    return true;
}

enum shoal_status shoal_row_add(struct shoal_row *row, const char *name, size_t name_len,
                                enum shoal_cell_type type, const char *text, size_t len,
                                struct shoal_error *err) {
    /* The safe name is made where the text goes, which then takes its place. */
    size_t start = row->text.len, i;
    shoal_text_add_safe(&row->text, name, name_len);
    enum shoal_status status = shoal_buffer_check(&row->text, "a row", err);
    if (status == SHOAL_OK && !make_room(row))
        status = shoal_error_set(err, SHOAL_MEMORY, "there is no memory for a row");
    if (status == SHOAL_OK)
        status = shoal_dictionary_add(&row->names, shoal_buffer_text(&row->text) + start,
                                      row->text.len - start, &i, err);
    if (status != SHOAL_OK)
        return status;
    if (i == row->n)
        row->n++;
    row->text.len = start;
    shoal_text_add_safe(&row->text, text, len);
    row->cells[i] =
        (struct shoal_cell){.type = type, .text = start, .len = row->text.len - start};
    shoal_buffer_add_char(&row->text, '\0');
    return shoal_buffer_check(&row->text, "a row", err);
}

static enum shoal_status add(struct shoal_row *row, const char *name,
                             enum shoal_cell_type type, const char *text,
                             struct shoal_error *err) {
    return shoal_row_add(row, name, strlen(name), type, text, strlen(text), err);
}

enum shoal_status shoal_row_add_text(struct shoal_row *row, const char *name,
                                     const char *text, struct shoal_error *err) {
    bool is_number = shoal_text_is_number(text, strlen(text));
    return add(row, name, is_number ? SHOAL_CELL_NUMBER : SHOAL_CELL_TEXT, text, err);
}

enum shoal_status shoal_row_add_int(struct shoal_row *row, const char *name,
                                    int64_t value, struct shoal_error *err) {
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, value);
    return add(row, name, SHOAL_CELL_NUMBER, text, err);
}

enum shoal_status shoal_row_add_double(struct shoal_row *row, const char *name,
                                       double value, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, 64);
    if (isfinite(value))
        shoal_number_print(value, &text);
    else
        shoal_buffer_add_format(&text, "%g", value);
    enum shoal_status status = shoal_buffer_check(&text, "a number", err);
    return status == SHOAL_OK ? shoal_row_add_text(row, name, text.data, err) : status;
}

enum shoal_status shoal_row_add_missing(struct shoal_row *row, const char *name,
                                        struct shoal_error *err) {
    return add(row, name, SHOAL_CELL_MISSING, "", err);
}

/* ---- rows as bytes */

void shoal_row_write(const struct shoal_row *row, struct shoal_buffer *bytes) {
    shoal_record_array(bytes, ROW_HEAD + CELL_FIELDS * row->n);
    shoal_record_int(bytes, row->index);
    shoal_record_int(bytes, row->ok);
    shoal_record_int(bytes, (int64_t)row->own);
    for (size_t i = 0; i < row->n; i++) {
        shoal_record_text(bytes, shoal_row_name(row, i));
        shoal_record_int(bytes, (int64_t)row->cells[i].type);
        shoal_record_bytes(bytes, shoal_row_text(row, i), row->cells[i].len);
    }
}

static bool read_head(struct shoal_record_reader *reader, struct shoal_row *row,
                      size_t *cells) {
    int64_t ok, own;
    size_t n;
    if (!shoal_record_read_array(reader, &n) || n < ROW_HEAD ||
        (n - ROW_HEAD) % CELL_FIELDS != 0 ||
        !shoal_record_read_int(reader, &row->index) ||
        !shoal_record_read_int(reader, &ok) || !shoal_record_read_int(reader, &own))
        return false;
    *cells = (n - ROW_HEAD) / CELL_FIELDS;
    row->ok = ok != 0;
    row->own = (size_t)own;
    return own >= 0 && row->own <= *cells;
}

static bool read_cell(struct shoal_record_reader *reader, struct shoal_row *row,
                      struct shoal_error *err) {
    const char *name, *text;
    size_t name_len, len;
    int64_t type;
    return shoal_record_read_bytes(reader, &name, &name_len) &&
           shoal_record_read_int(reader, &type) && type >= 0 &&
           type < SHOAL_CELL_TYPE_COUNT && shoal_record_read_bytes(reader, &text, &len) &&
           shoal_row_add(row, name, name_len, (enum shoal_cell_type)type, text, len,
                         err) == SHOAL_OK;
}

enum shoal_status shoal_row_read(struct shoal_row *row, const void *bytes, size_t len,
                                 struct shoal_error *err) {
    struct shoal_record_reader reader;
    size_t cells;
    shoal_row_clear(row);
    shoal_record_reader_init(&reader, bytes, len);
    bool ok = read_head(&reader, row, &cells);
    for (size_t i = 0; ok && i < cells; i++)
        ok = read_cell(&reader, row, err);
    if (!ok || reader.at != reader.end || row->n != cells)
        return shoal_error_set(err, SHOAL_GARBAGE, "a row that was set aside is damaged");
    return SHOAL_OK;
}

/* ---- rows of a job */

static const char *const columns_behind[] = {"status", "reason", "attempt", "worker",
                                             "wall_s", "cpu_s",  "rss_mb"};

struct shoal_row_maker {
    const struct shoal_spec *spec;
    size_t parameters;
    bool repeats;
    int64_t count; /* tasks of a computed sweep; explicit arguments: INT64_MAX */
    struct shoal_dictionary head; /* the columns that every row begins with */
};

static size_t count_parameters(const struct shoal_spec *spec) {
    size_t n = 0;
    if (spec->arguments == SHOAL_ARGUMENTS_NONE)
        return shoal_sweep_parameters(spec->sweep);
    if (spec->arguments == SHOAL_ARGUMENTS_LINE)
        return 1;
    while (spec->columns != NULL && spec->columns[n] != NULL)
        n++;
    return n;
}

/* What the spec calls parameter i; a line's is "". */
static const char *parameter_name(const struct shoal_spec *spec, size_t i) {
    if (spec->arguments == SHOAL_ARGUMENTS_NONE)
        return shoal_sweep_name(spec->sweep, i);
    return spec->arguments == SHOAL_ARGUMENTS_LINE ? "" : spec->columns[i];
}

/* Whether a column of ours has that name, or `extra` of a table that streams. */
static bool is_ours(const char *name) {
    static const char *const others[] = {"task", "rep", "extra"};
    for (size_t i = 0; i < SHOAL_COUNT(columns_behind); i++)
        if (strcmp(name, columns_behind[i]) == 0)
            return true;
    for (size_t i = 0; i < SHOAL_COUNT(others); i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

static enum shoal_status add_column(struct shoal_row_maker *maker, const char *name,
                                    struct shoal_error *err) {
    size_t i;
    return shoal_dictionary_add(&maker->head, name, strlen(name), &i, err);
}

static enum shoal_status add_parameter(struct shoal_row_maker *maker, const char *name,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer column;
    shoal_buffer_init(&column, SHOAL_SPEC_MAX);
    if (is_ours(name))
        shoal_buffer_add_text(&column, "param.");
    shoal_buffer_add_text(&column, *name != '\0' ? name : LINE_ARGUMENT);
    enum shoal_status status = shoal_buffer_check(&column, "a parameter's name", err);
    return status == SHOAL_OK ? add_column(maker, shoal_buffer_text(&column), err)
                              : status;
}

static enum shoal_status fill_head(struct shoal_row_maker *maker,
                                   struct shoal_error *err) {
    enum shoal_status status = add_column(maker, "task", err);
    for (size_t i = 0; status == SHOAL_OK && i < maker->parameters; i++)
        status = add_parameter(maker, parameter_name(maker->spec, i), err);
    if (status == SHOAL_OK && maker->head.n != 1 + maker->parameters)
        status = shoal_error_set(err, SHOAL_GARBAGE,
                                 "the job's spec has two parameters of one name");
    if (status == SHOAL_OK && maker->repeats)
        status = add_column(maker, "rep", err);
    for (size_t i = 0; status == SHOAL_OK && i < SHOAL_COUNT(columns_behind); i++)
        status = add_column(maker, columns_behind[i], err);
    return status;
}

enum shoal_status shoal_row_maker_create(const struct shoal_spec *spec,
                                         struct shoal_row_maker **ret_maker,
                                         struct shoal_error *err) {
    int64_t count = INT64_MAX;
    enum shoal_status status = SHOAL_OK;
    if (spec->arguments == SHOAL_ARGUMENTS_NONE)
        status = shoal_sweep_count(spec->sweep, &count, err);
    if (status != SHOAL_OK)
        return status;
    SHOAL_CLEANUP(shoal_row_maker_cleanup)
    struct shoal_row_maker *maker = calloc(1, sizeof(*maker));
    if (maker == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "there is no memory for a table");
    *maker = (struct shoal_row_maker){
        .spec = spec,
        .parameters = count_parameters(spec),
        .repeats = shoal_sweep_repetitions(spec->sweep) > 1,
        .count = count,
    };
    shoal_dictionary_init(&maker->head, 2 * SHOAL_SPEC_MAX);
    status = fill_head(maker, err);
    if (status != SHOAL_OK)
        return status;
    *ret_maker = maker;
    maker = NULL;
    return SHOAL_OK;
}

void shoal_row_maker_destroy(struct shoal_row_maker *maker) {
    if (maker == NULL)
        return;
    shoal_dictionary_finish(&maker->head);
    free(maker);
}

void shoal_row_maker_cleanup(struct shoal_row_maker **maker) {
    shoal_row_maker_destroy(*maker);
}

enum shoal_status shoal_row_maker_head(const struct shoal_row_maker *maker,
                                       struct shoal_row *row, struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    shoal_row_clear(row);
    for (size_t i = 0; status == SHOAL_OK && i < maker->head.n; i++)
        status = shoal_row_add_missing(row, shoal_dictionary_text(&maker->head, i), err);
    row->own = row->n;
    return status;
}

/* The value of a parameter, looked for where it should be first; NULL without one. */
static const char *value_of(const struct shoal_parameters *parameters, const char *name,
                            size_t i) {
    if (i < parameters->n && strcmp(parameters->names[i], name) == 0)
        return parameters->values[i];
    for (i = 0; i < parameters->n; i++)
        if (strcmp(parameters->names[i], name) == 0)
            return parameters->values[i];
    return NULL;
}

static enum shoal_status set_parameters(const struct shoal_row_maker *maker,
                                        const struct shoal_row_source *source,
                                        struct shoal_row *row, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {0};
    const struct shoal_spec *spec = maker->spec;
    enum shoal_status status = SHOAL_OK;
    if (spec->arguments != SHOAL_ARGUMENTS_NONE && source->argument == NULL)
        return SHOAL_OK; /* trimmed */
    status = shoal_parameters_make(spec, source->index, source->argument,
                                   source->argument_len, &parameters, NULL);
    if (status == SHOAL_GARBAGE)
        return SHOAL_OK;
    if (status != SHOAL_OK)
        return shoal_error_set(err, status,
                               "the parameters of task %" PRId64 " cannot be made (%s)",
                               source->index, shoal_status_name(status));
    for (size_t i = 0; status == SHOAL_OK && i < maker->parameters; i++) {
        const char *value = value_of(&parameters, parameter_name(spec, i), i);
        if (value != NULL)
            status = shoal_row_add_text(row, shoal_row_name(row, 1 + i), value, err);
    }
    return status;
}

/* Microseconds as seconds, exactly. */
static enum shoal_status set_seconds(struct shoal_row *row, const char *name, int64_t us,
                                     struct shoal_error *err) {
    char text[40];
    snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64, us / 1000000, us % 1000000);
    size_t len = strlen(text);
    while (text[len - 1] == '0')
        len--;
    if (text[len - 1] == '.')
        len--;
    return shoal_row_add(row, name, strlen(name), SHOAL_CELL_NUMBER, text, len, err);
}

/* KiB as MiB with one decimal. */
static enum shoal_status set_memory(struct shoal_row *row, int64_t kb,
                                    struct shoal_error *err) {
    char text[40];
    snprintf(text, sizeof(text), "%.1f", (double)kb / 1024);
    return add(row, "rss_mb", SHOAL_CELL_NUMBER, text, err);
}

static enum shoal_status set_outcome(const struct shoal_row_source *source,
                                     struct shoal_row *row, struct shoal_error *err) {
    const struct shoal_outcome *outcome = source->outcome;
    row->ok = outcome->reason == SHOAL_REASON_OK;
    enum shoal_status status =
        add(row, "status", SHOAL_CELL_TEXT, row->ok ? "ok" : "failed", err);
    if (status == SHOAL_OK && !row->ok)
        status =
            add(row, "reason", SHOAL_CELL_TEXT, shoal_reason_name(outcome->reason), err);
    if (status == SHOAL_OK)
        status = shoal_row_add_int(row, "attempt", outcome->attempt, err);
    if (status == SHOAL_OK)
        status = shoal_row_add(row, "worker", strlen("worker"), SHOAL_CELL_TEXT,
                               source->worker, source->worker_len, err);
    if (status == SHOAL_OK)
        status = set_seconds(row, "wall_s", outcome->wall_us, err);
    if (status == SHOAL_OK)
        status = set_seconds(row, "cpu_s", outcome->cpu_us, err);
    return status == SHOAL_OK ? set_memory(row, outcome->rss_kb, err) : status;
}

struct own_cells {
    const struct shoal_row_maker *maker;
    struct shoal_row *row;
};

/* Whether a key needs "result." in front: what is left of it without any is taken. */
static bool is_taken(const struct shoal_row_maker *maker, const char *key) {
    static const char prefix[] = "result.";
    while (strncmp(key, prefix, sizeof(prefix) - 1) == 0)
        key += sizeof(prefix) - 1;
    return strcmp(key, "extra") == 0 ||
           shoal_dictionary_find(&maker->head, key, strlen(key)) != SHOAL_NOT_THERE;
}

static enum shoal_status add_own(void *owner, const char *name, size_t name_len,
                                 enum shoal_cell_type type, const char *text, size_t len,
                                 struct shoal_error *err) {
    struct own_cells *own = owner;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer column;
    shoal_buffer_init(&column, NAMES_MAX);
    if (!is_taken(own->maker, name))
        return shoal_row_add(own->row, name, name_len, type, text, len, err);
    shoal_buffer_add_text(&column, "result.");
    shoal_buffer_add(&column, name, name_len);
    enum shoal_status status = shoal_buffer_check(&column, "a result's key", err);
    if (status != SHOAL_OK)
        return status;
    return shoal_row_add(own->row, column.data, column.len, type, text, len, err);
}

enum shoal_status shoal_row_make(const struct shoal_row_maker *maker,
                                 const struct shoal_row_source *source,
                                 struct shoal_row *row, struct shoal_error *err) {
    if (source->index < 0 || source->index >= maker->count)
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "there is a result of task %" PRId64
                               ", but the job has %" PRId64 " task%s",
                               source->index, maker->count, shoal_plural(maker->count));
    enum shoal_status status = shoal_row_maker_head(maker, row, err);
    row->index = source->index;
    if (status == SHOAL_OK)
        status = shoal_row_add_int(row, "task", source->index, err);
    if (status == SHOAL_OK)
        status = set_parameters(maker, source, row, err);
    if (status == SHOAL_OK && maker->repeats)
        status = shoal_row_add_int(
            row, "rep", shoal_sweep_repetition(maker->spec->sweep, source->index), err);
    if (status == SHOAL_OK)
        status = set_outcome(source, row, err);
    if (status != SHOAL_OK)
        return status;
    struct own_cells own = {maker, row};
    return shoal_result_split(source->outcome->result, source->outcome->result_len,
                              add_own, &own, err);
}
