#!/usr/bin/env python3
"""Which statements of the Lua scripts ran: Redis has no debug hooks for us, so a copy of the scripts says it.

    scripts.py instrument SOURCE DESTINATION   copies broker/embed.sh, keys.* and scripts/*.lua; in the copy each
                                               statement is told to Redis's log before its first run
    scripts.py report DESTINATION LOGS         a table of the scripts; exit status 1 when a statement never ran

A statement is named "script:line:column" of the original. What one line holds behind `then`, `else`, `do` or
`function (…)` counts as a statement of its own, so a branch that is never taken is seen though its line ran.
"""
import pathlib
import re
import sys

MARK = "shoal-ran "
# `ran` is a local of the whole library. Only the first time is told, by each server for itself.
TELL = ("local told = {} local function ran(what) if not told[what] then told[what] = true "
        f"redis.log(redis.LOG_WARNING, '{MARK}' .. what) end end ")

TOKENS = re.compile(r"""
    (?P<space>[ \t\r]+) | (?P<line>\n) | (?P<comment>--[^\n]*)
  | (?P<text>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*) | (?P<number>\d[\w.]*)
  | (?P<other>\.\.\.|\.\.|==|~=|<=|>=|.)
""", re.VERBOSE)

BEGINS = {"then", "else", "do", "repeat"}  # a statement may follow at once
NO_STATEMENT = {"end", "else", "elseif", "until", "then", "do", "and", "or", "not", "in"}
GOES_ON = {"and", "or", "not", "=", ",", "..", "+", "-", "*", "/", "%", "^", "==", "~=", "<", ">", "<=", ">=",
           "return", "local", "in", "if", "elseif", "while", "until", "for", ".", ":", "#"}


class Nesting:
    """The blocks and brackets that are open, innermost last."""

    def __init__(self):
        self.open = ["block"]

    def is_block(self):
        return self.open[-1] == "block"

    def see(self, token):
        """Returns whether a statement may begin behind the token."""
        if token in ("(", "{", "["):
            self.open.append("parameters" if self.open[-1] == "function" else token)
        elif token in (")", "}", "]"):
            if self.open.pop() == "parameters":
                self.open[-1] = "block"
                return True
        elif token == "function":
            self.open.append("function")
        elif token in ("if", "do", "repeat"):
            self.open.append("block")
        elif token in ("end", "until"):
            self.open.pop()
        return token in BEGINS


def statements(text):
    """The places in the text where a statement begins, with line and column."""
    nesting, may_begin, before = Nesting(), True, ""
    line, line_at = 1, 0
    for match in TOKENS.finditer(text):
        kind, token = match.lastgroup, match.group()
        if kind == "line":
            line, line_at = line + 1, match.end()
            may_begin = may_begin or (nesting.is_block() and before not in GOES_ON)
        elif kind in ("name", "number", "text", "other"):
            if may_begin and nesting.is_block() and kind == "name" and token not in NO_STATEMENT:
                yield match.start(), line, match.start() - line_at + 1
            may_begin, before = nesting.see(token), token


def instrumented(path):
    """The script with a call in front of each statement."""
    text = path.read_text()
    body = text.split("\n", 1) if text.startswith("#!") else ("", text)
    head = body[0] + "\n" if body[0] else ""
    out, at = [head], len(head)
    lines_before = head.count("\n")
    for start, line, column in statements(body[1]):
        start += len(head)
        out += [text[at:start], f"ran('{path.stem}:{line + lines_before}:{column}') "]
        at = start
    out.append(text[at:])
    whole = "".join(out)
    return TELL + "\n" + whole if path.stem == "lib" else whole


def scripts_of(source):
    return sorted((source / "scripts").glob("*.lua"))


def instrument(source, destination):
    (destination / "scripts").mkdir(parents=True, exist_ok=True)
    for name in ("embed.sh", "keys.def", "keys.h"):
        (destination / name).write_text((source / name).read_text())
    for path in scripts_of(source):
        (destination / "scripts" / path.name).write_text(instrumented(path))


def what_ran(logs):
    ran = set()
    for log in logs.glob("*.log"):
        with open(log, errors="replace") as lines:
            ran |= {line.split(MARK, 1)[1].strip() for line in lines if MARK in line}
    return ran


def report(copies, logs):
    ran = what_ran(logs)
    print(f"{'script':<28} {'statements':>10} {'ran':>6}   lines of those that never ran")
    sums = [0, 0]
    for path in scripts_of(copies):
        all_of_it = set(re.findall(rf"ran\('({path.stem}:\d+:\d+)'\)", path.read_text()))
        never = sorted({int(name.split(":")[1]) for name in all_of_it - ran})
        print(f"{path.name:<28} {len(all_of_it):>10} {len(all_of_it & ran):>6}   {' '.join(map(str, never))}".rstrip())
        sums = [sums[0] + len(all_of_it), sums[1] + len(all_of_it & ran)]
    print(f"{'all scripts':<28} {sums[0]:>10} {sums[1]:>6}   {100 * sums[1] / max(sums[0], 1):.1f} %")
    return sums[0] == sums[1]


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("instrument", "report"):
        sys.exit(__doc__)
    first, second = map(pathlib.Path, sys.argv[2:])
    if sys.argv[1] == "instrument":
        instrument(first, second)
    elif not report(first, second):
        sys.exit(1)


if __name__ == "__main__":
    main()
