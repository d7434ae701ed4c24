#!/bin/bash
# Holds what libshoal shows against the headers that it is installed with.
#
#     symbols.sh LIBSHOAL.SO LIBSHOAL.A HEADER...
#
# The shared library exports exactly the functions that the headers declare; the archive, whose
# objects see each other, at least keeps to names that begin with shoal_.
set -euo pipefail
shared=$1 archive=$2
shift 2

# The names before an opening parenthesis, outside comments.
declared() {
    tr '\n' ' ' < "$1" | sed -E 's:/\*([^*]|\*+[^*/])*\*+/: :g' |
        grep -oE '\bshoal_[a-z0-9_]+ *\(' | tr -d ' ('
}

differences=$(diff <(for header; do declared "$header"; done | sort -u) \
    <(nm -D --defined-only "$shared" | awk '{print $3}' | sort -u) || true)
strangers=$(nm -g --defined-only "$archive" | awk 'NF == 3 && $3 !~ /^shoal_/ {print $3}' | sort -u)

if [ -n "$differences" ]; then
    echo "$shared and its headers differ (< declared only, > exported only):"
    grep '^[<>]' <<< "$differences"
fi
if [ -n "$strangers" ]; then
    echo "$archive has global names that do not begin with shoal_:"
    echo "$strangers"
fi
[ -z "$differences$strangers" ]
