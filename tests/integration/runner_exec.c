/* The exec runner with real programs. */
#include "worker/runner.h"

#include "common/cleanup.h"
#include "common/scratch.h"
#include "common/utf8.h"
#include "tests/support/wait.h"
#include "worker/capture.h"
#include "worker/folder.h"
#include "worker/tree.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_MS = 20000 };

static char root[] = "/tmp/shoal-test-XXXXXX"; /* of all tests */
static char home[64];                          /* where the tasks run */
static char slots[80];                         /* the worker's private directory */
static int folder_lock = -1;                   /* … which is locked */
static struct event_base *base;
static struct event *child_event;
static struct shoal_runner *runner;
static struct shoal_spec spec;
static struct shoal_checkpoints checkpoints;
static const char *words[4];

/* How the last task ended, in the test's own memory. */
static int endings;
static struct shoal_outcome outcome;
static char *result, *errors;

static void take_ending(void *owner, const struct shoal_ending *ending) {
    ck_assert_ptr_eq(owner, &endings);
    endings++;
    event_base_loopbreak(base);
    outcome = ending->outcome;
    free(result);
    free(errors);
    result = calloc(1, outcome.result_len + 1);
    errors = calloc(1, ending->stderr_len + 1);
    memcpy(result, outcome.result, outcome.result_len);
    memcpy(errors, ending->stderr_end, ending->stderr_len);
}

static void reap(evutil_socket_t number, short what, void *owner) {
    struct rusage usage;
    int status = 0;
    pid_t pid;
    (void)number;
    (void)what;
    (void)owner;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
        runner->kind->reap(runner, pid, status, &usage);
}

static void create_runner(void) {
    struct shoal_error err = {.status = SHOAL_OK};
    base = event_base_new();
    child_event = evsignal_new(base, SIGCHLD, reap, NULL);
    event_add(child_event, NULL);
    const struct shoal_runner_settings settings = {.base = base,
                                                   .slot = 3,
                                                   .directory = slots,
                                                   .folder_lock = &folder_lock,
                                                   .threads = 2,
                                                   .checkpoints = &checkpoints,
                                                   .ended = take_ending,
                                                   .owner = &endings};
    ck_assert_int_eq(shoal_runner_exec_create(&settings, &runner, &err), SHOAL_OK);
}

static void create_root(void) {
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void destroy_root(void) {
    shoal_scratch_remove_tree(root);
}

static void setup(void) {
    snprintf(home, sizeof(home), "%s/XXXXXX", root);
    ck_assert_ptr_nonnull(mkdtemp(home));
    snprintf(slots, sizeof(slots), "%s/slots", home);
    ck_assert_int_eq(shoal_folder_create(slots, false, &folder_lock, NULL), SHOAL_OK);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ck_assert_int_eq(shoal_checkpoints_init(&checkpoints, home, "ns", NULL, NULL),
                     SHOAL_OK);
    ck_assert_int_eq(mkdir(checkpoints.directory, 0700), 0);
    shoal_checkpoints_of_store(&checkpoints, "st0re0000001");
    spec = (struct shoal_spec){.command = (char **)(void *)words,
                               .directory = home,
                               .grace_ms = 10000,
                               .result_max = SHOAL_RESULT_MAX};
    ck_assert_int_eq(shoal_sweep_create(&spec.sweep, NULL), SHOAL_OK);
    create_runner();
}

static void destroy_runner(void) {
    if (runner != NULL)
        runner->kind->destroy(runner);
    runner = NULL;
}

static void teardown(void) {
    destroy_runner();
    event_free(child_event);
    event_base_free(base);
    shoal_sweep_destroy(spec.sweep);
    free(result);
    free(errors);
}

static enum shoal_status start(const char *program, struct shoal_error *err) {
    const struct shoal_batch batch = {.spec = &spec,
                                      .digest = "",
                                      .job = "0123456789ab",
                                      .seed = 6,
                                      .attempt = 2,
                                      .lo = 5,
                                      .hi = 9};
    int64_t taken = 0;
    words[0] = program;
    spec.words = words[1] == NULL ? 1 : 3;
    enum shoal_status status = runner->kind->start(runner, &batch, &taken, err);
    ck_assert_int_eq(taken, status == SHOAL_OK ? 1 : 0);
    return status;
}

static void start_script(const char *script) {
    struct shoal_error err = {.status = SHOAL_OK};
    words[1] = "-c";
    words[2] = script;
    ck_assert_msg(start("/bin/sh", &err) == SHOAL_OK, "%s", err.text);
}

static void wait_for_end(void) {
    const struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
    int before = endings;
    event_base_loopexit(base, &limit);
    event_base_dispatch(base);
    ck_assert_int_eq(endings, before + 1);
}

static void run_script(const char *script) {
    start_script(script);
    wait_for_end();
}

static bool is_there(const char *name) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", home, name);
    return access(path, F_OK) == 0;
}

