#include "common/cleanup.h"
#include "common/daemon.h"
#include "common/id.h"
#include "common/log.h"
#include "common/state.h"
#include "worker/handover.h"
#include "worker/keeper.h"
#include "worker/place.h"
#include "worker/status.h"
#include "worker/upgrade.h"
#include "worker/user.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUEUES_MAX = 64, QUEUE_LIST_MAX = 501, PLACE_ROOM = PATH_MAX - 128 };

static struct {
    const char *queues;
    const char *name;
    const char *directory;
    const char *checkpoints;
    const char *cgroup;
    const char *user;
    struct shoal_option_list allow;
    bool allow_any;
    const char *trust_keys;
    bool trust_keys_given;
    bool trust_redis;
    struct shoal_option_list pass_env;
    bool sandbox;
    struct shoal_option_list sandbox_write;
    bool no_network;
    int64_t slots;
    int64_t threads;
    int64_t max_tasks;
    int64_t max_memory;
    int64_t ttl_ms;
    int64_t drain_ms;
    const char *spool;
    int64_t spool_max;
    int64_t outbox_memory;
    bool status;
    bool json;
    bool check_upgrade;
} config;

static const char task_section[] = "What tasks may do";

static const struct shoal_option options[] = {
    {.name = "queue",
     .letter = 'q',
     .type = SHOAL_OPTION_TEXT,
     .value = &config.queues,
     .argument = "NAME[,NAME...]",
     .fallback = "default",
     .environment = "SHOAL_QUEUES",
     .help = "the queues to serve, the preferred one first"},
    {.name = "slots",
     .letter = 's',
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.slots,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "1024",
     .environment = "SHOAL_SLOTS",
     .help = "how many tasks run at a time; 0: as many as there are cores"},
    {.name = "threads",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.threads,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "4096",
     .help = "what OMP_NUM_THREADS and its like default to; 0: the cores of a slot"},
    {.name = "name",
     .letter = 'n',
     .type = SHOAL_OPTION_NAME,
     .value = &config.name,
     .argument = "NAME",
     .environment = "SHOAL_WORKER_NAME",
     .help = "what the worker is called; the host's name unless said otherwise"},
    {.name = "directory",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.directory,
     .argument = "DIR",
     .fallback = "/tmp",
     .environment = "TMPDIR",
     .help = "where tasks get their temporary directories"},
    {.name = "checkpoints",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.checkpoints,
     .argument = "DIR",
     .environment = "SHOAL_CHECKPOINTS",
     .help = "where the directories are that tasks keep over their attempts, best on a "
             "file system that all workers share; /var/lib/shoal/checkpoints of root "
             "and ~/.local/state/shoal/checkpoints of others unless said otherwise"},
    {.name = "cgroup",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.cgroup,
     .argument = "auto|off|PATH",
     .fallback = "auto",
     .environment = "SHOAL_CGROUP",
     .help = "what holds a task's processes together: control groups below the worker's "
             "own where the host allows it, none, or below a given one of version 2"},
    {.name = "user",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.user,
     .argument = "NAME[:GROUP]",
     .help = "run tasks as that user; only root can",
     .section = task_section},
    {.name = "allow",
     .type = SHOAL_OPTION_LIST,
     .value = &config.allow,
     .argument = "PATTERN[:PATTERN...]",
     .environment = "SHOAL_ALLOW",
     .help = "programs, plug-ins and Python modules that may run, by their real paths: a "
             "file, /FOLDER/* for what lies in a folder, /FOLDER/** for all below it; "
             "this or --allow-any is needed where the Redis is not this user's own, "
             "unless the line of each trusted key says what it may run",
     .section = task_section},
    {.name = "allow-any",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.allow_any,
     .help = "whatever a trusted key has signed may run here, or with --trust-redis "
             "whatever the Redis says",
     .section = task_section},
    {.name = "trust-keys",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.trust_keys,
     .given = &config.trust_keys_given,
     .argument = "FILE",
     .environment = "SHOAL_TRUST_KEYS",
     .help = "run jobs alone that were signed with one of the keys in that file; "
             "/etc/shoal/trusted-keys for root and ~/.config/shoal/trusted-keys for "
             "others unless said, where the Redis is not this user's own",
     .section = task_section},
    {.name = "trust-redis",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.trust_redis,
     .help = "run jobs that are not signed, of whoever can write to the Redis",
     .section = task_section},
    {.name = "pass-env",
     .type = SHOAL_OPTION_LIST,
     .value = &config.pass_env,
     .argument = "NAME",
     .help = "a variable of the worker's environment that tasks get besides PATH, HOME "
             "and the like; a * in it stands for anything",
     .section = task_section},
    {.name = "sandbox",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.sandbox,
     .help = "tasks write to their own directories alone ($SHOAL_TMP, "
             "$SHOAL_CHECKPOINT), held by Landlock",
     .section = task_section},
    {.name = "sandbox-write",
     .type = SHOAL_OPTION_LIST,
     .value = &config.sandbox_write,
     .argument = "PATH",
     .help = "with --sandbox: a directory or file that they may write to as well",
     .section = task_section},
    {.name = "no-network",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.no_network,
     .help = "with --sandbox: tasks can make no sockets but pairs of their own",
     .section = task_section},
    {.name = "max-tasks-per-runner",
     .type = SHOAL_OPTION_INTEGER,
     .value = &config.max_tasks,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "1000000000000",
     .help = "a process that runs functions is replaced after so many tasks; 0: never"},
    {.name = "max-runner-memory",
     .type = SHOAL_OPTION_SIZE,
     .value = &config.max_memory,
     .argument = "SIZE",
     .fallback = "0",
     .least = "0",
     .most = "1024G",
     .help = "the same when its memory has grown past that; 0: never"},
    {.name = "session-ttl",
     .type = SHOAL_OPTION_DURATION,
     .value = &config.ttl_ms,
     .argument = "TIME",
     .fallback = "8s",
     .least = "4s",
     .most = "1h",
     .help = "how long the worker may be silent before its tasks go to another"},
    {.name = "drain-timeout",
     .type = SHOAL_OPTION_DURATION,
     .value = &config.drain_ms,
     .argument = "TIME",
     .fallback = "0",
     .least = "0",
     .most = "7d",
     .environment = "SHOAL_DRAIN",
     .help = "how long what runs may go on after the first TERM or INT; then it is "
             "stopped as by the second; 0: as long as it takes"},
    {.name = "outbox-memory",
     .type = SHOAL_OPTION_SIZE,
     .value = &config.outbox_memory,
     .argument = "SIZE",
     .fallback = "64M",
     .least = "1M",
     .most = "64G",
     .help = "of outcomes that Redis does not take so much waits in memory, and for two "
             "seconds; the rest in files"},
    {.name = "spool",
     .type = SHOAL_OPTION_TEXT,
     .value = &config.spool,
     .argument = "DIR",
     .environment = "SHOAL_SPOOL",
     .help = "where those files are; /var/lib/shoal/spool for root, else shoal/spool in "
             "the user's state directory"},
    {.name = "spool-max",
     .type = SHOAL_OPTION_SIZE,
     .value = &config.spool_max,
     .argument = "SIZE",
     .fallback = "4G",
     .least = "1M",
     .most = "64T",
     .help = "how large all of them together may be"},
    {.name = "status",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.status,
     .help = "start nothing; tell how the workers of this host are (--name: that one), "
             "also without Redis"},
    {.name = "json",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.json,
     .help = "with --status: tell it as JSON, a line for each"},
    {.name = "check-upgrade",
     .type = SHOAL_OPTION_FLAG,
     .value = &config.check_upgrade,
     .help = "say which handovers of a running worker this program reads, and end"},
    {.name = NULL},
};

