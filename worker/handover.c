#include "worker/handover.h"

#include "broker/commit_record.h"
#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { HEAD = 64, CHUNK = 1 << 20, BUFFER_MAX = 1 << 30, FDS_STEP = 64 };

#define VARIABLE "SHOAL_HANDOVER"

/* ---- writing */

enum shoal_status shoal_handover_begin(struct shoal_handover *handover,
                                       struct shoal_error *err) {
    *handover = (struct shoal_handover){.saves = true};
    shoal_buffer_init(&handover->bytes, BUFFER_MAX);
    handover->file = memfd_create("handover", MFD_CLOEXEC);
    if (handover->file < 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a file in memory: %s",
                               strerror(errno));
    return SHOAL_OK;
}

void shoal_handover_finish(struct shoal_handover *handover) {
    shoal_buffer_finish(&handover->bytes);
    free(handover->fds);
    if (handover->map != NULL)
        munmap(handover->map, handover->map_len);
    if (handover->file >= 0)
        close(handover->file);
    *handover = (struct shoal_handover){.file = -1, .failed = true};
}

static bool write_at(int file, const char *bytes, size_t len, size_t at) {
    while (len > 0) {
        ssize_t put = pwrite(file, bytes, len, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes += put;
        at += (size_t)put;
        len -= (size_t)put;
    }
    return true;
}

/* Into the file with what was gathered. */
static void put_down(struct shoal_handover *handover) {
    const struct shoal_buffer *bytes = &handover->bytes;
    if (bytes->failed ||
        !write_at(handover->file, bytes->data, bytes->len, HEAD + handover->len)) {
        handover->failed = true;
        return;
    }
    handover->sum = crc32_z(handover->sum, (const Bytef *)bytes->data, bytes->len);
    handover->len += bytes->len;
    shoal_buffer_clear(&handover->bytes);
}

static void written(struct shoal_handover *handover) {
    if (handover->bytes.len >= CHUNK || handover->bytes.failed)
        put_down(handover);
}

static void seal(struct shoal_handover *handover) {
    char head[HEAD + 1];
    put_down(handover);
    snprintf(head, sizeof(head), "shoal-handover %d %zu %08lx\n", SHOAL_HANDOVER_VERSION,
             handover->len, handover->sum);
    size_t len = strlen(head);
    memset(head + len, ' ', HEAD - len);
    if (!write_at(handover->file, head, HEAD, 0))
        handover->failed = true;
}

static void keep_open(int fd, bool keep) {
    fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static void keep_all_open(const struct shoal_handover *handover, bool keep) {
    for (size_t i = 0; i < handover->n_fds; i++)
        keep_open(handover->fds[i], keep);
    keep_open(handover->file, keep);
}

enum shoal_status shoal_handover_exec(struct shoal_handover *handover, const char *role,
                                      const char *program, char *const *argv,
                                      struct shoal_error *err) {
    char value[64];
    seal(handover);
    if (handover->failed)
        return shoal_error_set(err, SHOAL_MEMORY, "there is no memory for its state");
    snprintf(value, sizeof(value), "%s:%d", role, handover->file);
    if (setenv(VARIABLE, value, 1) != 0)
        return shoal_error_set(err, SHOAL_MEMORY, "there is no memory for a variable");
    keep_all_open(handover, true);
    shoal_cores_back();
    execv(program, argv);
    int error = errno;
    shoal_cores_off();
    keep_all_open(handover, false);
    unsetenv(VARIABLE);
    return shoal_error_set(err, SHOAL_SYSTEM, "cannot start '%s': %s", program,
                           strerror(error));
}

/* ---- reading */

bool shoal_handover_is_given(const char *role) {
    const char *value = getenv(VARIABLE);
    size_t len = strlen(role);
    return value != NULL && strncmp(value, role, len) == 0 && value[len] == ':';
}

/* The descriptor, which is not for others any more; -1: there is none. */
static int take_variable(void) {
    const char *value = getenv(VARIABLE);
    const char *colon = value == NULL ? NULL : strrchr(value, ':');
    char *end = NULL;
    long fd = colon == NULL ? -1 : strtol(colon + 1, &end, 10);
    if (end == NULL || end == colon + 1 || *end != '\0' || fd < 3 || fd > INT_MAX ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0)
        fd = -1;
    unsetenv(VARIABLE);
    return (int)fd;
}

static enum shoal_status read_head(const struct shoal_handover *handover, size_t *ret_len,
                                   uLong *ret_sum, struct shoal_error *err) {
    char head[HEAD + 1] = "";
    int version = 0;
    memcpy(head, handover->map, HEAD);
    if (sscanf(head, "shoal-handover %d %zu %lx", &version, ret_len, ret_sum) != 3)
        return shoal_error_set(err, SHOAL_GARBAGE, "it does not begin as one");
    if (version != SHOAL_HANDOVER_VERSION)
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "it has version %d, and this program (shoal %s) reads "
                               "version %d",
                               version, SHOAL_VERSION, SHOAL_HANDOVER_VERSION);
    return SHOAL_OK;
}

static enum shoal_status check(struct shoal_handover *handover, struct shoal_error *err) {
    const char *bytes = (const char *)handover->map + HEAD;
    size_t len = 0;
    uLong sum = 0;
    enum shoal_status status = read_head(handover, &len, &sum, err);
    if (status != SHOAL_OK)
        return status;
    if (len != handover->map_len - HEAD)
        return shoal_error_set(err, SHOAL_GARBAGE, "it has %zu bytes in place of %zu",
                               handover->map_len - HEAD, len);
    if (crc32_z(0, (const Bytef *)bytes, len) != sum)
        return shoal_error_set(err, SHOAL_GARBAGE, "its checksum is wrong");
    shoal_record_reader_init(&handover->reader, bytes, len);
    return SHOAL_OK;
}

enum shoal_status shoal_handover_open(struct shoal_handover *handover,
                                      struct shoal_error *err) {
    struct stat status;
    *handover = (struct shoal_handover){.file = take_variable()};
    if (handover->file < 0 || fstat(handover->file, &status) != 0)
        return shoal_error_set(err, SHOAL_GARBAGE, "its file is not there");
    if (status.st_size < HEAD)
        return shoal_error_set(err, SHOAL_GARBAGE, "it has %" PRId64 " bytes",
                               (int64_t)status.st_size);
    handover->map_len = (size_t)status.st_size;
    void *map = mmap(NULL, handover->map_len, PROT_READ, MAP_PRIVATE, handover->file, 0);
    if (map == MAP_FAILED)
        return shoal_error_set(err, SHOAL_GARBAGE, "its file cannot be read: %s",
                               strerror(errno));
    handover->map = map;
    return check(handover, err);
}

bool shoal_handover_is_whole(const struct shoal_handover *handover) {
    return !handover->failed && handover->reader.at == handover->reader.end;
}

/* ---- carrying */

void shoal_carry_number(struct shoal_handover *handover, int64_t *number, int64_t least,
                        int64_t most) {
    int64_t read = 0;
    if (handover->failed)
        return;
    if (handover->saves) {
        shoal_record_int(&handover->bytes, *number);
        written(handover);
    } else if (shoal_record_read_int(&handover->reader, &read) && read >= least &&
               read <= most) {
        *number = read;
    } else {
        handover->failed = true;
    }
}

void shoal_carry_flag(struct shoal_handover *handover, bool *flag) {
    SHOAL_CARRY(handover, *flag, 0, 1);
}

void shoal_carry_view(struct shoal_handover *handover, const char **bytes, size_t *len,
                      size_t most) {
    const char *read = NULL;
    size_t read_len = 0;
    if (handover->failed)
        return;
    if (handover->saves) {
        shoal_record_bytes(&handover->bytes, *bytes == NULL ? "" : *bytes, *len);
        written(handover);
    } else if (shoal_record_read_bytes(&handover->reader, &read, &read_len) &&
               read_len <= most) {
        *bytes = read;
        *len = read_len;
    } else {
        handover->failed = true;
    }
}

void shoal_carry_text(struct shoal_handover *handover, char *text, size_t room) {
    const char *bytes = text;
    size_t len = strlen(text);
    shoal_carry_view(handover, &bytes, &len, room - 1);
    if (handover->saves || handover->failed)
        return;
    if (memchr(bytes, '\0', len) != NULL) {
        handover->failed = true;
        return;
    }
    memcpy(text, bytes, len);
    text[len] = '\0';
}

void shoal_carry_bytes(struct shoal_handover *handover, char **bytes, size_t *len,
                       size_t most) {
    const char *view = *bytes;
    bool there = *bytes != NULL;
    shoal_carry_flag(handover, &there);
    if (!there)
        return;
    shoal_carry_view(handover, &view, len, most);
    if (handover->saves || handover->failed)
        return;
    char *copy = malloc(*len + 1);
    if (copy == NULL) {
        handover->failed = true;
        return;
    }
    memcpy(copy, view, *len);
    copy[*len] = '\0';
    *bytes = copy;
}

void shoal_carry_buffer(struct shoal_handover *handover, struct shoal_buffer *buffer) {
    const char *bytes = buffer->data;
    size_t len = buffer->len;
    shoal_carry_flag(handover, &buffer->failed);
    shoal_carry_view(handover, &bytes, &len, buffer->limit);
    if (handover->saves || handover->failed || buffer->failed)
        return;
    shoal_buffer_add(buffer, bytes, len);
    handover->failed = buffer->failed;
}

static struct shoal_commit *read_commit(struct shoal_handover *handover) {
    struct shoal_commit *commit = malloc(sizeof(*commit));
    if (commit != NULL && shoal_commit_read(&handover->reader, commit, NULL) == SHOAL_OK)
        return commit;
    free(commit);
    handover->failed = true;
    return NULL;
}

void shoal_carry_commit(struct shoal_handover *handover, struct shoal_commit **commit) {
    if (handover->failed)
        return;
    if (!handover->saves) {
        *commit = read_commit(handover);
        return;
    }
    shoal_commit_write(&handover->bytes, *commit);
    written(handover);
}

/* Remembers what has to stay open. */
static bool remember(struct shoal_handover *handover, int fd) {
    if (handover->n_fds % FDS_STEP == 0) {
        int *fds =
            handover->n_fds >= SHOAL_HANDOVER_FDS_MAX
                ? NULL
                : realloc(handover->fds, (handover->n_fds + FDS_STEP) * sizeof(*fds));
        if (fds == NULL)
            return false;
        handover->fds = fds;
    }
    handover->fds[handover->n_fds++] = fd;
    return true;
}

void shoal_carry_fd(struct shoal_handover *handover, int *fd) {
    SHOAL_CARRY(handover, *fd, -1, INT_MAX);
    if (handover->failed || *fd < 0)
        return;
    if (handover->saves)
        handover->failed = !remember(handover, *fd);
    else
        handover->failed = fcntl(*fd, F_SETFD, FD_CLOEXEC) != 0;
    if (handover->failed && !handover->saves)
        *fd = -1;
}

/* Milliseconds until it is due; -1: it is not waited for. */
static int64_t time_left(const struct event *timer) {
    struct timeval due, now;
    if (!event_pending(timer, EV_TIMEOUT, &due))
        return -1;
    evutil_gettimeofday(&now, NULL);
    int64_t left = (int64_t)(due.tv_sec - now.tv_sec) * 1000 +
                   (int64_t)(due.tv_usec - now.tv_usec) / 1000;
    return left < 0 ? 0 : left;
}

void shoal_carry_timer(struct shoal_handover *handover, struct event *timer) {
    int64_t left = handover->saves ? time_left(timer) : -1;
    SHOAL_CARRY(handover, left, -1, INT64_MAX / 1000);
    if (handover->saves || handover->failed || left < 0)
        return;
    const struct timeval tv = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
    evtimer_add(timer, &tv);
}

bool shoal_carry_more(struct shoal_handover *handover, bool more) {
    shoal_carry_flag(handover, &more);
    return more && !handover->failed;
}
