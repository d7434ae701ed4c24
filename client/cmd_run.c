/* Submits, shows how far it is, prints the rows as they come. */
#include "client/function.h"
#include "client/interrupt.h"
#include "client/progress.h"
#include "client/report.h"
#include "client/stall.h"
#include "client/submission.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/number.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOOK_MS = 100,
    ACKNOWLEDGE_MS = 500,
    AWAY_MS = 15 * 60 * 1000, /* so long Redis may be away */
    AWAY_PAUSE_MS = 500,
};

static const int64_t BUDGET =
    INT64_C(256) << 20; /* unread results, since they are read as they come */

static struct {
    int format;
    const char *output;
} config;

static const struct shoal_option options[] = {
    {.name = "format",
     .letter = 'f',
     .type = SHOAL_OPTION_CHOICE,
     .value = &config.format,
     .argument = "FORMAT",
     .fallback = "table",
     .choices = shoal_table_formats,
     .section = "Output",
     .help = "how the rows are printed: table, csv or jsonl"},
    {.name = "output",
     .letter = 'o',
     .type = SHOAL_OPTION_TEXT,
     .value = &config.output,
     .argument = "FILE",
     .section = "Output",
     .help = "write the rows there instead of stdout"},
    {.name = NULL},
};

struct run {
    struct shoal_use use;
    struct shoal_report *report;
    struct shoal_stream *stream; /* of rows that come while it runs; NULL without */
    struct shoal_table *table;
    struct shoal_progress progress;
    struct shoal_stall stall;
    struct shoal_row row;
    FILE *out;
    char id[SHOAL_ID_LEN + 1];
    int told;  /* on so many interrupts something was said, */
    int acted; /* and on so many Redis has done what they ask for */
    bool gone; /* the terminal that rows were printed on */
    int64_t started_ms;
    int64_t acknowledged_ms;
    int64_t away_since_ms; /* 0: Redis is there */
    int64_t full_since_ms; /* 0: Redis takes more rows */
    bool unacknowledged;
    bool told_of_worker; /* that it has ended */
    struct shoal_error
        no_worker; /* why the one that was started for it failed; OK: not */
};

/* ---- Ctrl-C */

/* The first stops the job, the second kills what runs, the third leaves it alone. */
enum { KILLS = 2, LEAVES = 3 };

static void tell_of_interrupt(struct run *run, int interrupts, const char *words) {
    if (run->told >= interrupts)
        return;
    run->told = interrupts;
    shoal_progress_clear(&run->progress);
    shoal_cli_say("shoal: %s", words);
}

/* What fails is tried again at the next look. */
static enum shoal_status act_on_interrupts(struct run *run, struct shoal_error *err) {
    int interrupts = shoal_interrupts();
    if (run->acted >= interrupts)
        return SHOAL_OK;
    if (run->stream != NULL)
        shoal_stream_stop(run->stream);
    if (run->acted < KILLS) {
        bool kill = interrupts >= KILLS;
        tell_of_interrupt(run, interrupts,
                          kill ? "killing what runs (again: leaves it alone)"
                               : "stopping: nothing new starts, what runs is told to "
                                 "stop (again: kills it)");
        enum shoal_status status = shoal_cancel(run->use.client, run->id, kill, err);
        if (status != SHOAL_OK && status != SHOAL_UNKNOWN)
            return status;
    }
    run->acted = interrupts;
    return SHOAL_OK;
}

static bool leaves(const struct run *run) {
    return run->acted >= LEAVES;
}

/* ---- rows */

static enum shoal_status open_output(struct run *run, struct shoal_error *err) {
    run->out = config.output == NULL ? stdout : fopen(config.output, "we");
    if (run->out == NULL)
        return shoal_error_set(err, SHOAL_INVALID, "cannot write '%.200s': %s",
                               config.output, strerror(errno));
    const struct shoal_table_options table = {
        .format = (enum shoal_table_format)config.format,
        .out = run->out,
        .terminal = config.output == NULL && shoal_stdout_is_terminal(),
    };
    return shoal_table_create(&table, &run->table, err);
}

/* A terminal that takes nothing more has hung up, and SIGHUP comes or has come: the job
 * is to stop, which somebody must wait for. */
