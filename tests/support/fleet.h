/* A queue in a real Redis and workers that a test plays by hand: every move of the state
 * machine as a blocking call.
 *
 * With `repeat`, each move is sent twice and the answer to the second is used, as if the
 * answer to the first had been lost; and after each move conservation is proved. So a
 * test that holds with and without it shows that every move in it is safe to repeat. */
#ifndef SHOAL_TEST_FLEET_H
#define SHOAL_TEST_FLEET_H

#include "broker/session.h"
#include "tests/support/redis_server.h"

struct test_fleet {
    struct test_server server;
    struct event_base *base;
    struct shoal_redis *redis;
    struct shoal_queue queue;
    bool repeat;
    bool no_audit; /* for long histories that audit by themselves */
};

/* `args` of redis-server as in test_server_start(). */
void test_fleet_start(struct test_fleet *fleet, bool repeat, const char *const *args);
void test_fleet_finish(struct test_fleet *fleet);

/* Fails the test with the sentences when something is wrong. */
void test_fleet_audit(struct test_fleet *fleet);

/* A job of `total` tasks with the usual policy in queue "q"; `change` (or NULL) alters
 * the submission before it is sent. Writes the id into `id` (13 bytes). */
void test_submit(struct test_fleet *fleet, int64_t total,
                 void (*change)(struct shoal_submission *job), char *id);
struct shoal_job test_describe(struct test_fleet *fleet, const char *id);

/* A worker's side. Sessions are named by the test: 12 characters of an id's alphabet. */
struct test_answer {
    enum shoal_status status; /* of the call; an error reply's meaning */
    struct shoal_registered registered;
    int64_t attempts[64]; /* what registered.attempts points to */
    struct shoal_advanced advanced;
    struct shoal_grant grants[64]; /* packs are not kept */
    struct shoal_beaten beaten;
    struct shoal_stop stops[64];
    char gone[64][SHOAL_LEASE_MAX];
};

void test_register(struct test_fleet *fleet, const char *session, const char *dead,
                   const struct shoal_lease *leases, size_t n,
                   struct test_answer *answer);

/* The same with everything that a worker can say of itself. */
void test_register_as(struct test_fleet *fleet,
                      const struct shoal_registration *registration,
                      struct test_answer *answer);

/* Commits and asks as `request` says. */
void test_advance(struct test_fleet *fleet, const struct shoal_advance *request,
                  struct test_answer *answer);

/* Asks for one lease of `most` tasks at most. Returns whether it was given. */
bool test_lease(struct test_fleet *fleet, const char *session, const char *name,
                int64_t most, struct shoal_lease *ret_lease);

/* Letters for how a task ended: '.' ok, 'x' exit, 't' timeout, 's' stopped, 'r' rejected,
 * 'p' spawn, 'c' continue within a moment, 'C' continue after an hour. */
enum shoal_reason test_reason(char letter);
int64_t test_wall_us(char letter); /* that it ran */

/* Commits tasks of a lease from `lo` on, a letter each. `over`: the lease ends. */
void test_commit(struct test_fleet *fleet, const char *session,
                 const struct shoal_lease *lease, int64_t lo, const char *outcomes,
                 bool over);

/* Gives back what the lease owns from `rest` on, keeping it. */
void test_give_back(struct test_fleet *fleet, const char *session,
                    const struct shoal_lease *lease, int64_t rest);

/* `leases`: names that the worker holds, NULL behind the last. */
void test_heartbeat(struct test_fleet *fleet, const char *session,
                    const char *const *leases, struct test_answer *answer);
/* The same with everything that a worker can say. */
void test_heartbeat_as(struct test_fleet *fleet, const struct shoal_heartbeat *heartbeat,
                       struct test_answer *answer);
void test_finish(struct test_fleet *fleet, const char *session);

/* Housekeeps until `condition` may be looked at again: moves the fleet's clock on by
 * pretending that the last housekeeping was `ms` ago (3,000 at most count). */
void test_pass_time(struct test_fleet *fleet, int64_t ms);

/* Changes a counter of a job behind the queue's back; or its state, "state:failed". */
void test_set_counter(struct test_fleet *fleet, const char *id, const char *name,
                      const char *value);

/* Whether a token stands on the queue. */
bool test_token(struct test_fleet *fleet, const char *queue);

/* The outcomes of a job as accepted, one letter a task: '.' ok, 'x' not ok, '-' none;
 * anything else is a digit: how many there were. The caller's: free(). */
char *test_outcomes(struct test_fleet *fleet, const char *id);

#endif
