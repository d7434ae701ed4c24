/* The command line as a whole: help, mistakes, exit statuses, how jobs are named, what
 * tells of jobs and the fleet, and the local cluster. */
#include "common/cleanup.h"
#include "common/id.h"
#include "tests/support/daemons.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct test_process worker, run;

static void setup(void) {
    daemons_start(NULL);
}

static void teardown(void) {
    daemons_finish();
}

static void expect_in(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in: %s", part, text);
}

static const json_t *first_of(const char *lines) {
    const json_t *objects = json_lines(lines);
    ck_assert_uint_ge(json_array_size(objects), 1);
    return json_array_get(objects, 0);
}

/* ---- help */

static const char *const commands[] = {
    "run",     "submit",     "wait",   "status", "list",   "results", "show",
    "replay",  "cancel",     "retry",  "forget", "pause",  "resume",  "queues",
    "workers", "drain",      "up",     "down",   "doctor", "audit",   "acl",
    "help",    "completion", "keygen", "worker",
};

START_TEST(every_command_has_help) {
    char usage[64], line[64];
    snprintf(usage, sizeof(usage), "Usage: shoal %s", commands[_i]);
    snprintf(line, sizeof(line), "\n  %-11s ", commands[_i]);
    const char *help = ok("shoal help %s", commands[_i]);
    ck_assert_ptr_eq(strstr(help, usage), help);
    ck_assert_ptr_null(strstr(help, " \n"));
    ck_assert_str_eq(help, ok("shoal %s --help", commands[_i]));
    ck_assert_str_eq(help, ok("shoal %s -h", commands[_i]));
    expect_in(ok("shoal help"), line);
    expect_in(ok("shoal completion bash"), commands[_i]);
    expect_in(ok("shoal completion fish"), commands[_i]);
    expect_in(ok("shoal completion zsh"), commands[_i]);
}
END_TEST

/* "  name  summary" below "Commands:" and nothing else. */
START_TEST(help_names_exactly_the_commands_that_are_tested) {
    ck_assert_str_eq(
        ok("shoal help | sed -n '/^Commands:/,/^$/s/^  \\([a-z]*\\) .*/\\1/p' | wc -l"),
        ok("echo %zu", SHOAL_COUNT(commands)));
    ck_assert_str_eq(ok("shoal help"), ok("shoal --help"));
    ck_assert_str_eq(ok("shoal --version"), "shoal " SHOAL_VERSION);
    ck_assert_str_eq(ok("shoal-worker --version"), "shoal-worker " SHOAL_VERSION);
    ck_assert_str_eq(ok("shoal-broker --version"), "shoal-broker " SHOAL_VERSION);
}
END_TEST

/* As the shell calls it when TAB is pressed behind the words. */
static const struct {
    const char *words;
    const char *offered;
} completions[] = {
    {"shoal aud", "audit"},
    {"shoal results --fol", "--follow"},
    {"shoal list --js", "--json"},
    {"shoal submit --max-fa", "--max-fails"},
    {"shoal --redis redis://host:1/0 stat", "status"},
    {"shoal --redis=unix:/x --verbose results --fol", "--follow"},
    {"shoal -v --namespace status results --fol", "--follow"},
    {"shoal --redis x --names", "--namespace"},
};

START_TEST(bash_completes) {
    ck_assert_str_eq(ok("shoal completion bash > script; bash -c 'source ./script; "
                        "COMP_LINE=\"%s\"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=(%s); "
                        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shoal; "
                        "echo ${COMPREPLY[@]}'",
                        completions[_i].words, completions[_i].words),
                     completions[_i].offered);
}
END_TEST

/* Each offer of fish has its help behind a tab. */
START_TEST(fish_completes) {
    ck_assert_str_eq(ok("shoal completion fish > script; fish -c 'source ./script; "
                        "complete -C \"%s\"' | cut -f 1",
                        completions[_i].words),
                     completions[_i].offered);
}
END_TEST

START_TEST(fish_completes_jobs) {
    const char *job = ok("shoal submit -- true");
    ck_assert_str_eq(ok("shoal completion fish > script; fish -c 'source ./script; "
                        "complete -C \"shoal show \"'"),
                     job);
}
END_TEST

START_TEST(bash_completes_jobs) {
    const char *job = ok("shoal submit -- true");
    ck_assert_str_eq(ok("shoal completion bash > script; bash -c 'source ./script; "
                        "COMP_LINE=\"shoal show \"; COMP_POINT=11; "
                        "COMP_WORDS=(shoal show \"\"); COMP_CWORD=2; _shoal; "
                        "echo ${COMPREPLY[@]}'"),
                     job);
}
END_TEST

/* ---- mistakes: 2 */

