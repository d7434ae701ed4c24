/* What tasks start, bound by their limits and ended with them, with control groups where
 * this host has them and without. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"
#include "worker/cgroup.h"

#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static struct test_process worker, successor;
static struct shoal_cgroups trees; /* that are tried on this host */

static void setup(void) {
    daemons_start(NULL);
    ck_assert_int_eq(shoal_cgroups_find("auto", &trees, NULL), SHOAL_OK);
}

static void teardown(void) {
    daemons_finish();
}

/* Says that a test proves nothing here. */
static bool is_missing(bool there, const char *what) {
    if (!there)
        printf("skipped: this host does not let us use %s\n", what);
    return !there;
}

/* Whether the running worker has groups, or (a word) groups that hold such a limit. */
static bool has_groups(const char *limit) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *log = test_process_err(&worker);
    const char *line = strstr(log, "tasks are held by control groups");
    const char *end = line == NULL ? NULL : strchr(line, '\n');
    const char *word = line == NULL ? NULL : strstr(line, limit);
    return word != NULL && word < end;
}

/* The groups that are there by a name such as "shoal-*" below the first tree. */
static size_t groups(const char *pattern, char *path, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < trees.n; i++) {
        char whole[SHOAL_CGROUP_PATH + 128];
        glob_t found;
        snprintf(whole, sizeof(whole), "%s/%s", trees.trees[i].path, pattern);
        if (glob(whole, 0, NULL, &found) == 0) {
            n += found.gl_pathc;
            snprintf(path, room, "%s", found.gl_pathv[0]);
        }
        globfree(&found);
    }
    return n;
}

static void read_session(char session[13]) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *log = test_process_err(&worker);
    const char *at = strstr(log, "session=");
    ck_assert_ptr_nonnull(at);
    snprintf(session, 13, "%s", at + strlen("session="));
}

static size_t groups_of(const char *session) {
    char pattern[32], path[16];
    snprintf(pattern, sizeof(pattern), "shoal-%s", session);
    return groups(pattern, path, sizeof(path));
}

static bool is_gone(const char *name) {
    return !is_alive((pid_t)number_of(name));
}

/* ---- escapes: each writes the number of a process that wants to stay into a file */

static const char *const modes[] = {"--cgroup auto", "--cgroup off"};

static const struct {
    const char *options, *script;
    int exit; /* of the job; 1: it does not end by itself, and is cancelled */
} escapes[] = {
    {"", "sleep 1000 & echo $! > left", 0},
    {"", "(setsid sh -c \"echo \\$\\$ > left; exec sleep 1000\" &)", 0},
    {"",
     "(setsid sh -c \"exec <&- >&- 2>&-; (echo \\$\\$ > left; exec sleep 1000) & exit\" "
     "&)",
     0},
    {"",
     "(env -i PATH=$PATH setsid sh -c \"echo \\$\\$ > left; exec sleep 1000\" "
     "> /dev/null 2>&1 &)",
     0},
    {"--grace 100ms",
     "trap \"\" TERM; (setsid sh -c \"echo \\$\\$ > left; "
     "while :; do sleep 1; done\" &); while :; do sleep 1; done",
     1},
    {"--grace 100ms",
     "(env -i PATH=$PATH setsid sh -c \"trap : TERM; echo \\$\\$ > left; "
     "while :; do sleep 1; done\" &); exec sleep 1000",
     1},
    /* What hides behind the clock: it starts itself again and again. */
    {"",
     "echo \"echo \\$\\$ > left; sleep 0.02; exec setsid -f sh again\" > again; "
     "(setsid sh again &); while ! test -s left; do sleep 0.01; done",
     0},
};

START_TEST(nothing_survives_its_task) {
    const int n = (int)SHOAL_COUNT(escapes);
    worker_start(&worker, modes[_i / n]);
    const char *job = ok("shoal submit %s -- sh -c '%s; "
                         "while ! test -s left; do sleep 0.01; done'",
                         escapes[_i % n].options, escapes[_i % n].script);
    wait_until(number_of("left") > 0, LIMIT_MS);
    if (escapes[_i % n].exit != 0)
        ok("shoal cancel %s", job);
    sh_exit(escapes[_i % n].exit, "shoal wait %s", job);
    wait_until(is_gone("left"), LIMIT_MS);
    ck_assert_str_eq(ok("shoal run -- sh -c 'echo fine' | grep -c fine"), "1");
    worker_end(&worker);
    ck_assert(is_gone("left"));
}
END_TEST

