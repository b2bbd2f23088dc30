#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Memory that one owner allocates and frees: zeroed, aligned to 64 bytes (a cache line and an AVX-512 register).
public final class AlignedMemory: @unchecked Sendable {
    /// Every buffer and every tensor in an arena starts at a multiple of this many bytes.
    public static let alignment = 64

    public let base: UnsafeMutableRawPointer
    public let byteCount: Int

    /// Allocates `byteCount` zero bytes. Running out of memory stops the process, as everywhere in Swift.
    public init(byteCount: Int) {
        self.byteCount = byteCount
        var pointer: UnsafeMutableRawPointer?
        let status = posix_memalign(&pointer, Self.alignment, max(byteCount, Self.alignment))
        guard status == 0, let pointer else { fatalError("cannot allocate \(byteCount) bytes: error \(status)") }
        base = pointer
        memset(base, 0, max(byteCount, Self.alignment))
    }

    deinit { free(base) }

    /// The whole memory as elements of a trivial type.
    public func slice<Element: BitwiseCopyable>(of type: Element.Type = Element.self) -> MemorySlice<Element> {
        let count = byteCount / MemoryLayout<Element>.stride
        return MemorySlice(base: base.bindMemory(to: Element.self, capacity: count), count: count)
    }
}

/// A run of elements in memory that somebody else owns: the one type that carries memory between threads.
///
/// It is `@unchecked Sendable`: the compiler does not check who reads and who writes. Two rules make it safe.
/// The owner outlives every slice it hands out, and whoever hands a slice to another thread leaves those elements
/// alone until that thread is done (a thread-pool call or a communication ticket returns).
public struct MemorySlice<Element: BitwiseCopyable>: @unchecked Sendable {
    public let base: UnsafeMutablePointer<Element>
    public let count: Int

    @inlinable public init(base: UnsafeMutablePointer<Element>, count: Int) {
        self.base = base
        self.count = count
    }

    public var byteCount: Int { count * MemoryLayout<Element>.stride }
    public var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: base, count: count))
    }
    public var buffer: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: base, count: count) }

    @inlinable public subscript(_ index: Int) -> Element {
        get {
            assert(index >= 0 && index < count)
            return base[index]
        }
        nonmutating set {
            assert(index >= 0 && index < count)
            base[index] = newValue
        }
    }

    /// The elements of `range`, sharing this memory.
    @inlinable public subscript(_ range: Range<Int>) -> MemorySlice<Element> {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "slice out of bounds")
        return MemorySlice(base: base + range.lowerBound, count: range.count)
    }

    /// Copies as many elements as this slice has from `source`.
    public func copy(from source: MemorySlice<Element>) {
        precondition(source.count == count, "copy between slices of \(source.count) and \(count) elements")
        base.update(from: source.base, count: count)
    }

    public func fill(_ value: Element) { base.update(repeating: value, count: count) }
    public func array() -> [Element] { Array(buffer) }
}
