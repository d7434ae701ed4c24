/* shoal-broker: keeps the queue moving. Every step is one idempotent script, so several
 * may run; without any, workers' heartbeats do the same. */
#include "broker/queue.h"
#include "broker/server.h"
#include "common/cleanup.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/signals.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    TICK_LEAST_MS = 50,
    TICK_MOST_MS = 200, /* a retry or a start is at most so late */
    TROUBLE_MS = 1000,
};

static const struct shoal_option *const tables[] = {shoal_daemon_options, NULL};

static const struct shoal_daemon_text text = {
    .program = "shoal-broker",
    .help =
        "Usage: shoal-broker [OPTION]...\n"
        "Keeps the queue in Redis moving: starts what is due, takes the tasks of lost "
        "workers\n"
        "back, forgets old jobs. No job passes through it; several may run at once.\n",
    .tables = tables,
};

struct broker {
    struct event_base *base;
    struct shoal_redis *redis;
    struct shoal_queue queue;
    bool ending;
    bool checked;
    bool trouble_said;
    int exit_status;
};

static void say_trouble(struct broker *broker, const struct shoal_error *err) {
    if (!broker->trouble_said)
        shoal_warn("trying again until it works: %s", err->text);
    broker->trouble_said = true;
}

/* Whether Redis is fit for a queue; asked once. */
static enum shoal_status check(struct broker *broker, struct shoal_error *err) {
    struct shoal_server server;
    enum shoal_status status = shoal_server_ask(broker->redis, 2000, &server, err);
    if (status != SHOAL_OK)
        return status;
    status = shoal_server_check(&server, err);
    if (status == SHOAL_OK)
        status = shoal_layout_ask(broker->redis, broker->queue.prefix, 2000, err);
    if (status == SHOAL_LOST || status == SHOAL_TIMEOUT || status == SHOAL_GARBAGE)
        return status;
    if (status != SHOAL_OK) {
        shoal_err("%s", err->text);
        broker->exit_status = 3;
        broker->ending = true;
        return SHOAL_DENIED;
    }
    if (server.aof == 0)
        shoal_warn(
            "this Redis has no append-only file: what it holds is lost when it ends; "
            "set appendonly yes");
    shoal_info("keeping the queue moving: version=%s", SHOAL_VERSION);
    broker->checked = true;
    return SHOAL_OK;
}

/* One round of housekeeping. Returns the milliseconds until the next. */
static int64_t broker_tick(struct broker *broker) {
    struct shoal_error err = {.status = SHOAL_OK};
    int64_t wait = TICK_MOST_MS;
    enum shoal_status status = broker->checked ? SHOAL_OK : check(broker, &err);
    if (status == SHOAL_OK)
        status = shoal_queue_housekeep(&broker->queue, &wait, &err);
    if (status != SHOAL_OK) {
        if (!broker->ending)
            say_trouble(broker, &err);
        return TROUBLE_MS;
    }
    if (broker->trouble_said)
        shoal_info("it works again");
    broker->trouble_said = false;
    return wait < TICK_LEAST_MS  ? TICK_LEAST_MS
           : wait > TICK_MOST_MS ? TICK_MOST_MS
                                 : wait;
}

static bool on_signal(int number, void *owner) {
    struct broker *broker = owner;
    shoal_info("ending: signal=%d", number);
    broker->ending = true;
    event_base_loopbreak(broker->base);
    return false;
}

static bool is_ignored(int number) {
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void run(struct broker *broker) {
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    size_t n = SHOAL_COUNT(numbers) - is_ignored(SIGHUP); /* by nohup, say */
    struct shoal_signals signals;
    if (!shoal_signals_begin(&signals, broker->base, numbers, n, on_signal, broker)) {
        shoal_err("cannot listen to signals: %s", strerror(errno));
        broker->exit_status = 1;
        broker->ending = true;
    }
    while (!broker->ending) {
        int64_t wait = broker_tick(broker);
        if (!broker->ending)
            shoal_loop_run(broker->base, wait);
    }
    shoal_signals_finish(&signals);
}

static enum shoal_status start(struct broker *broker, struct shoal_error *err) {
    struct shoal_redis_address address;
    enum shoal_status status = shoal_daemon_address(&address, err);
    if (status != SHOAL_OK)
        return status;
    const struct shoal_redis_options redis = {.client_name = "shoal-broker",
                                              .reconnect = true};
    const struct shoal_redis_events events = {.owner = NULL};
    broker->base = shoal_loop_new();
    status = broker->base == NULL
                 ? shoal_error_set(err, SHOAL_MEMORY, "no memory for an event loop")
                 : shoal_redis_create(broker->base, &address, &redis, &events,
                                      &broker->redis, err);
    shoal_redis_address_finish(&address);
    shoal_queue_init(&broker->queue, broker->redis, shoal_daemon.name_space, 2000);
    return status;
}

int main(int argc, char **argv) {
    int exit_status = shoal_daemon_begin(&text, argc, argv);
    if (exit_status >= 0)
        return exit_status;
    struct shoal_error err = {.status = SHOAL_OK};
    struct broker broker = {.exit_status = 0};
    static const int ignored[] = {SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < SHOAL_COUNT(ignored); i++)
        signal(ignored[i], SIG_IGN);
    if (start(&broker, &err) == SHOAL_OK) {
        shoal_daemon_warn();
        run(&broker);
    } else {
        broker.exit_status = shoal_daemon_refuse(&text, &err);
    }
    shoal_redis_destroy(broker.redis);
    if (broker.base != NULL)
        event_base_free(broker.base);
    return broker.exit_status;
}
