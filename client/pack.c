#include "client/pack.h"

#include "common/records.h"

#include <string.h>

enum {
    ARGUMENTS_MOST = 4096,
    BYTES_MOST = 65536,
    HEAD_BYTES = 7, /* "*4096\r\n" */
};

void shoal_pack_init(struct shoal_pack *pack) {
    *pack = (struct shoal_pack){.n = 0};
    shoal_buffer_init(&pack->bytes, SHOAL_PACK_BYTES_MAX);
}

void shoal_pack_finish(struct shoal_pack *pack) {
    shoal_buffer_finish(&pack->bytes);
    pack->n = 0;
}

void shoal_pack_cleanup(struct shoal_pack *pack) {
    shoal_pack_finish(pack);
}

void shoal_pack_clear(struct shoal_pack *pack) {
    shoal_buffer_clear(&pack->bytes);
    pack->n = 0;
}

bool shoal_pack_has_room(const struct shoal_pack *pack, size_t len) {
    return pack->n == 0 ||
           (pack->n < ARGUMENTS_MOST && pack->bytes.len + len <= BYTES_MOST);
}

void shoal_pack_add(struct shoal_pack *pack, const char *argument, size_t len) {
    if (pack->n == 0)
        shoal_buffer_add(&pack->bytes, "       ", HEAD_BYTES);
    shoal_record_bytes(&pack->bytes, argument, len);
    pack->n++;
}

/* The head is written right before the first string, so that nothing has to move. */
enum shoal_status shoal_pack_bytes(struct shoal_pack *pack, const char **ret_bytes,
                                   size_t *ret_len, struct shoal_error *err) {
    struct shoal_buffer head;
    shoal_buffer_init(&head, HEAD_BYTES);
    shoal_record_array(&head, (size_t)pack->n);
    enum shoal_status status = shoal_buffer_check(&pack->bytes, "a pack of rows", err);
    if (status == SHOAL_OK)
        status = shoal_buffer_check(&head, "the head of a pack", err);
    if (status == SHOAL_OK) {
        size_t at = pack->n == 0 ? 0 : HEAD_BYTES - head.len;
        memcpy(pack->bytes.data + at, head.data, head.len);
        *ret_bytes = pack->bytes.data + at;
        *ret_len = pack->bytes.len - at;
    }
    shoal_buffer_finish(&head);
    return status;
}
