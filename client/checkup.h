/* What doctor finds, told by whoever looks. */
#ifndef SHOAL_CHECKUP_H
#define SHOAL_CHECKUP_H

#include "broker/server.h"
#include "client/cli.h"

enum shoal_verdict { SHOAL_GOOD, SHOAL_WARNING, SHOAL_BAD, SHOAL_VERDICT_COUNT };

struct shoal_checkup {
    struct shoal_use *use;
    struct shoal_row row; /* of --json */
    struct shoal_server server;
    char user[128]; /* that looks; "" while that is not known */
    int counts[SHOAL_VERDICT_COUNT];
};

/* A finding in one sentence, with what to do where it is not good. */
void shoal_checkup_tell(struct shoal_checkup *checkup, enum shoal_verdict verdict,
                        const char *what, const char *format, ...) SHOAL_PRINTF(4, 5);

/* Whether this user may do more than its role needs, whether others get in without a
 * password, and whether the functions are ours. What this user may not look at is told as
 * such. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkup_access(struct shoal_checkup *checkup,
                                       struct shoal_error *err);

/* Whether this user may run a command, by ACL DRYRUN: Redis notes whatever it denies, and
 * who looks should not be in that. `ret_may`: 1, 0, or -1 when Redis does not tell. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkup_may(struct shoal_checkup *checkup,
                                    const char *const *words, int *ret_may,
                                    struct shoal_error *err);

/* Gives Redis the functions of this version, in place of what is there by their name. */
SHOAL_MUST_CHECK
enum shoal_status shoal_checkup_load(struct shoal_checkup *checkup,
                                     struct shoal_error *err);

#endif
