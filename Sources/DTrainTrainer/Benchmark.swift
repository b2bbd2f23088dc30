import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainOptimizers
import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What `dtrain bench` measured: the full training step on input made up beforehand.
public struct BenchmarkResult: Sendable, Equatable, Codable {
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
    /// 10⁹ floating-point operations a second over all ranks: 2 for each multiply-add of forward, of the weight gradients and
    /// of the input gradients that are needed, times `itemsPerSecond`. The rest of a step is not counted.
    public var gflops: Double
    /// What matrix products and copies reach with as many ranks and threads, over all ranks, measured after the steps.
    public var peak: MachinePeak
    /// The part of the peak's operations a second that training reaches.
    public var fractionOfPeak: Double { gflops / peak.gflops }
    /// Bytes that the operations of a step would move over all ranks with perfect kernels, as `PlannedOperation` counts them. The
    /// optimizer and the exchange are not counted.
    public var bytesMoved: Double
    /// The same in 10⁹ bytes a second, and the part of the peak's bandwidth that it takes.
    public var gigabytesPerSecond: Double { 1e-9 * bytesMoved / stepSeconds }
    public var fractionOfBandwidth: Double { gigabytesPerSecond / peak.gigabytesPerSecond }
    /// Bytes that each rank brings into sums in one step; 0 for one rank alone.
    public var bytesReducedPerStep: Int
    /// The median, over the steps, of the time in which rank 0 had nothing to do but wait for the exchange.
    public var communicationExposedSeconds: Double
    /// The median of the time that rank 0's communication thread spent on a step's sums, waiting for other ranks included.
    public var communicationSeconds: Double
    /// The median of the part of the exchange that was hidden, of what could be: 1 − exposed time / the lesser of the
    /// exchange's time and that of backward behind the first bucket, at least 0; 0 where nothing can be hidden; nil for one
    /// rank alone.
    public var overlap: Double?
    /// Whether some ranks are on one host, and none shares memory with another: their sums go by messages.
    public var lacksSharedMemory: Bool
    /// The largest resident memory of any rank so far, in bytes.
    public var peakResidentByteCount: Int
    /// The memory of rank 0 for all values, gradients and workspaces, in bytes, and the most of it that is needed at one moment.
    public var arenaByteCount: Int
    public var arenaLowerBoundByteCount: Int
    /// Heap allocations of rank 0's compute thread in a measured step, as `allocationCount` has them: the most of any; nil where
    /// nobody counts.
    public var allocationsPerStep: Int?
    /// The part of the measured time in which rank 0 waited for samples; nil for input made up beforehand.
    public var dataWaitShare: Double?
    /// Where the time goes; nil where nobody asked.
    public var profile: StepProfile?
}

/// Real samples for a benchmark: read, decoded and transformed by threads of their own while steps are computed.
public struct BenchmarkData: Sendable {
    public var feed: any Feed
    /// On each rank.
    public var loaderThreads: Int

    public init(_ feed: any Feed, loaderThreads: Int = 1) {
        self.feed = feed
        self.loaderThreads = loaderThreads
    }
}

/// Measures the speed of training. Every rank calls it with the same arguments.
public struct Benchmark {
    public var batchSize: Int
    public var steps: Int
    public var warmupSteps: Int
    public var seed: UInt64
    /// Whether every operation of a step is timed.
    public var profiles: Bool

    /// - Parameters:
    ///   - batchSize: global, at least one sample a rank.
    ///   - steps: those measured.
    ///   - warmupSteps: run before them.
    ///   - profiles: whether every operation of a step is timed.
    public init(batchSize: Int, steps: Int, warmupSteps: Int = 3, seed: UInt64 = 0, profiles: Bool = false) {
        self.batchSize = batchSize
        self.steps = steps
        self.warmupSteps = warmupSteps
        self.seed = seed
        self.profiles = profiles
    }

