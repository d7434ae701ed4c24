/* The event loop of every program here. */
#ifndef SHOAL_LOOP_H
#define SHOAL_LOOP_H

#include <event2/event.h>

/* An event base whose timers go by the precise clock: the coarse one, which libevent
 * takes by itself, stands still for up to 4 ms. NULL: no memory. event_base_free(). */
struct event_base *shoal_loop_new(void);

#endif
