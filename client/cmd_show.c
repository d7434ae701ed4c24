/* Everything about one task. */
#include "client/report.h"
#include "client/task.h"
#include "client/text.h"

#include "broker/outcome.h"
#include "common/cleanup.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS_AT_ONCE = 500, PAGE_MAX = 64 << 20 };

/* ---- in words */

/* Prints what was gathered, all of it or nothing, and empties the page. */
static enum shoal_status print_page(struct shoal_buffer *page, struct shoal_error *err) {
    enum shoal_status status = shoal_buffer_check(page, "what there is to show", err);
    if (status == SHOAL_OK)
        fputs(shoal_buffer_text(page), stdout);
    shoal_buffer_clear(page);
    return status;
}

static void add_text(struct shoal_buffer *page, const char *label, const char *text,
                     size_t len) {
    struct shoal_buffer safe;
    shoal_buffer_init(&safe, 1 << 20);
    for (const char *at = text, *end = text + len; at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end == NULL ? end : line_end;
        shoal_buffer_add_text(&safe, at == text ? "" : "\n             ");
        shoal_text_escape(&safe, at, (size_t)(line_end - at));
        at = line_end + 1;
    }
    shoal_buffer_add_format(page, "%-12s %s\n", label, shoal_buffer_text(&safe));
    page->failed = page->failed || safe.failed;
    shoal_buffer_finish(&safe);
}

static void add_command(struct shoal_buffer *page, char *const *argv) {
    struct shoal_buffer line;
    shoal_buffer_init(&line, 1 << 20);
    for (char *const *word = argv; *word != NULL; word++) {
        if (word != argv)
            shoal_buffer_add_char(&line, ' ');
        shoal_shell_quote(&line, *word);
    }
    add_text(page, "command", shoal_buffer_text(&line), line.len);
    page->failed = page->failed || line.failed;
    shoal_buffer_finish(&line);
}

static void add_limits(struct shoal_buffer *page, const struct shoal_limits *limits) {
    struct shoal_buffer text;
    shoal_buffer_init(&text, 256);
    shoal_limits_print(limits, &text);
    if (text.len > 0)
        add_text(page, "limits", text.data, text.len);
    page->failed = page->failed || text.failed;
    shoal_buffer_finish(&text);
}

static void add_warning(struct shoal_buffer *page, const struct shoal_warning *warning) {
    char text[SHOAL_WARNING_ROOM];
    if (warning->signal == 0)
        return;
    shoal_warning_print(warning, text, sizeof(text));
    add_text(page, "signal", text, strlen(text));
}

/* The name that workers give the key is theirs: here are its digits. */
static void add_signer(struct shoal_buffer *page, const struct shoal_one_task *one) {
    char until[24];
    shoal_time_print(one->valid_until_ms, until);
    if (one->signed_by[0] != '\0')
        shoal_buffer_add_format(page, "%-12s %s\n%-12s %s\n", "signed by", one->signed_by,
                                "valid until", until);
    else if (one->invalid.status != SHOAL_OK)
        shoal_buffer_add_format(page, "%-12s not valid here: %s\n", "signed by",
                                one->invalid.text);
}

/* What the spec says. */
static void add_spec(struct shoal_buffer *page, const struct shoal_one_task *one) {
    if (shoal_sweep_repetitions(one->spec.sweep) > 1)
        shoal_buffer_add_format(page, "%-12s %" PRId64 "\n", "rep",
                                one->parameters.repetition);
    for (size_t i = 0; i < one->parameters.n; i++) {
        const char *name = one->parameters.names[i];
        add_text(page, name[0] == '\0' ? "argument" : name, one->parameters.values[i],
                 strlen(one->parameters.values[i]));
    }
    add_command(page, one->argv);
    add_text(page, "directory", one->spec.directory, strlen(one->spec.directory));
    add_limits(page, &one->spec.limits);
    add_warning(page, &one->spec.warning);
}

static void add_task(struct shoal_buffer *page, const struct shoal_one_task *one) {
    shoal_buffer_add_format(page, "%-12s %s%s%s\n", "job", one->job.id,
                            one->job.name[0] == '\0' ? "" : " ", one->job.name);
    shoal_buffer_add_format(page, "%-12s %" PRId64 "\n", "task", one->task.index);
    shoal_buffer_add_format(page, "%-12s %" PRIu64 "\n", "seed", one->task.seed);
    if (one->damage.status == SHOAL_OK)
        add_spec(page, one);
    add_signer(page, one);
}

