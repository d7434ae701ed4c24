#include "broker/job.h"

#include "common/cleanup.h"

static const struct {
    const char *name;
    bool final;
} states[] = {
    [SHOAL_JOB_WAITING] = {"waiting", false},
    [SHOAL_JOB_ACTIVE] = {"active", false},
    [SHOAL_JOB_STOPPING] = {"stopping", false},
    [SHOAL_JOB_SUCCEEDED] = {"succeeded", true},
    [SHOAL_JOB_FAILED] = {"failed", true},
    [SHOAL_JOB_CANCELLED] = {"cancelled", true},
};
_Static_assert(SHOAL_COUNT(states) == SHOAL_JOB_STATE_COUNT, "a state is missing");

const char *shoal_job_state_name(enum shoal_job_state state) {
    return state < SHOAL_JOB_STATE_COUNT ? states[state].name : "unknown";
}

bool shoal_job_state_is_final(enum shoal_job_state state) {
    return state < SHOAL_JOB_STATE_COUNT && states[state].final;
}

void shoal_job_policy_init(struct shoal_job_policy *policy) {
    *policy = (struct shoal_job_policy){
        .priority = 5,
        .max_lost = 5,
        .keep_ms = INT64_C(7) * 24 * 3600 * 1000,
    };
}
