#include "client/function.h"
#include "client/submission.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <stdio.h>

static int submit(int n, char **words) {
    SHOAL_CLEANUP(shoal_plan_finish) struct shoal_plan plan;
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use = {.client = NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    char id[SHOAL_ID_LEN + 1];
    (void)n;
    enum shoal_status status = shoal_plan_make(words, &plan, &err);
    if (status == SHOAL_OK && shoal_plan_is_dry()) {
        status = shoal_plan_print(&plan, &err);
        return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
    }
    if (status == SHOAL_OK)
        status = shoal_plan_submit(&plan, &use, id, &err);
    if (status != SHOAL_OK)
        return shoal_cli_fail(&err);
    puts(id);
    return SHOAL_EXIT_OK;
}

static const struct shoal_option *const tables[] = {shoal_submission_options,
                                                    shoal_function_options, NULL};

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
