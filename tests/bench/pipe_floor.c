/* The floor under every runner of functions: batches of indices to two children through
 * socket pairs, an empty result for each back, all of them counted.
 *
 *     pipe_floor COUNT */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 2, BATCH = 16384, RESULT_LEN = 6 };

static const char result[] = "$0\r\n\r\n";
static char bytes[BATCH * RESULT_LEN];

/* What is run; the compiler must not see that it does nothing. */
static long noop(long index) {
    __asm__ volatile("" : "+r"(index));
    return index;
}

static void write_all(int fd, const char *from, size_t len) {
    while (len > 0) {
        ssize_t sent = write(fd, from, len);
        if (sent <= 0)
            exit(1);
        from += sent;
        len -= (size_t)sent;
    }
}

static _Noreturn void be_runner(int fd) {
    long batch[2];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(fd, batch, sizeof(batch)) == sizeof(batch)) {
        for (long i = 0; i < batch[1]; i++) {
            noop(batch[0] + i);
            memcpy(bytes + i * RESULT_LEN, result, RESULT_LEN);
        }
        write_all(fd, bytes, (size_t)batch[1] * RESULT_LEN);
    }
    _exit(0);
}

static int start_runner(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        exit(1);
    if (fork() == 0) {
        close(ends[0]);
        be_runner(ends[1]);
    }
    close(ends[1]);
    return ends[0];
}

/* The next batch of so many; how many it has. */
static long send_batch(int fd, long *next, long count) {
    long batch[2] = {*next, count - *next < BATCH ? count - *next : BATCH};
    *next += batch[1];
    if (batch[1] > 0)
        write_all(fd, (const char *)batch, sizeof(batch));
    return batch[1];
}

int main(int argc, char **argv) {
    long count = argc == 2 ? strtol(argv[1], NULL, 10) : 0, next = 0, seen = 0;
    struct pollfd fds[CHILDREN];
    size_t missing[CHILDREN];
    if (count < 1) {
        fprintf(stderr, "Usage: pipe_floor COUNT\n");
        return 2;
    }
    for (int i = 0; i < CHILDREN; i++) {
        fds[i] = (struct pollfd){.fd = start_runner(), .events = POLLIN};
        missing[i] = (size_t)send_batch(fds[i].fd, &next, count) * RESULT_LEN;
    }
    while (seen < count * RESULT_LEN && poll(fds, CHILDREN, -1) > 0) {
        for (int i = 0; i < CHILDREN; i++) {
            if ((fds[i].revents & POLLIN) == 0)
                continue;
            ssize_t got = read(fds[i].fd, bytes, sizeof(bytes));
            if (got <= 0)
                return 1;
            for (ssize_t k = 0; k < got; k++)
                seen += bytes[k] != '\0';
            missing[i] -= (size_t)got;
            if (missing[i] == 0)
                missing[i] = (size_t)send_batch(fds[i].fd, &next, count) * RESULT_LEN;
        }
    }
    for (int i = 0; i < CHILDREN; i++)
        close(fds[i].fd);
    while (wait(NULL) > 0)
        ;
    return 0;
}
