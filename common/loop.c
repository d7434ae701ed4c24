#include "common/loop.h"

#include <poll.h>

struct event_base *shoal_loop_new(void) {
    struct event_config *config = event_config_new();
    if (config == NULL)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

void shoal_loop_run(struct event_base *base, int64_t ms) {
    enum { WITHOUT_MEMORY_MS = 50 };
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (event_base_loopexit(base, &tv) == 0) {
        event_base_dispatch(base);
        return;
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
    poll(NULL, 0, ms < WITHOUT_MEMORY_MS ? (int)ms : WITHOUT_MEMORY_MS);
}
