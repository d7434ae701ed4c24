#include "common/warning.h"

#include "common/cleanup.h"
#include "common/option.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Those that a program can wait for. */
static const struct {
    const char *name;
    int number;
} signals[] = {
    {"ALRM", SIGALRM}, {"CONT", SIGCONT}, {"HUP", SIGHUP},   {"INT", SIGINT},
    {"QUIT", SIGQUIT}, {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
};

static const char *name_of(int number) {
    for (size_t i = 0; i < SHOAL_COUNT(signals); i++) {
        if (signals[i].number == number)
            return signals[i].name;
    }
    return NULL;
}

static bool is_number(const char *text, size_t len, int number) {
    char digits[16];
    return (size_t)snprintf(digits, sizeof(digits), "%d", number) == len &&
           strncmp(digits, text, len) == 0;
}

/* Of a name with or without "SIG", large or small, or of a number; 0: it is none. */
static int number_of(const char *name, size_t len) {
    if (len > 3 && strncasecmp(name, "SIG", 3) == 0) {
        name += 3;
        len -= 3;
    }
    for (size_t i = 0; i < SHOAL_COUNT(signals); i++) {
        if ((strlen(signals[i].name) == len &&
             strncasecmp(signals[i].name, name, len) == 0) ||
            is_number(name, len, signals[i].number))
            return signals[i].number;
    }
    return 0;
}

enum shoal_status shoal_warning_parse(const char *text, struct shoal_warning *ret_warning,
                                      struct shoal_error *err) {
    const char *at = strchr(text, '@');
    struct shoal_warning warning = {
        .signal = at == NULL ? 0 : number_of(text, (size_t)(at - text))};
    if (warning.signal == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.100s' is no warning: write SIGNAL@TIME, such as "
                               "USR1@60s, with ALRM, CONT, HUP, INT, QUIT, TERM, USR1 or "
                               "USR2",
                               text);
    enum shoal_status status =
        shoal_duration_parse(at + 1, "the time of the warning", &warning.before_ms, err);
    if (status == SHOAL_OK)
        *ret_warning = warning;
    return status;
}

void shoal_warning_print(const struct shoal_warning *warning, char *text, size_t room) {
    char time[24];
    const char *name = name_of(warning->signal);
    shoal_duration_print(warning->before_ms, time, sizeof(time));
    snprintf(text, room, "%s@%s", name == NULL ? "" : name, time);
}

enum shoal_status shoal_warning_check(const struct shoal_warning *warning,
                                      int64_t timeout_ms, struct shoal_error *err) {
    char text[32];
    if (warning->signal == 0)
        return SHOAL_OK;
    shoal_warning_print(warning, text, sizeof(text));
    if (name_of(warning->signal) == NULL)
        return shoal_error_set(err, SHOAL_INVALID, "signal %d cannot be a warning",
                               warning->signal);
    if (timeout_ms == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "the warning %s needs a timeout that it comes before; say "
                               "--timeout",
                               text);
    if (warning->before_ms < 1 || warning->before_ms >= timeout_ms)
        return shoal_error_set(
            err, SHOAL_INVALID,
            "the warning %s must come behind a task's start and before "
            "its timeout",
            text);
    return SHOAL_OK;
}
