/* Starts a program for each task. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/environment.h"
#include "common/id.h"
#include "common/scratch.h"
#include "worker/capture.h"
#include "worker/child.h"
#include "worker/handover.h"
#include "worker/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum stop { STOP_NONE, STOP_ASKED, STOP_TIMEOUT };

struct exec {
    struct shoal_runner runner; /* first: the interface's part */
    struct shoal_runner_settings settings;
    struct event *timer; /* the timeout, then the end of the grace */
    struct shoal_capture output;
    struct shoal_capture errors;
    char folder[PATH_MAX - 16]; /* SHOAL_TMP */
    char result_path[PATH_MAX];
    int null;  /* /dev/null */
    pid_t pid; /* 0: nothing runs */
    enum stop stop;
    bool terminated; /* SIGTERM was sent */
    bool may_continue;
    const struct shoal_allow *allow; /* while it is started */
    struct shoal_warning warning;    /* that is still to come */
    int64_t started_us;
    int64_t index;
    int64_t attempt;
    int64_t grace_ms;
    struct shoal_limits limits;
    struct shoal_cgroup *group;
    char sentence[SHOAL_STDERR_MAX];
    char **passed; /* what tasks get of the worker's own environment */
};

static struct exec *of(const struct shoal_runner *runner) {
    return (struct exec *)runner;
}

/* ---- starting */

static void set_timer(struct exec *exec, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(exec->timer, &tv);
}

/* Both pipes, of which the child gets the writing ends. */
static enum shoal_status open_pipes(struct exec *exec, size_t result_max,
                                    struct shoal_child *child, struct shoal_error *err) {
    enum shoal_status status =
        shoal_capture_open(&exec->output, result_max, &child->fds[1], err);
    if (status == SHOAL_OK)
        status = shoal_capture_open(&exec->errors, SHOAL_STDERR_MAX, &child->fds[2], err);
    return status;
}

static enum shoal_status make_environment(struct exec *exec,
                                          const struct shoal_spec *spec,
                                          const struct shoal_task *task,
                                          int *ret_checkpoint, char ***ret_environment,
                                          struct shoal_error *err) {
    char checkpoint[PATH_MAX];
    enum shoal_status status = SHOAL_OK;
    if (spec->checkpoint)
        status = shoal_checkpoint_make(exec->settings.checkpoints, task->job, task->index,
                                       checkpoint, ret_checkpoint, err);
    if (status != SHOAL_OK)
        return status;
    const struct shoal_surroundings surroundings = {
        .attempt = exec->attempt,
        .slot = exec->settings.slot,
        .threads = exec->settings.threads,
        .directory = exec->folder,
        .result_path = exec->result_path,
        .checkpoint = spec->checkpoint ? checkpoint : NULL,
        .passed = exec->passed,
        .user = exec->settings.user == NULL ? NULL : exec->settings.user->name,
        .home = exec->settings.user == NULL ? NULL : exec->settings.user->home,
    };
    return shoal_environment_make(spec, task, &surroundings, ret_environment, err);
}

static void close_writer(int fd) {
    if (fd >= 0)
        close(fd);
}

/* Starts the child and waits until it is a program, or was none. */
static enum shoal_status run_child(struct exec *exec, size_t result_max,
                                   struct shoal_child *child, struct shoal_error *err) {
    enum shoal_status status = open_pipes(exec, result_max, child, err);
    if (status == SHOAL_OK)
        status = shoal_child_start(child, &exec->pid, err);
    close_writer(child->fds[1]);
    close_writer(child->fds[2]);
    if (status != SHOAL_OK) {
        shoal_capture_close(&exec->output);
        shoal_capture_close(&exec->errors);
    }
    return status;
}

static enum shoal_status start_task(struct exec *exec, const struct shoal_spec *spec,
                                    const struct shoal_task *task,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char **argv = NULL;
    SHOAL_CLEANUP(shoal_cleanup_free) char **environment = NULL;
    SHOAL_CLEANUP(shoal_cleanup_fd) int checkpoint = -1;
    enum shoal_status status = shoal_spec_expand(spec, task, &argv, err);
    if (status == SHOAL_OK)
        status = make_environment(exec, spec, task, &checkpoint, &environment, err);
    if (status == SHOAL_OK && !shoal_scratch_is_untouched(exec->folder))
        status = shoal_runner_make_room(&exec->settings, exec->folder, err);
    if (status != SHOAL_OK)
        return status;
    struct shoal_child child = {.argv = argv,
                                .environment = environment,
                                .directory = spec->directory,
                                .fds = {exec->null, -1, -1},
                                .n_fds = 3,
                                .of_key = exec->allow,
                                .set_by_job = spec->environment,
                                .own = exec->folder,
                                .kept = spec->checkpoint ? &checkpoint : NULL};
    exec->limits = spec->limits;
    status = shoal_runner_confine(&exec->settings, exec->folder, &spec->limits,
                                  &exec->group, &child, err);
    exec->started_us = shoal_now_us();
    if (status == SHOAL_OK)
        status = run_child(exec, (size_t)spec->result_max, &child, err);
    if (status == SHOAL_OK && spec->timeout_ms > 0)
        set_timer(exec, spec->timeout_ms - spec->warning.before_ms);
    return status;
}

