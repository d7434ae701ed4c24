#include "worker/worker.h"

#include "broker/server.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    GATHER_MS = 25,      /* small outcomes gather so long while every slot has work */
    HEARTBEAT_MS = 2000, /* as in lib.lua */
    LISTEN_MS = 10000,   /* then it looks anyway */
    LOOK_MS = 11000,     /* it looks even if nobody answers */
    DEAF_MS = 50,        /* after a token that led to nothing, doubling to */
    DEAF_MAX_MS = 2000,
    GARBLED_MOST = 100,  /* leases between two heartbeats that are passed over at once */
    RETRY_MS = 500,      /* after Redis refused a call */
    CONNECT_MS = 3000,   /* so that it is found within five seconds when it is back */
    DENIED_MS = 2000,    /* a Redis that refuses all may not be the right one any more */
    SILENT_MS = 20000,   /* without any answer, although nothing seems to be wrong */
    WORD_MS = 10000,     /* between two words about Redis */
    NEW_WORD_MS = 60000, /* before it is said that there is another reason; one that
                            somebody must do something about does not wait */
    COMMITS_MAX = 512,
    DEAD_BYTES = 4096,
    LEAP = 1 << 19, /* half of lib.lua's: something was lost when commits leap */
    PROGRESS_MAX = 256 << 10, /* bytes of what tasks say of themselves */
};

static void listen_again(struct shoal_worker *worker);
static void register_session(struct shoal_worker *worker);
static void flush(evutil_socket_t fd, short what, void *owner);
static void beat(evutil_socket_t fd, short what, void *owner);

static void set_timer(struct event *event, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(event, &tv);
}

/* ---- trouble */

static void say_trouble(struct shoal_trouble *trouble, int64_t now_ms) {
    if (trouble->said_ms != 0 && now_ms - trouble->said_ms < WORD_MS)
        return; /* the watchdog says it when there is still something to say */
    shoal_warn("Redis %s, what runs goes on and outcomes wait: %s", trouble->what,
               trouble->why);
    trouble->said = true;
    trouble->said_ms = now_ms;
}

static void note_trouble(struct shoal_link *link, const char *what,
                         const struct shoal_error *err) {
    struct shoal_trouble *trouble = &link->trouble;
    if (trouble->since_ms != 0)
        return;
    trouble->since_ms = shoal_wall_ms();
    trouble->what = what;
    snprintf(trouble->why, sizeof(trouble->why), "%s", err->text);
    say_trouble(trouble, shoal_now_ms());
}

static void end_trouble(struct shoal_link *link) {
    if (link->trouble.said)
        shoal_info("Redis is back");
    link->trouble.since_ms = link->denied_ms = 0;
    link->trouble.said = false;
}

/* Redis answers, and refuses. The error of a connection that was lost is told by down().
 */
static void refused(struct shoal_link *link, enum shoal_status status,
                    const struct shoal_error *err) {
    if (status == SHOAL_LOST || status == SHOAL_TIMEOUT)
        return;
    link->answered_ms = shoal_now_ms();
    if (status == SHOAL_DENIED && link->denied_ms == 0)
        link->denied_ms = link->answered_ms + (int64_t)(shoal_random() % DENIED_MS);
    note_trouble(link, "refuses", err);
}

/* Redis takes what is done and gives nothing new out. One that is now and then over the
 * edge is told of now and then. */
static void note_full(struct shoal_link *link, bool full) {
    int64_t now = shoal_now_ms();
    if (!full && link->full_said)
        shoal_info("Redis has room again and hands out tasks");
    if (!full)
        link->full_ms = 0;
    else if (link->full_ms == 0)
        link->full_ms = shoal_wall_ms();
    link->full_said = link->full_said && full;
    if (!full || link->full_said ||
        (link->full_said_ms != 0 && now - link->full_said_ms < WORD_MS))
        return;
    shoal_warn(
        "Redis is full (over 90 %% of its maxmemory): it takes outcomes, but hands "
        "out no tasks until there is room; take results out, forget jobs that are "
        "over, or raise maxmemory");
    link->full_said = true;
    link->full_said_ms = now;
}

static void answered(struct shoal_link *link) {
    link->answered_ms = shoal_now_ms();
}

/* ---- what is to be sent */

