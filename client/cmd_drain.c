/* drain: workers take nothing more and end when what they run has ended. */
#include "client/cli.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 200,
    AWAY_MS = 500,
    LOST_MS = 5000, /* so long a worker may need to come back to a Redis that was away */
};

static const char *host;
static bool waits;
static int64_t timeout_ms;
static bool timeout_given;

static const struct shoal_option options[] = {
    {.name = "host",
     .type = SHOAL_OPTION_TEXT,
     .value = &host,
     .argument = "HOST",
     .help = "all workers of a host, by the name that 'shoal workers' shows"},
    {.name = "wait",
     .letter = 'w',
     .type = SHOAL_OPTION_FLAG,
     .value = &waits,
     .help = "until they have ended"},
    {.name = "timeout",
     .letter = 't',
     .type = SHOAL_OPTION_DURATION,
     .value = &timeout_ms,
     .given = &timeout_given,
     .argument = "TIME",
     .least = "0s",
     .most = "3650d",
     .help = "wait so long at most, then exit with status 4; they go on draining"},
    {.name = NULL},
};

/* Those that were told. */
struct told {
    struct shoal_worker_info *workers;
    size_t n;
    size_t left;     /* of them */
    int64_t lost_ms; /* since when all who are left are lost; 0: they are not */
    int64_t running; /* tasks of those */
};

static void told_cleanup(struct told *told) {
    free(told->workers);
}

static bool is_named(const struct shoal_worker_info *worker, const char *name) {
    return strcmp(worker->name, name) == 0 || strcmp(worker->session, name) == 0;
}

static bool is_meant(const struct shoal_worker_info *worker, int n, char **words) {
    if (host != NULL && strcmp(worker->host, host) == 0)
        return true;
    for (int i = 0; i < n; i++) {
        if (is_named(worker, words[i]))
            return true;
    }
    return false;
}

/* Whoever was named is there. */
static enum shoal_status check(const struct told *all, int n, char **words,
                               struct shoal_error *err) {
    for (int i = 0; i < n; i++) {
        size_t at = 0;
        while (at < all->n && !is_named(&all->workers[at], words[i]))
            at++;
        if (at == all->n)
            return shoal_error_set(
                err, SHOAL_UNKNOWN,
                "there is no worker '%.100s' ('shoal workers' shows them)", words[i]);
    }
    size_t at = 0;
    while (host != NULL && at < all->n && strcmp(all->workers[at].host, host) != 0)
        at++;
    if (host != NULL && at == all->n)
        return shoal_error_set(
            err, SHOAL_UNKNOWN,
            "no worker is on a host '%.100s' ('shoal workers' shows them)", host);
    return SHOAL_OK;
}

/* Keeps those that are meant, and tells them. */
static enum shoal_status tell(struct shoal_use *use, int n, char **words,
                              struct told *told, struct shoal_error *err) {
    struct shoal_queue *queue = &use->client->queue;
    enum shoal_status status = shoal_queue_workers(queue, &told->workers, &told->n, err);
    if (status == SHOAL_OK)
        status = check(told, n, words, err);
    size_t kept = 0;
    for (size_t i = 0; i < told->n && status == SHOAL_OK; i++) {
        if (!is_meant(&told->workers[i], n, words))
            continue;
        status = shoal_queue_drain(queue, told->workers[i].session, err);
        told->workers[kept++] = told->workers[i];
        if (status == SHOAL_UNKNOWN) { /* it has just ended */
            shoal_error_clear(err);
            status = SHOAL_OK;
        }
    }
    told->n = kept;
    return status;
}

static const struct shoal_worker_info *find(const struct shoal_worker_info *workers,
                                            size_t n, const char *session) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(workers[i].session, session) == 0)
            return &workers[i];
    }
    return NULL;
}

/* How many are left. */
static enum shoal_status look(struct shoal_use *use, struct told *told,
                              struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_worker_info *now = NULL;
    size_t n = 0;
    enum shoal_status status = shoal_queue_workers(&use->client->queue, &now, &n, err);
    if (status != SHOAL_OK)
        return status;
    size_t lost = 0;
    told->left = 0;
    told->running = 0;
    for (size_t i = 0; i < told->n; i++) {
        const struct shoal_worker_info *worker = find(now, n, told->workers[i].session);
        told->left += worker != NULL;
        told->workers[i].lost = worker != NULL && worker->lost;
        lost += told->workers[i].lost;
        told->workers[i].running = worker == NULL ? 0 : worker->running;
        told->running += told->workers[i].running;
        told->workers[i].draining = worker != NULL;
    }
    if (lost == 0 || lost < told->left)
        told->lost_ms = 0;
    else if (told->lost_ms == 0)
        told->lost_ms = shoal_now_ms();
    return SHOAL_OK;
}

/* A line when something has changed. */
static void say_progress(const struct told *told, struct told *said) {
    if (told->left == said->left && told->running == said->running)
        return;
    *said = *told;
    if (told->left > 0)
        shoal_cli_say("shoal: draining: workers=%zu running=%" PRId64, told->left,
                      told->running);
}

