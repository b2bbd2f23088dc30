import DTrainTensor

/// The communicator of a process that trains alone: no launcher, no message passing library.
///
/// Collectives over one rank change nothing, so every call returns at once.
public final class SoloCommunicator: Communicator {
    public let hosts: [String]

    /// - Parameter host: the name of this machine in messages.
    public init(host: String = "localhost") { hosts = [host] }

    public var rank: Int { 0 }
    public var size: Int { 1 }
    public var localRank: Int { 0 }
    public var localSize: Int { 1 }

    public func allReduceSum(_ values: MemorySlice<Float>) {}
    public func allReduceSum(_ values: MemorySlice<Double>) {}
    public func allReduceSum(_ values: MemorySlice<Int64>) {}
    public func allReduceMaximum(_ values: MemorySlice<Int64>) {}
    public func allReduceMinimum(_ values: MemorySlice<Int64>) {}
    public func broadcast(_ bytes: MemorySlice<UInt8>, root: Int) {}
    public func allGather(_ bytes: MemorySlice<UInt8>, into gathered: MemorySlice<UInt8>) {
        gathered.copy(from: bytes)
    }
    public func allToAll(_ bytes: MemorySlice<UInt8>, into received: MemorySlice<UInt8>) { received.copy(from: bytes) }
    public func barrier() {}

    public func send(_ bytes: MemorySlice<UInt8>, to destination: Int, tag: Int, waitsIndefinitely: Bool) throws {
        throw alone("send to rank \(destination)")
    }
    public func receive(_ bytes: MemorySlice<UInt8>, from source: Int, tag: Int, waitsIndefinitely: Bool) throws {
        throw alone("receive from rank \(source)")
    }

    public func split(color: Int?, key: Int) -> (any Communicator)? {
        color == nil ? nil : SoloCommunicator(host: hosts[0])
    }
    public func finalize() {}
    public func abort(code: Int32) {}

    private func alone(_ operation: String) -> CommunicationError {
        .failed(operation: operation, rank: 0, host: hosts[0], reason: "this process is the only rank")
    }
}
