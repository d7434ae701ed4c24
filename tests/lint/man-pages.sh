#!/bin/bash
# Looks for options that a program tells of in its help and not in its man page, and for what
# groff does not like about the pages.
#
#     man-pages.sh BUILD
set -euo pipefail
build=$1
status=0

# The options in what "$@ --help" prints.
options() {
    "$@" --help | grep -oE '^ +(-[[:alnum:]], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+'
}

# page PAGE COMMAND...: every option of the command is in the page.
page() {
    local page=$1 text option
    text=$(sed 's/\\-/-/g' "$page")
    shift
    for option in $(options "$@"); do
        if ! grep -qE -- "$option([^a-z0-9-]|$)" <<< "$text"; then
            echo "$page does not tell of $option of ${*##*/}"
            status=1
        fi
    done
}

for program in "$build"/shoal "$build"/shoal-worker "$build"/shoal-broker \
    "$build"/shoal-host; do
    [ -e "$program" ] || continue
    manual=$build/man/${program##*/}.1
    page "$manual" "$program"
    said=$(groff -man -ww -Tutf8 -z "$manual" 2>&1)
    if [ -n "$said" ]; then
        echo "$said"
        status=1
    fi
done
if [ -e "$build/shoal" ]; then
    for command in $("$build/shoal" help --man-options | sed -n 's/^\.SS "*\([a-z]*\).*/\1/p'); do
        page "$build/man/shoal.1" "$build/shoal" "$command"
    done
fi
exit "$status"
