#include "tests/support/fleet.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "tests/support/wait.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MS = 20000 };

void test_fleet_start(struct test_fleet *fleet, bool repeat, const char *const *args) {
    *fleet = (struct test_fleet){.repeat = repeat};
    test_server_start(&fleet->server, args);
    fleet->base = event_base_new();
    ck_assert_ptr_nonnull(fleet->base);
    fleet->redis = test_server_connect(&fleet->server, fleet->base, NULL);
    shoal_queue_init(&fleet->queue, fleet->redis, "test", ANSWER_MS);
}

void test_fleet_finish(struct test_fleet *fleet) {
    shoal_redis_destroy(fleet->redis);
    event_base_free(fleet->base);
    test_server_destroy(&fleet->server);
}

static void tell(void *owner, const char *sentence) {
    (void)owner;
    fprintf(stderr, "audit: %s\n", sentence);
}

void test_fleet_audit(struct test_fleet *fleet) {
    struct shoal_error err = {.status = SHOAL_OK};
    int64_t jobs = 0, wrong = 0;
    enum shoal_status status =
        shoal_queue_audit(&fleet->queue, tell, NULL, &jobs, &wrong, &err);
    ck_assert_msg(status == SHOAL_OK, "audit: %s", err.text);
    ck_assert_msg(wrong == 0, "the audit found %" PRId64 " things wrong", wrong);
}

static void audit_after_move(struct test_fleet *fleet) {
    if (!fleet->no_audit)
        test_fleet_audit(fleet);
}

void test_submit(struct test_fleet *fleet, int64_t total,
                 void (*change)(struct shoal_submission *job), char *id) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_submission job = {
        .spec = "{}", .queue = "q", .owner = "tester@here", .seed = 1, .total = total};
    shoal_id_make(job.id);
    shoal_job_policy_init(&job.policy);
    if (change != NULL)
        change(&job);
    for (int i = 0; i <= fleet->repeat; i++) {
        enum shoal_status status = shoal_queue_submit(&fleet->queue, &job, 1, &err);
        ck_assert_msg(status == SHOAL_OK, "submit: %s", err.text);
        audit_after_move(fleet);
    }
    memcpy(id, job.id, sizeof(job.id));
}

struct shoal_job test_describe(struct test_fleet *fleet, const char *id) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_job job;
    enum shoal_status status = shoal_queue_describe(&fleet->queue, id, &job, &err);
    ck_assert_msg(status == SHOAL_OK, "describe: %s", err.text);
    return job;
}

/* ---- answers, copied so that they outlive their callback */

struct waiting {
    struct test_answer *answer;
    bool there;
};

static void take_status(struct waiting *waiting, enum shoal_status status,
                        const struct shoal_error *err) {
    waiting->there = true;
    waiting->answer->status = status;
    if (status != SHOAL_OK)
        fprintf(stderr, "move: %s\n", err->text);
}

static void take_registered(void *owner, enum shoal_status status,
                            const struct shoal_registered *registered,
                            const struct shoal_error *err) {
    struct waiting *waiting = owner;
    struct test_answer *answer = waiting->answer;
    take_status(waiting, status, err);
    if (status != SHOAL_OK)
        return;
    answer->registered = *registered;
    ck_assert_uint_le(registered->n, SHOAL_COUNT(answer->attempts));
    memcpy(answer->attempts, registered->attempts,
           registered->n * sizeof(*answer->attempts));
    answer->registered.attempts = answer->attempts;
}

static void take_advanced(void *owner, enum shoal_status status,
                          const struct shoal_advanced *advanced,
                          const struct shoal_error *err) {
    struct waiting *waiting = owner;
    struct test_answer *answer = waiting->answer;
    take_status(waiting, status, err);
    if (status != SHOAL_OK)
        return;
    answer->advanced = *advanced;
    ck_assert_uint_le(advanced->n_grants, SHOAL_COUNT(answer->grants));
    memcpy(answer->grants, advanced->grants,
           advanced->n_grants * sizeof(*answer->grants));
    answer->advanced.grants = answer->grants;
}

static void take_beaten(void *owner, enum shoal_status status,
                        const struct shoal_beaten *beaten,
                        const struct shoal_error *err) {
    struct waiting *waiting = owner;
    struct test_answer *answer = waiting->answer;
    take_status(waiting, status, err);
    if (status != SHOAL_OK)
        return;
    answer->beaten = *beaten;
    ck_assert_uint_le(beaten->n_stops, SHOAL_COUNT(answer->stops));
    ck_assert_uint_le(beaten->n_gone, SHOAL_COUNT(answer->gone));
    if (beaten->n_stops > 0)
        memcpy(answer->stops, beaten->stops, beaten->n_stops * sizeof(*answer->stops));
    if (beaten->n_gone > 0)
        memcpy(answer->gone, beaten->gone, beaten->n_gone * sizeof(*answer->gone));
    answer->beaten.stops = answer->stops;
    answer->beaten.gone = (const char(*)[SHOAL_LEASE_MAX])answer->gone;
}

/* ---- moves */

