import DTrainTensor

/// Sums a step's gradients over all ranks while backward still runs.
///
/// The gradient arena lies in the order in which backward finishes it, so a bucket is a slice of it: nothing is copied.
/// A bucket is submitted as soon as all its gradients are ready; the first is small, so that communication starts
/// early. A small tail of doubles (loss, denominator, flags) is summed last, in a collective of its own.
/// Bounds of buckets depend on the layout and the sizes below alone, so all ranks have the same.
///
/// One step: any number of `gradientsReady`, then `finish`. Nothing is allocated after `init`.
public final class GradientReducer {
    /// What one step's exchange has cost.
    public struct StepCost: Sendable {
        /// Time for which the caller of `finish` slept: communication that backward did not hide.
        public let exposedSeconds: Double
        /// Bytes that this rank brought into the sums of the step.
        public let bytesReduced: Int
        /// Time that the communication thread spent on the step's sums, waiting for other ranks included.
        public let communicationSeconds: Double
        /// Time from the first bucket's submission to `finish`: what communication can hide behind.
        public let backwardSeconds: Double
    }

    /// 2 MiB, by measurement (docs/benchmarks.md): the last bucket leaves when backward ends, and what it takes is exposed.
    public static let defaultBucketByteCount = 2 << 20
    /// 1 MiB.
    public static let defaultFirstBucketByteCount = 1 << 20

    /// The buckets, in the order of their reduction: together all elements of the gradient arena.
    public let buckets: [Range<Int>]

    private let gradients: MemorySlice<Float>
    /// What bfloat16 has left out so far; nil where gradients travel as they are.
    private let residual: MemorySlice<Float>?
    private let workspaceMemory: AlignedMemory
    private let tail: MemorySlice<Double>
    private let queue: CommunicationQueue
    private let group: CommunicatorGroup
    /// Where the last parameter of each bucket ends, padding excluded.
    private let completions: [Int]
    private var submittedCount = 0
    private var readyCount = 0
    /// When the step's first bucket was submitted, and how long the communication thread had been busy until then.
    private var first = (time: 0.0, busySeconds: 0.0)

    /// - Parameters:
    ///   - gradients: the gradient arena, `layout.trainableCount` elements.
    ///   - residual: sums are compressed (`CompressedSum`) with these residuals, as many as gradients; nil leaves them exact.
    ///   - tail: what is summed along with each step; may be empty.
    ///   - group: the ranks that train; all by default.
    ///   - bucketByteCount: a bucket holds at most this much, or a single larger parameter.
    public init(
        layout: ParameterLayout, gradients: MemorySlice<Float>, residual: MemorySlice<Float>? = nil,
        tail: MemorySlice<Double>, queue: CommunicationQueue,
        group: CommunicatorGroup? = nil, bucketByteCount: Int = defaultBucketByteCount,
        firstBucketByteCount: Int = defaultFirstBucketByteCount
    ) {
        precondition(
            gradients.count == layout.trainableCount,
            "\(gradients.count) gradients for a layout of \(layout.trainableCount)")
        self.gradients = gradients
        self.residual = residual
        self.tail = tail
        self.queue = queue
        self.group = group ?? queue.world
        let trainable = layout.segments.map(\.range).filter { $0.lowerBound < layout.trainableCount && !$0.isEmpty }
        buckets = Self.buckets(
            of: trainable, count: layout.trainableCount,
            elementCount: bucketByteCount / MemoryLayout<Float>.stride,
            firstElementCount: firstBucketByteCount / MemoryLayout<Float>.stride)
        // One for all buckets: the communication thread sums them one after the other.
        let largest = residual == nil ? 0 : buckets.map(\.count).max() ?? 0
        workspaceMemory = AlignedMemory(
            byteCount: CompressedSum.workspaceCount(largest, ranks: self.group.size) * MemoryLayout<UInt16>.stride)
        completions = buckets.map { bucket in trainable.last { $0.lowerBound < bucket.upperBound }!.upperBound }
    }

    /// Says that the gradients of `range` will not change any more in this step. Ranges come in the arena's order, each
    /// where the one before ended; padding between parameters may be left out.
    public func gradientsReady(_ range: Range<Int>) {
        precondition(
            range.lowerBound >= readyCount && range.lowerBound < readyCount + ParameterLayout.alignment
                && range.upperBound <= gradients.count,
            "gradients \(range) were reported ready after 0..<\(readyCount) of \(gradients.count)")
        readyCount = range.upperBound
        while submittedCount < buckets.count && completions[submittedCount] <= readyCount { submitNext() }
    }

    /// Submits what has not been submitted yet, then the tail, and waits for all of it; afterwards the arena and the
    /// tail hold sums over all ranks, and the next step may begin.
    ///
    /// - Throws: what the queue throws; the sums are then incomplete.
    public func finish() throws -> StepCost {
        while submittedCount < buckets.count { submitNext() }
        submittedCount = 0
        readyCount = 0
        let start = monotonicSeconds()
        // The tail always goes, be it empty: its ticket is the step's last.
        try queue.wait(queue.submit(.allReduceSumDouble(tail), in: group))
        let statistics = queue.statistics
        let gradientBytes = residual == nil ? gradients.byteCount : CompressedSum.byteCount(gradients.count)
        return StepCost(
            exposedSeconds: monotonicSeconds() - start, bytesReduced: gradientBytes + tail.byteCount,
            communicationSeconds: statistics.busySeconds - first.busySeconds, backwardSeconds: start - first.time)
    }

    private func submitNext() {
        if submittedCount == 0 { first = (monotonicSeconds(), queue.statistics.busySeconds) }
        let bucket = buckets[submittedCount]
        if let residual {
            let sum = CompressedSum(
                values: gradients[bucket], residual: residual[bucket], workspace: workspaceMemory.slice())
            _ = queue.submit(.allReduceSumCompressed(sum), in: group)
        } else {
            _ = queue.submit(.allReduceSumFloat(gradients[bucket]), in: group)
        }
        submittedCount += 1
    }

    /// Contiguous buckets with bounds at the starts of `segments` that cover 0 ..< `count`.
    static func buckets(
        of segments: [Range<Int>], count: Int, elementCount: Int, firstElementCount: Int
    ) -> [Range<Int>] {
        var bounds = [0]
        for (index, segment) in segments.enumerated() where index > 0 {
            let limit = bounds.count == 1 ? min(firstElementCount, elementCount) : elementCount
            if segment.upperBound - bounds.last! > limit { bounds.append(segment.lowerBound) }
        }
        if count > 0 { bounds.append(count) }
        return zip(bounds, bounds.dropFirst()).map { $0..<$1 }
    }
}
