import DTrainTensor

extension SequenceDescription {
    /// How the characters that `other` reads differ from these, as a phrase: both numbers of characters and the first ones
    /// that differ. Nil where each number means the same character, folded alike: only then do weights for one vocabulary
    /// mean anything for the other.
    public func vocabularyDifference(from other: SequenceDescription) -> String? {
        let (own, others) = (Array(characters.unicodeScalars), Array(other.characters.unicodeScalars))
        guard own != others || folding != other.folding else { return nil }
        var phrase = "\(own.count) characters\(foldingPhrase) against \(others.count)\(other.foldingPhrase)"
        if own != others {
            let index = zip(own, others).prefix { $0 == $1 }.count
            func shown(_ characters: [Unicode.Scalar]) -> String {
                index < characters.count ? characters[index].shown : "none"
            }
            phrase += ", the first that differ \(shown(own)) and \(shown(others))"
        }
        return phrase
    }

    private var foldingPhrase: String { folding.map { " (folded to \($0.uppercased()))" } ?? "" }
}

extension TrainingState {
    /// The state of the checkpoint whose weights `path` names, by its directory or its file; nil for a file without a run.
    public init?(besideWeights path: String) {
        let directory = FileSystem.isDirectory(path) ? path : FilePath.parent(of: path)
        guard let content = try? StateFile.read(directory + "/" + StateFile.name) else { return nil }
        self = content.state
    }
}
