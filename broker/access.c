/* Redis checks a function's commands, one by one, against the user who calls it. So a
 * user needs whatever its moves do, and may do the same without them; the rules are as
 * narrow as that lets them be. A row of `grants` says what some roles may do to keys of
 * some kinds, and becomes a selector of each of these users. Which moves a user may call
 * is said by keys that are never there, `may:<move>`, since a function's name has the
 * hash of its text and changes with every version (begin() in lib.lua looks).
 *
 * A script that uses another command, or another kind of key, goes in here as well:
 * tests/lint/access.py reads the scripts, tests/system/acl.c does the work of every
 * role. */
#include "broker/access.h"

#include "broker/keys.h"
#include "broker/scripts.h"
#include "common/cleanup.h"

#include <stdint.h>
#include <string.h>

enum {
    BROKER = 1 << SHOAL_ROLE_BROKER,
    READ = 1 << SHOAL_ROLE_READ,
    SUBMIT = 1 << SHOAL_ROLE_SUBMIT,
    WORKER = 1 << SHOAL_ROLE_WORKER,
    MOVERS = BROKER | SUBMIT | WORKER,
    ALL = MOVERS | READ,
};

static const char *const names[] = {
    [SHOAL_ROLE_BROKER] = "broker",
    [SHOAL_ROLE_READ] = "read",
    [SHOAL_ROLE_SUBMIT] = "submit",
    [SHOAL_ROLE_WORKER] = "worker",
};
_Static_assert(SHOAL_COUNT(names) == SHOAL_ROLE_COUNT, "a role is missing");

const char *shoal_role_name(enum shoal_role role) {
    return names[role];
}

/* ---- the tables */

/* Audit is no move: it changes nothing, and who may read may call it. */
static const struct {
    const struct shoal_script *move;
    unsigned roles;
} moves[] = {
    {&shoal_script_acknowledge, SUBMIT}, {&shoal_script_advance, WORKER},
    {&shoal_script_append, SUBMIT},      {&shoal_script_cancel, SUBMIT},
    {&shoal_script_close, SUBMIT},       {&shoal_script_drain, SUBMIT},
    {&shoal_script_finish, WORKER},      {&shoal_script_forget, SUBMIT},
    {&shoal_script_heartbeat, WORKER},   {&shoal_script_housekeep, BROKER},
    {&shoal_script_queue, SUBMIT},       {&shoal_script_register, WORKER},
    {&shoal_script_release, SUBMIT},     {&shoal_script_retry, SUBMIT},
    {&shoal_script_submit, SUBMIT},
};

/* Commands without keys. `acl|dryrun`: doctor asks by it what its user may, whichever
 * role that has, and it tells nothing but rules. `bgrewriteaof`: a worker asks for it
 * when Redis has lost its last moments. */
static const struct {
    const char *command;
    unsigned roles;
} keyless[] = {
    {"acl|dryrun", ALL},
    {"acl|whoami", ALL},
    {"bgrewriteaof", WORKER},
    {"client|setname", ALL},
    {"echo", ALL},
    {"function|list", ALL},
    {"function|load", BROKER},
    {"info", ALL},
    {"ping", ALL},
    {"scan", BROKER}, /* for jobs that are in no list */
    {"time", ALL},
};

/* What the commands of a row need of their keys, as Redis has it. */
#define READS "%R~"
#define WRITES "%W~"
#define BOTH "~"

#define K(kind) (UINT64_C(1) << SHOAL_KEY_##kind)
_Static_assert(SHOAL_KEY_COUNT <= 63, "too many kinds of keys for a set");

/* All kinds, and what begins with the prefix and is none. */
#define EVERY UINT64_MAX

/* Rows of a role with the same access and commands are one selector. The commonest come
 * first, since Redis looks through them in order. */
