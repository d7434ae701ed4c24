/* Join tokens, and the certificates that are in them: what is made fits together, and of
 * all else nothing is taken. */
#include "client/token.h"
#include "client/certificate.h"
#include "common/cleanup.h"
#include "tests/support/certificates.h"
#include "tests/support/process.h"

#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_directory folder;
static struct shoal_error err;

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder.path, name);
    return path;
}

/* The caller's. */
static char *text_of(const char *name) {
    char text[4096] = "";
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
    ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
    return strdup(text);
}

static void take(const char *host, const char *names) {
    enum shoal_status status = shoal_certificates_take(folder.path, host, names, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
}

static void setup(void) {
    test_directory_create(&folder);
    shoal_error_clear(&err);
    take("192.0.2.1", "IP:192.0.2.1,DNS:desk");
}

static void teardown(void) {
    test_directory_destroy(&folder);
}

/* ---- certificates */

static X509 *certificate_of(const char *name) {
    FILE *file = fopen(path_of(name), "re");
    ck_assert_ptr_nonnull(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    ck_assert_ptr_nonnull(certificate);
    return certificate;
}

static bool has_purpose(const char *name, int purpose) {
    X509 *certificate = certificate_of(name);
    bool has = X509_check_purpose(certificate, purpose, 0) == 1;
    X509_free(certificate);
    return has;
}

START_TEST(who_joins_cannot_pass_for_the_server) {
    ck_assert(has_purpose("worker.pem", X509_PURPOSE_SSL_CLIENT));
    ck_assert(!has_purpose("worker.pem", X509_PURPOSE_SSL_SERVER));
    ck_assert(has_purpose("server.pem", X509_PURPOSE_SSL_SERVER));
    ck_assert(!has_purpose("server.pem", X509_PURPOSE_SSL_CLIENT));
    X509 *worker = certificate_of("worker.pem");
    ck_assert_int_eq(X509_check_ca(worker), 0);
    X509_free(worker);
}
END_TEST

static const char *const files[] = {"authority.pem", "authority.key", "worker.pem",
                                    "worker.key",    "server.pem",    "server.key"};
enum { ALL = SHOAL_COUNT(files), OF_WORKER = 2, OF_SERVER = 4 };

static void read_all(char *texts[SHOAL_COUNT(files)]) {
    for (size_t i = 0; i < SHOAL_COUNT(files); i++)
        texts[i] = text_of(files[i]);
}

/* Looks whether those from `from` on, before `to`, are other ones, the rest as before. */
static void expect_made(char *before[SHOAL_COUNT(files)], size_t from, size_t to) {
    for (size_t i = 0; i < SHOAL_COUNT(files); i++) {
        SHOAL_CLEANUP(shoal_cleanup_free) char *now = text_of(files[i]);
        bool is_made = i >= from && i < to;
        ck_assert_msg((strcmp(now, before[i]) != 0) == is_made, "%s", files[i]);
        free(before[i]);
    }
}

START_TEST(certificates_are_kept_while_they_are_good) {
    char *before[SHOAL_COUNT(files)];
    struct stat stat_;
    read_all(before);
    take("desk", "IP:192.0.2.1,DNS:desk");
    expect_made(before, ALL, ALL);
    read_all(before);
    take("192.0.2.2", "IP:192.0.2.2"); /* another address */
    expect_made(before, OF_SERVER, ALL);
    for (size_t i = 0; i < SHOAL_COUNT(files); i++) {
        ck_assert_int_eq(stat(path_of(files[i]), &stat_), 0);
        ck_assert_uint_eq(stat_.st_mode & 0777, 0600);
    }
}
END_TEST

/* What ends soon, cannot be read or has another's key. */
static const struct {
    const char *file;
    const char *names; /* of one that ends soon; NULL: of an authority */
    const char *signer;
    size_t from, to; /* what is made */
} spoilt[] = {
    {"authority.key", NULL, NULL, 0, ALL},
    {"authority", NULL, NULL, 0, ALL},
    {"worker.pem", NULL, NULL, OF_WORKER, OF_SERVER},
    {"server", "IP:192.0.2.1", "authority", OF_SERVER, ALL},
    {"server.key", NULL, NULL, OF_SERVER, ALL},
};

START_TEST(certificates_that_are_not_good_are_made_again) {
    char *before[SHOAL_COUNT(files)];
    if (strchr(spoilt[_i].file, '.') == NULL) {
        test_certificate_make(folder.path,
                              &(struct test_certificate){.name = spoilt[_i].file,
                                                         .names = spoilt[_i].names,
                                                         .signer = spoilt[_i].signer,
                                                         .from_days = -1,
                                                         .until_days = 20});
    } else {
        SHOAL_CLEANUP(shoal_cleanup_fd)
        int fd = open(path_of(spoilt[_i].file), O_WRONLY | O_TRUNC | O_CLOEXEC);
        ck_assert_int_eq(write(fd, "x\n", 2), 2);
    }
    read_all(before);
    take("192.0.2.1", "IP:192.0.2.1,DNS:desk");
    expect_made(before, spoilt[_i].from, spoilt[_i].to);
}
END_TEST

/* ---- tokens */

static const char digits[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void make_token(struct shoal_token *token, struct shoal_buffer *text) {
    *token = (struct shoal_token){
        .url = strdup("rediss://worker@192.0.2.1:6380"),
        .name_space = strdup("shoal"),
        .password = strdup(digits),
        .owner = strdup("ann@desk"),
        .authority = text_of("authority.pem"),
        .certificate = text_of("worker.pem"),
        .key = text_of("worker.key"),
    };
    ck_assert(shoal_signer_name_read(digits, &token->trusted));
    shoal_buffer_init(text, SHOAL_TOKEN_MAX);
    ck_assert_int_eq(shoal_token_write(token, text, &err), SHOAL_OK);
}

static enum shoal_status read_token(const char *text, size_t len) {
    struct shoal_token token = {.url = NULL};
    shoal_error_clear(&err);
    enum shoal_status status = shoal_token_read(text, len, &token, &err);
    ck_assert(status == SHOAL_OK || token.url == NULL);
    shoal_token_finish(&token);
    return status;
}

static void expect_refused(const char *text, size_t len) {
    ck_assert_int_eq(read_token(text, len), SHOAL_INVALID);
    ck_assert(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
    ck_assert_ptr_null(strstr(err.text, "0123456789")); /* nothing secret */
}

START_TEST(token_reads_as_it_was_written) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token;
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token again = {.url = NULL};
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    make_token(&token, &text);
    ck_assert_int_eq(shoal_token_read(text.data, text.len, &again, &err), SHOAL_OK);
    ck_assert_str_eq(again.url, token.url);
    ck_assert_str_eq(again.name_space, token.name_space);
    ck_assert_str_eq(again.password, token.password);
    ck_assert_str_eq(again.owner, token.owner);
    ck_assert_str_eq(again.trusted.digits, token.trusted.digits);
    ck_assert_str_eq(again.authority, token.authority);
    ck_assert_str_eq(again.certificate, token.certificate);
    ck_assert_str_eq(again.key, token.key);
}
END_TEST

/* As a terminal or a mail may bring it. */
START_TEST(token_may_be_wrapped_in_another_way) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer other;
    make_token(&token, &text);
    shoal_buffer_init(&other, 2UL * SHOAL_TOKEN_MAX);
    shoal_buffer_add_text(&other, "\r\n  ");
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n')
            shoal_buffer_add_text(&other, " \r");
        shoal_buffer_add_char(&other, text.data[i]);
    }
    ck_assert_int_eq(read_token(other.data, other.len), SHOAL_OK);
    expect_refused(other.data + 8, other.len - 8);
}
END_TEST

START_TEST(token_with_any_byte_altered_is_refused) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    make_token(&token, &text);
    for (size_t i = 0; i + 1 < text.len; i++) {
        text.data[i] ^= 1;
        expect_refused(text.data, text.len);
        text.data[i] ^= 1;
    }
    ck_assert_int_eq(read_token(text.data, text.len), SHOAL_OK);
}
END_TEST