static void add_row(struct shoal_buffer *page, const struct shoal_row *row) {
    size_t from = shoal_row_find(row, "status");
    for (size_t i = from == SHOAL_NOT_THERE ? 0 : from; i < row->n; i++) {
        if (row->cells[i].type != SHOAL_CELL_MISSING)
            add_text(page, shoal_row_name(row, i), shoal_row_text(row, i),
                     row->cells[i].len);
    }
}

/* Without "SIG"; NULL: it has none. */
static const char *name_of_signal(int64_t number) {
    return number > 0 && number < NSIG ? sigabbrev_np((int)number) : NULL;
}

static void add_attempt(struct shoal_buffer *page, const struct shoal_attempt *attempt) {
    char when[24], text[512];
    shoal_time_print(attempt->at_ms, when);
    shoal_buffer_add_format(page, "\nattempt %" PRId64 "\n", attempt->number);
    shoal_buffer_add_format(page, "  %-10s %s", "ended",
                            shoal_reason_name(attempt->reason));
    if (attempt->reason == SHOAL_REASON_EXIT || attempt->reason == SHOAL_REASON_SIGNAL)
        shoal_buffer_add_format(page, " %" PRId64, attempt->code);
    if (attempt->reason == SHOAL_REASON_SIGNAL && name_of_signal(attempt->code) != NULL)
        shoal_buffer_add_format(page, " (SIG%s)", name_of_signal(attempt->code));
    shoal_buffer_add_format(page, " at %s\n", when);
    snprintf(text, sizeof(text), "%.*s", (int)attempt->worker_len, attempt->worker);
    add_text(page, "  worker", text, strlen(text));
    if (attempt->wall_us > 0)
        shoal_buffer_add_format(page, "  %-10s %.3f s, %.3f s of CPU, %.1f MB\n", "took",
                                (double)attempt->wall_us / 1e6,
                                (double)attempt->cpu_us / 1e6,
                                (double)attempt->rss_kb / 1024);
    if (attempt->text_len > 0)
        add_text(page, "  stderr", attempt->text, attempt->text_len);
}

static enum shoal_status print_attempt(const struct shoal_attempt *attempt,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer page;
    shoal_buffer_init(&page, PAGE_MAX);
    add_attempt(&page, attempt);
    return print_page(&page, err);
}

/* ---- in JSON */

static void add_json_text(struct shoal_buffer *json, const char *text, size_t len) {
    struct shoal_buffer safe;
    shoal_buffer_init(&safe, 1 << 20);
    shoal_text_add_safe(&safe, text, len);
    shoal_text_quote(json, shoal_buffer_text(&safe), safe.len);
    shoal_buffer_finish(&safe);
}

static void add_json_parameters(struct shoal_buffer *json,
                                const struct shoal_parameters *parameters) {
    shoal_buffer_add_char(json, '{');
    for (size_t i = 0; i < parameters->n; i++) {
        const char *name = parameters->names[i];
        name = name[0] == '\0' ? "argument" : name;
        shoal_buffer_add_text(json, i == 0 ? "" : ",");
        add_json_text(json, name, strlen(name));
        shoal_buffer_add_char(json, ':');
        add_json_text(json, parameters->values[i], strlen(parameters->values[i]));
    }
    shoal_buffer_add_char(json, '}');
}

static void add_json_words(struct shoal_buffer *json, char *const *words) {
    for (size_t i = 0; words[i] != NULL; i++) {
        shoal_buffer_add_char(json, i == 0 ? '[' : ',');
        add_json_text(json, words[i], strlen(words[i]));
    }
    shoal_buffer_add_char(json, ']');
}

static void add_json_attempt(struct shoal_buffer *json,
                             const struct shoal_attempt *attempt) {
    shoal_buffer_add_format(json,
                            "{\"attempt\":%" PRId64 ",\"reason\":\"%s\",\"code\":%" PRId64
                            ",\"wall_us\":%" PRId64 ",\"cpu_us\":%" PRId64
                            ",\"rss_kb\":%" PRId64 ",\"at_ms\":%" PRId64 ",\"worker\":",
                            attempt->number, shoal_reason_name(attempt->reason),
                            attempt->code, attempt->wall_us, attempt->cpu_us,
                            attempt->rss_kb, attempt->at_ms);
    add_json_text(json, attempt->worker, attempt->worker_len);
    shoal_buffer_add_text(json, ",\"stderr\":");
    add_json_text(json, attempt->text, attempt->text_len);
    shoal_buffer_add_char(json, '}');
}

