#include "worker/cgroup.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    KILL_MS = 200,     /* until a group is empty … */
    SESSION_MS = 2000, /* … and all of a session's */
    LOCK_TRIES = 100,
    DEPTH_MAX = 16,
    PERIOD_US = 100000, /* of the time that a limit of cores divides */
};

/* ---- files of a group */

static int open_group(const char *path) {
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool put(int group, const char *name, const char *text) {
    int fd = openat(group, name, O_WRONLY | O_CLOEXEC);
    ssize_t len = (ssize_t)strlen(text);
    bool good = fd >= 0 && write(fd, text, (size_t)len) == len;
    if (fd >= 0)
        close(fd);
    return good;
}

/* The beginning of a file as text; "" when it cannot be read. */
static bool get(int group, const char *name, char *text, size_t room) {
    int fd = openat(group, name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, room - 1);
    text[len < 0 ? 0 : len] = '\0';
    if (fd >= 0)
        close(fd);
    return len >= 0;
}

/* The number behind a word at the beginning of a line; -1: it is not there. */
static int64_t number_behind(const char *text, const char *word) {
    size_t len = strlen(word);
    while (text != NULL && *text != '\0') {
        if (strncmp(text, word, len) == 0 && text[len] == ' ')
            return strtoll(text + len, NULL, 10);
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    return -1;
}

static int64_t number_in(int group, const char *name) {
    char text[64];
    return get(group, name, text, sizeof(text)) ? strtoll(text, NULL, 10) : -1;
}

/* ---- ending what is in a group */

/* Whether somebody has removed it, as each worker that begins does with those of the
 * dead. */
static bool is_gone(int group) {
    return faccessat(group, "cgroup.procs", F_OK, 0) != 0 &&
           (errno == ENOENT || errno == ENODEV);
}

static bool is_empty(int group) {
    char text[256];
    if (get(group, "cgroup.events", text, sizeof(text)))
        return number_behind(text, "populated") == 0;
    if (get(group, "cgroup.procs", text, sizeof(text)))
        return *text == '\0';
    return is_gone(group);
}

static void kill_each(int group) {
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *list = NULL;
    int fd = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC), pid = 0;
    list = fd < 0 ? NULL : fdopen(fd, "r");
    while (list != NULL && fscanf(list, "%d", &pid) == 1) {
        if (pid > 1 && pid != getpid())
            kill(pid, SIGKILL);
    }
}

/* Nothing in it runs on, or at least starts anything, while it is gone through. */
static void kill_held(int group) {
    bool frozen =
        put(group, "cgroup.freeze", "1") || put(group, "freezer.state", "FROZEN");
    if (!frozen)
        put(group, "pids.max", "0");
    kill_each(group);
    if (frozen && !put(group, "cgroup.freeze", "0"))
        put(group, "freezer.state", "THAWED");
}

static bool end_processes(int group, int64_t timeout_ms) {
    int64_t end = shoal_now_ms() + timeout_ms;
    while (!is_empty(group)) {
        if (!put(group, "cgroup.kill", "1"))
            kill_held(group);
        if (is_empty(group))
            return true;
        if (shoal_now_ms() >= end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

/* ---- sessions */

static bool session_path(const struct shoal_cgroup_tree *tree, const char *session,
                         char *path, size_t room) {
    int len = snprintf(path, room, "%s/shoal-%s", tree->path, session);
    return len > 0 && (size_t)len < room;
}

static bool is_same(int fd, const char *path) {
    struct stat here, there;
    return fstat(fd, &here) == 0 && stat(path, &there) == 0 &&
           here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

/* Makes a directory and locks it; who clears up may take it away in between. */
static int make_locked(const char *path) {
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return -1;
        int fd = open_group(path);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && is_same(fd, path))
            return fd;
        if (fd >= 0)
            close(fd);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return -1;
}

static const struct {
    const char *enable;
    const char *name;
    unsigned bit;
} bounded[] = {
    {"+memory", "memory", SHOAL_CGROUP_MEMORY},
    {"+pids", "pids", SHOAL_CGROUP_PIDS},
    {"+cpu", "cpu", SHOAL_CGROUP_CPU},
};

static void move_process(int group, pid_t pid) {
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)pid);
    put(group, "cgroup.procs", text);
}

/* Whether nobody but this process and its keeper is in a group. */
static bool is_ours_alone(int group) {
    char text[256], *at = text, *end = NULL;
    if (!get(group, "cgroup.procs", text, sizeof(text)) ||
        strlen(text) == sizeof(text) - 1)
        return false;
    for (long pid; *at != '\0'; at = end + strspn(end, "\n")) {
        pid = strtol(at, &end, 10);
        if (end == at || (pid != getpid() && pid != getppid()))
            return false;
    }
    return true;
}

/* A group of version 2 whose children are to be bounded may have no processes itself. */
static void leave(int base) {
    if (!is_ours_alone(base))
        return;
    if (mkdirat(base, "shoal-keeper", 0755) != 0 && errno != EEXIST)
        return;
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int group = openat(base, "shoal-keeper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group < 0)
        return;
    move_process(group, getppid());
    move_process(group, getpid());
}

static unsigned enable(int group) {
    unsigned bits = 0;
    for (size_t i = 0; i < SHOAL_COUNT(bounded); i++) {
        if (put(group, "cgroup.subtree_control", bounded[i].enable))
            bits |= bounded[i].bit;
    }
    return bits;
}

static bool offers(int group) {
    char text[512], *rest = text;
    if (!get(group, "cgroup.controllers", text, sizeof(text)))
        return false;
    for (const char *word; (word = strsep(&rest, " \n")) != NULL;) {
        for (size_t i = 0; i < SHOAL_COUNT(bounded); i++) {
            if (strcmp(word, bounded[i].name) == 0)
                return true;
        }
    }
    return false;
}

/* Lets the groups below bound what is in them, as far as that is possible. */
static void enable_controllers(struct shoal_cgroup_tree *tree) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int base = open_group(tree->path);
    if (base < 0 || !offers(base))
        return;
    if (enable(base) == 0) {
        leave(base);
        enable(base);
    }
    tree->controllers = enable(tree->lock);
}

static bool begin(struct shoal_cgroup_tree *tree, const char *session) {
    char path[SHOAL_CGROUP_PATH + 32];
    if (!session_path(tree, session, path, sizeof(path)))
        return false;
    if (tree->lock >= 0)
        return true; /* it goes on */
    tree->lock = make_locked(path);
    if (tree->lock >= 0 && tree->unified)
        enable_controllers(tree);
    return tree->lock >= 0;
}

void shoal_cgroups_begin(struct shoal_cgroups *cgroups, const char *session) {
    size_t kept = 0;
    for (size_t i = 0; i < cgroups->n; i++) {
        if (begin(&cgroups->trees[i], session))
            cgroups->trees[kept++] = cgroups->trees[i];
    }
    cgroups->n = kept;
}

/* Ends what is in a group and in those below it (tasks may have made some), and removes
 * them. Whether all are gone. */
static bool end_all(const char *path, int depth) {
    char below[SHOAL_CGROUP_PATH + 300];
    SHOAL_CLEANUP(shoal_cleanup_fd) int group = open_group(path);
    DIR *folder = group < 0 ? NULL : opendir(path);
    const struct dirent *entry;
    while (folder != NULL && depth < DEPTH_MAX && (entry = readdir(folder)) != NULL) {
        int len = snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && len > 0 &&
            (size_t)len < sizeof(below))
            end_all(below, depth + 1);
    }
    if (folder != NULL)
        closedir(folder);
    return group < 0 ||
           (end_processes(group, SESSION_MS) && (rmdir(path) == 0 || errno == ENOENT));
}

bool shoal_cgroups_end(struct shoal_cgroups *cgroups, const char *session) {
    char path[SHOAL_CGROUP_PATH + 32];
    bool all = true;
    for (size_t i = 0; i < cgroups->n; i++) {
        struct shoal_cgroup_tree *tree = &cgroups->trees[i];
        if (!session_path(tree, session, path, sizeof(path)))
            continue;
        all = end_all(path, 0) && all;
        if (tree->lock >= 0)
            close(tree->lock);
        tree->lock = -1;
    }
    return all;
}

static size_t end_dead_of(const struct shoal_cgroup_tree *tree) {
    char path[SHOAL_CGROUP_PATH + 32];
    size_t n = 0;
    DIR *folder = opendir(tree->path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (strncmp(entry->d_name, "shoal-", 6) != 0 ||
            !shoal_id_is_valid(entry->d_name + 6) ||
            !session_path(tree, entry->d_name + 6, path, sizeof(path)))
            continue;
        SHOAL_CLEANUP(shoal_cleanup_fd) int group = open_group(path);
        if (group >= 0 && flock(group, LOCK_EX | LOCK_NB) == 0) {
            end_all(path, 0);
            n++;
        }
    }
    if (folder != NULL)
        closedir(folder);
    return n;
}

size_t shoal_cgroups_end_dead(const struct shoal_cgroups *cgroups) {
    size_t most = 0;
    for (size_t i = 0; i < cgroups->n; i++) {
        size_t n = end_dead_of(&cgroups->trees[i]);
        most = n > most ? n : most;
    }
    return most;
}

unsigned shoal_cgroups_hold(const struct shoal_cgroups *cgroups) {
    unsigned bits = 0;
    for (size_t i = 0; i < cgroups->n; i++)
        bits |= cgroups->trees[i].controllers;
    return bits;
}

/* ---- limits */

/* A number, or the word for none. */
static const char *in_words(int64_t value, const char *none, char text[24]) {
    snprintf(text, 24, "%" PRId64, value);
    return value == 0 ? none : text;
}

/* A group of version 1 bounds memory alone and with swap, of which the second may not be
 * below the first: whichever way it goes, one of the two attempts finds them in order. */
static bool bound_memory(int group, bool unified, int64_t bytes) {
    char text[24];
    if (unified) {
        put(group, "memory.swap.max", bytes == 0 ? "max" : "0");
        put(group, "memory.oom.group", "1");
        return put(group, "memory.max", in_words(bytes, "max", text));
    }
    const char *value = in_words(bytes, "-1", text);
    put(group, "memory.force_empty", "0");
    put(group, "memory.limit_in_bytes", value);
    put(group, "memory.memsw.limit_in_bytes", value);
    return put(group, "memory.limit_in_bytes", value);
}

static bool bound_pids(int group, bool unified, int64_t most) {
    char text[24];
    (void)unified;
    return put(group, "pids.max", in_words(most, "max", text));
}

static bool bound_cpu(int group, bool unified, int64_t millicpus) {
    char text[24], both[48];
    int64_t quota = millicpus * PERIOD_US / 1000;
    snprintf(both, sizeof(both), "%s %d", in_words(quota, "max", text), PERIOD_US);
    if (unified)
        return put(group, "cpu.max", both);
    put(group, "cpu.cfs_period_us", "100000");
    return put(group, "cpu.cfs_quota_us", in_words(quota, "-1", text));
}

/* The limits that a group can hold. */
static const struct {
    unsigned bit;
    size_t offset; /* in struct shoal_limits */
    bool (*bound)(int group, bool unified, int64_t value);
} bounds[] = {
    {SHOAL_CGROUP_MEMORY, offsetof(struct shoal_limits, memory), bound_memory},
    {SHOAL_CGROUP_PIDS, offsetof(struct shoal_limits, processes), bound_pids},
    {SHOAL_CGROUP_CPU, offsetof(struct shoal_limits, millicpus), bound_cpu},
};

/* ---- the group of a runner */

struct shoal_cgroup {
    size_t n;
    struct {
        char path[SHOAL_CGROUP_PATH + 64];
        unsigned controllers;
        bool unified;
        bool joined; /* by the next child */
        int dir;     /* -1: not made yet */
    } trees[SHOAL_CGROUP_TREES];
    struct shoal_limits limits; /* as they are set; after a re-exec not known */
    bool known;
    bool struck;       /* by cgroup.kill */
    int64_t oom_kills; /* before */
    int peak;          /* memory.peak of version 2, which counts anew for who resets it;
                          -1: this kernel has none or cannot */
};

static bool make(struct shoal_cgroup *group, size_t i) {
    if (group->trees[i].dir >= 0)
        return true;
    if (mkdir(group->trees[i].path, 0755) != 0) {
        if (errno != EEXIST)
            return false;
        group->struck = group->struck || i == 0; /* nobody knows */
    }
    group->trees[i].dir = open_group(group->trees[i].path);
    return group->trees[i].dir >= 0;
}

struct shoal_limits shoal_cgroups_leave(const struct shoal_cgroups *cgroups,
                                        const struct shoal_limits *limits) {
    struct shoal_limits left = {.memory = 0};
    unsigned bits = shoal_cgroups_hold(cgroups);
    for (size_t i = 0; i < SHOAL_COUNT(bounds); i++) {
        size_t offset = bounds[i].offset;
        if ((bits & bounds[i].bit) == 0)
            *(int64_t *)((char *)&left + offset) =
                *(const int64_t *)((const char *)limits + offset);
    }
    return left;
}

static struct shoal_cgroup *create(const struct shoal_cgroups *cgroups,
                                   const char *session, const char *name) {
    struct shoal_cgroup *group = calloc(1, sizeof(*group));
    if (group != NULL)
        group->peak = -1;
    for (size_t i = 0; group != NULL && i < cgroups->n; i++) {
        const struct shoal_cgroup_tree *tree = &cgroups->trees[i];
        snprintf(group->trees[i].path, sizeof(group->trees[i].path), "%s/shoal-%s/%s",
                 tree->path, session, name);
        group->trees[i].controllers = tree->controllers;
        group->trees[i].unified = tree->unified;
        group->trees[i].dir = -1;
        group->n++;
    }
    return group;
}

/* In which of its trees the controller is; group->n: in none. */
static size_t find_tree(const struct shoal_cgroup *group, unsigned bit) {
    size_t i = 0;
    while (i < group->n && (group->trees[i].controllers & bit) == 0)
        i++;
    return i;
}

static void set_limit(struct shoal_cgroup *group, size_t bound,
                      const struct shoal_limits *limits, struct shoal_limits *rest) {
    size_t offset = bounds[bound].offset, i = find_tree(group, bounds[bound].bit);
    int64_t value = *(const int64_t *)((const char *)limits + offset);
    int64_t *set = (int64_t *)((char *)&group->limits + offset);
    if (i == group->n || (value == 0 && group->trees[i].dir < 0))
        return;
    bool same = group->known && value == *set;
    if (!same &&
        (!make(group, i) ||
         !bounds[bound].bound(group->trees[i].dir, group->trees[i].unified, value)))
        return;
    *set = value;
    group->trees[i].joined = group->trees[i].joined || value != 0;
    *(int64_t *)((char *)rest + offset) = 0;
}

static int memory_of(const struct shoal_cgroup *group) {
    size_t i = find_tree(group, SHOAL_CGROUP_MEMORY);
    return i == group->n || !group->trees[i].joined ? -1 : group->trees[i].dir;
}

/* Where the kernel does not count kills, that the limit was met stands for one. */
static int64_t read_oom_kills(int memory) {
    char text[512];
    int64_t n = -1;
    if (get(memory, "memory.events", text, sizeof(text)) ||
        get(memory, "memory.oom_control", text, sizeof(text)))
        n = number_behind(text, "oom_kill");
    return n >= 0 ? n : number_in(memory, "memory.failcnt");
}

static void begin_to_count(struct shoal_cgroup *group) {
    int memory = memory_of(group);
    if (memory < 0)
        return;
    group->oom_kills = read_oom_kills(memory);
    put(memory, "memory.max_usage_in_bytes", "0");
    if (group->peak < 0)
        group->peak = openat(memory, "memory.peak", O_RDWR | O_CLOEXEC);
    if (group->peak >= 0 && write(group->peak, "reset", 5) != 5) {
        close(group->peak);
        group->peak = -1;
    }
}

static int64_t read_peak(const struct shoal_cgroup *group, int memory) {
    char text[32] = "";
    int64_t peak = 0;
    if (group->peak < 0)
        peak = number_in(memory, "memory.max_usage_in_bytes");
    else if (pread(group->peak, text, sizeof(text) - 1, 0) > 0)
        peak = strtoll(text, NULL, 10);
    return peak < 0 ? 0 : peak;
}

/* Linux 6.18 kills who is born into a group in which cgroup.kill was ever used, as if it
 * had been forked in the midst of that. So the group is made anew. */
static bool make_anew(struct shoal_cgroup *group) {
    if (!group->struck)
        return true;
    if (rmdir(group->trees[0].path) != 0 && errno != ENOENT)
        return false;
    close(group->trees[0].dir);
    group->trees[0].dir = -1;
    if (group->peak >= 0)
        close(group->peak);
    group->peak = -1;
    bool made = make(group, 0);
    group->struck = false;
    return made;
}

enum shoal_status shoal_cgroup_prepare(struct shoal_cgroup **group,
                                       const struct shoal_cgroups *cgroups,
                                       const char *session, const char *name,
                                       const struct shoal_limits *limits,
                                       struct shoal_limits *ret_rest,
                                       struct shoal_error *err) {
    *ret_rest = *limits;
    if (cgroups == NULL || cgroups->n == 0)
        return SHOAL_OK;
    if (*group == NULL)
        *group = create(cgroups, session, name);
    if (*group == NULL || !make(*group, 0))
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a control group: %s",
                               strerror(errno));
    if (!shoal_cgroup_kill(*group))
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "processes of the task before cannot be ended yet");
    if (!make_anew(*group))
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot make a control group anew: %s",
                               strerror(errno));
    for (size_t i = 0; i < (*group)->n; i++)
        (*group)->trees[i].joined = i == 0;
    for (size_t i = 0; i < SHOAL_COUNT(bounds); i++)
        set_limit(*group, i, limits, ret_rest);
    (*group)->known = true;
    begin_to_count(*group);
    return SHOAL_OK;
}

