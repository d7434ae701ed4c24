#include "common/allow.h"

#include "common/cleanup.h"
#include "common/environment.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What makes an allowed program run something else: where it, its loader, its libraries
 * or its interpreter find programs, code or settings that name such, and what a shell
 * runs besides its script. Alphabetical. */
static const char *const steering[] = {
    "AWK*",          "BASH*",          "CC",
    "CDPATH",        "CLASSPATH",      "CUDA_INJECTION*",
    "CXX",           "DOTNET_*",       "EDITOR",
    "ENV",           "ERL_*",          "FI_PROVIDER_PATH",
    "FPATH",         "GCONV_PATH",     "GDAL_CONFIG*",
    "GDAL_DRIVER*",  "GDAL_PYTHON*",   "GDAL_VRT*",
    "GIO_*",         "GIT_*",          "GUILE_*",
    "HDF5_PLUGIN*",  "HDF5_VOL*",      "HOME",
    "HYDRA_*",       "I_MPI_*",        "JAVA_*",
    "JDK_*",         "JULIA_*",        "KOKKOS_PROFILE*",
    "KOKKOS_TOOLS*", "LAMMPS_PLUGIN*", "LD_*",
    "LESS*",         "LMOD_*",         "LUA_*",
    "MAGICK_*",      "MAKE*",          "MATLAB*",
    "MODULEPATH",    "MODULERC*",      "MODULES*",
    "MPIEXEC_*",     "NODE_*",         "NUMBA_CACHE*",
    "NUMBA_CUDA_*",  "NUMBA_GDB*",     "OCTAVE*",
    "OGR_DRIVER*",   "OMPI_*",         "OMP_TOOL*",
    "OPAL_*",        "OPENSSL_*",      "PAGER",
    "PATH",          "PERL*",          "PETSC_*",
    "PHP*",          "PLUMED_KERNEL",  "PLUMED_ROOT",
    "PMIX_*",        "PRTE_*",         "PS4",
    "PYTENSOR*",     "PYTHON*",        "RUBY*",
    "R_*",           "SHELL*",         "SHOAL_*",
    "SPICE_EDITOR",  "SPICE_EXEC*",    "SPICE_LIB*",
    "SPICE_PATH",    "SPICE_SCRIPTS",  "TAR_OPTIONS",
    "TCL*",          "THEANO*",        "TK_*",
    "UCX_MODULE*",   "VISUAL",         "WGETRC",
    "XDG_*",         "ZDOTDIR",        "_JAVA_OPTIONS",
};

/* Those of them that hold folders in which code is found. */
static const char *const searched[] = {"*LIB", "*PATH", "JULIA_PROJECT", "R_LIBS*"};

static bool ends_with(const char *text, const char *end) {
    size_t len = strlen(text), of_end = strlen(end);
    return len >= of_end && strcmp(text + len - of_end, end) == 0;
}

/* ---- patterns */

/* The length of the folder of "FOLDER/ *" and "FOLDER/ **", 0 of "/ *"; -1: it is a
 * file's. */
static int folder_of(const char *pattern) {
    if (ends_with(pattern, "/**"))
        return (int)strlen(pattern) - 3;
    return ends_with(pattern, "/*") ? (int)strlen(pattern) - 2 : -1;
}

bool shoal_allow_matches(const char *pattern, const char *path) {
    int len = folder_of(pattern);
    if (len < 0)
        return strcmp(pattern, path) == 0;
    if (strncmp(pattern, path, (size_t)len) != 0 || path[len] != '/' ||
        path[len + 1] == '\0')
        return false;
    return ends_with(pattern, "/**") || strchr(path + len + 1, '/') == NULL;
}

/* Whether it is absolute and plain: no "..", no "//", stars only as its last part. */
static bool is_pattern(const char *text) {
    int folder = folder_of(text);
    const char *end = text + (folder < 0 ? (int)strlen(text) : folder);
    if (*text != '/' || (folder < 0 && end - text < 2))
        return false;
    for (const char *at = text; at < end;) {
        const char *part = at + 1;
        size_t len = strcspn(part, "/");
        if (len == 0 || memchr(part, '*', len) != NULL || (len == 1 && *part == '.') ||
            (len == 2 && strncmp(part, "..", 2) == 0))
            return false;
        at = part + len;
    }
    return true;
}

/* ---- who may write */

bool shoal_allow_is_open_to(mode_t writers, char *path) {
    struct stat status;
    for (char *end = path;; end += strcspn(end, "/")) {
        char kept = *end;
        *end = '\0';
        bool last = kept == '\0';
        if (stat(end == path ? "/" : path, &status) == 0 &&
            (status.st_mode & writers) != 0 && (last || !(status.st_mode & S_ISVTX)))
            return true;
        if (last)
            return false;
        *end++ = kept;
    }
}

bool shoal_allow_is_for_all(const char *folder) {
    static const char *const made_so[] = {"", "/tmp", "/var/tmp", "/dev/shm"};
    struct stat status;
    for (size_t i = 0; i < SHOAL_COUNT(made_so); i++) {
        if (strcmp(folder, made_so[i]) == 0)
            return true;
    }
    return stat(folder, &status) != 0 || (status.st_mode & S_ISVTX) != 0 ||
           status.st_uid != geteuid();
}

