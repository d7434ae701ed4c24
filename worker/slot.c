#include "worker/slot.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/number.h"
#include "common/utf8.h"
#include "worker/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEASE_TASKS_MAX = 16384,
    LEASES_MAX = 256,       /* of a wish */
    LEASE_US = 250000,      /* of work that a wish is for, as in advance.lua */
    LONG_TASK_MS = 1000,    /* from here on the untouched rest goes to others */
    SHORT_TASK_US = 250000, /* up to here a lease in store is worth it */
    MOMENT_US = 300,        /* about what an answer of Redis takes */
    PAUSE_MS = 250,         /* doubling to */
    PAUSE_MAX_MS = 30000,
    LIMITS_MAX = 200, /* bytes of what is said of them */
};

static void name_wish(struct shoal_slot *slot) {
    snprintf(slot->wish, sizeof(slot->wish), "%x.%" PRIx64,
             (unsigned)slot->number & 0xffff, slot->wishes++ & UINT64_C(0xfffffffff));
}

int64_t shoal_slot_of_lease(const char *lease) {
    return (int64_t)(strtoul(lease, NULL, 16) & 0xffff); /* as it was named above */
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
                                .appetite = 1,
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
    while (slot->held != NULL) {
        struct shoal_held *held = slot->held;
        slot->held = held->behind;
        shoal_held_destroy(held);
    }
    slot->exec = slot->runner = NULL;
}

bool shoal_slot_is_idle(const struct shoal_slot *slot) {
    return slot->held == NULL;
}

struct shoal_runner *shoal_slot_runner(const struct shoal_slot *slot, int number) {
    return number == 0 ? slot->exec : slot->stays[number - 1];
}

static bool is_running(const struct shoal_slot *slot) {
    return slot->launched > 0;
}

/* ---- its leases */

/* The i-th that is in the runner's hands. */
static struct shoal_held *launched_at(const struct shoal_slot *slot, size_t i) {
    for (struct shoal_held *held = slot->held; held != NULL; held = held->behind) {
        if (held->launched && i-- == 0)
            return held;
    }
    return NULL;
}

struct shoal_held *shoal_slot_running(const struct shoal_slot *slot) {
    size_t batch = 0;
    if (!is_running(slot))
        return NULL;
    slot->runner->kind->index(slot->runner, &batch);
    return launched_at(slot, batch);
}

static void end_lease(struct shoal_slot *slot, struct shoal_held *held) {
    struct shoal_held **at = &slot->held;
    while (*at != held)
        at = &(*at)->behind;
    *at = held->behind;
    slot->n_held--;
    shoal_outbox_add(slot->host->outbox, shoal_held_end(held));
    slot->host->changed(slot->host->owner);
}

static bool is_of(const struct shoal_held *held, const char *job) {
    return held != NULL && (job == NULL || strcmp(held->lease.job, job) == 0);
}

/* What is not in the runner's hands goes back: leases of that job, NULL: of any. */
static void end_stored(struct shoal_slot *slot, const char *job) {
    for (struct shoal_held *held = slot->held, *behind; held != NULL; held = behind) {
        behind = held->behind;
        if (!held->launched && is_of(held, job))
            end_lease(slot, held);
    }
}

/* It is not in the runner's hands any more, and what was not done of it starts again. */
static void come_back(struct shoal_slot *slot, struct shoal_held *held) {
    held->launched = false;
    slot->launched--;
    shoal_held_rewind(held);
}

/* Nothing behind the running task is begun. What was in the runner's hands behind its
 * lease is in store again. Returns the first that is not begun, of *ret_running. */
static int64_t cut(struct shoal_slot *slot, struct shoal_held **ret_running) {
    size_t batch = 0;
    int64_t rest = slot->runner->kind->cut(slot->runner, &batch);
    *ret_running = launched_at(slot, batch);
    while (slot->launched > batch + 1)
        come_back(slot, launched_at(slot, slot->launched - 1));
    return rest < (*ret_running)->at ? rest : (*ret_running)->at;
}

/* ---- wishes */

/* Whether the task that runs has turned out to be long: what waits behind it is for
 * others. */
static bool takes_long(const struct shoal_slot *slot) {
    return is_running(slot) && shoal_now_ms() - slot->started_ms > LONG_TASK_MS;
}

/* A lone task of a moment: its commit comes as soon as a wish for the store could be
 * answered, and asks by itself. */
