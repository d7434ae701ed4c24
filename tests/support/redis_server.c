#include "tests/support/redis_server.h"

#include "common/cleanup.h"
#include "common/id.h"
#include "tests/support/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_MS = 10000,
    COMMAND_MS = 10000,
    PORT_LEAST = 10000, /* below those that outgoing connections get */
    PORT_MOST = 32000,
    PORT_TRIES = 20,
};

static int remove_entry(const char *path, SHOAL_UNUSED const struct stat *stat,
                        SHOAL_UNUSED int type, SHOAL_UNUSED struct FTW *place) {
    return remove(path);
}

/* Forks a process that does nothing but wait until the last holder of `life` is gone. */
static void start_guardian(struct test_server *server) {
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    server->guardian = fork();
    ck_assert_int_ge(server->guardian, 0);
    if (server->guardian == 0) {
        setsid(); /* Check kills the group of a test that is over */
        close(ends[1]);
        char byte;
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            ;
        nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        _exit(0);
    }
    close(ends[0]);
    server->life = ends[1];
}

static void become_server(const struct test_server *server, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(server->directory) != 0)
        _exit(127);
    const char *argv[TEST_SERVER_ARGS_MAX + 32] = {"redis-server",
                                                   "--port",
                                                   "0",
                                                   "--unixsocket",
                                                   server->socket,
                                                   "--save",
                                                   "",
                                                   "--dir",
                                                   server->directory,
                                                   "--logfile",
                                                   "log",
                                                   "--enable-debug-command",
                                                   "yes"};
    size_t n = 0;
    while (argv[n] != NULL)
        n++;
    char port[16];
    const char *const tls[] = {"--bind", "127.0.0.1", "--tls-port", port};
    snprintf(port, sizeof(port), "%d", server->port);
    for (size_t i = 0; server->port != 0 && i < SHOAL_COUNT(tls); i++)
        argv[n++] = tls[i];
    for (size_t i = 0; server->args[i] != NULL; i++)
        argv[n++] = server->args[i];
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    closefrom(3); /* also what a test left open, and the guardian's pipe */
    execvp(argv[0], (char **)argv);
    _exit(127);
}

/* Whether the server answers and has loaded its data; asking for a password
 * is an answer. */
static bool answers(const struct test_server *server) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, server->socket, strlen(server->socket));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 1},
               sizeof(struct timeval));
    char said[8] = "";
    if (write(fd, "PING\r\n", 6) != 6 || read(fd, said, 7) != 7)
        return false;
    return memcmp(said, "+PONG", 5) == 0 || memcmp(said, "-NOAUTH", 7) == 0;
}

static void show_log(const struct test_server *server) {
    char line[512];
    snprintf(line, sizeof(line), "%s/log", server->directory);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *log = fopen(line, "re");
    while (log != NULL && fgets(line, sizeof(line), log) != NULL)
        fputs(line, stderr);
}

static bool has_ended(const struct test_server *server) {
    if (waitpid(server->pid, NULL, WNOHANG) == 0)
        return false;
    show_log(server);
    return true;
}

/* Whether it runs then, and has not ended at once. */
static bool try_to_launch(struct test_server *server) {
    pid_t parent = getpid();
    server->pid = fork();
    ck_assert_int_ge(server->pid, 0);
    if (server->pid == 0)
        become_server(server, parent);
    wait_until(answers(server) || has_ended(server), START_MS);
    return answers(server);
}

/* Somebody may have its port for the moment. */
static void launch(struct test_server *server) {
    for (int left = server->port == 0 ? 1 : PORT_TRIES; !try_to_launch(server); left--)
        ck_assert_msg(left > 1, "redis-server does not start");
}

static void launch_on_a_port(struct test_server *server) {
    for (int left = PORT_TRIES;; left--) {
        server->port =
            PORT_LEAST + (int)(shoal_random() % (uint64_t)(PORT_MOST - PORT_LEAST));
        if (try_to_launch(server))
            break;
        ck_assert_msg(left > 1, "redis-server does not start");
    }
    snprintf(server->tls_url, sizeof(server->tls_url), "rediss://127.0.0.1:%d",
             server->port);
}

static void take_args(struct test_server *server, const char *const *args) {
    size_t n = 0;
    for (; args != NULL && args[n] != NULL; n++) {
        ck_assert_uint_lt(n, TEST_SERVER_ARGS_MAX);
        server->args[n] = args[n];
    }
    server->args[n] = NULL;
}

