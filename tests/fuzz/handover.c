/* What a worker that was upgraded reads of its predecessor: whatever it is, it is all
 * taken or refused; what is taken is the same when it is handed over again, and what is
 * refused closes no descriptor that was ours before.
 *
 * The input is the records; the head with its checksum is made for them. An input that
 * begins with '!' is the file as it stands behind that. */
#include "worker/handover.h"

#include "tests/fuzz/fuzz.h"
#include "worker/known.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

enum { HEAD = 64, TEXT_ROOM = 16, BYTES_MAX = 64, LIST_MAX = 100 };

/* One of everything that can be carried. */
struct state {
    int64_t number;
    bool flag;
    char text[TEXT_ROOM];
    char *bytes;
    size_t len;
    struct shoal_buffer buffer;
    struct shoal_commit *commit;
    int64_t list[LIST_MAX];
    size_t n;
    struct shoal_knowledge known;
};

static const struct shoal_trust nobody = {.required = true};

static void changed(void *owner) {
    (void)owner;
}

static void init(struct state *state) {
    *state = (struct state){.number = 5};
    shoal_buffer_init(&state->buffer, 1 << 16);
    shoal_knowledge_init(&state->known, &nobody, changed, NULL);
}

static void finish(struct state *state) {
    if (state->commit != NULL)
        shoal_commit_finish(state->commit);
    free(state->commit);
    free(state->bytes);
    shoal_buffer_finish(&state->buffer);
    shoal_knowledge_let_go(&state->known);
    shoal_knowledge_finish(&state->known);
}

static void carry(struct state *state, struct shoal_handover *handover) {
    SHOAL_CARRY(handover, state->number, 1, 9);
    shoal_carry_flag(handover, &state->flag);
    shoal_carry_text(handover, state->text, sizeof(state->text));
    shoal_carry_bytes(handover, &state->bytes, &state->len, BYTES_MAX);
    shoal_carry_buffer(handover, &state->buffer);
    shoal_carry_commit(handover, &state->commit);
    size_t i = 0;
    for (; shoal_carry_more(handover, handover->saves && i < state->n); i++) {
        if (i == LIST_MAX) {
            handover->failed = true;
            break;
        }
        SHOAL_CARRY(handover, state->list[i], 0, INT64_MAX);
    }
    state->n = handover->saves ? state->n : i;
    shoal_knowledge_carry(&state->known, handover);
}

static void check(const struct state *state) {
    assert(state->number >= 1 && state->number <= 9);
    assert(memchr(state->text, '\0', sizeof(state->text)) != NULL);
    assert(state->len <= BYTES_MAX && state->n <= LIST_MAX);
    assert(state->commit == NULL || state->commit->lo <= state->commit->hi);
}

static void write_all(int file, const void *bytes, size_t len) {
    assert(write(file, bytes, len) == (ssize_t)len);
}

/* As the variable of an exec tells of it. */
static void give(int file) {
    char value[32];
    snprintf(value, sizeof(value), "fuzz:%d", file);
    setenv("SHOAL_HANDOVER", value, 1);
}

static void give_records(const char *records, size_t len) {
    char head[HEAD + 1];
    int file = memfd_create("fuzz", 0);
    int n =
        snprintf(head, sizeof(head), "shoal-handover %d %zu %08lx\n",
                 SHOAL_HANDOVER_VERSION, len, crc32_z(0, (const Bytef *)records, len));
    memset(head + n, ' ', (size_t)(HEAD - n));
    write_all(file, head, HEAD);
    write_all(file, records, len);
    give(file);
}

static void give_file(const char *bytes, size_t len) {
    int file = memfd_create("fuzz", 0);
    write_all(file, bytes, len);
    give(file);
}

/* Whether all of it was taken. */
static bool take(struct state *state) {
    struct shoal_handover handover;
    struct shoal_error err = {.status = SHOAL_OK};
    init(state);
    assert(shoal_handover_is_given("fuzz"));
    bool good = shoal_handover_open(&handover, &err) == SHOAL_OK;
    assert(good || err.text[0] != '\0');
    if (good) {
        carry(state, &handover);
        good = shoal_handover_is_whole(&handover);
    }
    shoal_handover_finish(&handover);
    check(state);
    return good;
}

/* A handover writes into its own file, which is read here before it is finished. */
static void hand_on(struct state *state) {
    struct shoal_handover handover;
    struct shoal_error err = {.status = SHOAL_OK};
    struct state again;
    char *argv[] = {(char *)"none", NULL};
    assert(shoal_handover_begin(&handover, &err) == SHOAL_OK);
    carry(state, &handover);
    assert(!handover.failed);
    assert(shoal_handover_exec(&handover, "fuzz", "/nonexistent/program", argv, &err) ==
           SHOAL_SYSTEM);
    give(dup(handover.file));
    shoal_handover_finish(&handover);
    assert(take(&again));
    assert(again.number == state->number && again.flag == state->flag);
    assert(strcmp(again.text, state->text) == 0 && again.n == state->n);
    finish(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    struct state state;
    if (size > 0 && *input.at == '!')
        give_file(input.at + 1, size - 1);
    else
        give_records(input.at, size);
    if (take(&state))
        hand_on(&state);
    finish(&state);
    return 0;
}
