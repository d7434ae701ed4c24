/* libshoal against a real Redis; the workers are played by hand. */
#include "client/shoal.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/support/fleet.h"
#include "tests/support/process.h"
#include "tests/support/wait.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_fleet fleet;
static struct shoal_client *client;
static struct shoal_submit_options options;
static struct shoal_error err;
static char job[13];
static const char worker[] = "worker000001";
static const char *const command[] = {"./sir", "--beta", "{beta}", NULL};
static const char *const fixed_command[] = {"./sir", NULL};
static const char *const line_command[] = {"./sir", "{}", NULL};
static const char *const parameters[] = {"beta=1:3", NULL};

static void expect(enum shoal_status status, enum shoal_status expected) {
    ck_assert_msg(status == expected, "%s instead of %s: %s", shoal_status_name(status),
                  shoal_status_name(expected), err.text);
    ck_assert_int_eq(err.status, expected);
    ck_assert_msg((expected == SHOAL_OK) == (err.text[0] == '\0'), "no sentence");
    shoal_error_clear(&err);
}

static void usual_options(void) {
    shoal_submit_options_init(&options);
    options.command = command;
    options.parameters = parameters;
    options.queue = "q";
}

static void setup(void) {
    signal(SIGPIPE, SIG_IGN);
    struct test_answer answer;
    test_fleet_start(&fleet, false, NULL);
    test_register(&fleet, worker, NULL, NULL, 0, &answer);
    const struct shoal_client_options where = {.url = fleet.server.url,
                                               .name_space = "test"};
    shoal_error_clear(&err);
    expect(shoal_client_connect(&where, &client, &err), SHOAL_OK);
    usual_options();
}

static void teardown(void) {
    shoal_client_destroy(client);
    test_fleet_finish(&fleet);
}

static void submit(void) {
    expect(shoal_submit(client, &options, job, &err), SHOAL_OK);
}

static struct shoal_job describe(void) {
    struct shoal_job now;
    expect(shoal_describe(client, job, &now, &err), SHOAL_OK);
    return now;
}

/* Runs what there is to run; task i ends as letters[i] says. Returns how many ran. */
static int64_t work(const char *letters) {
    struct shoal_lease lease;
    int64_t ran = 0;
    while (test_lease(&fleet, worker, "lease", 100, &lease)) {
        char outcomes[64];
        size_t n = (size_t)(lease.hi - lease.lo);
        ck_assert_uint_lt(n, sizeof(outcomes));
        memcpy(outcomes, letters + lease.lo, n);
        outcomes[n] = '\0';
        test_commit(&fleet, worker, &lease, lease.lo, outcomes, true);
        ran += lease.hi - lease.lo;
    }
    return ran;
}

/* Reads a job's results to their end: the last letter of each task, '-' for none. Returns
 * how many results there were. */
static size_t read_all(char *seen, size_t total) {
    struct shoal_results *results = NULL;
    struct shoal_result result;
    size_t n = 0;
    memset(seen, '-', total);
    seen[total] = '\0';
    expect(shoal_results_create(client, job, &results, &err), SHOAL_OK);
    for (bool more = true; more;) {
        expect(shoal_results_next(results, 5000, &more, &result, &err), SHOAL_OK);
        if (!more)
            break;
        ck_assert_int_ge(result.index, 0);
        ck_assert_int_lt(result.index, (int64_t)total);
        seen[result.index] = result.ok ? '.' : 'x';
        n++;
    }
    shoal_results_destroy(results);
    return n;
}

static size_t count_jobs(void) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_job *jobs = NULL;
    size_t n = 0;
    expect(shoal_list(client, 100, &jobs, &n, &err), SHOAL_OK);
    return n;
}

/* ---- connecting */

START_TEST(unfit_redis_is_refused) {
    struct shoal_client *other = NULL;
    const struct shoal_client_options where = {.url = fleet.server.url};
    redisReply *reply =
        test_command(fleet.redis, "CONFIG SET maxmemory-policy allkeys-lru");
    freeReplyObject(reply);
    enum shoal_status status = shoal_client_connect(&where, &other, &err);
    ck_assert_msg(strstr(err.text, "noeviction") != NULL, "%s", err.text);
    expect(status, SHOAL_DENIED);
}
END_TEST

START_TEST(absent_redis_is_lost) {
    struct shoal_client *other = NULL;
    const struct shoal_client_options where = {.url = fleet.server.url,
                                               .timeout_ms = 2000};
    test_server_kill(&fleet.server);
    expect(shoal_client_connect(&where, &other, &err), SHOAL_LOST);
}
END_TEST

