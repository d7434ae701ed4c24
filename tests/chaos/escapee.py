#!/usr/bin/env python3
"""A task that does what it can to leave something behind.

    escapee.py FILE END

Starts processes in ways that are drawn from SHOAL_SEED, then ends (END is exit, or it is not the first attempt) or
stays. What it starts ignores SIGTERM and would stay for ten minutes. Each process, this one too, writes a line into
FILE: the task, its pid, and when it began as the kernel counts; so that it is known again whatever else it hides.
"""
import os
import random
import signal
import sys
import time

STAY_S = 600
BOMB_DEPTH = 5  # 2^5 processes

path, how = sys.argv[1:3]
task = os.environ.get("SHOAL_TASK", sys.argv[-1])


def tell():
    with open("/proc/self/stat") as stat:
        began = stat.read().rsplit(")", 1)[1].split()[19]
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{task} {os.getpid()} {began}\n".encode())
    os.close(fd)


def stay():
    tell()
    time.sleep(STAY_S)
    os._exit(0)


def stubborn():
    """Ignores what it can ignore."""


def leave():
    """Its own session, and the parent that it had is gone."""
    os.setsid()
    if os.fork():
        os._exit(0)


def close():
    """Has no descriptors."""
    os.closerange(0, 256)


def hide():
    """Has no environment. It begins anew, so this comes last."""
    os.execve(sys.executable, [sys.executable, __file__, path, "stay", task], {})


def bomb():
    for _ in range(BOMB_DEPTH):
        os.fork()


def start(ways):
    if os.fork() == 0:
        for way in ways:
            way()
        stay()


def main():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if "SHOAL_TASK" not in os.environ:  # hidden
        stay()
    rng = random.Random(os.environ["SHOAL_SEED"])
    last = rng.choice([[], [hide], [bomb] if rng.random() < 0.3 else []])
    start(rng.sample([stubborn, leave, leave, close], rng.randrange(1, 4)) + last)
    if how == "exit" or os.environ["SHOAL_ATTEMPT"] != "1":
        tell()
        return
    stay()


main()