static bool wishes_now(const struct shoal_worker *worker) {
    struct shoal_wish wish;
    for (int64_t i = 0; i < worker->config->slots; i++) {
        if (shoal_slot_wishes(&worker->slots[i], &wish) &&
            (wish.prefetch || worker->link.hungry))
            return worker->phase == SHOAL_WORKER_WORKS;
    }
    return false;
}

/* An idle slot commits and asks at once; while all have work, outcomes gather. */
void shoal_link_changed(void *owner) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    shoal_knowledge_ask(&worker->known, &link->queue);
    size_t idle = shoal_worker_idle_slots(worker);
    if (idle > link->idle_before)
        link->hungry = true;
    link->idle_before = idle;
    bool now = worker->phase != SHOAL_WORKER_WORKS || wishes_now(worker);
    if (now || !link->flush_pending)
        set_timer(link->flush, now ? 0 : GATHER_MS);
    link->flush_pending = true;
}

static void store_seen(struct shoal_worker *worker, const char *store, int64_t commits) {
    struct shoal_link *link = &worker->link;
    bool other = link->store[0] != '\0' && strcmp(link->store, store) != 0;
    if (other || commits < link->commits || commits - link->commits >= LEAP) {
        register_session(worker); /* which tells what happened, and repairs it */
        return;
    }
    if (store != link->store) /* printed over itself, a text would be lost */
        snprintf(link->store, sizeof(link->store), "%s", store);
    link->commits = commits;
}

static struct shoal_slot *slot_that_wished(struct shoal_worker *worker,
                                           const char *lease) {
    for (int64_t i = 0; i < worker->config->slots; i++) {
        if (shoal_slot_asked_for(&worker->slots[i], lease))
            return &worker->slots[i];
    }
    return NULL;
}

static void take_grant(struct shoal_worker *worker, const struct shoal_grant *grant) {
    struct shoal_slot *slot = slot_that_wished(worker, grant->lease.name);
    if (slot == NULL)
        return; /* the next heartbeat gives it back */
    bool is_signed = worker->trust->required && grant->warrant[0] != '\0';
    struct shoal_known *warrant = NULL,
                       *known =
                           shoal_known_get(&worker->known, SHOAL_KNOWN_SPEC, grant->spec);
    if (is_signed)
        warrant = shoal_known_get(&worker->known, SHOAL_KNOWN_WARRANT, grant->warrant);
    struct shoal_held *held = known == NULL || (is_signed && warrant == NULL)
                                  ? NULL
                                  : shoal_held_create(grant, known, warrant);
    if (held == NULL) {
        shoal_known_release(known);
        shoal_known_release(warrant);
        worker->link.hungry = true; /* the same wish gets the same lease */
        return;
    }
    shoal_slot_take(slot, held);
}

static void take_grants(struct shoal_worker *worker,
                        const struct shoal_advanced *answer) {
    for (size_t i = 0; i < answer->n_grants; i++)
        take_grant(worker, &answer->grants[i]);
    for (int64_t i = 0; i < worker->config->slots; i++) {
        shoal_slot_answered(&worker->slots[i], answer->garbled);
        if (worker->phase != SHOAL_WORKER_WORKS && worker->slots[i].got > 0)
            shoal_slot_give_back(&worker->slots[i]);
    }
}

static void forget_wishes(struct shoal_worker *worker) {
    for (int64_t i = 0; i < worker->config->slots; i++)
        shoal_slot_asks(&worker->slots[i], NULL);
}

/* Tokens that lead to nothing (the work is not for this worker) must not make it spin.
 * Now and then one does because a wish that was under way took the work: then there was
 * some just before. */
static void after_wishes(struct shoal_link *link, size_t granted) {
    int64_t now = shoal_now_ms();
    if (granted > 0) {
        link->granted_ms = now;
        link->deaf_ms = DEAF_MS;
    }
    if (granted >= link->wished)
        return;
    link->hungry = link->woken;
    if (granted == 0 && link->answers_token && now - link->granted_ms > DEAF_MS) {
        link->deaf_till_ms = now + link->deaf_ms;
        link->deaf_ms = link->deaf_ms * 2 > DEAF_MAX_MS ? DEAF_MAX_MS : link->deaf_ms * 2;
        set_timer(link->bell_timer, link->deaf_till_ms - shoal_now_ms());
    }
}

