/* Whose jobs this worker runs: the file of trusted keys, and what of a job was signed.
 *
 *     <64 hex digits> NAME [queues=a,b] [programs=PATTERN,…] [plugins=PATTERN,…]
 *                          [memory=SIZE] [cpus=N] [processes=N] [file-size=SIZE]
 *
 * A key that is given programs or plug-ins runs nothing else; one that is given a limit
 * may submit jobs with that limit or a lower one. What stands behind a '#' is for people.
 * Several keys are valid at once, so that one can take the place of another. */
#ifndef SHOAL_TRUST_H
#define SHOAL_TRUST_H

#include "broker/session.h"
#include "broker/warrant.h"
#include "common/allow.h"
#include "common/redis.h"
#include "common/spec.h"

enum { SHOAL_TRUST_NAME_ROOM = 64, SHOAL_TRUST_WARNED = 64 };

struct shoal_trusted_key {
    struct shoal_signer_name key;
    char name[SHOAL_TRUST_NAME_ROOM];
    char *queues; /* joined by commas; NULL: any */
    bool bounded; /* by these two lists, of which one may be empty */
    struct shoal_allow programs;
    struct shoal_allow plugins;
    struct shoal_limits limits; /* that its jobs may ask for; 0: any */
};

struct shoal_trust {
    bool required; /* else everything runs, and no signature is looked at */
    struct shoal_trusted_key *keys;
    size_t n;
    const char *name_space;    /* of the worker */
    const char *const *queues; /* NULL behind the last */
    const char *store;         /* where its id stands */
    bool any_time;             /* a person asks: no matter when it starts or expires */
    char warned[SHOAL_TRUST_WARNED][13];
    size_t n_warned;
};

/* Reads the file. SHOAL_INVALID: it cannot be read, somebody else may write to it, or a
 * line makes no sense, which the sentence names. Finish it whatever comes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_read(const char *path, struct shoal_trust *trust,
                                   struct shoal_error *err);
void shoal_trust_finish(struct shoal_trust *trust);

/* Sees to it that the file, which is made with mode 0600 if it is not there, has a line
 * of that key: one that stands there stays as it is, else one is written, with a mark in
 * place of one that was written so before. Other lines stay, and so does the mode.
 * SHOAL_INVALID: somebody else may write to it. SHOAL_SYSTEM: it cannot be read or
 * written, and is as it was. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_add(const char *path, const struct shoal_signer_name *key,
                                  const char *owner, struct shoal_error *err);

/* Whom somebody trusts who runs what a Redis says. */
struct shoal_trust_choice {
    const char *keys;                    /* a file that was named; NULL: none was */
    bool redis;                          /* whoever can write there, it was said */
    bool open;                           /* others come another way than by its socket */
    const struct shoal_signer_name *own; /* a key that is trusted besides, or NULL */
};

/* Only where nobody else can write to the Redis is a signature needless: else `trust`
 * says that it is required, and has the keys of the file that was named, or of the usual
 * one. SHOAL_INVALID: the choice makes no sense, the file is not good, or there is
 * neither file nor own key. Finish `trust` whatever comes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_begin(struct shoal_trust *trust,
                                    const struct shoal_redis_address *address,
                                    const struct shoal_trust_choice *choice,
                                    struct shoal_error *err);

/* Trusts that key too, unless the file had it, which may say less of it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_take(struct shoal_trust *trust,
                                   const struct shoal_signer_name *key,
                                   struct shoal_error *err);

/* Whether signatures are required, and the line of each key says what it may run. */
bool shoal_trust_is_bounded(const struct shoal_trust *trust);

/* The usual file: root's /etc/shoal/trusted-keys, else the user's
 * ~/.config/shoal/trusted-keys. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_usual_path(char *path, size_t room,
                                         struct shoal_error *err);

/* Takes a warrant in: first the key, then the signature, and only then what it says.
 * SHOAL_REFUSED: one of them is not good, as the sentence says. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_open(const struct shoal_trust *trust, const char *text,
                                   size_t len, struct shoal_warrant *ret_warrant,
                                   struct shoal_error *err);

/* What Redis says that a lease is. */
struct shoal_claim {
    const struct shoal_warrant *warrant; /* that was opened */
    const struct shoal_lease *lease;
    const char *spec_hash; /* of its text, which nobody has looked into yet */
    uint64_t seed;
    const char *queue;
    const char *policy;
    const char *pack; /* of arguments; NULL: none */
    size_t pack_len;
    int64_t first; /* of the pack */
    const char *seal;
};

/* Whether this was signed, for here and now, by a key that may. SHOAL_REFUSED: no, as the
 * sentence says; SHOAL_GARBAGE: and the spec is not the signed one. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_check(const struct shoal_trust *trust,
                                    const struct shoal_claim *claim,
                                    const struct shoal_trusted_key **ret_key,
                                    struct shoal_error *err);

/* Whether the key may have what asks for these limits, as the spec says once it was found
 * to be the signed one and read. SHOAL_REFUSED: no, as the sentence says. */
SHOAL_MUST_CHECK
enum shoal_status shoal_trust_check_limits(const struct shoal_trusted_key *key,
                                           const struct shoal_limits *asked,
                                           struct shoal_error *err);

/* Says in the log that a job is refused, once for each. */
void shoal_trust_warn(struct shoal_trust *trust, const char *job,
                      const struct shoal_error *err);

#endif
