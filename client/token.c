#include "client/token.h"

#include "client/certificate.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/json.h"
#include "common/redis.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 1,
    LINE = 64,
    HASH_BYTES = SHOAL_HASH_DIGITS / 2,
    URL_MAX = 400,
    PEM_MAX = 3000,
    OWNER_MAX = 63,
};

/* Every field of the object but `version` and `trust`. */
static const struct field {
    const char *name;
    size_t offset;
    size_t most;
} fields[] = {
    {"url", offsetof(struct shoal_token, url), URL_MAX},
    {"namespace", offsetof(struct shoal_token, name_space), SHOAL_NAME_MAX},
    {"password", offsetof(struct shoal_token, password), SHOAL_TOKEN_PASSWORD},
    {"owner", offsetof(struct shoal_token, owner), OWNER_MAX},
    {"authority", offsetof(struct shoal_token, authority), PEM_MAX},
    {"certificate", offsetof(struct shoal_token, certificate), PEM_MAX},
    {"key", offsetof(struct shoal_token, key), PEM_MAX},
};
enum { FIELDS = SHOAL_COUNT(fields) + 2 };

static char **place_of(struct shoal_token *token, const struct field *field) {
    return (char **)((char *)token + field->offset);
}

static void free_secret(char **text) {
    if (*text != NULL)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void shoal_token_finish(struct shoal_token *token) {
    for (size_t i = 0; i < SHOAL_COUNT(fields); i++)
        free_secret(place_of(token, &fields[i]));
}

static enum shoal_status no_memory(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_MEMORY, "no memory left for a join token");
}

/* ---- writing */

static bool hash(const char *bytes, size_t len, unsigned char digest[HASH_BYTES]) {
    return EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL) == 1;
}

