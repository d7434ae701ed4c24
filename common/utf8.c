#include "common/utf8.h"

#include <stdint.h>

/* The length of the character that `lead` begins and the lowest code point that needs so
 * many bytes; 0 for a byte that begins none. */
static int sequence(unsigned char lead, uint32_t *bits, uint32_t *lowest) {
    static const struct {
        unsigned char mask, lead;
        int len;
        uint32_t lowest;
    } forms[] = {
        {0x80, 0x00, 1, 0x01}, /* NUL is not text */
        {0xe0, 0xc0, 2, 0x80},
        {0xf0, 0xe0, 3, 0x800},
        {0xf8, 0xf0, 4, 0x10000},
    };
    for (int i = 0; i < 4; i++) {
        if ((lead & forms[i].mask) == forms[i].lead) {
            *bits = lead & (unsigned char)~forms[i].mask;
            *lowest = forms[i].lowest;
            return forms[i].len;
        }
    }
    return 0;
}

bool shoal_utf8_is_valid(const char *bytes, size_t len) {
    for (size_t at = 0; at < len;) {
        if ((signed char)bytes[at] > 0) { /* ASCII, as most text is */
            at++;
            continue;
        }
        uint32_t code = 0, lowest = 0;
        int n = sequence((unsigned char)bytes[at], &code, &lowest);
        if (n == 0 || (size_t)n > len - at)
            return false;
        for (int i = 1; i < n; i++) {
            unsigned char next = (unsigned char)bytes[at + (size_t)i];
            if ((next & 0xc0) != 0x80)
                return false;
            code = code << 6 | (next & 0x3f);
        }
        if (code < lowest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
        at += (size_t)n;
    }
    return true;
}

void shoal_utf8_blot_controls(char *bytes, size_t len, char with) {
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        unsigned char next = i + 1 < len ? (unsigned char)bytes[i + 1] : 0;
        bool is_c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0;
        if (is_c1)
            bytes[i++] = with;
        if (is_c1 || byte < ' ' || byte == 0x7f)
            bytes[i] = with;
    }
}
