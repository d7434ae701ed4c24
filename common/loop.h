/* The event loop of every program here. */
#ifndef SHOAL_LOOP_H
#define SHOAL_LOOP_H

#include <event2/event.h>
#include <stdint.h>

/* An event base whose timers go by the precise clock: the coarse one, which libevent
 * takes by itself, stands still for up to 4 ms. NULL: no memory. event_base_free(). */
struct event_base *shoal_loop_new(void);

/* Lets it run so long; less when it is broken off, or when there is no memory for the
 * time, so call it again for what is left if that matters. */
void shoal_loop_run(struct event_base *base, int64_t ms);

#endif
