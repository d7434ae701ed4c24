/* A job's state and counters, as its hash and letters have them. */
#include "broker/queue.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    struct shoal_job job = {.total = 0};
    if (!shoal_job_read_counters(input.at, size, &job))
        return 0;
    assert((unsigned)job.state < SHOAL_JOB_STATE_COUNT);
    assert(job.total >= 0 && job.ok >= 0 && job.failed >= 0 && job.cancelled >= 0);
    assert(job.leased >= 0 && job.delayed >= 0 && job.stored >= 0 && job.trimmed >= 0);
    assert(job.total ==
           job.queued + job.ok + job.failed + job.cancelled + job.leased + job.delayed);
    assert(memchr(data, '\0', size) == NULL);
    return 0;
}
