/* The keeper: the worker's parent, which does nothing but wait.
 *
 *     keeper (subreaper) ── worker (subreaper) ── tasks and their trees
 *
 * When the worker is killed, its tasks' trees fall to the keeper, who ends them and
 * starts a new worker, which ends the dead one's session in Redis at once. When the
 * keeper is killed, the worker notices by the pipe between them and stops. Signals to the
 * keeper go on to the worker. */
#ifndef SHOAL_KEEPER_H
#define SHOAL_KEEPER_H

#include "worker/worker.h"

#define SHOAL_KEEPER_ROLE "keeper" /* of a handover */

/* Keeps a worker running until it ends by itself. The program's exit status. */
int shoal_keeper_run(struct shoal_worker_config *config);

#endif
