/* Where state is kept. */
#include "common/state.h"

#include "common/scratch.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *value_of(const char *text) {
    return *text == '\0' ? NULL : text;
}

static void set(const char *name, const char *value) {
    if (value == NULL)
        unsetenv(name);
    else
        setenv(name, value, 1);
}

/* "": not set. The last: of a daemon that root started. */
static const struct {
    const char *state, *xdg, *home, *of_user, *of_root;
} places[] = {
    {"", "", "/home/me", "/home/me/.local/state/shoal", "/var/lib/shoal"},
    {"", "/xdg", "/home/me", "/xdg/shoal", "/var/lib/shoal"},
    {"", "relative", "/home/me", "/home/me/.local/state/shoal", "/var/lib/shoal"},
    {"/state", "/xdg", "/home/me", "/state", "/state"},
};

START_TEST(state_is_where_the_environment_says) {
    char path[PATH_MAX];
    struct shoal_error err = {.status = SHOAL_OK};
    set("SHOAL_STATE", value_of(places[_i].state));
    set("XDG_STATE_HOME", value_of(places[_i].xdg));
    set("HOME", value_of(places[_i].home));
    ck_assert_int_eq(shoal_state_of_user(path, sizeof(path), &err), SHOAL_OK);
    ck_assert_str_eq(path, places[_i].of_user);
    ck_assert_int_eq(shoal_state_of_daemon(path, sizeof(path), &err), SHOAL_OK);
    ck_assert_str_eq(path, geteuid() == 0 ? places[_i].of_root : places[_i].of_user);
}
END_TEST

START_TEST(state_must_be_an_absolute_path) {
    char path[PATH_MAX];
    struct shoal_error err = {.status = SHOAL_OK};
    set("SHOAL_STATE", "here");
    ck_assert_int_eq(shoal_state_of_user(path, sizeof(path), &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "'here' cannot be the state directory"));
    ck_assert_int_eq(shoal_state_of_daemon(path, sizeof(path), NULL), SHOAL_INVALID);
    set("SHOAL_STATE", "/a/path/that/is/too/long");
    ck_assert_int_eq(shoal_state_of_user(path, 140, NULL), SHOAL_INVALID);
}
END_TEST

START_TEST(settings_are_where_the_environment_says) {
    char path[PATH_MAX];
    struct shoal_error err = {.status = SHOAL_OK};
    set("HOME", "/home/me");
    set("XDG_CONFIG_HOME", NULL);
    ck_assert_int_eq(shoal_config_of_user("a.key", path, sizeof(path), NULL), SHOAL_OK);
    ck_assert_str_eq(path, "/home/me/.config/shoal/a.key");
    set("XDG_CONFIG_HOME", "relative");
    ck_assert_int_eq(shoal_config_of_user("a.key", path, sizeof(path), NULL), SHOAL_OK);
    ck_assert_str_eq(path, "/home/me/.config/shoal/a.key");
    set("XDG_CONFIG_HOME", "/xdg");
    ck_assert_int_eq(shoal_config_of_user("a.key", path, sizeof(path), NULL), SHOAL_OK);
    ck_assert_str_eq(path, "/xdg/shoal/a.key");
    ck_assert_int_eq(shoal_config_of_user("a.key", path, 10, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "set HOME"));
}
END_TEST

START_TEST(directories_are_made_with_those_above) {
    char root[] = "/tmp/shoal-test-XXXXXX", path[PATH_MAX];
    struct stat status;
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/a/b/c", root);
    for (int i = 0; i < 2; i++) {
        ck_assert(shoal_directories_make(path));
        ck_assert_int_eq(stat(path, &status), 0);
        ck_assert_int_eq(status.st_mode & 07777, 0700);
    }
    snprintf(path, sizeof(path), "/dev/null/a");
    ck_assert(!shoal_directories_make(path));
    ck_assert_int_eq(errno, ENOTDIR);
    shoal_scratch_remove_tree(root);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("state");
    TCase *cases = tcase_create("state");
    const int n = sizeof(places) / sizeof(*places);
    tcase_add_loop_test(cases, state_is_where_the_environment_says, 0, n);
    tcase_add_test(cases, state_must_be_an_absolute_path);
    tcase_add_test(cases, settings_are_where_the_environment_says);
    tcase_add_test(cases, directories_are_made_with_those_above);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