static bool ends_at_once(const struct shoal_slot *slot) {
    const struct shoal_held *held = slot->held;
    return held->lease.hi - held->commit->hi == 1 && slot->last_wall_us < MOMENT_US &&
           shoal_now_ms() - slot->started_ms < 2;
}

/* One lease in store is enough; when many short ones are taken at once, half of them. */
static bool wants_store(const struct shoal_slot *slot) {
    const struct shoal_held *held = slot->held;
    if (!is_running(slot) || slot->refused || takes_long(slot) ||
        slot->last_wall_us >= SHORT_TASK_US)
        return false;
    return slot->n_held > 1
               ? slot->n_held <= slot->granted / 2
               : held->at >= held->lease.hi && !held->unwanted && !ends_at_once(slot);
}

bool shoal_slot_wishes(const struct shoal_slot *slot, struct shoal_wish *ret_wish) {
    bool prefetch = slot->held != NULL;
    if (slot->paused_till_ms != 0 || (prefetch && !wants_store(slot)))
        return false;
    int64_t guess = slot->last_wall_us == INT64_MAX ? LEASE_US : slot->last_wall_us + 1;
    int64_t count = LEASE_US / guess;
    count = count < slot->appetite ? count : slot->appetite;
    *ret_wish = (struct shoal_wish){
        .count = count < 1 ? 1 : count,
        .most = LEASE_TASKS_MAX,
        .prefetch = prefetch,
        .guess_us = guess,
    };
    memcpy(ret_wish->lease, slot->wish, sizeof(ret_wish->lease));
    return true;
}

void shoal_slot_asks(struct shoal_slot *slot, const struct shoal_wish *wish) {
    slot->asked = wish == NULL ? 0 : wish->count;
    slot->got = 0;
}

bool shoal_slot_asked_for(const struct shoal_slot *slot, const char *lease) {
    size_t len = strlen(slot->wish);
    return slot->asked > 0 && strncmp(lease, slot->wish, len) == 0 &&
           (lease[len] == '\0' || lease[len] == '.');
}

void shoal_slot_take(struct shoal_slot *slot, struct shoal_held *held) {
    struct shoal_held **last = &slot->held;
    while (*last != NULL)
        last = &(*last)->behind;
    *last = held;
    slot->n_held++;
    slot->got++;
}

/* The next wish may ask for twice as many. */
void shoal_slot_answered(struct shoal_slot *slot, bool garbled) {
    if (slot->asked == 0)
        return;
    slot->asked = 0;
    slot->refused = slot->got == 0 && slot->held != NULL;
    if (slot->got > 0 || garbled)
        name_wish(slot);
    if (slot->got == 0)
        return;
    slot->granted = slot->got;
    slot->appetite = 2 * (int64_t)slot->got;
    if (slot->appetite > LEASES_MAX)
        slot->appetite = LEASES_MAX;
    shoal_slot_step(slot);
}

/* ---- how tasks end that the slot itself ends */

/* What is gathered must not outgrow what a commit can hold. */
static void send_if_large(struct shoal_slot *slot, struct shoal_held *held) {
    if (held->commit->outcomes.len >= SHOAL_COMMIT_BYTES)
        shoal_outbox_add(slot->host->outbox, shoal_held_take_commit(held));
}

static bool has_words(const char *text, size_t len, const char *words) {
    return len > 0 && memmem(text, len, words, strlen(words)) != NULL;
}

/* A program knows nothing of the sandbox by which it was denied something, and nor does
 * who reads what it left: that is added to the end, which says most. */
static const char *name_sandbox(const struct shoal_slot *slot, enum shoal_reason reason,
                                const char *text, size_t *len,
                                char room[SHOAL_STDERR_MAX]) {
    const struct shoal_sandbox *sandbox = slot->host->sandbox;
    char words[256];
    if (sandbox == NULL ||
        (reason != SHOAL_REASON_EXIT && reason != SHOAL_REASON_SIGNAL) ||
        (!has_words(text, *len, strerror(EACCES)) &&
         !has_words(text, *len, strerror(EPERM))))
        return text;
    size_t added = (size_t)snprintf(
        words, sizeof(words),
        "%s[that may be the worker's sandbox, in which tasks write to their own "
        "directories and what --sandbox-write names%s]",
        text[*len - 1] == '\n' ? "" : "\n",
        sandbox->no_network ? ", and have no network" : "");
    size_t kept = *len < SHOAL_STDERR_MAX - added ? *len : SHOAL_STDERR_MAX - added;
    memcpy(room, text + *len - kept, kept);
    memcpy(room + kept, words, added);
    *len = kept + added;
    return room;
}