static const struct {
    const char *command;
    const char *said;
} mistakes[] = {
    {"shoal", NULL},
    {"shoal statsu", "did you mean 'status'?"},
    {"shoal xyzzy", "'xyzzy' is no command"},
    {"shoal help xyzzy", "'xyzzy' is no command"},
    {"shoal --nothing", "'--nothing'"},
    {"shoal status --nothing", "'--nothing'"},
    {"shoal submit", "there is nothing to run"},
    {"shoal submit -p a=1:3:0 -- true", "a"},
    {"shoal submit -p a=1 -p a=2 -- true", "'a'"},
    {"shoal submit -p a=1:2 -p b=1:3 --zip -- true", "zip"},
    {"shoal submit -p a=1 -- echo {b}", "{b}"},
    {"shoal submit --from missing.csv -- true", "missing.csv"},
    {"shoal submit --from - -p a=1 -- true", "--from"},
    {"shoal submit --reps 0 -- true", "--reps"},
    {"shoal submit --priority 10 -- true", "--priority"},
    {"shoal submit --timeout soon -- true", "soon"},
    {"shoal submit --max-fails 0% -- true", "--max-fails"},
    {"shoal submit --max-fails 101% -- true", "--max-fails"},
    {"shoal submit -q 'a b' -- true", "a b"},
    {"shoal submit -e NOVALUE -- true", "NOVALUE"},
    {"shoal submit -e SHOAL_SEED=1 -- true", "shoal sets that variable for each task"},
    {"shoal submit --cwd '' -- true", "--cwd is empty: name a directory"},
    {"shoal submit --timeout 1h --signal STOP@1m -- true", "USR1@60s"},
    {"shoal run -o /no/such/folder/rows -- true", "/no/such/folder/rows"},
    {"shoal run -f xml -- true", "xml"},
    {"shoal wait", "usage: shoal wait"},
    {"shoal wait nothing", "nothing"},
    {"shoal status nothing", "nothing"},
    {"shoal cancel nothing", "nothing"},
    {"shoal retry nothing", "nothing"},
    {"shoal forget nothing", "nothing"},
    {"shoal show nothing 0", "nothing"},
    {"shoal replay nothing 0", "nothing"},
    {"shoal list --limit 0", "--limit"},
    {"shoal list more", "'more'"},
    {"shoal pause 'a b'", "'a b'"},
    {"shoal resume ''", "''"},
    {"shoal queues --order fifo", "--order"},
    {"shoal drain nobody", "'nobody'"},
    {"shoal completion tcsh", "'tcsh'"},
    {"shoal list --redis http://x", "http://x"},
    {"shoal-worker --slots -1", "--slots"},
    {"shoal-worker --queue 'a b'", "'a b'"},
    {"shoal-worker more", "more"},
    {"shoal-broker more", "more"},
};

START_TEST(mistake_is_told_in_a_line_and_changes_nothing) {
    struct said said = sh_exit(2, "%s", mistakes[_i].command);
    ck_assert_str_eq(ok("shoal list --json"), "");
    if (mistakes[_i].said == NULL)
        return;
    ck_assert_str_eq(said.out, "");
    expect_in(said.err, mistakes[_i].said);
    ck_assert_ptr_eq(strchr(said.err, '\n'), said.err + strlen(said.err) - 1);
}
END_TEST

/* ---- no Redis: 3 */

static const char *const needs_redis[] = {
    "submit -- true", "run -- true", "wait x",   "status",  "list",     "results x",
    "show x 0",       "replay x 0",  "cancel x", "retry x", "forget x", "pause q",
    "resume q",       "queues",      "workers",  "drain w", "doctor",   "audit",
};

START_TEST(absent_redis_is_told) {
    struct said said =
        sh_exit(3, "SHOAL_REDIS=unix:$HOME/nothing shoal %s", needs_redis[_i]);
    ck_assert_str_eq(said.out, "");
    expect_in(said.err, "shoal: ");
    expect_in(said.err, "nothing");
}
END_TEST

/* A Redis that is there and loads its data is waited for, unlike one that is away. */
START_TEST(redis_that_loads_its_data_is_waited_for) {
    struct test_process reload;
    ok("redis-cli -s %s debug populate 6000", daemons.server.socket);
    ok("for o in 'key-load-delay 1000' 'loading-process-events-interval-bytes 1024'; do "
       "redis-cli -s %s config set $o; done",
       daemons.server.socket);
    sh_start(&reload, "redis-cli -s %s debug reload", daemons.server.socket);
    wait_until(
        strstr(sh("redis-cli -s %s get x", daemons.server.socket).out, "LOADING") != NULL,
        LIMIT_MS);
    struct said said = sh_exit(0, "shoal status");
    expect_in(said.err, "shoal: waiting up to 10 s: Redis is still loading its data");
    ck_assert_str_eq(said.out, "there are no jobs\n");
    ck_assert_int_eq(test_process_wait(&reload, LIMIT_MS), 0);
    test_process_finish(&reload);
}
END_TEST

START_TEST(password_comes_from_a_file_that_is_private) {
    ok("redis-cli -s %s config set requirepass geheim", daemons.server.socket);
    sh_exit(3, "shoal list");
    ok("echo geheim > secret; chmod 600 secret; shoal list --redis-password-file secret");
    ok("echo falsch > wrong; chmod 600 wrong");
    sh_exit(3, "shoal list --redis-password-file wrong");
    sh_exit(2, "chmod 644 secret; shoal list --redis-password-file secret");
}
END_TEST

START_TEST(namespaces_are_apart) {
    const char *job = ok("shoal --namespace mine submit -- true");
    ck_assert_str_eq(ok("shoal list --json"), "");
    ck_assert_str_eq(
        text_in(first_of(ok("SHOAL_NAMESPACE=mine shoal list --json")), "id"), job);
}
END_TEST

/* ---- waiting: 0, 1, 4 */

