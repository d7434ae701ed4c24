/* A page of memory that a worker and a runner that stays share, for what must be seen at
 * once while a task runs. Each field has one writer.
 *
 * A position counts the tasks that a runner was sent, from 0.
 *
 * Which task ended its runner is read from `mark`. Tasks are taken back by lowering
 * `limit`: a task that is begun at that very moment may run twice, and its first outcome
 * counts. */
#ifndef SHOAL_SLATE_H
#define SHOAL_SLATE_H

#include <stdatomic.h>
#include <stdint.h>

enum { SHOAL_SLATE_SIZE = 4096 }; /* bytes */

enum shoal_slate_stop {
    SHOAL_SLATE_GO_ON,
    SHOAL_SLATE_STOP,    /* the task is not wanted any more */
    SHOAL_SLATE_TIMEOUT, /* its time is over */
    SHOAL_SLATE_WARNING, /* its time is nearly over */
};

/* 64-bit numbers of the machine's own byte order. */
struct shoal_slate {
    _Atomic int64_t mark;  /* runner: position of the task that runs, or is about to */
    _Atomic int64_t limit; /* worker: no task from this position on is begun */
    _Atomic int64_t stop;  /* worker: enum shoal_slate_stop, for the task that runs */
    _Atomic int64_t asked; /* runner: 1 once a task has asked whether it should stop */
};

#endif