/* Notes how the task at `commit->hi` ended. */
static void note(struct shoal_slot *slot, struct shoal_held *held,
                 struct shoal_outcome *outcome, const char *text, size_t len) {
    char room[SHOAL_STDERR_MAX];
    text = name_sandbox(slot, outcome->reason, text, &len, room);
    outcome->attempt = held->lease.attempt;
    shoal_commit_add(held->commit, outcome, slot->host->worker, text, len);
    send_if_large(slot, held);
    slot->host->changed(slot->host->owner);
}

/* The next task ends before it began. */
static void end_unstarted(struct shoal_slot *slot, struct shoal_held *held,
                          enum shoal_reason reason, const struct shoal_error *err) {
    struct shoal_outcome outcome = {.reason = reason, .result = ""};
    held->at++;
    note(slot, held, &outcome, err->text, strlen(err->text));
}

/* The host cannot start processes now: the lease goes to others, the slot rests. */
static void pause_slot(struct shoal_slot *slot, const struct shoal_error *err) {
    slot->paused_till_ms = shoal_now_ms() + slot->pause_ms;
    shoal_warn("%s; this slot rests and its lease goes back: slot=%d pause_ms=%" PRId64,
               err->text, slot->number, slot->pause_ms);
    slot->pause_ms =
        slot->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : slot->pause_ms * 2;
    end_stored(slot, NULL);
}

/* ---- starting */

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

/* What its key may run; NULL: anything. */
static const struct shoal_allow *allowed_to(const struct shoal_held *held) {
    const struct shoal_trusted_key *key = held->key;
    if (key == NULL || !key->bounded)
        return NULL;
    return held->known->spec.stays ? &key->plugins : &key->programs;
}

/* The tasks up to the lease's end. */
static struct shoal_batch batch_of(struct shoal_held *held) {
    return (struct shoal_batch){
        .spec = &held->known->spec,
        .digest = held->digest,
        .allow = allowed_to(held),
        .job = held->lease.job,
        .seed = held->seed,
        .attempt = held->lease.attempt,
        .lo = held->at,
        .hi = shoal_held_end_of_batch(held),
        .arguments = shoal_held_arguments(held),
    };
}

/* Limits that nothing holds on this host are no reason not to run a task, but one to tell
 * of: once for all jobs that are alike. */
static void say_limits(const struct shoal_slot_host *host, struct shoal_known *known,
                       const char *job) {
    struct shoal_limits left = shoal_cgroups_leave(host->cgroups, &known->spec.limits);
    if (host->has_user)
        left.processes = 0;
    if (known->told_limits || !shoal_limits_are_set(&left))
        return;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, LIMITS_MAX);
    shoal_limits_print(&left, &text);
    shoal_warn(
        "limits that a job asks for are not held on this host, for want of control "
        "groups (%s%s); its tasks run: job=%s",
        shoal_buffer_text(&text),
        left.memory == 0 ? "" : "; of memory each process has that much", job);
    known->told_limits = true;
}

/* Hands the tasks up to the lease's end to its runner, which takes what it can. */
static enum shoal_status launch(struct shoal_slot *slot, struct shoal_held *held,
                                struct shoal_error *err) {
    const struct shoal_batch batch = batch_of(held);
    int64_t taken = 0;
    enum shoal_status status =
        slot->runner->kind->start(slot->runner, &batch, &taken, err);
    if (status != SHOAL_OK)
        return status;
    say_limits(slot->host, held->known, held->lease.job);
    held->at += taken;
    held->launched = true;
    if (slot->launched++ == 0)
        slot->started_ms = shoal_now_ms();
    return SHOAL_OK;
}

/* False: it has to wait. */
static bool start(struct shoal_slot *slot, struct shoal_held *held) {
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = launch(slot, held, &err);
    if (status == SHOAL_OK) {
        slot->pause_ms = PAUSE_MS;
        if (held->at >= held->lease.hi)
            slot->host->changed(slot->host->owner);
    } else if (status == SHOAL_REFUSED) {
        end_unstarted(slot, held, SHOAL_REASON_SPAWN, &err);
        end_lease(slot, held); /* others may have the program */
    } else if (status == SHOAL_SYSTEM || status == SHOAL_MEMORY) {
        pause_slot(slot, &err);
    } else {
        end_unstarted(slot, held, SHOAL_REASON_REJECTED, &err);
    }
    return slot->paused_till_ms == 0;
}

