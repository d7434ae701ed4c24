/* The table of a job: as it stands, or as it grows; by task; in groups. */
#include "client/group.h"
#include "client/report.h"
#include "client/sorter.h"
#include "client/stall.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TAKE_MS = 500 };

static struct {
    int format;
    const char *output;
    const char *by;
    bool failed;
    bool sort;
    bool follow;
    bool take;
} config;

static const struct shoal_option options[] = {
    {.name = "format",
     .letter = 'f',
     .type = SHOAL_OPTION_CHOICE,
     .value = &config.format,
     .argument = "FORMAT",
     .fallback = "table",
     .choices = shoal_table_formats,
     .help = "table, csv or jsonl"},
    {.name = "output",
     .letter = 'o',
     .type = SHOAL_OPTION_TEXT,
     .value = &config.output,
     .argument = "FILE",
     .help = "write there instead of stdout"},
    {.name = "by",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.by,
     .argument = "NAME[,NAME]",
     .help = "a line a group: n, failed, and mean, standard deviation and 95 % "
             "interval of each numeric column"},
    {.name = "failed",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.failed,
     .help = "only tasks that failed"},
    {.name = "sort",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.sort,
     .help = "by task, instead of in the order of completion"},
    {.name = "follow",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.follow,
     .help = "go on until the job has ended"},
    {.name = "take",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.take,
     .help = "remove from Redis what was printed"},
    {.name = NULL},
};

struct results {
    struct shoal_use use;
    char id[SHOAL_ID_LEN + 1];
    struct shoal_report *report;
    struct shoal_table *table;
    struct shoal_columns columns;
    struct shoal_row row;
    FILE *out;
    int64_t taken_ms; /* when what was printed was taken last */
    bool held_said;
    struct shoal_stall stall;
    int64_t end; /* entries that were there at the first pass */
};

/* What is done with a row. */
typedef enum shoal_status (*row_fn)(struct results *results, void *owner,
                                    struct shoal_error *err);

/* With --take, what was printed goes as the rows come, so that a long stream fills
 * nothing and a job that was held goes on. Rows that wait for their columns are not
 * printed yet. */
static enum shoal_status take_some(struct results *results, struct shoal_error *err) {
    int64_t wait = 0, now = shoal_now_ms();
    if (!config.take || results->table == NULL || now - results->taken_ms < TAKE_MS)
        return SHOAL_OK;
    results->taken_ms = now;
    enum shoal_status status = shoal_table_tick(results->table, &wait, err);
    return status == SHOAL_OK && shoal_table_is_through(results->table)
               ? shoal_report_acknowledge(results->report, true, err)
               : status;
}

/* None for a while: what was printed gets out, and a job that is held says so, once. */
static enum shoal_status pass_time(struct results *results, struct shoal_error *err) {
    const struct shoal_job *job = shoal_report_job(results->report);
    int64_t left = 0;
    if (job->held && !results->held_said && (!config.take || results->table == NULL)) {
        shoal_say_held(job);
        results->held_said = true;
    }
    shoal_stall_look(&results->stall, &results->use, results->id);
    enum shoal_status status =
        results->table == NULL ? SHOAL_OK : shoal_table_tick(results->table, &left, err);
    return status == SHOAL_OK ? take_some(results, err) : status;
}

/* Calls `each` with every row that is there. With `wait`, until the job has ended. */
static enum shoal_status each_row(struct results *results, bool wait, row_fn each,
                                  void *owner, struct shoal_error *err) {
    for (;;) {
        struct shoal_error why = {.status = SHOAL_OK};
        bool more = false;
        if (results->end >= 0 && shoal_report_position(results->report) >= results->end)
            return SHOAL_OK;
        enum shoal_status status = shoal_report_next(results->report, wait ? 200 : 0,
                                                     &more, &results->row, &why);
        if (status == SHOAL_TIMEOUT && wait) {
            shoal_error_clear(&why);
            status = pass_time(results, &why);
            if (status == SHOAL_OK)
                continue;
        }
        if (status == SHOAL_TIMEOUT || (status == SHOAL_OK && !more))
            return SHOAL_OK;
        if (status == SHOAL_OK && !(config.failed && results->row.ok))
            status = each(results, owner, &why);
        if (status != SHOAL_OK)
            return shoal_error_set(err, status, "%s", why.text);
        if (results->table != NULL && shoal_table_reader_left(results->table))
            return SHOAL_OK;
        status = take_some(results, err);
        if (status != SHOAL_OK)
            return status;
    }
}

static enum shoal_status open_report(struct results *results, struct shoal_error *err) {
    shoal_report_destroy(results->report);
    results->report = NULL;
    return shoal_report_create(results->use.client, results->id, &results->report, err);
}

static enum shoal_status open_table(struct results *results,
                                    const struct shoal_columns *columns,
                                    struct shoal_error *err) {
    const struct shoal_table_options table = {
        .format = (enum shoal_table_format)config.format,
        .out = results->out,
        .terminal = results->out == stdout && shoal_stdout_is_terminal(),
        .columns = columns,
    };
    return shoal_table_create(&table, &results->table, err);
}

