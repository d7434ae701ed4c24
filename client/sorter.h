/* Records sorted by task in bounded memory: runs are sorted in memory, written to one
 * unlinked temporary file in $TMPDIR (/tmp), and merged.
 *
 *     add, add, add … start, next, next … next says that there is no more
 *
 * Of several records of one task only the one that was added last comes out, since a
 * retry makes a second row. To print rows unsorted and still without those that a later
 * one replaces, without holding them: pass one adds (task, nothing) for each row to a
 * sorter that tells a second sorter what is replaced, and drains it; pass two counts rows
 * as they come and skips those whose number the second sorter gives next. A job that was
 * never retried needs none of this. */
#ifndef SHOAL_SORTER_H
#define SHOAL_SORTER_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHOAL_SORTER_MEMORY = 64 << 20, /* usual bytes of a run */
    SHOAL_RECORD_MAX = 64 << 20,    /* bytes of one record */
    SHOAL_RUNS_MAX = 16384,         /* a terabyte with usual runs */
};

struct shoal_sorter;

/* `memory`: bytes of a run. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sorter_create(size_t memory, struct shoal_sorter **ret_sorter,
                                      struct shoal_error *err);
void shoal_sorter_destroy(struct shoal_sorter *sorter);
void shoal_sorter_cleanup(struct shoal_sorter **sorter);

/* From now on, whenever a record is passed over since a later one has its task, its
 * number (from 0, in the order of shoal_sorter_add()) is added to `replaced` as a task
 * with an empty record. `replaced` is the caller's and is started when this sorter has
 * come to its end. */
void shoal_sorter_tell(struct shoal_sorter *sorter, struct shoal_sorter *replaced);

/* Copies the record. SHOAL_SYSTEM: the temporary file could not be made or written. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sorter_add(struct shoal_sorter *sorter, int64_t task,
                                   const void *bytes, size_t len,
                                   struct shoal_error *err);

/* Nothing is added after it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sorter_start(struct shoal_sorter *sorter,
                                     struct shoal_error *err);

/* The next record by task; the bytes are the sorter's and stay until the next call.
 * *ret_more is false at the end. */
SHOAL_MUST_CHECK
enum shoal_status shoal_sorter_next(struct shoal_sorter *sorter, bool *ret_more,
                                    int64_t *ret_task, const char **ret_bytes,
                                    size_t *ret_len, struct shoal_error *err);

#endif
