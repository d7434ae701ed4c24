/* Text from outside: both readers of UTF-8 agree on what it is, what goes to a terminal
 * or into JSON is harmless, and names have their alphabets. */
#include "client/text.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <jansson.h>

static bool is_utf8(const char *at, const char *end) {
    uint32_t code = 0;
    for (size_t n; at < end; at += n) {
        n = shoal_utf8_next(at, end, &code);
        if (n == 0 || code == 0)
            return false;
        assert(n <= (size_t)(end - at) && code <= 0x10ffff);
    }
    return true;
}

static void make_safe(const char *bytes, size_t len, bool valid) {
    struct shoal_buffer safe, json;
    shoal_buffer_init(&safe, 1 << 24);
    shoal_buffer_init(&json, 1 << 24);
    shoal_text_add_safe(&safe, bytes, len);
    const char *text = shoal_buffer_text(&safe);
    assert(safe.len == 0 || shoal_utf8_is_valid(text, safe.len));
    assert(!valid || (safe.len == len && memcmp(text, bytes, len) == 0));
    shoal_text_quote(&json, text, safe.len);
    json_t *string = json_loadb(json.data, json.len, JSON_DECODE_ANY, NULL);
    assert(json_is_string(string) && json_string_length(string) == safe.len);
    assert(memcmp(json_string_value(string), text, safe.len) == 0);
    json_decref(string);
    for (size_t columns = 0; columns < 3; columns++)
        assert(shoal_text_width(text, shoal_text_fit(text, safe.len, columns)) <=
               columns);
    shoal_buffer_finish(&safe);
    shoal_buffer_finish(&json);
}

static void escape(const char *bytes, size_t len) {
    struct shoal_buffer escaped;
    shoal_buffer_init(&escaped, 1 << 24);
    shoal_text_escape(&escaped, bytes, len);
    for (size_t i = 0; i < escaped.len; i++)
        assert((unsigned char)escaped.data[i] >= ' ' && escaped.data[i] != 0x7f);
    assert(escaped.len == 0 || shoal_utf8_is_valid(escaped.data, escaped.len));
    shoal_buffer_finish(&escaped);
}

static void name(const char *text) {
    if (shoal_id_is_valid(text))
        assert(shoal_id_is_prefix(text) && shoal_name_is_valid(text));
    if (shoal_name_is_valid(text))
        assert(strlen(text) <= SHOAL_NAME_MAX && strpbrk(text, ":/ {}\n'\"") == NULL);
    if (shoal_parameter_name_is_valid(text))
        assert(strlen(text) <= SHOAL_NAME_MAX && strpbrk(text, "{}=.- \n") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    const char *bytes = input.at;
    bool valid = shoal_utf8_is_valid(bytes, size);
    assert(valid == is_utf8(bytes, bytes + size));
    make_safe(bytes, size, valid);
    escape(bytes, size);
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = fuzz_line(&input);
    name(text == NULL ? "" : text);
    return 0;
}
