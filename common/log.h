/* Log lines on stderr: a sentence, then pairs that can be searched for.
 *
 *     shoal_warn("session ended, its tasks go back: worker=%s ms=%" PRId64, name, ms);
 *
 * prints, as logfmt or as JSON, the time, the level, the sentence and each pair. The
 * pairs are what follows the last ": " of the text, if all of it is name=value words; a
 * value with spaces is not a word and stays in the sentence. */
#ifndef SHOAL_LOG_H
#define SHOAL_LOG_H

#include "common/error.h"

enum shoal_log_level { SHOAL_LOG_ERROR, SHOAL_LOG_WARN, SHOAL_LOG_INFO, SHOAL_LOG_DEBUG };
enum shoal_log_format { SHOAL_LOG_LOGFMT, SHOAL_LOG_JSON };

/* What is less urgent than `level` is not written. `program` stays the caller's. */
void shoal_log_init(const char *program, enum shoal_log_level level,
                    enum shoal_log_format format);

void shoal_log(enum shoal_log_level level, const char *format, ...) SHOAL_PRINTF(2, 3);

#define shoal_err(...) shoal_log(SHOAL_LOG_ERROR, __VA_ARGS__)
#define shoal_warn(...) shoal_log(SHOAL_LOG_WARN, __VA_ARGS__)
#define shoal_info(...) shoal_log(SHOAL_LOG_INFO, __VA_ARGS__)
#define shoal_debug(...) shoal_log(SHOAL_LOG_DEBUG, __VA_ARGS__)

#endif
