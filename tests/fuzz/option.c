/* A command line, a word a line, against a table with an option of each type. */
#include "common/option.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

enum { WORDS_MAX = 64 };

static bool flag, other;
static const char *text, *name;
static int64_t number, bytes, span;
static int choice;
static struct shoal_option_list list;
static const char *const choices[] = {"red", "green", "blue", NULL};

static const struct shoal_option options[] = {
    {.name = "flag",
     .letter = 'f',
     .type = SHOAL_OPTION_FLAG,
     .value = &flag,
     .help = "a"},
    {.name = "flat",
     .letter = 'F',
     .type = SHOAL_OPTION_FLAG,
     .value = &other,
     .help = "b"},
    {.name = "text",
     .letter = 't',
     .type = SHOAL_OPTION_TEXT,
     .value = &text,
     .help = "c"},
    {.name = "name", .type = SHOAL_OPTION_NAME, .value = &name, .help = "d"},
    {.name = "number",
     .letter = 'n',
     .type = SHOAL_OPTION_INTEGER,
     .value = &number,
     .least = "-3",
     .most = "1000",
     .help = "e"},
    {.name = "size",
     .type = SHOAL_OPTION_SIZE,
     .value = &bytes,
     .least = "1k",
     .most = "1G",
     .fallback = "4k",
     .help = "f"},
    {.name = "time",
     .type = SHOAL_OPTION_DURATION,
     .value = &span,
     .most = "1w",
     .fallback = "5s",
     .help = "g"},
    {.name = "color",
     .type = SHOAL_OPTION_CHOICE,
     .value = &choice,
     .choices = choices,
     .fallback = "green",
     .help = "h"},
    {.name = "item",
     .letter = 'i',
     .type = SHOAL_OPTION_LIST,
     .value = &list,
     .help = "i"},
    {.name = NULL},
};
static const struct shoal_option *const tables[] = {options, NULL};

static void check(int argc, int rest) {
    assert(rest >= 1 && rest <= argc);
    assert(number >= -3 && number <= 1000);
    assert(bytes >= 1024 && bytes <= 1 << 30);
    assert(span >= 0 && span <= INT64_C(604800000));
    assert(choice >= 0 && choice < 3);
    assert(name == NULL || shoal_name_is_valid(name));
    assert(list.n < WORDS_MAX && (list.n == 0) == (list.items == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    char *words[WORDS_MAX + 1] = {strdup("program")}, *argv[WORDS_MAX + 1];
    struct shoal_error err = {.status = SHOAL_OK};
    bool stops = fuzz_byte(&input) == 's';
    int argc = 1, rest = 0;
    while (argc < WORDS_MAX && (words[argc] = fuzz_line(&input)) != NULL)
        argc++;
    memcpy(argv, words, sizeof(argv));
    name = NULL;
    if (shoal_options_parse(tables, argc, argv, stops, &rest, &err) == SHOAL_OK)
        check(argc, rest);
    else
        assert(err.status == SHOAL_INVALID && strstr(err.text, "program --help") != NULL);
    shoal_options_finish(tables);
    while (argc-- > 0)
        free(words[argc]);
    return 0;
}
