/* Where the host's trees of control groups are, from what the kernel says. */
#include "worker/cgroup.h"

#include "common/cleanup.h"
#include "common/id.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct shoal_cgroups found;

static void read_texts(const char *mounts, const char *own) {
    SHOAL_CLEANUP(shoal_cleanup_file)
    FILE *mount_file = fmemopen((void *)mounts, strlen(mounts), "r");
    SHOAL_CLEANUP(shoal_cleanup_file)
    FILE *own_file = fmemopen((void *)own, strlen(own), "r");
    ck_assert(mount_file != NULL && own_file != NULL);
    shoal_cgroups_read(mount_file, own_file, &found);
}

#define V2                                                                               \
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MEMORY "31 23 0:27 / /cg/memory rw - cgroup cgroup rw,memory\n"
#define CPU "32 23 0:28 / /cg/cpu rw - cgroup none rw,cpu,cpuacct\n"
#define FREEZER "33 23 0:29 / /cg/freezer rw shared:5 master:1 - cgroup x rw,freezer\n"

static const struct {
    const char *mounts, *own;
    const char *paths[4]; /* in their order */
    unsigned controllers[3];
} hosts[] = {
    {V2, "0::/user.slice/x\n", {"/sys/fs/cgroup/user.slice/x"}, {0}},
    {V2, "0::/\n", {"/sys/fs/cgroup"}, {0}},
    /* where the worker's keeper is when its group bounds others */
    {V2, "0::/a.service/shoal-keeper\n", {"/sys/fs/cgroup/a.service"}, {0}},
    {V2 V2, "0::/a\n", {"/sys/fs/cgroup/a"}, {0}},
    {MEMORY FREEZER V2 CPU,
     "9:cpu,cpuacct:/c\n8:memory:/m\n7:freezer:/\n3:name=systemd:/s\n0::/u\n",
     {"/sys/fs/cgroup/u", "/cg/freezer", "/cg/memory/m"},
     {0, SHOAL_CGROUP_FREEZER, SHOAL_CGROUP_MEMORY}},
    {MEMORY, "8:memory:/m\n", {"/cg/memory/m"}, {SHOAL_CGROUP_MEMORY}},
    {MEMORY, "8:cpu,memory:/m\n", {"/cg/memory/m"}, {SHOAL_CGROUP_MEMORY}},
    /* a container sees a part of the tree, and its groups with their whole names */
    {"1 2 0:1 /docker/x /cg rw - cgroup2 cgroup2 rw\n",
     "0::/docker/x/y\n",
     {"/cg/y"},
     {0}},
    {"1 2 0:1 /docker/x /cg rw - cgroup2 cgroup2 rw\n", "0::/docker/x\n", {"/cg"}, {0}},
    {"1 2 0:1 /docker/x /cg rw - cgroup2 cgroup2 rw\n", "0::/docker/xy\n", {NULL}, {0}},
    {V2, "0::/../other\n", {NULL}, {0}},
    {V2, "8:memory:/m\n", {NULL}, {0}},
    {"1 2 0:1 / /with\\040blank rw - cgroup2 cgroup2 rw\n", "0::/\n", {NULL}, {0}},
    {"1 2 0:1 / /cg rw - cgroup cgroup rw,name=systemd\n",
     "1:name=systemd:/\n",
     {NULL},
     {0}},
    {"1 2 0:1 / /tmp rw - tmpfs tmpfs rw,memory\n", "8:memory:/m\n", {NULL}, {0}},
    /* garbage */
    {"\n", "\n", {NULL}, {0}},
    {" - cgroup2 cgroup2 rw\n", "0::/\n", {NULL}, {0}},
    {"1 - cgroup2 cgroup2 rw\n", "0::/\n", {NULL}, {0}},
    {V2, "0\n0:\n::\n:::\n", {NULL}, {0}},
    {V2 MEMORY CPU FREEZER, "x", {NULL}, {0}},
};

START_TEST(trees_are_where_the_kernel_says) {
    size_t n = 0;
    read_texts(hosts[_i].mounts, hosts[_i].own);
    for (; n < SHOAL_COUNT(hosts[_i].controllers) && hosts[_i].paths[n] != NULL; n++) {
        ck_assert_uint_lt(n, found.n);
        ck_assert_str_eq(found.trees[n].path, hosts[_i].paths[n]);
        ck_assert_uint_eq(found.trees[n].controllers, hosts[_i].controllers[n]);
        ck_assert(found.trees[n].unified == (hosts[_i].controllers[n] == 0));
    }
    if (n < SHOAL_COUNT(hosts[_i].controllers))
        ck_assert_uint_eq(found.n, n);
}
END_TEST

START_TEST(words_that_are_no_group_are_refused) {
    static const char *const words[] = {"",         "on",   "AUTO", "relative/path",
                                        "/no/such", "/tmp", "/proc"};
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(shoal_cgroups_find(words[_i], &found, &err), SHOAL_INVALID);
    ck_assert_uint_gt(strlen(err.text), 0);
}
END_TEST

START_TEST(off_is_none) {
    struct shoal_cgroup *group = NULL;
    struct shoal_limits rest, limits = {.memory = 1 << 20, .processes = 7};
    ck_assert_int_eq(shoal_cgroups_find("off", &found, NULL), SHOAL_OK);
    ck_assert_uint_eq(found.n, 0);
    ck_assert_int_eq(shoal_cgroup_prepare(&group, &found, "x", "0", &limits, &rest, NULL),
                     SHOAL_OK);
    ck_assert_ptr_null(group);
    ck_assert_int_eq(rest.memory, 1 << 20);
    ck_assert_int_eq(rest.processes, 7);
    ck_assert(shoal_cgroup_kill(group));
    ck_assert_int_eq(shoal_cgroup_birthplace(group), -1);
    ck_assert(shoal_cgroup_join(group, false));
    shoal_cgroup_destroy(group);
}
END_TEST

/* As a worker that begins does with the groups of a dead one whose keeper still looks at
 * them: the directory is open, and what was in it can no longer be read. */
START_TEST(groups_that_somebody_else_removed_are_empty) {
    char session[SHOAL_ID_LEN + 1];
    struct shoal_cgroup *group = NULL;
    struct shoal_limits rest, limits = {0};
    shoal_id_make(session);
    ck_assert_int_eq(shoal_cgroups_find("auto", &found, NULL), SHOAL_OK);
    shoal_cgroups_begin(&found, session);
    if (found.n == 0)
        return; /* a host that has none, or gives none to this user */
    ck_assert_int_eq(
        shoal_cgroup_prepare(&group, &found, session, "0", &limits, &rest, NULL),
        SHOAL_OK);
    ck_assert_int_eq(shoal_cgroup_count(group), 0);
    struct shoal_cgroups other = found;
    for (size_t i = 0; i < other.n; i++)
        other.trees[i].lock = -1;
    ck_assert(shoal_cgroups_end(&other, session));
    ck_assert_int_eq(shoal_cgroup_count(group), -1);
    ck_assert(shoal_cgroup_kill(group));
    shoal_cgroup_destroy(group);
    ck_assert(shoal_cgroups_end(&found, session));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cgroup");
    TCase *tests = tcase_create("cgroup");
    tcase_add_loop_test(tests, trees_are_where_the_kernel_says, 0,
                        (int)SHOAL_COUNT(hosts));
    tcase_add_loop_test(tests, words_that_are_no_group_are_refused, 0, 7);
    tcase_add_test(tests, off_is_none);
    tcase_add_test(tests, groups_that_somebody_else_removed_are_empty);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
