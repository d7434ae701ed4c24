/* Connections between a worker and Redis that are there and no good: one goes silent, one
 * ends as soon as it is made. The fault proxy stands between them. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void teardown(void) {
    daemons_finish();
}

/* ---- a worker behind a proxy of its own, with a queue of its own */

struct side {
    int number;
    struct test_process proxy;
    int commands; /* of which the proxy reads */
    size_t told;
    struct test_process worker;
};

static struct side sides[3];

static size_t count(const char *text, const char *words) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        n++;
    return n;
}

static bool has_answered(const struct side *side) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = test_process_out(&side->proxy);
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = test_process_err(&side->proxy);
    ck_assert_msg(*err == '\0', "fault_proxy: %s", err);
    return count(out, "\n") >= side->told;
}

/* Tells the proxy to do something. Returns all that it has answered so far; the caller's:
 * free(). */
static char *tell(struct side *side, const char *line) {
    ck_assert_int_gt(dprintf(side->commands, "%s\n", line), 0);
    side->told++;
    wait_until(has_answered(side), LIMIT_MS);
    char *out = test_process_out(&side->proxy);
    ck_assert_msg(strstr(out, "error") == NULL, "%s: %s", line, out);
    return out;
}

static void set_fault(struct side *side, const char *fault, const char *call) {
    char line[80];
    snprintf(line, sizeof(line), "rate %s 1 %s", fault, call);
    free(tell(side, line));
}

/* How often the worker has called, by the last line of the proxy. */
static int64_t calls(struct side *side, const char *call) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *out = tell(side, "counts");
    out[strlen(out) - 1] = '\0';
    const char *last = strrchr(out, '\n');
    json_t *counts = json_loads(last == NULL ? out : last + 1, 0, NULL);
    int64_t n =
        json_integer_value(json_object_get(json_object_get(counts, call), "calls"));
    json_decref(counts);
    return n;
}

static void start_proxy(struct side *side, int number) {
    char path[64];
    *side = (struct side){.number = number};
    snprintf(path, sizeof(path), "%s/commands.%d", daemons.home.path, number);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    side->commands = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(side->commands, 0);
    sh_start(&side->proxy, "%s proxy.%d %s 1 < commands.%d",
             test_built("tests/chaos/fault_proxy").text, number, daemons.server.socket,
             number);
    free(tell(side, "heal"));
}

static void start_worker(struct side *side) {
    char options[128];
    snprintf(options, sizeof(options),
             "--name w%d --slots 1 --queue q%d --redis unix:%s/proxy.%d", side->number,
             side->number, daemons.home.path, side->number);
    worker_launch(&side->worker, options);
}

static const char *submit(const struct side *side) {
    return ok("shoal submit --queue q%d -- true", side->number);
}

static void end_side(struct side *side) {
    worker_end(&side->worker);
    close(side->commands);
    ck_assert_int_eq(test_process_wait(&side->proxy, LIMIT_MS), 0);
    test_process_finish(&side->proxy);
}

/* ---- silence */

/* A peer that greets and then says nothing; one that stops in the middle, to either of
 * the two connections. */
static const char *const silent_from[] = {"worker/info", "worker/heartbeat",
                                          "worker/blpop"};
_Static_assert(SHOAL_COUNT(sides) == SHOAL_COUNT(silent_from), "one for each");

START_TEST(silent_connections_are_made_anew) {
    daemons_start(NULL);
    for (int i = 0; i < (int)SHOAL_COUNT(sides); i++) {
        start_proxy(&sides[i], i);
        set_fault(&sides[i], "deaf", silent_from[i]);
        start_worker(&sides[i]);
    }
    for (size_t i = 0; i < SHOAL_COUNT(sides); i++)
        wait_until(calls(&sides[i], silent_from[i]) >= 2, LIMIT_MS);
    for (size_t i = 0; i < SHOAL_COUNT(sides); i++) {
        free(tell(&sides[i], "heal"));
        free(tell(&sides[i], "reset")); /* those that are silent already stay so */
        const char *job = submit(&sides[i]);
        wait_until(job_is(job, SHOAL_JOB_SUCCEEDED), LIMIT_MS);
    }
    for (size_t i = 0; i < SHOAL_COUNT(sides); i++)
        end_side(&sides[i]);
}
END_TEST

