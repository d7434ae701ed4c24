/* Keeps a child that stays and runs many tasks: a runner in a language's own words.
 *
 *     none --start--> starting --hello--> idle --run--> busy --done, over--> idle
 *      ^                 |                  |             |
 *      +-----------------+------------------+-------------+   it died, or is replaced
 *
 * While it is busy it takes further batches (batches.h). They go to it and outcomes come
 * back as frames (frame.h) through a socket; what must be seen while a task runs stands
 * on a slate (slate.h). Its outcomes are packed already: only counts and failures are
 * looked at here. README.md has the protocol. */
#include "worker/runner_host.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/environment.h"
#include "common/scratch.h"
#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    GREETING_MS = 60000, /* to load what it runs */
    TAKE_UNKNOWN = 1000, /* tasks of a batch for a runner whose needs are not known */
};

/* ---- stopping */

/* Nothing is begun behind the running task, so that it is the one that is warned. */
static void warn(struct shoal_stay *host) {
    host->stop = SHOAL_SLATE_WARNING;
    shoal_stay_limit(host, 0);
    atomic_store(&host->slate->stop, SHOAL_SLATE_WARNING);
    shoal_stay_set_timer(host, host->warning.before_ms);
}

/* Its death, which comes next, is laid to nothing but the stop: whatever it still says,
 * it gets no other tasks. */
static void doom(struct shoal_stay *host) {
    host->doomed = true;
    shoal_stay_strike(host);
}

static void begin_stop(struct shoal_stay *host, enum shoal_slate_stop why) {
    if (host->hands.n == 0 || shoal_stay_is_stopped(host))
        return;
    host->stop = why;
    shoal_stay_limit(host, 0);
    atomic_store(&host->slate->stop, why);
    if (!host->greeted)
        doom(host);
    else
        shoal_stay_set_timer(host, SHOAL_STAY_PATIENCE_MS);
}

static void stop(struct shoal_runner *runner) {
    begin_stop(shoal_stay_of(runner), SHOAL_SLATE_STOP);
}

static void kill_now(struct shoal_runner *runner) {
    struct shoal_stay *host = shoal_stay_of(runner);
    if (host->pid == 0 || host->hands.n == 0)
        return;
    host->stop = shoal_stay_is_stopped(host) ? host->stop : SHOAL_SLATE_STOP;
    doom(host);
}

