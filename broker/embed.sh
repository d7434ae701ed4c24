#!/bin/sh
# Prints C definitions of the scripts given as arguments: `const struct shoal_script
# shoal_script_<name>` with its text (key functions, lib.lua, the script itself) and the SHA-1 of
# that text, by which Redis knows it.
set -eu
here=$(dirname "$0")
text=$(mktemp)
trap 'rm -f "$text"' EXIT

# The first line of a script says, for Redis, what it may do; it must stay the first. Each layer is a
# function inside the one before, whose names it then finds in itself: making a hundred functions that
# all look for names of their own scope takes longer than most moves.
assemble() {
    sed -n '1p' "$1"
    echo "local P = KEYS[1]"
    sed -n 's/^KEY([A-Z]*, *"\([a-z]*\):").*/local function \1_key(of) return P .. "\1:" .. of end/p
            s/^KEY([A-Z]*, *"\([a-z]*\)").*/local function \1_key() return P .. "\1" end/p' "$here/keys.def"
    echo "return (function()"
    cat "$here/scripts/lib.lua"
    echo "return (function()"
    sed '1d' "$1"
    echo "end)() end)()"
}

for script; do
    name=$(basename "$script" .lua)
    assemble "$script" | sed '/^ *--/d; s/^ *//; /^$/d' > "$text"
    printf 'const struct shoal_script shoal_script_%s = {"%s",\n' "$name" "$name"
    sed 's/[\\"]/\\&/g; s/.*/"&\\n"/' "$text"
    printf ', "%s"};\n' "$(sha1sum < "$text" | cut -d' ' -f1)"
done
