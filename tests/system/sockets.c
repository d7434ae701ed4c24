/* Whatever shoal starts by default can be reached by its user on this machine and by
 * nobody else: every socket that its processes listen on is looked at. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"
#include "tests/support/listening.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Daemons that leave their parents become children of the test. */
static void setup(void) {
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    daemons_start(NULL);
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
}

static void teardown(void) {
    daemons_finish();
}

/* All that the test has started, and itself. */
static void look(struct test_listening *found) {
    struct test_pids pids;
    test_descendants(getpid(), &pids);
    ck_assert_uint_lt(pids.n, TEST_PIDS_MAX);
    pids.pid[pids.n++] = getpid();
    test_listening_look(&pids, found);
}

/* ---- what shoal starts */

#define LOCAL "env -u SHOAL_REDIS -u XDG_RUNTIME_DIR "
#define GATED ": > began; exec flock -sF gate true"

/* Each goes on until the gate is opened, or by itself until it is told to end; `began` or
 * a word in its log tells that all is there. */
static const struct {
    const char *command;
    const char *says;     /* NULL: it makes the file */
    const char *programs; /* that must be running then */
    size_t sockets;       /* that it must listen on */
} defaults[] = {
    {LOCAL "sh -c 'shoal up --slots 1 && : > began && flock -sF gate shoal down'", NULL,
     "redis-server shoal-broker shoal-worker", 2},
    {LOCAL "shoal run --slots 1 -- sh -c '" GATED "'", NULL,
     "shoal redis-server shoal-broker shoal-worker flock", 2},
    {LOCAL "shoal run --slots 1 --plugin \"$PLUGIN\" --task gated -p x=1", NULL,
     "shoal redis-server shoal-broker shoal-worker shoal-host", 2},
    {LOCAL "shoal run --slots 1 --python model:gated -p x=1", NULL,
     "shoal redis-server shoal-broker shoal-worker python3", 2},
    {"shoal-worker --session-ttl 4s --slots 1", "message=registered", "shoal-worker", 1},
    {"env -u XDG_RUNTIME_DIR shoal-worker --session-ttl 4s --slots 1",
     "message=registered", "shoal-worker", 1},
    {"shoal-broker", "keeping the queue moving", "shoal-broker", 0},
};

/* By the name that the kernel has of it. */
static bool is_running(const char *program) {
    struct test_pids pids;
    test_descendants(getpid(), &pids);
    for (size_t i = 0; i < pids.n; i++) {
        char path[64], name[32] = "";
        snprintf(path, sizeof(path), "/proc/%d/comm", (int)pids.pid[i]);
        SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "re");
        if (file != NULL && fgets(name, sizeof(name), file) != NULL &&
            strcmp(strtok(name, "\n"), program) == 0)
            return true;
    }
    return false;
}

static void expect_running(const char *programs) {
    char names[128];
    snprintf(names, sizeof(names), "%s", programs);
    for (char *rest = names, *name; (name = strsep(&rest, " ")) != NULL;)
        wait_until(is_running(name), LIMIT_MS);
}

/* Whether there are so many by now. */
static bool has_come(struct test_listening *found, size_t least) {
    look(found);
    return found->n >= least;
}

START_TEST(what_listens_by_default_is_its_users_alone) {
    struct test_listening before, found;
    struct test_process process;
    int gate = gate_close("gate");
    ok("printf 'import fcntl\\n\\ndef gated(x):\\n    open(\"began\", \"w\").close()\\n"
       "    fcntl.flock(open(\"gate\"), fcntl.LOCK_SH)\\n' > model.py");
    look(&before); /* the test's own Redis */
    ck_assert_uint_eq(before.n, 1);
    sh_start(&process, "%s", defaults[_i].command);
    wait_until(files("began") + files("runs") == 1 ||
                   (defaults[_i].says != NULL && has_said(&process, defaults[_i].says)),
               LIMIT_MS);
    expect_running(defaults[_i].programs);
    wait_until(has_come(&found, before.n + defaults[_i].sockets), LIMIT_MS);
    ck_assert_msg(found.open == 0, "%s", found.said);
    ck_assert_uint_eq(found.n, before.n + defaults[_i].sockets);
    gate_open(gate);
    if (defaults[_i].says != NULL)
        test_process_signal(&process, SIGTERM);
    ck_assert_int_eq(test_process_wait(&process, LIMIT_MS), 0);
    test_process_finish(&process);
}
END_TEST

/* ---- what is open would be found */

START_TEST(what_a_task_opens_is_found) {
    struct test_listening found;
    struct test_process process;
    int gate = gate_close("gate");
    ok("printf 'import fcntl, socket\\ns = socket.create_server((\"0.0.0.0\", 0))\\n"
       "open(\"began\", \"w\").close()\\nfcntl.flock(open(\"gate\"), fcntl.LOCK_SH)\\n' "
       "> server.py");
    sh_start(&process, LOCAL "shoal run --slots 1 -- python3 server.py");
    wait_until(files("began") == 1, LIMIT_MS);
    look(&found);
    ck_assert_uint_eq(found.open, 1);
    ck_assert_ptr_nonnull(strstr(found.said, ": tcp 00000000:"));
    gate_open(gate);
    ck_assert_int_eq(test_process_wait(&process, LIMIT_MS), 0);
    test_process_finish(&process);
}
END_TEST

/* ---- each kind of socket, one at a time */

enum { PRIVATE, OPEN };

static struct test_directory folder;

