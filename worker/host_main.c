/* shoal-host: the runner that stays. A worker starts it for jobs of `shoal run --plugin`
 * and `--python`; a person may try a task with it by hand. */
#include "common/cleanup.h"
#include "common/id.h"
#include "common/option.h"
#include "worker/host_call.h"
#include "worker/host_serve.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *plugin;
    const char *task;
    const char *python;
    const char *folder;
    bool try;
    int64_t index;
    int64_t attempt;
    int64_t seed;
    int64_t repetition;
    bool help, version, man_options;
} config;

static const struct shoal_option options[] = {
    {.name = "plugin",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.plugin,
     .argument = "FILE",
     .help = "the plug-in to load"},
    {.name = "task",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.task,
     .argument = "NAME",
     .help = "the task of it to run"},
    {.name = "python",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.python,
     .argument = "MODULE:FUNCTION",
     .help = "a Python function to run instead, by $SHOAL_PYTHON or python3"},
    {.name = "folder",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.folder,
     .argument = "DIR",
     .help = "with --python: find the module there, not in the current directory, and "
             "take only a function that is defined there"},
    {.name = "try",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.try,
     .help = "run one task here and now, with the parameters NAME=VALUE that follow, and "
             "print its result"},
    {.name = "index",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.index,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "9007199254740991",
     .help = "with --try: the task's number"},
    {.name = "attempt",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.attempt,
     .argument = "N",
     .fallback = "1",
     .least = "1",
     .most = "1000000",
     .help = "with --try: the attempt"},
    {.name = "seed",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.seed,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "9223372036854775807",
     .help = "with --try: the task's seed"},
    {.name = "rep",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.repetition,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "9007199254740991",
     .help = "with --try: the repetition"},
    {.name = "help",
     .letter = 'h',
     .type = SHOAL_OPTION_FLAG,
     .value = &config.help,
     .help = "show this help",
     .section = "Other"},
    {.name = "version",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.version,
     .help = "show the version",
     .section = "Other"},
    {.name = NULL},
};

/* Not for people: what the man page is made of. */
static const struct shoal_option hidden[] = {
    {.name = "man-options",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.man_options,
     .help = ""},
    {.name = NULL},
};

static const struct shoal_option *const shown[] = {options, NULL};
static const struct shoal_option *const all[] = {hidden, options, NULL};

static const char help[] =
    "Usage: shoal-host --plugin FILE --task NAME\n"
    "       shoal-host --python MODULE:FUNCTION\n"
    "       shoal-host --try FILE NAME [PARAMETER=VALUE]...\n"
    "       shoal-host --try --python MODULE:FUNCTION [PARAMETER=VALUE]...\n"
    "Runs tasks for a worker, which starts it; with --try, one task for a person.\n";

static int refuse(const char *text) {
    fprintf(stderr, "shoal-host: %s\n", text);
    return 2;
}

/* ---- plug-ins */

static int say_no_task(const struct shoal_plugin *plugin) {
    fprintf(stderr, "shoal-host: '%s' has no task '%s'; it has", config.plugin,
            config.task);
    for (const struct shoal_task_entry *task = plugin->tasks; task->name != NULL; task++)
        fprintf(stderr, "%s %s", task == plugin->tasks ? "" : ",", task->name);
    fprintf(stderr, "\n");
    return 2;
}

