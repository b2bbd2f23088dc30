import DTrainTensor

/// A tensor as a pickle of PyTorch's describes it: a strided view of a storage.
///
/// An object, so that the many names of one tensor share it.
final class TorchTensor: Sendable {
    let storage: TorchStorageName
    let type: StoredType
    /// Elements before the first.
    let offset: Int
    let shape: Shape
    /// Elements between neighbours along each axis.
    let strides: [Int]

    var elementCount: Int { shape.count }
    /// Elements from the first to the last one of the view; 0 where it has none.
    let spannedCount: Int

    var isContiguous: Bool {
        var expected = 1
        for (extent, stride) in zip(shape.dimensions, strides).reversed() where extent != 1 {
            if stride != expected { return false }
            expected *= extent
        }
        return true
    }

    /// Nil where extents, strides and offset are negative, differ in number or overflow, or where there are more than
    /// `rankLimit`.
    init?(storage: TorchStorageName, type: StoredType, offset: Int, shape: [Int], strides: [Int]) {
        guard shape.count == strides.count, shape.count <= Self.rankLimit, offset >= 0 else { return nil }
        // One element is at most 8 bytes; half of what is left suffices for sums.
        let limit = Int.max / 16
        var count = 1
        var last = 0
        for (extent, stride) in zip(shape, strides) {
            guard extent >= 0, stride >= 0 else { return nil }
            let (product, tooMany) = count.multipliedReportingOverflow(by: max(extent, 1))
            let (distance, tooFar) = stride.multipliedReportingOverflow(by: max(extent - 1, 0))
            guard !tooMany, !tooFar, product <= limit, distance <= limit - last else { return nil }
            count = product
            last += distance
        }
        guard offset <= limit else { return nil }
        self.storage = storage
        self.type = type
        self.offset = offset
        self.shape = Shape(shape)
        self.strides = strides
        spannedCount = shape.contains(0) ? 0 : last + 1
    }

    /// No layer's weights have more axes than five or six. The limit bounds what one mention of a long shape costs.
    static let rankLimit = 8

    /// Copies the elements from `source`, which begins with the first one, to `target` in row-major order.
    func gather(_ source: UnsafeRawPointer, into target: UnsafeMutableRawPointer) {
        func copy<Word: BitwiseCopyable>(_ type: Word.Type) {
            let source = source.assumingMemoryBound(to: Word.self)
            let target = target.assumingMemoryBound(to: Word.self)
            let run = shape.dimensions.last ?? 1
            let step = strides.last ?? 1
            var index = [Int](repeating: 0, count: max(shape.rank - 1, 0))
            var from = 0
            for to in stride(from: 0, to: elementCount, by: max(run, 1)) {
                for element in 0..<run { target[to + element] = source[from + element * step] }
                var axis = index.count - 1
                while axis >= 0 {
                    index[axis] += 1
                    from += strides[axis]
                    if index[axis] < shape[axis] { break }
                    from -= strides[axis] * shape[axis]
                    index[axis] = 0
                    axis -= 1
                }
            }
        }
        guard elementCount > 0 else { return }
        switch type.byteCount {
        case 1: copy(UInt8.self)
        case 2: copy(UInt16.self)
        case 4: copy(UInt32.self)
        default: copy(UInt64.self)
        }
    }
}

/// What a pickle says about a storage: the memory that tensors are views of.
struct TorchStorageName: Sendable {
    /// Its name in the file.
    let key: String
    /// The class's name; its elements' type where dtrain knows it (nil: raw bytes, or a type it does not know).
    let className: String
    let type: StoredType?
    /// The size of one element; nil where dtrain does not know the class.
    let elementByteCount: Int?
    /// Elements of the whole storage.
    let count: Int
    /// Elements before this one's first in the storage that it is a view of (PyTorch before 0.4).
    var viewOffset = 0
    /// Elements of the view.
    var viewCount: Int
}
