/* Who can do what: nothing here needs a right that has a use for anything else. What a
 * user may do is asked by ACL DRYRUN, which runs nothing; whether the port takes anybody
 * is found out by trying. */
#include "client/checkup.h"

#include "broker/access.h"
#include "broker/keys.h"
#include "broker/scripts.h"
#include "common/cleanup.h"
#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { ATTEMPT_MS = 2000, NAMES_MAX = 240 };

static enum shoal_status ask(struct shoal_redis *redis, const char *const *words,
                             redisReply **ret_reply, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    for (; *words != NULL; words++)
        shoal_request_text(&request, *words);
    return shoal_redis_run(redis, &request, 0, ret_reply, err);
}

/* Whether it was answered: what this user may not ask is no failure of the checkup. */
static enum shoal_status ask_if_allowed(struct shoal_redis *redis,
                                        const char *const *words, redisReply **ret_reply,
                                        struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = ask(redis, words, ret_reply, &why);
    if (status == SHOAL_OK || status == SHOAL_DENIED || status == SHOAL_INVALID)
        return SHOAL_OK;
    return shoal_error_set(err, status, "%s", why.text);
}

/* ---- what this user may do */

enum { LOADER = 1 << SHOAL_ROLE_BROKER };

/* What no role needs, but those in `roles`. A word "@" is a key of ours. */
static const struct deed {
    const char *name;
    const char *words[5];
    unsigned roles;
} deeds[] = {
    {"FLUSHALL", {"FLUSHALL"}, 0},
    {"CONFIG SET", {"CONFIG", "SET", "save", ""}, 0},
    {"CONFIG GET", {"CONFIG", "GET", "requirepass"}, 0},
    {"ACL SETUSER", {"ACL", "SETUSER", "x"}, 0},
    {"EVAL", {"EVAL", "return 1", "0"}, 0},
    {"SCRIPT LOAD", {"SCRIPT", "LOAD", "return 1"}, 0},
    {"FUNCTION LOAD", {"FUNCTION", "LOAD", "x"}, LOADER},
    {"FUNCTION DELETE", {"FUNCTION", "DELETE", "x"}, 0},
    {"MODULE LOAD", {"MODULE", "LOAD", "x"}, 0},
    {"KEYS", {"KEYS", "*"}, 0},
    {"MONITOR", {"MONITOR"}, 0},
    {"SHUTDOWN", {"SHUTDOWN"}, 0},
    {"DEBUG", {"DEBUG", "SLEEP", "0"}, 0},
    {"REPLICAOF", {"REPLICAOF", "NO", "ONE"}, 0},
    {"CLIENT KILL", {"CLIENT", "KILL", "ID", "0"}, 0},
    {"DEL of the queue's own keys", {"DEL", "@"}, 0},
    {"GET of keys outside the namespace", {"GET", "other"}, 0},
    {"SET of keys outside the namespace", {"SET", "other", "x"}, 0},
};

/* The move that tells a role from the others; who has none of them only looks. */
static const struct {
    enum shoal_role role;
    const char *move;
} signs[] = {
    {SHOAL_ROLE_BROKER, "housekeep"},
    {SHOAL_ROLE_SUBMIT, "submit"},
    {SHOAL_ROLE_WORKER, "advance"},
};

enum shoal_status shoal_checkup_may(struct shoal_checkup *checkup,
                                    const char *const *words, int *ret_may,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const char *said = NULL, *all[10] = {"ACL", "DRYRUN", checkup->user};
    char key[SHOAL_KEY_MAX];
    size_t n = 3;
    *ret_may = -1;
    if (checkup->user[0] == '\0')
        return SHOAL_OK;
    shoal_key_make(key, checkup->use->client->queue.prefix, SHOAL_KEY_EPOCH, "");
    for (; *words != NULL && n < SHOAL_COUNT(all) - 1; words++)
        all[n++] = strcmp(*words, "@") == 0 ? key : *words;
    enum shoal_status status =
        ask_if_allowed(checkup->use->client->redis, all, &reply, err);
    if (status == SHOAL_OK && shoal_reply_text(reply, &said))
        *ret_may = reply->type == REDIS_REPLY_STATUS && strcmp(said, "OK") == 0;
    return status;
}

static enum shoal_status may_move(struct shoal_checkup *checkup, const char *move,
                                  int *ret_may, struct shoal_error *err) {
    char key[SHOAL_KEY_MAX];
    shoal_key_make(key, checkup->use->client->queue.prefix, SHOAL_KEY_MAY, move);
    return shoal_checkup_may(
        checkup, (const char *const[]){"FCALL", move, "1", key, NULL}, ret_may, err);
}

