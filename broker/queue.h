/* The queue: every move of the state machine as a C call.
 *
 * Calls that return a status wait for the answer, `timeout_ms` of the queue at most, and
 * may run the event loop meanwhile. Those of a worker (…_send) do not wait; their answers
 * come to a callback. All moves are safe to repeat when an answer was lost. Besides what
 * each call says: SHOAL_LOST Redis cannot be reached, SHOAL_FULL it has no room,
 * SHOAL_DENIED it does not allow it, SHOAL_REFUSED the queue's state does not,
 * SHOAL_GARBAGE it answered nonsense. */
#ifndef SHOAL_QUEUE_H
#define SHOAL_QUEUE_H

#include "broker/job.h"
#include "broker/keys.h"
#include "common/redis.h"
#include "common/signer.h"

#include <stddef.h>

struct shoal_queue {
    struct shoal_redis *redis; /* the caller's */
    char prefix[SHOAL_PREFIX_MAX];
    int64_t timeout_ms; /* for the calls that wait */
    /* Of one that signs what it submits and appends. */
    const struct shoal_signer *signer; /* the caller's; NULL: it does not */
    int64_t valid_ms;                  /* so long is what is submitted valid */
    char name_space[64];
    char store[13]; /* its id, as far as this queue knows */
};

/* `name_space` is a valid name. Nothing to finish. */
void shoal_queue_init(struct shoal_queue *queue, struct shoal_redis *redis,
                      const char *name_space, int64_t timeout_ms);

/* From now on it signs. Asks for the store's id; one that is empty gets a fresh one with
 * the first job. `signer` must outlive it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_sign_with(struct shoal_queue *queue,
                                        const struct shoal_signer *signer,
                                        int64_t valid_ms, struct shoal_error *err);

/* ---- submitting */

struct shoal_submission {
    char id[13];      /* made by the caller with shoal_id_make(), kept for a repetition */
    const char *spec; /* text of a shoal_spec */
    const char *queue;
    const char *name; /* NULL: none */
    const char *owner;
    struct shoal_job_policy policy;
    uint64_t seed;
    int64_t total;      /* of an open job: 0 */
    int64_t start_ms;   /* since 1970; 0: at once */
    bool open;          /* tasks are appended; ends by shoal_queue_close() */
    bool whole;         /* with `open`: waits until it is closed, and is cancelled when it
                           was left alone for an hour before */
    bool has_arguments; /* each append brings them; with `open` only */
    const char *waiter; /* a client that is told of news (a shoal_id); NULL: none */
};

/* All of them or none; SHOAL_SUBMIT_MAX at most. */
enum { SHOAL_SUBMIT_MAX = 500 };
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_submit(struct shoal_queue *queue,
                                     const struct shoal_submission *jobs, size_t n,
                                     struct shoal_error *err);

/* Whether the i-th has the spec of the one before: those that are alike share one. */
bool shoal_submission_runs_as_before(const struct shoal_submission *jobs, size_t i);

/* Appends tasks [first, first + n) with a pack of n arguments (RESP array of strings;
 * NULL and 0 for a job without arguments). What is already there is skipped, a gap is
 * SHOAL_REFUSED. The job stays open for an hour from now on, also when n is 0. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_append(struct shoal_queue *queue, const char *job,
                                     int64_t first, int64_t n, const char *pack,
                                     size_t len, struct shoal_error *err);
/* The words of that move, signed by a queue that signs, behind those in `args`. Appends
 * without arguments are not signed: they say no more than how many tasks there are. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_append_words(const struct shoal_queue *queue,
                                           const char *job, int64_t first, int64_t n,
                                           const char *pack, size_t len,
                                           struct shoal_request *args,
                                           struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_close(struct shoal_queue *queue, const char *job,
                                    struct shoal_error *err);

/* ---- control; SHOAL_UNKNOWN: no such job or worker */

SHOAL_MUST_CHECK
enum shoal_status shoal_queue_cancel(struct shoal_queue *queue, const char *job,
                                     bool kill, struct shoal_error *err);

