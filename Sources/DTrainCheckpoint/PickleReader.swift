/// Reads a pickle (https://peps.python.org/pep-0307, pep-3154, pep-0574; the operations are described in CPython's
/// `pickletools`): protocols 2 to 5.
///
/// It runs nothing. A pickle is a program for a stack machine that may name any function of Python and call it; here a
/// name stays a name, and a call becomes a value that says what would be called with what.
///
/// Memory stays within a fixed number of bytes for each byte read: stack, memo and containers together may hold about
/// one value a byte. Nothing is recursive, so nesting may be as deep as it likes.
struct PickleReader {
    private let bytes: [UInt8]
    private var position: Int
    private var stack: [Pickle.Value] = []
    /// Heights of the stack.
    private var marks: [Int] = []
    private var memo: [Pickle.Value] = []
    private var pool: [Pickle.Value] = []
    private var nodes: [Pickle.Node] = []
    private var persistent: [UInt32] = []
    /// Values that the nodes hold, with what an array costs.
    private var heldCount = 0

    /// Why reading stopped.
    enum Problem: Error {
        /// The bytes end before the pickle does; it has at least `needed`, counted from the first byte of all.
        case endsEarly(needed: Int)
        case malformed(byte: Int, reason: String)
    }

    /// The pickle in `bytes` from `start` on; bytes may follow it.
    static func read(_ bytes: [UInt8], from start: Int = 0) throws(Problem) -> Pickle {
        guard bytes.count <= Int(UInt32.max) else {
            throw .malformed(byte: start, reason: "the pickle is larger than 4 GiB")
        }
        var reader = PickleReader(bytes, start)
        return try reader.run()
    }

    private init(_ bytes: [UInt8], _ start: Int) {
        self.bytes = bytes
        position = start
    }

    private mutating func run() throws(Problem) -> Pickle {
        let start = position
        while true {
            let at = position
            let code = try byte()
            if code == UInt8(ascii: ".") { break }
            guard let operation = Operation(rawValue: code) else {
                throw .malformed(
                    byte: at, reason: "0x\(String(code, radix: 16)) is no operation of the protocols 2 to 5")
            }
            try execute(operation, at: at)
            let held = stack.count + marks.count + memo.count + pool.count + nodes.count + heldCount
            guard held <= Self.allowance + (position - start) else {
                throw .malformed(byte: at, reason: "it builds more values than a pickle of this size may")
            }
        }
        let root = try pop(at: position - 1)
        return Pickle(bytes: bytes, root: root, end: position, pool: pool, nodes: nodes, persistent: persistent)
    }

    /// What even the smallest pickle may hold.
    private static let allowance = 1024

    private enum Operation: UInt8 {
        case mark = 0x28, emptyTuple = 0x29, pop = 0x30, popMark = 0x31, duplicate = 0x32, bytes = 0x42
        case shortBytes = 0x43, float = 0x47, textInteger = 0x49, int32 = 0x4A, uint8 = 0x4B, uint16 = 0x4D
        case none = 0x4E, persistent = 0x51, reduce = 0x52, string = 0x54, shortString = 0x55, unicode = 0x58
        case append = 0x61, build = 0x62, global = 0x63, dictionary = 0x64, appends = 0x65, get = 0x68
        case longGet = 0x6A, list = 0x6C, put = 0x71, longPut = 0x72, setItem = 0x73, tuple = 0x74, setItems = 0x75
        case emptyList = 0x5D, emptyDictionary = 0x7D, `protocol` = 0x80, newObject = 0x81, tuple1 = 0x85
        case tuple2 = 0x86, tuple3 = 0x87, newTrue = 0x88, newFalse = 0x89, long1 = 0x8A, long4 = 0x8B
        case shortUnicode = 0x8C, unicode8 = 0x8D, bytes8 = 0x8E, emptySet = 0x8F, addItems = 0x90, frozenSet = 0x91
        case newObjectKeywords = 0x92, stackGlobal = 0x93, memoize = 0x94, frame = 0x95, byteArray8 = 0x96
    }

