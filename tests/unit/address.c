#include "common/cleanup.h"
#include "common/redis.h"
#include "tests/support/certificates.h"
#include "tests/support/process.h"

#include <check.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct {
    const char *url;
    struct shoal_redis_address address;
    const char *printed;
} good[] = {
    {"redis://h", {.host = "h", .port = 6379}, "redis://h:6379/0"},
    {"redis://h/", {.host = "h", .port = 6379}, "redis://h:6379/0"},
    {"redis://h:1", {.host = "h", .port = 1}, "redis://h:1/0"},
    {"redis://h:65535/15",
     {.host = "h", .port = 65535, .database = 15},
     "redis://h:65535/15"},
    {"redis://10.0.0.1/2",
     {.host = "10.0.0.1", .port = 6379, .database = 2},
     "redis://10.0.0.1:6379/2"},
    {"redis://a.b-c_d.example.org",
     {.host = "a.b-c_d.example.org", .port = 6379},
     "redis://a.b-c_d.example.org:6379/0"},
    {"redis://[::1]", {.host = "::1", .port = 6379}, "redis://[::1]:6379/0"},
    {"redis://[fe80::1%eth0]:7/1",
     {.host = "fe80::1%eth0", .port = 7, .database = 1},
     "redis://[fe80::1%eth0]:7/1"},
    {"redis://:pw@h", {.host = "h", .port = 6379, .password = "pw"}, "redis://h:6379/0"},
    {"redis://me:pw@h",
     {.host = "h", .port = 6379, .user = "me", .password = "pw"},
     "redis://me@h:6379/0"},
    {"redis://me@h", {.host = "h", .port = 6379, .user = "me"}, "redis://me@h:6379/0"},
    {"redis://me:@h", {.host = "h", .port = 6379, .user = "me"}, "redis://me@h:6379/0"},
    {"redis://@h", {.host = "h", .port = 6379}, "redis://h:6379/0"},
    {"redis://m%65%20x:%70%3A%40%2f%e2%82%AC@h",
     {.host = "h", .port = 6379, .user = "me x", .password = "p:@/\xe2\x82\xac"},
     "redis://me%20x@h:6379/0"},
    {"redis://:a/b@c:d@h:1/2",
     {.host = "h", .port = 1, .database = 2, .password = "a/b@c:d"},
     "redis://h:1/2"},
    {"rediss://h", {.host = "h", .port = 6379, .tls = true}, "rediss://h:6379/0"},
    {"rediss://me:pw@[::1]:7/1",
     {.host = "::1", .port = 7, .database = 1, .user = "me", .password = "pw", .tls = 1},
     "rediss://me@[::1]:7/1"},
    {"unix:/run/redis.sock", {.path = "/run/redis.sock"}, "unix:/run/redis.sock"},
    {"unix:relative", {.path = "relative"}, "unix:relative"},
    {"unix:///a", {.path = "///a"}, "unix:///a"},
    {"unix://u%40:p@/a", {.path = "/a", .user = "u@", .password = "p"}, "unix:/a"},
    {"unix://u@//a", {.path = "/a", .user = "u"}, "unix:/a"},
    {"unix:/a@/b", {.path = "/a@/b"}, "unix:/a@/b"},
};

static void assert_same(const char *text, const char *expected) {
    if (expected == NULL)
        ck_assert_ptr_null(text);
    else
        ck_assert_str_eq(text, expected);
}

START_TEST(urls_are_taken_apart_and_printed_without_the_password) {
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    ck_assert_msg(shoal_redis_address_parse(good[_i].url, NULL, &address, &err) ==
                      SHOAL_OK,
                  "%s", err.text);
    assert_same(address.host, good[_i].address.host);
    assert_same(address.path, good[_i].address.path);
    assert_same(address.user, good[_i].address.user);
    assert_same(address.password, good[_i].address.password);
    ck_assert_uint_eq(address.port, good[_i].address.port);
    ck_assert_int_eq(address.database, good[_i].address.database);
    ck_assert_int_eq(address.tls, good[_i].address.tls);
    char text[200];
    shoal_redis_address_print(&address, text, sizeof(text));
    ck_assert_str_eq(text, good[_i].printed);
    shoal_redis_address_finish(&address);
}
END_TEST

