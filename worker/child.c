/* What the child does until it is the program is a list of system calls, and how they
 * went is left in a variable that both see. */
#include "worker/child.h"

#include "common/cleanup.h"
#include "common/environment.h"
#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum stage { STAGE_NONE, STAGE_SETUP, STAGE_DIRECTORY, STAGE_PROGRAM };

/* What the child needs, all made before vfork(). */
struct birth {
    const struct shoal_child *child;
    const char *program;
    char *const *argv;
    int ruleset; /* of its sandbox; -1: it has none */
    pid_t parent;
    const sigset_t *unusual;
    volatile enum stage failed_at;
    volatile int error;
    bool born_there; /* in its group already */
};

/* The signals that the worker ignores or has handlers for. It begins to at its start, so
 * they are looked for once. */
static const sigset_t *unusual_signals(void) {
    static sigset_t unusual;
    static bool known;
    struct sigaction action;
    if (known)
        return &unusual;
    sigemptyset(&unusual);
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            sigaddset(&unusual, number);
    }
    known = true;
    return &unusual;
}

/* Moves those that lie where others go out of the way first. */
static bool take_descriptors(const struct shoal_child *child) {
    int n = (int)child->n_fds, fds[SHOAL_CHILD_FDS];
    for (int i = 0; i < n; i++) {
        fds[i] =
            child->fds[i] < n ? fcntl(child->fds[i], F_DUPFD_CLOEXEC, n) : child->fds[i];
        if (fds[i] < 0)
            return false;
    }
    for (int i = 0; i < n; i++) {
        if (dup2(fds[i], i) != i)
            return false;
    }
    /* What the worker itself was given. */
    close_range((unsigned)n, ~0U, CLOSE_RANGE_CLOEXEC);
    return true;
}

/* That of the worker stays what it was, as vfork() is known to the kernel. */
static void offer_to_oom_killer(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "500", 3) == 3)
        close(fd);
}

/* Not above what the worker itself may have, though root could. */
static bool limit(unsigned resource, int64_t value) {
    struct rlimit limit;
    if (value <= 0)
        return true;
    if (getrlimit(resource, &limit) != 0)
        return false;
    if (limit.rlim_max > (rlim_t)value)
        limit.rlim_max = (rlim_t)value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit) == 0;
}

static bool set_limits(const struct shoal_child *child) {
    shoal_cores_back();
    return limit(RLIMIT_DATA, child->limits.memory) &&
           limit(RLIMIT_FSIZE, child->limits.file_size);
}

/* All of the user but the user: the calls themselves, as below, since those of the C
 * library would tell other threads. */
static bool take_groups(const struct shoal_user *user) {
    if (user == NULL)
        return true;
    for (int fd = 1; fd <= 2; fd++) {
        if (fchown(fd, user->uid, user->gid) != 0)
            return false; /* it may open /dev/stdout */
    }
    return syscall(SYS_setgroups, user->n_groups, user->groups) == 0 &&
           syscall(SYS_setresgid, user->gid, user->gid, user->gid) == 0;
}

/* With the user's rights to files, of whom nobody can signal it for that. */
static bool enter_directory(const struct shoal_child *child) {
    if (child->user != NULL)
        syscall(SYS_setfsuid, child->user->uid);
    return chdir(child->directory) == 0;
}

/* From here on what runs as that user can stop it, and with it the worker, which waits
 * until it is a program: so this is the last thing. How many processes there may be is
 * asked of a change of user, and is for what it starts. */
static bool become_user(const struct shoal_child *child) {
    const struct shoal_user *user = child->user;
    if (user == NULL)
        return true;
    if (syscall(SYS_setresuid, user->uid, user->uid, user->uid) != 0 ||
        !limit(RLIMIT_NPROC, child->limits.processes))
        return false;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* another user's was forgotten */
    return true;
}

static bool set_up(struct birth *birth) {
    const struct shoal_child *child = birth->child;
    if (!shoal_cgroup_join(child->group, birth->born_there) || !take_descriptors(child) ||
        !take_groups(child->user) || !set_limits(child) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        !shoal_sandbox_enter(child->sandbox, birth->ruleset))
        return false;
    birth->failed_at = STAGE_DIRECTORY;
    if (!enter_directory(child))
        return false;
    birth->failed_at = STAGE_SETUP;
    return become_user(child) && shoal_sandbox_leave_capabilities(child->sandbox);
}

