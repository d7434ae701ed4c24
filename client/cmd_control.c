/* cancel, retry, forget; pause, resume: what changes the course of things. */
#include "client/cli.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/number.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool kill_given;
static bool failed_only;
static bool forced;

static const struct shoal_option cancel_options[] = {
    {.name = "kill",
     .letter = 'k',
     .type = SHOAL_OPTION_FLAG,
     .value = &kill_given,
     .help = "end what runs at once, without its grace"},
    {.name = NULL},
};

static const struct shoal_option retry_options[] = {
    {.name = "failed",
     .type = SHOAL_OPTION_FLAG,
     .value = &failed_only,
     .help = "only what failed, not what was cancelled"},
    {.name = NULL},
};

static const struct shoal_option forget_options[] = {
    {.name = "force",
     .letter = 'f',
     .type = SHOAL_OPTION_FLAG,
     .value = &forced,
     .help = "also a job that has not ended or is damaged; what runs of it is ended"},
    {.name = NULL},
};

static enum shoal_status cancel_one(struct shoal_use *use, const char *id,
                                    struct shoal_error *err) {
    return shoal_cancel(use->client, id, kill_given, err);
}

static int cancel(int n, char **words) {
    return shoal_cli_each_job(n, words, cancel_one);
}

/* A retry needs workers, so a local cluster is started whole. */
static int retry(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_job job;
    char id[SHOAL_ID_LEN + 1];
    int64_t tasks = 0;
    (void)n;
    enum shoal_status status =
        shoal_use_begin(SHOAL_CLUSTER_WORK, "default", 0, &use, &err);
    if (status == SHOAL_OK)
        status = shoal_use_find(&use, words[0], id, &err);
    if (status == SHOAL_OK)
        status = shoal_describe(use.client, id, &job, &err);
    if (status == SHOAL_OK)
        status = shoal_retry(use.client, id, !failed_only, &tasks, &err);
    if (status != SHOAL_OK)
        return shoal_cli_fail(&err);
    shoal_state_remember_job(id);
    shoal_cli_say(tasks == 0 ? "shoal: job %s has nothing to retry"
                             : "shoal: job %s runs again for %" PRId64 " task%s",
                  id, tasks, shoal_plural(tasks));
    return SHOAL_EXIT_OK;
}

static enum shoal_status forget_one(struct shoal_use *use, const char *id,
                                    struct shoal_error *err) {
    return shoal_queue_forget(&use->client->queue, id, forced, err);
}

static int forget(int n, char **words) {
    return shoal_cli_each_job(n, words, forget_one);
}

static int set_paused(const char *queue, bool paused) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use = {.client = NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = SHOAL_OK;
    if (!shoal_name_is_valid(queue))
        status = shoal_error_set(
            &err, SHOAL_INVALID,
            "'%.100s' is no queue name: letters, digits, '.', '_' and '-', %d "
            "at most",
            queue, SHOAL_NAME_MAX);
    if (status == SHOAL_OK)
        status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = shoal_queue_pause(&use.client->queue, queue, paused, &err);
    if (status == SHOAL_OK)
        shoal_use_note_queue(&use, queue);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static int pause_queue(int n, char **words) {
    (void)n;
    return set_paused(words[0], true);
}

static int resume_queue(int n, char **words) {
    (void)n;
    return set_paused(words[0], false);
}

static const struct shoal_option *const cancel_tables[] = {cancel_options, NULL};
static const struct shoal_option *const retry_tables[] = {retry_options, NULL};
static const struct shoal_option *const forget_tables[] = {forget_options, NULL};

const struct shoal_cli_command shoal_cmd_cancel = {
    .name = "cancel",
    .usage = "[--kill] JOB...",
    .summary = "stop jobs: nothing new starts, what runs is told to stop",
    .tables = cancel_tables,
    .words_least = 1,
    .words_most = -1,
    .takes_jobs = true,
    .run = cancel,
};

const struct shoal_cli_command shoal_cmd_retry = {
    .name = "retry",
    .usage = "[--failed] JOB",
    .summary = "run what is not ok in an ended job again",
    .details =
        "Attempts go on counting. Of two rows for a task, 'results' shows the later.",
    .tables = retry_tables,
    .words_least = 1,
    .words_most = 1,
    .takes_jobs = true,
    .run = retry,
};

const struct shoal_cli_command shoal_cmd_forget = {
    .name = "forget",
    .usage = "[--force] JOB...",
    .summary = "take ended jobs and their results out of Redis",
    .details = "A job that is damaged ('shoal audit' tells) may never end, and is taken "
               "out by --force.",
    .tables = forget_tables,
    .words_least = 1,
    .words_most = -1,
    .takes_jobs = true,
    .run = forget,
};

const struct shoal_cli_command shoal_cmd_pause = {
    .name = "pause",
    .usage = "QUEUE",
    .summary = "hand out nothing more from a queue",
    .words_least = 1,
    .words_most = 1,
    .run = pause_queue,
};

const struct shoal_cli_command shoal_cmd_resume = {
    .name = "resume",
    .usage = "QUEUE",
    .summary = "let a paused queue go on",
    .words_least = 1,
    .words_most = 1,
    .run = resume_queue,
};
