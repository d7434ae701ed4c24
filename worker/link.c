#include "worker/link.h"

#include "broker/server.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 11000,   /* it looks even if nobody answers */
    CONNECT_MS = 3000, /* so that it is found within five seconds when it is back */
    SILENT_MS = 20000, /* without any answer, although nothing seems to be wrong */
};

void shoal_link_set_timer(struct event *event, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(event, &tv);
}

/* ---- up and down */

static void bell_up(void *owner) {
    shoal_link_listen(owner);
}

/* Jobs need no signature where nobody else can write: by no port either, which may be one
 * of a Redis that was started again. */
static enum shoal_status check_alone(const struct shoal_worker *worker,
                                     const struct shoal_server *server,
                                     struct shoal_error *err) {
    const struct shoal_redis_address *address = &worker->config->address;
    char port[48] = "may listen on a port";
    if (!address->own_alone || !shoal_server_is_open(server, address))
        return SHOAL_OK;
    if (server->port > 0)
        snprintf(port, sizeof(port), "listens on port %" PRId64, server->port);
    return shoal_error_set(err, SHOAL_DENIED,
                           "this Redis %s as well, by which others could have jobs run "
                           "here that nobody signed: start it with --port 0, or give it "
                           "a password, or name keys (--trust-keys), or say "
                           "--trust-redis",
                           port);
}

/* What runs goes on, and is told of when that Redis is closed again. */
static void stay_outside(struct shoal_link *link, const struct shoal_error *why) {
    if (link->trouble.since_ms != 0 && strcmp(link->trouble.why, why->text) != 0)
        shoal_link_end_trouble(link); /* it is there, and this is another one */
    shoal_link_refused(link, why->status, why);
}

static void enter(struct shoal_worker *worker, const struct shoal_server *server) {
    struct shoal_error why = {.status = SHOAL_OK};
    if (check_alone(worker, server, &why) == SHOAL_OK) {
        worker->link.checked = worker->link.entered = true;
        shoal_link_register(worker);
    } else if (worker->link.checked) {
        stay_outside(&worker->link, &why);
    } else {
        shoal_err("%s", why.text);
        shoal_worker_quit(worker, 3);
    }
}

/* Refuses a Redis that would lose jobs; only at the first time, so that a running worker
 * does not end because somebody changed a setting. */
static void checked(void *owner, enum shoal_status status, const redisReply *reply,
                    const struct shoal_error *err) {
    struct shoal_worker *worker = owner;
    struct shoal_server server = {.port = -1};
    struct shoal_error why = {.status = SHOAL_OK};
    (void)err;
    if (status != SHOAL_OK)
        return;
    bool is_told = shoal_server_read(reply, &server, &why) == SHOAL_OK;
    if (shoal_reply_passes(reply)) {
        shoal_redis_drop(worker->link.redis, why.text);
        return;
    }
    if (worker->link.checked) {
        enter(worker, &server);
        return;
    }
    status = is_told ? shoal_server_check(&server, &why) : SHOAL_OK;
    if (status == SHOAL_GARBAGE) {
        shoal_redis_drop(worker->link.redis, why.text);
        return;
    }
    if (status != SHOAL_OK) {
        shoal_err("%s", why.text);
        shoal_worker_quit(worker, 3);
        return;
    }
    if (!is_told) {
        shoal_warn("cannot tell whether this Redis is fit for a queue: %s", why.text);
    } else if (server.aof == 0) {
        shoal_warn(
            "this Redis has no append-only file: what it holds is lost when it ends; "
            "set appendonly yes");
    }
    enter(worker, &server);
}

/* A store of another version, as the worker begins; later the scripts say so, and
 * outcomes wait. */
static void layout_seen(void *owner, enum shoal_status status, const redisReply *reply,
                        const struct shoal_error *err) {
    struct shoal_worker *worker = owner;
    struct shoal_error why = {.status = SHOAL_OK};
    (void)err;
    if (status != SHOAL_OK || shoal_layout_check(reply, &why) == SHOAL_OK ||
        reply->type == REDIS_REPLY_ERROR)
        return;
    shoal_err("%s", why.text);
    shoal_worker_quit(worker, 3);
}

