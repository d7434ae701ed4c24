/* What is to happen to which request. Chance has no part in it: the fate of the n-th call
 * of a name is a function of the seed, the name and n. So the same seed and the same
 * traffic give the same faults, in whatever order the calls of different names come.
 *
 * A name is who calls what: "worker/advance", "client/submit", "broker/housekeep"; a
 * command that is no script goes by its own name, "worker/blpop". */
#ifndef SHOAL_CHAOS_FAULTS_H
#define SHOAL_CHAOS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum fault {
    FAULT_NONE,
    FAULT_CUT,    /* executed, and the reply is thrown away with the connection */
    FAULT_DEAF,   /* from it on the connection is a hole, and nobody is told */
    FAULT_DELAY,  /* the reply and those behind it come later */
    FAULT_FLOOD,  /* behind the reply comes what nobody has asked for */
    FAULT_GARBLE, /* something else comes in place of the reply */
    FAULT_HALF,   /* a part of the reply, then the end */
    FAULT_LOSE,   /* the connection ends before the request is executed */
    FAULT_PART,   /* a part of the request arrives, then the end */
    FAULT_COUNT,
};

struct fate {
    enum fault fault;
    uint64_t chance; /* for what is left to chance in it */
};

struct faults;

struct faults *faults_create(uint64_t seed);
void faults_destroy(struct faults *faults);

/* From now on this share of the calls whose names match the pattern (of fnmatch) gets the
 * fault; the rule that was set last counts. Returns false for an unknown fault. */
bool faults_set(struct faults *faults, const char *fault, double share,
                const char *pattern);
void faults_clear(struct faults *faults);

/* The fate of the next call of that name, which is counted. */
struct fate faults_next(struct faults *faults, const char *name);

/* One line of JSON: {"worker/advance": {"calls": 10, "cut": 2}, …}. */
void faults_print(const struct faults *faults, FILE *file);

#endif
