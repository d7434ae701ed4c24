#include "broker/queue.h"

#include "broker/scripts.h"
#include "broker/warrant.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIGNED_MOST = 3,      /* times of one submit: another store may be there meanwhile */
    STATEMENT_ROOM = 512, /* of what is signed of arguments besides them */
};

void shoal_queue_init(struct shoal_queue *queue, struct shoal_redis *redis,
                      const char *name_space, int64_t timeout_ms) {
    *queue = (struct shoal_queue){.redis = redis, .timeout_ms = timeout_ms};
    shoal_key_prefix(queue->prefix, name_space);
    snprintf(queue->name_space, sizeof(queue->name_space), "%s", name_space);
}

/* Runs a move and waits for its answer. */
static enum shoal_status run(struct shoal_queue *queue, const struct shoal_script *script,
                             const struct shoal_request *args, redisReply **ret_reply,
                             struct shoal_error *err) {
    return shoal_script_run(queue->redis, script, queue->prefix, args, queue->timeout_ms,
                            ret_reply, err);
}

static enum shoal_status nonsense(const struct shoal_script *script,
                                  struct shoal_error *err) {
    return shoal_error_set(
        err, SHOAL_GARBAGE,
        "Redis answered nonsense to '%s'; is something else using its keys?",
        script->name);
}

/* Runs a move of a few words (NULL behind the last) whose answer is an integer. */
static enum shoal_status run_words(struct shoal_queue *queue,
                                   const struct shoal_script *script,
                                   const char *const *words, int64_t *ret_value,
                                   struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    shoal_request_init(&args);
    for (; *words != NULL; words++)
        shoal_request_text(&args, *words);
    enum shoal_status status = run(queue, script, &args, &reply, err);
    if (status != SHOAL_OK || ret_value == NULL)
        return status;
    return shoal_reply_int(reply, ret_value) ? SHOAL_OK : nonsense(script, err);
}

/* ---- signing */

enum shoal_status shoal_queue_sign_with(struct shoal_queue *queue,
                                        const struct shoal_signer *signer,
                                        int64_t valid_ms, struct shoal_error *err) {
    struct shoal_store_info store = {.id = ""};
    enum shoal_status status = shoal_queue_store(queue, &store, err);
    if (status != SHOAL_OK)
        return status;
    if (shoal_id_is_valid(store.id))
        memcpy(queue->store, store.id, sizeof(queue->store));
    else
        shoal_id_make(queue->store);
    queue->signer = signer;
    queue->valid_ms = valid_ms;
    return SHOAL_OK;
}

static enum shoal_status add_warrant(const struct shoal_queue *queue,
                                     const struct shoal_submission *jobs, size_t n,
                                     struct shoal_request *args,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, SHOAL_WARRANT_MAX);
    enum shoal_status status = SHOAL_OK;
    if (queue->signer != NULL)
        status = shoal_warrant_write(jobs, n, queue->name_space, queue->store,
                                     shoal_wall_ms() + queue->valid_ms, queue->signer,
                                     &text, err);
    if (status == SHOAL_OK)
        shoal_request_bytes(args, shoal_buffer_text(&text), text.len);
    return status;
}

/* ---- submitting */

static void add_policy(struct shoal_request *args,
                       const struct shoal_job_policy *policy) {
    char text[SHOAL_POLICY_ROOM];
    shoal_policy_print(policy, text);
    shoal_request_text(args, text);
}

static void add_number(struct shoal_request *args, uint64_t number) {
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, number);
    shoal_request_text(args, text);
}

bool shoal_submission_runs_as_before(const struct shoal_submission *jobs, size_t i) {
    return i > 0 && (jobs[i].spec == jobs[i - 1].spec ||
                     strcmp(jobs[i].spec, jobs[i - 1].spec) == 0);
}

/* Jobs that are alike share a spec: which one of the distinct texts this job
 * has, from 1. */
static int64_t which_spec(const struct shoal_submission *jobs, size_t job) {
    int64_t distinct = 0;
    for (size_t i = 0; i <= job; i++) {
        distinct += !shoal_submission_runs_as_before(jobs, i);
    }
    return distinct;
}

