"""Who submits, who moves the queue, and who cancels: clients and brokers are killed, jobs are cancelled."""
import contextlib
import json
import time

from place import is_alive, wait_until

# ---- client-kills


class Lines:
    """A file, a task for each of its lines, and what a client was given of it."""

    def __init__(self, place, total):
        self.place, self.total = place, total
        self.name = f"lines-{next(place.numbers)}"
        self.path, self.printed = f"{place.folder}/{self.name}", f"{place.folder}/{self.name}.out"
        with open(self.path, "w") as file:
            file.writelines(f"line {i}\n" for i in range(total))

    def start(self, *words):
        """Of the same name, with the file as stdin, its rows into a file."""
        with open(self.path) as stdin, open(self.printed, "w") as stdout:
            return self.place.start_shoal(*words, stdin=stdin, stdout=stdout)

    def begin(self, command, source):
        output = ["--format", "jsonl"] if command == "run" else []
        return self.start(command, "--name", self.name, "--from", source, *output, "--plugin", self.place.plugin,
                          "--task", "note")

    def again(self, command):
        """As a person goes on: anew when there is no job, or with what it misses. None: it misses nothing."""
        now = self.status()
        if now is None:  # what a dead client has sent may be on its way still
            wait_until(lambda: "name=shoal " not in self.place.redis.ask("client", "list").decode(), "it is connected")
            now = self.status()
        if now is None:
            return self.begin(command, self.path)
        if now["state"] != "waiting":
            return None
        return self.start("submit", "--from", self.path, "--continue", self.name)

    def status(self):
        return self.place.history.status(self.name)

    def kill(self, client):
        """In the middle, or when it is done already; says whether it was the middle."""
        enough = self.place.random.random() * self.total

        def is_there():
            return not client.alive() or (now := self.status()) is not None and now["total"] >= enough

        wait_until(is_there, "a client does not go on")
        killed = client.alive()
        client.kill()
        self.place.others.remove(client)
        self.place.faults += killed
        return killed

    def rows(self):
        """That were printed; the last line may be half of one."""
        with open(self.printed) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def check(self, rows, total):
        """Each task has its own line."""
        for row in rows:
            if row["argument"] != f"line {row['task']}":
                self.place.history.tell("unexpected", f"task {row['task']} of {self.name} has {row['argument']!r}")
        if sorted(row["task"] for row in rows) != list(range(total)):
            self.place.history.tell("lost", f"there are {len(rows)} rows of {total} of {self.name}")


def submission(place, total):
    """Whoever submits a file or goes on with it is killed, up to three times. The figure is the time that going on
    takes."""
    lines = Lines(place, total)
    command = place.random.choice(["submit", "run"])
    begin = time.monotonic()
    client = lines.begin(command, lines.path)
    for _ in range(place.random.choice([1, 2, 3])):
        if client is None or not lines.kill(client):
            break
        begin = time.monotonic()
        client = lines.again(command)
    place.proxy.tell("throttle 0")
    if client is not None and client.wait() != 0:
        place.history.tell("unexpected", f"who submits {lines.name} ended with {client.wait()}")
    place.took(time.monotonic() - begin)
    job = lines.status()["id"]
    place.history.submitted(job, total, noted=False)
    place.history.settle(job)
    lines.check(place.history.rows(job), total)


def stream(place, total):
    """`run --from -` is killed: what it has appended is run, each once, and nothing can go on with it. What it had
    printed may be gone from Redis."""
    lines = Lines(place, total)
    lines.kill(lines.begin("run", "-"))
    place.proxy.tell("throttle 0")
    now = lines.status()
    if now is None:
        return
    place.history.strangers.add(now["id"])

    def is_done():
        now = lines.status()
        return now["ok"] + now["failed"] == now["total"]

    wait_until(is_done, "what a killed client has appended is not run")
    wait_until(lambda: place.shoal("cancel", lines.name, accept=None).returncode in (0, 2), "it is not cancelled")
    now = lines.status()
    rows = {row["task"]: row for row in lines.rows() + place.history.rows(now["id"])}
    lines.check(rows.values(), now["total"])


def client_kills(place):
    """And whoever goes on; streams are large and the way to Redis is narrow, so that there is a middle."""
    kills, total = 16, place.times(25_000, 5_000_000)
    for _ in range(2):
        place.worker("--slots", "4")
    while place.faults < kills:
        place.proxy.tell(f"throttle {total * 40}")
        place.random.choice([submission, submission, stream])(place, total)


# ---- broker-kills

