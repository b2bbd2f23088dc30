#!/bin/bash
# What is made of a machine's cores, in turn, round by round: samples a second of one rank of one thread, of that many ranks, of
# one rank with that many threads, and of as many ranks that know nothing of each other, which is what the machine allows. Each
# rank has the same number of samples; one with several threads has those of all. As a table in Markdown, medians of the rounds,
# and weak scaling (all ranks against so many times one) as minimum, median and maximum.
#
#   scripts/scaling.sh [OPTIONS] [ROUNDS [MODEL…]]       by default three rounds of every model that bench.sh measures
#
#   --precision P   fp32 or bf16. Default fp32.
#   --cores N       How many cores. Default all.
#   --seconds S     How long one measurement takes, about. Default 3.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/models.sh
unset OPENBLAS_CORETYPE

precision=fp32 seconds=3 cores=$(nproc)
while [ $# -gt 0 ]; do
    case $1 in
        --precision | --cores | --seconds)
            [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; }
            declare "${1#--}=$2"
            shift 2 ;;
        -*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
rounds=${1:-3}
shift $(($# < 1 ? $# : 1))
models=$*
program=$(swift build -c release --show-bin-path)/dtrain
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Samples a second of a bench of a model: so many times the samples of one rank, over so many steps.
rate() {  # model times steps threads command…
    local model=$1 samples=$(($(batch "$1") * $2)) steps=$3 threads=$4
    shift 4
    "$@" "$program" bench --model "$model" --batch-size "$samples" --precision "$precision" --threads "$threads" \
        --steps "$steps" $(bench_flags "$model") --json | member items_per_second
}
median() { sort -g | awk '{ x[NR] = $1 } END { print (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2 }'; }

echo "| model | one rank | $cores ranks | 1 rank, $cores threads | $cores apart | weak scaling | apart | threads : ranks |"
echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
for model in ${models:-$benchmark_models}; do
    rm -f "$folder"/*
    one=$(rate "$model" 1 3 1 taskset -c 0)
    steps=$(awk -v r="$one" -v b="$(batch "$model")" -v s="$seconds" 'BEGIN { n = int(s * r / b); print n < 3 ? 3 : n }')
    for _ in $(seq "$rounds"); do
        one=$(rate "$model" 1 "$steps" 1 taskset -c 0)
        ranks=$(rate "$model" "$cores" "$steps" 1 mpirun -np "$cores")
        threads=$(rate "$model" "$cores" "$steps" "$cores" env)
        for core in $(seq 0 $((cores - 1))); do rate "$model" 1 "$steps" 1 taskset -c "$core" >"$folder/$core" & done
        wait
        apart=$(cat "$folder"/[0-9]* | awk '{ sum += $1 } END { print sum }')
        echo "$one $ranks $threads $apart" >>"$folder/rounds"
    done
    column() { awk "{ print $1 }" "$folder/rounds"; }
    scaling=$(column "\$2 / ($cores * \$1)" | sort -g | awk '{ x[NR] = $1 } END { printf "%.2f / **%.2f** / %.2f", x[1], x[int((NR + 1) / 2)], x[NR] }')
    printf '| `%s` | %.1f | %.1f | %.1f | %.1f | %s | %.2f | %.2f |\n' "$model" "$(column '$1' | median)" \
        "$(column '$2' | median)" "$(column '$3' | median)" "$(column '$4' | median)" "$scaling" \
        "$(column "\$4 / ($cores * \$1)" | median)" "$(column '$3 / $2' | median)"
done