static bool no_child_is_left(void) {
    shoal_tree_sweep(NULL, 0);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static void write_file(const char *name, const char *text, mode_t mode) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", home, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void make_folder(const char *name) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", home, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

/* ---- what a program does, and what is made of it */

static const struct {
    const char *script;
    enum shoal_reason reason;
    int64_t code;
    const char *result, *errors;
} programs[] = {
    {"exit 0", SHOAL_REASON_OK, 0, "", ""},
    {"exit 3", SHOAL_REASON_EXIT, 3, "", ""},
    {"exit 127", SHOAL_REASON_EXIT, 127, "", ""},
    {"kill -9 $$", SHOAL_REASON_SIGNAL, SIGKILL, "", ""},
    {"kill -TERM $$", SHOAL_REASON_SIGNAL, SIGTERM, "", ""},
    {"echo hello", SHOAL_REASON_OK, 0, "hello", ""},
    {"printf ' a=1\\n\\n \\t\\r\\n'", SHOAL_REASON_OK, 0, " a=1", ""},
    {"echo out; echo why >&2; exit 1", SHOAL_REASON_EXIT, 1, "out", "why\n"},
    {"echo out; kill -SEGV $$", SHOAL_REASON_SIGNAL, SIGSEGV, "out", ""},
    {"exec >&- 2>&-; exit 4", SHOAL_REASON_EXIT, 4, "", ""},
    {"echo early; exec >&- 2>&-; sleep 0.1", SHOAL_REASON_OK, 0, "early", ""},
    {"cat; readlink /proc/self/fd/0", SHOAL_REASON_OK, 0, "/dev/null", ""},
    {"echo {\\\"a\\\": [1]}", SHOAL_REASON_OK, 0, "{\"a\": [1]}", ""},
    /* $SHOAL_RESULT */
    {"echo file >$SHOAL_RESULT; echo out", SHOAL_REASON_OK, 0, "file", ""},
    {": >$SHOAL_RESULT; echo out", SHOAL_REASON_OK, 0, "out", ""},
    {"mkdir $SHOAL_RESULT; echo out", SHOAL_REASON_OK, 0, "out", ""},
    {"mkfifo $SHOAL_RESULT; echo out", SHOAL_REASON_OK, 0, "out", ""},
    {"ln -s /etc/passwd $SHOAL_RESULT; echo out", SHOAL_REASON_OK, 0, "out", ""},
    {"rm -r $SHOAL_TMP; echo out", SHOAL_REASON_OK, 0, "out", ""},
    {"echo part >$SHOAL_RESULT; exit 1", SHOAL_REASON_EXIT, 1, "part", ""},
};

START_TEST(a_programs_end_is_told) {
    run_script(programs[_i].script);
    ck_assert_int_eq(outcome.reason, programs[_i].reason);
    ck_assert_int_eq(outcome.code, programs[_i].code);
    ck_assert_str_eq(result, programs[_i].result);
    ck_assert_str_eq(errors, programs[_i].errors);
    ck_assert_int_eq(outcome.attempt, 2);
    ck_assert_int_eq(runner->kind->pid(runner), 0);
    ck_assert_int_eq(endings, 1);
}
END_TEST

START_TEST(usage_is_measured) {
    run_script("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.05");
    ck_assert_int_gt(outcome.cpu_us, 1000);
    ck_assert_int_gt(outcome.wall_us, 50000);
    ck_assert_int_gt(outcome.rss_kb, 100);
    ck_assert_int_lt(outcome.cpu_us, outcome.wall_us + 10000);
}
END_TEST

/* ---- what surrounds it */

static const struct {
    const char *script, *result;
} surroundings[] = {
    {"test \"$PWD\" = \"$HERE\" && test \"$(pwd)\" = \"$HERE\" && echo there", "there"},
    {"cd /proc/self/fd && echo *", "0 1 2 3"}, /* 3 reads the directory */
    /* Without glibc's own two, which its posix_spawn() leaves ignored, as make's children
       see. */
    {"for mask in $(grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2); do "
     "echo $((0x$mask & ~0x180000000)); done",
     "0\n0"},
    {"grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"},
    {"read pid comm state parent group rest </proc/self/stat; "
     "test $group = $$ && echo own",
     "own"},
    {"stat -c %a $SHOAL_TMP; ls -A $SHOAL_TMP; test $TMPDIR = $SHOAL_TMP && echo same",
     "700\nsame"},
    {"echo $SHOAL_JOB $SHOAL_TASK $SHOAL_ATTEMPT $SHOAL_SEED $SHOAL_SLOT $SHOAL_REP",
     "0123456789ab 5 2 2337714203534887763 3 0"},
    {"echo $OMP_NUM_THREADS $MINE ${SECRET-none}", "2 job none"},
};

START_TEST(surroundings_are_as_promised) {
    char here[80];
    char *environment[] = {here, (char[]){"MINE=job"}, NULL};
    snprintf(here, sizeof(here), "HERE=%s", home);
    spec.environment = environment;
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigprocmask(SIG_BLOCK, &some, NULL);
    signal(SIGPIPE, SIG_IGN);
    unsetenv("OMP_NUM_THREADS");
    setenv("SECRET", "s", 1);
    int inherited = open("/dev/null", O_RDONLY); /* as from a careless parent */
    ck_assert_int_eq(dup2(inherited, 100), 100);
    run_script(surroundings[_i].script);
    ck_assert_str_eq(errors, "");
    ck_assert_str_eq(result, surroundings[_i].result);
    close(100);
    close(inherited);
}
END_TEST

START_TEST(a_worker_without_standard_descriptors_runs_tasks) {
    teardown();
    close(0);
    close(1);
    setup();
    run_script("echo out; echo err >&2; readlink /proc/self/fd/0");
    ck_assert_str_eq(result, "out\n/dev/null");
    ck_assert_str_eq(errors, "err\n");
}
END_TEST

START_TEST(each_task_has_an_empty_directory) {
    for (int i = 0; i < 3; i++) {
        run_script("ls -A $SHOAL_TMP; mkdir -p $SHOAL_TMP/a/b; echo x >$SHOAL_TMP/a/b/c");
        ck_assert_str_eq(result, "");
        ck_assert(is_there("slots/3"));
        ck_assert(!is_there("slots/3/a")); /* at once, not with the next task */
    }
    run_script("rm -r $SHOAL_TMP; ln -s / $SHOAL_TMP");
    run_script("ls -A $SHOAL_TMP");
    ck_assert_str_eq(result, "");
    destroy_runner();
    ck_assert(!is_there("slots/3"));
}
END_TEST

static size_t descriptors(void) {
    size_t n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

START_TEST(a_slot_runs_many) {
    run_script("exit 0");
    size_t before = descriptors();
    for (int i = 0; i < 200; i++)
        run_script(i % 2 == 0 ? "echo x" : "exit 1");
    ck_assert_int_eq(endings, 201);
    ck_assert_uint_eq(descriptors(), before);
}
END_TEST

/* ---- what cannot be started */

static const struct {
    const char *program;
    char *directory;
    enum shoal_status status;
    const char *sentence; /* "@": the tasks' directory */
} failures[] = {
    {"no-such-program", NULL, SHOAL_REFUSED,
     "there is no program 'no-such-program' in the PATH that tasks have here"},
    {"plain", NULL, SHOAL_REFUSED,
     "there is no program 'plain' in the PATH that tasks have here"},
    {"./missing", NULL, SHOAL_REFUSED,
     "cannot start './missing': it is not there (or it is a script whose interpreter is "
     "not there)"},
    {"./plain", NULL, SHOAL_REFUSED, "cannot start './plain': Permission denied"},
    {"./slots", NULL, SHOAL_REFUSED, "cannot start './slots': Permission denied"},
    {"./orphan", NULL, SHOAL_REFUSED,
     "cannot start './orphan': it is not there (or it is a script whose interpreter is "
     "not there)"},
    {"./nothing", NULL, SHOAL_REFUSED,
     "cannot start './nothing': it is no program for this machine (a script begins with "
     "a line such as #!/bin/sh)"},
    {"./script/x", NULL, SHOAL_REFUSED, "cannot start './script/x': Not a directory"},
    {"true", "/no/such/place", SHOAL_REFUSED,
     "cannot enter the working directory '/no/such/place': No such file or directory"},
    {"true", "/etc/passwd", SHOAL_REFUSED,
     "cannot enter the working directory '/etc/passwd': Not a directory"},
    {"./busy", NULL, SHOAL_SYSTEM, "cannot start './busy' now: Text file busy"},
};

static void write_programs(void) {
    write_file("plain", "#!/bin/sh\n", 0644);
    write_file("script", "#!/bin/sh\necho script\n", 0755);
    write_file("orphan", "#!/no/such/interpreter\n", 0755);
    write_file("nothing", "what is this", 0755);
    write_file("busy", "#!/bin/sh\n", 0755);
}

START_TEST(what_cannot_be_started_is_told) {
    struct shoal_error err = {.status = SHOAL_OK};
    char busy[80];
    write_programs();
    snprintf(busy, sizeof(busy), "%s/busy", home);
    int writer = open(busy, O_WRONLY | O_CLOEXEC);
    size_t before = descriptors();
    if (failures[_i].directory != NULL)
        spec.directory = failures[_i].directory;
    ck_assert_int_eq(start(failures[_i].program, &err), failures[_i].status);
    ck_assert_str_eq(err.text, failures[_i].sentence);
    ck_assert_int_eq(runner->kind->pid(runner), 0);
    ck_assert_uint_eq(descriptors(), before);
    close(writer);

    spec.directory = home; /* the slot goes on */
    run_script("echo next");
    ck_assert_str_eq(result, "next");
    ck_assert_int_eq(endings, 1);
    ck_assert(no_child_is_left());
}
END_TEST

static const struct {
    const char *program;
    char *path;
    const char *result;
} places[] = {
    {"./script", NULL, "script"},
    {"script", "PATH=/nowhere:.:/bin", "script"},
    {"script", "PATH=slots/..:/bin", "script"},
    {"true", "PATH=/nowhere::/bin", ""},
    {"true", "PATH=/etc:/bin", ""},
};

START_TEST(a_program_is_found_from_the_tasks_place) {
    struct shoal_error err = {.status = SHOAL_OK};
    char *environment[] = {places[_i].path, NULL};
    write_programs();
    spec.environment = environment;
    ck_assert_msg(start(places[_i].program, &err) == SHOAL_OK, "%s", err.text);
    wait_for_end();
    ck_assert_int_eq(outcome.reason, SHOAL_REASON_OK);
    ck_assert_str_eq(result, places[_i].result);
}
END_TEST

START_TEST(too_long_words_make_no_sense) {
    struct shoal_error err = {.status = SHOAL_OK};
    SHOAL_CLEANUP(shoal_cleanup_free) char *word = calloc(1, 200001);
    for (int i = 0; i < 200000; i++)
        word[i] = 'x';
    words[1] = words[2] = word;
    ck_assert_int_eq(start("/bin/true", &err), SHOAL_INVALID);
    ck_assert_str_eq(err.text, "'/bin/true' cannot be started: its arguments and "
                               "environment are too long for this system");
}
END_TEST

START_TEST(a_host_without_descriptors_is_not_the_tasks_fault) {
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    run_script("exit 0");
    int next = dup(0);
    close(next);
    for (rlim_t spare = 0; spare < 4; spare++) { /* two pipes need four */
        struct shoal_error err = {.status = SHOAL_OK};
        none = before;
        none.rlim_cur = (rlim_t)next + spare;
        setrlimit(RLIMIT_NOFILE, &none);
        enum shoal_status status = start("/bin/true", &err);
        setrlimit(RLIMIT_NOFILE, &before);
        ck_assert_msg(status == SHOAL_SYSTEM, "%d spare: %d, %s", (int)spare, (int)status,
                      err.text);
    }
    run_script("echo later");
    ck_assert_str_eq(result, "later");
}
END_TEST

/* Its name is known by then: whoever is faster does not get tasks into what is theirs, or
 * other rights for what is ours. */
START_TEST(a_worker_folder_that_is_gone_is_made_again) {
    struct stat now;
    struct shoal_error err = {.status = SHOAL_OK};
    run_script("echo before");
    shoal_scratch_remove_tree(slots);
    run_script("echo after; echo $TMPDIR > \"$SHOAL_RESULT\"");
    ck_assert_int_eq(strncmp(result, slots, strlen(slots)), 0);
    ck_assert(stat(slots, &now) == 0 && (now.st_mode & 07777) == 0700);
    ck_assert(is_there("slots/lock") && fstat(folder_lock, &now) == 0 &&
              now.st_nlink == 1);

    shoal_scratch_remove_tree(slots);
    ck_assert_int_eq(chmod(home, 0751), 0);
    ck_assert_int_eq(symlink(home, slots), 0);
    ck_assert_int_eq(start("/bin/true", &err), SHOAL_SYSTEM);
    ck_assert(stat(home, &now) == 0 && (now.st_mode & 07777) == 0751);
    ck_assert(!is_there("lock") && !is_there("3"));
}
END_TEST

START_TEST(a_worker_folder_that_cannot_be_is_not_the_tasks_fault) {
    struct shoal_error err = {.status = SHOAL_OK};
    shoal_scratch_remove_tree(home);
    ck_assert_int_eq(start("/bin/true", &err), SHOAL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, "No such file or directory"));
}
END_TEST

START_TEST(a_too_long_directory_is_refused_and_nothing_removed) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_runner *other = NULL;
    SHOAL_CLEANUP(shoal_cleanup_free) char *path = calloc(1, 5001);
    snprintf(path, 5001, "%s%04900d", slots, 0);
    const struct shoal_runner_settings settings = {.base = base, .directory = path};
    ck_assert_int_eq(shoal_runner_exec_create(&settings, &other, &err), SHOAL_INVALID);
    ck_assert(is_there("slots"));
}
END_TEST

