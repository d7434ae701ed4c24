#!/bin/bash
# Simulates an RC filter with ngspice and prints its corner frequency as JSON:
#
#     rc_filter.sh 1k 100n
#     {"f_corner": 1591.562, "f_theory": 1591.54943, "error": 7.9e-06}
#
# f_corner is measured in the simulated response, f_theory is 1 / (2 pi R C), and error is how far
# the first is off, as a share of the second.
set -euo pipefail

fail() {
    echo "rc_filter.sh: $1" >&2
    exit "${2:-1}"
}

# SPICE takes k and meg, and reads M as milli; what is not a plain number would be SPICE code.
number='^([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?(t|g|meg|k|m|u|n|p|f)?$'
check_value() {
    [[ $2 =~ $number && ${BASH_REMATCH[1]} =~ [1-9] ]] ||
        fail "$1 is '$2', but it must be a number above 0 such as 4.7k, 2meg, 100n or 1e-7" 2
}

[ $# -eq 2 ] || fail "it takes two words, R in ohms and C in farads: rc_filter.sh 1k 100n" 2
check_value R "$1"
check_value C "$2"
command -v ngspice > /dev/null ||
    fail "ngspice is missing; on Debian 'apt-get install ngspice' installs it"

export HOME="${HOME:-/}" # ngspice crashes without one
here=$(dirname "$0")
said=$(sed "s/^\.param .*/.param r=$1 c=$2/" "$here/rc_filter.cir" | ngspice -n -b 2>&1) ||
    fail "ngspice failed: $said"

awk '$1 ~ /^f_(corner|theory)$/ && $2 == "=" { value[$1] = $3 }
    END {
        corner = value["f_corner"]; theory = value["f_theory"]
        if (!(corner > 0 && theory > 0))
            exit 1
        printf "{\"f_corner\": %.7g, \"f_theory\": %.9g, \"error\": %.3g}\n",
            corner, theory, corner / theory - 1
    }' <<< "$said" || fail "the corner is not between 1 mHz and 10 GHz, as ngspice says: $said"
