#include "broker/session.h"

#include "broker/scripts.h"
#include "broker/warrant.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an answer is waited for with: the caller's callback, found again when it comes. */
struct call {
    union {
        shoal_registered_fn registered;
        shoal_advanced_fn advanced;
        shoal_beaten_fn beaten;
    } done;
    void *owner;
};

#define SEQUENCE_MAX (INT64_C(1) << 53)

static const struct shoal_error garbage = {
    .status = SHOAL_GARBAGE,
    .text = "Redis answered nonsense; is something else using its keys?",
};

/* Sends a move whose answer goes to `decode` with a call made of `template`. */
static enum shoal_status send_move(struct shoal_queue *queue,
                                   const struct shoal_script *script,
                                   const struct shoal_request *args,
                                   shoal_redis_reply_fn decode,
                                   const struct call *template, struct shoal_error *err) {
    struct call *call = malloc(sizeof(*call));
    if (call == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a call");
    *call = *template;
    enum shoal_status status = shoal_script_send(queue->redis, script, queue->prefix,
                                                 args, 0, decode, call, err);
    if (status != SHOAL_OK)
        free(call);
    return status;
}

static bool take_text(const redisReply *reply, char *text, size_t room) {
    const char *from = NULL;
    if (!shoal_reply_text(reply, &from) || strlen(from) >= room)
        return false;
    memcpy(text, from, strlen(from) + 1);
    return true;
}

/* The sequence of commits, which only grows: what the worker has seen it tells the next
 * time, so it does not take everything. */
static bool take_sequence(const redisReply *reply, int64_t *ret_sequence) {
    int64_t sequence;
    if (!shoal_reply_int(reply, &sequence) || sequence < 0 || sequence > SEQUENCE_MAX)
        return false;
    *ret_sequence = sequence;
    return true;
}

static bool take_seed(const redisReply *reply, uint64_t *ret_seed) {
    const char *text = NULL;
    if (!shoal_reply_text(reply, &text))
        return false;
    *ret_seed = strtoull(text, NULL, 10);
    return true;
}

/* An error reply as a status; SHOAL_OK for an array of at least n elements. */
static enum shoal_status check_reply(const redisReply *reply, size_t n,
                                     struct shoal_error *err) {
    enum shoal_status status = shoal_redis_status_of(reply, err);
    if (status == SHOAL_OK && !shoal_reply_is_array(reply, n)) {
        *err = garbage;
        status = SHOAL_GARBAGE;
    }
    return status;
}

/* ---- register */

static enum shoal_store_verdict read_verdict(const redisReply *reply) {
    const char *text = "";
    if (!shoal_reply_text(reply, &text))
        return SHOAL_STORE_SAME;
    return strcmp(text, "replaced") == 0      ? SHOAL_STORE_REPLACED
           : strcmp(text, "rolled back") == 0 ? SHOAL_STORE_ROLLED_BACK
                                              : SHOAL_STORE_SAME;
}

static void decode_registered(void *owner, enum shoal_status status,
                              const redisReply *reply, const struct shoal_error *why) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct call *call = owner;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_registered answer = {.n = 0};
    if (status != SHOAL_OK) {
        call->done.registered(call->owner, status, NULL, why);
        return;
    }
    status = check_reply(reply, 3, &err);
    if (status != SHOAL_OK ||
        !take_text(reply->element[0], answer.store, sizeof(answer.store)) ||
        !take_sequence(reply->element[1], &answer.commits)) {
        err = status == SHOAL_OK ? garbage : err;
        call->done.registered(call->owner, err.status, NULL, &err);
        return;
    }
    answer.verdict = read_verdict(reply->element[2]);
    answer.n = reply->elements - 3;
    SHOAL_CLEANUP(shoal_cleanup_free)
    int64_t *attempts = calloc(answer.n + 1, sizeof(*attempts));
    if (attempts == NULL)
        answer.n = 0;
    for (size_t i = 0; i < answer.n; i++) {
        if (!shoal_reply_int(reply->element[3 + i], &attempts[i]) || attempts[i] < -1)
            attempts[i] = 0;
    }
    answer.attempts = attempts;
    call->done.registered(call->owner, SHOAL_OK, &answer, NULL);
}

