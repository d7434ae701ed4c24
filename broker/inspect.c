/* Looking at the queue without changing it: plain reads, no scripts. */
#include "broker/queue.h"

#include "broker/warrant.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/number.h"
#include "common/records.h"
#include "common/spec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 500, NAMED_MOST = 10000 };

/* ---- reading hashes by a table of fields */

enum field_type { TEXT, NUMBER, UNSIGNED, TRUTH, PRESENCE };

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    size_t room; /* of a text */
};

#define FIELD(type, structure, member, name)                                             \
    {                                                                                    \
        name, type, offsetof(struct structure, member),                                  \
            sizeof(((struct structure *)0)->member)                                      \
    }

/* Times and counts: beyond 18 digits it is none, so that sums of some are numbers too. */
static int64_t bounded(int64_t n) {
    const int64_t most = INT64_C(1000000000000000000);
    return n > -most && n < most ? n : 0;
}

static void read_field(const struct field *field, const char *text, void *object) {
    void *at = (char *)object + field->offset;
    switch (field->type) {
    case TEXT:
        snprintf(at, field->room, "%s", text);
        break;
    case NUMBER:
        *(int64_t *)at = bounded(strtoll(text, NULL, 10));
        break;
    case UNSIGNED:
        *(uint64_t *)at = strtoull(text, NULL, 10);
        break;
    case TRUTH:
        *(bool *)at = strcmp(text, "1") == 0;
        break;
    case PRESENCE:
        *(bool *)at = true;
        break;
    }
}

static const char *hash_get(const redisReply *hash, const char *name) {
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        const char *field = NULL, *value = NULL;
        if (shoal_reply_text(hash->element[i], &field) && strcmp(field, name) == 0 &&
            shoal_reply_text(hash->element[i + 1], &value))
            return value;
    }
    return NULL;
}

static void read_fields(const struct field *fields, size_t n, const redisReply *hash,
                        void *object) {
    for (size_t i = 0; i < n; i++) {
        const char *value = hash_get(hash, fields[i].name);
        if (value != NULL)
            read_field(&fields[i], value, object);
    }
}

/* ---- commands of a few words */

static enum shoal_status run(struct shoal_queue *queue, const char *const *words,
                             redisReply **ret_reply, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    for (; *words != NULL; words++)
        shoal_request_text(&request, *words);
    return shoal_redis_run(queue->redis, &request, queue->timeout_ms, ret_reply, err);
}

/* Redis has said that a key is not of the type that it should be, but not which key. */
static enum shoal_status say_type(struct shoal_queue *queue, const char *key,
                                  struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const char *type = "another";
    const char *words[] = {"TYPE", key, NULL};
    if (run(queue, words, &reply, NULL) == SHOAL_OK && reply->type == REDIS_REPLY_STATUS)
        type = reply->str;
    return shoal_error_set(err, SHOAL_GARBAGE,
                           "the key %s has type %s, which is not of shoal: delete it, or "
                           "use another namespace ('shoal audit' tells more)",
                           key, type);
}

static enum shoal_status ask(struct shoal_queue *queue, const char *const *words,
                             redisReply **ret_reply, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = run(queue, words, ret_reply, &why);
    if (status == SHOAL_OK)
        return status;
    return status == SHOAL_GARBAGE ? say_type(queue, words[1], err)
                                   : shoal_error_set(err, status, "%s", why.text);
}

static enum shoal_status ask_array(struct shoal_queue *queue, const char *const *words,
                                   redisReply **ret_reply, struct shoal_error *err) {
    enum shoal_status status = ask(queue, words, ret_reply, err);
    if (status != SHOAL_OK || shoal_reply_is_array(*ret_reply, 0))
        return status;
    freeReplyObject(*ret_reply);
    *ret_reply = NULL;
    return shoal_error_set(err, SHOAL_GARBAGE, "Redis answered nonsense to %s %s",
                           words[0], words[1]);
}

