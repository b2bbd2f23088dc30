internal import CMPIShim
import DTrainCollectives
import DTrainTensor
import Glibc

private let sizes: [(bytes: Int, repetitions: Int)] = [(1 << 10, 2000), (1 << 20, 300), (26 << 20, 40)]

/// Median times of a sum of 1 KiB, 1 MiB and 26 MiB between ranks that arrive together: the sum alone, and after an arrival.
func benchmarkShim() {
    var handle: OpaquePointer?
    guard dtmpi_init(&handle) == 0, let handle else { return complain("MPI does not start") }
    for size in sizes {
        let memory = AlignedMemory(byteCount: size.bytes)
        let values: MemorySlice<Float> = memory.slice()
        let plain = median(size.repetitions) {
            _ = dtmpi_allreduce_sum_f32(handle, values.base, values.count)
        }
        let polite = median(size.repetitions) {
            _ = dtmpi_arrive(handle, 60)
            _ = dtmpi_allreduce_sum_f32(handle, values.base, values.count)
        }
        if dtmpi_rank(handle) == 0 {
            report(size.bytes, [("sum", plain), ("arrival + sum", polite)])
        }
        withExtendedLifetime(memory) {}
    }
    _ = dtmpi_finalize()
}

/// The same through the communication thread and its queue: submit, wait.
func benchmarkQueue(_ queue: CommunicationQueue) throws {
    for size in sizes {
        let memory = AlignedMemory(byteCount: size.bytes)
        let values: MemorySlice<Float> = memory.slice()
        let queued = try median(size.repetitions) { try queue.run(.allReduceSumFloat(values)) }
        if queue.rank == 0 { report(size.bytes, [("queue", queued)]) }
        withExtendedLifetime(memory) {}
    }
}

/// The processor time that a rank takes while it waits two seconds for another one, in a collective and for a message.
func measureIdling(_ queue: CommunicationQueue) throws {
    let memory = AlignedMemory(byteCount: 64)
    let bytes: MemorySlice<UInt8> = memory.slice()
    for operation in ["all-reduce", "receive"] {
        try queue.run(.barrier)
        let before = processorSeconds()
        if queue.rank == 0 { usleep(2_000_000) }
        switch operation {
        case "all-reduce": try queue.run(.allReduceSumDouble(memory.slice()))
        default:
            for other in 1..<queue.size where queue.rank == 0 || queue.rank == other {
                try queue.run(queue.rank == 0 ? .send(bytes, to: other, tag: 1) : .receive(bytes, from: 0, tag: 1))
            }
        }
        let share = (processorSeconds() - before) / 2
        if share > 0.1 {
            throw CheckFailure(
                description: "rank \(queue.rank) took \(share) of a core while it waited in \(operation)")
        }
        if queue.rank == 1 {
            print("mpi-check: waiting in \(operation) took \((share * 1000).rounded() / 10) % of a core")
        }
    }
    withExtendedLifetime(memory) {}
}

private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

private func median(_ repetitions: Int, _ body: () throws -> Void) rethrows -> Double {
    var times: [Double] = []
    for _ in 0..<repetitions {
        let start = monotonicSeconds()
        try body()
        times.append(monotonicSeconds() - start)
    }
    return times.sorted()[repetitions / 2]
}

private func report(_ bytes: Int, _ rows: [(String, Double)]) {
    let text = rows.map { "\($0.0) \(($0.1 * 1e7).rounded() / 10) µs" }.joined(separator: ", ")
    print("\(bytes) bytes: \(text)")
}
