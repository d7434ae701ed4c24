#include "common/option.h"

#include "common/buffer.h"
#include "common/cleanup.h"

#include <string.h>
#include <sys/ioctl.h>

enum { WIDTH = 80, WIDTH_LEAST = 40, WIDTH_MOST = 100, LEFT_MOST = 30, TEXT_MAX = 4096 };

/* What help calls the value where the row does not say. */
static const char *const arguments[] = {
    [SHOAL_OPTION_TEXT] = "TEXT",     [SHOAL_OPTION_NAME] = "NAME",
    [SHOAL_OPTION_INTEGER] = "N",     [SHOAL_OPTION_SIZE] = "SIZE",
    [SHOAL_OPTION_DURATION] = "TIME", [SHOAL_OPTION_LIST] = "TEXT",
    [SHOAL_OPTION_THOUSANDTHS] = "N",
};

/* What all options of a type have to say, once, at the end. */
static const struct {
    enum shoal_option_type type;
    const char *text;
} footers[] = {
    {SHOAL_OPTION_DURATION,
     "Times are written 250ms, 1.5s, 10m, 2h, 7d or 1w; a bare number is seconds."},
    {SHOAL_OPTION_SIZE,
     "Sizes are written 4096, 64k, 16M or 1G; a bare number is bytes."},
};

/* ---- the rows that are shown, one after the other */

struct cursor {
    const struct shoal_option *const *table;
    const struct shoal_option *option;
};

static struct cursor begin(const struct shoal_option *const *tables) {
    return (struct cursor){.table = tables, .option = *tables};
}

static const struct shoal_option *next(struct cursor *cursor) {
    while (*cursor->table != NULL) {
        const struct shoal_option *option = cursor->option;
        if (option->name == NULL) {
            cursor->option = *++cursor->table;
            continue;
        }
        cursor->option++;
        if (option->help != NULL)
            return option;
    }
    return NULL;
}

static const char *section_of(const struct shoal_option *option) {
    return option->section == NULL ? "Options" : option->section;
}

static bool opens_section(const struct shoal_option *const *tables,
                          const struct shoal_option *option) {
    struct cursor cursor = begin(tables);
    const struct shoal_option *other = next(&cursor);
    while (strcmp(section_of(other), section_of(option)) != 0)
        other = next(&cursor);
    return other == option;
}

static bool has_type(const struct shoal_option *const *tables,
                     enum shoal_option_type type) {
    struct cursor cursor = begin(tables);
    const struct shoal_option *option;
    while ((option = next(&cursor)) != NULL)
        if (option->type == type)
            return true;
    return false;
}

/* ---- what is said of a row */

static void add_choices(struct shoal_buffer *text, const struct shoal_option *option,
                        const char *separator) {
    for (size_t i = 0; option->choices[i] != NULL; i++)
        shoal_buffer_add_format(text, "%s%s", i == 0 ? "" : separator,
                                option->choices[i]);
}

/* " N" */
static void add_argument(struct shoal_buffer *text, const struct shoal_option *option) {
    if (option->type == SHOAL_OPTION_FLAG)
        return;
    shoal_buffer_add_char(text, ' ');
    if (option->argument != NULL) {
        shoal_buffer_add_text(text, option->argument);
        return;
    }
    if (option->type == SHOAL_OPTION_CHOICE)
        add_choices(text, option, "|");
    else
        shoal_buffer_add_text(text, arguments[option->type]);
}

static void add_bounds(struct shoal_buffer *notes, const struct shoal_option *option) {
    if (option->least != NULL && option->most != NULL)
        shoal_buffer_add_format(notes, "; %s to %s", option->least, option->most);
    else if (option->least != NULL)
        shoal_buffer_add_format(notes, "; at least %s", option->least);
    else if (option->most != NULL)
        shoal_buffer_add_format(notes, "; at most %s", option->most);
}

/* "how long it may be silent (1s to 1h; default: 8s; environment: SHOAL_TTL)" */
static void add_description(struct shoal_buffer *text,
                            const struct shoal_option *option) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer notes;
    shoal_buffer_init(&notes, TEXT_MAX);
    if (option->type == SHOAL_OPTION_LIST)
        shoal_buffer_add_text(&notes, "; repeatable");
    if (option->type == SHOAL_OPTION_CHOICE && option->argument != NULL) {
        shoal_buffer_add_text(&notes, "; ");
        add_choices(&notes, option, ", ");
    }
    add_bounds(&notes, option);
    if (option->fallback != NULL && *option->fallback != '\0')
        shoal_buffer_add_format(&notes, "; default: %s", option->fallback);
    if (option->environment != NULL)
        shoal_buffer_add_format(&notes, "; environment: %s", option->environment);
    shoal_buffer_add_text(text, option->help);
    if (notes.len > 0)
        shoal_buffer_add_format(text, " (%s)", shoal_buffer_text(&notes) + strlen("; "));
}

/* ---- help */

/* "  -n, --slots N" */
static void add_left(struct shoal_buffer *text, const struct shoal_option *option) {
    if (option->letter != 0)
        shoal_buffer_add_format(text, "  -%c, --%s", option->letter, option->name);
    else
        shoal_buffer_add_format(text, "      --%s", option->name);
    add_argument(text, option);
}

