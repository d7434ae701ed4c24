/* What the tests of the moves share: one fleet, a job at hand, and short words for what
 * is done with them all the time. Each test runs twice, by Check's loop index: 0, every
 * move once; 1, every move twice, as after a lost answer. */
#ifndef SHOAL_TEST_PLAY_H
#define SHOAL_TEST_PLAY_H

#include "tests/support/fleet.h"

#include <check.h>

extern struct test_fleet fleet;
extern char job[13]; /* the last that was submitted */
extern struct shoal_error play_err;
extern const char one[], two[], three[], four[]; /* sessions */

/* A fleet in which session `one` lives. */
void play_start(int repeat);
void play_join(const char *session); /* one more */

/* A job of `total` tasks with an id, to be changed and then submitted. */
struct shoal_submission play_usual(int64_t total);
void play_submit(const struct shoal_submission *submission);

/* A call that gives a status, once or twice, with proof of conservation after it. */
#define play_move(expected, call)                                                        \
    do {                                                                                 \
        for (int times_ = 0; times_ <= fleet.repeat; times_++) {                         \
            play_err = (struct shoal_error){.status = SHOAL_OK};                         \
            enum shoal_status status_ = (call);                                          \
            ck_assert_msg(status_ == (expected), "%s: status %d, %s", #call, status_,    \
                          play_err.text);                                                \
            play_audit();                                                                \
        }                                                                                \
    } while (0)
void play_audit(void); /* unless the fleet says not to */

/* A lease that must be given, or must not. */
struct shoal_lease play_lease(const char *session, const char *name, int64_t most);
void play_no_lease(const char *session, const char *name);

/* Makes the job look as if many tasks of a microsecond had run: leases are long. */
void play_warm(const char *id);

/* Lets the session end for its silence while `other` (or NULL) goes on. */
void play_silence(const char *other);

/* Stands for a lease that a worker remembers of the job at hand. */
struct shoal_lease play_remembered(const char *name, int64_t lo, int64_t hi,
                                   int64_t attempt);

void expect_outcomes(const char *expected);
void expect_state(enum shoal_job_state state);
void expect_range(const struct shoal_lease *lease, int64_t lo, int64_t hi,
                  int64_t attempt);
/* Counters of the job at hand. */
void expect_tasks(int64_t queued, int64_t leased, int64_t ok, int64_t failed,
                  int64_t cancelled);
/* The oldest message of a session, taken out; "" for none. */
void expect_message(const char *session, const char *format, ...);

/* "<prefix><key of that kind>", in one of a few places that are used in turn. */
const char *play_key(enum shoal_key kind, const char *of);

/* Runs the tests, each in both ways. Returns the status to exit with. */
int play_main(const char *name, const TTest *const *tests, size_t n);

#endif
