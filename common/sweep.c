#include "common/sweep.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "common/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_BYTES_MAX = 1 << 20 };

enum kind { LIST, RANGE, LINEAR, LOGARITHMIC };

struct values {
    enum kind kind;
    int64_t count;
    char **words;                     /* of a list */
    struct shoal_decimal start, step; /* of a range, at the same scale */
    long double from, to;             /* of the others */
    char *text;                       /* as it was written; NULL for a list */
};

struct parameter {
    char *name;
    struct values values;
};

struct shoal_sweep {
    enum shoal_sweep_mode mode;
    int64_t repetitions;
    struct parameter *parameters;
    size_t n;
};

/* ---- life */

static void finish_values(struct values *values) {
    for (int64_t i = 0; values->words != NULL && i < values->count; i++)
        free(values->words[i]);
    free(values->words);
    free(values->text);
}

enum shoal_status shoal_sweep_create(struct shoal_sweep **ret_sweep,
                                     struct shoal_error *err) {
    struct shoal_sweep *sweep = calloc(1, sizeof(*sweep));
    if (sweep == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a sweep");
    sweep->repetitions = 1;
    *ret_sweep = sweep;
    return SHOAL_OK;
}

void shoal_sweep_destroy(struct shoal_sweep *sweep) {
    if (sweep == NULL)
        return;
    for (size_t i = 0; i < sweep->n; i++) {
        free(sweep->parameters[i].name);
        finish_values(&sweep->parameters[i].values);
    }
    free(sweep->parameters);
    free(sweep);
}

void shoal_sweep_cleanup(struct shoal_sweep **sweep) {
    shoal_sweep_destroy(*sweep);
}

void shoal_sweep_set_mode(struct shoal_sweep *sweep, enum shoal_sweep_mode mode) {
    sweep->mode = mode;
}

void shoal_sweep_set_repetitions(struct shoal_sweep *sweep, int64_t repetitions) {
    sweep->repetitions = repetitions;
}

int64_t shoal_sweep_repetitions(const struct shoal_sweep *sweep) {
    return sweep->repetitions;
}

/* ---- lists */

/* Adds a word of a list; `what` names the list in the sentence. */
static enum shoal_status add_word(struct values *values, size_t *room, const char *word,
                                  size_t len, const char *what, struct shoal_error *err) {
    if (len == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s has an empty value at place %" PRId64, what,
                               values->count + 1);
    if (len > SHOAL_VALUE_MAX)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "%s has a value of %zu bytes, %d are the most; put it into a file "
            "and sweep the file's name",
            what, len, SHOAL_VALUE_MAX);
    if (!shoal_utf8_is_valid(word, len))
        return shoal_error_set(err, SHOAL_INVALID, "%s has a value that is no UTF-8 text",
                               what);
    if ((size_t)values->count == *room) {
        size_t more = *room == 0 ? 8 : *room * 2;
        char **words = realloc(values->words, more * sizeof(*words));
        if (words == NULL)
            return shoal_error_set(err, SHOAL_MEMORY, "no memory for the values of %s",
                                   what);
        values->words = words;
        *room = more;
    }
    values->words[values->count] = strndup(word, len);
    if (values->words[values->count] == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for the values of %s", what);
    values->count++;
    return SHOAL_OK;
}

/* Words between separators. The file's last line may end without one. */
static enum shoal_status split(struct values *values, const char *text, size_t len,
                               char separator, const char *what,
                               struct shoal_error *err) {
    size_t room = 0;
    values->kind = LIST;
    for (const char *at = text, *end = text + len;;) {
        const char *stop = memchr(at, separator, (size_t)(end - at));
        size_t word = (size_t)((stop == NULL ? end : stop) - at);
        if (separator == '\n' && word > 0 && at[word - 1] == '\r')
            word--;
        enum shoal_status status = add_word(values, &room, at, word, what, err);
        if (status != SHOAL_OK || stop == NULL)
            return status;
        at = stop + 1;
        if (separator == '\n' && at == end)
            return SHOAL_OK;
    }
}

static enum shoal_status read_file(const char *path, struct shoal_buffer *text,
                                   struct shoal_error *err) {
    char chunk[16384];
    size_t got;
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "re");
    if (file == NULL)
        return shoal_error_set(err, SHOAL_INVALID,
                               "cannot read the values in '%.200s': %s", path,
                               strerror(errno));
    while (!text->failed && (got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        shoal_buffer_add(text, chunk, got);
    if (ferror(file))
        return shoal_error_set(err, SHOAL_INVALID,
                               "cannot read the values in '%.200s': %s", path,
                               strerror(errno));
    if (text->failed)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.200s' is over %d bytes, too large for a list of values; use "
            "--from %.200s, which takes any size",
            path, LIST_BYTES_MAX, path);
    if (text->len == 0)
        return shoal_error_set(err, SHOAL_INVALID, "'%.200s' has no values, it is empty",
                               path);
    return SHOAL_OK;
}

static enum shoal_status parse_file(struct values *values, const char *path,
                                    struct shoal_error *err) {
    struct shoal_buffer text;
    char what[300];
    shoal_buffer_init(&text, LIST_BYTES_MAX);
    snprintf(what, sizeof(what), "the file '%.200s'", path);
    enum shoal_status status = read_file(path, &text, err);
    if (status == SHOAL_OK)
        status = split(values, text.data, text.len, '\n', what, err);
    shoal_buffer_finish(&text);
    return status;
}

/* ---- ranges */

/* The parts between colons; how many there are, at most 4. */
static size_t split_colons(const char *text, const char **parts, size_t *lens) {
    size_t n = 0;
    for (const char *at = text; n < 4;) {
        size_t len = strcspn(at, ":");
        parts[n] = at;
        lens[n++] = len;
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    return n;
}

static bool looks_like_range(const char *text) {
    return strchr(text, ':') != NULL && text[strspn(text, "+-.0123456789eE:")] == '\0';
}

static enum shoal_status bad_range(const char *text, const char *why,
                                   struct shoal_error *err) {
    return shoal_error_set(
        err, SHOAL_INVALID,
        "'%.100s' is no range: %s; write FROM:TO or FROM:TO:STEP, for example 1:10 "
        "or 0:1:0.05",
        text, why);
}

static enum shoal_status count_range(struct values *values, const char *text,
                                     struct shoal_decimal to, struct shoal_error *err) {
    int64_t span = to.mantissa - values->start.mantissa, step = values->step.mantissa;
    if (step == 0)
        return bad_range(text, "a step of 0 never arrives", err);
    if (span != 0 && (span > 0) != (step > 0))
        return bad_range(text,
                         span > 0 ? "with a negative step it never arrives"
                                  : "it goes down, which needs a negative step",
                         err);
    values->count = span / step + 1;
    values->kind = RANGE;
    return SHOAL_OK;
}

static enum shoal_status parse_range(struct values *values, const char *text,
                                     struct shoal_error *err) {
    const char *parts[4];
    size_t lens[4];
    struct shoal_decimal numbers[3] = {{0, 0}, {0, 0}, {1, 0}};
    size_t n = split_colons(text, parts, lens);
    int scale = 0;
    if (n > 3)
        return bad_range(text, "it has more than three parts", err);
    for (size_t i = 0; i < n; i++) {
        if (lens[i] == 0)
            return bad_range(text, "a number is missing", err);
        if (!shoal_decimal_read(parts[i], lens[i], &numbers[i]))
            return bad_range(text, "a part is no number of at most 18 digits", err);
    }
    for (size_t i = 0; i < 3; i++)
        scale = numbers[i].scale > scale ? numbers[i].scale : scale;
    for (size_t i = 0; i < 3; i++) {
        if (!shoal_decimal_rescale(&numbers[i], scale))
            return bad_range(text, "its numbers have more than 18 digits together", err);
    }
    values->start = numbers[0];
    values->step = numbers[2];
    return count_range(values, text, numbers[1], err);
}

/* What lies between is rounded once, at the end: lin:0.1:0.9:9 has 0.7 in it. */
static bool read_end(const char *text, size_t len, long double *ret_value) {
    double rounded = 0;
    *ret_value = strtold(text, NULL); /* as far as the ':' */
    return shoal_double_read(text, len, &rounded);
}

static enum shoal_status parse_spaced(struct values *values, enum kind kind,
                                      const char *text, struct shoal_error *err) {
    const char *parts[4];
    size_t lens[4];
    struct shoal_decimal count = {.mantissa = 0};
    const char *name = kind == LINEAR ? "lin" : "log";
    if (split_colons(text, parts, lens) != 4 ||
        !read_end(parts[1], lens[1], &values->from) ||
        !read_end(parts[2], lens[2], &values->to) ||
        !shoal_decimal_read(parts[3], strlen(parts[3]), &count) || count.scale != 0 ||
        count.mantissa < 1 || count.mantissa > SHOAL_TASKS_MAX)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.100s' is not %s:FROM:TO:COUNT, for example %s:1:100:5",
                               text, name, name);
    if (kind == LOGARITHMIC && ((double)values->from <= 0 || (double)values->to <= 0))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' needs FROM and TO above 0, others have no logarithm", text);
    values->kind = kind;
    values->count = count.mantissa;
    return SHOAL_OK;
}

static enum shoal_status parse_values(struct values *values, const char *text,
                                      struct shoal_error *err) {
    char what[120];
    snprintf(what, sizeof(what), "'%.80s'", text);
    if (text[0] == '@')
        return parse_file(values, text + 1, err);
    enum shoal_status status;
    if (strncmp(text, "lin:", 4) == 0)
        status = parse_spaced(values, LINEAR, text, err);
    else if (strncmp(text, "log:", 4) == 0)
        status = parse_spaced(values, LOGARITHMIC, text, err);
    else if (looks_like_range(text))
        status = parse_range(values, text, err);
    else
        return split(values, text, strlen(text), ',', what, err);
    if (status != SHOAL_OK)
        return status;
    values->text = strdup(text);
    return values->text != NULL
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_MEMORY, "no memory for values");
}

