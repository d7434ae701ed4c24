"""Workers, their keepers and their tasks' processes are killed and stopped."""
import signal
import time

from place import is_alive, now_us, wait_until


def fleet(place, n, slots):
    """So many workers, with a number of slots of each's own."""
    for _ in range(n):
        place.worker("--slots", str(place.random.choice(slots)))


def fill(place, total):
    """About so many tasks: small jobs and sweeps, programs and functions, in any order. Gives the last job."""
    kinds = ["programs", "functions", "small"]
    place.random.shuffle(kinds)
    for kind in kinds:
        if kind == "programs":
            job = place.programs(total // 4)
        elif kind == "functions":
            job = place.functions(total // 2, ms=place.random.choice([0, 0, 1]))
        else:
            jobs = [place.programs(1) for _ in range(min(20, total // 4))]
            job = jobs[-1]
    return job


def gone(pids):
    return not any(map(is_alive, pids))


# ---- worker-kills

def replace(place, worker):
    place.workers.remove(worker)
    place.worker("--slots", str(place.random.choice([1, 2, 4, 16, 64])), name=worker.name)


def kill_one(place):
    """A worker, which its keeper starts again; or both, as when the host is lost; or the keeper alone. The figure is
    the time until the tasks' processes are gone."""
    worker = place.random.choice(place.workers)
    how = place.random.choice(["worker", "host", "host", "keeper"])
    pids = worker.tasks()
    begin = time.monotonic()
    if how == "worker":
        worker.kill_worker()
    elif how == "host":
        worker.kill_host()
        replace(place, worker)
    else:
        worker.kill()
        replace(place, worker)
    place.faults += 1
    if how != "keeper" and pids:
        wait_until(lambda: gone(pids), "the tasks of a killed worker are not gone")
        place.took(time.monotonic() - begin)


def worker_kills(place):
    kills, batch = place.times(100, 10_000), place.times(2000, 4000)
    fleet(place, 6, [1, 2, 4, 16, 64])
    job = fill(place, batch)
    while place.faults < kills:
        if place.history.has_ended(job):
            job = fill(place, batch)
        time.sleep(place.random.expovariate(1 / 0.08))
        kill_one(place)
    while place.history.tasks() < kills * 100:
        fill(place, batch * 10)


# ---- crashes, lost-hosts

def begin(place, total):
    """A job whose tasks all run and go on until its gate is opened. Gives job, runs and gate."""
    gate = place.gate()
    job = place.programs(total, gate=gate)
    return job, place.wait_for_runs(job, range(total)), gate


def tasks_of(worker, runs):
    pids = worker.tasks()
    return {task for task, run in runs.items() if run.pid in pids}


def end(place, job, gate):
    gate.open()
    place.history.settle(job)


def crash(place):
    """The keeper starts another worker after 100 ms, but waits for longer when that crashes within a minute too. So
    each has one crash."""
    while len(place.workers) < 2:
        place.worker("--slots", "8", name=f"c{next(place.numbers)}")
    job, runs, gate = begin(place, place.random.randrange(1, 17))
    worker = place.random.choice([worker for worker in place.workers if tasks_of(worker, runs)])
    tasks, since = tasks_of(worker, runs), now_us()
    worker.kill_worker()
    place.took_reruns(job, tasks, since)
    place.faults += 1
    end(place, job, gate)
    place.retire(worker)


def crashes(place):
    """Kills the worker only, of two that have a slot for each task together. The figure is the time until its tasks
    run again, wherever."""
    while place.faults < place.times(25, 1000):
        crash(place)


HOSTS, LOST = 8, 4  # of 8 slots, so that the others have one for each task


def lose_hosts(place):
    """One after the other, within a heartbeat and a half."""
    while len(place.workers) < HOSTS:
        place.worker("--slots", "8", name=f"h{next(place.numbers)}", ttl="8s")
    place.wait_for_workers(HOSTS)
    job, runs, gate = begin(place, 8 * (HOSTS - LOST))
    lost = []
    for worker in place.random.sample(place.workers, LOST):
        time.sleep(place.random.uniform(0, 1))
        tasks = tasks_of(worker, runs)
        lost.append((tasks, now_us()))
        worker.kill_host()
        place.workers.remove(worker)
    for tasks, since in lost:
        place.took_reruns(job, tasks, since)
    place.faults += LOST
    end(place, job, gate)


def lost_hosts(place):
    """Kills workers with their keepers, so that nobody says that they are gone. The figure is the time until their
    tasks run elsewhere, with the default TTL."""
    while place.faults < place.times(LOST, 400):
        lose_hosts(place)


# ---- pauses

def pause_some(place):
    """Half of the workers stand still until their sessions are over, then go on. What they had finished counts unless
    somebody else was faster."""
    paused = place.random.sample(place.workers, len(place.workers) // 2)
    for worker in paused:
        worker.send_all(signal.SIGSTOP)
    names = {worker.name for worker in paused}
    wait_until(lambda: not names & {session["name"] for session in place.sessions()}, "paused workers are still there")
    for worker in paused:
        worker.send_all(signal.SIGCONT)
    place.faults += len(paused)


def pauses(place):
    wanted, batch = place.times(6, 1000), place.times(1000, 4000)
    fleet(place, 6, [1, 2, 4, 16])
    place.wait_for_workers(6)
    job = fill(place, batch)
    while place.faults < wanted:
        if place.history.has_ended(job):
            job = fill(place, batch)
        time.sleep(place.random.expovariate(1 / 0.2))
        pause_some(place)


# ---- upgrades

def upgrades(place):
    """A worker takes its program's place while it works."""
    wanted, batch = place.times(40, 2000), place.times(1000, 4000)
    fleet(place, 4, [1, 4, 16])
    place.wait_for_workers(4)
    job = fill(place, batch)
    while place.faults < wanted:
        if place.history.has_ended(job):
            job = fill(place, batch)
        time.sleep(place.random.expovariate(1 / 0.2))
        place.random.choice(place.workers).send(signal.SIGUSR2)
        place.faults += 1


STORMS = {
    "worker-kills": (worker_kills, ()),
    "crashes": (crashes, ()),
    "lost-hosts": (lost_hosts, ()),
    "pauses": (pauses, ()),
    "upgrades": (upgrades, ()),
}
