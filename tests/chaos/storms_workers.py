"""Workers, their keepers and their tasks' processes are killed and stopped."""
import json
import signal
import time

from place import comm, is_alive, now_us, send, wait_until

SESSION_S = 4  # the least that a worker takes


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


TASKS_A_KILL = 100


def ended(place):
    """Tasks that have, of all jobs."""
    return sum(int(n or 0) for n in place.redis.ask("hmget", "shoal:{0}:queue:default", "ok", "failed", "cancelled"))


def worker_kills(place):
    """A kill after so many tasks at the earliest, and so many for each kill that is to come: the last kill meets the
    last tasks."""
    kills, batch = place.times(60, 10_000), place.times(2000, 4000)
    fleet(place, 6, [1, 2, 4, 16, 64])
    while place.faults < kills:
        waiting = min(batch, (kills - place.faults) * TASKS_A_KILL)
        if place.history.tasks() - ended(place) < waiting // 10:
            fill(place, waiting)
        time.sleep(place.random.expovariate(1 / 0.08))
        wait_until(lambda: ended(place) >= place.faults * TASKS_A_KILL, "no tasks end")
        kill_one(place)
    place.more["after_the_last_kill"] = place.history.tasks() - ended(place)


# ---- crashes, lost-hosts

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
    job, runs, gate = place.held(place.random.randrange(1, 17))
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
    job, runs, gate = place.held(8 * (HOSTS - LOST))
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


# ---- child-kills

def kill_some(place):
    """Half of the tasks of a job. The figure is the time until they run again, beyond the delay of the retry."""
    job, runs, gate = place.held(12, "--retries", "10")
    tasks = place.random.sample(sorted(runs), 6)
    since = now_us()
    for task in tasks:
        send(runs[task].pid, signal.SIGKILL)
    delays = {}

    def all_again():
        delays.update(place.due(job))
        return {run.task for run in place.runs(job) if run.us > since} >= set(tasks)

    wait_until(all_again, "killed tasks do not run again")
    for task, run in place.wait_for_runs(job, tasks, since).items():
        place.took(max(0, run.us - max(since, delays.get(task, since))) / 1e6)
        check_reason(place, job, task)
    place.faults += len(tasks)
    end(place, job, gate)


def check_reason(place, job, task):
    attempts = json.loads(place.ask("show", "--json", job, task))["attempts"]
    if [(one["reason"], one["code"]) for one in attempts] != [("signal", signal.SIGKILL)]:
        place.history.tell("unexpected", f"task {job}/{task} was killed once, and has had {attempts}")


def runners(place):
    return [pid for worker in place.workers for pid in worker.tasks() if comm(pid) == "shoal-host"]


def stop_children(place):
    """Programs and a runner of functions; sends them on when a session would be over. Their workers do not mind."""
    job, runs, gate = place.held(4)
    stopped = [run.pid for run in runs.values()] + runners(place)[:1]
    sessions = {session["session"] for session in place.sessions()}
    for pid in stopped:
        send(pid, signal.SIGSTOP)
    end_s = time.monotonic() + 1.5 * SESSION_S
    while time.monotonic() < end_s:
        kill_some(place)
        for pid in place.random.sample(sorted(set(runners(place)) - set(stopped)), 1):
            send(pid, signal.SIGKILL)
            place.faults += 1
    if {session["session"] for session in place.sessions()} != sessions:
        place.history.tell("unexpected", "a session has ended with a task that was stopped")
    for pid in stopped:
        send(pid, signal.SIGCONT)
    place.faults += len(stopped)
    end(place, job, gate)
    if [run for run in place.runs(job) if run.attempt != 1]:
        place.history.tell("unexpected", f"tasks of {job} were stopped and run again")


def child_kills(place):
    """Of programs and of runners of functions, whose tasks are retried. A broker looks when; without one it is the
    heartbeats, every two seconds."""
    place.broker()
    for _ in range(2):
        place.worker("--slots", "16")
    place.wait_for_workers(2)
    functions = place.functions(1000, "--retries", "1000", "--max-running", "8", ms=20)
    while place.faults < place.times(40, 10_000):
        if place.history.has_ended(functions):
            functions = place.functions(1000, "--retries", "1000", "--max-running", "8", ms=20)
        wait_until(lambda: len(runners(place)) > 1, "no functions run")
        stop_children(place)


# ---- late-results

def pause_late(place):
    """Two workers of four are paused until their sessions are over; meanwhile their tasks end. What then counts: of
    one job nobody else can have finished a task, of another all are finished, of a third that is chance. The figure is
    the time until what was late counts."""
    late, raced, gone_by = jobs = [place.held(5) for _ in range(3)]
    paused = place.random.sample(place.workers, 2)
    tasks = [set().union(*(tasks_of(worker, runs) for worker in paused)) for _, runs, _ in jobs]
    since = now_us()
    for worker in paused:
        worker.send_all(signal.SIGSTOP)
    for job, _, gate in jobs:
        gate.open(1)
    for (job, _, _), of_paused in zip(jobs, tasks):
        place.wait_for_runs(job, of_paused, since)  # by others
    gone_by[2].open(2)
    place.history.settle(gone_by[0])
    if tasks[0] and place.history.has_ended(late[0]):
        place.history.tell("unexpected", f"job {late[0]} has ended without those who have finished its tasks")
    raced[2].open(2)
    resumed = time.monotonic()
    for worker in paused:
        worker.send_all(signal.SIGCONT)
    place.history.settle(late[0])
    place.took(time.monotonic() - resumed)
    late[2].open(2)
    place.history.settle(raced[0])
    place.faults += len(paused)
    check_attempts(place, late[0], range(5), 1)
    check_attempts(place, gone_by[0], tasks[2], 2)


def check_attempts(place, job, tasks, attempt):
    for row in place.history.rows(job):
        if row["task"] in tasks and row["attempt"] != attempt:
            place.history.tell("lost", f"attempt {attempt} of {job}/{row['task']} was finished first, and "
                               f"{row['attempt']} counts")


def late_results(place):
    for _ in range(4):
        place.worker("--slots", "8")
    while place.faults < place.times(4, 1000):
        place.wait_for_workers(4)
        pause_late(place)


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

def times_upgraded(worker):
    return worker.said().count(" message=upgraded ")


def upgrade(place):
    """One or two at a time. The figure is the time until a worker says that it goes on."""
    chosen = place.random.sample(place.workers, place.random.choice([1, 2]))
    before = [times_upgraded(worker) for worker in chosen]
    begin = time.monotonic()
    for worker in chosen:
        worker.send(signal.SIGUSR2)
    for worker, n in zip(chosen, before):
        wait_until(lambda: times_upgraded(worker) > n, f"worker {worker.name} is not upgraded")
        place.took(time.monotonic() - begin)
    place.faults += len(chosen)


def upgrades(place):
    """A worker takes its program's place while it works."""
    wanted, batch = place.times(25, 2000), place.times(1000, 4000)
    fleet(place, 4, [1, 4, 16])
    place.wait_for_workers(4)
    job = fill(place, batch)
    while place.faults < wanted:
        if place.history.has_ended(job):
            job = fill(place, batch)
        time.sleep(place.random.expovariate(1 / 0.2))
        upgrade(place)


STORMS = {
    "worker-kills": (worker_kills, ()),
    "crashes": (crashes, ()),
    "lost-hosts": (lost_hosts, ()),
    "child-kills": (child_kills, ()),
    "late-results": (late_results, ()),
    "pauses": (pauses, ()),
    "upgrades": (upgrades, ()),
}
