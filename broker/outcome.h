/* How a task ended, and packs: the outcomes of a commit as one string of records.
 *
 * A pack is one RESP array:
 *
 *     "pack", worker's name, index of the first task, and in order elements of two kinds:
 *     [reason, attempt, wall µs, CPU µs, peak memory KiB, code, result]    one task
 *     [n, attempt, wall µs, CPU µs, peak memory KiB, results]    n tasks that succeeded
 *
 * Indices are implicit: the k-th outcome belongs to task first + k. `reason` is the name
 * below, `code` the exit code or the signal's number. Of n short tasks the times are
 * sums, and `results` is a string with their results in it, each as a RESP string.
 *
 * An entry of a job's results list is the accepted ranges "lo-hi,lo-hi\n" (hi not
 * included) and the pack behind them; the others of the pack's outcomes do not count.
 * Whoever reads may meet garbage and gets SHOAL_GARBAGE. */
#ifndef SHOAL_OUTCOME_H
#define SHOAL_OUTCOME_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/records.h"

#include <stdint.h>

/* A new reason also goes into: reason_names in outcome.c, POLICY in scripts/advance.lua,
 * README.md */
enum shoal_reason {
    SHOAL_REASON_OK,        /* it succeeded */
    SHOAL_REASON_EXIT,      /* exit code other than 0 */
    SHOAL_REASON_SIGNAL,    /* ended by a signal that was not ours */
    SHOAL_REASON_TIMEOUT,   /* ended by us, its time was over */
    SHOAL_REASON_OOM,       /* its memory limit was reached */
    SHOAL_REASON_SPAWN,     /* it could not be started */
    SHOAL_REASON_POISON,    /* it took its worker with it each time */
    SHOAL_REASON_REJECTED,  /* its spec or argument makes no sense to the worker */
    SHOAL_REASON_TOO_LARGE, /* its structured result is over the bound */
    SHOAL_REASON_STOPPED,   /* told to stop: no outcome, it goes back (or is cancelled) */
    SHOAL_REASON_CONTINUE,  /* it asks to go on from its checkpoint: no outcome */
    SHOAL_REASON_LOST,      /* its worker vanished: no outcome, it goes back */
    SHOAL_REASON_COUNT
};

const char *shoal_reason_name(enum shoal_reason reason);
bool shoal_reason_parse(const char *text, size_t len, enum shoal_reason *ret_reason);

struct shoal_outcome {
    enum shoal_reason reason;
    int64_t attempt; /* from 1 */
    int64_t wall_us;
    int64_t cpu_us;     /* user and system, with waited-for children */
    int64_t rss_kb;     /* peak of the largest process */
    int64_t code;       /* exit code, or the signal's number; 0 otherwise */
    const char *result; /* borrowed */
    size_t result_len;
};

void shoal_outcome_write(struct shoal_buffer *pack, const struct shoal_outcome *outcome);

/* n tasks that succeeded: the times in `sums` are theirs together; `results` holds n RESP
 * strings. */
void shoal_outcome_write_many(struct shoal_buffer *pack, int64_t n,
                              const struct shoal_outcome *sums, const char *results,
                              size_t len);

/* The head of a pack that will hold `count` elements from task `first` on. */
void shoal_pack_begin(struct shoal_buffer *pack, const char *worker, int64_t first,
                      size_t count);

/* What an attempt that did not succeed left behind, as an entry of a job's attempts list:
 * a RESP array of: first task, task behind the last, attempt, reason, code, worker, wall
 * µs, CPU µs, peak memory KiB, when (ms since 1970), end of stderr or a sentence. */
struct shoal_attempt {
    int64_t lo;
    int64_t hi;
    int64_t number;
    enum shoal_reason reason;
    int64_t code;
    const char *worker; /* borrowed, worker_len bytes */
    size_t worker_len;
    int64_t wall_us;
    int64_t cpu_us;
    int64_t rss_kb;
    int64_t at_ms;
    const char *text; /* borrowed, text_len bytes */
    size_t text_len;
};

void shoal_attempt_write(struct shoal_buffer *record,
                         const struct shoal_attempt *attempt);
SHOAL_MUST_CHECK
enum shoal_status shoal_attempt_read(const char *bytes, size_t len,
                                     struct shoal_attempt *ret_attempt,
                                     struct shoal_error *err);

/* Whether the next element of a pack is one, to its last byte; it is skipped. *ret_tasks:
 * how many tasks it is for, which ended for *ret_reason. */
SHOAL_MUST_CHECK
bool shoal_element_check(struct shoal_record_reader *reader, int64_t *ret_tasks,
                         enum shoal_reason *ret_reason);

/* Reads one entry of a results list, outcome by outcome, the accepted ones only. Nothing
 * is copied: the entry must stay. */
struct shoal_entry_reader {
    const char *ranges; /* what is left of the accepted ranges */
    const char *ranges_end;
    int64_t lo, hi; /* the accepted range at hand */
    int64_t next;   /* index of the next outcome in the pack */
    size_t left;    /* elements left in the pack */
    const char *at;
    const char *end;
    int64_t many_left; /* of an element for many: tasks left in it … */
    struct shoal_record_reader many;
    struct shoal_outcome each; /* … and what is the same for all of them */
    const char *worker;        /* not terminated */
    size_t worker_len;
};

SHOAL_MUST_CHECK
enum shoal_status shoal_entry_begin(struct shoal_entry_reader *reader, const char *entry,
                                    size_t len, struct shoal_error *err);

/* The next accepted outcome and its task. *ret_more is false at the end. */
SHOAL_MUST_CHECK
enum shoal_status shoal_entry_next(struct shoal_entry_reader *reader, bool *ret_more,
                                   int64_t *ret_index, struct shoal_outcome *ret_outcome,
                                   struct shoal_error *err);

#endif
