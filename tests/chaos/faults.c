#include "tests/chaos/faults.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 256, NAME_MAX_LEN = 64, RULES_MAX = 256 };

static const char *const words[FAULT_COUNT] = {
    [FAULT_NONE] = "calls",  [FAULT_CUT] = "cut",     [FAULT_DEAF] = "deaf",
    [FAULT_DELAY] = "delay", [FAULT_FLOOD] = "flood", [FAULT_GARBLE] = "garble",
    [FAULT_HALF] = "half",   [FAULT_LOSE] = "lose",   [FAULT_PART] = "part",
};

struct known {
    char name[NAME_MAX_LEN];
    uint64_t calls;
    uint64_t counts[FAULT_COUNT];
};

struct rule {
    enum fault fault;
    double share;
    char pattern[NAME_MAX_LEN];
};

struct faults {
    uint64_t seed;
    struct known names[NAMES_MAX]; /* the last stands for all that find no place */
    size_t n_names;
    struct rule rules[RULES_MAX];
    size_t n_rules;
};

struct faults *faults_create(uint64_t seed) {
    struct faults *faults = calloc(1, sizeof(*faults));
    if (faults != NULL)
        faults->seed = seed;
    return faults;
}

void faults_destroy(struct faults *faults) {
    free(faults);
}

/* ---- rules */

static bool find_fault(const char *word, enum fault *ret_fault) {
    for (enum fault fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
        if (strcmp(words[fault], word) == 0) {
            *ret_fault = fault;
            return true;
        }
    }
    return false;
}

static struct rule *place_for(struct faults *faults, enum fault fault,
                              const char *pattern) {
    for (size_t i = 0; i < faults->n_rules; i++) {
        struct rule *rule = &faults->rules[i];
        if (rule->fault == fault && strcmp(rule->pattern, pattern) == 0)
            return rule;
    }
    return faults->n_rules < RULES_MAX ? &faults->rules[faults->n_rules++] : NULL;
}

bool faults_set(struct faults *faults, const char *word, double share,
                const char *pattern) {
    enum fault fault = FAULT_NONE;
    struct rule *rule;
    if (!find_fault(word, &fault) || strlen(pattern) >= NAME_MAX_LEN ||
        (rule = place_for(faults, fault, pattern)) == NULL)
        return false;
    rule->fault = fault;
    rule->share = share;
    strcpy(rule->pattern, pattern);
    return true;
}

void faults_clear(struct faults *faults) {
    faults->n_rules = 0;
}

static double share_of(const struct faults *faults, enum fault fault, const char *name) {
    for (size_t i = faults->n_rules; i-- > 0;) {
        const struct rule *rule = &faults->rules[i];
        if (rule->fault == fault && fnmatch(rule->pattern, name, 0) == 0)
            return rule->share;
    }
    return 0;
}

/* ---- fates */

static struct known *know(struct faults *faults, const char *name) {
    for (size_t i = 0; i < faults->n_names; i++) {
        if (strcmp(faults->names[i].name, name) == 0)
            return &faults->names[i];
    }
    if (faults->n_names == NAMES_MAX)
        return &faults->names[NAMES_MAX - 1];
    struct known *known = &faults->names[faults->n_names++];
    snprintf(known->name, sizeof(known->name), "%s", name);
    return known;
}

static uint64_t mix(uint64_t x) { /* splitmix64 */
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t hash(const char *text) { /* FNV-1a */
    uint64_t value = UINT64_C(14695981039346656037);
    for (; *text != '\0'; text++)
        value = (value ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return value;
}

struct fate faults_next(struct faults *faults, const char *name) {
    struct known *known = know(faults, name);
    uint64_t chance = mix(mix(faults->seed ^ hash(name)) + known->calls++);
    double drawn = (double)(chance >> 11) / (double)(UINT64_C(1) << 53);
    struct fate fate = {.fault = FAULT_NONE, .chance = mix(chance)};
    for (enum fault fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
        double share = share_of(faults, fault, name);
        if (drawn < share) {
            fate.fault = fault;
            known->counts[fault]++;
            break;
        }
        drawn -= share;
    }
    return fate;
}

void faults_print(const struct faults *faults, FILE *file) {
    fputc('{', file);
    for (size_t i = 0; i < faults->n_names; i++) {
        const struct known *known = &faults->names[i];
        fprintf(file, "%s\"%s\": {\"%s\": %" PRIu64, i == 0 ? "" : ", ", known->name,
                words[FAULT_NONE], known->calls);
        for (enum fault fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
            if (known->counts[fault] > 0)
                fprintf(file, ", \"%s\": %" PRIu64, words[fault], known->counts[fault]);
        }
        fputc('}', file);
    }
    fputs("}\n", file);
}
