"""Runs a Python function for a shoal worker: a runner that stays, standard library only.

    runner.py MODULE:FUNCTION [--folder DIR]        started by a worker (by shoal-host)
    runner.py MODULE:FUNCTION --try [NAME=VALUE...]  one task, for a person

The function gets a task's parameters by name: what is a number in JSON as int or float (5, -0.5, 1e-3;
not 007, 1_000 or nan), the rest as text. It also gets seed, rep, index and attempt, as far as it has
parameters of these names. A line of --from without columns is its first argument.

What it returns is the task's result: a dict becomes columns, None nothing, bytes and text stay as they
are, the rest is written as JSON where it can be. An exception is the task's failure: its traceback is
shown by `shoal show`, behind what the task printed.

The protocol is in worker/README.md.
"""
import argparse
import fcntl
import importlib
import inspect
import io
import json
import mmap
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import traceback

VERSION = 2
SOCKET, SLATE = 3, 4  # descriptors that the worker gives
SLATE_SIZE = 4096
MARK, LIMIT, STOP, ASKED = 0, 8, 16, 24  # offsets on the slate, 64 bits each
GO_ON, STOPPED, TIMED_OUT, WARNED = 0, 1, 2, 3
CONTINUE = 85  # the exit code of a program that asks for the same
REPORT_S = 0.02  # a report is not older than this …
REPORT_BYTES = 256 << 10  # … and not larger, but for one task
TELL_S = 0.1
TEXT_MAX = 2048  # bytes of what a failed task left that are kept: the end
LINE_MAX = 1024  # characters of a line of log or progress
HIDDEN = 200  # descriptors from here on are not in the way of tasks
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
WRITTEN_AS_TEXT = {"datetime", "decimal", "fractions", "pathlib", "uuid"}  # modules of types
OWN = ("seed", "rep", "index", "attempt")


class Stopped(BaseException):
    """Raised in a task that is to end and has never asked should_stop()."""


class Continue(Exception):
    """Raised by a task with a checkpoint that wants to be started again, to go on from there."""


# ---- what a task may ask and tell

class Task:
    """The task that runs: its index, seed, attempt and repetition."""

    def __init__(self, runner, index, attempt, seed, rep):
        self.index, self.attempt, self.seed, self.rep = index, attempt, seed, rep
        self._runner = runner
        self._told = 0.0


_current = None


def task():
    """The task that runs now, or None."""
    return _current


def should_stop():
    """Whether the task is asked to end: cancelled, or its time is over or will be soon (the job's --signal).
    It may still return a result."""
    return _current is not None and _current._runner.asked_to_stop()


def checkpoint():
    """A directory that stays with the task over its attempts, until it has succeeded; None where the job has none."""
    return None if _current is None else _current._runner.checkpoint(_current.index)


def progress(fraction, text=""):
    """How far the task is, 0 to 1, for `shoal status`. Cheap: most calls are not passed on."""
    now = time.monotonic()
    if _current is not None and now - _current._told >= TELL_S:
        _current._told = now
        fraction = float(fraction)
        fraction = min(fraction, 1.0) if fraction > 0 else 0.0  # nor a nan
        _current._runner.tell("progress", _current.index, f"{fraction:.6g}", str(text)[:LINE_MAX])


def log(text):
    """A line for the worker's log."""
    if _current is not None:
        _current._runner.tell("log", _current.index, str(text)[:LINE_MAX])


# ---- records: RESP arrays and strings

def to_bytes(text):
    """UTF-8; bytes that came as surrogates go as they were, what cannot be is a question mark."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def encode(item):
    if isinstance(item, (list, tuple)):
        return b"*%d\r\n" % len(item) + b"".join(map(encode, item))
    if not isinstance(item, bytes):
        item = to_bytes(str(item))
    return b"$%d\r\n%b\r\n" % (len(item), item)


def decode(data, at=0):
    """The item that begins at `at`, and where the next one does."""
    end = data.index(b"\r\n", at)
    n, at_next = int(data[at + 1:end]), end + 2
    if data[at:at + 1] == b"$":
        return data[at_next:at_next + n], at_next + n + 2
    if data[at:at + 1] != b"*":
        raise ValueError("no record")
    items = []
    for _ in range(n):
        item, at_next = decode(data, at_next)
        items.append(item)
    return items, at_next


def decode_all(data):
    at = 0
    while at < len(data):
        item, at = decode(data, at)
        yield item


# ---- parameters, seeds, results

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def _mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def task_seed(job_seed, index):
    """The seed of a task, as in common/id.c."""
    return _mix((_mix((job_seed + GOLDEN) & MASK) + (index + 1) * GOLDEN) & MASK) >> 1


def value_of(text):
    """A number where the text is one in JSON, else the text."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return text
    value = float(text) if match[2] or match[3] else int(text)
    return value if abs(value) != float("inf") else text


