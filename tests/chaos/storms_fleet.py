"""A crowd of workers that loses Redis at once, and a fleet that works for long."""
import os
import pathlib
import statistics
import time

from meanwhile import Heard, clients, fleet, insist, judge_healthy
from place import children, state_of, wait_until

# ---- crowd

def end_all(place):
    """All at once, where the judge ends one after the other."""
    for worker in place.workers:
        worker.popen.terminate()
    for worker in place.workers:
        if worker.wait() != 0:
            place.history.tell("unexpected", f"worker {worker.name} ended with {worker.popen.returncode}")


def lines(place):
    """That each worker has logged so far."""
    return [pathlib.Path(f"{place.folder}/worker-{worker.name}.log").read_text().count("\n")
            for worker in place.workers]


def crowd(place):
    """Redis is killed and comes back. The figure is the time until so many workers had an outcome taken again; each may
    say that Redis is away, a line in ten seconds, that it is back, and that it registered."""
    size, away, ms = place.times(100, 1000), place.times(3, 5), place.times(1500, 5000)
    for _ in range(size):
        place.worker("--slots", "1", ttl="8s")
    wait_until(lambda: int(place.redis.ask("zcard", "shoal:{0}:sessions")) == size, "not all workers are there")
    job = place.programs(5 * size, ms=ms)
    names = {worker.name for worker in place.workers}
    heard = Heard(place, [job])
    wait_until(lambda: heard.all(names), "not all workers work")
    before, since = lines(place), time.monotonic()
    place.redis.kill()
    time.sleep(away)
    place.redis.start()
    begin, heard = time.monotonic(), Heard(place, [job])
    for percent in (50, 99, 100):
        wait_until(lambda share=percent: heard.all(names, share), f"{percent} % of the workers do not work again")
        place.more[f"again_{percent}_ms"] = round((time.monotonic() - begin) * 1000)
        if percent == 99:
            place.took(time.monotonic() - begin)
    said = [now - then for then, now in zip(before, lines(place))]
    may = 4 + int((time.monotonic() - since) / 10)
    place.more["lines_most"] = max(said)
    place.history.settle(job)
    for worker, count in zip(place.workers, said):
        if count > may:
            place.history.tell("unexpected", f"worker {worker.name} logged {count} lines")
    place.faults += 1
    judge_healthy(place, "crowd", [job])
    end_all(place)


# ---- soak

def use(place, rng):
    """A client that takes what it has submitted, and leaves nothing behind."""
    submit, most = rng.choice([(place.programs, 40), (place.functions, 20_000), (place.programs, 1)])
    job = insist(submit, rng.randint(1, most))
    insist(place.shoal, "wait", job)
    total = place.history.jobs[job].total
    if (ok := place.history.status(job)["ok"]) != total:
        place.history.tell("lost", f"job {job} has {ok} outcomes of {total}")
    if (n := sum(map(len, place.history.accepted_ranges(job)))) > total:
        place.history.tell("doubled", f"job {job} of {total} has {n} accepted outcomes")
    insist(place.shoal, "forget", job)
    place.history.forget(job)
    with place.counting:
        place.more["tasks"] += total


def pss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no Pss")


def sample(place, broker):
    """What each holds, by name of what it is."""
    daemons = {"broker": broker.pid}
    for worker in place.workers:
        daemons |= {f"{worker.name} keeper": worker.pid, f"{worker.name} worker": worker.worker()}
    found = {}
    for name, pid in daemons.items():
        found[f"{name}: KiB"] = pss_kib(pid)
        found[f"{name}: descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
        found[f"{name}: zombies"] = sum(state_of(child) == "Z" for child in children(pid))
    found["files"] = sum(len(files) for _, _, files in os.walk(f"{place.folder}/tmp"))
    memory = place.redis.ask("info", "memory").decode()
    found["redis: KiB"] = int(memory.split("used_memory:")[1].split()[0]) // 1024
    return found


# What a third may have more than another: a share, and a number.
MARGINS = {"KiB": (0.15, 1024), "descriptors": (0, 16), "zombies": (0, 1), "files": (0, 16)}
MARGINS_BRIEF = {**MARGINS, "KiB": (0, 8192)}  # within a minute, memory still warms up


def judge_flat(place, samples, margins):
    """Behind the warm-up, which is a quarter, the last third has no more than the first."""
    samples = samples[len(samples) // 4:]
    third = len(samples) // 3
    for name in samples[0]:
        first, last = (statistics.median(one[name] for one in some) for some in (samples[:third], samples[-third:]))
        share, more = margins[name.split(": ")[-1]]
        place.more.setdefault("flat", {})[name] = [first, last]
        if last > first * (1 + share) + more:
            place.history.tell("unexpected", f"{name}: {first} has become {last}")


def soak(place):
    """SOAK_S in the environment says for how many seconds."""
    span = float(os.environ.get("SOAK_S", place.times(10, 1200)))
    place.more["tasks"] = 0
    fleet(place, 2, 4)
    broker = place.broker()
    samples, end = [], time.monotonic() + span
    with clients(place, 6, use):
        while time.monotonic() < end:
            samples.append(sample(place, broker))
            time.sleep(span / 60)
    judge_flat(place, samples, MARGINS_BRIEF if span < 60 else MARGINS)


STORMS = {
    "crowd": (crowd, ()),
    "soak": (soak, ()),
}