START_TEST(token_cut_off_or_longer_is_refused) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    static char large[SHOAL_TOKEN_MAX + 2];
    make_token(&token, &text);
    for (size_t i = 0; i + 1 < text.len; i++) {
        SHOAL_CLEANUP(shoal_cleanup_free) char *part = malloc(i == 0 ? 1 : i);
        memcpy(part, text.data, i); /* so that a sanitizer sees a look beyond it */
        expect_refused(part, i);
        expect_refused(text.data + i + 1, text.len - i - 1);
    }
    memset(large, ' ', sizeof(large));
    memcpy(large, text.data, text.len);
    ck_assert_int_eq(read_token(large, SHOAL_TOKEN_MAX), SHOAL_OK);
    expect_refused(large, sizeof(large));
    shoal_buffer_add_text(&text, "x");
    expect_refused(text.data, text.len);
}
END_TEST

/* ---- its fields */

static const char *const fields[] = {"version",   "trust",       "url",
                                     "namespace", "password",    "owner",
                                     "authority", "certificate", "key"};

static const struct {
    const char *field;
    const char *value;
} bad[] = {
    {"url", "redis://worker@192.0.2.1:6380"},
    {"url", "rediss://192.0.2.1:6380"},
    {"url", "rediss://worker:secret@192.0.2.1:6380"},
    {"url", "rediss://worker@192.0.2.1:6380/1"},
    {"url", "rediss://worker@192.0.2.1:0"},
    {"url", "rediss://wor ker@192.0.2.1"},
    {"url", "rediss://wor\xc3\xa4ker@192.0.2.1"},
    {"url", "unix://worker@/tmp/redis.sock"},
    {"url", "--redis"},
    {"namespace", "two words"},
    {"namespace", "-x"},
    {"password", "0123"},
    {"password", "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"},
    {"trust", "0123"},
    {"trust", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"},
    {"owner", "ann queues=x"},
    {"owner", "ann\nevil"},
    {"owner", "a=b"},
    {"owner", "#ann"},
    {"authority", "x"},
    {"certificate", "-----BEGIN CERTIFICATE-----"},
    {"key", ""},
    {"more", "x"},
};

static json_t *object_of(const struct shoal_token *token) {
    json_t *object = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "version", 1, "trust",
        token->trusted.digits, "url", token->url, "namespace", token->name_space,
        "password", token->password, "owner", token->owner, "authority", token->authority,
        "certificate", token->certificate, "key", token->key);
    ck_assert_ptr_nonnull(object);
    return object;
}