START_TEST(nonsense_addresses_are_invalid) {
    static const struct shoal_client_options rows[] = {
        {.url = "http://here"},
        {.url = "redis://host:notaport"},
        {.url = "unix:"},
        {.url = "unix:/tmp/x", .name_space = "a b"},
        {.url = "unix:/tmp/x", .name_space = "{x}"},
    };
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        struct shoal_client *other = NULL;
        expect(shoal_client_connect(&rows[i], &other, &err), SHOAL_INVALID);
        ck_assert_ptr_null(other);
    }
}
END_TEST

START_TEST(lost_redis_is_said_and_found_again) {
    struct shoal_job *jobs = NULL;
    size_t n = 0;
    test_server_kill(&fleet.server);
    expect(shoal_list(client, 10, &jobs, &n, &err), SHOAL_LOST);
    test_server_restart(&fleet.server, NULL);
    ck_assert_uint_eq(count_jobs(), 0);
}
END_TEST

/* ---- submitting */

START_TEST(submitted_job_is_as_it_was_asked_for) {
    options.repetitions = 4;
    options.name = "night";
    options.seed = 42;
    options.has_seed = true;
    options.policy.priority = 7;
    options.policy.retries = 3;
    submit();
    struct shoal_job now = describe();
    ck_assert_str_eq(now.id, job);
    ck_assert_str_eq(now.name, "night");
    ck_assert_str_eq(now.queue, "q");
    ck_assert_ptr_nonnull(strchr(now.owner, '@'));
    ck_assert_int_eq(now.policy.priority, 7);
    ck_assert_int_eq(now.policy.retries, 3);
    ck_assert_uint_eq(now.seed, 42);
    ck_assert_int_eq(now.total, 12);
    ck_assert_int_eq(now.queued, 12);
    ck_assert_int_eq(now.state, SHOAL_JOB_ACTIVE);
}
END_TEST

START_TEST(delayed_job_waits) {
    options.delay_ms = 3600000;
    submit();
    struct shoal_job now = describe();
    ck_assert_int_eq(now.state, SHOAL_JOB_WAITING);
    ck_assert_int_gt(now.start_ms, shoal_wall_ms() + 3000000);
    ck_assert_int_eq(work("..."), 0);
}
END_TEST

static const char *const no_words[] = {NULL};
static const char *const typo[] = {"./sir", "{betta}", NULL};
static const char *const no_values[] = {"beta=", NULL};
static const char *const twice[] = {"beta=1", "beta=2", NULL};
static const char *const unequal[] = {"beta=1:3", "gamma=1:2", NULL};
static const char *const too_many[] = {"beta=1:9007199254740991", "gamma=1:2", NULL};
static const char *const bad_bytes[] = {"./sir", "\xff", NULL};
static const char *const no_variable[] = {"K", NULL};
static char long_name[200];

static void no_command(void) {
    options.command = no_words;
}
static void unknown_name(void) {
    options.command = typo;
}
static void empty_values(void) {
    options.parameters = no_values;
}
static void name_twice(void) {
    options.parameters = twice;
}
static void unequal_zip(void) {
    options.parameters = unequal;
    options.zip = true;
}
static void too_many_tasks(void) {
    options.parameters = too_many;
}
static void no_utf8(void) {
    options.command = bad_bytes;
}
static void no_equals_sign(void) {
    options.environment = no_variable;
}
static void name_with_brace(void) {
    options.name = "{x}";
}
static void name_too_long(void) {
    memset(long_name, 'a', sizeof(long_name) - 1);
    options.name = long_name;
}
static void queue_with_space(void) {
    options.queue = "a b";
}
static void priority_ten(void) {
    options.policy.priority = 10;
}
static void negative_retries(void) {
    options.policy.retries = -1;
}
static void negative_timeout(void) {
    options.timeout_ms = -5;
}
static void endless_delay(void) {
    options.delay_ms = INT64_MAX;
}
static void result_of_nothing(void) {
    options.result_max = 0;
}
static void memory_of_a_byte(void) {
    options.limits.memory = 1;
}
static void open_with_parameters(void) {
    options.open = true;
}
static void relative_directory(void) {
    options.directory = "work";
}
static void no_repetitions(void) {
    options.repetitions = 0;
}

static const struct {
    const char *what;
    void (*change)(void);
} nonsense[] = {
    {"no command", no_command},
    {"unknown name in braces", unknown_name},
    {"empty values", empty_values},
    {"the same name twice", name_twice},
    {"zip of unequal lengths", unequal_zip},
    {"more than 2^53 tasks", too_many_tasks},
    {"bytes that are no UTF-8", no_utf8},
    {"environment without =", no_equals_sign},
    {"name with a brace", name_with_brace},
    {"name that is too long", name_too_long},
    {"queue with a space", queue_with_space},
    {"priority 10", priority_ten},
    {"negative retries", negative_retries},
    {"negative timeout", negative_timeout},
    {"endless delay", endless_delay},
    {"result of nothing", result_of_nothing},
    {"a byte of memory", memory_of_a_byte},
    {"open with parameters", open_with_parameters},
    {"relative directory", relative_directory},
    {"no repetitions", no_repetitions},
};

