#include "worker/host_serve.h"

#include "broker/outcome.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "worker/frame.h"
#include "worker/host_call.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REPORT_US = 20000,        /* a report is not older than this … */
    REPORT_BYTES = 256 << 10, /* … and not larger, but for one task */
    OWN_US = 1000,     /* a task that took so long has its own times in the table */
    LOOK_US = 200,     /* how often the clock is looked at, about */
    STRIDE_MAX = 4096, /* tasks between two looks */
    READ_MAX = 256 << 10,
    TEXT_MAX = 1024, /* bytes of a line of log or progress */
    HIDDEN = 200,    /* descriptors from here on are not in the way of tasks */
};

/* Who may touch what is gathered. While a task runs, a second thread reports for the
 * first, so that what is done does not wait for a task that takes long. */
enum turn {
    TURN_OURS,   /* the thread that runs tasks */
    TURN_EITHER, /* it is in a task */
    TURN_THEIRS, /* the reporter's, for a moment */
};

/* What was done and not reported, as it goes into a pack. */
struct gathered {
    int64_t tasks;
    int64_t elements;
    int64_t work_us;
    struct shoal_buffer outcomes;
    struct shoal_buffer failures;
    int64_t n_failures;
    struct shoal_buffer many; /* results of short tasks, for one element */
    int64_t n_many;
};

struct server {
    int socket;
    shoal_task_fn run;
    struct shoal_slate *slate;
    struct shoal_buffer in;
    struct shoal_spec spec;
    bool has_spec;
    struct shoal_call call;
    struct gathered gathered;
    int64_t marked_us; /* up to here the time is accounted for */
    int64_t marked_cpu;
    int64_t peak_kb; /* as it was last looked up, … */
    int64_t peak_us; /* … then */
    int64_t reported_us;
    int64_t positions; /* so many tasks it was sent, with this batch … */
    int64_t told;      /* … and those before this one are reported or taken back */
    int64_t stride, since_look;
    bool hurried;        /* the next batch is there */
    _Atomic bool broken; /* the worker is gone */
    _Atomic int turn;
    pthread_mutex_t sending; /* of `out`: a message at a time */
    struct shoal_buffer out; /* reports of batches, while others are there already … */
    _Atomic int64_t out_since; /* … in µs; 0: it is empty */
    pthread_mutex_t lock;      /* of `working` */
    pthread_cond_t changed;
    bool working; /* on a batch */
    bool ended;
};

/* ---- frames */

