import DTrainData
import DTrainReport

/// `predict --text`: what a model of characters says of texts.
extension PredictCommand {
    func predictTexts(_ source: ModelSource) throws {
        let given = [("--labels", labels != nil), ("--output", output != nil), ("--skip-broken", skipBroken)]
        if let (option, _) = given.first(where: \.1) {
            throw UsageError("\(option) has no effect: it belongs to images; leave it out.")
        }
        let vocabulary = try source.requiredSequences().vocabulary
        let sequences: [[Int32]]
        do { sequences = try text.map { try vocabulary.encode($0) } } catch { throw UsageError("--text: \(error)") }
        let predictor = try TextPredictor(
            source, longest: sequences.map(\.count).max()!,
            threads: threads ?? MachineFacts.gather().threads(localRanks: 1))
        let classNames = predictor.classNames
        func names(_ index: Int) -> String { classNames[index] }
        for (text, tokens) in zip(text, sequences) {
            predictor.begin()
            let rows = try predictor.read(tokens)
            // Of a text's characters the last one's answer, which says what comes next.
            let prediction = Prediction(path: text, logits: rows.last!)
            let line = predictor.answersEachCharacter ? rows.map { names(likeliest(of: $0)) }.joined() : nil
            if json {
                var object = JSONObject()
                object.add("text", text)
                if let line { object.add("output", line) }
                prediction.add(to: &object, top: top, names: names, logits: logits)
                Console.result(object.text + "\n")
            } else {
                Console.result(line.map { $0 + "\n" } ?? prediction.lines(top: top, names: names, logits: logits))
            }
        }
    }

    private func likeliest(of logits: [Float]) -> Int { logits.firstIndex(of: logits.max()!)! }
}
