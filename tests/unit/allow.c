/* The list of what tasks may run. */
#include "common/allow.h"

#include "common/cleanup.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *pattern, *path;
    bool matches;
} matches[] = {
    {"/usr/bin/ngspice", "/usr/bin/ngspice", true},
    {"/usr/bin/ngspice", "/usr/bin/ngspice2", false},
    {"/usr/bin/ngspice", "/usr/bin/ngspic", false},
    {"/usr/bin/ngspice", "/usr/bin/ngspice/x", false},
    {"/usr/bin/ngspice", "/usr/bin", false},
    {"/opt/sim/*", "/opt/sim/a", true},
    {"/opt/sim/*", "/opt/sim/.a", true},
    {"/opt/sim/*", "/opt/sim/*", true},
    {"/opt/sim/*", "/opt/sim/a/b", false},
    {"/opt/sim/*", "/opt/sim/", false},
    {"/opt/sim/*", "/opt/sim", false},
    {"/opt/sim/*", "/opt/simulate", false},
    {"/opt/sim/*", "/opt/sim2/a", false},
    {"/opt/sim/*", "/opt/si/m/a", false},
    {"/opt/sim/**", "/opt/sim/a", true},
    {"/opt/sim/**", "/opt/sim/a/b/c", true},
    {"/opt/sim/**", "/opt/sim/", false},
    {"/opt/sim/**", "/opt/sim", false},
    {"/opt/sim/**", "/opt/sim2/a", false},
    {"/*", "/a", true},
    {"/*", "/a/b", false},
    {"/**", "/a/b", true},
    {"/opt/s[ai]m", "/opt/sim", false},
    {"/opt/s?m", "/opt/sim", false},
};

START_TEST(pattern_is_a_file_a_folder_or_a_tree) {
    ck_assert_msg(shoal_allow_matches(matches[_i].pattern, matches[_i].path) ==
                      matches[_i].matches,
                  "%s %s", matches[_i].pattern, matches[_i].path);
}
END_TEST

/* ---- what is read */

static char home[32];

static const char *in_home(const char *name) {
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", home, name);
    return path;
}

