#include "client/stream.h"

#include "broker/appender.h"
#include "client/pack.h"
#include "client/window.h"
#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    CHUNK = 65536,
    LINGER_MS = 5,  /* so long the first row of a pack waits for others */
    RETRY_MS = 500, /* until Redis is asked again whether it takes more */
    KEPT_BYTES = 32 << 20,
    PACK_BYTES = 100, /* that a pack takes in Redis besides its arguments */
    TURN_ROWS = 256,
    STAY_MS = 10 * 60 * 1000, /* an open job ends when it is left alone for an hour */
};

struct shoal_stream {
    int fd;
    char *name;
    struct shoal_row_parser *parser;
    char chunk[CHUNK]; /* what the parser has */
    bool hungry;       /* it has used it up */
    bool ended;        /* there are no more rows: the end of the input, or a wrong one */
    bool stopped;
    bool cut;                   /* … before its end */
    struct shoal_error wrong;   /* about a row */
    struct shoal_error refused; /* by the job */

    int64_t repetitions;
    const char *row; /* goes into packs `row_left` times more; the parser's */
    size_t row_len;
    int64_t row_left;
    struct shoal_pack pack; /* being gathered … */
    int64_t due_ms;         /* … and when it is to be sent, as it is */
    int64_t next;           /* the index of its first task */

    struct shoal_client *client; /* NULL before it is started */
    char job[13];
    struct shoal_appender *appender;
    struct shoal_window window;
    struct event *readable;
    struct event *linger;
    bool always_readable;       /* a file, which the loop does not watch */
    struct shoal_error trouble; /* Redis takes nothing at the moment */
    bool closing;               /* the appender has been told to close */
    bool takes;
    int64_t appended; /* bytes */
    int64_t appended_ms;
    int64_t retry_ms;
    unsigned rows; /* that are out */
};

/* ---- rows and packs */

/* Fills the pack. It is full when a row is left. */
static enum shoal_status gather(struct shoal_stream *stream, struct shoal_error *err) {
    for (;;) {
        for (; stream->row_left > 0; stream->row_left--) {
            if (!shoal_pack_has_room(&stream->pack, stream->row_len))
                return SHOAL_OK;
            if (stream->pack.n == 0)
                stream->due_ms = shoal_now_ms() + LINGER_MS;
            shoal_pack_add(&stream->pack, stream->row, stream->row_len);
        }
        enum shoal_row_parsed what = SHOAL_PARSED_END;
        enum shoal_status status = shoal_row_parser_next(
            stream->parser, &what, &stream->row, &stream->row_len, err);
        if (status != SHOAL_OK)
            return status;
        stream->hungry = what == SHOAL_PARSED_HUNGRY;
        stream->ended = what == SHOAL_PARSED_END;
        if (what != SHOAL_PARSED_ROW)
            return SHOAL_OK;
        stream->row_left = stream->repetitions;
    }
}

/* Reads what is there. It may be nothing, when others read from it as well. */
static enum shoal_status read_some(struct shoal_stream *stream, struct shoal_error *err) {
    struct pollfd ready = {.fd = stream->fd, .events = POLLIN};
    if (poll(&ready, 1, 0) == 0)
        return SHOAL_OK;
    ssize_t n = read(stream->fd, stream->chunk, sizeof(stream->chunk));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return SHOAL_OK;
    if (n < 0)
        return shoal_error_set(err, SHOAL_INVALID, "cannot read %.200s: %s", stream->name,
                               strerror(errno));
    if (n == 0)
        shoal_row_parser_end(stream->parser);
    shoal_row_parser_feed(stream->parser, stream->chunk, (size_t)n);
    stream->hungry = false;
    return SHOAL_OK;
}

static enum shoal_status read_first_rows(struct shoal_stream *stream,
                                         struct shoal_error *err) {
    enum shoal_status status = gather(stream, err);
    while (status == SHOAL_OK && stream->hungry && stream->pack.n == 0) {
        struct pollfd ready = {.fd = stream->fd, .events = POLLIN};
        poll(&ready, 1, -1);
        status = read_some(stream, err);
        if (status == SHOAL_OK)
            status = gather(stream, err);
    }
    if (status == SHOAL_OK && stream->pack.n == 0)
        status = shoal_error_set(err, SHOAL_INVALID,
                                 "%.200s has no rows, so there is nothing to run",
                                 stream->name);
    return status;
}

