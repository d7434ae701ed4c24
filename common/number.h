/* Numbers as people write them: exact decimals, and doubles that read
 * back as themselves. */
#ifndef SHOAL_NUMBER_H
#define SHOAL_NUMBER_H

#include "common/buffer.h"

#include <stdint.h>

/* mantissa / 10^scale, exactly; |mantissa| <= 10^18, 0 <= scale <= 18. */
struct shoal_decimal {
    int64_t mantissa;
    int scale;
};

/* Reads "-1.50" or "2e-3" completely. False: no decimal, or more than 18 digits. */
bool shoal_decimal_read(const char *text, size_t len, struct shoal_decimal *ret_decimal);

/* The same number with a larger scale. False: it has no room. */
bool shoal_decimal_rescale(struct shoal_decimal *decimal, int scale);

/* Appends it without trailing zeros: "0.05", "1", "-3.5". */
void shoal_decimal_print(struct shoal_decimal decimal, struct shoal_buffer *text);

/* Reads a finite double completely. False: it is none. */
bool shoal_double_read(const char *text, size_t len, double *ret_value);

/* Appends the shortest decimal that strtod() reads as `value` again ("0.1", "1e-07",
 * "3"). */
void shoal_number_print(double value, struct shoal_buffer *text);

/* What the word for so many things ends with: "1 task", "2 tasks". */
const char *shoal_plural(int64_t n);

#endif
