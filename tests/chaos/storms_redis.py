"""Redis itself ends, forgets, stands still, or refuses."""
import concurrent.futures
import contextlib
import operator
import os
import pathlib
import shutil
import tempfile
import threading
import time

from history import read_notes
from meanwhile import Heard, clients, commits, fleet, insist, judge_healthy, wait_for_commits
from place import Connection, Redis, Refused, wait_until

UNKNOWN, LATE = 2, 4  # exit status of a client: there is no such job, its time is over


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
    insist(place.shoal, "wait", "--timeout", "60s", job, accept=(0, LATE))  # who is late is judged in the end


def redis_kills(place):
    fleet(place, 3, 4)
    with clients(place, 4, ordinary):
        for _ in range(place.times(8, 200)):
            time.sleep(place.random.expovariate(1 / 0.3))
            place.redis.kill()
            again(place)
            place.faults += 1
    expect_no_loss(place)


def expect_no_loss(place):
    """Workers would send again what Redis had taken and lost, so that in the end nothing were missing."""
    rollbacks = place.redis.ask("hget", "shoal:{0}:epoch", "rollbacks") or "0"
    if rollbacks != "0":
        place.history.tell("lost", f"Redis lost what it had acknowledged: {rollbacks} times")


# ---- what Redis writes

class Files:
    """The append-only file of a Redis: what its manifest names."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "appendonlydir"

    def tail(self):
        """The file that grows."""
        lines = (self.path / "appendonly.aof.manifest").read_text().splitlines()
        return self.path / next(line.split()[1] for line in lines if line.endswith("type i"))

    def size(self):
        return self.tail().stat().st_size

    def cut(self, size):
        os.truncate(self.tail(), size)

    def copy(self, folder):
        shutil.copytree(self.path, f"{folder}/appendonlydir")
        return Files(folder)

    def replace(self, other):
        shutil.rmtree(self.path)
        shutil.copytree(other.path, self.path)


# ---- rollbacks

TORN = 300  # bytes at the end of a file


def persistence(redis, *names):
    """These numbers, as INFO tells them."""
    told = dict(line.split(":") for line in redis.ask("info", "persistence").decode().splitlines() if ":" in line)
    return [int(told[name]) for name in names]


class Moment:
    """What there was, and a copy of Redis's files in which all of that is."""

    def __init__(self, place, jobs):
        self.jobs, self.files = jobs, Files(place.redis.folder)
        wait_until(lambda: not any(persistence(place.redis, "aof_buffer_length", "aof_rewrite_in_progress",
                                               "aof_rewrite_scheduled")), "Redis does not write what it has")
        self.commits = commits(place)
        self.tail, self.size = self.files.tail(), self.files.size()
        self.copy = self.files.copy(tempfile.mkdtemp(dir=place.folder))

    def come_back(self, rng):
        """As it was then; or the file ends anywhere behind that, in the middle of a word perhaps; or its last word is
        torn."""
        how = rng.choice(["restored", "cut", "torn"])
        if how == "restored" or self.files.tail() != self.tail:
            self.files.replace(self.copy)
        else:
            least, most = self.size, self.files.size()
            self.files.cut(rng.randint(least if how == "cut" else max(least, most - TORN), most))


def start_of(place):
    """The commit sequence that Redis knew when it started, from which the first outcome after that leaps, and the
    highest that was found to be lost."""
    leaps = place.redis.ask("hget", "shoal:{0}:epoch", "leaps")
    began, _, seen = map(int, leaps.split()[0].split(b":"))
    return began, seen