enum shoal_status shoal_stream_open(int fd, const char *name,
                                    enum shoal_rows_format format, int64_t repetitions,
                                    struct shoal_stream **ret_stream,
                                    struct shoal_error *err) {
    struct shoal_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL || (stream->name = strdup(name)) == NULL) {
        free(stream);
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for rows");
    }
    stream->fd = fd;
    stream->repetitions = repetitions;
    shoal_pack_init(&stream->pack);
    shoal_window_init(&stream->window);
    enum shoal_status status =
        shoal_row_parser_create(name, format, &stream->parser, err);
    if (status == SHOAL_OK)
        status = read_first_rows(stream, err);
    if (status != SHOAL_OK) {
        shoal_stream_destroy(stream);
        return status;
    }
    *ret_stream = stream;
    return SHOAL_OK;
}

void shoal_stream_destroy(struct shoal_stream *stream) {
    if (stream == NULL)
        return;
    if (stream->readable != NULL)
        event_free(stream->readable);
    if (stream->linger != NULL)
        event_free(stream->linger);
    shoal_appender_destroy(stream->appender);
    shoal_window_finish(&stream->window);
    shoal_pack_finish(&stream->pack);
    shoal_row_parser_destroy(stream->parser);
    free(stream->name);
    free(stream);
}

const char *const *shoal_stream_columns(const struct shoal_stream *stream) {
    return shoal_row_parser_columns(stream->parser);
}

/* ---- from stdin into the job */

static bool has_room(const struct shoal_stream *stream) {
    return shoal_appender_has_room(stream->appender) &&
           shoal_window_has_room(&stream->window);
}

/* Whether the pack at hand is to go. */
static bool is_due(const struct shoal_stream *stream) {
    return stream->pack.n > 0 &&
           (stream->row_left > 0 || stream->ended || shoal_now_ms() >= stream->due_ms);
}

static enum shoal_status append(struct shoal_stream *stream, struct shoal_error *err) {
    const char *bytes = NULL;
    size_t len = 0;
    int64_t n = stream->pack.n;
    enum shoal_status status = shoal_pack_bytes(&stream->pack, &bytes, &len, err);
    if (status == SHOAL_OK)
        status =
            shoal_window_add(&stream->window, stream->next, n, len + PACK_BYTES, err);
    if (status == SHOAL_OK)
        status = shoal_appender_add(stream->appender, stream->next, n, bytes, len, err);
    stream->next += n;
    stream->appended += (int64_t)len + PACK_BYTES;
    stream->appended_ms = shoal_now_ms();
    shoal_pack_clear(&stream->pack);
    return status;
}

/* One pack, or one chunk of the input. *ret_idle: there is nothing to do. */
static enum shoal_status step(struct shoal_stream *stream, bool *ret_idle,
                              struct shoal_error *err) {
    enum shoal_status status =
        stream->hungry || stream->ended ? SHOAL_OK : gather(stream, err);
    *ret_idle = false;
    if (status != SHOAL_OK)
        return status;
    if (is_due(stream) && has_room(stream))
        return append(stream, err);
    *ret_idle = true;
    if (!stream->hungry || !has_room(stream))
        return SHOAL_OK;
    status = read_some(stream, err);
    *ret_idle = stream->hungry;
    return status;
}

/* Once all is appended, unless that is done. */
static enum shoal_status close_job(struct shoal_stream *stream, struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    if (stream->ended && stream->pack.n == 0 && !stream->closing) {
        status = shoal_appender_close(stream->appender, err);
        stream->closing = status == SHOAL_OK;
    }
    return status;
}

/* Waits, in the loop, for what comes next: more to read, or the time of the pack. What
 * waits for room is woken by an answer, or by an acknowledgement. */
