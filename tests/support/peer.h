/* Something that listens where Redis should and says what a test wants, on the test's own
 * loop. */
#ifndef SHOAL_TEST_PEER_H
#define SHOAL_TEST_PEER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

/* What a peer answers instead of Redis. */
struct peer_script {
    const char *greeting; /* to what comes first; NULL: what shoal wants to hear */
    const char *bytes;    /* to what comes next; NULL: "+PONG" */
    size_t len;
    bool repeat; /* the bytes, for ever */
    bool close;  /* the connection, after the bytes or a greeting of its own */
};

struct peer;

/* Listens on a unix socket, or on a free port of 127.0.0.1, and follows `script` for the
 * first `times` connections; later ones are answered as Redis would. `script` stays the
 * caller's. */
struct peer *peer_create(struct event_base *base, bool tcp,
                         const struct peer_script *script, int times);
void peer_destroy(struct peer *peer);

const char *
peer_url(const struct peer *peer); /* "unix:PATH" or "redis://127.0.0.1:PORT" */
int peer_port(const struct peer *peer);
int peer_connections(const struct peer *peer); /* so far */

#endif
