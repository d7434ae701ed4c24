/* A crowd of workers on one Redis: sessions that are registered and kept as workers do
 * it, each with a bell of its own, their moves on a few connections.
 *
 *     crowd cpu SOCKET SESSIONS SECONDS
 *         Workers of one slot that run tasks of five seconds, one after the other, and
 *         beat every two. Prints the share of a core that Redis takes, in %.
 *
 *     crowd memory SOCKET SESSIONS SLOTS
 *         Every slot takes one task of one job. Prints the bytes of Redis for each. */
#include "broker/session.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/sweep.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS = 4,
    SLOTS_MAX = 64,
    HEARTBEAT_MS = 2000, /* these three as worker/link*.c have them */
    LISTEN_MS = 10000,
    HEARTBEAT_LEAST_MS = 50,
    TASK_MS = 5000,
    TTL_MS = 8000,
    ANSWER_MS = 60000,
    SETTLE_MS = 3000, /* until all bells are up and all timers have their turns */
};

struct member {
    char session[13];
    struct shoal_queue *queue;     /* on one of the few connections */
    struct shoal_queue bell_queue; /* on its own */
    struct event *heartbeat;
    struct event *work;
    struct shoal_lease lease;
    unsigned leases; /* so many it had */
};

static struct shoal_error err;
static struct event_base *base;
static struct shoal_redis *connections[CONNECTIONS];
static struct shoal_queue queues[CONNECTIONS];
static struct member *members;
static size_t n_members, slots;
static size_t pending; /* answers that are waited for */
static size_t granted;
static char path[128];

static const char *const served[] = {"q", NULL};

static void expect(enum shoal_status status, const struct shoal_error *why) {
    if (status == SHOAL_OK)
        return;
    fprintf(stderr, "crowd: %s\n", why->text);
    exit(1);
}

static void set_timer(struct event *event, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(event, &tv);
}

static void wait_for_answers(void) {
    while (pending > 0 && event_base_loop(base, EVLOOP_ONCE) == 0)
        ;
}

static struct shoal_redis *connect_redis(const struct shoal_redis_events *events) {
    struct shoal_redis_address address = {.path = path};
    const struct shoal_redis_options options = {.command_timeout_ms = ANSWER_MS};
    struct shoal_redis *redis = NULL;
    expect(shoal_redis_create(base, &address, &options, events, &redis, &err), &err);
    shoal_redis_start(redis);
    return redis;
}

/* A number that INFO tells. Connects when that is still to be done. */
static double info(struct shoal_redis *redis, const char *section, const char *name) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const char *text = "";
    shoal_request_init(&request);
    shoal_request_text(&request, "INFO");
    shoal_request_text(&request, section);
    expect(shoal_redis_run(redis, &request, ANSWER_MS, &reply, &err), &err);
    const char *at = shoal_reply_text(reply, &text) ? strstr(text, name) : NULL;
    return at == NULL ? 0 : strtod(at + strlen(name), NULL);
}

static void submit(int64_t total) {
    struct shoal_submission job = {
        .spec = "{}", .queue = "q", .owner = "bench@here", .seed = 1, .total = total};
    shoal_id_make(job.id);
    shoal_job_policy_init(&job.policy);
    expect(shoal_queue_submit(&queues[0], &job, 1, &err), &err);
}

/* ---- register */

static void registered(void *owner, enum shoal_status status,
                       const struct shoal_registered *answer,
                       const struct shoal_error *why) {
    (void)owner;
    (void)answer;
    expect(status, why);
    pending--;
}

static void register_all(int64_t ttl_ms) {
    for (size_t i = 0; i < n_members; i++) {
        struct member *member = &members[i];
        const struct shoal_registration registration = {
            .session = member->session,
            .ttl_ms = ttl_ms,
            .slots = (int64_t)slots,
            .name = member->session,
            .host = "here",
            .queues = "q",
        };
        shoal_id_make(member->session);
        member->queue = &queues[i % CONNECTIONS];
        expect(
            shoal_session_register(member->queue, &registration, registered, NULL, &err),
            &err);
        pending++;
    }
    wait_for_answers();
}

/* ---- advance */

static void advanced(void *owner, enum shoal_status status,
                     const struct shoal_advanced *answer, const struct shoal_error *why) {
    struct member *member = owner;
    expect(status, why);
    pending--;
    granted += answer->n_grants;
    if (answer->n_grants > 0)
        member->lease = answer->grants[0].lease;
    if (member->work != NULL)
        set_timer(member->work, TASK_MS);
}

/* Commits the task that it has, if it has one, and asks for one for each slot. */
static void advance(struct member *member) {
    struct shoal_wish wishes[SLOTS_MAX];
    const struct shoal_outcome outcome = {
        .attempt = 1, .wall_us = TASK_MS * INT64_C(1000), .result = "1", .result_len = 1};
    struct shoal_commit commit;
    const struct shoal_commit *commits[] = {&commit};
    shoal_commit_init(&commit, member->lease.job, member->lease.name, member->lease.lo);
    shoal_commit_add(&commit, &outcome, member->session, "", 0);
    commit.over = true;
    for (size_t i = 0; i < slots; i++) {
        wishes[i] = (struct shoal_wish){.count = 1, .most = 1};
        snprintf(wishes[i].lease, sizeof(wishes[i].lease), "%u", ++member->leases);
    }
    const struct shoal_advance request = {
        .session = member->session,
        .worker = member->session,
        .commits = commits,
        .n_commits = member->lease.name[0] != '\0',
        .queues = served,
        .wishes = wishes,
        .n_wishes = slots,
    };
    member->lease.name[0] = '\0';
    expect(shoal_session_advance(member->queue, &request, advanced, member, &err), &err);
    pending++;
    shoal_commit_finish(&commit);
}

