/* Tasks of storms write down that they began and ended, a line each, in one write to one
 * file, so that who reads it knows of every run of every task:
 *
 *     b JOB TASK ATTEMPT PID MICROSECONDS
 *     e JOB TASK ATTEMPT PID MICROSECONDS */
#ifndef SHOAL_CHAOS_NOTE_H
#define SHOAL_CHAOS_NOTE_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static inline bool note(const char *path, char what, const char *job, int64_t task,
                        int64_t attempt) {
    char line[128];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int len = snprintf(
        line, sizeof(line), "%c %s %" PRId64 " %" PRId64 " %d %" PRId64 "\n", what, job,
        task, attempt, (int)getpid(), (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, line, (size_t)len) == len;
    if (fd >= 0)
        close(fd);
    return good;
}

static inline void rest_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
              NULL);
}

#endif
