/* A Monte Carlo estimate of pi, as a plug-in:
 *
 *     shoal run --plugin libpi.so --task pi -p points=1000000 --reps 100 --name pi
 *     shoal results pi --by points */
#include "worker/shoal_task.h"

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the next of a sequence of 64 bits. */
static uint64_t next(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform in [0, 1). */
static double uniform(uint64_t *state) {
    return (double)(next(state) >> 11) * 0x1p-53;
}

/* Throws so many points into the unit square; when it is asked to stop, it gives what it
 * has by then. */
static int pi(struct shoal_call *call) {
    int64_t points = shoal_call_int(call, "points", 1000000), thrown = 0, inside = 0;
    uint64_t state = shoal_call_seed(call);
    if (points < 1)
        return shoal_call_fail(call, "points must be a number from 1 on");
    while (thrown < points && !shoal_call_should_stop(call)) {
        int64_t upto = thrown + 100000 < points ? thrown + 100000 : points;
        for (; thrown < upto; thrown++) {
            double x = uniform(&state), y = uniform(&state);
            inside += x * x + y * y < 1;
        }
        shoal_call_progress(call, (double)thrown / (double)points, "throwing");
    }
    if (thrown == 0)
        return shoal_call_fail(call, "it was stopped before the first point");
    shoal_call_add_number(call, "pi", 4.0 * (double)inside / (double)thrown);
    shoal_call_add_int(call, "thrown", thrown);
    return 0;
}

static const struct shoal_task_entry tasks[] = {{"pi", pi}, {0}};
SHOAL_TASK_API const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION, tasks};
