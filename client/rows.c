#include "client/rows.h"

#include "client/text.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/records.h"
#include "common/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACK_ARGUMENTS = 4096, PACK_BYTES = 65536, FIRST = 5, RECORD_BYTES = 10 };

/* Every task's argument is written down, here and then in Redis. */
static const int64_t BYTES_MAX = INT64_C(4) << 30;

struct shoal_rows {
    enum shoal_rows_format format;
    int64_t repetitions;
    int64_t count;
    int64_t bytes; /* of all arguments, about */
    char **columns;
    size_t n_columns;
    char *first[FIRST]; /* arguments, for a look */
    size_t first_lens[FIRST];
    FILE *packs; /* lengths and packs, one after the other */
    /* the pack being gathered, or handed out */
    struct shoal_buffer pack;
    int64_t pack_first;
    int64_t pack_count;
};

/* The file being read: a record at a time. */
struct source {
    const char *name; /* for sentences */
    FILE *file;
    int64_t line; /* where the record at hand begins, from 1 */
    int64_t next_line;
    struct shoal_buffer record; /* fields, each with a NUL behind it */
    size_t fields;
};

static enum shoal_status wrong(const struct source *source, struct shoal_error *err,
                               const char *format, ...) SHOAL_PRINTF(3, 4);

static enum shoal_status wrong(const struct source *source, struct shoal_error *err,
                               const char *format, ...) {
    char what[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return shoal_error_set(err, SHOAL_INVALID, "%.200s line %" PRId64 " %s", source->name,
                           source->line, what);
}

/* ---- packs */

static enum shoal_status disk_trouble(struct shoal_error *err) {
    return shoal_error_set(
        err, SHOAL_SYSTEM,
        "cannot keep the rows in a temporary file: %s (TMPDIR says where)",
        strerror(errno));
}

static enum shoal_status write_pack(struct shoal_rows *rows, struct shoal_error *err) {
    const uint64_t head[] = {(uint64_t)rows->pack_count, rows->pack.len};
    if (rows->pack_count == 0)
        return SHOAL_OK;
    if (fwrite(head, sizeof(head), 1, rows->packs) != 1 ||
        fwrite(rows->pack.data, 1, rows->pack.len, rows->packs) != rows->pack.len)
        return disk_trouble(err);
    rows->pack_first += rows->pack_count;
    rows->pack_count = 0;
    shoal_buffer_clear(&rows->pack);
    return SHOAL_OK;
}

static void keep_first(struct shoal_rows *rows, const char *argument, size_t len) {
    if (rows->count >= FIRST)
        return;
    rows->first[rows->count] = strndup(argument, len);
    rows->first_lens[rows->count] = len;
}

/* Looks before anything is written at what a row and its repetitions would come to. */
static enum shoal_status check_room(struct shoal_rows *rows, const struct source *source,
                                    size_t len, struct shoal_error *err) {
    int64_t each = (int64_t)len + RECORD_BYTES;
    if (len > SHOAL_ROW_MAX)
        return wrong(source, err, "has %zu bytes, %d are the most", len, SHOAL_ROW_MAX);
    if (rows->repetitions > SHOAL_TASKS_MAX - rows->count)
        return shoal_error_set(err, SHOAL_INVALID,
                               "%.200s has more than 2^53 tasks, with %" PRId64
                               " repetitions of each row",
                               source->name, rows->repetitions);
    if (rows->repetitions > (BYTES_MAX - rows->bytes) / each)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "%.200s makes tasks of more than 4 GiB, with %" PRId64
            " repetitions of each row; make it smaller or split it, or "
            "use -p, of which nothing is written down",
            source->name, rows->repetitions);
    rows->bytes += rows->repetitions * each;
    return SHOAL_OK;
}

