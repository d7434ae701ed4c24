/* Runs one task here and now, as a worker would. */
#include "client/task.h"

#include "common/cleanup.h"
#include "common/environment.h"
#include "common/scratch.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool print_only;

static const struct shoal_option options[] = {
    {.name = "print",
     .type = SHOAL_OPTION_FLAG,
     .value = &print_only,
     .help = "print a shell command that does the same, instead of running it"},
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

static int replay(int n, char **words) {
    SHOAL_CLEANUP(shoal_one_task_finish) struct shoal_one_task one = {.argv = NULL};
    struct shoal_use use;
    struct shoal_error err = {.status = SHOAL_OK};
    (void)n;
    enum shoal_status status = shoal_use_begin(SHOAL_CLUSTER_READ, NULL, 0, &use, &err);
    if (status == SHOAL_OK)
        status = shoal_one_task_find(&use, words[0], words[1], &one, &err);
    shoal_use_end(&use); /* a long replay needs no Redis */
    return status == SHOAL_OK ? replay_task(&one, &err) : shoal_cli_fail(&err);
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_replay = {
    .name = "replay",
    .usage = "[--print] JOB TASK",
    .summary = "run one task here and now, as a worker would",
    .details =
        "With the same words, environment, directory, parameters and seed; "
        "variables such as\n"
        "OMP_NUM_THREADS say 1, as on a worker with a slot for each core. Its exit "
        "status is\n"
        "the program's.",
    .tables = tables,
    .words_least = 2,
    .words_most = 2,
    .takes_jobs = true,
    .run = replay,
};
