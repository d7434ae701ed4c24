/* One connection to Redis: the bytes go out and come in here, and every wait has its end.
 *
 * Whatever goes wrong ends in lose(), which only notes why and asks the loop to call
 * finish_closing(). So callbacks are never called from within a call of the owner, and
 * may themselves send, drop and start. One timer, `tick`, serves all states: it ends the
 * backoff, the attempt to connect, and commands whose time is over. */
#include "common/redis_private.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/dial.h"
#include "common/id.h"
#include "common/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
    CONNECT_MS = 5000,
    COMMAND_MS = 10000,
    BACKOFF_LEAST_MS = 50,
    BACKOFF_MOST_MS = 2000,
    HELD_MS = 2000,     /* a connection that was up for so long was a good one … */
    HELD_ANSWERS = 50,  /* … and so was one of so many answers */
    FLAPS_LEAST = 4,    /* short ones in a row; then something is wrong */
    FLAPPED_MS = 10000, /* without a connection for so long, it is away */
    REPEAT_MS = 50,
    FEED_BYTES = 16384,   /* hiredis moves what is left of its buffer after each reply */
    KEPT_BYTES = 1 << 16, /* of its buffer, when it is empty */
    LINE_BYTES = 1 << 20, /* of what must be a line: an error of a script, say */
    ELEMENTS_MAX = 1 << 22,  /* of one reply */
    OUTPUT_BYTES = 64 << 20, /* unsent before the next command is refused */
    WHERE_BYTES = 640,
};

/* One reply: the largest value that Redis stores, and the little around it. */
#define REPLY_BYTES (((size_t)512 << 20) + (1 << 20))

enum state {
    DOWN,       /* nothing happens before shoal_redis_start() */
    WAITING,    /* for the backoff to pass */
    CONNECTING, /* the host is looked up, its addresses are tried */
    GREETING,   /* the connection is there, Redis has not taken us yet */
    UP,
    CLOSING, /* lost, and the loop is about to tell everybody */
};

struct pending {
    STAILQ_ENTRY(pending) link;
    shoal_redis_reply_fn done;
    void *owner;
    int64_t deadline;
};

STAILQ_HEAD(pending_list, pending);

struct shoal_redis {
    struct event_base *base;
    struct shoal_redis_address address;
    char *where; /* the address for people */
    struct shoal_redis_options options;
    char *client_name;
    struct shoal_redis_events events;

    enum state state;
    struct event *tick;
    int64_t tick_at;     /* INT64_MAX: not armed */
    struct event *guard; /* wakes shoal_redis_run() while it waits for a connection */

    struct shoal_dial dial;
    struct bufferevent *stream;
    redisReader *reader;
    redisReplyObjectFunctions makers; /* of replies: hiredis's own, but for arrays */
    void *(*make_array)(const redisReadTask *task, int elements);
    size_t reply_bytes;    /* fed since the last whole reply */
    size_t largest;        /* that it was, of this reader */
    size_t elements;       /* of arrays in it */
    redisReply *answering; /* the one being told; whoever takes it writes NULL */

    struct pending_list pending;
    size_t n_pending;
    size_t greetings; /* unanswered */

    struct shoal_error why; /* it was lost last */
    unsigned failures;      /* how often that was */
    bool cannot_load;       /* FUNCTION LOAD was refused to this user */
    char versions[SHOAL_VERSIONS_ROOM];
    bool refused; /* the greeting was, which will not change by itself */
    bool tell_down;
    bool repeat;      /* what was lost while shoal_redis_run() waits */
    bool unready;     /* Redis said last to shoal_redis_run() that it is not ready yet */
    int64_t up_at;    /* 0: it is not up */
    unsigned answers; /* since then */
    unsigned flaps;   /* connections in a row that were up, and not for long … */
    int64_t flapped_at; /* … of which the last one was lost then */
    unsigned waited;    /* in a row; each time about twice as long */
};

static void arm(struct shoal_redis *redis, int64_t at) {
    int64_t wait = at - shoal_now_ms();
    if (wait < 0)
        wait = 0;
    redis->tick_at = at;
    event_add(redis->tick,
              &(struct timeval){.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000});
}

/* ---- losing the connection */

