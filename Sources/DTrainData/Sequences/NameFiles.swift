/// Names by class as they are written in files: one file a class, one name a line.
struct NameFiles {
    /// One file.
    struct Source {
        /// The file's path, or what errors call it.
        let path: String
        let className: String
        let bytes: UnsafeRawBufferPointer
    }

    private(set) var classNames: [String] = []
    /// Names in the order of classes and lines: where each ends in `characters`, and its class.
    private(set) var ends: [Int] = []
    private(set) var labels: [Int32] = []
    private(set) var characters: [Unicode.Scalar] = []

    /// A line that is longer is taken for a mistake: each batch has room for the longest name.
    static let longestName = 1000

    /// Lists the files `CLASS.txt` of `directory`, sorted by the bytes of their names, and reads them.
    ///
    /// Throws `DataError` if there is none, or one cannot be read, is no UTF-8 text, or holds no name.
    init(directory: String, folding: TextFolding?) throws(DataError) {
        let ending = Array(".txt".utf8)
        var files = try directoryEntries(Array(directory.utf8)).filter {
            $0.count > ending.count && $0.suffix(4) == ending
        }
        guard !files.isEmpty else { throw .noNameFiles(path: directory) }
        files.sort { $0.lexicographicallyPrecedes($1) }
        for file in files {
            let name = String(decoding: file, as: UTF8.self)
            let mapped = try MappedFile(path: directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)")
            try withExtendedLifetimeOf(mapped) { () throws(DataError) in
                try add(
                    Source(path: mapped.path, className: String(name.dropLast(4)), bytes: mapped.bytes),
                    folding: folding)
            }
        }
    }

    /// Reads `sources` in their order.
    init(_ sources: [Source], folding: TextFolding?) throws(DataError) {
        for source in sources { try add(source, folding: folding) }
    }

    var count: Int { labels.count }
    func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    private mutating func add(_ source: Source, folding: TextFolding?) throws(DataError) {
        let first = count
        var line = 1
        // Of the line so far: its characters, where they begin, and what stood in the file.
        var start = characters.count
        var original = String.UnicodeScalarView()
        var problem: DataError?
        var previous: Unicode.Scalar = " "
        func endLine(_ names: inout NameFiles) {
            while let last = names.characters.last, names.characters.count > start, Self.isSpace(last) {
                names.characters.removeLast()
            }
            let isBlank = original.allSatisfy(Self.isSpace)
            if names.characters.count > start {
                names.ends.append(names.characters.count)
                names.labels.append(Int32(names.classNames.count))
            } else if !isBlank {
                problem = problem ?? .emptyName(path: source.path, line: line, text: String(original))
            }
            start = names.characters.count
            original = String.UnicodeScalarView()
            line += 1
        }
        var names = self
        self = NameFiles()
        try UTF8Text.forEach(source.bytes, path: source.path) { character in
            defer { previous = character }
            if character == "\n", previous == "\r" { return }
            if character == "\n" || character == "\r" { return endLine(&names) }
            guard problem == nil else { return }
            original.append(character)
            for folded in folding?.fold(character) ?? [character]
            where !(Self.isSpace(folded) && names.characters.count == start) { names.characters.append(folded) }
            if names.characters.count - start > Self.longestName {
                problem = .nameTooLong(path: source.path, line: line, limit: Self.longestName)
            }
        }
        if !original.isEmpty { endLine(&names) }
        if let problem { throw problem }
        self = names
        classNames.append(source.className)
        guard count > first else { throw .emptyNameFile(path: source.path) }
    }

    /// What does not count around a name.
    static func isSpace(_ character: Unicode.Scalar) -> Bool {
        character == " " || character == "\t" || character == "\r"
    }

    private init() {}
}

/// Runs `body` while `owner` lives.
func withExtendedLifetimeOf<Owner: AnyObject>(_ owner: Owner, _ body: () throws(DataError) -> Void) throws(DataError) {
    defer { withExtendedLifetime(owner) {} }
    try body()
}
