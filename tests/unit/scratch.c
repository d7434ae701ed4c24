#include "common/scratch.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/support/process.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static struct test_directory home;
static char scratch[64];

static void setup(void) {
    test_directory_create(&home);
    ck_assert_int_eq(chdir(home.path), 0);
    snprintf(scratch, sizeof(scratch), "%s/scratch", home.path);
    ck_assert_int_eq(mkdir("scratch", 0700), 0);
}

static void teardown(void) {
    ck_assert_int_eq(chdir("/"), 0);
    test_directory_destroy(&home);
}

static void write_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    close(fd);
}

static void assert_empty(const char *path) {
    struct stat status;
    int n = 0;
    ck_assert_int_eq(lstat(path, &status), 0);
    ck_assert(S_ISDIR(status.st_mode));
    ck_assert_int_eq(status.st_mode & 07777, 0700);
    DIR *folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    ck_assert_int_eq(n, 2);
}

static void assert_made_empty(void) {
    bool done = false;
    for (int i = 0; !done && i < 30; i++) { /* a second each, on a busy machine */
        done = shoal_scratch_make_empty(scratch);
        ck_assert_msg(done || errno == EAGAIN, "%s", strerror(errno));
    }
    ck_assert(done);
    assert_empty(scratch);
}

START_TEST(a_directory_is_made) {
    ck_assert_int_eq(rmdir(scratch), 0);
    assert_made_empty();
}
END_TEST

