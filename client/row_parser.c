/* A record is gathered byte by byte, as the state says; a complete one is made a row.
 *
 *   MARK --> FIELD <--> QUOTED --"--> QUOTE --"--> QUOTED
 *             ^  |                      |
 *             +--+--- end of a line     +--anything else--> FIELD, which nothing may
 *                                                           follow but its end         */
#include "client/row_parser.h"

#include "client/text.h"
#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/json.h"
#include "common/number.h"
#include "common/spec.h"
#include "common/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state { MARK, FIELD, QUOTED, QUOTE };

static const char mark[] = "\xef\xbb\xbf"; /* of the byte order */

struct shoal_row_parser {
    char *name;
    enum shoal_rows_format format;
    int separator; /* of fields, an unsigned char; EOF: there is but one */
    bool quotes;
    /* what was fed */
    const char *at;
    const char *end;
    bool ended;
    bool broken; /* a row was wrong, and where the next begins is not known */
    /* the record at hand */
    enum state state;
    size_t marked; /* bytes of the mark that were there */
    bool begun;    /* a byte of it was there */
    bool field;    /* a byte of the field was there */
    bool closed;   /* the field's quotes were closed */
    bool returned; /* the last byte was a CR, of which the next one decides */
    bool spent;    /* it was made a row */
    int64_t line;  /* where the record begins, from 1 */
    int64_t ends;  /* of lines, so far */
    struct shoal_buffer record; /* fields, each with a NUL behind it */
    size_t fields;
    /* what it becomes */
    char **columns;
    size_t n_columns;
    struct shoal_buffer json;
};

enum shoal_status shoal_row_parser_create(const char *name, enum shoal_rows_format format,
                                          struct shoal_row_parser **ret_parser,
                                          struct shoal_error *err) {
    struct shoal_row_parser *parser = calloc(1, sizeof(*parser));
    char *copy = strdup(name);
    if (parser == NULL || copy == NULL) {
        free(parser);
        free(copy);
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for rows");
    }
    parser->name = copy;
    parser->format = format;
    parser->separator = format == SHOAL_ROWS_CSV   ? ','
                        : format == SHOAL_ROWS_TSV ? '\t'
                                                   : EOF;
    parser->quotes = format == SHOAL_ROWS_CSV;
    parser->line = 1;
    shoal_buffer_init(&parser->record, SHOAL_ROW_MAX + 1024);
    shoal_buffer_init(&parser->json, 8 * SHOAL_ROW_MAX);
    *ret_parser = parser;
    return SHOAL_OK;
}

void shoal_row_parser_destroy(struct shoal_row_parser *parser) {
    if (parser == NULL)
        return;
    for (size_t i = 0; i < parser->n_columns; i++)
        free(parser->columns[i]);
    free(parser->columns);
    shoal_buffer_finish(&parser->record);
    shoal_buffer_finish(&parser->json);
    free(parser->name);
    free(parser);
}

void shoal_row_parser_feed(struct shoal_row_parser *parser, const char *bytes,
                           size_t len) {
    parser->at = bytes;
    parser->end = bytes + len;
}

void shoal_row_parser_end(struct shoal_row_parser *parser) {
    parser->ended = true;
}

const char *const *shoal_row_parser_columns(const struct shoal_row_parser *parser) {
    return (const char *const *)parser->columns;
}

static enum shoal_status wrong(const struct shoal_row_parser *parser,
                               struct shoal_error *err, const char *format, ...)
    SHOAL_PRINTF(3, 4);