/* Loads the plug-in and finds the task; says what is wrong. */
static int find_task(shoal_task_fn *ret_run) {
    char path[PATH_MAX];
    /* A bare name would be looked for among the system's libraries. */
    snprintf(path, sizeof(path), "%s%s", strchr(config.plugin, '/') == NULL ? "./" : "",
             config.plugin);
    if (access(path, R_OK) != 0) {
        fprintf(stderr, "shoal-host: cannot read the plug-in '%s': %s\n", config.plugin,
                strerror(errno));
        return 2;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "shoal-host: '%s' is no plug-in: %s\n", config.plugin, dlerror());
        return 2;
    }
    const struct shoal_plugin *plugin = dlsym(library, "shoal_plugin");
    if (plugin == NULL) {
        fprintf(stderr,
                "shoal-host: '%s' is no plug-in: it does not define "
                "'shoal_plugin' (see shoal_task.h)\n",
                config.plugin);
        return 2;
    }
    if (plugin->version != SHOAL_TASK_VERSION) {
        fprintf(stderr,
                "shoal-host: '%s' was built for version %d of shoal_task.h, this "
                "shoal-host knows version %d; build it again\n",
                config.plugin, plugin->version, SHOAL_TASK_VERSION);
        return 2;
    }
    if (plugin->tasks == NULL) {
        fprintf(stderr, "shoal-host: '%s' has no tasks\n", config.plugin);
        return 2;
    }
    const struct shoal_task_entry *task = plugin->tasks;
    while (task->name != NULL && strcmp(task->name, config.task) != 0)
        task++;
    *ret_run = task->run;
    return task->name == NULL ? say_no_task(plugin) : 0;
}

/* ---- trying */

static void tell_person(void *owner, int64_t index, double fraction, const char *text) {
    (void)owner;
    (void)index;
    if (fraction < 0)
        fprintf(stderr, "log: %s\n", text);
    else
        fprintf(stderr, "progress: %.0f %% %s\n", fraction * 100, text);
}

/* NAME=VALUE words as parameters; "=VALUE" is the argument of a job of lines. The arrays
 * hold pointers into the words. False: one is none. */
static bool read_parameters(char *const *words, struct shoal_parameters *parameters) {
    for (; *words != NULL; words++) {
        char *equals = strchr(*words, '=');
        if (equals != NULL)
            *equals = '\0';
        if (equals == NULL || parameters->n == SHOAL_PARAMETERS_MAX ||
            (**words != '\0' && !shoal_parameter_name_is_valid(*words))) {
            fprintf(stderr, "shoal-host: '%s' is no parameter: write NAME=VALUE\n",
                    *words);
            return false;
        }
        parameters->names[parameters->n] = *words;
        parameters->values[parameters->n++] = equals + 1;
    }
    return true;
}

static int show(struct shoal_call *call, int code) {
    bool fits = shoal_call_end(call);
    if (code == SHOAL_CALL_CONTINUE && shoal_call_checkpoint(call) != NULL) {
        fprintf(stderr, "shoal-host: the task would go on from its checkpoint\n");
        return code;
    }
    if (code != 0 || call->failed || !fits) {
        fprintf(stderr, "shoal-host: the task failed%s%s\n",
                call->reason.len > 0 ? ": " : "", shoal_buffer_text(&call->reason));
        return 1;
    }
    if (call->result.len > 0) {
        fwrite(call->result.data, 1, call->result.len, stdout);
        putchar('\n');
    }
    if (fflush(stdout) == 0)
        return 0;
    fprintf(stderr, "shoal-host: the result cannot be written: %s\n", strerror(errno));
    return 1;
}

static int try_task(shoal_task_fn run, char *const *words) {
    char *names[SHOAL_PARAMETERS_MAX], *values[SHOAL_PARAMETERS_MAX];
    struct shoal_parameters parameters = {
        .names = names, .values = values, .repetition = config.repetition};
    const struct shoal_spec spec = {.result_max = INT32_MAX};
    struct shoal_call call;
    if (!read_parameters(words, &parameters))
        return 2;
    shoal_call_init(&call, &spec, NULL, tell_person, NULL);
    call.attempt = config.attempt;
    const char *line = parameters.n == 1 && names[0][0] == '\0' ? values[0] : NULL;
    call.seed = (uint64_t)config.seed;
    call.is_task_seed = true;
    shoal_call_begin(&call, config.index, line, line == NULL ? 0 : strlen(line));
    call.parameters = parameters;
    call.asked_parameters = call.has_parameters = true;
    int status = show(&call, run(&call));
    call.has_parameters = false; /* they are not the call's to free */
    shoal_call_finish(&call);
    return status;
}