static void add_name(char *names, const char *name, const char *between) {
    size_t len = strlen(names);
    snprintf(names + len, NAMES_MAX - len, "%s%s", len == 0 ? "" : between, name);
}

/* `ret_roles` is a set, empty when Redis does not tell. */
static enum shoal_status find_roles(struct shoal_checkup *checkup, unsigned *ret_roles,
                                    char *names, struct shoal_error *err) {
    *ret_roles = 0;
    for (size_t i = 0; i < SHOAL_COUNT(signs); i++) {
        int is = 0;
        enum shoal_status status = may_move(checkup, signs[i].move, &is, err);
        if (status != SHOAL_OK || is < 0)
            return status;
        if (is == 0)
            continue;
        *ret_roles |= 1u << signs[i].role;
        add_name(names, shoal_role_name(signs[i].role), " and ");
    }
    if (*ret_roles == 0) {
        *ret_roles = 1u << SHOAL_ROLE_READ;
        add_name(names, shoal_role_name(SHOAL_ROLE_READ), "");
    }
    return SHOAL_OK;
}

static enum shoal_status find_deeds(struct shoal_checkup *checkup, unsigned roles,
                                    char *names, struct shoal_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < SHOAL_COUNT(deeds); i++) {
        int is = 0;
        enum shoal_status status = shoal_checkup_may(checkup, deeds[i].words, &is, err);
        if (status != SHOAL_OK)
            return status;
        n += is == 1;
        if (is == 1 && (deeds[i].roles & roles) == 0)
            add_name(names, deeds[i].name, ", ");
    }
    if (n == SHOAL_COUNT(deeds))
        snprintf(names, NAMES_MAX, "%s", "everything");
    return SHOAL_OK;
}

static enum shoal_status check_user(struct shoal_checkup *checkup,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const char *user = NULL;
    char role[NAMES_MAX] = "", wide[NAMES_MAX] = "";
    unsigned roles = 0;
    enum shoal_status status =
        ask_if_allowed(checkup->use->client->redis,
                       (const char *const[]){"ACL", "WHOAMI", NULL}, &reply, err);
    if (status == SHOAL_OK && shoal_reply_text(reply, &user))
        snprintf(checkup->user, sizeof(checkup->user), "%s", user);
    if (status == SHOAL_OK)
        status = find_roles(checkup, &roles, role, err);
    if (status == SHOAL_OK && roles != 0)
        status = find_deeds(checkup, roles, wide, err);
    if (status != SHOAL_OK)
        return status;
    if (roles == 0)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "user",
                           "cannot tell what user '%.100s' may do, since it may not ask "
                           "(ACL WHOAMI, ACL DRYRUN); 'shoal acl' makes users that may",
                           user == NULL ? "?" : user);
    else if (wide[0] != '\0' || (roles & (roles - 1)) != 0)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "user",
                           "'%.100s' may do more than a role needs: %s; have submit, "
                           "worker, broker and read users, as 'shoal acl' makes them",
                           user, wide[0] == '\0' ? role : wide);
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "user",
                           "'%.100s' may do what role %s needs", user, role);
    return SHOAL_OK;
}

/* ---- who gets in */

static bool is_loopback(const struct shoal_redis_address *address) {
    return address->path != NULL || strcmp(address->host, "localhost") == 0 ||
           strncmp(address->host, "127.", 4) == 0 || strcmp(address->host, "::1") == 0;
}

/* Whether a connection that names no user is taken. */
static enum shoal_status try_without_password(struct shoal_checkup *checkup,
                                              const struct shoal_redis_address *address,
                                              bool *ret_taken, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const struct shoal_redis_address nobody = {
        .host = address->path == NULL ? address->host : (char *)"127.0.0.1",
        .port = address->path == NULL ? address->port : (uint16_t)checkup->server.port};
    const struct shoal_redis_options options = {.connect_timeout_ms = ATTEMPT_MS,
                                                .command_timeout_ms = ATTEMPT_MS};
    const struct shoal_redis_events events = {.owner = NULL};
    struct shoal_redis *redis = NULL;
    enum shoal_status status = shoal_redis_create(checkup->use->client->base, &nobody,
                                                  &options, &events, &redis, err);
    if (status != SHOAL_OK)
        return status;
    *ret_taken =
        ask(redis, (const char *const[]){"ECHO", "", NULL}, &reply, NULL) == SHOAL_OK;
    shoal_redis_destroy(redis);
    return SHOAL_OK;
}

