#include "worker/status.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ASKERS_MAX = 8, ANSWER_MS = 2000 };

struct shoal_status_socket {
    const struct shoal_worker *worker;
    int directory;
    char name[SHOAL_NAME_MAX + 32];
    int64_t since_ms;
    struct evconnlistener *listener;
    struct bufferevent *askers[ASKERS_MAX];
};

/* ---- the directory */

static void name_directory(char *path, size_t room) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime != NULL && *runtime == '/')
        snprintf(path, room, "%s/shoal", runtime);
    else if (geteuid() == 0)
        snprintf(path, room, "/run/shoal");
    else
        snprintf(path, room, "/tmp/shoal-%lu", (unsigned long)geteuid());
}

enum shoal_status shoal_status_directory(bool make, int *ret_fd,
                                         struct shoal_error *err) {
    char path[4096];
    struct stat status;
    name_directory(path, sizeof(path));
    if (make)
        mkdir(path, 0700);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return shoal_error_set(err, errno == ENOENT ? SHOAL_UNKNOWN : SHOAL_SYSTEM,
                               "cannot open '%.200s': %s", path, strerror(errno));
    bool is_ours = fstat(fd, &status) == 0 &&
                   (status.st_uid == geteuid() || (!make && geteuid() == 0));
    if (!is_ours || (status.st_mode & 077) != 0) {
        close(fd);
        return shoal_error_set(err, SHOAL_DENIED,
                               "'%.200s' must be this user's own, with mode 0700", path);
    }
    *ret_fd = fd;
    return SHOAL_OK;
}

/* ---- what it says */

/* Paths and what others said may be no UTF-8. */
static json_t *any_text(const char *text) {
    json_t *json = json_string(text);
    return json == NULL ? json_string("(no UTF-8)") : json;
}

static json_t *describe_trouble(const struct shoal_trouble *trouble, const char *url,
                                const char *state) {
    return json_pack("{s:o, s:s, s:I, s:o}", "url", any_text(url), "state", state,
                     "since", (json_int_t)trouble->since_ms, "why",
                     any_text(trouble->why));
}

static json_t *describe_redis(const struct shoal_worker *worker) {
    const struct shoal_trouble *trouble = &worker->link.trouble;
    const struct shoal_trouble *flaps = &worker->link.flaps;
    char url[640];
    shoal_redis_address_print(&worker->config->address, url, sizeof(url));
    const struct shoal_redis *redis = worker->link.redis;
    bool refuses = shoal_redis_is_up(redis) || shoal_redis_is_refused(redis);
    if (flaps->since_ms != 0)
        return describe_trouble(flaps, url, "flaps");
    if (trouble->since_ms != 0)
        return describe_trouble(trouble, url, refuses ? "refuses" : "away");
    const char *state = !worker->link.registered    ? "connecting"
                        : worker->link.full_ms != 0 ? "full"
                                                    : "up";
    json_t *json = json_pack("{s:o, s:s, s:I}", "url", any_text(url), "state", state,
                             "silent_ms", (json_int_t)shoal_link_silent_ms(worker));
    if (worker->link.registered && worker->link.full_ms != 0)
        json_object_set_new(json, "since", json_integer(worker->link.full_ms));
    return json;
}

static json_t *describe_slot(const struct shoal_slot *slot) {
    const struct shoal_held *held = shoal_slot_running(slot);
    size_t batch = 0;
    if (held == NULL || slot->runner == NULL)
        return json_pack("{s:i}", "slot", slot->number);
    json_int_t task = slot->runner->kind->index(slot->runner, &batch);
    json_int_t since = shoal_wall_ms() - shoal_now_ms() + slot->started_ms;
    return json_pack("{s:i, s:s, s:I, s:I, s:I}", "slot", slot->number, "job",
                     held->lease.job, "task", task, "attempt",
                     (json_int_t)held->lease.attempt, "since", since);
}

static json_t *describe_slots(const struct shoal_worker *worker) {
    json_t *slots = json_array();
    for (int64_t i = 0; i < worker->config->slots; i++)
        json_array_append_new(slots, describe_slot(&worker->slots[i]));
    return slots;
}

static json_t *describe_outcomes(const struct shoal_worker *worker) {
    struct shoal_outbox_sum sum = shoal_outbox_sum(&worker->outbox);
    struct shoal_error why = {.status = SHOAL_OK};
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:o}", "commits", (json_int_t)sum.commits, "memory",
                  (json_int_t)sum.memory, "spool", (json_int_t)sum.spool, "directory",
                  any_text(worker->config->spool));
    if (shoal_spools_look(&worker->outbox.spools, &why) != SHOAL_OK)
        json_object_set_new(json, "trouble", any_text(why.text));
    return json;
}