static void add_specs(struct shoal_request *args, const struct shoal_submission *jobs,
                      size_t n) {
    shoal_request_int(args, which_spec(jobs, n - 1));
    for (size_t i = 0; i < n; i++) {
        if (!shoal_submission_runs_as_before(jobs, i))
            shoal_request_text(args, jobs[i].spec);
    }
}

static void add_job(struct shoal_request *args, const struct shoal_submission *job,
                    int64_t spec) {
    shoal_request_text(args, job->id);
    shoal_request_int(args, spec);
    shoal_request_text(args, job->queue);
    shoal_request_text(args, job->name == NULL ? "" : job->name);
    shoal_request_text(args, job->owner);
    add_policy(args, &job->policy);
    add_number(args, job->seed);
    shoal_request_int(args, job->total);
    shoal_request_int(args, job->start_ms);
    shoal_request_int(args, job->open ? 1 + job->whole : 0);
    shoal_request_int(args, job->has_arguments);
    shoal_request_text(args, job->waiter == NULL ? "" : job->waiter);
}

static enum shoal_status add_submission(const struct shoal_queue *queue,
                                        const struct shoal_submission *jobs, size_t n,
                                        struct shoal_request *args,
                                        struct shoal_error *err) {
    char fresh[SHOAL_ID_LEN + 1];
    shoal_id_make(fresh);
    shoal_request_text(args, queue->signer == NULL ? fresh : queue->store);
    add_specs(args, jobs, n);
    enum shoal_status status = add_warrant(queue, jobs, n, args, err);
    shoal_request_int(args, (int64_t)n);
    int64_t spec = 0;
    for (size_t i = 0; i < n; i++) {
        spec += !shoal_submission_runs_as_before(jobs, i);
        add_job(args, &jobs[i], spec);
    }
    return status;
}

/* *ret_store: "", or the id of the store that the jobs were not signed for. */
static enum shoal_status submit(struct shoal_queue *queue,
                                const struct shoal_submission *jobs, size_t n,
                                char *ret_store, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const char *store = "";
    shoal_request_init(&args);
    enum shoal_status status = add_submission(queue, jobs, n, &args, err);
    if (status == SHOAL_OK)
        status = run(queue, &shoal_script_submit, &args, &reply, err);
    *ret_store = '\0';
    if (status != SHOAL_OK || reply->type == REDIS_REPLY_ARRAY)
        return status;
    if (!shoal_reply_text(reply, &store) || !shoal_id_is_valid(store))
        return nonsense(&shoal_script_submit, err);
    memcpy(ret_store, store, SHOAL_ID_LEN + 1);
    return SHOAL_OK;
}

enum shoal_status shoal_queue_submit(struct shoal_queue *queue,
                                     const struct shoal_submission *jobs, size_t n,
                                     struct shoal_error *err) {
    char store[SHOAL_ID_LEN + 1];
    for (int i = 0; n > 0 && i < SIGNED_MOST; i++) {
        enum shoal_status status = submit(queue, jobs, n, store, err);
        if (status != SHOAL_OK || *store == '\0')
            return status;
        memcpy(queue->store, store, sizeof(queue->store)); /* signed anew for that one */
    }
    return n == 0 ? SHOAL_OK
                  : shoal_error_set(err, SHOAL_REFUSED,
                                    "Redis holds another store again and again, while "
                                    "jobs are signed for one; is it being flushed?");
}

static enum shoal_status add_seal(const struct shoal_queue *queue, const char *job,
                                  int64_t first, const char *pack, size_t len,
                                  struct shoal_request *args, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    char head[SHOAL_SEAL_BYTES + 1];
    shoal_buffer_init(&text, len + STATEMENT_ROOM);
    shoal_arguments_statement(&text, queue->name_space, queue->store, job, first, pack,
                              len);
    enum shoal_status status = shoal_buffer_check(&text, "what is signed", err);
    if (status == SHOAL_OK)
        status = shoal_signer_head(queue->signer, text.data, text.len, head, err);
    if (status == SHOAL_OK)
        shoal_request_bytes(args, head, SHOAL_SEAL_BYTES);
    return status;
}

