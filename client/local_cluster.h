/* The local cluster: a private redis-server on a unix socket with an append-only file, a
 * broker and a worker, for who has configured no Redis. Everything lies in the state
 * directory ($SHOAL_STATE, $XDG_STATE_HOME/shoal or ~/.local/state/shoal):
 *
 *   lock         locked while something is started or stopped
 *   users        locked, shared, by every command that uses the cluster
 *   keep         is there: `shoal up` was said, only `shoal down` stops it
 *   namespace    of the last start, if it ever was another than the usual one
 *   redis/       the data, which stay when it is stopped
 *   spool/       outcomes that its worker could not tell Redis yet, and
 *   checkpoints/ what tasks keep over their attempts; or where $SHOAL_SPOOL and
 *                $SHOAL_CHECKPOINTS say
 *   redis.sock   or, where a socket's path may not be so long, below /tmp
 *   redis.pid worker.pid broker.pid   locked by the daemon as long as it lives
 *   redis.log worker.log broker.log
 *   last         id of the job that was submitted last from here
 *   listen/ join trusted-keys   of a cluster that listens, or did: invitation.h
 *
 * The locks are fcntl's, which tell the pid of who holds them: so a stranger that has
 * got a dead daemon's pid is never signalled. */
#ifndef SHOAL_LOCAL_CLUSTER_H
#define SHOAL_LOCAL_CLUSTER_H

#include "client/local_daemons.h"
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

enum shoal_cluster_need {
    SHOAL_CLUSTER_READ, /* Redis alone, if there are data; else SHOAL_UNKNOWN */
    SHOAL_CLUSTER_WORK, /* Redis, broker and worker: started where they do not run */
    SHOAL_CLUSTER_UP,   /* and the worker has begun to work */
};

struct shoal_cluster;
struct shoal_invitation;
struct shoal_invitation_key;

/* Uses the cluster from now on. `name_space`: NULL for that of the last start for work;
 * another is SHOAL_REFUSED while something runs. `slots`: of a worker that it starts, 0:
 * as many as cores; a running worker stays as it is. `queue`: of the job that is to run
 * (NULL for READ). Waits until Redis answers, 20 s at most, or until it is interrupted.
 * SHOAL_UNKNOWN (for READ): nothing runs and there are no data. SHOAL_LOST: something
 * could not be started; the sentence says what is missing ("install redis-server"), where
 * the log is, or what the daemon said last. If nothing of the cluster ran before, nothing
 * runs then; what ran goes on. */
SHOAL_MUST_CHECK
enum shoal_status shoal_cluster_use(enum shoal_cluster_need need, const char *name_space,
                                    const char *queue, int64_t slots,
                                    struct shoal_cluster **ret_cluster,
                                    struct shoal_error *err);

/* The same for UP, where others may join: its Redis listens by TLS besides.
 * `invitation` has what was asked for, and gets what was found. SHOAL_INVALID: one cannot
 * listen there. SHOAL_REFUSED: the cluster runs already, and not so. */
SHOAL_MUST_CHECK
enum shoal_status shoal_cluster_listen(struct shoal_invitation *invitation,
                                       const struct shoal_invitation_key *key,
                                       const char *name_space, const char *queue,
                                       int64_t slots, struct shoal_cluster **ret_cluster,
                                       struct shoal_error *err);

/* "unix:PATH", or where others can join "unix://local@PATH", with a password. */
const char *shoal_cluster_url(const struct shoal_cluster *cluster);
const char *
shoal_cluster_password_file(const struct shoal_cluster *cluster); /* or NULL */
const char *shoal_cluster_name_space(const struct shoal_cluster *cluster);
/* "HOST:PORT"; NULL: it does not. */
const char *shoal_cluster_listens(const struct shoal_cluster *cluster);
/* The file of whose jobs run there; NULL: nobody else could ever write to its Redis. */
const char *shoal_cluster_trusted_keys(const struct shoal_cluster *cluster);
/* Whether the worker that it was used for (not READ) has ended, as one does that cannot
 * begin; `worker.log` says why. */
bool shoal_cluster_worker_ended(const struct shoal_cluster *cluster);

/* How many slots it has when it ran already, and not with those that were asked for; else
 * 0. And whether it was started by this use, beside workers that ran. */
int64_t shoal_cluster_kept_slots(const struct shoal_cluster *cluster);
bool shoal_cluster_added_worker(const struct shoal_cluster *cluster);

/* SHOAL_LOST: that one was started by this use and has failed, and nobody else's worker
 * can be there for it; the sentence quotes its last words. */
SHOAL_MUST_CHECK
enum shoal_status shoal_cluster_check_worker(const struct shoal_cluster *cluster,
                                             struct shoal_error *err);

/* Whether nobody else uses the cluster and `up` does not keep it: whoever leaves last
 * looks for unfinished jobs and, if there are none, says so to leave(). */
bool shoal_cluster_is_last(struct shoal_cluster *cluster);

/* Ends the use; NULL is fine. `stop`: stops the daemons (if this is still the last user
 * and `up` does not keep it): TERM to worker and broker, a second TERM after a moment,
 * then Redis, which saves what it has. Bounded: KILL after 15 s. */
void shoal_cluster_leave(struct shoal_cluster *cluster, bool stop);

/* `shoal up` and `down`: keep it until told otherwise; stop it whoever uses it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_cluster_keep(struct shoal_cluster *cluster,
                                     struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_cluster_down(struct shoal_local_end *ret_end,
                                     struct shoal_error *err);

/* The job submitted last from here: 13 bytes. SHOAL_UNKNOWN: none yet. */
SHOAL_MUST_CHECK
enum shoal_status shoal_state_last_job(char *ret_id, struct shoal_error *err);
void shoal_state_remember_job(const char *id); /* best effort */

#endif
