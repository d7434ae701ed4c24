#include "client/cli.h"

#include "client/interrupt.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/crypto.h"
#include "common/id.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/streams.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct shoal_cli shoal_cli;

static bool man_options;

const struct shoal_option shoal_cli_options[] = {
    {.name = "redis",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_cli.redis,
     .given = &shoal_cli.redis_given,
     .argument = "URL",
     .environment = "SHOAL_REDIS",
     .help = "where the queue is: redis://[user[:password]@]host[:port][/db], rediss:// "
             "for TLS, unix:PATH or unix://user@/PATH; the local cluster unless said",
     .section = "Common options"},
    {.name = "redis-password-file",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_cli.password_file,
     .argument = "FILE",
     .environment = "SHOAL_REDIS_PASSWORD_FILE",
     .help = "its first line is the password; only its owner may read it",
     .section = "Common options"},
    {.name = "tls-ca",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_cli.tls.ca,
     .argument = "FILE",
     .environment = "SHOAL_TLS_CA",
     .help = "rediss://: the authorities (PEM) that may have signed its certificate; "
             "those of the system unless said",
     .section = "Common options"},
    {.name = "tls-cert",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_cli.tls.certificate,
     .argument = "FILE",
     .environment = "SHOAL_TLS_CERT",
     .help = "rediss://: a certificate (PEM), for a Redis that demands one",
     .section = "Common options"},
    {.name = "tls-key",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_cli.tls.key,
     .argument = "FILE",
     .environment = "SHOAL_TLS_KEY",
     .help = "rediss://: its private key (PEM); only its owner may read it",
     .section = "Common options"},
    {.name = "namespace",
     .type = SHOAL_OPTION_NAME,
     .value = &shoal_cli.name_space,
     .given = &shoal_cli.name_space_given,
     .argument = "NAME",
     .fallback = "shoal",
     .environment = "SHOAL_NAMESPACE",
     .help = "what all keys in Redis begin with",
     .section = "Common options"},
    {.name = "verbose",
     .letter = 'v',
     .type = SHOAL_OPTION_FLAG,
     .value = &shoal_cli.verbose,
     .help = "say more",
     .section = "Common options"},
    {.name = "help",
     .letter = 'h',
     .type = SHOAL_OPTION_FLAG,
     .value = &shoal_cli.help,
     .help = "show this help",
     .section = "Common options"},
    {.name = NULL},
};

static const struct shoal_option json_options[] = {
    {.name = "json",
     .type = SHOAL_OPTION_FLAG,
     .value = &shoal_cli.json,
     .help = "print JSON, an object a line",
     .section = "Common options"},
    {.name = NULL},
};

static bool version;

static const struct shoal_option top_options[] = {
    {.name = "version",
     .type = SHOAL_OPTION_FLAG,
     .value = &version,
     .help = "show the version",
     .section = "Common options"},
    {.name = "man-options", .type = SHOAL_OPTION_FLAG, .value = &man_options},
    {.name = NULL},
};

extern const struct shoal_cli_command shoal_cmd_acl, shoal_cmd_audit, shoal_cmd_cancel,
    shoal_cmd_completion, shoal_cmd_doctor, shoal_cmd_down, shoal_cmd_drain,
    shoal_cmd_forget, shoal_cmd_keygen, shoal_cmd_list, shoal_cmd_pause, shoal_cmd_queues,
    shoal_cmd_replay, shoal_cmd_results, shoal_cmd_resume, shoal_cmd_retry, shoal_cmd_run,
    shoal_cmd_show, shoal_cmd_status, shoal_cmd_submit, shoal_cmd_up, shoal_cmd_wait,
    shoal_cmd_worker, shoal_cmd_workers;

static int help_command(int n, char **words);

static const struct shoal_cli_command cmd_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "show help, of a command",
    .words_most = 1,
    .run = help_command,
};

/* As a person meets them. */
const struct shoal_cli_command *const shoal_cli_commands[] = {
    &shoal_cmd_run,        &shoal_cmd_submit,
    &shoal_cmd_wait,       &shoal_cmd_status,
    &shoal_cmd_list,       &shoal_cmd_results,
    &shoal_cmd_show,       &shoal_cmd_replay,
    &shoal_cmd_cancel,     &shoal_cmd_retry,
    &shoal_cmd_forget,     &shoal_cmd_pause,
    &shoal_cmd_resume,     &shoal_cmd_queues,
    &shoal_cmd_workers,    &shoal_cmd_drain,
    &shoal_cmd_up,         &shoal_cmd_down,
    &shoal_cmd_worker,     &shoal_cmd_keygen,
    &shoal_cmd_doctor,     &shoal_cmd_audit,
    &shoal_cmd_acl,        &cmd_help,
    &shoal_cmd_completion, NULL,
};

/* ---- errors */

