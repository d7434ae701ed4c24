/*     rest --an hour--> goes through --a hundred jobs--> asks --answers--> goes through
 *      ^                     |
 *      +---- behind the last +
 *
 * A job that Redis does not know is over only if Redis is the one whose jobs these are:
 * behind the questions it is asked for its store, and nothing is removed before it has
 * named the right one. */
#include "worker/janitor.h"

#include "broker/keys.h"
#include "common/id.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

static const int64_t HOUR_MS = INT64_C(3600) * 1000;

void shoal_janitor_init(struct shoal_janitor *janitor,
                        struct shoal_checkpoints *checkpoints) {
    *janitor = (struct shoal_janitor){.checkpoints = checkpoints};
}

void shoal_janitor_finish(struct shoal_janitor *janitor) {
    if (janitor->folder != NULL)
        closedir(janitor->folder);
    janitor->folder = NULL;
}

/* ---- asking */

static void answered(void *owner, enum shoal_status status, const redisReply *reply,
                     const struct shoal_error *err) {
    struct shoal_janitor *janitor = owner;
    int64_t known = 1;
    (void)err;
    janitor->under_way--;
    janitor->unknown[janitor->answered++] =
        status == SHOAL_OK && shoal_reply_int(reply, &known) && known == 0;
}

static void forget_unknown(struct shoal_janitor *janitor) {
    for (size_t i = 0; i < janitor->n; i++) {
        if (!janitor->unknown[i])
            continue;
        shoal_info("the checkpoints of a job that is forgotten go: job=%s",
                   janitor->jobs[i]);
        shoal_checkpoints_forget(janitor->checkpoints, janitor->jobs[i]);
    }
}

static void named_store(void *owner, enum shoal_status status, const redisReply *reply,
                        const struct shoal_error *err) {
    struct shoal_janitor *janitor = owner;
    const char *store = NULL, *mine = strrchr(janitor->of, '/') + 1;
    (void)err;
    janitor->under_way--;
    if (status == SHOAL_OK && shoal_reply_text(reply, &store) &&
        strcmp(store, mine) == 0 && janitor->answered == janitor->n &&
        strcmp(janitor->of, janitor->checkpoints->folder) == 0)
        forget_unknown(janitor);
}

static void send_question(struct shoal_janitor *janitor, struct shoal_queue *queue,
                          const char *command, const char *key, const char *field,
                          shoal_redis_reply_fn done) {
    struct shoal_request request;
    shoal_request_init(&request);
    shoal_request_text(&request, command);
    shoal_request_text(&request, key);
    if (field != NULL)
        shoal_request_text(&request, field);
    janitor->under_way +=
        shoal_redis_send(queue->redis, &request, 0, done, janitor, NULL) == SHOAL_OK;
    shoal_request_finish(&request);
}

/* One whose question could not be sent is left out: too few answers, and nothing is
 * done. Nor is it when only the last could not be. */
static void ask(struct shoal_janitor *janitor, struct shoal_queue *queue) {
    char key[SHOAL_KEY_MAX];
    janitor->answered = 0;
    for (size_t i = 0; i < janitor->n; i++) {
        shoal_key_make(key, queue->prefix, SHOAL_KEY_JOB, janitor->jobs[i]);
        send_question(janitor, queue, "EXISTS", key, NULL, answered);
    }
    shoal_key_make(key, queue->prefix, SHOAL_KEY_EPOCH, "");
    send_question(janitor, queue, "HGET", key, "id", named_store);
}

/* ---- going through */

static void begin(struct shoal_janitor *janitor, int64_t now_ms) {
    janitor->next_ms = now_ms + HOUR_MS;
    snprintf(janitor->of, sizeof(janitor->of), "%s", janitor->checkpoints->folder);
    janitor->folder = shoal_checkpoints_list(janitor->checkpoints);
}

/* The next jobs that have checkpoints; none behind the last. */
static void read_jobs(struct shoal_janitor *janitor) {
    const struct dirent *entry;
    janitor->n = 0;
    while (janitor->n < SHOAL_JANITOR_JOBS &&
           (entry = readdir(janitor->folder)) != NULL) {
        if (shoal_id_is_valid(entry->d_name))
            memcpy(janitor->jobs[janitor->n++], entry->d_name, sizeof(*janitor->jobs));
    }
}

void shoal_janitor_tick(struct shoal_janitor *janitor, struct shoal_queue *queue,
                        int64_t now_ms) {
    if (janitor->checkpoints->folder[0] == '\0')
        return;
    shoal_checkpoints_clean(janitor->checkpoints);
    if (queue == NULL || janitor->under_way > 0)
        return;
    if (janitor->folder == NULL && now_ms >= janitor->next_ms)
        begin(janitor, now_ms);
    if (janitor->folder == NULL)
        return;
    read_jobs(janitor);
    if (janitor->n > 0)
        ask(janitor, queue);
    else
        shoal_janitor_finish(janitor);
}
