/* A stream of bytes to an address: the host is looked up, what was found is tried one by
 * one. With TLS there is a handshake over the first that connects, and no other is tried
 * when that fails. */
#ifndef SHOAL_DIAL_H
#define SHOAL_DIAL_H

#include "common/redis.h"

#include <event2/bufferevent.h>
#include <event2/util.h>
#include <sys/un.h>

/* `stream` is connected, writes, does not read yet and is the owner's; or it is NULL, and
 * err says why: SHOAL_LOST, or what will not change by itself. May be called from within
 * shoal_dial_start(), but only with an error then. */
typedef void (*shoal_dialled_fn)(void *owner, struct bufferevent *stream,
                                 const struct shoal_error *err);

struct shoal_dial {
    struct event_base *base;
    const struct shoal_redis_address *address; /* the caller's, as is */
    const char *where;                         /* the address for people */
    shoal_dialled_fn done;
    void *owner;

    struct lookup *lookup;             /* at work */
    struct evdns_base *resolver;       /* of the last lookup */
    struct evutil_addrinfo *addresses; /* what it found */
    struct evutil_addrinfo *candidate; /* the one being tried */
    struct evutil_addrinfo local;      /* the same for a unix socket */
    struct sockaddr_un local_address;
    struct bufferevent *stream; /* that connects */
    struct shoal_tls_peer peer; /* of a stream that is connected and begins TLS; else its
                                   fields are NULL */
};

/* Begins with the first five fields set and the others zero,
 * or after shoal_dial_stop(). */
void shoal_dial_start(struct shoal_dial *dial);

/* What to look at when it takes too long: "can it be reached?" */
const char *shoal_dial_advice(const struct shoal_dial *dial);

/* Gives up, if it is at work, without calling `done`; frees what it holds. */
void shoal_dial_stop(struct shoal_dial *dial);

#endif