/* One that has asked knows; another hears a signal, as a program does. Then its grace. */
static void terminate(struct shoal_stay *host) {
    host->terminated = true;
    if (atomic_load(&host->slate->asked) != 1) {
        host->doomed = true;
        shoal_child_signal(host->pid, SIGTERM);
    }
    shoal_child_signal(host->pid, SIGCONT); /* one that stands still cannot hear */
    shoal_stay_set_timer(host, host->grace_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *owner) {
    struct shoal_stay *host = owner;
    (void)fd;
    (void)what;
    if (host->pid == 0 || (host->greeted && host->hands.n == 0))
        return;
    if (!event_pending(host->readable, EV_READ, NULL))
        shoal_stay_give_up(host, "it closed its connection to the worker");
    else if (!host->greeted)
        shoal_stay_give_up(host, "it did not greet in a minute");
    else if (host->stop == SHOAL_SLATE_GO_ON && host->warning.signal != 0)
        warn(host);
    else if (!shoal_stay_is_stopped(host))
        begin_stop(host, SHOAL_SLATE_TIMEOUT);
    else if (!host->terminated)
        terminate(host);
    else
        kill_now(&host->runner);
}

static int64_t cut(struct shoal_runner *runner, size_t *ret_batch) {
    struct shoal_stay *host = shoal_stay_of(runner);
    int64_t rest = shoal_stay_index(runner, ret_batch) + 1;
    struct shoal_given *given = shoal_batches_at(&host->hands, *ret_batch);
    if (given->sent) {
        shoal_stay_limit(host, given->shift + rest);
        rest =
            shoal_stay_index(runner, ret_batch) + 1; /* it may have gone on meanwhile */
        given = shoal_batches_at(&host->hands, *ret_batch);
    }
    if (rest < given->batch.hi)
        given->batch.hi = rest;
    shoal_batches_drop_behind(&host->hands, given);
    return given->batch.hi;
}

/* ---- the interface */

/* How many tasks it may get before it is replaced. */
static int64_t room(struct shoal_stay *host) {
    return host->settings.max_tasks == 0 ? INT64_MAX
                                         : host->settings.max_tasks - host->tasks -
                                               shoal_batches_tasks(&host->hands);
}

static bool takes_more(struct shoal_runner *runner, const char *digest) {
    struct shoal_stay *host = shoal_stay_of(runner);
    return host->hands.n > 0 && host->hands.n < SHOAL_BATCHES_MAX && host->pid != 0 &&
           !host->doomed && !host->dying && !host->limited && host->nonsense[0] == '\0' &&
           strcmp(host->digest, digest) == 0 && room(host) > 0;
}

static enum shoal_status begin_process(struct shoal_stay *host,
                                       const struct shoal_batch *batch, int checkpoints,
                                       struct shoal_error *err) {
    host->tasks = host->memory = 0;
    host->computes = false;
    atomic_store(&host->slate->asked, 0);
    snprintf(host->digest, sizeof(host->digest), "%s", batch->digest);
    host->allow = batch->allow;
    host->refused_till_ms = 0; /* that was another's */
    host->timeout_ms = batch->spec->timeout_ms;
    host->grace_ms = batch->spec->grace_ms;
    host->warning = batch->spec->warning;
    host->may_continue = batch->spec->checkpoint;
    host->limits = batch->spec->limits;
    while (shoal_stay_is_at_work(
        host)) /* taken back; its predecessor was ended before it said so */
        shoal_batches_shift(&host->hands);
    host->hands.positions = 0;
    host->limited = host->terminated = host->doomed = false;
    host->stop = SHOAL_SLATE_GO_ON;
    host->nonsense[0] = '\0';
    host->starved = false;
    enum shoal_status status = shoal_stay_launch(host, batch->spec, checkpoints, err);
    if (status == SHOAL_OK)
        shoal_stay_set_timer(host, GREETING_MS);
    return status;
}

/* One that dies takes nothing any more, but keeps what it is given until it is dead. */
static enum shoal_status start(struct shoal_runner *runner,
                               const struct shoal_batch *batch, int64_t *ret_taken,
                               struct shoal_error *err) {
    struct shoal_stay *host = shoal_stay_of(runner);
    bool same = strcmp(host->digest, batch->digest) == 0;
    if (same && shoal_now_ms() < host->refused_till_ms)
        return shoal_error_set(err, SHOAL_REFUSED, "%s", host->refusal);
    const char *argument;
    size_t len;
    SHOAL_CLEANUP(shoal_cleanup_fd) int checkpoints = -1;
    enum shoal_status status = shoal_batch_argument(batch, &argument, &len, err);
    if (status == SHOAL_OK && batch->spec->checkpoint)
        status = shoal_checkpoints_reach(host->settings.checkpoints, &checkpoints, err);
    if (status != SHOAL_OK)
        return status;
    if (host->pid != 0 && !host->dying &&
        (!same || host->doomed || host->nonsense[0] != '\0'))
        shoal_stay_end(host);
    if (host->pid == 0)
        status = begin_process(host, batch, checkpoints, err);
    if (status != SHOAL_OK)
        return status;
    int64_t n = batch->hi - batch->lo, most = room(host);
    if (!host->computes && batch->arguments == NULL && n > TAKE_UNKNOWN)
        n = TAKE_UNKNOWN;
    *ret_taken = n < most ? n : most < 1 ? 1 : most;
    struct shoal_given *given = shoal_batches_add(&host->hands, batch);
    given->batch.hi = batch->lo + *ret_taken;
    if (host->hands.n == 1)
        host->reported_us = shoal_now_us();
    shoal_stay_send_ready(host);
    return SHOAL_OK;
}

static bool reap(struct shoal_runner *runner, pid_t pid, int status,
                 const struct rusage *usage) {
    struct shoal_stay *host = shoal_stay_of(runner);
    if (pid != host->pid || pid == 0)
        return false;
    shoal_stay_die(host, status, usage);
    return true;
}

static bool serves(const struct shoal_runner *runner, const char *digest) {
    const struct shoal_stay *host = shoal_stay_of(runner);
    return (host->pid != 0 || shoal_now_ms() < host->refused_till_ms) &&
           strcmp(host->digest, digest) == 0;
}

static pid_t pid_of(const struct shoal_runner *runner) {
    return shoal_stay_of(runner)->pid;
}

static const char *folder_of(const struct shoal_runner *runner) {
    return shoal_stay_of(runner)->folder;
}

static void destroy(struct shoal_runner *runner) {
    struct shoal_stay *host = shoal_stay_of(runner);
    shoal_stay_end(host);
    shoal_cgroup_destroy(host->group);
    if (host->timer != NULL)
        event_free(host->timer);
    if (host->in != NULL)
        evbuffer_free(host->in);
    if (host->out != NULL)
        evbuffer_free(host->out);
    if (host->slate != NULL)
        munmap(host->slate, SHOAL_SLATE_SIZE);
    shoal_capture_finish(&host->printed);
    if (host->folder[0] != '\0')
        shoal_scratch_remove_tree(host->folder);
    if (host->null >= 0)
        close(host->null);
    if (host->page >= 0)
        close(host->page);
    free(host->passed);
    free(host);
}

static const struct shoal_runner_kind host_kind = {
    .start = start,
    .takes_more = takes_more,
    .flush = shoal_stay_flush,
    .cut = cut,
    .index = shoal_stay_index,
    .stop = stop,
    .kill = kill_now,
    .reap = reap,
    .serves = serves,
    .pid = pid_of,
    .folder = folder_of,
    .rests = shoal_stay_rests,
    .tidy = shoal_stay_tidy,
    .carry = shoal_stay_carry,
    .recall = shoal_stay_recall,
    .destroy = destroy,
};

bool shoal_stay_map_slate(struct shoal_stay *host) {
    void *page =
        mmap(NULL, SHOAL_SLATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, host->page, 0);
    host->slate = page == MAP_FAILED ? NULL : page;
    return host->slate != NULL;
}

static bool make_slate(struct shoal_stay *host) {
    host->page = memfd_create("slate", MFD_CLOEXEC);
    return host->page >= 0 && ftruncate(host->page, SHOAL_SLATE_SIZE) == 0 &&
           shoal_stay_map_slate(host);
}

/* Where this program lies: a runner of the same build lies there too. */
static void find_beside(struct shoal_stay *host) {
    ssize_t len = readlink("/proc/self/exe", host->beside, sizeof(host->beside) - 1);
    host->beside[len < 0 ? 0 : len] = '\0';
    char *slash = strrchr(host->beside, '/');
    if (slash != NULL)
        *slash = '\0';
}

static enum shoal_status prepare(struct shoal_stay *host, struct shoal_error *err) {
    int len =
        snprintf(host->folder, sizeof(host->folder), "%s/h%d.%d",
                 host->settings.directory, host->settings.slot, host->settings.place);
    if (len < 0 || (size_t)len >= sizeof(host->folder)) {
        host->folder[0] = '\0'; /* what was cut names something else */
        return shoal_error_set(err, SHOAL_INVALID,
                               "the directory '%s' has too long a name",
                               host->settings.directory);
    }
    find_beside(host);
    host->passed = shoal_environment_passed(host->settings.pass_env);
    host->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    host->timer = evtimer_new(host->settings.base, on_timer, host);
    host->in = evbuffer_new();
    host->out = evbuffer_new();
    if (host->null < 0 || host->timer == NULL || host->in == NULL || host->out == NULL ||
        host->passed == NULL || !make_slate(host))
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot prepare a slot: %s",
                               strerror(errno));
    return shoal_capture_init(&host->printed, host->settings.base, err);
}

enum shoal_status shoal_runner_host_create(const struct shoal_runner_settings *settings,
                                           struct shoal_runner **ret_runner,
                                           struct shoal_error *err) {
    struct shoal_stay *host = calloc(1, sizeof(*host));
    if (host == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a runner");
    host->runner.kind = &host_kind;
    host->settings = *settings;
    host->null = host->page = host->socket = host->printed.fd = -1;
    enum shoal_status status = prepare(host, err);
    if (status != SHOAL_OK) {
        destroy(&host->runner);
        return status;
    }
    *ret_runner = &host->runner;
    return SHOAL_OK;
}
