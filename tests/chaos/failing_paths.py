"""What programs are mostly used for, each a path on which every call may fail, and what must hold whatever fails."""
import collections
import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time

from failing_stage import (LIMIT, PATIENCE, STUCK, Fault, ListeningCluster, OwnRedis, TlsRedis, at, kill_both, leaked,
                           left_behind, processes_of, said, variables_of, wait_until)


class Path:
    """What a program is used for. `prepare` is run once for each stage, `attempt` with each fault."""

    program = "shoal"
    shares = False  # whether attempts at once may be on one stage
    exits = (0, 1, 2, 3, 4)
    few = {"alloc": 4, "call": 2, "eintr": 1, "short": 1}
    left_open = 0  # descriptors that it does not close when it ends well; None: any

    def __init__(self, name):
        self.name = name

    def prepare(self, stage):
        """Makes what all attempts share."""

    def exit_of(self, stage):
        """The exit status without a fault."""
        return 0

    def attempt(self, stage, fault):
        """Returns the run, and complaints."""
        with stage.home() as home:
            run = self.play(stage, home, fault)
            complaints = said(run, self.exits, self.exit_of(stage)) + self.check(stage, home, run)
            complaints += leaked(run, home, None if fault.from_there_on else self.left_open)
            complaints += left_behind(home)
            if fault.from_there_on:  # it may be unable to remove a file, and to write that it is
                complaints = [text for text in complaints if not text.startswith("files left") and
                              not (fault.what == "call" and "not say why" in text)]
            if run.report.fired and run.report.function in ("unlink", "rmdir"):  # the next worker there removes it
                complaints = [text for text in complaints if not text.startswith("files left")]
            if "[err]" in run.err:  # libevent ends a program whose own socket pair fails; the next worker cleans up
                complaints = [text for text in complaints if not text.startswith("files left")]
            return run, complaints


def levelled(text):
    """Without numbers and the width of columns, which differ from run to run."""
    return re.sub(r"[ -]+", " ", re.sub(r"\d+", "0", text))


class Look(Path):
    """A command that changes nothing: it prints what it prints without the fault, or fails."""

    shares = True

    def __init__(self, name, *words, program="shoal"):
        super().__init__(name)
        self.words, self.program = words, program
        self.expected = {}

    def prepare(self, stage):
        stage.start_worker()
        stage.job = stage.shoal("submit", "--name", "looked-at", "--seed", 1, "-p", "i=1:3", "--", "sh", "-c",
                                "echo i={i}; test {i} -ne 2 || { echo two >&2; exit 3; }")
        stage.shoal("wait", stage.job, accept=(1,))
        if not self.name.startswith("workers"):
            stage.end_workers()
        with stage.home() as home:
            self.expected[stage] = self.play(stage, home, Fault("alloc", 0))

    def exit_of(self, stage):
        return self.expected[stage].exit

    def play(self, stage, home, fault):
        words = [word.format(job=stage.job, plugin=stage.build / "tests/support/tasks.so") for word in self.words]
        return stage.run(home, fault, self.program, *words)

    def check(self, stage, home, run):
        expected = self.expected[stage]
        same = levelled(run.out) == levelled(expected.out)
        if run.exit == expected.exit and not same and not run.err.strip():
            return [f"ends with {run.exit} as if all were well, and prints {run.out[-300:]!r}"]
        if run.exit == 0 and not same:
            return [f"succeeds and prints {run.out[-300:]!r}"]
        return []


class Submit(Path):
    """The job is there once, or not at all."""

    words = ("submit", "-p", "i=1:3", "--", "echo", "i={i}")

    def play(self, stage, home, fault):
        return stage.run(home, fault, "shoal", *self.words)

    def check(self, stage, home, run):
        jobs = stage.jobs()
        for job in jobs:
            stage.shoal("cancel", job["id"])
            stage.shoal("forget", job["id"])
        complaints = stage.audit()
        if run.exit == 0 and (len(jobs) != 1 or jobs[0]["id"] not in run.out or jobs[0]["total"] != 3):
            complaints.append(f"succeeds, but there are {jobs}, and it prints {run.out!r}")
        if len(jobs) > 1:
            complaints.append(f"one became {len(jobs)}")
        return complaints