static void prepare(struct test_server *server, const char *const *args) {
    signal(SIGPIPE,
           SIG_IGN); /* as our programs do: a server that is gone is an error, no end */
    *server = (struct test_server){.directory = "/tmp/shoal-test-redis-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(server->directory));
    snprintf(server->socket, sizeof(server->socket), "%s/redis.sock", server->directory);
    snprintf(server->url, sizeof(server->url), "unix:%s", server->socket);
    start_guardian(server);
    take_args(server, args);
}

void test_server_start(struct test_server *server, const char *const *args) {
    prepare(server, args);
    launch(server);
}

void test_server_start_tls(struct test_server *server, const char *const *args) {
    prepare(server, args);
    launch_on_a_port(server);
}

void test_server_restart(struct test_server *server, const char *const *args) {
    test_server_stop(server);
    if (args != NULL)
        take_args(server, args);
    launch(server);
}

int test_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static void end(struct test_server *server, int signal) {
    if (server->pid == 0)
        return;
    kill(server->pid, signal);
    kill(server->pid, SIGCONT); /* a test may have left it stopped */
    wait_until(waitpid(server->pid, NULL, WNOHANG) != 0, START_MS);
    server->pid = 0;
    unlink(server->socket);
}

void test_server_stop(struct test_server *server) {
    end(server, SIGTERM);
}

void test_server_kill(struct test_server *server) {
    end(server, SIGKILL);
}

void test_server_destroy(struct test_server *server) {
    test_server_kill(server);
    close(server->life);
    waitpid(server->guardian, NULL, 0);
}

struct shoal_redis *test_server_connect(const struct test_server *server,
                                        struct event_base *base,
                                        const struct shoal_redis_options *options) {
    struct shoal_error err = {0};
    struct shoal_redis_address address;
    struct shoal_redis *redis = NULL;
    enum shoal_status status =
        shoal_redis_address_parse(server->url, NULL, &address, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    status = shoal_redis_create(
        base, &address,
        options != NULL ? options : &(struct shoal_redis_options){.reconnect = true},
        NULL, &redis, &err);
    ck_assert_msg(status == SHOAL_OK, "%s", err.text);
    shoal_redis_address_finish(&address);
    shoal_redis_start(redis);
    loop_until(base, shoal_redis_is_up(redis), START_MS);
    return redis;
}

/* hiredis formats the whole command; the words are what is behind its first line. */
static void format_request(struct shoal_request *request, const char *format,
                           va_list args) {
    char *wire = NULL;
    int len = redisvFormatCommand(&wire, format, args);
    ck_assert_int_gt(len, 0);
    char *words = strstr(wire, "\r\n") + 2;
    request->n = strtoul(wire + 1, NULL, 10);
    shoal_buffer_add(&request->words, words, (size_t)(wire + len - words));
    redisFreeCommand(wire);
}

struct answer {
    bool done;
    redisReply *reply;
    struct shoal_error err;
};

static redisReply *copy(const redisReply *reply) {
    redisReply *twin = calloc(1, sizeof(*twin));
    ck_assert_ptr_nonnull(twin);
    *twin = *reply;
    if (reply->str != NULL) {
        twin->str = malloc(reply->len + 1);
        ck_assert_ptr_nonnull(twin->str);
        memcpy(twin->str, reply->str, reply->len + 1);
    }
    if (reply->elements > 0) {
        twin->element = calloc(reply->elements, sizeof(*twin->element));
        ck_assert_ptr_nonnull(twin->element);
        for (size_t i = 0; i < reply->elements; i++)
            twin->element[i] = copy(reply->element[i]);
    } else {
        twin->element = NULL;
    }
    return twin;
}

static void keep_answer(void *owner, SHOAL_UNUSED enum shoal_status status,
                        const redisReply *reply, const struct shoal_error *err) {
    struct answer *answer = owner;
    answer->done = true;
    if (reply != NULL)
        answer->reply = copy(reply);
    else
        answer->err = *err;
}

static redisReply *command(struct shoal_redis *redis, const char *format, va_list args) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    shoal_request_init(&request);
    format_request(&request, format, args);
    struct event_base *base = shoal_redis_base(redis);
    event_base_loop(base, EVLOOP_NONBLOCK); /* a peer that has closed is found now */
    loop_until(base, shoal_redis_is_up(redis), COMMAND_MS);
    struct answer answer = {0};
    enum shoal_status status =
        shoal_redis_send(redis, &request, COMMAND_MS, keep_answer, &answer, &answer.err);
    ck_assert_msg(status == SHOAL_OK, "%s", answer.err.text);
    loop_until(base, answer.done, COMMAND_MS + 1000);
    ck_assert_msg(answer.reply != NULL, "%s", answer.err.text);
    return answer.reply;
}

redisReply *test_command(struct shoal_redis *redis, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *reply = command(redis, format, args);
    va_end(args);
    return reply;
}

int64_t test_command_int(struct shoal_redis *redis, const char *format, ...) {
    va_list args;
    va_start(args, format);
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = command(redis, format, args);
    va_end(args);
    int64_t value;
    ck_assert_msg(shoal_reply_int(reply, &value), "'%s': %s", format,
                  reply->str != NULL ? reply->str : "no number");
    return value;
}

char *test_command_text(struct shoal_redis *redis, const char *format, ...) {
    va_list args;
    va_start(args, format);
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = command(redis, format, args);
    va_end(args);
    const char *text;
    ck_assert_msg(shoal_reply_text(reply, &text), "'%s' gives no text", format);
    char *copy_of_text = strdup(text);
    ck_assert_ptr_nonnull(copy_of_text);
    return copy_of_text;
}
