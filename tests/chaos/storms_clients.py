"""Who submits, who moves the queue, and who cancels: clients and brokers are killed, jobs are cancelled."""
import json
import time

from place import wait_until

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
        if client is not None and lines.kill(client):
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
    kills, total = place.times((16, 12_500), (16, 5_000_000))
    for _ in range(2):
        place.worker("--slots", "4")
    while place.faults < kills:
        place.proxy.tell(f"throttle {total * 40}")
        place.random.choice([submission, submission, stream])(place, total)


STORMS = {
    "client-kills": (client_kills, ()),
}
