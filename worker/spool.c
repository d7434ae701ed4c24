#include "worker/spool.h"

#include "broker/commit_record.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    FRAME_HEAD = 8,
    HEAD_FIELDS = 5,
    HEAD_MAX = 4096,       /* bytes of its frame */
    FRAME_MAX = 512 << 20, /* of a commit's, which holds no more than a command */
    READ_BYTES = 256 << 10,
    REST_MS = 10000, /* after the disk did not give it */
    TRIES = 6,
    PARTS_BACK = 64,
};

static const char first_line[] = "shoal-spool 1\n";

/* ---- frames */

static void put_u32(char *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (char)(value >> 8 * i & 0xff);
}

static uint32_t get_u32(const char *at) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)(unsigned char)at[i] << 8 * i;
    return value;
}

/* Of the four bytes of the length and what follows the checksum. */
static uint32_t checksum(const char *frame, size_t len) {
    uLong sum = crc32(0, (const Bytef *)frame, 4);
    return (uint32_t)crc32_z(sum, (const Bytef *)frame + FRAME_HEAD, len);
}

static void seal_frame(struct shoal_buffer *bytes, size_t start) {
    if (bytes->failed)
        return;
    char *frame = bytes->data + start;
    size_t len = bytes->len - start - FRAME_HEAD;
    if (len > FRAME_MAX) {
        bytes->failed = true;
        return;
    }
    put_u32(frame, (uint32_t)len);
    put_u32(frame + 4, checksum(frame, len));
}

/* `len` bytes of a frame are at `frame`. Found: what is in it, of *ret_used less
 * FRAME_HEAD bytes. */
static enum shoal_spool_found read_frame(const char *frame, size_t len, size_t most,
                                         size_t *ret_used) {
    *ret_used = FRAME_HEAD;
    if (len < FRAME_HEAD)
        return SHOAL_SPOOL_PART;
    size_t inside = get_u32(frame);
    if (inside > most)
        return SHOAL_SPOOL_BAD;
    *ret_used = FRAME_HEAD + inside;
    if (len < *ret_used)
        return SHOAL_SPOOL_PART;
    return checksum(frame, inside) == get_u32(frame + 4) ? SHOAL_SPOOL_FOUND
                                                         : SHOAL_SPOOL_BAD;
}

/* ---- the head */

void shoal_spool_write_head(struct shoal_buffer *bytes,
                            const struct shoal_spool_head *head) {
    static const char room[FRAME_HEAD];
    shoal_buffer_add_text(bytes, first_line);
    size_t start = bytes->len;
    shoal_buffer_add(bytes, room, FRAME_HEAD);
    shoal_record_array(bytes, HEAD_FIELDS);
    shoal_record_text(bytes, head->name_space);
    shoal_record_text(bytes, head->worker);
    shoal_record_text(bytes, head->redis);
    shoal_record_text(bytes, head->session);
    shoal_record_text(bytes, head->store);
    seal_frame(bytes, start);
}

static bool read_text(struct shoal_record_reader *reader, char *text, size_t room) {
    const char *bytes;
    size_t len;
    if (!shoal_record_read_bytes(reader, &bytes, &len) || len >= room ||
        memchr(bytes, '\0', len) != NULL)
        return false;
    memcpy(text, bytes, len);
    text[len] = '\0';
    return true;
}

static bool read_fields(const char *bytes, size_t len, struct shoal_spool_head *head) {
    struct shoal_record_reader reader;
    size_t n;
    shoal_record_reader_init(&reader, bytes, len);
    return shoal_record_read_array(&reader, &n) && n == HEAD_FIELDS &&
           read_text(&reader, head->name_space, sizeof(head->name_space)) &&
           shoal_name_is_valid(head->name_space) &&
           read_text(&reader, head->worker, sizeof(head->worker)) &&
           shoal_name_is_valid(head->worker) &&
           read_text(&reader, head->redis, sizeof(head->redis)) &&
           read_text(&reader, head->session, sizeof(head->session)) &&
           shoal_id_is_valid(head->session) &&
           read_text(&reader, head->store, sizeof(head->store)) &&
           shoal_id_is_valid(head->store) && reader.at == reader.end;
}

