import DTrainCollectives
import DTrainTensor
import Glibc
import Testing

/// Runs `body` once for each of `count` ranks, each on a thread of its own, and returns the results in rank order, or
/// throws the error of the lowest rank that failed. Ranks that do not end within a minute fail the test.
func onThreads<Result: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Int) throws -> Result
) throws -> [Result] {
    try outcomes(count, body).map { try $0.get() }
}

/// As `onThreads`, with each rank's error beside its result.
func outcomes<Value: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Int) throws -> Value
) throws -> [Result<Value, any Error>] {
    let box = Outcomes<Value>()
    for rank in 0..<count {
        let thread = startThread(named: "rank-\(rank)") {
            let result = Result { try body(rank) }
            box.lock.withLock { box.results[rank] = result }
        }
        pthread_detach(thread)
    }
    for _ in 0..<60_000 {
        let results = box.lock.withLock {
            box.results.count == count ? (0..<count).map { box.results[$0]! } : nil
        }
        if let results { return results }
        usleep(1000)
    }
    throw RanksHang()
}

private struct RanksHang: Error {}

/// With a lock of POSIX, which the thread sanitizer sees.
private final class Outcomes<Value: Sendable>: @unchecked Sendable {
    let lock = ConditionVariable()
    var results: [Int: Result<Value, any Error>] = [:]
}

/// The values of a slice of fresh memory after `body`, which is given `initial`.
func withSlice<Element: BitwiseCopyable>(
    _ initial: [Element], _ body: (MemorySlice<Element>) throws -> Void
) rethrows -> [Element] {
    let memory = AlignedMemory(byteCount: initial.count * MemoryLayout<Element>.stride)
    return try withExtendedLifetime(memory) {
        let slice: MemorySlice<Element> = memory.slice()[0..<initial.count]
        for (index, value) in initial.enumerated() { slice[index] = value }
        try body(slice)
        return slice.array()
    }
}

func pause(milliseconds: Int) { usleep(UInt32(milliseconds) * 1000) }
