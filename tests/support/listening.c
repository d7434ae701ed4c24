#include "tests/support/listening.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SOCKETS_MAX = 4096,
    PATH_ROOM = 512,
    ACCEPTS = 0x10000,
    TCP_LISTENS = 10,
    CLOSED = 7
};

/* A descriptor; several may be of one socket. */
struct held {
    pid_t pid;
    int fd;
    unsigned long inode;
    bool is_known; /* it was in a table */
};

struct look {
    struct held held[SOCKETS_MAX];
    size_t n;
    struct test_listening *found;
};

/* ---- descriptors */

/* What socket it is; 0: none, or it is no more. */
static unsigned long inode_of(pid_t pid, int fd) {
    char path[64], link[64];
    unsigned long inode = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
    ssize_t len = readlink(path, link, sizeof(link) - 1);
    link[len < 0 ? 0 : len] = '\0';
    return sscanf(link, "socket:[%lu]", &inode) == 1 ? inode : 0;
}

static void take_descriptor(struct look *look, pid_t pid, int fd) {
    unsigned long inode = inode_of(pid, fd);
    if (inode == 0)
        return;
    ck_assert_uint_lt(look->n, SOCKETS_MAX);
    look->held[look->n++] = (struct held){.pid = pid, .fd = fd, .inode = inode};
}

/* One that is in another network has its sockets in tables that we do not read. */
static void expect_our_network(pid_t pid) {
    char path[64], ours[64] = "", its[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    ck_assert_int_gt(readlink("/proc/self/ns/net", ours, sizeof(ours) - 1), 0);
    if (readlink(path, its, sizeof(its) - 1) > 0)
        ck_assert_str_eq(its, ours);
}

static void take_process(struct look *look, pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    ck_assert_msg(folder != NULL || errno == ENOENT || kill(pid, 0) != 0,
                  "cannot look into %s: %s", path, strerror(errno));
    if (folder == NULL)
        return;
    expect_our_network(pid);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        take_descriptor(look, pid, (int)strtol(entry->d_name, NULL, 10));
    closedir(folder);
}

/* The first that holds it; NULL: it is of no process of ours. */
static struct held *holder_of(struct look *look, unsigned long inode) {
    struct held *first = NULL;
    for (size_t i = 0; i < look->n; i++) {
        if (look->held[i].inode != inode)
            continue;
        look->held[i].is_known = true;
        first = first == NULL ? &look->held[i] : first;
    }
    return first;
}

static void note(struct look *look, bool is_private, const struct held *held,
                 const char *kind, const char *where) {
    struct test_listening *found = look->found;
    size_t used = strlen(found->said);
    found->n++;
    if (is_private)
        return;
    found->open++;
    snprintf(found->said + used, sizeof(found->said) - used, "process %d: %s %s\n",
             (int)held->pid, kind, where);
}

/* ---- tables, a line each */

struct table {
    const char *file;
    void (*judge)(struct look *look, const struct table *table, const char *line);
    unsigned listens; /* state of those that do */
};

/* As /proc writes them: words of the machine, in hexadecimal digits. */
static bool is_loopback(const char *digits) {
    struct in6_addr address = {0};
    size_t words = strlen(digits) / 8;
    for (size_t i = 0; i < words && i < 4; i++) {
        unsigned word = 0;
        sscanf(digits + 8 * i, "%8x", &word);
        memcpy(&address.s6_addr[4 * i], &word, sizeof(word));
    }
    if (words == 1)
        return address.s6_addr[0] == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&address) ||
           (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == IN_LOOPBACKNET);
}

static void judge_address(struct look *look, const struct table *table,
                          const char *line) {
    char address[40], where[64];
    unsigned port, state;
    unsigned long inode;
    if (sscanf(line, "%*d: %32[0-9A-F]:%x %*s %x %*s %*s %*s %*u %*d %lu", address, &port,
               &state, &inode) != 4)
        return;
    const struct held *held = holder_of(look, inode);
    snprintf(where, sizeof(where), "%s:%u", address, port);
    if (held != NULL && state == table->listens)
        note(look, is_loopback(address), held, table->file, where);
}

/* Sees all that passes, wherever it is bound to. */
static void judge_raw(struct look *look, const struct table *table, const char *line) {
    unsigned long inode;
    if (sscanf(line, "%*d: %*s %*s %*x %*s %*s %*s %*u %*d %lu", &inode) != 1)
        return;
    const struct held *held = holder_of(look, inode);
    if (held != NULL)
        note(look, false, held, table->file, "");
}

