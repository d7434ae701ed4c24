/* By which sockets processes can be reached, as /proc tells, and whether by anybody but
 * their user on this machine. */
#ifndef SHOAL_TEST_LISTENING_H
#define SHOAL_TEST_LISTENING_H

#include "tests/support/process.h"

struct test_listening {
    size_t n;        /* sockets that take connections, or what is sent to them */
    size_t open;     /* those of them that others could reach */
    char said[4096]; /* a line for each of these */
};

/* Private is what listens on loopback, and a unix socket that is its user's alone or lies
 * in a directory that is; everything else is open: other addresses, raw sockets, names
 * without a file, and what /proc has no table of. Processes that end meanwhile do not
 * count. */
void test_listening_look(const struct test_pids *pids, struct test_listening *found);

#endif