static char *describe(const struct shoal_status_socket *status) {
    static const char *const phases[] = {
        [SHOAL_WORKER_WORKS] = "works",
        [SHOAL_WORKER_DRAINS] = "drains",
        [SHOAL_WORKER_STOPS] = "stops",
    };
    const struct shoal_worker *worker = status->worker;
    json_t *all =
        json_pack("{s:s, s:i, s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "name",
                  worker->config->name, "pid", (int)getpid(), "version", SHOAL_VERSION,
                  "session", worker->config->session, "since",
                  (json_int_t)status->since_ms, "phase", phases[worker->phase], "queues",
                  worker->config->queues_text, "redis", describe_redis(worker), "slots",
                  describe_slots(worker), "outcomes", describe_outcomes(worker));
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return text;
}

/* ---- who asks */

static void forget(struct shoal_status_socket *status, struct bufferevent *asker) {
    for (int i = 0; i < ASKERS_MAX; i++) {
        if (status->askers[i] == asker)
            status->askers[i] = NULL;
    }
    bufferevent_free(asker);
}

static void told(struct bufferevent *asker, void *owner) {
    forget(owner, asker);
}

static void lost(struct bufferevent *asker, short what, void *owner) {
    (void)what;
    forget(owner, asker);
}

static struct bufferevent **find_room(struct shoal_status_socket *status) {
    for (int i = 0; i < ASKERS_MAX; i++) {
        if (status->askers[i] == NULL)
            return &status->askers[i];
    }
    return NULL;
}

static void answer(struct evconnlistener *listener, evutil_socket_t fd,
                   struct sockaddr *from, int len, void *owner) {
    struct shoal_status_socket *status = owner;
    struct bufferevent **room = find_room(status);
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = room == NULL ? NULL : describe(status);
    (void)from;
    (void)len;
    if (text == NULL) {
        close(fd);
        return;
    }
    struct bufferevent *asker = bufferevent_socket_new(evconnlistener_get_base(listener),
                                                       fd, BEV_OPT_CLOSE_ON_FREE);
    if (asker == NULL) {
        close(fd);
        return;
    }
    *room = asker;
    bufferevent_setcb(asker, NULL, told, lost, status);
    bufferevent_set_timeouts(asker, NULL, &(struct timeval){.tv_sec = ANSWER_MS / 1000});
    bufferevent_write(asker, text, strlen(text));
}

/* ---- listening */

/* By the descriptor of the directory, since a socket's path may not be long. */
static int bind_socket(const struct shoal_status_socket *status) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path),
                         "/proc/self/fd/%d/%s", status->directory,
                         status->name) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    unlinkat(status->directory, status->name, 0); /* of a dead one that had our pid */
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        fchmodat(status->directory, status->name, 0600, 0) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static bool begin(struct shoal_status_socket *status, struct shoal_error *err) {
    if (shoal_status_directory(true, &status->directory, err) != SHOAL_OK)
        return false;
    int fd = bind_socket(status);
    if (fd >= 0)
        status->listener = evconnlistener_new(
            status->worker->base, answer, status,
            LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, ASKERS_MAX, fd);
    if (status->listener != NULL)
        return true;
    shoal_error_set(err, SHOAL_SYSTEM, "cannot listen: %s", strerror(errno));
    shoal_cleanup_fd(&fd);
    return false;
}

struct shoal_status_socket *shoal_status_listen(const struct shoal_worker *worker) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_status_socket *status = calloc(1, sizeof(*status));
    if (status == NULL)
        return NULL;
    status->worker = worker;
    status->directory = -1;
    status->since_ms = shoal_wall_ms();
    snprintf(status->name, sizeof(status->name), "%s.%d.sock", worker->config->name,
             (int)getpid());
    if (begin(status, &err))
        return status;
    shoal_warn("'shoal-worker --status' will not find this worker: %s", err.text);
    shoal_status_close(status);
    return NULL;
}

void shoal_status_close(struct shoal_status_socket *status) {
    if (status == NULL)
        return;
    for (int i = 0; i < ASKERS_MAX; i++) {
        if (status->askers[i] != NULL)
            bufferevent_free(status->askers[i]);
    }
    if (status->listener != NULL) {
        evconnlistener_free(status->listener);
        unlinkat(status->directory, status->name, 0);
    }
    shoal_cleanup_fd(&status->directory);
    free(status);
}