/* The first task of the batch, and no other. */
static enum shoal_status start(struct shoal_runner *runner,
                               const struct shoal_batch *batch, int64_t *ret_taken,
                               struct shoal_error *err) {
    struct exec *exec = of(runner);
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {.n = 0};
    enum shoal_status status = shoal_batch_parameters(batch, &parameters, err);
    if (status != SHOAL_OK)
        return status;
    exec->allow = batch->allow;
    exec->stop = STOP_NONE;
    exec->terminated = false;
    exec->may_continue = batch->spec->checkpoint;
    exec->warning = batch->spec->warning;
    exec->index = batch->lo;
    exec->attempt = batch->attempt;
    exec->grace_ms = batch->spec->grace_ms;
    const struct shoal_task task = {
        .job = batch->job,
        .index = batch->lo,
        .seed = shoal_task_seed(batch->seed, (uint64_t)batch->lo),
        .parameters = &parameters,
    };
    status = start_task(exec, batch->spec, &task, err);
    if (status == SHOAL_OK)
        *ret_taken = 1;
    return status;
}

/* ---- stopping */

/* SIGTERM to the group, and its grace begins. */
static void terminate(struct exec *exec, enum stop why) {
    if (exec->pid == 0 || exec->terminated)
        return;
    exec->stop = exec->stop == STOP_NONE ? why : exec->stop;
    exec->terminated = true;
    shoal_child_signal(exec->pid, SIGTERM);
    shoal_child_signal(exec->pid, SIGCONT); /* one that stands still cannot hear */
    set_timer(exec, exec->grace_ms);
}

static void stop(struct shoal_runner *runner) {
    terminate(of(runner), STOP_ASKED);
}

/* What has left them becomes the worker's child when this is dead, and is ended there. */
static void kill_groups(struct exec *exec) {
    kill(-exec->pid, SIGKILL);
    shoal_cgroup_kill(exec->group); /* if something is left, the next start says so */
}

static void kill_now(struct shoal_runner *runner) {
    struct exec *exec = of(runner);
    if (exec->pid == 0)
        return;
    exec->stop = exec->stop == STOP_NONE ? STOP_ASKED : exec->stop;
    exec->terminated = true;
    shoal_child_signal(exec->pid, SIGKILL);
    kill_groups(exec);
}

