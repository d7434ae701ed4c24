#include "client/listen.h"

#include "common/cleanup.h"
#include "common/option.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char letters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";

/* ---- taking it apart */

/* What stands behind the host; NULL: a bracket is open. An address of IPv6 needs brackets
 * in front of a port. */
static const char *find_host(const char *text, const char **host, size_t *ret_len) {
    bool is_bare = *text != '[' && strchr(text, ':') != strrchr(text, ':');
    *host = text + (*text == '[');
    *ret_len = is_bare ? strlen(text) : strcspn(*host, *text == '[' ? "]" : ":");
    const char *behind = *host + *ret_len;
    if (*text == '[')
        return *behind == ']' ? behind + 1 : NULL;
    return behind;
}

enum shoal_status shoal_listen_parse(const char *text, struct shoal_listen *ret_listen,
                                     struct shoal_error *err) {
    struct shoal_listen listen = {.port = -1};
    const char *host;
    size_t len;
    int64_t port = -1;
    const char *behind = find_host(text, &host, &len);
    if (len == 0 || len >= sizeof(listen.asked) || *host == '-' ||
        strspn(host, letters) < len || behind == NULL ||
        (*behind != '\0' && *behind != ':'))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "--listen '%.100s': write an address or a name of this "
            "host, and a port if you like: 192.0.2.1, [2001:db8::1]:%d",
            text, SHOAL_LISTEN_PORT);
    enum shoal_status status =
        *behind == '\0' ? SHOAL_OK
                        : shoal_integer_parse(behind + 1, "the port of --listen", 0,
                                              65535, &port, err);
    if (status != SHOAL_OK)
        return status;
    snprintf(listen.asked, sizeof(listen.asked), "%.*s", (int)len, host);
    listen.port = (int)port;
    *ret_listen = listen;
    return SHOAL_OK;
}

/* ---- addresses of this host */

static const void *bytes_of(const struct sockaddr *address) {
    return address->sa_family == AF_INET
               ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
               : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
}

static bool is_loopback(const struct sockaddr *address) {
    return address->sa_family == AF_INET
               ? *(const unsigned char *)bytes_of(address) == 127
               : IN6_IS_ADDR_LOOPBACK(bytes_of(address));
}

static bool is_any(const struct sockaddr *address) {
    static const unsigned char zeros[16];
    return memcmp(bytes_of(address), zeros, address->sa_family == AF_INET ? 4 : 16) == 0;
}

/* Redis could listen there, and nobody could connect to it. */
static bool is_group(const struct sockaddr *address, socklen_t len) {
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_MULTICAST(bytes_of(address));
    const unsigned char *bytes = bytes_of(address);
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return (*bytes & 0xf0) == 0xe0 ||
           (connect(fd, address, len) != 0 && errno == EACCES); /* to broadcast */
}

/* One by which others can reach this host, whatever link they are on. */
static bool is_reachable(const struct ifaddrs *interface) {
    const struct sockaddr *address = interface->ifa_addr;
    return address != NULL && (interface->ifa_flags & IFF_UP) != 0 &&
           (address->sa_family == AF_INET ||
            (address->sa_family == AF_INET6 &&
             !IN6_IS_ADDR_LINKLOCAL(bytes_of(address)))) &&
           !is_loopback(address);
}

static void free_interfaces(struct ifaddrs **interfaces) {
    if (*interfaces != NULL)
        freeifaddrs(*interfaces);
}

/* Calls `each` with those of one family (0: of both), of IPv4 first. */
static void each_address(int family, void (*each)(const char *text, void *owner),
                         void *owner) {
    SHOAL_CLEANUP(free_interfaces) struct ifaddrs *all = NULL;
    char text[INET6_ADDRSTRLEN];
    const int order[] = {AF_INET, AF_INET6};
    if (getifaddrs(&all) != 0)
        return;
    for (size_t i = 0; i < SHOAL_COUNT(order); i++) {
        for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
            if (is_reachable(at) && at->ifa_addr->sa_family == order[i] &&
                (family == 0 || family == order[i]) &&
                inet_ntop(order[i], bytes_of(at->ifa_addr), text, sizeof(text)) != NULL)
                each(text, owner);
        }
    }
}