static void add_pairs(struct shoal_request *args,
                      const struct shoal_registration *registration) {
    const struct {
        const char *name;
        const char *value;
    } texts[] = {
        {"name", registration->name},
        {"host", registration->host},
        {"queues", registration->queues},
        {"version", SHOAL_VERSION},
    };
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"pid", registration->pid},
        {"ttl", registration->ttl_ms},
    };
    shoal_request_int(args, (int64_t)(SHOAL_COUNT(texts) + SHOAL_COUNT(numbers)));
    for (size_t i = 0; i < SHOAL_COUNT(texts); i++) {
        shoal_request_text(args, texts[i].name);
        shoal_request_text(args, texts[i].value);
    }
    for (size_t i = 0; i < SHOAL_COUNT(numbers); i++) {
        shoal_request_text(args, numbers[i].name);
        shoal_request_int(args, numbers[i].value);
    }
}

enum shoal_status shoal_session_register(struct shoal_queue *queue,
                                         const struct shoal_registration *registration,
                                         shoal_registered_fn done, void *owner,
                                         struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    char fresh[SHOAL_ID_LEN + 1];
    shoal_id_make(fresh);
    shoal_request_init(&args);
    shoal_request_text(&args, registration->session);
    shoal_request_int(&args, registration->ttl_ms);
    shoal_request_text(&args, registration->dead == NULL ? "" : registration->dead);
    shoal_request_text(&args, fresh);
    shoal_request_text(&args, registration->seen_id == NULL ? "" : registration->seen_id);
    shoal_request_int(&args, registration->seen_commits);
    shoal_request_int(&args, registration->slots);
    add_pairs(&args, registration);
    shoal_request_int(&args, (int64_t)registration->n_leases);
    for (size_t i = 0; i < registration->n_leases; i++) {
        const struct shoal_lease *lease = &registration->leases[i];
        shoal_request_text(&args, lease->name);
        shoal_request_text(&args, lease->job);
        shoal_request_int(&args, lease->lo);
        shoal_request_int(&args, lease->hi);
        shoal_request_int(&args, lease->attempt);
    }
    struct call call = {.done.registered = done, .owner = owner};
    return send_move(queue, &shoal_script_register, &args, decode_registered, &call, err);
}

/* ---- commits */

enum { COMMIT_BYTES_MAX = 160 << 20 };

void shoal_commit_init(struct shoal_commit *commit, const char *job, const char *lease,
                       int64_t lo) {
    *commit = (struct shoal_commit){.lo = lo, .hi = lo, .rest = -1};
    snprintf(commit->job, sizeof(commit->job), "%s", job);
    snprintf(commit->lease, sizeof(commit->lease), "%s", lease);
    shoal_request_init(&commit->failed);
    shoal_buffer_init(&commit->outcomes, COMMIT_BYTES_MAX);
}

void shoal_commit_finish(struct shoal_commit *commit) {
    shoal_request_finish(&commit->failed);
    shoal_buffer_finish(&commit->outcomes);
}

void shoal_commit_add(struct shoal_commit *commit, const struct shoal_outcome *outcome,
                      const char *worker, const char *text, size_t text_len) {
    int64_t index = commit->hi++;
    commit->work_us += outcome->wall_us;
    commit->elements++;
    shoal_outcome_write(&commit->outcomes, outcome);
    if (outcome->reason != SHOAL_REASON_OK)
        shoal_commit_add_failure(commit, index, outcome, worker, text, text_len);
}

void shoal_commit_add_packed(struct shoal_commit *commit, int64_t n, int64_t work_us,
                             size_t elements, const char *outcomes, size_t len) {
    commit->hi += n;
    commit->work_us =
        work_us > INT64_MAX - commit->work_us ? INT64_MAX : commit->work_us + work_us;
    commit->elements += elements;
    shoal_buffer_add(&commit->outcomes, outcomes, len);
}

