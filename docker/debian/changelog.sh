#!/bin/bash
# Makes debian/changelog of CHANGELOG.md.
#
#     changelog.sh MAINTAINER TIME < CHANGELOG.md
#
# A section "## VERSION (YEAR-MONTH-DAY)" is a release. One that is not released is older than its release
# and has the TIME of the last commit, in seconds, behind it; so what is built later upgrades what was built before.
set -euo pipefail
maintainer=$1 time=$2
version='' date=''

finish() {
    [ -z "$version" ] || printf '\n -- %s  %s\n\n' "$maintainer" "$date"
}

# A section's head, or a line of it as "- text", whole.
while IFS= read -r line; do
    if [[ $line =~ ^'## '([0-9][0-9.]*)' ('(.*)')'$ ]]; then
        finish
        version=${BASH_REMATCH[1]}
        if [ "${BASH_REMATCH[2]}" = 'not released' ]; then
            version=$version~$(date -u -d "@$time" +%Y%m%d%H%M%S)
            date=$(date -u -R -d "@$time")
        else
            date=$(date -u -R -d "${BASH_REMATCH[2]}")
        fi
        printf 'shoal (%s) unstable; urgency=medium\n\n' "$version"
    elif [[ $line == '- '* ]]; then
        fold -s -w 74 <<< "${line#- }" | sed -E '1s/^/  * /; 2,$s/^/    /; s/ +$//'
    fi
done < <(awk '/^(- |#|$)/ {if (whole != "") print whole; whole = $0; next}
              {sub(/^ +/, ""); whole = whole " " $0}
              END {print whole}')
finish
