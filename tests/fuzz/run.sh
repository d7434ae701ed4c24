#!/bin/bash
# Runs libFuzzer targets, two at a time, and tells of each what it did and found.
#
#     tests/fuzz/run.sh BUILD/tests/fuzz/TARGET.fuzzer...
#
# SECONDS_EACH: how long (10). SEED: of libFuzzer's chance (1). What it learns stays in
# BUILD/learnt/TARGET for the next time; an input that breaks something goes to BUILD/finds/, and
# then the exit status is 1.
set -euo pipefail

# The last number that libFuzzer printed behind a word.
number() {
    sed -nE "s/^.*$1:? +([0-9]+).*$/\1/p" "$2" | tail -n 1
}

# A target's output goes to BUILD/finds/TARGET.log, which stays where there was a find.
run_one() {
    local program=$1 name build log options status=0 finds=0
    name=$(basename "$program" .fuzzer)
    build=$(cd "$(dirname "$program")/../.." && pwd)
    log=$build/finds/$name.log
    mkdir -p "$build/finds" "$build/learnt/$name"
    options=(-max_total_time="${SECONDS_EACH:-10}" -seed="${SEED:-1}" -max_len=4096 -timeout=10
        -malloc_limit_mb=256 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=1
        -artifact_prefix="$build/finds/$name-")
    if [ -e "tests/fuzz/$name.dict" ]; then
        options+=(-dict="tests/fuzz/$name.dict")
    fi
    "$program" "${options[@]}" "$build/learnt/$name" "tests/fuzz/corpus/$name" \
        > "$log" 2>&1 < /dev/null || status=$?
    [ "$status" -eq 0 ] || finds=1
    printf '%-7s %-10s %10s runs  %7s a second  %5s inputs\n' \
        "$([ $finds -eq 0 ] && echo fine || echo FOUND)" "$name" \
        "$(number stat::number_of_executed_units "$log")" \
        "$(number stat::average_exec_per_sec "$log")" "$(number corp "$log")"
    if [ $finds -eq 0 ]; then
        rm "$log"
        return 0
    fi
    grep -m 3 -E 'ERROR|Assertion|runtime error' "$log" || tail -n 3 "$log"
    sed -nE "s|^.*Test unit written to (.*)$|again with: $program \1|p" "$log"
    return 1
}

if [ "${1:-}" = --one ]; then
    run_one "$2"
    exit
fi
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
if ! printf '%s\0' "$@" | xargs -0 -r -n 1 -P "${JOBS:-2}" "$0" --one; then
    echo "something was found; mend it, and put the input into tests/fuzz/corpus/TARGET/"
    exit 1
fi
