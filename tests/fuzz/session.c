/* What Redis answers to a worker: RESP as it comes from the socket, through hiredis and
 * the decoders of session.c, to leases in a slot's hands. The first byte chooses the
 * move; behind it stand the answers. */
#include "broker/session.h"

#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/answers.h"
#include "worker/held.h"

#include <assert.h>

/* What is told of a move. */
struct hearing {
    bool told;
    const struct shoal_queue *queue;
};

static void check(struct hearing *hearing, enum shoal_status status, const void *answer,
                  const struct shoal_error *err) {
    assert(!hearing->told);
    hearing->told = true;
    assert((status == SHOAL_OK) == (answer != NULL));
    assert(status == SHOAL_OK || err->text[0] != '\0');
}

static bool is_sequence(int64_t commits) {
    return commits >= 0 && commits <= INT64_C(1) << 53;
}

static void registered(void *owner, enum shoal_status status,
                       const struct shoal_registered *answer,
                       const struct shoal_error *err) {
    check(owner, status, answer, err);
    assert(answer == NULL || is_sequence(answer->commits));
    for (size_t i = 0; answer != NULL && i < answer->n; i++)
        assert(answer->attempts[i] >= -1);
}

/* The arguments of a few of its tasks, as a slot looks for them. */
static void hold(const struct shoal_grant *grant) {
    struct shoal_held *held = shoal_held_create(grant, NULL, NULL);
    const char *bytes = NULL;
    size_t len = 0;
    for (int i = 0; i < 3 && held->at < held->lease.hi; i++, held->at++) {
        const struct shoal_record_reader *there = shoal_held_arguments(held);
        assert((there == NULL) == (grant->pack == NULL));
        if (there == NULL)
            continue;
        struct shoal_record_reader reader = *there;
        if (shoal_record_read_bytes(&reader, &bytes, &len))
            assert(held->first <= held->at);
    }
    shoal_held_destroy(held);
}

static void advanced(void *owner, enum shoal_status status,
                     const struct shoal_advanced *answer, const struct shoal_error *err) {
    check(owner, status, answer, err);
    assert(answer == NULL || is_sequence(answer->commits));
    for (size_t i = 0; answer != NULL && i < answer->n_grants; i++) {
        const struct shoal_grant *grant = &answer->grants[i];
        assert(grant->lease.lo >= 0 && grant->lease.lo < grant->lease.hi);
        assert(grant->lease.hi <= INT64_C(1) << 53 && grant->lease.attempt >= 1);
        assert(grant->warrant[0] == '\0' || (strlen(grant->queue) <= SHOAL_NAME_MAX &&
                                             strlen(grant->policy) < SHOAL_POLICY_ROOM &&
                                             strlen(grant->seal) <= SHOAL_SEAL_BYTES));
        hold(grant);
    }
}

static void beaten(void *owner, enum shoal_status status,
                   const struct shoal_beaten *answer, const struct shoal_error *err) {
    check(owner, status, answer, err);
    assert(answer == NULL || !answer->alive ||
           (answer->wait_ms >= 0 && is_sequence(answer->commits)));
}

static void heard(void *owner, enum shoal_status status, const redisReply *reply,
                  const struct shoal_error *err) {
    struct hearing *hearing = owner;
    struct shoal_message message;
    check(hearing, status, reply, err);
    if (reply == NULL)
        return;
    shoal_session_read_message(hearing->queue, reply, &message);
    assert(strlen(message.job) < sizeof(message.job));
    assert(message.type != SHOAL_MESSAGE_SETTLED ||
           (message.lo >= 0 && message.lo <= message.hi));
}

static enum shoal_status do_register(struct shoal_queue *queue, struct hearing *hearing) {
    const struct shoal_lease lease = {.name = "l1", .job = "0123456789ab", .hi = 10};
    const struct shoal_registration registration = {.session = "s",
                                                    .name = "w",
                                                    .host = "h",
                                                    .queues = "default",
                                                    .leases = &lease,
                                                    .n_leases = 1};
    return shoal_session_register(queue, &registration, registered, hearing, NULL);
}

static enum shoal_status do_advance(struct shoal_queue *queue, struct hearing *hearing) {
    static const char *const queues[] = {"default", NULL};
    const struct shoal_wish wish = {.lease = "l1", .count = 4, .most = 10};
    const struct shoal_advance advance = {
        .session = "s", .worker = "w", .queues = queues, .wishes = &wish, .n_wishes = 1};
    return shoal_session_advance(queue, &advance, advanced, hearing, NULL);
}

static enum shoal_status beat(struct shoal_queue *queue, struct hearing *hearing) {
    static const char *const queues[] = {"default", NULL};
    static const char leases[1][SHOAL_LEASE_MAX] = {"l1"};
    const struct shoal_heartbeat heartbeat = {
        .session = "s", .leases = leases, .n_leases = 1, .queues = queues};
    return shoal_session_heartbeat(queue, &heartbeat, beaten, hearing, NULL);
}

static enum shoal_status hear(struct shoal_queue *queue, struct hearing *hearing) {
    return shoal_session_listen(queue, "s", NULL, 1000, heard, hearing, NULL);
}

static enum shoal_status (*const moves[])(struct shoal_queue *, struct hearing *) = {
    do_register,
    do_advance,
    beat,
    hear,
};

/* Waits until the connection is there, with a command of its own. */
static void go_up(struct event_base *base, struct shoal_redis *redis) {
    shoal_redis_start(redis);
    while (!shoal_redis_is_up(redis))
        event_base_loop(base, EVLOOP_ONCE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct event_base *base;
    static struct answers *answers;
    struct fuzz_input input = fuzz_input(data, size);
    struct shoal_queue queue;
    struct hearing hearing = {.queue = &queue};
    size_t move = (fuzz_byte(&input) - 'a') % SHOAL_COUNT(moves);
    if (base == NULL) {
        base = event_base_new();
        answers = answers_create(base);
    }
    answers_set(answers, input.at, fuzz_left(&input));
    struct shoal_redis *redis = answers_connect(answers);
    shoal_queue_init(&queue, redis, "shoal", 5000);
    go_up(base, redis);
    assert(moves[move](&queue, &hearing) == SHOAL_OK);
    while (!hearing.told)
        event_base_loop(base, EVLOOP_ONCE);
    shoal_redis_destroy(redis);
    return 0;
}
