/* The daemons are known by their locks. Each takes a record lock on its pid file before
 * it becomes the program, and has it until it ends, however it ends; such a lock passes
 * through exec and not through fork. Who asks the kernel for it is told the pid of
 * whoever holds it now, so nothing is believed of a pid that is only written somewhere,
 * and no stranger is ever signalled: the pid is made a pidfd, and asked for once more. */
#include "client/local_daemons.h"

#include "client/interrupt.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/secret.h"
#include "common/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PATH_ROOM = 4096,
    LOCK_MS = 60000,  /* that another command may take to start or stop the cluster */
    START_MS = 20000, /* until Redis answers */
    STOP_MS = 15000,  /* until a daemon has ended, before it is killed */
    SECOND_MS = 300,  /* between the TERM that drains and the one that stops */
    KILLED_MS = 10000,
    NAP_MS = 10,
    LOG_MAX = 4 << 20, /* a log that is larger begins anew */
    WORDS_ROOM = 300,  /* of a daemon that has ended */
    LOOKS = 3,         /* more at a pid file that could not be looked at */
};

static const pid_t UNKNOWN = -1;

/* ---- the state directory */

enum shoal_status shoal_state_make(const char *path, struct shoal_error *err) {
    if (shoal_directories_make(path))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_LOST,
                           "cannot make the state directory '%.200s': %s; set "
                           "SHOAL_STATE to one that can be written",
                           path, strerror(errno));
}

enum shoal_status shoal_state_path(const char *name, char *path, unsigned long room,
                                   struct shoal_error *err) {
    char base[PATH_ROOM];
    enum shoal_status status = shoal_state_of_user(base, sizeof(base), err);
    if (status == SHOAL_OK)
        status = shoal_state_make(base, err);
    if (status != SHOAL_OK)
        return status;
    if ((size_t)snprintf(path, room, "%s/%s", base, name) >= room)
        return shoal_error_set(err, SHOAL_INVALID, "the path of '%s' is too long", name);
    return SHOAL_OK;
}

enum shoal_status shoal_state_open(const char *name, int flags, int *ret_fd,
                                   struct shoal_error *err) {
    char path[PATH_ROOM];
    enum shoal_status status = shoal_state_path(name, path, sizeof(path), err);
    if (status != SHOAL_OK)
        return status;
    *ret_fd = open(path, flags | O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*ret_fd >= 0)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_LOST, "cannot open '%.200s': %s", path,
                           strerror(errno));
}

bool shoal_state_exists(const char *name) {
    char path[PATH_ROOM];
    return shoal_state_path(name, path, sizeof(path), NULL) == SHOAL_OK &&
           access(path, F_OK) == 0;
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = NAP_MS * 1000000L}, NULL);
}

/* Who starts something may be interrupted; who stops something goes on. */
static enum shoal_status check_interrupts(struct shoal_error *err) {
    return shoal_interrupts() == 0 ? SHOAL_OK
                                   : shoal_error_set(err, SHOAL_LOST, "interrupted");
}

enum shoal_status shoal_local_lock(bool to_start, int *ret_fd, struct shoal_error *err) {
    int64_t end = shoal_now_ms() + LOCK_MS;
    enum shoal_status status = shoal_state_open("lock", 0, ret_fd, err);
    if (status != SHOAL_OK)
        return status;
    while (flock(*ret_fd, LOCK_EX | LOCK_NB) != 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || shoal_now_ms() > end) {
            close(*ret_fd);
            *ret_fd = -1;
            return shoal_error_set(
                err, SHOAL_LOST,
                "another shoal has been starting or stopping the local "
                "cluster for too long; try again");
        }
        status = to_start ? check_interrupts(err) : SHOAL_OK;
        if (status != SHOAL_OK) {
            close(*ret_fd);
            *ret_fd = -1;
            return status;
        }
        nap();
    }
    return SHOAL_OK;
}

/* ---- daemons and their locks */

static pid_t look_for_holder(const char *pid_file) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[PATH_ROOM];
    if (shoal_state_path(pid_file, path, sizeof(path), NULL) != SHOAL_OK)
        return UNKNOWN;
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : UNKNOWN;
    if (fcntl(fd, F_GETLK, &lock) != 0)
        return UNKNOWN;
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

