/* What the local cluster consists of, how one gets to it, and who uses it. Everything is
 * started and stopped, and `users` is taken, under `lock`. */
#include "client/local_cluster.h"

#include "client/client_private.h"
#include "client/invitation.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/redis.h"
#include "common/secret.h"
#include "common/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    PATH_ROOM = 4096,
    SOCKET_ROOM = sizeof(((struct sockaddr_un *)0)->sun_path),
    ANSWER_MS = 1000,
};

static const int64_t MEMORY_MOST = INT64_C(2) << 30;

struct shoal_cluster {
    int users; /* holds `users`, shared */
    int lock;  /* holds `lock` from is_last() to leave(); else -1 */
    char url[160];
    char password_file[PATH_ROOM];        /* "": none is needed */
    char listens[SHOAL_LISTEN_HOST + 16]; /* "HOST:PORT"; "": it does not */
    char name_space[SHOAL_NAME_MAX + 1];
    char trusted_keys[PATH_ROOM];   /* "": nobody else could ever write to it */
    char worker[SHOAL_LOCAL_NAME];  /* the pid file of the one that works for us */
    struct shoal_local_watch watch; /* of it */
    pid_t started;                  /* its keeper, if that was started by us; else 0 */
    int64_t kept_slots; /* of one that ran, if others were asked for; else 0 */
    bool has_others;    /* other workers ran before */
};

/* ---- the job submitted last */

enum shoal_status shoal_state_last_job(char *ret_id, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    char id[SHOAL_ID_LEN + 1] = "";
    enum shoal_status status = shoal_state_open("last", 0, &fd, err);
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

/* ---- waiting until they have begun */

static const char redis_log[] = "redis.log", worker_log[] = "worker.log";

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
                                          const struct shoal_local_watch *watch,
                                          struct shoal_error *err) {
    SHOAL_CLEANUP(destroy_client) struct shoal_client *client = NULL;
    enum shoal_status status = make_client(cluster, &client, err);
    return status == SHOAL_OK ? shoal_local_wait(client, watch, err) : status;
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

/* By TLS alone, and to who has a certificate of ours. */
static enum shoal_status listen_with(struct shoal_local_daemon *redis,
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
        shoal_local_add(redis, (const char *const[]){options[i], paths[i], NULL});
    }
    snprintf(port, sizeof(port), "%d", listen->port);
    shoal_local_add(redis, (const char *const[]){"--tls-auth-clients", "yes",
                                                 "--tls-port", port, "--bind", NULL});
    for (size_t i = 0; i < listen->n; i++)
        shoal_local_add(redis, (const char *const[]){listen->binds[i], NULL});
    return status;
}

static enum shoal_status start_redis(const char *path,
                                     const struct shoal_invitation *invitation,
                                     struct shoal_error *err) {
    char folder[PATH_ROOM], memory[24];
    enum shoal_status status = shoal_state_path("redis", folder, sizeof(folder), err);
    if (status == SHOAL_OK)
        status = shoal_state_make(folder, err);
    if (status != SHOAL_OK)
        return status;
    snprintf(memory, sizeof(memory), "%" PRId64, memory_limit());
    struct shoal_local_daemon redis = {
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
    return status == SHOAL_OK ? shoal_local_start(&redis, err) : status;
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
    const struct shoal_local_watch watch = {.name = "redis-server",
                                            .pid_file = "redis.pid",
                                            .log = redis_log,
                                            .heard = shoal_local_log_size(redis_log),
                                            .ask = answers};
    pid_t pid;
    enum shoal_status status = shoal_local_find(watch.pid_file, &pid, err);
    if (status == SHOAL_OK && pid == 0)
        status = start_redis(path, invitation, err);
    return status == SHOAL_OK ? wait_until_begun(cluster, &watch, err) : status;
}

/* ---- broker and worker */

/* What a daemon of a cluster that listens is told besides. */
static void add_way(struct shoal_local_daemon *daemon,
                    const struct shoal_cluster *cluster) {
    if (*cluster->listens != '\0')
        shoal_local_add(daemon, (const char *const[]){"--redis-password-file",
                                                      cluster->password_file, NULL});
}

static enum shoal_status ensure_broker(const struct shoal_cluster *cluster,
                                       struct shoal_error *err) {
    struct shoal_local_daemon broker = {
        .pid_file = "broker.pid",
        .log = "broker.log",
        .argv = {"shoal-broker", "--redis", cluster->url, "--namespace",
                 cluster->name_space},
    };
    add_way(&broker, cluster);
    return shoal_local_ensure(&broker, err);
}

static bool is_child_of(pid_t pid, pid_t parent) {
    char path[64];
    int is = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "re");
    return file != NULL && fscanf(file, "%*d (%*[^)]) %*c %d", &is) == 1 && is == parent;
}

