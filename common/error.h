/* A status to act on and a sentence to read. Public: shoal.h includes it. */
#ifndef SHOAL_ERROR_H
#define SHOAL_ERROR_H

#include <stdarg.h>

#if defined(__GNUC__)
#define SHOAL_MUST_CHECK __attribute__((warn_unused_result))
#define SHOAL_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define SHOAL_PUBLIC __attribute__((visibility("default"))) /* libshoal.so shows it */
#else
#define SHOAL_MUST_CHECK
#define SHOAL_PRINTF(format, first)
#define SHOAL_PUBLIC
#endif

enum shoal_status {
    SHOAL_OK,
    SHOAL_INVALID, /* what was asked for makes no sense; asking again does not help */
    SHOAL_UNKNOWN, /* there is no such job, task, queue or worker */
    SHOAL_REFUSED, /* the queue's state does not allow it now */
    SHOAL_DENIED,  /* Redis does not allow it: no password, too old, a replica, … */
    SHOAL_FULL,    /* Redis has no memory or disk left for more */
    SHOAL_TIMEOUT, /* the time that the caller gave is over */
    SHOAL_LOST,    /* Redis cannot be reached */
    SHOAL_GARBAGE, /* something read from outside is not what it should be */
    SHOAL_MEMORY,  /* no memory left here */
    SHOAL_SYSTEM,  /* the operating system said no; the sentence has its reason */
    SHOAL_STATUS_COUNT
};

struct shoal_error {
    enum shoal_status status;
    char text[512]; /* one sentence, no newline, always terminated */
};

/* The name of a status in lower case, for logs and JSON; "unknown status" outside the
 * enum. */
SHOAL_PUBLIC const char *shoal_status_name(enum shoal_status status);

/* Writes the sentence into `err` unless it holds an earlier one (status not SHOAL_OK):
 * the first error names the cause. `err` may be NULL. Returns `status`, so that callers
 * can return it. */
SHOAL_PUBLIC enum shoal_status shoal_error_set(struct shoal_error *err,
                                               enum shoal_status status,
                                               const char *format, ...)
    SHOAL_PRINTF(3, 4);

/* Forgets what `err` holds. */
SHOAL_PUBLIC void shoal_error_clear(struct shoal_error *err);

#endif
