import DTrainFetch
import Foundation
import TestSupport
import Testing

@Suite struct TarArchiveTests {
    let scratch: ScratchDirectory
    var archive: String { scratch.path + "/archive" }
    var folder: String { scratch.path + "/folder" }

    init() throws { scratch = try ScratchDirectory() }

    func unpack(_ bytes: [UInt8], gzip: Bool = false) throws(FetchError) {
        if gzip {
            writeGzip(bytes, to: archive)
        } else {
            _ = FileManager.default.createFile(atPath: archive, contents: Data(bytes))
        }
        try TarArchive(archive).unpack(into: folder)
    }

    /// Every file of the folder by its path in there.
    func files() -> [String: [UInt8]] {
        var found: [String: [UInt8]] = [:]
        let paths = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        for path in paths {
            if let data = FileManager.default.contents(atPath: folder + "/" + path) { found[path] = Array(data) }
        }
        return found
    }

    @Test(arguments: [false, true]) func filesAndFolders(gzip: Bool) throws {
        var tar = TarBuilder()
        let big = noise(600_000)
        tar.add("./", type: "5")
        tar.add("top/", type: "5")
        tar.add("top/a.bin", big)
        tar.add("./top/deep/er/b", noise(512))
        tar.add("empty", [])
        tar.end()
        try unpack(tar.bytes, gzip: gzip)
        #expect(files() == ["top/a.bin": big, "top/deep/er/b": noise(512), "empty": []])
    }

    /// GNU tar is the oracle for every way of writing long names.
    @Test(arguments: ["ustar", "pax", "gnu", "v7"]) func whatTarPacks(format: String) throws {
        let source = try ScratchDirectory()
        let long = (0..<4).map { "folder-with-a-long-name-\($0)" }.joined(separator: "/")
        var expected = ["data/short.bin": noise(1_500), "data/\(long)/file": noise(700, seed: 2)]
        if format == "pax" || format == "gnu" {
            expected["data/" + String(repeating: "n", count: 200)] = noise(10, seed: 3)
        }
        if format == "v7" { expected = ["data/short.bin": noise(1_500)] }
        for (path, bytes) in expected {
            let url = URL(fileURLWithPath: source.path + "/" + path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: url)
        }
        let packed = try runProcess("tar", ["-C", source.path, "-czf", archive, "--format=\(format)", "data"])
        #expect(packed.status == 0, "\(packed.stderr)")
        if format == "v7" {
            // Before POSIX: no magic, and no archive that this program has to read.
            #expect(throws: FetchError.self) { try TarArchive(archive).unpack(into: folder) }
        } else {
            try TarArchive(archive).unpack(into: folder)
            #expect(files() == expected)
        }
    }

    static let evil: [(problem: String, build: @Sendable (inout TarBuilder) -> Void)] = [
        ("leads out", { $0.add("../out", [1]) }),
        ("leads out", { $0.add("a/../../out", [1]) }),
        ("leads out", { $0.add("/tmp/dtrain-evil", [1]) }),
        ("leads out", { $0.add("..", type: "5") }),
        (
            "leads out",
            {
                $0.addPax([("path", "../out")]); $0.add("good", [1])
            }
        ),
        (
            "leads out",
            {
                $0.add("long", Array("../out\0".utf8), type: "L"); $0.add("good", [1])
            }
        ),
        ("leads out", { $0.add(String(repeating: "a/", count: 40) + "b", [1]) }),
        ("neither file nor folder", { $0.add("link", type: "2") }),
        ("neither file nor folder", { $0.add("hard", type: "1") }),
        ("neither file nor folder", { $0.add("pipe", type: "6") }),
        ("neither file nor folder", { $0.add("device", type: "3") }),
        (
            "comes twice",
            {
                $0.add("a", [1]); $0.add("a", [2])
            }
        ),
        (
            "comes twice",
            {
                $0.add("a", type: "5"); $0.add("a", [2])
            }
        ),
        (
            "no valid name",
            {
                $0.add("a", [1]); $0.add("a/b", [2])
            }
        ),
        (
            "a file has no name",
            {
                $0.add("./", [], type: "0"); $0.add("", [1])
            }
        ),
        ("ends inside 'a'", { $0.add("a", [1], size: 1 << 20) }),
        ("more than 4294967296 bytes", { $0.add("a", [1], size: 1 << 32 + 1) }),
        (
            "more than 4294967296 bytes",
            {
                $0.addPax([("size", "9223372036854775807")]); $0.add("a", [1])
            }
        ),
        (
            "no valid size",
            {
                $0.addPax([("size", "-1")]); $0.add("a", [1])
            }
        ),
        ("extends over", { $0.add("pax", [], type: "x", size: 1 << 20) }),
        ("pax records are damaged", { $0.add("pax", Array("99 path=x\n".utf8), type: "x") }),
        ("has content", { $0.add("folder", [1, 2], type: "5") }),
        (
            "wrong checksum",
            {
                $0.add("a", [1]); $0.bytes[0] ^= 1
            }
        ),
        ("more than 10000 entries", { for number in 0...10_000 { $0.add("f\(number)", type: "5") } }),
    ]

