#include "worker/sandbox.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Later than the headers of older systems. */
#define MAY_TRUNCATE (UINT64_C(1) << 14)
#define MAY_IOCTL (UINT64_C(1) << 15)     /* of devices */
#define SCOPE_ABSTRACT (UINT64_C(1) << 0) /* of sockets */
#define SCOPE_SIGNAL (UINT64_C(1) << 1)
#define ONE_PROCESS 1 /* of ioprio_set() */
enum { ABI_REFER = 2, ABI_TRUNCATE = 3, ABI_NET = 4, ABI_IOCTL = 5, ABI_SCOPE = 6 };

/* As the kernel knows it since ABI 6; older ones are given its beginning. */
struct ruleset {
    uint64_t fs, net, scoped;
};

/* What is refused outside, … */
#define MAY_CHANGE_FILE (LANDLOCK_ACCESS_FS_WRITE_FILE | MAY_TRUNCATE | MAY_IOCTL)
#define MAY_CHANGE                                                                       \
    (MAY_CHANGE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |  \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                        \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                        \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                      \
     LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

/* … of which this is nowhere allowed: a device is the machine itself. */
#define NOWHERE (LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)

/* What any program may write to, where it is there. */
static const char *const devices[] = {"/dev/full", "/dev/null", "/dev/zero"};

/* ---- filters of system calls: they hold what Landlock does not ask about */

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#define FIRST_STRANGE 0x40000000 /* x32, where calls have other numbers */
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#define FIRST_STRANGE UINT32_MAX
#endif

#ifdef MACHINE
#define LOAD(field)                                                                      \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
/* Skips so many, if it is that or is not. */
#define SKIP_IF(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, n, 0)
#define SKIP_UNLESS(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n)
#define REFUSED (SECCOMP_RET_ERRNO | EACCES)
#define TYPE_OF_SOCKET 0xf /* without SOCK_CLOEXEC and the like */

/* Answers a call so unless its n-th argument is that. */
#define ONLY_WITH(call, n, value, answer)                                                \
    LOAD(nr), SKIP_UNLESS(call, 3), LOAD(args[n]), SKIP_IF(value, 1), RETURN(answer)
/* The usual way of scheduling is also asked for by a thread's number, as pthread_create()
 * does with attributes of its own; every thread has that anyway, so it seems done. */
#define SCHEDULER(answer)                                                                \
    LOAD(nr), SKIP_UNLESS(SYS_sched_setscheduler, 6), LOAD(args[0]), SKIP_IF(0, 4),      \
        LOAD(args[1]), SKIP_UNLESS(SCHED_OTHER, 1), RETURN(PASSED_OVER), RETURN(answer)
#define FORBIDDEN (SECCOMP_RET_ERRNO | EPERM)
#define PASSED_OVER (SECCOMP_RET_ERRNO | 0)

/* Limits, priority and scheduling of the caller alone, whom these calls know as 0, since
 * a filter cannot tell the numbers of its threads from those of others. Where a thread
 * runs is set by its number in ordinary programs, of which those with OpenMP end when it
 * fails; so that does nothing and seems done. */
static struct sock_filter of_others[] = {
    LOAD(arch),
    SKIP_IF(MACHINE, 1),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_STRANGE, 0, 1),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    ONLY_WITH(SYS_prlimit64, 0, 0, FORBIDDEN),
    ONLY_WITH(SYS_setpriority, 0, PRIO_PROCESS, FORBIDDEN),
    ONLY_WITH(SYS_setpriority, 1, 0, FORBIDDEN),
    ONLY_WITH(SYS_ioprio_set, 0, ONE_PROCESS, FORBIDDEN),
    ONLY_WITH(SYS_ioprio_set, 1, 0, FORBIDDEN),
    ONLY_WITH(SYS_sched_setattr, 0, 0, FORBIDDEN),
    ONLY_WITH(SYS_sched_setparam, 0, 0, FORBIDDEN),
    SCHEDULER(FORBIDDEN),
    ONLY_WITH(SYS_sched_setaffinity, 0, 0, PASSED_OVER),
    RETURN(SECCOMP_RET_ALLOW),
};

/* No sockets but pairs of one's own, and no other way to make one. Of pairs those that
 * stay with each other: one for datagrams may send to anybody. Comes behind the other,
 * which knows that numbers of calls mean what they do here. */
static struct sock_filter of_network[] = {
    LOAD(nr),
    SKIP_UNLESS(SYS_socket, 1),
    RETURN(REFUSED),
    SKIP_UNLESS(SYS_io_uring_setup, 1),
    RETURN(REFUSED),
    SKIP_UNLESS(SYS_socketpair, 7),
    LOAD(args[0]),
    SKIP_UNLESS(AF_UNIX, 4),
    LOAD(args[1]),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TYPE_OF_SOCKET),
    SKIP_IF(SOCK_STREAM, 2),
    SKIP_IF(SOCK_SEQPACKET, 1),
    RETURN(REFUSED),
    RETURN(SECCOMP_RET_ALLOW),
};

