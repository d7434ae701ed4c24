/* What the installed shoal-host may load for a worker with a list. It could do more than
 * that for a person (--try, any option cut short), so its words are read strictly and
 * written anew. */
#include "common/allow.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whether words are exactly these, with anything for NULL. */
static bool are(char *const *words, const char *const *pattern, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (words[i] == NULL || (pattern[i] != NULL && strcmp(words[i], pattern[i]) != 0))
            return false;
    }
    return words[n] == NULL;
}

/* ---- plug-ins */

static enum shoal_status take_plugin(const struct shoal_allow *allow, char *const *argv,
                                     const char *directory,
                                     struct shoal_allow_words *words,
                                     struct shoal_error *err) {
    char path[PATH_MAX];
    const char *file = argv[2];
    bool absolute = *file == '/';
    if ((size_t)snprintf(path, sizeof(path), "%s%s%s", absolute ? "" : directory,
                         absolute ? "" : "/", file) >= sizeof(path))
        return shoal_error_set(err, SHOAL_REFUSED, "the plug-in's path is too long");
    enum shoal_status status =
        shoal_allow_file(allow, "load", file, path, words->path, err);
    if (status != SHOAL_OK)
        return status;
    char *const good[] = {argv[0], argv[1], words->path, argv[3], argv[4], NULL};
    memcpy(words->argv, good, sizeof(good));
    return SHOAL_OK;
}

/* ---- Python */

static bool is_module_name(const char *text, size_t len) {
    bool begins = true;
    for (size_t i = 0; i < len; begins = text[i++] == '.') {
        if (text[i] == '/' || (begins && text[i] == '.'))
            return false;
    }
    return !begins;
}

/* Writes "FOLDER/a/b" and what follows for the first `len` bytes of module a.b. Whether
 * it had room. */
static bool module_path(const char *folder, size_t folder_len, const char *module,
                        size_t len, const char *end, char *path) {
    if ((size_t)snprintf(path, PATH_MAX, "%.*s/%.*s%s", (int)folder_len, folder, (int)len,
                         module, end) >= PATH_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (module[i] == '.')
            path[folder_len + 1 + i] = '/';
    }
    return true;
}

/* A module's file: a package comes before a module of one file, as in Python. */
static bool find_file(const char *folder, size_t folder_len, const char *module,
                      size_t len, char *path) {
    static const char *const ends[] = {"/__init__.py", ".py"};
    for (size_t i = 0; i < 2; i++) {
        if (module_path(folder, folder_len, module, len, ends[i], path) &&
            access(path, F_OK) == 0)
            return true;
    }
    return false;
}

/* In the job's directory, then where PYTHONPATH of the worker leads. Sets the length of
 * the folder in `path`. */
static bool find_module(const char *module, size_t len, const char *directory,
                        const char *python_path, char *path, size_t *ret_folder_len) {
    *ret_folder_len = strlen(directory);
    if (find_file(directory, *ret_folder_len, module, len, path))
        return true;
    for (const char *at = python_path; at != NULL && *at != '\0';) {
        *ret_folder_len = strcspn(at, ":");
        if (*at == '/' && find_file(at, *ret_folder_len, module, len, path))
            return true;
        at += *ret_folder_len + (at[*ret_folder_len] == ':');
    }
    return false;
}

/* Importing a.b.c runs the packages a and a.b as well. */
static enum shoal_status check_packages(const struct shoal_allow *allow,
                                        const char *module, size_t len,
                                        const char *folder, struct shoal_error *err) {
    char path[PATH_MAX], real[PATH_MAX];
    for (size_t i = 1; i < len; i++) {
        if (module[i] != '.' ||
            !module_path(folder, strlen(folder), module, i, "/__init__.py", path) ||
            access(path, F_OK) != 0)
            continue;
        enum shoal_status status = shoal_allow_file(allow, "load", path, path, real, err);
        if (status == SHOAL_OK && strcmp(path, real) != 0)
            status = shoal_error_set(err, SHOAL_REFUSED,
                                     "this worker does not load '%s': it is a link to "
                                     "'%s'",
                                     path, real);
        if (status != SHOAL_OK)
            return status;
    }
    return SHOAL_OK;
}

static enum shoal_status take_module(const struct shoal_allow *allow, char *const *argv,
                                     const char *directory, const char *python_path,
                                     struct shoal_allow_words *words,
                                     struct shoal_error *err) {
    char path[PATH_MAX];
    const char *function = argv[2];
    size_t len = strcspn(function, ":"), folder_len = 0;
    if (function[len] != ':' || !is_module_name(function, len))
        return shoal_error_set(err, SHOAL_REFUSED,
                               "'%s' is no function: write MODULE:FUNCTION", function);
    if (!find_module(function, len, directory, python_path, path, &folder_len))
        return shoal_error_set(err, SHOAL_REFUSED,
                               "this worker was given a list of what may run, with "
                               "%s, and there is no module '%.*s' in '%s' or in its "
                               "PYTHONPATH",
                               shoal_allow_name(allow), (int)len, function, directory);
    enum shoal_status status =
        shoal_allow_file(allow, "load", function, path, words->path, err);
    if (status != SHOAL_OK)
        return status;
    const char *in_folder = path + folder_len; /* "/a/b.py" */
    size_t real_len = strlen(words->path), rest = strlen(in_folder);
    if (real_len < rest || strcmp(words->path + real_len - rest, in_folder) != 0)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "this worker does not load '%s': '%s' is a link to '%s', "
                               "which is called otherwise",
                               function, path, words->path);
    words->path[real_len == rest ? 1 : real_len - rest] = '\0';
    char *const good[] = {argv[0],     argv[1], argv[2], (char *)"--folder",
                          words->path, NULL};
    memcpy(words->argv, good, sizeof(good));
    return check_packages(allow, function, len, words->path, err);
}

enum shoal_status shoal_allow_host_words(const struct shoal_allow *allow,
                                         char *const *argv, const char *directory,
                                         const char *python_path,
                                         struct shoal_allow_words *ret_words,
                                         struct shoal_error *err) {
    static const char *const plugin[] = {NULL, "--plugin", NULL, "--task", NULL};
    static const char *const python[] = {NULL, "--python", NULL};
    if (are(argv, plugin, 5))
        return take_plugin(allow, argv, directory, ret_words, err);
    if (are(argv, python, 3))
        return take_module(allow, argv, directory, python_path, ret_words, err);
    return shoal_error_set(err, SHOAL_REFUSED,
                           "this worker was given a list of what may run, with %s, and "
                           "starts shoal-host only for --plugin FILE --task NAME or "
                           "--python MODULE:FUNCTION",
                           shoal_allow_name(allow));
}
