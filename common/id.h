/* Names: random ids of jobs and sessions, and the alphabets of what people name. */
#ifndef SHOAL_ID_H
#define SHOAL_ID_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SHOAL_ID_LEN = 12, /* characters of Crockford's base32, lower case: 60 random bits */
    SHOAL_NAME_MAX = 60, /* characters of a queue, job, worker or parameter name; short
                            enough for a packed Redis hash, whose values have 64 bytes */
};

/* Writes a fresh id and a NUL into `id`, which has room for SHOAL_ID_LEN + 1. */
void shoal_id_make(char *id);

/* Whether `text` is an id, or (prefix) could begin one. */
bool shoal_id_is_valid(const char *text);
bool shoal_id_is_prefix(const char *text);

/* Whether `text` names a queue, job, worker or namespace: 1 to SHOAL_NAME_MAX of letters,
 * digits and "._-", the first one no '-' and no '.'. */
bool shoal_name_is_valid(const char *text);

/* Whether a list as "a,b" has the name. */
bool shoal_name_is_in(const char *list, const char *name);

/* Whether `text` names a parameter: a letter or '_', then letters, digits and '_'. */
bool shoal_parameter_name_is_valid(const char *text);

/* A random number of the whole range, from the kernel. */
uint64_t shoal_random(void);

/* The seed of task `index` of a job with `job_seed`: 63 bits, the same on every machine
 * and for every order of execution. Two rounds of the finalizer of SplitMix64 (Steele,
 * Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) over the
 * pair. */
uint64_t shoal_task_seed(uint64_t job_seed, uint64_t index);

#endif
