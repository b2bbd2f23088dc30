import DTrainData
import DTrainTensor
import Testing

/// The names of a split with their classes.
func names(_ dataset: NameDataset) -> [String] {
    (0..<dataset.count).map { "\(dataset.classNames[dataset.label(of: $0)]): \(dataset.text(of: $0))" }
}

@Suite struct NameDatasetTests {
    /// `count` different names of two letters or more.
    private func manyNames(_ count: Int, prefix: String = "") -> [String] {
        let letters = (97...122).map { (code: UInt8) in String(Unicode.Scalar(code)) }
        return (0..<count).map { prefix + letters[$0 / 26] + letters[$0 % 26] }
    }

    @Test("Every line is a name of its file's class; the splits have all of them, and a name is always on one side")
    func reads() throws {
        let folder = try TemporaryFolder()
        let (first, second) = (manyNames(100), manyNames(80, prefix: "É"))
        // Spaces, empty lines, Windows' line ends, a byte-order mark and a missing last line end are no part of names.
        try folder.write(Array(("\u{FEFF}" + first.joined(separator: " \r\n\r\n  ")).utf8), "Zulu.txt")
        try folder.write(Array(((second + second).joined(separator: "\n") + "\n").utf8), "Akan.txt")
        try folder.write([1, 2, 3], "notes.md")
        let (train, test) = try NameDataset.open(directory: folder.path)
        #expect(train.classNames == ["Akan", "Zulu"] && test.classNames == train.classNames)
        let all = second.flatMap { ["Akan: \($0)", "Akan: \($0)"] } + first.map { "Zulu: \($0)" }
        #expect((names(train) + names(test)).sorted() == all.sorted())
        #expect(Set(names(train)).isDisjoint(with: names(test)))
        #expect(train.longest == 3 && test.longest == 3)
        #expect(train.vocabulary == test.vocabulary && train.vocabulary.names.last == "É")
        for index in 0..<train.count {
            #expect(
                NameDataset.splitOf(train.text(of: index), className: train.classNames[train.label(of: index)])
                    == .train)
        }
        #expect(train.countPerClass.reduce(0, +) == train.count)
    }

    @Test("A line ends with a line feed, a carriage return, or both")
    func lineEnds() throws {
        let all = manyNames(60)
        for (end, last) in [("\n", ""), ("\r\n", ""), ("\r", ""), ("\r", "\r"), ("\r\n", "\r\n")] {
            let folder = try TemporaryFolder()
            try folder.write(Array((all.joined(separator: end) + last).utf8), "A.txt")
            let (train, test) = try NameDataset.open(directory: folder.path)
            #expect((names(train) + names(test)).sorted() == all.map { "A: \($0)" }, "\(end.debugDescription)")
            // Errors count lines alike.
            try folder.write(Array(("Li\(end)李\(end)Os").utf8), "A.txt")
            let error = #expect(throws: DataError.self) {
                try NameDataset.open(directory: folder.path, folding: .ascii)
            }
            #expect(error?.description.contains("/A.txt, line 2: nothing is left of '李'") == true, "\(error as Any)")
            try folder.write(Array("Li\(end)Os\(end)Mo".utf8) + [0xFF], "A.txt")
            let invalid = #expect(throws: DataError.self) { try NameDataset.open(directory: folder.path) }
            #expect(invalid?.description.contains("(line 3)") == true, "\(invalid as Any)")
        }
    }

    @Test("About one name in five is for testing")
    func fraction() {
        let count = (0..<20_000).count { NameDataset.splitOf("name \($0)", className: "A") == .test }
        // Four standard deviations of a fair draw.
        #expect(abs(count - 4000) < 4 * 57)
        let other = (0..<20_000).count {
            NameDataset.splitOf("name \($0)", className: "A") == NameDataset.splitOf("name \($0)", className: "B")
        }
        #expect(other < 14_500, "each class has a draw of its own")
    }

    @Test("Folded names that become equal stay on one side")
    func folds() throws {
        let folder = try TemporaryFolder()
        let names = manyNames(60)
        try folder.write(Array((names + names.map { $0 + "\u{301}" }).joined(separator: "\n").utf8), "A.txt")
        let (train, test) = try NameDataset.open(directory: folder.path, folding: .ascii)
        #expect(train.name == "names-ascii" && train.vocabulary.folding == .ascii)
        let sides = (Set((0..<train.count).map(train.text)), Set((0..<test.count).map(test.text)))
        #expect(sides.0.isDisjoint(with: sides.1) && sides.0.union(sides.1) == Set(names))
        #expect(train.count + test.count == 120)
    }

    @Test("The digest follows classes, names and folding")
    func digests() throws {
        func digest(_ file: String, _ names: [String], _ folding: TextFolding? = nil) throws -> String {
            let folder = try TemporaryFolder()
            try folder.write(Array(names.joined(separator: "\n").utf8), file)
            let pair = try DataSpecification.names(directory: folder.path, folding: folding).open()
            return pair.digest
        }
        var other = manyNames(60)
        other[59] = "zz"
        #expect(try digest("A.txt", manyNames(60)) == digest("A.txt", manyNames(60)))
        let digests = try [
            digest("A.txt", manyNames(60)), digest("B.txt", manyNames(60)), digest("A.txt", other),
            digest("A.txt", manyNames(60), .ascii),
        ]
        #expect(Set(digests).count == 4)
    }

    @Test("Mistakes are named with file, line and byte")
    func mistakes() throws {
        func message(_ files: [(String, [UInt8])], _ folding: TextFolding? = nil) throws -> String {
            let folder = try TemporaryFolder()
            for (name, bytes) in files { try folder.write(bytes, name) }
            let error = #expect(throws: DataError.self) {
                try NameDataset.open(directory: folder.path, folding: folding)
            }
            return (error?.description ?? "").split(separator: folder.path).joined()
        }
        #expect(try message([]) == " holds no files of names; give one file CLASS.txt a class, with one name a line")
        #expect(
            try message([("A.txt", Array("\n \n".utf8))])
                == "/A.txt holds no names; write one a line, or remove the file")
        #expect(try message([("A.txt", [])]).contains("/A.txt holds no names"))
        #expect(
            try message([("A.txt", Array("Li\n李\n".utf8))], .ascii)
                == "/A.txt, line 2: nothing is left of '李' in ASCII; remove the line, or give names:DIR, which keeps all "
                + "characters")
        #expect(
            try message([("A.txt", Array("Li\nOs".utf8) + [0xC3, 0x0A])])
                == "/A.txt is not UTF-8 text: byte 5 (line 2), 0xC3, begins no character; convert the file to UTF-8")
        #expect(
            try message([("A.txt", Array(repeating: 0x61, count: 2000))])
                == "/A.txt, line 1: the name has more than 1000 characters; write one name a line")
        let side = NameDataset.splitOf("Li", className: "A")
        #expect(
            try message([("A.txt", Array("Li\n".utf8))]).contains(
                "every name of the class 'A' falls into the \(side.rawValue == "test" ? "test" : "training") split"))
        let error = #expect(throws: DataError.self) { try NameDataset.open(directory: "/nowhere") }
        #expect(error?.description == "cannot read /nowhere: No such file or directory")
    }

    @Test("The embedded surnames: ten languages, some thousand names, both splits of each")
    func sample() throws {
        let (train, test) = try NameDataset.embeddedSample()
        #expect(train.classNames.count == 10 && train.classNames[3] == "French" && train.classNames[9] == "Spanish")
        #expect(train.count + test.count == 3408)
        #expect(names(train).first == "Chinese: Ang")
        #expect(train.countPerClass.allSatisfy { $0 > 100 } && test.countPerClass.allSatisfy { $0 > 20 })
        #expect(Set(names(train)).isDisjoint(with: names(test)))
    }
}
