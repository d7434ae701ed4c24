#include "worker/runner_host.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "worker/done.h"
#include "worker/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUES_MAX = 1 << 20, /* about so many bytes of values in a batch */
    READ_MAX = 1 << 20,
};

/* ---- sending */

void shoal_stay_writable(evutil_socket_t fd, short what, void *owner) {
    struct shoal_stay *host = owner;
    (void)what;
    if (evbuffer_write(host->out, fd) < 0 && errno != EAGAIN && errno != EINTR) {
        if (errno != EPIPE && errno != ECONNRESET)
            shoal_stay_starve(host); /* no buffers, say */
        return;                      /* else it died, or closed its end; reading tells */
    }
    if (evbuffer_get_length(host->out) > 0)
        event_add(host->writable, NULL);
}

/* A message that leaves with the next shoal_stay_flush(); a failed one had no memory. */
static void send_message(struct shoal_stay *host, const struct shoal_buffer *message) {
    char head[32];
    if (message->failed ||
        evbuffer_add(host->out, head, shoal_frame_head(head, message->len)) != 0 ||
        evbuffer_add(host->out, message->data, message->len) != 0 ||
        evbuffer_add(host->out, "\r\n", 2) != 0)
        shoal_stay_starve(host);
}

static void send_spec(struct shoal_stay *host, const struct shoal_spec *spec) {
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
static const char *add_tasks(struct shoal_stay *host, struct shoal_given *given,
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

static void arm_timeout(struct shoal_stay *host) {
    if (host->timeout_ms > 0 && host->stop == SHOAL_SLATE_GO_ON)
        shoal_stay_set_timer(host, host->timeout_ms + SHOAL_STAY_GAP_MS -
                                       host->warning.before_ms);
}

static void send_batch(struct shoal_stay *host, struct shoal_given *given) {
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
static void begin_work(struct shoal_stay *host) {
    atomic_store(&host->slate->mark, host->hands.positions);
    atomic_store(&host->slate->limit, INT64_MAX);
    atomic_store(&host->slate->stop, SHOAL_SLATE_GO_ON);
    host->limited = host->terminated = false;
    host->stop = SHOAL_SLATE_GO_ON;
    host->reported_us = shoal_now_us();
}

/* Sends what is in its hands and may be sent; leaves it to shoal_stay_flush(). */
void shoal_stay_send_ready(struct shoal_stay *host) {
    bool idle = !shoal_stay_is_at_work(host);
    if (!host->greeted || host->doomed || host->dying || (host->limited && !idle))
        return;
    if (idle && host->hands.n > 0)
        begin_work(host);
    for (struct shoal_given *given; (given = shoal_batches_unsent(&host->hands)) != NULL;)
        send_batch(host, given);
    if (idle && host->hands.n > 0)
        arm_timeout(host);
}

void shoal_stay_flush(struct shoal_runner *runner) {
    struct shoal_stay *host = shoal_stay_of(runner);
    if (host->pid != 0 && evbuffer_get_length(host->out) > 0)
        shoal_stay_writable(host->socket, 0, host);
}

/* What is sent ends before the task at that position. */
void shoal_stay_limit(struct shoal_stay *host, int64_t position) {
    host->limited = true;
    if (position < atomic_load(&host->slate->limit))
        atomic_store(&host->slate->limit, position);
}

/* ---- messages */

static bool take_hello(struct shoal_stay *host, struct shoal_record_reader *reader) {
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
        shoal_stay_give_up(host, why);
        return true;
    }
    if (!shoal_record_read_int(reader, &can_compute))
        return false;
    host->greeted = true;
    host->company = shoal_stay_count_company(host, 0);
    host->computes = can_compute == 1;
    evtimer_del(host->timer);
    if (host->hands.n == 0) { /* nobody waits for it any more */
        shoal_stay_end(host);
        return true;
    }
    send_spec(host, shoal_stay_in_hand(host)->batch.spec);
    shoal_stay_send_ready(host);
    shoal_stay_flush(&host->runner);
    return true;
}

/* Reasons that are the runner's to say; that a task was stopped, only when it was. */
static bool may_say(const struct shoal_stay *host, enum shoal_reason reason) {
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

static bool says_what_it_may(const struct shoal_stay *host,
                             const struct shoal_report *report) {
    for (size_t i = 0; i < report->n_failures; i++) {
        if (!may_say(host, report->failures[i].reason))
            return false;
    }
    return true;
}

/* A batch is over when all of it is done, or as much as the slate allows. */
static bool take_done(struct shoal_stay *host, struct shoal_record_reader *reader) {
    SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
    struct shoal_given *given = shoal_stay_in_hand(host);
    if (!shoal_stay_is_at_work(host))
        return false;
    bool good = shoal_done_read(reader, given->shift, given->batch.lo, given->end, &done);
    if (done.no_memory)
        shoal_stay_starve(host);
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
    if (shoal_stay_is_worn(host)) /* the rest goes to its successor */
        shoal_stay_limit(host, 0);
    if (!done.over) {
        arm_timeout(host);
        return true;
    }
    shoal_stay_end_first(host);
    if (shoal_stay_is_at_work(host) && host->pid != 0)
        arm_timeout(host);
    return true;
}

/* Progress (a fraction and a text), and a line of log. */
static bool take_words(struct shoal_stay *host, struct shoal_record_reader *reader,
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
    if (shoal_stay_is_at_work(host) && host->settings.told != NULL)
        host->settings.told(host->settings.owner, index, fraction, text, len);
    return true;
}

static bool take_message(struct shoal_stay *host, const char *message, size_t len) {
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
static bool take_frame(struct shoal_stay *host) {
    size_t there = evbuffer_get_length(host->in), size = 0, len = 0;
    const char *message = NULL;
    char head[32];
    ssize_t got = evbuffer_copyout(host->in, head, sizeof(head));
    enum shoal_frame_state state =
        shoal_frame_look(head, got < 0 ? 0 : (size_t)got, &message, &len, &size);
    if (state == SHOAL_FRAME_PARTIAL && size > 0 && there >= size) {
        const char *whole = (char *)evbuffer_pullup(host->in, (ev_ssize_t)size);
        if (whole == NULL) {
            shoal_stay_starve(host);
            return false;
        }
        state = shoal_frame_look(whole, size, &message, &len, &size);
    }
    if (state == SHOAL_FRAME_PARTIAL)
        return false;
    pid_t pid = host->pid;
    if (state == SHOAL_FRAME_GARBAGE || !take_message(host, message, len)) {
        shoal_stay_give_up(host, "it sent something that the protocol does not have");
        return false;
    }
    if (host->pid != pid)
        return false; /* it was replaced, and what it sent is gone */
    evbuffer_drain(host->in, size);
    return host->nonsense[0] == '\0';
}

void shoal_stay_take_messages(struct shoal_stay *host) {
    int got;
    do {
        got = evbuffer_read(host->in, host->socket, READ_MAX);
        while (host->pid != 0 && take_frame(host))
            ;
    } while (got > 0 && host->pid != 0 && host->nonsense[0] == '\0');
}

void shoal_stay_readable(evutil_socket_t fd, short what, void *owner) {
    struct shoal_stay *host = owner;
    (void)what;
    int got = evbuffer_read(host->in, fd, READ_MAX);
    pid_t pid = host->pid;
    while (host->pid == pid && pid != 0 && take_frame(host))
        ;
    if (host->pid != pid || host->nonsense[0] != '\0')
        return;
    if (got == 0 && host->hands.n == 0) {
        shoal_stay_end(host); /* nobody could speak to it any more */
        return;
    }
    if (got == 0) /* most often it has ended, and its status comes next */
        event_del(host->readable);
    if (got == 0 && kill(pid, 0) == 0)
        shoal_stay_set_timer(host, SHOAL_STAY_PATIENCE_MS);
}
