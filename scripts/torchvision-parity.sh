#!/bin/sh
# dtrain against torchvision's own models at 224×224, one after the other: logits, loss, gradients, and the way back into
# load_state_dict(strict=True). Prints a table.
#
#   scripts/torchvision-parity.sh [MODEL…]
#
# PYTHON names a Python with torch, torchvision, numpy and safetensors (default python3). It needs 6 GB of memory and, in a
# temporary directory, 3 GB of disk.
. "$(dirname "$0")/common.sh"
cd "$root"
python=${PYTHON:-python3}
exporter=Tests/DTrainModelsTests/Fixtures/export_torchvision.py
[ $# -gt 0 ] || set -- alexnet vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn googlenet \
    resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d wide_resnet50_2 wide_resnet101_2 \
    densenet121 densenet169 densenet201

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT INT TERM
# shellcheck disable=SC2086  # the flags are words
swift build $build_flags $trait_flags --build-tests > "$directory/log" 2>&1 || { cat "$directory/log" >&2; exit 1; }
failed=""
say "model              logits/spread  loss      gradient  PyTorch's fp32: NCHW, channels_last"
for model in "$@"; do
    "$python" "$exporter" export "$directory" "$model"
    # shellcheck disable=SC2086
    if ! DTRAIN_TORCHVISION="$directory" swift test $build_flags $trait_flags --disable-testable-imports --skip-build \
        --filter TorchvisionExportTests > "$directory/log" 2>&1; then
        grep -E "✘|error:" "$directory/log" >&2 || cat "$directory/log" >&2
        failed="$failed $model"
    fi
    awk '$1 == "parity" { printf "%-18s %-14s %-9s %-9s %s %s\n", $2, $3, $4, $5, $6, $7; found = 1 } END { exit !found }' \
        "$directory/log" || failed="$failed $model"
    "$python" "$exporter" verify "$directory" "$model" || failed="$failed $model"
    rm -r "${directory:?}/$model"
done
[ -z "$failed" ] || fail "failed:$failed"
