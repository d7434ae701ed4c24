/* list and status: jobs, a line each. */
#include "client/cli.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <stdlib.h>

static int64_t limit;

static const struct shoal_option list_options[] = {
    {.name = "limit",
     .letter = 'l',
     .type = SHOAL_OPTION_INTEGER,
     .value = &limit,
     .argument = "N",
     .fallback = "50",
     .least = "1",
     .most = "100000000",
     .help = "the newest so many"},
    {.name = NULL},
};

static enum shoal_status print_jobs(const struct shoal_job *jobs, size_t n,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_table_cleanup) struct shoal_table *table = NULL;
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    shoal_row_init(&row);
    enum shoal_status status = shoal_list_table(&table, err);
    for (size_t i = 0; i < n && status == SHOAL_OK; i++) {
        status = shoal_job_row(&jobs[i], &row, err);
        if (status == SHOAL_OK)
            status = shoal_table_add(table, &row, err);
    }
    return status == SHOAL_OK ? shoal_table_end(table, err) : status;
}

static int list(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_job *jobs = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    size_t found = 0;
    (void)n;
    (void)words;
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = shoal_list(use.client, (size_t)limit, &jobs, &found, &err);
    if (status == SHOAL_OK)
        status = print_jobs(jobs, found, &err);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

/* Without words: what has not ended; if there is nothing, the newest. */
static enum shoal_status status_of_all(struct shoal_use *use, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_job *jobs = NULL;
    size_t n = 0, unfinished = 0;
    enum shoal_status status = shoal_list(use->client, SIZE_MAX, &jobs, &n, err);
    if (status != SHOAL_OK)
        return status;
    for (size_t i = 0; i < n; i++) {
        if (!shoal_job_state_is_final(jobs[i].state))
            jobs[unfinished++] = jobs[i];
    }
    return print_jobs(jobs, unfinished > 0 ? unfinished : n > 0, err);
}

static enum shoal_status status_of_some(struct shoal_use *use, int n, char **words,
                                        struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free)
    struct shoal_job *jobs = calloc((size_t)n, sizeof(*jobs));
    enum shoal_status status =
        jobs == NULL ? shoal_error_set(err, SHOAL_MEMORY, "no memory for jobs")
                     : SHOAL_OK;
    for (int i = 0; i < n && status == SHOAL_OK; i++) {
        char id[SHOAL_ID_LEN + 1];
        status = shoal_use_find(use, words[i], id, err);
        if (status == SHOAL_OK)
            status = shoal_describe(use->client, id, &jobs[i], err);
    }
    return status == SHOAL_OK ? print_jobs(jobs, (size_t)n, err) : status;
}

static int show_status(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status =
            n == 0 ? status_of_all(&use, &err) : status_of_some(&use, n, words, &err);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static const struct shoal_option *const list_tables[] = {list_options, NULL};

const struct shoal_cli_command shoal_cmd_list = {
    .name = "list",
    .usage = "[--limit N]",
    .summary = "list jobs, the newest first",
    .tables = list_tables,
    .reads = true,
    .run = list,
};

const struct shoal_cli_command shoal_cmd_status = {
    .name = "status",
    .usage = "[JOB]...",
    .summary = "show how far jobs are",
    .details =
        "Without a JOB: those that have not ended, else the newest. Counters are tasks;\n"
        "rate is tasks a second since the job began.",
    .reads = true,
    .words_most = -1,
    .takes_jobs = true,
    .run = show_status,
};