/* The same of the folder that a pattern is about. */
static bool pattern_is_open_to(mode_t writers, const char *pattern, char *path) {
    int len = folder_of(pattern);
    if (len < 0)
        len = (int)(strrchr(pattern, '/') - pattern);
    snprintf(path, PATH_MAX, "%.*s", len, pattern);
    return shoal_allow_is_open_to(writers, path);
}

/* Warns of a pattern by which nothing runs as things are. */
static void tell_of_nothing(const char *pattern) {
    struct stat status;
    char path[PATH_MAX];
    int folder = folder_of(pattern);
    snprintf(path, sizeof(path), "%.*s", folder < 0 ? PATH_MAX - 1 : folder, pattern);
    if (stat(*path == '\0' ? "/" : path, &status) != 0)
        shoal_warn("nothing is there now that this would allow: allow=%s", pattern);
    else if (folder < 0 && S_ISDIR(status.st_mode))
        shoal_warn("this is a folder, of which nothing may run: allow=%s write=%s/*",
                   pattern, pattern);
    else if (folder >= 0 && !S_ISDIR(status.st_mode))
        shoal_warn("this is no folder, so nothing may run by it: allow=%s write=%s",
                   pattern, path);
}

/* ---- the list */

/* What it names, where links lead. What is not here yet stays as it is written. */
static char *resolve(const char *text) {
    char named[PATH_MAX], real[PATH_MAX], pattern[PATH_MAX + 4];
    int folder = folder_of(text);
    if (folder == 0)
        return strdup(text);
    snprintf(named, sizeof(named), "%.*s", folder < 0 ? PATH_MAX - 1 : folder, text);
    if (realpath(named, real) == NULL)
        return strdup(text);
    snprintf(pattern, sizeof(pattern), "%s%s", strcmp(real, "/") == 0 ? "" : real,
             folder < 0 ? "" : text + folder);
    return strdup(pattern);
}

static enum shoal_status add_pattern(struct shoal_allow *allow, const char *text,
                                     struct shoal_error *err) {
    char folder[PATH_MAX];
    if (strlen(text) >= PATH_MAX || !is_pattern(text))
        return shoal_error_set(err, SHOAL_INVALID,
                               "--allow '%.200s': write an absolute path without '..', a "
                               "folder with /* behind it for what is in it, or with /** "
                               "for all below it",
                               text);
    char **patterns = realloc(allow->patterns, (allow->n + 1) * sizeof(*patterns));
    if (patterns != NULL)
        allow->patterns = patterns;
    char *pattern = patterns == NULL ? NULL : resolve(text);
    if (pattern == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for --allow");
    allow->patterns[allow->n++] = pattern;
    if (pattern_is_open_to(S_IWOTH, pattern, folder))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "--allow '%.200s': everybody can write to '%.200s', so it "
            "would allow anything; %slist a folder in which only its "
            "owner can",
            text, *folder == '\0' ? "/" : folder,
            shoal_allow_is_for_all(folder) ? "" : "run chmod o-w on it, or ");
    return SHOAL_OK;
}

