#include "client/client_private.h"

#include "broker/outcome.h"
#include "common/cleanup.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Entries are asked for by the bytes that the last ones had. */
enum { ENTRIES_MOST = 64, BATCH_BYTES = 8 << 20 };

/* Between two looks at Redis. While results come in, a look costs it the same for many;
 * while none do, a few looks are quick and then they become rare. */
enum { QUICK_LOOKS = 16, PAUSE_LEAST_MS = 1, PAUSE_FLOW_MS = 25, PAUSE_MOST_MS = 250 };

struct shoal_results {
    struct shoal_client *client;
    char job[13];
    struct shoal_job now;        /* as of the last look */
    struct shoal_letter *letter; /* tells of the end, and holds the only entry; or NULL */
    redisReply *entries;         /* the batch at hand, or NULL … */
    int64_t asked;               /* … and how many it could have had */
    size_t at;                   /* the next entry of it */
    int64_t position;            /* entries done with, the trimmed ones included */
    struct shoal_entry_reader reader;
    bool reading;   /* the entry before `at` still has outcomes */
    int empty;      /* looks in a row that found nothing */
    int64_t due_ms; /* the next look */
};

/* What a letter says of the job; the rest is not known. */
static void read_letter(struct shoal_results *results) {
    const struct shoal_letter *letter = results->letter;
    struct shoal_job *now = &results->now;
    now->state = letter->state;
    now->total = letter->total;
    now->ok = letter->ok;
    now->failed = letter->failed;
    now->cancelled = letter->cancelled;
    now->queued = now->delayed = now->leased = 0;
}

/* Looks for a letter that has all there is. */
static bool find_letter(struct shoal_results *results) {
    if (results->position > 0 || results->letter != NULL)
        return false;
    struct shoal_letter *letter =
        shoal_mailbox_take(results->client->mailbox, results->job);
    if (letter == NULL || letter->entry == NULL) {
        results->due_ms = letter == NULL ? results->due_ms : 0;
        free(letter);
        return false;
    }
    results->letter = letter;
    read_letter(results);
    return true;
}

/* It was submitted by this client, which is told of news and of its end: there is nothing
 * to look for before. */
static bool is_expected(struct shoal_results *results) {
    const struct shoal_mailbox *mailbox = results->client->mailbox;
    const struct shoal_expected *expected = shoal_mailbox_expects(mailbox, results->job);
    if (expected == NULL)
        return false;
    results->now.total = expected->total;
    results->due_ms = expected->due_ms;
    snprintf(results->now.waiter, sizeof(results->now.waiter), "%s",
             shoal_mailbox_name(mailbox));
    return true;
}

/* What the last look has shown, for iterators of that job to come. */
static void note_look(const struct shoal_results *results) {
    struct shoal_mailbox *mailbox = results->client->mailbox;
    struct shoal_expected *expected = shoal_mailbox_expects(mailbox, results->job);
    if (shoal_job_state_is_final(results->now.state))
        shoal_mailbox_seen(mailbox, results->job);
    else if (expected != NULL)
        expected->due_ms = results->due_ms;
}