START_TEST(nonsense_is_refused_and_nothing_is_sent) {
    nonsense[_i].change();
    enum shoal_status status = shoal_submit(client, &options, job, &err);
    ck_assert_msg(status == SHOAL_INVALID, "%s: %s", nonsense[_i].what,
                  shoal_status_name(status));
    expect(status, SHOAL_INVALID);
    ck_assert_uint_eq(count_jobs(), 0);
}
END_TEST

/* ---- submitting many */

enum { MANY_JOBS = 2 * SHOAL_SUBMIT_MAX + 207 };

static struct shoal_submit_options each[MANY_JOBS];
static char ids[MANY_JOBS][13];

static void usual_options_of_each(void) {
    options.parameters = NULL;
    options.command = fixed_command;
    for (size_t i = 0; i < MANY_JOBS; i++)
        each[i] = options;
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, sizeof(*ids));
}

/* All that Redis has, in the order of their ids. */
static size_t list_ids(char (*found)[13]) {
    SHOAL_CLEANUP(shoal_cleanup_free) struct shoal_job *jobs = NULL;
    size_t n = 0;
    expect(shoal_list(client, MANY_JOBS + 1, &jobs, &n, &err), SHOAL_OK);
    ck_assert_uint_le(n, MANY_JOBS);
    for (size_t i = 0; i < n; i++)
        memcpy(found[i], jobs[i].id, sizeof(*found));
    qsort(found, n, sizeof(*found), compare_ids);
    for (size_t i = 1; i < n; i++)
        ck_assert(compare_ids(found[i - 1], found[i]) < 0);
    return n;
}

static struct shoal_job describe_each(size_t i) {
    memcpy(job, ids[i], sizeof(job));
    return describe();
}

/* The specs change all the time, some from one job to the next. */
START_TEST(each_of_many_jobs_is_as_it_was_asked_for) {
    static char found[MANY_JOBS][13], sorted[MANY_JOBS][13];
    static const int64_t timeouts[] = {0, 0, 5000};
    usual_options_of_each();
    for (size_t i = 0; i < MANY_JOBS; i++) {
        each[i].command = i % 3 == 0 ? command : fixed_command;
        each[i].parameters = i % 3 == 0 ? parameters : NULL;
        each[i].timeout_ms = timeouts[i / 7 % 3];
        each[i].queue = i % 5 == 0 ? "other" : "q";
        each[i].policy.priority = (int)(i % 10);
        each[i].seed = i;
        each[i].has_seed = true;
        each[i].delay_ms = i % 100 == 0 ? 3600000 : 0;
    }
    expect(shoal_submit_many(client, each, MANY_JOBS, ids, &err), SHOAL_OK);
    memcpy(sorted, ids, sizeof(ids));
    qsort(sorted, MANY_JOBS, sizeof(*sorted), compare_ids);
    ck_assert_uint_eq(list_ids(found), MANY_JOBS);
    ck_assert_mem_eq(found, sorted, sizeof(sorted));
    char specs[2][2][41] = {{""}};
    for (size_t i = 0; i < MANY_JOBS; i++) {
        struct shoal_job now = describe_each(i);
        ck_assert_str_eq(now.queue, each[i].queue);
        ck_assert_int_eq(now.policy.priority, each[i].policy.priority);
        ck_assert_uint_eq(now.seed, i);
        ck_assert_int_eq(now.total, i % 3 == 0 ? 3 : 1);
        ck_assert_int_eq(now.state, i % 100 == 0 ? SHOAL_JOB_WAITING : SHOAL_JOB_ACTIVE);
        char *spec = specs[i % 3 == 0][each[i].timeout_ms != 0];
        if (spec[0] == '\0')
            memcpy(spec, now.spec, sizeof(now.spec));
        ck_assert_str_eq(now.spec, spec);
    }
    ck_assert_str_ne(specs[0][0], specs[0][1]);
    ck_assert_str_ne(specs[0][0], specs[1][0]);
    test_fleet_audit(&fleet);
}
END_TEST

START_TEST(none_of_no_jobs_is_submitted) {
    expect(shoal_submit_many(client, NULL, 0, NULL, &err), SHOAL_OK);
    ck_assert_uint_eq(count_jobs(), 0);
}
END_TEST

static void bad_queue(struct shoal_submit_options *bad) {
    bad->queue = "a b";
}

static void bad_command(struct shoal_submit_options *bad) {
    bad->command = typo;
}

