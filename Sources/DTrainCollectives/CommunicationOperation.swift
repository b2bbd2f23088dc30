import DTrainTensor

/// One operation as the communication thread carries it out; a trivial value, so that submitting one allocates nothing.
/// See `Communicator` for what each does.
public enum CommunicationOperation: Sendable {
    case allReduceSumFloat(MemorySlice<Float>)
    case allReduceSumCompressed(CompressedSum)
    case allReduceSumDouble(MemorySlice<Double>)
    case allReduceSumInt64(MemorySlice<Int64>)
    case allReduceMaximum(MemorySlice<Int64>)
    case allReduceMinimum(MemorySlice<Int64>)
    case broadcast(MemorySlice<UInt8>, root: Int)
    case allGather(MemorySlice<UInt8>, into: MemorySlice<UInt8>)
    case allToAll(MemorySlice<UInt8>, into: MemorySlice<UInt8>)
    case send(MemorySlice<UInt8>, to: Int, tag: Int, waitsIndefinitely: Bool = false)
    case receive(MemorySlice<UInt8>, from: Int, tag: Int, waitsIndefinitely: Bool = false)
    case barrier

    func run(on communicator: any Communicator) throws {
        switch self {
        case .allReduceSumFloat(let values): try communicator.allReduceSum(values)
        case .allReduceSumCompressed(let sum): try sum.run(on: communicator)
        case .allReduceSumDouble(let values): try communicator.allReduceSum(values)
        case .allReduceSumInt64(let values): try communicator.allReduceSum(values)
        case .allReduceMaximum(let values): try communicator.allReduceMaximum(values)
        case .allReduceMinimum(let values): try communicator.allReduceMinimum(values)
        case .broadcast(let bytes, let root): try communicator.broadcast(bytes, root: root)
        case .allGather(let bytes, let gathered): try communicator.allGather(bytes, into: gathered)
        case .allToAll(let bytes, let received): try communicator.allToAll(bytes, into: received)
        case .send(let bytes, let destination, let tag, let patient):
            try communicator.send(bytes, to: destination, tag: tag, waitsIndefinitely: patient)
        case .receive(let bytes, let source, let tag, let patient):
            try communicator.receive(bytes, from: source, tag: tag, waitsIndefinitely: patient)
        case .barrier: try communicator.barrier()
        }
    }

    /// What it is, whatever the elements.
    package enum Kind: String, Sendable, BitwiseCopyable {
        case allReduce, broadcast, allGather, allToAll, send, receive, barrier
    }

    package var kind: Kind {
        switch self {
        case .allReduceSumFloat, .allReduceSumCompressed, .allReduceSumDouble, .allReduceSumInt64, .allReduceMaximum,
            .allReduceMinimum:
            .allReduce
        case .broadcast: .broadcast
        case .allGather: .allGather
        case .allToAll: .allToAll
        case .send: .send
        case .receive: .receive
        case .barrier: .barrier
        }
    }

    /// The bytes of this rank's part in it.
    package var byteCount: Int {
        switch self {
        case .allReduceSumFloat(let values): values.byteCount
        case .allReduceSumCompressed(let sum): CompressedSum.byteCount(sum.values.count)
        case .allReduceSumDouble(let values): values.byteCount
        case .allReduceSumInt64(let values), .allReduceMaximum(let values), .allReduceMinimum(let values):
            values.byteCount
        case .broadcast(let bytes, _), .allGather(let bytes, _), .send(let bytes, _, _, _),
            .receive(let bytes, _, _, _):
            bytes.byteCount
        case .allToAll(let bytes, _): bytes.byteCount
        case .barrier: 0
        }
    }

    /// The bytes that this rank brings into an all-reduce; 0 for the other operations.
    var reducedByteCount: Int { kind == .allReduce ? byteCount : 0 }
}
