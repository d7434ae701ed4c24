#include "client/sorter.h"

#include "common/buffer.h"
#include "common/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_MIN = 4096, /* bytes that are read of a run at a time */
    READ_MAX = 1 << 20,
    RUNS_ROOM = 16,
};

/* What stands in front of a record's bytes, in memory and in the file. */
struct head {
    int64_t task;
    int64_t number; /* how many were added before: of one task the highest counts */
    size_t len;
};

/* A run in the file, and what is read of it. */
struct run {
    off_t at; /* where the file is read next */
    off_t end;
    char *bytes;
    size_t first, last; /* of `bytes`: what was read and not used */
    size_t room;
    struct head head; /* of the record at hand, which begins at `first` */
};

struct shoal_sorter {
    size_t memory;
    struct shoal_sorter *replaced; /* told which numbers are passed over; may be NULL */
    int64_t added;
    bool started;

    /* The run that is collected in memory: records behind each other, and where they
     * begin. */
    struct shoal_buffer records;
    size_t *starts;
    size_t n_starts;
    size_t starts_room;
    size_t next_start; /* when nothing was written: what comes out next */

    FILE *file; /* NULL until a run is written */
    struct run *runs;
    size_t n_runs;
    size_t runs_room;
    struct run **heap; /* of the runs that have a record at hand, the least first */
    size_t n_heap;

    struct shoal_buffer current; /* bytes of the record that came out last */
};

static enum shoal_status no_memory(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_MEMORY, "there is no memory for sorting");
}

static const char *directory(void) {
    const char *name = getenv("TMPDIR");
    return name != NULL && *name != '\0' ? name : "/tmp";
}

static enum shoal_status file_failed(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_SYSTEM,
                           "a temporary file for sorting cannot be used in '%s': %s; set "
                           "TMPDIR to a directory with room",
                           directory(), strerror(errno));
}

enum shoal_status shoal_sorter_create(size_t memory, struct shoal_sorter **ret_sorter,
                                      struct shoal_error *err) {
    struct shoal_sorter *sorter = calloc(1, sizeof(*sorter));
    if (sorter == NULL)
        return no_memory(err);
    sorter->memory = memory;
    shoal_buffer_init(&sorter->records, memory + SHOAL_RECORD_MAX + sizeof(struct head));
    shoal_buffer_init(&sorter->current, SHOAL_RECORD_MAX);
    *ret_sorter = sorter;
    return SHOAL_OK;
}

void shoal_sorter_destroy(struct shoal_sorter *sorter) {
    if (sorter == NULL)
        return;
    if (sorter->file != NULL)
        fclose(sorter->file);
    for (size_t i = 0; i < sorter->n_runs; i++)
        free(sorter->runs[i].bytes);
    free(sorter->runs);
    free(sorter->heap);
    free(sorter->starts);
    shoal_buffer_finish(&sorter->records);
    shoal_buffer_finish(&sorter->current);
    free(sorter);
}

void shoal_sorter_cleanup(struct shoal_sorter **sorter) {
    shoal_sorter_destroy(*sorter);
}

void shoal_sorter_tell(struct shoal_sorter *sorter, struct shoal_sorter *replaced) {
    sorter->replaced = replaced;
}

