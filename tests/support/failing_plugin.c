/* Preloaded into a program of shoal, this makes one of its allocations or system calls
 * fail as the system would: the n-th, or that and all behind it.
 *
 *     LD_PRELOAD=failing.so FAILING=alloc:17 FAILING_IN=shoal FAILING_REPORT=r shoal list
 *
 * FAILING         WHAT:N or WHAT:N+ (from there on); with N = 0 nothing fails. WHAT is
 *                 one of
 *                   alloc  allocations, also those of the libraries
 *                   call   system calls, each with an error of its own (see the rows)
 *                   eintr  those that a signal may interrupt
 *                   short  those that may move less than they were asked to
 *                   or the name of a function
 * FAILING_IN      the program's name; nothing happens in others. NAME/1 is what it forks
 *                 (the worker of a keeper), without what that one forks
 * FAILING_REPORT  a file of `struct failing_report`, which is true at any time, also
 *                 behind a crash
 *
 * Beside it liblsan.so.0 may be preloaded, behind it: it is begun before main(), which it
 * would do by itself only in a program that is linked with it.
 *
 * A program that is meant takes these out of its environment, so its children are safe.
 *
 * The functions have their symbol's name by __asm__ only, so that no prototype of a
 * header stands in the way, and hand all six registers of a call on as they are:
 * whatever the types are, integers and pointers travel so. */
#include "tests/support/failing.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SITE_FRAMES = 8 /* that make a site */, NEVER = 0 };

enum kind { ALLOC = 1, CALL = 2, EINTR_ = 4, SHORT = 8, PIECES = 16 };

static struct {
    bool armed;
    unsigned kinds;    /* that are meant, unless a function is: */
    char function[32]; /* "": any of the kinds */
    uint64_t nth;
    bool from_there_on;
    int generation; /* how often forked, which is meant */
    struct failing_report *report;
} failing;

static struct failing_report nowhere; /* where there is no file */
static int generation;
static atomic_bool busy; /* what the report itself calls */

/* ---- whether a call fails */

static void note_frames(struct failing_report *report) {
    void *frames[FAILING_FRAMES_MAX];
    int n = backtrace(frames, FAILING_FRAMES_MAX);
    for (int i = 0; i < n; i++) {
        Dl_info info = {.dli_fname = "?"};
        struct failing_frame *frame = &report->frames[i];
        dladdr(frames[i], &info);
        snprintf(frame->module, sizeof(frame->module), "%s", info.dli_fname);
        frame->offset = (uint64_t)((char *)frames[i] - (char *)info.dli_fbase);
    }
    report->n_frames = (uint64_t)n;
}

static void note_first(const char *function) {
    struct failing_report *report = failing.report;
    bool free_now = false;
    if (report->n_frames > 0 || !atomic_compare_exchange_strong(&busy, &free_now, true))
        return;
    snprintf(report->function, sizeof(report->function), "%s", function);
    note_frames(report);
    atomic_store(&busy, false);
}

static void note_site(uint64_t number) {
    void *frames[SITE_FRAMES];
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    bool free_now = false;
    if (number > FAILING_SITES_MAX ||
        !atomic_compare_exchange_strong(&busy, &free_now, true))
        return;
    int n = backtrace(frames, SITE_FRAMES);
    for (int i = 0; i < n; i++) {
        struct dl_find_object object = {.dlfo_map_start = NULL}; /* dladdr() takes long */
        _dl_find_object(frames[i], &object);
        uint64_t offset = (uint64_t)((char *)frames[i] - (char *)object.dlfo_map_start);
        hash = (hash ^ offset) * UINT64_C(1099511628211);
    }
    failing.report->sites[number - 1] = (uint32_t)(hash ^ hash >> 32);
    atomic_store(&busy, false);
}

/* Runs within malloc() and between vfork() and exec as well: it only counts, until the
 * one that fails. Returns its kind, or NEVER. */
