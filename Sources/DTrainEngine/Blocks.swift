extension Range<Int> {
    /// Calls `body` for blocks of `length` elements in order; the last one may be shorter.
    func forEachBlock(of length: Int, _ body: (_ block: Range<Int>) -> Void) {
        for first in Swift.stride(from: lowerBound, to: upperBound, by: length) {
            body(first..<Swift.min(first + length, upperBound))
        }
    }

    /// What these have, `count` each: the lines of samples, for one.
    func scaled(by count: Int) -> Range<Int> { lowerBound * count..<upperBound * count }

    /// The same, counted from `count` before.
    func shifted(by count: Int) -> Range<Int> { lowerBound + count..<upperBound + count }

    /// What has these, `count` each: the samples of whole samples' lines, for one.
    func divided(by count: Int) -> Range<Int> { lowerBound / count..<upperBound / count }
}
