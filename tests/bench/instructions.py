#!/usr/bin/env python3
"""Counts the instructions of the hot loops, and holds them against those in the file `instructions`.

    instructions.py BUILD CC FLAGS [--accept]

Fails when a loop needs over 5 % more than it did. The counts are of one compiler, its flags and one libc; with others
it only tells.
"""
import argparse
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

KEPT = pathlib.Path(__file__).with_name("instructions")
MADE_BY = "# Instructions for each task or element, by callgrind, as compiled by: "
TOLERANCE = 0.05
FEW, MANY = 8192, 40_960  # whole batches; the difference leaves out beginning and end


def collected(program, loop, n):
    """The instructions of the whole program, without the processes that it starts."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={folder}/%p",
                 program, loop, str(n)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
            if process.wait(60) != 0:
                sys.exit(f"instructions: hot_loops {loop} {n} failed")
        return int(re.search(r"Collected : (\d+)", pathlib.Path(folder, str(process.pid)).read_text())[1])


def count(program, loop):
    return (collected(program, loop, MANY) - collected(program, loop, FEW)) / (MANY - FEW)


def maker(compiler, flags):
    """What made the program."""
    version = subprocess.run([*compiler.split(), "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return f"{version.splitlines()[0]}, {flags}, {' '.join(platform.libc_ver())}, {platform.machine()}"


def read_kept():
    """Who made them, and the counts."""
    if not KEPT.exists():
        return "nobody", {}
    first, *rows = KEPT.read_text().splitlines()
    return first.removeprefix(MADE_BY), {name: float(number) for name, number in map(str.split, rows)}


def verdict(now, before):
    if before is None:
        return "new"
    change = now / before - 1
    word = "worse" if change > TOLERANCE else "better" if change < -TOLERANCE else ""
    return f"{change:+.1%} {word}".rstrip()


def tell(verdicts, made_by, now_by):
    """What it means; the exit status."""
    worse = [name for name, text in verdicts.items() if text.endswith("worse")]
    if made_by != now_by:
        print(f"The kept counts are of another compiler, flags or libc ({made_by}), so nothing is wrong with these "
              f"({now_by}). 'make instructions ACCEPT=1' keeps them.")
    elif worse:
        print(f"More instructions than before: {', '.join(worse)}. If that is the price of something, "
              "'make instructions ACCEPT=1' keeps the new counts; commit tests/bench/instructions with the change.")
        return 1
    elif any(text.endswith(("better", "new")) for text in verdicts.values()):
        print("Some are better or new: 'make instructions ACCEPT=1' keeps them.")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, metavar="BUILD", help="the build folder")
    parser.add_argument("compiler", metavar="CC", help="what the build was made with")
    parser.add_argument("flags", metavar="FLAGS", help="and how")
    parser.add_argument("--accept", action="store_true", help="keep what is counted")
    words = parser.parse_args()
    program = words.build.resolve() / "tests/bench/hot_loops"
    loops = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    made_by, kept = read_kept()
    now_by = maker(words.compiler, words.flags)
    counts, verdicts = {}, {}
    for loop in loops:
        counts[loop] = count(program, loop)
        verdicts[loop] = verdict(counts[loop], kept.get(loop))
        print(f"{loop:<16} {counts[loop]:>9,.1f}  {verdicts[loop]}", flush=True)
    if words.accept:
        KEPT.write_text(f"{MADE_BY}{now_by}\n" + "".join(f"{name} {n:.1f}\n" for name, n in counts.items()))
        print(f"Kept in {KEPT.name}.")
        return 0
    return tell(verdicts, made_by, now_by)


if __name__ == "__main__":
    sys.exit(main())