/* ---- what prints too much */

static const struct {
    int64_t limit;
    const char *script;
    enum shoal_reason reason;
    const char *result; /* NULL: a mark, and a text that ends with `end` */
    const char *end;
} prints[] = {
    {10, "printf 0123456789", SHOAL_REASON_OK, "0123456789", NULL},
    {10, "printf 0123456789a", SHOAL_REASON_OK, "[…1 bytes cut…]123456789a", NULL},
    {10, "printf x0123456789 >$SHOAL_RESULT", SHOAL_REASON_OK,
     "[…1 bytes cut…]0123456789", NULL},
    {10, "printf xäöüäöü", SHOAL_REASON_OK, "[…3 bytes cut…]öüäöü", NULL},
    {9, "printf xäöüäöü", SHOAL_REASON_OK, "[…5 bytes cut…]üäöü", NULL},
    {8, "printf '😀😀😀x'", SHOAL_REASON_OK, "[…8 bytes cut…]😀x", NULL},
    {10, "echo 'word word word = 5'; exit 1", SHOAL_REASON_EXIT,
     "[…9 bytes cut…] word = 5", NULL},
    {10, "printf '{\"a\": 12345}'", SHOAL_REASON_TOO_LARGE, "", NULL},
    {10, "printf ' \\n[1, 2, 3, 4, 5]'", SHOAL_REASON_TOO_LARGE, "", NULL},
    {10, "printf 'a_1.b-c=3456\\n'", SHOAL_REASON_TOO_LARGE, "", NULL},
    {10, "printf '{\"a\": 12345}' >$SHOAL_RESULT", SHOAL_REASON_TOO_LARGE, "", NULL},
    {10, "printf '{\"a\": 12345}'; exit 1", SHOAL_REASON_EXIT, "", NULL},
    {0, "printf abc", SHOAL_REASON_OK, "[…3 bytes cut…]", NULL},
    {0, "exit 0", SHOAL_REASON_OK, "", NULL},
    {1000, "seq 100000", SHOAL_REASON_OK, NULL, "\n99999\n100000"},
    {65536, "yes word | head -c 1073741824; echo; echo end", SHOAL_REASON_OK, NULL,
     "\nend"},
};