static enum shoal_status look_at_terminal(struct run *run, enum shoal_status status,
                                          const struct shoal_error *why,
                                          struct shoal_error *err) {
    if (status == SHOAL_SYSTEM && run->out == stdout && run->progress.own_output) {
        run->gone = true;
        shoal_interrupts_hung_up();
        return SHOAL_OK;
    }
    return status == SHOAL_OK ? SHOAL_OK : shoal_error_set(err, status, "%s", why->text);
}

static enum shoal_status print_row(struct run *run, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    if (run->out == stdout && run->progress.own_output)
        shoal_progress_clear(&run->progress);
    run->unacknowledged = true;
    if (run->stream != NULL)
        shoal_stream_row(run->stream, run->row.index);
    if (run->gone)
        return SHOAL_OK;
    enum shoal_status status = shoal_table_add(run->table, &run->row, &why);
    return look_at_terminal(run, status, &why, err);
}

static enum shoal_status flush_rows(struct run *run, bool all, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    int64_t wait = 0;
    if (run->gone)
        return SHOAL_OK;
    enum shoal_status status = all ? shoal_table_end(run->table, &why)
                                   : shoal_table_tick(run->table, &wait, &why);
    return look_at_terminal(run, status, &why, err);
}

static bool is_time_to_acknowledge(const struct run *run) {
    return run->unacknowledged &&
           (shoal_now_ms() - run->acknowledged_ms >= ACKNOWLEDGE_MS ||
            (run->stream != NULL && shoal_stream_wants_acknowledging(run->stream)));
}

/* Rows are flushed before Redis is told that they are out. */
static enum shoal_status acknowledge(struct run *run, struct shoal_error *err) {
    if (!is_time_to_acknowledge(run))
        return SHOAL_OK;
    enum shoal_status status = flush_rows(run, false, err);
    if (status == SHOAL_OK)
        status = run->stream != NULL
                     ? shoal_stream_acknowledge(run->stream, run->report, err)
                     : shoal_report_acknowledge(run->report, false, err);
    run->acknowledged_ms = shoal_now_ms();
    run->unacknowledged = status != SHOAL_OK;
    return status;
}

/* ---- rows of stdin */

/* Redis takes no more rows, for want of room mostly, which what is there makes as it goes
 * on. That Redis is away is found by whoever looks for results. */
static enum shoal_status bear_full(struct run *run, const struct shoal_error *trouble,
                                   struct shoal_error *err) {
    int64_t now = shoal_now_ms();
    if (trouble->status != SHOAL_FULL && trouble->status != SHOAL_DENIED) {
        run->full_since_ms = 0;
        return SHOAL_OK;
    }
    if (run->full_since_ms == 0) {
        run->full_since_ms = now;
        shoal_progress_clear(&run->progress);
        shoal_cli_say("shoal: %s; no more rows are read meanwhile", trouble->text);
    }
    if (now - run->full_since_ms > AWAY_MS)
        return shoal_error_set(err, trouble->status, "%s", trouble->text);
    return SHOAL_OK;
}

static enum shoal_status tend(struct run *run, struct shoal_error *err) {
    struct shoal_error trouble;
    if (run->stream == NULL)
        return SHOAL_OK;
    if (shoal_report_job(run->report)->state == SHOAL_JOB_STOPPING)
        shoal_stream_stop(run->stream); /* too many have failed, or somebody wants it */
    shoal_stream_turn(run->stream);
    enum shoal_status status = shoal_stream_tend(run->stream, &trouble, err);
    return status == SHOAL_OK ? bear_full(run, &trouble, err) : status;
}

static void draw(struct run *run) {
    const struct shoal_job *job = shoal_report_job(run->report);
    if (run->out != stdout || !run->progress.own_output || !run->unacknowledged)
        shoal_progress_draw(&run->progress, job);
}

static void note_no_rows(struct run *run) {
    if (run->stream == NULL)
        return;
    shoal_stream_no_rows(run->stream, shoal_report_job(run->report));
    run->unacknowledged |= shoal_stream_wants_acknowledging(run->stream);
}

static bool has_begun(const struct shoal_job *job) {
    return job->leased > 0 || job->ran > 0 || job->ok + job->failed > 0;
}