    /// Trains `model` on random samples of the kind `input`, or on `data`, with SGD (momentum 0.9) and returns the same result on
    /// all ranks.
    ///
    /// - Parameters:
    ///   - data: real samples, in an order of the seed; `input` is then its own.
    ///   - threads: the compute threads of this rank.
    ///   - processors: those that this rank has for itself; by default one for each thread.
    ///   - precision: one that works here.
    ///   - compression: how gradients travel between hosts.
    ///   - allocationCount: heap allocations that the calling thread has made so far; nil where nobody counts.
    public func run(
        _ model: TrainingModel, input: ModelInput, classes: Int, queue: CommunicationQueue, threads: Int,
        processors: Double = .infinity, precision: Precision = .fp32, data: BenchmarkData? = nil,
        compression: GradientCompression = .none, allocationCount: (() -> Int)? = nil
    ) throws -> BenchmarkResult {
        precondition(steps >= 1 && warmupSteps >= 0)
        let shard = try Agreement.shared { try Shard.ofRank(queue.rank, of: queue.size, batchSize: batchSize)[0] }
        let pool = ThreadPool(threadCount: threads)
        let replica = try Agreement.shared {
            let replica = try Replica(
                model.module, input: input, classes: classes, objective: model.objective, capacity: shard.rows,
                streams: batchSize, pool: pool, precision: precision)
            try precision.check(replica, of: model.name)
            return replica
        }
        replica.initialize(seed: seed)
        let residuals = GradientResiduals(
            compression, layout: replica.layout, hosts: queue.firstSharingRanks, isDedicated: false, trains: true)
        let step = TrainingStep(
            replica: replica, optimizer: try Optimizer(.sgd(momentum: 0.9), layout: replica.layout),
            rule: TrainingStep.Rule(
                schedule: Schedule(base: 1e-4), clipNorm: nil, stepsPerEpoch: steps + warmupSteps,
                totalSteps: steps + warmupSteps, seed: seed),
            shardCount: 1, queue: queue, group: queue.world, pool: pool, stop: StopFlag(),
            residual: residuals.own)
        defer { withExtendedLifetime(residuals) {} }
        let samples = BenchmarkSamples(
            shard, input: input, classes: classes, perStep: replica.returnsSequences, seed: seed)
        let loader = try data.map { data in
            data.feed.training(
                try data.feed.sampler(batchSize: batchSize, seed: seed, shuffles: true), shards: [shard],
                steps: 0..<steps + warmupSteps, threadCount: data.loaderThreads)
        }
        defer { loader?.stop() }
        var waitedBefore = 0.0
        let profiler =
            profiles ? StepProfiler(replica.operations, samples: shard.rows, threads: threads) : nil
        step.observer = profiler

        var seconds = [Double](repeating: 0, count: steps)
        var exposed = [Double](repeating: 0, count: steps)
        var communication = [Double](repeating: 0, count: steps)
        var overlap = [Double](repeating: 0, count: steps)
        var bytesReduced = 0
        var allocations = 0
        for index in -warmupSteps..<steps {
            if index == 0 {
                if queue.size > 1 { try queue.run(.barrier) }
                waitedBefore = loader?.waitedSeconds ?? 0
                profiler?.reset()
            }
            let allocationsBefore = allocationCount?() ?? 0
            let start = monotonicSeconds()
            step.begin(step: index + warmupSteps)
            if let loader {
                let waitStart = monotonicNanoseconds()
                guard let batch = try loader.next() else {
                    preconditionFailure("the loader ended before the benchmark")
                }
                profiler?.ran(.data, from: waitStart, to: monotonicNanoseconds())
                step.add(
                    Replica.Inputs(batch), labels: batch.labels, firstPosition: batch.firstPosition,
                    mixing: batch.partners)
            } else {
                step.add(samples.inputs, labels: samples.labels, firstPosition: shard.offset)
            }
            let result = try step.finish()
            guard index >= 0 else { continue }
            seconds[index] = monotonicSeconds() - start
            profiler?.endStep()
            if let exchange = result.exchange {
                exposed[index] = exchange.exposedSeconds
                communication[index] = exchange.communicationSeconds
                overlap[index] = Self.overlap(
                    exposed: exchange.exposedSeconds, communication: exchange.communicationSeconds,
                    backward: exchange.backwardSeconds)
                bytesReduced = exchange.bytesReduced
            }
            allocations = max(allocations, (allocationCount?() ?? 0) - allocationsBefore)
        }
        let peak = try Agreement.gather(Self.peakResidentByteCount(), over: queue).max()!
        let sharing = try MemorySharing(of: queue.world, over: queue)
        let machine = try Self.machinePeak(pool, precision, queue, processors: processors)
        return try Agreement.fromRankZero(over: queue) {
            let median = Self.median(seconds)
            let rate = Double(batchSize) / median
            let cost = replica.stepCost
            return BenchmarkResult(
                ranks: queue.size, threads: threads, batchSize: batchSize, steps: steps, stepSeconds: median,
                fastestStepSeconds: seconds.min()!, slowestStepSeconds: seconds.max()!, itemsPerSecond: rate,
                gflops: 2 * Double(cost.multiplyAdds) * rate * 1e-9, peak: machine,
                bytesMoved: Double(cost.sampleByteCount * batchSize + cost.parameterByteCount * queue.size),
                bytesReducedPerStep: bytesReduced,
                communicationExposedSeconds: Self.median(exposed),
                communicationSeconds: Self.median(communication),
                overlap: queue.size == 1 ? nil : Self.median(overlap),
                lacksSharedMemory: sharing.isMissing, peakResidentByteCount: peak,
                arenaByteCount: replica.arenaByteCount, arenaLowerBoundByteCount: replica.arenaLowerBoundByteCount,
                allocationsPerStep: allocationCount == nil ? nil : allocations,
                dataWaitShare: loader.map { ($0.waitedSeconds - waitedBefore) / seconds.reduce(0, +) },
                profile: profiler?.profile(stepSeconds: seconds.reduce(0, +) / Double(steps)))
        }
    }