START_TEST(text_over_the_bound_keeps_its_end_and_what_is_structured_fails) {
    spec.result_max = prints[_i].limit;
    run_script(prints[_i].script);
    ck_assert_int_eq(outcome.reason, prints[_i].reason);
    ck_assert(shoal_utf8_is_valid(result, outcome.result_len));
    if (outcome.reason == SHOAL_REASON_TOO_LARGE)
        ck_assert_ptr_nonnull(strstr(errors, " bytes, 10 are the most; "));
    if (prints[_i].result != NULL) {
        ck_assert_str_eq(result, prints[_i].result);
        return;
    }
    size_t len = strlen(prints[_i].end);
    ck_assert_uint_le(outcome.result_len, (size_t)prints[_i].limit + SHOAL_CAPTURE_SPARE);
    ck_assert_int_eq(strncmp(result, "[…", 4), 0);
    ck_assert_str_eq(result + outcome.result_len - len, prints[_i].end);
}
END_TEST

START_TEST(the_end_of_stderr_is_kept) {
    run_script("seq 100000 >&2; exit 1");
    ck_assert_uint_eq(strlen(errors), SHOAL_STDERR_MAX);
    ck_assert_str_eq(errors + strlen(errors) - 13, "99999\n100000\n");
}
END_TEST