/* Whether the runner takes it now, behind what it has: all of the lease before must be in
 * its hands. */
static bool finds_runner(struct shoal_slot *slot, const struct shoal_held *held,
                         const struct shoal_held *before) {
    bool stays = held->known->spec.stays;
    if (!is_running(slot)) {
        slot->runner = stays ? pick_staying(slot, held->digest) : slot->exec;
        return true;
    }
    const struct shoal_runner_kind *kind = slot->runner->kind;
    return before->at >= before->lease.hi && stays && kind->takes_more != NULL &&
           kind->takes_more(slot->runner, held->digest);
}

/* ---- trust */

/* Others may trust its key. */
static void refuse(struct shoal_slot *slot, struct shoal_held *held,
                   const struct shoal_error *err) {
    shoal_trust_warn(slot->host->trust, held->lease.job, err);
    end_unstarted(slot, held, SHOAL_REASON_SPAWN, err);
    end_lease(slot, held);
}

/* Nobody can run what is not there, or has something else in its place. */
static void reject(struct shoal_slot *slot, struct shoal_held *held) {
    shoal_trust_warn(slot->host->trust, held->lease.job, &held->known->error);
    end_unstarted(slot, held, SHOAL_REASON_REJECTED, &held->known->error);
}

/* What runs with the same right may share a process: one that is bounded has its own. A
 * spec is known by the hash that was signed, for what Redis calls it may be another's. */
static void admit(struct shoal_held *held, const struct shoal_trusted_key *key) {
    held->checked = true;
    held->key = key;
    snprintf(held->digest, sizeof(held->digest), "%s%s%s", held->known->hash,
             key->bounded ? "." : "", key->bounded ? key->key.digits : "");
}

/* What was signed may be nonsense all the same: its tasks are rejected then, by whichever
 * worker. */
static enum shoal_status read_signed(struct shoal_known *spec,
                                     const struct shoal_trusted_key *key,
                                     struct shoal_error *err) {
    if (!shoal_known_read(spec))
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a spec");
    return spec->state == SHOAL_KNOWN_BAD
               ? SHOAL_OK
               : shoal_trust_check_limits(key, &spec->spec.limits, err);
}

static void check_proof(struct shoal_slot *slot, struct shoal_held *held) {
    const struct shoal_claim claim = shoal_held_claim(held);
    const struct shoal_trusted_key *key = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = shoal_trust_check(slot->host->trust, &claim, &key, &err);
    if (status == SHOAL_GARBAGE)
        shoal_known_is_wrong(held->known);
    if (status == SHOAL_OK)
        status = read_signed(held->known, key, &err);
    if (status == SHOAL_OK)
        admit(held, key);
    else if (status == SHOAL_MEMORY)
        pause_slot(slot, &err);
    else
        refuse(slot, held, &err);
}

/* Whether nothing asks whose the lease is, or it was asked. */
static bool is_trusted(const struct shoal_slot *slot, const struct shoal_held *held) {
    return !slot->host->trust->required || held->checked;
}

/* Asks whose the lease is, and ends it when nobody here trusts whoever that is. False:
 * what it takes to know is not there yet. */
static bool ask_for_proof(struct shoal_slot *slot, struct shoal_held *held) {
    struct shoal_error err = {.status = SHOAL_OK};
    const struct shoal_known *spec = held->known;
    const struct shoal_known *warrant = held->proof == NULL ? NULL : held->proof->warrant;
    if (warrant == NULL) {
        shoal_error_set(&err, SHOAL_REFUSED,
                        "this worker runs signed jobs alone, and this is not signed: "
                        "make a key with 'shoal keygen', and have it trusted here");
        refuse(slot, held, &err);
    } else if (warrant->state == SHOAL_KNOWN_BAD) {
        refuse(slot, held, &warrant->error);
    } else if (warrant->state == SHOAL_KNOWN_READY && shoal_known_has_text(spec)) {
        check_proof(slot, held);
        return slot->paused_till_ms == 0;
    } else if (warrant->state == SHOAL_KNOWN_READY && spec->state == SHOAL_KNOWN_BAD) {
        reject(slot, held);
    } else {
        return false;
    }
    return true;
}

