#include "common/environment.h"

#include "common/cleanup.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *names[] = {"beta", "File_2"};
static char *values[] = {"0.5", "a b=c\n"};
static struct shoal_parameters parameters = {
    .n = 2, .names = names, .values = values, .repetition = 3};

static const struct shoal_option_list *more;
static char **passed;
static char **environment;

/* The environment of a task for which the job sets `words`. */
static void make(char **words) {
    const struct shoal_spec spec = {.environment = words};
    const struct shoal_task task = {.job = "0123456789ab",
                                    .index = INT64_C(1) << 53,
                                    .seed = UINT64_MAX,
                                    .parameters = &parameters};
    struct shoal_error err = {.status = SHOAL_OK};
    passed = shoal_environment_passed(more);
    const struct shoal_surroundings surroundings = {.attempt = 2,
                                                    .slot = 7,
                                                    .threads = 4,
                                                    .directory = "/tmp/x/7",
                                                    .result_path = "/tmp/x/7/.result",
                                                    .passed = passed};
    ck_assert_int_eq(
        shoal_environment_make(&spec, &task, &surroundings, &environment, &err),
        SHOAL_OK);
}

static void teardown(void) {
    free((void *)passed);
    free((void *)environment);
}

static void assert_value(const char *name, const char *expected) {
    const char *value = shoal_environment_get(environment, name);
    if (expected == NULL) {
        ck_assert_msg(value == NULL, "%s is '%s'", name, value);
        return;
    }
    ck_assert_msg(value != NULL, "%s is not there", name);
    ck_assert_str_eq(value, expected);
    int n = 0;
    for (char **word = environment; *word != NULL; word++)
        n += strncmp(*word, name, strlen(name)) == 0 && (*word)[strlen(name)] == '=';
    ck_assert_int_eq(n, 1);
}

static const struct {
    const char *name, *value;
} said[] = {
    {"SHOAL_JOB", "0123456789ab"},
    {"SHOAL_TASK", "9007199254740992"},
    {"SHOAL_REP", "3"},
    {"SHOAL_ATTEMPT", "2"},
    {"SHOAL_SEED", "18446744073709551615"},
    {"SHOAL_SLOT", "7"},
    {"SHOAL_TMP", "/tmp/x/7"},
    {"TMPDIR", "/tmp/x/7"},
    {"SHOAL_RESULT", "/tmp/x/7/.result"},
    {"SHOAL_PARAM_BETA", "0.5"},
    {"SHOAL_PARAM_FILE_2", "a b=c\n"},
    {"SHOAL_ARGUMENT", NULL},
};

/* Whatever the worker and the job say. */
START_TEST(a_task_is_told_of_itself) {
    char *words[] = {"SHOAL_TASK=1", "TMPDIR=/elsewhere", "SHOAL_PARAM_BETA=9", NULL};
    setenv("SHOAL_SEED", "1", 1);
    setenv("SHOAL_ARGUMENT", "old", 1);
    make(words);
    for (size_t i = 0; i < SHOAL_COUNT(said); i++)
        assert_value(said[i].name, said[i].value);
}
END_TEST

/* So what a job may not set is all of that, and what it may is not. */
START_TEST(what_a_task_is_told_is_known_as_shoals_own) {
    for (size_t i = 0; i < SHOAL_COUNT(said); i++) {
        char word[128];
        snprintf(word, sizeof(word), "%s=1", said[i].name);
        ck_assert_msg(shoal_environment_is_own(word), "%s", word);
    }
    make(NULL);
    for (char **word = environment; *word != NULL; word++)
        ck_assert_msg(strncmp(*word, "SHOAL_", 6) != 0 ||
                          strncmp(*word, "SHOAL_PYTHON=", 13) == 0 ||
                          shoal_environment_is_own(*word),
                      "%s", *word);
    ck_assert(!shoal_environment_is_own("SHOAL_PYTHON=python3"));
    ck_assert(!shoal_environment_is_own("SHOAL_REDIS=unix:x"));
    ck_assert(!shoal_environment_is_own("SHOAL_TASKS=1"));
    ck_assert(!shoal_environment_is_own("OMP_NUM_THREADS=1"));
}
END_TEST

START_TEST(a_line_is_the_argument) {
    char *no_name[] = {""};
    char *line[] = {"the line"};
    parameters = (struct shoal_parameters){.n = 1, .names = no_name, .values = line};
    make(NULL);
    assert_value("SHOAL_ARGUMENT", "the line");
    assert_value("SHOAL_PARAM_", NULL);
}
END_TEST

