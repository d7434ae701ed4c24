/* The local cluster with real daemons, in a state directory of its own. SHOAL_BUILD says
 * where the daemons are. */
#include "client/local_cluster.h"
#include "common/cleanup.h"
#include "tests/support/process.h"
#include "tests/support/wait.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_directory base;
static char state[256];
static struct shoal_error err;
static const char *const pid_files[] = {"redis.pid", "broker.pid", "worker.pid"};

static void expect(enum shoal_status status, enum shoal_status expected) {
    ck_assert_msg(status == expected, "%s instead of %s: %s", shoal_status_name(status),
                  shoal_status_name(expected), err.text);
    shoal_error_clear(&err);
}

static void setup(void) {
    char path[8192];
    const char *build = getenv("SHOAL_BUILD");
    test_directory_create(&base);
    snprintf(state, sizeof(state), "%s/state", base.path);
    setenv("SHOAL_STATE", state, 1);
    snprintf(path, sizeof(path), "%s:%s", build == NULL ? "build" : build,
             getenv("PATH"));
    setenv("PATH", path, 1);
    shoal_error_clear(&err);
}

static void teardown(void) {
    struct shoal_local_end end;
    expect(shoal_cluster_down(&end, &err), SHOAL_OK);
    test_directory_destroy(&base);
}

static struct shoal_cluster *begin(enum shoal_cluster_need need) {
    struct shoal_cluster *cluster = NULL;
    expect(shoal_cluster_use(need, NULL, "default", 1, &cluster, &err), SHOAL_OK);
    return cluster;
}

/* Who has the lock of a pid file. */
static pid_t holder(const char *name) {
    char path[512];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(path, sizeof(path), "%s/%s", state, name);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid;
}

static int running(void) {
    int n = 0;
    for (size_t i = 0; i < SHOAL_COUNT(pid_files); i++)
        n += holder(pid_files[i]) != 0;
    return n;
}

START_TEST(last_user_stops_what_it_started) {
    struct shoal_cluster *cluster = begin(SHOAL_CLUSTER_WORK);
    ck_assert_int_eq(running(), 3);
    ck_assert(shoal_cluster_is_last(cluster));
    shoal_cluster_leave(cluster, true);
    ck_assert_int_eq(running(), 0);
}
END_TEST

START_TEST(it_stays_when_jobs_are_left) {
    pid_t redis;
    shoal_cluster_leave(begin(SHOAL_CLUSTER_WORK), false);
    ck_assert_int_eq(running(), 3);
    redis = holder("redis.pid");
    shoal_cluster_leave(begin(SHOAL_CLUSTER_WORK), false);
    ck_assert_int_eq(holder("redis.pid"), redis);
}
END_TEST

