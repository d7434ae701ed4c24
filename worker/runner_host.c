/* Keeps a child that stays and runs many tasks: a runner in a language's own words.
 *
 *     none --start--> starting --hello--> idle --run--> busy --done, over--> idle
 *      ^                 |                  |             |
 *      +-----------------+------------------+-------------+   it died, or is replaced
 *
 * While it is busy it takes further batches (batches.h). They go to it and outcomes come
 * back as frames (frame.h) through a socket; what must be seen while a task runs stands
 * on a slate (slate.h). Its outcomes are packed already: only counts and failures are
 * looked at here. README.md has the protocol. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/environment.h"
#include "common/id.h"
#include "common/log.h"
#include "common/scratch.h"
#include "worker/batches.h"
#include "worker/capture.h"
#include "worker/child.h"
#include "worker/done.h"
#include "worker/frame.h"
#include "worker/handover.h"
#include "worker/runner.h"
#include "worker/slate.h"
#include "worker/tree.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GREETING_MS = 60000,  /* to load what it runs */
    GAP_MS = 25,          /* between two reports, if no task takes longer */
    REFUSED_MS = 10000,   /* what did not start is not tried again so long */
    PATIENCE_MS = 100,    /* before a task that never asks is told to stop by a signal */
    REST_MS = 1000,       /* without a task, until what tasks have started is not kept */
    TAKE_UNKNOWN = 1000,  /* tasks of a batch for a runner whose needs are not known */
    VALUES_MAX = 1 << 20, /* about so many bytes of values in a batch */
    READ_MAX = 1 << 20,
    QUEUED_MAX = 1 << 30, /* bytes on their way that an upgrade takes along */
};

#define INDEX_MAX (INT64_C(1) << 53)

struct host {
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

static struct host *of(const struct shoal_runner *runner) {
    return (struct host *)runner;
}

static void set_timer(struct host *host, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(host->timer, &tv);
}

static struct shoal_given *in_hand(struct host *host) {
    return shoal_batches_first(&host->hands);
}

/* Its task is to end: not only that it knows that its time is nearly over. */
static bool is_stopped(const struct host *host) {
    return host->stop == SHOAL_SLATE_STOP || host->stop == SHOAL_SLATE_TIMEOUT;
}

/* Something was sent that is not over. */
static bool is_at_work(struct host *host) {
    return host->hands.n > 0 && in_hand(host)->sent;
}

/* ---- the process */

/* What belongs to it here. */
static void close_process(struct host *host) {
    struct event **events[] = {&host->readable, &host->writable};
    for (size_t i = 0; i < SHOAL_COUNT(events); i++) {
        if (*events[i] != NULL)
            event_free(*events[i]);
        *events[i] = NULL;
    }
    if (host->socket >= 0)
        close(host->socket);
    host->socket = -1;
    evtimer_del(host->timer);
    evbuffer_drain(host->in, evbuffer_get_length(host->in));
    evbuffer_drain(host->out, evbuffer_get_length(host->out));
    shoal_capture_close(&host->printed);
    host->pid = 0;
    host->greeted = false;
}

/* All that it is, wherever it has gone; what has left both groups becomes the worker's
 * child when this is dead, and is ended there. */
static void strike(struct host *host) {
    shoal_child_signal(host->pid, SIGKILL);
    shoal_cgroup_kill(host->group); /* if something is left, the next start says so */
}

static void end_process(struct host *host) {
    if (host->pid == 0)
        return;
    strike(host);
    shoal_child_wait(host->pid);
    close_process(host);
}

/* It talks nonsense: its death, which comes next, is laid to the task that ran. */
static void give_up(struct host *host, const char *why) {
    if (host->nonsense[0] == '\0')
        snprintf(host->nonsense, sizeof(host->nonsense), "%s", why);
    if (host->readable != NULL)
        event_del(host->readable);
    if (!host->dying)
        strike(host);
}

static void starve(struct host *host) {
    host->starved = host->starved || host->nonsense[0] == '\0';
    give_up(host, "there was no memory to talk to it");
}

/* ---- what tasks have started */

/* Processes beside its own; `left`: those that have become the worker's children. */
static size_t count_company(const struct host *host, size_t left) {
    int64_t n = shoal_cgroup_count(host->group);
    return n > 0 ? (size_t)n - 1 : shoal_tree_count_below(host->pid) + left;
}

/* A runner may have a program around it, and helpers that its plug-in started when it was
 * loaded. */
static bool has_leftovers(struct host *host, size_t left) {
    size_t n = count_company(host, left);
    if (n < host->company)
        host->company = n;
    return n > host->company;
}

static bool rests(const struct shoal_runner *runner) {
    const struct host *host = of(runner);
    return host->pid != 0 && host->greeted && host->hands.n == 0 &&
           shoal_now_us() - host->reported_us >= REST_MS * INT64_C(1000);
}

/* The process goes with them: it may count on what it has started, as on the pool that a
 * task made for those behind it, and a task that comes later would wait for the dead. */
static void tidy(struct shoal_runner *runner, size_t left) {
    struct host *host = of(runner);
    if (!rests(runner) || !has_leftovers(host, left))
        return;
    shoal_debug("ended a runner without tasks that has started others: pid=%d slot=%d",
                (int)host->pid, host->settings.slot);
    end_process(host);
}

static void readable(evutil_socket_t fd, short what, void *owner);
static void writable(evutil_socket_t fd, short what, void *owner);

static bool watch_socket(struct host *host, int fd) {
    struct event_base *base = host->settings.base;
    host->socket = fd;
    host->readable = event_new(base, fd, EV_READ | EV_PERSIST, readable, host);
    host->writable = event_new(base, fd, EV_WRITE, writable, host);
    return host->readable != NULL && host->writable != NULL &&
           event_add(host->readable, NULL) == 0;
}

static enum shoal_status open_socket(struct host *host, int *ret_theirs,
                                     struct shoal_error *err) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a socket: %s",
                               strerror(errno));
    *ret_theirs = ends[1];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    if (!watch_socket(host, ends[0]))
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a runner");
    return SHOAL_OK;
}

