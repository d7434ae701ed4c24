/* Runs one task here and now, as a worker would. */
#include "client/task.h"

#include "broker/server.h"
#include "common/cleanup.h"
#include "common/environment.h"
#include "common/scratch.h"
#include "common/secret.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool print_only, trust_redis, trust_keys_given;
static const char *trust_keys;

static const struct shoal_option options[] = {
    {.name = "print",
     .type = SHOAL_OPTION_FLAG,
     .value = &print_only,
     .help = "print a shell command that does the same, instead of running it"},
    {.name = "trust-keys",
     .type = SHOAL_OPTION_TEXT,
     .value = &trust_keys,
     .given = &trust_keys_given,
     .argument = "FILE",
     .environment = "SHOAL_TRUST_KEYS",
     .help = "run it alone if it was signed with your own key or one of that file; where "
             "the Redis is not this user's own that is so unless --trust-redis is said, "
             "with the keys of /etc/shoal/trusted-keys (root) or "
             "~/.config/shoal/trusted-keys"},
    {.name = "trust-redis",
     .type = SHOAL_OPTION_FLAG,
     .value = &trust_redis,
     .help = "run it whoever signed it, or nobody"},
    {.name = NULL},
};

/* Whether a variable says where the task's own folder is, which the shell makes. */
static bool is_of_folder(const char *variable) {
    static const char *const names[] = {
        "SHOAL_CHECKPOINT=", "SHOAL_RESULT=", "SHOAL_TMP=", "TMPDIR="};
    for (size_t i = 0; i < SHOAL_COUNT(names); i++) {
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

/* The whole environment is spelled out: nothing of the shell's own comes in. */
static enum shoal_status print_shell_command(const struct shoal_one_task *one,
                                             char *const *environment,
                                             struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer line;
    shoal_buffer_init(&line, 16 << 20);
    shoal_buffer_add_text(&line, "(cd ");
    shoal_shell_quote(&line, one->spec.directory);
    if (one->spec.checkpoint)
        shoal_buffer_add_text(&line, " && SHOAL_CHECKPOINT=$(mktemp -d)");
    shoal_buffer_add_text(&line, " && SHOAL_TMP=$(mktemp -d) && env -i ");
    if (one->spec.checkpoint)
        shoal_buffer_add_text(&line, "SHOAL_CHECKPOINT=\"$SHOAL_CHECKPOINT\" ");
    shoal_buffer_add_text(&line, "SHOAL_TMP=\"$SHOAL_TMP\" TMPDIR=\"$SHOAL_TMP\" "
                                 "SHOAL_RESULT=\"$SHOAL_TMP\"/.result");
    for (; *environment != NULL; environment++) {
        if (is_of_folder(*environment))
            continue;
        shoal_buffer_add_char(&line, ' ');
        shoal_shell_quote(&line, *environment);
    }
    for (char **word = one->argv; *word != NULL; word++) {
        shoal_buffer_add_char(&line, ' ');
        shoal_shell_quote(&line, *word);
    }
    shoal_buffer_add_char(&line, ')');
    enum shoal_status status = shoal_buffer_check(&line, "the command", err);
    if (status == SHOAL_OK)
        puts(shoal_buffer_text(&line));
    return status;
}

static _Noreturn void become_program(const struct shoal_one_task *one,
                                     char **environment) {
    signal(SIGPIPE, SIG_DFL);
    if (chdir(one->spec.directory) != 0) {
        fprintf(stderr, "shoal: cannot enter the working directory '%s': %s\n",
                one->spec.directory, strerror(errno));
        _exit(127);
    }
    shoal_cores_back();
    execvpe(one->argv[0], one->argv, environment);
    fprintf(stderr, "shoal: cannot start '%s': %s\n", one->argv[0], strerror(errno));
    _exit(127);
}

static int wait_for(pid_t pid, int *status) {
    while (waitpid(pid, status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return 0;
}

/* Returns the program's exit status, as a shell does: 128 and the signal's number. */
static int run_here(const struct shoal_one_task *one, char **environment) {
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        become_program(one, environment);
    signal(SIGINT, SIG_IGN); /* it is the program's */
    if (pid < 0 || wait_for(pid, &status) != 0) {
        shoal_cli_say("shoal: cannot start '%s': %s", one->argv[0], strerror(errno));
        return SHOAL_EXIT_FAILED;
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void print_result_file(const char *path) {
    char chunk[4096];
    size_t got;
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "re");
    while (file != NULL && (got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        fwrite(chunk, 1, got, stdout);
}

/* Fresh directories, as the task's first attempt has them: what the real ones hold stays
 * as it is. */
struct folders {
    char tmp[PATH_MAX - 16];
    char checkpoint[PATH_MAX - 16]; /* "": it has none */
    char result[PATH_MAX];
};

static enum shoal_status make_folder(char *path, size_t room, struct shoal_error *err) {
    const char *parent = getenv("TMPDIR");
    snprintf(path, room, "%s/shoal-replay-XXXXXX", parent == NULL ? "/tmp" : parent);
    if (print_only || mkdtemp(path) != NULL)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_SYSTEM,
                           "cannot make a temporary directory '%s': %s", path,
                           strerror(errno));
}

static enum shoal_status make_folders(const struct shoal_one_task *one,
                                      struct folders *folders, struct shoal_error *err) {
    folders->checkpoint[0] = '\0';
    enum shoal_status status = make_folder(folders->tmp, sizeof(folders->tmp), err);
    if (status == SHOAL_OK && one->spec.checkpoint)
        status = make_folder(folders->checkpoint, sizeof(folders->checkpoint), err);
    snprintf(folders->result, sizeof(folders->result), "%s/.result", folders->tmp);
    return status;
}

static void remove_folders(const struct folders *folders) {
    shoal_scratch_remove_tree(folders->tmp);
    if (folders->checkpoint[0] != '\0')
        shoal_scratch_remove_tree(folders->checkpoint);
}

static int replay_task(const struct shoal_one_task *one, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char **environment = NULL;
    SHOAL_CLEANUP(shoal_cleanup_free) char **passed = shoal_environment_passed(NULL);
    struct folders folders;
    if (make_folders(one, &folders, err) != SHOAL_OK)
        return shoal_cli_fail(err);
    const struct shoal_surroundings surroundings = {
        .attempt = 1,
        .threads = 1, /* as with a slot for each core, which is usual */
        .directory = folders.tmp,
        .result_path = folders.result,
        .checkpoint = one->spec.checkpoint ? folders.checkpoint : NULL,
        .passed = passed,
    };
    int exit = SHOAL_EXIT_OK;
    enum shoal_status status =
        shoal_environment_make(&one->spec, &one->task, &surroundings, &environment, err);
    if (status == SHOAL_OK && print_only)
        status = print_shell_command(one, environment, err);
    if (status != SHOAL_OK)
        exit = shoal_cli_fail(err);
    else if (!print_only)
        exit = run_here(one, environment);
    if (!print_only) {
        print_result_file(folders.result);
        remove_folders(&folders);
    }
    return exit;
}

/* ---- whose it is */

/* The file that was named, else that of the local cluster, as for its worker: what others
 * wrote while it listened is there still. */
static const char *find_keys(const struct shoal_use *use) {
    if (trust_keys_given)
        return trust_keys;
    return use->cluster == NULL || trust_redis ? NULL
                                               : shoal_cluster_trusted_keys(use->cluster);
}

/* As a worker would not run what is unsigned there. Who does not tell may be open. */
static bool others_come(const struct shoal_use *use,
                        const struct shoal_redis_address *address) {
    struct shoal_server server;
    return shoal_server_ask(use->client->redis, 0, &server, NULL) != SHOAL_OK ||
           shoal_server_is_open(&server, address);
}

/* The local cluster has an address as any Redis, which tells whether others can write. */
static enum shoal_status begin_trust(const struct shoal_use *use,
                                     const struct shoal_signer_name *own,
                                     struct shoal_trust *trust, struct shoal_error *err) {
    struct shoal_redis_address address;
    struct shoal_trust_choice choice = {
        .keys = find_keys(use), .redis = trust_redis, .own = own};
    bool local = use->cluster != NULL;
    const char *url = local ? shoal_cluster_url(use->cluster) : shoal_cli.redis;
    enum shoal_status status = shoal_redis_address_parse(
        url, local ? shoal_cluster_password_file(use->cluster) : shoal_cli.password_file,
        &address, err);
    if (status != SHOAL_OK)
        return status;
    choice.open = others_come(use, &address);
    status = shoal_trust_begin(trust, &address, &choice, err);
    shoal_redis_address_finish(&address);
    return status;
}

static enum shoal_status find_trust(const struct shoal_use *use,
                                    struct shoal_trust *trust, struct shoal_error *err) {
    struct shoal_signer *signer = NULL; /* none that others can read either */
    const char *path = getenv("SHOAL_SIGN_KEY");
    if (shoal_client_find_signer(path, &signer, NULL) != SHOAL_OK)
        signer = NULL;
    enum shoal_status status =
        begin_trust(use, signer == NULL ? NULL : shoal_signer_name(signer), trust, err);
    shoal_signer_destroy(signer);
    return status;
}

static enum shoal_status tell_damage(const struct shoal_one_task *one,
                                     struct shoal_error *err) {
    return one->damage.status == SHOAL_OK
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_GARBAGE, "%s", one->damage.text);
}

/* As a worker does with what comes from there: what has to be signed is read once it is
 * known to be. */
static enum shoal_status check(struct shoal_use *use, struct shoal_one_task *one,
                               struct shoal_trust *trust, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = trust->required
                                   ? shoal_one_task_check(use, trust, one, &why)
                                   : shoal_one_task_read(use, one, &why);
    if (status == SHOAL_OK)
        status = tell_damage(one, &why);
    if (status == SHOAL_REFUSED)
        return shoal_error_set(err, status,
                               "not run here: %s; 'shoal show' tells what it is, and "
                               "--trust-redis runs it all the same",
                               why.text);
    if (status == SHOAL_OK && one->changed)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "not run here: the spec of job %s was changed in Redis; "
                               "submit the job again",
                               one->job.id);
    return status == SHOAL_OK ? status : shoal_error_set(err, status, "%s", why.text);
}

static int replay(int n, char **words) {
    SHOAL_CLEANUP(shoal_one_task_finish) struct shoal_one_task one = {.argv = NULL};
    SHOAL_CLEANUP(shoal_trust_finish) struct shoal_trust trust = {.n = 0};
    struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    (void)n;
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = find_trust(&use, &trust, &err);
    if (status == SHOAL_OK)
        status = shoal_one_task_find(&use, words[0], words[1], &one, &err);
    if (status == SHOAL_OK)
        status = tell_damage(&one, &err);
    if (status == SHOAL_OK)
        status = check(&use, &one, &trust, &err);
    shoal_use_end(&use); /* a long replay needs no Redis */
    return status == SHOAL_OK ? replay_task(&one, &err) : shoal_cli_fail(&err);
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_replay = {
    .name = "replay",
    .usage = "[--print] [--trust-keys FILE | --trust-redis] JOB TASK",
    .summary = "run one task here and now, as a worker would",
    .details =
        "With the same words, environment, directory, parameters and seed; "
        "variables such as\n"
        "OMP_NUM_THREADS say 1, as on a worker with a slot for each core. Its exit "
        "status is\n"
        "the program's. Where the Redis is not this user's own, or is that of a local "
        "cluster that\n"
        "others could join once, it runs what you or a trusted key signed, as a worker "
        "would; when\n"
        "that expires does not matter.",
    .tables = tables,
    .words_least = 2,
    .words_most = 2,
    .takes_jobs = true,
    .run = replay,
};
