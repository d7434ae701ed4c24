/* The units of systemd: they make sense to it, are as tight as their bounds say, and
 * their files of settings name what the programs read. */
#include "common/cleanup.h"
#include "tests/support/process.h"

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_MS = 50000 };

/* By what `systemd-analyze security` counts, from 0, which needs nothing, to 10. What a
 * worker cannot do without, and why, stands in its unit. */
static const struct {
    const char *program;
    const char *folder;
    double most;
} units[] = {
    {"shoal-broker", "broker/systemd", 1.1},
    {"shoal-worker", "worker/systemd", 2.6},
};

static struct test_directory directory;
static char unit[PATH_MAX];

static int sh(char **ret_out, const char *format, const char *a, const char *b,
              const char *c) {
    char command[4 * PATH_MAX];
    ck_assert_int_lt(snprintf(command, sizeof(command), format, a, b, c),
                     (int)sizeof(command));
    const char *const argv[] = {"sh", "-c", command, NULL};
    const struct test_program program = {.argv = argv};
    return test_run(&program, LIMIT_MS, ret_out, NULL);
}

/* Makes the unit as `make install` does, for the programs of this build. */
static void install(size_t i) {
    struct test_path build = test_built("");
    char template[PATH_MAX];
    test_directory_create(&directory);
    snprintf(template, sizeof(template), "%s/%s.service.in", units[i].folder,
             units[i].program);
    snprintf(unit, sizeof(unit), "%s/%s.service", directory.path, units[i].program);
    ck_assert_int_eq(
        sh(NULL, "sed 's|@BINDIR@/|%s|' '%s' > '%s'", build.text, template, unit), 0);
}

START_TEST(unit_makes_sense) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *said = NULL;
    install((size_t)_i);
    int exit = sh(&said, "systemd-analyze verify --man=no '%s' 2>&1 %s%s", unit, "", "");
    ck_assert_str_eq(said, "");
    ck_assert_int_eq(exit, 0);
    test_directory_destroy(&directory);
}
END_TEST

START_TEST(unit_is_tight) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *said = NULL;
    double exposure = 10;
    install((size_t)_i);
    sh(&said, "systemd-analyze security --offline=true --no-pager '%s' 2>&1 %s%s", unit,
       "", "");
    const char *overall = strstr(said, "Overall exposure level for ");
    ck_assert_msg(overall != NULL, "it says %s", said);
    ck_assert_int_eq(sscanf(strchr(overall, ':'), ": %lf", &exposure), 1);
    ck_assert_msg(
        exposure <= units[_i].most,
        "it is %.1f, not %.1f; systemd-analyze security --offline=true tells why",
        exposure, units[_i].most);
    test_directory_destroy(&directory);
}
END_TEST

/* Commented out as they are. A variable is known to the program's help or to the unit. */
START_TEST(settings_are_those_that_are_read) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *unknown = NULL;
    struct test_path program = test_built(units[_i].program);
    char base[PATH_MAX];
    snprintf(base, sizeof(base), "%s/%s", units[_i].folder, units[_i].program);
    ck_assert_int_eq(sh(&unknown,
                        "set -e; known=$(%s --help; cat %s.service.in); "
                        "names=$(sed -n 's/^#\\(SHOAL_[A-Z_]*\\)=.*/\\1/p' %s.default); "
                        "test -n \"$names\"; for name in $names; do "
                        "case $known in *$name*) ;; *) echo $name ;; esac; done",
                        program.text, base, base),
                     0);
    ck_assert_str_eq(unknown, "");
}
END_TEST

/* Of /etc/credstore, in the order of both files. */
START_TEST(credentials_are_those_that_are_loaded) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *named = NULL, *loaded = NULL;
    char base[PATH_MAX];
    snprintf(base, sizeof(base), "%s/%s", units[_i].folder, units[_i].program);
    sh(&named, "sed -n 's|^#.*=/run/credentials/%s.service/||p' %s.default%s",
       units[_i].program, base, "");
    sh(&loaded, "sed -n 's/^LoadCredential=//p' %s.service.in%s%s", base, "", "");
    ck_assert_str_ne(named, "");
    ck_assert_str_eq(named, loaded);
}
END_TEST

int main(void) {
    const int n = (int)SHOAL_COUNT(units);
    Suite *suite = suite_create("units");
    TCase *tests = tcase_create("units");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, unit_makes_sense, 0, n);
    tcase_add_loop_test(tests, unit_is_tight, 0, n);
    tcase_add_loop_test(tests, settings_are_those_that_are_read, 0, n);
    tcase_add_loop_test(tests, credentials_are_those_that_are_loaded, 0, n);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
