#!/bin/sh
# Installs what the build needs and this machine lacks (Debian or Ubuntu), and the packages given as arguments; says
# nothing when all is there. DTRAIN_ONEDNN=no leaves oneDNN out.
. "$(dirname "$0")/common.sh"

packages="ca-certificates git pkg-config openmpi-bin libopenmpi-dev libopenblas-dev libturbojpeg0-dev libpng-dev zlib1g-dev
    libssl-dev libcurl4-openssl-dev $*"
[ -n "$trait_flags" ] || packages="$packages libdnnl-dev"

command -v swift >/dev/null ||
    fail "Swift is not on the PATH. Install Swift 6.1 or newer: https://www.swift.org/install/linux/"
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
case $version in
    [0-5].* | 6.0) fail "Swift $version is too old: dtrain needs 6.1 or newer (https://www.swift.org/install/linux/)." ;;
esac

# The embedded data need a C compiler with #embed. SwiftPM takes the one beside swift unless CC names another.
can_embed() { printf '#if !defined(__has_embed)\n#error\n#endif\n' | "$1" -x c -std=gnu2x -fsyntax-only - 2>/dev/null; }
beside=$(dirname "$(readlink -f "$(command -v swift)")")/clang
can_embed "${CC:-$beside}" || can_embed "${CC:-clang}" ||
    fail "The C compiler has no #embed. Install clang 19 or newer and export CC=clang-19 (or newer) before building."

missing=""
if command -v dpkg-query >/dev/null; then
    for package in $packages; do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
        # pkgconf provides pkg-config on newer releases.
        [ "$state" = installed ] || { [ "$package" = pkg-config ] && command -v pkg-config >/dev/null; } ||
            missing="$missing $package"
    done
else
    # Another distribution: look for the libraries themselves.
    for module in ompi-c openblas libturbojpeg libpng zlib libcrypto; do
        pkg-config --exists "$module" 2>/dev/null || missing="$missing $module"
    done
    # oneDNN has no pkg-config file.
    [ -n "$trait_flags" ] || printf '#include <oneapi/dnnl/dnnl.h>\n' | "${CC:-$beside}" -x c -fsyntax-only - 2>/dev/null ||
        missing="$missing oneDNN (or DTRAIN_ONEDNN=no)"
    [ -z "$missing" ] || fail "Missing development files for:$missing. Install them with this system's package manager."
fi
[ -n "$missing" ] || exit 0

say "Installing:$missing"
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    fail "Installing packages needs root. Run as root: apt-get install --no-install-recommends$missing"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # the packages are words
if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "Could not install the packages above. Try: apt-get install --no-install-recommends$missing"
fi
