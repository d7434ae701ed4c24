/* Rows out of bytes that come in pieces: whoever reads feeds them as they come and takes
 * the rows that are complete.
 *
 *   csv       RFC 4180 with a header; each row becomes a JSON object of column -> text
 *   tsv       the same, split at tabs, without quotes
 *   jsonl     an object of scalars a line; the columns are the names of the first
 *   lines     each line that is not blank, as it is
 *
 * All text is UTF-8 without NULs. A UTF-8 byte order mark is dropped. Where the bytes are
 * cut makes no difference. */
#ifndef SHOAL_ROW_PARSER_H
#define SHOAL_ROW_PARSER_H

#include "common/error.h"

#include <stddef.h>

enum shoal_rows_format {
    SHOAL_ROWS_AUTO, /* by the end of the file's name; not for a parser */
    SHOAL_ROWS_CSV,
    SHOAL_ROWS_TSV,
    SHOAL_ROWS_JSONL,
    SHOAL_ROWS_LINES,
};

enum { SHOAL_ROW_MAX = 65536 }; /* bytes of one row */

struct shoal_row_parser;

/* `name` is for sentences. */
SHOAL_MUST_CHECK
enum shoal_status shoal_row_parser_create(const char *name, enum shoal_rows_format format,
                                          struct shoal_row_parser **ret_parser,
                                          struct shoal_error *err);
void shoal_row_parser_destroy(struct shoal_row_parser *parser); /* NULL is fine */

/* More bytes; they stay the caller's and must stay until they are used up, which is when
 * shoal_row_parser_next() is hungry. */
void shoal_row_parser_feed(struct shoal_row_parser *parser, const char *bytes,
                           size_t len);

/* There are no more: what is there is the last row. */
void shoal_row_parser_end(struct shoal_row_parser *parser);

enum shoal_row_parsed {
    SHOAL_PARSED_ROW,    /* here is one */
    SHOAL_PARSED_HUNGRY, /* a row needs more bytes than there are */
    SHOAL_PARSED_END,    /* there was no more to come, and this is the end of it */
};

/* The next row's argument, the parser's own until the next call. SHOAL_INVALID: the row
 * is wrong; the sentence names the line, and there are no more rows. */
SHOAL_MUST_CHECK
enum shoal_status shoal_row_parser_next(struct shoal_row_parser *parser,
                                        enum shoal_row_parsed *ret_what,
                                        const char **ret_argument, size_t *ret_len,
                                        struct shoal_error *err);

/* Known with the first row. NULL behind the last; NULL for plain lines. */
const char *const *shoal_row_parser_columns(const struct shoal_row_parser *parser);

#endif