/* Runs in the parent's memory: system calls only, and no return. */
static _Noreturn void become_program(struct birth *birth) {
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    birth->failed_at = STAGE_SETUP;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != birth->parent)
        _exit(127);
    for (int number = 1; number < NSIG; number++) {
        if (sigismember(birth->unusual, number) == 1)
            sigaction(number, &usual, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    offer_to_oom_killer();
    if (set_up(birth)) {
        if (getppid() != birth->parent)
            _exit(127);
        birth->failed_at = STAGE_PROGRAM;
        execve(birth->program, birth->argv, birth->child->environment);
    }
    birth->error = errno;
    _exit(127);
}

/* vfork() into a group of version 2; -1 with errno when that cannot be. The call is made
 * here and by no function, for as with vfork() the child may not return into its parent's
 * frames. */
static pid_t vfork_into(struct birth *birth, int group) {
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
    struct clone_args args = {.flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP,
                              .exit_signal = SIGCHLD,
                              .cgroup = (unsigned)group};
    long result;
    birth->born_there = true;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(SYS_clone3), "D"(&args), "S"(sizeof(args))
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__) && !defined(__SANITIZE_ADDRESS__)
    struct clone_args args = {.flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP,
                              .exit_signal = SIGCHLD,
                              .cgroup = (unsigned)group};
    register long number __asm__("x8") = SYS_clone3;
    register long first __asm__("x0") = (long)&args;
    register long size __asm__("x1") = sizeof(args);
    birth->born_there = true;
    __asm__ volatile("svc 0" : "+r"(first) : "r"(number), "r"(size) : "memory");
    long result = first; /* which holds until other code uses the register */
#else
    long result = -ENOSYS;
    (void)group;
#endif
    if (result == 0)
        become_program(birth);
    birth->born_there = false;
    errno = result < 0 ? (int)-result : 0;
    return result < 0 ? -1 : (pid_t)result;
}

/* Another way may do where the kernel, or who guards it, knows no such call. */
static bool is_final(pid_t pid) {
    return pid > 0 || errno == EAGAIN || errno == ENOMEM;
}

/* Returns the process, or -1 with errno when none could be made. */
static pid_t give_birth(struct birth *birth) {
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* no handler of ours may run in the child */
    birth->parent = getpid();
    birth->unusual = unusual_signals();
    /* It warns of vfork() and of calls behind it; the top of this file says
     * why they are. */
    /* NOLINTBEGIN(clang-analyzer-security.insecureAPI.vfork,clang-analyzer-unix.Vfork) */
    int group = shoal_cgroup_birthplace(birth->child->group);
    pid_t pid = group < 0 ? -1 : vfork_into(birth, group);
    if (group < 0 || !is_final(pid)) {
        pid = vfork();
        if (pid == 0)
            become_program(birth);
    }
    /* NOLINTEND(clang-analyzer-security.insecureAPI.vfork,clang-analyzer-unix.Vfork) */
    int error = errno;
    if (pid > 0 && birth->error == 0)
        birth->failed_at = STAGE_NONE;
    if (birth->child->user != NULL) /* who changed its user with our memory took it */
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

static bool is_scarcity(int error) {
    return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE ||
           error == ETXTBSY || error == ENOSPC;
}

/* Why a program or its directory cannot be used. */
static const char *explain(int error) {
    switch (error) {
    case ENOENT:
        return "it is not there (or it is a script whose interpreter is not there)";
    case ENOEXEC:
        return "it is no program for this machine (a script begins with a line such as "
               "#!/bin/sh)";
    default:
        return strerror(error);
    }
}

static enum shoal_status say_failure(const struct birth *birth, struct shoal_error *err) {
    const char *reason = explain(birth->error);
    if (birth->failed_at == STAGE_SETUP || is_scarcity(birth->error))
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot start '%s' now: %s",
                               birth->child->argv[0], reason);
    if (birth->error == E2BIG)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%s' cannot be started: its arguments and environment are too long "
            "for this system",
            birth->child->argv[0]);
    if (birth->failed_at == STAGE_DIRECTORY)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "cannot enter the working directory '%s': %s",
                               birth->child->directory, strerror(birth->error));
    return shoal_error_set(err, SHOAL_REFUSED, "cannot start '%s': %s", birth->program,
                           reason);
}

