/* The batches in the hands of a runner that stays, in the order in which it runs them.
 *
 *     [ over … ][ at work | sent … | dropped … ][ not sent … ]
 *
 * Several are sent before the first is over, so that small ones do not each wait for the
 * next. On the slate their tasks are numbered through, by positions: the first task that
 * a process is sent has position 0. A batch is dropped when its tasks were taken back;
 * the process still says that it is over, with nothing done, and only then are others
 * sent. */
#ifndef SHOAL_BATCHES_H
#define SHOAL_BATCHES_H

#include "worker/runner.h"

enum { SHOAL_BATCHES_MAX = 64 };

struct shoal_given {
    struct shoal_batch batch;             /* lo: the first that is not reported */
    struct shoal_record_reader arguments; /* what batch.arguments points to */
    int64_t shift;                        /* position minus index, once it is sent */
    int64_t end;                          /* hi as it was sent */
    bool sent;
    bool dropped;
};

struct shoal_batches {
    struct shoal_given items[SHOAL_BATCHES_MAX];
    size_t first;
    size_t n;
    int64_t positions; /* so many tasks were sent */
};

/* The one at work, or the next; NULL: there is none. */
struct shoal_given *shoal_batches_first(struct shoal_batches *batches);

/* The i-th of those that were not dropped; NULL: there are not so many. */
struct shoal_given *shoal_batches_at(struct shoal_batches *batches, size_t i);

/* Puts a copy behind the others; there is room. */
struct shoal_given *shoal_batches_add(struct shoal_batches *batches,
                                      const struct shoal_batch *batch);
void shoal_batches_shift(struct shoal_batches *batches); /* the first is over */
void shoal_batches_clear(struct shoal_batches *batches);

/* The first that was not sent; NULL: there is none. */
struct shoal_given *shoal_batches_unsent(struct shoal_batches *batches);

/* Notes that it is sent, with `count` tasks. */
void shoal_batches_sent(struct shoal_batches *batches, struct shoal_given *given,
                        int64_t count);

/* The task at that position, and the place among those not dropped of the batch that it
 * is of. When it is of none: the first task of the first. */
int64_t shoal_batches_find(struct shoal_batches *batches, int64_t position,
                           size_t *ret_place);

/* Whether the task at that position was taken back, as it began. */
bool shoal_batches_took_back(struct shoal_batches *batches, int64_t position);

/* Drops those behind it: of those that were not sent nothing is left. */
void shoal_batches_drop_behind(struct shoal_batches *batches,
                               const struct shoal_given *given);

/* Tasks in its hands that are not reported. */
int64_t shoal_batches_tasks(struct shoal_batches *batches);

#endif
