#include "client/text.h"

#include "common/cleanup.h"

#include <stdbool.h>
#include <string.h>

#define REPLACEMENT UINT32_C(0xfffd)
#define CODE_MAX UINT32_C(0x10ffff)

static bool is_surrogate(uint32_t code) {
    return code >= 0xd800 && code <= 0xdfff;
}

/* The number of bytes that a first byte announces, and what it holds of the code. */
static size_t head(unsigned char byte, uint32_t *code, uint32_t *least) {
    static const struct {
        unsigned char mask, mark;
        uint32_t least; /* shorter codes are overlong */
    } heads[] = {
        {0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t i = 0; i < SHOAL_COUNT(heads); i++) {
        if ((byte & heads[i].mask) != heads[i].mark)
            continue;
        *code = byte & (unsigned char)~heads[i].mask;
        *least = heads[i].least;
        return i + 1;
    }
    return 0;
}

size_t shoal_utf8_next(const char *at, const char *end, uint32_t *ret_code) {
    uint32_t code, least;
    if (at == end)
        return 0;
    size_t n = head((unsigned char)*at, &code, &least);
    if (n == 0 || n > (size_t)(end - at))
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if (code < least || code > CODE_MAX || is_surrogate(code))
        return 0;
    *ret_code = code;
    return n;
}

void shoal_utf8_add(struct shoal_buffer *text, uint32_t code) {
    if (code > CODE_MAX || is_surrogate(code))
        code = REPLACEMENT;
    if (code < 0x80) {
        shoal_buffer_add_char(text, (char)code);
        return;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    shoal_buffer_add_char(text, (char)(0xff00 >> (more + 1) | code >> 6 * more));
    while (more-- > 0)
        shoal_buffer_add_char(text, (char)(0x80 | (code >> 6 * more & 0x3f)));
}

/* How many printable ASCII characters stand at `at`: what is most of all text. */
static size_t plain(const char *at, const char *end) {
    const char *start = at;
    while (at < end && *at >= ' ' && *at < 0x7f)
        at++;
    return (size_t)(at - start);
}

void shoal_text_add_safe(struct shoal_buffer *text, const char *bytes, size_t len) {
    const char *end = bytes + len;
    while (bytes < end) {
        uint32_t code;
        size_t n = plain(bytes, end);
        if (n == 0)
            n = shoal_utf8_next(bytes, end, &code);
        if (n == 0 || *bytes == '\0') {
            shoal_utf8_add(text, REPLACEMENT);
            bytes++;
            continue;
        }
        shoal_buffer_add(text, bytes, n);
        bytes += n;
    }
}

struct range {
    uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t n, uint32_t code) {
    for (size_t i = 0; i < n; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

/* Controls, and what turns the direction of text or breaks lines. */
static const struct range unsafe[] = {
    {0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},
    {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
    {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
};

static const struct range wide[] = {
    {0x1100, 0x115f},   {0x2e80, 0xa4cf},   {0xac00, 0xd7a3}, {0xf900, 0xfaff},
    {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
    {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

static const struct range combining[] = {{0x300, 0x36f},
                                         {0x1ab0, 0x1aff},
                                         {0x20d0, 0x20ff},
                                         {0xfe00, 0xfe0f},
                                         {0xfe20, 0xfe2f}};

static void escape(struct shoal_buffer *escaped, uint32_t code) {
    static const char letters[][3] = {['\t'] = "\\t", ['\n'] = "\\n", ['\r'] = "\\r"};
    if (code < SHOAL_COUNT(letters) && letters[code][0] != '\0')
        shoal_buffer_add_text(escaped, letters[code]);
    else
        shoal_buffer_add_format(escaped, code < 0x80 ? "\\x%02x" : "\\u%04x", code);
}

void shoal_text_escape(struct shoal_buffer *escaped, const char *text, size_t len) {
    const char *end = text + len;
    while (text < end) {
        uint32_t code = 0;
        size_t n = plain(text, end);
        bool is_plain = n > 0;
        if (!is_plain)
            n = shoal_utf8_next(text, end, &code);
        if (n == 0)
            shoal_buffer_add_char(escaped, '?');
        else if (!is_plain && is_in(unsafe, SHOAL_COUNT(unsafe), code))
            escape(escaped, code);
        else
            shoal_buffer_add(escaped, text, n);
        text += n > 0 ? n : 1;
    }
}

static size_t code_width(uint32_t code) {
    if (code < 0x300)
        return 1;
    if (is_in(combining, SHOAL_COUNT(combining), code))
        return 0;
    return is_in(wide, SHOAL_COUNT(wide), code) ? 2 : 1;
}

/* Walks over text until its end or until it took `most` columns. */
static size_t walk(const char *text, size_t len, size_t most, size_t *ret_width) {
    const char *at = text, *end = text + len;
    size_t width = 0;
    while (at < end) {
        uint32_t code = REPLACEMENT;
        size_t n = shoal_utf8_next(at, end, &code);
        size_t more = code_width(code);
        if (more > most - width)
            break;
        width += more;
        at += n > 0 ? n : 1;
    }
    *ret_width = width;
    return (size_t)(at - text);
}

size_t shoal_text_width(const char *text, size_t len) {
    size_t width;
    walk(text, len, SIZE_MAX, &width);
    return width;
}

size_t shoal_text_fit(const char *text, size_t len, size_t columns) {
    size_t width;
    return walk(text, len, columns, &width);
}

void shoal_text_quote(struct shoal_buffer *json, const char *text, size_t len) {
    const char *end = text + len;
    shoal_buffer_add_char(json, '"');
    while (text < end) {
        uint32_t code = REPLACEMENT;
        size_t n = shoal_utf8_next(text, end, &code);
        if (*text == '"' || *text == '\\')
            shoal_buffer_add_char(json, '\\');
        if (n > 0 && (code < 0x20 || (code >= 0x7f && code < 0xa0)))
            shoal_buffer_add_format(json, "\\u%04x", code);
        else
            shoal_utf8_add(json, code);
        text += n > 0 ? n : 1;
    }
    shoal_buffer_add_char(json, '"');
}