int shoal_cli_status(enum shoal_status status) {
    static const int exits[] = {
        [SHOAL_OK] = SHOAL_EXIT_OK,         [SHOAL_INVALID] = SHOAL_EXIT_USAGE,
        [SHOAL_UNKNOWN] = SHOAL_EXIT_USAGE, [SHOAL_REFUSED] = SHOAL_EXIT_USAGE,
        [SHOAL_DENIED] = SHOAL_EXIT_REDIS,  [SHOAL_FULL] = SHOAL_EXIT_REDIS,
        [SHOAL_TIMEOUT] = SHOAL_EXIT_TIME,  [SHOAL_LOST] = SHOAL_EXIT_REDIS,
        [SHOAL_GARBAGE] = SHOAL_EXIT_REDIS, [SHOAL_MEMORY] = SHOAL_EXIT_FAILED,
        [SHOAL_SYSTEM] = SHOAL_EXIT_FAILED,
    };
    return exits[status];
}

int shoal_cli_fail(const struct shoal_error *err) {
    fflush(stdout);
    fprintf(stderr, "shoal: %s\n", err->text);
    return shoal_interrupts() > 0 ? SHOAL_EXIT_INTERRUPTED
                                  : shoal_cli_status(err->status);
}

void shoal_cli_say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- help */

/* The tables of a command, its own first. */
static void tables_of(const struct shoal_cli_command *command,
                      const struct shoal_option *tables[16]) {
    size_t n = 0;
    for (size_t i = 0; command->tables != NULL && command->tables[i] != NULL; i++)
        tables[n++] = command->tables[i];
    if (command->reads)
        tables[n++] = json_options;
    if (!command->passes_on)
        tables[n++] = shoal_cli_options;
    tables[n] = NULL;
}

static void help_of(const struct shoal_cli_command *command) {
    const struct shoal_option *tables[16];
    tables_of(command, tables);
    printf("Usage: shoal %s%s%s\n%c%s.\n", command->name,
           command->usage[0] == '\0' ? "" : " ", command->usage,
           command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->details != NULL)
        printf("\n%s\n", command->details);
    putchar('\n');
    shoal_options_help(tables, stdout);
}

static void help_all(void) {
    puts(
        "Usage: shoal COMMAND [OPTION]... [ARGUMENT]...\n"
        "Runs simulations over a space of parameters, on this machine or many.\n"
        "\n"
        "  shoal run -p beta=0.1:0.9:0.1 --reps 20 -- ./sir --beta {beta} --seed {seed}\n"
        "\n"
        "Commands:");
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++)
        printf("  %-11s %s\n", shoal_cli_commands[i]->name,
               shoal_cli_commands[i]->summary);
    puts("\nA job is named by its id, the beginning of it, its name (the newest of that "
         "name), or\n"
         "'-' for the last one submitted here. 'shoal help COMMAND' tells a command's "
         "options.\n"
         "\n"
         "Exit status: 0 all is well; 1 tasks failed, or something went wrong here; 2 "
         "wrong usage, or\n"
         "the job's state does not allow it; 3 Redis cannot be reached or used; 4 the "
         "time is over;\n"
         "130 interrupted.");
}

static void man_all(void) {
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++) {
        const struct shoal_cli_command *command = shoal_cli_commands[i];
        printf(".SS %s\n.B shoal %s\n%s\n.PP\n%c%s.\n", command->name, command->name,
               command->usage, command->summary[0] - 'a' + 'A', command->summary + 1);
        if (command->details != NULL)
            printf(".PP\n%s\n", command->details);
        if (command->tables != NULL)
            shoal_options_man(command->tables, stdout);
    }
    puts(".SS Common options");
    shoal_options_man(
        (const struct shoal_option *const[]){shoal_cli_options, json_options, NULL},
        stdout);
}

/* How far apart two words are: insertions, deletions and changes (Levenshtein). */
static size_t distance(const char *a, const char *b) {
    size_t row[64], n = strlen(b);
    if (n >= SHOAL_COUNT(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j - 1] < row[j] ? row[j - 1] : row[j];
            row[j] = change < least + 1 ? change : least + 1;
        }
    }
    return row[n];
}

static const struct shoal_cli_command *find_command(const char *name) {
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++) {
        if (strcmp(shoal_cli_commands[i]->name, name) == 0)
            return shoal_cli_commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name) {
    const struct shoal_cli_command *nearest = NULL;
    size_t best = strlen(name) < 3 ? strlen(name) : 3; /* something must be alike */
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++) {
        size_t far = distance(name, shoal_cli_commands[i]->name);
        if (far < best) {
            best = far;
            nearest = shoal_cli_commands[i];
        }
    }
    struct shoal_error err = {.status = SHOAL_OK};
    if (nearest != NULL)
        shoal_error_set(&err, SHOAL_INVALID, "'%.100s' is no command; did you mean '%s'?",
                        name, nearest->name);
    else
        shoal_error_set(&err, SHOAL_INVALID, "'%.100s' is no command; see 'shoal help'",
                        name);
    return shoal_cli_fail(&err);
}

