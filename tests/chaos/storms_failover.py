"""A replica takes the place of Redis, under the same address."""
import contextlib
import os
import socket
import tempfile
import time

from meanwhile import clients, commits, fleet, sequence, wait_for_commits
from place import Redis, wait_until
from storms_redis import Rollbacks


def listen(redis):
    """Replicas come by TCP alone. Gives the port."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with contextlib.suppress(RuntimeError):  # somebody else was faster
            redis.ask("config", "set", "port", port)
            return port


def replication(redis):
    told = redis.ask("info", "replication").decode().splitlines()
    return dict(line.split(":", 1) for line in told if ":" in line)


class Failovers(Rollbacks):
    """What the replica is known to have may not be lost; what came later may be, and is found and named."""

    def __init__(self, place):
        super().__init__(place)
        self.address = place.redis.path
        self.old = None  # the Redis that was, if it lives on

    def replica(self):
        """A new one, which has all that Redis has."""
        replica = Redis(tempfile.mkdtemp(dir=self.place.folder), ["--repl-diskless-sync-delay", "0"])
        replica.start()
        replica.ask("replicaof", "127.0.0.1", listen(self.place.redis))
        wait_until(lambda: replication(replica)["master_link_status"] == "up", "the replica gets nothing")
        return replica

    def catch_up(self, replica):
        """Until the replica has what Redis has now."""
        offset = int(replication(self.place.redis)["master_repl_offset"])
        wait_until(lambda: int(replication(replica)["slave_repl_offset"]) >= offset, "the replica is not in step")

    def shared(self, replica):
        """The jobs that both have."""
        jobs = self.jobs()
        self.catch_up(replica)
        return jobs

    def move(self, replica):
        """Whoever connects from now on finds the replica, which is none any more."""
        replica.ask("replicaof", "no", "one")
        os.symlink(replica.path, f"{self.address}.new")
        os.replace(f"{self.address}.new", self.address)
        replica.path = self.address
        self.place.redis = replica

    # ---- ways: each gives the jobs that cannot be lost, and the commit sequence that was told last

    def in_order(self, replica):
        """Redis takes nothing until the replica has all. It then lives on as a replica without a master: who is still
        connected to it is refused, and has to look at the address again."""
        old = self.place.redis
        old.ask("config", "set", "min-replicas-to-write", 100)
        self.catch_up(replica)
        told = commits(self.place)
        os.rename(self.address, f"{old.folder}/old.sock")
        old.path = f"{old.folder}/old.sock"
        self.move(replica)
        old.ask("replicaof", "127.0.0.1", 1)
        self.old = old
        return self.jobs(), told

    def killed(self, replica):
        """Its last moments were perhaps on their way."""
        jobs, told = self.shared(replica), commits(self.place)
        self.place.redis.kill()
        self.move(replica)
        return jobs, told

    def behind(self, replica):
        """The replica has heard nothing for a while: it looks for Redis where nobody is. One that only stands still has
        the rest in its socket, and reads that before it is told to be none."""
        jobs = self.shared(replica)
        replica.ask("replicaof", "127.0.0.1", 1)
        wait_for_commits(self.place, self.place.random.randint(10, 100))
        told = commits(self.place)
        if (known := sequence(replica)) >= told:
            raise RuntimeError(f"the replica is not behind: it has commit {known}, and {told} was the last")
        self.place.redis.kill()
        self.move(replica)
        return jobs, told

    def fail_over(self, way):
        place = self.place
        wait_for_commits(place)
        if self.old:
            self.old.kill()
            self.old = None
        replica = self.replica()
        safe, told = way(self, replica)
        begin = time.monotonic()
        wait_for_commits(place)
        place.took(time.monotonic() - begin)
        self.find(told)
        self.name_gone(safe)
        place.faults += 1


WAYS = [Failovers.in_order, Failovers.killed, Failovers.behind]


def failovers(place):
    """The figures are the times until an outcome is taken, and until somebody finds what was lost."""
    fleet(place, 3, 4)
    storm = Failovers(place)
    with clients(place, 3, storm.submit_and_wait):
        for n in range(place.times(6, 60)):
            storm.fail_over(WAYS[n % len(WAYS)])
    storm.judge_told()


STORMS = {"failovers": (failovers, ("--repl-diskless-sync-delay", "0"))}
