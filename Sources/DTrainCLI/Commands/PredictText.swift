import DTrainData
import DTrainReport

/// `predict --text`: what a model of characters says of texts.
extension PredictCommand {
    func predictTexts(_ source: ModelSource) throws {
        let given = [("--labels", labels != nil), ("--output", output != nil), ("--skip-broken", skipBroken)]
        if let (option, _) = given.first(where: \.1) {
            throw UsageError("\(option) has no effect: it belongs to images; leave it out.")
        }
        let trained = try source.requiredSequences()
        let sequences: [[Int32]]
        do {
            sequences = try text.map { try trained.vocabulary.encode($0, asName: trained.kind == .names) }
        } catch { throw UsageError("--text: \(error)") }
        let predictor = try TextPredictor(
            source, longest: sequences.map(\.count).max()!,
            threads: threads ?? MachineFacts.gather().threads(localRanks: 1))
        if predictor.answersEachCharacter, !json, let option = top != nil ? "--top" : logits ? "--logits" : nil {
            throw UsageError(
                "\(option) has no effect: \(source.choice.entry.name) answers each character with the likeliest one; leave it "
                    + "out, or give --json.")
        }
        for (text, tokens) in zip(text, sequences) {
            predictor.begin()
            let rows = try predictor.read(tokens)
            // Of a text's characters the last one's answer, which says what comes next.
            let prediction = Prediction(path: text, logits: rows.last!)
            let line =
                predictor.answersEachCharacter ? rows.map { predictor.name(of: likeliest(of: $0)) }.joined() : nil
            if json {
                var object = JSONObject()
                object.add("text", text)
                if let line { object.add("output", line) }
                prediction.add(to: &object, top: namedCount, names: predictor.name, logits: logits)
                Console.result(object.text + "\n")
            } else {
                Console.result(
                    line.map { $0 + "\n" }
                        ?? prediction.lines(top: namedCount, names: predictor.name, logits: logits))
            }
        }
    }

    private func likeliest(of logits: [Float]) -> Int { logits.firstIndex(of: logits.max()!)! }
}
