/* A row of a job's table: cells with names, in the order of the columns
 *
 *     task, parameters, rep, status, reason, attempt, worker, wall_s, cpu_s, rss_mb
 *
 * and behind them what the program reported. `rep` is there only when the sweep repeats.
 * Every row of a job begins with the same columns; those of a line argument are called
 * "argument".
 *
 * A result is taken apart like this, the first that fits:
 *
 *   a JSON object     a column for each key: strings bare, numbers as they were written,
 *                     nested values as compact JSON, null as a missing value; NaN,
 *                     Infinity and -Infinity as the texts nan, inf and -inf, in nested
 *                     values as null
 *   key=value lines   a column for each key (every line that is not blank; the key a
 *                     letter or '_' and then letters, digits and "_.-")
 *   a JSON value      a column `result`
 *   other text        a column `result`, without blanks at its end; nothing but blanks:
 *                     no column
 *
 * The last of a key wins. A key whose name a parameter or one of the columns above has
 * gets "result." in front, and so does one that would then look the same; a parameter
 * that is named like a column above gets "param." All text in a row is valid UTF-8
 * without NULs: what is not was replaced by U+FFFD. */
#ifndef SHOAL_ROW_H
#define SHOAL_ROW_H

#include "broker/outcome.h"
#include "client/dictionary.h"
#include "client/field.h"
#include "common/buffer.h"
#include "common/spec.h"

#include <stdbool.h>
#include <stdint.h>

struct shoal_cell {
    enum shoal_cell_type type;
    size_t text; /* offset into the row's text: use the functions below */
    size_t len;
};

/* Fill, use, clear, fill again: the memory is kept. */
struct shoal_row {
    int64_t index; /* of the task; 0 for rows that are no tasks */
    bool ok;
    size_t own; /* cells from this one on are the program's */
    struct shoal_cell *cells;
    size_t n;
    size_t room;
    struct shoal_buffer text;
    struct shoal_dictionary names; /* cell i has name i */
};

void shoal_row_init(struct shoal_row *row);
void shoal_row_finish(struct shoal_row *row);
void shoal_row_cleanup(struct shoal_row *row); /* the same */
void shoal_row_clear(struct shoal_row *row);

/* Adds a cell, or gives the cell of that name another value. */
SHOAL_MUST_CHECK
enum shoal_status shoal_row_add(struct shoal_row *row, const char *name, size_t name_len,
                                enum shoal_cell_type type, const char *text, size_t len,
                                struct shoal_error *err);

/* The same for text; it is a number when it looks like a JSON number. */
SHOAL_MUST_CHECK
enum shoal_status shoal_row_add_text(struct shoal_row *row, const char *name,
                                     const char *text, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_row_add_int(struct shoal_row *row, const char *name,
                                    int64_t value, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_row_add_double(struct shoal_row *row, const char *name,
                                       double value, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_row_add_missing(struct shoal_row *row, const char *name,
                                        struct shoal_error *err);

/* Name and text of cell i, and the cell of a name (SHOAL_NOT_THERE: none). */
const char *shoal_row_name(const struct shoal_row *row, size_t i);
const char *shoal_row_text(const struct shoal_row *row, size_t i);
size_t shoal_row_find(const struct shoal_row *row, const char *name);

/* Appends cell i as "name":value, or all that are not missing as a JSON object. */
void shoal_row_add_member(const struct shoal_row *row, size_t i,
                          struct shoal_buffer *json);
void shoal_row_add_object(const struct shoal_row *row, struct shoal_buffer *json);

/* A row as bytes, for a sorter, and back. SHOAL_GARBAGE: it is none. */
void shoal_row_write(const struct shoal_row *row, struct shoal_buffer *bytes);
SHOAL_MUST_CHECK
enum shoal_status shoal_row_read(struct shoal_row *row, const void *bytes, size_t len,
                                 struct shoal_error *err);

/* ---- rows of a job */

/* Makes the rows of one job. `spec` must stay. */
struct shoal_row_maker;

SHOAL_MUST_CHECK
enum shoal_status shoal_row_maker_create(const struct shoal_spec *spec,
                                         struct shoal_row_maker **ret_maker,
                                         struct shoal_error *err);
void shoal_row_maker_destroy(struct shoal_row_maker *maker);
void shoal_row_maker_cleanup(struct shoal_row_maker **maker);

/* What a row is made of; all borrowed. */
struct shoal_row_source {
    int64_t index;
    const char *argument; /* explicit; NULL: the job has none or it was trimmed */
    size_t argument_len;
    const char *worker;
    size_t worker_len;
    const struct shoal_outcome *outcome;
};

/* Clears `row` and fills it. An argument that cannot be read gives missing parameters,
 * since such a task is a row too. */
SHOAL_MUST_CHECK
enum shoal_status shoal_row_make(const struct shoal_row_maker *maker,
                                 const struct shoal_row_source *source,
                                 struct shoal_row *row, struct shoal_error *err);

/* The columns that all rows of the job begin with, as a row of missing cells. */
SHOAL_MUST_CHECK
enum shoal_status shoal_row_maker_head(const struct shoal_row_maker *maker,
                                       struct shoal_row *row, struct shoal_error *err);

#endif
