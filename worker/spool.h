/* A spool: commits in a file, for as long as Redis does not take them.
 *
 *     "shoal-spool 1\n"                          another version is another first line
 *     frame of the head                          whose it is: namespace, worker, redis, …
 *     frame of a commit                          as broker/commit_record.h writes it
 *     …
 *
 *     frame: length, CRC-32 of length and bytes (both 32 bits, little-endian), the bytes
 *
 * Whoever has the file locked owns it. It is appended to in one piece for all commits
 * that gathered, which is then synced; read from its start, again after a lost answer;
 * and removed when all was accepted. What cannot be read in it ends it: what is good
 * before is used, and in place of being removed the file is renamed to "….bad". */
#ifndef SHOAL_SPOOL_H
#define SHOAL_SPOOL_H

#include "broker/session.h"
#include "common/id.h"

enum { SHOAL_SPOOL_REDIS_MAX = 640 };

/* Whose outcomes they are. */
struct shoal_spool_head {
    char name_space[SHOAL_NAME_MAX + 1];
    char worker[SHOAL_NAME_MAX + 1];
    char redis[SHOAL_SPOOL_REDIS_MAX]; /* the address for people */
    char session[SHOAL_ID_LEN + 1];    /* that held the leases */
    char store[SHOAL_ID_LEN + 1];      /* whose jobs they are of */
};

/* ---- bytes alone; nothing here has a side effect */

enum shoal_spool_found {
    SHOAL_SPOOL_FOUND, /* and *ret_used bytes belong to it */
    SHOAL_SPOOL_PART,  /* the bytes end before it does; *ret_used bytes would hold it */
    SHOAL_SPOOL_BAD,   /* no spool of this version, or damaged */
    SHOAL_SPOOL_LATER, /* there is no memory for it now */
};

/* First line and head at the start of a file. *ret_head is untouched unless found. */
SHOAL_MUST_CHECK
enum shoal_spool_found shoal_spool_read_head(const void *bytes, size_t len,
                                             struct shoal_spool_head *ret_head,
                                             size_t *ret_used);

/* The commit whose frame `bytes` begins with; shoal_commit_finish() it if found. */
SHOAL_MUST_CHECK
enum shoal_spool_found shoal_spool_read(const void *bytes, size_t len,
                                        struct shoal_commit *ret_commit,
                                        size_t *ret_used);

void shoal_spool_write_head(struct shoal_buffer *bytes,
                            const struct shoal_spool_head *head);
void shoal_spool_write(struct shoal_buffer *bytes, const struct shoal_commit *commit);

/* ---- a file */

struct shoal_spool;

/* Makes `path`, which must not be there, and locks it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spool_create(const char *path,
                                     const struct shoal_spool_head *head,
                                     struct shoal_spool **ret_spool,
                                     struct shoal_error *err);

/* Opens one that was left behind and looks through all of it.
 *
 * SHOAL_REFUSED  its worker is alive and has it locked.
 * SHOAL_UNKNOWN  it is gone.
 * SHOAL_DENIED   it is not to be touched.
 * SHOAL_MEMORY, SHOAL_SYSTEM
 *                it may be good, and cannot be read now; it stays where it is.
 * SHOAL_GARBAGE  nothing in it can be used; it was renamed, as the sentence says.
 * SHOAL_OK       err holds a sentence if only its beginning can be used. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spool_open(const char *path, struct shoal_spool **ret_spool,
                                   struct shoal_error *err);

/* Closes it and leaves the file, for another worker. NULL is fine. */
void shoal_spool_close(struct shoal_spool *spool);

/* Closes it and removes the file (renames it, if not all of it could be read). */
void shoal_spool_remove(struct shoal_spool *spool);

const struct shoal_spool_head *shoal_spool_head(const struct shoal_spool *spool);
const char *shoal_spool_path(const struct shoal_spool *spool);

/* Bytes of the file, and how many it may have (0 at first: as many as there is room for).
 */
int64_t shoal_spool_size(const struct shoal_spool *spool);
void shoal_spool_set_most(struct shoal_spool *spool, int64_t most);

/* Adds a commit to what the next shoal_spool_sync() writes. SHOAL_FULL: it holds no
 * more. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spool_add(struct shoal_spool *spool,
                                  const struct shoal_commit *commit,
                                  struct shoal_error *err);

/* Writes what was added, so that it outlives the machine's power; after any other status
 * than SHOAL_OK none of it is there. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spool_sync(struct shoal_spool *spool, struct shoal_error *err);

/* Takes the next commit, in the order of writing; free() it behind its finish().
 *
 * SHOAL_UNKNOWN  there are no more.
 * SHOAL_GARBAGE  there were, and they are damaged.
 * SHOAL_MEMORY   there is no memory for it now.
 * SHOAL_SYSTEM   the disk does not give it. It rests for ten seconds, and what has not
 *                been read after a minute is as if damaged. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spool_next(struct shoal_spool *spool,
                                   struct shoal_commit **ret_commit,
                                   struct shoal_error *err);
void shoal_spool_rewind(struct shoal_spool *spool);         /* to what was not accepted */
void shoal_spool_accept(struct shoal_spool *spool);         /* what was taken so far */
bool shoal_spool_is_empty(const struct shoal_spool *spool); /* all was accepted */
bool shoal_spool_rests(const struct shoal_spool *spool);    /* not to be read now */
bool shoal_spool_may_grow(const struct shoal_spool *spool); /* made here, still there */

size_t shoal_spool_commits(const struct shoal_spool *spool); /* not accepted yet */
int64_t shoal_spool_bytes(const struct shoal_spool *spool);

/* Calls `visit` with every lease of which something is not accepted yet, or with ranges
 * of it. */
void shoal_spool_each(const struct shoal_spool *spool,
                      void (*visit)(void *owner, const struct shoal_lease *lease),
                      void *owner);

#endif
