internal import CKernels
import DTrainTensor

/// How gradients travel between hosts.
public enum GradientCompression: String, Sendable, CaseIterable {
    /// As the fp32 numbers that they are.
    case none
    /// As bfloat16, half the bytes, with error feedback.
    case bf16
}

/// A sum over all ranks whose values travel between hosts as bfloat16, half the bytes of fp32, with error feedback (Seide
/// et al. 2014; Karimireddy et al. 2019): what rounding leaves out of a value is kept and added to the next one.
///
/// Each rank adds its residual to its values. The ranks of a host that share memory sum them in fp32 there, each a part of
/// the elements; the ranks of a part, one on each host, then exchange in two rounds:
/// 1. Each rounds its values, keeps the new residual, and sends every other that one's share of the elements (all-to-all).
/// 2. Each adds what came for its share, in fp32 and in the order of the ranks, and rounds the sum once. What that leaves
///    out goes into its own residual (Tang et al. 2019): a sum over ranks cares not who keeps it. All collect the
///    rounded sums (all-gather) and widen them.
///
/// A value is therefore rounded twice, however many hosts there are: a ring or a tree that adds in bfloat16 would round
/// at each of its hops, and not in the same way for different elements. All ranks hold the same bits, and the same
/// ranks on the same hosts with the same values and residuals get the same bits again.
public struct CompressedSum: Sendable {
    let values: MemorySlice<Float>
    let residual: MemorySlice<Float>
    let workspace: MemorySlice<UInt16>

    /// - Parameters:
    ///   - values: become the sums.
    ///   - residual: as many elements; zero at first, and part of the state of whoever calls.
    ///   - workspace: at least `workspaceCount`; what is in it does not matter.
    public init(values: MemorySlice<Float>, residual: MemorySlice<Float>, workspace: MemorySlice<UInt16>) {
        precondition(residual.count == values.count, "\(residual.count) residuals for \(values.count) values")
        self.values = values
        self.residual = residual
        self.workspace = workspace
    }

    /// The workspace that a sum of `count` values over up to `ranks` ranks needs.
    public static func workspaceCount(_ count: Int, ranks: Int) -> Int { 2 * (count + ranks * lineCount) }

    /// Bytes that a rank brings into a sum of `count` values.
    public static func byteCount(_ count: Int) -> Int { count * MemoryLayout<UInt16>.stride }

    /// The elements that each rank adds up, the last ones fewer; whole cache lines.
    private static func partCount(_ count: Int, ranks: Int) -> Int {
        (count + ranks * lineCount - 1) / (ranks * lineCount) * lineCount
    }

    private static let lineCount = AlignedMemory.alignment / MemoryLayout<UInt16>.stride

    func run(on communicator: any Communicator) throws {
        let step = min(values.count, communicator.hostSumCount)
        // Ranks that have nothing to sum come, too.
        guard step > 0 else { return try sum(0..<0, on: communicator) }
        for start in stride(from: 0, to: values.count, by: step) {
            try sum(start..<min(start + step, values.count), on: communicator)
        }
    }

    private func sum(_ range: Range<Int>, on communicator: any Communicator) throws {
        let (values, residual) = (values[range], residual[range])
        // All of it, because a rank that sums other elements than before, as after a resume on other hosts, must not keep any.
        for index in 0..<range.count {
            values[index] += residual[index]
            residual[index] = 0
        }
        let own = try communicator.reduceScatterOnHost(values)
        if let hosts = communicator.acrossHosts, hosts.size > 1 {
            try compress(values[own], residual[own], on: hosts)
        }
        try communicator.allGatherOnHost(values)
    }

    /// Sums over the ranks of `communicator` what travels compressed.
    private func compress(
        _ values: MemorySlice<Float>, _ residual: MemorySlice<Float>, on communicator: any Communicator
    ) throws {
        let (count, ranks) = (values.count, communicator.size)
        let part = Self.partCount(count, ranks: ranks)
        let rounded = workspace[0..<ranks * part]
        let received = workspace[ranks * part..<2 * ranks * part]
        dt_bf16_round(values.base, residual.base, rounded.base, count)
        rounded[count..<ranks * part].fill(0)
        try communicator.allToAll(rounded.rawBytes, into: received.rawBytes)

        let own = min(communicator.rank * part, count)..<min((communicator.rank + 1) * part, count)
        // `rounded` has been sent: its first part takes the sums.
        let sums = rounded[0..<part]
        dt_bf16_sum(received.base, ranks, part, residual.base + own.lowerBound, sums.base, own.count)
        try communicator.allGather(sums.rawBytes, into: received.rawBytes)
        dt_bf16_widen_rows(received.base, count, values.base, count, 1, count)
    }
}