/* The slots of the worker whose keeper has the pid file. SHOAL_LOST: Redis does not know
 * it. */
static enum shoal_status find_slots(struct shoal_client *client, pid_t keeper,
                                    int64_t *ret_slots, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_worker_info *workers = NULL;
    size_t n = 0;
    enum shoal_status status = shoal_queue_workers(&client->queue, &workers, &n, err);
    for (size_t i = 0; i < n; i++) {
        if (is_child_of((pid_t)workers[i].pid, keeper)) {
            *ret_slots = workers[i].slots;
            return SHOAL_OK;
        }
    }
    return status == SHOAL_OK ? shoal_error_set(err, SHOAL_LOST,
                                                "it has not told Redis that it is there")
                              : status;
}

static enum shoal_status is_known(struct shoal_client *client, pid_t keeper,
                                  struct shoal_error *err) {
    int64_t slots;
    return find_slots(client, keeper, &slots, err);
}

/* A worker that runs stays as it is. One that Redis does not know yet, or no more, is
 * nothing to tell of. */
static void note_kept_slots(struct shoal_cluster *cluster, int64_t asked) {
    SHOAL_CLEANUP(destroy_client) struct shoal_client *client = NULL;
    int64_t slots = 0;
    pid_t keeper;
    if (shoal_local_find(cluster->worker, &keeper, NULL) == SHOAL_OK && keeper != 0 &&
        make_client(cluster, &client, NULL) == SHOAL_OK &&
        find_slots(client, keeper, &slots, NULL) == SHOAL_OK && slots != asked)
        cluster->kept_slots = slots;
}

/* A folder of its worker: the one that the variable names, as for any worker, or `name`
 * in the state directory. */
static enum shoal_status find_place(const char *variable, const char *name,
                                    char path[PATH_ROOM], struct shoal_error *err) {
    const char *own = getenv(variable);
    if (own == NULL || *own == '\0')
        return shoal_state_path(name, path, PATH_ROOM, err);
    if (*own != '/') /* daemons run in the root */
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s '%.200s' is no absolute path, which the local "
                               "cluster's worker needs",
                               variable, own);
    return (size_t)snprintf(path, PATH_ROOM, "%s", own) < PATH_ROOM
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_INVALID, "the path of %s is too long",
                                 variable);
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
    enum shoal_status status = find_place("SHOAL_SPOOL", "spool", spool, err);
    if (status == SHOAL_OK)
        status = find_place("SHOAL_CHECKPOINTS", "checkpoints", checkpoints, err);
    if (status != SHOAL_OK)
        return status;
    struct shoal_local_daemon worker = {
        .pid_file = cluster->worker,
        .log = worker_log,
        .argv = {"shoal-worker", "--redis", cluster->url, "--namespace",
                 cluster->name_space, "--queue", queue, "--slots", number, "--spool",
                 spool, "--checkpoints", checkpoints},
    };
    add_way(&worker, cluster);
    if (*cluster->trusted_keys != '\0') {
        bool is_listed = getenv("SHOAL_ALLOW") != NULL; /* which the worker reads */
        shoal_local_add(&worker,
                        (const char *const[]){"--trust-keys", cluster->trusted_keys,
                                              is_listed ? NULL : "--allow-any", NULL});
    }
    cluster->watch = (struct shoal_local_watch){.name = "worker",
                                                .pid_file = cluster->worker,
                                                .log = worker_log,
                                                .heard = shoal_local_log_size(worker_log),
                                                .ask = is_known};
    status = shoal_local_ensure(&worker, err);
    cluster->started = worker.pid;
    if (status == SHOAL_OK && begun)
        status = wait_until_begun(cluster, &cluster->watch, err);
    if (status == SHOAL_OK && cluster->started == 0 && slots > 0)
        note_kept_slots(cluster, slots);
    return status;
}

