import DTrainTensor

/// A file that PyTorch's `torch.save` wrote (`.pth`, `.pt`), of the zip format (since 1.6) or the older one.
///
/// It must hold a state dictionary, or a dictionary that has one under `state_dict`, `model_state_dict` or `model`. A
/// leading `module.` that all names have is dropped. Opening checks the structure and finds the tensors; elements are
/// read when asked for. Nothing that the file names is ever run.
public struct TorchFile: Sendable {
    /// The names of the state dictionary, in its order. Some may belong to no tensor that can be read.
    public let names: [String]

    private let file: FileInput
    private let isBigEndian: Bool
    private let entries: [String: Entry]

    private enum Entry: Sendable {
        case tensor(Located)
        case unreadable(TorchStateDictionary.Unreadable)
    }

    private final class Located: Sendable {
        let tensor: TorchTensor
        let place: TorchStoragePlace

        init(_ tensor: TorchTensor, _ place: TorchStoragePlace) {
            self.tensor = tensor
            self.place = place
        }
    }

    /// What all tensors of a file may need together, in bytes: 16 times the file's size. More comes only from expanded
    /// tensors, many names or views of one storage, or deflated zeros.
    static func byteLimit(of file: FileInput) -> Int { 16 * file.byteCount + (1 << 16) }

    /// Opens `path` and checks it: container, pickle, storages, and that every tensor lies within its storage.
    public init(_ path: String) throws(CheckpointError) {
        try self.init(FileInput(path))
    }

    init(_ file: FileInput) throws(CheckpointError) {
        self.file = file
        func fail(_ problem: TorchProblem) -> CheckpointError { .torch(path: file.path, problem) }
        let start = try file.bytes(0..<min(file.byteCount, TorchContainer.magic.count))
        let content: TorchContainer.Content
        if start.starts(with: Array("PK".utf8)) {
            content = try TorchContainer.readArchive(file)
        } else if start == TorchContainer.magic {
            content = try TorchContainer.readLegacy(file)
        } else {
            throw fail(.unsupportedFormat(reason: "torch.save did not write it: it begins like no file of PyTorch's"))
        }
        let dictionary: TorchStateDictionary
        do { dictionary = try TorchStateDictionary(content.pickle) } catch { throw fail(error) }
        isBigEndian = content.isBigEndian
        names = dictionary.entries.map(\.name)
        var entries: [String: Entry] = [:]
        var needed = 0
        var verified: Set<String> = []
        for (name, entry) in dictionary.entries {
            switch entry {
            case .unreadable(let reason): entries[name] = .unreadable(reason)
            case .tensor(let tensor):
                let place = try Self.place(of: tensor, name, content, file)
                needed += Self.cost(of: tensor, in: place)
                let limit = Self.byteLimit(of: file)
                guard needed <= limit else { throw fail(.tooLarge(name: name, byteCount: needed, limit: limit)) }
                // Who reads a storage whole checks it then.
                if case .entry(let archive, let entry) = place, !entry.isDeflated,
                    tensor.spannedCount * tensor.type.byteCount < entry.byteCount,
                    verified.insert(entry.name).inserted
                {
                    try archive.verify(entry)
                }
                entries[name] = .tensor(Located(tensor, place))
            }
        }
        self.entries = entries
    }

    /// The shape of a tensor; nil where there is none of that name.
    public func shape(of name: String) -> Shape? {
        guard case .tensor(let located) = entries[name] else { return nil }
        return located.tensor.shape
    }

    /// The type that a tensor's elements have in the file; nil where there is no tensor of that name.
    public func type(of name: String) -> StoredType? {
        guard case .tensor(let located) = entries[name] else { return nil }
        return located.tensor.type
    }

    /// Reads one tensor, as `StoredType.readType` says. Throws for a name that belongs to no tensor, saying why.
    public func tensor(_ name: String) throws(CheckpointError) -> NamedTensor {
        switch entries[name] {
        case nil: throw .torch(path: file.path, .noSuchTensor(name))
        case .unreadable(let reason): throw .torch(path: file.path, reason.problem(name))
        case .tensor(let located):
            let (tensor, place) = (located.tensor, located.place)
            let read = try tensor.type.tensor(name, shape: tensor.shape) { (memory) throws(CheckpointError) in
                try self.read(tensor, in: place, into: memory)
                if isBigEndian { reverseBytes(memory, width: tensor.type.byteCount) }
            }
            guard let read else {
                throw .torch(path: file.path, .unsupportedType(name: name, type: tensor.type.rawValue))
            }
            return read
        }
    }

