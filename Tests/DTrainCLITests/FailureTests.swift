import Foundation
import TestSupport
import Testing

/// What goes wrong in a run: one clear message, its exit code, and no lost checkpoint.
@Suite(.serialized) struct FailureTests {
    let command: Command

    init() throws {
        command = try Command()
        try command.writeDigits(to: "digits")
    }

    /// A finished run of two checkpoints, at steps 2 and 4.
    func makeRun(_ name: String = "run") throws {
        let outcome = try command.dtrain(
            words:
                "train --data mnist:digits --steps 4 --checkpoint-every 2 --batch-size 16 --threads 1 --out \(name) --quiet"
        )
        try #require(outcome.status == 0, "\(outcome.stderr)")
    }

    // MARK: Data (exit code 3)

    @Test(arguments: ["missing", "truncated", "too long", "other magic", "other size", "label out of range", "gzip"])
    func badDataEndTheRunBeforeItBegins(fault: String) throws {
        let images = "digits/train-images-idx3-ubyte"
        let labels = "digits/train-labels-idx1-ubyte"
        let expected: String
        switch fault {
        case "missing":
            try FileManager.default.removeItem(atPath: command.path(images))
            expected = "cannot find the training images of MNIST: tried \(images) and \(images).gz"
        case "truncated":
            try command.write(command.data(images).dropLast(), to: images)
            expected = "\(images) is truncated: it should hold 75280 bytes (decompressed) and ends after 75279"
        case "too long":
            try command.write(command.data(images) + Data([0]), to: images)
            expected = "\(images) is too long: its header announces 75280 bytes (decompressed) and it holds 75281"
        case "other magic":
            try command.write(command.data(labels), to: images)
            expected = "\(images) does not hold IDX images"
        case "other size":
            try command.write(
                Command.header(magic: 2051, [96, 14, 56]) + command.data(images).dropFirst(16), to: images)
            expected = "\(images) has dimensions 96×14×56; this data set needs"
        case "label out of range":
            var bytes = try command.data(labels)
            bytes[8 + 17] = 10
            try command.write(bytes, to: labels)
            expected = "\(labels): label 17 is 10; this data set has the labels 0 to 9"
        default:
            try #require(try runProcess("gzip", [command.path(images)]).status == 0)
            var bytes = try command.data(images + ".gz")
            bytes[bytes.count / 2] ^= 0x10
            try command.write(bytes, to: images + ".gz")
            expected = "\(images).gz is not a sound gzip file"
        }
        expectError(try command.dtrain(words: "train --data mnist:digits --steps 1 --out run"), status: 3, expected)
        #expect(!command.exists("run"), "nothing was started")
        expectError(try command.mpirun(2, "train", "--data", "mnist:digits", "--out", "run"), status: 3, expected)
    }

    @Test func aRankWithOtherDataIsNamed() throws {
        try FileManager.default.createDirectory(atPath: command.path("there"), withIntermediateDirectories: true)
        try command.writeDigits(to: "there/digits", seed: 1)
        let train = [command.program, "train", "--data", "mnist:digits", "--steps", "2", "--out", "run"]
        let outcome = try command.mpirun(ranksOf: [train, ["--wdir", command.path("there")] + train])
        expectError(outcome, status: 3, "has other data than rank 0", "rank 1 (")
    }

    @Test func aRankWithOtherFlagsIsNamedWithBothValues() throws {
        let train = [command.program, "train", "--data", "mnist:digits", "--steps", "2", "--out", "run"]
        let outcome = try command.mpirun(ranksOf: [train + ["--lr", "0.1"], train + ["--lr", "0.2"]])
        expectError(outcome, status: 2, "--lr is '0.2' on rank 1 (", "but '0.1' on rank 0")
    }

    // MARK: Checkpoints (exit code 4)

