#include "worker/worker.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/signals.h"
#include "worker/folder.h"
#include "worker/status.h"
#include "worker/tree.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    TIDY_MS = 1000,
    TREES_MS = 2000,  /* to end what tasks left behind */
    SLOTS_MAX = 1024, /* as in main.c */
    LAST_WORDS_MS =
        30000, /* so long a worker that ends waits for Redis to take its outcomes */
    TOLD_AGAIN_MS = 2000, /* … and one that was told twice for a Redis that is away */
};

size_t shoal_worker_running(const struct shoal_worker *worker) {
    size_t n = 0;
    for (int64_t i = 0; i < worker->config->slots; i++)
        n += worker->slots[i].launched > 0;
    return n;
}

size_t shoal_worker_idle_slots(const struct shoal_worker *worker) {
    size_t n = 0;
    for (int64_t i = 0; i < worker->config->slots; i++)
        n += shoal_slot_is_idle(&worker->slots[i]);
    return n;
}

void shoal_worker_stop_job(struct shoal_worker *worker, const char *job, bool kill) {
    for (int64_t i = 0; i < worker->config->slots; i++)
        shoal_slot_stop(&worker->slots[i], job, kill);
}

void shoal_worker_settled(struct shoal_worker *worker, const char *job, int64_t lo,
                          int64_t hi) {
    for (int64_t i = 0; i < worker->config->slots; i++)
        shoal_slot_settled(&worker->slots[i], job, lo, hi);
}

void shoal_worker_quit(struct shoal_worker *worker, int status) {
    worker->exit_status = status;
    worker->over = true;
    event_base_loopbreak(worker->base);
}

/* ---- ending */

void shoal_worker_drain(struct shoal_worker *worker) {
    if (worker->phase != SHOAL_WORKER_WORKS)
        return;
    shoal_info("draining: takes no more work, ends when what runs has ended: running=%zu",
               shoal_worker_running(worker));
    worker->phase = SHOAL_WORKER_DRAINS;
    for (int64_t i = 0; i < worker->config->slots; i++)
        shoal_slot_give_back(&worker->slots[i]);
    shoal_link_changed(worker);
    shoal_link_beat_soon(worker);
}

static void stop(struct shoal_worker *worker, const char *why) {
    shoal_worker_drain(worker);
    if (worker->phase == SHOAL_WORKER_STOPS) {
        shoal_warn("killing what runs: running=%zu", shoal_worker_running(worker));
        shoal_worker_stop_job(worker, NULL, true);
        return;
    }
    shoal_info("stopping, %s: running=%zu", why, shoal_worker_running(worker));
    worker->phase = SHOAL_WORKER_STOPS;
    shoal_worker_stop_job(worker, NULL, false);
}

static void take_signal(struct shoal_worker *worker, int number) {
    if (worker->phase == SHOAL_WORKER_WORKS)
        shoal_worker_drain(worker);
    else
        stop(worker, number == SIGINT ? "interrupted again" : "told again");
}

/* The keeper is gone: nobody would end the tasks if this worker died as well. */
static void lose_keeper(evutil_socket_t fd, short what, void *owner) {
    (void)fd;
    (void)what;
    stop(owner, "its keeper is gone");
}

/* Redis cannot be told, and would hear no more than that the session is over, which it
 * finds by itself. */
static bool has_nothing_to_tell(const struct shoal_worker *worker) {
    return shoal_link_is_away(worker) && shoal_outbox_sum(&worker->outbox).commits == 0;
}

/* Redis cannot be told for too long: the last outcomes wait in a file. */
static bool leave_outcomes(struct shoal_worker *worker, int64_t now_ms) {
    worker->outbox.spools.try_again_ms = 0;
    bool left = shoal_outbox_spill(&worker->outbox, now_ms);
    struct shoal_outbox_sum sum = shoal_outbox_sum(&worker->outbox);
    if (!left)
        shoal_err("Redis took nothing for too long, its last outcomes are lost and their "
                  "tasks run again: commits=%zu",
                  worker->outbox.waiting.n);
    else if (sum.commits > 0)
        shoal_warn(
            "Redis took nothing for too long; the last outcomes are sent when a worker "
            "of this name starts: commits=%zu worker=%s spool=%s",
            sum.commits, worker->config->name, worker->config->spool);
    else
        shoal_warn("Redis took nothing for too long; ended without telling it");
    return left;
}