void shoal_commit_add_failure(struct shoal_commit *commit, int64_t index,
                              const struct shoal_outcome *outcome, const char *worker,
                              const char *text, size_t text_len) {
    struct shoal_buffer record;
    shoal_buffer_init(&record, COMMIT_BYTES_MAX);
    const struct shoal_attempt attempt = {
        .lo = index,
        .hi = index + 1,
        .number = outcome->attempt,
        .reason = outcome->reason,
        .code = outcome->code,
        .worker = worker,
        .worker_len = strlen(worker),
        .wall_us = outcome->wall_us,
        .cpu_us = outcome->cpu_us,
        .rss_kb = outcome->rss_kb,
        .at_ms = shoal_wall_ms(),
        .text = text,
        .text_len = text_len,
    };
    shoal_attempt_write(&record, &attempt);
    commit->failures++;
    shoal_request_int(&commit->failed, index);
    shoal_request_int(&commit->failed, outcome->attempt);
    shoal_request_text(&commit->failed, shoal_reason_name(outcome->reason));
    shoal_request_bytes(&commit->failed, shoal_buffer_text(&record), record.len);
    commit->failed.words.failed = commit->failed.words.failed || record.failed;
    shoal_buffer_finish(&record);
}

bool shoal_commit_is_whole(const struct shoal_commit *commit) {
    return !commit->outcomes.failed && !commit->failed.words.failed;
}

static void add_empty(struct shoal_request *args, const struct shoal_commit *commit) {
    const int64_t numbers[] = {commit->lo, commit->lo, commit->lo, commit->over, 0, 0};
    shoal_request_text(args, commit->job);
    shoal_request_text(args, commit->lease);
    for (size_t i = 0; i < SHOAL_COUNT(numbers); i++)
        shoal_request_int(args, numbers[i]);
    shoal_request_text(args, "");
}

static void add_commit(struct shoal_request *args, const struct shoal_commit *commit,
                       const char *worker) {
    if (!shoal_commit_is_whole(commit)) {
        add_empty(args, commit);
        return;
    }
    shoal_request_text(args, commit->job);
    shoal_request_text(args, commit->lease);
    shoal_request_int(args, commit->lo);
    shoal_request_int(args, commit->hi);
    shoal_request_int(args, commit->rest);
    shoal_request_int(args, commit->over);
    shoal_request_int(args, commit->work_us);
    shoal_request_int(args, commit->failures);
    shoal_buffer_add(&args->words, commit->failed.words.data, commit->failed.words.len);
    args->n += commit->failed.n;

    struct shoal_buffer pack;
    shoal_buffer_init(&pack, (size_t)COMMIT_BYTES_MAX + 1024);
    shoal_buffer_add_format(&pack, "%" PRId64 "-%" PRId64 "\n", commit->lo, commit->hi);
    shoal_pack_begin(&pack, worker, commit->lo, commit->elements);
    shoal_buffer_add(&pack, commit->outcomes.data, commit->outcomes.len);
    shoal_request_bytes(args, shoal_buffer_text(&pack), pack.len);
    args->words.failed = args->words.failed || pack.failed; /* it is told another time */
    shoal_buffer_finish(&pack);
}

/* ---- advance */

/* A text shorter than `room`; "" for what is none. */
static const char *text_or_none(const redisReply *reply, size_t room) {
    const char *text = NULL;
    return shoal_reply_text(reply, &text) && strlen(text) < room ? text : "";
}

/* What makes no sense is nothing that anybody signed, and the worker says so. */
static void read_claim(const redisReply *reply, struct shoal_grant *grant) {
    redisReply **item = reply->element;
    if (!take_text(item[9], grant->warrant, sizeof(grant->warrant)) ||
        grant->warrant[0] == '\0')
        snprintf(grant->warrant, sizeof(grant->warrant), "none");
    grant->queue = text_or_none(item[10], SHOAL_NAME_MAX + 1);
    grant->policy = text_or_none(item[11], SHOAL_POLICY_ROOM);
    grant->seal = text_or_none(item[12], SHOAL_SEAL_BYTES + 1);
}

/* A spec that cannot be is looked for and not found, which the submitter is told. */
static void read_what_runs(redisReply *const *item, struct shoal_grant *grant) {
    if (!take_text(item[5], grant->spec, sizeof(grant->spec)) ||
        !take_seed(item[6], &grant->seed))
        snprintf(grant->spec, sizeof(grant->spec), "none");
}