/* The worker that was started for this job failed before it had any of it: the job is
 * stopped, and the command ends with why. */
static enum shoal_status give_up(struct run *run, struct shoal_error *err) {
    if (run->use.cluster == NULL || run->no_worker.status != SHOAL_OK ||
        has_begun(shoal_report_job(run->report)))
        return SHOAL_OK;
    struct shoal_error why = {.status = SHOAL_OK};
    if (shoal_cluster_check_worker(run->use.cluster, &why) == SHOAL_OK)
        return SHOAL_OK;
    if (run->stream != NULL)
        shoal_stream_stop(run->stream);
    enum shoal_status status = shoal_cancel(run->use.client, run->id, false, err);
    if (status == SHOAL_OK)
        run->no_worker = why;
    return status;
}

/* Nobody may ever run what is waited for: the local worker was killed together with its
 * keeper, or another command's could not begin. */
static void note_no_worker(struct run *run) {
    char log[PATH_MAX];
    if (run->told_of_worker || run->no_worker.status != SHOAL_OK ||
        run->use.cluster == NULL || !shoal_cluster_worker_ended(run->use.cluster) ||
        shoal_state_path("worker.log", log, sizeof(log), NULL) != SHOAL_OK)
        return;
    run->told_of_worker = true;
    shoal_progress_clear(&run->progress);
    shoal_cli_say("shoal: the local worker has ended, '%s' tells why; mend that, and "
                  "'shoal up' starts it again",
                  log);
}

/* One look: a row, or none for a while. *ret_more is false when the job has ended. */
static enum shoal_status look(struct run *run, bool *ret_more, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    *ret_more = true;
    enum shoal_status status =
        shoal_report_next(run->report, LOOK_MS, ret_more, &run->row, &why);
    if (status == SHOAL_OK && *ret_more) {
        status = print_row(run, &why);
    } else if (status == SHOAL_TIMEOUT) {
        shoal_error_clear(&why);
        status = flush_rows(run, false, &why);
        note_no_rows(run);
        if (status == SHOAL_OK)
            status = give_up(run, &why);
        note_no_worker(run);
        shoal_stall_look(&run->stall, &run->use, run->id);
        draw(run);
    }
    if (status == SHOAL_OK)
        status = acknowledge(run, &why);
    if (status == SHOAL_OK)
        status = act_on_interrupts(run, &why);
    if (status == SHOAL_OK)
        status = tend(run, &why);
    return status == SHOAL_OK ? SHOAL_OK : shoal_error_set(err, status, "%s", why.text);
}

/* Redis is away: the job goes on without us; we wait for it to come back, and so does an
 * interrupt. One more leaves the job alone. */
static bool bear(struct run *run, const struct shoal_error *err) {
    int64_t now = shoal_now_ms();
    if (run->away_since_ms == 0) {
        run->away_since_ms = now;
        shoal_progress_clear(&run->progress);
        shoal_cli_say(
            "shoal: %s; waiting for it to come back%s", err->text,
            run->use.cluster == NULL ? "" : " ('shoal up' starts the local one again)");
    }
    int interrupts = shoal_interrupts();
    if (interrupts > 0 && run->stream != NULL)
        shoal_stream_stop(run->stream);
    if (now - run->away_since_ms > AWAY_MS || interrupts > run->acted + 1 ||
        interrupts >= LEAVES)
        return false;
    if (interrupts > run->acted)
        tell_of_interrupt(
            run, interrupts,
            "the job is stopped when Redis is back (again: leaves it alone)");
    shoal_client_pause(run->use.client, AWAY_PAUSE_MS);
    return true;
}

static bool is_away(enum shoal_status status) {
    return status == SHOAL_LOST || status == SHOAL_TIMEOUT || status == SHOAL_DENIED;
}