static enum shoal_status print_row(struct results *results, void *owner,
                                   struct shoal_error *err) {
    (void)owner;
    return shoal_table_add(results->table, &results->row, err);
}

static enum shoal_status note_columns(struct results *results, void *owner,
                                      struct shoal_error *err) {
    (void)owner;
    return shoal_columns_add(&results->columns, &results->row, err);
}

/* The columns that every row has come first, also when there is no row. */
static enum shoal_status note_head(struct results *results, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row head;
    shoal_row_init(&head);
    enum shoal_status status =
        shoal_row_maker_head(shoal_report_maker(results->report), &head, err);
    return status == SHOAL_OK ? shoal_columns_add(&results->columns, &head, err) : status;
}

/* ---- in the order of completion */

/* While the job runs: rows as they come, the columns of the first. */
static enum shoal_status stream(struct results *results, struct shoal_error *err) {
    enum shoal_status status = open_table(results, NULL, err);
    if (status == SHOAL_OK)
        status = each_row(results, true, print_row, NULL, err);
    return status == SHOAL_OK ? shoal_table_end(results->table, err) : status;
}

/* What is there: a first pass for the columns, a second for the rows. */
static enum shoal_status print_twice(struct results *results, struct shoal_error *err) {
    enum shoal_status status = note_head(results, err);
    if (status == SHOAL_OK)
        status = each_row(results, false, note_columns, NULL, err);
    results->end = shoal_report_position(results->report);
    if (status == SHOAL_OK)
        status = open_report(results, err);
    if (status == SHOAL_OK)
        status = open_table(results, &results->columns, err);
    if (status == SHOAL_OK)
        status = each_row(results, false, print_row, NULL, err);
    return status == SHOAL_OK ? shoal_table_end(results->table, err) : status;
}

/* ---- by task, each once */

static enum shoal_status sort_row(struct results *results, void *owner,
                                  struct shoal_error *err) {
    struct shoal_sorter *sorter = owner;
    struct shoal_buffer bytes;
    shoal_buffer_init(&bytes, SHOAL_RECORD_MAX);
    shoal_row_write(&results->row, &bytes);
    enum shoal_status status = shoal_buffer_check(&bytes, "a row", err);
    if (status == SHOAL_OK)
        status = shoal_sorter_add(sorter, results->row.index, bytes.data, bytes.len, err);
    shoal_buffer_finish(&bytes);
    return status;
}

/* Rows come out of the sorter by task, of two for one task the later; the columns are
 * known then. */
static enum shoal_status each_sorted(struct results *results, struct shoal_sorter *sorter,
                                     row_fn each, void *owner, struct shoal_error *err) {
    enum shoal_status status = shoal_sorter_start(sorter, err);
    while (status == SHOAL_OK) {
        bool more = false;
        int64_t task = 0;
        const char *bytes = NULL;
        size_t len = 0;
        status = shoal_sorter_next(sorter, &more, &task, &bytes, &len, err);
        if (status != SHOAL_OK || !more)
            return status;
        status = shoal_row_read(&results->row, bytes, len, err);
        if (status == SHOAL_OK && !(config.failed && results->row.ok))
            status = each(results, owner, err);
    }
    return status;
}

static enum shoal_status note_and_sort(struct results *results, void *owner,
                                       struct shoal_error *err) {
    enum shoal_status status = note_columns(results, NULL, err);
    return status == SHOAL_OK ? sort_row(results, owner, err) : status;
}

/* All rows into the sorter, whatever --failed says: a later row may replace
 * a failed one. */
static enum shoal_status sort_all(struct results *results, struct shoal_sorter *sorter,
                                  struct shoal_error *err) {
    bool failed = config.failed;
    config.failed = false;
    enum shoal_status status = note_head(results, err);
    if (status == SHOAL_OK)
        status = each_row(results, config.follow, note_and_sort, sorter, err);
    config.failed = failed;
    return status;
}

static enum shoal_status print_sorted(struct results *results, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_sorter_cleanup) struct shoal_sorter *sorter = NULL;
    enum shoal_status status = shoal_sorter_create(SHOAL_SORTER_MEMORY, &sorter, err);
    if (status == SHOAL_OK)
        status = sort_all(results, sorter, err);
    if (status == SHOAL_OK)
        status = open_table(results, &results->columns, err);
    if (status == SHOAL_OK)
        status = each_sorted(results, sorter, print_row, NULL, err);
    return status == SHOAL_OK ? shoal_table_end(results->table, err) : status;
}

/* ---- in groups */

static enum shoal_status group_row(struct results *results, void *owner,
                                   struct shoal_error *err) {
    return shoal_groups_add(owner, &results->row, err);
}

static enum shoal_status gather_groups(struct results *results,
                                       struct shoal_groups *groups,
                                       struct shoal_error *err) {
    if (!shoal_report_job(results->report)->retried)
        return each_row(results, config.follow, group_row, groups, err);
    SHOAL_CLEANUP(shoal_sorter_cleanup) struct shoal_sorter *sorter = NULL;
    enum shoal_status status = shoal_sorter_create(SHOAL_SORTER_MEMORY, &sorter, err);
    if (status == SHOAL_OK)
        status = sort_all(results, sorter, err);
    return status == SHOAL_OK ? each_sorted(results, sorter, group_row, groups, err)
                              : status;
}

