import DTrainData
import Foundation
import TestSupport
import Testing

/// Training on folders of images, prediction, evaluation by class, weights and recipes, as a user runs them.
@Suite(.serialized) struct ImageCommandTests {
    let command: Command

    init() throws { command = try Command() }

    private static let classes = ["dark", "light", "middle"]

    /// Coloured images of three classes that their brightness tells apart, of various sizes.
    private func writeImages(to folder: String, training: Int = 12, test: Int = 4) throws {
        for (split, count) in [("train", training), ("test", test)] {
            for (label, name) in Self.classes.enumerated() {
                let directory = "\(folder)/\(split)/\(name)"
                try command.write("", to: directory + "/.keep")
                for index in 0..<count {
                    let value = UInt8([20, 230, 120][label] + (index * 7) % 20)
                    let image = try PNGImage(width: 20 + index % 5, height: 24 - index % 3, channels: 3, value: value)
                    try image.write(to: command.path("\(directory)/\(index).png"))
                }
            }
        }
    }

    private func objects(_ outcome: ProcessOutcome) throws -> [[String: Any]] {
        try outcome.stdout.split(separator: "\n").map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
        }
    }

    /// A run on the images that knows them by heart.
    private func train(_ words: String = "") throws {
        try writeImages(to: "pictures")
        let outcome = try command.dtrain(
            words:
                "train --model cnn-cifar --data images:pictures --image-size 32 --epochs 40 --batch-size 12 --lr 0.02 "
                + "--out run --quiet \(words)")
        try #require(outcome.status == 0, "\(outcome.stderr)")
    }

    @Test func aRunOnImagesPredictsImages() throws {
        try train()
        let files = Self.classes.map { "pictures/test/\($0)/1.png" }
        let outcome = try command.dtrain(
            words: "predict --checkpoint run --images \(files.joined(separator: " ")) --top 2 --json --logits")
        #expect(outcome.status == 0 && outcome.stderr.isEmpty, "\(outcome.stderr)")
        let predictions = try objects(outcome)
        #expect(predictions.map { $0["path"] as? String } == files)
        for (label, prediction) in predictions.enumerated() {
            let top = try #require(prediction["top"] as? [[String: Any]])
            #expect(top.count == 2)
            #expect(top[0]["label"] as? String == Self.classes[label] && top[0]["index"] as? Int == label)
            let logits = try #require(prediction["logits"] as? [Double])
            #expect(logits.count == 3)
            // The probability is the softmax of the logits.
            let sum = logits.reduce(0) { $0 + exp($1) }
            #expect(abs((top[0]["probability"] as? Double ?? 0) - exp(logits[label]) / sum) < 1e-5)
        }

        let text = try command.dtrain(
            words: "predict --checkpoint run --images pictures/test --top 1 --output grid.png")
        #expect(text.status == 0, "\(text.stderr)")
        #expect(text.stdout.hasPrefix("pictures/test/dark/0.png\n"))
        #expect(text.stdout.hasSuffix("drawn: grid.png\n"))
        #expect(text.stdout.split(separator: "\n").filter { $0.hasPrefix("pictures/") }.count == 12)
        #expect(try command.data("grid.png").starts(with: [0x89, 0x50, 0x4E, 0x47]))

        // The file's own names instead of the run's.
        try command.write("eins\nzwei\ndrei\n", to: "names.txt")
        let named = try command.dtrain(
            words: "predict --checkpoint run --images pictures/test/light/0.png --top 1 --labels names.txt")
        #expect(named.stdout.contains("zwei"))
    }

    @Test func evaluationCountsByClass() throws {
        try train()
        let outcome = try command.dtrain(words: "evaluate run --json")
        let object = try #require(try objects(outcome).first, "\(outcome.stderr)")
        let classes = try #require(object["classes"] as? [[String: Any]])
        #expect(classes.map { $0["name"] as? String } == Self.classes)
        #expect(classes.map { $0["samples"] as? Int } == [4, 4, 4])
        let confusion = try #require(object["confusion"] as? [[Int]])
        #expect(confusion.map { $0.reduce(0, +) } == [4, 4, 4])
        let correct = (0..<3).map { confusion[$0][$0] }
        #expect(classes.map { $0["correct"] as? Int } == correct)
        #expect(object["correct"] as? Int == correct.reduce(0, +))
        // Several ranks count the same.
        let shared = try objects(try command.mpirun(3, "evaluate", "run", "--json"))
        #expect(try #require(shared.first)["confusion"] as? [[Int]] == confusion)
        let text = try command.dtrain(words: "evaluate run").stdout
        #expect(
            text.contains("\nclass   ") && text.contains("accuracy  samples\n")
                && text.contains("confusion (rows: true class"))
    }

    @Test func aBrokenImageIsNamedOrLeftOut() throws {
        try writeImages(to: "pictures")
        try command.write("no image at all", to: "pictures/train/light/3.png")
        let words = "train --model cnn-cifar --data images:pictures --image-size 32 --steps 3 --batch-size 36 --quiet"
        expectError(try command.dtrain(words: words + " --out a"), status: 3, "pictures/train/light/3.png")
        let skipped = try command.dtrain(words: words + " --out b --skip-broken")
        #expect(skipped.status == 0 && skipped.stderr.contains("left out: "), "\(skipped.stderr)")
        let evaluated = try command.dtrain(words: "evaluate b --split train --skip-broken --json")
        #expect(try #require(try objects(evaluated).first)["samples"] as? Int == 35)
        expectError(
            try command.dtrain(words: "predict --checkpoint b --images pictures/train/light"), status: 3, "light/3.png")
    }

    @Test func weightsOfOtherClassesKeepTheBody() throws {
        try train()
        try command.writeDigits(to: "digits")
        let other = try command.dtrain(
            words: "train --model cnn-cifar --data only:0-1@images:pictures --image-size 32 --steps 2 --batch-size 8 "
                + "--init run/checkpoints --out other --progress lines --freeze conv1.*")
        #expect(other.status != 0, "a folder of checkpoints is no checkpoint")
        let checkpoint = try #require(try command.names(in: "run/checkpoints").last { $0.hasPrefix("step-") })
        let transfer = try command.dtrain(
            words: "train --model cnn-cifar --data only:0-1@images:pictures --image-size 32 --steps 2 --batch-size 8 "
                + "--init run/checkpoints/\(checkpoint) --out transfer --progress lines --freeze conv1.*")
        #expect(transfer.status == 0, "\(transfer.stderr)")
        #expect(transfer.stderr.contains("re-initialised fc3.bias, fc3.weight (3 → 2 classes)"), "\(transfer.stderr)")
        // The wrong model is refused with what does not fit.
        expectError(
            try command.dtrain(
                words: "train --model mlp --data mnist:digits --steps 1 --batch-size 8 "
                    + "--init run/checkpoints/\(checkpoint) --out wrong"), status: 4, "conv1.weight")
        // A weights file serves prediction without its run.
        #expect(try command.dtrain(words: "export run --output w.safetensors").status == 0)
        let predicted = try command.dtrain(
            words: "predict --model cnn-cifar --init w.safetensors --classes 3 --images pictures/test/dark/0.png --json"
        )
        #expect(predicted.status == 0, "\(predicted.stderr)")
        expectError(
            try command.dtrain(
                words: "predict --model cnn-cifar --init w.safetensors --images pictures/test/dark/0.png"), status: 4,
            "fc3.weight is 3×84 F32, needs 10×84 F32")
    }

    @Test func mistakesAreNamed() throws {
        let cases: [(String, String)] = [
            ("predict --images a.png", "no model is given"),
            ("predict --model resnet18 --images a.png", "--model needs its weights"),
            ("predict --checkpoint run --model resnet18 --init w --images a.png", "not both"),
            ("predict --checkpoint run", "no images are given"),
            ("train --recipe resnet2", "unknown recipe 'resnet2' (did you mean resnet20"),
            ("train --model resnet-mnist --block orignal", "--block 'orignal' is not valid (did you mean original?)"),
            ("train --block original", "--block has no effect: cnn-mnist has no choice of blocks"),
            ("train --no-aux", "--no-aux has no effect: cnn-mnist has no auxiliary classifiers"),
            ("train --dropout 0.5", "--dropout has no effect: cnn-mnist has no dropout layer"),
            ("train --freeze layer9.*", "--freeze 'layer9.*' matches no parameter"),
            ("train --sync-batchnorm", "--sync-batchnorm has no effect: cnn-mnist has no batch normalisation"),
            ("train --data only:0-77@mnist-sample", "no class '0-77'"),
            ("bench --augment flip", "--augment has no effect without --data"),
            ("bench --image-size 100000", "--image-size '100000' is not valid: give a whole number from 1 to 16384"),
            (
                "train --recipe transfer-head",
                "begins with trained weights: give --init with a run of --recipe transfer-source"
            ),
            ("evaluate run --no-top", "--no-top leaves nothing to evaluate"),
        ]
        for (words, message) in cases {
            let outcome = try command.dtrain(words: words + (words.hasPrefix("train") ? " --out x" : ""))
            #expect(outcome.status == (words.contains("only:") ? 3 : 2), "\(words): \(outcome.stderr)")
            #expect(outcome.stderr.contains(message), "\(words): \(outcome.stderr)")
            #expect(!command.exists("x/config.yaml"), "\(words)")
        }
    }

    /// Foundation's functions for paths end the program for a relative name of one letter.
    @Test func namesOfOneLetterAreNames() throws {
        try command.writeDigits(to: "d")
        for words in [
            "train --data mnist:d --steps 1 --batch-size 8 --out r --quiet", "export r --output e",
            "data pack mnist:d --output p", "data show packed:p --output g", "evaluate r --json",
            "export r --format onnx --output o",
        ] {
            let outcome = try command.dtrain(words: words)
            #expect(outcome.status == 0, "\(words): \(outcome.stderr)")
        }
    }

    @Test func aRecipeLiesUnderTheFlags() throws {
        try command.writeDigits(to: "digits")
        let outcome = try command.dtrain(
            words: "train --recipe digits-conv-permuted --data mnist:digits --steps 2 --batch-size 8 --out run --quiet")
        try #require(outcome.status == 0, "\(outcome.stderr)")
        let saved = try command.text("run/config.yaml")
        for line in ["model: cnn-small", "augment: permute-pixels", "batch-size: 8", "steps: 2", "lr: 0.05"] {
            #expect(saved.contains(line + "\n"), "\(line) in \(saved)")
        }
        // What the recipe says of SGD is no mistake of whoever chooses another rule.
        let adam = try command.dtrain(
            words: "train --recipe digits-fc --data mnist:digits --steps 2 --batch-size 8 --optimizer adam --lr 0.001 "
                + "--out adam --quiet")
        #expect(adam.status == 0, "\(adam.stderr)")
    }

    @Test func benchTellsHowLongItWaits() throws {
        try writeImages(to: "pictures")
        let outcome = try command.dtrain(
            words: "bench --model cnn-cifar --data images:pictures --image-size 32 --batch-size 12 --steps 3 --json")
        let object = try #require(try objects(outcome).first, "\(outcome.stderr)")
        let share = try #require(object["data_wait_share"] as? Double)
        #expect(share >= 0 && share <= 1)
        let without = try objects(try command.dtrain(words: "bench --model cnn-cifar --batch-size 4 --steps 2 --json"))
        #expect(without.first?["data_wait_share"] == nil)
    }
}
