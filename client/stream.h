/* Rows of stdin on their way into an open job, while its results are printed.
 *
 *   stdin --> parser --> pack --> appender --> Redis --> workers --> rows --> stdout
 *             ^                                                       |
 *             +--- no more is read while the window is full <---------+
 *
 * Once started it works whenever the client's loop runs: it reads when there is something
 * to read, and never waits for it; a pack is sent when it is full, or when its first row
 * has waited a few milliseconds. So one loop serves stdin, Redis and whoever prints.
 *
 * A job keeps everything, as any job does, until it has had KEPT_BYTES of arguments or
 * has as many bytes of results; from then on what is out is taken out of Redis. */
#ifndef SHOAL_STREAM_H
#define SHOAL_STREAM_H

#include "client/report.h"
#include "client/row_parser.h"

struct shoal_stream;

/* Reads until the first rows are there, which this waits for. SHOAL_INVALID: there are
 * none, or one of them is wrong. `name` is for sentences. */
SHOAL_MUST_CHECK
enum shoal_status shoal_stream_open(int fd, const char *name,
                                    enum shoal_rows_format format, int64_t repetitions,
                                    struct shoal_stream **ret_stream,
                                    struct shoal_error *err);
void shoal_stream_destroy(struct shoal_stream *stream); /* NULL is fine */

/* NULL behind the last; NULL for plain lines. */
const char *const *shoal_stream_columns(const struct shoal_stream *stream);

/* The rows go into that job from now on. Destroy the stream before the client. */
SHOAL_MUST_CHECK
enum shoal_status shoal_stream_start(struct shoal_stream *stream,
                                     struct shoal_client *client, const char *job,
                                     struct shoal_error *err);

/* Sends again what was cut off, and shows Redis that somebody is there; call it every
 * now and then. A job that takes no more rows is no error here. *ret_trouble, cleared or
 * a sentence: Redis takes nothing at the moment. */
SHOAL_MUST_CHECK
enum shoal_status shoal_stream_tend(struct shoal_stream *stream,
                                    struct shoal_error *ret_trouble,
                                    struct shoal_error *err);

/* Lets the loop run, without waiting, for whoever has so much to print that it would not;
 * cheap. */
void shoal_stream_turn(struct shoal_stream *stream);

/* The row of a task is out. */
void shoal_stream_row(struct shoal_stream *stream, int64_t index);

/* There are no more rows as of `job`. Those that others have taken are not waited for. */
void shoal_stream_no_rows(struct shoal_stream *stream, const struct shoal_job *job);

/* Whether so many rows are out that Redis should be told now. */
bool shoal_stream_wants_acknowledging(const struct shoal_stream *stream);

/* Tells Redis, as shoal_report_acknowledge(), and takes out what has to go. */
SHOAL_MUST_CHECK
enum shoal_status shoal_stream_acknowledge(struct shoal_stream *stream,
                                           struct shoal_report *report,
                                           struct shoal_error *err);

/* Whether rows are taken out of Redis when they are out. */
bool shoal_stream_takes(const struct shoal_stream *stream);

/* Nothing more is read or appended. */
void shoal_stream_stop(struct shoal_stream *stream);

/* Whether that was before the end of the input. */
bool shoal_stream_was_cut(const struct shoal_stream *stream);

/* Stops, and closes the job unless that is done or it takes no more anyway. Waits. */
void shoal_stream_leave(struct shoal_stream *stream);

/* Why rows are missing in a job that has ended: one was wrong (SHOAL_INVALID), or the job
 * took no more of them (SHOAL_REFUSED, SHOAL_UNKNOWN). SHOAL_OK: none are. */
SHOAL_MUST_CHECK
enum shoal_status shoal_stream_check(const struct shoal_stream *stream,
                                     struct shoal_error *err);

#endif
