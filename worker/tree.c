#include "worker/tree.h"

#include "common/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN_MAX = 65536, ENVIRONMENT_MAX = 8 << 20, DEPTH_MAX = 32 };

/* Reads a file of /proc into malloc'ed memory with a NUL behind it; NULL when it cannot
 * be. */
static char *read_proc(const char *path, size_t most, size_t *ret_len) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t room = 4096, len = 0;
    char *text = malloc(room);
    while (text != NULL) {
        ssize_t got = read(fd, text + len, room - len - 1);
        if (got <= 0)
            break;
        len += (size_t)got;
        if (len + 1 < room)
            continue;
        char *grown = room < most ? realloc(text, room * 2) : NULL;
        if (grown == NULL)
            break;
        text = grown;
        room *= 2;
    }
    close(fd);
    if (text != NULL)
        text[len] = '\0';
    *ret_len = len;
    return text;
}

struct process {
    char state;
    pid_t parent;
    uint64_t start; /* clock ticks since boot */
};

/* Fields 3, 4 and 22 of /proc/<pid>/stat. */
static bool read_stat(pid_t pid, struct process *ret_process) {
    char path[64];
    size_t len = 0;
    unsigned long long start = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    char *text = read_proc(path, 65536, &len);
    char *at = text == NULL ? NULL : strrchr(text, ')'); /* names may hold anything */
    bool good = at != NULL &&
                sscanf(at + 1,
                       " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                       "%*s %*s %*s %llu",
                       &ret_process->state, &ret_process->parent, &start) == 3;
    ret_process->start = start;
    free(text);
    return good;
}

/* The same as below for a kernel without the list of children: looks at all there are. */
static void each_child_of_all(pid_t parent, void (*visit)(void *owner, pid_t pid),
                              void *owner) {
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        struct process process;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && read_stat(pid, &process) && process.parent == parent)
            visit(owner, pid);
    }
    if (folder != NULL)
        closedir(folder);
}

/* Calls `visit` with every child that a thread has. False: there is no list of them. */
static bool each_child_of_thread(pid_t pid, pid_t thread,
                                 void (*visit)(void *owner, pid_t pid), void *owner) {
    char path[64];
    size_t len = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)thread);
    char *text = read_proc(path, CHILDREN_MAX * 8, &len);
    for (char *at = text, *end = NULL; at != NULL && *at != '\0'; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at)
            break;
        visit(owner, (pid_t)child);
    }
    free(text);
    return text != NULL;
}

/* Calls `visit` with every child of this process, of its only thread. */
static void each_child(void (*visit)(void *owner, pid_t pid), void *owner) {
    if (!each_child_of_thread(getpid(), getpid(), visit, owner))
        each_child_of_all(getpid(), visit, owner);
}

/* The same of another process, which may have threads. */
static void each_child_of(pid_t parent, void (*visit)(void *owner, pid_t pid),
                          void *owner) {
    char path[64];
    bool listed = true;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)parent);
    DIR *threads = opendir(path);
    const struct dirent *entry;
    while (threads != NULL && (entry = readdir(threads)) != NULL) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread == parent)
            listed = each_child_of_thread(parent, thread, visit, owner);
        else if (thread > 0)
            each_child_of_thread(parent, thread, visit, owner);
    }
    if (threads != NULL)
        closedir(threads);
    if (!listed)
        each_child_of_all(parent, visit, owner);
}

struct count {
    size_t n;
    int depth;
};

static void count_process(void *owner, pid_t pid) {
    struct count *count = owner;
    struct process process;
    if (!read_stat(pid, &process) || process.state == 'Z')
        return;
    count->n++;
    if (count->depth >= DEPTH_MAX)
        return;
    count->depth++;
    each_child_of(pid, count_process, count);
    count->depth--;
}

size_t shoal_tree_count_below(pid_t pid) {
    struct count count = {.n = 0};
    each_child_of(pid, count_process, &count);
    return count.n;
}

/* Whether the environment says "NAME=value" exactly. */
static bool says(const char *environment, size_t len, const char *entry) {
    for (size_t at = 0; at < len; at += strlen(environment + at) + 1) {
        if (strcmp(environment + at, entry) == 0)
            return true;
    }
    return false;
}

static bool belongs(const char *environment, size_t len,
                    const struct shoal_tree_task *task) {
    char job[64], index[64], slot[64];
    snprintf(job, sizeof(job), "SHOAL_JOB=%s", task->job);
    snprintf(index, sizeof(index), "SHOAL_TASK=%" PRId64, task->index);
    snprintf(slot, sizeof(slot), "SHOAL_SLOT=%d", task->slot);
    return says(environment, len, job) && says(environment, len, index) &&
           says(environment, len, slot);
}