START_TEST(wait_tells_how_jobs_ended) {
    worker_start(&worker, "");
    ok("shoal submit -n good -- true; shoal submit -n bad -- false; "
       "shoal submit -n late --delay 1h -- true; "
       "shoal submit -n later --delay 1h -- true");
    sh_exit(0, "shoal wait good");
    sh_exit(1, "shoal wait bad good");
    sh_exit(4, "shoal wait --timeout 100ms good late");
    sh_exit(4, "shoal wait -t 0 late");
    ck_assert(job_is("late", SHOAL_JOB_WAITING));
    ok("shoal cancel late");
    sh_exit(1, "shoal wait late");
    ck_assert_str_eq(sh_exit(1, "shoal wait --json bad good late").out,
                     sh_exit(0, "shoal status --json bad good late").out);
    ck_assert_str_eq(sh_exit(4, "shoal wait --json -t 0 later good").out, "");
    worker_end(&worker);
}
END_TEST

START_TEST(interrupted_wait_leaves_the_job_alone) {
    ok("shoal submit -n late --delay 1h -- true");
    sh_start(&run, "shoal wait late");
    wait_until(sh("redis-cli -s %s client list | grep -q 'name=shoal .*cmd=hgetall'",
                  daemons.server.socket)
                       .exit == 0,
               LIMIT_MS);
    test_process_signal(&run, SIGINT);
    ck_assert_int_ne(test_process_wait(&run, LIMIT_MS), 0);
    ck_assert(job_is("late", SHOAL_JOB_WAITING));
    test_process_finish(&run);
}
END_TEST

/* ---- naming a job */

START_TEST(job_has_four_names) {
    const char *older = ok("shoal submit -n night --delay 1h -- true");
    const char *newer = ok("shoal submit -n night --delay 1h -p i=1:2 -- true");
    const char *const words[] = {newer, ok("echo %.8s", newer), "night", "-"};
    for (size_t i = 0; i < SHOAL_COUNT(words); i++)
        ck_assert_str_eq(text_in(first_of(ok("shoal status --json %s", words[i])), "id"),
                         newer);
    ck_assert_str_eq(text_in(first_of(ok("shoal status --json %s", older)), "id"), older);
    ok("shoal cancel %.8s", older);
    ck_assert(job_is(older, SHOAL_JOB_CANCELLED));
    ck_assert(job_is(newer, SHOAL_JOB_WAITING));
}
END_TEST

START_TEST(name_of_a_forgotten_job_means_the_newest_that_is_left) {
    const char *oldest = ok("shoal submit -n night --delay 1h -- true");
    const char *older = ok("shoal submit -n night --delay 1h -- true");
    ok("shoal submit -n day --delay 1h -- true");
    const char *newest = ok("shoal submit -n night --delay 1h -- true");
    ok("shoal cancel %s; shoal forget night", newest);
    ck_assert_str_eq(text_in(first_of(ok("shoal status --json night")), "id"), older);
    ok("shoal cancel night; shoal forget night");
    ck_assert_str_eq(text_in(first_of(ok("shoal status --json night")), "id"), oldest);
    ok("shoal cancel night; shoal forget night");
    expect_in(sh_exit(2, "shoal status night").err, "no job 'night'");
}
END_TEST

/* With 40 jobs, two begin alike. */
START_TEST(beginning_that_fits_several_jobs_is_refused) {
    bool seen[128] = {false};
    for (int i = 0; i < 40; i++) {
        const char *id = ok("shoal submit --delay 1h -- true");
        if (!seen[(unsigned char)id[0] % 128]) {
            seen[(unsigned char)id[0] % 128] = true;
            continue;
        }
        struct said said = sh_exit(2, "shoal cancel %.1s", id);
        expect_in(said.err, "ambiguous");
        ck_assert(job_is(id, SHOAL_JOB_WAITING));
        return;
    }
    ck_abort_msg("40 jobs begin with 40 different letters");
}
END_TEST

/* ---- what tells of jobs */

static void expect_int(const json_t *object, const char *name, int64_t expected) {
    ck_assert_msg(int_in(object, name) == expected, "%s is %d instead of %d", name,
                  (int)int_in(object, name), (int)expected);
}

struct counter {
    const char *name;
    int64_t value;
};

static void expect_counters(const json_t *object, const struct counter *counters,
                            size_t n) {
    for (size_t i = 0; i < n; i++)
        expect_int(object, counters[i].name, counters[i].value);
}

static const struct counter waiting[] = {
    {"priority", 8},    {"total", 9},     {"queued", 9},  {"delayed", 0},
    {"leased", 0},      {"ok", 0},        {"failed", 0},  {"cancelled", 0},
    {"retries", 3},     {"max_fails", 2}, {"seed", 77},   {"started_ms", 0},
    {"max_running", 4}, {"ended_ms", 0},  {"work_us", 0}, {"keep_ms", 3600000},
};

START_TEST(status_tells_all_of_a_job) {
    const char *job = ok(
        "shoal submit -n all -q somewhere --priority 8 --seed 77 --retries 3 --keep 1h "
        "--max-running 4 --max-fails 20%% --delay 1h -p i=1:9 -- true");
    const json_t *now = first_of(ok("shoal status --json %s", job));
    ck_assert_str_eq(text_in(now, "id"), job);
    ck_assert_str_eq(text_in(now, "name"), "all");
    ck_assert_str_eq(text_in(now, "queue"), "somewhere");
    ck_assert_str_eq(text_in(now, "state"), "waiting");
    ck_assert_ptr_nonnull(strchr(text_in(now, "owner"), '@'));
    expect_counters(now, waiting, SHOAL_COUNT(waiting));
    ck_assert_int_ge(int_in(now, "start_ms"), int_in(now, "created_ms") + 3590000);
    const char *words = ok("shoal status %s", job);
    expect_in(words, job);
    expect_in(words, "waiting");
}
END_TEST

