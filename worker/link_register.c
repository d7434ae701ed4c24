#include "worker/link.h"

#include "broker/server.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEAD_BYTES = 4096 };

static void tell_lease(struct shoal_link *link, const struct shoal_lease *lease) {
    if (link->told_n == link->told_room) {
        size_t room = link->told_room == 0 ? 64 : link->told_room * 2;
        struct shoal_lease *told = realloc(link->told, room * sizeof(*told));
        if (told == NULL)
            return; /* it goes back and is run again, and the first outcome counts */
        link->told = told;
        link->told_room = room;
    }
    link->told[link->told_n++] = *lease;
}

/* Outcomes that wait: their tasks are done and must not go to others before they arrive.
 */
static void tell_outcomes(void *owner, const struct shoal_lease *lease) {
    if (lease->lo < lease->hi)
        tell_lease(owner, lease);
}

static int compare_leases(const void *a, const void *b) {
    const struct shoal_lease *one = a, *other = b;
    int order = strcmp(one->name, other->name);
    return order != 0 ? order : strcmp(one->job, other->job);
}

/* Of several ranges of one lease, from the first to the last. */
static void join_told(struct shoal_link *link) {
    size_t kept = 0;
    if (link->told_n == 0)
        return;
    qsort(link->told, link->told_n, sizeof(*link->told), compare_leases);
    for (size_t i = 1; i < link->told_n; i++) {
        const struct shoal_lease *lease = &link->told[i];
        struct shoal_lease *last = &link->told[kept];
        if (compare_leases(lease, last) != 0) {
            link->told[++kept] = *lease;
            continue;
        }
        last->lo = lease->lo < last->lo ? lease->lo : last->lo;
        last->hi = lease->hi > last->hi ? lease->hi : last->hi;
        last->attempt = lease->attempt > last->attempt ? lease->attempt : last->attempt;
    }
    link->told_n = kept + 1;
}

/* Every lease in hand, from the task that runs on, and those whose outcomes wait. */
static void tell_leases(struct shoal_worker *worker) {
    worker->link.told_n = 0;
    for (int64_t i = 0; i < worker->config->slots; i++) {
        const struct shoal_held *held = worker->slots[i].held;
        for (; held != NULL; held = held->behind) {
            struct shoal_lease lease = held->lease;
            lease.lo = held->commit->lo;
            if (lease.lo < lease.hi)
                tell_lease(&worker->link, &lease);
        }
    }
    shoal_outbox_each(&worker->outbox, tell_outcomes, &worker->link);
    join_told(&worker->link);
}

static void adopt(struct shoal_worker *worker, const struct shoal_registered *answer) {
    const struct shoal_link *link = &worker->link;
    for (size_t i = 0; i < link->told_n && i < answer->n; i++) {
        int64_t slot = shoal_slot_of_lease(link->told[i].name);
        if (slot < worker->config->slots)
            shoal_slot_adopted(&worker->slots[slot], link->told[i].name,
                               answer->attempts[i]);
    }
}

/* Outcomes of the store that is gone, and those that the other one took without knowing
 * their jobs, are kept where the other one does not get them. */
static void keep_from_other_store(struct shoal_worker *worker) {
    shoal_outbox_repeat_recent(&worker->outbox);
    if (!shoal_outbox_spill(&worker->outbox, shoal_now_ms()))
        shoal_err("outcomes of jobs that it does not know are dropped: commits=%zu",
                  worker->outbox.waiting.n);
}

static void renewed(void *owner, enum shoal_status status, const redisReply *reply,
                    const struct shoal_error *err) {
    (void)owner;
    (void)err;
    if (status == SHOAL_OK && reply->type == REDIS_REPLY_ERROR &&
        strstr(reply->str, "already in progress") == NULL)
        shoal_warn("Redis does not rewrite its append-only file, which may end in the "
                   "middle of a transaction; do it with BGREWRITEAOF: %s",
                   reply->str);
}

static void send_words(struct shoal_link *link, const char *word, const char *more,
                       shoal_redis_reply_fn done) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    shoal_request_text(&request, word);
    if (more != NULL)
        shoal_request_text(&request, more);
    if (shoal_redis_send(link->redis, &request, 0, done, link, NULL) != SHOAL_OK)
        shoal_warn("cannot have Redis rewrite its append-only file; do it with "
                   "BGREWRITEAOF");
}