static int help_command(int n, char **words) {
    const struct shoal_cli_command *command = n == 1 ? find_command(words[0]) : NULL;
    if (n == 1 && command == NULL)
        return unknown_command(words[0]);
    if (command != NULL)
        help_of(command);
    else
        help_all();
    return SHOAL_EXIT_OK;
}

/* ---- running a command */

static enum shoal_status check_words(const struct shoal_cli_command *command, int n,
                                     char **words, struct shoal_error *err) {
    if (n < command->words_least)
        return shoal_error_set(err, SHOAL_INVALID, "usage: shoal %s %s", command->name,
                               command->usage);
    if (command->words_most >= 0 && n > command->words_most)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.100s' is too much; usage: shoal %s %s",
                               words[command->words_most], command->name, command->usage);
    return SHOAL_OK;
}

static int pass_on(const struct shoal_cli_command *command, int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        help_of(command);
        return SHOAL_EXIT_OK;
    }
    return command->run(argc - 1, argv + 1);
}

/* argv[0] is the command's name. */
static int run_command(const struct shoal_cli_command *command, int argc, char **argv) {
    const struct shoal_option *tables[16];
    struct shoal_error err = {.status = SHOAL_OK};
    char program[64];
    int rest = 0;
    tables_of(command, tables);
    snprintf(program, sizeof(program), "shoal %s", command->name);
    argv[0] = program;
    enum shoal_status status =
        shoal_options_parse(tables, argc, argv, command->command_words, &rest, &err);
    int exit_status = 0;
    if (status == SHOAL_OK && shoal_cli.help) {
        help_of(command);
    } else if (status == SHOAL_OK) {
        shoal_log_init("shoal", shoal_cli.verbose ? SHOAL_LOG_DEBUG : SHOAL_LOG_WARN,
                       SHOAL_LOG_LOGFMT);
        shoal_cores_off();
        if (shoal_redis_url_hide(&shoal_cli.redis, argv))
            shoal_cli_say("shoal: %s", shoal_redis_url_seen);
        status = check_words(command, argc - rest, argv + rest, &err);
        exit_status = status == SHOAL_OK ? command->run(argc - rest, argv + rest)
                                         : shoal_cli_fail(&err);
    } else {
        exit_status = shoal_cli_fail(&err);
    }
    shoal_options_finish(tables);
    return exit_status;
}

/* What was printed must have got out; where a reader has left nothing is said. */
static int end_output(int exit_status) {
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || exit_status != SHOAL_EXIT_OK)
        return exit_status;
    if (errno != EPIPE)
        shoal_cli_say("shoal: the output cannot be written%s%s", errno == 0 ? "" : ": ",
                      errno == 0 ? "" : strerror(errno));
    return SHOAL_EXIT_FAILED;
}

/* Options before the command: those of all commands, --version. Their values would be
 * lost when the command's own are parsed (each parse begins with the defaults), so they
 * are moved behind it. */
static char **command_first(int argc, char **argv, int command) {
    char **moved = calloc((size_t)argc + 1, sizeof(*moved));
    if (moved == NULL)
        return NULL;
    size_t n = 0;
    moved[n++] = argv[command];
    for (int i = 1; i < command; i++)
        moved[n++] = argv[i];
    for (int i = command + 1; i < argc; i++)
        moved[n++] = argv[i];
    return moved;
}

int shoal_cli_main(int argc, char **argv) {
    const struct shoal_option *const tables[] = {shoal_cli_options, top_options, NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    int command = 0;
    shoal_streams_keep();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* who ignores it and starts us leaves it so */
    if (argc == 3 && strcmp(argv[1], "help") == 0 &&
        strcmp(argv[2], "--man-options") == 0) {
        man_all();
        return end_output(SHOAL_EXIT_OK);
    }
    if (shoal_options_parse(tables, argc, argv, true, &command, &err) != SHOAL_OK)
        return shoal_cli_fail(&err);
    if (version) {
        puts("shoal " SHOAL_VERSION);
        return end_output(SHOAL_EXIT_OK);
    }
    if (command >= argc) {
        help_all();
        return end_output(shoal_cli.help ? SHOAL_EXIT_OK : SHOAL_EXIT_USAGE);
    }
    const struct shoal_cli_command *found = find_command(argv[command]);
    if (found == NULL)
        return unknown_command(argv[command]);
    if (shoal_crypto_begin(&err) != SHOAL_OK)
        return shoal_cli_fail(&err);
    SHOAL_CLEANUP(shoal_cleanup_free) char **moved = command_first(argc, argv, command);
    if (moved == NULL) {
        shoal_cli_say("shoal: no memory for the command line");
        return SHOAL_EXIT_FAILED;
    }
    return end_output(found->passes_on ? pass_on(found, argc - 1, moved)
                                       : run_command(found, argc - 1, moved));
}
