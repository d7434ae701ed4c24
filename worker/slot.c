#include "worker/slot.h"

#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEASE_TASKS_MAX = 16384,
    LONG_TASK_MS = 1000,    /* from here on the untouched rest goes to others */
    SHORT_TASK_US = 250000, /* up to here a lease in store is worth it */
    MOMENT_US = 300,        /* about what an answer of Redis takes */
    PAUSE_MS = 250,         /* doubling to */
    PAUSE_MAX_MS = 30000,
};

static void name_wish(struct shoal_slot *slot) {
    snprintf(slot->wish, sizeof(slot->wish), "%x.%" PRIx64,
             (unsigned)slot->number & 0xffff, slot->leases++ & UINT64_C(0xfffffffff));
}

static void told(void *owner, int64_t index, double fraction, const char *text,
                 size_t len);
static void reported(void *owner, const struct shoal_report *report);
static void ended(void *owner, const struct shoal_ending *ending);

enum shoal_status shoal_slot_init(struct shoal_slot *slot, int number,
                                  const struct shoal_slot_host *host,
                                  const struct shoal_runner_settings *settings,
                                  struct shoal_error *err) {
    *slot = (struct shoal_slot){.host = host,
                                .number = number,
                                .doom = {.index = -1},
                                .said = {.index = -1},
                                .last_wall_us = INT64_MAX,
                                .pause_ms = PAUSE_MS};
    name_wish(slot);
    struct shoal_runner_settings own = *settings;
    own.slot = number;
    own.reported = reported;
    own.ended = ended;
    own.told = told;
    own.owner = slot;
    enum shoal_status status = shoal_runner_exec_create(&own, &slot->exec, err);
    for (int i = 0; i < SHOAL_SLOT_STAYS && status == SHOAL_OK; i++) {
        own.place = i;
        status = shoal_runner_host_create(&own, &slot->stays[i], err);
    }
    slot->runner = slot->exec;
    return status;
}

static void forget_doom(struct shoal_slot *slot) {
    free(slot->doom.text);
    slot->doom = (struct shoal_doom){.index = -1};
}

static void destroy_runner(struct shoal_runner *runner) {
    if (runner != NULL)
        runner->kind->destroy(runner);
}

void shoal_slot_finish(struct shoal_slot *slot) {
    destroy_runner(slot->exec);
    for (int i = 0; i < SHOAL_SLOT_STAYS; i++) {
        destroy_runner(slot->stays[i]);
        slot->stays[i] = NULL;
    }
    shoal_held_destroy(slot->held);
    shoal_held_destroy(slot->next);
    forget_doom(slot);
    slot->exec = slot->runner = NULL;
    slot->held = slot->next = NULL;
}

bool shoal_slot_is_idle(const struct shoal_slot *slot) {
    return slot->held == NULL;
}

/* Whether the task that runs has turned out to be long: what waits behind it is for
 * others. */
static bool takes_long(const struct shoal_slot *slot) {
    return slot->running && shoal_now_ms() - slot->started_ms > LONG_TASK_MS;
}

/* A lone task of a moment: its commit comes as soon as a wish for the store could be
 * answered, and asks by itself. */
static bool ends_at_once(const struct shoal_slot *slot) {
    const struct shoal_held *held = slot->held;
    return held->lease.hi - held->commit->hi == 1 && slot->last_wall_us < MOMENT_US &&
           shoal_now_ms() - slot->started_ms < 2;
}

bool shoal_slot_wishes(const struct shoal_slot *slot, struct shoal_wish *ret_wish) {
    const struct shoal_held *held = slot->held;
    bool prefetch = held != NULL && slot->next == NULL && slot->running &&
                    !slot->stopping && held->at >= held->lease.hi &&
                    slot->last_wall_us < SHORT_TASK_US && !takes_long(slot) &&
                    !ends_at_once(slot);
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
    forget_doom(slot);
    slot->host->changed(slot->host->owner);
}

static void end_stored(struct shoal_slot *slot) {
    if (slot->next == NULL)
        return;
    shoal_outbox_add(slot->host->outbox, shoal_held_end(slot->next));
    slot->next = NULL;
    slot->host->changed(slot->host->owner);
}

/* What is gathered must not outgrow what a commit can hold. */
static void send_if_large(struct shoal_slot *slot) {
    if (slot->held->commit->outcomes.len >= SHOAL_COMMIT_BYTES)
        shoal_outbox_add(slot->host->outbox, shoal_held_take_commit(slot->held));
}

