/* A worker's side of the protocol of runners that stay: what such a runner says, and what
 * it writes to the slate, through the functions of runner_host*.c that take it. No
 * process is started: the one in its place has a number that no process has.
 *
 * The input is pieces apart at lines "--": what the runner says, for which the frame is
 * made; behind a '!' what it says as it stands; behind a '@' what is done otherwise, as
 * the table below has it. */
#include <assert.h>

#include "worker/runner_host.c" /* NOLINT(bugprone-suspicious-include) */

#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "worker/frame.h"

#include <sys/socket.h>

enum { NOBODY = INT_MAX, TASKS = 20 };

/* What the slot is told. */
struct slot {
    int64_t next; /* the first task that is not reported */
    size_t endings;
    bool all;
};

static void reported(void *owner, const struct shoal_report *report) {
    struct slot *slot = owner;
    int64_t before = -1;
    assert(report->tasks > 0 && report->tasks <= TASKS);
    assert(report->elements <= (size_t)report->tasks && report->work_us >= 0);
    for (size_t i = 0; i < report->n_failures; i++) {
        assert(report->failures[i].index > before);
        assert(report->failures[i].len <= SHOAL_STDERR_MAX);
        before = report->failures[i].index;
    }
    slot->next += report->tasks;
}

static void ended(void *owner, const struct shoal_ending *ending) {
    struct slot *slot = owner;
    assert(ending->stderr_end != NULL && ending->outcome.result != NULL);
    assert(!ending->all || ending->index < 3 * TASKS);
    slot->endings++;
    slot->all = slot->all || ending->all;
}

static void told(void *owner, int64_t index, double fraction, const char *text,
                 size_t len) {
    (void)owner;
    (void)index;
    assert(fraction == -1 || (fraction >= 0 && fraction <= 1));
    assert(text != NULL || len == 0);
}

static struct shoal_stay *make_host(struct event_base *base, struct slot *slot) {
    struct shoal_runner *runner = NULL;
    const struct shoal_runner_settings settings = {.base = base,
                                                   .directory = "/nonexistent",
                                                   .max_tasks = 3 * TASKS,
                                                   .reported = reported,
                                                   .ended = ended,
                                                   .told = told,
                                                   .owner = slot};
    assert(shoal_runner_host_create(&settings, &runner, NULL) == SHOAL_OK);
    return shoal_stay_of(runner);
}

