/* What tasks may be and do, with real workers: every way around the list of --allow and
 * out of the sandbox that we know of. */
#include "common/cleanup.h"
#include "tests/support/daemons.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_process worker, other;

static bool is_missing(bool there, const char *what) {
    if (!there)
        printf("skipped: this host does not let us use %s\n", what);
    return !there;
}

/* Two folders of the list, and one that is not in it. Whatever is started that must not
 * be leaves `forbidden`. */
static void setup(void) {
    daemons_start(NULL);
    setenv("PLUGIN", test_built("tests/support/tasks.so").text, 1);
    ok("mkdir sim sim/deep tree tree/pkg tree/open out; chmod 1777 tree/open; "
       "printf '#!/bin/sh\\necho ran=good\\n' > sim/good; chmod +x sim/good; "
       "printf '#!/bin/sh\\n: > \"$HOME/forbidden\"; echo ran=bad\\n' > out/bad; "
       "chmod +x out/bad; cp sim/good out/fine; cp sim/good tree/pkg/good; "
       "cp out/bad sim/deep/bad; cp out/bad tree/open/bad; cp out/bad sim/anyones; "
       "chmod 0777 sim/anyones; "
       "ln -s ../out/bad sim/link; ln -s ../out sim/folder; ln -s ../sim/good out/in; "
       "printf '#!%%s/out/fine\\n' \"$HOME\" > sim/script; chmod +x sim/script");
    ok("cp $PLUGIN sim/tasks.so; ln -s $PLUGIN sim/link.so; "
       "printf 'import os, helper\\nfrom os import system\\nfrom helper import near\\n"
       "def f(x):\\n    return {\"ran\": \"good\"}\\n' > sim/model.py; "
       "printf 'def near(x):\\n    return {\"ran\": \"good\"}\\n' > sim/helper.py; "
       "printf 'open(\"forbidden\", \"w\")\\ndef f(x):\\n    pass\\n' > out/outside.py; "
       "ln -s ../out/outside.py sim/outside.py; ln -s ../sim/model.py out/alias.py; "
       "printf 'from .part import f\\n' > tree/pkg/__init__.py; "
       "printf 'def f(x):\\n    return {\"ran\": \"good\"}\\n' > tree/pkg/part.py");
}

static void teardown(void) {
    daemons_finish();
}

#define LISTED "--allow \"$HOME/sim/*:$HOME/tree/**\""

/* One whose own PATH leads into the list and out of it. */
static void listed_start(void) {
    sh_start(&worker,
             "env PATH=\"$PATH:$HOME/out:$HOME/sim\" shoal-worker --session-ttl 4s "
             "--name listed --slots 2 " LISTED);
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
}

/* ---- the list */

static const char *const allowed[] = {
    "-- sim/good",
    "-- \"$HOME/sim/good\"",
    "-- out/../sim/./good",
    "--cwd \"$HOME/sim\" -- ./good",
    "-- good",
    "-- out/in",
    "-- tree/pkg/good",
    "-- sim/script",
    "--env MODEL=x -- sim/good",
    "--cwd \"$HOME/sim\" -p x=1 --python model:f",
    "--cwd \"$HOME/sim\" -p x=1 --python model:helper.near",
    "--cwd \"$HOME/sim\" -p x=1 --python model:near",
    "--cwd \"$HOME/tree\" -p x=1 --python pkg:f",
    "--cwd \"$HOME/tree\" -p x=1 --python pkg.part:f",
};

START_TEST(what_is_listed_runs) {
    listed_start();
    const char *rows = ok("shoal run --format csv %s", allowed[_i]);
    ck_assert_msg(strstr(rows, "good") != NULL, "%s: %s", allowed[_i], rows);
    ok("shoal run --plugin sim/tasks.so --task nothing");
    worker_end(&worker);
}
END_TEST