def result_of(value):
    if value is None:
        return b""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        return to_bytes(value)
    return to_bytes(json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False))


def plain(value):
    """The same in what JSON has; numpy's numbers and arrays by their own methods."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int, bool, float)):
        return value  # nan and inf are written as NaN and Infinity, and come out as nan and inf
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if type(value).__module__.split(".")[0] in WRITTEN_AS_TEXT:
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no result: return a dict, a list, a number, text or bytes")


def refuse(text):
    """Says what makes no sense, and ends as a command does after wrong usage."""
    print(f"shoal: {text}", file=sys.stderr)
    sys.exit(2)


def is_from(folder, module):
    """Whether that module was loaded from a file below the folder."""
    path = getattr(module, "__file__", None)
    return path is not None and os.path.realpath(path).startswith(os.path.join(folder, ""))


def check_own(found, name, module, folder):
    """Refuses what a worker with a list of what may run does not mean by a function of that module: one of
    another module that it imports, os.system, say."""
    below = os.path.dirname(module.__file__) if is_from(folder, module) else None
    home = sys.modules.get(getattr(found, "__module__", None) or "")
    if below is None or not is_from(below, home):
        refuse(f"'{name}' is not defined in {folder}: this worker was given a list of what may run, with --allow, and "
               "runs only functions of a module in it")


def load(name, folder=None):
    """The function that MODULE:FUNCTION names; with a folder, one of a module in it."""
    module, _, function = name.partition(":")
    if not module or not function:
        refuse(f"'{name}' is no function: write MODULE:FUNCTION")
    sys.path.insert(0, folder or os.getcwd())
    try:
        found = of = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever an import may raise
        traceback.print_exc()
        refuse(f"cannot load '{name}': {type(error).__name__}: {error}")
    if folder:
        check_own(found, name, of, os.path.realpath(folder))
    if not callable(found):
        refuse(f"'{name}' cannot be called")
    if inspect.iscoroutinefunction(found):
        refuse(f"'{name}' is an async function; wrap it in one that calls asyncio.run()")
    return found


class Function:
    """A function, and which of the task's own values it wants."""

    def __init__(self, name, folder=None):
        self.call = load(name, folder)
        try:
            parameters = inspect.signature(self.call).parameters.values()
        except (TypeError, ValueError):
            parameters = ()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self.own = [p.name for p in parameters if p.name in OWN and p.kind in named]

    def __call__(self, arguments, parameters, current):
        for name in self.own:
            parameters.setdefault(name, getattr(current, name))
        return self.call(*arguments, **parameters)


# ---- the runner

class Printed(io.TextIOBase):
    """stdout and stderr: what a task prints is passed on, and its end is kept for when the task fails."""

    def __init__(self, stream):
        self.stream, self.kept = stream, ""

    def write(self, text):
        self.kept = (self.kept + text)[-TEXT_MAX:]
        self.stream.write(text)
        self.stream.flush()
        return len(text)

    def flush(self):
        self.stream.flush()

    def fileno(self):
        return self.stream.fileno()

    def reconfigure(self, **_):
        """It is as it is."""

    buffer = property(lambda self: self.stream.buffer)
    encoding = property(lambda self: self.stream.encoding)
    errors = property(lambda self: self.stream.errors)


class Gathered:
    """What was done and not reported."""

    def __init__(self):
        self.tasks, self.elements, self.work_us, self.outcomes, self.failures = 0, 0, 0, [], []
        self.size = 0

    def add(self, outcome, work_us):
        self.tasks += 1
        self.elements += 1
        self.work_us += work_us
        self.outcomes.append(outcome)
        self.size += len(outcome)


