#include "worker/capture.h"

#include "worker/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CHUNK = 65536,
    CHUNKS_AT_END = 64,
    CARRIED_MAX = 1 << 30, /* bytes; what a result may have is less */
};

static char *ring(struct shoal_capture *capture) {
    return capture->memory + SHOAL_CAPTURE_SPARE;
}

static void keep(struct shoal_capture *capture, const char *bytes, size_t len) {
    if (capture->total < SHOAL_CAPTURE_HEAD) {
        size_t room = SHOAL_CAPTURE_HEAD - capture->total;
        memcpy(capture->head + capture->total, bytes, len < room ? len : room);
    }
    capture->total += len;
    if (len > capture->limit) { /* only the end of it can stay */
        bytes += len - capture->limit;
        len = capture->limit;
    }
    while (len > 0) {
        size_t room = capture->limit - capture->at;
        size_t part = room < len ? room : len;
        memcpy(ring(capture) + capture->at, bytes, part);
        capture->at = part == room ? 0 : capture->at + part;
        capture->kept =
            capture->limit - capture->kept < part ? capture->limit : capture->kept + part;
        bytes += part;
        len -= part;
    }
}

/* Reads once. False when there is nothing more, now or ever (*ended). */
static bool read_once(struct shoal_capture *capture, bool *ended) {
    char bytes[CHUNK];
    ssize_t got = read(capture->fd, bytes, sizeof(bytes));
    if (got > 0)
        keep(capture, bytes, (size_t)got);
    *ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    return got > 0 || (got < 0 && errno == EINTR);
}

static void readable(evutil_socket_t fd, short what, void *owner) {
    struct shoal_capture *capture = owner;
    bool ended = false;
    (void)fd;
    (void)what;
    read_once(capture, &ended);
    if (ended)
        event_del(capture->event);
}

enum shoal_status shoal_capture_init(struct shoal_capture *capture,
                                     struct event_base *base, struct shoal_error *err) {
    *capture = (struct shoal_capture){.fd = -1};
    capture->event = event_new(base, -1, EV_READ | EV_PERSIST, readable, capture);
    return capture->event != NULL
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_MEMORY, "no memory for a capture");
}

static void close_pipe(struct shoal_capture *capture) {
    if (capture->fd < 0)
        return;
    event_del(capture->event);
    close(capture->fd);
    capture->fd = -1;
}

void shoal_capture_finish(struct shoal_capture *capture) {
    if (capture->event == NULL)
        return;
    close_pipe(capture);
    event_free(capture->event);
    free(capture->memory);
    *capture = (struct shoal_capture){.fd = -1};
}

static void forget(struct shoal_capture *capture) {
    capture->total = capture->kept = capture->at = 0;
}

/* All the memory at once, so that nothing can fail while it reads; pages that nothing is
 * written to cost nothing. */
static bool make_room(struct shoal_capture *capture, size_t limit) {
    if (capture->memory == NULL || capture->limit != limit) {
        free(capture->memory);
        capture->memory = malloc(SHOAL_CAPTURE_SPARE + limit);
        capture->limit = limit;
    }
    return capture->memory != NULL;
}

/* Begins to read from the pipe. */
static bool watch(struct shoal_capture *capture, int fd) {
    capture->fd = fd;
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
           event_assign(capture->event, event_get_base(capture->event), fd,
                        EV_READ | EV_PERSIST, readable, capture) == 0 &&
           event_add(capture->event, NULL) == 0;
}

enum shoal_status shoal_capture_open(struct shoal_capture *capture, size_t limit,
                                     int *ret_writer, struct shoal_error *err) {
    int ends[2];
    close_pipe(capture);
    forget(capture);
    if (!make_room(capture, limit))
        return shoal_error_set(err, SHOAL_MEMORY,
                               "no memory for %zu bytes of what a task prints", limit);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a pipe: %s",
                               strerror(errno));
    if (!watch(capture, ends[0])) {
        close_pipe(capture);
        close(ends[1]);
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot wait for what a task prints");
    }
    *ret_writer = ends[1];
    return SHOAL_OK;
}

void shoal_capture_close(struct shoal_capture *capture) {
    bool ended = false;
    /* A process that was left behind may still write; it is not waited for. */
    for (int i = 0; capture->fd >= 0 && i < CHUNKS_AT_END; i++) {
        if (!read_once(capture, &ended))
            break;
    }
    close_pipe(capture);
}

/* Reads until there are `len` bytes or the file ends, and returns how many there are. */
static size_t read_at(int fd, char *bytes, size_t len, size_t at) {
    size_t have = 0;
    while (have < len) {
        ssize_t got = pread(fd, bytes + have, len - have, (off_t)(at + have));
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

void shoal_capture_read_file(struct shoal_capture *capture, int fd, size_t size) {
    size_t begin = size > capture->limit ? size - capture->limit : 0;
    forget(capture);
    memset(capture->head, 0, sizeof(capture->head));
    read_at(fd, capture->head, sizeof(capture->head), 0);
    capture->kept = read_at(fd, ring(capture), size - begin, begin);
    capture->total = begin + capture->kept;
}

static void reverse(char *bytes, size_t from, size_t to) {
    while (from + 1 < to) {
        char moved = bytes[from];
        bytes[from++] = bytes[--to];
        bytes[to] = moved;
    }
}

char *shoal_capture_end(struct shoal_capture *capture, size_t *ret_len) {
    if (capture->kept == capture->limit && capture->at != 0) {
        /* Turns the ring so that its oldest byte comes first. */
        reverse(ring(capture), 0, capture->at);
        reverse(ring(capture), capture->at, capture->limit);
        reverse(ring(capture), 0, capture->limit);
        capture->at = 0;
    }
    *ret_len = capture->kept;
    return ring(capture);
}

/* ---- an upgrade */

/* What is kept, in order. */
static void carry_ring(struct shoal_capture *capture, struct shoal_handover *handover) {
    const char *bytes = handover->saves ? shoal_capture_end(capture, &capture->kept) : "";
    shoal_carry_view(handover, &bytes, &capture->kept, capture->limit);
    if (handover->saves || handover->failed)
        return;
    memcpy(ring(capture), bytes, capture->kept);
    capture->at = capture->kept == capture->limit ? 0 : capture->kept;
}

void shoal_capture_carry(struct shoal_capture *capture, struct shoal_handover *handover) {
    int fd = capture->fd;
    size_t limit = capture->limit, head_len = sizeof(capture->head);
    const char *head = capture->head;
    shoal_carry_fd(handover, &fd);
    SHOAL_CARRY(handover, limit, 0, CARRIED_MAX);
    SHOAL_CARRY(handover, capture->total, 0, INT64_MAX);
    shoal_carry_view(handover, &head, &head_len, sizeof(capture->head));
    if (handover->failed || (!handover->saves && !make_room(capture, limit))) {
        handover->failed = true;
        return;
    }
    if (!handover->saves)
        memcpy(capture->head, head, head_len);
    carry_ring(capture, handover);
    if (!handover->saves && fd >= 0 && !watch(capture, fd))
        handover->failed = true;
}