/* ---- parameters */

static enum shoal_status check_name(const struct shoal_sweep *sweep, const char *name,
                                    struct shoal_error *err) {
    static const char *const taken[] = {"job", "rep", "seed", "seed31", "task"};
    if (!shoal_parameter_name_is_valid(name))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' is no parameter name: it begins with a letter or '_', then "
            "letters, digits and '_', %d characters at most",
            name, SHOAL_NAME_MAX);
    for (size_t i = 0; i < SHOAL_COUNT(taken); i++) {
        if (strcmp(name, taken[i]) == 0)
            return shoal_error_set(
                err, SHOAL_INVALID,
                "'%s' is what every task has already; choose another parameter name",
                name);
    }
    for (size_t i = 0; i < sweep->n; i++) {
        if (strcmp(name, sweep->parameters[i].name) == 0)
            return shoal_error_set(err, SHOAL_INVALID,
                                   "the parameter '%s' is given twice; name each once",
                                   name);
    }
    if (sweep->n == SHOAL_PARAMETERS_MAX)
        return shoal_error_set(err, SHOAL_INVALID, "a sweep has %d parameters at most",
                               SHOAL_PARAMETERS_MAX);
    return SHOAL_OK;
}

/* Takes name and values over, also when it fails. */
static enum shoal_status add_parameter(struct shoal_sweep *sweep, char *name,
                                       struct values *values, struct shoal_error *err) {
    struct parameter *grown =
        realloc(sweep->parameters, (sweep->n + 1) * sizeof(*sweep->parameters));
    if (grown == NULL) {
        free(name);
        finish_values(values);
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for parameters");
    }
    sweep->parameters = grown;
    sweep->parameters[sweep->n++] = (struct parameter){.name = name, .values = *values};
    return SHOAL_OK;
}

