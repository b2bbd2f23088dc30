#!/bin/sh
# Builds and tests the engine and the models with oneDNN 3.2 (Python's packages of 2023.2.0), where the system has 2.x. Arguments
# go to `swift test`.
#
# PYTHON names a Python with pip (default python3). It builds in .build/onednn3, beside the other build.
. "$(dirname "$0")/common.sh"
. "$root/scripts/env.sh"
cd "$root"
prefix=$root/.build/onednn3/library
if [ ! -e "$prefix/lib/libdnnl.so.3" ]; then
    mkdir -p "$prefix"
    wheels=$(mktemp -d)
    trap 'rm -rf "$wheels"' EXIT INT TERM
    "${PYTHON:-python3}" -m pip download --quiet --no-deps --dest "$wheels" onednn-devel-cpu-gomp==2023.2.0 \
        onednn-cpu-gomp==2023.2.0
    for wheel in "$wheels"/*.whl; do "${PYTHON:-python3}" -m zipfile -e "$wheel" "$wheels"; done
    cp -r "$wheels"/*.data/data/* "$prefix"
fi
[ $# -gt 0 ] || set -- --filter 'DTrainEngineTests|DTrainModelsTests'
set -- --scratch-path .build/onednn3 -Xcc "-I$prefix/include" -Xlinker "$prefix/lib/libdnnl.so" "$@"
# Where the linker is led to the system's folder by other packages, the program names 2.x as well: 3.2 must come first.
# shellcheck disable=SC2086  # the flags are words
LD_LIBRARY_PATH="$prefix/lib" LD_PRELOAD="$prefix/lib/libdnnl.so.3" swift test $build_flags --disable-testable-imports "$@"
