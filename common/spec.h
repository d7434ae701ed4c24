/* What a job says it wants to be run: parsed, checked, written as JSON.
 *
 * The JSON is stored once in Redis for all jobs that are alike, is never looked into by a
 * script, and holds nothing that differs between two submissions of the same thing (no
 * seed, no id):
 *
 *   {"version": 1, "command": ["./sir", "--beta", "{beta}"], "directory":
 * "/home/me/work", "environment": {"K": "V"}, "timeout_ms": 0, "grace_ms": 10000,
 * "result_max": 65536, "arguments": "none" | "line" | "fields", "columns": ["x", "y"],
 * "sweep": {…}}
 *
 * and "runner": "host" when the command is a runner that stays, "limits": {"memory":
 * bytes, "millicpus": thousandths of a core, "processes": number, "file_size": bytes}
 * with those that are set, when any is, "checkpoint": true when a task keeps a directory
 * over its attempts and may ask to go on from it, "warning": "USR1@1m" when it is told so
 * long before its timeout.
 *
 * A task's parameters are the sweep's at its index ("none"), or an explicit argument
 * stored with the job: a line as it is, put where "{}" stands ("line"), or a JSON object
 * of names and scalar values ("fields", whose names `columns` lists). With explicit
 * arguments the sweep has no parameters, and its repetitions say how often each argument
 * was stored in a row. */
#ifndef SHOAL_SPEC_H
#define SHOAL_SPEC_H

#include "common/limits.h"
#include "common/sweep.h"
#include "common/warning.h"

enum shoal_arguments {
    SHOAL_ARGUMENTS_NONE,
    SHOAL_ARGUMENTS_LINE,
    SHOAL_ARGUMENTS_FIELDS
};

/* What a task with a checkpoint exits with, or returns, to be started again from it. */
enum { SHOAL_CONTINUE_CODE = 85 };

enum {
    SHOAL_SPEC_MAX = 1 << 20, /* bytes of the JSON */
    SHOAL_WORDS_MAX = 4096,   /* words of a command */
    SHOAL_RESULT_MAX = 65536, /* bytes of one task's result unless said otherwise */
    SHOAL_RESULT_MOST = 16 << 20,
};

struct shoal_spec {
    char **command; /* NULL behind the last word */
    size_t words;
    bool stays; /* the command is a runner that stays and runs many tasks, by the protocol
                   in worker/README.md; its words hold no {name} */
    char *directory;    /* absolute */
    char **environment; /* "NAME=VALUE", NULL behind the last; may be NULL when there is
                           none */
    int64_t timeout_ms; /* 0: none */
    int64_t grace_ms;
    int64_t result_max;
    struct shoal_limits limits;
    bool checkpoint;
    struct shoal_warning warning;
    enum shoal_arguments arguments;
    char **columns; /* of "fields", NULL behind the last; else NULL */
    struct shoal_sweep *sweep;
};

void shoal_spec_init(struct shoal_spec *spec);
void shoal_spec_finish(struct shoal_spec *spec);
void shoal_spec_cleanup(struct shoal_spec *spec);

/* The whole spec from JSON that may be garbage (SHOAL_GARBAGE), and back. The text is the
 * caller's: free(). Equal specs give equal text. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spec_read(const char *json, size_t len,
                                  struct shoal_spec *ret_spec, struct shoal_error *err);
SHOAL_MUST_CHECK
enum shoal_status shoal_spec_write(const struct shoal_spec *spec, char **ret_json,
                                   struct shoal_error *err);

/* Whether the spec can be submitted: a command with a first word, UTF-8 without NULs,
 * every {name} known (else SHOAL_INVALID; the sentence names the word and suggests
 * "{{name}}"), an absolute directory, bounds. */
SHOAL_MUST_CHECK
enum shoal_status shoal_spec_check(const struct shoal_spec *spec,
                                   struct shoal_error *err);

/* Limits: whether any is set; bounds (else SHOAL_INVALID); from JSON that may be garbage
 * (false) or not there (NULL: none are set), and back (a new reference, NULL without
 * memory); in words: "memory 512M, cpus 0.5". */
bool shoal_limits_are_set(const struct shoal_limits *of);
SHOAL_MUST_CHECK
enum shoal_status shoal_limits_check(const struct shoal_limits *of,
                                     struct shoal_error *err);
SHOAL_MUST_CHECK
bool shoal_limits_read(const json_t *json, struct shoal_limits *ret_limits);
json_t *shoal_limits_write(const struct shoal_limits *of);
void shoal_limits_print(const struct shoal_limits *of, struct shoal_buffer *text);

/* Names and values of one task: the sweep's parameters, or the argument's fields, or for
 * a line one parameter without a name (""). `rep` is not among them. */
struct shoal_parameters {
    size_t n;
    char **names;
    char **values;
    int64_t repetition;
    char *block; /* what names and values point into */
};

/* `argument` and `len`: the task's explicit argument, NULL and 0 without one.
 * SHOAL_GARBAGE: the argument is not what the spec says, or a value has a NUL. A number
 * in a JSON argument is written as it reads shortest, true and false as such, null as the
 * empty string. */
SHOAL_MUST_CHECK
enum shoal_status shoal_parameters_make(const struct shoal_spec *spec, int64_t index,
                                        const char *argument, size_t len,
                                        struct shoal_parameters *ret_parameters,
                                        struct shoal_error *err);
void shoal_parameters_finish(struct shoal_parameters *parameters);
void shoal_parameters_cleanup(struct shoal_parameters *parameters);

/* One task about to be run. */
struct shoal_task {
    const char *job;
    int64_t index;
    uint64_t seed; /* shoal_task_seed(job's seed, index) */
    const struct shoal_parameters *parameters;
};

/* The command's words for a task: in each word {name}, {rep}, {seed}, {seed31} (the
 * seed's upper 31 bits: seed >> 32), {task}, {job} and, with line arguments, {} are
 * replaced wherever they stand; "{{name}}" becomes "{name}" ("{{}}" becomes "{}" with
 * line arguments); "${…}" and braces around anything else stay, so that "{{{x}}}" becomes
 * "{{x}}". Of a runner that stays these are the words with which a person tries the task:
 * the command, --try, --index, --seed, --rep, and NAME=VALUE for each parameter. The
 * array ends with NULL and is one malloc'ed block: free(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_spec_expand(const struct shoal_spec *spec,
                                    const struct shoal_task *task, char ***ret_argv,
                                    struct shoal_error *err);

/* Appends one expanded word; SHOAL_INVALID for an unknown {name}. */
SHOAL_MUST_CHECK
enum shoal_status shoal_word_expand(const char *word, enum shoal_arguments arguments,
                                    const struct shoal_task *task,
                                    struct shoal_buffer *text, struct shoal_error *err);

#endif
