import DTrainTensor

/// The names and tensors of a pickle that `torch.save` wrote: a state dictionary, or a dictionary that holds one.
struct TorchStateDictionary {
    enum Entry: Sendable {
        case tensor(TorchTensor)
        case unreadable(Unreadable)
    }

    /// Why something in a tensor's place is not read.
    enum Unreadable: Sendable {
        /// It is something else, `a list`.
        case noTensor(String)
        /// A function would have to be called.
        case call(String)
        case type(String)
        /// Its elements mean others than are stored.
        case marked

        func problem(_ name: String) -> TorchProblem {
            switch self {
            case .noTensor(let kind): .notATensor(name: name, reason: "it is \(kind)")
            case .call(let function):
                .notATensor(
                    name: name,
                    reason: "PyTorch would call \(function) for it, and dtrain runs nothing that a file names. Save "
                        + "plain tensors: {name: tensor.detach().clone()}")
            case .type(let type): .unsupportedType(name: name, type: type)
            case .marked:
                .notATensor(
                    name: name, reason: "its elements are marked as negated or conjugated. Save tensor.resolve_neg()")
            }
        }
    }

    /// In the pickle's order.
    private(set) var entries: [(name: String, entry: Entry)] = []

    /// The keys under which training programs keep a state dictionary beside other things.
    private static let nestedKeys = ["state_dict", "model_state_dict", "model"]

    init(_ pickle: Pickle) throws(TorchProblem) {
        guard let outer = pickle.items(pickle.root) else {
            throw .notAStateDictionary(reason: "it holds \(pickle.describe(pickle.root)), not a state dictionary")
        }
        let nested = Self.nestedKeys.compactMap { key in
            outer.first { pickle.text($0.key, limit: 32) == key }
        }
        let pairs = nested.lazy.compactMap { pickle.items($0.value) }.first ?? outer
        var reader = TorchValueReader(pickle)
        var names: Set<String> = []
        var isEmpty = true
        for (key, value) in pairs {
            guard let name = pickle.text(key) else {
                throw .notAStateDictionary(reason: "a key of its dictionary is \(pickle.describe(key)), not a name")
            }
            // A dictionary has each key once, and its pickle too.
            guard names.insert(name).inserted else {
                throw .notAStateDictionary(reason: "it has two entries named \(name)")
            }
            let entry = try reader.entry(name, value)
            if case .tensor = entry { isEmpty = false }
            entries.append((name, entry))
        }
        if isEmpty, let first = nested.first ?? pairs.first {
            let key = pickle.text(first.key) ?? pickle.describe(first.key)
            throw .notAStateDictionary(
                reason: "its dictionary holds no tensor that dtrain reads; \(key), for one, is "
                    + pickle.describe(first.value))
        }
        // Data parallel training in PyTorch wraps the model in one more module.
        let prefix = "module."
        if !entries.isEmpty && entries.allSatisfy({ $0.name.hasPrefix(prefix) }) {
            entries = entries.map { (String($0.name.dropFirst(prefix.count)), $0.entry) }
        }
    }
}

/// Reads values of a pickle as what PyTorch would make of them.
struct TorchValueReader {
    private let pickle: Pickle
    /// The dotted names of globals, each made once however often it is mentioned.
    private var names: [UInt32: String] = [:]
    /// Tensors by their arguments' place, so that the many names of one share it.
    private var tensors: [UInt64: TorchTensor] = [:]

    init(_ pickle: Pickle) { self.pickle = pickle }

    /// The functions that build a tensor from a storage, with the number of arguments that dtrain looks at.
    private static let rebuilders = [
        "torch._utils._rebuild_tensor": 4, "torch._utils._rebuild_tensor_v2": 4, "torch._utils._rebuild_tensor_v3": 7,
    ]
    /// The functions that wrap a tensor, which is their first argument.
    private static let wrappers: Set = [
        "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
    ]
    /// The function that another function and its arguments are handed to: type and attributes come after.
    private static let attributesWrapper = "torch._tensor._rebuild_from_type_v2"

    mutating func entry(_ name: String, _ value: Pickle.Value) throws(TorchProblem) -> TorchStateDictionary.Entry {
        guard let call = pickle.call(value), !pickle.isOrderedDictionary(value) else {
            return .unreadable(.noTensor(pickle.describe(value)))
        }
        var (function, arguments) = (call.function, call.arguments)
        // A parameter of a parameter of … cannot go on for long.
        for _ in 0..<4 {
            guard let called = global(function), let values = pickle.sequence(arguments) else { break }
            let list = Array(values.prefix(16))
            if let count = Self.rebuilders[called] {
                guard case .tuple(let span) = arguments else { break }
                let place = UInt64(span.start) << 8 | UInt64(count)
                if let known = tensors[place] { return .tensor(known) }
                let entry = try tensor(name, list, count: count)
                if case .tensor(let tensor) = entry { tensors[place] = tensor }
                return entry
            } else if Self.wrappers.contains(called), let first = list.first, let inner = pickle.call(first) {
                (function, arguments) = inner
            } else if called == Self.attributesWrapper, list.count >= 3 {
                (function, arguments) = (list[0], list[2])
            } else {
                break
            }
        }
        return .unreadable(.call(global(function) ?? "something"))
    }