static void expect_object(const json_t *object, enum shoal_status expected) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *json = json_dumps(object, 0);
    struct shoal_token token = {.url = NULL};
    shoal_error_clear(&err);
    enum shoal_status status = shoal_token_read_fields(json, strlen(json), &token, &err);
    ck_assert_msg(status == expected, "%s: %s", json, err.text);
    shoal_token_finish(&token);
}

/* With one field of another value; NULL: without it. */
static void expect_field(const json_t *object, const char *field, json_t *value,
                         enum shoal_status expected) {
    json_t *copy = json_copy((json_t *)object);
    if (value == NULL)
        json_object_del(copy, field);
    else
        json_object_set_new(copy, field, value);
    expect_object(copy, expected);
    json_decref(copy);
}

START_TEST(every_field_is_looked_at) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    make_token(&token, &text);
    json_t *object = object_of(&token);
    expect_object(object, SHOAL_OK);
    for (size_t i = 0; i < SHOAL_COUNT(fields); i++) {
        expect_field(object, fields[i], NULL, SHOAL_INVALID);
        expect_field(object, fields[i], json_array(), SHOAL_INVALID);
        expect_field(object, fields[i], json_string(""), SHOAL_INVALID);
    }
    for (size_t i = 0; i < SHOAL_COUNT(bad); i++)
        expect_field(object, bad[i].field, json_string(bad[i].value), SHOAL_INVALID);
    expect_field(object, "version", json_integer(2), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "later shoal"));
    json_decref(object);
}
END_TEST

/* Another authority's certificate, another's key, and more than one in a text. */
START_TEST(what_does_not_fit_together_is_refused) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    SHOAL_CLEANUP(shoal_cleanup_free) char *two = NULL;
    make_token(&token, &text);
    json_t *object = object_of(&token);
    SHOAL_CLEANUP(shoal_cleanup_free) char *server_key = text_of("server.key");
    expect_field(object, "key", json_string(server_key), SHOAL_INVALID);
    expect_field(object, "authority", json_string(token.certificate), SHOAL_INVALID);
    ck_assert_int_gt(asprintf(&two, "%s%s", token.authority, token.authority), 0);
    expect_field(object, "authority", json_string(two), SHOAL_INVALID);
    ck_assert_int_eq(unlink(path_of("authority.key")), 0);
    take("192.0.2.1", "IP:192.0.2.1");
    SHOAL_CLEANUP(shoal_cleanup_free) char *other = text_of("authority.pem");
    expect_field(object, "authority", json_string(other), SHOAL_INVALID);
    json_decref(object);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("token");
    TCase *tests = tcase_create("token");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, who_joins_cannot_pass_for_the_server);
    tcase_add_test(tests, certificates_are_kept_while_they_are_good);
    tcase_add_loop_test(tests, certificates_that_are_not_good_are_made_again, 0,
                        (int)SHOAL_COUNT(spoilt));
    tcase_add_test(tests, token_reads_as_it_was_written);
    tcase_add_test(tests, token_may_be_wrapped_in_another_way);
    tcase_add_test(tests, token_with_any_byte_altered_is_refused);
    tcase_add_test(tests, token_cut_off_or_longer_is_refused);
    tcase_add_test(tests, every_field_is_looked_at);
    tcase_add_test(tests, what_does_not_fit_together_is_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