/* *ret_tasks: how many will run again. `all`: cancelled tasks too. `token`: a fresh
 * shoal_id, the same one when the call is repeated. SHOAL_REFUSED while the job stops or
 * waits. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_retry(struct shoal_queue *queue, const char *job, bool all,
                                    const char *token, int64_t *ret_tasks,
                                    struct shoal_error *err);
/* SHOAL_REFUSED: the job has not ended, or what is stored there is none; `force` takes it
 * away all the same. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_forget(struct shoal_queue *queue, const char *job,
                                     bool force, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_pause(struct shoal_queue *queue, const char *name,
                                    bool paused, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_order(struct shoal_queue *queue, const char *name,
                                    bool fifo, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_drain(struct shoal_queue *queue, const char *session,
                                    struct shoal_error *err);

/* Does what only time does. *ret_wait_ms: when there is more. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_housekeep(struct shoal_queue *queue, int64_t *ret_wait_ms,
                                        struct shoal_error *err);

/* ---- looking */

/* The job that a person means: an id or an unambiguous prefix of one, or a name (the
 * newest job of that name; an exact name comes before a prefix). Writes 13 bytes.
 * SHOAL_UNKNOWN: none. SHOAL_INVALID: the prefix fits several, which
 * the sentence names. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_find(struct shoal_queue *queue, const char *text,
                                   char *ret_id, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_describe(struct shoal_queue *queue, const char *job,
                                       struct shoal_job *ret_job,
                                       struct shoal_error *err);

/* Reads the state and the counters of a job from the text in which the store has them, of
 * `len` bytes. False: it is none. */
SHOAL_MUST_CHECK
bool shoal_job_read_counters(const char *text, size_t len, struct shoal_job *job);

/* The text of a job's spec, the caller's: free(). Of one that is too long there is so
 * much that its reader sees it. SHOAL_UNKNOWN: it is not there, or empty. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_spec(struct shoal_queue *queue, const char *digest,
                                   char **ret_text, size_t *ret_len,
                                   struct shoal_error *err);

/* The same of a warrant (broker/warrant.h). */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_warrant(struct shoal_queue *queue, const char *digest,
                                      char **ret_text, size_t *ret_len,
                                      struct shoal_error *err);

/* The explicit argument of a task, the caller's: free(). SHOAL_UNKNOWN:
 * it was trimmed. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_argument(struct shoal_queue *queue, const char *job,
                                       int64_t index, char **ret_argument,
                                       size_t *ret_len, struct shoal_error *err);

/* The pack that holds a task's argument: *ret_first is the index of its
 * first. As above. `seal`: NULL, or room for SHOAL_SEAL_BYTES and a NUL: its signature,
 * "" without one. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_arguments(struct shoal_queue *queue, const char *job,
                                        int64_t index, int64_t *ret_first,
                                        char **ret_pack, size_t *ret_len, char *seal,
                                        struct shoal_error *err);

/* The argument in place `nth` (from 0) of a pack, which *ret_bytes points into.
 * SHOAL_UNKNOWN: there is none. SHOAL_GARBAGE: it is no pack. */
SHOAL_MUST_CHECK
enum shoal_status shoal_pack_argument(const char *pack, size_t pack_len, int64_t nth,
                                      const char **ret_bytes, size_t *ret_len,
                                      struct shoal_error *err);