#define KEY_OF(name, kind, of)                                                           \
    char name[SHOAL_KEY_MAX];                                                            \
    shoal_key_make(name, queue->prefix, SHOAL_KEY_##kind, of)

/* ---- jobs */

static const struct field job_fields[] = {
    FIELD(TEXT, shoal_job, name, "name"),
    FIELD(TEXT, shoal_job, queue, "queue"),
    FIELD(TEXT, shoal_job, owner, "owner"),
    FIELD(TEXT, shoal_job, spec, "spec"),
    FIELD(TEXT, shoal_job, reason, "reason"),
    FIELD(TEXT, shoal_job, waiter, "waiter"),
    FIELD(TEXT, shoal_job, warrant, "warrant"),
    FIELD(UNSIGNED, shoal_job, seed, "seed"),
    FIELD(NUMBER, shoal_job, created_ms, "created"),
    FIELD(NUMBER, shoal_job, start_ms, "start"),
    FIELD(NUMBER, shoal_job, started_ms, "started"),
    FIELD(NUMBER, shoal_job, ended_ms, "ended"),
    FIELD(PRESENCE, shoal_job, retried, "retry"),
};

static bool read_state(const char *text, size_t len, enum shoal_job_state *ret_state) {
    for (int i = 0; i < SHOAL_JOB_STATE_COUNT; i++) {
        const char *name = shoal_job_state_name((enum shoal_job_state)i);
        if (strlen(name) == len && memcmp(text, name, len) == 0) {
            *ret_state = (enum shoal_job_state)i;
            return true;
        }
    }
    return false;
}

/* The counters in the order in which lib.lua writes them. */
enum counter {
    TOTAL,
    CURSOR,
    OK,
    FAILED,
    CANCELLED,
    LEASED,
    DELAYED,
    LEASES,
    READY,
    OPEN,
    ARGS,
    RAN,
    WORK,
    STORED,
    READ,
    TRIMMED,
    KILL,
    BUSY,
    SPAWNLESS,
    HOLD,
    MARKS,
    COUNTERS
};

/* Digits alone, as the scripts have it, and so few that sums of some are numbers too. */
static bool read_counter(const char **text, int64_t *ret_n) {
    size_t len = strspn(*text, "0123456789");
    *ret_n = strtoll(*text, NULL, 10);
    *text += len;
    return len > 0 && len <= 18;
}

/* "state:total:cursor:…", zeros at the end left out. */
bool shoal_job_read_counters(const char *text, size_t len, struct shoal_job *job) {
    int64_t n[COUNTERS] = {0};
    char copy[COUNTERS * 21 + 16];
    if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    const char *at = copy + strcspn(copy, ":");
    if (!read_state(copy, (size_t)(at - copy), &job->state))
        return false;
    for (size_t i = 0; *at == ':' && i < COUNTERS; i++) {
        at++;
        if (!read_counter(&at, &n[i]))
            return false;
    }
    if (*at != '\0')
        return false;
    job->total = n[TOTAL];
    job->ok = n[OK];
    job->failed = n[FAILED];
    job->cancelled = n[CANCELLED];
    job->leased = n[LEASED];
    job->delayed = n[DELAYED];
    job->queued = n[TOTAL] - n[OK] - n[FAILED] - n[CANCELLED] - n[LEASED] - n[DELAYED];
    job->ran = n[RAN];
    job->work_us = n[WORK];
    job->stored = n[STORED];
    job->trimmed = n[TRIMMED];
    job->open = n[OPEN] == 1;
    job->has_arguments = n[ARGS] == 1;
    return true;
}

/* The usual one is not stored. */
static bool read_policy(const char *text, struct shoal_job_policy *policy) {
    shoal_job_policy_init(policy);
    if (text == NULL)
        return true;
    const int64_t *const numbers[] = {&policy->retries,   &policy->max_lost,
                                      &policy->max_fails, &policy->max_running,
                                      &policy->keep_ms,   &policy->budget};
    if (sscanf(text,
               "%d:%" SCNd64 ":%" SCNd64 ":%" SCNd64 ":%" SCNd64 ":%" SCNd64 ":%" SCNd64,
               &policy->priority, &policy->retries, &policy->max_lost, &policy->max_fails,
               &policy->max_running, &policy->keep_ms, &policy->budget) != 7)
        return false;
    for (size_t i = 0; i < SHOAL_COUNT(numbers); i++) {
        if (*numbers[i] < 0 || bounded(*numbers[i]) != *numbers[i])
            return false;
    }
    return policy->priority >= 0 && policy->priority <= 9;
}

/* False when what is stored there is no job. */
static bool read_job(const char *id, const redisReply *hash, struct shoal_job *job) {
    *job = (struct shoal_job){.state = SHOAL_JOB_WAITING};
    const char *counters = hash->type == REDIS_REPLY_ARRAY ? hash_get(hash, "n") : NULL;
    if (counters == NULL || !shoal_job_read_counters(counters, strlen(counters), job) ||
        !read_policy(hash_get(hash, "policy"), &job->policy))
        return false;
    snprintf(job->id, sizeof(job->id), "%s", id);
    snprintf(job->queue, sizeof(job->queue), "default");
    read_fields(job_fields, SHOAL_COUNT(job_fields), hash, job);
    if (hash_get(hash, "started") == NULL && job->state != SHOAL_JOB_WAITING)
        job->started_ms = job->created_ms; /* at once */
    job->held = job->state == SHOAL_JOB_ACTIVE && job->queued > 0 &&
                job->policy.budget > 0 && job->stored >= job->policy.budget;
    return true;
}

enum shoal_status shoal_queue_describe(struct shoal_queue *queue, const char *job,
                                       struct shoal_job *ret_job,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *hash = NULL;
    KEY_OF(key, JOB, job);
    enum shoal_status status =
        ask_array(queue, (const char *[]){"HGETALL", key, NULL}, &hash, err);
    if (status != SHOAL_OK)
        return status;
    if (hash->elements == 0)
        return shoal_error_set(
            err, SHOAL_UNKNOWN,
            "there is no job %s (finished ones are forgotten after a time)", job);
    if (!read_job(job, hash, ret_job))
        return shoal_error_set(err, SHOAL_GARBAGE, "what Redis has as job %s is no job",
                               job);
    return SHOAL_OK;
}

enum shoal_status shoal_queue_ids(struct shoal_queue *queue, int64_t from, int64_t to,
                                  redisReply **ret_ids, struct shoal_error *err) {
    char first[24], last[24];
    snprintf(first, sizeof(first), "%" PRId64, from);
    snprintf(last, sizeof(last), "%" PRId64, to);
    KEY_OF(key, JOBS, "");
    return ask_array(queue, (const char *[]){"ZREVRANGE", key, first, last, NULL},
                     ret_ids, err);
}

/* Answers of pipelined HGETALLs on their way into an array. */
struct listing {
    struct shoal_job *jobs;
    size_t n;
    const redisReply *ids;
    size_t answered;
    bool lost; /* some have no answer */
};

static void take_job(void *owner, enum shoal_status status, const redisReply *reply,
                     const struct shoal_error *err) {
    (void)err;
    struct listing *listing = owner;
    const char *id = "";
    size_t at = listing->answered++;
    listing->lost = listing->lost || status != SHOAL_OK;
    if (status == SHOAL_OK && shoal_reply_text(shoal_reply_at(listing->ids, at), &id) &&
        read_job(id, reply, &listing->jobs[listing->n]))
        listing->n++;
}

/* Asks for every job at once, for one field of it or (NULL) all, and waits for the last
 * by an ECHO behind them. */
static enum shoal_status ask_each(struct shoal_queue *queue, const redisReply *ids,
                                  const char *field, shoal_redis_reply_fn take,
                                  void *owner, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *echo = NULL;
    shoal_request_init(&request);
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < ids->elements && status == SHOAL_OK; i++) {
        const char *id = "";
        if (!shoal_reply_text(ids->element[i], &id))
            id = "";
        KEY_OF(key, JOB, id);
        shoal_request_clear(&request);
        shoal_request_text(&request, field == NULL ? "HGETALL" : "HGET");
        shoal_request_text(&request, key);
        if (field != NULL)
            shoal_request_text(&request, field);
        status =
            shoal_redis_send(queue->redis, &request, queue->timeout_ms, take, owner, err);
    }
    enum shoal_status waited =
        ask(queue, (const char *[]){"ECHO", "listed", NULL}, &echo, err);
    return status == SHOAL_OK ? waited : status;
}

