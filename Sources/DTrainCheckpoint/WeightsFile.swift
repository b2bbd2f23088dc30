import DTrainTensor
import Foundation

/// Weights on disk, whatever their format: a safetensors file, a PyTorch file (`.pth`, `.pt`; zip or older), or a
/// checkpoint's directory, whose model.safetensors it is then. The content decides, not the name.
public struct WeightsFile: Sendable {
    /// The file that is read.
    public let path: String

    private enum Format: Sendable {
        case safetensors(SafetensorsFile)
        case torch(TorchFile)
    }

    private let format: Format

    /// Opens `path` and checks its structure; tensors are read when asked for.
    public init(_ path: String) throws(CheckpointError) {
        var file = path
        if FileSystem.isDirectory(path) {
            file = path + "/" + Checkpoint.modelName
            guard FileSystem.exists(file) else {
                throw .notACheckpoint(path: path, reason: "it holds no \(Checkpoint.modelName)")
            }
        }
        self.path = file
        let input: FileInput
        do {
            input = try FileInput(file)
        } catch {
            guard case .missingFile = error else { throw error }
            throw FileSystem.error("read the weights", path, ENOENT)
        }
        let start = try input.bytes(0..<min(16, input.byteCount))
        // The length of a safetensors header may look like the beginning of anything, but { follows it.
        if start.count > 8 && start[8] == UInt8(ascii: "{") {
            format = .safetensors(try SafetensorsFile(file))
        } else if start.starts(with: [0x50, 0x4B]) || start.starts(with: TorchContainer.magic) {
            format = .torch(try TorchFile(input))
        } else if let reason = Self.wellKnown(start) {
            throw .notWeights(path: file, reason: reason)
        } else {
            format = .safetensors(try SafetensorsFile(file))
        }
    }

    /// What else people have under such a name.
    private static func wellKnown(_ start: [UInt8]) -> String? {
        let text = String(decoding: start, as: UTF8.self).lowercased()
        if start.isEmpty { return "it is empty" }
        if text.hasPrefix("<!doctype") || text.hasPrefix("<html") || text.hasPrefix("<?xml") {
            return "it is a web page, an error message perhaps; download it again"
        }
        if text.hasPrefix("version https:") {
            return "it is a pointer of Git LFS; fetch the file itself (git lfs pull)"
        }
        if start.starts(with: [0x80]) && start.count > 1 && (2...5).contains(start[1]) {
            return "it is a pickle that torch.save did not write"
        }
        return nil
    }

    /// The tensors' names, in the file's order.
    public var names: [String] {
        switch format {
        case .safetensors(let file): file.names
        case .torch(let file): file.names
        }
    }

    /// The shape of a tensor; nil where there is no tensor of that name.
    public func shape(of name: String) -> Shape? {
        switch format {
        case .safetensors(let file): file.shape(of: name)
        case .torch(let file): file.shape(of: name)
        }
    }

    /// The type that a tensor's elements have in the file; nil where there is no tensor of that name.
    public func type(of name: String) -> StoredType? {
        switch format {
        case .safetensors(let file): file.type(of: name)
        case .torch(let file): file.type(of: name)
        }
    }

    /// Reads one tensor, as `StoredType.readType` says.
    public func tensor(_ name: String) throws(CheckpointError) -> NamedTensor {
        switch format {
        case .safetensors(let file): try file.tensor(name)
        case .torch(let file): try file.tensor(name)
        }
    }

    /// Reads all tensors.
    public func tensors() throws(CheckpointError) -> [NamedTensor] {
        switch format {
        case .safetensors(let file): try file.tensors()
        case .torch(let file): try file.tensors()
        }
    }
}