static enum shoal_status make_environment(struct host *host,
                                          const struct shoal_spec *spec,
                                          char ***ret_environment,
                                          struct shoal_error *err) {
    const struct shoal_surroundings surroundings = {
        .slot = host->settings.slot,
        .threads = host->settings.threads,
        .directory = host->folder,
        .checkpoint = spec->checkpoint ? host->settings.checkpoints->folder : NULL,
        .passed = host->passed,
        .user = host->settings.user == NULL ? NULL : host->settings.user->name,
        .home = host->settings.user == NULL ? NULL : host->settings.user->home,
    };
    return shoal_environment_make(spec, NULL, &surroundings, ret_environment, err);
}

/* Where its tasks make theirs: in a sandbox, which opens what is there. */
static const char *own_checkpoints(const struct host *host,
                                   const struct shoal_spec *spec) {
    return spec->checkpoint && host->settings.sandbox != NULL
               ? host->settings.checkpoints->folder
               : NULL;
}

static enum shoal_status start_process(struct host *host, const struct shoal_spec *spec,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char **environment = NULL;
    SHOAL_CLEANUP(shoal_cleanup_fd) int printed = -1;
    SHOAL_CLEANUP(shoal_cleanup_fd) int theirs = -1;
    enum shoal_status status = make_environment(host, spec, &environment, err);
    if (status == SHOAL_OK)
        status = shoal_runner_make_room(&host->settings, host->folder, err);
    if (status == SHOAL_OK)
        status = shoal_capture_open(&host->printed, SHOAL_STDERR_MAX, &printed, err);
    if (status == SHOAL_OK)
        status = open_socket(host, &theirs, err);
    if (status == SHOAL_OK) {
        struct shoal_child child = {
            .argv = spec->command,
            .environment = environment,
            .beside = host->beside,
            .directory = spec->directory,
            .fds = {host->null, printed, printed, theirs, host->page},
            .n_fds = 5,
            .of_key = host->allow,
            .set_by_job = spec->environment,
            .own = {host->folder, own_checkpoints(host, spec)},
        };
        status = shoal_runner_confine(&host->settings, host->folder, &spec->limits,
                                      &host->group, &child, err);
        if (status == SHOAL_OK)
            status = shoal_child_start(&child, &host->pid, err);
    }
    if (status != SHOAL_OK)
        close_process(host);
    return status;
}

/* ---- sending */

static void writable(evutil_socket_t fd, short what, void *owner) {
    struct host *host = owner;
    (void)what;
    if (evbuffer_write(host->out, fd) < 0 && errno != EAGAIN && errno != EINTR) {
        if (errno != EPIPE && errno != ECONNRESET)
            starve(host); /* no buffers, say */
        return;           /* else it died, or closed its end; reading tells */
    }
    if (evbuffer_get_length(host->out) > 0)
        event_add(host->writable, NULL);
}

/* A message that leaves with the next flush(); a failed one had no memory. */
static void send_message(struct host *host, const struct shoal_buffer *message) {
    char head[32];
    if (message->failed ||
        evbuffer_add(host->out, head, shoal_frame_head(head, message->len)) != 0 ||
        evbuffer_add(host->out, message->data, message->len) != 0 ||
        evbuffer_add(host->out, "\r\n", 2) != 0)
        starve(host);
}

static void send_spec(struct host *host, const struct shoal_spec *spec) {
    struct shoal_buffer message;
    char *text = NULL;
    shoal_buffer_init(&message, SHOAL_FRAME_MAX);
    if (shoal_spec_write(spec, &text, NULL) != SHOAL_OK)
        message.failed = true;
    shoal_record_array(&message, 2);
    shoal_record_text(&message, "spec");
    shoal_record_text(&message, text == NULL ? "" : text);
    send_message(host, &message);
    shoal_buffer_finish(&message);
    free(text);
}

/* The values of each task's parameters, of as many tasks as a batch may have. */
static void add_values(const struct shoal_batch *batch, struct shoal_buffer *bytes,
                       int64_t *count) {
    const struct shoal_sweep *sweep = batch->spec->sweep;
    size_t n = shoal_sweep_parameters(sweep);
    struct shoal_buffer value;
    shoal_buffer_init(&value, SHOAL_VALUE_MAX + 1);
    for (*count = 0; *count < batch->hi - batch->lo && bytes->len < VALUES_MAX;
         ++*count) {
        shoal_record_array(bytes, n);
        for (size_t i = 0; i < n; i++) {
            shoal_buffer_clear(&value);
            shoal_sweep_value(sweep, i, batch->lo + *count, &value);
            shoal_record_bytes(bytes, shoal_buffer_text(&value), value.len);
            bytes->failed = bytes->failed || value.failed;
        }
    }
    shoal_buffer_finish(&value);
}

/* The explicit arguments of the batch's tasks, as they stand in the pack. Where one is
 * missing the batch ends. */
