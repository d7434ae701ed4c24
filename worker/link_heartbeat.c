#include "worker/link.h"

#include "common/clock.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEARTBEAT_MS = 2000,      /* as in lib.lua */
    PROGRESS_MAX = 256 << 10, /* bytes of what tasks say of themselves */
};

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
        shoal_link_refused(link, status, err);
        shoal_link_set_timer(link->heartbeat, SHOAL_LINK_RETRY_MS);
        return;
    }
    shoal_link_answered(link);
    shoal_link_note_full(link, answer->alive && answer->full);
    int64_t wait =
        answer->alive && answer->wait_ms < HEARTBEAT_MS ? answer->wait_ms : HEARTBEAT_MS;
    shoal_link_set_timer(link->heartbeat, wait < 50 ? 50 : wait);
    for (size_t i = 0; i < answer->n_stops; i++)
        shoal_worker_stop_job(worker, answer->stops[i].job, answer->stops[i].kill);
    if (answer->drain)
        shoal_worker_drain(worker);
    if (!answer->alive || holds_any(worker, answer))
        shoal_link_register(worker);
    else
        shoal_link_store_seen(worker, link->store, answer->commits);
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

void shoal_link_beat(evutil_socket_t fd, short what, void *owner) {
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
        shoal_link_set_timer(link->heartbeat, SHOAL_LINK_RETRY_MS);
    shoal_knowledge_ask(&worker->known, &link->queue); /* what could not be read before */
    shoal_buffer_finish(&progress);
    free(names.items);
}

void shoal_link_beat_soon(struct shoal_worker *worker) {
    shoal_link_set_timer(worker->link.heartbeat, 0);
}
