/* Reading JSON where memory may end. */
#ifndef SHOAL_JSON_H
#define SHOAL_JSON_H

#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

/* Reads a text in which no name of an object is there twice. The value is the caller's.
 *
 * SHOAL_MEMORY   there is no memory for it.
 * SHOAL_GARBAGE  it is no JSON; the sentence says why and where. */
SHOAL_MUST_CHECK
enum shoal_status shoal_json_read(const char *text, size_t len, json_t **ret_json,
                                  struct shoal_error *err);

#endif
