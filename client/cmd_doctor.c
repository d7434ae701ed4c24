/* Looks whether this Redis is a good home for a queue, and says what to do where it is
 * not. */
#include "client/checkup.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PINGS = 101, SLOW_US = 5000, SKEW_MS = 5000 };

static const char *const verdicts[] = {"ok", "warn", "bad"};

static bool load;

static const struct shoal_option options[] = {
    {.name = "load",
     .type = SHOAL_OPTION_FLAG,
     .value = &load,
     .help = "first give Redis the functions of this version, which not every user may"},
    {.name = NULL},
};

static void tell_json(struct shoal_checkup *checkup, const char *verdict,
                      const char *what, const char *text) {
    shoal_list_row(&checkup->row);
    if (shoal_row_add_text(&checkup->row, "check", what, NULL) == SHOAL_OK &&
        shoal_row_add_text(&checkup->row, "verdict", verdict, NULL) == SHOAL_OK &&
        shoal_row_add_text(&checkup->row, "text", text, NULL) == SHOAL_OK)
        shoal_print_json(&checkup->row);
}

void shoal_checkup_tell(struct shoal_checkup *checkup, enum shoal_verdict verdict,
                        const char *what, const char *format, ...) {
    char text[640];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    checkup->counts[verdict]++;
    if (shoal_cli.json)
        tell_json(checkup, verdicts[verdict], what, text);
    else
        printf("%-5s %-12s %s\n", verdicts[verdict], what, text);
}

static void check_version(struct shoal_checkup *checkup) {
    bool good = strtol(checkup->server.version, NULL, 10) >= 7;
    shoal_checkup_tell(checkup, good ? SHOAL_GOOD : SHOAL_BAD, "version", "Redis %s%s",
                       checkup->server.version, good ? "" : "; shoal needs 7.0 or later");
}

static void check_policy(struct shoal_checkup *checkup) {
    const char *policy = checkup->server.policy;
    if (strcmp(policy, "noeviction") == 0)
        shoal_checkup_tell(checkup, SHOAL_GOOD, "eviction", "noeviction");
    else
        shoal_checkup_tell(
            checkup, SHOAL_BAD, "eviction",
            "maxmemory-policy is '%s', jobs would vanish when memory is full; "
            "redis-cli config set maxmemory-policy noeviction",
            policy);
}

static void check_role(struct shoal_checkup *checkup) {
    bool replica = strcmp(checkup->server.role, "slave") == 0;
    shoal_checkup_tell(checkup, replica ? SHOAL_BAD : SHOAL_GOOD, "role",
                       replica ? "a read-only replica; use the address of its primary"
                               : "primary");
}

static void check_persistence(struct shoal_checkup *checkup) {
    if (checkup->server.aof != 1)
        shoal_checkup_tell(
            checkup, SHOAL_WARNING, "persistence",
            "no append-only file: jobs and results are lost when Redis ends; "
            "redis-cli config set appendonly yes");
    else if (checkup->server.aof_ok != 1)
        shoal_checkup_tell(
            checkup, SHOAL_BAD, "persistence",
            "the last write of the append-only file failed; is its disk full?");
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "persistence", "append-only file");
}

static void check_memory(struct shoal_checkup *checkup) {
    double used = (double)checkup->server.used_memory / (1 << 20);
    double most = (double)checkup->server.max_memory / (1 << 20);
    if (checkup->server.max_memory <= 0)
        shoal_checkup_tell(
            checkup, SHOAL_WARNING, "memory",
            "%.1f MB used, no maxmemory: a full queue could take the whole host; "
            "redis-cli config set maxmemory 2gb",
            used);
    else if (used > 0.9 * most)
        shoal_checkup_tell(
            checkup, SHOAL_BAD, "memory",
            "%.1f of %.1f MB used: nothing is handed out above 90 %%; take or forget "
            "results, or raise maxmemory",
            used, most);
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "memory", "%.1f of %.1f MB used", used,
                           most);
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static enum shoal_status check_latency(struct shoal_checkup *checkup,
                                       struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    int64_t took[PINGS];
    shoal_request_init(&request);
    shoal_request_text(&request, "PING");
    for (int i = 0; i < PINGS; i++) {
        SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
        int64_t began = shoal_now_us();
        enum shoal_status status =
            shoal_redis_run(checkup->use->client->redis, &request, 0, &reply, err);
        if (status != SHOAL_OK)
            return status;
        took[i] = shoal_now_us() - began;
    }
    qsort(took, PINGS, sizeof(*took), by_value);
    int64_t median = took[PINGS / 2];
    shoal_checkup_tell(
        checkup, median > SLOW_US ? SHOAL_WARNING : SHOAL_GOOD, "latency",
        "%" PRId64 " µs there and back (median of %d), %" PRId64 " µs at most%s", median,
        PINGS, took[PINGS - 1],
        median > SLOW_US ? "; small tasks will wait for the network, put Redis nearer"
                         : "");
    return SHOAL_OK;
}

