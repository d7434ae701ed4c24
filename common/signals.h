/* The signals of a daemon, heard by its event loop. They are blocked and read from a
 * descriptor (signalfd), so that none is lost: not before the loop listens or when it has
 * ended, and not where the program becomes another one, which finds those that wait. (By
 * libevent's own way one is, where a call of it fails or is interrupted.) */
#ifndef SHOAL_SIGNALS_H
#define SHOAL_SIGNALS_H

#include "common/error.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

/* Returns whether it wants to hear the next one in this turn of the loop. */
typedef bool shoal_signal_fn(int number, void *owner);

struct shoal_signals {
    int fd;
    struct event *event;
    shoal_signal_fn *hear;
    void *owner;
};

/* Blocks the n signals, and no other, and listens to them: also to those that a process
 * ignores. False, with errno: no descriptor or no memory. shoal_signals_finish() follows
 * in either case. */
SHOAL_MUST_CHECK
bool shoal_signals_begin(struct shoal_signals *signals, struct event_base *base,
                         const int *numbers, size_t n, shoal_signal_fn *hear,
                         void *owner);

/* Nobody listens any more, and they stay blocked. */
void shoal_signals_finish(struct shoal_signals *signals);

#endif