static enum shoal_status say_lost(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_LOST,
                           "the connection to Redis broke while jobs were looked at; "
                           "try again");
}

enum shoal_status shoal_queue_list(struct shoal_queue *queue, size_t from, size_t most,
                                   struct shoal_job **ret_jobs, size_t *ret_n,
                                   struct shoal_error *err) {
    struct listing listing = {.jobs = NULL};
    enum shoal_status status = SHOAL_OK;
    for (size_t done = 0; done < most && status == SHOAL_OK; done += CHUNK) {
        SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *ids = NULL;
        int64_t first = (int64_t)(from + done);
        int64_t last = first + (int64_t)(most - done < CHUNK ? most - done : CHUNK) - 1;
        status = shoal_queue_ids(queue, first, last, &ids, err);
        if (status != SHOAL_OK || ids->elements == 0)
            break;
        struct shoal_job *grown =
            realloc(listing.jobs, (listing.n + ids->elements) * sizeof(*grown));
        if (grown == NULL) {
            status = shoal_error_set(err, SHOAL_MEMORY, "no memory for a list of jobs");
            break;
        }
        listing.jobs = grown;
        listing.ids = ids;
        listing.answered = 0;
        status = ask_each(queue, ids, NULL, take_job, &listing, err);
        if (status == SHOAL_OK && listing.lost)
            status = say_lost(err);
    }
    if (status != SHOAL_OK) {
        free(listing.jobs);
        return status;
    }
    *ret_jobs = listing.jobs;
    *ret_n = listing.n;
    return SHOAL_OK;
}

/* ---- which job a person means */

/* What was found so far of jobs whose id begins as asked. */
struct matches {
    char ids[3][SHOAL_ID_LEN + 1];
    size_t n;
};

static void add_match(struct matches *matches, const char *id) {
    for (size_t i = 0; i < matches->n && i < SHOAL_COUNT(matches->ids); i++) {
        if (strcmp(matches->ids[i], id) == 0)
            return; /* a scan may show a member twice */
    }
    if (matches->n < SHOAL_COUNT(matches->ids))
        snprintf(matches->ids[matches->n], sizeof(matches->ids[0]), "%s", id);
    matches->n++;
}

