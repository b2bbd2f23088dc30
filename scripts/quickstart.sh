#!/bin/sh
# From a fresh machine to a trained network: installs what is missing, builds, puts dtrain on the PATH, and trains on
# the embedded digits with two processes. Arguments go to dtrain.
. "$(dirname "$0")/common.sh"

"$root/scripts/setup.sh"
say "Building in release mode; the first time takes a few minutes."
"$root/scripts/build.sh"
. "$root/scripts/env.sh"
say ""
say "mpirun -np 2 dtrain $*"
exec mpirun -np 2 dtrain "$@"
