import DTrainTensor
import Foundation

/// The system calls that durable writes need, each with its error.
enum FileSystem {
    static func error(_ operation: String, _ path: String, _ code: Int32 = errno) -> CheckpointError {
        .fileSystem(operation: operation, path: path, code: code)
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Creates `path` and what is missing above it, each entry synced into its parent.
    static func createDirectories(_ path: String) throws(CheckpointError) {
        if exists(path) { return }
        let parent = FilePath.parent(of: path)
        if parent != path { try createDirectories(parent) }
        if mkdir(path, 0o777) != 0 && errno != EEXIST { throw error("create", path) }
        try syncDirectory(parent)
    }

    static func createDirectory(_ path: String) throws(CheckpointError) {
        if mkdir(path, 0o777) != 0 { throw error("create", path) }
    }

    static func rename(_ old: String, to new: String) throws(CheckpointError) {
        if Foundation.rename(old, new) != 0 { throw error("rename \(old) to", new) }
    }

    /// Makes the entries of a directory durable: a renamed file is safe only after this.
    static func syncDirectory(_ path: String) throws(CheckpointError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw error("open", path) }
        defer { close(descriptor) }
        // Some file systems cannot sync a directory and say EINVAL; they offer nothing better.
        if fsync(descriptor) != 0 && errno != EINVAL { throw error("sync", path) }
    }

    /// The names in a directory, sorted; none where it does not exist.
    static func names(in path: String) throws(CheckpointError) -> [String] {
        guard let directory = opendir(path) else {
            if errno == ENOENT { return [] }
            throw error("read", path)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file, a link or a directory with all in it; nothing where it does not exist.
    static func remove(_ path: String) throws(CheckpointError) {
        if unlink(path) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw error("remove", path) }
        for name in try names(in: path) { try remove(path + "/" + name) }
        if rmdir(path) != 0 { throw error("remove", path) }
    }

    /// Creates the symbolic link `path`.
    static func link(_ path: String, to target: String) throws(CheckpointError) {
        if symlink(target, path) != 0 { throw error("link", path) }
    }

    /// What the symbolic link `path` points to; nil where it is none.
    static func linkTarget(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }
}