/* What the task at hand did when it ended its runner. */
static void meet_doom(struct shoal_slot *slot, struct shoal_held *held) {
    held->at++;
    note(slot, held, &held->doom.outcome, held->doom.text, held->doom.len);
    shoal_held_forget_doom(held);
}

/* One step with the first lease that is not launched. False: there is none to be made. */
static bool go_on(struct shoal_slot *slot, struct shoal_held *held,
                  const struct shoal_held *before) {
    if (held->at >= held->lease.hi || held->unwanted)
        end_lease(slot, held);
    else if (held->at == held->doom.index)
        meet_doom(slot, held);
    else if (!is_trusted(slot, held))
        return ask_for_proof(slot, held);
    else if (held->known->state == SHOAL_KNOWN_BAD)
        end_unstarted(slot, held, SHOAL_REASON_REJECTED, &held->known->error);
    else
        return held->known->state == SHOAL_KNOWN_READY &&
               finds_runner(slot, held, before) && start(slot, held);
    return true;
}

/* A lease that came back unfinished waits until those launched behind it are back too. */
void shoal_slot_step(struct shoal_slot *slot) {
    bool more = slot->paused_till_ms == 0;
    while (more) {
        struct shoal_held *held = slot->held, *before = NULL;
        size_t ahead = 0;
        for (; held != NULL && held->launched; held = held->behind, ahead++)
            before = held;
        more = held != NULL && ahead == slot->launched && go_on(slot, held, before);
    }
    if (is_running(slot) && slot->runner->kind->flush != NULL)
        slot->runner->kind->flush(slot->runner);
}

/* ---- what the runner tells */

static void note_failure(struct shoal_slot *slot, struct shoal_held *held,
                         const struct shoal_failure *failure) {
    const struct shoal_outcome outcome = {.reason = failure->reason,
                                          .attempt = held->lease.attempt,
                                          .wall_us = failure->wall_us,
                                          .code = failure->code};
    char room[SHOAL_STDERR_MAX];
    size_t len = failure->len;
    const char *text = name_sandbox(slot, failure->reason, failure->text, &len, room);
    shoal_commit_add_failure(held->commit, failure->index, &outcome, slot->host->worker,
                             text, len);
}

/* Text of a task, which may be anything, on one line and without what a terminal would
 * obey. */