static enum shoal_status check_port(struct shoal_checkup *checkup,
                                    const struct shoal_redis_address *address,
                                    bool *ret_open, struct shoal_error *err) {
    if (address->path != NULL && checkup->server.port <= 0) {
        shoal_checkup_tell(checkup, SHOAL_GOOD, "port", "none, a unix socket alone");
        return SHOAL_OK;
    }
    enum shoal_status status = try_without_password(checkup, address, ret_open, err);
    if (status != SHOAL_OK)
        return status;
    if (!*ret_open)
        shoal_checkup_tell(checkup, SHOAL_GOOD, "port", "asks for a password");
    else
        shoal_checkup_tell(
            checkup, is_loopback(address) ? SHOAL_WARNING : SHOAL_BAD, "port",
            "whoever reaches port %d gets in without a password and may run programs on "
            "the workers; 'shoal acl --apply' turns the default user off",
            address->path == NULL ? (int)address->port : (int)checkup->server.port);
    if (address->tls)
        shoal_checkup_tell(checkup, SHOAL_GOOD, "encryption", "by TLS");
    else if (!is_loopback(address))
        shoal_checkup_tell(checkup, SHOAL_WARNING, "encryption",
                           "none: passwords, tasks and results can be read on the way to "
                           "%s; use rediss:// or a tunnel (WireGuard, ssh -L)",
                           address->host);
    return SHOAL_OK;
}

/* Nobody can connect any more once one has expired; `renew` says what to do. */
static void check_certificate(struct shoal_checkup *checkup, const char *what,
                              const char *whose, int64_t end_ms, const char *renew) {
    enum { SOON_DAYS = 30 };
    const int64_t day_ms = INT64_C(24) * 3600 * 1000;
    int64_t left_ms = end_ms - shoal_wall_ms();
    char end[24];
    if (end_ms == INT64_MAX)
        return;
    shoal_time_print(end_ms, end);
    if (left_ms <= 0)
        shoal_checkup_tell(checkup, SHOAL_BAD, what, "%s expired on %.10s: %s", whose,
                           end, renew);
    else if (left_ms < SOON_DAYS * day_ms)
        shoal_checkup_tell(checkup, SHOAL_WARNING, what,
                           "%s expires on %.10s, in %" PRId64 " days: %s before", whose,
                           end, left_ms / day_ms, renew);
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, what, "%s is good until %.10s", whose,
                           end);
}

static void check_certificates(struct shoal_checkup *checkup) {
    struct shoal_tls_ends ends;
    if (!shoal_redis_ends(checkup->use->client->redis, &ends))
        return;
    check_certificate(checkup, "certificate", "the server's certificate", ends.server_ms,
                      "have it renewed there, or nobody can connect");
    if (ends.authority_ms < ends.server_ms)
        check_certificate(checkup, "authority",
                          "the authority's certificate that the server's hangs on",
                          ends.authority_ms,
                          "have another sign the server's, and name that in --tls-ca");
    check_certificate(checkup, "client-cert", "your own certificate", ends.own_ms,
                      "have it renewed, and give the new one to --tls-cert");
}

/* The value of a setting in what CONFIG GET answered. */
static const char *setting(const redisReply *reply, const char *name) {
    const char *word = NULL, *value = "";
    for (size_t i = 0; shoal_reply_at(reply, i + 1) != NULL; i += 2) {
        if (shoal_reply_text(reply->element[i], &word) && strcmp(word, name) == 0 &&
            shoal_reply_text(reply->element[i + 1], &value))
            return value;
    }
    return "";
}

/* "* -::*", "0.0.0.0", or nothing at all */
static bool is_everywhere(const char *bind) {
    return bind[strspn(bind, " ")] == '\0' || strchr(bind, '*') != NULL ||
           strstr(bind, "0.0.0.0") != NULL || strcmp(bind, "::") == 0;
}

/* Who has a role may not look: CONFIG GET tells the password of the default user too. */
static enum shoal_status check_bind(struct shoal_checkup *checkup, bool is_open,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const char *words[] = {"CONFIG", "GET", "bind", NULL};
    int is = 0;
    enum shoal_status status = shoal_checkup_may(checkup, words, &is, err);
    if (status == SHOAL_OK && is != 0)
        status = ask_if_allowed(checkup->use->client->redis, words, &reply, err);
    if (status != SHOAL_OK || checkup->server.port <= 0 || reply == NULL)
        return status;
    const char *bind = setting(reply, "bind");
    if (!is_everywhere(bind)) {
        shoal_checkup_tell(checkup, SHOAL_GOOD, "bind", "%.200s", bind);
        return SHOAL_OK;
    }
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *other = NULL;
    words[2] = "protected-mode";
    status = ask_if_allowed(checkup->use->client->redis, words, &other, err);
    bool is_protected = strcmp(setting(other, "protected-mode"), "yes") == 0;
    if (status == SHOAL_OK)
        shoal_checkup_tell(
            checkup,
            !is_open       ? SHOAL_GOOD
            : is_protected ? SHOAL_WARNING
                           : SHOAL_BAD,
            "bind", "all addresses, protected-mode %s%s", is_protected ? "yes" : "no",
            is_open ? "; bind it to those that are needed, and give it users by 'shoal "
                      "acl --apply'"
                    : ", with a password");
    return status;
}

