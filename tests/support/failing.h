/* What a program tells of its fault, that tests/support/failing_plugin.c is preloaded
 * into. */
#ifndef SHOAL_TEST_FAILING_H
#define SHOAL_TEST_FAILING_H

#include <stdatomic.h>
#include <stdint.h>

enum { FAILING_FRAMES_MAX = 24, FAILING_SITES_MAX = 1 << 16 };

/* tests/chaos/failing.py reads it, too. */
struct failing_report {
    _Atomic uint64_t counted; /* calls that could have been the n-th */
    _Atomic uint64_t fired;
    uint64_t ended;  /* by exit(): 1 more than its status */
    uint64_t n_open; /* descriptors then, beside the first three */
    char open[240];  /* what they are of */
    char function[32];
    uint64_t n_frames;
    struct failing_frame {
        char module[96];
        uint64_t offset;
    } frames[FAILING_FRAMES_MAX]; /* where the first one failed, the innermost first */
    uint32_t sites[FAILING_SITES_MAX]; /* with n = 0: a hash of where each came from */
};

#endif
