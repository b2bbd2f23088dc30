/// A small font for labels in pictures: the printable characters of ASCII, 5 × 8 pixels each.
enum BitmapFont {
    static let glyphWidth = 5
    static let glyphHeight = 8
    /// From one character's left edge to the next one's, and from one line to the next, at scale 1.
    static let advance = 6
    static let lineHeight = 11

    /// Each glyph in 40 bits, row by row from the top left, which is the highest bit; the last row holds descenders.
    private static let glyphs: [UInt64] = [
        0x0000000000, 0x2108420080, 0x5294000000, 0x52BEAFA940, 0x23E8E2F880, 0xCE44444E60, 0x64A88AC9A0,  // space to &
        0x2110000000, 0x1110841040, 0x4104211100, 0x012AEA9000, 0x0109F21000, 0x0000001088, 0x0000E00000,  // ' to -
        0x0000000080, 0x0844444200, 0x74675CC5C0, 0x23084211C0, 0x74422223E0, 0x744260C5C0, 0x11952F8840,  // . to 4
        0xFC3C10C5C0, 0x3221E8C5C0, 0xF844221080, 0x7462E8C5C0, 0x7462F08980, 0x0008001000, 0x0008001088,  // 5 to ;
        0x0888820820, 0x003E0F8000, 0x8208222200, 0x7442220080, 0x746F5BC1C0, 0x22A31FC620, 0xF463E8C7C0,  // < to B
        0x74610845C0, 0xF46318C7C0, 0xFC21E843E0, 0xFC21E84200, 0x746178C5E0, 0x8C63F8C620, 0x71084211C0,  // C to I
        0x3884214980, 0x8CA98A4A20, 0x84210843E0, 0x8EEB58C620, 0x8E7359CE20, 0x746318C5C0, 0xF463E84200,  // J to P
        0x74631AC9A0, 0xF463EA4A20, 0x7C20E087C0, 0xF908421080, 0x8C6318C5C0, 0x8C63152880, 0x8C635AEE20,  // Q to W
        0x8C54454620, 0x8C54421080, 0xF8444443E0, 0x72108421C0, 0x8410410420, 0x70842109C0, 0x22A2000000,  // X to ^
        0x00000003E0, 0x4100000000, 0x001C17C5E0, 0x843D18C7C0, 0x001D0841C0, 0x085F18C5E0, 0x001D1FC1C0,  // _ to e
        0x3238842100, 0x001F18BC2E, 0x843D18C620, 0x20184211C0, 0x100C21084C, 0x84254C5240, 0x61084211C0,  // f to l
        0x00355AD6A0, 0x003D18C620, 0x001D18C5C0, 0x003D18FA10, 0x001F18BC21, 0x002D884200, 0x001F0707C0,  // m to s
        0x42388420C0, 0x002318C5E0, 0x002318A880, 0x00235AD540, 0x0022A22A20, 0x002318BC2E, 0x003E2223E0,  // t to z
        0x1908821060, 0x2108421080, 0xC108221300, 0x0011510000,  // { to ~
    ]

    /// The width of `text` in pixels at scale 1.
    static func width(of text: String) -> Int { max(0, text.unicodeScalars.count * advance - 1) }

    /// Calls `body(x, y)` for every set pixel of `text`, at scale 1, the top left corner at 0, 0. Characters outside ASCII
    /// look like a question mark.
    static func forEachPixel(of text: String, _ body: (_ x: Int, _ y: Int) -> Void) {
        for (position, scalar) in text.unicodeScalars.enumerated() {
            let glyph = glyphs[(32..<127).contains(scalar.value) ? Int(scalar.value) - 32 : 31]
            for bit in 0..<glyphWidth * glyphHeight where glyph >> UInt64(39 - bit) & 1 == 1 {
                body(position * advance + bit % glyphWidth, bit / glyphWidth)
            }
        }
    }
}
