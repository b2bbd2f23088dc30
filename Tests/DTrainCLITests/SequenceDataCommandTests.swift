import Foundation
import TestSupport
import Testing

/// Names and texts, as a user looks at them and trains on them.
@Suite(.serialized) struct SequenceDataCommandTests {
    let command: Command

    init() throws { command = try Command() }

    @Test("data show counts names and characters and shows some")
    func shows() throws {
        try command.write("Ana\nBo\nCy\nDee\nEva\nFay\nGus\nHal\nIda\nJo\nKai\nLou\nMo\n", to: "n/A.txt")
        try command.write("Ünal\nÜ\nMax\nTim\nTom\nUwe\nUdo\nIan\nKim\nLea\nMia\nNoa\nPia\n", to: "n/B.txt")
        let names = try command.dtrain("data", "show", "names-ascii:n", "--split", "test")
        #expect(names.status == 0, "\(names.stderr)")
        let lines = names.stdout.split(separator: "\n")
        #expect(lines[0] == "names-ascii:n: names-ascii, names of 2 classes")
        #expect(
            lines[1].hasSuffix("in the vocabulary, folded to ASCII: ABCDEFGHIJKLMNPTUadeilmnosuvwxy"), "\(lines[1])")
        let counts = try lines[2...3].map {
            try #require($0.split(separator: " ").dropFirst().first.flatMap { Int($0) })
        }
        #expect(lines[2].hasPrefix("train: ") && lines[3].hasPrefix("test: ") && counts[0] + counts[1] == 26)
        #expect(lines[4] == "some of test:" && lines.count == 5 + min(10, counts[1]))

        try command.write("tab\there, line\nthere\u{2028}\u{200D}.", to: "t.txt")
        let text = try command.dtrain("data", "show", "text:t.txt")
        #expect(
            text.stdout == """
                text:t.txt: text, a text of 23 characters
                16 characters in the vocabulary: \\t\\n ,.abehilnrt\\u{200D}\\u{2028}
                train: the first 21 characters
                test: the last 2 characters
                the beginning of train:
                  tab\\there, line\\nthere\\u{2028}

                """)
    }

    @Test("A text trains, goes on and is evaluated by characters; what must not change is refused")
    func trains() throws {
        let words =
            "train --model char-rnn --data text-sample --batch-size 8 --steps 3 --sequence-length 10 --out r --progress none"
        let first = try command.dtrain(words: words)
        #expect(first.status == 0 && first.stdout.contains("of 9,998)"), "\(first.stderr)")
        #expect(try command.text("r/config.yaml").contains("sequence-length: 10\n"))
        var outcome = try command.dtrain(words: "train --resume auto --out r --steps 4 --progress none")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        outcome = try command.dtrain(words: "train --resume auto --out r --steps 5 --sequence-length 11")
        #expect(
            outcome.status == 2 && outcome.stderr.contains("--sequence-length is '11' on the command line but '10'"))
        outcome = try command.dtrain(words: "evaluate r")
        #expect(outcome.stdout.contains("text-sample, test split, 9,998 characters\n"), "\(outcome.stderr)")

        try command.write(String(repeating: "Other characters: äöü. ", count: 60), to: "t.txt")
        outcome = try command.dtrain(words: "evaluate r --data text:t.txt")
        #expect(
            outcome.status == 2
                && outcome.stderr.hasPrefix("dtrain: the vocabulary of r/checkpoints/step-0000000")
                && outcome.stderr.hasSuffix(
                    " is not that of text:t.txt: 61 characters against 14, the first that differ U+000A and ' ' (U+0020); "
                        + "give other --data\n"),
            "\(outcome.stderr)")
        outcome = try command.dtrain(words: "evaluate r --data mnist-sample")
        #expect(
            outcome.status == 2 && outcome.stderr.hasPrefix("dtrain: char-rnn reads sequences and mnist-sample holds"))
        outcome = try command.dtrain(words: "predict --checkpoint r --images .")
        #expect(outcome.status != 0 && !outcome.stderr.isEmpty)
    }
}