static enum shoal_status add_argument(struct shoal_rows *rows,
                                      const struct source *source, const char *argument,
                                      size_t len, struct shoal_error *err) {
    enum shoal_status status = check_room(rows, source, len, err);
    for (int64_t i = 0; i < rows->repetitions && status == SHOAL_OK; i++) {
        if (rows->pack_count == PACK_ARGUMENTS || rows->pack.len + len > PACK_BYTES)
            status = write_pack(rows, err);
        if (status != SHOAL_OK)
            break;
        keep_first(rows, argument, len);
        shoal_record_bytes(&rows->pack, argument, len);
        rows->pack_count++;
        rows->count++;
    }
    return status == SHOAL_OK ? shoal_buffer_check(&rows->pack, "a pack of rows", err)
                              : status;
}

/* ---- reading records */

static void end_field(struct source *source) {
    shoal_buffer_add_char(&source->record, '\0');
    source->fields++;
}

static enum shoal_status check_record(const struct source *source,
                                      struct shoal_error *err) {
    if (source->record.failed)
        return wrong(source, err, "is longer than %d bytes", SHOAL_ROW_MAX);
    for (size_t at = 0; at < source->record.len;) {
        const char *field = source->record.data + at;
        size_t len = strlen(field);
        if (!shoal_utf8_is_valid(field, len))
            return wrong(source, err, "is no UTF-8 text");
        at += len + 1;
    }
    return SHOAL_OK;
}

/* Inside quotes: up to the closing one. */
static enum shoal_status read_quoted(struct source *source, struct shoal_error *err) {
    for (int c; (c = getc_unlocked(source->file)) != EOF;) {
        if (c == '\0')
            return wrong(source, err, "has a NUL byte");
        if (c == '\n')
            source->next_line++;
        if (c == '"') {
            int next = getc_unlocked(source->file);
            if (next != '"') {
                ungetc(next, source->file);
                return SHOAL_OK;
            }
        }
        shoal_buffer_add_char(&source->record, (char)c);
    }
    return wrong(source, err, "opens a quote that is never closed");
}

/* A record of fields. *ret_more is false at the end of the file. A NUL is told at once,
 * since it would look like the end of a field. */
static enum shoal_status read_fields(struct source *source, char separator, bool quotes,
                                     bool *ret_more, struct shoal_error *err) {
    bool begun = false, field_begun = false, quoted = false;
    shoal_buffer_clear(&source->record);
    source->fields = 0;
    source->line = source->next_line;
    for (;;) {
        int c = getc_unlocked(source->file);
        if (c == '\r') {
            int next = getc_unlocked(source->file);
            ungetc(next, source->file);
            if (next == '\n')
                continue;
        }
        if (c == EOF || c == '\n') {
            source->next_line += c == '\n';
            if (c == EOF && !begun) {
                *ret_more = false;
                return SHOAL_OK;
            }
            end_field(source);
            *ret_more = true;
            return check_record(source, err);
        }
        begun = true;
        if (c == '\0')
            return wrong(source, err, "has a NUL byte");
        if (c == separator) {
            end_field(source);
            field_begun = quoted = false;
        } else if (quotes && c == '"' && !field_begun) {
            enum shoal_status status = read_quoted(source, err);
            if (status != SHOAL_OK)
                return status;
            field_begun = quoted = true;
        } else if (quoted) {
            return wrong(source, err, "has text behind a closing quote");
        } else {
            field_begun = true;
            shoal_buffer_add_char(&source->record, (char)c);
        }
    }
}

static bool is_blank(const char *text) {
    return text[strspn(text, " \t\r")] == '\0';
}

/* A line as one field; blank ones are passed over. */
static enum shoal_status read_line(struct source *source, bool *ret_more,
                                   struct shoal_error *err) {
    for (;;) {
        enum shoal_status status = read_fields(source, '\n', false, ret_more, err);
        if (status != SHOAL_OK || !*ret_more ||
            !is_blank(shoal_buffer_text(&source->record)))
            return status;
    }
}

/* ---- columns */

static enum shoal_status check_column(const struct source *source, const char *name,
                                      struct shoal_error *err) {
    static const char *const taken[] = {"job", "rep", "seed", "seed31", "task"};
    if (!shoal_parameter_name_is_valid(name))
        return wrong(source, err,
                     "has the column name '%.80s', which is no parameter name: a letter "
                     "or '_', then letters, digits and '_'",
                     name);
    for (size_t i = 0; i < SHOAL_COUNT(taken); i++) {
        if (strcmp(taken[i], name) == 0)
            return wrong(
                source, err,
                "names a column '%s', which every task has already; call it otherwise",
                name);
    }
    return SHOAL_OK;
}

