/* Scripts as functions, whose library Redis is given when it does not know them. */
#include "common/redis_private.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOADS_MAX = 50 };

/* A script on its way. Its words are kept until it is known that Redis has the script. */
struct call {
    struct shoal_redis *redis;
    const struct shoal_script *script;
    struct shoal_request words; /* what follows the function's name */
    int64_t deadline;
    int loads;                  /* of the library */
    struct shoal_error refusal; /* of the last one */
    bool over;                  /* it was told */
    shoal_redis_reply_fn done;
    void *owner;
};

static void destroy(struct call *call) {
    shoal_request_finish(&call->words);
    free(call);
}

static enum shoal_status send_call(struct call *call, shoal_redis_reply_fn done,
                                   void *owner, struct shoal_error *err) {
    struct shoal_request first;
    shoal_request_init(&first);
    shoal_request_text(&first, call->script->reads ? "FCALL_RO" : "FCALL");
    shoal_request_text(&first, call->script->function);
    int64_t left = call->deadline - shoal_now_ms();
    enum shoal_status status = shoal_redis_send_two(
        call->redis, &first, &call->words, left > 0 ? left : 1, done, owner, err);
    shoal_request_finish(&first);
    return status;
}

static void finish(struct call *call, enum shoal_status status, const redisReply *reply,
                   const struct shoal_error *err) {
    if (call->done != NULL)
        call->done(call->owner, status, reply, err);
    destroy(call);
}

/* Said once for all that wait: a library is larger than what is asked of it. */
static void refuse_to_load(struct call *call) {
    const char *versions = shoal_redis_versions(call->redis);
    bool is_told = *versions != '\0';
    shoal_redis_note_cannot_load(call->redis);
    shoal_error_set(&call->refusal, SHOAL_DENIED,
                    "Redis does not have the functions of shoal %s and this user may not "
                    "load them%s%s%s; start a shoal-broker of this version, or run "
                    "'shoal doctor --load' as a user who may",
                    SHOAL_VERSION, is_told ? " (it has those of shoal " : "", versions,
                    is_told ? ")" : "");
}

static bool is_listed(const char *versions, const char *version) {
    size_t len = strlen(version);
    for (const char *at = versions; (at = strstr(at, version)) != NULL; at += len) {
        if ((at == versions || at[-1] == ' ') && strchr(", ", at[len]) != NULL)
            return true;
    }
    return false;
}

/* One as its build has written it; who may load functions may have written anything. */
static void add_version(char *versions, const char *version) {
    static const char good[] = "0123456789abcdefghijklmnopqrstuvwxyz.+~-";
    size_t len = strlen(versions), room = SHOAL_VERSIONS_ROOM - len;
    const char *more = strcmp(version, SHOAL_VERSION) == 0 ? " of another build" : "";
    if (*version != '\0' && version[strspn(version, good)] == '\0' &&
        !is_listed(versions, version) && strlen(version) + strlen(more) + 3 <= room)
        snprintf(versions + len, room, "%s%s%s", len == 0 ? "" : ", ", version, more);
}

/* Each library's functions say in their descriptions of which version they are. */
static void listed(void *owner, enum shoal_status status, const redisReply *reply,
                   const struct shoal_error *err) {
    enum { FUNCTIONS = 5, DESCRIPTION = 3 }; /* behind their names */
    static const char mark[] = "shoal ";
    char *versions = shoal_redis_versions(owner);
    const redisReply *library;
    const char *text;
    (void)err;
    *versions = '\0';
    for (size_t i = 0; status == SHOAL_OK; i++) {
        if ((library = shoal_reply_at(reply, i)) == NULL)
            return;
        const redisReply *function =
            shoal_reply_at(shoal_reply_at(library, FUNCTIONS), 0);
        if (shoal_reply_text(shoal_reply_at(function, DESCRIPTION), &text) &&
            strncmp(text, mark, strlen(mark)) == 0)
            add_version(versions, text + strlen(mark));
    }
}

/* Another may have loaded it meanwhile, which is as good. */
static void loaded(void *owner, enum shoal_status status, const redisReply *reply,
                   const struct shoal_error *err) {
    struct call *call = owner;
    (void)err;
    shoal_error_clear(&call->refusal);
    if (status == SHOAL_OK && shoal_reply_is_error(reply, "NOPERM"))
        refuse_to_load(call);
    else if (status == SHOAL_OK && reply->type == REDIS_REPLY_ERROR &&
             strstr(reply->str, "already exists") == NULL)
        shoal_redis_status_of(reply, &call->refusal);
    if (call->over)
        destroy(call);
}