SHOAL_PRINTF(3, 4)
static void lose(struct shoal_redis *redis, enum shoal_status status, const char *format,
                 ...) {
    if (redis->state == DOWN || redis->state == WAITING || redis->state == CLOSING)
        return;
    redis->state = CLOSING;
    redis->why.status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(redis->why.text, sizeof(redis->why.text), format, args);
    va_end(args);
    event_active(redis->tick, EV_TIMEOUT, 0);
}

static void close_all(struct shoal_redis *redis) {
    shoal_dial_stop(&redis->dial);
    if (redis->stream != NULL)
        bufferevent_free(redis->stream);
    redis->stream = NULL;
    if (redis->reader != NULL)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
}

/* Tells everything unanswered, in order. What is sent meanwhile is not among it. */
static void tell_pending(struct shoal_redis *redis, const struct shoal_error *why) {
    struct pending_list lost = STAILQ_HEAD_INITIALIZER(lost);
    STAILQ_CONCAT(&lost, &redis->pending);
    redis->n_pending = 0;
    redis->greetings = 0;
    int64_t now = shoal_now_ms();
    while (!STAILQ_EMPTY(&lost)) {
        struct pending *first = STAILQ_FIRST(&lost);
        STAILQ_REMOVE_HEAD(&lost, link);
        struct pending command = *first;
        free(first);
        bool is_late = why->status == SHOAL_TIMEOUT && command.deadline <= now;
        struct shoal_error err = *why;
        err.status = is_late ? SHOAL_TIMEOUT : SHOAL_LOST;
        if (command.done != NULL)
            command.done(command.owner, err.status, NULL, &err);
    }
}

static bool has_held(const struct shoal_redis *redis) {
    return redis->up_at != 0 &&
           (redis->answers >= HELD_ANSWERS || shoal_now_ms() - redis->up_at >= HELD_MS);
}

/* Who greets and hangs up, each time, is not to be asked many times a second for ever. A
 * few short connections cost no time, nor do the attempts before them. */
static void count_flaps(struct shoal_redis *redis) {
    if (redis->up_at == 0)
        return;
    redis->flaps = has_held(redis) ? 0 : redis->flaps + 1;
    redis->waited = redis->flaps > FLAPS_LEAST ? redis->flaps - FLAPS_LEAST : 0;
    redis->flapped_at = shoal_now_ms();
    redis->up_at = 0;
}

/* Half of the wait is chance, so that a fleet that lost Redis at once comes back spread
 * out. */
static void wait_to_reconnect(struct shoal_redis *redis) {
    int64_t wait = BACKOFF_LEAST_MS;
    for (unsigned i = 0; i < redis->waited && wait < BACKOFF_MOST_MS; i++)
        wait *= 2;
    if (wait > BACKOFF_MOST_MS)
        wait = BACKOFF_MOST_MS;
    redis->waited++;
    redis->state = WAITING;
    arm(redis,
        shoal_now_ms() + wait / 2 + (int64_t)(shoal_random() % (uint64_t)(wait / 2)));
}

static void finish_closing(struct shoal_redis *redis) {
    struct shoal_error why = redis->why;
    bool tell_down = redis->tell_down;
    close_all(redis);
    redis->failures++;
    redis->tell_down = false;
    redis->state = DOWN;
    count_flaps(redis);
    if (redis->options.reconnect)
        wait_to_reconnect(redis);
    tell_pending(redis, &why);
    if (tell_down && redis->events.down != NULL)
        redis->events.down(redis->events.owner, &why);
}

/* ---- replies */

static bool is_open(const struct shoal_redis *redis) {
    return redis->state == UP || redis->state == GREETING;
}

/* Arrays whose head promises more than a reply may have get no memory; hiredis then gives
 * up. */
static void *make_array(const redisReadTask *task, int elements) {
    struct shoal_redis *redis = task->privdata;
    redis->elements += (size_t)elements;
    return redis->elements > ELEMENTS_MAX ? NULL : redis->make_array(task, elements);
}

static bool make_reader(struct shoal_redis *redis) {
    redis->reader = redisReaderCreate();
    if (redis->reader == NULL)
        return false;
    redis->makers = *redis->reader->fn;
    redis->make_array = redis->makers.createArray;
    redis->makers.createArray = make_array;
    redis->reader->fn = &redis->makers;
    redis->reader->privdata = redis;
    redis->reader->maxbuf = 0;
    redis->reply_bytes = 0;
    redis->largest = 0;
    redis->elements = 0;
    return true;
}

