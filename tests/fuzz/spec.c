/* A job's spec: what is accepted can be submitted, reads the same when it is written
 * again, and gives the words of any of its tasks. */
#include "common/spec.h"

#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

static const char *const arguments[] = {
    [SHOAL_ARGUMENTS_NONE] = NULL,
    [SHOAL_ARGUMENTS_LINE] = "a line",
    [SHOAL_ARGUMENTS_FIELDS] = "{\"x\":1.50,\"y\":\"{x}\",\"z\":null}",
};

static void expand(const struct shoal_spec *spec, int64_t index) {
    const char *argument = arguments[spec->arguments];
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {.n = 0};
    SHOAL_CLEANUP(shoal_cleanup_free) char **argv = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status =
        shoal_parameters_make(spec, index, argument,
                              argument == NULL ? 0 : strlen(argument), &parameters, &err);
    if (status != SHOAL_OK)
        return; /* values of 64 KiB each are over the bound of all */
    const struct shoal_task task = {
        .job = "0123456789ab", .index = index, .parameters = &parameters};
    assert(parameters.repetition >= 0 &&
           parameters.repetition < shoal_sweep_repetitions(spec->sweep));
    if (shoal_spec_expand(spec, &task, &argv, &err) == SHOAL_OK)
        assert(argv[0] != NULL);
    else
        assert(err.text[0] != '\0');
}

static void write_again(const struct shoal_spec *spec) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *once = NULL;
    SHOAL_CLEANUP(shoal_cleanup_free) char *twice = NULL;
    struct shoal_spec again;
    struct shoal_error err = {.status = SHOAL_OK};
    if (shoal_spec_write(spec, &once, &err) != SHOAL_OK) {
        assert(err.status == SHOAL_INVALID); /* escapes make it longer than it was */
        return;
    }
    assert(shoal_spec_read(once, strlen(once), &again, &err) == SHOAL_OK);
    assert(shoal_spec_write(&again, &twice, &err) == SHOAL_OK);
    assert(strcmp(once, twice) == 0);
    shoal_spec_finish(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    SHOAL_CLEANUP(shoal_spec_cleanup) struct shoal_spec spec = {.words = 0};
    struct shoal_error err = {.status = SHOAL_OK};
    int64_t count = 0;
    if (shoal_spec_read(input.at, size, &spec, &err) != SHOAL_OK) {
        assert(err.status == SHOAL_GARBAGE && err.text[0] != '\0');
        return 0;
    }
    assert(shoal_spec_check(&spec, &err) == SHOAL_OK);
    assert(shoal_sweep_count(spec.sweep, &count, &err) == SHOAL_OK);
    assert(count >= 1 && count <= SHOAL_TASKS_MAX);
    write_again(&spec);
    expand(&spec, 0);
    expand(&spec, count / 2);
    expand(&spec, count - 1);
    return 0;
}
