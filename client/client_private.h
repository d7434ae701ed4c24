/* What the command line needs of a client besides shoal.h. */
#ifndef SHOAL_CLIENT_PRIVATE_H
#define SHOAL_CLIENT_PRIVATE_H

#include "broker/queue.h"
#include "client/mailbox.h"
#include "client/shoal.h"
#include "common/spec.h"

#include <event2/event.h>

struct shoal_client {
    struct event_base *base;
    struct shoal_redis *redis;
    struct shoal_queue queue;
    struct shoal_mailbox *mailbox;
    struct shoal_signer *signer; /* NULL: it does not sign */
};

/* Connects at the first call. `check`: now, and only to a Redis that is fit for a queue;
 * who only looks is told at once when Redis is away. */
SHOAL_MUST_CHECK
enum shoal_status shoal_client_open(const struct shoal_redis_address *address,
                                    const char *name_space, int64_t timeout_ms,
                                    bool check, struct shoal_client **ret_client,
                                    struct shoal_error *err);

/* The same check of a client that was opened without. While Redis says that it is not
 * ready (it loads its data, or is busy) it waits, as long as the client waits for any
 * answer, and tells `waits` (or NULL) why, once. */
SHOAL_MUST_CHECK
enum shoal_status shoal_client_check(struct shoal_client *client,
                                     void (*waits)(const char *why),
                                     struct shoal_error *err);

/* The key that signs: of that file, or (NULL) the usual one, which need not be there.
 * *ret_signer may be NULL. */
SHOAL_MUST_CHECK
enum shoal_status shoal_client_find_signer(const char *path,
                                           struct shoal_signer **ret_signer,
                                           struct shoal_error *err);

/* What the client submits and appends from now on is signed, unless `signer` is NULL. It
 * is the client's from here on, whatever comes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_client_sign_with(struct shoal_client *client,
                                         struct shoal_signer *signer, int64_t valid_ms,
                                         struct shoal_error *err);

/* Lets `ms` pass; the loop's events, signals among them, happen meanwhile. Returns early
 * when one calls event_base_loopbreak(). */
void shoal_client_pause(struct shoal_client *client, int64_t ms);

/* Whether it is told of news of that job. */
bool shoal_client_is_told(const struct shoal_client *client, const struct shoal_job *job);

/* user@host, as jobs tell who submitted them. */
void shoal_client_owner(char *text, size_t room);

/* A spec from options: what they say, checked. Finish it with shoal_spec_finish(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_spec_from_options(const struct shoal_submit_options *options,
                                          struct shoal_spec *ret_spec,
                                          struct shoal_error *err);

/* Sends a job whose spec is made. `arguments`: they are appended later. */
SHOAL_MUST_CHECK
enum shoal_status shoal_submit_spec(struct shoal_client *client,
                                    const struct shoal_submit_options *options,
                                    const struct shoal_spec *spec, const char *id,
                                    struct shoal_error *err);

/* When the time of a caller is over, by shoal_now_ms(). Negative: never, INT64_MAX. */
int64_t shoal_deadline_ms(int64_t timeout_ms);

/* The same as shoal_results_create(), of which the job itself was looked at. */
SHOAL_MUST_CHECK
enum shoal_status shoal_results_open(struct shoal_client *client, const char *job,
                                     struct shoal_results **ret_results,
                                     struct shoal_error *err);

/* The job as of the last look that the iterator took. */
const struct shoal_job *shoal_results_job(const struct shoal_results *results);

/* How many entries of the results list were read, the trimmed ones included. */
int64_t shoal_results_position(const struct shoal_results *results);

#endif