/* A lease of which nothing can be made stays with this session until the next heartbeat:
 * asked again, Redis gives what is behind it. */
static void pass_over(struct shoal_link *link) {
    if (link->garbled++ < GARBLED_MOST)
        link->hungry = true;
}

static void try_flush_again(struct shoal_link *link) {
    set_timer(link->flush, RETRY_MS);
    link->flush_pending = true;
}

static void advance_failed(struct shoal_worker *worker, enum shoal_status status,
                           const struct shoal_error *err) {
    struct shoal_link *link = &worker->link;
    shoal_outbox_came_back(&worker->outbox);
    forget_wishes(worker);
    refused(link, status, err); /* what was lost is sent again when Redis is back */
    try_flush_again(link);
}

static void committed(void *owner, const struct shoal_commit *commit) {
    struct shoal_worker *worker = owner;
    shoal_checkpoints_committed(&worker->checkpoints, commit);
}

static void advanced(void *owner, enum shoal_status status,
                     const struct shoal_advanced *answer, const struct shoal_error *err) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    link->flying = false;
    if (status != SHOAL_OK) {
        advance_failed(worker, status, err);
        return;
    }
    answered(link);
    end_trouble(link);
    shoal_outbox_each_flying(&worker->outbox, committed, worker);
    shoal_outbox_arrived(&worker->outbox, shoal_now_ms());
    if (link->registering) { /* what was told without these leases gives them back */
        forget_wishes(worker);
    } else {
        after_wishes(link, answer->n_grants);
        if (answer->garbled)
            pass_over(link);
        take_grants(worker, answer);
        store_seen(worker, answer->store, answer->commits); /* it tells them as ours */
    }
    shoal_knowledge_ask(&worker->known, &link->queue);
    if (!answer->alive)
        register_session(worker);
    if (shoal_outbox_waits(&worker->outbox) || wishes_now(worker) || link->woken) {
        set_timer(link->flush, 0);
        link->flush_pending = true;
    }
    listen_again(worker);
}

static size_t gather_wishes(struct shoal_worker *worker, struct shoal_wish *wishes) {
    size_t n = 0;
    worker->link.wished = 0;
    for (int64_t i = 0; i < worker->config->slots && worker->phase == SHOAL_WORKER_WORKS;
         i++) {
        if (!shoal_slot_wishes(&worker->slots[i], &wishes[n]) ||
            (!wishes[n].prefetch && !worker->link.hungry))
            continue;
        worker->link.wished += !wishes[n].prefetch;
        shoal_slot_asks(&worker->slots[i], &wishes[n]);
        n++;
    }
    return n;
}

static void flush(evutil_socket_t fd, short what, void *owner) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    (void)fd;
    (void)what;
    link->flush_pending = false;
    if (!link->registered || link->flying)
        return; /* the answer that is waited for comes back here */
    for (int64_t i = 0; i < worker->config->slots; i++)
        shoal_slot_flush(&worker->slots[i]);

    const struct shoal_commit *commits[COMMITS_MAX];
    SHOAL_CLEANUP(shoal_cleanup_free)
    struct shoal_wish *wishes = calloc((size_t)worker->config->slots, sizeof(*wishes));
    if (wishes == NULL) {
        try_flush_again(link);
        return;
    }
    const struct shoal_advance advance = {
        .session = worker->config->session,
        .worker = worker->config->name,
        .commits = commits,
        .n_commits = shoal_outbox_fly(&worker->outbox, commits, COMMITS_MAX),
        .queues = worker->config->queues,
        .wishes = wishes,
        .n_wishes = gather_wishes(worker, wishes),
    };
    if (advance.n_commits == 0 && advance.n_wishes == 0 && !link->woken) {
        if (shoal_outbox_waits(&worker->outbox)) /* without memory for it now */
            try_flush_again(link);
        return;
    }
    enum shoal_status status =
        shoal_session_advance(&link->queue, &advance, advanced, worker, NULL);
    link->flying = status == SHOAL_OK;
    if (status != SHOAL_OK) {
        shoal_outbox_came_back(&worker->outbox);
        forget_wishes(worker);
        try_flush_again(link);
        return;
    }
    if (advance.n_wishes > 0)
        link->looked_ms = shoal_now_ms();
    link->answers_token = link->woken;
    link->woken = false;
}

/* ---- the session */