static enum shoal_status add_text(struct shoal_sweep *sweep, const char *name,
                                  const char *text, struct shoal_error *err) {
    struct values values = {.count = 0};
    enum shoal_status status = check_name(sweep, name, err);
    if (status == SHOAL_OK)
        status = parse_values(&values, text, err);
    if (status != SHOAL_OK) {
        finish_values(&values);
        return status;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        finish_values(&values);
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for parameters");
    }
    return add_parameter(sweep, copy, &values, err);
}

enum shoal_status shoal_sweep_add(struct shoal_sweep *sweep, const char *definition,
                                  struct shoal_error *err) {
    const char *equals = strchr(definition, '=');
    if (equals == NULL)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' is no parameter: write NAME=VALUES, for example x=1:10",
            definition);
    if (equals[1] == '\0')
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%.100s' has no values behind the '='; write for example x=1:10",
            definition);
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *name = strndup(definition, (size_t)(equals - definition));
    if (name == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for parameters");
    if (!shoal_utf8_is_valid(definition, strlen(definition)))
        return shoal_error_set(err, SHOAL_INVALID, "a parameter is no UTF-8 text");
    return add_text(sweep, name, equals + 1, err);
}

size_t shoal_sweep_parameters(const struct shoal_sweep *sweep) {
    return sweep->n;
}

