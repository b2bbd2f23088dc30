import DTrainData
import DTrainReport

/// `predict --text`: what a model of characters says of texts.
extension PredictCommand {
    func predictTexts(_ source: ModelSource) throws {
        let given = [("--labels", labels != nil), ("--output", output != nil), ("--skip-broken", skipBroken)]
        if let (option, _) = given.first(where: \.1) {
            throw UsageError("\(option) has no effect: it belongs to images; leave it out.")
        }
        let longest = text.map(\.unicodeScalars.count).max() ?? 1
        // Folding may make two characters of one.
        let predictor = try TextPredictor(
            source, longest: max(1, 2 * longest), threads: threads ?? MachineFacts.gather().threads(localRanks: 1))
        for text in text {
            let tokens: [Int32]
            do { tokens = try predictor.vocabulary.encode(text) } catch { throw UsageError("--text: \(error)") }
            predictor.begin()
            let rows = try predictor.read(tokens)
            let answer = TextAnswer(text: text, rows: rows, eachCharacter: predictor.answersEachCharacter)
            Console.result(
                json
                    ? answer.json(predictor.classNames, top: top, logits: logits).text + "\n"
                    : answer.text(predictor.classNames, top: top, logits: logits))
        }
    }
}

/// What a model says of one text: of each character something, or one thing of all.
private struct TextAnswer {
    let text: String
    let rows: [[Float]]
    let eachCharacter: Bool

    /// The likeliest answer at each character, in one line.
    private func line(_ names: [String]) -> String {
        rows.map { names[Prediction(path: "", logits: $0).top(1)[0].index] }.joined()
    }
    /// Of the last character, or of the whole text.
    private var last: Prediction { Prediction(path: text, logits: rows.last!) }

    func json(_ names: [String], top: Int, logits: Bool) -> JSONObject {
        var object = JSONObject()
        object.add("text", text)
        if eachCharacter { object.add("output", line(names)) }
        object.add(
            "top",
            last.top(top).map { entry in
                var row = JSONObject()
                row.add("index", entry.index)
                row.add("label", names[entry.index])
                row.add("probability", entry.probability)
                return row
            })
        if logits { object.add("logits", last.logits) }
        return object
    }

    func text(_ names: [String], top: Int, logits: Bool) -> String {
        if eachCharacter { return line(names) + "\n" }
        var lines = [text]
        for entry in last.top(top) {
            lines.append("  \(Formatting.percent(entry.probability).padding(toLeft: 8))  \(names[entry.index])")
        }
        if logits { lines.append("  logits " + last.logits.map { "\($0)" }.joined(separator: " ")) }
        return lines.map { $0 + "\n" }.joined()
    }
}
