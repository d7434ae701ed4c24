/* Files with something secret in them, and none that nobody asked for. */
#ifndef SHOAL_SECRET_H
#define SHOAL_SECRET_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Who else says what stands in a file, or lies in a folder: group or others, by its mode;
 * its owner, who is neither this user nor root. */
bool shoal_file_is_open(const struct stat *file);
bool shoal_file_is_foreign(const struct stat *file);

/* Opens a regular file of this user or root that neither group nor others can read or
 * write to, nor by an access control list any user but these two. SHOAL_INVALID: it is
 * not such a file; the sentence calls it `what`: "password file". */
SHOAL_MUST_CHECK
enum shoal_status shoal_secret_open(const char *path, const char *what, int *ret_fd,
                                    struct shoal_error *err);

/* Writes a file of mode 0600 in place of one that may be there: whoever reads it sees the
 * one or the other. SHOAL_SYSTEM: it cannot be written, and what was there stays. */
SHOAL_MUST_CHECK
enum shoal_status shoal_secret_write(const char *path, const char *bytes, size_t len,
                                     struct shoal_error *err);

/* The same for what is not secret, of any mode. */
SHOAL_MUST_CHECK
enum shoal_status shoal_file_write(const char *path, const char *bytes, size_t len,
                                   mode_t mode, struct shoal_error *err);

/* A core of this process would have passwords and keys in it, and lies where it works: it
 * writes none from now on. What it starts may as this process could before: back() goes
 * right before exec, and is a system call alone. */
void shoal_cores_off(void);
void shoal_cores_back(void);

#endif
