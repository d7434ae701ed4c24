/* A lease in hand: how far its tasks are, their arguments, and what was not yet sent of
 * their outcomes.
 *
 *     lo .......... commit.lo ....... commit.hi = running ...... at .......... hi
 *        committed            gathered                    started     untouched */
#ifndef SHOAL_HELD_H
#define SHOAL_HELD_H

#include "broker/session.h"
#include "common/id.h"
#include "common/records.h"
#include "worker/handover.h"
#include "worker/known.h"
#include "worker/runner.h"

/* A task that ended its runner while tasks before it were done but not reported: they are
 * run again first. */
struct shoal_doom {
    int64_t index; /* -1: there is none */
    struct shoal_outcome outcome;
    char *text;
    size_t len;
};

/* What a lease of a signed job brings along, as Redis says it. */
struct shoal_proof {
    struct shoal_known *warrant;
    char queue[SHOAL_NAME_MAX + 1];
    char policy[SHOAL_POLICY_ROOM];
    char seal[SHOAL_SEAL_BYTES + 1]; /* of the pack; "": none */
};

struct shoal_held {
    struct shoal_held *behind; /* the slot's next */
    struct shoal_lease lease;  /* hi shrinks when the untouched rest is given back */
    uint64_t seed;
    struct shoal_known *known;            /* its spec */
    struct shoal_proof *proof;            /* NULL: it is not signed, or nobody asks */
    bool checked;                         /* it may run */
    const struct shoal_trusted_key *key;  /* by whose right, since it was checked here */
    char digest[SHOAL_BATCH_DIGEST_ROOM]; /* as runners have it */
    int64_t at;                           /* the next task to start */
    char *pack;                           /* explicit arguments, or NULL */
    size_t pack_len;
    int64_t first;                        /* index of the pack's first */
    bool begun;                           /* to read it, once the lease may run */
    int64_t argument_at;                  /* before the argument of this task … */
    struct shoal_record_reader arguments; /* … stands this */
    struct shoal_commit *commit;          /* what is gathered, never NULL */
    struct shoal_doom doom;
    bool launched; /* a batch of it is in the runner's hands */
    bool unwanted; /* it ends when that comes back, its job stops */
};

/* `known` and `warrant` (NULL without) are taken over. NULL: no memory (the lease is not
 * taken then; the next heartbeat gives it back), and nothing was taken over. */
struct shoal_held *shoal_held_create(const struct shoal_grant *grant,
                                     struct shoal_known *known,
                                     struct shoal_known *warrant);
void shoal_held_destroy(struct shoal_held *held); /* NULL is fine */

/* Takes the commit as it is, and begins the next. NULL when there is nothing in it or no
 * memory. */
struct shoal_commit *shoal_held_take_commit(struct shoal_held *held);

/* Leaves out the tasks up to `to`, which others finished. Only while
 * nothing is gathered. */
void shoal_held_skip(struct shoal_held *held, int64_t to);

/* What was started and is not gathered was not done: it is started again. */
void shoal_held_rewind(struct shoal_held *held);

/* The end of the tasks that may be started now. */
int64_t shoal_held_end_of_batch(const struct shoal_held *held);

/* Remembers what ended the runner; without memory for it, it is found again. */
void shoal_held_foresee(struct shoal_held *held, int64_t index,
                        const struct shoal_outcome *outcome, const char *text,
                        size_t len);
void shoal_held_forget_doom(struct shoal_held *held);

/* Stands before the argument of task `at`; NULL when the job has none. Nothing of them is
 * looked at before the first call: for a lease that may run. */
const struct shoal_record_reader *shoal_held_arguments(struct shoal_held *held);

/* Gives the tasks from `rest` on back with the next commit. They were not begun. */
void shoal_held_give_back(struct shoal_held *held, int64_t rest);

/* What Redis says that it is; its spec's text is there, and its warrant ready. */
struct shoal_claim shoal_held_claim(const struct shoal_held *held);

/* Ends the lease: its last commit, which the caller gets; the rest goes back untouched.
 * Destroys the lease. */
struct shoal_commit *shoal_held_end(struct shoal_held *held);

/* The lease with all that belongs to it; NULL when one is read that is none. */
void shoal_held_carry(struct shoal_held **held, struct shoal_knowledge *all,
                      struct shoal_handover *handover);

#endif
