#include "common/dial.h"

#include "common/cleanup.h"

#include <errno.h>
#include <event2/dns.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEEPALIVE_S = 15 };

/* A host being looked up. It lives until libevent calls back, be it after its dial. */
struct lookup {
    struct shoal_dial *dial; /* NULL: nobody waits for it any more */
    struct evdns_base *resolver;
    struct evdns_getaddrinfo_request *request;
};

SHOAL_PRINTF(3, 4)
static void fail(struct shoal_dial *dial, enum shoal_status status, const char *format,
                 ...) {
    struct shoal_error err = {.status = status};
    va_list args;
    va_start(args, format);
    vsnprintf(err.text, sizeof(err.text), format, args);
    va_end(args);
    dial->done(dial->owner, NULL, &err);
}

/* ---- one address */

/* Commands are not held back to fill packets, and a peer that is gone without a word is
 * found. */
static void tune(int fd) {
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S / 3},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
    };
    for (size_t i = 0; i < SHOAL_COUNT(options); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static void close_stream(struct shoal_dial *dial) {
    if (dial->stream != NULL)
        bufferevent_free(dial->stream);
    dial->stream = NULL;
}

/* ---- TLS */

static void give_stream(struct shoal_dial *dial) {
    struct bufferevent *stream = dial->stream;
    dial->stream = NULL; /* the owner's now */
    dial->done(dial->owner, stream, NULL);
}

static void handshake_event(struct bufferevent *stream, short what, void *owner) {
    int reason = EVUTIL_SOCKET_ERROR();
    struct shoal_dial *dial = owner;
    struct shoal_error err = {.status = SHOAL_OK};
    if (what & BEV_EVENT_CONNECTED) {
        give_stream(dial);
        return;
    }
    if (!shoal_tls_tells(stream, what, true, &err))
        shoal_error_set(&err, SHOAL_LOST, "the connection to %s broke: %s", dial->where,
                        strerror(reason));
    close_stream(dial);
    dial->done(dial->owner, NULL, &err);
}

/* Takes the socket from the stream that has connected it. */
static int take_socket(struct shoal_dial *dial) {
    int fd = bufferevent_getfd(dial->stream);
    bufferevent_setfd(dial->stream, -1);
    close_stream(dial);
    return fd;
}

static void begin_tls(struct shoal_dial *dial) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = take_socket(dial);
    struct shoal_error err = {.status = SHOAL_OK};
    dial->peer = (struct shoal_tls_peer){.host = dial->address->host,
                                         .where = dial->where,
                                         .files = &dial->address->tls_files};
    if (shoal_tls_begin(dial->base, fd, &dial->peer, &dial->stream, &err) != SHOAL_OK) {
        dial->done(dial->owner, NULL, &err);
        return;
    }
    fd = -1; /* the stream's now */
    bufferevent_setcb(dial->stream, NULL, NULL, handshake_event, dial);
}

const char *shoal_dial_advice(const struct shoal_dial *dial) {
    if (dial->lookup != NULL)
        return "check its name and the DNS";
    bool shakes_hands = dial->stream != NULL && dial->peer.host != NULL;
    return shakes_hands ? "does it speak TLS on that port?" : "can it be reached?";
}

/* ---- whose it is */

/* Where a socket was this user's, another may have put one since: in /tmp, say, while
 * Redis was down. The kernel tells who began to listen. */
static bool is_own(struct shoal_dial *dial) {
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof(peer);
    int fd = bufferevent_getfd(dial->stream);
    if (!dial->address->own_alone ||
        (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
         (peer.uid == geteuid() || peer.uid == 0)))
        return true;
    close_stream(dial);
    fail(dial, SHOAL_DENIED,
         "what answers at %s is another user's (%u) and not your Redis, whose jobs need "
         "no signature; put its socket into a folder where nobody else can write",
         dial->where, (unsigned)peer.uid);
    return false;
}

/* ---- one address after the other */

static void try_addresses(struct shoal_dial *dial, int reason);

static void stream_event(SHOAL_UNUSED struct bufferevent *stream, short what,
                         void *owner) {
    int reason = EVUTIL_SOCKET_ERROR();
    struct shoal_dial *dial = owner;
    if (what & BEV_EVENT_CONNECTED) {
        if (dial->address->tls)
            begin_tls(dial);
        else if (is_own(dial))
            give_stream(dial);
        return;
    }
    close_stream(dial);
    dial->candidate = dial->candidate->ai_next;
    try_addresses(dial, reason);
}

/* Begins to connect to one address; the reason why not, or 0. libevent would open the
 * socket itself, but one that programs started by us inherit. */