static void arm(struct shoal_stream *stream, bool idle) {
    bool reads = stream->hungry && !stream->ended && has_room(stream);
    idle &= !(reads && stream->always_readable);
    int64_t wait_ms = idle ? stream->due_ms - shoal_now_ms() : 0;
    wait_ms = wait_ms > 0 ? wait_ms : 0;
    event_del(stream->readable);
    event_del(stream->linger);
    if (reads && !stream->always_readable)
        event_add(stream->readable, NULL);
    if (!idle || (stream->pack.n > 0 && !is_due(stream)))
        event_add(stream->linger, &(struct timeval){.tv_sec = wait_ms / 1000,
                                                    .tv_usec = wait_ms % 1000 * 1000});
}

/* A few steps, so that others have their turn as well. */
static void work(struct shoal_stream *stream) {
    enum { STEPS = 16 };
    bool idle = false;
    for (int i = 0; i < STEPS && !idle && !stream->stopped; i++) {
        if (step(stream, &idle, &stream->wrong) != SHOAL_OK) {
            stream->ended = true; /* what came before it is still sent */
            stream->row_left = 0;
        }
    }
    if (stream->stopped)
        return;
    close_job(stream, NULL); /* without memory, shoal_stream_tend() tries again */
    arm(stream, idle);
}

static void answered(void *owner) {
    struct shoal_stream *stream = owner;
    stream->trouble = *shoal_appender_trouble(stream->appender);
    work(stream);
}

static void woken(SHOAL_UNUSED evutil_socket_t fd, SHOAL_UNUSED short what, void *owner) {
    work(owner);
}