static int64_t patience_ms(const struct shoal_worker *worker) {
    bool is_short = worker->phase == SHOAL_WORKER_STOPS && shoal_link_is_away(worker);
    return is_short ? TOLD_AGAIN_MS : LAST_WORDS_MS;
}

static void try_to_end(struct shoal_worker *worker, int64_t now_ms) {
    if (worker->phase == SHOAL_WORKER_WORKS ||
        shoal_worker_idle_slots(worker) < (size_t)worker->config->slots)
        return;
    if (worker->idle_since_ms == 0)
        worker->idle_since_ms = now_ms;
    if (shoal_link_try_to_end(worker)) {
        shoal_info("ended in good order");
        shoal_worker_quit(worker, 0);
    } else if (has_nothing_to_tell(worker)) {
        shoal_info("ended in good order; Redis %s, and there was nothing to tell it",
                   shoal_link_how(&worker->link));
        shoal_worker_quit(worker, 0);
    } else if (now_ms - worker->idle_since_ms > patience_ms(worker)) {
        shoal_worker_quit(worker, leave_outcomes(worker, now_ms) ? 0 : 1);
    }
}

/* ---- children */

static struct shoal_tree_task describe(const struct shoal_slot *slot,
                                       struct shoal_runner *runner) {
    const struct shoal_held *running =
        runner == slot->runner ? shoal_slot_running(slot) : NULL;
    size_t batch = 0;
    return (struct shoal_tree_task){
        .pid = runner->kind->pid(runner),
        .slot = slot->number,
        .job = running == NULL ? "" : running->lease.job,
        .index = runner->kind->index(runner, &batch),
        .folder = runner->kind->folder(runner),
        .rests = runner->kind->rests != NULL && runner->kind->rests(runner),
    };
}

/* The slots' runners one after the other, or NULL without memory. */
static struct shoal_tree_task *list_runners(const struct shoal_worker *worker,
                                            size_t *ret_n) {
    size_t n = 0;
    struct shoal_tree_task *tasks =
        calloc((size_t)worker->config->slots * SHOAL_SLOT_RUNNERS, sizeof(*tasks));
    for (int64_t i = 0; tasks != NULL && i < worker->config->slots; i++) {
        const struct shoal_slot *slot = &worker->slots[i];
        for (int k = 0; k < SHOAL_SLOT_RUNNERS; k++)
            tasks[n++] = describe(slot, shoal_slot_runner(slot, k));
    }
    *ret_n = n;
    return tasks;
}

/* Returns the runners as it found them; the caller's. */
static struct shoal_tree_task *sweep_tree(struct shoal_worker *worker) {
    size_t n = 0;
    struct shoal_tree_task *tasks = list_runners(worker, &n);
    size_t ended = tasks == NULL ? 0 : shoal_tree_sweep(tasks, n);
    if (ended > 0)
        shoal_debug("ended what tasks left behind: processes=%zu", ended);
    return tasks;
}

/* What functions have started may stay as long as there are tasks for their runner. */
static void tidy_up(struct shoal_worker *worker) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_tree_task *tasks = sweep_tree(worker);
    const struct shoal_tree_task *task = tasks;
    for (int64_t i = 0; tasks != NULL && i < worker->config->slots; i++) {
        for (int k = 0; k < SHOAL_SLOT_RUNNERS; k++, task++) {
            struct shoal_runner *runner = shoal_slot_runner(&worker->slots[i], k);
            if (runner->kind->tidy != NULL)
                runner->kind->tidy(runner, task->left);
        }
    }
}

