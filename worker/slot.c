#include "worker/slot.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    LEASE_TASKS_MAX = 1000,
    LONG_TASK_MS = 1000,    /* from here on the untouched rest goes to others */
    SHORT_TASK_US = 250000, /* up to here a lease in store is worth it */
    PAUSE_MS = 250,         /* doubling to */
    PAUSE_MAX_MS = 30000,
};

static void name_wish(struct shoal_slot *slot) {
    snprintf(slot->wish, sizeof(slot->wish), "%x.%" PRIx64,
             (unsigned)slot->number & 0xffff, slot->leases++ & UINT64_C(0xfffffffff));
}

static void ended(void *owner, const struct shoal_ending *ending);

enum shoal_status shoal_slot_init(struct shoal_slot *slot, int number,
                                  const struct shoal_slot_host *host,
                                  const struct shoal_runner_settings *settings,
                                  struct shoal_error *err) {
    *slot = (struct shoal_slot){
        .host = host, .number = number, .last_wall_us = INT64_MAX, .pause_ms = PAUSE_MS};
    name_wish(slot);
    struct shoal_runner_settings own = *settings;
    own.slot = number;
    own.ended = ended;
    own.owner = slot;
    return shoal_runner_exec_create(&own, &slot->runner, err);
}

void shoal_slot_finish(struct shoal_slot *slot) {
    if (slot->runner != NULL)
        slot->runner->kind->destroy(slot->runner);
    shoal_held_destroy(slot->held);
    shoal_held_destroy(slot->next);
    slot->runner = NULL;
    slot->held = slot->next = NULL;
}

bool shoal_slot_is_idle(const struct shoal_slot *slot) {
    return slot->held == NULL;
}

bool shoal_slot_wishes(const struct shoal_slot *slot, struct shoal_wish *ret_wish) {
    const struct shoal_held *held = slot->held;
    bool prefetch = held != NULL && slot->next == NULL && slot->running &&
                    !slot->stopping && held->at >= held->lease.hi &&
                    slot->last_wall_us < SHORT_TASK_US;
    if (slot->paused_till_ms != 0 || (held != NULL && !prefetch))
        return false;
    *ret_wish = (struct shoal_wish){.most = LEASE_TASKS_MAX, .prefetch = prefetch};
    memcpy(ret_wish->lease, slot->wish, sizeof(ret_wish->lease));
    return true;
}

void shoal_slot_take(struct shoal_slot *slot, struct shoal_held *held) {
    name_wish(slot);
    if (slot->held == NULL)
        slot->held = held;
    else
        slot->next = held;
    shoal_slot_step(slot);
}

static void end_lease(struct shoal_slot *slot) {
    shoal_outbox_add(slot->host->outbox, shoal_held_end(slot->held));
    slot->held = slot->next;
    slot->next = NULL;
    slot->stopping = false;
    slot->host->changed(slot->host->owner);
}

static void end_stored(struct shoal_slot *slot) {
    if (slot->next == NULL)
        return;
    shoal_outbox_add(slot->host->outbox, shoal_held_end(slot->next));
    slot->next = NULL;
    slot->host->changed(slot->host->owner);
}

/* Notes how the task at `commit->hi` ended. */
static void note(struct shoal_slot *slot, struct shoal_outcome *outcome, const char *text,
                 size_t len) {
    outcome->attempt = slot->held->lease.attempt;
    shoal_commit_add(slot->held->commit, outcome, slot->host->worker, text, len);
    slot->host->changed(slot->host->owner);
}

/* The next task ends before it began. */
static void end_unstarted(struct shoal_slot *slot, enum shoal_reason reason,
                          const struct shoal_error *err) {
    struct shoal_outcome outcome = {.reason = reason, .result = ""};
    slot->held->at++;
    note(slot, &outcome, err->text, strlen(err->text));
}

/* The host cannot start processes now: the lease goes to others, the slot rests. */
static void pause_slot(struct shoal_slot *slot, const struct shoal_error *err) {
    slot->paused_till_ms = shoal_now_ms() + slot->pause_ms;
    shoal_warn("%s; this slot rests and its lease goes back: slot=%d pause_ms=%" PRId64,
               err->text, slot->number, slot->pause_ms);
    slot->pause_ms =
        slot->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : slot->pause_ms * 2;
    end_stored(slot);
    end_lease(slot);
}

/* Reads the explicit argument of the next task, if the job has some. */
static bool next_argument(struct shoal_held *held, const char **ret_argument,
                          size_t *ret_len, struct shoal_error *err) {
    *ret_argument = NULL;
    *ret_len = 0;
    if (held->pack == NULL)
        return true;
    if (shoal_record_read_bytes(&held->argument, ret_argument, ret_len))
        return true;
    shoal_error_set(err, SHOAL_GARBAGE, "the argument of task %" PRId64 " is not there",
                    held->at);
    return false;
}

static enum shoal_status launch(struct shoal_slot *slot, struct shoal_error *err) {
    struct shoal_held *held = slot->held;
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {.n = 0};
    const char *argument = NULL;
    size_t len = 0;
    if (!next_argument(held, &argument, &len, err))
        return SHOAL_GARBAGE;
    enum shoal_status status = shoal_parameters_make(&held->known->spec, held->at,
                                                     argument, len, &parameters, err);
    if (status != SHOAL_OK)
        return status;
    const struct shoal_task task = {
        .job = held->lease.job,
        .index = held->at,
        .seed = shoal_task_seed(held->seed, (uint64_t)held->at),
        .parameters = &parameters,
    };
    const struct shoal_launch start = {
        .spec = &held->known->spec, .task = &task, .attempt = held->lease.attempt};
    return slot->runner->kind->start(slot->runner, &start, err);
}

