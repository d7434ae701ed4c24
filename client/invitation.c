#include "client/invitation.h"

#include "broker/access.h"
#include "broker/keys.h"
#include "broker/trust.h"
#include "client/certificate.h"
#include "client/credential.h"
#include "client/local_daemons.h"
#include "client/token.h"
#include "common/cleanup.h"
#include "common/option.h"
#include "common/redis.h"
#include "common/secret.h"
#include "common/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USERS_MAX = 64 << 10, PEM_ROOM = 4096, LINE_ROOM = 1024 };

static const char address_file[] = "listen/address", before_file[] = "listen/before";

static enum shoal_status write_state(const char *name, const char *text,
                                     struct shoal_error *err) {
    char path[PATH_MAX];
    enum shoal_status status = shoal_state_path(name, path, sizeof(path), err);
    return status == SHOAL_OK ? shoal_secret_write(path, text, strlen(text), err)
                              : status;
}

/* The text of a file that was made here; the caller's. */
static enum shoal_status read_state(const char *name, char **ret_text,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    char path[PATH_MAX], text[PEM_ROOM];
    enum shoal_status status = shoal_state_path(name, path, sizeof(path), err);
    if (status == SHOAL_OK)
        status = shoal_secret_open(path, "file of the local cluster", &fd, err);
    if (status != SHOAL_OK)
        return status;
    ssize_t len = read(fd, text, sizeof(text) - 1);
    *ret_text = len > 0 ? strndup(text, (size_t)len) : NULL;
    explicit_bzero(text, sizeof(text));
    return *ret_text != NULL
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_SYSTEM, "cannot read '%.200s'", path);
}

/* ---- where it listens */

/* A line: what was asked for, port, host, addresses. */
enum shoal_status shoal_invitation_begin(const struct shoal_invitation *invitation,
                                         struct shoal_error *err) {
    const struct shoal_listen *listen = &invitation->listen;
    char line[LINE_ROOM];
    int len = snprintf(line, sizeof(line), "%s %d %s", listen->asked, listen->port,
                       listen->host);
    for (size_t i = 0; i < listen->n; i++)
        len += snprintf(line + len, sizeof(line) - (size_t)len, " %s", listen->binds[i]);
    return write_state(address_file, line, err);
}

static bool take_word(char **line, char *word, size_t room) {
    const char *found = strsep(line, " ");
    return found != NULL && *found != '\0' &&
           (size_t)snprintf(word, room, "%s", found) < room;
}

static enum shoal_status read_place(const char *name,
                                    struct shoal_invitation *ret_invitation,
                                    struct shoal_error *err) {
    struct shoal_invitation invitation = {.name_space = ""};
    struct shoal_listen *listen = &invitation.listen;
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    char path[PATH_MAX], port[8];
    int64_t number = 0;
    enum shoal_status status = shoal_state_path(name, path, sizeof(path), err);
    if (status == SHOAL_OK && access(path, F_OK) != 0)
        return shoal_error_set(err, SHOAL_UNKNOWN, "the local cluster does not listen");
    if (status == SHOAL_OK)
        status = read_state(name, &text, err);
    if (status != SHOAL_OK)
        return status;
    char *line = text;
    bool good = take_word(&line, listen->asked, sizeof(listen->asked)) &&
                take_word(&line, port, sizeof(port)) &&
                take_word(&line, listen->host, sizeof(listen->host));
    if (good)
        good = shoal_integer_parse(port, "a port", 1, 65535, &number, NULL) == SHOAL_OK;
    listen->port = (int)number;
    while (good && line != NULL && listen->n < SHOAL_LISTEN_BINDS)
        good = take_word(&line, listen->binds[listen->n++], sizeof(listen->binds[0]));
    if (!good || listen->n == 0)
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "'%.200s' does not say where the local cluster listens; "
                               "run 'shoal down'",
                               path);
    *ret_invitation = invitation;
    return SHOAL_OK;
}

enum shoal_status shoal_invitation_read(struct shoal_invitation *ret_invitation,
                                        struct shoal_error *err) {
    return read_place(address_file, ret_invitation, err);
}

void shoal_invitation_end(void) {
    char address[PATH_MAX], before[PATH_MAX];
    if (shoal_state_path(address_file, address, sizeof(address), NULL) == SHOAL_OK &&
        shoal_state_path(before_file, before, sizeof(before), NULL) == SHOAL_OK &&
        rename(address, before) != 0)
        unlink(address);
}

int shoal_invitation_port_before(void) {
    struct shoal_invitation before;
    return read_place(before_file, &before, NULL) == SHOAL_OK ? before.listen.port : 0;
}

void shoal_invitation_url(const struct shoal_invitation *invitation, char *url,
                          size_t room) {
    char where[SHOAL_LISTEN_HOST + 16];
    shoal_listen_print(&invitation->listen, where, sizeof(where));
    snprintf(url, room, "rediss://%s@%s", SHOAL_INVITATION_WORKER, where);
}

/* ---- its users */

/* Appends a line of Redis's file of users. The password is made where there is none. */
static enum shoal_status add_user(const char *folder, const char *name,
                                  struct shoal_buffer *text, struct shoal_error *err) {
    struct shoal_credential credential;
    enum shoal_status status =
        shoal_credential_take(folder, name, false, &credential, err);
    if (status != SHOAL_OK)
        return status;
    shoal_buffer_add_format(text, "user %s on", name);
    for (size_t i = 0; i < credential.n; i++)
        shoal_buffer_add_format(text, " #%s", credential.hashes[i]);
    shoal_buffer_add_char(text, ' ');
    return SHOAL_OK;
}