enum { LIST_ROOM = 200 };

static void add_to_list(const char *text, void *owner) {
    char *list = owner;
    size_t len = strlen(list);
    if (len + strlen(text) + 3 < LIST_ROOM)
        snprintf(list + len, LIST_ROOM - len, "%s%s", len == 0 ? "" : ", ", text);
}

static void list_addresses(char list[LIST_ROOM]) {
    *list = '\0';
    each_address(0, add_to_list, list);
    if (*list == '\0')
        strcpy(list, "none that others can reach");
}

static void take_first(const char *text, void *owner) {
    char *host = owner;
    if (*host == '\0')
        snprintf(host, SHOAL_LISTEN_HOST, "%s", text);
}

/* ---- whether one can listen there */

static void set_port(struct sockaddr *address, int port) {
    if (address->sa_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
}

static int port_of(const struct sockaddr *address) {
    return ntohs(address->sa_family == AF_INET
                     ? ((const struct sockaddr_in *)address)->sin_port
                     : ((const struct sockaddr_in6 *)address)->sin6_port);
}

/* Listens for a moment as Redis would, and tells the port that it got. False: errno says
 * why not. */
static bool try(const struct sockaddr *address, socklen_t len, int *port) {
    struct sockaddr_storage copy;
    memcpy(&copy, address, len);
    struct sockaddr *at = (struct sockaddr *)&copy;
    set_port(at, *port);
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        (at->sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) != 0) ||
        bind(fd, at, len) != 0 || listen(fd, 1) != 0 || getsockname(fd, at, &len) != 0)
        return false;
    *port = port_of(at);
    return true;
}

static enum shoal_status cannot_listen(const char *where, int port, int why,
                                       struct shoal_error *err) {
    char list[LIST_ROOM];
    switch (why) {
    case EADDRNOTAVAIL:
        list_addresses(list);
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.100s' is no address of this host; it has %s", where,
                               list);
    case EINVAL:
        list_addresses(list);
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.100s' needs to be told which link it is on; give "
                               "--listen another address of this host: it has %s",
                               where, list);
    case EADDRINUSE:
        return shoal_error_set(err, SHOAL_INVALID,
                               "port %d of %.100s is taken by another program; give "
                               "--listen another one, or 0 for any that is free",
                               port, where);
    case EACCES:
        return shoal_error_set(err, SHOAL_INVALID,
                               "port %d is not for everybody; give --listen one from "
                               "1024 on",
                               port);
    default:
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "cannot listen on port %d of %.100s: %s", port, where,
                               strerror(why));
    }
}

static void free_found(struct addrinfo **found) {
    if (*found != NULL)
        freeaddrinfo(*found);
}

enum shoal_status shoal_listen_check(const struct shoal_listen *listen,
                                     struct shoal_error *err) {
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST,
                                   .ai_socktype = SOCK_STREAM};
    for (size_t i = 0; i < listen->n; i++) {
        SHOAL_CLEANUP(free_found) struct addrinfo *found = NULL;
        int port = listen->port;
        if (getaddrinfo(listen->binds[i], NULL, &hints, &found) != 0)
            return cannot_listen(listen->binds[i], port, EADDRNOTAVAIL, err);
        if (!try(found->ai_addr, found->ai_addrlen, &port))
            return cannot_listen(listen->binds[i], port, errno, err);
    }
    return SHOAL_OK;
}

/* ---- finding it */

