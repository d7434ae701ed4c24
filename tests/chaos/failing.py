#!/usr/bin/env python3
"""The n-th allocation and the n-th system call of each program fail, for n = 1, 2, 3 …

    failing.py BUILD [--much few|sites|all] [--seed N] [--path NAME]... [--fault WHAT:N[+]]

A path is what a program is mostly used for, run with one fault (tests/support/failing_plugin.c says
which there are): once, or (with a +) from there on. Whatever fails: nothing crashes or hangs; who
says that all is well has done all of its work, and who does not says why; the queue is whole, each
task has one outcome in the end, and no process or temporary file is left. A few places in the code
are drawn by the seed for each path; or each place is tried once; or every n, until the fault does not
happen any more.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

KINDS = ("alloc", "call", "eintr", "short")
LIMIT = 40         # seconds of a run: a client waits 10 for each answer
PATIENCE = 4       # seconds for one that may wait for a Redis which it can never reach
KILLED = 1         # its exit status, by us
STUCK = 15         # a queue with work and free slots stands still for 10 at most
AT_ONCE = 6
MOST = 20000       # of n
HEAD, FRAME, FRAMES = struct.Struct("QQ32sQ"), struct.Struct("96sQ"), 24


# ---- what the fault reports

class Report:
    """How often it could have happened, how often it did, and where first."""

    def __init__(self, path):
        data = path.read_bytes() if path.exists() else b""
        self.counted = self.fired = 0
        self.frames, self.sites = [], []
        if not data:
            return
        self.counted, self.fired, name, n = HEAD.unpack_from(data)
        self.function = name.rstrip(b"\0").decode()
        for i in range(n):
            module, offset = FRAME.unpack_from(data, HEAD.size + i * FRAME.size)
            self.frames.append((module.rstrip(b"\0").decode(), offset))
        sites = memoryview(data)[HEAD.size + FRAMES * FRAME.size:].cast("I")
        self.sites = list(sites[:self.counted])  # where each call came from, of a run without a fault

    def where(self, build):
        """The failed function and the lines of ours that led to it."""
        lines = []
        for module, offset in self.frames:
            name = pathlib.Path(module).name
            if name.startswith("shoal"):
                told = subprocess.run(["addr2line", "-fse", build / name, hex(offset - 1)], stdout=subprocess.PIPE,
                                      text=True, check=False).stdout.split("\n")
                lines.append(" ".join(told[:2]))
        return f"{self.function}() from " + " < ".join(lines[:5] or ["a library"])


class Fault:
    def __init__(self, what, nth, from_there_on=False):
        self.what, self.nth, self.from_there_on = what, nth, from_there_on

    def __str__(self):
        return f"{self.what}:{self.nth}{'+' if self.from_there_on else ''}"

    @classmethod
    def parse(cls, text):
        what, nth = text.removesuffix("+").split(":")
        return cls(what, int(nth), text.endswith("+"))


class Run:
    """A program that has ended."""

    def __init__(self, exit_status, out, err, report):
        self.exit, self.out, self.err, self.report = exit_status, out, err, report


# ---- where it happens

def at(home):
    """The variables by which a program has its files there, root's too."""
    return {"HOME": str(home), "SHOAL_STATE": str(home / "state"), "TMPDIR": str(home / "tmp")}