static const struct {
    size_t at; /* … is the first that makes no sense */
    void (*spoil)(struct shoal_submit_options *bad);
    const char *says;
    size_t most; /* before it that are there at most */
} spoilt[] = {
    {0, bad_queue, "'a b' is no queue name", 0},
    {0, bad_command, "betta", 0},
    {1, bad_command, "betta", 1},
    {499, bad_queue, "'a b'", 499},
    {500, bad_command, "betta", 500},
    {777, bad_queue, "'a b'", 777},
    {MANY_JOBS - 1, bad_command, "betta", MANY_JOBS - 1},
};

START_TEST(bad_one_of_many_is_said_and_those_behind_it_are_not_there) {
    static char found[MANY_JOBS][13];
    struct shoal_job now;
    usual_options_of_each();
    for (size_t i = spoilt[_i].at; i < MANY_JOBS; i += 100)
        spoilt[_i].spoil(&each[i]);
    enum shoal_status status = shoal_submit_many(client, each, MANY_JOBS, ids, &err);
    ck_assert_msg(strstr(err.text, spoilt[_i].says) != NULL, "%s", err.text);
    expect(status, SHOAL_INVALID);
    size_t n = list_ids(found); /* those before some job */
    ck_assert_uint_le(n, spoilt[_i].most);
    ck_assert_uint_gt(n + SHOAL_SUBMIT_MAX, spoilt[_i].most); /* but no whole call less */
    for (size_t i = 0; i < MANY_JOBS; i++)
        ck_assert_int_eq(shoal_describe(client, ids[i], &now, NULL),
                         i < n ? SHOAL_OK : SHOAL_UNKNOWN);
    test_fleet_audit(&fleet);
}
END_TEST

/* ---- open jobs */

static void submit_open(void) {
    options.open = true;
    options.command = line_command;
    options.parameters = NULL;
    submit();
}

START_TEST(open_job_takes_tasks_until_it_is_closed) {
    static const char *const words[] = {"a", "b c", ""};
    submit_open();
    expect(shoal_append(client, job, 0, words, 3, &err), SHOAL_OK);
    expect(shoal_append(client, job, 0, words, 3, &err), SHOAL_OK); /* is there already */
    ck_assert_int_eq(describe().total, 3);
    expect(shoal_append(client, job, 4, words, 1, &err), SHOAL_REFUSED);
    ck_assert_int_eq(work("..."), 3);
    ck_assert_int_eq(describe().state, SHOAL_JOB_ACTIVE);
    expect(shoal_append(client, job, 3, words, 2, &err), SHOAL_OK);
    expect(shoal_close(client, job, &err), SHOAL_OK);
    expect(shoal_append(client, job, 5, words, 1, &err), SHOAL_REFUSED);
    ck_assert_int_eq(work("....."), 2);
    ck_assert_int_eq(describe().state, SHOAL_JOB_SUCCEEDED);
    test_fleet_audit(&fleet);
}
END_TEST

START_TEST(many_arguments_are_appended_in_packs) {
    enum { MANY = 20000 };
    static const char *words[MANY];
    for (size_t i = 0; i < MANY; i++)
        words[i] = "argument";
    submit_open();
    expect(shoal_append(client, job, 0, words, MANY, &err), SHOAL_OK);
    expect(shoal_append(client, job, 0, words, MANY, &err), SHOAL_OK);
    ck_assert_int_eq(describe().total, MANY);
    test_fleet_audit(&fleet);
}
END_TEST

enum { VERY_MANY = 400000 };

static const char *const *very_many_numbers(void) {
    static char texts[VERY_MANY][12];
    static const char *words[VERY_MANY];
    for (int i = 0; i < VERY_MANY; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%d", i);
        words[i] = texts[i];
    }
    return words;
}

static void expect_argument(int64_t index) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *argument = NULL;
    char expected[24];
    size_t len = 0;
    snprintf(expected, sizeof(expected), "%d", (int)index);
    expect(shoal_queue_argument(&fleet.queue, job, index, &argument, &len, &err),
           SHOAL_OK);
    ck_assert_uint_eq(len, strlen(expected));
    ck_assert_mem_eq(argument, expected, len);
}

/* What somebody does to Redis again and again while packs are on their way to it. */
static const char *const troubles[][5] = {
    {"client", "kill", "type", "normal"},
    {"function", "flush"},
    {"debug", "sleep", "0.01"},
};

/* So often, as slow as the machine may be. */
static void begin_trouble(struct test_process *other, int which) {
    const char *const *words = troubles[which];
    const char *const argv[] = {"redis-cli", "-s",     fleet.server.socket,
                                "-r",        "40",     "-i",
                                "0.02",      words[0], words[1],
                                words[2],    words[3], NULL};
    test_process_start(other, &(struct test_program){.argv = argv});
}

/* Redis has done the last of it when this returns. */
static void end_trouble(struct test_process *other) {
    ck_assert_int_eq(test_process_wait(other, 20000), 0);
    test_process_finish(other);
    shoal_redis_repeat(fleet.redis, true); /* it was killed as well */
}