#define LONG_100                                                                         \
    "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg"             \
    "hhhhhhhhhhiiiiiiiiiijjjjjjjjjj"

static const struct {
    const char *url;
    const char *says;
} bad[] = {
    {"", "is no URL"},
    {"h:6379", "'h:6379' is no URL"},
    {"http://h", "'http://h' is no URL"},
    {"redis:/h", "is no URL"},
    {"REDIS://h", "is no URL"},
    {"rediss:/h", "rediss:// for TLS"},
    {"redisss://h", "is no URL"},
    {"rediss://", "a host"},
    {"redis://", "a host"},
    {"redis:///0", "'/0'"},
    {"redis://:6379", "':6379'"},
    {"redis://::1", "'::1'"},
    {"redis://[::1", "'[::1'"},
    {"redis://[]", "'[]'"},
    {"redis://[::1]x", "'x'"},
    {"redis://a b", "'a b'"},
    {"redis://h?x", "'h?x'"},
    {"redis://h\n", "a host"},
    {"redis://" LONG_100 LONG_100 LONG_100, "a host"},
    {"redis://h:", "port ''"},
    {"redis://h:0", "port '0'"},
    {"redis://h:65536", "port '65536'"},
    {"redis://h:99999999999999999999999", "65535"},
    {"redis://h:x", "port 'x'"},
    {"redis://h:-1", "port '-1'"},
    {"redis://h:1 ", "port '1 '"},
    {"redis://h/x", "'/x'"},
    {"redis://h/-1", "'/-1'"},
    {"redis://h/1/2", "'/1/2'"},
    {"redis://h/2147483648", "'/2147483648'"},
    {"redis://:%@h", "password"},
    {"redis://:%2@h", "password"},
    {"redis://:%zz@h", "password"},
    {"redis://:%00@h", "password"},
    {"redis://%g0:pw@h", "user name"},
    {"unix:", "unix:PATH"},
    {"unix:/" LONG_100 "1234567", "107"},
};

START_TEST(bad_urls_are_refused_with_a_sentence) {
    struct shoal_redis_address address = {.port = 77};
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_redis_address_parse(bad[_i].url, NULL, &address, &err),
                     SHOAL_INVALID);
    ck_assert_int_eq(err.status, SHOAL_INVALID);
    ck_assert_msg(strstr(err.text, bad[_i].says) != NULL, "%s", err.text);
    ck_assert_uint_eq(address.port, 77);
}
END_TEST

static const char *const secrets[] = {
    "redis://:secret@",      "redis://me:secret@h:x", "redsi://me:secret@h",
    "redis://me:secret@h/x", "me:secret@h",           "redis://:%zzsecret@h",
    "redis://:a/secret@h:0", "redis://me:secret@a b", "unix://me:secret@h",
};

START_TEST(no_sentence_shows_the_password) {
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    ck_assert_int_eq(shoal_redis_address_parse(secrets[_i], NULL, &address, &err),
                     SHOAL_INVALID);
    ck_assert_msg(strstr(err.text, "secret") == NULL, "%s", err.text);
}
END_TEST

static char directory[] = "/tmp/shoal-test-address-XXXXXX";
static char file[64];

static void make_directory(void) {
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/password", directory);
}

static void remove_directory(void) {
    unlink(file);
    rmdir(directory);
}