class SubmitLines(Submit):
    """Tasks with a line of a file each, which are appended."""

    words = ("submit", "--from", "lines", "--", "echo", "i={}")

    def play(self, stage, home, fault):
        (home / "lines").write_text("a\nb\nc\n")
        return super().play(stage, home, fault)


class Change(Path):
    """A command that changes a job's state, or leaves it."""

    def __init__(self, name, before, after, words):
        super().__init__(name)
        self.before, self.after, self.words = before, after, words

    def play(self, stage, home, fault):
        stage.job = stage.shoal("submit", "-p", "i=1:3", "--", "echo", "i={i}")
        for words in self.before:
            stage.shoal(*[word.format(job=stage.job) for word in words])
        stage.state = self.state(stage)
        return stage.run(home, fault, "shoal", *[word.format(job=stage.job) for word in self.words])

    @staticmethod
    def state(stage):
        return next((job["state"] for job in stage.jobs() if job["id"] == stage.job), "forgotten")

    def check(self, stage, home, run):
        state = self.state(stage)
        complaints = stage.audit()
        if run.exit == 0 and state != self.after or state not in (stage.state, self.after):
            complaints.append(f"ends with {run.exit}, and the job is {state}")
        if state != "forgotten":
            stage.shoal("cancel", stage.job, accept=None)
            stage.shoal("forget", stage.job)
        return complaints


def rows_of(stage, job):
    return [json.loads(line) for line in stage.shoal("results", job, "--format", "jsonl").splitlines()]


def each_once(stage, job, all_ok=True):
    rows = rows_of(stage, job["id"])
    tasks = sorted(row["task"] for row in rows)
    bad = [row for row in rows if row["status"] != "ok"]
    complaints = []
    if tasks != list(range(job["total"])):
        complaints.append(f"tasks with a row: {tasks}")
    if bad and all_ok:
        complaints.append(f"not ok: {bad}")
    return complaints


def settle(stage, all_ok=True):
    """All jobs end, and each of their tasks has one outcome; then they are forgotten."""
    complaints = []
    for job in stage.jobs():
        try:
            stage.shoal("wait", job["id"], accept=None, limit=STUCK)
        except subprocess.TimeoutExpired:
            complaints.append(f"stands still: {stage.jobs()}")
            stage.shoal("cancel", job["id"], accept=None)
            continue
        now = next(one for one in stage.jobs() if one["id"] == job["id"])
        if now["state"] != "cancelled":
            complaints += each_once(stage, now, all_ok)
        stage.shoal("forget", job["id"], accept=None)
    return complaints + stage.audit()


class Execute(Path):
    """shoal run, with a worker that is well."""

    def __init__(self, name, *words):
        super().__init__(name)
        self.words = words

    def prepare(self, stage):
        stage.start_worker()

    def play(self, stage, home, fault):
        (home / "lines").write_text("a\nb\nc\n")
        words = [word.format(plugin=stage.build / "tests/support/tasks.so") for word in self.words]
        # Where all fails it waits for a better time, without end.
        run = stage.run(home, fault, "shoal", "run", "--format", "csv", *words, patient=fault.from_there_on,
                        stdin=home / "lines")
        run.from_there_on = fault.from_there_on
        return run

    def check(self, stage, home, run):
        """Rows that did not all come are cancelled by themselves in an hour; a job that is open is left so by whoever
        can do nothing any more, as by who is killed."""
        for job in stage.jobs():
            is_open = job["state"] == "active" and not (job["queued"] or job["delayed"] or job["leased"])
            if job["state"] == "waiting" or is_open and run.from_there_on and run.exit != 0:
                stage.shoal("cancel", job["id"])
        complaints = settle(stage)
        rows = sorted(line.split(",")[0] for line in run.out.splitlines()[1:])
        if run.exit == 0 and rows != ["0", "1", "2"]:
            complaints.append(f"succeeds and prints {run.out!r}")
        return complaints