static const struct grant {
    unsigned roles;
    const char *access;
    const char *commands;
    uint64_t kinds;
} grants[] = {
    /* looking */
    {READ | SUBMIT, READS,
     "exists fcall_ro getrange hget hgetall hmget hvals llen lpos lrange smembers type "
     "xrevrange zrange zrevrange zscan zscore",
     EVERY},
    {SUBMIT, READS, "hexists hlen lindex scard zcard zrevrangebyscore", EVERY},
    {BROKER | WORKER, READS,
     "exists hget hkeys hmget lindex llen smembers srandmember zrange zrangebyscore "
     "zrevrangebyscore",
     K(AGAIN) | K(BARRED) | K(BUSY) | K(CLOCK) | K(DATES) | K(DUE) | K(EPOCH) | K(JOB) |
         K(LEASES) | K(NAMES) | K(OPEN) | K(QUEUE) | K(QUEUES) | K(READY) | K(SESSION) |
         K(SESSIONS) | K(WAKE)},
    {BROKER | WORKER, READS, "type", EVERY}, /* of a key that a move failed on */
    {BROKER | WORKER, READS, "exists", K(JOBS) | K(SPECS)},
    {WORKER, READS, "llen", K(INBOX)},
    {BROKER | WORKER, READS, "llen lpos", K(READY) | K(TODO)},
    {BROKER | WORKER, READS, "zrandmember", K(JOBS) | K(OPEN)},
    {BROKER | WORKER, READS, "zscore", K(SESSIONS)},
    {BROKER | WORKER, READS, "hvals", K(LEASES)},
    {WORKER, READS, "getrange hgetall hlen xrevrange",
     K(ARGS) | K(BARRED) | K(LEASES) | K(SPEC) | K(WARRANT)},

    /* hashes */
    {MOVERS, WRITES, "hset", K(JOB)},
    {SUBMIT, WRITES, "hset", K(EPOCH) | K(NAMES) | K(QUEUE) | K(SESSION)},
    {WORKER, WRITES, "hset", K(BARRED) | K(CLOCK) | K(EPOCH) | K(LEASES) | K(SESSION)},
    {BROKER, WRITES, "hset", K(CLOCK) | K(EPOCH)},
    {BROKER, WRITES, "hdel", K(EPOCH)},
    {MOVERS, WRITES, "hdel", K(NAMES) | K(SPECS) | K(WARRANTS)},
    {BROKER | WORKER, WRITES, "hdel", K(LEASES)},
    {WORKER, WRITES, "hdel", K(SESSION)},
    {MOVERS, WRITES, "hset",
     K(QUEUE) | K(SPECS) | K(WARRANTS)}, /* in place of what is no number */
    {MOVERS, BOTH, "hincrby", K(QUEUE) | K(SPECS) | K(WARRANTS)},
    {WORKER, BOTH, "hincrby", K(EPOCH)},

    /* sorted sets */
    {MOVERS, WRITES, "zadd", K(DATES) | K(DUE) | K(FAILED) | K(OPEN)},
    {BROKER | SUBMIT, WRITES, "zadd", K(JOBS)},
    {WORKER, WRITES, "zadd", K(SESSIONS)},
    {MOVERS, WRITES, "zrem", K(AGAIN) | K(DATES) | K(DUE) | K(JOBS) | K(OPEN)},
    {BROKER | WORKER, WRITES, "zrem", K(SESSIONS)},

    /* lists */
    {MOVERS, WRITES, "rpush", K(INBOX) | K(READY) | K(TODO) | K(WAKE)},
    {BROKER | WORKER, WRITES, "rpush", K(ATTEMPTS) | K(RESULTS)},
    {MOVERS, WRITES, "lpush", K(READY) | K(TODO)},
    {MOVERS, BOTH, "lpop", K(READY)},
    {WORKER, BOTH, "lpop", K(TODO)},
    {MOVERS, WRITES, "ltrim", K(INBOX)},
    {SUBMIT, WRITES, "ltrim", K(RESULTS)},
    {BROKER | WORKER, WRITES, "ltrim", K(ATTEMPTS)},
    {MOVERS, WRITES, "exists ltrim pexpire rpush", K(MAIL)},
    {SUBMIT, BOTH, "blmpop", K(MAIL)},
    {WORKER, BOTH, "blpop", K(INBOX) | K(WAKE)},

    /* sets, streams and strings */
    {MOVERS, WRITES, "sadd", K(BUSY)},
    {SUBMIT, WRITES, "sadd", K(QUEUES)},
    {MOVERS, WRITES, "srem", K(BUSY)},
    {SUBMIT, WRITES, "xadd xdel xtrim", K(ARGS)},
    {SUBMIT, WRITES, "set", K(SPEC) | K(WARRANT)},

    /* whole keys */
    {MOVERS, WRITES, "del", K(BARRED) | K(SPEC) | K(WARRANT) | K(TODO) | K(WAKE)},
    {BROKER | WORKER, WRITES, "del", K(INBOX) | K(LEASES) | K(SESSION)},
    {BROKER, WRITES, "del",
     K(JOBS) | K(SPECS)}, /* the first in place of what is no list */
    {SUBMIT, BOTH, "rename", K(AGAIN) | K(FAILED)},
    {MOVERS, WRITES, "unlink",
     K(AGAIN) | K(ARGS) | K(ATTEMPTS) | K(BARRED) | K(FAILED) | K(JOB) | K(OPEN) |
         K(RESULTS) | K(TODO)},
};

