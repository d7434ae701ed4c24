#include "client/function.h"
#include "client/submission.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *cut_off;

static const struct shoal_option options[] = {
    {.name = "continue",
     .type = SHOAL_OPTION_TEXT,
     .value = &cut_off,
     .argument = "JOB",
     .section = "Other",
     .help = "go on with a submission of --from FILE, the same unchanged file, that was "
             "cut off within the last hour; there is no command then"},
    {.name = NULL},
};

/* Who cannot be given the id would submit again what is there. */
static int print_id(const char *id) {
    errno = 0;
    if (puts(id) != EOF && fflush(stdout) == 0)
        return SHOAL_EXIT_OK;
    shoal_cli_say("shoal: job %s was submitted, but its id cannot be printed: %s", id,
                  strerror(errno));
    return SHOAL_EXIT_FAILED;
}

static int go_on(char **words) {
    SHOAL_CLEANUP(shoal_plan_finish) struct shoal_plan plan;
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use = {.client = NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    char id[SHOAL_ID_LEN + 1];
    memset(&plan, 0, sizeof(plan));
    enum shoal_status status =
        words[0] == NULL
            ? shoal_plan_continue(cut_off, &plan, &use, id, &err)
            : shoal_error_set(&err, SHOAL_INVALID,
                              "'%.100s': the job has its command already", words[0]);
    if (status != SHOAL_OK)
        return shoal_cli_fail(&err);
    return print_id(id);
}

static int submit_new(char **words) {
    SHOAL_CLEANUP(shoal_plan_finish) struct shoal_plan plan;
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use = {.client = NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    char id[SHOAL_ID_LEN + 1];
    enum shoal_status status = shoal_plan_make(words, false, &plan, &err);
    if (status == SHOAL_OK && shoal_plan_is_dry()) {
        status = shoal_plan_print(&plan, &err);
        return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
    }
    if (status == SHOAL_OK)
        status = shoal_plan_submit(&plan, &use, id, &err);
    if (status != SHOAL_OK)
        return shoal_cli_fail(&err);
    return print_id(id);
}

static int submit(int n, char **words) {
    (void)n;
    return cut_off != NULL ? go_on(words) : submit_new(words);
}

static const struct shoal_option *const tables[] = {
    shoal_submission_options, shoal_function_options, options, NULL};

const struct shoal_cli_command shoal_cmd_submit = {
    .name = "submit",
    .usage = "[OPTION]... -- COMMAND [ARG]...",
    .summary = "put a job into a queue and print its id",
    .details =
        "In the command's words {name}, {rep}, {seed}, {seed31}, {task} and {job} are "
        "replaced;\n{{name}} is a literal {name}. 'shoal wait ID' waits for it.",
    .tables = tables,
    .command_words = true,
    .words_most = -1,
    .run = submit,
};