/* ---- the same of functions, whose process goes on to other tasks */

static const char leaves[] =
    "import os, shoal, subprocess, time\n"
    "DAEMON = 'setsid sh -c \"echo \\\\$\\\\$ > left; exec sleep 1000\" >&- 2>&- &'\n"
    "helper = None\n"
    "def note(pid):\n"
    "    with open('left', 'w') as file: file.write(f'{pid}\\n')\n"
    "def leave():\n"
    "    os.setpgid(0, os.getpgid(os.getppid()))\n"
    "    note(os.getpid())\n"
    "def hang_up():\n"
    "    leave()\n"
    "    os.closerange(3, 2000)\n"
    "def session():\n"
    "    note(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)\n"
    "def child():\n"
    "    note(subprocess.Popen(['sleep', '1000']).pid)\n"
    "def fork():\n"
    "    pid = os.fork()\n"
    "    if pid == 0: time.sleep(1000)\n"
    "    note(pid)\n"
    "def daemon(before=''):\n"
    "    subprocess.run(['sh', '-c', before + DAEMON])\n"
    "    while not os.path.exists('left') or not open('left').read(): time.sleep(0.01)\n"
    "def hidden():\n"
    "    daemon('env -i PATH=$PATH ')\n"
    "def f(how, then):\n"
    "    globals()[how]()\n"
    "    while then == 'ask' and not shoal.should_stop(): time.sleep(0.01)\n"
    "    while then == 'stay':\n"
    "        try: time.sleep(0.01)\n"
    "        except BaseException: pass\n"
    "def pid(i):\n"
    "    note(os.getpid())\n"
    "def keep(i):\n"
    "    global helper\n"
    "    if not helper: helper = subprocess.Popen(['cat'], stdin=-1, stdout=-1)\n"
    "    helper.stdin.write(b'x\\n'); helper.stdin.flush()\n"
    "    note(helper.pid)\n"
    "    return {'said': helper.stdout.readline().decode().strip(),\n"
    "            'runner': os.getpid(), 'helper': helper.pid}\n";

static void write_leaves(void) {
    char path[256];
    snprintf(path, sizeof(path), "%s/leaves.py", daemons.home.path);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(leaves, file), 0);
}

#define BRIEF "--timeout 2s --grace 100ms" /* in which it has begun */

static const struct {
    const char *how, *then, *options;
    const char *cancel; /* by which it ends; NULL: it ends by itself */
    int exit;           /* of the job: what one that asks returns counts */
} leftovers[] = {
    {"leave", "stay", BRIEF, NULL, 1},
    {"leave", "stay", "--grace 100ms", "", 1},
    {"leave", "stay", "", "--kill", 1},
    {"hang_up", "stay", "", NULL, 1},
    {"child", "return", "", NULL, 0},
    {"fork", "return", "", NULL, 0},
    {"session", "return", "", NULL, 0},
    {"session", "stay", BRIEF, NULL, 1},
    {"session", "stay", "--grace 100ms", "", 1},
    {"session", "stay", "", "--kill", 1},
    {"session", "ask", "", "", 0},
    {"daemon", "return", "", NULL, 0},
    {"daemon", "stay", BRIEF, NULL, 1},
    {"daemon", "stay", "--grace 100ms", "", 1},
    {"daemon", "ask", "", "", 0},
    {"hidden", "return", "", NULL, 0},
    {"hidden", "stay", "--grace 100ms", "", 1},
};

