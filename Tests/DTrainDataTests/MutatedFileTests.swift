internal import CZlib
import DTrainData
import DTrainTensor
import Foundation
import Testing

/// A thousand damaged files for each reader: an error or a valid result each time. A crash ends the tests, a hang meets
/// the time limit, and what is decoded is never larger than a file of that length may be.
@Suite(.timeLimit(.minutes(5))) struct MutatedFileTests {
    private static let mutantCount = 1000

    @Test func jpeg() throws {
        // The bound that ImageHeader states: 1024 pixels a byte.
        let results = try mutateImages(endingIn: ".jpg") { byteCount, channels in byteCount * 1024 * channels }
        #expect(results.decoded > 100 && results.broken > 100, "\(results)")
    }

    @Test func png() throws {
        // Deflate's bound of 1032, and 8 pixels of one bit a byte.
        let results = try mutateImages(endingIn: ".png", repair: repairedPNG) { byteCount, channels in
            byteCount * 1032 * 8 * channels
        }
        #expect(results.decoded > 20 && results.broken > 500, "\(results)")
    }

    private func mutateImages(
        endingIn ending: String, repair: ([UInt8]) -> [UInt8] = { $0 }, limit: (Int, Int) -> Int
    ) throws -> (decoded: Int, broken: Int) {
        let originals = try ImageFixtures.names.filter { $0.hasSuffix(ending) }.map(ImageFixtures.bytes)
        let decoder = ImageDecoder()
        var mutation = Mutation(seed: 5)
        var results = (decoded: 0, broken: 0)
        for number in 0..<Self.mutantCount {
            var bytes = mutation.mutated(originals[number % originals.count])
            if number % 2 == 1 { bytes = repair(bytes) }
            let channels = number % 3 == 0 ? 1 : 3
            let image = PixelBuffer()
            do {
                try bytes.withUnsafeBytes { try decoder.decode($0, name: "mutant", channels: channels, into: image) }
                results.decoded += 1
            } catch DataError.brokenImage(path: "mutant", let reason) {
                #expect(!reason.isEmpty)
                results.broken += 1
            }
            #expect(image.byteCount <= limit(bytes.count, channels) && image.byteCount <= channels << 27)
        }
        return results
    }

    @Test(arguments: [false, true]) func idx(gzipped: Bool) throws {
        let folder = try TemporaryFolder(), files = SmallMNIST(trainCount: 6, testCount: 2)
        try files.write(to: folder, gzipped: gzipped)
        let originals = [("train-images-idx3-ubyte", files.trainImages), ("t10k-labels-idx1-ubyte", files.testLabels)]
            .map { (name: gzipped ? $0.0 + ".gz" : $0.0, bytes: gzipped ? gzip($0.1) : $0.1) }
        try mutate(originals, in: folder) { try DataSpecification.mnist(directory: folder.path).openImages() }
    }

    @Test func cifar() throws {
        let folder = try TemporaryFolder()
        try writeCIFAR10(to: folder)
        let names = Array("airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n".utf8)
        let test = DTrainDataTests.cifar(count: 2, first: 100) { [UInt8($0 % 10)] }
        let originals = [(name: "test_batch.bin", bytes: test), (name: "batches.meta.txt", bytes: names)]
        try mutate(originals, in: folder) { try DataSpecification.cifar10(directory: folder.path).openImages() }
    }

    @Test(arguments: [false, true]) func packed(signed: Bool) throws {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a", "b"], counts: [3, 2])
        let path = try pack(DataSpecification.images(directory: folder.path).openImages(), in: folder)
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        try mutate([(name: "data.packed", bytes: bytes)], in: folder, repair: signed ? signedPacked : { $0 }) {
            try DataSpecification.packed(file: path).openImages()
        }
    }

    /// Opens a data set of which one file is damaged, in turn, and reads what can be opened.
    private func mutate(
        _ originals: [(name: String, bytes: [UInt8])], in folder: TemporaryFolder,
        repair: ([UInt8]) -> [UInt8] = { $0 }, open: () throws -> DatasetPair
    ) throws {
        var mutation = Mutation(seed: 9)
        var valid = 0, broken = 0
        for number in 0..<Self.mutantCount {
            let original = originals[number % originals.count]
            let bytes = repair(mutation.mutated(original.bytes))
            try folder.write(bytes, original.name)
            do {
                let pair = try open()
                for dataset in [pair.train, pair.test] {
                    for index in 0..<dataset.count {
                        let image = PixelBuffer()
                        let label = try dataset.read(index, into: image)
                        try #require(label >= 0 && label < dataset.classCount)
                        // Raw pixels are in the file as they are; gzip may hold 1032 times its bytes.
                        #expect(image.byteCount <= max(bytes.count * 1032, 3072))
                    }
                }
                valid += 1
            } catch is DataError {
                broken += 1
            }
            try folder.write(original.bytes, original.name)
        }
        #expect(broken > 100 && valid + broken == Self.mutantCount)
    }
}

