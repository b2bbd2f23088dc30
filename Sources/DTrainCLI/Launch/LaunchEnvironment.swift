import DTrainReport
import Foundation

/// What the environment tells about the MPI launcher that started this process: the one place that reads it.
///
/// MPI itself knows the same, but only after its start; errors of usage and `doctor` come before.
struct LaunchEnvironment: Sendable, Equatable {
    /// This process's number and the number of processes; nil where no launcher started it.
    var rank: Int?
    var size: Int?
    /// Processes of the job on this host.
    var localSize: Int?
    /// Whether the launcher bound this process to processors of its own.
    var isBound: Bool

    init(_ environment: [String: String] = ProcessInfo.processInfo.environment) {
        func number(_ names: [String]) -> Int? { names.lazy.compactMap { environment[$0].flatMap(Int.init) }.first }
        let isLaunched = Terminal.isUnderLauncher(environment)
        rank = isLaunched ? number(["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"]) : nil
        size = isLaunched ? number(["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"]) : nil
        localSize = isLaunched ? number(["OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"]) : nil
        isBound = environment["OMPI_MCA_orte_bound_at_launch"] != nil
    }

    var isLaunched: Bool { rank != nil }
    /// Whether this process speaks for the job: rank 0, or alone.
    var speaks: Bool { rank ?? 0 == 0 }
}
