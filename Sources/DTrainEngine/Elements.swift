internal import CKernels

/// How a value's elements lie in memory.
package enum Element: Sendable {
    case fp32, bf16

    var byteCount: Int { self == .fp32 ? 4 : 2 }
    /// The floats that take as much memory as `count` elements.
    func floatCount(_ count: Int) -> Int { (count * byteCount + 3) / 4 }
}

/// Elements in memory, fp32 or bf16; offsets count elements.
typealias Elements = dt_elements

extension dt_elements {
    init(_ floats: UnsafeMutablePointer<Float>, _ element: Element = .fp32) {
        self.init(start: floats, is_bf16: element == .bf16 ? 1 : 0)
    }
    init(_ floats: UnsafePointer<Float>, _ element: Element = .fp32) {
        self.init(UnsafeMutablePointer(mutating: floats), element)
    }
    static var none: Elements { Elements(start: nil, is_bf16: 0) }

    var element: Element { is_bf16 == 0 ? .fp32 : .bf16 }
    /// The elements of those that are fp32.
    var floats: UnsafeMutablePointer<Float> {
        precondition(is_bf16 == 0, "fp32 elements are read as such")
        return start.assumingMemoryBound(to: Float.self)
    }
    /// The elements of those that are bf16.
    var halves: UnsafeMutablePointer<UInt16> {
        precondition(is_bf16 != 0, "bf16 elements are read as such")
        return start.assumingMemoryBound(to: UInt16.self)
    }

    /// None from anywhere on are none.
    static func + (elements: Elements, count: Int) -> Elements {
        Elements(start: elements.start.map { $0 + count * elements.element.byteCount }, is_bf16: elements.is_bf16)
    }

    /// Copies runs of `count` elements to others of the same kind, or adds them.
    func copyRows(stride: Int, to target: Elements, stride targetStride: Int, rows: Int, count: Int, accumulate: Bool) {
        if is_bf16 == 0 {
            dt_copy_rows(floats, stride, target.floats, targetStride, rows, count, accumulate ? 1 : 0)
        } else {
            dt_bf16_copy_rows(halves, stride, target.halves, targetStride, rows, count, accumulate ? 1 : 0)
        }
    }

    /// The same as fp32, in `target`.
    func widenRows(stride: Int, to target: UnsafeMutablePointer<Float>, stride targetStride: Int, rows: Int, count: Int)
    {
        if is_bf16 == 0 {
            dt_copy_rows(floats, stride, target, targetStride, rows, count, 0)
        } else {
            dt_bf16_widen_rows(halves, stride, target, targetStride, rows, count)
        }
    }

    /// Sets these elements, rounded as they are, to those of `source`.
    func setRows(stride: Int, from source: UnsafePointer<Float>, stride sourceStride: Int, rows: Int, count: Int) {
        if is_bf16 == 0 {
            dt_copy_rows(source, sourceStride, floats, stride, rows, count, 0)
        } else {
            dt_bf16_round_rows(source, sourceStride, halves, stride, rows, count)
        }
    }
}

/// Pixels in memory, some elements apart.
typealias Pixels = dt_pixels

extension dt_pixels {
    static var none: Pixels { Pixels(elements: .none, stride: 0) }

    /// The pixels from `pixel` on.
    func from(_ pixel: Int) -> Pixels { Pixels(elements: elements + pixel * stride, stride: stride) }
}
