/* The spools of a worker: the one that it writes, and those that it found when it
 * started, of workers of its name that died or ended while Redis was away. They lie in
 * one directory as "<worker>.<session>.<number>.spool". The oldest is sent first.
 *
 * Outcomes of another store than the one that Redis holds now stay where they are. What
 * cannot be read for want of memory, or because the disk fails, is no damage: it is tried
 * again. */
#ifndef SHOAL_SPOOLS_H
#define SHOAL_SPOOLS_H

#include "worker/spool.h"

#include <limits.h>

enum { SHOAL_SPOOLS_MAX = 64, SHOAL_SPOOLS_OTHERS = 16 };

struct shoal_spools {
    const char *directory;
    int64_t most;                 /* bytes of all files together */
    struct shoal_spool_head head; /* of what is written from now on */
    char store[SHOAL_ID_LEN + 1]; /* that Redis holds, as far as is known */
    struct shoal_spool *all[SHOAL_SPOOLS_MAX];
    size_t n;
    int64_t find_again_ms; /* some could not be opened: then; 0: all were */
    /* Names of those that another worker has, which may be about to end, or that may be
     * another's as long as it is not known which store Redis holds. */
    char others[SHOAL_SPOOLS_OTHERS][NAME_MAX + 1];
    size_t n_others;
    int64_t look_ms;        /* when they are looked at again */
    int64_t said_locked_ms; /* when it was said that another worker has one */
    int64_t said_ms;        /* when it was said that one cannot be read */
    int number;             /* of the next file */
    int64_t said_full_ms;   /* when it was said that nothing more can be written */
    int64_t try_again_ms;   /* not before then, after it could not be written */
    char trouble[512];      /* why it could not be the last time; "": it could */
};

/* `head` without a store. The directory is made when there is something to write. */
void shoal_spools_init(struct shoal_spools *spools, const char *directory, int64_t most,
                       const struct shoal_spool_head *head);
void shoal_spools_finish(struct shoal_spools *spools); /* leaves the files */

/* Opens those that nobody has, and says what was found. */
void shoal_spools_find(struct shoal_spools *spools);

/* Looks again at those that could not be read, or were another worker's, the last time
 * (with now_ms: if that is a while ago). Whether there are more now. */
bool shoal_spools_find_again(struct shoal_spools *spools, int64_t now_ms);

/* Sessions that left what was found, joined by commas, without our own. */
void shoal_spools_sessions(const struct shoal_spools *spools, struct shoal_buffer *text);

/* What Redis holds now; says what stays where it is. */
void shoal_spools_set_store(struct shoal_spools *spools, const char *store);

/* Begins to write: a spool to which commits are added, or NULL when that is not possible
 * now, which is said now and then. */
struct shoal_spool *shoal_spools_begin(struct shoal_spools *spools, int64_t now_ms);
void shoal_spools_failed(struct shoal_spools *spools, const struct shoal_error *why,
                         int64_t now_ms);

/* What was written is safe. */
void shoal_spools_written(struct shoal_spools *spools);

/* Whether anything could be written now; looks at the directory. SHOAL_SYSTEM: no. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spools_look(const struct shoal_spools *spools,
                                    struct shoal_error *err);

/* The next commit that Redis may have now. SHOAL_UNKNOWN: there is none. SHOAL_MEMORY:
 * there is one, which must go before anything else, and no memory for it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spools_next(struct shoal_spools *spools,
                                    struct shoal_commit **ret_commit);
void shoal_spools_rewind(struct shoal_spools *spools);
void shoal_spools_accept(struct shoal_spools *spools); /* removes what was all accepted */

struct shoal_spools_sum {
    size_t commits;
    int64_t bytes;
    bool waits; /* some of it for this store */
};
struct shoal_spools_sum shoal_spools_sum(const struct shoal_spools *spools);

void shoal_spools_each(const struct shoal_spools *spools,
                       void (*visit)(void *owner, const struct shoal_lease *lease),
                       void *owner);

#endif