static bool is_of_slot(struct shoal_slot *slot, pid_t pid, int status,
                       const struct rusage *usage) {
    if (slot->exec->kind->reap(slot->exec, pid, status, usage))
        return true;
    for (int i = 0; i < SHOAL_SLOT_STAYS; i++) {
        if (slot->stays[i]->kind->reap(slot->stays[i], pid, status, usage))
            return true;
    }
    return false;
}

static void give_to_slot(struct shoal_worker *worker, pid_t pid, int status,
                         const struct rusage *usage) {
    for (int64_t i = 0; i < worker->config->slots; i++) {
        if (is_of_slot(&worker->slots[i], pid, status, usage))
            return;
    }
}

/* The next child that has ended; 0 or less: there is none. */
static pid_t next_ended(int *status, struct rusage *usage) {
    pid_t pid;
    do {
        pid = wait4(-1, status, WNOHANG, usage);
    } while (pid < 0 && errno == EINTR);
    return pid;
}

static void reap(struct shoal_worker *worker, int number) {
    struct rusage usage;
    int status = 0;
    pid_t pid;
    (void)number;
    while ((pid = next_ended(&status, &usage)) > 0)
        give_to_slot(worker, pid, status, &usage);
    free(sweep_tree(worker));
    try_to_end(worker, shoal_now_ms());
}

/* ---- time */

static void tick(evutil_socket_t fd, short what, void *owner) {
    struct shoal_worker *worker = owner;
    int64_t now = shoal_now_ms();
    (void)fd;
    (void)what;
    for (int64_t i = 0; i < worker->config->slots; i++)
        shoal_slot_tick(&worker->slots[i], now);
    if (now - worker->tidied_ms >= TIDY_MS) {
        worker->tidied_ms = now;
        tidy_up(worker);
    }
    shoal_janitor_tick(&worker->janitor, shoal_link_queue(worker), now);
    shoal_link_tick(worker, now);
    try_to_end(worker, now);
}

static void known_changed(void *owner) {
    struct shoal_worker *worker = owner;
    if (worker->known.again)
        shoal_knowledge_ask(&worker->known, &worker->link.queue);
    for (int64_t i = 0; i < worker->config->slots; i++)
        shoal_slot_step(&worker->slots[i]);
}

/* ---- an upgrade */

static void take_upgrade(struct shoal_worker *worker, int number) {
    (void)number;
    worker->upgrades = true;
    event_base_loopbreak(worker->base);
}

/* Whoever told this process has told the wrong one: the keeper is who looks first whether
 * the new program can take over. One that is gone is no more our parent. */
static void pass_to_keeper(struct shoal_worker *worker, int number) {
    struct pollfd end = {.fd = worker->config->keeper, .events = POLLIN};
    if (poll(&end, 1, 0) == 0)
        kill(getppid(), number);
}

/* Who the worker is, other than by its command line. */
static void carry_self(struct shoal_worker_config *config,
                       struct shoal_handover *handover) {
    shoal_carry_text(handover, config->session, sizeof(config->session));
    shoal_carry_text(handover, config->dead, sizeof(config->dead));
    shoal_carry_fd(handover, &config->keeper);
    SHOAL_CARRY(handover, config->slots, 1, SLOTS_MAX);
    shoal_carry_fd(handover, &config->folder_lock);
    shoal_cgroups_carry(&config->cgroups, handover);
}

static void carry_all(struct shoal_worker *worker, struct shoal_handover *handover) {
    SHOAL_CARRY(handover, worker->phase, SHOAL_WORKER_WORKS, SHOAL_WORKER_STOPS);
    SHOAL_CARRY(handover, worker->idle_since_ms, 0, INT64_MAX);
    shoal_link_carry(worker, handover);
    shoal_knowledge_carry(&worker->known, handover);
    shoal_outbox_carry(&worker->outbox, handover);
    for (int64_t i = 0; i < worker->config->slots && !handover->failed; i++)
        shoal_slot_carry(&worker->slots[i], &worker->known, handover);
    if (!handover->saves)
        shoal_knowledge_let_go(&worker->known);
}

