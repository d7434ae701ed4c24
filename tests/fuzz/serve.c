/* A runner's side of its protocol: what comes from a worker, through shoal_host_serve()
 * itself with a socket and a slate of its own; and what it says to that must be something
 * that a worker takes.
 *
 * The first byte says how many tasks the slate allows. Behind it stand messages, apart at
 * lines "--", for which the frames are made. */
#include "worker/host_serve.h"

#include "common/cleanup.h"
#include "common/records.h"
#include "tests/fuzz/fuzz.h"
#include "worker/done.h"
#include "worker/frame.h"
#include "worker/slate.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 4 << 20, OURS = 100 };

/* What it is told goes in, what it says comes out, without anybody waiting. */
static int make_socket(void) {
    int ends[2], room = ROOM;
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    for (size_t i = 0; i < SHOAL_COUNT(ends); i++)
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
    int ours = fcntl(ends[0], F_DUPFD_CLOEXEC, OURS);
    int theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, OURS);
    close(ends[0]);
    close(ends[1]);
    assert(ours >= 0 && dup2(theirs, SHOAL_HOST_SOCKET) == SHOAL_HOST_SOCKET);
    close(theirs);
    return ours;
}

static struct shoal_slate *make_slate(int64_t limit) {
    int page = memfd_create("slate", MFD_CLOEXEC);
    assert(page >= 0 && ftruncate(page, SHOAL_SLATE_SIZE) == 0);
    if (page != SHOAL_HOST_SLATE) {
        assert(dup2(page, SHOAL_HOST_SLATE) == SHOAL_HOST_SLATE);
        close(page);
    }
    struct shoal_slate *slate = mmap(NULL, SHOAL_SLATE_SIZE, PROT_READ | PROT_WRITE,
                                     MAP_SHARED, SHOAL_HOST_SLATE, 0);
    assert(slate != MAP_FAILED);
    atomic_store(&slate->limit, limit);
    return slate;
}

static void send_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            return;
        bytes += sent;
        len -= (size_t)sent;
    }
}

/* Pieces apart at lines "--", each in a frame. */
static void send_messages(int fd, struct fuzz_input input) {
    static const char border[] = "\n--\n";
    while (fuzz_left(&input) > 0) {
        char head[32];
        size_t left = fuzz_left(&input);
        const char *stop = memmem(input.at, left, border, sizeof(border) - 1);
        size_t len = stop == NULL ? left : (size_t)(stop - input.at);
        send_all(fd, head, shoal_frame_head(head, len));
        send_all(fd, input.at, len);
        send_all(fd, "\r\n", 2);
        input.at += len + (stop == NULL ? 0 : sizeof(border) - 1);
    }
}

static struct shoal_slate *of_worker;

/* Tells and gives a little of all that a task may. None is begun from the limit on. */
static int run(struct shoal_call *call) {
    assert(atomic_load(&of_worker->mark) >= 0 &&
           atomic_load(&of_worker->mark) < atomic_load(&of_worker->limit));
    shoal_call_progress(call, 0.5, "half");
    if (shoal_call_should_stop(call))
        return shoal_call_fail(call, "stopped at %lld",
                               (long long)shoal_call_index(call));
    shoal_call_add_int(call, "seed", (int64_t)shoal_call_seed(call));
    shoal_call_add_text(call, "x", shoal_call_text(call, "x", ""));
    shoal_call_add_number(call, "y", shoal_call_number(call, "y", 0));
    return shoal_call_index(call) % 5 == 4;
}

/* How many failures it tells of, whose indices only the worker can know. */
static size_t count_failures(struct shoal_record_reader reader) {
    size_t n = 0;
    for (int i = 0; i < SHOAL_DONE_FIELDS - 1; i++)
        assert(shoal_record_skip(&reader));
    assert(shoal_record_read_array(&reader, &n));
    return n;
}

static void check_done(struct shoal_record_reader reader, int64_t limit) {
    SHOAL_CLEANUP(shoal_done_cleanup) struct shoal_done done = {.over = false};
    struct shoal_record_reader copy = reader;
    int64_t position = 0;
    assert(shoal_record_read_int(&copy, &position) && position >= 0);
    if (count_failures(reader) == 0)
        assert(shoal_done_read(&reader, position, 0, limit, &done));
}

/* Whether it is a greeting. */
static bool check_message(const char *message, size_t len, int64_t limit) {
    struct shoal_record_reader reader;
    const char *name = NULL;
    size_t n = 0, name_len = 0;
    shoal_record_reader_init(&reader, message, len);
    assert(shoal_record_read_array(&reader, &n));
    assert(shoal_record_read_bytes(&reader, &name, &name_len));
    if (name_len == 4 && memcmp(name, "done", 4) == 0)
        check_done(reader, limit);
    return name_len == 5 && memcmp(name, "hello", 5) == 0;
}

static void check_answers(int fd, int64_t limit) {
    static char bytes[ROOM];
    size_t len = 0, greetings = 0;
    ssize_t got;
    while ((got = recv(fd, bytes + len, sizeof(bytes) - len, MSG_DONTWAIT)) > 0)
        len += (size_t)got;
    for (size_t at = 0, size = 0; at < len; at += size) {
        const char *message = NULL;
        size_t message_len = 0;
        assert(shoal_frame_look(bytes + at, len - at, &message, &message_len, &size) ==
               SHOAL_FRAME_WHOLE);
        greetings += check_message(message, message_len, limit);
    }
    assert(greetings == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    unsigned limit = fuzz_byte(&input);
    int ours = make_socket();
    struct shoal_slate *slate = make_slate(limit);
    of_worker = slate;
    send_messages(ours, input);
    shutdown(ours, SHUT_WR);
    assert(shoal_host_serve(run) == 0);
    check_answers(ours, limit);
    munmap(slate, SHOAL_SLATE_SIZE);
    close(ours);
    return 0;
}
