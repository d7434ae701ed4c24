#include "common/daemon.h"

#include "common/crypto.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/streams.h"

#include <event2/event.h>
#include <signal.h>

struct shoal_daemon shoal_daemon;

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"logfmt", "json", NULL};

const struct shoal_option shoal_daemon_options[] = {
    {.name = "redis",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_daemon.redis,
     .argument = "URL",
     .fallback = "redis://127.0.0.1:6379/0",
     .environment = "SHOAL_REDIS",
     .help = "where the queue is: redis://[user[:password]@]host[:port][/db], rediss:// "
             "for TLS, unix:PATH or unix://user@/PATH",
     .section = "Redis"},
    {.name = "redis-password-file",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_daemon.password_file,
     .argument = "FILE",
     .environment = "SHOAL_REDIS_PASSWORD_FILE",
     .help = "its first line is the password; only its owner may read it",
     .section = "Redis"},
    {.name = "tls-ca",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_daemon.tls.ca,
     .argument = "FILE",
     .environment = "SHOAL_TLS_CA",
     .help = "rediss://: the authorities (PEM) that may have signed its certificate; "
             "those of the system unless said",
     .section = "Redis"},
    {.name = "tls-cert",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_daemon.tls.certificate,
     .argument = "FILE",
     .environment = "SHOAL_TLS_CERT",
     .help = "rediss://: a certificate (PEM), for a Redis that demands one",
     .section = "Redis"},
    {.name = "tls-key",
     .type = SHOAL_OPTION_TEXT,
     .value = &shoal_daemon.tls.key,
     .argument = "FILE",
     .environment = "SHOAL_TLS_KEY",
     .help = "rediss://: its private key (PEM); only its owner may read it",
     .section = "Redis"},
    {.name = "namespace",
     .type = SHOAL_OPTION_NAME,
     .value = &shoal_daemon.name_space,
     .argument = "NAME",
     .fallback = "shoal",
     .environment = "SHOAL_NAMESPACE",
     .help = "what all keys in Redis begin with",
     .section = "Redis"},
    {.name = "log-level",
     .type = SHOAL_OPTION_CHOICE,
     .value = &shoal_daemon.log_level,
     .argument = "LEVEL",
     .fallback = "info",
     .choices = levels,
     .environment = "SHOAL_LOG_LEVEL",
     .help = "what is less urgent is not written",
     .section = "Logging"},
    {.name = "log-format",
     .type = SHOAL_OPTION_CHOICE,
     .value = &shoal_daemon.log_format,
     .argument = "FORMAT",
     .fallback = "logfmt",
     .choices = formats,
     .environment = "SHOAL_LOG_FORMAT",
     .help = "how log lines are written",
     .section = "Logging"},
    {.name = "help",
     .letter = 'h',
     .type = SHOAL_OPTION_FLAG,
     .value = &shoal_daemon.help,
     .help = "show this help",
     .section = "Other"},
    {.name = "version",
     .type = SHOAL_OPTION_FLAG,
     .value = &shoal_daemon.version,
     .help = "show the version",
     .section = "Other"},
    {.name = NULL},
};

/* Not for people: what the man page is made of. */
static const struct shoal_option hidden[] = {
    {.name = "man-options",
     .type = SHOAL_OPTION_FLAG,
     .value = &shoal_daemon.man_options,
     .help = ""},
    {.name = NULL},
};

enum { TABLES_MAX = 8 };

static bool password_was_seen; /* on the command line */

static enum shoal_status parse(const struct shoal_daemon_text *text, int argc,
                               char **argv, struct shoal_error *err) {
    const struct shoal_option *all[TABLES_MAX + 2] = {hidden};
    for (size_t i = 0; text->tables[i] != NULL && i < TABLES_MAX; i++)
        all[i + 1] = text->tables[i];
    int rest = 0;
    enum shoal_status status = shoal_options_parse(all, argc, argv, false, &rest, err);
    if (status == SHOAL_OK && rest < argc)
        return shoal_error_set(err, SHOAL_INVALID, "'%s' is no option; see '%s --help'",
                               argv[rest], text->program);
    return status;
}

/* Whether only a question was asked, which is answered then. */
static bool only_tells(const struct shoal_daemon_text *text) {
    if (shoal_daemon.man_options) {
        shoal_options_man(text->tables, stdout);
    } else if (shoal_daemon.help) {
        puts(text->help);
        shoal_options_help(text->tables, stdout);
    } else if (shoal_daemon.version) {
        printf("%s %s\n", text->program, SHOAL_VERSION);
    }
    return shoal_daemon.man_options || shoal_daemon.help || shoal_daemon.version;
}

int shoal_daemon_refuse(const struct shoal_daemon_text *text,
                        const struct shoal_error *err) {
    fprintf(stderr, "%s: %s\n", text->program, err->text);
    return 2;
}

/* What libevent says, most often before it ends the process. */
static void log_of_events(int severity, const char *text) {
    if (severity >= EVENT_LOG_ERR)
        shoal_err("%s", text);
    else if (severity == EVENT_LOG_WARN)
        shoal_warn("%s", text);
}

int shoal_daemon_begin(const struct shoal_daemon_text *text, int argc, char **argv) {
    struct shoal_error err = {.status = SHOAL_OK};
    shoal_streams_keep();
    signal(SIGCHLD, SIG_DFL); /* who ignores it and starts us leaves it so */
    if (parse(text, argc, argv, &err) != SHOAL_OK)
        return shoal_daemon_refuse(text, &err);
    if (only_tells(text))
        return 0;
    shoal_cores_off();
    password_was_seen = shoal_redis_url_hide(&shoal_daemon.redis, argv);
    shoal_log_init(text->program, (enum shoal_log_level)shoal_daemon.log_level,
                   (enum shoal_log_format)shoal_daemon.log_format);
    event_set_log_callback(log_of_events);
    if (shoal_crypto_find_all(&err) != SHOAL_OK)
        return shoal_daemon_refuse(text, &err);
    return -1;
}

enum shoal_status shoal_daemon_address(struct shoal_redis_address *ret_address,
                                       struct shoal_error *err) {
    struct shoal_redis_address address;
    enum shoal_status status = shoal_redis_address_parse(
        shoal_daemon.redis, shoal_daemon.password_file, &address, err);
    if (status != SHOAL_OK)
        return status;
    status = shoal_redis_address_secure(&address, &shoal_daemon.tls, err);
    if (status == SHOAL_OK)
        *ret_address = address;
    else
        shoal_redis_address_finish(&address);
    return status;
}

void shoal_daemon_warn(void) {
    if (password_was_seen)
        shoal_warn("%s", shoal_redis_url_seen);
}
