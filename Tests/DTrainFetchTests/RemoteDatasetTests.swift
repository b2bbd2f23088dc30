import DTrainData
import DTrainDigest
import DTrainFetch
import Foundation
import LoopbackServer
import TestSupport
import Testing

@Suite struct RemoteDatasetTests {
    let scratch: ScratchDirectory
    var directory: String { scratch.path + "/data" }

    init() throws { scratch = try ScratchDirectory() }

    /// A server of files by name.
    func serve(_ files: [String: [UInt8]]) throws -> HTTPServer {
        try HTTPServer { request, _ in
            guard let bytes = files[String(request.target.dropFirst())] else { return HTTPServer.Response(status: 404) }
            return .file(bytes, request)
        }
    }

    func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    /// Four IDX files in gzip, as MNIST comes.
    func digits() -> [String: [UInt8]] {
        func gzip(_ bytes: [UInt8]) -> [UInt8] {
            let path = scratch.path + "/gz"
            writeGzip(bytes, to: path)
            return Array(FileManager.default.contents(atPath: path)!)
        }
        func header(_ magic: UInt32, _ extents: Int...) -> [UInt8] {
            var bytes: [UInt8] = []
            for value in [magic] + extents.map({ UInt32($0) }) {
                for shift in [24, 16, 8, 0] { bytes.append(UInt8(value >> UInt32(shift) & 255)) }
            }
            return bytes
        }
        var files: [String: [UInt8]] = [:]
        for (prefix, count) in [("train", 30), ("t10k", 20)] {
            let labels = (0..<count).map { UInt8($0 % 10) }
            files["\(prefix)-images-idx3-ubyte.gz"] = gzip(header(2051, count, 28, 28) + noise(count * 784))
            files["\(prefix)-labels-idx1-ubyte.gz"] = gzip(header(2049, count) + labels)
        }
        return files
    }

    func dataset(_ files: [String: [UInt8]], bases: [String], content: RemoteDataset.Content? = nil) -> RemoteDataset {
        RemoteDataset(
            name: "mnist", title: "MNIST", bases: bases,
            files: files.sorted { $0.key < $1.key }.map {
                RemoteDataset.File(name: $0.key, checksum: .md5(Digest.of($0.value, .md5)))
            }, content: content)
    }

    @Test func fourFilesFromTheServerToTheReader() throws {
        let files = digits()
        let server = try serve(files)
        let mnist = dataset(files, bases: ["http://127.0.0.1:1/", server.address])
        let folder = try mnist.fetch(into: directory, policy: FetchPolicy(retryDelays: []))
        #expect(folder == directory)
        let pair = try DataSpecification.parse("mnist:\(folder)").openImages()
        #expect(pair.train.count == 30 && pair.test.count == 20)
        #expect(try names(directory) == files.keys.sorted() && server.requests.count == 4)

        _ = try mnist.fetch(into: directory)
        #expect(server.requests.count == 4, "what is here with the right checksum is not fetched again")
    }

    @Test func aMirrorTakesThePlaceOfEveryAddress() throws {
        let files = digits()
        let official = try serve(files)
        let mirror = try serve(files)
        _ = try dataset(files, bases: [official.address]).fetch(into: directory, mirror: try Mirror(mirror.address))
        #expect(official.requests.isEmpty)
        #expect(Set(mirror.requests.map(\.target)) == Set(files.keys.map { "/" + $0 }))
    }

