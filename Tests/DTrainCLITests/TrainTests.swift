import DTrainEngine
import Foundation
import TestSupport
import Testing

/// `train` from its first line to its files, and on to the next command.
@Suite(.serialized) struct TrainTests {
    let command: Command

    init() throws {
        command = try Command()
        try command.writeDigits(to: "digits")
    }

    /// Output without what differs from run to run: times, rates, digits after the point.
    func steady(_ text: String) -> String {
        text.replacing(/\d[\d,]* samples\/s/, with: "R samples/s")
            .replacing(/ETA [\d:]+/, with: "ETA T")
            .replacing(/\d+\.\d+ s\b/, with: "T s")
            .replacing(/\d+\.\d+ kB/, with: "K kB")
            .replacing(/loss \d\.\d+/, with: "loss L")
            .replacing(/\d+\.\d+ % \(\d+ of/, with: "A % (N of")
            .replacing(command.program, with: "dtrain")
    }

    @Test(.enabled(if: Precision.bf16.obstacle == nil))
    func aRunInBF16SaysSo() throws {
        let outcome = try command.dtrain(
            "train", "--data", "mnist:digits", "--model", "mlp", "--steps", "2", "--batch-size", "20", "--precision",
            "bf16", "--out", "run")
        #expect(outcome.status == 0)
        #expect(outcome.stderr.contains("\nbf16: \(Precision.bf16.remark)\n"))
        #expect(try command.metrics("run").first?["precision"] as? String == "bf16")
        // Evaluated and trained on as it was trained.
        let resumed = try command.dtrain("train", "--resume", "auto", "--out", "run", "--steps", "3")
        #expect(resumed.status == 0 && resumed.stderr.contains("\nbf16: "))
    }

    @Test(
        .enabled(if: OneDNN.version != nil && Precision.bf16.obstacle == nil),
        arguments: ["train --data mnist:digits --out run", "bench --workers 2 --batch-size 20"])
    func bf16IsRefusedWhereItChangesNothing(command words: String) throws {
        let outcome = try command.dtrain(words: words + " --model mlp-small --precision bf16")
        #expect(outcome.status == 2)
        #expect(
            outcome.stderr == """
                dtrain: --precision has no effect: no product of mlp-small is large enough to be faster in bf16; leave it \
                out, or give another --model.

                """)
    }

