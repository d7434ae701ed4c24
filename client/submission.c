#include "client/submission.h"

#include "broker/appender.h"
#include "client/function.h"
#include "client/interrupt.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DRY_COMMANDS = 5 };

static struct {
    struct shoal_option_list parameters;
    struct shoal_option_list environment;
    const char *from;
    const char *directory;
    const char *queue;
    const char *name;
    const char *max_fails;
    int64_t repetitions;
    int64_t seed;
    int64_t priority;
    int64_t retries;
    int64_t timeout_ms;
    int64_t grace_ms;
    int64_t delay_ms;
    int64_t max_running;
    int64_t max_lost;
    int64_t keep_ms;
    int64_t slots;
    int64_t result_max;
    struct shoal_limits limits;
    const char *warning;
    const char *sign_key;
    int64_t valid_ms;
    bool no_sign;
    bool checkpoint;
    bool zip;
    bool seed_given;
    bool dry;
} config;

const struct shoal_option shoal_submission_options[] = {
    {.name = "param",
     .letter = 'p',
     .type = SHOAL_OPTION_LIST,
     .value = &config.parameters,
     .argument = "NAME=VALUES",
     .section = "Parameters",
     .help = "a parameter: a,b,c | 1:10 | 0:1:0.05 | lin:A:B:N | log:A:B:N | @FILE; "
             "the first varies slowest"},
    {.name = "zip",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.zip,
     .section = "Parameters",
     .help = "all parameters advance together, instead of their product"},
    {.name = "reps",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.repetitions,
     .argument = "N",
     .fallback = "1",
     .least = "1",
     .most = "9007199254740992",
     .section = "Parameters",
     .help = "run each point so often; {rep} counts from 0"},
    {.name = "from",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.from,
     .argument = "FILE",
     .section = "Parameters",
     .help = "a task for each row of a .csv or .tsv (with a header) or .jsonl, or for "
             "each line of anything else, put where {} stands; - is the lines of stdin, "
             "which 'run' runs as they come"},
    {.name = "seed",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.seed,
     .given = &config.seed_given,
     .argument = "N",
     .least = "0",
     .most = "9223372036854775807",
     .section = "Parameters",
     .help = "what the tasks' seeds are made from; a random one unless said, shown by "
             "'status --json'"},
    {.name = "queue",
     .letter = 'q',
     .type = SHOAL_OPTION_NAME,
     .value = &config.queue,
     .argument = "NAME",
     .fallback = "default",
     .environment = "SHOAL_QUEUE",
     .section = "The job",
     .help = "the queue to put it in"},
    {.name = "priority",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.priority,
     .argument = "N",
     .fallback = "5",
     .least = "0",
     .most = "9",
     .section = "The job",
     .help = "9 goes first"},
    {.name = "name",
     .letter = 'n',
     .type = SHOAL_OPTION_NAME,
     .value = &config.name,
     .argument = "NAME",
     .section = "The job",
     .help = "a name to call it by"},
    {.name = "delay",
     .type = SHOAL_OPTION_DURATION,
     .value = &config.delay_ms,
     .argument = "TIME",
     .fallback = "0s",
     .least = "0s",
     .most = "365d",
     .section = "The job",
     .help = "start after that time"},
    {.name = "max-fails",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.max_fails,
     .argument = "N|N%",
     .section = "The job",
     .help = "start nothing new when so many tasks have failed; what workers hold "
             "already may still run"},
    {.name = "max-running",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.max_running,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "1000000",
     .section = "The job",
     .help = "so many tasks at a time; 0: as many as there are slots"},
    {.name = "keep",
     .type = SHOAL_OPTION_DURATION,
     .value = &config.keep_ms,
     .argument = "TIME",
     .fallback = "7d",
     .least = "1m", /* in which 'run' reads the last rows */
     .most = "3650d",
     .section = "The job",
     .help = "how long the job and its rows stay when it has ended; 1m at least"},
    {.name = "retries",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.retries,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "1000",
     .section = "Each task",
     .help =
         "try a failed task so often again; what workers and hosts do is not counted"},
    {.name = "max-lost",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.max_lost,
     .argument = "N",
     .fallback = "5",
     .least = "1",
     .most = "1000",
     .section = "Each task",
     .help = "a task that took its worker with it so often fails as 'poison'"},
    {.name = "timeout",
     .type = SHOAL_OPTION_DURATION,
     .value = &config.timeout_ms,
     .argument = "TIME",
     .fallback = "0s",
     .least = "0s",
     .most = "365d",
     .section = "Each task",
     .help = "end it after that time; 0: never"},
    {.name = "grace",
     .type = SHOAL_OPTION_DURATION,
     .value = &config.grace_ms,
     .argument = "TIME",
     .fallback = "10s",
     .least = "0s",
     .most = "1d",
     .section = "Each task",
     .help = "time between SIGTERM and SIGKILL when it is ended"},
    {.name = "checkpoint",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.checkpoint,
     .section = "Each task",
     .help =
         "it keeps the directory $SHOAL_CHECKPOINT over its attempts, and when it "
         "exits with 85 it is started again to go on from there, which is no failure"},
    {.name = "signal",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.warning,
     .argument = "SIGNAL@TIME",
     .section = "Each task",
     .help = "warn it by that signal so long before its timeout, such as USR1@60s; ALRM, "
             "CONT, HUP, INT, QUIT, TERM, USR1 or USR2"},
    {.name = "env",
     .letter = 'e',
     .type = SHOAL_OPTION_LIST,
     .value = &config.environment,
     .argument = "NAME=VALUE",
     .section = "Each task",
     .help = "set an environment variable"},
    {.name = "cwd",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.directory,
     .argument = "DIR",
     .section = "Each task",
     .help = "run there; in the current directory unless said"},
    {.name = "max-result",
     .type = SHOAL_OPTION_SIZE,
     .value = &config.result_max,
     .argument = "SIZE",
     .fallback = "64k",
     .least = "1k",
     .most = "16M",
     .section = "Each task",
     .help = "the most that a task may report"},
    {.name = "memory",
     .type = SHOAL_OPTION_SIZE,
     .value = &config.limits.memory,
     .argument = "SIZE",
     .fallback = "0",
     .least = "0",
     .most = "1024T",
     .section = "Each task",
     .help = "its processes may use so much memory together, 1M at least; a task that "
             "needs more than that fails as 'oom'; 0: no limit"},
    {.name = "cpus",
     .type = SHOAL_OPTION_THOUSANDTHS,
     .value = &config.limits.millicpus,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "4096",
     .section = "Each task",
     .help =
         "its processes run on so many cores together, such as 0.5, where the host has "
         "control groups (shoal-worker(1)); 0: no limit"},
    {.name = "max-processes",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.limits.processes,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "4194304",
     .section = "Each task",
     .help = "it may have so many processes and threads at a time; 0: no limit"},
    {.name = "max-file-size",
     .type = SHOAL_OPTION_SIZE,
     .value = &config.limits.file_size,
     .argument = "SIZE",
     .fallback = "0",
     .least = "0",
     .most = "1024T",
     .section = "Each task",
     .help = "a file that it writes may grow to that size; 0: no limit"},
    {.name = "sign-key",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.sign_key,
     .argument = "FILE",
     .environment = "SHOAL_SIGN_KEY",
     .section = "Signing",
     .help = "sign the job with the key in that file, which 'shoal keygen' has made; "
             "~/.config/shoal/signing.key unless said, if it is there"},
    {.name = "no-sign",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.no_sign,
     .section = "Signing",
     .help = "do not sign it"},
    {.name = "valid-for",
     .type = SHOAL_OPTION_DURATION,
     .value = &config.valid_ms,
     .argument = "TIME",
     .fallback = "30d",
     .least = "1m",
     .most = "3650d",
     .section = "Signing",
     .help = "workers run what was signed for so long; what is left of it then is "
             "refused"},
    {.name = "slots",
     .letter = 's',
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.slots,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "1024",
     .section = "Other",
     .help = "slots of a local cluster that it starts; 0: as many as there are cores"},
    {.name = "dry-run",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.dry,
     .section = "Other",
     .help = "only print how many tasks there would be, and the first commands"},
    {.name = NULL},
};

