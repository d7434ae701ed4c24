/* A line is put together on the stack and written with one write(2), so that the lines of
 * several processes on one stderr stay whole. Whatever bytes come in, what goes out is
 * UTF-8 without control characters, and valid JSON if that is the format. A sentence that
 * is too long is cut with a mark, a pair that does not fit is left out. */
#include "common/log.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_MAX_LEN = 4096,
    END = LINE_MAX_LEN - 2, /* leaves room for "}\n" */
    SENTENCE_END = 2560,    /* leaves room for pairs */
    PAIRS_MAX = 32,
};

static const char *const levels[] = {
    [SHOAL_LOG_ERROR] = "error",
    [SHOAL_LOG_WARN] = "warn",
    [SHOAL_LOG_INFO] = "info",
    [SHOAL_LOG_DEBUG] = "debug",
};

static struct {
    const char *program;
    enum shoal_log_level level;
    enum shoal_log_format format;
} config = {.program = "", .level = SHOAL_LOG_INFO};

void shoal_log_init(const char *program, enum shoal_log_level level,
                    enum shoal_log_format format) {
    config.program = program;
    config.level = level;
    config.format = format;
}

/* Characters inside a longer text. */
struct words {
    const char *text;
    size_t len;
};

static struct words words_of(const char *text) {
    return (struct words){text, strlen(text)};
}

/* ---- characters */

/* What may follow which first byte in UTF-8; all later bytes are 80 to bf. */
static const struct form {
    unsigned char first, last, second_least, second_most, len;
} forms[] = {
    {0x00, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* The length of the UTF-8 character that begins `text`; 0 where none does. */
static size_t character_length(const unsigned char *text, size_t len) {
    for (const struct form *form = forms; form < forms + SHOAL_COUNT(forms); form++) {
        if (text[0] < form->first || text[0] > form->last)
            continue;
        if (form->len > len)
            return 0;
        for (size_t i = 1; i < form->len; i++) {
            unsigned char least = i == 1 ? form->second_least : 0x80;
            unsigned char most = i == 1 ? form->second_most : 0xbf;
            if (text[i] < least || text[i] > most)
                return 0;
        }
        return form->len;
    }
    return 0;
}

/* How a character is written between quotes, unless it stands for itself. */
static bool needs_escape(const unsigned char *text, size_t len, char *escape,
                         size_t room) {
    if (len == 0)
        snprintf(escape, room, "\\ufffd");
    else if (*text == '"' || *text == '\\')
        snprintf(escape, room, "\\%c", *text);
    else if (*text == '\n')
        snprintf(escape, room, "\\n");
    else if (*text < 0x20 || *text == 0x7f)
        snprintf(escape, room, "\\u%04x", *text);
    else if (*text == 0xc2 && text[1] < 0xa0) /* the other control characters */
        snprintf(escape, room, "\\u%04x", text[1]);
    else
        return false;
    return true;
}

/* ---- the line */

struct line {
    char text[LINE_MAX_LEN];
    size_t len;
    bool full; /* something did not fit */
};

static void add_bytes(struct line *line, const char *bytes, size_t len, size_t end) {
    if (line->full || line->len + len > end) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->len, bytes, len);
    line->len += len;
}

static void add_text(struct line *line, const char *text) {
    add_bytes(line, text, strlen(text), END);
}

static void add_escaped(struct line *line, struct words words, size_t end) {
    for (size_t at = 0; at < words.len && !line->full;) {
        const unsigned char *text = (const unsigned char *)words.text + at;
        size_t len = character_length(text, words.len - at);
        char escape[8];
        if (needs_escape(text, len, escape, sizeof(escape)))
            add_bytes(line, escape, strlen(escape), end);
        else
            add_bytes(line, words.text + at, len, end);
        at += len == 0 ? 1 : len;
    }
}

static bool is_plain(struct words words) {
    for (size_t i = 0; i < words.len; i++) {
        char c = words.text[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return words.len > 0;
}

/* Adds name and value. What does not fit is cut if there is room behind `end`, else left
 * out. */
static void add_field(struct line *line, struct words name, struct words value,
                      size_t end) {
    bool json = config.format == SHOAL_LOG_JSON;
    const char *quote = json || !is_plain(value) ? "\"" : "";
    size_t before = line->len;
    add_text(line, json ? (before == 0 ? "{\"" : ",\"") : (before == 0 ? "" : " "));
    add_escaped(line, name, END);
    add_text(line, json ? "\":" : "=");
    add_text(line, quote);
    add_escaped(line, value, end);
    if (line->full && end < END) {
        line->full = false;
        add_text(line, "...");
    }
    add_text(line, quote);
    if (line->full) {
        line->len = before;
        line->full = false;
    }
}

/* ---- the sentence and its pairs */

struct pairs {
    struct words names[PAIRS_MAX], values[PAIRS_MAX];
    size_t n;
};

static bool is_same(struct words a, struct words b) {
    return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

/* Names that a line has anyway, or has already, would make it ambiguous. */
static bool is_taken(const struct pairs *pairs, struct words name) {
    static const char *const taken[] = {"time", "level", "program", "message"};
    for (size_t i = 0; i < SHOAL_COUNT(taken); i++)
        if (is_same(name, words_of(taken[i])))
            return true;
    for (size_t i = 0; i < pairs->n; i++)
        if (is_same(name, pairs->names[i]))
            return true;
    return false;
}

static bool add_pair(struct pairs *pairs, const char *text, size_t len) {
    size_t name_len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    struct words name = {text, name_len};
    if (name_len == 0 || name_len >= len || text[name_len] != '=' ||
        pairs->n == PAIRS_MAX || is_taken(pairs, name))
        return false;
    pairs->names[pairs->n] = name;
    pairs->values[pairs->n] = (struct words){text + name_len + 1, len - name_len - 1};
    pairs->n++;
    return true;
}

/* Takes the pairs apart; false if `text` is not all pairs. */
static bool read_pairs(const char *text, struct pairs *pairs) {
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (!add_pair(pairs, text, len))
            return false;
        text += len;
        text += *text == ' ';
    }
    return pairs->n > 0;
}

static const char *last_colon(const char *text) {
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, ": ")) != NULL; at++)
        last = at;
    return last;
}

