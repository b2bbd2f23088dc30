/// How the sequences of a batch lie in memory: step after step, in each step one row for every sequence that is still
/// going on, the longest sequence first (PyTorch's PackedSequence). So nothing is stored or computed for padding, and the
/// rows of a step are neighbours, as are the same sequences' rows one step earlier.
public struct PackedSequences: Sendable {
    /// The steps of each sequence, descending; 0 for one that has ended (a stream whose text is over).
    public let lengths: MemorySlice<Int32>
    /// The position of each sequence in the global batch: decides its dropout and whose carried state it continues.
    public let positions: MemorySlice<Int32>

    /// Both with one entry a sequence. They stay the caller's, and are only read.
    public init(lengths: MemorySlice<Int32>, positions: MemorySlice<Int32>) {
        precondition(lengths.count == positions.count, "one length and one position a sequence")
        self.lengths = lengths
        self.positions = positions
    }

    /// The steps of the longest sequence.
    public var stepCount: Int { lengths.count == 0 ? 0 : Int(lengths[0]) }
    /// The steps of all sequences together: the rows of the packed values.
    public var tokenCount: Int { (0..<lengths.count).reduce(0) { $0 + Int(lengths[$1]) } }
}
