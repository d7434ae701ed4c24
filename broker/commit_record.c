#include "broker/commit_record.h"

#include "common/id.h"

#include <string.h>

enum { FIELDS = 11, WORDS_A_FAILURE = 4 };

#define INDEX_MAX (INT64_C(1) << 53)

/* ---- writing */

static void write_range(struct shoal_buffer *buffer, const struct shoal_commit *commit,
                        int64_t hi, int64_t rest) {
    shoal_record_array(buffer, FIELDS);
    shoal_record_text(buffer, commit->job);
    shoal_record_text(buffer, commit->lease);
    shoal_record_int(buffer, commit->lo);
    shoal_record_int(buffer, hi);
    shoal_record_int(buffer, rest);
    shoal_record_int(buffer, commit->over);
}

static void write_outcomes(struct shoal_buffer *buffer, int64_t work_us, int64_t failures,
                           const struct shoal_buffer *failed, size_t elements,
                           const struct shoal_buffer *outcomes) {
    shoal_record_int(buffer, work_us);
    shoal_record_int(buffer, failures);
    shoal_record_bytes(buffer, failed->data, failed->len);
    shoal_record_int(buffer, (int64_t)elements);
    shoal_record_bytes(buffer, outcomes->data, outcomes->len);
}

void shoal_commit_write(struct shoal_buffer *buffer, const struct shoal_commit *commit) {
    static const struct shoal_buffer nothing;
    if (!shoal_commit_is_whole(commit)) {
        write_range(buffer, commit, commit->lo, commit->lo);
        write_outcomes(buffer, 0, 0, &nothing, 0, &nothing);
        return;
    }
    write_range(buffer, commit, commit->hi, commit->rest);
    write_outcomes(buffer, commit->work_us, commit->failures, &commit->failed.words,
                   commit->elements, &commit->outcomes);
}

/* ---- reading */

static bool read_text(struct shoal_record_reader *reader, char *text, size_t room) {
    const char *bytes;
    size_t len;
    if (!shoal_record_read_bytes(reader, &bytes, &len) || len >= room ||
        memchr(bytes, '\0', len) != NULL)
        return false;
    memcpy(text, bytes, len);
    text[len] = '\0';
    return true;
}

static bool read_bounded(struct shoal_record_reader *reader, int64_t least, int64_t most,
                         int64_t *ret_value) {
    int64_t value;
    if (!shoal_record_read_int(reader, &value) || value < least || value > most)
        return false;
    *ret_value = value;
    return true;
}

/* As workers name them: letters, digits and '.'. */
static bool lease_is_valid(const char *name) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.";
    return *name != '\0' && name[strspn(name, letters)] == '\0';
}

static bool read_range(struct shoal_record_reader *reader, struct shoal_commit *commit) {
    int64_t over = 0;
    size_t n;
    bool good = shoal_record_read_array(reader, &n) && n == FIELDS &&
                read_text(reader, commit->job, sizeof(commit->job)) &&
                shoal_id_is_valid(commit->job) &&
                read_text(reader, commit->lease, sizeof(commit->lease)) &&
                lease_is_valid(commit->lease) &&
                read_bounded(reader, 0, INDEX_MAX, &commit->lo) &&
                read_bounded(reader, commit->lo, INDEX_MAX, &commit->hi) &&
                read_bounded(reader, -1, INDEX_MAX, &commit->rest) &&
                read_bounded(reader, 0, 1, &over);
    commit->over = over == 1;
    return good;
}

/* The words go into a command as they are, so they are looked at one by one. */
static bool read_failures(struct shoal_record_reader *reader,
                          struct shoal_commit *commit) {
    struct shoal_record_reader words;
    const char *bytes;
    size_t len;
    if (!read_bounded(reader, 0, commit->hi - commit->lo, &commit->failures) ||
        !shoal_record_read_bytes(reader, &bytes, &len))
        return false;
    shoal_record_reader_init(&words, bytes, len);
    for (int64_t i = 0; i < commit->failures; i++) {
        for (int k = 0; k < WORDS_A_FAILURE; k++) {
            if (!shoal_record_read_bytes(&words, &bytes, &len))
                return false;
            shoal_request_bytes(&commit->failed, bytes, len);
        }
    }
    return words.at == words.end;
}

static bool read_elements(struct shoal_record_reader *reader,
                          struct shoal_commit *commit) {
    struct shoal_record_reader elements;
    const char *bytes;
    size_t len;
    int64_t n = 0;
    if (!read_bounded(reader, 0, commit->hi - commit->lo, &n) ||
        !shoal_record_read_bytes(reader, &bytes, &len) || len > commit->outcomes.limit)
        return false;
    commit->elements = (size_t)n;
    shoal_buffer_add(&commit->outcomes, bytes, len);
    shoal_record_reader_init(&elements, bytes, len);
    while (n-- > 0) {
        if (!shoal_record_skip(&elements))
            return false;
    }
    return elements.at == elements.end;
}

enum shoal_status shoal_commit_read(struct shoal_record_reader *reader,
                                    struct shoal_commit *ret_commit,
                                    struct shoal_error *err) {
    struct shoal_commit commit;
    shoal_commit_init(&commit, "", "", 0);
    bool good = read_range(reader, &commit) &&
                read_bounded(reader, 0, INT64_MAX, &commit.work_us) &&
                read_failures(reader, &commit) && read_elements(reader, &commit);
    bool fits = !commit.failed.words.failed && !commit.outcomes.failed;
    if (good && fits) {
        *ret_commit = commit;
        return SHOAL_OK;
    }
    shoal_commit_finish(&commit);
    if (good)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a commit");
    return shoal_error_set(err, SHOAL_GARBAGE, "this is no commit of a worker's");
}
