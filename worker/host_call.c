#include "worker/host_call.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/number.h"
#include "common/state.h"
#include "common/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TELL_EVERY_US = 100000, REASON_MAX = 2048 };

void shoal_call_init(struct shoal_call *call, const struct shoal_spec *spec,
                     struct shoal_slate *slate, shoal_call_tell_fn tell, void *owner) {
    *call =
        (struct shoal_call){.spec = spec, .slate = slate, .tell = tell, .owner = owner};
    /* One byte more than may be is enough to see that there is too much. */
    shoal_buffer_init(&call->result, (size_t)spec->result_max + 1);
    shoal_buffer_init(&call->reason, REASON_MAX);
}

static void forget_task(struct shoal_call *call) {
    if (call->has_parameters)
        shoal_parameters_finish(&call->parameters);
    if (call->fields != NULL)
        json_decref(call->fields);
    call->fields = NULL;
    call->has_parameters = call->asked_parameters = call->failed = false;
    shoal_buffer_clear(&call->result);
    shoal_buffer_clear(&call->reason);
}

void shoal_call_finish(struct shoal_call *call) {
    forget_task(call);
    shoal_buffer_finish(&call->result);
    shoal_buffer_finish(&call->reason);
}

void shoal_call_begin(struct shoal_call *call, int64_t index, const char *argument,
                      size_t len) {
    forget_task(call);
    call->index = index;
    call->argument = argument;
    call->argument_len = len;
    call->told_us = 0;
}

static int add_json(const char *text, size_t len, void *owner) {
    shoal_buffer_add(owner, text, len);
    return 0;
}

/* A number as the shortest text that reads as the same number again. */
static void add_value(struct shoal_buffer *json, const json_t *value) {
    if (json_is_real(value))
        shoal_number_print(json_real_value(value), json);
    else if (json_dump_callback(value, add_json, json, JSON_COMPACT | JSON_ENCODE_ANY) !=
             0)
        json->failed = true;
}

static void write_fields(struct shoal_call *call) {
    struct shoal_buffer *json = &call->result;
    const char *name;
    json_t *value;
    shoal_buffer_clear(json);
    shoal_buffer_add_char(json, '{');
    json_object_foreach(call->fields, name, value) {
        json_t *text = json_string(name);
        if (json->len > 1)
            shoal_buffer_add_char(json, ',');
        add_value(json, text);
        json_decref(text);
        shoal_buffer_add_char(json, ':');
        add_value(json, value);
    }
    shoal_buffer_add_char(json, '}');
}

bool shoal_call_end(struct shoal_call *call) {
    if (call->fields != NULL)
        write_fields(call);
    return !call->result.failed && call->result.len <= (size_t)call->spec->result_max;
}

/* ---- what the task is given */

int64_t shoal_call_index(const struct shoal_call *call) {
    return call->index;
}

int64_t shoal_call_attempt(const struct shoal_call *call) {
    return call->attempt;
}

uint64_t shoal_call_seed(const struct shoal_call *call) {
    return call->is_task_seed ? call->seed
                              : shoal_task_seed(call->seed, (uint64_t)call->index);
}

/* Computed when the first one is asked for. */
static const struct shoal_parameters *parameters(struct shoal_call *call) {
    static const struct shoal_parameters none = {.n = 0};
    if (!call->asked_parameters) {
        struct shoal_error err = {.status = SHOAL_OK};
        call->asked_parameters = true;
        call->has_parameters = shoal_parameters_make(call->spec, call->index,
                                                     call->argument, call->argument_len,
                                                     &call->parameters, &err) == SHOAL_OK;
        if (!call->has_parameters)
            shoal_call_log(call, "%s", err.text);
    }
    return call->has_parameters ? &call->parameters : &none;
}

int64_t shoal_call_repetition(struct shoal_call *call) {
    return parameters(call)->repetition;
}

const char *shoal_call_text(struct shoal_call *call, const char *name,
                            const char *fallback) {
    const struct shoal_parameters *all = parameters(call);
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->names[i], name) == 0)
            return all->values[i];
    }
    return fallback;
}

