/* The protocol between a worker and a runner that stays, as worker/README.md has it: its
 * vectors, byte for byte, with the runners of C and of Python. */
#include "broker/outcome.h"
#include "common/cleanup.h"
#include "tests/support/process.h"
#include "tests/support/wait.h"
#include "worker/frame.h"
#include "worker/slate.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_MS = 20000, REPLY_MAX = 65536 };

/* ---- frames */

static const struct {
    const char *bytes;
    enum shoal_frame_state state;
    size_t size;
} frames[] = {
    {"", SHOAL_FRAME_PARTIAL, 0},
    {"$", SHOAL_FRAME_PARTIAL, 0},
    {"$4", SHOAL_FRAME_PARTIAL, 0},
    {"$4\r", SHOAL_FRAME_PARTIAL, 10},
    {"$4\r\n*0\r\n", SHOAL_FRAME_PARTIAL, 10},
    {"$4\r\n*0\r\n\r\n", SHOAL_FRAME_WHOLE, 10},
    {"$4\r\n*0\r\n\r\n$9", SHOAL_FRAME_WHOLE, 10},
    {"$0\r\n\r\n", SHOAL_FRAME_WHOLE, 6},
    {"$67108864\r\n", SHOAL_FRAME_PARTIAL, 67108864 + 13},
    {"$67108865\r\n", SHOAL_FRAME_GARBAGE, 0},
    {"$99999999999999999999999\r\n", SHOAL_FRAME_GARBAGE, 0},
    {"*1\r\n", SHOAL_FRAME_GARBAGE, 0},
    {"$\r\n", SHOAL_FRAME_GARBAGE, 0},
    {"$-1\r\n", SHOAL_FRAME_GARBAGE, 0},
    {"$4\n\n*0\r\n", SHOAL_FRAME_GARBAGE, 0},
    {"$4\r\n*0\r\nXX", SHOAL_FRAME_GARBAGE, 0},
};

START_TEST(frame_is_whole_partial_or_garbage) {
    const char *message = NULL;
    size_t len = 0, size = 0;
    ck_assert_int_eq(shoal_frame_look(frames[_i].bytes, strlen(frames[_i].bytes),
                                      &message, &len, &size),
                     frames[_i].state);
    if (frames[_i].state != SHOAL_FRAME_GARBAGE)
        ck_assert_uint_eq(size, frames[_i].size);
    if (frames[_i].state == SHOAL_FRAME_WHOLE)
        ck_assert_uint_eq(len, size - 6);
}
END_TEST

/* ---- runners, which a test plays the worker of */

static struct shoal_slate *slate;
static pid_t runner;
static int line;
static char reply[REPLY_MAX];
static size_t reply_len;

static const struct {
    const char *words[6];
    int computes;
} runners[] = {
    {{"--plugin", "PLUGIN", "--task", "line"}, 1},
    {{"--python", "test_lines:line"}, 0},
};

static void become_runner(int theirs, int page, const char *const *words) {
    struct test_path host = test_built("shoal-host");
    struct test_path plugin = test_built("tests/support/tasks.so");
    const char *argv[8] = {host.text};
    for (size_t i = 0; words[i] != NULL; i++)
        argv[i + 1] = strcmp(words[i], "PLUGIN") == 0 ? plugin.text : words[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(theirs, 3) == 3 && dup2(page, 4) == 4)
        execv(host.text, (char *const *)(void *)argv);
    _exit(127);
}

