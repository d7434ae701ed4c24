#include "broker/appender.h"

#include "broker/scripts.h"
#include "common/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { PACKS_MOST = 8, BYTES_MOST = 4 << 20 };

struct pack {
    STAILQ_ENTRY(pack) link;
    struct shoal_appender *appender; /* NULL: nobody waits for its answer any more */
    const struct shoal_script *script;
    struct shoal_request args;
    bool sent; /* and neither answered nor lost */
    bool there;
};

STAILQ_HEAD(pack_list, pack);

struct shoal_appender {
    struct shoal_queue *queue;
    char job[13];
    void (*answered)(void *owner);
    void *owner;
    struct pack_list
        packs; /* in the order of their tasks, those that are there left out */
    size_t n;
    size_t bytes;
    struct shoal_error trouble;
};

static void destroy_pack(struct pack *pack) {
    shoal_request_finish(&pack->args);
    free(pack);
}

enum shoal_status shoal_appender_create(struct shoal_queue *queue, const char *job,
                                        void (*answered)(void *owner), void *owner,
                                        struct shoal_appender **ret_appender,
                                        struct shoal_error *err) {
    struct shoal_appender *appender = calloc(1, sizeof(*appender));
    if (appender == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for appending tasks");
    appender->queue = queue;
    appender->answered = answered;
    appender->owner = owner;
    snprintf(appender->job, sizeof(appender->job), "%s", job);
    STAILQ_INIT(&appender->packs);
    *ret_appender = appender;
    return SHOAL_OK;
}

void shoal_appender_destroy(struct shoal_appender *appender) {
    if (appender == NULL)
        return;
    while (!STAILQ_EMPTY(&appender->packs)) {
        struct pack *pack = STAILQ_FIRST(&appender->packs);
        STAILQ_REMOVE_HEAD(&appender->packs, link);
        pack->appender = NULL;
        if (!pack->sent)
            destroy_pack(pack);
    }
    free(appender);
}

void shoal_appender_cleanup(struct shoal_appender **appender) {
    shoal_appender_destroy(*appender);
}

bool shoal_appender_has_room(const struct shoal_appender *appender) {
    return appender->n < PACKS_MOST && appender->bytes < BYTES_MOST;
}

bool shoal_appender_is_idle(const struct shoal_appender *appender) {
    return appender->n == 0;
}

const struct shoal_error *shoal_appender_trouble(const struct shoal_appender *appender) {
    return &appender->trouble;
}

static void send_all(struct shoal_appender *appender);

/* ---- answers */

static void drop_those_that_are_there(struct shoal_appender *appender) {
    struct pack *pack;
    while ((pack = STAILQ_FIRST(&appender->packs)) != NULL && pack->there) {
        STAILQ_REMOVE_HEAD(&appender->packs, link);
        appender->n--;
        appender->bytes -= pack->args.words.len;
        destroy_pack(pack);
    }
}

/* A pack is refused as a gap also when an earlier one has still to go its way, behind
 * FUNCTION LOAD where Redis did not know the function: only what the first one meets
 * counts. */
static void answer(void *owner, enum shoal_status status, const redisReply *reply,
                   const struct shoal_error *err) {
    struct pack *pack = owner;
    struct shoal_appender *appender = pack->appender;
    struct shoal_error why = {.status = SHOAL_OK};
    pack->sent = false;
    if (appender == NULL) {
        destroy_pack(pack);
        return;
    }
    if (status == SHOAL_OK)
        pack->there = shoal_redis_status_of(reply, &why) == SHOAL_OK;
    else
        why = *err;
    if (!pack->there && pack == STAILQ_FIRST(&appender->packs))
        appender->trouble = why;
    drop_those_that_are_there(appender);
    send_all(appender); /* a close that waited for this */
    if (appender->answered != NULL)
        appender->answered(appender->owner);
}

/* ---- sending */

static void send_all(struct shoal_appender *appender) {
    struct shoal_queue *queue = appender->queue;
    struct pack *pack;
    STAILQ_FOREACH(pack, &appender->packs, link) {
        if (appender->trouble.status != SHOAL_OK)
            return;
        if (pack->sent || pack->there)
            continue;
        if (pack->script == &shoal_script_close && pack != STAILQ_FIRST(&appender->packs))
            return; /* only when all the others are there */
        pack->sent = shoal_script_send(queue->redis, pack->script, queue->prefix,
                                       &pack->args, queue->timeout_ms, answer, pack,
                                       &appender->trouble) == SHOAL_OK;
    }
}

void shoal_appender_send(struct shoal_appender *appender) {
    shoal_error_clear(&appender->trouble);
    send_all(appender);
}

/* Takes a pack over whose words are written. */
static enum shoal_status enqueue(struct shoal_appender *appender, struct pack *pack,
                                 struct shoal_error *err) {
    enum shoal_status status =
        shoal_buffer_check(&pack->args.words, "a pack of arguments", err);
    if (status != SHOAL_OK) {
        destroy_pack(pack);
        return status;
    }
    STAILQ_INSERT_TAIL(&appender->packs, pack, link);
    appender->n++;
    appender->bytes += pack->args.words.len;
    send_all(appender);
    return SHOAL_OK;
}

static struct pack *make_pack(struct shoal_appender *appender,
                              const struct shoal_script *script,
                              struct shoal_error *err) {
    struct pack *pack = calloc(1, sizeof(*pack));
    if (pack == NULL) {
        shoal_error_set(err, SHOAL_MEMORY, "no memory for appending tasks");
        return NULL;
    }
    pack->appender = appender;
    pack->script = script;
    shoal_request_init(&pack->args);
    return pack;
}

enum shoal_status shoal_appender_add(struct shoal_appender *appender, int64_t first,
                                     int64_t n, const char *bytes, size_t len,
                                     struct shoal_error *err) {
    struct pack *pack = make_pack(appender, &shoal_script_append, err);
    if (pack == NULL)
        return SHOAL_MEMORY;
    enum shoal_status status = shoal_queue_append_words(
        appender->queue, appender->job, first, n, bytes, len, &pack->args, err);
    if (status == SHOAL_OK)
        return enqueue(appender, pack, err);
    destroy_pack(pack);
    return status;
}

enum shoal_status shoal_appender_close(struct shoal_appender *appender,
                                       struct shoal_error *err) {
    struct pack *pack = make_pack(appender, &shoal_script_close, err);
    if (pack == NULL)
        return SHOAL_MEMORY;
    shoal_request_text(&pack->args, appender->job);
    return enqueue(appender, pack, err);
}

/* ---- waiting */

/* Sends the first pack by itself: this connects, repeats where it may, and tells what is
 * really the matter with it. */
static enum shoal_status run_first(struct shoal_appender *appender,
                                   struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    struct shoal_queue *queue = appender->queue;
    struct pack *first = STAILQ_FIRST(&appender->packs);
    enum shoal_status status =
        shoal_script_run(queue->redis, first->script, queue->prefix, &first->args,
                         queue->timeout_ms, &reply, err);
    if (status != SHOAL_OK)
        return status;
    first->there = true;
    drop_those_that_are_there(appender);
    shoal_appender_send(appender);
    return SHOAL_OK;
}

enum shoal_status shoal_appender_wait(struct shoal_appender *appender, bool all,
                                      struct shoal_error *err) {
    struct event_base *base = shoal_redis_base(appender->queue->redis);
    while (all ? appender->n > 0 : !shoal_appender_has_room(appender)) {
        enum shoal_status status = SHOAL_OK;
        if (!STAILQ_FIRST(&appender->packs)->sent)
            status = run_first(appender, err);
        else if (event_base_loop(base, EVLOOP_ONCE) != 0)
            status = shoal_error_set(err, SHOAL_SYSTEM, "the event loop failed: %s",
                                     strerror(errno));
        if (status != SHOAL_OK)
            return status;
    }
    return SHOAL_OK;
}
