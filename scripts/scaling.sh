#!/bin/bash
# What is made of a machine's cores, in turn, round by round: samples a second of one rank of one thread, of that many ranks, of
# one rank with that many threads, and of as many ranks that know nothing of each other, which is what the machine allows. Each
# rank has the same number of samples; one with several threads has those of all. As a table in Markdown, medians of the rounds,
# and weak scaling (all ranks against so many times one) as minimum, median and maximum.
#
#   scripts/scaling.sh [OPTIONS] [ROUNDS [MODEL…]]       by default three rounds of every model that bench.sh measures
#
#   --precision P   fp32 or bf16. Default fp32.
#   --cores N       How many cores. Default all that this shell may use.
#   --seconds S     How long one measurement takes, about. Default 3.
#
# What cannot be measured is said on standard error and left out.
set -euo pipefail
export LC_ALL=C
unset OMP_NUM_THREADS OPENBLAS_CORETYPE

usage() { sed -n '2,13p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }

precision=fp32 seconds=3 cores=$(nproc)
while [ $# -gt 0 ]; do
    case $1 in
        --precision | --cores | --seconds)
            [ $# -ge 2 ] || usage
            declare "${1#--}=$2"
            shift 2 ;;
        -*) usage ;;
        *) break ;;
    esac
done
rounds=${1:-3}
case $rounds in *[!0-9]* | 0) usage ;; esac
shift $(($# < 1 ? $# : 1))
models=$*

cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/models.sh
program=$(swift build -c release --show-bin-path)/dtrain
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The numbers of the cores, of ranges such as 0-3,8.
numbers=$(taskset -cp $$ | sed 's/.*: //' | tr , '\n' | awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i }' |
    head -n "$cores")
first=${numbers%%[!0-9]*}

# Samples a second of a bench of a model: so many times the samples of one rank, over so many steps.
rate() {  # model times steps threads command…
    measured "$1" $(($(batch "$1") * $2)) "${@:3}" | member items_per_second
}

# One round's four rates.
measure() {  # model steps
    local one ranks threads core jobs=() failed=0
    one=$(rate "$1" 1 "$2" 1 taskset -c "$first") || return
    ranks=$(rate "$1" "$cores" "$2" 1 mpirun -np "$cores") || return
    threads=$(rate "$1" "$cores" "$2" "$cores" env) || return
    for core in $numbers; do
        rate "$1" 1 "$2" 1 taskset -c "$core" >"$folder/$core" &
        jobs+=($!)
    done
    # All of them, or the others would run beside the next measurement.
    for job in "${jobs[@]}"; do wait "$job" || failed=$?; done
    [ "$failed" = 0 ] || return "$failed"
    echo "$one $ranks $threads $(cat "$folder"/[0-9]* | awk '{ sum += $1 } END { printf "%.3f", sum }')" >>"$folder/rounds"
}

# Sorted numbers' minimum, median and maximum.
spread() {
    sort -g | awk '{ x[NR] = $1 } END { printf "%.3f %.3f %.3f", x[1], (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2, x[NR] }'
}
median() { spread | cut -d' ' -f2; }

echo "| model | one rank | $cores ranks | 1 rank, $cores threads | $cores apart | weak scaling | apart | threads : ranks |"
echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
for model in ${models:-$benchmark_models}; do
    rm -f "$folder"/*
    if ! one=$(rate "$model" 1 3 1 taskset -c "$first"); then
        echo "$model was not measured" >&2
        continue
    fi
    steps=$(awk -v r="$one" -v b="$(batch "$model")" -v s="$seconds" 'BEGIN { n = int(s * r / b); print n < 3 ? 3 : n }')
    for _ in $(seq "$rounds"); do measure "$model" "$steps" || echo "a round of $model was not measured" >&2; done
    [ -e "$folder/rounds" ] || continue
    column() { awk "{ printf \"%.4f\\n\", $1 }" "$folder/rounds"; }
    # shellcheck disable=SC2046  # three numbers
    printf '| `%s` | %.1f | %.1f | %.1f | %.1f | %.2f / **%.2f** / %.2f | %.2f | %.2f |\n' "$model" "$(column '$1' | median)" \
        "$(column '$2' | median)" "$(column '$3' | median)" "$(column '$4' | median)" \
        $(column "\$2 / ($cores * \$1)" | spread) "$(column "\$4 / ($cores * \$1)" | median)" "$(column '$3 / $2' | median)"
done
