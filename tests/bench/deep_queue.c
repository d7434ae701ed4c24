/* What a deep queue costs: a worker that is played by hand takes one-task jobs and
 * commits them, in turns from a queue where JOBS wait and from one where ten do. Each has
 * a Redis of its own, and for each job that is taken another one is submitted.
 *
 *     deep_queue DEEP_SOCKET FLAT_SOCKET JOBS COUNT
 *
 * Prints a line of two numbers for each turn: µs for handing out a job and committing
 * the one before, from the deep queue and from the flat one. */
#include "broker/session.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLAT_JOBS = 10, AT_ONCE = 1000, ANSWER_MS = 60000 };

struct side {
    struct shoal_redis *redis;
    struct shoal_queue queue;
    char session[13];
    struct shoal_lease lease; /* of the job at hand */
    bool there;               /* the answer */
};

static struct shoal_error err;
static struct event_base *base;

static void expect(enum shoal_status status) {
    if (status == SHOAL_OK)
        return;
    fprintf(stderr, "deep_queue: %s\n", err.text);
    exit(1);
}

static void wait_for_answer(const struct side *side) {
    while (!side->there && event_base_loop(base, EVLOOP_ONCE) == 0)
        ;
}

/* ---- filling */

static void submit(struct side *side, int64_t n) {
    static struct shoal_submission jobs[AT_ONCE];
    for (int64_t i = 0; i < n; i++) {
        jobs[i] = (struct shoal_submission){
            .spec = "{}", .queue = "q", .owner = "bench@here", .seed = 1, .total = 1};
        shoal_id_make(jobs[i].id);
        shoal_job_policy_init(&jobs[i].policy);
    }
    expect(shoal_queue_submit(&side->queue, jobs, (size_t)n, &err));
}

static void fill(struct side *side, int64_t n) {
    for (; n > AT_ONCE; n -= AT_ONCE)
        submit(side, AT_ONCE);
    submit(side, n);
}

/* ---- the worker */

static void registered(void *owner, enum shoal_status status,
                       const struct shoal_registered *answer,
                       const struct shoal_error *why) {
    struct side *side = owner;
    (void)answer;
    if (status != SHOAL_OK)
        err = *why;
    expect(status);
    side->there = true;
}

static void advanced(void *owner, enum shoal_status status,
                     const struct shoal_advanced *answer, const struct shoal_error *why) {
    struct side *side = owner;
    if (status != SHOAL_OK)
        err = *why;
    expect(status);
    if (!answer->alive || answer->n_grants != 1) {
        fprintf(stderr, "deep_queue: no job was handed out\n");
        exit(1);
    }
    side->lease = answer->grants[0].lease;
    side->there = true;
}

static void start(struct side *side, const char *path, int64_t jobs) {
    struct shoal_redis_address address = {.path = (char *)path};
    const struct shoal_redis_options options = {.command_timeout_ms = ANSWER_MS};
    const struct shoal_redis_events events = {.owner = NULL};
    expect(shoal_redis_create(base, &address, &options, &events, &side->redis, &err));
    shoal_queue_init(&side->queue, side->redis, "bench", ANSWER_MS);
    fill(side, jobs);

    const struct shoal_registration registration = {
        .session = side->session,
        .ttl_ms = 3600000,
        .slots = 1,
        .name = "bench",
        .host = "here",
        .queues = "q",
    };
    shoal_id_make(side->session);
    expect(shoal_session_register(&side->queue, &registration, registered, side, &err));
    wait_for_answer(side);
}

/* Commits the job at hand, if there is one, and takes the next; how many µs it took. */
static int64_t advance(struct side *side, unsigned turn) {
    static const char *const queues[] = {"q", NULL};
    const struct shoal_outcome outcome = {.attempt = 1, .wall_us = 1, .result = ""};
    struct shoal_commit commit;
    struct shoal_wish wish = {.count = 1, .most = 1};
    snprintf(wish.lease, sizeof(wish.lease), "%u", turn);
    shoal_commit_init(&commit, side->lease.job, side->lease.name, 0);
    shoal_commit_add(&commit, &outcome, "bench", "", 0);
    commit.over = true;
    const struct shoal_commit *commits[] = {&commit};
    const struct shoal_advance request = {
        .session = side->session,
        .worker = "bench",
        .commits = commits,
        .n_commits = side->lease.name[0] != '\0',
        .queues = queues,
        .wishes = &wish,
        .n_wishes = 1,
    };
    side->there = false;
    int64_t begin = shoal_now_us();
    expect(shoal_session_advance(&side->queue, &request, advanced, side, &err));
    wait_for_answer(side);
    int64_t took = shoal_now_us() - begin;
    shoal_commit_finish(&commit);
    return took;
}

int main(int argc, char **argv) {
    int64_t jobs = argc == 5 ? strtoll(argv[3], NULL, 10) : 0;
    int64_t count = argc == 5 ? strtoll(argv[4], NULL, 10) : 0;
    if (jobs < 1 || count < 1) {
        fprintf(stderr, "Usage: deep_queue DEEP_SOCKET FLAT_SOCKET JOBS COUNT\n");
        return 2;
    }
    struct side sides[2] = {{.there = false}, {.there = false}};
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    start(&sides[0], argv[1], jobs);
    start(&sides[1], argv[2], FLAT_JOBS);
    for (unsigned turn = 0; turn < count; turn++) {
        int64_t took[2];
        for (size_t i = 0; i < SHOAL_COUNT(sides); i++) {
            took[i] = advance(&sides[i], turn);
            submit(&sides[i], 1);
        }
        printf("%" PRId64 " %" PRId64 "\n", took[0], took[1]);
    }
    for (size_t i = 0; i < SHOAL_COUNT(sides); i++)
        shoal_redis_destroy(sides[i].redis);
    event_base_free(base);
    return 0;
}
