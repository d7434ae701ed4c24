/* Who may do what in Redis: the rules of its users, one for each role. */
#ifndef SHOAL_ACCESS_H
#define SHOAL_ACCESS_H

#include "common/buffer.h"

enum shoal_role {
    SHOAL_ROLE_BROKER, /* shoal-broker: keeps the queue moving, loads the functions */
    SHOAL_ROLE_READ,   /* looks: status, list, results, doctor, audit */
    SHOAL_ROLE_SUBMIT, /* a person: submit, cancel, retry, pause, drain, and looks */
    SHOAL_ROLE_WORKER, /* shoal-worker */
    SHOAL_ROLE_COUNT
};

/* Of whoever may do everything, and of the default user even where nobody can be it:
 * Redis 7.0 reads its append-only file as this user, skips with fewer rights what was
 * written together, and comes back from a restart empty. */
#define SHOAL_ACCESS_ALL "~* &* +@all"

const char *shoal_role_name(enum shoal_role role);

/* Appends the words of ACL SETUSER, with a space between two, that give a role what it
 * needs for the keys that begin with `prefix` in that database, and nothing else. */
void shoal_access_rules(enum shoal_role role, const char *prefix, int database,
                        struct shoal_buffer *text);

/* Whether a role may call a move, "submit" for example. */
bool shoal_access_may(enum shoal_role role, const char *move);

#endif
