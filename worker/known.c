#include "worker/known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum shoal_key key;
    size_t keep; /* that stay although no lease holds them */
    size_t most; /* bytes of one */
} kinds[SHOAL_KNOWN_KINDS] = {
    [SHOAL_KNOWN_SPEC] = {"spec", SHOAL_KEY_SPEC, 64, SHOAL_SPEC_MAX},
    [SHOAL_KNOWN_WARRANT] = {"warrant", SHOAL_KEY_WARRANT, 8, SHOAL_WARRANT_MAX},
};

void shoal_knowledge_init(struct shoal_knowledge *all, const struct shoal_trust *trust,
                          void (*changed)(void *owner), void *owner) {
    *all = (struct shoal_knowledge){.trust = trust, .changed = changed, .owner = owner};
}

/* What was read of it, or waits to be. */
static void forget(struct shoal_known *known) {
    if (known->state == SHOAL_KNOWN_READY && known->kind == SHOAL_KNOWN_SPEC)
        shoal_spec_finish(&known->spec);
    shoal_warrant_finish(&known->warrant);
    free(known->text);
    known->text = NULL;
    known->hash[0] = '\0';
}

static void destroy(struct shoal_known *known) {
    known->all->n[known->kind]--;
    forget(known);
    free(known);
}

void shoal_knowledge_finish(struct shoal_knowledge *all) {
    while (all->first != NULL) {
        struct shoal_known *known = all->first;
        all->first = known->next;
        destroy(known);
    }
}

/* Drops the one that was used longest ago and is not held or asked for, if there are too
 * many. */
static void trim(struct shoal_knowledge *all, enum shoal_known_kind kind) {
    struct shoal_known **victim = NULL;
    for (struct shoal_known **at = &all->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->kind == kind && (*at)->users == 0 && (*at)->state != SHOAL_KNOWN_ASKED)
            victim = at;
    }
    if (all->n[kind] <= kinds[kind].keep || victim == NULL)
        return;
    struct shoal_known *known = *victim;
    *victim = known->next;
    destroy(known);
}

static struct shoal_known *take_out(struct shoal_knowledge *all,
                                    enum shoal_known_kind kind, const char *digest) {
    for (struct shoal_known **at = &all->first; *at != NULL; at = &(*at)->next) {
        struct shoal_known *known = *at;
        if (known->kind == kind && strcmp(known->digest, digest) == 0) {
            *at = known->next;
            return known;
        }
    }
    return NULL;
}

static struct shoal_known *make(struct shoal_knowledge *all, enum shoal_known_kind kind,
                                const char *digest) {
    struct shoal_known *known = calloc(1, sizeof(*known));
    if (known == NULL)
        return NULL;
    snprintf(known->digest, sizeof(known->digest), "%s", digest);
    known->kind = kind;
    known->all = all;
    all->n[kind]++;
    return known;
}

struct shoal_known *shoal_known_get(struct shoal_knowledge *all,
                                    enum shoal_known_kind kind, const char *digest) {
    struct shoal_known *known = take_out(all, kind, digest);
    if (known == NULL)
        known = make(all, kind, digest);
    if (known == NULL)
        return NULL;
    known->next = all->first;
    all->first = known;
    known->users++;
    trim(all, kind);
    return known;
}

/* What is no good is not kept: perhaps it is there next time, or what it should be. Nor
 * is what no signature has held for. */
static void drop(struct shoal_known *known) {
    if (known->users > 0 || (known->state != SHOAL_KNOWN_BAD &&
                             known->state != SHOAL_KNOWN_UNREAD && !known->wrong))
        return;
    forget(known);
    known->state = SHOAL_KNOWN_WANTED;
    known->wrong = false;
}

void shoal_known_release(struct shoal_known *known) {
    if (known == NULL)
        return;
    known->users--;
    drop(known);
}

void shoal_known_is_wrong(struct shoal_known *known) {
    known->wrong = true;
}

/* ---- fetching */

static enum shoal_status keep_text(struct shoal_known *known, const char *text,
                                   size_t len) {
    known->text = malloc(len + 1);
    if (known->text == NULL)
        return SHOAL_MEMORY;
    memcpy(known->text, text, len);
    known->len = len;
    return SHOAL_OK;
}

