#!/bin/bash
# dtrain against PyTorch on this machine, in turn, round by round: prints samples a second and the ratio for each model.
#
#   scripts/bench.sh PEER [ROUNDS [MODEL…]]
#
# PEER is a command that measures PyTorch: called with --models M --ranks R --threads 1 --layout nchw|nhwc --seconds S,
# it prints a line that ends in "RATE items/s". In each round the better of its two layouts counts.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
[ $# -ge 1 ] || { sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
peer=$1 rounds=${2:-5}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- mlp lenet5 cnn-mnist inception-mnist
unset OPENBLAS_CORETYPE                # one that is set by hand often slows OpenBLAS down
program=$(swift build -c release --show-bin-path)/dtrain

ours() {  # model ranks
    mpirun -np "$2" "$program" bench --model "$1" --batch-size $((64 * $2)) --threads 1 --steps "$3" --json |
        sed -n 's/.*"items_per_second":\([0-9.]*\).*/\1/p'
}
theirs() {  # model ranks layout
    # shellcheck disable=SC2086  # the peer is a command with arguments
    $peer --models "$1" --ranks "$2" --threads 1 --layout "$3" --seconds 2 | sed -n 's/.* \([0-9.]*\) items\/s$/\1/p'
}
# Smallest, median and largest of the numbers given, a line each.
spread() { sort -n | awk '{ v[NR] = $1 } END { printf "%s %s %s", v[1], v[int((NR + 1) / 2)], v[NR] }'; }

printf '%-16s %5s  %24s  %24s  %20s\n' model ranks 'dtrain (min med max)' 'PyTorch (min med max)' 'ratio (min med max)'
for model in "$@"; do
    case $model in inception-mnist) steps=150 ;; *) steps=800 ;; esac
    for ranks in 1 2; do
        a=() b=() ratio=()
        for _ in $(seq "$rounds"); do
            x=$(ours "$model" "$ranks" "$steps")
            y=$(printf '%s\n' "$(theirs "$model" "$ranks" nchw)" "$(theirs "$model" "$ranks" nhwc)" | sort -n | tail -n 1)
            a+=("$(printf '%.0f' "$x")") b+=("$(printf '%.0f' "$y")")
            ratio+=("$(awk -v x="$x" -v y="$y" 'BEGIN { printf "%.2f", x / y }')")
        done
        printf '%-16s %5s  %24s  %24s  %20s\n' "$model" "$ranks" "$(printf '%s\n' "${a[@]}" | spread)" \
            "$(printf '%s\n' "${b[@]}" | spread)" "$(printf '%s\n' "${ratio[@]}" | spread)"
    done
done