START_TEST(an_empty_one_stays) {
    struct stat before, after;
    ck_assert_int_eq(stat(scratch, &before), 0);
    assert_made_empty();
    ck_assert_int_eq(stat(scratch, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

START_TEST(a_missing_parent_is_told) {
    ck_assert(!shoal_scratch_make_empty("missing/scratch"));
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

/* What shell commands make in the scratch directory; all of it goes. */
static const char *const litter[] = {
    "touch a b c",
    "touch -- .hidden ' ' '-rf' \"$(printf 'new\\nline')\"",
    "touch $(printf 'x%.0s' $(seq 255))",
    "mkdir -p a/b/c/d/e a/b2 a/b3/c; touch a/1 a/b/2 a/b/c/d/e/3",
    "mkdir -p 0/0/0 1/1/1 2/0/1; touch 0/0/0/f 1/1/1/f 2/0/1/f", /* the names it gives */
    "mkdir -p a/b/c; touch 0 1 2 a/b/c/f; chmod 0 a/b/c a/b a",
    "mkdir -p a/b; touch a/b/c; chmod 500 a/b a .",
    "chmod 0 .",
    "chmod 7777 .",
    "ln -s .. up; ln -s . self; ln -s missing broken; mkdir d; ln -s ../.. d/up",
    "mkfifo fifo; ln fifo hard",
    "for i in $(seq 300); do mkdir -p $i/$i; touch $i/$i/$i; done",
    "seq 2000 | xargs touch",
};

static void run(const char *commands) {
    const char *const argv[] = {"sh", "-c", commands, NULL};
    const struct test_program program = {.argv = argv, .directory = scratch};
    ck_assert_int_eq(test_run(&program, 20000, NULL, NULL), 0);
}

START_TEST(whatever_is_in_it_goes) {
    run(litter[_i]);
    assert_made_empty();
}
END_TEST

/* Root may enter any directory; somebody else must be given the right first. */
START_TEST(whatever_is_in_it_goes_for_a_common_user) {
    run(litter[_i]);
    run("chown -hR 65534:65534 .");
    ck_assert_int_eq(chmod(home.path, 0755), 0);
    ck_assert_int_eq(seteuid(NOBODY), 0);
    assert_made_empty();
    ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(links_are_not_followed) {
    ck_assert_int_eq(mkdir("precious", 0755), 0);
    write_file("precious/file");
    ck_assert_int_eq(symlink("../precious", "scratch/link"), 0);
    ck_assert_int_eq(mkdir("scratch/d", 0700), 0);
    ck_assert_int_eq(symlink("../../precious", "scratch/d/link"), 0);
    ck_assert_int_eq(symlink("../../precious/file", "scratch/d/file"), 0);
    assert_made_empty();
    ck_assert_int_eq(access("precious/file", F_OK), 0);
}
END_TEST

START_TEST(a_link_in_its_place_is_replaced) {
    struct stat status;
    ck_assert_int_eq(mkdir("precious", 0755), 0);
    write_file("precious/file");
    ck_assert_int_eq(rmdir(scratch), 0);
    ck_assert_int_eq(symlink("precious", scratch), 0);
    assert_made_empty();
    ck_assert_int_eq(access("precious/file", F_OK), 0);
    ck_assert_int_eq(stat("precious", &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0755);

    ck_assert_int_eq(rmdir(scratch), 0);
    ck_assert_int_eq(symlink("precious", scratch), 0);
    shoal_scratch_remove_tree(scratch);
    ck_assert_int_ne(access(scratch, F_OK), 0);
    ck_assert_int_eq(access("precious/file", F_OK), 0);
}
END_TEST

START_TEST(a_file_in_its_place_is_replaced) {
    ck_assert_int_eq(rmdir(scratch), 0);
    write_file(scratch);
    assert_made_empty();
}
END_TEST

/* Deeper than a path may be long, than there are descriptors, and than a stack. */
static void dig(int levels) {
    int fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < levels; i++) {
        ck_assert_int_eq(mkdirat(fd, "deeper", 0700), 0);
        int next = openat(fd, "deeper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_ge(next, 0);
        close(fd);
        fd = next;
    }
    close(fd);
}

START_TEST(depth_does_not_matter) {
    dig(5000);
    assert_made_empty();
}
END_TEST

static int64_t slow_clock_ms;

static int64_t slow_clock(void) {
    return slow_clock_ms += 200;
}

START_TEST(a_long_work_has_pauses) {
    int pauses = 0;
    run("for i in $(seq 20); do mkdir -p $i/$i; touch $i/$i/$i; done");
    shoal_now_ms = slow_clock;
    while (!shoal_scratch_make_empty(scratch)) {
        ck_assert_int_eq(errno, EAGAIN);
        ck_assert_int_lt(pauses++, 200);
    }
    ck_assert_int_gt(pauses, 3);
    assert_empty(scratch);
}
END_TEST

START_TEST(other_file_systems_are_not_entered) {
    ck_assert_int_eq(mkdir("precious", 0755), 0);
    write_file("precious/file");
    run("mkdir -p a/b/mounted mounted; touch a/f a/b/f");
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("precious", "scratch/mounted", NULL, MS_BIND, NULL) != 0 ||
        mount("precious", "scratch/a/b/mounted", NULL, MS_BIND, NULL) != 0)
        return; /* not allowed here */
    ck_assert(!shoal_scratch_make_empty(scratch));
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_int_eq(access("precious/file", F_OK), 0);
    shoal_scratch_remove_tree(scratch);
    ck_assert_int_eq(access("precious/file", F_OK), 0);
    run("grep -o \" $PWD/[^ ]*\" /proc/self/mounts | xargs umount");
    assert_made_empty();
}
END_TEST

START_TEST(a_tree_is_removed) {
    run(litter[_i]);
    shoal_scratch_remove_tree(scratch);
    ck_assert_int_ne(access(scratch, F_OK), 0);
    ck_assert_int_eq(errno, ENOENT);
    shoal_scratch_remove_tree(scratch); /* and one that is not there */
}
END_TEST

int main(void) {
    Suite *suite = suite_create("scratch");
    TCase *tcase = tcase_create("scratch");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_directory_is_made);
    tcase_add_test(tcase, an_empty_one_stays);
    tcase_add_test(tcase, a_missing_parent_is_told);
    tcase_add_loop_test(tcase, whatever_is_in_it_goes, 0, SHOAL_COUNT(litter));
    if (geteuid() == 0)
        tcase_add_loop_test(tcase, whatever_is_in_it_goes_for_a_common_user, 0,
                            SHOAL_COUNT(litter));
    tcase_add_test(tcase, links_are_not_followed);
    tcase_add_test(tcase, a_link_in_its_place_is_replaced);
    tcase_add_test(tcase, a_file_in_its_place_is_replaced);
    tcase_add_test(tcase, depth_does_not_matter);
    tcase_add_test(tcase, a_long_work_has_pauses);
    tcase_add_test(tcase, other_file_systems_are_not_entered);
    tcase_add_loop_test(tcase, a_tree_is_removed, 0, SHOAL_COUNT(litter));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