enum shoal_spool_found shoal_spool_read_head(const void *bytes, size_t len,
                                             struct shoal_spool_head *ret_head,
                                             size_t *ret_used) {
    const size_t line = sizeof(first_line) - 1;
    struct shoal_spool_head head;
    size_t used;
    if (memcmp(bytes, first_line, len < line ? len : line) != 0)
        return SHOAL_SPOOL_BAD;
    *ret_used = line + FRAME_HEAD;
    if (len < line)
        return SHOAL_SPOOL_PART;
    const char *frame = (const char *)bytes + line;
    enum shoal_spool_found found = read_frame(frame, len - line, HEAD_MAX, &used);
    *ret_used = line + used;
    if (found != SHOAL_SPOOL_FOUND)
        return found;
    if (!read_fields(frame + FRAME_HEAD, used - FRAME_HEAD, &head))
        return SHOAL_SPOOL_BAD;
    *ret_head = head;
    return SHOAL_SPOOL_FOUND;
}

/* ---- a commit */

void shoal_spool_write(struct shoal_buffer *bytes, const struct shoal_commit *commit) {
    static const char room[FRAME_HEAD];
    size_t start = bytes->len;
    shoal_buffer_add(bytes, room, FRAME_HEAD);
    shoal_commit_write(bytes, commit);
    seal_frame(bytes, start);
}

enum shoal_spool_found shoal_spool_read(const void *bytes, size_t len,
                                        struct shoal_commit *ret_commit,
                                        size_t *ret_used) {
    struct shoal_record_reader reader;
    struct shoal_commit commit;
    enum shoal_spool_found found = read_frame(bytes, len, FRAME_MAX, ret_used);
    if (found != SHOAL_SPOOL_FOUND)
        return found;
    shoal_record_reader_init(&reader, (const char *)bytes + FRAME_HEAD,
                             *ret_used - FRAME_HEAD);
    enum shoal_status status = shoal_commit_read(&reader, &commit, NULL);
    if (status != SHOAL_OK)
        return status == SHOAL_MEMORY ? SHOAL_SPOOL_LATER : SHOAL_SPOOL_BAD;
    if (reader.at != reader.end) {
        shoal_commit_finish(&commit);
        return SHOAL_SPOOL_BAD;
    }
    *ret_commit = commit;
    return SHOAL_SPOOL_FOUND;
}

/* ---- a file: what it is */

/* A lease, or some of it, of which there are commits, the last of which ends at `end`. */
struct part {
    struct shoal_lease lease;
    int64_t end;
};

struct shoal_spool {
    char path[PATH_MAX];
    int fd;
    struct shoal_spool_head head;
    bool made_here;
    bool damaged;     /* behind `end` there is what cannot be read */
    int64_t most;     /* bytes */
    int64_t end;      /* of what is good */
    int64_t at;       /* what is behind it was not taken yet */
    int64_t accepted; /* what is before it was accepted */
    size_t taken;     /* commits between those two */
    size_t commits;   /* behind `accepted` */
    int tries;        /* that the disk did not give what is at `at` */
    int64_t rests_till_ms;
    struct shoal_buffer added;
    size_t n_added;
    struct shoal_buffer window; /* what was read of the file … */
    int64_t window_at;          /* … from here on */
    struct part *parts;
    size_t n_parts;
    size_t parts_room;
};

const struct shoal_spool_head *shoal_spool_head(const struct shoal_spool *spool) {
    return &spool->head;
}

const char *shoal_spool_path(const struct shoal_spool *spool) {
    return spool->path;
}

bool shoal_spool_is_empty(const struct shoal_spool *spool) {
    return spool->accepted >= spool->end;
}

bool shoal_spool_rests(const struct shoal_spool *spool) {
    return spool->rests_till_ms > shoal_now_ms();
}

bool shoal_spool_may_grow(const struct shoal_spool *spool) {
    struct stat file;
    return spool->made_here && !spool->damaged && fstat(spool->fd, &file) == 0 &&
           file.st_nlink > 0;
}

size_t shoal_spool_commits(const struct shoal_spool *spool) {
    return spool->commits;
}

int64_t shoal_spool_size(const struct shoal_spool *spool) {
    return spool->end;
}

void shoal_spool_set_most(struct shoal_spool *spool, int64_t most) {
    spool->most = most;
}

int64_t shoal_spool_bytes(const struct shoal_spool *spool) {
    return spool->end - spool->accepted;
}

