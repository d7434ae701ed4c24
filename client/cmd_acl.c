/* acl: users of Redis, each as narrow as its role lets it be. */
#include "client/cli.h"

#include "broker/access.h"
#include "broker/keys.h"
#include "client/credential.h"
#include "common/cleanup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one who may do everything is no role of shoal's: whoever sets users up and looks
 * after Redis, since the default user is off. */
enum { ADMIN = SHOAL_ROLE_COUNT, USERS, USER_MAX = 160, RULES_MAX = 64 << 10 };

static const char *folder;
static struct shoal_option_list hashes;
static const char *user_prefix;
static bool user_prefix_given;
static struct shoal_option_list rotated;
static bool apply;
static bool keep_default;

static const struct shoal_option options[] = {
    {.name = "passwords-dir",
     .type = SHOAL_OPTION_TEXT,
     .value = &folder,
     .argument = "FOLDER",
     .help = "where each user's password is, in a file of that user's name; what is not "
             "there is made, with a random password and for its owner alone; not one in "
             "which everybody can write"},
    {.name = "hash",
     .type = SHOAL_OPTION_LIST,
     .value = &hashes,
     .argument = "ROLE=SHA256",
     .help = "a password of that role by its SHA-256 in 64 hexadecimal digits, in place "
             "of a file; may be repeated"},
    {.name = "user-prefix",
     .type = SHOAL_OPTION_NAME,
     .value = &user_prefix,
     .given = &user_prefix_given,
     .argument = "PREFIX",
     .help = "what the users' names begin with; the namespace and '-' unless said"},
    {.name = "rotate",
     .type = SHOAL_OPTION_LIST,
     .value = &rotated,
     .argument = "ROLE",
     .help = "make a new password for it; the one before is kept as FILE.old and is good "
             "until that is deleted; may be repeated"},
    {.name = "apply",
     .type = SHOAL_OPTION_FLAG,
     .value = &apply,
     .help = "set the users up in Redis, and have it save its ACL file"},
    {.name = "keep-default",
     .type = SHOAL_OPTION_FLAG,
     .value = &keep_default,
     .help = "leave the default user as it is, and make no admin"},
    {.name = NULL},
};

struct user {
    bool wanted;
    char name[USER_MAX];
    struct shoal_credential credential;
    struct shoal_buffer rules; /* all of them but the name */
};

struct users {
    struct user of[USERS];
};

static void users_cleanup(struct users *users) {
    for (size_t i = 0; i < USERS; i++)
        shoal_buffer_finish(&users->of[i].rules);
}

/* ---- the options */

static const char *name_of(int role) {
    return role == ADMIN ? "admin" : shoal_role_name((enum shoal_role)role);
}

/* The role that the text begins with, up to `len`; USERS when there is none. */
static int find_role(const char *text, size_t len) {
    int role = 0;
    while (role < USERS &&
           (strncmp(name_of(role), text, len) != 0 || name_of(role)[len] != '\0'))
        role++;
    return role;
}

static enum shoal_status no_role(const char *word, struct shoal_error *err) {
    return shoal_error_set(
        err, SHOAL_INVALID,
        "'%.100s' does not name a role: admin, broker, read, submit or worker", word);
}

static bool is_rotated(int role) {
    for (size_t i = 0; i < rotated.n; i++) {
        if (strcmp(rotated.items[i], name_of(role)) == 0)
            return true;
    }
    return false;
}

static enum shoal_status check_options(struct shoal_error *err) {
    for (size_t i = 0; i < rotated.n; i++) {
        if (find_role(rotated.items[i], strlen(rotated.items[i])) == USERS)
            return no_role(rotated.items[i], err);
    }
    if (folder == NULL && hashes.n == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "say where the passwords are, or are to be made, by "
                               "--passwords-dir FOLDER, or give their hashes by --hash");
    if (folder == NULL && rotated.n > 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--rotate makes a new password in a folder; give "
                               "--passwords-dir as well");
    if (folder == NULL && apply && !keep_default)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "--apply turns the default user off as the new admin, whose password must be "
            "known: give --passwords-dir, or --keep-default");
    if (apply && !shoal_cli.redis_given)
        return shoal_error_set(err, SHOAL_INVALID,
                               "the local cluster is yours alone and has no users; say "
                               "by --redis URL where to apply them");
    return SHOAL_OK;
}

/* ---- putting users together */

static enum shoal_status take_hash(struct users *users, const char *word,
                                   struct shoal_error *err) {
    size_t len = strcspn(word, "=");
    int role = word[len] == '=' ? find_role(word, len) : USERS;
    const char *digits = word + len + 1;
    if (word[len] == '\0')
        return shoal_error_set(err, SHOAL_INVALID,
                               "--hash is ROLE=SHA256, and '%.100s' has no '='", word);
    if (role == USERS)
        return no_role(word, err);
    if (strlen(digits) != SHOAL_HASH_DIGITS ||
        strspn(digits, "0123456789abcdef") != SHOAL_HASH_DIGITS)
        return shoal_error_set(err, SHOAL_INVALID,
                               "the hash of role %s is not 64 digits of 0-9 and a-f; "
                               "make it with: printf %%s PASSWORD | sha256sum",
                               name_of(role));
    struct shoal_credential *credential = &users->of[role].credential;
    if (credential->n == SHOAL_CREDENTIALS)
        return shoal_error_set(err, SHOAL_INVALID, "role %s has more than %d hashes",
                               name_of(role), SHOAL_CREDENTIALS);
    memcpy(credential->hashes[credential->n++], digits, SHOAL_HASH_DIGITS + 1);
    users->of[role].wanted = true;
    return SHOAL_OK;
}