/* ---- how it is ended */

static const struct {
    const char *script; /* makes the file "ready" when it is */
    int64_t timeout_ms, grace_ms;
    bool stop, kill;
    enum shoal_reason reason;
    int64_t code;
} ends[] = {
    {"sleep 60", 50, 10000, false, false, SHOAL_REASON_TIMEOUT, SIGTERM},
    {"trap '' TERM; sleep 60", 50, 50, false, false, SHOAL_REASON_TIMEOUT, SIGKILL},
    {"trap '' TERM; sleep 60", 50, 0, false, false, SHOAL_REASON_TIMEOUT, SIGKILL},
    {"trap 'exit 0' TERM; sleep 60 & wait", 50, 10000, false, false, SHOAL_REASON_TIMEOUT,
     0},
    {"touch ready; sleep 60", 0, 10000, true, false, SHOAL_REASON_STOPPED, SIGTERM},
    {"trap 'exit 5' TERM; touch ready; sleep 60 & wait", 0, 10000, true, false,
     SHOAL_REASON_STOPPED, 5},
    {"trap '' TERM; touch ready; sleep 60", 0, 50, true, false, SHOAL_REASON_STOPPED,
     SIGKILL},
    {"touch ready; kill -STOP $$", 0, 10000, true, false, SHOAL_REASON_STOPPED, SIGTERM},
    {"trap '' TERM; touch ready; sleep 60", 0, 60000, false, true, SHOAL_REASON_STOPPED,
     SIGKILL},
    {"trap '' TERM; touch ready; sleep 60", 0, 60000, true, true, SHOAL_REASON_STOPPED,
     SIGKILL},
    {"exec sleep 0.02", 60000, 0, false, false, SHOAL_REASON_OK, 0},
};

