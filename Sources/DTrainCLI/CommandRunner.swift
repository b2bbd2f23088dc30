import ArgumentParser
import DTrainTensor
import Foundation

/// What `--version` says, and files that name their maker.
let productVersion = "0.1.0"

/// The whole command: `dtrain` alone is `dtrain train`.
struct RootCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: Program.name,
            abstract: "Trains neural networks on CPU clusters by data parallelism over MPI.",
            discussion: """
                Without a subcommand: train, by default a small network on the embedded MNIST digits.
                  \(Program.name)                       one process
                  \(Program.name) train --workers 4     four processes on this machine
                  mpirun -np 8 \(Program.name)          eight, on one host or several

                Exit codes: 0 done; 2 wrong usage or configuration; 3 data; 4 checkpoint; 5 another rank failed \
                or stalled; 6 the loss is not finite; 75 stopped by a signal after saving a checkpoint.
                """,
            version: productVersion,
            subcommands: [
                TrainCommand<Program>.self, EvaluateCommand<Program>.self, PredictCommand<Program>.self,
                GenerateCommand<Program>.self,
                ModelsCommand<Program>.self,
                DataCommand<Program>.self, ExportCommand<Program>.self, BenchCommand<Program>.self,
                DoctorCommand<Program>.self,
            ],
            defaultSubcommand: TrainCommand<Program>.self)
    }

    static var subcommandNames: [String] { configuration.subcommands.map { $0.configuration.commandName ?? "" } }
}

/// Parses, runs, and turns whatever is thrown into one message and an exit code.
enum CommandRunner<Program: TrainingProgram> {
    static func run(_ arguments: [String]) -> Int32 {
        let launch = LaunchEnvironment()
        do {
            try rejectUnknownSubcommand(arguments)
            var command = try RootCommand<Program>.parseAsRoot(arguments)
            try command.run()
            return ExitStatus.done.rawValue
        } catch let code as ExitCode {
            return code.rawValue
        } catch let error as UsageError {
            return fail(error, hint: nil, launch)
        } catch  where RootCommand<Program>.exitCode(for: error) == .success {
            // Help and version are results; under mpirun one rank says them.
            if launch.speaks { Console.result(RootCommand<Program>.fullMessage(for: error) + "\n") }
            return ExitStatus.done.rawValue
        } catch {
            guard ExitStatus.of(error) == .unexpected, isParserError(error) else {
                return fail(error, hint: nil, launch)
            }
            let message = RootCommand<Program>.message(for: error)
            return fail(UsageError(message), hint: "See '\(helpCommand(arguments))'.", launch)
        }
    }

    /// Writes an error and returns its exit code.
    private static func fail(_ error: any Error, hint: String?, _ launch: LaunchEnvironment) -> Int32 {
        if !launch.speaks { RankZeroFirst.wait() }
        let place = launch.rank.map { $0 == 0 ? "" : "rank \($0) on \(hostName()): " } ?? ""
        Console.diagnostic("\(Program.name): \(place)\(error)\n\(hint.map { $0 + "\n" } ?? "")")
        return ExitStatus.of(error).rawValue
    }

    /// The parser's own errors are internal types of its module.
    private static func isParserError(_ error: any Error) -> Bool {
        error is ValidationError || String(reflecting: type(of: error)).hasPrefix("ArgumentParser.")
    }

    private static func helpCommand(_ arguments: [String]) -> String {
        for subcommand in ["show", "fetch"] where arguments.starts(with: ["data", subcommand]) {
            return "\(Program.name) data \(subcommand) --help"
        }
        let subcommand = arguments.first.flatMap { RootCommand<Program>.subcommandNames.contains($0) ? $0 : nil }
        return "\(Program.name) \(subcommand ?? "train") --help"
    }

    /// `dtrain trian` would otherwise be an unexpected argument of the default subcommand.
    private static func rejectUnknownSubcommand(_ arguments: [String]) throws {
        let names = RootCommand<Program>.subcommandNames
        guard let first = arguments.first, !first.hasPrefix("-"), first != "help", !names.contains(first) else {
            return
        }
        throw UsageError(
            "unknown subcommand '\(first)'\(suggestion(for: first, among: names)); "
                + "valid: \(names.joined(separator: ", ")). See '\(Program.name) --help'.")
    }
}