    private mutating func execute(_ operation: Operation, at start: Int) throws(Problem) {
        switch operation {
        case .protocol:
            let version = try byte()
            guard (2...5).contains(version) else {
                throw .malformed(byte: start, reason: "protocol \(version) is not one of 2 to 5")
            }
        // A frame groups bytes for reading; nothing depends on it.
        case .frame: _ = try number(8)

        case .none: stack.append(.none)
        case .newTrue: stack.append(.bool(true))
        case .newFalse: stack.append(.bool(false))
        case .uint8: stack.append(.integer(Int64(try number(1))))
        case .uint16: stack.append(.integer(Int64(try number(2))))
        case .int32: stack.append(.integer(Int64(Int32(truncatingIfNeeded: try number(4)))))
        case .long1: try pushInteger(byteCount: try number(1))
        case .long4: try pushInteger(byteCount: try number(4))
        case .textInteger: try pushTextInteger(at: start)
        case .float: stack.append(.float(Double(bitPattern: try number(8).byteSwapped)))
        case .shortString, .shortUnicode: stack.append(.text(try span(try number(1))))
        case .string, .unicode: stack.append(.text(try span(try number(4))))
        case .unicode8: stack.append(.text(try span(try number(8))))
        case .shortBytes: stack.append(.bytes(try span(try number(1))))
        case .bytes: stack.append(.bytes(try span(try number(4))))
        case .bytes8, .byteArray8: stack.append(.bytes(try span(try number(8))))

        case .mark: marks.append(stack.count)
        case .pop: if stack.count > (marks.last ?? 0) { stack.removeLast() } else { _ = try popMark(at: start) }
        case .popMark: stack.removeSubrange(try popMark(at: start))
        case .duplicate: stack.append(try top(at: start))
        case .put: try remember(at: Int(try number(1)), start)
        case .longPut: try remember(at: Int(try number(4)), start)
        case .memoize: try remember(at: memo.count, start)
        case .get: try recall(Int(try number(1)), start)
        case .longGet: try recall(Int(try number(4)), start)

        case .emptyTuple: stack.append(.tuple(Pickle.Span(start: 0, count: 0)))
        case .tuple: pushTuple(try popMark(at: start))
        case .tuple1: pushTuple(try popped(1, at: start))
        case .tuple2: pushTuple(try popped(2, at: start))
        case .tuple3: pushTuple(try popped(3, at: start))
        case .emptyList: pushNode(Pickle.Value.list)
        case .emptyDictionary: pushNode(Pickle.Value.dictionary)
        case .emptySet: pushNode(Pickle.Value.set)
        case .list: try collect(Pickle.Value.list, at: start)
        case .frozenSet: try collect(Pickle.Value.set, at: start)
        case .dictionary: try collect(Pickle.Value.dictionary, at: start)
        case .append: try add(try popped(1, at: start), at: start)
        case .appends, .addItems: try add(try popMark(at: start), at: start)
        case .setItem: try setItems(try popped(2, at: start), at: start)
        case .setItems: try setItems(try popMark(at: start), at: start)

        case .global:
            let module = try line()
            let name = try line()
            pushGlobal(.text(module), .text(name))
        case .stackGlobal:
            let names = Array(stack[try popped(2, at: start)])
            stack.removeLast(2)
            guard case .text = names[0], case .text = names[1] else {
                throw .malformed(byte: start, reason: "a global's module and name must be strings")
            }
            pushGlobal(names[0], names[1])
        case .persistent:
            pool.append(try pop(at: start))
            persistent.append(UInt32(pool.count - 1))
            stack.append(.persistent(UInt32(pool.count - 1)))
        case .reduce, .newObject:
            let arguments = try pop(at: start)
            try pushObject(function: try pop(at: start), arguments)
        case .newObjectKeywords:
            _ = try pop(at: start)
            let arguments = try pop(at: start)
            try pushObject(function: try pop(at: start), arguments)
        // An object's attributes. Those of an OrderedDict say how the modules were numbered; none is needed.
        case .build: _ = try pop(at: start)
        }
    }

    // MARK: Bytes

    private mutating func take(_ count: UInt64) throws(Problem) -> Range<Int> {
        guard count <= UInt64(bytes.count - position) else {
            let (needed, overflow) = UInt64(position).addingReportingOverflow(count)
            throw .endsEarly(needed: overflow ? .max : Int(clamping: needed))
        }
        defer { position += Int(count) }
        return position..<position + Int(count)
    }

    private mutating func byte() throws(Problem) -> UInt8 { bytes[try take(1).lowerBound] }

    private mutating func number(_ count: Int) throws(Problem) -> UInt64 {
        bytes.number(at: try take(UInt64(count)).lowerBound, bytes: count)
    }

    private mutating func span(_ count: UInt64) throws(Problem) -> Pickle.Span {
        Pickle.Span(try take(count))
    }

    /// The text up to the end of the line.
    private mutating func line() throws(Problem) -> Pickle.Span {
        guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else {
            throw .endsEarly(needed: bytes.count + 1)
        }
        defer { position = end + 1 }
        return Pickle.Span(position..<end)
    }

    private mutating func pushInteger(byteCount: UInt64) throws(Problem) {
        let range = try take(byteCount)
        guard range.count <= 8 else { return stack.append(.bigInteger(Pickle.Span(range))) }
        let unused = 64 - 8 * range.count
        let bits = bytes.number(at: range.lowerBound, bytes: range.count)
        stack.append(.integer(range.isEmpty ? 0 : Int64(bitPattern: bits << unused) >> unused))
    }