/* ---- stopping */

static enum shoal_status stop_all(struct shoal_local_end *ret_end,
                                  struct shoal_error *err) {
    enum shoal_status status = shoal_local_stop(ret_end, err);
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
    if (!shoal_state_exists(name))
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
    if (need == SHOAL_CLUSTER_READ && shoal_local_holder("redis.pid") == 0 &&
        !shoal_state_exists("redis/appendonlydir"))
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

/* Whether something of the cluster runs, and whether workers are among it. */
static enum shoal_status look_around(bool *ret_runs, bool *ret_workers,
                                     struct shoal_error *err) {
    static char names[SHOAL_LOCAL_MAX][SHOAL_LOCAL_NAME];
    size_t n = 0;
    enum shoal_status status = shoal_local_list(names, &n, err);
    *ret_runs = n > 0 || shoal_local_holder("redis.pid") != 0;
    for (size_t i = 0; i < n; i++)
        *ret_workers = *ret_workers || strncmp(names[i], "worker", 6) == 0;
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
    enum shoal_status status = shoal_state_open("users", 0, &cluster->users, err);
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
    enum shoal_status status = shoal_local_lock(true, &lock, err);
    if (status == SHOAL_OK)
        status = become_user(cluster, err);
    bool ran = true;
    if (status == SHOAL_OK)
        status = look_around(&ran, &cluster->has_others, err);
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
        struct shoal_local_end end;
        if (!ran && stop_all(&end, NULL) != SHOAL_OK) /* what was started here */
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
    return *cluster->worker != '\0' && shoal_local_holder(cluster->worker) == 0;
}

enum shoal_status shoal_cluster_check_worker(const struct shoal_cluster *cluster,
                                             struct shoal_error *err) {
    if (cluster->started == 0 || *cluster->listens != '\0' ||
        !shoal_cluster_worker_ended(cluster))
        return SHOAL_OK;
    return shoal_local_check(&cluster->watch, cluster->started, err);
}

int64_t shoal_cluster_kept_slots(const struct shoal_cluster *cluster) {
    return cluster->kept_slots;
}

bool shoal_cluster_added_worker(const struct shoal_cluster *cluster) {
    return cluster->started != 0 && cluster->has_others;
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
    if (cluster->lock < 0 && shoal_local_lock(false, &cluster->lock, NULL) != SHOAL_OK)
        return false;
    if (!shoal_state_exists("keep") && is_alone(cluster))
        return true;
    shoal_cleanup_fd(&cluster->lock);
    cluster->lock = -1;
    return false;
}

void shoal_cluster_leave(struct shoal_cluster *cluster, bool stop) {
    struct shoal_local_end end;
    if (cluster == NULL)
        return;
    if (stop && shoal_cluster_is_last(cluster) && stop_all(&end, NULL) != SHOAL_OK)
        stop = false; /* its log tells; the next command tries again */
    shoal_cleanup_fd(&cluster->users);
    shoal_cleanup_fd(&cluster->lock);
    free(cluster);
}

enum shoal_status shoal_cluster_keep(struct shoal_cluster *cluster,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    (void)cluster;
    return shoal_state_open("keep", 0, &fd, err);
}

enum shoal_status shoal_cluster_down(struct shoal_local_end *ret_end,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int lock = -1;
    char keep[PATH_ROOM];
    enum shoal_status status = shoal_local_lock(false, &lock, err);
    if (status == SHOAL_OK)
        status = shoal_state_path("keep", keep, sizeof(keep), err);
    if (status != SHOAL_OK)
        return status;
    if (unlink(keep) != 0 && errno != ENOENT)
        return shoal_error_set(err, SHOAL_LOST, "cannot remove '%.200s': %s", keep,
                               strerror(errno));
    return stop_all(ret_end, err);
}
