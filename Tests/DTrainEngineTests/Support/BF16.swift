/// The nearest bf16 number, of two the one whose last bit is zero.
func bf16(_ value: Double) -> Double {
    let bits = Float(value).bitPattern
    let (below, rest) = (bits & 0xffff_0000, bits & 0xffff)
    let up = rest > 0x8000 || rest == 0x8000 && below & 0x1_0000 != 0
    return Double(Float(bitPattern: below + (up ? 0x1_0000 : 0)))
}