static void add_rules(struct user *user, int role, const char *prefix, int database) {
    struct shoal_buffer *rules = &user->rules;
    shoal_buffer_add_text(rules, "on");
    for (size_t i = 0; i < user->credential.n; i++)
        shoal_buffer_add_format(rules, " #%s", user->credential.hashes[i]);
    shoal_buffer_add_char(rules, ' ');
    if (role == ADMIN)
        shoal_buffer_add_text(rules, SHOAL_ACCESS_ALL);
    else
        shoal_access_rules((enum shoal_role)role, prefix, database, rules);
}

static void name_users(struct users *users) {
    for (int role = 0; role < USERS; role++)
        snprintf(users->of[role].name, USER_MAX, "%s%s%s",
                 user_prefix_given ? user_prefix : shoal_cli.name_space,
                 user_prefix_given ? "" : "-", name_of(role));
}

static bool is_of_folder(const struct users *users, int role) {
    return folder != NULL && !users->of[role].wanted && !(role == ADMIN && keep_default);
}

/* Passwords that are to be renamed are looked for before anything is written. */
static enum shoal_status find_rotated(const struct users *users,
                                      struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (int role = 0; role < USERS && status == SHOAL_OK; role++) {
        if (is_rotated(role) && !is_of_folder(users, role))
            return shoal_error_set(err, SHOAL_INVALID,
                                   "there is nothing to rotate for %s, %s; leave out one "
                                   "of the two",
                                   name_of(role),
                                   users->of[role].wanted
                                       ? "whose password is given by --hash"
                                       : "which --keep-default does not make");
        if (is_rotated(role))
            status = shoal_credential_find(folder, users->of[role].name, err);
    }
    return status;
}

/* Those of a folder are all users, those of hashes the ones that have some. */
static enum shoal_status make_users(struct users *users, int database,
                                    struct shoal_error *err) {
    char prefix[SHOAL_PREFIX_MAX];
    enum shoal_status status = SHOAL_OK;
    shoal_key_prefix(prefix, shoal_cli.name_space);
    for (size_t i = 0; i < hashes.n && status == SHOAL_OK; i++)
        status = take_hash(users, hashes.items[i], err);
    name_users(users);
    if (keep_default)
        users->of[ADMIN].wanted = false;
    if (status == SHOAL_OK)
        status = find_rotated(users, err);
    for (int role = 0; role < USERS && status == SHOAL_OK; role++) {
        struct user *user = &users->of[role];
        if (is_of_folder(users, role)) {
            user->wanted = true;
            status = shoal_credential_take(folder, user->name, is_rotated(role),
                                           &user->credential, err);
        }
        add_rules(user, role, prefix, database);
        if (status == SHOAL_OK)
            status = shoal_buffer_check(&user->rules, "the rules of a user", err);
    }
    return status;
}

/* ---- as a file */

static void print_users(const struct users *users) {
    if (!keep_default)
        puts("user default off resetpass " SHOAL_ACCESS_ALL);
    for (size_t i = 0; i < USERS; i++) {
        if (users->of[i].wanted)
            printf("user %s %s\n", users->of[i].name,
                   shoal_buffer_text(&users->of[i].rules));
    }
    if (keep_default)
        shoal_cli_say("shoal: as a file of its own this leaves the default user open to "
                      "all, with every right; have a line for it in there");
}

/* ---- in Redis */

/* Sends words with a space between each two. */
static enum shoal_status command(struct shoal_client *client, const char *words,
                                 struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    shoal_request_init(&request);
    while (*words != '\0') {
        size_t len = strcspn(words, " ");
        shoal_request_bytes(&request, words, len);
        words += len + (words[len] == ' ');
    }
    return shoal_redis_run(client->redis, &request, 0, &reply, err);
}

/* All at once: it has what the rules say, and nothing from before. */
static enum shoal_status set_user(struct shoal_client *client, const struct user *user,
                                  struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer words;
    shoal_buffer_init(&words, RULES_MAX);
    shoal_buffer_add_format(&words, "ACL SETUSER %s reset %s", user->name,
                            shoal_buffer_text(&user->rules));
    enum shoal_status status = shoal_buffer_check(&words, "the rules of a user", err);
    return status == SHOAL_OK ? command(client, shoal_buffer_text(&words), err) : status;
}