static void write_file(const char *text, size_t len, mode_t mode) {
    unlink(file); /* one of before may be for reading alone */
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

#define TEXT(text) text, sizeof(text) - 1

static char long_line[5000]; /* filled by its test */

static const struct {
    const char *text;
    size_t len;
    mode_t mode;
    const char *url;
    const char *password; /* or NULL, and then: */
    const char *says;
} files[] = {
    {TEXT("secret"), 0600, "redis://h", "secret", NULL},
    {TEXT("secret\n"), 0400, "redis://h", "secret", NULL},
    {TEXT("secret\r\nmore\n"), 0600, "redis://me@h", "secret", NULL},
    {TEXT(" a b \nc"), 0600, "unix:/x", " a b ", NULL},
    {long_line, 4095, 0600, "redis://h", long_line, NULL},
    {TEXT("secret\n"), 0640, "redis://h", NULL, "chmod 600"},
    {TEXT("secret\n"), 0604, "redis://h", NULL, "chmod 600"},
    {TEXT("secret\n"), 0620, "redis://h", NULL, "others can write"},
    {TEXT("secret\n"), 0602, "redis://h", NULL, "others can write"},
    {TEXT("secret\n"), 0600, "redis://:x@h", NULL, "another"},
    {TEXT(""), 0600, "redis://h", NULL, "empty"},
    {TEXT("\nsecret"), 0600, "redis://h", NULL, "empty"},
    {TEXT("se\0cret\n"), 0600, "redis://h", NULL, "NUL"},
    {long_line, sizeof(long_line), 0600, "redis://h", NULL, "4096"},
};

START_TEST(password_files_are_private_and_have_one_line) {
    memset(long_line, 'x', 4095);
    if (files[_i].password == NULL)
        memset(long_line, 'x', sizeof(long_line));
    write_file(files[_i].text, files[_i].len, files[_i].mode);
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    enum shoal_status status =
        shoal_redis_address_parse(files[_i].url, file, &address, &err);
    if (files[_i].password == NULL) {
        ck_assert_int_eq(status, SHOAL_INVALID);
        ck_assert_msg(strstr(err.text, files[_i].says) != NULL, "%s", err.text);
        ck_assert_ptr_null(strstr(err.text, "secret"));
        return;
    }
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    ck_assert_str_eq(address.password, files[_i].password);
    shoal_redis_address_finish(&address);
}
END_TEST

START_TEST(password_file_is_ones_own_or_roots) {
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    write_file(TEXT("secret"), 0600);
    if (chown(file, 12345, (gid_t)-1) != 0) {
        printf("skipped: another user's file, as only root can make one\n");
        return;
    }
    ck_assert_int_eq(shoal_redis_address_parse("redis://h", file, &address, &err),
                     SHOAL_INVALID);
    ck_assert_msg(strstr(err.text, "its owner (12345) can write") != NULL, "%s",
                  err.text);
    unlink(file);
}
END_TEST

/* ---- a list of who may read, as systemd's credentials have */

enum {
    OF_OWNER = 1,
    OF_USER = 2,
    OF_GROUP = 4,
    OF_A_GROUP = 8,
    OF_MASK = 16,
    OF_ALL = 32
};

static const struct {
    unsigned char group, tag; /* what the group may, and one entry more */
    bool for_us;
    bool is_read;
} lists[] = {
    {0, OF_USER, true, true},
    {0, OF_USER, false, false},
    {4, OF_USER, true, false},
    {0, OF_A_GROUP, false, false},
};

static unsigned char *add_entry(unsigned char *at, unsigned char tag, unsigned char may,
                                uint32_t who) {
    const unsigned char entry[] = {tag, 0, may, 0};
    uint32_t number = htole32(who);
    memcpy(at, entry, sizeof(entry));
    memcpy(at + sizeof(entry), &number, sizeof(number));
    return at + sizeof(entry) + sizeof(number);
}

START_TEST(list_of_readers_may_have_nobody_else) {
    unsigned char list[64] = {2}, *at = list + 4; /* the version */
    struct shoal_redis_address address;
    write_file(TEXT("secret"), 0400);
    at = add_entry(at, OF_OWNER, 4, UINT32_MAX);
    if (lists[_i].tag == OF_USER)
        at = add_entry(at, OF_USER, 4, lists[_i].for_us ? geteuid() : 12345);
    at = add_entry(at, OF_GROUP, lists[_i].group, UINT32_MAX);
    if (lists[_i].tag == OF_A_GROUP)
        at = add_entry(at, OF_A_GROUP, 4, 12345);
    at = add_entry(at, OF_MASK, 4, UINT32_MAX);
    at = add_entry(at, OF_ALL, 0, UINT32_MAX);
    if (setxattr(file, "system.posix_acl_access", list, (size_t)(at - list), 0) != 0) {
        printf("skipped: no access control lists here\n");
        return;
    }
    struct stat status;
    ck_assert_int_eq(stat(file, &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0440);
    enum shoal_status read = shoal_redis_address_parse("redis://h", file, &address, NULL);
    ck_assert_int_eq(read, lists[_i].is_read ? SHOAL_OK : SHOAL_INVALID);
    if (read == SHOAL_OK)
        shoal_redis_address_finish(&address);
    unlink(file);
}
END_TEST

START_TEST(what_is_no_file_is_no_password) {
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    ck_assert_int_eq(
        shoal_redis_address_parse("redis://h", "/no/such/file", &address, &err),
        SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "'/no/such/file': No such file"));
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_redis_address_parse("redis://h", directory, &address, &err),
                     SHOAL_INVALID);
    unlink(file);
    ck_assert_int_eq(mkfifo(file, 0600), 0);
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_redis_address_parse("redis://h", file, &address, &err),
                     SHOAL_INVALID);
    unlink(file);
}
END_TEST

