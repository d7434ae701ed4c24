/* list and status: jobs, a line each. */
#include "client/cli.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- what running tasks say of themselves */

struct told {
    struct shoal_running *tasks;
    size_t n;
};

static void told_cleanup(struct told *told) {
    free(told->tasks);
}

/* What was told at the last heartbeat may be over. */
static bool is_of(const struct shoal_running *task, const struct shoal_job *job) {
    return strcmp(task->job, job->id) == 0 && !shoal_job_state_is_final(job->state);
}

/* As the cell `running` of --json: an array of objects. */
static enum shoal_status add_running(const struct told *told, const struct shoal_job *job,
                                     struct shoal_row *row, struct shoal_error *err) {
    json_t *all = json_array();
    for (size_t i = 0; i < told->n; i++) {
        const struct shoal_running *task = &told->tasks[i];
        if (is_of(task, job))
            json_array_append_new(all, json_pack("{s:I, s:s, s:f, s:s%}", "task",
                                                 (json_int_t)task->index, "worker",
                                                 task->worker, "progress", task->fraction,
                                                 "text", task->text, strlen(task->text)));
    }
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *text = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(all);
    if (text == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for progress");
    return shoal_row_add(row, "running", strlen("running"), SHOAL_CELL_JSON, text,
                         strlen(text), err);
}

/* As lines behind the table. */
static void print_running(const struct told *told, const struct shoal_job *jobs,
                          size_t n) {
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < told->n; i++) {
            const struct shoal_running *task = &told->tasks[i];
            if (is_of(task, &jobs[j]))
                printf("%s task %" PRId64 " on %s: %3.0f %% %s\n", task->job, task->index,
                       task->worker, task->fraction * 100, task->text);
        }
    }
}

static enum shoal_status print_jobs(const struct shoal_job *jobs, size_t n,
                                    const struct told *told, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_table_cleanup) struct shoal_table *table = NULL;
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    shoal_row_init(&row);
    enum shoal_status status = shoal_list_table(&table, err);
    for (size_t i = 0; i < n && status == SHOAL_OK; i++) {
        status = shoal_job_row(&jobs[i], &row, err);
        if (status == SHOAL_OK && told != NULL && shoal_cli.json)
            status = add_running(told, &jobs[i], &row, err);
        if (status == SHOAL_OK)
            status = shoal_table_add(table, &row, err);
    }
    if (status == SHOAL_OK)
        status = shoal_table_end(table, err);
    if (status == SHOAL_OK && n == 0 && !shoal_cli.json)
        puts("there are no jobs");
    if (status == SHOAL_OK && told != NULL && !shoal_cli.json)
        print_running(told, jobs, n);
    for (size_t i = 0; i < n && told != NULL; i++) {
        if (jobs[i].held)
            shoal_say_held(&jobs[i]);
        shoal_say_damaged(&jobs[i]);
    }
    return status;
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
        status = print_jobs(jobs, found, NULL, &err);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

/* Without words: what has not ended; if there is nothing, the newest. */
static enum shoal_status status_of_all(struct shoal_use *use, const struct told *told,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_job *jobs = NULL;
    size_t n = 0, unfinished = 0;
    enum shoal_status status = shoal_list(use->client, SHOAL_LOOK_MOST, &jobs, &n, err);
    if (status != SHOAL_OK)
        return status;
    for (size_t i = 0; i < n; i++) {
        if (!shoal_job_state_is_final(jobs[i].state))
            jobs[unfinished++] = jobs[i];
    }
    return print_jobs(jobs, unfinished > 0 ? unfinished : n > 0, told, err);
}

static enum shoal_status status_of_some(struct shoal_use *use, int n, char **words,
                                        const struct told *told,
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
    return status == SHOAL_OK ? print_jobs(jobs, (size_t)n, told, err) : status;
}

static int show_status(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    SHOAL_CLEANUP(told_cleanup) struct told told = {.n = 0};
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = shoal_queue_running(&use.client->queue, &told.tasks, &told.n, &err);
    if (status == SHOAL_OK)
        status = n == 0 ? status_of_all(&use, &told, &err)
                        : status_of_some(&use, n, words, &told, &err);
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
    .details = "Without a JOB: those of the newest 10,000 that have not ended, else the "
               "newest. Counters\nare tasks; "
               "rate is tasks a second since the job began. What functions tell of their "
               "progress\nfollows, as of their worker's last heartbeat.",
    .reads = true,
    .words_most = -1,
    .takes_jobs = true,
    .run = show_status,
};
