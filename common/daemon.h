/* What the daemons have in common: options for Redis and logging, help, version, the
 * start. */
#ifndef SHOAL_DAEMON_H
#define SHOAL_DAEMON_H

#include "common/option.h"
#include "common/redis.h"

struct shoal_daemon {
    const char *redis;
    const char *password_file;
    struct shoal_tls_files tls;
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

/* Parses the command line, on which no password can be read then, and begins to log.
 * Returns -1 when the daemon is to run, else
 * the exit status with which it ends at once: 0 after help or version, 2 after an error,
 * which was said. */
SHOAL_MUST_CHECK
int shoal_daemon_begin(const struct shoal_daemon_text *text, int argc, char **argv);

/* Where Redis is, as the options say. */
SHOAL_MUST_CHECK
enum shoal_status shoal_daemon_address(struct shoal_redis_address *ret_address,
                                       struct shoal_error *err);

/* Logs what was not done well, such as a password on the command line. */
void shoal_daemon_warn(void);

/* Says an error of the start and returns the exit status 2. */
int shoal_daemon_refuse(const struct shoal_daemon_text *text,
                        const struct shoal_error *err);

#endif
