#include "common/clock.h"

#include <time.h>

static int64_t microseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t monotonic_us(void) {
    return microseconds(CLOCK_MONOTONIC);
}

static int64_t monotonic_ms(void) {
    return microseconds(CLOCK_MONOTONIC) / 1000;
}

static int64_t realtime_ms(void) {
    return microseconds(CLOCK_REALTIME) / 1000;
}

int64_t (*shoal_now_ms)(void) = monotonic_ms;
int64_t (*shoal_now_us)(void) = monotonic_us;
int64_t (*shoal_wall_ms)(void) = realtime_ms;