/* A runner that is older and idle may have started none of it. */
START_TEST(nothing_survives_its_functions) {
    const int n = (int)SHOAL_COUNT(leftovers);
    const char *cancel = leftovers[_i % n].cancel;
    write_leaves();
    worker_start(&worker, modes[_i / n]);
    ok("shoal run --python leaves:pid -p i=1 && rm left");
    const char *job =
        ok("shoal submit --python leaves:f -p how=%s -p then=%s %s",
           leftovers[_i % n].how, leftovers[_i % n].then, leftovers[_i % n].options);
    wait_until(number_of("left") > 0, LIMIT_MS);
    if (cancel != NULL)
        ok("shoal cancel %s %s", cancel, job);
    sh_exit(leftovers[_i % n].exit, "shoal wait %s", job);
    wait_until(is_gone("left"), LIMIT_MS);
    ok("shoal run --python leaves:pid -p i=1");
    worker_end(&worker);
    ck_assert(is_gone("left"));
}
END_TEST

START_TEST(worker_ends_with_a_function_that_left_its_group) {
    write_leaves();
    worker_start(&worker, modes[_i]);
    ok("shoal submit --python leaves:f -p how=leave -p then=stay");
    wait_until(number_of("left") > 0, LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    wait_until(has_said(&worker, "message=\"draining"), LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    wait_until(has_said(&worker, "message=\"stopping"), LIMIT_MS);
    test_process_signal(&worker, SIGTERM);
    worker_end(&worker);
    ck_assert(is_gone("left"));
}
END_TEST

/* It ends with the runner that counts on it, and never under one. */
START_TEST(helper_of_functions_stays_for_the_tasks_behind) {
    write_leaves();
    worker_start(&worker, modes[_i]);
    for (int i = 0; i < 3; i++) {
        const char *job = ok("shoal submit --python leaves:keep -p i=1:200");
        sh_exit(0, "shoal wait %s", job);
        ck_assert_str_eq(
            ok("shoal results %s --format jsonl | grep -c '\"said\":\"x\"'", job), "200");
        ok("shoal results %s --format jsonl | grep -o '\"runner\":[0-9]*,\"helper.*' | "
           "sort -u > pairs; test $(wc -l < pairs) = $(cut -d, -f1 pairs | sort -u | "
           "wc -l) && test $(wc -l < pairs) -lt 100",
           job);
        if (i == 1)
            wait_until(is_gone("left"), LIMIT_MS);
    }
    worker_end(&worker);
}
END_TEST

/* What was there before its first task is no leftover. */
START_TEST(program_around_a_runner_is_its_own) {
    write_leaves();
    ok("printf '#!/bin/sh\\npython3 \"$@\"\\nexit\\n' > around; chmod +x around");
    worker_start(&worker, modes[_i]);
    ok("shoal run --env SHOAL_PYTHON=$PWD/around --python leaves:pid -p i=1; "
       "mv left inner");
    ok("shoal run --python leaves:f -p how=session -p then=return");
    wait_until(is_gone("left"), LIMIT_MS);
    ck_assert(!is_gone("inner")); /* which had nothing to do for longer */
    worker_end(&worker);
    ck_assert(is_gone("inner"));
}
END_TEST

/* With groups the slot is empty when the outcome is there, whatever else runs. */
START_TEST(hidden_process_ends_with_its_task_while_others_run) {
    int gate = gate_close("gate");
    worker_start(&worker, "--slots 2");
    if (is_missing(has_groups(""), "control groups")) {
        worker_end(&worker);
        return;
    }
    const char *other = ok("shoal submit -- sh -c ': > began; exec flock -sF gate true'");
    wait_until(files("began") == 1, LIMIT_MS);
    ok("shoal run -- sh -c '(env -i PATH=$PATH setsid sh -c "
       "\"echo \\$\\$ > left; exec sleep 1000\" > /dev/null 2>&1 &); "
       "while ! test -s left; do sleep 0.01; done'");
    ck_assert(is_gone("left"));
    gate_open(gate);
    sh_exit(0, "shoal wait %s", other);
    worker_end(&worker);
}
END_TEST

START_TEST(fork_bomb_is_bounded_and_ended) {
    char session[13];
    worker_start(&worker, "--slots 2");
    read_session(session);
    if (!is_missing(has_groups("processes"), "a control group's limit of processes")) {
        const char *job =
            ok("shoal submit --max-processes 40 --timeout 1s --grace 100ms -- "
               "sh -c 'echo $$ >> bombs; f() { f 2>/dev/null & f 2>/dev/null & wait; }; "
               "while :; do f 2>/dev/null; done'");
        const char *neighbour = ok("shoal submit -p i=1:50 -- sh -c 'echo i={i}'");
        sh_exit(0, "shoal wait %s", neighbour);
        sh_exit(1, "shoal wait %s", job);
        expect_each_once(neighbour);
    }
    worker_end(&worker);
    ck_assert_uint_eq(groups_of(session), 0);
}
END_TEST

/* ---- limits */

/* Whether the kernel counts a group's peak anew: in version 2 since Linux 6.12. */
static bool tells_peaks(void) {
    struct utsname host;
    int major = 0, minor = 0;
    ck_assert_int_eq(uname(&host), 0);
    ck_assert_int_eq(sscanf(host.release, "%d.%d", &major, &minor), 2);
    return major > 6 || (major == 6 && minor >= 12) || !has_groups("version=2");
}

#define TAKES_MEMORY "python3 -c \"x = bytearray(200 << 20); print(len(x))\""

START_TEST(task_over_its_memory_fails_as_oom_alone) {
    worker_start(&worker, "--slots 2");
    if (!is_missing(has_groups("memory"), "a control group's limit of memory")) {
        const char *job =
            ok("shoal submit --memory 48M -p i=1:6 -- "
               "sh -c 'test {i} -ne 3 || exec " TAKES_MEMORY "; echo i={i}'");
        sh_exit(1, "shoal wait %s", job);
        ck_assert_int_eq(job_now(job).ok, 5);
        const json_t *row = row_of(job, 2);
        ck_assert_str_eq(text_in(row, "reason"), "oom");
        const char *told = ok("shoal show %s 2", job);
        ck_assert_msg(strstr(told, "more memory than its limit of 48M") != NULL, "%s",
                      told);
        const char *peak = strstr(told, "its peak was ");
        ck_assert_msg(peak == NULL ? !tells_peaks()
                                   : peak[strlen("its peak was ")] == '4',
                      "%s", told);
        ck_assert_msg(strstr(told, "memory 48M") != NULL, "%s", told);
    }
    ok("shoal run -- true"); /* no limit is left behind */
    ok("shoal run -- sh -c '" TAKES_MEMORY "'");
    expect_audit();
    worker_end(&worker);
}
END_TEST

/* Its allocations fail, and what it makes of that is its own. */
START_TEST(memory_is_bounded_without_groups) {
    worker_start(&worker, "--cgroup off");
    const char *job = ok("shoal submit --memory 48M -- " TAKES_MEMORY);
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "exit");
    const char *told = ok("shoal show %s 0", job);
    ck_assert_msg(strstr(told, "MemoryError") != NULL, "%s", told);
    worker_end(&worker);
}
END_TEST

/* What is asked for, and what the log says is not held; NULL: nothing is said. */
static const struct {
    const char *options;
    const char *says;
} unheld[] = {
    {"--cpus 0.5 --max-processes 9", "(cpus 0.5, processes 9);"},
    {"--memory 100M --cpus 2", "(memory 100M, cpus 2; of memory each process"},
    {"--max-file-size 1k", NULL},
    {"", NULL},
};

START_TEST(limit_that_does_not_hold_here_is_told_once) {
    static const char words[] = "are not held on this host";
    worker_start(&worker, "--cgroup off --slots 2");
    for (int i = 0; i < 2; i++)
        ok("shoal run %s -p i=1:3 -- true", unheld[_i].options);
    SHOAL_CLEANUP(shoal_cleanup_free) char *log = test_process_err(&worker);
    const char *first = strstr(log, words), *says = unheld[_i].says;
    ck_assert_msg((first != NULL) == (says != NULL), "%s", log);
    if (says != NULL) {
        ck_assert_msg(strstr(log, says) != NULL, "%s", log);
        ck_assert_ptr_null(strstr(first + 1, words));
    }
    worker_end(&worker);
}
END_TEST

START_TEST(limit_that_groups_hold_is_not_told) {
    worker_start(&worker, "--slots 2");
    if (!is_missing(has_groups("memory,cpus,processes"), "control groups for limits")) {
        ok("shoal run --memory 100M --cpus 2 --max-processes 9 -- true");
        ck_assert(!has_said(&worker, "are not held on this host"));
    }
    worker_end(&worker);
}
END_TEST

START_TEST(files_are_bounded) {
    worker_start(&worker, modes[_i]);
    ok("shoal submit --name big --max-file-size 1k -- "
       "dd if=/dev/zero of=big bs=5000 count=1");
    sh_exit(1, "shoal wait big");
    ck_assert_str_eq(text_in(row_of("big", 0), "reason"), "signal");
    ck_assert_str_eq(ok("stat -c %%s big"), "1024");
    ok("shoal run -- sh -c 'dd if=/dev/zero of=large bs=5000 count=1'");
    worker_end(&worker);
}
END_TEST

/* What the kernel makes of it is the kernel's; here it is told. */
START_TEST(cores_and_processes_are_told_to_the_kernel) {
    int gate = gate_close("gate");
    char session[13], pattern[64], path[SHOAL_CGROUP_PATH + 128];
    worker_start(&worker, "--slots 1");
    read_session(session);
    if (is_missing(has_groups("cpus,processes"), "control groups for both")) {
        worker_end(&worker);
        return;
    }
    const char *job = ok("shoal submit --cpus 0.5 --max-processes 7 -- "
                         "sh -c 'cat /proc/self/cgroup > own; exec flock -sF gate true'");
    wait_until(files("own") == 1 && strlen(text_of("own")) > 0, LIMIT_MS);
    snprintf(pattern, sizeof(pattern), "shoal-%s/0/cpu.max", session);
    if (groups(pattern, path, sizeof(path)) == 1) {
        ck_assert_str_eq(ok("cat %s", path), "50000 100000");
    } else {
        snprintf(pattern, sizeof(pattern), "shoal-%s/0/cpu.cfs_quota_us", session);
        ck_assert_uint_eq(groups(pattern, path, sizeof(path)), 1);
        ck_assert_str_eq(ok("cat %s", path), "50000");
    }
    snprintf(pattern, sizeof(pattern), "shoal-%s/0/pids.max", session);
    ck_assert_uint_eq(groups(pattern, path, sizeof(path)), 1);
    ck_assert_str_eq(ok("cat %s", path), "7");
    ck_assert_ptr_nonnull(strstr(text_of("own"), session));
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    ok("shoal run -- true"); /* takes them back */
    ck_assert_str_eq(ok("cat %s", path), "max");
    worker_end(&worker);
    ck_assert_uint_eq(groups_of(session), 0);
}
END_TEST

/* ---- dead workers */

static const char *leave_something(void) {
    return ok(
        "shoal submit -- sh -c 'test $SHOAL_ATTEMPT -gt 1 && exec echo ok; "
        "(setsid sh -c \"echo \\$\\$ > left; exec sleep 1000\" &); "
        "while ! test -s left; do sleep 0.01; done; echo $$ > pid; exec sleep 1000'");
}

START_TEST(next_worker_ends_what_a_dead_one_left) {
    char session[13];
    worker_start(&worker, modes[_i]);
    read_session(session);
    const char *job = leave_something();
    wait_until(number_of("pid") > 0, LIMIT_MS);
    worker_kill(&worker);
    wait_until(is_gone("pid"), LIMIT_MS); /* by its parent-death signal */
    ck_assert(!is_gone("left"));
    ck_assert_uint_eq(files("tmp/shoal-*"), 1);
    worker_start(&successor, modes[_i]);
    ck_assert(is_gone("left"));
    ck_assert_uint_eq(files("tmp/shoal-*"), 1); /* its own */
    ck_assert_uint_eq(groups_of(session), 0);
    sh_exit(0, "shoal wait %s", job);
    worker_end(&successor);
}
END_TEST

START_TEST(living_worker_keeps_what_it_has) {
    int gate = gate_close("gate");
    worker_start(&worker, modes[_i]);
    const char *job =
        ok("shoal submit -- sh -c 'echo $$ > pid; exec flock -sF gate true'");
    wait_until(number_of("pid") > 0, LIMIT_MS);
    worker_start(&successor, modes[_i]);
    ck_assert(!is_gone("pid"));
    ck_assert_uint_eq(files("tmp/shoal-*"), 2);
    gate_open(gate);
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    worker_end(&worker);
    worker_end(&successor);
}
END_TEST

/* ---- privileges */

START_TEST(tasks_run_as_another_user) {
    if (is_missing(geteuid() == 0, "other users"))
        return;
    ok("chmod 0711 . tmp");
    worker_start(&worker, "--user nobody");
    ok("shoal run --cwd / --format jsonl -- sh -c '"
       "test $(id -un) = nobody && test $(id -un) = $USER && test $USER = $LOGNAME && "
       "echo x > $SHOAL_TMP/file && mkdir $SHOAL_TMP/folder && echo out > /dev/stdout && "
       "grep -q NoNewPrivs:.1 /proc/self/status && ! kill -0 $PPID 2>/dev/null'");
    ok("shoal run --cwd / -- sh -c 'test -z \"$(ls -A $SHOAL_TMP)\"'");
    ok("shoal run --cwd / -- sh -c 'echo a=1 > $SHOAL_RESULT' | grep -q a");
    sh_exit(1, "shoal run --cwd / -- sh -c 'exec cat /etc/shadow'");
    pid_t pid = worker_pid(&worker);
    ok("shoal submit --cwd / --name last -- sleep 1000");
    wait_until(job_now("last").leased == 1, LIMIT_MS);
    kill(pid, SIGKILL); /* another user's programs hear of it as well */
    test_process_signal(&worker, SIGTERM);
    test_process_wait(&worker, LIMIT_MS);
    test_process_finish(&worker);
    ok("shoal cancel --kill last");
    ck_assert_str_eq(ok("pgrep -cu nobody -f '^sleep 1000' || true"), "0");
}
END_TEST

START_TEST(tasks_have_the_group_that_goes_with_the_user) {
    if (is_missing(geteuid() == 0, "other users"))
        return;
    ok("chmod 0711 . tmp");
    worker_start(&worker, "--user nobody:daemon");
    ok("shoal run --cwd / -- sh -c 'test $(id -un):$(id -gn) = nobody:daemon && "
       "! id -G | grep -qw 0 && echo x > $SHOAL_TMP/file && "
       "test $(stat -c %%G $SHOAL_TMP/file) = daemon'");
    worker_end(&worker);
    struct said said = sh_exit(2, "shoal-worker --user nobody:no-such-group-here");
    ck_assert_ptr_nonnull(strstr(said.err, "no group 'no-such-group-here'"));
}
END_TEST

/* Where no group counts them, the kernel counts those of the user, of other workers too:
 * there may be fewer than that. */
START_TEST(processes_of_another_user_are_bounded_without_groups) {
    if (is_missing(geteuid() == 0, "other users"))
        return;
    ok("chmod 0711 . tmp; "
       "echo '(n=0; while test $n -lt 60; do sleep 1000 & n=$((n + 1)); "
       "echo n=$n > $SHOAL_RESULT; done) 2> /dev/null; true' > forks; chmod 0644 forks");
    worker_start(&worker, "--user nobody --cgroup off");
    ok("shoal run --cwd / --name free -- sh $PWD/forks");
    ck_assert_int_eq(int_in(row_of("free", 0), "n"), 60);
    ok("shoal run --cwd / --name bounded --max-processes 30 -- sh $PWD/forks");
    ck_assert_int_lt(int_in(row_of("bounded", 0), "n"), 30);
    ck_assert(!has_said(&worker, "are not held on this host"));
    worker_end(&worker);
}
END_TEST

/* Of a host that is short of memory the tasks end first, and the worker as what else is
 * there. */
START_TEST(tasks_are_offered_to_the_kernel_before_their_worker) {
    static const char own[] = "cat /proc/%d/oom_score_adj";
    worker_start(&worker, "");
    ok("printf 'def score():\n    with open(\"/proc/self/oom_score_adj\") as file: "
       "return int(file.read())\n' > score.py");
    ck_assert_str_eq(
        ok("shoal run --name program -- cat /proc/self/oom_score_adj > rows; "
           "shoal results program --format jsonl | jq .result"),
        "500");
    ck_assert_str_eq(ok("shoal run --name function --python score:score > rows; "
                        "shoal results function --format jsonl | jq .result"),
                     "500");
    ck_assert_str_eq(ok(own, (int)worker_pid(&worker)), ok(own, (int)getpid()));
    worker_end(&worker);
}
END_TEST

START_TEST(senseless_options_are_refused) {
    struct said said = sh_exit(2, "shoal-worker --cgroup /no/such/group");
    ck_assert_ptr_nonnull(strstr(said.err, "/no/such/group"));
    sh_exit(2, "shoal-worker --cgroup on");
    said = sh_exit(2, "shoal-worker --user no-such-user-here");
    ck_assert_ptr_nonnull(
        strstr(said.err, geteuid() == 0 ? "no-such-user" : "only root"));
    said = sh_exit(2, "shoal submit --memory 5 -- true");
    ck_assert_ptr_nonnull(strstr(said.err, "1M to 1024T"));
    sh_exit(2, "shoal submit --cpus 0.0001 -- true");
    sh_exit(2, "shoal submit --cpus -1 -- true");
}
END_TEST

/* What is held by groups, and the same by a host that has none. */
static void add_tests(TCase *tests, int mode) {
    const int n_escapes = (int)SHOAL_COUNT(escapes);
    const int n_leftovers = (int)SHOAL_COUNT(leftovers);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, nothing_survives_its_task, mode * n_escapes,
                        (mode + 1) * n_escapes);
    tcase_add_loop_test(tests, nothing_survives_its_functions, mode * n_leftovers,
                        (mode + 1) * n_leftovers);
    tcase_add_loop_test(tests, worker_ends_with_a_function_that_left_its_group, mode,
                        mode + 1);
    tcase_add_loop_test(tests, helper_of_functions_stays_for_the_tasks_behind, mode,
                        mode + 1);
    tcase_add_loop_test(tests, program_around_a_runner_is_its_own, mode, mode + 1);
    tcase_add_loop_test(tests, files_are_bounded, mode, mode + 1);
    tcase_add_loop_test(tests, next_worker_ends_what_a_dead_one_left, mode, mode + 1);
    tcase_add_loop_test(tests, living_worker_keeps_what_it_has, mode, mode + 1);
}