/* epoll refuses files, /dev/null and their like. */
static bool can_be_watched(int fd) {
    struct epoll_event event = {.events = EPOLLIN};
    SHOAL_CLEANUP(shoal_cleanup_fd) int epoll = epoll_create1(EPOLL_CLOEXEC);
    return epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

enum shoal_status shoal_stream_start(struct shoal_stream *stream,
                                     struct shoal_client *client, const char *job,
                                     struct shoal_error *err) {
    stream->client = client;
    memcpy(stream->job, job, sizeof(stream->job));
    stream->always_readable = !can_be_watched(stream->fd);
    stream->readable = event_new(client->base, stream->fd, EV_READ, woken, stream);
    stream->linger = evtimer_new(client->base, woken, stream);
    if (stream->readable == NULL || stream->linger == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for events");
    enum shoal_status status = shoal_appender_create(&client->queue, job, answered,
                                                     stream, &stream->appender, err);
    if (status == SHOAL_OK)
        work(stream);
    return status;
}

/* ---- what goes on meanwhile */

static bool is_refusal(enum shoal_status status) {
    return status == SHOAL_REFUSED || status == SHOAL_UNKNOWN;
}

static bool passes(enum shoal_status status) {
    return status == SHOAL_LOST || status == SHOAL_TIMEOUT || status == SHOAL_DENIED ||
           status == SHOAL_FULL;
}

/* A producer that says nothing for long is there nevertheless. */
static enum shoal_status show_presence(struct shoal_stream *stream,
                                       struct shoal_error *err) {
    int64_t now = shoal_now_ms();
    if (stream->closing || now - stream->appended_ms < STAY_MS ||
        !shoal_appender_is_idle(stream->appender))
        return SHOAL_OK;
    stream->appended_ms = now;
    return shoal_appender_add(stream->appender, stream->next, 0, "", 0, err);
}

enum shoal_status shoal_stream_tend(struct shoal_stream *stream,
                                    struct shoal_error *ret_trouble,
                                    struct shoal_error *err) {
    struct shoal_error *trouble = &stream->trouble;
    *ret_trouble = (struct shoal_error){.status = SHOAL_OK};
    if (stream->stopped)
        return SHOAL_OK;
    if (trouble->status == SHOAL_OK) /* a pack that was not even sent has no answer */
        *trouble = *shoal_appender_trouble(stream->appender);
    if (trouble->status == SHOAL_OK) {
        enum shoal_status status = close_job(stream, err);
        return status == SHOAL_OK ? show_presence(stream, err) : status;
    }
    if (is_refusal(trouble->status)) {
        stream->refused = *trouble;
        shoal_stream_stop(stream);
        return SHOAL_OK;
    }
    if (!passes(trouble->status))
        return shoal_error_set(err, trouble->status, "%s", trouble->text);
    *ret_trouble = *trouble;
    if (shoal_now_ms() < stream->retry_ms)
        return SHOAL_OK;
    stream->retry_ms = shoal_now_ms() + RETRY_MS;
    shoal_appender_send(stream->appender);
    return SHOAL_OK;
}

void shoal_stream_turn(struct shoal_stream *stream) {
    if (!stream->stopped && stream->rows % TURN_ROWS == 0)
        event_base_loop(stream->client->base, EVLOOP_NONBLOCK);
}

void shoal_stream_row(struct shoal_stream *stream, int64_t index) {
    stream->rows++;
    shoal_window_row(&stream->window, index);
}

void shoal_stream_no_rows(struct shoal_stream *stream, const struct shoal_job *job) {
    bool over = job->ok + job->failed + job->cancelled == job->total;
    if (over && job->total == stream->next && stream->window.n > 0)
        shoal_window_all(&stream->window);
}

bool shoal_stream_wants_acknowledging(const struct shoal_stream *stream) {
    return shoal_window_wants_settling(&stream->window);
}

bool shoal_stream_takes(const struct shoal_stream *stream) {
    return stream->takes;
}

enum shoal_status shoal_stream_acknowledge(struct shoal_stream *stream,
                                           struct shoal_report *report,
                                           struct shoal_error *err) {
    struct shoal_window *window = &stream->window;
    stream->takes |=
        stream->appended > KEPT_BYTES || shoal_report_job(report)->stored > KEPT_BYTES;
    enum shoal_status status = shoal_report_acknowledge(report, stream->takes, err);
    if (status == SHOAL_OK && stream->takes)
        status = shoal_queue_release(&stream->client->queue, stream->job, window->out,
                                     window->n_out, err);
    if (status != SHOAL_OK)
        return status;
    if (stream->takes)
        window->n_out = 0;
    shoal_window_settle(window);
    if (!stream->stopped)
        work(stream);
    return SHOAL_OK;
}

/* ---- the end */

void shoal_stream_stop(struct shoal_stream *stream) {
    if (stream->stopped)
        return;
    stream->stopped = true;
    stream->cut = !stream->ended;
    if (stream->readable != NULL)
        event_del(stream->readable);
    if (stream->linger != NULL)
        event_del(stream->linger);
}

bool shoal_stream_was_cut(const struct shoal_stream *stream) {
    return stream->cut;
}

/* Whether the job is still open because of us. */
static bool is_ours(const struct shoal_stream *stream) {
    if (stream->client == NULL || stream->refused.status != SHOAL_OK)
        return false;
    return !stream->closing || !shoal_appender_is_idle(stream->appender);
}

void shoal_stream_leave(struct shoal_stream *stream) {
    bool ours = is_ours(stream);
    shoal_stream_stop(stream);
    if (!ours)
        return;
    enum shoal_status status = stream->appender == NULL
                                   ? SHOAL_OK
                                   : shoal_appender_wait(stream->appender, true, NULL);
    if (status == SHOAL_OK && !stream->closing)
        status = shoal_close(stream->client, stream->job, NULL);
    if (status == SHOAL_OK)
        stream->closing = true; /* else it closes by itself, an hour from now */
}

enum shoal_status shoal_stream_check(const struct shoal_stream *stream,
                                     struct shoal_error *err) {
    const struct shoal_error *why =
        stream->wrong.status != SHOAL_OK ? &stream->wrong : &stream->refused;
    if (why->status == SHOAL_OK && !stream->closing)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "job %s was closed before %.200s ended", stream->job,
                               stream->name);
    return why->status == SHOAL_OK ? SHOAL_OK
                                   : shoal_error_set(err, why->status, "%s", why->text);
}
