import DTrainTrainer

/// Checks `--threads` of the commands that take it as a number.
func checkThreads(_ threads: Int?) throws {
    let limit = RunConfiguration.largestThreadCount
    guard let threads, !(1...limit).contains(threads) else { return }
    throw UsageError("--threads '\(threads)' is not valid: give a whole number from 1 to \(limit).")
}