static const struct shoal_option *const tables[] = {options, shoal_daemon_options, NULL};

static const struct shoal_daemon_text text = {
    .program = "shoal-worker",
    .help =
        "Usage: shoal-worker [OPTION]...\n"
        "Takes tasks from queues in Redis, runs them, and reports what came of them.\n"
        "\n"
        "The first TERM or INT drains: no new tasks, what runs may end. The second "
        "stops:\n"
        "what runs gets SIGTERM, its grace, then SIGKILL, and goes back to the queue.\n"
        "With --drain-timeout that follows by itself.\n"
        "USR2 upgrades: what lies where this program was started from takes its place,\n"
        "and what runs goes on.\n",
    .tables = tables,
};

/* Splits the list in place. */
static enum shoal_status split_queues(char *list, const char **names,
                                      struct shoal_error *err) {
    size_t n = 0;
    for (char *rest = list; rest != NULL;) {
        char *name = strsep(&rest, ",");
        if (!shoal_name_is_valid(name))
            return shoal_error_set(
                err, SHOAL_INVALID,
                "'%s' is no queue name: it takes 1 to %d letters, digits, '.', "
                "'_' and '-', and begins with a letter, digit or '_'",
                name, SHOAL_NAME_MAX);
        if (n == QUEUES_MAX)
            return shoal_error_set(err, SHOAL_INVALID,
                                   "a worker serves %d queues at most", QUEUES_MAX);
        names[n++] = name;
    }
    names[n] = NULL;
    return SHOAL_OK;
}

