/* How lists, times and words look. */
#include "client/cli.h"

#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void shoal_list_row(struct shoal_row *row) {
    shoal_row_clear(row);
    row->ok = true;
}

enum shoal_status shoal_list_table(struct shoal_table **ret_table,
                                   struct shoal_error *err) {
    const struct shoal_table_options options = {
        .format = shoal_cli.json ? SHOAL_TABLE_JSONL : SHOAL_TABLE_TEXT,
        .out = stdout,
        .terminal = shoal_stdout_is_terminal(),
    };
    return shoal_table_create(&options, ret_table, err);
}

void shoal_print_json(const struct shoal_row *row) {
    struct shoal_buffer json;
    shoal_buffer_init(&json, 64 << 20);
    shoal_row_add_object(row, &json);
    puts(shoal_buffer_text(&json));
    shoal_buffer_finish(&json);
}

bool shoal_stdout_is_terminal(void) {
    return isatty(STDOUT_FILENO) == 1;
}

bool shoal_stderr_is_terminal(void) {
    return isatty(STDERR_FILENO) == 1;
}

bool shoal_colour(void) {
    const char *no = getenv("NO_COLOR");
    return shoal_stderr_is_terminal() && (no == NULL || no[0] == '\0');
}

void shoal_time_print(int64_t ms, char *text) {
    struct tm time;
    time_t seconds = ms / 1000;
    text[0] = '\0';
    if (ms > 0 && gmtime_r(&seconds, &time) != NULL)
        strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &time);
}

void shoal_span_print(int64_t ms, char *text) {
    int64_t s = (ms + 500) / 1000;
    if (ms < 0)
        snprintf(text, 24, "?");
    else if (ms < 1000)
        snprintf(text, 24, "%" PRId64 "ms", ms);
    else if (s < 60)
        snprintf(text, 24, "%" PRId64 "s", s);
    else if (s < 3600)
        snprintf(text, 24, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, 24, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, 24, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
}

void shoal_shell_quote(struct shoal_buffer *text, const char *word) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=@%+,-";
    if (word[0] != '\0' && strspn(word, plain) == strlen(word)) {
        shoal_buffer_add_text(text, word);
        return;
    }
    shoal_buffer_add_char(text, '\'');
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            shoal_buffer_add_text(text, "'\\''");
        else
            shoal_buffer_add_char(text, *word);
    }
    shoal_buffer_add_char(text, '\'');
}

double shoal_job_rate(const struct shoal_job *job) {
    int64_t end = job->ended_ms > 0 ? job->ended_ms : shoal_wall_ms();
    int64_t ran_ms = end - job->started_ms;
    if (job->started_ms == 0 || ran_ms <= 0)
        return 0;
    return (double)(job->ok + job->failed) * 1000.0 / (double)ran_ms;
}

int64_t shoal_job_left_ms(const struct shoal_job *job) {
    double rate = shoal_job_rate(job);
    int64_t left = job->queued + job->delayed + job->leased;
    if (left == 0)
        return 0;
    if (rate <= 0 || (double)left / rate > 1e12)
        return -1;
    return (int64_t)((double)left * 1000.0 / rate);
}

struct named_number {
    const char *name;
    int64_t value;
};

static enum shoal_status add_numbers(struct shoal_row *row,
                                     const struct named_number *numbers, size_t n,
                                     struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < n && status == SHOAL_OK; i++)
        status = shoal_row_add_int(row, numbers[i].name, numbers[i].value, err);
    return status;
}

static enum shoal_status add_words(struct shoal_row *row, const struct shoal_job *job,
                                   struct shoal_error *err) {
    const struct {
        const char *name;
        const char *value;
    } words[] = {
        {"id", job->id},
        {"name", job->name},
        {"queue", job->queue},
        {"state", shoal_job_state_name(job->state)},
    };
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words) && status == SHOAL_OK; i++) {
        if (words[i].value[0] == '\0' && !shoal_cli.json)
            status = shoal_row_add_missing(row, words[i].name, err);
        else
            status =
                shoal_row_add(row, words[i].name, strlen(words[i].name), SHOAL_CELL_TEXT,
                              words[i].value, strlen(words[i].value), err);
    }
    return status;
}

/* Only in JSON: what would make a table too wide. */
static enum shoal_status add_details(struct shoal_row *row, const struct shoal_job *job,
                                     struct shoal_error *err) {
    const struct named_number numbers[] = {
        {"created_ms", job->created_ms},
        {"start_ms", job->start_ms},
        {"started_ms", job->started_ms},
        {"ended_ms", job->ended_ms},
        {"work_us", job->work_us},
        {"retries", job->policy.retries},
        {"max_fails", job->policy.max_fails},
        {"max_running", job->policy.max_running},
        {"keep_ms", job->policy.keep_ms},
        {"held", job->held},
    };
    char seed[24];
    snprintf(seed, sizeof(seed), "%" PRIu64, job->seed);
    enum shoal_status status =
        add_numbers(row, numbers, sizeof(numbers) / sizeof(*numbers), err);
    if (status == SHOAL_OK)
        status = shoal_row_add_text(row, "seed", seed, err);
    if (status == SHOAL_OK)
        status = shoal_row_add_text(row, "owner", job->owner, err);
    if (status == SHOAL_OK && job->reason[0] != '\0')
        status = shoal_row_add_text(row, "reason", job->reason, err);
    return status;
}

static enum shoal_status add_pace(struct shoal_row *row, const struct shoal_job *job,
                                  struct shoal_error *err) {
    char rate[32], left[24];
    snprintf(rate, sizeof(rate), "%.3g", shoal_job_rate(job));
    enum shoal_status status = shoal_row_add_text(row, "rate", rate, err);
    if (status != SHOAL_OK || shoal_job_state_is_final(job->state))
        return status;
    if (shoal_cli.json)
        return shoal_row_add_int(row, "eta_ms", shoal_job_left_ms(job), err);
    shoal_span_print(shoal_job_left_ms(job), left);
    return shoal_row_add(row, "eta", 3, SHOAL_CELL_TEXT, left, strlen(left), err);
}

enum shoal_status shoal_job_row(const struct shoal_job *job, struct shoal_row *row,
                                struct shoal_error *err) {
    const struct named_number counters[] = {
        {"priority", job->policy.priority},
        {"total", job->total},
        {"queued", job->queued},
        {"delayed", job->delayed},
        {"leased", job->leased},
        {"ok", job->ok},
        {"failed", job->failed},
        {"cancelled", job->cancelled},
    };
    shoal_list_row(row);
    enum shoal_status status = add_words(row, job, err);
    if (status == SHOAL_OK)
        status = add_numbers(row, counters, sizeof(counters) / sizeof(*counters), err);
    if (status == SHOAL_OK)
        status = add_pace(row, job, err);
    return status == SHOAL_OK && shoal_cli.json ? add_details(row, job, err) : status;
}

void shoal_say_held(const struct shoal_job *job) {
    shoal_cli_say("shoal: job %s is held: its unread results have %" PRId64
                  " MiB, nobody "
                  "reads them; 'shoal results %s --take --follow' does, and it goes on",
                  job->id, job->stored >> 20, job->id);
}

bool shoal_say_damaged(const struct shoal_job *job) {
    if (strcmp(job->reason, "damaged") != 0)
        return false;
    shoal_cli_say("shoal: job %s was set aside, something in Redis that belongs to it is "
                  "damaged; 'shoal audit' tells what, 'shoal forget %s' takes it away",
                  job->id, job->id);
    return true;
}
