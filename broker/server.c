#include "broker/server.h"

#include "broker/keys.h"
#include "common/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The rest of the line behind "name:", or NULL. */
static const char *find(const char *info, const char *name, size_t *ret_len) {
    size_t len = strlen(name);
    for (const char *line = info; line != NULL && *line != '\0';) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            *ret_len = strcspn(line + len + 1, "\r\n");
            return line + len + 1;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return NULL;
}

static void take_text(const char *info, const char *name, char *text, size_t room) {
    size_t len = 0;
    const char *value = find(info, name, &len);
    snprintf(text, room, "%.*s", (int)len, value == NULL ? "" : value);
}

static int64_t take_number(const char *info, const char *name) {
    size_t len = 0;
    const char *value = find(info, name, &len);
    return value == NULL ? -1 : strtoll(value, NULL, 10);
}

static bool went_well(const char *info, const char *name) {
    char status[8];
    take_text(info, name, status, sizeof(status));
    return status[0] == '\0' || strcmp(status, "ok") == 0;
}

enum shoal_status shoal_server_read(const redisReply *reply,
                                    struct shoal_server *ret_server,
                                    struct shoal_error *err) {
    enum shoal_status status = shoal_redis_status_of(reply, err);
    const char *info = NULL;
    if (status != SHOAL_OK)
        return status;
    if (!shoal_reply_text(reply, &info))
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "what answers is no Redis: INFO says nothing");
    *ret_server = (struct shoal_server){.aof_ok = 1};
    take_text(info, "redis_version", ret_server->version, sizeof(ret_server->version));
    take_text(info, "maxmemory_policy", ret_server->policy, sizeof(ret_server->policy));
    take_text(info, "role", ret_server->role, sizeof(ret_server->role));
    ret_server->used_memory = take_number(info, "used_memory");
    ret_server->max_memory = take_number(info, "maxmemory");
    ret_server->aof = take_number(info, "aof_enabled");
    ret_server->port = take_number(info, "tcp_port");
    ret_server->clients = take_number(info, "connected_clients");
    ret_server->uptime_s = take_number(info, "uptime_in_seconds");
    ret_server->aof_ok = went_well(info, "aof_last_write_status");
    ret_server->aof_anew = take_number(info, "aof_rewrites") > 0 &&
                           went_well(info, "aof_last_bgrewrite_status");
    return SHOAL_OK;
}

enum shoal_status shoal_server_ask(struct shoal_redis *redis, int64_t timeout_ms,
                                   struct shoal_server *ret_server,
                                   struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    shoal_request_init(&request);
    shoal_request_text(&request, "INFO");
    enum shoal_status status = shoal_redis_run(redis, &request, timeout_ms, &reply, err);
    return status == SHOAL_OK ? shoal_server_read(reply, ret_server, err) : status;
}

enum shoal_status shoal_server_check(const struct shoal_server *server,
                                     struct shoal_error *err) {
    if (server->version[0] == '\0')
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "what answers is no Redis: INFO names no version");
    if (strtol(server->version, NULL, 10) < 7)
        return shoal_error_set(
            err, SHOAL_DENIED,
            "this Redis is version '%s', shoal needs 7.0 or later; upgrade it",
            server->version);
    if (server->policy[0] != '\0' && strcmp(server->policy, "noeviction") != 0)
        return shoal_error_set(
            err, SHOAL_DENIED,
            "this Redis would evict jobs when its memory is full (maxmemory-policy %s); "
            "set it to noeviction: redis-cli config set maxmemory-policy noeviction",
            server->policy);
    if (strcmp(server->role, "slave") == 0)
        return shoal_error_set(
            err, SHOAL_DENIED,
            "this Redis is a read-only replica; use the address of its primary");
    return SHOAL_OK;
}

/* Redis takes no password of a default user who needs none. */
bool shoal_server_is_open(const struct shoal_server *server,
                          const struct shoal_redis_address *address) {
    return server->port != 0 && address->password == NULL;
}

/* ---- the layout of what is stored */

void shoal_layout_request(struct shoal_request *request, const char *prefix) {
    char key[SHOAL_KEY_MAX];
    shoal_key_make(key, prefix, SHOAL_KEY_EPOCH, "");
    shoal_request_text(request, "HMGET");
    shoal_request_text(request, key);
    shoal_request_text(request, "layout");
    shoal_request_text(request, "version");
}

/* The same words as in lib.lua, which says it to who is at work already. */
enum shoal_status shoal_layout_check(const redisReply *reply, struct shoal_error *err) {
    const char *layout = NULL, *version = "unknown";
    int64_t number = 0;
    enum shoal_status status = shoal_redis_status_of(reply, err);
    if (status != SHOAL_OK || !shoal_reply_text(shoal_reply_at(reply, 0), &layout))
        return status; /* it says none */
    if (shoal_reply_int(shoal_reply_at(reply, 0), &number) && number == SHOAL_LAYOUT)
        return SHOAL_OK;
    if (!shoal_reply_text(shoal_reply_at(reply, 1), &version))
        version = "unknown";
    return shoal_error_set(
        err, SHOAL_DENIED,
        "this Redis holds a queue of layout %.9s (shoal %.31s); this is shoal %s, which "
        "knows layout %d: %s",
        layout, version, SHOAL_VERSION, SHOAL_LAYOUT,
        number > SHOAL_LAYOUT ? "upgrade it"
                              : "let that shoal finish its jobs, or use another "
                                "namespace");
}

enum shoal_status shoal_layout_ask(struct shoal_redis *redis, const char *prefix,
                                   int64_t timeout_ms, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    shoal_request_init(&request);
    shoal_layout_request(&request, prefix);
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = shoal_redis_run(redis, &request, timeout_ms, &reply, &why);
    if (status == SHOAL_GARBAGE)
        return SHOAL_OK; /* no hash is there: moves refuse that, and audit tells of it */
    if (status != SHOAL_OK)
        return shoal_error_set(err, status, "%s", why.text);
    return shoal_layout_check(reply, err);
}
