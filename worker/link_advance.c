#include "worker/link.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GATHER_MS = 25, /* small outcomes gather so long while every slot has work */
    DEAF_MAX_MS = 2000,
    GARBLED_MOST = 100, /* leases between two heartbeats that are passed over at once */
    COMMITS_MAX = 512,
    LEAP = 1 << 19, /* half of lib.lua's: something was lost when commits leap */
};

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
        shoal_link_set_timer(link->flush, now ? 0 : GATHER_MS);
    link->flush_pending = true;
}

void shoal_link_store_seen(struct shoal_worker *worker, const char *store,
                           int64_t commits) {
    struct shoal_link *link = &worker->link;
    bool other = link->store[0] != '\0' && strcmp(link->store, store) != 0;
    if (other || commits < link->commits || commits - link->commits >= LEAP) {
        shoal_link_register(worker); /* which tells what happened, and repairs it */
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
        /* It was asked for before it drained: nothing of that begins. */
        if (worker->phase != SHOAL_WORKER_WORKS && worker->slots[i].got > 0)
            shoal_slot_give_back(&worker->slots[i]);
        shoal_slot_answered(&worker->slots[i], answer->garbled);
    }
}

void shoal_link_forget_wishes(struct shoal_worker *worker) {
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
        link->deaf_ms = SHOAL_LINK_DEAF_MS;
    }
    if (granted >= link->wished)
        return;
    link->hungry = link->woken;
    if (granted == 0 && link->answers_token &&
        now - link->granted_ms > SHOAL_LINK_DEAF_MS) {
        link->deaf_till_ms = now + link->deaf_ms;
        link->deaf_ms = link->deaf_ms * 2 > DEAF_MAX_MS ? DEAF_MAX_MS : link->deaf_ms * 2;
        shoal_link_set_timer(link->bell_timer, link->deaf_till_ms - shoal_now_ms());
    }
}

/* A lease of which nothing can be made stays with this session until the next heartbeat:
 * asked again, Redis gives what is behind it. */
static void pass_over(struct shoal_link *link) {
    if (link->garbled++ < GARBLED_MOST)
        link->hungry = true;
}

static void try_flush_again(struct shoal_link *link) {
    shoal_link_set_timer(link->flush, SHOAL_LINK_RETRY_MS);
    link->flush_pending = true;
}

static void advance_failed(struct shoal_worker *worker, enum shoal_status status,
                           const struct shoal_error *err) {
    struct shoal_link *link = &worker->link;
    shoal_outbox_came_back(&worker->outbox);
    shoal_link_forget_wishes(worker);
    shoal_link_refused(link, status,
                       err); /* what was lost is sent again when Redis is back */
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
    shoal_link_answered(link);
    shoal_link_end_trouble(link);
    shoal_outbox_each_flying(&worker->outbox, committed, worker);
    shoal_outbox_arrived(&worker->outbox, shoal_now_ms());
    if (link->registering) { /* what was told without these leases gives them back */
        shoal_link_forget_wishes(worker);
    } else {
        after_wishes(link, answer->n_grants);
        if (answer->garbled)
            pass_over(link);
        take_grants(worker, answer);
        shoal_link_store_seen(worker, answer->store,
                              answer->commits); /* it tells them as ours */
    }
    shoal_knowledge_ask(&worker->known, &link->queue);
    if (!answer->alive)
        shoal_link_register(worker);
    if (shoal_outbox_waits(&worker->outbox) || wishes_now(worker) || link->woken) {
        shoal_link_set_timer(link->flush, 0);
        link->flush_pending = true;
    }
    shoal_link_listen(worker);
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

void shoal_link_flush(evutil_socket_t fd, short what, void *owner) {
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
        shoal_link_forget_wishes(worker);
        try_flush_again(link);
        return;
    }
    if (advance.n_wishes > 0)
        link->looked_ms = shoal_now_ms();
    link->answers_token = link->woken;
    link->woken = false;
}
