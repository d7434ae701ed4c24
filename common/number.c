#include "common/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 18 };

static const int64_t MANTISSA_MAX = INT64_C(1000000000000000000);

/* Appends a digit; false beyond the bound. */
static bool push_digit(int64_t *mantissa, char digit) {
    if (*mantissa > (MANTISSA_MAX - 9) / 10)
        return false;
    *mantissa = *mantissa * 10 + (digit - '0');
    return true;
}

/* Digits with at most one point among them; how many stand behind it goes into *scale. */
static bool read_digits(const char **at, const char *end, int64_t *mantissa, int *scale) {
    bool point = false;
    int digits = 0;
    for (; *at < end; (*at)++) {
        char c = **at;
        if (c == '.' && !point) {
            point = true;
        } else if (c >= '0' && c <= '9') {
            digits++;
            *scale += point;
            if (!push_digit(mantissa, c))
                return false;
        } else {
            break;
        }
    }
    return digits > 0;
}

static bool read_exponent(const char **at, const char *end, int *ret_exponent) {
    *ret_exponent = 0;
    if (*at == end || (**at != 'e' && **at != 'E'))
        return true;
    (*at)++;
    bool negative = *at < end && **at == '-';
    if (*at < end && (**at == '-' || **at == '+'))
        (*at)++;
    int value = 0, digits = 0;
    for (; *at < end && **at >= '0' && **at <= '9' && digits < 4; (*at)++, digits++)
        value = value * 10 + (**at - '0');
    *ret_exponent = negative ? -value : value;
    return digits > 0 && digits < 4;
}

bool shoal_decimal_read(const char *text, size_t len, struct shoal_decimal *ret_decimal) {
    const char *at = text, *end = text + len;
    int64_t mantissa = 0;
    int scale = 0, exponent = 0;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (!read_digits(&at, end, &mantissa, &scale) ||
        !read_exponent(&at, end, &exponent) || at != end)
        return false;
    scale -= exponent;
    for (; scale < 0; scale++) {
        if (!push_digit(&mantissa, '0'))
            return false;
    }
    while (scale > DIGITS_MAX && mantissa % 10 == 0) {
        mantissa /= 10;
        scale--;
    }
    if (scale > DIGITS_MAX)
        return false;
    *ret_decimal = (struct shoal_decimal){.mantissa = negative ? -mantissa : mantissa,
                                          .scale = scale};
    return true;
}

bool shoal_decimal_rescale(struct shoal_decimal *decimal, int scale) {
    for (; decimal->scale < scale; decimal->scale++) {
        int64_t size = decimal->mantissa < 0 ? -decimal->mantissa : decimal->mantissa;
        if (size > MANTISSA_MAX / 10)
            return false;
        decimal->mantissa *= 10;
    }
    return true;
}

void shoal_decimal_print(struct shoal_decimal decimal, struct shoal_buffer *text) {
    while (decimal.scale > 0 && decimal.mantissa % 10 == 0) {
        decimal.mantissa /= 10;
        decimal.scale--;
    }
    int64_t size = decimal.mantissa < 0 ? -decimal.mantissa : decimal.mantissa;
    int64_t power = 1;
    for (int i = 0; i < decimal.scale; i++)
        power *= 10;
    shoal_buffer_add_format(text, "%s%" PRId64, decimal.mantissa < 0 ? "-" : "",
                            size / power);
    if (decimal.scale > 0)
        shoal_buffer_add_format(text, ".%0*" PRId64, decimal.scale, size % power);
}

bool shoal_double_read(const char *text, size_t len, double *ret_value) {
    char copy[64];
    char *end = NULL;
    if (len == 0 || len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strspn(copy, "+-.0123456789eE") < len)
        return false; /* no hexadecimal, no "inf", no white space */
    double value = strtod(copy, &end);
    if (*end != '\0' || end == copy || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

void shoal_number_print(double value, struct shoal_buffer *text) {
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    shoal_buffer_add_text(text, digits);
}

const char *shoal_plural(int64_t n) {
    return n == 1 ? "" : "s";
}
