#include "worker/keeper.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/scratch.h"
#include "worker/folder.h"
#include "worker/handover.h"
#include "worker/tree.h"
#include "worker/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TREES_MS = 2000,  /* to end what a dead worker left behind */
    WORD_MS = 10000,  /* for a worker to say that the new program has taken over */
    RESTART_MS = 100, /* before a new worker, doubling to */
    RESTART_MAX_MS = 5000,
    HEALTHY_MS = 60000, /* a worker that ran so long did not die of its start */
};

/* A worker's life. */
struct life {
    pid_t worker;
    int end;         /* of the pipe, which tells the worker that its keeper is there */
    bool told;       /* the worker was told to end */
    int64_t stop_ms; /* when it is told again; 0: it drains for as long as it takes */
    bool listens;    /* the worker has begun to */
    bool asked;      /* for an upgrade */
    int64_t word_ms; /* the worker becomes the new program, and says so before; 0: it does
                        not */
    struct shoal_upgrade_check check;
};

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

static void watched_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    sigaddset(set, SIGUSR2);
    sigaddset(set, SHOAL_WORKER_LISTENS);
    for (size_t i = 0; i < SHOAL_COUNT(forwarded); i++)
        sigaddset(set, forwarded[i]);
}

static void become_worker(struct shoal_worker_config *config, int keeper,
                          const sigset_t *before) {
    sigset_t mask = *before;
    /* A Ctrl-C reaches the keeper, who passes it on once. And no task has the terminal,
     * by which it could type into the shell that started us. */
    setsid();
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    static const int until_it_listens[] = {SIGTERM, SIGINT, SIGUSR2};
    for (size_t i = 0; i < SHOAL_COUNT(until_it_listens); i++)
        sigaddset(&mask, until_it_listens[i]);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    config->keeper = keeper;
    int status = shoal_worker_run(config);
    exit(status);
}

/* ---- an upgrade */

/* What the keeper itself hands over. */
static void carry(struct shoal_worker_config *config, struct life *life,
                  struct shoal_handover *handover) {
    SHOAL_CARRY(handover, life->worker, 1, INT_MAX);
    shoal_carry_fd(handover, &life->end);
    shoal_carry_flag(handover, &life->told);
    SHOAL_CARRY(handover, life->stop_ms, 0, INT64_MAX);
    shoal_carry_text(handover, config->session, sizeof(config->session));
    shoal_carry_text(handover, config->dead, sizeof(config->dead));
}

/* The worker first, and the keeper when that has said that it goes on: until then it can
 * start one of its own program again, whatever the new one does. */
static void upgrade_worker(struct life *life) {
    life->word_ms = shoal_now_ms() + WORD_MS;
    kill(life->worker, SHOAL_WORKER_UPGRADES);
}

/* Signals stay blocked and wait for the new program, as does a wish for another upgrade.
 */
static void follow(struct shoal_worker_config *config, struct life *life) {
    struct shoal_handover handover;
    struct shoal_error err = {.status = SHOAL_OK};
    life->word_ms = 0;
    if (life->asked)
        raise(SIGUSR2);
    life->asked = false;
    enum shoal_status status = shoal_handover_begin(&handover, &err);
    carry(config, life, &handover);
    if (status == SHOAL_OK)
        status = shoal_handover_exec(&handover, SHOAL_KEEPER_ROLE, config->program,
                                     config->argv, &err);
    shoal_err("the keeper is not upgraded and goes on: %s", err.text);
    shoal_handover_finish(&handover);
}

static void refuse(const struct shoal_error *err) {
    shoal_err("not upgraded, all goes on as before: %s", err->text);
}

/* A second wish during a check is for another check: the file may have changed. */
static void begin_check(const struct shoal_worker_config *config, struct life *life) {
    struct shoal_error err = {.status = SHOAL_OK};
    if (life->check.pid != 0)
        return;
    life->asked = false;
    if (config->program == NULL)
        shoal_error_set(&err, SHOAL_REFUSED,
                        "it is not known where this program was started from");
    else if (shoal_upgrade_begin(&life->check, config->program, config->argv, &err) ==
             SHOAL_OK)
        return;
    refuse(&err);
}

static void end_check(struct life *life, int status) {
    struct shoal_error err = {.status = SHOAL_OK};
    if (shoal_upgrade_end(&life->check, status, &err) != SHOAL_OK)
        refuse(&err);
    else if (!life->asked)
        upgrade_worker(life);
}

/* ---- waiting */

/* When waiting for signals ends at the latest; INT64_MAX: never. */
static int64_t patience(const struct life *life) {
    int64_t check = life->check.pid == 0 ? INT64_MAX : life->check.until;
    int64_t stop = life->stop_ms == 0 ? INT64_MAX : life->stop_ms;
    int64_t word = life->word_ms == 0 ? INT64_MAX : life->word_ms;
    int64_t first = check < stop ? check : stop;
    return first < word ? first : word;
}

