#include "common/option.h"

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/id.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- one value: text -> *option->value. `what` is how the sentence calls it. */

static enum shoal_status set_flag(const struct shoal_option *option, const char *text,
                                  const char *what, struct shoal_error *err) {
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        {"1", true},  {"true", true},   {"yes", true}, {"on", true},
        {"0", false}, {"false", false}, {"no", false}, {"off", false},
    };
    for (size_t i = 0; i < SHOAL_COUNT(words); i++) {
        if (strcmp(text, words[i].word) == 0) {
            *(bool *)option->value = words[i].value;
            return SHOAL_OK;
        }
    }
    return shoal_error_set(err, SHOAL_INVALID, "%s '%.100s' is neither yes nor no", what,
                           text);
}

static enum shoal_status set_text(const struct shoal_option *option, const char *text,
                                  const char *what SHOAL_UNUSED,
                                  struct shoal_error *err SHOAL_UNUSED) {
    *(const char **)option->value = text;
    return SHOAL_OK;
}

static enum shoal_status set_name(const struct shoal_option *option, const char *text,
                                  const char *what, struct shoal_error *err) {
    if (!shoal_name_is_valid(text))
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s '%.100s' is not a name: 1 to %d letters, digits, '_', "
                               "'.' or '-', not beginning with '.' or '-'",
                               what, text, SHOAL_NAME_MAX);
    *(const char **)option->value = text;
    return SHOAL_OK;
}

static enum shoal_status read_number(const struct shoal_option *option, const char *text,
                                     const char *what, int64_t *ret_value,
                                     struct shoal_error *err) {
    if (option->type == SHOAL_OPTION_DURATION)
        return shoal_duration_parse(text, what, ret_value, err);
    if (option->type == SHOAL_OPTION_SIZE)
        return shoal_size_parse(text, what, ret_value, err);
    if (option->type == SHOAL_OPTION_THOUSANDTHS)
        return shoal_thousandths_parse(text, what, ret_value, err);
    return shoal_integer_parse(text, what, INT64_MIN, INT64_MAX, ret_value, err);
}

static int64_t bound(const struct shoal_option *option, const char *text, int64_t none) {
    int64_t value = none;
    enum shoal_status status =
        text == NULL ? SHOAL_OK : read_number(option, text, option->name, &value, NULL);
    assert(status == SHOAL_OK);
    return value;
}

static enum shoal_status set_number(const struct shoal_option *option, const char *text,
                                    const char *what, struct shoal_error *err) {
    int64_t least = bound(option, option->least, INT64_MIN);
    int64_t most = bound(option, option->most, INT64_MAX);
    if (option->type == SHOAL_OPTION_INTEGER)
        return shoal_integer_parse(text, what, least, most, option->value, err);
    int64_t value = 0;
    enum shoal_status status = read_number(option, text, what, &value, err);
    if (status != SHOAL_OK)
        return status;
    if (value < least)
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s '%.100s' is too small, the least is %s", what, text,
                               option->least);
    if (value > most)
        return shoal_error_set(err, SHOAL_INVALID,
                               "%s '%.100s' is too large, the most is %s", what, text,
                               option->most);
    *(int64_t *)option->value = value;
    return SHOAL_OK;
}

static enum shoal_status set_choice(const struct shoal_option *option, const char *text,
                                    const char *what, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer words;
    shoal_buffer_init(&words, sizeof(err->text));
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(text, option->choices[i]) == 0) {
            *(int *)option->value = i;
            return SHOAL_OK;
        }
        shoal_buffer_add_format(&words, "%s%s", i == 0 ? "" : ", ", option->choices[i]);
    }
    return shoal_error_set(err, SHOAL_INVALID, "%s '%.100s' is not one of %s", what, text,
                           shoal_buffer_text(&words));
}