/* ---- from options to a plan */

/* "12" or "5%" of `count`, rounded up. */
static enum shoal_status read_max_fails(int64_t count, int64_t *ret_fails,
                                        struct shoal_error *err) {
    if (config.max_fails == NULL)
        return SHOAL_OK;
    size_t len = strlen(config.max_fails);
    if (len == 0 || config.max_fails[len - 1] != '%')
        return shoal_integer_parse(config.max_fails, "--max-fails", 1, SHOAL_TASKS_MAX,
                                   ret_fails, err);
    double part = 0;
    if (!shoal_double_read(config.max_fails, len - 1, &part) || part <= 0 || part > 100)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "--max-fails '%.100s': a percentage is above 0%% and at most 100%%",
            config.max_fails);
    *ret_fails = (int64_t)ceil((double)count * part / 100);
    return SHOAL_OK;
}

static enum shoal_status copy_list(const struct shoal_option_list *list,
                                   const char **words, size_t most, const char *what,
                                   struct shoal_error *err) {
    if (list->n > most)
        return shoal_error_set(err, SHOAL_INVALID, "%s can be given %zu times at most",
                               what, most);
    for (size_t i = 0; i < list->n; i++)
        words[i] = list->items[i];
    words[list->n] = NULL;
    return SHOAL_OK;
}