static const struct {
    const char *submission, *said;
} refused[] = {
    {"-- sim/../out/bad", "/out/bad' is not among what --allow names"},
    {"-- \"$HOME/sim/../out/bad\"", "/out/bad' is not among"},
    {"-- sim/link", "does not start 'sim/link': its real path"},
    {"-- sim/folder/bad", "/out/bad' is not among"},
    {"--cwd \"$HOME/out\" -- ./bad", "/out/bad' is not among"},
    {"-- bad", "/out/bad' is not among"},
    {"-- sim/deep/bad", "/sim/deep/bad' is not among"},
    {"-- sim/anyones", "everybody can write to"},
    {"-- tree/open/bad", "everybody can write to"},
    {"-- ./sim", "is not among"},
    {"-- sim/good/bad", "cannot start"},
    {"-- sh -c ': > \"$HOME/forbidden\"'", "is not among"},
    {"-- env out/bad", "is not among"},
    {"--env PATH=\"$HOME/out\" -- bad", "sets PATH by --env"},
    {"--env PATH=\"$HOME/out\" -- sim/good", "sets PATH by --env"},
    {"--env LD_PRELOAD=\"$PLUGIN\" -- sim/good", "sets LD_PRELOAD by --env"},
    {"--env SHELLOPTS=xtrace --env PS4='$(: > forbidden)' -- sim/good",
     "sets PS4 by --env"},
    {"-- \"$(command -v shoal-host)\" --try --python outside:f",
     "starts shoal-host only"},
    {"--cwd \"$HOME/out\" -p x=1 --python outside:f", "does not load 'outside:f'"},
    {"--cwd \"$HOME/sim\" -p x=1 --python outside:f", "/out/outside.py' is not among"},
    {"--cwd \"$HOME/out\" -p x=1 --python alias:f", "is called otherwise"},
    {"--cwd \"$HOME/sim\" -p x=1 --python os:system", "no module 'os'"},
    {"--cwd \"$HOME/sim\" -p command=1 --python model:system", "is not defined in"},
    {"--cwd \"$HOME/sim\" -p command=1 --python model:os.system", "is not defined in"},
    {"--cwd \"$HOME/sim\" -p x=1 --python model:f.__class__", "is not defined in"},
    {"--env SHOAL_PYTHON=\"$HOME/out/bad\" --cwd \"$HOME/sim\" -p x=1 --python model:f",
     "sets SHOAL_PYTHON by --env"},
    {"--plugin \"$PLUGIN\" --task nothing", "does not load '"},
    {"--plugin sim/link.so --task nothing", "is not among"},
    {"--plugin sim/../out/no.so --task nothing", "cannot load"},
};

/* It is told to whoever submitted it, nothing was started, and the worker goes on. */
START_TEST(what_is_not_listed_is_refused) {
    listed_start();
    const char *job = ok("shoal submit %s", refused[_i].submission);
    sh_exit(1, "shoal wait %s", job);
    const json_t *row = row_of(job, 0);
    ck_assert_str_eq(text_in(row, "reason"), "spawn");
    const char *story = ok("shoal show %s 0", job);
    ck_assert_msg(strstr(story, refused[_i].said) != NULL, "%s: %s",
                  refused[_i].submission, story);
    ck_assert_uint_eq(files("forbidden") + files("*/forbidden"), 0);
    ok("shoal run -- sim/good");
    expect_audit();
    worker_end(&worker);
}
END_TEST

/* It may come, as what lies on another machine's disk does. */
START_TEST(pattern_of_nothing_is_warned_of) {
    worker_start(&worker, "--allow '/no/such/*:/no/such/file' " LISTED);
    ck_assert(has_said(&worker, "would allow\" allow=/no/such/*\n"));
    ck_assert(has_said(&worker, "would allow\" allow=/no/such/file\n"));
    ck_assert_uint_eq(times_said(&worker, "nothing is there now"), 2); /* no others */
    ck_assert_uint_eq(times_said(&worker, "of which nothing may run"), 0);
    ck_assert_uint_eq(times_said(&worker, "nothing may run by it"), 0);
    worker_end(&worker);
}
END_TEST

START_TEST(pattern_that_is_not_what_is_there_is_warned_of) {
    worker_start(&worker, "--allow '/usr/bin:/usr/bin/env/**'");
    ck_assert(has_said(&worker, "may run\" allow=/usr/bin write=/usr/bin/*\n"));
    ck_assert(has_said(&worker, "by it\" allow=/usr/bin/env/** write=/usr/bin/env\n"));
    worker_end(&worker);
}
END_TEST

START_TEST(other_workers_run_what_one_does_not) {
    listed_start();
    worker_start(&other, "--name free --slots 1 --allow-any");
    const char *job = ok("shoal submit -p i=1:10 -- out/fine");
    sh_exit(0, "shoal wait %s", job);
    expect_each_once(job);
    const json_t *rows = rows_of(job);
    for (size_t i = 0; i < json_array_size(rows); i++)
        ck_assert_str_eq(text_in(json_array_get(rows, i), "worker"), "free");
    worker_end(&worker);
    worker_end(&other);
}
END_TEST

/* Who waits is told what for. That a worker is dead is soon known, and then nobody waits
 * for the end of the other's bar, a minute. */
