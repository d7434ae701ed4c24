/* The floor under every runner of programs: starts a command so often with posix_spawn,
 * so many of them at once, and waits for them.
 *
 *     spawn_floor COUNT AT_ONCE COMMAND [ARG]... */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_for_one(void) {
    int status = 0;
    return wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

static int run(long count, long at_once, char **command) {
    long running = 0;
    int failed = 0;
    for (long i = 0; i < count; i++) {
        pid_t pid;
        for (; running >= at_once; running--)
            failed |= wait_for_one();
        int error = posix_spawnp(&pid, command[0], NULL, NULL, command, environ);
        if (error != 0) {
            fprintf(stderr, "spawn_floor: %s: %s\n", command[0], strerror(error));
            return 1;
        }
        running++;
    }
    for (; running > 0; running--)
        failed |= wait_for_one();
    return failed;
}

int main(int argc, char **argv) {
    long count = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
    long at_once = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    if (count < 1 || at_once < 1) {
        fprintf(stderr, "Usage: spawn_floor COUNT AT_ONCE COMMAND [ARG]...\n");
        return 2;
    }
    return run(count, at_once, argv + 3);
}
