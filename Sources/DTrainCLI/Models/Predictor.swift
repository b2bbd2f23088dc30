import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainReport
import DTrainTensor
import Foundation

/// What a model says of one image, or of one text.
struct Prediction {
    /// The image's path, or the text.
    let path: String
    /// Before the softmax.
    let logits: [Float]

    /// The `count` most probable classes, most probable first; of equal ones the first.
    func top(_ count: Int) -> [(index: Int, probability: Double)] {
        let probabilities = self.probabilities
        return probabilities.indices.sorted { (probabilities[$1], $0) < (probabilities[$0], $1) }.prefix(count).map {
            ($0, probabilities[$0])
        }
    }

    /// Throws for outputs that say nothing.
    static func check(_ logits: [Float]) throws {
        guard logits.allSatisfy(\.isFinite) else {
            throw UsageError(
                "the model's outputs are not finite numbers: its weights are damaged, or belong to a run that diverged; "
                    + "take an earlier checkpoint.")
        }
    }

    /// The `count` most probable classes and, with `logits`, the outputs, as members of an object.
    func add(to object: inout JSONObject, top count: Int, names: (Int) -> String, logits: Bool) {
        object.add(
            "top",
            top(count).map { entry in
                var row = JSONObject()
                row.add("index", entry.index)
                row.add("label", names(entry.index))
                row.add("probability", entry.probability)
                return row
            })
        if logits { object.add("logits", self.logits) }
    }

    /// The same as lines for people, below a line with the sample's name.
    func lines(top count: Int, names: (Int) -> String, logits: Bool) -> String {
        var lines = [path]
        for entry in top(count) {
            lines.append("  \(Formatting.percent(entry.probability).padding(toLeft: 8))  \(names(entry.index).escaped)")
        }
        if logits { lines.append("  logits " + self.logits.map { "\($0)" }.joined(separator: " ")) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The softmax of the logits.
    private var probabilities: [Double] {
        let largest = Double(logits.max() ?? 0)
        let powers = logits.map { exp(Double($0) - largest) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }
}

/// Runs a model on image files, a batch at a time.
struct Predictor {
    private let replica: Replica
    private let preparation: ImagePreparation
    private let inputShape: Shape
    private static let batchSize = 32

    /// Throws what building the model and loading its weights throw, and `UsageError` for a checkpoint that does not say how
    /// its images are prepared.
    init(_ source: ModelSource, threads: Int) throws {
        let images = try source.requiredImages()
        let native = Shape(images.sampleShape)
        let normalisation = Normalisation(mean: images.mean, standardDeviation: images.standardDeviation)
        let side = source.imageSize ?? images.inputShape[0]
        var transforms: [any Transform] = []
        let augmentations = try Augmentation.parse(images.augmentations)
        if !images.sizesMayDiffer {
            // Files of any size take the size of the data set's samples first, as those had.
            transforms = source.choice.presets.evaluation(side: max(native[0], native[1]))
            if native[0] != native[1] { transforms = [Resize(.exactly(height: native[0], width: native[1]))] }
        }
        let isSquare = images.inputShape[0] == images.inputShape[1]
        let pipeline = try TransformPipeline(
            augmentations, family: source.choice.presets, sampleShape: native, sizesMayDiffer: images.sizesMayDiffer,
            imageSize: isSquare || source.imageSize != nil ? side : nil, normalisation: normalisation,
            seed: source.seed)
        inputShape = pipeline.outputShape
        replica = try source.replica(
            input: .values(inputShape), capacity: Self.batchSize, pool: ThreadPool(threadCount: threads))
        preparation = ImagePreparation(
            transforms: joiningResizeAndCrop(transforms + pipeline.evaluation), normalisation: normalisation,
            channels: native[2])
    }

    var outputCount: Int { replica.outputCount }

    /// Predicts `paths` in order. `show` gets each image as the model sees it. A file that cannot be read throws
    /// `DataError`, or, with `skip`, is handed to it and left out.
    func predict(
        _ paths: [String], skip: ((DataError) -> Void)? = nil, show: (PixelBuffer) -> Void = { _ in }
    ) throws -> [Prediction] {
        var predictions: [Prediction] = []
        let size = inputShape.count
        let memory = (
            images: AlignedMemory(byteCount: Self.batchSize * size * MemoryLayout<Float>.stride),
            labels: AlignedMemory(byteCount: Self.batchSize * MemoryLayout<Int32>.stride)
        )
        let (images, labels) = (memory.images.slice(of: Float.self), memory.labels.slice(of: Int32.self))
        var pending: [String] = []
        func run() throws {
            guard !pending.isEmpty else { return }
            _ = replica.evaluate(
                Replica.Samples(inputs: images[0..<pending.count * size], labels: labels[0..<pending.count]))
            let outputs = replica.outputs
            for (row, path) in pending.enumerated() {
                let logits = outputs[row * outputCount..<(row + 1) * outputCount].array()
                try Prediction.check(logits)
                predictions.append(Prediction(path: path, logits: logits))
            }
            pending = []
        }
        for path in paths {
            do {
                let pixels = try preparation.pixels(of: path)
                preparation.normalise(pixels, into: images[pending.count * size..<(pending.count + 1) * size])
                show(pixels)
                pending.append(path)
            } catch {
                guard let skip else { throw error }
                skip(error)
            }
            if pending.count == Self.batchSize { try run() }
        }
        try run()
        return withExtendedLifetime(memory) { predictions }
    }
}