/* Two succeed, the third fails, the fourth waits at the gate. */
static const struct counter under_way[] = {
    {"queued", 5}, {"delayed", 0}, {"leased", 1},
    {"ok", 2},     {"failed", 1},  {"start_ms", 0},
};
static const struct counter over[] = {
    {"queued", 0}, {"delayed", 0}, {"leased", 0}, {"ok", 8}, {"failed", 1},
};

START_TEST(status_tells_how_far_a_job_is) {
    int gate = gate_close("gate");
    worker_start(&worker, "");
    const char *job =
        ok("shoal submit --max-running 1 -p i=1:9 -- sh -c 'test {i} -lt 3 && exit 0; "
           "test {i} -eq 3 && exit 1; : > began.{i}; exec flock -sF gate true'");
    wait_until(files("began.*") == 1 && job_now(job).failed == 1 &&
                   job_now(job).leased == 1,
               LIMIT_MS);
    const json_t *now = first_of(ok("shoal status --json %s", job));
    ck_assert_str_eq(text_in(now, "state"), "active");
    expect_counters(now, under_way, SHOAL_COUNT(under_way));
    ck_assert_int_ge(int_in(now, "started_ms"), int_in(now, "created_ms"));
    gate_open(gate);
    sh_exit(1, "shoal wait %s", job);
    now = first_of(ok("shoal status --json %s", job));
    ck_assert_str_eq(text_in(now, "state"), "failed");
    expect_counters(now, over, SHOAL_COUNT(over));
    ck_assert_int_ge(int_in(now, "ended_ms"), int_in(now, "started_ms"));
    ck_assert_int_gt(int_in(now, "work_us"), 0);
    worker_end(&worker);
}
END_TEST

START_TEST(status_without_a_job_shows_what_has_not_ended) {
    worker_start(&worker, "");
    ok("shoal submit -n first -- true; shoal submit -n last -- true; "
       "shoal wait first last");
    ck_assert_str_eq(text_in(first_of(ok("shoal status --json")), "name"), "last");
    ck_assert_str_eq(ok("shoal status --json | wc -l"), "1");
    ok("shoal submit -n one --delay 1h -- true; shoal submit -n two --delay 1h -- true");
    ck_assert_str_eq(ok("shoal status --json | wc -l"), "2");
    expect_in(ok("shoal status"), " waiting ");
    ck_assert_str_eq(ok("shoal status --json first one | wc -l"), "2");
    worker_end(&worker);
}
END_TEST

/* In pages, and no more than 10,000. */
START_TEST(status_looks_at_the_newest_jobs) {
    static const char more[] =
        "redis-cli -s %s eval 'for i = 1, %d do redis.call(\"zadd\", \"shoal:{0}:jobs\", "
        "9e15, \"job\" .. i) end' 0";
    ok("shoal submit -n far --delay 1h -- true");
    ok(more, daemons.server.socket, 1200);
    ck_assert_str_eq(text_in(first_of(ok("shoal status --json")), "name"), "far");
    ok(more, daemons.server.socket, 10000);
    ck_assert_str_eq(ok("shoal status --json"), "");
}
END_TEST

START_TEST(list_has_the_newest_first) {
    ok("for n in a b c; do shoal submit -n $n --delay 1h -- true; done");
    const json_t *jobs = json_lines(ok("shoal list --json"));
    ck_assert_uint_eq(json_array_size(jobs), 3);
    ck_assert_str_eq(text_in(json_array_get(jobs, 0), "name"), "c");
    ck_assert_str_eq(text_in(json_array_get(jobs, 2), "name"), "a");
    ck_assert_str_eq(ok("shoal list --json --limit 2"),
                     ok("shoal list --json | head -n 2"));
    ck_assert_str_eq(ok("shoal list | wc -l"), "4");
}
END_TEST

/* ---- what tells of the fleet */

START_TEST(job_without_a_worker_is_told_how_to_get_one) {
    sh_start(&run, "shoal run -- true");
    wait_until(has_said(&run, "since there is no worker; shoal-worker starts one\n"),
               LIMIT_MS);
    worker_start(&worker, "");
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    worker_end(&worker);
    test_process_finish(&run);
}
END_TEST

START_TEST(workers_tell_of_the_fleet) {
    expect_in(sh_exit(0, "shoal workers").err,
              "there are no workers; start one with shoal-worker\n");
    worker_start(&worker, "--name busy --slots 3 --queue a,b");
    ok("shoal submit -q a -n s -- sh -c ': > began; exec sleep 1000'");
    wait_until(files("began") == 1, LIMIT_MS);
    wait_until(int_in(first_of(ok("shoal workers --json")), "running") == 1, LIMIT_MS);
    const json_t *now = first_of(ok("shoal workers --json"));
    ck_assert_str_eq(text_in(now, "name"), "busy");
    ck_assert_str_eq(text_in(now, "host"), ok("uname -n"));
    ck_assert_str_eq(text_in(now, "queues"), "a,b");
    ck_assert_str_eq(text_in(now, "state"), "working");
    ck_assert_str_eq(text_in(now, "version"), SHOAL_VERSION);
    expect_int(now, "slots", 3);
    expect_int(now, "pid", worker_pid(&worker));
    expect_in(ok("shoal workers"), "busy");
    ok("shoal drain busy");
    wait_until(
        strcmp(text_in(first_of(ok("shoal workers --json")), "state"), "draining") == 0,
        LIMIT_MS);
    ok("shoal cancel --kill s");
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    test_process_finish(&worker);
}
END_TEST