/* What the worker has in hand, as names of leases. */
struct names {
    char (*items)[SHOAL_LEASE_MAX];
    size_t n;
    size_t room;
};

static void add_name(struct names *names, const char *lease) {
    if (names->n == names->room) {
        size_t room = names->room == 0 ? 64 : names->room * 2;
        char(*items)[SHOAL_LEASE_MAX] = realloc(names->items, room * sizeof(*items));
        if (items == NULL)
            return; /* a lease that goes back is run again, and the
                     * first outcome counts */
        names->items = items;
        names->room = room;
    }
    snprintf(names->items[names->n++], SHOAL_LEASE_MAX, "%s", lease);
}

static void add_lease(void *owner, const struct shoal_lease *lease) {
    add_name(owner, lease->name);
}

static void add_all_names(struct shoal_worker *worker, struct names *names) {
    for (int64_t i = 0; i < worker->config->slots; i++) {
        const struct shoal_slot *slot = &worker->slots[i];
        const struct shoal_held *held = slot->held;
        char name[SHOAL_LEASE_MAX];
        for (; held != NULL; held = held->behind)
            add_name(names, held->lease.name);
        add_name(names, slot->wish);
        for (int64_t k = 1; k < slot->asked; k++) {
            snprintf(name, sizeof(name), "%.17s.%d", slot->wish, (int)k);
            add_name(names, name);
        }
    }
    shoal_outbox_each(&worker->outbox, add_lease, names);
}

/* Leases that Redis does not know: a wish that was not granted and a commit that was
 * accepted are none of them. */
static bool holds_any(const struct shoal_worker *worker,
                      const struct shoal_beaten *answer) {
    for (int64_t i = 0; i < worker->config->slots; i++) {
        const struct shoal_held *held = worker->slots[i].held;
        for (; held != NULL && answer->n_gone > 0; held = held->behind) {
            for (size_t k = 0; k < answer->n_gone; k++) {
                if (strcmp(held->lease.name, answer->gone[k]) == 0)
                    return true;
            }
        }
    }
    return false;
}

static void beaten(void *owner, enum shoal_status status,
                   const struct shoal_beaten *answer, const struct shoal_error *err) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    link->beating = false;
    link->garbled = 0;
    if (status != SHOAL_OK) {
        refused(link, status, err);
        set_timer(link->heartbeat, RETRY_MS);
        return;
    }
    answered(link);
    note_full(link, answer->alive && answer->full);
    int64_t wait =
        answer->alive && answer->wait_ms < HEARTBEAT_MS ? answer->wait_ms : HEARTBEAT_MS;
    set_timer(link->heartbeat, wait < 50 ? 50 : wait);
    for (size_t i = 0; i < answer->n_stops; i++)
        shoal_worker_stop_job(worker, answer->stops[i].job, answer->stops[i].kill);
    if (answer->drain)
        shoal_worker_drain(worker);
    if (!answer->alive || holds_any(worker, answer))
        register_session(worker);
    else
        store_seen(worker, link->store, answer->commits);
}

/* How far tasks say they are. */
static void gather_progress(const struct shoal_worker *worker,
                            struct shoal_buffer *progress) {
    char number[32];
    for (int64_t i = 0; i < worker->config->slots; i++) {
        const struct shoal_slot *slot = &worker->slots[i];
        if (slot->said.index < 0)
            continue;
        snprintf(number, sizeof(number), "%.6g", slot->said.fraction);
        shoal_record_text(progress, slot->said.job);
        shoal_record_int(progress, slot->said.index);
        shoal_record_text(progress, number);
        shoal_record_text(progress, slot->said.text);
    }
}

/* An idle worker gives back the memory that a busy one needed, once. */
static void trim_memory(struct shoal_worker *worker) {
    shoal_outbox_forget_old(&worker->outbox, shoal_now_ms());
    bool idle = shoal_worker_idle_slots(worker) == (size_t)worker->config->slots &&
                shoal_outbox_is_empty(&worker->outbox) && worker->outbox.recent.n == 0;
    if (idle && !worker->link.trimmed)
        malloc_trim(0);
    worker->link.trimmed = idle;
}