static bool read_grant(const redisReply *reply, struct shoal_grant *grant) {
    if (!shoal_reply_is_array(reply, 7))
        return false;
    redisReply **item = reply->element;
    struct shoal_lease *lease = &grant->lease;
    bool good = take_text(item[0], lease->name, sizeof(lease->name)) &&
                take_text(item[1], lease->job, sizeof(lease->job)) &&
                shoal_reply_int(item[2], &lease->lo) &&
                shoal_reply_int(item[3], &lease->hi) &&
                shoal_reply_int(item[4], &lease->attempt) && lease->attempt >= 1 &&
                lease->lo >= 0 && lease->lo < lease->hi && lease->hi <= SHOAL_TASKS_MAX;
    read_what_runs(item, grant);
    if (reply->elements >= 13)
        read_claim(reply, grant);
    if (!good || reply->elements < 9 || item[8]->type == REDIS_REPLY_NIL)
        return good;
    if (!shoal_reply_int(item[7], &grant->first) || grant->first < 0 ||
        grant->first > lease->lo || item[8]->type != REDIS_REPLY_STRING)
        return false;
    grant->pack = item[8]->str;
    grant->pack_len = item[8]->len;
    return true;
}

static void decode_advanced(void *owner, enum shoal_status status,
                            const redisReply *reply, const struct shoal_error *why) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct call *call = owner;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_advanced answer = {.alive = false};
    int64_t alive = 0;
    if (status != SHOAL_OK) {
        call->done.advanced(call->owner, status, NULL, why);
        return;
    }
    status = check_reply(reply, 3, &err);
    if (status != SHOAL_OK || !shoal_reply_int(reply->element[0], &alive) ||
        !take_sequence(reply->element[1], &answer.commits) ||
        !take_text(reply->element[2], answer.store, sizeof(answer.store))) {
        err = status == SHOAL_OK ? garbage : err;
        call->done.advanced(call->owner, err.status, NULL, &err);
        return;
    }
    size_t most = reply->elements - 3;
    SHOAL_CLEANUP(shoal_cleanup_free)
    struct shoal_grant *grants = calloc(most + 1, sizeof(*grants));
    if (grants == NULL) { /* all of it is repeated, which is harmless */
        status = shoal_error_set(&err, SHOAL_MEMORY, "no memory for leases");
        call->done.advanced(call->owner, status, NULL, &err);
        return;
    }
    for (size_t i = 0; i < most; i++) {
        if (read_grant(reply->element[3 + i], &grants[answer.n_grants]))
            answer.n_grants++;
        else
            answer.garbled = true;
    }
    answer.alive = alive == 1;
    answer.grants = grants;
    call->done.advanced(call->owner, SHOAL_OK, &answer, NULL);
}

static void add_names(struct shoal_request *args, const char *const *names) {
    int64_t n = 0;
    while (names[n] != NULL)
        n++;
    shoal_request_int(args, n);
    for (; *names != NULL; names++)
        shoal_request_text(args, *names);
}

enum shoal_status shoal_session_advance(struct shoal_queue *queue,
                                        const struct shoal_advance *advance,
                                        shoal_advanced_fn done, void *owner,
                                        struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    shoal_request_init(&args);
    shoal_request_text(&args, advance->session);
    shoal_request_text(&args, advance->worker);
    shoal_request_int(&args, (int64_t)advance->n_commits);
    for (size_t i = 0; i < advance->n_commits; i++)
        add_commit(&args, advance->commits[i], advance->worker);
    add_names(&args, advance->queues);
    shoal_request_int(&args, (int64_t)advance->n_wishes);
    for (size_t i = 0; i < advance->n_wishes; i++) {
        shoal_request_text(&args, advance->wishes[i].lease);
        shoal_request_int(&args, advance->wishes[i].count);
        shoal_request_int(&args, advance->wishes[i].most);
        shoal_request_int(&args, advance->wishes[i].prefetch);
        shoal_request_int(&args, advance->wishes[i].guess_us);
    }
    struct call call = {.done.advanced = done, .owner = owner};
    return send_move(queue, &shoal_script_advance, &args, decode_advanced, &call, err);
}

/* ---- heartbeat */