/* ---- the rules */

static bool has(unsigned roles, enum shoal_role role) {
    return (roles & (1u << role)) != 0;
}

bool shoal_access_may(enum shoal_role role, const char *move) {
    for (size_t i = 0; i < SHOAL_COUNT(moves); i++) {
        if (has(moves[i].roles, role) && strcmp(moves[i].move->name, move) == 0)
            return true;
    }
    return false;
}

static void add_keyless(enum shoal_role role, int database, struct shoal_buffer *text) {
    for (size_t i = 0; i < SHOAL_COUNT(keyless); i++) {
        if (has(keyless[i].roles, role))
            shoal_buffer_add_format(text, " +%s", keyless[i].command);
    }
    if (database != 0) /* a connection begins in 0, and has no business elsewhere */
        shoal_buffer_add_format(text, " +select|%d", database);
}

/* " +hget +hset" of "hget hset" */
static void add_commands(const char *commands, struct shoal_buffer *text) {
    while (*commands != '\0') {
        size_t len = strcspn(commands, " ");
        shoal_buffer_add_format(text, " +%.*s", (int)len, commands);
        commands += len + (commands[len] == ' ');
    }
}

/* A name that ends in ':' is that of many keys. */
static void add_keys(const char *access, uint64_t kinds, const char *prefix,
                     struct shoal_buffer *text) {
    char key[SHOAL_KEY_MAX];
    for (enum shoal_key kind = 0; kinds != EVERY && kind < SHOAL_KEY_COUNT; kind++) {
        if ((kinds >> kind & 1) == 0)
            continue;
        shoal_key_make(key, prefix, kind, "");
        shoal_buffer_add_format(text, " %s%s%s", access, key,
                                key[strlen(key) - 1] == ':' ? "*" : "");
    }
    if (kinds == EVERY)
        shoal_buffer_add_format(text, " %s%s*", access, prefix);
}

static bool are_alike(const struct grant *a, const struct grant *b) {
    return strcmp(a->access, b->access) == 0 && strcmp(a->commands, b->commands) == 0;
}

/* The selector that begins with this row; none when an earlier one has it already. */
static void add_grant(enum shoal_role role, const struct grant *grant, const char *prefix,
                      struct shoal_buffer *text) {
    uint64_t kinds = 0;
    for (const struct grant *other = grants; other < grant; other++) {
        if (has(other->roles, role) && are_alike(other, grant))
            return;
    }
    for (const struct grant *other = grant; other < grants + SHOAL_COUNT(grants);
         other++) {
        if (has(other->roles, role) && are_alike(other, grant))
            kinds |= other->kinds;
    }
    size_t begin = text->len + 1;
    shoal_buffer_add_char(text, ' ');
    add_keys(grant->access, kinds, prefix, text);
    add_commands(grant->commands, text);
    if (!text->failed)
        text->data[begin] = '('; /* in place of the space before the first word */
    shoal_buffer_add_char(text, ')');
}

/* Functions are called with the prefix as their key. */
static void add_moves(enum shoal_role role, const char *prefix,
                      struct shoal_buffer *text) {
    char key[SHOAL_KEY_MAX];
    bool any = false;
    for (size_t i = 0; i < SHOAL_COUNT(moves); i++) {
        if (!has(moves[i].roles, role))
            continue;
        shoal_key_make(key, prefix, SHOAL_KEY_MAY, moves[i].move->name);
        shoal_buffer_add_format(text, any ? " ~%s" : " (~%s", key);
        any = true;
    }
    if (any)
        shoal_buffer_add_format(text, " ~%s +fcall)", prefix);
}

void shoal_access_rules(enum shoal_role role, const char *prefix, int database,
                        struct shoal_buffer *text) {
    shoal_buffer_add_text(text, "resetkeys resetchannels -@all");
    add_keyless(role, database, text);
    add_moves(role, prefix, text);
    for (size_t i = 0; i < SHOAL_COUNT(grants); i++) {
        if (has(grants[i].roles, role))
            add_grant(role, &grants[i], prefix, text);
    }
}
