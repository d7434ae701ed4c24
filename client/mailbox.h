/* What a client is told without asking. Of the jobs that it submitted with `waits`
 * Redis notes in the client's own list that there are results, and how each ended, with
 * its results when they are one small entry. A connection of its own blocks on that
 * list from the first wait on.
 *
 * It is a help and no more: what is lost of it, with Redis or because nobody read, is
 * found by looking at the job, which whoever waits does now and then anyway. */
#ifndef SHOAL_MAILBOX_H
#define SHOAL_MAILBOX_H

#include "broker/queue.h"

#include <event2/event.h>

struct shoal_mailbox;

/* How a job ended. */
struct shoal_letter {
    char job[13];
    enum shoal_job_state state;
    int64_t total, ok, failed, cancelled;
    const char *entry; /* its only entry of results, in the letter's memory; NULL: look */
    size_t len;
};

/* Nothing is connected yet. */
SHOAL_MUST_CHECK
enum shoal_status shoal_mailbox_create(struct event_base *base,
                                       const struct shoal_redis_address *address,
                                       const char *name_space,
                                       struct shoal_mailbox **ret_mailbox,
                                       struct shoal_error *err);
void shoal_mailbox_destroy(struct shoal_mailbox *mailbox); /* NULL is fine */

/* What its jobs are to name as their waiter. */
const char *shoal_mailbox_name(const struct shoal_mailbox *mailbox);

/* Notes that a job of so many tasks names it as its waiter. A hundred thousand are
 * remembered, until their letter comes. */
void shoal_mailbox_expect(struct shoal_mailbox *mailbox, const char *job, int64_t total);

/* A job that was noted, and whose end was neither told nor seen. */
struct shoal_expected {
    char job[13];
    int64_t total;
    int64_t due_ms; /* when it is to be looked at, should its letter be lost */
};

/* NULL: there is no such. The caller may move its due_ms on. */
struct shoal_expected *shoal_mailbox_expects(const struct shoal_mailbox *mailbox,
                                             const char *job);

/* It was seen to have ended. */
void shoal_mailbox_seen(struct shoal_mailbox *mailbox, const char *job);

/* It has not ended any more, or is gone: a letter that came, or is still to come, is not
 * all that there is to know. */
void shoal_mailbox_distrust(struct shoal_mailbox *mailbox, const char *job);

/* Takes the letter of that job, the caller's: free(). NULL: there is none. */
struct shoal_letter *shoal_mailbox_take(struct shoal_mailbox *mailbox, const char *job);

/* Waits until something comes, `ms` at most (0: takes what is there). The loop's other
 * events happen meanwhile; it returns early when one calls event_base_loopbreak().
 * Returns whether something came. */
bool shoal_mailbox_wait(struct shoal_mailbox *mailbox, int64_t ms);

#endif