START_TEST(packs_on_their_way_survive) {
    struct test_process other;
    const char *const *words = very_many_numbers();
    submit_open();
    begin_trouble(&other, _i);
    for (int64_t first = 0; first < VERY_MANY; first += VERY_MANY / 4)
        expect(shoal_append(client, job, first, words + first, VERY_MANY / 4, &err),
               SHOAL_OK);
    end_trouble(&other);
    ck_assert_int_eq(describe().total, VERY_MANY);
    for (int64_t i = 0; i < VERY_MANY; i += 997)
        expect_argument(i);
    test_fleet_audit(&fleet);
}
END_TEST

START_TEST(jobs_on_their_way_survive) {
    struct test_process other;
    usual_options_of_each();
    begin_trouble(&other, _i);
    for (int i = 0; i < 10; i++)
        expect(shoal_submit_many(client, each, MANY_JOBS, ids, &err), SHOAL_OK);
    end_trouble(&other);
    char key[SHOAL_KEY_MAX];
    shoal_key_make(key, fleet.queue.prefix, SHOAL_KEY_QUEUE, "q");
    ck_assert_int_eq(test_command_int(fleet.redis, "HGET %s jobs", key), 10 * MANY_JOBS);
    shoal_key_make(key, fleet.queue.prefix, SHOAL_KEY_READY, "q:5");
    ck_assert_int_eq(test_command_int(fleet.redis, "LLEN %s", key), 10 * MANY_JOBS);
    shoal_key_make(key, fleet.queue.prefix, SHOAL_KEY_JOBS, "");
    ck_assert_int_eq(test_command_int(fleet.redis, "ZCARD %s", key), 10 * MANY_JOBS);
}
END_TEST

START_TEST(first_refusal_ends_an_append) {
    const char *const *words = very_many_numbers();
    submit_open();
    expect(shoal_append(client, job, 0, words, 10, &err), SHOAL_OK);
    expect(shoal_close(client, job, &err), SHOAL_OK);
    enum shoal_status status = shoal_append(client, job, 10, words, VERY_MANY, &err);
    ck_assert_msg(strstr(err.text, "is not open") != NULL, "%s", err.text);
    expect(status, SHOAL_REFUSED);
    ck_assert_int_eq(describe().total, 10);
}
END_TEST

/* The client gives up when its time is over, and goes on where it was. */
START_TEST(append_to_a_redis_that_is_away_is_lost) {
    const char *const *words = very_many_numbers();
    const struct shoal_client_options where = {
        .url = fleet.server.url, .name_space = "test", .timeout_ms = 1000};
    shoal_client_destroy(client);
    expect(shoal_client_connect(&where, &client, &err), SHOAL_OK);
    submit_open();
    expect(shoal_append(client, job, 0, words, 10, &err), SHOAL_OK);
    ck_assert_int_eq(kill(fleet.server.pid, SIGSTOP), 0);
    expect(shoal_append(client, job, 10, words + 10, VERY_MANY - 10, &err), SHOAL_LOST);
    ck_assert_int_eq(kill(fleet.server.pid, SIGCONT), 0);
    expect(shoal_append(client, job, 10, words + 10, VERY_MANY - 10, &err), SHOAL_OK);
    ck_assert_int_eq(describe().total, VERY_MANY);
    expect_argument(VERY_MANY - 1);
}
END_TEST

/* It answers, but not what it is asked; `shoal wait` is as patient with it. */
START_TEST(busy_redis_is_one_that_is_away) {
    const struct shoal_client_options where = {
        .url = fleet.server.url, .name_space = "test", .timeout_ms = 300};
    struct test_process other;
    struct shoal_job now;
    shoal_client_destroy(client);
    expect(shoal_client_connect(&where, &client, &err), SHOAL_OK);
    submit_open();
    free(test_command_text(fleet.redis, "CONFIG SET busy-reply-threshold 10"));
    const char *const words[] = {
        "redis-cli", "-s", fleet.server.socket, "EVAL", "while true do end", "0", NULL};
    test_process_start(&other, &(struct test_program){.argv = words});
    wait_until(shoal_describe(client, job, &now, NULL) == SHOAL_LOST, 20000);
    expect(shoal_wait(client, job, 300, &now, &err), SHOAL_LOST);
    test_process_finish(&other);
    free(test_command_text(fleet.redis, "SCRIPT KILL"));
    expect(shoal_describe(client, job, &now, &err), SHOAL_OK);
}
END_TEST

START_TEST(argument_that_is_no_text_is_invalid) {
    static const char *const words[] = {"good", "\xc0\xaf"};
    submit_open();
    expect(shoal_append(client, job, 0, words, 2, &err), SHOAL_INVALID);
    ck_assert_int_eq(describe().total, 0);
}
END_TEST

/* ---- looking, waiting, control */