static enum shoal_status scan_prefix(struct shoal_queue *queue, const char *prefix,
                                     struct matches *matches, struct shoal_error *err) {
    char cursor[24] = "0", pattern[SHOAL_ID_LEN + 2];
    snprintf(pattern, sizeof(pattern), "%s*", prefix);
    KEY_OF(key, JOBS, "");
    do {
        SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
        const char *words[] = {"ZSCAN", key,     cursor,  "MATCH",
                               pattern, "COUNT", "10000", NULL};
        enum shoal_status status = ask_array(queue, words, &reply, err);
        if (status != SHOAL_OK)
            return status;
        const char *next = "0", *id = NULL;
        const redisReply *found = shoal_reply_at(reply, 1);
        if (!shoal_reply_text(shoal_reply_at(reply, 0), &next) ||
            !shoal_reply_is_array(found, 0))
            return shoal_error_set(err, SHOAL_GARBAGE,
                                   "Redis answered nonsense to ZSCAN");
        for (size_t i = 0; i < found->elements; i += 2) {
            if (shoal_reply_text(found->element[i], &id))
                add_match(matches, id);
        }
        snprintf(cursor, sizeof(cursor), "%s", next);
    } while (strcmp(cursor, "0") != 0);
    return SHOAL_OK;
}

/* The job that has `text` as its name, or as its whole id. */
static enum shoal_status find_exactly(struct shoal_queue *queue, const char *text,
                                      char *ret_id, bool *ret_found,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *by_name = NULL;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *by_id = NULL;
    KEY_OF(names, NAMES, "");
    enum shoal_status status =
        ask(queue, (const char *[]){"HGET", names, text, NULL}, &by_name, err);
    const char *id = NULL;
    if (status == SHOAL_OK && shoal_reply_text(by_name, &id) && shoal_id_is_valid(id)) {
        snprintf(ret_id, SHOAL_ID_LEN + 1, "%s", id);
        *ret_found = true;
        return SHOAL_OK;
    }
    if (status != SHOAL_OK || !shoal_id_is_valid(text))
        return status;
    KEY_OF(key, JOB, text);
    status = ask(queue, (const char *[]){"EXISTS", key, NULL}, &by_id, err);
    int64_t there = 0;
    if (status == SHOAL_OK && shoal_reply_int(by_id, &there) && there == 1) {
        snprintf(ret_id, SHOAL_ID_LEN + 1, "%s", text);
        *ret_found = true;
    }
    return status;
}

/* The newest of some jobs that is called so. */
struct named {
    const char *name;
    const redisReply *ids;
    size_t answered;
    const char *id; /* NULL: none */
    bool lost;      /* some have no answer: an older one must not be taken for it */
};

static void take_name(void *owner, enum shoal_status status, const redisReply *reply,
                      const struct shoal_error *err) {
    (void)err;
    struct named *named = owner;
    const char *name = NULL, *id = NULL;
    size_t at = named->answered++;
    named->lost = named->lost || status != SHOAL_OK;
    if (named->id == NULL && status == SHOAL_OK && shoal_reply_text(reply, &name) &&
        strcmp(name, named->name) == 0 &&
        shoal_reply_text(shoal_reply_at(named->ids, at), &id) && shoal_id_is_valid(id))
        named->id = id;
}

/* `names` forgets a name with the newest job that has it. Older ones are looked for among
 * the newest jobs. */
static enum shoal_status find_older(struct shoal_queue *queue, const char *name,
                                    char *ret_id, bool *ret_found,
                                    struct shoal_error *err) {
    for (int64_t from = 0; from < NAMED_MOST && !*ret_found; from += CHUNK) {
        SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *ids = NULL;
        struct named named = {.name = name};
        enum shoal_status status =
            shoal_queue_ids(queue, from, from + CHUNK - 1, &ids, err);
        if (status != SHOAL_OK || ids->elements == 0)
            return status;
        named.ids = ids;
        status = ask_each(queue, ids, "name", take_name, &named, err);
        if (status == SHOAL_OK && named.lost)
            status = say_lost(err);
        if (status != SHOAL_OK)
            return status;
        *ret_found = named.id != NULL;
        if (*ret_found)
            snprintf(ret_id, SHOAL_ID_LEN + 1, "%s", named.id);
    }
    return SHOAL_OK;
}

