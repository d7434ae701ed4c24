#include "broker/outcome.h"

#include "common/cleanup.h"
#include "common/records.h"

#include <inttypes.h>
#include <string.h>

enum {
    PACK_HEAD = 3,      /* items before the elements */
    OUTCOME_FIELDS = 7, /* of an element for one task */
    MANY_FIELDS = 6,    /* of an element for many */
    ATTEMPT_FIELDS = 11,
    INDEX_DIGITS_MAX = 16, /* of 2^53 */
};
#define INDEX_MAX (INT64_C(1) << 53)

static const char *const reason_names[] = {
    [SHOAL_REASON_OK] = "ok",
    [SHOAL_REASON_EXIT] = "exit",
    [SHOAL_REASON_SIGNAL] = "signal",
    [SHOAL_REASON_TIMEOUT] = "timeout",
    [SHOAL_REASON_OOM] = "oom",
    [SHOAL_REASON_SPAWN] = "spawn",
    [SHOAL_REASON_POISON] = "poison",
    [SHOAL_REASON_REJECTED] = "rejected",
    [SHOAL_REASON_TOO_LARGE] = "too-large",
    [SHOAL_REASON_STOPPED] = "stopped",
    [SHOAL_REASON_CONTINUE] = "continue",
    [SHOAL_REASON_LOST] = "lost",
};
_Static_assert(SHOAL_COUNT(reason_names) == SHOAL_REASON_COUNT, "a reason is missing");

const char *shoal_reason_name(enum shoal_reason reason) {
    return (unsigned)reason < SHOAL_REASON_COUNT ? reason_names[reason]
                                                 : "unknown reason";
}

bool shoal_reason_parse(const char *text, size_t len, enum shoal_reason *ret_reason) {
    for (int i = 0; i < SHOAL_REASON_COUNT; i++) {
        if (strlen(reason_names[i]) != len || memcmp(reason_names[i], text, len) != 0)
            continue;
        *ret_reason = (enum shoal_reason)i;
        return true;
    }
    return false;
}

/* ---- writing */

void shoal_outcome_write(struct shoal_buffer *pack, const struct shoal_outcome *outcome) {
    shoal_record_array(pack, OUTCOME_FIELDS);
    shoal_record_text(pack, shoal_reason_name(outcome->reason));
    shoal_record_int(pack, outcome->attempt);
    shoal_record_int(pack, outcome->wall_us);
    shoal_record_int(pack, outcome->cpu_us);
    shoal_record_int(pack, outcome->rss_kb);
    shoal_record_int(pack, outcome->code);
    shoal_record_bytes(pack, outcome->result, outcome->result_len);
}

void shoal_outcome_write_many(struct shoal_buffer *pack, int64_t n,
                              const struct shoal_outcome *sums, const char *results,
                              size_t len) {
    shoal_record_array(pack, MANY_FIELDS);
    shoal_record_int(pack, n);
    shoal_record_int(pack, sums->attempt);
    shoal_record_int(pack, sums->wall_us);
    shoal_record_int(pack, sums->cpu_us);
    shoal_record_int(pack, sums->rss_kb);
    shoal_record_bytes(pack, results, len);
}

void shoal_pack_begin(struct shoal_buffer *pack, const char *worker, int64_t first,
                      size_t count) {
    shoal_record_array(pack, PACK_HEAD + count);
    shoal_record_text(pack, "pack");
    shoal_record_text(pack, worker);
    shoal_record_int(pack, first);
}

void shoal_attempt_write(struct shoal_buffer *record,
                         const struct shoal_attempt *attempt) {
    shoal_record_array(record, ATTEMPT_FIELDS);
    shoal_record_int(record, attempt->lo);
    shoal_record_int(record, attempt->hi);
    shoal_record_int(record, attempt->number);
    shoal_record_text(record, shoal_reason_name(attempt->reason));
    shoal_record_int(record, attempt->code);
    shoal_record_bytes(record, attempt->worker, attempt->worker_len);
    shoal_record_int(record, attempt->wall_us);
    shoal_record_int(record, attempt->cpu_us);
    shoal_record_int(record, attempt->rss_kb);
    shoal_record_int(record, attempt->at_ms);
    shoal_record_bytes(record, attempt->text, attempt->text_len);
}

/* ---- reading */

static bool read_reason(struct shoal_record_reader *reader, enum shoal_reason *reason) {
    const char *name;
    size_t len;
    return shoal_record_read_bytes(reader, &name, &len) &&
           shoal_reason_parse(name, len, reason);
}