enum shoal_status shoal_queue_append_words(const struct shoal_queue *queue,
                                           const char *job, int64_t first, int64_t n,
                                           const char *pack, size_t len,
                                           struct shoal_request *args,
                                           struct shoal_error *err) {
    shoal_request_text(args, job);
    shoal_request_int(args, first);
    shoal_request_int(args, n);
    shoal_request_bytes(args, pack, len);
    return queue->signer == NULL || len == 0
               ? SHOAL_OK
               : add_seal(queue, job, first, pack, len, args, err);
}

enum shoal_status shoal_queue_append(struct shoal_queue *queue, const char *job,
                                     int64_t first, int64_t n, const char *pack,
                                     size_t len, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    shoal_request_init(&args);
    enum shoal_status status =
        shoal_queue_append_words(queue, job, first, n, pack, len, &args, err);
    return status == SHOAL_OK ? run(queue, &shoal_script_append, &args, &reply, err)
                              : status;
}

enum shoal_status shoal_queue_close(struct shoal_queue *queue, const char *job,
                                    struct shoal_error *err) {
    return run_words(queue, &shoal_script_close, (const char *[]){job, NULL}, NULL, err);
}

/* ---- control */

enum shoal_status shoal_queue_cancel(struct shoal_queue *queue, const char *job,
                                     bool kill, struct shoal_error *err) {
    return run_words(queue, &shoal_script_cancel,
                     (const char *[]){job, kill ? "1" : "0", NULL}, NULL, err);
}

enum shoal_status shoal_queue_retry(struct shoal_queue *queue, const char *job, bool all,
                                    const char *token, int64_t *ret_tasks,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    shoal_request_init(&args);
    shoal_request_text(&args, job);
    shoal_request_text(&args, all ? "a" : "f");
    shoal_request_text(&args, token);
    enum shoal_status status = run(queue, &shoal_script_retry, &args, &reply, err);
    if (status != SHOAL_OK)
        return status;
    return shoal_reply_int(shoal_reply_at(reply, 0), ret_tasks)
               ? SHOAL_OK
               : nonsense(&shoal_script_retry, err);
}

enum shoal_status shoal_queue_forget(struct shoal_queue *queue, const char *job,
                                     bool force, struct shoal_error *err) {
    const char *words[] = {job, force ? "1" : "0", NULL};
    int64_t was_there = 0;
    enum shoal_status status =
        run_words(queue, &shoal_script_forget, words, &was_there, err);
    if (status == SHOAL_OK && was_there == 0)
        return shoal_error_set(err, SHOAL_UNKNOWN, "there is no job %s", job);
    return status;
}

enum shoal_status shoal_queue_pause(struct shoal_queue *queue, const char *name,
                                    bool paused, struct shoal_error *err) {
    const char *words[] = {name, "paused", paused ? "1" : "0", NULL};
    return run_words(queue, &shoal_script_queue, words, NULL, err);
}

enum shoal_status shoal_queue_order(struct shoal_queue *queue, const char *name,
                                    bool fifo, struct shoal_error *err) {
    const char *words[] = {name, "order", fifo ? "fifo" : "fair", NULL};
    return run_words(queue, &shoal_script_queue, words, NULL, err);
}

enum shoal_status shoal_queue_drain(struct shoal_queue *queue, const char *session,
                                    struct shoal_error *err) {
    int64_t was_there = 0;
    enum shoal_status status = run_words(
        queue, &shoal_script_drain, (const char *[]){session, NULL}, &was_there, err);
    if (status == SHOAL_OK && was_there == 0)
        return shoal_error_set(err, SHOAL_UNKNOWN, "there is no worker session %s",
                               session);
    return status;
}

enum shoal_status shoal_queue_housekeep(struct shoal_queue *queue, int64_t *ret_wait_ms,
                                        struct shoal_error *err) {
    return run_words(queue, &shoal_script_housekeep, (const char *[]){NULL}, ret_wait_ms,
                     err);
}

