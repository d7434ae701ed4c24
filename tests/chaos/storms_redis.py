"""Redis itself ends, forgets, stands still, or refuses."""
import concurrent.futures
import contextlib
import random
import threading
import time

from place import Refused, wait_until

AWAY = 3  # exit status of a client that cannot reach Redis


def fleet(place, n, slots, **options):
    for _ in range(n):
        place.worker("--slots", str(slots), **options)
    place.wait_for_workers(n)


def insist(command, *words, **options):
    """What a person does who reads that Redis is away: the same again."""
    while True:
        try:
            return command(*words, **options)
        except Refused as why:
            if why.status != AWAY:
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


def commits(place):
    """The commit sequence, as Redis has it."""
    return int(place.redis.ask("hget", "shoal:{0}:epoch", "seq") or 0)


def wait_for_commits(place, n=1):
    before = commits(place)
    wait_until(lambda: commits(place) >= before + n, "no outcome is taken")


def again(place):
    """Starts Redis. The figure is the time until it takes an outcome."""
    place.redis.start()
    begin = time.monotonic()
    wait_for_commits(place)
    place.took(time.monotonic() - begin)


# ---- redis-kills

def ordinary(place, rng):
    """A client submits, and waits for what it has submitted."""
    submit, most = rng.choice([(place.programs, 40), (place.functions, 4000), (place.programs, 1)])
    job = insist(submit, rng.randint(1, most), ms=rng.choice([0, 1, 5]))
    insist(place.shoal, "wait", job)


def redis_kills(place):
    fleet(place, 3, 4)
    with clients(place, 4, ordinary):
        for _ in range(place.times(8, 200)):
            time.sleep(place.random.expovariate(1 / 0.3))
            place.redis.kill()
            again(place)
            place.faults += 1


STORMS = {
    "redis-kills": (redis_kills, ("--appendfsync", "always")),
}