/* Only the program hears it: its children may not know what it means, and would die. */
static void warn(struct exec *exec) {
    kill(exec->pid, exec->warning.signal);
    exec->warning.signal = 0;
    set_timer(exec, exec->warning.before_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *owner) {
    struct exec *exec = owner;
    (void)fd;
    (void)what;
    if (exec->terminated)
        kill_now(&exec->runner);
    else if (exec->warning.signal != 0)
        warn(exec);
    else
        terminate(exec, STOP_TIMEOUT);
}

/* ---- the result */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name_char(char c, bool first) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

/* Whether text that begins so is JSON or lines of key=value, which cannot be cut. */
static bool is_structured(const char *head, size_t len) {
    size_t at = 0;
    while (at < len && is_blank(head[at]))
        at++;
    if (at == len || head[at] == '{' || head[at] == '[')
        return at < len;
    size_t begin = at;
    while (at < len && is_name_char(head[at], at == begin))
        at++;
    return at > begin && at < len && head[at] == '=';
}

/* What is left when the middle of a character was cut. */
static size_t skip_broken_character(const char *text, size_t len) {
    size_t at = 0;
    while (at < len && at < 3 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at++;
    return at;
}

/* $SHOAL_RESULT, where the task wrote one, in place of what it printed. */
static void take_result_file(struct exec *exec) {
    struct stat status;
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(exec->result_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const struct shoal_user *user = exec->settings.user;
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        (user == NULL || status.st_uid == user->uid) && status.st_size > 0)
        shoal_capture_read_file(&exec->output, fd, (size_t)status.st_size);
}

static void say_too_large(struct exec *exec, struct shoal_ending *ending) {
    snprintf(exec->sentence, sizeof(exec->sentence),
             "its result has %zu bytes, %zu are the most; write large data to a file and "
             "report the file's name",
             exec->output.total, exec->output.limit);
    ending->outcome.reason = SHOAL_REASON_TOO_LARGE;
    ending->stderr_end = exec->sentence;
    ending->stderr_len = strlen(exec->sentence);
}

/* Writes a mark in front of a text whose beginning was dropped. Returns
 * the new length. */
static size_t mark_cut(char **text, size_t len, size_t total) {
    char mark[SHOAL_CAPTURE_SPARE];
    size_t broken = skip_broken_character(*text, len);
    size_t mark_len =
        (size_t)snprintf(mark, sizeof(mark), "[…%zu bytes cut…]", total - (len - broken));
    *text += broken;
    *text -= mark_len;
    memcpy(*text, mark, mark_len);
    return mark_len + len - broken;
}

/* Nothing is allocated here: a result that is there cannot be lost for want of memory. */
static void take_result(struct exec *exec, struct shoal_ending *ending) {
    const struct shoal_capture *output = &exec->output;
    if (!shoal_scratch_is_untouched(exec->folder))
        take_result_file(exec);
    bool cut = output->total > output->limit;
    size_t head_len =
        output->total < SHOAL_CAPTURE_HEAD ? output->total : SHOAL_CAPTURE_HEAD;
    size_t len = 0;
    char *text = shoal_capture_end(&exec->output, &len);
    if (cut && is_structured(output->head, head_len)) {
        len = 0; /* a part of it would be taken for the whole */
        if (ending->outcome.reason == SHOAL_REASON_OK)
            say_too_large(exec, ending);
    } else if (cut)
        len = mark_cut(&text, len, output->total);
    while (len > 0 && is_blank(text[len - 1]))
        len--;
    ending->outcome.result = text;
    ending->outcome.result_len = len;
}

/* ---- ending */

static bool asks_to_go_on(const struct exec *exec, int status) {
    return exec->may_continue && WIFEXITED(status) &&
           WEXITSTATUS(status) == SHOAL_CONTINUE_CODE;
}

static enum shoal_reason reason_of(const struct exec *exec, int status, bool oom,
                                   int64_t *ret_code) {
    *ret_code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    if (exec->stop == STOP_ASKED)
        return SHOAL_REASON_STOPPED;
    if (asks_to_go_on(exec, status))
        return SHOAL_REASON_CONTINUE;
    if (exec->stop == STOP_TIMEOUT)
        return SHOAL_REASON_TIMEOUT;
    if (oom && status != 0)
        return SHOAL_REASON_OOM;
    if (WIFSIGNALED(status))
        return SHOAL_REASON_SIGNAL;
    return *ret_code == 0 ? SHOAL_REASON_OK : SHOAL_REASON_EXIT;
}

static int64_t microseconds(struct timeval time) {
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

/* Peak memory: the kernel lets a child begin with the peak of who started it, so a small
 * program shows the worker's own few MiB. */
static void end(struct exec *exec, int status, const struct rusage *usage) {
    struct shoal_ending ending = {
        .all = true, .index = exec->index, .outcome = {.attempt = exec->attempt}};
    struct shoal_cgroup_usage memory;
    kill_groups(exec);
    shoal_cgroup_usage(exec->group, &memory);
    exec->pid = 0;
    evtimer_del(exec->timer);
    shoal_capture_close(&exec->output);
    shoal_capture_close(&exec->errors);
    ending.outcome.wall_us = shoal_now_us() - exec->started_us;
    ending.outcome.cpu_us = microseconds(usage->ru_utime) + microseconds(usage->ru_stime);
    ending.outcome.rss_kb = memory.peak > 0 ? memory.peak / 1024 : usage->ru_maxrss;
    ending.outcome.reason =
        reason_of(exec, status, memory.oom_kills > 0, &ending.outcome.code);
    ending.stderr_end = shoal_capture_end(&exec->errors, &ending.stderr_len);
    if (ending.outcome.reason == SHOAL_REASON_OOM)
        shoal_runner_say_oom(&exec->limits, &memory, &ending, exec->sentence,
                             sizeof(exec->sentence));
    take_result(exec, &ending);
    if (!shoal_scratch_is_untouched(exec->folder))
        shoal_scratch_make_empty(exec->folder); /* the next start tells if it could not */
    exec->settings.ended(exec->settings.owner, &ending);
}

static bool reap(struct shoal_runner *runner, pid_t pid, int status,
                 const struct rusage *usage) {
    struct exec *exec = of(runner);
    if (pid != exec->pid || pid == 0)
        return false;
    end(exec, status, usage);
    return true;
}

static pid_t pid_of(const struct shoal_runner *runner) {
    return of(runner)->pid;
}

static const char *folder_of(const struct shoal_runner *runner) {
    return of(runner)->folder;
}

/* There is no other in its hands. */
static int64_t cut(struct shoal_runner *runner, size_t *ret_batch) {
    *ret_batch = 0;
    return of(runner)->index + 1;
}

static int64_t index_of(struct shoal_runner *runner, size_t *ret_batch) {
    *ret_batch = 0;
    return of(runner)->index;
}

/* ---- an upgrade */

/* A new field of struct exec that a running task needs also goes here. */
static void carry(struct shoal_runner *runner, struct shoal_handover *handover) {
    struct exec *exec = of(runner);
    pid_t pid = exec->pid;
    SHOAL_CARRY(handover, pid, 0, INT_MAX);
    if (pid == 0)
        return;
    SHOAL_CARRY(handover, exec->stop, STOP_NONE, STOP_TIMEOUT);
    shoal_carry_flag(handover, &exec->terminated);
    SHOAL_CARRY(handover, exec->started_us, 0, INT64_MAX);
    SHOAL_CARRY(handover, exec->index, 0, INT64_MAX);
    SHOAL_CARRY(handover, exec->attempt, 1, INT64_MAX);
    SHOAL_CARRY(handover, exec->grace_ms, 0, INT64_MAX / 1000);
    shoal_carry_flag(handover, &exec->may_continue);
    SHOAL_CARRY(handover, exec->warning.signal, 0, NSIG);
    SHOAL_CARRY(handover, exec->warning.before_ms, 0, INT64_MAX / 1000);
    shoal_runner_carry(&exec->settings, exec->folder, &exec->limits, &exec->group,
                       handover);
    shoal_carry_timer(handover, exec->timer);
    shoal_capture_carry(&exec->output, handover);
    shoal_capture_carry(&exec->errors, handover);
    if (!handover->failed)
        exec->pid = pid;
}

/* ---- life */

static void destroy(struct shoal_runner *runner) {
    struct exec *exec = of(runner);
    if (exec->pid != 0) {
        shoal_child_signal(exec->pid, SIGKILL);
        kill_groups(exec);
        shoal_child_wait(exec->pid);
    }
    shoal_cgroup_destroy(exec->group);
    if (exec->timer != NULL)
        event_free(exec->timer);
    shoal_capture_finish(&exec->output);
    shoal_capture_finish(&exec->errors);
    shoal_scratch_remove_tree(exec->folder);
    if (exec->null >= 0)
        close(exec->null);
    free(exec->passed);
    free(exec);
}

static const struct shoal_runner_kind exec_kind = {
    .start = start,
    .cut = cut,
    .index = index_of,
    .stop = stop,
    .kill = kill_now,
    .reap = reap,
    .pid = pid_of,
    .folder = folder_of,
    .carry = carry,
    .destroy = destroy,
};

static enum shoal_status prepare(struct exec *exec, struct shoal_error *err) {
    int len = snprintf(exec->folder, sizeof(exec->folder), "%s/%d",
                       exec->settings.directory, exec->settings.slot);
    if (len < 0 || (size_t)len >= sizeof(exec->folder)) {
        exec->folder[0] = '\0'; /* what was cut names something else */
        return shoal_error_set(err, SHOAL_INVALID,
                               "the directory '%s' has too long a name",
                               exec->settings.directory);
    }
    snprintf(exec->result_path, sizeof(exec->result_path), "%s/.result", exec->folder);
    exec->passed = shoal_environment_passed(exec->settings.pass_env);
    /* A worker that was started without 0, 1 or 2 gets them here, and keeps them: no pipe
     * of ours may lie where the child puts its own. */
    do {
        exec->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } while (exec->null >= 0 && exec->null <= 2);
    exec->timer = evtimer_new(exec->settings.base, on_timer, exec);
    if (exec->null < 0 || exec->timer == NULL || exec->passed == NULL)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot prepare a slot: %s",
                               strerror(errno));
    enum shoal_status status =
        shoal_capture_init(&exec->output, exec->settings.base, err);
    if (status == SHOAL_OK)
        status = shoal_capture_init(&exec->errors, exec->settings.base, err);
    return status;
}

enum shoal_status shoal_runner_exec_create(const struct shoal_runner_settings *settings,
                                           struct shoal_runner **ret_runner,
                                           struct shoal_error *err) {
    struct exec *exec = calloc(1, sizeof(*exec));
    if (exec == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a runner");
    exec->runner.kind = &exec_kind;
    exec->settings = *settings;
    exec->null = exec->output.fd = exec->errors.fd = -1;
    enum shoal_status status = prepare(exec, err);
    if (status != SHOAL_OK) {
        destroy(&exec->runner);
        return status;
    }
    *ret_runner = &exec->runner;
    return SHOAL_OK;
}
