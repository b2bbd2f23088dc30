import DTrainTrainer

/// Throws unless a number that was given lies in 1 ... `limit`.
func checkNumber(_ option: String, _ value: Int?, limit: Int) throws {
    guard let value, !(1...limit).contains(value) else { return }
    throw UsageError("--\(option) '\(value)' is not valid: give a whole number from 1 to \(limit).")
}

func checkThreads(_ threads: Int?) throws {
    try checkNumber("threads", threads, limit: RunConfiguration.largestThreadCount)
}
/// Throws unless a seed that was given is one.
func checkSeed(_ seed: Int) throws {
    guard seed < 0 else { return }
    throw UsageError("--seed '\(seed)' is not valid: give a whole number of at least 0.")
}

func checkClasses(_ classes: Int?) throws { try checkNumber("classes", classes, limit: 1_000_000) }
func checkImageSize(_ size: Int?) throws { try checkNumber("image-size", size, limit: 16_384) }