static size_t left_width(const struct shoal_option *const *tables) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer left;
    shoal_buffer_init(&left, TEXT_MAX);
    size_t width = 0;
    struct cursor cursor = begin(tables);
    const struct shoal_option *option;
    while ((option = next(&cursor)) != NULL) {
        shoal_buffer_clear(&left);
        add_left(&left, option);
        if (left.len > width && left.len <= LEFT_MOST)
            width = left.len;
    }
    return width;
}

static size_t terminal_width(FILE *out) {
    struct winsize size = {0};
    int fd = fileno(out);
    if (fd < 0 || ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return WIDTH;
    if (size.ws_col < WIDTH_LEAST)
        return WIDTH_LEAST;
    return size.ws_col > WIDTH_MOST ? WIDTH_MOST : size.ws_col;
}

/* Prints words from column `at` on, in lines that begin at `indent` and end before
 * `width`. */
static void print_wrapped(FILE *out, const char *text, size_t at, size_t indent,
                          size_t width) {
    size_t column = at;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column > indent && column + 1 + len > width) {
            fputc('\n', out);
            column = 0;
        }
        size_t gap = column < indent ? indent - column : column > indent;
        fprintf(out, "%*s%.*s", (int)gap, "", (int)len, text);
        column += gap + len;
        text += len + strspn(text + len, " ");
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const struct shoal_option *option, size_t indent,
                      size_t width) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, TEXT_MAX);
    add_left(&text, option);
    fputs(shoal_buffer_text(&text), out);
    size_t column = text.len;
    if (column + 2 > indent) {
        fputc('\n', out);
        column = 0;
    }
    shoal_buffer_clear(&text);
    add_description(&text, option);
    print_wrapped(out, shoal_buffer_text(&text), column, indent, width);
}

static void help_section(const struct shoal_option *const *tables, const char *section,
                         FILE *out) {
    size_t indent = left_width(tables) + 2, width = terminal_width(out);
    fprintf(out, "%s:\n", section);
    struct cursor cursor = begin(tables);
    const struct shoal_option *option;
    while ((option = next(&cursor)) != NULL)
        if (strcmp(section_of(option), section) == 0)
            print_row(out, option, indent, width);
}

void shoal_options_help(const struct shoal_option *const *tables, FILE *out) {
    const char *separator = "";
    struct cursor cursor = begin(tables);
    const struct shoal_option *option;
    while ((option = next(&cursor)) != NULL) {
        if (opens_section(tables, option)) {
            fputs(separator, out);
            help_section(tables, section_of(option), out);
            separator = "\n";
        }
    }
    for (size_t i = 0; i < SHOAL_COUNT(footers); i++) {
        if (has_type(tables, footers[i].type)) {
            fputs(separator, out);
            print_wrapped(out, footers[i].text, 0, 0, terminal_width(out));
            separator = "";
        }
    }
}

/* ---- man pages */

/* roff reads '-' as a hyphen, a line's leading '.' or '\'' as a macro, and '\\' as an
 * escape. */
static void print_roff(FILE *out, const char *text) {
    static const char *const escapes[] = {
        ['-'] = "\\-", ['\\'] = "\\e", ['\''] = "\\(aq", ['^'] = "\\(ha", ['~'] = "\\(ti",
    };
    if (*text == '.')
        fputs("\\&", out);
    for (const char *at = text; *at != '\0'; at++) {
        size_t c = (unsigned char)*at;
        if (c < SHOAL_COUNT(escapes) && escapes[c] != NULL)
            fputs(escapes[c], out);
        else
            fputc(*at, out);
    }
}

static void man_row(const struct shoal_option *option, FILE *out) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, TEXT_MAX);
    fputs(".TP\n", out);
    if (option->letter != 0)
        fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB\\-\\-", out);
    print_roff(out, option->name);
    fputs("\\fI", out);
    add_argument(&text, option);
    print_roff(out, shoal_buffer_text(&text));
    fputs("\\fR\n", out);
    shoal_buffer_clear(&text);
    add_description(&text, option);
    if (text.len > 0 && text.data[0] >= 'a' && text.data[0] <= 'z')
        text.data[0] = (char)(text.data[0] - 'a' + 'A');
    print_roff(out, shoal_buffer_text(&text));
    fputs(".\n", out);
}

static void man_section(const struct shoal_option *const *tables,
                        const struct shoal_option *first, FILE *out) {
    if (first->section != NULL) {
        fputs(".PP\n.B ", out);
        print_roff(out, first->section);
        fputc('\n', out);
    }
    struct cursor cursor = begin(tables);
    const struct shoal_option *option;
    while ((option = next(&cursor)) != NULL)
        if (strcmp(section_of(option), section_of(first)) == 0)
            man_row(option, out);
}

void shoal_options_man(const struct shoal_option *const *tables, FILE *out) {
    struct cursor cursor = begin(tables);
    const struct shoal_option *option;
    while ((option = next(&cursor)) != NULL)
        if (opens_section(tables, option))
            man_section(tables, option, out);
    for (size_t i = 0; i < SHOAL_COUNT(footers); i++) {
        if (has_type(tables, footers[i].type)) {
            fputs(".PP\n", out);
            print_roff(out, footers[i].text);
            fputc('\n', out);
        }
    }
}
