import TestSupport

/// Runs `mpirun -np ranks mpi-check arguments…`, also as root and with fewer cores than ranks. The deadline is for machines
/// that other tests keep busy.
func mpiCheck(
    ranks: Int, _ arguments: String..., environment: [String: String] = [:], deadlineSeconds: Double = 240
) throws -> ProcessOutcome {
    let rootMayRun = ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]
    return try runProcess(
        "mpirun", ["--oversubscribe", "-np", String(ranks), try builtProduct("mpi-check")] + arguments,
        environment: environment.merging(rootMayRun) { $1 }, deadlineSeconds: deadlineSeconds)
}
