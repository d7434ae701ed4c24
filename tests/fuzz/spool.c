/* A spool, which outlives the worker that wrote it: what is accepted is the same when it
 * is written again, and what is cut anywhere is a part of it, not another one.
 *
 * The input is pieces apart at lines "--", each the inside of a frame; the first that of
 * the head. An input that begins with '!' is the file as it stands behind that. */
#include <assert.h>

#include "worker/spool.c" /* NOLINT(bugprone-suspicious-include) */

#include "tests/fuzz/fuzz.h"

static void add_frame(struct shoal_buffer *file, const char *bytes, size_t len) {
    static const char room[FRAME_HEAD];
    size_t start = file->len;
    shoal_buffer_add(file, room, FRAME_HEAD);
    shoal_buffer_add(file, bytes, len);
    seal_frame(file, start);
}

static void make_file(struct shoal_buffer *file, struct fuzz_input input) {
    static const char border[] = "\n--\n";
    if (fuzz_left(&input) > 0 && *input.at == '!') {
        shoal_buffer_add(file, input.at + 1, fuzz_left(&input) - 1);
        return;
    }
    shoal_buffer_add_text(file, first_line);
    while (fuzz_left(&input) > 0) {
        size_t left = fuzz_left(&input);
        const char *stops = memmem(input.at, left, border, sizeof(border) - 1);
        size_t len = stops == NULL ? left : (size_t)(stops - input.at);
        add_frame(file, input.at, len);
        input.at += len + (stops == NULL ? 0 : sizeof(border) - 1);
    }
}

/* Less of what was found is a part, which tells how much would do. */
static void expect_part(enum shoal_spool_found found, size_t len, size_t used) {
    assert(found == SHOAL_SPOOL_PART && used > len);
}

static size_t check_head(const struct shoal_buffer *file) {
    struct shoal_spool_head head, again;
    struct shoal_buffer bytes;
    size_t used = 0, most = 0;
    if (shoal_spool_read_head(shoal_buffer_text(file), file->len, &head, &used) !=
        SHOAL_SPOOL_FOUND)
        return 0;
    assert(used <= file->len);
    shoal_buffer_init(&bytes, 1 << 16);
    shoal_spool_write_head(&bytes, &head);
    assert(shoal_spool_read_head(bytes.data, bytes.len, &again, &most) ==
               SHOAL_SPOOL_FOUND &&
           most == bytes.len);
    assert(strcmp(head.redis, again.redis) == 0 && strcmp(head.store, again.store) == 0);
    shoal_buffer_finish(&bytes);
    expect_part(shoal_spool_read_head(file->data, used - 1, &again, &most), used - 1,
                most);
    return used;
}

/* Returns where the next one begins; 0: there is none. */
static size_t check_commit(const struct shoal_buffer *file, size_t at) {
    struct shoal_commit commit, again;
    struct shoal_buffer bytes;
    size_t used = 0, most = 0;
    if (shoal_spool_read(file->data + at, file->len - at, &commit, &used) !=
        SHOAL_SPOOL_FOUND)
        return 0;
    assert(used <= file->len - at);
    shoal_buffer_init(&bytes, 1 << 24);
    shoal_spool_write(&bytes, &commit);
    assert(shoal_spool_read(bytes.data, bytes.len, &again, &most) == SHOAL_SPOOL_FOUND &&
           most == bytes.len);
    assert(again.lo == commit.lo && again.hi == commit.hi);
    shoal_commit_finish(&again);
    shoal_commit_finish(&commit);
    shoal_buffer_finish(&bytes);
    expect_part(shoal_spool_read(file->data + at, used - 1, &again, &most), used - 1,
                most);
    return at + used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct shoal_buffer file;
    shoal_buffer_init(&file, 1 << 24);
    make_file(&file, fuzz_input(data, size));
    for (size_t at = check_head(&file); at > 0 && at < file.len;)
        at = check_commit(&file, at);
    shoal_buffer_finish(&file);
    return 0;
}
