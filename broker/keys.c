#include "broker/keys.h"

#include <stdio.h>

static const char *const texts[] = {
#define KEY(name, text, whose, type) [SHOAL_KEY_##name] = (text),
#include "broker/keys.def"
#undef KEY
};

void shoal_key_prefix(char *prefix, const char *name_space) {
    snprintf(prefix, SHOAL_PREFIX_MAX, "%s:{0}:", name_space);
}

void shoal_key_make(char *key, const char *prefix, enum shoal_key kind, const char *of) {
    snprintf(key, SHOAL_KEY_MAX, "%s%s%s", prefix, texts[kind], of);
}