enum shoal_status shoal_queue_find(struct shoal_queue *queue, const char *text,
                                   char *ret_id, struct shoal_error *err) {
    struct matches matches = {.n = 0};
    bool found = false;
    if (!shoal_name_is_valid(text))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' is no job id and no job name ('shoal list' shows them)", text);
    enum shoal_status status = find_exactly(queue, text, ret_id, &found, err);
    if (status == SHOAL_OK && !found)
        status = find_older(queue, text, ret_id, &found, err);
    if (status == SHOAL_OK && !found && shoal_id_is_prefix(text))
        status = scan_prefix(queue, text, &matches, err);
    if (status != SHOAL_OK || found)
        return status;
    if (matches.n == 0)
        return shoal_error_set(
            err, SHOAL_UNKNOWN,
            "there is no job '%s' ('shoal list' shows them; finished ones are "
            "forgotten after a time)",
            text);
    if (matches.n > 1)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%s' is ambiguous: it begins %s, %s%s; give more of the id", text,
            matches.ids[0], matches.ids[1], matches.n > 2 ? " and others" : "");
    snprintf(ret_id, SHOAL_ID_LEN + 1, "%s", matches.ids[0]);
    return SHOAL_OK;
}

/* ---- specs, arguments, results */

static enum shoal_status copy_bytes(const char *bytes, size_t len, char **ret_bytes,
                                    size_t *ret_len, struct shoal_error *err) {
    char *copy = malloc(len + 1);
    if (copy == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for %zu bytes", len);
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    *ret_bytes = copy;
    *ret_len = len;
    return SHOAL_OK;
}

/* Of a text of more than `most` bytes the first `most` + 1, which no reader takes. */
static enum shoal_status get(struct shoal_queue *queue, const char *what, const char *key,
                             const char *digest, size_t most, char **ret_text,
                             size_t *ret_len, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    char last[24];
    snprintf(last, sizeof(last), "%zu", most);
    const char *words[] = {"GETRANGE", key, "0", last, NULL};
    enum shoal_status status = ask(queue, words, &reply, err);
    if (status != SHOAL_OK)
        return status;
    if (reply->type != REDIS_REPLY_STRING || reply->len == 0)
        return shoal_error_set(err, SHOAL_UNKNOWN, "the %s %s is not there", what,
                               digest);
    return copy_bytes(reply->str, reply->len, ret_text, ret_len, err);
}

enum shoal_status shoal_queue_spec(struct shoal_queue *queue, const char *digest,
                                   char **ret_text, size_t *ret_len,
                                   struct shoal_error *err) {
    KEY_OF(key, SPEC, digest);
    return get(queue, "spec", key, digest, SHOAL_SPEC_MAX, ret_text, ret_len, err);
}

enum shoal_status shoal_queue_warrant(struct shoal_queue *queue, const char *digest,
                                      char **ret_text, size_t *ret_len,
                                      struct shoal_error *err) {
    KEY_OF(key, WARRANT, digest);
    return get(queue, "warrant", key, digest, SHOAL_WARRANT_MAX, ret_text, ret_len, err);
}

/* [[id, ["n", count, "p", pack, "s", seal]]], beginning with task `index` or before. */
static bool read_args_entry(const redisReply *reply, int64_t index, int64_t *ret_first,
                            const redisReply **ret_pack, char *seal) {
    const redisReply *entry = shoal_reply_at(reply, 0);
    const redisReply *pack = shoal_reply_at(shoal_reply_at(entry, 1), 3);
    const char *id = NULL;
    if (!shoal_reply_text(shoal_reply_at(entry, 0), &id) || pack == NULL ||
        pack->type != REDIS_REPLY_STRING)
        return false;
    const char *said = NULL;
    if (shoal_reply_text(shoal_reply_at(shoal_reply_at(entry, 1), 5), &said) &&
        seal != NULL && strlen(said) <= SHOAL_SEAL_BYTES)
        memcpy(seal, said, strlen(said) + 1);
    *ret_first = strtoll(id, NULL, 10);
    *ret_pack = pack;
    return *ret_first >= 0 && *ret_first <= index;
}

enum shoal_status shoal_queue_arguments(struct shoal_queue *queue, const char *job,
                                        int64_t index, int64_t *ret_first,
                                        char **ret_pack, size_t *ret_len, char *seal,
                                        struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const redisReply *pack = NULL;
    if (seal != NULL)
        seal[0] = '\0';
    char at[24];
    snprintf(at, sizeof(at), "%" PRId64, index);
    KEY_OF(key, ARGS, job);
    const char *words[] = {"XREVRANGE", key, at, "-", "COUNT", "1", NULL};
    enum shoal_status status = ask_array(queue, words, &reply, err);
    if (status != SHOAL_OK)
        return status;
    if (!read_args_entry(reply, index, ret_first, &pack, seal))
        return shoal_error_set(err, SHOAL_UNKNOWN,
                               "the argument of task %" PRId64 " is not kept any more",
                               index);
    return copy_bytes(pack->str, pack->len, ret_pack, ret_len, err);
}

enum shoal_status shoal_pack_argument(const char *pack, size_t pack_len, int64_t nth,
                                      const char **ret_bytes, size_t *ret_len,
                                      struct shoal_error *err) {
    struct shoal_record_reader reader;
    size_t n = 0;
    shoal_record_reader_init(&reader, pack, pack_len);
    if (!shoal_record_read_array(&reader, &n) || nth >= (int64_t)n)
        return shoal_error_set(err, SHOAL_UNKNOWN, "the argument is not kept any more");
    for (int64_t i = 0; i <= nth; i++) {
        if (!shoal_record_read_bytes(&reader, ret_bytes, ret_len))
            return shoal_error_set(err, SHOAL_GARBAGE, "its arguments are garbled");
    }
    return SHOAL_OK;
}

enum shoal_status shoal_queue_argument(struct shoal_queue *queue, const char *job,
                                       int64_t index, char **ret_argument,
                                       size_t *ret_len, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *pack = NULL;
    struct shoal_error why = {.status = SHOAL_OK};
    size_t pack_len = 0, len = 0;
    const char *bytes = NULL;
    int64_t first = 0;
    enum shoal_status status =
        shoal_queue_arguments(queue, job, index, &first, &pack, &pack_len, NULL, err);
    if (status != SHOAL_OK)
        return status;
    status = shoal_pack_argument(pack, pack_len, index - first, &bytes, &len, &why);
    if (status != SHOAL_OK)
        return shoal_error_set(err, status, "job %s, task %" PRId64 ": %s", job, index,
                               why.text);
    return copy_bytes(bytes, len, ret_argument, ret_len, err);
}

static enum shoal_status read_list(struct shoal_queue *queue, const char *key,
                                   int64_t from, int64_t most, redisReply **ret_items,
                                   struct shoal_error *err) {
    char first[24], last[24];
    snprintf(first, sizeof(first), "%" PRId64, from);
    snprintf(last, sizeof(last), "%" PRId64, from + most - 1);
    return ask_array(queue, (const char *[]){"LRANGE", key, first, last, NULL}, ret_items,
                     err);
}

enum shoal_status shoal_queue_results(struct shoal_queue *queue, const char *job,
                                      int64_t from, int64_t trimmed, int64_t most,
                                      redisReply **ret_entries, struct shoal_error *err) {
    KEY_OF(key, RESULTS, job);
    return read_list(queue, key, from < trimmed ? 0 : from - trimmed, most, ret_entries,
                     err);
}

enum shoal_status shoal_queue_attempts(struct shoal_queue *queue, const char *job,
                                       int64_t from, int64_t most,
                                       redisReply **ret_records,
                                       struct shoal_error *err) {
    KEY_OF(key, ATTEMPTS, job);
    return read_list(queue, key, from, most, ret_records, err);
}

/* ---- the fleet */

static const struct field worker_fields[] = {
    FIELD(TEXT, shoal_worker_info, name, "name"),
    FIELD(TEXT, shoal_worker_info, host, "host"),
    FIELD(TEXT, shoal_worker_info, version, "version"),
    FIELD(TEXT, shoal_worker_info, queues, "queues"),
    FIELD(NUMBER, shoal_worker_info, pid, "pid"),
    FIELD(NUMBER, shoal_worker_info, slots, "slots"),
    FIELD(NUMBER, shoal_worker_info, running, "running"),
    FIELD(NUMBER, shoal_worker_info, since_ms, "since"),
    FIELD(TRUTH, shoal_worker_info, draining, "drain"),
};

static enum shoal_status read_worker(struct shoal_queue *queue, const char *session,
                                     struct shoal_worker_info *worker,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *hash = NULL;
    KEY_OF(key, SESSION, session);
    enum shoal_status status =
        ask_array(queue, (const char *[]){"HGETALL", key, NULL}, &hash, err);
    if (status != SHOAL_OK)
        return status;
    *worker = (struct shoal_worker_info){.pid = 0};
    snprintf(worker->session, sizeof(worker->session), "%s", session);
    read_fields(worker_fields, SHOAL_COUNT(worker_fields), hash, worker);
    const char *ttl = hash_get(hash, "ttl");
    worker->silent_ms =
        ttl == NULL ? 0 : bounded(strtoll(ttl, NULL, 10)); /* until now is known */
    return SHOAL_OK;
}

/* The fleet's clock as of the last housekeeping. */
static enum shoal_status read_clock(struct shoal_queue *queue, redisReply **ret_clock,
                                    struct shoal_error *err) {
    KEY_OF(key, CLOCK, "");
    return ask_array(queue, (const char *[]){"HGETALL", key, NULL}, ret_clock, err);
}

static int64_t hash_number(const redisReply *hash, const char *name) {
    const char *text = hash_get(hash, name);
    return text == NULL ? 0 : bounded(strtoll(text, NULL, 10));
}

enum shoal_status shoal_queue_is_full(struct shoal_queue *queue, bool *ret_full,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *fleet = NULL;
    enum shoal_status status = read_clock(queue, &fleet, err);
    if (status == SHOAL_OK)
        *ret_full = hash_number(fleet, "full") == 1;
    return status;
}

/* How long the fleet's clock has stood still: nobody has kept house since then. */
static enum shoal_status read_standstill(struct shoal_queue *queue,
                                         const redisReply *fleet, int64_t *ret_ms,
                                         struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *time = NULL;
    int64_t seconds = 0, micros = 0;
    enum shoal_status status =
        ask_array(queue, (const char *[]){"TIME", NULL}, &time, err);
    if (status != SHOAL_OK)
        return status;
    bool good = shoal_reply_int(shoal_reply_at(time, 0), &seconds) &&
                shoal_reply_int(shoal_reply_at(time, 1), &micros) &&
                hash_get(fleet, "wall") != NULL;
    int64_t ms = bounded(seconds) * 1000 + bounded(micros) / 1000;
    *ret_ms = good ? ms - hash_number(fleet, "wall") : 0;
    *ret_ms = *ret_ms < 0 ? 0 : *ret_ms;
    return SHOAL_OK;
}

enum shoal_status shoal_queue_workers(struct shoal_queue *queue,
                                      struct shoal_worker_info **ret_workers,
                                      size_t *ret_n, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *sessions = NULL;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *fleet = NULL;
    KEY_OF(key, SESSIONS, "");
    const char *words[] = {"ZRANGE", key, "0", "-1", "WITHSCORES", NULL};
    enum shoal_status status = ask_array(queue, words, &sessions, err);
    int64_t standstill = 0;
    if (status == SHOAL_OK)
        status = read_clock(queue, &fleet, err);
    if (status == SHOAL_OK)
        status = read_standstill(queue, fleet, &standstill, err);
    if (status != SHOAL_OK)
        return status;
    size_t n = sessions->elements / 2;
    struct shoal_worker_info *workers = calloc(n + 1, sizeof(*workers));
    if (workers == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a list of %zu workers",
                               n);
    for (size_t i = 0; i < n && status == SHOAL_OK; i++) {
        const char *session = "";
        int64_t deadline = 0;
        if (!shoal_reply_text(sessions->element[2 * i], &session) ||
            !shoal_reply_int(sessions->element[2 * i + 1], &deadline))
            continue;
        status = read_worker(queue, session, &workers[i], err);
        int64_t over_ms = hash_number(fleet, "now") + standstill - bounded(deadline);
        workers[i].silent_ms += over_ms;
        workers[i].lost = over_ms > 0;
    }
    if (status != SHOAL_OK) {
        free(workers);
        return status;
    }
    *ret_workers = workers;
    *ret_n = n;
    return SHOAL_OK;
}

/* ---- progress */

struct progress_list {
    struct shoal_running *tasks;
    size_t n;
    size_t room;
};

static bool read_progress(struct shoal_record_reader *reader,
                          struct shoal_running *task) {
    const char *job, *number, *text;
    size_t job_len, number_len, len;
    if (!shoal_record_read_bytes(reader, &job, &job_len) ||
        job_len >= sizeof(task->job) || !shoal_record_read_int(reader, &task->index) ||
        task->index < 0 || !shoal_record_read_bytes(reader, &number, &number_len) ||
        !shoal_double_read(number, number_len, &task->fraction) || task->fraction < 0 ||
        task->fraction > 1 || !shoal_record_read_bytes(reader, &text, &len) ||
        len >= sizeof(task->text))
        return false;
    memcpy(task->job, job, job_len);
    memcpy(task->text, text, len);
    return true;
}

/* What a session said; what is no progress is left out. */
static bool add_progress(struct progress_list *list, const redisReply *said,
                         const redisReply *worker) {
    struct shoal_record_reader reader;
    struct shoal_running task = {.index = 0};
    const char *name = "";
    if (said->type != REDIS_REPLY_STRING || !shoal_reply_text(worker, &name))
        return true;
    snprintf(task.worker, sizeof(task.worker), "%s", name);
    shoal_record_reader_init(&reader, said->str, said->len);
    while (read_progress(&reader, &task)) {
        if (list->n == list->room) {
            size_t room = list->room == 0 ? 16 : list->room * 2;
            struct shoal_running *tasks = realloc(list->tasks, room * sizeof(*tasks));
            if (tasks == NULL)
                return false;
            list->tasks = tasks;
            list->room = room;
        }
        list->tasks[list->n++] = task;
        memset(task.text, 0, sizeof(task.text));
    }
    return true;
}

static enum shoal_status ask_session(struct shoal_queue *queue, const char *session,
                                     struct progress_list *list,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *both = NULL;
    KEY_OF(key, SESSION, session);
    enum shoal_status status = ask_array(
        queue, (const char *[]){"HMGET", key, "progress", "name", NULL}, &both, err);
    if (status == SHOAL_OK && both->elements == 2 &&
        !add_progress(list, both->element[0], both->element[1]))
        status = shoal_error_set(err, SHOAL_MEMORY, "no memory for a list of tasks");
    return status;
}

enum shoal_status shoal_queue_running(struct shoal_queue *queue,
                                      struct shoal_running **ret_tasks, size_t *ret_n,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *sessions = NULL;
    struct progress_list list = {.n = 0};
    KEY_OF(key, SESSIONS, "");
    enum shoal_status status = ask_array(
        queue, (const char *[]){"ZRANGE", key, "0", "-1", NULL}, &sessions, err);
    for (size_t i = 0; status == SHOAL_OK && i < sessions->elements; i++) {
        const char *session = "";
        if (shoal_reply_text(sessions->element[i], &session))
            status = ask_session(queue, session, &list, err);
    }
    if (status != SHOAL_OK) {
        free(list.tasks);
        return status;
    }
    *ret_tasks = list.tasks;
    *ret_n = list.n;
    return SHOAL_OK;
}

/* ---- queues */

static const struct field queue_fields[] = {
    FIELD(TRUTH, shoal_queue_info, paused, "paused"),
    FIELD(NUMBER, shoal_queue_info, jobs, "jobs"),
    FIELD(NUMBER, shoal_queue_info, ok, "ok"),
    FIELD(NUMBER, shoal_queue_info, failed, "failed"),
    FIELD(NUMBER, shoal_queue_info, cancelled, "cancelled"),
};

static enum shoal_status read_queue(struct shoal_queue *queue, const char *name,
                                    struct shoal_queue_info *info,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *hash = NULL;
    *info = (struct shoal_queue_info){.paused = false};
    snprintf(info->name, sizeof(info->name), "%s", name);
    KEY_OF(key, QUEUE, name);
    enum shoal_status status =
        ask_array(queue, (const char *[]){"HGETALL", key, NULL}, &hash, err);
    if (status != SHOAL_OK)
        return status;
    read_fields(queue_fields, SHOAL_COUNT(queue_fields), hash, info);
    const char *order = hash_get(hash, "order");
    info->fifo = order != NULL && strcmp(order, "fifo") == 0;
    for (int priority = 0; priority <= 9 && status == SHOAL_OK; priority++) {
        SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *length = NULL;
        char of[80];
        int64_t n = 0;
        snprintf(of, sizeof(of), "%s:%d", info->name, priority);
        KEY_OF(ready, READY, of);
        status = ask(queue, (const char *[]){"LLEN", ready, NULL}, &length, err);
        if (status == SHOAL_OK && shoal_reply_int(length, &n))
            info->ready += n;
    }
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct shoal_queue_info *)a)->name,
                  ((const struct shoal_queue_info *)b)->name);
}

