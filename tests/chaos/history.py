"""Holds what came out against what was submitted.

    lost        tasks that have no outcome in an ended job, or whose job is gone
    doubled     tasks whose outcome was accepted twice, or that have two rows
    unexpected  outcomes of tasks that there are not, rows that are not ok, ok without a run that ended
    stuck       tasks of jobs that did not go on though workers were there
    orphans     processes of shoal or its tasks that outlived the last worker
"""
import collections
import json
import pathlib
import signal
import time
import typing

STUCK_S = 30  # without anything new
CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS")


class Submitted(typing.NamedTuple):
    total: int
    noted: bool  # its tasks write down their runs
    statuses: tuple  # that its rows may have


class Run(typing.NamedTuple):
    """A line of note.h."""
    what: str  # b: it began, e: it ended
    job: str
    task: int
    attempt: int
    pid: int
    us: int


def read_notes(path):
    try:
        with open(path) as lines:
            for line in lines:
                if line.endswith("\n"):
                    what, job, *numbers = line.split()
                    yield Run(what, job, *map(int, numbers))
    except FileNotFoundError:
        return


def words_of(pid):
    """The command line of a process, for people; "" when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class History:
    def __init__(self, place):
        self.place = place
        self.jobs = {}
        self.strangers = set()  # jobs that are judged by somebody else
        self.doubtful = {}  # by name, what may have been submitted; None: it is a stranger then
        self.wrong = collections.Counter()
        self.examples = []  # a sentence each, of the first

    def submitted(self, job, total, noted=True, statuses=("ok",)):
        self.jobs[job] = Submitted(total, noted, statuses)

    def doubt(self, name, submitted):
        """Who submitted it has read that Redis was lost: it is there once or not at all."""
        self.doubtful[name] = submitted

    def look_for_doubtful(self):
        for name, submitted in self.doubtful.items():
            if (now := self.status(name)) is None:
                continue
            if submitted is None:
                self.strangers.add(now["id"])
            else:
                self.jobs[now["id"]] = submitted

    def forget(self, job):
        del self.jobs[job]

    def tell(self, what, sentence, n=1):
        self.wrong[what] += n
        if len(self.examples) < 20:
            self.examples.append(f"{what}: {sentence}")

    # ---- jobs

    def status(self, job):
        """What `shoal status` says, or None when there is no such job."""
        done = self.place.ask("status", "--json", job, accept=None)
        if done.returncode == 2:
            return None
        if done.returncode != 0:
            raise RuntimeError(f"shoal status: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def has_ended(self, job):
        return self.status(job)["state"] not in ("waiting", "active", "stopping")

    def settle(self, job):
        """Waits until the job has ended, as long as it goes on. Gives its status."""
        before, since = None, time.monotonic()
        while (now := self.status(job)) is not None and now["state"] in ("waiting", "active", "stopping"):
            done = now["ok"], now["failed"], now["cancelled"]
            if done != before:
                before, since = done, time.monotonic()
            elif time.monotonic() - since > STUCK_S:
                self.tell("stuck", f"job {job} stands still: {now}", self.jobs[job].total - sum(done))
                return now
            time.sleep(0.05)
        return now

    def accepted_ranges(self, job):
        """Of tasks, as they stand in front of the packs."""
        key, at, step = f"shoal:{{0}}:results:{job}", 0, 1000
        while entries := self.place.redis.ask("lrange", key, at, at + step - 1):
            for entry in entries:
                for span in entry.split(b"\n", 1)[0].split(b","):
                    yield range(*map(int, span.split(b"-")))
            at += step

    def accepted(self, job):
        """How often an outcome of each task was accepted."""
        counts = collections.Counter()
        for tasks in self.accepted_ranges(job):
            counts.update(tasks)
        return counts

    def rows(self, job):
        return [json.loads(line) for line in self.place.ask("results", "--format", "jsonl", job).splitlines()]

    def judge_job(self, job, runs):
        submitted, now = self.jobs[job], self.settle(job)
        if now is None:
            self.tell("lost", f"job {job} is gone", submitted.total)
            return
        if now["state"] == "cancelled" and "cancelled" not in submitted.statuses:
            self.tell("unexpected", f"job {job} is cancelled: {now}")
        rows = self.rows(job)
        seen = collections.Counter(row["task"] for row in rows)
        for task in range(submitted.total):
            if task not in seen and now["state"] in ("succeeded", "failed"):
                self.tell("lost", f"task {job}/{task} has no row")
        accepted = self.accepted(job)
        for task in {task for counts in (seen, accepted) for task, n in counts.items() if n > 1}:
            self.tell("doubled", f"task {job}/{task} has {seen[task]} rows, {accepted[task]} accepted outcomes")
        for task in (seen.keys() | accepted.keys()) - set(range(submitted.total)):
            self.tell("unexpected", f"there is no task {job}/{task}")
        for row in rows:
            self.judge_row(job, row, submitted, runs)

    def judge_row(self, job, row, submitted, runs):
        """Who is away and adopts its lease again goes on under the attempt that the queue has given it meanwhile."""
        task, attempts = row["task"], range(1, row["attempt"] + 1)
        if row["status"] not in submitted.statuses:
            self.tell("unexpected", f"task {job}/{task} is {row['status']}: {row.get('reason')}")
        elif row["status"] == "ok" and submitted.noted and not any(("e", task, n) in runs for n in attempts):
            self.tell("unexpected", f"attempt {row['attempt']} of {job}/{task} is ok and none has ever ended")

    def judge_strangers(self):
        """A submission that was made twice leaves a job that nobody knows of."""
        for job in self.place.redis.ask("zrange", "shoal:{0}:jobs", 0, -1):
            job = job.decode()
            if job not in self.jobs and job not in self.strangers:
                self.tell("doubled", f"nobody has submitted job {job}")

    # ---- what is left

    def judge_processes(self):
        """The workers are told to end; then everything must be gone, soon."""
        for worker in self.place.workers:
            if worker.end() != 0:
                self.tell("unexpected", f"worker {worker.name} ended with {worker.popen.returncode}")
        for other in self.place.others:
            other.end()
            if -other.popen.returncode in map(signal.Signals.__getitem__, CRASHES):
                self.tell("unexpected", f"{other.popen.args} crashed: {other.popen.returncode}")
        end = time.monotonic() + 10
        while (left := self.place.marked()) and time.monotonic() < end:
            time.sleep(0.02)
        for pid in left:
            self.tell("orphans", f"process {pid} is left: {words_of(pid)}")

    def judge_crashes(self):
        """Storms kill by SIGKILL alone: a worker that ended by another signal, or by a status that is none of its own,
        has crashed, and its keeper has mended it."""
        for log in pathlib.Path(self.place.folder).glob("worker-*.log"):
            for line in log.read_text(errors="replace").splitlines():
                if "the worker was killed" in line and " signal=9 " not in line:
                    self.tell("unexpected", f"{log.name}: {line}")

    def judge_audit(self):
        done = self.place.ask("audit", accept=None)
        if done.returncode != 0:
            self.tell("unexpected", f"audit: {done.stdout.strip() or done.stderr.strip()}")

    def judge(self):
        """All of it; gives a number for each kind of wrong."""
        notes = collections.defaultdict(set)
        self.look_for_doubtful()
        self.settle_all()
        for run in read_notes(self.place.notes):
            if run.job in self.jobs:
                notes[run.job].add((run.what, run.task, run.attempt))
        for job in self.jobs:
            self.judge_job(job, notes[job])
        self.judge_strangers()
        self.judge_audit()
        self.judge_processes()
        self.judge_crashes()
        self.judge_audit()
        return self.wrong

    def settle_all(self):
        for job in self.jobs:
            self.settle(job)

    def tasks(self):
        return sum(job.total for job in self.jobs.values())
