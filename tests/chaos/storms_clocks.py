"""Clocks jump by an hour and back: Redis's, or that of a worker, a broker, a client's host."""
import os
import pathlib
import time

from history import read_notes
from meanwhile import judge_healthy, wait_for_commits

HOUR_S = 3600
DELAY_S = 1
TTL = "8s"  # as usual: a jump moves the fleet's clock by three seconds, in which no session may end
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


class Clock:
    """The wall clock of those who are started with its environment; how long ago something was stays true."""

    def __init__(self, place, name):
        self.path = f"{place.folder}/clock-{name}"
        self.set(0)
        libc = FAKETIME.parents[1] / "libc.so.6"  # its malloc: jemalloc asks for the time before there is one
        self.environment = {"LD_PRELOAD": f"{FAKETIME}:{libc}", "FAKETIME_TIMESTAMP_FILE": self.path,
                            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, seconds):
        pathlib.Path(f"{self.path}.new").write_text(f"{seconds:+d}\n")
        os.rename(f"{self.path}.new", self.path)

    def words(self):
        return ["env", *(f"{name}={value}" for name, value in self.environment.items())]


def start(place, clock, begin, *words):
    """What begins now lives by that clock."""
    usual = dict(place.environment)
    place.environment.update(clock.environment)
    process = begin(*words)
    place.environment.clear()
    place.environment.update(usual)
    return process


def retried(place, total):
    """Each task fails once."""
    job = place.shoal("submit", "-p", f"i=1:{total}", "--retries", 5, "--", "sh", "-c", "test $SHOAL_ATTEMPT -eq 2")
    place.history.submitted(job, total, noted=False)
    return job


def judge_retried(place, what, job):
    for row in place.history.rows(job):
        if row["attempt"] != 2:
            place.history.tell("unexpected", f"{what}: task {job}/{row['task']} ended with attempt {row['attempt']}")


def judge_delayed(place, what, job, submitted):
    """Nothing began before its time; the notes' clock does not jump."""
    began = min(run.us for run in read_notes(place.notes) if run.job == job) / 1e6
    if began < submitted + DELAY_S - 0.01:
        place.history.tell("unexpected", f"{what}: job {job} began after {began - submitted:.3f} s of {DELAY_S} s")


def sessions(place):
    return place.redis.ask("zrange", "shoal:{0}:sessions", 0, -1)


def jump(place, clocks, who, seconds):
    """There and back while tasks run, retries and a later start are waited for. A start goes by Redis's clock, so that
    one is for others' jumps. The figure is the time until an outcome is taken."""
    what, before, span = f"{who} {seconds:+d} s", sorted(sessions(place)), place.times(0.5, 30)
    through, again = place.programs(100 + int(span * 320), ms=100), retried(place, 20)  # 160 a second at most
    submitted = time.monotonic()
    later = place.programs(5, "--delay", f"{DELAY_S}s")
    client = start(place, clocks["client"], place.start_shoal, "wait", through)
    wait_for_commits(place)
    for clock in (seconds, 0):
        clocks[who].set(clock)
        begin = time.monotonic()
        wait_for_commits(place)
        place.took(time.monotonic() - begin)
        place.faults += 1
        time.sleep(span)
    for job in (through, again, later):
        place.history.settle(job)
    if client.wait() != 0:
        place.history.tell("unexpected", f"{what}: shoal wait ended with {client.wait()}")
    judge_healthy(place, what, [through, later])
    judge_retried(place, what, again)
    if who != "redis":
        judge_delayed(place, what, later, submitted)
    if sorted(sessions(place)) != before:
        place.history.tell("unexpected", f"{what}: a session ended")


def clocks_jump(place):
    if FAKETIME is None:
        place.skip("there is no libfaketime")
        return
    def worker():
        return place.worker("--slots", "8", ttl=TTL)

    clocks = {name: Clock(place, name) for name in ("redis", "worker", "broker", "client")}
    place.redis.kill()
    place.redis.around = clocks["redis"].words()
    place.redis.start()
    start(place, clocks["worker"], worker)
    worker()
    start(place, clocks["broker"], place.broker)
    place.wait_for_workers(2)
    rounds = [(who, seconds) for who in clocks for seconds in (-HOUR_S, HOUR_S)] * place.times(1, 10)
    place.random.shuffle(rounds)
    for who, seconds in rounds:
        jump(place, clocks, who, seconds)


STORMS = {
    "clocks": (clocks_jump, ()),
}
