"""Where a storm happens: a home of its own with a Redis, a fault proxy in front of it, workers and brokers.

Everything of shoal has HOME in its environment, which names the place and which tasks inherit; Redis and the proxy do
not. So whatever is left behind is found by that mark and ended by its pid, and nothing is ever ended by its name.
"""
import concurrent.futures
import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from history import History, read_notes

PATIENCE = 120  # seconds without anything new that make a storm give up


def wait_until(condition, what, span=PATIENCE):
    end = time.monotonic() + span
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} in {span} s")
        time.sleep(0.005)
    return value


def now_us():
    """As tasks note it."""
    return time.monotonic_ns() // 1000


def answers(path):
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(path) == 0


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def state_of(pid):
    """A letter as ps has it, or None when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid):
    return state_of(pid) not in (None, "Z", "X")


def children(pid):
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def comm(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


class Refused(RuntimeError):
    """A command of shoal that ended with another status than was asked for."""

    def __init__(self, words, done):
        super().__init__(f"shoal {' '.join(map(str, words))}: exit {done.returncode}: {done.stderr.strip()}")
        self.status = done.returncode


class Connection:
    """To Redis itself, past the proxy: sends a command, gives its answer. Errors are raised."""

    def __init__(self, path, timeout=PATIENCE):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        self.send(*words)
        return self.read()

    def send(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis has left")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest.decode()

    def close(self):
        self.file.close()
        self.socket.close()


STARTER = concurrent.futures.ThreadPoolExecutor(1)  # a process dies with the thread that started it


class Process:
    """One that we have started. It dies with us, and what it prints goes into a file."""

    def __init__(self, words, log, environment, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
        with open(log, "ab") as err:
            self.popen = STARTER.submit(subprocess.Popen, ["setpriv", "--pdeathsig", "KILL", *map(str, words)],
                                        stderr=err, env=environment, start_new_session=True, **options).result()
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def send(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def wait(self, span=PATIENCE):
        return self.popen.wait(span)

    def kill(self):
        self.send(signal.SIGKILL)
        self.wait()

    def pause(self):
        self.send(signal.SIGSTOP)

    def resume(self):
        self.send(signal.SIGCONT)

    def end(self, span=PATIENCE):
        self.resume()
        self.send(signal.SIGTERM)
        return self.wait(span)


class Redis:
    """A server with an append-only file, which may be killed and started again."""

    def __init__(self, folder, options):
        self.folder, self.options = folder, options
        self.path = f"{folder}/redis.sock"
        self.around = []  # words of a command that runs it
        self.process = None

    def start(self):
        words = [*self.around, "redis-server", "--port", 0, "--unixsocket", self.path, "--dir", self.folder,
                 "--save", "",
                 "--appendonly", "yes", "--logfile", "log", *self.options]
        self.process = Process(words, f"{self.folder}/err", {"PATH": os.environ["PATH"]})
        wait_until(self.ready, "redis-server does not answer")

    def ready(self):
        if not self.process.alive():
            raise RuntimeError(f"redis-server has ended, see {self.folder}/log")
        with contextlib.suppress(OSError, RuntimeError):
            return self.ask("ping") == "PONG"

    def ask(self, *words):
        with contextlib.closing(Connection(self.path)) as connection:
            return connection(*words)

    def kill(self):
        self.process.kill()


class Proxy:
    """fault_proxy; `path` is where shoal believes Redis to be."""

    def __init__(self, place):
        self.path = f"{place.folder}/proxy.sock"
        self.lock = threading.Lock()
        self.process = Process([place.build / "tests/chaos/fault_proxy", self.path, place.redis.path, place.seed],
                               f"{place.folder}/proxy.err", {"PATH": os.environ["PATH"]},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: answers(self.path), "the fault proxy does not answer")

    def tell(self, line):
        pipes = self.process.popen
        with self.lock:
            pipes.stdin.write(line + "\n")
            pipes.stdin.flush()
            answer = pipes.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"fault proxy: {line}: {answer or 'it has ended'}")
        return answer

    def counts(self):
        return json.loads(self.tell("counts"))

    def done(self, fault):
        """How often it has done that, by what was called."""
        return {name: count[fault] for name, count in self.counts().items() if fault in count}

    def close(self):
        self.process.kill()
        self.process.popen.stdin.close()
        self.process.popen.stdout.close()


class Worker(Process):
    """A keeper and its worker."""

    def __init__(self, place, name, *options):
        words = [place.build / "shoal-worker", "--name", name, "--directory", f"{place.folder}/tmp",
                 "--spool", f"{place.folder}/spool", "--checkpoints", f"{place.folder}/checkpoints", *options]
        self.name, self.log = name, f"{place.folder}/worker-{name}.log"
        super().__init__(words, self.log, place.environment)

    def worker(self):
        """The pid of the worker, or None when there is none at the moment."""
        return next((pid for pid in reversed(children(self.pid)) if comm(pid) == "shoal-worker"), None)

    def kill_worker(self):
        if (pid := self.worker()) is not None:
            send(pid, signal.SIGKILL)
        return pid

    def kill_host(self):
        """Both, as at once: nobody is left to say goodbye."""
        self.pause()
        self.kill_worker()
        self.kill()

    def said(self):
        return pathlib.Path(self.log).read_text()

    def tasks(self):
        """The processes of its tasks."""
        pid = self.worker()
        return descendants(pid) if pid else []

    def send_all(self, number):
        for pid in (self.pid, self.worker()):
            if pid:
                send(pid, number)


class Gate:
    """What tasks wait for before they end: first attempts for 1, later ones for 2 (note.c)."""

    def __init__(self, path):
        self.path = path
        self.locks = {which: open(f"{path}{which}", "w") for which in (1, 2)}
        for lock in self.locks.values():
            fcntl.flock(lock, fcntl.LOCK_EX)

    def open(self, *which):
        for one in which or list(self.locks):
            self.locks.pop(one).close()


class Place:
    def __init__(self, build, name, seed, share, redis_options=()):
        self.build, self.name, self.seed, self.share = build, name, seed, share
        self.redis_options = redis_options
        self.random = random.Random(f"{seed} {name}")
        self.faults = 0  # that the storm has done
        self.latencies = []  # in ms
        self.more = {}  # figures of this storm alone
        self.workers, self.others = [], []
        self.draining, self.counting = threading.Lock(), threading.Lock()
        self.numbers = itertools.count()
        self.plugin = build / "tests/chaos/note.so"

    def times(self, short, long):
        """How often, how many, or for how long: the short form's number, or the long form's share, if that is more."""
        return max(short, type(short)(long * self.share))

    def skip(self, why):
        """This host does not allow it, which the row tells."""
        self.more["skipped"] = why
        print(f"    {self.name}: skipped, since {why}")

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="shoal-chaos-")
        for name in ("redis", "tmp"):
            os.mkdir(f"{self.folder}/{name}")
        self.notes = f"{self.folder}/notes"
        self.mark = f"HOME={self.folder}"
        self.redis = Redis(f"{self.folder}/redis", self.redis_options)
        self.proxy = None
        self.history = History(self)
        self.environment = {"HOME": self.folder, "PATH": f"{self.build}:{os.environ['PATH']}", "LANG": "C.UTF-8",
                            "XDG_STATE_HOME": f"{self.folder}/state"}
        try:
            self.redis.start()
            self.proxy = Proxy(self)
            self.environment["SHOAL_REDIS"] = f"unix:{self.proxy.path}"
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for process in self.workers + self.others:
            with contextlib.suppress(Exception):
                process.kill()
        self.end_marked()
        if self.proxy:
            self.proxy.close()
        if self.redis.process:
            self.redis.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, folder):
        """Leaves what tells of the storm."""
        shutil.copytree(self.folder, f"{folder}/{self.name}-{self.seed}", dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("*.sock", "tmp", "lines-*"))

    # ---- processes

    def marked(self):
        """Every process that has our HOME in its environment; zombies have none any more."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def end_marked(self):
        """Until none is left, since one may start others meanwhile."""
        for _ in range(100):
            left = self.marked()
            for pid in left:
                send(pid, signal.SIGKILL)
            if not left:
                return
            time.sleep(0.02)

    def worker(self, *options, name=None, ttl="4s"):
        """Starts one; does not wait for it."""
        worker = Worker(self, name or f"w{len(self.workers)}", "--session-ttl", ttl, *options)
        self.workers.append(worker)
        return worker

    def retire(self, worker):
        """Ends it in good order."""
        self.workers.remove(worker)
        if (status := worker.end()) != 0:
            self.history.tell("unexpected", f"worker {worker.name} was told to end and ended with {status}")

    def sessions(self):
        return [json.loads(line) for line in self.ask("workers", "--json").splitlines()]

    def wait_for_workers(self, n):
        wait_until(lambda: len(self.sessions()) >= n, f"there are no {n} workers")

    def broker(self):
        process = Process([self.build / "shoal-broker"], f"{self.folder}/broker.log", self.environment)
        self.others.append(process)
        return process

    # ---- commands

    def shoal(self, *words, accept=(0,), past=False, at=None, timeout=600, **options):
        """What a command prints; `past`: past the proxy, `at`: of another Redis."""
        environment = dict(self.environment)
        if past or at:
            environment["SHOAL_REDIS"] = f"unix:{at or self.redis.path}"
        options = options if "input" in options else {"stdin": subprocess.DEVNULL, **options}
        done = subprocess.run([self.build / "shoal", *map(str, words)], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=timeout, cwd=self.folder,
                              **options)
        if accept is not None and done.returncode not in accept:
            raise Refused(words, done)
        return done if accept is None else done.stdout.strip()

    def ask(self, *words, **options):
        return self.shoal(*words, past=True, **options)

    def start_shoal(self, *words, **options):
        """One that goes on."""
        options = {"stdout": subprocess.PIPE, "text": True, "cwd": self.folder, **options}
        process = Process([self.build / "shoal", *words], f"{self.folder}/shoal.err", self.environment, **options)
        self.others.append(process)
        return process

    # ---- jobs

    def gate(self):
        return Gate(f"{self.folder}/gate-{next(self.numbers)}-")

    def held(self, total, *words, past=False):
        """A job whose tasks all run and go on until its gate is opened. Gives job, runs and gate."""
        gate = self.gate()
        job = self.programs(total, *words, gate=gate, past=past)
        return job, self.wait_for_runs(job, range(total)), gate

    def programs(self, total, *words, ms=0, gate=None, past=False):
        """Submits a sweep of programs that write down their runs. Gives the job."""
        task = [self.build / "tests/chaos/note", self.notes, ms, *([gate.path] if gate else [])]
        job = self.shoal("submit", "-p", f"i=1:{total}", *words, "--", *task, past=past)
        self.history.submitted(job, total)
        return job

    def functions(self, total, *words, ms=0, past=False):
        """The same of functions, whose runs are not written down."""
        job = self.shoal("submit", "--plugin", self.plugin, "--task", "note", "-p",
                         f"i=1:{total}", "-p", f"ms={ms}", *words, past=past)
        self.history.submitted(job, total, noted=False)
        return job

    # ---- runs of programs

    def runs(self, job):
        return [run for run in read_notes(self.notes) if run.job == job]

    def wait_for_runs(self, job, tasks, since=0):
        """Waits until each of the tasks has begun after that time; gives the first run of each task that has."""
        def begun():
            first = {}
            for run in self.runs(job):
                if run.what == "b" and run.us > since:
                    first.setdefault(run.task, run)
            return (first,) if first.keys() >= set(tasks) else None
        return wait_until(begun, f"not all of the tasks of {job} run")[0]

    def wall_behind_us(self):
        """What makes a time of notes of one of the wall clock of Redis."""
        seconds, us = map(int, self.redis.ask("time"))
        return now_us() - (seconds * 1_000_000 + us)

    def due(self, job):
        """Tasks that wait for their next attempt, and when it may begin, as far as the fleet's clock has come."""
        now, wall = map(int, self.redis.ask("hmget", "shoal:{0}:clock", "now", "wall"))
        behind = self.wall_behind_us() + (wall - now) * 1000
        found = {}
        for member in self.redis.ask("zrange", f"shoal:{{0}}:open:{job}", 0, -1):
            lo, hi, *_, label = member.decode().split(":")
            if label.startswith("d"):
                found.update(dict.fromkeys(range(int(lo), int(hi)), int(label[1:]) * 1000 + behind))
        return found

    def took_reruns(self, job, tasks, since):
        """The figure is the time until they run again."""
        runs = self.wait_for_runs(job, tasks, since)
        self.latencies += [(runs[task].us - since) / 1000 for task in tasks]

    def took(self, seconds):
        self.latencies.append(seconds * 1000)