static bool names_a_task(const char *environment, size_t len) {
    for (size_t at = 0; at < len; at += strlen(environment + at) + 1) {
        if (strncmp(environment + at, "SHOAL_TASK=", 11) == 0)
            return true;
    }
    return false;
}

static bool is_in(const char *environment, size_t len, const char *folder) {
    char entry[PATH_MAX + 16];
    snprintf(entry, sizeof(entry), "SHOAL_TMP=%s", folder);
    return says(environment, len, entry);
}

/* Whether a process that began at `start` is not older than the runner's; one that is, in
 * the same folder, is of a predecessor. */
static bool is_old_enough(const struct shoal_tree_task *task, uint64_t start) {
    struct process process;
    return task->pid != 0 && read_stat(task->pid, &process) && process.start <= start;
}

/* Whether a running task may have started a process that began at `start`. */
static bool may_be_of_running(uint64_t start, const struct shoal_tree_task *tasks,
                              size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!tasks[i].rests && is_old_enough(&tasks[i], start))
            return true;
    }
    return false;
}

/* Whether a process that is not a runner's own is one that a runner which is there may
 * have left to us. */
static bool is_of_running(pid_t pid, uint64_t start, struct shoal_tree_task *tasks,
                          size_t n) {
    char path[64];
    size_t len = 0;
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    char *environment = read_proc(path, ENVIRONMENT_MAX, &len);
    bool of_program = environment != NULL && names_a_task(environment, len);
    bool named = of_program, ours = false;
    for (size_t i = 0; environment != NULL && i < n && !ours; i++) {
        if (of_program) {
            ours = belongs(environment, len, &tasks[i]);
        } else if (is_in(environment, len, tasks[i].folder)) {
            named = true;
            ours = is_old_enough(&tasks[i], start);
        }
        tasks[i].left += ours;
    }
    free(environment);
    return named ? ours : may_be_of_running(start, tasks, n);
}

struct sweep {
    struct shoal_tree_task *tasks;
    size_t n;
    size_t ended;
};

static void sweep_child(void *owner, pid_t pid) {
    struct sweep *sweep = owner;
    struct process process;
    for (size_t i = 0; i < sweep->n; i++) {
        if (sweep->tasks[i].pid == pid)
            return;
    }
    if (!read_stat(pid, &process) || process.state == 'Z' ||
        is_of_running(pid, process.start, sweep->tasks, sweep->n))
        return;
    if (kill(pid, SIGKILL) == 0)
        sweep->ended++;
}

size_t shoal_tree_sweep(struct shoal_tree_task *tasks, size_t n) {
    struct sweep sweep = {.tasks = tasks, .n = n};
    for (size_t i = 0; i < n; i++)
        tasks[i].left = 0;
    each_child(sweep_child, &sweep);
    return sweep.ended;
}

static void kill_child(void *owner, pid_t pid) {
    (void)owner;
    kill(pid, SIGKILL);
}

bool shoal_tree_kill_all(int64_t timeout_ms) {
    int64_t end = shoal_now_ms() + timeout_ms;
    for (;;) {
        each_child(kill_child, NULL);
        pid_t pid;
        do {
            pid = waitpid(-1, NULL, WNOHANG);
        } while (pid > 0 || (pid < 0 && errno == EINTR));
        if (pid < 0)
            return true; /* no child is left */
        if (shoal_now_ms() >= end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

/* Whether the environment says that the process has its SHOAL_TMP in the folder. */
static bool is_of(pid_t pid, const char *folder) {
    char path[64], entry[PATH_MAX + 16];
    size_t len = 0;
    int n = snprintf(entry, sizeof(entry), "SHOAL_TMP=%s/", folder);
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    char *environment = read_proc(path, ENVIRONMENT_MAX, &len);
    bool found = false;
    if (environment == NULL)
        return false;
    for (size_t at = 0; at < len && !found; at += strlen(environment + at) + 1)
        found = strncmp(environment + at, entry, (size_t)n) == 0;
    free(environment);
    return found;
}

static size_t kill_of(const char *folder) {
    size_t n = 0;
    DIR *all = opendir("/proc");
    const struct dirent *entry;
    while (all != NULL && (entry = readdir(all)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 1 && pid != getpid() && is_of(pid, folder)) {
            kill(pid, SIGKILL);
            n++;
        }
    }
    if (all != NULL)
        closedir(all);
    return n;
}

bool shoal_tree_kill_of(const char *folder, int64_t timeout_ms) {
    int64_t end = shoal_now_ms() + timeout_ms;
    while (kill_of(folder) > 0) {
        if (shoal_now_ms() >= end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return true;
}
