"""Processes that a figure needs beside the cluster. They end with the bench, however that ends."""
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time


def wait_until(condition, what, span=20):
    end = time.monotonic() + span
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} within {span} s")
        time.sleep(0.01)


def answers(address):
    """Whether somebody listens at the path of a unix socket, or at a port of this host."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as peer:
        return peer.connect_ex(address) == 0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def end_group(leader):
    """The leader and what it started: first asked, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            leader.wait(5)


@contextlib.contextmanager
def process(*words, **options):
    """A process group of its own that is silent and ends with the block; the leader also with the bench."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    leader = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, words)], start_new_session=True, **options)
    try:
        yield leader
    finally:
        end_group(leader)


@contextlib.contextmanager
def redis_server():
    """A Redis on a unix socket that keeps what it has as the local cluster's does. Gives the socket's path."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        path = f"{folder}/redis.sock"
        words = ["--port", "0", "--unixsocket", path, "--dir", folder, "--appendonly", "yes",
                 "--appendfsync", "everysec", "--auto-aof-rewrite-min-size", "256mb", "--save", ""]
        with process("redis-server", *words):
            wait_until(lambda: answers(path), "redis-server does not answer")
            yield path