static int run_plugin(char **words) {
    shoal_task_fn run = NULL;
    if (config.try && config.plugin == NULL && words[0] != NULL && words[1] != NULL) {
        config.plugin = words[0];
        config.task = words[1];
        words += 2;
    }
    if (config.plugin == NULL || config.task == NULL)
        return refuse("say which task: --plugin FILE --task NAME, or --python "
                      "MODULE:FUNCTION; see 'shoal-host --help'");
    if (!config.try && words[0] != NULL)
        return refuse("parameters are for --try; see 'shoal-host --help'");
    int status = find_task(&run);
    if (status != 0)
        return status;
    return config.try ? try_task(run, words) : shoal_host_serve(run);
}

/* ---- Python */

/* Where runner.py is: beside a build, or where `make install` puts it. */
static bool find_runner(char *path, size_t room) {
    static const char *const places[] = {"python", "../share/shoal/python"};
    char here[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", here, sizeof(here) - 1);
    here[len < 0 ? 0 : len] = '\0';
    char *slash = strrchr(here, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    for (size_t i = 0; i < SHOAL_COUNT(places); i++) {
        if ((size_t)snprintf(path, room, "%s/%s/shoal/runner.py", here, places[i]) <
                room &&
            access(path, R_OK) == 0)
            return true;
    }
    return false;
}

static int become_python(char **words) {
    const char *python = getenv("SHOAL_PYTHON");
    char runner[PATH_MAX], index[24], attempt[24], seed[24], repetition[24];
    size_t n = 0, given = 0;
    if (!find_runner(runner, sizeof(runner)))
        return refuse("runner.py is not where it was installed; install shoal again");
    while (words[given] != NULL)
        given++;
    SHOAL_CLEANUP(shoal_cleanup_free) char **argv = calloc(given + 18, sizeof(*argv));
    if (argv == NULL)
        return refuse("no memory for the words of a command");
    python = python == NULL ? "python3" : python;
    snprintf(index, sizeof(index), "%" PRId64, config.index);
    snprintf(attempt, sizeof(attempt), "%" PRId64, config.attempt);
    snprintf(seed, sizeof(seed), "%" PRId64, config.seed);
    snprintf(repetition, sizeof(repetition), "%" PRId64, config.repetition);
    char *const first[] = {(char *)python, runner, (char *)config.python};
    char *const from[] = {(char *)"--folder", (char *)config.folder};
    char *const tried[] = {"--try",  "--index", index,   "--attempt", attempt,
                           "--seed", seed,      "--rep", repetition};
    for (size_t i = 0; i < SHOAL_COUNT(first); i++)
        argv[n++] = first[i];
    for (size_t i = 0; i < SHOAL_COUNT(from) && config.folder != NULL; i++)
        argv[n++] = from[i];
    for (size_t i = 0; i < SHOAL_COUNT(tried) && config.try; i++)
        argv[n++] = tried[i];
    for (size_t i = 0; i < given; i++)
        argv[n++] = words[i];
    execvp(python, argv);
    fprintf(stderr, "shoal-host: cannot start '%s': %s\n", python, strerror(errno));
    return 2;
}

int main(int argc, char **argv) {
    struct shoal_error err = {.status = SHOAL_OK};
    int rest = 0;
    if (shoal_options_parse(all, argc, argv, false, &rest, &err) != SHOAL_OK)
        return refuse(err.text);
    if (config.man_options || config.help || config.version) {
        if (config.version && !config.help)
            printf("shoal-host %s\n", SHOAL_VERSION);
        else if (config.man_options)
            shoal_options_man(shown, stdout);
        else
            puts(help), shoal_options_help(shown, stdout);
        return 0;
    }
    if (config.python != NULL && (config.plugin != NULL || config.task != NULL))
        return refuse("--python and --plugin do not go together");
    if (config.folder != NULL && config.python == NULL)
        return refuse("--folder is for --python");
    signal(SIGPIPE, SIG_IGN);
    return config.python != NULL ? become_python(argv + rest) : run_plugin(argv + rest);
}
