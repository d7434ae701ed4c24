/* A job's outcomes as rows: fetched, taken apart, given to whoever prints or sums them
 * up. */
#ifndef SHOAL_REPORT_H
#define SHOAL_REPORT_H

#include "client/cli.h"
#include "client/row.h"

struct shoal_report;

/* A job whose spec is garbled or missing has a report too, of rows without parameters. */
SHOAL_MUST_CHECK
enum shoal_status shoal_report_create(struct shoal_client *client, const char *job,
                                      struct shoal_report **ret_report,
                                      struct shoal_error *err);
void shoal_report_destroy(struct shoal_report *report);
void shoal_report_cleanup(struct shoal_report **report);

/* SHOAL_GARBAGE: the spec could not be read. */
SHOAL_MUST_CHECK
enum shoal_status shoal_report_check(const struct shoal_report *report,
                                     struct shoal_error *err);

/* The job as of the last look, and what makes its rows. */
const struct shoal_job *shoal_report_job(const struct shoal_report *report);
const struct shoal_spec *shoal_report_spec(const struct shoal_report *report);
const struct shoal_row_maker *shoal_report_maker(const struct shoal_report *report);

/* The next row in the order of completion. As shoal_results_next(): *ret_more is false at
 * the end, SHOAL_TIMEOUT when there is none yet. After an error the next call goes on
 * with the same row. */
SHOAL_MUST_CHECK
enum shoal_status shoal_report_next(struct shoal_report *report, int64_t timeout_ms,
                                    bool *ret_more, struct shoal_row *row,
                                    struct shoal_error *err);

/* Tells Redis that the rows so far are out; with `take` they are removed there. */
SHOAL_MUST_CHECK
enum shoal_status shoal_report_acknowledge(struct shoal_report *report, bool take,
                                           struct shoal_error *err);

/* Where the rows that are there now end: the entries read so far. */
int64_t shoal_report_position(const struct shoal_report *report);

#endif
