/* Gives a fuzz target the files of its corpus, each in a process of its own, and tells in
 * the words of Check how many it survived.
 *
 *     build/tests/fuzz/TARGET            all of tests/fuzz/corpus/TARGET, from the root
 *     build/tests/fuzz/TARGET FILE...    these, in this very process, for a debugger */
#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 60, BYTES_MAX = 1 << 20 };

/* Exactly as many bytes as the file has, so that a sanitizer sees a read beyond them. */
static bool give(const char *path) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *bytes = malloc(BYTES_MAX);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "re");
    if (bytes == NULL || file == NULL) {
        fprintf(stderr, "%s cannot be read\n", path);
        return false;
    }
    size_t len = fread(bytes, 1, BYTES_MAX, file);
    SHOAL_CLEANUP(shoal_cleanup_free) uint8_t *copy = malloc(len == 0 ? 1 : len);
    if (copy == NULL)
        return false;
    memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    return true;
}

static bool survives(const char *path) {
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SECONDS);
        exit(give(path) ? EXIT_SUCCESS : EXIT_FAILURE); /* a sanitizer looks for leaks */
    }
    bool fine = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
    if (!fine)
        printf("%s: it did not survive this (status %d)\n", path, status);
    return fine;
}

static int is_file(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int replay_all(const char *folder) {
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, is_file, alphasort), failed = 0;
    for (int i = 0; i < n; i++) {
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        failed += !survives(path);
        free(entries[i]);
    }
    free(entries);
    if (n <= 0)
        printf("%s: there is no corpus; run it where the Makefile is\n", folder);
    else
        printf("%d%%: Checks: %d, Failures: 0, Errors: %d\n", (n - failed) * 100 / n, n,
               failed);
    return n > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    char folder[512];
    const char *slash = strrchr(argv[0], '/');
    snprintf(folder, sizeof(folder), "tests/fuzz/corpus/%s",
             slash == NULL ? argv[0] : slash + 1);
    if (argc < 2)
        return replay_all(folder);
    for (int i = 1; i < argc; i++) {
        if (!give(argv[i]))
            return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
