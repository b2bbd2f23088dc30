import DTrainTensor

/// Where the content of a storage lies in a file.
enum TorchStoragePlace: Sendable {
    /// Plain bytes.
    case range(Range<Int>)
    /// An entry of a zip archive.
    case entry(ZipArchive, ZipArchive.Entry)

    var byteCount: Int {
        switch self {
        case .range(let range): range.count
        case .entry(_, let entry): entry.byteCount
        }
    }
}

/// The two ways in which `torch.save` has packed a pickle and the storages that it names.
enum TorchContainer {
    /// A pickle larger than this describes no weights: that of the largest torchvision model has less than 200 KB.
    static let pickleByteLimit = 1 << 24

    /// What a container holds.
    struct Content {
        let pickle: Pickle
        /// Storages by key.
        let storages: [String: TorchStoragePlace]
        let isBigEndian: Bool
    }

    // MARK: Since PyTorch 1.6

    /// A zip archive: `NAME/data.pkl`, `NAME/byteorder`, and each storage as `NAME/data/KEY`.
    static func readArchive(_ file: FileInput) throws(CheckpointError) -> Content {
        func fail(_ problem: TorchProblem) -> CheckpointError { .torch(path: file.path, problem) }
        let archive = try ZipArchive(file)
        guard let description = archive.entries.first(where: { $0.name.hasSuffix("/data.pkl") }) else {
            throw fail(
                .unsupportedFormat(reason: "it is a zip archive without a data.pkl: torch.save did not write it"))
        }
        let prefix = String(description.name.dropLast("data.pkl".count))
        if archive[prefix + "constants.pkl"] != nil {
            throw fail(.notAStateDictionary(reason: "it holds a TorchScript program, not a state dictionary"))
        }
        guard description.byteCount <= pickleByteLimit else {
            throw fail(tooLarge(part: description.name))
        }
        let limit = TorchFile.byteLimit(of: file)
        if let bomb = archive.entries.first(where: { $0.isDeflated && $0.byteCount > limit }) {
            throw fail(.malformedArchive(byte: 0, reason: "\(bomb.name) would unpack to \(bomb.byteCount) bytes"))
        }
        let bytes = try archive.contents(of: description)
        let pickle: Pickle
        do {
            pickle = try PickleReader.read(bytes)
        } catch {
            throw fail(Self.problem(error, part: description.name))
        }
        var isBigEndian = false
        if let order = archive[prefix + "byteorder"], order.byteCount <= 16 {
            isBigEndian = try String(decoding: archive.contents(of: order), as: UTF8.self) == "big"
        }
        let dataPrefix = prefix + "data/"
        var storages: [String: TorchStoragePlace] = [:]
        for entry in archive.entries where entry.name.hasPrefix(dataPrefix) {
            storages[String(entry.name.dropFirst(dataPrefix.count))] = .entry(archive, entry)
        }
        return Content(pickle: pickle, storages: storages, isBigEndian: isBigEndian)
    }

    // MARK: Before

    /// The first bytes: a pickle of the magic number.
    static let magic: [UInt8] = [
        0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
    ]

    /// Pickles one after the other: the magic number, the protocol's version (1001), a description of the writer's machine,
    /// the object, the storages' keys; then for each key the number of elements (8 bytes) and the elements, all
    /// little-endian whatever the machine was.
    static func readLegacy(_ file: FileInput) throws(CheckpointError) -> Content {
        func fail(_ problem: TorchProblem) -> CheckpointError { .torch(path: file.path, problem) }
        let version = try readPickle(file, at: magic.count)
        guard let number = version.integer(version.root), number == 1001 else {
            throw fail(.unsupportedFormat(reason: "it has another protocol version of torch.save than 1001"))
        }
        let system = try readPickle(file, at: magic.count + version.end)
        let objectStart = magic.count + version.end + system.end
        let object = try readPickle(file, at: objectStart)
        let keysStart = objectStart + object.end
        let keys = try readPickle(file, at: keysStart)
        var position = keysStart + keys.end

        var names: [String: TorchStorageName] = [:]
        var reader = TorchValueReader(object)
        for name in object.persistentNames {
            let storage: TorchStorageName
            do { storage = try reader.storage(name) } catch { throw fail(error) }
            if let other = names.updateValue(storage, forKey: storage.key),
                other.count != storage.count || other.className != storage.className
            {
                throw fail(.malformedTensor(name: "storage \(storage.key)", reason: "has two types or sizes"))
            }
        }
        var storages: [String: TorchStoragePlace] = [:]
        guard let listed = keys.sequence(keys.root) else {
            throw fail(.malformedPickle(part: "the file", byte: keysStart, reason: "the list of storages is missing"))
        }
        for value in listed {
            guard let key = keys.text(value, limit: 256), let name = names[key] else {
                throw fail(
                    .malformedPickle(part: "the file", byte: keysStart, reason: "a storage is listed that none uses"))
            }
            guard let width = name.elementByteCount else {
                throw fail(.malformedTensor(name: "storage \(key)", reason: "has the unknown type \(name.className)"))
            }
            guard position + 8 <= file.byteCount else {
                throw fail(.truncated(expected: position + 8, found: file.byteCount))
            }
            let count = try file.bytes(position..<position + 8).number(at: 0, bytes: 8)
            guard count == UInt64(name.count) else {
                throw fail(
                    .malformedTensor(
                        name: "storage \(key)",
                        reason: "has \(count) elements at byte \(position), the pickle says \(name.count)"))
            }
            let (byteCount, overflow) = name.count.multipliedReportingOverflow(by: width)
            position += 8
            guard !overflow, byteCount <= file.byteCount - position else {
                let (end, isHuge) = position.addingReportingOverflow(byteCount)
                throw fail(.truncated(expected: overflow || isHuge ? .max : end, found: file.byteCount))
            }
            guard storages.updateValue(.range(position..<position + byteCount), forKey: key) == nil else {
                throw fail(.malformedTensor(name: "storage \(key)", reason: "is there twice"))
            }
            position += byteCount
        }
        return Content(pickle: object, storages: storages, isBigEndian: false)
    }

    /// The pickle that begins at byte `start`. How long it is, it says only at its end, so the part that is looked at
    /// grows.
    private static func readPickle(_ file: FileInput, at start: Int) throws(CheckpointError) -> Pickle {
        let available = min(file.byteCount - start, pickleByteLimit)
        var count = min(1 << 16, available)
        while true {
            do {
                return try PickleReader.read(try file.bytes(start..<start + count))
            } catch let error as PickleReader.Problem {
                guard case .endsEarly(let needed) = error, count < available, needed <= available else {
                    if case .endsEarly(let needed) = error, needed <= file.byteCount - start {
                        throw .torch(path: file.path, tooLarge(part: "the file"))
                    }
                    throw .torch(path: file.path, problem(error, part: "the file", base: start))
                }
                count = min(available, max(2 * count, needed))
            } catch let error as CheckpointError {
                throw error
            } catch {
                fatalError("unreachable: both kinds of error are caught")
            }
        }
    }

    private static func tooLarge(part: String) -> TorchProblem {
        .malformedPickle(part: part, byte: 0, reason: "it is larger than \(pickleByteLimit) bytes, no weights' is")
    }

    private static func problem(_ problem: PickleReader.Problem, part: String, base: Int = 0) -> TorchProblem {
        switch problem {
        case .malformed(let byte, let reason): .malformedPickle(part: part, byte: base + byte, reason: reason)
        case .endsEarly(let needed):
            .malformedPickle(
                part: part, byte: base, reason: "it is cut off: it needs \(needed) bytes or more from here on")
        }
    }
}
