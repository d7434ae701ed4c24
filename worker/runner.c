#include "worker/runner.h"

#include <inttypes.h>

enum shoal_status shoal_batch_parameters(const struct shoal_batch *batch,
                                         struct shoal_parameters *ret_parameters,
                                         struct shoal_error *err) {
    const char *argument = NULL;
    size_t len = 0;
    if (batch->arguments != NULL) {
        struct shoal_record_reader reader = *batch->arguments;
        if (!shoal_record_read_bytes(&reader, &argument, &len))
            return shoal_error_set(err, SHOAL_GARBAGE,
                                   "the argument of task %" PRId64 " is not there",
                                   batch->lo);
    }
    return shoal_parameters_make(batch->spec, batch->lo, argument, len, ret_parameters,
                                 err);
}
