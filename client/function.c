#include "client/function.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *plugin;
static const char *task;
static const char *python;

const struct shoal_option shoal_function_options[] = {
    {.name = "plugin",
     .type = SHOAL_OPTION_TEXT,
     .value = &plugin,
     .argument = "FILE",
     .section = "Functions",
     .help = "run a C function of this plug-in (shoal_task.h) in place of a command"},
    {.name = "task",
     .type = SHOAL_OPTION_TEXT,
     .value = &task,
     .argument = "NAME",
     .section = "Functions",
     .help = "which one of it"},
    {.name = "python",
     .type = SHOAL_OPTION_TEXT,
     .value = &python,
     .argument = "MODULE:FUNCTION",
     .section = "Functions",
     .help = "run a Python function in place of a command; it gets the parameters by "
             "name"},
    {.name = NULL},
};

/* As it is written, but absolute: it need not be here, but on the workers. */
static bool make_absolute(const char *path, char *absolute, size_t room) {
    char here[PATH_MAX];
    if (path[0] == '/')
        return (size_t)snprintf(absolute, room, "%s", path) < room;
    return getcwd(here, sizeof(here)) != NULL &&
           (size_t)snprintf(absolute, room, "%s/%s", here, path) < room;
}

/* A name with dots in it, up to `end`. */
static bool is_dotted_name(const char *text, const char *end) {
    bool begins = true;
    for (; text < end; text++) {
        bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                      *text == '_' || (unsigned char)*text >= 0x80;
        bool digit = *text >= '0' && *text <= '9';
        if (!letter && !(digit && !begins) && !(*text == '.' && !begins))
            return false;
        begins = *text == '.';
    }
    return !begins;
}

static bool is_function_name(const char *text) {
    const char *colon = strchr(text, ':');
    return colon != NULL && is_dotted_name(text, colon) &&
           is_dotted_name(colon + 1, colon + strlen(colon));
}

static enum shoal_status check(char *const *words, struct shoal_error *err) {
    if (plugin != NULL && python != NULL)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--plugin and --python do not go together");
    if ((plugin == NULL) != (task == NULL))
        return shoal_error_set(err, SHOAL_INVALID,
                               "--plugin FILE and --task NAME belong together");
    if (python != NULL && !is_function_name(python))
        return shoal_error_set(err, SHOAL_INVALID,
                               "--python '%.200s': write MODULE:FUNCTION, as in "
                               "model:simulate for simulate() in model.py",
                               python);
    if (words[0] != NULL)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%s': there is a function to run, so there can be no "
                               "command",
                               words[0]);
    return SHOAL_OK;
}

enum shoal_status shoal_function_command(char *const *words,
                                         const char *const **ret_words,
                                         struct shoal_error *err) {
    static char path[PATH_MAX * 2];
    static const char *command[6];
    if (plugin == NULL && python == NULL && task == NULL)
        return words[0] != NULL
                   ? SHOAL_OK
                   : shoal_error_set(err, SHOAL_INVALID,
                                     "there is nothing to run: write a command behind "
                                     "'--', or say --plugin or --python");
    enum shoal_status status = check(words, err);
    if (status != SHOAL_OK)
        return status;
    if (plugin != NULL && !make_absolute(plugin, path, sizeof(path)))
        return shoal_error_set(err, SHOAL_INVALID, "--plugin '%s': the path is too long",
                               plugin);
    const char *const of_plugin[] = {"shoal-host", "--plugin", path,
                                     "--task",     task,       NULL};
    const char *const of_python[] = {"shoal-host", "--python", python, NULL};
    if (plugin != NULL)
        memcpy(command, of_plugin, sizeof(of_plugin));
    else
        memcpy(command, of_python, sizeof(of_python));
    *ret_words = command;
    return SHOAL_OK;
}
