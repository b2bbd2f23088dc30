import DTrainTensor

/// The names and tensors of a pickle that `torch.save` wrote: a state dictionary, or a dictionary that holds one.
struct TorchStateDictionary {
    enum Entry: Sendable {
        case tensor(TorchTensor)
        case unreadable(TorchProblem)
    }

    /// In the pickle's order.
    var entries: [(name: String, entry: Entry)] = []

    /// The keys under which training programs keep a state dictionary beside other things.
    static let nestedKeys = ["state_dict", "model_state_dict", "model"]

    init(_ pickle: Pickle) throws(TorchProblem) {
        guard var pairs = pickle.items(pickle.root) else {
            throw .notAStateDictionary(reason: "it holds \(pickle.describe(pickle.root)), not a state dictionary")
        }
        let reader = TorchValueReader(pickle)
        if !pairs.contains(where: { reader.looksLikeTensor($0.value) }) {
            for key in Self.nestedKeys {
                guard let pair = pairs.first(where: { pickle.text($0.key, limit: 64) == key }) else { continue }
                guard let nested = pickle.items(pair.value) else {
                    throw .notAStateDictionary(
                        reason: "its \(key) is \(pickle.describe(pair.value)), not a state dictionary")
                }
                pairs = nested
                break
            }
        }
        var names: Set<String> = []
        for (key, value) in pairs {
            guard let name = pickle.text(key) else {
                throw .notAStateDictionary(reason: "a key of its dictionary is \(pickle.describe(key)), not a name")
            }
            // A dictionary has each key once, and its pickle too.
            guard names.insert(name).inserted else {
                throw .notAStateDictionary(reason: "it has two entries named \(name)")
            }
            entries.append((name, try reader.entry(name, value)))
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

    init(_ pickle: Pickle) { self.pickle = pickle }

    /// The functions that build a tensor from a storage, with the number of arguments that dtrain looks at.
    private static let rebuilders = [
        "torch._utils._rebuild_tensor": 4, "torch._utils._rebuild_tensor_v2": 4, "torch._utils._rebuild_tensor_v3": 7,
    ]
    /// The functions that wrap a tensor: where among their arguments it is.
    private static let wrappers = [
        "torch._utils._rebuild_parameter": 0, "torch._utils._rebuild_parameter_with_state": 0,
    ]
    private static let attributesWrapper = "torch._tensor._rebuild_from_type_v2"

    /// Whether a value is the result of a call (dictionaries apart): in a state dictionary that is a tensor.
    func looksLikeTensor(_ value: Pickle.Value) -> Bool {
        pickle.call(value) != nil && !pickle.isOrderedDictionary(value)
    }

    func entry(_ name: String, _ value: Pickle.Value) throws(TorchProblem) -> TorchStateDictionary.Entry {
        guard let call = pickle.call(value) else {
            return .unreadable(.notATensor(name: name, reason: "it is \(pickle.describe(value))"))
        }
        var (function, arguments) = (call.function, call.arguments)
        // A parameter of a parameter of … cannot go on for long.
        for _ in 0..<4 {
            guard let called = pickle.global(function), let values = pickle.sequence(arguments).map({ $0.prefix(16) })
            else { break }
            let list = Array(values)
            if let count = Self.rebuilders[called] {
                return try tensor(name, list, count: count)
            } else if let index = Self.wrappers[called], index < list.count, let inner = pickle.call(list[index]) {
                (function, arguments) = inner
            } else if called == Self.attributesWrapper, list.count >= 3 {
                (function, arguments) = (list[0], list[2])
            } else {
                break
            }
        }
        let called = pickle.describe(function)
        return .unreadable(
            .notATensor(
                name: name,
                reason: "PyTorch would call \(called) for it, and dtrain runs nothing that a file names. Save "
                    + "plain tensors: {name: tensor.detach().clone()}"))
    }

    /// `values`: storage, offset, size, stride, and, in the third version, three more of which the last is the type.
    private func tensor(
        _ name: String, _ values: [Pickle.Value], count: Int
    ) throws(TorchProblem) -> TorchStateDictionary.Entry {
        func fail(_ reason: String) -> TorchProblem { .malformedTensor(name: "tensor " + name, reason: reason) }
        guard values.count >= count, let storageName = pickle.persistentName(values[0]) else {
            throw fail("names no storage")
        }
        let storage = try self.storage(storageName)
        guard let offset = pickle.integer(values[1]), let shape = integers(values[2]),
            let strides = integers(values[3])
        else { throw fail("has no offset, shape and strides") }
        var type = storage.type
        if count == 7 {
            let typeName = pickle.global(values[6]) ?? pickle.describe(values[6])
            type = Self.types[typeName]
            if type == nil { return .unreadable(.unsupportedType(name: name, type: typeName)) }
        } else if values.count > 6, pickle.isFilledDictionary(values[6]) {
            let reason = "its elements are marked as negated or conjugated. Save tensor.resolve_neg()"
            return .unreadable(.notATensor(name: name, reason: reason))
        }
        guard let type else { return .unreadable(.unsupportedType(name: name, type: storage.className)) }
        guard let tensor = TorchTensor(storage: storage, type: type, offset: offset, shape: shape, strides: strides)
        else { throw fail("has an impossible offset, shape or stride") }
        guard type.readType != nil else { return .unreadable(.unsupportedType(name: name, type: type.rawValue)) }
        return .tensor(tensor)
    }

    private func integers(_ value: Pickle.Value) -> [Int]? {
        guard let values = pickle.sequence(value), values.count <= TorchTensor.rankLimit else { return nil }
        let integers = values.compactMap { pickle.integer($0) }
        return integers.count == values.count ? integers : nil
    }

    /// A storage by its persistent name: `("storage", class, key, device, elements)`, and, before PyTorch 1.6, what it is
    /// a view of: None or `(key, first element, elements)`.
    func storage(_ name: Pickle.Value) throws(TorchProblem) -> TorchStorageName {
        guard let values = pickle.sequence(name).map({ Array($0.prefix(6)) }), values.count >= 5,
            pickle.text(values[0], limit: 16) == "storage", let key = pickle.text(values[2], limit: 256),
            let count = pickle.integer(values[4]), count >= 0
        else { throw .malformedTensor(name: "a storage", reason: "has no name that PyTorch gives") }
        let className = pickle.global(values[1]) ?? pickle.describe(values[1])
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
