import ArgumentParser
public import DTrainModels
import DTrainTensor
import Foundation

/// A program that trains: dtrain's command line with models of one's own.
///
/// ```swift
/// @main struct MyTrainer: TrainingProgram {
///     static let models = [ModelEntry("tiny", "one convolution and a head") { _ in Tiny() }]
/// }
/// ```
public protocol TrainingProgram {
    /// The models that this program adds to dtrain's own; one of the same name takes the place of dtrain's.
    static var models: [ModelEntry] { get }
    /// The program's name in its help; by default the name of the file that was started.
    static var name: String { get }
    /// Counts the heap allocations of the calling thread but those inside oneDNN, for `bench`. Only dtrain itself has a counter,
    /// because counting means to stand in for `malloc`; nil elsewhere.
    static var allocationCount: (() -> Int)? { get }
}

extension TrainingProgram {
    public static var models: [ModelEntry] { [] }
    public static var allocationCount: (() -> Int)? { nil }
    public static var name: String {
        CommandLine.arguments.first.map(FilePath.name(of:)) ?? "dtrain"
    }

    /// Runs the command line and ends the process with its exit code.
    public static func main() {
        exit(CommandRunner<Self>.run(Array(CommandLine.arguments.dropFirst())))
    }

    /// All models that the command line knows, this program's first.
    static var allModels: [ModelEntry] {
        models + ModelEntry.all.filter { entry in !models.contains { $0.name == entry.name } }
    }

    /// The model called `name`.
    static func model(named name: String) throws -> ModelEntry {
        if let entry = allModels.first(where: { $0.name == name }) { return entry }
        let names = allModels.map(\.name)
        throw UsageError(
            "unknown model '\(name)'\(suggestion(for: name, among: names)); '\(self.name) models' lists all.")
    }
}