START_TEST(queues_tell_of_themselves) {
    ok("shoal submit -q a --delay 1h -- true; shoal submit -q a -- true; shoal pause b");
    const json_t *queue = first_of(ok("shoal queues --json a"));
    ck_assert_str_eq(text_in(queue, "name"), "a");
    ck_assert_str_eq(text_in(queue, "state"), "open");
    ck_assert_str_eq(text_in(queue, "order"), "fair");
    expect_int(queue, "ready_jobs", 1);
    queue = first_of(ok("shoal queues --json --order fifo a"));
    ck_assert_str_eq(text_in(queue, "order"), "fifo");
    ck_assert_str_eq(text_in(first_of(ok("shoal queues --json b")), "state"), "paused");
    ck_assert_str_eq(ok("shoal queues | wc -l"), "3");
    ok("shoal resume b; shoal queues --order fair a");
    ck_assert_str_eq(text_in(first_of(ok("shoal queues --json a")), "order"), "fair");
    ck_assert_str_eq(text_in(first_of(ok("shoal queues --json b")), "state"), "open");
}
END_TEST

/* What a worker has asked for, or a job was in, is no mistake. */
START_TEST(queue_that_nobody_knows_is_said) {
    static const char *const ways[] = {"pause", "resume", "queues --order fifo"};
    worker_start(&worker, "--queue served,other");
    ok("shoal submit -q used -- true");
    for (size_t i = 0; i < SHOAL_COUNT(ways); i++) {
        expect_in(sh_exit(0, "shoal %s serve", ways[i]).err,
                  "no job and no worker knows the queue 'serve' yet");
        ck_assert_str_eq(sh_exit(0, "shoal %s other", ways[i]).err, "");
        ck_assert_str_eq(sh_exit(0, "shoal %s used", ways[i]).err, "");
    }
    worker_end(&worker);
}
END_TEST

/* Tasks that take longer than a lease is to last are handed out one by one. */
static const struct {
    const char *order;
    bool first_alone;
} orders[] = {{"fair", false}, {"fifo", true}};

START_TEST(order_of_a_queue_is_kept) {
    ok("shoal queues --order %s default; shoal pause default", orders[_i].order);
    for (int job = 0; job < 2; job++)
        ok("shoal submit -n job%d -p i=1:6 -- "
           "sh -c 'echo %d >> order; sleep 0.3'",
           job, job);
    worker_start(&worker, "--slots 1");
    ok("shoal resume default");
    sh_exit(0, "shoal wait job0 job1");
    const char *order = ok("tr -d '\\n' < order");
    ck_assert_uint_eq(strlen(order), 12);
    ck_assert_msg((strcmp(order, "000000111111") == 0) == orders[_i].first_alone,
                  "%s: %s", orders[_i].order, order);
    worker_end(&worker);
}
END_TEST

/* ---- doctor and audit */

static const struct {
    const char *setting;
    const char *check; /* what must be told of … */
    const char *verdict;
    int exit;
} ailments[] = {
    {"appendonly no", "persistence", "warn", 0},
    {"maxmemory 0", "memory", "warn", 0},
    {"maxmemory 1", "memory", "bad", 1},
    {"maxmemory-policy allkeys-lru", "eviction", "bad", 1},
};

START_TEST(doctor_finds_what_is_bad) {
    ok("redis-cli -s %s config set %s", daemons.server.socket, ailments[_i].setting);
    struct said said = sh_exit(ailments[_i].exit, "shoal doctor --json");
    const json_t *checks = json_lines(said.out);
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const json_t *check = json_array_get(checks, i);
        if (strcmp(text_in(check, "check"), ailments[_i].check) != 0)
            continue;
        ck_assert_str_eq(text_in(check, "verdict"), ailments[_i].verdict);
        ck_assert_uint_gt(strlen(text_in(check, "text")), 0);
        found++;
    }
    ck_assert_uint_eq(found, 1);
    char line[64];
    snprintf(line, sizeof(line), "\n%-5s %-12s ", ailments[_i].verdict,
             ailments[_i].check);
    expect_in(sh_exit(ailments[_i].exit, "shoal doctor").out, line);
}
END_TEST

START_TEST(audit_finds_what_is_wrong) {
    const char *job = ok("shoal submit -p i=1:5 -- true");
    ck_assert_str_eq(ok("shoal audit"), "1 job, nothing wrong");
    expect_int(first_of(ok("shoal audit --json")), "wrong", 0);
    ok("redis-cli -s %s hset 'shoal:{0}:job:%s' n active:5:0:3", daemons.server.socket,
       job);
    struct said said = sh_exit(1, "shoal audit");
    expect_in(said.out, job);
    expect_in(said.out, "wrong");
    const json_t *found = json_lines(sh_exit(1, "shoal audit --json").out);
    ck_assert_uint_ge(json_array_size(found), 2);
    expect_in(text_in(json_array_get(found, 0), "wrong"), job);
    ck_assert_int_ge(int_in(json_array_get(found, json_array_size(found) - 1), "wrong"),
                     1);
}
END_TEST

/* ---- the local cluster: what is found without SHOAL_REDIS */

