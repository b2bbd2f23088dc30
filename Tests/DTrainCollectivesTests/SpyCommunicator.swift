import DTrainCollectives
import DTrainTensor
import Glibc
import Synchronization

/// A lone rank that notes what it is asked for and on which thread, and can fail or get stuck in a barrier.
final class SpyCommunicator: Communicator, Sendable {
    private struct State {
        var log: [String] = []
        var threads: Set<UInt> = []
        var blocks = false
        var failsNext = false
    }
    private let state = Mutex(State())

    var log: [String] { state.withLock { $0.log } }
    var threads: Set<UInt> { state.withLock { $0.threads } }
    var blocks: Bool {
        get { state.withLock { $0.blocks } }
        set { state.withLock { $0.blocks = newValue } }
    }

    var failsNext: Bool {
        get { state.withLock { $0.failsNext } }
        set { state.withLock { $0.failsNext = newValue } }
    }

    func visit() { state.withLock { _ = $0.threads.insert(UInt(pthread_self())) } }
    private func note(_ text: String) {
        visit()
        state.withLock { $0.log.append(text) }
    }

    let rank = 0
    let size = 1
    let hosts = ["spy"]
    let localRank = 0
    let localSize = 1

    func allReduceSum(_ values: MemorySlice<Float>) { note("float \(values.count)") }
    func allReduceSum(_ values: MemorySlice<Double>) { note("double \(values.count)") }
    func allReduceSum(_ values: MemorySlice<Int64>) { note("int64 \(values.count)") }
    func allReduceMaximum(_ values: MemorySlice<Int64>) { note("maximum \(values.count)") }
    func allReduceMinimum(_ values: MemorySlice<Int64>) { note("minimum \(values.count)") }
    func broadcast(_ bytes: MemorySlice<UInt8>, root: Int) { note("broadcast \(bytes.count)") }
    func allGather(_ bytes: MemorySlice<UInt8>, into gathered: MemorySlice<UInt8>) { note("gather \(bytes.count)") }
    func allToAll(_ bytes: MemorySlice<UInt8>, into received: MemorySlice<UInt8>) { note("exchange \(bytes.count)") }
    func barrier() throws {
        note("barrier")
        if failsNext {
            failsNext = false
            throw CommunicationError.failed(operation: "barrier #1", rank: 0, host: "spy", reason: "made to fail")
        }
        while blocks { usleep(1000) }
    }
    func send(_ bytes: MemorySlice<UInt8>, to destination: Int, tag: Int, waitsIndefinitely: Bool) { note("send") }
    func receive(_ bytes: MemorySlice<UInt8>, from source: Int, tag: Int, waitsIndefinitely: Bool) { note("receive") }
    func split(color: Int?, key: Int) -> (any Communicator)? {
        note("split")
        return SoloCommunicator()
    }
    func finalize() { note("finalize") }
    func abort(code: Int32) { note("abort \(code)") }

    var overdueError: CommunicationError? {
        blocks ? .unfinished(operation: "barrier #1", rank: 0, host: "spy", seconds: 1, hosts: hosts) : nil
    }
}