/* Those of a name that are this host's; the others are somebody else's, or old. */
static enum shoal_status find_binds(struct shoal_listen *listen,
                                    const struct addrinfo *found,
                                    struct shoal_error *err) {
    int why = EADDRNOTAVAIL;
    for (; found != NULL && listen->n < SHOAL_LISTEN_BINDS; found = found->ai_next) {
        char *bind = listen->binds[listen->n];
        if (found->ai_family != AF_INET && found->ai_family != AF_INET6)
            continue;
        if (is_group(found->ai_addr, found->ai_addrlen))
            continue;
        if (!try(found->ai_addr, found->ai_addrlen, &listen->port)) {
            why = errno == EADDRNOTAVAIL ? why : errno;
            continue;
        }
        inet_ntop(found->ai_family, bytes_of(found->ai_addr), bind,
                  sizeof(listen->binds[0]));
        listen->is_loopback = listen->is_loopback || is_loopback(found->ai_addr);
        if (is_any(found->ai_addr))
            each_address(found->ai_family, take_first, listen->host);
        else
            take_first(listen->asked, listen->host);
        listen->n++;
    }
    return listen->n > 0 && why == EADDRNOTAVAIL
               ? SHOAL_OK
               : cannot_listen(listen->asked, listen->port, why, err);
}

/* The port of before, by which others know it, or any. */
static enum shoal_status find_port(struct shoal_listen *listen,
                                   const struct addrinfo *found,
                                   struct shoal_error *err) {
    struct shoal_listen again = *listen;
    again.port = listen->before;
    if (listen->before == 0 || find_binds(&again, found, NULL) != SHOAL_OK)
        return find_binds(listen, found, err);
    *listen = again;
    return SHOAL_OK;
}

/* Debian gives a host's own name an address that only the host itself has. */
static enum shoal_status check_reach(const struct shoal_listen *listen,
                                     struct shoal_error *err) {
    char list[LIST_ROOM];
    list_addresses(list);
    if (listen->host[0] == '\0')
        return shoal_error_set(err, SHOAL_INVALID,
                               "this host has no address of that kind that others can "
                               "reach; connect it to their network first");
    if (listen->is_loopback && strcmp(listen->asked, "localhost") != 0 &&
        strcmp(listen->asked, listen->binds[0]) != 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.100s' is %s here, which nobody else can reach; give "
                               "--listen an address of this host: it has %s",
                               listen->asked, listen->binds[0], list);
    return SHOAL_OK;
}

enum shoal_status shoal_listen_find(struct shoal_listen *listen,
                                    struct shoal_error *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    SHOAL_CLEANUP(free_found) struct addrinfo *found = NULL;
    if (listen->port < 0)
        listen->port = SHOAL_LISTEN_PORT;
    int why = getaddrinfo(listen->asked, NULL, &hints, &found);
    if (why != 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--listen: nobody knows the name '%.100s' here (%s); give "
                               "an address of this host",
                               listen->asked, gai_strerror(why));
    enum shoal_status status = find_port(listen, found, err);
    return status == SHOAL_OK ? check_reach(listen, err) : status;
}

/* ---- telling of it */

static void add_name(const char *text, void *owner) {
    char *names = owner;
    unsigned char address[16];
    bool is_address =
        inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
    size_t len = strlen(names);
    if (*text != '\0' && text[strspn(text, letters)] == '\0' &&
        len + strlen(text) + 6 < SHOAL_LISTEN_NAMES)
        snprintf(names + len, SHOAL_LISTEN_NAMES - len, "%s%s:%s", len == 0 ? "" : ",",
                 is_address ? "IP" : "DNS", text);
}

void shoal_listen_names(const struct shoal_listen *listen,
                        char names[SHOAL_LISTEN_NAMES]) {
    char own[65] = "";
    *names = '\0';
    add_name(listen->host, names);
    bool is_everywhere = strcmp(listen->asked, listen->host) != 0;
    for (size_t i = 0; i < listen->n && !is_everywhere; i++)
        add_name(listen->binds[i], names);
    if (is_everywhere)
        each_address(0, add_name, names);
    if (gethostname(own, sizeof(own) - 1) == 0)
        add_name(own, names);
}

void shoal_listen_print(const struct shoal_listen *listen, char *text, size_t room) {
    bool is_long = strchr(listen->host, ':') != NULL;
    snprintf(text, room, "%s%s%s:%d", is_long ? "[" : "", listen->host,
             is_long ? "]" : "", listen->port);
}