static void file_seen(void *owner, enum shoal_status status, const redisReply *reply,
                      const struct shoal_error *err) {
    struct shoal_server server;
    (void)err;
    bool known =
        status == SHOAL_OK && shoal_server_read(reply, &server, NULL) == SHOAL_OK;
    if (status == SHOAL_OK && (!known || server.aof_anew != 1))
        send_words(owner, "BGREWRITEAOF", NULL, renewed);
}

/* Redis 7 goes on behind a transaction that its file was cut off in, and what it writes
 * then is part of it when the file is loaded once more. A file made anew has no such end;
 * of a fleet's workers, who all find out, the first has it made. */
static void renew_file(struct shoal_link *link) {
    send_words(link, "INFO", "persistence", file_seen);
}

static void say_verdict(struct shoal_worker *worker,
                        const struct shoal_registered *answer) {
    if (answer->verdict == SHOAL_STORE_ROLLED_BACK) {
        size_t n = shoal_outbox_repeat_recent(&worker->outbox);
        shoal_warn(
            "Redis lost its last moments; what this worker remembers is sent again: "
            "commits=%zu",
            n);
        renew_file(&worker->link);
    } else if (answer->verdict == SHOAL_STORE_REPLACED) {
        keep_from_other_store(worker);
        shoal_err("Redis holds another store than before (flushed, or a backup): "
                  "before=%s now=%s",
                  worker->link.store, answer->store);
    }
}

static void say_registered(const struct shoal_worker *worker) {
    shoal_info("registered: worker=%s session=%s store=%s slots=%" PRId64 " queues=%s",
               worker->config->name, worker->config->session, worker->link.store,
               worker->config->slots, worker->config->queues_text);
}

static void registered(void *owner, enum shoal_status status,
                       const struct shoal_registered *answer,
                       const struct shoal_error *err) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    link->registering = false;
    if (status != SHOAL_OK) {
        shoal_link_refused(link, status, err);
        shoal_link_set_timer(link->bell_timer, SHOAL_LINK_RETRY_MS);
        return;
    }
    shoal_link_answered(link);
    say_verdict(worker, answer);
    bool is_news = link->trouble.said || link->trouble.since_ms == 0;
    shoal_link_end_trouble(link);
    snprintf(link->store, sizeof(link->store), "%s", answer->store);
    shoal_checkpoints_of_store(&worker->checkpoints, link->store);
    link->commits = answer->commits;
    shoal_spools_set_store(&worker->outbox.spools, link->store);
    if (is_news)
        say_registered(worker);
    link->registered = true;
    link->hungry = true;
    adopt(worker, answer);
    shoal_link_set_timer(link->heartbeat, 0);
    shoal_link_changed(worker);
    shoal_link_listen(worker);
}

/* Sessions of those whose place the worker takes. */
static void list_dead(const struct shoal_worker *worker, struct shoal_buffer *dead) {
    shoal_buffer_init(dead, DEAD_BYTES);
    shoal_buffer_add_text(dead, worker->config->dead);
    shoal_spools_sessions(&worker->outbox.spools, dead);
}

void shoal_link_register(struct shoal_worker *worker) {
    struct shoal_link *link = &worker->link;
    const struct shoal_worker_config *config = worker->config;
    char host[256] = "";
    if (link->registering || !link->entered)
        return;
    shoal_spools_find_again(&worker->outbox.spools, INT64_MAX);
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer dead;
    list_dead(worker, &dead);
    tell_leases(worker);
    gethostname(host, sizeof(host) - 1);
    link->registered = false;
    const struct shoal_registration registration = {
        .session = config->session,
        .ttl_ms = config->ttl_ms,
        .dead = shoal_buffer_text(&dead),
        .seen_id = link->store,
        .seen_commits = link->commits,
        .slots = config->slots,
        .name = config->name,
        .host = host,
        .queues = config->queues_text,
        .pid = getpid(),
        .leases = link->told,
        .n_leases = link->told_n,
    };
    enum shoal_status status =
        shoal_session_register(&link->queue, &registration, registered, worker, NULL);
    link->registering = status == SHOAL_OK;
    if (status != SHOAL_OK)
        shoal_link_set_timer(link->bell_timer, SHOAL_LINK_RETRY_MS);
}