bool shoal_cgroup_kill(struct shoal_cgroup *group) {
    if (group == NULL || group->trees[0].dir < 0 || is_empty(group->trees[0].dir))
        return true;
    group->known = false; /* where nothing can be frozen, the number of processes is 0 */
    group->struck = group->trees[0].unified;
    return end_processes(group->trees[0].dir, KILL_MS);
}

int64_t shoal_cgroup_count(const struct shoal_cgroup *group) {
    char text[4096];
    int64_t n = 0;
    ssize_t len;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    if (group == NULL || group->trees[0].dir < 0)
        return -1;
    fd = openat(group->trees[0].dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while ((len = read(fd, text, sizeof(text))) > 0) {
        for (ssize_t i = 0; i < len; i++)
            n += text[i] == '\n';
    }
    return len < 0 ? -1 : n;
}

void shoal_cgroups_carry(struct shoal_cgroups *cgroups, struct shoal_handover *handover) {
    SHOAL_CARRY(handover, cgroups->n, 0, SHOAL_CGROUP_TREES);
    for (size_t i = 0; i < cgroups->n && !handover->failed; i++) {
        struct shoal_cgroup_tree *tree = &cgroups->trees[i];
        shoal_carry_flag(handover, &tree->unified);
        SHOAL_CARRY(handover, tree->controllers, 0, 15);
        shoal_carry_text(handover, tree->path, sizeof(tree->path));
        shoal_carry_fd(handover, &tree->lock);
    }
}

void shoal_cgroup_carry(struct shoal_cgroup **group, const struct shoal_cgroups *cgroups,
                        const char *session, const char *name,
                        struct shoal_handover *handover) {
    bool there = *group != NULL;
    shoal_carry_flag(handover, &there);
    if (!there || handover->failed)
        return;
    if (*group == NULL && cgroups != NULL && cgroups->n > 0)
        *group = create(cgroups, session, name);
    if (*group == NULL) {
        handover->failed = true;
        return;
    }
    SHOAL_CARRY(handover, (*group)->oom_kills, INT64_MIN, INT64_MAX);
    shoal_carry_fd(handover, &(*group)->peak);
    for (size_t i = 0; i < (*group)->n && !handover->failed; i++) {
        shoal_carry_flag(handover, &(*group)->trees[i].joined);
        if ((*group)->trees[i].joined && !make(*group, i))
            handover->failed = true;
    }
}

void shoal_cgroup_usage(const struct shoal_cgroup *group,
                        struct shoal_cgroup_usage *ret_usage) {
    int memory = group == NULL ? -1 : memory_of(group);
    *ret_usage = (struct shoal_cgroup_usage){.peak = 0};
    if (memory < 0)
        return;
    ret_usage->oom_kills = read_oom_kills(memory) - group->oom_kills;
    ret_usage->peak = read_peak(group, memory);
}

int shoal_cgroup_birthplace(const struct shoal_cgroup *group) {
    return group == NULL || !group->trees[0].unified ? -1 : group->trees[0].dir;
}

bool shoal_cgroup_join(const struct shoal_cgroup *group, bool born_there) {
    bool good = true;
    for (size_t i = born_there ? 1 : 0; group != NULL && i < group->n; i++)
        good =
            (!group->trees[i].joined || put(group->trees[i].dir, "cgroup.procs", "0")) &&
            good;
    return good;
}

void shoal_cgroup_destroy(struct shoal_cgroup *group) {
    if (group == NULL)
        return;
    shoal_cgroup_kill(group);
    if (group->peak >= 0)
        close(group->peak);
    for (size_t i = 0; i < group->n; i++) {
        if (group->trees[i].dir < 0)
            continue;
        close(group->trees[i].dir);
        rmdir(group->trees[i].path);
    }
    free(group);
}