static unsigned strike(const char *function, unsigned kinds) {
    if (!failing.armed || generation != failing.generation || atomic_load(&busy))
        return NEVER;
    unsigned kind = kinds & failing.kinds;
    if (*failing.function != '\0' && strcmp(function, failing.function) == 0)
        kind = (kinds & (ALLOC | CALL)) != 0 ? kinds & (ALLOC | CALL) : kinds & EINTR_;
    if (kind == NEVER)
        return NEVER;
    uint64_t number = atomic_fetch_add(&failing.report->counted, 1) + 1;
    if (failing.nth == 0) {
        note_site(number);
        return NEVER;
    }
    if (number < failing.nth || (number > failing.nth && !failing.from_there_on))
        return NEVER;
    atomic_fetch_add(&failing.report->fired, 1);
    note_first(function);
    return kind;
}

/* ---- the functions */

typedef long call_fn(long, long, long, long, long, long);

/* The first of the pieces at an address. */
static struct iovec pieces(long address) {
    struct iovec *at, first;
    memcpy(&at, &address, sizeof(at));
    memcpy(&first, at, sizeof(first));
    return first;
}

/* Whether half of it is less: the third argument counts bytes, or pieces of the
 * second. */
static bool can_be_halved(unsigned kinds, long second, long third) {
    if ((kinds & SHORT) == 0 || third < 1)
        return false;
    return (kinds & PIECES) == 0 ? third > 1 : pieces(second).iov_len > 1;
}

static long halved(call_fn *real, unsigned kinds, const long *a) {
    if ((kinds & PIECES) == 0)
        return real(a[0], a[1], a[2] / 2, a[3], a[4], a[5]);
    struct iovec half = pieces(a[1]);
    half.iov_len /= 2;
    return real(a[0], (long)&half, 1, a[3], a[4], a[5]);
}

static unsigned without(unsigned kinds, unsigned kind) {
    return kinds & ~kind;
}

