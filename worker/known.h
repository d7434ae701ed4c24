/* The texts that this worker has seen, by digest: specs, and warrants of signed jobs.
 * Each is fetched once, read once, and shared by all leases of jobs that are alike. */
#ifndef SHOAL_KNOWN_H
#define SHOAL_KNOWN_H

#include "broker/session.h"
#include "broker/trust.h"
#include "broker/warrant.h"
#include "common/spec.h"
#include "worker/handover.h"

enum shoal_known_kind { SHOAL_KNOWN_SPEC, SHOAL_KNOWN_WARRANT, SHOAL_KNOWN_KINDS };

enum shoal_known_state {
    SHOAL_KNOWN_WANTED,
    SHOAL_KNOWN_ASKED,
    SHOAL_KNOWN_UNREAD, /* a spec that has to be signed: text and hash are there */
    SHOAL_KNOWN_READY,
    SHOAL_KNOWN_BAD
};

struct shoal_known {
    enum shoal_known_kind kind;
    char digest[21];
    enum shoal_known_state state;
    bool wrong;                       /* it is not what somebody signed */
    bool doubted;                     /* what came for it was something else */
    struct shoal_spec spec;           /* of a ready one … */
    char hash[SHOAL_HASH_DIGITS + 1]; /* … and its text's SHA-256, if asked for */
    struct shoal_warrant warrant;     /* of a ready one, whose signature holds … */
    char *text; /* … and as it was fetched; of one that is unread */
    size_t len;
    struct shoal_error error; /* of a bad one */
    int users;                /* leases that hold it */
    bool told_limits;         /* it was said which of its limits do not hold here */
    struct shoal_knowledge *all;
    struct shoal_known *next;
};

struct shoal_knowledge {
    const struct shoal_trust *trust; /* the caller's */
    struct shoal_known *first;       /* the one used last comes first */
    size_t n[SHOAL_KNOWN_KINDS];
    void (*changed)(void *owner); /* one is ready, bad, or wanted again … */
    bool again;                   /* … which is to be asked for at once */
    void *owner;
};

void shoal_knowledge_init(struct shoal_knowledge *all, const struct shoal_trust *trust,
                          void (*changed)(void *owner), void *owner);
/* Not while an answer is waited for. */
void shoal_knowledge_finish(struct shoal_knowledge *all);

/* The one of that digest, wanted if it is new. Give it back with shoal_known_release().
 * NULL: no memory. */
struct shoal_known *shoal_known_get(struct shoal_knowledge *all,
                                    enum shoal_known_kind kind, const char *digest);
void shoal_known_release(struct shoal_known *known); /* NULL is fine */

/* Whether a spec's text is there to be held against what was signed, be it any good or
 * not. */
bool shoal_known_has_text(const struct shoal_known *known);

/* Reads a spec that is unread, since its hash is the signed one: it is ready or bad then.
 * False: there was no memory for that. */
SHOAL_MUST_CHECK
bool shoal_known_read(struct shoal_known *known);

/* It is not what was signed: once nobody holds it, it is fetched again. */
void shoal_known_is_wrong(struct shoal_known *known);

/* Asks Redis for what is wanted: when leases come, and with each heartbeat. */
void shoal_knowledge_ask(struct shoal_knowledge *all, struct shoal_queue *queue);

/* Those that are ready and held. Those that were read are held until they are let go, so
 * that the leases that come behind them find them. */
void shoal_knowledge_carry(struct shoal_knowledge *all, struct shoal_handover *handover);
void shoal_knowledge_let_go(struct shoal_knowledge *all);

#endif
