/* Hosts of their own on this machine, each with a name, a network namespace and an
 * address, joined by a switch. The namespaces have no names: they go with the last
 * process in them, so nothing is left behind, and tests at the same time do not meet. */
#ifndef SHOAL_TEST_NETWORK_H
#define SHOAL_TEST_NETWORK_H

#include <stdbool.h>
#include <stddef.h>

enum { TEST_HOSTS_MAX = 8 };

struct test_host {
    char address[16]; /* 10.0.0.1 and so on */
    int network;      /* its namespaces */
    int name;
};

struct test_network {
    struct test_host hosts[TEST_HOSTS_MAX];
    size_t n;
    struct test_host switch_; /* has no address */
    size_t here;              /* where the caller is */
};

/* Makes `n` hosts of these names, once in a process, which is at the first of them from
 * then on. It needs root, or user namespaces, in which the process then is root. False
 * where this machine does not let us, with the reason in `why`; the process is of no use
 * for anything else then. */
bool test_network_make(struct test_network *network, const char *const *names, size_t n,
                       char *why, size_t room);
void test_network_close(struct test_network *network);

/* From now on the caller is at this host, and so is what it starts. */
void test_network_enter(struct test_network *network, size_t host);

/* Nothing passes between this host and the others, and nobody is told. */
void test_network_cut(const struct test_network *network, size_t host);
void test_network_heal(const struct test_network *network, size_t host);
/* The same for good. */
void test_network_remove(const struct test_network *network, size_t host);

#endif
