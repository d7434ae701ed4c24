/* The rows of --from FILE: read to the end and checked, so that nothing is ever
 * half-submitted, and kept as packs of arguments in an unlinked temporary file, so that
 * memory stays bounded. */
#ifndef SHOAL_ROWS_H
#define SHOAL_ROWS_H

#include "client/row_parser.h"
#include "common/spec.h"

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
enum shoal_arguments shoal_rows_kind(enum shoal_rows_format format);

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
