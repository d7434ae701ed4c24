#!/usr/bin/env python3
"""Prints what gcovr counted, a row for each file and folder: table.py SUMMARY.json

Exit status 1 when too little of all was reached.
"""
import json
import os
import sys

LEAST = {"lines": 90, "branches": 80}  # percent
COUNTS = ("line_covered", "line_total", "branch_covered", "branch_total")


def percent(part, whole):
    return f"{100 * part / whole:6.1f} %" if whole else "        "


def row(name, counts):
    lines, of_lines, branches, of_branches = counts
    print(f"{name:<32} {lines:>6} of {of_lines:>6} {percent(lines, of_lines)}   "
          f"{branches:>6} of {of_branches:>6} {percent(branches, of_branches)}")


def added(rows):
    return [sum(column) for column in zip(*rows)] if rows else [0] * len(COUNTS)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folders = {}
    with open(sys.argv[1]) as summary:
        for file in json.load(summary)["files"]:
            counts = [file[count] for count in COUNTS]
            folders.setdefault(os.path.dirname(file["filename"]), {})[file["filename"]] = counts
    print(f"{'':<32} {'lines':>16} {'':>8}   {'branches':>16}")
    for _, files in sorted(folders.items()):
        for name, counts in sorted(files.items()):
            row(name, counts)
    print()
    for folder, files in sorted(folders.items()):
        row(folder + "/", added(files.values()))
    counts = added([counts for files in folders.values() for counts in files.values()])
    row("all", counts)
    reached = {"lines": 100 * counts[0] / counts[1], "branches": 100 * counts[2] / counts[3]}
    sys.exit("\n".join(f"{reached[what]:.1f} % of the {what} are reached, and not {least} %"
                       for what, least in LEAST.items() if reached[what] < least) or 0)


if __name__ == "__main__":
    main()
