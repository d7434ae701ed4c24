#include "common/spec.h"

#include "common/environment.h"

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/json.h"
#include "common/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, ENVIRONMENT_MAX = 1000 };

static const int64_t TIME_MAX_MS = INT64_C(365) * 24 * 3600 * 1000;

static const char *const argument_kinds[] = {
    [SHOAL_ARGUMENTS_NONE] = "none",
    [SHOAL_ARGUMENTS_LINE] = "line",
    [SHOAL_ARGUMENTS_FIELDS] = "fields",
};

/* ---- life */

void shoal_spec_init(struct shoal_spec *spec) {
    *spec = (struct shoal_spec){.grace_ms = 10000, .result_max = SHOAL_RESULT_MAX};
}

static void free_words(char **words) {
    for (char **word = words; word != NULL && *word != NULL; word++)
        free(*word);
    free(words);
}

void shoal_spec_finish(struct shoal_spec *spec) {
    free_words(spec->command);
    free_words(spec->environment);
    free_words(spec->columns);
    free(spec->directory);
    shoal_sweep_destroy(spec->sweep);
    *spec = (struct shoal_spec){.words = 0};
}

void shoal_spec_cleanup(struct shoal_spec *spec) {
    shoal_spec_finish(spec);
}

/* ---- reading */

static enum shoal_status no_memory(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_MEMORY, "no memory for a spec");
}

static enum shoal_status garbage(const char *what, struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_GARBAGE, "the job's spec is garbled: %s", what);
}

/* A copy of a text without NULs. */
static enum shoal_status read_word(const json_t *word, const char *what, char **ret_word,
                                   struct shoal_error *err) {
    const char *text = json_string_value(word);
    if (text == NULL || strlen(text) != json_string_length(word))
        return garbage(what, err);
    *ret_word = strdup(text);
    return *ret_word == NULL ? no_memory(err) : SHOAL_OK;
}

/* A list of texts without NULs, `most` at most. */
static enum shoal_status read_words(const json_t *list, size_t most, const char *what,
                                    char ***ret_words, struct shoal_error *err) {
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > most)
        return garbage(what, err);
    char **words = calloc(n + 1, sizeof(*words));
    if (words == NULL)
        return no_memory(err);
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < n && status == SHOAL_OK; i++)
        status = read_word(json_array_get(list, i), what, &words[i], err);
    if (status == SHOAL_OK)
        *ret_words = words;
    else
        free_words(words);
    return status;
}

/* NAME=VALUE from an object of texts. */
static enum shoal_status read_environment(const json_t *object, char ***ret_words,
                                          struct shoal_error *err) {
    size_t n = 0;
    const char *name = NULL;
    json_t *value = NULL;
    char **words = calloc(json_object_size(object) + 1, sizeof(*words));
    if (words == NULL)
        return no_memory(err);
    json_object_foreach((json_t *)object, name, value) {
        const char *text = json_string_value(value);
        bool good = text != NULL && *name != '\0';
        words[n] = good ? malloc(strlen(name) + strlen(text) + 2) : NULL;
        if (words[n] == NULL) {
            free_words(words);
            return good ? no_memory(err) : garbage("its environment", err);
        }
        stpcpy(stpcpy(stpcpy(words[n++], name), "="), text);
    }
    *ret_words = words;
    return SHOAL_OK;
}

static bool read_number(const json_t *json, const char *name, int64_t most,
                        int64_t *ret_value) {
    const json_t *value = json_object_get(json, name);
    *ret_value = json_integer_value(value);
    return json_is_integer(value) && *ret_value >= 0 && *ret_value <= most;
}

static bool read_kind(const json_t *json, enum shoal_arguments *ret_kind) {
    const char *text = json_string_value(json_object_get(json, "arguments"));
    for (size_t i = 0; text != NULL && i < SHOAL_COUNT(argument_kinds); i++) {
        if (strcmp(text, argument_kinds[i]) == 0) {
            *ret_kind = (enum shoal_arguments)i;
            return true;
        }
    }
    return false;
}

static bool read_runner(const json_t *json, bool *ret_stays) {
    const json_t *runner = json_object_get(json, "runner");
    *ret_stays = runner != NULL;
    return runner == NULL ||
           (json_is_string(runner) && strcmp(json_string_value(runner), "host") == 0);
}