/* Notes how the task at `commit->hi` ended. */
static void note(struct shoal_slot *slot, struct shoal_outcome *outcome, const char *text,
                 size_t len) {
    outcome->attempt = slot->held->lease.attempt;
    shoal_commit_add(slot->held->commit, outcome, slot->host->worker, text, len);
    send_if_large(slot);
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

/* The runner that has the spec loaded, else one that has nothing, else the one whose turn
 * was longest ago. */
static struct shoal_runner *pick_staying(struct shoal_slot *slot, const char *digest) {
    int best = 0;
    for (int i = 0; i < SHOAL_SLOT_STAYS; i++) {
        const struct shoal_runner *runner = slot->stays[i], *chosen = slot->stays[best];
        bool empty = runner->kind->pid(runner) == 0;
        if (runner->kind->serves(runner, digest)) {
            best = i;
            break;
        }
        if (empty != (chosen->kind->pid(chosen) == 0) ? empty
                                                      : slot->used[i] < slot->used[best])
            best = i;
    }
    slot->used[best] = ++slot->batches;
    return slot->stays[best];
}

/* Hands the tasks up to the lease's end to its runner, which takes what it can. */
static enum shoal_status launch(struct shoal_slot *slot, struct shoal_error *err) {
    struct shoal_held *held = slot->held;
    const struct shoal_spec *spec = &held->known->spec;
    const struct shoal_batch batch = {
        .spec = spec,
        .digest = held->known->digest,
        .job = held->lease.job,
        .seed = held->seed,
        .attempt = held->lease.attempt,
        .lo = held->at,
        .hi = slot->doom.index < 0 ? held->lease.hi : slot->doom.index,
        .arguments = shoal_held_arguments(held),
    };
    int64_t taken = 0;
    slot->runner = spec->stays ? pick_staying(slot, held->known->digest) : slot->exec;
    enum shoal_status status =
        slot->runner->kind->start(slot->runner, &batch, &taken, err);
    if (status == SHOAL_OK)
        held->at += taken;
    return status;
}

static void start_next(struct shoal_slot *slot) {
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = launch(slot, &err);
    if (status == SHOAL_OK) {
        slot->running = true;
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

/* What the task at hand did when it ended its runner. */
static void meet_doom(struct shoal_slot *slot) {
    slot->held->at++;
    note(slot, &slot->doom.outcome, slot->doom.text, slot->doom.len);
    forget_doom(slot);
}

void shoal_slot_step(struct shoal_slot *slot) {
    while (!slot->running && slot->held != NULL && slot->paused_till_ms == 0) {
        struct shoal_held *held = slot->held;
        if (held->at >= held->lease.hi || slot->stopping)
            end_lease(slot);
        else if (held->at == slot->doom.index)
            meet_doom(slot);
        else if (held->known->state == SHOAL_SPEC_BAD)
            end_unstarted(slot, SHOAL_REASON_REJECTED, &held->known->error);
        else if (held->known->state == SHOAL_SPEC_READY)
            start_next(slot);
        else
            return; /* its spec is on the way */
    }
}

static void note_failure(struct shoal_slot *slot, const struct shoal_failure *failure) {
    const struct shoal_outcome outcome = {.reason = failure->reason,
                                          .attempt = slot->held->lease.attempt,
                                          .wall_us = failure->wall_us,
                                          .code = failure->code};
    shoal_commit_add_failure(slot->held->commit, failure->index, &outcome,
                             slot->host->worker, failure->text, failure->len);
}

/* Text of a task, which may be anything, on one line and without what a terminal would
 * obey. */
static void copy_line(char *line, size_t room, const char *text, size_t len) {
    size_t n = len < room - 1 ? len : room - 1;
    while (n > 0 && n < len && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--; /* no part of a character */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_c1 = c >= 0x80 && c < 0xa0 && i > 0 && (unsigned char)text[i - 1] == 0xc2;
        line[i] = c < ' ' || c == 0x7f || is_c1 ? ' ' : (char)c;
        if (is_c1)
            line[i - 1] = ' ';
    }
    line[n] = '\0';
}

static void told(void *owner, int64_t index, double fraction, const char *text,
                 size_t len) {
    struct shoal_slot *slot = owner;
    char line[1024];
    if (fraction >= 0) {
        slot->said = (struct shoal_said){.index = index, .fraction = fraction};
        copy_line(slot->said.text, sizeof(slot->said.text), text, len);
        return;
    }
    copy_line(line, sizeof(line), text, len);
    shoal_info("%s: job=%s task=%" PRId64 " slot=%d", line, slot->held->lease.job, index,
               slot->number);
}

static void reported(void *owner, const struct shoal_report *report) {
    struct shoal_slot *slot = owner;
    for (size_t i = 0; i < report->n_failures; i++)
        note_failure(slot, &report->failures[i]);
    shoal_commit_add_packed(slot->held->commit, report->tasks, report->work_us,
                            report->elements, report->outcomes, report->len);
    send_if_large(slot);
    slot->started_ms = shoal_now_ms();
    slot->last_wall_us = report->work_us / report->tasks;
    if (slot->said.index < slot->held->commit->hi)
        slot->said.index = -1;
    slot->host->changed(slot->host->owner);
}

/* What ended the runner is noted when the tasks before it are; without memory to remember
 * it, it is found again. */
static void foresee_doom(struct shoal_slot *slot, const struct shoal_ending *ending) {
    forget_doom(slot);
    char *text = malloc(ending->stderr_len + 1);
    if (text == NULL)
        return;
    memcpy(text, ending->stderr_end, ending->stderr_len);
    slot->doom = (struct shoal_doom){.index = ending->index,
                                     .outcome = ending->outcome,
                                     .text = text,
                                     .len = ending->stderr_len};
    slot->doom.outcome.result = "";
    slot->doom.outcome.result_len = 0;
}

static void ended(void *owner, const struct shoal_ending *ending) {
    struct shoal_slot *slot = owner;
    struct shoal_held *held = slot->held;
    struct shoal_outcome outcome = ending->outcome;
    slot->running = false;
    slot->said.index = -1;
    if (ending->index == held->commit->hi) {
        slot->last_wall_us = outcome.wall_us;
        note(slot, &outcome, ending->stderr_end, ending->stderr_len);
    } else if (ending->index >= 0) {
        foresee_doom(slot, ending);
    }
    shoal_held_rewind(held);
    if (ending->index >= 0 && outcome.reason == SHOAL_REASON_SPAWN)
        end_lease(slot); /* others may have what it needs */
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
    if (is_of(slot->held, job) && slot->running &&
        slot->runner->kind->index(slot->runner) >= lo && slot->held->at <= hi)
        slot->runner->kind->stop(slot->runner);
    if (is_of(slot->held, job))
        skip_settled(slot, slot->held, lo, hi);
    if (is_of(slot->next, job))
        skip_settled(slot, slot->next, lo, hi);
    shoal_slot_step(slot);
}

/* The running task goes on, those behind it are not begun. Returns the first of them. */
static int64_t cut(struct shoal_slot *slot) {
    int64_t rest = slot->runner->kind->cut(slot->runner);
    return rest < slot->held->at ? rest : slot->held->at;
}

void shoal_slot_give_back(struct shoal_slot *slot) {
    end_stored(slot);
    if (slot->held == NULL)
        return;
    if (!slot->running) {
        slot->stopping = true;
        slot->paused_till_ms = 0;
        shoal_slot_step(slot);
        return;
    }
    int64_t rest = cut(slot);
    if (rest < slot->held->lease.hi) {
        shoal_held_give_back(slot->held, rest);
        slot->host->changed(slot->host->owner);
    }
}

/* Whether something behind the running task waits for it. */
static bool has_untouched(const struct shoal_slot *slot) {
    return slot->next != NULL || slot->held->at < slot->held->lease.hi ||
           slot->runner->kind->index(slot->runner) + 1 < slot->held->at;
}

void shoal_slot_tick(struct shoal_slot *slot, int64_t now_ms) {
    if (slot->paused_till_ms != 0 && now_ms >= slot->paused_till_ms) {
        slot->paused_till_ms = 0;
        slot->host->changed(slot->host->owner);
        shoal_slot_step(slot);
    }
    if (takes_long(slot) && has_untouched(slot))
        shoal_slot_give_back(slot);
}

static void adopt_current(struct shoal_slot *slot, int64_t attempt) {
    struct shoal_held *held = slot->held;
    if (attempt > 0) {
        held->lease.attempt = attempt;
        return;
    }
    held->lease.hi = held->at = slot->running ? cut(slot) : held->at;
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
