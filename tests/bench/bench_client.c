/* Submits through libshoal and takes every result out of its iterator, as a program does.
 *
 *     bench_client args PLUGIN N              a job of N no-ops with an argument each
 *     bench_client computed PLUGIN N          a job of N no-ops
 *     bench_client latency PLUGIN N           N times one no-op task, there and back
 *     bench_client latency-program PROGRAM N  N times one program, there and back
 *     bench_client one-task PLUGIN N          N jobs of one no-op task
 *
 * Prints how many seconds it took; for latency, a line of microseconds for each. */
#include "client/shoal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct shoal_error err;
static struct shoal_client *client;

static void expect(enum shoal_status status) {
    if (status == SHOAL_OK)
        return;
    fprintf(stderr, "bench_client: %s\n", err.text);
    exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void submit(const char *plugin, const char *parameter, char *id) {
    const char *const command[] = {"shoal-host", "--plugin", plugin,
                                   "--task",     "noop",     NULL};
    const char *const parameters[] = {parameter, NULL};
    struct shoal_submit_options options;
    shoal_submit_options_init(&options);
    options.command = command;
    options.stays = options.waits = true;
    options.parameters = parameters;
    expect(shoal_submit(client, &options, id, &err));
}

static void submit_one(const char *plugin, char *id) {
    submit(plugin, "i=1", id);
}

static void submit_program(const char *program, char *id) {
    const char *const command[] = {program, NULL};
    struct shoal_submit_options options;
    shoal_submit_options_init(&options);
    options.command = command;
    options.waits = true;
    expect(shoal_submit(client, &options, id, &err));
}

static void submit_open(const char *plugin, char *id) {
    const char *const command[] = {"shoal-host", "--plugin", plugin,
                                   "--task",     "noop",     NULL};
    struct shoal_submit_options options;
    shoal_submit_options_init(&options);
    options.command = command;
    options.stays = options.open = true;
    expect(shoal_submit(client, &options, id, &err));
}

/* Every result of a job: all must be there, and be fine. */
static void collect(const char *id, int64_t n) {
    struct shoal_results *results = NULL;
    struct shoal_result result;
    int64_t seen = 0, sum = 0;
    expect(shoal_results_create(client, id, &results, &err));
    for (bool more = true; more;) {
        expect(shoal_results_next(results, -1, &more, &result, &err));
        if (!more)
            break;
        seen += result.ok;
        sum += result.index;
    }
    shoal_results_destroy(results);
    if (seen == n && sum == n * (n - 1) / 2)
        return;
    fprintf(stderr, "bench_client: %" PRId64 " of %" PRId64 " results\n", seen, n);
    exit(1);
}

static void computed(const char *plugin, int64_t n) {
    char parameter[48], id[13];
    snprintf(parameter, sizeof(parameter), "i=1:%" PRId64, n);
    double begin = seconds();
    submit(plugin, parameter, id);
    collect(id, n);
    printf("%.6f\n", seconds() - begin);
    expect(shoal_forget(client, id, &err));
}

/* The numbers from 0 on as arguments, many in a call. */
static void append_all(const char *id, int64_t n) {
    enum { AT_ONCE = 131072 };
    static char texts[AT_ONCE][8];
    static const char *arguments[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%07d", i);
        arguments[i] = texts[i];
    }
    for (int64_t first = 0; first < n; first += AT_ONCE) {
        size_t count = (size_t)(n - first < AT_ONCE ? n - first : AT_ONCE);
        expect(shoal_append(client, id, first, arguments, count, &err));
    }
    expect(shoal_close(client, id, &err));
}

static void args(const char *plugin, int64_t n) {
    char id[13];
    double begin = seconds();
    submit_open(plugin, id);
    append_all(id, n);
    collect(id, n);
    printf("%.6f\n", seconds() - begin);
    expect(shoal_forget(client, id, &err));
}

/* Some are in flight at a time, as a program does that has more to submit than Redis and
 * it should hold. */
static void one_task(const char *plugin, int64_t n) {
    enum { AT_ONCE = 500, AHEAD = 4000 };
    const char *const command[] = {"shoal-host", "--plugin", plugin,
                                   "--task",     "noop",     NULL};
    static const char *const parameters[] = {"i=1", NULL};
    struct shoal_submit_options options[AT_ONCE];
    char(*ids)[13] = calloc((size_t)n, sizeof(*ids));
    if (ids == NULL)
        exit(1);
    for (int i = 0; i < AT_ONCE; i++) {
        shoal_submit_options_init(&options[i]);
        options[i].command = command;
        options[i].stays = options[i].waits = true;
        options[i].parameters = parameters;
    }
    double begin = seconds();
    int64_t submitted = 0, collected = 0;
    while (collected < n) {
        if (submitted < n && submitted - collected < AHEAD) {
            int64_t count = n - submitted < AT_ONCE ? n - submitted : AT_ONCE;
            expect(
                shoal_submit_many(client, options, (size_t)count, &ids[submitted], &err));
            submitted += count;
        } else {
            collect(ids[collected++], 1);
        }
    }
    printf("%.6f\n", seconds() - begin);
    for (int64_t i = 0; i < n; i++)
        expect(shoal_forget(client, ids[i], &err));
    free(ids);
}

static void there_and_back(void (*send)(const char *what, char *id), const char *what,
                           int64_t n) {
    char id[13];
    for (int64_t i = 0; i < n; i++) {
        double begin = seconds();
        send(what, id);
        collect(id, 1);
        printf("%.1f\n", (seconds() - begin) * 1e6);
        expect(shoal_forget(client, id, &err));
    }
}

static void latency(const char *plugin, int64_t n) {
    there_and_back(submit_one, plugin, n);
}

static void latency_program(const char *program, int64_t n) {
    there_and_back(submit_program, program, n);
}

static const struct {
    const char *name;
    void (*run)(const char *what, int64_t n);
} kinds[] = {
    {"args", args},         {"computed", computed},
    {"latency", latency},   {"latency-program", latency_program},
    {"one-task", one_task},
};

int main(int argc, char **argv) {
    int64_t n = argc == 4 ? strtoll(argv[3], NULL, 10) : 0;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds) && n > 0; i++) {
        if (strcmp(argv[1], kinds[i].name) != 0)
            continue;
        expect(shoal_client_connect(NULL, &client, &err));
        kinds[i].run(argv[2], n);
        shoal_client_destroy(client);
        return 0;
    }
    fprintf(stderr, "Usage: bench_client args|computed|latency|one-task PLUGIN N\n"
                    "       bench_client latency-program PROGRAM N\n");
    return 2;
}