static struct shoal_spool *make_spool(const char *path) {
    struct shoal_spool *spool = calloc(1, sizeof(*spool));
    if (spool == NULL)
        return NULL;
    snprintf(spool->path, sizeof(spool->path), "%s", path);
    spool->fd = -1;
    shoal_buffer_init(&spool->added, FRAME_MAX);
    shoal_buffer_init(&spool->window, (size_t)FRAME_MAX + READ_BYTES);
    return spool;
}

void shoal_spool_close(struct shoal_spool *spool) {
    if (spool == NULL)
        return;
    shoal_cleanup_fd(&spool->fd);
    shoal_buffer_finish(&spool->added);
    shoal_buffer_finish(&spool->window);
    free(spool->parts);
    free(spool);
}

static void set_aside(const struct shoal_spool *spool) {
    char name[PATH_MAX + 8];
    snprintf(name, sizeof(name), "%s.bad", spool->path);
    rename(spool->path, name);
}

void shoal_spool_remove(struct shoal_spool *spool) {
    if (spool->damaged)
        set_aside(spool);
    else
        unlink(spool->path);
    shoal_spool_close(spool);
}

/* ---- leases */

/* A lease's commits are near to each other; one that is far away gets a part of its own,
 * so that many leases do not cost the square of their number. */
static struct part *find_part(struct shoal_spool *spool,
                              const struct shoal_commit *commit) {
    for (size_t i = 1; i <= spool->n_parts && i <= PARTS_BACK; i++) {
        struct part *part = &spool->parts[spool->n_parts - i];
        if (strcmp(part->lease.name, commit->lease) == 0 &&
            strcmp(part->lease.job, commit->job) == 0)
            return part;
    }
    return NULL;
}

static struct part *new_part(struct shoal_spool *spool,
                             const struct shoal_commit *commit) {
    if (spool->n_parts == spool->parts_room) {
        size_t room = spool->parts_room == 0 ? 16 : spool->parts_room * 2;
        struct part *parts = realloc(spool->parts, room * sizeof(*parts));
        if (parts == NULL)
            return NULL;
        spool->parts = parts;
        spool->parts_room = room;
    }
    struct part *part = &spool->parts[spool->n_parts++];
    *part = (struct part){.lease = {.lo = commit->lo, .hi = commit->hi, .attempt = 1}};
    snprintf(part->lease.name, sizeof(part->lease.name), "%s", commit->lease);
    snprintf(part->lease.job, sizeof(part->lease.job), "%s", commit->job);
    return part;
}

/* False: there is no memory for it. */
static bool note_part(struct shoal_spool *spool, const struct shoal_commit *commit,
                      int64_t end) {
    struct part *part = find_part(spool, commit);
    if (part == NULL)
        part = new_part(spool, commit);
    if (part == NULL)
        return false;
    struct shoal_lease *lease = &part->lease;
    lease->lo = commit->lo < lease->lo ? commit->lo : lease->lo;
    lease->hi = commit->hi > lease->hi ? commit->hi : lease->hi;
    part->end = end;
    return true;
}

void shoal_spool_each(const struct shoal_spool *spool,
                      void (*visit)(void *owner, const struct shoal_lease *lease),
                      void *owner) {
    for (size_t i = 0; i < spool->n_parts; i++) {
        if (spool->parts[i].end > spool->accepted)
            visit(owner, &spool->parts[i].lease);
    }
}

/* ---- opening */

/* It is what we would have made: nobody else's, and nobody else may read it. */
static enum shoal_status check_file(const struct shoal_spool *spool, struct stat *status,
                                    struct shoal_error *err) {
    if (fstat(spool->fd, status) != 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot look at '%.200s': %s",
                               spool->path, strerror(errno));
    if (!S_ISREG(status->st_mode) || status->st_uid != geteuid() ||
        (status->st_mode & 077) != 0 || status->st_nlink > 1)
        return shoal_error_set(err, SHOAL_DENIED,
                               "'%.200s' is left alone: it is not a file of this user's "
                               "alone with mode 0600",
                               spool->path);
    return SHOAL_OK;
}

/* A link, a directory, a pipe or another user's file will be that tomorrow as well. */
static enum shoal_status status_of_open(int error) {
    return error == ENOENT ? SHOAL_UNKNOWN
           : error == ELOOP || error == EISDIR || error == ENXIO || error == EACCES
               ? SHOAL_DENIED
               : SHOAL_SYSTEM;
}

