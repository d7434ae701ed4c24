/* --plugin and --python: functions instead of programs. */
#ifndef SHOAL_FUNCTION_H
#define SHOAL_FUNCTION_H

#include "common/option.h"

extern const struct shoal_option shoal_function_options[];

/* Whether a function was asked for; then *ret_words is the command of the runner that has
 * it, valid until the next call. `words`: what was written as a command, which must be
 * nothing then. */
SHOAL_MUST_CHECK
enum shoal_status shoal_function_command(char *const *words,
                                         const char *const **ret_words,
                                         struct shoal_error *err);

#endif