/* A Redis without an ACL file keeps its users in memory. */
static enum shoal_status save(struct shoal_client *client, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = command(client, "ACL SAVE", &why);
    if (status == SHOAL_OK ||
        strstr(why.text, "not configured to use an ACL file") == NULL)
        return status == SHOAL_OK ? SHOAL_OK
                                  : shoal_error_set(err, SHOAL_DENIED,
                                                    "what was changed holds until Redis "
                                                    "ends, for it is not saved: %s",
                                                    why.text);
    shoal_cli_say(
        "shoal: this Redis has no ACL file, so its users are gone when it ends; "
        "put what 'shoal acl' prints without --apply into a file, and start it "
        "with --aclfile FILE");
    return SHOAL_OK;
}

/* As the admin, which proves that somebody can still get in. */
static enum shoal_status turn_default_off(const struct user *admin,
                                          struct shoal_error *err) {
    struct shoal_redis_address address;
    struct shoal_client *client = NULL;
    char path[PATH_MAX];
    enum shoal_status status =
        shoal_credential_path(folder, admin->name, path, sizeof(path), err);
    if (status == SHOAL_OK)
        status = shoal_redis_address_parse(shoal_cli.redis, NULL, &address, err);
    if (status != SHOAL_OK)
        return status;
    free(address.user);
    if (address.password != NULL) /* of who connects now */
        explicit_bzero(address.password, strlen(address.password));
    free(address.password);
    address.password = NULL;
    address.user = strdup(admin->name);
    if (address.user == NULL)
        status = shoal_error_set(err, SHOAL_MEMORY, "no memory for a user's name");
    if (status == SHOAL_OK)
        status = shoal_redis_password_read(path, &address.password, err);
    if (status == SHOAL_OK)
        status = shoal_redis_address_secure(&address, &shoal_cli.tls, err);
    if (status == SHOAL_OK)
        status =
            shoal_client_open(&address, shoal_cli.name_space, 0, false, &client, err);
    shoal_redis_address_finish(&address);
    if (status == SHOAL_OK)
        status = command(client, "ACL SETUSER default reset " SHOAL_ACCESS_ALL, err);
    if (status == SHOAL_OK) /* whoever is in */
        status = command(client, "CLIENT KILL USER default", err);
    if (status == SHOAL_OK)
        status = save(client, err);
    shoal_client_destroy(client);
    return status;
}

static enum shoal_status set_users(struct shoal_client *client, const struct users *users,
                                   struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < USERS && status == SHOAL_OK; i++) {
        if (users->of[i].wanted)
            status = set_user(client, &users->of[i], err);
    }
    return status != SHOAL_OK ? status
           : keep_default     ? save(client, err)
                              : turn_default_off(&users->of[ADMIN], err);
}

static enum shoal_status apply_users(struct shoal_client *client,
                                     const struct users *users, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = set_users(client, users, &why);
    if (status != SHOAL_OK)
        return shoal_error_set(err, status, "%s%s", why.text,
                               rotated.n == 0 ? ""
                                              : "; new passwords are in their files: run "
                                                "this again without --rotate");
    for (size_t i = 0; i < USERS; i++) {
        if (users->of[i].wanted)
            shoal_cli_say("shoal: user %s has the rights of its role", users->of[i].name);
    }
    if (!keep_default)
        shoal_cli_say("shoal: user default is off");
    return SHOAL_OK;
}

/* ---- the command */

static enum shoal_status find_database(int *ret_database, struct shoal_error *err) {
    struct shoal_redis_address address;
    *ret_database = 0;
    if (!shoal_cli.redis_given)
        return SHOAL_OK;
    enum shoal_status status =
        shoal_redis_address_parse(shoal_cli.redis, NULL, &address, err);
    if (status != SHOAL_OK)
        return status;
    *ret_database = address.database;
    shoal_redis_address_finish(&address);
    return SHOAL_OK;
}

/* With the password of before, which a rotation renames. */
static enum shoal_status connect_to_redis(struct shoal_use *use,
                                          struct shoal_error *err) {
    enum shoal_status status = shoal_use_look(use, err);
    return status == SHOAL_OK ? command(use->client, "PING", err) : status;
}

static int acl(int n, char **words) {
    SHOAL_CLEANUP(users_cleanup) struct users users = {0};
    SHOAL_CLEANUP(shoal_use_end) struct shoal_use use = {.client = NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    int database = 0;
    (void)n;
    (void)words;
    for (size_t i = 0; i < USERS; i++)
        shoal_buffer_init(&users.of[i].rules, RULES_MAX);
    enum shoal_status status = check_options(&err);
    if (status == SHOAL_OK)
        status = find_database(&database, &err);
    if (status == SHOAL_OK && apply)
        status = connect_to_redis(&use, &err);
    if (status == SHOAL_OK)
        status = make_users(&users, database, &err);
    if (status == SHOAL_OK && apply)
        status = apply_users(use.client, &users, &err);
    else if (status == SHOAL_OK)
        print_users(&users);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_acl = {
    .name = "acl",
    .usage = "--passwords-dir FOLDER [--rotate ROLE] [--apply] [--keep-default]",
    .summary = "print users for Redis, as narrow as their roles: an ACL file",
    .details = "There is a user for each role: submit, worker, broker, read; and admin, "
               "who may do everything,\nsince the default user is turned off. Redis gets "
               "only the hashes of passwords.",
    .tables = tables,
    .run = acl,
};