    /// oneDNN takes its word for what a processor can do.
    @Test(.enabled(if: OneDNN.version != nil), arguments: ["train --out run", "bench"])
    func bf16IsRefusedWhereItIsNoFaster(command words: String) throws {
        let outcome = try command.dtrain(
            words: words + " --precision bf16", environment: ["ONEDNN_MAX_CPU_ISA": "AVX512_CORE"])
        #expect(outcome.status == 2)
        #expect(
            outcome.stderr.contains(
                "--precision bf16 does not work here: this processor multiplies no bf16 (it has neither AVX-512-BF16 nor "
                    + "AMX); give --precision fp32, which is faster here, or take a processor that does"))
    }

    /// oneDNN takes its word for what a processor can do.
    @Test(.enabled(if: OneDNN.version != nil && Precision.bf16.obstacle == nil))
    func aRunInBF16GoesOnAsANewOneWhereBF16IsNoFaster() throws {
        let first = try command.dtrain(
            words: "train --data mnist:digits --model mlp --steps 2 --batch-size 20 --precision bf16 --out run")
        #expect(first.status == 0, "\(first.stderr)")
        let elsewhere = ["ONEDNN_MAX_CPU_ISA": "AVX512_CORE"]
        expectError(
            try command.dtrain(words: "train --resume auto --out run --steps 4", environment: elsewhere), status: 2,
            "a run that goes on keeps its precision: ",
            "--config RUN/config.yaml --init RUN/checkpoints/STEP --precision fp32 --out NEW.")
        let next = try command.dtrain(
            words: "train --config run/config.yaml --init run/checkpoints/step-00000002 --precision fp32 --out new",
            environment: elsewhere)
        #expect(next.status == 0, "\(next.stderr)")
        #expect(try command.metrics("new").first?["precision"] as? String == "fp32")
    }

    @Test func aRunTellsWhatItDoesAndWhereEverythingLies() throws {
        let outcome = try command.dtrain(
            "train", "--data", "mnist:digits", "--epochs", "2", "--batch-size", "20", "--threads", "1", "--out", "run")
        #expect(outcome.status == 0)
        #expect(
            steady(outcome.stderr) == """
                cnn-mnist (8,490 parameters) on mnist:digits: 96 training and 48 test samples
                1 rank, 1 thread each; batch size 20 over all ranks, learning rate 0.01
                8 steps in 2 epochs; the last 16 samples of an epoch fill no batch
                fp32: \(Precision.fp32.remark)
                run directory run
                epoch 1/2  step 1/8  loss L  R samples/s  ETA T
                epoch 1  step 4  test accuracy A % (N of 48)  loss L  T s
                checkpoint run/checkpoints/step-00000004 (K kB in T s, the best so far)
                epoch 2/2  step 8/8  loss L  R samples/s  ETA T
                epoch 2  step 8  test accuracy A % (N of 48)  loss L  T s
                checkpoint run/checkpoints/step-00000008 (K kB in T s, the best so far)

                """ || steady(outcome.stderr).hasSuffix("checkpoint run/checkpoints/step-00000008 (K kB in T s)\n"))
        #expect(
            steady(outcome.stdout) == """
                result         test accuracy A % (N of 48), loss L
                throughput     R samples/s while training
                time           T s, of it T s training; 8 steps in all
                run directory  run
                checkpoint     run/checkpoints/step-00000008
                metrics        run/metrics.jsonl
                configuration  run/config.yaml
                evaluate it again:
                  dtrain evaluate run
                train on:
                  dtrain train --resume auto --out run --epochs 4

                """)
        #expect(try command.names(in: "run") == ["checkpoints", "config.yaml", "metrics.jsonl"])

        let metrics = try command.metrics("run")
        #expect(metrics.first?["event"] as? String == "start")
        #expect(metrics.filter { $0["event"] as? String == "step" }.map { $0["step"] as? Int } == Array(1...8))
        #expect(metrics.filter { $0["event"] as? String == "eval" }.map { $0["step"] as? Int } == [4, 8])
        #expect(metrics.filter { $0["event"] as? String == "eval" }.allSatisfy { $0["samples"] as? Int == 48 })
        #expect(metrics.last?["event"] as? String == "finished")
    }

    @Test func theNextCommandsRunAsPrinted() throws {
        let first = try command.dtrain(
            "train", "--data", "mnist:digits", "--steps", "4", "--batch-size", "16", "--workers", "2", "--out", "run")
        #expect(first.status == 0, "\(first.stderr)")
        let commands = first.stdout.split(separator: "\n").filter { $0.hasPrefix("  ") }.map { $0.dropFirst(2) }
        #expect(commands.count == 2)
        for line in commands {
            let outcome = try runProcess("sh", ["-c", String(line)], workingDirectory: command.directory)
            #expect(outcome.status == 0, "\(line): \(outcome.stderr)")
        }
        // The second trained on with two workers, which config.yaml remembers.
        let metrics = try command.metrics("run")
        #expect(metrics.filter { $0["event"] as? String == "step" }.map { $0["step"] as? Int } == Array(1...8))
        #expect(metrics.filter { $0["event"] as? String == "start" }.map { $0["ranks"] as? Int } == [2, 2])
    }

    @Test func dtrainAloneTrainsOnTheEmbeddedDigits() throws {
        let outcome = try command.dtrain("--steps", "3", "--quiet")
        #expect(outcome.status == 0)
        #expect(outcome.stderr.isEmpty)
        #expect(outcome.stdout.contains(/^test accuracy \d+\.\d\d % \(\d+ of 2,000\), loss \d\.\d{4}\n$/))
        let runs = try command.names(in: "runs")
        #expect(runs.count == 1 && runs[0].contains(/^cnn-mnist-\d{8}-\d{6}$/))
    }

    @Test func eightRanksTrainOnFewerCores() throws {
        let outcome = try command.mpirun(
            8, "train", "--data", "mnist:digits", "--steps", "3", "--batch-size", "32", "--out", "run")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(outcome.stderr.hasPrefix("cnn-mnist (8,490 parameters)"))
        #expect(outcome.stderr.contains("8 ranks, "))
        #expect(outcome.stderr.ranges(of: "run directory").count == 1, "one rank speaks")
    }

    @Test(arguments: ["0", "1"])
    func ranksThatDoNotShareMemorySaySo(sharing: String) throws {
        let outcome = try command.mpirun(
            2, "train", "--data", "mnist:digits", "--model", "mlp", "--steps", "2", "--batch-size", "20", "--compress",
            "bf16",
            "--out", "run", environment: ["DTRAIN_SHARED_MEMORY": sharing])
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(outcome.stderr.contains("ranks of one host do not share memory") == (sharing == "0"))
        #expect(outcome.stderr.contains("--compress has no effect") == (sharing == "1"))
    }

    @Test func aDedicatedCoordinatorIsOneRankMore() throws {
        let outcome = try command.dtrain(
            "train", "--data", "mnist:digits", "--steps", "3", "--batch-size", "16", "--workers", "2",
            "--coordinator", "dedicated", "--out", "run")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(outcome.stderr.contains("3 ranks, one of them the coordinator"))
        let start = try #require(try command.metrics("run").first)
        #expect(start["ranks"] as? Int == 3 && start["training_ranks"] as? Int == 2)
    }

    // MARK: Configuration

    @Test func theCommandLineWinsOverTheFileAndTheFileOverTheDefaults() throws {
        try command.write(
            """
            data: mnist:digits
            steps: 2
            batch_size: 12      # underscores count as hyphens
            optimizer: adam
            betas: [0.8, 0.99]
            nesterov:           # left at its default
            """, to: "run.yaml")
        let outcome = try command.dtrain(
            "train", "--config", "run.yaml", "--batch-size", "24", "--out", "run", "--quiet")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(
            try command.text("run/config.yaml") == """
                model: cnn-mnist
                no-top: false
                no-aux: false
                sync-batchnorm: false
                data: "mnist:digits"
                skip-broken: false
                no-shuffle: false
                loader-threads: 1
                steps: 2
                batch-size: 24
                accumulate: 1
                optimizer: adam
                lr: 0.001
                betas: 0.8,0.99
                epsilon: 1e-08
                weight-decay: 0.0
                label-smoothing: 0.0
                schedule: constant
                warmup-epochs: 0.0
                seed: 0
                precision: fp32
                compress: none
                coordinator: inline
                keep: 3

                """)
        // What a run saves is a configuration file itself.
        let again = try command.dtrain("train", "--config", "run/config.yaml", "--out", "again", "--quiet")
        #expect(again.status == 0, "\(again.stderr)")
        #expect(try command.text("again/config.yaml") == command.text("run/config.yaml"))
        #expect(
            try command.data("again/checkpoints/step-00000002/model.safetensors")
                == command.data("run/checkpoints/step-00000002/model.safetensors"))
    }

    @Test(arguments: [
        (
            "batchsize: 3",
            "run.yaml sets 'batchsize', which is not a setting (did you mean batch-size?); 'dtrain train --help' lists them."
        ),
        ("lr: fast", "--lr 'fast' (in run.yaml) is not valid: give a number of at least 0."),
        (
            "lr: 0.1\nlr: 0.2",
            "run.yaml is not valid YAML: Parser: expected all keys to be unique but found the following duplicated key(s): 'lr'."
        ),
        ("- lr", "run.yaml must be a mapping, one 'setting: value' a line."),
        ("lr: {a: 1}", "run.yaml: 'lr' must be a value or a list of values."),
    ])
    func aMistakeInTheFileNamesTheFile(text: String, message: String) throws {
        try command.write(text, to: "run.yaml")
        expect(try command.dtrain("train", "--config", "run.yaml"), status: 2, stderr: "dtrain: \(message)\n")
    }

    @Test func aFileThatIsNotYAMLNamesTheLine() throws {
        try command.write("lr: 0.1\nmodel: [mlp", to: "run.yaml")
        expectError(try command.dtrain("train", "--config", "run.yaml"), status: 2, "run.yaml is not valid YAML: ")
    }

    // MARK: Resume

    @Test func aRunGoesOnWithWhatItWasStartedWith() throws {
        let whole = try command.dtrain(
            words: "train --data mnist:digits --steps 6 --batch-size 20 --seed 3 --threads 1 --out whole --quiet")
        #expect(whole.status == 0, "\(whole.stderr)")
        #expect(
            try command.dtrain(
                words: "train --data mnist:digits --steps 3 --batch-size 20 --seed 3 --threads 1 --out part --quiet"
            ).status == 0)
        let resumed = try command.dtrain(words: "train --resume auto --out part --steps 6")
        #expect(resumed.status == 0, "\(resumed.stderr)")
        #expect(resumed.stderr.contains("goes on after step 3 from part/checkpoints/step-00000003\n"))
        #expect(
            try command.data("part/checkpoints/step-00000006/model.safetensors")
                == command.data("whole/checkpoints/step-00000006/model.safetensors"), "the same bits")
        let steps = try command.metrics("part").filter { $0["event"] as? String == "step" }
        #expect(steps.map { $0["step"] as? Int } == Array(1...6))

        let again = try command.dtrain(words: "train --resume auto --out part")
        #expect(again.status == 0)
        #expect(again.stderr.contains("the run is complete at step 6; give more --epochs or --steps to train on\n"))
    }

    @Test func whatARunComputesCannotChangeWhenItGoesOn() throws {
        #expect(
            try command.dtrain(words: "train --data mnist:digits --steps 2 --batch-size 16 --out run --quiet").status
                == 0)
        expect(
            try command.dtrain(words: "train --resume auto --out run --lr 0.5"), status: 2,
            stderr:
                "dtrain: --lr is '0.5' on the command line but '0.01' in the run that is resumed, and cannot change; "
                + "drop it, or start a new run with another --out.\n")
        #expect(
            try command.dtrain(words: "train --resume auto --out run --lr 0.01 --steps 3 --keep 5 --quiet").status == 0)
    }

    @Test func aRunDirectoryInUseIsNotOverwritten() throws {
        try command.write("precious", to: "run/notes.txt")
        expectError(
            try command.dtrain(words: "train --steps 1 --out run"), status: 2,
            "the run directory run is not empty: continue that run with --resume auto, or choose another --out")
        expectError(
            try command.dtrain(words: "train --steps 1 --out run --resume auto"), status: 2,
            "run is not a run directory: it holds no config.yaml.")
        #expect(try command.names(in: "run") == ["notes.txt"])
    }

    @Test func resumeStartsARunThatHasNotBegun() throws {
        let outcome = try command.dtrain(
            words: "train --resume auto --out new --data mnist:digits --steps 1 --quiet --batch-size 8")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(try command.names(in: "new/checkpoints") == ["best", "step-00000001"])
    }

    @Test func aTraceShowsBothRanksAndIsNoSettingOfTheRun() throws {
        let outcome = try command.dtrain(
            "train", "--data", "mnist:digits", "--steps", "4", "--batch-size", "20", "--workers", "2", "--threads", "1",
            "--trace", "trace.json", "--trace-steps", "2", "--out", "run")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(outcome.stderr.contains("the trace is in trace.json; ui.perfetto.dev shows it\n"))
        let trace = try #require(try JSONSerialization.jsonObject(with: command.data("trace.json")) as? [String: Any])
        let events = try #require(trace["traceEvents"] as? [[String: Any]])
        for rank in 0..<2 {
            let names = events.filter { $0["pid"] as? Int == rank }.compactMap { $0["name"] as? String }
            for (name, count) in [("step 1", 1), ("step 2", 1), ("step 3", 0), ("conv1", 4)] {
                #expect(names.count { $0 == name } == count, "\(name)")
            }
        }
        #expect(try !command.text("run/config.yaml").contains("trace"))
    }

    @Test func aTraceThatCannotBeWrittenIsRefusedFirst() throws {
        let outcome = try command.dtrain(
            "train", "--data", "mnist:digits", "--steps", "4", "--batch-size", "20", "--trace", "nowhere/trace.json",
            "--out", "run")
        expect(
            outcome, status: 4,
            stderr: "dtrain: cannot write the trace nowhere/trace.json: No such file or directory. "
                + "Name a file in a directory that can be written, or leave --trace out\n")
    }
}