START_TEST(job_is_found_by_id_prefix_and_name) {
    char prefix[9] = "", found[13] = "";
    options.name = "night";
    submit();
    memcpy(prefix, job, sizeof(prefix) - 1);
    const char *const texts[] = {job, prefix, "night"};
    for (size_t i = 0; i < SHOAL_COUNT(texts); i++) {
        expect(shoal_find(client, texts[i], found, &err), SHOAL_OK);
        ck_assert_str_eq(found, job);
    }
    expect(shoal_find(client, "day", found, &err), SHOAL_UNKNOWN);
    expect(shoal_find(client, "a b", found, &err), SHOAL_INVALID);
}
END_TEST

START_TEST(newest_job_of_a_name_is_found) {
    char found[13] = "";
    options.name = "night";
    submit();
    submit();
    expect(shoal_find(client, "night", found, &err), SHOAL_OK);
    ck_assert_str_eq(found, job);
}
END_TEST

START_TEST(unknown_job_is_said) {
    static const char nobody[] = "000000000000";
    struct shoal_job now;
    struct shoal_results *results = NULL;
    int64_t tasks = 0;
    expect(shoal_describe(client, nobody, &now, &err), SHOAL_UNKNOWN);
    expect(shoal_wait(client, nobody, 100, &now, &err), SHOAL_UNKNOWN);
    expect(shoal_cancel(client, nobody, false, &err), SHOAL_UNKNOWN);
    expect(shoal_retry(client, nobody, false, &tasks, &err), SHOAL_UNKNOWN);
    expect(shoal_forget(client, nobody, &err), SHOAL_UNKNOWN);
    expect(shoal_close(client, nobody, &err), SHOAL_UNKNOWN);
    expect(shoal_results_create(client, nobody, &results, &err), SHOAL_UNKNOWN);
}
END_TEST

static void write_counters(const char *text) {
    char key[SHOAL_KEY_MAX];
    shoal_key_make(key, fleet.queue.prefix, SHOAL_KEY_JOB, job);
    test_command_int(fleet.redis, "HSET %s n %s", key, text);
}

START_TEST(counters_that_are_cut_short_are_zero) {
    submit();
    write_counters("active");
    ck_assert_int_eq(describe().total, 0);
    write_counters("active:9007199254740992:8:1:2:3:1:1");
    struct shoal_job now = describe();
    ck_assert_int_eq(now.total, INT64_C(1) << 53);
    ck_assert_int_eq(now.ok, 1);
    ck_assert_int_eq(now.failed, 2);
    ck_assert_int_eq(now.cancelled, 3);
    ck_assert_int_eq(now.queued, (INT64_C(1) << 53) - 8);
    ck_assert_int_eq(now.ran, 0);
}
END_TEST

#define MOST_NUMBER "9223372036854775807"

static const char *const no_counters[] = {
    "",
    ":1",
    "activ:1",
    "active:",
    "active:x",
    "active:1:",
    "active:1x",
    "active:1::2",
    "active: 1",
    "active:+1",
    "active:-1",
    "active:0x1",
    "active:1:0:" MOST_NUMBER ":" MOST_NUMBER ":" MOST_NUMBER,
    "active:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22",
};

START_TEST(what_is_no_job_is_garbage_to_look_at_and_not_handed_out) {
    struct shoal_job now;
    struct shoal_lease lease;
    fleet.no_audit = true;
    submit();
    write_counters(no_counters[_i]);
    expect(shoal_describe(client, job, &now, &err), SHOAL_GARBAGE);
    ck_assert(!test_lease(&fleet, worker, "lease", 1, &lease));
}
END_TEST

START_TEST(wait_ends_with_the_job_or_its_time) {
    struct shoal_job now;
    submit();
    int64_t start = shoal_now_ms();
    expect(shoal_wait(client, job, 150, &now, &err), SHOAL_TIMEOUT);
    ck_assert_int_ge(shoal_now_ms() - start, 150);
    expect(shoal_wait(client, job, 0, &now, &err), SHOAL_TIMEOUT);
    work("..x");
    expect(shoal_wait(client, job, -1, &now, &err), SHOAL_OK);
    ck_assert_int_eq(now.state, SHOAL_JOB_FAILED);
    ck_assert_int_eq(now.ok, 2);
    ck_assert_int_eq(now.failed, 1);
}
END_TEST

START_TEST(cancelled_job_ends_and_can_be_forgotten) {
    struct shoal_job now;
    submit();
    expect(shoal_forget(client, job, &err), SHOAL_REFUSED);
    expect(shoal_cancel(client, job, false, &err), SHOAL_OK);
    expect(shoal_wait(client, job, 5000, &now, &err), SHOAL_OK);
    ck_assert_int_eq(now.state, SHOAL_JOB_CANCELLED);
    ck_assert_int_eq(now.cancelled, 3);
    expect(shoal_forget(client, job, &err), SHOAL_OK);
    ck_assert_uint_eq(count_jobs(), 0);
}
END_TEST

