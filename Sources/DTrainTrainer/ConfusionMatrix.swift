import DTrainCollectives
import DTrainTensor

/// How often samples of each class were taken for each class, in whole numbers.
public struct ConfusionMatrix: Sendable, Equatable {
    public let classCount: Int
    private var counts: [Int]

    /// A matrix of zeros for `classCount` classes.
    public init(classCount: Int) {
        self.classCount = classCount
        counts = [Int](repeating: 0, count: classCount * classCount)
    }

    /// Samples of class `label` for which class `prediction` had the largest output.
    public subscript(label label: Int, prediction prediction: Int) -> Int { counts[label * classCount + prediction] }
    /// The row of class `label`: its samples by prediction.
    public func row(_ label: Int) -> [Int] { Array(counts[label * classCount..<(label + 1) * classCount]) }
    /// Samples of class `label`.
    public func samples(of label: Int) -> Int { row(label).reduce(0, +) }
    /// Those of them that were recognised.
    public func correct(of label: Int) -> Int { self[label: label, prediction: label] }

    /// The pairs of classes that are most often confused, most frequent first.
    public func confusions(limit: Int) -> [(label: Int, prediction: Int, count: Int)] {
        let pairs = counts.indices.filter { counts[$0] > 0 && $0 / classCount != $0 % classCount }
        return pairs.sorted { (counts[$1], $0) < (counts[$0], $1) }.prefix(limit).map {
            ($0 / classCount, $0 % classCount, counts[$0])
        }
    }

    mutating func record(label: Int, prediction: Int) { counts[label * classCount + prediction] += 1 }

    /// Adds up the matrices of all ranks of `group`.
    mutating func sum(over group: CommunicatorGroup, of queue: CommunicationQueue) throws {
        let memory = AlignedMemory(byteCount: counts.count * MemoryLayout<Int64>.stride)
        let slice = memory.slice(of: Int64.self)[0..<counts.count]
        for (index, count) in counts.enumerated() { slice[index] = Int64(count) }
        try queue.run(.allReduceSumInt64(slice), in: group)
        counts = slice.array().map { Int($0) }
        withExtendedLifetime(memory) {}
    }
}
