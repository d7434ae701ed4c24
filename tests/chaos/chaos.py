#!/usr/bin/env python3
"""Storms over shoal, and what is left of every task afterwards.

    chaos.py BUILD [--long SHARE] [--seed N] [--jobs N] [STORM...]

Each storm has a home of its own, with a Redis, a fault proxy in front of it, and workers; it does its worst, then the
history is held against what was submitted (history.py). Prints a line per storm as it ends; the same as
BUILD/chaos.json. Exit status 1 when anything was lost, doubled, unexpected, stuck or left behind. Times are told and
decide nothing. Storms mostly wait, so the short forms go as many at a time as there are processors.
"""
import argparse
import functools
import json
import multiprocessing
import os
import pathlib
import random
import signal
import statistics
import sys
import time
import traceback

import failing
import storms_clients
import storms_clocks
import storms_escapes
import storms_failover
import storms_fleet
import storms_full
import storms_network
import storms_redis
import storms_replies
import storms_workers
from place import Place

STORMS = {
    **storms_workers.STORMS,
    **storms_replies.STORMS,
    **storms_escapes.STORMS,
    **storms_network.STORMS,
    **storms_full.STORMS,
    **storms_clients.STORMS,
    **storms_redis.STORMS,
    **storms_failover.STORMS,
    **storms_fleet.STORMS,
    **storms_clocks.STORMS,
}

FAILING = "failing"  # has a place of its own
NAMES = [*STORMS, FAILING]

WRONG = ("lost", "doubled", "orphans", "unexpected", "stuck")


def percentile(numbers, percent):
    """So many percent of the numbers are smaller or equal."""
    if len(numbers) < 2:
        return numbers[0] if numbers else None
    return statistics.quantiles(numbers, n=100, method="inclusive")[percent - 1]


def row_of(place, wrong, seconds):
    p50, p99 = (percentile(place.latencies, percent) for percent in (50, 99))
    return {
        "name": place.name,
        "runs": place.faults,
        "tasks": place.history.tasks(),
        "lost": wrong["lost"],
        "doubled": wrong["doubled"],
        "orphans": wrong["orphans"],
        "p50_ms": p50 and round(p50, 1),
        "p99_ms": p99 and round(p99, 1),
        "seed": place.seed,
        "unexpected": wrong["unexpected"],
        "stuck": wrong["stuck"],
        "seconds": round(seconds, 1),
        **place.more,
    }


def show(row, examples):
    times = [f"{row[key]:,.0f}" if row[key] is not None else "-" for key in ("p50_ms", "p99_ms")]
    line = (f"{row['name']:<16} {row['runs']:>7,} {row['tasks']:>9,} " + " ".join(f"{row[key]:>7}" for key in WRONG) +
            f" {times[0]:>9} {times[1]:>9} {row['seconds']:>7}")
    print("\n    ".join([line, *examples]), flush=True)


def storm(build, name, seed, share, keep):
    """A storm that breaks off has broken a promise too: that what it waited for comes."""
    run, options = STORMS[name]
    begin = time.monotonic()
    with Place(build, name, seed, share, options) as place:
        try:
            run(place)
            place.proxy.tell("heal")
            wrong = place.history.judge()
        except Exception as error:
            wrong = place.history.wrong
            place.history.tell("unexpected", f"the storm broke off: {error!r}")
            traceback.print_exc()
        row = row_of(place, wrong, time.monotonic() - begin)
        show(row, place.history.examples)
        if keep and any(row[key] for key in WRONG):
            place.keep(keep)
        return row


def fail(build, seed, share):
    """A quarter of the paths in the short form."""
    names = [path.name for path in failing.paths()]
    chosen = names if share else random.Random(seed).sample(names, len(names) // 4)
    row, _ = failing.storm(build, share, seed, chosen)
    show(row, ())
    return row


def broken(name, seed, seconds, error):
    """The row of a storm that has none of its own, since it found no place, say. The other storms keep theirs."""
    traceback.print_exc()
    row = {"name": name, "runs": 0, "tasks": 0, **dict.fromkeys(WRONG, 0), "p50_ms": None, "p99_ms": None,
           "seed": seed, "unexpected": 1, "seconds": round(seconds, 1), "why": repr(error)}
    show(row, [f"unexpected: the storm broke off: {error!r}"])
    return row


def run_storm(name, build, seed, share, keep):
    begin = time.monotonic()
    try:
        return fail(build, seed, share) if name == FAILING else storm(build, name, seed, share, keep)
    except Exception as error:
        return broken(name, seed, time.monotonic() - begin, error)


def run_all(names, jobs, run):
    """The rows of storms, in their order, of which so many go on at a time, each in a process of its own."""
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        rows = pool.map(run, names, chunksize=1)
        pool.close()  # or who has nothing to do would be told to end
        pool.join()
        return rows


def within(kind, least, most):
    """What reads a number of that kind and within these bounds."""
    def read(text):
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is no number from {least} to {most}")
        return number
    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, metavar="BUILD", help="the build folder")
    parser.add_argument("--long", type=within(float, 0, 1), default=0, metavar="SHARE",
                        help="1: the full numbers; 0.1: a tenth of them, where that is more than in the short form")
    parser.add_argument("--seed", type=int, help="repeats a storm; a random one unless said")
    parser.add_argument("--jobs", type=within(int, 1, 64), metavar="N",
                        help="so many at a time, 1 to 64; unless said as many as processors, but one with --long")
    parser.add_argument("--keep", metavar="FOLDER", help="where to leave what a storm that found something has left")
    parser.add_argument("names", nargs="*", metavar="STORM", help=f"of {', '.join(NAMES)}; default: all")
    words = parser.parse_intermixed_args()
    unknown = [name for name in words.names if name not in NAMES]
    if unknown:
        parser.error(f"no storm is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("chaos: it was told to end"))
    seed = random.randrange(1 << 31) if words.seed is None else words.seed
    print(f"{'storm':<16} {'faults':>7} {'tasks':>9} " + " ".join(f"{key[:7]:>7}" for key in WRONG) +
          f" {'p50 ms':>9} {'p99 ms':>9} {'s':>7}    seed {seed}", flush=True)
    build = words.build.resolve()
    jobs = words.jobs or (1 if words.long else os.cpu_count())
    rows = run_all(words.names or NAMES, jobs,
                   functools.partial(run_storm, build=build, seed=seed, share=words.long, keep=words.keep))
    (words.build / "chaos.json").write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(row[key] for row in rows for key in WRONG))


if __name__ == "__main__":
    main()