static bool read_checkpoint(const json_t *json, bool *ret_checkpoint) {
    const json_t *checkpoint = json_object_get(json, "checkpoint");
    *ret_checkpoint = json_is_true(checkpoint);
    return checkpoint == NULL || json_is_boolean(checkpoint);
}

static bool read_warning(const json_t *json, struct shoal_warning *ret_warning) {
    const json_t *warning = json_object_get(json, "warning");
    const char *text = json_string_value(warning);
    return warning == NULL ||
           (text != NULL && shoal_warning_parse(text, ret_warning, NULL) == SHOAL_OK);
}

static enum shoal_status read_lists(const json_t *json, struct shoal_spec *spec,
                                    struct shoal_error *err) {
    const json_t *environment = json_object_get(json, "environment");
    const json_t *columns = json_object_get(json, "columns");
    enum shoal_status status =
        read_words(json_object_get(json, "command"), SHOAL_WORDS_MAX, "its command",
                   &spec->command, err);
    while (status == SHOAL_OK && spec->command[spec->words] != NULL)
        spec->words++;
    if (status == SHOAL_OK && environment != NULL)
        status = read_environment(environment, &spec->environment, err);
    if (status == SHOAL_OK && columns != NULL)
        status =
            read_words(columns, SHOAL_PARAMETERS_MAX, "its columns", &spec->columns, err);
    return status;
}

static enum shoal_status read_spec(const json_t *json, struct shoal_spec *spec,
                                   struct shoal_error *err) {
    const char *directory = json_string_value(json_object_get(json, "directory"));
    int64_t version = 0;
    if (!read_number(json, "version", INT64_MAX, &version))
        return garbage("it has no version", err);
    if (version != VERSION)
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "the job's spec has version %" PRId64
                               ", this shoal " SHOAL_VERSION
                               " knows version %d; upgrade it",
                               version, VERSION);
    if (!read_number(json, "timeout_ms", TIME_MAX_MS, &spec->timeout_ms) ||
        !read_number(json, "grace_ms", TIME_MAX_MS, &spec->grace_ms) ||
        !read_number(json, "result_max", SHOAL_RESULT_MOST, &spec->result_max))
        return garbage("a number of it", err);
    if (!shoal_limits_read(json_object_get(json, "limits"), &spec->limits))
        return garbage("its limits", err);
    if (!read_kind(json, &spec->arguments) || !read_runner(json, &spec->stays) ||
        directory == NULL)
        return garbage("its arguments, its runner or its directory", err);
    if (!read_checkpoint(json, &spec->checkpoint) || !read_warning(json, &spec->warning))
        return garbage("its checkpoint or its warning", err);
    spec->directory = strdup(directory);
    if (spec->directory == NULL)
        return no_memory(err);
    enum shoal_status status = read_lists(json, spec, err);
    if (status == SHOAL_OK)
        status = shoal_sweep_read(json_object_get(json, "sweep"), &spec->sweep, err);
    return status == SHOAL_OK ? shoal_spec_check(spec, err) : status;
}

enum shoal_status shoal_spec_read(const char *json, size_t len,
                                  struct shoal_spec *ret_spec, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    struct shoal_spec spec;
    if (len > SHOAL_SPEC_MAX)
        return garbage("it is too long", err);
    json_t *root = NULL;
    enum shoal_status status = shoal_json_read(json, len, &root, NULL);
    if (status != SHOAL_OK)
        return status == SHOAL_MEMORY ? no_memory(err) : garbage("it is no JSON", err);
    shoal_spec_init(&spec);
    status = read_spec(root, &spec, &why);
    json_decref(root);
    if (status == SHOAL_OK) {
        *ret_spec = spec;
        return SHOAL_OK;
    }
    shoal_spec_finish(&spec);
    return shoal_error_set(err, status == SHOAL_MEMORY ? status : SHOAL_GARBAGE, "%s",
                           why.text);
}

/* ---- writing */

/* The value when all of it is there; else NULL: a job without one of its words would be
 * another one. */
static json_t *whole(json_t *value, bool good) {
    if (good)
        return value;
    json_decref(value);
    return NULL;
}

static json_t *write_words(char *const *words) {
    json_t *list = json_array();
    bool good = list != NULL;
    for (; good && words != NULL && *words != NULL; words++)
        good = json_array_append_new(list, json_string(*words)) == 0;
    return whole(list, good);
}