/* A time, a size or a count. */
static bool read_amount(struct shoal_record_reader *reader, int64_t *amount) {
    return shoal_record_read_int(reader, amount) && *amount >= 0;
}

static bool read_attempt(struct shoal_record_reader *reader,
                         struct shoal_attempt *attempt) {
    size_t n;
    return shoal_record_read_array(reader, &n) && n == ATTEMPT_FIELDS &&
           read_amount(reader, &attempt->lo) && read_amount(reader, &attempt->hi) &&
           read_amount(reader, &attempt->number) &&
           read_reason(reader, &attempt->reason) &&
           shoal_record_read_int(reader, &attempt->code) &&
           shoal_record_read_bytes(reader, &attempt->worker, &attempt->worker_len) &&
           read_amount(reader, &attempt->wall_us) &&
           read_amount(reader, &attempt->cpu_us) &&
           read_amount(reader, &attempt->rss_kb) &&
           read_amount(reader, &attempt->at_ms) &&
           shoal_record_read_bytes(reader, &attempt->text, &attempt->text_len) &&
           reader->at == reader->end && attempt->lo < attempt->hi;
}

enum shoal_status shoal_attempt_read(const char *bytes, size_t len,
                                     struct shoal_attempt *ret_attempt,
                                     struct shoal_error *err) {
    struct shoal_record_reader reader;
    struct shoal_attempt attempt;
    shoal_record_reader_init(&reader, bytes, len);
    if (!read_attempt(&reader, &attempt))
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "the record of an attempt cannot be read "
                               "(a newer shoal wrote it, or something else did)");
    *ret_attempt = attempt;
    return SHOAL_OK;
}

static enum shoal_status garbage(struct shoal_error *err, const char *what) {
    return shoal_error_set(err, SHOAL_GARBAGE,
                           "an entry of the job's results cannot be read: %s "
                           "(a newer shoal wrote it, or something else did)",
                           what);
}

/* The digits of an index at *at, which moves behind them. */
static bool take_index(const char **at, const char *end, int64_t *index) {
    const char *start = *at;
    *index = 0;
    while (*at < end && **at >= '0' && **at <= '9' && *at - start < INDEX_DIGITS_MAX)
        *index = *index * 10 + (*(*at)++ - '0');
    return *at > start && *index <= INDEX_MAX;
}

/* Makes the next accepted range the one at hand; without one lo = hi = INDEX_MAX. They
 * ascend. */
static bool take_range(struct shoal_entry_reader *reader) {
    int64_t before = reader->hi;
    reader->lo = reader->hi = INDEX_MAX;
    if (reader->ranges == reader->ranges_end)
        return true;
    if (!take_index(&reader->ranges, reader->ranges_end, &reader->lo) ||
        reader->ranges == reader->ranges_end || *reader->ranges++ != '-' ||
        !take_index(&reader->ranges, reader->ranges_end, &reader->hi) ||
        reader->lo < before || reader->lo >= reader->hi)
        return false;
    if (reader->ranges == reader->ranges_end)
        return true;
    return *reader->ranges++ == ',' && reader->ranges < reader->ranges_end;
}

static bool read_pack_head(struct shoal_entry_reader *reader) {
    struct shoal_record_reader records;
    shoal_record_reader_init(&records, reader->at, (size_t)(reader->end - reader->at));
    const char *kind;
    size_t n, kind_len;
    if (!shoal_record_read_array(&records, &n) || n < PACK_HEAD ||
        !shoal_record_read_bytes(&records, &kind, &kind_len) || kind_len != 4 ||
        memcmp(kind, "pack", 4) != 0 ||
        !shoal_record_read_bytes(&records, &reader->worker, &reader->worker_len) ||
        !read_amount(&records, &reader->next))
        return false;
    reader->left = n - PACK_HEAD;
    reader->at = records.at;
    return reader->next <= INDEX_MAX - (int64_t)reader->left;
}

enum shoal_status shoal_entry_begin(struct shoal_entry_reader *reader, const char *entry,
                                    size_t len, struct shoal_error *err) {
    const char *line_end = len > 0 ? memchr(entry, '\n', len) : NULL;
    if (line_end == NULL)
        return garbage(err, "it has no ranges");
    *reader = (struct shoal_entry_reader){
        .ranges = entry, .ranges_end = line_end, .at = line_end + 1, .end = entry + len};
    if (!take_range(reader))
        return garbage(err, "its ranges are none");
    if (!read_pack_head(reader))
        return garbage(err, "its pack has no head");
    if (reader->lo < reader->next)
        return garbage(err, "its ranges and its pack do not fit");
    return SHOAL_OK;
}