static void add_json_limits(struct shoal_buffer *json,
                            const struct shoal_limits *limits) {
    json_t *object = shoal_limits_write(limits);
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    shoal_buffer_add_text(json, text == NULL ? "null" : text);
    json_decref(object);
    free(text);
}

/* What the spec says; members without it are null. */
static void add_json_spec(struct shoal_buffer *json, const struct shoal_one_task *one) {
    if (one->damage.status != SHOAL_OK) {
        shoal_buffer_add_text(json, ",\"rep\":null,\"parameters\":null,\"command\":null,"
                                    "\"directory\":null,\"limits\":null");
        return;
    }
    shoal_buffer_add_format(
        json, ",\"rep\":%" PRId64 ",\"parameters\":", one->parameters.repetition);
    add_json_parameters(json, &one->parameters);
    shoal_buffer_add_text(json, ",\"command\":");
    add_json_words(json, one->argv);
    shoal_buffer_add_text(json, ",\"directory\":");
    add_json_text(json, one->spec.directory, strlen(one->spec.directory));
    shoal_buffer_add_text(json, ",\"limits\":");
    add_json_limits(json, &one->spec.limits);
}

/* `attempts`: objects with commas between them. */
static void print_json(const struct shoal_one_task *one, const struct shoal_row *row,
                       bool found, const struct shoal_buffer *attempts) {
    struct shoal_buffer json;
    shoal_buffer_init(&json, 64 << 20);
    shoal_buffer_add_format(&json,
                            "{\"job\":\"%s\",\"task\":%" PRId64 ",\"seed\":%" PRIu64,
                            one->job.id, one->task.index, one->task.seed);
    add_json_spec(&json, one);
    if (one->signed_by[0] != '\0')
        shoal_buffer_add_format(&json, ",\"signed_by\":\"%s\"", one->signed_by);
    if (one->invalid.status != SHOAL_OK) {
        shoal_buffer_add_text(&json, ",\"signature_invalid\":");
        add_json_text(&json, one->invalid.text, strlen(one->invalid.text));
    }
    shoal_buffer_add_text(&json, ",\"row\":");
    if (found)
        shoal_row_add_object(row, &json);
    else
        shoal_buffer_add_text(&json, "null");
    shoal_buffer_add_text(&json, ",\"attempts\":[");
    shoal_buffer_add(&json, shoal_buffer_text(attempts), attempts->len);
    shoal_buffer_add_text(&json, "]}");
    puts(shoal_buffer_text(&json));
    shoal_buffer_finish(&json);
}

/* ---- looking */

/* The last row of the task, if it has one. */
static enum shoal_status find_row(struct shoal_use *use, const struct shoal_one_task *one,
                                  struct shoal_row *ret_row, bool *ret_found,
                                  struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_report_cleanup) struct shoal_report *report = NULL;
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    struct shoal_buffer bytes;
    shoal_row_init(&row);
    shoal_buffer_init(&bytes, 64 << 20);
    *ret_found = false;
    enum shoal_status status =
        shoal_report_create(use->client, one->job.id, &report, err);
    while (status == SHOAL_OK) {
        struct shoal_error why = {.status = SHOAL_OK};
        bool more = false;
        status = shoal_report_next(report, 0, &more, &row, &why);
        if (status == SHOAL_TIMEOUT || (status == SHOAL_OK && !more)) {
            status = SHOAL_OK;
            break;
        }
        if (status != SHOAL_OK)
            shoal_error_set(err, status, "%s", why.text);
        if (status == SHOAL_OK && row.index == one->task.index) {
            shoal_buffer_clear(&bytes);
            shoal_row_write(&row, &bytes);
            *ret_found = true;
        }
    }
    if (status == SHOAL_OK && *ret_found)
        status = shoal_row_read(ret_row, bytes.data, bytes.len, err);
    shoal_buffer_finish(&bytes);
    return status;
}