/* As shoal_stay_launch() leaves it. */
static int bear(struct shoal_stay *host) {
    int ends[2], printed = -1;
    host->pid = NOBODY;
    snprintf(host->digest, sizeof(host->digest), "d");
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    assert(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    assert(shoal_stay_watch_socket(host, ends[0]));
    assert(shoal_capture_open(&host->printed, SHOAL_STDERR_MAX, &printed, NULL) ==
           SHOAL_OK);
    close(printed);
    shoal_stay_set_timer(host, GREETING_MS);
    return ends[1];
}

static void give_batch(struct shoal_stay *host, const struct shoal_spec *spec,
                       int64_t lo) {
    int64_t taken = 0;
    const struct shoal_batch batch = {.spec = spec,
                                      .digest = "d",
                                      .job = "0123456789ab",
                                      .seed = 7,
                                      .attempt = 1,
                                      .lo = lo,
                                      .hi = lo + TASKS};
    if (host->hands.n == 0 || takes_more(&host->runner, "d"))
        assert(start(&host->runner, &batch, &taken, NULL) == SHOAL_OK);
}

static void set_mark(struct shoal_stay *host, int64_t n) {
    atomic_store(&host->slate->mark, n);
}

static void set_asked(struct shoal_stay *host, int64_t n) {
    atomic_store(&host->slate->asked, n);
}

static void set_limit(struct shoal_stay *host, int64_t n) {
    atomic_store(&host->slate->limit, n); /* which is not the runner's to write */
}

static void do_stop(struct shoal_stay *host, SHOAL_UNUSED int64_t n) {
    stop(&host->runner);
}

static void do_kill(struct shoal_stay *host, SHOAL_UNUSED int64_t n) {
    kill_now(&host->runner);
}

static void do_cut(struct shoal_stay *host, SHOAL_UNUSED int64_t n) {
    size_t batch = 0;
    if (host->hands.n > 0 && shoal_batches_at(&host->hands, 0) != NULL)
        assert(cut(&host->runner, &batch) >= 0);
}

static void pass_time(struct shoal_stay *host, SHOAL_UNUSED int64_t n) {
    on_timer(-1, 0, host);
}

/* What may happen besides. */
static const struct {
    const char *word;
    void (*act)(struct shoal_stay *host, int64_t n);
} acts[] = {
    {"mark", set_mark}, {"asked", set_asked}, {"limit", set_limit}, {"stop", do_stop},
    {"kill", do_kill},  {"cut", do_cut},      {"time", pass_time},
};

static void act(struct shoal_stay *host, const char *text) {
    for (size_t i = 0; i < SHOAL_COUNT(acts); i++) {
        size_t len = strlen(acts[i].word);
        if (strncmp(text, acts[i].word, len) == 0)
            acts[i].act(host, strtoll(text + len, NULL, 10));
    }
}

static void hear(struct shoal_stay *host, int theirs, const char *bytes, size_t len) {
    if (len > 0 && host->pid == NOBODY && host->nonsense[0] == '\0') {
        assert(send(theirs, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
        shoal_stay_readable(host->socket, 0, host);
    }
}

static void hear_message(struct shoal_stay *host, int theirs, const char *bytes,
                         size_t len) {
    struct shoal_buffer frame;
    char head[32];
    shoal_buffer_init(&frame, 1 << 20);
    shoal_buffer_add(&frame, head, shoal_frame_head(head, len));
    shoal_buffer_add(&frame, bytes, len);
    shoal_buffer_add(&frame, "\r\n", 2);
    hear(host, theirs, frame.data, frame.len);
    shoal_buffer_finish(&frame);
}

static void take_piece(struct shoal_stay *host, int theirs, const char *bytes,
                       size_t len) {
    static const char hello[] = "*3\r\n$5\r\nhello\r\n$1\r\n2\r\n$1\r\n1\r\n";
    if (len > 0 && bytes[0] == '@') {
        char *text = strndup(bytes + 1, len - 1);
        act(host, text);
        free(text);
    } else if (len > 0 && bytes[0] == '!') {
        hear(host, theirs, bytes + 1, len - 1);
    } else if (len == 0) {
        hear_message(host, theirs, hello, sizeof(hello) - 1);
    } else {
        hear_message(host, theirs, bytes, len);
    }
}

/* It ends, as each does. */
static void bury(struct shoal_stay *host, const struct slot *slot) {
    const struct rusage usage = {.ru_maxrss = 1};
    if (host->pid == NOBODY)
        assert(reap(&host->runner, NOBODY, SIGKILL, &usage));
    assert(host->pid == 0 && host->hands.n == 0);
    assert(slot->next <= 3 * (int64_t)TASKS && slot->endings <= 3);
}

static void play(struct shoal_stay *host, int theirs, struct fuzz_input input) {
    static const char border[] = "\n--\n";
    while (fuzz_left(&input) > 0) {
        char said[4096];
        size_t left = fuzz_left(&input);
        const char *stops = memmem(input.at, left, border, sizeof(border) - 1);
        size_t len = stops == NULL ? left : (size_t)(stops - input.at);
        take_piece(host, theirs, input.at, len);
        input.at += len + (stops == NULL ? 0 : sizeof(border) - 1);
        while (recv(theirs, said, sizeof(said), MSG_DONTWAIT) > 0)
            ;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct event_base *base;
    struct slot slot = {.next = 0};
    struct shoal_spec spec = {
        .stays = true, .directory = "/", .timeout_ms = 1000, .grace_ms = 1000};
    spec.command = (char *[]){"none", NULL};
    spec.words = 1;
    if (base == NULL)
        base = event_base_new();
    assert(shoal_sweep_create(&spec.sweep, NULL) == SHOAL_OK);
    assert(shoal_sweep_add(spec.sweep, "x=1:1000", NULL) == SHOAL_OK);
    struct shoal_stay *host = make_host(base, &slot);
    int theirs = bear(host);
    for (int64_t lo = 0; lo < 3 * TASKS; lo += TASKS)
        give_batch(host, &spec, lo);
    play(host, theirs, fuzz_input(data, size));
    bury(host, &slot);
    close(theirs);
    destroy(&host->runner);
    shoal_sweep_destroy(spec.sweep);
    return 0;
}