const char *shoal_sweep_name(const struct shoal_sweep *sweep, size_t parameter) {
    return sweep->parameters[parameter].name;
}

/* ---- points */

static enum shoal_status too_many(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_INVALID,
                           "the sweep has more than 2^53 = %" PRId64
                           " tasks; make it smaller or split it",
                           SHOAL_TASKS_MAX);
}

static enum shoal_status count_zip(const struct shoal_sweep *sweep, int64_t *ret_count,
                                   struct shoal_error *err) {
    *ret_count = sweep->n == 0 ? 1 : sweep->parameters[0].values.count;
    for (size_t i = 1; i < sweep->n; i++) {
        int64_t count = sweep->parameters[i].values.count;
        if (count != *ret_count)
            return shoal_error_set(err, SHOAL_INVALID,
                                   "--zip needs equally many values: '%s' has %" PRId64
                                   ", '%s' has %" PRId64,
                                   sweep->parameters[0].name, *ret_count,
                                   sweep->parameters[i].name, count);
    }
    return SHOAL_OK;
}

enum shoal_status shoal_sweep_count(const struct shoal_sweep *sweep, int64_t *ret_count,
                                    struct shoal_error *err) {
    int64_t count = 1;
    if (sweep->mode == SHOAL_SWEEP_ZIP) {
        enum shoal_status status = count_zip(sweep, &count, err);
        if (status != SHOAL_OK)
            return status;
    } else {
        for (size_t i = 0; i < sweep->n; i++) {
            if (__builtin_mul_overflow(count, sweep->parameters[i].values.count, &count))
                return too_many(err);
        }
    }
    if (__builtin_mul_overflow(count, sweep->repetitions, &count) ||
        count > SHOAL_TASKS_MAX)
        return too_many(err);
    *ret_count = count;
    return SHOAL_OK;
}

static double spaced(const struct values *values, int64_t i) {
    if (i == 0)
        return (double)values->from;
    if (i == values->count - 1)
        return (double)values->to;
    long double step = (long double)i, steps = (long double)(values->count - 1);
    if (values->kind == LINEAR)
        return (double)(values->from + (values->to - values->from) * step / steps);
    return (double)(values->from * powl(values->to / values->from, step / steps));
}

static void print_value(const struct values *values, int64_t i,
                        struct shoal_buffer *text) {
    struct shoal_decimal point = values->start;
    switch (values->kind) {
    case LIST:
        shoal_buffer_add_text(text, values->words[i]);
        break;
    case RANGE:
        point.mantissa += i * values->step.mantissa;
        shoal_decimal_print(point, text);
        break;
    case LINEAR:
    case LOGARITHMIC:
        shoal_number_print(spaced(values, i), text);
        break;
    }
}

void shoal_sweep_value(const struct shoal_sweep *sweep, size_t parameter, int64_t index,
                       struct shoal_buffer *value) {
    const struct values *values = &sweep->parameters[parameter].values;
    int64_t point = index / sweep->repetitions;
    for (size_t i = sweep->n; sweep->mode == SHOAL_SWEEP_PRODUCT && --i > parameter;)
        point /= sweep->parameters[i].values.count;
    print_value(values, point % values->count, value);
}

int64_t shoal_sweep_repetition(const struct shoal_sweep *sweep, int64_t index) {
    return index % sweep->repetitions;
}

/* ---- JSON */

