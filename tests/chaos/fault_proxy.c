/* Stands between shoal and Redis, a unix socket in front of a unix socket, and does to
 * the traffic what it is told:
 *
 *     fault_proxy SOCKET REDIS_SOCKET SEED
 *
 * It takes commands from stdin, a line each, answers each with a line, and ends with it:
 *
 *     rate FAULT SHARE [PATTERN]     that share of the calls gets the fault (faults.h)
 *     blackhole up|down|both         nothing passes in that direction, and nobody is told
 *     throttle BYTES                 so many a second and connection; 0: as they come
 *     reset                          all connections end now
 *     heal                           no more faults, holes and throttles
 *     counts                         what was called and what was done to it, as JSON
 *
 * What a blackhole holds back passes when it is healed, also what somebody sent who has
 * left: so does a network that was cut. */
#include "common/cleanup.h"
#include "tests/chaos/faults.h"
#include "tests/chaos/frame.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    NAME_LEN = 64,
    DELAY_MOST_MS = 800,
    FLOOD_REPLIES = 200000,
    TICK_MS = 20, /* of the throttle */
};

/* A request that waits for its reply. */
struct pending {
    struct fate fate;
    STAILQ_ENTRY(pending) entry;
};

/* A connection of shoal and the one to Redis that belongs to it. */
struct link {
    struct bufferevent *client; /* NULL: it has left */
    struct bufferevent *server;
    struct frame request;
    struct frame reply;
    char who[16]; /* "worker", "client", "broker"; at first nobody knows */
    STAILQ_HEAD(, pending) pending;
    struct event *delay; /* pending: a reply is held back */
    bool deaf;           /* requests are thrown away */
    bool delayed;        /* the reply in front has had its delay */
    bool ending;
    LIST_ENTRY(link) entry;
};

static struct event_base *base;
static struct faults *faults;
static struct ev_token_bucket_cfg *bucket; /* NULL: no throttle */
static bool hole_up, hole_down;
static const char *redis_path;
static LIST_HEAD(, link) links = LIST_HEAD_INITIALIZER(links);

static void set_address(struct sockaddr_un *address, const char *path) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
}

/* ---- the end of a connection */

static void destroy(struct link *link) {
    struct pending *pending;
    while ((pending = STAILQ_FIRST(&link->pending)) != NULL) {
        STAILQ_REMOVE_HEAD(&link->pending, entry);
        free(pending);
    }
    if (link->client != NULL)
        bufferevent_free(link->client);
    if (link->server != NULL)
        bufferevent_free(link->server);
    event_free(link->delay);
    LIST_REMOVE(link, entry);
    free(link);
}

static void sent_all(struct bufferevent *side, void *owner) {
    (void)side;
    destroy(owner);
}

static void ended(struct bufferevent *side, short what, void *owner) {
    (void)side;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        destroy(owner);
}

/* Ends the link when this side has got what is on the way to it. */
static void finish_with(struct link *link, struct bufferevent *side) {
    if (evbuffer_get_length(bufferevent_get_output(side)) == 0) {
        destroy(link);
        return;
    }
    link->ending = true;
    bufferevent_disable(side, EV_READ);
    bufferevent_setcb(side, NULL, sent_all, ended, link);
    struct bufferevent *other = side == link->client ? link->server : link->client;
    if (other != NULL)
        bufferevent_disable(other, EV_READ | EV_WRITE);
}

/* ---- requests */

/* The n-th word of a request, cut off where it is too long. */
static void word_of(const char *bytes, size_t len, int n, char *word) {
    const char *at = bytes, *end = bytes + len;
    *word = '\0';
    for (int i = -1; i <= n && at < end; i++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL)
            return;
        size_t size = (size_t)strtoul(at + 1, NULL, 10);
        at = line_end + 1;
        if (i < 0)
            continue; /* how many words there are */
        if (i == n)
            snprintf(word, NAME_LEN, "%.*s", (int)(size < NAME_LEN ? size : NAME_LEN),
                     at);
        at += size + 2;
    }
}

/* Who calls is known from the name that it gives its connection. */
static void recognise(struct link *link, const char *name) {
    static const char *const kinds[][2] = {
        {"shoal-worker", "worker"}, {"shoal-broker", "broker"}, {"shoal", "client"}};
    for (size_t i = 0; i < SHOAL_COUNT(kinds); i++) {
        if (strncmp(name, kinds[i][0], strlen(kinds[i][0])) == 0) {
            snprintf(link->who, sizeof(link->who), "%s", kinds[i][1]);
            return;
        }
    }
}