START_TEST(dead_worker_is_not_waited_for) {
    struct test_process run;
    listed_start();
    worker_start(&other, "--session-ttl 15s --name free --slots 1 --allow-any");
    worker_kill(&other);
    sh_start(&run, "shoal run -- out/bad");
    ck_assert_int_eq(test_process_wait(&run, LIMIT_MS), 1);
    ck_assert(has_said(
        &run, "waits for a worker that can start it and is free; 'listed' could not: "
              "this worker does not start 'out/bad'"));
    test_process_finish(&run);
    worker_end(&worker);
}
END_TEST

/* Two links take each other's place as fast as the kernel lets them. */
static pid_t swap_for_ever(const char *folder) {
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (;;) {
            if (renameat2(fd, "one", fd, "two", RENAME_EXCHANGE) != 0)
                _exit(1);
        }
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

/* In each start the link leads to one or the other; what was looked at is what runs. */
START_TEST(link_that_changes_behind_the_check_changes_nothing) {
    bool ran = false, was_refused = false;
    ok("mkdir swap; ln -s ../sim/good swap/one; ln -s ../out/bad swap/two");
    worker_start(&worker, "--name listed --slots 4 " LISTED);
    pid_t pid = swap_for_ever(ok("realpath swap"));
    for (int i = 0; i < 5 || ((!ran || !was_refused) && i < 100); i++) {
        sh("shoal run -p i=1:100 --name race -- swap/one");
        const char *rows = ok("shoal results race --format csv");
        ran = ran || strstr(rows, ",ok,") != NULL;
        was_refused = was_refused || strstr(rows, ",spawn,") != NULL;
        ck_assert_ptr_null(strstr(rows, "bad"));
        ck_assert_uint_eq(files("forbidden"), 0);
    }
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(ran && was_refused);
    ok("shoal run -- sim/good");
    worker_end(&worker);
}
END_TEST

/* Not where an empty folder of the worker's own search path would be. */
START_TEST(an_allowed_program_finds_nothing_where_a_job_runs) {
    ok("cp out/outside.py out/random.py; ln -s ../sim/model.py ../sim/helper.py out/; "
       "echo 'import random' >> sim/helper.py");
    sh_start(&worker, "env PYTHONPATH=: shoal-worker --session-ttl 4s " LISTED);
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    ok("shoal run --cwd \"$HOME/out\" -p x=1 --python model:f");
    ck_assert_uint_eq(files("out/forbidden"), 0);
    ck_assert(has_said(&worker, "without its empty and relative folders"));
    worker_end(&worker);
}
END_TEST

/* ---- whose Redis */

static const struct {
    const char *options, *said;
} senseless[] = {
    {"--redis redis://127.0.0.1:1", "127.0.0.1:1/0 is not a Redis of this user alone"},
    {"--redis redis://127.0.0.1:1 --trust-redis",
     "--allow '/opt/sim/*', or say --allow-any"},
    {"--redis unix:/tmp/no-such.sock", "is not a Redis of this user alone"},
    {"--allow sim", "'sim'"},
    {"--allow '/tmp/*'", "everybody can write to '/tmp'"},
    {"--allow /usr/bin/true --allow-any", "do not go together"},
    {"--no-network", "--no-network is a part of the sandbox"},
    {"--sandbox-write /tmp", "--sandbox-write is a part of the sandbox"},
    {"--sandbox --sandbox-write tmp", "'tmp'"},
    {"--sandbox --sandbox-write /no/such", "'/no/such'"},
    {"--pass-env A=1", "'A=1'"},
    {"--pass-env SHOAL_REDIS", "'SHOAL_REDIS'"},
};

START_TEST(worker_refuses_to_start_with_a_sentence) {
    struct said said = sh_exit(2, "shoal-worker %s", senseless[_i].options);
    ck_assert_msg(strstr(said.err, senseless[_i].said) != NULL, "%s", said.err);
}
END_TEST

START_TEST(a_strangers_redis_needs_a_word_of_what_may_run) {
    ok("chmod 0777 %s", daemons.server.socket);
    struct said said = sh_exit(2, "shoal-worker --trust-redis");
    ck_assert_ptr_nonnull(strstr(said.err, "whoever can write to it could run any "));
    worker_start(&worker, "--allow-any --trust-redis");
    ok("shoal run -- true");
    worker_end(&worker);
    ok("shoal keygen key > keys");
    said = sh_exit(2, "shoal-worker --trust-keys keys");
    ck_assert_ptr_nonnull(strstr(said.err, "who has a trusted key could run any "));
    ok("sed -i 's|$| programs=/usr/bin/true|' keys");
    worker_start(&worker, "--trust-keys keys"); /* the line says it */
    worker_end(&worker);
    sh_start(&worker, "env SHOAL_ALLOW=\"$HOME/sim/*\" shoal-worker --session-ttl 4s "
                      "--trust-redis");
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    ok("shoal run -- sim/good");
    sh_exit(1, "shoal run -- true");
    worker_end(&worker);
}
END_TEST

/* ---- what passes */

START_TEST(nothing_that_shoal_was_told_passes_to_tasks) {
    sh_start(&worker, "env SHOAL_LOG_LEVEL=debug SHOAL_CGROUP=auto SHOAL_SECRET=1 "
                      "TOKEN=1 MODEL_DATA=2 shoal-worker --session-ttl 4s "
                      "--pass-env 'MODEL_*'");
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    ok("printf 'import os\\ndef names():\\n    return \" \".join(os.environ)\\n' > e.py; "
       "shoal run --format csv -- sh -c 'env | cut -d= -f1' > names; "
       "shoal run --format csv --python e:names >> names");
    ck_assert_str_eq(ok("grep -ow 'SHOAL_[A-Z_]*' names | sort -u | xargs"),
                     "SHOAL_ATTEMPT SHOAL_JOB SHOAL_REP SHOAL_RESULT SHOAL_SEED "
                     "SHOAL_SLOT SHOAL_TASK SHOAL_TMP");
    ck_assert_str_eq(ok("grep -ow MODEL_DATA names | wc -l"), "2");
    sh_exit(1, "grep -qw TOKEN names");
    worker_end(&worker);
}
END_TEST

/* By TIOCSTI it would type into the shell that started the worker, be it root's. */
START_TEST(no_task_has_the_workers_terminal) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    sh_start(&worker,
             "setsid sh -c 'exec <%s; (: </dev/tty) && exec shoal-worker "
             "--session-ttl 4s'",
             ptsname(terminal));
    wait_until(has_said(&worker, "message=registered"), LIMIT_MS);
    ok("shoal run -- sh -c '! (: </dev/tty)'");
    worker_end(&worker);
}
END_TEST

