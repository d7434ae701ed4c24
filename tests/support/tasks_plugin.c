/* Tasks that behave, and tasks that do not. */
#include "worker/shoal_task.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void rest_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
              NULL);
}

/* All that it is given. */
static int echo(struct shoal_call *call) {
    shoal_call_add_int(call, "index", shoal_call_index(call));
    shoal_call_add_int(call, "tries", shoal_call_attempt(call));
    shoal_call_add_int(call, "seed", (int64_t)shoal_call_seed(call));
    shoal_call_add_int(call, "repetition", shoal_call_repetition(call));
    shoal_call_add_number(call, "number", shoal_call_number(call, "x", -1));
    shoal_call_add_int(call, "int", shoal_call_int(call, "x", -1));
    shoal_call_add_text(call, "text", shoal_call_text(call, "x", "none"));
    shoal_call_add_int(call, "has", shoal_call_has(call, "x"));
    shoal_call_add_number(call, "infinite", 1e308 * 10);
    return 0;
}

static int line(struct shoal_call *call) {
    size_t len = 0;
    const char *bytes = shoal_call_argument(call, &len);
    shoal_call_return(call, bytes, len);
    return 0;
}

/* Counts its attempts in its checkpoint, and goes on until the third. With x = 1 it waits
 * each time until it is asked to stop. */
static int go_on(struct shoal_call *call) {
    const char *folder = shoal_call_checkpoint(call);
    char path[4096];
    if (folder == NULL)
        return shoal_call_fail(call, "no checkpoint");
    while (shoal_call_int(call, "x", 0) == 1 && !shoal_call_should_stop(call))
        rest_ms(5);
    for (int n = 1; n < 3; n++) {
        snprintf(path, sizeof(path), "%s/%d", folder, n);
        if (mkdir(path, 0700) == 0)
            return SHOAL_CALL_CONTINUE;
    }
    shoal_call_add_int(call, "tries", shoal_call_attempt(call));
    return 0;
}

static int nothing(struct shoal_call *call) {
    (void)call;
    return 0;
}

static int huge(struct shoal_call *call) {
    size_t len = 100 << 20;
    char *bytes = calloc(1, len);
    shoal_call_return(call, bytes, len);
    free(bytes);
    return 0;
}

/* What a task should not touch: the sockets of its process. */
static void each_socket(void (*visit)(int fd)) {
    struct stat status;
    for (int fd = 3; fd < 1024; fd++) {
        if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode))
            visit(fd);
    }
}

static void scribble(int fd) {
    if (write(fd, "hello, worker", 13) != 13)
        abort();
}

static void hang_up(int fd) {
    close(fd);
}

/* Misbehaves at x = 3, in the way that it is told. */
static int odd(struct shoal_call *call) {
    const char *how = shoal_call_text(call, "how", "");
    if (shoal_call_int(call, "x", 0) != 3)
        return 0;
    if (strcmp(how, "fail") == 0)
        return shoal_call_fail(call, "three is %s", "too much");
    if (strcmp(how, "code") == 0)
        return 42;
    if (strcmp(how, "crash") == 0) {
        fprintf(stderr, "about to crash\n");
        abort();
    }
    if (strcmp(how, "exit") == 0)
        exit(7);
    if (strcmp(how, "fork") == 0) {
        int status = 0;
        if (fork() == 0)
            return 0; /* it must not go on as a second runner */
        wait(&status);
        return 0;
    }
    if (strcmp(how, "loop") == 0)
        for (;;)
            rest_ms(1000);
    if (strcmp(how, "scribble") == 0) {
        each_socket(scribble);
        for (;;)
            rest_ms(1000);
    }
    if (strcmp(how, "hang up") == 0) {
        each_socket(hang_up);
        for (;;)
            rest_ms(1000);
    }
    printf("printed and forgotten\n");
    return 0;
}

/* Counts until it is told to stop, and gives what it has. */
static int until_told(struct shoal_call *call) {
    int64_t n = 0;
    for (; !shoal_call_should_stop(call); n++) {
        shoal_call_progress(call, 0.25, "counting");
        rest_ms(1);
    }
    shoal_call_log(call, "told after %lld", (long long)n);
    shoal_call_add_int(call, "counted", n);
    return 0;
}

/* One that takes x milliseconds. */
static int rest(struct shoal_call *call) {
    rest_ms((long)shoal_call_int(call, "x", 0));
    return 0;
}

/* Misbehaves in the job whose task has the seed that is chosen: jobs of one spec differ
 * in nothing else. In others it takes `ms`. */
static int chosen(struct shoal_call *call) {
    const char *how = shoal_call_text(call, "how", "");
    if (shoal_call_seed(call) !=
        strtoull(shoal_call_text(call, "chosen", ""), NULL, 10)) {
        rest_ms((long)shoal_call_int(call, "ms", 0));
        return 0;
    }
    if (strcmp(how, "fail") == 0)
        return shoal_call_fail(call, "it is chosen");
    if (strcmp(how, "crash") == 0)
        abort();
    if (strcmp(how, "exit") == 0)
        exit(7);
    if (strcmp(how, "murder") == 0)
        kill(getppid(), SIGKILL);
    for (;;)
        rest_ms(1000);
}

/* Which process runs it, and how often that was asked. */
static int count(struct shoal_call *call) {
    static int64_t calls;
    shoal_call_add_int(call, "process", getpid());
    shoal_call_add_int(call, "calls", ++calls);
    return 0;
}

/* Adds a line to `runs`, and waits until nobody locks `gate`. */
static int gated(struct shoal_call *call) {
    int runs = open("runs", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dprintf(runs, "%lld\n", (long long)shoal_call_index(call));
    close(runs);
    int gate = open("gate", O_RDONLY | O_CLOEXEC);
    flock(gate, LOCK_SH);
    close(gate);
    shoal_call_add_int(call, "process", getpid());
    return 0;
}

static const struct shoal_task_entry tasks[] = {
    {"chosen", chosen},
    {"count", count},
    {"echo", echo},
    {"gated", gated},
    {"huge", huge},
    {"line", line},
    {"go_on", go_on},
    {"nothing", nothing},
    {"odd", odd},
    {"rest", rest},
    {"until_told", until_told},
    {0},
};
SHOAL_TASK_API const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION, tasks};