    @Test func oneWrongFileEndsIt() throws {
        let files = digits()
        var wrong = files
        wrong["train-images-idx3-ubyte.gz"] = noise(100)
        let error = #expect(throws: FetchError.self) {
            try dataset(files, bases: [try serve(wrong).address]).fetch(into: directory)
        }
        #expect(error.map { "\($0)".contains("train-images-idx3-ubyte.gz is not the expected file") } == true)
        #expect(try !names(directory).contains { $0.hasPrefix("train-images") })
    }

    // MARK: Archives

    func archive(_ content: [String: [UInt8]]) -> [String: [UInt8]] {
        var tar = TarBuilder()
        tar.add("batches/", type: "5")
        for (name, bytes) in content.sorted(by: { $0.key < $1.key }) { tar.add("batches/" + name, bytes) }
        tar.end()
        let path = scratch.path + "/gz"
        writeGzip(tar.bytes, to: path)
        return ["data.tar.gz": Array(FileManager.default.contents(atPath: path)!)]
    }

    @Test func anArchiveIsUnpackedAndGone() throws {
        let files = archive(["a.bin": noise(3_000), "b.bin": noise(5_000, seed: 2), "readme": [1]])
        let server = try serve(files)
        let content = RemoteDataset.Content(folder: "batches", files: ["a.bin": 3_000, "b.bin": 5_000])
        let cifar = dataset(files, bases: [server.address], content: content)
        let folder = try cifar.fetch(into: directory)
        #expect(folder == directory + "/batches")
        #expect(try names(directory) == ["batches"] && names(folder) == ["a.bin", "b.bin", "readme"])
        #expect(FileManager.default.contents(atPath: folder + "/b.bin").map(Array.init) == noise(5_000, seed: 2))

        _ = try cifar.fetch(into: directory)
        #expect(server.requests.count == 1)

        // A short file, and what a killed process left of its unpacking.
        try Data(noise(10)).write(to: URL(fileURLWithPath: folder + "/a.bin"))
        let left = directory + "/.unpacking-batches/batches"
        try FileManager.default.createDirectory(atPath: left, withIntermediateDirectories: true)
        _ = try cifar.fetch(into: directory)
        #expect(server.requests.count == 2)
        #expect(FileManager.default.contents(atPath: folder + "/a.bin").map(Array.init) == noise(3_000))
        #expect(try names(directory) == ["batches"])
    }

    @Test func anArchiveThatLacksAFileIsSaid() throws {
        let files = archive(["a.bin": noise(3_000)])
        let content = RemoteDataset.Content(folder: "batches", files: ["a.bin": 3_000, "b.bin": 5_000])
        let cifar = dataset(files, bases: [try serve(files).address], content: content)
        #expect(
            throws: FetchError.archiveContent(
                path: directory + "/data.tar.gz", file: "b.bin", expectedBytes: 5_000, actualBytes: nil)
        ) { try cifar.fetch(into: directory) }
        #expect(try names(directory) == ["data.tar.gz"])
    }

    @Test func twoAtOnceUnpackOnce() async throws {
        let files = archive(["a.bin": noise(300_000)])
        let server = try serve(files)
        let cifar = dataset(
            files, bases: [server.address],
            content: RemoteDataset.Content(folder: "batches", files: ["a.bin": 300_000]))
        let directory = directory
        try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    try await withCheckedThrowingContinuation { continuation in
                        Thread.detachNewThread {
                            continuation.resume(with: Result { try cifar.fetch(into: directory) })
                        }
                    }
                }
            }
            for try await folder in group { #expect(folder == directory + "/batches") }
        }
        #expect(server.requests.count == 1)
        #expect(try names(directory) == ["batches"])
    }

    // MARK: Names

    @Test func namesAreThoseOfData() throws {
        #expect(RemoteDataset.all.map(\.name) == ["mnist", "fashion-mnist", "cifar10", "cifar100"])
        #expect(try RemoteDataset.named("cifar100").title == "CIFAR-100")
        let error = #expect(throws: FetchUsageError.self) { try RemoteDataset.named("mnits") }
        #expect(
            error.map { "\($0)" }
                == "nothing called 'mnits' can be fetched (did you mean mnist?); "
                + "valid: mnist, fashion-mnist, cifar10, cifar100, weights:MODEL")
    }

    @Test(arguments: [
        "http://127.0.0.1:80", "https://mirror.example.org/a/b/", "file:///srv/data", "HTTP://x",
    ]) func mirrorsEndWithASlash(text: String) throws {
        let base = try Mirror(text).base
        #expect(base.hasPrefix(text) && base.hasSuffix("/") && !base.hasSuffix("//"))
    }

    @Test(arguments: [
        "", "mirror.example.org", "ftp://x/", "http://", "http:///x", "http://x/?a=b", "http://x/#a", "http://x y/",
        "http://x/é", "file:/srv", "http://x/\n",
    ]) func otherMirrorsAreRefused(text: String) {
        #expect(throws: FetchUsageError.badMirror(text)) { try Mirror(text) }
    }
}