/* A passwordless default user would be there for who comes by TCP as well as by the
 * socket: Redis does not tell them apart. */
static enum shoal_status write_users(const char *name_space, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    char folder[PATH_MAX], prefix[SHOAL_PREFIX_MAX];
    shoal_buffer_init(&text, USERS_MAX);
    shoal_key_prefix(prefix, name_space);
    shoal_buffer_add_text(&text, "user default off resetpass " SHOAL_ACCESS_ALL "\n");
    enum shoal_status status =
        shoal_state_path("listen/passwords", folder, sizeof(folder), err);
    if (status == SHOAL_OK)
        status = add_user(folder, SHOAL_INVITATION_LOCAL, &text, err);
    shoal_buffer_add_text(&text, SHOAL_ACCESS_ALL "\n");
    if (status == SHOAL_OK)
        status = add_user(folder, SHOAL_INVITATION_WORKER, &text, err);
    shoal_access_rules(SHOAL_ROLE_WORKER, prefix, 0, &text);
    shoal_buffer_add_char(&text, '\n');
    if (status == SHOAL_OK)
        status = shoal_buffer_check(&text, "the users of Redis", err);
    return status == SHOAL_OK ? write_state("listen/users", shoal_buffer_text(&text), err)
                              : status;
}

enum shoal_status shoal_invitation_prepare(const struct shoal_invitation *invitation,
                                           struct shoal_error *err) {
    char folder[PATH_MAX], names[SHOAL_LISTEN_NAMES];
    enum shoal_status status = shoal_state_path("listen", folder, sizeof(folder), err);
    if (status == SHOAL_OK && !shoal_directories_make(folder))
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make the folder '%.200s': %s",
                               folder, strerror(errno));
    if (status == SHOAL_OK)
        status = write_users(invitation->name_space, err);
    shoal_listen_names(&invitation->listen, names);
    return status == SHOAL_OK
               ? shoal_certificates_take(folder, invitation->listen.host, names, err)
               : status;
}

/* ---- the token */

static enum shoal_status read_password(char **ret_password, struct shoal_error *err) {
    char path[PATH_MAX];
    enum shoal_status status = shoal_state_path(
        "listen/passwords/" SHOAL_INVITATION_WORKER, path, sizeof(path), err);
    return status == SHOAL_OK ? shoal_redis_password_read(path, ret_password, err)
                              : status;
}

static enum shoal_status make_token(const struct shoal_invitation *invitation,
                                    const struct shoal_invitation_key *key,
                                    struct shoal_token *token, struct shoal_error *err) {
    char url[SHOAL_LISTEN_HOST + 64];
    shoal_invitation_url(invitation, url, sizeof(url));
    token->url = strdup(url);
    token->name_space = strdup(invitation->name_space);
    token->owner = strdup(key->comment);
    if (token->url == NULL || token->name_space == NULL || token->owner == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory left for a join token");
    enum shoal_status status = read_password(&token->password, err);
    if (status == SHOAL_OK)
        status = read_state("listen/authority.pem", &token->authority, err);
    if (status == SHOAL_OK)
        status = read_state("listen/worker.pem", &token->certificate, err);
    if (status == SHOAL_OK)
        status = read_state("listen/worker.key", &token->key, err);
    return status;
}

/* Of files that somebody changed; another host could not say what to do about it. */
static enum shoal_status check_token(const struct shoal_buffer *text,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token again = {.url = NULL};
    struct shoal_error why = {.status = SHOAL_OK};
    char folder[PATH_MAX];
    enum shoal_status status = shoal_token_read(text->data, text->len, &again, &why);
    if (status != SHOAL_INVALID)
        return status == SHOAL_OK ? status : shoal_error_set(err, status, "%s", why.text);
    status = shoal_state_path("listen", folder, sizeof(folder), err);
    return status != SHOAL_OK
               ? status
               : shoal_error_set(err, SHOAL_INVALID,
                                 "what is in '%.200s' makes no good join token; run "
                                 "'shoal down', remove that folder, and this makes "
                                 "another token",
                                 folder);
}

static enum shoal_status trust(const struct shoal_invitation_key *key,
                               struct shoal_error *err) {
    char path[PATH_MAX];
    enum shoal_status status = shoal_state_path("trusted-keys", path, sizeof(path), err);
    return status == SHOAL_OK ? shoal_trust_add(path, &key->name, key->comment, err)
                              : status;
}

enum shoal_status shoal_invitation_write(const struct shoal_invitation *invitation,
                                         const struct shoal_invitation_key *key,
                                         struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token = {.trusted = key->name};
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, SHOAL_TOKEN_MAX);
    enum shoal_status status = trust(key, err);
    if (status == SHOAL_OK)
        status = make_token(invitation, key, &token, err);
    if (status == SHOAL_OK)
        status = shoal_token_write(&token, &text, err);
    if (status == SHOAL_OK)
        status = check_token(&text, err);
    if (status == SHOAL_OK)
        status = write_state("join", shoal_buffer_text(&text), err);
    if (text.data != NULL)
        explicit_bzero(text.data, text.len);
    return status;
}
