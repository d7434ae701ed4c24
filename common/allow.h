/* What tasks may run: the list of --allow.
 *
 *     /opt/sim/model   that file
 *     /opt/sim/ *      what lies in that folder (without the space)
 *     /opt/sim/ **     what lies in it at any depth
 *
 * A pattern covers programs, plug-ins and Python modules alike. What is compared is a
 * file's real path, and what is started or loaded is that real path: a symbolic link that
 * changes behind the check changes nothing. Whoever may write in a folder of the list is
 * trusted with it, so a folder in which everybody may is not taken, be it named or found
 * on the way down. */
#ifndef SHOAL_ALLOW_H
#define SHOAL_ALLOW_H

#include "common/error.h"
#include "common/option.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct shoal_allow {
    char **patterns; /* of real paths */
    size_t n;
    char by[96];         /* what it is called in sentences; "": --allow */
    char host[PATH_MAX]; /* the shoal-host beside this program, which is always allowed,
                            but not everything that it could load; "": there is none */
    const struct shoal_allow *also; /* what has to be on this list as well, or NULL */
};

/* Each text is a pattern, or several joined by ':'. SHOAL_INVALID: one is none, or
 * everybody may write in its folder; the sentence names it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_allow_init(struct shoal_allow *ret_allow,
                                   const struct shoal_option_list *texts,
                                   struct shoal_error *err);
void shoal_allow_finish(struct shoal_allow *allow);

/* Says in the log how many there are, which folders a group may write in, and which
 * patterns nothing runs by as things are. */
void shoal_allow_tell(const struct shoal_allow *allow);

/* What it is called in sentences. */
const char *shoal_allow_name(const struct shoal_allow *allow);

/* Whether a real path is one of the pattern's. */
bool shoal_allow_matches(const char *pattern, const char *path);

/* Whether one who has the bit of `writers` may write to the file or folder, or exchange a
 * folder above it: that one then stands in `path` (an absolute one; "" is the root). In a
 * folder with the sticky bit nobody exchanges what is another's. */
bool shoal_allow_is_open_to(mode_t writers, char *path);

/* Whether a folder in which everybody may write ("": the root) is to stay so, as /tmp is,
 * or is not this user's to change; else chmod o-w is good advice. */
bool shoal_allow_is_for_all(const char *folder);

/* The real path of a file that the list has, and the one `also`, into `real` of PATH_MAX
 * bytes. SHOAL_REFUSED says in one sentence why it is not started or loaded (`to`:
 * "start", "load"); `name` is what the job calls it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_allow_file(const struct shoal_allow *allow, const char *to,
                                   const char *name, const char *path, char *real,
                                   struct shoal_error *err);

/* A job sets no variables by which an allowed program would run others. `words`:
 * "NAME=VALUE", NULL behind the last, or NULL. */
SHOAL_MUST_CHECK
enum shoal_status shoal_allow_environment(const struct shoal_allow *allow,
                                          char *const *words, struct shoal_error *err);

/* Takes the empty and relative folders out of those search paths in this process's own
 * environment that tasks get (`more` of shoal_environment_passed()), and says so in the
 * log: there an allowed program would find what lies in the directory of a job. */
SHOAL_MUST_CHECK
enum shoal_status shoal_allow_fix_paths(const struct shoal_option_list *more,
                                        struct shoal_error *err);

/* The words with which the installed shoal-host is started. */
struct shoal_allow_words {
    char *argv[8]; /* NULL behind the last; some point into the job's */
    char path[PATH_MAX];
};

/* Takes "--plugin FILE --task NAME" or "--python MODULE:FUNCTION" behind the first word
 * and nothing else, and puts real paths in: of the plug-in, or of the folder that the
 * module is in, which is looked for in `directory` and the folders of `python_path` (may
 * be NULL). */
SHOAL_MUST_CHECK
enum shoal_status shoal_allow_host_words(const struct shoal_allow *allow,
                                         char *const *argv, const char *directory,
                                         const char *python_path,
                                         struct shoal_allow_words *ret_words,
                                         struct shoal_error *err);

#endif