/* The host's name as a worker's: what a name may not hold becomes '-'. */
static void default_name(char *name) {
    gethostname(name, SHOAL_NAME_MAX);
    name[SHOAL_NAME_MAX] = '\0';
    for (char *at = name; *at != '\0'; at++) {
        char one[] = {'x', *at, '\0'};
        if (!shoal_name_is_valid(one))
            *at = '-';
    }
    if (!shoal_name_is_valid(name))
        snprintf(name, SHOAL_NAME_MAX, "worker");
}

static int64_t cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n;
}

/* ---- what is kept */

/* Whether it goes on with what the program before this one was doing: that it may start
 * was asked then, and what has changed since is no reason to end what runs. */
static bool goes_on(void) {
    return shoal_handover_is_given(SHOAL_WORKER_ROLE) ||
           shoal_handover_is_given(SHOAL_KEEPER_ROLE);
}

/* The given directory as an absolute path, since it is used for as long as the worker
 * lives, or the usual one, NAME in the daemon's state directory. */
static enum shoal_status find_place(const char *given, const char *name, char *path,
                                    size_t room, struct shoal_error *err) {
    char base[PLACE_ROOM], here[PLACE_ROOM] = "";
    if (given == NULL) {
        enum shoal_status status = shoal_state_of_daemon(base, room, err);
        if (status == SHOAL_OK)
            snprintf(path, room, "%.*s/%s", PLACE_ROOM - 32, base, name);
        return status;
    }
    if (*given != '/' && getcwd(here, sizeof(here)) == NULL)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot tell the current directory");
    int len = snprintf(path, room, "%s%s%s", here, *here == '\0' ? "" : "/", given);
    if (*given != '\0' && (size_t)len < room)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           "--%s '%.100s' is no directory: it is empty or too long", name,
                           given);
}

/* What was asked for must be so; the usual place may be missing on a host that needs it
 * for nothing, and what may pass by itself is waited for. Neither is silent. */
static enum shoal_status check_place(const char *given, const char *name,
                                     const char *path, const struct shoal_user *user,
                                     bool own, bool *ret_good, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = shoal_place_check(path, user, own, &why);
    *ret_good = status != SHOAL_INVALID || given != NULL || goes_on();
    if (status == SHOAL_INVALID && given != NULL && !goes_on())
        return shoal_error_set(err, SHOAL_INVALID,
                               "--%s: %.400s; name a directory that this user can make "
                               "or write to",
                               name, why.text);
    if (status != SHOAL_OK && !config.check_upgrade) /* which says one thing alone */
        shoal_warn("%s; --%s names another place", why.text, name);
    return SHOAL_OK;
}

/* Whether it can be used is seen when the worker's folder is made in it. */
static enum shoal_status find_directory(struct shoal_worker_config *worker,
                                        char *directory, struct shoal_error *err) {
    worker->directory = directory;
    return find_place(config.directory, "directory", directory, PLACE_ROOM, err);
}

static enum shoal_status find_spool(struct shoal_worker_config *worker, char *spool,
                                    struct shoal_error *err) {
    bool good = false;
    enum shoal_status status = find_place(config.spool, "spool", spool, PLACE_ROOM, err);
    worker->spool = spool;
    if (status == SHOAL_OK)
        status = check_place(config.spool, "spool", spool, NULL, false, &good, err);
    return status;
}

/* Behind make_bounds(). Without a place, tasks that need one are for other workers. */
static enum shoal_status find_checkpoints(struct shoal_worker_config *worker,
                                          char *checkpoints, struct shoal_error *err) {
    struct shoal_checkpoints those;
    bool good = false;
    enum shoal_status status =
        find_place(config.checkpoints, "checkpoints", checkpoints, PLACE_ROOM, err);
    if (status == SHOAL_OK)
        status = shoal_checkpoints_init(&those, checkpoints, worker->name_space,
                                        worker->user, err);
    if (status == SHOAL_OK)
        status = check_place(config.checkpoints, "checkpoints", those.directory,
                             worker->user, true, &good, err);
    worker->checkpoints = good ? checkpoints : NULL;
    return status;
}