static enum shoal_status add_column(struct shoal_rows *rows, const struct source *source,
                                    const char *name, struct shoal_error *err) {
    enum shoal_status status = check_column(source, name, err);
    if (status != SHOAL_OK)
        return status;
    for (size_t i = 0; i < rows->n_columns; i++) {
        if (strcmp(rows->columns[i], name) == 0)
            return wrong(source, err, "names two columns '%s'", name);
    }
    if (rows->n_columns == SHOAL_PARAMETERS_MAX)
        return wrong(source, err, "has more than %d columns", SHOAL_PARAMETERS_MAX);
    char **grown = realloc(rows->columns, (rows->n_columns + 2) * sizeof(*grown));
    if (grown == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for columns");
    rows->columns = grown;
    grown[rows->n_columns] = strdup(name);
    grown[rows->n_columns + 1] = NULL;
    if (grown[rows->n_columns] == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for columns");
    rows->n_columns++;
    return SHOAL_OK;
}

static enum shoal_status read_header(struct shoal_rows *rows, const struct source *source,
                                     struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    const char *name = source->record.data;
    for (size_t i = 0; i < source->fields && status == SHOAL_OK; i++) {
        status = add_column(rows, source, name, err);
        name += strlen(name) + 1;
    }
    return status;
}

/* ---- rows of each format */

static enum shoal_status add_table_row(struct shoal_rows *rows, struct source *source,
                                       struct shoal_error *err) {
    if (source->fields == 1 && rows->n_columns > 1 && source->record.data[0] == '\0')
        return SHOAL_OK; /* a blank line, as editors leave at the end */
    if (source->fields != rows->n_columns)
        return wrong(source, err, "has %zu fields, the header has %zu", source->fields,
                     rows->n_columns);
    struct shoal_buffer json;
    shoal_buffer_init(&json, 8 * SHOAL_ROW_MAX);
    const char *field = source->record.data;
    for (size_t i = 0; i < rows->n_columns; i++) {
        shoal_buffer_add_text(&json, i == 0 ? "{" : ",");
        shoal_text_quote(&json, rows->columns[i], strlen(rows->columns[i]));
        shoal_buffer_add_char(&json, ':');
        shoal_text_quote(&json, field, strlen(field));
        field += strlen(field) + 1;
    }
    shoal_buffer_add_char(&json, '}');
    enum shoal_status status = shoal_buffer_check(&json, "a row", err);
    if (status == SHOAL_OK)
        status = add_argument(rows, source, json.data, json.len, err);
    shoal_buffer_finish(&json);
    return status;
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

static enum shoal_status check_object(struct shoal_rows *rows,
                                      const struct source *source, json_t *object,
                                      struct shoal_error *err) {
    const char *name = NULL;
    json_t *value = NULL;
    enum shoal_status status = SHOAL_OK;
    if (!json_is_object(object))
        return wrong(source, err, "is no JSON object, such as {\"x\": 1}");
    if (json_object_size(object) == 0)
        return wrong(source, err, "names no parameter");
    if (rows->n_columns == 0) {
        json_object_foreach(object, name, value) {
            if (status == SHOAL_OK)
                status = add_column(rows, source, name, err);
        }
    }
    for (size_t i = 0; i < rows->n_columns && status == SHOAL_OK; i++) {
        if (json_object_get(object, rows->columns[i]) == NULL)
            status = wrong(source, err, "has no '%s', which the first row has",
                           rows->columns[i]);
    }
    json_object_foreach(object, name, value) {
        if (status == SHOAL_OK)
            status = check_column(source, name, err);
    }
    return status;
}

static enum shoal_status add_json_row(struct shoal_rows *rows, struct source *source,
                                      struct shoal_error *err) {
    json_error_t why;
    json_t *object = json_loads(source->record.data, JSON_REJECT_DUPLICATES, &why);
    struct shoal_buffer json;
    const char *name = NULL;
    json_t *value = NULL;
    shoal_buffer_init(&json, 8 * SHOAL_ROW_MAX);
    enum shoal_status status = object == NULL
                                   ? wrong(source, err, "is no JSON: %s", why.text)
                                   : check_object(rows, source, object, err);
    json_object_foreach(object, name, value) {
        if (status != SHOAL_OK)
            break;
        shoal_buffer_add_text(&json, json.len == 0 ? "{" : ",");
        shoal_text_quote(&json, name, strlen(name));
        shoal_buffer_add_char(&json, ':');
        if (!add_json_value(&json, value))
            status =
                wrong(source, err, "has a '%s' that is neither text nor number", name);
    }
    shoal_buffer_add_text(&json, json.len == 0 ? "{}" : "}");
    if (status == SHOAL_OK)
        status = add_argument(rows, source, json.data, json.len, err);
    json_decref(object);
    shoal_buffer_finish(&json);
    return status;
}

/* ---- the whole file */

static enum shoal_status read_table(struct shoal_rows *rows, struct source *source,
                                    struct shoal_error *err) {
    char separator = rows->format == SHOAL_ROWS_CSV ? ',' : '\t';
    bool quotes = rows->format == SHOAL_ROWS_CSV, more = false;
    enum shoal_status status = read_fields(source, separator, quotes, &more, err);
    if (status == SHOAL_OK && more)
        status = read_header(rows, source, err);
    while (status == SHOAL_OK && more) {
        status = read_fields(source, separator, quotes, &more, err);
        if (status == SHOAL_OK && more)
            status = add_table_row(rows, source, err);
    }
    return status;
}

static enum shoal_status read_lines(struct shoal_rows *rows, struct source *source,
                                    struct shoal_error *err) {
    for (bool more = true;;) {
        enum shoal_status status = read_line(source, &more, err);
        if (status != SHOAL_OK || !more)
            return status;
        status = rows->format == SHOAL_ROWS_JSONL
                     ? add_json_row(rows, source, err)
                     : add_argument(rows, source, source->record.data,
                                    source->record.len - 1, err);
        if (status != SHOAL_OK)
            return status;
    }
}

static void skip_byte_order_mark(FILE *file) {
    static const unsigned char mark[] = {0xef, 0xbb, 0xbf};
    for (size_t i = 0; i < sizeof(mark); i++) {
        int c = getc_unlocked(file);
        if (c == mark[i])
            continue;
        ungetc(c, file);
        while (i > 0) /* it began like a mark; glibc takes back so many */
            ungetc(mark[--i], file);
        return;
    }
}

static enum shoal_status read_all(struct shoal_rows *rows, struct source *source,
                                  struct shoal_error *err) {
    skip_byte_order_mark(source->file);
    bool table = rows->format == SHOAL_ROWS_CSV || rows->format == SHOAL_ROWS_TSV;
    enum shoal_status status =
        table ? read_table(rows, source, err) : read_lines(rows, source, err);
    if (status == SHOAL_OK && ferror(source->file))
        status = shoal_error_set(err, SHOAL_INVALID, "cannot read %.200s: %s",
                                 source->name, strerror(errno));
    if (status == SHOAL_OK && rows->count == 0)
        status = shoal_error_set(err, SHOAL_INVALID,
                                 "%.200s has no rows, so there is nothing to run",
                                 source->name);
    return status == SHOAL_OK ? write_pack(rows, err) : status;
}

static enum shoal_rows_format format_of(const char *path) {
    static const struct {
        const char *end;
        enum shoal_rows_format format;
    } ends[] = {
        {".csv", SHOAL_ROWS_CSV},
        {".jsonl", SHOAL_ROWS_JSONL},
        {".tsv", SHOAL_ROWS_TSV},
    };
    size_t len = strlen(path);
    for (size_t i = 0; i < SHOAL_COUNT(ends); i++) {
        size_t end = strlen(ends[i].end);
        if (len > end && strcmp(path + len - end, ends[i].end) == 0)
            return ends[i].format;
    }
    return SHOAL_ROWS_LINES;
}

static enum shoal_status read_file(struct shoal_rows *rows, const char *path,
                                   struct shoal_error *err) {
    bool standard = strcmp(path, "-") == 0;
    struct source source = {.name = standard ? "stdin" : path, .next_line = 1, .line = 1};
    source.file = standard ? stdin : fopen(path, "re");
    if (source.file == NULL)
        return shoal_error_set(err, SHOAL_INVALID, "cannot read '%.200s': %s", path,
                               strerror(errno));
    shoal_buffer_init(&source.record, SHOAL_ROW_MAX + 1024);
    enum shoal_status status = read_all(rows, &source, err);
    shoal_buffer_finish(&source.record);
    if (!standard)
        fclose(source.file);
    return status;
}

enum shoal_status shoal_rows_load(const char *path, enum shoal_rows_format format,
                                  int64_t repetitions, struct shoal_rows **ret_rows,
                                  struct shoal_error *err) {
    struct shoal_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for rows");
    rows->format = format == SHOAL_ROWS_AUTO ? format_of(path) : format;
    rows->repetitions = repetitions;
    shoal_buffer_init(&rows->pack, 4 * PACK_BYTES);
    rows->packs = tmpfile();
    enum shoal_status status = rows->packs == NULL ? disk_trouble(err) : SHOAL_OK;
    if (status == SHOAL_OK)
        status = read_file(rows, path, err);
    if (status == SHOAL_OK && fflush(rows->packs) != 0)
        status = disk_trouble(err);
    if (status != SHOAL_OK) {
        shoal_rows_destroy(rows);
        return status;
    }
    rewind(rows->packs);
    rows->pack_first = 0;
    *ret_rows = rows;
    return SHOAL_OK;
}

void shoal_rows_destroy(struct shoal_rows *rows) {
    if (rows == NULL)
        return;
    for (size_t i = 0; i < rows->n_columns; i++)
        free(rows->columns[i]);
    free(rows->columns);
    for (size_t i = 0; i < FIRST; i++)
        free(rows->first[i]);
    if (rows->packs != NULL)
        fclose(rows->packs);
    shoal_buffer_finish(&rows->pack);
    free(rows);
}

/* ---- what was read */

int64_t shoal_rows_count(const struct shoal_rows *rows) {
    return rows->count;
}

enum shoal_arguments shoal_rows_arguments(const struct shoal_rows *rows) {
    return rows->format == SHOAL_ROWS_LINES ? SHOAL_ARGUMENTS_LINE
                                            : SHOAL_ARGUMENTS_FIELDS;
}

const char *const *shoal_rows_columns(const struct shoal_rows *rows) {
    return (const char *const *)rows->columns;
}

bool shoal_rows_first(const struct shoal_rows *rows, size_t i, const char **ret_argument,
                      size_t *ret_len) {
    if (i >= FIRST || rows->first[i] == NULL)
        return false;
    *ret_argument = rows->first[i];
    *ret_len = rows->first_lens[i];
    return true;
}

enum shoal_status shoal_rows_next_pack(struct shoal_rows *rows, bool *ret_more,
                                       int64_t *ret_first, int64_t *ret_count,
                                       const char **ret_bytes, size_t *ret_len,
                                       struct shoal_error *err) {
    uint64_t head[2];
    char chunk[4096];
    *ret_more = false;
    if (fread(head, sizeof(head), 1, rows->packs) != 1)
        return ferror(rows->packs) ? disk_trouble(err) : SHOAL_OK;
    shoal_buffer_clear(&rows->pack);
    shoal_record_array(&rows->pack, (size_t)head[0]);
    for (uint64_t left = head[1]; left > 0;) {
        size_t want = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);
        if (fread(chunk, 1, want, rows->packs) != want)
            return disk_trouble(err);
        shoal_buffer_add(&rows->pack, chunk, want);
        left -= want;
    }
    *ret_more = true;
    *ret_first = rows->pack_first;
    *ret_count = (int64_t)head[0];
    *ret_bytes = rows->pack.data;
    *ret_len = rows->pack.len;
    rows->pack_first += *ret_count;
    return shoal_buffer_check(&rows->pack, "a pack of rows", err);
}