static enum shoal_status make_directory(char **ret_path, struct shoal_error *err) {
    *ret_path = NULL;
    if (config.directory == NULL)
        return SHOAL_OK;
    if (config.directory[0] == '\0')
        return shoal_error_set(err, SHOAL_INVALID,
                               "--cwd is empty: name a directory, or leave it out to run "
                               "in the current one");
    /* The path as it is written: it need not be here, but on the workers. */
    char *here = config.directory[0] == '/' ? strdup("") : realpath(".", NULL);
    size_t room = here == NULL ? 0 : strlen(here) + strlen(config.directory) + 2;
    char *path = here == NULL ? NULL : malloc(room);
    if (path != NULL)
        snprintf(path, room, "%s%s%s", here, here[0] == '\0' ? "" : "/",
                 config.directory);
    free(here);
    *ret_path = path;
    return path != NULL
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_SYSTEM, "cannot tell the working directory");
}

/* Options that contradict each other. A key that the environment names is a default, and
 * --no-sign overrules it. */
static enum shoal_status check_together(struct shoal_error *err) {
    bool names_key = config.sign_key != getenv("SHOAL_SIGN_KEY");
    if (config.from != NULL && config.parameters.n > 0)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "--from and -p do not go together; put the parameters into the "
            "file, or use only one of them");
    if (config.no_sign && config.sign_key != NULL && names_key)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--no-sign and --sign-key do not go together");
    return SHOAL_OK;
}

static enum shoal_status make_options(char **words, struct shoal_plan *plan,
                                      struct shoal_error *err) {
    struct shoal_submit_options *options = &plan->options;
    const char *const *function = NULL;
    shoal_submit_options_init(options);
    enum shoal_status status = shoal_function_command(words, &function, err);
    if (status != SHOAL_OK)
        return status;
    options->stays = function != NULL;
    options->command = options->stays ? function : (const char *const *)words;
    options->parameters = plan->parameters;
    options->environment = plan->environment;
    options->zip = config.zip;
    options->repetitions = config.repetitions;
    options->timeout_ms = config.timeout_ms;
    options->grace_ms = config.grace_ms;
    options->result_max = config.result_max;
    options->limits = config.limits;
    options->checkpoint = config.checkpoint;
    options->warning = config.warning;
    options->queue = config.queue;
    options->name = config.name;
    options->seed = (uint64_t)config.seed;
    options->has_seed = config.seed_given;
    options->delay_ms = config.delay_ms;
    options->waits = false; /* unless the command does */
    options->policy.priority = (int)config.priority;
    options->policy.retries = config.retries;
    options->policy.max_lost = config.max_lost;
    options->policy.max_running = config.max_running;
    options->policy.keep_ms = config.keep_ms;
    status = check_together(err);
    if (status == SHOAL_OK)
        status = copy_list(&config.parameters, plan->parameters, SHOAL_PARAMETERS_MAX,
                           "--param", err);
    if (status == SHOAL_OK)
        status = copy_list(&config.environment, plan->environment, 1000, "--env", err);
    return status;
}

static enum shoal_status copy_columns(struct shoal_plan *plan, const char *const *columns,
                                      struct shoal_error *err) {
    size_t n = 0;
    while (columns != NULL && columns[n] != NULL)
        n++;
    if (n == 0)
        return SHOAL_OK;
    plan->spec.columns = calloc(n + 1, sizeof(*plan->spec.columns));
    for (size_t i = 0; plan->spec.columns != NULL && i < n; i++)
        plan->spec.columns[i] = strdup(columns[i]);
    return plan->spec.columns != NULL && plan->spec.columns[n - 1] != NULL
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_MEMORY, "no memory for columns");
}

