/* What run and submit have in common: their options, and a job made of them. */
#ifndef SHOAL_SUBMISSION_H
#define SHOAL_SUBMISSION_H

#include "client/cli.h"
#include "client/rows.h"
#include "client/stream.h"

extern const struct shoal_option shoal_submission_options[];

/* A job about to be submitted, checked as far as it can be without Redis. */
struct shoal_plan {
    struct shoal_submit_options options;
    struct shoal_spec spec;
    struct shoal_rows *rows;     /* of --from; NULL without */
    struct shoal_stream *stream; /* of --from -, where rows are run as they come */
    int64_t count;               /* tasks; 0: not known yet */
    const char *environment[1001];
    const char *parameters[SHOAL_PARAMETERS_MAX + 2];
};

/* The plan that options and the command's words make. `streams`: rows of stdin are run as
 * they come, so of these only the first are read. Finish it whatever comes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_plan_make(char **words, bool streams, struct shoal_plan *plan,
                                  struct shoal_error *err);
void shoal_plan_finish(struct shoal_plan *plan);

/* --dry-run was said: prints the count and the first commands. */
bool shoal_plan_is_dry(void);
SHOAL_MUST_CHECK
enum shoal_status shoal_plan_print(const struct shoal_plan *plan,
                                   struct shoal_error *err);

/* Begins to use Redis (a local cluster is started where none is configured) and submits.
 * The id is written before anything is sent. A stream has still to be started. */
SHOAL_MUST_CHECK
enum shoal_status shoal_plan_submit(struct shoal_plan *plan, struct shoal_use *use,
                                    char *ret_id, struct shoal_error *err);

/* Goes on with a submission of --from FILE that was cut off: what is there stays, the
 * rest is added, and the job begins. */
SHOAL_MUST_CHECK
enum shoal_status shoal_plan_continue(const char *word, struct shoal_plan *plan,
                                      struct shoal_use *use, char *ret_id,
                                      struct shoal_error *err);

#endif
