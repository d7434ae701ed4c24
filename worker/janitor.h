/* Removes the checkpoints of jobs that Redis does not know any more: at the start and
 * each hour it goes through their directories, a hundred at a time. */
#ifndef SHOAL_JANITOR_H
#define SHOAL_JANITOR_H

#include "broker/queue.h"
#include "worker/checkpoints.h"

#include <dirent.h>

enum { SHOAL_JANITOR_JOBS = 100 };

struct shoal_janitor {
    struct shoal_checkpoints *checkpoints;
    DIR *folder; /* that it goes through; NULL: it does not */
    char of[PATH_MAX - 256];
    char jobs[SHOAL_JANITOR_JOBS][13]; /* that Redis is asked about … */
    bool unknown[SHOAL_JANITOR_JOBS];
    size_t n, answered;
    size_t under_way; /* questions that are not answered yet */
    int64_t next_ms;
};

void shoal_janitor_init(struct shoal_janitor *janitor,
                        struct shoal_checkpoints *checkpoints);
void shoal_janitor_finish(struct shoal_janitor *janitor);

/* A step. `queue`: NULL while Redis is away or its store may be another one. */
void shoal_janitor_tick(struct shoal_janitor *janitor, struct shoal_queue *queue,
                        int64_t now_ms);

#endif