    @Test(arguments: ["truncated", "flipped", "future", "not JSON"])
    func aDamagedCheckpointIsPassedOverByAutoAndRefusedByName(fault: String) throws {
        try makeRun()
        let newest = "run/checkpoints/step-00000004"
        let reason: String
        switch fault {
        case "truncated":
            try command.write(command.data(newest + "/model.safetensors").dropLast(), to: newest + "/model.safetensors")
            reason = "\(newest)/model.safetensors is truncated"
        case "flipped":
            var bytes = try command.data(newest + "/optimizer.safetensors")
            bytes[bytes.count / 2] ^= 1
            try command.write(bytes, to: newest + "/optimizer.safetensors")
            reason = "\(newest)/optimizer.safetensors is corrupt"
        case "future":
            let state = try command.text(newest + "/state.json")
            let later = state.replacing(/"format_version"\s*:\s*\d+/, with: "\"format_version\": 999")
            try #require(later != state)
            try command.write(later, to: newest + "/state.json")
            reason = "has format version 999"
        default:
            try command.write("{", to: newest + "/state.json")
            reason = "\(newest)/state.json"
        }
        expectError(try command.dtrain(words: "train --resume \(newest) --steps 6"), status: 4, reason)
        expectError(try command.dtrain(words: "evaluate \(newest)"), status: 4, reason)
        let outcome = try command.dtrain(words: "train --resume auto --out run --steps 6")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(outcome.stderr.contains(reason), "the one passed over is named")
        #expect(outcome.stderr.contains("goes on after step 2 from run/checkpoints/step-00000002"))
        #expect(
            try command.metrics("run").filter { $0["event"] as? String == "step" }.map { $0["step"] as? Int }
                == Array(1...6))
    }

    @Test func aCheckpointOfAnotherModelIsRefused() throws {
        try makeRun()
        let config = try command.text("run/config.yaml")
        try command.write(config.replacing("model: cnn-mnist", with: "model: mlp"), to: "run/config.yaml")
        let outcome = try command.dtrain(words: "train --resume auto --out run --steps 6")
        expectError(outcome, status: 2, "'cnn-mnist', and this run has 'mlp'")
    }

    @Test func weightsThatDoNotFitListEveryDifference() throws {
        try makeRun()
        let outcome = try command.dtrain(
            words:
                "train --model lenet5 --data mnist:digits --steps 1 --out other --init run/checkpoints/step-00000004/model.safetensors"
        )
        expectError(outcome, status: 4, "does not fit this model", "fc1.weight", "conv1.weight", "fc.weight")
    }

    @Test func aMistakeInTheWeightsLeavesADirectoryThatTheNextStartTakes() throws {
        try command.write("no weights", to: "broken.safetensors")
        let train = "train --data mnist:digits --steps 1 --batch-size 16 --quiet --out run"
        try FileManager.default.createSymbolicLink(atPath: command.path("link"), withDestinationPath: "nowhere")
        for (path, reason) in [
            ("none", "cannot read the weights none: No such file"),
            ("link", "cannot read the weights link: No such file"),
            ("broken.safetensors", "is not a valid safe"),
        ] {
            expectError(try command.dtrain(words: train + " --init \(path)"), status: 4, reason)
            expectError(try command.dtrain(words: "export --model cnn-mnist --init \(path)"), status: 4, reason)
            #expect(try command.names(in: "run").isEmpty)
        }
        #expect(try command.dtrain(words: train).status == 0)
    }

    @Test func resumeSaysWhatItsPathIs() throws {
        try makeRun()
        expectError(try command.dtrain(words: "train --resume run"), status: 2, "give --resume auto --out run.")
        expectError(try command.dtrain(words: "train --resume gone"), status: 4, "there is nothing of this name")
        expectError(
            try command.dtrain(words: "train --resume digits"), status: 2,
            "'digits' is not a checkpoint in a run directory")
    }

    // MARK: The run directory (exit code 2)

    @Test func aCheckpointDoesNotGoOnInTheDirectoryOfAnotherRun() throws {
        try makeRun("first")
        try makeRun("second")
        let before = try command.text("second/metrics.jsonl")
        let resume = "train --resume first/checkpoints/step-00000002 --quiet --out "
        expectError(try command.dtrain(words: resume + "second"), status: 2, "the run directory second is not empty")
        #expect(try command.names(in: "second/checkpoints") == ["best", "step-00000002", "step-00000004"])
        #expect(try command.text("second/metrics.jsonl") == before)
        // A new directory and the run's own, whatever its name, are taken.
        #expect(try command.dtrain(words: resume + "third").status == 0)
        #expect(try command.dtrain(words: resume + "./first/").status == 0)
    }

    @Test func aRunDirectoryBelongsToOneRunAtATime() throws {
        let process = try command.start(
            "train", "--data", "mnist:digits", "--epochs", "1000000", "--batch-size", "16", "--checkpoint-every", "5",
            "--eval-every", "100000", "--out", "run")
        try #require(process.waitForOutput(containing: "step-00000005"))
        expectError(
            try command.dtrain(words: "train --resume auto --out run"), status: 2,
            "another run is working in run: wait until it ends, or choose another --out")
        expectError(
            try command.dtrain(words: "train --data mnist:digits --batch-size 16 --out run"), status: 2,
            "another run is working in run")
        process.send(signal: SIGTERM)
        let outcome = process.wait(deadlineSeconds: 60)
        #expect(outcome.status == 75, "the first is not disturbed: \(outcome.stderr)")
    }

    @Test func aPathWithoutACheckpointIsNamed() throws {
        expect(
            try command.dtrain(words: "evaluate nowhere"), status: 4,
            stderr: "dtrain: nowhere is not a checkpoint: there is nothing of this name. "
                + "Name a directory like RUN/checkpoints/step-00000100\n")
        expectError(
            try command.dtrain(words: "export digits"), status: 4, "digits is not a checkpoint: it holds no state.json")
    }

    @Test(.enabled(if: ScratchDirectory.canMount)) func aFullDiskKeepsTheEarlierCheckpoint() throws {
        let disk = try ScratchDirectory(diskOfKilobytes: 340)
        let arguments =
            "train --data mnist:digits --steps 40 --checkpoint-every 4 --batch-size 16 --keep 9 --quiet --out \(disk.path)/run"
        let outcome = try command.dtrain(words: arguments)
        expectError(outcome, status: 4, "No space left on device. Free space there or keep fewer checkpoints (--keep)")
        let checkpoints = try FileManager.default.contentsOfDirectory(atPath: disk.path + "/run/checkpoints")
        #expect(checkpoints.contains("step-00000004"))
        #expect(checkpoints.allSatisfy { $0.hasPrefix("step-") || $0 == "best" }, "\(checkpoints)")
        #expect(try command.dtrain(words: "evaluate \(disk.path)/run").status == 0)
    }

    @Test(.enabled(if: ScratchDirectory.canMount)) func aReadOnlyDiskIsNamed() throws {
        let disk = try ScratchDirectory(diskOfKilobytes: 64)
        try disk.makeReadOnly()
        let outcome = try command.dtrain(words: "train --data mnist:digits --steps 2 --out \(disk.path)/run")
        expectError(outcome, status: 4, "Read-only file system")
    }

    // MARK: The loss (exit code 6)

    @Test(arguments: [1, 2]) func aLossThatIsNotFiniteEndsTheRun(workers: Int) throws {
        let outcome = try command.dtrain(
            words: "train --data mnist:digits --steps 20 --batch-size 16 --lr 1e30 --workers \(workers) --out run")
        expectError(outcome, status: 6, "nothing was updated with it. Lower --lr")
    }

    @Test(arguments: ["", "--workers 2", "--workers 1 --coordinator dedicated"])
    func aTestLossThatIsNotFiniteEndsTheRun(ranks: String) throws {
        let outcome = try command.dtrain(
            words: "train --data mnist:digits --steps 1 --batch-size 16 --lr 1e30 --out run \(ranks)")
        expectError(outcome, status: 6, "the test loss is nan after step 1: no checkpoint was made of it. Lower --lr")
        #expect(try command.names(in: "run/checkpoints").isEmpty)
    }

    // MARK: Signals and death

    @Test(arguments: [SIGTERM, SIGINT, SIGUSR1], [0, 2])
    func aSignalStopsTheRunAfterACheckpoint(signal: Int32, workers: Int) throws {
        let process =
            workers == 0
            ? try command.start(
                "train", "--data", "mnist:digits", "--epochs", "1000000", "--batch-size", "16", "--eval-every",
                "100000", "--checkpoint-every", "100000", "--out", "run")
            : try command.start(
                "train", "--data", "mnist:digits", "--epochs", "1000000", "--batch-size", "16", "--eval-every",
                "100000", "--checkpoint-every", "100000", "--out", "run", "--workers", "\(workers)")
        try #require(process.waitForOutput(containing: "  step 1/"))
        process.send(signal: signal)
        let outcome = process.wait(deadlineSeconds: 60)
        #expect(outcome.status == 75 && !outcome.timedOut, "\(outcome.stderr)")
        #expect(outcome.stderr.contains("go on with\n  \(command.spelling) train --resume auto --out run\n"))
        let stopped = try #require(try command.metrics("run").first { $0["event"] as? String == "stopped" })
        let step = try #require(stopped["step"] as? Int)
        if workers == 0 {
            #expect(stopped["reason"] as? String == [SIGTERM: "SIGTERM", SIGINT: "SIGINT", SIGUSR1: "SIGUSR1"][signal])
        }
        let resumed = try command.dtrain(words: "train --resume auto --out run --workers 1 --steps \(step + 2)")
        #expect(resumed.status == 0 && resumed.stderr.contains("goes on after step"), "\(resumed.stderr)")
    }

    @Test func aSecondInterruptEndsTheRunAtOnce() throws {
        let process = try command.start(
            "train", "--data", "synthetic:224x224x3,10", "--model", "mlp", "--batch-size", "512", "--out", "run")
        try #require(process.waitForOutput(containing: "run directory run"))
        process.send(signal: SIGINT)
        try #require(process.waitForOutput(containing: "Ctrl-C again"))
        process.send(signal: SIGINT)
        let outcome = process.wait(deadlineSeconds: 20)
        #expect(!outcome.timedOut && [75, 130].contains(outcome.status))
    }

    @Test func aRankThatIsKilledEndsTheJobAndTheRunGoesOn() throws {
        let process = try command.start(
            "train", "--data", "mnist:digits", "--epochs", "1000000", "--batch-size", "16", "--checkpoint-every", "5",
            "--eval-every", "100000", "--workers", "3", "--out", "run")
        try #require(process.waitForOutput(containing: "step-00000005"))
        let victim = try #require(try rank(1, of: process), "rank 1 runs")
        kill(victim, SIGKILL)
        let outcome = process.wait(deadlineSeconds: 60)
        #expect(!outcome.timedOut)
        expectError(
            outcome, status: 5, "rank 1 on host ", "was ended by signal 9 (Killed)",
            "Go on from the last checkpoint with\n  \(command.spelling) train --resume auto --out run\n")
        #expect(!outcome.stderr.contains("-----"), "mpirun's own messages are left out")
        let saved = try command.names(in: "run/checkpoints").compactMap {
            $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil
        }
        let newest = try #require(saved.max())
        let resumed = try command.dtrain(words: "train --resume auto --out run --workers 2 --steps \(newest + 3)")
        #expect(resumed.status == 0 && resumed.stderr.contains("goes on after step"), "\(resumed.stderr)")
    }

    /// The process that is `rank` of the job below `process`.
    func rank(_ rank: Int, of process: RunningProcess) throws -> pid_t? {
        process.descendants.first { identifier in
            let environment = FileManager.default.contents(atPath: "/proc/\(identifier)/environ") ?? Data()
            let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(identifier)/exe")) ?? ""
            return program.hasSuffix("/dtrain")
                && environment.split(separator: 0).contains { $0.elementsEqual("OMPI_COMM_WORLD_RANK=\(rank)".utf8) }
        }
    }

    @Test(arguments: ["0", "1", "3000", "20000", "before-rename", "moved-aside", "after-rename"])
    func deathInTheMiddleOfACheckpointLeavesTheEarlierOne(place: String) throws {
        try makeRun()
        let before = try command.data("run/checkpoints/step-00000004/model.safetensors")
        let killed = try command.dtrain(
            words: "train --resume auto --out run --steps 6 --fault kill@checkpoint:\(place)")
        #expect(killed.status == 128 + SIGKILL || place == "moved-aside")
        #expect(try command.data("run/checkpoints/step-00000004/model.safetensors") == before)
        let resumed = try command.dtrain(words: "train --resume auto --out run --steps 8")
        #expect(resumed.status == 0, "\(resumed.stderr)")
        let step = place == "after-rename" || place == "moved-aside" ? 6 : 4
        #expect(resumed.stderr.contains("goes on after step \(step) from"), "\(resumed.stderr)")
        #expect(
            try command.metrics("run").filter { $0["event"] as? String == "step" }.map { $0["step"] as? Int }
                == Array(1...8))
    }
}
