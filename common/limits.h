/* What a task may use at most. Public: shoal.h includes it. */
#ifndef SHOAL_LIMITS_H
#define SHOAL_LIMITS_H

#include <stdint.h>

/* 0: as much as it likes. Of a runner that stays they are those of its process. */
struct shoal_limits {
    int64_t memory;    /* bytes, of all its processes together */
    int64_t millicpus; /* thousandths of a core: of the time that all of them run */
    int64_t processes; /* at a time; threads count */
    int64_t file_size; /* bytes of each file that it writes */
};

#endif
