#!/bin/bash
# Every promise of a page is held by a test: each row of its tables of promises links to one, and each test that the
# page links to is in the file that it is said to be in, and run there.
#
#     promises.sh PAGE
set -euo pipefail
status=0

# complain WORDS...
complain() {
    echo "$page: $*" >&2
    status=1
}

# is_run NAME FILE
is_run() {
    case $2 in
    *.c) grep -qs "^START_TEST($1)" "$2" ;;
    *.py) grep -qs "^ *def $1(" "$2" ;;
    *.sh) grep -qsE "^is '[^']*' ([^ ]+ )*$1( |\$)" "$2" ;;
    *) false ;;
    esac
}

page=$1
# shellcheck disable=SC2016 # they are backquotes of Markdown
link='\[`[^]]*`\]\(tests/[^)]+\)' # "[`test`, `another`](file)"
rows=$(awk '/^\| promise / {on = 1; getline; next} !/^\|/ {on = 0} on' "$page")
[ -n "$rows" ] || complain "it has no table of promises"
while read -r row; do
    [ -z "$row" ] || complain "no test holds the promise '$row'"
done < <(grep -vE "$link" <<< "$rows")
while IFS='(' read -r names file; do
    for name in $(tr -d '[]`,' <<< "$names"); do
        is_run "$name" "${file%)}" || complain "there is no test $name in ${file%)}"
    done
done < <(grep -oE "$link" "$page")
exit $status