enum shoal_status shoal_local_find(const char *pid_file, pid_t *ret_pid,
                                   struct shoal_error *err) {
    pid_t pid = look_for_holder(pid_file);
    for (int i = 0; i < LOOKS && pid == UNKNOWN; i++) {
        nap();
        pid = look_for_holder(pid_file);
    }
    *ret_pid = pid;
    if (pid != UNKNOWN)
        return SHOAL_OK;
    char path[PATH_ROOM];
    int why = errno;
    enum shoal_status status = shoal_state_path(pid_file, path, sizeof(path), err);
    return status == SHOAL_OK
               ? shoal_error_set(err, SHOAL_LOST,
                                 "cannot look into '%.200s', which tells whether the "
                                 "daemon runs: %s",
                                 path, strerror(why))
               : status;
}

/* The same where nobody is told why not: UNKNOWN. */
pid_t shoal_local_holder(const char *pid_file) {
    pid_t pid;
    return shoal_local_find(pid_file, &pid, NULL) == SHOAL_OK ? pid : UNKNOWN;
}

static void tell(const char *pid_file, int number) {
    pid_t pid = shoal_local_holder(pid_file);
    if (pid <= 1)
        return;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = pidfd_open(pid, 0);
    if (fd >= 0 &&
        shoal_local_holder(pid_file) == pid) /* so the descriptor is the holder's */
        pidfd_send_signal(fd, number, NULL, 0);
}

static bool wait_until_gone(const char *pid_file, int64_t ms) {
    for (int64_t end = shoal_now_ms() + ms; shoal_local_holder(pid_file) != 0; nap()) {
        if (shoal_now_ms() > end)
            return false;
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) /* those that this process started */
        ;
    return true;
}

enum shoal_status shoal_program_find(const char *name, char *path, unsigned long room,
                                     struct shoal_error *err) {
    char own[PATH_ROOM];
    ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[len < 0 ? 0 : len] = '\0';
    char *slash = strrchr(own, '/');
    if (slash != NULL) {
        *slash = '\0';
        if ((size_t)snprintf(path, room, "%s/%s", own, name) < room &&
            access(path, X_OK) == 0)
            return SHOAL_OK;
    }
    const char *folders = getenv("PATH");
    for (const char *at = folders == NULL ? "/usr/bin:/bin" : folders; *at != '\0';) {
        int n = (int)strcspn(at, ":");
        if (n > 0 && (size_t)snprintf(path, room, "%.*s/%s", n, at, name) < room &&
            access(path, X_OK) == 0)
            return SHOAL_OK;
        at += n + (at[n] == ':');
    }
    bool is_redis = strcmp(name, "redis-server") == 0;
    return shoal_error_set(err, SHOAL_LOST, "%s is not here; %s", name,
                           is_redis ? "install it (apt-get install redis-server) or give "
                                      "--redis URL"
                                    : "it belongs beside shoal or in PATH");
}

/* Those of another Redis, a password of it among them: what this one needs is said in
 * words. */
static void forget_variables(void) {
    static const char *const names[] = {"SHOAL_REDIS", "SHOAL_REDIS_PASSWORD_FILE",
                                        "SHOAL_TLS_CA", "SHOAL_TLS_CERT",
                                        "SHOAL_TLS_KEY"};
    for (size_t i = 0; i < SHOAL_COUNT(names); i++)
        unsetenv(names[i]);
}

/* In the child: ends with exec, or with why not on `report`. */
static void become(const struct shoal_local_daemon *daemon, const char *path, int pid_fd,
                   int log, int report) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[24];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (null >= 0 && fcntl(pid_fd, F_SETLK, &lock) == 0 && ftruncate(pid_fd, 0) == 0 &&
        write(pid_fd, text, (size_t)len) == len && fcntl(pid_fd, F_SETFD, 0) == 0 &&
        dup2(null, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
        dup2(log, STDERR_FILENO) >= 0 && chdir("/") == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGCHLD, SIG_DFL);
        forget_variables();
        shoal_cores_back();
        execv(path, (char **)daemon->argv);
    }
    int why = errno;
    if (write(report, &why, sizeof(why)) < 0)
        _exit(126);
    _exit(127);
}

static enum shoal_status open_log(const char *name, int *ret_fd,
                                  struct shoal_error *err) {
    struct stat stat;
    enum shoal_status status = shoal_state_open(name, O_APPEND, ret_fd, err);
    if (status == SHOAL_OK && fstat(*ret_fd, &stat) == 0 && stat.st_size > LOG_MAX &&
        ftruncate(*ret_fd, 0) != 0)
        return shoal_error_set(err, SHOAL_LOST, "cannot empty the log '%s': %s", name,
                               strerror(errno));
    return status;
}