static enum shoal_status follow(struct run *run, struct shoal_error *err) {
    bool more = true;
    while (more && !leaves(run) && !shoal_table_reader_left(run->table)) {
        struct shoal_error why = {.status = SHOAL_OK};
        enum shoal_status status = look(run, &more, &why);
        if (is_away(status) && bear(run, &why)) {
            more = true;
            continue;
        }
        if (status == SHOAL_UNKNOWN)
            return shoal_error_set(
                err, status,
                "%s; if nobody forgot it, Redis has lost its data, and "
                "what has not ended is to be submitted again",
                why.text);
        if (status != SHOAL_OK)
            return shoal_error_set(err, status,
                                   "%s; the job goes on, 'shoal wait %s' waits for it",
                                   why.text, run->id);
        run->away_since_ms = 0;
        draw(run);
    }
    run->acknowledged_ms = 0;
    shoal_progress_clear(&run->progress);
    enum shoal_status status = flush_rows(run, true, err);
    return status == SHOAL_OK ? acknowledge(run, err) : status;
}

/* ---- the end */

static void say_end(const struct run *run, const struct shoal_job *job) {
    char took[24];
    shoal_span_print(shoal_now_ms() - run->started_ms, took);
    shoal_cli_say("shoal: job %s %s: %" PRId64 " task%s, %" PRId64 " ok, %" PRId64
                  " failed, %" PRId64 " cancelled in %s",
                  job->id, shoal_job_state_name(job->state), job->total,
                  shoal_plural(job->total), job->ok, job->failed, job->cancelled, took);
    if (shoal_say_damaged(job))
        return;
    if (job->failed > 0 && run->stream != NULL && shoal_stream_takes(run->stream))
        shoal_cli_say("shoal: why: the rows above; shoal show %s TASK", job->id);
    else if (job->failed > 0)
        shoal_cli_say("shoal: why: shoal results %s --failed; shoal show %s TASK",
                      job->id, job->id);
    if (job->cancelled > 0)
        shoal_cli_say("shoal: to run the rest: shoal retry %s", job->id);
    else if (job->failed > 0)
        shoal_cli_say("shoal: to run them again: shoal retry %s --failed", job->id);
}

/* Rows of stdin that were not run, though nobody wanted that. */
static int say_missing(const struct run *run, const struct shoal_job *job) {
    struct shoal_error why = {.status = SHOAL_OK}, err = {.status = SHOAL_OK};
    enum shoal_status status =
        run->stream == NULL ? SHOAL_OK : shoal_stream_check(run->stream, &why);
    bool refused = status == SHOAL_REFUSED || status == SHOAL_UNKNOWN;
    if (status == SHOAL_OK || (refused && job->reason[0] != '\0'))
        return SHOAL_EXIT_OK;
    shoal_error_set(&err, status, "%s; the %" PRId64 " task%s before it %s run", why.text,
                    job->total, shoal_plural(job->total),
                    job->total == 1 ? "was" : "were");
    return shoal_cli_fail(&err);
}

static int exit_status(const struct run *run, const struct shoal_job *job) {
    if (run->no_worker.status != SHOAL_OK)
        return shoal_cli_fail(&run->no_worker);
    bool cut = run->stream != NULL && shoal_stream_was_cut(run->stream);
    if (shoal_interrupts() > 0 && (cut || job->state != SHOAL_JOB_SUCCEEDED))
        return SHOAL_EXIT_INTERRUPTED;
    int missing = say_missing(run, job);
    if (missing != SHOAL_EXIT_OK)
        return missing;
    return job->state == SHOAL_JOB_SUCCEEDED ? SHOAL_EXIT_OK : SHOAL_EXIT_FAILED;
}

/* The job goes on without a reader: it is to keep its results, not to wait for one. */
static void leave(struct run *run) {
    struct shoal_error err = {.status = SHOAL_OK};
    if (shoal_queue_lift_budget(&run->use.client->queue, run->id, &err) == SHOAL_OK)
        shoal_cli_say(
            "shoal: the output was closed; job %s goes on, 'shoal wait %s' waits "
            "for it",
            run->id, run->id);
    else
        shoal_cli_say("shoal: the output was closed; job %s goes on until its results "
                      "fill their budget: %s",
                      run->id, err.text);
}

