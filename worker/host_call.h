/* One call of a task function: what stands behind shoal_task.h. */
#ifndef SHOAL_HOST_CALL_H
#define SHOAL_HOST_CALL_H

#include "common/spec.h"
#include "worker/shoal_task.h"
#include "worker/slate.h"

#include <jansson.h>
#include <limits.h>

/* Where progress and log lines go; a fraction below 0 is a log line. */
typedef void (*shoal_call_tell_fn)(void *owner, int64_t index, double fraction,
                                   const char *text);

struct shoal_call {
    const struct shoal_spec *spec;
    struct shoal_slate *slate;
    shoal_call_tell_fn tell;
    void *owner;
    char job[13]; /* "": a person tries the task */
    int64_t index;
    int64_t attempt;
    uint64_t seed;        /* of the job, from which a task's is made when it asks, … */
    bool is_task_seed;    /* … unless it is the task's own */
    const char *argument; /* explicit, or NULL */
    size_t argument_len;
    struct shoal_parameters parameters; /* once something asked … */
    bool has_parameters;                /* … and they could be made */
    bool asked_parameters;
    struct shoal_buffer result;
    json_t *fields; /* of the result, or NULL */
    struct shoal_buffer reason;
    bool failed;
    char checkpoint[PATH_MAX];
    int64_t told_us; /* when progress was last passed on */
};

/* Made once for many calls. */
void shoal_call_init(struct shoal_call *call, const struct shoal_spec *spec,
                     struct shoal_slate *slate, shoal_call_tell_fn tell, void *owner);
void shoal_call_finish(struct shoal_call *call);

/* Gets ready for a task. */
void shoal_call_begin(struct shoal_call *call, int64_t index, const char *argument,
                      size_t len);

/* The result behind the function's return: fields became a JSON object. False: it is over
 * the spec's bound. */
bool shoal_call_end(struct shoal_call *call);

#endif