static const struct {
    const char *name;
    bool passes;
} own[] = {
    {"PATH", true},
    {"HOME", true},
    {"LC_NUMERIC", true},
    {"LD_LIBRARY_PATH", true},
    {"CONDA_PREFIX", true},
    {"JULIA_DEPOT_PATH", true},
    {"R_LIBS_USER", true},
    {"TERM", false},
    {"SHOAL_REDIS", false},
    {"SHOAL_REDIS_PASSWORD_FILE", false},
    {"SSH_AUTH_SOCK", false},
    {"PATHS", false},
    {"AWS_SECRET_ACCESS_KEY", false},
    {"DISPLAY", false},
    {"LD_PRELOAD", false},
};

START_TEST(a_list_says_what_passes_from_the_worker) {
    setenv(own[_i].name, "x=1", 1);
    make(NULL);
    assert_value(own[_i].name, own[_i].passes ? "x=1" : NULL);
}
END_TEST

/* Of shoal's own nothing, whatever is asked for: they tell where Redis is. */
START_TEST(what_else_was_asked_for_passes) {
    const char *asked[] = {"LICENSE", "MODEL_*", "*"};
    const struct shoal_option_list list = {.items = asked, .n = _i == 0 ? 2 : 3};
    more = &list;
    setenv("LICENSE", "x=1", 1);
    setenv("MODEL_DATA", "x=2", 1);
    setenv("LICENSES", "x=3", 1);
    setenv("SHOAL_REDIS", "x=4", 1);
    make(NULL);
    assert_value("LICENSE", "x=1");
    assert_value("MODEL_DATA", "x=2");
    assert_value("LICENSES", _i == 0 ? NULL : "x=3");
    assert_value("SHOAL_REDIS", NULL);
}
END_TEST

static const char *const threads[] = {
    "BLIS_NUM_THREADS",    "JULIA_NUM_THREADS",      "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS",        "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",   "VECLIB_MAXIMUM_THREADS",
};

START_TEST(threads_default_to_the_slots_cores) {
    unsetenv(threads[_i]);
    make(NULL);
    assert_value(threads[_i], "4");
}
END_TEST

START_TEST(the_workers_own_threads_win_over_the_default) {
    setenv(threads[_i], "9", 1);
    make(NULL);
    assert_value(threads[_i], "9");
}
END_TEST

START_TEST(the_job_wins_over_both) {
    char word[64];
    char *words[] = {"PATH=/job/bin", word, "NEW=", "no value", NULL};
    snprintf(word, sizeof(word), "%s=2", threads[_i]);
    setenv(threads[_i], "9", 1);
    make(words);
    assert_value(threads[_i], "2");
    assert_value("PATH", "/job/bin");
    assert_value("NEW", "");
}
END_TEST

START_TEST(too_many_entries_are_refused) {
    enum { MANY = 5000 };
    static char text[MANY][16];
    static char *words[MANY + 1];
    for (int i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof(text[i]), "V%d=", i);
        words[i] = text[i];
    }
    const struct shoal_spec spec = {.environment = words};
    const struct shoal_task task = {.job = "j", .parameters = &parameters};
    const struct shoal_surroundings surroundings = {.directory = "/",
                                                    .result_path = "/r"};
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(
        shoal_environment_make(&spec, &task, &surroundings, &environment, &err),
        SHOAL_INVALID);
    ck_assert_str_eq(err.text, "the task's environment has more than 4096 entries");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("environment");
    TCase *tcase = tcase_create("environment");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, a_task_is_told_of_itself);
    tcase_add_test(tcase, what_a_task_is_told_is_known_as_shoals_own);
    tcase_add_test(tcase, a_line_is_the_argument);
    tcase_add_loop_test(tcase, a_list_says_what_passes_from_the_worker, 0,
                        SHOAL_COUNT(own));
    tcase_add_loop_test(tcase, what_else_was_asked_for_passes, 0, 2);
    tcase_add_loop_test(tcase, threads_default_to_the_slots_cores, 0,
                        SHOAL_COUNT(threads));
    tcase_add_loop_test(tcase, the_workers_own_threads_win_over_the_default, 0,
                        SHOAL_COUNT(threads));
    tcase_add_loop_test(tcase, the_job_wins_over_both, 0, SHOAL_COUNT(threads));
    tcase_add_test(tcase, too_many_entries_are_refused);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
