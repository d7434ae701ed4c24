#include "worker/runner_host.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/environment.h"
#include "common/log.h"
#include "worker/child.h"
#include "worker/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REST_MS = 1000 }; /* without a task, until what tasks have started is not kept */

/* What belongs to it here. */
void shoal_stay_close(struct shoal_stay *host) {
    struct event **events[] = {&host->readable, &host->writable};
    for (size_t i = 0; i < SHOAL_COUNT(events); i++) {
        if (*events[i] != NULL)
            event_free(*events[i]);
        *events[i] = NULL;
    }
    if (host->socket >= 0)
        close(host->socket);
    host->socket = -1;
    evtimer_del(host->timer);
    evbuffer_drain(host->in, evbuffer_get_length(host->in));
    evbuffer_drain(host->out, evbuffer_get_length(host->out));
    shoal_capture_close(&host->printed);
    host->pid = 0;
    host->greeted = false;
}

/* All that it is, wherever it has gone; what has left both groups becomes the worker's
 * child when this is dead, and is ended there. */
void shoal_stay_strike(struct shoal_stay *host) {
    shoal_child_signal(host->pid, SIGKILL);
    shoal_cgroup_kill(host->group); /* if something is left, the next start says so */
}

void shoal_stay_end(struct shoal_stay *host) {
    if (host->pid == 0)
        return;
    shoal_stay_strike(host);
    shoal_child_wait(host->pid);
    shoal_stay_close(host);
}

/* It talks nonsense: its death, which comes next, is laid to the task that ran. */
void shoal_stay_give_up(struct shoal_stay *host, const char *why) {
    if (host->nonsense[0] == '\0')
        snprintf(host->nonsense, sizeof(host->nonsense), "%s", why);
    if (host->readable != NULL)
        event_del(host->readable);
    if (!host->dying)
        shoal_stay_strike(host);
}

void shoal_stay_starve(struct shoal_stay *host) {
    host->starved = host->starved || host->nonsense[0] == '\0';
    shoal_stay_give_up(host, "there was no memory to talk to it");
}

/* ---- what tasks have started */

/* Processes beside its own; `left`: those that have become the worker's children. */
size_t shoal_stay_count_company(const struct shoal_stay *host, size_t left) {
    int64_t n = shoal_cgroup_count(host->group);
    return n > 0 ? (size_t)n - 1 : shoal_tree_count_below(host->pid) + left;
}

/* A runner may have a program around it, and helpers that its plug-in started when it was
 * loaded. */
bool shoal_stay_has_leftovers(struct shoal_stay *host, size_t left) {
    size_t n = shoal_stay_count_company(host, left);
    if (n < host->company)
        host->company = n;
    return n > host->company;
}

bool shoal_stay_rests(const struct shoal_runner *runner) {
    const struct shoal_stay *host = shoal_stay_of(runner);
    return host->pid != 0 && host->greeted && host->hands.n == 0 &&
           shoal_now_us() - host->reported_us >= REST_MS * INT64_C(1000);
}

/* The process goes with them: it may count on what it has started, as on the pool that a
 * task made for those behind it, and a task that comes later would wait for the dead. */
void shoal_stay_tidy(struct shoal_runner *runner, size_t left) {
    struct shoal_stay *host = shoal_stay_of(runner);
    if (!shoal_stay_rests(runner) || !shoal_stay_has_leftovers(host, left))
        return;
    shoal_debug("ended a runner without tasks that has started others: pid=%d slot=%d",
                (int)host->pid, host->settings.slot);
    shoal_stay_end(host);
}

bool shoal_stay_watch_socket(struct shoal_stay *host, int fd) {
    struct event_base *base = host->settings.base;
    host->socket = fd;
    host->readable = event_new(base, fd, EV_READ | EV_PERSIST, shoal_stay_readable, host);
    host->writable = event_new(base, fd, EV_WRITE, shoal_stay_writable, host);
    return host->readable != NULL && host->writable != NULL &&
           event_add(host->readable, NULL) == 0;
}

static enum shoal_status open_socket(struct shoal_stay *host, int *ret_theirs,
                                     struct shoal_error *err) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a socket: %s",
                               strerror(errno));
    *ret_theirs = ends[1];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    if (!shoal_stay_watch_socket(host, ends[0]))
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a runner");
    return SHOAL_OK;
}

static enum shoal_status make_environment(struct shoal_stay *host,
                                          const struct shoal_spec *spec,
                                          char ***ret_environment,
                                          struct shoal_error *err) {
    const struct shoal_surroundings surroundings = {
        .slot = host->settings.slot,
        .threads = host->settings.threads,
        .directory = host->folder,
        .checkpoint = spec->checkpoint ? host->settings.checkpoints->folder : NULL,
        .passed = host->passed,
        .user = host->settings.user == NULL ? NULL : host->settings.user->name,
        .home = host->settings.user == NULL ? NULL : host->settings.user->home,
    };
    return shoal_environment_make(spec, NULL, &surroundings, ret_environment, err);
}

enum shoal_status shoal_stay_launch(struct shoal_stay *host,
                                    const struct shoal_spec *spec, int checkpoints,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char **environment = NULL;
    SHOAL_CLEANUP(shoal_cleanup_fd) int printed = -1;
    SHOAL_CLEANUP(shoal_cleanup_fd) int theirs = -1;
    enum shoal_status status = make_environment(host, spec, &environment, err);
    if (status == SHOAL_OK)
        status = shoal_runner_make_room(&host->settings, host->folder, err);
    if (status == SHOAL_OK)
        status = shoal_capture_open(&host->printed, SHOAL_STDERR_MAX, &printed, err);
    if (status == SHOAL_OK)
        status = open_socket(host, &theirs, err);
    if (status == SHOAL_OK) {
        struct shoal_child child = {
            .argv = spec->command,
            .environment = environment,
            .beside = host->beside,
            .directory = spec->directory,
            .fds = {host->null, printed, printed, theirs, host->page},
            .n_fds = 5,
            .of_key = host->allow,
            .set_by_job = spec->environment,
            .own = host->folder,
            .kept = checkpoints < 0 ? NULL : &checkpoints,
        };
        status = shoal_runner_confine(&host->settings, host->folder, &spec->limits,
                                      &host->group, &child, err);
        if (status == SHOAL_OK)
            status = shoal_child_start(&child, &host->pid, err);
    }
    if (status != SHOAL_OK)
        shoal_stay_close(host);
    return status;
}