static void up(void *owner) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    link->answered_ms = shoal_now_ms(); /* the watchdog's time begins */
    link->entered = link->checked && !worker->config->address.own_alone;
    if (link->entered) {
        shoal_link_register(worker);
        return;
    }
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    enum shoal_status status = SHOAL_OK;
    shoal_request_init(&request);
    if (!link->checked) {
        shoal_layout_request(&request, link->queue.prefix);
        status = shoal_redis_send(link->redis, &request, 0, layout_seen, worker, NULL);
    }
    shoal_request_clear(&request);
    shoal_request_text(&request, "INFO");
    if (status == SHOAL_OK)
        status = shoal_redis_send(link->redis, &request, 0, checked, worker, NULL);
    if (status != SHOAL_OK)
        shoal_redis_drop(link->redis, "INFO could not be sent");
}

static void down(void *owner, const struct shoal_error *why) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    link->registered = link->registering = link->flying = link->beating = false;
    link->entered = false;
    link->denied_ms = 0;
    shoal_link_forget_wishes(worker);
    shoal_link_note_trouble(link, shoal_link_how(link), why);
    if (shoal_redis_is_up(link->bell)) /* it may not know yet */
        shoal_redis_drop(link->bell, "the other connection was lost");
}

/* ---- the watchdog */

static void drop_both(struct shoal_worker *worker, const char *why) {
    shoal_redis_drop(worker->link.redis, why);
    shoal_redis_drop(worker->link.bell, why);
}

/* Outcomes of files that could not be read before. */
static void try_spools_again(struct shoal_worker *worker, int64_t now_ms) {
    struct shoal_link *link = &worker->link;
    if (!link->registered || link->flying)
        return;
    if (shoal_spools_find_again(&worker->outbox.spools, now_ms))
        shoal_link_register(worker); /* which tells their leases */
    else if (!link->flush_pending && shoal_outbox_waits(&worker->outbox))
        shoal_link_changed(worker);
}

/* A worker that is alive consumes. While it has no connection it tries for one, which
 * ends in up() or down(); while it has one, heartbeats are answered every few seconds, or
 * refused; and while a slot is idle it asks for work, or hears that there is none, every
 * ten seconds. Should any of that not be so, then something is wrong that nobody thought
 * of, and everything begins anew. */
void shoal_link_tick(struct shoal_worker *worker, int64_t now_ms) {
    struct shoal_link *link = &worker->link;
    bool away = !link->registered || link->trouble.since_ms != 0;
    shoal_outbox_tick(&worker->outbox, away, now_ms);
    shoal_link_note_flaps(link, now_ms);
    shoal_link_say_again(link, now_ms);
    try_spools_again(worker, now_ms);
    if (link->finished || !shoal_redis_is_up(link->redis)) {
        link->answered_ms = link->looked_ms = now_ms;
    } else if (link->denied_ms != 0 && now_ms - link->denied_ms > SHOAL_LINK_DENIED_MS) {
        drop_both(worker, link->trouble.why); /* the address may lead elsewhere now */
    } else if (now_ms - link->answered_ms > SILENT_MS) {
        shoal_err("nothing came from Redis for too long, although it is connected; "
                  "connects again: silent_ms=%" PRId64,
                  now_ms - link->answered_ms);
        link->answered_ms = now_ms;
        drop_both(worker, "nothing came from Redis for too long");
    } else if (!link->registered || worker->phase != SHOAL_WORKER_WORKS ||
               !shoal_link_has_room(worker)) {
        link->looked_ms = now_ms;
    } else if (now_ms - link->looked_ms > LOOK_MS) {
        link->looked_ms = now_ms; /* the bell is silent: it looks anyway */
        link->hungry = true;
        shoal_link_changed(worker);
        shoal_link_listen(worker);
    }
}