static void add_arguments(struct shoal_given *given, struct shoal_buffer *bytes,
                          int64_t *count) {
    const struct shoal_batch *batch = &given->batch;
    const char *begin = given->arguments.at, *end = begin, *argument = NULL;
    size_t len = 0;
    for (*count = 0; *count < batch->hi - batch->lo; ++*count) {
        if (!shoal_record_read_bytes(&given->arguments, &argument, &len))
            break;
        end = given->arguments.at;
    }
    shoal_buffer_add(bytes, begin, (size_t)(end - begin));
}

/* What stands between "run" and the first byte of a task. */
static const char *add_tasks(struct host *host, struct shoal_given *given,
                             struct shoal_buffer *bytes, int64_t *count) {
    *count = given->batch.hi - given->batch.lo;
    if (given->batch.arguments != NULL) {
        add_arguments(given, bytes, count);
        return "arguments";
    }
    if (host->computes)
        return "computed";
    add_values(&given->batch, bytes, count);
    return "values";
}

static void arm_timeout(struct host *host) {
    if (host->timeout_ms > 0 && host->stop == SHOAL_SLATE_GO_ON)
        set_timer(host, host->timeout_ms + GAP_MS - host->warning.before_ms);
}

static void send_batch(struct host *host, struct shoal_given *given) {
    struct shoal_buffer bytes, message;
    const struct shoal_batch *batch = &given->batch;
    int64_t count = 0;
    shoal_buffer_init(&bytes, SHOAL_FRAME_MAX - 4096);
    shoal_buffer_init(&message, SHOAL_FRAME_MAX);
    const char *kind = add_tasks(host, given, &bytes, &count);
    shoal_record_array(&message, 1 + SHOAL_RUN_FIELDS);
    shoal_record_text(&message, "run");
    shoal_record_text(&message, batch->job);
    shoal_record_int(&message, (int64_t)batch->seed);
    shoal_record_int(&message, batch->attempt);
    shoal_record_int(&message, batch->lo);
    shoal_record_int(&message, count);
    shoal_record_text(&message, kind);
    shoal_record_bytes(&message, shoal_buffer_text(&bytes), bytes.len);
    message.failed = message.failed || bytes.failed;
    shoal_batches_sent(&host->hands, given, count);
    send_message(host, &message);
    shoal_buffer_finish(&bytes);
    shoal_buffer_finish(&message);
}

/* It has nothing to do: what was asked of it before is over. */
static void begin_work(struct host *host) {
    atomic_store(&host->slate->mark, host->hands.positions);
    atomic_store(&host->slate->limit, INT64_MAX);
    atomic_store(&host->slate->stop, SHOAL_SLATE_GO_ON);
    host->limited = host->terminated = false;
    host->stop = SHOAL_SLATE_GO_ON;
    host->reported_us = shoal_now_us();
}

/* Sends what is in its hands and may be sent; leaves it to flush(). */
static void send_ready(struct host *host) {
    bool idle = !is_at_work(host);
    if (!host->greeted || host->doomed || host->dying || (host->limited && !idle))
        return;
    if (idle && host->hands.n > 0)
        begin_work(host);
    for (struct shoal_given *given; (given = shoal_batches_unsent(&host->hands)) != NULL;)
        send_batch(host, given);
    if (idle && host->hands.n > 0)
        arm_timeout(host);
}

static void flush(struct shoal_runner *runner) {
    struct host *host = of(runner);
    if (host->pid != 0 && evbuffer_get_length(host->out) > 0)
        writable(host->socket, 0, host);
}

/* What is sent ends before the task at that position. */
static void limit(struct host *host, int64_t position) {
    host->limited = true;
    if (position < atomic_load(&host->slate->limit))
        atomic_store(&host->slate->limit, position);
}

/* ---- how batches end */

/* Nothing is in its hands any more. */
static void end_all(struct host *host, struct shoal_ending *ending) {
    ending->all = true;
    shoal_batches_clear(&host->hands);
    evtimer_del(host->timer);
    host->settings.ended(host->settings.owner, ending);
}

static bool is_worn(const struct host *host) {
    return (host->settings.max_tasks > 0 && host->tasks >= host->settings.max_tasks) ||
           (host->settings.max_memory > 0 && host->memory > host->settings.max_memory);
}

/* What it was given and not sent goes to its successor, which a start() in between may
 * have begun. */
static void end_first(struct host *host) {
    struct shoal_ending ending = {
        .index = -1, .outcome = {.result = ""}, .stderr_end = ""};
    bool dropped = in_hand(host)->dropped;
    shoal_batches_shift(&host->hands);
    if (!is_at_work(host))
        evtimer_del(host->timer);
    if (!host->dying && !is_at_work(host) &&
        (is_worn(host) || host->doomed || (is_stopped(host) && has_leftovers(host, 0))))
        end_process(host);
    if (!dropped)
        host->settings.ended(host->settings.owner, &ending);
    if (host->pid == 0 && host->hands.n > 0)
        end_all(host, &ending);
    send_ready(host);
    flush(&host->runner);
}

/* The task that runs, or would be next. */
static int64_t index_of(struct shoal_runner *runner, size_t *ret_batch) {
    struct host *host = of(runner);
    return shoal_batches_find(&host->hands, atomic_load(&host->slate->mark), ret_batch);
}