static void make_folders(void) {
    char path[64];
    test_directory_create(&folder);
    snprintf(path, sizeof(path), "%s/shut", folder.path);
    ck_assert(mkdir(path, 0700) == 0);
    snprintf(path, sizeof(path), "%s/wide", folder.path);
    ck_assert(mkdir(path, 0755) == 0 && chmod(path, 0755) == 0);
}

static void remove_folders(void) {
    test_directory_destroy(&folder);
}

static const struct {
    int family, type;
    const char *address; /* of a unix socket: its file, or "" for none */
    mode_t mode;         /* of that file */
    bool is_open;
} kinds[] = {
    {AF_INET, SOCK_STREAM, "127.0.0.1", 0, PRIVATE},
    {AF_INET, SOCK_STREAM, "127.8.8.8", 0, PRIVATE},
    {AF_INET, SOCK_STREAM, "0.0.0.0", 0, OPEN},
    {AF_INET, SOCK_DGRAM, "127.0.0.1", 0, PRIVATE},
    {AF_INET, SOCK_DGRAM, "0.0.0.0", 0, OPEN},
    {AF_INET, SOCK_RAW, "127.0.0.1", 0, OPEN},
    {AF_INET6, SOCK_STREAM, "::1", 0, PRIVATE},
    {AF_INET6, SOCK_STREAM, "::ffff:127.0.0.1", 0, PRIVATE},
    {AF_INET6, SOCK_STREAM, "::", 0, OPEN},
    {AF_INET6, SOCK_STREAM, "::ffff:0.0.0.0", 0, OPEN},
    {AF_INET6, SOCK_DGRAM, "::1", 0, PRIVATE},
    {AF_INET6, SOCK_DGRAM, "::", 0, OPEN},
    {AF_INET6, SOCK_RAW, "::1", 0, OPEN},
    {AF_UNIX, SOCK_STREAM, "shut/socket", 0666, PRIVATE},
    {AF_UNIX, SOCK_STREAM, "wide/socket", 0600, PRIVATE},
    {AF_UNIX, SOCK_STREAM, "wide/socket", 0660, OPEN},
    {AF_UNIX, SOCK_STREAM, "", 0, OPEN},
    {AF_UNIX, SOCK_SEQPACKET, "wide/socket", 0666, OPEN},
    {AF_UNIX, SOCK_DGRAM, "shut/socket", 0666, PRIVATE},
    {AF_UNIX, SOCK_DGRAM, "wide/socket", 0606, OPEN},
    {AF_UNIX, SOCK_DGRAM, "", 0, OPEN},
    {AF_PACKET, SOCK_DGRAM, "", 0, OPEN},
    {AF_VSOCK, SOCK_STREAM, "", 0, OPEN},
};

union place {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_vm vm;
};

/* The length of what it filled in. */
static socklen_t make_place(int family, const char *address, union place *place) {
    *place = (union place){.any.sa_family = (sa_family_t)family};
    switch (family) {
    case AF_INET:
        inet_pton(family, address, &place->in.sin_addr);
        return sizeof(place->in);
    case AF_INET6:
        inet_pton(family, address, &place->in6.sin6_addr);
        return sizeof(place->in6);
    case AF_UNIX: /* the kernel finds a name when there is none */
        snprintf(place->un.sun_path, sizeof(place->un.sun_path), "%s/%s", folder.path,
                 address);
        return *address == '\0' ? sizeof(sa_family_t) : sizeof(place->un);
    case AF_VSOCK:
        place->vm.svm_cid = VMADDR_CID_ANY;
        place->vm.svm_port = VMADDR_PORT_ANY;
        return sizeof(place->vm);
    default:
        return 0; /* it hears what comes without being bound */
    }
}

/* -1: this machine has no such sockets, or not for us. */
static int listen_as(size_t kind) {
    union place place;
    int family = kinds[kind].family, type = kinds[kind].type;
    socklen_t len = make_place(family, kinds[kind].address, &place);
    int fd = socket(family, type | SOCK_CLOEXEC, type == SOCK_RAW ? IPPROTO_UDP : 0);
    if (fd < 0 || (len > 0 && bind(fd, &place.any, len) != 0) ||
        ((type == SOCK_STREAM || type == SOCK_SEQPACKET) && listen(fd, 1) != 0)) {
        shoal_cleanup_fd(&fd);
        return -1;
    }
    if (kinds[kind].mode != 0)
        ck_assert_int_eq(chmod(place.un.sun_path, kinds[kind].mode), 0);
    return fd;
}

START_TEST(every_kind_of_socket_is_seen_for_what_it_is) {
    struct test_listening found;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = listen_as((size_t)_i);
    if (fd < 0) {
        printf("skipped: this host does not let us use sockets of family %d, type %d\n",
               kinds[_i].family, kinds[_i].type);
        return;
    }
    look(&found);
    ck_assert_uint_eq(found.n, 1);
    ck_assert_uint_eq(found.open, kinds[_i].is_open ? 1 : 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sockets");
    TCase *tests = tcase_create("sockets");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, what_listens_by_default_is_its_users_alone, 0,
                        (int)SHOAL_COUNT(defaults));
    tcase_add_test(tests, what_a_task_opens_is_found);
    suite_add_tcase(suite, tests);
    TCase *each = tcase_create("kinds");
    tcase_add_checked_fixture(each, make_folders, remove_folders);
    tcase_add_loop_test(each, every_kind_of_socket_is_seen_for_what_it_is, 0,
                        (int)SHOAL_COUNT(kinds));
    suite_add_tcase(suite, each);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
