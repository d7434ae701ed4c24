/* A commit as bytes, for whoever keeps it outside of memory: the spool, and a worker that
 * hands what it has not sent to its successor. One RESP array:
 *
 *     job, lease, lo, hi, rest, over, work µs, failures, the words of the failures as one
 *     string, number of elements, the elements as one string */
#ifndef SHOAL_COMMIT_RECORD_H
#define SHOAL_COMMIT_RECORD_H

#include "broker/session.h"

/* One for whose outcomes there was no memory is written without them: its tasks run
 * again, as they would have. Check the buffer afterwards. */
void shoal_commit_write(struct shoal_buffer *buffer, const struct shoal_commit *commit);

/* Takes the next record. What is not a commit that could have been written is
 * SHOAL_GARBAGE, whatever bytes there are. *ret_commit is a copy: shoal_commit_finish()
 * it; it is untouched unless SHOAL_OK is returned. */
SHOAL_MUST_CHECK
enum shoal_status shoal_commit_read(struct shoal_record_reader *reader,
                                    struct shoal_commit *ret_commit,
                                    struct shoal_error *err);

#endif
