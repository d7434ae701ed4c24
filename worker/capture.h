/* What a program prints, read from a pipe: its beginning and its end are kept, what lies
 * between is counted and dropped, so that a program may print for ever. */
#ifndef SHOAL_CAPTURE_H
#define SHOAL_CAPTURE_H

#include "common/error.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    SHOAL_CAPTURE_HEAD = 256,
    SHOAL_CAPTURE_SPARE = 64, /* bytes in front of the kept end, for a mark */
};

struct shoal_capture {
    struct event *event;
    int fd;       /* where it is read; -1: nothing is */
    size_t limit; /* bytes of the end that are kept */
    size_t total; /* bytes that came */
    size_t kept;  /* of them in the ring */
    size_t at; /* where in the ring the next one goes: at the oldest, when it is full */
    char *memory; /* the spare bytes, and the ring */
    char head[SHOAL_CAPTURE_HEAD];
};

/* Gets ready, once. */
SHOAL_MUST_CHECK
enum shoal_status shoal_capture_init(struct shoal_capture *capture,
                                     struct event_base *base, struct shoal_error *err);
void shoal_capture_finish(struct shoal_capture *capture);

/* Makes a pipe and begins to read from it; *ret_writer is the other end, O_CLOEXEC, the
 * caller's. SHOAL_SYSTEM, SHOAL_MEMORY: it cannot; nothing is read. */
SHOAL_MUST_CHECK
enum shoal_status shoal_capture_open(struct shoal_capture *capture, size_t limit,
                                     int *ret_writer, struct shoal_error *err);

/* Takes what is in the pipe now, without waiting, and closes it. */
void shoal_capture_close(struct shoal_capture *capture);

/* Takes what a file of `size` bytes holds instead of what came. Only while closed. */
void shoal_capture_read_file(struct shoal_capture *capture, int fd, size_t size);

/* The kept end in order, *ret_len <= limit bytes; they and SHOAL_CAPTURE_SPARE bytes in
 * front of them are the caller's to change until the next open. Only after an open. */
char *shoal_capture_end(struct shoal_capture *capture, size_t *ret_len);

struct shoal_handover;

/* The pipe and what came of it. Only after init. */
void shoal_capture_carry(struct shoal_capture *capture, struct shoal_handover *handover);

#endif