/* Gives a buffer back that was large once. hiredis would do it (maxbuf), but aborts where
 * there is no memory for a small one then. */
static void shrink_reader(struct shoal_redis *redis) {
    redisReader *large = redis->reader;
    if (redis->largest <= KEPT_BYTES || large->ridx >= 0 || large->pos < large->len)
        return;
    if (make_reader(redis))
        redisReaderFree(large);
    else
        redis->reader = large;
}

/* Whether the reply that has begun can still end within bounds. */
static bool is_too_large(const struct shoal_redis *redis) {
    const redisReader *reader = redis->reader;
    if (redis->reply_bytes > REPLY_BYTES || reader->ridx < 0)
        return redis->reply_bytes > REPLY_BYTES;
    const char *rest = reader->buf + reader->pos;
    if (reader->len - reader->pos > LINE_BYTES &&
        memmem(rest, LINE_BYTES, "\r\n", 2) == NULL)
        return true;
    bool is_string = reader->rstack[reader->ridx].type == REDIS_REPLY_STRING;
    return is_string && strtoll(rest, NULL, 10) > (long long)REPLY_BYTES;
}

static void answer(struct shoal_redis *redis, redisReply *reply) {
    struct pending *first = STAILQ_FIRST(&redis->pending);
    struct pending command = *first;
    STAILQ_REMOVE_HEAD(&redis->pending, link);
    redis->n_pending--;
    redis->answers++;
    free(first);
    redis->answering = reply;
    if (command.done != NULL)
        command.done(command.owner, SHOAL_OK, reply, NULL);
    if (redis->answering != NULL)
        freeReplyObject(redis->answering);
    redis->answering = NULL;
}

/* Whether what stood in front was a whole reply, and another begins behind it: hiredis
 * takes so many bytes for a string whatever follows them. */
static bool is_at_an_end(const redisReader *reader) {
    static const char kinds[] = {'+', '-', ':', '$', '*'};
    const char *at = reader->buf + reader->pos;
    if (reader->pos >= 2 && memcmp(at - 2, "\r\n", 2) != 0)
        return false;
    return reader->pos == reader->len || memchr(kinds, *at, sizeof(kinds)) != NULL;
}

/* Tells one reply; false when no whole one is there, or when the connection is lost. */
static bool take_reply(struct shoal_redis *redis) {
    static const char nonsense[] = "what %s sends is no answer of Redis (%s); dropped it";
    void *reply = NULL;
    if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK) {
        lose(redis, SHOAL_GARBAGE, nonsense, redis->where, redis->reader->errstr);
        return false;
    }
    if (reply == NULL) {
        if (is_too_large(redis))
            lose(redis, SHOAL_GARBAGE, nonsense, redis->where, "too large");
        return false;
    }
    redis->reply_bytes = redis->reader->len - redis->reader->pos;
    redis->elements = 0;
    bool is_asked = !STAILQ_EMPTY(&redis->pending);
    if (!is_asked || !is_at_an_end(redis->reader)) {
        lose(redis, SHOAL_GARBAGE, nonsense, redis->where,
             is_asked ? "longer than it says" : "nobody asked");
        freeReplyObject(reply);
        return false;
    }
    answer(redis, reply);
    return is_open(redis);
}

/* What a port for TLS says to who speaks without: the record of an alert. */
static bool is_alert(const struct shoal_redis *redis, struct evbuffer *input) {
    char head[2];
    return redis->state == GREETING && redis->reply_bytes == 0 &&
           evbuffer_copyout(input, head, sizeof(head)) == sizeof(head) &&
           memcmp(head, "\x15\x03", sizeof(head)) == 0;
}

static void read_replies(struct bufferevent *stream, void *owner) {
    struct shoal_redis *redis = owner;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t len;
    if (is_alert(redis, input)) {
        redis->refused = true;
        lose(redis, SHOAL_DENIED, "%s speaks TLS; write rediss:// instead of redis://",
             redis->where);
    }
    while (is_open(redis) && (len = evbuffer_get_contiguous_space(input)) > 0) {
        if (len > FEED_BYTES)
            len = FEED_BYTES;
        shrink_reader(redis);
        /* A failure of feeding comes back from the next redisReaderGetReply(). */
        redisReaderFeed(redis->reader, (const char *)evbuffer_pullup(input, (ssize_t)len),
                        len);
        evbuffer_drain(input, len);
        redis->reply_bytes += len;
        if (redis->reply_bytes > redis->largest)
            redis->largest = redis->reply_bytes;
        while (take_reply(redis))
            ;
    }
}

