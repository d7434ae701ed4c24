#include "client/stall.h"

#include "client/text.h"

#include "broker/outcome.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_LEAST_MS = 2000,
    PAUSE_MOST_MS = 60000, /* a list of the fleet costs a call for each worker */
    TEXT_MAX = 2000,
    RECENT_MS = 120000, /* twice as long as a worker that could not is kept from it */
};

enum cause { PAUSED = 1, UNSERVED = 2, NOT_STARTED = 4, FULL = 8 };

/* Whether it was not said yet; it is now, and on a line of its own. */
static bool is_news(struct shoal_stall *stall, enum cause cause) {
    bool is = (stall->said & cause) == 0;
    stall->said |= cause;
    if (is && stall->progress != NULL)
        shoal_progress_clear(stall->progress);
    return is;
}

/* ---- causes, each of which says whether it is the one */

static bool is_paused(struct shoal_stall *stall, struct shoal_use *use,
                      const struct shoal_job *job) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_queue_info *queues = NULL;
    size_t n = 0;
    if (shoal_queue_queues(&use->client->queue, &queues, &n, NULL) != SHOAL_OK)
        return true; /* nothing can be told */
    for (size_t i = 0; i < n; i++) {
        if (!queues[i].paused || strcmp(queues[i].name, job->queue) != 0)
            continue;
        if (is_news(stall, PAUSED))
            shoal_cli_say("shoal: job %s waits, since the queue '%s' is paused; 'shoal "
                          "resume %s' lets it go on",
                          job->id, job->queue, job->queue);
        return true;
    }
    return false;
}

static bool is_full(struct shoal_stall *stall, struct shoal_use *use,
                    const struct shoal_job *job) {
    bool full = false;
    if (shoal_queue_is_full(&use->client->queue, &full, NULL) != SHOAL_OK)
        return true;
    if (full && is_news(stall, FULL))
        shoal_cli_say("shoal: job %s waits, since Redis is full and nothing is handed "
                      "out; 'shoal forget' of jobs that have ended makes room, or raise "
                      "maxmemory",
                      job->id);
    return full;
}

/* Adds the queues of a list that are not among the others yet. */
static void add_queues(struct shoal_buffer *served, const char *list) {
    char name[SHOAL_NAME_MAX + 1];
    for (; *list != '\0'; list += *list == ',') {
        size_t len = strcspn(list, ",");
        bool fits = len < sizeof(name);
        memcpy(name, list, fits ? len : 0);
        name[fits ? len : 0] = '\0';
        list += len;
        if (!shoal_name_is_valid(name) ||
            shoal_name_is_in(shoal_buffer_text(served), name))
            continue;
        if (served->len > 0)
            shoal_buffer_add_char(served, ',');
        shoal_buffer_add_text(served, name);
    }
}

static void say_unserved(const struct shoal_job *job, bool is_local, const char *served) {
    if (*served == '\0')
        shoal_cli_say("shoal: job %s waits, since there is no worker; %s starts one",
                      job->id, is_local ? "'shoal up'" : "shoal-worker");
    else
        shoal_cli_say("shoal: job %s waits, since no worker serves the queue '%s'; "
                      "served are: %s",
                      job->id, job->queue, served);
}

/* One that drains takes nothing new. */
static bool is_unserved(struct shoal_stall *stall, struct shoal_use *use,
                        const struct shoal_job *job) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_worker_info *workers = NULL;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer served;
    size_t n = 0;
    shoal_buffer_init(&served, TEXT_MAX);
    if (shoal_queue_workers(&use->client->queue, &workers, &n, NULL) != SHOAL_OK)
        return true;
    for (size_t i = 0; i < n; i++) {
        if (workers[i].lost || workers[i].draining)
            continue;
        if (shoal_name_is_in(workers[i].queues, job->queue))
            return false;
        add_queues(&served, workers[i].queues);
    }
    if (!stall->has_worker && is_news(stall, UNSERVED))
        say_unserved(job, use->cluster != NULL, shoal_buffer_text(&served));
    return true;
}

static void say_not_started(const struct shoal_job *job,
                            const struct shoal_attempt *attempt) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer worker, why;
    shoal_buffer_init(&worker, TEXT_MAX);
    shoal_buffer_init(&why, TEXT_MAX);
    shoal_text_escape(&worker, attempt->worker, attempt->worker_len);
    shoal_text_escape(&why, attempt->text, attempt->text_len);
    shoal_cli_say("shoal: job %s waits for a worker that can start it and is free; '%s' "
                  "could not: %s",
                  job->id, shoal_buffer_text(&worker), shoal_buffer_text(&why));
}

/* By the last attempt. If that was long ago, those who could not have been asked again
 * since, and the job waits for something else. */
static void look_at_attempts(struct shoal_stall *stall, struct shoal_use *use,
                             const struct shoal_job *job) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *records = NULL;
    struct shoal_attempt attempt;
    if (shoal_queue_attempts(&use->client->queue, job->id, -1, 1, &records, NULL) !=
            SHOAL_OK ||
        records->elements != 1 || records->element[0]->type != REDIS_REPLY_STRING ||
        shoal_attempt_read(records->element[0]->str, records->element[0]->len, &attempt,
                           NULL) != SHOAL_OK)
        return;
    bool recent = shoal_wall_ms() - attempt.at_ms < RECENT_MS;
    if (attempt.reason == SHOAL_REASON_SPAWN && recent && is_news(stall, NOT_STARTED))
        say_not_started(job, &attempt);
}

/* ---- looking */

void shoal_stall_look(struct shoal_stall *stall, struct shoal_use *use, const char *id) {
    struct shoal_job job;
    int64_t now = shoal_now_ms();
    if (now < stall->next_ms)
        return;
    stall->next_ms = now + PAUSE_LEAST_MS;
    if (shoal_describe(use->client, id, &job, NULL) != SHOAL_OK)
        return;
    bool stands =
        job.state == SHOAL_JOB_ACTIVE && job.queued > 0 && job.leased == 0 && !job.held;
    int64_t done = stands ? job.ok + job.failed + job.cancelled + 1 : 0;
    bool still = stands && done == stall->done;
    int64_t pause = still ? stall->pause_ms * 2 : PAUSE_LEAST_MS;
    stall->done = done;
    stall->pause_ms = pause > PAUSE_MOST_MS ? PAUSE_MOST_MS : pause;
    stall->next_ms = now + stall->pause_ms;
    if (still && !is_full(stall, use, &job) && !is_paused(stall, use, &job) &&
        !is_unserved(stall, use, &job))
        look_at_attempts(stall, use, &job);
}
