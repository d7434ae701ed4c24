/* A task's explicit argument, and a word of a command in which it is put: a line of
 * words, and behind it the argument. The first byte is the kind: f for fields. */
#include "common/spec.h"

#include "common/cleanup.h"
#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    struct shoal_spec spec = {.arguments = fuzz_byte(&input) == 'f'
                                               ? SHOAL_ARGUMENTS_FIELDS
                                               : SHOAL_ARGUMENTS_LINE};
    SHOAL_CLEANUP(shoal_cleanup_free) char *word = fuzz_line(&input);
    SHOAL_CLEANUP(shoal_parameters_cleanup) struct shoal_parameters parameters = {.n = 0};
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_buffer text;
    if (word == NULL)
        return 0;
    assert(shoal_sweep_create(&spec.sweep, &err) == SHOAL_OK);
    enum shoal_status status =
        shoal_parameters_make(&spec, 7, input.at, fuzz_left(&input), &parameters, &err);
    shoal_sweep_destroy(spec.sweep);
    if (status != SHOAL_OK) {
        assert(status == SHOAL_GARBAGE && err.text[0] != '\0');
        return 0;
    }
    assert(parameters.n <= SHOAL_PARAMETERS_MAX && parameters.repetition == 0);
    for (size_t i = 0; i < parameters.n; i++)
        assert(shoal_utf8_is_valid(parameters.values[i], strlen(parameters.values[i])));
    const struct shoal_task task = {
        .job = "0123456789ab", .index = 7, .seed = size, .parameters = &parameters};
    shoal_buffer_init(&text, 1 << 24);
    if (shoal_word_expand(word, spec.arguments, &task, &text, &err) != SHOAL_OK)
        assert(err.text[0] != '\0');
    else if (strpbrk(word, "{}") == NULL)
        assert(strcmp(shoal_buffer_text(&text), word) == 0);
    shoal_buffer_finish(&text);
    return 0;
}