/* ---- looking */

int64_t shoal_link_silent_ms(const struct shoal_worker *worker) {
    const struct shoal_link *link = &worker->link;
    bool owes = shoal_redis_is_up(link->redis) &&
                (link->beating || link->flying || link->registering);
    return owes ? shoal_now_ms() - link->answered_ms : 0;
}

bool shoal_link_is_away(const struct shoal_worker *worker) {
    const struct shoal_link *link = &worker->link;
    return !link->registered &&
           (!shoal_redis_is_up(link->redis) || link->trouble.since_ms != 0);
}

/* ---- life */

bool shoal_link_try_to_end(struct shoal_worker *worker) {
    struct shoal_link *link = &worker->link;
    if (link->finished)
        return true;
    if (!link->registered || link->flying || !shoal_outbox_is_empty(&worker->outbox))
        return false;
    link->finished = shoal_session_finish(&link->queue, worker->config->session, NULL,
                                          NULL, NULL) == SHOAL_OK;
    return false; /* the next look finds it sent */
}

static enum shoal_status make_connections(struct shoal_worker *worker,
                                          struct shoal_error *err) {
    struct shoal_link *link = &worker->link;
    char name[128];
    snprintf(name, sizeof(name), "shoal-worker-%s", worker->config->name);
    const struct shoal_redis_options options = {
        .connect_timeout_ms = CONNECT_MS, .client_name = name, .reconnect = true};
    const struct shoal_redis_events events = {.up = up, .down = down, .owner = worker};
    const struct shoal_redis_events bell_events = {.up = bell_up, .owner = worker};
    enum shoal_status status = shoal_redis_create(worker->base, &worker->config->address,
                                                  &options, &events, &link->redis, err);
    if (status == SHOAL_OK)
        status = shoal_redis_create(worker->base, &worker->config->address, &options,
                                    &bell_events, &link->bell, err);
    return status;
}

enum shoal_status shoal_link_init(struct shoal_worker *worker, struct shoal_error *err) {
    struct shoal_link *link = &worker->link;
    enum shoal_status status = make_connections(worker, err);
    if (status != SHOAL_OK)
        return status;
    shoal_queue_init(&link->queue, link->redis, worker->config->name_space, 10000);
    shoal_queue_init(&link->bell_queue, link->bell, worker->config->name_space, 10000);
    link->flush = evtimer_new(worker->base, shoal_link_flush, worker);
    link->heartbeat = evtimer_new(worker->base, shoal_link_beat, worker);
    link->bell_timer = evtimer_new(worker->base, shoal_link_ring, worker);
    if (link->flush == NULL || link->heartbeat == NULL || link->bell_timer == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for timers");
    link->deaf_ms = SHOAL_LINK_DEAF_MS;
    shoal_redis_start(link->redis);
    shoal_redis_start(link->bell);
    return SHOAL_OK;
}

struct shoal_queue *shoal_link_queue(struct shoal_worker *worker) {
    return worker->link.registered ? &worker->link.queue : NULL;
}

void shoal_link_finish(struct shoal_worker *worker) {
    struct shoal_link *link = &worker->link;
    struct event *events[] = {link->flush, link->heartbeat, link->bell_timer};
    shoal_redis_destroy(link->redis);
    shoal_redis_destroy(link->bell);
    free(link->told);
    for (size_t i = 0; i < SHOAL_COUNT(events); i++) {
        if (events[i] != NULL)
            event_free(events[i]);
    }
}

/* What an upgrade takes along; the connections are made anew, and the session registers
 * again. */
void shoal_link_carry(struct shoal_worker *worker, struct shoal_handover *handover) {
    struct shoal_link *link = &worker->link;
    shoal_carry_flag(handover, &link->checked);
    shoal_carry_text(handover, link->store, sizeof(link->store));
    SHOAL_CARRY(handover, link->commits, 0, INT64_MAX);
}