static enum shoal_status open_file(struct shoal_spool *spool, int flags,
                                   struct stat *status, struct shoal_error *err) {
    spool->fd =
        open(spool->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | flags, 0600);
    if (spool->fd < 0)
        return shoal_error_set(err, status_of_open(errno), "cannot open '%.200s': %s",
                               spool->path, strerror(errno));
    if (flock(spool->fd, LOCK_EX | LOCK_NB) != 0)
        return shoal_error_set(err, SHOAL_REFUSED, "another worker has '%.200s'",
                               spool->path);
    struct stat now;
    enum shoal_status result = check_file(spool, status, err);
    if (result != SHOAL_OK)
        return result;
    /* Whoever had it locked may have removed it in the same moment. */
    if (lstat(spool->path, &now) != 0 || now.st_ino != status->st_ino ||
        now.st_dev != status->st_dev)
        return shoal_error_set(err, SHOAL_UNKNOWN, "'%.200s' is gone", spool->path);
    return SHOAL_OK;
}

/* ---- writing */

static bool write_at(int fd, const char *bytes, size_t len, int64_t at) {
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
        at += n;
    }
    return true;
}

static enum shoal_status cannot_write(struct shoal_spool *spool,
                                      struct shoal_error *err) {
    enum shoal_status status =
        errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? SHOAL_FULL : SHOAL_SYSTEM;
    shoal_error_set(err, status, "cannot write to '%.200s': %s", spool->path,
                    strerror(errno));
    if (ftruncate(spool->fd, spool->end) != 0)
        spool->damaged = true; /* half a frame stays; nothing may follow it */
    return status;
}