static bool read_one(struct shoal_record_reader *records, struct shoal_outcome *outcome) {
    return read_reason(records, &outcome->reason) &&
           read_amount(records, &outcome->attempt) &&
           read_amount(records, &outcome->wall_us) &&
           read_amount(records, &outcome->cpu_us) &&
           read_amount(records, &outcome->rss_kb) &&
           shoal_record_read_int(records, &outcome->code) &&
           shoal_record_read_bytes(records, &outcome->result, &outcome->result_len);
}

/* The head of an element for many, of which each gets an even share of the times. */
static bool read_many(struct shoal_record_reader *records,
                      struct shoal_entry_reader *reader) {
    struct shoal_outcome *each = &reader->each;
    const char *results;
    size_t len;
    int64_t n;
    *each = (struct shoal_outcome){.reason = SHOAL_REASON_OK};
    if (!read_amount(records, &n) || n == 0 || n > INDEX_MAX - reader->next ||
        !read_amount(records, &each->attempt) || !read_amount(records, &each->wall_us) ||
        !read_amount(records, &each->cpu_us) || !read_amount(records, &each->rss_kb) ||
        !shoal_record_read_bytes(records, &results, &len))
        return false;
    each->wall_us /= n;
    each->cpu_us /= n;
    reader->many_left = n;
    shoal_record_reader_init(&reader->many, results, len);
    return true;
}

bool shoal_element_check(struct shoal_record_reader *reader, int64_t *ret_tasks,
                         enum shoal_reason *ret_reason) {
    struct shoal_entry_reader many = {.next = 0};
    struct shoal_outcome outcome = {.reason = SHOAL_REASON_OK};
    size_t n;
    if (!shoal_record_read_array(reader, &n) ||
        !(n == OUTCOME_FIELDS ? read_one(reader, &outcome)
                              : n == MANY_FIELDS && read_many(reader, &many)))
        return false;
    *ret_tasks = n == OUTCOME_FIELDS ? 1 : many.many_left;
    *ret_reason = outcome.reason;
    for (int64_t i = 0; i < many.many_left; i++) {
        if (!shoal_record_read_bytes(&many.many, &outcome.result, &outcome.result_len))
            return false;
    }
    return many.many.at == many.many.end;
}

/* The next element: *outcome is that of one task, unless many_left tells of many. */
static bool read_element(struct shoal_entry_reader *reader,
                         struct shoal_outcome *outcome) {
    struct shoal_record_reader records;
    size_t n;
    shoal_record_reader_init(&records, reader->at, (size_t)(reader->end - reader->at));
    if (!shoal_record_read_array(&records, &n) ||
        !(n == OUTCOME_FIELDS ? read_one(&records, outcome)
                              : n == MANY_FIELDS && read_many(&records, reader)))
        return false;
    reader->left--;
    reader->at = records.at;
    return true;
}

/* The next task of an element for many. */
static bool read_next_of_many(struct shoal_entry_reader *reader,
                              struct shoal_outcome *outcome) {
    *outcome = reader->each;
    if (!shoal_record_read_bytes(&reader->many, &outcome->result, &outcome->result_len))
        return false;
    reader->many_left--;
    return reader->many_left > 0 || reader->many.at == reader->many.end;
}

static bool read_outcome(struct shoal_entry_reader *reader,
                         struct shoal_outcome *outcome) {
    if (reader->many_left == 0 && !read_element(reader, outcome))
        return false;
    return reader->many_left == 0 || read_next_of_many(reader, outcome);
}

enum shoal_status shoal_entry_next(struct shoal_entry_reader *reader, bool *ret_more,
                                   int64_t *ret_index, struct shoal_outcome *ret_outcome,
                                   struct shoal_error *err) {
    while (reader->left > 0 || reader->many_left > 0) {
        if (!read_outcome(reader, ret_outcome))
            return garbage(err, "an outcome in it is none");
        int64_t index = reader->next++;
        if (index < reader->lo)
            continue;
        if (index + 1 == reader->hi && !take_range(reader))
            return garbage(err, "its ranges are none");
        *ret_more = true;
        *ret_index = index;
        return SHOAL_OK;
    }
    if (reader->at != reader->end || reader->lo != INDEX_MAX)
        return garbage(err, "its ranges and its pack do not fit");
    *ret_more = false;
    return SHOAL_OK;
}
