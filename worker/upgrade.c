#include "worker/upgrade.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "worker/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CHECK_MS = 10000,
    SAID_MAX = 1 << 20, /* bytes that it may print, or write to a file, as for coverage */
    QUOTED_MAX = 200,
};

#define GREETING "shoal-worker %31s handover %d"

/* ---- where it lies */

static char *join(const char *folder, size_t len, const char *name) {
    char *path = NULL;
    return asprintf(&path, "%.*s/%s", (int)len, folder, name) < 0 ? NULL : path;
}

static char *find_in_path(const char *word) {
    const char *folders = getenv("PATH");
    for (const char *at = folders == NULL ? "" : folders;;) {
        size_t len = strcspn(at, ":");
        char *path = *at == '/' ? join(at, len, word) : NULL;
        if (path != NULL && access(path, X_OK) == 0)
            return path;
        free(path);
        if (at[len] == '\0')
            return NULL;
        at += len + 1;
    }
}

char *shoal_upgrade_find(const char *word) {
    char folder[PATH_MAX];
    if (word == NULL || *word == '\0')
        return NULL;
    if (*word == '/')
        return strdup(word);
    if (strchr(word, '/') == NULL)
        return find_in_path(word);
    return getcwd(folder, sizeof(folder)) == NULL ? NULL
                                                  : join(folder, strlen(folder), word);
}

/* ---- whether it is fit */

void shoal_upgrade_print(void) {
    printf("shoal-worker %s handover %d\n", SHOAL_VERSION, SHOAL_HANDOVER_VERSION);
}

/* Its words and "--check-upgrade". */
static char **words_of_check(char *const *argv) {
    size_t n = 0;
    while (argv[n] != NULL)
        n++;
    char **words = calloc(n + 2, sizeof(*words));
    if (words == NULL)
        return NULL;
    memcpy(words, argv, n * sizeof(*words));
    words[n] = (char *)"--check-upgrade";
    return words;
}

static _Noreturn void become(const char *program, char **words, int said) {
    const struct rlimit most = {.rlim_cur = SAID_MAX, .rlim_max = SAID_MAX};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    setpgid(0, 0);
    setrlimit(RLIMIT_FSIZE, &most);
    signal(SIGXFSZ, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(null, 0) == 0 && dup2(said, 1) == 1 && dup2(said, 2) == 2)
        execv(program, words);
    dprintf(said, "%s", strerror(errno));
    _exit(127);
}

enum shoal_status shoal_upgrade_begin(struct shoal_upgrade_check *check,
                                      const char *program, char *const *argv,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char **words = words_of_check(argv);
    check->pid = 0;
    check->said = memfd_create("check", MFD_CLOEXEC);
    check->until = shoal_now_ms() + CHECK_MS;
    pid_t pid = words == NULL || check->said < 0 ? -1 : fork();
    if (pid == 0)
        become(program, words, check->said);
    if (pid > 0) {
        check->pid = pid;
        return SHOAL_OK;
    }
    if (check->said >= 0)
        close(check->said);
    check->said = -1;
    return shoal_error_set(err, SHOAL_SYSTEM, "cannot start '%s': %s", program,
                           strerror(errno));
}

/* The first line of what it printed. */
static void read_said(int said, char *line, size_t room) {
    ssize_t got = pread(said, line, room - 1, 0);
    line[got < 0 ? 0 : got] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
}

static enum shoal_status judge(int status, const char *line, struct shoal_error *err) {
    char version[32];
    int handover = 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "the new program did not say within %d s whether it can "
                               "take over",
                               CHECK_MS / 1000);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
        sscanf(line, GREETING, version, &handover) != 2)
        return shoal_error_set(
            err, SHOAL_REFUSED,
            "the new program cannot take over (%s %d, it said: '%.*s')",
            WIFEXITED(status) ? "exit status" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), QUOTED_MAX, line);
    if (handover != SHOAL_HANDOVER_VERSION)
        return shoal_error_set(
            err, SHOAL_REFUSED,
            "the new program (shoal %s) reads handovers of version %d, this one (shoal "
            "%s) writes version %d; drain this worker and start the new one",
            version, handover, SHOAL_VERSION, SHOAL_HANDOVER_VERSION);
    return SHOAL_OK;
}

enum shoal_status shoal_upgrade_end(struct shoal_upgrade_check *check, int status,
                                    struct shoal_error *err) {
    char line[QUOTED_MAX + 1];
    read_said(check->said, line, sizeof(line));
    close(check->said);
    check->pid = 0;
    check->said = -1;
    return judge(status, line, err);
}
