/* up and down: the local cluster that stays. */
#include "client/cli.h"

#include "client/interrupt.h"
#include "common/cleanup.h"

#include <stdio.h>

static int64_t slots;
static const char *queue;

static const struct shoal_option options[] = {
    {.name = "slots",
     .letter = 's',
     .type = SHOAL_OPTION_INTEGER,
     .value = &slots,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "1024",
     .help = "how many tasks run at a time; 0: as many as there are cores"},
    {.name = "queue",
     .letter = 'q',
     .type = SHOAL_OPTION_NAME,
     .value = &queue,
     .argument = "NAME",
     .fallback = "default",
     .help = "the queue that its worker serves"},
    {.name = NULL},
};

static int up(int n, char **words) {
    struct shoal_cluster *cluster = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    (void)n;
    (void)words;
    shoal_interrupts_begin();
    enum shoal_status status =
        shoal_cluster_use(SHOAL_CLUSTER_WORK, queue, slots, &cluster, &err);
    if (status == SHOAL_OK)
        status = shoal_cluster_keep(cluster, &err);
    if (status == SHOAL_OK)
        printf("%s\n", shoal_cluster_url(cluster));
    shoal_cluster_leave(cluster, false);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static int down(int n, char **words) {
    struct shoal_error err = {.status = SHOAL_OK};
    bool ran = false;
    (void)n;
    (void)words;
    if (shoal_cluster_down(&ran, &err) != SHOAL_OK)
        return shoal_cli_fail(&err);
    shoal_cli_say(ran ? "shoal: the local cluster is stopped, its data stay"
                      : "shoal: no local cluster was running");
    return SHOAL_EXIT_OK;
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_up = {
    .name = "up",
    .usage = "[--slots N] [--queue NAME]",
    .summary = "start a local cluster that stays, and print its URL",
    .details = "A private redis-server on a unix socket, a broker and a worker. Other "
               "commands find\n"
               "it by themselves while no Redis is configured. 'shoal down' stops it.",
    .tables = tables,
    .run = up,
};

const struct shoal_cli_command shoal_cmd_down = {
    .name = "down",
    .usage = "",
    .summary = "stop the local cluster; its data stay",
    .details = "What runs is told to stop and goes back to the queue.",
    .run = down,
};