static enum shoal_status print_groups(struct results *results, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_groups_cleanup) struct shoal_groups *groups = NULL;
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row head;
    const struct shoal_table_options table = {
        .format = (enum shoal_table_format)config.format,
        .out = results->out,
        .terminal = results->out == stdout && shoal_stdout_is_terminal(),
    };
    shoal_row_init(&head);
    enum shoal_status status = shoal_groups_create(config.by, &groups, err);
    if (status == SHOAL_OK)
        status = shoal_row_maker_head(shoal_report_maker(results->report), &head, err);
    if (status == SHOAL_OK)
        status = shoal_groups_know(groups, &head, err);
    if (status == SHOAL_OK)
        status = gather_groups(results, groups, err);
    return status == SHOAL_OK ? shoal_groups_print(groups, &table, err) : status;
}

/* ---- the command */

static enum shoal_status check_options(struct shoal_error *err) {
    if (config.by != NULL && (config.sort || config.take))
        return shoal_error_set(err, SHOAL_INVALID,
                               "--by goes neither with --sort nor with --take");
    if (config.take && config.failed)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "--take with --failed would remove rows that were not printed");
    return SHOAL_OK;
}

static enum shoal_status open_all(struct results *results, const char *word,
                                  struct shoal_error *err) {
    enum shoal_status status = check_options(err);
    if (status == SHOAL_OK)
        status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &results->use, err);
    if (status == SHOAL_OK)
        status = shoal_use_find(&results->use, word, results->id, err);
    if (status == SHOAL_OK)
        status = open_report(results, err);
    if (status != SHOAL_OK)
        return status;
    results->out = config.output == NULL ? stdout : fopen(config.output, "we");
    if (results->out == NULL)
        return shoal_error_set(err, SHOAL_INVALID, "cannot write '%.200s': %s",
                               config.output, strerror(errno));
    return SHOAL_OK;
}

static enum shoal_status print_all(struct results *results, struct shoal_error *err) {
    const struct shoal_job *job = shoal_report_job(results->report);
    bool ended = shoal_job_state_is_final(job->state);
    if (job->trimmed > 0)
        shoal_cli_say("shoal: results of job %s that were read before are taken out of "
                      "Redis and not shown",
                      job->id);
    if (config.by != NULL)
        return print_groups(results, err);
    if (config.sort || job->retried)
        return print_sorted(results, err);
    return config.follow && !ended ? stream(results, err) : print_twice(results, err);
}

static void clean_up(struct results *results) {
    shoal_table_destroy(results->table);
    shoal_columns_finish(&results->columns);
    shoal_row_finish(&results->row);
    shoal_report_destroy(results->report);
    if (results->out != NULL && results->out != stdout)
        fclose(results->out);
    shoal_use_end(&results->use);
}

/* What was taken could not be made whole by putting the spec back. */
static enum shoal_status check_spec(const struct results *results, bool *ret_whole,
                                    struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = shoal_report_check(results->report, &why);
    *ret_whole = status == SHOAL_OK;
    if (status == SHOAL_OK)
        return SHOAL_OK;
    if (config.take)
        return shoal_error_set(err, status,
                               "%s; nothing is taken, without --take its "
                               "rows are shown",
                               why.text);
    shoal_cli_say("shoal: %s; its rows are shown without their parameters", why.text);
    return SHOAL_OK;
}

static int results_command(int n, char **words) {
    SHOAL_CLEANUP(clean_up) struct results results = {.end = -1};
    struct shoal_error err = {.status = SHOAL_OK};
    bool whole = true;
    (void)n;
    if (shoal_cli.json)
        config.format = SHOAL_TABLE_JSONL;
    shoal_row_init(&results.row);
    shoal_columns_init(&results.columns);
    enum shoal_status status = open_all(&results, words[0], &err);
    if (status == SHOAL_OK)
        status = check_spec(&results, &whole, &err);
    if (status == SHOAL_OK)
        status = print_all(&results, &err);
    if (status == SHOAL_OK && config.take)
        status = shoal_report_acknowledge(results.report, true, &err);
    if (status != SHOAL_OK)
        return shoal_cli_fail(&err);
    return shoal_cli_status(whole ? SHOAL_OK : SHOAL_GARBAGE);
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_results = {
    .name = "results",
    .usage = "[OPTION]... JOB",
    .summary = "print the table of a job, also while it runs",
    .details =
        "Rows come in the order of completion, or by task with --sort (in "
        "bounded memory),\n"
        "and of a job that was retried always by task, each once. When Redis has lost or "
        "garbled what\n"
        "the job says it wants, rows have no parameters, and the exit status is 3.",
    .tables = tables,
    .reads = true,
    .words_least = 1,
    .words_most = 1,
    .takes_jobs = true,
    .run = results_command,
};
