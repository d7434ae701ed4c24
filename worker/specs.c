#include "worker/specs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP = 64 }; /* specs that stay although no lease holds them */

void shoal_specs_init(struct shoal_specs *specs, void (*changed)(void *owner),
                      void *owner) {
    *specs = (struct shoal_specs){.changed = changed, .owner = owner};
}

static void destroy(struct shoal_known_spec *known) {
    if (known->state == SHOAL_SPEC_READY)
        shoal_spec_finish(&known->spec);
    free(known);
}

void shoal_specs_finish(struct shoal_specs *specs) {
    while (specs->first != NULL) {
        struct shoal_known_spec *known = specs->first;
        specs->first = known->next;
        destroy(known);
    }
}

/* Drops the one that was used longest ago and is not held or asked for, if there are too
 * many. */
static void trim(struct shoal_specs *specs) {
    struct shoal_known_spec **victim = NULL;
    for (struct shoal_known_spec **at = &specs->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->users == 0 && (*at)->state != SHOAL_SPEC_ASKED)
            victim = at;
    }
    if (specs->n <= KEEP || victim == NULL)
        return;
    struct shoal_known_spec *known = *victim;
    *victim = known->next;
    specs->n--;
    destroy(known);
}

static struct shoal_known_spec *take_out(struct shoal_specs *specs, const char *digest) {
    for (struct shoal_known_spec **at = &specs->first; *at != NULL; at = &(*at)->next) {
        struct shoal_known_spec *known = *at;
        if (strcmp(known->digest, digest) == 0) {
            *at = known->next;
            return known;
        }
    }
    return NULL;
}

static struct shoal_known_spec *make(struct shoal_specs *specs, const char *digest) {
    struct shoal_known_spec *known = calloc(1, sizeof(*known));
    if (known == NULL)
        return NULL;
    snprintf(known->digest, sizeof(known->digest), "%s", digest);
    known->all = specs;
    specs->n++;
    return known;
}

struct shoal_known_spec *shoal_specs_get(struct shoal_specs *specs, const char *digest) {
    struct shoal_known_spec *known = take_out(specs, digest);
    if (known == NULL)
        known = make(specs, digest);
    if (known == NULL)
        return NULL;
    known->next = specs->first;
    specs->first = known;
    known->users++;
    trim(specs);
    return known;
}

void shoal_specs_release(struct shoal_known_spec *known) {
    if (known == NULL)
        return;
    known->users--;
    if (known->users == 0 && known->state == SHOAL_SPEC_BAD)
        known->state = SHOAL_SPEC_WANTED; /* perhaps it is there next time */
}

/* Without memory it is asked for again. */
static enum shoal_spec_state read_spec(struct shoal_known_spec *known,
                                       const redisReply *reply) {
    enum shoal_status status =
        shoal_spec_read(reply->str, reply->len, &known->spec, &known->error);
    return status == SHOAL_OK       ? SHOAL_SPEC_READY
           : status == SHOAL_MEMORY ? SHOAL_SPEC_WANTED
                                    : SHOAL_SPEC_BAD;
}

static void take_spec(void *owner, enum shoal_status status, const redisReply *reply,
                      const struct shoal_error *err) {
    struct shoal_known_spec *known = owner;
    (void)err;
    shoal_error_clear(&known->error);
    if (status == SHOAL_OK && reply->type == REDIS_REPLY_STRING) {
        known->state = read_spec(known, reply);
    } else if (status == SHOAL_OK && reply->type == REDIS_REPLY_NIL) {
        shoal_error_set(&known->error, SHOAL_UNKNOWN, "Redis has no spec %s for this job",
                        known->digest);
        known->state = SHOAL_SPEC_BAD;
    } else {
        known->state = SHOAL_SPEC_WANTED; /* an error, or no answer to this question */
    }
    known->all->changed(known->all->owner);
}

void shoal_specs_ask(struct shoal_specs *specs, struct shoal_queue *queue) {
    for (struct shoal_known_spec *known = specs->first; known != NULL;
         known = known->next) {
        if (known->state != SHOAL_SPEC_WANTED || known->users == 0)
            continue;
        if (shoal_session_get(queue, SHOAL_KEY_SPEC, known->digest, take_spec, known, NULL) ==
            SHOAL_OK)
            known->state = SHOAL_SPEC_ASKED;
    }
}

/* ---- an upgrade */

static void save(struct shoal_known_spec *known, struct shoal_handover *handover) {
    char *text = NULL;
    size_t len = 0;
    if (shoal_spec_write(&known->spec, &text, NULL) == SHOAL_OK)
        len = strlen(text);
    else
        handover->failed = true;
    const char *view = text;
    shoal_carry_text(handover, known->digest, sizeof(known->digest));
    shoal_carry_view(handover, &view, &len, SHOAL_SPEC_MAX);
    free(text);
}

static void restore(struct shoal_specs *specs, struct shoal_handover *handover) {
    char digest[sizeof(specs->first->digest)] = "";
    const char *text = NULL;
    size_t len = 0;
    shoal_carry_text(handover, digest, sizeof(digest));
    shoal_carry_view(handover, &text, &len, SHOAL_SPEC_MAX);
    struct shoal_known_spec *known =
        handover->failed ? NULL : shoal_specs_get(specs, digest);
    if (known == NULL || known->state == SHOAL_SPEC_READY ||
        shoal_spec_read(text, len, &known->spec, NULL) != SHOAL_OK) {
        handover->failed = true;
        return;
    }
    known->state = SHOAL_SPEC_READY;
}

static struct shoal_known_spec *next_ready(struct shoal_known_spec *known) {
    while (known != NULL && (known->state != SHOAL_SPEC_READY || known->users == 0))
        known = known->next;
    return known;
}

void shoal_specs_carry(struct shoal_specs *specs, struct shoal_handover *handover) {
    struct shoal_known_spec *known = handover->saves ? next_ready(specs->first) : NULL;
    while (shoal_carry_more(handover, known != NULL)) {
        if (!handover->saves) {
            restore(specs, handover);
            continue;
        }
        save(known, handover);
        known = next_ready(known->next);
    }
}

void shoal_specs_let_go(struct shoal_specs *specs) {
    for (struct shoal_known_spec *known = specs->first; known != NULL;
         known = known->next) {
        if (known->state == SHOAL_SPEC_READY)
            shoal_specs_release(known);
    }
}