static void start_runner(const char *const *words) {
    int ends[2];
    int page = memfd_create("slate", 0);
    ck_assert_int_eq(ftruncate(page, SHOAL_SLATE_SIZE), 0);
    slate = mmap(NULL, SHOAL_SLATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    ck_assert_ptr_ne(slate, MAP_FAILED);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    /* Out of the way of what the runner is given. */
    int theirs = dup2(ends[1], 40), its = dup2(page, 41);
    close(ends[1]);
    close(page);
    runner = fork();
    if (runner == 0)
        become_runner(theirs, its, words);
    close(theirs);
    close(its);
    line = ends[0];
    reply_len = 0;
}

static void end_runner(void) {
    int status = 0;
    close(line);
    ck_assert_int_eq(waitpid(runner, &status, 0), runner);
    ck_assert_int_eq(status, 0); /* it ends by itself when the worker is gone */
    munmap(slate, SHOAL_SLATE_SIZE);
}

/* The next message, whose frame is dropped. */
static struct shoal_record_reader receive(void) {
    static char message[REPLY_MAX];
    const char *found = NULL;
    size_t len = 0, size = 0;
    while (shoal_frame_look(reply, reply_len, &found, &len, &size) != SHOAL_FRAME_WHOLE) {
        ssize_t got = read(line, reply + reply_len, sizeof(reply) - reply_len);
        ck_assert_int_gt(got, 0);
        reply_len += (size_t)got;
    }
    struct shoal_record_reader reader;
    memcpy(message, found, len);
    shoal_record_reader_init(&reader, message, len);
    memmove(reply, reply + size, reply_len - size);
    reply_len -= size;
    return reader;
}

static void say(const char *bytes) {
    ck_assert_int_eq(write(line, bytes, strlen(bytes)), (ssize_t)strlen(bytes));
}

static void say_spec(const char *json) {
    char frame[1024], message[900];
    int len = snprintf(message, sizeof(message), "*2\r\n$4\r\nspec\r\n$%zu\r\n%s\r\n",
                       strlen(json), json);
    snprintf(frame, sizeof(frame), "$%d\r\n%s\r\n", len, message);
    say(frame);
}

static int64_t next_int(struct shoal_record_reader *reader) {
    int64_t value = -1;
    ck_assert(shoal_record_read_int(reader, &value));
    return value;
}

static const char *next_text(struct shoal_record_reader *reader) {
    static char text[REPLY_MAX];
    const char *bytes = NULL;
    size_t len = 0;
    ck_assert(shoal_record_read_bytes(reader, &bytes, &len));
    memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

/* Takes a "done" of so many tasks from a position on, the last of the batch, and gives
 * their outcomes. */
static char *take_done(int64_t position, int64_t tasks) {
    struct shoal_record_reader reader = receive();
    size_t n = 0;
    ck_assert(shoal_record_read_array(&reader, &n));
    ck_assert_uint_eq(n, 9);
    ck_assert_str_eq(next_text(&reader), "done");
    ck_assert_int_eq(next_int(&reader), position);
    ck_assert_int_eq(next_int(&reader), tasks);
    int64_t elements = next_int(&reader);
    char *outcomes = strdup(next_text(&reader));
    ck_assert_int_ge(next_int(&reader), 0); /* µs */
    ck_assert_int_gt(next_int(&reader), 0); /* KiB */
    ck_assert_int_eq(next_int(&reader), 1);
    ck_assert(shoal_record_read_array(&reader, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert(elements >= 1 && elements <= tasks);
    return outcomes;
}

/* Takes a "done" of a batch of which nothing may be begun. */
static void take_nothing_done(int64_t position) {
    struct shoal_record_reader reader = receive();
    size_t n = 0;
    ck_assert(shoal_record_read_array(&reader, &n));
    ck_assert_str_eq(next_text(&reader), "done");
    ck_assert_int_eq(next_int(&reader), position);
    ck_assert_int_eq(next_int(&reader), 0);
    ck_assert_int_eq(next_int(&reader), 0);
}

/* What stands between < and > in them, each with a space behind it. */
static void expect_results(const char *outcomes, const char *expected) {
    char seen[256] = "";
    for (const char *at = outcomes; (at = strstr(at, "<")) != NULL; at++) {
        const char *end = strchr(at, '>');
        strncat(seen, at + 1, (size_t)(end - at - 1));
        strcat(seen, " ");
    }
    ck_assert_str_eq(seen, expected);
}

static const char spec[] =
    "{\"version\":1,\"command\":[\"x\"],\"directory\":\"/tmp\",\"timeout_ms\":0,"
    "\"grace_ms\":1000,\"result_max\":1024,\"arguments\":\"line\",\"runner\":\"host\","
    "\"sweep\":{\"mode\":\"product\",\"repetitions\":1,\"parameters\":[]}}";

/* The vector of README.md: attempt 1 of tasks 7, 8 and 9 with arguments. */
static const char run[] =
    "$112\r\n*8\r\n$3\r\nrun\r\n$12\r\n0123456789ab\r\n$2\r\n42\r\n$1\r\n1\r\n$1\r\n7\r\n"
    "$1\r\n3\r\n$9\r\narguments\r\n$29\r\n$3\r\n<a>\r\n$4\r\n<b >\r\n$4\r\n<\303\251>"
    "\r\n\r\n\r\n";

static void write_module(struct test_directory *directory) {
    char path[64];
    snprintf(path, sizeof(path), "%s/test_lines.py", directory->path);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("def line(text):\n    return text\n", file);
    fclose(file);
    ck_assert_int_eq(chdir(directory->path), 0);
}

START_TEST(runner_speaks_the_protocol) {
    struct test_directory directory;
    test_directory_create(&directory);
    write_module(&directory);
    start_runner(runners[_i].words);

    struct shoal_record_reader hello = receive();
    size_t n = 0;
    ck_assert(shoal_record_read_array(&hello, &n));
    ck_assert_uint_eq(n, 3);
    ck_assert_str_eq(next_text(&hello), "hello");
    ck_assert_int_eq(next_int(&hello), SHOAL_PROTOCOL_VERSION);
    ck_assert_int_eq(next_int(&hello), runners[_i].computes);

    say_spec(spec);
    atomic_store(&slate->limit, INT64_MAX);
    say(run);
    char *outcomes = take_done(0, 3);
    expect_results(outcomes, "a b  \303\251 ");
    free(outcomes);
    ck_assert_int_eq(atomic_load(&slate->mark), 2); /* a position, not an index */

    atomic_store(&slate->limit, 4); /* the second task and those behind were taken back */
    say(run);
    outcomes = take_done(3, 1);
    expect_results(outcomes, "a ");
    free(outcomes);

    atomic_store(&slate->limit,
                 10); /* three batches at once, up to the first of the last */
    say(run);
    say(run);
    for (int i = 0; i < 2; i++) {
        outcomes = i == 0 ? take_done(6, 3) : take_done(9, 1);
        expect_results(outcomes, i == 0 ? "a b  \303\251 " : "a ");
        free(outcomes);
    }
    say(run);
    take_nothing_done(12);
    end_runner();
    test_directory_destroy(&directory);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("protocol");
    TCase *cases = tcase_create("protocol");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, frame_is_whole_partial_or_garbage, 0, SHOAL_COUNT(frames));
    tcase_add_loop_test(cases, runner_speaks_the_protocol, 0, SHOAL_COUNT(runners));
    suite_add_tcase(suite, cases);
    SRunner *all = srunner_create(suite);
    srunner_run_all(all, CK_ENV);
    int failed = srunner_ntests_failed(all);
    srunner_free(all);
    return failed == 0 ? 0 : 1;
}
