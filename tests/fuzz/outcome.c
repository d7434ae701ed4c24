/* Entries of a job's results and records of attempts: what is accepted is in order and
 * within bounds, and is read the same when it is written again. */
#include "broker/outcome.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>

static void check_outcome(const struct shoal_outcome *outcome,
                          const struct fuzz_input *input) {
    assert(outcome->reason < SHOAL_REASON_COUNT);
    assert(outcome->attempt >= 0 && outcome->wall_us >= 0 && outcome->cpu_us >= 0);
    assert(outcome->result >= input->at && outcome->result <= input->end);
    assert(outcome->result_len <= (size_t)(input->end - outcome->result));
}

/* Outcomes in a row, from the first on; where they do not follow each other it ends. */
struct run {
    int64_t first, next;
    struct shoal_buffer outcomes;
};

static void add(struct run *run, int64_t index, const struct shoal_outcome *outcome) {
    if (run->first < 0)
        run->first = run->next = index;
    if (run->next != index)
        return;
    run->next++;
    shoal_outcome_write(&run->outcomes, outcome);
}

static enum shoal_status read_entry(struct fuzz_input input, struct run *run) {
    struct shoal_entry_reader reader;
    struct shoal_error err = {.status = SHOAL_OK};
    int64_t before = -1;
    bool more = true;
    enum shoal_status status =
        shoal_entry_begin(&reader, input.at, fuzz_left(&input), &err);
    while (status == SHOAL_OK && more) {
        struct shoal_outcome outcome;
        int64_t index = 0;
        status = shoal_entry_next(&reader, &more, &index, &outcome, &err);
        if (status != SHOAL_OK || !more)
            break;
        assert(index > before && index < INT64_C(1) << 53);
        check_outcome(&outcome, &input);
        add(run, index, &outcome);
        before = index;
    }
    assert(status == SHOAL_OK || (status == SHOAL_GARBAGE && err.text[0] != '\0'));
    return status;
}

static void write_again(const struct run *run) {
    struct run again = {.first = -1};
    struct shoal_buffer entry;
    shoal_buffer_init(&entry, 1 << 24);
    shoal_buffer_init(&again.outcomes, 1 << 24);
    shoal_buffer_add_format(&entry, "%lld-%lld\n", (long long)run->first,
                            (long long)run->next);
    shoal_pack_begin(&entry, "w", run->first, (size_t)(run->next - run->first));
    shoal_buffer_add(&entry, run->outcomes.data, run->outcomes.len);
    struct fuzz_input input = {.at = entry.data, .end = entry.data + entry.len};
    assert(read_entry(input, &again) == SHOAL_OK);
    assert(again.first == run->first && again.next == run->next);
    assert(again.outcomes.len == run->outcomes.len &&
           memcmp(again.outcomes.data, run->outcomes.data, run->outcomes.len) == 0);
    shoal_buffer_finish(&entry);
    shoal_buffer_finish(&again.outcomes);
}

static void read_attempt(struct fuzz_input input) {
    struct shoal_attempt attempt, again;
    struct shoal_buffer record;
    if (shoal_attempt_read(input.at, fuzz_left(&input), &attempt, NULL) != SHOAL_OK)
        return;
    assert(attempt.lo >= 0 && attempt.lo < attempt.hi);
    shoal_buffer_init(&record, 1 << 24);
    shoal_attempt_write(&record, &attempt);
    assert(shoal_attempt_read(record.data, record.len, &again, NULL) == SHOAL_OK);
    assert(again.hi == attempt.hi && again.text_len == attempt.text_len &&
           again.reason == attempt.reason && again.worker_len == attempt.worker_len);
    shoal_buffer_finish(&record);
}

/* Elements as a runner sends them. */
static void check_elements(struct fuzz_input input) {
    struct shoal_record_reader reader;
    int64_t tasks = 0;
    enum shoal_reason reason;
    shoal_record_reader_init(&reader, input.at, fuzz_left(&input));
    while (shoal_element_check(&reader, &tasks, &reason))
        assert(tasks > 0 && reason < SHOAL_REASON_COUNT && reader.at <= reader.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct run run = {.first = -1};
    const struct fuzz_input input = fuzz_input(data, size);
    shoal_buffer_init(&run.outcomes, 1 << 24);
    (void)read_entry(input, &run);
    if (run.first >= 0)
        write_again(&run);
    shoal_buffer_finish(&run.outcomes);
    read_attempt(input);
    check_elements(input);
    return 0;
}