class Stage:
    """A namespace of a Redis that others use as well, and a folder. A home is of one run."""

    def __init__(self, build, url, folder, name):
        self.build, self.name = build, name
        self.folder = folder / name
        self.folder.mkdir()
        self.numbers = itertools.count(1)
        self.clean = {**os.environ, "SHOAL_REDIS": url, "SHOAL_NAMESPACE": name, "HOME": str(self.folder),
                      "PATH": f"{build}:{os.environ['PATH']}", "TMPDIR": str(self.folder)}
        for name in ("SHOAL_STATE", "XDG_STATE_HOME", "SHOAL_QUEUE", "SHOAL_QUEUES"):
            self.clean.pop(name, None)
        self.workers = []
        self.redis = None  # of its own

    def shoal(self, *words, accept=(0,), env=None, limit=LIMIT):
        """What a command without a fault prints."""
        done = subprocess.run(["shoal", *map(str, words)], env=env or self.clean, cwd=self.folder, timeout=limit,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
        if accept is not None and done.returncode not in accept:
            raise RuntimeError(f"shoal {' '.join(map(str, words))}: {done.returncode} {done.stderr}")
        return done.stdout.strip()

    @contextlib.contextmanager
    def home(self):
        home = self.folder / str(next(self.numbers))
        (home / "tmp").mkdir(parents=True)
        try:
            yield home
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def start(self, home, fault, program, *words, meant=None, variables=()):
        env = {**self.clean, **at(home), **dict(variables)}
        if fault is not None:
            env |= {"LD_PRELOAD": str(self.build / "tests/support/failing.so"), "FAILING": str(fault),
                    "FAILING_IN": meant or program, "FAILING_REPORT": str(home / "report")}
        with open(home / "out", "w+b") as out, open(home / "err", "w+b") as err:
            leash = ["setpriv", "--pdeathsig", "KILL"]  # whatever ends this one
            return subprocess.Popen([*leash, program, *map(str, words)], env=env, cwd=home, stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=err)

    def end(self, home, process, patient=False):
        """What came of a program that has ended, or does so within the limit. A patient one goes on until told."""
        try:
            status = process.wait(PATIENCE if patient else LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = KILLED if patient else "hangs"
        read = [(home / name).read_text(errors="replace") for name in ("out", "err")]
        if patient and status == KILLED:
            read[1] += "(ended by the storm)"
        return Run(status, *read, Report(home / "report"))

    def run(self, home, fault, program, *words, patient=False, **options):
        return self.end(home, self.start(home, fault, program, *words, **options), patient)

    def start_worker(self):
        home = self.folder / f"worker{next(self.numbers)}"
        (home / "tmp").mkdir(parents=True)
        process = self.start(home, None, "shoal-worker", "--session-ttl", "4s", "--slots", "2")
        self.workers.append(process)
        return process

    def end_workers(self):
        for process in self.workers:
            process.terminate()
        for process in self.workers:
            process.wait(LIMIT)
        self.workers = []

    def audit(self):
        found = self.shoal("audit", accept=None)
        return [] if "nothing wrong" in found else [f"audit: {found}"]

    def jobs(self):
        return [json.loads(line) for line in self.shoal("list", "--json", "--limit", "1000").splitlines()]


def processes_of(home):
    """Those with this home in their environment, or (redis-server has none any more) in their title."""
    mark, found = f"HOME={home}".encode(), []
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if (mark in (folder / "environ").read_bytes().split(b"\0") or
                        f":{home}/".encode() in (folder / "cmdline").read_bytes()):
                    found.append((int(folder.name), (folder / "comm").read_text().strip()))
    return found


def left_behind(home, span=5):
    """Complaints about processes, which get a moment to end and are ended then, and files."""
    end = time.monotonic() + span
    while (found := processes_of(home)) and time.monotonic() < end:
        time.sleep(0.02)
    for pid, _ in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    files = [str(path.relative_to(home)) for path in (home / "tmp").rglob("*")]
    return [f"left behind: {found}"] * bool(found) + [f"files left behind: {files}"] * bool(files)


def said(run, exits, expected=0):
    """Complaints about how a program ended and what it said of it; without the fault it ends with `expected`."""
    if run.exit == "hangs":
        return ["hangs"]
    if run.exit < 0 or "Assertion" in run.err or "corrupted" in run.err or "stack smashing" in run.err:
        return [f"crashes with {run.exit}: {run.err[-900:]}"]
    if run.exit not in exits:
        return [f"exit status {run.exit} is not documented: {run.err[-900:]}"]
    silent = run.exit != expected and not run.err.strip()
    return ["fails and does not say why"] if silent else []


# ---- paths

class Path:
    """What a program is used for. `prepare` is run once for each stage, `attempt` with each fault."""

    program = "shoal"
    shares = False  # whether attempts at once may be on one stage
    exits = (0, 1, 2, 3, 4)
    few = {"alloc": 4, "call": 2, "eintr": 1, "short": 1}

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
            complaints = said(run, self.exits, self.exit_of(stage)) + self.check(stage, home, run) + left_behind(home)
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
        return stage.run(home, fault, "shoal", "run", "--format", "csv", *words, patient=fault.from_there_on)

    def check(self, stage, home, run):
        for job in stage.jobs():
            if job["state"] == "waiting":  # its rows did not all come: cancelled by itself in an hour
                stage.shoal("cancel", job["id"])
        complaints = settle(stage)
        rows = sorted(line.split(",")[0] for line in run.out.splitlines()[1:])
        if run.exit == 0 and rows != ["0", "1", "2"]:
            complaints.append(f"succeeds and prints {run.out!r}")
        return complaints


def kill_both(keeper):
    """The keeper and its worker, as at once."""
    children = pathlib.Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
    keeper.send_signal(signal.SIGSTOP)
    for pid in map(int, children.read_text().split()):
        os.kill(pid, signal.SIGKILL)
    keeper.kill()
    keeper.wait()


class Worker(Path):
    """Its job is done, by it or by who comes behind it."""

    program = "shoal-worker"
    exits = (0, 1, 2, 3)
    few = {"alloc": 4, "call": 4, "eintr": 1, "short": 1}

    def __init__(self, name, *words, meant="shoal-worker/1"):
        super().__init__(name)
        self.words, self.meant = words, meant

    def play(self, stage, home, fault):
        words = [word.format(plugin=stage.build / "tests/support/tasks.so") for word in self.words]
        env = {**stage.clean, "PYTHONPATH": str(stage.build / "python")}
        stage.job = stage.shoal("submit", *words, env=env)
        process = stage.start(home, fault, "shoal-worker", "--session-ttl", "4s", "--slots", "2", "--log-level",
                              "debug", meant=self.meant)
        self.watch(stage, process, fault)
        run = stage.end(home, process)
        # One that can do nothing any more is ended by the second signal as by the first.
        if "the worker was killed" in run.err and not (fault.from_there_on and "signal=15" in run.err):
            run.exit = -1
        return run

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
        complaints += settle(stage)
        stage.end_workers()
        return complaints


class Keeper(Worker):
    def __init__(self, name, *words):
        super().__init__(name, *words, meant="shoal-worker")


class Runner(Worker):
    """The fault is in shoal-host, which a worker starts."""

    program = "shoal-host"

    def play(self, stage, home, fault):
        variables = {"LD_PRELOAD": stage.build / "tests/support/failing.so", "FAILING": fault,
                     "FAILING_IN": "shoal-host", "FAILING_REPORT": home / "report"}
        options = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        words = [word.format(plugin=stage.build / "tests/support/tasks.so") for word in self.words]
        stage.job = stage.shoal("submit", *options, "--retries", 3, *words)
        process = stage.start(home, None, "shoal-worker", "--session-ttl", "4s", "--slots", "2")
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


class OwnRedis:
    """One that is killed and comes back, and has all that it said to have."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "redis.sock"
        folder.mkdir()
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        words = ["setpriv", "--pdeathsig", "KILL", "redis-server", "--port", "0", "--unixsocket", self.socket, "--dir",
                 self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers)

    def answers(self):
        done = subprocess.run(["redis-cli", "-s", self.socket, "ping"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False)
        return done.stdout == "PONG\n"

    def kill(self):
        self.process.kill()
        self.process.wait()


def wait_until(condition, span=STUCK):
    """Whether it comes true."""
    end = time.monotonic() + span
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


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
        process = stage.start(home, fault, "shoal-worker", "--session-ttl", "4s", "--slots", "3", "--name", "w",
                              "--log-level", "debug", meant=self.meant)
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
        process = stage.start(home, fault, "shoal-worker", "--session-ttl", "4s", "--slots", "3", "--name", "w",
                              "--log-level", "debug", meant=self.meant)
        return self.finish(stage, home, process, fault)


class Upgrade(Outage):
    """The program that is there takes the worker's place while its tasks run."""

    def prepare(self, stage):
        """With all others."""

    def __init__(self, name, *, side):
        super().__init__(name)
        self.side = side
        self.meant = {"worker": "shoal-worker/1", "keeper": "shoal-worker", "heir": "shoal-worker"}[side]

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
        program.unlink()
        program.write_text(f"""#!/bin/sh
case $SHOAL_HANDOVER in
worker:*)
    export LD_PRELOAD={stage.build}/tests/support/failing.so FAILING={fault} FAILING_IN=shoal-worker \\
        FAILING_REPORT={home}/report ;;
esac
exec {stage.build}/shoal-worker "$@"
""")
        program.chmod(0o755)


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


class Broker(Path):
    """What is due starts, although no worker is there."""

    program = "shoal-broker"

    def play(self, stage, home, fault):
        stage.job = stage.shoal("submit", "--delay", "100ms", "--", "true")
        process = stage.start(home, fault, "shoal-broker")
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


class Cluster(Path):
    """A local cluster is up, or nothing of it; `down` leaves nothing."""

    few = {"alloc": 2, "call": 4, "eintr": 1, "short": 1}

    def __init__(self, name, *, down=False):
        super().__init__(name)
        self.down = down

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
            return stage.start(home, fault, "shoal", "down" if self.down else "up")
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
        Change("cancel", [], "cancelled", ["cancel", "{job}"]),
        Change("retry", [["cancel", "{job}"]], "active", ["retry", "{job}"]),
        Change("forget", [["cancel", "{job}"]], "forgotten", ["forget", "{job}"]),
        Execute("run", "-p", "i=1:3", "--", "echo", "i={{i}}"),
        Execute("run-lines", "--from", "lines", "--", "echo", "{{}}"),
        Execute("run-function", *function),
        Worker("worker-exec", "-p", "i=1:3", "--", "sh", "-c", "echo i={{i}}; echo warned >&2; : > $SHOAL_TMP/x"),
        Worker("worker-beats", "-p", "i=1:3", "--", "sleep", "1.5"),
        Worker("worker-function", *function),
        Worker("worker-python", "--python", "builtins:dict", "-p", "i=1:3"),
        Outage("worker-outage"),
        Spool("worker-spool"),
        Checkpoint("worker-checkpoint"),
        Upgrade("upgrade-worker", side="worker"),
        Upgrade("upgrade-heir", side="heir"),
        Keeper("keeper", "-p", "i=1:3", "--", "echo", "i={{i}}"),
        Upgrade("upgrade-keeper", side="keeper"),
        Runner("host", *function),
        Look("host-try", "--try", "{plugin}", "echo", "x=2", program="shoal-host"),
        Broker("broker"),
        Cluster("up"),
        Cluster("down", down=True),
    ]


# ---- all of them

class Storm:
    def __init__(self, build, much, seed):
        self.build, self.much, self.random = build, much, random.Random(seed)
        self.seed = seed
        self.seen = set()
        self.spans, self.complaints = [], []
        self.runs = self.fired = 0
        self.begun = time.monotonic()
        self.mutex = threading.Lock()
        self.stages, self.idle = [], {}

    @contextlib.contextmanager
    def redis(self):
        with tempfile.TemporaryDirectory(prefix="shoal-failing-") as folder:
            self.folder = pathlib.Path(folder)
            path = self.folder / "redis.sock"
            words = ["setpriv", "--pdeathsig", "KILL", "redis-server", "--port", "0", "--unixsocket", path, "--dir",
                     folder, "--save", "", "--loglevel", "warning"]
            server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                while not path.exists():
                    time.sleep(0.01)
                self.url = f"unix:{path}"
                yield
            finally:
                for stage in self.stages:
                    stage.end_workers()
                    if stage.redis is not None:
                        stage.redis.kill()
                server.kill()
                server.wait()

    @contextlib.contextmanager
    def stage(self, path):
        """One of that path which nobody else is on, unless they can share it."""
        with self.mutex:
            idle = self.idle.setdefault(path.name, [])
            stage = idle[-1] if idle and path.shares else idle.pop() if idle else None
            if stage is None:
                stage = Stage(self.build, self.url, self.folder, f"{path.name}.{len(self.stages)}")
                self.stages.append(stage)
                path.prepare(stage)
                idle += [stage] * path.shares
        yield stage
        if not path.shares:
            idle.append(stage)

    def attempt(self, path, fault):
        """Returns what the fault reports."""
        begun = time.monotonic()
        try:
            with self.stage(path) as stage:
                run, complaints = path.attempt(stage, fault)
            report = run.report
        except Exception as trouble:  # it says that something is wrong, and the others go on
            report, complaints = Report(pathlib.Path("nowhere")), [f"cannot be looked into: {trouble!r}"]
        with self.mutex:
            self.runs += 1
            self.fired += report.fired > 0
            self.spans.append(time.monotonic() - begun)
            for text in complaints:
                where = report.where(self.build) if report.fired else "no fault"
                self.complaints.append((path.name, str(fault), where, text))
                print(f"{path.name} {fault}: {text}\n    {where}", flush=True)
        return report

    def new_sites(self, path, kind):
        """The first n of each place in the code that no path before had, in an order of chance."""
        sites = self.attempt(path, Fault(kind, 0)).sites
        numbers = []
        for nth, site in enumerate(sites, 1):
            if (kind, site) not in self.seen:
                self.seen.add((kind, site))
                numbers.append(nth)
        self.random.shuffle(numbers)
        return numbers

    def some(self, path, pool):
        """Places of each kind that a run without a fault comes by: a few, or all. Returns attempts under way."""
        plan = []
        for kind, n in path.few.items():
            numbers = self.new_sites(path, kind)
            numbers = numbers if self.much == "sites" else numbers[:n]
            plan += [Fault(kind, nth) for nth in numbers]
            plan += [Fault(kind, nth, True) for nth in numbers[:(len(numbers) + 2) // 4] if kind in ("alloc", "call")]
        return [pool.submit(self.attempt, path, fault) for fault in plan]

    def every(self, path, pool):
        for kind, onwards in [(kind, False) for kind in KINDS] + [("alloc", True), ("call", True)]:
            begun, runs = time.monotonic(), self.runs
            quiet, nth = 0, 1
            while quiet < 2 * AT_ONCE and nth < MOST:  # how many there are differs a little from run to run
                batch = [Fault(kind, n, onwards) for n in range(nth, nth + 4 * AT_ONCE)]
                for report in pool.map(lambda fault: self.attempt(path, fault), batch):
                    quiet = 0 if report.fired else quiet + 1
                nth += len(batch)
            print(f"{path.name} {kind}{'+' if onwards else ''}: {self.runs - runs} runs in "
                  f"{time.monotonic() - begun:.0f} s", flush=True)

    def row(self):
        """As in build/chaos.json: `runs` of programs, of which `tasks` met the fault."""
        spans = sorted(self.spans) or [0]
        kinds = collections.Counter(kind_of(text) for *_, text in self.complaints)
        return {"name": "failing", "runs": self.runs, "tasks": self.fired,
                **{kind: kinds[kind] for kind in ("lost", "doubled", "orphans")},
                "p50_ms": round(spans[len(spans) // 2] * 1000), "p99_ms": round(spans[len(spans) * 99 // 100] * 1000),
                "seed": self.seed, "unexpected": kinds["unexpected"], "stuck": kinds["stuck"],
                "seconds": round(time.monotonic() - self.begun, 1)}


def kind_of(text):
    """The column that counts a complaint."""
    columns = {"tasks with a row": "lost", "one became": "doubled", "left behind": "orphans",
               "files left behind": "orphans", "stands still": "stuck", "hangs": "stuck"}
    return next((kind for begin, kind in columns.items() if text.startswith(begin)), "unexpected")


def storm(build, much="few", seed=1, chosen=(), fault=None):
    """Runs them. Returns the row, and complaints: (path, fault, where, text)."""
    result = Storm(pathlib.Path(build).resolve(), much, seed)
    with result.redis(), concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = []
        for path in paths():
            if chosen and path.name not in chosen:
                continue
            if fault is not None:
                result.attempt(path, fault)
            elif much == "all":
                result.every(path, pool)
            else:
                under_way += result.some(path, pool)
        concurrent.futures.wait(under_way)
    return result.row(), result.complaints


def main():
    parser = argparse.ArgumentParser(description="The n-th allocation or system call fails.")
    parser.add_argument("build")
    parser.add_argument("--much", choices=("few", "sites", "all"), default="few",
                        help="few: some places of each path (the default); sites: each place once; all: every n")
    parser.add_argument("--seed", type=int, default=1, help="which places are few")
    parser.add_argument("--path", action="append", default=[], help="only this (repeatable)")
    parser.add_argument("--fault", type=Fault.parse, help="only this one: WHAT:N or WHAT:N+")
    args = parser.parse_args()
    row, complaints = storm(args.build, args.much, args.seed, args.path, args.fault)
    print(json.dumps(row))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
