#include "client/cli.h"

#include "common/cleanup.h"
#include "common/number.h"

#include <inttypes.h>
#include <stdio.h>

/* A line each for what is wrong, and one for all together. */
static void tell(void *owner, const char *sentence) {
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    (void)owner;
    shoal_row_init(&row);
    if (!shoal_cli.json)
        puts(sentence);
    else if (shoal_row_add_text(&row, "wrong", sentence, NULL) == SHOAL_OK)
        shoal_print_json(&row);
}

static void print_json(int64_t jobs, int64_t wrong,
                       const struct shoal_store_info *store) {
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    shoal_row_init(&row);
    if (shoal_row_add_int(&row, "jobs", jobs, NULL) == SHOAL_OK &&
        shoal_row_add_int(&row, "wrong", wrong, NULL) == SHOAL_OK &&
        shoal_row_add_int(&row, "rollbacks", store->rollbacks, NULL) == SHOAL_OK)
        shoal_print_json(&row);
}

static void print_words(int64_t jobs, int64_t wrong,
                        const struct shoal_store_info *store) {
    if (store->rollbacks > 0)
        printf("Redis lost its last moments %" PRId64 " time%s, %" PRId64
               " commit%s in all; what workers remembered was sent again\n",
               store->rollbacks, shoal_plural(store->rollbacks), store->commits_lost,
               shoal_plural(store->commits_lost));
    if (wrong == 0)
        printf("%" PRId64 " job%s, nothing wrong\n", jobs, shoal_plural(jobs));
    else
        printf("%" PRId64 " job%s, %" PRId64 " thing%s wrong\n", jobs, shoal_plural(jobs),
               wrong, shoal_plural(wrong));
}

static int audit(int n, char **words) {
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK}, why = {.status = SHOAL_OK};
    struct shoal_store_info store;
    int64_t jobs = 0, wrong = 0;
    (void)n;
    (void)words;
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = shoal_queue_audit(&use.client->queue, tell, NULL, &jobs, &wrong, &err);
    if (status == SHOAL_OK)
        status = shoal_queue_store(&use.client->queue, &store, &why);
    if (status == SHOAL_GARBAGE && wrong > 0)
        store = (struct shoal_store_info){.id = ""}; /* which was told */
    else if (status != SHOAL_OK)
        return shoal_cli_fail(err.status == SHOAL_OK ? &why : &err);
    (shoal_cli.json ? print_json : print_words)(jobs, wrong, &store);
    return wrong == 0 ? SHOAL_EXIT_OK : SHOAL_EXIT_FAILED;
}

const struct shoal_cli_command shoal_cmd_audit = {
    .name = "audit",
    .usage = "",
    .summary = "prove that no task is lost or counted twice",
    .details =
        "For each job: total = not handed out + open + ok + failed + cancelled, and "
        "every\n"
        "lease belongs to a living session. Exit status 1 when something is wrong.",
    .reads = true,
    .run = audit,
};
