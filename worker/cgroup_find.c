/* What trees of groups this host has, and where in them this process is. */
#include "common/cleanup.h"
#include "worker/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

/* Daemons that had to leave a group of version 2 so that it can bound its children are in
 * this one below it. */
#define KEEPER_GROUP "/shoal-keeper"

static const struct {
    const char *name;
    unsigned bit;
} controllers[] = {
    {"memory", SHOAL_CGROUP_MEMORY},
    {"pids", SHOAL_CGROUP_PIDS},
    {"cpu", SHOAL_CGROUP_CPU},
    {"freezer", SHOAL_CGROUP_FREEZER},
};

/* Those that a list names which is divided by commas; the list is cut up. */
static unsigned read_controllers(char *list) {
    unsigned bits = 0;
    for (char *word; (word = strsep(&list, ",")) != NULL;) {
        for (size_t i = 0; i < SHOAL_COUNT(controllers); i++) {
            if (strcmp(word, controllers[i].name) == 0)
                bits |= controllers[i].bit;
        }
    }
    return bits;
}

/* ---- mounts */

/* Writes where a group lies that `path` names, of a file system whose part `root` is
 * mounted at `place`. False: it is not in that part. */
static bool locate(const char *place, const char *root, const char *path, char *ret_path,
                   size_t room) {
    size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(path, root, len) != 0 || (path[len] != '/' && path[len] != '\0') ||
        strncmp(path, "/..", 3) == 0)
        return false;
    const char *rest = strcmp(path + len, "/") == 0 ? "" : path + len;
    int written = snprintf(ret_path, room, "%s%s", place, rest);
    if (written < 0 || (size_t)written >= room)
        return false;
    size_t tail = strlen(KEEPER_GROUP), whole = strlen(ret_path);
    if (whole > tail && strcmp(ret_path + whole - tail, KEEPER_GROUP) == 0)
        ret_path[whole - tail] = '\0';
    return true;
}

/* This process's group in the tree that has one of the controllers (0: in that of
 * version 2). */
static bool find_own(FILE *own, unsigned bits, char *path, size_t room) {
    char line[LINE_MAX_BYTES];
    rewind(own);
    while (fgets(line, sizeof(line), own) != NULL) {
        char *rest = line;
        const char *number = strsep(&rest, ":");
        char *list = strsep(&rest, ":");
        if (list == NULL || rest == NULL)
            continue;
        bool unified = strcmp(number, "0") == 0 && *list == '\0';
        rest[strcspn(rest, "\n")] = '\0';
        if ((bits == 0 ? unified : (read_controllers(list) & bits) != 0) &&
            strlen(rest) < room) {
            strcpy(path, rest);
            return true;
        }
    }
    return false;
}

static bool has(const struct shoal_cgroups *cgroups, bool unified, unsigned bits) {
    for (size_t i = 0; i < cgroups->n; i++) {
        const struct shoal_cgroup_tree *tree = &cgroups->trees[i];
        if (unified ? tree->unified : (tree->controllers & bits) != 0)
            return true;
    }
    return false;
}

/* A line is: number, parent, device, root, place, options, any number of words, "-",
 * type, source, options. */
static void read_mount(char *line, FILE *own, struct shoal_cgroups *cgroups) {
    char *rest = strstr(line, " - "), *words[6], path[SHOAL_CGROUP_PATH], type[16];
    char list[512];
    if (rest == NULL || cgroups->n == SHOAL_CGROUP_TREES ||
        sscanf(rest, " - %15s %*s %511s", type, list) != 2)
        return;
    for (size_t i = 0; i < SHOAL_COUNT(words); i++) {
        words[i] = strsep(&line, " ");
        if (words[i] == NULL)
            return;
    }
    bool unified = strcmp(type, "cgroup2") == 0;
    unsigned bits = unified ? 0 : read_controllers(list);
    if ((!unified && (strcmp(type, "cgroup") != 0 || bits == 0)) ||
        has(cgroups, unified, bits) || strchr(words[4], '\\') != NULL)
        return;
    struct shoal_cgroup_tree *tree = &cgroups->trees[cgroups->n];
    *tree =
        (struct shoal_cgroup_tree){.unified = unified, .controllers = bits, .lock = -1};
    if (find_own(own, bits, path, sizeof(path)) &&
        locate(words[4], words[3], path, tree->path, sizeof(tree->path)))
        cgroups->n++;
}

/* How well it holds all that a task starts. */
static int rank(const struct shoal_cgroup_tree *tree) {
    return tree->unified                                     ? 0
           : (tree->controllers & SHOAL_CGROUP_FREEZER) != 0 ? 1
           : (tree->controllers & SHOAL_CGROUP_PIDS) != 0    ? 2
                                                             : 3;
}

static int by_rank(const void *a, const void *b) {
    return rank(a) - rank(b);
}

void shoal_cgroups_read(FILE *mounts, FILE *own, struct shoal_cgroups *ret_cgroups) {
    char line[LINE_MAX_BYTES];
    *ret_cgroups = (struct shoal_cgroups){.n = 0};
    while (fgets(line, sizeof(line), mounts) != NULL)
        read_mount(line, own, ret_cgroups);
    qsort(ret_cgroups->trees, ret_cgroups->n, sizeof(*ret_cgroups->trees), by_rank);
}

/* ---- what the option says */

static enum shoal_status find_given(const char *path, struct shoal_cgroups *ret_cgroups,
                                    struct shoal_error *err) {
    struct statfs status;
    struct shoal_cgroup_tree *tree = &ret_cgroups->trees[0];
    *tree = (struct shoal_cgroup_tree){.unified = true, .lock = -1};
    if (path[0] != '/' || strlen(path) >= sizeof(tree->path))
        return shoal_error_set(err, SHOAL_INVALID,
                               "--cgroup is auto, off or the path of a group such as "
                               "/sys/fs/cgroup/shoal, not '%.100s'",
                               path);
    if (statfs(path, &status) != 0 || status.f_type != CGROUP2_SUPER_MAGIC ||
        access(path, W_OK) != 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.200s' is no control group of version 2 in which this "
                               "user may make others; see --cgroup in shoal-worker(1)",
                               path);
    strcpy(tree->path, path);
    ret_cgroups->n = 1;
    return SHOAL_OK;
}

enum shoal_status shoal_cgroups_find(const char *word, struct shoal_cgroups *ret_cgroups,
                                     struct shoal_error *err) {
    *ret_cgroups = (struct shoal_cgroups){.n = 0};
    if (strcmp(word, "off") == 0)
        return SHOAL_OK;
    if (strcmp(word, "auto") != 0)
        return find_given(word, ret_cgroups, err);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *mounts = fopen("/proc/self/mountinfo", "re");
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *own = fopen("/proc/self/cgroup", "re");
    if (mounts != NULL && own != NULL)
        shoal_cgroups_read(mounts, own, ret_cgroups);
    return SHOAL_OK;
}
