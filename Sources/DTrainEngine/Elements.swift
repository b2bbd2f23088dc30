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

/// Which of the values that an operation reads and writes may lie in memory as bf16.
package enum StoredElements: Sendable {
    /// None.
    case fp32
    /// All of them or none.
    case alike
    /// The first input for itself; the output, and further inputs as the output.
    case converted
}

extension Graph {
    /// How each value lies in memory while training in bf16: as bf16, like its gradient, where all that write or read it can.
    ///
    /// - Parameter use: what each node can, in the order of the nodes.
    func storedElements(_ use: [StoredElements]) -> [Element] {
        var isBF16 = [Bool](repeating: false, count: values.count)
        for value in nodes.map(\.output) where values[value].rows == .samples && value != output && value != loss {
            isBF16[value] = true
        }
        func agree(_ values: [Int]) -> Bool {
            guard values.contains(where: { isBF16[$0] }), !values.allSatisfy({ isBF16[$0] }) else { return false }
            for value in values { isBF16[value] = false }
            return true
        }
        for (node, use) in zip(nodes, use) {
            for state in node.states { isBF16[state] = false }
            if use == .fp32 { for value in node.inputs + node.outputs { isBF16[value] = false } }
        }
        var changes = true
        while changes {
            changes = false
            for (node, use) in zip(nodes, use) {
                switch use {
                case .fp32: break
                case .alike: changes = agree(node.inputs + [node.output]) || changes
                case .converted: changes = agree(node.inputs.dropFirst() + [node.output]) || changes
                }
            }
        }
        return isBF16.map { $0 ? .bf16 : .fp32 }
    }
}