static enum shoal_status add_to_list(const struct shoal_option *option, const char *text,
                                     const char *what, struct shoal_error *err) {
    struct shoal_option_list *list = option->value;
    const char **items = realloc(list->items, (list->n + 1) * sizeof(*items));
    if (items == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory left for %s", what);
    items[list->n] = text;
    list->items = items;
    list->n++;
    return SHOAL_OK;
}

static const struct {
    size_t size;
    enum shoal_status (*set)(const struct shoal_option *option, const char *text,
                             const char *what, struct shoal_error *err);
} types[] = {
    [SHOAL_OPTION_FLAG] = {sizeof(bool), set_flag},
    [SHOAL_OPTION_TEXT] = {sizeof(const char *), set_text},
    [SHOAL_OPTION_NAME] = {sizeof(const char *), set_name},
    [SHOAL_OPTION_INTEGER] = {sizeof(int64_t), set_number},
    [SHOAL_OPTION_SIZE] = {sizeof(int64_t), set_number},
    [SHOAL_OPTION_THOUSANDTHS] = {sizeof(int64_t), set_number},
    [SHOAL_OPTION_DURATION] = {sizeof(int64_t), set_number},
    [SHOAL_OPTION_CHOICE] = {sizeof(int), set_choice},
    [SHOAL_OPTION_LIST] = {sizeof(struct shoal_option_list), add_to_list},
};

/* ---- the tables as one array of rows */

struct row {
    const struct shoal_option *option;
    bool seen; /* on the command line */
};

struct parser {
    struct row *rows;
    size_t n;
    const char *program;
    struct shoal_error *err;
};

static size_t count_rows(const struct shoal_option *const *tables) {
    size_t n = 0;
    for (; *tables != NULL; tables++)
        for (const struct shoal_option *option = *tables; option->name != NULL; option++)
            n++;
    return n;
}

static enum shoal_status collect_rows(struct parser *parser,
                                      const struct shoal_option *const *tables) {
    size_t n = count_rows(tables);
    parser->rows = calloc(n + 1, sizeof(*parser->rows));
    if (parser->rows == NULL)
        return shoal_error_set(parser->err, SHOAL_MEMORY,
                               "no memory left for the options");
    for (; *tables != NULL; tables++)
        for (const struct shoal_option *option = *tables; option->name != NULL; option++)
            parser->rows[parser->n++].option = option;
    return SHOAL_OK;
}

static void free_rows(struct parser *parser) {
    free(parser->rows);
}

/* Every sentence ends with where to read on. */
static enum shoal_status fail(const struct parser *parser,
                              const struct shoal_error *cause) {
    return shoal_error_set(parser->err, cause->status, "%s; see '%s --help'", cause->text,
                           parser->program);
}

static enum shoal_status set(const struct parser *parser,
                             const struct shoal_option *option, const char *text,
                             const char *what) {
    struct shoal_error cause = {0};
    if (types[option->type].set(option, text, what, &cause) != SHOAL_OK)
        return fail(parser, &cause);
    if (option->given != NULL)
        *option->given = true;
    return SHOAL_OK;
}

static enum shoal_status set_from_word(const struct parser *parser, struct row *row,
                                       const char *text) {
    char what[80];
    snprintf(what, sizeof(what), "--%s", row->option->name);
    row->seen = true;
    return set(parser, row->option, text, what);
}

static void set_fallbacks(const struct parser *parser) {
    for (size_t i = 0; i < parser->n; i++) {
        const struct shoal_option *option = parser->rows[i].option;
        memset(option->value, 0, types[option->type].size);
        if (option->given != NULL)
            *option->given = false;
        if (option->fallback != NULL) {
            enum shoal_status status =
                types[option->type].set(option, option->fallback, option->name, NULL);
            assert(status == SHOAL_OK || status == SHOAL_MEMORY);
        }
    }
}

static enum shoal_status set_from_environment(const struct parser *parser) {
    for (size_t i = 0; i < parser->n; i++) {
        const struct shoal_option *option = parser->rows[i].option;
        const char *text =
            option->environment == NULL ? NULL : getenv(option->environment);
        if (parser->rows[i].seen || text == NULL || *text == '\0')
            continue;
        enum shoal_status status = set(parser, option, text, option->environment);
        if (status != SHOAL_OK)
            return status;
    }
    return SHOAL_OK;
}

/* ---- finding a row */

enum { NAME_MAX_LEN = 64 };

static size_t least_of(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* The number of letters to insert, delete or replace (Levenshtein). */
static size_t distance(const char *a, const char *b) {
    size_t len = strlen(b), row[NAME_MAX_LEN + 1];
    if (len > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= len; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            size_t above = row[j];
            row[j] =
                least_of(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[len];
}

/* The visible option whose name is most like `name`; NULL when none is close. */
static const struct shoal_option *nearest(const struct parser *parser, const char *name) {
    const struct shoal_option *best = NULL;
    size_t least = (strlen(name) + 1) / 3 + 1;
    for (size_t i = 0; i < parser->n; i++) {
        const struct shoal_option *option = parser->rows[i].option;
        size_t far = option->help == NULL ? SIZE_MAX : distance(name, option->name);
        if (far < least) {
            least = far;
            best = option;
        }
    }
    return best;
}

static enum shoal_status unknown(const struct parser *parser, const char *word,
                                 const char *name) {
    struct shoal_error cause = {0};
    const struct shoal_option *option = nearest(parser, name);
    if (option == NULL)
        shoal_error_set(&cause, SHOAL_INVALID, "there is no option '%.100s'", word);
    else
        shoal_error_set(&cause, SHOAL_INVALID,
                        "there is no option '%.100s', perhaps '--%s' is meant", word,
                        option->name);
    return fail(parser, &cause);
}

/* Finds a long name or its only visible continuation. */
static enum shoal_status find_long(const struct parser *parser, const char *name,
                                   struct row **ret_row) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer found;
    shoal_buffer_init(&found, 256);
    size_t n = 0, len = strlen(name);
    for (size_t i = 0; i < parser->n; i++) {
        const struct shoal_option *option = parser->rows[i].option;
        if (strcmp(option->name, name) == 0) {
            *ret_row = &parser->rows[i];
            return SHOAL_OK;
        }
        if (option->help != NULL && strncmp(option->name, name, len) == 0) {
            *ret_row = &parser->rows[i];
            shoal_buffer_add_format(&found, "%s--%s", n++ == 0 ? "" : ", ", option->name);
        }
    }
    if (n == 1)
        return SHOAL_OK;
    char word[128];
    snprintf(word, sizeof(word), "--%s", name);
    if (n == 0)
        return unknown(parser, word, name);
    struct shoal_error cause = {0};
    shoal_error_set(&cause, SHOAL_INVALID, "option '%.100s' could be any of %s", word,
                    shoal_buffer_text(&found));
    return fail(parser, &cause);
}

static struct row *find_letter(const struct parser *parser, char letter) {
    for (size_t i = 0; i < parser->n; i++)
        if (parser->rows[i].option->letter == letter)
            return &parser->rows[i];
    return NULL;
}

/* ---- words of the command line */

/* `text` is what stands in the same word, `next` the word after it; *ret_used counts the
 * words. */
static enum shoal_status take_value(const struct parser *parser, struct row *row,
                                    const char *text, const char *next, int *ret_used) {
    if (text == NULL && next == NULL) {
        struct shoal_error cause = {0};
        shoal_error_set(&cause, SHOAL_INVALID, "--%s needs a value", row->option->name);
        return fail(parser, &cause);
    }
    *ret_used = text == NULL ? 2 : 1;
    return set_from_word(parser, row, text == NULL ? next : text);
}

static enum shoal_status take_long(const struct parser *parser, const char *word,
                                   const char *next, int *ret_used) {
    size_t len = strcspn(word + 2, "=");
    const char *text = word[2 + len] == '=' ? word + 2 + len + 1 : NULL;
    char name[NAME_MAX_LEN + 1]; /* no option's name is longer */
    snprintf(name, sizeof(name), "%.*s", (int)(len < NAME_MAX_LEN ? len : NAME_MAX_LEN),
             word + 2);
    struct row *row = NULL;
    enum shoal_status status = find_long(parser, name, &row);
    if (status != SHOAL_OK)
        return status;
    if (row->option->type != SHOAL_OPTION_FLAG)
        return take_value(parser, row, text, next, ret_used);
    if (text == NULL)
        return set_from_word(parser, row, "yes");
    struct shoal_error cause = {0};
    shoal_error_set(&cause, SHOAL_INVALID, "--%s takes no value, and has '%.100s'",
                    row->option->name, text);
    return fail(parser, &cause);
}

static enum shoal_status take_letters(const struct parser *parser, const char *word,
                                      const char *next, int *ret_used) {
    for (const char *at = word + 1; *at != '\0'; at++) {
        struct row *row = find_letter(parser, *at);
        if (row == NULL)
            return unknown(parser, word, word + 1);
        if (row->option->type != SHOAL_OPTION_FLAG)
            return take_value(parser, row, at[1] == '\0' ? NULL : at + 1, next, ret_used);
        enum shoal_status status = set_from_word(parser, row, "yes");
        if (status != SHOAL_OK)
            return status;
    }
    return SHOAL_OK;
}

static enum shoal_status take_option(const struct parser *parser, const char *word,
                                     const char *next, int *ret_used) {
    *ret_used = 1;
    if (strcmp(word, "--") == 0)
        return SHOAL_OK;
    return word[1] == '-' ? take_long(parser, word, next, ret_used)
                          : take_letters(parser, word, next, ret_used);
}

/* Moves `n` (1 or 2) words from `at` to `to`, and what was between behind them. */
static void move_words(char **argv, int to, int at, int n) {
    char *moved[2] = {argv[at], argv[at + n - 1]};
    memmove(argv + to + n, argv + to, (size_t)(at - to) * sizeof(*argv));
    memcpy(argv + to, moved, (size_t)n * sizeof(*argv));
}

static enum shoal_status take_words(const struct parser *parser, int argc, char **argv,
                                    bool stop_at_word, int *ret_rest) {
    int first = 1; /* of the words that are no options */
    for (int at = 1; at < argc;) {
        char *word = argv[at], *next = at + 1 < argc ? argv[at + 1] : NULL;
        if (word[0] != '-' || word[1] == '\0') {
            if (stop_at_word)
                break;
            at++;
            continue;
        }
        int used = 1;
        enum shoal_status status = take_option(parser, word, next, &used);
        if (status != SHOAL_OK)
            return status;
        move_words(argv, first, at, used);
        first += used;
        at += used;
        if (strcmp(word, "--") == 0)
            break;
    }
    *ret_rest = first;
    return SHOAL_OK;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

enum shoal_status shoal_options_parse(const struct shoal_option *const *tables, int argc,
                                      char **argv, bool stop_at_word, int *ret_rest,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(free_rows)
    struct parser parser = {.program = argc > 0 ? base_name(argv[0]) : "", .err = err};
    enum shoal_status status = collect_rows(&parser, tables);
    if (status != SHOAL_OK)
        return status;
    set_fallbacks(&parser);
    int rest = argc;
    status = take_words(&parser, argc, argv, stop_at_word, &rest);
    if (status == SHOAL_OK)
        status = set_from_environment(&parser);
    if (status == SHOAL_OK)
        *ret_rest = rest;
    return status;
}

void shoal_options_finish(const struct shoal_option *const *tables) {
    for (; *tables != NULL; tables++) {
        for (const struct shoal_option *option = *tables; option->name != NULL;
             option++) {
            if (option->type != SHOAL_OPTION_LIST)
                continue;
            struct shoal_option_list *list = option->value;
            free(list->items);
            *list = (struct shoal_option_list){0};
        }
    }
}
