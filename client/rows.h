/* The rows of --from FILE: read to the end and checked, so that nothing is ever
 * half-submitted, and kept as packs of arguments in an unlinked temporary file, so that
 * memory stays bounded.
 *
 *   .csv      RFC 4180 with a header; each row becomes a JSON object of column -> text
 *   .tsv      the same, split at tabs, without quotes
 *   .jsonl    an object of scalars a line; the columns are the names of the first
 *   others    each line that is not blank, as it is
 *
 * All text is UTF-8 without NULs. A UTF-8 byte order mark is dropped. */
#ifndef SHOAL_ROWS_H
#define SHOAL_ROWS_H

#include "common/spec.h"

enum shoal_rows_format {
    SHOAL_ROWS_AUTO, /* by the end of the file's name */
    SHOAL_ROWS_CSV,
    SHOAL_ROWS_TSV,
    SHOAL_ROWS_JSONL,
    SHOAL_ROWS_LINES,
};

enum { SHOAL_ROW_MAX = 65536 }; /* bytes of one row */

struct shoal_rows;

/* `path` "-" is stdin. Each row is stored `repetitions` times in a row. SHOAL_INVALID: it
 * cannot be read, is empty, or a row is wrong; the sentence names file and line. */
SHOAL_MUST_CHECK
enum shoal_status shoal_rows_load(const char *path, enum shoal_rows_format format,
                                  int64_t repetitions, struct shoal_rows **ret_rows,
                                  struct shoal_error *err);
void shoal_rows_destroy(struct shoal_rows *rows); /* NULL is fine */

int64_t shoal_rows_count(const struct shoal_rows *rows); /* repetitions included */
enum shoal_arguments shoal_rows_arguments(const struct shoal_rows *rows);

/* NULL behind the last; NULL for plain lines. */
const char *const *shoal_rows_columns(const struct shoal_rows *rows);

/* Argument i of the first few (5 at least, if there are so many). False: not kept. */
bool shoal_rows_first(const struct shoal_rows *rows, size_t i, const char **ret_argument,
                      size_t *ret_len);

/* The packs in order, 4,096 arguments or about 64 KiB each at most: a RESP array of
 * strings. The bytes are the rows' own until the next call. *ret_more is false at the
 * end. */
SHOAL_MUST_CHECK
enum shoal_status shoal_rows_next_pack(struct shoal_rows *rows, bool *ret_more,
                                       int64_t *ret_first, int64_t *ret_count,
                                       const char **ret_bytes, size_t *ret_len,
                                       struct shoal_error *err);

#endif
