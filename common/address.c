/* Where Redis is, from what people write. No sentence here shows a password. */
#include "common/redis.h"

#include "common/cleanup.h"
#include "common/secret.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    PATH_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path),
    HOST_BYTES = 254, /* of a DNS name, and more than any address */
    PASSWORD_BYTES = 4096,
};

static const char scheme[] = "redis://", tls_scheme[] = "rediss://",
                  unix_scheme[] = "unix:";

static enum shoal_status no_memory(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_MEMORY, "no memory left for the address of Redis");
}

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

/* The value of a hexadecimal digit, or -1. */
static int hex(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *found = c == '\0' ? NULL : strchr(digits, c | 0x20);
    return found == NULL ? -1 : (int)(found - digits);
}

/* Copies the text up to `end`, each %XX as the byte it stands for. */
static enum shoal_status decode(const char *text, const char *end, const char *what,
                                char **ret_text, struct shoal_error *err) {
    char *decoded = malloc((size_t)(end - text) + 1);
    if (decoded == NULL)
        return no_memory(err);
    char *to = decoded;
    while (text < end) {
        if (*text != '%') {
            *to++ = *text++;
            continue;
        }
        int high = end - text < 3 ? -1 : hex(text[1]);
        int low = high < 0 ? -1 : hex(text[2]);
        if (low < 0 || (high == 0 && low == 0)) {
            explicit_bzero(decoded, (size_t)(to - decoded));
            free(decoded);
            return shoal_error_set(
                err, SHOAL_INVALID,
                "the %s in the URL of Redis has a '%%' that is not followed "
                "by two digits of a byte; write %%25 for the sign itself",
                what);
        }
        *to++ = (char)(high * 16 + low);
        text += 3;
    }
    *to = '\0';
    *ret_text = decoded;
    return SHOAL_OK;
}

/* "[user[:password]]" in front of the '@' at `end`. */
static enum shoal_status parse_login(const char *text, const char *end,
                                     struct shoal_redis_address *address,
                                     struct shoal_error *err) {
    const char *colon = memchr(text, ':', (size_t)(end - text));
    const char *user_end = colon == NULL ? end : colon;
    enum shoal_status status = SHOAL_OK;
    if (user_end > text)
        status = decode(text, user_end, "user name", &address->user, err);
    if (status == SHOAL_OK && colon != NULL && colon + 1 < end)
        status = decode(colon + 1, end, "password", &address->password, err);
    return status;
}

/* A number of decimal digits alone, within bounds. */
static bool parse_number(const char *text, size_t len, long least, long most,
                         long *ret_number) {
    long number = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || number > most)
            return false;
        number = number * 10 + (text[i] - '0');
    }
    *ret_number = number;
    return len > 0 && number >= least && number <= most;
}

/* Splits "host[:port]" or "[host]:port" at the end of the host; NULL when it has none. */
static const char *find_host(const char **text, size_t *ret_len) {
    if (**text != '[') {
        *ret_len = strcspn(*text, ":/");
        return *text + *ret_len;
    }
    *ret_len = strcspn(++*text, "]/");
    return (*text)[*ret_len] == ']' ? *text + *ret_len + 1 : NULL;
}

static bool host_is_valid(const char *host, size_t len) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";
    return len > 0 && len < HOST_BYTES && strspn(host, allowed) >= len;
}

/* "[:port]"; *text moves behind it. */
static enum shoal_status parse_port(const char **text, uint16_t *ret_port,
                                    struct shoal_error *err) {
    long port = SHOAL_REDIS_PORT;
    if (**text == ':') {
        size_t len = strcspn(++*text, "/");
        if (!parse_number(*text, len, 1, UINT16_MAX, &port))
            return shoal_error_set(
                err, SHOAL_INVALID,
                "port '%.*s' in the URL of Redis is not a number from 1 to 65535",
                len > 100 ? 100 : (int)len, *text);
        *text += len;
    }
    *ret_port = (uint16_t)port;
    return SHOAL_OK;
}

/* "", "/" or "/db" */
static enum shoal_status parse_database(const char *text, int *ret_database,
                                        struct shoal_error *err) {
    long database = 0;
    bool has_number = *text == '/' && text[1] != '\0';
    if (has_number ? !parse_number(text + 1, strlen(text + 1), 0, INT_MAX, &database)
                   : *text != '\0' && *text != '/')
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' behind the host in the URL of Redis is not the number "
            "of a database, such as /0",
            text);
    *ret_database = (int)database;
    return SHOAL_OK;
}

/* "host[:port][/db]", with nothing secret in it. */
static enum shoal_status parse_place(const char *text,
                                     struct shoal_redis_address *address,
                                     struct shoal_error *err) {
    const char *host = text;
    size_t len;
    const char *at = find_host(&host, &len);
    if (at == NULL || !host_is_valid(host, len))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' in the URL of Redis does not begin with a host; write "
            "redis://HOST:PORT/DB",
            text);
    enum shoal_status status = parse_port(&at, &address->port, err);
    if (status == SHOAL_OK)
        status = parse_database(at, &address->database, err);
    if (status != SHOAL_OK)
        return status;
    address->host = strndup(host, len);
    return address->host == NULL ? no_memory(err) : SHOAL_OK;
}

