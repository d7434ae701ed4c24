#include "client/field.h"

#include "client/text.h"
#include "common/cleanup.h"

#include <stdint.h>
#include <string.h>

enum { DEPTH_MAX = 100 };

/* ---- reading JSON */

struct scan {
    const char *at;
    const char *end;
};

static char peek(const struct scan *scan) {
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool take(struct scan *scan, char c) {
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static bool take_word(struct scan *scan, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
        return false;
    scan->at += len;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct scan *scan) {
    while (scan->at < scan->end && is_blank(*scan->at))
        scan->at++;
}

static bool skip_digits(struct scan *scan) {
    if (!is_digit(peek(scan)))
        return false;
    while (is_digit(peek(scan)))
        scan->at++;
    return true;
}

static bool skip_number(struct scan *scan) {
    take(scan, '-');
    if (!take(scan, '0') && !skip_digits(scan))
        return false;
    if (take(scan, '.') && !skip_digits(scan))
        return false;
    if (!take(scan, 'e') && !take(scan, 'E'))
        return true;
    if (!take(scan, '+'))
        take(scan, '-');
    return skip_digits(scan);
}

/* What Python and others print, though JSON has no name for it. */
static bool skip_not_finite(struct scan *scan) {
    return take_word(scan, "NaN") || take_word(scan, "Infinity") ||
           take_word(scan, "-Infinity");
}

static int hex_digit(char c) {
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex4(struct scan *scan, uint32_t *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(peek(scan));
        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
        scan->at++;
    }
    return true;
}

/* What stands behind "\u": one unit, or the two of a character beyond the first plane. */
static bool take_unicode(struct scan *scan, uint32_t *code) {
    if (!take_hex4(scan, code))
        return false;
    struct scan pair = *scan;
    uint32_t low;
    if (*code >= 0xd800 && *code <= 0xdbff && take_word(&pair, "\\u") &&
        take_hex4(&pair, &low) && low >= 0xdc00 && low <= 0xdfff) {
        *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
        *scan = pair;
    }
    return true;
}

static bool take_escape(struct scan *scan, uint32_t *code) {
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (take(scan, 'u'))
        return take_unicode(scan, code);
    char c = peek(scan);
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    if (letter == NULL)
        return false;
    scan->at++;
    *code = (uint32_t)meanings[letter - letters];
    return true;
}

/* Reads a string into `text`; NULL: only skips it. */
static bool take_string(struct scan *scan, struct shoal_buffer *text) {
    if (!take(scan, '"'))
        return false;
    for (;;) {
        const char *start = scan->at;
        while (scan->at < scan->end && (unsigned char)*scan->at >= ' ' &&
               *scan->at != '"' && *scan->at != '\\')
            scan->at++;
        if (text != NULL)
            shoal_buffer_add(text, start, (size_t)(scan->at - start));
        if (take(scan, '"'))
            return true;
        uint32_t code;
        if (!take(scan, '\\') || !take_escape(scan, &code))
            return false;
        if (text != NULL)
            shoal_utf8_add(text, code);
    }
}

static bool skip_value(struct scan *scan, int depth);

/* Members or items up to the closing bracket; the opening one has been taken. */
static bool skip_items(struct scan *scan, char close, int depth) {
    skip_blanks(scan);
    if (take(scan, close))
        return true;
    do {
        skip_blanks(scan);
        if (close == '}') {
            if (!take_string(scan, NULL))
                return false;
            skip_blanks(scan);
            if (!take(scan, ':'))
                return false;
        }
        if (!skip_value(scan, depth + 1))
            return false;
    } while (take(scan, ','));
    return take(scan, close);
}

/* Skips a value and the blanks around it. */
static bool skip_value(struct scan *scan, int depth) {
    bool ok;
    skip_blanks(scan);
    if (depth > DEPTH_MAX)
        return false;
    if (take(scan, '{'))
        ok = skip_items(scan, '}', depth);
    else if (take(scan, '['))
        ok = skip_items(scan, ']', depth);
    else if (peek(scan) == '"')
        ok = take_string(scan, NULL);
    else
        ok = take_word(scan, "true") || take_word(scan, "false") ||
             take_word(scan, "null") || skip_not_finite(scan) || skip_number(scan);
    skip_blanks(scan);
    return ok;
}

bool shoal_text_is_number(const char *text, size_t len) {
    struct scan scan = {text, text + len};
    return skip_number(&scan) && scan.at == scan.end;
}

static enum shoal_cell_type type_of(const char *text, size_t len) {
    return shoal_text_is_number(text, len) ? SHOAL_CELL_NUMBER : SHOAL_CELL_TEXT;
}

/* ---- giving fields away */

struct split {
    shoal_field_fn add;
    void *owner;
    struct shoal_error *err;
    struct shoal_buffer name;
    struct shoal_buffer text;
};

static void split_cleanup(struct split *split) {
    shoal_buffer_finish(&split->name);
    shoal_buffer_finish(&split->text);
}

static enum shoal_status give(struct split *split, enum shoal_cell_type type,
                              const char *text, size_t len) {
    enum shoal_status status =
        shoal_buffer_check(&split->name, "a result's key", split->err);
    if (status != SHOAL_OK)
        return status;
    return split->add(split->owner, shoal_buffer_text(&split->name), split->name.len,
                      type, text, len, split->err);
}

static enum shoal_status give_buffer(struct split *split, enum shoal_cell_type type) {
    enum shoal_status status = shoal_buffer_check(&split->text, "a result", split->err);
    if (status != SHOAL_OK)
        return status;
    return give(split, type, shoal_buffer_text(&split->text), split->text.len);
}

/* A number that is not finite, as C prints it and readers of CSV know it. */
static const char *name_of_not_finite(const char *word) {
    return *word == 'N' ? "nan" : *word == 'I' ? "inf" : "-inf";
}

/* Copies a valid value without the blanks between its parts; NaN, in
 * there, becomes null. */
static void compact(struct shoal_buffer *text, struct scan value) {
    while (value.at < value.end) {
        const char *start = value.at;
        if (take_string(&value, NULL))
            shoal_buffer_add(text, start, (size_t)(value.at - start));
        else if (skip_not_finite(&value))
            shoal_buffer_add_text(text, "null");
        else if (!is_blank(*value.at++))
            shoal_buffer_add_char(text, *start);
    }
}

/* Gives a valid value that has no blanks around it. */
static enum shoal_status give_value(struct split *split, struct scan value) {
    size_t len = (size_t)(value.end - value.at);
    char first = peek(&value);
    shoal_buffer_clear(&split->text);
    if (first == 'n')
        return give(split, SHOAL_CELL_MISSING, "", 0);
    if (first == '"') {
        (void)take_string(&value, &split->text);
        return give_buffer(split, SHOAL_CELL_TEXT);
    }
    if (strchr("{[tf", first) != NULL) {
        compact(&split->text, value);
        return give_buffer(split, SHOAL_CELL_JSON);
    }
    struct scan rest = value;
    if (skip_not_finite(&rest)) {
        const char *name = name_of_not_finite(value.at);
        return give(split, SHOAL_CELL_TEXT, name, strlen(name));
    }
    return give(split, type_of(value.at, len), value.at, len);
}

/* The members of a valid object. */
static enum shoal_status give_members(struct split *split, struct scan object) {
    enum shoal_status status = SHOAL_OK;
    (void)take(&object, '{');
    skip_blanks(&object);
    while (status == SHOAL_OK && peek(&object) == '"') {
        shoal_buffer_clear(&split->name);
        (void)take_string(&object, &split->name);
        status = shoal_buffer_check(&split->name, "a result's key", split->err);
        if (status != SHOAL_OK)
            return status;
        skip_blanks(&object);
        (void)take(&object, ':');
        skip_blanks(&object);
        struct scan value = {object.at, NULL};
        (void)skip_value(&object, 0);
        value.end = object.at;
        while (is_blank(value.end[-1]))
            value.end--;
        status = give_value(split, value);
        (void)take(&object, ',');
        skip_blanks(&object);
    }
    return status;
}

/* ---- lines */

/* The next line, without the blanks around it. */
static struct scan take_line(struct scan *text) {
    const char *newline = memchr(text->at, '\n', (size_t)(text->end - text->at));
    struct scan line = {text->at, newline != NULL ? newline : text->end};
    text->at = newline != NULL ? newline + 1 : text->end;
    skip_blanks(&line);
    while (line.end > line.at && is_blank(line.end[-1]))
        line.end--;
    return line;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Takes "key=" from a line. */
static bool take_key(struct scan *line, struct scan *ret_key) {
    const char *start = line->at;
    if (!is_letter(peek(line)))
        return false;
    while (is_letter(peek(line)) || is_digit(peek(line)) || peek(line) == '.' ||
           peek(line) == '-')
        line->at++;
    *ret_key = (struct scan){start, line->at};
    return take(line, '=');
}

static bool are_lines(struct scan text) {
    while (text.at < text.end) {
        struct scan key, line = take_line(&text);
        if (line.at < line.end && !take_key(&line, &key))
            return false;
    }
    return true;
}

static enum shoal_status give_lines(struct split *split, struct scan text) {
    enum shoal_status status = SHOAL_OK;
    while (status == SHOAL_OK && text.at < text.end) {
        struct scan key, line = take_line(&text);
        if (!take_key(&line, &key))
            continue;
        size_t len = (size_t)(line.end - line.at);
        shoal_buffer_clear(&split->name);
        shoal_buffer_add(&split->name, key.at, (size_t)(key.end - key.at));
        status = give(split, type_of(line.at, len), line.at, len);
    }
    return status;
}

enum shoal_status shoal_result_split(const char *result, size_t len, shoal_field_fn add,
                                     void *owner, struct shoal_error *err) {
    struct scan text = {result, result + len};
    while (text.end > text.at && is_blank(text.end[-1]))
        text.end--;
    struct scan json = text;
    skip_blanks(&json);
    if (json.at == json.end)
        return SHOAL_OK;

    SHOAL_CLEANUP(split_cleanup)
    struct split split = {.add = add, .owner = owner, .err = err};
    shoal_buffer_init(&split.name, len + sizeof("result"));
    shoal_buffer_init(&split.text, 2 * len); /* null is longer than NaN */
    struct scan rest = json;
    bool is_json = skip_value(&rest, 0) && rest.at == rest.end;
    if (is_json && *json.at == '{')
        return give_members(&split, json);
    if (!is_json && are_lines(text))
        return give_lines(&split, text);
    shoal_buffer_add_text(&split.name, "result");
    return is_json ? give_value(&split, json)
                   : give(&split, SHOAL_CELL_TEXT, text.at, (size_t)(text.end - text.at));
}