enum shoal_status shoal_local_start(struct shoal_local_daemon *daemon,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int pid_fd = -1;
    SHOAL_CLEANUP(shoal_cleanup_fd) int log = -1;
    char path[PATH_ROOM];
    int ends[2], why = 0;
    enum shoal_status status =
        shoal_program_find(daemon->argv[0], path, sizeof(path), err);
    if (status == SHOAL_OK)
        status = shoal_state_open(daemon->pid_file, 0, &pid_fd, err);
    if (status == SHOAL_OK)
        status = open_log(daemon->log, &log, err);
    if (status != SHOAL_OK)
        return status;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return shoal_error_set(err, SHOAL_LOST, "cannot make a pipe: %s",
                               strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become(daemon, path, pid_fd, log, ends[1]);
    int fork_error = errno;
    close(ends[1]);
    ssize_t got;
    do {
        got = pid < 0 ? 0 : read(ends[0], &why, sizeof(why)); /* ends with exec */
    } while (got < 0 && errno == EINTR);
    close(ends[0]);
    if (pid >= 0 && got == 0) {
        daemon->pid = pid;
        return SHOAL_OK;
    }
    /* It may run, if it was the pipe that failed. */
    if (pid > 0 && kill(pid, SIGKILL) == 0)
        waitpid(pid, NULL, 0);
    return shoal_error_set(err, SHOAL_LOST, "cannot start %.200s: %s", path,
                           strerror(pid < 0 ? fork_error : why));
}

enum shoal_status shoal_local_ensure(struct shoal_local_daemon *daemon,
                                     struct shoal_error *err) {
    pid_t pid;
    enum shoal_status status = shoal_local_find(daemon->pid_file, &pid, err);
    return status == SHOAL_OK && pid == 0 ? shoal_local_start(daemon, err) : status;
}

void shoal_local_add(struct shoal_local_daemon *daemon, const char *const *words) {
    size_t n = 0;
    while (daemon->argv[n] != NULL)
        n++;
    for (; *words != NULL && n + 1 < SHOAL_LOCAL_WORDS; words++)
        daemon->argv[n++] = *words;
}

/* ---- waiting until they have begun */

off_t shoal_local_log_size(const char *log) {
    struct stat stat;
    char path[PATH_ROOM];
    bool is_there = shoal_state_path(log, path, sizeof(path), NULL) == SHOAL_OK &&
                    lstat(path, &stat) == 0;
    return is_there && stat.st_size <= LOG_MAX ? stat.st_size : 0;
}

/* The last line that was written since. */
static void read_last_words(const char *path, off_t since, char words[WORDS_ROOM]) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char text[4 * WORDS_ROOM];
    off_t most = sizeof(text) - 1, end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t len = pread(fd, text, (size_t)most, end - since > most ? end - most : since);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    text[len < 0 ? 0 : len] = '\0';
    const char *line = strrchr(text, '\n');
    snprintf(words, WORDS_ROOM, "%.*s", WORDS_ROOM - 1, line == NULL ? text : line + 1);
}

static enum shoal_status tell_end(const struct shoal_local_watch *watch, const char *log,
                                  struct shoal_error *err) {
    char words[WORDS_ROOM];
    read_last_words(log, watch->heard, words);
    return shoal_error_set(err, SHOAL_LOST,
                           "the local %s ended at once%s%s; see '%.150s'", watch->name,
                           *words == '\0' ? "" : ": ", words, log);
}