static char *json_of(const struct shoal_token *token) {
    json_t *object =
        json_pack("{s:i, s:s}", "version", VERSION, "trust", token->trusted.digits);
    for (size_t i = 0; object != NULL && i < SHOAL_COUNT(fields); i++) {
        const char *text = *place_of((struct shoal_token *)token, &fields[i]);
        if (json_object_set_new(object, fields[i].name, json_string(text)) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

/* The base64 of bytes in one line; the caller's. */
static char *encode(const unsigned char *bytes, size_t len) {
    char *line = malloc(len / 3 * 4 + 5);
    if (line != NULL)
        EVP_EncodeBlock((unsigned char *)line, bytes, (int)len);
    return line;
}

static void add_lines(const char *line, struct shoal_buffer *text) {
    shoal_buffer_add_text(text, SHOAL_TOKEN_BEGIN "\n");
    for (size_t len = strlen(line); len > 0;) {
        size_t n = len < LINE ? len : LINE;
        shoal_buffer_add(text, line, n);
        shoal_buffer_add_char(text, '\n');
        line += n;
        len -= n;
    }
    shoal_buffer_add_text(text, SHOAL_TOKEN_END "\n");
}

enum shoal_status shoal_token_write(const struct shoal_token *token,
                                    struct shoal_buffer *text, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer bytes;
    unsigned char digest[HASH_BYTES];
    char *json = json_of(token), *line = NULL;
    shoal_buffer_init(&bytes, SHOAL_TOKEN_MAX);
    if (json != NULL && hash(json, strlen(json), digest)) {
        shoal_buffer_add(&bytes, digest, sizeof(digest));
        shoal_buffer_add_text(&bytes, json);
    }
    if (bytes.len > 0 && !bytes.failed)
        line = encode((const unsigned char *)bytes.data, bytes.len);
    if (line != NULL)
        add_lines(line, text);
    free_secret(&json);
    if (bytes.data != NULL)
        explicit_bzero(bytes.data, bytes.len);
    if (line == NULL)
        return no_memory(err);
    free_secret(&line);
    return shoal_buffer_check(text, "a join token", err);
}

/* ---- the object */

static enum shoal_status bad_field(const char *name, struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_INVALID,
                           "the join token has no good '%s'; take a new one from 'shoal "
                           "up --listen'",
                           name);
}

static enum shoal_status read_texts(const json_t *object, struct shoal_token *token,
                                    struct shoal_error *err) {
    for (size_t i = 0; i < SHOAL_COUNT(fields); i++) {
        const json_t *value = json_object_get(object, fields[i].name);
        size_t len = json_is_string(value) ? json_string_length(value) : 0;
        if (len == 0 || len > fields[i].most)
            return bad_field(fields[i].name, err);
        char *text = strndup(json_string_value(value), len);
        if (text == NULL)
            return no_memory(err);
        *place_of(token, &fields[i]) = text;
    }
    const char *trusted = json_string_value(json_object_get(object, "trust"));
    return trusted != NULL && shoal_signer_name_read(trusted, &token->trusted)
               ? SHOAL_OK
               : bad_field("trust", err);
}

/* By TLS, with a user, without a password, and no byte that a terminal or an option
 * parser would take for something else. */
static bool url_is_good(const char *url) {
    struct shoal_redis_address address;
    for (const char *at = url; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~')
            return false;
    }
    if (shoal_redis_address_parse(url, NULL, &address, NULL) != SHOAL_OK)
        return false;
    bool good = address.tls && address.user != NULL && address.password == NULL &&
                address.database == 0;
    shoal_redis_address_finish(&address);
    return good;
}

/* A word of a file of trusted keys. */
static bool owner_is_good(const char *owner) {
    for (; *owner != '\0'; owner++) {
        if (*owner <= ' ' || *owner > '~' || *owner == '#' || *owner == '=')
            return false;
    }
    return true;
}

static enum shoal_status check(const struct shoal_token *token, struct shoal_error *err) {
    if (!url_is_good(token->url))
        return bad_field("url", err);
    if (!shoal_name_is_valid(token->name_space))
        return bad_field("namespace", err);
    if (strlen(token->password) != SHOAL_TOKEN_PASSWORD ||
        strspn(token->password, "0123456789abcdef") != SHOAL_TOKEN_PASSWORD)
        return bad_field("password", err);
    if (!owner_is_good(token->owner))
        return bad_field("owner", err);
    if (!shoal_certificates_fit(token->authority, token->certificate, token->key))
        return bad_field("certificate", err);
    return SHOAL_OK;
}

static enum shoal_status check_version(const json_t *object, struct shoal_error *err) {
    json_int_t version = json_integer_value(json_object_get(object, "version"));
    if (version < 1)
        return bad_field("version", err);
    if (version > VERSION)
        return shoal_error_set(err, SHOAL_INVALID,
                               "the join token is of a later shoal; install the same "
                               "version here");
    return json_object_size(object) == FIELDS ? SHOAL_OK : bad_field("fields", err);
}

enum shoal_status shoal_token_read_fields(const char *json, size_t len,
                                          struct shoal_token *ret_token,
                                          struct shoal_error *err) {
    struct shoal_token token = {.url = NULL};
    json_t *object = NULL;
    enum shoal_status status = shoal_json_read(json, len, &object, NULL);
    if (status == SHOAL_MEMORY)
        return no_memory(err);
    if (status != SHOAL_OK)
        return bad_field("object", err);
    status = check_version(object, err);
    if (status == SHOAL_OK)
        status = read_texts(object, &token, err);
    if (status == SHOAL_OK)
        status = check(&token, err);
    json_decref(object);
    if (status == SHOAL_OK)
        *ret_token = token;
    else
        shoal_token_finish(&token);
    return status;
}

/* ---- the text */

static enum shoal_status no_token(struct shoal_error *err) {
    return shoal_error_set(
        err, SHOAL_INVALID,
        "this is no join token: it is everything from '" SHOAL_TOKEN_BEGIN
        "' to '" SHOAL_TOKEN_END "' in the file that 'shoal up "
        "--listen' names");
}

static enum shoal_status damaged(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_INVALID,
                           "the join token was damaged on its way; copy it once more");
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Moves both ends past white space. */
static void trim(const char **begin, const char **end) {
    while (*begin < *end && is_space(**begin))
        (*begin)++;
    while (*begin < *end && is_space((*end)[-1]))
        (*end)--;
}

/* Finds what stands between the first and the last line. */
static bool find_body(const char **begin, const char **end) {
    const size_t head = strlen(SHOAL_TOKEN_BEGIN), tail = strlen(SHOAL_TOKEN_END);
    trim(begin, end);
    if ((size_t)(*end - *begin) < head + tail ||
        memcmp(*begin, SHOAL_TOKEN_BEGIN, head) != 0 ||
        memcmp(*end - tail, SHOAL_TOKEN_END, tail) != 0)
        return false;
    *begin += head;
    *end -= tail;
    return true;
}

/* The bytes of base64 that is exactly as encode() writes it; 0: it is not. */
static size_t decode(const char *line, size_t len, unsigned char *bytes) {
    if (len == 0 || len % 4 != 0 ||
        EVP_DecodeBlock(bytes, (const unsigned char *)line, (int)len) < 0)
        return 0;
    size_t n = len / 4 * 3 - (line[len - 1] == '=') - (line[len - 2] == '=');
    char *again = encode(bytes, n);
    bool same = again != NULL && strlen(again) == len && memcmp(again, line, len) == 0;
    free_secret(&again);
    return same ? n : 0;
}

static enum shoal_status read_line(const char *line, size_t len,
                                   struct shoal_token *ret_token,
                                   struct shoal_error *err) {
    unsigned char bytes[SHOAL_TOKEN_MAX], digest[HASH_BYTES];
    size_t n = decode(line, len, bytes);
    const char *json = (const char *)bytes + HASH_BYTES;
    enum shoal_status status =
        n > HASH_BYTES && hash(json, n - HASH_BYTES, digest) &&
                memcmp(bytes, digest, HASH_BYTES) == 0
            ? shoal_token_read_fields(json, n - HASH_BYTES, ret_token, err)
            : damaged(err);
    explicit_bzero(bytes, sizeof(bytes));
    return status;
}

enum shoal_status shoal_token_read(const char *text, size_t len,
                                   struct shoal_token *ret_token,
                                   struct shoal_error *err) {
    char line[SHOAL_TOKEN_MAX];
    const char *at = text, *end = text + len;
    size_t n = 0;
    if (len > SHOAL_TOKEN_MAX || !find_body(&at, &end))
        return no_token(err);
    for (; at < end; at++) {
        if (!is_space(*at))
            line[n++] = *at;
    }
    enum shoal_status status = read_line(line, n, ret_token, err);
    explicit_bzero(line, sizeof(line));
    return status;
}
