/// Pickles and older PyTorch files put together by hand, for what no honest program writes.
enum PickleAssembly {
    static func text(_ text: String) -> [UInt8] { [0x58] + number(text.utf8.count, 4) + Array(text.utf8) }
    static func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }
    static func integer(_ value: Int) -> [UInt8] { [0x8A, 8] + number(value, 8) }
    static func tuple(_ parts: [[UInt8]]) -> [UInt8] { [0x28] + parts.joined() + [0x74] }
    static func number(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    static func storage(_ key: String, count: Int, type: String = "FloatStorage") -> [UInt8] {
        tuple([text("storage"), global("torch", type), text(key), text("cpu"), integer(count), [0x4E]]) + [0x51]
    }

    /// What builds a tensor.
    static func tensor(storage: [UInt8], offset: Int = 0, shape: [Int], strides: [Int]) -> [UInt8] {
        global("torch._utils", "_rebuild_tensor_v2")
            + tuple([
                storage, integer(offset), tuple(shape.map(integer)), tuple(strides.map(integer)), [0x89], [0x7D],
            ]) + [0x52]
    }

    /// A dictionary of one entry.
    static func dictionary(_ name: String, _ value: [UInt8]) -> [UInt8] { [0x7D] + text(name) + value + [0x73] }

    static let magic: [UInt8] = [
        0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
    ]

    /// A file of the older format: the pickle of an object, and fp32 storages.
    static func file(_ object: [UInt8], storages: [(key: String, floats: [Float])] = []) -> [UInt8] {
        var keys: [UInt8] = [0x5D]
        for storage in storages { keys += text(storage.key) + [0x61] }
        var bytes = magic
        bytes += [0x80, 2, 0x4D, 0xE9, 0x03, 0x2E]
        bytes += [0x80, 2, 0x7D, 0x2E]
        for pickle in [object, keys] {
            bytes += [0x80, 2]
            bytes += pickle
            bytes.append(0x2E)
        }
        for storage in storages {
            bytes += number(storage.floats.count, 8)
            for value in storage.floats { bytes += number(Int(value.bitPattern), 4) }
        }
        return bytes
    }
}
