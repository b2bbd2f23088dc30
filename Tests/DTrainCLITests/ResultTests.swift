import CAllocationCounter
import Foundation
import TestSupport
import Testing

/// What `evaluate`, `models`, `data show`, `export`, `bench` and `doctor` print and write.
@Suite(.serialized) struct ResultTests {
    let command: Command

    init() throws { command = try Command() }

    func object(_ outcome: ProcessOutcome) throws -> [String: Any] {
        #expect(outcome.stdout.split(separator: "\n").count == 1, "one object on one line")
        return try #require(try JSONSerialization.jsonObject(with: Data(outcome.stdout.utf8)) as? [String: Any])
    }

    @Test func evaluatePrintsTheObjectOfTheMetrics() throws {
        try command.writeDigits(to: "digits")
        let train = try command.dtrain(
            words:
                "train --data mnist:digits --steps 6 --batch-size 16 --augment permute-pixels --seed 5 --out run --quiet"
        )
        try #require(train.status == 0, "\(train.stderr)")
        let evaluation = try #require(try command.metrics("run").last { $0["event"] as? String == "eval" })
        for ranks in [1, 3] {
            let outcome =
                ranks == 1
                ? try command.dtrain(words: "evaluate run/checkpoints/step-00000006 --json")
                : try command.mpirun(ranks, "evaluate", "run/checkpoints/step-00000006", "--json")
            #expect(outcome.status == 0 && outcome.stderr.isEmpty, "\(outcome.stderr)")
            var found = try object(outcome)
            var expected = evaluation
            #expect(abs((found["loss"] as? Double ?? 0) - (expected["loss"] as? Double ?? 1)) < 1e-5)
            // Beside the metrics' object, classes one by one.
            for key in ["seconds", "loss", "classes", "confusion"] {
                found[key] = nil
                expected[key] = nil
            }
            #expect(NSDictionary(dictionary: found) == NSDictionary(dictionary: expected), "\(found) \(expected)")
        }
        expectError(
            try command.dtrain(words: "evaluate run --data synthetic:28x28x3,10"), status: 2,
            "synthetic:28x28x3,10 has samples of 28×28×3, and the model was trained on mnist:digits")
        // Without the run's permutation the same weights see other pictures.
        let other = try object(try command.dtrain(words: "evaluate run --augment none --split train --json"))
        #expect(other["samples"] as? Int == 96 && other["split"] as? String == "train")
    }