START_TEST(a_task_is_ended) {
    int64_t begin = test_clock_ms();
    spec.timeout_ms = ends[_i].timeout_ms;
    spec.grace_ms = ends[_i].grace_ms;
    start_script(ends[_i].script);
    ck_assert_int_gt(runner->kind->pid(runner), 0);
    if (ends[_i].stop || ends[_i].kill)
        loop_until(base, is_there("ready"), LIMIT_MS);
    for (int again = 0; ends[_i].stop && again < 2; again++)
        runner->kind->stop(runner);
    if (ends[_i].kill)
        runner->kind->kill(runner);
    wait_for_end();
    ck_assert_int_eq(outcome.reason, ends[_i].reason);
    ck_assert_int_eq(outcome.code, ends[_i].code);
    ck_assert_int_lt(test_clock_ms() - begin, 10000);
    runner->kind->stop(runner); /* nothing runs: nothing happens */
    runner->kind->kill(runner);
    run_script("echo next");
    ck_assert_int_eq(outcome.reason, SHOAL_REASON_OK);
    ck_assert_str_eq(result, "next");
}
END_TEST

/* ---- warnings and checkpoints */

#define IN_TIME "trap 'exit 85' USR1; touch ready; sleep 60 & wait"
#define LATE "trap 'exit 85' TERM; touch ready; sleep 60 & wait"

static const struct {
    const char *script;
    int64_t timeout_ms;
    struct shoal_warning warning;
    bool checkpoint, stop;
    enum shoal_reason reason;
    int64_t code;
} goings_on[] = {
    {"exit 85", 0, {0}, true, false, SHOAL_REASON_CONTINUE, 85},
    {"exit 85", 0, {0}, false, false, SHOAL_REASON_EXIT, 85},
    {"exit 84", 0, {0}, true, false, SHOAL_REASON_EXIT, 84},
    {IN_TIME, 60000, {SIGUSR1, 59000}, true, false, SHOAL_REASON_CONTINUE, 85},
    {IN_TIME, 60000, {SIGUSR1, 59000}, false, false, SHOAL_REASON_EXIT, 85},
    {"sleep 60", 60000, {SIGUSR1, 59950}, true, false, SHOAL_REASON_SIGNAL, SIGUSR1},
    {"trap '' USR1; sleep 60",
     200,
     {SIGUSR1, 100},
     true,
     false,
     SHOAL_REASON_TIMEOUT,
     SIGTERM},
    {LATE, 1000, {0}, true, false, SHOAL_REASON_CONTINUE, 85},
    {LATE, 1000, {0}, false, false, SHOAL_REASON_TIMEOUT, 85},
    {LATE, 0, {0}, true, true, SHOAL_REASON_STOPPED, 85},
};