/* ---- sending */

static bool add_words(struct evbuffer *output, const struct shoal_request *request) {
    const struct shoal_buffer *words = &request->words;
    return evbuffer_add(output, words->data, words->len) == 0;
}

/* Sends what was just added without the turn of the loop that libevent would take for it;
 * what the socket does not take now, libevent sends when it does. Whether the peer is
 * gone, reading tells. Not with TLS, whose bytes are others than these. */
static void write_now(struct shoal_redis *redis) {
    struct evbuffer *output = bufferevent_get_output(redis->stream);
    evbuffer_unfreeze(output, 1);
    evbuffer_write(output, bufferevent_getfd(redis->stream));
    evbuffer_freeze(output, 1);
    if (evbuffer_get_length(output) > 0)
        bufferevent_enable(redis->stream, EV_WRITE);
}

/* False when there is no memory, and then the stream may hold half a command. */
static bool push(struct shoal_redis *redis, const struct shoal_request *first,
                 const struct shoal_request *rest, struct pending command) {
    struct pending *pending = malloc(sizeof(*pending));
    struct evbuffer *output = bufferevent_get_output(redis->stream);
    size_t n = first->n + (rest == NULL ? 0 : rest->n);
    char head[32];
    int len = snprintf(head, sizeof(head), "*%zu\r\n", n);
    bool first_out =
        redis->state == UP && !redis->address.tls && evbuffer_get_length(output) == 0;
    if (first_out)
        bufferevent_disable(redis->stream, EV_WRITE);
    if (pending == NULL || evbuffer_add(output, head, (size_t)len) != 0 ||
        !add_words(output, first) || (rest != NULL && !add_words(output, rest))) {
        free(pending);
        return false;
    }
    *pending = command;
    STAILQ_INSERT_TAIL(&redis->pending, pending, link);
    redis->n_pending++;
    if (command.deadline < redis->tick_at)
        arm(redis, command.deadline);
    if (first_out)
        write_now(redis);
    return true;
}

int64_t shoal_redis_timeout(const struct shoal_redis *redis, int64_t timeout_ms) {
    return timeout_ms == 0 ? redis->options.command_timeout_ms : timeout_ms;
}

static enum shoal_status check_room(const struct shoal_redis *redis,
                                    struct shoal_error *err) {
    if (redis->state != UP)
        return shoal_error_set(err, SHOAL_LOST, "there is no connection to %s",
                               redis->where);
    struct evbuffer *output = bufferevent_get_output(redis->stream);
    if (redis->n_pending < SHOAL_REDIS_PENDING_MAX &&
        evbuffer_get_length(output) < OUTPUT_BYTES)
        return SHOAL_OK;
    return shoal_error_set(
        err, SHOAL_FULL,
        "%zu commands wait for an answer from %s; send more when some have it",
        redis->n_pending, redis->where);
}

enum shoal_status shoal_redis_send_two(struct shoal_redis *redis,
                                       const struct shoal_request *first,
                                       const struct shoal_request *rest,
                                       int64_t timeout_ms, shoal_redis_reply_fn done,
                                       void *owner, struct shoal_error *err) {
    assert(first->n > 0);
    enum shoal_status status = check_room(redis, err);
    if (status == SHOAL_OK)
        status = shoal_buffer_check(&first->words, "a command to Redis", err);
    if (status == SHOAL_OK && rest != NULL)
        status = shoal_buffer_check(&rest->words, "a command to Redis", err);
    if (status != SHOAL_OK)
        return status;
    int64_t deadline = shoal_now_ms() + shoal_redis_timeout(redis, timeout_ms);
    struct pending command = {.done = done, .owner = owner, .deadline = deadline};
    if (push(redis, first, rest, command))
        return SHOAL_OK;
    lose(redis, SHOAL_MEMORY, "no memory left to send to %s", redis->where);
    return shoal_error_set(err, SHOAL_MEMORY, "no memory left to send to %s",
                           redis->where);
}

