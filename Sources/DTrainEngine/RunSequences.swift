package import DTrainTensor

/// How the sequences of one run are packed: where each step's rows begin, and how many there are.
package final class RunSequences: @unchecked Sendable {
    package private(set) var stepCount = 0
    package private(set) var tokenCount = 0
    /// The steps of each sample, descending, and the samples' positions in the global batch.
    package private(set) var lengths: UnsafePointer<Int32>
    package private(set) var positions: UnsafePointer<Int32>
    private let offsets: MemorySlice<Int>
    private let memory: AlignedMemory

    /// - Parameter longest: the steps of the longest sequence of any run.
    init(longest: Int) {
        memory = AlignedMemory(byteCount: (longest + 1) * MemoryLayout<Int>.stride)
        offsets = memory.slice()[0..<longest + 1]
        lengths = UnsafeRawPointer(memory.base).assumingMemoryBound(to: Int32.self)
        positions = lengths
    }

    /// The samples whose sequences have this step.
    package func rows(at step: Int) -> Int { offsets[step + 1] - offsets[step] }
    /// The first row of this step.
    package func offset(of step: Int) -> Int { offsets[step] }

    func prepare(_ packed: PackedSequences) {
        precondition(packed.stepCount < offsets.count, "a sequence of \(packed.stepCount) steps, made for fewer")
        lengths = UnsafePointer(packed.lengths.base)
        positions = UnsafePointer(packed.positions.base)
        stepCount = packed.stepCount
        var rows = packed.lengths.count
        offsets[0] = 0
        for step in 0..<stepCount {
            while rows > 0, packed.lengths[rows - 1] <= step { rows -= 1 }
            offsets[step + 1] = offsets[step] + rows
        }
        tokenCount = offsets[stepCount]
    }
}

/// What recurrent layers carry from one batch of a stream to the next: one row a stream, found by its position in the
/// global batch.
package struct CarriedState: @unchecked Sendable {
    let base: UnsafeMutablePointer<Float>
    let count: Int

    package init(_ memory: MemorySlice<Float>, count: Int) {
        base = memory.base
        self.count = count
    }

    package func row(_ position: Int32) -> UnsafeMutablePointer<Float> { base + Int(position) * count }
}
