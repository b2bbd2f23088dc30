import TestSupport

/// Runs `mpirun -np ranks mpi-check arguments…`, also as root and with fewer cores than ranks. The deadline is for machines
/// that other tests keep busy.
func mpiCheck(ranks: Int, _ arguments: String..., deadlineSeconds: Double = 240) throws -> ProcessOutcome {
    try mpirun(
        ["-np", String(ranks), try builtProduct("mpi-check")] + arguments, deadlineSeconds: deadlineSeconds)
}

func mpirun(_ arguments: [String], deadlineSeconds: Double = 240) throws -> ProcessOutcome {
    try runProcess(
        "mpirun", ["--oversubscribe"] + arguments,
        environment: ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"],
        deadlineSeconds: deadlineSeconds)
}