static json_t *write_environment(char *const *words) {
    json_t *object = json_object();
    bool good = object != NULL;
    for (; good && words != NULL && *words != NULL; words++) {
        size_t len = strcspn(*words, "=");
        char *name = strndup(*words, len);
        const char *value = *words + len + 1;
        good =
            name != NULL && ((*words)[len] != '=' ||
                             json_object_set_new(object, name, json_string(value)) == 0);
        free(name);
    }
    return whole(object, good);
}

static json_t *write_warning(const struct shoal_warning *warning) {
    char text[32];
    shoal_warning_print(warning, text, sizeof(text));
    return json_string(text);
}

static json_t *write_root(const struct shoal_spec *spec, json_t *sweep) {
    json_t *root =
        json_pack("{s:i, s:o, s:s, s:I, s:I, s:I, s:s, s:o}", "version", VERSION,
                  "command", write_words(spec->command), "directory", spec->directory,
                  "timeout_ms", (json_int_t)spec->timeout_ms, "grace_ms",
                  (json_int_t)spec->grace_ms, "result_max", (json_int_t)spec->result_max,
                  "arguments", argument_kinds[spec->arguments], "sweep", sweep);
    bool good = root != NULL;
    if (good && spec->environment != NULL && spec->environment[0] != NULL)
        good = json_object_set_new(root, "environment",
                                   write_environment(spec->environment)) == 0;
    if (good && spec->stays)
        good = json_object_set_new(root, "runner", json_string("host")) == 0;
    if (good && shoal_limits_are_set(&spec->limits))
        good =
            json_object_set_new(root, "limits", shoal_limits_write(&spec->limits)) == 0;
    if (good && spec->checkpoint)
        good = json_object_set_new(root, "checkpoint", json_true()) == 0;
    if (good && spec->warning.signal != 0)
        good = json_object_set_new(root, "warning", write_warning(&spec->warning)) == 0;
    if (good && spec->columns != NULL)
        good = json_object_set_new(root, "columns", write_words(spec->columns)) == 0;
    return whole(root, good);
}

static int add_bytes(const char *bytes, size_t len, void *text) {
    shoal_buffer_add(text, bytes, len);
    return 0; /* what failed once stays so; jansson would go on behind a gap */
}

/* NULL when there is no memory for all of it. The caller's: free(). */
static char *to_text(const json_t *root) {
    struct shoal_buffer text;
    shoal_buffer_init(&text, SIZE_MAX / 4);
    int dumped =
        json_dump_callback(root, add_bytes, &text, JSON_COMPACT | JSON_SORT_KEYS);
    char *bytes = dumped == 0 ? shoal_buffer_steal(&text) : NULL;
    shoal_buffer_finish(&text);
    return bytes;
}

enum shoal_status shoal_spec_write(const struct shoal_spec *spec, char **ret_json,
                                   struct shoal_error *err) {
    json_t *sweep = NULL;
    enum shoal_status status = shoal_sweep_write(spec->sweep, &sweep, err);
    if (status != SHOAL_OK)
        return status;
    json_t *root = write_root(spec, sweep);
    char *text = root == NULL ? NULL : to_text(root);
    json_decref(root);
    if (text == NULL)
        return no_memory(err);
    if (strlen(text) > SHOAL_SPEC_MAX) {
        free(text);
        return shoal_error_set(
            err, SHOAL_INVALID,
            "command, environment and parameters are over %d bytes together; "
            "give many values by --from FILE",
            SHOAL_SPEC_MAX);
    }
    *ret_json = text;
    return SHOAL_OK;
}

/* ---- checking */

static enum shoal_status check_text(const char *text, const char *what,
                                    struct shoal_error *err) {
    if (shoal_utf8_is_valid(text, strlen(text)))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID, "%s has bytes that are no UTF-8 text",
                           what);
}

static enum shoal_status check_environment(const struct shoal_spec *spec,
                                           struct shoal_error *err) {
    size_t n = 0;
    for (char **word = spec->environment; word != NULL && *word != NULL; word++, n++) {
        enum shoal_status status = check_text(*word, "the environment", err);
        if (status != SHOAL_OK)
            return status;
        if (strchr(*word, '=') == NULL || (*word)[0] == '=')
            return shoal_error_set(
                err, SHOAL_INVALID,
                "'%.100s' is no environment variable: write NAME=VALUE", *word);
        if (shoal_environment_is_own(*word))
            return shoal_error_set(err, SHOAL_INVALID,
                                   "'%.100s': shoal sets that variable for each task; "
                                   "give yours another name",
                                   *word);
    }
    if (n > ENVIRONMENT_MAX)
        return shoal_error_set(err, SHOAL_INVALID,
                               "a job has %d environment variables at most",
                               ENVIRONMENT_MAX);
    return SHOAL_OK;
}

