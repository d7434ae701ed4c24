/* The Redis that a command talks to. */
#include "client/cli.h"

#include "client/interrupt.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TIMEOUT_MS = 10000 };

static void say_why_it_waits(const char *why) {
    shoal_cli_say("shoal: waiting up to %d s: %s", TIMEOUT_MS / 1000, why);
}

static enum shoal_status open_client(const char *url, const char *name_space,
                                     const char *password_file,
                                     const struct shoal_tls_files *tls, bool check,
                                     struct shoal_use *use, struct shoal_error *err) {
    struct shoal_redis_address address;
    enum shoal_status status =
        shoal_redis_address_parse(url, password_file, &address, err);
    if (status != SHOAL_OK)
        return status;
    status = shoal_redis_address_secure(&address, tls, err);
    if (status == SHOAL_OK)
        status =
            shoal_client_open(&address, name_space, TIMEOUT_MS, false, &use->client, err);
    shoal_redis_address_finish(&address);
    if (status != SHOAL_OK || !check)
        return status;
    status = shoal_client_check(use->client, say_why_it_waits, err);
    if (status != SHOAL_OK) {
        shoal_client_destroy(use->client);
        use->client = NULL;
    }
    return status;
}

void shoal_use_note_slots(const struct shoal_cluster *cluster, int64_t asked) {
    int64_t kept = shoal_cluster_kept_slots(cluster);
    if (kept > 0)
        shoal_cli_say("shoal: the local worker runs already, and goes on with %" PRId64
                      " slot%s; to have %" PRId64 ", run 'shoal down' first, which gives "
                      "back to the queue what runs",
                      kept, shoal_plural(kept), asked);
}

/* What a use has done with the local cluster, or not, that one might not expect. */
static void tell_of_worker(const struct shoal_cluster *cluster, const char *queue,
                           int64_t slots) {
    shoal_use_note_slots(cluster, slots);
    if (shoal_cluster_added_worker(cluster))
        shoal_cli_say("shoal: started a worker for the queue '%s', which the local "
                      "cluster did not serve; it stays as long as that does ('shoal "
                      "down' stops all)",
                      queue == NULL ? "default" : queue);
}

static enum shoal_status begin(enum shoal_cluster_need need, const char *queue,
                               int64_t slots, bool check, struct shoal_use *use,
                               struct shoal_error *err) {
    static const struct shoal_tls_files none = {.ca = NULL};
    const char *name_space = shoal_cli.name_space_given ? shoal_cli.name_space : NULL;
    *use = (struct shoal_use){.client = NULL};
    if (shoal_cli.redis_given)
        return open_client(shoal_cli.redis, shoal_cli.name_space, shoal_cli.password_file,
                           &shoal_cli.tls, check, use, err);
    if (need == SHOAL_CLUSTER_WORK)
        shoal_interrupts_begin(); /* what is started now must be stopped by somebody */
    enum shoal_status status =
        shoal_cluster_use(need, name_space, queue, slots, &use->cluster, err);
    if (status == SHOAL_OK)
        tell_of_worker(use->cluster, queue, slots);
    if (status == SHOAL_OK)
        status = open_client(
            shoal_cluster_url(use->cluster), shoal_cluster_name_space(use->cluster),
            shoal_cluster_password_file(use->cluster), &none, check, use, err);
    if (status != SHOAL_OK)
        shoal_use_end(use);
    return status;
}

enum shoal_status shoal_use_begin(enum shoal_cluster_need need, const char *queue,
                                  int64_t slots, struct shoal_use *use,
                                  struct shoal_error *err) {
    return begin(need, queue, slots, true, use, err);
}

enum shoal_status shoal_use_look(struct shoal_use *use, struct shoal_error *err) {
    return begin(SHOAL_CLUSTER_READ, NULL, 0, false, use, err);
}

/* Whether one of the newest jobs has not ended. */
static bool jobs_are_left(struct shoal_use *use) {
    enum { PAGE = 500 };
    for (size_t from = 0; from < SHOAL_LOOK_MOST; from += PAGE) {
        SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_job *jobs = NULL;
        size_t n = 0;
        if (shoal_queue_list(&use->client->queue, from, PAGE, &jobs, &n, NULL) !=
            SHOAL_OK)
            return true; /* rather leave it running */
        for (size_t i = 0; i < n; i++) {
            if (!shoal_job_state_is_final(jobs[i].state))
                return true;
        }
        if (n == 0)
            break;
    }
    return false;
}

void shoal_use_end(struct shoal_use *use) {
    bool stop = use->cluster != NULL && shoal_cluster_is_last(use->cluster) &&
                (use->client == NULL || !jobs_are_left(use));
    shoal_client_destroy(use->client);
    shoal_cluster_leave(use->cluster, stop);
    *use = (struct shoal_use){.client = NULL};
}

enum shoal_status shoal_use_find(struct shoal_use *use, const char *word, char *ret_id,
                                 struct shoal_error *err) {
    if (strcmp(word, "-") == 0)
        return shoal_state_last_job(ret_id, err);
    return shoal_find(use->client, word, ret_id, err);
}

static bool jobs_know(struct shoal_use *use, const char *queue) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_queue_info *queues = NULL;
    size_t n = 0;
    if (shoal_queue_queues(&use->client->queue, &queues, &n, NULL) != SHOAL_OK)
        return true; /* who knows */
    for (size_t i = 0; i < n; i++) {
        if (strcmp(queues[i].name, queue) == 0)
            return queues[i].jobs > 0;
    }
    return false;
}

static bool workers_know(struct shoal_use *use, const char *queue) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_worker_info *workers = NULL;
    size_t n = 0;
    if (shoal_queue_workers(&use->client->queue, &workers, &n, NULL) != SHOAL_OK)
        return true;
    for (size_t i = 0; i < n; i++) {
        if (shoal_name_is_in(workers[i].queues, queue))
            return true;
    }
    return false;
}

void shoal_use_note_queue(struct shoal_use *use, const char *queue) {
    if (!jobs_know(use, queue) && !workers_know(use, queue))
        shoal_cli_say("shoal: no job and no worker knows the queue '%s' yet", queue);
}

int shoal_cli_each_job(int n, char **words,
                       enum shoal_status (*each)(struct shoal_use *use, const char *id,
                                                 struct shoal_error *err)) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    for (int i = 0; i < n && status == SHOAL_OK; i++) {
        char id[SHOAL_ID_LEN + 1];
        status = shoal_use_find(&use, words[i], id, &err);
        if (status == SHOAL_OK)
            status = each(&use, id, &err);
    }
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}