enum shoal_status shoal_redis_send(struct shoal_redis *redis,
                                   const struct shoal_request *request,
                                   int64_t timeout_ms, shoal_redis_reply_fn done,
                                   void *owner, struct shoal_error *err) {
    return shoal_redis_send_two(redis, request, NULL, timeout_ms, done, owner, err);
}

/* ---- greeting */

static void go_up(struct shoal_redis *redis) {
    redis->state = UP;
    redis->up_at = shoal_now_ms();
    redis->answers = 0;
    redis->tell_down = true;
    if (redis->events.up != NULL)
        redis->events.up(redis->events.owner);
}

static void greeted(void *owner, enum shoal_status status, const redisReply *reply,
                    SHOAL_UNUSED const struct shoal_error *err) {
    struct shoal_redis *redis = owner;
    if (status != SHOAL_OK)
        return; /* whoever lost the connection has said so */
    struct shoal_error why = {0};
    status = shoal_redis_status_of(reply, &why);
    if (status != SHOAL_OK) {
        redis->refused = !shoal_reply_passes(reply);
        lose(redis, redis->refused ? status : SHOAL_LOST, "%.200s: %s", redis->where,
             why.text);
    } else if (--redis->greetings == 0) {
        go_up(redis);
    }
}

static void say(struct shoal_redis *redis, const char *const *words) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    for (; *words != NULL; words++)
        shoal_request_text(&request, *words);
    struct pending command = {
        .done = greeted, .owner = redis, .deadline = redis->tick_at};
    redis->greetings++;
    if (request.words.failed || !push(redis, &request, NULL, command))
        lose(redis, SHOAL_MEMORY, "no memory left to greet %s", redis->where);
}

/* ECHO comes last: unlike PING it is answered when the disk is full, and unlike the
 * others it says that Redis is busy. It is answered while Redis loads its data; the first
 * command that needs them is not. */
static void greet(struct shoal_redis *redis) {
    const struct shoal_redis_address *address = &redis->address;
    const char *password = address->password == NULL ? "" : address->password;
    char database[16];
    snprintf(database, sizeof(database), "%d", address->database);
    redis->state = GREETING;
    if (address->user != NULL)
        say(redis, (const char *[]){"AUTH", address->user, password, NULL});
    else if (address->password != NULL)
        say(redis, (const char *[]){"AUTH", password, NULL});
    if (address->database != 0)
        say(redis, (const char *[]){"SELECT", database, NULL});
    if (redis->client_name != NULL)
        say(redis, (const char *[]){"CLIENT", "SETNAME", redis->client_name, NULL});
    say(redis, (const char *[]){"ECHO", "shoal", NULL});
    bufferevent_enable(redis->stream, EV_READ);
}

/* ---- connecting */

/* Whether a failure will be the same when it is tried again. */
static bool stays(enum shoal_status status) {
    return status == SHOAL_DENIED || status == SHOAL_INVALID;
}

/* A port for TLS ends connections that begin with something else. */
static const char *advice(const struct shoal_redis *redis, bool is_new) {
    bool is_plain = redis->address.path == NULL && !redis->address.tls;
    return is_new && is_plain ? "; if it speaks TLS, write rediss://" : "";
}

static void stream_event(struct bufferevent *stream, short what, void *owner) {
    int reason = EVUTIL_SOCKET_ERROR();
    struct shoal_redis *redis = owner;
    struct shoal_error err = {.status = SHOAL_OK};
    bool is_new = redis->state == GREETING;
    if (redis->address.tls && shoal_tls_tells(stream, what, is_new, &err)) {
        redis->refused = is_new && stays(err.status);
        lose(redis, err.status, "%s", err.text);
    } else if (what & BEV_EVENT_EOF)
        lose(redis, SHOAL_LOST, "%s closed the connection%s", redis->where,
             advice(redis, is_new));
    else
        lose(redis, SHOAL_LOST, "the connection to %s broke: %s%s", redis->where,
             strerror(reason), advice(redis, is_new));
}

static void dialled(void *owner, struct bufferevent *stream,
                    const struct shoal_error *err) {
    struct shoal_redis *redis = owner;
    if (stream == NULL) {
        redis->refused = stays(err->status);
        lose(redis, err->status, "%s", err->text);
        return;
    }
    shoal_dial_stop(&redis->dial);
    if (redis->state != CONNECTING) { /* dropped in the same moment */
        bufferevent_free(stream);
        return;
    }
    redis->stream = stream;
    bufferevent_setcb(stream, read_replies, NULL, stream_event, redis);
    greet(redis);
}

