/* Cleanups named where a variable is born, and other words that C lacks. */
#ifndef SHOAL_CLEANUP_H
#define SHOAL_CLEANUP_H

#include <stddef.h>

/* SHOAL_CLEANUP(job_cleanup) struct shoal_job *job = NULL;
 * calls job_cleanup(&job) when the variable leaves its scope. */
#define SHOAL_CLEANUP(function) __attribute__((cleanup(function)))

#define SHOAL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SHOAL_UNUSED __attribute__((unused))

/* Ready-made cleanups for the commonest cases: of a pointer, a descriptor (closed unless
 * it is negative), a FILE * and a redisReply *, which may be NULL. */
void shoal_cleanup_free(void *pointer_to_pointer);
void shoal_cleanup_fd(int *fd);
void shoal_cleanup_file(void *stream);
void shoal_cleanup_reply(void *reply);

#endif