static enum shoal_status create(struct shoal_client *client, const char *job, bool looks,
                                struct shoal_results **ret_results,
                                struct shoal_error *err) {
    struct shoal_results *results = calloc(1, sizeof(*results));
    if (results == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for results");
    results->client = client;
    snprintf(results->job, sizeof(results->job), "%s", job);
    snprintf(results->now.id, sizeof(results->now.id), "%s", job);
    if (looks || !(find_letter(results) || is_expected(results))) {
        enum shoal_status status = shoal_describe(client, job, &results->now, err);
        if (status != SHOAL_OK) {
            free(results);
            return status;
        }
        results->position = results->now.trimmed;
    }
    *ret_results = results;
    return SHOAL_OK;
}

enum shoal_status shoal_results_create(struct shoal_client *client, const char *job,
                                       struct shoal_results **ret_results,
                                       struct shoal_error *err) {
    return create(client, job, false, ret_results, err);
}

enum shoal_status shoal_results_open(struct shoal_client *client, const char *job,
                                     struct shoal_results **ret_results,
                                     struct shoal_error *err) {
    return create(client, job, true, ret_results, err);
}

void shoal_results_destroy(struct shoal_results *results) {
    if (results == NULL)
        return;
    freeReplyObject(results->entries);
    free(results->letter);
    free(results);
}

int64_t shoal_results_position(const struct shoal_results *results) {
    return results->position;
}

const struct shoal_job *shoal_results_job(const struct shoal_results *results) {
    return &results->now;
}

/* Whether there may be more behind the batch at hand. */
static bool is_full(const struct shoal_results *results) {
    return results->entries->elements == (size_t)results->asked;
}

/* Twice as many as the last time, as far as they have a few MiB together. */
static int64_t next_size(const struct shoal_results *results) {
    size_t bytes = 1, n = results->entries == NULL ? 0 : results->entries->elements;
    for (size_t i = 0; i < n; i++)
        bytes += results->entries->element[i]->len;
    int64_t most = n == 0 ? ENTRIES_MOST : (int64_t)(BATCH_BYTES / (bytes / n + 1));
    int64_t wanted = results->asked * 2;
    wanted = wanted < most ? wanted : most;
    return wanted < 1 ? 1 : wanted > ENTRIES_MOST ? ENTRIES_MOST : wanted;
}

static int64_t next_pause(struct shoal_results *results) {
    if (is_full(results))
        return 0; /* there may be more already */
    if (results->entries->elements > 0) {
        results->empty = 0;
        return PAUSE_FLOW_MS;
    }
    if (results->empty < QUICK_LOOKS + 8)
        results->empty++;
    if (shoal_client_is_told(results->client, &results->now))
        return PAUSE_MOST_MS;
    int doublings = results->empty - QUICK_LOOKS;
    int64_t pause = doublings <= 0 ? PAUSE_LEAST_MS : PAUSE_LEAST_MS << doublings;
    return pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS;
}

/* The next batch of entries; none is fine. Whether the job had ended is asked before, so
 * that nothing can come behind a batch that is not full of an ended job. */
static enum shoal_status fetch(struct shoal_results *results, struct shoal_error *err) {
    results->asked = next_size(results);
    freeReplyObject(results->entries);
    results->entries = NULL;
    results->at = 0;
    enum shoal_status status =
        shoal_describe(results->client, results->job, &results->now, err);
    if (status != SHOAL_OK)
        return status;
    if (results->position < results->now.trimmed)
        results->position = results->now.trimmed; /* others took them */
    status =
        shoal_queue_results(&results->client->queue, results->job, results->position,
                            results->now.trimmed, results->asked, &results->entries, err);
    if (status != SHOAL_OK)
        return status;
    results->due_ms = shoal_now_ms() + next_pause(results);
    note_look(results);
    return SHOAL_OK;
}

/* Whether the batch at hand was the last. */
static bool has_ended(const struct shoal_results *results) {
    if (results->letter != NULL)
        return results->position > 0;
    return results->entries != NULL && !is_full(results) &&
           shoal_job_state_is_final(results->now.state);
}

/* Until the next look is due, the caller's time is over, or there is mail. A job of
 * which the client is told is looked at as soon as there is news, if there may be any
 * before its end. */
static void wait_for_more(struct shoal_results *results, int64_t end_ms) {
    int64_t until = results->due_ms <= end_ms ? results->due_ms : end_ms;
    int64_t ms = until - shoal_now_ms();
    if (shoal_client_is_told(results->client, &results->now)) {
        bool came = shoal_mailbox_wait(results->client->mailbox, ms > 0 ? ms : 0);
        if (came && results->now.total != 1)
            results->due_ms = 0;
    } else if (ms > 0) {
        shoal_client_pause(results->client, ms);
    }
}

/* Opens the letter's entry, or the next one of the batch. */
static enum shoal_status open_entry(struct shoal_results *results,
                                    struct shoal_error *err) {
    const struct shoal_letter *letter = results->letter;
    results->reading = true;
    if (letter != NULL)
        return shoal_entry_begin(&results->reader, letter->entry, letter->len, err);
    const redisReply *entry = results->entries->element[results->at++];
    if (entry->type != REDIS_REPLY_STRING)
        return shoal_error_set(err, SHOAL_GARBAGE, "the results of job %s are garbled",
                               results->job);
    return shoal_entry_begin(&results->reader, entry->str, entry->len, err);
}

/* Whether an entry is there that was not opened. */
static bool has_entry(const struct shoal_results *results) {
    if (results->letter != NULL)
        return results->position == 0;
    return results->entries != NULL && results->at < results->entries->elements;
}

static void fill(const struct shoal_results *results, int64_t index,
                 const struct shoal_outcome *outcome, struct shoal_result *result) {
    *result = (struct shoal_result){
        .index = index,
        .ok = outcome->reason == SHOAL_REASON_OK,
        .reason = shoal_reason_name(outcome->reason),
        .attempt = outcome->attempt,
        .code = outcome->code,
        .wall_us = outcome->wall_us,
        .cpu_us = outcome->cpu_us,
        .rss_kb = outcome->rss_kb,
        .worker = results->reader.worker,
        .worker_len = results->reader.worker_len,
        .bytes = outcome->result,
        .len = outcome->result_len,
    };
}

/* The next outcome of the batch at hand. *ret_found is false when it is used up. */
static enum shoal_status take(struct shoal_results *results, bool *ret_found,
                              struct shoal_result *ret_result, struct shoal_error *err) {
    *ret_found = false;
    for (;;) {
        if (!results->reading) {
            if (!has_entry(results))
                return SHOAL_OK;
            enum shoal_status status = open_entry(results, err);
            if (status != SHOAL_OK)
                return status;
        }
        struct shoal_outcome outcome;
        int64_t index = 0;
        enum shoal_status status =
            shoal_entry_next(&results->reader, ret_found, &index, &outcome, err);
        if (status != SHOAL_OK)
            return status;
        if (*ret_found) {
            fill(results, index, &outcome, ret_result);
            return SHOAL_OK;
        }
        results->reading = false;
        results->position++;
    }
}

/* The next outcome, when there is none in hand. */
static enum shoal_status find_next(struct shoal_results *results, int64_t timeout_ms,
                                   bool *ret_more, struct shoal_result *ret_result,
                                   struct shoal_error *err) {
    bool found = false;
    int64_t end_ms = shoal_deadline_ms(timeout_ms);
    for (;;) {
        enum shoal_status status = SHOAL_OK;
        wait_for_more(results, end_ms);
        if (timeout_ms == 0 && results->entries == NULL)
            results->due_ms = 0; /* who does not wait wants to know what there is */
        if (!find_letter(results) && results->due_ms <= shoal_now_ms())
            status = fetch(results, err);
        if (status == SHOAL_OK)
            status = take(results, &found, ret_result, err);
        *ret_more = found || !has_ended(results);
        if (status != SHOAL_OK || found || !*ret_more)
            return status;
        if (end_ms <= shoal_now_ms() && results->due_ms > end_ms)
            return shoal_error_set(err, SHOAL_TIMEOUT, "job %s has no more results yet",
                                   results->job);
    }
}

/* A program calls it for millions of results, which most often are there. */
enum shoal_status shoal_results_next(struct shoal_results *results, int64_t timeout_ms,
                                     bool *ret_more, struct shoal_result *ret_result,
                                     struct shoal_error *err) {
    bool found = false;
    enum shoal_status status = take(results, &found, ret_result, err);
    *ret_more = found || !has_ended(results);
    if (status != SHOAL_OK || found || !*ret_more)
        return status;
    return find_next(results, timeout_ms, ret_more, ret_result, err);
}

enum shoal_status shoal_results_acknowledge(struct shoal_results *results, bool take_them,
                                            struct shoal_error *err) {
    int64_t trimmed = 0;
    return shoal_queue_acknowledge(&results->client->queue, results->job,
                                   results->position, take_them, &trimmed, err);
}