static enum shoal_status check_clock(struct shoal_checkup *checkup,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    int64_t seconds = 0;
    shoal_request_init(&request);
    shoal_request_text(&request, "TIME");
    enum shoal_status status =
        shoal_redis_run(checkup->use->client->redis, &request, 0, &reply, err);
    if (status != SHOAL_OK || !shoal_reply_int(shoal_reply_at(reply, 0), &seconds))
        return status;
    int64_t skew = shoal_wall_ms() - seconds * 1000;
    bool far = skew > SKEW_MS || skew < -SKEW_MS;
    shoal_checkup_tell(checkup, far ? SHOAL_WARNING : SHOAL_GOOD, "clock",
                       "this host is %" PRId64 " s from Redis's%s", skew / 1000,
                       far ? "; --delay will start jobs at odd times, set the clocks"
                           : "");
    return SHOAL_OK;
}

static enum shoal_status check_fleet(struct shoal_checkup *checkup,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_worker_info *workers = NULL;
    size_t n = 0;
    struct shoal_store_info store;
    struct shoal_queue *queue = &checkup->use->client->queue;
    int may = 0;
    enum shoal_status status = shoal_checkup_may(
        checkup, (const char *const[]){"HGETALL", "@", NULL}, &may, err);
    if (status == SHOAL_OK && may == 0) {
        shoal_checkup_tell(checkup, SHOAL_GOOD, "workers",
                           "not looked at: of the users that 'shoal acl' makes, read and "
                           "submit may");
        return SHOAL_OK;
    }
    if (status == SHOAL_OK)
        status = shoal_queue_workers(queue, &workers, &n, err);
    if (status == SHOAL_OK)
        status = shoal_queue_store(queue, &store, err);
    if (status != SHOAL_OK)
        return status;
    size_t lost = 0;
    for (size_t i = 0; i < n; i++)
        lost += workers[i].lost;
    if (n == 0)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "workers",
                           "none: jobs wait; start shoal-worker somewhere");
    else if (lost > 0)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "workers",
                           "%zu of %zu are lost and nobody keeps house; their tasks go "
                           "back when a shoal-broker or shoal-worker is started",
                           lost, n);
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "workers", "%zu with %" PRId64 " slot%s",
                           n, store.slots, shoal_plural(store.slots));
    if (store.rollbacks > 0)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "rollbacks",
                           "Redis lost its last moments %" PRId64 " time%s (%" PRId64
                           " commit%s); appendfsync always loses none, at a price",
                           store.rollbacks, shoal_plural(store.rollbacks),
                           store.commits_lost, shoal_plural(store.commits_lost));
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "rollbacks", "none found");
    return SHOAL_OK;
}

/* What INFO tells. */
static enum shoal_status check_server(struct shoal_checkup *checkup,
                                      struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status =
        shoal_server_ask(checkup->use->client->redis, 0, &checkup->server, &why);
    if (status == SHOAL_DENIED && strstr(why.text, "'info'") != NULL) {
        shoal_checkup_tell(checkup, SHOAL_WARNING, "server",
                           "cannot tell whether it is fit for a queue, since this user "
                           "may not call INFO; 'shoal acl' makes users that may");
        return SHOAL_OK;
    }
    if (status != SHOAL_OK)
        return shoal_error_set(err, status, "%s", why.text);
    check_version(checkup);
    check_policy(checkup);
    check_role(checkup);
    check_persistence(checkup);
    check_memory(checkup);
    return SHOAL_OK;
}

static enum shoal_status check_all(struct shoal_checkup *checkup,
                                   struct shoal_error *err) {
    enum shoal_status status = check_server(checkup, err);
    if (status == SHOAL_OK)
        status = check_latency(checkup, err);
    if (status == SHOAL_OK)
        status = check_clock(checkup, err);
    if (status == SHOAL_OK)
        status = shoal_checkup_access(checkup, err);
    return status == SHOAL_OK ? check_fleet(checkup, err) : status;
}

static int doctor(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_checkup checkup = {.use = &use, .server.port = -1};
    (void)n;
    (void)words;
    shoal_row_init(&checkup.row);
    enum shoal_status status = shoal_use_look(&use, &err);
    if (status == SHOAL_OK && load)
        status = shoal_checkup_load(&checkup, &err);
    if (status == SHOAL_OK)
        status = check_all(&checkup, &err);
    shoal_row_finish(&checkup.row);
    if (status != SHOAL_OK)
        return shoal_cli_fail(&err);
    return checkup.counts[SHOAL_BAD] > 0 ? SHOAL_EXIT_FAILED : SHOAL_EXIT_OK;
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_doctor = {
    .name = "doctor",
    .usage = "[--load]",
    .summary = "check Redis and the fleet, with advice",
    .details = "Exit status 1 when something is bad.",
    .tables = tables,
    .reads = true,
    .run = doctor,
};