/* No '@' can stand behind the login, so the last one ends it whatever the password is. */
static enum shoal_status parse_tcp(const char *text, struct shoal_redis_address *address,
                                   struct shoal_error *err) {
    const char *at_sign = strrchr(text, '@');
    if (at_sign == NULL)
        return parse_place(text, address, err);
    enum shoal_status status = parse_login(text, at_sign, address, err);
    return status == SHOAL_OK ? parse_place(at_sign + 1, address, err) : status;
}

/* "PATH", or "//user[:password]@PATH" with a path that begins with '/'. */
static enum shoal_status parse_unix(const char *path, struct shoal_redis_address *address,
                                    struct shoal_error *err) {
    const char *login_end = starts_with(path, "//") ? strstr(path, "@/") : NULL;
    if (login_end != NULL) {
        enum shoal_status status = parse_login(path + 2, login_end, address, err);
        if (status != SHOAL_OK)
            return status;
        path = login_end + strspn(login_end + 1, "/"); /* "//" begins a login */
    }
    if (login_end == NULL && starts_with(path, "//") && path[2] != '/' &&
        strchr(path, '@') != NULL) /* what is in front of it may be a password */
        return shoal_error_set(err, SHOAL_INVALID,
                               "behind the user of a unix socket comes its whole path; "
                               "write unix://USER@/PATH");
    if (*path == '\0' || strlen(path) >= PATH_BYTES)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "the socket '%.200s' must have 1 to %d bytes; write unix:PATH", path,
            PATH_BYTES - 1);
    address->path = strdup(path);
    return address->path == NULL ? no_memory(err) : SHOAL_OK;
}

static enum shoal_status parse_url(const char *url, struct shoal_redis_address *address,
                                   struct shoal_error *err) {
    if (starts_with(url, unix_scheme))
        return parse_unix(url + strlen(unix_scheme), address, err);
    if (starts_with(url, scheme))
        return parse_tcp(url + strlen(scheme), address, err);
    address->tls = starts_with(url, tls_scheme);
    if (address->tls)
        return parse_tcp(url + strlen(tls_scheme), address, err);
    const char *at_sign =
        strrchr(url, '@'); /* what is in front of it may be a password */
    return shoal_error_set(err, SHOAL_INVALID,
                           "'%s%.100s' is no URL of Redis; write redis://HOST:PORT/DB, "
                           "rediss:// for TLS, or unix:PATH",
                           at_sign == NULL ? "" : "...", at_sign == NULL ? url : at_sign);
}

/* The first line of what was read, as a copy. */
static enum shoal_status take_line(const char *text, size_t len, const char *path,
                                   char **ret_line, struct shoal_error *err) {
    const char *end = memchr(text, '\n', len);
    size_t line = end == NULL ? len : (size_t)(end - text);
    if (line > 0 && text[line - 1] == '\r')
        line--;
    if (line == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "the first line of the password file '%s' is empty", path);
    if (line == PASSWORD_BYTES || memchr(text, '\0', line) != NULL)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "the first line of '%s' is no password: it has a NUL or %d bytes or more",
            path, PASSWORD_BYTES);
    *ret_line = strndup(text, line);
    return *ret_line == NULL ? no_memory(err) : SHOAL_OK;
}

enum shoal_status shoal_redis_password_read(const char *path, char **ret_password,
                                            struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    enum shoal_status status = shoal_secret_open(path, "password file", &fd, err);
    if (status != SHOAL_OK)
        return status;
    char text[PASSWORD_BYTES];
    ssize_t len = read(fd, text, sizeof(text));
    if (len < 0)
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "cannot read the password file '%s': %s", path,
                               strerror(errno));
    status = take_line(text, (size_t)len, path, ret_password, err);
    explicit_bzero(text, sizeof(text));
    return status;
}

static enum shoal_status add_password(const char *path,
                                      struct shoal_redis_address *address,
                                      struct shoal_error *err) {
    if (address->password != NULL)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "there is a password in the URL of Redis and another in '%s'; "
            "give one of them",
            path);
    return shoal_redis_password_read(path, &address->password, err);
}

enum shoal_status shoal_redis_address_parse(const char *url, const char *password_file,
                                            struct shoal_redis_address *ret_address,
                                            struct shoal_error *err) {
    struct shoal_redis_address address = {0};
    enum shoal_status status = parse_url(url, &address, err);
    if (status == SHOAL_OK && password_file != NULL)
        status = add_password(password_file, &address, err);
    if (status != SHOAL_OK) {
        shoal_redis_address_finish(&address);
        return status;
    }
    *ret_address = address;
    return SHOAL_OK;
}

