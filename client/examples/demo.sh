#!/bin/bash
# What `make demo` shows once all is built: 1,800 epidemics on a local cluster, as a table with a
# row for each beta. SHOAL_BUILD or BUILD: the build folder, unless it is `build`.
set -euo pipefail

build=${SHOAL_BUILD:-${BUILD:-$(dirname "$0")/../../build}}
build=$(cd "$build" && pwd)
rows=$build/demo.csv
sweep=(-p beta=0.1:0.9:0.1 --reps 200 --seed 1 --name demo)
simulation=("$build/examples/sir" --beta '{beta}' --seed '{seed}')

# The demo is that of the local cluster, wherever this user's work goes otherwise.
unset SHOAL_REDIS SHOAL_REDIS_PASSWORD_FILE SHOAL_NAMESPACE SHOAL_QUEUE

show_and_run() {
    printf '$ %s\n' "$*"
    "$@"
    echo
}

show_and_run "$build/shoal" run "${sweep[@]}" --format csv -o "$rows" -- "${simulation[@]}"
show_and_run "$build/shoal" results demo --by beta

cat << END
All $(($(wc -l < "$rows") - 1)) rows are in $rows.
With more machines: start a worker on each, then run the same with the URL of a Redis they reach.
    shoal-worker --redis redis://HOST --trust-redis --allow $build/examples/sir
    shoal run --redis redis://HOST ${sweep[*]} -- ${simulation[*]}
client/examples/README.md tells how to sweep a program of your own.
END
