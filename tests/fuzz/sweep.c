/* A sweep from its text, a definition a line. The first line may be "zip" or "reps=N". */
#include "common/sweep.h"

#include "common/cleanup.h"
#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

/* Values of a few points, one after the other. */
static void gather(const struct shoal_sweep *sweep, int64_t count,
                   struct shoal_buffer *values) {
    const int64_t points[] = {0, count / 3, count / 2, count - 1};
    for (size_t i = 0; i < SHOAL_COUNT(points); i++) {
        for (size_t k = 0; k < shoal_sweep_parameters(sweep); k++) {
            size_t begin = values->len;
            shoal_sweep_value(sweep, k, points[i], values);
            assert(values->failed || values->len > begin);
            assert(values->failed || values->len - begin <= SHOAL_VALUE_MAX);
            shoal_buffer_add_char(values, '\n');
        }
    }
    assert(values->len == 0 || shoal_utf8_is_valid(values->data, values->len));
}

static void write_again(const struct shoal_sweep *sweep, int64_t count) {
    SHOAL_CLEANUP(shoal_sweep_cleanup) struct shoal_sweep *again = NULL;
    struct shoal_buffer before, after;
    json_t *json = NULL;
    int64_t now = 0;
    shoal_buffer_init(&before, 1 << 24);
    shoal_buffer_init(&after, 1 << 24);
    assert(shoal_sweep_write(sweep, &json, NULL) == SHOAL_OK);
    assert(shoal_sweep_read(json, &again, NULL) == SHOAL_OK);
    assert(shoal_sweep_count(again, &now, NULL) == SHOAL_OK && now == count);
    gather(sweep, count, &before);
    gather(again, count, &after);
    assert(before.len == after.len &&
           (before.len == 0 || memcmp(before.data, after.data, before.len) == 0));
    json_decref(json);
    shoal_buffer_finish(&before);
    shoal_buffer_finish(&after);
}

static void take_line(struct shoal_sweep *sweep, const char *line) {
    struct shoal_error err = {.status = SHOAL_OK};
    if (strcmp(line, "zip") == 0)
        shoal_sweep_set_mode(sweep, SHOAL_SWEEP_ZIP);
    else if (strncmp(line, "reps=", 5) == 0 && atoi(line + 5) > 0)
        shoal_sweep_set_repetitions(sweep, atoi(line + 5));
    else if (strstr(line, "=@") == NULL && /* files are not the input's */
             shoal_sweep_add(sweep, line, &err) != SHOAL_OK)
        assert(err.status == SHOAL_INVALID && err.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    SHOAL_CLEANUP(shoal_sweep_cleanup) struct shoal_sweep *sweep = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    int64_t count = 0;
    assert(shoal_sweep_create(&sweep, &err) == SHOAL_OK);
    for (char *line; (line = fuzz_line(&input)) != NULL; free(line))
        take_line(sweep, line);
    if (shoal_sweep_count(sweep, &count, &err) == SHOAL_OK) {
        assert(count >= 1 && count <= SHOAL_TASKS_MAX);
        write_again(sweep, count);
    } else {
        assert(err.status == SHOAL_INVALID);
    }
    return 0;
}
