#include "client/rows.h"

#include "client/pack.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 5, RECORD_BYTES = 10, CHUNK = 65536 };

/* Every task's argument is written down, here and then in Redis. */
static const int64_t BYTES_MAX = INT64_C(4) << 30;

struct shoal_rows {
    const char *name; /* for sentences, while it is read */
    enum shoal_rows_format format;
    struct shoal_row_parser *parser;
    int64_t repetitions;
    int64_t count;
    int64_t bytes;      /* of all arguments, about */
    char *first[FIRST]; /* arguments, for a look */
    size_t first_lens[FIRST];
    FILE *packs;            /* number of tasks, length and pack, one after the other */
    struct shoal_pack pack; /* being gathered */
    struct shoal_buffer bytes_of_pack; /* handed out */
    int64_t pack_first;
};

/* ---- packs */

static enum shoal_status disk_trouble(struct shoal_error *err) {
    return shoal_error_set(
        err, SHOAL_SYSTEM,
        "cannot keep the rows in a temporary file: %s (TMPDIR says where)",
        strerror(errno));
}

static enum shoal_status write_pack(struct shoal_rows *rows, struct shoal_error *err) {
    const char *bytes = NULL;
    size_t len = 0;
    if (rows->pack.n == 0)
        return SHOAL_OK;
    enum shoal_status status = shoal_pack_bytes(&rows->pack, &bytes, &len, err);
    if (status != SHOAL_OK)
        return status;
    const uint64_t head[] = {(uint64_t)rows->pack.n, len};
    bool written = fwrite(head, sizeof(head), 1, rows->packs) == 1 &&
                   fwrite(bytes, 1, len, rows->packs) == len;
    shoal_pack_clear(&rows->pack); /* whose bytes those are */
    return written ? SHOAL_OK : disk_trouble(err);
}

static void keep_first(struct shoal_rows *rows, const char *argument, size_t len) {
    if (rows->count >= FIRST)
        return;
    rows->first[rows->count] = strndup(argument, len);
    rows->first_lens[rows->count] = len;
}

/* Looks before anything is written at what a row and its repetitions would come to. */
static enum shoal_status check_room(struct shoal_rows *rows, size_t len,
                                    struct shoal_error *err) {
    int64_t each = (int64_t)len + RECORD_BYTES;
    if (rows->repetitions > SHOAL_TASKS_MAX - rows->count)
        return shoal_error_set(err, SHOAL_INVALID,
                               "%.200s has more than 2^53 tasks, with %" PRId64
                               " repetitions of each row",
                               rows->name, rows->repetitions);
    if (rows->repetitions > (BYTES_MAX - rows->bytes) / each)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "%.200s makes tasks of more than 4 GiB, with %" PRId64
            " repetitions of each row; make it smaller or split it, or "
            "use -p, of which nothing is written down",
            rows->name, rows->repetitions);
    rows->bytes += rows->repetitions * each;
    return SHOAL_OK;
}

static enum shoal_status add_argument(struct shoal_rows *rows, const char *argument,
                                      size_t len, struct shoal_error *err) {
    enum shoal_status status = check_room(rows, len, err);
    for (int64_t i = 0; i < rows->repetitions && status == SHOAL_OK; i++) {
        if (!shoal_pack_has_room(&rows->pack, len))
            status = write_pack(rows, err);
        if (status != SHOAL_OK)
            break;
        keep_first(rows, argument, len);
        shoal_pack_add(&rows->pack, argument, len);
        rows->count++;
    }
    return status;
}

/* ---- the whole file */

/* What the parser makes of the bytes that it has. */
static enum shoal_status take_rows(struct shoal_rows *rows, struct shoal_error *err) {
    for (;;) {
        enum shoal_row_parsed what;
        const char *argument = NULL;
        size_t len = 0;
        enum shoal_status status =
            shoal_row_parser_next(rows->parser, &what, &argument, &len, err);
        if (status != SHOAL_OK || what != SHOAL_PARSED_ROW)
            return status;
        status = add_argument(rows, argument, len, err);
        if (status != SHOAL_OK)
            return status;
    }
}

static enum shoal_status read_all(struct shoal_rows *rows, int fd,
                                  struct shoal_error *err) {
    char chunk[CHUNK];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return shoal_error_set(err, SHOAL_INVALID, "cannot read %.200s: %s",
                                   rows->name, strerror(errno));
        if (n == 0)
            shoal_row_parser_end(rows->parser);
        shoal_row_parser_feed(rows->parser, chunk, (size_t)n);
        enum shoal_status status = take_rows(rows, err);
        if (status != SHOAL_OK || n == 0)
            return status;
    }
}