/* Whether the file can be started; it may turn out later that it is no program. */
static bool is_executable(const char *path) {
    struct stat status;
    return access(path, X_OK) == 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* Writes "<directory>/<folder>/<word>", of which the first is left out when the folder is
 * absolute. Whether it can be started. */
static bool is_in(const char *folder, size_t len, const char *directory, const char *word,
                  char *path, size_t room) {
    bool absolute = *folder == '/';
    return len > 0 &&
           (size_t)snprintf(path, room, "%s%s%.*s/%s", absolute ? "" : directory,
                            absolute ? "" : "/", (int)len, folder, word) < room &&
           is_executable(path);
}

/* Where the program is. What has a '/' is relative to the child's directory, where it
 * will be. */
static enum shoal_status find_program(const struct shoal_child *child, char *path,
                                      size_t room, struct shoal_error *err) {
    const char *word = child->argv[0];
    if (strchr(word, '/') != NULL) {
        if ((size_t)snprintf(path, room, "%s", word) < room)
            return SHOAL_OK;
        return shoal_error_set(err, SHOAL_REFUSED, "the program's path is too long");
    }
    const char *folders = shoal_environment_get(child->environment, "PATH");
    for (const char *at = folders == NULL ? "/usr/local/bin:/usr/bin:/bin" : folders;;) {
        size_t len = strcspn(at, ":");
        if (is_in(at, len, child->directory, word, path, room))
            return SHOAL_OK;
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    if (child->beside != NULL && child->allow == NULL && child->of_key == NULL &&
        is_in(child->beside, strlen(child->beside), "", word, path, room))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_REFUSED,
                           "there is no program '%s' in the PATH that tasks have here",
                           word);
}

/* The same of a worker with a list: the real path of what the list has. The shoal-host of
 * this installation is always had, where runners are started, and may load what the list
 * has. */
static enum shoal_status find_allowed(const struct shoal_child *child,
                                      const struct shoal_allow *allow, char *real,
                                      struct shoal_allow_words *words, char *const **argv,
                                      struct shoal_error *err) {
    char path[PATH_MAX] = "", full[PATH_MAX];
    bool is_host = child->beside != NULL && strcmp(child->argv[0], "shoal-host") == 0 &&
                   *allow->host != '\0';
    enum shoal_status status = shoal_allow_environment(allow, child->set_by_job, err);
    if (status == SHOAL_OK && !is_host)
        status = find_program(child, path, sizeof(path), err);
    if (status != SHOAL_OK)
        return status;
    bool absolute = is_host || *path == '/';
    if ((size_t)snprintf(full, sizeof(full), "%s%s%s", absolute ? "" : child->directory,
                         absolute ? "" : "/",
                         is_host ? allow->host : path) >= sizeof(full))
        return shoal_error_set(err, SHOAL_REFUSED, "the program's path is too long");
    if (is_host || (realpath(full, real) != NULL && strcmp(real, allow->host) == 0)) {
        snprintf(real, PATH_MAX, "%s", allow->host);
        *argv = words->argv;
        return shoal_allow_host_words(
            allow, child->argv, child->directory,
            shoal_environment_get(child->environment, "PYTHONPATH"), words, err);
    }
    return shoal_allow_file(allow, "start", child->argv[0], full, real, err);
}

/* One in its group hears it once, unless it is to be sure. */
void shoal_child_signal(pid_t pid, int number) {
    kill(-pid, number);
    if (number == SIGKILL || getpgid(pid) != pid)
        kill(pid, number);
}

/* The words with the path in place of the first, by which a program may choose what it
 * does or where its files are. free() them; NULL: no memory. */
static char **call_by_path(char *path, char *const *argv) {
    size_t n = 0;
    while (argv[n] != NULL)
        n++;
    char **called = calloc(n + 1, sizeof(*called));
    if (called == NULL)
        return NULL;
    memcpy(called, argv, n * sizeof(*called));
    called[0] = path;
    return called;
}

/* By the list of the key, of the worker, or of both, for which a file is looked at
 * once. */
static enum shoal_status find_bounded(const struct shoal_child *child, char *real,
                                      struct shoal_allow_words *words, char ***ret_called,
                                      struct shoal_error *err) {
    const struct shoal_allow *first =
        child->of_key == NULL ? child->allow : child->of_key;
    struct shoal_allow both = *first;
    char *const *argv = child->argv;
    if (first != child->allow)
        both.also = child->allow;
    enum shoal_status status = find_allowed(child, &both, real, words, &argv, err);
    if (status != SHOAL_OK)
        return status;
    *ret_called = call_by_path(real, argv);
    return *ret_called != NULL
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_MEMORY, "no memory for a program's words");
}

void shoal_child_wait(pid_t pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

enum shoal_status shoal_child_start(const struct shoal_child *child, pid_t *ret_pid,
                                    struct shoal_error *err) {
    char path[PATH_MAX];
    struct shoal_allow_words words;
    SHOAL_CLEANUP(shoal_cleanup_free) char **called = NULL;
    SHOAL_CLEANUP(shoal_cleanup_fd) int ruleset = -1;
    struct birth birth = {.child = child, .program = path};
    enum shoal_status status = child->allow == NULL && child->of_key == NULL
                                   ? find_program(child, path, sizeof(path), err)
                                   : find_bounded(child, path, &words, &called, err);
    if (status == SHOAL_OK && child->sandbox != NULL)
        status = shoal_sandbox_make(child->sandbox, child->own, child->kept,
                                    SHOAL_CHILD_FDS, &ruleset, err);
    if (status != SHOAL_OK)
        return status;
    birth.ruleset = ruleset;
    birth.argv = called == NULL ? child->argv : called;
    pid_t pid = give_birth(&birth);
    if (pid < 0) {
        birth.failed_at = STAGE_SETUP;
        birth.error = errno;
    }
    if (birth.failed_at != STAGE_NONE)
        status = say_failure(&birth, err);
    if (status == SHOAL_OK)
        *ret_pid = pid;
    else if (pid > 0)
        shoal_child_wait(pid);
    return status;
}