class Worker(Path):
    """Its job is done, by it or by who comes behind it."""

    program = "shoal-worker"
    exits = (0, 1, 2, 3)
    few = {"alloc": 4, "call": 4, "eintr": 1, "short": 1}
    all_ok = True  # the tasks, without the fault
    left_open = 1  # by which its keeper hears that it has ended

    def __init__(self, name, *words, meant="shoal-worker/1"):
        super().__init__(name)
        self.words, self.meant = words, meant

    def play(self, stage, home, fault):
        words = [word.format(plugin=stage.build / "tests/support/tasks.so") for word in self.words]
        env = {**stage.clean, "PYTHONPATH": str(stage.build / "python")}
        stage.job = stage.shoal("submit", *words, env=env)
        process = stage.start_shoal_worker(home, fault, "--slots", "2", "--log-level", "debug", meant=self.meant)
        self.meanwhile(stage, home, process)
        self.watch(stage, process, fault)
        run = stage.end(home, process)
        # One that can do nothing any more is ended by the second signal as by the first.
        if "the worker was killed" in run.err and not (fault.from_there_on and "signal=15" in run.err):
            run.exit = -1
        return run

    def meanwhile(self, stage, home, process):
        """What happens while it runs."""

    def watch(self, stage, process, fault):
        """Until the job has ended or the worker, then tells it to end."""
        waiter = subprocess.Popen(["shoal", "wait", stage.job], env=stage.clean, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + (3 if fault.from_there_on else STUCK)
        while waiter.poll() is None and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        stage.stuck = waiter.poll() is None and process.poll() is None and not fault.from_there_on
        stage.by_itself = process.poll() is not None
        waiter.kill()
        waiter.wait()
        stage.killed = not self.tell(process, fault)

    @staticmethod
    def tell(process, fault):
        """To end, twice. Whether it does; one for which everything fails may not hear it, and is killed."""
        for span in (2 if fault.from_there_on else LIMIT, 2):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(span)
                return True
        kill_both(process)
        process.returncode = 1
        return False

    @staticmethod
    def may_be_killed(run):
        """Where more than one call failed."""
        return run.report.fired > 1

    def check(self, stage, home, run):
        complaints = ["stands still"] if stage.stuck else []
        if stage.by_itself and run.exit == 0:
            complaints.append("ends by itself as if all were well")
        if stage.killed and not self.may_be_killed(run):
            complaints.append("does not end when it is told to")
        said_why = any(sign in run.err for sign in ("level=error", "shoal-worker: ", "[err]"))
        if not stage.killed and run.exit not in (0, -1) and not said_why:
            complaints.append(f"does not say why it ended: {run.err[-300:]}")
        if any(job["state"] not in ("succeeded", "failed", "cancelled") for job in stage.jobs()):
            stage.start_worker()
        complaints += settle(stage, self.all_ok)
        stage.end_workers()
        return complaints


class CancelledWork(Worker):
    """It is cancelled while it runs, and ends at once."""

    all_ok = False

    def __init__(self, name):
        super().__init__(name, "-p", "i=1:3", "--", "sh", "-c", ": > $HOME/began.{{i}}; sleep 60")

    def meanwhile(self, stage, home, process):
        wait_until(lambda: list(home.glob("began.*")) or process.poll() is not None, PATIENCE)
        stage.shoal("cancel", stage.job)


class Keeper(Worker):
    left_open = 0

    def __init__(self, name, *words):
        super().__init__(name, *words, meant="shoal-worker")


class Runner(Worker):
    """The fault is in shoal-host, which a worker starts."""

    program = "shoal-host"
    left_open = None

    def play(self, stage, home, fault):
        variables = variables_of(stage.build, home, fault, "shoal-host")
        options = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        words = [word.format(plugin=stage.build / "tests/support/tasks.so") for word in self.words]
        stage.job = stage.shoal("submit", *options, "--retries", 3, *words)
        process = stage.start_shoal_worker(home, None, "--slots", "2")
        self.watch(stage, process, fault)
        run = stage.end(home, process)
        if "signal=" in run.err and "SIGSEGV" in run.err:
            run.exit = -11
        return run

    def check(self, stage, home, run):
        shown = [row for row in rows_of(stage, stage.job) if row.get("reason") == "signal"]
        complaints = [f"crashes: {shown}"] if shown else []
        stage.start_worker()
        complaints += settle(stage, all_ok=False)
        stage.end_workers()
        return complaints


class Outage(Worker):
    """Redis goes while the tasks run, and comes back when their outcomes are in a file, or could not be."""

    few = {"alloc": 2, "call": 2, "eintr": 1, "short": 1}

    def __init__(self, name):
        super().__init__(name)

    def prepare(self, stage):
        stage.redis = OwnRedis(stage.folder / "redis")
        stage.clean["SHOAL_REDIS"] = f"unix:{stage.redis.socket}"

    def begin(self, stage, home, fault):
        """A worker whose three tasks wait for a file."""
        task = f"cd {home}; : > began.{{i}}.$$; until test -e gate; do sleep 0.02; done; echo i={{i}}"
        stage.job = stage.shoal("submit", "-p", "i=1:3", "--", "sh", "-c", task)
        process = stage.start_shoal_worker(home, fault, "--slots", "3", "--name", "w", "--log-level", "debug",
                                           meant=self.meant)
        wait_until(lambda: len(list(home.glob("began.*"))) == 3 or process.poll() is not None, 3)
        return process

    @staticmethod
    def spools(home):
        return list((home / "state" / "spool").glob("*.spool"))

    def wait_for_spool(self, home, process):
        # It is whole when it is there: what waits is written in one piece.
        wait_until(lambda: any(path.stat().st_size > 500 for path in self.spools(home)) or process.poll() is not None,
                   PATIENCE)

    def play(self, stage, home, fault):
        process = self.begin(stage, home, fault)
        stage.redis.kill()
        (home / "gate").touch()
        self.wait_for_spool(home, process)
        stage.redis.start()
        return self.finish(stage, home, process, fault)

    def finish(self, stage, home, process, fault):
        self.watch(stage, process, fault)
        run = stage.end(home, process)
        if "the worker was killed" in run.err and not (fault.from_there_on and "signal=15" in run.err):
            run.exit = -1
        return run

    def check(self, stage, home, run):
        complaints = super().check(stage, home, run)
        bad = [path.name for path in (home / "state").rglob("*.bad")]
        return complaints + [f"good outcomes are set aside: {bad}"] * bool(bad)


class Spool(Outage):
    """A worker starts over the file of one that was killed, and its outcomes count."""

    def prepare(self, stage):
        super().prepare(stage)
        stage.left = stage.folder / "left"
        (stage.left / "tmp").mkdir(parents=True)
        process = self.begin(stage, stage.left, None)
        stage.redis.kill()
        (stage.left / "gate").touch()
        self.wait_for_spool(stage.left, process)
        kill_both(process)
        shutil.copytree(stage.redis.folder / "appendonlydir", stage.folder / "redis.left")

    def play(self, stage, home, fault):
        stage.redis.kill()
        shutil.rmtree(stage.redis.folder / "appendonlydir")
        shutil.copytree(stage.folder / "redis.left", stage.redis.folder / "appendonlydir")
        shutil.copytree(stage.left / "state", home / "state")
        stage.redis.start()
        process = stage.start_shoal_worker(home, fault, "--slots", "3", "--name", "w", "--log-level", "debug",
                                           meant=self.meant)
        return self.finish(stage, home, process, fault)


class Upgrade(Outage):
    """The program that is there takes the worker's place while its tasks run."""

    def prepare(self, stage):
        """With all others."""

    def __init__(self, name, *, side):
        super().__init__(name)
        self.side = side
        self.meant = {"worker": "shoal-worker/1", "keeper": "shoal-worker", "heir": "shoal-worker"}[side]
        self.left_open = 0 if side == "keeper" else 1

    def play(self, stage, home, fault):
        (home / "bin").mkdir()
        program = home / "bin" / "shoal-worker"
        program.symlink_to(stage.build / "shoal-worker")
        clean = stage.clean
        stage.clean = {**clean, "PATH": f"{home}/bin:{clean['PATH']}"}
        try:
            process = self.begin(stage, home, None if self.side == "heir" else fault)
        finally:
            stage.clean = clean
        if self.side == "heir":
            self.replace(stage, home, fault, program)
        if process.poll() is None:
            process.send_signal(signal.SIGUSR2)
            over = re.compile("message=(upgraded|.*not upgraded)|worker was killed|before that took over")
            wait_until(lambda: over.search((home / "err").read_text(errors="replace")) or process.poll() is not None,
                       PATIENCE)
        (home / "gate").touch()
        self.watch(stage, process, fault)
        run = stage.end(home, process)
        if re.search("the worker (was killed|ended as).* signal=", run.err) and not fault.from_there_on:
            run.exit = -1
        return run

    @staticmethod
    def replace(stage, home, fault, program):
        """By one that fails where it takes the worker's place."""
        variables = variables_of(stage.build, home, fault, "shoal-worker")
        program.unlink()
        program.write_text(f"""#!/bin/bash
case $SHOAL_HANDOVER in
worker:*)
    export {" ".join(f"{name}={value}" for name, value in variables.items())} ;;
esac
exec {stage.build}/shoal-worker "$@"
""")
        program.chmod(0o755)


class ByTls:
    """The same over TLS, to a Redis whose jobs are trusted in so many words."""

    def prepare(self, stage):
        stage.redis = TlsRedis(stage.folder / "redis")
        stage.clean |= {"SHOAL_REDIS": f"rediss://127.0.0.1:{stage.redis.port}",
                        "SHOAL_TLS_CA": str(stage.redis.certificate)}
        stage.trust = ("--allow-any", "--trust-redis")
        super().prepare(stage)


class Signed:
    """The same with a key that signs, and workers that run what it has signed alone."""

    def prepare(self, stage):
        key, trusted = stage.folder / "key", stage.folder / "trusted"
        trusted.write_text(stage.shoal("keygen", key) + "\n")
        stage.clean["SHOAL_SIGN_KEY"] = str(key)
        stage.trust = ("--allow-any", "--trust-keys", trusted)
        super().prepare(stage)


class SubmitByTls(ByTls, Submit):
    pass


class WorkerByTls(ByTls, Worker):
    pass


class SubmitLinesSigned(Signed, SubmitLines):
    pass


class WorkerSigned(Signed, Worker):
    def prepare(self, stage):
        (stage.folder / "lines").write_text("a\nb\nc\n")
        super().prepare(stage)


class Keygen(Path):
    """There is a key that signs, or none."""

    def play(self, stage, home, fault):
        return stage.run(home, fault, "shoal", "keygen", "key")

    def check(self, stage, home, run):
        if not (home / "key").exists():
            return ["succeeds without a key"] if run.exit == 0 else []
        job = stage.shoal("submit", "--sign-key", home / "key", "--", "true")
        stage.shoal("cancel", job)
        stage.shoal("forget", job)
        return []


class Queue(Path):
    """A queue is paused, or it goes on."""

    def __init__(self, name, *, paused):
        super().__init__(name)
        self.paused = paused

    def play(self, stage, home, fault):
        stage.shoal("resume" if self.paused else "pause", "default")
        return stage.run(home, fault, "shoal", "pause" if self.paused else "resume", "default")

    def check(self, stage, home, run):
        state = json.loads(stage.shoal("queues", "--json"))["state"]
        return ["succeeds without effect"] if run.exit == 0 and (state == "paused") != self.paused else []


class Drain(Path):
    """A worker whose task runs is told to end, and does; or it goes on."""

    def play(self, stage, home, fault):
        task = f": > {home}/began.$$; sleep 0.3; echo i={{i}}"
        stage.job = stage.shoal("submit", "-p", "i=1:3", "--", "sh", "-c", task)
        process = stage.start_worker("--name", "drained")
        wait_until(lambda: list(home.glob("began.*")))
        run = stage.run(home, fault, "shoal", "drain", "--wait", "drained", patient=fault.from_there_on)
        stage.ended = process.poll() is not None or run.exit == 0 and wait_until(lambda: process.poll() is not None, 3)
        return run

    def check(self, stage, home, run):
        complaints = ["succeeds, and the worker goes on"] if run.exit == 0 and not stage.ended else []
        stage.start_worker()
        complaints += settle(stage)
        stage.end_workers()
        return complaints


class Checkpoint(Worker):
    """What a task keeps is there when it goes on, once more and not less often."""

    def prepare(self, stage):
        stage.clean["SHOAL_CHECKPOINTS"] = str(stage.folder / "kept")

    def play(self, stage, home, fault):
        task = (f"test -e $SHOAL_CHECKPOINT/half && exec echo i={{i}}; : > $SHOAL_CHECKPOINT/half; "
                f"echo {{i}} >> {home}/first; exit 85")
        self.words = ("--checkpoint", "-p", "i=1:3", "--", "sh", "-c", task.replace("{", "{{").replace("}", "}}"))
        return super().play(stage, home, fault)

    def check(self, stage, home, run):
        complaints = super().check(stage, home, run)
        first = collections.Counter((home / "first").read_text().split() if (home / "first").exists() else ())
        again = [task for task, n in first.items() if n > 1]
        shutil.rmtree(stage.folder / "kept", ignore_errors=True)
        return complaints + [f"begin anew although they kept something: {again}"] * bool(again)


class Confined(Worker):
    """A task runs as the user, with the limits, and in the sandbox that were asked for, or not at all."""

    few = {"alloc": 2, "call": 8, "eintr": 1, "short": 1}

    def __init__(self, name):
        task = ("{{ : > open/escaped; }} 2>/dev/null && out=1 || out=0; "
                "{{ exec 3<>/dev/udp/127.0.0.1/9; }} 2>/dev/null && net=1 || net=0; "
                "while read -r name value; do case $name in Uid:) uid=${{value%%[[:space:]]*}} ;; "
                "NoNewPrivs:) nnp=$value ;; CapEff:) caps=$((16#$value)) ;; esac; done < /proc/self/status; "
                "printf '%s\\n' out=$out net=$net uid=$uid nnp=$nnp caps=$caps data=$(ulimit -d) file=$(ulimit -f) "
                "processes=$(ulimit -u)")
        super().__init__(name, "--memory", "1G", "--max-file-size", "1M", "--max-processes", "64", "-p", "i=1:3",
                         "--", "bash", "-c", task)

    def prepare(self, stage):
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        own = ["--user", user.pw_name] if os.geteuid() == 0 else []
        stage.trust = ("--allow", "/usr/bin/bash", "--cgroup", "off", *own)
        self.expected = {"uid": user.pw_uid, "nnp": 1, "data": 1 << 20, "file": 1024, "processes": 64}
        known = subprocess.run(["shoal-worker", "--sandbox", "--no-network", "--check-upgrade"], env=stage.clean,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if known.returncode == 0:
            stage.trust += ("--sandbox", "--no-network")
            self.expected |= {"out": 0, "net": 0, "caps": 0}
        (stage.folder / "open").mkdir()
        (stage.folder / "open").chmod(0o777)
        stage.folder.parent.chmod(0o711)

    def check(self, stage, home, run):
        loose = [row for row in rows_of(stage, stage.job) if row["status"] == "ok" and
                 any(row.get(name) != value for name, value in self.expected.items())]
        complaints = [f"runs, and not as it was to: {loose}"] * bool(loose)
        return complaints + super().check(stage, home, run)


class Acl(Path):
    """Each user has a password and a rule, or it says why not; what is there already stays."""

    def play(self, stage, home, fault):
        (home / "passwords").mkdir(mode=0o700)
        return stage.run(home, fault, "shoal", "acl", "--passwords-dir", "passwords")

    def check(self, stage, home, run):
        there = {path.name: path.read_text() for path in (home / "passwords").iterdir()}
        half = [name for name, text in there.items() if not re.fullmatch("[0-9a-f]{64}\n", text)]
        can_remove = run.report.fired < 2  # where all fails, it cannot
        complaints = [f"passwords cut short: {half}"] * (bool(half) and can_remove)
        if run.exit == 0 and run.out != stage.shoal("acl", "--passwords-dir", home / "passwords") + "\n":
            complaints.append(f"succeeds and prints {run.out[-300:]!r}")
        return complaints


class Broker(Path):
    """What is due starts, although no worker is there."""

    program = "shoal-broker"

    def meanwhile(self, stage, home, process):
        """What happens while it runs."""

    def play(self, stage, home, fault):
        stage.job = stage.shoal("submit", "--delay", "100ms", "--", "true")
        process = stage.start(home, fault, "shoal-broker")
        self.meanwhile(stage, home, process)
        end = time.monotonic() + (3 if fault.from_there_on else STUCK)
        while process.poll() is None and Change.state(stage) == "waiting" and time.monotonic() < end:
            time.sleep(0.02)
        stage.state = Change.state(stage)
        stage.by_itself = process.poll() is not None
        stage.stuck = not stage.by_itself and stage.state == "waiting" and not fault.from_there_on
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3 if fault.from_there_on else LIMIT)
        if process.poll() is None and fault.from_there_on:
            process.kill()
            process.returncode = process.wait() and 1
        return stage.end(home, process)

    def check(self, stage, home, run):
        stage.shoal("cancel", stage.job)
        stage.shoal("forget", stage.job)
        complaints = stage.audit()
        if stage.stuck:
            complaints.append("stands still")
        if stage.by_itself and run.exit == 0:
            complaints.append("ends by itself as if all were well")
        return complaints


class BrokerOutage(Broker):
    """Redis is away for a moment, and what is due starts."""

    few = {"alloc": 2, "call": 2, "eintr": 1, "short": 1}

    def prepare(self, stage):
        stage.redis = OwnRedis(stage.folder / "redis")
        stage.clean["SHOAL_REDIS"] = f"unix:{stage.redis.socket}"

    def meanwhile(self, stage, home, process):
        log = home / "err"
        for says, act in (("keeping the queue moving", stage.redis.kill), ("level=warn", stage.redis.start)):
            wait_until(lambda: says in log.read_text(errors="replace") or process.poll() is not None, PATIENCE)
            act()


class Cluster(Path):
    """A local cluster is up, or nothing of it; `down` leaves nothing."""

    few = {"alloc": 2, "call": 4, "eintr": 1, "short": 1}

    def __init__(self, name, *words, down=False):
        super().__init__(name)
        self.words, self.down = words, down

    def play(self, stage, home, fault):
        stage.local = {**stage.clean, **at(home)}
        del stage.local["SHOAL_REDIS"]
        variables = {"SHOAL_REDIS": ""}
        if self.down:
            stage.shoal("up", env=stage.local)
        process = self.start(stage, home, fault, variables)
        return stage.end(home, process)

    def start(self, stage, home, fault, variables):
        clean = stage.clean
        stage.clean = stage.local
        try:
            return stage.start(home, fault, "shoal", "down" if self.down else "up", *self.words)
        finally:
            stage.clean = clean

    def check(self, stage, home, run):
        up = bool(processes_of(home))
        complaints = []
        if run.exit == 0 and up == self.down:
            complaints.append(f"succeeds, and this runs: {processes_of(home)}")
        if run.exit != 0 and up and not self.down and stage.shoal("status", env=stage.local, accept=None) is None:
            complaints.append("half of a cluster is left")
        stage.shoal("down", env=stage.local)
        return complaints


class Join(Path):
    """A worker joins a cluster that listens, or says why not; nothing of the cluster's is spoilt."""

    left_open = None  # it goes on as shoal-worker

    def prepare(self, stage):
        stage.redis = ListeningCluster(stage.folder / "redis", stage.clean)
        del stage.clean["SHOAL_REDIS"], stage.clean["SHOAL_NAMESPACE"]

    def play(self, stage, home, fault):
        process = stage.start(home, fault, "shoal", "worker", "--join", stage.redis.token, "--allow-any")
        wait_until(lambda: "registered" in (home / "err").read_text(errors="replace") or process.poll() is not None,
                   PATIENCE if fault.from_there_on else STUCK)
        stage.joined = process.poll() is None and "registered" in (home / "err").read_text(errors="replace")
        process.terminate()
        return stage.end(home, process)

    def check(self, stage, home, run):
        return ["ends as if all were well"] if run.exit == 0 and not stage.joined else []


def paths():
    looks = [("status", "status", "--json", "{job}"), ("list", "list", "--json"), ("results", "results", "{job}"),
             ("results-sorted", "results", "{job}", "--sort", "--format", "csv"),
             ("results-jsonl", "results", "{job}", "--format", "jsonl"), ("show", "show", "{job}", "1"),
             ("wait", "wait", "{job}"), ("workers", "workers", "--json"), ("queues", "queues", "--json"),
             ("audit", "audit"), ("doctor", "doctor"), ("replay", "replay", "{job}", "0"),
             ("replay-print", "replay", "--print", "{job}", "0")]
    function = ("--plugin", "{plugin}", "--task", "nothing", "-p", "i=1:3")
    return [
        *(Look(*look) for look in looks),
        Submit("submit"),
        SubmitLines("submit-lines"),
        SubmitByTls("submit-tls"),
        SubmitLinesSigned("submit-signed"),
        Keygen("keygen"),
        Acl("acl"),
        Change("cancel", [], "cancelled", ["cancel", "{job}"]),
        Change("retry", [["cancel", "{job}"]], "active", ["retry", "{job}"]),
        Change("forget", [["cancel", "{job}"]], "forgotten", ["forget", "{job}"]),
        Queue("pause", paused=True),
        Queue("resume", paused=False),
        Drain("drain"),
        Execute("run", "-p", "i=1:3", "--", "echo", "i={{i}}"),
        Execute("run-lines", "--from", "lines", "--", "echo", "{{}}"),
        Execute("run-stdin", "--from", "-", "--", "echo", "{{}}"),
        Execute("run-function", *function),
        Worker("worker-exec", "-p", "i=1:3", "--", "sh", "-c", "echo i={{i}}; echo warned >&2; : > $SHOAL_TMP/x"),
        Worker("worker-beats", "-p", "i=1:3", "--", "sleep", "1.5"),
        Worker("worker-function", *function),
        Worker("worker-python", "--python", "builtins:dict", "-p", "i=1:3"),
        WorkerByTls("worker-tls", "-p", "i=1:3", "--", "echo", "i={{i}}"),
        WorkerSigned("worker-signed", "--from", "lines", "--", "echo", "{{}}"),
        CancelledWork("worker-cancel"),
        Outage("worker-outage"),
        Spool("worker-spool"),
        Checkpoint("worker-checkpoint"),
        Confined("worker-confined"),
        Upgrade("upgrade-worker", side="worker"),
        Upgrade("upgrade-heir", side="heir"),
        Keeper("keeper", "-p", "i=1:3", "--", "echo", "i={{i}}"),
        Upgrade("upgrade-keeper", side="keeper"),
        Runner("host", *function),
        Look("host-try", "--try", "{plugin}", "echo", "x=2", program="shoal-host"),
        Broker("broker"),
        BrokerOutage("broker-outage"),
        Cluster("up"),
        Cluster("up-listen", "--listen", "127.0.0.1:0"),
        Join("join"),
        Cluster("down", down=True),
    ]
