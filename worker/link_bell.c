#include "worker/link.h"

#include "common/clock.h"

enum { LISTEN_MS = 10000 }; /* then it looks anyway */

static void heard(void *owner, enum shoal_status status, const redisReply *reply,
                  const struct shoal_error *err) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    struct shoal_message message;
    struct shoal_error why = {.status = SHOAL_OK};
    (void)err;
    link->listening = link->nudged = false;
    if (status != SHOAL_OK)
        return; /* the bell rings again when its connection is up */
    status = shoal_redis_status_of(reply, &why);
    if (status != SHOAL_OK) { /* not to be asked again at once */
        shoal_link_refused(link, status, &why);
        shoal_link_set_timer(link->bell_timer, SHOAL_LINK_RETRY_MS);
        return;
    }
    link->looked_ms = shoal_now_ms();
    shoal_session_read_message(&link->bell_queue, reply, &message);
    switch (message.type) {
    case SHOAL_MESSAGE_WAKE:
        link->woken = link->hungry = true;
        shoal_link_flush(-1, 0, worker);
        break;
    case SHOAL_MESSAGE_STOP:
    case SHOAL_MESSAGE_KILL:
        shoal_worker_stop_job(worker, message.job, message.type == SHOAL_MESSAGE_KILL);
        break;
    case SHOAL_MESSAGE_SETTLED:
        shoal_worker_settled(worker, message.job, message.lo, message.hi);
        break;
    case SHOAL_MESSAGE_DRAIN:
        shoal_worker_drain(worker);
        break;
    case SHOAL_MESSAGE_NONE:
        link->hungry = true;
        shoal_link_changed(worker);
        break;
    }
    if (message.type != SHOAL_MESSAGE_WAKE)
        shoal_link_listen(worker); /* after a token: when it is known what it led to */
}

bool shoal_link_has_room(const struct shoal_worker *worker) {
    struct shoal_wish wish;
    for (int64_t i = 0; i < worker->config->slots; i++) {
        if (shoal_slot_wishes(&worker->slots[i], &wish) && !wish.prefetch)
            return true;
    }
    return false;
}

static bool wants_tokens(const struct shoal_worker *worker) {
    return worker->phase == SHOAL_WORKER_WORKS && shoal_link_has_room(worker) &&
           shoal_now_ms() >= worker->link.deaf_till_ms;
}

void shoal_link_listen(struct shoal_worker *worker) {
    struct shoal_link *link = &worker->link;
    bool tokens = wants_tokens(worker);
    if (!link->registered || link->finished || !shoal_redis_is_up(link->bell))
        return;
    if (link->listening) {
        if (tokens && !link->hears_wake && !link->nudged)
            link->nudged = shoal_session_nudge(&link->queue, worker->config->session,
                                               NULL) == SHOAL_OK;
        return;
    }
    link->hears_wake = tokens;
    link->listening = shoal_session_listen(&link->bell_queue, worker->config->session,
                                           tokens ? worker->config->queues : NULL,
                                           LISTEN_MS, heard, worker, NULL) == SHOAL_OK;
    if (!link->listening)
        shoal_link_set_timer(link->bell_timer, SHOAL_LINK_RETRY_MS);
}

void shoal_link_ring(evutil_socket_t fd, short what, void *owner) {
    struct shoal_worker *worker = owner;
    (void)fd;
    (void)what;
    if (worker->link.entered && !worker->link.registered &&
        shoal_redis_is_up(worker->link.redis))
        shoal_link_register(worker);
    shoal_link_listen(worker);
}