/* `value` is what it returns when it fails with `error`. */
#define ROW(name, kinds, error, value)                                                   \
    call_fn failing_##name __asm__(#name);                                               \
    __attribute__((visibility("default"))) long failing_##name(long a, long b, long c,   \
                                                               long d, long e, long f) { \
        static call_fn *real;                                                            \
        if (real == NULL)                                                                \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                                   \
        bool divides = can_be_halved(kinds, b, c);                                       \
        unsigned kind = strike(#name, divides ? (kinds) : without(kinds, SHORT));        \
        if (kind == NEVER)                                                               \
            return real(a, b, c, d, e, f);                                               \
        if (kind == SHORT)                                                               \
            return halved(real, kinds, (long[]){a, b, c, d, e, f});                      \
        errno = kind == EINTR_ ? EINTR : (error);                                        \
        return kind == EINTR_ ? -1 : (value);                                            \
    }

ROW(accept, CALL | EINTR_, EMFILE, -1)
ROW(accept4, CALL | EINTR_, EMFILE, -1)
ROW(access, CALL, EACCES, -1)
ROW(aligned_alloc, ALLOC, ENOMEM, 0)
ROW(bind, CALL, EADDRINUSE, -1)
ROW(calloc, ALLOC, ENOMEM, 0)
ROW(chdir, CALL, ENOMEM, -1)
ROW(close_range, CALL, ENOSYS, -1)
ROW(connect, CALL | EINTR_, ECONNREFUSED, -1)
ROW(dup, CALL, EMFILE, -1)
ROW(dup2, CALL, EBUSY, -1)
ROW(dup3, CALL, EBUSY, -1)
ROW(epoll_create, CALL, EMFILE, -1)
ROW(epoll_create1, CALL, EMFILE, -1)
ROW(epoll_ctl, CALL, ENOMEM, -1)
ROW(epoll_wait, EINTR_, EINTR, -1)
ROW(eventfd, CALL, EMFILE, -1)
ROW(execv, CALL, ENOMEM, -1)
ROW(execve, CALL, ENOMEM, -1)
ROW(execvp, CALL, ENOMEM, -1)
ROW(execvpe, CALL, ENOMEM, -1)
ROW(faccessat, CALL, EACCES, -1)
ROW(fchmod, CALL, EPERM, -1)
ROW(fchmodat, CALL, EPERM, -1)
ROW(fchown, CALL, EPERM, -1)
ROW(fchownat, CALL, EPERM, -1)
ROW(fcntl, CALL, EMFILE, -1)
ROW(fcntl64, CALL, EMFILE, -1)
ROW(fdatasync, CALL, EIO, -1)
ROW(fdopen, CALL, ENOMEM, 0)
ROW(fdopendir, CALL, ENOMEM, 0)
ROW(fflush, CALL, ENOSPC, -1)
ROW(fgetxattr, CALL, EIO, -1)
ROW(flock, CALL | EINTR_, ENOLCK, -1)
ROW(fopen, CALL, EMFILE, 0)
ROW(fopen64, CALL, EMFILE, 0)
ROW(fork, CALL, EAGAIN, -1)
ROW(fstat, CALL, EIO, -1)
ROW(fstat64, CALL, EIO, -1)
ROW(fstatat64, CALL, EIO, -1)
ROW(fsync, CALL, EIO, -1)
ROW(ftruncate, CALL | EINTR_, ENOSPC, -1)
ROW(ftruncate64, CALL | EINTR_, ENOSPC, -1)
ROW(futimens, CALL, EPERM, -1)
ROW(getaddrinfo, CALL, ENOMEM, EAI_AGAIN)
ROW(getcwd, CALL, ENOENT, 0)
ROW(getdents64, CALL, EIO, -1)
ROW(gethostname, CALL, ENAMETOOLONG, -1)
ROW(getifaddrs, CALL, ENOMEM, -1)
ROW(getpeername, CALL, ENOBUFS, -1)
ROW(getrlimit64, CALL, EPERM, -1)
ROW(getsockname, CALL, ENOBUFS, -1)
ROW(getsockopt, CALL, ENOBUFS, -1)
ROW(ioctl, CALL, EIO, -1)
ROW(kill, CALL, EPERM, -1)
ROW(lchown, CALL, EPERM, -1)
ROW(link, CALL, EMLINK, -1)
ROW(listen, CALL, EADDRINUSE, -1)
ROW(lseek, CALL, EIO, -1)
ROW(lseek64, CALL, EIO, -1)
ROW(lstat64, CALL, EIO, -1)
ROW(malloc, ALLOC, ENOMEM, 0)
ROW(memalign, ALLOC, ENOMEM, 0)
ROW(memfd_create, CALL, EMFILE, -1)
ROW(mkdir, CALL, ENOSPC, -1)
ROW(mkdirat, CALL, ENOSPC, -1)
ROW(mkdtemp, CALL, ENOSPC, 0)
ROW(mkostemp64, CALL, ENOSPC, -1)
ROW(mmap, CALL, ENOMEM, -1)
ROW(mmap64, CALL, ENOMEM, -1)
ROW(nanosleep, EINTR_, EINTR, -1)
ROW(open, CALL | EINTR_, EMFILE, -1)
ROW(open64, CALL | EINTR_, EMFILE, -1)
ROW(openat, CALL | EINTR_, EMFILE, -1)
ROW(openat64, CALL | EINTR_, EMFILE, -1)
ROW(opendir, CALL, EMFILE, 0)
ROW(pidfd_open, CALL, EMFILE, -1)
ROW(pidfd_send_signal, CALL, EPERM, -1)
ROW(pipe, CALL, EMFILE, -1)
ROW(pipe2, CALL, EMFILE, -1)
ROW(poll, CALL | EINTR_, ENOMEM, -1)
ROW(posix_memalign, ALLOC, ENOMEM, ENOMEM)
ROW(posix_spawn, CALL, EAGAIN, EAGAIN)
ROW(posix_spawnp, CALL, EAGAIN, EAGAIN)
ROW(prctl, CALL, EINVAL, -1)
ROW(pread, CALL | SHORT, EIO, -1)
ROW(pread64, CALL | SHORT, EIO, -1)
ROW(prlimit64, CALL, EPERM, -1)
ROW(pthread_create, CALL, EAGAIN, EAGAIN)
ROW(pwrite, CALL | SHORT, ENOSPC, -1)
ROW(pwrite64, CALL | SHORT, ENOSPC, -1)
ROW(read, CALL | EINTR_ | SHORT, EIO, -1)
ROW(readdir64, CALL, EIO, 0)
ROW(readlink, CALL, EIO, -1)
ROW(readv, CALL | EINTR_ | SHORT | PIECES, ECONNRESET, -1)
ROW(realloc, ALLOC, ENOMEM, 0)
ROW(reallocarray, ALLOC, ENOMEM, 0)
ROW(realpath, CALL, EACCES, 0)
ROW(recv, CALL | EINTR_ | SHORT, ECONNRESET, -1)
ROW(recvfrom, CALL | EINTR_ | SHORT, ECONNRESET, -1)
ROW(recvmsg, CALL | EINTR_, ECONNRESET, -1)
ROW(rename, CALL, ENOSPC, -1)
ROW(renameat, CALL, ENOSPC, -1)
ROW(rmdir, CALL, EBUSY, -1)
ROW(scandir64, CALL, ENOMEM, -1)
ROW(select, CALL | EINTR_, ENOMEM, -1)
ROW(send, CALL | EINTR_ | SHORT, EPIPE, -1)
ROW(sendfile, CALL | EINTR_, EIO, -1)
ROW(sendmsg, CALL | EINTR_, EPIPE, -1)
ROW(sendto, CALL | EINTR_ | SHORT, EPIPE, -1)
ROW(setpgid, CALL, EPERM, -1)
ROW(setrlimit64, CALL, EPERM, -1)
ROW(setsid, CALL, EPERM, -1)
ROW(setsockopt, CALL, ENOBUFS, -1)
ROW(signalfd, CALL, EMFILE, -1)
ROW(sigtimedwait, EINTR_, EINTR, -1)
ROW(sigwaitinfo, EINTR_, EINTR, -1)
ROW(socket, CALL, EMFILE, -1)
ROW(socketpair, CALL, EMFILE, -1)
ROW(stat64, CALL, EIO, -1)
ROW(statfs64, CALL, EIO, -1)
ROW(statx, CALL, EIO, -1)
ROW(syscall, CALL, EPERM, -1)
ROW(timerfd_create, CALL, EMFILE, -1)
ROW(tmpfile64, CALL, EMFILE, 0)
ROW(unlink, CALL, EIO, -1)
ROW(unlinkat, CALL, EIO, -1)
ROW(wait4, EINTR_, EINTR, -1)
ROW(waitid, EINTR_, EINTR, -1)
ROW(waitpid, EINTR_, EINTR, -1)
ROW(write, CALL | EINTR_ | SHORT, ENOSPC, -1)
ROW(writev, CALL | EINTR_ | SHORT | PIECES, ENOBUFS, -1)

#ifdef __x86_64__
/* It returns twice, and the second time what called it must still be there: so this is no
 * function that it could return to, but a jump. */
__attribute__((used)) static call_fn *real_vfork(void) {
    static call_fn *real;
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "vfork");
    if (strike("vfork", CALL) == NEVER)
        return real;
    errno = EAGAIN;
    return NULL;
}

