"""What goes on while a storm does its worst, and how it sees that workers work: shared by storms."""
import collections
import concurrent.futures
import contextlib
import random
import re
import threading
import time

from history import read_notes
from place import PATIENCE, Refused, wait_until

AWAY = 3  # exit status of a client that has lost Redis


def fleet(place, n, slots, **options):
    for _ in range(n):
        place.worker("--slots", str(slots), **options)
    place.wait_for_workers(n)


def insist(command, *words, **options):
    """What a person does who reads that Redis is away: the same again, with patience."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return command(*words, **options)
        except Refused as why:
            if why.status != AWAY or time.monotonic() > end:
                raise


@contextlib.contextmanager
def clients(place, n, day):
    """So many live their days meanwhile, each one after the other. What one of them meets ends the storm."""
    over = threading.Event()

    def live(seed):
        rng = random.Random(seed)
        while not over.is_set():
            day(place, rng)

    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        lives = [pool.submit(live, place.random.random()) for _ in range(n)]
        try:
            yield
        finally:
            over.set()
        for life in lives:
            life.result()


def sequence(redis):
    """The commit sequence, as this Redis has it."""
    return int(redis.ask("hget", "shoal:{0}:epoch", "seq") or 0)


def commits(place):
    return sequence(place.redis)


def wait_for_commits(place, n=1):
    before = commits(place)
    wait_until(lambda: commits(place) >= before + n, "no outcome is taken")


class Heard:
    """Which workers' outcomes were taken, of these jobs and from now on."""

    PACK = re.compile(rb"\*\d+\r\n\$4\r\npack\r\n\$\d+\r\n([^\r]*)\r\n")

    def __init__(self, place, jobs):
        self.place, self.at, self.names = place, {}, set()
        for job in jobs:
            self.follow(job)

    def follow(self, job):
        key = f"shoal:{{0}}:results:{job}"
        self.at[key] = self.place.redis.ask("llen", key)

    def look(self):
        for key, at in self.at.items():
            entries = self.place.redis.ask("lrange", key, at, -1)
            self.at[key] += len(entries)
            self.names.update(self.PACK.search(entry).group(1).decode() for entry in entries)

    def all(self, names, percent=100):
        self.look()
        return len(self.names & names) * 100 >= len(names) * percent


def judge_healthy(place, what, jobs):
    """Nothing of them was stopped or run again: each began once and ended once."""
    runs = collections.Counter((run.what, run.job, run.task) for run in read_notes(place.notes) if run.job in jobs)
    for job in jobs:
        for task in range(place.history.jobs[job].total):
            began, ended = runs["b", job, task], runs["e", job, task]
            if (began, ended) != (1, 1):
                place.history.tell("unexpected", f"{what}: task {job}/{task} began {began} times and ended "
                                                 f"{ended} times")
