/* TLS between a connected socket and whoever reads and writes: 1.2 or later, the server's
 * certificate always checked against the authorities that are trusted and the name that
 * was asked for. There is no way around that.
 *
 * The files are read anew for each connection, so that what is renewed counts from the
 * next one on. */
#ifndef SHOAL_TLS_H
#define SHOAL_TLS_H

#include "common/error.h"

#include <event2/bufferevent.h>
#include <stdbool.h>
#include <stdint.h>

/* PEM files, and who may be NULL. */
struct shoal_tls_files {
    const char *ca;          /* the authorities to trust; NULL: the system's */
    const char *certificate; /* for a server that demands one; NULL: none */
    const char *key;         /* that belongs to it; only its owner may read it */
};

/* A copy of all three, which is the caller's. False: no memory; finish it as well. */
bool shoal_tls_files_copy(const struct shoal_tls_files *files,
                          struct shoal_tls_files *ret_files);
void shoal_tls_files_finish(struct shoal_tls_files *files);

/* Whether they can be read and fit each other. SHOAL_INVALID: the sentence says what to
 * do. */
SHOAL_MUST_CHECK
enum shoal_status shoal_tls_check(const struct shoal_tls_files *files,
                                  struct shoal_error *err);

/* A connection as TLS sees it; the caller's, for as long as its stream lives. */
struct shoal_tls_peer {
    const char *host;  /* that its certificate must be for */
    const char *where; /* the address for people */
    const struct shoal_tls_files *files;
};

/* Begins the handshake over a connected socket. The stream says BEV_EVENT_CONNECTED when
 * it is done, and closes `fd` when it is freed. SHOAL_INVALID: as shoal_tls_check(); `fd`
 * stays the caller's after any error. */
SHOAL_MUST_CHECK
enum shoal_status shoal_tls_begin(struct event_base *base, int fd,
                                  const struct shoal_tls_peer *peer,
                                  struct bufferevent **ret_stream,
                                  struct shoal_error *err);

/* Whether TLS knows why a stream ended with the event `what`; then `err` says it:
 * SHOAL_DENIED when it will not change by itself, else SHOAL_LOST. `is_new`: the server
 * has said nothing inside of TLS yet. */
bool shoal_tls_tells(struct bufferevent *stream, short what, bool is_new,
                     struct shoal_error *err);

/* When certificates of a connection expire, in ms since 1970; INT64_MAX: none. */
struct shoal_tls_ends {
    int64_t server_ms;
    int64_t authority_ms; /* the earliest of those above it */
    int64_t own_ms;       /* of the one that was given, shown or not */
};

/* Of one whose handshake is done. */
void shoal_tls_look(struct bufferevent *stream, struct shoal_tls_ends *ret_ends);

#endif