/* Returns the sentence in front of the pairs. */
static struct words split(const char *text, struct pairs *pairs) {
    const char *colon = last_colon(text);
    pairs->n = 0;
    if (colon != NULL && read_pairs(colon + 2, pairs))
        return (struct words){text, (size_t)(colon - text)};
    pairs->n = 0;
    return words_of(text);
}

static void print_time(char *text, size_t room) {
    int64_t now = shoal_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    size_t len = strftime(text, room, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, room - len, ".%03dZ", (int)(now % 1000));
}

static void write_line(struct line *line) {
    if (config.format == SHOAL_LOG_JSON)
        line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
    ssize_t written;
    do {
        written = write(STDERR_FILENO, line->text, line->len);
    } while (written < 0 && errno == EINTR);
}

static void log_text(enum shoal_log_level level, const char *text) {
    struct line line = {.len = 0};
    struct pairs pairs;
    char time[40];
    print_time(time, sizeof(time));
    struct words sentence = split(text, &pairs);
    add_field(&line, words_of("time"), words_of(time), END);
    add_field(&line, words_of("level"), words_of(levels[level]), END);
    if (*config.program != '\0')
        add_field(&line, words_of("program"), words_of(config.program), END);
    add_field(&line, words_of("message"), sentence, SENTENCE_END);
    for (size_t i = 0; i < pairs.n; i++)
        add_field(&line, pairs.names[i], pairs.values[i], END);
    write_line(&line);
}

void shoal_log(enum shoal_log_level level, const char *format, ...) {
    if (level > config.level)
        return;
    int saved = errno;
    char text[LINE_MAX_LEN];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len >= (int)sizeof(text))
        memcpy(text + sizeof(text) - sizeof("..."), "...", sizeof("..."));
    log_text(level, text);
    errno = saved;
}
