/* The command line: a command is a file that ends up as one line in cli.c. */
#ifndef SHOAL_CLI_H
#define SHOAL_CLI_H

#include "client/client_private.h"
#include "client/local_cluster.h"
#include "client/table.h"
#include "common/option.h"
#include "common/signer.h"

/* Exit statuses. */
enum {
    SHOAL_EXIT_OK = 0,
    SHOAL_EXIT_FAILED = 1, /* tasks failed, something is wrong, output is not written */
    SHOAL_EXIT_USAGE = 2,  /* makes no sense, or not in the state of the job or queue */
    SHOAL_EXIT_REDIS = 3,  /* Redis cannot be reached, started or used */
    SHOAL_EXIT_TIME = 4,   /* the time is over */
    SHOAL_EXIT_INTERRUPTED = 130,
};

/* What the options of all commands said. */
struct shoal_cli {
    const char *redis;
    bool redis_given;
    const char *password_file;
    struct shoal_tls_files tls;
    const char *name_space;
    bool name_space_given; /* else a local cluster has its own */
    bool verbose;
    bool json; /* of commands that read */
    bool help;
};

extern struct shoal_cli shoal_cli;

struct shoal_cli_command {
    const char *name;
    const char *usage;   /* behind "shoal NAME" */
    const char *summary; /* a clause, lower case, no full stop */
    const char *details; /* paragraphs for --help, or NULL */
    const struct shoal_option *const
        *tables;        /* its own options, NULL-terminated; NULL: none */
    bool reads;         /* takes --json */
    bool passes_on;     /* all words behind its name are run()'s, --help alone is not */
    bool command_words; /* the first word ends the options: a command to run follows */
    int words_least;    /* how many words it takes */
    int words_most;     /* -1: any number */
    bool takes_jobs;    /* its words are jobs, for completion */
    int (*run)(int n, char **words);
};

extern const struct shoal_cli_command
    *const shoal_cli_commands[];                      /* NULL behind the last */
extern const struct shoal_option shoal_cli_options[]; /* of all commands */

int shoal_cli_main(int argc, char **argv);

/* Says an error on stderr and returns the exit status that goes with it, or with an
 * interrupt. */
int shoal_cli_fail(const struct shoal_error *err);
int shoal_cli_status(enum shoal_status status);

/* A line on stderr, for people. */
void shoal_cli_say(const char *format, ...) SHOAL_PRINTF(1, 2);

/* ---- keys (cmd_keygen.c) */

enum { SHOAL_COMMENT_ROOM = 64 };

/* Whose a key is, as one word. */
void shoal_key_comment(char comment[SHOAL_COMMENT_ROOM]);

/* Makes the key that signs by itself, and its folder. As shoal_signer_create(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_key_make_usual(const char *path, struct shoal_signer **ret_signer,
                                       struct shoal_error *err);

/* ---- the Redis that a command talks to: the configured one, else the local cluster */

struct shoal_use {
    struct shoal_client *client;
    struct shoal_cluster *cluster; /* NULL when a Redis is configured */
};

/* `queue`, `slots`: of a local cluster that is started for work. SHOAL_UNKNOWN: no Redis
 * is configured and there is no local cluster. */
SHOAL_MUST_CHECK
enum shoal_status shoal_use_begin(enum shoal_cluster_need need, const char *queue,
                                  int64_t slots, struct shoal_use *use,
                                  struct shoal_error *err);
/* The same for reading, of a Redis that may be unfit for a queue. */
SHOAL_MUST_CHECK
enum shoal_status shoal_use_look(struct shoal_use *use, struct shoal_error *err);
/* The last one to use a local cluster stops it. */
void shoal_use_end(struct shoal_use *use);

/* The job that a word names: "-" is the last one submitted here. */
SHOAL_MUST_CHECK
enum shoal_status shoal_use_find(struct shoal_use *use, const char *word, char *ret_id,
                                 struct shoal_error *err);

enum { SHOAL_LOOK_MOST = 10000 }; /* jobs that are looked at for those under way */

/* Says so when the worker of the local cluster has not the slots that were asked for,
 * since it ran already. */
void shoal_use_note_slots(const struct shoal_cluster *cluster, int64_t asked);

/* Says so when neither a job nor a worker has had to do with a queue: its name may be
 * mistyped. */
void shoal_use_note_queue(struct shoal_use *use, const char *queue);

/* Begins to use Redis for reading, finds the job of each word, and calls `each` with it.
 * Returns the exit status; the first that is not 0 ends it. */
int shoal_cli_each_job(int n, char **words,
                       enum shoal_status (*each)(struct shoal_use *use, const char *id,
                                                 struct shoal_error *err));

/* ---- printing */

/* A row of a list that is no task's, cleared. */
void shoal_list_row(struct shoal_row *row);

/* Says why a held job stands still, and what to do. */
void shoal_say_held(const struct shoal_job *job);

/* Says so if the job was set aside, since a key of it holds what is not shoal's; returns
 * whether it was. */
bool shoal_say_damaged(const struct shoal_job *job);

/* A table on stdout, or JSON lines with --json. */
SHOAL_MUST_CHECK
enum shoal_status shoal_list_table(struct shoal_table **ret_table,
                                   struct shoal_error *err);

/* The same for a single object: a line of JSON on stdout. */
void shoal_print_json(const struct shoal_row *row);

bool shoal_stdout_is_terminal(void);
bool shoal_stderr_is_terminal(void);
bool shoal_colour(void); /* stderr is a terminal and NO_COLOR is not set */

/* "2026-11-24T10:00:00Z" into 24 bytes; "" for 0. */
void shoal_time_print(int64_t ms, char *text);

/* Milliseconds for people, rounded: "450ms", "12s", "3m20s", "2h05m", "3d04h" into 24
 * bytes. */
void shoal_span_print(int64_t ms, char *text);

/* Appends a word as a shell reads it. */
void shoal_shell_quote(struct shoal_buffer *text, const char *word);

/* What a row of `status` and `list` says of a job, and its rate a second and what is left
 * in ms (-1: unknown). */
SHOAL_MUST_CHECK
enum shoal_status shoal_job_row(const struct shoal_job *job, struct shoal_row *row,
                                struct shoal_error *err);
double shoal_job_rate(const struct shoal_job *job);
int64_t shoal_job_left_ms(const struct shoal_job *job);

#endif
