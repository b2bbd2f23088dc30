import DTrainData
import DTrainTensor
import Testing

@Suite struct TextDatasetTests {
    private func open(_ text: String) throws -> (train: TextDataset, test: TextDataset) {
        let folder = try TemporaryFolder()
        return try TextDataset.open(path: folder.write(Array(text.utf8), "text.txt"))
    }

    /// A text in which every character is another one, so that a token says its place.
    private func distinct(_ count: Int) throws -> (train: TextDataset, test: TextDataset) {
        var text = String.UnicodeScalarView()
        for index in 0..<count { text.append(Unicode.Scalar(0x4E00 + UInt32(index))!) }
        return try open(String(text))
    }

    private func sample(_ streams: TextStreams, _ index: Int) -> (tokens: [Int32], labels: [Int32]) {
        let memory = AlignedMemory(byteCount: 8 * streams.longest)
        let slice = memory.slice(of: Int32.self)
        let count = streams.length(of: index)
        let (tokens, labels) = (slice[0..<count], slice[streams.longest..<streams.longest + count])
        streams.read(index, into: tokens, labels: labels)
        return withExtendedLifetime(memory) { (tokens.array(), labels.array()) }
    }

    @Test("The last tenth of the characters, rounded down, is for testing; the vocabulary is of all")
    func splits() throws {
        let (train, test) = try open("ab" + String(repeating: "a", count: 25) + "é\n")
        #expect(train.count == 27 && test.count == 2)
        #expect(train.classNames == ["\n", "a", "b", "é"] && test.tokens == [3, 0])
        #expect(train.tokens.prefix(3) == [1, 2, 1])
        #expect(train.digest != test.digest)
    }

    @Test("A byte-order mark is no part of the text; one inside it is")
    func byteOrderMark() throws {
        let text = String(repeating: "ab", count: 20)
        let (train, test) = try open("\u{FEFF}" + text)
        #expect(train.vocabulary.names == ["a", "b"] && train.count + test.count == 40)
        #expect(try train.digest == open(text).train.digest)
        #expect(try open(text + "\u{FEFF}").train.vocabulary.count == 3)
    }

    @Test("Training streams are contiguous, of whole windows, and the next batch goes on where the last one ended")
    func trainingStreams() throws {
        let train = try distinct(120).train
        #expect(train.count == 108)
        let streams = try train.streams(4, longest: 8)
        // 107 predictions: 26 a stream, three windows of 8.
        #expect(streams.windowCount == 3 && streams.count == 12 && streams.tokenCount == 96)
        #expect(streams.droppedCharacterCount == 11)
        for stream in 0..<4 {
            for window in 0..<3 {
                let start = Int32(stream * 24 + window * 8)
                let sample = sample(streams, window * 4 + stream)
                #expect(sample.tokens == Array(start..<start + 8) && sample.labels == Array(start + 1..<start + 9))
            }
        }
    }

    @Test(
        "In an evaluation every character after the first is predicted once", arguments: [20, 300, 2570, 5000, 90_007])
    func evaluationStreams(count: Int) throws {
        let (_, test) = try distinct(min(count, 20_000))
        for longest in [1, 7, 64, 100_000] {
            let streams = test.evaluationStreams(longest: longest)
            #expect(streams.streamCount == max(1, min(32, (test.count - 1) / 256)))
            var labels: [Int32] = []
            for stream in 0..<streams.streamCount {
                var ended = false
                for window in 0..<streams.windowCount {
                    let index = window * streams.streamCount + stream
                    // A shorter window is the last one of its stream, and longer streams come first.
                    #expect(!ended || streams.length(of: index) == 0)
                    ended = streams.length(of: index) < longest
                    if stream > 0 { #expect(streams.length(of: index) <= streams.length(of: index - 1)) }
                    let sample = sample(streams, index)
                    #expect(zip(sample.tokens, sample.labels).allSatisfy { $0 + 1 == $1 })
                    labels += sample.labels
                }
            }
            #expect(labels == Array(test.tokens.dropFirst()))
        }
    }

    @Test("Mistakes say how long the text is and what would fit, or which byte is wrong")
    func mistakes() throws {
        let train = try distinct(120).train
        var usage = #expect(throws: DataUsageError.self) { try train.streams(4, longest: 27) }
        #expect(
            usage?.description.hasPrefix("a sequence length of 27 is too long: the training part of ") == true
                && usage?.description.hasSuffix(
                    " has 108 characters, which 4 streams (the batch size) share; choose --sequence-length 26 or less, or a "
                        + "smaller batch") == true
        )
        #expect(try train.streams(4, longest: 26).windowCount == 1)
        usage = #expect(throws: DataUsageError.self) { try train.streams(108, longest: 1) }
        #expect(usage?.description.hasSuffix("choose a batch size of at most 107") == true)
        #expect(try train.streams(107, longest: 1).count == 107)

        func message(_ bytes: [UInt8]) throws -> String {
            let folder = try TemporaryFolder()
            let path = try folder.write(bytes, "t.txt")
            let error = #expect(throws: DataError.self) { try TextDataset.open(path: path) }
            return (error?.description ?? "").split(separator: path).joined()
        }
        #expect(try message([]) == " is empty; give a file with text")
        #expect(try message(Array("short".utf8)) == " has 5 characters; a text needs at least 20")
        let start = Array(String(repeating: "é\n", count: 20).utf8)
        #expect(
            try message(start + [0xFF] + start)
                == " is not UTF-8 text: byte 60 (line 21), 0xFF, begins no character; convert the file to UTF-8")
        // Cut off inside a character; an overlong form; a surrogate.
        #expect(try message(start + [0xE2, 0x82]).contains("byte 60"))
        #expect(try message(start + [0xC0, 0x80]).contains("byte 60"))
        #expect(try message(start + [0xED, 0xA0, 0x80]).contains("byte 60"))
        let error = #expect(throws: DataError.self) { try TextDataset.open(path: "/nowhere.txt") }
        #expect(error?.description == "cannot read /nowhere.txt: No such file or directory")
    }

    @Test func sampleIsThere() throws {
        let (train, test) = try TextDataset.embeddedSample()
        #expect(train.count == 89_992 && test.count == 9_999)
        #expect(train.vocabulary.text(of: train.tokens.prefix(14)) == "First Citizen:")
    }
}
