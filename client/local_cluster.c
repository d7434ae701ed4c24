/* The daemons are known by their locks. Each takes a record lock on its pid file before
 * it becomes the program, and has it until it ends, however it ends; such a lock passes
 * through exec and not through fork. Who asks the kernel for it is told the pid of
 * whoever holds it now, so nothing is believed of a pid that is only written somewhere,
 * and no stranger is ever signalled: the pid is made a pidfd, and asked for once more.
 *
 * Everything is started and stopped, and `users` is taken, under `lock`. */
#include "client/local_cluster.h"

#include "client/client_private.h"
#include "client/interrupt.h"
#include "client/invitation.h"
#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/redis.h"
#include "common/secret.h"
#include "common/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PATH_ROOM = 4096,
    SOCKET_ROOM = sizeof(((struct sockaddr_un *)0)->sun_path),
    LOCK_MS = 60000,  /* that another command may take to start or stop the cluster */
    START_MS = 20000, /* until Redis answers */
    STOP_MS = 15000,  /* until a daemon has ended, before it is killed */
    SECOND_MS = 300,  /* between the TERM that drains and the one that stops */
    KILLED_MS = 2000,
    NAP_MS = 10,
    ANSWER_MS = 1000,
    LOG_MAX = 4 << 20, /* a log that is larger begins anew */
    WORDS_MAX = 64,
    WORDS_ROOM = 300, /* of a daemon that has ended */
    LOOKS = 3,        /* more at a pid file that could not be looked at */
};

static const pid_t UNKNOWN = -1;

static const int64_t MEMORY_MOST = INT64_C(2) << 30;

struct shoal_cluster {
    int users; /* holds `users`, shared */
    int lock;  /* holds `lock` from is_last() to leave(); else -1 */
    char url[160];
    char password_file[PATH_ROOM];        /* "": none is needed */
    char listens[SHOAL_LISTEN_HOST + 16]; /* "HOST:PORT"; "": it does not */
    char name_space[SHOAL_NAME_MAX + 1];
    char trusted_keys[PATH_ROOM];     /* "": nobody else could ever write to it */
    char worker[SHOAL_NAME_MAX + 16]; /* the pid file of the one that works for us */
};

/* ---- the state directory */

static enum shoal_status make_directories(const char *path, struct shoal_error *err) {
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
        status = make_directories(base, err);
    if (status != SHOAL_OK)
        return status;
    if ((size_t)snprintf(path, room, "%s/%s", base, name) >= room)
        return shoal_error_set(err, SHOAL_INVALID, "the path of '%s' is too long", name);
    return SHOAL_OK;
}