static void beat(evutil_socket_t fd, short what, void *owner) {
    struct shoal_worker *worker = owner;
    struct shoal_link *link = &worker->link;
    (void)fd;
    (void)what;
    trim_memory(worker);
    if (!link->registered || link->beating || link->finished)
        return;
    struct names names = {.n = 0};
    struct shoal_buffer progress;
    shoal_buffer_init(&progress, PROGRESS_MAX);
    add_all_names(worker, &names);
    gather_progress(worker, &progress);
    const struct shoal_heartbeat heartbeat = {
        .session = worker->config->session,
        .ttl_ms = worker->config->ttl_ms,
        .leases = (const char(*)[SHOAL_LEASE_MAX])names.items,
        .n_leases = names.n,
        .queues = worker->config->queues,
        .running = (int64_t)shoal_worker_running(worker),
        .draining = worker->phase != SHOAL_WORKER_WORKS,
        .progress = shoal_buffer_text(&progress),
        .progress_len = progress.failed ? 0 : progress.len,
    };
    link->beating = shoal_session_heartbeat(&link->queue, &heartbeat, beaten, worker,
                                            NULL) == SHOAL_OK;
    if (!link->beating)
        set_timer(link->heartbeat, RETRY_MS);
    shoal_knowledge_ask(&worker->known, &link->queue); /* what could not be read before */
    shoal_buffer_finish(&progress);
    free(names.items);
}

void shoal_link_beat_soon(struct shoal_worker *worker) {
    set_timer(worker->link.heartbeat, 0);
}

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
        refused(link, status, err);
        set_timer(link->bell_timer, RETRY_MS);
        return;
    }
    answered(link);
    say_verdict(worker, answer);
    bool is_news = link->trouble.said || link->trouble.since_ms == 0;
    end_trouble(link);
    snprintf(link->store, sizeof(link->store), "%s", answer->store);
    shoal_checkpoints_of_store(&worker->checkpoints, link->store);
    link->commits = answer->commits;
    shoal_spools_set_store(&worker->outbox.spools, link->store);
    if (is_news)
        say_registered(worker);
    link->registered = true;
    link->hungry = true;
    adopt(worker, answer);
    set_timer(link->heartbeat, 0);
    shoal_link_changed(worker);
    listen_again(worker);
}

/* Sessions of those whose place the worker takes. */
static void list_dead(const struct shoal_worker *worker, struct shoal_buffer *dead) {
    shoal_buffer_init(dead, DEAD_BYTES);
    shoal_buffer_add_text(dead, worker->config->dead);
    shoal_spools_sessions(&worker->outbox.spools, dead);
}

static void register_session(struct shoal_worker *worker) {
    struct shoal_link *link = &worker->link;
    const struct shoal_worker_config *config = worker->config;
    char host[256] = "";
    if (link->registering)
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
        set_timer(link->bell_timer, RETRY_MS);
}

/* ---- listening */

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
        refused(link, status, &why);
        set_timer(link->bell_timer, RETRY_MS);
        return;
    }
    link->looked_ms = shoal_now_ms();
    shoal_session_read_message(&link->bell_queue, reply, &message);
    switch (message.type) {
    case SHOAL_MESSAGE_WAKE:
        link->woken = link->hungry = true;
        flush(-1, 0, worker);
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
        listen_again(worker); /* after a token: when it is known what it led to */
}

/* Whether a slot could take something; one that rests cannot. */
static bool has_room(const struct shoal_worker *worker) {
    struct shoal_wish wish;
    for (int64_t i = 0; i < worker->config->slots; i++) {
        if (shoal_slot_wishes(&worker->slots[i], &wish) && !wish.prefetch)
            return true;
    }
    return false;
}

static bool wants_tokens(const struct shoal_worker *worker) {
    return worker->phase == SHOAL_WORKER_WORKS && has_room(worker) &&
           shoal_now_ms() >= worker->link.deaf_till_ms;
}

/* Blocks on the inbox, and on tokens while a slot is idle. */
static void listen_again(struct shoal_worker *worker) {
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
        set_timer(link->bell_timer, RETRY_MS);
}

static void bell_timer(evutil_socket_t fd, short what, void *owner) {
    struct shoal_worker *worker = owner;
    (void)fd;
    (void)what;
    if (worker->link.checked && !worker->link.registered &&
        shoal_redis_is_up(worker->link.redis))
        register_session(worker);
    listen_again(worker);
}

static void bell_up(void *owner) {
    listen_again(owner);
}

/* ---- up and down */