static void start_next(struct shoal_slot *slot) {
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = launch(slot, &err);
    if (status == SHOAL_OK) {
        slot->running = true;
        slot->index = slot->held->at++;
        slot->started_ms = shoal_now_ms();
        slot->pause_ms = PAUSE_MS;
        if (slot->held->at >= slot->held->lease.hi)
            slot->host->changed(slot->host->owner);
    } else if (status == SHOAL_REFUSED) {
        end_unstarted(slot, SHOAL_REASON_SPAWN, &err);
        end_lease(slot); /* others may have the program */
    } else if (status == SHOAL_SYSTEM || status == SHOAL_MEMORY) {
        pause_slot(slot, &err);
    } else {
        end_unstarted(slot, SHOAL_REASON_REJECTED, &err);
    }
}

void shoal_slot_step(struct shoal_slot *slot) {
    while (!slot->running && slot->held != NULL && slot->paused_till_ms == 0) {
        struct shoal_held *held = slot->held;
        if (held->at >= held->lease.hi || slot->stopping)
            end_lease(slot);
        else if (held->known->state == SHOAL_SPEC_BAD)
            end_unstarted(slot, SHOAL_REASON_REJECTED, &held->known->error);
        else if (held->known->state == SHOAL_SPEC_READY)
            start_next(slot);
        else
            return; /* its spec is on the way */
    }
}

static void ended(void *owner, const struct shoal_ending *ending) {
    struct shoal_slot *slot = owner;
    struct shoal_outcome outcome = ending->outcome;
    slot->running = false;
    slot->last_wall_us = outcome.wall_us;
    note(slot, &outcome, ending->stderr_end, ending->stderr_len);
    shoal_slot_step(slot);
}

void shoal_slot_flush(struct shoal_slot *slot) {
    if (slot->held != NULL)
        shoal_outbox_add(slot->host->outbox, shoal_held_take_commit(slot->held));
}

static bool is_of(const struct shoal_held *held, const char *job) {
    return held != NULL && (job == NULL || strcmp(held->lease.job, job) == 0);
}

void shoal_slot_stop(struct shoal_slot *slot, const char *job, bool kill) {
    if (is_of(slot->next, job))
        end_stored(slot);
    if (!is_of(slot->held, job))
        return;
    slot->stopping = true;
    if (slot->running && kill)
        slot->runner->kind->kill(slot->runner);
    else if (slot->running)
        slot->runner->kind->stop(slot->runner);
    else
        end_lease(slot);
    shoal_slot_step(slot);
}

static void skip_settled(struct shoal_slot *slot, struct shoal_held *held, int64_t lo,
                         int64_t hi) {
    int64_t to = hi < held->lease.hi ? hi : held->lease.hi;
    if (held->at < lo || held->at >= to || (held == slot->held && slot->running))
        return; /* at worst they run twice, and the first outcome counts */
    shoal_outbox_add(slot->host->outbox, shoal_held_take_commit(held));
    if (held->commit->hi == held->commit->lo)
        shoal_held_skip(held, to);
}

void shoal_slot_settled(struct shoal_slot *slot, const char *job, int64_t lo,
                        int64_t hi) {
    if (is_of(slot->held, job) && slot->running && slot->index >= lo && slot->index < hi)
        slot->runner->kind->stop(slot->runner);
    if (is_of(slot->held, job))
        skip_settled(slot, slot->held, lo, hi);
    if (is_of(slot->next, job))
        skip_settled(slot, slot->next, lo, hi);
    shoal_slot_step(slot);
}

void shoal_slot_give_back(struct shoal_slot *slot) {
    end_stored(slot);
    if (slot->held == NULL)
        return;
    if (!slot->running) {
        slot->stopping = true;
        slot->paused_till_ms = 0;
        shoal_slot_step(slot);
    } else if (slot->held->at < slot->held->lease.hi) {
        shoal_held_give_back_rest(slot->held);
        slot->host->changed(slot->host->owner);
    }
}

void shoal_slot_tick(struct shoal_slot *slot, int64_t now_ms) {
    if (slot->paused_till_ms != 0 && now_ms >= slot->paused_till_ms) {
        slot->paused_till_ms = 0;
        slot->host->changed(slot->host->owner);
        shoal_slot_step(slot);
    }
    if (slot->running && now_ms - slot->started_ms > LONG_TASK_MS &&
        (slot->next != NULL || slot->held->at < slot->held->lease.hi))
        shoal_slot_give_back(slot);
}

static void adopt_current(struct shoal_slot *slot, int64_t attempt) {
    if (attempt > 0) {
        slot->held->lease.attempt = attempt;
        return;
    }
    slot->held->lease.hi = slot->held->at; /* the rest is in other hands */
    if (attempt < 0 && slot->running)
        slot->runner->kind->stop(slot->runner);
    shoal_slot_step(slot);
}

void shoal_slot_adopted(struct shoal_slot *slot, const char *lease, int64_t attempt) {
    if (slot->next != NULL && strcmp(slot->next->lease.name, lease) == 0) {
        if (attempt > 0)
            slot->next->lease.attempt = attempt;
        else
            end_stored(slot);
    }
    if (slot->held != NULL && strcmp(slot->held->lease.name, lease) == 0)
        adopt_current(slot, attempt);
}
