#include "common/id.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

uint64_t shoal_random(void) {
    uint64_t value = 0;
    ssize_t got;
    do {
        got = getrandom(&value, sizeof(value), 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(value))
        abort(); /* a kernel without getrandom; ids that repeat would be worse */
    return value;
}

void shoal_id_make(char *id) {
    uint64_t bits = shoal_random();
    for (int i = 0; i < SHOAL_ID_LEN; i++) {
        id[i] = alphabet[bits & 31];
        bits >>= 5;
    }
    id[SHOAL_ID_LEN] = '\0';
}

bool shoal_id_is_prefix(const char *text) {
    size_t len = strlen(text);
    return len > 0 && len <= SHOAL_ID_LEN && strspn(text, alphabet) == len;
}

bool shoal_id_is_valid(const char *text) {
    return strlen(text) == SHOAL_ID_LEN && shoal_id_is_prefix(text);
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool shoal_name_is_valid(const char *text) {
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        char c = text[len];
        bool plain = is_letter(c) || is_digit(c) || c == '_';
        if (!plain && (len == 0 || (c != '.' && c != '-')))
            return false;
    }
    return len > 0 && len <= SHOAL_NAME_MAX;
}

bool shoal_parameter_name_is_valid(const char *text) {
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        char c = text[len];
        if (!is_letter(c) && c != '_' && (len == 0 || !is_digit(c)))
            return false;
    }
    return len > 0 && len <= SHOAL_NAME_MAX;
}

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t shoal_task_seed(uint64_t job_seed, uint64_t index) {
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    return mix(mix(job_seed + golden) + (index + 1) * golden) >> 1;
}

bool shoal_name_is_in(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *at = list; *at != '\0';) {
        size_t word = strcspn(at, ",");
        if (word == len && strncmp(at, name, len) == 0)
            return true;
        at += word + (at[word] == ',');
    }
    return false;
}