/* Without what older kernels slow a filtered program down by, against guessing its
 * memory: this filter keeps no secret. */
static bool filter(struct sock_filter *calls, size_t n) {
    const struct sock_fprog program = {.len = (unsigned short)n, .filter = calls};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                   &program) == 0;
}

static bool leave_others(void) {
    return filter(of_others, SHOAL_COUNT(of_others));
}

static bool leave_network(void) {
    return filter(of_network, SHOAL_COUNT(of_network));
}
#else
static bool leave_others(void) {
    errno = ENOSYS;
    return false;
}

static bool leave_network(void) {
    return leave_others();
}
#endif

/* ---- the rules */

/* Without what this kernel does not know. */
static uint64_t may_change(const struct shoal_sandbox *sandbox) {
    static const struct {
        int since;
        uint64_t right;
    } later[] = {
        {ABI_REFER, LANDLOCK_ACCESS_FS_REFER}, /* before, refused without being asked */
        {ABI_TRUNCATE, MAY_TRUNCATE},
        {ABI_IOCTL, MAY_IOCTL},
    };
    uint64_t all = MAY_CHANGE;
    for (size_t i = 0; i < SHOAL_COUNT(later); i++) {
        if (sandbox->abi < later[i].since)
            all &= ~later[i].right;
    }
    return all;
}

static int make_ruleset(const struct shoal_sandbox *sandbox) {
    const struct ruleset rules = {
        .fs = may_change(sandbox),
        .scoped = SCOPE_SIGNAL | (sandbox->no_network ? SCOPE_ABSTRACT : 0),
    };
    size_t size = sandbox->abi >= ABI_SCOPE ? sizeof(rules)
                  : sandbox->abi >= ABI_NET ? offsetof(struct ruleset, scoped)
                                            : offsetof(struct ruleset, net);
    return (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
}

/* Allows to write to a file, or to all beneath a directory, that is open. */
static bool allow(const struct shoal_sandbox *sandbox, int ruleset, int fd) {
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return false;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = may_change(sandbox) & ~(uint64_t)NOWHERE, .parent_fd = fd};
    if (!S_ISDIR(status.st_mode))
        rule.allowed_access &= MAY_CHANGE_FILE;
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule,
                   0) == 0;
}

static bool allow_path(const struct shoal_sandbox *sandbox, int ruleset, const char *path,
                       int flags) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_PATH | O_CLOEXEC | flags);
    return allow(sandbox, ruleset, fd);
}

/* What the worker made for the task is no link; what it was told to open may be one. */
static enum shoal_status add_rules(const struct shoal_sandbox *sandbox, int ruleset,
                                   const char *own, const int *kept,
                                   struct shoal_error *err) {
    const struct shoal_option_list *others = sandbox->writable;
    const char *failed = NULL;
    if (own != NULL && !allow_path(sandbox, ruleset, own, O_DIRECTORY | O_NOFOLLOW))
        failed = own;
    else if (kept != NULL && !allow(sandbox, ruleset, *kept))
        failed = "its checkpoint";
    for (size_t i = 0; failed == NULL && i < others->n; i++) {
        if (!allow_path(sandbox, ruleset, others->items[i], 0))
            failed = others->items[i];
    }
    return failed == NULL ? SHOAL_OK
                          : shoal_error_set(err, SHOAL_SYSTEM,
                                            "cannot make a sandbox in which '%.300s' can "
                                            "be written to: %s",
                                            failed, strerror(errno));
}

enum shoal_status shoal_sandbox_make(const struct shoal_sandbox *sandbox, const char *own,
                                     const int *kept, int least, int *ret_ruleset,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int ruleset = make_ruleset(sandbox);
    if (ruleset < 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a sandbox: %s",
                               strerror(errno));
    for (size_t i = 0; i < SHOAL_COUNT(devices); i++) {
        if (!allow_path(sandbox, ruleset, devices[i], 0) && errno != ENOENT)
            return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a sandbox: %s: %s",
                                   devices[i], strerror(errno));
    }
    enum shoal_status status = add_rules(sandbox, ruleset, own, kept, err);
    if (status != SHOAL_OK)
        return status;
    *ret_ruleset = fcntl(ruleset, F_DUPFD_CLOEXEC, least);
    if (*ret_ruleset < 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a sandbox: %s",
                               strerror(errno));
    return SHOAL_OK;
}

