/// What a pickle says: values that name Python's functions and classes and never are them.
///
/// All values lie in three flat arrays and refer to each other by index, so that a pickle nested a million deep, or
/// one that contains itself, is as harmless as any other.
struct Pickle: Sendable {
    /// A run of the pickle's bytes or of the pool's values.
    struct Span: Sendable {
        let start: UInt32
        let count: UInt32

        var range: Range<Int> { Int(start)..<Int(start) + Int(count) }

        init(start: UInt32, count: UInt32) {
            self.start = start
            self.count = count
        }

        init(_ range: Range<Int>) { self.init(start: UInt32(range.lowerBound), count: UInt32(range.count)) }
    }

    enum Value: Sendable {
        case none, bool(Bool), integer(Int64), float(Double)
        /// An integer of more than 8 bytes, little-endian.
        case bigInteger(Span)
        case text(Span), bytes(Span)
        /// A run of the pool.
        case tuple(Span)
        /// Places among the nodes. An object is the result that a call would have.
        case list(UInt32), set(UInt32), dictionary(UInt32), object(UInt32)
        /// The place of module and name in the pool.
        case global(UInt32)
        /// The place in the pool of the name of something outside the pickle.
        case persistent(UInt32)
        /// An empty place of the memo; no value.
        case absent
    }

    struct Node: Sendable {
        /// Values; those of a dictionary and of an object are keys and values in turn.
        var items: [Value] = []
        /// Of an object: the place in the pool of what would be called and of its arguments.
        let call: UInt32

        init(call: UInt32) { self.call = call }
    }

    let bytes: [UInt8]
    let root: Value
    /// Where the pickle ends among the bytes.
    let end: Int
    fileprivate let pool: [Value]
    fileprivate let nodes: [Node]
    /// The names of all things outside the pickle, in the order of the text.
    let persistentNames: [Value]

    init(bytes: [UInt8], root: Value, end: Int, pool: [Value], nodes: [Node], persistent: [UInt32]) {
        self.bytes = bytes
        self.root = root
        self.end = end
        self.pool = pool
        self.nodes = nodes
        persistentNames = persistent.map { pool[Int($0)] }
    }

    /// A string of at most `limit` bytes; nil for anything else. Python 2 writes bytes that may be no UTF-8.
    ///
    /// A pickle can mention one string a million times at two bytes each: where that may happen, a limit is needed.
    func text(_ value: Value, limit: Int = .max) -> String? {
        guard case .text(let span) = value, span.count <= limit else { return nil }
        return String(decoding: bytes[span.range], as: UTF8.self)
    }

    func integer(_ value: Value) -> Int? {
        guard case .integer(let number) = value else { return nil }
        return Int(number)
    }

    /// The values of a tuple or a list.
    func sequence(_ value: Value) -> ArraySlice<Value>? {
        switch value {
        case .tuple(let span): pool[span.range]
        case .list(let node): nodes[Int(node)].items[...]
        default: nil
        }
    }

    /// `module.name` of a global; nil for anything else and for names longer than any in PyTorch.
    func global(_ value: Value) -> String? {
        guard case .global(let place) = value, let module = text(pool[Int(place)], limit: 100),
            let name = text(pool[Int(place) + 1], limit: 100)
        else { return nil }
        return module + "." + name
    }

    /// What would be called for an object, and with what.
    func call(_ value: Value) -> (function: Value, arguments: Value)? {
        guard case .object(let node) = value else { return nil }
        let place = Int(nodes[Int(node)].call)
        return (pool[place], pool[place + 1])
    }

    /// The name of something outside.
    func persistentName(_ value: Value) -> Value? {
        guard case .persistent(let place) = value else { return nil }
        return pool[Int(place)]
    }

    /// Whether a value is a dictionary with something in it. (`items` copies; one dictionary may be mentioned often.)
    func isFilledDictionary(_ value: Value) -> Bool {
        guard case .dictionary(let node) = value else { return false }
        return !nodes[Int(node)].items.isEmpty
    }

    /// Whether a value is an OrderedDict.
    func isOrderedDictionary(_ value: Value) -> Bool {
        call(value).map { global($0.function) == "collections.OrderedDict" } ?? false
    }

    /// The keys and values of a dictionary or an OrderedDict, in order; nil for anything else.
    func items(_ value: Value) -> [(key: Value, value: Value)]? {
        func pairs(_ node: UInt32) -> [(key: Value, value: Value)] {
            let items = nodes[Int(node)].items
            return stride(from: 0, to: items.count - 1, by: 2).map { (items[$0], items[$0 + 1]) }
        }
        switch value {
        case .dictionary(let node): return pairs(node)
        case .object(let node):
            guard isOrderedDictionary(value), let call = call(value), let arguments = sequence(call.arguments)
            else { return nil }
            // Python 2 hands the pairs to the constructor.
            let first = arguments.first.flatMap { sequence($0) } ?? []
            let constructed = first.compactMap { pair -> (key: Value, value: Value)? in
                guard let pair = sequence(pair), pair.count == 2 else { return nil }
                return (pair[pair.startIndex], pair[pair.startIndex + 1])
            }
            return constructed + pairs(node)
        default: return nil
        }
    }

    /// What a value is, for errors.
    func describe(_ value: Value) -> String {
        switch value {
        case .none: "None"
        case .bool: "a bool"
        case .integer, .bigInteger: "an int"
        case .float: "a float"
        case .text: "a str"
        case .bytes: "bytes"
        case .tuple: "a tuple"
        case .list: "a list"
        case .set: "a set"
        case .dictionary: "a dict"
        case .object: "what \(name(of: value)) returns"
        case .global: name(of: value)
        case .persistent: "a storage"
        case .absent: "nothing"
        }
    }

    /// The dotted name of a global, or of what would be called for an object.
    private func name(of value: Value) -> String {
        global(value) ?? call(value).flatMap { global($0.function) } ?? "something without a name"
    }
}
