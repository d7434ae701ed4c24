#!/bin/bash
# Every test that the README links a promise to is in the file that it is said to be in.
#
#     promises.sh README
set -euo pipefail

# "[`test`](file)" as "test file", a line each.
# shellcheck disable=SC2016 # they are backquotes of Markdown
links=$(sed -nE 's/\[`([a-z0-9_]+)`\]\((tests\/[a-z_\/]+\.c)\)/\n\1 \2\n/g; s/\n/&/p' "$1" |
    grep -E '^[a-z0-9_]+ tests/[a-z_/]+\.c$') || { echo "$1: no promise is linked to a test" >&2; exit 1; }
status=0
while read -r name file; do
    grep -qs "^START_TEST($name)" "$file" || { echo "$1: there is no test $name in $file" >&2; status=1; }
done <<< "$links"
exit $status
