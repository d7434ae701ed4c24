/* Programs that a test starts, what they print, and what they leave behind. Whatever goes
 * wrong fails the test; what is still running then dies with it. */
#ifndef SHOAL_TEST_PROCESS_H
#define SHOAL_TEST_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    TEST_OUTPUT_MAX = 16 << 20, /* bytes; writing more fails with EPERM */
    TEST_PIDS_MAX = 4096,
};

struct test_program {
    const char *const *argv; /* NULL behind the last; argv[0] is looked up in PATH */
    const char *const *environment; /* NULL behind the last, or NULL: none. "NAME=VALUE"
                                       is put into the test's own, "NAME" is taken out */
    const char *directory;          /* to run in; NULL: the test's own */
    const char *input;              /* what it reads; NULL: nothing */
};

struct test_process {
    pid_t pid; /* 0 once it has ended and was waited for */
    int exit;  /* then: its exit status, or minus the signal that ended it */
    int out;   /* what it printed, in memory */
    int err;
};

void test_process_start(struct test_process *process, const struct test_program *program);

/* Whether it has ended; does not wait. */
bool test_process_has_ended(struct test_process *process);

/* Waits until it has ended, for `limit_ms` at most, and returns its `exit`. */
int test_process_wait(struct test_process *process, int64_t limit_ms);

/* Sends a signal, if it still runs. */
void test_process_signal(const struct test_process *process, int number);

/* What it has printed so far. The caller's: free(). */
char *test_process_out(const struct test_process *process);
char *test_process_err(const struct test_process *process);

/* Kills it, if it still runs, and forgets what it printed. */
void test_process_finish(struct test_process *process);

/* Starts a program, waits for it and returns its `exit`. `ret_out` and `ret_err` (or
 * NULL) are the caller's: free(). */
int test_run(const struct test_program *program, int64_t limit_ms, char **ret_out,
             char **ret_err);

/* The path of something in the build folder that this test lies in: "shoal",
 * "examples/sir". */
struct test_path {
    char text[PATH_MAX];
};
struct test_path test_built(const char *name);

struct test_pids {
    size_t n;
    pid_t pid[TEST_PIDS_MAX];
};

/* Children of `root`, their children and so on; those that a thread other than the first
 * has started are not seen. */
void test_descendants(pid_t root, struct test_pids *pids);

/* Every process that was started with exactly this "NAME=VALUE" in its environment, be it
 * a daemon that has left its parents. */
void test_processes_with(const char *assignment, struct test_pids *pids);

/* Waits until there are none, for `limit_ms` at most; a failure names those that are
 * left.
 */
void test_none_left(const char *assignment, int64_t limit_ms);

/* A directory below /tmp that is removed with all in it by destroy(), or when the test
 * ends without it; then what was told of the directory is killed, daemons as well. */
struct test_directory {
    char path[32];
    int life;
    pid_t guardian;
};

void test_directory_create(struct test_directory *directory);
void test_directory_destroy(struct test_directory *directory);

#endif