__asm__(".globl vfork\n"
        ".type vfork, @function\n"
        "vfork:\n"
        "    endbr64\n"
        "    subq $8, %rsp\n"
        "    call real_vfork\n"
        "    addq $8, %rsp\n"
        "    testq %rax, %rax\n"
        "    je 1f\n"
        "    jmp *%rax\n"
        "1:  movq $-1, %rax\n"
        "    ret\n"
        ".size vfork, . - vfork\n");
#endif

/* The C library's own way to find a user aborts without memory, whoever calls it. */
__attribute__((visibility("default"))) struct passwd *
getpwuid(uid_t user) { /* NOLINT(readability-inconsistent-declaration-parameter-name) */
    bool free_now = false, mine = atomic_compare_exchange_strong(&busy, &free_now, true);
    static struct passwd *(*real)(uid_t);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "getpwuid");
    struct passwd *found = real(user);
    if (mine)
        atomic_store(&busy, false);
    return found;
}

/* ---- what it is told */

static const struct {
    const char *name;
    unsigned kind;
} words[] = {{"alloc", ALLOC}, {"call", CALL}, {"eintr", EINTR_}, {"short", SHORT}};

static void read_orders(const char *text) {
    size_t len = strcspn(text, ":");
    char *end = NULL;
    snprintf(failing.function, sizeof(failing.function), "%.*s", (int)len, text);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(failing.function, words[i].name) == 0) {
            failing.kinds = words[i].kind;
            failing.function[0] = '\0';
            break;
        }
    }
    failing.nth = text[len] == ':' ? strtoull(text + len + 1, &end, 10) : 0;
    failing.from_there_on = end != NULL && *end == '+';
}

