/* The daemons of a user's local cluster, and its state directory: what is started there,
 * who runs, waiting until they have begun, stopping them. What they are is said by
 * local_cluster.c. */
#ifndef SHOAL_LOCAL_DAEMONS_H
#define SHOAL_LOCAL_DAEMONS_H

#include "client/client_private.h"
#include "common/error.h"
#include "common/id.h"

#include <stdbool.h>
#include <sys/types.h>

/* ---- the state directory, which is made if it is not there (mode 0700) */

/* A path in it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_state_path(const char *name, char *path, unsigned long room,
                                   struct shoal_error *err);

/* Opens a file in it for reading and writing, made if it is not there; the caller's. */
SHOAL_MUST_CHECK
enum shoal_status shoal_state_open(const char *name, int flags, int *ret_fd,
                                   struct shoal_error *err);
bool shoal_state_exists(const char *name);

/* Makes a directory in it, or itself. */
SHOAL_MUST_CHECK
enum shoal_status shoal_state_make(const char *path, struct shoal_error *err);

/* The lock under which all of the cluster is started and stopped: waits for other
 * commands, a minute at most; `to_start`: unless interrupted. Closing it ends it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_lock(bool to_start, int *ret_fd, struct shoal_error *err);

/* ---- daemons */

enum {
    SHOAL_LOCAL_MAX = 256,                  /* daemons but Redis */
    SHOAL_LOCAL_WORDS = 64,                 /* of a command line */
    SHOAL_LOCAL_NAME = SHOAL_NAME_MAX + 16, /* bytes of the name of a pid file */
};

struct shoal_local_daemon {
    const char *pid_file;
    const char *log;
    const char *argv[SHOAL_LOCAL_WORDS]; /* the program first, NULL behind the last */
    pid_t pid; /* this process's child, once it was started here; else 0 */
};

/* Adds words behind those that are there. */
void shoal_local_add(struct shoal_local_daemon *daemon, const char *const *words);

/* Who holds the lock of a pid file; 0: nobody. SHOAL_LOST: it cannot be looked at. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_find(const char *pid_file, pid_t *ret_pid,
                                   struct shoal_error *err);
pid_t shoal_local_holder(const char *pid_file); /* -1: it cannot be looked at */

/* The path of a program of shoal's, or redis-server: beside the running one, else in
 * PATH. SHOAL_LOST: it is not there; the sentence says what to install. */
SHOAL_MUST_CHECK
enum shoal_status shoal_program_find(const char *name, char *path, unsigned long room,
                                     struct shoal_error *err);

/* Starts a daemon that does not run. Its lock is held when this returns. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_start(struct shoal_local_daemon *daemon,
                                    struct shoal_error *err);
/* Starts it, unless it runs. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_ensure(struct shoal_local_daemon *daemon,
                                     struct shoal_error *err);

/* The pid files of all workers and the broker that run. Who cannot look must not think
 * that there are none. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_list(char names[][SHOAL_LOCAL_NAME], size_t *ret_n,
                                   struct shoal_error *err);

/* What was stopped. */
struct shoal_local_end {
    bool ran;    /* anything did */
    bool killed; /* a worker or the broker did not end in good order */
};

/* Stops all: TERM to worker and broker, a second TERM after a moment, then Redis, which
 * saves what it has; KILL after 15 s. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_stop(struct shoal_local_end *ret_end,
                                   struct shoal_error *err);

/* ---- waiting until they have begun */

/* A daemon that was started, or runs already. */
struct shoal_local_watch {
    const char *name; /* for people */
    const char *pid_file;
    const char *log;
    off_t heard; /* so long the log was before */
    /* Whether it has begun; SHOAL_LOST: not yet. */
    enum shoal_status (*ask)(struct shoal_client *client, pid_t pid,
                             struct shoal_error *err);
};

off_t shoal_local_log_size(const char *log);

/* SHOAL_LOST: a child that was started here (`pid`) has ended by itself, and not in good
 * order; the sentence quotes its last words. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_check(const struct shoal_local_watch *watch, pid_t pid,
                                    struct shoal_error *err);

/* Asks until it has begun, 20 s at most, or until it is interrupted. SHOAL_LOST: it has
 * not, or has ended; the sentence quotes its last words. */
SHOAL_MUST_CHECK
enum shoal_status shoal_local_wait(struct shoal_client *client,
                                   const struct shoal_local_watch *watch,
                                   struct shoal_error *err);

#endif