/* Tells of the task's attempts, which are found by reading the whole list: as JSON, or
 * (NULL) on stdout in words. */
static enum shoal_status tell_attempts(struct shoal_use *use,
                                       const struct shoal_one_task *one,
                                       struct shoal_buffer *json,
                                       struct shoal_error *err) {
    for (int64_t from = 0;; from += ATTEMPTS_AT_ONCE) {
        SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *records = NULL;
        enum shoal_status status = shoal_queue_attempts(
            &use->client->queue, one->job.id, from, ATTEMPTS_AT_ONCE, &records, err);
        if (status != SHOAL_OK || records->elements == 0)
            return status;
        for (size_t i = 0; i < records->elements; i++) {
            const redisReply *record = records->element[i];
            struct shoal_attempt attempt;
            if (record->type != REDIS_REPLY_STRING ||
                shoal_attempt_read(record->str, record->len, &attempt, NULL) !=
                    SHOAL_OK ||
                one->task.index < attempt.lo || one->task.index >= attempt.hi)
                continue;
            if (json == NULL) {
                status = print_attempt(&attempt, err);
                if (status != SHOAL_OK)
                    return status;
                continue;
            }
            shoal_buffer_add_text(json, json->len == 0 ? "" : ",");
            add_json_attempt(json, &attempt);
        }
    }
}

/* A task that was cancelled has no row, whether it ran or not. */
static const char *why_no_outcome(const struct shoal_job *job) {
    if (!shoal_job_state_is_final(job->state))
        return "none yet";
    return job->trimmed == 0 ? "none: it was cancelled"
                             : "none is kept: it was taken, or the task was cancelled";
}

static enum shoal_status show_words(struct shoal_use *use,
                                    const struct shoal_one_task *one,
                                    const struct shoal_row *row, bool found,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer page;
    shoal_buffer_init(&page, PAGE_MAX);
    add_task(&page, one);
    if (found)
        add_row(&page, row);
    else
        shoal_buffer_add_format(&page, "%-12s %s\n", "outcome",
                                why_no_outcome(&one->job));
    enum shoal_status status = print_page(&page, err);
    return status == SHOAL_OK ? tell_attempts(use, one, NULL, err) : status;
}

static enum shoal_status show_json(struct shoal_use *use,
                                   const struct shoal_one_task *one,
                                   const struct shoal_row *row, bool found,
                                   struct shoal_error *err) {
    struct shoal_buffer attempts;
    shoal_buffer_init(&attempts, 32 << 20);
    enum shoal_status status = tell_attempts(use, one, &attempts, err);
    if (status == SHOAL_OK)
        print_json(one, row, found, &attempts);
    shoal_buffer_finish(&attempts);
    return status;
}

static int show(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    SHOAL_CLEANUP(shoal_one_task_finish) struct shoal_one_task one = {.argv = NULL};
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    struct shoal_error err = {.status = SHOAL_OK};
    bool found = false;
    (void)n;
    shoal_row_init(&row);
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = shoal_one_task_find(&use, words[0], words[1], &one, &err);
    if (status == SHOAL_OK)
        status = shoal_one_task_read(&use, &one, &err);
    if (status == SHOAL_OK)
        status = shoal_one_task_signer(&use, &one, &err);
    if (status == SHOAL_OK)
        status = find_row(&use, &one, &row, &found, &err);
    if (status == SHOAL_OK)
        status = shoal_cli.json ? show_json(&use, &one, &row, found, &err)
                                : show_words(&use, &one, &row, found, &err);
    if (status == SHOAL_OK && one.damage.status != SHOAL_OK)
        status = shoal_error_set(&err, SHOAL_GARBAGE,
                                 "%s; the task is shown without what that says",
                                 one.damage.text);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

const struct shoal_cli_command shoal_cmd_show = {
    .name = "show",
    .usage = "JOB TASK",
    .summary = "tell everything about one task",
    .details =
        "Parameters, command, outcome, and each attempt that did not succeed with its\n"
        "reason, worker, usage and the end of stderr. 'shoal replay' runs it here and "
        "now. When\n"
        "Redis has lost or garbled what the job says it wants, the rest is shown, and "
        "the\n"
        "exit status is 3.",
    .reads = true,
    .words_least = 2,
    .words_most = 2,
    .takes_jobs = true,
    .run = show,
};
