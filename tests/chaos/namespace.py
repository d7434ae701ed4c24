"""A network namespace in which a Redis listens on TCP, joined to ours by a pair of interfaces.

Each has a name of its own and a subnet of its own, so that several storms can run at a time. Everything goes when the
namespace goes, and `close` removes that whatever happened before.
"""
import contextlib
import os
import subprocess

NOWHERE = "02:00:00:00:00:01"  # a neighbour that there is not


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True, timeout=20)


def allowed():
    """Whether this host lets us make one. Containers often do not."""
    name = f"shoal-t{os.getpid()}"
    with contextlib.suppress(OSError):
        done = run("ip", "netns", "add", name, check=False)
        run("ip", "netns", "del", name, check=False)
        return done.returncode == 0
    return False


class Namespace:
    def __init__(self, number, another=None):
        """`number`, of 14 bits, tells it from others on this host. With `another` it is another way into that one."""
        tag = f"{number:x}"
        self.another = another
        self.name = another.name if another else f"shoal-{tag}"
        self.ours, self.theirs = f"shc{tag}a", f"shc{tag}b"
        subnet = f"10.{192 + number // 256}.{number % 256}"
        self.here, self.there = f"{subnet}.1", f"{subnet}.2"
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def make(self):
        if not self.another:
            run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.ours, "type", "veth", "peer", "name", self.theirs, "netns", self.name)
        run("ip", "addr", "add", f"{self.here}/24", "dev", self.ours)
        run("ip", "link", "set", self.ours, "up")
        self.inside("ip", "addr", "add", f"{self.there}/24", "dev", self.theirs)
        self.inside("ip", "link", "set", self.theirs, "up")

    def inside(self, *words):
        return run(*self.words(*words))

    def words(self, *words):
        return ["ip", "netns", "exec", self.name, *words]

    def close(self):
        run("ip", "link", "del", self.ours, check=False)
        if not self.another:
            run("ip", "netns", "del", self.name, check=False)

    # ---- ways to be cut off, each with what heals it

    def cut_both(self):
        run("ip", "link", "set", self.ours, "down")

    def heal_both(self):
        run("ip", "link", "set", self.ours, "up")

    def cut_replies(self):
        """What goes back goes to nobody; what comes still arrives."""
        self.inside("ip", "neigh", "replace", self.here, "lladdr", NOWHERE, "dev", self.theirs, "nud", "permanent")

    def heal_replies(self):
        self.inside("ip", "neigh", "del", self.here, "dev", self.theirs)

    def cut_requests(self):
        run("ip", "neigh", "replace", self.there, "lladdr", NOWHERE, "dev", self.ours, "nud", "permanent")

    def heal_requests(self):
        run("ip", "neigh", "del", self.there, "dev", self.ours)

    def cut_route(self):
        """An error at once, where the others are silence."""
        run("ip", "route", "add", "blackhole", f"{self.there}/32")

    def heal_route(self):
        run("ip", "route", "del", "blackhole", f"{self.there}/32")

    WAYS = ("both", "replies", "requests", "route")

    def cut(self, way):
        getattr(self, f"cut_{way}")()

    def heal(self, way):
        getattr(self, f"heal_{way}")()
