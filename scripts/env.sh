# What Open MPI needs on this machine for `mpirun -np N dtrain`. Source it: . scripts/env.sh
# It sets only what is not set, and prints nothing.

# Root: mpirun refuses to start for root unless told twice.
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT="${OMPI_ALLOW_RUN_AS_ROOT:-1}"
    export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}"
fi

# Fewer cores than ranks: start them anyway, and let a rank that waits give its core to one that computes.
export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle:-1}"

# mpirun would bind each of up to two ranks to one core; a rank uses as many as --threads says.
export OMPI_MCA_hwloc_base_binding_policy="${OMPI_MCA_hwloc_base_binding_policy:-none}"

# A container without CAP_SYS_PTRACE (bit 19): ranks may not read each other's memory, so copy through shared memory.
if [ -e /.dockerenv ] || [ -e /run/.containerenv ] || [ -n "${container:-}" ]; then
    _dtrain_capabilities=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status 2>/dev/null)
    if [ -n "$_dtrain_capabilities" ] && [ $((0x$_dtrain_capabilities >> 19 & 1)) -eq 0 ]; then
        export OMPI_MCA_btl_vader_single_copy_mechanism="${OMPI_MCA_btl_vader_single_copy_mechanism:-none}"
    fi
    unset _dtrain_capabilities
fi

# dtrain itself, where scripts/build.sh put it.
case :$PATH: in
    *":$HOME/.local/bin:"*) ;;
    *) [ ! -e "$HOME/.local/bin/dtrain" ] || export PATH="$HOME/.local/bin:$PATH" ;;
esac
