/* Why a job that somebody waits for stands still: its queue is paused, no worker serves
 * it, or whoever tried could not start it. Each is said once, on stderr. */
#ifndef SHOAL_STALL_H
#define SHOAL_STALL_H

#include "client/cli.h"
#include "client/progress.h"

/* All 0 at the beginning but for the first two. */
struct shoal_stall {
    struct shoal_progress *progress; /* which goes before something is said, or NULL */
    bool has_worker;                 /* a local one, of whose end others tell */
    int64_t next_ms;                 /* it is not looked at again before */
    int64_t pause_ms;                /* between two looks */
    int64_t done; /* tasks that had ended, and one, at a look when nothing of it ran;
                         0: it did not stand still then */
    unsigned said;
};

/* Looks at most every 2 s, and less often while it stands still. Says something when that
 * has lasted from one look to the next. Redis may be away. */
void shoal_stall_look(struct shoal_stall *stall, struct shoal_use *use, const char *id);

#endif
