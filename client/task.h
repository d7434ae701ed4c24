/* One task of a job as it was or would be started: for show and replay. */
#ifndef SHOAL_TASK_H
#define SHOAL_TASK_H

#include "client/cli.h"

#include "broker/trust.h"

struct shoal_one_task {
    struct shoal_job job;
    struct shoal_spec spec;
    struct shoal_parameters parameters;
    bool read; /* the spec is */
    /* What signer() finds. */
    char signed_by[SHOAL_SIGNER_DIGITS + 1]; /* whose signature holds; "": nobody's */
    int64_t valid_until_ms;                  /* as that says */
    struct shoal_error invalid; /* why what was signed does not hold; OK: it does */
    /* What is held against it, as Redis has it. */
    char *warrant; /* NULL: none */
    size_t warrant_len;
    char *text; /* of the spec; NULL: it is not there */
    size_t len;
    char spec_hash[SHOAL_HASH_DIGITS + 1];
    bool changed; /* the spec is not what its digest says */
    char *pack;   /* NULL: it has no arguments, or they were not needed yet */
    size_t pack_len;
    int64_t first;
    char seal[SHOAL_SEAL_BYTES + 1];
    struct shoal_task task; /* points into the above */
    char **argv;
    struct shoal_error damage; /* why the spec cannot be read; OK: it can */
};

/* Finds job and task by their words; finish it whatever comes. Nothing of what it would
 * run is looked at yet. SHOAL_UNKNOWN: no such job or no such task. */
SHOAL_MUST_CHECK
enum shoal_status shoal_one_task_find(struct shoal_use *use, const char *job,
                                      const char *index, struct shoal_one_task *one,
                                      struct shoal_error *err);
/* Reads what it would run. SHOAL_UNKNOWN: its argument was trimmed. Of one whose spec is
 * garbled or missing only job, index and seed are known, and there is no argv. */
SHOAL_MUST_CHECK
enum shoal_status shoal_one_task_read(struct shoal_use *use, struct shoal_one_task *one,
                                      struct shoal_error *err);
/* Whether what was found is what one of these keys has signed, and may be run by it: then
 * it is read as well. SHOAL_REFUSED: no, as the sentence says. */
SHOAL_MUST_CHECK
enum shoal_status shoal_one_task_check(struct shoal_use *use, struct shoal_trust *trust,
                                       struct shoal_one_task *one,
                                       struct shoal_error *err);

/* Who has signed what was found, for this place too: the namespace, store and queue. It
 * says nothing of whether workers trust that key, nor of the time. */
SHOAL_MUST_CHECK
enum shoal_status shoal_one_task_signer(struct shoal_use *use, struct shoal_one_task *one,
                                        struct shoal_error *err);
void shoal_one_task_finish(struct shoal_one_task *one);

#endif
