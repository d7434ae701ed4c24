/* Arguments of tasks being gathered into what one append brings: a RESP array of strings,
 * 4,096 of them or about 64 KiB at most. */
#ifndef SHOAL_PACK_H
#define SHOAL_PACK_H

#include "common/buffer.h"

#include <stdint.h>

enum { SHOAL_PACK_BYTES_MAX = 1 << 20 }; /* no pack comes near */

struct shoal_pack {
    int64_t n;
    struct shoal_buffer bytes; /* of the strings, behind room for the array's head */
};

void shoal_pack_init(struct shoal_pack *pack);
void shoal_pack_finish(struct shoal_pack *pack);
void shoal_pack_clear(struct shoal_pack *pack);
void shoal_pack_cleanup(struct shoal_pack *pack); /* finish, for SHOAL_CLEANUP */

/* Whether it takes one more of that length; an empty one takes any. */
bool shoal_pack_has_room(const struct shoal_pack *pack, size_t len);
void shoal_pack_add(struct shoal_pack *pack, const char *argument, size_t len);

/* The whole array, the pack's own until it is changed. SHOAL_MEMORY: it did not fit. */
SHOAL_MUST_CHECK
enum shoal_status shoal_pack_bytes(struct shoal_pack *pack, const char **ret_bytes,
                                   size_t *ret_len, struct shoal_error *err);

#endif