/* What stands in files of input is data. */
START_TEST(values_are_words_and_no_shell_reads_them) {
    ok("printf '%%s\\n' '$(: > forbidden)' '; : > forbidden' '`: > forbidden`' "
       "'| tee forbidden' '{seed}' > rows");
    worker_start(&worker, "");
    ok("shoal run --from rows --name said -- printf %%s {}; "
       "shoal results said --format jsonl | jq -r .result > got; sort rows > a; "
       "sort got | cmp - a");
    ck_assert_uint_eq(files("forbidden"), 0);
    worker_end(&worker);
}
END_TEST

/* ---- the sandbox */

static bool has_sandbox(void) {
    struct said said = sh("shoal-worker --sandbox --no-network --check-upgrade");
    ck_assert(said.exit == 0 || (said.exit == 2 && strstr(said.err, "kernel") != NULL));
    return !is_missing(said.exit == 0, "Landlock and filters of system calls");
}

/* One that may change whose limits and priority it likes would end this test with them:
 * what is set is what is so already, or the worker's alone. */
#define OF_WORKER(call)                                                                  \
    "WORKER=$PPID python3 -c 'import ctypes as c, os, sys\n"                             \
    "worker = int(os.environ[\"WORKER\"])\n"                                             \
    "libc = c.CDLL(None, use_errno=True)\n" call "'"

