/* Directories that are emptied: a task's private one, a dead worker's. Symbolic links are
 * removed, never followed; other file systems are not entered. */
#ifndef SHOAL_SCRATCH_H
#define SHOAL_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Makes `path` an empty directory of mode 0700, whatever was there. False: it cannot be,
 * errno says why; EAGAIN: it takes longer than a second, go on by calling it again. */
bool shoal_scratch_make_empty(const char *path);

/* Whether nothing was put into `path` since it was made empty here; cheap. When in doubt,
 * false. */
bool shoal_scratch_is_untouched(const char *path);

/* Removes `path`, relative to the open directory `parent`, with everything in it, as far
 * as it can be within so many ms. False: it is still there, errno says why; EAGAIN: it
 * takes longer. */
bool shoal_scratch_remove_within(int parent, const char *path, int64_t limit_ms);

/* The same of any path, within half a minute. */
void shoal_scratch_remove_tree(const char *path);

#endif
