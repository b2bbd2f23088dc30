#!/bin/bash
# dtrain against PyTorch on this machine, in turn, round by round: samples a second over all ranks and their ratio for each
# model, each as minimum, median and maximum, as a table in Markdown.
#
#   scripts/bench.sh [OPTIONS] PEER [ROUNDS [MODEL…]]     measures; by default five rounds of every model
#   scripts/bench.sh --table FILE                         makes the table of what --out has collected
#
#   --precision P   fp32 or bf16. Default fp32.
#   --ranks LIST    Numbers of ranks, such as 2 or 1,2. Default 1,2.
#   --compile       In each round the peer is also measured with --compile, in each layout.
#   --seconds S     How long one measurement takes, about. Default 4.
#   --out FILE      Append each measurement to FILE, one JSON object a line.
#
# PEER is a command that measures PyTorch: called with --models M --batch N (a rank) --precision P --ranks R --threads 1
# --layout nchw|nhwc --seconds S [--compile], it prints a line that ends in "RATE items/s". In each round the best of its
# layouts and modes counts. What cannot be measured is said on standard error and left out.
set -euo pipefail
export LC_ALL=C
unset OMP_NUM_THREADS OPENBLAS_CORETYPE    # what is set by hand is often slower

# The table of the measurements in a file; with a model and a number of ranks, their row alone.
table() {  # file [model ranks]
    awk -v model="${2:-}" -v ranks="${3:-}" '
        function field(name,   text) {
            if (!match($0, "\"" name "\":(\"[^\"]*\"|[^,}]*)")) return ""
            text = substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
            gsub(/"/, "", text)
            return text
        }
        function number(value,   text, grouped) {
            if (value < 100) return sprintf("%.1f", value)
            text = sprintf("%.0f", value)
            grouped = ""
            while (length(text) > 3) {
                grouped = "," substr(text, length(text) - 2) grouped
                text = substr(text, 1, length(text) - 3)
            }
            return text grouped
        }
        # Sorts values[1 … count]; the median is then in the middle.
        function sort(values, count,   i, j, value) {
            for (i = 2; i <= count; i++) {
                value = values[i]
                for (j = i - 1; j >= 1 && values[j] > value; j--) values[j + 1] = values[j]
                values[j + 1] = value
            }
        }
        function median(values, count) {
            return count % 2 ? values[(count + 1) / 2] : (values[count / 2] + values[count / 2 + 1]) / 2
        }
        function spread(values, count) {
            if (!count) return "–"
            sort(values, count)
            return number(values[1]) " / " number(median(values, count)) " / " number(values[count])
        }
        {
            key = field("model") SUBSEP field("precision") SUBSEP field("ranks")
            if (model != "" && key != model SUBSEP field("precision") SUBSEP ranks) next
            if (!(key in seen)) { seen[key] = 1; keys[++keyCount] = key }
            round = key SUBSEP field("run") SUBSEP field("round")
            if (!(round in inRound)) { inRound[round] = 1; rounds[key, ++roundCount[key]] = round }
            rate = field("items_per_second") + 0
            if (field("program") == "dtrain") ours[round] = rate
            else if (rate > theirs[round]) theirs[round] = rate
        }
        END {
            if (model == "") {
                print "| model | precision | ranks | dtrain | PyTorch | ratio |"
                print "| --- | --- | --- | --- | --- | --- |"
            }
            for (k = 1; k <= keyCount; k++) {
                split(keys[k], part, SUBSEP)
                n = m = q = 0
                for (r = 1; r <= roundCount[keys[k]]; r++) {
                    round = rounds[keys[k], r]
                    if (ours[round]) a[++n] = ours[round]
                    if (theirs[round]) b[++m] = theirs[round]
                    if (ours[round] && theirs[round]) c[++q] = ours[round] / theirs[round]
                }
                sort(c, q)
                ratio = q ? sprintf("%.2f / **%.2f** / %.2f", c[1], median(c, q), c[q]) : "–"
                printf "| `%s` | %s | %s | %s | %s | %s |\n", part[1], part[2], part[3], spread(a, n), spread(b, m), ratio
            }
        }' "$1"
}

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

precision=fp32 ranks_list=1,2 compile='' seconds=4 out=''
while [ $# -gt 0 ]; do
    case $1 in
        --table) [ $# -eq 2 ] || usage; table "$2"; exit ;;
        --compile) compile=1; shift ;;
        --precision | --ranks | --seconds | --out)
            [ $# -ge 2 ] || usage
            case $1 in
                --precision) precision=$2 ;;
                --ranks) ranks_list=$2 ;;
                --seconds) seconds=$2 ;;
                --out) out=$2 ;;
            esac
            shift 2 ;;
        -*) usage ;;
        *) break ;;
    esac
