#include "common/environment.h"

#include "common/cleanup.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

/* The system itself takes less than so many bytes. */
enum { ENVIRONMENT_BYTES_MAX = 16 << 20, ENTRIES_MAX = 4096 };

/* What passes from the worker to its tasks. Alphabetical. */
static const char *const passed[] = {
    "BLIS_*",  "CONDA_*",       "CUDA_*",      "GOMAXPROCS",   "HOME",
    "JULIA_*", "LANG",          "LANGUAGE",    "LC_*",         "LD_LIBRARY_PATH",
    "LOGNAME", "LOADEDMODULES", "MKL_*",       "MODULEPATH",   "NUMEXPR_*",
    "OMP_*",   "OPENBLAS_*",    "PATH",        "PYENV_*",      "PYTHONPATH",
    "RAYON_*", "R_*",           "SHELL",       "SHOAL_PYTHON", "TZ",
    "USER",    "VECLIB_*",      "VIRTUAL_ENV",
};

/* What numeric libraries read to learn how many threads to start. */
static const char *const thread_variables[] = {
    "BLIS_NUM_THREADS",    "JULIA_NUM_THREADS",      "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS",        "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",   "VECLIB_MAXIMUM_THREADS",
};

/* "NAME=VALUE" with a NUL behind each; pointers are taken at the end,
 * when nothing moves. */
struct gathering {
    struct shoal_buffer text;
    size_t offsets[ENTRIES_MAX];
    size_t n;
    bool too_many;
};

static const char *entry(const struct gathering *gathering, size_t i) {
    return gathering->text.data + gathering->offsets[i];
}

static bool same_name(const char *entry_text, const char *name, size_t len) {
    return strncmp(entry_text, name, len) == 0 && entry_text[len] == '=';
}

/* What add_parameters() and add_task() set. */
static const char *const own_names[] = {
    "SHOAL_ARGUMENT", "SHOAL_ATTEMPT", "SHOAL_CHECKPOINT", "SHOAL_CHECKPOINTS",
    "SHOAL_JOB",      "SHOAL_REP",     "SHOAL_RESULT",     "SHOAL_SEED",
    "SHOAL_SLOT",     "SHOAL_TASK",    "SHOAL_TMP",        "TMPDIR",
};
static const char parameter_prefix[] = "SHOAL_PARAM_";

bool shoal_environment_is_own(const char *word) {
    for (size_t i = 0; i < SHOAL_COUNT(own_names); i++) {
        if (same_name(word, own_names[i], strlen(own_names[i])))
            return true;
    }
    return strncmp(word, parameter_prefix, strlen(parameter_prefix)) == 0;
}

/* Begins an entry; one of the same name goes. After a failure there may be none. */
static void begin(struct gathering *gathering, const char *name, size_t len) {
    if (gathering->text.failed)
        return;
    for (size_t i = 0; i < gathering->n; i++) {
        if (same_name(entry(gathering, i), name, len)) {
            gathering->offsets[i] = gathering->offsets[--gathering->n];
            break;
        }
    }
    gathering->too_many = gathering->too_many || gathering->n == ENTRIES_MAX;
    if (gathering->too_many)
        return;
    gathering->offsets[gathering->n++] = gathering->text.len;
    shoal_buffer_add(&gathering->text, name, len);
    shoal_buffer_add_char(&gathering->text, '=');
}

static void add(struct gathering *gathering, const char *name, const char *value) {
    begin(gathering, name, strlen(name));
    shoal_buffer_add(&gathering->text, value, strlen(value) + 1);
}

static void add_number(struct gathering *gathering, const char *name, uint64_t number) {
    begin(gathering, name, strlen(name));
    shoal_buffer_add_format(&gathering->text, "%" PRIu64, number);
    shoal_buffer_add_char(&gathering->text, '\0');
}

bool shoal_environment_fits(const char *name, const char *const *patterns, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    }
    return false;
}

static bool passes(const char *name, const struct shoal_option_list *more) {
    return shoal_environment_fits(name, passed, SHOAL_COUNT(passed)) ||
           (more != NULL && strncmp(name, "SHOAL_", 6) != 0 &&
            shoal_environment_fits(name, more->items, more->n));
}

char **shoal_environment_passed(const struct shoal_option_list *more) {
    size_t n = 0, kept = 0;
    while (environ[n] != NULL)
        n++;
    char **list = calloc(n + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < n; i++) {
        char name[64];
        size_t len = strcspn(environ[i], "=");
        if (environ[i][len] != '=' || len == 0 || len >= sizeof(name))
            continue;
        memcpy(name, environ[i], len);
        name[len] = '\0';
        if (passes(name, more))
            list[kept++] = environ[i];
    }
    return list;
}