/* Becomes the new program, or says why it cannot. Outcomes that wait are in a spool
 * before: one that cannot read what it is given finds them there. */
static void hand_over(struct shoal_worker *worker) {
    const struct shoal_worker_config *config = worker->config;
    struct shoal_worker_config self = *config;
    self.folder_lock = worker->folder_lock;
    self.cgroups = worker->cgroups;
    struct shoal_handover handover;
    struct shoal_error err = {.status = SHOAL_OK};
    shoal_outbox_spill(&worker->outbox, shoal_now_ms());
    enum shoal_status status = shoal_handover_begin(&handover, &err);
    if (status == SHOAL_OK) {
        carry_self(&self, &handover);
        carry_all(worker, &handover);
        status = shoal_handover_exec(&handover, SHOAL_WORKER_ROLE, config->program,
                                     config->argv, &err);
    }
    shoal_err("the worker is not upgraded and goes on: %s: pid=%d version=%s", err.text,
              (int)getpid(), SHOAL_VERSION);
    shoal_handover_finish(&handover);
}

static void upgrade(struct shoal_worker *worker) {
    worker->upgrades = false;
    if (!worker->over && worker->config->program != NULL)
        hand_over(worker);
}

/* ---- signals */

static const struct {
    int number;
    void (*take)(struct shoal_worker *worker, int number);
} signals[] = {
    {SIGTERM, take_signal},    {SIGINT, take_signal},
    {SIGCHLD, reap},           {SHOAL_WORKER_UPGRADES, take_upgrade},
    {SIGUSR2, pass_to_keeper},
};

/* What comes behind the wish for an upgrade is for the new program. */
static bool hear_signal(int number, void *owner) {
    struct shoal_worker *worker = owner;
    for (size_t i = 0; i < SHOAL_COUNT(signals); i++) {
        if (signals[i].number == number)
            signals[i].take(worker, number);
    }
    return !worker->over && !worker->upgrades;
}

/* One of them may be that of a child that ended when nobody listened. */
static bool hear_signals(struct shoal_worker *worker, struct shoal_signals *ret_heard) {
    int numbers[SHOAL_COUNT(signals)];
    for (size_t i = 0; i < SHOAL_COUNT(signals); i++)
        numbers[i] = signals[i].number;
    bool hears = shoal_signals_begin(ret_heard, worker->base, numbers,
                                     SHOAL_COUNT(signals), hear_signal, worker);
    raise(SIGCHLD);
    return hears;
}

/* ---- life */

static enum shoal_status make_slots(struct shoal_worker *worker, const char *folder,
                                    struct shoal_error *err) {
    const struct shoal_worker_config *config = worker->config;
    const struct shoal_runner_settings settings = {
        .base = worker->base,
        .directory = folder,
        .folder_lock = &worker->folder_lock,
        .session = config->session,
        .cgroups = &worker->cgroups,
        .user = config->user,
        .allow = config->allow,
        .sandbox = config->sandbox,
        .pass_env = config->pass_env,
        .threads = (int)config->threads,
        .max_tasks = config->max_tasks,
        .max_memory = config->max_memory,
        .checkpoints = &worker->checkpoints,
    };
    worker->slot_host = (struct shoal_slot_host){
        .worker = config->name,
        .cgroups = &worker->cgroups,
        .has_user = config->user != NULL,
        .sandbox = config->sandbox,
        .outbox = &worker->outbox,
        .trust = worker->trust,
        .changed = shoal_link_changed,
        .owner = worker,
    };
    worker->slots = calloc((size_t)config->slots, sizeof(*worker->slots));
    if (worker->slots == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for %" PRId64 " slots",
                               config->slots);
    enum shoal_status status = SHOAL_OK;
    for (int64_t i = 0; i < config->slots && status == SHOAL_OK; i++)
        status = shoal_slot_init(&worker->slots[i], (int)i, &worker->slot_host, &settings,
                                 err);
    return status;
}

