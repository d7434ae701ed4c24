/* A task of the storms: writes down its run (note.h), rests, and prints a result.
 *
 *     note FILE [MILLISECONDS [GATE]]
 *
 * With a gate it ends when nobody holds an exclusive lock on the file GATE1, or GATE2
 * when it is not the first attempt. */
#include "tests/chaos/note.h"

#include <stdlib.h>
#include <sys/file.h>

static int64_t number(const char *name) {
    const char *text = getenv(name);
    return text == NULL ? -1 : strtoll(text, NULL, 10);
}

static bool pass_gate(const char *gate, int64_t attempt) {
    char path[4096];
    snprintf(path, sizeof(path), "%s%d", gate, attempt > 1 ? 2 : 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH) == 0;
}

int main(int argc, char **argv) {
    const char *job = getenv("SHOAL_JOB");
    int64_t task = number("SHOAL_TASK"), attempt = number("SHOAL_ATTEMPT");
    if (argc < 2 || job == NULL || !note(argv[1], 'b', job, task, attempt))
        return 2;
    if (argc > 2)
        rest_ms(strtol(argv[2], NULL, 10));
    if (argc > 3 && !pass_gate(argv[3], attempt))
        return 3;
    if (!note(argv[1], 'e', job, task, attempt))
        return 2;
    printf("task=%" PRId64 "\nby=%" PRId64 "\n", task, attempt);
    return 0;
}
