#!/usr/bin/env python3
"""Measures shoal and, in the same run, a floor under each figure.

    bench.py BUILD [--long] [NAME...]

Prints a line per figure: name, median, spread, unit, the floor's median, and the ratio to it; the
same as BUILD/bench.json. Shoal and floor take turns, so that a noisy machine is noisy for both.
Everything runs on a local cluster of its own with two slots, in a folder that is removed at the end.
"""
import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import growth
import peers
import servers
from figure import Figure, percentile, seconds


class Bench:
    """The programs, the cluster, and how much work a figure is."""

    def __init__(self, build, long):
        self.build = build
        self.long = long
        self.url = None

    @contextlib.contextmanager
    def figure(self):
        """All rounds of a figure."""
        with contextlib.ExitStack() as self.stack:
            self.kept = {}
            yield

    def keep(self, make, *words):
        """What the context manager make(*words) gives: entered in the first round, left behind the last."""
        if (make, words) not in self.kept:
            self.kept[make, words] = self.stack.enter_context(make(*words))
        return self.kept[make, words]

    def times(self, short, long):
        """How much work a round does, in the short form and in the long one."""
        return long if self.long else short

    def shoal(self, *words, accept=(0,)):
        done = subprocess.run([self.build / "shoal", *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode not in accept:
            sys.exit(f"bench: shoal {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def floor(self, *words):
        """Runs one of the floors, or of the clients beside them; what it prints as numbers."""
        words = [self.build / "tests/bench" / words[0] if "/" not in words[0] else words[0], *map(str, words[1:])]
        done = subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        return [float(number) for number in done.stdout.split()] if done.stdout[:1].isdigit() else []

    def client(self, kind, n, what=None):
        """Seconds, or microseconds of each, of N tasks through libshoal: no-ops, or else `what`."""
        os.environ["SHOAL_REDIS"] = self.url
        numbers = self.floor("bench_client", kind, what or self.build / "tests/bench/tasks.so", n)
        del os.environ["SHOAL_REDIS"]
        return numbers

    def redis(self, *words):
        """An answer of the cluster's own Redis."""
        done = subprocess.run(["redis-cli", "-s", self.url.removeprefix("unix:"), *words], check=True,
                              stdout=subprocess.PIPE, text=True)
        return done.stdout

    def redis_memory(self):
        return int(next(line for line in self.redis("info", "memory").splitlines()
                        if line.startswith("used_memory:")).split(":")[1])

    @contextlib.contextmanager
    def cluster(self, slots=2):
        """The one that is measured until it ends."""
        before = self.url, dict(os.environ)
        with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
            os.environ.update(HOME=folder, XDG_STATE_HOME=folder)
            os.environ.pop("SHOAL_REDIS", None)
            try:
                self.url = self.shoal("up", "--slots", str(slots)).split()[-1]
                yield
            finally:
                self.shoal("down")
                self.url = before[0]
                os.environ.clear()
                os.environ.update(before[1])

    def forget(self, job):
        self.shoal("cancel", job)
        self.shoal("wait", job, accept=(0, 1))
        self.shoal("forget", job)


# ---- figures: each gives (shoal, floor) of one round; floor None: there is none

def exec_true(bench):
    n = bench.times(5000, 10000)
    floor = seconds(lambda: bench.floor("spawn_floor", n, 2, "/bin/true"))
    shoal = seconds(lambda: bench.shoal("run", "-p", f"i=1:{n}", "-o", "/dev/null", "--", "/bin/true"))
    return n / shoal, n / floor


def nothing(_):
    return None


def pool():
    """Two processes, which end when they are told to."""
    return multiprocessing.Pool(2, signal.signal, (signal.SIGTERM, signal.SIG_DFL))


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))


def count_primes(begin):
    return sum(map(is_prime, range(begin, begin + PRIMES_EACH)))


PRIMES_BELOW, PRIMES_EACH, PRIMES = 2_000_000, 2000, 148_933


def native_computed(bench):
    n = bench.times(5_000_000, 20_000_000)
    floor = seconds(lambda: bench.floor("pipe_floor", n))
    return n / bench.client("computed", n)[0], n / floor


def native_args(bench):
    n = bench.times(1_000_000, 10_000_000)
    floor = seconds(lambda: bench.floor("pipe_floor", n))
    return n / bench.client("args", n)[0], n / floor


def one_task(bench):
    n = bench.times(1000, 10_000)
    floor = sum(bench.floor("lmove_floor", bench.url.removeprefix("unix:"), n)) / 1e6
    return n / bench.client("one-task", n)[0], n / floor


@contextlib.contextmanager
def signing(bench):
    """A cluster whose worker asks for signatures, and a client that signs."""
    with bench.cluster(), tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        bench.shoal("down")
        keys = pathlib.Path(folder, "keys")
        keys.write_text(bench.shoal("keygen", f"{folder}/key"))
        os.environ.update(SHOAL_SIGN_KEY=f"{folder}/key", SHOAL_TRUST_KEYS=str(keys))
        bench.url = bench.shoal("up", "--slots", "2").split()[-1]
        yield


def signed(kind, short, long):
    """Tasks a second when they are signed, beside what is not: by the same client, just before."""
    def take(bench):
        n = bench.times(short, long)
        floor = n / bench.client(kind, n)[0]
        with signing(bench):
            return n / bench.client(kind, n)[0], floor

    return take


def there_and_back(bench, kind, what, percent):
    """One task after the other on an idle system: so many percent of them take that long at most."""
    n = bench.times(500, 5000)
    floor = bench.floor("lmove_floor", bench.url.removeprefix("unix:"), n)
    return percentile(bench.client(kind, n, what), percent), percentile(floor, percent)


def latency_native(percent):
    return lambda bench: there_and_back(bench, "latency", None, percent)


def latency_program(percent):
    return lambda bench: there_and_back(bench, "latency-program", "/bin/true", percent)


def pool_map(bench):
    """The same no-op tasks in Python's own pool, in memory, with its default chunks."""
    n = bench.times(1_000_000, 10_000_000)
    with pool() as processes:
        processes.map(nothing, range(100))
        return n / seconds(lambda: processes.map(nothing, range(n))), None


def primes(bench):
    """Seconds to count the primes below two million, natively; the floor is a Python pool."""
    with pool() as processes:
        begin = time.perf_counter()
        found = sum(processes.map(count_primes, range(0, PRIMES_BELOW, PRIMES_EACH)))
        floor = time.perf_counter() - begin
    begin = time.perf_counter()
    rows = bench.shoal("run", "--plugin", str(bench.build / "tests/bench/tasks.so"), "--task", "primes",
                       "-p", f"from=0:{PRIMES_BELOW - PRIMES_EACH}:{PRIMES_EACH}", "-p", f"width={PRIMES_EACH}",
                       "--format", "jsonl")
    took = time.perf_counter() - begin
    if not found == sum(json.loads(row)["primes"] for row in rows.splitlines()) == PRIMES:
        sys.exit("bench: the primes are wrong")
    return took, floor


def bytes_queued(bench):
    """Redis memory of a queued job of one task."""
    n = bench.times(500, 5000)
    bench.shoal("pause", "measured")
    bench.forget(bench.shoal("submit", "--queue", "measured", "--", "true"))
    before = bench.redis_memory()
    jobs = [bench.shoal("submit", "--queue", "measured", "--", "true") for _ in range(n)]
    used = bench.redis_memory() - before
    bench.shoal("cancel", *jobs)
    bench.shoal("forget", *jobs)
    return used / n, None


def signed_bytes_queued(bench):
    """The same of one that is signed, submitted alone and so with a warrant of its own; beside one that is not."""
    floor, _ = bytes_queued(bench)
    with signing(bench):
        return bytes_queued(bench)[0], floor


def bytes_finished(bench):
    """Redis memory of a finished task of a sweep, its result of a few bytes included."""
    n = bench.times(2000, 20_000)
    before = bench.redis_memory()
    job = bench.shoal("submit", "-p", f"i=1:{n}", "--", "echo", "{i}")
    bench.shoal("wait", job)
    used = bench.redis_memory() - before
    bench.forget(job)
    return used / n, None


def latency_exec(bench):
    n = bench.times(20, 100)
    floor = seconds(lambda: bench.floor("spawn_floor", n, 1, "/bin/true"))
    shoal = seconds(lambda: [bench.shoal("run", "-o", "/dev/null", "--", "/bin/true") for _ in range(n)])
    return shoal / n * 1000, floor / n * 1000


BILLION = ["-p", "a=1:1000", "-p", "b=1:1000", "-p", "c=1:1000"]


def submit_1e9(bench):
    floor = seconds(lambda: bench.floor(str(bench.build / "shoal"), "--version"))
    begin = time.perf_counter()
    job = bench.shoal("submit", *BILLION, "--", "sleep", "1")
    took = time.perf_counter() - begin
    bench.forget(job)
    return took * 1000, floor * 1000


def first_start(bench):
    """From the end of submit to the first task's own clock."""
    def start():
        return int(subprocess.run(["date", "+%s%N"], stdout=subprocess.PIPE, check=True).stdout)

    began = time.time_ns()
    floor = start() - began
    job = bench.shoal("submit", *BILLION, "--max-running", "1", "--", "sh", "-c", "date +%s%N; exec sleep 0.2")
    submitted = time.time_ns()
    while not (rows := bench.shoal("results", job, "--format", "jsonl")):
        pass
    bench.forget(job)
    first = json.loads(rows.splitlines()[0])
    return max(int(first["result"]) - submitted, 0) / 1e6, floor / 1e6


def daemons(*words):
    """The folders in /proc of the cluster's daemons with these words in their command: the program, and others."""
    wanted = {word.encode() for word in words}
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            command[0] = command[0].rpartition(b"/")[2]
            if wanted <= set(command) and any(os.environ["HOME"].encode() in word for word in command):
                yield entry


def worker(_):
    """Keeper and worker."""
    return list(daemons("shoal-worker", "default"))


def broker(_):
    return list(daemons("shoal-broker"))


def client(bench):
    """A `shoal wait` that waits."""
    return [pathlib.Path("/proc", str(bench.keep(waiting_client, bench).pid))]


@contextlib.contextmanager
def waiting_client(bench):
    job = bench.shoal("submit", "--delay", "1h", "--", "true")
    with servers.process(bench.build / "shoal", "wait", job) as process:
        time.sleep(1)
        yield process
    bench.forget(job)


def idle_pss(who):
    """MiB that they take, what they share counted in parts."""
    def take(bench):
        total = 0
        for entry in who(bench):
            rollup = (entry / "smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return (total / 1024, None) if total else sys.exit(f"bench: there is no {who.__name__} to look at")

    return take


def ticks(entries):
    """Of CPU time that they have had."""
    stats = ((entry / "stat").read_text().rsplit(")", 1)[1].split() for entry in entries)
    return sum(sum(map(int, stat[11:13])) for stat in stats)


def idle_cpu(who):
    """Share of a core that they take while there is nothing to do."""
    def take(bench):
        span = bench.times(3, 30)
        before = ticks(who(bench))
        time.sleep(span)
        return (ticks(who(bench)) - before) / os.sysconf("SC_CLK_TCK") / span * 100, None

    return take


FIGURES = {
    "native-computed": Figure("tasks/s", native_computed),
    "native-args": Figure("tasks/s", native_args),
    "pool-map": Figure("tasks/s", pool_map),
    "one-task": Figure("jobs/s", one_task),
    "signed-computed": Figure("tasks/s", signed("computed", 5_000_000, 20_000_000)),
    "signed-args": Figure("tasks/s", signed("args", 1_000_000, 10_000_000)),
    "signed-one-task": Figure("jobs/s", signed("one-task", 1000, 10_000)),
    "latency-native": Figure("µs", latency_native(50)),
    "latency-native-p99": Figure("µs", latency_native(99)),
    "latency-program": Figure("µs", latency_program(50)),
    "latency-program-p99": Figure("µs", latency_program(99)),
    "exec-true": Figure("tasks/s", exec_true),
    "latency-exec": Figure("ms", latency_exec),
    "primes": Figure("s", primes, rounds=3),
    "submit-1e9": Figure("ms", submit_1e9),
    "first-start": Figure("ms", first_start),
    "bytes-queued": Figure("B", bytes_queued),
    "signed-bytes-queued": Figure("B", signed_bytes_queued, rounds=3),
    "bytes-finished": Figure("B", bytes_finished),
    "idle-rss": Figure("MiB", idle_pss(worker), rounds=2),
    "idle-cpu": Figure("%", idle_cpu(worker), rounds=2),
    "idle-broker": Figure("MiB", idle_pss(broker), rounds=2),
    "idle-broker-cpu": Figure("%", idle_cpu(broker), rounds=2),
    "idle-client": Figure("MiB", idle_pss(client), rounds=2),
    "idle-client-cpu": Figure("%", idle_cpu(client), rounds=2),
    **growth.FIGURES,
    **peers.FIGURES,
}


def take(bench, name):
    figure = FIGURES[name]
    with bench.figure():
        rounds = [figure.take(bench) for _ in range(bench.times(figure.rounds, figure.long_rounds))]
    values = [value for value, _ in rounds]
    floors = [floor for _, floor in rounds if floor is not None]
    floor = statistics.median(floors) if floors else None
    ratios = [value / floor for value, floor in rounds if floor]
    return {
        "name": name,
        "unit": figure.unit,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "floor": floor,
        "ratio": statistics.median(ratios) if ratios else None,
    }


def attempt(bench, name):
    """A peer may be of a version that does not do what it is asked for; None then."""
    try:
        return take(bench, name)
    except Exception as error:
        if name not in peers.FIGURES:
            raise
        print(f"{name:<19} cannot be measured: {error}", flush=True)
        return None


def show(row):
    floor = f"{row['floor']:,.4g}" if row["floor"] is not None else "-"
    ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else "-"
    spread = f"{row['min']:,.4g} … {row['max']:,.4g}"
    print(f"{row['name']:<19} {row['median']:>12,.4g} {spread:>24} {row['unit']:<8} {floor:>10} {ratio:>8}",
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, metavar="BUILD", help="the build folder")
    parser.add_argument("--long", action="store_true", help="more work and more rounds")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; default: all")
    words = parser.parse_args()
    unknown = [name for name in words.names if name not in FIGURES]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    bench = Bench(words.build.resolve(), words.long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: it was told to end"))
    print(f"{'figure':<19} {'median':>12} {'spread':>24} {'unit':<8} {'floor':>10} {'ratio':>8}")
    rows = []
    names = words.names or [name for name, figure in FIGURES.items() if words.long or not figure.long_only]
    missing = [name for name in names if name in peers.missing()]
    with bench.cluster():
        for name in names:
            if name not in missing and (row := attempt(bench, name)):
                rows.append(row)
                show(row)
    if missing:
        print(f"Not found here, and left out: {', '.join(missing)}.")
    (words.build / "bench.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
