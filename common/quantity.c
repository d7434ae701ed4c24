/* Numbers with units. All arithmetic is exact: "1.5s" is 1500, "0.1ms" is refused. */
#include "common/option.h"

#include <inttypes.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* From the smallest on: of two durations that are as short, the first is printed. */
static const struct unit durations[] = {
    {"ms", 1},       {"s", 1000},      {"m", 60000}, {"h", 3600000},
    {"d", 86400000}, {"w", 604800000}, {NULL, 0},
};

static const struct unit sizes[] = {
    {"", 1},
    {"k", INT64_C(1) << 10},
    {"K", INT64_C(1) << 10},
    {"M", INT64_C(1) << 20},
    {"G", INT64_C(1) << 30},
    {"T", INT64_C(1) << 40},
    {NULL, 0},
};

static const struct unit decimal[] = {{"", 1000}, {NULL, 0}};

enum { DECIMALS_MAX = 6 }; /* 10^6 times the largest unit is still an int64_t */

enum reading { FINE, NO_NUMBER, TOO_FINE, TOO_LARGE };

static const struct unit *find_unit(const struct unit *units, const char *name) {
    for (; units->name != NULL; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

/* Reads `n` digits; a negative number downwards, so that INT64_MIN can be read. */
static enum reading read_digits(const char *digits, size_t n, bool negative,
                                int64_t *ret_value) {
    int64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = negative ? '0' - digits[i] : digits[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return TOO_LARGE;
    }
    *ret_value = value;
    return FINE;
}

/* 0.DIGITS of a unit. */
static enum reading read_fraction(const char *digits, size_t n, int64_t factor,
                                  int64_t *ret_value) {
    while (n > 0 && digits[n - 1] == '0')
        n--;
    if (n > DECIMALS_MAX)
        return TOO_FINE;
    int64_t value = 0, divisor = 1;
    (void)read_digits(digits, n, false, &value); /* few enough digits */
    for (size_t i = 0; i < n; i++)
        divisor *= 10;
    *ret_value = value * factor / divisor;
    return value * factor % divisor == 0 ? FINE : TOO_FINE;
}

/* DIGITS[.DIGITS]UNIT, where `bare` stands for a missing unit. */
static enum reading read_quantity(const char *text, const struct unit *units,
                                  const char *bare, int64_t *ret_value) {
    size_t digits = strspn(text, "0123456789");
    const char *fraction = text + digits + (text[digits] == '.');
    size_t decimals = text[digits] == '.' ? strspn(fraction, "0123456789") : 0;
    const char *name = fraction + decimals;
    const struct unit *unit = find_unit(units, *name == '\0' ? bare : name);
    if (digits == 0 || (text[digits] == '.' && decimals == 0) || unit == NULL)
        return NO_NUMBER;

    int64_t value = 0, rest = 0;
    enum reading reading = read_digits(text, digits, false, &value);
    if (reading == FINE)
        reading = read_fraction(fraction, decimals, unit->factor, &rest);
    if (reading == FINE && (__builtin_mul_overflow(value, unit->factor, &value) ||
                            __builtin_add_overflow(value, rest, &value)))
        reading = TOO_LARGE;
    if (reading == FINE)
        *ret_value = value;
    return reading;
}

enum shoal_status shoal_duration_parse(const char *text, const char *what,
                                       int64_t *ret_ms, struct shoal_error *err) {
    static const char *const wrong[] = {
        [NO_NUMBER] = "is not a duration such as 250ms, 1.5s, 10m, 2h, 7d or 1w",
        [TOO_FINE] = "is too fine, durations are whole milliseconds",
        [TOO_LARGE] = "is too long a duration",
    };
    enum reading reading = read_quantity(text, durations, "s", ret_ms);
    if (reading == FINE)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID, "%s '%.100s' %s", what, text,
                           wrong[reading]);
}

enum shoal_status shoal_size_parse(const char *text, const char *what, int64_t *ret_bytes,
                                   struct shoal_error *err) {
    static const char *const wrong[] = {
        [NO_NUMBER] = "is not a size in bytes such as 4096, 64k, 16M or 1G",
        [TOO_FINE] = "is too fine, sizes are whole bytes",
        [TOO_LARGE] = "is too large a size",
    };
    enum reading reading = read_quantity(text, sizes, "", ret_bytes);
    if (reading == FINE)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID, "%s '%.100s' %s", what, text,
                           wrong[reading]);
}

enum shoal_status shoal_thousandths_parse(const char *text, const char *what,
                                          int64_t *ret_value, struct shoal_error *err) {
    static const char *const wrong[] = {
        [NO_NUMBER] = "is not a number such as 2 or 0.5",
        [TOO_FINE] = "is too fine, it has three decimals at most",
        [TOO_LARGE] = "is too large a number",
    };
    enum reading reading = read_quantity(text, decimal, "", ret_value);
    if (reading == FINE)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID, "%s '%.100s' %s", what, text,
                           wrong[reading]);
}

enum shoal_status shoal_integer_parse(const char *text, const char *what, int64_t least,
                                      int64_t most, int64_t *ret_value,
                                      struct shoal_error *err) {
    bool negative = *text == '-';
    const char *digits = text + negative;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || digits[n] != '\0')
        return shoal_error_set(err, SHOAL_INVALID, "%s '%.100s' is not a whole number",
                               what, text);
    int64_t value = 0;
    enum reading reading = read_digits(digits, n, negative, &value);
    if (reading == TOO_LARGE ? negative : value < least)
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s '%.100s' is too small, the least is %" PRId64, what,
                               text, least);
    if (reading == TOO_LARGE || value > most)
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s '%.100s' is too large, the most is %" PRId64, what,
                               text, most);
    *ret_value = value;
    return SHOAL_OK;
}

/* VALUE/FACTOR with up to three decimals; false when they do not suffice. */
static bool print_in_unit(uint64_t value, const struct unit *unit, char *text,
                          size_t room) {
    uint64_t factor = (uint64_t)unit->factor;
    uint64_t thousandths = value % factor * 1000;
    if (thousandths % factor != 0)
        return false;
    int len = snprintf(text, room, "%" PRIu64 ".%03" PRIu64, value / factor,
                       thousandths / factor);
    while (text[len - 1] == '0')
        len--;
    if (text[len - 1] == '.')
        len--;
    snprintf(text + len, room - (size_t)len, "%s", unit->name);
    return true;
}

static void print(int64_t number, const struct unit *units, char *text, size_t room) {
    uint64_t value = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char best[32] = "", next[32];
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (print_in_unit(value, unit, next, sizeof(next)) &&
            (*best == '\0' || strlen(next) < strlen(best)))
            memcpy(best, next, sizeof(best));
    snprintf(text, room, "%s%s", number < 0 ? "-" : "", best);
}

void shoal_duration_print(int64_t ms, char *text, size_t room) {
    print(ms, durations, text, room);
}

void shoal_size_print(int64_t bytes, char *text, size_t room) {
    print(bytes, sizes, text, room);
}

void shoal_thousandths_print(int64_t value, char *text, size_t room) {
    print(value, decimal, text, room);
}