static int finish_run(struct run *run, enum shoal_status status,
                      struct shoal_error *err) {
    int exit = SHOAL_EXIT_FAILED;
    struct shoal_job job = {.state = SHOAL_JOB_WAITING};
    if (status == SHOAL_OK)
        status = shoal_describe(run->use.client, run->id, &job, err);
    bool over = status == SHOAL_OK && shoal_job_state_is_final(job.state);
    if (!over && run->stream != NULL && shoal_interrupts() < LEAVES)
        shoal_stream_leave(run->stream);
    if (status == SHOAL_OK && !over && leaves(run)) {
        shoal_cli_say("shoal: job %s is left alone; 'shoal wait %s' waits until what ran "
                      "is over",
                      run->id, run->id);
        exit = SHOAL_EXIT_INTERRUPTED;
    } else if (status == SHOAL_OK && !over && shoal_table_reader_left(run->table)) {
        leave(run);
    } else if (status == SHOAL_OK) {
        say_end(run, &job);
        exit = exit_status(run, &job);
    } else {
        exit = shoal_cli_fail(err);
    }
    return exit;
}

static void clean_up(struct run *run) {
    shoal_stream_destroy(run->stream);
    shoal_table_destroy(run->table);
    shoal_report_destroy(run->report);
    shoal_row_finish(&run->row);
    if (run->out != NULL && run->out != stdout)
        fclose(run->out);
    shoal_use_end(&run->use);
}

/* From the submitted job to its last row. */
static int run_job(struct run *run) {
    struct shoal_error err = {.status = SHOAL_OK};
    if (shoal_stderr_is_terminal() || shoal_cli.verbose)
        shoal_cli_say("shoal: job %s", run->id);
    enum shoal_status status =
        run->stream == NULL
            ? SHOAL_OK
            : shoal_stream_start(run->stream, run->use.client, run->id, &err);
    if (status == SHOAL_OK)
        status = shoal_report_create(run->use.client, run->id, &run->report, &err);
    if (status == SHOAL_OK)
        status = shoal_report_check(run->report, &err);
    run->stall.progress = &run->progress;
    run->stall.has_worker = run->use.cluster != NULL;
    shoal_redis_repeat(run->use.client->redis, false); /* bear() does, and says so */
    if (status == SHOAL_OK)
        status = follow(run, &err);
    shoal_redis_repeat(run->use.client->redis, true);
    return finish_run(run, status, &err);
}

static int run_command(int n, char **words) {
    SHOAL_CLEANUP(shoal_plan_finish) struct shoal_plan plan;
    SHOAL_CLEANUP(clean_up) struct run run = {.started_ms = shoal_now_ms()};
    struct shoal_error err = {.status = SHOAL_OK};
    (void)n;
    shoal_row_init(&run.row);
    shoal_progress_init(&run.progress);
    enum shoal_status status = shoal_plan_make(words, true, &plan, &err);
    run.stream = plan.stream; /* goes before the client does */
    plan.stream = NULL;
    if (status == SHOAL_OK && shoal_plan_is_dry()) {
        status = shoal_plan_print(&plan, &err);
        return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
    }
    plan.options.policy.budget = BUDGET;
    plan.options.waits = true;
    if (status == SHOAL_OK)
        status = open_output(&run, &err);
    if (status == SHOAL_OK)
        status = shoal_plan_submit(&plan, &run.use, run.id, &err);
    return status == SHOAL_OK ? run_job(&run) : shoal_cli_fail(&err);
}

static const struct shoal_option *const tables[] = {
    shoal_submission_options, shoal_function_options, options, NULL};

const struct shoal_cli_command shoal_cmd_run = {
    .name = "run",
    .usage = "[OPTION]... -- COMMAND [ARG]...",
    .summary = "run a program over a space of parameters and print the table",
    .details = "In the command's words {name}, {rep}, {seed}, {seed31}, {task} and "
               "{job} are replaced;\n"
               "{{name}} is a literal {name}. A task's result is what the program "
               "prints: a JSON object\n"
               "or lines key=value become columns, anything else a column 'result'.\n"
               "\n"
               "Ctrl-C stops the job: nothing new starts, what runs is told to stop; "
               "again kills it;\n"
               "a third time leaves it alone. A terminal that is closed stops it too "
               "(not below nohup).\n"
               "\n"
               "With --from - the lines of stdin are run as they come, and their rows "
               "printed, until\n"
               "stdin ends; no more is read while 100,000 tasks or 32 MiB wait. What was "
               "printed is\n"
               "taken out of Redis once there are more than 32 MiB of it.",
    .tables = tables,
    .command_words = true,
    .words_most = -1,
    .run = run_command,
};
