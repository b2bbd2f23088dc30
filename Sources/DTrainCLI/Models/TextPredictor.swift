import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainTensor

/// Runs a model on text, one sequence after the other.
struct TextPredictor {
    let vocabulary: Vocabulary
    private let classNames: [String]
    private let replica: Replica
    private let longest: Int
    private let memory = AlignedMemory(byteCount: 2 * MemoryLayout<Int32>.stride)

    /// - Parameter longest: the most characters of one run.
    /// - Throws: what building the model and loading its weights throw, and `UsageError` for a model that reads no text.
    init(_ source: ModelSource, longest: Int, threads: Int) throws {
        let sequences = try source.requiredSequences()
        vocabulary = sequences.vocabulary
        classNames = sequences.classNames
        self.longest = longest
        replica = try source.replica(
            input: .tokens(vocabulary: vocabulary.count, longest: longest), capacity: 1,
            pool: ThreadPool(threadCount: threads))
    }

    /// What an output means; a model may have more of them than there are classes.
    func name(of output: Int) -> String { output < classNames.count ? classNames[output] : "class \(output)" }

    /// Whether there are outputs for each character; otherwise there are some for the whole text.
    var answersEachCharacter: Bool { replica.returnsSequences }
    /// Whether a text may be given in pieces: the model carries its state on.
    var carriesState: Bool { replica.carriedStateCount > 0 }

    /// Forgets what was read.
    func begin() { replica.resetEvaluationState() }

    /// The outputs, before the softmax: for each character, or one row for all of them. At most `longest` tokens.
    func read(_ tokens: [Int32]) throws -> [[Float]] {
        precondition((1...longest).contains(tokens.count))
        let words = memory.slice(of: Int32.self)
        (words[0], words[1]) = (Int32(tokens.count), 0)
        let text = AlignedMemory(byteCount: 2 * tokens.count * MemoryLayout<Int32>.stride)
        let slice = text.slice(of: Int32.self)
        for (index, token) in tokens.enumerated() { slice[index] = token }
        let labels = slice[tokens.count..<tokens.count + (answersEachCharacter ? tokens.count : 1)]
        _ = replica.evaluate(
            Replica.Samples(
                inputs: .tokens(
                    slice[0..<tokens.count], PackedSequences(lengths: words[0..<1], positions: words[1..<2])),
                labels: labels))
        let outputs = replica.outputs
        let count = replica.outputCount
        let rows = (0..<outputs.count / count).map { outputs[$0 * count..<($0 + 1) * count].array() }
        for row in rows { try Prediction.check(row) }
        return withExtendedLifetime(text) { rows }
    }
}