START_TEST(cluster_stays_up_until_down) {
    const char *url =
        ok("unset SHOAL_REDIS; shoal up --slots 1 --queue here --namespace mine");
    ck_assert_ptr_eq(strstr(url, "unix:/"), url);
    ck_assert_str_eq(ok("unset SHOAL_REDIS; shoal up -q here"), url);
    ok("unset SHOAL_REDIS; shoal run -q here -n first -p i=1:4 -- echo x={i}");
    ck_assert_str_eq(
        text_in(first_of(ok("shoal --redis %s workers --namespace mine --json", url)),
                "queues"),
        "here");
    expect_in(sh_exit(2, "unset SHOAL_REDIS; shoal list --namespace other").err,
              "runs with the namespace 'mine'");
    expect_in(sh_exit(0, "unset SHOAL_REDIS; shoal down").err, "stopped");
    test_none_left(daemons.mark, LIMIT_MS);
    expect_in(sh_exit(0, "unset SHOAL_REDIS; shoal down").err, "no local cluster");
    ck_assert_str_eq(ok("unset SHOAL_REDIS; shoal results --format csv - | wc -l"), "5");
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

/* A worker that runs stays as it is; each queue has one of its own. */
START_TEST(what_stays_of_a_running_cluster_is_told) {
    static const char slots[] = "goes on with 1 slot; to have 3, run 'shoal down'";
    static const char added[] = "started a worker for the queue 'dafault'";
    ck_assert_str_eq(sh_exit(0, "unset SHOAL_REDIS; shoal up -s 1").err, "");
    ck_assert_str_eq(sh_exit(0, "unset SHOAL_REDIS; shoal up -s 1; shoal up").err, "");
    expect_in(sh_exit(0, "unset SHOAL_REDIS; shoal up -s 3").err, slots);
    expect_in(sh_exit(0, "unset SHOAL_REDIS; shoal run -s 3 -- true").err, slots);
    struct said said = sh_exit(0, "unset SHOAL_REDIS; shoal run -q dafault -s 3 -- true");
    expect_in(said.err, added);
    ck_assert_ptr_null(strstr(said.err, "goes on with"));
    said = sh_exit(0, "unset SHOAL_REDIS; shoal run -q dafault -- true");
    ck_assert_ptr_null(strstr(said.err, "started a worker"));
    ck_assert_str_eq(ok("unset SHOAL_REDIS; shoal workers --json | jq .slots | sort"),
                     "1\n3");
    ok("unset SHOAL_REDIS; shoal down");
    said = sh_exit(0, "unset SHOAL_REDIS; shoal run -q dafault -- true");
    ck_assert_ptr_null(strstr(said.err, "started a worker")); /* and stops it */
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

START_TEST(up_tells_which_redis_is_used) {
    static const char *const words[] = {"up", "down"};
    for (size_t i = 0; i < SHOAL_COUNT(words); i++)
        expect_in(
            sh_exit(2, "unset SHOAL_REDIS; shoal %s --redis unix:/nowhere", words[i]).err,
            "--redis does not go with it");
    test_none_left(daemons.mark, 0);
    expect_in(sh_exit(0, "shoal up -s 1").err, "SHOAL_REDIS is set, so other commands");
    sh_exit(0, "shoal down");
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

/* What it ran is known to be lost only when the next cluster keeps house. */
START_TEST(down_tells_of_a_worker_that_had_to_be_killed) {
    ok("unset SHOAL_REDIS; shoal up --slots 1");
    ok("kill -STOP $(cat .local/state/shoal/worker.pid)");
    expect_in(sh_exit(0, "unset SHOAL_REDIS; shoal down").err,
              "did not end within 15 s and was killed");
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

START_TEST(run_starts_a_cluster_and_stops_it) {
    struct said said = sh_exit(1, "unset SHOAL_REDIS; shoal run --slots 2 --format csv "
                                  "-p i=1:6 -- sh -c 'test {i} -ne 4 && echo x={i}'");
    expect_in(said.err, "6 tasks, 5 ok, 1 failed");
    test_none_left(daemons.mark, LIMIT_MS);
    ok("unset SHOAL_REDIS; shoal audit; test -z \"$(ls tmp)\"");
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

/* What is left of an interrupted run does not keep the cluster up. */
static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP};

START_TEST(interrupted_run_stops_its_cluster) {
    sh_start(&run, "env -u SHOAL_REDIS shoal run --slots 1 -- "
                   "sh -c ': > began; exec sleep 1000'");
    wait_until(files("began") == 1, LIMIT_MS);
    test_process_signal(&run, interrupts[_i]);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 130);
    test_none_left(daemons.mark, LIMIT_MS);
    test_process_finish(&run);
}
END_TEST

START_TEST(up_says_why_its_worker_could_not_begin) {
    struct said said =
        sh_exit(3, "unset SHOAL_REDIS; SHOAL_DRAIN=nonsense shoal up --slots 1");
    ck_assert_str_eq(said.out, "");
    expect_in(said.err, "the local worker ended at once: shoal-worker: SHOAL_DRAIN "
                        "'nonsense' is not a duration");
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

/* Daemons run in the root. */
START_TEST(folders_of_the_local_worker_are_absolute) {
    static const char *const names[] = {"SHOAL_SPOOL", "SHOAL_CHECKPOINTS"};
    for (size_t i = 0; i < SHOAL_COUNT(names); i++) {
        struct said said = sh_exit(2, "unset SHOAL_REDIS; %s=here shoal up", names[i]);
        expect_in(said.err, "'here' is no absolute path");
    }
    ok("unset SHOAL_REDIS SHOAL_SPOOL; shoal run --slots 1 -- true");
    ck_assert_uint_eq(files(".local/state/shoal/spool"), 1);
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

/* With `up`, with rows of stdin that never end, and with parameters. */
static const char *const fruitless[] = {"shoal up --slots 1",
                                        "yes | shoal run --slots 1 --from - -- true {}",
                                        "shoal run --slots 1 -p i=1:1000 -- true {i}"};

START_TEST(what_needs_a_worker_ends_when_it_could_not_begin) {
    ok(": > spool"); /* where SHOAL_SPOOL leads */
    struct said said = sh_exit(3, "unset SHOAL_REDIS; %s", fruitless[_i]);
    expect_in(said.err, "the local worker ended at once: ");
    expect_in(said.err, "--spool: nothing can be kept in");
    test_none_left(daemons.mark, LIMIT_MS);
    ok("unset SHOAL_REDIS; test $(shoal list --json | grep -c active) = 0; shoal down");
}
END_TEST

START_TEST(run_says_that_its_worker_was_killed) {
    sh_start(&run, "env -u SHOAL_REDIS shoal run --slots 1 -- "
                   "sh -c 'test -e began || { : > began; exec sleep 1000; }'");
    wait_until(files("began") == 1, LIMIT_MS);
    ok("kill -KILL $(cat .local/state/shoal/worker.pid)");
    wait_until(has_said(&run, "the local worker has ended, '"), LIMIT_MS);
    expect_in(ok("unset SHOAL_REDIS; shoal list"), "active"); /* goes on */
    ok("unset SHOAL_REDIS; shoal up --slots 1");
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 0);
    test_process_finish(&run);
    ok("unset SHOAL_REDIS; shoal down");
}
END_TEST

/* However far its start has come: as soon as such a file is there. */
static const char *const starts[] = {"lock", "redis.pid", "redis.sock", "broker.pid",
                                     "worker.pid"};

START_TEST(run_that_is_interrupted_while_its_cluster_starts_stops_it) {
    char file[64];
    snprintf(file, sizeof(file), ".local/state/shoal/%s", starts[_i]);
    sh_start(&run, "env -u SHOAL_REDIS shoal run --slots 1 -- sleep 1000");
    wait_until(files(file) == 1, LIMIT_MS);
    test_process_signal(&run, SIGINT);
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 130);
    test_none_left(daemons.mark, LIMIT_MS);
    test_process_finish(&run);
}
END_TEST

/* Its rows and words go nowhere any more. */
START_TEST(run_whose_terminal_is_closed_stops_its_cluster) {
    ok("unset SHOAL_REDIS; python3 -c '\n"
       "import os, pty, time\n"
       "pid, terminal = pty.fork()\n"
       "if pid == 0:\n"
       "    os.execlp(\"shoal\", \"shoal\", \"run\", \"--slots\", \"2\", \"-p\", "
       "\"i=1:2\", \"--\", \"sh\", \"-c\", \"test {i} = 1 || { : > began; "
       "exec sleep 1000; }\")\n"
       "while not os.path.exists(\"began\"):\n"
       "    time.sleep(0.01)\n"
       "os.close(terminal)\n"
       "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130\n'");
    test_none_left(daemons.mark, LIMIT_MS);
    const json_t *job = first_of(ok("unset SHOAL_REDIS; shoal status --json"));
    ck_assert_str_eq(text_in(job, "state"), "cancelled");
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

START_TEST(submitted_job_keeps_the_cluster_up) {
    int gate = gate_close("gate");
    ok("unset SHOAL_REDIS; shoal submit --slots 1 -n stays -- flock -sF gate echo x=1");
    gate_open(gate);
    sh_exit(0, "unset SHOAL_REDIS; shoal wait stays"); /* and stops it as the last one */
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

START_TEST(pid_file_that_cannot_be_looked_at_is_named) {
    static const char *const looks[] = {"up", "down"};
    ok("mkdir -p .local/state/shoal/redis.pid");
    for (size_t i = 0; i < SHOAL_COUNT(looks); i++) {
        struct said said = sh_exit(3, "unset SHOAL_REDIS; shoal %s", looks[i]);
        expect_in(said.err, "redis.pid', which tells whether the daemon runs: ");
    }
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

/* Files of shoal's own had their numbers, and got what was printed. */
START_TEST(closed_streams_are_no_files) {
    struct said said =
        sh_exit(1, "unset SHOAL_REDIS; shoal run -p i=1:2 -- echo {i} <&- >&-");
    ck_assert_ptr_nonnull(strstr(said.err, "cannot be written: Bad file descriptor"));
    said = sh_exit(2, "unset SHOAL_REDIS; shoal run --from - -- echo {} <&-");
    ck_assert_ptr_nonnull(strstr(said.err, "cannot read stdin: Bad file descriptor"));
    ok("unset SHOAL_REDIS; shoal up <&- 2>&-");
    sh_exit(1, "unset SHOAL_REDIS; shoal workers >&- 2>&-");
    ck_assert_str_eq(ok("find .local/state/shoal -name users -size +0"), "");
    ok("unset SHOAL_REDIS; shoal down");
}
END_TEST

START_TEST(submitted_job_is_named_though_the_output_is_full) {
    struct said said = sh_exit(1, "shoal submit -- true > /dev/full");
    expect_in(said.err, "was submitted, but its id cannot be printed: No space left");
    expect_in(said.err, ok("shoal list --json | jq -r .id"));
}
END_TEST

START_TEST(no_jobs_are_said) {
    ck_assert_str_eq(ok("shoal status"), "there are no jobs");
    ck_assert_str_eq(ok("shoal list"), "there are no jobs");
    ck_assert_str_eq(ok("shoal status --json"), "");
    ck_assert_str_eq(ok("shoal list --json"), "");
}
END_TEST

START_TEST(nothing_is_found_where_nothing_was) {
    static const char *const rows[] = {"status", "list", "results -", "audit", "workers"};
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        struct said said = sh_exit(2, "unset SHOAL_REDIS; shoal %s", rows[i]);
        ck_assert_str_eq(said.out, "");
        ck_assert_uint_gt(strlen(said.err), 0);
    }
    test_none_left(daemons.mark, LIMIT_MS);
}
END_TEST

static void add_help_and_mistakes(Suite *suite) {
    TCase *tests = tcase_create("words");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, every_command_has_help, 0, (int)SHOAL_COUNT(commands));
    tcase_add_test(tests, help_names_exactly_the_commands_that_are_tested);
    tcase_add_loop_test(tests, bash_completes, 0, (int)SHOAL_COUNT(completions));
    tcase_add_loop_test(tests, fish_completes, 0, (int)SHOAL_COUNT(completions));
    tcase_add_test(tests, bash_completes_jobs);
    tcase_add_test(tests, fish_completes_jobs);
    tcase_add_loop_test(tests, mistake_is_told_in_a_line_and_changes_nothing, 0,
                        (int)SHOAL_COUNT(mistakes));
    tcase_add_loop_test(tests, absent_redis_is_told, 0, (int)SHOAL_COUNT(needs_redis));
    tcase_add_test(tests, redis_that_loads_its_data_is_waited_for);
    tcase_add_test(tests, password_comes_from_a_file_that_is_private);
    tcase_add_test(tests, namespaces_are_apart);
    suite_add_tcase(suite, tests);
}

static void add_jobs_and_fleet(Suite *suite) {
    TCase *tests = tcase_create("jobs");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, wait_tells_how_jobs_ended);
    tcase_add_test(tests, interrupted_wait_leaves_the_job_alone);
    tcase_add_test(tests, job_has_four_names);
    tcase_add_test(tests, name_of_a_forgotten_job_means_the_newest_that_is_left);
    tcase_add_test(tests, beginning_that_fits_several_jobs_is_refused);
    tcase_add_test(tests, status_tells_all_of_a_job);
    tcase_add_test(tests, status_tells_how_far_a_job_is);
    tcase_add_test(tests, status_without_a_job_shows_what_has_not_ended);
    tcase_add_test(tests, status_looks_at_the_newest_jobs);
    tcase_add_test(tests, list_has_the_newest_first);
    tcase_add_test(tests, job_without_a_worker_is_told_how_to_get_one);
    tcase_add_test(tests, workers_tell_of_the_fleet);
    tcase_add_test(tests, queues_tell_of_themselves);
    tcase_add_test(tests, queue_that_nobody_knows_is_said);
    tcase_add_loop_test(tests, order_of_a_queue_is_kept, 0, (int)SHOAL_COUNT(orders));
    tcase_add_loop_test(tests, doctor_finds_what_is_bad, 0, (int)SHOAL_COUNT(ailments));
    tcase_add_test(tests, audit_finds_what_is_wrong);
    suite_add_tcase(suite, tests);
}

static void add_cluster(Suite *suite) {
    TCase *tests = tcase_create("cluster");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, cluster_stays_up_until_down);
    tcase_add_test(tests, what_stays_of_a_running_cluster_is_told);
    tcase_add_test(tests, up_tells_which_redis_is_used);
    tcase_add_test(tests, down_tells_of_a_worker_that_had_to_be_killed);
    tcase_add_test(tests, run_starts_a_cluster_and_stops_it);
    tcase_add_loop_test(tests, interrupted_run_stops_its_cluster, 0,
                        (int)SHOAL_COUNT(interrupts));
    tcase_add_loop_test(tests, run_that_is_interrupted_while_its_cluster_starts_stops_it,
                        0, (int)SHOAL_COUNT(starts));
    tcase_add_test(tests, up_says_why_its_worker_could_not_begin);
    tcase_add_test(tests, folders_of_the_local_worker_are_absolute);
    tcase_add_loop_test(tests, what_needs_a_worker_ends_when_it_could_not_begin, 0,
                        (int)SHOAL_COUNT(fruitless));
    tcase_add_test(tests, run_says_that_its_worker_was_killed);
    tcase_add_test(tests, run_whose_terminal_is_closed_stops_its_cluster);
    tcase_add_test(tests, submitted_job_keeps_the_cluster_up);
    tcase_add_test(tests, pid_file_that_cannot_be_looked_at_is_named);
    tcase_add_test(tests, closed_streams_are_no_files);
    tcase_add_test(tests, nothing_is_found_where_nothing_was);
    tcase_add_test(tests, submitted_job_is_named_though_the_output_is_full);
    tcase_add_test(tests, no_jobs_are_said);
    suite_add_tcase(suite, tests);
}

int main(void) {
    Suite *suite = suite_create("cli");
    add_help_and_mistakes(suite);
    add_jobs_and_fleet(suite);
    add_cluster(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
