/* Waiting in tests: look often, with an end; a sleep guesses. */
#ifndef SHOAL_TEST_WAIT_H
#define SHOAL_TEST_WAIT_H

#include <check.h>
#include <event2/event.h>
#include <stdint.h>
#include <time.h>

/* The real monotonic clock, whatever a test has made of shoal_now_ms(). */
static inline int64_t test_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void test_pause_over(evutil_socket_t fd, short what, void *owner) {
    (void)fd;
    (void)what;
    (void)owner;
}

/* What lies between two looks: half a millisecond, or less when something happens in
 * `base`. */
static inline void test_pause(struct event_base *base) {
    if (base == NULL) {
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
        return;
    }
    struct event *timer = evtimer_new(base, test_pause_over, NULL);
    ck_assert_ptr_nonnull(timer);
    evtimer_add(timer, &(struct timeval){.tv_usec = 500});
    event_base_loop(base, EVLOOP_ONCE);
    event_free(timer);
}

/* Runs `base` (NULL: nothing) until `condition` is true; fails the test when `limit_ms`
 * are over. */
#define loop_until(base, condition, limit_ms)                                            \
    do {                                                                                 \
        int64_t wait_end_ = test_clock_ms() + (limit_ms);                                \
        while (!(condition)) {                                                           \
            if (test_clock_ms() > wait_end_)                                             \
                ck_abort_msg("not true within %d ms: %s", (int)(limit_ms), #condition);  \
            test_pause(base);                                                            \
        }                                                                                \
    } while (0)

#define wait_until(condition, limit_ms) loop_until(NULL, condition, limit_ms)

#endif
