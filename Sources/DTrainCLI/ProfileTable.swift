import DTrainReport
import DTrainTrainer

/// Where a step's time goes, as `bench --profile` prints it.
struct ProfileTable {
    /// The operations that the table shows; JSON has all of them.
    private static let shownCount = 20

    private let profile: StepProfile
    init(_ profile: StepProfile) { self.profile = profile }

    var text: String {
        let shown = profile.operations.prefix(Self.shownCount)
        let title =
            shown.count < profile.operations.count
            ? "operations (\(shown.count) of \(profile.operations.count), the longest first)" : "operations"
        return table(title, Array(shown)) + "\n" + table("kinds of operations", profile.kinds) + "\n"
            + table("outside the plan", profile.others)
            + "\nMeans over the measured steps of rank 0. GB/s count what a perfect kernel moves, each value once.\n"
    }

    private func table(_ title: String, _ rows: [StepProfile.Row]) -> String {
        func number(_ value: Double) -> String { value > 0 ? Formatting.decimal(value, 1) : "" }
        let header = ["ms/step", "share", "GFLOP/s", "GB/s"].map { $0.padding(toLeft: 9) }.joined() + "  " + title
        return
            ([header]
            + rows.map { row in
                let name = [row.path, row.operation].compactMap { $0 }.reduce(into: [String]()) { names, name in
                    if names.last != name { names.append(name) }
                }
                return [
                    Formatting.decimal(1000 * row.secondsPerStep, 3), Formatting.decimal(100 * row.share, 1) + " %",
                    number(row.gflops), number(row.gigabytesPerSecond),
                ].map { $0.padding(toLeft: 9) }.joined() + "  "
                    + ((row.pass.map { [$0.rawValue.padding(to: 8)] } ?? []) + name).joined(separator: " ")
            }).map { $0 + "\n" }.joined()
    }

    var object: JSONObject {
        func objects(_ rows: [StepProfile.Row]) -> [JSONObject] {
            rows.map { row in
                var object = JSONObject()
                object.add("path", row.path)
                object.add("operation", row.operation)
                object.add("pass", row.pass?.rawValue)
                object.add("seconds_per_step", row.secondsPerStep)
                object.add("share", row.share)
                if row.pass != nil {
                    object.add("gflops", row.gflops)
                    object.add("gigabytes_per_second", row.gigabytesPerSecond)
                }
                return object
            }
        }
        var object = JSONObject()
        object.add("seconds_per_step", profile.secondsPerStep)
        object.add("operations", objects(profile.operations))
        object.add("kinds", objects(profile.kinds))
        object.add("outside_the_plan", objects(profile.others))
        return object
    }
}
