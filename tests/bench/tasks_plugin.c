/* Tasks to measure with. */
#include "worker/shoal_task.h"

static int noop(struct shoal_call *call) {
    (void)call;
    return 0;
}

static bool is_prime(int64_t n) {
    if (n < 4)
        return n > 1;
    for (int64_t d = 2; d * d <= n; d++) {
        if (n % d == 0)
            return false;
    }
    return true;
}

/* How many primes lie in [from, from + width). */
static int primes(struct shoal_call *call) {
    int64_t from = shoal_call_int(call, "from", 0), n = 0;
    int64_t behind = from + shoal_call_int(call, "width", 1);
    for (int64_t i = from; i < behind; i++)
        n += is_prime(i);
    shoal_call_add_int(call, "primes", n);
    return 0;
}

static const struct shoal_task_entry tasks[] = {{"noop", noop}, {"primes", primes}, {0}};
SHOAL_TASK_API const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION, tasks};
