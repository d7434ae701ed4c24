/* What Redis answers to whoever looks at the queue, or moves it: RESP as it comes from
 * the socket, through hiredis and the decoders of queue.c and inspect.c. The first byte
 * chooses the call; behind it stand the answers, apart at lines "--". */
#include "broker/queue.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/answers.h"

#include <assert.h>

static const char job_id[] = "0123456789ab";

static enum shoal_status find(struct shoal_queue *queue, struct shoal_error *err) {
    char id[SHOAL_ID_LEN + 1];
    enum shoal_status status = shoal_queue_find(queue, "0123", id, err);
    assert(status != SHOAL_OK || strlen(id) <= SHOAL_ID_LEN);
    return status;
}

static void check_job(const struct shoal_job *job) {
    assert((unsigned)job->state < SHOAL_JOB_STATE_COUNT);
    assert(job->total >= 0 && job->ok >= 0 && job->stored >= 0);
    assert(strlen(job->name) < sizeof(job->name));
    assert(strlen(job->queue) < sizeof(job->queue));
    assert(strlen(job->id) < sizeof(job->id));
    assert(job->policy.priority >= 0 && job->policy.priority <= 9);
    assert(job->policy.retries >= 0 && job->policy.keep_ms >= 0);
}

static enum shoal_status describe(struct shoal_queue *queue, struct shoal_error *err) {
    struct shoal_job job;
    enum shoal_status status = shoal_queue_describe(queue, job_id, &job, err);
    if (status == SHOAL_OK)
        check_job(&job);
    return status;
}

static enum shoal_status list(struct shoal_queue *queue, struct shoal_error *err) {
    struct shoal_job *jobs = NULL;
    size_t n = 0;
    enum shoal_status status = shoal_queue_list(queue, 0, 1000, &jobs, &n, err);
    for (size_t i = 0; status == SHOAL_OK && i < n; i++)
        check_job(&jobs[i]);
    free(jobs);
    return status;
}

static enum shoal_status spec(struct shoal_queue *queue, struct shoal_error *err) {
    char *text = NULL;
    size_t len = 0;
    enum shoal_status status = shoal_queue_spec(queue, "0123", &text, &len, err);
    assert(status != SHOAL_OK || text[len] == '\0');
    free(text);
    return status;
}

static enum shoal_status argument(struct shoal_queue *queue, struct shoal_error *err) {
    char *text = NULL;
    size_t len = 0;
    enum shoal_status status =
        shoal_queue_argument(queue, job_id, 1000, &text, &len, err);
    assert(status != SHOAL_OK || text[len] == '\0');
    free(text);
    return status;
}

static enum shoal_status results(struct shoal_queue *queue, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *entries = NULL;
    enum shoal_status status =
        shoal_queue_results(queue, job_id, 0, 0, 100, &entries, err);
    assert(status != SHOAL_OK || shoal_reply_is_array(entries, 0));
    return status;
}

static enum shoal_status attempts(struct shoal_queue *queue, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *records = NULL;
    return shoal_queue_attempts(queue, job_id, 0, 100, &records, err);
}

static enum shoal_status workers(struct shoal_queue *queue, struct shoal_error *err) {
    struct shoal_worker_info *all = NULL;
    size_t n = 0;
    enum shoal_status status = shoal_queue_workers(queue, &all, &n, err);
    for (size_t i = 0; status == SHOAL_OK && i < n; i++)
        assert(strlen(all[i].name) < sizeof(all[i].name));
    free(all);
    return status;
}

static enum shoal_status running(struct shoal_queue *queue, struct shoal_error *err) {
    struct shoal_running *tasks = NULL;
    size_t n = 0;
    enum shoal_status status = shoal_queue_running(queue, &tasks, &n, err);
    for (size_t i = 0; status == SHOAL_OK && i < n; i++)
        assert(tasks[i].fraction >= 0 && tasks[i].fraction <= 1 && tasks[i].index >= 0);
    free(tasks);
    return status;
}

static enum shoal_status queues(struct shoal_queue *queue, struct shoal_error *err) {
    struct shoal_queue_info *all = NULL;
    size_t n = 0;
    enum shoal_status status = shoal_queue_queues(queue, &all, &n, err);
    for (size_t i = 0; status == SHOAL_OK && i < n; i++)
        assert(shoal_name_is_valid(all[i].name));
    free(all);
    return status;
}

static enum shoal_status store(struct shoal_queue *queue, struct shoal_error *err) {
    struct shoal_store_info info;
    return shoal_queue_store(queue, &info, err);
}

static void count(void *owner, const char *sentence) {
    size_t *n = owner;
    assert(sentence[0] != '\0');
    ++*n;
}

static enum shoal_status audit(struct shoal_queue *queue, struct shoal_error *err) {
    int64_t jobs = 0, wrong = 0;
    size_t told = 0;
    return shoal_queue_audit(queue, count, &told, &jobs, &wrong, err);
}

static enum shoal_status submit(struct shoal_queue *queue, struct shoal_error *err) {
    struct shoal_submission job = {.id = "0123456789ab",
                                   .spec = "{}",
                                   .queue = "default",
                                   .owner = "me",
                                   .total = 1};
    shoal_job_policy_init(&job.policy);
    return shoal_queue_submit(queue, &job, 1, err);
}

static enum shoal_status append(struct shoal_queue *queue, struct shoal_error *err) {
    return shoal_queue_append(queue, job_id, 0, 1, NULL, 0, err);
}

static enum shoal_status cancel(struct shoal_queue *queue, struct shoal_error *err) {
    return shoal_queue_cancel(queue, job_id, false, err);
}

static enum shoal_status retry(struct shoal_queue *queue, struct shoal_error *err) {
    int64_t tasks = 0;
    return shoal_queue_retry(queue, job_id, true, job_id, &tasks, err);
}

static enum shoal_status housekeep(struct shoal_queue *queue, struct shoal_error *err) {
    int64_t wait_ms = 0;
    return shoal_queue_housekeep(queue, &wait_ms, err);
}

static enum shoal_status acknowledge(struct shoal_queue *queue, struct shoal_error *err) {
    int64_t trimmed = 0;
    return shoal_queue_acknowledge(queue, job_id, 10, true, &trimmed, err);
}

static enum shoal_status (*const calls[])(struct shoal_queue *, struct shoal_error *) = {
    find,   describe, list,  spec,   argument, results, attempts, workers,   running,
    queues, store,    audit, submit, append,   cancel,  retry,    housekeep, acknowledge,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct event_base *base;
    static struct answers *answers;
    struct fuzz_input input = fuzz_input(data, size);
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_queue queue;
    size_t call = (fuzz_byte(&input) - 'a') % SHOAL_COUNT(calls);
    if (base == NULL) {
        base = event_base_new();
        answers = answers_create(base);
    }
    answers_set(answers, input.at, fuzz_left(&input));
    struct shoal_redis *redis = answers_connect(answers);
    shoal_queue_init(&queue, redis, "shoal", 5000);
    enum shoal_status status = calls[call](&queue, &err);
    assert((status == SHOAL_OK) == (err.text[0] == '\0'));
    assert(status != SHOAL_TIMEOUT && answers_asked(answers) <= 200000);
    shoal_redis_destroy(redis);
    return 0;
}