/* `how`: as acknowledge.lua says. */
static enum shoal_status acknowledge(struct shoal_queue *queue, const char *job,
                                     int64_t upto, int how, int64_t *ret_trimmed,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    shoal_request_init(&args);
    shoal_request_text(&args, job);
    shoal_request_int(&args, upto);
    shoal_request_int(&args, how);
    for (int64_t more = 1; more != 0;) {
        SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
        enum shoal_status status =
            run(queue, &shoal_script_acknowledge, &args, &reply, err);
        if (status != SHOAL_OK)
            return status;
        if (!shoal_reply_int(shoal_reply_at(reply, 0), ret_trimmed) ||
            !shoal_reply_int(shoal_reply_at(reply, 1), &more))
            return nonsense(&shoal_script_acknowledge, err);
    }
    return SHOAL_OK;
}

enum shoal_status shoal_queue_acknowledge(struct shoal_queue *queue, const char *job,
                                          int64_t upto, bool take, int64_t *ret_trimmed,
                                          struct shoal_error *err) {
    return acknowledge(queue, job, upto, take, ret_trimmed, err);
}

enum { RELEASED_AT_ONCE = 500 }; /* packs in a call */

static enum shoal_status release(struct shoal_queue *queue, const char *job,
                                 const struct shoal_pack_range *packs, size_t n,
                                 struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    shoal_request_init(&args);
    shoal_request_text(&args, job);
    for (size_t i = 0; i < n; i++) {
        shoal_request_int(&args, packs[i].first);
        shoal_request_int(&args, packs[i].n);
    }
    return run(queue, &shoal_script_release, &args, &reply, err);
}

enum shoal_status shoal_queue_release(struct shoal_queue *queue, const char *job,
                                      const struct shoal_pack_range *packs, size_t n,
                                      struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t at = 0; at < n && status == SHOAL_OK; at += RELEASED_AT_ONCE) {
        size_t left = n - at;
        status = release(queue, job, packs + at,
                         left < RELEASED_AT_ONCE ? left : RELEASED_AT_ONCE, err);
    }
    return status;
}

enum shoal_status shoal_queue_lift_budget(struct shoal_queue *queue, const char *job,
                                          struct shoal_error *err) {
    int64_t trimmed = 0;
    return acknowledge(queue, job, 0, 2, &trimmed, err);
}

/* ---- proof */

/* `job`: "" for what all share. What cannot be looked at for what lies there is wrong. */
static enum shoal_status audit_job(struct shoal_queue *queue, const char *job,
                                   void (*tell)(void *owner, const char *sentence),
                                   void *owner, int64_t *wrong, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    struct shoal_error why = {.status = SHOAL_OK};
    shoal_request_init(&args);
    shoal_request_text(&args, job);
    enum shoal_status status = run(queue, &shoal_script_audit, &args, &reply, &why);
    if (status == SHOAL_GARBAGE) {
        tell(owner, why.text);
        (*wrong)++;
        return SHOAL_OK;
    }
    if (status != SHOAL_OK)
        return shoal_error_set(err, status, "%s", why.text);
    if (!shoal_reply_is_array(reply, 0))
        return nonsense(&shoal_script_audit, err);
    for (size_t i = 0; i < reply->elements; i++) {
        const char *sentence = "";
        if (!shoal_reply_text(reply->element[i], &sentence))
            return nonsense(&shoal_script_audit, err);
        tell(owner, sentence);
        (*wrong)++;
    }
    return SHOAL_OK;
}

enum shoal_status shoal_queue_audit(struct shoal_queue *queue,
                                    void (*tell)(void *owner, const char *sentence),
                                    void *owner, int64_t *ret_jobs, int64_t *ret_wrong,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *ids = NULL;
    *ret_jobs = 0;
    *ret_wrong = 0;
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = audit_job(queue, "", tell, owner, ret_wrong, err);
    if (status != SHOAL_OK)
        return status;
    status = shoal_queue_ids(queue, 0, -1, &ids, &why);
    if (status == SHOAL_GARBAGE && *ret_wrong > 0)
        return SHOAL_OK; /* it was told that there is no list of them */
    if (status != SHOAL_OK)
        return shoal_error_set(err, status, "%s", why.text);
    for (size_t i = 0; status == SHOAL_OK && i < ids->elements; i++) {
        const char *id = "";
        if (!shoal_reply_text(ids->element[i], &id))
            return nonsense(&shoal_script_audit, err);
        (*ret_jobs)++;
        status = audit_job(queue, id, tell, owner, ret_wrong, err);
    }
    return status;
}
