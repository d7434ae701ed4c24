/* The loops that every task goes through outside Redis, for counting their instructions:
 *
 *     hot_loops LOOP N     so many tasks, or elements
 *     hot_loops            the names of the loops
 *
 * What N costs beyond the beginning and the end is the difference of two runs. The clock
 * is made of how often it is asked, so that a run is nearly the same each time. */
#include "broker/session.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/spec.h"
#include "worker/frame.h"
#include "worker/host_call.h"
#include "worker/host_serve.h"
#include "worker/slate.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BATCH = 4096, /* tasks of a `run` with arguments, and of an element for many */
    BUFFER_MAX = 256 << 20,
};

#define SPEC(command, arguments, sweep)                                                  \
    "{\"version\":1,\"directory\":\"/tmp\",\"environment\":{},\"timeout_ms\":0,"         \
    "\"grace_ms\":1000,\"result_max\":65536," command ",\"arguments\":\"" arguments      \
    "\",\"sweep\":" sweep "}"
#define PROGRAM "\"command\":[\"./sir\",\"--beta\",\"{beta}\",\"--seed\",\"{seed}\"]"
#define HOST "\"command\":[\"shoal-host\"],\"runner\":\"host\""
#define SWEEP                                                                            \
    "{\"mode\":\"product\",\"repetitions\":20,\"parameters\":["                          \
    "{\"name\":\"beta\",\"values\":\"0.1:0.9:0.0001\"},"                                 \
    "{\"name\":\"n\",\"values\":\"1:1000\"}]}"
#define NO_SWEEP "{\"mode\":\"product\",\"repetitions\":1,\"parameters\":[]}"

static const char program_spec[] = SPEC(PROGRAM, "none", SWEEP);
static const char computed_spec[] = SPEC(HOST, "none", SWEEP);
static const char explicit_spec[] = SPEC(HOST, "line", NO_SWEEP);

static const struct shoal_outcome outcome = {
    .attempt = 1,
    .wall_us = 1234,
    .cpu_us = 1200,
    .rss_kb = 4096,
    .result = "{\"y\":42}",
    .result_len = 8,
};

static void expect(bool good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "hot_loops: %s\n", what);
    exit(1);
}

static int64_t count_time(void) {
    static _Atomic int64_t now;
    return ++now;
}

/* ---- records */

static void records_write(int64_t n) {
    struct shoal_buffer buffer;
    shoal_buffer_init(&buffer, BUFFER_MAX);
    for (int64_t i = 0; i < n; i++) {
        shoal_record_array(&buffer, 2);
        shoal_record_int(&buffer, i);
        shoal_record_bytes(&buffer, "0123456", 7);
    }
    expect(!buffer.failed, "no room for records");
    shoal_buffer_finish(&buffer);
}

/* The same few again and again. */
static void records_read(int64_t n) {
    struct shoal_record_reader reader = {.at = NULL};
    struct shoal_buffer buffer;
    size_t fields = 0, len = 0;
    int64_t number = 0;
    const char *bytes = NULL;
    shoal_buffer_init(&buffer, BUFFER_MAX);
    shoal_record_array(&buffer, 2);
    shoal_record_int(&buffer, 1234567);
    shoal_record_bytes(&buffer, "0123456", 7);
    for (int64_t i = 0; i < n; i++) {
        shoal_record_reader_init(&reader, shoal_buffer_text(&buffer), buffer.len);
        expect(shoal_record_read_array(&reader, &fields) &&
                   shoal_record_read_int(&reader, &number) &&
                   shoal_record_read_bytes(&reader, &bytes, &len),
               "records are garbled");
    }
    shoal_buffer_finish(&buffer);
}

/* ---- outcomes */

static void outcome_write(int64_t n) {
    struct shoal_buffer pack;
    shoal_buffer_init(&pack, BUFFER_MAX);
    for (int64_t i = 0; i < n; i++)
        shoal_outcome_write(&pack, &outcome);
    expect(!pack.failed, "no room for outcomes");
    shoal_buffer_finish(&pack);
}

static void commit_add(int64_t n) {
    struct shoal_commit commit;
    shoal_commit_init(&commit, "0123456789ab", "1", 0);
    for (int64_t i = 0; i < n; i++)
        shoal_commit_add(&commit, &outcome, "worker", "", 0);
    expect(!commit.outcomes.failed, "no room for a commit");
    shoal_commit_finish(&commit);
}

