/* Two clocks, as pointers so that tests can hold time in their hands. */
#ifndef SHOAL_CLOCK_H
#define SHOAL_CLOCK_H

#include <stdint.h>

/* Milliseconds that only go forward, for deadlines and durations. */
extern int64_t (*shoal_now_ms)(void);

/* Microseconds of the same clock, for measuring. */
extern int64_t (*shoal_now_us)(void);

/* Milliseconds since 1970, for people. */
extern int64_t (*shoal_wall_ms)(void);

#endif
