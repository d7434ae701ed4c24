/* A program's result taken apart into fields, as row.h says.
 *
 * The JSON reader is our own, and small: numbers keep the digits that the program wrote
 * (a 64-bit seed does not become a double), NaN and Infinity pass, which simulators do
 * print, and no tree is built. */
#ifndef SHOAL_FIELD_H
#define SHOAL_FIELD_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

enum shoal_cell_type {
    SHOAL_CELL_MISSING, /* the column has no value here */
    SHOAL_CELL_TEXT,
    SHOAL_CELL_NUMBER, /* its text is a JSON number */
    SHOAL_CELL_JSON,   /* true, false, an array or an object, as compact JSON */
    SHOAL_CELL_TYPE_COUNT
};

typedef enum shoal_status (*shoal_field_fn)(void *owner, const char *name,
                                            size_t name_len, enum shoal_cell_type type,
                                            const char *text, size_t len,
                                            struct shoal_error *err);

/* Calls `add` for each field, in order, also for those of one name; ends with its first
 * status that is not SHOAL_OK. Names and texts may be any bytes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_result_split(const char *result, size_t len, shoal_field_fn add,
                                     void *owner, struct shoal_error *err);

/* Whether a text is a JSON number. */
bool shoal_text_is_number(const char *text, size_t len);

#endif