/* Whether this program is meant. */
static bool is_meant(const char *name) {
    size_t len = strcspn(name, "/");
    failing.generation = name[len] == '/' ? atoi(name + len + 1) : 0;
    return strlen(program_invocation_short_name) == len &&
           strncmp(program_invocation_short_name, name, len) == 0;
}

static struct failing_report *open_report(const char *path) {
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct failing_report)) != 0)
        return &nowhere;
    void *map = mmap(NULL, sizeof(struct failing_report), PROT_READ | PROT_WRITE,
                     MAP_SHARED, fd, 0);
    close(fd);
    return map == MAP_FAILED ? &nowhere : map;
}

static void be_forked(void) {
    generation++;
}

static void begin_leak_sanitizer(void) {
    void (*init)(void);
    *(void **)&init = dlsym(RTLD_DEFAULT, "__lsan_init");
    if (init != NULL)
        init();
}

static void note_open(struct failing_report *report, int folder, const char *number) {
    char to[128];
    ssize_t len = readlinkat(folder, number, to, sizeof(to) - 1);
    size_t used = strlen(report->open);
    to[len < 0 ? 0 : len] = '\0';
    snprintf(report->open + used, sizeof(report->open) - used, " %s:%s", number, to);
    report->n_open++;
}

/* What is open now is what nobody has closed. */
static void be_ended(int status, void *unused) {
    (void)unused;
    if (generation != failing.generation)
        return;
    atomic_store(&busy, true);
    failing.report->ended = 1 + (uint64_t)status;
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        int fd = atoi(entry->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(folder))
            note_open(failing.report, dirfd(folder), entry->d_name);
    }
    if (folder != NULL)
        closedir(folder);
}

__attribute__((constructor)) static void begin(void) {
    const char *orders = getenv("FAILING"), *name = getenv("FAILING_IN");
    void *frames[4];
    if (orders == NULL || name == NULL || !is_meant(name))
        return;
    begin_leak_sanitizer();
    read_orders(orders);
    failing.report = open_report(getenv("FAILING_REPORT"));
    pthread_atfork(NULL, NULL, be_forked);
    on_exit(be_ended, NULL);
    backtrace(frames, 4); /* it loads a library the first time */
    unsetenv("FAILING");
    unsetenv("FAILING_IN");
    unsetenv("FAILING_REPORT");
    unsetenv("LD_PRELOAD");
    failing.armed = true;
}
