#!/usr/bin/env python3
"""The n-th allocation and the n-th system call of each program fail, for n = 1, 2, 3 …

    failing.py BUILD [--long SHARE] [--seed N] [--path NAME]... [--fault WHAT:N[+]]

A path is what a program is mostly used for, run with one fault (tests/support/failing_plugin.c says
which there are): once, or (with a +) from there on. Whatever fails: nothing crashes or hangs; who
says that all is well has done all of its work, and who does not says why; the queue is whole, each
task has one outcome in the end, no process or temporary file is left, and neither memory nor
descriptors leak, also of who goes on. Without --long a few places in the code are drawn by the seed for
each path, and one in four of the allocations and calls from there on, too. With a share each place is
tried once, and of each path's calls so many as make that share, evenly spread; one in eight from there
on, too. With 1 every n is, once and from there on, until the fault does not happen any more.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

from failing_paths import paths
from failing_stage import Fault, Report, Stage

KINDS = ("alloc", "call", "eintr", "short")
AT_ONCE = 6
MOST = 20000       # of n

# What libraries do of themselves, told and not counted (README.md): where the fault was, what came of it.
KNOWN = (
    (re.compile(r"make_stream tls\.c"), re.compile(r"crashes with -11|signal=11")),  # libevent 2.1.12
)


class Storm:
    def __init__(self, build, share, seed):
        self.build, self.share, self.random = build, share, random.Random(seed)
        self.seed = seed
        self.seen = set()
        self.spans, self.complaints = [], []
        self.runs = self.fired = self.known = 0
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
                known = any(at.search(where) and what.search(text) for at, what in KNOWN)
                self.known += known
                if not known:
                    self.complaints.append((path.name, str(fault), where, text))
                print(f"{path.name} {fault}:{' known:' * known} {text}\n    {where}", flush=True)
        return report

    def places(self, path, kind):
        """How many calls a run without a fault makes, and the first n of each place in the code that no path had."""
        sites = self.attempt(path, Fault(kind, 0)).sites
        numbers = []
        for nth, site in enumerate(sites, 1):
            if (kind, site) not in self.seen:
                self.seen.add((kind, site))
                numbers.append(nth)
        return len(sites), numbers

    def numbers(self, path, kind):
        """The n that are tried: a few of the places by chance; or all, filled up evenly to the share of all n."""
        count, places = self.places(path, kind)
        if self.share == 0:
            self.random.shuffle(places)
            return places[:path.few[kind]]
        others = sorted(set(range(1, count + 1)) - set(places))
        n = min(max(0, math.ceil(count * self.share) - len(places)), len(others))
        return sorted(places + [others[i * len(others) // n] for i in range(n)])

    def some(self, path, pool):
        """Each n that is tried, and one in four or eight of them from there on. Returns attempts under way."""
        plan = []
        for kind in path.few:
            numbers = self.numbers(path, kind)
            plan += [Fault(kind, nth) for nth in numbers]
            plan += [Fault(kind, nth, True) for nth in numbers[::8 if self.share else 4] if kind in ("alloc", "call")]
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
                "seed": self.seed, "unexpected": kinds["unexpected"], "stuck": kinds["stuck"], "known": self.known,
                "seconds": round(time.monotonic() - self.begun, 1)}


def kind_of(text):
    """The column that counts a complaint."""
    columns = {"tasks with a row": "lost", "one became": "doubled", "left behind": "orphans",
               "files left behind": "orphans", "stands still": "stuck", "hangs": "stuck"}
    return next((kind for begin, kind in columns.items() if text.startswith(begin)), "unexpected")


def storm(build, share=0, seed=1, chosen=(), fault=None):
    """Runs them. Returns the row, and complaints: (path, fault, where, text)."""
    result = Storm(pathlib.Path(build).resolve(), share, seed)
    with result.redis(), concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = []
        for path in paths():
            if chosen and path.name not in chosen:
                continue
            if fault is not None:
                result.attempt(path, fault)
            elif share == 1:
                result.every(path, pool)
            else:
                under_way += result.some(path, pool)
        concurrent.futures.wait(under_way)
    return result.row(), result.complaints


def main():
    parser = argparse.ArgumentParser(description="The n-th allocation or system call fails.")
    parser.add_argument("build")
    parser.add_argument("--long", type=float, default=0, metavar="SHARE",
                        help="0: a few places of each path (the default); less than 1: each place, and so many of all "
                             "n; 1: every n")
    parser.add_argument("--seed", type=int, default=1, help="which places are few")
    parser.add_argument("--path", action="append", default=[], help="only this (repeatable)")
    parser.add_argument("--fault", type=Fault.parse, help="only this one: WHAT:N or WHAT:N+")
    args = parser.parse_args()
    row, complaints = storm(args.build, args.long, args.seed, args.path, args.fault)
    print(json.dumps(row))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