static enum shoal_rows_format format_of(const char *path) {
    static const struct {
        const char *end;
        enum shoal_rows_format format;
    } ends[] = {
        {".csv", SHOAL_ROWS_CSV},
        {".jsonl", SHOAL_ROWS_JSONL},
        {".tsv", SHOAL_ROWS_TSV},
    };
    size_t len = strlen(path);
    for (size_t i = 0; i < SHOAL_COUNT(ends); i++) {
        size_t end = strlen(ends[i].end);
        if (len > end && strcmp(path + len - end, ends[i].end) == 0)
            return ends[i].format;
    }
    return SHOAL_ROWS_LINES;
}

static enum shoal_status read_file(struct shoal_rows *rows, const char *path,
                                   struct shoal_error *err) {
    bool standard = strcmp(path, "-") == 0;
    SHOAL_CLEANUP(shoal_cleanup_fd) int opened = -1;
    if (!standard && (opened = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return shoal_error_set(err, SHOAL_INVALID, "cannot read '%.200s': %s", path,
                               strerror(errno));
    rows->name = standard ? "stdin" : path;
    enum shoal_status status =
        shoal_row_parser_create(rows->name, rows->format, &rows->parser, err);
    if (status == SHOAL_OK)
        status = read_all(rows, standard ? STDIN_FILENO : opened, err);
    if (status == SHOAL_OK && rows->count == 0)
        status =
            shoal_error_set(err, SHOAL_INVALID,
                            "%.200s has no rows, so there is nothing to run", rows->name);
    rows->name = NULL;
    return status == SHOAL_OK ? write_pack(rows, err) : status;
}

enum shoal_status shoal_rows_load(const char *path, enum shoal_rows_format format,
                                  int64_t repetitions, struct shoal_rows **ret_rows,
                                  struct shoal_error *err) {
    struct shoal_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for rows");
    rows->format = format == SHOAL_ROWS_AUTO ? format_of(path) : format;
    rows->repetitions = repetitions;
    shoal_pack_init(&rows->pack);
    shoal_buffer_init(&rows->bytes_of_pack, SHOAL_PACK_BYTES_MAX);
    rows->packs = tmpfile();
    enum shoal_status status = rows->packs == NULL ? disk_trouble(err) : SHOAL_OK;
    if (status == SHOAL_OK)
        status = read_file(rows, path, err);
    if (status == SHOAL_OK && fflush(rows->packs) != 0)
        status = disk_trouble(err);
    if (status != SHOAL_OK) {
        shoal_rows_destroy(rows);
        return status;
    }
    rewind(rows->packs);
    *ret_rows = rows;
    return SHOAL_OK;
}

void shoal_rows_destroy(struct shoal_rows *rows) {
    if (rows == NULL)
        return;
    for (size_t i = 0; i < FIRST; i++)
        free(rows->first[i]);
    if (rows->packs != NULL)
        fclose(rows->packs);
    shoal_row_parser_destroy(rows->parser);
    shoal_pack_finish(&rows->pack);
    shoal_buffer_finish(&rows->bytes_of_pack);
    free(rows);
}

/* ---- what was read */

int64_t shoal_rows_count(const struct shoal_rows *rows) {
    return rows->count;
}

enum shoal_arguments shoal_rows_arguments(const struct shoal_rows *rows) {
    return shoal_rows_kind(rows->format);
}

enum shoal_arguments shoal_rows_kind(enum shoal_rows_format format) {
    return format == SHOAL_ROWS_LINES ? SHOAL_ARGUMENTS_LINE : SHOAL_ARGUMENTS_FIELDS;
}

const char *const *shoal_rows_columns(const struct shoal_rows *rows) {
    return shoal_row_parser_columns(rows->parser);
}

bool shoal_rows_first(const struct shoal_rows *rows, size_t i, const char **ret_argument,
                      size_t *ret_len) {
    if (i >= FIRST || rows->first[i] == NULL)
        return false;
    *ret_argument = rows->first[i];
    *ret_len = rows->first_lens[i];
    return true;
}

enum shoal_status shoal_rows_next_pack(struct shoal_rows *rows, bool *ret_more,
                                       int64_t *ret_first, int64_t *ret_count,
                                       const char **ret_bytes, size_t *ret_len,
                                       struct shoal_error *err) {
    uint64_t head[2];
    *ret_more = false;
    if (fread(head, sizeof(head), 1, rows->packs) != 1)
        return ferror(rows->packs) ? disk_trouble(err) : SHOAL_OK;
    size_t len = (size_t)head[1];
    shoal_buffer_clear(&rows->bytes_of_pack);
    char *bytes = shoal_buffer_extend(&rows->bytes_of_pack, len);
    if (bytes == NULL)
        return shoal_buffer_check(&rows->bytes_of_pack, "a pack of rows", err);
    if (fread(bytes, 1, len, rows->packs) != len)
        return disk_trouble(err);
    *ret_more = true;
    *ret_first = rows->pack_first;
    *ret_count = (int64_t)head[0];
    *ret_bytes = bytes;
    *ret_len = len;
    rows->pack_first += *ret_count;
    return SHOAL_OK;
}