class Rollbacks:
    """Clients hold `submitting` until it is noted what they have submitted."""

    def __init__(self, place):
        self.place = place
        self.submitting = threading.Lock()
        self.gone = self.lost = self.torn = 0

    def submit_and_wait(self, place, rng):
        """A client that hears that its job is gone must hear which."""
        with self.submitting:
            submit, most = rng.choice([(place.programs, 60), (place.functions, 4000), (place.programs, 1)])
            job = insist(submit, rng.randint(1, most), ms=rng.choice([1, 5, 20]))
        try:
            insist(place.shoal, "wait", "--timeout", "60s", job, accept=(0, LATE))
        except Refused as why:
            if why.status != UNKNOWN or job not in str(why):
                raise

    def renew(self, tail):
        """A file that ended in the middle of a transaction is made anew, since Redis goes on behind that."""
        log = pathlib.Path(self.place.redis.folder, "log").read_text()
        was_torn = self.torn < (torn := log.count("Truncating the AOF"))
        self.torn = torn
        try:
            wait_until(lambda: not was_torn or Files(self.place.redis.folder).tail() != tail,
                       "Redis's file is torn", 20)
        except TimeoutError as why:
            self.place.history.tell("unexpected", str(why))

    def jobs(self):
        with self.submitting:
            return set(self.place.history.jobs)

    def name_gone(self, safe):
        """What was submitted after these jobs may be gone, and whoever asks for it is told."""
        for job in self.jobs() - safe:
            done = self.place.ask("results", job, accept=None)
            if done.returncode == UNKNOWN:
                self.place.history.forget(job)
                self.gone += 1
                if job not in done.stderr:
                    self.place.history.tell("unexpected", f"job {job} is gone: {done.stderr.strip()}")

    def find(self, told):
        """Each worker may miss one answer, and sends that outcome again; whoever saw one that is lost finds it. The
        figure is the time until then."""
        begin = time.monotonic()
        wait_for_commits(self.place)
        lost = max(0, told - start_of(self.place)[0])
        self.lost += lost
        if lost > len(self.place.workers):
            try:
                wait_until(lambda: operator.lt(*start_of(self.place)), "nobody finds", 20)
                self.place.took(time.monotonic() - begin)
            except TimeoutError:
                self.place.history.tell("unexpected", f"nobody has found that {lost} commits are lost")

    def roll_back(self):
        place, rng = self.place, self.place.random
        wait_for_commits(place)
        moment = Moment(place, self.jobs())
        wanted = moment.commits + rng.randint(10, 100)
        wait_until(lambda: commits(place) >= wanted, "no outcomes are taken")
        told = commits(place)
        place.redis.kill()
        moment.come_back(rng)
        place.redis.options = ["--appendfsync", rng.choice(["everysec", "no"])]
        place.redis.start()
        tail = Files(place.redis.folder).tail()
        self.find(told)
        self.renew(tail)
        self.name_gone(moment.jobs)
        place.faults += 1

    def judge_told(self):
        """Whoever looks after the queue is told of what was found."""
        place = self.place
        place.history.settle_all()
        found = int(place.redis.ask("hget", "shoal:{0}:epoch", "rollbacks") or 0)
        place.more.update({"found": found, "lost commits": self.lost, "jobs gone": self.gone})
        for words in ("audit", "doctor"):
            if found and f"lost its last moments {found} time" not in place.ask(words, accept=(0, 1)):
                place.history.tell("unexpected", f"shoal {words} does not tell of {found} rollbacks")


def rollbacks(place):
    fleet(place, 3, 4)
    storm = Rollbacks(place)
    with clients(place, 3, storm.submit_and_wait):
        for _ in range(place.times(6, 200)):
            storm.roll_back()
    storm.judge_told()


# ---- aof-prefix

LAST = 4096  # bytes of the file


def cancelled(place, rng):
    """A client thinks better of it, twice."""
    total = rng.randint(1, 100)
    job = insist(place.programs, total, ms=20)
    insist(place.shoal, "cancel", *rng.choice([[], ["--kill"]]), job)
    insist(place.shoal, "wait", "--timeout", "60s", job, accept=(0, 1, LATE))
    insist(place.shoal, "retry", job, accept=(0, UNKNOWN))  # it was all done, or the answer was lost


def changing(place, rng):
    rng.choice([ordinary, ordinary, cancelled])(place, rng)


