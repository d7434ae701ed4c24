#include "worker/held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What may be read back of an upgrade. */
#define INDEX_MAX (INT64_C(1) << 53)
enum { TEXT_MAX = 1 << 20, PACK_MAX = 1 << 30 };

static struct shoal_commit *new_commit(const struct shoal_lease *lease, int64_t lo) {
    struct shoal_commit *commit = malloc(sizeof(*commit));
    if (commit != NULL)
        shoal_commit_init(commit, lease->job, lease->name, lo);
    return commit;
}

/* Before the first argument. */
static void begin_arguments(struct shoal_held *held) {
    size_t n = 0;
    shoal_record_reader_init(&held->arguments, held->pack, held->pack_len);
    held->argument_at = held->first;
    held->begun = true;
    if (!shoal_record_read_array(&held->arguments, &n))
        held->arguments.failed =
            true; /* its tasks will be rejected for want of arguments */
}

const struct shoal_record_reader *shoal_held_arguments(struct shoal_held *held) {
    const char *bytes = NULL;
    size_t len = 0;
    if (held->pack == NULL)
        return NULL;
    if (!held->begun || held->at < held->argument_at)
        begin_arguments(held);
    while (held->argument_at < held->at &&
           shoal_record_read_bytes(&held->arguments, &bytes, &len))
        held->argument_at++;
    return &held->arguments;
}

static bool copy_arguments(struct shoal_held *held, const struct shoal_grant *grant) {
    if (grant->pack == NULL)
        return true;
    held->pack = malloc(grant->pack_len + 1);
    if (held->pack == NULL)
        return false;
    memcpy(held->pack, grant->pack, grant->pack_len);
    held->pack_len = grant->pack_len;
    held->first = grant->first;
    return true;
}

static bool add_proof(struct shoal_held *held, const struct shoal_grant *grant) {
    struct shoal_proof *proof = calloc(1, sizeof(*proof));
    held->proof = proof;
    if (proof == NULL)
        return false;
    snprintf(proof->queue, sizeof(proof->queue), "%s", grant->queue);
    snprintf(proof->policy, sizeof(proof->policy), "%s", grant->policy);
    snprintf(proof->seal, sizeof(proof->seal), "%s", grant->seal);
    return true;
}

struct shoal_held *shoal_held_create(const struct shoal_grant *grant,
                                     struct shoal_known *known,
                                     struct shoal_known *warrant) {
    struct shoal_held *held = calloc(1, sizeof(*held));
    if (held == NULL)
        return NULL;
    held->lease = grant->lease;
    held->seed = grant->seed;
    held->at = grant->lease.lo;
    held->doom.index = -1;
    held->commit = new_commit(&held->lease, held->at);
    if (held->commit == NULL || !copy_arguments(held, grant) ||
        (warrant != NULL && !add_proof(held, grant))) {
        shoal_held_destroy(held);
        return NULL;
    }
    held->known = known;
    if (warrant != NULL)
        held->proof->warrant = warrant;
    snprintf(held->digest, sizeof(held->digest), "%s", grant->spec);
    return held;
}

void shoal_held_destroy(struct shoal_held *held) {
    if (held == NULL)
        return;
    if (held->commit != NULL)
        shoal_commit_finish(held->commit);
    free(held->commit);
    free(held->pack);
    free(held->doom.text);
    shoal_known_release(held->known);
    if (held->proof != NULL)
        shoal_known_release(held->proof->warrant);
    free(held->proof);
    free(held);
}

struct shoal_commit *shoal_held_take_commit(struct shoal_held *held) {
    struct shoal_commit *commit = held->commit;
    if (commit->hi == commit->lo && commit->rest < 0)
        return NULL;
    struct shoal_commit *next = new_commit(&held->lease, commit->hi);
    if (next == NULL)
        return NULL;
    held->commit = next;
    return commit;
}

void shoal_held_skip(struct shoal_held *held, int64_t to) {
    held->at = to;
    held->commit->lo = to;
    held->commit->hi = to;
}

void shoal_held_rewind(struct shoal_held *held) {
    held->at = held->commit->hi;
}

int64_t shoal_held_end_of_batch(const struct shoal_held *held) {
    return held->doom.index < 0 ? held->lease.hi : held->doom.index;
}

void shoal_held_forget_doom(struct shoal_held *held) {
    free(held->doom.text);
    held->doom = (struct shoal_doom){.index = -1};
}

void shoal_held_foresee(struct shoal_held *held, int64_t index,
                        const struct shoal_outcome *outcome, const char *text,
                        size_t len) {
    shoal_held_forget_doom(held);
    char *copy = malloc(len + 1);
    if (copy == NULL)
        return;
    memcpy(copy, text, len);
    held->doom = (struct shoal_doom){
        .index = index, .outcome = *outcome, .text = copy, .len = len};
    held->doom.outcome.result = "";
    held->doom.outcome.result_len = 0;
}

void shoal_held_give_back(struct shoal_held *held, int64_t rest) {
    if (rest >= held->lease.hi)
        return;
    held->commit->rest = rest;
    held->lease.hi = rest;
    if (held->at > rest)
        held->at = rest;
}