/* Nothing of it is looked at before its signature. */
static enum shoal_status read_warrant(struct shoal_known *known, const char *text,
                                      size_t len) {
    enum shoal_status status =
        shoal_trust_open(known->all->trust, text, len, &known->warrant, &known->error);
    if (status != SHOAL_OK)
        return status;
    status = keep_text(known, text, len);
    if (status != SHOAL_OK)
        shoal_warrant_finish(&known->warrant);
    return status;
}

/* Held against the name that Redis gave it. Bytes may have changed on their way, which
 * does not happen twice: they are asked for again. */
static enum shoal_status expect_digest(struct shoal_known *known,
                                       const redisReply *reply) {
    char digits[SHOAL_HASH_DIGITS + 1];
    if (!shoal_redis_hash(reply->str, reply->len, digits))
        return SHOAL_MEMORY;
    bool holds = strncmp(digits, known->digest, sizeof(known->digest) - 1) == 0;
    bool again = !holds && !known->doubted;
    known->doubted = again;
    known->all->again = again;
    return holds   ? SHOAL_OK
           : again ? SHOAL_MEMORY
                   : shoal_error_set(&known->error, SHOAL_GARBAGE,
                                     "the spec %s is not the one that was submitted: it "
                                     "was changed in Redis; submit the job again",
                                     known->digest);
}

/* A signature is over a spec's SHA-256: until that was held against it, nothing of the
 * text is looked at. */
static enum shoal_status keep_spec(struct shoal_known *known, const char *text,
                                   size_t len) {
    enum shoal_status status = keep_text(known, text, len);
    if (status == SHOAL_OK && !shoal_hash(text, len, known->hash))
        status = SHOAL_MEMORY;
    if (status != SHOAL_OK)
        forget(known);
    return status;
}

/* One that is too long was cut off on its way, and is not looked at either. */
static enum shoal_status read_spec(struct shoal_known *known, const redisReply *reply) {
    enum shoal_status status =
        reply->len > SHOAL_SPEC_MAX ? SHOAL_OK : expect_digest(known, reply);
    return status == SHOAL_OK
               ? shoal_spec_read(reply->str, reply->len, &known->spec, &known->error)
               : status;
}

/* Without memory it is asked for again. */
static enum shoal_known_state read_reply(struct shoal_known *known,
                                         const redisReply *reply) {
    bool is_spec = known->kind == SHOAL_KNOWN_SPEC;
    bool unread = is_spec && known->all->trust->required;
    enum shoal_status status = unread    ? keep_spec(known, reply->str, reply->len)
                               : is_spec ? read_spec(known, reply)
                                         : read_warrant(known, reply->str, reply->len);
    return status == SHOAL_MEMORY ? SHOAL_KNOWN_WANTED
           : status != SHOAL_OK   ? SHOAL_KNOWN_BAD
           : unread               ? SHOAL_KNOWN_UNREAD
                                  : SHOAL_KNOWN_READY;
}

bool shoal_known_has_text(const struct shoal_known *known) {
    return known->state == SHOAL_KNOWN_READY || known->hash[0] != '\0';
}

bool shoal_known_read(struct shoal_known *known) {
    if (known->state != SHOAL_KNOWN_UNREAD)
        return true;
    enum shoal_status status =
        shoal_spec_read(known->text, known->len, &known->spec, &known->error);
    if (status == SHOAL_MEMORY)
        return false;
    known->state = status == SHOAL_OK ? SHOAL_KNOWN_READY : SHOAL_KNOWN_BAD;
    free(known->text);
    known->text = NULL;
    return true;
}

static void take(void *owner, enum shoal_status status, const redisReply *reply,
                 const struct shoal_error *err) {
    struct shoal_known *known = owner;
    (void)err;
    shoal_error_clear(&known->error);
    if (status == SHOAL_OK && reply->type == REDIS_REPLY_STRING && reply->len > 0) {
        known->state = read_reply(known, reply);
    } else if (status == SHOAL_OK && reply->type == REDIS_REPLY_STRING) {
        shoal_error_set(&known->error, SHOAL_UNKNOWN, "Redis has no %s %s for this job",
                        kinds[known->kind].name, known->digest);
        known->state = SHOAL_KNOWN_BAD;
    } else if (status == SHOAL_OK && shoal_reply_is_error(reply, "WRONGTYPE")) {
        shoal_redis_status_of(reply, &known->error);
        known->state = SHOAL_KNOWN_BAD;
    } else {
        shoal_error_clear(&known->error);
        known->state = SHOAL_KNOWN_WANTED; /* an error, or no answer to this question */
    }
    drop(known);
    known->all->changed(known->all->owner);
}