static void name_of(struct link *link, const char *bytes, size_t len, char *name) {
    char first[NAME_LEN], second[NAME_LEN];
    word_of(bytes, len, 0, first);
    word_of(bytes, len, 1, second);
    if (strcasecmp(first, "CLIENT") == 0 && strcasecmp(second, "SETNAME") == 0) {
        word_of(bytes, len, 2, second);
        recognise(link, second);
    }
    const char *what = strncasecmp(first, "FCALL", 5) == 0 ? second : first;
    int until = (int)strcspn(what, "_"); /* behind it is the version of the scripts */
    snprintf(name, NAME_LEN, "%s/%.*s", link->who, until > 30 ? 30 : until, what);
    for (char *at = name; *at != '\0'; at++)
        *at = isalnum((unsigned char)*at) || *at == '/' ? (char)tolower(*at) : '?';
}

static bool remember(struct link *link, struct fate fate) {
    struct pending *pending = calloc(1, sizeof(*pending));
    if (pending == NULL)
        return false;
    pending->fate = fate;
    STAILQ_INSERT_TAIL(&link->pending, pending, entry);
    return true;
}

/* Passes one request on. Returns false when the link is no more, or ends. */
static bool pass_request(struct link *link, size_t len) {
    struct evbuffer *from = bufferevent_get_input(link->client);
    struct evbuffer *to = bufferevent_get_output(link->server);
    char name[NAME_LEN];
    name_of(link, (const char *)evbuffer_pullup(from, (ev_ssize_t)len), len, name);
    struct fate fate = faults_next(faults, name);
    if (link->deaf || fate.fault == FAULT_DEAF) {
        link->deaf = true;
        evbuffer_drain(from, len);
        return true;
    }
    if (fate.fault == FAULT_PART)
        len = 1 + fate.chance % (len - 1);
    if (fate.fault == FAULT_LOSE || !remember(link, fate)) {
        destroy(link);
        return false;
    }
    evbuffer_remove_buffer(from, to, len);
    if (fate.fault == FAULT_PART)
        finish_with(link, link->server);
    return fate.fault != FAULT_PART;
}

static void requests_come(struct bufferevent *side, void *owner) {
    struct link *link = owner;
    struct evbuffer *from = bufferevent_get_input(side);
    while (!hole_up) {
        size_t len = 0, there = evbuffer_get_length(from);
        const char *bytes = (const char *)evbuffer_pullup(from, -1);
        switch (frame_look(&link->request, bytes, there, &len)) {
        case FRAME_PARTIAL:
            return;
        case FRAME_GARBAGE:
            destroy(link);
            return;
        case FRAME_WHOLE:
            if (!pass_request(link, len))
                return;
        }
    }
}

/* ---- replies */

/* None of these is an answer that a call could have got. */
static const struct {
    const char *bytes;
    int times;
} garbage[] = {
    {"\x00\xff garbage \r\n", 1},
    {"$536870912\r\nthis will never be all", 1},
    {"$99999999999999999999\r\n", 1},
    {"*1000000000\r\n", 1},
    {"*1\r\n", 100000}, /* nests */
    {"$-5\r\n", 1},
    {"*-7\r\n", 1},
    {":\r\n", 1},
    {":9x\r\n", 1},
    {"-GARBAGE \xff\xfe <b>\x1b[31m%s%n\r\n", 1},
    {"no end ", 20000},
    {"$3\r\nfoobar\r\n", 1},
};

static void add_garbage(struct evbuffer *to, uint64_t chance) {
    size_t i = chance % SHOAL_COUNT(garbage);
    size_t len = i == 0 ? 14 : strlen(garbage[i].bytes); /* the first has a NUL */
    for (int n = 0; n < garbage[i].times; n++)
        evbuffer_add(to, garbage[i].bytes, len);
}

static void hold_back(struct link *link, uint64_t chance) {
    long ms = 1 + (long)(chance % DELAY_MOST_MS);
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(link->delay, &tv);
}

/* Passes a reply on in the way that its fate wants. Returns false when it was the last.
 */
