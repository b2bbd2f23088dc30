/// The characters that a model reads, numbered from 0 in the order of their code points.
///
/// A character is a Unicode scalar. The vocabulary belongs to the model like its weights: a checkpoint keeps it.
public struct Vocabulary: Hashable, Sendable {
    /// Ascending.
    public let characters: [Unicode.Scalar]
    /// What happens to text before its characters are looked up.
    public let folding: TextFolding?
    private let numbers: [Unicode.Scalar: Int32]

    /// Those of `characters`, each once.
    public init(_ characters: some Sequence<Unicode.Scalar>, folding: TextFolding? = nil) {
        self.characters = Set(characters).sorted()
        self.folding = folding
        numbers = Dictionary(uniqueKeysWithValues: self.characters.enumerated().map { ($1, Int32($0)) })
    }

    public var count: Int { characters.count }

    /// The number of `character`; nil for one that the vocabulary does not have.
    public func number(of character: Unicode.Scalar) -> Int32? { numbers[character] }

    /// The characters of `tokens`, each of which is below `count`.
    public func text(of tokens: some Sequence<Int32>) -> String {
        var text = String.UnicodeScalarView()
        for token in tokens { text.append(characters[Int(token)]) }
        return String(text)
    }

    /// The numbers of the characters of `text`, folded first where the vocabulary folds; with `asName`, without the spaces
    /// around it, as a line of a file of names is read.
    ///
    /// Throws `DataUsageError.unknownCharacter` for a character that the vocabulary does not have, and `.emptyText` where
    /// there is none, or none is left.
    public func encode(_ text: String, asName: Bool = false) throws(DataUsageError) -> [Int32] {
        var characters: [(folded: Unicode.Scalar, original: Unicode.Scalar, position: Int)] = []
        for (position, original) in text.unicodeScalars.enumerated() {
            for folded in folding?.fold(original) ?? [original] { characters.append((folded, original, position + 1)) }
        }
        if asName {
            characters = Array(characters.drop { NameFiles.isSpace($0.folded) })
            while let last = characters.last, NameFiles.isSpace(last.folded) { characters.removeLast() }
        }
        guard !characters.isEmpty else { throw .emptyText(text: text) }
        var tokens: [Int32] = []
        for (folded, original, position) in characters {
            guard let number = numbers[folded] else {
                throw .unknownCharacter(original, position: position, text: text, vocabulary: self)
            }
            tokens.append(number)
        }
        return tokens
    }

    /// The characters as names of classes, for models that predict the next one.
    public var names: [String] { characters.map { String($0) } }

    /// 16 hexadecimal digits that differ where characters or folding differ.
    public var digest: String {
        ContentDigest.combining(["vocabulary", folding?.rawValue ?? "none", text(of: 0..<Int32(count))])
    }
}

extension Vocabulary: Codable {
    private enum CodingKeys: String, CodingKey { case characters, folding }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let characters = try values.decode(String.self, forKey: .characters).unicodeScalars
        guard zip(characters, characters.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw DecodingError.dataCorruptedError(
                forKey: .characters, in: values, debugDescription: "the characters are not ascending")
        }
        self.init(characters, folding: try values.decodeIfPresent(TextFolding.self, forKey: .folding))
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(text(of: 0..<Int32(count)), forKey: .characters)
        try values.encodeIfPresent(folding, forKey: .folding)
    }
}
