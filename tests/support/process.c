#include "tests/support/process.h"

#include "common/cleanup.h"
#include "tests/support/wait.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILL_MS = 10000, PROC_MAX = 1 << 20 };

/* ---- starting */

/* A file in memory that cannot grow: nobody has to read while the program writes, and
 * still there is a limit. How far it was written is its offset, which all writers share;
 * Linux moves that of a file by one writer at a time if it was opened by its path, which
 * a new memfd was not. */
static int open_capture(void) {
    char path[64];
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int made = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(made, 0);
    ck_assert_int_eq(ftruncate(made, TEST_OUTPUT_MAX), 0);
    ck_assert_int_eq(fcntl(made, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", made);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static int open_input(const char *text) {
    if (text == NULL)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("input", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void become(const struct test_program *program, const int streams[3],
                   pid_t parent) {
    for (int i = 0; i < 3; i++)
        dup2(streams[i], i);
    closefrom(3); /* what a test left open */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL); /* it may be ignored here */
    if (getppid() != parent)
        _exit(127);
    for (size_t i = 0; program->environment != NULL && program->environment[i] != NULL;
         i++)
        putenv((char *)program->environment[i]);
    if (program->directory == NULL || chdir(program->directory) == 0)
        execvp(program->argv[0], (char *const *)program->argv);
    perror(program->argv[0]);
    _exit(127);
}

void test_process_start(struct test_process *process,
                        const struct test_program *program) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int in = open_input(program->input);
    *process = (struct test_process){.out = open_capture(), .err = open_capture()};
    pid_t parent = getpid();
    fflush(NULL);
    process->pid = fork();
    ck_assert_int_ge(process->pid, 0);
    if (process->pid == 0)
        become(program, (int[]){in, process->out, process->err}, parent);
}

/* ---- waiting */

bool test_process_has_ended(struct test_process *process) {
    int status = 0;
    if (process->pid == 0)
        return true;
    pid_t ended = waitpid(process->pid, &status, WNOHANG);
    ck_assert_int_ge(ended, 0);
    if (ended == 0)
        return false;
    process->pid = 0;
    process->exit = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return true;
}

int test_process_wait(struct test_process *process, int64_t limit_ms) {
    int64_t end = test_clock_ms() + limit_ms;
    while (!test_process_has_ended(process)) {
        if (test_clock_ms() > end) {
            SHOAL_CLEANUP(shoal_cleanup_free) char *err = test_process_err(process);
            ck_abort_msg("a program runs for more than %d ms; it said: %s", (int)limit_ms,
                         err);
        }
        test_pause(NULL);
    }
    return process->exit;
}

void test_process_signal(const struct test_process *process, int number) {
    if (process->pid != 0)
        kill(process->pid, number);
}

void test_process_finish(struct test_process *process) {
    test_process_signal(process, SIGKILL);
    test_process_wait(process, KILL_MS);
    close(process->out);
    close(process->err);
}

static char *read_capture(int fd) {
    off_t len = lseek(fd, 0, SEEK_CUR);
    ck_assert_int_ge(len, 0);
    char *text = malloc((size_t)len + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(pread(fd, text, (size_t)len, 0), len);
    text[len] = '\0';
    return text;
}

char *test_process_out(const struct test_process *process) {
    return read_capture(process->out);
}

char *test_process_err(const struct test_process *process) {
    return read_capture(process->err);
}

int test_run(const struct test_program *program, int64_t limit_ms, char **ret_out,
             char **ret_err) {
    struct test_process process;
    test_process_start(&process, program);
    test_process_wait(&process, limit_ms);
    if (ret_out != NULL)
        *ret_out = test_process_out(&process);
    if (ret_err != NULL)
        *ret_err = test_process_err(&process);
    test_process_finish(&process);
    return process.exit;
}

/* A test is BUILD/tests/KIND/NAME. */
struct test_path test_built(const char *name) {
    struct test_path path = {""};
    ssize_t len = readlink("/proc/self/exe", path.text, sizeof(path.text) - 1);
    ck_assert_int_gt(len, 0);
    path.text[len] = '\0';
    for (int i = 0; i < 3; i++) {
        char *slash = strrchr(path.text, '/');
        ck_assert_ptr_nonnull(slash);
        *slash = '\0';
    }
    size_t used = strlen(path.text), room = sizeof(path.text) - used;
    ck_assert_int_lt(snprintf(path.text + used, room, "/%s", name), (int)room);
    return path;
}

/* ---- /proc */

/* Up to PROC_MAX bytes of a file of a process and a NUL behind them; empty when the
 * process is gone. The caller's: free(). */
static char *read_proc(pid_t pid, const char *name, size_t *ret_len) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    char *text = calloc(1, PROC_MAX + 1);
    ck_assert_ptr_nonnull(text);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    *ret_len = 0;
    while (fd >= 0 && (got = read(fd, text + *ret_len, PROC_MAX - *ret_len)) > 0)
        *ret_len += (size_t)got;
    return text;
}

static void each_process(void (*visit)(pid_t pid, void *owner), void *owner) {
    DIR *proc = opendir("/proc");
    ck_assert_ptr_nonnull(proc);
    for (const struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        if (isdigit((unsigned char)entry->d_name[0]))
            visit((pid_t)strtol(entry->d_name, NULL, 10), owner);
    }
    closedir(proc);
}

static void add_pid(struct test_pids *pids, pid_t pid) {
    ck_assert_uint_lt(pids->n, TEST_PIDS_MAX);
    pids->pid[pids->n++] = pid;
}

static void add_children(pid_t parent, struct test_pids *pids) {
    char name[64];
    size_t len = 0;
    snprintf(name, sizeof(name), "task/%d/children", (int)parent);
    SHOAL_CLEANUP(shoal_cleanup_free) char *children = read_proc(parent, name, &len);
    for (char *at = children, *end = NULL;; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            return;
        add_pid(pids, (pid_t)pid);
    }
}

/* `pids` is its own queue: the children of each that is in it are put behind it. */
void test_descendants(pid_t root, struct test_pids *pids) {
    pids->n = 0;
    add_children(root, pids);
    for (size_t i = 0; i < pids->n; i++)
        add_children(pids->pid[i], pids);
}

struct wanted {
    const char *assignment;
    struct test_pids *pids;
};

static void take_if_wanted(pid_t pid, void *owner) {
    const struct wanted *wanted = owner;
    size_t len = 0;
    SHOAL_CLEANUP(shoal_cleanup_free) char *environment = read_proc(pid, "environ", &len);
    for (const char *at = environment; at < environment + len; at += strlen(at) + 1) {
        if (strcmp(at, wanted->assignment) == 0) {
            add_pid(wanted->pids, pid);
            return;
        }
    }
}

void test_processes_with(const char *assignment, struct test_pids *pids) {
    pids->n = 0;
    each_process(take_if_wanted, &(struct wanted){assignment, pids});
}

static void print_command(pid_t pid) {
    size_t len = 0;
    SHOAL_CLEANUP(shoal_cleanup_free) char *words = read_proc(pid, "cmdline", &len);
    for (size_t i = 0; i + 1 < len; i++) {
        if (words[i] == '\0')
            words[i] = ' ';
    }
    fprintf(stderr, "left: process %d: %s\n", (int)pid, words);
}

void test_none_left(const char *assignment, int64_t limit_ms) {
    int64_t end = test_clock_ms() + limit_ms;
    struct test_pids pids;
    for (test_processes_with(assignment, &pids); pids.n > 0 && test_clock_ms() < end;
         test_processes_with(assignment, &pids))
        test_pause(NULL);
    for (size_t i = 0; i < pids.n; i++)
        print_command(pids.pid[i]);
    ck_assert_msg(pids.n == 0, "%zu processes with %s are left", pids.n, assignment);
}

/* ---- directories */

static int remove_entry(const char *path, SHOAL_UNUSED const struct stat *stat,
                        SHOAL_UNUSED int type, SHOAL_UNUSED struct FTW *place) {
    return remove(path);
}

static void remove_tree(const char *path) {
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static bool mentions(pid_t pid, const char *name, const char *path) {
    size_t len = 0;
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = read_proc(pid, name, &len);
    return memmem(text, len, path, strlen(path)) != NULL;
}

/* Whether it stands in a directory. */
static bool is_in(pid_t pid, const char *path) {
    char link[64], folder[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/%d/cwd", (int)pid);
    ssize_t len = readlink(link, folder, sizeof(folder) - 1);
    folder[len < 0 ? 0 : len] = '\0';
    return strncmp(folder, path, strlen(path)) == 0;
}

/* A daemon has left its parents, but was told of the directory. Redis writes over what it
 * was told, and stands in it. */
static void kill_if_of_directory(pid_t pid, void *owner) {
    const char *path = owner;
    if (pid != getpid() && (mentions(pid, "environ", path) ||
                            mentions(pid, "cmdline", path) || is_in(pid, path)))
        kill(pid, SIGKILL);
}

/* Waits until the test is gone, and holds nothing of it meanwhile. */
static void guard(char *path, int life) {
    setsid(); /* Check kills the group of a test that is over */
    dup2(life, STDIN_FILENO);
    closefrom(STDIN_FILENO + 1);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
        ;
    each_process(kill_if_of_directory, path);
    remove_tree(path);
    _exit(0);
}

void test_directory_create(struct test_directory *directory) {
    *directory = (struct test_directory){.path = "/tmp/shoal-test-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(directory->path));
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    directory->guardian = fork();
    ck_assert_int_ge(directory->guardian, 0);
    if (directory->guardian == 0)
        guard(directory->path, ends[0]);
    close(ends[0]);
    directory->life = ends[1];
}

void test_directory_destroy(struct test_directory *directory) {
    kill(directory->guardian, SIGKILL);
    waitpid(directory->guardian, NULL, 0);
    close(directory->life);
    remove_tree(directory->path);
    ck_assert_int_ne(access(directory->path, F_OK), 0);
}
