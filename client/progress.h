/* How far a job is, on one line of a terminal: bar, rate, time left, failures; no bar and
 * no time left while it takes more tasks. Nothing where stderr is no terminal. */
#ifndef SHOAL_PROGRESS_H
#define SHOAL_PROGRESS_H

#include "broker/job.h"

#include <stdbool.h>
#include <stdint.h>

struct shoal_progress {
    bool shown;      /* stderr is a terminal */
    bool drawn;      /* the line stands there now */
    bool own_output; /* stdout is the same terminal: the line must go before rows come */
    int64_t next_ms; /* not to be drawn again before */
};

void shoal_progress_init(struct shoal_progress *progress);

/* Draws the line, ten times a second at most. */
void shoal_progress_draw(struct shoal_progress *progress, const struct shoal_job *job);

/* Takes the line away, so that something else can be written. */
void shoal_progress_clear(struct shoal_progress *progress);

#endif
