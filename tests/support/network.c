#include "tests/support/network.h"

#include "common/cleanup.h"
#include "tests/support/process.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_MS = 20000, COMMANDS_MAX = 2048, OWN = CLONE_NEWNET | CLONE_NEWUTS };

/* ---- namespaces */

static bool write_file(const char *path, const char *text) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool map_to_root(const char *path, unsigned id) {
    char text[32];
    snprintf(text, sizeof(text), "0 %u 1", id);
    return write_file(path, text);
}

/* Whoever may not make namespaces may perhaps become somebody who may. */
static bool become_root(void) {
    unsigned user = (unsigned)geteuid(), group = (unsigned)getegid();
    return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/setgroups", "deny") &&
           map_to_root("/proc/self/uid_map", user) &&
           map_to_root("/proc/self/gid_map", group);
}

static bool leave_ours(char *why, size_t room) {
    if (unshare(OWN) == 0 || (become_root() && unshare(OWN) == 0))
        return true;
    snprintf(why, room, "network namespaces: %s", strerror(errno));
    return false;
}

/* Keeps the namespaces that the caller is in. */
static void keep(struct test_host *host) {
    host->network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    host->name = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    ck_assert(host->network >= 0 && host->name >= 0);
}

static void go(const struct test_host *host) {
    ck_assert_int_eq(setns(host->network, CLONE_NEWNET), 0);
    ck_assert_int_eq(setns(host->name, CLONE_NEWUTS), 0);
}

void test_network_enter(struct test_network *network, size_t host) {
    ck_assert_uint_lt(host, network->n);
    go(&network->hosts[host]);
    network->here = host;
}

/* ---- cables */

/* Commands of ip, a line each; false: what it says is in `why`. */
static bool ip(const char *commands, char *why, size_t room) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = NULL;
    const struct test_program program = {
        .argv = (const char *const[]){"ip", "-batch", "-", NULL}, .input = commands};
    bool is_good = test_run(&program, LIMIT_MS, NULL, &err) == 0;
    if (!is_good)
        snprintf(why, room, "ip: %.*s", (int)strcspn(err, "\n"), err);
    return is_good;
}

static bool lay_cables(struct test_network *network, char *why, size_t room) {
    char text[COMMANDS_MAX] = "link add switch type bridge\nlink set switch up\n";
    for (size_t i = 0; i < network->n; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used,
                 "link add port%zu type veth peer name cable netns /proc/%d/fd/%d\n"
                 "link set port%zu master switch up\n",
                 i, (int)getpid(), network->hosts[i].network, i);
    }
    return ip(text, why, room);
}

static bool plug_in(struct test_network *network, size_t i, char *why, size_t room) {
    char text[COMMANDS_MAX];
    struct test_host *host = &network->hosts[i];
    snprintf(host->address, sizeof(host->address), "10.0.0.%zu", i + 1);
    snprintf(text, sizeof(text),
             "link set lo up\naddress add %s/24 dev cable\nlink set cable up\n",
             host->address);
    go(host);
    bool is_good = ip(text, why, room);
    go(&network->switch_);
    return is_good;
}

bool test_network_make(struct test_network *network, const char *const *names, size_t n,
                       char *why, size_t room) {
    ck_assert_uint_le(n, TEST_HOSTS_MAX);
    *network = (struct test_network){.n = n};
    if (!leave_ours(why, room))
        return false;
    keep(&network->switch_);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(unshare(OWN), 0);
        ck_assert_int_eq(sethostname(names[i], strlen(names[i])), 0);
        keep(&network->hosts[i]);
    }
    go(&network->switch_);
    bool is_good = lay_cables(network, why, room);
    for (size_t i = 0; i < n && is_good; i++)
        is_good = plug_in(network, i, why, room);
    test_network_enter(network, 0);
    return is_good;
}

/* The switch's end of a host's cable. */
static void change_port(const struct test_network *network, const char *verb, size_t host,
                        const char *state) {
    char command[64], why[256] = "";
    snprintf(command, sizeof(command), "link %s port%zu %s\n", verb, host, state);
    go(&network->switch_);
    ck_assert_msg(ip(command, why, sizeof(why)), "%s", why);
    go(&network->hosts[network->here]);
}

void test_network_cut(const struct test_network *network, size_t host) {
    change_port(network, "set", host, "down");
}

void test_network_heal(const struct test_network *network, size_t host) {
    change_port(network, "set", host, "up");
}

void test_network_remove(const struct test_network *network, size_t host) {
    change_port(network, "delete", host, "");
}

static void let_go(struct test_host *host) {
    shoal_cleanup_fd(&host->network);
    shoal_cleanup_fd(&host->name);
}

void test_network_close(struct test_network *network) {
    for (size_t i = 0; i < network->n; i++)
        let_go(&network->hosts[i]);
    let_go(&network->switch_);
}