/* What has lasted too long: a check, draining, or an upgrade. */
static void lose_patience(struct life *life, int64_t now_ms) {
    if (life->check.pid != 0 && life->check.until <= now_ms) {
        kill(-life->check.pid, SIGKILL);
        life->check.until = INT64_MAX;
    }
    if (life->stop_ms != 0 && life->stop_ms <= now_ms) {
        life->stop_ms = 0;
        kill(life->worker, SIGTERM);
    }
    if (life->word_ms != 0 && life->word_ms <= now_ms) {
        life->word_ms = 0;
        shoal_err("the worker has not said within %d s that the new program goes on; the "
                  "keeper stays the one that it is",
                  WORD_MS / 1000);
    }
}

/* The next signal; 0: something has lasted too long. */
static int next_signal(struct life *life, const sigset_t *signals) {
    int64_t until = patience(life);
    if (until == INT64_MAX)
        return sigwaitinfo(signals, NULL);
    int64_t left = until - shoal_now_ms();
    left = left < 0 ? 0 : left;
    const struct timespec pause = {.tv_sec = left / 1000,
                                   .tv_nsec = left % 1000 * 1000000};
    int number = sigtimedwait(signals, NULL, &pause);
    if (number > 0 || errno != EAGAIN)
        return number;
    lose_patience(life, shoal_now_ms());
    return 0;
}

/* The first signal drains; the second follows by itself when that lasts too long. */
static void tell_to_end(const struct shoal_worker_config *config, struct life *life,
                        int number) {
    bool first = !life->told;
    life->told = true;
    life->stop_ms = first && config->drain_ms > 0 ? shoal_now_ms() + config->drain_ms : 0;
    kill(life->worker, number);
}

static void hear_word(struct shoal_worker_config *config, struct life *life) {
    life->listens = true;
    if (life->word_ms != 0)
        follow(config, life);
}

static void pass_on(struct shoal_worker_config *config, struct life *life, int number) {
    if (number == SIGUSR2)
        life->asked = true;
    else if (number == SHOAL_WORKER_LISTENS)
        hear_word(config, life);
    else if (number == SIGTERM || number == SIGINT)
        tell_to_end(config, life, number);
    else if (number > 0 && number != SIGCHLD)
        kill(life->worker, number);
}

/* Waits for the worker to end and passes signals on meanwhile. Returns its wait
 * status. */
static int wait_for(struct shoal_worker_config *config, struct life *life,
                    const sigset_t *signals) {
    for (;;) {
        int status = 0;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
            if (pid == life->worker)
                return status;
            if (pid == life->check.pid)
                end_check(life, status);
        }
        if (life->asked && life->listens && life->word_ms == 0)
            begin_check(config, life);
        pass_on(config, life, next_signal(life, signals));
    }
}

/* Sleeps, but ends at once when told to. Returns whether it was. */
static bool rest(struct life *life, int64_t ms, const sigset_t *signals) {
    int64_t until = shoal_now_ms() + ms;
    for (int64_t left = ms; left > 0; left = until - shoal_now_ms()) {
        const struct timespec pause = {.tv_sec = left / 1000,
                                       .tv_nsec = left % 1000 * 1000000};
        int number = sigtimedwait(signals, NULL, &pause);
        if (number == SIGTERM || number == SIGINT)
            return true;
        life->asked = life->asked || number == SIGUSR2;
    }
    return false;
}

/* ---- a life */

/* Whether what was to become a new program has ended without having been one: by itself
 * it may have ended only in good order, before it was told. */
static bool is_unfit(const struct life *life, int status) {
    sigset_t waiting;
    sigpending(&waiting);
    return life->word_ms != 0 && status != 0 &&
           !sigismember(&waiting, SHOAL_WORKER_LISTENS);
}

static void say_killed(const struct shoal_worker_config *config, const struct life *life,
                       int status) {
    shoal_err("the worker %s, its tasks' processes are ended%s: pid=%d %s=%d session=%s",
              is_unfit(life, status) ? "ended as the new program, before that took over"
                                     : "was killed",
              life->told               ? ""
              : is_unfit(life, status) ? " and one of this version starts"
                                       : " and a new one starts",
              (int)life->worker, WIFSIGNALED(status) ? "signal" : "exit",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
              config->session);
}

/* What a worker left that had no time to do so itself. */
static void clean_up_after(struct shoal_worker_config *config) {
    char folder[4096];
    bool ended = shoal_cgroups_end(&config->cgroups, config->session);
    if (!shoal_tree_kill_all(TREES_MS) || !ended)
        shoal_err("some processes of its tasks cannot be ended");
    shoal_folder_path(config->directory, config->session, folder, sizeof(folder));
    shoal_scratch_remove_tree(folder);
}

static void end_tasks_of(const char *folder) {
    shoal_warn("a worker was killed with its keeper, what it left is ended: folder=%s",
               folder);
    if (!shoal_tree_kill_of(folder, TREES_MS))
        shoal_err("some processes of its tasks cannot be ended");
}