static enum shoal_status load_rows(struct shoal_plan *plan, struct shoal_error *err) {
    enum shoal_status status = shoal_rows_load(config.from, SHOAL_ROWS_AUTO,
                                               config.repetitions, &plan->rows, err);
    if (status != SHOAL_OK)
        return status;
    plan->spec.arguments = shoal_rows_arguments(plan->rows);
    plan->count = shoal_rows_count(plan->rows);
    return copy_columns(plan, shoal_rows_columns(plan->rows), err);
}

/* What can be said without a row is said before the first is waited for. */
static enum shoal_status open_stream(struct shoal_plan *plan, struct shoal_error *err) {
    static const enum shoal_rows_format format = SHOAL_ROWS_LINES;
    plan->spec.arguments = shoal_rows_kind(format);
    plan->options.open = true;
    if (config.max_fails != NULL && strchr(config.max_fails, '%') != NULL)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--max-fails '%.100s': how many rows will come from stdin "
                               "is not known; say a number",
                               config.max_fails);
    enum shoal_status status = plan->spec.arguments == SHOAL_ARGUMENTS_LINE
                                   ? shoal_spec_check(&plan->spec, err)
                                   : SHOAL_OK;
    if (status == SHOAL_OK)
        status = shoal_stream_open(STDIN_FILENO, "stdin", format, config.repetitions,
                                   &plan->stream, err);
    return status == SHOAL_OK
               ? copy_columns(plan, shoal_stream_columns(plan->stream), err)
               : status;
}

static enum shoal_status count_tasks(struct shoal_plan *plan, bool streams,
                                     struct shoal_error *err) {
    if (config.from == NULL)
        return shoal_sweep_count(plan->spec.sweep, &plan->count, err);
    if (streams && !config.dry && strcmp(config.from, "-") == 0)
        return open_stream(plan, err);
    return load_rows(plan, err);
}

enum shoal_status shoal_plan_make(char **words, bool streams, struct shoal_plan *plan,
                                  struct shoal_error *err) {
    memset(plan, 0, sizeof(*plan));
    char *directory = NULL;
    enum shoal_status status = make_options(words, plan, err);
    if (status == SHOAL_OK)
        status = make_directory(&directory, err);
    plan->options.directory = directory;
    if (status == SHOAL_OK)
        status = shoal_spec_from_options(&plan->options, &plan->spec, err);
    plan->options.directory = NULL; /* the spec has its own */
    free(directory);
    if (status == SHOAL_OK)
        status = count_tasks(plan, streams, err);
    if (status == SHOAL_OK)
        status = read_max_fails(plan->count, &plan->options.policy.max_fails, err);
    return status == SHOAL_OK ? shoal_spec_check(&plan->spec, err) : status;
}

void shoal_plan_finish(struct shoal_plan *plan) {
    shoal_rows_destroy(plan->rows);
    shoal_stream_destroy(plan->stream);
    shoal_spec_finish(&plan->spec);
}

/* ---- dry runs */

bool shoal_plan_is_dry(void) {
    return config.dry;
}

static enum shoal_status print_command(const struct shoal_plan *plan, int64_t index,
                                       const char *argument, size_t len,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {.n = 0};
    SHOAL_CLEANUP(shoal_cleanup_free) char **argv = NULL;
    enum shoal_status status =
        shoal_parameters_make(&plan->spec, index, argument, len, &parameters, err);
    const struct shoal_task task = {
        .job = "JOB",
        .index = index,
        .seed = shoal_task_seed(plan->options.seed, (uint64_t)index),
        .parameters = &parameters,
    };
    if (status == SHOAL_OK)
        status = shoal_spec_expand(&plan->spec, &task, &argv, err);
    if (status != SHOAL_OK)
        return status;
    struct shoal_buffer line;
    shoal_buffer_init(&line, 1 << 20);
    for (char **word = argv; *word != NULL; word++) {
        if (word != argv)
            shoal_buffer_add_char(&line, ' ');
        shoal_shell_quote(&line, *word);
    }
    puts(shoal_buffer_text(&line));
    shoal_buffer_finish(&line);
    return SHOAL_OK;
}

