/* What a runner that stays says is done: read from a message that may be garbage. */
#ifndef SHOAL_DONE_H
#define SHOAL_DONE_H

#include "common/records.h"
#include "worker/runner.h"

struct shoal_done {
    struct shoal_report report; /* borrows from the message */
    struct shoal_failure *failures;
    int64_t memory; /* bytes that the runner has had at most */
    bool over;      /* the batch is */
    bool no_memory; /* to read it */
};

/* Reads the fields behind "done", of a batch whose tasks [lo, hi) are not reported yet;
 * their positions are `shift` more. False: it is no such message, tells of other tasks,
 * or its outcomes are not what it says: as many as tasks were done, and failures among
 * them in order. Clean up whatever comes. */
SHOAL_MUST_CHECK
bool shoal_done_read(struct shoal_record_reader *reader, int64_t shift, int64_t lo,
                     int64_t hi, struct shoal_done *done);
void shoal_done_cleanup(struct shoal_done *done);

#endif
