/* A Redis that says what it is told, on the loop of whoever asks: each command is
 * answered with the next piece of a text, and behind the last the connection closes, so
 * that every wait ends. Greetings are answered as they should be. */
#ifndef SHOAL_TEST_ANSWERS_H
#define SHOAL_TEST_ANSWERS_H

#include "common/redis.h"

struct answers;

/* Listens from now on. */
struct answers *answers_create(struct event_base *base);
void answers_destroy(struct answers *answers);

/* What comes next: pieces of `bytes`, which stay the caller's, apart at lines "--". */
void answers_set(struct answers *answers, const char *bytes, size_t len);

/* How many commands behind the greeting there were since then. */
size_t answers_asked(const struct answers *answers);

/* Whether the last was given, and the connection closed behind it. */
bool answers_over(const struct answers *answers);

/* Where it listens; its own. */
const struct shoal_redis_address *answers_address(const struct answers *answers);

/* A connection to it that does not come back. */
struct shoal_redis *answers_connect(struct answers *answers);

#endif
