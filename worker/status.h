/* What a worker says of itself to people of its host, also while Redis is away: each has
 * a socket "<name>.<pid>.sock" in $XDG_RUNTIME_DIR/shoal, /run/shoal (root) or
 * /tmp/shoal-<uid>, which only its user may enter. Whoever connects is sent one JSON
 * object, and the connection is closed; nothing is read. */
#ifndef SHOAL_STATUS_H
#define SHOAL_STATUS_H

#include "worker/worker.h"

enum { SHOAL_STATUS_MAX = 4 << 20 }; /* bytes of an answer */

struct shoal_status_socket;

/* Listens. NULL, after saying why, when that is not possible: the worker works anyway. */
struct shoal_status_socket *shoal_status_listen(const struct shoal_worker *worker);
void shoal_status_close(struct shoal_status_socket *status); /* NULL is fine */

/* Opens the directory, which is the user's alone; it is made if `make` says so. Root may
 * look into that of a service, which runs as another user.
 * SHOAL_UNKNOWN: there is none. */
SHOAL_MUST_CHECK
enum shoal_status shoal_status_directory(bool make, int *ret_fd, struct shoal_error *err);

/* Asks all workers of that name (NULL: of any) and prints what they say. The program's
 * exit status: 1 when there are none. */
int shoal_status_ask(const char *name, bool json);

#endif