/* An entry of a results list, all of it accepted. */
static void begin_entry(struct shoal_buffer *entry, size_t elements, int64_t tasks) {
    shoal_buffer_init(entry, BUFFER_MAX);
    shoal_buffer_add_format(entry, "0-%" PRId64 "\n", tasks);
    shoal_pack_begin(entry, "worker", 0, elements);
}

static void read_entry(const struct shoal_buffer *entry, int64_t tasks) {
    struct shoal_entry_reader reader;
    struct shoal_outcome read;
    int64_t seen = 0, index = 0;
    expect(shoal_entry_begin(&reader, entry->data, entry->len, NULL) == SHOAL_OK,
           "an entry is garbled");
    for (bool more = true; more; seen += more)
        expect(shoal_entry_next(&reader, &more, &index, &read, NULL) == SHOAL_OK,
               "an outcome is garbled");
    expect(seen == tasks, "not all outcomes are there");
}

static void entry_next(int64_t n) {
    struct shoal_buffer entry;
    begin_entry(&entry, BATCH, BATCH);
    for (size_t i = 0; i < BATCH; i++)
        shoal_outcome_write(&entry, &outcome);
    for (; n > 0; n -= BATCH)
        read_entry(&entry, BATCH);
    shoal_buffer_finish(&entry);
}

static void entry_next_many(int64_t n) {
    struct shoal_buffer entry, results;
    shoal_buffer_init(&results, BUFFER_MAX);
    for (size_t i = 0; i < BATCH; i++)
        shoal_record_bytes(&results, outcome.result, outcome.result_len);
    begin_entry(&entry, 1, BATCH);
    shoal_outcome_write_many(&entry, BATCH, &outcome, results.data, results.len);
    for (; n > 0; n -= BATCH)
        read_entry(&entry, BATCH);
    shoal_buffer_finish(&entry);
    shoal_buffer_finish(&results);
}

/* ---- programs */

/* The words of a program for each point of a sweep. */
static void expand(int64_t n) {
    SHOAL_CLEANUP(shoal_spec_cleanup) struct shoal_spec spec;
    expect(shoal_spec_read(program_spec, strlen(program_spec), &spec, NULL) == SHOAL_OK,
           "the spec is wrong");
    for (int64_t i = 0; i < n; i++) {
        SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters;
        SHOAL_CLEANUP(shoal_cleanup_free) char **words = NULL;
        expect(shoal_parameters_make(&spec, i, NULL, 0, &parameters, NULL) == SHOAL_OK,
               "no parameters");
        const struct shoal_task task = {
            .job = "0123456789ab", .index = i, .seed = 1, .parameters = &parameters};
        expect(shoal_spec_expand(&spec, &task, &words, NULL) == SHOAL_OK, "no words");
    }
}

/* ---- shoal-host, whose worker are two processes: one talks, the other listens */

static int noop(struct shoal_call *call) {
    (void)call;
    return 0;
}

static int sum(struct shoal_call *call) {
    shoal_call_add_int(call, "y", shoal_call_int(call, "n", 0) + 1);
    return 0;
}

static void say(int fd, const struct shoal_buffer *message) {
    struct shoal_buffer frame;
    char head[32];
    shoal_buffer_init(&frame, BUFFER_MAX);
    shoal_buffer_add(&frame, head, shoal_frame_head(head, message->len));
    shoal_buffer_add(&frame, message->data, message->len);
    shoal_buffer_add_text(&frame, "\r\n");
    for (size_t at = 0; at < frame.len;) {
        ssize_t sent = write(fd, frame.data + at, frame.len - at);
        if (sent <= 0)
            _exit(1);
        at += (size_t)sent;
    }
    shoal_buffer_finish(&frame);
}

static void say_spec(int fd, const char *json) {
    struct shoal_buffer message;
    shoal_buffer_init(&message, BUFFER_MAX);
    shoal_record_array(&message, 2);
    shoal_record_text(&message, "spec");
    shoal_record_text(&message, json);
    say(fd, &message);
    shoal_buffer_finish(&message);
}