/* What the loop listens to besides Redis. */
struct watch {
    struct shoal_signals signals;
    struct event *events[2];
    size_t n;
};

/* False without memory: it would be deaf to a signal, say. */
static bool watch(struct watch *all, struct event *event, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (event == NULL)
        return false;
    all->events[all->n++] = event;
    return event_add(event, ms > 0 ? &tv : NULL) == 0;
}

static bool watch_all(struct shoal_worker *worker, struct watch *all) {
    struct event_base *base = worker->base;
    int keeper = worker->config->keeper;
    return hear_signals(worker, &all->signals) &&
           watch(all, event_new(base, -1, EV_PERSIST, tick, worker), TICK_MS) &&
           (keeper < 0 ||
            watch(all, event_new(base, keeper, EV_READ, lose_keeper, worker), 0));
}

static void run_loop(struct shoal_worker *worker) {
    struct watch all = {.n = 0};
    if (watch_all(worker, &all)) {
        if (worker->config->keeper >= 0)
            kill(getppid(), SHOAL_WORKER_LISTENS);
        do {
            event_base_dispatch(worker->base);
            if (worker->upgrades)
                upgrade(worker);
        } while (!worker->over);
        /* One more turn, so that what was just sent leaves. */
        event_base_loop(worker->base, EVLOOP_NONBLOCK);
    } else {
        shoal_err("cannot listen to signals and timers: %s", strerror(errno));
        worker->exit_status = 1;
    }
    for (size_t i = 0; i < all.n; i++)
        event_free(all.events[i]);
    shoal_signals_finish(&all.signals);
}

static void make_outbox(struct shoal_worker *worker) {
    const struct shoal_worker_config *config = worker->config;
    struct shoal_spool_head head = {.store = ""};
    struct shoal_spools spools;
    snprintf(head.name_space, sizeof(head.name_space), "%s", config->name_space);
    snprintf(head.worker, sizeof(head.worker), "%s", config->name);
    snprintf(head.session, sizeof(head.session), "%s", config->session);
    shoal_redis_address_print(&config->address, head.redis, sizeof(head.redis));
    shoal_spools_init(&spools, config->spool, config->spool_max, &head);
    shoal_spools_find(&spools);
    shoal_outbox_init(&worker->outbox, &spools, (size_t)config->outbox_memory);
}

static enum shoal_status take_over(struct shoal_worker *worker,
                                   struct shoal_handover *handover,
                                   struct shoal_error *err) {
    carry_all(worker, handover);
    if (!shoal_handover_is_whole(handover))
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "what the program before this one handed over makes no "
                               "sense");
    shoal_info("upgraded: version=%s worker=%s session=%s running=%zu commits=%zu",
               SHOAL_VERSION, worker->config->name, worker->config->session,
               shoal_worker_running(worker), worker->outbox.waiting.n);
    return SHOAL_OK;
}

/* Limits that no group holds are those of single processes, or none: shoal-worker(1). */
static void say_what_holds_tasks(const struct shoal_cgroups *cgroups) {
    unsigned bits = shoal_cgroups_hold(cgroups);
    if (cgroups->n == 0)
        shoal_info("there are no control groups for tasks");
    else
        shoal_info("tasks are held by control groups: version=%d limits=%s%s%s",
                   cgroups->trees[0].unified ? 2 : 1,
                   bits & SHOAL_CGROUP_MEMORY ? "memory," : "",
                   bits & SHOAL_CGROUP_CPU ? "cpus," : "",
                   bits & SHOAL_CGROUP_PIDS ? "processes" : "");
}