def retried(place, total):
    """Programs whose first attempt fails."""
    note = place.build / "tests/chaos/note"
    job = place.shoal("submit", "-p", f"i=1:{total}", "--retries", "1", "--", "sh", "-c",
                      f"{note} {place.notes} && test $SHOAL_ATTEMPT -gt 1")
    place.history.submitted(job, total)
    return job


def delayed(place, total):
    """Gives the job and when it may start."""
    job = place.programs(total, "--delay", f"{place.random.randrange(200, 800)}ms")
    return job, place.history.status(job)["start_ms"] * 1000 + place.wall_behind_us()


class Brokers:
    """None, some, and some of them stopped."""

    def __init__(self, place):
        self.place, self.running, self.paused = place, [], []

    def start(self):
        self.running.append(self.place.broker())

    def kill(self):
        brokers = self.place.random.choice([some for some in (self.running, self.paused) if some])
        broker = brokers.pop()
        broker.kill()
        self.place.others.remove(broker)

    def pause(self):
        self.paused.append(self.running.pop(0))
        self.paused[-1].pause()

    def resume(self):
        self.running.append(self.paused.pop(0))
        self.running[-1].resume()

    def change(self):
        may = [self.start] if len(self.running) < 3 else []
        may += [self.kill] if self.running or self.paused else []
        may += [self.pause] if self.running else []
        may += [self.resume] if self.paused else []
        self.place.random.choice(may)()
        self.place.faults += 1

    def end(self):
        while self.running or self.paused:
            self.kill()
            self.place.faults += 1


def late(place, brokers):
    """Delayed tasks and retries while brokers change, or while there is none. The figure is how late they begin."""
    none = place.random.random() < 0.4
    if none:
        brokers.end()
    job, start = delayed(place, 4)
    again = retried(place, 4)
    dues = dict.fromkeys(range(4), 0)
    first = place.wait_for_runs(again, range(4))

    def begun():
        dues.update(place.due(again))
        if not none and place.random.random() < 0.06:
            brokers.change()
        runs = [run for run in place.runs(job) + place.runs(again) if run.what == "b" and
                (run.job == job or run.attempt == 2)]
        return runs if len(runs) == 8 else None

    for run in wait_until(begun, "delayed tasks do not start"):
        may = start if run.job == job else max(dues[run.task], first[run.task].us)
        place.took(max(0, run.us - may) / 1e6)


def broker_kills(place):
    """Only heartbeats of workers are left to keep the queue moving, when there is no broker."""
    brokers = Brokers(place)
    for _ in range(2):
        place.worker("--slots", "8")
    while place.faults < place.times(40, 2000):
        late(place, brokers)


# ---- cancels

GRACE_S = 0.3
STAY = 'echo $$ >> "$0"; exec sleep 600'
IGNORE = f"trap '' TERM; {STAY}"
PROGRAMS = {  # what each does, the processes that it tells of, and whether it needs its grace
    "ends": (STAY, 1, False),
    "ignores": (IGNORE, 1, True),
    "forks": (f'for i in 1 2 3; do setsid sh -c "$1" "$0" & done; {STAY}', 4, False),
}


def cancel(place, kind):
    """The figure is the time from the command until the last process is gone, beyond the grace where it is needed."""
    program, processes, needs_grace = PROGRAMS[kind]
    total = place.random.randrange(1, 9)
    told = f"{place.folder}/pids-{next(place.numbers)}"
    job = place.shoal("submit", "-p", f"i=1:{total}", "--grace", f"{GRACE_S}s", "--", "sh", "-c", program, told,
                      IGNORE)
    place.history.submitted(job, total, noted=False, statuses=("cancelled",))
    wait_until(lambda: len(numbers(told)) == total * processes, "not all processes are there")
    begin = time.monotonic()
    place.shoal("cancel", job)
    wait_until(lambda: not any(map(is_alive, numbers(told))), "processes of a cancelled job are left")
    place.took(time.monotonic() - begin - (GRACE_S if needs_grace else 0))
    place.history.settle(job)
    place.faults += 1


def numbers(path):
    with contextlib.suppress(FileNotFoundError), open(path) as file:
        return [int(line) for line in file if line.endswith("\n")]
    return []


def cancels(place):
    """Of programs that end at once, that ignore SIGTERM, and that leave processes in other sessions which ignore it."""
    for _ in range(2):
        place.worker("--slots", "8")
    while place.faults < place.times(6, 1000):
        for kind in place.random.sample(sorted(PROGRAMS), len(PROGRAMS)):
            cancel(place, kind)


STORMS = {
    "broker-kills": (broker_kills, ()),
    "cancels": (cancels, ()),
    "client-kills": (client_kills, ()),
}
