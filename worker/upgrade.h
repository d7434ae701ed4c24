/* Which program a worker becomes when it is told to (SIGUSR2), and whether that is fit.
 *
 * It is the one that lies now where this one was started from: a package has replaced the
 * file. Before anybody becomes it, it is run with the same arguments and
 * --check-upgrade, and has to say that it reads what this program hands over. */
#ifndef SHOAL_UPGRADE_H
#define SHOAL_UPGRADE_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the program lies that was started as argv[0], as an absolute path; links in it
 * are not followed, so that one that leads to a newer version later is. The caller's:
 * free(). NULL: it cannot be told. */
char *shoal_upgrade_find(const char *word);

/* What --check-upgrade prints. */
void shoal_upgrade_print(void);

struct shoal_upgrade_check {
    pid_t pid;     /* 0: none is under way */
    int said;      /* what it prints, in memory; -1 */
    int64_t until; /* its end, ms */
};

/* Starts the program for a look at it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_upgrade_begin(struct shoal_upgrade_check *check,
                                      const char *program, char *const *argv,
                                      struct shoal_error *err);

/* It has ended with that wait status. SHOAL_OK: it can take over. SHOAL_REFUSED: the
 * sentence says why not. */
SHOAL_MUST_CHECK
enum shoal_status shoal_upgrade_end(struct shoal_upgrade_check *check, int status,
                                    struct shoal_error *err);

#endif
