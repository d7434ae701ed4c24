/* Which program a worker with lists starts, and as what. */
#include "worker/child.h"

#include "common/cleanup.h"
#include "common/scratch.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[32];
static struct shoal_allow of_key, of_worker;

static const char *in_home(const char *name) {
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", home, name);
    return path;
}

static void point_link_to(const char *target) {
    unlink(in_home("link"));
    ck_assert_int_eq(symlink(target, in_home("link")), 0);
}

/* The C library's, but the link leads elsewhere as soon as somebody has looked where it
 * leads. */
char *realpath(const char *name, char *resolved) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *found = canonicalize_file_name(name);
    if (found == NULL)
        return NULL;
    if (strcmp(strrchr(name, '/'), "/link") == 0)
        point_link_to(strcmp(found, in_home("a/file")) == 0 ? "b/file" : "a/file");
    return strcpy(resolved, found);
}

static void write_script(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "#!/bin/sh\n%s\n", text);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0700), 0);
}

static void copy_program(const char *from, const char *to) {
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    ck_assert(in >= 0 && out >= 0);
    while (sendfile(out, in, NULL, 1 << 20) > 0)
        ;
    close(in);
    close(out);
}

static void make_list(struct shoal_allow *allow, const char *pattern) {
    const struct shoal_option_list list = {.items = &pattern, .n = 1};
    ck_assert_int_eq(shoal_allow_init(allow, &list, NULL), SHOAL_OK);
    snprintf(allow->host, sizeof(allow->host), "%s", in_home("host"));
}

static void set_up(void) {
    strcpy(home, "/tmp/shoal-child-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
    ck_assert_int_eq(mkdir(in_home("a"), 0700), 0);
    ck_assert_int_eq(mkdir(in_home("b"), 0700), 0);
    fclose(fopen(in_home("a/file"), "w"));
    fclose(fopen(in_home("b/file"), "w"));
    write_script(in_home("host"), "printf %s \"$2\"");
    make_list(&of_key, in_home("a/*"));
    make_list(&of_worker, in_home("**"));
}

static void tear_down(void) {
    shoal_allow_finish(&of_key);
    shoal_allow_finish(&of_worker);
    shoal_scratch_remove_tree(home);
}

/* What it printed; NULL: it was refused, as `err` says. */
static const char *run(char *const *argv, struct shoal_error *err) {
    static char printed[256];
    static char *const environment[] = {NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), ends[2];
    pid_t pid = 0;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    const struct shoal_child child = {.argv = argv,
                                      .environment = environment,
                                      .directory = home,
                                      .fds = {null, ends[1], null},
                                      .n_fds = 3,
                                      .allow = &of_worker,
                                      .of_key = &of_key};
    enum shoal_status status = shoal_child_start(&child, &pid, err);
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], printed + len, sizeof(printed) - 1 - len)) > 0;)
        len += (size_t)n;
    printed[len] = '\0';
    close(ends[0]);
    close(null);
    if (status != SHOAL_OK)
        return NULL;
    shoal_child_wait(pid);
    return printed;
}

START_TEST(what_has_to_be_on_both_lists_is_looked_at_once) {
    char *const plugin[] = {"./host", "--plugin", "link", "--task", "x", NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    point_link_to("a/file");
    const char *printed = run(plugin, &err);
    ck_assert_msg(printed != NULL, "%s", err.text);
    ck_assert_str_eq(printed, in_home("a/file"));
    point_link_to("b/file");
    ck_assert_ptr_null(run(plugin, &err));
    ck_assert_msg(strstr(err.text, "b/file' is not among") != NULL, "%s", err.text);
}
END_TEST

/* Many programs in one, as busybox is, do what that says. */
START_TEST(listed_program_is_called_by_its_real_path) {
    char *const called[] = {"./sh", "/proc/self/cmdline", NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    copy_program("/bin/cat", in_home("a/cat"));
    ck_assert_int_eq(symlink("a/cat", in_home("sh")), 0);
    const char *printed = run(called, &err);
    ck_assert_msg(printed != NULL, "%s", err.text);
    ck_assert_str_eq(printed, in_home("a/cat"));
    ck_assert_str_eq(printed + strlen(printed) + 1, "/proc/self/cmdline");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("child");
    TCase *tests = tcase_create("child");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, what_has_to_be_on_both_lists_is_looked_at_once);
    tcase_add_test(tests, listed_program_is_called_by_its_real_path);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