void test_register(struct test_fleet *fleet, const char *session, const char *dead,
                   const struct shoal_lease *leases, size_t n,
                   struct test_answer *answer) {
    const struct shoal_registration registration = {
        .session = session,
        .ttl_ms = 8000,
        .dead = dead,
        .slots = 1,
        .name = session,
        .host = "here",
        .queues = "q",
        .pid = 1,
        .leases = leases,
        .n_leases = n,
    };
    test_register_as(fleet, &registration, answer);
}

void test_register_as(struct test_fleet *fleet,
                      const struct shoal_registration *registration,
                      struct test_answer *answer) {
    for (int i = 0; i <= fleet->repeat; i++) {
        struct waiting waiting = {.answer = answer};
        ck_assert_int_eq(shoal_session_register(&fleet->queue, registration,
                                                take_registered, &waiting, NULL),
                         SHOAL_OK);
        loop_until(fleet->base, waiting.there, ANSWER_MS);
        ck_assert_int_eq(answer->status, SHOAL_OK);
        audit_after_move(fleet);
    }
}

void test_advance(struct test_fleet *fleet, const struct shoal_advance *request,
                  struct test_answer *answer) {
    for (int i = 0; i <= fleet->repeat; i++) {
        struct waiting waiting = {.answer = answer};
        ck_assert_int_eq(
            shoal_session_advance(&fleet->queue, request, take_advanced, &waiting, NULL),
            SHOAL_OK);
        loop_until(fleet->base, waiting.there, ANSWER_MS);
        ck_assert_int_eq(answer->status, SHOAL_OK);
        audit_after_move(fleet);
    }
}

/* Commits and asks in queue "q". */
static void advance(struct test_fleet *fleet, const char *session,
                    const struct shoal_commit *commit, const struct shoal_wish *wish,
                    struct test_answer *answer) {
    static const char *const queues[] = {"q", NULL};
    const struct shoal_advance request = {
        .session = session,
        .worker = session,
        .commits = &commit,
        .n_commits = commit != NULL,
        .queues = queues,
        .wishes = wish,
        .n_wishes = wish != NULL,
    };
    test_advance(fleet, &request, answer);
}

bool test_lease(struct test_fleet *fleet, const char *session, const char *name,
                int64_t most, struct shoal_lease *ret_lease) {
    struct test_answer answer;
    struct shoal_wish wish = {.count = 1, .most = most};
    snprintf(wish.lease, sizeof(wish.lease), "%s", name);
    advance(fleet, session, NULL, &wish, &answer);
    if (answer.advanced.n_grants == 0)
        return false;
    *ret_lease = answer.grants[0].lease;
    return true;
}

enum shoal_reason test_reason(char letter) {
    switch (letter) {
    case '.':
        return SHOAL_REASON_OK;
    case 'x':
        return SHOAL_REASON_EXIT;
    case 't':
        return SHOAL_REASON_TIMEOUT;
    case 's':
        return SHOAL_REASON_STOPPED;
    case 'r':
        return SHOAL_REASON_REJECTED;
    case 'c':
    case 'C':
        return SHOAL_REASON_CONTINUE;
    default:
        return SHOAL_REASON_SPAWN;
    }
}

int64_t test_wall_us(char letter) {
    return letter == 'C' ? 3600000000 : 1000;
}

void test_commit(struct test_fleet *fleet, const char *session,
                 const struct shoal_lease *lease, int64_t lo, const char *outcomes,
                 bool over) {
    struct test_answer answer;
    struct shoal_commit commit;
    shoal_commit_init(&commit, lease->job, lease->name, lo);
    for (; *outcomes != '\0'; outcomes++) {
        const struct shoal_outcome outcome = {
            .reason = test_reason(*outcomes),
            .attempt = lease->attempt,
            .wall_us = test_wall_us(*outcomes),
            .result = "1",
            .result_len = 1,
        };
        shoal_commit_add(&commit, &outcome, session, "because", 7);
    }
    commit.over = over;
    advance(fleet, session, &commit, NULL, &answer);
    shoal_commit_finish(&commit);
}

void test_give_back(struct test_fleet *fleet, const char *session,
                    const struct shoal_lease *lease, int64_t rest) {
    struct test_answer answer;
    struct shoal_commit commit;
    shoal_commit_init(&commit, lease->job, lease->name, lease->lo);
    commit.rest = rest;
    advance(fleet, session, &commit, NULL, &answer);
    shoal_commit_finish(&commit);
}

void test_heartbeat(struct test_fleet *fleet, const char *session,
                    const char *const *leases, struct test_answer *answer) {
    static const char *const queues[] = {"q", NULL};
    char names[64][SHOAL_LEASE_MAX];
    size_t n = 0;
    for (; leases != NULL && leases[n] != NULL; n++)
        snprintf(names[n], sizeof(names[n]), "%s", leases[n]);
    const struct shoal_heartbeat heartbeat = {
        .session = session,
        .ttl_ms = 8000,
        .leases = (const char(*)[SHOAL_LEASE_MAX])names,
        .n_leases = n,
        .queues = queues,
    };
    test_heartbeat_as(fleet, &heartbeat, answer);
}

