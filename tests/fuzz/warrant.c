/* What a submitter signed, with its head: whatever it is, it is read whole or refused,
 * and what is read keeps its bounds. */
#include "broker/warrant.h"

#include "common/id.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

static void check(const struct shoal_warrant *warrant) {
    assert(shoal_name_is_valid(warrant->name_space));
    assert(shoal_id_is_valid(warrant->store));
    assert(warrant->n_specs >= 1 && warrant->n_specs <= SHOAL_SUBMIT_MAX);
    assert(warrant->n_jobs >= 1 && warrant->n_jobs <= SHOAL_SUBMIT_MAX);
    for (size_t i = 0; i < warrant->n_specs; i++)
        assert(strlen(warrant->specs[i]) == SHOAL_HASH_DIGITS);
    for (size_t i = 0; i < warrant->n_jobs; i++) {
        const struct shoal_warrant_job *job = &warrant->jobs[i];
        assert(shoal_warrant_find(warrant, job->id) == job);
        assert(job->spec < warrant->n_specs && shoal_name_is_valid(job->queue));
        assert(strlen(job->policy) < SHOAL_POLICY_ROOM && job->total >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    struct shoal_warrant warrant = {.n_jobs = 0};
    struct shoal_signer_name name;
    struct shoal_error err = {.status = SHOAL_OK};
    if (shoal_warrant_read(input.at, size, &warrant, &err) != SHOAL_OK) {
        assert(err.status == SHOAL_GARBAGE && err.text[0] != '\0');
    } else {
        assert(shoal_seal_name(input.at, size, &name));
        check(&warrant);
    }
    shoal_warrant_finish(&warrant);
    if (shoal_seal_name(input.at, size, &name))
        shoal_seal_holds(input.at, input.at + SHOAL_SEAL_BYTES, size - SHOAL_SEAL_BYTES);
    return 0;
}
