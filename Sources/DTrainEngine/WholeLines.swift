extension Int {
    /// So many floats, rounded up to whole cache lines of 64 bytes: what follows is aligned for vectors, and threads with memory
    /// of their own share no line.
    var wholeLines: Int { (self + 15) / 16 * 16 }
}