static void copy_line(char *line, size_t room, const char *text, size_t len) {
    size_t n = len < room - 1 ? len : room - 1;
    while (n > 0 && n < len && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--; /* no part of a character */
    memcpy(line, text, n);
    line[n] = '\0';
    shoal_utf8_blot_controls(line, n, ' ');
}

static void told(void *owner, int64_t index, double fraction, const char *text,
                 size_t len) {
    struct shoal_slot *slot = owner;
    const struct shoal_held *held = shoal_slot_running(slot);
    char line[1024];
    if (held == NULL)
        return; /* it was taken back as it began */
    if (fraction >= 0) {
        slot->said = (struct shoal_said){.index = index, .fraction = fraction};
        memcpy(slot->said.job, held->lease.job, sizeof(slot->said.job));
        copy_line(slot->said.text, sizeof(slot->said.text), text, len);
        return;
    }
    copy_line(line, sizeof(line), text, len);
    shoal_info("%s: job=%s task=%" PRId64 " slot=%d", line, held->lease.job, index,
               slot->number);
}

static void reported(void *owner, const struct shoal_report *report) {
    struct shoal_slot *slot = owner;
    struct shoal_held *held = launched_at(slot, 0);
    for (size_t i = 0; i < report->n_failures; i++)
        note_failure(slot, held, &report->failures[i]);
    shoal_commit_add_packed(held->commit, report->tasks, report->work_us,
                            report->elements, report->outcomes, report->len);
    send_if_large(slot, held);
    slot->started_ms = shoal_now_ms();
    slot->last_wall_us = report->work_us / report->tasks;
    if (slot->said.index < held->commit->hi)
        slot->said.index = -1;
    slot->host->changed(slot->host->owner);
}

/* All leases come back from a runner that is gone. What ended it is noted when the tasks
 * before it are. */
static void lose_runner(struct shoal_slot *slot, const struct shoal_ending *ending) {
    struct shoal_held *held = ending->index < 0 ? NULL : launched_at(slot, ending->batch);
    struct shoal_outcome outcome = ending->outcome;
    if (held != NULL && ending->index == held->commit->hi) {
        slot->last_wall_us = outcome.wall_us;
        note(slot, held, &outcome, ending->stderr_end, ending->stderr_len);
    } else if (held != NULL) {
        shoal_held_foresee(held, ending->index, &outcome, ending->stderr_end,
                           ending->stderr_len);
    }
    while (slot->launched > 0)
        come_back(slot, launched_at(slot, 0));
    if (held != NULL && outcome.reason == SHOAL_REASON_SPAWN)
        end_lease(slot, held); /* others may have what it needs */
}

/* Tasks have turned out to be longer than thought: most of what waits is for others. */
static void shed(struct shoal_slot *slot) {
    if (slot->n_held > 1 &&
        slot->last_wall_us > 2 * LEASE_US / (int64_t)(slot->n_held - 1))
        shoal_slot_give_back(slot);
}

static void ended(void *owner, const struct shoal_ending *ending) {
    struct shoal_slot *slot = owner;
    slot->said.index = -1;
    if (ending->all) {
        lose_runner(slot, ending);
    } else {
        struct shoal_held *held = launched_at(slot, 0);
        come_back(slot, held);
        if (held->at >= held->lease.hi)
            end_lease(slot, held);
    }
    shoal_slot_step(slot);
    shed(slot);
}

/* ---- what the worker tells */

void shoal_slot_flush(struct shoal_slot *slot) {
    struct shoal_held *held = slot->held;
    for (size_t i = 0; i <= slot->launched && held != NULL; i++, held = held->behind)
        shoal_outbox_add(slot->host->outbox, shoal_held_take_commit(held));
}

void shoal_slot_stop(struct shoal_slot *slot, const char *job, bool kill) {
    struct shoal_held *running = shoal_slot_running(slot);
    bool launched = false;
    for (struct shoal_held *held = slot->held; held != NULL; held = held->behind) {
        if (!is_of(held, job))
            continue;
        held->unwanted = true;
        launched = launched || held->launched;
    }
    if (launched && is_of(running, job) && kill)
        slot->runner->kind->kill(slot->runner);
    else if (launched && is_of(running, job))
        slot->runner->kind->stop(slot->runner);
    else if (launched)
        cut(slot, &running);
    end_stored(slot, job);
    shoal_slot_step(slot);
}

static void skip_settled(struct shoal_slot *slot, struct shoal_held *held, int64_t lo,
                         int64_t hi) {
    int64_t to = hi < held->lease.hi ? hi : held->lease.hi;
    if (held->launched || held->at < lo || held->at >= to)
        return; /* at worst they run twice, and the first outcome counts */
    shoal_outbox_add(slot->host->outbox, shoal_held_take_commit(held));
    if (held->commit->hi == held->commit->lo)
        shoal_held_skip(held, to);
}

void shoal_slot_settled(struct shoal_slot *slot, const char *job, int64_t lo,
                        int64_t hi) {
    const struct shoal_held *running = shoal_slot_running(slot);
    size_t batch = 0;
    if (is_of(running, job) && running->at <= hi &&
        slot->runner->kind->index(slot->runner, &batch) >= lo)
        slot->runner->kind->stop(slot->runner);
    for (struct shoal_held *held = slot->held; held != NULL; held = held->behind) {
        if (is_of(held, job))
            skip_settled(slot, held, lo, hi);
    }
    shoal_slot_step(slot);
}

void shoal_slot_give_back(struct shoal_slot *slot) {
    if (is_running(slot)) {
        struct shoal_held *running = NULL;
        int64_t rest = cut(slot, &running);
        if (rest < running->lease.hi) {
            shoal_held_give_back(running, rest);
            slot->host->changed(slot->host->owner);
        }
    }
    slot->paused_till_ms = 0;
    end_stored(slot, NULL);
}

/* Whether something behind the running task waits for it. */
static bool has_untouched(const struct shoal_slot *slot) {
    const struct shoal_held *running = shoal_slot_running(slot);
    size_t batch = 0;
    return running->behind != NULL || running->at < running->lease.hi ||
           slot->runner->kind->index(slot->runner, &batch) + 1 < running->at;
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

/* Others have it, or nothing is left to do in it. */
static void lose_lease(struct shoal_slot *slot, struct shoal_held *held, bool over) {
    struct shoal_held *running = shoal_slot_running(slot);
    if (held->launched) {
        int64_t rest = cut(slot, &running);
        if (held == running)
            held->lease.hi = held->at = rest;
    }
    if (!held->launched)
        end_lease(slot, held);
    else if (over && held == running)
        slot->runner->kind->stop(slot->runner);
    shoal_slot_step(slot);
}

void shoal_slot_adopted(struct shoal_slot *slot, const char *lease, int64_t attempt) {
    for (struct shoal_held *held = slot->held; held != NULL; held = held->behind) {
        if (strcmp(held->lease.name, lease) != 0)
            continue;
        if (attempt > 0)
            held->lease.attempt = attempt;
        else
            lose_lease(slot, held, attempt < 0);
        return;
    }
}

/* ---- an upgrade */

static void carry_leases(struct shoal_slot *slot, struct shoal_knowledge *all,
                         struct shoal_handover *handover) {
    struct shoal_held **at = &slot->held;
    while (shoal_carry_more(handover, *at != NULL)) {
        shoal_held_carry(at, all, handover);
        if (*at == NULL)
            return;
        if (!handover->saves) {
            slot->n_held++;
            slot->launched += (*at)->launched;
        }
        at = &(*at)->behind;
    }
}

static void carry_runners(struct shoal_slot *slot, struct shoal_handover *handover) {
    int works = 0;
    for (int i = 0; i <= SHOAL_SLOT_STAYS; i++) {
        struct shoal_runner *runner = shoal_slot_runner(slot, i);
        runner->kind->carry(runner, handover);
        works = runner == slot->runner ? i : works;
    }
    SHOAL_CARRY(handover, works, 0, SHOAL_SLOT_STAYS);
    slot->runner = shoal_slot_runner(slot, works);
    for (int i = 0; i < SHOAL_SLOT_STAYS; i++)
        SHOAL_CARRY(handover, slot->used[i], 0, INT64_MAX);
}

static void carry_said(struct shoal_said *said, struct shoal_handover *handover) {
    char fraction[32];
    snprintf(fraction, sizeof(fraction), "%.17g", said->fraction);
    SHOAL_CARRY(handover, said->index, -1, INT64_MAX);
    shoal_carry_text(handover, said->job, sizeof(said->job));
    shoal_carry_text(handover, fraction, sizeof(fraction));
    shoal_carry_text(handover, said->text, sizeof(said->text));
    if (!shoal_double_read(fraction, strlen(fraction), &said->fraction))
        handover->failed = true;
}

static void carry_fields(struct shoal_slot *slot, struct shoal_handover *handover) {
    carry_said(&slot->said, handover);
    SHOAL_CARRY(handover, slot->started_ms, 0, INT64_MAX);
    SHOAL_CARRY(handover, slot->last_wall_us, 0, INT64_MAX);
    SHOAL_CARRY(handover, slot->paused_till_ms, 0, INT64_MAX);
    SHOAL_CARRY(handover, slot->pause_ms, PAUSE_MS, PAUSE_MAX_MS);
    SHOAL_CARRY(handover, slot->wishes, 0, INT64_MAX);
    SHOAL_CARRY(handover, slot->batches, 0, INT64_MAX);
    shoal_carry_text(handover, slot->wish, sizeof(slot->wish));
    SHOAL_CARRY(handover, slot->granted, 0, INT64_MAX);
    SHOAL_CARRY(handover, slot->appetite, 1, LEASES_MAX);
    shoal_carry_flag(handover, &slot->refused);
}

/* What is in the runner's hands is what the leases say. */
static bool recall(struct shoal_slot *slot) {
    struct shoal_runner *runner = slot->runner;
    if (is_running(slot) && runner->kind->pid(runner) == 0)
        return false;
    for (size_t i = 0; i < slot->launched; i++) {
        struct shoal_held *held = launched_at(slot, i);
        int64_t at = held->at;
        held->at = held->commit->hi; /* what is before it was reported */
        const struct shoal_batch batch = batch_of(held);
        held->at = at;
        if (held->known->state != SHOAL_KNOWN_READY ||
            (runner->kind->recall != NULL && !runner->kind->recall(runner, i, &batch)))
            return false;
    }
    return true;
}

void shoal_slot_carry(struct shoal_slot *slot, struct shoal_knowledge *all,
                      struct shoal_handover *handover) {
    carry_leases(slot, all, handover);
    carry_runners(slot, handover);
    carry_fields(slot, handover);
    if (!handover->saves && !handover->failed && !recall(slot))
        handover->failed = true;
}