struct shoal_claim shoal_held_claim(const struct shoal_held *held) {
    return (struct shoal_claim){
        .warrant = &held->proof->warrant->warrant,
        .lease = &held->lease,
        .spec_hash = held->known->hash,
        .seed = held->seed,
        .queue = held->proof->queue,
        .policy = held->proof->policy,
        .pack = held->pack,
        .pack_len = held->pack_len,
        .first = held->first,
        .seal = held->proof->seal,
    };
}

struct shoal_commit *shoal_held_end(struct shoal_held *held) {
    struct shoal_commit *commit = held->commit;
    held->commit = NULL;
    commit->over = true;
    shoal_held_destroy(held);
    return commit;
}

/* ---- an upgrade */

static void carry_lease(struct shoal_lease *lease, struct shoal_handover *handover) {
    shoal_carry_text(handover, lease->name, sizeof(lease->name));
    shoal_carry_text(handover, lease->job, sizeof(lease->job));
    SHOAL_CARRY(handover, lease->lo, 0, INDEX_MAX);
    SHOAL_CARRY(handover, lease->hi, lease->lo, INDEX_MAX);
    SHOAL_CARRY(handover, lease->attempt, 1, INT64_MAX);
}

static void carry_doom(struct shoal_doom *doom, struct shoal_handover *handover) {
    struct shoal_outcome *outcome = &doom->outcome;
    SHOAL_CARRY(handover, doom->index, -1, INDEX_MAX);
    if (doom->index < 0)
        return;
    SHOAL_CARRY(handover, outcome->reason, 0, SHOAL_REASON_COUNT - 1);
    SHOAL_CARRY(handover, outcome->attempt, 1, INT64_MAX);
    SHOAL_CARRY(handover, outcome->wall_us, 0, INT64_MAX);
    SHOAL_CARRY(handover, outcome->cpu_us, 0, INT64_MAX);
    SHOAL_CARRY(handover, outcome->rss_kb, 0, INT64_MAX);
    SHOAL_CARRY(handover, outcome->code, INT64_MIN, INT64_MAX);
    outcome->result = "";
    shoal_carry_bytes(handover, &doom->text, &doom->len, TEXT_MAX);
    handover->failed = handover->failed || doom->text == NULL;
}

/* Whether it stands where a lease can. */
static bool makes_sense(const struct shoal_held *held) {
    const struct shoal_commit *commit = held->commit;
    return commit != NULL && strcmp(commit->job, held->lease.job) == 0 &&
           strcmp(commit->lease, held->lease.name) == 0 && commit->lo >= held->lease.lo &&
           held->at >= commit->hi && held->at <= held->lease.hi;
}

static void carry_fields(struct shoal_held *held, struct shoal_handover *handover) {
    carry_lease(&held->lease, handover);
    SHOAL_CARRY(handover, held->seed, INT64_MIN, INT64_MAX);
    SHOAL_CARRY(handover, held->at, held->lease.lo, held->lease.hi);
    shoal_carry_bytes(handover, &held->pack, &held->pack_len, PACK_MAX);
    SHOAL_CARRY(handover, held->first, 0, INDEX_MAX);
    carry_doom(&held->doom, handover);
    shoal_carry_text(handover, held->digest, sizeof(held->digest));
    shoal_carry_flag(handover, &held->launched);
    shoal_carry_flag(handover, &held->unwanted);
    shoal_carry_commit(handover, &held->commit);
    handover->failed = handover->failed || !makes_sense(held);
}

/* Whether the lease is looked at anew is for the program that reads it: it may trust
 * others. */
static void carry_proof(struct shoal_held *held, struct shoal_knowledge *all,
                        struct shoal_handover *handover) {
    char digest[sizeof(held->known->digest)] = "";
    bool is_signed = held->proof != NULL;
    shoal_carry_flag(handover, &is_signed);
    if (!is_signed || handover->failed)
        return;
    if (handover->saves)
        memcpy(digest, held->proof->warrant->digest, sizeof(digest));
    else
        held->proof = calloc(1, sizeof(*held->proof));
    if (held->proof == NULL) {
        handover->failed = true;
        return;
    }
    shoal_carry_text(handover, digest, sizeof(digest));
    shoal_carry_text(handover, held->proof->queue, sizeof(held->proof->queue));
    shoal_carry_text(handover, held->proof->policy, sizeof(held->proof->policy));
    shoal_carry_text(handover, held->proof->seal, sizeof(held->proof->seal));
    if (handover->saves || handover->failed)
        return;
    held->proof->warrant = shoal_known_get(all, SHOAL_KNOWN_WARRANT, digest);
    handover->failed = held->proof->warrant == NULL;
}

void shoal_held_carry(struct shoal_held **held, struct shoal_knowledge *all,
                      struct shoal_handover *handover) {
    char digest[sizeof((*held)->known->digest)] = "";
    if (handover->saves)
        memcpy(digest, (*held)->known->digest, sizeof(digest));
    else
        *held = calloc(1, sizeof(**held));
    shoal_carry_text(handover, digest, sizeof(digest));
    if (*held == NULL) {
        handover->failed = true;
        return;
    }
    carry_fields(*held, handover);
    carry_proof(*held, all, handover);
    if (handover->saves)
        return;
    (*held)->known =
        handover->failed ? NULL : shoal_known_get(all, SHOAL_KNOWN_SPEC, digest);
    if ((*held)->known == NULL) {
        shoal_held_destroy(*held);
        *held = NULL;
        handover->failed = true;
    }
}