START_TEST(printing_fits_any_room) {
    struct shoal_redis_address address;
    ck_assert_int_eq(
        shoal_redis_address_parse("redis://me@host:1/2", NULL, &address, NULL), SHOAL_OK);
    char text[8] = "xxxxxxx";
    shoal_redis_address_print(&address, text, 6);
    ck_assert_str_eq(text, "redis");
    shoal_redis_address_finish(&address);
    shoal_redis_address_finish(&address); /* twice is fine */
}
END_TEST

/* ---- files for TLS */

static struct test_directory pems;

static void make_pems(void) {
    static const struct test_certificate made[] = {
        {"authority", NULL, NULL, -1, 1},         {"own", "DNS:me", "authority", -1, 1},
        {"other", "DNS:me", "authority", -1, 1},  {"open", "DNS:me", "authority", -1, 1},
        {"locked", "DNS:me", "authority", -1, 1},
    };
    test_directory_create(&pems);
    for (size_t i = 0; i < SHOAL_COUNT(made); i++)
        test_certificate_make(pems.path, &made[i]);
    char path[64];
    snprintf(path, sizeof(path), "%s/open.key", pems.path);
    ck_assert_int_eq(chmod(path, 0640), 0);
    snprintf(path, sizeof(path), "%s/open.pem", pems.path);
    ck_assert_int_eq(chmod(path, 0664), 0);
    test_certificate_lock(pems.path, "locked");
}

static void remove_pems(void) {
    test_directory_destroy(&pems);
}

/* A name in that directory as a path; NULL stays. */
static const char *in_pems(const char *name, char *path) {
    snprintf(path, 64, "%s/%s", pems.path, name == NULL ? "" : name);
    return name == NULL ? NULL : path;
}

