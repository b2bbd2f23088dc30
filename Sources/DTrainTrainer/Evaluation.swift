import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainTensor

/// A pass over a data set without training: every label counts exactly once over all ranks of a group. There is one a
/// sample, or one a character of a text.
///
/// Counts are summed as integers; the loss in double, in rank order.
public struct Evaluation: Sendable, Equatable {
    public var correct: Int
    public var correctTop5: Int
    /// Labels.
    public var samples: Int
    /// The mean loss over all of them.
    public var loss: Double
    /// Wall time on this rank.
    public var seconds: Double
    /// Which class was taken for which, where it was asked for.
    public var confusion: ConfusionMatrix?
    /// The fraction of labels that have the largest output.
    public var top1: Double { samples == 0 ? 0 : Double(correct) / Double(samples) }

    /// Evaluates `replica`, which every rank of `group` holds with the same parameters, on a split of `feed`.
    ///
    /// - Parameters:
    ///   - split: which one.
    ///   - group: the ranks that share the work; all by default.
    ///   - loaderThreads: threads that read samples.
    ///   - countsConfusion: whether to count which class is taken for which.
    public static func run(
        _ replica: Replica, on feed: any Feed, split: DatasetSplit = .test, queue: CommunicationQueue,
        group: CommunicatorGroup? = nil, loaderThreads: Int = 1, countsConfusion: Bool = false
    ) throws -> Evaluation {
        let group = group ?? queue.world
        let start = monotonicSeconds()
        var totals = try local(
            replica, on: feed, split: split, rank: group.rank, rankCount: group.size, loaderThreads: loaderThreads,
            countsConfusion: countsConfusion)
        if group.size > 1 { try totals.sum(over: group, of: queue) }
        return totals.evaluation(since: start)
    }

    /// Evaluates the whole test split here.
    static func alone(_ replica: Replica, on feed: any Feed, loaderThreads: Int) throws -> Evaluation {
        let start = monotonicSeconds()
        return try local(replica, on: feed, split: .test, rank: 0, rankCount: 1, loaderThreads: loaderThreads)
            .evaluation(since: start)
    }

    private static func local(
        _ replica: Replica, on feed: any Feed, split: DatasetSplit, rank: Int, rankCount: Int, loaderThreads: Int,
        countsConfusion: Bool = false
    ) throws -> Totals {
        // Streams begin with nothing carried over.
        replica.resetEvaluationState()
        let loader = feed.evaluation(
            of: split, rank: rank, rankCount: rankCount, rows: replica.capacity, threadCount: loaderThreads)
        defer { loader.stop() }
        var totals = Totals(confusion: countsConfusion ? ConfusionMatrix(classCount: replica.outputCount) : nil)
        while let batch = try loader.next() {
            // All its samples may be broken, and all its streams over.
            if batch.labels.count == 0 { continue }
            let sum = replica.evaluate(Replica.Samples(inputs: Replica.Inputs(batch), labels: batch.labels))
            totals.loss += sum.loss.sum
            totals.denominator += sum.loss.denominator
            totals.correct += sum.correct
            totals.correctTop5 += sum.correctTop5
            totals.samples += batch.labels.count
            guard countsConfusion else { continue }
            for (row, prediction) in replica.predictions.enumerated() {
                totals.confusion?.record(label: Int(batch.labels[row]), prediction: prediction)
            }
        }
        return totals
    }

    private struct Totals {
        var loss = 0.0
        var denominator = 0.0
        var correct = 0
        var correctTop5 = 0
        var samples = 0
        var confusion: ConfusionMatrix?

        init(confusion: ConfusionMatrix?) { self.confusion = confusion }

        func evaluation(since start: Double) -> Evaluation {
            Evaluation(
                correct: correct, correctTop5: correctTop5, samples: samples, loss: loss / max(denominator, 1),
                seconds: monotonicSeconds() - start, confusion: confusion)
        }

        mutating func sum(over group: CommunicatorGroup, of queue: CommunicationQueue) throws {
            let memory = AlignedMemory(byteCount: 64)
            let words: MemorySlice<UInt64> = memory.slice()
            let counts = MemorySlice<Int64>(
                base: UnsafeMutableRawPointer(words.base).assumingMemoryBound(to: Int64.self), count: 3)
            let losses = MemorySlice<Double>(
                base: UnsafeMutableRawPointer(words.base + 4).assumingMemoryBound(to: Double.self), count: 2)
            (counts[0], counts[1], counts[2]) = (Int64(correct), Int64(correctTop5), Int64(samples))
            (losses[0], losses[1]) = (loss, denominator)
            _ = queue.submit(.allReduceSumInt64(counts), in: group)
            try queue.wait(queue.submit(.allReduceSumDouble(losses), in: group))
            (correct, correctTop5, samples) = (Int(counts[0]), Int(counts[1]), Int(counts[2]))
            (loss, denominator) = (losses[0], losses[1])
            try confusion?.sum(over: group, of: queue)
            withExtendedLifetime(memory) {}
        }
    }
}
