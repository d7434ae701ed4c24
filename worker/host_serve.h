/* A runner's side of the protocol in README.md: takes batches, calls the function for
 * each task, packs what comes out. */
#ifndef SHOAL_HOST_SERVE_H
#define SHOAL_HOST_SERVE_H

#include "worker/shoal_task.h"

/* What a runner is given by its worker. */
enum { SHOAL_HOST_SOCKET = 3, SHOAL_HOST_SLATE = 4 };

/* Serves until the worker closes the connection. The program's exit status. */
int shoal_host_serve(shoal_task_fn run);

#endif
