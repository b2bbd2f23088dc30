import DTrainCollectives
import DTrainEvents
import DTrainTensor

/// What the first training rank tells a dedicated coordinator: steps done since the last message, and what comes next.
/// A fixed number of doubles, so that both sides know its size and nothing is allocated.
final class CoordinatorMessage {
    enum Kind: Int {
        /// Steps alone.
        case steps
        /// Parameters and optimizer state follow.
        case snapshot
        /// The run is over.
        case end
        /// The run cannot go on.
        case failure
    }

    static let recordCapacity = 64
    private static let recordWidth = 8
    private static let headerWidth = 8

    private let memory: AlignedMemory
    private let values: MemorySlice<Double>

    init() {
        let count = Self.headerWidth + Self.recordCapacity * Self.recordWidth
        memory = AlignedMemory(byteCount: count * MemoryLayout<Double>.stride)
        values = memory.slice(of: Double.self)[0..<count]
    }

    var bytes: MemorySlice<UInt8> { values.rawBytes }

    // MARK: The header: kind, number of records, and what the kind needs

    var kind: Kind {
        get { Kind(rawValue: Int(values[0]))! }
        set { values[0] = Double(newValue.rawValue) }
    }

    private(set) var recordCount: Int {
        get { Int(values[1]) }
        set { values[1] = Double(newValue) }
    }

    /// Of a snapshot.
    var milestone: (step: Int, evaluate: Bool, save: Bool) {
        get { (Int(values[2]), values[3] != 0, values[4] != 0) }
        set {
            (values[2], values[3], values[4]) = (
                Double(newValue.step), newValue.evaluate ? 1 : 0, newValue.save ? 1 : 0
            )
        }
    }

    /// Of an end.
    var ending: Ending {
        get {
            Ending(
                step: Int(values[2]), stop: StopReason(rawValue: Int(values[3])), isEarly: values[6] != 0,
                samples: Int(values[4]), trainingSeconds: values[5])
        }
        set {
            (values[2], values[3]) = (Double(newValue.step), Double(newValue.stop?.rawValue ?? -1))
            (values[4], values[5]) = (Double(newValue.samples), newValue.trainingSeconds)
            values[6] = newValue.isEarly ? 1 : 0
        }
    }

    /// Of a failure.
    var failure: Failure {
        get { Failure(kind: Failure.Kind(rawValue: Int(values[3]))!, step: Int(values[2]), loss: values[4]) }
        set {
            (values[2], values[3], values[4]) = (Double(newValue.step), Double(newValue.kind.rawValue), newValue.loss)
        }
    }

    // MARK: The records

    var isFull: Bool { recordCount == Self.recordCapacity }

    func clear() { recordCount = 0 }

    func append(_ step: StepCompleted) {
        let start = Self.headerWidth + recordCount * Self.recordWidth
        values[start] = Double(step.step)
        values[start + 1] = Double(step.epoch)
        values[start + 2] = step.loss
        values[start + 3] = step.learningRate
        values[start + 4] = step.samplesPerSecond
        values[start + 5] = step.communicationExposedSeconds
        values[start + 6] = step.dataWaitSeconds
        values[start + 7] = step.gradientNorm ?? .nan
        recordCount += 1
    }

    var steps: [StepCompleted] {
        (0..<recordCount).map { record in
            let start = Self.headerWidth + record * Self.recordWidth
            let norm = values[start + 7]
            return StepCompleted(
                step: Int(values[start]), epoch: Int(values[start + 1]), loss: values[start + 2],
                learningRate: values[start + 3], samplesPerSecond: values[start + 4],
                communicationExposedSeconds: values[start + 5], dataWaitSeconds: values[start + 6],
                gradientNorm: norm.isNaN ? nil : norm)
        }
    }
}

/// What evaluations have decided, on its way from a dedicated coordinator to the ranks that train.
final class VerdictMessage {
    private let memory: AlignedMemory
    private let values: MemorySlice<Double>

    init() {
        memory = AlignedMemory(byteCount: 2 * MemoryLayout<Double>.stride)
        values = memory.slice(of: Double.self)[0..<2]
    }

    var bytes: MemorySlice<UInt8> { values.rawBytes }

    var value: Steering.Verdict {
        get { Steering.Verdict(rateFactor: values[0], ends: values[1] != 0) }
        set { (values[0], values[1]) = (newValue.rateFactor, newValue.ends ? 1 : 0) }
    }
}
