import DTrainTensor
import Foundation

/// A data set that can be fetched: its files, where they are officially, and what they must be.
public struct RemoteDataset: Hashable, Sendable {
    package struct File: Hashable, Sendable {
        let name: String
        let checksum: Checksum

        package init(name: String, checksum: Checksum) {
            self.name = name
            self.checksum = checksum
        }
    }

    /// What an archive holds that is wanted: a folder, and files in it of known size.
    package struct Content: Hashable, Sendable {
        let folder: String
        let files: [String: Int]

        package init(folder: String, files: [String: Int]) {
            self.folder = folder
            self.files = files
        }
    }

    /// As `--data` spells it before the colon.
    public let name: String
    /// As it is written in prose.
    public let title: String
    let bases: [String]
    let files: [File]
    /// For an archive, which is then the only file.
    let content: Content?

    package init(name: String, title: String, bases: [String], files: [File], content: Content? = nil) {
        self.name = name
        self.title = title
        self.bases = bases
        self.files = files
        self.content = content
    }

    /// The data set called `name`. Throws `FetchUsageError.unknownName` with the nearest names.
    public static func named(_ name: String) throws(FetchUsageError) -> RemoteDataset {
        if let found = all.first(where: { $0.name == name }) { return found }
        let names = all.map(\.name)
        throw .unknownName(
            name: name, suggestion: suggestion(for: name, among: names + ["weights:MODEL"]),
            valid: names + ["weights:MODEL"])
    }

    /// Sees to it that the data set is in `directory`; returns the folder that `--data NAME:FOLDER` takes.
    ///
    /// Files with the right checksum stay. An archive is unpacked beside its final name, which it gets when all is there,
    /// and removed. Throws `FetchError`.
    public func fetch(
        into directory: String, mirror: Mirror? = nil, policy: FetchPolicy = FetchPolicy(),
        report: @escaping (FetchEvent) -> Void = { _ in }
    ) throws(FetchError) -> String {
        guard let content else {
            for file in files { try download(file, directory, mirror).run(policy: policy, report: report) }
            return directory
        }
        let folder = directory + "/" + content.folder
        try FileTree.createDirectories(directory)
        // One lock over fetching and unpacking, or a second process would miss the archive that the first has removed.
        return try FileTree.withLock(on: directory, onWait: { report(.waiting(path: folder)) }) {
            () throws(FetchError) in
            if content.shortfall(in: folder) == nil {
                report(.present(path: folder))
                return folder
            }
            let archive = download(files[0], directory, mirror)
            try archive.run(policy: policy, report: report)
            report(.unpacking(path: archive.path, folder: folder))
            try unpack(archive.path, content, folder: folder)
            return folder
        }
    }

    private func download(_ file: File, _ directory: String, _ mirror: Mirror?) -> Download {
        let bases = mirror.map { [$0.base] } ?? bases
        return Download(
            addresses: bases.map { $0 + file.name }, path: directory + "/" + file.name, checksum: file.checksum)
    }

    /// The new folder takes the place of an incomplete one, which is removed last.
    private func unpack(_ archive: String, _ content: Content, folder: String) throws(FetchError) {
        let work = FilePath.parent(of: folder) + "/.unpacking-" + content.folder
        try FileTree.remove(work)
        do throws(FetchError) {
            try TarArchive(archive).unpack(into: work)
            let new = work + "/" + content.folder
            if let (file, expected, actual) = content.shortfall(in: new) {
                throw .archiveContent(path: archive, file: file, expectedBytes: expected, actualBytes: actual)
            }
            guard rename(folder, new + ".old") == 0 || errno == ENOENT else {
                throw .fileSystem(operation: "move aside", path: folder, code: errno)
            }
            guard rename(new, folder) == 0 else {
                throw .fileSystem(operation: "rename \(new) to", path: folder, code: errno)
            }
        } catch {
            try? FileTree.remove(work)
            throw error
        }
        FileTree.syncDirectory(FilePath.parent(of: folder))
        try FileTree.remove(work)
        try FileTree.remove(archive)
    }
}

extension RemoteDataset.Content {
    /// The first file, by name, that `folder` lacks or has in another size.
    func shortfall(in folder: String) -> (file: String, expected: Int, actual: Int?)? {
        for (file, expected) in files.sorted(by: { $0.key < $1.key }) {
            let actual = FileTree.byteCount(folder + "/" + file)
            if actual != expected { return (file, expected, actual) }
        }
        return nil
    }
}