static void connect_now(struct shoal_redis *redis) {
    redis->state = CONNECTING;
    redis->refused = false;
    redis->cannot_load = false;
    redis->versions[0] = '\0';
    redis->dial.where = redis->where;
    arm(redis, shoal_now_ms() + redis->options.connect_timeout_ms);
    if (!make_reader(redis))
        lose(redis, SHOAL_MEMORY, "no memory left to connect to %s", redis->where);
    else
        shoal_dial_start(&redis->dial);
}

/* ---- the timer */

/* Closes the connection if a command's time is over, else sleeps until the
 * next one's is. */
static void check_deadlines(struct shoal_redis *redis) {
    int64_t now = shoal_now_ms();
    int64_t next = INT64_MAX;
    struct pending *command;
    STAILQ_FOREACH(command, &redis->pending, link) {
        if (command->deadline <= now) {
            lose(redis, SHOAL_TIMEOUT, "%s did not answer in time; closed the connection",
                 redis->where);
            return;
        }
        if (command->deadline < next)
            next = command->deadline;
    }
    if (next < INT64_MAX)
        arm(redis, next);
}

static void ticked(SHOAL_UNUSED evutil_socket_t fd, SHOAL_UNUSED short what,
                   void *owner) {
    struct shoal_redis *redis = owner;
    redis->tick_at = INT64_MAX;
    switch (redis->state) {
    case DOWN:
        break;
    case WAITING:
        connect_now(redis);
        break;
    case CONNECTING:
    case GREETING:
        lose(redis, SHOAL_LOST, "%s did not answer within %" PRId64 " ms; %s",
             redis->where, redis->options.connect_timeout_ms,
             shoal_dial_advice(&redis->dial));
        break;
    case UP:
        check_deadlines(redis);
        break;
    case CLOSING:
        finish_closing(redis);
        break;
    }
}

static void wake(SHOAL_UNUSED evutil_socket_t fd, SHOAL_UNUSED short what,
                 SHOAL_UNUSED void *owner) {
}

/* ---- the connection as a whole */

static bool duplicate(const char *text, char **ret_text) {
    *ret_text = text == NULL ? NULL : strdup(text);
    return text == NULL || *ret_text != NULL;
}

static bool copy_address(const struct shoal_redis_address *from,
                         struct shoal_redis_address *to) {
    to->port = from->port;
    to->database = from->database;
    to->tls = from->tls;
    to->own_alone = from->own_alone;
    return duplicate(from->path, &to->path) && duplicate(from->host, &to->host) &&
           duplicate(from->user, &to->user) && duplicate(from->password, &to->password) &&
           shoal_tls_files_copy(&from->tls_files, &to->tls_files);
}

/* What Redis takes: no blanks, nothing that does not print. */
static bool client_name_is_valid(const char *name) {
    for (; *name != '\0'; name++)
        if (*name < '!' || *name > '~')
            return false;
    return true;
}

static bool make_parts(struct shoal_redis *redis,
                       const struct shoal_redis_address *address) {
    char where[WHERE_BYTES];
    shoal_redis_address_print(address, where, sizeof(where));
    redis->tick = evtimer_new(redis->base, ticked, redis);
    redis->guard = evtimer_new(redis->base, wake, NULL);
    redis->dial = (struct shoal_dial){
        .base = redis->base, .address = &redis->address, .done = dialled, .owner = redis};
    return redis->tick != NULL && redis->guard != NULL &&
           duplicate(where, &redis->where) && copy_address(address, &redis->address) &&
           duplicate(redis->options.client_name, &redis->client_name);
}

