/* What the daemons have in common: options for Redis and logging, help, version, the
 * start. */
#ifndef SHOAL_DAEMON_H
#define SHOAL_DAEMON_H

#include "common/option.h"
#include "common/redis.h"

struct shoal_daemon {
    const char *redis;
    const char *password_file;
    const char *name_space;
    int log_level;
    int log_format;
    bool help;
    bool version;
    bool man_options;
};

extern struct shoal_daemon shoal_daemon;
extern const struct shoal_option shoal_daemon_options[];

struct shoal_daemon_text {
    const char *program;
    const char *help;                         /* what stands before the options */
    const struct shoal_option *const *tables; /* shoal_daemon_options among them */
};

/* Parses the command line and begins to log. Returns -1 when the daemon is to run, else
 * the exit status with which it ends at once: 0 after help or version, 2 after an error,
 * which was said. */
SHOAL_MUST_CHECK
int shoal_daemon_begin(const struct shoal_daemon_text *text, int argc, char **argv);

/* Says an error of the start and returns the exit status 2. */
int shoal_daemon_refuse(const struct shoal_daemon_text *text,
                        const struct shoal_error *err);

#endif