void shoal_knowledge_ask(struct shoal_knowledge *all, struct shoal_queue *queue) {
    all->again = false;
    for (struct shoal_known *known = all->first; known != NULL; known = known->next) {
        if (known->state != SHOAL_KNOWN_WANTED || known->users == 0)
            continue;
        if (shoal_session_get(queue, kinds[known->kind].key, known->digest,
                              kinds[known->kind].most, take, known, NULL) == SHOAL_OK)
            known->state = SHOAL_KNOWN_ASKED;
    }
}

/* ---- an upgrade */

static void save(struct shoal_known *known, struct shoal_handover *handover) {
    char *spec = NULL;
    const char *view = known->text;
    size_t len = known->len;
    if (known->kind == SHOAL_KNOWN_SPEC) {
        if (shoal_spec_write(&known->spec, &spec, NULL) != SHOAL_OK)
            handover->failed = true;
        view = spec;
        len = spec == NULL ? 0 : strlen(spec);
    }
    SHOAL_CARRY(handover, known->kind, 0, SHOAL_KNOWN_KINDS - 1);
    shoal_carry_text(handover, known->digest, sizeof(known->digest));
    shoal_carry_text(handover, known->hash, sizeof(known->hash));
    shoal_carry_view(handover, &view, &len, kinds[known->kind].most);
    free(spec);
}

/* A spec may be written otherwise than it was fetched: its hash is that of before, and it
 * was read then. A warrant whose key is trusted no more is bad now. */
static void restore(struct shoal_knowledge *all, struct shoal_handover *handover) {
    enum shoal_known_kind kind = SHOAL_KNOWN_SPEC;
    char digest[sizeof(all->first->digest)] = "", hash[sizeof(all->first->hash)] = "";
    const char *text = NULL;
    size_t len = 0;
    SHOAL_CARRY(handover, kind, 0, SHOAL_KNOWN_KINDS - 1);
    shoal_carry_text(handover, digest, sizeof(digest));
    shoal_carry_text(handover, hash, sizeof(hash));
    shoal_carry_view(handover, &text, &len, kinds[kind].most);
    struct shoal_known *known =
        handover->failed ? NULL : shoal_known_get(all, kind, digest);
    if (known == NULL || known->state != SHOAL_KNOWN_WANTED) {
        handover->failed = true;
        return;
    }
    bool good = (kind == SHOAL_KNOWN_SPEC
                     ? shoal_spec_read(text, len, &known->spec, &known->error)
                     : read_warrant(known, text, len)) == SHOAL_OK;
    memcpy(known->hash, hash, sizeof(hash));
    known->state = good ? SHOAL_KNOWN_READY : SHOAL_KNOWN_BAD;
    handover->failed = !good && kind == SHOAL_KNOWN_SPEC;
}

static struct shoal_known *next_ready(struct shoal_known *known) {
    while (known != NULL && (known->state != SHOAL_KNOWN_READY || known->users == 0))
        known = known->next;
    return known;
}

void shoal_knowledge_carry(struct shoal_knowledge *all, struct shoal_handover *handover) {
    struct shoal_known *known = handover->saves ? next_ready(all->first) : NULL;
    while (shoal_carry_more(handover, known != NULL)) {
        if (!handover->saves) {
            restore(all, handover);
            continue;
        }
        save(known, handover);
        known = next_ready(known->next);
    }
}

void shoal_knowledge_let_go(struct shoal_knowledge *all) {
    for (struct shoal_known *known = all->first; known != NULL; known = known->next) {
        if (known->state == SHOAL_KNOWN_READY || known->state == SHOAL_KNOWN_BAD)
            shoal_known_release(known);
    }
}