enum shoal_status shoal_redis_create(struct event_base *base,
                                     const struct shoal_redis_address *address,
                                     const struct shoal_redis_options *options,
                                     const struct shoal_redis_events *events,
                                     struct shoal_redis **ret_redis,
                                     struct shoal_error *err) {
    if (options->client_name != NULL && !client_name_is_valid(options->client_name))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' cannot name a connection: it has a blank or what does not print",
            options->client_name);
    struct shoal_redis *redis = calloc(1, sizeof(*redis));
    if (redis == NULL)
        return shoal_error_set(err, SHOAL_MEMORY,
                               "no memory left for a connection to Redis");
    redis->base = base;
    redis->options = *options;
    if (redis->options.connect_timeout_ms == 0)
        redis->options.connect_timeout_ms = CONNECT_MS;
    if (redis->options.command_timeout_ms == 0)
        redis->options.command_timeout_ms = COMMAND_MS;
    if (events != NULL)
        redis->events = *events;
    redis->tick_at = INT64_MAX;
    STAILQ_INIT(&redis->pending);
    if (!make_parts(redis, address)) {
        shoal_redis_destroy(redis);
        return shoal_error_set(err, SHOAL_MEMORY,
                               "no memory left for a connection to Redis");
    }
    *ret_redis = redis;
    return SHOAL_OK;
}

void shoal_redis_destroy(struct shoal_redis *redis) {
    if (redis == NULL)
        return;
    redis->state = CLOSING; /* so that nothing can be sent or started any more */
    close_all(redis);
    tell_pending(redis,
                 &(struct shoal_error){SHOAL_LOST, "the connection to Redis was closed"});
    if (redis->tick != NULL)
        event_free(redis->tick);
    if (redis->guard != NULL)
        event_free(redis->guard);
    shoal_redis_address_finish(&redis->address);
    free(redis->where);
    free(redis->client_name);
    free(redis);
}

void shoal_redis_start(struct shoal_redis *redis) {
    if (redis->state != DOWN)
        return;
    redis->tell_down = true;
    connect_now(redis);
}

void shoal_redis_drop(struct shoal_redis *redis, const char *why) {
    lose(redis, SHOAL_LOST, "%s", why);
}

bool shoal_redis_is_up(const struct shoal_redis *redis) {
    return redis->state == UP;
}

bool shoal_redis_flaps(const struct shoal_redis *redis) {
    return redis->flaps >= FLAPS_LEAST && !has_held(redis) &&
           shoal_now_ms() - redis->flapped_at < FLAPPED_MS;
}

bool shoal_redis_ends(const struct shoal_redis *redis, struct shoal_tls_ends *ret_ends) {
    bool is_there = redis->address.tls && redis->state == UP && redis->stream != NULL;
    if (is_there)
        shoal_tls_look(redis->stream, ret_ends);
    return is_there;
}

bool shoal_redis_cannot_load(const struct shoal_redis *redis) {
    return redis->cannot_load;
}

void shoal_redis_note_cannot_load(struct shoal_redis *redis) {
    redis->cannot_load = true;
}

char *shoal_redis_versions(struct shoal_redis *redis) {
    return redis->versions;
}

const char *shoal_redis_why(const struct shoal_redis *redis) {
    return redis->why.text;
}

bool shoal_redis_is_refused(const struct shoal_redis *redis) {
    return stays(redis->why.status);
}

struct event_base *shoal_redis_base(const struct shoal_redis *redis) {
    return redis->base;
}

/* ---- waiting for an answer */

struct wait {
    struct shoal_redis *redis;
    bool done;
    enum shoal_status status;
    redisReply *reply;
    struct shoal_error *err;
};

static void stop_waiting(void *owner, enum shoal_status status, const redisReply *reply,
                         const struct shoal_error *err) {
    struct wait *wait = owner;
    wait->done = true;
    wait->status = status;
    if (reply == NULL) {
        shoal_error_set(wait->err, status, "%s", err->text);
        return;
    }
    wait->reply = wait->redis->answering;
    wait->redis->answering = NULL; /* ours now */
}

/* Tries to connect, also before the backoff has passed: somebody is waiting. */
static void hurry(struct shoal_redis *redis) {
    if (redis->state == WAITING)
        connect_now(redis);
    else
        shoal_redis_start(redis);
}

