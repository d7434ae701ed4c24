"""There is no room: on the disk of Redis, or in its memory."""
import contextlib
import os
import shutil
import subprocess
import time

from place import wait_until

REFUSED = 3  # exit status of a client that Redis refuses
ROOM_KIB, INODES = 4096, 400


@contextlib.contextmanager
def small_disk(place, path):
    """A file system of a few MiB; gives False where none can be mounted."""
    os.makedirs(path, exist_ok=True)
    options = f"size={ROOM_KIB}k,nr_inodes={INODES},mode=0700"
    words = ["mount", "-t", "tmpfs", "-o", options, "shoal-chaos", path]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        place.skip(f"this host does not let us mount: {done.stderr.strip()}")
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", path], check=True)


def fill(path):
    """Until there is no byte left, and no place for another file."""
    os.makedirs(f"{path}/ballast", exist_ok=True)
    with open(f"{path}/ballast/bytes", "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with contextlib.suppress(OSError):
        for n in range(INODES):
            open(f"{path}/ballast/{n}", "w").close()


def empty(path):
    shutil.rmtree(f"{path}/ballast", ignore_errors=True)


def span(place, seconds):
    """The trouble goes on for that long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
    place.faults += 1


def is_refused(place):
    """A submission says that it is not taken, with a sentence; one that is taken counts as another job."""
    words = ["submit", "-p", "i=1:3", "--", "true"]
    done = place.shoal(*words, accept=None, past=True)
    if done.returncode == 0:
        place.history.submitted(done.stdout.strip(), 3, noted=False)
    elif done.returncode != REFUSED or not done.stderr.strip():
        place.history.tell("unexpected", f"a refused submission: exit {done.returncode}: {done.stderr.strip()}")
    return done.returncode != 0


def again(place, job, done):
    """The figure: the time until outcomes are taken again."""
    begin = time.monotonic()
    wait_until(lambda: place.history.status(job)["ok"] > done or place.history.has_ended(job),
               "no worker works again")
    place.took(time.monotonic() - begin)
    place.history.settle(job)


def busy(place):
    """A job that is under way."""
    job = place.programs(200, ms=50, past=True)
    wait_until(lambda: place.history.status(job)["ok"] > 0, "no task has ended")
    return job


def trouble(place, begin, end, seconds):
    job = busy(place)
    begin()
    wait_until(lambda: is_refused(place), "nothing is refused")
    span(place, seconds)
    done = place.history.status(job)["ok"]
    end()
    again(place, job, done)


# ---- Redis

def disk_of_redis(place):
    """Its append-only file cannot be written: it refuses every change (MISCONF). What it has open outlives the
    mount."""
    disk = f"{place.folder}/disk"
    with small_disk(place, disk) as mounted:
        if not mounted:
            return
        place.redis.kill()
        place.redis.options = ["--dir", disk, *place.redis.options]
        place.redis.start()
        place.worker("--slots", "8")
        for _ in range(place.times(2, 40)):
            trouble(place, lambda: fill(disk), lambda: empty(disk), 3)


def memory_of_redis(place):
    """maxmemory below what it has: it refuses whatever takes more (OOM)."""
    place.worker("--slots", "8")
    for _ in range(place.times(2, 60)):
        trouble(place, lambda: place.redis.ask("config", "set", "maxmemory", "1mb"),
                lambda: place.redis.ask("config", "set", "maxmemory", "0"), 2)


# ---- workers

def all_ended(place, job, total):
    return len([run for run in place.runs(job) if run.what == "e"]) == total


def outlast(place, disk):
    """Redis is away, and the disk is full before that or only when some outcomes are on it. What ended counts as soon
    as Redis is back, room or not."""
    jobs = [place.held(4, past=True) for _ in range(2)]
    if place.random.choice([True, False]):
        fill(disk)
    place.redis.kill()
    for job, _, gate in jobs:
        gate.open()
        wait_until(lambda: all_ended(place, job, 4), "tasks do not end without Redis")
        span(place, 2.5)  # what waits for longer than 2 s is spilled
        fill(disk)
    place.redis.start()
    for job, *_ in jobs:
        place.history.settle(job)
    empty(disk)


def cannot_begin(place, disk):
    """There is no room for the directories that tasks need. The figure is the time until tasks run when there is."""
    fill(disk)
    job = place.programs(50, past=True)
    wait_until(lambda: "cannot" in place.workers[-1].said(), "a worker does not say that it has no room")
    span(place, 1)
    done = place.history.status(job)["ok"]
    empty(disk)
    again(place, job, done)


def disk_of_worker(place):
    disk = f"{place.folder}/disk"
    with small_disk(place, disk) as mounted:
        if not mounted:
            return
        os.mkdir(f"{disk}/work")
        for n in range(place.times(2, 40)):
            worker = place.worker("--slots", "8", "--spool", f"{disk}/spool-{n}", "--directory", f"{disk}/work",
                                  "--checkpoints", f"{disk}/checkpoints")
            place.wait_for_workers(1)
            cannot_begin(place, disk)
            outlast(place, disk)
            place.retire(worker)


STORMS = {
    "disk-full": (disk_of_redis, ()),
    "disk-full-worker": (disk_of_worker, ()),
    "memory-full": (memory_of_redis, ()),
}
