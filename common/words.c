/* The words of a command, with what stands in braces replaced. */
#include "common/spec.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COMMAND_MAX = 2 << 20 };

static bool begins_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The length of the bare name at `text`; *ret_is_name is false for none, but the empty
 * name is one when lines are the arguments. */
static size_t name_length(const char *text, enum shoal_arguments arguments,
                          bool *ret_is_name) {
    size_t len = 0;
    if (begins_name(text[0])) {
        while (begins_name(text[len]) || (text[len] >= '0' && text[len] <= '9'))
            len++;
    }
    *ret_is_name = len > 0 || arguments == SHOAL_ARGUMENTS_LINE;
    return len;
}

static bool is(const char *name, size_t len, const char *word) {
    return strlen(word) == len && memcmp(name, word, len) == 0;
}

/* What every task has besides its parameters. */
static bool add_fixed(const struct shoal_task *task, const char *name, size_t len,
                      struct shoal_buffer *text) {
    if (is(name, len, "rep"))
        shoal_buffer_add_format(text, "%" PRId64, task->parameters->repetition);
    else if (is(name, len, "seed"))
        shoal_buffer_add_format(text, "%" PRIu64, task->seed);
    else if (is(name, len, "seed31"))
        shoal_buffer_add_format(text, "%" PRIu64, task->seed >> 32);
    else if (is(name, len, "task"))
        shoal_buffer_add_format(text, "%" PRId64, task->index);
    else if (is(name, len, "job"))
        shoal_buffer_add_text(text, task->job);
    else
        return false;
    return true;
}

static bool add_parameter(const struct shoal_parameters *parameters, const char *name,
                          size_t len, struct shoal_buffer *text) {
    for (size_t i = 0; i < parameters->n; i++) {
        if (is(name, len, parameters->names[i])) {
            shoal_buffer_add_text(text, parameters->values[i]);
            return true;
        }
    }
    return false;
}

static enum shoal_status unknown(const struct shoal_parameters *parameters,
                                 const char *word, const char *name, size_t len,
                                 struct shoal_error *err) {
    struct shoal_buffer known;
    shoal_buffer_init(&known, 200);
    for (size_t i = 0; i < parameters->n; i++)
        shoal_buffer_add_format(
            &known, "%s, ", *parameters->names[i] == '\0' ? "{}" : parameters->names[i]);
    int shown = (int)(len < SHOAL_NAME_MAX ? len : SHOAL_NAME_MAX);
    enum shoal_status status = shoal_error_set(
        err, SHOAL_INVALID,
        "'%.60s' has {%.*s}, which is no parameter (known: %srep, seed, seed31, task, "
        "job); write {{%.*s}} where a literal {%.*s} is meant",
        word, shown, name, shoal_buffer_text(&known), shown, name, shown, name);
    shoal_buffer_finish(&known);
    return status;
}

/* What stands at a '{': *ret_len bytes of the word are done then. */
static enum shoal_status expand_brace(const char *word, const char *at,
                                      enum shoal_arguments arguments,
                                      const struct shoal_task *task,
                                      struct shoal_buffer *text, size_t *ret_len,
                                      struct shoal_error *err) {
    bool named = false;
    size_t len = 0;
    if (at[1] == '{') {
        len = name_length(at + 2, arguments, &named);
        if (named && at[2 + len] == '}' && at[3 + len] == '}') {
            shoal_buffer_add(text, at + 1, len + 2);
            *ret_len = len + 4;
            return SHOAL_OK;
        }
    }
    len = name_length(at + 1, arguments, &named);
    if (!named || at[1 + len] != '}') {
        shoal_buffer_add_char(text, '{');
        *ret_len = 1;
        return SHOAL_OK;
    }
    *ret_len = len + 2;
    if (add_parameter(task->parameters, at + 1, len, text) ||
        add_fixed(task, at + 1, len, text))
        return SHOAL_OK;
    return unknown(task->parameters, word, at + 1, len, err);
}

enum shoal_status shoal_word_expand(const char *word, enum shoal_arguments arguments,
                                    const struct shoal_task *task,
                                    struct shoal_buffer *text, struct shoal_error *err) {
    for (const char *at = word; *at != '\0';) {
        size_t plain = strcspn(at, "{");
        bool shell = plain > 0 && at[plain - 1] == '$';
        if (at[plain] == '{' && shell)
            plain++;
        shoal_buffer_add(text, at, plain);
        at += plain;
        if (*at != '{' || shell)
            continue;
        size_t len = 1;
        enum shoal_status status =
            expand_brace(word, at, arguments, task, text, &len, err);
        if (status != SHOAL_OK)
            return status;
        at += len;
    }
    return SHOAL_OK;
}

/* What tries one task of a runner that stays: its words, and behind them the task. */
static void add_trial(const struct shoal_task *task, struct shoal_buffer *text) {
    const struct shoal_parameters *parameters = task->parameters;
    shoal_buffer_add_format(
        text, "--try%c--index=%" PRId64 "%c--seed=%" PRIu64 "%c--rep=%" PRId64 "%c", 0,
        task->index, 0, task->seed, 0, parameters->repetition, 0);
    for (size_t i = 0; i < parameters->n; i++)
        shoal_buffer_add_format(text, "%s=%s%c", parameters->names[i],
                                parameters->values[i], 0);
}

static enum shoal_status add_words(const struct shoal_spec *spec,
                                   const struct shoal_task *task,
                                   struct shoal_buffer *text, struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < spec->words && status == SHOAL_OK; i++) {
        if (spec->stays)
            shoal_buffer_add_text(text, spec->command[i]);
        else
            status =
                shoal_word_expand(spec->command[i], spec->arguments, task, text, err);
        shoal_buffer_add_char(text, '\0');
    }
    if (spec->stays)
        add_trial(task, text);
    return status == SHOAL_OK ? shoal_buffer_check(text, "the command", err) : status;
}

/* The words in `text`, each with its NUL, behind pointers to them; one block. */
static char **to_block(const struct shoal_buffer *text) {
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++)
        n += text->data[i] == '\0';
    size_t pointers = (n + 1) * sizeof(char *);
    char **argv = malloc(pointers + text->len);
    if (argv == NULL)
        return NULL;
    char *at = (char *)argv + pointers;
    memcpy(at, text->data, text->len);
    for (size_t i = 0; i < n; i++) {
        argv[i] = at;
        at += strlen(at) + 1;
    }
    argv[n] = NULL;
    return argv;
}

enum shoal_status shoal_spec_expand(const struct shoal_spec *spec,
                                    const struct shoal_task *task, char ***ret_argv,
                                    struct shoal_error *err) {
    struct shoal_buffer text;
    shoal_buffer_init(&text, COMMAND_MAX);
    enum shoal_status status = add_words(spec, task, &text, err);
    char **argv = status == SHOAL_OK ? to_block(&text) : NULL;
    shoal_buffer_finish(&text);
    if (status == SHOAL_OK && argv == NULL)
        status = shoal_error_set(err, SHOAL_MEMORY, "no memory for a command");
    if (status == SHOAL_OK)
        *ret_argv = argv;
    return status;
}
