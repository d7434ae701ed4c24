/* A runner that stays, in parts:
 *
 *     runner_host.c           the interface: what it is given, and how it is stopped
 *     runner_host_process.c   its process begins and ends, with what tasks have started
 *     runner_host_talk.c      the protocol: batches go, outcomes and words come
 *     runner_host_end.c       how batches end, and what its death is laid to
 *     runner_host_carry.c     an upgrade
 *
 * These are shared between them. */
#ifndef SHOAL_RUNNER_HOST_H
#define SHOAL_RUNNER_HOST_H

#include "worker/batches.h"
#include "worker/capture.h"
#include "worker/runner.h"
#include "worker/slate.h"

#include <event2/buffer.h>
#include <limits.h>

enum {
    SHOAL_STAY_GAP_MS = 25, /* between two reports, if no task takes longer */
    SHOAL_STAY_PATIENCE_MS =
        100, /* before a task that never asks is told to stop by a signal */
};

struct shoal_stay {
    struct shoal_runner runner; /* first: the interface's part */
    struct shoal_runner_settings settings;
    char folder[PATH_MAX - 16]; /* SHOAL_TMP */
    struct shoal_cgroup *group;
    char beside[PATH_MAX]; /* where this program lies */
    char **passed;         /* what tasks get of the worker's own environment */
    int null;              /* /dev/null */
    int page;              /* the slate's */
    struct shoal_slate *slate;
    struct shoal_capture printed; /* stdout and stderr */
    struct event *timer; /* the greeting, a timeout, or the next step of a stop */

    /* The process, and how far it is. */
    pid_t pid; /* 0: none */
    int socket;
    struct event *readable;
    struct event *writable;
    struct evbuffer *in;
    struct evbuffer *out;
    bool greeted;
    bool computes; /* it finds the parameters of a sweep by itself */
    char digest[SHOAL_BATCH_DIGEST_ROOM]; /* of its spec, … */
    const struct shoal_allow *allow;      /* while it is started */
    int64_t timeout_ms;
    int64_t grace_ms;
    struct shoal_limits limits;
    struct shoal_warning warning;
    bool may_continue; /* … which has these */
    int64_t tasks;     /* that it has run */
    int64_t memory;    /* bytes, as it last said */
    size_t company;    /* processes beside its own when it greeted, or fewer */

    /* What is in its hands. */
    struct shoal_batches hands;
    bool limited;        /* what is sent ends early, so nothing may be sent behind it */
    bool doomed;         /* it was sent a signal that ends it: it is given nothing more */
    bool dying;          /* its last messages are read */
    int64_t reported_us; /* when there was a report, or a batch began */
    enum shoal_slate_stop stop;
    bool terminated;    /* SIGTERM was sent, or not needed */
    char nonsense[128]; /* what was wrong with what it said; "": nothing */
    bool starved; /* nothing was: the worker had no memory, and the task runs again */
    char sentence[SHOAL_STDERR_MAX];
    int64_t
        refused_till_ms; /* it did not start lately, and is not tried again before … */
    char refusal[SHOAL_STDERR_MAX]; /* … for this reason */
};

static inline struct shoal_stay *shoal_stay_of(const struct shoal_runner *runner) {
    return (struct shoal_stay *)runner;
}

static inline void shoal_stay_set_timer(struct shoal_stay *host, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(host->timer, &tv);
}

static inline struct shoal_given *shoal_stay_in_hand(struct shoal_stay *host) {
    return shoal_batches_first(&host->hands);
}

/* Its task is to end: not only that it knows that its time is nearly over. */
static inline bool shoal_stay_is_stopped(const struct shoal_stay *host) {
    return host->stop == SHOAL_SLATE_STOP || host->stop == SHOAL_SLATE_TIMEOUT;
}

/* Something was sent that is not over. */
static inline bool shoal_stay_is_at_work(struct shoal_stay *host) {
    return host->hands.n > 0 && shoal_stay_in_hand(host)->sent;
}

/* ---- the process */

/* Starts it for that spec, whose tasks make theirs in `checkpoints`, if that is open (-1:
 * it is not); on failure nothing is left. */
SHOAL_MUST_CHECK
enum shoal_status shoal_stay_launch(struct shoal_stay *host,
                                    const struct shoal_spec *spec, int checkpoints,
                                    struct shoal_error *err);

/* Kills all that it is; its death is heard of later. */
void shoal_stay_strike(struct shoal_stay *host);

/* Kills it and waits; harmless when there is none. */
void shoal_stay_end(struct shoal_stay *host);

/* Lets go of what belongs to one that is dead. */
void shoal_stay_close(struct shoal_stay *host);

/* It talks nonsense: its death, which comes next, is laid to the task that ran. Or the
 * worker has no memory to talk to it: then the task runs again. */
void shoal_stay_give_up(struct shoal_stay *host, const char *why);
void shoal_stay_starve(struct shoal_stay *host);

/* Processes beside its own; `left`: those that have become the worker's children. */
size_t shoal_stay_count_company(const struct shoal_stay *host, size_t left);
bool shoal_stay_has_leftovers(struct shoal_stay *host, size_t left);

/* False without memory. */
bool shoal_stay_watch_socket(struct shoal_stay *host, int fd);
bool shoal_stay_map_slate(struct shoal_stay *host);

/* ---- talk; the owner of both events is the runner */

void shoal_stay_readable(evutil_socket_t fd, short what, void *owner);
void shoal_stay_writable(evutil_socket_t fd, short what, void *owner);

/* Sends what is in its hands and may be sent; leaves it to flush(). */
void shoal_stay_send_ready(struct shoal_stay *host);

/* What is sent ends before the task at that position. */
void shoal_stay_limit(struct shoal_stay *host, int64_t position);
void shoal_stay_take_messages(struct shoal_stay *host);

/* ---- ends */

/* Whether it has run for long enough, or grown too large. */
bool shoal_stay_is_worn(const struct shoal_stay *host);

/* The first batch in its hands is over. */
void shoal_stay_end_first(struct shoal_stay *host);
void shoal_stay_die(struct shoal_stay *host, int status, const struct rusage *usage);

/* ---- the interface's, as in runner.h */

void shoal_stay_flush(struct shoal_runner *runner);
int64_t shoal_stay_index(struct shoal_runner *runner, size_t *ret_batch);
bool shoal_stay_rests(const struct shoal_runner *runner);
void shoal_stay_tidy(struct shoal_runner *runner, size_t left);
void shoal_stay_carry(struct shoal_runner *runner, struct shoal_handover *handover);
bool shoal_stay_recall(struct shoal_runner *runner, size_t i,
                       const struct shoal_batch *batch);

#endif
