import DTrainReport
import DTrainTensor
import DTrainTrainer

/// Accuracy by class, and which class was taken for which.
struct ClassReport {
    private let confusion: ConfusionMatrix
    private let names: [String]
    /// For people, each on one line.
    private let shownNames: [String]
    /// Classes of the data; the model may have more outputs.
    private var classes: Range<Int> { 0..<names.count }

    /// Of more classes the matrix would not fit a screen; the most frequent confusions are named instead.
    private static let largestMatrix = 20
    private static let longestList = 15

    init(_ confusion: ConfusionMatrix, names: [String]) {
        self.confusion = confusion
        self.names = names
        shownNames = names.map(\.escaped)
    }

    /// Adds `classes` (name, samples, correct) and `confusion` (rows are true classes, columns predictions).
    func add(to object: inout JSONObject) {
        object.add(
            "classes",
            classes.map { label in
                var row = JSONObject()
                row.add("name", names[label])
                row.add("samples", confusion.samples(of: label))
                row.add("correct", confusion.correct(of: label))
                return row
            })
        object.add("confusion", classes.map(confusion.row))
    }

    var text: String {
        let width = nameWidth
        var lines = ["", "class".padding(to: width) + " accuracy  samples"]
        for label in classes {
            let samples = confusion.samples(of: label)
            lines.append(
                shownNames[label].padding(to: width) + " "
                    + Formatting.percent(confusion.correct(of: label), of: samples).padding(toLeft: 8) + "  "
                    + Formatting.whole(samples).padding(toLeft: 7))
        }
        return (lines + [""] + (names.count <= Self.largestMatrix ? matrix : list)).map { $0 + "\n" }.joined()
    }

    /// The width of the column of names: a space behind the longest.
    private var nameWidth: Int { (["class"] + shownNames).map(\.count).max()! + 1 }

    /// Rows are true classes, columns predictions, both in the order of the classes.
    private var matrix: [String] {
        let columns = 0..<confusion.classCount
        let cells = classes.map { label in columns.map { Formatting.whole(confusion[label: label, prediction: $0]) } }
        let widths = columns.map { column in
            max(cells.map { $0[column].count }.max() ?? 0, min(name(column).count, 6)) + 2
        }
        let width = nameWidth
        let head = columns.map { String(name($0).prefix(6)).padding(toLeft: widths[$0]) }.joined()
        return ["confusion (rows: true class, columns: prediction)", "".padding(to: width) + head]
            + classes.map { label in
                shownNames[label].padding(to: width)
                    + columns.map { cells[label][$0].padding(toLeft: widths[$0]) }.joined()
            }
    }

    private var list: [String] {
        let pairs = confusion.confusions(limit: Self.longestList)
        guard !pairs.isEmpty else { return ["no class was taken for another"] }
        return ["most often confused"]
            + pairs.map { "  \(name($0.label)) taken for \(name($0.prediction)): \(Formatting.whole($0.count))" }
    }

    private func name(_ index: Int) -> String { index < names.count ? shownNames[index] : "class \(index)" }
}