static const struct {
    const char *url;
    struct shoal_tls_files files;
    const char *says; /* NULL: they are good */
} tls_files[] = {
    {"rediss://h", {NULL, NULL, NULL}, NULL},
    {"rediss://h", {"authority.pem", NULL, NULL}, NULL},
    {"rediss://h", {"own.pem", NULL, NULL}, NULL},
    {"rediss://h", {NULL, "own.pem", "own.key"}, NULL},
    {"rediss://h", {"authority.pem", "own.pem", "own.key"}, NULL},
    {"redis://h", {NULL, NULL, NULL}, NULL},
    {"redis://h", {"authority.pem", NULL, NULL}, "write rediss://HOST:PORT"},
    {"redis://h", {NULL, "own.pem", "own.key"}, "or leave them out"},
    {"unix:/x", {"authority.pem", NULL, NULL}, "write rediss://HOST:PORT"},
    {"rediss://h", {NULL, "own.pem", NULL}, "a certificate for TLS and no key"},
    {"rediss://h", {NULL, NULL, "own.key"}, "a key for TLS and no certificate"},
    {"rediss://h", {"none.pem", NULL, NULL}, "none.pem': No such file"},
    {"rediss://h", {"own.key", NULL, NULL}, "-----BEGIN CERTIFICATE-----"},
    {"rediss://h", {"", NULL, NULL}, "has no certificate in it"},
    {"rediss://h", {NULL, "none.pem", "own.key"}, "none.pem': No such file"},
    {"rediss://h", {NULL, "own.key", "own.key"}, "-----BEGIN CERTIFICATE-----"},
    {"rediss://h", {NULL, "own.pem", "none.key"}, "none.key': No such file"},
    {"rediss://h", {NULL, "own.pem", ""}, "is not a file"},
    {"rediss://h", {NULL, "open.pem", "open.key"}, "run chmod 600 on it"},
    {"rediss://h", {"open.pem", NULL, NULL}, "run chmod go-w on it"},
    {"rediss://h", {NULL, "own.pem", "other.key"}, "does not belong to"},
    {"rediss://h", {NULL, "own.pem", "empty.key"}, "no private key in it"},
    {"rediss://h", {NULL, "locked.pem", "locked.key"}, "has a passphrase"},
};

