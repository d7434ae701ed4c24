/* What a local cluster that listens is started with, and what it gives to others. All of
 * it lies in the state directory, for its owner alone:
 *
 *   listen/                of which who comes by TCP needs a part: see token.h
 *     authority.* server.* worker.*    certificates and keys: certificate.h
 *     passwords/local      of this host's own commands, who may do everything
 *     passwords/worker     of those who join, who may do what a worker may
 *     users                the same for Redis, as hashes; its default user is off
 *     address              where it listens, while it does
 *     before               where it did, which it does again if it can
 *   join                   the token for others
 *   trusted-keys           whose jobs run here: the key's line, and what people have
 *                          added. It stays, and the worker goes on asking for
 *                          signatures, as the data stay that others could write
 */
#ifndef SHOAL_INVITATION_H
#define SHOAL_INVITATION_H

#include "client/listen.h"
#include "common/id.h"
#include "common/signer.h"

struct shoal_invitation {
    struct shoal_listen listen;
    char name_space[SHOAL_NAME_MAX + 1]; /* not in `address` */
};

/* Whose jobs are to run. */
struct shoal_invitation_key {
    struct shoal_signer_name name;
    char comment[64];
};

#define SHOAL_INVITATION_LOCAL "local"
#define SHOAL_INVITATION_WORKER "worker"

/* Makes what is missing or out of date, but for `address` and `join`. */
SHOAL_MUST_CHECK
enum shoal_status shoal_invitation_prepare(const struct shoal_invitation *invitation,
                                           struct shoal_error *err);

/* Writes `address`, and reads it: SHOAL_UNKNOWN: the cluster does not listen. */
SHOAL_MUST_CHECK
enum shoal_status shoal_invitation_begin(const struct shoal_invitation *invitation,
                                         struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_invitation_read(struct shoal_invitation *ret_invitation,
                                        struct shoal_error *err);
/* From now on it does not listen; what others need stays good for the next time. */
void shoal_invitation_end(void);
/* The port where it did so last; 0: it never did. */
int shoal_invitation_port_before(void);

/* Writes `trusted-keys` and `join`, of what prepare() has made. */
SHOAL_MUST_CHECK
enum shoal_status shoal_invitation_write(const struct shoal_invitation *invitation,
                                         const struct shoal_invitation_key *key,
                                         struct shoal_error *err);

/* "rediss://worker@HOST:PORT" */
void shoal_invitation_url(const struct shoal_invitation *invitation, char *url,
                          size_t room);

#endif