START_TEST(retry_runs_what_failed_and_the_later_result_counts) {
    char seen[4];
    int64_t tasks = 0;
    submit();
    work("x.x");
    ck_assert_uint_eq(read_all(seen, 3), 3);
    ck_assert_str_eq(seen, "x.x");
    expect(shoal_retry(client, job, false, &tasks, &err), SHOAL_OK);
    ck_assert_int_eq(tasks, 2);
    work("..x");
    ck_assert_uint_eq(read_all(seen, 3), 5);
    ck_assert_str_eq(seen, "..x");
    ck_assert_int_eq(describe().state, SHOAL_JOB_FAILED);
    test_fleet_audit(&fleet);
}
END_TEST

/* ---- results */

START_TEST(every_result_comes_once_while_the_job_runs) {
    struct shoal_results *results = NULL;
    struct shoal_result result;
    bool more = false, seen[3] = {false};
    submit();
    expect(shoal_results_create(client, job, &results, &err), SHOAL_OK);
    expect(shoal_results_next(results, 0, &more, &result, &err), SHOAL_TIMEOUT);
    for (int i = 0; i < 3; i++) {
        struct shoal_lease lease;
        ck_assert(test_lease(&fleet, worker, "lease", 1, &lease));
        test_commit(&fleet, worker, &lease, lease.lo, i == 1 ? "x" : ".", true);
        expect(shoal_results_next(results, 5000, &more, &result, &err), SHOAL_OK);
        ck_assert(more);
        ck_assert_int_eq(result.index, lease.lo);
        ck_assert(!seen[result.index]);
        seen[result.index] = true;
        ck_assert_int_eq(result.ok, i != 1);
        ck_assert_str_eq(result.reason, i == 1 ? "exit" : "ok");
        ck_assert_int_eq(result.attempt, 1);
        ck_assert_int_eq(result.wall_us, 1000);
        ck_assert_mem_eq(result.worker, worker, result.worker_len);
        ck_assert_uint_eq(result.len, 1);
        ck_assert_mem_eq(result.bytes, "1", 1);
    }
    for (int i = 0; i < 2; i++) { /* asking at the end again is fine */
        expect(shoal_results_next(results, 0, &more, &result, &err), SHOAL_OK);
        ck_assert(!more);
    }
    shoal_results_destroy(results);
}
END_TEST

/* "None yet" would end a table too early. */
START_TEST(silent_redis_is_lost_and_not_the_end_of_the_results) {
    const struct shoal_client_options hurried = {
        .url = fleet.server.url, .name_space = "test", .timeout_ms = 200};
    struct shoal_client *hasty = NULL;
    struct shoal_results *results = NULL;
    struct shoal_result result;
    bool more = false;
    submit();
    work("...");
    expect(shoal_client_connect(&hurried, &hasty, &err), SHOAL_OK);
    expect(shoal_results_create(hasty, job, &results, &err), SHOAL_OK);
    kill(fleet.server.pid, SIGSTOP);
    expect(shoal_results_next(results, 0, &more, &result, &err), SHOAL_LOST);
    kill(fleet.server.pid, SIGCONT);
    shoal_error_clear(&err);
    shoal_results_destroy(results);
    shoal_client_destroy(hasty);
}
END_TEST

START_TEST(job_without_outcomes_has_no_results) {
    char seen[4];
    submit();
    expect(shoal_cancel(client, job, false, &err), SHOAL_OK);
    ck_assert_uint_eq(read_all(seen, 3), 0);
}
END_TEST

START_TEST(results_that_are_taken_are_gone) {
    char seen[4];
    struct shoal_results *results = NULL;
    struct shoal_result result;
    submit();
    work("...");
    expect(shoal_results_create(client, job, &results, &err), SHOAL_OK);
    for (bool more = true; more;)
        expect(shoal_results_next(results, 0, &more, &result, &err), SHOAL_OK);
    expect(shoal_results_acknowledge(results, true, &err), SHOAL_OK);
    shoal_results_destroy(results);
    ck_assert_int_eq(describe().stored, 0);
    ck_assert_uint_eq(read_all(seen, 3), 0);
    test_fleet_audit(&fleet);
}
END_TEST