    @Test func modelsListsNamesAndDescribesLayers() throws {
        let list = try command.dtrain("models")
        #expect(list.status == 0)
        // One space for the columns' several.
        let lines = list.stdout.split(separator: "\n").map {
            $0.split(separator: " ").joined(separator: " ")
        }
        let models = try #require(object(try command.dtrain("models", "--json"))["models"] as? [[String: Any]])
        #expect(lines.count == 1 + models.count)
        #expect(models.allSatisfy { $0["parameters"] is Int && $0["multiply_adds"] is Int })
        #expect(
            lines.prefix(3) == [
                "model parameters multiply-adds input what it is",
                "mlp 535,818 535,040 28×28×1 784-512-256-10 with ReLU",
                "lenet5 61,706 416,520 28×28×1 "
                    + "LeNet-5: two convolutions, three linear layers, tanh (LeCun et al. 1998)",
            ])
        #expect(
            lines.contains(
                "resnet50 25,557,032 4,089,184,256 224×224×3 50 layers of bottlenecks (He et al. 2015)"))
        expect(
            try command.dtrain("models", "cnn-mnist"), status: 0,
            stdout: """
                cnn-mnist: two 5×5 convolutions and a linear layer; input 28×28×1, 10 classes
                layer    operation    output    parameters  multiply-adds  receptive field
                conv1    convolution  24×24×10         260        144,000                5
                maxPool  maxPool      12×12×10                                           6
                relu     relu         12×12×10                                           6
                conv2    convolution  8×8×20         5,020        320,000               14
                maxPool  maxPool      4×4×20                                            16
                relu     relu         4×4×20                                            16
                reshape  reshape      320
                fc       linear       10             3,210          3,200
                total                                8,490        467,200

                """)
        let features = try object(
            try command.dtrain(words: "models resnet18 --no-top --image-size 64 --json"))
        #expect(features["features"] as? Int == 512 && features["input"] as? [Int] == [64, 64, 3])
        #expect(features["parameters"] as? Int == 11_176_512)
        let table = try object(try command.dtrain("models", "mlp", "--classes", "7", "--json"))
        #expect(table["parameters"] as? Int == 784 * 512 + 512 + 512 * 256 + 256 + 256 * 7 + 7)
        #expect(table["multiply_adds"] as? Int == 784 * 512 + 512 * 256 + 256 * 7)
    }

    @Test func dataShowDescribesAndDrawsThePicture() throws {
        try command.writeDigits(to: "digits")
        let outcome = try command.dtrain("data", "show", "mnist:digits", "--output", "grid.png", "--split", "test")
        expect(
            outcome, status: 0,
            stdout: """
                mnist:digits: mnist, samples of 28×28×1, 10 classes
                train: 96 samples (0: 10, 1: 10, 2: 10, 3: 10, 4: 10, 5: 10, 6: 9, 7: 9, 8: 9, 9: 9)
                test: 48 samples (0: 5, 1: 5, 2: 5, 3: 5, 4: 5, 5: 5, 6: 5, 7: 5, 8: 4, 9: 4)
                drawn: grid.png (\(try pictureSize("grid.png")))

                """)
        expectError(
            try command.dtrain("data", "show", "mnist-sample", "--output", "no/such/folder.png"), status: 3,
            "no/such/folder.png")
        expectError(
            try command.dtrain("data", "show", "mnist:nowhere"), status: 3, "cannot find the training images of MNIST")
    }

    /// Width × height as a PNG's header has them.
    func pictureSize(_ name: String) throws -> String {
        let bytes = [UInt8](try command.data(name))
        try #require(bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]))
        func number(_ offset: Int) -> Int { bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) } }
        return "\(number(16))×\(number(20))"
    }

    @Test func exportWritesTheWeightsOfTheBestCheckpoint() throws {
        try command.writeDigits(to: "digits")
        let train = try command.dtrain(
            words:
                "train --model lenet5 --data mnist:digits --steps 4 --eval-every 2 --checkpoint-every 2 --batch-size 16 --out run --quiet"
        )
        try #require(train.status == 0, "\(train.stderr)")
        let best = try FileManager.default.destinationOfSymbolicLink(atPath: command.path("run/checkpoints/best"))
        let outcome = try command.dtrain("export", "run", "--output", "weights.safetensors")
        #expect(outcome.status == 0)
        #expect(
            outcome.stdout.hasPrefix("weights.safetensors: 10 tensors of run/checkpoints/\(best), "),
            "\(outcome.stdout)")
        // A run that starts from them, with a rate of 0, ends with them.
        let copy = try command.dtrain(
            words:
                "train --model lenet5 --data mnist:digits --steps 1 --batch-size 16 --lr 0 --init weights.safetensors --out copy --quiet"
        )
        #expect(copy.status == 0, "\(copy.stderr)")
        #expect(
            try command.data("copy/checkpoints/step-00000001/model.safetensors")
                == command.data("run/checkpoints/\(best)/model.safetensors"))
    }

    @Test func exportWritesTheNetworkToo() throws {
        try command.writeDigits(to: "digits")
        let train = try command.dtrain(
            words: "train --model lenet5 --data mnist:digits --steps 2 --batch-size 16 --out run --quiet")
        try #require(train.status == 0, "\(train.stderr)")
        let outcome = try command.dtrain(words: "export run --format onnx")
        #expect(outcome.status == 0 && outcome.stderr.isEmpty, "\(outcome.stderr)")
        #expect(
            outcome.stdout.hasPrefix("lenet5.onnx: 10 tensors of run/checkpoints/step-00000002, "), "\(outcome.stdout)")
        let file = try command.data("lenet5.onnx")
        // The weights of LeNet-5, and little beside them.
        #expect(file.count > 4 * 61_706 && file.count < 4 * 61_706 + 8192)
        for text in ["dtrain", "conv1.weight", "Gemm", "class_names", "standard_deviation"] {
            #expect(file.firstRange(of: Data(text.utf8)) != nil, "\(text)")
        }
        #expect(
            try command.dtrain(words: "export run --format onnx --output again.onnx").status == 0
                && command.data("again.onnx") == file)
    }

    @Test func benchPrintsOneObject() throws {
        let outcome = try command.mpirun(
            2, "bench", "--model", "mlp", "--batch-size", "32", "--steps", "5", "--json", "--threads", "1")
        #expect(outcome.status == 0, "\(outcome.stderr)")
        let result = try object(outcome)
        #expect(result["model"] as? String == "mlp" && result["precision"] as? String == "fp32")
        #expect(result["ranks"] as? Int == 2 && result["threads"] as? Int == 1 && result["batch_size"] as? Int == 32)
        // Every gradient once, and little beside it.
        let gradients = 4 * (784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10)
        let reduced = try #require(result["bytes_reduced_per_step"] as? Int)
        #expect(reduced >= gradients && reduced < gradients + 4096)
        for key in [
            "items_per_second", "gflops", "step_seconds", "peak_memory_bytes", "arena_bytes", "arena_lower_bound_bytes",
        ] {
            #expect((result[key] as? Double ?? 0) > 0, "\(key)")
        }
        // A sanitizer brings its own malloc, and nobody counts.
        if allocation_count() >= 0 { #expect(result["allocations_per_step"] as? Int == 0) }
        #expect((result["communication_exposed_seconds"] as? Double ?? -1) >= 0)
        let peak = try #require(result["peak_gflops"] as? Double)
        let fraction = try #require(result["fraction_of_peak"] as? Double)
        #expect(abs(fraction * peak / (try #require(result["gflops"] as? Double)) - 1) < 1e-6)
        let bandwidth = try #require(result["peak_bandwidth_gbs"] as? Double)
        #expect(bandwidth > 0.1)
        // Both ranks read the parameters on both ways, but those of the first layer on the way back, and write gradients.
        let moved = try #require(result["bytes_moved_per_step"] as? Double)
        #expect(moved > 2 * (3 * Double(gradients) - 4 * 784 * 512))
        #expect(moved < 2 * 4 * Double(gradients))
        let seconds = try #require(result["step_seconds"] as? Double)
        let share = try #require(result["fraction_of_bandwidth"] as? Double)
        #expect(abs(share * bandwidth * 1e9 * seconds / moved - 1) < 1e-6)
        #expect(result["profile"] == nil)
        #expect(
            (0...1).contains(result["communication_overlap"] as? Double ?? 2) && result["compress"] as? String == "none"
        )
        let compressed = try command.mpirun(2, "bench", "--model", "mlp", "--compress", "bf16")
        #expect(compressed.status == 2)
        #expect(compressed.stderr.contains("--compress has no effect: all ranks are on one host"))
        let apart = try command.mpirun(2, "bench", "--steps", "2", environment: ["DTRAIN_SHARED_MEMORY": "0"])
        #expect(apart.stdout.contains("; by messages, as ranks of one host share no memory\n"), "\(apart)")
        let table = try command.dtrain("bench", "--workers", "2", "--steps", "2")
        #expect(table.status == 0 && !table.stdout.contains("by messages"), "\(table.stderr)")
        #expect(
            table.stdout.contains(#/GFLOP/s, [0-9]+ % of the [0-9]+ GFLOP/s that a product in fp32 reaches here\n/#))
        #expect(
            table.stdout.contains(#/\nbandwidth +[0-9.]+ GB/s .*, [0-9]+ % of the [0-9.]+ GB/s that a copy reaches/#))
        #expect(table.stdout.contains("\nexchange"))
        let alone = try command.dtrain("bench", "--steps", "2")
        #expect(alone.status == 0 && !alone.stdout.contains("\nexchange"), "\(alone.stderr)")
        // The model has convolutions, inside which oneDNN allocates.
        if allocation_count() >= 0 { #expect(alone.stdout.contains("\nallocations  0 a step")) }
    }

    @Test func benchTellsWhereTheTimeGoes() throws {
        let line = "bench --model inception-mnist --batch-size 4 --steps 2 --profile"
        let result = try object(try command.dtrain(words: line + " --json"))
        let profile = try #require(result["profile"] as? [String: Any])
        let operations = try #require(profile["operations"] as? [[String: Any]])
        for pass in ["forward", "backward"] {
            let found = operations.filter {
                $0["path"] as? String == "incep1.branch5x5_2" && $0["pass"] as? String == pass
            }
            #expect(found.count == 1 && found[0]["operation"] as? String == "convolution")
            #expect(
                (found.first?["seconds_per_step"] as? Double ?? 0) > 0 && (found.first?["gflops"] as? Double ?? 0) > 0)
        }
        #expect(operations.count > 40)
        #expect((profile["kinds"] as? [[String: Any]])?.contains { $0["operation"] as? String == "maxPool" } == true)
        let table = try command.dtrain(words: line)
        #expect(table.status == 0, "\(table.stderr)")
        let lines = table.stdout.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let title = "  ms/step    share  GFLOP/s     GB/s  operations (20 of \(operations.count), the longest first)"
        let first = try #require(lines.firstIndex(of: title), "\(table.stdout)")
        let shown = lines[(first + 1)...].prefix { !$0.isEmpty }
        #expect(shown.count == 20)
        #expect(
            shown.contains {
                $0.wholeMatch(of: /\ +[0-9.]+ +[0-9.]+ % +[0-9.]+ +[0-9.]+  (forward |backward) conv2 convolution/)
                    != nil
            }, "\(table.stdout)")
        for title in ["kinds of operations", "outside the plan"] { #expect(table.stdout.contains("GB/s  \(title)\n")) }
    }

    // MARK: doctor

    func findings(_ outcome: ProcessOutcome) throws -> [String: [String: String]] {
        let list = try #require(try object(outcome)["findings"] as? [[String: String]])
        return Dictionary(uniqueKeysWithValues: list.map { ($0["topic"] ?? "", $0) })
    }

    @Test func doctorIsContentWithWhatTheScriptsSet() throws {
        let environment = [
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        ]
        let outcome = try command.dtrain("doctor", "--json", environment: environment)
        #expect(outcome.status == 0, "\(outcome.stdout)")
        let found = try findings(outcome)
        #expect(Set(found.keys) == ["MPI", "root", "cores", "affinity", "slots", "memory", "BLAS", "bf16", "program"])
        #expect(found["slots"]?["verdict"] == "ok")
        #expect(found["BLAS"]?["detail"]?.contains(", kernels ") == true)
    }

    @Test func doctorNamesEachProblemWithItsRemedy() throws {
        let outcome = try command.dtrain(
            "doctor", "--json",
            environment: [
                "PATH": "/nowhere", "OPENBLAS_CORETYPE": "Prescott", "OMPI_ALLOW_RUN_AS_ROOT": "",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "",
            ])
        #expect(outcome.status == 2)
        let found = try findings(outcome)
        #expect(found["MPI"]?["verdict"] == "problem" && found["MPI"]?["remedy"]?.contains("openmpi-bin") == true)
        #expect(found["BLAS"]?["verdict"] == "problem" && found["BLAS"]?["remedy"] == "unset OPENBLAS_CORETYPE")
        if geteuid() == 0 {
            #expect(found["root"]?["verdict"] == "problem")
            #expect(found["root"]?["remedy"]?.contains("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1") == true)
        }
    }

    @Test(.enabled(if: ProcessInfo.processInfo.activeProcessorCount > 1))
    func doctorSeesARankThatMpirunBound() throws {
        let outcome = try runProcess(
            "mpirun", ["--allow-run-as-root", "--bind-to", "core", "-np", "1", command.program, "doctor", "--json"],
            environment: ["COLUMNS": "80"], workingDirectory: command.directory)
        #expect(outcome.status == 2)
        let affinity = try findings(outcome)["affinity"]
        #expect(affinity?["verdict"] == "problem" && affinity?["remedy"]?.hasPrefix("mpirun --bind-to none") == true)
    }
}
