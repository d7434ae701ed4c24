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
    {"GETRANGE of keys outside the namespace", {"GETRANGE", "other", "0", "1"}, 0},
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

/* What becomes of somebody who names no user. */
enum entry { ASKED, TAKEN, TAKEN_BY_CERTIFICATE, UNKNOWN };

static bool is_loopback_name(const char *name, size_t len) {
    return strncmp(name, "127.", 4) == 0 || (len == 3 && strncmp(name, "::1", 3) == 0) ||
           (len == 9 && strncmp(name, "localhost", 9) == 0);
}

static bool is_loopback(const struct shoal_redis_address *address) {
    return address->path != NULL ||
           is_loopback_name(address->host, strlen(address->host));
}

/* Tries the way that we came ourselves, since users are the same for the socket and all
 * ports. Only who was told that there must be a password was kept out for want of one;
 * `ret_why` is what else there was. */
static enum shoal_status try_without_password(struct shoal_checkup *checkup,
                                              const struct shoal_redis_address *address,
                                              bool certificate, enum entry *ret_entry,
                                              struct shoal_error *ret_why,
                                              struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const struct shoal_redis_options options = {.connect_timeout_ms = ATTEMPT_MS,
                                                .command_timeout_ms = ATTEMPT_MS};
    struct shoal_redis_address nobody = *address;
    struct shoal_redis *redis = NULL;
    nobody.user = nobody.password = NULL;
    if (!certificate)
        nobody.tls_files.certificate = nobody.tls_files.key = NULL;
    enum shoal_status status = shoal_redis_create(checkup->use->client->base, &nobody,
                                                  &options, NULL, &redis, err);
    if (status != SHOAL_OK)
        return status;
    *ret_why = (struct shoal_error){.status = SHOAL_OK};
    status = ask(redis, (const char *const[]){"ECHO", "", NULL}, &reply, ret_why);
    shoal_redis_destroy(redis);
    if (status == SHOAL_OK)
        *ret_entry = certificate ? TAKEN_BY_CERTIFICATE : TAKEN;
    else
        *ret_entry = strstr(ret_why->text, "(it said 'NOAUTH") != NULL ? ASKED : UNKNOWN;
    return SHOAL_OK;
}

static void tell_of_port(struct shoal_checkup *checkup,
                         const struct shoal_redis_address *address, enum entry entry,
                         const char *why) {
    int64_t port = address->path == NULL ? address->port : checkup->server.port;
    char which[32] = "a port of it"; /* when INFO does not say */
    if (port > 0)
        snprintf(which, sizeof(which), "port %" PRId64, port);
    if (entry == ASKED)
        shoal_checkup_tell(checkup, SHOAL_GOOD, "port", "asks for a password");
    else if (entry == UNKNOWN)
        shoal_checkup_tell(checkup, SHOAL_WARNING, "port",
                           "whether it asks for a password could not be tried: %s", why);
    else
        shoal_checkup_tell(
            checkup, entry == TAKEN && !is_loopback(address) ? SHOAL_BAD : SHOAL_WARNING,
            "port",
            "whoever reaches %s%s gets in without a password: to read, to delete, and to "
            "run programs on workers that ask for no signatures; 'shoal acl --apply' "
            "turns the default user off",
            which, entry == TAKEN ? "" : " with a certificate");
}

static enum shoal_status check_port(struct shoal_checkup *checkup,
                                    const struct shoal_redis_address *address,
                                    enum entry *ret_entry, struct shoal_error *err) {
    struct shoal_error why;
    if (address->path != NULL && checkup->server.port == 0) {
        shoal_checkup_tell(checkup, SHOAL_GOOD, "port", "none, a unix socket alone");
        return SHOAL_OK;
    }
    enum shoal_status status =
        try_without_password(checkup, address, false, ret_entry, &why, err);
    if (status == SHOAL_OK && *ret_entry == UNKNOWN &&
        address->tls_files.certificate != NULL)
        status = try_without_password(checkup, address, true, ret_entry, &why, err);
    if (status != SHOAL_OK)
        return status;
    tell_of_port(checkup, address, *ret_entry, why.text);
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

/* Whether others can reach one of them: "* -::*", "127.0.0.1 -::1", or nothing at all,
 * which is all. */
static bool reaches_others(const char *bind) {
    const char *word = bind + strspn(bind, " -");
    if (*word == '\0')
        return true;
    while (*word != '\0') {
        size_t len = strcspn(word, " ");
        if (!is_loopback_name(word, len))
            return true;
        word += len + strspn(word + len, " -");
    }
    return false;
}

static void tell_of_bind(struct shoal_checkup *checkup, enum entry entry,
                         const char *bind, bool is_protected) {
    const char *advice = entry == ASKED ? ", with a password"
                                        : "; bind it to what is needed, and give it "
                                          "users by 'shoal acl --apply'";
    shoal_checkup_tell(checkup,
                       entry == ASKED                    ? SHOAL_GOOD
                       : entry == TAKEN && !is_protected ? SHOAL_BAD
                                                         : SHOAL_WARNING,
                       "bind", "%.200s, protected-mode %s%s",
                       bind[0] == '\0' ? "all addresses" : bind,
                       is_protected ? "yes" : "no", advice);
}

/* Who has a role may not look: CONFIG GET tells the password of the default user too. */
static enum shoal_status check_bind(struct shoal_checkup *checkup, enum entry entry,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    const char *words[] = {"CONFIG", "GET", "bind", "protected-mode", NULL};
    int is = 0;
    enum shoal_status status = shoal_checkup_may(checkup, words, &is, err);
    if (status == SHOAL_OK && is != 0)
        status = ask_if_allowed(checkup->use->client->redis, words, &reply, err);
    if (status != SHOAL_OK || checkup->server.port == 0 || reply == NULL)
        return status;
    const char *bind = setting(reply, "bind");
    if (reaches_others(bind))
        tell_of_bind(checkup, entry, bind,
                     strcmp(setting(reply, "protected-mode"), "yes") == 0);
    else
        shoal_checkup_tell(checkup, SHOAL_GOOD, "bind", "%.200s", bind);
    return SHOAL_OK;
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
    enum entry entry = UNKNOWN;
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
    status = shoal_redis_address_secure(&address, &shoal_cli.tls, err);
    if (status == SHOAL_OK)
        status = check_port(checkup, &address, &entry, err);
    check_certificates(checkup);
    shoal_redis_address_finish(&address);
    return status == SHOAL_OK ? check_bind(checkup, entry, err) : status;
}