static enum shoal_status start(struct shoal_worker *worker, const char *folder,
                               struct shoal_handover *handover, struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    if (worker->folder_lock < 0)
        status = shoal_folder_create(folder, worker->config->user != NULL,
                                     &worker->folder_lock, err);
    if (status != SHOAL_OK)
        return status;
    shoal_cgroups_begin(&worker->cgroups, worker->config->session);
    say_what_holds_tasks(&worker->cgroups);
    if (worker->config->allow != NULL)
        shoal_allow_tell(worker->config->allow);
    if (worker->config->sandbox != NULL)
        shoal_sandbox_tell(worker->config->sandbox);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    worker->base = shoal_loop_new();
    if (worker->base == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for an event loop");
    make_outbox(worker);
    worker->trust = worker->config->trust;
    worker->trust->store = worker->link.store;
    shoal_knowledge_init(&worker->known, worker->trust, known_changed, worker);
    shoal_janitor_init(&worker->janitor, &worker->checkpoints);
    status =
        shoal_checkpoints_init(&worker->checkpoints, worker->config->checkpoints,
                               worker->config->name_space, worker->config->user, err);
    if (status == SHOAL_OK)
        status = make_slots(worker, folder, err);
    if (status == SHOAL_OK)
        status = shoal_link_init(worker, err);
    if (status == SHOAL_OK && handover != NULL)
        status = take_over(worker, handover, err);
    if (status == SHOAL_OK)
        worker->status = shoal_status_listen(worker);
    return status;
}

static void finish(struct shoal_worker *worker, const char *folder) {
    for (int64_t i = 0; worker->slots != NULL && i < worker->config->slots; i++)
        shoal_slot_finish(&worker->slots[i]);
    shoal_tree_kill_all(TREES_MS);
    shoal_status_close(worker->status);
    shoal_link_finish(worker);
    shoal_janitor_finish(&worker->janitor);
    shoal_knowledge_finish(&worker->known);
    shoal_outbox_finish(&worker->outbox);
    free(worker->slots);
    if (worker->base != NULL)
        event_base_free(worker->base);
    shoal_cgroups_end(&worker->cgroups, worker->config->session);
    shoal_folder_finish(folder, worker->folder_lock);
}

static int run(struct shoal_worker_config *config, struct shoal_handover *handover) {
    struct shoal_worker worker = {
        .config = config, .cgroups = config->cgroups, .folder_lock = config->folder_lock};
    struct shoal_error err = {.status = SHOAL_OK};
    char folder[4096];
    shoal_folder_path(config->directory, config->session, folder, sizeof(folder));
    enum shoal_status status = start(&worker, folder, handover, &err);
    if (handover != NULL)
        shoal_handover_finish(handover);
    if (status == SHOAL_OK) {
        run_loop(&worker);
    } else {
        shoal_err("%s", err.text);
        worker.exit_status = handover == NULL ? 1 : SHOAL_WORKER_START_AGAIN;
    }
    finish(&worker, folder);
    return worker.exit_status;
}

/* What cannot be read leaves tasks behind that nobody knows. */
static int run_handed_over(struct shoal_worker_config *config) {
    struct shoal_handover handover;
    struct shoal_error err = {.status = SHOAL_OK};
    int exit_status = SHOAL_WORKER_START_AGAIN;
    if (shoal_handover_open(&handover, &err) == SHOAL_OK) {
        carry_self(config, &handover);
        if (handover.failed)
            shoal_error_set(&err, SHOAL_GARBAGE, "it does not say whose it is");
    }
    if (err.status == SHOAL_OK)
        exit_status = run(config, &handover);
    else
        shoal_err("what the program before this one handed over cannot be read: %s; "
                  "its tasks are ended and go back: pid=%d",
                  err.text, (int)getpid());
    shoal_handover_finish(&handover);
    if (exit_status == SHOAL_WORKER_START_AGAIN)
        shoal_tree_kill_all(TREES_MS);
    return exit_status;
}

int shoal_worker_run(struct shoal_worker_config *config) {
    return shoal_handover_is_given(SHOAL_WORKER_ROLE) ? run_handed_over(config)
                                                      : run(config, NULL);
}
