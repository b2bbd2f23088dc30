/// How this process was started, where a launcher of MPI jobs started it.
public struct MPILaunch: Hashable, Sendable {
    /// The launcher in words: `mpirun`, `srun`.
    public let launcher: String
    /// The number of ranks that it started, where it says so.
    public let size: Int?

    public init(launcher: String, size: Int?) {
        self.launcher = launcher
        self.size = size
    }

    /// Reads the marks that launchers leave in the environment; nil where none started this process, which then
    /// trains alone and needs no MPI.
    ///
    /// A batch script of Slurm is not a launch, nor are the variables of its allocation: only a step (`srun`) is.
    public static func detect(in environment: [String: String]) -> MPILaunch? {
        func number(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }
        if number("OMPI_COMM_WORLD_RANK") != nil {
            return MPILaunch(launcher: "mpirun", size: number("OMPI_COMM_WORLD_SIZE"))
        }
        if number("SLURM_STEP_ID") != nil, let size = number("SLURM_STEP_NUM_TASKS"), number("SLURM_PROCID") != nil {
            return size > 1 || environment["PMIX_RANK"] != nil ? MPILaunch(launcher: "srun", size: size) : nil
        }
        if number("PMIX_RANK") != nil { return MPILaunch(launcher: "a PMIx launcher", size: nil) }
        if number("PMI_RANK") != nil { return MPILaunch(launcher: "a PMI launcher", size: number("PMI_SIZE")) }
        return nil
    }
}