START_TEST(a_task_asks_to_go_on) {
    spec.timeout_ms = goings_on[_i].timeout_ms;
    spec.warning = goings_on[_i].warning;
    spec.checkpoint = goings_on[_i].checkpoint;
    start_script(goings_on[_i].script);
    if (goings_on[_i].stop) {
        loop_until(base, is_there("ready"), LIMIT_MS);
        runner->kind->stop(runner);
    }
    wait_for_end();
    ck_assert_int_eq(outcome.reason, goings_on[_i].reason);
    ck_assert_int_eq(outcome.code, goings_on[_i].code);
}
END_TEST

START_TEST(only_the_program_is_warned) {
    spec.timeout_ms = 60000;
    spec.warning = (struct shoal_warning){SIGUSR1, 59000};
    run_script("trap : USR1; sh -c 'sleep 2; exec echo fine' & wait; wait $!");
    ck_assert_str_eq(result, "fine");
}
END_TEST

START_TEST(a_checkpoint_stays_over_attempts) {
    char path[PATH_MAX];
    spec.checkpoint = true;
    run_script("echo $SHOAL_CHECKPOINT; stat -c %a $SHOAL_CHECKPOINT; "
               "echo here >$SHOAL_CHECKPOINT/state; exit 85");
    snprintf(path, sizeof(path), "%s/ns/st0re0000001/0123456789ab/5\n700", home);
    ck_assert_str_eq(result, path);
    run_script("cat $SHOAL_CHECKPOINT/state");
    ck_assert_str_eq(result, "here");
    spec.checkpoint = false;
    run_script("echo ${SHOAL_CHECKPOINT-none}");
    ck_assert_str_eq(result, "none");
}
END_TEST

START_TEST(a_checkpoint_that_cannot_be_made_is_told) {
    struct shoal_error err = {.status = SHOAL_OK};
    spec.checkpoint = true;
    words[1] = "-c";
    words[2] = "true";
    make_folder("ns/st0re0000001");
    make_folder("ns/st0re0000001/0123456789ab");
    write_file("ns/st0re0000001/0123456789ab/5", "in the way", 0600);
    ck_assert_int_eq(start("/bin/sh", &err), SHOAL_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot make the checkpoint directory '"));
    ck_assert_ptr_nonnull(strstr(err.text, "Not a directory"));
    shoal_checkpoints_of_store(&checkpoints, "../../../etc"); /* garbled */
    err = (struct shoal_error){.status = SHOAL_OK};
    ck_assert_int_eq(start("/bin/sh", &err), SHOAL_SYSTEM);
}
END_TEST

/* Where all of them are is not this task's fault; nor is it made anew, since a disk may
 * be missing there. */
START_TEST(a_place_for_checkpoints_that_has_gone_may_come_back) {
    struct shoal_error err = {.status = SHOAL_OK};
    spec.checkpoint = true;
    words[1] = "-c";
    words[2] = "true";
    ck_assert_int_eq(rmdir(checkpoints.directory), 0);
    ck_assert_int_eq(start("/bin/sh", &err), SHOAL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, "is its disk there?"));
    ck_assert_int_ne(access(checkpoints.directory, F_OK), 0);
    write_file("ns", "in the way", 0600);
    ck_assert_int_eq(start("/bin/sh", NULL), SHOAL_SYSTEM);
}
END_TEST

START_TEST(its_group_ends_with_it) {
    run_script("sleep 60 & echo $!");
    pid_t pid = (pid_t)strtol(result, NULL, 10);
    ck_assert_int_gt(pid, 0);
    loop_until(base, kill(pid, 0) != 0, LIMIT_MS);
}
END_TEST

START_TEST(a_daemon_that_holds_the_pipe_is_not_waited_for) {
    int64_t begin = test_clock_ms();
    run_script("setsid sleep 60 & while ! test -e ready; do "
               "test $(cut -d' ' -f6 /proc/$!/stat) = $! && touch ready; done; echo x");
    ck_assert_int_lt(test_clock_ms() - begin, 10000);
    ck_assert_str_eq(result, "x");
    loop_until(base, shoal_tree_sweep(NULL, 0) == 1, LIMIT_MS); /* ours now */
    loop_until(base, no_child_is_left(), LIMIT_MS);
}
END_TEST