/* Where `inside` is a directory that --sandbox-write names. */
static const struct {
    const char *script;
    enum { WORKS, HELD, HELD_SINCE_6_10, HELD_SINCE_6_12, HELD_BY_FILTER } deed;
} deeds[] = {
    {"echo x > $SHOAL_TMP/file && mkdir $SHOAL_TMP/a && mv $SHOAL_TMP/file $SHOAL_TMP/a",
     WORKS},
    {"echo a=1 > $SHOAL_RESULT", WORKS},
    {"echo x > /dev/null && echo y > /dev/stdout && echo z > /dev/stderr", WORKS},
    {"echo x > inside/file && rm inside/file", WORKS},
    {"mkfifo $SHOAL_TMP/fifo", WORKS},
    {"cat kept && ls / && sh -c true", WORKS},
    {"sleep 1000 & kill $! && ! wait $!", WORKS},
    {"echo x > outside", HELD},
    {"echo x >> kept", HELD},
    {": > kept", HELD},
    {"truncate -s 0 kept", HELD},
    {"rm kept", HELD},
    {"mkdir outside", HELD},
    {"mkfifo outside", HELD},
    {"ln -s kept outside", HELD},
    {"mv kept outside", HELD},
    {"mv kept $SHOAL_TMP", HELD},
    {"mv kept inside", HELD},
    {"ln kept $SHOAL_TMP/outside && echo x > $SHOAL_TMP/outside", HELD},
    {"echo x > $SHOAL_TMP/x && mv $SHOAL_TMP/x outside", HELD},
    {"echo x > $SHOAL_TMP/x && ln $SHOAL_TMP/x outside", HELD},
    {"ln -s $PWD/kept $SHOAL_TMP/way && echo x >> $SHOAL_TMP/way", HELD},
    {"echo x > $SHOAL_TMP/../../outside", HELD},
    {"echo x > /proc/self/cwd/outside", HELD},
    {"mknod $SHOAL_TMP/null c 1 3", HELD},
    {"kill -0 $PPID", HELD_SINCE_6_12},
    {"python3 -c 'import fcntl; "
     "fcntl.ioctl(open(\"/dev/urandom\"), 0x80045200, bytes(4))'",
     HELD_SINCE_6_10},
    {"tr '\\0' ' ' < /proc/$PPID/environ | grep .", HELD},
    {"unshare -Urm sh -c 'mount -t tmpfs x /mnt'", HELD},
    {"(setsid sh -c 'echo x > outside'; test -e outside)", HELD},
    {"echo 0 > /proc/$PPID/oom_score_adj", HELD},
    {"cat /proc/$PPID/maps | grep .", HELD},
    {OF_WORKER("if libc.ptrace(0x4206, worker, None, None): sys.exit(1)"), HELD},
    {OF_WORKER("vec = (c.c_size_t * 2)(4096, 1)\n"
               "libc.process_vm_writev(worker, vec, 1, vec, 1, 0)\n"
               "sys.exit(c.get_errno() == 1)"),
     HELD},
    {OF_WORKER("sys.exit(libc.syscall(438, os.pidfd_open(worker), 2, 0) < 0)"), HELD},
    {OF_WORKER("import signal\n"
               "signal.pidfd_send_signal(os.pidfd_open(worker), 0)"),
     HELD_SINCE_6_12},
    {OF_WORKER("os.killpg(os.getpgid(worker), 0)"), HELD_SINCE_6_12},
    {"ulimit -n 100 && nice -n 5 ionice -c 3 chrt -b 0 true", WORKS},
    {OF_WORKER("import threading\n"
               "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
               "os.sched_setaffinity(threading.get_native_id(), {0})"),
     WORKS}, /* as OpenMP does, which ends when it cannot */
    {OF_WORKER("import threading\n"
               "os.sched_setscheduler(threading.get_native_id(), os.SCHED_OTHER, "
               "os.sched_param(0))"),
     WORKS}, /* as pthread_create() does with attributes of its own */
    {"prlimit --pid $PPID --nofile=100", HELD_BY_FILTER},
    {"renice -n 1 -p $PPID", HELD_BY_FILTER},
    {OF_WORKER("os.setpriority(os.PRIO_PGRP, os.getpgid(worker), 1)"), HELD_BY_FILTER},
    {OF_WORKER("os.setpgid(0, os.getpgid(worker))\n"
               "os.setpriority(os.PRIO_PGRP, 0, 1)"),
     HELD_BY_FILTER},
    {OF_WORKER("os.setpriority(os.PRIO_USER, 0, 0)"), HELD_BY_FILTER},
    {"ionice -c 2 -n 7 -p $PPID", HELD_BY_FILTER},
    {OF_WORKER("libc.syscall({\"x86_64\": 251}.get(os.uname().machine, 30), 2, "
               "os.getpgid(worker), 3 << 13)\n"
               "sys.exit(c.get_errno() == 1)"),
     HELD_BY_FILTER}, /* ioprio_set() of a process group */
    {OF_WORKER("os.sched_setscheduler(worker, os.SCHED_BATCH, os.sched_param(0))"),
     HELD_BY_FILTER},
    {OF_WORKER("os.sched_setparam(worker, os.sched_param(0))"), HELD_BY_FILTER},
    {OF_WORKER("attr = (c.c_uint64 * 6)(48)\n"
               "sys.exit(libc.syscall({\"x86_64\": 314}.get(os.uname().machine, 274), "
               "worker, attr, 0) < 0)"),
     HELD_BY_FILTER}, /* sched_setattr() */
    {OF_WORKER("may = os.sched_getaffinity(worker)\n"
               "os.sched_setaffinity(worker, {min(may)})\n"
               "sys.exit(len(may) == 1 or os.sched_getaffinity(worker) == may)"),
     HELD_BY_FILTER},
    {OF_WORKER("import mmap\n"
               "code = mmap.mmap(-1, 4096, prot=7)\n"
               "code.write(bytes.fromhex(\"b814000000cd80c3\"))\n"
               "c.CFUNCTYPE(c.c_int)(c.addressof(c.c_char.from_buffer(code)))()"),
     HELD_BY_FILTER}, /* int 0x80, where calls have the numbers of 32 bits */
};