    /// Reads all tensors.
    public func tensors() throws(CheckpointError) -> [NamedTensor] {
        var tensors: [NamedTensor] = []
        for name in names { tensors.append(try tensor(name)) }
        return tensors
    }

    // MARK: Storages

    /// Where the tensor's storage lies; throws where it is not there or the tensor does not lie within it.
    private static func place(
        of tensor: TorchTensor, _ name: String, _ content: TorchContainer.Content, _ file: FileInput
    ) throws(CheckpointError) -> TorchStoragePlace {
        func fail(_ reason: String) -> CheckpointError {
            .torch(path: file.path, .malformedTensor(name: "tensor " + name, reason: reason))
        }
        let storage = tensor.storage
        guard let place = content.storages[storage.key] else {
            throw fail("needs storage \(storage.key), it is missing")
        }
        let (byteCount, overflow) = storage.count.multipliedReportingOverflow(by: storage.elementByteCount ?? 1)
        guard !overflow, byteCount == place.byteCount else {
            throw fail(
                "needs storage \(storage.key) with \(storage.count) elements of \(storage.className), it has "
                    + "\(place.byteCount) bytes")
        }
        let available = storage.viewCount * (storage.elementByteCount ?? 1) / tensor.type.byteCount
        guard tensor.spannedCount == 0 || tensor.offset + tensor.spannedCount <= available else {
            throw fail(
                "(\(tensor.shape), strides \(tensor.strides), from element \(tensor.offset)) lies beyond its storage of "
                    + "\(available) elements")
        }
        return place
    }

    /// The bytes that a tensor costs: what it becomes or, where larger, what it is taken from, and what any tensor takes,
    /// though its mention may have but a dozen bytes.
    private static func cost(of tensor: TorchTensor, in place: TorchStoragePlace) -> Int {
        var source = tensor.spannedCount * tensor.type.byteCount
        if case .entry(_, let entry) = place, entry.isDeflated { source = entry.byteCount }
        let read = tensor.type.readType?.byteCount ?? 0
        return max(tensor.elementCount * max(tensor.type.byteCount, read), source) + 512
    }

    private func read(
        _ tensor: TorchTensor, in place: TorchStoragePlace, into memory: UnsafeMutableRawBufferPointer
    ) throws(CheckpointError) {
        let width = tensor.type.byteCount
        let start = tensor.storage.viewOffset * (tensor.storage.elementByteCount ?? 1) + tensor.offset * width
        let span = start..<start + tensor.spannedCount * width
        if tensor.spannedCount == 0 { return }
        if tensor.isContiguous { return try read(span, of: place, into: memory) }
        let source = AlignedMemory(byteCount: span.count)
        try read(span, of: place, into: UnsafeMutableRawBufferPointer(start: source.base, count: span.count))
        withExtendedLifetime(source) { tensor.gather(source.base, into: memory.baseAddress!) }
    }

    /// Reads a run of a storage's bytes.
    private func read(
        _ span: Range<Int>, of place: TorchStoragePlace, into memory: UnsafeMutableRawBufferPointer
    ) throws(CheckpointError) {
        switch place {
        case .range(let range): try file.read(memory, at: range.lowerBound + span.lowerBound)
        case .entry(let archive, let entry):
            if span == 0..<entry.byteCount {
                try archive.read(entry, into: memory)
            } else if entry.isDeflated {
                let content = try archive.contents(of: entry)
                content.withUnsafeBytes { memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[span])) }
            } else {
                try file.read(memory, at: try archive.range(of: entry).lowerBound + span.lowerBound)
            }
        }
    }

    /// Turns elements of `width` bytes around, in place.
    private func reverseBytes(_ memory: UnsafeMutableRawBufferPointer, width: Int) {
        for start in stride(from: 0, to: memory.count, by: width) { memory[start..<start + width].reverse() }
    }
}
