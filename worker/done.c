#include "worker/done.h"

#include "worker/frame.h"

#include <stdlib.h>

#define SPAN_MAX_US (INT64_C(1000) * 366 * 24 * 3600 * 1000000)

/* µs, of a year for each of a thousand tasks at most: sums of them stay numbers. */
static bool read_span(struct shoal_record_reader *reader, int64_t *ret_us) {
    return shoal_record_read_int(reader, ret_us) && *ret_us >= 0 &&
           *ret_us <= SPAN_MAX_US;
}

static bool read_failure(struct shoal_record_reader *reader,
                         struct shoal_failure *failure) {
    const char *reason;
    size_t n, len;
    if (!shoal_record_read_array(reader, &n) || n != SHOAL_FAILURE_FIELDS ||
        !shoal_record_read_int(reader, &failure->index) ||
        !shoal_record_read_bytes(reader, &reason, &len) ||
        !shoal_reason_parse(reason, len, &failure->reason) ||
        failure->reason == SHOAL_REASON_OK ||
        !shoal_record_read_int(reader, &failure->code) ||
        !read_span(reader, &failure->wall_us) ||
        !shoal_record_read_bytes(reader, &failure->text, &failure->len))
        return false;
    if (failure->len > SHOAL_STDERR_MAX) { /* the end says most */
        failure->text += failure->len - SHOAL_STDERR_MAX;
        failure->len = SHOAL_STDERR_MAX;
    }
    return true;
}

/* In order, and of tasks that the report is about. */
static bool read_failures(struct shoal_record_reader *reader, int64_t lo,
                          struct shoal_done *done) {
    struct shoal_report *report = &done->report;
    int64_t behind = lo;
    if (!shoal_record_read_array(reader, &report->n_failures) ||
        report->n_failures > (size_t)report->tasks)
        return false;
    done->failures = calloc(report->n_failures + 1, sizeof(*done->failures));
    done->no_memory = done->failures == NULL;
    report->failures = done->failures;
    for (size_t i = 0; i < report->n_failures && done->failures != NULL; i++) {
        struct shoal_failure *failure = &done->failures[i];
        if (!read_failure(reader, failure) || failure->index < behind ||
            failure->index >= lo + report->tasks)
            return false;
        behind = failure->index + 1;
    }
    return done->failures != NULL;
}

/* Whether an element that tells of a failure has its own among the failures. */
static bool is_told(const struct shoal_report *report, size_t next, int64_t index,
                    enum shoal_reason reason) {
    return next < report->n_failures && report->failures[next].index == index &&
           report->failures[next].reason == reason;
}

/* Whether the outcomes are some, as many as the report says, and fail where it says. */
static bool fits(const struct shoal_report *report, int64_t lo) {
    struct shoal_record_reader reader;
    int64_t done = 0, tasks = 0;
    size_t failures = 0;
    enum shoal_reason reason;
    shoal_record_reader_init(&reader, report->outcomes, report->len);
    for (size_t i = 0; i < report->elements; i++) {
        if (!shoal_element_check(&reader, &tasks, &reason) ||
            tasks > report->tasks - done)
            return false;
        if (reason != SHOAL_REASON_OK && !is_told(report, failures++, lo + done, reason))
            return false;
        done += tasks;
    }
    return done == report->tasks && failures == report->n_failures &&
           reader.at == reader.end;
}

bool shoal_done_read(struct shoal_record_reader *reader, int64_t shift, int64_t lo,
                     int64_t hi, struct shoal_done *done) {
    struct shoal_report *report = &done->report;
    int64_t position = 0, elements = 0, memory_kb = 0, over = 0;
    *done = (struct shoal_done){.over = false};
    if (!shoal_record_read_int(reader, &position) || position != shift + lo ||
        !shoal_record_read_int(reader, &report->tasks) || report->tasks < 0 ||
        report->tasks > hi - lo || !shoal_record_read_int(reader, &elements) ||
        elements < 0 || elements > report->tasks ||
        !shoal_record_read_bytes(reader, &report->outcomes, &report->len) ||
        !read_span(reader, &report->work_us) ||
        !shoal_record_read_int(reader, &memory_kb) || memory_kb < 0 ||
        memory_kb > INT64_MAX / 1024 || !shoal_record_read_int(reader, &over) ||
        !read_failures(reader, lo, done))
        return false;
    report->elements = (size_t)elements;
    done->memory = memory_kb * 1024;
    done->over = over == 1;
    return fits(report, lo);
}

void shoal_done_cleanup(struct shoal_done *done) {
    free(done->failures);
    done->failures = NULL;
}
