#include "client/task.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Whose job it is, as far as it is the one that was signed. */
static enum shoal_status find_signer(struct shoal_use *use, struct shoal_one_task *one,
                                     const char *spec, size_t spec_len,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    struct shoal_warrant warrant = {.n_jobs = 0};
    char hash[SHOAL_HASH_DIGITS + 1];
    size_t len = 0;
    if (one->job.warrant[0] == '\0')
        return SHOAL_OK;
    enum shoal_status status =
        shoal_queue_warrant(&use->client->queue, one->job.warrant, &text, &len, NULL);
    if (status != SHOAL_OK && status != SHOAL_UNKNOWN)
        return shoal_error_set(err, status, "the job's warrant cannot be read");
    if (status != SHOAL_OK || len < SHOAL_SEAL_BYTES ||
        !shoal_seal_holds(text, text + SHOAL_SEAL_BYTES, len - SHOAL_SEAL_BYTES) ||
        shoal_warrant_read(text, len, &warrant, NULL) != SHOAL_OK)
        return SHOAL_OK;
    const struct shoal_warrant_job *job = shoal_warrant_find(&warrant, one->job.id);
    if (job != NULL && shoal_hash(spec, spec_len, hash) &&
        strcmp(warrant.specs[job->spec], hash) == 0) {
        memcpy(one->signed_by, warrant.signer.digits, sizeof(one->signed_by));
        one->valid_until_ms = warrant.until_ms;
    }
    shoal_warrant_finish(&warrant);
    return SHOAL_OK;
}

static enum shoal_status read_spec(struct shoal_use *use, struct shoal_one_task *one,
                                   struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    size_t len = 0;
    enum shoal_status status =
        shoal_queue_spec(&use->client->queue, one->job.spec, &text, &len, err);
    if (status == SHOAL_OK)
        status = find_signer(use, one, text, len, err);
    return status == SHOAL_OK ? shoal_spec_read(text, len, &one->spec, err) : status;
}

static enum shoal_status make_parameters(struct shoal_use *use,
                                         struct shoal_one_task *one, int64_t index,
                                         struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *argument = NULL;
    size_t len = 0;
    enum shoal_status status = SHOAL_OK;
    if (one->job.has_arguments)
        status = shoal_queue_argument(&use->client->queue, one->job.id, index, &argument,
                                      &len, err);
    return status == SHOAL_OK ? shoal_parameters_make(&one->spec, index, argument, len,
                                                      &one->parameters, err)
                              : status;
}

enum shoal_status shoal_one_task_find(struct shoal_use *use, const char *job,
                                      const char *index, struct shoal_one_task *one,
                                      struct shoal_error *err) {
    char id[SHOAL_ID_LEN + 1];
    int64_t number = 0;
    *one = (struct shoal_one_task){.argv = NULL};
    enum shoal_status status =
        shoal_integer_parse(index, "TASK", 0, SHOAL_TASKS_MAX - 1, &number, err);
    if (status == SHOAL_OK)
        status = shoal_use_find(use, job, id, err);
    if (status == SHOAL_OK)
        status = shoal_describe(use->client, id, &one->job, err);
    if (status == SHOAL_OK && number >= one->job.total)
        status =
            shoal_error_set(err, SHOAL_UNKNOWN,
                            "job %s has no task %" PRId64 ", they go from 0 to %" PRId64,
                            id, number, one->job.total - 1);
    if (status == SHOAL_OK)
        status = read_spec(use, one, err);
    if (status == SHOAL_OK)
        status = make_parameters(use, one, number, err);
    one->task = (struct shoal_task){
        .job = one->job.id,
        .index = number,
        .seed = shoal_task_seed(one->job.seed, (uint64_t)number),
        .parameters = &one->parameters,
    };
    return status == SHOAL_OK ? shoal_spec_expand(&one->spec, &one->task, &one->argv, err)
                              : status;
}

void shoal_one_task_finish(struct shoal_one_task *one) {
    free(one->argv);
    shoal_parameters_finish(&one->parameters);
    shoal_spec_finish(&one->spec);
}