/* Refuses a Redis that would lose jobs; only at the first time, so that a running worker
 * does not end because somebody changed a setting. */
static void checked(void *owner, enum shoal_status status, const redisReply *reply,
                    const struct shoal_error *err) {
    struct shoal_worker *worker = owner;
    struct shoal_server server;
    struct shoal_error why = {.status = SHOAL_OK};
    (void)err;
    if (status != SHOAL_OK)
        return;
    status = shoal_server_read(reply, &server, &why);
    if (status != SHOAL_OK) {
        shoal_warn("cannot tell whether this Redis is fit for a queue: %s", why.text);
    } else if (shoal_server_check(&server, &why) != SHOAL_OK) {
        shoal_err("%s", why.text);
        shoal_worker_quit(worker, 3);
        return;
    } else if (server.aof == 0) {
        shoal_warn(
            "this Redis has no append-only file: what it holds is lost when it ends; "
            "set appendonly yes");
    }
    worker->link.checked = true;
    register_session(worker);
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
    if (link->checked) {
        register_session(worker);
        return;
    }
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    shoal_layout_request(&request, link->queue.prefix);
    enum shoal_status status =
        shoal_redis_send(link->redis, &request, 0, layout_seen, worker, NULL);
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
    link->denied_ms = 0;
    forget_wishes(worker);
    note_trouble(link, "is away", why);
    if (shoal_redis_is_up(link->bell)) /* it may not know yet */
        shoal_redis_drop(link->bell, "the other connection was lost");
}

/* ---- the watchdog */

static void drop_both(struct shoal_worker *worker, const char *why) {
    shoal_redis_drop(worker->link.redis, why);
    shoal_redis_drop(worker->link.bell, why);
}

/* What is still true and was not said, or has another reason by now. */
static void say_again(struct shoal_link *link, int64_t now_ms) {
    struct shoal_trouble *trouble = &link->trouble;
    const char *why = shoal_redis_why(link->redis);
    int64_t pause = shoal_redis_is_refused(link->redis) ? WORD_MS : NEW_WORD_MS;
    if (trouble->since_ms == 0)
        return;
    if (!trouble->said)
        say_trouble(trouble, now_ms);
    if (shoal_redis_is_up(link->redis) || strcmp(why, trouble->why) == 0 ||
        now_ms - trouble->said_ms < pause)
        return;
    trouble->what = "is away";
    snprintf(trouble->why, sizeof(trouble->why), "%s", why);
    say_trouble(trouble, now_ms);
}

/* Outcomes of files that could not be read before. */
static void try_spools_again(struct shoal_worker *worker, int64_t now_ms) {
    struct shoal_link *link = &worker->link;
    if (!link->registered || link->flying)
        return;
    if (shoal_spools_find_again(&worker->outbox.spools, now_ms))
        register_session(worker); /* which tells their leases */
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
    say_again(link, now_ms);
    try_spools_again(worker, now_ms);
    if (link->finished || !shoal_redis_is_up(link->redis)) {
        link->answered_ms = link->looked_ms = now_ms;
    } else if (link->denied_ms != 0 && now_ms - link->denied_ms > DENIED_MS) {
        drop_both(worker, link->trouble.why); /* the address may lead elsewhere now */
    } else if (now_ms - link->answered_ms > SILENT_MS) {
        shoal_err("nothing came from Redis for too long, although it is connected; "
                  "connects again: silent_ms=%" PRId64,
                  now_ms - link->answered_ms);
        link->answered_ms = now_ms;
        drop_both(worker, "nothing came from Redis for too long");
    } else if (!link->registered || worker->phase != SHOAL_WORKER_WORKS ||
               !has_room(worker)) {
        link->looked_ms = now_ms;
    } else if (now_ms - link->looked_ms > LOOK_MS) {
        link->looked_ms = now_ms; /* the bell is silent: it looks anyway */
        link->hungry = true;
        shoal_link_changed(worker);
        listen_again(worker);
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
    link->flush = evtimer_new(worker->base, flush, worker);
    link->heartbeat = evtimer_new(worker->base, beat, worker);
    link->bell_timer = evtimer_new(worker->base, bell_timer, worker);
    if (link->flush == NULL || link->heartbeat == NULL || link->bell_timer == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for timers");
    link->deaf_ms = DEAF_MS;
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