/* The names that a word may hold, with values that do not matter. */
static enum shoal_status any_parameters(const struct shoal_spec *spec,
                                        struct shoal_parameters *parameters, char **line,
                                        struct shoal_error *err) {
    *parameters = (struct shoal_parameters){.n = 0};
    switch (spec->arguments) {
    case SHOAL_ARGUMENTS_NONE:
        return shoal_parameters_make(spec, 0, NULL, 0, parameters, err);
    case SHOAL_ARGUMENTS_LINE:
        parameters->n = 1;
        parameters->names = parameters->values = line;
        return SHOAL_OK;
    case SHOAL_ARGUMENTS_FIELDS:
        while (spec->columns != NULL && spec->columns[parameters->n] != NULL)
            parameters->n++;
        parameters->names = parameters->values = spec->columns;
        return SHOAL_OK;
    }
    return garbage("its arguments", err);
}

static enum shoal_status check_words(const struct shoal_spec *spec,
                                     struct shoal_error *err) {
    char *line[] = {(char[]){""}, NULL};
    struct shoal_parameters parameters;
    enum shoal_status status = any_parameters(spec, &parameters, line, err);
    if (status != SHOAL_OK)
        return status;
    const struct shoal_task task = {.job = "", .parameters = &parameters};
    struct shoal_buffer text;
    shoal_buffer_init(&text, SHOAL_SPEC_MAX);
    for (size_t i = 0; i < spec->words && status == SHOAL_OK; i++) {
        shoal_buffer_clear(&text);
        status = check_text(spec->command[i], "the command", err);
        if (status == SHOAL_OK && !spec->stays)
            status =
                shoal_word_expand(spec->command[i], spec->arguments, &task, &text, err);
    }
    shoal_buffer_finish(&text);
    if (spec->arguments == SHOAL_ARGUMENTS_NONE)
        shoal_parameters_finish(&parameters);
    return status;
}

/* What a function gets besides its parameters. */
static bool is_functions_own(const char *name) {
    return strcmp(name, "index") == 0 || strcmp(name, "attempt") == 0;
}

static enum shoal_status check_names(const struct shoal_spec *spec,
                                     struct shoal_error *err) {
    const char *bad = NULL;
    for (size_t i = 0; spec->stays && i < shoal_sweep_parameters(spec->sweep); i++) {
        const char *name = shoal_sweep_name(spec->sweep, i);
        bad = is_functions_own(name) ? name : bad;
    }
    for (char **name = spec->columns; spec->stays && name != NULL && *name != NULL;
         name++)
        bad = is_functions_own(*name) ? *name : bad;
    if (bad == NULL)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           "a function gets '%s' by itself; give the parameter another "
                           "name",
                           bad);
}

enum shoal_status shoal_spec_check(const struct shoal_spec *spec,
                                   struct shoal_error *err) {
    int64_t count = 0;
    if (spec->words == 0 || spec->command[0][0] == '\0')
        return shoal_error_set(err, SHOAL_INVALID,
                               "there is no command to run; write it behind '--'");
    if (spec->words > SHOAL_WORDS_MAX)
        return shoal_error_set(err, SHOAL_INVALID, "a command has %d words at most",
                               SHOAL_WORDS_MAX);
    if (spec->directory == NULL || spec->directory[0] != '/')
        return shoal_error_set(err, SHOAL_INVALID,
                               "the working directory '%.200s' is not absolute",
                               spec->directory == NULL ? "" : spec->directory);
    enum shoal_status status = check_text(spec->directory, "the working directory", err);
    if (status == SHOAL_OK)
        status = shoal_sweep_count(spec->sweep, &count, err);
    if (status == SHOAL_OK)
        status = check_environment(spec, err);
    if (status == SHOAL_OK)
        status = shoal_limits_check(&spec->limits, err);
    if (status == SHOAL_OK)
        status = check_names(spec, err);
    if (status == SHOAL_OK)
        status = shoal_warning_check(&spec->warning, spec->timeout_ms, err);
    return status == SHOAL_OK ? check_words(spec, err) : status;
}