    /// What all ranks reach together. It comes after the steps, because the memory that it copies is none of theirs.
    private static func machinePeak(
        _ pool: ThreadPool, _ precision: Precision, _ queue: CommunicationQueue, processors: Double
    ) throws -> MachinePeak {
        if queue.size > 1 { try queue.run(.barrier) }
        let peak = MachinePeak.measure(
            pool: pool, precision: precision, sharers: queue.localSize, processors: processors)
        let peaks = try Agreement.gather(peak, over: queue)
        return MachinePeak(
            gflops: peaks.reduce(0) { $0 + $1.gflops },
            gigabytesPerSecond: peaks.reduce(0) { $0 + $1.gigabytesPerSecond })
    }

    /// A rank that waits for one that is behind may be exposed for longer than the exchange takes.
    package static func overlap(exposed: Double, communication: Double, backward: Double) -> Double {
        let hideable = min(communication, backward)
        return hideable > 0 ? max(0, 1 - exposed / hideable) : 0
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    private static func peakResidentByteCount() -> Int {
        var usage = rusage()
        // RUSAGE_SELF, which Glibc and Musl import with different types.
        getrusage(0, &usage)
        return usage.ru_maxrss * 1024
    }
}

/// One shard of random samples with random labels: values uniform in -1 ..< 1, or sequences of random tokens, all of them as
/// long as they may be.
private final class BenchmarkSamples {
    let inputs: Replica.Inputs
    let labels: MemorySlice<Int32>
    private let memory: [AlignedMemory]

    /// - Parameter perStep: whether each step of a sequence has a label.
    init(_ shard: Shard, input: ModelInput, classes: Int, perStep: Bool, seed: UInt64) {
        let random = CounterRandom(seed: seed, purpose: .synthetic)
        func counter(_ index: Int, _ count: Int) -> UInt64 { UInt64(shard.offset * count + index) }
        func numbers(_ count: Int, _ value: (Int) -> Int) -> (AlignedMemory, MemorySlice<Int32>) {
            let memory = AlignedMemory(byteCount: count * MemoryLayout<Int32>.stride)
            let slice = memory.slice(of: Int32.self)[0..<count]
            for index in 0..<count { slice[index] = Int32(value(index)) }
            return (memory, slice)
        }
        let steps = shard.rows * input.longest
        let values = steps * input.shape.count
        let packed = [
            numbers(shard.rows) { _ in input.longest }, numbers(shard.rows) { shard.offset + $0 },
        ]
        let sequences = PackedSequences(lengths: packed[0].1, positions: packed[1].1)
        let inputMemory: AlignedMemory
        if case .tokens(let vocabulary, _) = input {
            let tokens = numbers(steps) { random.below(vocabulary, counter($0, input.longest)) }
            inputMemory = tokens.0
            inputs = .tokens(tokens.1, sequences)
        } else {
            inputMemory = AlignedMemory(byteCount: values * MemoryLayout<Float>.stride)
            let slice = inputMemory.slice(of: Float.self)[0..<values]
            for index in 0..<values { slice[index] = 2 * random.uniform(counter(index, values / shard.rows)) - 1 }
            inputs = input.isSequence ? .steps(slice, sequences) : .values(slice)
        }
        let labels = numbers(perStep ? steps : shard.rows) {
            random.below(classes, 1 << 40 | counter($0, perStep ? input.longest : 1))
        }
        self.labels = labels.1
        memory = packed.map(\.0) + [inputMemory, labels.0]
    }
}