START_TEST(nobody_stops_it_while_another_uses_it) {
    int ends[2], back[2];
    char byte = 'x';
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(back, O_CLOEXEC), 0);
    struct shoal_cluster *cluster = begin(SHOAL_CLUSTER_WORK);
    pid_t other = fork();
    if (other == 0) {
        struct shoal_cluster *mine = begin(SHOAL_CLUSTER_WORK);
        bool good = write(back[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1;
        shoal_cluster_leave(mine, false);
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(read(back[0], &byte, 1), 1);
    ck_assert(!shoal_cluster_is_last(cluster));
    shoal_cluster_leave(cluster, true);
    ck_assert_int_eq(running(), 3);
    ck_assert_int_eq(write(ends[1], &byte, 1), 1);
    waitpid(other, NULL, 0);
}
END_TEST

START_TEST(up_keeps_it_until_down) {
    struct shoal_local_end end;
    struct shoal_cluster *cluster = begin(SHOAL_CLUSTER_WORK);
    expect(shoal_cluster_keep(cluster, &err), SHOAL_OK);
    ck_assert(!shoal_cluster_is_last(cluster));
    shoal_cluster_leave(cluster, true);
    ck_assert_int_eq(running(), 3);
    expect(shoal_cluster_down(&end, &err), SHOAL_OK);
    ck_assert(end.ran && !end.killed);
    ck_assert_int_eq(running(), 0);
    expect(shoal_cluster_down(&end, &err), SHOAL_OK);
    ck_assert(!end.ran);
}
END_TEST

START_TEST(reading_needs_data_and_starts_no_worker) {
    struct shoal_cluster *cluster = NULL;
    expect(shoal_cluster_use(SHOAL_CLUSTER_READ, NULL, NULL, 0, &cluster, &err),
           SHOAL_UNKNOWN);
    shoal_cluster_leave(begin(SHOAL_CLUSTER_WORK), true);
    ck_assert_int_eq(running(), 0);
    cluster = begin(SHOAL_CLUSTER_READ);
    ck_assert_int_eq(running(), 1);
    shoal_cluster_leave(cluster, true);
    ck_assert_int_eq(running(), 0);
}
END_TEST

START_TEST(killed_daemon_is_started_again) {
    struct shoal_cluster *cluster = begin(SHOAL_CLUSTER_WORK);
    for (size_t i = 0; i < SHOAL_COUNT(pid_files); i++) {
        pid_t pid = holder(pid_files[i]);
        ck_assert_int_gt(pid, 1);
        kill(pid, SIGKILL);
        wait_until(holder(pid_files[i]) == 0, 5000);
    }
    shoal_cluster_leave(cluster, false);
    shoal_cluster_leave(begin(SHOAL_CLUSTER_WORK), false);
    ck_assert_int_eq(running(), 3);
}
END_TEST

START_TEST(stranger_in_a_pid_file_is_left_alone) {
    char path[512];
    struct shoal_local_end end;
    shoal_cluster_leave(begin(SHOAL_CLUSTER_WORK), true);
    pid_t stranger = fork();
    if (stranger == 0) {
        pause();
        _exit(0);
    }
    for (size_t i = 0; i < SHOAL_COUNT(pid_files); i++) {
        snprintf(path, sizeof(path), "%s/%s", state, pid_files[i]);
        FILE *file = fopen(path, "we");
        fprintf(file, "%d\n", (int)stranger);
        fclose(file);
    }
    expect(shoal_cluster_down(&end, &err), SHOAL_OK);
    ck_assert(!end.ran);
    ck_assert_int_eq(waitpid(stranger, NULL, WNOHANG), 0); /* it lives */
    kill(stranger, SIGKILL);
    waitpid(stranger, NULL, 0);
}
END_TEST

START_TEST(long_path_gets_a_short_socket) {
    snprintf(state, sizeof(state), "%s/%0150d", base.path, 0);
    setenv("SHOAL_STATE", state, 1);
    struct shoal_cluster *cluster = begin(SHOAL_CLUSTER_WORK);
    char folder[128];
    ck_assert_uint_le(strlen(shoal_cluster_url(cluster)), strlen("unix:") + 107);
    snprintf(folder, sizeof(folder), "%s", shoal_cluster_url(cluster) + strlen("unix:"));
    shoal_cluster_leave(cluster, true);
    ck_assert_int_eq(running(), 0);
    *strrchr(folder, '/') = '\0';
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(last_job_is_remembered) {
    char id[13] = "";
    expect(shoal_state_last_job(id, &err), SHOAL_UNKNOWN);
    shoal_state_remember_job("0123456789ab");
    shoal_state_remember_job("ab0123456789");
    expect(shoal_state_last_job(id, &err), SHOAL_OK);
    ck_assert_str_eq(id, "ab0123456789");
}
END_TEST

START_TEST(bad_state_directory_is_said) {
    static const char *const rows[] = {"relative", "/proc/shoal", "/dev/null/x"};
    struct shoal_cluster *cluster = NULL;
    setenv("SHOAL_STATE", rows[_i], 1);
    enum shoal_status status =
        shoal_cluster_use(SHOAL_CLUSTER_WORK, NULL, NULL, 0, &cluster, &err);
    ck_assert_int_ne(status, SHOAL_OK);
    ck_assert_msg(strstr(err.text, "SHOAL_STATE") != NULL, "%s", err.text);
    setenv("SHOAL_STATE", state, 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("local_cluster");
    TCase *tests = tcase_create("cluster");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, last_user_stops_what_it_started);
    tcase_add_test(tests, it_stays_when_jobs_are_left);
    tcase_add_test(tests, nobody_stops_it_while_another_uses_it);
    tcase_add_test(tests, up_keeps_it_until_down);
    tcase_add_test(tests, reading_needs_data_and_starts_no_worker);
    tcase_add_test(tests, killed_daemon_is_started_again);
    tcase_add_test(tests, stranger_in_a_pid_file_is_left_alone);
    tcase_add_test(tests, long_path_gets_a_short_socket);
    tcase_add_test(tests, last_job_is_remembered);
    tcase_add_loop_test(tests, bad_state_directory_is_said, 0, 3);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