enum shoal_status shoal_plan_print(const struct shoal_plan *plan,
                                   struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    printf("%" PRId64 " task%s%s\n", plan->count, shoal_plural(plan->count),
           plan->options.has_seed ? "" : "; the seeds shown are those of --seed 0");
    for (int64_t i = 0; i < plan->count && i < DRY_COMMANDS && status == SHOAL_OK; i++) {
        const char *argument = NULL;
        size_t len = 0;
        if (plan->rows != NULL &&
            !shoal_rows_first(plan->rows, (size_t)i, &argument, &len))
            break;
        status = print_command(plan, i, argument, len, err);
    }
    if (status == SHOAL_OK && plan->count > DRY_COMMANDS)
        puts("…");
    return status;
}

/* ---- submitting */

static enum shoal_status append_packs(struct shoal_rows *rows,
                                      struct shoal_appender *appender,
                                      struct shoal_error *err) {
    int64_t first = 0, count = 0;
    const char *bytes = NULL;
    size_t len = 0;
    for (;;) {
        bool more = false;
        if (shoal_interrupts() > 0)
            return shoal_error_set(err, SHOAL_REFUSED, "interrupted");
        enum shoal_status status =
            shoal_rows_next_pack(rows, &more, &first, &count, &bytes, &len, err);
        if (status == SHOAL_OK)
            status = shoal_appender_wait(appender, !more, err);
        if (status != SHOAL_OK || !more)
            return status;
        status = shoal_appender_add(appender, first, count, bytes, len, err);
        if (status != SHOAL_OK)
            return status;
    }
}

static enum shoal_status append_rows(struct shoal_plan *plan, struct shoal_client *client,
                                     const char *id, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_appender_cleanup) struct shoal_appender *appender = NULL;
    enum shoal_status status =
        shoal_appender_create(&client->queue, id, NULL, NULL, &appender, err);
    return status == SHOAL_OK ? append_packs(plan->rows, appender, err) : status;
}

/* The rows are all checked; what fails now is Redis, or somebody pressed Ctrl-C. Then
 * nothing is left half-submitted. */
static enum shoal_status submit_rows(struct shoal_plan *plan, struct shoal_client *client,
                                     const char *id, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = append_rows(plan, client, id, &why);
    if (status == SHOAL_OK)
        status = shoal_close(client, id, &why);
    if (status == SHOAL_OK)
        return SHOAL_OK;
    bool cancelled = shoal_cancel(client, id, true, NULL) == SHOAL_OK;
    return shoal_error_set(err, status, "%s; job %s %s", why.text, id,
                           cancelled ? "was cancelled"
                                     : "has only a part of its tasks, cancel it");
}

/* From here on there is a job, so interrupts are counted for good. With a local cluster
 * they have been since before it was started. */
static enum shoal_status submit(struct shoal_plan *plan, struct shoal_use *use,
                                const char *id, struct shoal_error *err) {
    shoal_interrupts_begin();
    if (shoal_interrupts() > 0)
        return shoal_error_set(err, SHOAL_REFUSED, "interrupted; nothing was submitted");
    enum shoal_status status =
        shoal_submit_spec(use->client, &plan->options, &plan->spec, id, err);
    if (status == SHOAL_OK && plan->rows != NULL)
        status = submit_rows(plan, use->client, id, err);
    return status;
}

static enum shoal_status find_signer(struct shoal_signer **ret_signer,
                                     struct shoal_error *err) {
    *ret_signer = NULL;
    return config.no_sign ? SHOAL_OK
                          : shoal_client_find_signer(config.sign_key, ret_signer, err);
}

/* Begins to use Redis and signs with the key, which is taken over. */
static enum shoal_status begin_to_sign(enum shoal_cluster_need need, const char *queue,
                                       struct shoal_signer *signer, struct shoal_use *use,
                                       struct shoal_error *err) {
    enum shoal_status status = shoal_use_begin(need, queue, config.slots, use, err);
    if (status == SHOAL_OK)
        return shoal_client_sign_with(use->client, signer, config.valid_ms, err);
    shoal_signer_destroy(signer);
    return status;
}

