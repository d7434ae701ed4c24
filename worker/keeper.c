#include "worker/keeper.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/scratch.h"
#include "worker/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TREES_MS = 2000,  /* to end what a dead worker left behind */
    RESTART_MS = 100, /* before a new worker, doubling to */
    RESTART_MAX_MS = 5000,
    HEALTHY_MS = 60000, /* a worker that ran so long did not die of its start */
};

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

static void watched_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    for (size_t i = 0; i < sizeof(forwarded) / sizeof(*forwarded); i++)
        sigaddset(set, forwarded[i]);
}

static void become_worker(struct shoal_worker_config *config, int keeper,
                          const sigset_t *before) {
    setpgid(0, 0); /* a Ctrl-C reaches the keeper, who passes it on once */
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    sigprocmask(SIG_SETMASK, before, NULL);
    config->keeper = keeper;
    int status = shoal_worker_run(config);
    exit(status);
}

/* Waits for the worker to end and passes signals on meanwhile. Returns
 * its wait status. */
static int wait_for(pid_t worker, const sigset_t *signals, bool *ended_by_us) {
    for (;;) {
        siginfo_t info;
        int status = 0;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
            if (pid == worker)
                return status;
        }
        int number = sigwaitinfo(signals, &info);
        if (number > 0 && number != SIGCHLD) {
            *ended_by_us = *ended_by_us || number == SIGTERM || number == SIGINT;
            kill(worker, number);
        }
    }
}

/* Sleeps, but ends at once when told to. Returns whether it was. */
static bool rest(int64_t ms, const sigset_t *signals) {
    int64_t until = shoal_now_ms() + ms;
    for (int64_t left = ms; left > 0; left = until - shoal_now_ms()) {
        const struct timespec pause = {.tv_sec = left / 1000,
                                       .tv_nsec = left % 1000 * 1000000};
        int number = sigtimedwait(signals, NULL, &pause);
        if (number == SIGTERM || number == SIGINT)
            return true;
    }
    return false;
}

static void clean_up_after(const struct shoal_worker_config *config, pid_t worker,
                           int status) {
    char folder[4096];
    shoal_err(
        "the worker was killed, its tasks' processes are ended and a new one starts: "
        "pid=%d signal=%d session=%s",
        (int)worker, WTERMSIG(status), config->session);
    if (!shoal_tree_kill_all(TREES_MS))
        shoal_err("some processes of its tasks cannot be ended");
    shoal_worker_folder(config, config->session, folder, sizeof(folder));
    shoal_scratch_remove_tree(folder);
}

/* One life of a worker. Returns whether another one is to follow. */
static bool live(struct shoal_worker_config *config, const sigset_t *signals,
                 const sigset_t *before, int *exit_status) {
    int ends[2];
    bool ended_by_us = false;
    shoal_id_make(config->session);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        shoal_err("cannot make a pipe: %s", strerror(errno));
        *exit_status = 1;
        return false;
    }
    pid_t worker = fork();
    if (worker == 0) {
        close(ends[1]);
        become_worker(config, ends[0], before);
    }
    close(ends[0]);
    int status = 0;
    if (worker < 0)
        shoal_err("cannot start the worker: %s", strerror(errno));
    else
        status = wait_for(worker, signals, &ended_by_us);
    close(ends[1]);
    *exit_status = worker < 0 ? 1 : WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (worker < 0 || WIFEXITED(status))
        return false;
    clean_up_after(config, worker, status);
    memcpy(config->dead, config->session, sizeof(config->dead));
    return !ended_by_us;
}

int shoal_keeper_run(struct shoal_worker_config *config) {
    sigset_t signals, before;
    int exit_status = 0;
    int64_t pause = RESTART_MS;
    watched_signals(&signals);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads is no reason to end */
    sigprocmask(SIG_BLOCK, &signals, &before);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (int64_t born = shoal_now_ms(); live(config, &signals, &before, &exit_status);
         born = shoal_now_ms()) {
        pause = shoal_now_ms() - born > HEALTHY_MS ? RESTART_MS : pause;
        if (rest(pause, &signals))
            break;
        pause = pause * 2 > RESTART_MAX_MS ? RESTART_MAX_MS : pause * 2;
    }
    return exit_status;
}