START_TEST(files_for_tls_are_looked_at) {
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    char ca[64], certificate[64], key[64];
    struct shoal_tls_files given = {in_pems(tls_files[_i].files.ca, ca),
                                    in_pems(tls_files[_i].files.certificate, certificate),
                                    in_pems(tls_files[_i].files.key, key)};
    char empty[64];
    int fd = open(in_pems("empty.key", empty), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(shoal_redis_address_parse(tls_files[_i].url, NULL, &address, &err),
                     SHOAL_OK);
    enum shoal_status status = shoal_redis_address_secure(&address, &given, &err);
    if (tls_files[_i].says == NULL) {
        ck_assert_msg(status == SHOAL_OK, "%s", err.text);
        assert_same(address.tls_files.ca, given.ca);
        assert_same(address.tls_files.key, given.key);
    } else {
        ck_assert_int_eq(status, SHOAL_INVALID);
        ck_assert_msg(strstr(err.text, tls_files[_i].says) != NULL, "%s", err.text);
    }
    shoal_redis_address_finish(&address);
}
END_TEST

/* Whose owner could let another pass for the server. */
START_TEST(authorities_are_ones_own_or_roots) {
    struct shoal_redis_address address;
    struct shoal_error err = {0};
    char ca[64];
    const struct shoal_tls_files given = {in_pems("authority.pem", ca), NULL, NULL};
    if (chown(ca, 12345, (gid_t)-1) != 0) {
        printf("skipped: another user's file, as only root can make one\n");
        return;
    }
    ck_assert_int_eq(shoal_redis_address_parse("rediss://h", NULL, &address, &err),
                     SHOAL_OK);
    enum shoal_status status = shoal_redis_address_secure(&address, &given, &err);
    ck_assert_int_eq(chown(ca, geteuid(), (gid_t)-1), 0);
    ck_assert_int_eq(status, SHOAL_INVALID);
    ck_assert_msg(strstr(err.text, "its owner (12345) could pass") != NULL, "%s",
                  err.text);
    shoal_redis_address_finish(&address);
}
END_TEST

/* ---- hiding */

static const struct {
    const char *url;
    const char *left; /* of it where it stood; NULL: it stays */
} hidden[] = {
    {"redis://:secret@h", "redis://:******@h"},
    {"rediss://me:secret@h:1/2", "rediss://me:******@h:1/2"},
    {"redis://:a@b:c://d@h", "redis://:*********@h"},
    {"me:secret@h", "me:******@h"},
    {"redsi://me:secret@h", "redsi://me:******@h"},
    {"redis://me@h:1", NULL},
    {"redis://me:@h:1", NULL},
    {"redis://h:1", NULL},
    {"unix:/x", NULL},
    {"unix:/run/x@y", NULL},
    {"unix:/run/x:y@/z", NULL},
    {"unix://me@/run/x:y", NULL},
    {"unix://me@/run/x:y@z", NULL},
    {"unix://me:secret@/run/x@/y", "unix://me:******@/run/x@/y"},
    {"unix://:secret@/run/x", "unix://:******@/run/x"},
    {"", NULL},
};

START_TEST(password_leaves_the_command_line) {
    char word[64], option[80];
    snprintf(word, sizeof(word), "%s", hidden[_i].url);
    snprintf(option, sizeof(option), "--redis=%s", hidden[_i].url);
    char *const argv[] = {(char[]){"shoal"}, option, word, NULL};
    char *const places[] = {word, option + strlen("--redis=")};
    for (size_t i = 0; i < SHOAL_COUNT(places); i++) {
        const char *url = places[i];
        bool hides = hidden[_i].left != NULL;
        ck_assert_int_eq(shoal_redis_url_hide(&url, argv), hides);
        ck_assert_str_eq(url, hidden[_i].url);
        ck_assert_str_eq(places[i], hides ? hidden[_i].left : hidden[_i].url);
        if (hides)
            free((char *)url);
    }
}
END_TEST

/* ---- whose it is */

static const struct {
    const char *name;
    mode_t folder, socket; /* 0: there is no socket */
    bool own;
} whose[] = {
    {"redis.sock", 0700, 0600, true},  {"redis.sock", 0755, 0755, true},
    {"redis.sock", 0777, 0700, true},  {"redis.sock", 0700, 0770, false},
    {"redis.sock", 0700, 0702, false}, {"redis.sock", 0700, 0, true},
    {"redis.sock", 0755, 0, true},     {"redis.sock", 0775, 0, false},
    {"redis.sock", 01777, 0, false},   {"none/redis.sock", 0700, 0, false},
};

static void bind_socket(const char *path, mode_t mode) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
    close(fd);
}

START_TEST(redis_is_ones_own_when_nobody_else_writes_to_it) {
    char folder[] = "/tmp/shoal-own-XXXXXX", path[64], url[96];
    struct shoal_redis_address address;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/%s", folder, whose[_i].name);
    snprintf(url, sizeof(url), "unix:%s", path);
    if (whose[_i].socket != 0)
        bind_socket(path, whose[_i].socket);
    ck_assert_int_eq(chmod(folder, whose[_i].folder), 0);
    ck_assert_int_eq(shoal_redis_address_parse(url, NULL, &address, NULL), SHOAL_OK);
    bool own = shoal_redis_address_is_own(&address);
    shoal_redis_address_finish(&address);
    snprintf(url, sizeof(url), "unix://somebody@%s", path);
    ck_assert_int_eq(shoal_redis_address_parse(url, NULL, &address, NULL), SHOAL_OK);
    ck_assert(!shoal_redis_address_is_own(&address)); /* others may come another way */
    shoal_redis_address_finish(&address);
    unlink(path);
    rmdir(folder);
    ck_assert_msg(own == whose[_i].own, "%s %o %o", whose[_i].name,
                  (unsigned)whose[_i].folder, (unsigned)whose[_i].socket);
}
END_TEST