/* Entries that cannot be there yet. */
static void add_own(struct gathering *gathering, char *const *own) {
    for (; own != NULL && *own != NULL && gathering->n < ENTRIES_MAX; own++) {
        gathering->offsets[gathering->n++] = gathering->text.len;
        shoal_buffer_add(&gathering->text, *own, strlen(*own) + 1);
    }
}

static void add_threads(struct gathering *gathering, int threads) {
    for (size_t i = 0; i < SHOAL_COUNT(thread_variables); i++) {
        if (getenv(thread_variables[i]) == NULL)
            add_number(gathering, thread_variables[i], (uint64_t)threads);
    }
}

static void add_job(struct gathering *gathering, char *const *words) {
    for (; words != NULL && *words != NULL; words++) {
        size_t len = strcspn(*words, "=");
        if ((*words)[len] != '=')
            continue;
        begin(gathering, *words, len);
        shoal_buffer_add(&gathering->text, *words + len + 1,
                         strlen(*words + len + 1) + 1);
    }
}

static void add_parameters(struct gathering *gathering,
                           const struct shoal_parameters *parameters) {
    for (size_t i = 0; i < parameters->n; i++) {
        char name[80];
        char *at = stpcpy(name, parameter_prefix);
        for (const char *from = parameters->names[i]; *from != '\0' && at < name + 79;
             from++)
            *at++ = *from >= 'a' && *from <= 'z' ? (char)(*from - 'a' + 'A') : *from;
        *at = '\0';
        add(gathering, parameters->names[i][0] == '\0' ? "SHOAL_ARGUMENT" : name,
            parameters->values[i]);
    }
}

static void add_task(struct gathering *gathering, const struct shoal_task *task,
                     const struct shoal_surroundings *surroundings) {
    add_number(gathering, "SHOAL_SLOT", (uint64_t)surroundings->slot);
    add(gathering, "SHOAL_TMP", surroundings->directory);
    add(gathering, "TMPDIR", surroundings->directory);
    if (surroundings->checkpoint != NULL)
        add(gathering, task == NULL ? "SHOAL_CHECKPOINTS" : "SHOAL_CHECKPOINT",
            surroundings->checkpoint);
    if (task == NULL)
        return;
    add(gathering, "SHOAL_JOB", task->job);
    add_number(gathering, "SHOAL_TASK", (uint64_t)task->index);
    add_number(gathering, "SHOAL_REP", (uint64_t)task->parameters->repetition);
    add_number(gathering, "SHOAL_ATTEMPT", (uint64_t)surroundings->attempt);
    add_number(gathering, "SHOAL_SEED", task->seed);
    add(gathering, "SHOAL_RESULT", surroundings->result_path);
}

/* Copies the gathered entries into one block with the pointers in front. */
static char **to_block(const struct gathering *gathering) {
    size_t pointers = (gathering->n + 1) * sizeof(char *);
    char **block = malloc(pointers + gathering->text.len);
    if (block == NULL)
        return NULL;
    char *text = (char *)block + pointers;
    memcpy(text, gathering->text.data, gathering->text.len);
    for (size_t i = 0; i < gathering->n; i++)
        block[i] = text + gathering->offsets[i];
    block[gathering->n] = NULL;
    return block;
}

enum shoal_status shoal_environment_make(const struct shoal_spec *spec,
                                         const struct shoal_task *task,
                                         const struct shoal_surroundings *surroundings,
                                         char ***ret_environment,
                                         struct shoal_error *err) {
    struct gathering gathering;
    gathering.n = 0;
    gathering.too_many = false;
    shoal_buffer_init(&gathering.text, ENVIRONMENT_BYTES_MAX);
    add_own(&gathering, surroundings->passed);
    if (surroundings->user != NULL) {
        add(&gathering, "USER", surroundings->user);
        add(&gathering, "LOGNAME", surroundings->user);
        add(&gathering, "HOME", surroundings->home);
    }
    add_threads(&gathering, surroundings->threads);
    add_job(&gathering, spec->environment);
    if (task != NULL)
        add_parameters(&gathering, task->parameters);
    add_task(&gathering, task, surroundings);
    char **block = gathering.text.failed ? NULL : to_block(&gathering);
    shoal_buffer_finish(&gathering.text);
    if (block == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for an environment");
    if (gathering.too_many) {
        free(block);
        return shoal_error_set(err, SHOAL_INVALID,
                               "the task's environment has more than %d entries",
                               ENTRIES_MAX);
    }
    *ret_environment = block;
    return SHOAL_OK;
}

const char *shoal_environment_get(char *const *environment, const char *name) {
    size_t len = strlen(name);
    for (; *environment != NULL; environment++) {
        if (same_name(*environment, name, len))
            return *environment + len + 1;
    }
    return NULL;
}