enum shoal_status shoal_plan_submit(struct shoal_plan *plan, struct shoal_use *use,
                                    char *ret_id, struct shoal_error *err) {
    struct shoal_signer *signer = NULL;
    shoal_id_make(ret_id);
    enum shoal_status status = find_signer(&signer, err);
    if (status == SHOAL_OK)
        status = begin_to_sign(SHOAL_CLUSTER_WORK, plan->options.queue, signer, use, err);
    if (status == SHOAL_OK)
        status = submit(plan, use, ret_id, err);
    if (status == SHOAL_OK)
        shoal_state_remember_job(ret_id);
    return status;
}

/* ---- continuing what was cut off */

/* Whether the rows are of the kind that the job has, and at least as many. */
static enum shoal_status check_same(const struct shoal_plan *plan, struct shoal_use *use,
                                    const struct shoal_job *job,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    SHOAL_CLEANUP(shoal_spec_cleanup) struct shoal_spec spec;
    size_t len = 0;
    shoal_spec_init(&spec);
    if (job->state != SHOAL_JOB_WAITING || !job->open || !job->has_arguments)
        return shoal_error_set(err, SHOAL_INVALID,
                               "job %s is %s and misses no rows, there is nothing to "
                               "continue",
                               job->id, shoal_job_state_name(job->state));
    enum shoal_status status =
        shoal_queue_spec(&use->client->queue, job->spec, &text, &len, err);
    if (status == SHOAL_OK)
        status = shoal_spec_read(text, len, &spec, err);
    if (status == SHOAL_OK &&
        (spec.arguments != plan->spec.arguments || job->total > plan->count ||
         shoal_sweep_repetitions(spec.sweep) != config.repetitions))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "job %s was not submitted from this file: it has %" PRId64
            " task%s so far, of another kind or more than '%.200s' has; "
            "say --from and --reps as before",
            job->id, job->total, shoal_plural(job->total), config.from);
    return status;
}

/* Whether a pack of the file is there as it would be appended now. */
static enum shoal_status check_pack(struct shoal_queue *queue, const char *id,
                                    int64_t first, int64_t count, const char *bytes,
                                    size_t len, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *there = NULL;
    size_t there_len = 0;
    int64_t there_first = 0;
    enum shoal_status status = shoal_queue_arguments(queue, id, first, &there_first,
                                                     &there, &there_len, NULL, err);
    if (status == SHOAL_OK &&
        (there_first != first || there_len != len || memcmp(there, bytes, len) != 0))
        return shoal_error_set(err, SHOAL_INVALID,
                               "job %s was not submitted from this file as it is now: "
                               "they differ in tasks %" PRId64 " to %" PRId64
                               "; nothing was added, continue with the same rows",
                               id, first, first + count - 1);
    return status;
}

/* Goes over what is there already, so that appending goes on behind it. */
static enum shoal_status check_rows(struct shoal_plan *plan, struct shoal_client *client,
                                    const struct shoal_job *job,
                                    struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    int64_t first = 0, count = 0;
    bool more = true;
    while (status == SHOAL_OK && more && first + count < job->total) {
        const char *bytes = NULL;
        size_t len = 0;
        status =
            shoal_rows_next_pack(plan->rows, &more, &first, &count, &bytes, &len, err);
        if (status == SHOAL_OK && more)
            status = check_pack(&client->queue, job->id, first, count, bytes, len, err);
    }
    return status;
}

enum shoal_status shoal_plan_continue(const char *word, struct shoal_plan *plan,
                                      struct shoal_use *use, char *ret_id,
                                      struct shoal_error *err) {
    struct shoal_job job;
    struct shoal_signer *signer = NULL;
    memset(plan, 0, sizeof(*plan));
    if (config.from == NULL)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--continue needs --from FILE, as it was submitted");
    enum shoal_status status = load_rows(plan, err);
    if (status == SHOAL_OK)
        status = find_signer(&signer, err);
    if (status == SHOAL_OK)
        status = begin_to_sign(SHOAL_CLUSTER_READ, NULL, signer, use, err);
    if (status == SHOAL_OK)
        status = shoal_use_find(use, word, ret_id, err);
    if (status == SHOAL_OK)
        status = shoal_describe(use->client, ret_id, &job, err);
    if (status == SHOAL_OK)
        status = check_same(plan, use, &job, err);
    if (status == SHOAL_OK)
        status = check_rows(plan, use->client, &job, err);
    if (status == SHOAL_OK)
        status = append_rows(plan, use->client, ret_id, err);
    return status == SHOAL_OK ? shoal_close(use->client, ret_id, err) : status;
}