/* ---- what tasks may do */

static enum shoal_status find_allowed(struct shoal_worker_config *worker,
                                      struct shoal_allow *allow,
                                      struct shoal_error *err) {
    if (config.allow.n > 0 && config.allow_any)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--allow and --allow-any do not go together");
    if (config.allow.n == 0)
        return SHOAL_OK;
    worker->allow = allow;
    return shoal_allow_init(allow, &config.allow, err);
}

static enum shoal_status find_trust(struct shoal_worker_config *worker,
                                    struct shoal_trust *trust, struct shoal_error *err) {
    const struct shoal_trust_choice choice = {
        .keys = config.trust_keys_given ? config.trust_keys : NULL,
        .redis = config.trust_redis,
    };
    *trust =
        (struct shoal_trust){.name_space = worker->name_space, .queues = worker->queues};
    worker->trust = trust;
    enum shoal_status status = shoal_trust_begin(trust, &worker->address, &choice, err);
    worker->address.own_alone = !trust->required && !config.trust_redis;
    return status;
}

/* Others say what runs here: who has a trusted key, or with --trust-redis whoever can
 * write to the Redis. One that goes on after an upgrade was asked when it began. */
static enum shoal_status check_what_may_run(const struct shoal_worker_config *worker,
                                            struct shoal_error *err) {
    char where[512];
    if (worker->allow != NULL || config.allow_any ||
        shoal_trust_is_bounded(worker->trust) ||
        shoal_redis_address_is_own(&worker->address) || goes_on())
        return SHOAL_OK;
    shoal_redis_address_print(&worker->address, where, sizeof(where));
    return shoal_error_set(err, SHOAL_INVALID,
                           "%.200s is not a Redis of this user alone, and %s could run "
                           "any program here: name what may run, as in --allow "
                           "'/opt/sim/*', or say --allow-any",
                           where,
                           worker->trust->required ? "who has a trusted key"
                                                   : "whoever can write to it");
}

static enum shoal_status find_sandbox(struct shoal_worker_config *worker,
                                      struct shoal_sandbox *sandbox,
                                      struct shoal_error *err) {
    if (!config.sandbox && (config.no_network || config.sandbox_write.n > 0))
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s is a part of the sandbox: say --sandbox as well",
                               config.no_network ? "--no-network" : "--sandbox-write");
    if (!config.sandbox)
        return SHOAL_OK;
    worker->sandbox = sandbox;
    return shoal_sandbox_init(sandbox, &config.sandbox_write, config.no_network, err);
}

static enum shoal_status check_passed(struct shoal_error *err) {
    for (size_t i = 0; i < config.pass_env.n; i++) {
        const char *name = config.pass_env.items[i];
        if (*name == '\0' || strchr(name, '=') != NULL)
            return shoal_error_set(err, SHOAL_INVALID,
                                   "--pass-env '%.100s': write the name of a variable",
                                   name);
        if (strncmp(name, "SHOAL_", 6) == 0)
            return shoal_error_set(err, SHOAL_INVALID,
                                   "--pass-env '%.100s': shoal's own variables are not "
                                   "passed on to tasks",
                                   name);
    }
    return SHOAL_OK;
}

/* Whether there is a list of what may run, of this worker or of a key. */
static bool has_list(const struct shoal_worker_config *worker) {
    bool has = worker->allow != NULL;
    for (size_t i = 0; i < worker->trust->n; i++)
        has = has || worker->trust->keys[i].bounded;
    return has;
}

/* Behind make_config(). */
static enum shoal_status make_bounds(struct shoal_worker_config *worker,
                                     struct shoal_user *user, struct shoal_allow *allow,
                                     struct shoal_sandbox *sandbox,
                                     struct shoal_trust *trust, struct shoal_error *err) {
    enum shoal_status status = find_trust(worker, trust, err);
    if (status == SHOAL_OK && config.user != NULL) {
        status = shoal_user_find(config.user, user, err);
        worker->user = user;
    }
    worker->pass_env = &config.pass_env;
    if (status == SHOAL_OK)
        status = check_passed(err);
    if (status == SHOAL_OK)
        status = find_allowed(worker, allow, err);
    if (status == SHOAL_OK)
        status = check_what_may_run(worker, err);
    if (status == SHOAL_OK)
        status = find_sandbox(worker, sandbox, err);
    if (status == SHOAL_OK && has_list(worker) && !config.check_upgrade)
        status = shoal_allow_fix_paths(&config.pass_env, err);
    return status;
}