/* Patterns joined by ':'. */
static enum shoal_status add_patterns(struct shoal_allow *allow, const char *text,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *copy = strdup(text);
    enum shoal_status status = SHOAL_OK;
    if (copy == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for --allow");
    for (char *rest = copy; rest != NULL && status == SHOAL_OK;)
        status = add_pattern(allow, strsep(&rest, ":"), err);
    return status;
}

static void find_host(char *host) {
    char own[PATH_MAX], path[PATH_MAX + 16];
    ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[len < 0 ? 0 : len] = '\0';
    char *slash = strrchr(own, '/');
    snprintf(path, sizeof(path), "%.*s/shoal-host",
             slash == NULL ? 0 : (int)(slash - own), own);
    if (realpath(path, host) == NULL)
        *host = '\0';
}

enum shoal_status shoal_allow_init(struct shoal_allow *ret_allow,
                                   const struct shoal_option_list *texts,
                                   struct shoal_error *err) {
    struct shoal_allow *allow = ret_allow;
    enum shoal_status status = SHOAL_OK;
    *allow = (struct shoal_allow){.n = 0};
    find_host(allow->host);
    for (size_t i = 0; i < texts->n && status == SHOAL_OK; i++)
        status = add_patterns(allow, texts->items[i], err);
    if (status != SHOAL_OK)
        shoal_allow_finish(allow);
    return status;
}

void shoal_allow_finish(struct shoal_allow *allow) {
    for (size_t i = 0; i < allow->n; i++)
        free(allow->patterns[i]);
    free(allow->patterns);
    allow->patterns = NULL;
    allow->n = 0;
}

void shoal_allow_tell(const struct shoal_allow *allow) {
    char folder[PATH_MAX];
    shoal_info("tasks are what --allow lists: patterns=%zu", allow->n);
    for (size_t i = 0; i < allow->n; i++) {
        tell_of_nothing(allow->patterns[i]);
        if (pattern_is_open_to(S_IWGRP, allow->patterns[i], folder))
            shoal_warn("a group decides with you what tasks may run, as it can write "
                       "there: folder=%s allow=%s",
                       *folder == '\0' ? "/" : folder, allow->patterns[i]);
    }
}

/* ---- files */

const char *shoal_allow_name(const struct shoal_allow *allow) {
    return *allow->by == '\0' ? "--allow" : allow->by;
}

static bool is_listed(const struct shoal_allow *allow, const char *path) {
    for (size_t i = 0; i < allow->n; i++) {
        if (shoal_allow_matches(allow->patterns[i], path))
            return true;
    }
    return false;
}

/* Whether everybody may change the file, or a folder of its path, which stands in `path`
 * then. */
static bool is_everybodys(const char *file, char *path) {
    struct stat status;
    snprintf(path, PATH_MAX, "%s", file);
    if (stat(file, &status) == 0 && (status.st_mode & S_IWOTH) != 0)
        return true;
    *strrchr(path, '/') = '\0';
    return shoal_allow_is_open_to(S_IWOTH, path);
}

enum shoal_status shoal_allow_file(const struct shoal_allow *allow, const char *to,
                                   const char *name, const char *path, char *real,
                                   struct shoal_error *err) {
    char open[PATH_MAX];
    if (realpath(path, real) == NULL)
        return shoal_error_set(err, SHOAL_REFUSED, "cannot %s '%s': %s", to, name,
                               errno == ENOENT ? "it is not there" : strerror(errno));
    for (const struct shoal_allow *list = allow; list != NULL; list = list->also) {
        if (!is_listed(list, real))
            return shoal_error_set(err, SHOAL_REFUSED,
                                   "this worker does not %s '%s': its real path '%s' is "
                                   "not among what %s names",
                                   to, name, real, shoal_allow_name(list));
    }
    if (is_everybodys(real, open))
        return shoal_error_set(err, SHOAL_REFUSED,
                               "this worker does not %s '%s', which is '%s': everybody "
                               "can write to '%s', so %s does not cover it",
                               to, name, real, *open == '\0' ? "/" : open,
                               shoal_allow_name(allow));
    return SHOAL_OK;
}

/* ---- variables */

static bool steers(const char *name) {
    return shoal_environment_fits(name, steering, SHOAL_COUNT(steering));
}

enum shoal_status shoal_allow_environment(const struct shoal_allow *allow,
                                          char *const *words, struct shoal_error *err) {
    for (; words != NULL && *words != NULL; words++) {
        char name[128];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*words, "="), *words);
        if (steers(name))
            return shoal_error_set(err, SHOAL_REFUSED,
                                   "this worker was given a list of what may run, with "
                                   "%s, and takes no job that sets %s by --env: it can "
                                   "make an allowed program run another",
                                   shoal_allow_name(allow), name);
    }
    return SHOAL_OK;
}

/* Whether a folder of a search path is the same in any directory. What Julia has by
 * itself is empty or begins with '@', of which "@." is where a program runs. */
static bool is_fixed(const char *name, const char *folder, size_t len) {
    if (strncmp(name, "JULIA_", 6) == 0 &&
        (len == 0 || (folder[0] == '@' && folder[1] != '.')))
        return true;
    return len > 0 && *folder == '/';
}

/* The folders of it that are fixed, into as much room. Returns how many there are. */
static size_t keep_fixed(const char *name, const char *folders, char *kept) {
    size_t n = 0;
    for (const char *at = folders;; at++) {
        size_t len = strcspn(at, ":;"); /* of LD_LIBRARY_PATH both */
        if (is_fixed(name, at, len)) {
            if (n++ > 0)
                *kept++ = at[-1];
            kept = mempcpy(kept, at, len);
        }
        at += len;
        if (*at == '\0')
            break;
    }
    *kept = '\0';
    return n;
}

static enum shoal_status fix_path(const char *name, const char *folders,
                                  struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *kept = strdup(folders);
    if (kept == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for variables");
    size_t n = keep_fixed(name, folders, kept);
    if (n > 0 && strcmp(kept, folders) == 0)
        return SHOAL_OK;
    shoal_warn("tasks get a search path without its empty and relative folders, since "
               "jobs name the directory where those are: variable=%s value=%s",
               name, kept);
    if ((n == 0 ? unsetenv(name) : setenv(name, kept, 1)) != 0)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for variables");
    return SHOAL_OK;
}

enum shoal_status shoal_allow_fix_paths(const struct shoal_option_list *more,
                                        struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char **passed = shoal_environment_passed(more);
    enum shoal_status status = SHOAL_OK;
    if (passed == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for variables");
    for (char **word = passed; *word != NULL && status == SHOAL_OK; word++) {
        char name[128];
        size_t len = strcspn(*word, "=");
        snprintf(name, sizeof(name), "%.*s", (int)len, *word);
        if (steers(name) && shoal_environment_fits(name, searched, SHOAL_COUNT(searched)))
            status = fix_path(name, *word + len + 1, err);
    }
    return status;
}
