/* A warrant: what the jobs of one submit call may do, as their submitter signed it.
 *
 *     <key> <signature>                         the seal's head (common/signer.h)
 *     shoal warrant 1
 *     namespace <name>
 *     store <id of the store>
 *     until <ms since 1970>
 *     spec <SHA-256 of its text>                each distinct one, counted from 1
 *     job <id> <which spec> <queue> <policy> <seed> <total> <start> <open> <arguments>
 *
 * The jobs come behind the specs; policy and the numbers are as submit.lua has them.
 * Every line ends with a line feed and nothing else is allowed, so that one statement has
 * one text. */
#ifndef SHOAL_WARRANT_H
#define SHOAL_WARRANT_H

#include "broker/queue.h"
#include "common/signer.h"

enum {
    SHOAL_WARRANT_MAX = 256 << 10, /* bytes of one, with its head */
    SHOAL_POLICY_ROOM = 160,       /* for a policy as text */
};

struct shoal_warrant_job {
    const char *id;
    size_t spec; /* from 0 */
    const char *queue;
    const char *policy;
    const char *seed;
    int64_t total;
    int64_t start_ms; /* since 1970; 0: at once */
    bool open;
    bool has_arguments;
};

struct shoal_warrant {
    struct shoal_signer_name signer;
    const char *name_space;
    const char *store;
    int64_t until_ms;
    const char **specs; /* their SHA-256 */
    size_t n_specs;
    struct shoal_warrant_job *jobs; /* by their ids */
    size_t n_jobs;
    char *text; /* what the texts point into */
};

/* The policy as scripts have it, into SHOAL_POLICY_ROOM bytes. */
void shoal_policy_print(const struct shoal_job_policy *policy, char *text);

/* Writes and signs what the jobs may do. `store`: the id of the store that they go to. */
SHOAL_MUST_CHECK
enum shoal_status shoal_warrant_write(const struct shoal_submission *jobs, size_t n,
                                      const char *name_space, const char *store,
                                      int64_t until_ms, const struct shoal_signer *signer,
                                      struct shoal_buffer *text, struct shoal_error *err);

/* Reads one whose signature holds (shoal_seal_holds()): before that it may have been
 * written by anybody. SHOAL_GARBAGE: it is none. Finish it; one of zeros too. */
SHOAL_MUST_CHECK
enum shoal_status shoal_warrant_read(const char *text, size_t len,
                                     struct shoal_warrant *ret_warrant,
                                     struct shoal_error *err);
void shoal_warrant_finish(struct shoal_warrant *warrant);

/* What it says of a job; NULL: nothing. */
const struct shoal_warrant_job *shoal_warrant_find(const struct shoal_warrant *warrant,
                                                   const char *id);

/* The bytes that are signed of appended arguments, whose first is that of task `first`;
 * their number is in the pack. */
void shoal_arguments_statement(struct shoal_buffer *text, const char *name_space,
                               const char *store, const char *job, int64_t first,
                               const char *pack, size_t len);

#endif