static json_t *write_values(const struct values *values) {
    if (values->kind != LIST)
        return json_string(values->text);
    json_t *list = json_array();
    for (int64_t i = 0; list != NULL && i < values->count; i++) {
        if (json_array_append_new(list, json_string(values->words[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *write_parameters(const struct shoal_sweep *sweep) {
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < sweep->n; i++) {
        const struct parameter *parameter = &sweep->parameters[i];
        json_t *one = json_pack("{s:s, s:o*}", "name", parameter->name, "values",
                                write_values(&parameter->values));
        if (json_object_size(one) != 2 || json_array_append_new(list, one) != 0) {
            json_decref(one);
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

enum shoal_status shoal_sweep_write(const struct shoal_sweep *sweep, json_t **ret_json,
                                    struct shoal_error *err) {
    json_t *parameters = write_parameters(sweep);
    json_t *json =
        parameters == NULL
            ? NULL
            : json_pack("{s:s, s:I, s:o}", "mode",
                        sweep->mode == SHOAL_SWEEP_ZIP ? "zip" : "product", "repetitions",
                        (json_int_t)sweep->repetitions, "parameters", parameters);
    if (json == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for the JSON of a sweep");
    *ret_json = json;
    return SHOAL_OK;
}

static enum shoal_status garbage(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_GARBAGE, "the sweep of this job's spec is garbled");
}

static enum shoal_status read_list(struct shoal_sweep *sweep, const char *name,
                                   const json_t *list, struct shoal_error *err) {
    struct values values = {.kind = LIST};
    size_t room = 0;
    enum shoal_status status = check_name(sweep, name, err);
    for (size_t i = 0; i < json_array_size(list) && status == SHOAL_OK; i++) {
        const char *word = json_string_value(json_array_get(list, i));
        status = word == NULL
                     ? garbage(err)
                     : add_word(&values, &room, word, strlen(word), "the sweep", err);
    }
    if (status == SHOAL_OK && values.count == 0)
        status = garbage(err);
    char *copy = status == SHOAL_OK ? strdup(name) : NULL;
    if (copy == NULL) {
        finish_values(&values);
        return status == SHOAL_OK
                   ? shoal_error_set(err, SHOAL_MEMORY, "no memory for a sweep")
                   : status;
    }
    return add_parameter(sweep, copy, &values, err);
}

static enum shoal_status read_parameter(struct shoal_sweep *sweep, const json_t *json,
                                        struct shoal_error *err) {
    const char *name = json_string_value(json_object_get(json, "name"));
    const json_t *values = json_object_get(json, "values");
    if (name == NULL)
        return garbage(err);
    if (json_is_array(values))
        return read_list(sweep, name, values, err);
    /* Only what stands in the text itself: a worker reads no file that a spec names. */
    const char *text = json_string_value(values);
    if (text == NULL || text[0] == '@')
        return garbage(err);
    return add_text(sweep, name, text, err);
}

static enum shoal_status read_sweep(struct shoal_sweep *sweep, const json_t *json,
                                    struct shoal_error *err) {
    const char *mode = json_string_value(json_object_get(json, "mode"));
    const json_t *repetitions = json_object_get(json, "repetitions");
    const json_t *parameters = json_object_get(json, "parameters");
    if (mode == NULL || !json_is_integer(repetitions) || !json_is_array(parameters))
        return garbage(err);
    sweep->mode = strcmp(mode, "zip") == 0 ? SHOAL_SWEEP_ZIP : SHOAL_SWEEP_PRODUCT;
    if (sweep->mode == SHOAL_SWEEP_PRODUCT && strcmp(mode, "product") != 0)
        return garbage(err);
    sweep->repetitions = json_integer_value(repetitions);
    if (sweep->repetitions < 1 || sweep->repetitions > SHOAL_TASKS_MAX)
        return garbage(err);
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < json_array_size(parameters) && status == SHOAL_OK; i++)
        status = read_parameter(sweep, json_array_get(parameters, i), err);
    int64_t count = 0;
    return status == SHOAL_OK ? shoal_sweep_count(sweep, &count, err) : status;
}

enum shoal_status shoal_sweep_read(const json_t *json, struct shoal_sweep **ret_sweep,
                                   struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_sweep_cleanup) struct shoal_sweep *sweep = NULL;
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = shoal_sweep_create(&sweep, err);
    if (status != SHOAL_OK)
        return status;
    status = read_sweep(sweep, json, &why);
    if (status != SHOAL_OK)
        return shoal_error_set(err, status == SHOAL_MEMORY ? status : SHOAL_GARBAGE, "%s",
                               why.text);
    *ret_sweep = sweep;
    sweep = NULL;
    return SHOAL_OK;
}