/// Damage to files, drawn from a seed.
private struct Mutation {
    private let random: CounterRandom
    private var counter: UInt64 = 0

    init(seed: UInt64) { random = CounterRandom(seed: seed, purpose: .synthetic) }

    private mutating func below(_ bound: Int) -> Int {
        counter += 1
        return random.below(max(bound, 1), counter)
    }

    /// `bytes` with one to four changes: a bit, an extreme byte, a random byte, a piece lost, doubled or random, the end.
    mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(4) where !bytes.isEmpty {
            // Half of the changes meet the first bytes, where headers are.
            let place = below(2) == 0 ? below(bytes.count) : below(min(bytes.count, 200))
            let length = min(1 + below(40), bytes.count - place)
            switch below(8) {
            case 0: bytes[place] ^= 1 << UInt8(below(8))
            case 1: bytes[place] = [0, 1, 127, 128, 255][below(5)]
            case 2: bytes[place] = UInt8(below(256))
            case 3: bytes.removeSubrange(place..<place + length)
            case 4: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
            case 5: for index in place..<place + length { bytes[index] = UInt8(below(256)) }
            case 6: for index in place..<min(place + 4, bytes.count) { bytes[index] = below(2) == 0 ? 255 : 0 }
            default: if below(4) == 0 { bytes.removeLast(bytes.count - place) }
            }
        }
        return bytes
    }
}

/// A damaged PNG file whose chunks have the checksums that belong to their content, so that damage goes deeper.
private func repairedPNG(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    var start = 8
    while start + 12 <= bytes.count {
        let length = bytes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
        guard start + 12 + length <= bytes.count else { break }
        let content = Array(bytes[start + 4..<start + 8 + length])
        let sum = UInt32(crc32(0, content, UInt32(content.count)))
        for index in 0..<4 {
            bytes[start + 8 + length + index] = UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * index))
        }
        start += 12 + length
    }
    return bytes
}

/// A damaged packed file whose header has the hashes that belong to its content.
private func signedPacked(_ bytes: [UInt8]) -> [UInt8] {
    guard bytes.count >= 64 else { return bytes }
    var bytes = bytes
    func word(_ index: Int) -> Int { (0..<8).reduce(0) { $0 | Int(bytes[8 * index + $1]) << (8 * $1) } }
    func put(_ value: UInt64, _ index: Int) {
        for byte in 0..<8 { bytes[8 * index + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
    }
    func hash(_ range: Range<Int>) -> UInt64 {
        bytes.withUnsafeBytes { ContentDigest.hash(.init(rebasing: $0[range])) }
    }
    let index = word(2), entries = word(3)
    if index >= 64, index <= bytes.count, entries >= 0, entries <= (bytes.count - index) / 32 {
        put(UInt64(bytes.count - index - 32 * entries), 4)
        put(hash(index..<index + 32 * entries), 5)
        put(hash(index + 32 * entries..<bytes.count), 6)
    }
    put(hash(0..<56), 7)
    return bytes
}