static enum shoal_status wait_until_up(struct shoal_redis *redis, int64_t deadline,
                                       struct shoal_error *err) {
    if (redis->state == UP)
        return SHOAL_OK;
    unsigned failures = redis->failures;
    int64_t wait = deadline - shoal_now_ms();
    hurry(redis);
    if (wait > 0)
        event_add(redis->guard, &(struct timeval){.tv_sec = wait / 1000,
                                                  .tv_usec = wait % 1000 * 1000});
    while (redis->state != UP && shoal_now_ms() < deadline) {
        bool has_failed = redis->failures != failures;
        if (has_failed && (redis->refused || !redis->options.reconnect))
            break;
        if (event_base_loop(redis->base, EVLOOP_ONCE) != 0)
            break;
    }
    event_del(redis->guard);
    if (redis->state == UP)
        return SHOAL_OK;
    if (redis->failures != failures)
        return shoal_error_set(err, redis->why.status, "%s", redis->why.text);
    return shoal_error_set(err, SHOAL_LOST, "%s did not answer in time; %s", redis->where,
                           shoal_dial_advice(&redis->dial));
}

/* Everything sent has a deadline, so this ends. When the loop itself fails, no answer can
 * come. */
static void wait_until_done(struct shoal_redis *redis, const struct wait *wait) {
    while (!wait->done) {
        if (event_base_loop(redis->base, EVLOOP_ONCE) == 0)
            continue;
        lose(redis, SHOAL_SYSTEM, "the event loop failed: %s", strerror(errno));
        finish_closing(redis);
    }
}

/* *ret_again: it may be different in a moment. */
static enum shoal_status run_once(struct shoal_redis *redis, shoal_redis_sender send,
                                  const void *what, int64_t deadline, bool *ret_again,
                                  redisReply **ret_reply, struct shoal_error *err) {
    struct wait wait = {.redis = redis, .err = err};
    redis->unready = false;
    event_base_loop(redis->base,
                    EVLOOP_NONBLOCK); /* finds that the peer has closed meanwhile */
    enum shoal_status status = wait_until_up(redis, deadline, err);
    *ret_again = status == SHOAL_LOST && !redis->refused;
    if (status != SHOAL_OK)
        return status;
    int64_t left = deadline - shoal_now_ms();
    status = send(redis, what, left > 0 ? left : 1, stop_waiting, &wait, err);
    if (status != SHOAL_OK)
        return status;
    wait_until_done(redis, &wait);
    redis->unready = shoal_reply_passes(wait.reply);
    *ret_again = wait.status == SHOAL_LOST || redis->unready;
    if (wait.status == SHOAL_OK)
        wait.status = shoal_redis_status_of(wait.reply, err);
    if (wait.status == SHOAL_OK)
        *ret_reply = wait.reply;
    else if (wait.reply != NULL)
        freeReplyObject(wait.reply);
    return wait.status;
}

/* Before what was lost is sent again. */
static void take_breath(struct shoal_redis *redis) {
    shoal_loop_run(redis->base, REPEAT_MS);
}

enum shoal_status shoal_redis_run_with(struct shoal_redis *redis, shoal_redis_sender send,
                                       const void *what, int64_t timeout_ms,
                                       redisReply **ret_reply, struct shoal_error *err) {
    int64_t deadline = shoal_now_ms() + shoal_redis_timeout(redis, timeout_ms);
    for (;;) {
        struct shoal_error why = {.status = SHOAL_OK};
        bool again = false;
        enum shoal_status status =
            run_once(redis, send, what, deadline, &again, ret_reply, &why);
        if (status == SHOAL_OK)
            return SHOAL_OK;
        if (status == SHOAL_TIMEOUT || again)
            status = SHOAL_LOST; /* whose time is over is the caller's to say, and a Redis
                                    that is not ready is as good as away */
        if (!again || !redis->repeat || shoal_now_ms() >= deadline)
            return shoal_error_set(err, status, "%s", why.text);
        take_breath(redis);
    }
}

void shoal_redis_repeat(struct shoal_redis *redis, bool repeat) {
    redis->repeat = repeat;
}

bool shoal_redis_is_unready(const struct shoal_redis *redis) {
    return redis->unready;
}

static enum shoal_status send_request(struct shoal_redis *redis, const void *what,
                                      int64_t timeout_ms, shoal_redis_reply_fn done,
                                      void *owner, struct shoal_error *err) {
    return shoal_redis_send(redis, what, timeout_ms, done, owner, err);
}

enum shoal_status shoal_redis_run(struct shoal_redis *redis,
                                  const struct shoal_request *request, int64_t timeout_ms,
                                  redisReply **ret_reply, struct shoal_error *err) {
    return shoal_redis_run_with(redis, send_request, request, timeout_ms, ret_reply, err);
}