def load_prefix(place, files, size):
    """A Redis that finds so much of its file is whole. The figure is the time until that is proved."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        files.copy(folder).cut(size)
        redis = Redis(folder, [])
        try:
            redis.start()
            done = place.shoal("audit", at=redis.path, accept=None)
            if done.returncode != 0:
                place.history.tell("unexpected", f"cut at {size}: {done.stdout.strip() or done.stderr.strip()}")
        except RuntimeError as why:
            place.history.tell("unexpected", f"cut at {size}: {why}")
        finally:
            redis.kill()
    place.took(time.monotonic() - begin)


def aof_prefix(place):
    """Redis is killed under load, and started again; of what it had written every prefix is loaded elsewhere."""
    fleet(place, 3, 4)
    for _ in range(4):
        with clients(place, 4, changing):
            wait_for_commits(place, place.random.randint(50, 150))
            place.redis.kill()
            files = Files(place.redis.folder).copy(tempfile.mkdtemp(dir=place.folder))
            place.redis.start()
        most = files.size()
        cuts = range(max(0, most - LAST), most)
        cuts = place.random.sample(cuts, min(place.times(64, 4096), len(cuts)))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda size, files=files: load_prefix(place, files, size), cuts))
        place.faults += len(cuts)


# ---- outages

def killed(place, span):
    place.redis.kill()
    time.sleep(span)
    place.redis.start()


def stopped(place, span):
    place.redis.process.pause()
    time.sleep(span)
    place.redis.process.resume()


def loading(place, span):
    """It takes that long for its file."""
    place.redis.kill()
    commands = Files(place.redis.folder).tail().read_bytes().count(b"\n*")
    place.redis.options = ["--key-load-delay", int(span * 1e6 / commands)]
    place.redis.start()
    place.redis.options = []


def busy(place, span):
    with contextlib.closing(Connection(place.redis.path)) as connection:
        connection.send("eval", "while true do end", 0)
        time.sleep(span)
        place.redis.ask("script", "kill")
        with contextlib.suppress(RuntimeError):
            connection.read()  # it says that it was killed


def refusing(place, span, *settings):
    """It refuses changes as long as it is set so."""
    for name, value, _ in settings:
        place.redis.ask("config", "set", name, value)
    time.sleep(span)
    for name, _, usual in settings:
        place.redis.ask("config", "set", name, usual)


def without_replicas(place, span):
    refusing(place, span, ("min-replicas-to-write", 1, 0))


def replica(place, span):
    """Of nobody, after a failover that went wrong: it can be read."""
    place.redis.ask("replicaof", "127.0.0.1", 1)
    time.sleep(span)
    place.redis.ask("replicaof", "no", "one")


def without_master(place, span):
    """And here it cannot."""
    place.redis.ask("config", "set", "replica-serve-stale-data", "no")
    replica(place, span)
    place.redis.ask("config", "set", "replica-serve-stale-data", "yes")


OUTAGES = [killed, stopped, loading, busy, without_replicas, replica, without_master]


def outage(place, way, span):
    """Some tasks run for all of it, others come and go. The figure is the time until every worker works again."""
    through = place.programs(3, ms=int(span * 1000) + 500)
    jobs = [through, place.programs(int(9 * (span + 0.5) / 0.2), ms=200)]
    wait_until(lambda: sum(run.job == through for run in read_notes(place.notes)) == 3, "a task has not begun")
    way(place, span)
    begin = time.monotonic()
    heard = Heard(place, jobs)

    def all_work():
        """There is always some work, for who comes back late."""
        if place.history.has_ended(jobs[-1]):
            jobs.append(place.programs(20, ms=200))
            heard.follow(jobs[-1])
        return heard.all({worker.name for worker in place.workers})

    wait_until(all_work, f"not all workers work ({way.__name__})")
    place.took(time.monotonic() - begin)
    place.more.setdefault("again_ms", []).append([way.__name__, span, round(place.latencies[-1])])
    for job in jobs:
        place.history.settle(job)
    judge_healthy(place, way.__name__, jobs)
    place.faults += 1


def outages(place):
    place.redis.ask("config", "set", "busy-reply-threshold", 100)
    fleet(place, 3, 4, ttl="8s")
    rounds = [(way, place.times(1, 90)) for way in OUTAGES] + [
        (way, place.times(0, 900)) for way in (killed, stopped) if place.share]
    place.random.shuffle(rounds)
    for way, span in rounds:
        outage(place, way, span)


# ---- script-flush

def flush_scripts(place):
    """All that Redis was taught; shoal's moves are functions."""
    place.redis.ask("script", "flush")
    place.redis.ask("function", "flush", place.random.choice(["sync", "async"]))
    place.faults += 1


def script_flush(place):
    """The figure is the time from one until an outcome is taken, which is asked now and then."""
    fleet(place, 3, 4)
    with clients(place, 4, changing):
        for _ in range(place.times(20, 1000)):
            for _ in range(9):
                time.sleep(place.random.expovariate(1 / 0.02))
                flush_scripts(place)
            begin = time.monotonic()
            flush_scripts(place)
            wait_for_commits(place)
            place.took(time.monotonic() - begin)


STORMS = {
    "redis-kills": (redis_kills, ("--appendfsync", "always")),
    "rollbacks": (rollbacks, ("--appendfsync", "everysec")),
    "aof-prefix": (aof_prefix, ()),
    "outages": (outages, ()),
    "script-flush": (script_flush, ()),
}