static enum shoal_status open_state(const char *name, int flags, int *ret_fd,
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

static bool state_exists(const char *name) {
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

/* Waits for what other commands start or stop; `to_start`: unless interrupted. */
static enum shoal_status take_lock(bool to_start, int *ret_fd, struct shoal_error *err) {
    int64_t end = shoal_now_ms() + LOCK_MS;
    enum shoal_status status = open_state("lock", 0, ret_fd, err);
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

/* ---- the job submitted last */

enum shoal_status shoal_state_last_job(char *ret_id, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    char id[SHOAL_ID_LEN + 1] = "";
    enum shoal_status status = open_state("last", 0, &fd, err);
    if (status != SHOAL_OK)
        return status;
    if (read(fd, id, SHOAL_ID_LEN) != SHOAL_ID_LEN || !shoal_id_is_valid(id))
        return shoal_error_set(err, SHOAL_UNKNOWN,
                               "no job was submitted from here yet, so '-' names none");
    memcpy(ret_id, id, sizeof(id));
    return SHOAL_OK;
}

void shoal_state_remember_job(const char *id) {
    char path[PATH_ROOM], fresh[PATH_ROOM + 32];
    if (shoal_state_path("last", path, sizeof(path), NULL) != SHOAL_OK)
        return;
    snprintf(fresh, sizeof(fresh), "%s.%d", path, (int)getpid());
    FILE *file = fopen(fresh, "we");
    if (file == NULL)
        return;
    bool good = fprintf(file, "%s\n", id) > 0;
    good = fclose(file) == 0 && good;
    if (!good || rename(fresh, path) != 0)
        unlink(fresh);
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

/* Who holds the lock of a pid file; 0: nobody. SHOAL_LOST: it cannot be looked at. */
static enum shoal_status find_holder(const char *pid_file, pid_t *ret_pid,
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
static pid_t holder(const char *pid_file) {
    pid_t pid;
    return find_holder(pid_file, &pid, NULL) == SHOAL_OK ? pid : UNKNOWN;
}

static void tell(const char *pid_file, int number) {
    pid_t pid = holder(pid_file);
    if (pid <= 1)
        return;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = pidfd_open(pid, 0);
    if (fd >= 0 && holder(pid_file) == pid) /* so the descriptor is the holder's */
        pidfd_send_signal(fd, number, NULL, 0);
}

static bool wait_until_gone(const char *pid_file, int64_t ms) {
    for (int64_t end = shoal_now_ms() + ms; holder(pid_file) != 0; nap()) {
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

struct daemon {
    const char *pid_file;
    const char *log;
    const char *argv[WORDS_MAX]; /* the program first, NULL behind the last */
};

/* Those of another Redis: what this one needs is said in words. */
static void forget_variables(void) {
    static const char *const names[] = {"SHOAL_REDIS_PASSWORD_FILE", "SHOAL_TLS_CA",
                                        "SHOAL_TLS_CERT", "SHOAL_TLS_KEY"};
    for (size_t i = 0; i < SHOAL_COUNT(names); i++)
        unsetenv(names[i]);
}

/* In the child: ends with exec, or with why not on `report`. */
static void become(const struct daemon *daemon, const char *path, int pid_fd, int log,
                   int report) {
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
        forget_variables();
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
    enum shoal_status status = open_state(name, O_APPEND, ret_fd, err);
    if (status == SHOAL_OK && fstat(*ret_fd, &stat) == 0 && stat.st_size > LOG_MAX &&
        ftruncate(*ret_fd, 0) != 0)
        return shoal_error_set(err, SHOAL_LOST, "cannot empty the log '%s': %s", name,
                               strerror(errno));
    return status;
}

/* Starts a daemon that does not run. Its lock is held when this returns. */
static enum shoal_status start(struct daemon *daemon, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int pid_fd = -1;
    SHOAL_CLEANUP(shoal_cleanup_fd) int log = -1;
    char path[PATH_ROOM];
    int ends[2], why = 0;
    enum shoal_status status =
        shoal_program_find(daemon->argv[0], path, sizeof(path), err);
    if (status == SHOAL_OK)
        status = open_state(daemon->pid_file, 0, &pid_fd, err);
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
    if (pid >= 0 && got == 0)
        return SHOAL_OK;
    if (pid > 0) {
        kill(pid, SIGKILL); /* it may run, if it was the pipe that failed */
        waitpid(pid, NULL, 0);
    }
    return shoal_error_set(err, SHOAL_LOST, "cannot start %.200s: %s", path,
                           strerror(pid < 0 ? fork_error : why));
}

/* ---- waiting until they have begun */

static const char redis_log[] = "redis.log", worker_log[] = "worker.log";

/* A daemon that was started, or runs already. */
struct watch {
    const char *name; /* for people */
    const char *pid_file;
    const char *log;
    off_t heard; /* so long the log was before */
    /* Whether it has begun; SHOAL_LOST: not yet. */
    enum shoal_status (*ask)(struct shoal_client *client, pid_t pid,
                             struct shoal_error *err);
};

static off_t log_size(const char *log) {
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

static enum shoal_status tell_end(const struct watch *watch, const char *log,
                                  struct shoal_error *err) {
    char words[WORDS_ROOM];
    read_last_words(log, watch->heard, words);
    return shoal_error_set(err, SHOAL_LOST,
                           "the local %s ended at once%s%s; see '%.150s'", watch->name,
                           *words == '\0' ? "" : ": ", words, log);
}

static enum shoal_status tell_silence(const struct watch *watch, const char *log,
                                      const struct shoal_error *why,
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

static void destroy_client(struct shoal_client **client) {
    shoal_client_destroy(*client);
}

/* Nothing is sent yet. */
static enum shoal_status make_client(const struct shoal_cluster *cluster,
                                     struct shoal_client **ret_client,
                                     struct shoal_error *err) {
    struct shoal_redis_address address;
    enum shoal_status status = shoal_redis_address_parse(
        cluster->url, shoal_cluster_password_file(cluster), &address, err);
    if (status != SHOAL_OK)
        return status;
    status = shoal_client_open(&address, cluster->name_space, ANSWER_MS, false,
                               ret_client, err);
    shoal_redis_address_finish(&address);
    return status;
}

static enum shoal_status wait_until_begun(const struct shoal_cluster *cluster,
                                          const struct watch *watch,
                                          struct shoal_error *err) {
    SHOAL_CLEANUP(destroy_client) struct shoal_client *client = NULL;
    char log[PATH_ROOM];
    enum shoal_status status = shoal_state_path(watch->log, log, sizeof(log), err);
    if (status == SHOAL_OK)
        status = make_client(cluster, &client, err);
    for (int64_t end = shoal_now_ms() + START_MS; status == SHOAL_OK; nap()) {
        struct shoal_error why = {.status = SHOAL_OK};
        pid_t pid;
        status = find_holder(watch->pid_file, &pid, err);
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

/* ---- Redis */

/* A directory of our own for a socket whose path would be too long. */
static enum shoal_status short_directory(const char *path, char *folder, size_t room,
                                         struct shoal_error *err) {
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    struct stat stat;
    for (; *path != '\0'; path++)
        hash = (hash ^ (unsigned char)*path) * UINT64_C(1099511628211);
    snprintf(folder, room, "/tmp/shoal-%u-%016" PRIx64, (unsigned)geteuid(), hash);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return shoal_error_set(err, SHOAL_LOST, "cannot make '%s': %s", folder,
                               strerror(errno));
    if (lstat(folder, &stat) != 0 || !S_ISDIR(stat.st_mode) || stat.st_uid != geteuid() ||
        (stat.st_mode & 077) != 0)
        return shoal_error_set(err, SHOAL_LOST,
                               "'%s' is not a directory of yours alone; set SHOAL_STATE "
                               "to a shorter path",
                               folder);
    return SHOAL_OK;
}

/* Where the socket is, which fits into a sockaddr_un. */
static enum shoal_status socket_path(char *path, size_t room, struct shoal_error *err) {
    char full[PATH_ROOM], folder[64];
    enum shoal_status status = shoal_state_path("redis.sock", full, sizeof(full), err);
    if (status != SHOAL_OK)
        return status;
    if (strlen(full) < SOCKET_ROOM) {
        snprintf(path, room, "%.*s", SOCKET_ROOM - 1, full);
        return SHOAL_OK;
    }
    status = short_directory(full, folder, sizeof(folder), err);
    if (status == SHOAL_OK)
        snprintf(path, room, "%s/redis.sock", folder);
    return status;
}

/* Half of the memory, 2 GiB at most. */
static int64_t memory_limit(void) {
    int64_t pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    int64_t half = pages > 0 && size > 0 ? pages / 2 * size : MEMORY_MOST;
    return half < MEMORY_MOST ? half : MEMORY_MOST;
}

/* Adds words behind those that are there. */
static void add_words(struct daemon *daemon, const char *const *words) {
    size_t n = 0;
    while (daemon->argv[n] != NULL)
        n++;
    for (; *words != NULL && n + 1 < WORDS_MAX; words++)
        daemon->argv[n++] = *words;
}

/* By TLS alone, and to who has a certificate of ours. */
static enum shoal_status listen_with(struct daemon *redis,
                                     const struct shoal_listen *listen,
                                     struct shoal_error *err) {
    static char port[8], paths[4][PATH_ROOM];
    static const char *const options[] = {"--tls-cert-file", "--tls-key-file",
                                          "--tls-ca-cert-file", "--aclfile"};
    static const char *const files[] = {"listen/server.pem", "listen/server.key",
                                        "listen/authority.pem", "listen/users"};
    enum shoal_status status = shoal_listen_check(listen, err);
    for (size_t i = 0; i < SHOAL_COUNT(files) && status == SHOAL_OK; i++) {
        status = shoal_state_path(files[i], paths[i], sizeof(paths[i]), err);
        add_words(redis, (const char *const[]){options[i], paths[i], NULL});
    }
    snprintf(port, sizeof(port), "%d", listen->port);
    add_words(redis, (const char *const[]){"--tls-auth-clients", "yes", "--tls-port",
                                           port, "--bind", NULL});
    for (size_t i = 0; i < listen->n; i++)
        add_words(redis, (const char *const[]){listen->binds[i], NULL});
    return status;
}

static enum shoal_status start_redis(const char *path,
                                     const struct shoal_invitation *invitation,
                                     struct shoal_error *err) {
    char folder[PATH_ROOM], memory[24];
    enum shoal_status status = shoal_state_path("redis", folder, sizeof(folder), err);
    if (status == SHOAL_OK)
        status = make_directories(folder, err);
    if (status != SHOAL_OK)
        return status;
    snprintf(memory, sizeof(memory), "%" PRId64, memory_limit());
    struct daemon redis = {
        .pid_file = "redis.pid",
        .log = redis_log,
        .argv = {"redis-server", "--port", "0", "--unixsocket", path, "--unixsocketperm",
                 "600", "--dir", folder, "--appendonly", "yes", "--appendfsync",
                 "everysec",
                 /* A rewrite takes a core from what runs here. */
                 "--auto-aof-rewrite-min-size", "256mb", "--rdbcompression", "no",
                 "--save", "", "--maxmemory", memory, "--maxmemory-policy", "noeviction",
                 "--daemonize", "no", "--logfile", ""},
    };
    if (invitation != NULL)
        status = listen_with(&redis, &invitation->listen, err);
    return status == SHOAL_OK ? start(&redis, err) : status;
}

/* Starts it, unless it runs. */
static enum shoal_status ensure(struct daemon *daemon, struct shoal_error *err) {
    pid_t pid;
    enum shoal_status status = find_holder(daemon->pid_file, &pid, err);
    return status == SHOAL_OK && pid == 0 ? start(daemon, err) : status;
}

/* Unlike others DBSIZE is answered when the disk is full, and not before the data are
 * loaded. */
static enum shoal_status answers(struct shoal_client *client, pid_t pid,
                                 struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    (void)pid;
    shoal_request_init(&request);
    shoal_request_text(&request, "DBSIZE");
    return shoal_redis_run(client->redis, &request, 0, &reply, err);
}

/* `invitation` NULL: it does not listen. Returns when it has loaded its data. */
static enum shoal_status ensure_redis(const struct shoal_cluster *cluster,
                                      const char *path,
                                      const struct shoal_invitation *invitation,
                                      struct shoal_error *err) {
    const struct watch watch = {.name = "redis-server",
                                .pid_file = "redis.pid",
                                .log = redis_log,
                                .heard = log_size(redis_log),
                                .ask = answers};
    pid_t pid;
    enum shoal_status status = find_holder(watch.pid_file, &pid, err);
    if (status == SHOAL_OK && pid == 0)
        status = start_redis(path, invitation, err);
    return status == SHOAL_OK ? wait_until_begun(cluster, &watch, err) : status;
}

/* ---- broker and worker */

/* What a daemon of a cluster that listens is told besides. */
static void add_way(struct daemon *daemon, const struct shoal_cluster *cluster) {
    if (*cluster->listens != '\0')
        add_words(daemon, (const char *const[]){"--redis-password-file",
                                                cluster->password_file, NULL});
}

static enum shoal_status ensure_broker(const struct shoal_cluster *cluster,
                                       struct shoal_error *err) {
    struct daemon broker = {
        .pid_file = "broker.pid",
        .log = "broker.log",
        .argv = {"shoal-broker", "--redis", cluster->url, "--namespace",
                 cluster->name_space},
    };
    add_way(&broker, cluster);
    return ensure(&broker, err);
}

static bool is_child_of(pid_t pid, pid_t parent) {
    char path[64];
    int is = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "re");
    return file != NULL && fscanf(file, "%*d (%*[^)]) %*c %d", &is) == 1 && is == parent;
}

/* Whether Redis knows the worker, whose keeper has the pid file. */
static enum shoal_status is_known(struct shoal_client *client, pid_t keeper,
                                  struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_worker_info *workers = NULL;
    size_t n = 0;
    enum shoal_status status = shoal_queue_workers(&client->queue, &workers, &n, err);
    for (size_t i = 0; i < n; i++) {
        if (is_child_of((pid_t)workers[i].pid, keeper))
            return SHOAL_OK;
    }
    return status == SHOAL_OK ? shoal_error_set(err, SHOAL_LOST,
                                                "it has not told Redis that it is there")
                              : status;
}

/* A worker for each queue that jobs were submitted to. `begun`: waits for that. */
static enum shoal_status ensure_worker(struct shoal_cluster *cluster, const char *queue,
                                       int64_t slots, bool begun,
                                       struct shoal_error *err) {
    char number[24], spool[PATH_ROOM], checkpoints[PATH_ROOM];
    if (queue == NULL)
        queue = "default";
    if (!shoal_name_is_valid(queue))
        return shoal_error_set(err, SHOAL_INVALID, "'%.100s' is no queue name", queue);
    if (strcmp(queue, "default") == 0)
        strcpy(cluster->worker, "worker.pid");
    else
        snprintf(cluster->worker, sizeof(cluster->worker), "worker-%s.pid", queue);
    snprintf(number, sizeof(number), "%" PRId64, slots);
    enum shoal_status status = shoal_state_path("spool", spool, sizeof(spool), err);
    if (status == SHOAL_OK)
        status = shoal_state_path("checkpoints", checkpoints, sizeof(checkpoints), err);
    if (status != SHOAL_OK)
        return status;
    struct daemon worker = {
        .pid_file = cluster->worker,
        .log = worker_log,
        .argv = {"shoal-worker", "--redis", cluster->url, "--namespace",
                 cluster->name_space, "--queue", queue, "--slots", number, "--spool",
                 spool, "--checkpoints", checkpoints},
    };
    add_way(&worker, cluster);
    if (*cluster->trusted_keys != '\0') {
        bool is_listed = getenv("SHOAL_ALLOW") != NULL; /* which the worker reads */
        add_words(&worker, (const char *const[]){"--trust-keys", cluster->trusted_keys,
                                                 is_listed ? NULL : "--allow-any", NULL});
    }
    const struct watch watch = {.name = "worker",
                                .pid_file = worker.pid_file,
                                .log = worker_log,
                                .heard = log_size(worker_log),
                                .ask = is_known};
    status = ensure(&worker, err);
    return status == SHOAL_OK && begun ? wait_until_begun(cluster, &watch, err) : status;
}

/* ---- stopping */

enum { DAEMONS_MAX = 256 };

static const struct dirent *next_entry(DIR *folder, int *ret_error) {
    errno = 0;
    const struct dirent *entry = readdir(folder);
    *ret_error = entry == NULL ? errno : 0;
    return entry;
}

/* The pid files of all workers and the broker that run. Who cannot look must not think
 * that there are none. */
static enum shoal_status list_others(char names[][SHOAL_NAME_MAX + 16], size_t *ret_n,
                                     struct shoal_error *err) {
    char path[PATH_ROOM];
    size_t n = 0;
    enum shoal_status status = shoal_state_of_user(path, sizeof(path), err);
    if (status != SHOAL_OK)
        return status;
    DIR *folder = opendir(path);
    const struct dirent *entry;
    int error = folder == NULL && errno != ENOENT ? errno : 0;
    while (folder != NULL && n < DAEMONS_MAX &&
           (entry = next_entry(folder, &error)) != NULL) {
        size_t len = strlen(entry->d_name);
        bool ours = strncmp(entry->d_name, "worker", 6) == 0 ||
                    strcmp(entry->d_name, "broker.pid") == 0;
        if (ours && len > 4 && len < SHOAL_NAME_MAX + 16 &&
            strcmp(entry->d_name + len - 4, ".pid") == 0 && holder(entry->d_name) != 0)
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

static enum shoal_status end_one(const char *pid_file, struct shoal_error *err) {
    pid_t pid;
    enum shoal_status status = find_holder(pid_file, &pid, err);
    if (status != SHOAL_OK || wait_until_gone(pid_file, STOP_MS))
        return status;
    tell(pid_file, SIGKILL);
    if (wait_until_gone(pid_file, KILLED_MS))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_LOST, "the daemon of '%s' cannot be ended",
                           pid_file);
}

/* *ret_ran: whether anything ran. */
static enum shoal_status stop_all(bool *ret_ran, struct shoal_error *err) {
    static char names[DAEMONS_MAX][SHOAL_NAME_MAX + 16];
    size_t n = 0;
    enum shoal_status status = list_others(names, &n, err);
    if (status != SHOAL_OK)
        return status;
    *ret_ran = n > 0 || holder("redis.pid") != 0;
    for (size_t i = 0; i < n; i++)
        tell(names[i], SIGTERM); /* drains */
    for (size_t i = 0; i < n; i++) {
        if (!wait_until_gone(names[i], SECOND_MS))
            tell(names[i], SIGTERM); /* stops */
    }
    for (size_t i = 0; i < n; i++) {
        enum shoal_status ended = end_one(names[i], err);
        status = status == SHOAL_OK ? ended : status;
    }
    tell("redis.pid", SIGTERM);
    enum shoal_status ended = end_one("redis.pid", err);
    status = status == SHOAL_OK ? ended : status;
    if (status == SHOAL_OK)
        shoal_invitation_end();
    return status;
}

/* ---- its namespace */

/* That of the last start. */
static enum shoal_status recall_name_space(const char *path,
                                           char name_space[SHOAL_NAME_MAX + 1],
                                           struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        strcpy(name_space, "shoal");
        return SHOAL_OK;
    }
    ssize_t len = fd < 0 ? -1 : read(fd, name_space, SHOAL_NAME_MAX);
    name_space[len < 0 ? 0 : len] = '\0';
    return shoal_name_is_valid(name_space)
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_SYSTEM,
                                 "'%.200s' does not name the local cluster's namespace; "
                                 "run 'shoal down' and remove it",
                                 path);
}

/* `asked` NULL: as it was. Daemons know one, and jobs of another would be overlooked. */
static enum shoal_status take_name_space(struct shoal_cluster *cluster,
                                         enum shoal_cluster_need need, const char *asked,
                                         bool runs, struct shoal_error *err) {
    char path[PATH_ROOM], *own = cluster->name_space;
    enum shoal_status status = shoal_state_path("namespace", path, sizeof(path), err);
    if (status == SHOAL_OK)
        status = recall_name_space(path, own, err);
    if (status != SHOAL_OK || asked == NULL || strcmp(asked, own) == 0)
        return status;
    if (runs)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "the local cluster runs with the namespace '%s' and not "
                               "with '%s'; leave that out, or run 'shoal down' first, "
                               "which gives back to the queue what runs",
                               own, asked);
    snprintf(own, sizeof(cluster->name_space), "%s", asked);
    return need == SHOAL_CLUSTER_READ ? SHOAL_OK
                                      : shoal_secret_write(path, own, strlen(own), err);
}

/* ---- starting */

/* How one gets to it. */
static enum shoal_status find_way(struct shoal_cluster *cluster, const char *path,
                                  struct shoal_invitation *ret_invitation,
                                  bool *ret_listens, struct shoal_error *err) {
    snprintf(cluster->url, sizeof(cluster->url), "unix:%s", path);
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = shoal_invitation_read(ret_invitation, &why);
    *ret_listens = status == SHOAL_OK;
    if (status == SHOAL_UNKNOWN)
        return SHOAL_OK;
    if (status != SHOAL_OK)
        return shoal_error_set(err, status, "%s", why.text);
    shoal_listen_print(&ret_invitation->listen, cluster->listens,
                       sizeof(cluster->listens));
    snprintf(cluster->url, sizeof(cluster->url), "unix://%s@%s", SHOAL_INVITATION_LOCAL,
             path);
    return shoal_state_path("listen/passwords/" SHOAL_INVITATION_LOCAL,
                            cluster->password_file, sizeof(cluster->password_file), err);
}

/* Whose jobs run here: the file is there where others could write to Redis, be it long
 * ago. */
static enum shoal_status find_trusted_keys(struct shoal_cluster *cluster,
                                           struct shoal_error *err) {
    static const char name[] = "trusted-keys";
    if (!state_exists(name))
        return SHOAL_OK;
    return shoal_state_path(name, cluster->trusted_keys, sizeof(cluster->trusted_keys),
                            err);
}

static enum shoal_status bring_up(enum shoal_cluster_need need, const char *queue,
                                  int64_t slots, struct shoal_cluster *cluster,
                                  struct shoal_error *err) {
    struct shoal_invitation invitation;
    char path[128];
    bool listens = false;
    if (need == SHOAL_CLUSTER_READ && holder("redis.pid") == 0 &&
        !state_exists("redis/appendonlydir"))
        return shoal_error_set(err, SHOAL_UNKNOWN,
                               "there is no local cluster and no Redis was given; start "
                               "one with 'shoal up', or give --redis URL");
    enum shoal_status status = socket_path(path, sizeof(path), err);
    if (status == SHOAL_OK)
        status = find_way(cluster, path, &invitation, &listens, err);
    if (status == SHOAL_OK)
        status = find_trusted_keys(cluster, err);
    if (status == SHOAL_OK)
        status = ensure_redis(cluster, path, listens ? &invitation : NULL, err);
    if (status == SHOAL_OK && need != SHOAL_CLUSTER_READ)
        status = ensure_broker(cluster, err);
    if (status == SHOAL_OK && need != SHOAL_CLUSTER_READ)
        status = ensure_worker(cluster, queue, slots, need == SHOAL_CLUSTER_UP, err);
    return status;
}

/* ---- listening */

static bool is_what_runs(const struct shoal_invitation *running,
                         const struct shoal_invitation *asked) {
    return strcmp(running->listen.asked, asked->listen.asked) == 0 &&
           (asked->listen.port <= 0 || asked->listen.port == running->listen.port);
}

/* Whether something of the cluster runs. */
static enum shoal_status look_around(bool *ret_runs, struct shoal_error *err) {
    static char names[DAEMONS_MAX][SHOAL_NAME_MAX + 16];
    size_t n = 0;
    enum shoal_status status = list_others(names, &n, err);
    *ret_runs = n > 0 || holder("redis.pid") != 0;
    return status;
}

/* Makes ready what a cluster that listens is started with. One that runs stays as it is:
 * its daemons know one way to Redis. */
static enum shoal_status begin_to_listen(struct shoal_invitation *asked,
                                         const struct shoal_invitation_key *key,
                                         bool runs, struct shoal_error *err) {
    struct shoal_invitation running;
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = shoal_invitation_read(&running, &why);
    if (runs && status == SHOAL_OK && is_what_runs(&running, asked)) {
        asked->listen = running.listen;
        return shoal_invitation_write(asked, key, err);
    }
    if (runs)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "the local cluster runs already and does not listen "
                               "there; run 'shoal down' first, which gives back to the "
                               "queue what runs, and then this again");
    if (asked->listen.port == 0)
        asked->listen.before = shoal_invitation_port_before();
    status = shoal_listen_find(&asked->listen, err);
    if (status == SHOAL_OK)
        status = shoal_invitation_prepare(asked, err);
    if (status == SHOAL_OK)
        status = shoal_invitation_write(asked, key, err);
    return status == SHOAL_OK ? shoal_invitation_begin(asked, err) : status;
}

/* ---- using it */

static enum shoal_status become_user(struct shoal_cluster *cluster,
                                     struct shoal_error *err) {
    enum shoal_status status = open_state("users", 0, &cluster->users, err);
    if (status == SHOAL_OK && flock(cluster->users, LOCK_SH | LOCK_NB) != 0)
        return shoal_error_set(err, SHOAL_LOST, "cannot use the local cluster: %s",
                               strerror(errno));
    return status;
}

/* `invitation` NULL: as it is, or without listening. */
static enum shoal_status use(enum shoal_cluster_need need, const char *name_space,
                             const char *queue, int64_t slots,
                             struct shoal_invitation *invitation,
                             const struct shoal_invitation_key *key,
                             struct shoal_cluster **ret_cluster,
                             struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int lock = -1;
    struct shoal_cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a cluster");
    cluster->users = cluster->lock = -1;
    enum shoal_status status = take_lock(true, &lock, err);
    if (status == SHOAL_OK)
        status = become_user(cluster, err);
    bool ran = true;
    if (status == SHOAL_OK)
        status = look_around(&ran, err);
    if (status == SHOAL_OK && !ran)
        shoal_invitation_end();
    if (status == SHOAL_OK)
        status = take_name_space(cluster, need, name_space, ran, err);
    if (status == SHOAL_OK && invitation != NULL) {
        strcpy(invitation->name_space, cluster->name_space);
        status = begin_to_listen(invitation, key, ran, err);
    }
    if (status == SHOAL_OK)
        status = bring_up(need, queue, slots, cluster, err);
    if (status != SHOAL_OK) {
        if (!ran && stop_all(&ran, NULL) != SHOAL_OK) /* what was started here */
            ran = true; /* its log tells; the next command finds it */
        shoal_cleanup_fd(&lock);
        lock = -1;
        shoal_cluster_leave(cluster, false);
        return status;
    }
    *ret_cluster = cluster;
    return SHOAL_OK;
}

enum shoal_status shoal_cluster_use(enum shoal_cluster_need need, const char *name_space,
                                    const char *queue, int64_t slots,
                                    struct shoal_cluster **ret_cluster,
                                    struct shoal_error *err) {
    return use(need, name_space, queue, slots, NULL, NULL, ret_cluster, err);
}

enum shoal_status shoal_cluster_listen(struct shoal_invitation *invitation,
                                       const struct shoal_invitation_key *key,
                                       const char *name_space, const char *queue,
                                       int64_t slots, struct shoal_cluster **ret_cluster,
                                       struct shoal_error *err) {
    return use(SHOAL_CLUSTER_UP, name_space, queue, slots, invitation, key, ret_cluster,
               err);
}

const char *shoal_cluster_url(const struct shoal_cluster *cluster) {
    return cluster->url;
}

const char *shoal_cluster_name_space(const struct shoal_cluster *cluster) {
    return cluster->name_space;
}

const char *shoal_cluster_password_file(const struct shoal_cluster *cluster) {
    return *cluster->password_file == '\0' ? NULL : cluster->password_file;
}

const char *shoal_cluster_listens(const struct shoal_cluster *cluster) {
    return *cluster->listens == '\0' ? NULL : cluster->listens;
}

const char *shoal_cluster_trusted_keys(const struct shoal_cluster *cluster) {
    return *cluster->trusted_keys == '\0' ? NULL : cluster->trusted_keys;
}

bool shoal_cluster_worker_ended(const struct shoal_cluster *cluster) {
    return *cluster->worker != '\0' && look_for_holder(cluster->worker) == 0;
}

/* Trying for the exclusive lock may lose the shared one, which is taken back. */
static bool is_alone(struct shoal_cluster *cluster) {
    if (flock(cluster->users, LOCK_EX | LOCK_NB) == 0)
        return true;
    flock(cluster->users, LOCK_SH | LOCK_NB);
    return false;
}

/* Keeps `lock` when it says yes, so that nobody comes before leave(). */
bool shoal_cluster_is_last(struct shoal_cluster *cluster) {
    if (cluster->lock < 0 && take_lock(false, &cluster->lock, NULL) != SHOAL_OK)
        return false;
    if (!state_exists("keep") && is_alone(cluster))
        return true;
    shoal_cleanup_fd(&cluster->lock);
    cluster->lock = -1;
    return false;
}

void shoal_cluster_leave(struct shoal_cluster *cluster, bool stop) {
    bool ran = false;
    if (cluster == NULL)
        return;
    if (stop && shoal_cluster_is_last(cluster) && stop_all(&ran, NULL) != SHOAL_OK)
        ran = false; /* its log tells; the next command tries again */
    shoal_cleanup_fd(&cluster->users);
    shoal_cleanup_fd(&cluster->lock);
    free(cluster);
}

enum shoal_status shoal_cluster_keep(struct shoal_cluster *cluster,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    (void)cluster;
    return open_state("keep", 0, &fd, err);
}

enum shoal_status shoal_cluster_down(bool *ret_ran, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int lock = -1;
    char keep[PATH_ROOM];
    enum shoal_status status = take_lock(false, &lock, err);
    if (status == SHOAL_OK)
        status = shoal_state_path("keep", keep, sizeof(keep), err);
    if (status != SHOAL_OK)
        return status;
    if (unlink(keep) != 0 && errno != ENOENT)
        return shoal_error_set(err, SHOAL_LOST, "cannot remove '%.200s': %s", keep,
                               strerror(errno));
    return stop_all(ret_ran, err);
}