void test_heartbeat_as(struct test_fleet *fleet, const struct shoal_heartbeat *heartbeat,
                       struct test_answer *answer) {
    for (int i = 0; i <= fleet->repeat; i++) {
        struct waiting waiting = {.answer = answer};
        ck_assert_int_eq(shoal_session_heartbeat(&fleet->queue, heartbeat, take_beaten,
                                                 &waiting, NULL),
                         SHOAL_OK);
        loop_until(fleet->base, waiting.there, ANSWER_MS);
        ck_assert_int_eq(answer->status, SHOAL_OK);
        audit_after_move(fleet);
    }
}

static void take_reply(void *owner, enum shoal_status status, const redisReply *reply,
                       const struct shoal_error *err) {
    (void)reply;
    (void)err;
    ck_assert_int_eq(status, SHOAL_OK);
    *(bool *)owner = true;
}

void test_finish(struct test_fleet *fleet, const char *session) {
    for (int i = 0; i <= fleet->repeat; i++) {
        bool there = false;
        ck_assert_int_eq(
            shoal_session_finish(&fleet->queue, session, take_reply, &there, NULL),
            SHOAL_OK);
        loop_until(fleet->base, there, ANSWER_MS);
        audit_after_move(fleet);
    }
}

void test_pass_time(struct test_fleet *fleet, int64_t ms) {
    struct shoal_error err = {.status = SHOAL_OK};
    char key[SHOAL_KEY_MAX];
    shoal_key_make(key, fleet->queue.prefix, SHOAL_KEY_CLOCK, "");
    int64_t wait = 0;
    for (int64_t step; ms > 0; ms -= step) {
        step = ms < 3000 ? ms : 3000;
        test_command_int(fleet->redis, "HINCRBY %s wall %lld", key, -(long long)step);
        enum shoal_status status = shoal_queue_housekeep(&fleet->queue, &wait, &err);
        ck_assert_msg(status == SHOAL_OK, "housekeep: %s", err.text);
        audit_after_move(fleet);
    }
}

bool test_token(struct test_fleet *fleet, const char *queue) {
    char key[SHOAL_KEY_MAX];
    shoal_key_make(key, fleet->queue.prefix, SHOAL_KEY_WAKE, queue);
    return test_command_int(fleet->redis, "LLEN %s", key) == 1;
}

/* ---- outcomes */

static void note_outcome(char *seen, int64_t total, int64_t index,
                         enum shoal_reason reason) {
    ck_assert_int_ge(index, 0);
    ck_assert_int_lt(index, total);
    char *letter = &seen[index];
    if (*letter == '-')
        *letter = reason == SHOAL_REASON_OK ? '.' : 'x';
    else
        *letter = *letter >= '2' && *letter <= '8' ? (char)(*letter + 1) : '2';
}

static void note_entry(char *seen, int64_t total, const redisReply *entry) {
    struct shoal_entry_reader reader;
    ck_assert_int_eq(shoal_entry_begin(&reader, entry->str, entry->len, NULL), SHOAL_OK);
    for (bool more = true; more;) {
        struct shoal_outcome outcome;
        int64_t index = 0;
        ck_assert_int_eq(shoal_entry_next(&reader, &more, &index, &outcome, NULL),
                         SHOAL_OK);
        if (more)
            note_outcome(seen, total, index, outcome.reason);
    }
}

char *test_outcomes(struct test_fleet *fleet, const char *id) {
    struct shoal_job job = test_describe(fleet, id);
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *entries = NULL;
    char *seen = calloc((size_t)job.total + 1, 1);
    ck_assert_ptr_nonnull(seen);
    memset(seen, '-', (size_t)job.total);
    ck_assert_int_eq(
        shoal_queue_results(&fleet->queue, id, 0, 0, INT32_MAX, &entries, NULL),
        SHOAL_OK);
    for (size_t i = 0; i < entries->elements; i++)
        note_entry(seen, job.total, entries->element[i]);
    return seen;
}

/* ---- damage */

/* As lib.lua has them. */
static const char *const counters[] = {
    "state",   "total", "cursor", "ok",        "failed", "cancelled", "leased", "delayed",
    "leases",  "ready", "open",   "args",      "ran",    "work",      "stored", "read",
    "trimmed", "kill",  "busy",   "spawnless", "hold",   "marks"};

void test_set_counter(struct test_fleet *fleet, const char *id, const char *name,
                      const char *value) {
    char key[SHOAL_KEY_MAX], before[512], after[1024] = "";
    shoal_key_make(key, fleet->queue.prefix, SHOAL_KEY_JOB, id);
    redisReply *reply = test_command(fleet->redis, "HGET %s n", key);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    snprintf(before, sizeof(before), "%s", reply->str);
    freeReplyObject(reply);
    char *rest = before;
    for (size_t i = 0; i < SHOAL_COUNT(counters); i++) {
        const char *part = strsep(&rest, ":");
        if (i > 0)
            strcat(after, ":");
        strcat(after, strcmp(counters[i], name) == 0 ? value : part == NULL ? "0" : part);
    }
    test_command_int(fleet->redis, "HSET %s n %s", key, after);
}
