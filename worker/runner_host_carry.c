#include "worker/runner_host.h"

#include "worker/handover.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { QUEUED_MAX = 1 << 30 }; /* bytes on their way that an upgrade takes along */

#define INDEX_MAX (INT64_C(1) << 53)

static void carry_bytes(struct shoal_handover *handover, struct evbuffer *buffer) {
    size_t len = evbuffer_get_length(buffer);
    const char *bytes = (const char *)evbuffer_pullup(buffer, -1);
    shoal_carry_view(handover, &bytes, &len, QUEUED_MAX);
    if (!handover->saves && !handover->failed && evbuffer_add(buffer, bytes, len) != 0)
        handover->failed = true;
}

/* The process has its slate mapped and goes on with that one. */
static void carry_slate(struct shoal_stay *host, struct shoal_handover *handover) {
    int page = host->page;
    struct stat status;
    shoal_carry_fd(handover, &page);
    if (handover->saves || handover->failed)
        return;
    munmap(host->slate, SHOAL_SLATE_SIZE);
    close(host->page);
    host->slate = NULL;
    host->page = page;
    if (page < 0 || fstat(page, &status) != 0 || status.st_size < SHOAL_SLATE_SIZE ||
        !shoal_stay_map_slate(host))
        handover->failed = true;
}

static void carry_socket(struct shoal_stay *host, struct shoal_handover *handover) {
    int fd = host->socket;
    shoal_carry_fd(handover, &fd);
    carry_bytes(handover, host->in);
    carry_bytes(handover, host->out);
    if (handover->saves || handover->failed)
        return;
    if (fd < 0 || !shoal_stay_watch_socket(host, fd)) {
        handover->failed = true;
        return;
    }
    if (host->nonsense[0] != '\0')
        event_del(host->readable);
    if (evbuffer_get_length(host->out) > 0)
        event_add(host->writable, NULL);
}

static void carry_given(struct shoal_given *given, struct shoal_handover *handover) {
    SHOAL_CARRY(handover, given->batch.attempt, 1, INT64_MAX);
    SHOAL_CARRY(handover, given->batch.lo, 0, INDEX_MAX);
    SHOAL_CARRY(handover, given->batch.hi, given->batch.lo, INDEX_MAX);
    SHOAL_CARRY(handover, given->shift, -INDEX_MAX, INT64_MAX / 2);
    SHOAL_CARRY(handover, given->end, 0, INDEX_MAX);
    shoal_carry_flag(handover, &given->sent);
    shoal_carry_flag(handover, &given->dropped);
}

static void carry_hands(struct shoal_batches *hands, struct shoal_handover *handover) {
    size_t n = hands->n;
    SHOAL_CARRY(handover, hands->positions, 0, INT64_MAX / 2);
    SHOAL_CARRY(handover, n, 0, SHOAL_BATCHES_MAX);
    for (size_t i = 0; i < n && !handover->failed; i++) {
        const struct shoal_batch nothing = {.attempt = 1};
        struct shoal_given *given =
            handover->saves ? &hands->items[(hands->first + i) % SHOAL_BATCHES_MAX]
                            : shoal_batches_add(hands, &nothing);
        carry_given(given, handover);
    }
}

/* A new field of struct shoal_stay that its process needs also goes here. */
static void carry_process(struct shoal_stay *host, struct shoal_handover *handover) {
    shoal_carry_flag(handover, &host->greeted);
    shoal_carry_flag(handover, &host->computes);
    shoal_carry_text(handover, host->digest, sizeof(host->digest));
    SHOAL_CARRY(handover, host->timeout_ms, 0, INT64_MAX / 1000);
    SHOAL_CARRY(handover, host->grace_ms, 0, INT64_MAX / 1000);
    shoal_carry_flag(handover, &host->may_continue);
    SHOAL_CARRY(handover, host->warning.signal, 0, NSIG);
    SHOAL_CARRY(handover, host->warning.before_ms, 0, INT64_MAX / 1000);
    SHOAL_CARRY(handover, host->tasks, 0, INT64_MAX);
    SHOAL_CARRY(handover, host->memory, 0, INT64_MAX);
    SHOAL_CARRY(handover, host->company, 0, INT_MAX);
    shoal_carry_flag(handover, &host->limited);
    SHOAL_CARRY(handover, host->reported_us, 0, INT64_MAX);
    SHOAL_CARRY(handover, host->stop, SHOAL_SLATE_GO_ON, SHOAL_SLATE_WARNING);
    shoal_carry_flag(handover, &host->terminated);
    shoal_carry_flag(handover, &host->doomed);
    shoal_carry_text(handover, host->nonsense, sizeof(host->nonsense));
    shoal_runner_carry(&host->settings, host->folder, &host->limits, &host->group,
                       handover);
    shoal_carry_timer(handover, host->timer);
}

void shoal_stay_carry(struct shoal_runner *runner, struct shoal_handover *handover) {
    struct shoal_stay *host = shoal_stay_of(runner);
    pid_t pid = host->pid;
    SHOAL_CARRY(handover, pid, 0, INT_MAX);
    if (pid == 0)
        return;
    carry_process(host, handover);
    carry_hands(&host->hands, handover);
    carry_slate(host, handover);
    carry_socket(host, handover);
    shoal_capture_carry(&host->printed, handover);
    if (!handover->failed)
        host->pid = pid;
}

bool shoal_stay_recall(struct shoal_runner *runner, size_t i,
                       const struct shoal_batch *batch) {
    struct shoal_stay *host = shoal_stay_of(runner);
    struct shoal_given *given = shoal_batches_at(&host->hands, i);
    if (given == NULL || (!given->sent && given->batch.lo != batch->lo))
        return false;
    given->batch.spec = batch->spec;
    given->batch.digest = batch->digest;
    given->batch.job = batch->job;
    given->batch.seed = batch->seed;
    if (batch->arguments != NULL) {
        given->arguments = *batch->arguments;
        given->batch.arguments = &given->arguments;
    }
    return true;
}