/* What the worker says of a host that does not hold it. */
static const char *const of_older[] = {
    [HELD_SINCE_6_10] = "one since 6.10 does",
    [HELD_SINCE_6_12] = "one since 6.12 does",
    [HELD_BY_FILTER] = "does not hold whose limits and priority tasks change",
};

static bool is_held_later(size_t i) {
    return deeds[i].deed > HELD && has_said(&worker, of_older[deeds[i].deed]);
}

START_TEST(sandbox_holds) {
    if (!has_sandbox())
        return;
    ok("echo kept > kept; mkdir inside");
    worker_start(&worker, "--sandbox --sandbox-write \"$HOME/inside\"");
    for (size_t i = 0; i < SHOAL_COUNT(deeds); i++) {
        if (is_held_later(i))
            continue;
        ok("cat > script << 'END'\n%s\nEND", deeds[i].script);
        struct said said = sh("shoal run -- sh script");
        ck_assert_msg(said.exit == (deeds[i].deed == WORKS ? 0 : 1), "%s: %d %s%s",
                      deeds[i].script, said.exit, said.out, said.err);
        ck_assert_str_eq(text_of("kept"), "kept");
        ck_assert_uint_eq(files("outside"), 0);
    }
    worker_end(&worker);
}
END_TEST

/* What a task left, whether it was denied what it wanted, or says so. */
static const struct {
    const char *options, *command;
    bool is_named;
} denials[] = {
    {"--sandbox", "-- sh -c ': > outside'", true},
    {"--sandbox", "-- python3 -c 'open(\"outside\", \"w\")'", true},
    {"--sandbox", "--python f:f -p path=outside", true},
    {"--sandbox", "-- sh -c 'seq 9999 >&2; : > outside'", true},
    {"--sandbox", "-- sh -c 'echo no luck >&2; exit 1'", false},
    {"--sandbox", "-- false", false},
    {"", "-- sh -c 'echo Permission denied >&2; exit 1'", false},
};

START_TEST(sandbox_is_named_to_who_was_denied_something) {
    static const char named[] = "that may be the worker's sandbox, in which tasks write";
    if (!has_sandbox())
        return;
    ok("printf 'def f(path):\n    open(path, \"w\")\n' > f.py");
    worker_start(&worker, denials[_i].options);
    sh_exit(1, "shoal run %s", denials[_i].command);
    const char *shown = ok("shoal show - 0");
    ck_assert_msg((strstr(shown, named) != NULL) == denials[_i].is_named, "%s", shown);
    ck_assert_msg(!denials[_i].is_named || strstr(shown, "Permission denied") != NULL,
                  "%s", shown);
    ck_assert_uint_eq(files("outside"), 0);
    worker_end(&worker);
}
END_TEST

START_TEST(sandbox_has_the_tasks_checkpoint) {
    if (!has_sandbox())
        return;
    worker_start(&worker, "--sandbox --checkpoints \"$HOME/points\"");
    ok("shoal run --checkpoint -- sh -c 'echo x > $SHOAL_CHECKPOINT/x'");
    sh_exit(1, "shoal run --checkpoint -- "
               "sh -c 'mkdir $SHOAL_CHECKPOINT/../sibling 2>/dev/null'");
    sh_exit(2, "shoal run --env SHOAL_CHECKPOINT=\"$HOME\" -- "
               "sh -c 'echo x > $SHOAL_CHECKPOINT/outside'");
    ok("printf 'import os, shoal\\ndef f(path):\\n"
       "    open(os.path.join(shoal.checkpoint(), \"x\"), \"w\")\\n"
       "    open(os.path.join(os.environ[\"SHOAL_TMP\"], \"x\"), \"w\")\\n"
       "    open(path, \"w\")\\n' > f.py");
    ok("shoal run --checkpoint --python f:f -p path=/dev/null");
    sh_exit(1, "shoal run --checkpoint --python f:f -p path=\"$HOME/outside\"");
    ck_assert_uint_eq(files("outside"), 0);
    worker_end(&worker);
}
END_TEST