static enum shoal_reason reason_of_death(const struct host *host, int status, bool oom,
                                         int64_t *ret_code) {
    *ret_code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    if (is_stopped(host))
        return host->stop == SHOAL_SLATE_TIMEOUT ? SHOAL_REASON_TIMEOUT
                                                 : SHOAL_REASON_STOPPED;
    if (host->starved)
        return SHOAL_REASON_STOPPED;
    if (!host->greeted)
        return SHOAL_REASON_SPAWN;
    if (host->nonsense[0] != '\0')
        return SHOAL_REASON_REJECTED;
    if (oom)
        return SHOAL_REASON_OOM;
    return WIFSIGNALED(status) ? SHOAL_REASON_SIGNAL : SHOAL_REASON_EXIT;
}

/* The end of what it printed, or a sentence in place of nothing. */
static void say_death(struct host *host, struct shoal_ending *ending) {
    const char *end = shoal_capture_end(&host->printed, &ending->stderr_len);
    enum shoal_reason reason = ending->outcome.reason;
    if (host->nonsense[0] != '\0')
        snprintf(host->sentence, sizeof(host->sentence), "its runner was ended: %s",
                 host->nonsense);
    else if (reason == SHOAL_REASON_SPAWN)
        snprintf(host->sentence, sizeof(host->sentence),
                 "its runner ended before it was ready (exit code or signal %" PRId64
                 "): %.*s",
                 ending->outcome.code, (int)ending->stderr_len, end);
    else if (ending->stderr_len == 0 && reason == SHOAL_REASON_EXIT)
        snprintf(host->sentence, sizeof(host->sentence),
                 "the task ended its runner with exit code %" PRId64 "; it should return",
                 ending->outcome.code);
    else {
        ending->stderr_end = end;
        return;
    }
    ending->stderr_end = host->sentence;
    ending->stderr_len = strlen(host->sentence);
}

static void take_messages(struct host *host);

/* It ends before it had greeted: so it does every time, for a while. */
static void remember_refusal(struct host *host, const struct shoal_ending *ending) {
    host->refused_till_ms = shoal_now_ms() + REFUSED_MS;
    snprintf(host->refusal, sizeof(host->refusal), "%.*s", (int)ending->stderr_len,
             ending->stderr_end);
}

static void die(struct host *host, int status, const struct rusage *usage) {
    struct shoal_ending ending = {.outcome = {.result = ""}};
    struct shoal_cgroup_usage memory;
    kill(-host->pid, SIGKILL); /* what is left of its group */
    shoal_cgroup_kill(host->group);
    shoal_cgroup_usage(host->group, &memory);
    host->dying = true;
    if (host->nonsense[0] == '\0')
        take_messages(host); /* that it sent before */
    host->dying = false;
    ending.outcome.reason =
        reason_of_death(host, status, memory.oom_kills > 0, &ending.outcome.code);
    ending.index = index_of(&host->runner, &ending.batch);
    const struct shoal_given *given = shoal_batches_at(&host->hands, ending.batch);
    if (given == NULL || ending.index >= given->batch.hi ||
        (ending.outcome.reason != SHOAL_REASON_SPAWN && !given->sent))
        ending.index = -1; /* nothing of what is wanted was begun, or all of it is told */
    if (shoal_batches_took_back(&host->hands, atomic_load(&host->slate->mark)))
        ending.index = -1; /* what was begun is not wanted any more */
    ending.outcome.attempt = given == NULL ? 1 : given->batch.attempt;
    ending.outcome.wall_us = shoal_now_us() - host->reported_us;
    ending.outcome.rss_kb = memory.peak > 0 ? memory.peak / 1024 : usage->ru_maxrss;
    close_process(host);
    if (host->hands.n == 0)
        return;
    say_death(host, &ending);
    if (ending.outcome.reason == SHOAL_REASON_OOM)
        shoal_runner_say_oom(&host->limits, &memory, &ending, host->sentence,
                             sizeof(host->sentence));
    if (ending.outcome.reason == SHOAL_REASON_SPAWN)
        remember_refusal(host, &ending);
    end_all(host, &ending);
}

/* ---- messages */

static bool take_hello(struct host *host, struct shoal_record_reader *reader) {
    int64_t version = 0, can_compute = 0;
    if (host->greeted || !shoal_record_read_int(reader, &version))
        return false;
    if (host->doomed)
        return true; /* it said so before it heard */
    if (version != SHOAL_PROTOCOL_VERSION) {
        char why[96];
        snprintf(why, sizeof(why),
                 "it speaks version %" PRId64 " of the protocol, this worker version %d",
                 version, SHOAL_PROTOCOL_VERSION);
        give_up(host, why);
        return true;
    }
    if (!shoal_record_read_int(reader, &can_compute))
        return false;
    host->greeted = true;
    host->company = count_company(host, 0);
    host->computes = can_compute == 1;
    evtimer_del(host->timer);
    if (host->hands.n == 0) { /* nobody waits for it any more */
        end_process(host);
        return true;
    }
    send_spec(host, in_hand(host)->batch.spec);
    send_ready(host);
    flush(&host->runner);
    return true;
}

/* Reasons that are the runner's to say; that a task was stopped, only when it was. */
static bool may_say(const struct host *host, enum shoal_reason reason) {
    switch (reason) {
    case SHOAL_REASON_EXIT:
    case SHOAL_REASON_REJECTED:
    case SHOAL_REASON_TOO_LARGE:
        return true;
    case SHOAL_REASON_CONTINUE:
        return host->may_continue;
    case SHOAL_REASON_STOPPED:
        return host->stop == SHOAL_SLATE_STOP;
    case SHOAL_REASON_TIMEOUT:
        return host->stop == SHOAL_SLATE_TIMEOUT;
    default:
        return false;
    }
}

