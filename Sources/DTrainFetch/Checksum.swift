import DTrainDigest
import Foundation

/// What a fetched file must be.
public struct Checksum: Hashable, Sendable, CustomStringConvertible {
    public let algorithm: DigestAlgorithm
    /// Lower-case hexadecimal digits; the digest must begin with them. Fewer than all where a file's name carries only
    /// the first.
    public let digits: String

    public static func md5(_ digits: String) -> Checksum { Checksum(algorithm: .md5, digits: digits) }
    public static func sha256(_ digits: String) -> Checksum { Checksum(algorithm: .sha256, digits: digits) }

    /// The SHA-256 whose first digits stand before the ending of `fileName`, as torchvision names its weights:
    /// `resnet50-0676ba61.pth`. Nil where the name carries none.
    public static func inName(_ fileName: String) -> Checksum? {
        let stem = fileName.prefix { $0 != "." }
        guard let dash = stem.lastIndex(of: "-") else { return nil }
        let digits = String(stem[stem.index(after: dash)...])
        guard digits.count >= 8, digits.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else { return nil }
        return .sha256(digits)
    }

    public var description: String { "\(algorithm.rawValue) \(digits)" }

    /// The digest of the file at `path`, which is read once.
    func digest(of path: String) throws(FetchError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .fileSystem(operation: "open", path: path, code: errno) }
        defer { close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        var hash = Digest(algorithm)
        while true {
            let count = read(descriptor, buffer.baseAddress!, buffer.count)
            if count == 0 { return hash.finish() }
            if count > 0 {
                hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            } else if errno != EINTR {
                throw .fileSystem(operation: "read", path: path, code: errno)
            }
        }
    }

    func accepts(_ digest: String) -> Bool { digest.hasPrefix(digits) }

    /// Whether there is a file at `path` with this checksum. Throws where there is something else than a file.
    func matches(_ path: String) throws(FetchError) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else { return false }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .fileSystem(operation: "replace", path: path, code: EISDIR)
        }
        return accepts(try digest(of: path))
    }
}
