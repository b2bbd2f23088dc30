#!/bin/sh
# Builds dtrain in release mode and puts it on the PATH: a link in /usr/local/bin, or in ~/.local/bin.
. "$(dirname "$0")/common.sh"

cd "$root"
# shellcheck disable=SC2086  # the flags are words
swift build $build_flags $trait_flags --product dtrain
# shellcheck disable=SC2086
program=$(swift build $build_flags $trait_flags --show-bin-path)/dtrain

if [ -w /usr/local/bin ]; then folder=/usr/local/bin; else folder=$HOME/.local/bin; fi
mkdir -p "$folder"
if [ -e "$folder/dtrain" ] && [ ! -L "$folder/dtrain" ]; then
    fail "$folder/dtrain is a file of somebody else's; move it away, or run $program itself."
fi
ln -sfn "$program" "$folder/dtrain"
case :$PATH: in
    *":$folder:"*) say "dtrain is on the PATH: $folder/dtrain" ;;
    *) say "dtrain is in $folder, which is not on the PATH. Add it: export PATH=\"$folder:\$PATH\"" ;;
esac