static int open_stream(struct shoal_dial *dial, const struct evutil_addrinfo *address) {
    int kind = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = socket(address->ai_family, kind, 0);
    if (fd < 0)
        return errno;
    if (address->ai_family != AF_UNIX)
        tune(fd);
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)
        return errno;
    dial->stream = bufferevent_socket_new(dial->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (dial->stream == NULL)
        return ENOMEM;
    fd = -1; /* the stream's now */
    bufferevent_setcb(dial->stream, NULL, NULL, stream_event, dial);
    if (bufferevent_socket_connect(dial->stream, NULL, 0) == 0)
        return 0;
    close_stream(dial);
    return ENOMEM;
}

static void try_addresses(struct shoal_dial *dial, int reason) {
    for (; dial->candidate != NULL; dial->candidate = dial->candidate->ai_next) {
        reason = open_stream(dial, dial->candidate);
        if (reason == 0)
            return;
    }
    fail(dial, SHOAL_LOST, "cannot connect to %s: %s; is redis-server running there?",
         dial->where, strerror(reason));
}

static void try_path(struct shoal_dial *dial) {
    dial->local_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(dial->local_address.sun_path, dial->address->path,
           strlen(dial->address->path));
    dial->local =
        (struct evutil_addrinfo){.ai_family = AF_UNIX,
                                 .ai_addr = (struct sockaddr *)&dial->local_address,
                                 .ai_addrlen = sizeof(dial->local_address)};
    dial->candidate = &dial->local;
    try_addresses(dial, 0);
}

/* ---- finding addresses */

static void looked_up(int result, struct evutil_addrinfo *addresses, void *owner) {
    struct lookup *lookup = owner;
    struct shoal_dial *dial = lookup->dial;
    if (dial == NULL) {
        evdns_base_free(lookup->resolver, 0);
        free(lookup);
        if (addresses != NULL)
            evutil_freeaddrinfo(addresses);
        return;
    }
    dial->resolver = lookup->resolver; /* is still at work around this call */
    dial->lookup = NULL;
    free(lookup);
    dial->addresses = addresses;
    dial->candidate = addresses;
    if (result == 0)
        try_addresses(dial, 0);
    else
        fail(dial, SHOAL_LOST,
             "cannot find the host of %s: %s; check its name and the DNS", dial->where,
             evutil_gai_strerror(result));
}

/* A resolver that asks /etc/hosts, then the name servers of the moment. */
static struct evdns_base *make_resolver(struct event_base *base) {
    struct evdns_base *resolver = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (resolver != NULL)
        evdns_base_resolv_conf_parse(resolver, DNS_OPTIONS_ALL, "/etc/resolv.conf");
    return resolver;
}

static void look_up(struct shoal_dial *dial, const char *port,
                    const struct evutil_addrinfo *hints) {
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    struct evdns_base *resolver = lookup == NULL ? NULL : make_resolver(dial->base);
    if (resolver == NULL) {
        free(lookup);
        fail(dial, SHOAL_MEMORY, "no memory left to find the host of %s", dial->where);
        return;
    }
    lookup->dial = dial;
    lookup->resolver = resolver;
    dial->lookup = lookup;
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(resolver, dial->address->host, port, hints, looked_up, lookup);
    if (dial->lookup != NULL) /* else it has called back already */
        lookup->request = request;
}

static void find_host(struct shoal_dial *dial) {
    char port[8];
    snprintf(port, sizeof(port), "%u", (unsigned)dial->address->port);
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_protocol = IPPROTO_TCP,
                                    .ai_flags =
                                        EVUTIL_AI_NUMERICHOST | EVUTIL_AI_NUMERICSERV};
    if (evutil_getaddrinfo(dial->address->host, port, &hints, &dial->addresses) == 0) {
        dial->candidate = dial->addresses;
        try_addresses(dial, 0);
        return;
    }
    dial->addresses = NULL;
    hints.ai_flags = EVUTIL_AI_ADDRCONFIG;
    look_up(dial, port, &hints);
}

void shoal_dial_start(struct shoal_dial *dial) {
    dial->peer = (struct shoal_tls_peer){.host = NULL};
    if (dial->address->path != NULL)
        try_path(dial);
    else
        find_host(dial);
}

/* A resolver that is at work cannot be freed, but it can be told to stop and then calls
 * back. */
static void abandon_lookup(struct shoal_dial *dial) {
    if (dial->lookup == NULL)
        return;
    dial->lookup->dial = NULL;
    evdns_getaddrinfo_cancel(dial->lookup->request);
    dial->lookup = NULL;
}

void shoal_dial_stop(struct shoal_dial *dial) {
    abandon_lookup(dial);
    close_stream(dial);
    if (dial->resolver != NULL)
        evdns_base_free(dial->resolver, 0);
    dial->resolver = NULL;
    if (dial->addresses != NULL)
        evutil_freeaddrinfo(dial->addresses);
    dial->addresses = NULL;
    dial->candidate = NULL;
}