static bool read_stops(const redisReply *reply, struct shoal_stop **ret_stops,
                       size_t *ret_n) {
    if (!shoal_reply_is_array(reply, 0))
        return false;
    struct shoal_stop *stops = calloc(reply->elements / 2 + 1, sizeof(*stops));
    size_t n = 0;
    for (size_t i = 0; stops != NULL && i + 1 < reply->elements; i += 2) {
        int64_t kill = 0;
        if (take_text(reply->element[i], stops[n].job, sizeof(stops[n].job)) &&
            shoal_reply_int(reply->element[i + 1], &kill))
            stops[n++].kill = kill == 1;
    }
    *ret_stops = stops;
    *ret_n = n;
    return stops != NULL;
}

static bool read_gone(const redisReply *reply, char (**ret_gone)[SHOAL_LEASE_MAX],
                      size_t *ret_n) {
    if (!shoal_reply_is_array(reply, 0))
        return false;
    char(*gone)[SHOAL_LEASE_MAX] = calloc(reply->elements + 1, sizeof(*gone));
    size_t n = 0;
    for (size_t i = 0; gone != NULL && i < reply->elements; i++)
        n += take_text(reply->element[i], gone[n], sizeof(gone[n]));
    *ret_gone = gone;
    *ret_n = n;
    return gone != NULL;
}

/* Reads what a living session is told; false for garbage. The arrays are the caller's. */
static bool read_beaten(const redisReply *reply, struct shoal_beaten *answer,
                        struct shoal_stop **stops, char (**gone)[SHOAL_LEASE_MAX]) {
    int64_t drain = 0, full = 0;
    if (!shoal_reply_is_array(reply, 7) ||
        !shoal_reply_int(reply->element[1], &answer->wait_ms) || answer->wait_ms < 0 ||
        !shoal_reply_int(reply->element[2], &drain) ||
        !take_sequence(reply->element[3], &answer->commits) ||
        !read_stops(reply->element[4], stops, &answer->n_stops) ||
        !read_gone(reply->element[5], gone, &answer->n_gone) ||
        !shoal_reply_int(reply->element[6], &full))
        return false;
    answer->drain = drain == 1;
    answer->full = full == 1;
    answer->stops = *stops;
    answer->gone = (const char(*)[SHOAL_LEASE_MAX]) * gone;
    return true;
}

static void decode_beaten(void *owner, enum shoal_status status, const redisReply *reply,
                          const struct shoal_error *why) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct call *call = owner;
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_stop *stops = NULL;
    SHOAL_CLEANUP(shoal_cleanup_free) char(*gone)[SHOAL_LEASE_MAX] = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_beaten answer = {.alive = false};
    int64_t alive = 0;
    if (status != SHOAL_OK) {
        call->done.beaten(call->owner, status, NULL, why);
        return;
    }
    status = check_reply(reply, 1, &err);
    if (status == SHOAL_OK &&
        (!shoal_reply_int(reply->element[0], &alive) ||
         (alive == 1 && !read_beaten(reply, &answer, &stops, &gone)))) {
        status = SHOAL_GARBAGE;
        err = garbage;
    }
    answer.alive = alive == 1;
    call->done.beaten(call->owner, status, status == SHOAL_OK ? &answer : NULL, &err);
}

enum shoal_status shoal_session_heartbeat(struct shoal_queue *queue,
                                          const struct shoal_heartbeat *heartbeat,
                                          shoal_beaten_fn done, void *owner,
                                          struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    shoal_request_init(&args);
    shoal_request_text(&args, heartbeat->session);
    shoal_request_int(&args, heartbeat->ttl_ms);
    shoal_request_int(&args, (int64_t)heartbeat->n_leases);
    for (size_t i = 0; i < heartbeat->n_leases; i++)
        shoal_request_text(&args, heartbeat->leases[i]);
    add_names(&args, heartbeat->queues);
    shoal_request_int(&args, heartbeat->draining ? 3 : 2);
    shoal_request_text(&args, "running");
    shoal_request_int(&args, heartbeat->running);
    shoal_request_text(&args, "progress");
    shoal_request_bytes(&args, heartbeat->progress_len > 0 ? heartbeat->progress : "",
                        heartbeat->progress_len);
    if (heartbeat->draining) {
        shoal_request_text(&args, "drain");
        shoal_request_text(&args, "1");
    }
    struct call call = {.done.beaten = done, .owner = owner};
    return send_move(queue, &shoal_script_heartbeat, &args, decode_beaten, &call, err);
}

