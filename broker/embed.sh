#!/bin/sh
# Prints, as C, the library of Lua functions that Redis is given, and `const struct shoal_script
# shoal_script_<name>` for each script given as an argument. Redis makes the functions of lib.lua
# once, when it loads the library, and not for every move, of which they would be the larger part.
#
# The library is named after the SHA-1 of its text, and so are its functions: those of several
# versions live beside each other.
set -eu
here=$(dirname "$0")
text=$(mktemp)
trap 'rm -f "$text"' EXIT

# @LAYOUT@ becomes that of keys.h, @RELEASE@ the version of shoal, which the environment has.
#
# The first line of a script tells Redis its flags; who may call one that writes, begin() finds out. What stands before the line "-- ---- the move", if
# there is one, is made once too, in a function of its own, since Lua allows each 200 locals. VERSION becomes the hash.
function_of() {
    flags=$(sed -n "1s/^#!lua *\\(flags=\\([a-z-]*\\)\\)*$/\\2/p" "$1")
    move='^-- ---- the move$'
    echo "do local function make()"
    if grep -q "$move" "$1"; then sed "1d; /$move/,\$d" "$1"; else move=1; fi
    echo "local function move()"
    if [ "$move" = 1 ]; then sed '1d' "$1"; else sed "1,/$move/d" "$1"; fi
    echo "end"
    echo "redis.register_function{function_name = '$2_VERSION', flags = {${flags:+"'$flags'"}},"
    echo "description = 'shoal @RELEASE@',"
    if [ "$flags" = no-writes ]; then may=nil; else may="'$2'"; fi
    echo "callback = function(keys, args) return play(move, $may, keys, args) end} end make() end"
}

assemble() {
    echo "#!lua name=shoal_VERSION"
    echo "local P, ARGV"
    sed -n 's/^KEY([A-Z]*, *"\([a-z]*\):",.*/local function \1_key(of) return P .. "\1:" .. of end/p
            s/^KEY([A-Z]*, *"\([a-z]*\)",.*/local function \1_key() return P .. "\1" end/p' "$here/keys.def"
    echo "local KINDS = {"
    sed -n 's/^KEY([A-Z]*, *"\([a-z]*\):*", *\([a-z]*\), *\([a-z]*\)).*/\1 = {whose = "\2", type = "\3"},/p' "$here/keys.def"
    echo "}"
    cat "$here/scripts/lib.lua"
    for script; do
        function_of "$script" "$(basename "$script" .lua)"
    done
}

assemble "$@" | sed '/^ *--/d; s/^ *//; /^$/d' > "$text"
layout=$(sed -n 's/^#define SHOAL_LAYOUT \([0-9]*\)$/\1/p' "$here/keys.h")
sed -i "s/@LAYOUT@/$layout/; s/@RELEASE@/$RELEASE/" "$text"
version=$(sha1sum < "$text" | cut -c1-12)
echo "static const char library[] ="
sed "s/VERSION/$version/; s/[\\\\\"]/\\\\&/g; s/.*/\"&\\\\n\"/" "$text"
echo ";"
for script; do
    name=$(basename "$script" .lua)
    reads=false
    case $(head -n 1 "$script") in *flags=no-writes) reads=true ;; esac
    printf 'const struct shoal_script shoal_script_%s = {"%s", "%s_%s", library, %s};\n' \
        "$name" "$name" "$name" "$version" "$reads"
done
