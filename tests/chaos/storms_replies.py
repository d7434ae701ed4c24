"""What is between shoal and Redis fails: the fault proxy cuts replies, garbles, delays, floods and resets."""
import concurrent.futures
import contextlib
import json
import random
import subprocess
import threading
import time

from history import Submitted
from meanwhile import AWAY, insist
from place import Refused, wait_until

# ---- a day of a client: every command that changes something, each through the proxy

def attempt(place, *words, accept=(0, AWAY), **options):
    done = place.shoal(*words, accept=None, **options)
    if done.returncode not in accept:
        raise Refused(words, done)
    return done


def submit(place, rng, kind, total, *words, **options):
    """Programs or functions; again, under another name, when Redis was lost."""
    while True:
        name = f"day-{rng.getrandbits(60)}"
        try:
            return kind(total, "--name", name, *words, **options)
        except Refused as refused:
            if refused.status != AWAY:
                raise
            place.history.doubt(name, Submitted(total, kind == place.programs, ("ok",)))


def give_up(place, name):
    """Lines that have not all been submitted since Redis was lost."""
    place.history.doubt(name, None)
    insist(place.shoal, "cancel", name, accept=(0, 2))


def read_rows(text):
    """The last line may be half of one."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def check_rows(place, job, total, rows):
    """Rows that a client was given as they came: each task once."""
    tasks = sorted(row["task"] for row in rows)
    if tasks != list(range(total)):
        kind = "doubled" if len(set(tasks)) < len(tasks) else "lost"
        place.history.tell(kind, f"a client was given {len(tasks)} rows of {total} of job {job}")


def sweep(place, rng):
    submit(place, rng, place.programs, rng.randrange(1, 60))


def functions(place, rng):
    submit(place, rng, place.functions, rng.randrange(1, 5000))


def lines(place, rng):
    total = rng.randrange(1, 6000)
    name = f"lines-{rng.getrandbits(60)}"
    path = f"{place.folder}/{name}"
    with open(path, "w") as file:
        file.writelines(f"line {i}\n" for i in range(total))
    done = attempt(place, "submit", "--name", name, "--from", path, "--plugin", place.plugin, "--task", "note")
    if done.returncode == AWAY:
        give_up(place, name)
    else:
        place.history.submitted(done.stdout.strip(), total, noted=False)


def stream(place, rng, total=1000, width=10):
    text = "".join(f"{i:0{width}}\n" for i in range(total))
    name = f"stream-{rng.getrandbits(60)}"
    done = attempt(place, "run", "--from", "-", "--plugin", place.plugin, "--task", "note", "--format", "jsonl",
                   "--name", name, input=text)
    if done.returncode == AWAY:
        give_up(place, name)
    else:
        check_rows(place, name, total, read_rows(done.stdout))
        place.history.strangers.add(place.history.status(name)["id"])


def long_lines(place, rng):
    """So long that the job gives back what was printed."""
    stream(place, rng, total=3000, width=16_000)


def cancelled(place, rng):
    total = rng.randrange(1, 200)
    job = submit(place, rng, place.programs, total, ms=20)
    insist(place.shoal, "cancel", *rng.choice([[], ["--kill"]]), job)
    insist(place.shoal, "wait", job, accept=(0, 1))
    if place.history.status(job)["ok"] < total:
        insist(place.shoal, "retry", job, accept=(0, 2))  # 2: it was done, and the answer was lost


def paused(place, rng):
    insist(place.shoal, "pause", "default")
    submit(place, rng, place.programs, rng.randrange(1, 30))
    insist(place.shoal, "resume", "default")


def delayed(place, rng):
    submit(place, rng, place.programs, rng.randrange(1, 30), "--delay", "1s")


def taken(place, rng):
    """What was printed and not acknowledged, since Redis was lost, is printed again."""
    total = rng.randrange(1, 2000)
    job = submit(place, rng, place.functions, total)
    insist(place.shoal, "wait", job)
    place.history.forget(job)
    words = ["results", "--take", "--format", "jsonl", job]
    done = attempt(place, *words)
    rows = read_rows(done.stdout)
    while done.returncode == AWAY:
        done = attempt(place, *words)
        rows = {row["task"]: row for row in [*rows, *read_rows(done.stdout)]}.values()
    check_rows(place, job, total, rows)
    insist(place.shoal, "forget", job, accept=(0, 2))


def drain(place, worker):
    """Told again, since a session that is over meanwhile takes the word with it."""
    def is_there():
        return not worker.alive() or worker.name in {session["name"] for session in place.sessions()}

    while worker.alive():
        wait_until(is_there, "a worker is not there")
        insist(place.shoal, "drain", worker.name, accept=(0, 2))  # 2: it was told, and has left
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(5)


def drained(place, rng):
    """One worker after the other, each by one client at a time."""
    with place.draining:
        worker = place.workers.pop(0)
        drain(place, worker)
        if worker.wait() != 0:
            place.history.tell("unexpected", f"worker {worker.name} was drained and ended with {worker.wait()}")
        place.worker("--slots", str(rng.choice([1, 2, 8])), name=f"d{rng.getrandbits(40)}")


DAY = [sweep, functions, lines, stream, cancelled, paused, delayed, taken, drained, long_lines]


def client(place, seed, first, ended):
    """With something else than the others first."""
    rng = random.Random(seed)
    try:
        first(place, rng)
        while not ended.is_set():
            rng.choice(DAY)(place, rng)
    except BaseException:
        ended.set()
        raise


SHORT_S = 14  # of each storm of this file


def live(place, enough):
    """Workers, two brokers, and a client for each thing that clients do, until there is enough or, in the short form,
    for so long; then all heals. What a client meets ends all."""
    end = time.monotonic() + place.times(SHORT_S, 24 * 3600)
    for _ in range(4):
        place.worker("--slots", str(place.random.choice([1, 2, 8])))
    for _ in range(2):
        place.broker()
    ended = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(len(DAY)) as pool:
        days = [pool.submit(client, place, place.random.random(), first, ended) for first in DAY]
        while not ended.wait(0.1) and not enough() and time.monotonic() < end:
            pass
        ended.set()
        place.proxy.tell("heal")
        for day in concurrent.futures.as_completed(days):
            day.result()


def spare_greetings(place, faults):
    """A client that cannot ask its first question says so at once, and has not done anything."""
    for fault in faults:
        for name in ("new/*", "client/client", "client/echo", "client/info"):
            place.proxy.tell(f"rate {fault} 0 {name}")


# ---- cut-replies

# Such that scripts that are called seldom are cut about as often as others; what is set later counts.
CUTS = {"*": 0.01, "worker/blpop": 0.1, "worker/advance": 0.1, "worker/heartbeat": 0.4, "worker/register": 0.3,
        "worker/finish": 0.5, "broker/housekeep": 0.3, "client/submit": 0.3, "client/append": 0.03, "client/close": 0.4,
        "client/cancel": 0.4, "client/retry": 0.4, "client/queue": 0.4, "client/drain": 0.7, "client/acknowledge": 0.3,
        "client/release": 0.4, "client/forget": 0.4}
SCRIPTS = [name for name in CUTS if name not in ("*", "worker/blpop")]


def cut_replies(place):
    cuts = place.times(500, 10_000)
    for name, share in CUTS.items():
        place.proxy.tell(f"rate cut {share} {name}")
    spare_greetings(place, ["cut"])

    def enough():
        done = place.proxy.done("cut")
        return sum(done.values()) >= cuts and all(done.get(name, 0) > 0 for name in SCRIPTS)

    live(place, enough)
    place.more["cut"] = dict(sorted(place.proxy.done("cut").items()))
    place.more["not_cut"] = sorted(set(SCRIPTS) - place.more["cut"].keys())
    place.faults = sum(place.more["cut"].values())


# ---- garbage

# Of what is lost nobody hears for the 10 s of a deadline.
GARBAGE = {"cut": 0.01, "delay": 0.02, "flood": 0.002, "garble": 0.02, "half": 0.02, "lose": 0.001, "part": 0.001}


def garbage(place):
    """And now and then all connections are reset, or become slow."""
    wanted = place.times(300, 10_000)
    for fault, share in GARBAGE.items():
        place.proxy.tell(f"rate {fault} {share}")
    spare_greetings(place, GARBAGE)
    for fault in ("flood", "garble"):  # a client drops what is no answer and ends with 3, whatever it asked for
        place.proxy.tell(f"rate {fault} 0 client/*")

    def total():
        return sum(sum(place.proxy.done(fault).values()) for fault in GARBAGE)

    def enough():
        if place.random.random() < 0.03:
            place.proxy.tell(place.random.choice(["reset", "throttle 2000000", "throttle 0"]))
        return total() >= wanted

    live(place, enough)
    place.faults = total()


STORMS = {
    "cut-replies": (cut_replies, ()),
    "garbage": (garbage, ()),
}
