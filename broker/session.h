/* A worker's side of the queue: its session, the commits that it makes and the leases
 * that it gets. Nothing here waits: answers come to a callback, from the loop, with
 * `status` not SHOAL_OK and `answer` NULL when there was none (then the same request may
 * be sent again). */
#ifndef SHOAL_SESSION_H
#define SHOAL_SESSION_H

#include "broker/outcome.h"
#include "broker/queue.h"

enum {
    SHOAL_LEASE_MAX = 24
}; /* bytes of a lease's name with its NUL; the worker chooses it */

/* A range of a job's tasks that one slot works through in order. */
struct shoal_lease {
    char name[SHOAL_LEASE_MAX];
    char job[13];
    int64_t lo, hi; /* [lo, hi) */
    int64_t attempt;
};

/* ---- register */

struct shoal_registration {
    const char *session;
    int64_t ttl_ms;
    const char *dead;    /* sessions of predecessors that died, by commas; NULL: none */
    const char *seen_id; /* of the store, and its highest commit; NULL and 0 at first */
    int64_t seen_commits;
    int64_t slots;
    const char *name;
    const char *host;
    const char *queues; /* joined by commas */
    int64_t pid;
    const struct shoal_lease
        *leases; /* what it still runs: [lo, hi) is what is running */
    size_t n_leases;
};

enum shoal_store_verdict {
    SHOAL_STORE_SAME,
    SHOAL_STORE_REPLACED,
    SHOAL_STORE_ROLLED_BACK
};

struct shoal_registered {
    char store[13];
    int64_t commits;
    enum shoal_store_verdict verdict;
    size_t n;                /* as many as leases were told */
    const int64_t *attempts; /* >= 1: the worker has it at that attempt; 0: others have
                              * it; -1: nothing is left to do in it */
};

typedef void (*shoal_registered_fn)(void *owner, enum shoal_status status,
                                    const struct shoal_registered *answer,
                                    const struct shoal_error *err);

SHOAL_MUST_CHECK
enum shoal_status shoal_session_register(struct shoal_queue *queue,
                                         const struct shoal_registration *registration,
                                         shoal_registered_fn done, void *owner,
                                         struct shoal_error *err);

/* ---- advance */

/* What became of some tasks of a lease, being gathered. */
struct shoal_commit {
    char job[13];
    char lease[SHOAL_LEASE_MAX];
    int64_t lo, hi; /* outcomes of [lo, hi) are here */
    int64_t rest; /* what the lease owns from here on goes back untouched; -1: nothing */
    bool over;    /* the lease ends */
    int64_t work_us; /* that the tasks took */
    int64_t failures;
    struct shoal_request failed; /* index, attempt, reason, record of each */
    size_t elements;
    struct shoal_buffer outcomes; /* the pack without its head: so many elements */
};

/* Whether there was memory for all of its outcomes. Of another one none is told: its
 * tasks run again. */
bool shoal_commit_is_whole(const struct shoal_commit *commit);

/* A commit with so many bytes of outcomes is to be sent before more is added. */
enum { SHOAL_COMMIT_BYTES = 4 << 20 };

void shoal_commit_init(struct shoal_commit *commit, const char *job, const char *lease,
                       int64_t lo);
void shoal_commit_finish(struct shoal_commit *commit);

/* Adds the outcome of task commit->hi. `text`: end of stderr or a sentence, for the
 * attempts list, of what did not succeed. */
void shoal_commit_add(struct shoal_commit *commit, const struct shoal_outcome *outcome,
                      const char *worker, const char *text, size_t text_len);

/* Adds outcomes of the tasks from commit->hi on that were packed elsewhere: `elements` of
 * a pack, for n tasks. Those that failed are told by shoal_commit_add_failure(), in
 * order. */
void shoal_commit_add_packed(struct shoal_commit *commit, int64_t n, int64_t work_us,
                             size_t elements, const char *outcomes, size_t len);
void shoal_commit_add_failure(struct shoal_commit *commit, int64_t index,
                              const struct shoal_outcome *outcome, const char *worker,
                              const char *text, size_t text_len);

struct shoal_wish {
    char lease[SHOAL_LEASE_MAX]; /* the same name again gives the same leases */
    int64_t count; /* of leases at most, all of them short; "<lease>.1" is the second */
    int64_t most;  /* tasks of each */
    bool prefetch;
    int64_t guess_us; /* that a task of a job without history may take; 0: unknown */
};

struct shoal_advance {
    const char *session;
    const char *worker;
    const struct shoal_commit *const *commits;
    size_t n_commits;
    const char *const *queues; /* preferred first, NULL behind the last */
    const struct shoal_wish *wishes;
    size_t n_wishes;
};