/* Which others are there is asked first, for the sentence that says that it may not. */
static enum shoal_status send_library(struct call *call, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    int64_t left = call->deadline - shoal_now_ms();
    int64_t wait = left > 0 ? left : 1;
    shoal_request_init(&request);
    shoal_request_text(&request, "FUNCTION");
    shoal_request_text(&request, "LIST");
    shoal_request_text(&request, "LIBRARYNAME");
    shoal_request_text(&request, "shoal_*");
    enum shoal_status status =
        shoal_redis_send(call->redis, &request, wait, listed, call->redis, err);
    shoal_request_clear(&request);
    shoal_request_text(&request, "FUNCTION");
    shoal_request_text(&request, "LOAD");
    shoal_request_text(&request, call->script->library);
    if (status == SHOAL_OK)
        status = shoal_redis_send(call->redis, &request, wait, loaded, call, err);
    return status;
}

/* The library, and right behind it the call: somebody may throw it away at any time. */
static void answered(void *owner, enum shoal_status status, const redisReply *reply,
                     const struct shoal_error *err) {
    struct call *call = owner;
    struct shoal_error failure = {0};
    if (status != SHOAL_OK || !shoal_reply_is_error(reply, "ERR Function not found")) {
        finish(call, status, reply, err);
        return;
    }
    if (call->refusal.status == SHOAL_OK && shoal_redis_cannot_load(call->redis))
        refuse_to_load(call);
    if (call->refusal.status != SHOAL_OK || ++call->loads > LOADS_MAX) {
        failure = call->refusal; /* why it does not take it says more */
        if (failure.status == SHOAL_OK)
            finish(call, status, reply, err);
        else
            finish(call, failure.status, NULL, &failure);
        return;
    }
    status = send_library(call, &failure);
    if (status != SHOAL_OK) {
        finish(call, status, NULL, &failure);
        return;
    }
    status = send_call(call, answered, call, &failure);
    if (status == SHOAL_OK)
        return;
    call->over = true; /* its library is still on the way */
    if (call->done != NULL)
        call->done(call->owner, status, NULL, &failure);
}

enum shoal_status shoal_script_send(struct shoal_redis *redis,
                                    const struct shoal_script *script, const char *key,
                                    const struct shoal_request *args, int64_t timeout_ms,
                                    shoal_redis_reply_fn done, void *owner,
                                    struct shoal_error *err) {
    struct call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory left to run %s",
                               script->name);
    int64_t deadline = shoal_now_ms() + shoal_redis_timeout(redis, timeout_ms);
    *call = (struct call){.redis = redis,
                          .script = script,
                          .deadline = deadline,
                          .done = done,
                          .owner = owner};
    shoal_request_init(&call->words);
    shoal_request_int(&call->words, 1);
    shoal_request_text(&call->words, key);
    shoal_buffer_add(&call->words.words, args->words.data, args->words.len);
    call->words.words.failed |= args->words.failed;
    call->words.n += args->n;
    enum shoal_status status = send_call(call, answered, call, err);
    if (status != SHOAL_OK)
        destroy(call);
    return status;
}

/* What shoal_script_run() has to send. */
struct order {
    const struct shoal_script *script;
    const char *key;
    const struct shoal_request *args;
};

static enum shoal_status send_order(struct shoal_redis *redis, const void *what,
                                    int64_t timeout_ms, shoal_redis_reply_fn done,
                                    void *owner, struct shoal_error *err) {
    const struct order *order = what;
    return shoal_script_send(redis, order->script, order->key, order->args, timeout_ms,
                             done, owner, err);
}

enum shoal_status shoal_script_run(struct shoal_redis *redis,
                                   const struct shoal_script *script, const char *key,
                                   const struct shoal_request *args, int64_t timeout_ms,
                                   redisReply **ret_reply, struct shoal_error *err) {
    struct order order = {.script = script, .key = key, .args = args};
    return shoal_redis_run_with(redis, send_order, &order, timeout_ms, ret_reply, err);
}
