import DTrainTrainer
import Testing

/// `--help` of each subcommand, as a user reads it.
@Suite struct HelpTests {
    @Test func theCommandTellsItsSubcommandsAndExitCodes() throws {
        let outcome = try Command().dtrain("--help")
        expect(
            outcome, status: 0,
            stdout: """
                OVERVIEW: Trains neural networks on CPU clusters by data parallelism over MPI.

                Without a subcommand: train, by default a small network on the embedded MNIST
                digits.
                  dtrain                       one process
                  dtrain train --workers 4     four processes on this machine
                  mpirun -np 8 dtrain          eight, on one host or several

                Exit codes: 0 done; 2 wrong usage or configuration; 3 data; 4 checkpoint; 5
                another rank failed or stalled; 6 the loss is not finite; 75 stopped by a
                signal after saving a checkpoint.

                USAGE: dtrain <subcommand>

                OPTIONS:
                  --version               Show the version.
                  -h, --help              Show help information.

                SUBCOMMANDS:
                  train (default)         Train a model: data-parallel, with checkpoints, to be
                                          resumed at any time.
                  evaluate                Measure a checkpoint's accuracy and loss; every
                                          sample counts exactly once.
                  predict                 Say what is in images, or what a text is.
                  generate                Let a model of text write on, character by character.
                  models                  List the models; with a name, its layers with output
                                          shapes, parameters and multiply-adds.
                  data                    Look at data sets, pack them and download them.
                  export                  Write a checkpoint's weights to a file for other
                                          programs.
                  bench                   Measure the speed of training on made-up input:
                                          forward, backward, exchange and update.
                  doctor                  Check MPI, BLAS, cores and binding of this machine,
                                          with a remedy for each problem.

                  See 'dtrain help <subcommand>' for detailed help.

                """)
    }

    @Test(arguments: [
        ("train", "USAGE: dtrain train <options>"),
        ("evaluate", "USAGE: dtrain evaluate [<options>] [<source>]"),
        ("predict", "USAGE: dtrain predict <options>"),
        ("generate", "USAGE: dtrain generate --checkpoint <dir>"),
        (
            "models",
            "USAGE: dtrain models [<name>] [--classes <n>] [--image-size <n>] [--no-top] [--block <name>] [--json]"
        ),
        ("data", "USAGE: dtrain data <subcommand>"),
        ("data show", "USAGE: dtrain data show <spec> [--output <file>] [--split <name>]"),
        ("data fetch", "USAGE: dtrain data fetch <name> [--output <dir>] [--mirror <url>]"),
        ("export", "USAGE: dtrain export [<source>] [--checkpoint <dir>]"),
        ("bench", "USAGE: dtrain bench <options>"),
        ("doctor", "USAGE: dtrain doctor [--json]"),
    ])
    func eachSubcommandHasHelp(subcommand: String, usage: String) throws {
        let outcome = try Command().dtrain(words: subcommand + " --help")
        #expect(outcome.status == 0 && outcome.stderr.isEmpty)
        #expect(outcome.stdout.contains(usage), "\(outcome.stdout)")
        #expect(outcome.stdout.split(separator: "\n").allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE") })
        let words = outcome.stdout.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let twice = words.firstMatch(of: /Default [^.]*\. \(default:.*?\)/)
        #expect(twice == nil, "a default is said twice: \(twice?.output ?? "")")
    }

    @Test func everySettingIsAFlagOfTrainWithAnExplanation() throws {
        let help = try Command().dtrain("train", "--help").stdout
        let lines = help.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        for setting in RunSetting.allCases {
            let index = lines.firstIndex { $0.hasPrefix("  --\(setting.rawValue) ") || $0 == "  --\(setting.rawValue)" }
            let line = try #require(index, "--\(setting.rawValue) is missing in the help")
            let explanation = lines[line].count > 26 ? lines[line].dropFirst(26) : lines[line + 1].dropFirst(26)
            #expect(!explanation.isEmpty, "--\(setting.rawValue) is not explained")
        }
        #expect(help.contains("--config <file>"))
        #expect(!help.contains("--fault"), "the fault is for tests")
    }

    @Test func underMpirunOneRankTells() throws {
        let outcome = try Command().mpirun(3, "doctor", "--help")
        #expect(outcome.status == 0)
        #expect(outcome.stdout.ranges(of: "USAGE: dtrain doctor").count == 1)
    }

    @Test func theVersionIsOneLine() throws {
        expect(try Command().dtrain("--version"), status: 0, stdout: "0.1.0\n")
    }
}