class Runner:
    def __init__(self, function):
        self.function = function
        self.slate = mmap.mmap(SLATE, SLATE_SIZE)
        # A task that closes what it does not know, or opens files, shall not meet it.
        self.socket = socket.socket(fileno=fcntl.fcntl(SOCKET, fcntl.F_DUPFD_CLOEXEC, HIDDEN))
        os.close(SOCKET)
        os.close(SLATE)
        self.printed = sys.stdout = sys.stderr = Printed(sys.stderr)
        self.is_child = False
        os.register_at_fork(after_in_child=self.become_child)
        self.input, self.positions, self.told = bytearray(), 0, 0
        self.spec, self.names, self.repetitions, self.kind = None, [], 1, "none"
        self.interruptible = self.asked = False
        self.job = ""
        self.sending = threading.Lock()
        self.gathering = threading.Lock()
        self.working = threading.Event()
        self.gathered, self.reported, self.peak_kb = Gathered(), 0.0, peak_kb()

    # -- talking

    def send(self, *items):
        self.send_message(encode(items))

    def send_message(self, message):
        with self.sending:
            self.socket.sendall(b"$%d\r\n%b\r\n" % (len(message), message))

    def tell(self, *items):
        self.send(*items)

    def receive(self):
        """The next message, or None when the worker is gone."""
        while True:
            end = self.input.find(b"\r\n")
            size = int(self.input[1:end]) if end > 0 else -1
            if size >= 0 and len(self.input) >= end + 2 + size + 2:
                message = bytes(self.input[end + 2:end + 2 + size])
                del self.input[:end + 2 + size + 2]
                return decode(message)[0]
            chunk = self.socket.recv(1 << 18)
            if not chunk:
                return None
            self.input += chunk

    def field(self, offset):
        return struct.unpack_from("=q", self.slate, offset)[0]

    def write(self, offset, value):
        struct.pack_into("=q", self.slate, offset, value)

    def become_child(self):
        """A task may fork; its child must not go on as a second runner."""
        self.is_child = True

    def asked_to_stop(self):
        self.asked = True
        self.write(ASKED, 1)
        return self.field(STOP) != GO_ON

    def checkpoint(self, index):
        folder = os.environ.get("SHOAL_CHECKPOINTS")
        if not folder or not self.spec.get("checkpoint"):
            return None
        path = os.path.join(folder, self.job)
        os.makedirs(path, 0o700, exist_ok=True)  # the mode is the last one's alone
        path = os.path.join(path, str(index))
        os.makedirs(path, 0o700, exist_ok=True)
        return path

    def interrupt(self, *_):
        if self.interruptible and self.field(STOP) in (STOPPED, TIMED_OUT) and self.field(ASKED) != 1:
            self.interruptible = False
            raise Stopped

    # -- running

    def serve(self):
        signal.signal(signal.SIGTERM, self.interrupt)
        threading.Thread(target=self.report_while_working, daemon=True).start()
        self.send("hello", VERSION, 0)
        while (message := self.receive()) is not None:
            if message[0] == b"spec":
                self.take_spec(json.loads(message[1]))
            elif message[0] == b"run":
                self.run(*message[1:])
            else:
                sys.exit(f"shoal: the worker sent '{message[0]!r}', which this runner does not know")

    def take_spec(self, spec):
        self.spec, self.kind = spec, spec["arguments"]
        self.names = [parameter["name"] for parameter in spec["sweep"]["parameters"]]
        self.repetitions = spec["sweep"].get("repetitions", 1)

    def inputs(self, kind, data):
        """For each task what the function is called with: arguments and parameters."""
        for item in decode_all(data):
            if kind == b"values":
                yield (), {name: value_of(text.decode()) for name, text in zip(self.names, item)}
            elif self.kind == "fields":
                yield (), {name: value_of(value) if isinstance(value, str) else value
                           for name, value in json.loads(item).items()}
            else:
                yield (value_of(item.decode("utf-8", "surrogateescape")),), {}

    def run(self, job, seed, attempt, first, count, kind, data):
        self.job = job.decode()
        seed, attempt, first, count = int(seed), int(attempt), int(first), int(count)
        self.reported = now = time.monotonic()
        shift, self.told, self.positions = self.positions - first, self.positions, self.positions + count
        self.working.set()
        for index, (arguments, parameters) in zip(range(first, first + count), self.inputs(kind, data)):
            self.write(MARK, index + shift)
            if index + shift >= self.field(LIMIT):
                break
            current = Task(self, index, attempt, task_seed(seed, index), index % self.repetitions)
            now = self.run_one(current, arguments, parameters, now)
            self.report_if_due(now)
        self.working.clear()
        self.report(1)

    def report_if_due(self, now):
        gathered = self.gathered
        if gathered.tasks and (now - self.reported >= REPORT_S or gathered.size >= REPORT_BYTES):
            self.report(0)

    def report_while_working(self):
        """What is done does not wait for a task that takes long. Runs in a thread of its own."""
        while True:
            self.working.wait()
            time.sleep(REPORT_S)
            self.report_if_due(time.monotonic())

    def run_one(self, current, arguments, parameters, begun):
        """Calls the function and gathers what came of it. Returns when it ended."""
        global _current
        cpu, text, result, reason = time.process_time(), "", b"", "ok"
        _current = current
        self.printed.kept = ""
        if self.asked:
            self.asked = False
            self.write(ASKED, 0)
        try:
            self.interruptible = True
            result = result_of(self.function(arguments, parameters, current))
            self.interruptible = False
        except Stopped:
            reason, text = "stopped", "it was stopped"
        except Continue:
            self.interruptible = False
            reason, text = "exit", "it raised shoal.Continue, for which its job needs --checkpoint"
            if self.spec.get("checkpoint"):
                reason, text = "continue", ""
        except BaseException as error:  # SystemExit too: the runner stays
            self.interruptible = False
            reason, text = "exit", describe(error)
        if self.is_child:
            os._exit(0 if reason == "ok" else 1)
        _current = None
        stop = self.field(STOP)
        if reason != "ok" and stop == STOPPED:
            reason = "stopped"
        elif reason not in ("ok", "continue") and stop == TIMED_OUT:
            reason = "timeout"
        if reason == "ok" and len(result) > self.spec["result_max"]:
            reason, result = "too-large", b""
            text = "its result is over --max-result; write large data to a file and report the file's name"
        now = time.monotonic()
        wall, code = int((now - begun) * 1e6), {"exit": 1, "continue": CONTINUE}.get(reason, 0)
        outcome = encode([reason, current.attempt, wall, int((time.process_time() - cpu) * 1e6), self.peak_kb,
                          code, result])
        kept = to_bytes(self.printed.kept + text)[-TEXT_MAX:]
        with self.gathering:
            self.gathered.add(outcome, wall)
            if reason != "ok":
                self.gathered.failures.append(encode([current.index, reason, code, wall, kept]))
        return now

    def report(self, over):
        with self.gathering:
            if not over and not self.gathered.tasks:
                return  # the other thread was faster
            gathered, self.gathered, self.reported = self.gathered, Gathered(), time.monotonic()
            self.send_report(gathered, over)

    def send_report(self, gathered, over):
        self.peak_kb = peak_kb()
        failures = b"*%d\r\n" % len(gathered.failures) + b"".join(gathered.failures)
        message = b"*9\r\n" + b"".join(map(encode, (
            "done", self.told, gathered.tasks, gathered.elements, b"".join(gathered.outcomes), gathered.work_us,
            self.peak_kb, over))) + failures
        self.told += gathered.tasks
        self.send_message(message)


