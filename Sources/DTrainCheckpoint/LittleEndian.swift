extension Array where Element == UInt8 {
    /// The unsigned number of `count` (at most 8) little-endian bytes at `offset`.
    func number(at offset: Int, bytes count: Int) -> UInt64 {
        self[offset..<offset + count].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }
}
