/* Where what must survive a reboot is kept, and what a person has set. */
#ifndef SHOAL_STATE_H
#define SHOAL_STATE_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Of a user: $SHOAL_STATE, else $XDG_STATE_HOME/shoal, else ~/.local/state/shoal. It need
 * not be there yet. SHOAL_INVALID: that is no absolute path, or too long a one. */
SHOAL_MUST_CHECK
enum shoal_status shoal_state_of_user(char *path, size_t room, struct shoal_error *err);

/* Of a daemon: $SHOAL_STATE, else root's /var/lib/shoal, else as of a user. */
SHOAL_MUST_CHECK
enum shoal_status shoal_state_of_daemon(char *path, size_t room, struct shoal_error *err);

/* Where a person's own file of that name is: $XDG_CONFIG_HOME/shoal/NAME, else
 * ~/.config/shoal/NAME. It need not be there. SHOAL_INVALID: that is no absolute path, or
 * too long a one. */
SHOAL_MUST_CHECK
enum shoal_status shoal_config_of_user(const char *name, char *path, size_t room,
                                       struct shoal_error *err);

/* Makes a directory of mode 0700 and those above it, as far as they are not there. The
 * path is absolute. False: errno says why not. */
SHOAL_MUST_CHECK
bool shoal_directories_make(const char *path);

/* The same, and the names of those that are made outlive the machine's power. */
SHOAL_MUST_CHECK
bool shoal_directories_make_lasting(const char *path);

/* That the name of what lies in the directory above `path` outlives it. */
void shoal_directory_sync_above(const char *path);

#endif
