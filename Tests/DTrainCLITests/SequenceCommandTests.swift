import Foundation
import TestSupport
import Testing

/// Training on names and texts, prediction and generation, as a user runs them.
@Suite(.serialized) struct SequenceCommandTests {
    let command: Command

    init() throws { command = try Command() }

    private func run(_ words: String) throws -> ProcessOutcome {
        let outcome = try command.dtrain(words: words)
        try #require(outcome.status == 0, "\(words): \(outcome.stderr)")
        return outcome
    }

    private func evaluations(_ run: String) throws -> [[String: Any]] {
        try String(contentsOfFile: command.path("\(run)/metrics.jsonl"), encoding: .utf8).split(separator: "\n")
            .compactMap { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
            .filter { $0["event"] as? String == "eval" }
    }

    /// The lecture's three ways: cell by cell, as a whole sequence, with an embedding and a linear head.
    @Test(arguments: ["rnn-hello-cell", "rnn-hello", "rnn-hello-embedding"])
    func helloBecomesOhlol(_ model: String) throws {
        _ = try run("train --recipe hello --model \(model) --out run --quiet")
        let outcome = try run("predict --checkpoint run --text hello hell")
        #expect(outcome.stdout == "ohlol\nohlo\n")
    }

    @Test func namesAreClassified() throws {
        _ = try run(
            "train --model name-classifier --data names-sample --epochs 3 --batch-size 32 --optimizer adam --out run --quiet"
        )
        let accuracy = try #require(try evaluations("run").last?["top1"] as? Double)
        #expect(accuracy > 0.5)
        #expect(try evaluations("run").last?["perplexity"] == nil)
        let outcome = try run("predict --checkpoint run --text Takahashi Sokolov --top 2 --json")
        let lines = outcome.stdout.split(separator: "\n")
        try #require(lines.count == 2)
        for (line, language) in zip(lines, ["Japanese", "Russian"]) {
            let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            let top = try #require(object["top"] as? [[String: Any]])
            #expect(top.count == 2 && top[0]["label"] as? String == language)
        }
    }

    @Test func aTextIsWrittenOn() throws {
        _ = try run(
            "train --model char-gru --data text-sample --steps 30 --batch-size 16 --sequence-length 32 --optimizer adam "
                + "--lr 0.003 --eval-every 30 --out run --quiet")
        let evaluation = try #require(try evaluations("run").last)
        let (loss, perplexity) = (evaluation["loss"] as? Double ?? 0, evaluation["perplexity"] as? Double ?? 0)
        #expect(loss < 3.2 && abs(perplexity - exp(loss)) < 1e-9)
        #expect(abs((evaluation["bits_per_character"] as? Double ?? 0) - loss / log(2)) < 1e-9)
        let generate = "generate --checkpoint run --prompt ROMEO: --length 40"
        let first = try run(generate + " --temperature 0.8 --seed 1").stdout
        #expect(first.hasPrefix("ROMEO:") && first.unicodeScalars.count == 6 + 40 + 1)
        #expect(try run(generate + " --temperature 0.8 --seed 1").stdout == first)
        #expect(try run(generate + " --temperature 0.8 --seed 2").stdout != first)
        #expect(try run(generate + " --temperature 0").stdout == run(generate + " --temperature 0 --seed 5").stdout)
        let text = try run("evaluate run").stdout
        #expect(text.contains("nats a character") && text.contains("perplexity"))
        // The class "\n" has a line like any other.
        #expect(text.contains("\n\\n "), "\(text)")
    }

    @Test func withoutAPromptATextGoesOnFromSomethingThatItHas() throws {
        for (text, notice) in [
            ("ab\n", ""),
            (
                "ba",
                "dtrain: there is no new line in the vocabulary: the text goes on from 'a' (U+0061); --prompt gives it "
                    + "another beginning\n"
            ),
        ] {
            try command.write(String(repeating: text, count: 60), to: "t.txt")
            _ = try run(
                "train --model char-rnn --data text:t.txt --steps 1 --batch-size 2 --sequence-length 5 --out r\(text.count) --quiet"
            )
            let outcome = try run("generate --checkpoint r\(text.count) --length 3")
            #expect(outcome.stderr == notice && outcome.stdout.unicodeScalars.count == 4)
        }
    }

    /// Spaces around a name do not count, as in files of names; a model may have more outputs than there are classes.
    @Test func namesAreReadAsInTraining() throws {
        for (data, out) in [("names-sample", "sample"), ("names-ascii:n", "ascii")] {
            try command.write("Ana\nBo\nCy\nDee\nEva\nFay\nGus\nHal\nIda\nJo\nKai\nLou\nMo\n", to: "n/A.txt")
            _ = try run(
                "train --model name-classifier --data \(data) --classes 12 --steps 1 --batch-size 4 --out \(out) --quiet"
            )
            let plain = try run("predict --checkpoint \(out) --text Ana --top 12 --logits").stdout
            let spaced = try command.dtrain(
                "predict", "--checkpoint", out, "--text", " \tAna ", "--top", "12", "--logits")
            #expect(spaced.status == 0, "\(spaced.stderr)")
            #expect(spaced.stdout.split(separator: "\n").dropFirst() == plain.split(separator: "\n").dropFirst())
            #expect(plain.contains("  class 11\n"), "\(plain)")
        }
        // Of what folding leaves, too.
        let folded = try command.dtrain("predict", "--checkpoint", "ascii", "--text", "李 Ana")
        #expect(folded.status == 0, "\(folded.stderr)")
    }

    /// Weights mean nothing for other characters, not even for as many of them.
    @Test func weightsOfOtherCharactersAreRefused() throws {
        func write(_ text: String) throws { try command.write(String(repeating: text, count: 60), to: "t.txt") }
        let train = "train --model char-rnn --data text:t.txt --batch-size 2 --sequence-length 5 --quiet --out"
        try write("ab\n")
        _ = try run(train + " run --steps 2")
        let checkpoint = "run/checkpoints/step-00000002"
        let sameSize = "3 characters against 3, the first that differ 'b' (U+0062) and 'c' (U+0063); "
        let more = "3 characters against 4, the first that differ none and 'c' (U+0063); "
        let data = "give --data with the characters that the weights were trained on, or leave --init out\n"
        let resume = "continue it with the data it was started with, or start a new run with another --out\n"
        for (text, difference) in [("ac\n", sameSize), ("abc\n", more)] {
            try write(text)
            for weights in [checkpoint, checkpoint + "/model.safetensors"] {
                func begin(_ path: String) -> String { "dtrain: the vocabulary of \(path) is not that of text:t.txt: " }
                expect(
                    try command.dtrain(words: train + " other --steps 1 --init \(weights)"), status: 2,
                    stderr: begin(weights) + difference + data)
                expect(
                    try command.dtrain(words: "evaluate --model char-rnn --init \(weights) --data text:t.txt"),
                    status: 2,
                    stderr: begin(weights) + difference + "give other --data\n")
            }
            expect(
                try command.dtrain(words: "train --resume auto --out run --steps 3"), status: 2,
                stderr: "dtrain: the vocabulary of \(checkpoint) is not that of text:t.txt: " + difference + resume)
        }
        try write("ba\n")
        expectError(
            try command.dtrain(words: "train --resume auto --out run --steps 3"), status: 2,
            "\(checkpoint) was written with a text of digest '")
        // Another text of the same characters may begin with them, and be evaluated.
        _ = try run(train + " third --steps 1 --init \(checkpoint)")
        let own = try run("evaluate run --data text:t.txt").stdout
        let given = try run("evaluate --model char-rnn --init \(checkpoint) --data text:t.txt").stdout
        #expect(given.split(separator: "\n")[2...4] == own.split(separator: "\n")[2...4])
    }

    @Test func namesOfOtherClassesAreRefused() throws {
        let names = "Ana\nBo\nCy\nDee\nEva\nFay\nGus\nHal\nIda\nJo\nKai\nLou\nMo\n"
        for path in ["n/A.txt", "n/B.txt", "other/A.txt", "other/C.txt", "fewer/A.txt"] {
            try command.write(names, to: path)
        }
        _ = try run("train --model name-classifier --data names:n --steps 1 --batch-size 4 --out run --quiet")
        let checkpoint = "run/checkpoints/step-00000001"
        expect(
            try command.dtrain(words: "evaluate run --data names:other"), status: 2,
            stderr:
                "dtrain: the classes of \(checkpoint) (2) are not those of names:other (2); only the model knows B; "
                + "only the data have C; give --data with the classes that it was trained on.\n")
        expect(
            try command.dtrain(words: "evaluate run --data names:fewer"), status: 2,
            stderr:
                "dtrain: the classes of \(checkpoint) (2) are not those of names:fewer (1); only the model knows B; "
                + "give --data with the classes that it was trained on.\n")
        _ = try run("evaluate run --data names:n")
    }

    @Test func mistakesAreNamed() throws {
        _ = try run("train --recipe hello --out run --quiet --steps 2")
        try command.write("only a few words", to: "short.txt")
        try command.write("", to: "empty.txt")
        try command.write(command.data("run/checkpoints/step-00000002/model.safetensors"), to: "alone.safetensors")
        let cases: [(String, Int32, String)] = [
            ("predict --checkpoint run --text", 2, "Missing value"),
            ("predict --checkpoint run", 2, "give --images with files or folders, or --text"),
            ("predict --checkpoint run --images a.png", 2, "reads text, no images: give --text"),
            (
                "predict --model rnn-hello --init alone.safetensors --text hello", 2,
                "weights alone do not say which characters"
            ),
            ("predict --checkpoint run --text hexlo", 2, "'x' (U+0078) at position 3"),
            ("predict --checkpoint run --text hello --labels l.txt", 2, "--labels has no effect"),
            (
                "predict --checkpoint run --text hello --top 3", 2,
                "--top has no effect: rnn-hello answers each character"
            ),
            ("predict --checkpoint run --text hello --logits", 2, "--logits has no effect: rnn-hello answers each"),
            ("predict --checkpoint run --text=-hello", 2, "'-' (U+002D) at position 1"),
            ("generate --checkpoint run --prompt -h", 2, "does not go on from character to character"),
            ("generate --checkpoint run --prompt h", 2, "does not go on from character to character"),
            ("generate --checkpoint run --length 0", 2, "--length '0' is not valid"),
            ("generate --checkpoint run --temperature -1", 2, "--temperature '-1.0' is not valid"),
            ("train --model char-lstm --data text:short.txt", 3, "short.txt"),
            ("train --model char-lstm --data text:empty.txt", 3, "empty.txt"),
            ("train --model char-lstm --data names-sample", 2, "char-lstm says something at each step of a sequence"),
            ("train --model name-classifier --data text-sample", 2, "name-classifier says one thing of a sequence"),
            ("train --model cnn-mnist --data text-sample", 2, "cnn-mnist"),
            ("train --model char-lstm", 2, "char-lstm"),
            ("train --recipe surnames", 3, "give --data names-sample"),
            ("train --recipe shakespeare", 3, "give --data text-sample"),
            ("train --sequence-length 3", 2, "--sequence-length has no effect"),
            ("evaluate run --data text-sample", 2, "is not that of text-sample: 4 characters against 61"),
        ]
        for (words, status, message) in cases {
            let outcome = try command.dtrain(words: words)
            #expect(outcome.status == status, "\(words): \(outcome.stderr)")
            #expect(outcome.stderr.contains(message), "\(words): \(outcome.stderr)")
        }
    }

    private func steps(_ run: String) throws -> [Double] {
        try String(contentsOfFile: command.path("\(run)/metrics.jsonl"), encoding: .utf8).split(separator: "\n")
            .compactMap { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
            .filter { $0["event"] as? String == "step" }.map { try #require($0["loss"] as? Double) }
    }

    /// An epoch of these streams has 13 batches: a run of 18 steps goes over its end.
    private static let text =
        "train --model char-lstm --dropout 0.2 --data text-sample --sequence-length 400 --batch-size 16 --optimizer adam "
        + "--lr 0.01 --threads 1 --eval-every 9 --quiet"

    /// Streams, their states and their dropout belong to positions of the global batch.
    @Test(.timeLimit(.minutes(6))) func theNumberOfRanksChangesNothing() throws {
        var losses: [[Double]] = []
        var accuracies: [[Double]] = []
        for ranks in [1, 2, 4] {
            _ = try run(Self.text + " --steps 18 --workers \(ranks) --out ranks\(ranks)")
            losses.append(try steps("ranks\(ranks)"))
            accuracies.append(try evaluations("ranks\(ranks)").map { $0["loss"] as? Double ?? 0 })
        }
        #expect(losses[0].count == 18 && losses[0].last! < losses[0][0])
        for other in losses[1...] { #expect(zip(losses[0], other).allSatisfy { abs($0 - $1) < 2e-4 }) }
        for other in accuracies[1...] { #expect(zip(accuracies[0], other).allSatisfy { abs($0 - $1) < 2e-4 }) }
    }

    /// In the middle of a stream, by the same number of ranks: with what the streams carry, inline and dedicated.
    @Test(.timeLimit(.minutes(6)), arguments: ["inline", "dedicated"])
    func aResumedTextGoesOnBitForBit(_ coordinator: String) throws {
        let words = Self.text + " --workers 2 --coordinator \(coordinator)"
        _ = try run(words + " --steps 18 --out whole")
        _ = try run(words + " --steps 7 --out parts")
        _ = try run("train --resume auto --out parts --steps 18 --quiet")
        #expect(try steps("parts") == steps("whole"))
        for file in ["model.safetensors", "optimizer.safetensors"] {
            let path = "checkpoints/step-00000018/\(file)"
            #expect(
                FileManager.default.contentsEqual(
                    atPath: command.path("parts/\(path)"), andPath: command.path("whole/\(path)")), "\(file)")
        }
        // Another number of ranks takes the same states over.
        _ = try run(
            "train --resume \(command.path("parts/checkpoints/step-00000007")) --out other --workers 1 --steps 18 --quiet"
        )
        #expect(try zip(steps("other"), steps("whole").suffix(11)).allSatisfy { abs($0 - $1) < 2e-4 })
    }
}
