#include "worker/runner_host.h"

#include "common/clock.h"
#include "worker/child.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { REFUSED_MS = 10000 }; /* what did not start is not tried again so long */

/* Nothing is in its hands any more. */
static void end_all(struct shoal_stay *host, struct shoal_ending *ending) {
    ending->all = true;
    shoal_batches_clear(&host->hands);
    evtimer_del(host->timer);
    host->settings.ended(host->settings.owner, ending);
}

bool shoal_stay_is_worn(const struct shoal_stay *host) {
    return (host->settings.max_tasks > 0 && host->tasks >= host->settings.max_tasks) ||
           (host->settings.max_memory > 0 && host->memory > host->settings.max_memory);
}

/* What it was given and not sent goes to its successor, which a start() in between may
 * have begun. */
void shoal_stay_end_first(struct shoal_stay *host) {
    struct shoal_ending ending = {
        .index = -1, .outcome = {.result = ""}, .stderr_end = ""};
    bool dropped = shoal_stay_in_hand(host)->dropped;
    shoal_batches_shift(&host->hands);
    if (!shoal_stay_is_at_work(host))
        evtimer_del(host->timer);
    if (!host->dying && !shoal_stay_is_at_work(host) &&
        (shoal_stay_is_worn(host) || host->doomed ||
         (shoal_stay_is_stopped(host) && shoal_stay_has_leftovers(host, 0))))
        shoal_stay_end(host);
    if (!dropped)
        host->settings.ended(host->settings.owner, &ending);
    if (host->pid == 0 && host->hands.n > 0)
        end_all(host, &ending);
    shoal_stay_send_ready(host);
    shoal_stay_flush(&host->runner);
}

/* The task that runs, or would be next. */
int64_t shoal_stay_index(struct shoal_runner *runner, size_t *ret_batch) {
    struct shoal_stay *host = shoal_stay_of(runner);
    return shoal_batches_find(&host->hands, atomic_load(&host->slate->mark), ret_batch);
}

static enum shoal_reason reason_of_death(const struct shoal_stay *host, int status,
                                         bool oom, int64_t *ret_code) {
    *ret_code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    if (shoal_stay_is_stopped(host))
        return host->stop == SHOAL_SLATE_TIMEOUT ? SHOAL_REASON_TIMEOUT
                                                 : SHOAL_REASON_STOPPED;
    if (host->starved)
        return SHOAL_REASON_STOPPED;
    if (!host->greeted)
        return SHOAL_REASON_SPAWN;
    if (host->nonsense[0] != '\0')
        return SHOAL_REASON_REJECTED;
    if (oom)
        return SHOAL_REASON_OOM;
    return WIFSIGNALED(status) ? SHOAL_REASON_SIGNAL : SHOAL_REASON_EXIT;
}

/* The end of what it printed, or a sentence in place of nothing. */
static void say_death(struct shoal_stay *host, int status, struct shoal_ending *ending) {
    const char *end = shoal_capture_end(&host->printed, &ending->stderr_len);
    enum shoal_reason reason = ending->outcome.reason;
    if (host->nonsense[0] != '\0')
        snprintf(host->sentence, sizeof(host->sentence), "its runner was ended: %s",
                 host->nonsense);
    else if (reason == SHOAL_REASON_SPAWN)
        snprintf(host->sentence, sizeof(host->sentence),
                 "its runner ended before it was ready (%s %" PRId64 ")%s%.*s",
                 WIFSIGNALED(status) ? "signal" : "exit code", ending->outcome.code,
                 ending->stderr_len > 0 ? ": " : "", (int)ending->stderr_len, end);
    else if (ending->stderr_len == 0 && reason == SHOAL_REASON_EXIT)
        snprintf(host->sentence, sizeof(host->sentence),
                 "the task ended its runner with exit code %" PRId64 "; it should return",
                 ending->outcome.code);
    else {
        ending->stderr_end = end;
        return;
    }
    ending->stderr_end = host->sentence;
    ending->stderr_len = strlen(host->sentence);
}

/* It ends before it had greeted: so it does every time, for a while. */
static void remember_refusal(struct shoal_stay *host, const struct shoal_ending *ending) {
    host->refused_till_ms = shoal_now_ms() + REFUSED_MS;
    snprintf(host->refusal, sizeof(host->refusal), "%.*s", (int)ending->stderr_len,
             ending->stderr_end);
}

void shoal_stay_die(struct shoal_stay *host, int status, const struct rusage *usage) {
    struct shoal_ending ending = {.outcome = {.result = ""}};
    struct shoal_cgroup_usage memory;
    kill(-host->pid, SIGKILL); /* what is left of its group */
    shoal_cgroup_kill(host->group);
    shoal_cgroup_usage(host->group, &memory);
    host->dying = true;
    if (host->nonsense[0] == '\0')
        shoal_stay_take_messages(host); /* that it sent before */
    host->dying = false;
    ending.outcome.reason =
        reason_of_death(host, status, memory.oom_kills > 0, &ending.outcome.code);
    ending.index = shoal_stay_index(&host->runner, &ending.batch);
    const struct shoal_given *given = shoal_batches_at(&host->hands, ending.batch);
    if (given == NULL || ending.index >= given->batch.hi ||
        (ending.outcome.reason != SHOAL_REASON_SPAWN && !given->sent))
        ending.index = -1; /* nothing of what is wanted was begun, or all of it is told */
    if (shoal_batches_took_back(&host->hands, atomic_load(&host->slate->mark)))
        ending.index = -1; /* what was begun is not wanted any more */
    ending.outcome.attempt = given == NULL ? 1 : given->batch.attempt;
    ending.outcome.wall_us = shoal_now_us() - host->reported_us;
    ending.outcome.rss_kb = memory.peak > 0 ? memory.peak / 1024 : usage->ru_maxrss;
    shoal_stay_close(host);
    if (host->hands.n == 0)
        return;
    say_death(host, status, &ending);
    if (ending.outcome.reason == SHOAL_REASON_OOM)
        shoal_runner_say_oom(&host->limits, &memory, &ending, host->sentence,
                             sizeof(host->sentence));
    if (ending.outcome.reason == SHOAL_REASON_SPAWN)
        remember_refusal(host, &ending);
    end_all(host, &ending);
}