static bool says_what_it_may(const struct host *host, const struct shoal_report *report) {
    for (size_t i = 0; i < report->n_failures; i++) {
        if (!may_say(host, report->failures[i].reason))
            return false;
    }
    return true;
}

/* A batch is over when all of it is done, or as much as the slate allows. */
static bool take_done(struct host *host, struct shoal_record_reader *reader) {
    SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
    struct shoal_given *given = in_hand(host);
    if (!is_at_work(host))
        return false;
    bool good = shoal_done_read(reader, given->shift, given->batch.lo, given->end, &done);
    if (done.no_memory)
        starve(host);
    if (!good || !says_what_it_may(host, &done.report))
        return false;
    struct shoal_batch *batch = &given->batch;
    batch->lo += done.report.tasks;
    if (done.over ? batch->lo < given->end && !host->limited : done.report.tasks == 0)
        return false;
    if (batch->hi < batch->lo)
        batch->hi = batch->lo; /* it was begun when it was taken back */
    host->tasks += done.report.tasks;
    host->memory = done.memory;
    host->reported_us = shoal_now_us();
    if (done.report.tasks > 0 && !given->dropped)
        host->settings.reported(host->settings.owner, &done.report);
    if (is_worn(host)) /* the rest goes to its successor */
        limit(host, 0);
    if (!done.over) {
        arm_timeout(host);
        return true;
    }
    end_first(host);
    if (is_at_work(host) && host->pid != 0)
        arm_timeout(host);
    return true;
}

/* Progress (a fraction and a text), and a line of log. */
static bool take_words(struct host *host, struct shoal_record_reader *reader,
                       bool is_progress) {
    const char *text, *number = "-1";
    size_t len, number_len = 2;
    int64_t index = 0;
    double fraction = -1;
    if (!shoal_record_read_int(reader, &index) ||
        (is_progress && !shoal_record_read_bytes(reader, &number, &number_len)) ||
        (is_progress && !shoal_double_read(number, number_len, &fraction)) ||
        !shoal_record_read_bytes(reader, &text, &len))
        return false;
    fraction = !is_progress ? -1 : fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    if (is_at_work(host) && host->settings.told != NULL)
        host->settings.told(host->settings.owner, index, fraction, text, len);
    return true;
}

static bool take_message(struct host *host, const char *message, size_t len) {
    struct shoal_record_reader reader;
    const char *name;
    size_t n, name_len;
    shoal_record_reader_init(&reader, message, len);
    if (!shoal_record_read_array(&reader, &n) || n < 1 ||
        !shoal_record_read_bytes(&reader, &name, &name_len))
        return false;
    if (name_len == 5 && memcmp(name, "hello", 5) == 0)
        return take_hello(host, &reader);
    if (!host->greeted)
        return false;
    if (name_len == 4 && memcmp(name, "done", 4) == 0)
        return n == 1 + SHOAL_DONE_FIELDS && take_done(host, &reader);
    if (name_len == 8 && memcmp(name, "progress", 8) == 0)
        return take_words(host, &reader, true);
    return name_len == 3 && memcmp(name, "log", 3) == 0 &&
           take_words(host, &reader, false);
}

/* Takes one frame out of what came. False: there is none, or no more is wanted. */
static bool take_frame(struct host *host) {
    size_t there = evbuffer_get_length(host->in), size = 0, len = 0;
    const char *message = NULL;
    char head[32];
    ssize_t got = evbuffer_copyout(host->in, head, sizeof(head));
    enum shoal_frame_state state =
        shoal_frame_look(head, got < 0 ? 0 : (size_t)got, &message, &len, &size);
    if (state == SHOAL_FRAME_PARTIAL && size > 0 && there >= size) {
        const char *whole = (char *)evbuffer_pullup(host->in, (ev_ssize_t)size);
        if (whole == NULL) {
            starve(host);
            return false;
        }
        state = shoal_frame_look(whole, size, &message, &len, &size);
    }
    if (state == SHOAL_FRAME_PARTIAL)
        return false;
    pid_t pid = host->pid;
    if (state == SHOAL_FRAME_GARBAGE || !take_message(host, message, len)) {
        give_up(host, "it sent something that the protocol does not have");
        return false;
    }
    if (host->pid != pid)
        return false; /* it was replaced, and what it sent is gone */
    evbuffer_drain(host->in, size);
    return host->nonsense[0] == '\0';
}

static void take_messages(struct host *host) {
    int got;
    do {
        got = evbuffer_read(host->in, host->socket, READ_MAX);
        while (host->pid != 0 && take_frame(host))
            ;
    } while (got > 0 && host->pid != 0 && host->nonsense[0] == '\0');
}

static void readable(evutil_socket_t fd, short what, void *owner) {
    struct host *host = owner;
    (void)what;
    int got = evbuffer_read(host->in, fd, READ_MAX);
    pid_t pid = host->pid;
    while (host->pid == pid && pid != 0 && take_frame(host))
        ;
    if (host->pid != pid || host->nonsense[0] != '\0')
        return;
    if (got == 0 && host->hands.n == 0) {
        end_process(host); /* nobody could speak to it any more */
        return;
    }
    if (got == 0) /* most often it has ended, and its status comes next */
        event_del(host->readable);
    if (got == 0 && kill(pid, 0) == 0)
        set_timer(host, PATIENCE_MS);
}

