import ArgumentParser
import DTrainEngine
import DTrainModels
import DTrainReport
import DTrainTensor
import DTrainTrainer

struct ModelsCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "models",
            abstract: "List the models; with a name, its layers with output shapes, parameters and multiply-adds.")
    }

    @Argument(help: "The model to describe.")
    var name: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Classes; default the model's own.", valueName: "n"))
    var classes: Int?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Height and width of the images; default the model's own.", valueName: "n"))
    var imageSize: Int?
    @Flag(help: "Leave the model's head out.")
    var noTop = false
    @Option(help: ArgumentHelp("The residual block of resnet-mnist.", valueName: "name"))
    var block: String?
    @Flag(help: "JSON instead of a table.")
    var json = false

    func run() throws {
        try checkClasses(classes)
        try checkImageSize(imageSize)
        guard LaunchEnvironment().speaks else { return }
        if let name {
            let entry = try Program.model(named: name)
            var options = ModelOptions(classes: classes ?? entry.classes)
            options.top = !noTop
            try options.setBlock(block)
            let input = try entry.input(imageSize: imageSize)
            let choice = ModelChoice(entry: entry, options: options)
            try choice.checkEffects(of: (noTop ? [.noTop] : []) + (block == nil ? [] : [.block]), input: input)
            let table = try LayerTable(choice, input: input)
            Console.result(json ? table.json.text + "\n" : table.text)
        } else {
            let given = [
                ("classes", classes != nil), ("image-size", imageSize != nil), ("no-top", noTop),
                ("block", block != nil),
            ]
            if let (option, _) = given.first(where: \.1) {
                throw UsageError("--\(option) has no effect without a model's name; add the name.")
            }
            let entries = Program.allModels
            Console.result(json ? list(entries).text + "\n" : text(entries))
        }
    }

    private func text(_ entries: [ModelEntry]) -> String {
        var rows = [["model", "parameters", "multiply-adds", "input", "what it is"]]
        rows += entries.map { entry in
            let size = size(entry)
            let reference = entry.reference.isEmpty ? "" : " (\(entry.reference))"
            return [
                entry.name, size.map { Formatting.whole($0.parameterCount) } ?? "?",
                size.map { Formatting.whole($0.multiplyAdds) } ?? "?", entry.input.description,
                entry.summary + reference,
            ]
        }
        return table(rows, rightAligned: [1, 2])
    }

    private func list(_ entries: [ModelEntry]) -> JSONObject {
        var object = JSONObject()
        object.add(
            "models",
            entries.map { entry in
                let size = size(entry)
                var row = JSONObject()
                row.add("name", entry.name)
                row.add("summary", entry.summary)
                row.add("input", entry.input.dimensions)
                row.add("classes", entry.classes)
                row.add("parameters", size?.parameterCount)
                row.add("multiply_adds", size?.multiplyAdds)
                row.add("reference", entry.reference)
                return row
            })
        return object
    }

    /// nil for a model that its own sample does not fit; its name says why.
    private func size(_ entry: ModelEntry) -> ModelSize? {
        try? modelSize(entry.make(ModelOptions(classes: entry.classes)), input: entry.input)
    }
}

/// Rows with their columns aligned, two spaces apart.
private func table(_ rows: [[String]], rightAligned: Set<Int>) -> String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        let cells = row.indices.map { column in
            let space = String(repeating: " ", count: widths[column] - row[column].count)
            return rightAligned.contains(column) ? space + row[column] : row[column] + space
        }
        return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed()) + "\n"
    }.joined()
}

/// The layers of a model for one sample: what each gives, holds and costs.
struct LayerTable {
    private let entry: ModelEntry
    private let input: ModelInput
    private let layers: [LayerSummary]
    /// The last value's extent: classes, or without a head features.
    private var outputs: Int { layers.last?.outputShape.dimensions.last ?? 0 }
    private let hasHead: Bool

    init(_ choice: ModelChoice, input: ModelInput) throws {
        entry = choice.entry
        hasHead = choice.options.top
        self.input = input
        layers = try summarize(choice.module(), input: input)
    }

    private var parameterCount: Int { layers.reduce(0) { $0 + $1.parameterCount } }
    private var multiplyAdds: Int { layers.reduce(0) { $0 + $1.multiplyAdds } }

    var text: String {
        var rows = [["layer", "operation", "output", "parameters", "multiply-adds", "receptive field"]]
        rows += layers.map { layer in
            [
                layer.name, layer.operation, layer.outputShape.description,
                layer.parameterCount == 0 ? "" : Formatting.whole(layer.parameterCount),
                layer.multiplyAdds == 0 ? "" : Formatting.whole(layer.multiplyAdds),
                layer.receptiveField.map { "\($0)" } ?? "",
            ]
        }
        rows.append(["total", "", "", Formatting.whole(parameterCount), Formatting.whole(multiplyAdds), ""])
        let head =
            "\(entry.name): \(entry.summary); input \(input.description), "
            + (hasHead ? outputs == 1 ? "1 class" : "\(outputs) classes" : "\(outputs) features") + "\n"
        return head + table(rows, rightAligned: [3, 4, 5])
    }

    var json: JSONObject {
        var object = JSONObject()
        object.add("model", entry.name)
        object.add("input", input.dimensions)
        object.add(hasHead ? "classes" : "features", outputs)
        object.add("parameters", parameterCount)
        object.add("multiply_adds", multiplyAdds)
        object.add(
            "layers",
            layers.map { layer in
                var row = JSONObject()
                row.add("name", layer.name)
                row.add("operation", layer.operation)
                row.add("output", layer.outputShape.dimensions)
                row.add("parameters", layer.parameterCount)
                row.add("multiply_adds", layer.multiplyAdds)
                row.add("receptive_field", layer.receptiveField)
                return row
            })
        return object
    }
}
