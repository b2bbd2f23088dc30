import DTrainModels
import DTrainTensor

extension ModelOptions {
    /// What a command was told about a model, as text by flag name: what `state.json` keeps.
    var saved: [String: String] {
        var saved = ["classes": "\(classes)"]
        saved["dropout"] = dropout.map { "\($0)" }
        if !top { saved["no-top"] = "true" }
        if !auxiliary { saved["no-aux"] = "true" }
        if let block { saved["block"] = block.rawValue }
        if transformsInput { saved["transforms-input"] = "true" }
        return saved
    }

    /// The options that `saved` was made of; `classes` where it names none.
    init(saved: [String: String], classes: Int) {
        self.init(
            classes: saved["classes"].flatMap(Int.init) ?? classes, dropout: saved["dropout"].flatMap(Float.init))
        top = saved["no-top"] == nil
        auxiliary = saved["no-aux"] == nil
        block = saved["block"].flatMap(ResidualUnit.init(rawValue:))
        transformsInput = saved["transforms-input"] != nil
    }

    /// Takes over `--block`; throws with the valid names.
    mutating func setBlock(_ name: String?) throws {
        guard let name else { return }
        block = try namedChoice("block", name, of: ResidualUnit.self)
    }
}