/* What workers left that were killed together with their keepers. */
static void clean_up_after_dead(const struct shoal_worker_config *config) {
    size_t n = shoal_cgroups_end_dead(&config->cgroups);
    if (n > 0)
        shoal_warn("ended the control groups of dead workers: sessions=%zu", n);
    shoal_folder_clear_dead(config->directory, end_tasks_of);
}

/* Starts a worker. False: it cannot, which was said. */
static bool give_birth(struct shoal_worker_config *config, struct life *life,
                       const sigset_t *before) {
    int ends[2];
    life->listens = false;
    shoal_id_make(config->session);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        shoal_err("cannot make a pipe: %s", strerror(errno));
        return false;
    }
    life->worker = fork();
    if (life->worker == 0) {
        close(ends[1]);
        become_worker(config, ends[0], before);
    }
    close(ends[0]);
    life->end = ends[1];
    if (life->worker > 0)
        return true;
    shoal_err("cannot start the worker: %s", strerror(errno));
    close(ends[1]);
    return false;
}

/* Whether it ended by itself: it was not killed, and not by what its program is made of
 * (127: a library of a new version is not there). */
static bool ended_by_itself(int status) {
    return WIFEXITED(status) && WEXITSTATUS(status) <= SHOAL_WORKER_ENDED_MAX;
}

/* Waits for the end of a worker's life. Returns whether another one is to follow. */
static bool live(struct shoal_worker_config *config, struct life *life,
                 const sigset_t *signals, int *exit_status) {
    int status = wait_for(config, life, signals);
    close(life->end);
    bool over = ended_by_itself(status) && !is_unfit(life, status);
    *exit_status = over ? WEXITSTATUS(status) : 1;
    if (!over)
        say_killed(config, life, status);
    if (*exit_status != 0)
        clean_up_after(config); /* libevent ends a program whose signals it cannot read */
    if (over)
        return false;
    memcpy(config->dead, config->session, sizeof(config->dead));
    return !life->told;
}

/* Before another life. An upgrade that was asked for is made then. */
static void begin_again(struct life *life) {
    bool asked = life->asked || life->check.pid != 0;
    if (life->check.said >= 0)
        close(life->check.said);
    *life = (struct life){.end = -1, .asked = asked, .check = {.said = -1}};
}

/* Goes on with the worker of the program before this one. Without knowing it, it is ended
 * with its tasks, and another begins. */
static bool take_over(struct shoal_worker_config *config, struct life *life) {
    struct shoal_handover handover;
    struct shoal_error err = {.status = SHOAL_OK};
    if (shoal_handover_open(&handover, &err) == SHOAL_OK) {
        carry(config, life, &handover);
        if (!shoal_handover_is_whole(&handover))
            shoal_error_set(&err, SHOAL_GARBAGE, "it makes no sense");
    }
    shoal_handover_finish(&handover);
    life->listens = true; /* or the keeper before would not have followed */
    if (err.status == SHOAL_OK) {
        shoal_info("the keeper is upgraded: version=%s pid=%d", SHOAL_VERSION,
                   (int)getpid());
        return true;
    }
    shoal_err("what the keeper before this one handed over cannot be read: %s; its "
              "worker and all tasks are ended and go back when its session is over",
              err.text);
    shoal_tree_kill_all(TREES_MS);
    return false;
}

/* The signals of before: a program that took over was given them blocked. */
static void block_signals(sigset_t *signals, sigset_t *before) {
    watched_signals(signals);
    sigprocmask(SIG_BLOCK, signals, before);
    for (int number = 1; number < NSIG; number++) {
        if (shoal_handover_is_given(SHOAL_KEEPER_ROLE) &&
            sigismember(signals, number) == 1)
            sigdelset(before, number);
    }
}

int shoal_keeper_run(struct shoal_worker_config *config) {
    sigset_t signals, before;
    struct life life = {.end = -1, .check = {.said = -1}};
    int exit_status = 1;
    int64_t pause = RESTART_MS;
    if (shoal_handover_is_given(SHOAL_WORKER_ROLE))
        return shoal_worker_run(config);
    block_signals(&signals, &before);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads is no reason to end */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    bool there = shoal_handover_is_given(SHOAL_KEEPER_ROLE) && take_over(config, &life);
    if (!there)
        clean_up_after_dead(config);
    for (int64_t born = shoal_now_ms();; born = shoal_now_ms()) {
        if (!there && !give_birth(config, &life, &before))
            break;
        if (!live(config, &life, &signals, &exit_status))
            break;
        begin_again(&life);
        there = false;
        pause = shoal_now_ms() - born > HEALTHY_MS ? RESTART_MS : pause;
        if (rest(&life, pause, &signals))
            break;
        pause = pause * 2 > RESTART_MAX_MS ? RESTART_MAX_MS : pause * 2;
    }
    return exit_status;
}
