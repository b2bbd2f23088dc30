import DTrainModels
import DTrainTensor

extension ModelInput {
    /// As tables show it: `224×224×3`, or the steps of a sequence of so many different tokens.
    var description: String {
        switch self {
        case .values(let shape): shape.description
        case .steps(let shape, let longest): "\(longest) steps of \(shape)"
        case .tokens(let vocabulary, let longest): "\(longest) of \(vocabulary) tokens"
        }
    }

    /// The extents of a sample: of a sequence of tokens, its steps.
    var dimensions: [Int] {
        switch self {
        case .values(let shape): shape.dimensions
        case .steps(let shape, let longest): [longest] + shape.dimensions
        case .tokens(_, let longest): [longest]
        }
    }
}

extension ModelEntry {
    /// What the model is made for, with images of another size; throws for a model that reads no images.
    func input(imageSize: Int?) throws -> ModelInput {
        guard let imageSize else { return input }
        guard case .values(let shape) = input else {
            throw UsageError("--image-size has no effect: \(name) reads sequences; leave it out.")
        }
        return .values([imageSize, imageSize, shape[2]])
    }
}