static enum shoal_status make_config(struct shoal_worker_config *worker,
                                     const char **queues, char *queue_list, char *name,
                                     struct shoal_error *err) {
    worker->name_space = shoal_daemon.name_space;
    worker->ttl_ms = config.ttl_ms;
    worker->drain_ms = config.drain_ms;
    worker->slots = config.slots > 0 ? config.slots : cores();
    worker->max_tasks = config.max_tasks;
    worker->max_memory = config.max_memory;
    worker->spool_max = config.spool_max;
    worker->outbox_memory = config.outbox_memory;
    worker->threads = config.threads;
    if (worker->threads == 0)
        worker->threads = worker->slots >= cores() ? 1 : cores() / worker->slots;
    worker->keeper = -1;
    default_name(name);
    worker->name = config.name == NULL ? name : config.name;
    worker->queues = queues;
    worker->queues_text = config.queues;
    if (strlen(config.queues) >= QUEUE_LIST_MAX)
        return shoal_error_set(err, SHOAL_INVALID,
                               "the list of queues is over %d bytes long",
                               QUEUE_LIST_MAX - 1);
    snprintf(queue_list, QUEUE_LIST_MAX, "%s", config.queues);
    enum shoal_status status = split_queues(queue_list, queues, err);
    if (status == SHOAL_OK)
        status = shoal_cgroups_find(config.cgroup, &worker->cgroups, err);
    if (status == SHOAL_OK)
        status = shoal_daemon_address(&worker->address, err);
    return status;
}

/* Parsing puts the words into another order and blots out a password; they are kept as
 * they were, in one block. */
static char **copy_words(int argc, char **argv) {
    size_t pointers = ((size_t)argc + 1) * sizeof(char *), len = 0;
    for (int i = 0; i < argc; i++)
        len += strlen(argv[i]) + 1;
    char **words = malloc(pointers + len);
    if (words == NULL)
        return NULL;
    char *at = (char *)words + pointers;
    for (int i = 0; i < argc; i++) {
        words[i] = at;
        at = stpcpy(at, argv[i]) + 1;
    }
    words[argc] = NULL;
    return words;
}

static int run(struct shoal_worker_config *worker) {
    if (config.check_upgrade) {
        shoal_upgrade_print();
        return 0;
    }
    shoal_daemon_warn();
    return shoal_keeper_run(worker);
}

int main(int argc, char **argv) {
    SHOAL_CLEANUP(shoal_cleanup_free) char **words = copy_words(argc, argv);
    SHOAL_CLEANUP(shoal_cleanup_free) char *program = shoal_upgrade_find(argv[0]);
    int exit_status = shoal_daemon_begin(&text, argc, argv);
    if (exit_status >= 0)
        return exit_status;
    if (config.status)
        return shoal_status_ask(config.name, config.json);
    struct shoal_error err = {.status = SHOAL_OK};
    if (config.json) {
        shoal_error_set(&err, SHOAL_INVALID,
                        "--json belongs to --status, and without that a worker would be "
                        "started; add --status or leave --json out");
        return shoal_daemon_refuse(&text, &err);
    }
    struct shoal_worker_config worker = {
        .program = words == NULL ? NULL : program, .argv = words, .folder_lock = -1};
    struct shoal_user user;
    struct shoal_allow allow = {.n = 0};
    struct shoal_sandbox sandbox;
    struct shoal_trust trust = {.n = 0};
    const char *queues[QUEUES_MAX + 1];
    char directory[PLACE_ROOM];
    char queue_list[QUEUE_LIST_MAX], name[SHOAL_NAME_MAX + 1];
    char spool[PLACE_ROOM], checkpoints[PLACE_ROOM];
    if (make_config(&worker, queues, queue_list, name, &err) != SHOAL_OK ||
        make_bounds(&worker, &user, &allow, &sandbox, &trust, &err) != SHOAL_OK ||
        find_directory(&worker, directory, &err) != SHOAL_OK ||
        find_spool(&worker, spool, &err) != SHOAL_OK ||
        find_checkpoints(&worker, checkpoints, &err) != SHOAL_OK)
        exit_status = shoal_daemon_refuse(&text, &err);
    else
        exit_status = run(&worker);
    shoal_allow_finish(&allow);
    shoal_trust_finish(&trust);
    shoal_options_finish(tables);
    shoal_redis_address_finish(&worker.address);
    return exit_status;
}