/* ---- the functions */

/* "#!lua name=NAME" */
static void library_name(char *name, size_t room) {
    const char *start = strchr(shoal_script_audit.library, '=') + 1;
    snprintf(name, room, "%.*s", (int)strcspn(start, "\n"), start);
}

/* The text of the first library of FUNCTION LIST; NULL when there is none. */
static const char *code_of(const redisReply *reply) {
    const char *word = NULL, *code = NULL;
    const redisReply *library = shoal_reply_at(reply, 0);
    for (size_t i = 0; shoal_reply_at(library, i + 1) != NULL; i += 2) {
        if (shoal_reply_text(library->element[i], &word) &&
            strcmp(word, "library_code") == 0 &&
            shoal_reply_text(library->element[i + 1], &code))
            return code;
    }
    return NULL;
}

static enum shoal_status check_functions(struct shoal_checkup *checkup,
                                         struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    char name[64];
    library_name(name, sizeof(name));
    enum shoal_status status = ask_if_allowed(
        checkup->use->client->redis,
        (const char *const[]){"FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE", NULL},
        &reply, err);
    if (status != SHOAL_OK)
        return status;
    const char *code = code_of(reply);
    if (reply == NULL)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "functions",
                           "cannot tell whether they are ours, since this user may not "
                           "call FUNCTION LIST; 'shoal acl' makes users that may");
    else if (code == NULL)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "functions",
                           "none of shoal %s yet; start shoal-broker, or run 'shoal "
                           "doctor --load' as a user who may",
                           SHOAL_VERSION);
    else if (strcmp(code, shoal_script_audit.library) != 0)
        shoal_checkup_tell(checkup, SHOAL_BAD, "functions",
                           "what Redis has as %s is not what shoal %s brings: somebody "
                           "replaced it; find who may call FUNCTION LOAD, then run "
                           "'shoal doctor --load'",
                           name, SHOAL_VERSION);
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "functions", "%s, as shoal %s brings it",
                           name, SHOAL_VERSION);
    return SHOAL_OK;
}

enum shoal_status shoal_checkup_load(struct shoal_checkup *checkup,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status =
        ask(checkup->use->client->redis,
            (const char *const[]){"FUNCTION", "LOAD", "REPLACE",
                                  shoal_script_audit.library, NULL},
            &reply, &why);
    if (status == SHOAL_DENIED && strstr(why.text, "NOPERM") != NULL)
        return shoal_error_set(err, SHOAL_DENIED,
                               "this user may not load functions; give --redis the "
                               "broker's user or the admin, as 'shoal acl' makes them");
    return status == SHOAL_OK ? SHOAL_OK : shoal_error_set(err, status, "%s", why.text);
}

/* ---- all of it */

static void tell_of_cluster(struct shoal_checkup *checkup, const char *listens) {
    if (listens == NULL)
        shoal_checkup_tell(checkup, SHOAL_GOOD, "access",
                           "a socket in a folder that is yours alone");
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "access",
                           "a socket in a folder that is yours alone, and %s by TLS: for "
                           "who has a join token, to work and nothing else",
                           listens);
}

enum shoal_status shoal_checkup_access(struct shoal_checkup *checkup,
                                       struct shoal_error *err) {
    struct shoal_redis_address address;
    bool is_open = false;
    enum shoal_status status = check_functions(checkup, err);
    if (status == SHOAL_OK && checkup->use->cluster != NULL) {
        tell_of_cluster(checkup, shoal_cluster_listens(checkup->use->cluster));
        return SHOAL_OK;
    }
    if (status == SHOAL_OK)
        status = check_user(checkup, err);
    if (status == SHOAL_OK)
        status = shoal_redis_address_parse(shoal_cli.redis, NULL, &address, err);
    if (status != SHOAL_OK)
        return status;
    status = check_port(checkup, &address, &is_open, err);
    check_certificates(checkup);
    shoal_redis_address_finish(&address);
    return status == SHOAL_OK ? check_bind(checkup, is_open, err) : status;
}