    /// Python 2 writes integers above 32 bits as text even in protocol 2.
    private mutating func pushTextInteger(at start: Int) throws(Problem) {
        let text = String(decoding: bytes[try line().range], as: UTF8.self)
        guard let value = Int64(text) else { throw .malformed(byte: start, reason: "an integer is expected") }
        stack.append(.integer(value))
    }

    // MARK: Stack and memo

    private func top(at start: Int) throws(Problem) -> Pickle.Value {
        guard stack.count > (marks.last ?? 0) else { throw .malformed(byte: start, reason: "a value is missing") }
        return stack[stack.count - 1]
    }

    private mutating func pop(at start: Int) throws(Problem) -> Pickle.Value {
        let value = try top(at: start)
        stack.removeLast()
        return value
    }

    /// The topmost `count` places of the stack. Who asks for them removes them.
    private func popped(_ count: Int, at start: Int) throws(Problem) -> Range<Int> {
        guard stack.count - (marks.last ?? 0) >= count else {
            throw .malformed(byte: start, reason: "a value is missing")
        }
        return stack.count - count..<stack.count
    }

    /// The places above the last mark, which is removed. Who asks for them removes them.
    private mutating func popMark(at start: Int) throws(Problem) -> Range<Int> {
        guard let mark = marks.popLast() else { throw .malformed(byte: start, reason: "a mark is missing") }
        return mark..<stack.count
    }

    private mutating func remember(at index: Int, _ start: Int) throws(Problem) {
        let value = try top(at: start)
        // Writers count from 0, so an index is never beyond the bytes that were read.
        guard index < Self.allowance + position else {
            throw .malformed(byte: start, reason: "the memo has no place \(index)")
        }
        while memo.count <= index { memo.append(.absent) }
        memo[index] = value
    }

    private mutating func recall(_ index: Int, _ start: Int) throws(Problem) {
        guard index < memo.count else { throw .malformed(byte: start, reason: "the memo has no value \(index)") }
        if case .absent = memo[index] { throw .malformed(byte: start, reason: "the memo has no value \(index)") }
        stack.append(memo[index])
    }

    // MARK: Containers

    private mutating func pushTuple(_ places: Range<Int>) {
        let span = Pickle.Span(pool.count..<pool.count + places.count)
        pool += stack[places]
        stack.removeSubrange(places)
        stack.append(.tuple(span))
    }

    private mutating func pushNode(_ value: (UInt32) -> Pickle.Value, call: UInt32 = 0) {
        nodes.append(Pickle.Node(call: call))
        stack.append(value(UInt32(nodes.count - 1)))
    }

    private mutating func pushGlobal(_ module: Pickle.Value, _ name: Pickle.Value) {
        pool += [module, name]
        stack.append(.global(UInt32(pool.count - 2)))
    }

    private mutating func pushObject(function: Pickle.Value, _ arguments: Pickle.Value) throws(Problem) {
        pool += [function, arguments]
        pushNode(Pickle.Value.object, call: UInt32(pool.count - 2))
    }

    private mutating func collect(_ value: (UInt32) -> Pickle.Value, at start: Int) throws(Problem) {
        let places = try popMark(at: start)
        nodes.append(Pickle.Node(call: 0))
        if case .dictionary = value(0), places.count % 2 != 0 {
            throw .malformed(byte: start, reason: "a key has no value")
        }
        hold(places, in: nodes.count - 1)
        stack.append(value(UInt32(nodes.count - 1)))
    }

    private mutating func hold(_ places: Range<Int>, in node: Int) {
        if nodes[node].items.isEmpty && !places.isEmpty { heldCount += 3 }
        heldCount += places.count
        nodes[node].items += stack[places]
        stack.removeSubrange(places)
    }

    /// Appends values to the list or set below them.
    private mutating func add(_ places: Range<Int>, at start: Int) throws(Problem) {
        guard places.lowerBound > (marks.last ?? 0) else {
            throw .malformed(byte: start, reason: "a list is missing")
        }
        switch stack[places.lowerBound - 1] {
        case .list(let node), .set(let node): hold(places, in: Int(node))
        // An object's own list: nothing that dtrain reads has one.
        case .object: stack.removeSubrange(places)
        default: throw .malformed(byte: start, reason: "values are appended to something that is no list")
        }
    }

    /// Adds keys and values to the dictionary (or the object that is one) below them.
    private mutating func setItems(_ places: Range<Int>, at start: Int) throws(Problem) {
        guard places.lowerBound > (marks.last ?? 0), places.count % 2 == 0 else {
            throw .malformed(byte: start, reason: "a dictionary or a value is missing")
        }
        switch stack[places.lowerBound - 1] {
        case .dictionary(let node), .object(let node): hold(places, in: Int(node))
        default: throw .malformed(byte: start, reason: "items are set in something that is no dictionary")
        }
    }
}
