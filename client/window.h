/* What of an open job is under way between its producer and its reader: packs in the
 * order of their tasks, each until all of its rows are out.
 *
 *      released        rows to come                     nothing yet
 *   --------------|-- pack -- pack -- (out) -- pack --|------------->  tasks
 *
 * Tasks and bytes count as under way until settle(), which is when Redis has been told
 * that the rows are out; so no more than the bounds below is ever kept for them. */
#ifndef SHOAL_WINDOW_H
#define SHOAL_WINDOW_H

#include "broker/queue.h"

/* So many tasks keep a few hundred slots busy between two acknowledgements, and so many
 * bytes still are 512 rows of the largest kind. */
enum { SHOAL_WINDOW_TASKS = 100000, SHOAL_WINDOW_BYTES = 32 << 20 };

struct shoal_window {
    struct shoal_window_pack *packs; /* from `at` on, by their first task */
    size_t at, n, room;
    struct shoal_pack_range *out; /* packs all of whose rows are out */
    size_t n_out, out_room;
    int64_t tasks; /* under way */
    int64_t bytes;
    int64_t tasks_out; /* of these, rows that are out since the last settle() */
    int64_t bytes_out;
};

void shoal_window_init(struct shoal_window *window);
void shoal_window_finish(struct shoal_window *window);

bool shoal_window_has_room(const struct shoal_window *window);

/* Tasks [first, first + n), which lie behind all others, with `bytes` of arguments. */
SHOAL_MUST_CHECK
enum shoal_status shoal_window_add(struct shoal_window *window, int64_t first, int64_t n,
                                   size_t bytes, struct shoal_error *err);

/* The row of a task is out. */
void shoal_window_row(struct shoal_window *window, int64_t index);

/* So are all others: what has no row to come is not waited for. */
void shoal_window_all(struct shoal_window *window);

/* Whether so much is out that the producer would soon wait. */
bool shoal_window_wants_settling(const struct shoal_window *window);
void shoal_window_settle(struct shoal_window *window);

#endif