enum shoal_status shoal_redis_address_secure(struct shoal_redis_address *address,
                                             const struct shoal_tls_files *files,
                                             struct shoal_error *err) {
    bool any = files->ca != NULL || files->certificate != NULL || files->key != NULL;
    if (!address->tls && any)
        return shoal_error_set(err, SHOAL_INVALID,
                               "there are files for TLS (--tls-ca, --tls-cert, --tls-key "
                               "or their variables) and the URL of Redis has none; write "
                               "rediss://HOST:PORT, or leave them out");
    enum shoal_status status = address->tls ? shoal_tls_check(files, err) : SHOAL_OK;
    if (status != SHOAL_OK)
        return status;
    return shoal_tls_files_copy(files, &address->tls_files) ? SHOAL_OK : no_memory(err);
}

void shoal_redis_address_finish(struct shoal_redis_address *address) {
    shoal_tls_files_finish(&address->tls_files);
    free(address->path);
    free(address->host);
    free(address->user);
    if (address->password != NULL)
        explicit_bzero(address->password, strlen(address->password));
    free(address->password);
    *address = (struct shoal_redis_address){0};
}

static bool is_ours_alone(const struct stat *status) {
    return status->st_uid == geteuid() && (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool shoal_redis_address_is_own(const struct shoal_redis_address *address) {
    struct stat status;
    char folder[PATH_BYTES] = ".";
    if (address->path == NULL || address->user != NULL)
        return false; /* a Redis that tells users apart has others */
    if (stat(address->path, &status) == 0)
        return S_ISSOCK(status.st_mode) && is_ours_alone(&status);
    const char *slash = strrchr(address->path, '/');
    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - address->path) + 1,
                 address->path);
    return errno == ENOENT && stat(folder, &status) == 0 && is_ours_alone(&status);
}

/* Writes the user's name as it stands in a URL. */
static void add_user(struct shoal_buffer *text, const char *user) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (; *user != '\0'; user++) {
        if (strchr(plain, *user) != NULL)
            shoal_buffer_add_char(text, *user);
        else
            shoal_buffer_add_format(text, "%%%02X", (unsigned char)*user);
    }
    shoal_buffer_add_char(text, '@');
}

void shoal_redis_address_print(const struct shoal_redis_address *address, char *text,
                               size_t room) {
    if (address->path != NULL) {
        snprintf(text, room, "unix:%s", address->path);
        return;
    }
    struct shoal_buffer user;
    shoal_buffer_init(&user, HOST_BYTES);
    if (address->user != NULL)
        add_user(&user, address->user);
    bool bare = strchr(address->host, ':') == NULL;
    snprintf(text, room, "%s%s%s%s%s:%u/%d", address->tls ? tls_scheme : scheme,
             shoal_buffer_text(&user), bare ? "" : "[", address->host, bare ? "" : "]",
             (unsigned)address->port, address->database);
    shoal_buffer_finish(&user);
}

/* ---- hiding */

const char shoal_redis_url_seen[] =
    "the password in the URL on the command line could be read by others until now; give "
    "the URL by SHOAL_REDIS, or the password by --redis-password-file";

/* The password in whatever was meant to be a URL; NULL: there is none. */
static const char *find_password(const char *url, size_t *ret_len) {
    const char *start = strstr(url, "://");
    const char *end = strrchr(url, '@');
    start = start == NULL || start > url + strcspn(url, "@") ? url : start + 3;
    if (starts_with(url, unix_scheme)) /* as parse_unix() takes it */
        end = start > url ? strstr(start, "@/") : NULL;
    const char *colon = end == NULL ? NULL : memchr(start, ':', (size_t)(end - start));
    *ret_len = colon == NULL ? 0 : (size_t)(end - colon - 1);
    return *ret_len == 0 ? NULL : colon + 1;
}

static bool is_word(const char *text, char *const *argv) {
    for (; *argv != NULL; argv++) {
        if (text >= *argv && text <= *argv + strlen(*argv))
            return true;
    }
    return false;
}

/* Also of a URL that is not used, since another one was given. What setenv() was given
 * before may be what it puts there again. */
static void hide_variable(const char **url) {
    size_t len = 0;
    const char *value = getenv("SHOAL_REDIS");
    const char *password = value == NULL ? NULL : find_password(value, &len);
    char *copy = password == NULL ? NULL : strdup(value);
    if (copy == NULL || setenv("SHOAL_REDIS", copy, 1) != 0 ||
        getenv("SHOAL_REDIS") == value) {
        free(copy);
        return;
    }
    memset((char *)password, '*', len);
    if (*url == value)
        *url = copy;
    else
        free(copy);
}

bool shoal_redis_url_hide(const char **url, char *const *argv) {
    size_t len = 0;
    hide_variable(url);
    const char *password = *url == NULL ? NULL : find_password(*url, &len);
    if (password == NULL || !is_word(*url, argv))
        return false;
    char *copy = strdup(*url);
    if (copy != NULL) {
        memset((char *)password, '*', len);
        *url = copy;
    }
    return true;
}