static bool pass_reply(struct link *link, struct fate fate, size_t len) {
    struct evbuffer *from = bufferevent_get_input(link->server);
    struct evbuffer *to = bufferevent_get_output(link->client);
    switch (fate.fault) {
    case FAULT_CUT:
        destroy(link);
        return false;
    case FAULT_HALF:
        evbuffer_remove_buffer(from, to, 1 + fate.chance % (len - 1));
        finish_with(link, link->client);
        return false;
    case FAULT_GARBLE:
        evbuffer_drain(from, len);
        add_garbage(to, fate.chance);
        return true;
    case FAULT_FLOOD:
        evbuffer_remove_buffer(from, to, len);
        for (int i = 0; i < FLOOD_REPLIES; i++)
            evbuffer_add(to, "+OK\r\n", 5);
        return true;
    default:
        evbuffer_remove_buffer(from, to, len);
        return true;
    }
}

/* Takes the reply in front. Returns false when there is nothing more to do for now. */
static bool take_reply(struct link *link, size_t len) {
    struct pending *pending = STAILQ_FIRST(&link->pending);
    struct fate fate = {.fault = FAULT_NONE};
    if (pending != NULL) {
        fate = pending->fate;
        if (fate.fault == FAULT_DELAY && !link->delayed) {
            hold_back(link, fate.chance);
            return false;
        }
        STAILQ_REMOVE_HEAD(&link->pending, entry);
        free(pending);
    }
    link->delayed = false;
    return pass_reply(link, fate, len);
}

static void replies_come(struct bufferevent *side, void *owner) {
    struct link *link = owner;
    struct evbuffer *from = bufferevent_get_input(side);
    while (!hole_down && !event_pending(link->delay, EV_TIMEOUT, NULL)) {
        size_t len = 0, there = evbuffer_get_length(from);
        const char *bytes = (const char *)evbuffer_pullup(from, -1);
        switch (frame_look(&link->reply, bytes, there, &len)) {
        case FRAME_PARTIAL:
            return;
        case FRAME_GARBAGE:
            fprintf(stderr, "fault_proxy: Redis itself says what is no RESP2\n");
            destroy(link);
            return;
        case FRAME_WHOLE:
            if (!take_reply(link, len))
                return; /* the link is no more, or holds it back */
        }
    }
}

static void delay_over(evutil_socket_t fd, short what, void *owner) {
    struct link *link = owner;
    (void)fd;
    (void)what;
    link->delayed = true;
    replies_come(link->server, link);
}

/* ---- connections */

static void client_ended(struct bufferevent *side, short what, void *owner) {
    struct link *link = owner;
    (void)side;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        finish_with(link, link->server);
}

static void server_ended(struct bufferevent *side, short what, void *owner) {
    struct link *link = owner;
    (void)side;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        finish_with(link, link->client);
}

static void set_reading(struct bufferevent *side, bool on) {
    if (on)
        bufferevent_enable(side, EV_READ);
    else
        bufferevent_disable(side, EV_READ);
}

static void apply(struct link *link) {
    bufferevent_set_rate_limit(link->client, bucket); /* the last one is freed */
    bufferevent_set_rate_limit(link->server, bucket);
    if (link->ending)
        return;
    set_reading(link->client, !hole_up);
    set_reading(link->server, !hole_down);
}

static struct bufferevent *make_side(int fd) {
    return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd,
                     struct sockaddr *from, int len, void *owner) {
    struct link *link = calloc(1, sizeof(*link));
    struct sockaddr_un address;
    (void)listener;
    (void)from;
    (void)len;
    (void)owner;
    if (link == NULL)
        exit(1);
    set_address(&address, redis_path);
    STAILQ_INIT(&link->pending);
    snprintf(link->who, sizeof(link->who), "new");
    link->delay = evtimer_new(base, delay_over, link);
    link->client = make_side(fd);
    link->server = make_side(-1);
    if (link->delay == NULL || link->client == NULL || link->server == NULL)
        exit(1);
    LIST_INSERT_HEAD(&links, link, entry);
    bufferevent_setcb(link->client, requests_come, NULL, client_ended, link);
    bufferevent_setcb(link->server, replies_come, NULL, server_ended, link);
    if (bufferevent_socket_connect(link->server, (struct sockaddr *)&address,
                                   sizeof(address)) != 0) {
        destroy(link);
        return;
    }
    apply(link);
}

/* ---- commands */