/* The ids of jobs from place `from` to `to` (included; -1: the last), newest first, as an
 * array reply: freeReplyObject(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_ids(struct shoal_queue *queue, int64_t from, int64_t to,
                                  redisReply **ret_ids, struct shoal_error *err);

/* Newest first, without the `from` newest, `most` at most, the caller's array: free().
 * What is no job is left out. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_list(struct shoal_queue *queue, size_t from, size_t most,
                                   struct shoal_job **ret_jobs, size_t *ret_n,
                                   struct shoal_error *err);

/* Entries [from, from + most) of a job's results, counted from the first that was ever
 * there
 * (`trimmed` of them are gone: pass the job's own). *ret_entries is an array reply of
 * strings for shoal_entry_begin(); freeReplyObject(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_results(struct shoal_queue *queue, const char *job,
                                      int64_t from, int64_t trimmed, int64_t most,
                                      redisReply **ret_entries, struct shoal_error *err);

/* The same for the attempts list, from its own beginning. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_attempts(struct shoal_queue *queue, const char *job,
                                       int64_t from, int64_t most,
                                       redisReply **ret_records, struct shoal_error *err);

/* Notes that entries before `upto` were read, and trims them when they are taken or the
 * job's budget asks for it. *ret_trimmed: as in struct shoal_job, afterwards. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_acknowledge(struct shoal_queue *queue, const char *job,
                                          int64_t upto, bool take, int64_t *ret_trimmed,
                                          struct shoal_error *err);

/* Packs of arguments, as they were appended: whoever reads the job's rows has those of
 * all their tasks. They are taken out, but for those with a task that may run again. */
struct shoal_pack_range {
    int64_t first;
    int64_t n;
};
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_release(struct shoal_queue *queue, const char *job,
                                      const struct shoal_pack_range *packs, size_t n,
                                      struct shoal_error *err);

/* Nobody reads the job's results as they come any more: it keeps everything and is not
 * held. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_lift_budget(struct shoal_queue *queue, const char *job,
                                          struct shoal_error *err);

struct shoal_worker_info {
    char session[13];
    char name[64];
    char host[256];
    char version[32];
    char queues[512];
    int64_t pid;
    int64_t slots;
    int64_t running;   /* slots with a task */
    int64_t since_ms;  /* since 1970 */
    int64_t silent_ms; /* since the last heartbeat, about */
    bool lost;         /* for longer than its session: its tasks go back when somebody
                          keeps house, a worker or a broker */
    bool draining;
};

SHOAL_MUST_CHECK
enum shoal_status shoal_queue_workers(struct shoal_queue *queue,
                                      struct shoal_worker_info **ret_workers,
                                      size_t *ret_n, struct shoal_error *err);

/* What a running task says of itself. */
struct shoal_running {
    char job[13];
    char worker[64];
    int64_t index;
    double fraction; /* 0 to 1 */
    char text[128];
};

/* Of all workers, the caller's array: free(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_running(struct shoal_queue *queue,
                                      struct shoal_running **ret_tasks, size_t *ret_n,
                                      struct shoal_error *err);

struct shoal_queue_info {
    char name[64];
    bool paused;
    bool fifo;
    int64_t ready; /* jobs that have tasks to hand out */
    int64_t jobs;  /* ever submitted */
    int64_t ok;    /* tasks, ever */
    int64_t failed;
    int64_t cancelled;
};

SHOAL_MUST_CHECK
enum shoal_status shoal_queue_is_full(struct shoal_queue *queue, bool *ret_full,
                                      struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_queues(struct shoal_queue *queue,
                                     struct shoal_queue_info **ret_queues, size_t *ret_n,
                                     struct shoal_error *err);

/* What the store says of itself. */
struct shoal_store_info {
    char id[13];
    int64_t commits;
    int64_t rollbacks;      /* how often it was found to have lost its last moments */
    int64_t commits_lost;   /* in all of them */
    int64_t rolled_back_ms; /* when it was last found */
    int64_t slots;          /* of all workers */
    bool full;              /* above 90 % of maxmemory: nothing is handed out */
};

SHOAL_MUST_CHECK
enum shoal_status shoal_queue_store(struct shoal_queue *queue,
                                    struct shoal_store_info *ret_store,
                                    struct shoal_error *err);

/* Proves conservation: calls `tell` with a sentence for each thing that is wrong.
 * *ret_jobs: how many jobs were looked at; *ret_wrong: how many sentences there were. */
SHOAL_MUST_CHECK
enum shoal_status shoal_queue_audit(struct shoal_queue *queue,
                                    void (*tell)(void *owner, const char *sentence),
                                    void *owner, int64_t *ret_jobs, int64_t *ret_wrong,
                                    struct shoal_error *err);

#endif