static enum shoal_status wrong(const struct shoal_row_parser *parser,
                               struct shoal_error *err, const char *format, ...) {
    char what[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return shoal_error_set(err, SHOAL_INVALID, "%.200s line %" PRId64 " %s", parser->name,
                           parser->line, what);
}

/* ---- records */

static void end_field(struct shoal_row_parser *parser) {
    shoal_buffer_add_char(&parser->record, '\0');
    parser->fields++;
    parser->field = parser->closed = false;
}

static void begin_record(struct shoal_row_parser *parser) {
    shoal_buffer_clear(&parser->record);
    parser->fields = 0;
    parser->begun = false;
    parser->line = parser->ends + 1;
}

static enum shoal_status check_record(const struct shoal_row_parser *parser,
                                      struct shoal_error *err) {
    for (size_t at = 0; at < parser->record.len;) {
        const char *field = parser->record.data + at;
        size_t len = strlen(field);
        if (!shoal_utf8_is_valid(field, len))
            return wrong(parser, err, "is no UTF-8 text");
        at += len + 1;
    }
    return SHOAL_OK;
}

static bool separates(const struct shoal_row_parser *parser, char c) {
    return (unsigned char)c == parser->separator;
}

/* A byte that is no end of anything. A NUL is told at once, since it would look like the
 * end of a field. */
static enum shoal_status take_byte(struct shoal_row_parser *parser, char c,
                                   struct shoal_error *err) {
    parser->begun = true;
    if (c == '\0')
        return wrong(parser, err, "has a NUL byte");
    if (parser->quotes && c == '"' && !parser->field) {
        parser->state = QUOTED;
        parser->field = true;
        return SHOAL_OK;
    }
    if (parser->closed)
        return wrong(parser, err, "has text behind a closing quote");
    parser->field = true;
    shoal_buffer_add_char(&parser->record, c);
    return SHOAL_OK;
}

/* Outside quotes. A CR is part of a line's end or a byte as any other: the next byte
 * tells. *ret_whole: the record ends here. */
static enum shoal_status take_plain(struct shoal_row_parser *parser, char c,
                                    bool *ret_whole, struct shoal_error *err) {
    if (parser->returned && c != '\n') {
        parser->returned = false;
        enum shoal_status status = take_byte(parser, '\r', err);
        if (status != SHOAL_OK)
            return status;
    }
    parser->returned = c == '\r';
    if (c == '\r')
        return SHOAL_OK;
    if (c == '\n') {
        end_field(parser);
        parser->ends++;
        *ret_whole = true;
        return SHOAL_OK;
    }
    if (separates(parser, c)) {
        parser->begun = true;
        end_field(parser);
        return SHOAL_OK;
    }
    return take_byte(parser, c, err);
}

static enum shoal_status take_quoted(struct shoal_row_parser *parser, char c,
                                     struct shoal_error *err) {
    if (c == '\0')
        return wrong(parser, err, "has a NUL byte");
    if (c == '"') {
        parser->state = QUOTE;
        return SHOAL_OK;
    }
    parser->ends += c == '\n';
    shoal_buffer_add_char(&parser->record, c);
    return SHOAL_OK;
}

/* A quote within quotes is behind us. */
static enum shoal_status take_quote(struct shoal_row_parser *parser, char c,
                                    bool *ret_whole, struct shoal_error *err) {
    if (c == '"') {
        parser->state = QUOTED;
        shoal_buffer_add_char(&parser->record, c);
        return SHOAL_OK;
    }
    parser->state = FIELD;
    parser->closed = true;
    return take_plain(parser, c, ret_whole, err);
}

/* What began like a mark and is none. */
static enum shoal_status take_unmarked(struct shoal_row_parser *parser,
                                       struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    parser->state = FIELD;
    for (size_t i = 0; i < parser->marked && status == SHOAL_OK; i++)
        status = take_byte(parser, mark[i], err);
    return status;
}

static enum shoal_status take_mark(struct shoal_row_parser *parser, char c,
                                   bool *ret_whole, struct shoal_error *err) {
    if (c == mark[parser->marked]) {
        if (++parser->marked == sizeof(mark) - 1)
            parser->state = FIELD;
        return SHOAL_OK;
    }
    enum shoal_status status = take_unmarked(parser, err);
    return status == SHOAL_OK ? take_plain(parser, c, ret_whole, err) : status;
}

static enum shoal_status take(struct shoal_row_parser *parser, char c, bool *ret_whole,
                              struct shoal_error *err) {
    switch (parser->state) {
    case MARK:
        return take_mark(parser, c, ret_whole, err);
    case QUOTED:
        return take_quoted(parser, c, err);
    case QUOTE:
        return take_quote(parser, c, ret_whole, err);
    case FIELD:
        break;
    }
    return take_plain(parser, c, ret_whole, err);
}

/* Most bytes are within a field and nothing special: they are taken together. */
static void take_run(struct shoal_row_parser *parser) {
    const char *at = parser->at;
    if (parser->state != FIELD || parser->returned || parser->closed || !parser->field)
        return;
    while (at < parser->end && *at != '\n' && *at != '\r' && *at != '\0' &&
           !separates(parser, *at))
        at++;
    shoal_buffer_add(&parser->record, parser->at, (size_t)(at - parser->at));
    parser->at = at;
}

/* The end of the bytes ends a record that has begun. */
static enum shoal_status take_end(struct shoal_row_parser *parser, bool *ret_whole,
                                  struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    if (parser->state == MARK)
        status = take_unmarked(parser, err);
    if (parser->state == QUOTED)
        return wrong(parser, err, "opens a quote that is never closed");
    parser->closed |= parser->state == QUOTE;
    parser->state = FIELD;
    if (status == SHOAL_OK && parser->returned)
        status = take_byte(parser, '\r', err);
    parser->returned = false;
    if (status != SHOAL_OK || !parser->begun)
        return status;
    end_field(parser);
    *ret_whole = true;
    return SHOAL_OK;
}

/* Goes on with the record at hand. Not *ret_whole: it needs more bytes, or there are no
 * more. */
static enum shoal_status read_record(struct shoal_row_parser *parser, bool *ret_whole,
                                     struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    *ret_whole = false;
    while (status == SHOAL_OK && !*ret_whole && parser->at < parser->end) {
        take_run(parser);
        if (parser->at < parser->end)
            status = take(parser, *parser->at++, ret_whole, err);
        if (status == SHOAL_OK && parser->record.failed)
            status = wrong(parser, err, "is longer than %d bytes", SHOAL_ROW_MAX);
    }
    if (status == SHOAL_OK && !*ret_whole && parser->ended)
        status = take_end(parser, ret_whole, err);
    return status == SHOAL_OK && *ret_whole ? check_record(parser, err) : status;
}

/* ---- columns */

static enum shoal_status check_column(const struct shoal_row_parser *parser,
                                      const char *name, struct shoal_error *err) {
    static const char *const taken[] = {"job", "rep", "seed", "seed31", "task"};
    if (!shoal_parameter_name_is_valid(name))
        return wrong(parser, err,
                     "has the column name '%.80s', which is no parameter name: a letter "
                     "or '_', then letters, digits and '_'",
                     name);
    for (size_t i = 0; i < SHOAL_COUNT(taken); i++) {
        if (strcmp(taken[i], name) == 0)
            return wrong(
                parser, err,
                "names a column '%s', which every task has already; call it otherwise",
                name);
    }
    return SHOAL_OK;
}

static enum shoal_status add_column(struct shoal_row_parser *parser, const char *name,
                                    struct shoal_error *err) {
    enum shoal_status status = check_column(parser, name, err);
    if (status != SHOAL_OK)
        return status;
    for (size_t i = 0; i < parser->n_columns; i++) {
        if (strcmp(parser->columns[i], name) == 0)
            return wrong(parser, err, "names two columns '%s'", name);
    }
    if (parser->n_columns == SHOAL_PARAMETERS_MAX)
        return wrong(parser, err, "has more than %d columns", SHOAL_PARAMETERS_MAX);
    char **grown = realloc(parser->columns, (parser->n_columns + 2) * sizeof(*grown));
    if (grown == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for columns");
    parser->columns = grown;
    grown[parser->n_columns] = strdup(name);
    grown[parser->n_columns + 1] = NULL;
    if (grown[parser->n_columns] == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for columns");
    parser->n_columns++;
    return SHOAL_OK;
}

static enum shoal_status read_header(struct shoal_row_parser *parser,
                                     struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    const char *name = parser->record.data;
    for (size_t i = 0; i < parser->fields && status == SHOAL_OK; i++) {
        status = add_column(parser, name, err);
        name += strlen(name) + 1;
    }
    return status;
}

/* ---- rows of each format */

static bool is_blank(const char *text) {
    return text[strspn(text, " \t\r")] == '\0';
}

/* What a row of a table or a line of JSON became. */
static enum shoal_status give_json(struct shoal_row_parser *parser,
                                   const char **ret_argument, size_t *ret_len,
                                   struct shoal_error *err) {
    *ret_argument = parser->json.data;
    *ret_len = parser->json.len;
    return shoal_buffer_check(&parser->json, "a row", err);
}

/* The first record of a table is its head; blank lines, as editors leave them at the end,
 * are no rows. */
static enum shoal_status make_table_row(struct shoal_row_parser *parser,
                                        const char **ret_argument, size_t *ret_len,
                                        struct shoal_error *err) {
    if (parser->n_columns == 0)
        return read_header(parser, err);
    if (parser->fields == 1 && parser->n_columns > 1 && parser->record.data[0] == '\0')
        return SHOAL_OK;
    if (parser->fields != parser->n_columns)
        return wrong(parser, err, "has %zu fields, the header has %zu", parser->fields,
                     parser->n_columns);
    struct shoal_buffer *json = &parser->json;
    const char *field = parser->record.data;
    shoal_buffer_clear(json);
    for (size_t i = 0; i < parser->n_columns; i++) {
        shoal_buffer_add_text(json, i == 0 ? "{" : ",");
        shoal_text_quote(json, parser->columns[i], strlen(parser->columns[i]));
        shoal_buffer_add_char(json, ':');
        shoal_text_quote(json, field, strlen(field));
        field += strlen(field) + 1;
    }
    shoal_buffer_add_char(json, '}');
    return give_json(parser, ret_argument, ret_len, err);
}

static bool add_json_value(struct shoal_buffer *json, const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_STRING:
        shoal_text_quote(json, json_string_value(value), json_string_length(value));
        return strlen(json_string_value(value)) == json_string_length(value);
    case JSON_INTEGER:
        shoal_buffer_add_format(json, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return true;
    case JSON_REAL:
        shoal_number_print(json_real_value(value), json);
        return true;
    case JSON_TRUE:
        shoal_buffer_add_text(json, "true");
        return true;
    case JSON_FALSE:
        shoal_buffer_add_text(json, "false");
        return true;
    case JSON_NULL:
        shoal_buffer_add_text(json, "null");
        return true;
    default:
        return false;
    }
}

static enum shoal_status check_object(struct shoal_row_parser *parser, json_t *object,
                                      struct shoal_error *err) {
    const char *name = NULL;
    json_t *value = NULL;
    enum shoal_status status = SHOAL_OK;
    if (!json_is_object(object))
        return wrong(parser, err, "is no JSON object, such as {\"x\": 1}");
    if (json_object_size(object) == 0)
        return wrong(parser, err, "names no parameter");
    if (parser->n_columns == 0) {
        json_object_foreach(object, name, value) {
            if (status == SHOAL_OK)
                status = add_column(parser, name, err);
        }
    }
    for (size_t i = 0; i < parser->n_columns && status == SHOAL_OK; i++) {
        if (json_object_get(object, parser->columns[i]) == NULL)
            status = wrong(parser, err, "has no '%s', which the first row has",
                           parser->columns[i]);
    }
    json_object_foreach(object, name, value) {
        if (status == SHOAL_OK)
            status = check_column(parser, name, err);
    }
    return status;
}

static enum shoal_status write_object(struct shoal_row_parser *parser, json_t *object,
                                      struct shoal_error *err) {
    struct shoal_buffer *json = &parser->json;
    const char *name = NULL;
    json_t *value = NULL;
    shoal_buffer_clear(json);
    json_object_foreach(object, name, value) {
        shoal_buffer_add_text(json, json->len == 0 ? "{" : ",");
        shoal_text_quote(json, name, strlen(name));
        shoal_buffer_add_char(json, ':');
        if (!add_json_value(json, value))
            return wrong(parser, err, "has a '%s' that is neither text nor number", name);
    }
    shoal_buffer_add_char(json, '}');
    return SHOAL_OK;
}

static enum shoal_status make_json_row(struct shoal_row_parser *parser,
                                       const char **ret_argument, size_t *ret_len,
                                       struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    json_t *object = NULL;
    const char *text = parser->record.data;
    if (is_blank(text))
        return SHOAL_OK;
    enum shoal_status status = shoal_json_read(text, strlen(text), &object, &why);
    if (status == SHOAL_MEMORY)
        return shoal_error_set(err, status, "%s", why.text);
    status = status == SHOAL_OK ? check_object(parser, object, err)
                                : wrong(parser, err, "is no JSON: %s", why.text);
    if (status == SHOAL_OK)
        status = write_object(parser, object, err);
    json_decref(object);
    return status == SHOAL_OK ? give_json(parser, ret_argument, ret_len, err) : status;
}

static enum shoal_status make_line(const struct shoal_row_parser *parser,
                                   const char **ret_argument, size_t *ret_len) {
    if (!is_blank(parser->record.data)) {
        *ret_argument = parser->record.data;
        *ret_len = parser->record.len - 1;
    }
    return SHOAL_OK;
}

/* *ret_argument is NULL when the record is no row. */
static enum shoal_status make_row(struct shoal_row_parser *parser,
                                  const char **ret_argument, size_t *ret_len,
                                  struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    *ret_argument = NULL;
    *ret_len = 0;
    if (parser->format == SHOAL_ROWS_LINES)
        status = make_line(parser, ret_argument, ret_len);
    else if (parser->format == SHOAL_ROWS_JSONL)
        status = make_json_row(parser, ret_argument, ret_len, err);
    else
        status = make_table_row(parser, ret_argument, ret_len, err);
    if (status == SHOAL_OK && *ret_len > SHOAL_ROW_MAX)
        status =
            wrong(parser, err, "has %zu bytes, %d are the most", *ret_len, SHOAL_ROW_MAX);
    return status;
}

static enum shoal_status next_row(struct shoal_row_parser *parser,
                                  enum shoal_row_parsed *ret_what,
                                  const char **ret_argument, size_t *ret_len,
                                  struct shoal_error *err) {
    for (;;) {
        bool whole = false;
        if (parser->spent)
            begin_record(parser);
        parser->spent = false;
        enum shoal_status status = read_record(parser, &whole, err);
        *ret_what = parser->ended ? SHOAL_PARSED_END : SHOAL_PARSED_HUNGRY;
        if (status != SHOAL_OK || !whole)
            return status;
        parser->spent = true;
        *ret_what = SHOAL_PARSED_ROW;
        status = make_row(parser, ret_argument, ret_len, err);
        if (status != SHOAL_OK || *ret_argument != NULL)
            return status;
    }
}

enum shoal_status shoal_row_parser_next(struct shoal_row_parser *parser,
                                        enum shoal_row_parsed *ret_what,
                                        const char **ret_argument, size_t *ret_len,
                                        struct shoal_error *err) {
    *ret_what = SHOAL_PARSED_END;
    if (parser->broken)
        return SHOAL_OK;
    enum shoal_status status = next_row(parser, ret_what, ret_argument, ret_len, err);
    parser->broken = status != SHOAL_OK;
    return status;
}
