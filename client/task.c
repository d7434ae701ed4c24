#include "client/task.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 19 }; /* of a number that fits */

static enum shoal_status read_warrant(struct shoal_use *use, struct shoal_one_task *one,
                                      struct shoal_error *err) {
    if (one->job.warrant[0] == '\0')
        return SHOAL_OK;
    enum shoal_status status = shoal_queue_warrant(
        &use->client->queue, one->job.warrant, &one->warrant, &one->warrant_len, NULL);
    return status == SHOAL_OK || status == SHOAL_UNKNOWN
               ? SHOAL_OK
               : shoal_error_set(err, status, "the job's warrant cannot be read");
}

static enum shoal_status hash_spec(struct shoal_one_task *one, struct shoal_error *err) {
    char digits[SHOAL_HASH_DIGITS + 1];
    if (!shoal_hash(one->text, one->len, one->spec_hash) ||
        !shoal_redis_hash(one->text, one->len, digits))
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a spec");
    one->changed = strncmp(digits, one->job.spec, strlen(one->job.spec)) != 0;
    return SHOAL_OK;
}

/* What can be shown of a task whose spec is no good is shown. */
static enum shoal_status damage(struct shoal_one_task *one, enum shoal_status status,
                                const struct shoal_error *why, struct shoal_error *err) {
    if (status != SHOAL_OK && status != SHOAL_GARBAGE && status != SHOAL_UNKNOWN)
        return shoal_error_set(err, status, "%s", why->text);
    if (status != SHOAL_OK)
        shoal_error_set(&one->damage, SHOAL_GARBAGE,
                        "the spec of job %s cannot be read: %.300s", one->job.id,
                        why->text);
    return SHOAL_OK;
}

static enum shoal_status find_spec(struct shoal_use *use, struct shoal_one_task *one,
                                   struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status =
        shoal_queue_spec(&use->client->queue, one->job.spec, &one->text, &one->len, &why);
    if (status == SHOAL_OK)
        status = hash_spec(one, &why);
    if (status == SHOAL_OK)
        status = read_warrant(use, one, &why);
    return damage(one, status, &why, err);
}

static enum shoal_status find_arguments(struct shoal_use *use, struct shoal_one_task *one,
                                        struct shoal_error *err) {
    if (!one->job.has_arguments || one->pack != NULL)
        return SHOAL_OK;
    return shoal_queue_arguments(&use->client->queue, one->job.id, one->task.index,
                                 &one->first, &one->pack, &one->pack_len, one->seal, err);
}

static enum shoal_status make_parameters(struct shoal_use *use,
                                         struct shoal_one_task *one,
                                         struct shoal_error *err) {
    const char *argument = NULL;
    size_t len = 0;
    int64_t index = one->task.index;
    enum shoal_status status = find_arguments(use, one, err);
    if (status == SHOAL_OK && one->pack != NULL)
        status = shoal_pack_argument(one->pack, one->pack_len, index - one->first,
                                     &argument, &len, err);
    return status == SHOAL_OK ? shoal_parameters_make(&one->spec, index, argument, len,
                                                      &one->parameters, err)
                              : status;
}

/* A number that is larger than any is that of a task which no job has. */
static enum shoal_status read_index(const char *text, int64_t *ret_index,
                                    struct shoal_error *err) {
    size_t digits = strspn(text, "0123456789");
    *ret_index = INT64_MAX;
    if (digits >= DIGITS_MAX && text[digits] == '\0')
        return SHOAL_OK;
    return shoal_integer_parse(text, "TASK", 0, INT64_MAX, ret_index, err);
}

enum shoal_status shoal_one_task_find(struct shoal_use *use, const char *job,
                                      const char *index, struct shoal_one_task *one,
                                      struct shoal_error *err) {
    char id[SHOAL_ID_LEN + 1];
    int64_t number = 0;
    *one = (struct shoal_one_task){.argv = NULL};
    enum shoal_status status = read_index(index, &number, err);
    if (status == SHOAL_OK)
        status = shoal_use_find(use, job, id, err);
    if (status == SHOAL_OK)
        status = shoal_describe(use->client, id, &one->job, err);
    if (status == SHOAL_OK && number >= one->job.total)
        status = shoal_error_set(err, SHOAL_UNKNOWN,
                                 "job %s has no task %.40s, they go from 0 to %" PRId64,
                                 id, index, one->job.total - 1);
    if (status == SHOAL_OK)
        status = find_spec(use, one, err);
    one->task = (struct shoal_task){
        .job = one->job.id,
        .index = number,
        .seed = shoal_task_seed(one->job.seed, (uint64_t)number),
        .parameters = &one->parameters,
    };
    return status;
}

enum shoal_status shoal_one_task_read(struct shoal_use *use, struct shoal_one_task *one,
                                      struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    if (one->read || one->damage.status != SHOAL_OK)
        return SHOAL_OK;
    enum shoal_status status = shoal_spec_read(one->text, one->len, &one->spec, &why);
    one->read = status == SHOAL_OK;
    status = damage(one, status, &why, err);
    if (status == SHOAL_OK && one->read)
        status = make_parameters(use, one, err);
    return status == SHOAL_OK && one->read
               ? shoal_spec_expand(&one->spec, &one->task, &one->argv, err)
               : status;
}