bool shoal_call_has(struct shoal_call *call, const char *name) {
    return shoal_call_text(call, name, NULL) != NULL;
}

double shoal_call_number(struct shoal_call *call, const char *name, double fallback) {
    double value = 0;
    const char *text = shoal_call_text(call, name, NULL);
    return text != NULL && shoal_double_read(text, strlen(text), &value) ? value
                                                                         : fallback;
}

int64_t shoal_call_int(struct shoal_call *call, const char *name, int64_t fallback) {
    char *end = NULL;
    const char *text = shoal_call_text(call, name, NULL);
    long long value = text == NULL ? 0 : strtoll(text, &end, 10);
    return text != NULL && *text != '\0' && *end == '\0' ? value : fallback;
}

const char *shoal_call_argument(const struct shoal_call *call, size_t *ret_len) {
    *ret_len = call->argument_len;
    return call->argument;
}

/* A worker says where all of them are, a person where this one is. */
const char *shoal_call_checkpoint(struct shoal_call *call) {
    const char *all = getenv("SHOAL_CHECKPOINTS");
    if (call->job[0] == '\0')
        return getenv("SHOAL_CHECKPOINT");
    if (!call->spec->checkpoint || all == NULL)
        return NULL;
    snprintf(call->checkpoint, sizeof(call->checkpoint), "%s/%s/%" PRId64, all, call->job,
             call->index);
    if (shoal_directories_make(call->checkpoint))
        return call->checkpoint;
    shoal_call_log(call, "cannot make the checkpoint directory '%.300s': %s",
                   call->checkpoint, strerror(errno));
    return NULL;
}

/* ---- while it runs */

bool shoal_call_should_stop(struct shoal_call *call) {
    if (call->slate == NULL)
        return false;
    atomic_store_explicit(&call->slate->asked, 1, memory_order_relaxed);
    return atomic_load_explicit(&call->slate->stop, memory_order_relaxed) !=
           SHOAL_SLATE_GO_ON;
}

void shoal_call_progress(struct shoal_call *call, double fraction, const char *text) {
    int64_t now = shoal_now_us();
    if (call->told_us != 0 && now - call->told_us < TELL_EVERY_US)
        return;
    call->told_us = now;
    fraction = fraction > 0 ? fraction : 0; /* nor a NaN */
    call->tell(call->owner, call->index, fraction < 1 ? fraction : 1,
               text == NULL ? "" : text);
}

void shoal_call_log(struct shoal_call *call, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    call->tell(call->owner, call->index, -1, line);
}

/* ---- what it gives */

void shoal_call_return(struct shoal_call *call, const void *bytes, size_t len) {
    shoal_buffer_clear(&call->result);
    shoal_buffer_add(&call->result, bytes, len);
}

static void add_field(struct shoal_call *call, const char *name, json_t *value) {
    if (call->fields == NULL)
        call->fields = json_object();
    if (json_object_set_new(call->fields, name, value) != 0) /* which may be NULL */
        shoal_call_fail(call, "a field's name is no UTF-8 text, or there is no memory");
}

void shoal_call_add_number(struct shoal_call *call, const char *name, double value) {
    if (isfinite(value))
        add_field(call, name, json_real(value));
    else
        add_field(call, name,
                  json_string(isnan(value) ? "nan"
                              : value > 0  ? "inf"
                                           : "-inf"));
}

void shoal_call_add_int(struct shoal_call *call, const char *name, int64_t value) {
    add_field(call, name, json_integer(value));
}

void shoal_call_add_text(struct shoal_call *call, const char *name, const char *value) {
    if (shoal_utf8_is_valid(value, strlen(value)))
        add_field(call, name, json_string(value));
    else
        shoal_call_fail(call, "the field '%s' is no UTF-8 text", name);
}

int shoal_call_fail(struct shoal_call *call, const char *format, ...) {
    char text[REASON_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!call->failed)
        shoal_buffer_add_text(&call->reason, text);
    call->failed = true;
    return 1;
}
