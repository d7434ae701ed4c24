/* workers and queues: who works, and where work waits. */
#include "client/cli.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <string.h>

enum { FAIR, FIFO };

static int order;
static bool order_given;
static const char *const orders[] = {"fair", "fifo", NULL};

static const struct shoal_option queues_options[] = {
    {.name = "order",
     .type = SHOAL_OPTION_CHOICE,
     .value = &order,
     .given = &order_given,
     .argument = "ORDER",
     .fallback = "fair",
     .choices = orders,
     .help = "set the order of a QUEUE: fair, jobs of one priority share the fleet in "
             "turn; fifo, one after the other"},
    {.name = NULL},
};

/* A cell of a list: a text, or a number when the text is NULL. */
struct cell {
    const char *name;
    const char *text;
    int64_t number;
};

static enum shoal_status add_cells(struct shoal_table *table, struct shoal_row *row,
                                   const struct cell *cells, size_t n,
                                   struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    shoal_list_row(row);
    for (size_t i = 0; i < n && status == SHOAL_OK; i++) {
        const struct cell *cell = &cells[i];
        status = cell->text == NULL
                     ? shoal_row_add_int(row, cell->name, cell->number, err)
                     : shoal_row_add(row, cell->name, strlen(cell->name), SHOAL_CELL_TEXT,
                                     cell->text, strlen(cell->text), err);
    }
    return status == SHOAL_OK ? shoal_table_add(table, row, err) : status;
}

static enum shoal_status add_worker(struct shoal_table *table, struct shoal_row *row,
                                    const struct shoal_worker_info *worker,
                                    struct shoal_error *err) {
    char since[24];
    shoal_time_print(worker->since_ms, since);
    const struct cell cells[] = {
        {.name = "name", .text = worker->name},
        {.name = "host", .text = worker->host},
        {.name = "pid", .number = worker->pid},
        {.name = "slots", .number = worker->slots},
        {.name = "running", .number = worker->running},
        {.name = "queues", .text = worker->queues},
        {.name = "state",
         .text = worker->lost       ? "lost"
                 : worker->draining ? "draining"
                                    : "working"},
        {.name = "silent_ms", .number = worker->silent_ms < 0 ? 0 : worker->silent_ms},
        {.name = "since", .text = since},
        {.name = "version", .text = worker->version},
        {.name = "session", .text = worker->session},
    };
    return add_cells(table, row, cells, SHOAL_COUNT(cells), err);
}

static enum shoal_status print_workers(struct shoal_use *use, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_table_cleanup) struct shoal_table *table = NULL;
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_worker_info *workers = NULL;
    size_t n = 0;
    shoal_row_init(&row);
    enum shoal_status status =
        shoal_queue_workers(&use->client->queue, &workers, &n, err);
    if (status == SHOAL_OK)
        status = shoal_list_table(&table, err);
    for (size_t i = 0; i < n && status == SHOAL_OK; i++)
        status = add_worker(table, &row, &workers[i], err);
    if (status == SHOAL_OK && n == 0)
        shoal_cli_say("shoal: there are no workers; start one with %s",
                      use->cluster != NULL ? "'shoal up'" : "shoal-worker");
    return status == SHOAL_OK ? shoal_table_end(table, err) : status;
}

static enum shoal_status add_queue(struct shoal_table *table, struct shoal_row *row,
                                   const struct shoal_queue_info *queue,
                                   struct shoal_error *err) {
    const struct cell cells[] = {
        {.name = "name", .text = queue->name},
        {.name = "state", .text = queue->paused ? "paused" : "open"},
        {.name = "order", .text = queue->fifo ? "fifo" : "fair"},
        {.name = "ready_jobs", .number = queue->ready},
        {.name = "jobs", .number = queue->jobs},
        {.name = "ok", .number = queue->ok},
        {.name = "failed", .number = queue->failed},
        {.name = "cancelled", .number = queue->cancelled},
    };
    return add_cells(table, row, cells, SHOAL_COUNT(cells), err);
}

static enum shoal_status print_queues(struct shoal_use *use, const char *only,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_table_cleanup) struct shoal_table *table = NULL;
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_queue_info *queues = NULL;
    size_t n = 0, found = 0;
    shoal_row_init(&row);
    enum shoal_status status = shoal_queue_queues(&use->client->queue, &queues, &n, err);
    if (status == SHOAL_OK)
        status = shoal_list_table(&table, err);
    for (size_t i = 0; i < n && status == SHOAL_OK; i++) {
        if (only != NULL && strcmp(only, queues[i].name) != 0)
            continue;
        status = add_queue(table, &row, &queues[i], err);
        found++;
    }
    if (status == SHOAL_OK && only != NULL && found == 0)
        return shoal_error_set(err, SHOAL_UNKNOWN,
                               "there is no queue '%s' ('shoal queues' shows them)",
                               only);
    return status == SHOAL_OK ? shoal_table_end(table, err) : status;
}

static int workers(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    (void)n;
    (void)words;
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = print_workers(&use, &err);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static int queues_command(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use = {.client = NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = SHOAL_OK;
    if (order_given && n == 0)
        status =
            shoal_error_set(&err, SHOAL_INVALID, "--order needs the name of a queue");
    if (status == SHOAL_OK && n == 1 && !shoal_name_is_valid(words[0]))
        status = shoal_error_set(
            &err, SHOAL_INVALID,
            "'%.100s' is no queue name: letters, digits, '.', '_' and '-', %d "
            "at most",
            words[0], SHOAL_NAME_MAX);
    if (status == SHOAL_OK)
        status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK && order_given)
        status = shoal_queue_order(&use.client->queue, words[0], order == FIFO, &err);
    if (status == SHOAL_OK && order_given)
        shoal_use_note_queue(&use, words[0]);
    if (status == SHOAL_OK)
        status = print_queues(&use, n == 1 ? words[0] : NULL, &err);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static const struct shoal_option *const queues_tables[] = {queues_options, NULL};

const struct shoal_cli_command shoal_cmd_workers = {
    .name = "workers",
    .usage = "",
    .summary = "list the fleet",
    .reads = true,
    .run = workers,
};

const struct shoal_cli_command shoal_cmd_queues = {
    .name = "queues",
    .usage = "[--order fair|fifo] [QUEUE]",
    .summary = "list the queues, or set the order of one",
    .tables = queues_tables,
    .reads = true,
    .words_most = 1,
    .run = queues_command,
};