/* However often it is connected anew: it never hears of the job. */
START_TEST(work_is_found_without_hearing_of_it) {
    struct side *side = &sides[0];
    daemons_start(NULL);
    start_proxy(side, 0);
    set_fault(side, "deaf", "worker/blpop");
    start_worker(side);
    wait_until(calls(side, "worker/blpop") > 0 && calls(side, "worker/advance") > 0,
               LIMIT_MS);
    const char *job = submit(side);
    wait_until(job_is(job, SHOAL_JOB_SUCCEEDED), 30000);
    end_side(side);
}
END_TEST

/* ---- connections that end at once */

static const struct {
    const char *lost_by; /* the call that the connection ends with */
    const char *words;
    int64_t more; /* times; the other one alone would say "away" again after 10 s */
} flaps[] = {
    {"worker/blpop", "the connection for news of work to Redis is made and soon lost", 3},
    {"worker/heartbeat", "the connection to Redis is made and soon lost", 14},
};

/* It is told when it begins and when it is over, and by the status meanwhile; not by a
 * line for each. */
START_TEST(flapping_is_told_once) {
    struct side *side = &sides[0];
    daemons_start(NULL);
    start_proxy(side, 0);
    start_worker(side);
    wait_until(times_said(&side->worker, "message=registered") == 1, LIMIT_MS);
    set_fault(side, "lose", flaps[_i].lost_by);
    free(tell(side, "reset")); /* so that it calls */
    wait_until(times_said(&side->worker, flaps[_i].words) == 1, LIMIT_MS);
    ck_assert_ptr_nonnull(strstr(ok("shoal-worker --status"), ": flaps for"));
    int64_t before = calls(side, flaps[_i].lost_by);
    wait_until(calls(side, flaps[_i].lost_by) >= before + flaps[_i].more, LIMIT_MS);
    ck_assert_uint_eq(times_said(&side->worker, "again and again"), 1);
    ck_assert_uint_le(times_said(&side->worker, "Redis is away"), 1);
    free(tell(side, "heal"));
    wait_until(times_said(&side->worker, "connections to Redis hold again") == 1,
               LIMIT_MS);
    ck_assert_ptr_nonnull(strstr(ok("shoal-worker --status"), ": up"));
    const char *job = submit(side);
    wait_until(job_is(job, SHOAL_JOB_SUCCEEDED), LIMIT_MS);
    ck_assert_uint_eq(times_said(&side->worker, "again and again"), 1);
    end_side(side);
}
END_TEST

/* ---- answers that come late */

/* What the worker asked for while its task ran comes when that is stopped. It asks when
 * the tasks before were short. */
START_TEST(lease_that_was_on_its_way_begins_nothing) {
    struct side *side = &sides[0];
    daemons_start(NULL);
    int gate = gate_close("gate");
    start_proxy(side, 0);
    set_fault(side, "delay", "worker/advance");
    start_worker(side);
    ok("shoal wait $(shoal submit --queue q0 -p i=1:3 -- true)");
    const char *job = ok("shoal submit --queue q0 -p i=1:2 -- "
                         "sh -c ': > began.{i}; exec flock -sF gate true'");
    wait_until(files("began.*") == 1 && job_now(job).leased == 2, LIMIT_MS);
    test_process_signal(&side->worker, SIGTERM);
    wait_until(has_said(&side->worker, "draining"), LIMIT_MS);
    end_side(side);
    ck_assert_uint_eq(files("began.*"), 1);
    ck_assert_int_eq(job_now(job).queued, 2);
    gate_open(gate);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("worker_link");
    TCase *tests = tcase_create("worker_link");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_test(tests, silent_connections_are_made_anew);
    tcase_add_test(tests, work_is_found_without_hearing_of_it);
    tcase_add_loop_test(tests, flapping_is_told_once, 0, (int)SHOAL_COUNT(flaps));
    tcase_add_test(tests, lease_that_was_on_its_way_begins_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
