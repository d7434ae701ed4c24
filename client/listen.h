/* Where a cluster listens for others, from what people write: "ADDRESS[:PORT]". */
#ifndef SHOAL_LISTEN_H
#define SHOAL_LISTEN_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SHOAL_LISTEN_PORT = 6380,
    SHOAL_LISTEN_HOST = 254, /* room for a DNS name */
    SHOAL_LISTEN_BINDS = 4,
    SHOAL_LISTEN_NAMES = 1024,
};

struct shoal_listen {
    char asked[SHOAL_LISTEN_HOST];      /* an address or a name, as it was said */
    int port;                           /* 0: any that is free; -1: none was said */
    int before;                         /* for port 0: the one to have again; 0: none */
    char host[SHOAL_LISTEN_HOST];       /* by which others reach it */
    char binds[SHOAL_LISTEN_BINDS][64]; /* numeric addresses of this host */
    size_t n;
    bool is_loopback; /* nobody else reaches it */
};

/* Takes the text apart. SHOAL_INVALID: it makes no sense. */
SHOAL_MUST_CHECK
enum shoal_status shoal_listen_parse(const char *text, struct shoal_listen *ret_listen,
                                     struct shoal_error *err);

/* Finds `host`, `binds` and a port that is free, of what parse() has found and `before`.
 * SHOAL_INVALID: that is no address of this host, others cannot reach it, or the port is
 * taken. */
SHOAL_MUST_CHECK
enum shoal_status shoal_listen_find(struct shoal_listen *listen, struct shoal_error *err);

/* Whether one can still listen there: SHOAL_INVALID, as find(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_listen_check(const struct shoal_listen *listen,
                                     struct shoal_error *err);

/* What a certificate for it names: "IP:192.0.2.1,DNS:desk". */
void shoal_listen_names(const struct shoal_listen *listen,
                        char names[SHOAL_LISTEN_NAMES]);

/* "host:port", with brackets around an address of IPv6. */
void shoal_listen_print(const struct shoal_listen *listen, char *text, size_t room);

#endif