/* Left in other sessions, deaf, with no environment: each writes "1" … "4". */
static const char wild[] =
    "trap '' TERM\n"
    "(setsid sh -c 'trap \"\" TERM; touch 1; while :; do sleep 1; done' &)\n"
    "(setsid env -i sh -c '/bin/touch 2; exec /bin/sleep 60' &)\n"
    "(setsid sh -c 'setsid sh -c \"exec >&- 2>&- <&-; touch 3; exec sleep 60\" &' &)\n"
    "env -i PATH=$PATH sh -c 'touch 4; exec sleep 60' &\n"
    "while :; do sleep 1; done\n";

START_TEST(the_wildest_tree_ends) {
    spec.grace_ms = 50;
    start_script(wild);
    for (const char *name = "1\0002\0003\0004\0"; *name != '\0'; name += 2)
        loop_until(base, is_there(name), LIMIT_MS);
    runner->kind->stop(runner);
    wait_for_end();
    ck_assert_int_eq(outcome.reason, SHOAL_REASON_STOPPED);
    loop_until(base, no_child_is_left(), LIMIT_MS);
}
END_TEST

START_TEST(destroy_kills_what_runs) {
    start_script("trap '' TERM; while :; do sleep 1; done");
    pid_t pid = runner->kind->pid(runner);
    destroy_runner();
    ck_assert_int_ne(kill(pid, 0), 0);
    ck_assert_int_eq(endings, 0);
    ck_assert(!is_there("slots/3"));
    loop_until(NULL, no_child_is_left(), LIMIT_MS);
}
END_TEST

START_TEST(other_children_are_not_its_own) {
    struct rusage usage = {.ru_maxrss = 0};
    ck_assert(!runner->kind->reap(runner, 0, 0, &usage));
    start_script("sleep 60");
    ck_assert(!runner->kind->reap(runner, getpid(), 0, &usage));
    ck_assert_int_eq(endings, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("runner_exec");
    TCase *tcase = tcase_create("runner_exec");
    tcase_add_unchecked_fixture(tcase, create_root, destroy_root);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_programs_end_is_told, 0, SHOAL_COUNT(programs));
    tcase_add_test(tcase, usage_is_measured);
    tcase_add_loop_test(tcase, surroundings_are_as_promised, 0,
                        SHOAL_COUNT(surroundings));
    tcase_add_test(tcase, a_worker_without_standard_descriptors_runs_tasks);
    tcase_add_test(tcase, each_task_has_an_empty_directory);
    tcase_add_test(tcase, a_slot_runs_many);
    tcase_add_loop_test(tcase, what_cannot_be_started_is_told, 0, SHOAL_COUNT(failures));
    tcase_add_loop_test(tcase, a_program_is_found_from_the_tasks_place, 0,
                        SHOAL_COUNT(places));
    tcase_add_test(tcase, too_long_words_make_no_sense);
    tcase_add_test(tcase, a_host_without_descriptors_is_not_the_tasks_fault);
    tcase_add_test(tcase, a_worker_folder_that_is_gone_is_made_again);
    tcase_add_test(tcase, a_worker_folder_that_cannot_be_is_not_the_tasks_fault);
    tcase_add_test(tcase, a_too_long_directory_is_refused_and_nothing_removed);
    tcase_add_loop_test(tcase,
                        text_over_the_bound_keeps_its_end_and_what_is_structured_fails, 0,
                        SHOAL_COUNT(prints));
    tcase_add_test(tcase, the_end_of_stderr_is_kept);
    tcase_add_loop_test(tcase, a_task_is_ended, 0, SHOAL_COUNT(ends));
    tcase_add_loop_test(tcase, a_task_asks_to_go_on, 0, SHOAL_COUNT(goings_on));
    tcase_add_test(tcase, only_the_program_is_warned);
    tcase_add_test(tcase, a_checkpoint_stays_over_attempts);
    tcase_add_test(tcase, a_checkpoint_that_cannot_be_made_is_told);
    tcase_add_test(tcase, a_place_for_checkpoints_that_has_gone_may_come_back);
    tcase_add_test(tcase, its_group_ends_with_it);
    tcase_add_test(tcase, a_daemon_that_holds_the_pipe_is_not_waited_for);
    tcase_add_test(tcase, the_wildest_tree_ends);
    tcase_add_test(tcase, destroy_kills_what_runs);
    tcase_add_test(tcase, other_children_are_not_its_own);
    suite_add_tcase(suite, tcase);
    SRunner *suite_runner = srunner_create(suite);
    srunner_run_all(suite_runner, CK_ENV);
    int failed = srunner_ntests_failed(suite_runner);
    srunner_free(suite_runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
