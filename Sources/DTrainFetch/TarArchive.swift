import DTrainData
import Foundation

/// Unpacks a tar archive, plain or gzip: ustar with pax and GNU long names.
///
/// It makes regular files and folders inside one new folder and nothing else. A name that leads out of it (`..`, an
/// absolute path), a link, a device, or a second file of the same name is an error. Memory is one buffer whatever the
/// archive says.
package struct TarArchive {
    package let path: String

    package init(_ path: String) { self.path = path }

    /// The most files and folders.
    static let maximumEntryCount = 10_000
    /// The most bytes of all files together.
    static let maximumByteCount = 1 << 32
    /// The longest pax header or GNU long name.
    static let maximumExtensionByteCount = 1 << 16

    /// Unpacks into `folder`, which is created and must not exist. When it throws, `folder` may be there in part.
    ///
    /// Throws `FetchError.archive` for a damaged or refused archive.
    package func unpack(into folder: String) throws(FetchError) {
        guard mkdir(folder, 0o777) == 0 else { throw .fileSystem(operation: "create", path: folder, code: errno) }
        try TarReading(path: path, folder: folder).run()
    }
}

/// One pass over an archive.
private final class TarReading {
    let path: String
    let folder: String
    private let source: ByteSource
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
    private var position = 0
    private var entryCount = 0
    private var byteCount = 0
    // What a preceding header says of the next entry.
    private var nextName: String?
    private var nextSize: Int?

    init(path: String, folder: String) throws(FetchError) {
        self.path = path
        self.folder = folder
        do { source = try ByteSource(path: path) } catch {
            throw .archive(path: path, byte: 0, problem: "\(error)")
        }
    }

    deinit { buffer.deallocate() }

    func run() throws(FetchError) {
        while true {
            let block = try bytes(TarHeader.byteCount, "its end is missing")
            if block.allSatisfy({ $0 == 0 }) { break }
            try take(try header(block))
        }
        // The checksum of gzip comes last; padding before it is allowed.
        do { position += try source.drain() } catch { throw fault("\(error)") }
        if source.endsInsideStream { throw fault("the compressed data end too early") }
    }

    private func header(_ block: [UInt8]) throws(FetchError) -> TarHeader {
        do { return try TarHeader(block) } catch {
            switch error {
            case .checksum: throw fault("a header has a wrong checksum")
            case .number: throw fault("a header has no valid size")
            case .magic: throw fault("it is not in the format ustar")
            }
        }
    }

    private func take(_ header: TarHeader) throws(FetchError) {
        switch header.type {
        case UInt8(ascii: "x"):
            guard let records = PaxRecords.parse(try extensionContent(header)) else {
                throw fault("its pax records are damaged")
            }
            nextName = records["path"] ?? nextName
            if let size = records["size"] {
                guard let number = Int(size), number >= 0 else { throw fault("a pax record has no valid size") }
                nextSize = number
            }
        case UInt8(ascii: "g"): _ = try extensionContent(header)
        case UInt8(ascii: "L"):
            nextName = String(decoding: try extensionContent(header).prefix { $0 != 0 }, as: UTF8.self)
        case 0, UInt8(ascii: "0"), UInt8(ascii: "5"):
            let name = nextName ?? header.name
            let size = nextSize ?? header.size
            (nextName, nextSize) = (nil, nil)
            entryCount += 1
            guard entryCount <= TarArchive.maximumEntryCount else {
                throw fault("it has more than \(TarArchive.maximumEntryCount) entries")
            }
            let parts = try safeParts(of: name)
            // Before POSIX a folder was a file whose name ends with a slash.
            if header.type == UInt8(ascii: "5") || name.hasSuffix("/") {
                guard size == 0 else { throw fault("the folder '\(name)' has content") }
                try makeFolders(parts[...])
            } else {
                try makeFile(parts, name: name, size: size)
            }
        default:
            throw fault(
                "'\(nextName ?? header.name)' is neither file nor folder (type "
                    + "'\(Character(UnicodeScalar(header.type)).debugDescription.dropFirst().dropLast())')")
        }
    }

    private func extensionContent(_ header: TarHeader) throws(FetchError) -> [UInt8] {
        guard header.size <= TarArchive.maximumExtensionByteCount else {
            throw fault("a header extends over \(header.size) bytes")
        }
        let content = try bytes(header.size, "it ends inside a header")
        try skipPadding(after: header.size)
        return content
    }

    /// The components of a name that stays inside the folder.
    private func safeParts(of name: String) throws(FetchError) -> [String] {
        let parts = name.split(separator: "/").map(String.init).filter { $0 != "." }
        guard !name.hasPrefix("/"), !parts.contains(".."), !name.utf8.contains(0), parts.count <= 32 else {
            throw fault("the name '\(name)' leads out of the folder")
        }
        return parts
    }

    private func makeFolders(_ parts: ArraySlice<String>) throws(FetchError) {
        var path = folder
        for part in parts {
            path += "/" + part
            if mkdir(path, 0o777) != 0 {
                let code = errno
                var status = stat()
                guard code == EEXIST, lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                    throw refusal("create", path, code == EEXIST ? ENOTDIR : code)
                }
            }
        }
    }

    private func makeFile(_ parts: [String], name: String, size: Int) throws(FetchError) {
        guard !parts.isEmpty else { throw fault("a file has no name") }
        guard size <= TarArchive.maximumByteCount - byteCount else {
            throw fault("its files have more than \(TarArchive.maximumByteCount) bytes")
        }
        byteCount += size
        try makeFolders(parts.dropLast())
        let path = folder + "/" + parts.joined(separator: "/")
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { throw refusal("create", path, errno) }
        defer { close(descriptor) }
        var rest = size
        while rest > 0 {
            let chunk = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(rest, buffer.count)])
            try fill(chunk, "it ends inside '\(name)'")
            var done = 0
            while done < chunk.count {
                let count = write(descriptor, chunk.baseAddress! + done, chunk.count - done)
                if count >= 0 {
                    done += count
                } else if errno != EINTR {
                    throw .fileSystem(operation: "write", path: path, code: errno)
                }
            }
            rest -= chunk.count
        }
        guard fsync(descriptor) == 0 else { throw .fileSystem(operation: "sync", path: path, code: errno) }
        try skipPadding(after: size)
    }

    /// What the names of an archive provoke is the archive's fault, a full disk is not.
    private func refusal(_ operation: String, _ path: String, _ code: Int32) -> FetchError {
        switch code {
        case EEXIST: fault("'\(path.dropFirst(folder.count + 1))' comes twice")
        case ENOTDIR, ENAMETOOLONG, EINVAL, EISDIR, EILSEQ:
            fault("'\(path.dropFirst(folder.count + 1))' is no valid name (\(String(cString: strerror(code))))")
        default: .fileSystem(operation: operation, path: path, code: code)
        }
    }

    private func skipPadding(after size: Int) throws(FetchError) {
        _ = try bytes((TarHeader.byteCount - size % TarHeader.byteCount) % TarHeader.byteCount, "its end is missing")
    }

    private func bytes(_ count: Int, _ problem: String) throws(FetchError) -> [UInt8] {
        let chunk = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        try fill(chunk, problem)
        return Array(chunk)
    }

    private func fill(_ chunk: UnsafeMutableRawBufferPointer, _ problem: String) throws(FetchError) {
        let count: Int
        do { count = try source.read(into: chunk) } catch { throw fault("\(error)") }
        position += count
        guard count == chunk.count else { throw fault(problem) }
    }

    private func fault(_ problem: String) -> FetchError { .archive(path: path, byte: position, problem: problem) }
}