static void judge_packet(struct look *look, const struct table *table, const char *line) {
    unsigned long inode;
    if (sscanf(line, "%*x %*d %*d %*x %*d %*d %*u %*u %lu", &inode) != 1)
        return;
    const struct held *held = holder_of(look, inode);
    if (held != NULL)
        note(look, false, held, table->file, "");
}

/* Talks to the kernel. */
static void judge_netlink(struct look *look, const struct table *table,
                          const char *line) {
    unsigned long inode;
    (void)table;
    if (sscanf(line, "%*x %*d %*d %*x %*d %*d %*d %*d %*d %lu", &inode) == 1)
        holder_of(look, inode);
}

static bool is_ours_alone(const struct stat *status) {
    return status->st_uid == geteuid() && (status->st_mode & 077) == 0;
}

/* Paths are as their process gave them. */
static bool is_private_file(pid_t pid, const char *path) {
    static const char itself[] = "/proc/self/";
    char full[PATH_ROOM];
    struct stat file, folder;
    if (strncmp(path, itself, strlen(itself)) == 0)
        snprintf(full, sizeof(full), "/proc/%d/%s", (int)pid, path + strlen(itself));
    else if (*path != '/')
        snprintf(full, sizeof(full), "/proc/%d/cwd/%s", (int)pid, path);
    else
        snprintf(full, sizeof(full), "%s", path);
    if (lstat(full, &file) != 0 || !S_ISSOCK(file.st_mode))
        return false;
    *strrchr(full, '/') = '\0';
    return file.st_uid == geteuid() &&
           (is_ours_alone(&file) || (stat(full, &folder) == 0 && is_ours_alone(&folder)));
}

/* A path may be told by what only one of its processes has open. */
static bool is_private_path(const struct look *look, unsigned long inode,
                            const char *path) {
    for (size_t i = 0; i < look->n; i++) {
        if (look->held[i].inode == inode && is_private_file(look->held[i].pid, path))
            return true;
    }
    return false;
}

/* Connections have the path of what they came to. Names without a file begin with @. */
static void judge_unix(struct look *look, const struct table *table, const char *line) {
    char path[128] = "";
    unsigned flags, type;
    unsigned long inode;
    int n = sscanf(line, "%*x: %*x %*x %x %x %*x %lu %127s", &flags, &type, &inode, path);
    struct held *held = n < 3 ? NULL : holder_of(look, inode);
    bool listens = (flags & ACCEPTS) != 0 || (type == SOCK_DGRAM && *path != '\0');
    if (held != NULL && listens)
        note(look, is_private_path(look, inode, path), held, table->file, path);
}

static const struct table tables[] = {
    {"tcp", judge_address, TCP_LISTENS},
    {"tcp6", judge_address, TCP_LISTENS},
    {"udp", judge_address, CLOSED},
    {"udp6", judge_address, CLOSED},
    {"udplite", judge_address, CLOSED},
    {"udplite6", judge_address, CLOSED},
    {"raw", judge_raw, 0},
    {"raw6", judge_raw, 0},
    {"packet", judge_packet, 0},
    {"unix", judge_unix, 0},
    {"netlink", judge_netlink, 0},
};

/* Those of what this kernel was built without are not there. */
static void read_table(struct look *look, const struct table *table) {
    char line[512];
    snprintf(line, sizeof(line), "/proc/self/net/%s", table->file);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(line, "re");
    ck_assert(file != NULL || errno == ENOENT);
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        table->judge(look, table, line);
}

/* ---- all of it */

void test_listening_look(const struct test_pids *pids, struct test_listening *found) {
    static struct look look;
    look = (struct look){.found = found};
    *found = (struct test_listening){0};
    for (size_t i = 0; i < pids->n; i++)
        take_process(&look, pids->pid[i]);
    for (size_t i = 0; i < SHOAL_COUNT(tables); i++)
        read_table(&look, &tables[i]);
    for (size_t i = 0; i < look.n; i++) {
        const struct held *held = &look.held[i];
        if (!held->is_known && inode_of(held->pid, held->fd) == held->inode)
            note(&look, false, held, "a socket that is in no table", "");
    }
}