/* On a scratch that all write to another user makes what a worker would, before it does,
 * and leads root's worker (0), or one without --user (1), to what is none of theirs. */
START_TEST(sandbox_is_not_led_out_by_who_shares_the_place) {
    static const struct {
        const char *options, *intruder, *says;
    } ways[] = {
        {"--user nobody", "setpriv --reuid=1 --regid=1 --clear-groups",
         "points/shoal': it is another user's"},
        {"", "", "': it is a link"},
    };
    if (!has_sandbox() || (_i == 0 && is_missing(geteuid() == 0, "other users")))
        return;
    ok("chmod 0711 . tmp; mkdir -m 0700 victim victim/0; mkdir -m 1777 points; "
       "echo kept > victim/0/file");
    char options[200];
    snprintf(options, sizeof(options), "--sandbox --checkpoints \"$HOME/points\" %s",
             ways[_i].options);
    worker_start(&worker, options);
    ok("shoal run --cwd / --checkpoint -- true; shoal pause default");
    const char *job = ok("shoal submit --cwd / --checkpoint -- sh -c "
                         "'cd $SHOAL_CHECKPOINT && echo lost > file; true'");
    ok("store=$(ls points/shoal); cd points; rm -r shoal; "
       "%s sh -c \"mkdir shoal shoal/$store; chmod 0711 shoal shoal/$store; "
       "ln -s '$PWD/../victim' shoal/$store/%s\"; shoal resume default",
       ways[_i].intruder, job);
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "spawn");
    const char *shown = ok("shoal show %s 0", job);
    ck_assert_msg(strstr(shown, ways[_i].says) != NULL, "%s", shown);
    ck_assert_str_eq(text_of("victim/0/file"), "kept");
    ck_assert_str_eq(ok("stat -c %%a:%%u victim victim/0 | uniq"),
                     ok("echo 700:$(id -u)"));
    worker_end(&worker);
}
END_TEST

START_TEST(sandbox_of_another_user_is_his) {
    if (is_missing(geteuid() == 0, "other users") || !has_sandbox())
        return;
    ok("mkdir points inside; chmod 0711 . tmp points; chmod 0777 inside");
    worker_start(&worker, "--user nobody --sandbox --no-network "
                          "--sandbox-write \"$HOME/inside\" "
                          "--checkpoints \"$HOME/points\"");
    ok("shoal run --cwd / --checkpoint -- sh -c 'test $(id -un) = nobody && "
       "echo x > $SHOAL_TMP/x && echo x > $SHOAL_CHECKPOINT/x && "
       "echo x > %s/inside/x'",
       daemons.home.path);
    sh_exit(1, "shoal run --cwd / -- sh -c 'echo x > /tmp/shoal-outside'");
    pid_t pid = worker_pid(&worker);
    const char *job = ok("shoal submit --cwd / --name last -- sleep 1000");
    wait_until(job_now("last").leased == 1, LIMIT_MS);
    kill(pid, SIGKILL); /* who is in a sandbox hears of it as well */
    char mark[64];
    snprintf(mark, sizeof(mark), "SHOAL_JOB=%s", job);
    test_process_signal(&worker, SIGTERM);
    test_process_wait(&worker, LIMIT_MS);
    test_process_finish(&worker);
    test_none_left(mark, LIMIT_MS);
    ok("shoal cancel --kill last");
}
END_TEST

/* The signals of the end are the worker's to send. */
START_TEST(task_in_a_sandbox_is_ended_as_any_other) {
    if (!has_sandbox())
        return;
    worker_start(&worker, "--sandbox --no-network --slots 1");
    const char *job = ok("shoal submit --timeout 500ms --grace 100ms -- sh -c "
                         "'trap \"\" TERM; setsid sleep 1000 & sleep 1000; sleep 1000'");
    sh_exit(1, "shoal wait %s", job);
    ck_assert_str_eq(text_in(row_of(job, 0), "reason"), "timeout");
    char mark[64];
    snprintf(mark, sizeof(mark), "SHOAL_JOB=%s", job);
    test_none_left(mark, LIMIT_MS);
    worker_end(&worker);
}
END_TEST

/* Each tries to reach what listens: by TCP, by an abstract name, by the path of Redis, by
 * datagrams. */
