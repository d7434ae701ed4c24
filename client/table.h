/* Rows, printed for people or programs.
 *
 *   table   aligned. It streams: the widths come from the first rows (at most 100 or
 *           those of 200 ms), wider cells that come later push what is right of them.
 *           Control characters never come out as such. A missing value is "-".
 *   csv     quoted as RFC 4180 says, lines end in a newline.
 *   jsonl   a JSON object a row, numbers as numbers, missing values left out.
 *
 * With a list of columns these are the columns. Without one (while a job runs) table has
 * those of the first rows, and what comes later stands as key=value at the end of its
 * row; csv has those of the first successful row (of nothing else: rows before it wait,
 * 16 MiB of them at most) and a last column `extra`, in which keys that are none of them
 * stand as a JSON object.
 *
 * The program must ignore SIGPIPE. When the reader has gone (EPIPE), printing goes on
 * without effect and without complaint; shoal_table_reader_left() tells. */
#ifndef SHOAL_TABLE_H
#define SHOAL_TABLE_H

#include "client/dictionary.h"
#include "client/row.h"
#include "client/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum shoal_table_format {
    SHOAL_TABLE_TEXT,
    SHOAL_TABLE_CSV,
    SHOAL_TABLE_JSONL,
    SHOAL_TABLE_FORMAT_COUNT
};

/* "table", "csv", "jsonl" and a NULL: the choices of an option. */
extern const char *const shoal_table_formats[];

/* ---- the columns of rows that are all known */

enum { SHOAL_COLUMNS_MAX = 10000 };

struct shoal_columns {
    struct shoal_dictionary names; /* in the order of the columns */
    bool more;                     /* there were more: `extra` has the rest */
};

void shoal_columns_init(struct shoal_columns *columns);
void shoal_columns_finish(struct shoal_columns *columns);
void shoal_columns_cleanup(struct shoal_columns *columns); /* the same */

/* Adds the columns of a row that are not there yet. */
SHOAL_MUST_CHECK
enum shoal_status shoal_columns_add(struct shoal_columns *columns,
                                    const struct shoal_row *row, struct shoal_error *err);

/* ---- printing */

struct shoal_table_options {
    enum shoal_table_format format;
    FILE *out;     /* the caller's, who closes it after shoal_table_end() */
    bool terminal; /* table: texts of more than 40 columns are cut and end in "…" */
    const struct shoal_columns *columns; /* copied; NULL: not known yet */
};

struct shoal_table;

SHOAL_MUST_CHECK
enum shoal_status shoal_table_create(const struct shoal_table_options *options,
                                     struct shoal_table **ret_table,
                                     struct shoal_error *err);
void shoal_table_destroy(struct shoal_table *table);
void shoal_table_cleanup(struct shoal_table **table);

/* Prints a row, or keeps a copy until the columns are known. SHOAL_SYSTEM: it could not
 * be written (the disk is full …). */
SHOAL_MUST_CHECK
enum shoal_status shoal_table_add(struct shoal_table *table, const struct shoal_row *row,
                                  struct shoal_error *err);

/* Prints what has waited long enough and flushes; for whoever waits for more rows.
 * *ret_wait_ms: call again after that many ms, -1: not needed before the next row. */
SHOAL_MUST_CHECK
enum shoal_status shoal_table_tick(struct shoal_table *table, int64_t *ret_wait_ms,
                                   struct shoal_error *err);

/* Prints what still waits (and the head if there was no row but a list of columns) and
 * flushes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_table_end(struct shoal_table *table, struct shoal_error *err);

/* Whether the output was closed by whoever read it. */
bool shoal_table_reader_left(const struct shoal_table *table);

/* Whether every row that was added is written, after a tick. */
bool shoal_table_is_through(const struct shoal_table *table);

#endif