    @Test(arguments: evil.indices) func evilArchivesAreRefused(index: Int) throws {
        var tar = TarBuilder()
        Self.evil[index].build(&tar)
        tar.end()
        let error = #expect(throws: FetchError.self) { try unpack(tar.bytes, gzip: index % 2 == 0) }
        #expect(error.map { "\($0)".contains(Self.evil[index].problem) } == true, "\(error.map { "\($0)" } ?? "")")
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted() == ["archive", "folder"])
        #expect(!FileManager.default.fileExists(atPath: "/tmp/dtrain-evil"))
    }

    @Test(arguments: [0, 1, 511, 512, 700, 1_023, 1_024, 1_535]) func aShortArchiveIsRefused(count: Int) throws {
        var tar = TarBuilder()
        tar.add("a", noise(600))
        tar.end()
        // Header, 600 bytes in two blocks, an empty block: with 2048 bytes it is whole.
        #expect(throws: FetchError.self) { try unpack(Array(tar.bytes.prefix(count))) }
    }

    @Test func aShortGzipIsRefused() throws {
        var tar = TarBuilder()
        tar.add("a", noise(100_000))
        tar.end()
        writeGzip(tar.bytes, to: archive)
        let whole = try Data(contentsOf: URL(fileURLWithPath: archive))
        // The last eight bytes are the checksum and the length of what was packed.
        for missing in [1, 8, 50_000] {
            try whole.dropLast(missing).write(to: URL(fileURLWithPath: archive))
            #expect(throws: FetchError.self) { try TarArchive(archive).unpack(into: folder + "\(missing)") }
        }
    }

    /// An error or a folder each time, never a crash, a hang, or anything outside.
    @Test func aThousandMutations() throws {
        var tar = TarBuilder()
        tar.add("top/", type: "5")
        tar.add("top/a", noise(700))
        tar.addPax([("path", "top/" + String(repeating: "p", count: 120)), ("size", "40")])
        tar.add("short", noise(40))
        tar.add("long", Array(("top/" + String(repeating: "l", count: 150) + "\0").utf8), type: "L")
        tar.add("short", noise(10))
        tar.end()
        var random = SystemlessRandom(state: 42)
        var refused = 0
        for round in 0..<1_000 {
            var bytes = tar.bytes
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                // Mostly in headers and pax records, which begin on 512.
                let index = Int.random(in: 0..<bytes.count / 512, using: &random) * 512
                let place = index + Int.random(in: 0..<512, using: &random) % (round % 3 == 0 ? 512 : 160)
                bytes[place] = UInt8.random(in: 0...255, using: &random)
                if round % 2 == 0, bytes[index + 257] == UInt8(ascii: "u") {
                    var block = Array(bytes[index..<index + 512])
                    TarBuilder.sign(&block)
                    bytes.replaceSubrange(index..<index + 512, with: block)
                }
            }
            if round % 5 == 0 { bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random)) }
            do {
                try unpack(bytes, gzip: round % 4 == 0)
                #expect(files().values.reduce(0) { $0 + $1.count } <= bytes.count)
            } catch {
                refused += 1
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).count == 2)
            try FileManager.default.removeItem(atPath: folder)
        }
        #expect(refused > 300 && refused < 1_000)
    }
}

/// A small generator for the mutations (splitmix64).
struct SystemlessRandom: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
