# Shared by the scripts here; sourced, not run. Sets `root`, the package's folder.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# Run as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# The build flags: imports must be declared, and tests see what users see, so that one build serves both.
build_flags="-c release --explicit-target-dependency-import-check error"

# DTRAIN_ONEDNN=no goes without oneDNN: all convolutions by dtrain's own kernels and OpenBLAS, and fewer of them in bf16.
case ${DTRAIN_ONEDNN:-yes} in
    yes) trait_flags="" ;;
    no) trait_flags="--disable-default-traits" ;;
    *) fail "DTRAIN_ONEDNN is '$DTRAIN_ONEDNN': give yes or no." ;;
esac