/* The files of its lists would have to be looked at as a worker does where it starts
 * them. */
static enum shoal_status check_bounds(const struct shoal_trusted_key *key,
                                      struct shoal_error *err) {
    return !key->bounded
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_REFUSED,
                                 "the key of '%s' may run here what a list names, which "
                                 "workers look at alone",
                                 key->name);
}

/* Whether it is as it was signed, and by which key: `trust` says for where. */
static enum shoal_status check_proof(struct shoal_trust *trust,
                                     const struct shoal_one_task *one,
                                     const struct shoal_trusted_key **ret_key,
                                     struct shoal_error *err) {
    char policy[SHOAL_POLICY_ROOM];
    struct shoal_warrant warrant = {.n_jobs = 0};
    struct shoal_lease lease = {.lo = one->task.index, .hi = one->task.index + 1};
    const struct shoal_claim claim = {
        .warrant = &warrant,
        .lease = &lease,
        .spec_hash = one->spec_hash,
        .seed = one->job.seed,
        .queue = one->job.queue,
        .policy = policy,
        .pack = one->pack,
        .pack_len = one->pack_len,
        .first = one->first,
        .seal = one->seal,
    };
    snprintf(lease.job, sizeof(lease.job), "%s", one->job.id);
    shoal_policy_print(&one->job.policy, policy);
    enum shoal_status status =
        shoal_trust_open(trust, one->warrant, one->warrant_len, &warrant, err);
    if (status == SHOAL_OK)
        status = shoal_trust_check(trust, &claim, ret_key, err);
    shoal_warrant_finish(&warrant);
    return status == SHOAL_GARBAGE ? SHOAL_REFUSED : status;
}

enum shoal_status shoal_one_task_check(struct shoal_use *use, struct shoal_trust *trust,
                                       struct shoal_one_task *one,
                                       struct shoal_error *err) {
    const char *const queues[] = {one->job.queue, NULL};
    const struct shoal_trusted_key *key = NULL;
    struct shoal_store_info store;
    if (one->warrant == NULL)
        return shoal_error_set(err, SHOAL_REFUSED,
                               one->job.warrant[0] == '\0' ? "the job is not signed"
                                                           : "the warrant is gone");
    enum shoal_status status = shoal_queue_store(&use->client->queue, &store, err);
    if (status == SHOAL_OK)
        status = find_arguments(use, one, err);
    if (status != SHOAL_OK)
        return status;
    trust->name_space = use->client->queue.name_space;
    trust->queues = queues;
    trust->store = store.id;
    trust->any_time = true;
    status = check_proof(trust, one, &key, err);
    if (status == SHOAL_OK)
        status = shoal_one_task_read(use, one, err);
    if (status == SHOAL_OK && one->read)
        status = shoal_trust_check_limits(key, &one->spec.limits, err);
    trust->queues = NULL; /* which is gone now, as the store's name is */
    trust->name_space = trust->store = NULL;
    return status == SHOAL_OK ? check_bounds(key, err) : status;
}

/* Of a warrant that has been looked at. */
static enum shoal_status note_signer(struct shoal_one_task *one,
                                     struct shoal_error *err) {
    struct shoal_warrant warrant;
    enum shoal_status status =
        shoal_warrant_read(one->warrant, one->warrant_len, &warrant, err);
    if (status != SHOAL_OK)
        return status;
    memcpy(one->signed_by, warrant.signer.digits, sizeof(one->signed_by));
    one->valid_until_ms = warrant.until_ms;
    shoal_warrant_finish(&warrant);
    return SHOAL_OK;
}

enum shoal_status shoal_one_task_signer(struct shoal_use *use, struct shoal_one_task *one,
                                        struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_trust_finish) struct shoal_trust trust = {.n = 0};
    struct shoal_error why = {.status = SHOAL_OK};
    struct shoal_signer_name name;
    enum shoal_status status = SHOAL_OK;
    if (one->job.warrant[0] == '\0')
        return SHOAL_OK;
    if (one->text == NULL) {
        shoal_error_set(&one->invalid, SHOAL_REFUSED, "the spec is gone");
        return SHOAL_OK;
    }
    if (one->warrant != NULL && shoal_seal_name(one->warrant, one->warrant_len, &name))
        status = shoal_trust_take(&trust, &name, err);
    if (status == SHOAL_OK)
        status = shoal_one_task_check(use, &trust, one, &why);
    if (status == SHOAL_OK)
        return note_signer(one, err);
    one->invalid = why;
    return status == SHOAL_REFUSED || status == SHOAL_UNKNOWN
               ? SHOAL_OK
               : shoal_error_set(err, status, "%s", why.text);
}

void shoal_one_task_finish(struct shoal_one_task *one) {
    free(one->argv);
    free(one->pack);
    free(one->text);
    free(one->warrant);
    shoal_parameters_finish(&one->parameters);
    shoal_spec_finish(&one->spec);
}