static struct link *next_of(struct link *link) {
    return LIST_NEXT(link, entry);
}

static void apply_to_all(void) {
    for (struct link *link = LIST_FIRST(&links), *next; link != NULL; link = next) {
        next = next_of(link);
        apply(link);
    }
}

/* What the holes held back. A link that ends on the way is not looked at again. */
static void pump_all(void) {
    for (struct link *link = LIST_FIRST(&links), *next; link != NULL; link = next) {
        next = next_of(link);
        bufferevent_trigger(link->client, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
        bufferevent_trigger(link->server, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
    }
}

static bool set_rate(char *words) {
    char fault[16], pattern[NAME_LEN] = "*";
    double share = 0;
    return sscanf(words, "%15s %lf %63s", fault, &share, pattern) >= 2 && share >= 0 &&
           share <= 1 && faults_set(faults, fault, share, pattern);
}

static bool set_hole(char *words) {
    bool both = strcmp(words, "both") == 0;
    if (!both && strcmp(words, "up") != 0 && strcmp(words, "down") != 0)
        return false;
    hole_up = hole_up || both || strcmp(words, "up") == 0;
    hole_down = hole_down || both || strcmp(words, "down") == 0;
    apply_to_all();
    return true;
}

static bool set_throttle(char *words) {
    const struct timeval tick = {.tv_usec = TICK_MS * 1000L};
    size_t bytes = (size_t)strtoul(words, NULL, 10) * TICK_MS / 1000;
    struct ev_token_bucket_cfg *before = bucket;
    bucket =
        bytes == 0 ? NULL : ev_token_bucket_cfg_new(bytes, bytes, bytes, bytes, &tick);
    apply_to_all();
    if (before != NULL)
        ev_token_bucket_cfg_free(before);
    return true;
}

static bool reset_all(char *words) {
    (void)words;
    while (!LIST_EMPTY(&links))
        destroy(LIST_FIRST(&links));
    return true;
}

static bool heal(char *words) {
    (void)words;
    faults_clear(faults);
    hole_up = hole_down = false;
    set_throttle("0");
    pump_all();
    return true;
}

static bool counts(char *words) {
    (void)words;
    faults_print(faults, stdout);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(char *words);
    bool answers; /* by itself */
} commands[] = {
    {"blackhole", set_hole, false}, {"counts", counts, true},
    {"heal", heal, false},          {"rate", set_rate, false},
    {"reset", reset_all, false},    {"throttle", set_throttle, false},
};

static void obey(char *line) {
    char *words = line;
    const char *name = strsep(&words, " ");
    for (size_t i = 0; i < SHOAL_COUNT(commands); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        bool good = commands[i].run(words == NULL ? line + strlen(line) : words);
        if (!commands[i].answers || !good)
            puts(good ? "ok" : "error: that makes no sense");
        return;
    }
    puts("error: there is no such command");
}

static void commands_come(struct bufferevent *in, void *owner) {
    char *line;
    (void)owner;
    while ((line = evbuffer_readln(bufferevent_get_input(in), NULL, EVBUFFER_EOL_LF)) !=
           NULL) {
        obey(line);
        free(line);
    }
    fflush(stdout);
}

static void commands_end(struct bufferevent *in, short what, void *owner) {
    (void)in;
    (void)what;
    (void)owner;
    event_base_loopbreak(base);
}

int main(int argc, char **argv) {
    struct sockaddr_un address;
    if (argc != 4) {
        fprintf(stderr, "usage: fault_proxy SOCKET REDIS_SOCKET SEED\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    faults = faults_create(strtoull(argv[3], NULL, 10));
    redis_path = argv[2];
    set_address(&address, argv[1]);
    struct evconnlistener *listener = evconnlistener_new_bind(
        base, accepted, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 1024,
        (struct sockaddr *)&address, sizeof(address));
    struct bufferevent *in = bufferevent_socket_new(base, STDIN_FILENO, 0);
    if (listener == NULL || in == NULL || faults == NULL) {
        perror("fault_proxy");
        return 1;
    }
    bufferevent_setcb(in, commands_come, NULL, commands_end, NULL);
    bufferevent_enable(in, EV_READ);
    event_base_dispatch(base);
    reset_all(NULL);
    bufferevent_free(in);
    evconnlistener_free(listener);
    faults_destroy(faults);
    event_base_free(base);
    return 0;
}
