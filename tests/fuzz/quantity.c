/* Durations, sizes, whole numbers, decimals and doubles, each from the same text: what is
 * printed reads as the same number again. */
#include "common/number.h"
#include "common/option.h"

#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <math.h>

static void read_quantities(const char *text) {
    int64_t value = 0, again = 0;
    char printed[32];
    struct shoal_error err = {.status = SHOAL_OK};
    if (shoal_duration_parse(text, "it", &value, &err) == SHOAL_OK) {
        assert(value >= 0);
        shoal_duration_print(value, printed, 24);
        assert(shoal_duration_parse(printed, "it", &again, &err) == SHOAL_OK);
        assert(again == value);
    }
    if (shoal_size_parse(text, "it", &value, &err) == SHOAL_OK)
        assert(value >= 0);
    if (shoal_integer_parse(text, "it", -5, INT64_MAX, &value, &err) == SHOAL_OK)
        assert(value >= -5 && (value < 0 || strtoull(text, NULL, 10) == (uint64_t)value));
}

static void read_decimal(const char *text, size_t len) {
    struct shoal_decimal decimal, again;
    struct shoal_buffer printed;
    if (!shoal_decimal_read(text, len, &decimal))
        return;
    assert(decimal.scale >= 0 && decimal.scale <= 18);
    assert(decimal.mantissa <= INT64_C(1000000000000000000) &&
           decimal.mantissa >= INT64_C(-1000000000000000000));
    shoal_buffer_init(&printed, 64);
    shoal_decimal_print(decimal, &printed);
    assert(!printed.failed && shoal_decimal_read(printed.data, printed.len, &again));
    assert(again.scale <= decimal.scale && shoal_decimal_rescale(&again, decimal.scale));
    assert(again.mantissa == decimal.mantissa);
    shoal_buffer_finish(&printed);
}

static void read_double(const char *text, size_t len) {
    double value = 0, again = 0;
    struct shoal_buffer printed;
    if (!shoal_double_read(text, len, &value))
        return;
    shoal_buffer_init(&printed, 64);
    shoal_number_print(value, &printed);
    assert(!printed.failed && shoal_double_read(printed.data, printed.len, &again));
    assert(value == again && signbit(value) == signbit(again));
    shoal_buffer_finish(&printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    const char *bytes = input.at;
    read_decimal(bytes, size);
    read_double(bytes, size);
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = fuzz_line(&input);
    if (text != NULL)
        read_quantities(text);
    return 0;
}
