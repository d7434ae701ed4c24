"""What is between shoal and Redis fails: the fault proxy cuts replies, garbles, delays, floods and resets."""
import concurrent.futures
import json
import random
import threading
import time


# ---- a day of a client: every command that changes something, each through the proxy

def insist(place, *words, accept=(0,)):
    """What a person does who reads that Redis was lost: the same again."""
    while (done := place.shoal(*words, accept=None)).returncode == 3:
        pass
    if done.returncode not in accept:
        raise RuntimeError(f"shoal {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def check_rows(place, job, total, rows):
    """Rows that a client was given as they came: each task once."""
    tasks = sorted(row["task"] for row in rows)
    if tasks != list(range(total)):
        kind = "doubled" if len(set(tasks)) < len(tasks) else "lost"
        place.history.tell(kind, f"a client was given {len(tasks)} rows of {total} of job {job}")


def sweep(place, rng):
    place.programs(rng.randrange(1, 60))


def functions(place, rng):
    place.functions(rng.randrange(1, 20_000))


def lines(place, rng):
    total = rng.randrange(1, 9000)
    path = f"{place.folder}/lines-{rng.getrandbits(60)}"
    with open(path, "w") as file:
        file.writelines(f"line {i}\n" for i in range(total))
    job = place.shoal("submit", "--from", path, "--plugin", place.plugin, "--task", "note")
    place.history.submitted(job, total, noted=False)


def stream(place, rng):
    """The lines are long enough that the job gives back what was printed, once in a while."""
    total, width = rng.choice([(300, 10), (2000, 10), (4500, 8000)])
    text = "".join(f"{i:0{width}}\n" for i in range(total))
    name = f"stream-{rng.getrandbits(60)}"
    rows = place.shoal("run", "--from", "-", "--plugin", place.plugin, "--task", "note", "--format", "jsonl",
                       "--name", name, input=text)
    check_rows(place, name, total, map(json.loads, rows.splitlines()))
    place.history.strangers.add(place.history.status(name)["id"])


def cancelled(place, rng):
    total = rng.randrange(1, 200)
    job = place.programs(total, ms=20)
    insist(place, "cancel", *rng.choice([[], ["--kill"]]), job)
    insist(place, "wait", job, accept=(0, 1))
    if place.history.status(job)["ok"] < total:
        insist(place, "retry", job, accept=(0, 2))  # 2: it was done, and the answer was lost


def paused(place, rng):
    insist(place, "pause", "default")
    place.programs(rng.randrange(1, 30))
    insist(place, "resume", "default")


def delayed(place, rng):
    place.programs(rng.randrange(1, 30), "--delay", "1s")


def taken(place, rng):
    total = rng.randrange(1, 5000)
    job = place.functions(total)
    insist(place, "wait", job)
    place.history.forget(job)
    rows = place.shoal("results", "--take", "--format", "jsonl", job)
    check_rows(place, job, total, map(json.loads, rows.splitlines()))
    insist(place, "forget", job)


def drained(place, rng):
    """One worker after the other, each by one client at a time."""
    with place.draining:
        worker = place.workers.pop(0)
        insist(place, "drain", worker.name)
        if worker.wait() != 0:
            place.history.tell("unexpected", f"worker {worker.name} was drained and ended with {worker.wait()}")
        place.worker("--slots", str(rng.choice([1, 2, 8])), name=f"d{rng.getrandbits(40)}")


DAY = [sweep, functions, lines, stream, cancelled, paused, delayed, taken, drained]


def client(place, seed, enough, broken):
    rng = random.Random(seed)
    try:
        while not enough() and not broken.is_set():
            rng.choice(DAY)(place, rng)
    except BaseException:
        broken.set()
        raise


SHORT_S = 12  # of each storm of this file


def live(place, clients, enough):
    """Workers, two brokers, and clients with their days, until there is enough or, in the short form, for so long. What
    a client meets ends all."""
    end = time.monotonic() + place.times(SHORT_S, 24 * 3600)
    for _ in range(4):
        place.worker("--slots", str(place.random.choice([1, 2, 8])))
    for _ in range(2):
        place.broker()
    broken = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        days = [pool.submit(client, place, place.random.random(), lambda: enough() or time.monotonic() > end,
                            broken) for _ in range(clients)]
        for day in concurrent.futures.as_completed(days):
            day.result()


def spare_greetings(place, faults):
    """A client that cannot ask its first question says so at once, and has not done anything."""
    for fault in faults:
        for name in ("new/*", "client/client", "client/echo", "client/info"):
            place.proxy.tell(f"rate {fault} 0 {name}")


# ---- cut-replies

# Such that scripts that are called seldom are cut about as often as others; what is set later counts.
CUTS = {"*": 0.01, "worker/blpop": 0.05, "worker/advance": 0.05, "worker/heartbeat": 0.25, "worker/register": 0.25,
        "worker/finish": 0.3, "broker/housekeep": 0.2, "client/submit": 0.2, "client/append": 0.1, "client/close": 0.3,
        "client/cancel": 0.3, "client/retry": 0.3, "client/queue": 0.3, "client/drain": 0.3, "client/acknowledge": 0.2,
        "client/release": 0.2, "client/forget": 0.3}
SCRIPTS = [name for name in CUTS if name not in ("*", "worker/blpop")]


def cut_replies(place):
    cuts = place.times(1000, 10_000)
    for name, share in CUTS.items():
        place.proxy.tell(f"rate cut {share} {name}")
    spare_greetings(place, ["cut"])

    def enough():
        done = place.proxy.done("cut")
        return sum(done.values()) >= cuts and all(done.get(name, 0) > 0 for name in SCRIPTS)

    live(place, 6, enough)
    place.more["cut"] = dict(sorted(place.proxy.done("cut").items()))
    place.more["not cut"] = sorted(set(SCRIPTS) - place.more["cut"].keys())
    place.faults = sum(place.more["cut"].values())


# ---- garbage

GARBAGE = {"cut": 0.005, "delay": 0.01, "flood": 0.001, "garble": 0.01, "half": 0.01, "lose": 0.01, "part": 0.01}


def garbage(place):
    """And now and then all connections are reset, or become slow."""
    wanted = place.times(500, 10_000)
    for fault, share in GARBAGE.items():
        place.proxy.tell(f"rate {fault} {share}")
    spare_greetings(place, GARBAGE)
    for fault in ("flood", "garble"):  # a client drops what is no answer and ends with 3, whatever it asked for
        place.proxy.tell(f"rate {fault} 0 client/*")

    def total():
        return sum(sum(place.proxy.done(fault).values()) for fault in GARBAGE)

    def enough():
        if place.random.random() < 0.1:
            place.proxy.tell(place.random.choice(["reset", "throttle 200000", "throttle 0"]))
        return total() >= wanted

    live(place, 6, enough)
    place.faults = total()


STORMS = {
    "cut-replies": (cut_replies, ()),
    "garbage": (garbage, ()),
}
