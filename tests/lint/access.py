#!/usr/bin/env python3
"""Whether the users that `shoal acl` makes may do what the Lua of their moves does, and write nothing else.

    access.py BUILD

Reads each call of Redis in the functions that a move reaches, and holds it against the rules of the roles that
may call the move. What is only looked at may be wider: a role looks at many kinds of keys by one row.
"""
import pathlib
import re
import subprocess
import sys

ROLES = ("broker", "submit", "worker")  # read changes nothing
READS = set("exists getrange hexists hget hgetall hkeys hlen hmget hvals info lindex llen lpos lrange scard smembers "
            "type srandmember xrevrange zcard zrandmember zrange zrangebyscore zrevrange zrevrangebyscore "
            "zscore".split())
MANY_KEYS = {"del", "rename", "unlink"}
NO_KEY = {"scan"}

# What a key is that is not named where it is used, by function and variable. A call of another one is told of.
VARIABLES = {
    ("bump", "key"): {"queue", "specs", "warrants"},
    ("keep", "key"): {"spec", "warrant"},
    ("save_sums", "leftovers"): {"barred", "todo"},
    ("send_mail", "key"): {"mail"},
}

# What C writes without a function, and what is deleted when a move is made again, in mend().
ELSEWHERE = {"broker": {("del", "jobs")}, "submit": {("blmpop", "mail")},
             "worker": {("blpop", "inbox"), ("blpop", "wake")}}


def functions(text):
    """The bodies of a script's functions by name; "" has what is outside of them."""
    bodies, inside = {"": ""}, [("", "")]
    for line in text.splitlines(keepends=True):
        begin = re.match(r"( *)(?:local )?function (\w+)\(", line)
        if begin:
            inside.append((begin[2], begin[1] + "end"))
        name, end = inside[-1]
        bodies[name] = bodies.get(name, "") + re.sub(r"--.*", "", line)
        if len(inside) > 1 and (line.rstrip() == end or begin and re.search(r"\bend\s*$", line)):
            inside.pop()
    return bodies


def words_of_call(text, start):
    """From behind the command to the parenthesis that closes the call."""
    depth = 1
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return text[start:]


def kinds_of(name, command, rest):
    """The kinds of key that stand behind a command; none when it takes no key."""
    named = re.findall(r"(\w+)_key\(", rest)
    first = re.match(r",\s*(?:unpack\()?(\w+)", rest)
    if not first or command in NO_KEY:
        return set()
    if first[1].endswith("_key"):
        return set(named) if command in MANY_KEYS else {named[0]}
    if first[1] in ("list", "lists"):
        return {"ready"}
    return VARIABLES.get((name, first[1]), {f"'{first[1]}' in {name or 'a script'}()"})


def uses(name, body):
    """(command, kind of key) of each call of Redis."""
    found = set()
    for match in re.finditer(r"(?:\bcall|redis\.p?call)\(([^,)]*)", body):
        rest = words_of_call(body, match.end())
        commands = re.fullmatch(r"(?:\w+ and '([A-Z]+)' or )?'([A-Z]+)'", match[1])
        if not commands:
            sys.exit(f"access.py: it cannot be told what call({match[1]}) in {name or 'a script'} does")
        for command in filter(None, commands.groups()):
            found |= {(command.lower(), kind) for kind in kinds_of(name, command.lower(), rest)}
    return found


def is_barred(body, keyless):
    """Whether a function asks first for a command that the caller has not."""
    asked = re.search(r"acl_check_cmd\('([A-Z]+)'", body)
    return asked and asked[1].lower() not in keyless


def reached(script, library, keyless):
    """What the calls of a move are, for who has these commands without keys."""
    known = {**library, **script}
    todo, seen, found = [""], set(), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        body = known[name] if name else script[""]
        if is_barred(body, keyless):
            continue
        found |= uses(name, body)
        todo += [word for word in set(re.findall(r"\w+", body)) if word in known]
    return found


def read_rules(rules):
    """The moves of a user, its commands without keys, and its pairs of command and kind of key: all, and those that
    write. "" is any kind."""
    moves = set(re.findall(r":may:(\w+)", rules))
    keyless = set(re.findall(r" \+([a-z_]+)", re.sub(r"\(.*?\)", "", rules)))
    allowed, written = set(), set()
    for part in re.findall(r"\(([^)]*)\)", rules):
        keys = re.findall(r"(%R|%W|)~shoal:\{0\}:(\w*)", part)
        commands = re.findall(r"\+([a-z_]+)", part)
        for access, kind in keys:
            pairs = {(command, kind) for command in commands if command not in ("fcall", "fcall_ro")}
            allowed |= pairs
            written |= pairs if access != "%R" else set()
    return moves, keyless, allowed, written


def main():
    build, scripts = pathlib.Path(sys.argv[1]), pathlib.Path("broker/scripts")
    texts = {path.stem: functions(path.read_text(encoding="utf-8")) for path in scripts.glob("*.lua")}
    library = texts.pop("lib")
    acl = subprocess.run([build / "shoal", "acl", *(f"--hash={role}={'0' * 64}" for role in ROLES)],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    wrong = []
    for role in ROLES:
        rules = re.search(rf"^user shoal-{role} .*", acl, re.MULTILINE)[0]
        moves, keyless, allowed, written = read_rules(rules)
        needed = set().union(*(reached(texts[move], library, keyless) for move in moves))
        wrong += [f"{role} may not {command} {kind}, which its moves do" for command, kind in sorted(needed)
                  if (command, kind) not in allowed and not (command in READS and (command, "") in allowed)]
        wrong += [f"{role} may {command} {kind}, which nothing of it does" for command, kind in
                  sorted(written - needed - ELSEWHERE.get(role, set()))]
    print("".join(f"broker/access.c: {line}\n" for line in wrong), end="")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
