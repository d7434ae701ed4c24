/* Every Redis key name, spelled once in keys.def. */
#ifndef SHOAL_KEYS_H
#define SHOAL_KEYS_H

#include <stddef.h>

enum shoal_key {
#define KEY(name, text, whose, type) SHOAL_KEY_##name,
#include "broker/keys.def"
#undef KEY
    SHOAL_KEY_COUNT
};

/* Of what lies in Redis. Whoever changes it so that a version of before would misread it,
 * or misses something, counts this up; scripts and programs refuse a store of another
 * layout. A store that says none has 1. */
#define SHOAL_LAYOUT 1

enum { SHOAL_KEY_MAX = 256, SHOAL_PREFIX_MAX = 80 };

/* "<namespace>:{0}:", what every key begins with, into SHOAL_PREFIX_MAX bytes. */
void shoal_key_prefix(char *prefix, const char *name_space);

/* The key of that kind for `of` (a job, session, queue …; "" for keys that stand alone),
 * into SHOAL_KEY_MAX bytes. */
void shoal_key_make(char *key, const char *prefix, enum shoal_key kind, const char *of);

#endif