enum shoal_status shoal_queue_queues(struct shoal_queue *queue,
                                     struct shoal_queue_info **ret_queues, size_t *ret_n,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *names = NULL;
    KEY_OF(key, QUEUES, "");
    enum shoal_status status =
        ask_array(queue, (const char *[]){"SMEMBERS", key, NULL}, &names, err);
    if (status != SHOAL_OK)
        return status;
    struct shoal_queue_info *queues = calloc(names->elements + 1, sizeof(*queues));
    if (queues == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a list of queues");
    size_t n = 0;
    for (size_t i = 0; i < names->elements && status == SHOAL_OK; i++) {
        const char *name = "";
        if (shoal_reply_text(names->element[i], &name) && shoal_name_is_valid(name))
            status = read_queue(queue, name, &queues[n++], err);
    }
    if (status != SHOAL_OK) {
        free(queues);
        return status;
    }
    qsort(queues, n, sizeof(*queues), by_name);
    *ret_queues = queues;
    *ret_n = n;
    return SHOAL_OK;
}

static const struct field store_fields[] = {
    FIELD(TEXT, shoal_store_info, id, "id"),
    FIELD(NUMBER, shoal_store_info, commits, "seq"),
    FIELD(NUMBER, shoal_store_info, rollbacks, "rollbacks"),
    FIELD(NUMBER, shoal_store_info, commits_lost, "commits_lost"),
    FIELD(NUMBER, shoal_store_info, rolled_back_ms, "rolled_back"),
};

enum shoal_status shoal_queue_store(struct shoal_queue *queue,
                                    struct shoal_store_info *ret_store,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *epoch = NULL;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *fleet = NULL;
    KEY_OF(key, EPOCH, "");
    enum shoal_status status =
        ask_array(queue, (const char *[]){"HGETALL", key, NULL}, &epoch, err);
    if (status == SHOAL_OK)
        status = read_clock(queue, &fleet, err);
    if (status != SHOAL_OK)
        return status;
    *ret_store = (struct shoal_store_info){.commits = 0};
    read_fields(store_fields, SHOAL_COUNT(store_fields), epoch, ret_store);
    ret_store->slots = hash_number(fleet, "slots");
    ret_store->full = hash_number(fleet, "full") == 1;
    return SHOAL_OK;
}
