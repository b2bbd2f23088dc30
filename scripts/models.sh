# The models that are measured, and how: sourced by bench.sh and scaling.sh.
benchmark_models="mlp lenet5 cnn-mnist inception-mnist resnet18-cifar resnet18 resnet50 resnext50_32x4d googlenet densenet121 \
alexnet vgg16 char-lstm char-gru char-rnn"

# Samples a rank of a model.
batch() {
    case $1 in
        mlp | lenet5 | cnn-mnist | inception-mnist | resnet18-cifar) echo 64 ;;
        alexnet | char-*) echo 32 ;;
        vgg16) echo 8 ;;
        *) echo 16 ;;
    esac
}

# Further flags of dtrain bench for a model.
bench_flags() { [ "$1" != googlenet ] || echo --no-aux; }

# The JSON object of a bench: of so many samples over all ranks, started by the command.
measured() {  # model samples steps threads command…
    local model=$1 samples=$2 steps=$3 threads=$4
    shift 4
    # shellcheck disable=SC2046,SC2154  # no flag, or one; the caller's program and precision
    "$@" "$program" bench --model "$model" --batch-size "$samples" --precision "$precision" --threads "$threads" \
        --steps "$steps" $(bench_flags "$model") --json
}

# A number of the JSON object on standard input, by its name.
member() { sed -n "s/.*\"$1\":\([0-9.e+-]*\).*/\1/p"; }