/* Of root: with them the kernel itself is at hand. no_new_privs keeps them away. */
bool shoal_sandbox_leave_capabilities(const struct shoal_sandbox *sandbox) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return sandbox == NULL || syscall(SYS_capset, &header, none) == 0;
}

bool shoal_sandbox_enter(const struct shoal_sandbox *sandbox, int ruleset) {
    return sandbox == NULL || (syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 &&
                               (!sandbox->filters || leave_others()) &&
                               (!sandbox->no_network || leave_network()));
}

/* ---- trying it out */

enum found { FOUND_HOLDS, FOUND_NO_LANDLOCK, FOUND_NO_FILTER };

/* In a child. That it says of itself what it is called is a write outside. */
static enum found try_inside(const struct shoal_sandbox *sandbox, int ruleset) {
    const struct shoal_sandbox files = {.abi = sandbox->abi};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!shoal_sandbox_enter(&files, ruleset) ||
        !shoal_sandbox_leave_capabilities(&files) ||
        open("/proc/self/comm", O_WRONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return FOUND_NO_LANDLOCK;
    if (!leave_others() || prlimit(getppid(), RLIMIT_NOFILE, NULL, NULL) == 0 ||
        errno != EPERM)
        return FOUND_NO_FILTER;
    if (sandbox->no_network &&
        (!leave_network() || socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ||
         errno != EACCES))
        return FOUND_NO_FILTER;
    return FOUND_HOLDS;
}

static enum found try_out(const struct shoal_sandbox *sandbox, int ruleset) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit((int)try_inside(sandbox, ruleset));
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) ? (enum found)WEXITSTATUS(status)
                                        : FOUND_NO_LANDLOCK;
}

static enum shoal_status check_paths(const struct shoal_option_list *paths,
                                     struct shoal_error *err) {
    for (size_t i = 0; i < paths->n; i++) {
        const char *path = paths->items[i];
        if (*path != '/' || access(path, F_OK) != 0)
            return shoal_error_set(
                err, SHOAL_INVALID, "--sandbox-write '%.200s': %s", path,
                *path == '/' ? strerror(errno) : "write an absolute path");
    }
    return SHOAL_OK;
}

enum shoal_status shoal_sandbox_init(struct shoal_sandbox *ret_sandbox,
                                     const struct shoal_option_list *writable,
                                     bool no_network, struct shoal_error *err) {
    static const char *const sentences[] = {
        [FOUND_NO_LANDLOCK] =
            "--sandbox: this kernel has no Landlock, or does not let us use it; boot one "
            "since 5.13 with 'landlock' in its list of security modules (lsm=), or leave "
            "--sandbox out",
        [FOUND_NO_FILTER] =
            "--no-network: this kernel does not let us filter system calls (seccomp), so "
            "it cannot be held here; leave it out",
    };
    struct shoal_sandbox sandbox = {
        .abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
                            LANDLOCK_CREATE_RULESET_VERSION),
        .no_network = no_network,
        .writable = writable,
    };
    SHOAL_CLEANUP(shoal_cleanup_fd) int ruleset = -1;
    enum shoal_status status = check_paths(writable, err);
    if (status == SHOAL_OK && sandbox.abi >= 1)
        status = shoal_sandbox_make(&sandbox, NULL, NULL, 0, &ruleset, err);
    if (status != SHOAL_OK)
        return status;
    enum found found = sandbox.abi < 1 ? FOUND_NO_LANDLOCK : try_out(&sandbox, ruleset);
    sandbox.filters = found == FOUND_HOLDS;
    if (found == FOUND_NO_LANDLOCK || (found == FOUND_NO_FILTER && no_network))
        return shoal_error_set(err, SHOAL_INVALID, "%s", sentences[found]);
    *ret_sandbox = sandbox;
    return SHOAL_OK;
}

void shoal_sandbox_tell(const struct shoal_sandbox *sandbox) {
    static const struct {
        int since;
        const char *kernel, *what;
    } later[] = {
        {ABI_TRUNCATE, "6.2", "who empties files elsewhere that its user may write to"},
        {ABI_IOCTL, "6.10", "what tasks tell devices that they may read"},
        {ABI_SCOPE, "6.12", "whom tasks signal"},
    };
    shoal_info("tasks are in a sandbox: landlock=%d network=%s", sandbox->abi,
               sandbox->no_network ? "none" : "as it is");
    for (size_t i = 0; i < SHOAL_COUNT(later); i++) {
        if (sandbox->abi < later[i].since)
            shoal_warn("this kernel's sandbox does not hold %s; one since %s does: "
                       "landlock=%d",
                       later[i].what, later[i].kernel, sandbox->abi);
    }
    if (!sandbox->filters)
        shoal_warn("this host does not let us filter system calls (seccomp), so the "
                   "sandbox does not hold whose limits and priority tasks change");
}