/* `arguments` may be NULL. */
static void say_run(int fd, int64_t first, int64_t count,
                    const struct shoal_buffer *arguments) {
    struct shoal_buffer message;
    shoal_buffer_init(&message, BUFFER_MAX);
    shoal_record_array(&message, 1 + SHOAL_RUN_FIELDS);
    shoal_record_text(&message, "run");
    shoal_record_text(&message, "0123456789ab");
    shoal_record_int(&message, 42);
    shoal_record_int(&message, 1);
    shoal_record_int(&message, first);
    shoal_record_int(&message, count);
    shoal_record_text(&message, arguments == NULL ? "computed" : "arguments");
    shoal_record_bytes(&message, arguments == NULL ? "" : arguments->data,
                       arguments == NULL ? 0 : arguments->len);
    say(fd, &message);
    shoal_buffer_finish(&message);
}

static _Noreturn void talk(const int *ends, bool with_arguments, int64_t n) {
    struct shoal_buffer arguments;
    int fd = ends[0];
    close(ends[1]);
    shoal_buffer_init(&arguments, BUFFER_MAX);
    for (size_t i = 0; i < BATCH; i++)
        shoal_record_bytes(&arguments, "0123456", 7);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    say_spec(fd, with_arguments ? explicit_spec : computed_spec);
    for (int64_t first = 0; with_arguments && first < n; first += BATCH)
        say_run(fd, first, BATCH, &arguments);
    if (!with_arguments)
        say_run(fd, 0, n, NULL);
    shutdown(fd, SHUT_WR);
    _exit(0);
}

static _Noreturn void listen_to_end(const int *ends) {
    static char bytes[1 << 16];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[1]);
    while (read(ends[0], bytes, sizeof(bytes)) > 0)
        ;
    _exit(0);
}

/* Puts the host's end and a slate where the host looks for them. */
static void place_descriptors(const int *ends) {
    int page = memfd_create("slate", 0);
    expect(page >= 0 && ftruncate(page, SHOAL_SLATE_SIZE) == 0, "no memory for a slate");
    struct shoal_slate *slate =
        mmap(NULL, SHOAL_SLATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    expect(slate != MAP_FAILED, "no memory for a slate");
    slate->limit = INT64_MAX;
    munmap(slate, SHOAL_SLATE_SIZE);
    const int high[] = {fcntl(ends[1], F_DUPFD, 40), fcntl(page, F_DUPFD, 40)};
    close(ends[0]);
    close(ends[1]);
    close(page);
    expect(dup2(high[0], SHOAL_HOST_SOCKET) >= 0 && dup2(high[1], SHOAL_HOST_SLATE) >= 0,
           "no descriptors");
    close(high[0]);
    close(high[1]);
}

static void serve(shoal_task_fn run, bool with_arguments, int64_t n) {
    int ends[2];
    expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "no sockets");
    if (fork() == 0)
        talk(ends, with_arguments, n);
    pid_t listener = fork();
    if (listener == 0)
        listen_to_end(ends);
    place_descriptors(ends);
    expect(shoal_host_serve(run) == 0, "the host failed");
    kill(listener, SIGKILL); /* the host leaves its socket to the end of the program */
    while (wait(NULL) > 0)
        ;
}

static void host_computed(int64_t n) {
    serve(noop, false, n);
}

static void host_arguments(int64_t n) {
    serve(noop, true, n);
}

static void host_fields(int64_t n) {
    serve(sum, false, n);
}

static const struct {
    const char *name;
    void (*run)(int64_t n);
} loops[] = {
    {"commit-add", commit_add},           {"entry-next", entry_next},
    {"entry-next-many", entry_next_many}, {"expand", expand},
    {"host-arguments", host_arguments},   {"host-computed", host_computed},
    {"host-fields", host_fields},         {"outcome-write", outcome_write},
    {"records-read", records_read},       {"records-write", records_write},
};

int main(int argc, char **argv) {
    int64_t n = argc == 3 ? strtoll(argv[2], NULL, 10) : 0;
    shoal_now_us = count_time;
    for (size_t i = 0; i < SHOAL_COUNT(loops); i++) {
        if (argc == 1)
            puts(loops[i].name);
        else if (n > 0 && strcmp(argv[1], loops[i].name) == 0)
            return loops[i].run(n), 0;
    }
    if (argc == 1)
        return 0;
    fprintf(stderr, "Usage: hot_loops [LOOP N]\n");
    return 2;
}