static const char *const reaches[] = {
    "s.socket().connect((\"127.0.0.1\", %d))",
    "s.socket(s.AF_UNIX).connect(\"\\0shoal-test-%d\")",
    "s.socket(s.AF_UNIX).connect(os.environ[\"REDIS\"])  # %d",
    "s.socket(type=s.SOCK_DGRAM).sendto(b\"x\", (\"127.0.0.1\", %d))",
    "s.socketpair(type=s.SOCK_DGRAM)[0].sendto(b\"x\", \"\\0shoal-test-%d-datagram\")",
    "s.socketpair(type=s.SOCK_DGRAM)[0].connect(\"datagram\")  # %d",
    "s.socketpair(type=s.SOCK_RAW)[0].connect(\"datagram\")  # %d", /* is the same */
};

static void write_reach(const char *format, int port) {
    char line[128];
    snprintf(line, sizeof(line), format, port);
    ok("cat > reach.py << 'END'\nimport os, socket as s\n%s\nEND", line);
}

START_TEST(sandbox_without_network_reaches_nobody) {
    if (!has_sandbox())
        return;
    struct test_process listener;
    sh_start(
        &listener,
        "python3 -c 'import socket as s, time\n"
        "a = s.create_server((\"127.0.0.1\", 0))\nport = a.getsockname()[1]\n"
        "b = s.socket(s.AF_UNIX)\nb.bind(\"\\0shoal-test-%%d\" %% port)\nb.listen()\n"
        "c = s.socket(s.AF_UNIX, s.SOCK_DGRAM)\n"
        "c.bind(\"\\0shoal-test-%%d-datagram\" %% port)\n"
        "d = s.socket(s.AF_UNIX, s.SOCK_DGRAM)\nd.bind(\"datagram\")\n"
        "open(\"port\", \"w\").write(\"%%d\\n\" %% port)\ntime.sleep(1000)'");
    wait_until(number_of("port") > 0, LIMIT_MS);
    int port = (int)number_of("port");
    worker_start(&worker, "--name with --sandbox");
    for (size_t i = 0; i < SHOAL_COUNT(reaches); i++) {
        write_reach(reaches[i], port);
        ok("shoal run --env REDIS=%s -- python3 reach.py", daemons.server.socket);
    }
    worker_end(&worker);
    worker_start(&worker, "--name without --sandbox --no-network");
    for (size_t i = 0; i < SHOAL_COUNT(reaches); i++) {
        write_reach(reaches[i], port);
        sh_exit(1, "shoal run --env REDIS=%s --name cut%zu -- python3 reach.py",
                daemons.server.socket, i);
        ck_assert_ptr_nonnull(strstr(ok("shoal show cut%zu 0", i), "PermissionError"));
    }
    ok("shoal run -- python3 -c 'import socket as s; s.socketpair(); "
       "s.socketpair(type=s.SOCK_SEQPACKET)'");
    worker_end(&worker);
    test_process_finish(&listener);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("allowed");
    TCase *tests = tcase_create("allowed");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, what_is_listed_runs, 0, (int)SHOAL_COUNT(allowed));
    tcase_add_loop_test(tests, what_is_not_listed_is_refused, 0,
                        (int)SHOAL_COUNT(refused));
    tcase_add_test(tests, pattern_of_nothing_is_warned_of);
    tcase_add_test(tests, pattern_that_is_not_what_is_there_is_warned_of);
    tcase_add_test(tests, other_workers_run_what_one_does_not);
    tcase_add_test(tests, dead_worker_is_not_waited_for);
    tcase_add_test(tests, link_that_changes_behind_the_check_changes_nothing);
    tcase_add_test(tests, an_allowed_program_finds_nothing_where_a_job_runs);
    tcase_add_loop_test(tests, worker_refuses_to_start_with_a_sentence, 0,
                        (int)SHOAL_COUNT(senseless));
    tcase_add_test(tests, a_strangers_redis_needs_a_word_of_what_may_run);
    tcase_add_test(tests, nothing_that_shoal_was_told_passes_to_tasks);
    tcase_add_test(tests, no_task_has_the_workers_terminal);
    tcase_add_test(tests, values_are_words_and_no_shell_reads_them);
    suite_add_tcase(suite, tests);
    tests = tcase_create("sandbox");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, sandbox_holds);
    tcase_add_loop_test(tests, sandbox_is_named_to_who_was_denied_something, 0,
                        SHOAL_COUNT(denials));
    tcase_add_test(tests, sandbox_has_the_tasks_checkpoint);
    tcase_add_loop_test(tests, sandbox_is_not_led_out_by_who_shares_the_place, 0, 2);
    tcase_add_test(tests, sandbox_of_another_user_is_his);
    tcase_add_test(tests, task_in_a_sandbox_is_ended_as_any_other);
    tcase_add_test(tests, sandbox_without_network_reaches_nobody);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
