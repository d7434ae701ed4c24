/* Texts numbered in the order in which they first came: 0, 1, 2 …
 *
 * One structure for the names of columns, the values of groups and the keys
 * of a result. */
#ifndef SHOAL_DICTIONARY_H
#define SHOAL_DICTIONARY_H

#include "common/buffer.h"
#include "common/error.h"

#include <stddef.h>

#define SHOAL_NOT_THERE ((size_t)-1)

struct shoal_dictionary {
    struct shoal_buffer bytes; /* all texts, each followed by a NUL */
    size_t *starts;            /* where text i begins in `bytes` */
    size_t n;
    size_t room;    /* for `starts` */
    size_t *slots;  /* open addressing: a text's number + 1, or 0 */
    size_t n_slots; /* a power of two, or 0 while empty */
};

/* `limit`: bytes that all texts together may take. */
void shoal_dictionary_init(struct shoal_dictionary *dictionary, size_t limit);
void shoal_dictionary_finish(struct shoal_dictionary *dictionary);

/* Empties it, keeps its memory. */
void shoal_dictionary_clear(struct shoal_dictionary *dictionary);

/* The number of a text, or SHOAL_NOT_THERE. */
size_t shoal_dictionary_find(const struct shoal_dictionary *dictionary, const void *bytes,
                             size_t len);

/* The same, after adding it where it is new. SHOAL_MEMORY: no room. */
SHOAL_MUST_CHECK
enum shoal_status shoal_dictionary_add(struct shoal_dictionary *dictionary,
                                       const void *bytes, size_t len, size_t *ret_number,
                                       struct shoal_error *err);

/* Text `number`, terminated, valid until the next addition. */
const char *shoal_dictionary_text(const struct shoal_dictionary *dictionary,
                                  size_t number);

#endif
