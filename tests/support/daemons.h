/* shoal as its users run it: a real Redis, real workers, and command lines, with a home
 * directory of their own in which they run. HOME is passed on to tasks, so whatever has
 * this one in its environment is ours, and nothing may be left of it at the end. One such
 * place in a process. Texts and JSON that a function returns live until the end. */
#ifndef SHOAL_TEST_DAEMONS_H
#define SHOAL_TEST_DAEMONS_H

#include "broker/job.h"
#include "common/error.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/wait.h"

#include <jansson.h>

enum { LIMIT_MS = 50000 }; /* of a wait for what must come */

struct test_daemons {
    struct test_server server;
    struct test_directory home;
    char mark[48];         /* "HOME=PATH" */
    char redis[144];       /* "SHOAL_REDIS=URL" */
    char ca[128];          /* "SHOAL_TLS_CA=FILE"; without "=": there is none */
    char certificate[128]; /* "SHOAL_TLS_CERT=FILE", and the key; or the names alone */
    char key[128];
};
extern struct test_daemons daemons;

/* `args` of redis-server as in test_server_start(). */
void daemons_start(const char *const *args);
/* The same by TLS, as in test_server_start_tls(); `ca` is the file that is trusted. */
void daemons_start_tls(const char *const *args, const char *ca);
/* Every process but Redis must have ended, or do so soon. */
void daemons_finish(void);

/* ---- command lines of sh, with the built programs in its PATH */

struct said {
    int exit; /* minus the signal that ended it */
    const char *out;
    const char *err;
};
struct said sh(const char *format, ...) SHOAL_PRINTF(1, 2);
/* One that must end with `exit`. */
struct said sh_exit(int exit, const char *format, ...) SHOAL_PRINTF(2, 3);
/* One that must succeed; what it printed, without the last line's end. */
const char *ok(const char *format, ...) SHOAL_PRINTF(1, 2);
/* One that goes on: test_process_finish() it. */
void sh_start(struct test_process *process, const char *format, ...) SHOAL_PRINTF(2, 3);
/* Whether it has said so on stderr. */
bool has_said(const struct test_process *process, const char *words);
size_t times_said(const struct test_process *process, const char *words);

/* ---- workers */

/* Starts one with the shortest session, and waits until it is registered. */
void worker_start(struct test_process *keeper, const char *options);
void worker_launch(struct test_process *keeper, const char *options); /* does not wait */
pid_t worker_pid(const struct test_process *keeper); /* 0: none at the moment */
/* SIGTERM; it must end in good order. */
void worker_end(struct test_process *keeper);
/* SIGKILL to worker and keeper, as at once. */
void worker_kill(struct test_process *keeper);
/* The same with a worker that worker_pid() has told; 0: to the keeper alone. */
void worker_finish(struct test_process *keeper, pid_t worker);

/* ---- files at home */

/* A task that begins with `flock -sF NAME` waits until the gate is opened. */
int gate_close(const char *name);
void gate_open(int gate);
/* How many files have a name that fits the pattern. */
size_t files(const char *pattern);
/* What a file holds, without the last line's end; NULL when there is none. */
const char *text_of(const char *name);
/* A number that a task has written; 0 before. */
int64_t number_of(const char *name);
bool is_alive(pid_t pid); /* a zombie is not */

/* ---- jobs */

struct shoal_job job_now(const char *job);
bool job_is(const char *job, enum shoal_job_state state);
/* Lines of JSON as an array. */
const json_t *json_lines(const char *text);
const json_t *rows_of(const char *job); /* in the order of completion */
/* The row of a task; the test fails unless there is exactly one. */
const json_t *row_of(const char *job, int64_t task);
const char *text_in(const json_t *object, const char *name);
int64_t int_in(const json_t *object, const char *name);

void expect_audit(void);
/* The job has succeeded; each of its tasks has exactly one row, and it is ok. */
void expect_each_once(const char *job);

#endif