    private mutating func global(_ value: Pickle.Value) -> String? {
        guard case .global(let place) = value else { return nil }
        if let name = names[place] { return name }
        let name = pickle.global(value)
        names[place] = name
        return name
    }

    /// `values`: storage, offset, size, stride, and, in the third version, three more of which the last is the type.
    private mutating func tensor(
        _ name: String, _ values: [Pickle.Value], count: Int
    ) throws(TorchProblem) -> TorchStateDictionary.Entry {
        func fail(_ reason: String) -> TorchProblem { .malformedTensor(name: "tensor " + name, reason: reason) }
        guard values.count >= count, let storageName = pickle.persistentName(values[0]) else {
            throw fail("names no storage")
        }
        let storage = try self.storage(storageName)
        guard let offset = pickle.integer(values[1]), let shape = integers(values[2]),
            let strides = integers(values[3])
        else { throw fail("has no offset, shape and strides (of at most \(TorchTensor.rankLimit) axes)") }
        var type = storage.type
        if count == 7 {
            let typeName = global(values[6]) ?? pickle.describe(values[6])
            type = Self.types[typeName]
            if type == nil { return .unreadable(.type(typeName)) }
        } else if values.count > 6, pickle.isFilledDictionary(values[6]) {
            return .unreadable(.marked)
        }
        guard let type else { return .unreadable(.type(storage.className)) }
        guard let tensor = TorchTensor(storage: storage, type: type, offset: offset, shape: shape, strides: strides)
        else { throw fail("has an impossible offset, shape or stride") }
        guard type.readType != nil else { return .unreadable(.type(type.rawValue)) }
        return .tensor(tensor)
    }

    private func integers(_ value: Pickle.Value) -> [Int]? {
        guard let values = pickle.sequence(value), values.count <= TorchTensor.rankLimit else { return nil }
        let integers = values.compactMap { pickle.integer($0) }
        return integers.count == values.count ? integers : nil
    }

    /// A storage by its persistent name: `("storage", class, key, device, elements)`, and, before PyTorch 1.6, what it is
    /// a view of: None or `(key, first element, elements)`.
    mutating func storage(_ name: Pickle.Value) throws(TorchProblem) -> TorchStorageName {
        guard let values = pickle.sequence(name).map({ Array($0.prefix(6)) }), values.count >= 5,
            pickle.text(values[0], limit: 16) == "storage", let key = pickle.text(values[2], limit: 256),
            let count = pickle.integer(values[4]), count >= 0
        else { throw .malformedTensor(name: "a storage", reason: "has no name that PyTorch gives") }
        let className = global(values[1]) ?? pickle.describe(values[1])
        let known = className.hasPrefix("torch.") ? Self.storageClasses[Self.lastComponent(className)] : nil
        var storage = TorchStorageName(
            key: key, className: className, type: known?.type, elementByteCount: known?.byteCount, count: count,
            viewCount: count)
        if values.count == 6, let view = pickle.sequence(values[5]), view.count == 3 {
            guard let first = pickle.integer(view[view.startIndex + 1]),
                let viewCount = pickle.integer(view[view.startIndex + 2]), first >= 0, viewCount >= 0,
                first <= count, viewCount <= count - first
            else { throw .malformedTensor(name: "storage \(key)", reason: "is a view beyond its bounds") }
            storage.viewOffset = first
            storage.viewCount = viewCount
        }
        return storage
    }

    private static func lastComponent(_ name: String) -> String {
        String(name[(name.lastIndex(of: ".").map { name.index(after: $0) } ?? name.startIndex)...])
    }

    /// The classes in `torch`, `torch.cuda` and `torch.storage`. Types without a `StoredType` are only skipped.
    private static let storageClasses: [String: (type: StoredType?, byteCount: Int)] = [
        "FloatStorage": (.float32, 4), "DoubleStorage": (.float64, 8), "HalfStorage": (.float16, 2),
        "BFloat16Storage": (.bfloat16, 2), "LongStorage": (.int64, 8), "IntStorage": (.int32, 4),
        "ShortStorage": (.int16, 2), "CharStorage": (.int8, 1), "ByteStorage": (.uint8, 1), "BoolStorage": (.bool, 1),
        "UntypedStorage": (nil, 1), "ComplexFloatStorage": (nil, 8), "ComplexDoubleStorage": (nil, 16),
        "QInt8Storage": (nil, 1), "QUInt8Storage": (nil, 1), "QInt32Storage": (nil, 4), "QUInt4x2Storage": (nil, 1),
        "QUInt2x4Storage": (nil, 1),
    ]

    private static let types: [String: StoredType] = [
        "torch.float32": .float32, "torch.float64": .float64, "torch.float16": .float16, "torch.bfloat16": .bfloat16,
        "torch.int64": .int64, "torch.int32": .int32, "torch.int16": .int16, "torch.int8": .int8,
        "torch.uint8": .uint8, "torch.bool": .bool, "torch.uint16": .uint16, "torch.uint32": .uint32,
        "torch.uint64": .uint64, "torch.float8_e5m2": .float8E5M2, "torch.float8_e4m3fn": .float8E4M3,
    ]
}
