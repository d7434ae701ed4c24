#include "tests/support/peer.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <check.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/un.h>
#include <unistd.h>

struct guest {
    LIST_ENTRY(guest) link;
    const struct peer_script *script; /* NULL: is treated well */
    struct bufferevent *stream;
    bool greeted;
    bool flooded;
};

struct peer {
    const struct peer_script *script;
    int times;
    int connections;
    struct evconnlistener *listener;
    LIST_HEAD(, guest) guests;
    char directory[64];
    char socket[96];
    char url[128];
    int port;
};

static void forget(struct guest *guest) {
    LIST_REMOVE(guest, link);
    bufferevent_free(guest->stream);
    free(guest);
}

static void say(struct guest *guest, const char *bytes, size_t len) {
    ck_assert_int_eq(bufferevent_write(guest->stream, bytes, len), 0);
}

/* Everything said has left: says it again, or hangs up. libevent calls it at the start as
 * well. */
static void written(SHOAL_UNUSED struct bufferevent *stream, void *owner) {
    struct guest *guest = owner;
    if (guest->flooded && guest->script->repeat)
        say(guest, guest->script->bytes, guest->script->len);
    else if (guest->greeted && guest->script != NULL && guest->script->close &&
             (guest->flooded || guest->script->greeting != NULL))
        forget(guest);
}

static void greet(struct guest *guest) {
    const char *greeting = "$5\r\nshoal\r\n";
    if (guest->script != NULL && guest->script->greeting != NULL)
        greeting = guest->script->greeting;
    guest->greeted = true;
    say(guest, greeting, strlen(greeting));
    if (*greeting == '\0' && guest->script->close)
        forget(guest);
}

static void asked(struct bufferevent *stream, void *owner) {
    struct guest *guest = owner;
    struct evbuffer *input = bufferevent_get_input(stream);
    evbuffer_drain(input, evbuffer_get_length(input));
    if (!guest->greeted) {
        greet(guest);
    } else if (guest->script == NULL || guest->script->bytes == NULL) {
        say(guest, "+PONG\r\n", 7);
    } else {
        guest->flooded = true;
        say(guest, guest->script->bytes, guest->script->len);
    }
}

static void gone(SHOAL_UNUSED struct bufferevent *stream, SHOAL_UNUSED short what,
                 void *owner) {
    forget(owner);
}

static void welcome(struct evconnlistener *listener, evutil_socket_t fd,
                    SHOAL_UNUSED struct sockaddr *address, SHOAL_UNUSED int len,
                    void *owner) {
    struct peer *peer = owner;
    struct guest *guest = calloc(1, sizeof(*guest));
    ck_assert_ptr_nonnull(guest);
    guest->script = peer->connections++ < peer->times ? peer->script : NULL;
    guest->stream = bufferevent_socket_new(evconnlistener_get_base(listener), fd,
                                           BEV_OPT_CLOSE_ON_FREE);
    ck_assert_ptr_nonnull(guest->stream);
    LIST_INSERT_HEAD(&peer->guests, guest, link);
    bufferevent_setcb(guest->stream, asked, written, gone, guest);
    bufferevent_enable(guest->stream, EV_READ | EV_WRITE);
}

static void listen_on(struct peer *peer, struct event_base *base, const void *address,
                      size_t len) {
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC;
    peer->listener =
        evconnlistener_new_bind(base, welcome, peer, flags, -1, address, (int)len);
    ck_assert_ptr_nonnull(peer->listener);
}

static void listen_on_path(struct peer *peer, struct event_base *base) {
    strcpy(peer->directory, "/tmp/shoal-test-peer-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(peer->directory));
    snprintf(peer->socket, sizeof(peer->socket), "%s/socket", peer->directory);
    snprintf(peer->url, sizeof(peer->url), "unix:%s", peer->socket);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, peer->socket, sizeof(peer->socket));
    listen_on(peer, base, &address, sizeof(address));
}

static void listen_on_port(struct peer *peer, struct event_base *base) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listen_on(peer, base, &address, sizeof(address));
    socklen_t len = sizeof(address);
    int fd = evconnlistener_get_fd(peer->listener);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    peer->port = ntohs(address.sin_port);
    snprintf(peer->url, sizeof(peer->url), "redis://127.0.0.1:%d", peer->port);
}

struct peer *peer_create(struct event_base *base, bool tcp,
                         const struct peer_script *script, int times) {
    signal(SIGPIPE, SIG_IGN);
    struct peer *peer = calloc(1, sizeof(*peer));
    ck_assert_ptr_nonnull(peer);
    peer->script = script;
    peer->times = times;
    LIST_INIT(&peer->guests);
    if (tcp)
        listen_on_port(peer, base);
    else
        listen_on_path(peer, base);
    return peer;
}

void peer_destroy(struct peer *peer) {
    evconnlistener_free(peer->listener);
    while (!LIST_EMPTY(&peer->guests))
        forget(LIST_FIRST(&peer->guests));
    if (peer->directory[0] != '\0') {
        unlink(peer->socket);
        rmdir(peer->directory);
    }
    free(peer);
}

const char *peer_url(const struct peer *peer) {
    return peer->url;
}

int peer_port(const struct peer *peer) {
    return peer->port;
}

int peer_connections(const struct peer *peer) {
    return peer->connections;
}
