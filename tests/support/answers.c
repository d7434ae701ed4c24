#include "tests/support/answers.h"

#include "common/cleanup.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char border[] = "\n--\n";

struct answers {
    struct event_base *base;
    struct evconnlistener *listener;
    struct bufferevent *guest; /* one at a time */
    redisReader *reader;       /* of commands */
    const char *at;
    const char *end;
    size_t asked;
    char socket[64];
    struct shoal_redis_address address;
};

static void hang_up(struct answers *answers) {
    if (answers->guest != NULL)
        bufferevent_free(answers->guest);
    answers->guest = NULL;
    if (answers->reader != NULL)
        redisReaderFree(answers->reader);
    answers->reader = NULL;
}

static void written(SHOAL_UNUSED struct bufferevent *stream, void *owner) {
    struct answers *answers = owner;
    if (answers->asked > 0 && answers->at == NULL)
        hang_up(answers);
}

/* Whether a whole reply is among the bytes; nothing is made of it. */
static bool is_whole(const char *bytes, size_t len) {
    void *reply = NULL;
    redisReader *reader = redisReaderCreateWithFunctions(NULL);
    assert(reader != NULL);
    redisReaderFeed(reader, bytes, len);
    int status = redisReaderGetReply(reader, &reply);
    redisReaderFree(reader);
    return status == REDIS_OK && reply != NULL;
}

/* Who has half a reply asks no more: it is the last then. */
static void say_next(struct answers *answers) {
    if (answers->at == NULL)
        return;
    size_t left = (size_t)(answers->end - answers->at);
    const char *stop = memmem(answers->at, left, border, sizeof(border) - 1);
    size_t len = stop == NULL ? left : (size_t)(stop - answers->at) + 1;
    bufferevent_write(answers->guest, answers->at, len);
    if (len == 0)
        bufferevent_trigger(answers->guest, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
    bool is_last = stop == NULL || !is_whole(answers->at, len);
    answers->at = is_last ? NULL : stop + sizeof(border) - 1;
}

static bool is_greeting(const redisReply *command) {
    static const char *const words[] = {"AUTH", "SELECT", "CLIENT", "ECHO"};
    const char *word = "";
    bool is_one = false;
    if (!shoal_reply_text(shoal_reply_at(command, 0), &word))
        return false;
    for (size_t i = 0; i < SHOAL_COUNT(words); i++)
        is_one = is_one || strcmp(word, words[i]) == 0;
    return is_one;
}

static void answer(struct answers *answers, const redisReply *command) {
    if (is_greeting(command) && answers->asked == 0) {
        bufferevent_write(answers->guest, "+OK\r\n", 5);
        return;
    }
    answers->asked++;
    say_next(answers);
}

static void asked(struct bufferevent *stream, void *owner) {
    struct answers *answers = owner;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t len = evbuffer_get_length(input);
    redisReaderFeed(answers->reader, (const char *)evbuffer_pullup(input, -1), len);
    evbuffer_drain(input, len);
    for (void *command = NULL;
         redisReaderGetReply(answers->reader, &command) == REDIS_OK && command != NULL;
         command = NULL) {
        answer(answers, command);
        freeReplyObject(command);
    }
}

static void gone(SHOAL_UNUSED struct bufferevent *stream, SHOAL_UNUSED short what,
                 void *owner) {
    hang_up(owner);
}

static void welcome(SHOAL_UNUSED struct evconnlistener *listener, evutil_socket_t fd,
                    SHOAL_UNUSED struct sockaddr *address, SHOAL_UNUSED int len,
                    void *owner) {
    struct answers *answers = owner;
    hang_up(answers);
    answers->reader = redisReaderCreate();
    answers->guest = bufferevent_socket_new(answers->base, fd, BEV_OPT_CLOSE_ON_FREE);
    assert(answers->guest != NULL && answers->reader != NULL);
    bufferevent_setcb(answers->guest, asked, written, gone, answers);
    bufferevent_enable(answers->guest, EV_READ | EV_WRITE);
}

struct answers *answers_create(struct event_base *base) {
    struct answers *answers = calloc(1, sizeof(*answers));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert(answers != NULL);
    signal(SIGPIPE, SIG_IGN);
    answers->base = base;
    snprintf(answers->socket, sizeof(answers->socket), "/tmp/shoal-answers-%d",
             (int)getpid());
    unlink(answers->socket);
    answers->address.path = answers->socket;
    memcpy(address.sun_path, answers->socket, sizeof(answers->socket));
    answers->listener = evconnlistener_new_bind(
        base, welcome, answers, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
        (struct sockaddr *)&address, (int)sizeof(address));
    assert(answers->listener != NULL);
    return answers;
}

void answers_destroy(struct answers *answers) {
    hang_up(answers);
    evconnlistener_free(answers->listener);
    unlink(answers->socket);
    free(answers);
}

void answers_set(struct answers *answers, const char *bytes, size_t len) {
    answers->at = bytes;
    answers->end = bytes + len;
    answers->asked = 0;
}

size_t answers_asked(const struct answers *answers) {
    return answers->asked;
}

bool answers_over(const struct answers *answers) {
    return answers->at == NULL && answers->guest == NULL;
}

const struct shoal_redis_address *answers_address(const struct answers *answers) {
    return &answers->address;
}

struct shoal_redis *answers_connect(struct answers *answers) {
    const struct shoal_redis_options options = {.reconnect = false};
    struct shoal_redis *redis = NULL;
    hang_up(answers); /* what the one before has still said gets none of the answers */
    assert(shoal_redis_create(answers->base, &answers->address, &options, NULL, &redis,
                              NULL) == SHOAL_OK);
    return redis;
}
