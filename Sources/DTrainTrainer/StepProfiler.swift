import DTrainEngine
import DTrainTensor

/// Adds up how long the parts of steps take, in memory made beforehand.
final class StepProfiler: StepObserver {
    private let operations: [PlannedOperation]
    private let samples: Int
    /// Nanoseconds of the step under way: a row a thread, an entry a pass of an operation.
    private let current: MemorySlice<Int>
    private let totals: MemorySlice<Int>
    private let parts: MemorySlice<Int>
    private let memory: AlignedMemory
    private let threads: Int
    private var stepCount = 0

    private var entryCount: Int { operations.count * KernelPass.allCases.count }

    /// - Parameter samples: those of a step on this rank.
    init(_ operations: [PlannedOperation], samples: Int, threads: Int) {
        self.operations = operations
        self.samples = samples
        self.threads = threads
        let entries = operations.count * KernelPass.allCases.count
        let partCount = StepPart.allCases.count
        memory = AlignedMemory(byteCount: ((threads + 1) * entries + partCount) * MemoryLayout<Int>.stride)
        let numbers: MemorySlice<Int> = memory.slice()
        current = numbers[0..<threads * entries]
        totals = numbers[threads * entries..<(threads + 1) * entries]
        parts = numbers[(threads + 1) * entries..<(threads + 1) * entries + partCount]
    }

    private func entry(_ node: Int, _ pass: KernelPass) -> Int { 2 * node + (pass == .forward ? 0 : 1) }

    func ran(node: Int, pass: KernelPass, thread: Int, from start: Int, to end: Int) {
        current[thread * entryCount + entry(node, pass)] += end - start
    }

    func ran(_ part: StepPart, from start: Int, to end: Int) { parts[part.rawValue] += end - start }

    /// Forgets what was measured: warm-up.
    func reset() { memory.base.initializeMemory(as: UInt8.self, repeating: 0, count: memory.byteCount) }

    /// A step is over. Threads wait for the slowest one after each operation.
    func endStep() {
        for entry in 0..<entryCount {
            var longest = 0
            for thread in 0..<threads {
                longest = max(longest, current[thread * entryCount + entry])
                current[thread * entryCount + entry] = 0
            }
            totals[entry] += longest
        }
        stepCount += 1
    }

    /// - Parameter stepSeconds: the mean time of the steps measured.
    func profile(stepSeconds: Double) -> StepProfile {
        func row(_ path: String?, _ operation: String, _ pass: KernelPass?, _ seconds: Double, _ cost: PassCost)
            -> StepProfile.Row
        {
            let bytes = cost.sampleByteCount * samples + cost.parameterByteCount
            return StepProfile.Row(
                path: path, operation: operation, pass: pass, secondsPerStep: seconds, share: seconds / stepSeconds,
                gflops: seconds > 0 ? 2 * Double(cost.multiplyAdds * samples) / seconds * 1e-9 : 0,
                gigabytesPerSecond: seconds > 0 ? Double(bytes) / seconds * 1e-9 : 0)
        }
        func seconds(_ nanoseconds: Int) -> Double { Double(nanoseconds) * 1e-9 / Double(max(stepCount, 1)) }
        struct Kind: Hashable { let operation: String, pass: KernelPass }
        var rows: [StepProfile.Row] = []
        var kinds: [Kind: (seconds: Double, cost: PassCost)] = [:]
        for (node, operation) in operations.enumerated() {
            for (pass, cost) in [(KernelPass.forward, operation.forward), (.backward, operation.backward)] {
                guard let cost else { continue }
                let time = seconds(totals[entry(node, pass)])
                rows.append(row(operation.path, operation.operation, pass, time, cost))
                let sum = kinds[Kind(operation: operation.operation, pass: pass), default: (0, PassCost())]
                kinds[Kind(operation: operation.operation, pass: pass)] = (sum.seconds + time, sum.cost + cost)
            }
        }
        var others = StepPart.allCases.map { part in
            row(nil, "\(part)", nil, seconds(parts[part.rawValue]), PassCost())
        }
        let known = (rows + others).reduce(0) { $0 + $1.secondsPerStep }
        others.append(row(nil, "rest", nil, stepSeconds - known, PassCost()))
        func sorted(_ rows: [StepProfile.Row]) -> [StepProfile.Row] {
            rows.sorted { ($1.secondsPerStep, $0.operation) < ($0.secondsPerStep, $1.operation) }
        }
        return StepProfile(
            secondsPerStep: stepSeconds, operations: sorted(rows),
            kinds: sorted(kinds.map { row(nil, $0.key.operation, $0.key.pass, $0.value.seconds, $0.value.cost) }),
            others: sorted(others))
    }
}