/* Nobody keeps house, so that no worker is alive, and those that were told never end. */
static bool all_are_lost(const struct told *told) {
    return told->lost_ms != 0 && shoal_now_ms() - told->lost_ms > LOST_MS;
}

static void say_lost(const struct told *told) {
    for (size_t i = 0; i < told->n; i++) {
        if (told->workers[i].lost)
            shoal_cli_say("shoal: worker '%s' on %s is lost: it did not end, its session "
                          "is over; what it ran goes back when a worker or shoal-broker "
                          "runs",
                          told->workers[i].name, told->workers[i].host);
    }
}

/* Redis may be away meanwhile. */
static enum shoal_status wait_for_end(struct shoal_use *use, struct told *told,
                                      struct shoal_error *err) {
    int64_t end_ms = timeout_given ? shoal_now_ms() + timeout_ms : INT64_MAX;
    struct told said = {.left = 0};
    for (;;) {
        struct shoal_error why = {.status = SHOAL_OK};
        enum shoal_status status = look(use, told, &why);
        if (status != SHOAL_OK && status != SHOAL_LOST && status != SHOAL_TIMEOUT)
            return shoal_error_set(err, status, "%s", why.text);
        if (status == SHOAL_OK && told->left == 0)
            return SHOAL_OK;
        if (status == SHOAL_OK && all_are_lost(told)) {
            say_lost(told);
            return SHOAL_OK;
        }
        if (status == SHOAL_OK)
            say_progress(told, &said);
        if (shoal_now_ms() >= end_ms)
            return shoal_error_set(err, SHOAL_TIMEOUT,
                                   "%zu of %zu workers have not ended; they go on "
                                   "draining, and run %" PRId64 " task%s",
                                   told->left, told->n, told->running,
                                   shoal_plural(told->running));
        shoal_client_pause(use->client, status == SHOAL_OK ? LOOK_MS : AWAY_MS);
    }
}

static enum shoal_status print_worker(const struct shoal_worker_info *worker,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    shoal_row_init(&row);
    enum shoal_status status = shoal_row_add_text(&row, "name", worker->name, err);
    if (status == SHOAL_OK)
        status = shoal_row_add_text(&row, "host", worker->host, err);
    if (status == SHOAL_OK)
        status = shoal_row_add_text(&row, "session", worker->session, err);
    if (status == SHOAL_OK)
        status = shoal_row_add_text(&row, "state",
                                    worker->lost       ? "lost"
                                    : worker->draining ? "draining"
                                                       : "ended",
                                    err);
    if (status == SHOAL_OK)
        status = shoal_row_add_int(&row, "running", worker->running, err);
    if (status == SHOAL_OK)
        shoal_print_json(&row);
    return status;
}

/* What is known of them now. */
static enum shoal_status print(struct shoal_use *use, struct told *told,
                               struct shoal_error *err) {
    enum shoal_status status = shoal_cli.json && !waits ? look(use, told, err) : SHOAL_OK;
    for (size_t i = 0; i < told->n && shoal_cli.json && status == SHOAL_OK; i++)
        status = print_worker(&told->workers[i], err);
    fflush(stdout);
    return status;
}

static int drain(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use = {.client = NULL};
    SHOAL_CLEANUP(told_cleanup) struct told told = {.n = 0};
    struct shoal_error err = {.status = SHOAL_OK}, late = {.status = SHOAL_OK};
    enum shoal_status status = SHOAL_OK;
    if (n == 0 && host == NULL)
        status =
            shoal_error_set(&err, SHOAL_INVALID,
                            "'drain' needs the names of workers, or --host HOST; see "
                            "'shoal drain --help'");
    if (status == SHOAL_OK && timeout_given && !waits)
        status = shoal_error_set(&err, SHOAL_INVALID, "--timeout needs --wait");
    if (status == SHOAL_OK)
        status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = tell(&use, n, words, &told, &err);
    if (status == SHOAL_OK && waits && wait_for_end(&use, &told, &late) != SHOAL_OK &&
        late.status != SHOAL_TIMEOUT)
        err = late;
    if (err.status == SHOAL_OK)
        status = print(&use, &told, &err);
    if (err.status == SHOAL_OK && late.status != SHOAL_OK)
        err = late;
    return err.status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_drain = {
    .name = "drain",
    .usage = "[--wait [--timeout TIME]] WORKER... | --host HOST",
    .summary = "let workers finish what they run, and end",
    .details =
        "They take no more tasks, what was not started goes back to the queue, and "
        "each ends when\n"
        "what it runs has ended. With --json each worker is told of, with --wait "
        "as it is behind that.\n"
        "A worker whose session is over has ended too, and is said to be lost.\n"
        "Exit status: 0 they were told (with --wait: have ended), 4 the time is "
        "over.",
    .tables = tables,
    .reads = true,
    .words_most = -1,
    .run = drain,
};
