/* The names and values of one task. */
#include "common/spec.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/json.h"
#include "common/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MAX = 16 << 20 };

/* Names and values one after the other, each with a NUL, before pointers to them are
 * taken. */
struct gathering {
    struct shoal_buffer text;
    size_t n;
};

static void add_part(struct gathering *gathering, const char *bytes, size_t len) {
    shoal_buffer_add(&gathering->text, bytes, len);
    shoal_buffer_add_char(&gathering->text, '\0');
}

static void gather_sweep(struct gathering *gathering, const struct shoal_sweep *sweep,
                         int64_t index) {
    for (size_t i = 0; i < shoal_sweep_parameters(sweep); i++) {
        const char *name = shoal_sweep_name(sweep, i);
        add_part(gathering, name, strlen(name));
        shoal_sweep_value(sweep, i, index, &gathering->text);
        shoal_buffer_add_char(&gathering->text, '\0');
        gathering->n++;
    }
}

static enum shoal_status bad_argument(int64_t index, const char *why,
                                      struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_GARBAGE, "the argument of task %" PRId64 " %s",
                           index, why);
}

static bool add_scalar(struct gathering *gathering, const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_STRING:
        shoal_buffer_add_text(&gathering->text, json_string_value(value));
        return strlen(json_string_value(value)) == json_string_length(value);
    case JSON_INTEGER:
        shoal_buffer_add_format(&gathering->text, "%" JSON_INTEGER_FORMAT,
                                json_integer_value(value));
        return true;
    case JSON_REAL:
        shoal_number_print(json_real_value(value), &gathering->text);
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        shoal_buffer_add_text(&gathering->text, json_is_true(value) ? "true" : "false");
        return true;
    case JSON_NULL:
        return true;
    default:
        return false;
    }
}

static enum shoal_status gather_fields(struct gathering *gathering, int64_t index,
                                       const char *argument, size_t len,
                                       struct shoal_error *err) {
    json_t *object = NULL;
    enum shoal_status status = shoal_json_read(argument, len, &object, NULL);
    const char *name = NULL;
    json_t *value = NULL;
    if (status == SHOAL_MEMORY)
        return shoal_error_set(err, status, "no memory for parameters");
    if (!json_is_object(object) || json_object_size(object) > SHOAL_PARAMETERS_MAX)
        status = bad_argument(index, "is no JSON object of parameters", err);
    json_object_foreach(object, name, value) {
        add_part(gathering, name, strlen(name));
        if (status == SHOAL_OK &&
            (!shoal_parameter_name_is_valid(name) || !add_scalar(gathering, value)))
            status = bad_argument(index, "has a name or value that no parameter can have",
                                  err);
        shoal_buffer_add_char(&gathering->text, '\0');
        gathering->n++;
    }
    json_decref(object);
    return status;
}

static enum shoal_status gather_line(struct gathering *gathering, int64_t index,
                                     const char *argument, size_t len,
                                     struct shoal_error *err) {
    if (!shoal_utf8_is_valid(argument, len))
        return bad_argument(index, "is no UTF-8 text", err);
    add_part(gathering, "", 0);
    add_part(gathering, argument, len);
    gathering->n = 1;
    return SHOAL_OK;
}

static enum shoal_status gather(struct gathering *gathering,
                                const struct shoal_spec *spec, int64_t index,
                                const char *argument, size_t len,
                                struct shoal_error *err) {
    if (spec->arguments == SHOAL_ARGUMENTS_NONE) {
        gather_sweep(gathering, spec->sweep, index);
        return SHOAL_OK;
    }
    if (argument == NULL)
        return bad_argument(index, "is not there", err);
    if (spec->arguments == SHOAL_ARGUMENTS_LINE)
        return gather_line(gathering, index, argument, len, err);
    return gather_fields(gathering, index, argument, len, err);
}

/* Takes the gathered text over and points into it. */
static enum shoal_status point(struct gathering *gathering,
                               struct shoal_parameters *parameters,
                               struct shoal_error *err) {
    enum shoal_status status =
        shoal_buffer_check(&gathering->text, "a task's parameters", err);
    if (status != SHOAL_OK)
        return status;
    char **pointers = calloc(2 * gathering->n + 1, sizeof(*pointers));
    char *block = shoal_buffer_steal(&gathering->text);
    if (pointers == NULL || block == NULL) {
        free(pointers);
        free(block);
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a task's parameters");
    }
    char *at = block;
    for (size_t i = 0; i < gathering->n; i++) {
        pointers[i] = at;
        at += strlen(at) + 1;
        pointers[gathering->n + i] = at;
        at += strlen(at) + 1;
    }
    parameters->n = gathering->n;
    parameters->names = pointers;
    parameters->values = pointers + gathering->n;
    parameters->block = block;
    return SHOAL_OK;
}

enum shoal_status shoal_parameters_make(const struct shoal_spec *spec, int64_t index,
                                        const char *argument, size_t len,
                                        struct shoal_parameters *ret_parameters,
                                        struct shoal_error *err) {
    struct gathering gathering = {.n = 0};
    struct shoal_parameters parameters = {.repetition =
                                              shoal_sweep_repetition(spec->sweep, index)};
    shoal_buffer_init(&gathering.text, BLOCK_MAX);
    enum shoal_status status = gather(&gathering, spec, index, argument, len, err);
    if (status == SHOAL_OK)
        status = point(&gathering, &parameters, err);
    shoal_buffer_finish(&gathering.text);
    if (status == SHOAL_OK)
        *ret_parameters = parameters;
    return status;
}

void shoal_parameters_finish(struct shoal_parameters *parameters) {
    free(parameters->names);
    free(parameters->block);
    *parameters = (struct shoal_parameters){.n = 0};
}

void shoal_parameters_cleanup(struct shoal_parameters *parameters) {
    shoal_parameters_finish(parameters);
}
