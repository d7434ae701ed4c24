/* One option table for all programs: an option is a row that parses, bounds and documents
 * itself.
 *
 * The value comes from the command line, else from the environment variable of the row,
 * else from the fallback; each is parsed and bounded by the same code. Help text, man
 * page section, shell completion come from the same row. */
#ifndef SHOAL_OPTION_H
#define SHOAL_OPTION_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum shoal_option_type {
    SHOAL_OPTION_FLAG, /* bool: --name sets it */
    SHOAL_OPTION_TEXT, /* const char *: as given; points into argv, environ or the row */
    SHOAL_OPTION_NAME, /* const char *: shoal_name_is_valid() */
    SHOAL_OPTION_INTEGER,     /* int64_t */
    SHOAL_OPTION_SIZE,        /* int64_t bytes: 64k, 16M, 1G (1024), plain bytes */
    SHOAL_OPTION_THOUSANDTHS, /* int64_t: 0.5 is 500 */
    SHOAL_OPTION_DURATION, /* int64_t ms: 250ms, 1.5s, 10m, 2h, 7d, 1w; a bare number is
                              seconds */
    SHOAL_OPTION_CHOICE,   /* int: the index of the word in `choices` */
    SHOAL_OPTION_LIST,     /* struct shoal_option_list: repeatable texts */
};

struct shoal_option_list {
    const char **items; /* NULL until the first; freed by shoal_options_finish() */
    size_t n;
};

struct shoal_option {
    const char *name; /* long name without dashes; NULL ends a table */
    char letter;      /* short name, or 0 */
    enum shoal_option_type type;
    void *value; /* where the result goes */
    bool *given; /* set to true when it came from argv or the environment; may be NULL */
    const char *fallback; /* text of the default, parsed like the rest; NULL: zero */
    const char *least;    /* bounds of numbers, as text of the same type; NULL: none */
    const char *most;
    const char *environment;    /* variable that gives the default; NULL: none */
    const char *argument;       /* what help calls the value: "URL", "N", "NAME=VALUES" */
    const char *const *choices; /* of CHOICE, NULL-terminated */
    const char *help; /* a clause, lower case, no full stop; NULL: taken but not shown */
    const char *section; /* heading in help and man page; NULL: "Options" */
};

/* Parses argv[1…] by several tables (a NULL-terminated array of them): "--name=value" and
 * "--name value", "-n value" and "-nvalue", bundled flags, unambiguous prefixes of long
 * names, until "--". Words that are no options are collected in order, also between
 * options, unless `stop_at_word`, with which parsing ends at the first.
 *
 * ret_rest: index into argv, which is permuted, of the first word; a "--" is left out.
 * SHOAL_INVALID: the sentence names the option or environment variable, quotes the value,
 * gives the bounds, suggests the nearest name for an unknown one, and ends with
 * "see 'PROGRAM --help'", where PROGRAM is what follows the last '/' of argv[0]. */
SHOAL_MUST_CHECK
enum shoal_status shoal_options_parse(const struct shoal_option *const *tables, int argc,
                                      char **argv, bool stop_at_word, int *ret_rest,
                                      struct shoal_error *err);

/* Frees what lists hold. */
void shoal_options_finish(const struct shoal_option *const *tables);

/* Help as people read it: sections, aligned, wrapped to the terminal's width (80 where
 * there is none, 100 at most), with units, bounds, default and environment variable. */
void shoal_options_help(const struct shoal_option *const *tables, FILE *out);

/* The same rows as the OPTIONS section of a man page (man(7) macros). */
void shoal_options_man(const struct shoal_option *const *tables, FILE *out);

/* Single values by the same rules, for what is not an option. `what` names it in the
 * sentence. */
SHOAL_MUST_CHECK
enum shoal_status shoal_duration_parse(const char *text, const char *what,
                                       int64_t *ret_ms, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_size_parse(const char *text, const char *what, int64_t *ret_bytes,
                                   struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_thousandths_parse(const char *text, const char *what,
                                          int64_t *ret_value, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_integer_parse(const char *text, const char *what, int64_t least,
                                      int64_t most, int64_t *ret_value,
                                      struct shoal_error *err);

/* "1.5s", "250ms", "7d" into `text` of `room` bytes (24 are enough): the shortest exact
 * form. */
void shoal_duration_print(int64_t ms, char *text, size_t room);
void shoal_size_print(int64_t bytes, char *text, size_t room);        /* "64k" */
void shoal_thousandths_print(int64_t value, char *text, size_t room); /* "0.5" */

#endif