static void work(evutil_socket_t fd, short what, void *owner) {
    (void)fd;
    (void)what;
    advance(owner);
}

/* ---- heartbeat and bell */

static void beaten(void *owner, enum shoal_status status,
                   const struct shoal_beaten *answer, const struct shoal_error *why) {
    struct member *member = owner;
    expect(status, why);
    pending--;
    if (!answer->alive) {
        fprintf(stderr, "crowd: a session was over although its worker lives\n");
        exit(1);
    }
    int64_t wait = answer->wait_ms < HEARTBEAT_MS ? answer->wait_ms : HEARTBEAT_MS;
    set_timer(member->heartbeat, wait < HEARTBEAT_LEAST_MS ? HEARTBEAT_LEAST_MS : wait);
}

static void beat(evutil_socket_t fd, short what, void *owner) {
    struct member *member = owner;
    (void)fd;
    (void)what;
    const struct shoal_heartbeat heartbeat = {
        .session = member->session,
        .ttl_ms = TTL_MS,
        .leases = (const char(*)[SHOAL_LEASE_MAX])member->lease.name,
        .n_leases = member->lease.name[0] != '\0',
        .queues = served,
        .running = 1,
    };
    expect(shoal_session_heartbeat(member->queue, &heartbeat, beaten, member, &err),
           &err);
    pending++;
}

static void listen_again(void *owner);

static void heard(void *owner, enum shoal_status status, const redisReply *reply,
                  const struct shoal_error *why) {
    (void)reply;
    (void)why;
    if (status == SHOAL_OK) /* else the end has come */
        listen_again(owner);
}

/* Its only slot is busy: it listens for messages alone. */
static void listen_again(void *owner) {
    struct member *member = owner;
    expect(shoal_session_listen(&member->bell_queue, member->session, NULL, LISTEN_MS,
                                heard, member, &err),
           &err);
}

/* ---- what is measured */

static double cpu_seconds(void) {
    return info(connections[0], "cpu", "used_cpu_user:") +
           info(connections[0], "cpu", "used_cpu_sys:");
}

/* Every member gets its turns at a time of its own. */
static void bring_to_life(struct member *member) {
    const struct shoal_redis_events events = {.up = listen_again, .owner = member};
    shoal_queue_init(&member->bell_queue, connect_redis(&events), "bench", ANSWER_MS);
    member->heartbeat = evtimer_new(base, beat, member);
    member->work = evtimer_new(base, work, member);
    set_timer(member->heartbeat, (int64_t)(shoal_random() % HEARTBEAT_MS));
    set_timer(member->work, (int64_t)(shoal_random() % TASK_MS));
}

static void run_for(int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_base_loopexit(base, &tv);
    event_base_dispatch(base);
}

static void end_members(void) {
    for (size_t i = 0; i < n_members; i++) {
        event_free(members[i].heartbeat);
        event_free(members[i].work);
        members[i].work = NULL;
        shoal_redis_destroy(members[i].bell_queue.redis);
    }
}

static void measure_cpu(int64_t seconds) {
    slots = 1;
    submit(SHOAL_TASKS_MAX);
    register_all(TTL_MS);
    for (size_t i = 0; i < n_members; i++)
        advance(&members[i]);
    wait_for_answers();
    for (size_t i = 0; i < n_members; i++)
        bring_to_life(&members[i]);
    run_for(SETTLE_MS);
    double before = cpu_seconds();
    int64_t begin = shoal_now_ms();
    run_for(seconds * 1000);
    int64_t took = shoal_now_ms() - begin;
    printf("%.3f\n", (cpu_seconds() - before) / (double)took * 1e5);
    end_members();
}

static void measure_memory(size_t each) {
    slots = each;
    submit((int64_t)(n_members * slots));
    register_all(ANSWER_MS);
    double before = info(connections[0], "memory", "used_memory:");
    for (size_t i = 0; i < n_members; i++)
        advance(&members[i]);
    wait_for_answers();
    if (granted != n_members * slots) {
        fprintf(stderr, "crowd: %zu of %zu tasks were handed out\n", granted,
                n_members * slots);
        exit(1);
    }
    printf("%.1f\n",
           (info(connections[0], "memory", "used_memory:") - before) / (double)granted);
}

static int refuse(void) {
    fprintf(stderr, "Usage: crowd cpu SOCKET SESSIONS SECONDS\n"
                    "       crowd memory SOCKET SESSIONS SLOTS\n");
    return 2;
}

int main(int argc, char **argv) {
    int64_t number = argc == 5 ? strtoll(argv[4], NULL, 10) : 0;
    bool memory = argc == 5 && strcmp(argv[1], "memory") == 0;
    n_members = argc == 5 ? strtoull(argv[3], NULL, 10) : 0;
    if (n_members < 1 || number < 1 || (memory && number > SLOTS_MAX) ||
        (!memory && strcmp(argv[1], "cpu") != 0))
        return refuse();
    const struct shoal_redis_events events = {.owner = NULL};
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof(path), "%s", argv[2]);
    members = calloc(n_members, sizeof(*members));
    base = event_base_new();
    if (members == NULL || base == NULL)
        return 1;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connections[i] = connect_redis(&events);
        shoal_queue_init(&queues[i], connections[i], "bench", ANSWER_MS);
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        (void)info(connections[i], "server", ""); /* so that it is up */
    if (memory)
        measure_memory((size_t)number);
    else
        measure_cpu(number);
    for (size_t i = 0; i < CONNECTIONS; i++)
        shoal_redis_destroy(connections[i]);
    event_base_free(base);
    free(members);
    return 0;
}