static int compare(const struct head *a, const struct head *b) {
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* ---- a run in memory */

static struct head head_at(const struct shoal_sorter *sorter, size_t start) {
    struct head head;
    memcpy(&head, sorter->records.data + start, sizeof(head));
    return head;
}

static int compare_starts(const void *a, const void *b, void *owner) {
    struct head left = head_at(owner, *(const size_t *)a);
    struct head right = head_at(owner, *(const size_t *)b);
    return compare(&left, &right);
}

static void sort_memory(struct shoal_sorter *sorter) {
    if (sorter->n_starts > 1)
        qsort_r(sorter->starts, sorter->n_starts, sizeof(*sorter->starts), compare_starts,
                sorter);
}

static bool is_full(const struct shoal_sorter *sorter, size_t more) {
    size_t used = sorter->records.len + sorter->n_starts * sizeof(*sorter->starts);
    return sorter->n_starts > 0 && used + more > sorter->memory;
}

static bool make_room(struct shoal_sorter *sorter) {
    if (sorter->n_starts < sorter->starts_room)
        return true;
    size_t room = sorter->starts_room == 0 ? 1024 : sorter->starts_room * 2;
    size_t *starts = realloc(sorter->starts, room * sizeof(*starts));
    if (starts == NULL)
        return false;
    sorter->starts = starts;
    sorter->starts_room = room;
    return true;
}

/* ---- writing runs */

/* A file without a name, also where the file system cannot make one at once. */
static int open_unlinked(void) {
    int fd = open(directory(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char path[4096];
    int len = snprintf(path, sizeof(path), "%s/shoal-sort-XXXXXX", directory());
    if (len < 0 || (size_t)len >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static enum shoal_status open_file(struct shoal_sorter *sorter, struct shoal_error *err) {
    if (sorter->file != NULL)
        return SHOAL_OK;
    int fd = open_unlinked();
    if (fd < 0)
        return file_failed(err);
    sorter->file = fdopen(fd, "w+");
    if (sorter->file != NULL)
        return SHOAL_OK;
    close(fd);
    return no_memory(err);
}

static enum shoal_status add_run(struct shoal_sorter *sorter, off_t start, off_t end,
                                 struct shoal_error *err) {
    if (sorter->n_runs == SHOAL_RUNS_MAX)
        return shoal_error_set(err, SHOAL_INVALID,
                               "there are too many results to sort; print them unsorted");
    if (sorter->n_runs == sorter->runs_room) {
        size_t room = sorter->runs_room == 0 ? RUNS_ROOM : sorter->runs_room * 2;
        struct run *runs = realloc(sorter->runs, room * sizeof(*runs));
        if (runs == NULL)
            return no_memory(err);
        sorter->runs = runs;
        sorter->runs_room = room;
    }
    sorter->runs[sorter->n_runs++] = (struct run){.at = start, .end = end};
    return SHOAL_OK;
}

/* Writes what is in memory as a run, and empties the memory. */
static enum shoal_status write_run(struct shoal_sorter *sorter, struct shoal_error *err) {
    enum shoal_status status = open_file(sorter, err);
    if (status != SHOAL_OK)
        return status;
    sort_memory(sorter);
    off_t start = ftello(sorter->file);
    for (size_t i = 0; i < sorter->n_starts; i++) {
        size_t len = sizeof(struct head) + head_at(sorter, sorter->starts[i]).len;
        if (fwrite(sorter->records.data + sorter->starts[i], 1, len, sorter->file) != len)
            return file_failed(err);
    }
    if (fflush(sorter->file) != 0)
        return file_failed(err);
    sorter->n_starts = 0;
    shoal_buffer_clear(&sorter->records);
    return add_run(sorter, start, ftello(sorter->file), err);
}

enum shoal_status shoal_sorter_add(struct shoal_sorter *sorter, int64_t task,
                                   const void *bytes, size_t len,
                                   struct shoal_error *err) {
    struct head head = {.task = task, .number = sorter->added, .len = len};
    assert(!sorter->started);
    if (len > SHOAL_RECORD_MAX)
        return shoal_error_set(err, SHOAL_INVALID,
                               "a row of %zu bytes is too long to be sorted", len);
    if (is_full(sorter, sizeof(head) + len)) {
        enum shoal_status status = write_run(sorter, err);
        if (status != SHOAL_OK)
            return status;
    }
    size_t start = sorter->records.len;
    shoal_buffer_add(&sorter->records, &head, sizeof(head));
    shoal_buffer_add(&sorter->records, bytes, len);
    if (sorter->records.failed || !make_room(sorter))
        return no_memory(err);
    sorter->starts[sorter->n_starts++] = start;
    sorter->added++;
    return SHOAL_OK;
}

/* ---- reading runs */

/* Makes `need` bytes of a run available at `first`. */
static enum shoal_status read_run(struct shoal_sorter *sorter, struct run *run,
                                  size_t need, struct shoal_error *err) {
    if (run->last - run->first >= need)
        return SHOAL_OK;
    if (need > run->room) {
        char *bytes = realloc(run->bytes, need);
        if (bytes == NULL)
            return no_memory(err);
        run->bytes = bytes;
        run->room = need;
    }
    run->last -= run->first;
    memmove(run->bytes, run->bytes + run->first, run->last);
    run->first = 0;
    while (run->last < need) {
        size_t most = run->room - run->last;
        if ((off_t)most > run->end - run->at)
            most = (size_t)(run->end - run->at);
        ssize_t n = pread(fileno(sorter->file), run->bytes + run->last, most, run->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO; /* the file has become shorter */
            return file_failed(err);
        }
        run->last += (size_t)n;
        run->at += n;
    }
    return SHOAL_OK;
}

/* Takes the next record of a run to hand; *ret_more is false at its end. */
static enum shoal_status next_of_run(struct shoal_sorter *sorter, struct run *run,
                                     bool *ret_more, struct shoal_error *err) {
    *ret_more = run->last > run->first || run->at < run->end;
    if (!*ret_more)
        return SHOAL_OK;
    enum shoal_status status = read_run(sorter, run, sizeof(run->head), err);
    if (status != SHOAL_OK)
        return status;
    memcpy(&run->head, run->bytes + run->first, sizeof(run->head));
    run->first += sizeof(run->head);
    return read_run(sorter, run, run->head.len, err);
}

/* ---- merging */

/* Lets the first of the heap sink to where it belongs. */
static void sink(struct shoal_sorter *sorter, size_t i) {
    struct run **heap = sorter->heap;
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < sorter->n_heap;
             child++)
            if (compare(&heap[child]->head, &heap[least]->head) < 0)
                least = child;
        if (least == i)
            return;
        struct run *run = heap[i];
        heap[i] = heap[least];
        heap[least] = run;
        i = least;
    }
}

static size_t read_size(const struct shoal_sorter *sorter) {
    size_t size = sorter->memory / sorter->n_runs;
    return size < READ_MIN ? READ_MIN : size > READ_MAX ? READ_MAX : size;
}

static enum shoal_status start_run(struct shoal_sorter *sorter, struct run *run,
                                   struct shoal_error *err) {
    bool more;
    run->room = read_size(sorter);
    run->bytes = malloc(run->room);
    if (run->bytes == NULL)
        return no_memory(err);
    enum shoal_status status = next_of_run(sorter, run, &more, err);
    if (status == SHOAL_OK && more)
        sorter->heap[sorter->n_heap++] = run;
    return status;
}

static enum shoal_status start_merge(struct shoal_sorter *sorter,
                                     struct shoal_error *err) {
    enum shoal_status status = write_run(sorter, err);
    if (status != SHOAL_OK)
        return status;
    shoal_buffer_finish(&sorter->records); /* the runs need its memory */
    sorter->heap = calloc(sorter->n_runs, sizeof(struct run *));
    if (sorter->heap == NULL)
        return no_memory(err);
    for (size_t i = 0; status == SHOAL_OK && i < sorter->n_runs; i++)
        status = start_run(sorter, &sorter->runs[i], err);
    for (size_t i = sorter->n_heap / 2; i-- > 0;)
        sink(sorter, i);
    return status;
}

enum shoal_status shoal_sorter_start(struct shoal_sorter *sorter,
                                     struct shoal_error *err) {
    sorter->started = true;
    if (sorter->file != NULL)
        return start_merge(sorter, err);
    sort_memory(sorter);
    return SHOAL_OK;
}

/* The record that comes next: its head and bytes; false at the end. */
static bool peek(const struct shoal_sorter *sorter, struct head *head,
                 const char **bytes) {
    if (sorter->file != NULL) {
        if (sorter->n_heap == 0)
            return false;
        const struct run *run = sorter->heap[0];
        *head = run->head;
        *bytes = run->bytes + run->first;
        return true;
    }
    if (sorter->next_start == sorter->n_starts)
        return false;
    size_t start = sorter->starts[sorter->next_start];
    *head = head_at(sorter, start);
    *bytes = sorter->records.data + start + sizeof(*head);
    return true;
}

/* Goes past it. */
static enum shoal_status step(struct shoal_sorter *sorter, struct shoal_error *err) {
    if (sorter->file == NULL) {
        sorter->next_start++;
        return SHOAL_OK;
    }
    bool more;
    struct run *run = sorter->heap[0];
    run->first += run->head.len;
    enum shoal_status status = next_of_run(sorter, run, &more, err);
    if (status != SHOAL_OK)
        return status;
    if (!more)
        sorter->heap[0] = sorter->heap[--sorter->n_heap];
    sink(sorter, 0);
    return SHOAL_OK;
}

static enum shoal_status tell(struct shoal_sorter *sorter, int64_t number,
                              struct shoal_error *err) {
    if (sorter->replaced == NULL)
        return SHOAL_OK;
    return shoal_sorter_add(sorter->replaced, number, "", 0, err);
}

enum shoal_status shoal_sorter_next(struct shoal_sorter *sorter, bool *ret_more,
                                    int64_t *ret_task, const char **ret_bytes,
                                    size_t *ret_len, struct shoal_error *err) {
    struct head head, following;
    const char *bytes;
    if (!peek(sorter, &head, &bytes)) {
        *ret_more = false;
        return SHOAL_OK;
    }
    for (;;) {
        shoal_buffer_clear(&sorter->current);
        shoal_buffer_add(&sorter->current, bytes, head.len);
        enum shoal_status status = shoal_buffer_check(&sorter->current, "a row", err);
        if (status == SHOAL_OK)
            status = step(sorter, err);
        if (status != SHOAL_OK)
            return status;
        if (!peek(sorter, &following, &bytes) || following.task != head.task)
            break;
        status = tell(sorter, head.number, err);
        if (status != SHOAL_OK)
            return status;
        head = following;
    }
    *ret_more = true;
    *ret_task = head.task;
    *ret_bytes = shoal_buffer_text(&sorter->current);
    *ret_len = sorter->current.len;
    return SHOAL_OK;
}
