import DTrainTensor

/// Random images with random labels, for measuring speed: nothing can be learnt from them.
///
/// The bytes are drawn once, uniformly; each sample is a window of them at a random place, so that reading one costs a
/// copy and a benchmark measures the training.
public struct SyntheticDataset: ImageDataset {
    public let name = "synthetic"
    public let split: DatasetSplit
    public let sampleShape: Shape
    public let classNames: [String]
    public let count: Int
    /// Those of uniform bytes: 1/2 and 1/√12.
    public let normalisation: Normalisation
    public let digest: String
    private let memory: AlignedMemory
    private let random: CounterRandom

    /// The number of places where a window may start.
    private static let windowCount = 1 << 16

    /// `sampleShape` is height, width, channels. By default there are 16,384 training and 1,024 test samples.
    public init(
        split: DatasetSplit, sampleShape: Shape, classCount: Int, count: Int? = nil, seed: UInt64 = 0
    ) {
        self.split = split
        self.sampleShape = sampleShape
        self.count = count ?? (split == .train ? 16_384 : 1_024)
        classNames = (0..<classCount).map(String.init)
        normalisation = Normalisation(
            mean: .init(repeating: 0.5, count: sampleShape[2]),
            standardDeviation: .init(repeating: Float(1.0 / 12.0.squareRoot()), count: sampleShape[2]))
        digest = ContentDigest.combining([
            "synthetic", split.rawValue, sampleShape.description, "\(classCount)", "\(self.count)", "\(seed)",
        ])
        random = CounterRandom(seed: seed, purpose: .synthetic, stream: split == .train ? 0 : 1)
        let wordCount = (sampleShape.count + Self.windowCount + 7) / 8
        memory = AlignedMemory(byteCount: wordCount * 8)
        let words = memory.slice(of: UInt64.self)
        // The counters of the bytes follow those of the samples.
        for index in 0..<wordCount { words[index] = random.word64(1 << 40 | UInt64(index)).littleEndian }
    }

    public func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        image.resize(to: sampleShape)
        let offset = random.below(Self.windowCount, UInt64(index) << 1)
        image.bytes.copy(from: memory.slice()[offset..<offset + sampleShape.count])
        return label(of: index)
    }

    public func label(of index: Int) -> Int { random.below(classCount, UInt64(index) << 1 | 1) }
}