done
[ $# -ge 1 ] || usage
peer=$1 rounds=${2:-5}
case $precision in fp32 | bf16) ;; *) usage ;; esac
case $rounds in *[!0-9]* | 0*) usage ;; esac
shift $(($# < 2 ? $# : 2))
models=$*

results=$(mktemp)
trap 'rm -f "$results"' EXIT
# A path of the caller's, not of the folder that comes next.
case $out in '' | /*) ;; *) out=$PWD/$out ;; esac
[ -z "$out" ] || : >>"$out"
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/models.sh
program=$(swift build -c release --show-bin-path)/dtrain
run=$(date -u +%Y-%m-%dT%H:%M:%SZ)

complain() { echo "$1 was not measured" >&2; }

# One measurement as the JSON object of dtrain bench.
ours() { measured "$1" $(($(batch "$1") * $2)) "$3" 1 mpirun -np "$2"; }  # model ranks steps

theirs() {  # model ranks layout [--compile]
    # shellcheck disable=SC2086  # the peer is a command with arguments
    $peer --models "$1" --batch "$(batch "$1")" --precision "$precision" --ranks "$2" --threads 1 --layout "$3" \
        --seconds "$seconds" ${4:+"$4"} | sed -n 's/.* \([0-9.]*\) items\/s$/\1/p'
}

record() {  # program mode model ranks round rate [further members]
    printf '{"run":"%s","round":%s,"program":"%s","mode":"%s","model":"%s","ranks":%s,"batch_per_rank":%s,"precision":"%s","items_per_second":%s%s}\n' \
        "$run" "$5" "$1" "$2" "$3" "$4" "$(batch "$3")" "$precision" "$6" "${7:-}" >>"$results"
    [ -z "$out" ] || tail -n 1 "$results" >>"$out"
}

table /dev/null
for model in ${models:-$benchmark_models}; do
    case $model in char-*) layouts=nchw ;; *) layouts='nchw nhwc' ;; esac
    for ranks in ${ranks_list//,/ }; do
        # A short run first, to know how many steps take as long as they should.
        if object=$(ours "$model" "$ranks" 3); then
            steps=$(awk -v all="$seconds" -v one="$(member step_seconds <<<"$object")" \
                'BEGIN { n = int(all / one); if (n < 3) n = 3; if (n > 1e6) n = 1e6; print n }')
        else
            steps=''
        fi
        for round in $(seq "$rounds"); do
            if [ -n "$steps" ] && object=$(ours "$model" "$ranks" "$steps"); then
                fraction=$(member fraction_of_peak <<<"$object")
                record dtrain '' "$model" "$ranks" "$round" "$(member items_per_second <<<"$object")" \
                    ",\"fraction_of_peak\":$fraction"
            else
                complain "dtrain's $model on $ranks ranks"
            fi
            for layout in $layouts; do
                for mode in '' ${compile:+--compile}; do
                    rate=$(theirs "$model" "$ranks" "$layout" $mode) || rate=''
                    if [ -n "$rate" ]; then
                        record peer "$layout${mode:++compile}" "$model" "$ranks" "$round" "$rate"
                    else
                        complain "the peer's $model on $ranks ranks ($layout $mode)"
                    fi
                done
            done
        done
        table "$results" "$model" "$ranks"
    done
done