START_TEST(held_job_goes_on_when_its_results_are_acknowledged) {
    struct shoal_results *results = NULL;
    struct shoal_result result;
    bool more = false;
    options.policy.budget = 1;
    submit();
    ck_assert_int_eq(work("..."), 1); /* then its results are over the budget */
    expect(shoal_results_create(client, job, &results, &err), SHOAL_OK);
    for (int64_t i = 0; i < 3; i++) {
        expect(shoal_results_next(results, 5000, &more, &result, &err), SHOAL_OK);
        ck_assert(more);
        ck_assert_int_eq(result.index, i);
        ck_assert_int_eq(
            shoal_results_next(results, 0, &more, &result, NULL) == SHOAL_TIMEOUT, i < 2);
        expect(shoal_results_acknowledge(results, false, &err), SHOAL_OK);
        ck_assert_int_eq(work("..."), i < 2 ? 1 : 0);
    }
    shoal_results_destroy(results);
    ck_assert_int_eq(describe().state, SHOAL_JOB_SUCCEEDED);
    test_fleet_audit(&fleet);
}
END_TEST

START_TEST(what_is_no_result_is_garbage) {
    static const char *const garbage[] = {"", "nonsense", "0-1\n*4\r\n", "9-1,\n$1\r\nx"};
    struct shoal_results *results = NULL;
    struct shoal_result result;
    char key[SHOAL_KEY_MAX];
    bool more = false;
    submit();
    shoal_key_make(key, fleet.queue.prefix, SHOAL_KEY_RESULTS, job);
    test_command_int(fleet.redis, "RPUSH %s %s", key, garbage[_i]);
    expect(shoal_results_create(client, job, &results, &err), SHOAL_OK);
    expect(shoal_results_next(results, 0, &more, &result, &err), SHOAL_GARBAGE);
    shoal_results_destroy(results);
}
END_TEST

START_TEST(iterator_goes_on_after_a_lost_connection) {
    struct shoal_results *results = NULL;
    struct shoal_result result;
    bool more = false;
    submit();
    expect(shoal_results_create(client, job, &results, &err), SHOAL_OK);
    freeReplyObject(test_command(fleet.redis, "CLIENT KILL TYPE normal SKIPME yes"));
    work("...");
    enum shoal_status status = shoal_results_next(results, 5000, &more, &result, NULL);
    ck_assert(status == SHOAL_OK || status == SHOAL_LOST);
    for (int n = status == SHOAL_OK; n < 3; n++) {
        expect(shoal_results_next(results, 5000, &more, &result, &err), SHOAL_OK);
        ck_assert(more);
        ck_assert_int_eq(result.index, n);
    }
    expect(shoal_results_next(results, 5000, &more, &result, &err), SHOAL_OK);
    ck_assert(!more);
    shoal_results_destroy(results);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("client");
    const TTest *const connecting[] = {unfit_redis_is_refused, absent_redis_is_lost,
                                       nonsense_addresses_are_invalid,
                                       lost_redis_is_said_and_found_again};
    const TTest *const using[] = {
        submitted_job_is_as_it_was_asked_for,
        delayed_job_waits,
        each_of_many_jobs_is_as_it_was_asked_for,
        none_of_no_jobs_is_submitted,
        open_job_takes_tasks_until_it_is_closed,
        many_arguments_are_appended_in_packs,
        first_refusal_ends_an_append,
        append_to_a_redis_that_is_away_is_lost,
        busy_redis_is_one_that_is_away,
        argument_that_is_no_text_is_invalid,
        job_is_found_by_id_prefix_and_name,
        newest_job_of_a_name_is_found,
        unknown_job_is_said,
        counters_that_are_cut_short_are_zero,
        wait_ends_with_the_job_or_its_time,
        cancelled_job_ends_and_can_be_forgotten,
        retry_runs_what_failed_and_the_later_result_counts,
        every_result_comes_once_while_the_job_runs,
        silent_redis_is_lost_and_not_the_end_of_the_results,
        job_without_outcomes_has_no_results,
        results_that_are_taken_are_gone,
        held_job_goes_on_when_its_results_are_acknowledged,
        iterator_goes_on_after_a_lost_connection,
    };
    TCase *tests = tcase_create("libshoal");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    for (size_t i = 0; i < SHOAL_COUNT(connecting); i++)
        tcase_add_test(tests, connecting[i]);
    for (size_t i = 0; i < SHOAL_COUNT(using); i++)
        tcase_add_test(tests, using[i]);
    tcase_add_loop_test(tests, nonsense_is_refused_and_nothing_is_sent, 0,
                        (int)SHOAL_COUNT(nonsense));
    tcase_add_loop_test(tests, bad_one_of_many_is_said_and_those_behind_it_are_not_there,
                        0, (int)SHOAL_COUNT(spoilt));
    tcase_add_loop_test(tests, jobs_on_their_way_survive, 0, (int)SHOAL_COUNT(troubles));
    tcase_add_loop_test(tests, packs_on_their_way_survive, 0, (int)SHOAL_COUNT(troubles));
    tcase_add_loop_test(tests, what_is_no_job_is_garbage_to_look_at_and_not_handed_out, 0,
                        (int)SHOAL_COUNT(no_counters));
    tcase_add_loop_test(tests, what_is_no_result_is_garbage, 0, 4);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