START_TEST(what_is_no_socket_of_ours_is_not_ones_own) {
    static const char *const urls[] = {"redis://127.0.0.1", "redis://localhost",
                                       "unix:/etc/passwd", "unix:/dev/null"};
    for (size_t i = 0; i < SHOAL_COUNT(urls); i++) {
        struct shoal_redis_address address;
        ck_assert_int_eq(shoal_redis_address_parse(urls[i], NULL, &address, NULL),
                         SHOAL_OK);
        ck_assert(!shoal_redis_address_is_own(&address));
        shoal_redis_address_finish(&address);
    }
}
END_TEST

START_TEST(password_leaves_the_environment_for_what_is_started) {
    char variable[] = "SHOAL_REDIS=redis://:secret@h";
    char *const argv[] = {(char[]){"shoal"}, NULL};
    ck_assert_int_eq(putenv(variable), 0);
    const char *url = getenv("SHOAL_REDIS");
    ck_assert(!shoal_redis_url_hide(&url, argv));
    ck_assert_str_eq(url, "redis://:secret@h");
    ck_assert_str_eq(variable, "SHOAL_REDIS=redis://:******@h");
    ck_assert_str_eq(getenv("SHOAL_REDIS"), url);
    free((char *)url);
    url = NULL;
    ck_assert(!shoal_redis_url_hide(&url, argv));
    ck_assert_str_eq(getenv("SHOAL_REDIS"), "redis://:secret@h"); /* is passed on */
    char unused[] = "SHOAL_REDIS=redis://:another@h";
    ck_assert_int_eq(putenv(unused), 0);
    ck_assert(!shoal_redis_url_hide(&url, argv));
    ck_assert_ptr_null(url);
    ck_assert_str_eq(unused, "SHOAL_REDIS=redis://:*******@h");
    url = "redis://:constant@h"; /* which cannot be written to */
    ck_assert(!shoal_redis_url_hide(&url, argv));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("address");
    TCase *urls = tcase_create("urls");
    tcase_add_loop_test(urls, urls_are_taken_apart_and_printed_without_the_password, 0,
                        (int)SHOAL_COUNT(good));
    tcase_add_loop_test(urls, bad_urls_are_refused_with_a_sentence, 0,
                        (int)SHOAL_COUNT(bad));
    tcase_add_loop_test(urls, no_sentence_shows_the_password, 0,
                        (int)SHOAL_COUNT(secrets));
    tcase_add_test(urls, printing_fits_any_room);
    tcase_add_loop_test(urls, redis_is_ones_own_when_nobody_else_writes_to_it, 0,
                        (int)SHOAL_COUNT(whose));
    tcase_add_test(urls, what_is_no_socket_of_ours_is_not_ones_own);
    suite_add_tcase(suite, urls);
    TCase *passwords = tcase_create("passwords");
    tcase_add_unchecked_fixture(passwords, make_directory, remove_directory);
    tcase_add_loop_test(passwords, password_files_are_private_and_have_one_line, 0,
                        (int)SHOAL_COUNT(files));
    tcase_add_test(passwords, password_file_is_ones_own_or_roots);
    tcase_add_loop_test(passwords, list_of_readers_may_have_nobody_else, 0,
                        (int)SHOAL_COUNT(lists));
    tcase_add_test(passwords, what_is_no_file_is_no_password);
    suite_add_tcase(suite, passwords);
    TCase *tls = tcase_create("tls");
    tcase_add_unchecked_fixture(tls, make_pems, remove_pems);
    tcase_add_loop_test(tls, files_for_tls_are_looked_at, 0, (int)SHOAL_COUNT(tls_files));
    tcase_add_test(tls, authorities_are_ones_own_or_roots);
    suite_add_tcase(suite, tls);
    TCase *hiding = tcase_create("hiding");
    tcase_add_loop_test(hiding, password_leaves_the_command_line, 0,
                        (int)SHOAL_COUNT(hidden));
    tcase_add_test(hiding, password_leaves_the_environment_for_what_is_started);
    suite_add_tcase(suite, hiding);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
