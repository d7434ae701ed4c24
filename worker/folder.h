/* A worker's private folder, "<directory>/shoal-<session>", in which its tasks have their
 * temporary directories. The worker has locked a file in it as long as it lives, in which
 * the host's name stands, so that the folders of dead workers can be told from those of
 * living ones, and of other hosts that share a file system. */
#ifndef SHOAL_FOLDER_H
#define SHOAL_FOLDER_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

void shoal_folder_path(const char *directory, const char *session, char *path,
                       size_t room);

/* Makes and locks it; `shared`: another user's tasks must reach what is theirs in it.
 * *ret_lock is to stay open. One that is there already, after a re-exec, is taken over.
 */
SHOAL_MUST_CHECK
enum shoal_status shoal_folder_create(const char *path, bool shared, int *ret_lock,
                                      struct shoal_error *err);

/* Makes it again if somebody has taken it away since, who clears up what is old, say;
 * then *lock is that of the new one. */
SHOAL_MUST_CHECK
enum shoal_status shoal_folder_keep(const char *path, bool shared, int *lock,
                                    struct shoal_error *err);

/* Removes it, which must be empty but for the lock, and closes the lock (-1: none). */
void shoal_folder_finish(const char *path, int lock);

/* Calls `end` for each folder of this user whose worker, on this host, is dead, and then
 * removes it with all that is in it. Returns how many there were. */
size_t shoal_folder_clear_dead(const char *directory, void (*end)(const char *path));

#endif
