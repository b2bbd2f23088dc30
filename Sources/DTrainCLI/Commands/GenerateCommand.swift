import ArgumentParser
import DTrainData
import DTrainEngine
import DTrainTensor
import Foundation

struct GenerateCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "generate",
            abstract: "Let a model of text write on, character by character.",
            discussion: """
                  \(Program.name) generate --checkpoint runs/RUN --prompt "ROMEO:" --length 500 --temperature 0.8
                """)
    }

    @Option(
        help: ArgumentHelp("A run directory (its best checkpoint, or the newest) or a checkpoint.", valueName: "dir"))
    var checkpoint: String
    @OptionGroup var weights: WeightsOption
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "What the text begins with. Default a new line, or where the vocabulary has none, its first character.",
            valueName: "text"))
    var prompt = ""
    @Option(parsing: .unconditional, help: ArgumentHelp("Characters to write.", valueName: "n"))
    var length = 500
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Divides the logits: below 1 the likely becomes likelier, 0 takes the likeliest.", valueName: "t"))
    var temperature = 1.0
    @Option(parsing: .unconditional, help: ArgumentHelp("Seed of the draws.", valueName: "n"))
    var seed = 0
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Compute threads. Default: the cores granted.", valueName: "n"))
    var threads: Int?

    /// Characters of the prompt that are read at once.
    private static var window: Int { 64 }

    func run() throws {
        guard length >= 1 else { throw UsageError("--length '\(length)' is not valid: give at least 1.") }
        guard temperature >= 0, temperature.isFinite else {
            throw UsageError("--temperature '\(temperature)' is not valid: give 0 or more.")
        }
        try checkSeed(seed)
        try checkThreads(threads)
        guard LaunchEnvironment().speaks else { return }
        let source = try ModelSource(checkpoint: checkpoint, weights.choice(), Program.self)
        let predictor = try TextPredictor(
            source, longest: Self.window, threads: threads ?? MachineFacts.gather().threads(localRanks: 1))
        guard predictor.answersEachCharacter, predictor.carriesState else {
            throw UsageError(
                "\(source.choice.entry.name) does not go on from character to character: give a run of char-rnn, char-lstm "
                    + "or char-gru.")
        }
        var tokens = prompt.isEmpty ? [start(predictor.vocabulary)] : try encode(predictor.vocabulary)
        Console.result(prompt)
        predictor.begin()
        var logits: [Float] = []
        while !tokens.isEmpty {
            logits = try predictor.read(Array(tokens.prefix(Self.window))).last!
            tokens.removeFirst(min(Self.window, tokens.count))
        }
        let random = CounterRandom(seed: UInt64(seed), purpose: .generation)
        for index in 0..<length {
            // The model may have outputs that are no characters.
            let token = draw(from: logits.prefix(predictor.vocabulary.count), random.uniform(UInt64(index)))
            Console.result(predictor.vocabulary.text(of: [token]))
            if index + 1 < length { logits = try predictor.read([token])[0] }
        }
        Console.result("\n")
    }

    /// What the text goes on from where there is no prompt.
    private func start(_ vocabulary: Vocabulary) -> Int32 {
        if let newLine = vocabulary.number(of: "\n") { return newLine }
        Console.diagnostic(
            "\(Program.name): there is no new line in the vocabulary: the text goes on from "
                + "\(vocabulary.characters[0].shown); --prompt gives it another beginning\n")
        return 0
    }

    private func encode(_ vocabulary: Vocabulary) throws -> [Int32] {
        do { return try vocabulary.encode(prompt) } catch { throw UsageError("--prompt: \(error)") }
    }

    /// The token whose part of the softmax at this temperature holds `position`, which is uniform in 0 ..< 1.
    private func draw(from logits: ArraySlice<Float>, _ position: Float) -> Int32 {
        let largest = logits.max()!
        guard temperature > 0 else { return Int32(logits.firstIndex(of: largest)!) }
        let powers = logits.map { exp(Double($0 - largest) / temperature) }
        var rest = Double(position) * powers.reduce(0, +)
        for (token, power) in powers.enumerated() {
            rest -= power
            if rest < 0 { return Int32(token) }
        }
        return Int32(powers.lastIndex { $0 > 0 }!)
    }
}