static void send_bytes(struct server *server, const char *bytes, size_t len) {
    while (len > 0 && !server->broken) {
        ssize_t sent = send(server->socket, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            server->broken = true;
        if (sent <= 0)
            continue;
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void send_all(struct server *server) {
    send_bytes(server, shoal_buffer_text(&server->out), server->out.len);
    shoal_buffer_clear(&server->out);
    server->out_since = 0;
}

/* `now`: with what waited before it. */
static void send_message(struct server *server, const struct shoal_buffer *message,
                         bool now) {
    char head[32];
    pthread_mutex_lock(&server->sending);
    shoal_buffer_add(&server->out, head, shoal_frame_head(head, message->len));
    shoal_buffer_add(&server->out, shoal_buffer_text(message), message->len);
    shoal_buffer_add(&server->out, "\r\n", 2);
    if (message->failed || server->out.failed)
        server->broken = true;
    if (server->out_since == 0)
        server->out_since = shoal_now_us();
    if (now || server->out.len >= REPORT_BYTES)
        send_all(server);
    pthread_mutex_unlock(&server->sending);
}

/* Whether the next message is there, so that what is to be said of this one can wait. */
static bool has_more(const struct server *server, size_t size) {
    const char *message = NULL;
    size_t len = 0, next = 0;
    return server->in.len > size &&
           shoal_frame_look(server->in.data + size, server->in.len - size, &message, &len,
                            &next) == SHOAL_FRAME_WHOLE;
}

/* The next message; its bytes stay until take_away(). False: there are no more. */
static bool next_message(struct server *server, const char **ret_message, size_t *ret_len,
                         size_t *ret_size) {
    static char chunk[READ_MAX];
    for (;;) {
        enum shoal_frame_state state =
            shoal_frame_look(shoal_buffer_text(&server->in), server->in.len, ret_message,
                             ret_len, ret_size);
        if (state != SHOAL_FRAME_PARTIAL)
            return state == SHOAL_FRAME_WHOLE;
        if (server->broken)
            return false;
        ssize_t got = read(server->socket, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        shoal_buffer_add(&server->in, chunk, (size_t)got);
        if (server->in.failed)
            return false;
    }
}

/* ---- what came out */

static int64_t cpu_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Of this program alone: getrusage() would begin with the peak of the worker. */
static int64_t read_peak_kb(void) {
    char line[128];
    long long peak = 0;
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "VmHWM: %lld", &peak) == 1)
            break;
    }
    return peak;
}

static void look_at_memory(struct server *server, int64_t now) {
    if (server->peak_us != 0 && now - server->peak_us < REPORT_US)
        return;
    server->peak_us = now;
    server->peak_kb = read_peak_kb();
}

/* An outcome with the times since the last mark, which moves on to `now`. */
static struct shoal_outcome measured(struct server *server, int64_t now) {
    int64_t cpu = cpu_us();
    struct shoal_outcome outcome = {
        .attempt = server->call.attempt,
        .wall_us = now - server->marked_us,
        .cpu_us = cpu - server->marked_cpu,
        .rss_kb = server->peak_kb,
        .result = "",
    };
    server->gathered.work_us += outcome.wall_us;
    server->marked_us = now;
    server->marked_cpu = cpu;
    return outcome;
}

/* The short tasks so far become one element. */
static void close_many(struct server *server, int64_t now) {
    struct gathered *gathered = &server->gathered;
    if (gathered->n_many == 0)
        return;
    const struct shoal_outcome sums = measured(server, now);
    shoal_outcome_write_many(&gathered->outcomes, gathered->n_many, &sums,
                             shoal_buffer_text(&gathered->many), gathered->many.len);
    gathered->elements++;
    gathered->n_many = 0;
    shoal_buffer_clear(&gathered->many);
}

static void write_failure(struct gathered *gathered, int64_t index,
                          const struct shoal_outcome *outcome, const char *text) {
    struct shoal_buffer *failures = &gathered->failures;
    shoal_record_array(failures, SHOAL_FAILURE_FIELDS);
    shoal_record_int(failures, index);
    shoal_record_text(failures, shoal_reason_name(outcome->reason));
    shoal_record_int(failures, outcome->code);
    shoal_record_int(failures, outcome->wall_us);
    shoal_record_text(failures, text);
    gathered->n_failures++;
}

/* A task with an element of its own: one that failed or took long. */
static void add_own(struct server *server, int64_t now, enum shoal_reason reason,
                    int64_t code, const char *text) {
    struct gathered *gathered = &server->gathered;
    struct shoal_outcome outcome = measured(server, now);
    outcome.reason = reason;
    outcome.code = code;
    if (reason != SHOAL_REASON_TOO_LARGE) {
        outcome.result = shoal_buffer_text(&server->call.result);
        outcome.result_len = server->call.result.len;
    }
    shoal_outcome_write(&gathered->outcomes, &outcome);
    gathered->elements++;
    if (reason != SHOAL_REASON_OK)
        write_failure(gathered, server->call.index, &outcome, text);
}

static void report(struct server *server, int64_t now, bool over) {
    struct gathered *gathered = &server->gathered;
    struct shoal_buffer message;
    look_at_memory(server, now);
    close_many(server, now);
    shoal_buffer_init(&message, SHOAL_FRAME_MAX);
    shoal_record_array(&message, 1 + SHOAL_DONE_FIELDS);
    shoal_record_text(&message, "done");
    shoal_record_int(&message, server->told);
    shoal_record_int(&message, gathered->tasks);
    shoal_record_int(&message, gathered->elements);
    shoal_record_bytes(&message, shoal_buffer_text(&gathered->outcomes),
                       gathered->outcomes.len);
    shoal_record_int(&message, gathered->work_us);
    shoal_record_int(&message, server->peak_kb);
    shoal_record_int(&message, over);
    shoal_record_array(&message, (size_t)gathered->n_failures);
    shoal_buffer_add(&message, shoal_buffer_text(&gathered->failures),
                     gathered->failures.len);
    message.failed =
        message.failed || gathered->outcomes.failed || gathered->failures.failed;
    send_message(server, &message, !over || !server->hurried);
    shoal_buffer_finish(&message);
    server->told += gathered->tasks;
    gathered->tasks = gathered->elements = gathered->work_us = gathered->n_failures = 0;
    shoal_buffer_clear(&gathered->outcomes);
    shoal_buffer_clear(&gathered->failures);
    server->reported_us = shoal_now_us();
}

/* ---- reporting while a task runs */

/* When what was done before the task that runs was done: since the clock was last looked
 * at it took this long at most. */
static int64_t before_task(const struct server *server, int64_t now) {
    return now < server->marked_us + LOOK_US ? now : server->marked_us + LOOK_US;
}

static void report_for(struct server *server) {
    int either = TURN_EITHER;
    if (!atomic_compare_exchange_strong(&server->turn, &either, TURN_THEIRS))
        return;
    int64_t now = shoal_now_us(), since = server->out_since;
    if (server->gathered.tasks > 0 && now - server->reported_us >= REPORT_US) {
        report(server, before_task(server, now), false);
        server->stride = 1; /* tasks are not that short any more */
        server->since_look = 0;
    } else if (since != 0 && now - since >= REPORT_US) {
        pthread_mutex_lock(&server->sending);
        send_all(server);
        pthread_mutex_unlock(&server->sending);
    }
    atomic_store(&server->turn, TURN_EITHER);
}

static void *be_reporter(void *owner) {
    struct server *server = owner;
    for (;;) {
        pthread_mutex_lock(&server->lock);
        while (!server->working && !server->ended)
            pthread_cond_wait(&server->changed, &server->lock);
        bool ended = server->ended;
        pthread_mutex_unlock(&server->lock);
        if (ended)
            return NULL;
        nanosleep(&(struct timespec){.tv_nsec = REPORT_US * 1000L}, NULL);
        report_for(server);
    }
}

static void set_working(struct server *server, bool working) {
    if (server->working == working)
        return;
    pthread_mutex_lock(&server->lock);
    server->working = working;
    pthread_cond_signal(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void end_reporter(struct server *server, pthread_t reporter) {
    pthread_mutex_lock(&server->lock);
    server->ended = true;
    pthread_cond_signal(&server->changed);
    pthread_mutex_unlock(&server->lock);
    pthread_join(reporter, NULL);
}

/* A task may fork; its child must not go on as a second runner. */
static volatile bool is_child;

static void become_child(void) {
    is_child = true;
}

static int run_one(struct server *server) {
    int either = TURN_EITHER;
    if (atomic_load_explicit(&server->slate->asked, memory_order_relaxed) != 0)
        atomic_store_explicit(&server->slate->asked, 0, memory_order_relaxed);
    atomic_store(&server->turn, TURN_EITHER);
    int code = server->run(&server->call);
    if (is_child)
        _exit(code);
    while (!atomic_compare_exchange_weak(&server->turn, &either, TURN_OURS)) {
        either = TURN_EITHER;
        sched_yield();
    }
    return code;
}

/* Progress and log lines. */
static void tell(void *owner, int64_t index, double fraction, const char *text) {
    struct server *server = owner;
    struct shoal_buffer message;
    char number[32];
    snprintf(number, sizeof(number), "%.6g", fraction);
    shoal_buffer_init(&message, SHOAL_FRAME_MAX);
    shoal_record_array(&message, fraction < 0 ? 3 : 4);
    shoal_record_text(&message, fraction < 0 ? "log" : "progress");
    shoal_record_int(&message, index);
    if (fraction >= 0)
        shoal_record_text(&message, number);
    shoal_record_bytes(&message, text, strnlen(text, TEXT_MAX));
    send_message(server, &message, true);
    shoal_buffer_finish(&message);
}

/* ---- running */

/* Of one that did not succeed. */
static enum shoal_reason reason_of(struct server *server, int code) {
    int64_t stop = atomic_load(&server->slate->stop);
    if (stop == SHOAL_SLATE_STOP)
        return SHOAL_REASON_STOPPED;
    if (code == SHOAL_CALL_CONTINUE && server->spec.checkpoint && !server->call.failed)
        return SHOAL_REASON_CONTINUE;
    return stop == SHOAL_SLATE_TIMEOUT ? SHOAL_REASON_TIMEOUT : SHOAL_REASON_EXIT;
}

static void take_outcome(struct server *server, int code) {
    struct shoal_call *call = &server->call;
    struct gathered *gathered = &server->gathered;
    bool fits = shoal_call_end(call), ok = code == 0 && !call->failed;
    bool looks = ++server->since_look >= server->stride;
    int64_t before = server->marked_us;
    int64_t now = looks || !ok || !fits ? shoal_now_us() : before;
    gathered->tasks++;
    if (ok && !fits) {
        close_many(server, before);
        add_own(server, now, SHOAL_REASON_TOO_LARGE, 0,
                "its result is over --max-result; write large data to a file and report "
                "the file's name");
    } else if (!ok) {
        close_many(server, before);
        add_own(server, now, reason_of(server, code), code == 0 ? 1 : code,
                shoal_buffer_text(&call->reason));
    } else if (server->stride == 1 && now - before >= OWN_US) {
        add_own(server, now, SHOAL_REASON_OK, 0, "");
    } else {
        shoal_record_bytes(&gathered->many, shoal_buffer_text(&call->result),
                           call->result.len);
        gathered->n_many++;
        server->gathered.outcomes.failed |= gathered->many.failed;
    }
}

/* Now and then: how often to look at the clock, and whether to report. */
static void look(struct server *server) {
    struct gathered *gathered = &server->gathered;
    int64_t now = shoal_now_us();
    int64_t took = now - server->marked_us;
    close_many(server, now);
    server->since_look = 0;
    if (took < LOOK_US && server->stride < STRIDE_MAX)
        server->stride *= 2;
    else if (took > LOOK_US && server->stride > 1)
        server->stride /= 2;
    int64_t since = server->out_since == 0 ? server->reported_us : server->out_since;
    if (now - since >= REPORT_US ||
        gathered->outcomes.len + gathered->failures.len >= REPORT_BYTES)
        report(server, now, false);
}

static void run_tasks(struct server *server, int64_t first, int64_t count,
                      struct shoal_record_reader *arguments) {
    struct shoal_call *call = &server->call;
    struct shoal_slate *slate = server->slate;
    server->marked_us = server->reported_us = shoal_now_us();
    server->marked_cpu = cpu_us();
    server->since_look = 0;
    look_at_memory(server, server->marked_us);
    int64_t shift = server->positions - first;
    server->told = server->positions;
    server->positions += count;
    for (int64_t i = first; i < first + count && !server->broken; i++) {
        const char *argument = NULL;
        size_t len = 0;
        atomic_store_explicit(&slate->mark, i + shift, memory_order_relaxed);
        if (i + shift >= atomic_load_explicit(&slate->limit, memory_order_relaxed) ||
            (arguments != NULL && !shoal_record_read_bytes(arguments, &argument, &len)))
            break;
        shoal_call_begin(call, i, argument, len);
        take_outcome(server, run_one(server));
        if (server->since_look >= server->stride ||
            server->gathered.many.len >= REPORT_BYTES)
            look(server);
    }
    report(server, shoal_now_us(), true);
}

/* Tasks that a job can have, and positions that a worker can have given so far. */
static bool is_a_range(const struct server *server, int64_t first, int64_t count) {
    return first >= 0 && count >= 0 && first <= SHOAL_TASKS_MAX - count &&
           count <= INT64_MAX - SHOAL_TASKS_MAX - server->positions;
}

static bool take_run(struct server *server, struct shoal_record_reader *reader) {
    const char *job, *kind, *bytes;
    size_t job_len, kind_len, len;
    int64_t seed, first, count;
    struct shoal_record_reader arguments;
    if (!server->has_spec || !shoal_record_read_bytes(reader, &job, &job_len) ||
        !shoal_record_read_int(reader, &seed) ||
        !shoal_record_read_int(reader, &server->call.attempt) ||
        !shoal_record_read_int(reader, &first) ||
        !shoal_record_read_int(reader, &count) ||
        !shoal_record_read_bytes(reader, &kind, &kind_len) ||
        !shoal_record_read_bytes(reader, &bytes, &len) ||
        !is_a_range(server, first, count))
        return false;
    server->call.seed = (uint64_t)seed;
    snprintf(server->call.job, sizeof(server->call.job), "%.*s", (int)job_len, job);
    set_working(server, true);
    bool explicit = kind_len == 9 && memcmp(kind, "arguments", 9) == 0;
    shoal_record_reader_init(&arguments, bytes, len);
    run_tasks(server, first, count, explicit ? &arguments : NULL);
    if (!server->hurried)
        set_working(server, false);
    return true;
}

static bool take_spec(struct server *server, struct shoal_record_reader *reader) {
    const char *text;
    size_t len;
    struct shoal_error err = {.status = SHOAL_OK};
    if (server->has_spec || !shoal_record_read_bytes(reader, &text, &len))
        return false;
    if (shoal_spec_read(text, len, &server->spec, &err) != SHOAL_OK) {
        fprintf(stderr, "shoal-host: %s\n", err.text);
        return false;
    }
    shoal_call_init(&server->call, &server->spec, server->slate, tell, server);
    server->has_spec = true;
    return true;
}

static bool take_message(struct server *server, const char *message, size_t len) {
    struct shoal_record_reader reader;
    const char *name;
    size_t n, name_len;
    shoal_record_reader_init(&reader, message, len);
    if (!shoal_record_read_array(&reader, &n) || n < 1 ||
        !shoal_record_read_bytes(&reader, &name, &name_len))
        return false;
    if (name_len == 4 && memcmp(name, "spec", 4) == 0)
        return take_spec(server, &reader);
    return name_len == 3 && memcmp(name, "run", 3) == 0 && take_run(server, &reader);
}

static void send_hello(struct server *server) {
    struct shoal_buffer message;
    shoal_buffer_init(&message, 256);
    shoal_record_array(&message, 3);
    shoal_record_text(&message, "hello");
    shoal_record_int(&message, SHOAL_PROTOCOL_VERSION);
    shoal_record_int(&message, 1); /* it computes parameters from the sweep */
    send_message(server, &message, true);
    shoal_buffer_finish(&message);
}

static void init_server(struct server *server, shoal_task_fn run,
                        struct shoal_slate *slate) {
    struct gathered *gathered = &server->gathered;
    *server = (struct server){.run = run, .slate = slate, .stride = 1};
    pthread_mutex_init(&server->sending, NULL);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    shoal_buffer_init(&server->in, SHOAL_FRAME_MAX + READ_MAX);
    shoal_buffer_init(&server->out, 2 * (size_t)SHOAL_FRAME_MAX);
    struct shoal_buffer *buffers[] = {&gathered->outcomes, &gathered->failures,
                                      &gathered->many};
    for (size_t i = 0; i < SHOAL_COUNT(buffers); i++)
        shoal_buffer_init(buffers[i], SHOAL_FRAME_MAX - REPORT_BYTES);
}

static void finish_server(struct server *server) {
    struct gathered *gathered = &server->gathered;
    shoal_buffer_finish(&gathered->outcomes);
    shoal_buffer_finish(&gathered->failures);
    shoal_buffer_finish(&gathered->many);
    shoal_buffer_finish(&server->in);
    shoal_buffer_finish(&server->out);
    close(server->socket);
    if (!server->has_spec)
        return;
    shoal_call_finish(&server->call);
    shoal_spec_finish(&server->spec);
}

/* A task that closes what it does not know, or opens files, shall not meet them. */
static bool hide_descriptors(struct server *server) {
    server->socket = fcntl(SHOAL_HOST_SOCKET, F_DUPFD_CLOEXEC, HIDDEN);
    close(SHOAL_HOST_SOCKET);
    close(SHOAL_HOST_SLATE);
    if (server->socket < 0)
        fprintf(stderr, "shoal-host: cannot keep its socket: %s\n", strerror(errno));
    return server->socket >= 0;
}

int shoal_host_serve(shoal_task_fn run) {
    static struct server server;
    const char *message = NULL;
    size_t len = 0, size = 0;
    void *page = mmap(NULL, SHOAL_SLATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                      SHOAL_HOST_SLATE, 0);
    if (page == MAP_FAILED) {
        fprintf(stderr,
                "shoal-host: a worker starts it with a socket and a slate; to try "
                "a plug-in by hand, see 'shoal-host --help'\n");
        return 2;
    }
    init_server(&server, run, page);
    if (!hide_descriptors(&server))
        return 2;
    pthread_atfork(NULL, NULL, become_child);
    pthread_t reporter;
    if (pthread_create(&reporter, NULL, be_reporter, &server) != 0) {
        fprintf(stderr, "shoal-host: no memory for a thread\n");
        return 2;
    }
    send_hello(&server);
    while (next_message(&server, &message, &len, &size)) {
        server.hurried = has_more(&server, size);
        if (!take_message(&server, message, len))
            break;
        shoal_buffer_drop(&server.in, size);
    }
    end_reporter(&server, reporter);
    finish_server(&server);
    munmap(page, SHOAL_SLATE_SIZE);
    return 0;
}
