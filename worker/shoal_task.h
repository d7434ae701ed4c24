/* Tasks in C: a function per task, in a plug-in that shoal-host loads.
 *
 *     #include <shoal/shoal_task.h>
 *
 *     static int pi(struct shoal_call *call) {
 *         int64_t n = shoal_call_int(call, "n", 1000000);
 *         …
 *         shoal_call_add_number(call, "pi", 4.0 * hits / n);
 *         return 0;
 *     }
 *
 *     static const struct shoal_task_entry tasks[] = {{"pi", pi}, {NULL, NULL}};
 *     const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION, tasks};
 *
 *     cc -shared -fPIC -o libpi.so pi.c
 *     shoal-host --try ./libpi.so pi n=1000        tries it, without a cluster
 *     shoal run --plugin ./libpi.so --task pi -p n=1000:9000:1000
 *
 * A function runs in a process that stays and runs many tasks, one at a time, in the
 * thread that calls it. What it is given is borrowed until it returns. If it crashes or
 * ends the process, that is the outcome of the task that ran, and the others run in a new
 * process. What it prints is shown by `shoal show` when it ends its process.
 *
 * Programs that a function starts it should also end. What it leaves running may stay for
 * the tasks behind it, and is ended together with the process that runs them: when there
 * was no task for it for a second or two, and when a task is timed out or cancelled. The
 * plug-in is loaded anew then. What it starts while it is loaded (in a constructor) stays
 * as long as that process. */
#ifndef SHOAL_TASK_H
#define SHOAL_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHOAL_TASK_VERSION 1

#ifdef __GNUC__
#define SHOAL_TASK_API __attribute__((visibility("default")))
#define SHOAL_TASK_FORMAT __attribute__((format(printf, 2, 3)))
#else
#define SHOAL_TASK_API
#define SHOAL_TASK_FORMAT
#endif

struct shoal_call;

/* 0: the task succeeded with what was returned by shoal_call_return() or
 * shoal_call_add_…(), or with an empty result. SHOAL_CALL_CONTINUE, in a job with
 * --checkpoint: it is started again and goes on from there, which is no failure.
 * Anything else: it failed with the reason `exit` and this as its code;
 * shoal_call_fail() says why. */
#define SHOAL_CALL_CONTINUE 85
typedef int (*shoal_task_fn)(struct shoal_call *call);

struct shoal_task_entry {
    const char *name; /* NULL behind the last */
    shoal_task_fn run;
};

/* What a plug-in defines under the name `shoal_plugin`. */
struct shoal_plugin {
    int version; /* SHOAL_TASK_VERSION */
    const struct shoal_task_entry *tasks;
};
extern SHOAL_TASK_API const struct shoal_plugin shoal_plugin;

/* ---- what the task is given */

SHOAL_TASK_API int64_t
shoal_call_index(const struct shoal_call *call); /* of the task, from 0 */
SHOAL_TASK_API int64_t shoal_call_attempt(const struct shoal_call *call); /* from 1 */
SHOAL_TASK_API uint64_t shoal_call_seed(const struct shoal_call *call);   /* 63 bits */
SHOAL_TASK_API int64_t shoal_call_repetition(struct shoal_call *call);    /* from 0 */

/* A parameter by its name. Without one of that name, or when it is no number (no text
 * without NULs), the fallback; shoal_call_has() tells. */
SHOAL_TASK_API bool shoal_call_has(struct shoal_call *call, const char *name);
SHOAL_TASK_API double shoal_call_number(struct shoal_call *call, const char *name,
                                        double fallback);
SHOAL_TASK_API int64_t shoal_call_int(struct shoal_call *call, const char *name,
                                      int64_t fallback);
SHOAL_TASK_API const char *shoal_call_text(struct shoal_call *call, const char *name,
                                           const char *fallback);

/* The explicit argument as it was submitted: a line of --from, or a JSON object. Not
 * terminated. NULL: the job has none. */
SHOAL_TASK_API const char *shoal_call_argument(const struct shoal_call *call,
                                               size_t *ret_len);

/* A directory that stays with the task over its attempts, until it has succeeded. NULL:
 * the job was submitted without --checkpoint, or there is no room for it. */
SHOAL_TASK_API const char *shoal_call_checkpoint(struct shoal_call *call);

/* ---- while it runs */

/* Whether the task is asked to end: it was cancelled, or its time is over, or will be by
 * the time that the job's --signal says. It may still
 * return what it has, which then counts. One that never asks is ended by a signal. Costs
 * a nanosecond. */
SHOAL_TASK_API bool shoal_call_should_stop(struct shoal_call *call);

/* How far it is, 0 to 1, and a text (or NULL), for `shoal status`. Cheap to call often:
 * most calls are not passed on. */
SHOAL_TASK_API void shoal_call_progress(struct shoal_call *call, double fraction,
                                        const char *text);

/* A line for the worker's log. */
SHOAL_TASK_API void shoal_call_log(struct shoal_call *call, const char *format,
                                   ...) SHOAL_TASK_FORMAT;

/* ---- what it gives */

/* The result as bytes (copied; the job's --max-result at most, more is `too-large`). */
SHOAL_TASK_API void shoal_call_return(struct shoal_call *call, const void *bytes,
                                      size_t len);

/* The result as named fields, which become columns; the last of a name wins. A number
 * that is not finite is the text nan, inf or -inf. */
SHOAL_TASK_API void shoal_call_add_number(struct shoal_call *call, const char *name,
                                          double value);
SHOAL_TASK_API void shoal_call_add_int(struct shoal_call *call, const char *name,
                                       int64_t value);
SHOAL_TASK_API void shoal_call_add_text(struct shoal_call *call, const char *name,
                                        const char *value);

/* Says why the task fails, and returns 1: `return shoal_call_fail(call, "no root in
 * [%g, %g]", a, b);` */
SHOAL_TASK_API int shoal_call_fail(struct shoal_call *call, const char *format,
                                   ...) SHOAL_TASK_FORMAT;

#ifdef __cplusplus
}
#endif

#endif
