internal import CKernels
package import DTrainTensor

/// A table's row for each token (PyTorch's Embedding). Weight vocabulary × dimension.
///
/// The gradient of a row that no token of the batch names is zero, and so is the padding row's; only rows that occur are
/// added to.
package struct Embedding: Operation {
    package let vocabulary: Int
    package let dimension: Int
    /// The token whose row never learns; nil for none.
    package let paddingIndex: Int?

    package init(vocabulary: Int, dimension: Int, paddingIndex: Int?) {
        self.vocabulary = vocabulary
        self.dimension = dimension
        self.paddingIndex = paddingIndex
    }

    package var name: String { "embedding" }
    package var sequences: SequenceUse { .rowwise }
    package var readsTokens: Bool { true }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard dimension >= 1 else { throw ShapeMismatch("an embedding has at least one dimension, not \(dimension)") }
        if let paddingIndex, paddingIndex < 0 || paddingIndex >= vocabulary {
            throw ShapeMismatch("the padding index \(paddingIndex) is not a token: there are \(vocabulary)")
        }
        return [dimension]
    }
    package func kernel(_ site: Site) -> any Kernel { EmbeddingKernel(self, site) }
}

/// Forward, threads share tokens; backward, columns of the table, so that no two threads add to one number.
private final class EmbeddingKernel: Kernel {
    private let operation: Embedding
    private let site: Site

    init(_ operation: Embedding, _ site: Site) {
        self.operation = operation
        self.site = site
    }

    func forward(_ run: Run) {
        let table = run.parameters + site.parameters[0].range.lowerBound
        let (y, count) = (run.pointer(site.output), operation.dimension)
        for row in run.part(of: run.rows(site.output)) {
            (y + row * count).update(from: table + Int(run.tokens[row]) * count, count: count)
        }
    }

    func backward(_ run: Run) {
        guard let gradient = run.gradient(of: site.parameters[0]) else { return }
        let (dy, count) = (run.pointer(site.outputGradient!), operation.dimension)
        let columns = run.part(of: count, granularity: 16)
        guard !columns.isEmpty else { return }
        if !site.parameters[0].accumulate {
            for token in 0..<operation.vocabulary {
                (gradient + token * count + columns.lowerBound).update(repeating: 0, count: columns.count)
            }
        }
        for row in 0..<run.rows(site.output) {
            let token = Int(run.tokens[row])
            if token == operation.paddingIndex { continue }
            dt_add_to(
                gradient + token * count + columns.lowerBound, dy + row * count + columns.lowerBound, columns.count)
        }
    }
}
