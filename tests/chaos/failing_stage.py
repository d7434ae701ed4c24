"""Where a program of shoal meets a fault (tests/support/failing_plugin.c): a home, a namespace of a Redis, what came of
the run, and complaints about it that hold for every program."""
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

LIMIT = 40         # seconds of a run: a client waits 10 for each answer
PATIENCE = 4       # seconds for one that may wait for a Redis which it can never reach
KILLED = 1         # its exit status, by us
STUCK = 15         # a queue with work and free slots stands still for 10 at most
HEAD, FRAME, FRAMES = struct.Struct("QQQQ240s32sQ"), struct.Struct("96sQ"), 24

# The last error of dlopen() that the C library keeps for the thread, and LeakSanitizer's own lack of memory.
LOOKS_LOST = re.compile(r"\b__dlerror\b|LeakSanitizer: CHECK failed: .*pthread_getattr_np")


# ---- what the fault reports

class Report:
    """How often it could have happened, how often it did, and where first."""

    def __init__(self, path):
        data = path.read_bytes() if path.exists() else b""
        self.counted = self.fired = self.ended = self.n_open = 0
        self.frames, self.sites = [], []
        if not data:
            return
        self.counted, self.fired, self.ended, self.n_open, of, name, n = HEAD.unpack_from(data)
        self.open = of.rstrip(b"\0").decode(errors="replace")
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

    def is_in_openssl(self):
        """Whether it was called by OpenSSL."""
        outside = (module for module, _ in self.frames if not re.search(r"/failing\.so|/libc\.so", module))
        return re.search(r"/lib(crypto|ssl)\.", next(outside, "")) is not None


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


def variables_of(build, home, fault, meant):
    """By which a program meets its fault, and tells in files of what it has not freed when it ends."""
    return {"LD_PRELOAD": f"{build}/tests/support/failing.so:liblsan.so.0", "FAILING": str(fault), "FAILING_IN": meant,
            "FAILING_REPORT": f"{home}/report",
            "LSAN_OPTIONS": f"log_path={home}/leak:exitcode=0:fast_unwind_on_malloc=0:handle_segv=0:handle_abort=0:"
                            "handle_sigbus=0:handle_sigfpe=0:handle_sigill=0"}


def wait_until(condition, span=STUCK):
    """Whether it comes true."""
    end = time.monotonic() + span
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class OwnRedis:
    """One that is killed and comes back, and has all that it said to have."""

    options = ()

    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "redis.sock"
        folder.mkdir()
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        words = ["setpriv", "--pdeathsig", "KILL", "redis-server", "--port", "0", "--unixsocket", self.socket, "--dir",
                 self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning",
                 *self.options]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers)

    def answers(self):
        done = subprocess.run(["redis-cli", "-s", self.socket, "ping"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False)
        return done.stdout == "PONG\n"

    def kill(self):
        self.process.kill()
        self.process.wait()


class TlsRedis(OwnRedis):
    """One that is also reached by TLS, with a certificate of its own."""

    def __init__(self, folder):
        self.port = free_port()
        self.certificate, key = folder.parent / "redis.pem", folder.parent / "redis.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", self.certificate, "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True,
                       stderr=subprocess.DEVNULL)
        self.options = ("--bind", "127.0.0.1", "--tls-port", str(self.port), "--tls-cert-file", self.certificate,
                        "--tls-key-file", key, "--tls-auth-clients", "no")
        super().__init__(folder)


class ListeningCluster:
    """A local one that lets workers of other hosts join."""

    def __init__(self, folder, clean):
        (folder / "tmp").mkdir(parents=True)
        self.env = {**clean, **at(folder)}
        del self.env["SHOAL_REDIS"], self.env["SHOAL_NAMESPACE"]
        told = subprocess.run(["shoal", "up", "--json", "--listen", "127.0.0.1:0"], env=self.env, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.token = json.loads(told.stdout)["token"]

    def kill(self):
        subprocess.run(["shoal", "down"], env=self.env, check=False, stderr=subprocess.DEVNULL)


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
        self.trust = ()  # what a worker is told, of whose jobs it runs
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

    def start(self, home, fault, program, *words, meant=None, variables=(), stdin=os.devnull):
        env = {**self.clean, **at(home), **dict(variables)}
        if fault is not None:
            env |= variables_of(self.build, home, fault, meant or program)
        with open(home / "out", "w+b") as out, open(home / "err", "w+b") as err, open(stdin, "rb") as from_file:
            leash = ["setpriv", "--pdeathsig", "KILL"]  # whatever ends this one
            return subprocess.Popen([*leash, program, *map(str, words)], env=env, cwd=home, stdin=from_file,
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

    def start_shoal_worker(self, home, fault, *words, meant=None):
        return self.start(home, fault, "shoal-worker", "--session-ttl", "4s", *self.trust, *words, meant=meant)

    def start_worker(self, *words):
        """A worker without a fault, for whatever is left to do."""
        home = self.folder / f"worker{next(self.numbers)}"
        (home / "tmp").mkdir(parents=True)
        process = self.start_shoal_worker(home, None, "--slots", "2", *words)
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


def kill_both(keeper):
    """The keeper and its worker, as at once."""
    children = pathlib.Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
    keeper.send_signal(signal.SIGSTOP)
    for pid in map(int, children.read_text().split()):
        os.kill(pid, signal.SIGKILL)
    keeper.kill()
    keeper.wait()


# ---- complaints

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


def is_of_openssl(leak):
    """Whether what is lost is a thing of its insides, which no caller has seen: calls that failed forget some."""
    frames = re.findall(r"#\d+ \S+(?: in)? (.*)", leak)
    inner = [frame for frame in frames if not re.match("__interceptor_|CRYPTO_", frame)][:2]
    return all("/libcrypto." in frame or "/libssl." in frame for frame in inner)


def leaks_in(text, report):
    """What LeakSanitizer tells: how much, and where it was allocated."""
    leaks = [part for part in text.split("\n\n") if part.startswith("Direct leak")] or [text]
    leaks = [leak for leak in leaks if not LOOKS_LOST.search(leak)]
    if report.fired > 1 or report.fired and report.is_in_openssl():
        leaks = [leak for leak in leaks if not is_of_openssl(leak)]
    lines = [re.sub(r"#\d+ \S+(?: in)?", "<", " ".join(leak.split())) for leak in leaks]
    return [f"leaks memory: {line[:900]}" for line in lines]


def leaked(run, home, left_open):
    """Complaints about memory that nobody can reach any more, or else descriptors beside so many that are left open."""
    texts = [path.read_text(errors="replace") for path in home.glob("leak.*")]
    complaints = [complaint for text in texts for complaint in leaks_in(text, run.report)]
    ends_well = run.report.ended == 1  # who fails leaves it to the kernel
    if not texts and ends_well and left_open not in (None, run.report.n_open):
        complaints.append(f"leaks descriptors, and ends with these:{run.report.open}")
    return complaints
