/* The specs that this worker has seen, by digest: fetched once, parsed once, shared by
 * all leases of all jobs that are alike. */
#ifndef SHOAL_SPECS_H
#define SHOAL_SPECS_H

#include "broker/session.h"
#include "common/spec.h"
#include "worker/handover.h"

enum shoal_spec_state {
    SHOAL_SPEC_WANTED,
    SHOAL_SPEC_ASKED,
    SHOAL_SPEC_READY,
    SHOAL_SPEC_BAD
};

struct shoal_known_spec {
    char digest[21];
    enum shoal_spec_state state;
    struct shoal_spec spec;   /* of a ready one */
    struct shoal_error error; /* of a bad one */
    int users;                /* leases that hold it */
    bool told_limits;         /* it was said which of its limits do not hold here */
    struct shoal_specs *all;
    struct shoal_known_spec *next;
};

struct shoal_specs {
    struct shoal_known_spec *first; /* the one used last comes first */
    size_t n;
    void (*changed)(void *owner); /* a spec is ready, bad, or wanted again */
    void *owner;
};

void shoal_specs_init(struct shoal_specs *specs, void (*changed)(void *owner),
                      void *owner);
/* Not while an answer is waited for. */
void shoal_specs_finish(struct shoal_specs *specs);

/* The spec of that digest, wanted if it is new. Give it back with shoal_specs_release().
 * NULL: no memory. */
struct shoal_known_spec *shoal_specs_get(struct shoal_specs *specs, const char *digest);
void shoal_specs_release(struct shoal_known_spec *known); /* NULL is fine */

/* Asks Redis for what is wanted: when leases come, and with each heartbeat. */
void shoal_specs_ask(struct shoal_specs *specs, struct shoal_queue *queue);

/* Those that are ready and held. Those that were read are held until they are let go, so
 * that the leases that come behind them find them. */
void shoal_specs_carry(struct shoal_specs *specs, struct shoal_handover *handover);
void shoal_specs_let_go(struct shoal_specs *specs);

#endif
