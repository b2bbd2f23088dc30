import DTrainMPI
import Foundation

/// This process's place among those that an MPI launcher started, as the environment tells it.
///
/// MPI itself knows the same, but only after its start; errors of usage and `doctor` come before.
struct LaunchEnvironment: Sendable, Equatable {
    /// The launcher; nil where none started this process.
    let launch: MPILaunch?
    /// This process's number; nil where no launcher started it.
    let rank: Int?
    /// Processes of the job on this host.
    let localSize: Int?
    /// Whether the launcher bound this process to processors of its own.
    let isBound: Bool

    init(_ environment: [String: String] = ProcessInfo.processInfo.environment) {
        func number(_ names: [String]) -> Int? { names.lazy.compactMap { environment[$0].flatMap(Int.init) }.first }
        launch = MPILaunch.detect(in: environment)
        let isLaunched = launch != nil
        rank = isLaunched ? number(["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"]) : nil
        localSize = isLaunched ? number(["OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"]) : nil
        isBound = environment["OMPI_MCA_orte_bound_at_launch"] != nil
    }

    var isLaunched: Bool { launch != nil }
    /// Whether this process speaks for the job: rank 0, or alone.
    var speaks: Bool { rank ?? 0 == 0 }
}
