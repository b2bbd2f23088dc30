#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The image files below one folder, class by class, sorted by the bytes of their names.
///
/// Names lie one after the other in one array: a million of them takes some 30 MB. They are kept as the bytes that the
/// file system gave, which need not be UTF-8.
struct ImageFiles {
    let folder: String
    let classNames: [String]
    /// Of class names, relative paths and file sizes.
    let digest: String
    var count: Int { labels.count }
    private var labels: [Int32] = []
    private var classBytes: [[UInt8]] = []
    private var nameBytes: [UInt8] = []
    /// Where the name of file i ends in `nameBytes`.
    private var nameEnds: [Int] = []

    private static let extensions = [".jpg", ".jpeg", ".png"].map { Array($0.utf8) }

    /// Lists `folder`. Names that begin with a point are passed over, and so are files that do not end in `.jpg`,
    /// `.jpeg` or `.png` in small or capital letters; symbolic links are followed.
    init(folder: String) throws(DataError) {
        self.folder = folder
        let root = Array(folder.utf8)
        for entry in try directoryEntries(root) where Self.kind(of: root, entry) == S_IFDIR { classBytes.append(entry) }
        classBytes.sort { $0.lexicographicallyPrecedes($1) }
        guard !classBytes.isEmpty else { throw .noClasses(path: folder) }
        classNames = classBytes.map { String(decoding: $0, as: UTF8.self) }

        var sizes: [Int64] = []
        for (label, name) in classBytes.enumerated() {
            let directory = root + [UInt8(ascii: "/")] + name
            var files: [(name: [UInt8], size: Int64)] = []
            for entry in try directoryEntries(directory) where Self.isImageName(entry) {
                guard let status = Self.status(of: directory, entry) else {
                    // A link into the void: it is listed, and is an error when it is read.
                    files.append((entry, -1))
                    continue
                }
                if status.st_mode & S_IFMT == S_IFREG { files.append((entry, Int64(status.st_size))) }
            }
            guard !files.isEmpty else { throw .emptyClass(path: String(decoding: directory, as: UTF8.self)) }
            files.sort { $0.name.lexicographicallyPrecedes($1.name) }
            for file in files {
                nameBytes += file.name
                nameEnds.append(nameBytes.count)
                labels.append(Int32(label))
                sizes.append(file.size)
            }
        }
        digest = ContentDigest.combining(
            classNames + [
                nameBytes.withUnsafeBytes { ContentDigest.text(ContentDigest.hash($0)) },
                nameEnds.withUnsafeBytes { ContentDigest.text(ContentDigest.hash($0)) },
                labels.withUnsafeBytes { ContentDigest.text(ContentDigest.hash($0)) },
                sizes.withUnsafeBytes { ContentDigest.text(ContentDigest.hash($0)) },
            ])
    }

    func label(_ index: Int) -> Int { Int(labels[index]) }

    /// The path of file `index`, zero-terminated.
    func path(_ index: Int) -> [CChar] { (bytes(index) + [0]).map { CChar(bitPattern: $0) } }

    /// The path as text for people.
    func displayPath(_ index: Int) -> String { String(decoding: bytes(index), as: UTF8.self) }

    private func bytes(_ index: Int) -> [UInt8] {
        let slash = UInt8(ascii: "/")
        let name = nameBytes[(index == 0 ? 0 : nameEnds[index - 1])..<nameEnds[index]]
        return Array(folder.utf8) + [slash] + classBytes[Int(labels[index])] + [slash] + name
    }

    // MARK: The file system

    /// Whether a file of this name is taken for an image: it ends in `.jpg`, `.jpeg` or `.png` and does not begin with a
    /// point.
    static func isImageName(_ name: [UInt8]) -> Bool {
        extensions.contains { ending in
            name.count > ending.count && zip(name.suffix(ending.count), ending).allSatisfy { $0 | 0x20 == $1 }
        }
    }

    private static func status(of directory: [UInt8], _ name: [UInt8]) -> stat? {
        let path = (directory + [UInt8(ascii: "/")] + name + [0]).map { CChar(bitPattern: $0) }
        var result = stat()
        return stat(path, &result) == 0 ? result : nil
    }

    private static func kind(of directory: [UInt8], _ name: [UInt8]) -> mode_t {
        status(of: directory, name).map { $0.st_mode & S_IFMT } ?? 0
    }
}