static void setup(void) {
    strcpy(home, "/tmp/shoal-allow-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
    ck_assert_int_eq(mkdir(in_home("sim"), 0700), 0);
    ck_assert_int_eq(mkdir(in_home("open"), 0700), 0);
    ck_assert_int_eq(chmod(in_home("open"), 01777), 0);
    ck_assert_int_eq(mkdir(in_home("open/below"), 0700), 0);
    ck_assert_int_eq(mkdir(in_home("loose"), 0700), 0);
    ck_assert_int_eq(mkdir(in_home("loose/below"), 0700), 0);
    ck_assert_int_eq(chmod(in_home("loose"), 0777), 0);
    ck_assert_int_eq(symlink("sim", in_home("link")), 0);
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *walk) {
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void teardown(void) {
    nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static enum shoal_status init(struct shoal_allow *allow, const char *text,
                              struct shoal_error *err) {
    const struct shoal_option_list list = {.items = &text, .n = 1};
    return shoal_allow_init(allow, &list, err);
}

static const struct {
    const char *text, *said;
} bad[] = {
    {"", "''"},
    {"sim", "'sim'"},
    {"./sim", "'./sim'"},
    {"*", "'*'"},
    {"/", "'/'"},
    {"/opt/", "absolute path"},
    {"/opt//sim", "absolute path"},
    {"/opt/../bin/sh", "without '..'"},
    {"/opt/./sim", "absolute path"},
    {"/opt/..", "without '..'"},
    {"/opt/*/bin", "absolute path"},
    {"/opt/*x", "absolute path"},
    {"/opt/**/x", "absolute path"},
    {"/opt/***", "absolute path"},
    {"//*", "absolute path"},
    {"/usr/bin/true:sim", "'sim'"},
    {"/usr/bin/true:", "''"},
};

START_TEST(what_is_no_pattern_is_refused) {
    struct shoal_allow allow;
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(init(&allow, bad[_i].text, &err), SHOAL_INVALID);
    ck_assert_msg(strstr(err.text, bad[_i].said) != NULL, "%s", err.text);
}
END_TEST

/* As nothing that everybody may add to is a list. */
static const struct {
    const char *pattern;
    bool taken;
} folders[] = {
    {"sim/*", true},          {"sim/**", true},
    {"sim/a", true},          {"not/yet/*", true},
    {"open/*", false},        {"open/**", false},
    {"open/a", false},        {"loose/*", false},
    {"open/below/*", true}, /* nobody takes another's place below the sticky bit */
    {"loose/below/*", false}, {"loose/below/a", false},
};

START_TEST(folder_that_everybody_writes_to_is_no_list) {
    struct shoal_allow allow;
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = init(&allow, in_home(folders[_i].pattern), &err);
    ck_assert_msg(status == (folders[_i].taken ? SHOAL_OK : SHOAL_INVALID), "%s: %s",
                  folders[_i].pattern, err.text);
    if (status == SHOAL_OK)
        shoal_allow_finish(&allow);
    else
        ck_assert_ptr_nonnull(strstr(err.text, "everybody can write to"));
    /* not where it is meant to be so, as in /tmp */
    bool closes = strstr(err.text, "chmod o-w") != NULL;
    ck_assert_int_eq(closes, strncmp(folders[_i].pattern, "loose", 5) == 0);
}
END_TEST

START_TEST(folders_for_all_stay_so) {
    static const char *const shared[] = {"", "/tmp", "/var/tmp", "/dev/shm", "/no/such"};
    for (size_t i = 0; i < SHOAL_COUNT(shared); i++)
        ck_assert_msg(shoal_allow_is_for_all(shared[i]), "'%s'", shared[i]);
    ck_assert(shoal_allow_is_for_all(in_home("open")));
    ck_assert(!shoal_allow_is_for_all(in_home("loose")));
}
END_TEST

START_TEST(links_in_a_pattern_are_followed_when_it_is_read) {
    struct shoal_allow allow;
    struct shoal_error err = {.status = SHOAL_OK};
    char both[256];
    snprintf(both, sizeof(both), "%s:%s", in_home("link/*"), in_home("link"));
    ck_assert_int_eq(init(&allow, both, &err), SHOAL_OK);
    ck_assert_uint_eq(allow.n, 2);
    ck_assert_str_eq(allow.patterns[0], in_home("sim/*"));
    ck_assert_str_eq(allow.patterns[1], in_home("sim"));
    shoal_allow_finish(&allow);
}
END_TEST

/* ---- variables */

static const struct {
    const char *word;
    bool taken;
} variables[] = {
    {"MODEL=/x", true},
    {"OMP_NUM_THREADS=2", true},
    {"LDX=1", true},
    {"X=LD_PRELOAD=1", true},
    {"TERM=x", true},
    {"LD_PRELOAD=/x.so", false},
    {"LD_LIBRARY_PATH=", false},
    {"PATH=/x", false},
    {"PYTHONPATH=/x", false},
    {"PYTHONSTARTUP=/x", false},
    {"PERL5OPT=x", false},
    {"BASH_ENV=/x", false},
    {"BASH_FUNC_x%%=() { x; }", false},
    {"BASHOPTS=x", false},
    {"SHELLOPTS=xtrace", false},
    {"PS4=$(x)", false},
    {"ZDOTDIR=/x", false},
    {"OPENSSL_CONF=/x", false},
    {"OMP_TOOL_LIBRARIES=/x.so", false},
    {"OMPI_MCA_plm_rsh_agent=/x", false},
    {"HDF5_PLUGIN_PATH=/x", false},
    {"HDF5_USE_FILE_LOCKING=FALSE", true},
    {"TAR_OPTIONS=--to-command=x", false},
    {"WGETRC=/x", false},
    {"CC=/x", false},
    {"THEANO_FLAGS=cxx=/x", false},
    {"MAGICK_CONFIGURE_PATH=/x", false},
    {"GIO_EXTRA_MODULES=/x", false},
    {"OPAL_PREFIX=/x", false},
    {"TK_LIBRARY=/x", false},
    {"MODULEPATH=/x", false},
    {"LAMMPS_PLUGIN_PATH=/x", false},
    {"PLUMED_KERNEL=/x.so", false},
    {"PLUMED_NUM_THREADS=2", true},
    {"KOKKOS_TOOLS_LIBS=/x.so", false},
    {"KOKKOS_NUM_THREADS=2", true},
    {"GDAL_DRIVER_PATH=/x", false},
    {"GDAL_NUM_THREADS=2", true},
    {"FI_PROVIDER_PATH=/x", false},
    {"FI_PROVIDER=tcp", true},
    {"NUMBA_CACHE_DIR=/x", false},
    {"NUMBA_NUM_THREADS=2", true},
    {"SPICE_SCRIPTS=/x", false},
    {"SPICE_ASCIIRAWFILE=1", true},
    {"ENV=/x", false},
    {"HOME=/x", false},
    {"SHOAL_PYTHON=/x", false},
    {"SHOAL_REDIS=x", false},
};

START_TEST(jobs_do_not_say_where_an_allowed_program_finds_others) {
    char *words[] = {(char *)"A=1", (char *)variables[_i].word, NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    const struct shoal_allow list = {.n = 0};
    ck_assert_msg(shoal_allow_environment(&list, words, &err) ==
                      (variables[_i].taken ? SHOAL_OK : SHOAL_REFUSED),
                  "%s", variables[_i].word);
    ck_assert_int_eq(shoal_allow_environment(&list, NULL, NULL), SHOAL_OK);
}
END_TEST

static const struct {
    const char *name, *value, *left; /* NULL: nothing */
} paths[] = {
    {"PATH", "/bin:/usr/bin", "/bin:/usr/bin"},
    {"PATH", "", NULL},
    {"PATH", ".", NULL},
    {"PATH", "bin:./bin:", NULL},
    {"PATH", ":/bin::bin:/usr/bin:", "/bin:/usr/bin"},
    {"LD_LIBRARY_PATH", "/opt/lib:", "/opt/lib"},
    {"LD_LIBRARY_PATH", "/opt/lib;lib;/usr/lib", "/opt/lib;/usr/lib"},
    {"PYTHONPATH", ":/opt/py", "/opt/py"},
    {"PYTHONPATH", "../py:/opt/py", "/opt/py"},
    {"R_LIBS_USER", "R:/opt/R", "/opt/R"},
    {"MODULEPATH", "/opt/modules:", "/opt/modules"},
    {"PERL5LIB", "lib:/opt/perl", "/opt/perl"},
    {"JULIA_LOAD_PATH", ":lib:@stdlib:@.:/opt/j:", ":@stdlib:/opt/j:"},
    {"JULIA_PROJECT", "@.", NULL},
    {"JULIA_PROJECT", "@v1.9", "@v1.9"},
    {"RUBYLIB", ":/opt/rb", ":/opt/rb"}, /* which tasks do not get */
    {"MODEL_PATH", "data:", "data:"},    /* in which no code is looked for */
    {"OMP_NUM_THREADS", "2", "2"},
};

START_TEST(search_paths_do_not_lead_to_where_a_job_runs) {
    const char *more[] = {"MODEL_*", "PERL5LIB"};
    const struct shoal_option_list list = {.items = more, .n = 2};
    setenv(paths[_i].name, paths[_i].value, 1);
    ck_assert_int_eq(shoal_allow_fix_paths(&list, NULL), SHOAL_OK);
    const char *left = getenv(paths[_i].name);
    ck_assert_msg(paths[_i].left == NULL ? left == NULL
                                         : left != NULL && !strcmp(left, paths[_i].left),
                  "%s=%s: %s", paths[_i].name, paths[_i].value, left);
}
END_TEST

/* ---- the words of shoal-host */

static char *commands[][8] = {
    {"shoal-host"},
    {"shoal-host", "--plugin", "/usr/bin/true"},
    {"shoal-host", "--plugin=/usr/bin/true", "--task", "x"},
    {"shoal-host", "--plug", "/usr/bin/true", "--task", "x"},
    {"shoal-host", "--task", "x", "--plugin", "/usr/bin/true"},
    {"shoal-host", "--plugin", "/usr/bin/true", "--task", "x", "--try"},
    {"shoal-host", "--plugin", "/etc/passwd", "--task", "x"},
    {"shoal-host", "--plugin", "/usr/bin/../../etc/passwd", "--task", "x"},
    {"shoal-host", "--plugin", "../../etc/passwd", "--task", "x"},
    {"shoal-host", "--try", "--python", "a:b"},
    {"shoal-host", "--python", "a:b", "x=1"},
    {"shoal-host", "--python", "a:b", "--folder", "/"},
    {"shoal-host", "--python", "os:system"},
    {"shoal-host", "--python", "../x:b"},
    {"shoal-host", "--python", "/x:b"},
    {"shoal-host", "--python", ".x:b"},
    {"shoal-host", "--python", "x.:b"},
    {"shoal-host", "--python", ":b"},
    {"shoal-host", "--python", "x"},
};

START_TEST(shoal_host_is_started_for_what_is_listed_alone) {
    struct shoal_allow allow;
    struct shoal_allow_words words;
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(init(&allow, "/usr/bin/*", &err), SHOAL_OK);
    ck_assert_msg(shoal_allow_host_words(&allow, commands[_i], "/usr/bin", NULL, &words,
                                         &err) == SHOAL_REFUSED,
                  "%s %s", commands[_i][1], commands[_i][2]);
    shoal_allow_finish(&allow);
}
END_TEST

START_TEST(shoal_host_is_given_the_real_path) {
    struct shoal_allow allow;
    struct shoal_allow_words words;
    struct shoal_error err = {.status = SHOAL_OK};
    char *plugin[] = {"shoal-host", "--plugin", "link/a.so", "--task", "x", NULL};
    char *python[] = {"shoal-host", "--python", "a.b:f", NULL};
    fclose(fopen(in_home("sim/a.so"), "w"));
    ck_assert_int_eq(mkdir(in_home("sim/a"), 0700), 0);
    fclose(fopen(in_home("sim/a/b.py"), "w"));
    ck_assert_int_eq(init(&allow, in_home("sim/**"), &err), SHOAL_OK);
    ck_assert_int_eq(shoal_allow_host_words(&allow, plugin, home, NULL, &words, &err),
                     SHOAL_OK);
    ck_assert_str_eq(words.argv[2], in_home("sim/a.so"));
    ck_assert_ptr_null(words.argv[5]);
    ck_assert_int_eq(
        shoal_allow_host_words(&allow, python, home, in_home("link"), &words, &err),
        SHOAL_OK);
    ck_assert_str_eq(words.argv[3], "--folder");
    ck_assert_str_eq(words.argv[4], in_home("sim"));
    ck_assert_ptr_null(words.argv[5]);
    fclose(fopen(in_home("a.py"), "w"));
    ck_assert_int_eq(symlink("../../a.py", in_home("sim/a/__init__.py")), 0);
    ck_assert_int_eq(
        shoal_allow_host_words(&allow, python, in_home("sim"), NULL, &words, &err),
        SHOAL_REFUSED); /* importing a.b runs a */
    shoal_allow_finish(&allow);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("allow");
    TCase *tests = tcase_create("allow");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, pattern_is_a_file_a_folder_or_a_tree, 0,
                        (int)SHOAL_COUNT(matches));
    tcase_add_loop_test(tests, what_is_no_pattern_is_refused, 0, (int)SHOAL_COUNT(bad));
    tcase_add_loop_test(tests, folder_that_everybody_writes_to_is_no_list, 0,
                        (int)SHOAL_COUNT(folders));
    tcase_add_test(tests, folders_for_all_stay_so);
    tcase_add_test(tests, links_in_a_pattern_are_followed_when_it_is_read);
    tcase_add_loop_test(tests, jobs_do_not_say_where_an_allowed_program_finds_others, 0,
                        (int)SHOAL_COUNT(variables));
    tcase_add_loop_test(tests, search_paths_do_not_lead_to_where_a_job_runs, 0,
                        (int)SHOAL_COUNT(paths));
    tcase_add_loop_test(tests, shoal_host_is_started_for_what_is_listed_alone, 0,
                        (int)SHOAL_COUNT(commands));
    tcase_add_test(tests, shoal_host_is_given_the_real_path);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
