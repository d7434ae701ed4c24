/* What a worker's socket says to `shoal-worker --status`, printed for people: any JSON
 * will do, and the lines are as many as it has slots. */
#include <assert.h>

#include "worker/status_ask.c" /* NOLINT(bugprone-suspicious-include) */

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    json_t *answer = json_loadb(input.at, size, JSON_REJECT_DUPLICATES, NULL);
    if (answer == NULL)
        return 0;
    char *text = NULL;
    size_t len = 0, lines = 0;
    FILE *usual = stdout;
    stdout = open_memstream(&text, &len);
    tell(answer);
    fclose(stdout);
    stdout = usual;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert(lines >= 3 + json_array_size(json_object_get(answer, "slots")));
    free(text);
    json_decref(answer);
    return 0;
}
