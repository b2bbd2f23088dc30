#!/bin/sh
# Installs what is missing, builds, and runs every test and the example. Arguments go to `swift test`.
. "$(dirname "$0")/common.sh"

"$root/scripts/setup.sh" iproute2          # simulated hosts are network namespaces
. "$root/scripts/env.sh"
cd "$root"

# A program of one's own, as a package that depends on this one: it must build, and train.
example() {
    # shellcheck disable=SC2086  # the flags are words
    swift build $build_flags --package-path Examples/Tiny --scratch-path .build/example
    run=$(mktemp -d)
    mpirun -np 2 .build/example/release/tiny train --model tiny --steps 40 --out "$run" --quiet --threads 1
    rm -r "$run"
}

# With arguments (a filter), only the tests that they select.
if [ $# -eq 0 ]; then
    if [ -z "$trait_flags" ]; then example; else say "Examples/Tiny is left out: it takes dtrain with oneDNN."; fi
fi
# shellcheck disable=SC2086
swift test $build_flags $trait_flags --disable-testable-imports "$@"