/* ---- stopping */

/* Nothing is begun behind the running task, so that it is the one that is warned. */
static void warn(struct host *host) {
    host->stop = SHOAL_SLATE_WARNING;
    limit(host, 0);
    atomic_store(&host->slate->stop, SHOAL_SLATE_WARNING);
    set_timer(host, host->warning.before_ms);
}

/* Its death, which comes next, is laid to nothing but the stop: whatever it still says,
 * it gets no other tasks. */
static void doom(struct host *host) {
    host->doomed = true;
    strike(host);
}

static void begin_stop(struct host *host, enum shoal_slate_stop why) {
    if (host->hands.n == 0 || is_stopped(host))
        return;
    host->stop = why;
    limit(host, 0);
    atomic_store(&host->slate->stop, why);
    if (!host->greeted)
        doom(host);
    else
        set_timer(host, PATIENCE_MS);
}

static void stop(struct shoal_runner *runner) {
    begin_stop(of(runner), SHOAL_SLATE_STOP);
}

static void kill_now(struct shoal_runner *runner) {
    struct host *host = of(runner);
    if (host->pid == 0 || host->hands.n == 0)
        return;
    host->stop = is_stopped(host) ? host->stop : SHOAL_SLATE_STOP;
    doom(host);
}

/* One that has asked knows; another hears a signal, as a program does. Then its grace. */
static void terminate(struct host *host) {
    host->terminated = true;
    if (atomic_load(&host->slate->asked) != 1) {
        host->doomed = true;
        shoal_child_signal(host->pid, SIGTERM);
    }
    shoal_child_signal(host->pid, SIGCONT); /* one that stands still cannot hear */
    set_timer(host, host->grace_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *owner) {
    struct host *host = owner;
    (void)fd;
    (void)what;
    if (host->pid == 0 || (host->greeted && host->hands.n == 0))
        return;
    if (!event_pending(host->readable, EV_READ, NULL))
        give_up(host, "it closed its connection to the worker");
    else if (!host->greeted)
        give_up(host, "it did not greet in a minute");
    else if (host->stop == SHOAL_SLATE_GO_ON && host->warning.signal != 0)
        warn(host);
    else if (!is_stopped(host))
        begin_stop(host, SHOAL_SLATE_TIMEOUT);
    else if (!host->terminated)
        terminate(host);
    else
        kill_now(&host->runner);
}

static int64_t cut(struct shoal_runner *runner, size_t *ret_batch) {
    struct host *host = of(runner);
    int64_t rest = index_of(runner, ret_batch) + 1;
    struct shoal_given *given = shoal_batches_at(&host->hands, *ret_batch);
    if (given->sent) {
        limit(host, given->shift + rest);
        rest = index_of(runner, ret_batch) + 1; /* it may have gone on meanwhile */
        given = shoal_batches_at(&host->hands, *ret_batch);
    }
    if (rest < given->batch.hi)
        given->batch.hi = rest;
    shoal_batches_drop_behind(&host->hands, given);
    return given->batch.hi;
}

/* ---- the interface */

/* How many tasks it may get before it is replaced. */
static int64_t room(struct host *host) {
    return host->settings.max_tasks == 0 ? INT64_MAX
                                         : host->settings.max_tasks - host->tasks -
                                               shoal_batches_tasks(&host->hands);
}

static bool takes_more(struct shoal_runner *runner, const char *digest) {
    struct host *host = of(runner);
    return host->hands.n > 0 && host->hands.n < SHOAL_BATCHES_MAX && host->pid != 0 &&
           !host->doomed && !host->dying && !host->limited && host->nonsense[0] == '\0' &&
           strcmp(host->digest, digest) == 0 && room(host) > 0;
}

static enum shoal_status begin_process(struct host *host, const struct shoal_batch *batch,
                                       struct shoal_error *err) {
    host->tasks = host->memory = 0;
    host->computes = false;
    atomic_store(&host->slate->asked, 0);
    snprintf(host->digest, sizeof(host->digest), "%s", batch->digest);
    host->allow = batch->allow;
    host->refused_till_ms = 0; /* that was another's */
    host->timeout_ms = batch->spec->timeout_ms;
    host->grace_ms = batch->spec->grace_ms;
    host->warning = batch->spec->warning;
    host->may_continue = batch->spec->checkpoint;
    host->limits = batch->spec->limits;
    while (is_at_work(host)) /* taken back; its predecessor was ended before it said so */
        shoal_batches_shift(&host->hands);
    host->hands.positions = 0;
    host->limited = host->terminated = host->doomed = false;
    host->stop = SHOAL_SLATE_GO_ON;
    host->nonsense[0] = '\0';
    host->starved = false;
    enum shoal_status status = start_process(host, batch->spec, err);
    if (status == SHOAL_OK)
        set_timer(host, GREETING_MS);
    return status;
}

/* One that dies takes nothing any more, but keeps what it is given until it is dead. */
static enum shoal_status start(struct shoal_runner *runner,
                               const struct shoal_batch *batch, int64_t *ret_taken,
                               struct shoal_error *err) {
    struct host *host = of(runner);
    bool same = strcmp(host->digest, batch->digest) == 0;
    if (same && shoal_now_ms() < host->refused_till_ms)
        return shoal_error_set(err, SHOAL_REFUSED, "%s", host->refusal);
    const char *argument;
    size_t len;
    enum shoal_status status = shoal_batch_argument(batch, &argument, &len, err);
    if (status == SHOAL_OK && batch->spec->checkpoint)
        status = shoal_checkpoints_reach(host->settings.checkpoints, err);
    if (status != SHOAL_OK)
        return status;
    if (host->pid != 0 && !host->dying &&
        (!same || host->doomed || host->nonsense[0] != '\0'))
        end_process(host);
    if (host->pid == 0)
        status = begin_process(host, batch, err);
    if (status != SHOAL_OK)
        return status;
    int64_t n = batch->hi - batch->lo, most = room(host);
    if (!host->computes && batch->arguments == NULL && n > TAKE_UNKNOWN)
        n = TAKE_UNKNOWN;
    *ret_taken = n < most ? n : most < 1 ? 1 : most;
    struct shoal_given *given = shoal_batches_add(&host->hands, batch);
    given->batch.hi = batch->lo + *ret_taken;
    if (host->hands.n == 1)
        host->reported_us = shoal_now_us();
    send_ready(host);
    return SHOAL_OK;
}

static bool reap(struct shoal_runner *runner, pid_t pid, int status,
                 const struct rusage *usage) {
    struct host *host = of(runner);
    if (pid != host->pid || pid == 0)
        return false;
    die(host, status, usage);
    return true;
}

static bool serves(const struct shoal_runner *runner, const char *digest) {
    const struct host *host = of(runner);
    return (host->pid != 0 || shoal_now_ms() < host->refused_till_ms) &&
           strcmp(host->digest, digest) == 0;
}

static pid_t pid_of(const struct shoal_runner *runner) {
    return of(runner)->pid;
}

static const char *folder_of(const struct shoal_runner *runner) {
    return of(runner)->folder;
}

static void destroy(struct shoal_runner *runner) {
    struct host *host = of(runner);
    end_process(host);
    shoal_cgroup_destroy(host->group);
    if (host->timer != NULL)
        event_free(host->timer);
    if (host->in != NULL)
        evbuffer_free(host->in);
    if (host->out != NULL)
        evbuffer_free(host->out);
    if (host->slate != NULL)
        munmap(host->slate, SHOAL_SLATE_SIZE);
    shoal_capture_finish(&host->printed);
    if (host->folder[0] != '\0')
        shoal_scratch_remove_tree(host->folder);
    if (host->null >= 0)
        close(host->null);
    if (host->page >= 0)
        close(host->page);
    free(host->passed);
    free(host);
}

static bool map_slate(struct host *host) {
    void *page =
        mmap(NULL, SHOAL_SLATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, host->page, 0);
    host->slate = page == MAP_FAILED ? NULL : page;
    return host->slate != NULL;
}

/* ---- an upgrade */

static void carry_bytes(struct shoal_handover *handover, struct evbuffer *buffer) {
    size_t len = evbuffer_get_length(buffer);
    const char *bytes = (const char *)evbuffer_pullup(buffer, -1);
    shoal_carry_view(handover, &bytes, &len, QUEUED_MAX);
    if (!handover->saves && !handover->failed && evbuffer_add(buffer, bytes, len) != 0)
        handover->failed = true;
}

/* The process has its slate mapped and goes on with that one. */
static void carry_slate(struct host *host, struct shoal_handover *handover) {
    int page = host->page;
    struct stat status;
    shoal_carry_fd(handover, &page);
    if (handover->saves || handover->failed)
        return;
    munmap(host->slate, SHOAL_SLATE_SIZE);
    close(host->page);
    host->slate = NULL;
    host->page = page;
    if (page < 0 || fstat(page, &status) != 0 || status.st_size < SHOAL_SLATE_SIZE ||
        !map_slate(host))
        handover->failed = true;
}

static void carry_socket(struct host *host, struct shoal_handover *handover) {
    int fd = host->socket;
    shoal_carry_fd(handover, &fd);
    carry_bytes(handover, host->in);
    carry_bytes(handover, host->out);
    if (handover->saves || handover->failed)
        return;
    if (fd < 0 || !watch_socket(host, fd)) {
        handover->failed = true;
        return;
    }
    if (host->nonsense[0] != '\0')
        event_del(host->readable);
    if (evbuffer_get_length(host->out) > 0)
        event_add(host->writable, NULL);
}

static void carry_given(struct shoal_given *given, struct shoal_handover *handover) {
    SHOAL_CARRY(handover, given->batch.attempt, 1, INT64_MAX);
    SHOAL_CARRY(handover, given->batch.lo, 0, INDEX_MAX);
    SHOAL_CARRY(handover, given->batch.hi, given->batch.lo, INDEX_MAX);
    SHOAL_CARRY(handover, given->shift, -INDEX_MAX, INT64_MAX / 2);
    SHOAL_CARRY(handover, given->end, 0, INDEX_MAX);
    shoal_carry_flag(handover, &given->sent);
    shoal_carry_flag(handover, &given->dropped);
}

static void carry_hands(struct shoal_batches *hands, struct shoal_handover *handover) {
    size_t n = hands->n;
    SHOAL_CARRY(handover, hands->positions, 0, INT64_MAX / 2);
    SHOAL_CARRY(handover, n, 0, SHOAL_BATCHES_MAX);
    for (size_t i = 0; i < n && !handover->failed; i++) {
        const struct shoal_batch nothing = {.attempt = 1};
        struct shoal_given *given =
            handover->saves ? &hands->items[(hands->first + i) % SHOAL_BATCHES_MAX]
                            : shoal_batches_add(hands, &nothing);
        carry_given(given, handover);
    }
}

/* A new field of struct host that its process needs also goes here. */
static void carry_process(struct host *host, struct shoal_handover *handover) {
    shoal_carry_flag(handover, &host->greeted);
    shoal_carry_flag(handover, &host->computes);
    shoal_carry_text(handover, host->digest, sizeof(host->digest));
    SHOAL_CARRY(handover, host->timeout_ms, 0, INT64_MAX / 1000);
    SHOAL_CARRY(handover, host->grace_ms, 0, INT64_MAX / 1000);
    shoal_carry_flag(handover, &host->may_continue);
    SHOAL_CARRY(handover, host->warning.signal, 0, NSIG);
    SHOAL_CARRY(handover, host->warning.before_ms, 0, INT64_MAX / 1000);
    SHOAL_CARRY(handover, host->tasks, 0, INT64_MAX);
    SHOAL_CARRY(handover, host->memory, 0, INT64_MAX);
    SHOAL_CARRY(handover, host->company, 0, INT_MAX);
    shoal_carry_flag(handover, &host->limited);
    SHOAL_CARRY(handover, host->reported_us, 0, INT64_MAX);
    SHOAL_CARRY(handover, host->stop, SHOAL_SLATE_GO_ON, SHOAL_SLATE_WARNING);
    shoal_carry_flag(handover, &host->terminated);
    shoal_carry_flag(handover, &host->doomed);
    shoal_carry_text(handover, host->nonsense, sizeof(host->nonsense));
    shoal_runner_carry(&host->settings, host->folder, &host->limits, &host->group,
                       handover);
    shoal_carry_timer(handover, host->timer);
}

static void carry(struct shoal_runner *runner, struct shoal_handover *handover) {
    struct host *host = of(runner);
    pid_t pid = host->pid;
    SHOAL_CARRY(handover, pid, 0, INT_MAX);
    if (pid == 0)
        return;
    carry_process(host, handover);
    carry_hands(&host->hands, handover);
    carry_slate(host, handover);
    carry_socket(host, handover);
    shoal_capture_carry(&host->printed, handover);
    if (!handover->failed)
        host->pid = pid;
}

static bool recall(struct shoal_runner *runner, size_t i,
                   const struct shoal_batch *batch) {
    struct host *host = of(runner);
    struct shoal_given *given = shoal_batches_at(&host->hands, i);
    if (given == NULL || (!given->sent && given->batch.lo != batch->lo))
        return false;
    given->batch.spec = batch->spec;
    given->batch.digest = batch->digest;
    given->batch.job = batch->job;
    given->batch.seed = batch->seed;
    if (batch->arguments != NULL) {
        given->arguments = *batch->arguments;
        given->batch.arguments = &given->arguments;
    }
    return true;
}

static const struct shoal_runner_kind host_kind = {
    .start = start,
    .takes_more = takes_more,
    .flush = flush,
    .cut = cut,
    .index = index_of,
    .stop = stop,
    .kill = kill_now,
    .reap = reap,
    .serves = serves,
    .pid = pid_of,
    .folder = folder_of,
    .rests = rests,
    .tidy = tidy,
    .carry = carry,
    .recall = recall,
    .destroy = destroy,
};

static bool make_slate(struct host *host) {
    host->page = memfd_create("slate", MFD_CLOEXEC);
    return host->page >= 0 && ftruncate(host->page, SHOAL_SLATE_SIZE) == 0 &&
           map_slate(host);
}

/* Where this program lies: a runner of the same build lies there too. */
static void find_beside(struct host *host) {
    ssize_t len = readlink("/proc/self/exe", host->beside, sizeof(host->beside) - 1);
    host->beside[len < 0 ? 0 : len] = '\0';
    char *slash = strrchr(host->beside, '/');
    if (slash != NULL)
        *slash = '\0';
}

static enum shoal_status prepare(struct host *host, struct shoal_error *err) {
    int len =
        snprintf(host->folder, sizeof(host->folder), "%s/h%d.%d",
                 host->settings.directory, host->settings.slot, host->settings.place);
    if (len < 0 || (size_t)len >= sizeof(host->folder)) {
        host->folder[0] = '\0'; /* what was cut names something else */
        return shoal_error_set(err, SHOAL_INVALID,
                               "the directory '%s' has too long a name",
                               host->settings.directory);
    }
    find_beside(host);
    host->passed = shoal_environment_passed(host->settings.pass_env);
    host->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    host->timer = evtimer_new(host->settings.base, on_timer, host);
    host->in = evbuffer_new();
    host->out = evbuffer_new();
    if (host->null < 0 || host->timer == NULL || host->in == NULL || host->out == NULL ||
        host->passed == NULL || !make_slate(host))
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot prepare a slot: %s",
                               strerror(errno));
    return shoal_capture_init(&host->printed, host->settings.base, err);
}

enum shoal_status shoal_runner_host_create(const struct shoal_runner_settings *settings,
                                           struct shoal_runner **ret_runner,
                                           struct shoal_error *err) {
    struct host *host = calloc(1, sizeof(*host));
    if (host == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a runner");
    host->runner.kind = &host_kind;
    host->settings = *settings;
    host->null = host->page = host->socket = host->printed.fd = -1;
    enum shoal_status status = prepare(host, err);
    if (status != SHOAL_OK) {
        destroy(&host->runner);
        return status;
    }
    *ret_runner = &host->runner;
    return SHOAL_OK;
}
