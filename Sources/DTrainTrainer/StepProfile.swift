import DTrainEngine

/// Where the time of a step goes on rank 0, as `dtrain bench --profile` shows it; each list has the longest first.
public struct StepProfile: Sendable, Equatable, Codable {
    public struct Row: Sendable, Equatable, Codable {
        /// A layer's path, or a function's name; nil for a sum over all operations of a kind.
        public var path: String?
        /// The kind of operation; for what is no part of the plan, `optimizer`, `exchange`, `data` or `rest`.
        public var operation: String
        /// nil for what is no part of the plan.
        public var pass: KernelPass?
        /// The mean over the measured steps. Where threads share an operation, that of the slowest one.
        public var secondsPerStep: Double
        /// Of the whole step.
        public var share: Double
        /// 10⁹ floating-point operations a second, 2 for each multiply-add; 0 where the operation has none.
        public var gflops: Double = 0
        /// 10⁹ bytes a second that a perfect kernel would move (see `PlannedOperation`).
        public var gigabytesPerSecond: Double = 0
    }

    /// The mean over the measured steps.
    public var secondsPerStep: Double
    /// Each operation, forward and backward apart.
    public var operations: [Row]
    /// The same summed over operations of one kind.
    public var kinds: [Row]
    /// What is no part of the plan.
    public var others: [Row]
}