enum shoal_status shoal_spool_create(const char *path,
                                     const struct shoal_spool_head *head,
                                     struct shoal_spool **ret_spool,
                                     struct shoal_error *err) {
    struct stat file;
    struct shoal_spool *spool = make_spool(path);
    if (spool == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a spool");
    spool->made_here = true;
    spool->head = *head;
    enum shoal_status status = open_file(spool, O_CREAT | O_EXCL, &file, err);
    if (status != SHOAL_OK) {
        shoal_spool_close(spool);
        return status;
    }
    shoal_spool_write_head(&spool->added, head);
    int64_t start = (int64_t)spool->added.len;
    status = shoal_spool_sync(spool, err);
    if (status != SHOAL_OK) {
        shoal_spool_remove(spool);
        return status;
    }
    spool->at = spool->accepted = start;
    shoal_directory_sync_above(path);
    *ret_spool = spool;
    return SHOAL_OK;
}

enum shoal_status shoal_spool_add(struct shoal_spool *spool,
                                  const struct shoal_commit *commit,
                                  struct shoal_error *err) {
    size_t before = spool->added.len;
    shoal_spool_write(&spool->added, commit);
    bool fits = spool->most == 0 || spool->end + (int64_t)spool->added.len <= spool->most;
    bool failed = spool->added.failed;
    if (!failed && fits)
        failed = !note_part(spool, commit, spool->end + (int64_t)spool->added.len);
    if (!failed && fits) {
        spool->n_added++;
        return SHOAL_OK;
    }
    spool->added.len = before;
    spool->added.failed = false;
    if (failed)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory to write a commit");
    return shoal_error_set(err, SHOAL_FULL, "'%.200s' has reached %" PRId64 " bytes",
                           spool->path, spool->most);
}

enum shoal_status shoal_spool_sync(struct shoal_spool *spool, struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    if (spool->added.len == 0)
        return SHOAL_OK;
    if (!write_at(spool->fd, spool->added.data, spool->added.len, spool->end) ||
        fdatasync(spool->fd) != 0) {
        status = cannot_write(spool, err);
    } else {
        spool->end += (int64_t)spool->added.len;
        spool->commits += spool->n_added;
    }
    shoal_buffer_finish(&spool->added); /* it may have been large */
    spool->n_added = 0;
    return status;
}

/* ---- reading */

static void move_window(struct shoal_spool *spool, int64_t at) {
    int64_t last = spool->window_at + (int64_t)spool->window.len;
    if (at < spool->window_at || at >= last)
        shoal_buffer_clear(&spool->window);
    else
        shoal_buffer_drop(&spool->window, (size_t)(at - spool->window_at));
    spool->window_at = at;
}

/* What the window holds from `at` on. */
static size_t in_window(const struct shoal_spool *spool, int64_t at) {
    int64_t last = spool->window_at + (int64_t)spool->window.len;
    return at < spool->window_at || at > last ? 0 : (size_t)(last - at);
}

/* Reads more behind what the window holds. SHOAL_GARBAGE: the file ends there. */
static enum shoal_status read_more(struct shoal_spool *spool, size_t len) {
    struct shoal_buffer *window = &spool->window;
    size_t before = window->len;
    int64_t from = spool->window_at + (int64_t)before;
    if ((int64_t)len > spool->end - from)
        len = (size_t)(spool->end - from);
    char *to = len == 0 ? NULL : shoal_buffer_extend(window, len);
    if (to == NULL)
        return len == 0 ? SHOAL_GARBAGE : SHOAL_MEMORY;
    ssize_t n = pread(spool->fd, to, len, from);
    window->len = before + (n > 0 ? (size_t)n : 0);
    if (n < 0 && errno != EINTR)
        return SHOAL_SYSTEM;
    return n == 0 ? SHOAL_GARBAGE : SHOAL_OK;
}

/* Has the window hold `wanted` bytes from `at` on. */
static enum shoal_status look_at(struct shoal_spool *spool, int64_t at, size_t wanted) {
    enum shoal_status status = SHOAL_OK;
    if (in_window(spool, at) < wanted)
        move_window(spool, at);
    for (size_t there; status == SHOAL_OK && (there = in_window(spool, at)) < wanted;) {
        size_t missing = wanted - there;
        status = read_more(spool, missing < READ_BYTES ? READ_BYTES : missing);
    }
    return status;
}

/* The commit at `at`. SHOAL_GARBAGE: there is none that is whole; SHOAL_MEMORY and
 * SHOAL_SYSTEM tell nothing of what is there. */
static enum shoal_status read_at(struct shoal_spool *spool, int64_t at,
                                 struct shoal_commit *ret_commit, size_t *ret_used) {
    enum shoal_spool_found found = SHOAL_SPOOL_PART;
    for (size_t wanted = FRAME_HEAD; found == SHOAL_SPOOL_PART; wanted = *ret_used) {
        if ((int64_t)wanted > spool->end - at)
            return SHOAL_GARBAGE;
        enum shoal_status status = look_at(spool, at, wanted);
        if (status != SHOAL_OK)
            return status;
        found = shoal_spool_read(spool->window.data + (at - spool->window_at),
                                 in_window(spool, at), ret_commit, ret_used);
    }
    return found == SHOAL_SPOOL_FOUND   ? SHOAL_OK
           : found == SHOAL_SPOOL_LATER ? SHOAL_MEMORY
                                        : SHOAL_GARBAGE;
}

/* What cannot be read ends it. */
static void cut(struct shoal_spool *spool, int64_t at) {
    spool->damaged = true;
    spool->end = at;
}

/* It may be good: nothing of it is given up. */
static enum shoal_status not_now(struct shoal_spool *spool, enum shoal_status status,
                                 struct shoal_error *err) {
    const char *why = status == SHOAL_MEMORY ? "no memory" : strerror(errno);
    shoal_buffer_finish(&spool->window);
    return shoal_error_set(err, status, "cannot read '%.200s' now: %s", spool->path, why);
}

static enum shoal_status give_up(struct shoal_spool *spool, struct shoal_error *err) {
    cut(spool, spool->at);
    spool->commits = spool->taken;
    return shoal_error_set(err, SHOAL_GARBAGE,
                           "'%.200s' cannot be read from byte %" PRId64
                           " on; that part is set aside in '%.200s.bad'",
                           spool->path, spool->at, spool->path);
}

/* Nothing was taken: because of `status`. */
static enum shoal_status not_taken(struct shoal_spool *spool, enum shoal_status status,
                                   struct shoal_error *err) {
    spool->tries += status == SHOAL_SYSTEM;
    if (status == SHOAL_GARBAGE || spool->tries >= TRIES)
        return give_up(spool, err);
    if (status == SHOAL_SYSTEM)
        spool->rests_till_ms = shoal_now_ms() + REST_MS;
    return not_now(spool, status, err);
}

enum shoal_status shoal_spool_next(struct shoal_spool *spool,
                                   struct shoal_commit **ret_commit,
                                   struct shoal_error *err) {
    size_t used;
    if (spool->at >= spool->end) {
        shoal_buffer_finish(&spool->window);
        return SHOAL_UNKNOWN;
    }
    struct shoal_commit *commit = malloc(sizeof(*commit));
    enum shoal_status status =
        commit == NULL ? SHOAL_MEMORY : read_at(spool, spool->at, commit, &used);
    if (status != SHOAL_OK) {
        status = not_taken(spool, status, err);
        free(commit);
        return status;
    }
    spool->at += (int64_t)used;
    spool->taken++;
    spool->tries = 0;
    *ret_commit = commit;
    return SHOAL_OK;
}

void shoal_spool_rewind(struct shoal_spool *spool) {
    spool->at = spool->accepted;
    spool->taken = 0;
}

void shoal_spool_accept(struct shoal_spool *spool) {
    spool->accepted = spool->at;
    spool->commits -= spool->taken;
    spool->taken = 0;
}

/* Notes what is in the commit at *at, and goes behind it. */
static enum shoal_status look_at_one(struct shoal_spool *spool, int64_t *at) {
    struct shoal_commit commit;
    size_t used;
    enum shoal_status status = read_at(spool, *at, &commit, &used);
    if (status != SHOAL_OK)
        return status;
    *at += (int64_t)used;
    bool noted = note_part(spool, &commit, *at);
    shoal_commit_finish(&commit);
    spool->commits++;
    return noted ? SHOAL_OK : SHOAL_MEMORY;
}

/* Finds where the good part ends, and what is in it. */
static enum shoal_status look_through(struct shoal_spool *spool,
                                      struct shoal_error *err) {
    int64_t at = spool->at, size = spool->end;
    enum shoal_status status = SHOAL_OK;
    while (at < size && status == SHOAL_OK)
        status = look_at_one(spool, &at);
    if (status == SHOAL_MEMORY || status == SHOAL_SYSTEM)
        return not_now(spool, status, err);
    shoal_buffer_finish(&spool->window);
    if (status == SHOAL_OK)
        return SHOAL_OK;
    cut(spool, at);
    shoal_error_set(err, SHOAL_GARBAGE,
                    "'%.200s' is damaged from byte %" PRId64 " of %" PRId64
                    " on; what is before it is used, and the file then kept as "
                    "'%.200s.bad'",
                    spool->path, at, size, spool->path);
    return SHOAL_OK;
}

/* Up to `len` bytes of the file's beginning; fewer where it ends before, -1 for an error.
 */
static ssize_t read_first(int fd, char *bytes, size_t len) {
    size_t there = 0;
    for (ssize_t n = 1; there < len && n != 0; there += n > 0 ? (size_t)n : 0) {
        n = pread(fd, bytes + there, len - there, (off_t)there);
        if (n < 0 && errno != EINTR)
            return -1;
    }
    return (ssize_t)there;
}

static enum shoal_status read_start(struct shoal_spool *spool, struct shoal_error *err) {
    char bytes[sizeof(first_line) + FRAME_HEAD + HEAD_MAX];
    size_t used;
    ssize_t n = read_first(spool->fd, bytes, sizeof(bytes));
    if (n < 0)
        return not_now(spool, SHOAL_SYSTEM, err);
    if (shoal_spool_read_head(bytes, (size_t)n, &spool->head, &used) !=
        SHOAL_SPOOL_FOUND) {
        set_aside(spool);
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "'%.200s' is no spool of this version, or damaged at its "
                               "start; it is kept as '%.200s.bad'",
                               spool->path, spool->path);
    }
    spool->at = spool->accepted = (int64_t)used;
    return SHOAL_OK;
}

enum shoal_status shoal_spool_open(const char *path, struct shoal_spool **ret_spool,
                                   struct shoal_error *err) {
    struct stat file;
    struct shoal_spool *spool = make_spool(path);
    if (spool == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a spool");
    enum shoal_status status = open_file(spool, 0, &file, err);
    if (status == SHOAL_OK)
        status = read_start(spool, err);
    if (status == SHOAL_OK) {
        spool->end = file.st_size;
        status = look_through(spool, err);
    }
    if (status != SHOAL_OK) {
        shoal_spool_close(spool);
        return status;
    }
    *ret_spool = spool;
    return SHOAL_OK;
}
