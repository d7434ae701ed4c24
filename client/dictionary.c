#include "client/dictionary.h"

#include "common/cleanup.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 32 };

void shoal_dictionary_init(struct shoal_dictionary *dictionary, size_t limit) {
    *dictionary = (struct shoal_dictionary){0};
    shoal_buffer_init(&dictionary->bytes, limit);
}

void shoal_dictionary_finish(struct shoal_dictionary *dictionary) {
    free(dictionary->starts);
    free(dictionary->slots);
    shoal_buffer_finish(&dictionary->bytes);
    shoal_dictionary_init(dictionary, dictionary->bytes.limit);
}

void shoal_dictionary_clear(struct shoal_dictionary *dictionary) {
    dictionary->n = 0;
    shoal_buffer_clear(&dictionary->bytes);
    if (dictionary->n_slots > 0)
        memset(dictionary->slots, 0, dictionary->n_slots * sizeof(*dictionary->slots));
}

/* FNV-1a, finished by a multiplication so that the low bits depend on all of it. */
static size_t hash(const char *bytes, size_t len) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return (size_t)((h ^ h >> 32) * UINT64_C(0x9e3779b97f4a7c15) >> 20);
}

/* The length of text `number`: up to where the next begins, without the NUL. */
static size_t text_len(const struct shoal_dictionary *dictionary, size_t number) {
    size_t end = number + 1 < dictionary->n ? dictionary->starts[number + 1]
                                            : dictionary->bytes.len;
    return end - 1 - dictionary->starts[number];
}

/* The slot that has the text, or the empty one where it belongs. */
static size_t *slot_of(const struct shoal_dictionary *dictionary, const void *bytes,
                       size_t len) {
    size_t mask = dictionary->n_slots - 1;
    for (size_t i = hash(bytes, len) & mask;; i = (i + 1) & mask) {
        size_t number = dictionary->slots[i] - 1;
        if (dictionary->slots[i] == 0 ||
            (text_len(dictionary, number) == len &&
             memcmp(shoal_dictionary_text(dictionary, number), bytes, len) == 0))
            return &dictionary->slots[i];
    }
}

size_t shoal_dictionary_find(const struct shoal_dictionary *dictionary, const void *bytes,
                             size_t len) {
    return dictionary->n == 0 ? SHOAL_NOT_THERE : *slot_of(dictionary, bytes, len) - 1;
}

/* Twice the slots, at most half of which are taken. */
static bool grow_slots(struct shoal_dictionary *dictionary) {
    size_t n_slots = dictionary->n_slots == 0 ? SLOTS_MIN : dictionary->n_slots * 2;
    size_t *slots = calloc(n_slots, sizeof(*slots));
    if (slots == NULL)
        return false;
    free(dictionary->slots);
    dictionary->slots = slots;
    dictionary->n_slots = n_slots;
    for (size_t i = 0; i < dictionary->n; i++)
        *slot_of(dictionary, shoal_dictionary_text(dictionary, i),
                 text_len(dictionary, i)) = i + 1;
    return true;
}

static bool make_room(struct shoal_dictionary *dictionary) {
    if (dictionary->n == dictionary->room) {
        size_t room = dictionary->room == 0 ? SLOTS_MIN / 2 : dictionary->room * 2;
        size_t *starts = realloc(dictionary->starts, room * sizeof(*starts));
        if (starts == NULL)
            return false;
        dictionary->starts = starts;
        dictionary->room = room;
    }
    return dictionary->n * 2 < dictionary->n_slots || grow_slots(dictionary);
}

static bool append(struct shoal_dictionary *dictionary, const void *bytes, size_t len) {
    size_t start = dictionary->bytes.len;
    if (!make_room(dictionary))
        return false;
    size_t *slot = slot_of(dictionary, bytes, len);
    shoal_buffer_add(&dictionary->bytes, bytes, len);
    shoal_buffer_add_char(&dictionary->bytes, '\0');
    if (dictionary->bytes.failed) {
        dictionary->bytes.len = start;
        return false;
    }
    dictionary->starts[dictionary->n++] = start;
    *slot = dictionary->n;
    return true;
}

enum shoal_status shoal_dictionary_add(struct shoal_dictionary *dictionary,
                                       const void *bytes, size_t len, size_t *ret_number,
                                       struct shoal_error *err) {
    size_t number = shoal_dictionary_find(dictionary, bytes, len);
    if (number == SHOAL_NOT_THERE) {
        if (len >= dictionary->bytes.limit - dictionary->bytes.len)
            return shoal_error_set(err, SHOAL_MEMORY,
                                   "there is no room for more than %zu different names "
                                   "or values",
                                   dictionary->n);
        if (!append(dictionary, bytes, len))
            return shoal_error_set(err, SHOAL_MEMORY, "no memory left for names");
        number = dictionary->n - 1;
    }
    *ret_number = number;
    return SHOAL_OK;
}

const char *shoal_dictionary_text(const struct shoal_dictionary *dictionary,
                                  size_t number) {
    return shoal_buffer_text(&dictionary->bytes) + dictionary->starts[number];
}
