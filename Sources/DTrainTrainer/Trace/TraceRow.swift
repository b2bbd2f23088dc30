import DTrainCollectives
import DTrainTensor

/// What one thread did from one moment to another.
struct TraceSpan: BitwiseCopyable {
    enum Kind: BitwiseCopyable {
        /// A kernel; the number is that of the operation.
        case forward, backward
        /// A whole step, or an evaluation after it; the number is the step's.
        case step, evaluation
        case part(StepPart)
        /// An operation between ranks; `byteCount` is this rank's part in it.
        case communication(CommunicationOperation.Kind)
        /// A batch made by a loader; the number counts from the first one.
        case batch
    }
    var kind: Kind
    var number = 0
    var byteCount = 0
    /// Nanoseconds of CLOCK_MONOTONIC.
    var start: Int
    var end: Int
}

/// The spans of one thread, in memory made beforehand. One thread at a time adds to it.
final class TraceRow: @unchecked Sendable {
    let name: String
    private let memory: AlignedMemory
    private let places: MemorySlice<TraceSpan>
    private var count = 0

    /// - Parameter capacity: the most spans; what comes then is left out.
    init(_ name: String, capacity: Int) {
        self.name = name
        memory = AlignedMemory(byteCount: capacity * MemoryLayout<TraceSpan>.stride)
        places = memory.slice()[0..<capacity]
    }

    func add(_ span: TraceSpan) {
        guard count < places.count else { return }
        places[count] = span
        count += 1
    }

    /// In the order in which they ended.
    var spans: MemorySlice<TraceSpan> { places[0..<count] }
}
