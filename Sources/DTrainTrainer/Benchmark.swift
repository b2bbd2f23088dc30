import DTrainCollectives
import DTrainEngine
import DTrainTensor

/// What `dtrain bench` measured: the full training step on input made up beforehand.
public struct BenchmarkResult: Sendable, Equatable {
    public var ranks: Int
    /// Compute threads of each rank.
    public var threads: Int
    /// Samples of one step over all ranks.
    public var batchSize: Int
    /// Measured steps, warm-up not counted.
    public var steps: Int
    /// The median over the steps.
    public var stepSeconds: Double
    /// The fastest and the slowest step.
    public var fastestStepSeconds: Double
    public var slowestStepSeconds: Double
    /// Samples over all ranks a second, at the median step.
    public var itemsPerSecond: Double
    /// 10⁹ floating-point operations a second over all ranks: 6 for each multiply-add of a sample's forward pass (2
    /// forward, 4 backward), times `itemsPerSecond`. What else a step does (bias, activation, loss, update) is not counted.
    public var gflops: Double
    /// Bytes that each rank brings into sums in one step; 0 for one rank alone.
    public var bytesReducedPerStep: Int
    /// The median, over the steps, of the time in which rank 0 had nothing to do but wait for the exchange.
    public var communicationExposedSeconds: Double
    /// The largest resident memory of any rank so far, in bytes.
    public var peakResidentByteCount: Int
    /// Heap allocations of rank 0's compute thread in a measured step: the most of any; nil where nobody counts.
    public var allocationsPerStep: Int?
}

/// Measures the speed of training. Every rank calls it with the same arguments.
public struct Benchmark {
    public var batchSize: Int
    public var steps: Int
    public var warmupSteps: Int
    public var seed: UInt64

    /// - Parameters:
    ///   - batchSize: global, at least one sample a rank.
    ///   - steps: those measured.
    ///   - warmupSteps: run before them.
    public init(batchSize: Int, steps: Int, warmupSteps: Int = 3, seed: UInt64 = 0) {
        self.batchSize = batchSize
        self.steps = steps
        self.warmupSteps = warmupSteps
        self.seed = seed
    }

    /// Trains `model` on random images of shape `input` with SGD (momentum 0.9) and returns the same result on all ranks.
    ///
    /// - Parameters:
    ///   - threads: the compute threads of this rank.
    ///   - allocationCount: heap allocations that the calling thread has made so far; nil where nobody counts.
    public func run(
        _ model: TrainingModel, input: Shape, classes: Int, queue: CommunicationQueue, threads: Int,
        allocationCount: (() -> Int)? = nil
    ) throws -> BenchmarkResult {
        fatalError("in progress")
    }
}