/* ---- end, specs and warrants, messages */

enum shoal_status shoal_session_finish(struct shoal_queue *queue, const char *session,
                                       shoal_redis_reply_fn done, void *owner,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request args;
    shoal_request_init(&args);
    shoal_request_text(&args, session);
    return shoal_script_send(queue->redis, &shoal_script_finish, queue->prefix, &args, 0,
                             done, owner, err);
}

static void add_key(struct shoal_request *request, const struct shoal_queue *queue,
                    enum shoal_key kind, const char *of) {
    char key[SHOAL_KEY_MAX];
    shoal_key_make(key, queue->prefix, kind, of);
    shoal_request_text(request, key);
}

enum shoal_status shoal_session_get(struct shoal_queue *queue, enum shoal_key kind,
                                    const char *digest, size_t most,
                                    shoal_redis_reply_fn done, void *owner,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    shoal_request_text(&request, "GETRANGE");
    add_key(&request, queue, kind, digest);
    shoal_request_int(&request, 0);
    shoal_request_int(&request, (int64_t)most); /* whose byte is there too */
    return shoal_redis_send(queue->redis, &request, 0, done, owner, err);
}

enum shoal_status shoal_session_listen(struct shoal_queue *queue, const char *session,
                                       const char *const *queues, int64_t wait_ms,
                                       shoal_redis_reply_fn done, void *owner,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    char seconds[32];
    shoal_request_init(&request);
    shoal_request_text(&request, "BLPOP");
    add_key(&request, queue, SHOAL_KEY_INBOX, session);
    for (; queues != NULL && *queues != NULL; queues++)
        add_key(&request, queue, SHOAL_KEY_WAKE, *queues);
    snprintf(seconds, sizeof(seconds), "%" PRId64 ".%03d", wait_ms / 1000,
             (int)(wait_ms % 1000));
    shoal_request_text(&request, seconds);
    return shoal_redis_send(queue->redis, &request, wait_ms + 5000, done, owner, err);
}

enum shoal_status shoal_session_nudge(struct shoal_queue *queue, const char *session,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    shoal_request_text(&request, "RPUSH");
    add_key(&request, queue, SHOAL_KEY_INBOX, session);
    shoal_request_text(&request, "look");
    return shoal_redis_send(queue->redis, &request, 0, NULL, NULL, err);
}

/* "<word> <job>", and behind it, of `settled`, the range. */
static bool read_job_word(const char *text, const char *word,
                          struct shoal_message *message) {
    size_t len = strlen(word);
    int got = 0;
    if (strncmp(text, word, len) != 0)
        return false;
    got = sscanf(text + len, " %12s %" SCNd64 " %" SCNd64, message->job, &message->lo,
                 &message->hi);
    return got == 1 || (got == 3 && message->lo >= 0 && message->lo <= message->hi);
}

void shoal_session_read_message(const struct shoal_queue *queue, const redisReply *reply,
                                struct shoal_message *ret_message) {
    static const struct {
        const char *word;
        enum shoal_message_type type;
    } words[] = {
        {"stop", SHOAL_MESSAGE_STOP},
        {"kill", SHOAL_MESSAGE_KILL},
        {"settled", SHOAL_MESSAGE_SETTLED},
    };
    *ret_message = (struct shoal_message){.type = SHOAL_MESSAGE_NONE};
    const char *key = NULL, *text = NULL;
    char wake[SHOAL_KEY_MAX];
    shoal_key_make(wake, queue->prefix, SHOAL_KEY_WAKE, "");
    if (!shoal_reply_text(shoal_reply_at(reply, 0), &key) ||
        !shoal_reply_text(shoal_reply_at(reply, 1), &text))
        return;
    if (strncmp(key, wake, strlen(wake)) == 0) {
        ret_message->type = SHOAL_MESSAGE_WAKE;
    } else if (strcmp(text, "drain") == 0) {
        ret_message->type = SHOAL_MESSAGE_DRAIN;
    } else {
        for (size_t i = 0; i < SHOAL_COUNT(words); i++) {
            if (read_job_word(text, words[i].word, ret_message))
                ret_message->type = words[i].type;
        }
    }
}
