/* A parameter space and its point at index i.
 *
 * Lazy: from the text of each parameter, the number of points and any single point are
 * computed in O(number of parameters), so a sweep of 10^15 points costs what its text
 * costs. The first parameter varies slowest, the repetition fastest; with zip all
 * parameters advance together.
 *
 *   VALUES        values
 *   a,b,c         the words as they stand (no word may be empty)
 *   1:10          1, 2, … 10: from A to B by 1, both ends included
 *   0:1:0.05      from A to B by STEP in exact decimals: 0, 0.05, 0.1, … 1, without
 * trailing zeros; a negative step counts down; B is included when the steps meet it
 *   lin:A:B:N     N evenly spaced doubles, the ends exact, each rounded once (N >= 1; 1
 * gives A)
 *   log:A:B:N     N doubles evenly spaced in the logarithm, A and B > 0, the ends exact
 *   @FILE         a value a line (read when the text is parsed; the list becomes part of
 * the sweep) anything else that holds no comma and does not look like a range of numbers:
 * one word
 *
 * A double is written as the shortest decimal that reads back as the same double. */
#ifndef SHOAL_SWEEP_H
#define SHOAL_SWEEP_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/number.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    SHOAL_PARAMETERS_MAX = 100,
    SHOAL_VALUE_MAX = 65536, /* bytes of one value */
};
#define SHOAL_TASKS_MAX (INT64_C(1) << 53)

struct shoal_sweep;

enum shoal_sweep_mode { SHOAL_SWEEP_PRODUCT, SHOAL_SWEEP_ZIP };

/* An empty sweep: one point, no parameters, one repetition. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sweep_create(struct shoal_sweep **ret_sweep,
                                     struct shoal_error *err);
void shoal_sweep_destroy(struct shoal_sweep *sweep);
void shoal_sweep_cleanup(struct shoal_sweep **sweep);

/* Adds "NAME=VALUES". SHOAL_INVALID: no '=', a bad or taken name ("rep", "seed",
 * "seed31", "task" and "job" are taken), bad values, invalid UTF-8, too many; the
 * sentence quotes the text and says what is allowed. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sweep_add(struct shoal_sweep *sweep, const char *definition,
                                  struct shoal_error *err);

void shoal_sweep_set_mode(struct shoal_sweep *sweep, enum shoal_sweep_mode mode);
void shoal_sweep_set_repetitions(struct shoal_sweep *sweep,
                                 int64_t repetitions); /* >= 1 */
int64_t shoal_sweep_repetitions(const struct shoal_sweep *sweep);

/* The number of points, repetitions included. SHOAL_INVALID: more than SHOAL_TASKS_MAX,
 * or zip with unequal lengths (the sentence gives them). */
SHOAL_MUST_CHECK
enum shoal_status shoal_sweep_count(const struct shoal_sweep *sweep, int64_t *ret_count,
                                    struct shoal_error *err);

size_t shoal_sweep_parameters(const struct shoal_sweep *sweep);
const char *shoal_sweep_name(const struct shoal_sweep *sweep, size_t parameter);

/* Appends the value of a parameter at point `index` (0 <= index < count) to `value`. */
void shoal_sweep_value(const struct shoal_sweep *sweep, size_t parameter, int64_t index,
                       struct shoal_buffer *value);

/* The repetition of point `index`, from 0. */
int64_t shoal_sweep_repetition(const struct shoal_sweep *sweep, int64_t index);

/* To and from the JSON that a spec holds: {"mode": "product"|"zip", "repetitions": N,
 * "parameters": [{"name": …, "values": "0:1:0.05" or ["a", "b"]}]}. The caller owns what
 * it gets; `json` is borrowed and may be garbage (SHOAL_GARBAGE). */
SHOAL_MUST_CHECK
enum shoal_status shoal_sweep_write(const struct shoal_sweep *sweep, json_t **ret_json,
                                    struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_sweep_read(const json_t *json, struct shoal_sweep **ret_sweep,
                                   struct shoal_error *err);

#endif
