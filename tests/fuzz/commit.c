/* Commits as bytes, from a file or a predecessor: what is accepted could have been
 * gathered here, and is the same when it is written again. */
#include "broker/commit_record.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>

static void check(const struct shoal_commit *commit) {
    assert(commit->lo >= 0 && commit->lo <= commit->hi);
    assert(commit->work_us >= 0 && commit->failures >= 0);
    assert(commit->failures <= commit->hi - commit->lo);
    assert((int64_t)commit->elements <= commit->hi - commit->lo);
    assert(!commit->outcomes.failed && !commit->failed.words.failed);
}

static void write_again(const struct shoal_commit *commit) {
    struct shoal_record_reader reader;
    struct shoal_commit again;
    struct shoal_buffer once, twice;
    shoal_buffer_init(&once, 1 << 24);
    shoal_buffer_init(&twice, 1 << 24);
    shoal_commit_write(&once, commit);
    shoal_record_reader_init(&reader, once.data, once.len);
    assert(shoal_commit_read(&reader, &again, NULL) == SHOAL_OK);
    shoal_commit_write(&twice, &again);
    assert(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    shoal_commit_finish(&again);
    shoal_buffer_finish(&once);
    shoal_buffer_finish(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    struct shoal_record_reader reader;
    struct shoal_commit commit;
    struct shoal_error err = {.status = SHOAL_OK};
    shoal_record_reader_init(&reader, input.at, size);
    if (shoal_commit_read(&reader, &commit, &err) != SHOAL_OK) {
        assert(err.status != SHOAL_OK && err.text[0] != '\0');
        return 0;
    }
    check(&commit);
    write_again(&commit);
    shoal_commit_finish(&commit);
    return 0;
}