struct shoal_grant {
    struct shoal_lease lease;
    char spec[21];
    uint64_t seed;
    int64_t first;    /* index of the pack's first argument */
    const char *pack; /* RESP array of arguments, borrowed; NULL for a job without */
    size_t pack_len;
    /* Of a signed job, borrowed as well; "" and NULL of others. */
    char warrant[21];
    const char *queue;
    const char *policy;
    const char *seal; /* of the pack; "": none */
};

struct shoal_advanced {
    bool alive; /* false: the session is over, register again; no lease was given */
    int64_t commits;
    char store[13];
    const struct shoal_grant *grants;
    size_t n_grants;
    bool garbled; /* there was another, of which nothing can be made: do not ask for it
                     by the same name */
};

typedef void (*shoal_advanced_fn)(void *owner, enum shoal_status status,
                                  const struct shoal_advanced *answer,
                                  const struct shoal_error *err);

SHOAL_MUST_CHECK
enum shoal_status shoal_session_advance(struct shoal_queue *queue,
                                        const struct shoal_advance *advance,
                                        shoal_advanced_fn done, void *owner,
                                        struct shoal_error *err);

/* ---- heartbeat */

struct shoal_heartbeat {
    const char *session;
    int64_t ttl_ms;
    const char (*leases)[SHOAL_LEASE_MAX]; /* held or asked for */
    size_t n_leases;
    const char *const *queues; /* NULL behind the last */
    int64_t running;
    bool draining;
    /* What running tasks say of themselves, for people: RESP strings job, index, fraction
     * and text of each, in a row. */
    const char *progress;
    size_t progress_len;
};

struct shoal_stop {
    char job[13];
    bool kill;
};

struct shoal_beaten {
    bool alive;
    int64_t wait_ms; /* until there is more to do */
    bool drain;
    bool full; /* nothing is handed out for want of memory */
    int64_t commits;
    const struct shoal_stop *stops;
    size_t n_stops;
    const char (*gone)[SHOAL_LEASE_MAX]; /* told leases that Redis does not know */
    size_t n_gone;
};

typedef void (*shoal_beaten_fn)(void *owner, enum shoal_status status,
                                const struct shoal_beaten *answer,
                                const struct shoal_error *err);

SHOAL_MUST_CHECK
enum shoal_status shoal_session_heartbeat(struct shoal_queue *queue,
                                          const struct shoal_heartbeat *heartbeat,
                                          shoal_beaten_fn done, void *owner,
                                          struct shoal_error *err);

/* ---- end, specs and warrants, messages; `done` may be NULL; the reply is raw */

SHOAL_MUST_CHECK
enum shoal_status shoal_session_finish(struct shoal_queue *queue, const char *session,
                                       shoal_redis_reply_fn done, void *owner,
                                       struct shoal_error *err);

/* A text that may have `most` bytes: one of more is longer, and was cut off behind the
 * first too many. "": there is none. */
SHOAL_MUST_CHECK
enum shoal_status shoal_session_get(struct shoal_queue *queue, enum shoal_key kind,
                                    const char *digest, size_t most,
                                    shoal_redis_reply_fn done, void *owner,
                                    struct shoal_error *err);

/* Blocks, for wait_ms at most, until there is a message or (unless `queues` is NULL)
 * something to take: BLPOP, whose reply is nil, or [key, value];
 * shoal_session_read_message() tells which. To be sent on a connection of its own. */
SHOAL_MUST_CHECK
enum shoal_status shoal_session_listen(struct shoal_queue *queue, const char *session,
                                       const char *const *queues, int64_t wait_ms,
                                       shoal_redis_reply_fn done, void *owner,
                                       struct shoal_error *err);

/* Wakes a listener of that session, which then gets SHOAL_MESSAGE_NONE. */
SHOAL_MUST_CHECK
enum shoal_status shoal_session_nudge(struct shoal_queue *queue, const char *session,
                                      struct shoal_error *err);

enum shoal_message_type {
    SHOAL_MESSAGE_NONE,    /* the time was over, or garbage */
    SHOAL_MESSAGE_WAKE,    /* a token: something can be taken */
    SHOAL_MESSAGE_STOP,    /* a job's tasks are to be stopped */
    SHOAL_MESSAGE_KILL,    /* at once */
    SHOAL_MESSAGE_SETTLED, /* others finished [lo, hi) of a job */
    SHOAL_MESSAGE_DRAIN,
};

struct shoal_message {
    enum shoal_message_type type;
    char job[13];
    int64_t lo, hi;
};

void shoal_session_read_message(const struct shoal_queue *queue, const redisReply *reply,
                                struct shoal_message *ret_message);

#endif
