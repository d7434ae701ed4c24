"""Tasks that do what they can to leave processes behind (escapee.py), and end in every way."""
import pathlib
import signal
import time

from place import send, wait_until

AT_ONCE = 25
GRACE = "200ms"
GONE_S = 10  # a process that is there for longer after its task has survived


def began(pid):
    """When, as the kernel counts, or None when there is no such process or it is a zombie."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


class Attempts:
    """A job of tasks that escape, and the processes that they have told of."""

    def __init__(self, place, end, *words, statuses=("ok",)):
        self.place = place
        self.path = f"{place.folder}/escapees-{place.faults}"
        program = pathlib.Path(__file__).with_name("escapee.py")
        self.job = place.shoal("submit", "-p", f"i=1:{AT_ONCE}", "--grace", GRACE, *words, "--", "python3", program,
                               self.path, end)
        place.history.submitted(self.job, AT_ONCE, noted=False, statuses=statuses)

    def told(self):
        """Task, pid and beginning of each."""
        try:
            return [line.split() for line in pathlib.Path(self.path).read_text().splitlines()]
        except FileNotFoundError:
            return []

    def all_there(self):
        return len({task for task, _, _ in self.told()}) == AT_ONCE

    def wait_until_there(self):
        wait_until(self.all_there, "not all tasks have begun")

    def alive(self):
        return [(task, int(pid)) for task, pid, begin in self.told() if began(pid) == begin]

    def wait_until_gone(self, since):
        try:
            wait_until(lambda: not self.alive(), "processes of tasks are left", GONE_S)
            self.place.took(time.monotonic() - since)
        except TimeoutError:
            self.end_survivors()

    def end_survivors(self):
        for task, pid in self.alive():
            self.place.history.tell("orphans", f"process {pid} of task {self.job}/{task} has survived")
            send(pid, signal.SIGKILL)

    def end(self, since):
        """Waits until nothing of them is left, and until the job has ended, whatever came of it."""
        self.wait_until_gone(since)
        self.place.history.settle(self.job)
        self.place.faults += AT_ONCE
        return self


def normally(place, _):
    attempts = Attempts(place, "exit")
    place.history.settle(attempts.job)
    return attempts.end(time.monotonic())


def by_timeout(place, _):
    attempts = Attempts(place, "stay", "--timeout", "2s", "--retries", "0", statuses=("failed",))
    place.history.settle(attempts.job)
    return attempts.end(time.monotonic())


def by_cancel(place, _):
    attempts = Attempts(place, "stay", statuses=("cancelled",))
    attempts.wait_until_there()
    place.shoal("cancel", attempts.job)
    return attempts.end(time.monotonic())


def by_kill(place, worker):
    """The second attempt of each ends by itself."""
    attempts = Attempts(place, "stay")
    attempts.wait_until_there()
    first = len(attempts.told())
    begin = time.monotonic()
    worker.kill_worker()
    wait_until(lambda: not [pid for _, pid, start in attempts.told()[:first] if began(pid) == start],
               "processes of a killed worker are left", GONE_S)
    place.took(time.monotonic() - begin)
    place.history.settle(attempts.job)
    return attempts.end(time.monotonic())


ENDS = [normally, by_timeout, by_cancel, by_kill]


def escapes(place):
    wanted = place.times(100, 1000)
    worker = place.worker("--slots", str(AT_ONCE))
    done = []
    while place.faults < wanted:
        done += [end(place, worker) for end in place.random.sample(ENDS, len(ENDS))]
    for attempts in done:  # what had been too slow to tell of itself
        attempts.end_survivors()


STORMS = {
    "escapes": (escapes, ()),
}
