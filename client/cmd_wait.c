#include "client/stall.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"

#include <stdio.h>
#include <string.h>

static int64_t timeout_ms;
static bool timeout_given;

static const struct shoal_option options[] = {
    {.name = "timeout",
     .letter = 't',
     .type = SHOAL_OPTION_DURATION,
     .value = &timeout_ms,
     .given = &timeout_given,
     .argument = "TIME",
     .least = "0s",
     .most = "3650d",
     .help = "wait so long at most, then exit with status 4"},
    {.name = NULL},
};

/* As `status --json` tells of it: nothing of it runs. */
static enum shoal_status print_job(const struct shoal_job *job, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    shoal_row_init(&row);
    enum shoal_status status = shoal_job_row(job, &row, err);
    if (status == SHOAL_OK)
        status = shoal_row_add(&row, "running", strlen("running"), SHOAL_CELL_JSON, "[]",
                               2, err);
    if (status == SHOAL_OK) {
        shoal_print_json(&row);
        fflush(stdout);
    }
    return status;
}

enum { LOOK_MS = 2000 }; /* between two looks whether a job stands still */

/* Says so once when the job is held. */
static void look_at_hold(struct shoal_use *use, const char *id, bool *said) {
    struct shoal_job job;
    if (*said || shoal_describe(use->client, id, &job, NULL) != SHOAL_OK || !job.held)
        return;
    shoal_say_held(&job);
    *said = true;
}

/* Waits for one job until `end_ms`; *all_ok becomes false when it did not succeed. Redis
 * may be away meanwhile. */
static enum shoal_status wait_for(struct shoal_use *use, const char *word, int64_t end_ms,
                                  bool *all_ok, struct shoal_error *err) {
    char id[SHOAL_ID_LEN + 1];
    struct shoal_job job;
    bool held_said = false;
    struct shoal_stall stall = {.progress = NULL};
    enum shoal_status status = shoal_use_find(use, word, id, err);
    while (status == SHOAL_OK) {
        struct shoal_error why = {.status = SHOAL_OK};
        int64_t left = end_ms - shoal_now_ms();
        left = left < 0 ? 0 : left > LOOK_MS ? LOOK_MS : left;
        status = shoal_wait(use->client, id, left, &job, &why);
        if (status == SHOAL_OK) {
            *all_ok = *all_ok && job.state == SHOAL_JOB_SUCCEEDED;
            shoal_say_damaged(&job);
            return shoal_cli.json ? print_job(&job, err) : SHOAL_OK;
        }
        bool goes_on = status == SHOAL_LOST || status == SHOAL_TIMEOUT;
        if (!goes_on || shoal_now_ms() >= end_ms)
            return shoal_error_set(err, status, "%s", why.text);
        if (status == SHOAL_LOST)
            shoal_client_pause(use->client, 500);
        look_at_hold(use, id, &held_said);
        shoal_stall_look(&stall, use, id);
        status = SHOAL_OK;
    }
    return status;
}

static int wait_command(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    bool all_ok = true;
    int64_t end_ms = timeout_given ? shoal_now_ms() + timeout_ms : INT64_MAX;
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    for (int i = 0; i < n && status == SHOAL_OK; i++)
        status = wait_for(&use, words[i], end_ms, &all_ok, &err);
    if (status != SHOAL_OK)
        return shoal_cli_fail(&err);
    return all_ok ? SHOAL_EXIT_OK : SHOAL_EXIT_FAILED;
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_wait = {
    .name = "wait",
    .usage = "[--timeout TIME] JOB...",
    .summary = "wait until jobs have ended",
    .details = "Exit status: 0 all succeeded, 1 some did not, 4 the time is over. With "
               "--json each job\n"
               "is told of when it has ended, as by 'shoal status --json'.",
    .tables = tables,
    .reads = true,
    .words_least = 1,
    .words_most = -1,
    .takes_jobs = true,
    .run = wait_command,
};
