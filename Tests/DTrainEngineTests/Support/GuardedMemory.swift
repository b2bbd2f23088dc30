import DTrainTensor
import Glibc

/// Floats that end where readable memory ends: reading behind them stops the process.
final class GuardedMemory {
    let slice: MemorySlice<Float>
    private let base: UnsafeMutableRawPointer
    private let byteCount: Int

    init(_ values: [Float]) {
        let page = sysconf(Int32(_SC_PAGESIZE))
        let readable = (values.count * 4 + page - 1) / page * page
        byteCount = readable + page
        base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(base != MAP_FAILED && mprotect(base + readable, page, PROT_NONE) == 0)
        let start = (base + readable - values.count * 4).bindMemory(to: Float.self, capacity: values.count)
        slice = MemorySlice(base: start, count: values.count)
        for (index, value) in values.enumerated() { slice[index] = value }
    }

    deinit { munmap(base, byteCount) }
}
