/* Requests put together, replies taken apart. */
#include "common/redis_private.h"

#include "common/cleanup.h"
#include "common/records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What Redis takes as one argument; no request of ours comes near. */
#define REQUEST_MAX ((size_t)512 << 20)

void shoal_request_init(struct shoal_request *request) {
    shoal_buffer_init(&request->words, REQUEST_MAX);
    request->n = 0;
}

void shoal_request_finish(struct shoal_request *request) {
    shoal_buffer_finish(&request->words);
    request->n = 0;
}

void shoal_request_clear(struct shoal_request *request) {
    shoal_buffer_clear(&request->words);
    request->n = 0;
}

void shoal_request_text(struct shoal_request *request, const char *word) {
    shoal_request_bytes(request, word, strlen(word));
}

void shoal_request_bytes(struct shoal_request *request, const void *bytes, size_t len) {
    shoal_record_bytes(&request->words, bytes, len);
    request->n++;
}

void shoal_request_int(struct shoal_request *request, int64_t number) {
    shoal_record_int(&request->words, number);
    request->n++;
}

void shoal_request_cleanup(struct shoal_request *request) {
    shoal_request_finish(request);
}

/* What an error reply begins with, what that means, and what to do. The first row that
 * fits counts. Without advice the rest of the reply is the sentence: our own scripts say
 * it so. */
static const struct known_error {
    const char *start;
    enum shoal_status status;
    bool passes; /* by itself, so that a greeting tries again */
    const char *advice;
} known_errors[] = {
    {"UNKNOWN", SHOAL_UNKNOWN, false, NULL},
    {"REFUSED", SHOAL_REFUSED, false, NULL},
    {"LAYOUT", SHOAL_DENIED, false, NULL},
    {"INVALID", SHOAL_INVALID, false, NULL},
    {"FULL", SHOAL_FULL, false, NULL},
    {"GARBAGE", SHOAL_GARBAGE, false, NULL},
    {"OOM", SHOAL_FULL, false,
     "Redis is out of memory; raise its maxmemory or forget finished jobs"},
    {"MISCONF", SHOAL_FULL, false,
     "Redis cannot save to its disk and takes no writes; make room there"},
    {"READONLY", SHOAL_DENIED, false,
     "this Redis is a read-only replica; give the address of the primary"},
    {"LOADING", SHOAL_DENIED, true,
     "Redis is still loading its data; try again in a moment"},
    {"BUSY", SHOAL_DENIED, true,
     "a script keeps Redis busy; wait for it or end it with FUNCTION KILL"},
    {"MASTERDOWN", SHOAL_DENIED, true,
     "this Redis is a replica that has lost its primary; give the address of the "
     "primary"},
    {"NOREPLICAS", SHOAL_DENIED, false,
     "Redis has too few replicas in reach and takes no writes; bring them back"},
    {"NOAUTH", SHOAL_DENIED, false,
     "Redis requires a password; give it in the URL or by a password file"},
    {"WRONGPASS", SHOAL_DENIED, false,
     "Redis refused the user name or the password; check the URL or the password file"},
    {"NOPERM", SHOAL_DENIED, false,
     "this user may not do that in Redis; 'shoal acl' makes users who may do what their "
     "role needs"},
    {"ERR The user executing the script", SHOAL_DENIED, false, /* within a move */
     "this user may not do all of that in Redis; 'shoal acl' makes users who may do what "
     "their role needs"},
    {"DENIED", SHOAL_DENIED, false,
     "Redis is in protected mode and takes only local connections; set a password there"},
    {"ERR max number of clients reached", SHOAL_DENIED, true,
     "Redis has too many connections; raise its maxclients"},
    {"ERR DB index is out of range", SHOAL_INVALID, false,
     "Redis has no database of that number; change the end of the URL"},
    {"ERR AUTH", SHOAL_DENIED, false,
     "this Redis asks for no password; leave it out, be it in the URL or a file"},
    {"ERR unknown command", SHOAL_DENIED, false,
     "Redis does not know the command; shoal needs Redis 7 or later"},
    {"WRONGTYPE", SHOAL_GARBAGE, false,
     "a key of shoal's holds something else; use another namespace or delete the key"},
    {"ERR Function not found", SHOAL_DENIED, false,
     "Redis does not take the functions of this program; may it call FUNCTION LOAD?"},
    {"UNBLOCKED", SHOAL_DENIED, false, "somebody ended the wait with CLIENT UNBLOCK"},
    {"MOVED", SHOAL_DENIED, false,
     "this Redis is part of a cluster; shoal needs a single one"},
    {"ASK", SHOAL_DENIED, false,
     "this Redis is part of a cluster; shoal needs a single one"},
    {"CLUSTERDOWN", SHOAL_DENIED, false,
     "this Redis is part of a cluster; shoal needs a single one"},
    {"", SHOAL_INVALID, false, "Redis does not accept the command"},
};

/* Whether `text` begins with the words of `start`. */
static bool begins(const char *text, const char *start) {
    size_t len = strlen(start);
    return strncmp(text, start, len) == 0 &&
           (len == 0 || text[len] == '\0' || text[len] == ' ' || text[len] == ',');
}

static const struct known_error *find(const char *text) {
    const struct known_error *error = known_errors;
    while (!begins(text, error->start))
        error++;
    return error;
}

static bool is_error(const redisReply *reply) {
    return reply != NULL && reply->type == REDIS_REPLY_ERROR;
}

bool shoal_reply_is_error(const redisReply *reply, const char *word) {
    return is_error(reply) && begins(reply->str, word);
}

bool shoal_reply_passes(const redisReply *reply) {
    return is_error(reply) && find(reply->str)->passes;
}

enum shoal_status shoal_redis_status_of(const redisReply *reply,
                                        struct shoal_error *err) {
    if (!is_error(reply))
        return SHOAL_OK;
    char text[300];
    snprintf(text, sizeof(text), "%s", reply->str); /* as much as makes a sentence */
    const struct known_error *error = find(text);
    if (error->advice != NULL)
        return shoal_error_set(err, error->status, "%s (it said '%s')", error->advice,
                               text);
    const char *sentence = text + strlen(error->start);
    bool is_said = sentence[0] == ' ' && sentence[1] != '\0';
    return shoal_error_set(err, error->status, "%s", is_said ? sentence + 1 : text);
}

bool shoal_reply_is_array(const redisReply *reply, size_t at_least) {
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY &&
           reply->elements >= at_least;
}

const redisReply *shoal_reply_at(const redisReply *reply, size_t i) {
    return shoal_reply_is_array(reply, 0) && i < reply->elements ? reply->element[i]
                                                                 : NULL;
}

bool shoal_reply_text(const redisReply *reply, const char **ret_text) {
    if (reply == NULL ||
        (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS))
        return false;
    if (memchr(reply->str, '\0', reply->len) != NULL)
        return false;
    *ret_text = reply->str;
    return true;
}

bool shoal_reply_int(const redisReply *reply, int64_t *ret_value) {
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        *ret_value = reply->integer;
        return true;
    }
    const char *text;
    if (!shoal_reply_text(reply, &text) || (*text != '-' && (*text < '0' || *text > '9')))
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return false;
    *ret_value = value;
    return true;
}