def describe(error):
    """The traceback from the task's own function on."""
    trace = error.__traceback__
    while trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def peak_kb():
    """Of this program alone: getrusage() would begin with the peak of the worker."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)


# ---- trying

class Trial:
    """Stands for the worker when a person tries a task."""

    def asked_to_stop(self):
        return False

    def checkpoint(self, _index):
        return os.environ.get("SHOAL_CHECKPOINT")

    def tell(self, kind, _index, *words):
        print(f"{kind}:", *words, file=sys.stderr)


def try_one(function, options):
    global _current
    arguments, parameters = (), {}
    for word in options.parameters:
        name, equals, value = word.partition("=")
        if not equals or (name and not name.isidentifier()):
            refuse(f"'{word}' is no parameter: write NAME=VALUE")
        if name:
            parameters[name] = value_of(value)
        else:
            arguments = (value_of(value),)
    _current = Task(Trial(), options.index, options.attempt, options.seed, options.rep)
    try:
        result = result_of(function(arguments, parameters, _current))
    except Continue:
        sys.exit(CONTINUE)
    except SystemExit as error:
        traceback.print_exc()
        sys.exit(error.code if isinstance(error.code, int) and error.code != 0 else 1)
    if result:
        sys.stdout.buffer.write(result + b"\n")


def main():
    parser = argparse.ArgumentParser(description="Runs a Python function for a shoal worker.")
    parser.add_argument("function", metavar="MODULE:FUNCTION")
    parser.add_argument("--try", action="store_true", dest="tries", help="run one task here and now")
    parser.add_argument("--folder", help="find the module there, and take only a function that is defined there")
    for name, usual in (("index", 0), ("attempt", 1), ("seed", 0), ("rep", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual, help="of that task")
    parser.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    options = parser.parse_intermixed_args()
    # `import shoal` in a task's module is to find this one, with the task that runs in it.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.modules.setdefault("shoal.runner", sys.modules["__main__"])
    function = Function(options.function, options.folder)
    if options.tries:
        try_one(function, options)
        return
    try:
        os.fstat(SOCKET), os.fstat(SLATE)
    except OSError:
        refuse("a worker starts it with a socket and a slate; to try a function by hand, say --try")
    Runner(function).serve()


if __name__ == "__main__":
    main()
