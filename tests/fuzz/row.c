/* A row's bytes, which a sorter reads from a file in $TMPDIR. */
#include "client/row.h"

#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row row;
    SHOAL_CLEANUP(shoal_row_cleanup) struct shoal_row again;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_buffer bytes;
    shoal_row_init(&row);
    shoal_row_init(&again);
    shoal_buffer_init(&bytes, 1 << 24);
    if (shoal_row_read(&row, data, size, &err) == SHOAL_OK) {
        shoal_row_write(&row, &bytes);
        assert(shoal_row_read(&again, bytes.data, bytes.len, &err) == SHOAL_OK);
        assert(again.n == row.n && again.own == row.own && again.index == row.index);
    } else {
        assert(err.status == SHOAL_GARBAGE || err.status == SHOAL_MEMORY);
    }
    shoal_buffer_finish(&bytes);
    return 0;
}