enum shoal_status shoal_local_check(const struct shoal_local_watch *watch, pid_t pid,
                                    struct shoal_error *err) {
    char log[PATH_ROOM];
    siginfo_t end = {.si_pid = 0};
    if (waitid(P_PID, (id_t)pid, &end, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        end.si_pid != pid || end.si_code != CLD_EXITED || end.si_status == 0)
        return SHOAL_OK;
    enum shoal_status status = shoal_state_path(watch->log, log, sizeof(log), err);
    return status == SHOAL_OK ? tell_end(watch, log, err) : status;
}

static enum shoal_status tell_silence(const struct shoal_local_watch *watch,
                                      const char *log, const struct shoal_error *why,
                                      struct shoal_error *err) {
    return why->status == SHOAL_DENIED
               ? shoal_error_set(err, why->status,
                                 "the local redis-server does not let its own user in; "
                                 "run 'shoal down', and then this again: %.250s",
                                 why->text)
               : shoal_error_set(err, why->status,
                                 "the local %s runs and does not answer: %.250s; see "
                                 "'%.150s'",
                                 watch->name, why->text, log);
}

enum shoal_status shoal_local_wait(struct shoal_client *client,
                                   const struct shoal_local_watch *watch,
                                   struct shoal_error *err) {
    char log[PATH_ROOM];
    enum shoal_status status = shoal_state_path(watch->log, log, sizeof(log), err);
    for (int64_t end = shoal_now_ms() + START_MS; status == SHOAL_OK; nap()) {
        struct shoal_error why = {.status = SHOAL_OK};
        pid_t pid;
        status = shoal_local_find(watch->pid_file, &pid, err);
        if (status != SHOAL_OK)
            return status;
        if (pid == 0)
            return tell_end(watch, log, err);
        status = watch->ask(client, pid, &why);
        if (status == SHOAL_OK)
            return SHOAL_OK;
        if (status != SHOAL_LOST || shoal_now_ms() > end)
            return tell_silence(watch, log, &why, err);
        status = check_interrupts(err);
    }
    return status;
}

/* ---- stopping */

static const struct dirent *next_entry(DIR *folder, int *ret_error) {
    errno = 0;
    const struct dirent *entry = readdir(folder);
    *ret_error = entry == NULL ? errno : 0;
    return entry;
}

enum shoal_status shoal_local_list(char names[][SHOAL_LOCAL_NAME], size_t *ret_n,
                                   struct shoal_error *err) {
    char path[PATH_ROOM];
    size_t n = 0;
    enum shoal_status status = shoal_state_of_user(path, sizeof(path), err);
    if (status != SHOAL_OK)
        return status;
    DIR *folder = opendir(path);
    const struct dirent *entry;
    int error = folder == NULL && errno != ENOENT ? errno : 0;
    while (folder != NULL && n < SHOAL_LOCAL_MAX &&
           (entry = next_entry(folder, &error)) != NULL) {
        size_t len = strlen(entry->d_name);
        bool ours = strncmp(entry->d_name, "worker", 6) == 0 ||
                    strcmp(entry->d_name, "broker.pid") == 0;
        if (ours && len > 4 && len < SHOAL_LOCAL_NAME &&
            strcmp(entry->d_name + len - 4, ".pid") == 0 &&
            shoal_local_holder(entry->d_name) != 0)
            memcpy(names[n++], entry->d_name, len + 1);
    }
    if (folder != NULL)
        closedir(folder);
    if (error != 0)
        return shoal_error_set(err, SHOAL_LOST, "cannot look into '%.200s': %s", path,
                               strerror(error));
    *ret_n = n;
    return SHOAL_OK;
}

static enum shoal_status end_one(const char *pid_file, bool *ret_killed,
                                 struct shoal_error *err) {
    pid_t pid;
    enum shoal_status status = shoal_local_find(pid_file, &pid, err);
    if (status != SHOAL_OK || wait_until_gone(pid_file, STOP_MS))
        return status;
    tell(pid_file, SIGKILL);
    *ret_killed = true;
    if (wait_until_gone(pid_file, KILLED_MS))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_LOST, "the daemon of '%s' cannot be ended",
                           pid_file);
}

enum shoal_status shoal_local_stop(struct shoal_local_end *ret_end,
                                   struct shoal_error *err) {
    static char names[SHOAL_LOCAL_MAX][SHOAL_LOCAL_NAME];
    size_t n = 0;
    enum shoal_status status = shoal_local_list(names, &n, err);
    if (status != SHOAL_OK)
        return status;
    bool redis_killed = false;
    ret_end->killed = false;
    ret_end->ran = n > 0 || shoal_local_holder("redis.pid") != 0;
    for (size_t i = 0; i < n; i++)
        tell(names[i], SIGTERM); /* drains */
    for (size_t i = 0; i < n; i++) {
        if (!wait_until_gone(names[i], SECOND_MS))
            tell(names[i], SIGTERM); /* stops */
    }
    for (size_t i = 0; i < n; i++) {
        enum shoal_status ended = end_one(names[i], &ret_end->killed, err);
        status = status == SHOAL_OK ? ended : status;
    }
    tell("redis.pid", SIGTERM);
    enum shoal_status ended = end_one("redis.pid", &redis_killed, err);
    status = status == SHOAL_OK ? ended : status;
    return status;
}