int main(void) {
    Suite *suite = suite_create("processes");
    TCase *groups = tcase_create("groups");
    tcase_add_test(groups, hidden_process_ends_with_its_task_while_others_run);
    tcase_add_test(groups, fork_bomb_is_bounded_and_ended);
    tcase_add_test(groups, task_over_its_memory_fails_as_oom_alone);
    tcase_add_test(groups, limit_that_groups_hold_is_not_told);
    tcase_add_test(groups, cores_and_processes_are_told_to_the_kernel);
    add_tests(groups, 0);
    suite_add_tcase(suite, groups);
    TCase *none = tcase_create("no groups");
    add_tests(none, 1);
    tcase_add_test(none, memory_is_bounded_without_groups);
    tcase_add_loop_test(none, limit_that_does_not_hold_here_is_told_once, 0,
                        (int)SHOAL_COUNT(unheld));
    tcase_add_test(none, tasks_run_as_another_user);
    tcase_add_test(none, tasks_have_the_group_that_goes_with_the_user);
    tcase_add_test(none, processes_of_another_user_are_bounded_without_groups);
    tcase_add_test(none, tasks_are_offered_to_the_kernel_before_their_worker);
    tcase_add_test(none, senseless_options_are_refused);
    suite_add_tcase(suite, none);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
